/*
 * tests/unit/drivers/postgres/mark_test.c - drivers/postgres/mark.c against a real server: what is put together from a
 * base and the rows newer than its mark is what a full read gives, or the mark says that it does not hold.
 *
 * Wants SERVER_URL and SERVER_PASSWORD_FILE of a superuser, as tests/servers/postgres prints them. One database for all
 * tests, made and dropped here. The base is kept as tests need it, the merge is the one that driver.h promises to
 * suffice.
 */
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "drivers/driver.h"
#include "tests/unit/world.h"

#define D (&db_driver_postgres)
#define DATABASE "ms_mark"

static struct db_params admin;

/* ---- sessions of the test's own ---- */

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

/* Statements one by one, so that VACUUM is not in a transaction; none of them holds ";;". */
static void sql_on(PGconn *pg, const char *sql)
{
	_cleanup_free_ char *copy = xstrdup(sql);
	for (char *next = copy, *one; next && *next;) {
		one = next;
		next = strstr(one, ";;");
		if (next) {
			*next = '\0';
			next += 2;
		}
		PGresult *res = PQexec(pg, one);
		ExecStatusType status = PQresultStatus(res);
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
			fail_msg("%.200s: %s", one, PQerrorMessage(pg));
		PQclear(res);
	}
}

static void sql_do(const char *sql)
{
	PGconn *pg = sql_connect(DATABASE);
	sql_on(pg, sql);
	PQfinish(pg);
}

/* ---- images of a table ---- */

struct image {
	char **keys, **rows; /* in key order */
	size_t n;
	char *mark; /* "" when the table cannot be read incrementally */
};

static void image_done(struct image *x)
{
	for (size_t i = 0; i < x->n; i++) {
		free(x->keys[i]);
		free(x->rows[i]);
	}
	free(x->keys);
	free(x->rows);
	free(x->mark);
	*x = (struct image){0};
}

static void image_add(struct image *x, const char *key, const char *row)
{
	if (!(x->n & (x->n + 1))) {
		x->keys = xrealloc(x->keys, (2 * x->n + 1) * sizeof *x->keys);
		x->rows = xrealloc(x->rows, (2 * x->n + 1) * sizeof *x->rows);
	}
	x->keys[x->n] = xstrdup(key);
	x->rows[x->n++] = xstrdup(row);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The row of a key, NULL: there is none. Keys are ordered bytewise: the tests' key columns are text COLLATE "C". */
static const char *image_find(const struct image *x, const char *key)
{
	char *const *found = x->n ? bsearch(&key, x->keys, x->n, sizeof *x->keys, compare_keys) : NULL;
	return found ? x->rows[found - x->keys] : NULL;
}

static void add_value(struct strbuf *sb, const struct db_value *v)
{
	if (v->data)
		strbuf_addf(sb, "%zu:%.*s,", v->len, (int)v->len, v->data);
	else
		strbuf_adds(sb, "-,");
}

/* Reads the open scan and closes it. */
static struct image read_scan(struct db_conn *c, const struct db_table *t, bool keys_only)
{
	struct image x = {0};
	const struct db_value *v;
	struct err why = ERR_INIT;
	size_t n = 0;
	int r;
	for (size_t i = 0; i < t->n_columns; i++)
		n += !t->columns[i].generated;
	while ((r = D->scan_next(c, &v, &why)) > 0) {
		struct strbuf key = {0}, row = {0};
		size_t computed = n;
		for (size_t k = 0; k < t->n_key; k++) {
			size_t column = t->key[k], place = 0;
			for (size_t i = 0; i < column; i++)
				place += !t->columns[i].generated;
			if (t->columns[column].generated)
				place = computed++;
			add_value(&key, &v[keys_only ? k : place]);
		}
		for (size_t i = 0; !keys_only && i < computed; i++)
			add_value(&row, &v[i]);
		image_add(&x, strbuf_str(&key), strbuf_str(&row));
		strbuf_done(&key);
		strbuf_done(&row);
	}
	if (r < 0)
		fail_msg("scan of %s: %s", t->name, why.msg);
	ok(D->scan_close(c, &e));
	return x;
}

static void assert_same_image(const char *what, const struct image *a, const struct image *b)
{
	if (a->n != b->n)
		fail_msg("%s: %zu rows instead of %zu", what, a->n, b->n);
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->keys[i], b->keys[i]) != 0 || strcmp(a->rows[i], b->rows[i]) != 0)
			fail_msg("%s: %s\n%s instead of\n%s", what, a->keys[i], a->rows[i], b->rows[i]);
}

