/*
 * snapshot/store/page.c - a version's list of pages, and pages: as they are stored, read and checked, and those read
 * last.
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

struct blob_row {
	struct lru *cache;
	int64_t id;
	struct blob *blob;
};

static int version_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct blob_row *row = arg;
	struct digest digest = {.count = (uint64_t)sqlite3_column_int64(st, 1)};
	if (!column_sha(st, 4, digest.sum))
		return err_set(e, EIO, "catalog: table version %" PRId64 " is damaged", row->id);
	const void *pages = sqlite3_column_blob(st, 5);
	struct blob *b = row->blob = blob_new(row->cache, pages, (size_t)sqlite3_column_bytes(st, 5));
	b->codec_id = sqlite3_column_int64(st, 0);
	b->rows = digest.count;
	b->line_bytes = (uint64_t)sqlite3_column_int64(st, 2);
	b->file_bytes = (uint64_t)sqlite3_column_int64(st, 3);
	b->digest = digest;
	b->since_ms = sqlite3_column_int64(st, 7);
	return 0;
}

int version_load(struct catalog *c, int64_t version_id, struct blob **ret, struct err *e)
{
	*ret = blob_get(c->blobs, BLOB_VERSION, version_id);
	if (*ret)
		return 0;
	struct blob_row row = {.cache = c->blobs, .id = version_id};
	int r = store_read(c, STMT_VERSION, BINDS(bind_int(version_id)), version_from_row, &row,
			   "reading a table version", e);
	if (row.blob)
		*ret = blob_add(row.blob, BLOB_VERSION, version_id);
	return r < 0 ? r : r == 0 ? err_set(e, ENOENT, "no such table version") : 0;
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

static int page_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct blob_row *row = arg;
	_cleanup_strbuf_ struct strbuf whole = {0};
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	if (!page_unpack(h, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0), sqlite3_column_blob(st, 1),
			 (size_t)sqlite3_column_bytes(st, 1), &whole))
		return err_set(e, EIO, "catalog: page %" PRId64 " is damaged", row->id);
	row->blob = blob_new(row->cache, whole.data, whole.len);
	return 0;
}

int page_load(struct catalog *c, uint64_t page_id, struct blob **ret, struct err *e)
{
	struct blob *page = blob_get(c->blobs, BLOB_PAGE, (int64_t)page_id);
	if (!page) {
		struct blob_row row = {.cache = c->blobs, .id = (int64_t)page_id};
		int r = store_read(c, STMT_PAGE, BINDS(bind_int((int64_t)page_id)), page_from_row, &row,
				   "reading a page", e);
		if (r <= 0)
			return r < 0 ? r : err_set(e, EIO, "catalog: page %" PRIu64 " is missing", page_id);
		page = blob_add(row.blob, BLOB_PAGE, (int64_t)page_id);
	}
	blob_unref(*ret);
	*ret = page;
	return 0;
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
