/*
 * tests/unit/drivers/schema_test.c - drivers/schema.c and drivers/params.c: derived columns as each server prints them,
 * the choice of keys, SQLSTATEs and database URLs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "drivers/derive.h"
#include "drivers/driver.h"
#include "drivers/sqlstate.h"

/* ---- derivation ---- */

static void derive(enum db_form form, const char *expression, const char *document, const char *member)
{
	struct db_column c = {.form = form, .document = xstrdup("stale"), .member = xstrdup("stale")};
	db_column_derive(&c, expression);
	if ((c.document == NULL) != (document == NULL) || (document && strcmp(c.document, document) != 0) ||
	    (c.member == NULL) != (member == NULL) || (member && strcmp(c.member, member) != 0))
		fail_msg("%s: derived %s . %s", expression ? expression : "nothing", c.document ? c.document : "-",
			 c.member ? c.member : "-");
	free(c.document);
	free(c.member);
}

static void test_derive_members(void **state)
{
	static const struct {
		enum db_form form;
		const char *expression, *document, *member;
	} cases[] = {
	    /* PostgreSQL's pg_get_expr */
	    {DB_FORM_TEXT, "(json ->> 'id'::text)", "json", "id"},
	    {DB_FORM_NUMBER, "((json ->> 'updatedAt'::text))::bigint", "json", "updatedAt"},
	    {DB_FORM_TEXT, "((json ->> 'fullyQualifiedName'::text))::character varying(256)", "json",
	     "fullyQualifiedName"},
	    {DB_FORM_NUMBER, "(((json ->> 'n'::text))::numeric(20,0))", "json", "n"},
	    {DB_FORM_NUMBER, "((json ->> 'n'::text))::integer", "json", "n"},
	    {DB_FORM_TEXT, "((\"Json\" ->> 'a b'::text))::character(5)", "Json", "a b"},
	    {DB_FORM_TEXT, "(\"a\"\"b\" ->> 'it''s'::text)", "a\"b", "it's"},
	    {DB_FORM_TEXT, "(json ->> '$.id'::text)", "json", "$.id"},
	    {DB_FORM_TEXT, "(json ->> '0'::text)", "json", "0"},
	    {DB_FORM_TEXT, "((json ->> 'name'::text) COLLATE \"C\")", "json", "name"},
	    {DB_FORM_TEXT, "((json ->> 'deleted'::text))::boolean", "json", "deleted"},
	    {DB_FORM_TEXT, "(((json ->> 'deleted'::text))::boolean)::text", "json", "deleted"},
	    /* MySQL 8 and 9 */
	    {DB_FORM_TEXT, "json_unquote(json_extract(`json`,_utf8mb4'$.id'))", "json", "id"},
	    {DB_FORM_NUMBER, "json_extract(`json`,_utf8mb4'$.deleted')", "json", "deleted"},
	    {DB_FORM_TEXT, "json_unquote(json_extract(`a``b`,_utf8mb4'$.\"x y\"'))", "a`b", "x y"},
	    {DB_FORM_TEXT, "cast(json_unquote(json_extract(`json`,_utf8mb4'$.x')) as char(36) charset utf8mb4)", "json",
	     "x"},
	    {DB_FORM_NUMBER, "cast(json_unquote(json_extract(`json`,_utf8mb4'$.n')) as unsigned)", "json", "n"},
	    {DB_FORM_NUMBER, "cast(json_extract(`json`,_utf8mb4'$.n') as decimal(20,0))", "json", "n"},
	    {DB_FORM_TEXT, "(json_unquote(json_extract(`json`,_utf8mb4'$.id')) collate utf8mb4_bin)", "json", "id"},
	    {DB_FORM_TEXT, "`json` ->> '$.id'", "json", "id"},
	    /* MariaDB */
	    {DB_FORM_TEXT, "json_unquote(json_extract(`json`,'$.id'))", "json", "id"},
	    {DB_FORM_TEXT, "json_value(`json`,'$.id')", "json", "id"},
	    /* SQLite, as the user wrote it */
	    {DB_FORM_TEXT, "json_extract(json,'$.id')", "json", "id"},
	    {DB_FORM_TEXT, " JSON_EXTRACT ( [json] ,\n\t'$.id' ) ", "json", "id"},
	    {DB_FORM_TEXT, "json_extract(\"json\", \"$.id\")", "json", "id"},
	    {DB_FORM_TEXT, "json->>'$.id'", "json", "id"},
	    {DB_FORM_TEXT, "json ->> 'id'", "json", "id"},
	    {DB_FORM_TEXT, "json ->> '$.\"odd.name\"'", "json", "odd.name"},
	    {DB_FORM_NUMBER, "CAST(json ->> '$.n' AS INTEGER)", "json", "n"},
	    {DB_FORM_TEXT, "((((json ->> 'id'))))", "json", "id"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		derive(cases[i].form, cases[i].expression, cases[i].document, cases[i].member);
}

static void test_derive_nothing(void **state)
{
	static const char *const cases[] = {
	    "",
	    "json",
	    "'id'",
	    "1",
	    "(",
	    "()",
	    "json ->>",
	    "json ->> 'id",
	    "json ->> 'id' ->> 'x'",
	    "((json -> 'a'::text) ->> 'b'::text)",
	    "(json -> 'id'::text)",
	    "((json -> 'id'::text))::text",
	    "(json ->> 0)",
	    "json ->> '0'",
	    "json ->> 'a.b'",
	    "json ->> ''",
	    "json ->> '$'",
	    "json ->> '$.'",
	    "json ->> '$.a.b'",
	    "json ->> '$.a[0]'",
	    "json ->> '$[0]'",
	    "json ->> '$.*'",
	    "json ->> '$.\"a\".b'",
	    "json ->> '$.\"a\"b\"'",
	    "json ->> '$.\"\"'",
	    "json ->> '$.\"a\\\"b\"'",
	    "json ->> E'id'::text",
	    "json ->> X'6964'",
	    "json ->> 'id' || 'x'",
	    "(json ->> 'id'::text) || ''::text",
	    "lower((json ->> 'id'::text))",
	    "(json #>> '{id}'::text[])",
	    "jsonb_extract_path_text(json, VARIADIC ARRAY['id'::text])",
	    "((json ->> 'at'::text))::timestamp without time zone",
	    "((json ->> 'x'::text))::double precision",
	    "((json)::jsonb ->> 'id'::text)",
	    "COALESCE((json ->> 'id'::text), ''::text)",
	    "json_extract(`json`,_utf8mb4'$.a',_utf8mb4'$.b')",
	    "json_extract(json_extract(`json`,'$.a'),'$.b')",
	    "json_extract(`json`)",
	    "json_extract('{}','$.id')",
	    "json_extract(`t`.`json`,'$.id')",
	    "json_extract(`json`,'id')",
	    "json_unquote(`json`)",
	    "json_unquote(json_extract(`json`,'$.id')",
	    "json_unquote(json_extract(`json`,'$.id')))",
	    "json_value(`json`,'$.id' returning signed)",
	    "json_length(json,'$.id')",
	    "cast(json ->> 'id' as date)",
	    "cast(json ->> 'id')",
	    "json ->> 'id' collate",
	    "json ->> 'id' -- comment",
	    "(json ->> 'id'::text)::text)",
	    "((((((((((((((((((((((((((((((((((((((((json ->> 'id'))))))))))))))))))))))))))))))))))))))))",
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		derive(DB_FORM_TEXT, cases[i], NULL, NULL);
	derive(DB_FORM_TEXT, NULL, NULL, NULL);
	derive(DB_FORM_BOOL, "((json ->> 'deleted'::text))::boolean", NULL, NULL);
	derive(DB_FORM_BINARY, "(json ->> 'id'::text)", NULL, NULL);
	derive(DB_FORM_JSON, "((json ->> 'deleted'::text))::boolean", NULL, NULL);
}

/* Every prefix of every shape is either nothing or a member, and never read past its end (run under ASan). */
static void test_derive_prefixes(void **state)
{
	static const char *const cases[] = {
	    "((json ->> 'fullyQualifiedName'::text))::character varying(256) COLLATE \"C\"",
	    "cast(json_unquote(json_extract(`json`,_utf8mb4'$.\"x\"')) as char(36) charset utf8mb4)",
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (size_t n = 0; n <= strlen(cases[i]); n++) {
			_cleanup_free_ char *prefix = xmemdup0(cases[i], n);
			struct db_column c = {.form = DB_FORM_TEXT};
			db_column_derive(&c, prefix);
			assert_true((c.document == NULL) == (c.member == NULL));
			free(c.document);
			free(c.member);
		}
	}
}

/* ---- key ---- */

static struct db_table key_table(void)
{
	static const struct db_column columns[] = {
	    {.name = (char *)"a"},
	    {.name = (char *)"b"},
	    {.name = (char *)"nullable", .nullable = true},
	    {.name = (char *)"derived", .generated = true, .document = (char *)"a", .member = (char *)"x"},
	    {.name = (char *)"opaque", .generated = true},
	};
	return (struct db_table){.columns = (struct db_column *)(uintptr_t)columns, .n_columns = 5};
}

static void expect_key(const struct db_index *indexes, size_t n, enum db_key_kind kind, size_t first, size_t n_key)
{
	struct db_table t = key_table();
	db_table_choose_key(&t, indexes, n);
	assert_int_equal(t.key_kind, kind);
	assert_int_equal(t.n_key, n_key);
	if (n_key)
		assert_int_equal(t.key[0], first);
	else
		assert_null(t.key);
	free(t.key);
}

#define IX(name_, primary_, unique_, ...)                                                                              \
	{                                                                                                              \
		.name = (char *)name_, .primary = primary_, .unique = unique_, .columns = (size_t[]){__VA_ARGS__},     \
		.n_columns = sizeof(size_t[]){__VA_ARGS__} / sizeof(size_t)                                            \
	}

static void test_choose_key(void **state)
{
	expect_key(NULL, 0, DB_KEY_NONE, 0, 0);
	expect_key((struct db_index[]){IX("u", false, true, 0), IX("p", true, true, 1, 0)}, 2, DB_KEY_UNIQUE, 1, 2);
	expect_key((struct db_index[]){IX("z", false, true, 0), IX("y", false, true, 1)}, 2, DB_KEY_UNIQUE, 1, 1);
	expect_key((struct db_index[]){IX("y", false, true, 1, 0), IX("z", false, true, 0)}, 2, DB_KEY_UNIQUE, 0, 1);
	/* unique with NULLs, plain: indexes by name */
	expect_key((struct db_index[]){IX("b", false, true, 2), IX("a", false, false, 1, 2)}, 2, DB_KEY_INDEX, 1, 2);
	/* a NOT NULL unique one wins over any name */
	expect_key((struct db_index[]){IX("a", false, false, 1), IX("z", false, true, 0, 1)}, 2, DB_KEY_UNIQUE, 0, 2);
	/* generated columns: only with a derivation, also as primary key */
	expect_key((struct db_index[]){IX("p", true, true, 3)}, 1, DB_KEY_UNIQUE, 3, 1);
	expect_key((struct db_index[]){IX("p", true, true, 4), IX("u", false, true, 0)}, 2, DB_KEY_UNIQUE, 0, 1);
	expect_key((struct db_index[]){IX("p", true, true, 4), IX("a", false, false, 1, 4)}, 2, DB_KEY_NONE, 0, 0);
	/* a primary key with NULLs (SQLite) is no unique key */
	expect_key((struct db_index[]){IX("p", true, true, 2), IX("u", false, true, 0)}, 2, DB_KEY_UNIQUE, 0, 1);
	expect_key((struct db_index[]){{.name = (char *)"empty"}}, 1, DB_KEY_NONE, 0, 0);
}

static void test_find(void **state)
{
	struct db_schema *s = xcalloc(1, sizeof *s);
	static const char *const names[] = {"A", "B", "_", "a", "ab", "b"};
	s->n_tables = sizeof names / sizeof names[0];
	s->tables = xcalloc(s->n_tables, sizeof *s->tables);
	for (size_t i = 0; i < s->n_tables; i++)
		s->tables[i].name = xstrdup(names[i]);
	for (size_t i = 0; i < s->n_tables; i++)
		assert_ptr_equal(db_schema_find(s, names[i]), &s->tables[i]);
	assert_null(db_schema_find(s, ""));
	assert_null(db_schema_find(s, "aa"));
	assert_null(db_schema_find(s, "c"));
	db_schema_free(s);
	db_schema_free(NULL);
}

static void test_sqlstate(void **state)
{
	static const struct {
		const char *state;
		int code;
	} cases[] = {
	    {"08001", ECONNREFUSED},
	    {"08004", ECONNREFUSED},
	    {"08006", ECONNRESET},
	    {"08S01", ECONNRESET},
	    {"28000", EACCES},
	    {"28P01", EACCES},
	    {"42501", EACCES},
	    {"55P03", EBUSY},
	    {"40P01", EBUSY},
	    {"40001", EAGAIN},
	    {"57014", EINTR},
	    {"57P01", ECONNRESET},
	    {"57P03", ECONNREFUSED},
	    {"53100", ENOSPC},
	    {"0A000", ENOTSUP},
	    {"3D000", EINVAL},
	    {"23505", EEXIST},
	    {"23503", EEXIST},
	    {"42601", EIO},
	    {"XX000", EIO},
	    {"", EIO},
	    {"5", EIO},
	    {NULL, EIO},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (db_errno_of_sqlstate(cases[i].state) != cases[i].code)
			fail_msg("%s", cases[i].state);
}

/* ---- URLs ---- */

static void parse(struct db_params *p, const char *url)
{
	struct err e = ERR_INIT;
	if (db_params_parse(p, url, &e) < 0)
		fail_msg("%s: %s", url, e.msg);
}

static const char *option(const struct db_params *p, const char *key)
{
	for (size_t i = 0; p->options[i]; i += 2)
		if (!strcmp(p->options[i], key))
			return p->options[i + 1];
	return NULL;
}

static void test_params_server(void **state)
{
	struct db_params p;
	parse(&p, "postgresql://om%40x:s3%2Fcr%25t@db.example:6432/"
		  "open%20meta?schema=om&sslmode=verify-full&connect_timeout=9");
	assert_string_equal(p.engine, "postgresql");
	assert_string_equal(p.user, "om@x");
	assert_string_equal(p.password, "s3/cr%t");
	assert_string_equal(p.host, "db.example");
	assert_int_equal(p.port, 6432);
	assert_string_equal(p.database, "open meta");
	assert_string_equal(p.schema, "om");
	assert_string_equal(option(&p, "sslmode"), "verify-full");
	assert_null(option(&p, "schema"));
	assert_int_equal(p.connect_timeout_ms, 9000);
	_cleanup_free_ char *text = db_params_describe(&p);
	assert_string_equal(text, "postgresql://om%40x@db.example:6432/open%20meta?schema=om&sslmode=verify-full");
	db_params_done(&p);
	assert_null(p.password);

	parse(&p, "postgres://%2Fvar%2Frun/db");
	assert_string_equal(p.engine, "postgresql");
	assert_string_equal(p.host, "/var/run");
	assert_string_equal(p.schema, "public");
	assert_null(p.user);
	assert_int_equal(p.port, 0);
	db_params_done(&p);

	parse(&p, "MariaDB://u:@[fe80::1]:3307/x?ssl_ca=/etc/ca.pem&socket=/run/s");
	assert_string_equal(p.engine, "mysql");
	assert_string_equal(p.host, "fe80::1");
	assert_null(p.password);
	assert_null(p.schema);
	assert_int_equal(p.port, 3307);
	assert_string_equal(option(&p, "socket"), "/run/s");
	free(text);
	text = db_params_describe(&p);
	assert_string_equal(text, "mysql://u@[fe80::1]:3307/x?ssl_ca=/etc/ca.pem&socket=/run/s");
	db_params_done(&p);

	parse(&p, "postgresql:///?service=om");
	assert_null(p.host);
	assert_null(p.database);
	db_params_done(&p);
	parse(&p, "mysql://[::1]/x");
	assert_string_equal(p.host, "::1");
	db_params_done(&p);
	parse(&p, "mysql://u:p@ss@h:/x");
	assert_string_equal(p.password, "p@ss");
	assert_string_equal(p.host, "h");
	assert_int_equal(p.port, 0);
	db_params_done(&p);
}

static void test_params_file(void **state)
{
	struct db_params p;
	parse(&p, "sqlite:/data/a b%3F%25.db");
	assert_string_equal(p.database, "/data/a b?%.db");
	_cleanup_free_ char *text = db_params_describe(&p);
	assert_string_equal(text, "sqlite:/data/a b%3F%25.db");
	db_params_done(&p);
	parse(&p, "sqlite:///data/x.db");
	assert_string_equal(p.database, "/data/x.db");
	db_params_done(&p);
	parse(&p, "sqlite:x.db");
	assert_string_equal(p.database, "x.db");
	assert_null(p.schema);
	db_params_done(&p);
	parse(&p, "fake:/x?fail=scan_next&after=100&errno=5&slow_ms_per_row=1&hang=begin");
	assert_string_equal(p.engine, "fake");
	assert_string_equal(option(&p, "after"), "100");
	db_params_done(&p);
}

static void test_params_refused(void **state)
{
	static const char *const cases[] = {
	    "",
	    "prod",
	    "oracle://h/x",
	    "postgresql:h/x",
	    "postgresql:/h/x",
	    "postgresql://h:0/x",
	    "postgresql://h:65536/x",
	    "postgresql://h:5432x/x",
	    "postgresql://[::1/x",
	    "postgresql://[]/x",
	    "postgresql://[::1]x/x",
	    "postgresql://h/x/y",
	    "postgresql://h/x?",
	    "postgresql://h/x?sslmode",
	    "postgresql://h/x?sslmode=",
	    "postgresql://h/x?sslmode=a&sslmode=b",
	    "postgresql://h/x?schema=a&schema=b",
	    "postgresql://h/x?sslmode=a&",
	    "postgresql://h/x?ssl_ca=a",
	    "postgresql://h/x?password=a",
	    "postgresql://h/x?connect_timeout=0",
	    "postgresql://h/x?connect_timeout=x",
	    "postgresql://h/%zz",
	    "postgresql://h/%4",
	    "postgresql://h/%",
	    "postgresql://h/a%00b",
	    "mysql://h/x?schema=a",
	    "mysql://h/x?sslmode=a",
	    "sqlite:",
	    "sqlite:?x=1",
	    "sqlite://",
	    "sqlite://x.db",
	    "sqlite:x.db?mode=ro",
	    "sqlite:100%.db",
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct db_params p;
		struct err e = ERR_INIT;
		/* "...?" without anything behind it is the one form that is harmless */
		int r = db_params_parse(&p, cases[i], &e);
		if (!strcmp(cases[i], "postgresql://h/x?")) {
			assert_int_equal(r, 0);
			db_params_done(&p);
			continue;
		}
		if (r != -EINVAL || e.code != EINVAL || !e.msg[0])
			fail_msg("%s: %d", cases[i], r);
		assert_null(p.engine);
	}
}

/* A password whose special characters were not encoded falls apart in many ways: none may show it. */
static void test_params_hide_password(void **state)
{
	static const char special[] = "/?:@#%&=[]";
	for (const char *s = special; *s; s++) {
		_cleanup_free_ char *url = xasprintf("postgresql://u:hush%chush@h:5432/db", *s);
		struct db_params p;
		struct err e = ERR_INIT;
		if (db_params_parse(&p, url, &e) < 0) {
			if (strstr(e.msg, "hush"))
				fail_msg("%s: %s", url, e.msg);
			continue;
		}
		_cleanup_free_ char *text = db_params_describe(&p);
		if (strstr(text, "hush"))
			fail_msg("%s: %s", url, text);
		db_params_done(&p);
	}
}

static void test_params_excludes(void **state)
{
	struct db_params p;
	parse(&p, "sqlite:x");
	assert_false(db_params_excludes(&p, "a"));
	p.exclude = xcalloc(3, sizeof *p.exclude);
	p.exclude[0] = xstrdup("qrtz_*");
	p.exclude[1] = xstrdup("audit");
	assert_true(db_params_excludes(&p, "qrtz_locks"));
	assert_true(db_params_excludes(&p, "audit"));
	assert_false(db_params_excludes(&p, "audit_log"));
	db_params_done(&p);
	assert_null(p.exclude);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_derive_members),
	    cmocka_unit_test(test_derive_nothing),
	    cmocka_unit_test(test_derive_prefixes),
	    cmocka_unit_test(test_choose_key),
	    cmocka_unit_test(test_find),
	    cmocka_unit_test(test_sqlstate),
	    cmocka_unit_test(test_params_server),
	    cmocka_unit_test(test_params_file),
	    cmocka_unit_test(test_params_refused),
	    cmocka_unit_test(test_params_hide_password),
	    cmocka_unit_test(test_params_excludes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
