/*
 * tests/unit/drivers/sqlite/driver_test.c - drivers/sqlite/driver.c, the whole SQLite driver, with drivers/trace.c and
 * drivers/fake.c on real database files: what is read is what was written, what is restored reads the same, and nothing
 * stands in the way of the file's own program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "drivers/fake.h"
#include "drivers/registry.h"
#include "drivers/sqlite/ddl.h"
#include "drivers/trace.h"
#include "tests/unit/world.h"

static const char schema_om[] =
    "CREATE TABLE table_entity (json JSON NOT NULL, id TEXT GENERATED ALWAYS AS (json ->> '$.id') STORED NOT NULL,"
    " name TEXT GENERATED ALWAYS AS (json_extract(json, '$.name')) VIRTUAL,"
    " updatedAt INTEGER AS (CAST(JSON->>'updatedAt' AS INTEGER)), fqnHash TEXT, deleted BOOLEAN AS (json ->> "
    "'$.deleted'),"
    " odd TEXT AS (lower(json ->> '$.name')));"
    "CREATE UNIQUE INDEX table_entity_id ON table_entity (id);"
    "CREATE INDEX table_entity_name ON table_entity (name);"
    "CREATE TABLE entity_relationship (fromId TEXT NOT NULL, toId TEXT NOT NULL, relation INTEGER NOT NULL, json JSON,"
    " PRIMARY KEY (fromId, toId, relation));"
    "CREATE TABLE change_event (json JSON, eventTime INTEGER);"
    "CREATE TABLE SERVER_CHANGE_LOG (installed_rank INTEGER, version TEXT PRIMARY KEY NOT NULL);"
    "INSERT INTO SERVER_CHANGE_LOG VALUES (1, '1.9.2'), (2, '1.10.0'), (3, '1.2.0');"
    "INSERT INTO table_entity (json, fqnHash) VALUES "
    "('{\"id\":\"b\",\"name\":\"B\",\"updatedAt\":5,\"deleted\":false}', 'h'),"
    " ('{\"id\":\"a\",\"name\":\"A\",\"updatedAt\":7,\"x\": 1.10}', NULL);"
    "INSERT INTO entity_relationship VALUES ('b','a',10,NULL), ('a','b',9,'{}'), ('a','b',10,'[1, 2]');"
    "INSERT INTO change_event VALUES ('{}', 1), ('{}', 1), (NULL, NULL);";

/* ---- files and text of databases ---- */

struct place {
	char *dir, *path;
};

static int place_up(void **state)
{
	struct place *p = xcalloc(1, sizeof *p);
	p->dir = test_dir();
	p->path = xasprintf("%s/source.db", p->dir);
	*state = p;
	return 0;
}

static int place_down(void **state)
{
	struct place *p = *state;
	test_dir_remove(p->dir);
	free(p->path);
	free(p);
	return 0;
}

/* What the sqlite3 shell's .dump tells, made here: each row of sqlite_schema, each value with its type, by rowid. */
static char *dump(const char *path)
{
	struct strbuf sb = {0}, query = {0};
	sqlite3 *db = NULL;
	sqlite3_stmt *tables = NULL, *rows = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
					    " ORDER BY type <> 'table', name = 'sqlite_sequence', rowid",
					    -1, &tables, NULL),
			 SQLITE_OK);
	while (sqlite3_step(tables) == SQLITE_ROW) {
		strbuf_addf(&sb, "%s %s\n", (const char *)sqlite3_column_text(tables, 1),
			    (const char *)sqlite3_column_text(tables, 2));
		if (strcmp((const char *)sqlite3_column_text(tables, 0), "table") != 0)
			continue;
		strbuf_clear(&query);
		strbuf_addf(&query, "SELECT * FROM \"%s\" ORDER BY 1", (const char *)sqlite3_column_text(tables, 1));
		if (sqlite3_prepare_v2(db, query.data, -1, &rows, NULL) != SQLITE_OK)
			fail_msg("%s: %s", query.data, sqlite3_errmsg(db));
		while (sqlite3_step(rows) == SQLITE_ROW) {
			for (int i = 0; i < sqlite3_column_count(rows); i++) {
				strbuf_addf(&sb, "|%d:", sqlite3_column_type(rows, i));
				const void *data = sqlite3_column_blob(rows, i);
				strbuf_add(&sb, data, (size_t)sqlite3_column_bytes(rows, i));
			}
			strbuf_addch(&sb, '\n');
		}
		sqlite3_finalize(rows);
	}
	sqlite3_finalize(tables);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	strbuf_done(&query);
	return strbuf_detach(&sb);
}

static void expect_dump(const char *path, const char *before)
{
	_cleanup_free_ char *after = dump(path);
	assert_string_equal(after, before);
}

/* ---- driving ---- */

static int try_open_url(struct db_conn **ret, const char *url, const char *exclude, struct err *e)
{
	struct db_params p;
	int r = db_params_parse(&p, url, e);
	if (r < 0)
		return r;
	p.connect_timeout_ms = 300;
	if (exclude) {
		p.exclude = xcalloc(2, sizeof *p.exclude);
		p.exclude[0] = xstrdup(exclude);
	}
	r = (strncmp(url, "fake", 4) ? &db_driver_sqlite : &db_driver_fake)->open(ret, &p, e);
	db_params_done(&p);
	return r;
}

static struct db_conn *open_path(const char *path)
{
	struct db_conn *c = NULL;
	_cleanup_free_ char *url = xasprintf("sqlite:%s", path);
	ok(try_open_url(&c, url, NULL, &e));
	return c;
}

/* Everything a capture takes, in memory. */
struct image {
	struct db_schema *schema;
	char *sql;
	struct table_image {
		size_t n_rows, n_values;
		struct db_value *values; /* with their own memory */
	} * tables;
};

static size_t scan_width(const struct db_table *t, size_t *ret_row)
{
	size_t n = 0;
	for (size_t i = 0; i < t->n_columns; i++)
		n += !t->columns[i].generated;
	*ret_row = n;
	for (size_t i = 0; i < t->n_key; i++)
		n += t->columns[t->key[i]].generated;
	return n;
}

static int capture_table(struct db_conn *c, const struct db_table *t, struct table_image *image, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	const struct db_value *v = NULL;
	size_t n_row = 0;
	image->n_values = scan_width(t, &n_row);
	int r = d->scan_open(c, t, t->n_key ? DB_SCAN_ORDERED : DB_SCAN_UNORDERED, e);
	while (r >= 0 && (r = d->scan_next(c, &v, e)) > 0) {
		/* doubled, as realloc always copies under ASan */
		if (!(image->n_rows & (image->n_rows - 1)))
			image->values = xrealloc(image->values, (image->n_rows * 2 + 1) * image->n_values * sizeof *v);
		struct db_value *row = &image->values[image->n_rows++ * image->n_values];
		for (size_t i = 0; i < image->n_values; i++) {
			row[i] = v[i];
			if (v[i].data)
				row[i].data = xmemdup0(v[i].data, v[i].len);
		}
	}
	int closed = d->scan_close(c, r < 0 ? ERR_DROP : e);
	return r < 0 ? r : closed;
}

static int capture_in(struct db_conn *c, struct image *im, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	struct strbuf text = {0};
	int r = d->schema_sql(c, im->schema, &text, e);
	im->sql = strbuf_detach(&text);
	im->tables = xcalloc(im->schema->n_tables + 1, sizeof *im->tables);
	for (size_t i = 0; r >= 0 && i < im->schema->n_tables; i++)
		r = capture_table(c, &im->schema->tables[i], &im->tables[i], e);
	return r < 0 ? r : d->finish(c, im->schema, e);
}

