/*
 * snapshot/store/repack.c - dropping the rows of packs that no table version names any more.
 *
 * A pack keeps its number and its rows their places, so that nothing but the pack changes: no version, no page, no
 * inode number, no time. Each rewritten pack is unpacked again and compared with the old one, row by row, before it is
 * stored. Any thread.
 *
 * What is live is marked with the WRITERS lock held alone, as in a sweep. A row that no version names then is never
 * named again: writers that begin later keep only rows of listed snapshots. So packs are rewritten in small
 * transactions afterwards, each with the lock held alone again, and writers get their turn between them.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

#define REPACK_WINDOW 65536 /* packs looked at in one pass over the pages: bounds the memory */
#define REPACK_BATCH (1U << 20)
/* A pack is rewritten when a tenth of it is dead and that is about this much of what is stored. Measured on 100
 * snapshots pruned to 1: with a fourth, packs keep 17 % of waste, with a tenth 6 %, for less than a second more CPU. */
#define REPACK_WORTH_SHARE 10U
#define REPACK_WORTH_BYTES 256U
#define REPACK_DICTS 8
#define FRAME_HEADER_MAX 18U /* ZSTD_FRAMEHEADERSIZE_MAX, which the public header does not tell */

/* The live rows of one pack. */
struct live {
	uint32_t room;  /* rows that bits has room for */
	uint64_t bytes; /* of their lines; about, where extents overlap */
	uint8_t bits[];
};

/* A pack to be stored. */
struct rewritten {
	int64_t id;
	uint8_t old_sha[ROW_SHA_LEN], sha[ROW_SHA_LEN];
	void *data;
	size_t len;
	uint64_t dropped;
};

struct repacking {
	struct catalog *catalog;
	struct repack *result;
	struct hasher *hasher;
	struct compressor *compressor;
	int64_t first; /* the window's first pack */
	struct live **live;
	struct rewritten *batch;
	size_t n_batch, cap_batch, batch_bytes;
	struct {
		int64_t id;
		ZSTD_CDict *dict;
	} dict[REPACK_DICTS];
	size_t next_dict;
	struct err damage; /* the first */
};

static bool live_has(const struct live *l, uint32_t row)
{
	return row < l->room && (l->bits[row / 8] >> (row % 8) & 1);
}

static void repack_clear_batch(struct repacking *k)
{
	for (size_t i = 0; i < k->n_batch; i++)
		free(k->batch[i].data);
	k->n_batch = 0;
	k->batch_bytes = 0;
}

static void repack_clear_window(struct repacking *k)
{
	for (size_t i = 0; i < REPACK_WINDOW; i++)
		free(TAKE_PTR(k->live[i]));
}

static void repack_done(struct repacking *k)
{
	repack_clear_batch(k);
	free(k->batch);
	repack_clear_window(k);
	free(k->live);
	for (size_t i = 0; i < REPACK_DICTS; i++)
		(void)ZSTD_freeCDict(k->dict[i].dict);
	hasher_free(k->hasher);
	compressor_free(k->compressor);
}

static void repack_note_damage(struct repacking *k, const struct err *why)
{
	if (!k->damage.code)
		k->damage = *why;
}

/* ---- what is live ---- */

static int repack_mark(void *arg, const struct extent *x)
{
	struct repacking *k = arg;
	if (x->pack < k->first || x->pack - k->first >= REPACK_WINDOW)
		return 0;
	struct live **at = &k->live[x->pack - k->first], *l = *at;
	uint32_t end = x->first + x->count, room = l ? l->room : 0, added = 0;
	if (end > room) {
		uint32_t more = (end + 63) / 64 * 64;
		l = *at = xrealloc(l, sizeof *l + more / 8);
		if (!room)
			l->bytes = 0;
		memset(l->bits + room / 8, 0, (more - room) / 8);
		l->room = more;
	}
	for (uint32_t i = x->first; i < end; i++) {
		added += !live_has(l, i);
		l->bits[i / 8] |= (uint8_t)(1U << (i % 8));
	}
	l->bytes += x->line_bytes * added / x->count;
	return 0;
}

