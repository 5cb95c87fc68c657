/*
 * tests/unit/drivers/postgres/driver_test.c - drivers/postgres/driver.c, the whole PostgreSQL driver, against a real
 * server.
 *
 * Wants SERVER_URL and SERVER_PASSWORD (or SERVER_PASSWORD_FILE) of a superuser, as tests/servers/postgres prints them;
 * SERVER_BINDIR names the folder of pg_dump when it is not in PATH. Each test makes and drops a database of its own.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "drivers/driver.h"
#include "tests/unit/world.h"

#define D (&db_driver_postgres)

static struct db_params admin; /* the superuser's, from the environment */

/* ---- a session of the test's own, beside the driver's ---- */

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

static void sql_do(const char *database, const char *sql)
{
	PGconn *pg = sql_connect(database);
	sql_on(pg, sql);
	PQfinish(pg);
}

/* The SQLSTATE of a statement that should fail; "" when it did not. */
static const char *sql_state(PGconn *pg, const char *sql)
{
	static char state[6];
	PGresult *res = PQexec(pg, sql);
	const char *s = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	(void)snprintf(state, sizeof state, "%s", s ? s : "");
	PQclear(res);
	return state;
}

static char *sql_value(const char *database, const char *sql)
{
	PGconn *pg = sql_connect(database);
	PGresult *res = PQexec(pg, sql);
	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1)
		fail_msg("%.200s: %s", sql, PQerrorMessage(pg));
	char *value = xstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	PQfinish(pg);
	return value;
}

#define WAIT_S 60 /* how long something that must come may take, on the slowest of machines */

/* Until the query gives this; false when it did not in time. */
static bool wait_for(PGconn *pg, const char *sql, const char *wanted)
{
	const struct timespec apart = {.tv_nsec = 20000000};
	time_t end = time(NULL) + WAIT_S;
	for (bool same = false; !same;) {
		PGresult *res = PQexec(pg, sql);
		same = PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1 &&
		       !strcmp(PQgetvalue(res, 0, 0), wanted);
		PQclear(res);
		if (!same && time(NULL) > end)
			return false;
		if (!same)
			(void)nanosleep(&apart, NULL);
	}
	return true;
}

/* Until the server has seen that the driver's connections to a database are gone. */
static void wait_for_no_session(const char *database)
{
	_cleanup_free_ char *sql = xasprintf("SELECT count(*) FROM pg_stat_activity WHERE datname = '%s'"
					     " AND application_name = 'metasnap'",
					     database);
	PGconn *pg = sql_connect("postgres");
	if (!wait_for(pg, sql, "0"))
		fail_msg("%s: there still is a session of the driver", database);
	PQfinish(pg);
}

static void assert_sql(const char *database, const char *sql, const char *wanted)
{
	_cleanup_free_ char *value = sql_value(database, sql);
	if (strcmp(value, wanted) != 0)
		fail_msg("%s: \"%s\" instead of \"%s\"", sql, value, wanted);
}

static void make_database(const char *name)
{
	_cleanup_free_ char *drop = xasprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
	_cleanup_free_ char *create = xasprintf("CREATE DATABASE %s", name);
	sql_do("postgres", drop);
	sql_do("postgres", create);
}

static void drop_database(const char *name)
{
	_cleanup_free_ char *drop = xasprintf("DROP DATABASE IF EXISTS %s", name);
	sql_do("postgres", drop);
}

/* Everything pg_dump says of a database, rows included. */
static char *dump(const char *database, const char *options)
{
	const char *bindir = getenv("SERVER_BINDIR");
	struct strbuf out = {0};
	char buffer[4096];
	size_t n;
	_cleanup_free_ char *command = xasprintf("PGHOST='%s' PGPORT=%u PGUSER='%s' PGPASSWORD='%s' %s%spg_dump "
						 "--encoding=UTF8 %s %s | grep -vE '^.(un)?restrict '",
						 admin.host, admin.port, admin.user, admin.password,
						 bindir ? bindir : "", bindir ? "/" : "", options, database);
	FILE *f = popen(command, "re");
	assert_non_null(f);
	while ((n = fread(buffer, 1, sizeof buffer, f)) > 0)
		strbuf_add(&out, buffer, n);
	assert_int_equal(pclose(f), 0);
	assert_non_null(strstr(strbuf_str(&out), "database dump complete"));
	return strbuf_detach(&out);
}

static void assert_same_text(const char *a, const char *b)
{
	size_t i = 0;
	while (a[i] && a[i] == b[i])
		i++;
	if (a[i] != b[i]) {
		size_t from = i > 300 ? i - 300 : 0;
		fail_msg("texts differ at %zu:\n%.500s\n---- instead of ----\n%.500s", i, b + from, a + from);
	}
}

/* ---- the driver's side ---- */

static struct db_conn *open_as(const char *database, const char *user, const char *password, char **exclude)
{
	struct db_params p = admin;
	struct db_conn *c = NULL;
	struct err e = ERR_INIT;
	p.database = (char *)database;
	p.user = (char *)user;
	p.password = (char *)password;
	p.exclude = exclude;
	if (D->open(&c, &p, &e) < 0)
		fail_msg("open: %s", e.msg);
	return c;
}

static struct db_conn *open_db(const char *database)
{
	return open_as(database, admin.user, admin.password, NULL);
}

#define refused(call, errno_, words)                                                                                   \
	do {                                                                                                           \
		struct err e = ERR_INIT;                                                                               \
		int r_ = (call);                                                                                       \
		if (r_ != -(errno_) || !strstr(e.msg, words))                                                          \
			fail_msg("%s: %d \"%s\" (%s)", #call, r_, e.msg, e.sqlstate);                                  \
		assert_int_equal(e.code, errno_);                                                                      \
	} while (0)

static struct db_schema *begin(struct db_conn *c, enum db_access access)
{
	struct db_schema *s = NULL;
	ok(D->begin(c, access, &s, &e));
	return s;
}

struct row {
	struct db_value *values;
};

struct rows {
	struct row *list;
	size_t n, n_values;
};

struct copy {
	struct db_schema *schema;
	struct rows *tables; /* as schema->tables */
	struct strbuf sql;
};

static size_t count_values(const struct db_table *t)
{
	size_t n = 0;
	for (size_t i = 0; i < t->n_columns; i++)
		n += !t->columns[i].generated;
	for (size_t k = 0; k < t->n_key; k++)
		n += t->columns[t->key[k]].generated;
	return n;
}

/* The rows of the scan that is open, which it closes. */
static struct rows read_scan(struct db_conn *c, const struct db_table *t, size_t n_values)
{
	struct rows rows = {.n_values = n_values};
	const struct db_value *v;
	struct err e = ERR_INIT;
	int r;
	while ((r = D->scan_next(c, &v, &e)) > 0) {
		struct db_value *copy = xcalloc(rows.n_values, sizeof *copy);
		for (size_t i = 0; i < rows.n_values; i++) {
			copy[i] = v[i];
			copy[i].data = v[i].data ? xmemdup0(v[i].data, v[i].len) : NULL;
		}
		rows.list = xrealloc(rows.list, (rows.n + 1) * sizeof *rows.list);
		rows.list[rows.n++].values = copy;
	}
	if (r < 0)
		fail_msg("scan of %s: %s", t->name, e.msg);
	assert_int_equal(D->scan_next(c, &v, &e), 0); /* the end stays the end */
	if (D->scan_close(c, &e) < 0)
		fail_msg("scan of %s: %s", t->name, e.msg);
	return rows;
}

static struct rows read_table(struct db_conn *c, const struct db_table *t, bool ordered)
{
	ok(D->scan_open(c, t, ordered ? DB_SCAN_ORDERED : DB_SCAN_UNORDERED, &e));
	return read_scan(c, t, count_values(t));
}

static void free_rows(struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		for (size_t k = 0; k < rows->n_values; k++)
			free((char *)rows->list[i].values[k].data);
		free(rows->list[i].values);
	}
	free(rows->list);
}

static struct copy take_copy(struct db_conn *c)
{
	struct copy copy = {.schema = begin(c, DB_READ)};
	copy.tables = xcalloc(copy.schema->n_tables, sizeof *copy.tables);
	ok(D->schema_sql(c, copy.schema, &copy.sql, &e));
	for (size_t i = 0; i < copy.schema->n_tables; i++)
		copy.tables[i] = read_table(c, &copy.schema->tables[i], false);
	ok(D->finish(c, copy.schema, &e));
	ok(D->commit(c, &e));
	return copy;
}

static void free_copy(struct copy *copy)
{
	for (size_t i = 0; i < copy->schema->n_tables; i++)
		free_rows(&copy->tables[i]);
	free(copy->tables);
	db_schema_free(copy->schema);
	strbuf_done(&copy->sql);
}

static void load_table(struct db_conn *c, const struct db_table *t, const struct rows *rows)
{
	ok(D->load_begin(c, t, &e));
	for (size_t i = 0; i < rows->n; i++)
		ok(D->load_row(c, rows->list[i].values, &e));
	ok(D->load_end(c, true, &e));
}

/* Makes every table that can be made beside the schema; returns how many. */
static size_t aside(struct db_conn *c, const struct copy *copy, bool *set_aside)
{
	struct db_conn *worker = NULL;
	size_t n = 0;
	ok(D->aside_begin(c, copy->schema, strbuf_str(&copy->sql), set_aside, &e));
	for (size_t i = 0; i < copy->schema->n_tables; i++) {
		const struct db_table *t = &copy->schema->tables[i];
		if (!set_aside[i])
			continue;
		if (!n++)
			ok(D->aside_open(&worker, c, &e));
		ok(D->aside_table(worker, c, t, &e));
		load_table(worker, t, &copy->tables[i]);
		ok(D->aside_end(worker, c, t, &e));
		ok(D->aside_hold(c, t, copy->tables[i].n, &e));
		ok(D->aside_index(worker, c, t, &e));
		ok(D->aside_read(worker, c, t, &e));
		struct rows rows = read_table(worker, t, false);
		assert_int_equal(rows.n, copy->tables[i].n);
		free_rows(&rows);
		ok(D->commit(worker, &e));
	}
	if (worker)
		D->close(worker);
	return n;
}

