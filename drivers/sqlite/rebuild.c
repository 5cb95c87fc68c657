/*
 * drivers/sqlite/rebuild.c - carries out inside the open transaction what objects.c found: drops, and makes from the
 * text.
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

/* What goes or is made anew. A table or view takes along what is on it, which may be named after it: IF EXISTS. */
static int sqlite_drop(struct sqlite_conn *c, const struct db_objects *o, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	static const char pragma[] = "pragma";
	int r = sqlite_drop_virtual(c, o, e); /* first: then shadows are ordinary tables */
	if (r < 0)
		return r;
	for (size_t i = 0; i < o->n; i++) {
		const struct db_object *v = &o->v[i];
		if (v->deed != DB_DEED_DROP && v->deed != DB_DEED_REMAKE)
			continue;
		if (!strcmp(v->kind, SQLITE_VIRTUAL))
			continue;
		if (!strcmp(v->kind, pragma)) {
			strbuf_addf(&sql, "PRAGMA %s=0;", v->name); /* what a file has that never heard of it */
			continue;
		}
		strbuf_addf(&sql, "DROP %s IF EXISTS main.", v->kind);
		sqlite_quote(&sql, v->name);
		strbuf_addch(&sql, ';');
	}
	return sql.len ? sqlite_run(c, c->db, sql.data, e, "dropping what the snapshot has not") : 0;
}

/* Tables that are made anew: their foreign keys, and those into them. */
static void sqlite_remember_remade(struct sqlite_conn *c, const struct db_schema *s, const struct db_objects *o)
{
	struct db_schema one = {.n_tables = 1};
	sqlite_free_list(&c->checked);
	for (size_t i = 0; i < s->n_tables; i++) {
		one.tables = &s->tables[i];
		if (o->remade[i])
			sqlite_remember_checked(c, &one);
	}
}

int sqlite_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, const struct db_objects *o,
			 struct strbuf *warnings, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_(sqlite_objects_done) struct sqlite_objects wanted = {0};
	(void)warnings; /* SQLite knows neither owners nor privileges */
	int r = sqlite_check_writing(c, e, "schema");
	if (r < 0)
		return r;
	sqlite_remember_remade(c, s, o);
	sqlite_free_list(&c->later);
	c->n_later = 0;
	r = sqlite_objects_parse(sql, &wanted, e);
	if (r < 0)
		return r;
	r = sqlite_drop(c, o, e);
	for (size_t i = 0; r >= 0 && i < wanted.n; i++) {
		const struct sqlite_object *w = &wanted.v[i];
		if (!sqlite_deed_of(o, &w->is))
			continue;
		if (w->later) {
			c->later = xrealloc(c->later, (c->n_later + 2) * sizeof *c->later);
			c->later[c->n_later++] = xstrdup(w->sql);
			c->later[c->n_later] = NULL;
		} else if (!strcmp(w->is.kind, SQLITE_VIRTUAL)) {
			r = sqlite_add_virtual(c, w->sql, e);
		} else {
			r = sqlite_run_statement(c, w->sql, strlen(w->sql), e);
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
	if (r >= 0)
		r = sqlite_tell_unheld(c, warnings, e);
	if (r >= 0)
		r = sqlite_schema_changed(c, e);
	if (r >= 0)
		r = sqlite_say_broken(c, warnings, e);
	c->partial = false;
	if (r >= 0)
		r = sqlite_refresh(conn, warnings, e);
	return r < 0 ? r : sqlite_check_foreign_keys(c, warnings, e);
}