static void image_done(struct image *im)
{
	for (size_t i = 0; im->schema && im->tables && i < im->schema->n_tables; i++) {
		struct table_image *t = &im->tables[i];
		for (size_t k = 0; k < t->n_rows * t->n_values; k++)
			free((void *)(uintptr_t)t->values[k].data);
		free(t->values);
	}
	free(im->tables);
	free(im->sql);
	db_schema_free(im->schema);
	*im = (struct image){0};
}

static int try_capture(struct db_conn *c, struct image *im, struct err *e)
{
	*im = (struct image){0};
	int r = db_driver_of(c)->begin(c, DB_READ, &im->schema, e);
	if (r >= 0)
		r = capture_in(c, im, e);
	if (r >= 0)
		r = db_driver_of(c)->commit(c, e);
	if (r < 0)
		db_driver_of(c)->rollback(c);
	return r;
}

static struct image capture(const char *path)
{
	struct image im;
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(path);
	ok(try_capture(c, &im, &e));
	return im;
}

static int load_table(struct db_conn *c, const struct db_table *t, const struct table_image *rows, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	int r = d->load_begin(c, t, e);
	for (size_t i = 0; r >= 0 && i < rows->n_rows; i++)
		r = d->load_row(c, &rows->values[i * rows->n_values], e);
	int ended = d->load_end(c, r >= 0, r < 0 ? ERR_DROP : e);
	return r < 0 ? r : ended;
}

/* Makes the target equal to the image as a restore does: what differs is made anew, the rows of all other tables are
 * replaced. */
static int try_rebuild(struct db_conn *c, const struct image *im, bool commit, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	_cleanup_(cleanup_db_schema) struct db_schema *old = NULL;
	_cleanup_strbuf_ struct strbuf warnings = {0}, old_sql = {0};
	_cleanup_(db_objects_done) struct db_objects o = {0};
	int r = d->begin(c, DB_WRITE, &old, e);
	if (r >= 0)
		r = d->schema_sql(c, old, &old_sql, e);
	const struct db_definitions have = {old, strbuf_str(&old_sql)}, want = {im->schema, im->sql};
	if (r >= 0)
		r = d->compare(c, &have, &want, NULL, &o, e);
	if (r >= 0 && o.n)
		r = d->rebuild_begin(c, im->schema, im->sql, &o, &warnings, e);
	if (r >= 0)
		r = d->change_begin(c, im->schema, e);
	for (size_t i = 0; r >= 0 && i < im->schema->n_tables; i++) {
		if (!o.remade[i])
			r = d->delete_all(c, &im->schema->tables[i], e);
		if (r >= 0)
			r = load_table(c, &im->schema->tables[i], &im->tables[i], e);
	}
	if (r >= 0 && o.n)
		r = d->rebuild_end(c, &warnings, NULL, e);
	if (r >= 0)
		r = d->change_end(c, &warnings, NULL, e);
	if (r >= 0)
		r = d->set_sequences(c, im->schema, e);
	if (r >= 0 && commit)
		return d->commit(c, e);
	d->rollback(c);
	return r;
}

static void rebuild(const char *path, const struct image *im, bool commit)
{
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(path);
	ok(try_rebuild(c, im, commit, &e));
}

static void expect_same(const struct image *a, const struct image *b)
{
	if (strcmp(a->sql, b->sql) != 0)
		fail_msg("%s\n--- differs from ---\n%s", a->sql, b->sql);
	assert_int_equal(a->schema->n_tables, b->schema->n_tables);
	for (size_t i = 0; i < a->schema->n_tables; i++) {
		const struct table_image *x = &a->tables[i], *y = &b->tables[i];
		assert_string_equal(a->schema->tables[i].name, b->schema->tables[i].name);
		assert_int_equal(x->n_rows, y->n_rows);
		assert_true(a->schema->tables[i].auto_increment == b->schema->tables[i].auto_increment);
		for (size_t k = 0; k < x->n_rows * x->n_values; k++) {
			assert_int_equal(x->values[k].kind, y->values[k].kind);
			assert_int_equal(x->values[k].len, y->values[k].len);
			assert_true(!x->values[k].data == !y->values[k].data);
			if (x->values[k].data)
				assert_memory_equal(x->values[k].data, y->values[k].data, x->values[k].len);
		}
	}
}

static const struct table_image *image_of(const struct image *im, const char *table)
{
	const struct db_table *t = db_schema_find(im->schema, table);
	assert_non_null(t);
	return &im->tables[t - im->schema->tables];
}

static void expect_cell(const struct db_value *v, enum db_kind kind, const char *text)
{
	assert_int_equal(v->kind, kind);
	if (!text) {
		assert_null(v->data);
		return;
	}
	assert_non_null(v->data);
	if (v->len != strlen(text) || memcmp(v->data, text, v->len) != 0)
		fail_msg("got %.*s, not %s", (int)v->len, v->data, text);
}

/* ---- description ---- */

static void test_describe(void **state)
{
	const struct place *p = *state;
	sql(p->path, schema_om);
	struct image im = capture(p->path);
	const struct db_schema *s = im.schema;
	assert_string_equal(s->engine, "sqlite");
	assert_string_equal(s->app_version, "1.10.0");
	assert_int_equal(s->n_tables, 4);
	assert_string_equal(s->tables[0].name, "SERVER_CHANGE_LOG");
	const struct db_table *t = db_schema_find(s, "table_entity");
	assert_true(t->dynamic);
	assert_int_equal(t->n_columns, 7);
	assert_int_equal(t->columns[0].form, DB_FORM_JSON_TEXT);
	assert_false(t->columns[0].nullable);
	assert_string_equal(t->columns[1].document, "json");
	assert_string_equal(t->columns[1].member, "id");
	assert_string_equal(t->columns[2].member, "name");
	assert_string_equal(t->columns[3].document, "json"); /* as the column spells it */
	assert_string_equal(t->columns[3].member, "updatedAt");
	assert_true(t->columns[3].integer);
	assert_false(t->columns[4].generated);
	assert_int_equal(t->columns[5].form, DB_FORM_NUMBER);
	assert_true(t->columns[6].generated);
	assert_null(t->columns[6].document);
	assert_int_equal(t->key_kind, DB_KEY_UNIQUE);
	assert_int_equal(t->n_key, 1);
	assert_int_equal(t->key[0], 1);
	assert_int_equal(db_schema_find(s, "entity_relationship")->n_key, 3);
	assert_int_equal(db_schema_find(s, "change_event")->key_kind, DB_KEY_NONE);
	/* the row's columns, then the generated key */
	const struct table_image *rows = image_of(&im, "table_entity");
	assert_int_equal(rows->n_rows, 2);
	assert_int_equal(rows->n_values, 3);
	expect_cell(&rows->values[0], DB_KIND_TEXT, "{\"id\":\"a\",\"name\":\"A\",\"updatedAt\":7,\"x\": 1.10}");
	expect_cell(&rows->values[1], DB_KIND_COLUMN, NULL);
	expect_cell(&rows->values[2], DB_KIND_TEXT, "a");
	expect_cell(&rows->values[5], DB_KIND_TEXT, "b");
	image_done(&im);
}

static void expect_key_of(const struct image *im, const char *table, enum db_key_kind kind, const char *column)
{
	const struct db_table *t = db_schema_find(im->schema, table);
	assert_non_null(t);
	if (t->key_kind != kind || (t->n_key != 0) != (column != NULL) ||
	    (column && strcmp(t->columns[t->key[0]].name, column) != 0))
		fail_msg("%s: key kind %d", table, t->key_kind);
}