/* What is to be done so that the database becomes the copy; in the transaction. */
static void compare(struct db_conn *c, const struct db_schema *s, const struct db_schema *wanted, const char *sql,
		    struct db_objects *ret)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	ok(D->schema_sql(c, s, &text, &e));
	const struct db_definitions live = {s, strbuf_str(&text)}, want = {wanted, sql};
	ok(D->compare(c, &live, &want, NULL, ret, &e));
}

/* Everything but the commit. */
static size_t rebuild(struct db_conn *c, const struct copy *copy, bool beside, struct strbuf *warnings)
{
	_cleanup_free_ bool *set_aside = xcalloc(copy->schema->n_tables, sizeof *set_aside);
	struct db_objects o;
	struct db_schema *live = begin(c, DB_WRITE);
	compare(c, live, copy->schema, strbuf_str(&copy->sql), &o);
	db_schema_free(live);
	assert_string_equal(o.refusal.msg, "");
	memcpy(set_aside, o.remade, copy->schema->n_tables * sizeof *set_aside);
	size_t n = beside ? aside(c, copy, set_aside) : 0;
	if (!beside)
		memset(set_aside, 0, copy->schema->n_tables * sizeof *set_aside);
	ok(D->rebuild_begin(c, copy->schema, strbuf_str(&copy->sql), &o, warnings, &e));
	for (size_t i = 0; i < copy->schema->n_tables; i++)
		if (!set_aside[i] && o.remade[i])
			load_table(c, &copy->schema->tables[i], &copy->tables[i]);
	/* and all rows of the others */
	ok(D->change_begin(c, copy->schema, &e));
	for (size_t i = 0; i < copy->schema->n_tables; i++)
		if (!o.remade[i]) {
			ok(D->delete_all(c, &copy->schema->tables[i], &e));
			load_table(c, &copy->schema->tables[i], &copy->tables[i]);
		}
	ok(D->rebuild_end(c, warnings, NULL, &e));
	ok(D->change_end(c, NULL, NULL, &e));
	ok(D->set_sequences(c, copy->schema, &e));
	db_objects_done(&o);
	return n;
}

static const struct db_value *find_row(const struct rows *rows, size_t column, const char *text)
{
	for (size_t i = 0; i < rows->n; i++)
		if (rows->list[i].values[column].data && !strcmp(rows->list[i].values[column].data, text))
			return rows->list[i].values;
	fail_msg("no row with %s", text);
	return NULL;
}

static void assert_value(const struct db_value *v, const char *wanted, size_t len)
{
	if (!v->data || v->len != len || memcmp(v->data, wanted, len) != 0)
		fail_msg("value \"%.*s\" (%zu) instead of \"%.*s\" (%zu)", (int)v->len, v->data ? v->data : "NULL",
			 v->len, (int)len, wanted, len);
}

/* ---- describing ---- */

static const struct db_table *table_of(const struct db_schema *s, const char *name)
{
	const struct db_table *t = db_schema_find(s, name);
	if (!t)
		fail_msg("no table %s", name);
	return t;
}

static void assert_key(const struct db_schema *s, const char *table, enum db_key_kind kind, const char *columns)
{
	const struct db_table *t = table_of(s, table);
	_cleanup_strbuf_ struct strbuf names = {0};
	for (size_t k = 0; k < t->n_key; k++)
		strbuf_addf(&names, "%s%s", k ? "," : "", t->columns[t->key[k]].name);
	if (t->key_kind != kind || strcmp(strbuf_str(&names), columns) != 0)
		fail_msg("key of %s: %d %s instead of %d %s", table, t->key_kind, strbuf_str(&names), kind, columns);
}

static void test_describe(void **state)
{
	(void)state;
	make_database("ms_describe");
	sql_do(
	    "ms_describe",
	    "CREATE EXTENSION pg_trgm; CREATE EXTENSION IF NOT EXISTS hstore;"
	    "CREATE DOMAIN money2 AS numeric(10,2); CREATE DOMAIN money3 AS money2 CHECK (VALUE > 0);"
	    "CREATE TABLE types (dropped int, i2 int2, i8 int8 NOT NULL, n numeric(5,2), f float8, o oid, b bool, y "
	    "bytea,"
	    " j json, jb jsonb, t text, v varchar(36), d money3, a int[], ts timestamptz, h hstore, \"Odd \"\"name\" "
	    "text);"
	    "ALTER TABLE types DROP COLUMN dropped;"
	    "CREATE TABLE ent (id varchar(36) GENERATED ALWAYS AS (json ->> 'id') STORED PRIMARY KEY, json jsonb NOT "
	    "NULL,"
	    " up bigint GENERATED ALWAYS AS ((json ->> 'updatedAt')::bigint) STORED NOT NULL,"
	    " calc int GENERATED ALWAYS AS (length(json::text)) STORED);"
	    "CREATE TABLE composite (a int, b text, c int, PRIMARY KEY (b, a)) ;"
	    "CREATE TABLE uniq (a int NOT NULL, b int NOT NULL, c int NOT NULL, n int, UNIQUE (n), UNIQUE (a, b, c));"
	    "CREATE UNIQUE INDEX uniq_small ON uniq (c, b) INCLUDE (a); CREATE UNIQUE INDEX uniq_part ON uniq (a) "
	    "WHERE b > 0;"
	    "CREATE UNIQUE INDEX uniq_expr ON uniq (abs(a)); ALTER TABLE uniq ADD CONSTRAINT uniq_late UNIQUE (a) "
	    "DEFERRABLE;"
	    "CREATE TABLE indexed (a int, b text); CREATE INDEX z_idx ON indexed (a); CREATE INDEX b_idx ON indexed "
	    "(b, a);"
	    "CREATE INDEX a_trgm ON indexed USING gin (b gin_trgm_ops);"
	    "CREATE TABLE nokey (a text); CREATE TABLE nocolumns (); CREATE UNLOGGED TABLE unlogged (a int PRIMARY "
	    "KEY);"
	    "CREATE TABLE part (id int, at date) PARTITION BY RANGE (at);"
	    "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');"
	    "CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);"
	    "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);"
	    "CREATE TABLE skip_me (a int GENERATED ALWAYS AS IDENTITY); CREATE SEQUENCE own; CREATE SCHEMA other;"
	    "CREATE TABLE other.elsewhere (a serial); CREATE TEMP TABLE temporary (a int);"
	    "CREATE TABLE \"SERVER_CHANGE_LOG\" (installed_rank int, version varchar(256) PRIMARY KEY);"
	    "INSERT INTO \"SERVER_CHANGE_LOG\" VALUES (1, '1.9.9'), (10, '1.10.2'), (9, '1.10.12');");
	char *exclude[] = {(char *)"skip_*", NULL};
	struct db_conn *c = open_as("ms_describe", admin.user, admin.password, exclude);
	struct db_schema *s = begin(c, DB_READ);
	assert_string_equal(s->engine, "postgresql");
	assert_string_equal(s->schema, "public");
	assert_string_equal(s->database, "ms_describe");
	assert_string_equal(s->app_version, "1.10.2");
	assert_int_equal(s->n_sequences, 1);
	assert_string_equal(s->sequences[0].name, "own");
	static const char *const names[] = {"SERVER_CHANGE_LOG",
					    "child",
					    "composite",
					    "ent",
					    "indexed",
					    "nocolumns",
					    "nokey",
					    "parent",
					    "part_1",
					    "types",
					    "uniq",
					    "unlogged"};
	assert_int_equal(s->n_tables, sizeof names / sizeof names[0]);
	for (size_t i = 0; i < s->n_tables; i++)
		assert_string_equal(s->tables[i].name, names[i]);

	const struct db_table *t = table_of(s, "types");
	static const struct {
		const char *name, *type;
		enum db_form form;
		bool integer;
	} wanted[] = {
	    {"i2", "smallint", DB_FORM_NUMBER, true},
	    {"i8", "bigint", DB_FORM_NUMBER, true},
	    {"n", "numeric(5,2)", DB_FORM_NUMBER, false},
	    {"f", "double precision", DB_FORM_NUMBER, false},
	    {"o", "oid", DB_FORM_NUMBER, true},
	    {"b", "boolean", DB_FORM_BOOL, false},
	    {"y", "bytea", DB_FORM_BINARY, false},
	    {"j", "json", DB_FORM_JSON_TEXT, false},
	    {"jb", "jsonb", DB_FORM_JSON, false},
	    {"t", "text", DB_FORM_TEXT, false},
	    {"v", "character varying(36)", DB_FORM_TEXT, false},
	    {"d", "public.money3", DB_FORM_NUMBER, false},
	    {"a", "integer[]", DB_FORM_TEXT, false},
	    {"ts", "timestamp with time zone", DB_FORM_TEXT, false},
	    {"h", "public.hstore", DB_FORM_TEXT, false},
	    {"Odd \"name", "text", DB_FORM_TEXT, false},
	};
	assert_int_equal(t->n_columns, sizeof wanted / sizeof wanted[0]);
	for (size_t i = 0; i < t->n_columns; i++) {
		assert_string_equal(t->columns[i].name, wanted[i].name);
		assert_string_equal(t->columns[i].type, wanted[i].type);
		assert_int_equal(t->columns[i].form, wanted[i].form);
		assert_int_equal(t->columns[i].integer, wanted[i].integer);
		assert_int_equal(t->columns[i].nullable, strcmp(wanted[i].name, "i8") != 0);
	}
	t = table_of(s, "ent");
	assert_true(t->columns[0].generated && t->columns[2].generated && t->columns[3].generated);
	assert_false(t->columns[1].generated);
	assert_string_equal(t->columns[0].document, "json");
	assert_string_equal(t->columns[0].member, "id");
	assert_string_equal(t->columns[2].member, "updatedAt");
	assert_null(t->columns[3].document);

	assert_key(s, "ent", DB_KEY_UNIQUE, "id");
	assert_key(s, "composite", DB_KEY_UNIQUE, "b,a");
	assert_key(s, "uniq", DB_KEY_UNIQUE, "c,b");
	assert_key(s, "indexed", DB_KEY_INDEX, "b,a");
	assert_key(s, "nokey", DB_KEY_NONE, "");
	/* inherited rows belong to the child only */
	struct rows rows = read_table(c, table_of(s, "parent"), false);
	assert_int_equal(rows.n, 1);
	free_rows(&rows);
	ok(D->commit(c, &e));
	db_schema_free(s);
	D->close(c);
	drop_database("ms_describe");
}

