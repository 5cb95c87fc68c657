/*
 * drivers/postgres/examine.c - what a report wants to know of a PostgreSQL server: work_mem as others get it, the
 * account's rights, the rows of every table.
 *
 * Nothing here may fail inside of a transaction, which would end it: what may be refused is asked about before. No
 * state, no locks.
 */
#include "drivers/postgres/internal.h"

#define PG_COUNT_BATCH 50

/* ---- settings ---- */

/* What the configuration file says: our session's default may come from the role or from the URL. */
static int pg_read_file_setting(struct pg_conn *c, char **ret, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, "cannot read the configuration file",
			 "SELECT CASE WHEN f.setting ~ '^[0-9]+$' THEN f.setting::pg_catalog.int8 * 1024"
			 " ELSE pg_catalog.pg_size_bytes(f.setting) END FROM pg_catalog.pg_file_settings f"
			 " WHERE f.name = 'work_mem' AND f.applied ORDER BY f.seqno DESC",
			 0, NULL, e);
	if (r < 0)
		return r;
	if (PQntuples(res))
		*ret = xstrdup(pg_cell(res, 0, 0));
	return 0;
}

static const char *pg_setting_owner(const char *source)
{
	static const struct {
		const char *source, *words;
	} known[] = {
	    {"database", "this database (ALTER DATABASE ... SET)"},
	    {"user", "this account (ALTER ROLE ... SET)"},
	    {"database user", "this account in this database (ALTER ROLE ... IN DATABASE ... SET)"},
	    {"client", "this connection (options in the URL or PGOPTIONS)"},
	};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (!strcmp(source, known[i].source))
			return known[i].words;
	return NULL;
}

static int pg_examine_settings(struct pg_conn *c, struct db_examination *x, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	_cleanup_free_ char *in_file = NULL;
	int r = pg_query(
	    c, &res, "cannot read the settings",
	    "SELECT current_user, s.reset_val::pg_catalog.int8 * 1024, s.boot_val::pg_catalog.int8 * 1024, s.source,"
	    " pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE')"
	    "  AND pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT'),"
	    " CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proname = 'aurora_version') THEN 1"
	    "  WHEN EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = 'rdsadmin') THEN 2"
	    "  WHEN EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = 'cloudsqlsuperuser') THEN 3"
	    "  WHEN EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = 'azure_pg_admin') THEN 4 ELSE 0 END"
	    " FROM pg_catalog.pg_settings s WHERE s.name = 'work_mem'",
	    0, NULL, e);
	if (r < 0)
		return r;
	static const char *const hosts[] = {NULL, "Amazon Aurora", "Amazon RDS", "Google Cloud SQL", "Azure"};
	x->account = xstrdup(PQgetvalue(res, 0, 0));
	x->setting = "work_mem";
	x->setting_bytes = strtoull(PQgetvalue(res, 0, 1), NULL, 10);
	x->setting_only = pg_setting_owner(PQgetvalue(res, 0, 3));
	x->hosted = hosts[*PQgetvalue(res, 0, 5) - '0'];
	if (!x->setting_only || *PQgetvalue(res, 0, 4) != 't')
		return 0;
	r = pg_read_file_setting(c, &in_file, e);
	if (r < 0)
		return r;
	x->setting_bytes = strtoull(in_file ? in_file : PQgetvalue(res, 0, 2), NULL, 10);
	x->setting_only = NULL;
	return 0;
}

/* ---- rights ---- */

/* restore, right, statement, relation. Rights on many tables have one statement in common. */
static const char pg_lacks_sql[] =
    "WITH n AS (SELECT s.oid, s.nspname FROM pg_catalog.pg_namespace s WHERE s.nspname = $1),"
    " rel AS (SELECT c.oid, c.relname, c.relkind, c.relowner, n.nspname FROM pg_catalog.pg_class c"
    "  JOIN n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'S', 'v', 'm') AND NOT EXISTS (SELECT"
    "  FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid"
    "  AND d.deptype = 'e'))"
    " SELECT false, 'USAGE on schema ' || n.nspname,"
    "  pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, current_user), NULL"
    "  FROM n WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
    " UNION ALL SELECT false, 'SELECT on table ' || r.relname, CASE WHEN pg_catalog.count(*) OVER () > 3"
    "  THEN pg_catalog.format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I;', r.nspname, current_user)"
    "  ELSE pg_catalog.format('GRANT SELECT ON TABLE %I.%I TO %I;', r.nspname, r.relname, current_user) END,"
    " r.relname"
    "  FROM rel r WHERE r.relkind IN ('r', 'p') AND NOT pg_catalog.has_table_privilege(r.oid, 'SELECT')"
    " UNION ALL SELECT false, 'SELECT on sequence ' || r.relname, CASE WHEN pg_catalog.count(*) OVER () > 3"
    "  THEN pg_catalog.format('GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO %I;', r.nspname, current_user)"
    "  ELSE pg_catalog.format('GRANT SELECT ON SEQUENCE %I.%I TO %I;', r.nspname, r.relname, current_user) END,"
    " r.relname"
    "  FROM rel r WHERE CASE WHEN r.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege(r.oid, 'SELECT') END"
    " UNION ALL SELECT false, 'all rows of table ' || r.relname || ' (it has row-level security)',"
    "  pg_catalog.format('ALTER ROLE %I BYPASSRLS;', current_user), r.relname"
    "  FROM rel r WHERE r.relkind IN ('r', 'p') AND pg_catalog.row_security_active(r.oid)"
    " UNION ALL SELECT true, 'the owner''s rights on ' || r.relname,"
    "  pg_catalog.format('GRANT %I TO %I;', pg_catalog.pg_get_userbyid(r.relowner), current_user), r.relname"
    "  FROM rel r WHERE NOT pg_catalog.pg_has_role(r.relowner, 'USAGE')"
    " UNION ALL SELECT DISTINCT true, pg_catalog.format('SELECT and UPDATE on table %I.%I (the other end of a foreign "
    "key)',"
    "  s.nspname, o.relname), pg_catalog.format('GRANT SELECT, UPDATE ON TABLE %I.%I TO %I;', s.nspname, o.relname,"
    "  current_user), NULL"
    "  FROM rel r JOIN pg_catalog.pg_constraint k ON k.contype = 'f' AND r.oid IN (k.conrelid, k.confrelid)"
    "  JOIN pg_catalog.pg_class o ON o.oid IN (k.conrelid, k.confrelid)"
    "  JOIN pg_catalog.pg_namespace s ON s.oid = o.relnamespace WHERE s.nspname <> r.nspname"
    "  AND NOT (pg_catalog.has_schema_privilege(s.oid, 'USAGE') AND pg_catalog.has_table_privilege(o.oid, 'SELECT')"
    "   AND pg_catalog.has_table_privilege(o.oid, 'UPDATE, DELETE, TRUNCATE'))"
    " UNION ALL SELECT true, 'CREATE on schema ' || n.nspname,"
    "  pg_catalog.format('GRANT CREATE ON SCHEMA %I TO %I;', n.nspname, current_user), NULL"
    "  FROM n WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')"
    " ORDER BY 1, 2";

