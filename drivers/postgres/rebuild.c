/*
 * drivers/postgres/rebuild.c - replaces the whole schema inside the open transaction: drops what is there, runs
 * pg_dump's text up to the data, and what comes after the data later. DDL is transactional: until commit others see the
 * old tables.
 *
 * Owns struct pg_conn's script; no locks. Nothing is dropped by CASCADE: what hangs on the schema from outside makes an
 * honest error. Owners and privileges that this server refuses become warnings, under a savepoint each.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

/* ---- dropping ---- */

/* Kinds of objects by pg_identify_object's names, in an order that mostly needs one pass. */
static const struct pg_drop_kind {
	const char *type, *keyword;
	bool several; /* DROP takes a list */
} pg_drop_kinds[] = {
    {"view", "VIEW", true},
    {"materialized view", "MATERIALIZED VIEW", true},
    {"table", "TABLE", true},
    {"sequence", "SEQUENCE", true},
    {"statistics object", "STATISTICS", true},
    {"operator class", "OPERATOR CLASS", false},
    {"operator family", "OPERATOR FAMILY", false},
    {"operator", "OPERATOR", true},
    {"aggregate", "ROUTINE", true},
    {"function", "ROUTINE", true},
    {"procedure", "ROUTINE", true},
    {"type", "TYPE", true},
    {"text search configuration", "TEXT SEARCH CONFIGURATION", true},
    {"text search dictionary", "TEXT SEARCH DICTIONARY", true},
    {"text search template", "TEXT SEARCH TEMPLATE", true},
    {"text search parser", "TEXT SEARCH PARSER", true},
    {"conversion", "CONVERSION", false},
    {"collation", "COLLATION", true},
};

#define PG_DROP_KINDS (sizeof pg_drop_kinds / sizeof pg_drop_kinds[0])

struct pg_drop_list {
	char **names; /* as pg_identify_object spells them; NULL once dropped */
	size_t n;
	size_t left;
};

static void pg_drop_lists_done(struct pg_drop_list *lists)
{
	for (size_t k = 0; k < PG_DROP_KINDS; k++) {
		for (size_t i = 0; i < lists[k].n; i++)
			free(lists[k].names[i]);
		free(lists[k].names);
	}
}

static int pg_list_objects(struct pg_conn *c, struct pg_drop_list *lists, struct err *e)
{
	/* Everything in the schema says so in pg_depend; what belongs to another object (indexes, identity sequences'
	 * columns, row types) either does not, or is gone with it, hence IF EXISTS. */
	static const char sql[] =
	    "SELECT o.type, o.identity FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_depend d"
	    " ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid AND d.deptype = "
	    "'n'"
	    " CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) AS o"
	    " WHERE n.nspname = $1 AND d.classid <> 'pg_catalog.pg_extension'::pg_catalog.regclass"
	    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = d.classid AND x.objid = d.objid"
	    "  AND x.deptype = 'e')"
	    " AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND (d.objid = ANY ($2::pg_catalog.oid[])"
	    "  OR EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = d.classid AND x.objid = d.objid"
	    "   AND x.deptype IN ('a', 'i') AND x.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	    "   AND x.refobjid = ANY ($2::pg_catalog.oid[]))))"
	    " ORDER BY o.type COLLATE pg_catalog.\"C\", o.identity COLLATE pg_catalog.\"C\"";
	_cleanup_strbuf_ struct strbuf excluded = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {c->schema, strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list the old schema", sql, 2, params, e);
	for (int i = 0; !r && i < PQntuples(res); i++) {
		size_t k = 0;
		while (k < PG_DROP_KINDS && strcmp(pg_drop_kinds[k].type, PQgetvalue(res, i, 0)))
			k++;
		if (k == PG_DROP_KINDS)
			return err_set(e, ENOTSUP, "cannot replace the schema: it holds %s, a %s",
				       PQgetvalue(res, i, 1), PQgetvalue(res, i, 0));
		struct pg_drop_list *l = &lists[k];
		l->names = xrealloc(l->names, (l->n + 1) * sizeof *l->names);
		l->names[l->n++] = xstrdup(PQgetvalue(res, i, 1));
		l->left++;
	}
	return r;
}