static void test_refuse_what_is_not_kept(void **state)
{
	(void)state;
	struct db_schema *s = NULL;
	make_database("ms_refuse");
	struct db_conn *c = open_db("ms_refuse");
	sql_do("ms_refuse", "CREATE TABLE t (a int); SELECT lo_create(0)");
	refused(D->begin(c, DB_READ, &s, &e), ENOTSUP, "large object");
	sql_do("ms_refuse", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata;"
			    "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
			    "CREATE FOREIGN TABLE far (a text) SERVER files OPTIONS (filename '/dev/null')");
	refused(D->begin(c, DB_READ, &s, &e), ENOTSUP, "far is a foreign table");
	sql_do("ms_refuse", "DROP FOREIGN TABLE far; CREATE SCHEMA other; CREATE TABLE p (a int) PARTITION BY LIST (a);"
			    "CREATE TABLE other.p1 PARTITION OF p FOR VALUES IN (1)");
	refused(D->begin(c, DB_READ, &s, &e), ENOTSUP, "two schemas");
	sql_do("ms_refuse", "DROP TABLE p");
	db_schema_free(begin(c, DB_READ));
	D->close(c);

	struct db_params p = admin;
	p.database = (char *)"ms_refuse";
	p.schema = (char *)"nowhere";
	ok(D->open(&c, &p, &e));
	refused(D->begin(c, DB_READ, &s, &e), EINVAL, "no schema nowhere");
	D->close(c);
	drop_database("ms_refuse");
}

/* ---- values ---- */

static const char values_sql[] =
    "CREATE TABLE vals (k text PRIMARY KEY, b bytea, j json, jb jsonb, n numeric, f4 float4, f8 float8, t text, ts "
    "timestamp,"
    " a text[], bo bool, c char(5), i interval, r int4range, m money, \"char\" \"char\");"
    "INSERT INTO vals (k, b) SELECT 'all bytes', decode(string_agg(lpad(to_hex(i), 2, '0'), ''), 'hex') FROM "
    "generate_series(0, 255) i;"
    "INSERT INTO vals (k, b, t, j) VALUES ('empty', '', '', '{}'), ('null', NULL, NULL, NULL);"
    "INSERT INTO vals (k, t) VALUES ('bs N', '\\N'), ('dot', '\\.'), ('word null', 'NULL'), ('control', "
    "E'\\b\\f\\n\\r\\t\\x0b\\x01\\x7f'),"
    " ('escapes', '\\n\\t\\\\x'), ('emoji', U&'\\+01F600 e\\0301 \\+10FFFF \\05D0'), ('spaces', '  x  ');"
    "INSERT INTO vals (k, j, jb) VALUES ('json', E'{ \"b\" : 1.10,\\n\\t\"b\":2, \"a\": \"\\\\u0000\" } ', '{\"z\": "
    "1.10, \"a\": 12345678901234567890123}');"
    "INSERT INTO vals (k, n, f4, f8, ts) VALUES ('nan', 'NaN', 'NaN', 'NaN', 'infinity'), ('inf', NULL, '-Infinity', "
    "'Infinity', '-infinity'),"
    " ('extreme', 1e400, 1.17549435e-38, 1.7976931348623157e308, '4713-01-01 BC'), ('small', -0.00, 16777217, 5e-324, "
    "'2025-10-26 00:30:00.000001'),"
    " ('negative zero', 1.00, '-0', '-0', NULL), ('sum', 0.1, 0.1, 0.1::float8 + 0.2, NULL);"
    "INSERT INTO vals (k, a, bo, c, i, r, m, \"char\") VALUES ('others', E'[0:1]={NULL,\"a \\\\\"b\\\\\\\\,{}\"}', "
    "true, 'ab', '1 mon -2 days 03:04:05.000006', '[1,9)', '-12.34', 'x'),"
    " ('others2', '{}', false, '', '0', 'empty', 0, '');"
    "INSERT INTO vals (k, t) VALUES ('long', repeat('0123456789' || E'\\t\\\\', 100000));";

static void test_values_are_exact(void **state)
{
	(void)state;
	make_database("ms_values");
	sql_do("ms_values", values_sql);
	sql_do("ms_values",
	       "CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;"
	       "CREATE TABLE computed (g int GENERATED ALWAYS AS (1) STORED); INSERT INTO computed DEFAULT VALUES;");
	/* what a session may have set must not show in the rows */
	sql_do(
	    "ms_values",
	    "ALTER DATABASE ms_values SET datestyle = 'German'; ALTER DATABASE ms_values SET bytea_output = 'escape';"
	    "ALTER DATABASE ms_values SET extra_float_digits = -5; ALTER DATABASE ms_values SET intervalstyle = "
	    "'iso_8601';"
	    "ALTER DATABASE ms_values SET statement_timeout = '20ms'; ALTER DATABASE ms_values SET timezone = "
	    "'Europe/Berlin';"
	    "ALTER DATABASE ms_values SET client_encoding = 'LATIN1';"
	    "ALTER DATABASE ms_values SET default_transaction_isolation = 'serializable'");
	_cleanup_free_ char *before = dump("ms_values", "--data-only");
	struct db_conn *c = open_db("ms_values");
	struct copy copy = take_copy(c);
	size_t i = (size_t)(table_of(copy.schema, "vals") - copy.schema->tables);
	const struct rows *rows = &copy.tables[i];
	char bytes[256];
	for (int b = 0; b < 256; b++)
		bytes[b] = (char)b;
	assert_value(&find_row(rows, 0, "all bytes")[1], bytes, 256);
	assert_value(&find_row(rows, 0, "empty")[1], "", 0);
	assert_value(&find_row(rows, 0, "empty")[7], "", 0);
	assert_null(find_row(rows, 0, "null")[1].data);
	assert_null(find_row(rows, 0, "null")[7].data);
	assert_null(find_row(rows, 0, "null")[2].data);
	assert_value(&find_row(rows, 0, "bs N")[7], "\\N", 2);
	assert_value(&find_row(rows, 0, "dot")[7], "\\.", 2);
	assert_value(&find_row(rows, 0, "word null")[7], "NULL", 4);
	assert_value(&find_row(rows, 0, "control")[7], "\b\f\n\r\t\v\x01\x7f", 8);
	assert_value(&find_row(rows, 0, "escapes")[7], "\\n\\t\\\\x", 7);
	assert_value(&find_row(rows, 0, "emoji")[7], "\xF0\x9F\x98\x80 e\xCC\x81 \xF4\x8F\xBF\xBF \xD7\x90", 16);
	static const char json[] = "{ \"b\" : 1.10,\n\t\"b\":2, \"a\": \"\\u0000\" } ";
	assert_value(&find_row(rows, 0, "json")[2], json, sizeof json - 1);
	static const char jsonb[] = "{\"a\": 12345678901234567890123, \"z\": 1.10}";
	assert_value(&find_row(rows, 0, "json")[3], jsonb, sizeof jsonb - 1);
	assert_value(&find_row(rows, 0, "nan")[4], "NaN", 3);
	assert_value(&find_row(rows, 0, "nan")[8], "infinity", 8);
	assert_value(&find_row(rows, 0, "inf")[5], "-Infinity", 9);
	assert_value(&find_row(rows, 0, "extreme")[5], "1.1754944e-38", 13);
	assert_value(&find_row(rows, 0, "extreme")[6], "1.7976931348623157e+308", 23);
	assert_value(&find_row(rows, 0, "extreme")[8], "4713-01-01 00:00:00 BC", 22);
	assert_value(&find_row(rows, 0, "small")[6], "5e-324", 6);
	assert_value(&find_row(rows, 0, "small")[5], "1.6777216e+07", 13);
	assert_value(&find_row(rows, 0, "negative zero")[4], "1.00", 4);
	assert_value(&find_row(rows, 0, "negative zero")[6], "-0", 2);
	assert_value(&find_row(rows, 0, "sum")[6], "0.30000000000000004", 19);
	static const char array[] = "[0:1]={NULL,\"a \\\"b\\\\,{}\"}";
	assert_value(&find_row(rows, 0, "others")[9], array, sizeof array - 1);
	assert_value(&find_row(rows, 0, "others")[10], "t", 1);
	assert_value(&find_row(rows, 0, "others")[11], "ab   ", 5);
	assert_int_equal(find_row(rows, 0, "long")[7].len, 1200000);
	assert_int_equal(copy.tables[table_of(copy.schema, "nothing") - copy.schema->tables].n, 2);

	/* and the way back */
	_cleanup_strbuf_ struct strbuf warnings = {0};
	rebuild(c, &copy, false, &warnings);
	ok(D->commit(c, &e));
	assert_string_equal(strbuf_str(&warnings), "");
	_cleanup_free_ char *after = dump("ms_values", "--data-only");
	assert_same_text(before, after);
	free_copy(&copy);
	D->close(c);
	drop_database("ms_values");
}