static int pg_examine_rights(struct pg_conn *c, struct db_examination *x, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	const struct db_params excludes = {.exclude = c->exclude};
	const char *params[] = {c->schema};
	int r = pg_query(c, &res, "cannot read the privileges", pg_lacks_sql, 1, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		const char *relation = pg_cell(res, i, 3);
		if (!relation || !db_params_excludes(&excludes, relation))
			db_examination_lack(x, *PQgetvalue(res, i, 0) == 't', xstrdup(PQgetvalue(res, i, 1)),
					    xstrdup(PQgetvalue(res, i, 2)));
	}
	return 0;
}

/* ---- rows ---- */

static int pg_count_rows(struct pg_conn *c, const struct db_schema *s, struct db_examination *x, struct err *e)
{
	x->rows = xcalloc(s->n_tables + 1, sizeof *x->rows);
	for (size_t i = 0; i < s->n_tables;) {
		_cleanup_strbuf_ struct strbuf sql = {0};
		_cleanup_result_ PGresult *res = NULL;
		for (size_t k = 0; k < PG_COUNT_BATCH && i < s->n_tables; k++, i++) {
			strbuf_addf(&sql, "%sSELECT %zu, pg_catalog.count(*) FROM ONLY ", k ? " UNION ALL " : "", i);
			pg_add_relation(&sql, c, s->tables[i].name);
		}
		int r = pg_query(c, &res, "cannot count the rows", strbuf_str(&sql), 0, NULL, e);
		if (r < 0)
			return r;
		for (int row = 0; row < PQntuples(res); row++)
			x->rows[strtoul(PQgetvalue(res, row, 0), NULL, 10)] =
			    strtoull(PQgetvalue(res, row, 1), NULL, 10);
	}
	return 0;
}

static int pg_measure(struct pg_conn *c, const struct db_table *t, struct db_examination *x, struct err *e)
{
	_cleanup_strbuf_ struct strbuf row = {0}, sql = {0};
	_cleanup_result_ PGresult *res = NULL;
	strbuf_adds(&row, "0");
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&row, " + COALESCE(pg_catalog.octet_length(");
		pg_add_ident(&row, t->columns[i].name);
		strbuf_adds(&row, "::pg_catalog.text), 0)");
	}
	strbuf_addf(&sql,
		    "SELECT COALESCE(pg_catalog.sum(r), 0), COALESCE(pg_catalog.max(r), 0)"
		    " FROM (SELECT %s AS r FROM ONLY ",
		    row.data);
	pg_add_relation(&sql, c, t->name);
	strbuf_adds(&sql, ") AS sizes");
	int r = pg_query(c, &res, t->name, strbuf_str(&sql), 0, NULL, e);
	if (r < 0)
		return r;
	x->measured = true;
	x->bytes = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	x->largest = strtoull(PQgetvalue(res, 0, 1), NULL, 10);
	return 0;
}

int pg_examine(struct db_conn *conn, const struct db_schema *s, const char *measured, struct db_examination *ret,
	       struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	*ret = (struct db_examination){0};
	int r = pg_examine_settings(c, ret, e);
	if (r < 0)
		return r;
	r = pg_examine_rights(c, ret, e);
	if (r < 0 || !s)
		return r;
	r = pg_count_rows(c, s, ret, e);
	if (r < 0)
		return r;
	const struct db_table *t = db_schema_find(s, measured);
	return t ? pg_measure(c, t, ret, e) : 0;
}
