/*
 * tests/unit/drivers/postgres/describe_test.c - drivers/postgres/describe.c: columns in the order of definitions, keys of
 * odd indexes, and what cannot be written back, refused when a snapshot begins.
 *
 * Wants SERVER_URL and SERVER_PASSWORD_FILE of a superuser, as tests/servers/postgres prints them.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>

#include "drivers/driver.h"
#include "tests/unit/world.h"

#define D (&db_driver_postgres)
#define NAME "ms_described"

static struct db_params params;

static void run(const char *database, const char *sql)
{
	char port[16];
	(void)snprintf(port, sizeof port, "%u", params.port);
	const char *keys[] = {"host", "port", "user", "password", "dbname", "options", NULL};
	const char *values[] = {
	    params.host, port, params.user, params.password, database, "-c client_min_messages=error", NULL};
	PGconn *pg = PQconnectdbParams(keys, values, 0);
	PGresult *res = PQexec(pg, sql);
	if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
		fail_msg("%.200s: %s", sql, PQerrorMessage(pg));
	PQclear(res);
	PQfinish(pg);
}

/* A database that holds just this, and what a snapshot of it begins with: NULL when it is refused, with the words. */
static struct db_schema *described(const char *sql, struct err *e)
{
	struct db_conn *c = NULL;
	struct db_schema *s = NULL;
	run("postgres", "DROP DATABASE IF EXISTS " NAME);
	run("postgres", "CREATE DATABASE " NAME);
	run(NAME, sql);
	struct db_params own = params;
	own.database = (char *)NAME;
	ok(D->open(&c, &own, &e));
	*e = ERR_INIT;
	(void)D->begin(c, DB_READ, &s, e);
	D->close(c);
	return s;
}

static void assert_columns(const struct db_schema *s, const char *table, const char *wanted, const char *key)
{
	_cleanup_strbuf_ struct strbuf columns = {0}, keys = {0};
	const struct db_table *t = db_schema_find(s, table);
	assert_non_null(t);
	for (size_t i = 0; i < t->n_columns; i++)
		strbuf_addf(&columns, "%s%s", i ? " " : "", t->columns[i].name);
	for (size_t i = 0; i < t->n_key; i++)
		strbuf_addf(&keys, "%s%s", i ? " " : "", t->columns[t->key[i]].name);
	assert_string_equal(strbuf_str(&columns), wanted);
	assert_string_equal(strbuf_str(&keys), key);
}

static void test_order_of_columns(void **state)
{
	(void)state;
	static const char *const ways[] = {
	    /* as it grew: parents given and widened later, two of them */
	    "CREATE TABLE p (a int, b int); CREATE TABLE q (c int, a int); CREATE TABLE child (x int, c int, b int, a "
	    "int,"
	    " id int PRIMARY KEY); ALTER TABLE child INHERIT p; ALTER TABLE child INHERIT q; CREATE TABLE grand (y int)"
	    " INHERITS (child); ALTER TABLE p ADD COLUMN z int; CREATE TABLE alone (b int, a int PRIMARY KEY)",
	    /* as its definition makes it */
	    "CREATE TABLE p (a int, b int, z int); CREATE TABLE q (c int, a int); CREATE TABLE child (x int, c int, b "
	    "int,"
	    " a int, id int PRIMARY KEY, z int) INHERITS (p, q); CREATE TABLE grand (y int) INHERITS (child);"
	    " CREATE TABLE alone (b int, a int PRIMARY KEY)",
	};
	for (size_t i = 0; i < 2; i++) {
		struct err e = ERR_INIT;
		struct db_schema *s = described(ways[i], &e);
		assert_non_null(s);
		assert_columns(s, "child", "a b z c x id", "id");
		assert_columns(s, "grand", "a b z c x id y", "");
		assert_columns(s, "alone", "b a", "a");
		db_schema_free(s);
	}
	/* partitions stand as they are: they are made first and attached then */
	struct err e = ERR_INIT;
	struct db_schema *s =
	    described("CREATE TABLE p (a int, b int) PARTITION BY LIST (a);"
		      "CREATE TABLE one (b int, a int); ALTER TABLE p ATTACH PARTITION one FOR VALUES IN (1)",
		      &e);
	assert_non_null(s);
	assert_columns(s, "one", "b a", "");
	db_schema_free(s);
}