static void test_scan_order(void **state)
{
	(void)state;
	make_database("ms_order");
	sql_do("ms_order",
	       "CREATE TABLE t (a text COLLATE \"C\", b int, j jsonb DEFAULT '{}', PRIMARY KEY (a, b));"
	       "INSERT INTO t (a, b) SELECT md5((i % 100)::text), i FROM generate_series(1, 20000) i;"
	       "CREATE TABLE g (id text COLLATE \"C\" GENERATED ALWAYS AS (j ->> 'id') STORED PRIMARY KEY, j jsonb, x "
	       "text);"
	       "INSERT INTO g (j) SELECT jsonb_build_object('id', md5(i::text)) FROM generate_series(1, 1000) i;"
	       "CREATE TABLE k (a int); ANALYZE");
	struct db_conn *c = open_db("ms_order");
	struct db_schema *s = begin(c, DB_READ);
	struct rows rows = read_table(c, table_of(s, "t"), true);
	assert_int_equal(rows.n, 20000);
	for (size_t i = 1; i < rows.n; i++) {
		const struct db_value *a = rows.list[i - 1].values, *b = rows.list[i].values;
		int order = strcmp(a[0].data, b[0].data);
		assert_true(order < 0 || (!order && atoi(a[1].data) < atoi(b[1].data)));
	}
	free_rows(&rows);
	/* generated key columns come after the others */
	rows = read_table(c, table_of(s, "g"), true);
	assert_int_equal(rows.n_values, 3);
	for (size_t i = 0; i < rows.n; i++) {
		assert_memory_equal(rows.list[i].values[0].data, "{\"id\": \"", 8);
		assert_memory_equal(rows.list[i].values[0].data + 8, rows.list[i].values[2].data, 32);
		assert_null(rows.list[i].values[1].data);
		assert_true(!i || strcmp(rows.list[i - 1].values[2].data, rows.list[i].values[2].data) < 0);
	}
	free_rows(&rows);
	/* keys by themselves, in the same order */
	ok(D->scan_open(c, table_of(s, "g"), DB_SCAN_KEYS, &e));
	struct rows keys = read_scan(c, table_of(s, "g"), 1);
	rows = read_table(c, table_of(s, "g"), true);
	assert_int_equal(keys.n, 1000);
	for (size_t i = 0; i < keys.n; i++)
		assert_string_equal(keys.list[i].values[0].data, rows.list[i].values[2].data);
	free_rows(&keys);
	free_rows(&rows);
	ok(D->scan_open(c, table_of(s, "t"), DB_SCAN_KEYS, &e));
	keys = read_scan(c, table_of(s, "t"), 2);
	rows = read_table(c, table_of(s, "t"), true);
	assert_int_equal(keys.n, 20000);
	for (size_t i = 0; i < keys.n; i++)
		for (size_t k = 0; k < 2; k++)
			assert_string_equal(keys.list[i].values[k].data, rows.list[i].values[k].data);
	free_rows(&keys);
	free_rows(&rows);
	refused(D->scan_open(c, table_of(s, "k"), DB_SCAN_KEYS, &e), EOPNOTSUPP, "no key");
	/* a scan may be left half-way, and the transaction goes on */
	const struct db_value *v;
	for (int i = 0; i < 3; i++) {
		ok(D->scan_open(c, table_of(s, "t"), i % 2 ? DB_SCAN_ORDERED : DB_SCAN_UNORDERED, &e));
		assert_int_equal(D->scan_next(c, &v, ERR_DROP), 1);
		ok(D->scan_close(c, &e));
	}
	rows = read_table(c, table_of(s, "t"), false);
	assert_int_equal(rows.n, 20000);
	free_rows(&rows);
	ok(D->finish(c, s, &e));
	ok(D->commit(c, &e));
	db_schema_free(s);
	D->close(c);
	drop_database("ms_order");
}

/* ---- one moment ---- */

static void test_one_moment(void **state)
{
	(void)state;
	make_database("ms_moment");
	sql_do(
	    "ms_moment",
	    "CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (i int); INSERT INTO a SELECT generate_series(1, 10);"
	    "INSERT INTO b SELECT generate_series(1, 10)");
	struct db_conn *c = open_db("ms_moment"), *worker = open_db("ms_moment");
	struct db_schema *s = begin(c, DB_READ);
	PGconn *other = sql_connect("ms_moment");
	sql_on(other, "SET lock_timeout = '200ms'; INSERT INTO a SELECT generate_series(11, 20); DELETE FROM b");
	/* a TRUNCATE would read as an empty table: it has to wait, and so has every change of a definition */
	assert_string_equal(sql_state(other, "TRUNCATE b"), "55P03");
	assert_string_equal(sql_state(other, "ALTER TABLE a ADD COLUMN x int"), "55P03");
	assert_string_equal(sql_state(other, "DROP TABLE a"), "55P03");
	ok(D->begin_like(worker, c, s, &e));
	for (size_t i = 0; i < s->n_tables; i++) {
		struct rows rows = read_table(c, &s->tables[i], false), same = read_table(worker, &s->tables[i], true);
		assert_int_equal(rows.n, 10);
		assert_int_equal(same.n, 10);
		free_rows(&rows);
		free_rows(&same);
	}
	ok(D->commit(worker, &e));
	ok(D->commit(c, &e));
	sql_on(other, "TRUNCATE b");
	db_schema_free(s);

	/* writing: readers go on, writers wait; a second restore is told so */
	s = begin(c, DB_WRITE);
	struct db_schema *none = NULL;
	refused(D->begin(worker, DB_WRITE, &none, &e), EBUSY, "another restore");
	assert_string_equal(sql_state(other, "SELECT * FROM a"), "");
	assert_string_equal(sql_state(other, "INSERT INTO a VALUES (100)"), "55P03");
	db_schema_free(begin(worker, DB_READ));
	D->rollback(worker);
	D->rollback(c);
	db_schema_free(s);
	assert_string_equal(sql_state(other, "INSERT INTO a VALUES (100)"), "");
	db_schema_free(begin(worker, DB_WRITE));
	D->rollback(worker);
	PQfinish(other);
	D->close(worker);
	D->close(c);
	drop_database("ms_moment");
}

struct ddl_storm {
	atomic_bool stop;
	atomic_int rounds;
};

static void *ddl_thread(void *arg)
{
	struct ddl_storm *storm = arg;
	PGconn *pg = sql_connect("ms_storm");
	while (!storm->stop) {
		/* each of them leaves table t with 100 rows: whatever the moment, a snapshot must see 100 */
		PQclear(PQexec(pg, "BEGIN; TRUNCATE t; INSERT INTO t SELECT generate_series(1, 100); COMMIT"));
		PQclear(PQexec(pg, "BEGIN; CREATE TABLE t2 (i int); INSERT INTO t2 SELECT generate_series(1, 100);"
				   "DROP TABLE t; ALTER TABLE t2 RENAME TO t; COMMIT"));
		storm->rounds++;
	}
	PQfinish(pg);
	return NULL;
}

static void test_one_moment_under_ddl(void **state)
{
	(void)state;
	make_database("ms_storm");
	sql_do("ms_storm", "CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 100)");
	struct ddl_storm storm = {0};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, ddl_thread, &storm), 0);
	struct db_conn *c = open_db("ms_storm");
	int taken = 0, again = 0;
	while (taken < 60 && again < 2000) {
		struct db_schema *s = NULL;
		struct err words = ERR_INIT;
		int r = D->begin(c, DB_READ, &s, &words);
		if (r == -EAGAIN) {
			again++;
			continue;
		}
		if (r < 0)
			fail_msg("%s", words.msg);
		assert_int_equal(s->n_tables, 1);
		struct rows rows = read_table(c, &s->tables[0], false);
		assert_int_equal(rows.n, 100);
		free_rows(&rows);
		db_schema_free(s);
		ok(D->commit(c, &e));
		taken++;
	}
	storm.stop = true;
	(void)pthread_join(thread, NULL);
	print_message("  %d snapshots, %d given up, %d rounds of definitions\n", taken, again, (int)storm.rounds);
	assert_int_equal(taken, 60);
	D->close(c);
	drop_database("ms_storm");
}

static void test_lock_refused(void **state)
{
	(void)state;
	make_database("ms_lock");
	sql_do("ms_lock", "CREATE TABLE held (i int)");
	PGconn *other = sql_connect("ms_lock");
	sql_on(other, "SET application_name = 'the holder'; BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE");
	struct db_conn *c = open_db("ms_lock");
	struct db_schema *s = NULL;
	refused(D->begin(c, DB_READ, &s, &e), EBUSY, "the holder");
	sql_on(other, "ROLLBACK");
	db_schema_free(begin(c, DB_READ));
	PQfinish(other);
	D->close(c);
	drop_database("ms_lock");
}

/* ---- connections ---- */

static void test_connection_errors(void **state)
{
	(void)state;
	struct db_conn *c = NULL;
	struct db_params p = admin;
	p.password = (char *)"not-the-password";
	refused(D->open(&c, &p, &e), EACCES, "password authentication failed");
	assert_null(c);
	p = admin;
	p.database = (char *)"ms_no_such_database";
	refused(D->open(&c, &p, &e), EINVAL, "does not exist");
	p = admin;
	p.port = 1;
	refused(D->open(&c, &p, &e), ECONNREFUSED, "Connection refused");
	p = admin;
	p.host = (char *)"/nonexistent";
	refused(D->open(&c, &p, &e), ECONNREFUSED, "No such file");

	/* something that takes the connection and says nothing */
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	p = admin;
	p.port = ntohs(address.sin_port);
	p.connect_timeout_ms = 300;
	refused(D->open(&c, &p, &e), ETIMEDOUT, "in time");
}

struct canceller {
	struct db_conn *conn;
	PGconn *pg;
	bool waited; /* it stood in the queue for a table */
	time_t at;
};

static void *cancel_thread(void *arg)
{
	struct canceller *k = arg;
	k->waited = wait_for(k->pg,
			     "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
			     " AND application_name = 'metasnap' AND wait_event_type = 'Lock'",
			     "1");
	k->at = time(NULL);
	D->cancel(k->conn);
	return NULL;
}