/* What reading the changes came to. */
struct outcome {
	int r;            /* -ESTALE or 0 */
	char words[500];  /* of ESTALE */
	size_t n_changed; /* rows that the scan gave */
	uint64_t unchanged;
	bool keys_read; /* the count did not add up */
};

static void make_mark(struct db_conn *c, const struct db_table *t, struct image *x)
{
	_cleanup_strbuf_ struct strbuf mark = {0};
	ok(D->mark(c, t, &mark, &e));
	x->mark = xstrdup(strbuf_str(&mark));
	assert_int_equal(strcspn(x->mark, " \t\n"), strlen(x->mark));
}

/* base as it must be now, put together from the base and what scan_changed gives; empty when the mark does not hold. */
static struct image read_changes(struct db_conn *c, const struct db_table *t, const struct image *base,
				 struct outcome *o)
{
	struct image now = {0}, changed, live = {0};
	struct err why = ERR_INIT;
	size_t known = 0;
	*o = (struct outcome){0};
	o->r = D->scan_changed(c, t, base->mark, &o->unchanged, &why);
	if (o->r == -ESTALE) {
		memcpy(o->words, why.msg, sizeof o->words);
		assert_int_equal(why.code, ESTALE);
		return now;
	}
	if (o->r < 0)
		fail_msg("scan_changed: %s", why.msg);
	changed = read_scan(c, t, false);
	o->n_changed = changed.n;
	for (size_t i = 0; i < changed.n; i++)
		known += image_find(base, changed.keys[i]) != NULL;
	o->keys_read = o->unchanged != base->n - known;
	if (o->keys_read) {
		ok(D->scan_open(c, t, DB_SCAN_KEYS, &e));
		live = read_scan(c, t, true);
	}
	for (size_t i = 0, k = 0; i < base->n || k < changed.n;) {
		int order = i == base->n ? 1 : k == changed.n ? -1 : strcmp(base->keys[i], changed.keys[k]);
		if (order < 0 && (!o->keys_read || image_find(&live, base->keys[i])))
			image_add(&now, base->keys[i], base->rows[i]);
		else if (order >= 0)
			image_add(&now, changed.keys[k], changed.rows[k]);
		i += order <= 0;
		k += order >= 0;
	}
	image_done(&changed);
	image_done(&live);
	return now;
}

/* ---- the driver's side ---- */

static struct db_conn *open_as(const char *user, const char *password)
{
	struct db_params p = admin;
	struct db_conn *c = NULL;
	p.database = (char *)DATABASE;
	p.user = (char *)user;
	p.password = (char *)password;
	ok(D->open(&c, &p, &e));
	return c;
}

static struct db_conn *open_db(void)
{
	return open_as(admin.user, admin.password);
}

static struct db_schema *begin(struct db_conn *c)
{
	struct db_schema *s = NULL;
	ok(D->begin(c, DB_READ, &s, &e));
	return s;
}

static const struct db_table *table_of(const struct db_schema *s, const char *name)
{
	const struct db_table *t = db_schema_find(s, name);
	if (!t)
		fail_msg("no table %s", name);
	return t;
}

static struct image take_full(const char *table)
{
	struct db_conn *c = open_db();
	struct db_schema *s = begin(c);
	const struct db_table *t = table_of(s, table);
	ok(D->scan_open(c, t, DB_SCAN_ORDERED, &e));
	struct image x = read_scan(c, t, false);
	make_mark(c, t, &x);
	ok(D->commit(c, &e));
	db_schema_free(s);
	D->close(c);
	return x;
}

