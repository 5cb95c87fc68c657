/*
 * drivers/postgres/rebuild.c - carries out inside the open transaction what compare.c found: what is to go is dropped,
 * the entries of pg_dump's text that are to be made are run in their order, up to the data, and what comes after the
 * data later; what is altered is altered in its place of that order. DDL is transactional: until commit others see the
 * old definitions.
 *
 * No state of its own, no locks. Owners and privileges that this server refuses become warnings, under a savepoint
 * each.
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

/* ---- one entry ---- */

/* What stands in tablespaces that are not here goes to the usual one. */
static int pg_choose_setting(struct pg_conn *c, const char *sql, const char **in_force, struct strbuf *warnings,
			     struct err *e)
{
	if (!sql || (*in_force && !strcmp(*in_force, sql)))
		return 0;
	*in_force = sql;
	_cleanup_free_ char *local = xasprintf("SET LOCAL %s", sql + strlen("SET "));
	if (!pg_begins(sql, "SET default_tablespace "))
		return pg_query(c, NULL, "cannot go on", local, 0, NULL, e);
	int r = pg_query(c, NULL, "cannot go on", "SET LOCAL default_tablespace = ''", 0, NULL, e);
	return r < 0 ? r : pg_run_optional(c, local, warnings, e);
}

/* A foreign key whose rows have lost their parents comes back for the rows to come: as they were in the snapshot. */
static int pg_run_foreign_key(struct pg_conn *c, const struct pg_statement *s, struct strbuf *warnings, struct err *e)
{
	struct err why = ERR_INIT;
	size_t n = strlen(s->sql);
	_cleanup_free_ char *all = xasprintf("SAVEPOINT metasnap_key; %s RELEASE metasnap_key", s->sql);
	int r = pg_query(c, NULL, s->entry, all, 0, NULL, &why);
	if (!r)
		return 0;
	if (strcmp(why.sqlstate, "23503")) {
		*e = why;
		return r;
	}
	_cleanup_free_ char *anyway =
	    xasprintf("ROLLBACK TO metasnap_key; RELEASE metasnap_key; %.*s NOT VALID", (int)n - 1, s->sql);
	strbuf_addf(warnings, "%s: rows without their parent, as in the snapshot; the key is not validated\n",
		    s->entry);
	return pg_query(c, NULL, s->entry, anyway, 0, NULL, e);
}

/* CREATE EXTENSION ... WITH SCHEMA wants the schema to be there, and the text has it not. If it may not be made, the
 * extension says so. */
static int pg_make_schema_for(struct pg_conn *c, const char *sql, struct strbuf *warnings, struct err *e)
{
	struct pg_token t, before = {0};
	_cleanup_free_ char *schema = NULL, *extension = NULL, *make = NULL;
	_cleanup_result_ PGresult *res = NULL;
	for (const char *p = sql; pg_next_token(&p, &t) > 0; before = t) {
		if (before.at && (pg_token_is(&before, "EXTENSION") || pg_token_is(&before, "EXISTS")) && !extension &&
		    !pg_token_is(&t, "IF"))
			extension = xmemdup0(t.at, t.len);
		else if (before.at && pg_token_is(&before, "SCHEMA") && !schema)
			schema = xmemdup0(t.at, t.len);
	}
	if (!schema || !extension)
		return 0;
	const char *params[] = {schema, extension};
	int r = pg_query(c, &res, "cannot look for a schema",
			 "SELECT FROM pg_catalog.pg_namespace n WHERE pg_catalog.quote_ident(n.nspname) = $1"
			 " UNION ALL SELECT FROM pg_catalog.pg_extension x"
			 " WHERE pg_catalog.quote_ident(x.extname) = $2",
			 2, params, e);
	if (r < 0 || PQntuples(res))
		return r;
	size_t said = warnings->len;
	make = xasprintf("CREATE SCHEMA %s", schema);
	r = pg_run_optional(c, make, warnings, e);
	if (r == 0 && warnings->len == said)
		strbuf_addf(warnings, "schema %s was made for the extension %s: only its name is in the snapshot\n",
			    schema, extension);
	return r;
}