static void test_keys(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct db_schema *s = described(
	    "CREATE TABLE d (a int NOT NULL, b text NOT NULL, c int); CREATE INDEX ON d (a, b, a);"
	    "CREATE TABLE u (a int NOT NULL, b text NOT NULL); CREATE UNIQUE INDEX ON u (b, a, b text_pattern_ops);"
	    "CREATE TABLE o (a int, UNIQUE (a) DEFERRABLE)",
	    &e);
	assert_non_null(s);
	assert_columns(s, "d", "a b c", "a b");
	assert_int_equal(db_schema_find(s, "d")->key_kind, DB_KEY_INDEX);
	assert_columns(s, "u", "a b", "b a");
	assert_int_equal(db_schema_find(s, "u")->key_kind, DB_KEY_UNIQUE);
	assert_columns(s, "o", "a", "");
	db_schema_free(s);
}

static void assert_refused(const char *sql, const char *words)
{
	struct err e = ERR_INIT;
	struct db_schema *s = described(sql, &e);
	if (s || e.code != ENOTSUP || !strstr(e.msg, words) || !strstr(e.msg, "exclude the table"))
		fail_msg("%s: %d \"%s\"", sql, e.code, e.msg);
}

static void test_values_that_cannot_be_written(void **state)
{
	(void)state;
	assert_refused("CREATE TABLE a AS SELECT * FROM pg_class", "relpartbound");
	assert_refused("CREATE TABLE s AS SELECT stxdmcv FROM pg_statistic_ext_data", "pg_mcv_list");
	assert_refused(
	    "CREATE DOMAIN tree AS pg_node_tree; CREATE TYPE pair AS (a int, t tree); CREATE TYPE more AS (p pair[]);"
	    "CREATE TABLE t (id int PRIMARY KEY, m more)",
	    "column m of table t");
	assert_refused("CREATE TABLE whole (c pg_class)", "column c of table whole");
	static const char two[] =
	    "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE DOMAIN named AS regproc;"
	    "CREATE TABLE r (id int, f named); INSERT INTO r VALUES (1, 'f'), (2, 0), (3, NULL),"
	    " (4, 'pg_backend_pid'), (5, 4000000000::oid::regproc);";
	_cleanup_free_ char *both = xasprintf("%sCREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 1'", two);
	assert_refused(both, "column f of table r holds public.f");
	assert_refused("CREATE TABLE o (op regoper); INSERT INTO o VALUES ('+(int,int)'::regoperator::oid)",
		       "pg_catalog.+");
	struct err e = ERR_INIT;
	struct db_schema *s = described(two, &e);
	if (!s)
		fail_msg("%s", e.msg);
	db_schema_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order_of_columns),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_values_that_cannot_be_written),
	};
	const char *url = getenv("SERVER_URL"), *file = getenv("SERVER_PASSWORD_FILE");
	struct err e = ERR_INIT;
	char line[256] = "";
	_cleanup_fclose_ FILE *f = file ? fopen(file, "re") : NULL;
	if (!url || !f || !fgets(line, sizeof line, f) || db_params_parse(&params, url, &e) < 0) {
		print_error("SERVER_URL and SERVER_PASSWORD_FILE: %s\n", e.msg);
		return 1;
	}
	line[strcspn(line, "\n")] = '\0';
	params.password = xstrdup(line);
	int failed = cmocka_run_group_tests_name("drivers/postgres/describe", tests, NULL, NULL);
	run("postgres", "DROP DATABASE IF EXISTS " NAME);
	db_params_done(&params);
	return failed;
}