/* Puts *base forward to now, which must come out as a full read of the same moment does. */
static struct outcome advance(const char *what, const char *table, struct image *base)
{
	struct outcome o;
	struct db_conn *c = open_db();
	struct db_schema *s = begin(c);
	const struct db_table *t = table_of(s, table);
	struct image now = read_changes(c, t, base, &o);
	ok(D->scan_open(c, t, DB_SCAN_ORDERED, &e));
	struct image full = read_scan(c, t, false);
	if (!o.r)
		assert_same_image(what, &now, &full);
	make_mark(c, t, &full);
	ok(D->commit(c, &e));
	db_schema_free(s);
	D->close(c);
	image_done(&now);
	image_done(base);
	*base = full;
	return o;
}

static void expect(const char *what, const char *table, struct image *base, size_t n_changed, bool keys_read)
{
	struct outcome o = advance(what, table, base);
	if (o.r || o.n_changed != n_changed || o.keys_read != keys_read)
		fail_msg("%s: %d %s, %zu changed, %" PRIu64 " not, keys %d", what, o.r, o.words, o.n_changed,
			 o.unchanged, o.keys_read);
}

static void expect_stale(const char *what, const char *table, struct image *base, const char *words)
{
	struct outcome o = advance(what, table, base);
	if (o.r != -ESTALE || !strstr(o.words, words))
		fail_msg("%s: %d \"%s\" instead of \"%s\"", what, o.r, o.words, words);
}

/* ---- tests ---- */

#define MAKE_T                                                                                                         \
	"DROP TABLE IF EXISTS t CASCADE;; CREATE TABLE t (id text COLLATE \"C\" PRIMARY KEY, j jsonb NOT NULL, n int," \
	" g bigint GENERATED ALWAYS AS ((j ->> 'at')::bigint) STORED);;"                                               \
	"INSERT INTO t SELECT md5(i::text), jsonb_build_object('at', i, 'text', repeat(md5(i::text), i % 100)), i"     \
	" FROM generate_series(1, 1000) i;; CREATE INDEX t_n ON t (n)"