static int pg_run_making(struct pg_conn *c, const struct pg_entry *x, const char *user, struct strbuf *warnings,
			 struct err *e)
{
	int r = pg_choose_setting(c, x->tablespace, &c->rebuild.tablespace, warnings, e);
	if (r == 0)
		r = pg_choose_setting(c, x->method, &c->rebuild.method, warnings, e);
	for (size_t k = 0; r == 0 && k < x->n; k++) {
		const struct pg_statement *s = &c->rebuild.want.script.statements[x->first + k];
		_cleanup_free_ char *move = NULL;
		if (pg_aside_has(c, x->first + k, &move)) {
			r = move ? pg_query(c, NULL, s->entry, move, 0, NULL, e) : 0;
			continue;
		}
		if (!strcmp(x->type, "EXTENSION") && (r = pg_make_schema_for(c, s->sql, warnings, e)) < 0)
			break;
		r = !strcmp(x->type, "FK CONSTRAINT") && strstr(s->sql, " FOREIGN KEY ") &&
			    !pg_is_transaction_control(s->sql)
			? pg_run_foreign_key(c, s, warnings, e)
			: pg_run_statement(c, s, user, warnings, e);
	}
	return r;
}

static int pg_run_altering(struct pg_conn *c, const struct pg_entry *x, const char *user, struct strbuf *warnings,
			   struct err *e)
{
	int r = 0;
	(void)user;
	for (size_t k = 0; r == 0 && k < x->n_alter; k++) {
		struct pg_statement s = {.sql = x->alter[k], .entry = x->tag, .type = x->type};
		/* The owner is another one now, whoever we are. */
		r = pg_run_statement(c, &s, "", warnings, e);
	}
	return r;
}

/* ---- rights ---- */

/* Objects of the schema that have rights other than nobody's said: "class oid". */
static int pg_list_rights(struct pg_conn *c, PGresult **ret, struct err *e)
{
	static const char sql[] =
	    "SELECT 1259, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE n.nspname = $1 AND c.relacl IS NOT NULL UNION ALL"
	    " SELECT 1255, p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
	    " WHERE n.nspname = $1 AND p.proacl IS NOT NULL UNION ALL"
	    " SELECT 1247, t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
	    " WHERE n.nspname = $1 AND t.typacl IS NOT NULL ORDER BY 1, 2";
	const char *params[] = {c->schema};
	return pg_query(c, ret, "cannot list the rights", sql, 1, params, e);
}

