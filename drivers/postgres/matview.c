/*
 * drivers/postgres/matview.c - materialised views: whether they hold rows, as a part of the schema's text, and their
 * rows, which are computed again from the tables'.
 *
 * No state, no locks of its own: a refresh takes the server's, for as long as the transaction lasts.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

/* ---- with rows or without ---- */

/* pg_dump says nothing of rows in a text without data: every view is made WITH NO DATA. What we add says which are to
 * stay so; a view of which it does not speak has rows. */
#define PG_EMPTY_ENTRY "MATERIALIZED VIEW DATA"
static const char pg_empty_refresh[] = "REFRESH MATERIALIZED VIEW ", pg_empty_end[] = " WITH NO DATA;";

int pg_add_empty_views(struct pg_conn *c, struct strbuf *sql, struct err *e)
{
	static const char query[] =
	    "SELECT c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c"
	    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE n.nspname = $1 AND c.relkind = 'm' AND NOT c.relispopulated AND NOT EXISTS (SELECT"
	    "  FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	    "  AND d.objid = c.oid AND d.deptype = 'e') ORDER BY c.relname COLLATE pg_catalog.\"C\"";
	_cleanup_result_ PGresult *res = NULL;
	_cleanup_strbuf_ struct strbuf all = {0};
	const char *params[] = {c->schema}, *end = NULL;
	int r = pg_query(c, &res, "cannot list the materialized views", query, 1, params, e);
	if (r < 0 || !PQntuples(res))
		return r;
	for (const char *p = strstr(strbuf_str(sql), "--\n-- PostgreSQL database dump complete"); p;
	     p = strstr(p + 1, "--\n-- PostgreSQL database dump complete"))
		end = p;
	size_t at = end ? (size_t)(end - strbuf_str(sql)) : sql->len;
	strbuf_add(&all, strbuf_str(sql), at);
	for (int i = 0; i < PQntuples(res); i++)
		strbuf_addf(&all, "--\n-- Name: %s; Type: " PG_EMPTY_ENTRY "; Schema: %s; Owner: -\n--\n\n%s%s%s\n\n\n",
			    PQgetvalue(res, i, 0), c->schema, pg_empty_refresh, PQgetvalue(res, i, 1), pg_empty_end);
	strbuf_add(&all, strbuf_str(sql) + at, sql->len - at);
	strbuf_clear(sql);
	strbuf_add(sql, strbuf_str(&all), all.len);
	return 0;
}

bool pg_leaves_empty(const struct pg_script *script, const char *name, size_t len)
{
	size_t start = sizeof pg_empty_refresh - 1;
	for (size_t i = 0; i < script->n_statements; i++) {
		const struct pg_statement *s = &script->statements[i];
		if (!strcmp(s->type, PG_EMPTY_ENTRY) && pg_begins(s->sql, pg_empty_refresh) &&
		    !strncmp(s->sql + start, name, len) && !strcmp(s->sql + start + len, pg_empty_end))
			return true;
	}
	return false;
}

/* ---- their rows ---- */

/* $1: oids of tables whose rows have changed, $2: views that are to get rows. All views whose rows those can be seen in,
 * each after what it reads. What a view reads is what its rule depends on: views and functions in turn, partitions and
 * other children. Of a function whose body is a text the catalog does not know what it reads: it may be anything. */
static const char pg_views_to_refresh[] =
    "WITH RECURSIVE named(oid) AS (SELECT x::pg_catalog.regclass::pg_catalog.oid"
    "  FROM pg_catalog.unnest($2::pg_catalog.text[]) x),"
    " changed(oid) AS (SELECT pg_catalog.unnest($1::pg_catalog.oid[]) UNION SELECT n.oid FROM named n),"
    " needs(view, class, oid) AS (SELECT m.oid, 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, m.oid"
    "  FROM pg_catalog.pg_class m WHERE m.relkind = 'm'"
    "  UNION SELECT n.view, s.class, s.oid FROM needs n CROSS JOIN LATERAL ("
    "   SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.objid = w.oid"
    "    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass WHERE w.ev_class = n.oid"
    "    AND n.class = 'pg_catalog.pg_class'::pg_catalog.regclass AND w.ev_type = '1'"
    "   UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.inhrelid FROM pg_catalog.pg_inherits i"
    "    WHERE i.inhparent = n.oid AND n.class = 'pg_catalog.pg_class'::pg_catalog.regclass"
    "   UNION ALL SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d WHERE d.classid = n.class"
    "    AND d.objid = n.oid AND n.class = ANY (ARRAY['pg_catalog.pg_proc', 'pg_catalog.pg_operator',"
    "     'pg_catalog.pg_type', 'pg_catalog.pg_constraint', 'pg_catalog.pg_cast']::pg_catalog.regclass[])"
    "  ) AS s(class, oid) WHERE s.oid >= 16384),"
    " views AS (SELECT n.view, pg_catalog.count(*) FILTER (WHERE n.oid IN (SELECT m.oid FROM pg_catalog.pg_class m"
    "   WHERE m.relkind = 'm')) AS depth,"
    "  pg_catalog.bool_or(n.class = 'pg_catalog.pg_class'::pg_catalog.regclass"
    "   AND n.oid IN (SELECT c.oid FROM changed c)) AS reads,"
    "  pg_catalog.bool_or(n.class = 'pg_catalog.pg_proc'::pg_catalog.regclass AND EXISTS (SELECT"
    "   FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.oid = n.oid"
    "   AND l.lanname NOT IN ('internal', 'c') AND pg_catalog.to_jsonb(p) ->> 'prosqlbody' IS NULL AND NOT EXISTS "
    "(SELECT"
    "    FROM pg_catalog.pg_depend e WHERE e.classid = n.class AND e.objid = n.oid AND e.deptype = 'e'))) AS opaque"
    "  FROM needs n GROUP BY n.view)"
    " SELECT pg_catalog.format('%I.%I', s.nspname, c.relname), c.relispopulated FROM views v"
    " JOIN pg_catalog.pg_class c ON c.oid = v.view JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace"
    " WHERE c.oid IN (SELECT n.oid FROM named n)"
    "  OR c.relispopulated AND (v.reads OR v.opaque AND EXISTS (SELECT FROM changed))"
    " ORDER BY v.opaque, v.depth, 1";

