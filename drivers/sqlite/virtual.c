/*
 * drivers/sqlite/virtual.c - virtual tables: what they hold is in ordinary tables, their shadows, and comes and goes with
 * those. The definition itself is put into sqlite_schema as the sqlite3 shell's .dump does it: no module has to be there,
 * and none makes a shadow that is not as the snapshot has it.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>
#include <strings.h>

int sqlite_virtual_names(struct sqlite_conn *c, sqlite3 *db, char ***ret, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	size_t n = 0;
	sqlite_free_list(ret);
	*ret = xcalloc(1, sizeof **ret);
	int r = sqlite_prepare(
	    c, db, &stmt, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'virtual'", e, c->path);
	while (r >= 0 && (r = sqlite_step(c, stmt, e, c->path)) > 0) {
		*ret = xrealloc(*ret, (n + 2) * sizeof **ret);
		(*ret)[n++] = xstrdup(sqlite_text(stmt, 0));
		(*ret)[n] = NULL;
	}
	return r;
}

bool sqlite_left_out(const struct sqlite_conn *c, char *const *virtual_names, const char *table, const char *type)
{
	const char *owner = table;
	size_t longest = 0;
	if (type && !strcmp(type, "shadow")) /* FTS5's ft_data belongs to ft */
		for (; *virtual_names; virtual_names++) {
			size_t len = strlen(*virtual_names);
			if (len >= longest && !strncasecmp(table, *virtual_names, len) && table[len] == '_') {
				owner = *virtual_names;
				longest = len;
			}
		}
	return sqlite_excluded(c, owner);
}

/* SQLite's own switch against writing into sqlite_schema is on in some builds. */
static int sqlite_schema_writable(struct sqlite_conn *c, bool on, struct err *e)
{
	(void)sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
	return sqlite_run(c, c->db, on ? "PRAGMA writable_schema=ON" : "PRAGMA writable_schema=RESET", e, "schema");
}

static bool sqlite_goes(const struct db_object *o)
{
	return !strcmp(o->kind, SQLITE_VIRTUAL) && (o->deed == DB_DEED_DROP || o->deed == DB_DEED_REMAKE);
}

int sqlite_drop_virtual(struct sqlite_conn *c, const struct db_objects *o, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	bool any = false;
	for (size_t i = 0; i < o->n; i++)
		any |= sqlite_goes(&o->v[i]);
	if (!any)
		return 0;
	int r = sqlite_schema_writable(c, true, e);
	if (r >= 0)
		r = sqlite_prepare(c, c->db, &stmt,
				   "DELETE FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 AND rootpage = 0",
				   e, "schema");
	for (size_t i = 0; r >= 0 && i < o->n; i++) {
		if (!sqlite_goes(&o->v[i]))
			continue;
		(void)sqlite3_bind_text(stmt, 1, o->v[i].name, -1, SQLITE_STATIC);
		r = sqlite_step_write(c, stmt, e, "schema");
	}
	sqlite_finalize(&stmt);
	/* Read anew: shadows are ordinary tables now. */
	int q = sqlite_schema_writable(c, false, r < 0 ? ERR_DROP : e);
	return r < 0 ? r : q;
}

int sqlite_add_virtual(struct sqlite_conn *c, const char *sql, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_free_ char *name = sqlite_ddl_virtual_name(sql);
	if (!name)
		return err_set(e, EINVAL, "schema: not the definition of a virtual table: %.60s", sql);
	int r = sqlite_schema_writable(c, true, e);
	if (r >= 0)
		r = sqlite_prepare(c, c->db, &stmt,
				   "INSERT INTO main.sqlite_schema(type, name, tbl_name, rootpage, sql)"
				   " VALUES ('table', ?1, ?1, 0, ?2)",
				   e, "schema");
	if (r >= 0) {
		(void)sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
		(void)sqlite3_bind_text(stmt, 2, sql, -1, SQLITE_STATIC);
		r = sqlite_step_write(c, stmt, e, name);
	}
	sqlite_finalize(&stmt);
	/* Read anew, which fails when the text is not the definition of that name alone. */
	int q = sqlite_schema_writable(c, false, r < 0 ? ERR_DROP : e);
	if (r >= 0 && q >= 0)
		q = sqlite_run(c, c->db, "SELECT count(*) FROM sqlite_schema", e, name);
	return r < 0 ? r : q;
}

int sqlite_schema_changed(struct sqlite_conn *c, struct err *e)
{
	_cleanup_free_ char *version = NULL;
	int r = sqlite_ask(c, c->db, "PRAGMA main.schema_version", &version, e, "schema");
	if (r < 0)
		return r;
	_cleanup_free_ char *sql =
	    xasprintf("PRAGMA main.schema_version=%ld", strtol(version ? version : "0", NULL, 10) + 1);
	return sqlite_run(c, c->db, sql, e, "schema");
}

/* ---- what names what was left out ---- */

static int sqlite_say_trigger(struct sqlite_conn *c, const char *trigger, const char *table, const char *sql,
			      struct strbuf *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(c, c->db, &stmt, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> ?1", e,
			       table);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, table)) > 0)
		if (sqlite_excluded(c, sqlite_text(stmt, 0)) && sqlite_ddl_has_name(sql, sqlite_text(stmt, 0)))
			strbuf_addf(out,
				    "%s: its trigger %s writes to %s, which is excluded and may not fit the rows that "
				    "came back\n",
				    table, trigger, sqlite_text(stmt, 0));
	return r;
}

int sqlite_say_left_out(struct sqlite_conn *c, struct strbuf *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	if (!c->exclude[0] || !c->checked)
		return 0;
	int r = sqlite_prepare(c, c->db, &stmt,
			       "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name", e,
			       c->path);
	while (r >= 0 && (r = sqlite_step(c, stmt, e, c->path)) > 0) {
		bool changed = false;
		for (size_t i = 0; c->checked[i]; i++)
			changed |= !strcasecmp(c->checked[i], sqlite_text(stmt, 1));
		if (changed)
			r = sqlite_say_trigger(c, sqlite_text(stmt, 0), sqlite_text(stmt, 1), sqlite_text(stmt, 2), out,
					       e);
	}
	return r;
}

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
