/*
 * snapshot/store/version.c - reading table versions: from row number, byte offset, key or name to a row in a pack.
 *
 * Any thread; what is shared are the catalog's own parts and the cache of page lists and pages, which has one mutex,
 * held for list work only. A version's page list is one small blob; a lookup reads it, one page of extents and one
 * pack. The written form is described at struct extent in internal.h; varints throughout: version: (page id, rows, line
 * bytes, separator length, separator) for each page page:    (zigzag pack id delta, first, count, line bytes, what the
 * row files have more, separator length, separator) for each extent
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

#define PAGE_LEVEL 3 /* measured on an OpenMetadata-shaped database: half the bytes; one page takes microseconds */
#define PAGE_BYTES_MAX (256ULL << 20)

/* ---- versions of a snapshot ---- */

void version_info_done(struct version_info *v)
{
	free(v->name);
	*v = (struct version_info){0};
}

void version_list_done(struct version_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		version_info_done(&l->v[i]);
	free(l->v);
	*l = (struct version_list){0};
}

static int version_from_row(sqlite3_stmt *st, struct version_info *v, struct err *e)
{
	*v = (struct version_info){
	    .id = sqlite3_column_int64(st, 0),
	    .ordinal = (size_t)sqlite3_column_int64(st, 1),
	    .name = xstrdup((const char *)sqlite3_column_text(st, 2)),
	    .codec_id = sqlite3_column_int64(st, 3),
	    .rows = (uint64_t)sqlite3_column_int64(st, 4),
	    .line_bytes = (uint64_t)sqlite3_column_int64(st, 5),
	    .file_bytes = (uint64_t)sqlite3_column_int64(st, 6),
	    .since_ms = sqlite3_column_int64(st, 8),
	};
	v->digest.count = v->rows;
	if (sqlite3_column_bytes(st, 7) != ROW_SHA_LEN) {
		version_info_done(v);
		return err_set(e, EIO, "catalog: a table version is damaged");
	}
	memcpy(v->digest.sum, sqlite3_column_blob(st, 7), ROW_SHA_LEN);
	return 0;
}

int catalog_tables(struct catalog *c, int64_t snapshot_id, struct version_list *ret, struct err *e)
{
	*ret = (struct version_list){0};
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_SNAPSHOT_TABLES, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, snapshot_id);
		int step;
		while ((step = sqlite3_step(st)) == SQLITE_ROW && r == 0) {
			if ((ret->n & (ret->n - 1)) == 0)
				ret->v = xrealloc(ret->v, (ret->n ? ret->n * 2 : 1) * sizeof *ret->v);
			r = version_from_row(st, &ret->v[ret->n], e);
			if (r == 0)
				ret->n++;
		}
		if (r == 0 && step != SQLITE_DONE)
			r = store_error(db, "listing tables", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (r < 0)
		version_list_done(ret);
	return r;
}

