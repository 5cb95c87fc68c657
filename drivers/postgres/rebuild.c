/*
 * drivers/postgres/rebuild.c - replaces the whole schema inside the open transaction: drops what is there, runs
 * pg_dump's text up to the data, and what comes after the data later. DDL is transactional: until commit others see the
 * old tables.
 *
 * Owns struct pg_conn's `rebuild`; no locks. Owners and privileges that this server refuses become warnings, under a
 * savepoint each.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

static bool pg_may_refuse(const struct err *e)
{
	static const char *const states[] = {
	    "42501", /* insufficient_privilege */
	    "42704", /* undefined_object: no such role, tablespace, publication */
	    "0LP01", /* invalid_grant_operation */
	    "0P000", /* invalid_role_specification */
	    "22023", /* invalid_parameter_value: no such tablespace, no such role */
	    "28000", /* invalid_authorization_specification */
	};
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		if (!strcmp(e->sqlstate, states[i]))
			return true;
	return false;
}

static int pg_run_optional(struct pg_conn *c, const char *sql, struct strbuf *warnings, struct err *e)
{
	struct err refusal = ERR_INIT;
	_cleanup_free_ char *all = xasprintf("SAVEPOINT metasnap_try; %s; RELEASE metasnap_try", sql);
	int r = pg_query(c, NULL, "refused", all, 0, NULL, &refusal);
	if (!r)
		return 0;
	if (!pg_may_refuse(&refusal)) {
		*e = refusal;
		return r;
	}
	strbuf_addf(warnings, "%.*s: %s\n", (int)strcspn(sql, ";\n"), sql, refusal.msg);
	return pg_query(c, NULL, "cannot go on", "ROLLBACK TO metasnap_try; RELEASE metasnap_try", 0, NULL, e);
}

/* A text that ends our transaction would make the restore visible half-made. */
static bool pg_is_transaction_control(const char *sql)
{
	static const char *const words[] = {"BEGIN", "START",     "COMMIT",  "END",    "ROLLBACK",
					    "ABORT", "SAVEPOINT", "RELEASE", "PREPARE"};
	size_t n = 0;
	while (isalpha((unsigned char)sql[n]))
		n++;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strlen(words[i]) == n && !strncasecmp(sql, words[i], n))
			return true;
	return false;
}

static int pg_run_statement(struct pg_conn *c, const struct pg_statement *s, const char *user, struct strbuf *warnings,
			    struct err *e)
{
	_cleanup_free_ char *local = NULL;
	const char *sql = s->sql;
	size_t n = 0;
	if (pg_is_transaction_control(sql) || *sql == '\\')
		return err_set(e, EINVAL, "the schema text holds \"%.*s\", which has no place in it",
			       (int)strcspn(sql, " ;\n"), sql);
	/* pg_dump's session settings; ours are in place already, and must stay. */
	if (!*s->type)
		return 0;
	if (pg_begins(sql, "CREATE SCHEMA ") && c->listing.schema_exists)
		return 0;
	const char *owner = pg_owner_of(sql, &n);
	if (owner && strcmp(s->type, "SCHEMA") && strlen(user) == n && !strncmp(owner, user, n))
		return 0; /* who creates it owns it */
	if (pg_begins(sql, "SET "))
		sql = local = xasprintf("SET LOCAL %s", sql + 4);
	int r = pg_is_optional(s) ? pg_run_optional(c, sql, warnings, e) : pg_query(c, NULL, s->entry, sql, 0, NULL, e);
	if (r < 0)
		return r;
	if (PQtransactionStatus(c->pg) != PQTRANS_INTRANS)
		return err_set(e, EIO, "%s: the transaction has ended", s->entry);
	return 0;
}

static int pg_run_next(struct pg_conn *c, const char *user, struct strbuf *warnings, struct err *e)
{
	size_t i = c->rebuild.next++;
	_cleanup_free_ char *move = NULL;
	if (!pg_aside_has(c, i, &move))
		return pg_run_statement(c, &c->rebuild.script.statements[i], user, warnings, e);
	return move ? pg_query(c, NULL, c->rebuild.script.statements[i].entry, move, 0, NULL, e) : 0;
}

static int pg_current_user(struct pg_conn *c, char **ret, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, "cannot ask who we are", "SELECT pg_catalog.quote_ident(current_user)", 0, NULL, e);
	if (r < 0)
		return r;
	*ret = xstrdup(PQgetvalue(res, 0, 0));
	return 0;
}

