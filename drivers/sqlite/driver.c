/*
 * drivers/sqlite/driver.c - begin and commit, and the driver's table of functions.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>

static int sqlite_open(struct db_conn **ret, const struct db_params *p, struct err *e)
{
	struct sqlite_conn *c = NULL;
	*ret = NULL;
	int r = sqlite_connect(&c, p, e);
	if (r < 0)
		return r;
	c->head.driver = &db_driver_sqlite;
	*ret = (struct db_conn *)c;
	return 0;
}

static int sqlite_begin(struct db_conn *conn, enum db_access access, struct db_schema **ret, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	*ret = NULL;
	int r = sqlite_check(c, e, c->path);
	if (r < 0)
		return r;
	if (c->pid != getpid())
		return err_set(e, EINVAL, "an SQLite connection was carried across fork()");
	if (c->in_transaction)
		return err_set(e, EINVAL, "%s: a transaction is already open", c->path);
	_cleanup_(cleanup_db_schema) struct db_schema *s = xcalloc(1, sizeof *s);
	r = sqlite_fix_moment(c, access, e);
	if (r >= 0)
		r = sqlite_describe_into(c, s, e);
	if (r < 0) {
		sqlite_rollback(conn);
		return r;
	}
	c->in_transaction = true;
	c->writing = access == DB_WRITE;
	*ret = TAKE_PTR(s);
	return 0;
}

static int sqlite_settle(struct db_conn *conn, struct err *e)
{
	/* All of a restore is one transaction: the next open of the file rolls a crashed one back. */
	return sqlite_check(sqlite_of(conn), e, "settling");
}

static int sqlite_commit(struct db_conn *conn, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	if (!c->in_transaction)
		return err_set(e, EINVAL, "%s: no transaction is open", c->path);
	if (!c->writing) {
		sqlite_rollback(conn);
		return 0;
	}
	int r = sqlite_check_writing(c, e, "commit");
	if (r < 0)
		return r;
	sqlite_end_statements(c);
	/* EBUSY when readers of a file without a WAL do not go away: the transaction is still open then. */
	r = sqlite_run(c, c->db, "COMMIT", e, "commit");
	if (r >= 0)
		sqlite_end(c);
	return r;
}

const struct db_driver db_driver_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .begin = sqlite_begin,
    .begin_like = NULL,
    .schema_sql = sqlite_schema_sql,
    .scan_open = sqlite_scan_open,
    .scan_next = sqlite_scan_next,
    .scan_close = sqlite_scan_close,
    .examine = sqlite_examine,
    .finish = sqlite_finish,
    .compare = sqlite_compare,
    .rebuild_begin = sqlite_rebuild_begin,
    .rebuild_end = sqlite_rebuild_end,
    .change_begin = sqlite_change_begin,
    .delete_keys = sqlite_delete_keys,
    .delete_all = sqlite_delete_all,
    .change_end = sqlite_change_end,
    .refresh = sqlite_refresh,
    .load_begin = sqlite_load_begin,
    .load_row = sqlite_load_row,
    .load_end = sqlite_load_end,
    .set_sequences = sqlite_set_sequences,
    .settle = sqlite_settle,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .cancel = sqlite_cancel,
    .close = sqlite_close,
};