static int pg_note_rights(struct pg_conn *c, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_list_rights(c, &res, e);
	for (int i = 0; r == 0 && i < PQntuples(res); i++) {
		c->rebuild.old = xrealloc(c->rebuild.old, (c->rebuild.n_old + 1) * sizeof *c->rebuild.old);
		c->rebuild.old[c->rebuild.n_old++] = xasprintf("%s %s", PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
	}
	return r;
}

/* What was made anew has the rights that default privileges gave it, which were not asked; and some that stay get
 * theirs anew. The entries that give rights come after. */
static int pg_reset_rights(struct pg_conn *c, struct strbuf *warnings, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_list_rights(c, &res, e);
	for (int i = 0; r == 0 && i < PQntuples(res); i++) {
		_cleanup_free_ char *name = xasprintf("%s %s", PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
		bool old = false;
		for (size_t k = 0; k < c->rebuild.n_old && !old; k++)
			old = !strcmp(c->rebuild.old[k], name);
		if (!old)
			r = pg_rights_reset(c, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), warnings, e);
	}
	for (size_t i = 0; r == 0 && i < c->rebuild.live.n; i++) {
		const struct pg_entry *l = &c->rebuild.live.v[i];
		if (!l->rights || l->deed == PG_DEED_GO)
			continue;
		_cleanup_free_ char *class_oid = xasprintf("%u", l->toc.class_oid), *oid = xasprintf("%u", l->toc.oid);
		r = pg_rights_reset(c, class_oid, oid, warnings, e);
	}
	return r < 0 ? r : pg_grant_public(c, warnings, e);
}

/* ---- in order ---- */

/* A partition is attached to a table that stays with its indexes when it has its own: the server would make them. */
static bool pg_attaches_later(const struct pg_entries *want, const struct pg_entry *x)
{
	static const char before[] = "ALTER TABLE ONLY ";
	_cleanup_strbuf_ struct strbuf schema = {0}, name = {0};
	const char *sql = x->n ? want->script.statements[x->first].sql : "";
	if (strcmp(x->type, "TABLE ATTACH") || x->deed != PG_DEED_GO || !pg_begins(sql, before) ||
	    !pg_after_qualified(sql + strlen(before), &schema, &name))
		return false;
	for (size_t i = 0; i < want->n; i++)
		if (!strcmp(want->v[i].type, "TABLE") && !strcmp(want->v[i].tag, strbuf_str(&name)) &&
		    !strcmp(want->v[i].schema, strbuf_str(&schema)))
			return want->v[i].deed != PG_DEED_GO;
	return false;
}

static bool pg_is_late_check(const struct pg_entry *x)
{
	return !strcmp(x->type, "CHECK CONSTRAINT") && x->deed == PG_DEED_GO;
}

static int pg_attach_partitions(struct pg_conn *c, const char *user, struct strbuf *warnings, struct err *e)
{
	const struct pg_entries *want = &c->rebuild.want;
	int r = 0;
	for (size_t i = 0; r == 0 && i < want->n; i++)
		if (pg_attaches_later(want, &want->v[i]))
			r = pg_run_making(c, &want->v[i], user, warnings, e);
	/* and then the partitioned table's conditions that were never validated, which a partition has to have before */
	for (size_t i = 0; r == 0 && i < want->n; i++)
		if (pg_is_late_check(&want->v[i]))
			r = pg_run_making(c, &want->v[i], user, warnings, e);
	return r;
}

static bool pg_is_own_key(const char *type)
{
	return !strcmp(type, "INDEX") || !strcmp(type, "CONSTRAINT") || !strcmp(type, "CHECK CONSTRAINT");
}

/* From the next entry on, up to the border of the rows, or all that is left. */
static int pg_run_entries(struct pg_conn *c, bool to_border, struct strbuf *warnings, struct err *e)
{
	_cleanup_free_ char *user = NULL;
	struct pg_rebuild *b = &c->rebuild;
	bool reset = false, attached = to_border;
	int r = pg_current_user(c, &user, e);
	for (; r == 0 && b->next < b->want.n; b->next++) {
		const struct pg_entry *x = &b->want.v[b->next];
		bool rights = !strcmp(x->type, "ACL") || !strcmp(x->type, "DEFAULT ACL");
		if (to_border && pg_is_post_data(x->type))
			return 0;
		if (!attached && !pg_is_own_key(x->type)) {
			attached = true;
			r = pg_attach_partitions(c, user, warnings, e);
			if (r < 0)
				return r;
		}
		if (pg_attaches_later(&b->want, x) || (!to_border && pg_is_late_check(x)))
			continue;
		if (rights && !reset) {
			reset = true;
			r = pg_reset_rights(c, warnings, e);
			if (r < 0)
				return r;
		}
		if (x->deed == PG_DEED_GO)
			r = pg_run_making(c, x, user, warnings, e);
		else if (x->deed == PG_DEED_ALTER)
			r = pg_run_altering(c, x, user, warnings, e);
	}
	if (r == 0 && !attached)
		r = pg_attach_partitions(c, user, warnings, e);
	return r < 0 || reset || to_border ? r : pg_reset_rights(c, warnings, e);
}

int pg_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, const struct db_objects *o,
		     struct strbuf *warnings, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct pg_rebuild *b = &c->rebuild;
	(void)o; /* what compare found is in c->rebuild, too, with the statements */
	if (!c->active || c->access != DB_WRITE || c->change.on)
		return err_set(e, EINVAL, "rebuild: no transaction that may write");
	if (s->schema && strcmp(s->schema, c->schema))
		return err_set(e, EINVAL, "the snapshot is of schema %s, the connection is for schema %s", s->schema,
			       c->schema);
	if (!b->sql || strcmp(b->sql, sql))
		return err_set(e, EINVAL, "rebuild: these definitions were not compared, or cannot be restored");
	if (c->aside.schema && b->want.script.n_statements != c->aside.script.n_statements)
		return err_set(e, EINVAL, "the tables were staged from another text");
	int r = pg_query(c, NULL, "cannot prepare the rebuild",
			 "SET LOCAL check_function_bodies = off; SET LOCAL default_tablespace = ''", 0, NULL, e);
	if (r == 0)
		r = pg_note_rights(c, e);
	if (r == 0)
		r = pg_drop_guests(c, e);
	for (size_t i = 0; r == 0 && i < b->live.n; i++)
		if (b->live.v[i].pair == PG_NONE && b->live.v[i].deed == PG_DEED_ALTER)
			r = pg_run_altering(c, &b->live.v[i], "", warnings, e);
	if (r == 0)
		r = pg_drop_entries(c, e);
	b->next = 0;
	b->tablespace = b->method = NULL;
	if (r == 0)
		r = pg_run_entries(c, true, warnings, e);
	return r < 0 ? r : pg_aside_drop_empty(c, e);
}