/* A schema public that was dropped and created again lacks the privileges that pg_dump takes for granted: what it
 * writes for "public" is the difference to those of initdb (USAGE for all; before 15 also CREATE). */
static int pg_grant_public(struct pg_conn *c, struct strbuf *warnings, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	if (strcmp(c->schema, "public"))
		return 0;
	int r = pg_query(c, &res, "cannot read the schema's privileges",
			 "SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public' AND n.nspacl IS NULL", 0,
			 NULL, e);
	if (r < 0 || !PQntuples(res))
		return r;
	return pg_run_optional(c,
			       c->version_num >= 150000 ? "GRANT USAGE ON SCHEMA public TO PUBLIC"
							: "GRANT ALL ON SCHEMA public TO PUBLIC",
			       warnings, e);
}

int pg_compare(struct db_conn *conn, const struct db_definitions *live, const struct db_definitions *want,
	       const bool *touched, struct db_objects *ret, struct err *e)
{
	(void)conn;
	(void)touched;
	(void)e;
	db_objects_compare_whole(ret, live, want);
	return 0;
}

int pg_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, const struct db_objects *o,
		     struct strbuf *warnings, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	(void)o;
	_cleanup_free_ char *user = NULL;
	if (!c->active || c->access != DB_WRITE || c->change.on)
		return err_set(e, EINVAL, "rebuild: no transaction that may write");
	if (s->schema && strcmp(s->schema, c->schema))
		return err_set(e, EINVAL, "the snapshot is of schema %s, the connection is for schema %s", s->schema,
			       c->schema);
	pg_script_done(&c->rebuild.script);
	int r = pg_script_parse(&c->rebuild.script, sql, e);
	if (r < 0)
		return r;
	if (c->aside.schema && c->rebuild.script.n_statements != c->aside.script.n_statements)
		return err_set(e, EINVAL, "the tables were staged from another text");
	r = pg_current_user(c, &user, e);
	if (r < 0)
		return r;
	r = pg_query(c, NULL, "cannot prepare the rebuild",
		     "SET LOCAL check_function_bodies = off; SET LOCAL default_tablespace = ''", 0, NULL, e);
	if (r < 0)
		return r;
	r = pg_drop_objects(c, e);
	if (r < 0)
		return r;
	c->rebuild.next = 0;
	while (c->rebuild.next < c->rebuild.script.n_statements &&
	       !pg_is_post_data(c->rebuild.script.statements[c->rebuild.next].type)) {
		r = pg_run_next(c, user, warnings, e);
		if (r < 0)
			return r;
	}
	r = pg_aside_drop_empty(c, e);
	return r < 0 ? r : pg_grant_public(c, warnings, e);
}

/* Matviews hold no rows of their own: filled from the tables. */
static int pg_fill_views(struct pg_conn *c, struct strbuf *warnings, struct err *e)
{
	const struct pg_script *script = &c->rebuild.script;
	_cleanup_free_ char **fill = xcalloc(script->n_statements + 1, sizeof *fill);
	size_t n = 0;
	for (size_t i = 0; i < script->n_statements; i++) {
		size_t len = 0;
		const char *name = pg_matview_of(&script->statements[i], &len);
		if (name && !pg_leaves_empty(script, name, len))
			fill[n++] = xmemdup0(name, len);
	}
	int r = pg_refresh_views(c, NULL, 0, fill, n, warnings, e);
	while (n)
		free(fill[--n]);
	return r;
}

int pg_rebuild_end(struct db_conn *conn, struct strbuf *warnings, struct strbuf *outside, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	(void)outside;
	_cleanup_free_ char *user = NULL;
	if (!c->active || !c->rebuild.script.n_statements)
		return err_set(e, EINVAL, "rebuild: not begun");
	int r = pg_current_user(c, &user, e);
	if (r < 0)
		return r;
	r = pg_query(c, NULL, "cannot prepare the indexes",
		     "SELECT pg_catalog.set_config(s.name, '256MB', true) FROM pg_catalog.pg_settings s"
		     " WHERE s.name = 'maintenance_work_mem' AND s.setting::pg_catalog.int8 < 262144",
		     0, NULL, e);
	if (r < 0)
		return r;
	while (c->rebuild.next < c->rebuild.script.n_statements) {
		r = pg_run_next(c, user, warnings, e);
		if (r < 0)
			return r;
	}
	r = pg_fill_views(c, warnings, e);
	pg_script_done(&c->rebuild.script);
	return r;
}