static void test_cancel(void **state)
{
	(void)state;
	make_database("ms_cancel");
	sql_do("ms_cancel", "CREATE TABLE held (i int); CREATE TABLE big (t text);"
			    "INSERT INTO big SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
	PGconn *other = sql_connect("ms_cancel");
	sql_on(other, "BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE");
	struct db_conn *c = open_db("ms_cancel");
	struct db_schema *s = NULL;
	pthread_t thread;
	struct canceller k = {.conn = c, .pg = sql_connect("ms_cancel")};
	assert_int_equal(pthread_create(&thread, NULL, cancel_thread, &k), 0);
	refused(D->begin(c, DB_READ, &s, &e), EINTR, "cancelled");
	time_t after = time(NULL);
	(void)pthread_join(thread, NULL);
	PQfinish(k.pg);
	assert_true(k.waited);
	assert_true(after - k.at < 5); /* the lock's timeout is 10 s */
	sql_on(other, "ROLLBACK");
	/* until rollback every call says so; then the connection is as new */
	refused(D->begin(c, DB_READ, &s, &e), EINTR, "cancelled");
	D->rollback(c);
	s = begin(c, DB_READ);
	const struct db_value *v;
	ok(D->scan_open(c, table_of(s, "big"), DB_SCAN_UNORDERED, &e));
	assert_int_equal(D->scan_next(c, &v, ERR_DROP), 1);
	D->cancel(c);
	refused(D->scan_next(c, &v, &e), EINTR, "big: cancelled");
	assert_int_equal(D->scan_close(c, ERR_DROP), -EINTR);
	D->rollback(c);
	db_schema_free(s);
	s = begin(c, DB_READ);
	struct rows rows = read_table(c, table_of(s, "big"), false);
	assert_int_equal(rows.n, 20000);
	free_rows(&rows);
	struct strbuf sql = {0};
	D->cancel(c);
	refused(D->schema_sql(c, s, &sql, &e), EINTR, "cancelled");
	strbuf_done(&sql);
	D->rollback(c);
	db_schema_free(s);

	/* a server that goes away */
	s = begin(c, DB_WRITE);
	sql_on(other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'metasnap'"
		      " AND datname = current_database()");
	wait_for_no_session("ms_cancel");
	refused(D->commit(c, &e), ECONNRESET, "COMMIT");
	db_schema_free(s);
	D->rollback(c);
	D->close(c);
	PQfinish(other);
	drop_database("ms_cancel");
}

/* ---- schema text ---- */

/* The shapes of an OpenMetadata database and some that are harder. */
static const char shapes_sql[] =
    "CREATE EXTENSION pg_trgm; CREATE EXTENSION pgcrypto;"
    "CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy'); CREATE DOMAIN short AS varchar(10) CHECK (length(VALUE) > "
    "1);"
    "CREATE TYPE pair AS (a int, b text);"
    "CREATE FUNCTION to_tz_timestamp(bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS"
    " $$ SELECT to_timestamp($1 / 1000) -- a comment; with a semicolon\n"
    "--\n-- Name: trap; Type: INDEX; Schema: public; Owner: nobody\n--\n $$;"
    "CREATE FUNCTION plus_one(a int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT CASE WHEN a > 0 THEN a + 1 "
    "ELSE a END; END;"
    "CREATE TABLE table_entity (id varchar(36) GENERATED ALWAYS AS (json ->> 'id') STORED NOT NULL, json jsonb NOT "
    "NULL,"
    " updatedat bigint GENERATED ALWAYS AS ((json ->> 'updatedAt')::bigint) STORED NOT NULL, fqnhash varchar(256),"
    " deleted boolean GENERATED ALWAYS AS ((json ->> 'deleted')::boolean) STORED, PRIMARY KEY (id), UNIQUE (fqnhash));"
    "CREATE INDEX table_name_idx ON table_entity USING gin ((json ->> 'name') gin_trgm_ops);"
    "CREATE INDEX table_hash_idx ON table_entity (fqnhash text_pattern_ops) INCLUDE (id) WHERE deleted;"
    "CREATE INDEX table_desc_idx ON table_entity (updatedat DESC NULLS LAST, id);"
    "INSERT INTO table_entity (json, fqnhash) SELECT jsonb_build_object('id', gen_random_uuid(), 'updatedAt', "
    "1700000000000 + i,"
    " 'name', 'table ' || i, 'deleted', i % 10 = 0, 'description', repeat('text ', 50)), md5(i::text) FROM "
    "generate_series(1, 500) i;"
    "CREATE TABLE old_json (json json NOT NULL, id text GENERATED ALWAYS AS (json ->> 'id') STORED PRIMARY KEY);"
    "INSERT INTO old_json (json) VALUES (' { \"id\" : \"1\" , \"x\": 1.10 }'), ('{\"id\":\"2\",\"id\":\"3\"}');"
    "CREATE TABLE entity_relationship (fromid varchar(36) NOT NULL, toid varchar(36) NOT NULL, relation smallint NOT "
    "NULL, json jsonb,"
    " PRIMARY KEY (fromid, toid, relation));"
    "INSERT INTO entity_relationship SELECT md5(i::text), md5((i + 1)::text), i % 20, NULL FROM generate_series(1, "
    "1000) i;"
    "CREATE TABLE tag_usage (source smallint NOT NULL, tagfqn varchar(256) NOT NULL, targetfqn varchar(256) NOT NULL, "
    "state smallint,"
    " UNIQUE (source, tagfqn, targetfqn)); INSERT INTO tag_usage SELECT i % 3, 't' || i, 'x', NULL FROM "
    "generate_series(1, 50) i;"
    "CREATE TABLE change_event (eventtype text, json jsonb NOT NULL); INSERT INTO change_event VALUES ('a', '{}'), "
    "('a', '{}'), (NULL, '[]');"
    "CREATE TABLE series (id int, json json); CREATE INDEX series_idx ON series (id);"
    "INSERT INTO series VALUES (1, '1'), (1, '1'), (NULL, '{}');"
    "CREATE SEQUENCE change_event_offset_seq AS integer START 5; SELECT setval('change_event_offset_seq', 77, true);"
    "CREATE TABLE numbered (\"offset\" int DEFAULT nextval('change_event_offset_seq') PRIMARY KEY, a serial, b bigint "
    "GENERATED ALWAYS AS IDENTITY,"
    " c smallint GENERATED BY DEFAULT AS IDENTITY (START WITH 10 INCREMENT BY 5), \"timestamp\" bigint);"
    "ALTER SEQUENCE change_event_offset_seq OWNED BY numbered.\"offset\";"
    "INSERT INTO numbered (\"timestamp\") VALUES (1), (2), (3); CREATE SEQUENCE untouched MINVALUE -5 START 9 CYCLE "
    "CACHE 3;"
    "CREATE TABLE node (id int PRIMARY KEY, parent int REFERENCES node ON DELETE CASCADE, best int);"
    "CREATE TABLE other_node (id int PRIMARY KEY, node int NOT NULL REFERENCES node ON DELETE CASCADE DEFERRABLE "
    "INITIALLY DEFERRED);"
    "ALTER TABLE node ADD CONSTRAINT node_best FOREIGN KEY (best) REFERENCES other_node ON DELETE CASCADE;"
    "COMMENT ON CONSTRAINT node_best ON node IS 'the best; of ''all''';"
    "INSERT INTO node VALUES (1, NULL, NULL), (2, 1, NULL), (3, 3, NULL); INSERT INTO other_node VALUES (10, 1), (20, "
    "2);"
    "UPDATE node SET best = 20 WHERE id = 1;"
    "CREATE TABLE qrtz_triggers (sched text, name text, grp text, data bytea, m mood DEFAULT 'happy', s short, p pair, "
    "PRIMARY KEY (sched, name, grp));"
    "CREATE TABLE qrtz_cron (sched text, name text, grp text, cron text CHECK (length(cron) > 2), PRIMARY KEY (sched, "
    "name, grp),"
    " FOREIGN KEY (sched, name, grp) REFERENCES qrtz_triggers ON DELETE CASCADE);"
    "INSERT INTO qrtz_triggers VALUES ('s', 'n', 'g', '\\x00ff5c', 'it''s ok', 'xy', '(1,\"a,b\")'); INSERT INTO "
    "qrtz_cron VALUES ('s', 'n', 'g', '* * *');"
    "ALTER TABLE qrtz_cron ADD CONSTRAINT late CHECK (cron <> 'never') NOT VALID;"
    "CREATE TABLE measurement (id int NOT NULL, at date NOT NULL, v numeric, PRIMARY KEY (id, at)) PARTITION BY RANGE "
    "(at);"
    "CREATE TABLE measurement_2020 PARTITION OF measurement FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');"
    "CREATE TABLE measurement_rest PARTITION OF measurement DEFAULT; CREATE INDEX measurement_v ON measurement (v);"
    "INSERT INTO measurement SELECT i, '2020-12-01'::date + i, i / 7.0 FROM generate_series(1, 60) i;"
    "CREATE VIEW names AS SELECT id, json ->> 'name' AS name FROM table_entity; CREATE VIEW names2 AS SELECT * FROM "
    "names WHERE name % 'table 1';"
    "CREATE VIEW grouped AS SELECT id, fqnhash FROM table_entity GROUP BY id;"
    "CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS n FROM names; CREATE UNIQUE INDEX counts_n ON counts (n);"
    "CREATE MATERIALIZED VIEW \"Counts 2\" AS SELECT n + 1 AS m FROM counts;"
    "CREATE FUNCTION row_taker(t table_entity) RETURNS text LANGUAGE sql AS 'SELECT $1.id';"
    "CREATE FUNCTION check_me(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';"
    "CREATE TABLE checked (a text CHECK (check_me(a)), b int DEFAULT plus_one(1)); CREATE TABLE log (what text, n int);"
    "CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.log VALUES (TG_OP, "
    "1); RETURN COALESCE(NEW, OLD); END; $f$;"
    "CREATE TRIGGER log_it BEFORE INSERT OR UPDATE OR DELETE ON node FOR EACH ROW EXECUTE FUNCTION on_change();"
    "CREATE TRIGGER log_always AFTER INSERT OR DELETE ON node FOR EACH ROW EXECUTE FUNCTION on_change(); ALTER TABLE "
    "node ENABLE ALWAYS TRIGGER log_always;"
    "CREATE TRIGGER log_off AFTER INSERT ON node FOR EACH ROW EXECUTE FUNCTION on_change(); ALTER TABLE node DISABLE "
    "TRIGGER log_off;"
    "CREATE TRIGGER log_replica AFTER DELETE ON tag_usage FOR EACH STATEMENT EXECUTE FUNCTION on_change(); ALTER TABLE "
    "tag_usage ENABLE REPLICA TRIGGER log_replica;"
    "CREATE RULE keep AS ON DELETE TO entity_relationship DO ALSO INSERT INTO log VALUES ('rule', 2);"
    "CREATE AGGREGATE longest(text) (SFUNC = textcat, STYPE = text, INITCOND = '');"
    "CREATE PROCEDURE nothing() LANGUAGE sql AS ''; CREATE STATISTICS both_stats ON fromid, toid FROM "
    "entity_relationship;"
    "COMMENT ON TABLE node IS E'line one\\nline; two'; COMMENT ON COLUMN node.id IS 'it''s';"
    "CREATE TABLE \"Odd \"\"; name\" (\"a b\" int PRIMARY KEY, \"sel;ect\" text DEFAULT 'x;'';--'); INSERT INTO \"Odd "
    "\"\"; name\" VALUES (1);"
    "ALTER TABLE node ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_it ON node USING (true);"
    "CREATE COLLATION numeric_c (provider = icu, locale = 'en-u-kn-true');"
    "CREATE TABLE server_change_log (installed_rank int, version varchar(256) PRIMARY KEY); INSERT INTO "
    "server_change_log VALUES (1, '1.4.0'), (2, '1.4.1');";

/* Until so many pg_dumps are connected to ms_text. */
static void wait_for_dumps(const char *wanted)
{
	PGconn *pg = sql_connect("postgres");
	if (!wait_for(
		pg, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'ms_text' AND application_name = 'pg_dump'",
		wanted))
		fail_msg("there are not %s pg_dumps", wanted);
	PQfinish(pg);
}

static void test_schema_text(void **state)
{
	(void)state;
	make_database("ms_text");
	sql_do("ms_text", shapes_sql);
	struct db_conn *c = open_db("ms_text");
	struct db_schema *s = begin(c, DB_READ);
	_cleanup_strbuf_ struct strbuf a = {0}, b = {0};
	ok(D->schema_sql(c, s, &a, &e));
	ok(D->commit(c, &e));
	db_schema_free(s);
	/* neither rows nor sequences show in it */
	sql_do("ms_text", "SELECT nextval('untouched'); INSERT INTO numbered DEFAULT VALUES; DELETE FROM change_event");
	s = begin(c, DB_WRITE);
	ok(D->schema_sql(c, s, &b, &e));
	D->rollback(c);
	db_schema_free(s);
	assert_same_text(strbuf_str(&a), strbuf_str(&b));
	assert_null(strstr(strbuf_str(&a), "\n\\"));
	assert_null(strstr(strbuf_str(&a), "-- Dumped"));
	assert_null(strstr(strbuf_str(&a), admin.password));
	assert_non_null(strstr(strbuf_str(&a), "CREATE EXTENSION IF NOT EXISTS pg_trgm"));
	assert_non_null(strstr(strbuf_str(&a), "ADD CONSTRAINT node_best FOREIGN KEY"));
	D->close(c);

	/* pg_dump runs from the beginning, waits with a text larger than its pipe, and ends with the transaction */
	_cleanup_free_ char *remark = xmalloc((4 << 20) + 1);
	memset(remark, 'x', 4 << 20);
	remark[4 << 20] = '\0';
	_cleanup_free_ char *comment = xasprintf("COMMENT ON TABLE log IS '%s'", remark);
	sql_do("ms_text", comment);
	c = open_db("ms_text");
	for (int wanted = 0; wanted < 2; wanted++) {
		s = begin(c, DB_READ);
		wait_for_dumps("1");
		struct rows rows = read_table(c, table_of(s, "node"), true);
		free_rows(&rows);
		strbuf_clear(&b);
		if (wanted)
			ok(D->schema_sql(c, s, &b, &e));
		assert_true(wanted ? b.len > (4 << 20) : !b.len);
		ok(D->commit(c, &e));
		db_schema_free(s);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left, not even a dead one */
		assert_int_equal(errno, ECHILD);
		wait_for_dumps("0");
	}
	D->close(c);

	/* an excluded table is not in it, nor is its sequence */
	char *exclude[] = {(char *)"numb*", NULL};
	c = open_as("ms_text", admin.user, admin.password, exclude);
	s = begin(c, DB_READ);
	strbuf_clear(&b);
	ok(D->schema_sql(c, s, &b, &e));
	assert_null(strstr(strbuf_str(&b), "CREATE TABLE public.numbered"));
	assert_null(strstr(strbuf_str(&b), "change_event_offset_seq"));
	assert_int_equal(s->n_sequences, 1);
	D->close(c);
	db_schema_free(s);
	drop_database("ms_text");
}

/* ---- rebuild ---- */

static const char drop_all_tables[] =
    "DO $$ DECLARE t text; BEGIN FOR t IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' LOOP"
    " EXECUTE 'DROP TABLE IF EXISTS public.' || t || ' CASCADE'; END LOOP; END $$";

static void test_rebuild(void **state)
{
	(void)state;
	static const struct {
		const char *what, *sql;
	} targets[] = {
	    {"all tables dropped", drop_all_tables},
	    {"schema dropped and created", "DROP SCHEMA public CASCADE; CREATE SCHEMA public"},
	    {"schema dropped", "DROP SCHEMA public CASCADE"},
	    {"nothing changed", "SELECT 1"},
	    {"definitions changed",
	     "ALTER TABLE node ADD COLUMN more int; CREATE TABLE newer (a int REFERENCES node, b mood);"
	     "CREATE VIEW newer_view AS SELECT * FROM newer; DROP VIEW grouped; ALTER TYPE mood ADD VALUE 'angry';"
	     "CREATE FUNCTION newer_function(newer) RETURNS int LANGUAGE sql AS 'SELECT 1';"
	     "ALTER TABLE newer ADD CHECK (plus_one(a) > 0); UPDATE table_entity SET fqnhash = fqnhash || 'x'"},
	};
	make_database("ms_source");
	sql_do("ms_source", shapes_sql);
	_cleanup_free_ char *before = dump("ms_source", "");
	struct db_conn *c = open_db("ms_source");
	struct copy copy = take_copy(c);
	D->close(c);
	for (size_t i = 0; i < 2 * sizeof targets / sizeof targets[0]; i++) {
		bool beside = i % 2;
		print_message("  %s%s\n", targets[i / 2].what, beside ? ", tables made beside" : "");
		sql_do("ms_source", targets[i / 2].sql);
		_cleanup_strbuf_ struct strbuf warnings = {0};
		c = open_db("ms_source");
		size_t n = rebuild(c, &copy, beside, &warnings);
		assert_true(beside && i / 2 < 3 ? n >= 5 && n < copy.schema->n_tables
			    : i / 2 < 3         ? n == 0
						: n <= copy.schema->n_tables);
		ok(D->commit(c, &e));
		assert_sql("ms_source", "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'metasnap%'", "0");
		assert_string_equal(strbuf_str(&warnings), "");
		_cleanup_free_ char *after = dump("ms_source", "");
		assert_same_text(before, after);
		assert_sql("ms_source",
			   "SELECT (SELECT n FROM counts) || ' ' || (SELECT m FROM \"Counts 2\") || ' ' || (SELECT "
			   "count(*) FROM log)",
			   "500 501 0");
		/* and our own text of it is the same as well */
		struct db_schema *s = begin(c, DB_READ);
		_cleanup_strbuf_ struct strbuf text = {0};
		ok(D->schema_sql(c, s, &text, &e));
		assert_same_text(strbuf_str(&copy.sql), strbuf_str(&text));
		db_schema_free(s);
		D->close(c);
	}
	/* a fresh database */
	make_database("ms_target");
	_cleanup_strbuf_ struct strbuf warnings = {0};
	c = open_db("ms_target");
	rebuild(c, &copy, true, &warnings);
	ok(D->commit(c, &e));
	D->close(c);
	_cleanup_free_ char *after = dump("ms_target", "");
	assert_same_text(before, after);
	free_copy(&copy);
	drop_database("ms_target");
	drop_database("ms_source");
}

static void test_rebuild_undone(void **state)
{
	(void)state;
	make_database("ms_undo");
	sql_do("ms_undo", shapes_sql);
	struct db_conn *c = open_db("ms_undo");
	struct copy copy = take_copy(c);
	sql_do("ms_undo", "DROP TABLE tag_usage; CREATE TABLE newer (a serial); INSERT INTO newer DEFAULT VALUES; "
			  "SELECT nextval('untouched')");
	_cleanup_free_ char *before = dump("ms_undo", "");
	_cleanup_strbuf_ struct strbuf warnings = {0};
	rebuild(c, &copy, false, &warnings);
	D->rollback(c);
	_cleanup_free_ char *after = dump("ms_undo", "");
	assert_same_text(before, after);

	/* tables made beside the schema stay behind until settle; what only looks like ours stays */
	rebuild(c, &copy, true, &warnings);
	D->rollback(c);
	assert_sql("ms_undo", "SELECT count(*) FROM pg_namespace WHERE nspname = 'metasnap_restore_public'", "1");
	ok(D->settle(c, &e));
	_cleanup_free_ char *settled = dump("ms_undo", "");
	assert_same_text(before, settled);
	sql_do("ms_undo", "CREATE SCHEMA metasnap_restore_public; CREATE TABLE metasnap_restore_public.t (a int)");
	ok(D->settle(c, &e));
	assert_int_equal(rebuild(c, &copy, true, &warnings), 0);
	D->rollback(c);
	assert_sql("ms_undo", "SELECT count(*) FROM metasnap_restore_public.t", "0");
	sql_do("ms_undo", "DROP SCHEMA metasnap_restore_public CASCADE");

	/* another writer got at a table before it was held, or reads it only afterwards */
	bool *set_aside = xcalloc(copy.schema->n_tables, sizeof *set_aside);
	const struct db_table *relation = table_of(copy.schema, "entity_relationship");
	size_t at = (size_t)(relation - copy.schema->tables);
	struct db_conn *worker = NULL;
	set_aside[at] = true;
	db_schema_free(begin(c, DB_WRITE));
	ok(D->aside_begin(c, copy.schema, strbuf_str(&copy.sql), set_aside, &e));
	assert_true(set_aside[at]);
	ok(D->aside_open(&worker, c, &e));
	ok(D->aside_table(worker, c, relation, &e));
	load_table(worker, relation, &copy.tables[at]);
	ok(D->aside_end(worker, c, relation, &e));
	refused(D->aside_hold(c, relation, copy.tables[at].n + 1, &e), EIO, "sees 1000 of the 1001");
	PGconn *pg = sql_connect("ms_undo");
	sql_on(pg, "SET lock_timeout = 100");
	assert_string_equal(sql_state(pg, "DELETE FROM metasnap_restore_public.entity_relationship"), "55P03");
	PQfinish(pg);
	struct db_conn *other = open_db("ms_undo");
	ok(D->settle(other, &e)); /* not of a restore that runs */
	D->close(other);
	assert_sql("ms_undo", "SELECT count(*) FROM metasnap_restore_public.entity_relationship", "1000");
	D->close(worker);
	D->rollback(c);
	ok(D->settle(c, &e));
	free(set_aside);

	/* the connection lost half-way */
	struct db_objects o;
	struct db_schema *live = begin(c, DB_WRITE);
	compare(c, live, copy.schema, strbuf_str(&copy.sql), &o);
	ok(D->rebuild_begin(c, copy.schema, strbuf_str(&copy.sql), &o, &warnings, &e));
	ok(D->load_begin(c, table_of(copy.schema, "table_entity"), &e));
	D->close(c);
	db_schema_free(live);
	db_objects_done(&o);
	wait_for_no_session("ms_undo");
	_cleanup_free_ char *again = dump("ms_undo", "");
	assert_same_text(before, again);

	/* what hangs on the schema from outside is not dropped */
	sql_do("ms_undo", "CREATE SCHEMA reports; CREATE VIEW reports.v AS SELECT id FROM public.node;"
			  "ALTER TABLE node RENAME COLUMN id TO other_id");
	c = open_db("ms_undo");
	live = begin(c, DB_WRITE);
	compare(c, live, copy.schema, strbuf_str(&copy.sql), &o);
	assert_string_equal(o.refusal.msg, "view reports.v depends on table node, which must be made anew");
	refused(D->rebuild_begin(c, copy.schema, strbuf_str(&copy.sql), &o, &warnings, &e), EINVAL,
		"cannot be restored");
	D->rollback(c);
	db_objects_done(&o);
	sql_do("ms_undo", "DROP SCHEMA reports CASCADE; ALTER TABLE node RENAME COLUMN other_id TO id");
	/* a text that would end the transaction, one that ends too early, one that nobody compared */
	_cleanup_strbuf_ struct strbuf text = {0};
	db_schema_free(live);
	live = begin(c, DB_WRITE);
	ok(D->schema_sql(c, live, &text, &e));
	const struct db_definitions have = {live, strbuf_str(&text)}, ends = {copy.schema, "COMMIT;"},
				    inside = {copy.schema, "CREATE TABLE public.x (a int"};
	refused(D->compare(c, &have, &ends, NULL, &o, &e), EINVAL, "COMMIT");
	db_objects_done(&o);
	refused(D->compare(c, &have, &inside, NULL, &o, &e), EINVAL, "inside of a statement");
	db_objects_done(&o);
	refused(D->rebuild_begin(c, copy.schema, "", NULL, &warnings, &e), EINVAL, "not compared");
	D->close(c);
	db_schema_free(live);
	_cleanup_free_ char *still = dump("ms_undo", "");
	assert_same_text(before, still);
	free_copy(&copy);
	drop_database("ms_undo");
}

static void test_rebuild_leaves_excluded(void **state)
{
	(void)state;
	make_database("ms_excluded");
	sql_do("ms_excluded",
	       "CREATE TABLE keep_me (a serial PRIMARY KEY, t text); INSERT INTO keep_me (t) VALUES ('x'), ('y');"
	       "CREATE TABLE t (a serial, b int); INSERT INTO t (b) VALUES (1)");
	char *exclude[] = {(char *)"keep_*", NULL};
	struct db_conn *c = open_as("ms_excluded", admin.user, admin.password, exclude);
	struct copy copy = take_copy(c);
	assert_int_equal(copy.schema->n_tables, 1);
	_cleanup_free_ char *before = dump("ms_excluded", "");
	sql_do("ms_excluded", "DELETE FROM t; ALTER TABLE t ADD COLUMN c int");
	_cleanup_strbuf_ struct strbuf warnings = {0};
	rebuild(c, &copy, false, &warnings);
	ok(D->commit(c, &e));
	_cleanup_free_ char *after = dump("ms_excluded", "");
	assert_same_text(before, after);
	D->close(c);
	free_copy(&copy);
	drop_database("ms_excluded");
}

/* ---- change ---- */

static void change_nodes(struct db_conn *c)
{
	/* both parents are replaced, as a difference restore does it; their children must stay */
	struct db_schema *s = begin(c, DB_WRITE);
	const struct db_table *node = table_of(s, "node"), *relation = table_of(s, "entity_relationship");
	struct rows rows = read_table(c, node, false), relations = read_table(c, relation, false);
	ok(D->change_begin(c, s, &e));
	struct db_value keys[2] = {rows.list[0].values[0], rows.list[1].values[0]};
	ok(D->delete_keys(c, node, keys, 2, &e));
	ok(D->load_begin(c, node, &e));
	ok(D->load_row(c, rows.list[0].values, &e));
	ok(D->load_row(c, rows.list[1].values, &e));
	ok(D->load_end(c, true, &e));
	ok(D->delete_all(c, relation, &e));
	load_table(c, relation, &relations);
	ok(D->delete_all(c, table_of(s, "tag_usage"), &e));
	ok(D->change_end(c, NULL, NULL, &e));
	free_rows(&rows);
	free_rows(&relations);
	db_schema_free(s);
}

static void test_change(void **state)
{
	(void)state;
	make_database("ms_change");
	sql_do("ms_change", shapes_sql);
	sql_do("ms_change",
	       "DELETE FROM log; ALTER TABLE tag_usage DISABLE TRIGGER ALL; DELETE FROM tag_usage;"
	       "ALTER TABLE tag_usage ENABLE REPLICA TRIGGER log_replica; SET session_replication_role = replica;"
	       "INSERT INTO other_node VALUES (99, 1)");
	_cleanup_free_ char *schema = dump("ms_change", "--schema-only");
	struct db_conn *c = open_db("ms_change");
	change_nodes(c);
	ok(D->commit(c, &e));
	assert_sql("ms_change",
		   "SELECT string_agg(id || ':' || COALESCE(parent, 0) || ':' || COALESCE(best, 0), ' ' ORDER BY id) "
		   "FROM node",
		   "1:0:20 2:1:0 3:3:0");
	assert_sql("ms_change", "SELECT count(*) FROM other_node", "3");
	assert_sql("ms_change", "SELECT count(*) FROM entity_relationship", "1000");
	assert_sql("ms_change", "SELECT count(*) FROM log", "0");
	_cleanup_free_ char *same = dump("ms_change", "--schema-only");
	assert_same_text(schema, same);

	/* an orphan */
	_cleanup_free_ char *before = dump("ms_change", "");
	struct db_schema *s = begin(c, DB_WRITE);
	const struct db_table *node = table_of(s, "node");
	struct db_value key = {.data = "2", .len = 1};
	ok(D->change_begin(c, s, &e));
	ok(D->delete_keys(c, node, &key, 1, &e));
	refused(D->change_end(c, NULL, NULL, &e), EEXIST, "foreign key");
	D->rollback(c);
	/* a key that is not there */
	db_schema_free(s);
	s = begin(c, DB_WRITE);
	key.data = "7";
	ok(D->change_begin(c, s, &e));
	refused(D->delete_keys(c, table_of(s, "node"), &key, 1, &e), EIO, "deleted 0");
	D->rollback(c);
	db_schema_free(s);

	/* composite keys, generated keys, partitions and identity columns; all undone, sequences too */
	s = begin(c, DB_WRITE);
	ok(D->change_begin(c, s, &e));
	static const char *const tables[] = {
	    "entity_relationship", "table_entity", "qrtz_triggers", "measurement_2020", "numbered",
	    "Odd \"; name",        "old_json"};
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
		const struct db_table *t = table_of(s, tables[i]);
		struct rows rows = read_table(c, t, true);
		struct db_value *keys = xcalloc(rows.n * t->n_key, sizeof *keys);
		for (size_t row = 0; row < rows.n; row++) {
			size_t computed = rows.n_values;
			for (size_t k = t->n_key; k-- > 0;) {
				size_t place = 0;
				for (size_t x = 0; x < t->key[k]; x++)
					place += !t->columns[x].generated;
				if (t->columns[t->key[k]].generated)
					place = --computed;
				keys[row * t->n_key + k] = rows.list[row].values[place];
			}
		}
		ok(D->delete_keys(c, t, keys, rows.n, &e));
		struct rows none = read_table(c, t, false);
		assert_int_equal(none.n, 0);
		free_rows(&none);
		load_table(c, t, &rows);
		free(keys);
		free_rows(&rows);
	}
	ok(D->finish(c, s, &e));
	for (size_t i = 0; i < s->n_sequences; i++) {
		s->sequences[i].last_value += 100;
		s->sequences[i].is_called = i % 2;
	}
	ok(D->set_sequences(c, s, &e));
	struct db_schema copy = *s;
	copy.sequences = xcalloc(s->n_sequences, sizeof *copy.sequences);
	for (size_t i = 0; i < s->n_sequences; i++)
		copy.sequences[i].name = s->sequences[i].name;
	ok(D->finish(c, &copy, &e));
	for (size_t i = 0; i < s->n_sequences; i++) {
		assert_int_equal(copy.sequences[i].last_value, s->sequences[i].last_value);
		assert_int_equal(copy.sequences[i].is_called, s->sequences[i].is_called);
	}
	free(copy.sequences);
	ok(D->change_end(c, NULL, NULL, &e));
	D->rollback(c);
	_cleanup_free_ char *after = dump("ms_change", "");
	assert_same_text(before, after);
	db_schema_free(s);
	D->close(c);
	drop_database("ms_change");
}