static void test_keys(void **state)
{
	const struct place *p = *state;
	sql(p->path, "CREATE TABLE rowid_alias (x, id INTEGER PRIMARY KEY);"
		     "CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, x);"
		     "CREATE TABLE null_pk (id TEXT PRIMARY KEY, x);"
		     "CREATE TABLE not_null_pk (x, id TEXT NOT NULL PRIMARY KEY);"
		     "CREATE TABLE int_pk (id INT PRIMARY KEY, x);"
		     "CREATE TABLE without_rowid (x, id TEXT PRIMARY KEY) WITHOUT ROWID;"
		     "CREATE TABLE strict_pk (x ANY, id TEXT PRIMARY KEY) STRICT;"
		     "CREATE TABLE partial (id TEXT NOT NULL, x); CREATE UNIQUE INDEX p1 ON partial (id) WHERE x;"
		     "CREATE TABLE expression (id TEXT NOT NULL, x); CREATE UNIQUE INDEX e1 ON expression (lower(id));"
		     "CREATE TABLE smallest (a NOT NULL, b NOT NULL, c NOT NULL, UNIQUE (a, b), UNIQUE (c));"
		     "CREATE TABLE \"odd \"\"name'\" (\"a \"\"b\" TEXT AS (json ->> 'id') NOT NULL UNIQUE, json JSON);"
		     "INSERT INTO null_pk VALUES (NULL, 1), (NULL, 2), ('a', 3);"
		     "INSERT INTO \"odd \"\"name'\" (json) VALUES ('{\"id\":\"1\"}');");
	struct image im = capture(p->path);
	expect_key_of(&im, "rowid_alias", DB_KEY_UNIQUE, "id");
	expect_key_of(&im, "auto", DB_KEY_UNIQUE, "id");
	expect_key_of(&im, "null_pk", DB_KEY_INDEX, "id");
	expect_key_of(&im, "not_null_pk", DB_KEY_UNIQUE, "id");
	expect_key_of(&im, "int_pk", DB_KEY_INDEX, "id");
	expect_key_of(&im, "without_rowid", DB_KEY_UNIQUE, "id");
	expect_key_of(&im, "strict_pk", DB_KEY_UNIQUE, "id");
	expect_key_of(&im, "partial", DB_KEY_NONE, NULL);
	expect_key_of(&im, "expression", DB_KEY_NONE, NULL);
	expect_key_of(&im, "smallest", DB_KEY_UNIQUE, "c");
	expect_key_of(&im, "odd \"name'", DB_KEY_UNIQUE, "a \"b");
	assert_false(db_schema_find(im.schema, "rowid_alias")->columns[1].nullable);
	assert_true(db_schema_find(im.schema, "auto")->has_auto_increment);
	assert_false(db_schema_find(im.schema, "rowid_alias")->has_auto_increment);
	assert_int_equal(image_of(&im, "null_pk")->n_rows, 3);
	image_done(&im);
}

static void test_ddl(void **state)
{
	static const char table[] = "CREATE TABLE t ( a TEXT DEFAULT (CAST('(,' AS TEXT)) , -- b AS (no)\n"
				    "/* , c AS (no) */ 'b' AS ( json ->> '$.b)' ) STORED, [c d] VARCHAR(3) "
				    "GENERATED ALWAYS AS ((1), 2) VIRTUAL, \"e\"\"f\" AS (x), CHECK (a AS (1)) )";
	static const struct {
		const char *column, *expression;
	} cases[] = {{"a", NULL}, {"B", " json ->> '$.b)' "}, {"c d", "(1), 2"}, {"c", NULL}, {"e\"f", "x"},
		     {"zz", NULL}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		_cleanup_free_ char *expression = sqlite_ddl_generated(table, cases[i].column);
		if (!cases[i].expression)
			assert_null(expression);
		else
			assert_string_equal(expression, cases[i].expression);
	}
	for (size_t n = 0; n < sizeof table; n++) { /* never past the end, whatever is cut */
		_cleanup_free_ char *cut = xmemdup0(table, n);
		free(sqlite_ddl_generated(cut, "b"));
	}
	assert_true(sqlite_ddl_has_word("CREATE TABLE t(a INTEGER PRIMARY KEY autoincrement)", "AUTOINCREMENT"));
	assert_false(sqlite_ddl_has_word("CREATE TABLE t(\"autoincrement\" /* autoincrement */)", "AUTOINCREMENT"));

	const char *p =
	    "; CREATE TABLE a(x ';'); -- ;\ncreate unique index i on a(x);CREATE TRIGGER t AFTER INSERT ON a"
	    " BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; SELECT ';END;'; END;PRAGMA user_version=3;"
	    " ATTACH 'x' AS y; CREATE VIRTUAL TABLE v USING fts5(x); CREATE VIEW w AS SELECT 1 ";
	static const struct {
		enum sqlite_ddl_kind kind;
		const char *end;
	} statements[] = {
	    {SQLITE_DDL_TABLE, "';')"},      {SQLITE_DDL_LATER, "a(x)"}, {SQLITE_DDL_LATER, "END"},
	    {SQLITE_DDL_PRAGMA, "=3"},       {SQLITE_DDL_OTHER, "AS y"}, {SQLITE_DDL_VIRTUAL, "fts5(x)"},
	    {SQLITE_DDL_LATER, "SELECT 1 "},
	};
	const char *start = NULL;
	size_t len = 0;
	for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
		assert_int_equal(sqlite_ddl_next(&p, &start, &len), statements[i].kind);
		size_t n = strlen(statements[i].end);
		assert_true(len >= n && !memcmp(start + len - n, statements[i].end, n));
	}
	assert_int_equal(sqlite_ddl_next(&p, &start, &len), SQLITE_DDL_END);
}

/* ---- values ---- */

static void test_numbers(void **state)
{
	const struct place *p = *state;
	sql(p->path,
	    "CREATE TABLE n (i INTEGER PRIMARY KEY, v);"
	    "INSERT INTO n VALUES (1, 9223372036854775807), (2, -9223372036854775807 - 1), (3, 0.1), (4, 1e300),"
	    " (5, 100000.0), (6, 9e999), (7, -9e999), (8, 0.1 + 0.2), (9, 5e-324), (10, -0.0),"
	    " (11, 9007199254740993.0), (12, ''), (13, x''), (14, NULL), (15, '1'), (16, 1), (17, 1.0),"
	    " (18, x'31'), (19, 123456789012345678.0);");
	static const struct {
		enum db_kind kind;
		const char *text;
	} expected[] = {
	    {DB_KIND_INTEGER, "9223372036854775807"},
	    {DB_KIND_INTEGER, "-9223372036854775808"},
	    {DB_KIND_REAL, "0.1"},
	    {DB_KIND_REAL, "1e+300"},
	    {DB_KIND_REAL, "100000.0"},
	    {DB_KIND_REAL, "9e999"},
	    {DB_KIND_REAL, "-9e999"},
	    {DB_KIND_REAL, "0.30000000000000004"},
	    {DB_KIND_REAL, "4.94065645841247e-324"},
	    {DB_KIND_REAL, "-0.0"},
	    {DB_KIND_REAL, "9007199254740992.0"},
	    {DB_KIND_TEXT, ""},
	    {DB_KIND_BLOB, ""},
	    {DB_KIND_COLUMN, NULL},
	    {DB_KIND_TEXT, "1"},
	    {DB_KIND_INTEGER, "1"},
	    {DB_KIND_REAL, "1.0"},
	    {DB_KIND_BLOB, "1"},
	    {DB_KIND_REAL, "1.2345678901234568e+17"},
	};
	/* a program that has set a locale with a decimal comma must read the same text */
	(void)setlocale(LC_ALL, "de_DE.UTF-8");
	struct image im = capture(p->path), again;
	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
		expect_cell(&image_of(&im, "n")->values[2 * i + 1], expected[i].kind, expected[i].text);
	_cleanup_free_ char *before = dump(p->path);
	rebuild(p->path, &im, true);
	(void)setlocale(LC_ALL, "C");
	again = capture(p->path);
	expect_same(&im, &again);
	expect_dump(p->path, before);
	image_done(&im);
	image_done(&again);
}

