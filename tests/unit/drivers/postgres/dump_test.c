/*
 * tests/unit/drivers/postgres/dump_test.c - drivers/postgres/dump.c and script.c against a real server: of a database with
 * objects of every kind the statements are cut where pg_restore cuts them, and make the same database again; the text is
 * the same whatever the database sets.
 *
 * Wants SERVER_URL and SERVER_PASSWORD_FILE of a superuser, as tests/servers/postgres prints them, and SERVER_BINDIR, the
 * folder of pg_dump. Its databases are made and dropped here.
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

static struct db_params admin;

static PGconn *sql_connect(const char *database, const char *options)
{
	char port[16];
	(void)snprintf(port, sizeof port, "%u", admin.port);
	const char *keys[] = {"host", "port", "user", "password", "dbname", "options", NULL};
	const char *values[] = {admin.host, port, admin.user, admin.password, database, options, NULL};
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
		fail_msg("%.300s: %s", sql, PQerrorMessage(pg));
	PQclear(res);
}

/* What a shell command of the server's programs prints. */
static char *run(const char *command)
{
	const char *bindir = getenv("SERVER_BINDIR");
	struct strbuf out = {0};
	char buffer[4096];
	size_t n;
	_cleanup_free_ char *all = xasprintf(
	    "PGHOST='%s' PGPORT=%u PGUSER='%s' PGPASSWORD='%s' PATH='%s':\"$PATH\"; export PGHOST PGPORT PGUSER"
	    " PGPASSWORD PATH; %s",
	    admin.host, admin.port, admin.user, admin.password, bindir ? bindir : "/usr/bin", command);
	FILE *f = popen(all, "re");
	assert_non_null(f);
	while ((n = fread(buffer, 1, sizeof buffer, f)) > 0)
		strbuf_add(&out, buffer, n);
	assert_int_equal(pclose(f), 0);
	return strbuf_detach(&out);
}