static int version_one(struct catalog *c, enum stmt which, int64_t snapshot_id, const char *table, size_t ordinal,
		       struct version_info *ret, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r;
	sqlite3_stmt *st = store_stmt(db, which, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, snapshot_id);
		if (which == STMT_SNAPSHOT_TABLE)
			sqlite3_bind_text(st, 2, table, -1, SQLITE_STATIC);
		else if (which == STMT_SNAPSHOT_TABLE_AT)
			sqlite3_bind_int64(st, 2, (int64_t)ordinal);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW)
			r = version_from_row(st, ret, e);
		else if (step == SQLITE_DONE)
			r = err_set(e, ENOENT, "no table %s in the snapshot", table ? table : "there");
		else
			r = store_error(db, "reading a table", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int catalog_table(struct catalog *c, int64_t snapshot_id, const char *table, struct version_info *ret, struct err *e)
{
	return version_one(c, STMT_SNAPSHOT_TABLE, snapshot_id, table, 0, ret, e);
}

int catalog_table_at(struct catalog *c, int64_t snapshot_id, size_t ordinal, struct version_info *ret, struct err *e)
{
	return version_one(c, STMT_SNAPSHOT_TABLE_AT, snapshot_id, NULL, ordinal, ret, e);
}

int names_version(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e)
{
	return version_one(c, STMT_NAMES, snapshot_id, "of entities", 0, ret, e);
}

/* ---- blobs, and the cache of those read last ---- */

/* A version's list of pages or a page, read and checked. Neither ever changes, nor is its number used again. */
struct blob {
	enum blob_kind { BLOB_VERSION, BLOB_PAGE } kind;
	int64_t id;
	unsigned refs; /* under the cache's mutex, as are the links */
	struct blob *newer, *older, *next;
	struct blob_cache *cache;
	/* of a version */
	int64_t codec_id;
	uint64_t rows, line_bytes, file_bytes;
	int64_t since_ms;
	struct digest digest;
	size_t len;
	uint8_t data[];
};

#define BLOB_HASH_SIZE 1024U

/* What is here is referenced by the cache, too. */
struct blob_cache {
	pthread_mutex_t mutex;
	size_t limit, used;
	struct blob *hash[BLOB_HASH_SIZE];
	struct blob *newest, *oldest;
};

struct blob_cache *blob_cache_new(size_t bytes)
{
	struct blob_cache *bc = xcalloc(1, sizeof *bc);
	(void)pthread_mutex_init(&bc->mutex, NULL);
	bc->limit = bytes;
	return bc;
}

static struct blob **blob_slot(struct blob_cache *bc, enum blob_kind kind, int64_t id)
{
	struct blob **slot = &bc->hash[((uint64_t)id * 2 + kind) % BLOB_HASH_SIZE];
	while (*slot && ((*slot)->id != id || (*slot)->kind != kind))
		slot = &(*slot)->next;
	return slot;
}

static void blob_unlink(struct blob_cache *bc, struct blob *b)
{
	*(b->newer ? &b->newer->older : &bc->newest) = b->older;
	*(b->older ? &b->older->newer : &bc->oldest) = b->newer;
}

static void blob_link(struct blob_cache *bc, struct blob *b)
{
	b->newer = NULL;
	b->older = bc->newest;
	*(bc->newest ? &bc->newest->newer : &bc->oldest) = b;
	bc->newest = b;
}

static void blob_cache_trim(struct blob_cache *bc)
{
	while (bc->oldest && bc->used > bc->limit) {
		struct blob *b = bc->oldest;
		blob_unlink(bc, b);
		*blob_slot(bc, b->kind, b->id) = b->next;
		bc->used -= sizeof *b + b->len;
		if (--b->refs == 0)
			free(b);
	}
}

void blob_cache_limit(struct blob_cache *bc, size_t bytes)
{
	MUTEX_GUARD(&bc->mutex);
	bc->limit = bytes;
	blob_cache_trim(bc);
}

void blob_cache_free(struct blob_cache *bc)
{
	if (!bc)
		return;
	blob_cache_limit(bc, 0);
	(void)pthread_mutex_destroy(&bc->mutex);
	free(bc);
}

static struct blob *blob_new(enum blob_kind kind, int64_t id, const void *data, size_t len)
{
	struct blob *b = xmalloc(sizeof *b + len);
	*b = (struct blob){.kind = kind, .id = id, .refs = 1, .len = len};
	if (len)
		memcpy(b->data, data, len);
	return b;
}

static struct blob *blob_get(struct blob_cache *bc, enum blob_kind kind, int64_t id)
{
	MUTEX_GUARD(&bc->mutex);
	struct blob *b = *blob_slot(bc, kind, id);
	if (!b)
		return NULL;
	b->refs++;
	blob_unlink(bc, b);
	blob_link(bc, b);
	return b;
}

/* The caller keeps its reference. */
static void blob_add(struct blob_cache *bc, struct blob *b)
{
	MUTEX_GUARD(&bc->mutex);
	b->cache = bc;
	struct blob **slot = blob_slot(bc, b->kind, b->id);
	if (*slot) /* another thread was first */
		return;
	*slot = b;
	b->refs++;
	blob_link(bc, b);
	bc->used += sizeof *b + b->len;
	blob_cache_trim(bc);
}

static void blob_unref(struct blob *b)
{
	if (!b)
		return;
	bool last;
	{
		MUTEX_GUARD(&b->cache->mutex);
		last = --b->refs == 0;
	}
	if (last)
		free(b);
}
DEFINE_CLEANUP(cleanup_blob, struct blob, blob_unref);

static int version_load(struct catalog *c, int64_t version_id, struct blob **ret, struct err *e)
{
	struct blob *vb = *ret = blob_get(c->blobs, BLOB_VERSION, version_id);
	if (vb)
		return 0;
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_VERSION, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, version_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW && sqlite3_column_bytes(st, 4) == ROW_SHA_LEN) {
			const void *pages = sqlite3_column_blob(st, 5);
			vb = blob_new(BLOB_VERSION, version_id, pages, (size_t)sqlite3_column_bytes(st, 5));
			vb->codec_id = sqlite3_column_int64(st, 0);
			vb->rows = (uint64_t)sqlite3_column_int64(st, 1);
			vb->line_bytes = (uint64_t)sqlite3_column_int64(st, 2);
			vb->file_bytes = (uint64_t)sqlite3_column_int64(st, 3);
			memcpy(vb->digest.sum, sqlite3_column_blob(st, 4), ROW_SHA_LEN);
			vb->digest.count = vb->rows;
			vb->since_ms = sqlite3_column_int64(st, 7);
		} else if (step == SQLITE_ROW) {
			r = err_set(e, EIO, "catalog: table version %" PRId64 " is damaged", version_id);
		} else {
			r = step == SQLITE_DONE ? err_set(e, ENOENT, "no such table version")
						: store_error(db, "reading a table version", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (vb)
		blob_add(c->blobs, vb);
	*ret = vb;
	return r;
}

void page_pack(const struct strbuf *page, struct strbuf *out)
{
	size_t bound = ZSTD_compressBound(page->len);
	strbuf_clear(out);
	strbuf_reserve(out, bound);
	size_t n = ZSTD_compress(out->data, bound, page->data, page->len, PAGE_LEVEL);
	if (!ZSTD_isError(n) && n < page->len)
		out->len = n;
	else
		strbuf_add(out, page->data, page->len);
}

bool page_unpack(struct hasher *h, const void *data, size_t len, const void *sha, size_t sha_len, struct strbuf *out)
{
	uint8_t got[ROW_SHA_LEN];
	unsigned long long n = ZSTD_getFrameContentSize(data, len);
	strbuf_clear(out);
	/* Bytes that are no frame are the page as it is; the SHA-256 tells whether either is true. */
	if (n == ZSTD_CONTENTSIZE_ERROR || n == ZSTD_CONTENTSIZE_UNKNOWN || n > PAGE_BYTES_MAX) {
		strbuf_add(out, data, len);
	} else {
		strbuf_reserve(out, n);
		size_t size = ZSTD_decompress(out->data, n, data, len);
		out->len = ZSTD_isError(size) ? 0 : size;
	}
	hasher_sha256(h, strbuf_str(out), out->len, got);
	return sha_len == sizeof got && !memcmp(got, sha, sizeof got);
}

/* A damaged page can look like one of other rows: it is believed only with its SHA-256, packs bring a checksum of their
 * own. *ret is another page's before, and stays so on failure. */
static int page_load(struct catalog *c, uint64_t page_id, struct blob **ret, struct err *e)
{
	struct blob *page = blob_get(c->blobs, BLOB_PAGE, (int64_t)page_id);
	if (page) {
		blob_unref(*ret);
		*ret = page;
		return 0;
	}
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	_cleanup_strbuf_ struct strbuf whole = {0};
	sqlite3_stmt *st = store_stmt(db, STMT_PAGE, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, (int64_t)page_id);
		int step = sqlite3_step(st);
		_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
		if (step != SQLITE_ROW)
			r = step == SQLITE_DONE ? err_set(e, EIO, "catalog: page %" PRIu64 " is missing", page_id)
						: store_error(db, "reading a page", e);
		else if (!page_unpack(h, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0),
				      sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1), &whole))
			r = err_set(e, EIO, "catalog: page %" PRIu64 " is damaged", page_id);
		else
			page = blob_new(BLOB_PAGE, (int64_t)page_id, whole.data, whole.len);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (page) {
		blob_add(c->blobs, page);
		blob_unref(*ret);
		*ret = page;
	}
	return r;
}