static void test_changes(void **state)
{
	static const struct {
		const char *what, *sql;
		size_t n_changed;
		bool keys_read;
	} steps[] = {
	    {"nothing", "", 0, false},
	    {"HOT update", "ALTER TABLE t SET (fillfactor = 50);; UPDATE t SET j = j || '{\"x\": 1}' WHERE n <= 10", 10,
	     false},
	    {"the same value again", "UPDATE t SET j = j WHERE n <= 10", 10, false},
	    {"VACUUM", "VACUUM t", 0, false},
	    {"VACUUM FREEZE", "VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) t", 0, false},
	    {"update of an indexed column", "UPDATE t SET n = n + 10000 WHERE n BETWEEN 11 AND 20", 10, false},
	    {"delete", "DELETE FROM t WHERE n BETWEEN 21 AND 25", 0, true},
	    {"insert", "INSERT INTO t SELECT md5('new' || i), '{\"at\": 0}', -i FROM generate_series(1, 7) i", 7,
	     false},
	    {"as many deleted as inserted",
	     "DELETE FROM t WHERE n BETWEEN 31 AND 35;; INSERT INTO t SELECT md5('same' || i), '{}', i FROM"
	     " generate_series(31, 35) i",
	     5, true},
	    {"deleted, its place used again",
	     "DELETE FROM t WHERE n BETWEEN 41 AND 300;; VACUUM t;; INSERT INTO t SELECT md5('again' || i), '{}', i "
	     "FROM"
	     " generate_series(41, 300) i",
	     260, true},
	    {"deleted and made again",
	     "BEGIN;; CREATE TEMP TABLE x AS SELECT id, j, n FROM t WHERE n > 900 AND n < 1000;;"
	     "DELETE FROM t USING x WHERE t.id = x.id;; INSERT INTO t SELECT * FROM x;; COMMIT",
	     99, false},
	    {"another key", "UPDATE t SET id = md5(id) WHERE n BETWEEN 401 AND 403", 3, true},
	    {"keys changed with each other",
	     "BEGIN;; UPDATE t SET id = id || 'x' WHERE n IN (410, 411);; UPDATE t SET id = CASE n WHEN 410 THEN"
	     " md5('411') ELSE md5('410') END WHERE n IN (410, 411);; COMMIT",
	     2, false},
	    {"locked rows", "BEGIN;; SELECT * FROM t WHERE n > 500 FOR UPDATE;; SELECT * FROM t FOR KEY SHARE;; COMMIT",
	     0, false},
	    {"rolled back",
	     "BEGIN;; UPDATE t SET n = 0;; DELETE FROM t;; ROLLBACK;; BEGIN;; INSERT INTO t VALUES ('gone', '{}', 1);;"
	     "SAVEPOINT a;; UPDATE t SET n = 1;; ROLLBACK TO a;; INSERT INTO t VALUES ('kept', '{}', 2);; COMMIT",
	     2, false},
	    {"prepared and committed",
	     "BEGIN;; DELETE FROM t WHERE id = 'kept';; PREPARE TRANSACTION 'x';; COMMIT PREPARED 'x'", 0, true},
	    {"another index, statistics",
	     "CREATE INDEX t_new ON t (n DESC);; REINDEX TABLE t;; ANALYZE t;; ALTER TABLE t ADD CHECK (n > -100000)",
	     0, false},
	    {"every row", "UPDATE t SET n = n + 1", 1003, false},
	    {"all gone", "DELETE FROM t", 0, true},
	    {"from nothing", "INSERT INTO t SELECT md5(i::text), '{}', i FROM generate_series(1, 500) i", 500, false},
	};
	(void)state;
	sql_do(MAKE_T);
	struct image base = take_full("t");
	assert_int_equal(base.n, 1000);
	assert_true(strlen(base.mark) > 20);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		sql_do(steps[i].sql);
		expect(steps[i].what, "t", &base, steps[i].n_changed, steps[i].keys_read);
	}
	image_done(&base);
}

static void test_rewrites_and_definitions(void **state)
{
	static const struct {
		const char *what, *sql, *words;
	} steps[] = {
	    {"VACUUM FULL", "DELETE FROM t WHERE n < 10;; VACUUM FULL t", "file"},
	    {"CLUSTER", "CLUSTER t USING t_n", "file"},
	    {"rewrite", "ALTER TABLE t ALTER n TYPE bigint", "file"},
	    {"TRUNCATE, the same rows",
	     "CREATE TABLE x AS SELECT id, j, n FROM t;; BEGIN;; TRUNCATE t;; INSERT INTO t SELECT * FROM x;; COMMIT;; "
	     "DROP TABLE x",
	     "file"},
	    {"ADD COLUMN DEFAULT", "ALTER TABLE t ADD late text DEFAULT 'as it was'", "definition"},
	    {"DROP COLUMN", "ALTER TABLE t DROP late", "definition"},
	    {"ADD COLUMN, the same again, another default", "ALTER TABLE t ADD late text DEFAULT 'other'",
	     "definition"},
	    {"SET TYPE without a rewrite", "ALTER TABLE t ALTER late TYPE varchar", "definition"},
	    {"RENAME COLUMN", "ALTER TABLE t RENAME late TO later", "definition"},
	    {"DROP EXPRESSION", "ALTER TABLE t ALTER g DROP EXPRESSION", "definition"},
	    {"another tablespace's file",
	     "SET allow_in_place_tablespaces = on;; DROP TABLESPACE IF EXISTS ms_space;; CREATE TABLESPACE ms_space "
	     "LOCATION '';;"
	     "ALTER TABLE t SET TABLESPACE ms_space;; ALTER TABLE t SET TABLESPACE pg_default;; DROP TABLESPACE "
	     "ms_space",
	     "file"},
	    {"another table of that name",
	     "CREATE TABLE u (LIKE t INCLUDING ALL);; INSERT INTO u SELECT * FROM t;;"
	     "ALTER TABLE t RENAME TO v;; ALTER TABLE u RENAME TO t;; DROP TABLE v",
	     "the table is another"},
	    {"unlogged", "ALTER TABLE t SET UNLOGGED", "kind"},
	};
	(void)state;
	sql_do(MAKE_T);
	struct image base = take_full("t");
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		sql_do(steps[i].sql);
		expect_stale(steps[i].what, "t", &base, steps[i].words);
		if (i + 1 < sizeof steps / sizeof *steps)
			expect(steps[i].what, "t", &base, 0, false);
	}
	assert_string_equal(base.mark, "");
	image_done(&base);
}