static const char every_kind[] =
    "CREATE SCHEMA s1; CREATE EXTENSION pg_trgm SCHEMA s1;"
    "CREATE TYPE begin AS ENUM ('begin', 'end;', 'back\\slash'); CREATE TYPE \"end\" AS (\"case\" integer, begin "
    "text);"
    "CREATE DOMAIN d AS varchar(10) DEFAULT 'C:\\dir' CHECK (VALUE <> ';') NOT NULL;"
    "CREATE TYPE ra AS RANGE (subtype = float8, subtype_diff = float8mi);"
    "CREATE TYPE base; CREATE FUNCTION base_in(cstring) RETURNS base LANGUAGE internal IMMUTABLE STRICT AS 'textin';"
    "CREATE FUNCTION base_out(base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';"
    "CREATE TYPE base (INPUT = base_in, OUTPUT = base_out, INTERNALLENGTH = variable, ALIGNMENT = int4);"
    "CREATE COLLATION co (provider = libc, locale = 'C');"
    "CREATE FUNCTION begin() RETURNS integer LANGUAGE sql AS 'select 1';"
    "CREATE FUNCTION atomic(begin begin, \"case\" integer DEFAULT 1) RETURNS TABLE(\"end\" integer) LANGUAGE sql"
    " BEGIN ATOMIC SELECT CASE WHEN \"case\" = 1 THEN CASE \"case\" WHEN 1 THEN 2 END ELSE 4 END AS \"end\"; END;"
    "CREATE FUNCTION body() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN\n--\n-- Name: x; Type: TABLE; Schema: public;"
    " Owner: metasnap\n--\n\nPERFORM 'a\\';\n END; $f$;"
    "CREATE FUNCTION ret(a integer) RETURNS integer LANGUAGE sql RETURN a + 1;"
    "CREATE PROCEDURE pr(INOUT a integer) LANGUAGE sql BEGIN ATOMIC SELECT a; SELECT 2; END;"
    "CREATE AGGREGATE ag(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');"
    "CREATE FUNCTION minus(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'select $1 - $2';"
    "CREATE OPERATOR @- (LEFTARG = integer, RIGHTARG = integer, FUNCTION = minus);"
    "CREATE OPERATOR FAMILY of USING btree; CREATE OPERATOR CLASS oc FOR TYPE integer USING btree FAMILY of AS"
    " OPERATOR 1 <, FUNCTION 1 btint4cmp(integer, integer);"
    "CREATE FUNCTION cast_f(begin) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
    "CREATE CAST (begin AS integer) WITH FUNCTION cast_f(begin) AS ASSIGNMENT;"
    "CREATE SEQUENCE sq AS integer CYCLE; CREATE TABLE \"a;b\" (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " \"c;\n-- Name: x; Type: TABLE; Schema: public; Owner: me\" text DEFAULT 'C:\\dir', begin begin, e \"end\", g "
    "integer"
    " GENERATED ALWAYS AS (id + 1) STORED, n integer DEFAULT nextval('sq'), u text DEFAULT U&'\\0441;' CHECK (u <> "
    "E'\\''));"
    "ALTER SEQUENCE sq OWNED BY \"a;b\".n; CREATE TABLE later (a integer PRIMARY KEY REFERENCES \"a;b\", b integer);"
    "ALTER TABLE later ADD CONSTRAINT later_b CHECK (b @- 1 > 0) NOT VALID, REPLICA IDENTITY FULL,"
    " ALTER b SET STATISTICS 7; CREATE UNLOGGED TABLE un (a text) WITH (fillfactor = 70); ALTER TABLE un ALTER a SET "
    "STORAGE EXTERNAL;"
    "CREATE TABLE kid (x integer) INHERITS (later); CREATE TABLE part (a integer, b text) PARTITION BY RANGE (a);"
    "CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (1) TO (10); CREATE INDEX ON part (b);"
    "CREATE INDEX expr ON later ((a @- b)) WHERE (b <> 0); ALTER TABLE later CLUSTER ON later_pkey;"
    "CREATE STATISTICS st ON a, b FROM later; CREATE VIEW v AS SELECT CASE WHEN a > 0 THEN ';' ELSE E'\\\\' END AS"
    " \"end\" FROM later; CREATE MATERIALIZED VIEW m AS SELECT \"end\" FROM v;"
    "ALTER VIEW v ALTER \"end\" SET DEFAULT E'a\\\\';"
    "CREATE RULE r AS ON UPDATE TO v DO INSTEAD (DELETE FROM un; DELETE FROM kid;);"
    "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END;';"
    "CREATE TRIGGER tr BEFORE UPDATE ON later FOR EACH ROW WHEN (old.a <> new.a) EXECUTE FUNCTION tf(E'\\\\;');"
    "ALTER TABLE later ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON later USING (a > 0) WITH CHECK (b > 0);"
    "CREATE FUNCTION ef() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END;';"
    "CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION ef(); ALTER EVENT TRIGGER et DISABLE;"
    "CREATE TEXT SEARCH DICTIONARY td (TEMPLATE = simple, STOPWORDS = english);"
    "CREATE TEXT SEARCH CONFIGURATION tc (PARSER = \"default\"); ALTER TEXT SEARCH CONFIGURATION tc ADD MAPPING FOR"
    " word WITH td; CREATE FOREIGN DATA WRAPPER fw; CREATE SERVER sv FOREIGN DATA WRAPPER fw OPTIONS (a E'\\\\;');"
    "CREATE USER MAPPING FOR metasnap SERVER sv; CREATE FOREIGN TABLE ft (a integer) SERVER sv;"
    "CREATE PUBLICATION pu FOR TABLE ONLY later, ONLY kid (a) WHERE (a > 0); CREATE PUBLICATION ps FOR TABLES IN "
    "SCHEMA s1;"
    "CREATE SUBSCRIPTION su CONNECTION 'dbname=x' PUBLICATION pu WITH (connect = false, slot_name = NONE);"
    "COMMENT ON TABLE later IS E'a;\n-- Name: x; Type: TABLE; Schema: public; Owner: me\n\\\\';"
    "COMMENT ON COLUMN later.b IS 'it''s'; COMMENT ON FUNCTION begin() IS '$$;'; COMMENT ON CONSTRAINT later_b ON"
    " later IS 'begin atomic'; GRANT SELECT (a) ON later TO PUBLIC; REVOKE ALL ON FUNCTION begin() FROM PUBLIC;"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC;";

#define CUT "ms_script"
#define AGAIN "ms_script_again"

/* Without the random key; as a session with standard_conforming_strings = on has it. */
static char *dump_on(const char *database)
{
	_cleanup_free_ char *command = xasprintf(
	    "PGOPTIONS='-c standard_conforming_strings=on' pg_dump -s %s | grep -vE '^.(un)?restrict '", database);
	return run(command);
}

/* The archive's table of contents, "TYPE schema name owner" a line, in the order in which pg_restore runs it: rights
 * come after all else, and event triggers after them. */
static char *list_archive(void)
{
	static const char *const last[] = {"ACL ", "DEFAULT ACL ", "EVENT TRIGGER ", "COMMENT - EVENT TRIGGER "};
	_cleanup_free_ char *list = run("pg_dump -s -Fc " CUT " | pg_restore -l | grep -v '^;'");
	struct strbuf out = {0};
	for (int pass = 0; pass < 3; pass++) {
		for (const char *line = list; *line; line += strcspn(line, "\n") + 1) {
			int at = 0, of = 0;
			(void)sscanf(line, "%*d; %*d %*d %n", &at);
			for (int k = 0; k < 4; k++)
				if (!strncmp(line + at, last[k], strlen(last[k])))
					of = k < 2 ? 1 : 2;
			if (of == pass)
				strbuf_addf(&out, "%.*s\n", (int)strcspn(line + at, "\n"), line + at);
		}
	}
	return strbuf_detach(&out);
}