/* What a restore of a difference may conclude from scan_written and from a deletion by keys. */
static void test_written(void **state)
{
	(void)state;
	make_database("ms_written");
	sql_do(
	    "ms_written",
	    "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t SELECT i, 'x' FROM generate_series(1, 1000) i;"
	    "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
	    "CREATE TABLE ci (k text COLLATE nocase PRIMARY KEY); INSERT INTO ci VALUES ('Straße'), ('b');"
	    "CREATE TABLE by (k bytea PRIMARY KEY); INSERT INTO by VALUES ('\\x00ff'), ('\\x');"
	    /* one that cannot be put away: a function of the type's, here of a constraint's */
	    "CREATE FUNCTION meddle(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN IF $1 = 2000 THEN BEGIN UPDATE "
	    "public.t SET b = 'meddled' WHERE a = 7; EXCEPTION WHEN division_by_zero THEN END; END IF; RETURN true;"
	    " END $$; ALTER TABLE t ADD CHECK (meddle(a))");
	struct db_conn *c = open_db("ms_written");
	struct db_schema *s = begin(c, DB_WRITE);
	const struct db_table *t = table_of(s, "t");
	ok(D->change_begin(c, s, &e));
	struct db_value key = {.data = "5", .len = 1};
	ok(D->delete_keys(c, t, &key, 1, &e));
	struct db_value five[] = {{.data = "5", .len = 1}, {.data = "new", .len = 3}};
	ok(D->load_begin(c, t, &e));
	ok(D->load_row(c, five, &e));
	ok(D->load_end(c, true, &e));
	ok(D->change_end(c, NULL, NULL, &e));
	uint64_t others = 0;
	const struct db_value *v;
	ok(D->scan_written(c, t, &others, &e));
	assert_int_equal(others, 999);
	ok(D->scan_next(c, &v, &e));
	assert_value(&v[1], "new", 3);
	ok(D->scan_next(c, &v, &e));
	assert_null(v);
	ok(D->scan_close(c, &e));
	D->rollback(c);
	db_schema_free(s);

	/* a row that somebody changed in a subtransaction of ours is one of those written */
	s = begin(c, DB_WRITE);
	t = table_of(s, "t");
	struct db_value more[] = {{.data = "2000", .len = 4}, {.data = "new", .len = 3}};
	ok(D->change_begin(c, s, &e));
	ok(D->load_begin(c, t, &e));
	ok(D->load_row(c, more, &e));
	ok(D->load_end(c, true, &e));
	ok(D->change_end(c, NULL, NULL, &e));
	ok(D->scan_written(c, t, &others, &e));
	assert_int_equal(others, 999);
	int written = 0;
	for (v = more; v; written += v != NULL)
		ok(D->scan_next(c, &v, &e));
	assert_int_equal(written, 2);
	ok(D->scan_close(c, &e));

	/* equal, but not the same */
	struct db_value other = {.data = "STRA\xc3\x9f"
					 "E",
				 .len = 7},
			same = {.data = "b", .len = 1};
	struct db_value bytes[] = {{.data = "\0\xff", .len = 2}, {.data = "", .len = 0}};
	ok(D->delete_keys(c, table_of(s, "by"), bytes, 2, &e));
	ok(D->delete_keys(c, table_of(s, "ci"), &same, 1, &e));
	refused(D->delete_keys(c, table_of(s, "ci"), &other, 1, &e), EIO, "another row");
	D->rollback(c);
	db_schema_free(s);
	D->close(c);
	drop_database("ms_written");
}

