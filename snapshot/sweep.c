/*
 * snapshot/sweep.c - removing snapshots, and freeing what no snapshot uses any more.
 *
 * Any thread, under the write lock. Mark and sweep: packs named by pages named by versions named by snapshots stay. It
 * runs only while no writer is active (WRITERS lock exclusive): what a writer has stored is not named by anything yet.
 * A page that cannot be read stops the sweep: damage must not look like "no longer used".
 */
#include "snapshot/store.h"

#include <errno.h>
#include <inttypes.h>

int store_remove_snapshot(struct catalog *c, int64_t snapshot_id, bool even_held, struct err *e)
{
	struct snapshot_info s = {0};
	int r = catalog_get(c, snapshot_id, &s, e);
	if (r < 0)
		return r;
	bool held = s.held;
	snapshot_info_done(&s);
	if (held && !even_held)
		return err_set(e, EBUSY, "the snapshot is held (release it first)");
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	/* It may have been held since it was looked at: only what this transaction sees counts. */
	_cleanup_free_ char *tables = xasprintf("DELETE FROM snapshot_table WHERE snapshot_id=%" PRId64, snapshot_id);
	_cleanup_free_ char *snapshot =
	    xasprintf("DELETE FROM snapshot WHERE id=%" PRId64 "%s", snapshot_id, even_held ? "" : " AND held=0");
	if (sqlite3_exec(db->h, snapshot, NULL, NULL, NULL) != SQLITE_OK)
		r = store_error(db, "removing a snapshot", e);
	else if (sqlite3_changes(db->h) == 0)
		r = err_set(e, EBUSY, "the snapshot was held or removed meanwhile");
	else if (sqlite3_exec(db->h, tables, NULL, NULL, NULL) != SQLITE_OK)
		r = store_error(db, "removing a snapshot", e);
	return store_write_end(c, db, r, e);
}

int catalog_remove(struct catalog *c, int64_t snapshot_id, struct err *e)
{
	int r = store_remove_snapshot(c, snapshot_id, false, e);
	return r < 0 ? r : store_sweep(c, e);
}

int store_remove_unlisted(struct catalog *c, struct err *e)
{
	/* A restore that is still to be settled is compared with its target. */
	_cleanup_close_ int fd = store_lock(c, STORE_LOCK_WRITERS, true, NULL);
	if (fd < 0)
		return 0; /* a writer is active: what is unlisted may be its own */
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r =
	    sqlite3_exec(db->h,
			 "CREATE TEMP TABLE IF NOT EXISTS unlisted(id INTEGER PRIMARY KEY); DELETE FROM temp.unlisted;"
			 "INSERT INTO temp.unlisted SELECT id FROM snapshot WHERE name IS NULL AND id NOT IN"
			 " (SELECT target_id FROM journal WHERE finished_ms IS NULL AND target_id IS NOT NULL);"
			 "DELETE FROM snapshot_table WHERE snapshot_id IN (SELECT id FROM temp.unlisted);"
			 "DELETE FROM snapshot WHERE id IN (SELECT id FROM temp.unlisted)",
			 NULL, NULL, NULL) == SQLITE_OK
		? 0
		: store_error(db, "removing what a crash left", e);
	return store_write_end(c, db, r, e);
}

/* Packs named by a page go to the temporary table of live packs. */
static int sweep_page(sqlite3_stmt *live, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	int64_t pack = 0;
	while (p < end) {
		struct extent x;
		if (extent_next(&p, end, &pack, &x, NULL) < 0)
			return -EIO;
		sqlite3_bind_int64(live, 1, x.pack);
		int step = sqlite3_step(live);
		(void)sqlite3_reset(live);
		if (step != SQLITE_DONE)
			return -ENOMEM;
	}
	return 0;
}

