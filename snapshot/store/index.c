/*
 * snapshot/store/index.c - see index.h. Any thread; the words of its errors are those of what the index holds, entities.
 */
#include "snapshot/store/internal.h"

int catalog_index(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e)
{
	return version_one(c, STMT_INDEX, snapshot_id, "of entities", 0, ret, e);
}

int catalog_index_nearest(struct catalog *c, int64_t snapshot_id, int64_t *ret, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0, step = SQLITE_DONE;
	*ret = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_INDEX_NEAREST, e);
	if (st) {
		sqlite3_bind_int64(st, 1, snapshot_id);
		step = sqlite3_step(st);
	}
	if (step == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	else if (!st || step != SQLITE_DONE)
		r = store_error(db, "looking for an index of entities", e);
	if (st)
		(void)sqlite3_reset(st);
	store_read_end(c, db);
	return r;
}

int catalog_index_forget(struct catalog *c, int64_t snapshot_id, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	sqlite3_stmt *st = store_stmt(db, STMT_INDEX_DELETE, e);
	if (!st)
		return store_write_end(c, db, err_code(e), e);
	sqlite3_bind_int64(st, 1, snapshot_id);
	return store_write_end(c, db, store_run(db, st, "forgetting an index of entities", e), e);
}

pthread_mutex_t *catalog_index_mutex(struct catalog *c)
{
	return &c->index_mutex;
}