static void test_without_superuser(void **state)
{
	(void)state;
	make_database("ms_owner");
	/* a role that owns nothing but its database, as hosted servers give it */
	PGconn *pg = sql_connect("postgres");
	PQclear(PQexec(pg, "DROP ROLE IF EXISTS ms_plain"));
	sql_on(pg, "CREATE ROLE ms_plain LOGIN PASSWORD 'plain secret' NOSUPERUSER");
	sql_on(pg, "ALTER DATABASE ms_owner OWNER TO ms_plain");
	PQfinish(pg);
	struct db_conn *c = open_as("ms_owner", "ms_plain", "plain secret", NULL);
	sql_do("ms_owner", "SET ROLE ms_plain");
	pg = sql_connect("ms_owner");
	sql_on(pg, "SET ROLE ms_plain");
	sql_on(pg, shapes_sql);
	PQfinish(pg);
	sql_do("ms_owner", "ALTER EXTENSION pg_trgm UPDATE; GRANT SELECT ON node TO ms_plain, PUBLIC");
	_cleanup_free_ char *before = dump("ms_owner", "");
	struct copy copy = take_copy(c);

	change_nodes(c);
	D->rollback(c);
	_cleanup_free_ char *undone = dump("ms_owner", "");
	assert_same_text(before, undone);

	sql_do("ms_owner", "DROP TABLE node CASCADE; CREATE TABLE more (a int); ALTER TABLE more OWNER TO ms_plain");
	_cleanup_strbuf_ struct strbuf warnings = {0};
	rebuild(c, &copy, false, &warnings);
	ok(D->commit(c, &e));
	_cleanup_free_ char *after = dump("ms_owner", "");
	assert_same_text(before, after);

	sql_do("ms_owner", "DELETE FROM tag_usage; DELETE FROM log");
	_cleanup_free_ char *schema = dump("ms_owner", "--schema-only");
	change_nodes(c);
	ok(D->commit(c, &e));
	_cleanup_free_ char *same = dump("ms_owner", "--schema-only");
	assert_same_text(schema, same);
	assert_sql("ms_owner", "SELECT count(*) FROM other_node", "2");
	assert_sql("ms_owner", "SELECT count(*) FROM log", "0");

	/* somebody else's table and privileges become warnings, not errors; a table that may not be read is named */
	sql_do("ms_owner",
	       "CREATE TABLE foreign_owned (a int); GRANT ALL ON foreign_owned TO ms_plain WITH GRANT OPTION");
	free_copy(&copy);
	struct db_conn *super = open_db("ms_owner");
	copy = take_copy(super);
	D->close(super);
	sql_do("ms_owner", "DROP TABLE foreign_owned");
	rebuild(c, &copy, false, &warnings);
	ok(D->commit(c, &e));
	assert_non_null(strstr(strbuf_str(&warnings), "OWNER TO"));
	sql_do("ms_owner", "CREATE TABLE secret (a int)");
	struct db_schema *s = NULL;
	refused(D->begin(c, DB_READ, &s, &e), EACCES, "secret");
	D->close(c);
	free_copy(&copy);
	drop_database("ms_owner");
	sql_do("postgres", "DROP ROLE ms_plain");
}

