/*
 * snapshot/store/index.c - see index.h. Any thread; the words of its errors are those of what the index holds,
 * entities.
 */
#include "snapshot/store/internal.h"

int catalog_index(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e)
{
	return version_one(c, STMT_INDEX, BINDS(bind_int(snapshot_id)), "of entities", ret, e);
}

int catalog_index_nearest(struct catalog *c, int64_t snapshot_id, int64_t *ret, struct err *e)
{
	*ret = 0;
	int r = store_read(c, STMT_INDEX_NEAREST, BINDS(bind_int(snapshot_id)), row_int, ret,
			   "looking for an index of entities", e);
	return r < 0 ? r : 0;
}

int catalog_index_forget(struct catalog *c, int64_t snapshot_id, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r = store_exec(db, STMT_INDEX_DELETE, BINDS(bind_int(snapshot_id)), "forgetting an index of entities", e);
	return store_write_end(c, db, r, e);
}

pthread_mutex_t *catalog_index_mutex(struct catalog *c)
{
	return &c->index_mutex;
}