static int sweep_mark(struct store_db *db, struct err *e)
{
	sqlite3_stmt *versions = NULL, *page = NULL, *all = NULL, *live = NULL;
	int r = 0;
	if (sqlite3_prepare_v2(db->h, "SELECT pages FROM version", -1, &versions, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db->h, "INSERT OR IGNORE INTO temp.live_page VALUES(?1)", -1, &page, NULL) !=
		SQLITE_OK ||
	    sqlite3_prepare_v2(db->h, "INSERT OR IGNORE INTO temp.live_pack VALUES(?1)", -1, &live, NULL) !=
		SQLITE_OK ||
	    sqlite3_prepare_v2(db->h, "SELECT data, id, sha256 FROM page WHERE id IN (SELECT id FROM temp.live_page)",
			       -1, &all, NULL) != SQLITE_OK)
		r = store_error(db, "sweeping", e);
	int step = SQLITE_DONE;
	while (r == 0 && (step = sqlite3_step(versions)) == SQLITE_ROW) {
		const uint8_t *p = sqlite3_column_blob(versions, 0), *end = p + sqlite3_column_bytes(versions, 0);
		while (r == 0 && p < end) {
			uint64_t id, rows, lines, files, sep;
			if (!varint_get(&p, end, &id) || !varint_get(&p, end, &rows) || !varint_get(&p, end, &lines) ||
			    !varint_get(&p, end, &files) || !varint_get(&p, end, &sep) || sep > (uint64_t)(end - p)) {
				r = err_set(e, EIO, "catalog: a table version is damaged; nothing was freed");
				break;
			}
			p += sep;
			sqlite3_bind_int64(page, 1, (int64_t)id);
			if (sqlite3_step(page) != SQLITE_DONE)
				r = store_error(db, "sweeping", e);
			(void)sqlite3_reset(page);
		}
	}
	/* Versions after one that cannot be read would lose their pages: nothing else names them. */
	if (r == 0 && step != SQLITE_DONE)
		r = store_error(db, "sweeping (nothing was freed)", e);
	int64_t pages = 0;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	while (r == 0 && sqlite3_step(all) == SQLITE_ROW) {
		pages++;
		const void *data = sqlite3_column_blob(all, 0);
		size_t n = (size_t)sqlite3_column_bytes(all, 0);
		/* Damage can still parse, and then names other packs than the page's own. */
		if (!page_is_whole(h, data, n, sqlite3_column_blob(all, 2), (size_t)sqlite3_column_bytes(all, 2)) ||
		    sweep_page(live, data, n) < 0)
			r = err_set(e, EIO, "catalog: page %" PRId64 " is damaged; nothing was freed",
				    (int64_t)sqlite3_column_int64(all, 1));
	}
	sqlite3_finalize(versions);
	sqlite3_finalize(page);
	sqlite3_finalize(all);
	sqlite3_finalize(live);
	int64_t marked = 0;
	if (r == 0)
		r = store_pragma(db, "SELECT count(*) FROM temp.live_page", &marked, e);
	/* A read that failed midway must not look like "no longer used". */
	if (r == 0 && marked != pages)
		r = err_set(e, EIO, "catalog: a page is missing or unreadable; nothing was freed");
	return r;
}

int store_sweep(struct catalog *c, struct err *e)
{
	/* Writers hold the lock shared while what they store is not yet named by a snapshot. */
	_cleanup_close_ int fd = store_lock(c, STORE_LOCK_WRITERS, true, NULL);
	if (fd < 0)
		return 0;
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r = sqlite3_exec(db->h,
			     "DELETE FROM version WHERE id NOT IN (SELECT version_id FROM snapshot_table);"
			     "DELETE FROM schema_text WHERE id NOT IN (SELECT schema_id FROM snapshot);"
			     "CREATE TEMP TABLE IF NOT EXISTS live_page(id INTEGER PRIMARY KEY);"
			     "CREATE TEMP TABLE IF NOT EXISTS live_pack(id INTEGER PRIMARY KEY);"
			     "DELETE FROM temp.live_page; DELETE FROM temp.live_pack;",
			     NULL, NULL, NULL) == SQLITE_OK
		    ? 0
		    : store_error(db, "sweeping", e);
	if (r == 0)
		r = sweep_mark(db, e);
	if (r == 0 && sqlite3_exec(db->h,
				   "DELETE FROM page WHERE id NOT IN (SELECT id FROM temp.live_page);"
				   "DELETE FROM pack WHERE id NOT IN (SELECT id FROM temp.live_pack);"
				   "DELETE FROM temp.live_page; DELETE FROM temp.live_pack;",
				   NULL, NULL, NULL) != SQLITE_OK)
		r = store_error(db, "sweeping", e);
	r = store_write_end(c, db, r, e);
	if (r == 0) {
		MUTEX_GUARD(&c->write_mutex);
		(void)sqlite3_exec(c->writer->h, "PRAGMA incremental_vacuum", NULL, NULL, NULL);
		(void)sqlite3_wal_checkpoint_v2(c->writer->h, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	}
	return r;
}
