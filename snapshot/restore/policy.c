/*
 * snapshot/restore/policy.c - see policy.h. Any thread; no state.
 */
#include "snapshot/restore/policy.h"

#include <errno.h>

/* 1: some table has a row. */
static int has_rows(struct db_conn *conn, const struct db_schema *live, struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	for (size_t i = 0; i < live->n_tables; i++) {
		struct db_table plain = db_table_without_key(&live->tables[i]);
		const struct db_value *v;
		int r = d->scan_open(conn, &plain, DB_SCAN_UNORDERED, e);
		if (r < 0)
			return r;
		int row = d->scan_next(conn, &v, e);
		r = d->scan_close(conn, row < 0 ? ERR_DROP : e);
		if (row < 0)
			return row;
		if (r < 0)
			return r;
		if (row)
			return 1;
	}
	return 0;
}

int restore_may(enum restore_policy policy, enum restore_act act, bool has_rows, struct err *e)
{
	if (act == RESTORE_ACT_ROW && !restore_may_write_rows(policy))
		return err_set(e, EPERM, "rows can be written with restore = replace only (it is %s)",
			       restore_policy_name(policy));
	if (policy == RESTORE_OFF)
		return err_set(e, EPERM,
			       "restore = off for this source (set restore = empty or replace in its configuration)");
	if (policy == RESTORE_EMPTY && has_rows)
		return err_set(e, ENOTEMPTY, "%s rows and restore = empty (set restore = replace to write over them)",
			       act == RESTORE_ACT_FILE ? "tables of the file have" : "the target has");
	return 0;
}

int restore_may_over(enum restore_policy policy, enum restore_act act, struct db_conn *conn,
		     const struct db_schema *live, struct err *e)
{
	int rows = policy == RESTORE_EMPTY ? has_rows(conn, live, e) : 0;
	return rows < 0 ? rows : restore_may(policy, act, rows > 0, e);
}