/* True when so much of a pack seems to be dead that it should be rewritten; its frame's header tells its size. */
static bool repack_seems_worth(struct store_db *db, int64_t id, const struct live *l, sqlite3_blob **blob)
{
	uint8_t head[FRAME_HEADER_MAX];
	int q = *blob ? sqlite3_blob_reopen(*blob, id) : sqlite3_blob_open(db->h, "main", "pack", "data", id, 0, blob);
	if (q != SQLITE_OK) { /* who reads it will say so */
		(void)sqlite3_blob_close(TAKE_PTR(*blob));
		return false;
	}
	size_t len = (size_t)sqlite3_blob_bytes(*blob), n = len < sizeof head ? len : sizeof head;
	if (sqlite3_blob_read(*blob, head, (int)n, 0) != SQLITE_OK)
		return false;
	unsigned long long raw = ZSTD_getFrameContentSize(head, n);
	if (raw == ZSTD_CONTENTSIZE_ERROR || raw == ZSTD_CONTENTSIZE_UNKNOWN || raw <= l->bytes)
		return false;
	uint64_t dead = raw - l->bytes;
	return dead >= raw / REPACK_WORTH_SHARE && len * dead / raw >= REPACK_WORTH_BYTES;
}

/* Marks the window's live rows; then only those of packs that seem worth it are left. SWEEP_LATER: not now. */
static int repack_look(struct repacking *k, struct err *e)
{
	_cleanup_close_ int fd = store_lock(k->catalog, STORE_LOCK_WRITERS, true, ERR_DROP);
	if (fd < 0)
		return SWEEP_LATER;
	struct store_db *db = store_write_begin(k->catalog, STORE_LAZY, e);
	if (!db)
		return err_code(e);
	sqlite3_blob *blob = NULL;
	int r = sweep_each_extent(db, repack_mark, k, e);
	for (size_t i = 0; r == 0 && i < REPACK_WINDOW; i++)
		if (k->live[i] && !repack_seems_worth(db, k->first + (int64_t)i, k->live[i], &blob))
			free(TAKE_PTR(k->live[i]));
	(void)sqlite3_blob_close(blob);
	return store_write_end(k->catalog, db, r, e);
}

/* ---- rewriting ---- */

static int repack_dict(struct repacking *k, int64_t id, const ZSTD_CDict **ret, struct err *e)
{
	*ret = NULL;
	if (!id)
		return 0;
	for (size_t i = 0; i < REPACK_DICTS; i++)
		if (k->dict[i].id == id) {
			*ret = k->dict[i].dict;
			return 0;
		}
	_cleanup_strbuf_ struct strbuf data = {0};
	int r = store_dict(k->catalog, id, &data, e);
	if (r < 0)
		return r;
	size_t at = k->next_dict++ % REPACK_DICTS;
	(void)ZSTD_freeCDict(k->dict[at].dict);
	k->dict[at].id = id;
	*ret = k->dict[at].dict = compressor_dict(data.data, data.len);
	return 0;
}

/* The pack's bytes with the lines of dead rows left out. -EIO: a version names a row that is not there. */
static int repack_raw(const struct pack *p, const struct live *l, struct strbuf *raw, uint64_t *ret_dropped,
		      struct err *e)
{
	*ret_dropped = 0;
	for (uint32_t i = p->rows; i < l->room; i++)
		if (live_has(l, i))
			return err_set(e, EIO, "pack %" PRId64 " has no row %u", p->id, i);
	strbuf_reserve(raw, p->raw_len);
	varint_add(raw, p->rows);
	for (uint32_t i = 0; i < p->rows; i++) {
		size_t len;
		(void)pack_line(p, i, &len);
		bool live = live_has(l, i);
		if (live && !len)
			return err_set(e, EIO, "row %u of pack %" PRId64 " was dropped", i, p->id);
		*ret_dropped += !live && len;
		varint_add(raw, live ? p->file_size[i] - len : 0);
		if (p->number)
			varint_add(raw, live ? p->number[i] : 0);
	}
	for (uint32_t i = 0; i < p->rows; i++) {
		size_t len;
		const char *line = pack_line(p, i, &len);
		strbuf_add(raw, line, live_has(l, i) ? len : 0);
		strbuf_addch(raw, '\n');
	}
	return 0;
}

/* Every live row is in the new pack, where and what it was in the old one. */
static bool repack_is_same(const struct pack *old, const struct pack *new, const struct live *l)
{
	bool same = old->rows == new->rows && !old->number == !new->number;
	for (uint32_t i = 0; same && i < old->rows; i++) {
		size_t old_len, new_len;
		const char *a = pack_line(old, i, &old_len), *b = pack_line(new, i, &new_len);
		same = live_has(l, i)
			   ? old_len == new_len && !memcmp(a, b, old_len) && old->file_size[i] == new->file_size[i] &&
				 (!old->number || old->number[i] == new->number[i])
			   : new_len == 0;
	}
	return same;
}