struct pg_view {
	char *name;
	bool populated;
	bool done;
	struct err why;
};

/* What says more of the server or of the connection than of the view. */
static bool pg_is_fatal(struct pg_conn *c, const struct err *e)
{
	return c->broken || pg_is_cancelled(c) || !*e->sqlstate || !strncmp(e->sqlstate, "53", 2) ||
	       !strncmp(e->sqlstate, "57", 2) || !strncmp(e->sqlstate, "58", 2) || !strncmp(e->sqlstate, "XX", 2);
}

/* path: with the search_path that sessions of this user get, which functions of the view may lean on (before 17). */
static int pg_refresh_view(struct pg_conn *c, struct pg_view *v, bool path, struct err *e)
{
	_cleanup_free_ char *sql = xasprintf(
	    "SAVEPOINT metasnap_view; %sREFRESH MATERIALIZED VIEW %s; SET LOCAL search_path = ''; RELEASE "
	    "metasnap_view",
	    path ? "SELECT pg_catalog.set_config('search_path', s.reset_val, true) FROM pg_catalog.pg_settings s"
		   " WHERE s.name = 'search_path'; "
		 : "",
	    v->name);
	v->why = ERR_INIT;
	int r = pg_query(c, NULL, v->name, sql, 0, NULL, &v->why);
	v->done = r == 0;
	if (!r)
		return 0;
	if (pg_is_fatal(c, &v->why)) {
		*e = v->why;
		return r;
	}
	return pg_query(c, NULL, "cannot go on", "ROLLBACK TO metasnap_view; RELEASE metasnap_view", 0, NULL, e);
}

/* Again and again while that fills any: functions may read views in an order that nobody knows. */
static int pg_refresh_all(struct pg_conn *c, struct pg_view *views, size_t n, struct err *e)
{
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < n; i++) {
			if (views[i].done)
				continue;
			int r = pg_refresh_view(c, &views[i], false, e);
			if (!r && !views[i].done && !strncmp(views[i].why.sqlstate, "42", 2))
				r = pg_refresh_view(c, &views[i], true, e);
			if (r < 0)
				return r;
			again |= views[i].done;
		}
	}
	return 0;
}

int pg_refresh_views(struct pg_conn *c, char *const *touched, size_t n_touched, char *const *fill, size_t n_fill,
		     struct strbuf *warnings, struct err *e)
{
	_cleanup_strbuf_ struct strbuf changed = {0}, named = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&changed, touched, n_touched);
	strbuf_addch(&named, '{');
	for (size_t i = 0; i < n_fill; i++) {
		struct db_value name = {.data = fill[i], .len = strlen(fill[i])};
		strbuf_adds(&named, i ? "," : "");
		pg_add_element(&named, &name, false);
	}
	strbuf_addch(&named, '}');
	const char *params[] = {strbuf_str(&changed), strbuf_str(&named)};
	int r = pg_query(c, &res, "cannot list the materialized views",
			 "SELECT FROM pg_catalog.pg_class c WHERE c.relkind = 'm'", 0, NULL, e);
	if (r < 0 || !PQntuples(res) || (!n_touched && !n_fill))
		return r;
	PQclear(TAKE_PTR(res));
	r = pg_query(c, &res, "cannot list the materialized views", pg_views_to_refresh, 2, params, e);
	if (r < 0)
		return r;
	size_t n = (size_t)PQntuples(res);
	_cleanup_free_ struct pg_view *views = xcalloc(n + 1, sizeof *views);
	for (size_t i = 0; i < n; i++)
		views[i] = (struct pg_view){.name = PQgetvalue(res, (int)i, 0),
					    .populated = *PQgetvalue(res, (int)i, 1) == 't'};
	r = pg_refresh_all(c, views, n, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && warnings; i++)
		if (!views[i].done)
			strbuf_addf(warnings, "materialized view %s; it %s\n", views[i].why.msg,
				    views[i].populated ? "keeps the rows of before" : "has no rows");
	return 0;
}