/* "REFRESH MATERIALIZED VIEW name WITH NO DATA;" of an entry that only the database has: it is to have rows. */
static char *pg_refilled(const struct pg_entries *live, const struct pg_entry *l)
{
	static const char refresh[] = "REFRESH MATERIALIZED VIEW ", end[] = " WITH NO DATA;";
	const char *sql = l->n ? live->script.statements[l->first].sql : "";
	size_t n = strlen(sql), extra = strlen(refresh) + strlen(end);
	if (l->pair != PG_NONE || l->deed != PG_DEED_ALTER || strcmp(l->type, "MATERIALIZED VIEW DATA") || n < extra)
		return NULL;
	return xmemdup0(sql + strlen(refresh), n - extra);
}

/* Matviews hold no rows of their own: those made anew, and those that are empty but should not be, are filled from the
 * tables. */
static int pg_fill_views(struct pg_conn *c, struct strbuf *warnings, struct err *e)
{
	const struct pg_entries *want = &c->rebuild.want, *live = &c->rebuild.live;
	_cleanup_free_ char **fill = xcalloc(want->n + live->n + 1, sizeof *fill);
	size_t n = 0;
	for (size_t i = 0; i < want->n; i++) {
		size_t len = 0;
		const char *name = want->v[i].deed == PG_DEED_GO && want->v[i].n
				       ? pg_matview_of(&want->script.statements[want->v[i].first], &len)
				       : NULL;
		if (name && !pg_leaves_empty(&want->script, name, len))
			fill[n++] = xmemdup0(name, len);
	}
	for (size_t i = 0; i < live->n; i++) {
		fill[n] = pg_refilled(live, &live->v[i]);
		n += fill[n] != NULL;
	}
	int r = n ? pg_refresh_views(c, NULL, 0, fill, n, warnings, e) : 0;
	while (n)
		free(fill[--n]);
	return r;
}

int pg_rebuild_end(struct db_conn *conn, struct strbuf *warnings, struct strbuf *outside, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	if (!c->active || !c->rebuild.sql)
		return err_set(e, EINVAL, "rebuild: not begun");
	int r = pg_query(c, NULL, "cannot prepare the indexes",
			 "SELECT pg_catalog.set_config(s.name, '256MB', true) FROM pg_catalog.pg_settings s"
			 " WHERE s.name = 'maintenance_work_mem' AND s.setting::pg_catalog.int8 < 262144",
			 0, NULL, e);
	if (r == 0)
		r = pg_run_entries(c, false, warnings, e);
	if (r == 0)
		r = pg_return_guests(c, outside, e);
	if (r == 0)
		r = pg_fill_views(c, warnings, e);
	pg_rebuild_done(c);
	return r;
}
