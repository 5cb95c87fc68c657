/*
 * drivers/postgres/rights.c - the rights on an object are set to what pg_dump takes for granted.
 *
 * Its ACL entries are differences to the server's own defaults (acldefault), for members of extensions to what their
 * extension gave, for schema public to what initdb gives. A new object may have others, by ALTER DEFAULT PRIVILEGES of
 * the target with or without IN SCHEMA; an old one has what was granted since. So before such an entry is run, or where
 * the snapshot has none, all rights are taken away and the default ones given. Default privileges themselves
 * (pg_default_acl) are such an object, too.
 *
 * Rights are taken by the object's owner from everybody, who passed them on, too (CASCADE): every chain of grant options
 * begins with the owner. What cannot be done is said in a warning. Inside the open transaction, no state, no locks of
 * our own.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

/* By the numbers that the catalogs have in every server. */
static const struct pg_rights_class {
	const char *oid, *catalog, *acl, *owner;
	const char *type;   /* what acldefault is asked for */
	const char *target; /* behind ON */
	const char *prefix; /* before GRANT and REVOKE */
} pg_rights_classes[] = {
    {"1259", "pg_class", "relacl", "relowner", "CASE o.relkind WHEN 'S' THEN 's' ELSE 'r' END",
     "CASE o.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END || ' ' || n.schema || pg_catalog.quote_ident(o.relname)",
     "''"},
    {"1255", "pg_proc", "proacl", "proowner", "'f'",
     "CASE o.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END || ' ' || n.schema ||"
     " pg_catalog.quote_ident(o.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(o.oid) || ')'",
     "''"},
    {"1247", "pg_type", "typacl", "typowner", "'T'", "'TYPE ' || n.schema || pg_catalog.quote_ident(o.typname)", "''"},
    {"2615", "pg_namespace", "nspacl", "nspowner", "'n'", "'SCHEMA ' || pg_catalog.quote_ident(o.nspname)", "''"},
    {"2612", "pg_language", "lanacl", "lanowner", "'l'", "'LANGUAGE ' || pg_catalog.quote_ident(o.lanname)", "''"},
    {"2328", "pg_foreign_data_wrapper", "fdwacl", "fdwowner", "'F'",
     "'FOREIGN DATA WRAPPER ' || pg_catalog.quote_ident(o.fdwname)", "''"},
    {"1417", "pg_foreign_server", "srvacl", "srvowner", "'S'", "'FOREIGN SERVER ' || pg_catalog.quote_ident(o.srvname)",
     "''"},
    {"826", "pg_default_acl", "defaclacl", "defaclrole",
     "CASE o.defaclobjtype WHEN 'S' THEN 's' ELSE o.defaclobjtype END",
     "CASE o.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'"
     " WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END",
     "'ALTER DEFAULT PRIVILEGES FOR ROLE ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.defaclrole)) ||"
     " coalesce(' IN SCHEMA ' || pg_catalog.quote_ident((SELECT x.nspname FROM pg_catalog.pg_namespace x"
     " WHERE x.oid = o.defaclnamespace)), '') || ' '"},
};

/* The name of a class's schema is in a column of its own name. */
static const char *pg_schema_column(const struct pg_rights_class *k)
{
	return !strcmp(k->catalog, "pg_class")  ? "relnamespace"
	       : !strcmp(k->catalog, "pg_proc") ? "pronamespace"
	       : !strcmp(k->catalog, "pg_type") ? "typnamespace"
						: NULL;
}

/* The rights that pg_dump takes for granted, as rows of aclexplode with their order; o is the object. */
static void pg_add_granted(struct strbuf *sb, const struct pg_conn *c, const struct pg_rights_class *k)
{
	bool schema = !strcmp(k->catalog, "pg_namespace"), defaults = !strcmp(k->catalog, "pg_default_acl");
	strbuf_adds(sb, "SELECT x.grantor, x.grantee, x.privilege_type, x.is_grantable, x.ordinality FROM o,"
			" LATERAL pg_catalog.aclexplode(");
	if (defaults)
		strbuf_adds(sb, "CASE WHEN o.schema = 0 THEN pg_catalog.acldefault(o.type, o.owner) END");
	else if (schema)
		strbuf_adds(sb, "pg_catalog.acldefault(o.type, o.owner)");
	else
		strbuf_addf(sb,
			    "coalesce((SELECT p.initprivs FROM pg_catalog.pg_init_privs p WHERE p.objoid = o.oid"
			    " AND p.classoid = %s AND p.objsubid = 0), pg_catalog.acldefault(o.type, o.owner))",
			    k->oid);
	strbuf_adds(sb, ") WITH ORDINALITY AS x");
	if (schema)
		strbuf_addf(sb,
			    " UNION ALL SELECT o.owner, 0, p, false, 9 FROM o, pg_catalog.unnest(ARRAY[%s]) AS p"
			    " WHERE o.target = 'SCHEMA public'",
			    c->version_num >= 150000 ? "'USAGE'" : "'USAGE', 'CREATE'");
}