static void test_tables_without_marks(void **state)
{
	static const char *const tables[] = {"of_enum",      "of_enums", "of_domain", "of_composite",
					     "of_extension", "of_money", "of_class",  "unlogged"};
	(void)state;
	sql_do(
	    "CREATE TYPE mood AS ENUM ('sad', 'glad');; CREATE DOMAIN small AS int CHECK (VALUE < 10);;"
	    "CREATE TYPE pair AS (a int, b int);; CREATE EXTENSION IF NOT EXISTS hstore;;"
	    "CREATE TABLE of_enum (id int PRIMARY KEY, x mood);; CREATE TABLE of_enums (id int PRIMARY KEY, x mood[]);;"
	    "CREATE TABLE of_domain (id int PRIMARY KEY, x small);; CREATE TABLE of_composite (id int PRIMARY KEY, x "
	    "pair);;"
	    "CREATE TABLE of_extension (id int PRIMARY KEY, x hstore);; CREATE TABLE of_money (id int PRIMARY KEY, x "
	    "money);;"
	    "CREATE TABLE of_class (id int PRIMARY KEY, x regclass);; CREATE UNLOGGED TABLE unlogged (id int PRIMARY "
	    "KEY);;"
	    "CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY LIST (id);; CREATE TABLE part PARTITION OF parted "
	    "DEFAULT;;"
	    "INSERT INTO of_enum VALUES (1, 'sad');; INSERT INTO part VALUES (1);;"
	    "CREATE TABLE plain (id int PRIMARY KEY, a text[], b timestamptz, c numeric(5,2)[], d daterange, e "
	    "\"char\", f jsonb[]);;"
	    "CREATE TABLE keyless (x int);; INSERT INTO keyless SELECT i % 5 FROM generate_series(1, 100) i");
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		struct image base = take_full(tables[i]);
		assert_string_equal(base.mark, "");
		/* a mark of another time is refused, too: here the enum's */
		free(base.mark);
		base.mark = xstrdup("pg1:1:2:3");
		if (i == 0)
			sql_do("ALTER TYPE mood RENAME VALUE 'sad' TO 'mad'");
		expect_stale(tables[i], tables[i], &base, "kind");
		image_done(&base);
	}
	struct image base = take_full("part"); /* a leaf is a table like any other */
	sql_do("INSERT INTO parted VALUES (2)");
	expect("partition", "part", &base, 1, false);
	image_done(&base);
	base = take_full("plain");
	assert_true(*base.mark);
	image_done(&base);

	/* without a key nothing but "all as it was" can be told */
	base = take_full("keyless");
	struct db_conn *c = open_db();
	for (int i = 0; i < 3; i++) {
		struct err why = ERR_INIT;
		uint64_t unchanged;
		if (i)
			sql_do(i == 1 ? "DELETE FROM keyless WHERE ctid = '(0,1)'" : "INSERT INTO keyless VALUES (0)");
		struct db_schema *s = begin(c);
		if (D->scan_changed(c, table_of(s, "keyless"), base.mark, &unchanged, &why) < 0)
			fail_msg("%s", why.msg);
		struct image changed = read_scan(c, table_of(s, "keyless"), false);
		assert_int_equal(unchanged, i ? 99 : 100);
		assert_int_equal(changed.n, i == 2);
		image_done(&changed);
		ok(D->commit(c, &e));
		db_schema_free(s);
	}
	D->close(c);
	image_done(&base);
}

