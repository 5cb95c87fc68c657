/*
 * tests/unit/drivers/postgres/rights_test.c - drivers/postgres/rights.c against a real server: after a reset pg_dump has
 * no rights to tell, and its entries give those that they were taken from.
 *
 * Wants SERVER_URL and SERVER_PASSWORD_FILE of a superuser, as tests/servers/postgres prints them; SERVER_BINDIR names
 * the folder of pg_dump. One database for all tests and its roles, made and dropped here.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/postgres/internal.h"
#include "tests/unit/world.h"

#define DATABASE "ms_rights"

static struct db_params admin;

static PGconn *sql_connect(const char *database)
{
	char port[16];
	(void)snprintf(port, sizeof port, "%u", admin.port);
	const char *keys[] = {"host", "port", "user", "password", "dbname", NULL};
	const char *values[] = {admin.host, port, admin.user, admin.password, database, NULL};
	PGconn *pg = PQconnectdbParams(keys, values, 0);
	if (PQstatus(pg) != CONNECTION_OK)
		fail_msg("cannot connect to %s: %s", database, PQerrorMessage(pg));
	PQclear(PQexec(pg, "SET client_min_messages = error"));
	return pg;
}

static void sql_on(PGconn *pg, const char *sql)
{
	PGresult *res = PQexec(pg, sql);
	ExecStatusType status = PQresultStatus(res);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%.200s: %s", sql, PQerrorMessage(pg));
	PQclear(res);
}

static char *sql_value(PGconn *pg, const char *sql)
{
	PGresult *res = PQexec(pg, sql);
	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1)
		fail_msg("%.200s: %s", sql, PQerrorMessage(pg));
	char *value = xstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	return value;
}

/* NULL: the superuser */
static struct pg_conn *open_driver(const char *user)
{
	struct db_params p = admin;
	struct pg_conn *c = NULL;
	p.database = (char *)DATABASE;
	if (user) {
		p.user = (char *)user;
		p.password = (char *)"x";
	}
	ok(pg_connection_open(&c, &p, &e));
	c->head.driver = &db_driver_postgres;
	return c;
}

static const char world[] =
    "CREATE ROLE rights_owner LOGIN PASSWORD 'x'; CREATE ROLE rights_a; CREATE ROLE rights_b;"
    " CREATE ROLE \"rights \"\"c\"\"\"; CREATE ROLE rights_d;"
    "ALTER SCHEMA public OWNER TO rights_owner; SET ROLE rights_owner;"
    "CREATE TABLE t (a integer, \"b c\" integer); CREATE TABLE plain (a integer); CREATE VIEW v AS SELECT 1 AS x;"
    "CREATE MATERIALIZED VIEW m AS SELECT 1 AS x;"
    "CREATE SEQUENCE s; CREATE FUNCTION f(a integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';"
    "CREATE FUNCTION f(a text, OUT b integer) LANGUAGE sql AS 'SELECT 1';"
    "CREATE PROCEDURE p(a text, OUT b integer) LANGUAGE sql AS 'SELECT 1';"
    "CREATE PROCEDURE p(a integer) LANGUAGE sql AS 'SELECT 1';"
    "CREATE AGGREGATE ag(integer) (SFUNC = int4pl, STYPE = integer);"
    "CREATE TYPE e AS ENUM ('a'); CREATE DOMAIN d AS integer; CREATE TABLE \"T x\" ();"
    "RESET ROLE;";