static void test_bytes(void **state)
{
	const struct place *p = *state;
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	unsigned char bytes[256];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)i;
	sql(p->path, "CREATE TABLE b (i INTEGER PRIMARY KEY, t TEXT, b BLOB, j JSON, u)");
	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO b VALUES (NULL, ?1, ?1, ?1, ?1), (NULL, ?2, ?2, ?2, ?2)",
					    -1, &stmt, NULL),
			 SQLITE_OK);
	(void)sqlite3_bind_text(stmt, 1, (char *)bytes, 256, SQLITE_STATIC);
	(void)sqlite3_bind_blob(stmt, 2, bytes, 256, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
	(void)sqlite3_finalize(stmt);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	struct image im = capture(p->path), again;
	const struct table_image *rows = image_of(&im, "b");
	assert_int_equal(rows->n_rows, 2);
	for (size_t i = 0; i < 10; i++) {
		if (i % 5 == 0)
			continue;
		assert_int_equal(rows->values[i].kind, i < 5 ? DB_KIND_TEXT : DB_KIND_BLOB);
		assert_int_equal(rows->values[i].len, 256);
		assert_memory_equal(rows->values[i].data, bytes, 256);
	}
	rebuild(p->path, &im, true);
	again = capture(p->path);
	expect_same(&im, &again);
	image_done(&im);
	image_done(&again);
}

/* ---- restore ---- */

static const char schema_rich[] =
    "PRAGMA user_version=7; PRAGMA application_id=99;"
    "CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE ON CONFLICT REPLACE);"
    "CREATE TABLE child (id TEXT PRIMARY KEY NOT NULL, p INTEGER REFERENCES parent (id) ON DELETE CASCADE,"
    " up AS (upper(id)) STORED, v ANY) WITHOUT ROWID;"
    "CREATE TABLE never (id INTEGER PRIMARY KEY AUTOINCREMENT);"
    "CREATE TABLE log (what);"
    "CREATE INDEX child_p ON child (p DESC) WHERE v IS NOT NULL;"
    "CREATE INDEX child_e ON child (lower(id));"
    "CREATE VIEW w AS SELECT * FROM child -- a comment at the end\n;"
    "CREATE TRIGGER tr_z AFTER INSERT ON child BEGIN INSERT INTO log VALUES (CASE 1 WHEN 1 THEN 'in;sert' END); END;"
    "CREATE TRIGGER tr_a AFTER DELETE ON parent BEGIN DELETE FROM child; INSERT INTO log VALUES ('del'); END;"
    "CREATE TRIGGER tr_v INSTEAD OF INSERT ON w BEGIN SELECT 1; END;"
    "INSERT INTO parent VALUES (1, 'one'), (2, 'two'), (50, 'fifty'); DELETE FROM parent WHERE id = 50;"
    "INSERT INTO child (id, p, v) VALUES ('a', 1, x'00'), ('b', 2, 1.5), ('c', NULL, 'x');";

static void test_rebuild(void **state)
{
	const struct place *p = *state;
	_cleanup_free_ char *target = xasprintf("%s/target.db", p->dir);
	sql(p->path, schema_rich);
	sql(target, "CREATE TABLE old (x); INSERT INTO old VALUES (1); CREATE VIEW w AS SELECT * FROM old;"
		    "CREATE TABLE child (id, something); PRAGMA user_version=3; CREATE TABLE keep_me (a)");
	_cleanup_free_ char *source = dump(p->path), *before = dump(target);
	struct image im = capture(p->path), again;
	assert_non_null(strstr(im.sql, "PRAGMA user_version=7;\n"));
	assert_int_equal(db_schema_find(im.schema, "parent")->auto_increment, 51);
	assert_int_equal(db_schema_find(im.schema, "never")->auto_increment, 0);

	rebuild(target, &im, false); /* rolled back */
	expect_dump(target, before);

	rebuild(target, &im, true);
	expect_dump(target, source);
	again = capture(target);
	expect_same(&im, &again);
	image_done(&again);
	rebuild(p->path, &im, true); /* over itself */
	expect_dump(p->path, source);

	/* the triggers are back and act for others */
	sql(p->path, "INSERT INTO child (id) VALUES ('z')");
	again = capture(p->path);
	assert_int_equal(image_of(&again, "log")->n_rows, image_of(&im, "log")->n_rows + 1);
	image_done(&again);
	image_done(&im);
}

/* A file of no bytes is an empty database: what a restore onto a new host begins with. */
static void test_rebuild_empty(void **state)
{
	const struct place *p = *state;
	_cleanup_free_ char *target = xasprintf("%s/target.db", p->dir);
	sql(p->path, schema_rich);
	_cleanup_free_ char *source = dump(p->path);
	int fd = open(target, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	struct image im = capture(p->path), empty = capture(target), again;
	assert_int_equal(empty.schema->n_tables, 0);
	assert_string_equal(empty.sql, "");
	rebuild(target, &im, true);
	expect_dump(target, source);
	rebuild(target, &empty, true);
	again = capture(target);
	assert_string_equal(again.sql, ""); /* neither user_version nor application_id stayed behind */
	image_done(&again);
	expect_dump(target, "sqlite_sequence CREATE TABLE sqlite_sequence(name,seq)\n");
	image_done(&im);
	image_done(&empty);
}

static void test_rebuild_keeps_excluded(void **state)
{
	const struct place *p = *state;
	_cleanup_free_ char *target = xasprintf("%s/target.db", p->dir);
	_cleanup_free_ char *url = xasprintf("sqlite:%s", target);
	sql(p->path, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
	sql(target, "CREATE TABLE keep_me (a); INSERT INTO keep_me VALUES (5); CREATE INDEX keep_i ON keep_me (a);"
		    "CREATE TABLE gone (a); CREATE VIRTUAL TABLE keep_fts USING fts5(a); INSERT INTO keep_fts VALUES "
		    "('hello')");
	struct image im = capture(p->path), again;
	struct db_conn *c = NULL;
	ok(try_open_url(&c, url, "keep_*", &e));
	ok(try_rebuild(c, &im, true, &e));
	ok(try_capture(c, &again, &e));
	expect_same(&im, &again);
	image_done(&again);
	db_close(c);
	sql(target, "INSERT INTO keep_me VALUES (6); SELECT 1 / (count(*) = 2) FROM keep_me;"
		    "CREATE TEMP TABLE x (ok CHECK (ok)); INSERT INTO x SELECT count(*) = 1 FROM keep_fts WHERE "
		    "keep_fts MATCH 'hello';"
		    "INSERT INTO x SELECT count(*) = 0 FROM sqlite_schema WHERE name = 'gone';"
		    "INSERT INTO x SELECT count(*) = 1 FROM sqlite_schema WHERE name = 'keep_i'");
	image_done(&im);
}

static void test_rebuild_refuses(void **state)
{
	const struct place *p = *state;
	static const char *const texts[] = {
	    "ATTACH 'x' AS y;",
	    "CREATE TABLE t (x); DROP TABLE t;",
	    "CREATE VIRTUAL TABLE v (x);",
	    "CREATE VIRTUAL TABLE v USING fts5(x) AND more;",
	    "CREATE VIRTUAL TABLE IF NOT EXISTS v USING fts5(x);",
	    "CREATE TABLE t (x)); CREATE TABLE u (y);",
	    "PRAGMA journal_mode=OFF;",
	    "CREATE TABLE t (x);\nCREATE INDEX i ON nowhere (x);",
	};
	sql(p->path, schema_om);
	_cleanup_free_ char *before = dump(p->path);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct err e = ERR_INIT;
		struct image im = {.schema = xcalloc(1, sizeof *im.schema), .sql = xstrdup(texts[i])};
		im.tables = xcalloc(1, sizeof *im.tables);
		_cleanup_(cleanup_db_close) struct db_conn *c = open_path(p->path);
		if (try_rebuild(c, &im, true, &e) >= 0)
			fail_msg("%s", texts[i]);
		assert_true(e.msg[0] != '\0');
		expect_dump(p->path, before);
		image_done(&im);
	}
}

/* What differs, and what hangs on it, is made anew; all else is not touched. */
static void test_objects(void **state)
{
	const struct place *p = *state;
	static const struct {
		const char *damage, *deeds;
	} cases[] = {
	    {"SELECT 1", ""},
	    {"CREATE INDEX more ON parent(name)", "drop index more\n"},
	    {"DROP VIEW w", "make view w\nmake trigger tr_v\n"},
	    {"ALTER TABLE log ADD COLUMN extra", "make anew table log\n"},
	    {"CREATE TABLE \"odd \"\" name\" (x); CREATE INDEX [odd] ON \"odd \"\" name\"(x)",
	     "drop table odd \" name\ndrop index odd\n"},
	    {"DROP TRIGGER tr_a; CREATE TRIGGER tr_a AFTER DELETE ON child BEGIN SELECT 1; END",
	     "make anew trigger tr_a\n"},
	    {"PRAGMA user_version=9", "alter pragma user_version\n"},
	    {"DROP TABLE log; CREATE VIEW log AS SELECT 1 AS x", "drop view log\nmake table log\n"},
	};
	_cleanup_free_ char *target = xasprintf("%s/target.db", p->dir);
	sql(p->path, schema_rich);
	sql(target, "");
	struct image im = capture(p->path);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		rebuild(target, &im, true);
		sql(target, cases[i].damage);
		struct image bad = capture(target);
		_cleanup_(db_objects_done) struct db_objects o = {0};
		_cleanup_strbuf_ struct strbuf deeds = {0};
		const struct db_definitions have = {bad.schema, bad.sql}, want = {im.schema, im.sql};
		ok(db_driver_sqlite.compare(NULL, &have, &want, NULL, &o, &e));
		for (size_t k = 0; k < o.n; k++)
			strbuf_addf(&deeds, "%s %s %s\n", db_deed_word(o.v[k].deed), o.v[k].kind, o.v[k].name);
		if (strcmp(strbuf_str(&deeds), cases[i].deeds))
			fail_msg("%s:\n%s", cases[i].damage, strbuf_str(&deeds));
		image_done(&bad);
	}
	image_done(&im);
}