/* What runs while the mark is made and commits later is newer than the mark, whatever its id. */
static void test_in_progress(void **state)
{
	(void)state;
	sql_do(MAKE_T);
	PGconn *plain = sql_connect(DATABASE), *nested = sql_connect(DATABASE), *prepared = sql_connect(DATABASE);
	sql_on(plain, "BEGIN;; UPDATE t SET n = -1 WHERE n = 1");
	sql_on(nested, "BEGIN;; SAVEPOINT a;; INSERT INTO t VALUES ('nested', '{}', 0);; SAVEPOINT b;;"
		       "UPDATE t SET n = -2 WHERE n = 2;; RELEASE b");
	sql_on(prepared,
	       "BEGIN;; UPDATE t SET n = -3 WHERE n = 3;; DELETE FROM t WHERE n = 4;; PREPARE TRANSACTION 'later'");
	sql_do("UPDATE t SET n = n + 100000 WHERE n = 900"); /* ended, with a higher id than theirs */
	struct image base = take_full("t");
	sql_do("UPDATE t SET n = n + 100000 WHERE n = 901");
	/* the row of 900 is newer than the oldest that runs: read again, and the same */
	expect("they run", "t", &base, 2, false);
	sql_on(nested, "RELEASE a;; COMMIT");
	sql_on(plain, "COMMIT");
	expect("two ended", "t", &base, 5, false);
	sql_on(prepared, "COMMIT PREPARED 'later'");
	expect("the prepared one ended", "t", &base, 3, true); /* its row, 900 and 901 */
	expect("none ran", "t", &base, 0, false);
	PQfinish(plain);
	PQfinish(nested);
	PQfinish(prepared);
	image_done(&base);
}

/* A connection of begin_like sees the same moment, and its marks are as good. */
static void test_worker(void **state)
{
	(void)state;
	sql_do(MAKE_T);
	struct image base = take_full("t");
	struct db_conn *leader = open_db(), *worker = open_db();
	sql_do("UPDATE t SET n = 0 WHERE n <= 50");
	struct db_schema *s = begin(leader);
	const struct db_table *t = table_of(s, "t");
	ok(D->begin_like(worker, leader, s, &e));
	sql_do("UPDATE t SET n = 1 WHERE n > 100;; DELETE FROM t WHERE n = 60");
	struct outcome o, same;
	struct image a = read_changes(leader, t, &base, &o), b = read_changes(worker, t, &base, &same);
	assert_int_equal(o.n_changed, 50);
	assert_int_equal(same.n_changed, 50);
	assert_int_equal(a.n, 1000);
	assert_same_image("worker", &a, &b);
	make_mark(worker, t, &b);
	image_done(&a);
	ok(D->commit(leader, &e));
	/* the leader's end is not the worker's */
	ok(D->scan_open(worker, t, DB_SCAN_ORDERED, &e));
	a = read_scan(worker, t, false);
	assert_same_image("worker", &a, &b);
	image_done(&a);
	ok(D->commit(worker, &e));
	expect("by a worker's mark", "t", &b, 900, true);
	db_schema_free(s);
	D->close(leader);
	D->close(worker);
	image_done(&b);
	image_done(&base);
}