/* Rights of a snapshot: of all kinds, with chains, with what is the default taken away. */
static const char rights[] =
    "SET ROLE rights_owner;"
    "GRANT SELECT, UPDATE ON t TO rights_a WITH GRANT OPTION; GRANT SELECT (a), UPDATE (\"b c\") ON t TO rights_d;"
    "REVOKE DELETE, TRUNCATE ON t FROM rights_owner;"
    "GRANT SELECT ON v TO PUBLIC; REVOKE ALL ON v FROM rights_owner; GRANT USAGE ON s TO rights_b;"
    "REVOKE ALL ON FUNCTION f(integer) FROM PUBLIC; GRANT EXECUTE ON FUNCTION f(integer) TO \"rights \"\"c\"\"\";"
    "REVOKE ALL ON PROCEDURE p(integer) FROM PUBLIC; REVOKE ALL ON TYPE e FROM PUBLIC; GRANT USAGE ON TYPE d TO "
    "rights_a;"
    "GRANT ALL ON SCHEMA public TO rights_a, rights_b; REVOKE USAGE ON SCHEMA public FROM PUBLIC;"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO rights_b;"
    "SET ROLE rights_a; GRANT SELECT ON t TO rights_b WITH GRANT OPTION; SET ROLE rights_b; GRANT SELECT ON t TO"
    " \"rights \"\"c\"\"\"; RESET ROLE;";

/* What came since, everywhere. */
static const char since[] =
    "SET ROLE rights_owner; GRANT ALL ON ALL TABLES IN SCHEMA public TO rights_d WITH GRANT OPTION;"
    "GRANT SELECT (\"b c\") ON t TO rights_b WITH GRANT OPTION; GRANT INSERT (a) ON t TO PUBLIC;"
    "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC; REVOKE ALL ON ALL ROUTINES IN SCHEMA public FROM PUBLIC;"
    "GRANT ALL ON ALL ROUTINES IN SCHEMA public TO rights_a WITH GRANT OPTION; REVOKE ALL ON plain FROM rights_owner;"
    "GRANT ALL ON TYPE e TO rights_b; REVOKE ALL ON TYPE d FROM PUBLIC; GRANT ALL ON SCHEMA public TO rights_d;"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO rights_a WITH GRANT OPTION;"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM rights_b;"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO rights_d;"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON TYPES TO rights_d;"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO rights_d;"
    "SET ROLE rights_d; GRANT SELECT ON t TO rights_b; GRANT INSERT ON t TO rights_a WITH GRANT OPTION; SET ROLE"
    " rights_a; GRANT INSERT ON t TO rights_b; GRANT EXECUTE ON FUNCTION f(text) TO rights_b; RESET ROLE;";

/* pg_dump's statements about rights. */
static char *dump_rights(void)
{
	const char *bindir = getenv("SERVER_BINDIR");
	struct strbuf out = {0};
	char buffer[4096];
	size_t n;
	_cleanup_free_ char *command =
	    xasprintf("PGHOST='%s' PGPORT=%u PGUSER='%s' PGPASSWORD='%s' %s%spg_dump -s --schema=public " DATABASE
		      " | grep -E '^(GRANT|REVOKE|ALTER DEFAULT|SET SESSION|RESET SESSION)'",
		      admin.host, admin.port, admin.user, admin.password, bindir ? bindir : "", bindir ? "/" : "");
	FILE *f = popen(command, "re");
	assert_non_null(f);
	while ((n = fread(buffer, 1, sizeof buffer, f)) > 0)
		strbuf_add(&out, buffer, n);
	(void)pclose(f);
	return strbuf_detach(&out);
}

static void reset_all(struct pg_conn *c, struct strbuf *warnings)
{
	_cleanup_result_ PGresult *res = NULL;
	ok(pg_query(
	    c, &res, "list",
	    "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid FROM pg_catalog.pg_class c"
	    " WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v', 'm', 'S')"
	    " UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid FROM pg_catalog.pg_proc p WHERE"
	    " p.pronamespace = 'public'::pg_catalog.regnamespace"
	    " UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid FROM pg_catalog.pg_type t WHERE"
	    " t.typnamespace = 'public'::pg_catalog.regnamespace AND t.typtype IN ('e', 'd')"
	    " UNION ALL SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass,"
	    " 'public'::pg_catalog.regnamespace"
	    " UNION ALL SELECT 'pg_catalog.pg_default_acl'::pg_catalog.regclass, d.oid"
	    " FROM pg_catalog.pg_default_acl d",
	    0, NULL, &e));
	assert_true(PQntuples(res) >= 14);
	for (int i = 0; i < PQntuples(res); i++)
		ok(pg_rights_reset(c, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), warnings, &e));
}

