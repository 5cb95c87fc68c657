/*
 * drivers/postgres/ambiguous.c - values that are names of several things: a regproc or regoper whose name is overloaded
 * is written by the server as that name alone, and not taken again.
 *
 * No state, no locks. The values are read as rows are, so that nothing is planned over a table of others.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

#include "base/strset.h"

/* Tables and columns of the two types, and of domains over them. */
static const char pg_name_columns[] =
    "WITH RECURSIVE names(oid, type) AS (SELECT t.oid, t.oid FROM pg_catalog.pg_type t WHERE t.oid IN (24, 2203)"
    " UNION ALL SELECT t.oid, n.type FROM names n JOIN pg_catalog.pg_type t ON t.typbasetype = n.oid AND t.typtype = "
    "'d')"
    " SELECT c.relname, a.attname, CASE n.type WHEN 24 THEN 'to_regproc' ELSE 'to_regoper' END"
    " FROM pg_catalog.pg_attribute a JOIN names n ON n.oid = a.atttypid JOIN pg_catalog.pg_class c ON c.oid = "
    "a.attrelid"
    " JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace"
    " WHERE s.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
    " ORDER BY c.relname COLLATE pg_catalog.\"C\", a.attnum";

/* The different values of one column: not more than there are functions. */
static int pg_read_names(struct pg_conn *c, char *table, char *column, struct strset *names, struct err *e)
{
	struct db_column only = {.name = column, .form = DB_FORM_TEXT};
	struct db_table t = {
	    .name = table, .columns = &only, .n_columns = 1, .key_kind = DB_KEY_NONE, .estimated_rows = -1};
	struct db_conn *conn = (struct db_conn *)c;
	const struct db_value *v = NULL;
	int r = pg_scan_open(conn, &t, DB_SCAN_UNORDERED, e);
	while (r >= 0 && (r = pg_scan_next(conn, &v, e)) > 0) {
		bool seen = !v->data;
		for (size_t i = 0; i < names->n && !seen; i++)
			seen = strlen(names->v[i]) == v->len && !memcmp(names->v[i], v->data, v->len);
		if (!seen)
			strset_add(names, v->data, v->len);
	}
	int q = pg_scan_close(conn, r < 0 ? ERR_DROP : e);
	return r < 0 ? r : q;
}

static int pg_check_column(struct pg_conn *c, char *table, char *column, const char *taker, struct err *e)
{
	_cleanup_strset_ struct strset names = {0};
	_cleanup_strbuf_ struct strbuf array = {0};
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_read_names(c, table, column, &names, e);
	if (r < 0)
		return r;
	strbuf_addch(&array, '{');
	for (size_t i = 0; i < names.n; i++) {
		struct db_value v = {.data = names.v[i], .len = strlen(names.v[i])};
		strbuf_adds(&array, i ? "," : "");
		pg_add_element(&array, &v, false);
	}
	strbuf_addch(&array, '}');
	/* A number stands for something that has gone, '-' for nothing. */
	_cleanup_free_ char *sql = xasprintf("SELECT x FROM pg_catalog.unnest($1::pg_catalog.text[]) x WHERE x <> '-'"
					     " AND x !~ '^[0-9]+$' AND pg_catalog.%s(x) IS NULL ORDER BY 1",
					     taker);
	const char *params[] = {strbuf_str(&array)};
	r = pg_query(c, &res, table, sql, 1, params, e);
	if (r < 0 || !PQntuples(res))
		return r;
	return err_set(e, ENOTSUP,
		       "column %s of table %s holds %s, which several have as their name: it cannot be written back;"
		       " exclude the table",
		       column, table, PQgetvalue(res, 0, 0));
}

int pg_check_names(struct pg_conn *c, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {c->schema};
	int r = pg_query(c, &res, "cannot list columns of names", pg_name_columns, 1, params, e);
	for (int i = 0; r == 0 && i < PQntuples(res); i++)
		if (pg_listing_has(&c->listing, PQgetvalue(res, i, 0)))
			r = pg_check_column(c, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), PQgetvalue(res, i, 2), e);
	return r;
}