struct page_entry {
	uint64_t id, rows, line_bytes;
	const uint8_t *sep;
	size_t sep_len;
};

static int page_entry_next(const uint8_t **p, const uint8_t *end, struct page_entry *ret, struct err *e)
{
	uint64_t files, sep;
	if (!varint_get(p, end, &ret->id) || !varint_get(p, end, &ret->rows) || !varint_get(p, end, &ret->line_bytes) ||
	    !varint_get(p, end, &files) || !varint_get(p, end, &sep) || sep > (uint64_t)(end - *p))
		return err_set(e, EIO, "catalog: a table version is damaged");
	ret->sep = *p;
	ret->sep_len = sep;
	*p += sep;
	return 0;
}

int extent_next(const uint8_t **p, const uint8_t *end, int64_t *pack, struct extent *ret, struct err *e)
{
	uint64_t delta, first, count, bytes, files, sep;
	if (!varint_get(p, end, &delta) || !varint_get(p, end, &first) || !varint_get(p, end, &count) ||
	    !varint_get(p, end, &bytes) || !varint_get(p, end, &files) || !varint_get(p, end, &sep) ||
	    sep > (uint64_t)(end - *p) || first > PACK_MAX_ROWS || count > PACK_MAX_ROWS || count == 0 || bytes < count)
		return err_set(e, EIO, "catalog: a page is damaged");
	*pack += (int64_t)(delta >> 1) ^ -(int64_t)(delta & 1);
	*ret = (struct extent){.pack = *pack,
			       .first = (uint32_t)first,
			       .count = (uint32_t)count,
			       .line_bytes = bytes,
			       .file_bytes = files + (bytes - count),
			       .sep = *p,
			       .sep_len = sep};
	*p += sep;
	return 0;
}