/* An excluded table that is a partition would go with its partitioned table, RESTRICT or not. */
static int pg_refuse_excluded_partitions(struct pg_conn *c, struct err *e)
{
	static const char sql[] =
	    "SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
	    " WHERE c.relispartition AND c.oid = ANY ($1::pg_catalog.oid[]) AND i.inhparent <> ALL "
	    "($1::pg_catalog.oid[])";
	_cleanup_strbuf_ struct strbuf excluded = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list the partitions", sql, 1, params, e);
	if (!r && PQntuples(res))
		r = err_set(
		    e, ENOTSUP,
		    "cannot replace the schema: the excluded table %s is a partition of a table that is not excluded",
		    PQgetvalue(res, 0, 0));
	return r;
}

/* Drops names[0..n) of a kind under a savepoint. 1: dropped; 0: something depends on them; -errno. *refusal keeps the
 * first words: views and tables come before what they use, so these name what stands in the way. */
static int pg_try_drop(struct pg_conn *c, size_t kind, char *const *names, size_t n, struct err *refusal)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	struct err words = ERR_INIT;
	const char *separator = " ";
	strbuf_addf(&sql, "SAVEPOINT metasnap_drop; DROP %s IF EXISTS", pg_drop_kinds[kind].keyword);
	for (size_t i = 0; i < n; i++) {
		if (!names[i])
			continue;
		strbuf_addf(&sql, "%s%s", separator, names[i]);
		separator = ", ";
	}
	strbuf_adds(&sql, " RESTRICT; RELEASE metasnap_drop");
	int r = pg_query(c, NULL, "cannot replace the schema", strbuf_str(&sql), 0, NULL, &words);
	if (!r)
		return 1;
	bool dependents = !strcmp(words.sqlstate, "2BP01"); /* dependent_objects_still_exist */
	if (!dependents || !refusal->code)
		*refusal = words;
	if (!dependents)
		return r;
	r = pg_query(c, NULL, "cannot replace the schema", "ROLLBACK TO metasnap_drop; RELEASE metasnap_drop", 0, NULL,
		     &words);
	if (r < 0)
		*refusal = words;
	return r;
}

/* One pass over a kind: all at once, or else each that goes by itself. Returns how many went, or -errno. */
static int pg_drop_kind_once(struct pg_conn *c, size_t kind, struct pg_drop_list *l, struct err *refusal)
{
	int dropped = 0, r = 0;
	if (pg_drop_kinds[kind].several || l->left == 1) {
		r = pg_try_drop(c, kind, l->names, l->n, refusal);
		if (r > 0) {
			dropped = (int)l->left;
			l->left = 0;
		}
		if (r || l->left == 1)
			return r < 0 ? r : dropped;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (!l->names[i])
			continue;
		r = pg_try_drop(c, kind, &l->names[i], 1, refusal);
		if (r < 0)
			return r;
		if (r > 0) {
			free(TAKE_PTR(l->names[i]));
			l->left--;
			dropped++;
		}
	}
	return dropped;
}

static int pg_drop_objects(struct pg_conn *c, struct err *e)
{
	struct pg_drop_list lists[PG_DROP_KINDS] = {0};
	struct err refusal = ERR_INIT;
	size_t left = 0;
	int r = pg_refuse_excluded_partitions(c, e);
	if (!r)
		r = pg_list_objects(c, lists, e);
	if (r < 0) {
		pg_drop_lists_done(lists);
		return r;
	}
	/* Functions may need tables, and tables functions: passes over what is left, until none helps. */
	int dropped;
	do {
		dropped = 0;
		left = 0;
		refusal = ERR_INIT;
		for (size_t k = 0; k < PG_DROP_KINDS && r >= 0; k++) {
			if (!lists[k].left)
				continue;
			r = pg_drop_kind_once(c, k, &lists[k], &refusal);
			dropped += r > 0 ? r : 0;
			left += lists[k].left;
		}
	} while (r >= 0 && left && dropped);
	pg_drop_lists_done(lists);
	if (r >= 0 && !left)
		return 0;
	*e = refusal;
	return r < 0 ? r : -refusal.code;
}