/* By a superuser, and by who owns everything and has no other right. */
static void set_back_and_give(PGconn *pg, const char *user)
{
	_cleanup_strbuf_ struct strbuf warnings = {0};
	sql_on(pg, rights);
	_cleanup_free_ char *wanted = dump_rights();
	assert_non_null(strstr(wanted, "ALTER DEFAULT PRIVILEGES"));
	assert_non_null(strstr(wanted, "SET SESSION AUTHORIZATION rights_b"));
	sql_on(pg, since);
	struct pg_conn *c = open_driver(user);
	ok(pg_query(c, NULL, "begin", "BEGIN", 0, NULL, &e));
	reset_all(c, &warnings);
	ok(pg_query(c, NULL, "commit", "COMMIT", 0, NULL, &e));
	assert_string_equal(strbuf_str(&warnings), "");
	_cleanup_free_ char *none = dump_rights();
	assert_string_equal(none, "");
	/* once more there is nothing to do */
	ok(pg_query(c, NULL, "begin", "BEGIN READ ONLY", 0, NULL, &e));
	reset_all(c, &warnings);
	ok(pg_query(c, NULL, "commit", "COMMIT", 0, NULL, &e));
	pg_connection_free(c);
	sql_on(pg, wanted);
	_cleanup_free_ char *again = dump_rights();
	assert_string_equal(again, wanted);
	/* as new objects are: default privileges with and without IN SCHEMA */
	sql_on(pg,
	       "ALTER DEFAULT PRIVILEGES FOR ROLE rights_owner GRANT ALL ON TABLES TO rights_d;"
	       "ALTER DEFAULT PRIVILEGES FOR ROLE rights_owner REVOKE ALL ON FUNCTIONS FROM PUBLIC;"
	       "ALTER DEFAULT PRIVILEGES FOR ROLE rights_owner REVOKE ALL ON TYPES FROM PUBLIC;"
	       "ALTER DEFAULT PRIVILEGES FOR ROLE rights_owner REVOKE ALL ON TABLES FROM rights_owner;"
	       "SET ROLE rights_owner; CREATE TABLE n (a integer); CREATE FUNCTION nf() RETURNS integer LANGUAGE sql"
	       " AS 'SELECT 1'; CREATE TYPE ne AS ENUM ('x'); CREATE TABLE n2 (a integer); RESET ROLE");
	c = open_driver(user);
	ok(pg_query(c, NULL, "begin", "BEGIN", 0, NULL, &e));
	reset_all(c, &warnings);
	ok(pg_query(c, NULL, "commit", "COMMIT", 0, NULL, &e));
	pg_connection_free(c);
	assert_string_equal(strbuf_str(&warnings), "");
	_cleanup_free_ char *new = dump_rights();
	assert_string_equal(new, "");
	_cleanup_free_ char *defaults = sql_value(pg, "SELECT count(*) FROM pg_default_acl");
	assert_string_equal(defaults, "0");
	sql_on(pg, "DROP TABLE n, n2; DROP FUNCTION nf(); DROP TYPE ne");
}

static void test_as_superuser(void **state)
{
	set_back_and_give(*state, NULL);
}

static void test_as_owner(void **state)
{
	set_back_and_give(*state, "rights_owner");
}

