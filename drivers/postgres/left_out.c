/*
 * drivers/postgres/left_out.c - what stands in the database, and would go with it, but is not in a snapshot of one of its
 * schemas: named, so that who needs it keeps it in another way.
 *
 * No state, no locks.
 */
#include "drivers/postgres/internal.h"

/* $1: the schema, $2: oids of its excluded tables. Members of extensions come with them. */
static const char pg_left_out_sql[] =
    "WITH members AS (SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'),"
    " others AS (SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname <> $1"
    "  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND n.oid NOT IN (SELECT m.objid FROM members m"
    "  WHERE m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass)),"
    " here AS (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),"
    " outside(class, oid, words) AS ("
    "  SELECT 'pg_catalog.pg_cast', c.oid, pg_catalog.format('cast (%s AS %s)',"
    "   pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL)) FROM "
    "pg_catalog.pg_cast c"
    "  UNION ALL SELECT 'pg_catalog.pg_event_trigger', e.oid, 'event trigger ' || e.evtname"
    "   FROM pg_catalog.pg_event_trigger e"
    "  UNION ALL SELECT 'pg_catalog.pg_publication', p.oid, 'publication ' || p.pubname FROM pg_catalog.pg_publication "
    "p"
    "  UNION ALL SELECT 'pg_catalog.pg_subscription', s.oid, 'subscription ' || s.subname"
    "   FROM pg_catalog.pg_subscription s JOIN here h ON h.oid = s.subdbid"
    "  UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper', f.oid, 'foreign data wrapper ' || f.fdwname"
    "   FROM pg_catalog.pg_foreign_data_wrapper f"
    "  UNION ALL SELECT 'pg_catalog.pg_foreign_server', f.oid, 'foreign server ' || f.srvname"
    "   FROM pg_catalog.pg_foreign_server f"
    "  UNION ALL SELECT 'pg_catalog.pg_language', l.oid, 'language ' || l.lanname FROM pg_catalog.pg_language l"
    "  UNION ALL SELECT 'pg_catalog.pg_am', a.oid, 'access method ' || a.amname FROM pg_catalog.pg_am a"
    "  UNION ALL SELECT 'pg_catalog.pg_transform', t.oid, pg_catalog.format('transform for %s',"
    "   pg_catalog.format_type(t.trftype, NULL)) FROM pg_catalog.pg_transform t),"
    " counted AS (SELECT o.nspname, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c WHERE c.relnamespace = o.oid"
    "   AND c.relkind IN ('r', 'p', 'f') AND c.oid NOT IN (SELECT m.objid FROM members m)) AS tables,"
    "  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c WHERE c.relnamespace = o.oid"
    "   AND c.relkind IN ('v', 'm') AND c.oid NOT IN (SELECT m.objid FROM members m)) AS views,"
    "  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc p WHERE p.pronamespace = o.oid"
    "   AND p.oid NOT IN (SELECT m.objid FROM members m)) AS functions FROM others o)"
    " SELECT 1, c.words FROM outside c WHERE c.oid >= 16384 AND NOT EXISTS (SELECT FROM members m"
    "  WHERE m.objid = c.oid AND m.classid = c.class::pg_catalog.regclass)"
    " UNION ALL SELECT 0, pg_catalog.format('schema %s (%s tables, %s views, %s functions)', c.nspname, c.tables, "
    "c.views,"
    "  c.functions) FROM counted c WHERE c.tables + c.views + c.functions > 0"
    " UNION ALL SELECT 2, pg_catalog.format('table %s, which is excluded', c.relname) FROM pg_catalog.pg_class c"
    "  WHERE c.oid = ANY ($2::pg_catalog.oid[])"
    " UNION ALL SELECT 3, 'settings of the database' FROM here h WHERE EXISTS (SELECT"
    "  FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = h.oid)"
    " UNION ALL SELECT 3, 'privileges on the database' FROM pg_catalog.pg_database d JOIN here h ON h.oid = d.oid"
    "  WHERE d.datacl IS NOT NULL"
    " UNION ALL SELECT 3, 'default privileges outside of schemas' WHERE EXISTS (SELECT FROM pg_catalog.pg_default_acl a"
    "  WHERE a.defaclnamespace = 0)"
    " ORDER BY 1, 2";

/* Tables of extensions that hold rows of users, and which rows those are. */
static const char pg_configuration_sql[] =
    "SELECT e.extname, pg_catalog.format('%I.%I', n.nspname, c.relname), x.condition,"
    " pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')"
    " FROM pg_catalog.pg_extension e CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig),"
    "  pg_catalog.unnest(e.extcondition)) x(oid, condition) JOIN pg_catalog.pg_class c ON c.oid = x.oid"
    " AND c.relkind IN ('r', 'p') JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2";

static void pg_add_left_out(struct db_schema *s, char *words)
{
	s->left_out = xrealloc(s->left_out, (s->n_left_out + 1) * sizeof *s->left_out);
	s->left_out[s->n_left_out++] = words;
}

static int pg_count_configuration(struct pg_conn *c, struct db_schema *s, const PGresult *tables, int i, struct err *e)
{
	const char *extension = PQgetvalue(tables, i, 0), *table = PQgetvalue(tables, i, 1);
	_cleanup_result_ PGresult *res = NULL;
	if (*PQgetvalue(tables, i, 3) != 't') {
		pg_add_left_out(s, xasprintf("rows of %s, a configuration table of extension %s", table, extension));
		return 0;
	}
	_cleanup_free_ char *sql = xasprintf("SELECT pg_catalog.count(*) FROM %s %s", table, PQgetvalue(tables, i, 2));
	int r = pg_query(c, &res, table, sql, 0, NULL, e);
	if (r == 0 && strcmp(PQgetvalue(res, 0, 0), "0") != 0)
		pg_add_left_out(s, xasprintf("%s rows of %s, a configuration table of extension %s",
					     PQgetvalue(res, 0, 0), table, extension));
	return r;
}

int pg_left_out(struct pg_conn *c, struct db_schema *s, struct err *e)
{
	_cleanup_strbuf_ struct strbuf excluded = {0};
	_cleanup_result_ PGresult *res = NULL, *tables = NULL;
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {c->schema, strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list what is outside of the schema", pg_left_out_sql, 2, params, e);
	for (int i = 0; r == 0 && i < PQntuples(res); i++)
		pg_add_left_out(s, xstrdup(PQgetvalue(res, i, 1)));
	if (r == 0)
		r = pg_query(c, &tables, "cannot list the extensions' tables", pg_configuration_sql, 0, NULL, e);
	for (int i = 0; r == 0 && i < PQntuples(tables); i++)
		r = pg_count_configuration(c, s, tables, i, e);
	return r;
}