/* ---- running the text ---- */

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
	if (owner && strcmp(s->type, "SCHEMA") != 0 && strlen(user) == n && !strncmp(owner, user, n))
		return 0; /* who creates it owns it */
	if (pg_begins(sql, "SET "))
		sql = local = xasprintf("SET LOCAL %s", sql + 4);
	int r = pg_is_optional(s) ? pg_run_optional(c, sql, warnings, e) : pg_query(c, NULL, s->entry, sql, 0, NULL, e);
	if (!r && PQtransactionStatus(c->pg) != PQTRANS_INTRANS)
		r = err_set(e, EIO, "%s: the transaction has ended", s->entry);
	return r;
}

static int pg_run_next(struct pg_conn *c, const char *user, struct strbuf *warnings, struct err *e)
{
	size_t i = c->script_next++;
	_cleanup_free_ char *move = NULL;
	if (!pg_aside_has(c, i, &move))
		return pg_run_statement(c, &c->script.statements[i], user, warnings, e);
	return move ? pg_query(c, NULL, c->script.statements[i].entry, move, 0, NULL, e) : 0;
}

static int pg_current_user(struct pg_conn *c, char **ret, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, "cannot ask who we are", "SELECT pg_catalog.quote_ident(current_user)", 0, NULL, e);
	if (!r)
		*ret = xstrdup(PQgetvalue(res, 0, 0));
	return r;
}

/* A schema public that was dropped and created again lacks the privileges that pg_dump takes for granted: what it
 * writes for "public" is the difference to those of initdb (USAGE for all; before 15 also CREATE). */
static int pg_grant_public(struct pg_conn *c, struct strbuf *warnings, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	if (strcmp(c->schema, "public") != 0)
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

int pg_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, struct strbuf *warnings,
		     struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_free_ char *user = NULL;
	if (!c->active || c->access != DB_WRITE || c->changing)
		return err_set(e, EINVAL, "rebuild: no transaction that may write");
	if (s->schema && strcmp(s->schema, c->schema) != 0)
		return err_set(e, EINVAL, "the snapshot is of schema %s, the connection is for schema %s", s->schema,
			       c->schema);
	pg_script_done(&c->script);
	int r = pg_script_parse(&c->script, sql, e);
	if (!r && c->aside.schema && c->script.n_statements != c->aside.script.n_statements)
		r = err_set(e, EINVAL, "the tables were staged from another text");
	if (!r)
		r = pg_current_user(c, &user, e);
	if (!r)
		r = pg_query(c, NULL, "cannot prepare the rebuild",
			     "SET LOCAL check_function_bodies = off; SET LOCAL default_tablespace = ''", 0, NULL, e);
	if (!r)
		r = pg_drop_objects(c, e);
	c->script_next = 0;
	while (!r && c->script_next < c->script.n_statements &&
	       !pg_is_post_data(c->script.statements[c->script_next].type))
		r = pg_run_next(c, user, warnings, e);
	if (!r)
		r = pg_aside_drop_empty(c, e);
	return r ? r : pg_grant_public(c, warnings, e);
}

/* Matviews hold no rows of their own: filled from the tables, in the order they were created in. */
static int pg_refresh_views(struct pg_conn *c, struct err *e)
{
	for (size_t i = 0; i < c->script.n_statements; i++) {
		size_t len = 0;
		const char *name = pg_matview_of(&c->script.statements[i], &len);
		if (!name)
			continue;
		int r = pg_do(c, e, c->script.statements[i].entry, "REFRESH MATERIALIZED VIEW %.*s", (int)len, name);
		if (r < 0)
			return r;
	}
	return 0;
}

int pg_rebuild_end(struct db_conn *conn, struct strbuf *warnings, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_free_ char *user = NULL;
	if (!c->active || !c->script.n_statements)
		return err_set(e, EINVAL, "rebuild: not begun");
	int r = pg_current_user(c, &user, e);
	if (!r)
		r = pg_query(c, NULL, "cannot prepare the indexes",
			     "SELECT pg_catalog.set_config(s.name, '256MB', true) FROM pg_catalog.pg_settings s"
			     " WHERE s.name = 'maintenance_work_mem' AND s.setting::pg_catalog.int8 < 262144",
			     0, NULL, e);
	while (!r && c->script_next < c->script.n_statements)
		r = pg_run_next(c, user, warnings, e);
	if (!r)
		r = pg_refresh_views(c, e);
	pg_script_done(&c->script);
	return r;
}