/* The columns of the answer. */
enum {
	PG_RIGHTS_TARGET,
	PG_RIGHTS_PREFIX,
	PG_RIGHTS_OWNER,
	PG_RIGHTS_SAME,     /* nothing to do */
	PG_RIGHTS_GRANTEES, /* all who have some, NULL for none */
	PG_RIGHTS_GRANTS    /* the statements that give the default ones, NULL for none */
};

static int pg_read_rights(struct pg_conn *c, const struct pg_rights_class *k, const char *object_oid, PGresult **ret,
			  struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	const char *schema = pg_schema_column(k), *defaults = !strcmp(k->catalog, "pg_default_acl") ? "o" : NULL;
	strbuf_addf(&sql,
		    "WITH o AS (SELECT o.oid, o.%s AS acl, o.%s AS owner, (%s)::\"char\" AS type, %s AS target,"
		    " %s AS prefix, %s AS schema FROM pg_catalog.%s o CROSS JOIN LATERAL (SELECT ",
		    k->acl, k->owner, k->type, k->target, k->prefix, defaults ? "o.defaclnamespace" : "0", k->catalog);
	if (schema)
		strbuf_addf(&sql,
			    "pg_catalog.quote_ident(x.nspname) || '.' AS schema FROM pg_catalog.pg_namespace x"
			    " WHERE x.oid = o.%s",
			    schema);
	else
		strbuf_adds(&sql, "'' AS schema");
	strbuf_adds(&sql, ") AS n WHERE o.oid = $1::pg_catalog.oid), granted AS (");
	pg_add_granted(&sql, c, k);
	strbuf_adds(&sql, "), has AS (SELECT x.grantor, x.grantee, x.privilege_type, x.is_grantable FROM o, LATERAL"
			  " pg_catalog.aclexplode(coalesce(o.acl, pg_catalog.acldefault(o.type, o.owner))) AS x");
	if (!strcmp(k->catalog, "pg_class"))
		strbuf_adds(&sql,
			    " UNION ALL SELECT x.grantor, x.grantee, 'column ' || a.attnum || ' ' || x.privilege_type,"
			    " x.is_grantable FROM pg_catalog.pg_attribute a, LATERAL"
			    " pg_catalog.aclexplode(a.attacl) AS x WHERE a.attrelid = $1::pg_catalog.oid"
			    " AND NOT a.attisdropped AND NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs p"
			    " WHERE p.objoid = a.attrelid AND p.classoid = 1259 AND p.objsubid = a.attnum)");
	strbuf_adds(
	    &sql, "), names AS (SELECT 0::pg_catalog.oid AS oid, 'PUBLIC' AS name UNION ALL"
		  " SELECT r.oid, pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_roles r),"
		  " given AS (SELECT o.prefix || 'GRANT ' || pg_catalog.string_agg(g.privilege_type, ', '"
		  " ORDER BY g.ordinality) || ' ON ' || o.target || ' TO ' || m.name ||"
		  " CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS sql,"
		  " pg_catalog.min(g.ordinality) AS place FROM o, granted g JOIN names m ON m.oid = g.grantee"
		  " GROUP BY o.prefix, o.target, m.name, g.is_grantable)"
		  " SELECT o.target, o.prefix, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)),"
		  " NOT EXISTS (SELECT grantor, grantee, privilege_type, is_grantable FROM has EXCEPT"
		  " SELECT grantor, grantee, privilege_type, is_grantable FROM granted) AND"
		  " NOT EXISTS (SELECT grantor, grantee, privilege_type, is_grantable FROM granted EXCEPT"
		  " SELECT grantor, grantee, privilege_type, is_grantable FROM has),"
		  " (SELECT pg_catalog.string_agg(DISTINCT m.name, ', ') FROM has h JOIN names m ON m.oid = h.grantee),"
		  " (SELECT pg_catalog.string_agg(v.sql, '; ' ORDER BY v.place) FROM given v) FROM o");
	return pg_query(c, ret, "cannot read the rights", strbuf_str(&sql), 1, &object_oid, e);
}

/* What a server says who does not let us, or misses a role. */
static bool pg_is_refusal(const struct err *e)
{
	return !strncmp(e->sqlstate, "42", 2) || !strncmp(e->sqlstate, "0L", 2) || !strncmp(e->sqlstate, "0P", 2) ||
	       !strncmp(e->sqlstate, "28", 2);
}

