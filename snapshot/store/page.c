/*
 * snapshot/store/page.c - a version's list of pages, and pages: as they are stored, read and checked, and those read last.
 *
 * Any thread. The cache has one mutex, held for list work only. The written form, varints throughout:
 *
 *   version: for each page    page id, rows, line bytes, what the row files have more, separator length, separator
 *   page:    for each extent  pack id (zigzag, from the one before), first row, rows, line bytes, what the row files
 *                             have more, separator length, separator (extent.c)
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

#define PAGE_LEVEL 3 /* measured on an OpenMetadata-shaped database: half the bytes; one page takes microseconds */
#define PAGE_BYTES_MAX (256ULL << 20)

enum blob_kind { BLOB_VERSION, BLOB_PAGE };

static void blob_free_entry(struct lru_entry *x)
{
	free(x);
}

struct lru *blob_cache_new(size_t bytes)
{
	return lru_new(bytes, blob_free_entry);
}

static struct blob *blob_new(struct lru *cache, const void *data, size_t len)
{
	struct blob *b = xmalloc(sizeof *b + len);
	*b = (struct blob){.cache = cache, .len = len};
	if (len)
		memcpy(b->data, data, len);
	return b;
}

static struct blob *blob_get(struct lru *cache, enum blob_kind kind, int64_t id)
{
	return (struct blob *)lru_get(cache, (uint64_t)id, kind);
}

/* Keeps b, or what another thread put there meanwhile. */
static struct blob *blob_add(struct blob *b, enum blob_kind kind, int64_t id)
{
	return (struct blob *)lru_add(b->cache, &b->entry, (uint64_t)id, kind, sizeof *b + b->len);
}

void blob_unref(struct blob *b)
{
	if (b)
		lru_unref(b->cache, &b->entry);
}

int version_load(struct catalog *c, int64_t version_id, struct blob **ret, struct err *e)
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
			vb = blob_new(c->blobs, pages, (size_t)sqlite3_column_bytes(st, 5));
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
	*ret = vb ? blob_add(vb, BLOB_VERSION, version_id) : NULL;
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

int page_load(struct catalog *c, uint64_t page_id, struct blob **ret, struct err *e)
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
			page = blob_new(c->blobs, whole.data, whole.len);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (page) {
		blob_unref(*ret);
		*ret = blob_add(page, BLOB_PAGE, (int64_t)page_id);
	}
	return r;
}

int page_entry_next(const uint8_t **p, const uint8_t *end, struct page_entry *ret, struct err *e)
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