/* Makes the target equal to the image by deleting and inserting, as a restore by difference does. */
static int try_change(struct db_conn *c, const struct image *im, const char *table, bool by_key, bool commit,
		      struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	_cleanup_(cleanup_db_schema) struct db_schema *now = NULL;
	const struct db_table *t = db_schema_find(im->schema, table);
	const struct table_image *rows = image_of(im, table);
	struct table_image live = {0};
	int r = d->begin(c, DB_WRITE, &now, e);
	if (r >= 0)
		r = d->change_begin(c, now, e);
	if (r >= 0)
		r = capture_table(c, t, &live, e);
	if (r >= 0 && !by_key)
		r = d->delete_all(c, t, e);
	size_t n_row = 0;
	(void)scan_width(t, &n_row);
	for (size_t i = 0; r >= 0 && by_key && i < live.n_rows; i++) {
		struct db_value key[8];
		size_t generated = n_row;
		for (size_t k = 0; k < t->n_key; k++) {
			size_t at = 0;
			for (size_t j = 0; j < t->key[k]; j++)
				at += !t->columns[j].generated;
			key[k] = live.values[i * live.n_values + (t->columns[t->key[k]].generated ? generated++ : at)];
		}
		r = d->delete_keys(c, t, key, 1, e);
	}
	if (r >= 0)
		r = load_table(c, t, rows, e);
	if (r >= 0)
		r = d->change_end(c, NULL, NULL, e);
	if (r >= 0)
		r = d->set_sequences(c, im->schema, e);
	for (size_t k = 0; k < live.n_rows * live.n_values; k++)
		free((void *)(uintptr_t)live.values[k].data);
	free(live.values);
	if (r >= 0 && commit)
		return d->commit(c, e);
	d->rollback(c);
	return r;
}

static void test_change(void **state)
{
	const struct place *p = *state;
	struct err e = ERR_INIT;
	static const char damage[] =
	    "PRAGMA foreign_keys=OFF; DROP TRIGGER tr_a; UPDATE parent SET name = 'other' WHERE id = 1;"
	    "INSERT INTO parent VALUES (70, 'seventy');"
	    "CREATE TRIGGER tr_a AFTER DELETE ON parent BEGIN DELETE FROM child; INSERT INTO log VALUES ('del'); END;";
	sql(p->path, schema_rich);
	struct image im = capture(p->path), again;
	sql(p->path, damage);
	_cleanup_free_ char *before = dump(p->path);
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(p->path);
	ok(try_change(c, &im, "parent", true, false, &e));
	expect_dump(p->path, before);
	ok(try_change(c, &im, "parent", true, true, &e)); /* neither the trigger nor the cascade has touched child */
	ok(try_capture(c, &again, &e));
	assert_int_equal(db_schema_find(again.schema, "parent")->auto_increment, 51);
	free(again.sql);
	again.sql = xstrdup(im.sql); /* the damage moved a trigger to the end */
	expect_same(&im, &again);
	image_done(&again);
	ok(try_change(c, &im, "child", false, true, &e));
	ok(try_change(c, &im, "child", true, true, &e));
	ok(try_capture(c, &again, &e));
	free(again.sql);
	again.sql = xstrdup(im.sql);
	expect_same(&im, &again);
	image_done(&again);

	/* an orphan: parent 2 is not among the rows */
	struct table_image *rows = &im.tables[db_schema_find(im.schema, "parent") - im.schema->tables];
	free(before);
	before = dump(p->path);
	rows->n_rows--;
	assert_int_equal(try_change(c, &im, "parent", true, true, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "child"));
	expect_dump(p->path, before);
	rows->n_rows++;
	image_done(&im);
}

/* A program that never turned foreign keys on leaves orphans: a whole snapshot goes back with them, and says so. */
static void test_orphans(void **state)
{
	const struct place *p = *state;
	const struct db_driver *d = &db_driver_sqlite;
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf warnings = {0};
	_cleanup_(cleanup_db_schema) struct db_schema *s = NULL;
	sql(p->path, "CREATE TABLE parent (id INTEGER PRIMARY KEY);"
		     "CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent (id));"
		     "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1), (2, 7)");
	_cleanup_free_ char *before = dump(p->path);
	struct image im = capture(p->path);
	rebuild(p->path, &im, true);
	expect_dump(p->path, before);
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(p->path);
	assert_int_equal(try_change(c, &im, "child", true, true, &e), -EEXIST);
	ok(d->begin(c, DB_WRITE, &s, &e));
	ok(d->change_begin(c, s, &e));
	ok(d->delete_all(c, db_schema_find(s, "child"), &e));
	ok(load_table(c, db_schema_find(im.schema, "child"), image_of(&im, "child"), &e));
	ok(d->change_end(c, &warnings, NULL, &e));
	ok(d->commit(c, &e));
	assert_non_null(strstr(strbuf_str(&warnings), "child"));
	expect_dump(p->path, before);
	image_done(&im);
}

