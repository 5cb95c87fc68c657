/*
 * snapshot/store/sweep.c - freeing what no snapshot uses any more.
 *
 * Any thread, under the write lock. Mark and sweep: packs named by pages named by versions named by snapshots stay. It
 * runs only while no writer is active (WRITERS lock exclusive): what a writer has stored is not named by anything yet.
 * A version or page that cannot be read or is not whole stops the sweep: damage must not look like "no longer used".
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

#define SHRINK_PAGES 2048 /* given back in one transaction: others get their turn between two */

/* ---- marking ---- */

/* The pages of one version go to the temporary table of live ones, with the size of their lines. */
static int sweep_version(struct store_db *db, sqlite3_stmt *page, const uint8_t *p, size_t len, uint64_t rows,
			 struct err *e)
{
	const uint8_t *end = p + len;
	uint64_t sum = 0;
	while (p < end) {
		uint64_t id, n, lines, files, sep;
		if (!varint_get(&p, end, &id) || !varint_get(&p, end, &n) || !varint_get(&p, end, &lines) ||
		    !varint_get(&p, end, &files) || !varint_get(&p, end, &sep) || sep > (uint64_t)(end - p))
			break;
		p += sep;
		sum += n;
		sqlite3_bind_int64(page, 1, (int64_t)id);
		sqlite3_bind_int64(page, 2, (int64_t)lines);
		int step = sqlite3_step(page);
		(void)sqlite3_reset(page);
		if (step != SQLITE_DONE)
			return store_error(db, "sweeping", e);
	}
	/* A list that was cut, or is another one, would let go of pages that are needed. */
	return p == end && sum == rows ? 0 : err_set(e, EIO, "catalog: a table version is damaged; nothing was freed");
}

static int sweep_versions(struct store_db *db, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *versions = NULL, *page = NULL;
	int r = store_script(db,
			     "CREATE TEMP TABLE IF NOT EXISTS live_page(id INTEGER PRIMARY KEY, lines INTEGER);"
			     "DELETE FROM temp.live_page",
			     "sweeping", e);
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(db->h, "SELECT pages, rows FROM version", -1, &versions, NULL) != SQLITE_OK ||
	    /* Two versions that say different things of one page: one of them names the wrong page. */
	    sqlite3_prepare_v2(db->h,
			       "INSERT INTO temp.live_page VALUES(?1, ?2) ON CONFLICT(id) DO UPDATE SET"
			       " lines=CASE WHEN lines=excluded.lines THEN lines ELSE -1 END",
			       -1, &page, NULL) != SQLITE_OK)
		return store_error(db, "sweeping", e);
	int step;
	while ((step = sqlite3_step(versions)) == SQLITE_ROW) {
		r = sweep_version(db, page, sqlite3_column_blob(versions, 0), (size_t)sqlite3_column_bytes(versions, 0),
				  (uint64_t)sqlite3_column_int64(versions, 1), e);
		if (r < 0)
			return r;
	}
	/* Versions after one that cannot be read would lose their pages: nothing else names them. */
	return step == SQLITE_DONE ? 0 : store_error(db, "sweeping (nothing was freed)", e);
}

/* One live page: (data, sha256, lines, id). */
static int sweep_page(struct hasher *h, struct strbuf *page, sqlite3_stmt *st,
		      int (*each)(void *arg, const struct extent *x), void *arg, struct err *e)
{
	int64_t pack = 0, lines = 0;
	int r = 0;
	/* Damage can still parse, and then names other packs than the page's own. */
	bool whole = page_unpack(h, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0),
				 sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1), page);
	const uint8_t *p = (const uint8_t *)page->data, *end = p + page->len;
	while (whole && r == 0 && p < end) {
		struct extent x;
		whole = extent_next(&p, end, &pack, &x, ERR_DROP) == 0;
		if (!whole)
			break;
		lines += (int64_t)x.line_bytes;
		r = each(arg, &x);
	}
	if (r == 0 && (!whole || lines != sqlite3_column_int64(st, 2)))
		r = err_set(e, EIO, "catalog: page %" PRId64 " is damaged; nothing was freed",
			    (int64_t)sqlite3_column_int64(st, 3));
	return r;
}

