/*
 * drivers/sqlite/beside.c - what stands beside the rows that came back: tables that their triggers and full text indexes
 * feed, and that did not come with them; triggers and views that cannot work. It is said, and nothing is done about it.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>
#include <strings.h>

static bool sqlite_listed(char *const *list, const char *name)
{
	for (; list && *list; list++)
		if (!strcasecmp(*list, name))
			return true;
	return false;
}

/* A virtual table is what its shadows hold. */
static bool sqlite_came_back(const struct sqlite_conn *c, const char *table)
{
	size_t len = strlen(table);
	if (!c->partial || sqlite_listed(c->changed, table))
		return true;
	for (char *const *t = c->changed; t && *t; t++)
		if (!strncasecmp(*t, table, len) && (*t)[len] == '_')
			return true;
	return false;
}

/* The tables that a statement of `table` names. what: "its trigger t"; what of a virtual table names its own. */
static int sqlite_say_named(struct sqlite_conn *c, const char *table, const char *what, const char *sql,
			    struct strbuf *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r =
	    sqlite_prepare(c, c->db, &stmt,
			   "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')"
			   " AND name <> ?1 COLLATE NOCASE ORDER BY name",
			   e, table);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, table)) > 0) {
		const char *other = sqlite_text(stmt, 0);
		bool excluded = sqlite_excluded(c, other);
		if (sqlite_ddl_has_name(sql, other) && (excluded || !sqlite_came_back(c, other)))
			strbuf_addf(out, "%s: %s names %s, which %s and may not fit the rows that came back\n", table,
				    what, other, excluded ? "is excluded" : "was not restored with it");
	}
	return r;
}

static int sqlite_say_triggers(struct sqlite_conn *c, struct strbuf *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(c, c->db, &stmt,
			       "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name", e,
			       c->path);
	while (r >= 0 && (r = sqlite_step(c, stmt, e, c->path)) > 0) {
		_cleanup_free_ char *what = xasprintf("its trigger %s", sqlite_text(stmt, 0));
		if (sqlite_listed(c->changed, sqlite_text(stmt, 1)))
			r = sqlite_say_named(c, sqlite_text(stmt, 1), what, sqlite_text(stmt, 2), out, e);
	}
	return r;
}

/* content='docs' of a full text index. */
static int sqlite_say_indexes(struct sqlite_conn *c, struct strbuf *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(c, c->db, &stmt,
			       "SELECT s.name, s.sql FROM sqlite_schema s WHERE s.type = 'table' AND s.rootpage = 0"
			       " ORDER BY s.name",
			       e, c->path);
	while (r >= 0 && (r = sqlite_step(c, stmt, e, c->path)) > 0) {
		const char *name = sqlite_text(stmt, 0), *sql = sqlite_text(stmt, 1);
		if (!sqlite_excluded(c, name) && sqlite_came_back(c, name))
			continue;
		for (char *const *t = c->changed; *t; t++)
			if (sqlite_ddl_has_name(sql, *t))
				strbuf_addf(
				    out, "%s: the index %s of it did not come back with it and may not fit its rows\n",
				    *t, name);
	}
	return r;
}

int sqlite_refresh(struct db_conn *conn, struct strbuf *warnings, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	if (!c->changed)
		return 0;
	int r = sqlite_say_triggers(c, warnings, e);
	if (r >= 0)
		r = sqlite_say_indexes(c, warnings, e);
	sqlite_free_list(&c->changed);
	return r < 0 ? r : 0;
}

/* ---- what cannot work ---- */

/* SQLite itself says what a statement lacks when it compiles it, triggers and all. */
static void sqlite_try(struct sqlite_conn *c, const char *what, const char *sql, struct strbuf *out)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	if (sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		strbuf_addf(out, "%s cannot work as it came back: %s\n", what, sqlite3_errmsg(c->db));
}

static void sqlite_try_table(struct sqlite_conn *c, const char *table, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf sql = {0}, name = {0};
	size_t before = out->len;
	sqlite_quote(&name, table);
	_cleanup_free_ char *what = xasprintf("%s: what its triggers do", table);
	strbuf_addf(&sql, "EXPLAIN INSERT INTO main.%s DEFAULT VALUES", name.data);
	sqlite_try(c, what, sql.data, out);
	strbuf_clear(&sql);
	strbuf_addf(&sql, "EXPLAIN DELETE FROM main.%s", name.data);
	if (out->len == before)
		sqlite_try(c, what, sql.data, out);
}

int sqlite_say_broken(struct sqlite_conn *c, struct strbuf *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(c, c->db, &stmt,
			       "SELECT DISTINCT s.type, s.tbl_name FROM sqlite_schema s JOIN sqlite_schema o"
			       " ON o.type = 'table' AND o.name = s.tbl_name WHERE s.type = 'trigger'"
			       " UNION SELECT type, name FROM sqlite_schema WHERE type = 'view' ORDER BY 1, 2",
			       e, c->path);
	(void)sqlite3_db_config(c->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
	while (r >= 0 && (r = sqlite_step(c, stmt, e, c->path)) > 0) {
		const char *name = sqlite_text(stmt, 1);
		if (!strcmp(sqlite_text(stmt, 0), "trigger")) {
			sqlite_try_table(c, name, out);
			continue;
		}
		_cleanup_strbuf_ struct strbuf sql = {0};
		_cleanup_free_ char *what = xasprintf("view %s", name);
		strbuf_adds(&sql, "SELECT * FROM main.");
		sqlite_quote(&sql, name);
		sqlite_try(c, what, sql.data, out);
	}
	(void)sqlite3_db_config(c->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	return r;
}
