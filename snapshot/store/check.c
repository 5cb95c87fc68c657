/*
 * snapshot/store/check.c - see check.h. Any thread.
 */
#include "snapshot/store/check.h"

#include "snapshot/store/internal.h"

int catalog_each(struct catalog *c, enum catalog_part part, int (*each)(void *arg, int64_t id, const char *words),
		 void *arg, struct err *e)
{
	static const char *const sql[] = {[CATALOG_FILE] = "PRAGMA integrity_check",
					  [CATALOG_PACKS] = "SELECT id, NULL FROM pack ORDER BY id",
					  [CATALOG_SNAPSHOTS] = "SELECT id, name FROM snapshot ORDER BY id"};
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	sqlite3_stmt *st = NULL;
	int r = 0, step = SQLITE_ERROR;
	if (sqlite3_prepare_v2(db->h, sql[part], -1, &st, NULL) == SQLITE_OK)
		while ((step = sqlite3_step(st)) == SQLITE_ROW && r == 0)
			r = part == CATALOG_FILE
				? each(arg, 0, (const char *)sqlite3_column_text(st, 0))
				: each(arg, sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1));
	if (r == 0 && step != SQLITE_DONE)
		r = store_error(db, "checking", e);
	sqlite3_finalize(st);
	store_read_end(c, db);
	return r;
}