int key_compare(const void *a, size_t an, const void *b, size_t bn)
{
	int d = memcmp(a, b, an < bn ? an : bn);
	return d ? d : (an > bn) - (an < bn);
}

/* Where a search ends: an extent, and what lies before it. */
struct place {
	struct blob *page;        /* the extents' */
	const uint8_t *next;      /* in page: the extent after this one */
	int64_t pack;             /* delta base for it */
	const uint8_t *next_page; /* in the version */
	struct extent extent;
	uint64_t row, byte; /* number of the extent's first row, offset of its first line */
};

static void place_done(struct place *pl)
{
	blob_unref(pl->page);
}

enum seek { SEEK_ROW, SEEK_BYTE, SEEK_KEY };

/*
 * Finds the extent that holds row `n`, byte `n` or (the last one that can hold) the key. 1: found, 0: behind the end.
 * Linear over the version's page entries and one page: both are short (16 extents a page on average) and in one blob.
 */
static int version_seek(struct catalog *c, const struct blob *vb, enum seek how, uint64_t n, const void *key,
			size_t key_len, struct place *pl, struct err *e)
{
	const uint8_t *p = vb->data, *end = p + vb->len;
	uint64_t row = 0, byte = 0;
	struct page_entry at = {0}, best = {0};
	bool found = false;
	while (p < end) {
		int r = page_entry_next(&p, end, &at, e);
		if (r < 0)
			return r;
		if (how == SEEK_KEY) {
			if (found && key_compare(at.sep, at.sep_len, key, key_len) > 0)
				break;
		} else if (found && (how == SEEK_ROW ? row : byte) > n) {
			break;
		}
		if (how != SEEK_KEY && n >= (how == SEEK_ROW ? row + at.rows : byte + at.line_bytes)) {
			row += at.rows;
			byte += at.line_bytes;
			continue;
		}
		if (how == SEEK_KEY && found) {
			row += best.rows;
			byte += best.line_bytes;
		}
		best = at;
		pl->next_page = p;
		found = true;
		if (how != SEEK_KEY)
			break;
	}
	if (!found)
		return 0;
	int r = page_load(c, best.id, &pl->page, e);
	if (r < 0)
		return r;
	const uint8_t *x = pl->page->data, *xend = x + pl->page->len;
	int64_t pack = 0;
	bool have = false;
	struct extent ex;
	while (x < xend) {
		r = extent_next(&x, xend, &pack, &ex, e);
		if (r < 0)
			return r;
		bool first = !have;
		if (how == SEEK_KEY) {
			if (!first && key_compare(ex.sep, ex.sep_len, key, key_len) > 0)
				break;
			if (!first) {
				row += pl->extent.count;
				byte += pl->extent.line_bytes;
			}
		} else if (n >= (how == SEEK_ROW ? row + ex.count : byte + ex.line_bytes)) {
			row += ex.count;
			byte += ex.line_bytes;
			continue;
		}
		pl->extent = ex;
		pl->next = x;
		pl->pack = pack;
		pl->row = row;
		pl->byte = byte;
		have = true;
		if (how != SEEK_KEY)
			break;
	}
	return have ? 1 : err_set(e, EIO, "catalog: a page is shorter than its version says");
}

/* The extent after this one. 1, or 0 at the end. */
static int place_advance(struct catalog *c, const struct blob *vb, struct place *pl, struct err *e)
{
	pl->row += pl->extent.count;
	pl->byte += pl->extent.line_bytes;
	const uint8_t *xend = pl->page->data + pl->page->len;
	if (pl->next == xend) {
		const uint8_t *end = vb->data + vb->len;
		if (pl->next_page == end)
			return 0;
		struct page_entry pe;
		int r = page_entry_next(&pl->next_page, end, &pe, e);
		if (r == 0)
			r = page_load(c, pe.id, &pl->page, e);
		if (r < 0)
			return r;
		pl->next = pl->page->data;
		pl->pack = 0;
		xend = pl->next + pl->page->len;
	}
	int r = extent_next(&pl->next, xend, &pl->pack, &pl->extent, e);
	return r < 0 ? r : 1;
}

/* From the end of a page's last extent to the end of the next page; it is not loaded: there is no extent in hand. */
static void place_skip_page(struct place *pl, const struct page_entry *pe, const uint8_t *behind)
{
	pl->row += pl->extent.count + pe->rows;
	pl->byte += pl->extent.line_bytes + pe->line_bytes;
	pl->extent = (struct extent){0};
	pl->next_page = behind;
}