/* A table's own ON CONFLICT clause must not swallow a row: twice the same one is an error in any table. */
static void test_change_conflict(void **state)
{
	const struct place *p = *state;
	struct err e = ERR_INIT;
	static const char *const tables[] = {"r", "i"};
	sql(p->path, "CREATE TABLE r (id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE);"
		     "CREATE TABLE i (id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT IGNORE);"
		     "INSERT INTO r VALUES (1, 'a'), (2, 'b'); INSERT INTO i VALUES (1, 'a'), (2, 'b')");
	_cleanup_free_ char *before = dump(p->path);
	struct image im = capture(p->path);
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(p->path);
	for (size_t i = 0; i < 2; i++) {
		const struct table_image *rows = image_of(&im, tables[i]);
		struct db_value second = rows->values[3];
		rows->values[3] = rows->values[1];
		assert_int_equal(try_change(c, &im, tables[i], true, true, &e), -EEXIST);
		rows->values[3] = second;
		expect_dump(p->path, before);
	}
	image_done(&im);
}

/* The key columns of these tables: generated, of any type, compared without case. */
static void test_change_keys(void **state)
{
	const struct place *p = *state;
	struct err e = ERR_INIT;
	sql(p->path, schema_om);
	sql(p->path, "CREATE TABLE kinds (k NOT NULL UNIQUE, v);"
		     "INSERT INTO kinds VALUES (1, 'i'), ('1', 't'), (x'31', 'b'), (1.5, 'r'), ('', 'e'), (x'', 'eb');"
		     "CREATE TABLE nocase (k TEXT COLLATE NOCASE NOT NULL UNIQUE); INSERT INTO nocase VALUES ('B'), "
		     "('a'), ('_');"
		     "CREATE TABLE cases (k TEXT COLLATE NOCASE NOT NULL); CREATE UNIQUE INDEX cases_k ON cases (k "
		     "COLLATE BINARY);"
		     "INSERT INTO cases VALUES ('a'), ('A'); CREATE TABLE nulls (k UNIQUE, v); INSERT INTO nulls "
		     "VALUES (NULL, 1), (NULL, 1), (2, 2);");
	struct image im = capture(p->path), again;
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(p->path);
	static const char *const tables[] = {"table_entity", "entity_relationship", "kinds", "nocase", "cases",
					     "nulls"};
	const struct table_image *nocase = image_of(&im, "nocase");
	expect_cell(&nocase->values[0], DB_KIND_TEXT, "B"); /* bytewise, not as the index has it */
	expect_cell(&nocase->values[1], DB_KIND_TEXT, "_");
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
		ok(try_change(c, &im, tables[i], true, true, &e));
		ok(try_capture(c, &again, &e));
		expect_same(&im, &again);
		image_done(&again);
	}
	/* a key that is not there */
	struct db_schema *s = NULL;
	ok(db_driver_sqlite.begin(c, DB_WRITE, &s, &e));
	ok(db_driver_sqlite.change_begin(c, s, &e));
	struct db_value key = {.data = "nobody", .len = 6, .kind = DB_KIND_TEXT};
	assert_int_equal(db_driver_sqlite.delete_keys(c, db_schema_find(s, "kinds"), &key, 1, &e), -EIO);
	db_driver_sqlite.rollback(c);
	db_schema_free(s);
	image_done(&im);
}

/* ---- concurrency ---- */

static void check_writers_go_on(const struct place *p, const char *mode)
{
	_cleanup_free_ char *pragma = xasprintf("PRAGMA journal_mode=%s", mode);
	sql(p->path, pragma);
	sql(p->path, "CREATE TABLE money (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO money VALUES (1, 10), (2, 0);"
		     "CREATE TABLE empty_later (x); INSERT INTO empty_later VALUES (1)");
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(p->path);
	struct image im = {0}, other = {0};
	ok(db_driver_sqlite.begin(c, DB_READ, &im.schema, &e));
	/* the moment is fixed: all of these are later, and none waits */
	sql(p->path,
	    "BEGIN IMMEDIATE; UPDATE money SET n = 0 WHERE id = 1; UPDATE money SET n = 10 WHERE id = 2; COMMIT;"
	    "DELETE FROM empty_later; DROP TABLE empty_later; ALTER TABLE money ADD COLUMN x DEFAULT 9; CREATE TABLE "
	    "new (x)");
	ok(capture_in(c, &im, &e));
	ok(db_driver_sqlite.commit(c, &e));
	assert_int_equal(im.schema->n_tables, 2);
	assert_int_equal(image_of(&im, "empty_later")->n_rows, 1);
	assert_null(strstr(im.sql, "DEFAULT 9"));
	expect_cell(&image_of(&im, "money")->values[1], DB_KIND_INTEGER, "10");
	expect_cell(&image_of(&im, "money")->values[3], DB_KIND_INTEGER, "0");
	ok(try_capture(c, &other, &e)); /* the next transaction of the same connection sees them */
	assert_null(db_schema_find(other.schema, "empty_later"));
	assert_non_null(db_schema_find(other.schema, "new"));
	image_done(&im);
	image_done(&other);
}

static void test_writers_wal(void **state)
{
	check_writers_go_on(*state, "WAL");
}

static void test_writers_rollback_journal(void **state)
{
	check_writers_go_on(*state, "DELETE");
}

struct writer {
	const char *path;
	atomic_bool stop;
	unsigned commits;
};

/* Moves money between two rows as fast as it can: the sum never changes. */
static void *writer_run(void *arg)
{
	struct writer *w = arg;
	sqlite3 *db = NULL;
	if (sqlite3_open(w->path, &db) != SQLITE_OK)
		return NULL;
	(void)sqlite3_busy_timeout(db, 5000);
	while (!w->stop)
		if (sqlite3_exec(db,
				 "BEGIN IMMEDIATE; UPDATE money SET n = n - 1 WHERE id = 1;"
				 "UPDATE money SET n = n + 1 WHERE id = 2; COMMIT",
				 NULL, NULL, NULL) == SQLITE_OK)
			w->commits++;
	(void)sqlite3_close(db);
	return NULL;
}

static void test_consistent_under_writes(void **state)
{
	const struct place *p = *state;
	static const char *const modes[] = {"PRAGMA journal_mode=DELETE", "PRAGMA journal_mode=WAL"};
	/* some megabytes, so that a copy takes several steps */
	sql(p->path, "CREATE TABLE money (id INTEGER PRIMARY KEY, n INTEGER, pad); INSERT INTO money VALUES (1, 0, "
		     "zeroblob(20000000)),"
		     " (2, 0, zeroblob(20000000))");
	for (size_t m = 0; m < 2; m++) {
		struct writer w = {.path = p->path};
		pthread_t thread;
		sql(p->path, modes[m]);
		assert_int_equal(pthread_create(&thread, NULL, writer_run, &w), 0);
		for (int i = 0; i < 5; i++) {
			struct image im;
			_cleanup_free_ char *url = xasprintf("sqlite:%s?", p->path);
			struct db_params params;
			_cleanup_(cleanup_db_close) struct db_conn *c = NULL;
			ok(db_params_parse(&params, url, &e));
			ok(db_driver_sqlite.open(&c, &params, &e));
			db_params_done(&params);
			ok(try_capture(c, &im, &e));
			const struct table_image *rows = image_of(&im, "money");
			assert_int_equal(strtol(rows->values[1].data, NULL, 10),
					 -strtol(rows->values[4].data, NULL, 10));
			image_done(&im);
		}
		w.stop = true;
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_true(w.commits > 0);
	}
}

static void test_write_lock(void **state)
{
	const struct place *p = *state;
	struct err e = ERR_INIT;
	sql(p->path, schema_om);
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(p->path);
	_cleanup_(cleanup_db_close) struct db_conn *other = open_path(p->path);
	struct db_schema *s = NULL, *s2 = NULL;
	ok(db_driver_sqlite.begin(c, DB_WRITE, &s, &e));
	assert_int_equal(db_driver_sqlite.begin(other, DB_WRITE, &s2, &e), -EBUSY);
	assert_null(s2);
	db_driver_sqlite.rollback(c);
	db_schema_free(s);
	ok(db_driver_sqlite.begin(other, DB_WRITE, &s2, &e));
	db_schema_free(s2);
	/* closing rolls back */
}

