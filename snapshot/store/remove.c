/*
 * snapshot/store/remove.c - see remove.h. Any thread, under the write lock.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

int store_delete_snapshot(struct store_db *db, int64_t snapshot_id, bool even_held, struct err *e)
{
	_cleanup_free_ char *tables = xasprintf("DELETE FROM snapshot_table WHERE snapshot_id=%" PRId64
						"; DELETE FROM snapshot_names WHERE snapshot_id=%" PRId64,
						snapshot_id, snapshot_id);
	_cleanup_free_ char *snapshot =
	    xasprintf("DELETE FROM snapshot WHERE id=%" PRId64 "%s", snapshot_id, even_held ? "" : " AND held=0");
	int r = store_script(db, snapshot, "removing a snapshot", e);
	if (r < 0)
		return r;
	if (sqlite3_changes(db->h) == 0)
		return err_set(e, EBUSY, "the snapshot was held or removed meanwhile");
	return store_script(db, tables, "removing a snapshot", e);
}

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
	return store_write_end(c, db, store_delete_snapshot(db, snapshot_id, even_held, e), e);
}

int store_remove_unlisted(struct catalog *c, struct err *e)
{
	/* A restore that is still to be settled is compared with its target. */
	_cleanup_close_ int fd = store_lock(c, STORE_LOCK_WRITERS, true, ERR_DROP);
	if (fd < 0)
		return 0; /* a writer is active: what is unlisted may be its own */
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r =
	    store_script(db,
			 "CREATE TEMP TABLE IF NOT EXISTS unlisted(id INTEGER PRIMARY KEY); DELETE FROM temp.unlisted;"
			 "INSERT INTO temp.unlisted SELECT id FROM snapshot WHERE name IS NULL AND id NOT IN"
			 " (SELECT target_id FROM journal WHERE finished_ms IS NULL AND target_id IS NOT NULL);"
			 "DELETE FROM snapshot_table WHERE snapshot_id IN (SELECT id FROM temp.unlisted);"
			 "DELETE FROM snapshot_names WHERE snapshot_id IN (SELECT id FROM temp.unlisted);"
			 "DELETE FROM snapshot WHERE id IN (SELECT id FROM temp.unlisted)",
			 "removing what a crash left", e);
	return store_write_end(c, db, r, e);
}