int sweep_each_extent(struct store_db *db, int (*each)(void *arg, const struct extent *x), void *arg, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int64_t pages = 0, live = 0;
	int r = sweep_versions(db, e);
	if (r < 0)
		return r;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	_cleanup_strbuf_ struct strbuf page = {0};
	if (sqlite3_prepare_v2(db->h,
			       "SELECT p.data, p.sha256, l.lines, p.id FROM temp.live_page l JOIN page p ON p.id=l.id"
			       " ORDER BY l.id",
			       -1, &st, NULL) != SQLITE_OK)
		return store_error(db, "sweeping (nothing was freed)", e);
	int step;
	for (; (step = sqlite3_step(st)) == SQLITE_ROW; pages++) {
		r = sweep_page(h, &page, st, each, arg, e);
		if (r < 0)
			return r;
	}
	if (step != SQLITE_DONE)
		return store_error(db, "sweeping (nothing was freed)", e);
	r = store_pragma(db, "SELECT count(*) FROM temp.live_page", &live, e);
	if (r == 0 && live != pages)
		return err_set(e, EIO, "catalog: a page is missing or unreadable; nothing was freed");
	return r;
}

/* ---- sweeping ---- */

struct sweep {
	struct store_db *db;
	sqlite3_stmt *pack;
	int64_t last; /* the pack that was marked last: extents of one follow each other */
	struct err *e;
};

static int sweep_mark_pack(void *arg, const struct extent *x)
{
	struct sweep *s = arg;
	if (x->pack == s->last)
		return 0;
	s->last = x->pack;
	sqlite3_bind_int64(s->pack, 1, x->pack);
	int step = sqlite3_step(s->pack);
	(void)sqlite3_reset(s->pack);
	return step == SQLITE_DONE ? 0 : store_error(s->db, "sweeping", s->e);
}

static int sweep_mark(struct store_db *db, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *pack = NULL;
	int r = store_script(db,
			     "CREATE TEMP TABLE IF NOT EXISTS live_pack(id INTEGER PRIMARY KEY);"
			     "DELETE FROM temp.live_pack",
			     "sweeping", e);
	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(db->h, "INSERT OR IGNORE INTO temp.live_pack VALUES(?1)", -1, &pack, NULL) != SQLITE_OK)
		return store_error(db, "sweeping", e);
	return sweep_each_extent(db, sweep_mark_pack, &(struct sweep){.db = db, .pack = pack, .last = -1, .e = e}, e);
}

/* In the caller's transaction. */
static int sweep_all(struct store_db *db, struct err *e)
{
	int r = store_script(db,
			     "DELETE FROM version WHERE id NOT IN (SELECT version_id FROM snapshot_table"
			     " UNION SELECT version_id FROM snapshot_names);"
			     "DELETE FROM schema_text WHERE id NOT IN (SELECT schema_id FROM snapshot);"
			     "DELETE FROM mark WHERE snapshot_id NOT IN (SELECT id FROM snapshot)",
			     "sweeping", e);
	if (r < 0)
		return r;
	r = sweep_mark(db, e);
	if (r < 0)
		return r;
	/* Other processes keep dictionaries and descriptions by number. The last one of each stays, used or not,
	 * because SQLite gives a new row the highest number there is and one: so none is given twice. */
	return store_script(
	    db,
	    "DELETE FROM page WHERE id NOT IN (SELECT id FROM temp.live_page);"
	    "DELETE FROM pack WHERE id NOT IN (SELECT id FROM temp.live_pack);"
	    "DELETE FROM temp.live_page; DELETE FROM temp.live_pack;"
	    "DELETE FROM dict WHERE id NOT IN (SELECT dict_id FROM pack) AND id<(SELECT max(id) FROM dict);"
	    "DELETE FROM codec WHERE id NOT IN (SELECT codec_id FROM version UNION SELECT codec_id FROM pack"
	    " UNION SELECT codec_id FROM dict) AND id<(SELECT max(id) FROM codec)",
	    "sweeping", e);
}

int store_sweep(struct catalog *c, struct err *e)
{
	/* Writers hold the lock shared while what they store is not yet named by a snapshot. */
	_cleanup_close_ int fd = store_lock(c, STORE_LOCK_WRITERS, true, ERR_DROP);
	if (fd < 0)
		return SWEEP_LATER;
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	return db ? store_write_end(c, db, sweep_all(db, e), e) : err_code(e);
}

void store_shrink(struct catalog *c)
{
	/* What fails here is done by the next one: the space is free for new snapshots meanwhile. */
	for (int64_t before = INT64_MAX, left = 0;; before = left) {
		MUTEX_GUARD(&c->write_mutex);
		_cleanup_free_ char *vacuum = xasprintf("PRAGMA incremental_vacuum(%d)", SHRINK_PAGES);
		if (store_pragma(c->writer, "PRAGMA freelist_count", &left, ERR_DROP) < 0 || left == 0 ||
		    left >= before)
			break;
		(void)sqlite3_exec(c->writer->h, vacuum, NULL, NULL, NULL);
	}
	MUTEX_GUARD(&c->write_mutex);
	(void)sqlite3_wal_checkpoint_v2(c->writer->h, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}