/* ---- rows ---- */

static int stored_row_fill(struct pack *p, uint32_t index, uint64_t number, struct stored_row *ret, struct err *e)
{
	if (index >= p->rows)
		return err_set(e, EIO, "pack %" PRId64 " has no row %u", p->id, index);
	*ret = (struct stored_row){.ref = {p->id, index},
				   .number = number,
				   .file_size = p->file_size[index],
				   .first_seen_ms = p->first_seen_ms,
				   .codec = p->codec,
				   .pack = p};
	ret->line = pack_line(p, index, &ret->line_len);
	if (!ret->line_len) /* UINT64_MAX: by a number that outlived its snapshots, as that of a pack that is gone */
		return err_set(e, number == UINT64_MAX ? ENOENT : EIO, "row %u of pack %" PRId64 " was dropped", index,
			       p->id);
	return 0;
}

int stored_row_key(struct stored_row *row, struct err *e)
{
	if (row->key)
		return 0;
	int r = pack_keys(row->pack, e);
	if (r == 0)
		row->key = pack_key(row->pack, row->ref.index, &row->key_len);
	return r;
}

void stored_row_done(struct stored_row *r)
{
	pack_unref(r->pack);
	*r = (struct stored_row){0};
}

int64_t stored_row_mtime_ms(const struct stored_row *r)
{
	int64_t ms = row_updated_ms(r->codec, r->line, r->line_len);
	return ms >= 0 ? ms : r->first_seen_ms;
}

int catalog_row_by_ref(struct catalog *c, struct row_ref ref, struct stored_row *ret, struct err *e)
{
	struct pack *p;
	int r = pack_get(c, ref.pack, &p, e);
	if (r < 0)
		return r;
	r = stored_row_fill(p, ref.index, UINT64_MAX, ret, e);
	if (r < 0)
		pack_unref(p);
	return r;
}

struct row_cursor {
	struct catalog *catalog;
	struct blob *version;
	struct place place;
	struct pack *pack;
	uint32_t at; /* rows of the extent already given */
	bool end;
	bool sparse;       /* what is shared with another version is left out */
	unsigned few;      /* rows of the pack that were given so far, */
	struct strbuf key; /* with this key */
};

void row_cursor_close(struct row_cursor *rc)
{
	if (!rc)
		return;
	pack_unref(rc->pack);
	blob_unref(rc->version);
	place_done(&rc->place);
	strbuf_done(&rc->key);
	free(rc);
}

static int cursor_open(struct row_cursor **ret, struct catalog *c, int64_t version_id, enum seek how, uint64_t first,
		       const void *key, size_t key_len, struct err *e)
{
	_cleanup_(cleanup_row_cursor) struct row_cursor *rc = xcalloc(1, sizeof *rc);
	rc->catalog = c;
	int r = version_load(c, version_id, &rc->version, e);
	if (r < 0)
		return r;
	r = version_seek(c, rc->version, how, first, key, key_len, &rc->place, e);
	if (r < 0)
		return r;
	rc->end = r == 0;
	if (rc->end && first < rc->version->rows)
		return err_set(e, EIO, "catalog: a table version is damaged: it has no row %" PRIu64 " of its %" PRIu64,
			       first, rc->version->rows);
	if (!rc->end && how == SEEK_ROW)
		rc->at = (uint32_t)(first - rc->place.row);
	*ret = TAKE_PTR(rc);
	return 0;
}

int row_cursor_open(struct row_cursor **ret, struct catalog *c, int64_t version_id, uint64_t first, struct err *e)
{
	return cursor_open(ret, c, version_id, SEEK_ROW, first, NULL, 0, e);
}

/* At the extent of the next row: 1, or 0 at the end. */
static int cursor_settle(struct row_cursor *rc, struct err *e)
{
	while (!rc->end && rc->at == rc->place.extent.count) {
		int r = place_advance(rc->catalog, rc->version, &rc->place, e);
		if (r == 0 && rc->place.row != rc->version->rows)
			r = err_set(e, EIO,
				    "catalog: a table version is damaged: it ends after %" PRIu64 " of its %" PRIu64
				    " rows",
				    rc->place.row, rc->version->rows);
		if (r < 0)
			return r;
		rc->end = r == 0;
		rc->at = 0;
	}
	return !rc->end;
}

#define CURSOR_FEW 4U

/* Where most rows are left out, the key of this one alone is made; those of the whole pack, when several of it come. */
static int cursor_key(struct row_cursor *rc, struct stored_row *row, struct err *e)
{
	if (!rc->sparse || ++rc->few > CURSOR_FEW)
		return stored_row_key(row, e);
	strbuf_clear(&rc->key);
	int r = pack_key_of(rc->pack, row->ref.index, &rc->key, e);
	row->key = strbuf_str(&rc->key);
	row->key_len = rc->key.len;
	return r;
}

