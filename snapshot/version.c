/*
 * snapshot/version.c - reading table versions: from row number, byte offset, key or name to a row in a pack.
 *
 * Any thread; nothing here is shared but the catalog's own parts. A version's page list is one small blob; a lookup
 * reads it, one page of extents and one pack. The written form is described at struct extent in store.h; varints
 * throughout: version: (page id, rows, line bytes, separator length, separator) for each page page:    (zigzag pack id
 * delta, first, count, line bytes, what the row files have more, separator length, separator) for each extent
 */
#include "snapshot/store.h"

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

static int version_one(struct catalog *c, int64_t snapshot_id, const char *table, size_t ordinal,
		       struct version_info *ret, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r;
	sqlite3_stmt *st = store_stmt(db, table ? STMT_SNAPSHOT_TABLE : STMT_SNAPSHOT_TABLE_AT, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, snapshot_id);
		if (table)
			sqlite3_bind_text(st, 2, table, -1, SQLITE_STATIC);
		else
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
	return version_one(c, snapshot_id, table, 0, ret, e);
}

int catalog_table_at(struct catalog *c, int64_t snapshot_id, size_t ordinal, struct version_info *ret, struct err *e)
{
	return version_one(c, snapshot_id, NULL, ordinal, ret, e);
}

/* ---- blobs ---- */

struct version_blob {
	struct strbuf pages;
	int64_t codec_id;
	uint64_t rows, line_bytes, file_bytes;
	int64_t since_ms;
	struct digest digest;
};

static void version_blob_done(struct version_blob *vb)
{
	strbuf_done(&vb->pages);
}

static int version_load(struct catalog *c, int64_t version_id, struct version_blob *ret, struct err *e)
{
	*ret = (struct version_blob){0};
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
			ret->codec_id = sqlite3_column_int64(st, 0);
			ret->rows = (uint64_t)sqlite3_column_int64(st, 1);
			ret->line_bytes = (uint64_t)sqlite3_column_int64(st, 2);
			ret->file_bytes = (uint64_t)sqlite3_column_int64(st, 3);
			memcpy(ret->digest.sum, sqlite3_column_blob(st, 4), ROW_SHA_LEN);
			ret->digest.count = ret->rows;
			ret->since_ms = sqlite3_column_int64(st, 7);
			if (sqlite3_column_bytes(st, 5))
				strbuf_add(&ret->pages, sqlite3_column_blob(st, 5),
					   (size_t)sqlite3_column_bytes(st, 5));
		} else if (step == SQLITE_ROW) {
			r = err_set(e, EIO, "catalog: table version %" PRId64 " is damaged", version_id);
		} else {
			r = step == SQLITE_DONE ? err_set(e, ENOENT, "no such table version")
						: store_error(db, "reading a table version", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
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
 * own. */
static int page_load(struct catalog *c, uint64_t page_id, struct strbuf *ret, struct err *e)
{
	strbuf_clear(ret);
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
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
				      sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1), ret))
			r = err_set(e, EIO, "catalog: page %" PRIu64 " is damaged", page_id);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
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
	struct strbuf page;       /* the extents' page */
	const uint8_t *next;      /* in page: the extent after this one */
	int64_t pack;             /* delta base for it */
	const uint8_t *next_page; /* in version.pages */
	struct extent extent;
	uint64_t row, byte; /* number of the extent's first row, offset of its first line */
};

static void place_done(struct place *pl)
{
	strbuf_done(&pl->page);
}

enum seek { SEEK_ROW, SEEK_BYTE, SEEK_KEY };

/*
 * Finds the extent that holds row `n`, byte `n` or (the last one that can hold) the key. 1: found, 0: behind the end.
 * Linear over the version's page entries and one page: both are short (16 extents a page on average) and in one blob.
 */
