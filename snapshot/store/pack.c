/*
 * snapshot/store/pack.c - packs: their raw form, their rows and keys, and the cache of unpacked ones.
 *
 * Any thread. Reading, unpacking and making keys run outside of the cache's mutex, so two threads may do the same at
 * once; the second result is dropped.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

void pack_free(struct pack *p)
{
	if (!p)
		return;
	free(p->raw);
	free(p->line_at);
	free(p->file_size);
	free(p->number);
	free(p->key_at);
	free(p);
}

/* ---- cache ---- */

static void pack_free_entry(struct lru_entry *x)
{
	pack_free((struct pack *)x);
}

struct lru *pack_cache_new(size_t bytes)
{
	return lru_new(bytes, pack_free_entry);
}

struct pack *pack_hold(struct pack *p)
{
	(void)lru_ref(p->cache, &p->entry);
	return p;
}

void pack_unref(struct pack *p)
{
	if (p)
		lru_unref(p->cache, &p->entry);
}

/* ---- reading ---- */

static int pack_damaged(int64_t id, const char *why, struct err *e)
{
	return err_set(e, EIO, "pack %" PRId64 " is damaged: %s", id, why);
}

/* Fills the arrays from the raw bytes. */
static int pack_index(struct pack *p, struct err *e)
{
	const uint8_t *at = (const uint8_t *)p->raw, *end = at + p->raw_len;
	uint64_t rows;
	if (!varint_get(&at, end, &rows) || rows == 0 || rows > PACK_MAX_ROWS)
		return pack_damaged(p->id, "row count", e);
	p->rows = (uint32_t)rows;
	bool hashed = row_key_is_hashed(p->codec);
	p->line_at = xmalloc((rows + 1) * sizeof *p->line_at);
	p->file_size = xmalloc(rows * sizeof *p->file_size);
	p->number = hashed ? xmalloc(rows * sizeof *p->number) : NULL;
	for (uint64_t i = 0; i < rows; i++)
		if (!varint_get(&at, end, &p->file_size[i]) || (hashed && !varint_get(&at, end, &p->number[i])))
			return pack_damaged(p->id, "row sizes", e);
	const char *line = (const char *)at;
	for (uint64_t i = 0; i < rows; i++) {
		const char *nl = memchr(line, '\n', (size_t)((const char *)end - line));
		if (!nl)
			return pack_damaged(p->id, "lines", e);
		p->line_at[i] = (uint32_t)(line - p->raw);
		p->file_size[i] += (uint64_t)(nl - line);
		line = nl + 1;
	}
	p->line_at[rows] = (uint32_t)(line - p->raw);
	if (line != (const char *)end)
		return pack_damaged(p->id, "lines", e);
	p->memory = sizeof *p + p->raw_len + rows * (sizeof *p->line_at * 2 + sizeof *p->file_size * 2);
	return 0;
}

static int pack_unpack(struct catalog *c, struct pack *p, const void *data, size_t len, const ZSTD_DDict *dict,
		       struct err *e)
{
	unsigned long long raw_len = ZSTD_getFrameContentSize(data, len);
	if (raw_len == ZSTD_CONTENTSIZE_ERROR || raw_len == ZSTD_CONTENTSIZE_UNKNOWN || raw_len == 0 ||
	    raw_len > UINT32_MAX)
		return pack_damaged(p->id, "frame header", e);
	p->raw = malloc(raw_len + 1);
	if (!p->raw)
		return err_set(e, ENOMEM, "pack %" PRId64 ": no memory for %llu bytes", p->id, raw_len);
	size_t got = decompress(c->decompressors, p->raw, raw_len, data, len, dict);
	if (ZSTD_isError(got))
		return pack_damaged(p->id, ZSTD_getErrorName(got), e);
	if (got != raw_len)
		return pack_damaged(p->id, "length", e);
	p->raw[raw_len] = '\0';
	p->raw_len = raw_len;
	return 0;
}

/* Gives p->codec_id, dict_id and the compressed bytes their meaning. */
static int pack_open(struct catalog *c, struct pack *p, const void *data, size_t len, int64_t dict_id, struct err *e)
{
	const ZSTD_DDict *dict = NULL;
	int r = dict_id ? store_ddict(c, dict_id, &dict, e) : 0;
	if (r < 0)
		return r;
	r = catalog_codec(c, p->codec_id, &p->codec, e);
	if (r < 0)
		return r;
	r = pack_unpack(c, p, data, len, dict, e);
	return r < 0 ? r : pack_index(p, e);
}

int pack_parse(struct catalog *c, int64_t id, int64_t codec_id, int64_t dict_id, const void *data, size_t len,
	       struct pack **ret, struct err *e)
{
	struct pack *p = xcalloc(1, sizeof *p);
	p->id = id;
	p->codec_id = codec_id;
	int r = pack_open(c, p, data, len, dict_id, e);
	if (r < 0)
		pack_free(p);
	else
		*ret = p;
	return r;
}

struct pack_row {
	struct pack *pack;
	uint8_t *sha;
	int64_t dict_id;
	struct strbuf data;
};

static int pack_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct pack_row *row = arg;
	row->pack->codec_id = sqlite3_column_int64(st, 0);
	row->pack->first_seen_ms = sqlite3_column_int64(st, 1);
	row->dict_id = sqlite3_column_int64(st, 2);
	if (row->sha)
		(void)column_sha(st, 3, row->sha);
	column_add(st, 4, &row->data);
	return 0;
}