int row_cursor_next(struct row_cursor *rc, struct stored_row *ret, struct err *e)
{
	int r = cursor_settle(rc, e);
	if (r <= 0)
		return r;
	if (!rc->pack || rc->pack->id != rc->place.extent.pack) {
		pack_unref(rc->pack);
		rc->pack = NULL;
		rc->few = 0;
		r = pack_get(rc->catalog, rc->place.extent.pack, &rc->pack, e);
		if (r < 0)
			/* A page names it: its absence is damage, not "no such row". */
			return r == -ENOENT
				   ? err_set(e, EIO, "catalog: pack %" PRId64 " is missing", rc->place.extent.pack)
				   : r;
	}
	r = stored_row_fill(rc->pack, rc->place.extent.first + rc->at, rc->place.row + rc->at, ret, e);
	if (r == 0)
		r = cursor_key(rc, ret, e);
	if (r < 0)
		return r;
	rc->at++;
	return 1;
}

static bool cursor_at_page_end(const struct row_cursor *rc)
{
	const struct place *pl = &rc->place;
	return !rc->end && rc->at == pl->extent.count && pl->next == pl->page->data + pl->page->len;
}

/* Pages that come next in both are left out unread. */
static int cursor_skip_pages(struct row_cursor *a, struct row_cursor *b, struct err *e)
{
	if (!cursor_at_page_end(a) || !cursor_at_page_end(b))
		return 0;
	const uint8_t *a_end = a->version->data + a->version->len, *b_end = b->version->data + b->version->len;
	for (;;) {
		const uint8_t *p = a->place.next_page, *q = b->place.next_page;
		struct page_entry x, y;
		int r = p < a_end && q < b_end ? page_entry_next(&p, a_end, &x, e) : 1;
		if (r == 0)
			r = page_entry_next(&q, b_end, &y, e);
		if (r || x.id != y.id)
			return r < 0 ? r : 0;
		place_skip_page(&a->place, &x, p);
		place_skip_page(&b->place, &y, q);
		a->at = b->at = 0;
	}
}

int row_cursor_skip_shared(struct row_cursor *a, struct row_cursor *b, struct err *e)
{
	a->sparse = b->sparse = true;
	for (;;) {
		int r = cursor_skip_pages(a, b, e);
		if (r == 0)
			r = cursor_settle(a, e);
		if (r > 0)
			r = cursor_settle(b, e);
		if (r <= 0)
			return r;
		const struct extent *x = &a->place.extent, *y = &b->place.extent;
		if (x->pack != y->pack || x->first + a->at != y->first + b->at)
			return 0;
		uint32_t left = x->count - a->at, right = y->count - b->at, n = left < right ? left : right;
		a->at += n;
		b->at += n;
	}
}

/* ---- extents ---- */

struct extent_cursor {
	struct catalog *catalog;
	struct blob *version, *page;
	size_t next_page, next; /* offsets in version and page */
	int64_t pack;           /* delta base */
	uint64_t rows;
};

void extent_cursor_close(struct extent_cursor *ec)
{
	if (!ec)
		return;
	blob_unref(ec->version);
	blob_unref(ec->page);
	free(ec);
}

int extent_cursor_open(struct extent_cursor **ret, struct catalog *c, int64_t version_id, struct err *e)
{
	_cleanup_(cleanup_extent_cursor) struct extent_cursor *ec = xcalloc(1, sizeof *ec);
	ec->catalog = c;
	int r = version_load(c, version_id, &ec->version, e);
	if (r == 0)
		*ret = TAKE_PTR(ec);
	return r;
}

int extent_cursor_next(struct extent_cursor *ec, struct extent *ret, struct err *e)
{
	const struct blob *v = ec->version;
	struct page_entry pe = {0};
	if (!ec->page || ec->next == ec->page->len) {
		if (ec->next_page == v->len)
			return ec->rows == v->rows
				   ? 0
				   : err_set(e, EIO, "catalog: a table version is damaged: it ends early");
		const uint8_t *p = v->data + ec->next_page;
		int r = page_entry_next(&p, v->data + v->len, &pe, e);
		if (r == 0)
			r = page_load(ec->catalog, pe.id, &ec->page, e);
		if (r < 0)
			return r;
		ec->next_page = (size_t)(p - v->data);
		ec->next = 0;
		ec->pack = 0;
	}
	const uint8_t *p = ec->page->data + ec->next;
	int r = extent_next(&p, ec->page->data + ec->page->len, &ec->pack, ret, e);
	if (r < 0)
		return r;
	ec->next = (size_t)(p - ec->page->data);
	if (pe.id) { /* a page's first separator is kept with the version */
		ret->sep = pe.sep;
		ret->sep_len = pe.sep_len;
	}
	ec->rows += ret->count;
	return 1;
}