/* The entries are the archive's. */
static void compare_with_archive(const struct pg_script *script)
{
	_cleanup_free_ char *list = list_archive();
	const char *line = list, *before = "";
	size_t n = 0;
	for (size_t i = 0; i < script->n_statements; i++) {
		const struct pg_statement *s = &script->statements[i];
		if (!*s->type || !strcmp(s->entry, before))
			continue;
		_cleanup_free_ char *one = xmemdup0(line, strcspn(line, "\n"));
		const char *name = s->entry + strlen(s->type) + 1;
		if (strncmp(one, s->type, strlen(s->type)) || !strstr(one, name))
			fail_msg("entry %zu: \"%s\" instead of \"%s\"", n, s->entry, one);
		before = s->entry;
		line += strcspn(line, "\n");
		line += *line == '\n';
		n++;
	}
	assert_string_equal(line, "");
	assert_true(n > 70);
}

static void test_beside_pg_restore(void **state)
{
	(void)state;
	static const char *const settings[] = {"on", "off"};
	for (size_t i = 0; i < 2; i++) {
		struct pg_script script;
		PGconn *pg = sql_connect("postgres", "");
		sql_on(pg, "DROP DATABASE IF EXISTS " CUT);
		sql_on(pg, "DROP DATABASE IF EXISTS " AGAIN);
		sql_on(pg, "CREATE DATABASE " CUT);
		sql_on(pg, "CREATE DATABASE " AGAIN);
		_cleanup_free_ char *set =
		    xasprintf("ALTER DATABASE " CUT " SET standard_conforming_strings = %s", settings[i]);
		sql_on(pg, set);
		PQfinish(pg);
		pg = sql_connect(CUT, "-c standard_conforming_strings=on");
		sql_on(pg, every_kind);
		PQfinish(pg);
		_cleanup_free_ char *text = run("pg_dump -s " CUT " | grep -vE '^.(un)?restrict '");
		assert_int_equal(!strstr(text, "SET standard_conforming_strings = off;"), !i);
		ok(pg_script_parse(&script, text, &e));
		compare_with_archive(&script);
		pg = sql_connect(AGAIN, "-c standard_conforming_strings=on -c check_function_bodies=off");
		sql_on(pg, "SET search_path = ''");
		for (size_t k = 0; k < script.n_statements; k++)
			if (*script.statements[k].type)
				sql_on(pg, script.statements[k].sql);
		PQfinish(pg);
		pg_script_done(&script);
		_cleanup_free_ char *wanted = dump_on(CUT), *is = dump_on(AGAIN);
		assert_string_equal(is, wanted);
		for (size_t k = 0; k < 2; k++) {
			pg = sql_connect(k ? AGAIN : CUT, "");
			sql_on(pg, "DROP SUBSCRIPTION su");
			PQfinish(pg);
		}
		pg = sql_connect("postgres", "");
		sql_on(pg, "DROP DATABASE " CUT " WITH (FORCE)");
		sql_on(pg, "DROP DATABASE " AGAIN " WITH (FORCE)");
		PQfinish(pg);
	}
}

/* The driver's text of schema public. */
static char *driver_text(void)
{
	struct db_params p = admin;
	struct db_conn *c = NULL;
	struct db_schema *s = NULL;
	struct strbuf text = {0};
	p.database = (char *)CUT;
	ok(db_driver_postgres.open(&c, &p, &e));
	ok(db_driver_postgres.begin(c, DB_READ, &s, &e));
	ok(db_driver_postgres.schema_sql(c, s, &text, &e));
	db_driver_postgres.rollback(c);
	db_driver_postgres.close(c);
	db_schema_free(s);
	return strbuf_detach(&text);
}

static void test_settings_of_the_database(void **state)
{
	(void)state;
	static const char *const settings[] = {
	    "standard_conforming_strings = off",
	    "quote_all_identifiers = on",
	    "timezone = 'Asia/Kolkata'",
	    "bytea_output = escape",
	};
	PGconn *pg = sql_connect("postgres", "");
	sql_on(pg, "DROP DATABASE IF EXISTS " CUT);
	sql_on(pg, "CREATE DATABASE " CUT);
	PQfinish(pg);
	pg = sql_connect(CUT, "");
	sql_on(pg, "CREATE FUNCTION f(a text) RETURNS text LANGUAGE sql AS 'SELECT 1'");
	sql_on(pg, "CREATE TABLE t (a text DEFAULT 'C:\\dir', b bytea DEFAULT '\\x005cff',"
		   " c timestamptz DEFAULT '2020-01-01 00:00Z' CHECK (c > '2019-01-01 00:00Z'))");
	_cleanup_free_ char *wanted = driver_text();
	assert_non_null(strstr(wanted, "2020-01-01 00:00:00+00"));
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		_cleanup_free_ char *set = xasprintf("ALTER DATABASE " CUT " SET %s", settings[i]);
		sql_on(pg, set);
		_cleanup_free_ char *text = driver_text();
		assert_string_equal(text, wanted);
	}
	sql_on(pg, "ALTER DATABASE " CUT " RESET ALL");
	PQfinish(pg);
	pg = sql_connect("postgres", "");
	sql_on(pg, "DROP DATABASE " CUT " WITH (FORCE)");
	PQfinish(pg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_beside_pg_restore),
	    cmocka_unit_test(test_settings_of_the_database),
	};
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
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	db_params_done(&admin);
	return failed;
}
