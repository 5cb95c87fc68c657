/*
 * drivers/sqlite/rebuild.c - replaces the whole schema inside the open transaction.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>

/* Executes one statement; anything behind it is refused. SQLite keeps the text of an index as it is given, white space
 * at the end included, so that not a byte may be added to it. */
static int sqlite_run_statement(struct sqlite_conn *c, const char *sql, size_t len, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	const char *tail = NULL;
	_cleanup_free_ char *text = xmemdup0(sql, len);
	if (sqlite3_prepare_v2(c->db, text, -1, &stmt, &tail) != SQLITE_OK)
		return sqlite_err(c, c->db, e, "schema");
	const char *start = NULL;
	size_t rest = 0;
	if (!stmt || (tail && sqlite_ddl_next(&tail, &start, &rest) != SQLITE_DDL_END))
		return err_set(e, EINVAL, "schema: not one statement: %.60s", text);
	int r = 0;
	while ((r = sqlite_step(c, stmt, e, "schema")) > 0)
		;
	return r;
}

static int sqlite_drop_all(struct sqlite_conn *c, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_strbuf_ struct strbuf sql = {0};
	/* Views first, with their triggers; tables take their indexes and triggers along. */
	int r = sqlite_prepare(c, c->db, &stmt,
			       "SELECT s.name, s.type FROM sqlite_schema s JOIN pragma_table_list l"
			       " ON l.schema = 'main' AND l.name = s.name WHERE s.type IN ('table', 'view')"
			       " AND l.type NOT IN ('virtual', 'shadow') AND lower(substr(s.name, 1, 7)) <> 'sqlite_'"
			       " ORDER BY s.type DESC, s.rowid",
			       e, c->path);
	if (r < 0)
		return r;
	while ((r = sqlite_step(c, stmt, e, c->path)) > 0) {
		if (sqlite_excluded(c, sqlite_text(stmt, 0)))
			continue;
		strbuf_addf(&sql, "DROP %s main.", sqlite_text(stmt, 1));
		sqlite_quote(&sql, sqlite_text(stmt, 0));
		strbuf_addch(&sql, ';');
	}
	sqlite_finalize(&stmt);
	if (r < 0 || !sql.len)
		return r;
	return sqlite_run(c, c->db, sql.data, e, "dropping the old tables");
}

int sqlite_compare(struct db_conn *conn, const struct db_definitions *live, const struct db_definitions *want,
		   const bool *touched, struct db_objects *ret, struct err *e)
{
	(void)conn;
	(void)touched;
	(void)e;
	db_objects_compare_whole(ret, live, want);
	return 0;
}

int sqlite_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, const struct db_objects *o,
			 struct strbuf *warnings, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	(void)o;
	(void)warnings; /* SQLite knows neither owners nor privileges */
	int r = sqlite_check_writing(c, e, "schema");
	if (r < 0)
		return r;
	sqlite_remember_checked(c, s);
	sqlite_free_list(&c->later);
	c->n_later = 0;
	r = sqlite_drop_all(c, e);
	if (r >= 0)
		r = sqlite_run(c, c->db, "PRAGMA application_id=0; PRAGMA user_version=0", e, "schema");
	while (r >= 0) {
		const char *start = NULL;
		size_t len = 0;
		enum sqlite_ddl_kind kind = sqlite_ddl_next(&sql, &start, &len);
		if (kind == SQLITE_DDL_END)
			break;
		if (kind == SQLITE_DDL_OTHER)
			return err_set(e, ENOTSUP, "schema: this statement is not one of a saved schema: %.*s",
				       (int)(len < 60 ? len : 60), start);
		if (kind == SQLITE_DDL_LATER) {
			c->later = xrealloc(c->later, (c->n_later + 2) * sizeof *c->later);
			c->later[c->n_later++] = xmemdup0(start, len);
			c->later[c->n_later] = NULL;
		} else {
			r = sqlite_run_statement(c, start, len, e);
		}
	}
	return r;
}

int sqlite_rebuild_end(struct db_conn *conn, struct strbuf *warnings, struct strbuf *outside, struct err *e)
{
	(void)outside; /* a file has no outside */
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check_writing(c, e, "schema");
	for (size_t i = 0; r >= 0 && i < c->n_later; i++)
		r = sqlite_run_statement(c, c->later[i], strlen(c->later[i]), e);
	return r < 0 ? r : sqlite_check_foreign_keys(c, warnings, e);
}