static int pg_set_rights(struct pg_conn *c, const PGresult *res, struct strbuf *warnings, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	struct err refusal = ERR_INIT;
	const char *prefix = PQgetvalue(res, 0, PG_RIGHTS_PREFIX), *target = PQgetvalue(res, 0, PG_RIGHTS_TARGET);
	const char *grantees = pg_cell(res, 0, PG_RIGHTS_GRANTEES), *grants = pg_cell(res, 0, PG_RIGHTS_GRANTS);
	if (grantees)
		strbuf_addf(&sql, "%sREVOKE ALL ON %s FROM %s CASCADE; ", prefix, target, grantees);
	if (grants)
		strbuf_addf(&sql, "%s; ", grants);
	strbuf_adds(&sql, "RELEASE metasnap_rights");
	int r = pg_query(c, NULL, "cannot set the rights", "SAVEPOINT metasnap_rights", 0, NULL, e);
	if (r < 0)
		return r;
	r = pg_query(c, NULL, "refused", strbuf_str(&sql), 0, NULL, &refusal);
	if (!r)
		return 0;
	if (!pg_is_refusal(&refusal)) {
		*e = refusal;
		return r;
	}
	strbuf_addf(warnings, "rights of %s%s: %s\n", prefix, target, refusal.msg);
	return pg_query(c, NULL, "cannot go on", "ROLLBACK TO metasnap_rights; RELEASE metasnap_rights", 0, NULL, e);
}

int pg_rights_reset(struct pg_conn *c, const char *class_oid, const char *object_oid, struct strbuf *warnings,
		    struct err *e)
{
	const struct pg_rights_class *k = NULL;
	_cleanup_result_ PGresult *res = NULL, *after = NULL;
	for (size_t i = 0; i < sizeof pg_rights_classes / sizeof pg_rights_classes[0] && !k; i++)
		if (!strcmp(pg_rights_classes[i].oid, class_oid))
			k = &pg_rights_classes[i];
	if (!k)
		return 0;
	int r = pg_read_rights(c, k, object_oid, &res, e);
	if (r < 0 || !PQntuples(res) || *PQgetvalue(res, 0, PG_RIGHTS_SAME) == 't')
		return r;
	size_t before = warnings->len;
	r = pg_set_rights(c, res, warnings, e);
	if (r < 0 || warnings->len > before)
		return r;
	/* REVOKE by who may not only warns. */
	r = pg_read_rights(c, k, object_oid, &after, e);
	if (r < 0 || !PQntuples(after) || *PQgetvalue(after, 0, PG_RIGHTS_SAME) == 't')
		return r;
	strbuf_addf(warnings, "rights of %s%s: others than the snapshot's stay, only %s may take them away\n",
		    PQgetvalue(after, 0, PG_RIGHTS_PREFIX), PQgetvalue(after, 0, PG_RIGHTS_TARGET),
		    PQgetvalue(after, 0, PG_RIGHTS_OWNER));
	return 0;
}

char *pg_rights_target(const char *sql)
{
	struct strbuf sb = {0};
	struct pg_token t;
	const char *from = NULL;
	int depth = 0;
	for (const char *p = sql; pg_next_token(&p, &t) > 0;) {
		depth += *t.at == '(' ? 1 : *t.at == ')' ? -1 : 0;
		if (!from && !depth && pg_token_is(&t, "ON"))
			from = p;
		else if (from && !depth && (pg_token_is(&t, "TO") || pg_token_is(&t, "FROM")))
			break;
	}
	if (from)
		strbuf_add(&sb, from + 1, (size_t)(t.at - from - 2));
	return strbuf_detach(&sb);
}

int pg_rights_of_member(struct pg_conn *c, const char *sql, char **class_oid, char **object_oid, struct err *e)
{
	_cleanup_free_ char *target = pg_rights_target(sql);
	_cleanup_strbuf_ struct strbuf query = {0};
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {target};
	for (size_t i = 0; i < sizeof pg_rights_classes / sizeof pg_rights_classes[0]; i++) {
		const struct pg_rights_class *k = &pg_rights_classes[i];
		const char *schema = pg_schema_column(k);
		if (!schema)
			continue;
		strbuf_addf(&query,
			    "%sSELECT %s, o.oid FROM pg_catalog.%s o CROSS JOIN LATERAL (SELECT"
			    " pg_catalog.quote_ident(x.nspname) || '.' AS schema FROM pg_catalog.pg_namespace x"
			    " WHERE x.oid = o.%s) AS n WHERE %s = $1 AND EXISTS (SELECT FROM pg_catalog.pg_depend d"
			    " WHERE d.classid = %s AND d.objid = o.oid AND d.deptype = 'e')",
			    query.len ? " UNION ALL " : "", k->oid, k->catalog, schema, k->target, k->oid);
	}
	*class_oid = *object_oid = NULL;
	int r = pg_query(c, &res, "cannot find a member of an extension", strbuf_str(&query), 1, params, e);
	if (r < 0 || PQntuples(res) != 1)
		return r;
	*class_oid = xstrdup(PQgetvalue(res, 0, 0));
	*object_oid = xstrdup(PQgetvalue(res, 0, 1));
	return 1;
}
