/*
 * drivers/sqlite/examine.c - what a report wants to know: counts and sizes.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>

static int sqlite_count(struct sqlite_conn *c, const char *what, const char *table, sqlite3_int64 *ret, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_strbuf_ struct strbuf sql = {0};
	strbuf_addf(&sql, "SELECT %s FROM main.", what);
	sqlite_quote(&sql, table);
	int r = sqlite_prepare(c, sqlite_reader(c), &stmt, strbuf_str(&sql), e, table);
	if (r == 0)
		r = sqlite_step(c, stmt, e, table);
	for (int i = 0; r > 0 && i < sqlite3_column_count(stmt); i++)
		ret[i] = sqlite3_column_int64(stmt, i);
	return r < 0 ? r : 0;
}

static int sqlite_measure(struct sqlite_conn *c, const struct db_table *t, struct db_examination *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf row = {0}, what = {0};
	sqlite3_int64 sizes[2] = {0};
	strbuf_adds(&row, "0");
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&row, " + coalesce(length(CAST(");
		sqlite_quote_column(&row, t, i);
		strbuf_adds(&row, " AS BLOB)), 0)");
	}
	strbuf_addf(&what, "sum(%s), max(%s)", row.data, row.data);
	int r = sqlite_count(c, what.data, t->name, sizes, e);
	ret->measured = r == 0;
	ret->bytes = (uint64_t)sizes[0];
	ret->largest = (uint64_t)sizes[1];
	return r;
}

int sqlite_examine(struct db_conn *conn, const struct db_schema *s, const char *measured, struct db_examination *ret,
		   struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = 0;
	*ret = (struct db_examination){0};
	if (!s)
		return 0;
	ret->rows = xcalloc(s->n_tables + 1, sizeof *ret->rows);
	for (size_t i = 0; r == 0 && i < s->n_tables; i++) {
		sqlite3_int64 n = 0;
		r = sqlite_count(c, "count(*)", s->tables[i].name, &n, e);
		ret->rows[i] = (uint64_t)n;
		if (r == 0 && !strcmp(s->tables[i].name, measured))
			r = sqlite_measure(c, &s->tables[i], ret, e);
	}
	return r;
}
