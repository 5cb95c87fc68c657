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