/* ---- main ---- */

static char *read_password(void)
{
	const char *password = getenv("SERVER_PASSWORD"), *file = getenv("SERVER_PASSWORD_FILE");
	char line[256] = "";
	if (password && *password)
		return xstrdup(password);
	_cleanup_fclose_ FILE *f = file ? fopen(file, "re") : NULL;
	if (!f || !fgets(line, sizeof line, f))
		return NULL;
	line[strcspn(line, "\n")] = '\0';
	return xstrdup(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_describe),
	    cmocka_unit_test(test_refuse_what_is_not_kept),
	    cmocka_unit_test(test_values_are_exact),
	    cmocka_unit_test(test_scan_order),
	    cmocka_unit_test(test_one_moment),
	    cmocka_unit_test(test_one_moment_under_ddl),
	    cmocka_unit_test(test_lock_refused),
	    cmocka_unit_test(test_connection_errors),
	    cmocka_unit_test(test_cancel),
	    cmocka_unit_test(test_schema_text),
	    cmocka_unit_test(test_rebuild),
	    cmocka_unit_test(test_rebuild_undone),
	    cmocka_unit_test(test_rebuild_leaves_excluded),
	    cmocka_unit_test(test_change),
	    cmocka_unit_test(test_written),
	    cmocka_unit_test(test_without_superuser),
	};
	const char *url = getenv("SERVER_URL");
	struct err e = ERR_INIT;
	if (!url || db_params_parse(&admin, url, &e) < 0 || strcmp(admin.engine, "postgresql") != 0) {
		(void)fprintf(stderr,
			      "SERVER_URL is not the URL of a PostgreSQL server%s%s; run it under"
			      " tests/servers/postgres start DIR\n",
			      *e.msg ? ": " : "", e.msg);
		return 1;
	}
	free(admin.password);
	admin.password = read_password();
	if (!admin.password) {
		(void)fprintf(stderr, "neither SERVER_PASSWORD nor a readable SERVER_PASSWORD_FILE\n");
		return 1;
	}
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	db_params_done(&admin);
	return r;
}