/* Too many changes to list, and a table too large for a list: the rows are looked for a second time. */
static void test_large(void **state)
{
	(void)state;
	sql_do("CREATE TABLE many (id text COLLATE \"C\" PRIMARY KEY);; INSERT INTO many SELECT md5(i::text) FROM"
	       " generate_series(1, 70000) i;; CREATE TABLE sparse (id text COLLATE \"C\" PRIMARY KEY, x text) WITH"
	       " (fillfactor = 10);; INSERT INTO sparse SELECT md5(i::text), repeat('x', 400) FROM generate_series(1, "
	       "70000) i");
	struct image many = take_full("many"), sparse = take_full("sparse");
	sql_do(
	    "UPDATE many SET id = id;; UPDATE sparse SET x = 'y' WHERE id < '1';; DELETE FROM sparse WHERE id > 'f'");
	expect("many", "many", &many, 70000, false);
	size_t low = 0;
	for (size_t i = 0; i < sparse.n; i++)
		low += strcmp(sparse.keys[i] + strcspn(sparse.keys[i], ":"), ":1") < 0;
	expect("sparse", "sparse", &sparse, low, true);
	image_done(&many);
	image_done(&sparse);
	sql_do("DROP TABLE many, sparse");
}

/* Who may not ask gets no marks and no error; the transaction goes on. */
static void test_rights(void **state)
{
	(void)state;
	sql_do(MAKE_T);
	sql_do("DROP ROLE IF EXISTS ms_reader");
	sql_do("CREATE ROLE ms_reader LOGIN PASSWORD 'reads only';; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "
	       "ms_reader");
	struct image base = take_full("t");
	for (int revoked = 0; revoked < 2; revoked++) {
		if (revoked)
			sql_do("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
		struct db_conn *c = open_as("ms_reader", "reads only");
		struct db_schema *s = begin(c);
		struct outcome o;
		struct image now = read_changes(c, table_of(s, "t"), &base, &o);
		assert_int_equal(o.r, revoked ? -ESTALE : 0);
		image_done(&now);
		make_mark(c, table_of(s, "t"), &now);
		assert_int_equal(*now.mark == '\0', revoked);
		ok(D->scan_open(c, table_of(s, "t"), DB_SCAN_ORDERED, &e));
		struct image full = read_scan(c, table_of(s, "t"), false);
		assert_same_image("reader", &full, &base);
		image_done(&full);
		image_done(&now);
		ok(D->commit(c, &e));
		db_schema_free(s);
		D->close(c);
	}
	sql_do(
	    "GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC;; DROP OWNED BY ms_reader;; DROP ROLE ms_reader");
	image_done(&base);
}

/* Each word of a mark counts, and numbers that go back are refused. */
static void test_words(void **state)
{
	(void)state;
	sql_do(MAKE_T);
	struct image base = take_full("t");
	size_t n = 0;
	for (const char *p = base.mark; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL, n++) {
		struct image other = {.mark = xstrdup(base.mark)};
		char *at = other.mark + (p - base.mark), *end = at + strcspn(at, ":");
		/* the numbers at the end: from the past they hold, from the future they do not */
		if (n < 12)
			end[-1] = end[-1] == '1' ? '2' : '1';
		else
			*at = '9';
		struct outcome o = advance("another word", "t", &other);
		if (o.r != -ESTALE)
			fail_msg("%s holds as %s", base.mark, other.mark);
		image_done(&other);
	}
	assert_int_equal(n, 15);
	size_t last = (size_t)(strrchr(base.mark, ':') - base.mark) + 1;
	for (size_t cut = last + 1; cut--;) {
		struct image other = {.mark = xmemdup0(base.mark, cut)};
		struct outcome o = advance("cut", "t", &other);
		if (o.r != -ESTALE)
			fail_msg("%.*s holds", (int)cut, base.mark);
		image_done(&other);
		cut -= cut > 20 && cut < last - 20 ? 10 : 0;
	}
	image_done(&base);
}

/* The server's comparison over the whole circle of ids: what is newer must never count as older. */
static void test_modular(void **state)
{
	static const uint32_t distances[] = {0, 1, 2, 1000, 0x3fffffff, 0x40000000, 0x7ffffffe, 0x7fffffff};
	(void)state;
	PGconn *pg = sql_connect(DATABASE);
	for (size_t i = 0; i < sizeof distances / sizeof *distances; i++)
		for (size_t k = 0; k < sizeof distances / sizeof *distances; k++)
			for (int more = -1; more <= 1; more++) {
				uint32_t back = distances[k] + (uint32_t)more;
				/* now - distance, as ids are given out: 3 and upwards, around the circle */
				_cleanup_free_ char *sql =
				    xasprintf("WITH now AS (SELECT (3 + age('3'::xid)::bigint) & 4294967295 AS id), x "
					      "AS (SELECT (id - %" PRIu32 ") & 4294967295 AS since, (id - %" PRIu32
					      "::bigint) & 4294967295 AS row FROM now)"
					      " SELECT age(row::text::xid) <= (SELECT age(since::text::xid)), row < 3 "
					      "OR since < 3 FROM x",
					      distances[i], back);
				PGresult *res = PQexec(pg, sql);
				if (PQresultStatus(res) != PGRES_TUPLES_OK)
					fail_msg("%s: %s", sql, PQerrorMessage(pg));
				bool newer = *PQgetvalue(res, 0, 0) == 't', special = *PQgetvalue(res, 0, 1) == 't';
				PQclear(res);
				if (!special && back <= distances[i] && !newer)
					fail_msg("an id %u back counts as older than one %u back", back, distances[i]);
				if (!special && back > distances[i] && back <= 0x7fffffff && newer)
					fail_msg("an id %u back counts as newer than one %u back", back, distances[i]);
			}
	PQfinish(pg);
}

/* One backend's crash: commits that were not on the disk yet are forgotten, their ids are given out again. */
static void test_crash(void **state)
{
	(void)state;
	sql_do(MAKE_T);
	struct image base = take_full("t");
	PGconn *victim = sql_connect(DATABASE), *witness = sql_connect(DATABASE);
	const struct timespec pause = {.tv_nsec = 50000000};
	struct db_params p = admin;
	struct db_conn *c = NULL;
	struct err e = ERR_INIT;
	sql_do("SET synchronous_commit = off;; UPDATE t SET n = 5 WHERE n > 900");
	assert_int_equal(kill(PQbackendPID(victim), SIGKILL), 0);
	PQfinish(victim);
	/* The server throws everybody out when it has seen it, and lets nobody in before it has recovered. */
	time_t end = time(NULL) + 60;
	while (PQstatus(witness) == CONNECTION_OK && time(NULL) < end) {
		PQclear(PQexec(witness, "SELECT 1"));
		(void)nanosleep(&pause, NULL);
	}
	assert_int_equal(PQstatus(witness), CONNECTION_BAD);
	PQfinish(witness);
	p.database = (char *)DATABASE;
	while (D->open(&c, &p, &e) < 0) {
		if (time(NULL) > end)
			fail_msg("the server does not come back: %s", e.msg);
		(void)nanosleep(&pause, NULL);
	}
	D->close(c);
	expect_stale("crash of a backend", "t", &base, "statistics");
	image_done(&base);
}

/* ---- main ---- */

static int make_database(void **state)
{
	(void)state;
	PGconn *pg = sql_connect("postgres");
	sql_on(pg, "DROP DATABASE IF EXISTS " DATABASE ";; CREATE DATABASE " DATABASE);
	PQfinish(pg);
	return 0;
}

static int drop_database(void **state)
{
	(void)state;
	PGconn *pg = sql_connect("postgres");
	sql_on(pg, "DROP DATABASE " DATABASE);
	PQfinish(pg);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_changes),
	    cmocka_unit_test(test_rewrites_and_definitions),
	    cmocka_unit_test(test_tables_without_marks),
	    cmocka_unit_test(test_in_progress),
	    cmocka_unit_test(test_worker),
	    cmocka_unit_test(test_large),
	    cmocka_unit_test(test_rights),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_modular),
	    cmocka_unit_test(test_crash),
	};
	struct err e = ERR_INIT;
	char password[256] = "";
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
	int failed = cmocka_run_group_tests(tests, make_database, drop_database);
	db_params_done(&admin);
	return failed;
}