/* ---- refusals ---- */

static int open_errno(const char *path, struct err *e)
{
	_cleanup_free_ char *url = xasprintf("sqlite:%s", path);
	_cleanup_(cleanup_db_close) struct db_conn *c = NULL;
	struct image im = {0};
	int r = try_open_url(&c, url, NULL, e);
	if (r >= 0)
		r = try_capture(c, &im, e);
	image_done(&im);
	return r;
}

static void test_refusals(void **state)
{
	const struct place *p = *state;
	struct err e = ERR_INIT;
	_cleanup_free_ char *missing = xasprintf("%s/missing.db", p->dir);
	_cleanup_free_ char *text = xasprintf("%s/text.db", p->dir);
	_cleanup_free_ char *utf16 = xasprintf("%s/utf16.db", p->dir);
	assert_int_equal(open_errno(missing, &e), -ENOENT);
	assert_int_equal(access(missing, F_OK), -1);
	assert_int_equal(open_errno(p->dir, &e), -EISDIR);
	FILE *f = fopen(text, "w");
	assert_non_null(f);
	for (int i = 0; i < 1000; i++)
		(void)fprintf(f, "this is no database\n");
	(void)fclose(f);
	assert_int_equal(open_errno(text, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "not an SQLite database"));
	sql(utf16, "PRAGMA encoding='UTF-16le'; CREATE TABLE t (x)");
	assert_int_equal(open_errno(utf16, &e), -ENOTSUP);
}

static bool skipped; /* a test could not be run here: the program says so */

enum { FROZEN_READ = 0, FROZEN_NOT_READ = 1, FROZEN_NO_MOUNT = 2, FROZEN_WRITABLE = 3 };

/* A mount namespace of its own, as root or as a user who is root in it. */
static bool frozen_unshare(void)
{
	_cleanup_free_ char *map = xasprintf("0 %u 1", (unsigned)geteuid());
	if (!geteuid() && !unshare(CLONE_NEWNS))
		/* EINVAL: / is no mount point, as in a plain chroot; what then shows outside is taken off by the parent */
		return !mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) || errno == EINVAL;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return false;
	_cleanup_close_ int fd = open("/proc/self/uid_map", O_WRONLY);
	return fd >= 0 && write(fd, map, strlen(map)) > 0;
}

/* In a child process: databases on a file system that is then remounted read-only. No assertion here, as a failed one
 * would go on with the parent's list of tests. */
static int frozen_child(const char *dir, const char *name, const char *encoded, const char *mode)
{
	struct err e = ERR_INIT;
	struct image im = {0};
	struct db_schema *s = NULL;
	struct db_conn *c = NULL;
	sqlite3 *db = NULL;
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_free_ char *url = xasprintf("sqlite:%s/%s", dir, encoded);
	_cleanup_free_ char *text = xasprintf("PRAGMA journal_mode=%s; %s", mode, schema_om);
	if (!frozen_unshare() || mount("none", dir, "tmpfs", 0, "mode=0700") < 0)
		return FROZEN_NO_MOUNT;
	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_close(db) != SQLITE_OK)
		return FROZEN_NOT_READ;
	if (mount("none", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
		return FROZEN_NO_MOUNT;
	int r = try_open_url(&c, url, NULL, &e);
	if (r >= 0)
		r = try_capture(c, &im, &e);
	if (r < 0)
		(void)fprintf(stderr, "%s\n", e.msg);
	if (r < 0 || im.schema->n_tables != 4 || im.tables[2].n_rows != 3)
		return FROZEN_NOT_READ;
	r = db_driver_sqlite.begin(c, DB_WRITE, &s, &e) == -EACCES ? FROZEN_READ : FROZEN_WRITABLE;
	image_done(&im);
	db_close(c);
	return r;
}

static void test_read_only_file_system(void **state)
{
	const struct place *p = *state;
	static const char *const cases[][3] = {
	    {"delete.db", "delete.db", "DELETE"},
	    {"wal %3F?#.db", "wal %253F%3F#.db", "WAL"},
	};
	for (size_t i = 0; i < 2; i++) {
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (!pid)
			_exit(frozen_child(p->dir, cases[i][0], cases[i][1], cases[i][2]));
		int status = -1;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		(void)umount2(p->dir, MNT_DETACH);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == FROZEN_NO_MOUNT) {
			skipped = true;
			skip(); /* mounting is not allowed here, not even in a namespace */
		}
		assert_int_equal(WEXITSTATUS(status), FROZEN_READ);
	}
}

static void test_damaged_file(void **state)
{
	const struct place *p = *state;
	struct err e = ERR_INIT;
	char junk[4096];
	memset(junk, 0xa5, sizeof junk);
	sql(p->path,
	    "CREATE TABLE t (i INTEGER PRIMARY KEY, x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
	    " WHERE i < 1000) INSERT INTO t SELECT i, zeroblob(500) FROM n");
	int fd = open(p->path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, sizeof junk, 4096L * 20), sizeof junk);
	(void)close(fd);
	assert_int_equal(open_errno(p->path, &e), -EIO); /* never a short table */
}

/* ---- cancel, faults, trace ---- */

static void *cancel_soon(void *conn)
{
	(void)usleep(100000); /* early or late, the call that is cancelled, or the next one, fails with EINTR */
	db_driver_of(conn)->cancel(conn);
	return NULL;
}

static void test_cancel(void **state)
{
	const struct place *p = *state;
	struct err e = ERR_INIT;
	pthread_t thread;
	struct image im;
	/* a view of rows without end would be needed to make SQLite itself slow; a generated key does it */
	sql(p->path,
	    "CREATE TABLE t (x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
	    " INSERT INTO t SELECT i FROM n; PRAGMA journal_mode=WAL");
	_cleanup_free_ char *url = xasprintf("fake:%s?slow_ms_per_row=1", p->path);
	static const char *const hangs[] = {"", "&hang=begin", "&hang=scan_next", "&hang=finish", "&hang=commit"};
	for (size_t i = 0; i < sizeof hangs / sizeof hangs[0]; i++) {
		_cleanup_free_ char *full = xasprintf("%s%s", url, hangs[i]);
		_cleanup_(cleanup_db_close) struct db_conn *c = NULL;
		if (i > 2) {
			full[strlen(url) - 1] = '0'; /* not slow: these come after the rows */
		}
		ok(try_open_url(&c, full, NULL, &e));
		assert_int_equal(pthread_create(&thread, NULL, cancel_soon, c), 0);
		int64_t start = clock_mono_ms();
		int r = try_capture(c, &im, &e);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(r, -EINTR);
		assert_true(clock_mono_ms() - start < 10000);
		image_done(&im);
	}
	/* the plain driver, and a cancel that came between two calls */
	_cleanup_(cleanup_db_close) struct db_conn *c = open_path(p->path);
	db_driver_sqlite.cancel(c);
	assert_int_equal(try_capture(c, &im, &e), -EINTR);
	image_done(&im);
	/* one long statement */
	_cleanup_(cleanup_db_close) struct db_conn *long_one = open_path(p->path);
	struct db_schema *s = NULL;
	ok(db_driver_sqlite.begin(long_one, DB_WRITE, &s, &e));
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, long_one), 0);
	int r = 0;
	struct strbuf warnings = {0};
	_cleanup_(db_objects_done) struct db_objects o = {.remade = xcalloc(s->n_tables + 1, sizeof *o.remade)};
	db_objects_add(&o, DB_DEED_MAKE, xstrdup("table"), xstrdup("u"), NULL);
	r = db_driver_sqlite.rebuild_begin(
	    long_one, s,
	    "CREATE TABLE u AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
	    " SELECT max(i) FROM n;",
	    &o, &warnings, &e);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r, -EINTR);
	db_driver_sqlite.rollback(long_one);
	strbuf_done(&warnings);
	db_schema_free(s);
	struct image after = capture(p->path);
	assert_int_equal(image_of(&after, "t")->n_rows, 100000);
	image_done(&after);
}

