/*
 * snapshot/sqlfile/blame.c - which line of a `.sql` file was it that the server refused?
 *
 * The rows of the load's table are sent once more, one by one where it matters, only to learn which line it was; then
 * that is rolled back, too. Runs on the job's thread; no locks.
 */
#include "snapshot/sqlfile/blame.h"

#include <errno.h>
#include <inttypes.h>

/* The rows of the failed span's table again, up to that span in large loads, then each by itself. 1: *ret_line is the
 * one; 0: none was refused. */
static int find_in_file(struct sql_job *j, const struct sql_span *failed, uint64_t *ret_line, struct err *e)
{
	_cleanup_(cleanup_sql_read) struct sql_read *s = sql_read_new(j->src, j->scan.reading);
	const struct db_table *t = j->tables[failed->table].table;
	struct sql_item item;
	const struct db_value *values;
	int r = 0;
	while (r == 0 && j->row < failed->last && sql_read_next(s, &item, e) == 1) {
		j->row += !item.truncate;
		if (sql_map_find(j->live, item.table) != t)
			continue;
		bool suspect = j->row >= failed->first;
		if (suspect && j->span.first < failed->first)
			r = sql_end_load(j, e);
		if (r == 0 && item.truncate) {
			r = sql_end_load(j, e);
			if (r == 0)
				r = j->driver->delete_all(j->rs->conn, t, e);
			continue;
		}
		if (r == 0)
			r = sql_use_map(j, &item, e);
		if (r == 0)
			r = sql_map_row(j->map, &item, &values, e);
		if (r == 0)
			r = sql_load_row(j, &item, values, suspect ? 1 : SQL_LOAD_ROWS, e);
		if (r == 0 && suspect)
			r = sql_end_load(j, e);
		*ret_line = item.line;
		if (r < 0 && suspect && j->server)
			r = 1;
	}
	sql_abandon_load(j);
	return r < 0 ? r : r == 1;
}

bool sql_row_was_refused(const struct sql_job *j, int r)
{
	return r < 0 && j->server && j->span.first && r != -EINTR && r != -ECONNRESET && r != -EBUSY && r != -ETIMEDOUT;
}

void sql_name_line(struct sql_job *j, struct err *e)
{
	const struct sql_span failed = j->span;
	const char *table = j->tables[failed.table].table->name;
	struct err why = ERR_INIT;
	struct db_schema *live = NULL;
	uint64_t line = failed.first_line;
	int r = failed.first == failed.last ? 1 : 0;
	if (r == 0 && j->driver->begin(j->rs->conn, DB_WRITE, &live, ERR_DROP) == 0) {
		struct sql_job again = {.rs = j->rs, .driver = j->driver, .src = j->src, .live = live};
		again.scan = j->scan;
		again.hasher = j->hasher;
		struct db_schema part;
		_cleanup_free_ struct db_table *tables = NULL;
		r = sql_find_tables(&again, ERR_DROP);
		/* Another session made or dropped a table meanwhile: the line can no longer be told. */
		if (r == 0 && again.n_tables != j->n_tables)
			r = -EAGAIN;
		if (r == 0) {
			tables = sql_part_of(&again, &part);
			r = j->driver->change_begin(j->rs->conn, &part, ERR_DROP);
		}
		if (r == 0)
			r = find_in_file(&again, &failed, &line, &why);
		j->driver->rollback(j->rs->conn);
		free(again.tables);
		sql_map_free(again.map);
		strbuf_done(&again.line);
		db_schema_free(live);
	}
	if (r == 1)
		(void)err_prefix(e, "line %" PRIu64, line);
	else
		(void)err_prefix(e, "one of the rows from line %" PRIu64 " to line %" PRIu64 " (table %s)",
				 failed.first_line, failed.last_line, table);
}