/* First row whose key is not below `key`: 1 and *ret (owning a pack reference), 0 none. Leaves rc behind it. */
static int cursor_lower_bound(struct row_cursor *rc, const void *key, size_t key_len, struct stored_row *ret,
			      struct err *e)
{
	for (;;) {
		int r = row_cursor_next(rc, ret, e);
		if (r <= 0)
			return r;
		if (key_compare(ret->key, ret->key_len, key, key_len) >= 0)
			return 1;
		/* Binary search inside the extent instead of walking it. */
		const struct extent *ex = &rc->place.extent;
		uint32_t low = rc->at, high = ex->count;
		while (low < high) {
			uint32_t mid = low + (high - low) / 2;
			size_t n;
			const void *k = pack_key(rc->pack, ex->first + mid, &n);
			if (key_compare(k, n, key, key_len) < 0)
				low = mid + 1;
			else
				high = mid;
		}
		rc->at = low;
	}
}

int row_cursor_seek(struct row_cursor **ret, struct catalog *c, int64_t version_id, const void *key, size_t key_len,
		    struct err *e)
{
	_cleanup_(cleanup_row_cursor) struct row_cursor *rc = NULL;
	struct stored_row row;
	int r = cursor_open(&rc, c, version_id, SEEK_KEY, 0, key, key_len, e);
	if (r == 0)
		r = cursor_lower_bound(rc, key, key_len, &row, e);
	if (r < 0)
		return r;
	if (r == 1)
		rc->at--; /* it comes next */
	*ret = TAKE_PTR(rc);
	return 0;
}