/* Neither in silence nor as a failure. */
static void test_who_may_not(void **state)
{
	PGconn *pg = *state;
	_cleanup_strbuf_ struct strbuf warnings = {0};
	sql_on(pg, "CREATE TABLE theirs (a integer); CREATE TABLE part (a integer);"
		   "GRANT ALL ON theirs TO rights_a; GRANT SELECT ON part TO rights_a;"
		   "GRANT SELECT ON part TO rights_owner WITH GRANT OPTION;"
		   "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO rights_d");
	struct pg_conn *c = open_driver("rights_owner");
	ok(pg_query(c, NULL, "begin", "BEGIN", 0, NULL, &e));
	reset_all(c, &warnings);
	ok(pg_query(c, NULL, "commit", "COMMIT", 0, NULL, &e));
	pg_connection_free(c);
	assert_non_null(strstr(strbuf_str(&warnings), "rights of TABLE public.theirs: "));
	assert_non_null(strstr(strbuf_str(&warnings), "rights of TABLE public.part: "));
	assert_non_null(strstr(strbuf_str(&warnings),
			       "rights of ALTER DEFAULT PRIVILEGES FOR ROLE metasnap IN SCHEMA public TABLES: "));
	sql_on(pg,
	       "DROP TABLE theirs, part; ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM rights_d");
}

/* Members of extensions have what their extension gave. */
static void test_extension(void **state)
{
	PGconn *pg = *state;
	_cleanup_strbuf_ struct strbuf warnings = {0};
	sql_on(pg, "CREATE EXTENSION pg_stat_statements; GRANT ALL ON pg_stat_statements TO rights_a;"
		   "GRANT ALL ON FUNCTION pg_stat_statements_reset TO rights_a");
	struct pg_conn *c = open_driver(NULL);
	ok(pg_query(c, NULL, "begin", "BEGIN", 0, NULL, &e));
	reset_all(c, &warnings);
	ok(pg_query(c, NULL, "commit", "COMMIT", 0, NULL, &e));
	pg_connection_free(c);
	assert_string_equal(strbuf_str(&warnings), "");
	_cleanup_free_ char *none = dump_rights();
	assert_string_equal(none, "");
	_cleanup_free_ char *read =
	    sql_value(pg, "SELECT has_table_privilege('rights_a', 'pg_stat_statements', 'SELECT')"
			  " AND NOT has_function_privilege('rights_a',"
			  " 'pg_stat_statements_reset(oid,oid,bigint)', 'EXECUTE')");
	assert_string_equal(read, "t");
	sql_on(pg, "DROP EXTENSION pg_stat_statements");
}

static const char no_roles[] =
    "DROP ROLE IF EXISTS rights_owner; DROP ROLE IF EXISTS rights_a; DROP ROLE IF EXISTS rights_b;"
    "DROP ROLE IF EXISTS \"rights \"\"c\"\"\"; DROP ROLE IF EXISTS rights_d";

static int set_up(void **state)
{
	PGconn *pg = sql_connect("postgres");
	sql_on(pg, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
	sql_on(pg, no_roles);
	sql_on(pg, "CREATE DATABASE " DATABASE);
	PQfinish(pg);
	pg = sql_connect(DATABASE);
	sql_on(pg, world);
	*state = pg;
	return 0;
}

static int tear_down(void **state)
{
	PQfinish(*state);
	PGconn *pg = sql_connect("postgres");
	sql_on(pg, "DROP DATABASE " DATABASE " WITH (FORCE)");
	sql_on(pg, no_roles);
	PQfinish(pg);
	db_params_done(&admin);
	return 0;
}

int main(void)
{
	char password[512];
	struct err e = ERR_INIT;
	const char *url = getenv("SERVER_URL"), *file = getenv("SERVER_PASSWORD_FILE");
	_cleanup_fclose_ FILE *f = file ? fopen(file, "re") : NULL;
	if (!url || !f || !fgets(password, sizeof password, f)) {
		(void)fprintf(stderr, "SERVER_URL and SERVER_PASSWORD_FILE of a PostgreSQL server are not set\n");
		return 77;
	}
	if (db_params_parse(&admin, url, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	password[strcspn(password, "\n")] = '\0';
	free(admin.password);
	admin.password = xstrdup(password);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_as_superuser),
	    cmocka_unit_test(test_as_owner),
	    cmocka_unit_test(test_who_may_not),
	    cmocka_unit_test(test_extension),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