static int version_seek(struct catalog *c, const struct version_blob *vb, enum seek how, uint64_t n, const void *key,
			size_t key_len, struct place *pl, struct err *e)
{
	const uint8_t *p = (const uint8_t *)vb->pages.data, *end = p + vb->pages.len;
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
	const uint8_t *x = (const uint8_t *)pl->page.data, *xend = x + pl->page.len;
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
static int place_advance(struct catalog *c, const struct version_blob *vb, struct place *pl, struct err *e)
{
	pl->row += pl->extent.count;
	pl->byte += pl->extent.line_bytes;
	const uint8_t *xend = (const uint8_t *)pl->page.data + pl->page.len;
	if (pl->next == xend) {
		const uint8_t *end = (const uint8_t *)vb->pages.data + vb->pages.len;
		if (pl->next_page == end)
			return 0;
		struct page_entry pe;
		int r = page_entry_next(&pl->next_page, end, &pe, e);
		if (r == 0)
			r = page_load(c, pe.id, &pl->page, e);
		if (r < 0)
			return r;
		pl->next = (const uint8_t *)pl->page.data;
		pl->pack = 0;
		xend = pl->next + pl->page.len;
	}
	int r = extent_next(&pl->next, xend, &pl->pack, &pl->extent, e);
	return r < 0 ? r : 1;
}

/* ---- rows ---- */

static int stored_row_fill(struct pack *p, uint32_t index, uint64_t number, struct stored_row *ret, struct err *e)
{
	if (index >= p->rows)
		return err_set(e, EIO, "pack %" PRId64 " has no row %u", p->id, index);
	int r = pack_keys(p, e);
	if (r < 0)
		return r;
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
	ret->key = pack_key(p, index, &ret->key_len);
	return 0;
}

void stored_row_done(struct stored_row *r)
{
	pack_put(r->pack);
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
		pack_put(p);
	return r;
}

struct row_cursor {
	struct catalog *catalog;
	struct version_blob version;
	struct place place;
	struct pack *pack;
	uint32_t at; /* rows of the extent already given */
	bool end;
};

void row_cursor_close(struct row_cursor *rc)
{
	if (!rc)
		return;
	pack_put(rc->pack);
	strbuf_done(&rc->version.pages);
	strbuf_done(&rc->place.page);
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
	r = version_seek(c, &rc->version, how, first, key, key_len, &rc->place, e);
	if (r < 0)
		return r;
	rc->end = r == 0;
	if (rc->end && first < rc->version.rows)
		return err_set(e, EIO, "catalog: a table version is damaged: it has no row %" PRIu64 " of its %" PRIu64,
			       first, rc->version.rows);
	if (!rc->end && how == SEEK_ROW)
		rc->at = (uint32_t)(first - rc->place.row);
	*ret = TAKE_PTR(rc);
	return 0;
}

int row_cursor_open(struct row_cursor **ret, struct catalog *c, int64_t version_id, uint64_t first, struct err *e)
{
	return cursor_open(ret, c, version_id, SEEK_ROW, first, NULL, 0, e);
}

int row_cursor_next(struct row_cursor *rc, struct stored_row *ret, struct err *e)
{
	if (rc->end)
		return 0;
	if (rc->at == rc->place.extent.count) {
		int r = place_advance(rc->catalog, &rc->version, &rc->place, e);
		if (r == 0 && rc->place.row != rc->version.rows)
			r = err_set(e, EIO,
				    "catalog: a table version is damaged: it ends after %" PRIu64 " of its %" PRIu64
				    " rows",
				    rc->place.row, rc->version.rows);
		if (r <= 0) {
			rc->end = r == 0;
			return r;
		}
		rc->at = 0;
	}
	if (!rc->pack || rc->pack->id != rc->place.extent.pack) {
		pack_put(rc->pack);
		rc->pack = NULL;
		int r = pack_get(rc->catalog, rc->place.extent.pack, &rc->pack, e);
		if (r < 0)
			/* A page names it: its absence is damage, not "no such row". */
			return r == -ENOENT
				   ? err_set(e, EIO, "catalog: pack %" PRId64 " is missing", rc->place.extent.pack)
				   : r;
	}
	int r = stored_row_fill(rc->pack, rc->place.extent.first + rc->at, rc->place.row + rc->at, ret, e);
	if (r < 0)
		return r;
	rc->at++;
	return 1;
}

/* ---- extents ---- */

struct extent_cursor {
	struct catalog *catalog;
	struct version_blob version;
	const uint8_t *next_page; /* in version.pages */
	struct strbuf page;
	const uint8_t *next; /* in page */
	int64_t pack;        /* delta base */
	uint64_t rows;
};

void extent_cursor_close(struct extent_cursor *ec)
{
	if (!ec)
		return;
	strbuf_done(&ec->version.pages);
	strbuf_done(&ec->page);
	free(ec);
}

int extent_cursor_open(struct extent_cursor **ret, struct catalog *c, int64_t version_id, struct err *e)
{
	_cleanup_(cleanup_extent_cursor) struct extent_cursor *ec = xcalloc(1, sizeof *ec);
	ec->catalog = c;
	int r = version_load(c, version_id, &ec->version, e);
	if (r < 0)
		return r;
	ec->next_page = (const uint8_t *)ec->version.pages.data;
	*ret = TAKE_PTR(ec);
	return 0;
}

int extent_cursor_next(struct extent_cursor *ec, struct extent *ret, struct err *e)
{
	const uint8_t *end = (const uint8_t *)ec->page.data + ec->page.len;
	const uint8_t *pages_end = (const uint8_t *)ec->version.pages.data + ec->version.pages.len;
	struct page_entry pe = {0};
	if (ec->next == end) {
		if (ec->next_page == pages_end)
			return ec->rows == ec->version.rows
				   ? 0
				   : err_set(e, EIO, "catalog: a table version is damaged: it ends early");
		int r = page_entry_next(&ec->next_page, pages_end, &pe, e);
		if (r == 0)
			r = page_load(ec->catalog, pe.id, &ec->page, e);
		if (r < 0)
			return r;
		ec->next = (const uint8_t *)ec->page.data;
		end = ec->next + ec->page.len;
		ec->pack = 0;
	}
	int r = extent_next(&ec->next, end, &ec->pack, ret, e);
	if (r < 0)
		return r;
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

int catalog_row_by_name(struct catalog *c, int64_t version_id, const char *file_name, struct stored_row *ret,
			struct err *e)
{
	struct version_blob vb;
	int r = version_load(c, version_id, &vb, e);
	strbuf_done(&vb.pages);
	const struct row_codec *codec;
	if (r == 0)
		r = catalog_codec(c, vb.codec_id, &codec, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf key = {0}, name = {0};
	int exact = row_key_of_name(codec, file_name, &key);
	if (exact < 0)
		return err_set(e, ENOENT, "no such row");
	_cleanup_(cleanup_row_cursor) struct row_cursor *rc = NULL;
	r = cursor_open(&rc, c, version_id, SEEK_KEY, 0, strbuf_str(&key), key.len, e);
	if (r < 0)
		return r;
	struct stored_row row;
	r = cursor_lower_bound(rc, strbuf_str(&key), key.len, &row, e);
	/* A shortened name stands for a range of keys: walk those with its prefix until one has this very name. */
	for (; r == 1; r = row_cursor_next(rc, &row, e)) {
		if (exact == 0 && key_compare(row.key, row.key_len, key.data, key.len) != 0)
			break;
		if (exact == 1 && (row.key_len < key.len || memcmp(row.key, strbuf_str(&key), key.len) != 0))
			break;
		strbuf_clear(&name);
		row_name(codec, row.key, row.key_len, &name);
		if (!strcmp(strbuf_str(&name), file_name)) {
			*ret = row;
			(void)pack_hold(row.pack);
			return 0;
		}
		if (exact == 0)
			break;
	}
	return r < 0 ? r : err_set(e, ENOENT, "no such row");
}

int catalog_read_lines(struct catalog *c, int64_t version_id, uint64_t offset, void *buf, size_t n, size_t *ret_n,
		       struct err *e)
{
	*ret_n = 0;
	_cleanup_(version_blob_done) struct version_blob vb = {0};
	_cleanup_(place_done) struct place pl = {0};
	int r = version_load(c, version_id, &vb, e);
	if (r < 0)
		return r;
	r = version_seek(c, &vb, SEEK_BYTE, offset, NULL, 0, &pl, e);
	while (r == 1 && *ret_n < n) {
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
		size_t take = have - skip < n - *ret_n ? have - skip : n - *ret_n;
		memcpy((char *)buf + *ret_n, lines + skip, take);
		*ret_n += take;
		r = 1;
		if (*ret_n < n)
			r = place_advance(c, &vb, &pl, e);
	}
	if (r == 0 && offset + *ret_n < vb.line_bytes)
		return err_set(e, EIO, "catalog: a table version is damaged: its lines end early");
	return r < 0 ? r : 0;
}

int catalog_table_json(struct catalog *c, int64_t version_id, struct strbuf *out, struct err *e)
{
	struct version_blob vb;
	int r = version_load(c, version_id, &vb, e);
	strbuf_done(&vb.pages);
	const struct row_codec *codec;
	if (r == 0)
		r = catalog_codec(c, vb.codec_id, &codec, e);
	if (r < 0)
		return r;
	const struct db_table *t = row_codec_table(codec);
	struct manifest_table mt = {.name = t->name,
				    .rows = vb.rows,
				    .line_bytes = vb.line_bytes,
				    .file_bytes = vb.file_bytes,
				    .since_ms = vb.since_ms};
	memcpy(mt.digest, vb.digest.sum, sizeof mt.digest);
	table_json_render(t, &mt, out);
	return 0;
}