static void test_faults(void **state)
{
	const struct place *p = *state;
	static const char *const captures[] = {"begin",      "schema_sql", "scan_open", "scan_next",
					       "scan_close", "finish",     "commit"};
	static const char *const restores[] = {"begin",    "rebuild_begin", "load_begin",    "load_row",
					       "load_end", "rebuild_end",   "set_sequences", "commit"};
	static const char *const changes[] = {"change_begin", "delete_keys", "change_end"};
	struct err e = ERR_INIT;
	sql(p->path, schema_rich);
	struct image im = capture(p->path), other;
	sql(p->path, "CREATE INDEX more ON parent (name)");
	_cleanup_free_ char *before = dump(p->path);
	_cleanup_free_ char *url = NULL;
	for (size_t i = 0; i < sizeof captures / sizeof captures[0]; i++) {
		_cleanup_(cleanup_db_close) struct db_conn *c = NULL;
		free(url);
		url = xasprintf("fake:%s?fail=%s&errno=%d", p->path, captures[i], ECONNRESET);
		ok(try_open_url(&c, url, NULL, &e));
		assert_int_equal(try_capture(c, &other, &e), -ECONNRESET);
		assert_non_null(strstr(e.msg, captures[i]));
		image_done(&other);
	}
	for (size_t i = 0; i < sizeof restores / sizeof restores[0] + sizeof changes / sizeof changes[0]; i++) {
		size_t k = i - sizeof restores / sizeof restores[0];
		bool change = i >= sizeof restores / sizeof restores[0];
		_cleanup_(cleanup_db_close) struct db_conn *c = NULL;
		free(url);
		url = xasprintf("fake:%s?fail=%s", p->path, change ? changes[k] : restores[i]);
		ok(try_open_url(&c, url, NULL, &e));
		int r = change ? try_change(c, &im, "parent", true, true, &e) : try_rebuild(c, &im, true, &e);
		assert_int_equal(r, -EIO);
		expect_dump(p->path, before);
	}
	/* after: the first ones go through */
	struct db_conn *c = NULL;
	free(url);
	url = xasprintf("fake:%s?fail=scan_next&after=3", p->path);
	ok(try_open_url(&c, url, NULL, &e));
	assert_int_equal(try_capture(c, &other, &e), -EIO);
	assert_int_equal(image_of(&other, "child")->n_rows, 3);
	image_done(&other);
	db_close(c);
	image_done(&im);
	assert_int_equal(try_open_url(&c, "fake:/x?fail=nothing", NULL, &e), -EINVAL);
	assert_int_equal(try_open_url(&c, "fake:/x?row=nothing", NULL, &e), -EINVAL);
	assert_int_equal(try_open_url(&c, "fake:/x?fail=open&errno=111", NULL, &e), -ECONNREFUSED);
}

/* Through the registry, as the programs open: the driver of the scheme, traced when the environment says so. */
static void test_open_registered(void **state)
{
	const struct place *p = *state;
	struct err e = ERR_INIT;
	struct db_params params;
	struct stat st;
	static const char *const schemes[] = {"sqlite", "fake"};
	_cleanup_free_ char *trace = xasprintf("%s/trace", p->dir);
	sql(p->path, schema_om);
	for (size_t i = 0; i < 4; i++) {
		_cleanup_free_ char *url = xasprintf("%s:%s", schemes[i % 2], p->path);
		_cleanup_(cleanup_db_close) struct db_conn *c = NULL;
		struct image im;
		if (i == 2)
			assert_int_equal(setenv("METASNAP_TRACE", trace, 1), 0);
		ok(db_params_parse(&params, url, &e));
		ok(db_open(&c, &params, &e));
		db_params_done(&params);
		assert_string_equal(db_driver_of(c)->scheme, schemes[i % 2]);
		ok(try_capture(c, &im, &e));
		assert_int_equal(im.schema->n_tables, 4);
		image_done(&im);
		assert_int_equal(stat(trace, &st) == 0, i >= 2);
	}
	assert_int_equal(unsetenv("METASNAP_TRACE"), 0);
	struct db_conn *c = NULL;
	params = (struct db_params){.engine = (char *)(uintptr_t) "oracle"};
	assert_int_equal(db_open(&c, &params, &e), -EINVAL);
	assert_null(c);
}

static void test_trace(void **state)
{
	const struct place *p = *state;
	struct db_params params;
	struct image im;
	_cleanup_free_ char *trace = xasprintf("%s/trace", p->dir);
	_cleanup_free_ char *url = xasprintf("sqlite:%s", p->path);
	sql(p->path, schema_om);
	_cleanup_free_ char *before = dump(p->path);
	ok(db_params_parse(&params, url, &e));
	struct db_conn *c = NULL;
	ok(db_trace_open(&c, &db_driver_sqlite, &params, trace, &e));
	db_params_done(&params);
	assert_string_equal(db_driver_of(c)->scheme, "sqlite");
	assert_null(db_driver_of(c)->begin_like);
	ok(try_capture(c, &im, &e));
	sql(p->path, "CREATE TABLE more (x)");
	ok(try_rebuild(c, &im, true, &e));
	ok(try_change(c, &im, "entity_relationship", true, true, &e));
	db_driver_of(c)->cancel(c);
	struct db_schema *s = NULL;
	assert_int_equal(db_driver_of(c)->begin(c, DB_READ, &s, ERR_DROP), -EINTR);
	db_close(c);
	image_done(&im);
	expect_dump(p->path, before);
	struct stat st;
	assert_int_equal(stat(trace, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	_cleanup_fclose_ FILE *f = fopen(trace, "r");
	assert_non_null(f);
	char text[65536];
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	static const char *const lines[] = {
	    " open sqlite:/",
	    " begin read, sqlite 3.",
	    " scan_open \"table_entity\" ordered = 0 ",
	    " scan_close \"table_entity\" 2 rows, ",
	    " begin write, sqlite 3.",
	    " rebuild_begin sqlite 3.",
	    " load_end \"change_event\" 3 rows, ",
	    " delete_keys \"entity_relationship\" 1 rows = 0 ",
	    " commit = 0 ",
	    " cancel = 0 ",
	    " begin read = -4 (",
	    ": cancelled) ",
	    " close = 0 ",
	};
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		if (!strstr(text, lines[i]))
			fail_msg("no \"%s\" in\n%s", lines[i], text);
	assert_null(strstr(text, "updatedAt")); /* no values */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_up, place_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_describe),
	    TEST(test_keys),
	    TEST(test_ddl),
	    TEST(test_numbers),
	    TEST(test_bytes),
	    TEST(test_rebuild),
	    TEST(test_objects),
	    TEST(test_rebuild_empty),
	    TEST(test_rebuild_keeps_excluded),
	    TEST(test_rebuild_refuses),
	    TEST(test_change),
	    TEST(test_orphans),
	    TEST(test_change_conflict),
	    TEST(test_change_keys),
	    TEST(test_writers_wal),
	    TEST(test_writers_rollback_journal),
	    TEST(test_consistent_under_writes),
	    TEST(test_write_lock),
	    TEST(test_refusals),
	    TEST(test_read_only_file_system),
	    TEST(test_damaged_file),
	    TEST(test_cancel),
	    TEST(test_faults),
	    TEST(test_open_registered),
	    TEST(test_trace),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return failed ? failed : skipped ? 77 : 0;
}