/* The row with exactly this key: one page, one pack, and the keys of log2 of the pack's rows. */
static int row_by_key(struct catalog *c, const struct blob *vb, const void *key, size_t key_len, struct stored_row *ret,
		      struct err *e)
{
	_cleanup_(place_done) struct place pl = {0};
	_cleanup_(cleanup_pack) struct pack *p = NULL;
	_cleanup_strbuf_ struct strbuf probe = {0};
	int r = version_seek(c, vb, SEEK_KEY, 0, key, key_len, &pl, e);
	if (r <= 0)
		return r < 0 ? r : err_set(e, ENOENT, "no such row");
	r = pack_get(c, pl.extent.pack, &p, e);
	if (r < 0)
		return r == -ENOENT ? err_set(e, EIO, "catalog: pack %" PRId64 " is missing", pl.extent.pack) : r;
	uint32_t low = pl.extent.first, high = low + pl.extent.count;
	if (high > p->rows)
		return err_set(e, EIO, "pack %" PRId64 " is shorter than its page says", p->id);
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		strbuf_clear(&probe);
		r = pack_key_of(p, mid, &probe, e);
		if (r < 0)
			return r;
		int d = key_compare(probe.data, probe.len, key, key_len);
		if (d == 0) {
			r = stored_row_fill(p, mid, pl.row + (mid - pl.extent.first), ret, e);
			if (r == 0)
				p = NULL; /* the row's now */
			return r;
		}
		if (d < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return err_set(e, ENOENT, "no such row");
}

int catalog_row_by_name(struct catalog *c, int64_t version_id, const char *file_name, struct stored_row *ret,
			struct err *e)
{
	_cleanup_(cleanup_blob) struct blob *vb = NULL;
	int r = version_load(c, version_id, &vb, e);
	const struct row_codec *codec;
	if (r == 0)
		r = catalog_codec(c, vb->codec_id, &codec, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf key = {0}, name = {0};
	int exact = row_key_of_name(codec, file_name, &key);
	if (exact < 0)
		return err_set(e, ENOENT, "no such row");
	if (exact == 0) {
		/* a name that is not written as we write it is nobody's */
		row_name(codec, key.data, key.len, &name);
		return strcmp(strbuf_str(&name), file_name) == 0 ? row_by_key(c, vb, strbuf_str(&key), key.len, ret, e)
								 : err_set(e, ENOENT, "no such row");
	}
	/* A shortened name stands for a range of keys: walk those with its prefix until one has this very name. */
	_cleanup_(cleanup_row_cursor) struct row_cursor *rc = NULL;
	r = cursor_open(&rc, c, version_id, SEEK_KEY, 0, strbuf_str(&key), key.len, e);
	if (r < 0)
		return r;
	struct stored_row row;
	r = cursor_lower_bound(rc, strbuf_str(&key), key.len, &row, e);
	for (; r == 1; r = row_cursor_next(rc, &row, e)) {
		if (row.key_len < key.len || memcmp(row.key, strbuf_str(&key), key.len) != 0)
			break;
		strbuf_clear(&name);
		row_name(codec, row.key, row.key_len, &name);
		if (!strcmp(strbuf_str(&name), file_name)) {
			*ret = row;
			(void)pack_hold(row.pack);
			return 0;
		}
	}
	return r < 0 ? r : err_set(e, ENOENT, "no such row");
}

void line_spans_done(struct line_spans *s)
{
	for (size_t i = 0; i < s->n; i++)
		pack_unref(s->packs[i]);
	free(s->v);
	free(s->packs);
	*s = (struct line_spans){0};
}

/* Takes the pack's reference. */
static void line_spans_add(struct line_spans *s, struct pack *p, const char *lines, size_t len)
{
	if (s->n >= 8 ? (s->n & (s->n - 1)) == 0 : s->n == 0) {
		size_t cap = s->n ? s->n * 2 : 8;
		s->v = xrealloc(s->v, cap * sizeof *s->v);
		s->packs = xrealloc(s->packs, cap * sizeof *s->packs);
	}
	s->v[s->n] = (struct iovec){(char *)(uintptr_t)lines, len};
	s->packs[s->n++] = p;
	s->bytes += len;
}

int catalog_line_spans(struct catalog *c, int64_t version_id, uint64_t offset, size_t n, struct line_spans *ret,
		       struct err *e)
{
	_cleanup_(line_spans_done) struct line_spans spans = {0};
	_cleanup_(cleanup_blob) struct blob *vb = NULL;
	_cleanup_(place_done) struct place pl = {0};
	int r = version_load(c, version_id, &vb, e);
	if (r < 0)
		return r;
	r = version_seek(c, vb, SEEK_BYTE, offset, NULL, 0, &pl, e);
	while (r == 1 && spans.bytes < n) {
		_cleanup_(cleanup_pack) struct pack *p = NULL;
		r = pack_get(c, pl.extent.pack, &p, e);
		if (r < 0)
			return r == -ENOENT ? err_set(e, EIO, "catalog: pack %" PRId64 " is missing", pl.extent.pack)
					    : r;
		if (pl.extent.first + pl.extent.count > p->rows)
			return err_set(e, EIO, "pack %" PRId64 " is shorter than its page says", p->id);
		const char *lines = p->raw + p->line_at[pl.extent.first];
		size_t have = p->line_at[pl.extent.first + pl.extent.count] - p->line_at[pl.extent.first];
		if (have != pl.extent.line_bytes)
			return err_set(e, EIO, "pack %" PRId64 ": its lines differ from its page", p->id);
		size_t skip = offset > pl.byte ? (size_t)(offset - pl.byte) : 0;
		size_t take = have - skip < n - spans.bytes ? have - skip : n - spans.bytes;
		line_spans_add(&spans, TAKE_PTR(p), lines + skip, take);
		r = 1;
		if (spans.bytes < n)
			r = place_advance(c, vb, &pl, e);
	}
	if (r == 0 && offset + spans.bytes < vb->line_bytes)
		return err_set(e, EIO, "catalog: a table version is damaged: its lines end early");
	if (r < 0)
		return r;
	*ret = spans;
	spans = (struct line_spans){0};
	return 0;
}

int catalog_read_lines(struct catalog *c, int64_t version_id, uint64_t offset, void *buf, size_t n, size_t *ret_n,
		       struct err *e)
{
	_cleanup_(line_spans_done) struct line_spans spans = {0};
	*ret_n = 0;
	int r = catalog_line_spans(c, version_id, offset, n, &spans, e);
	for (size_t i = 0; r == 0 && i < spans.n; i++) {
		memcpy((char *)buf + *ret_n, spans.v[i].iov_base, spans.v[i].iov_len);
		*ret_n += spans.v[i].iov_len;
	}
	return r;
}

int catalog_table_json(struct catalog *c, int64_t version_id, struct strbuf *out, struct err *e)
{
	_cleanup_(cleanup_blob) struct blob *vb = NULL;
	int r = version_load(c, version_id, &vb, e);
	const struct row_codec *codec;
	if (r == 0)
		r = catalog_codec(c, vb->codec_id, &codec, e);
	if (r < 0)
		return r;
	const struct db_table *t = row_codec_table(codec);
	struct manifest_table mt = {.name = t->name,
				    .rows = vb->rows,
				    .line_bytes = vb->line_bytes,
				    .file_bytes = vb->file_bytes,
				    .since_ms = vb->since_ms};
	memcpy(mt.digest, vb->digest.sum, sizeof mt.digest);
	table_json_render(t, &mt, out);
	return 0;
}