/* Reads and unpacks without the cache. sha (may be NULL) gets the stored SHA-256 of the raw bytes. */
static int pack_load(struct catalog *c, int64_t id, struct pack **ret, uint8_t *sha, int64_t *ret_dict_id,
		     struct err *e)
{
	_cleanup_(cleanup_loose_pack) struct pack *p = xcalloc(1, sizeof *p);
	struct pack_row row = {.pack = p, .sha = sha};
	p->id = id;
	int r = store_read(c, STMT_PACK, BINDS(bind_int(id)), pack_from_row, &row, "reading a pack", e);
	if (r == 0)
		r = err_set(e, ENOENT, "pack %" PRId64 " is not in the catalog", id);
	else if (r > 0)
		r = pack_open(c, p, row.data.data, row.data.len, row.dict_id, e);
	strbuf_done(&row.data);
	if (r < 0)
		return r;
	if (ret_dict_id)
		*ret_dict_id = row.dict_id;
	*ret = TAKE_PTR(p);
	return 0;
}

int pack_get(struct catalog *c, int64_t id, struct pack **ret, struct err *e)
{
	struct lru_entry *x = lru_get(c->packs, (uint64_t)id, 0);
	if (!x) {
		struct pack *p;
		int r = pack_load(c, id, &p, NULL, NULL, e);
		if (r < 0)
			return r;
		p->cache = c->packs;
		x = lru_add(c->packs, &p->entry, (uint64_t)id, 0, p->memory);
	}
	*ret = (struct pack *)x;
	return 0;
}

static int pack_make_key(const struct pack *p, uint32_t i, struct hasher *h, struct strbuf *out, struct err *e)
{
	size_t len;
	const char *line = pack_line(p, i, &len);
	uint8_t sha[ROW_SHA_LEN];
	if (h)
		hasher_sha256(h, line, len, sha);
	int r = row_key(p->codec, line, len, h ? sha : NULL, p->number ? p->number[i] : 0, out, e);
	return r < 0 ? pack_damaged(p->id, "a row does not fit its table", e) : 0;
}

int pack_key_of(const struct pack *p, uint32_t i, struct strbuf *out, struct err *e)
{
	_cleanup_(cleanup_hasher) struct hasher *h = p->number ? hasher_new() : NULL;
	return pack_make_key(p, i, h, out, e);
}

int pack_keys(struct pack *p, struct err *e)
{
	if (atomic_load_explicit(&p->key_at, memory_order_acquire))
		return 0;
	_cleanup_strbuf_ struct strbuf all = {0}; /* the offsets, then the keys */
	_cleanup_(cleanup_hasher) struct hasher *h = p->number ? hasher_new() : NULL;
	size_t head = (p->rows + 1) * sizeof(uint32_t);
	strbuf_reserve(&all, head);
	all.len = head;
	for (uint32_t i = 0; i <= p->rows; i++) {
		uint32_t at = (uint32_t)(all.len - head);
		memcpy(all.data + i * sizeof at, &at, sizeof at);
		/* A row that was dropped has no key; nothing asks for it. */
		int r = i == p->rows || pack_is_dropped(p, i) ? 0 : pack_make_key(p, i, h, &all, e);
		if (r < 0)
			return r;
	}
	uint32_t *none = NULL;
	if (atomic_compare_exchange_strong(&p->key_at, &none, (uint32_t *)(void *)all.data)) {
		lru_grow(p->cache, &p->entry, all.cap - head);
		all = (struct strbuf){0};
	}
	return 0;
}

void pack_sum(const struct pack *p, struct hasher *h, uint8_t out[ROW_SHA_LEN])
{
	_cleanup_strbuf_ struct strbuf all = {0};
	uint8_t sha[ROW_SHA_LEN];
	strbuf_add(&all, p->raw, p->line_at[0]);
	for (uint32_t i = 0; i < p->rows; i++) {
		size_t len;
		const char *line = pack_line(p, i, &len);
		hasher_sha256(h, line, len, sha);
		strbuf_add(&all, sha, sizeof sha);
	}
	hasher_sha256(h, all.data, all.len, out);
}

int pack_load_whole(struct catalog *c, int64_t id, struct hasher *h, struct pack **ret, uint8_t sha[ROW_SHA_LEN],
		    int64_t *ret_dict_id, struct err *e)
{
	struct pack *p;
	uint8_t got[ROW_SHA_LEN];
	memset(sha, 0, ROW_SHA_LEN);
	int r = pack_load(c, id, &p, sha, ret_dict_id, e);
	if (r < 0)
		return r;
	pack_sum(p, h, got);
	if (memcmp(got, sha, sizeof got)) {
		pack_free(p);
		return pack_damaged(id, "SHA-256 differs", e);
	}
	*ret = p;
	return 0;
}

int pack_verify(struct catalog *c, int64_t id, struct hasher *h, struct err *e)
{
	struct pack *p = NULL;
	uint8_t sha[ROW_SHA_LEN];
	int r = pack_load_whole(c, id, h, &p, sha, NULL, e);
	if (r == 0)
		pack_free(p);
	return r;
}