/* Puts one pack without its dead rows into the batch. */
static int repack_one(struct repacking *k, int64_t id, const struct live *l, struct err *e)
{
	_cleanup_(cleanup_loose_pack) struct pack *old = NULL, *new = NULL;
	_cleanup_strbuf_ struct strbuf raw = {0};
	struct rewritten w = {.id = id};
	const ZSTD_CDict *dict;
	const void *data;
	int64_t dict_id = 0;
	/* One that is damaged must not get a new SHA-256 that hides it. */
	int r = pack_load_whole(k->catalog, id, k->hasher, &old, w.old_sha, &dict_id, e);
	if (r == -ENOENT)
		return err_set(e, EIO, "catalog: pack %" PRId64 " is missing", id);
	if (r < 0)
		return r;
	r = repack_raw(old, l, &raw, &w.dropped, e);
	if (r < 0 || !w.dropped)
		return r;
	r = repack_dict(k, dict_id, &dict, e);
	if (r < 0)
		return r;
	r = compressor_compress(k->compressor, dict, raw.data, raw.len, &data, &w.len, e);
	if (r < 0)
		return r;
	r = pack_parse(k->catalog, id, old->codec_id, dict_id, data, w.len, &new, e);
	if (r < 0)
		return r;
	if (!repack_is_same(old, new, l))
		return err_set(e, EIO, "pack %" PRId64 ": rewriting it would change its rows", id);
	pack_sum(new, k->hasher, w.sha);
	w.data = xmalloc(w.len);
	memcpy(w.data, data, w.len);
	if (k->n_batch == k->cap_batch) {
		k->cap_batch = k->cap_batch ? k->cap_batch * 2 : 64;
		k->batch = xrealloc(k->batch, k->cap_batch * sizeof *k->batch);
	}
	k->batch[k->n_batch++] = w;
	k->batch_bytes += w.len;
	return 0;
}

/* Stores the batch. SWEEP_LATER: not now. */
static int repack_store(struct repacking *k, struct err *e)
{
	if (!k->n_batch)
		return 0;
	_cleanup_close_ int fd = store_lock(k->catalog, STORE_LOCK_WRITERS, true, ERR_DROP);
	if (fd < 0)
		return SWEEP_LATER;
	struct store_db *db = store_write_begin(k->catalog, STORE_LAZY, e);
	if (!db)
		return err_code(e);
	struct repack sum = *k->result;
	int r = 0;
	for (size_t i = 0; r == 0 && i < k->n_batch; i++) {
		const struct rewritten *w = &k->batch[i];
		r = store_exec(db, STMT_PACK_REWRITE,
			       BINDS(bind_int(w->id), bind_blob(w->old_sha, sizeof w->old_sha),
				     bind_blob(w->sha, sizeof w->sha), bind_blob(w->data, w->len)),
			       "storing rows", e);
		/* No longer the one that was read: freed, or rewritten by another process. */
		if (r == 0 && sqlite3_changes(db->h)) {
			sum.packs++;
			sum.rows += w->dropped;
		}
	}
	r = store_write_end(k->catalog, db, r, e);
	if (r == 0)
		*k->result = sum;
	repack_clear_batch(k);
	return r;
}

static int repack_window(struct repacking *k, struct err *e)
{
	int r = repack_look(k, e);
	for (size_t i = 0; r == 0 && i < REPACK_WINDOW; i++) {
		struct err why = ERR_INIT;
		if (!k->live[i])
			continue;
		r = repack_one(k, k->first + (int64_t)i, k->live[i], &why);
		if (r == -EIO) {
			repack_note_damage(k, &why);
			r = 0;
		} else if (r < 0) {
			*e = why;
		}
		if (r == 0 && k->batch_bytes >= REPACK_BATCH)
			r = repack_store(k, e);
	}
	if (r == 0)
		r = repack_store(k, e);
	repack_clear_window(k);
	return r;
}

int store_repack(struct catalog *c, struct repack *ret, struct err *e)
{
	*ret = (struct repack){0};
	int64_t first = 0, last = -1;
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = store_pragma(db, "SELECT coalesce(min(id), 0) FROM pack", &first, e);
	if (r == 0)
		r = store_pragma(db, "SELECT coalesce(max(id), -1) FROM pack", &last, e);
	store_read_end(c, db);
	_cleanup_(repack_done) struct repacking k = {.catalog = c,
						     .result = ret,
						     .hasher = hasher_new(),
						     .compressor = compressor_new(),
						     .live = xcalloc(REPACK_WINDOW, sizeof(struct live *))};
	for (k.first = first; r == 0 && k.first <= last; k.first += REPACK_WINDOW)
		r = repack_window(&k, e);
	if (r == SWEEP_LATER) {
		ret->busy = true;
		r = 0;
	}
	if (r == 0 && k.damage.code) {
		r = -k.damage.code;
		*e = k.damage;
	}
	return r;
}
