/*
 * tests/unit/snapshot/row/row_test.c - snapshot/row/row.h, the canonical row: exact lines, strict reading, keys and
 * names, pretty and compact text.
 *
 * The second half is property tests over random tables and values. ROW_SEED=N repeats a run (the seed is printed).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <time.h>

#include "snapshot/row/json_text.h"
#include "snapshot/row/row.h"

/* ---- helpers ---- */

struct column_spec {
	const char *name;
	enum db_form form;
	bool integer;
	const char *document, *member; /* set: generated */
};

/* Columns in order, then the key's columns. */
static struct row_codec *codec_of(const struct column_spec *specs, size_t n, enum db_key_kind kind, const size_t *key,
				  size_t n_key, bool dynamic)
{
	struct db_column columns[16] = {0};
	assert_true(n <= 16);
	for (size_t i = 0; i < n; i++)
		columns[i] = (struct db_column){
		    .name = (char *)specs[i].name,
		    .type = (char *)"type",
		    .form = specs[i].form,
		    .integer = specs[i].integer,
		    .generated = specs[i].document != NULL,
		    .document = (char *)specs[i].document,
		    .member = (char *)specs[i].member,
		};
	struct db_table t = {
	    .name = (char *)"t",
	    .columns = columns,
	    .n_columns = n,
	    .key_kind = kind,
	    .key = (size_t *)key,
	    .n_key = n_key,
	    .dynamic = dynamic,
	};
	return row_codec_new(&t);
}

static const size_t first_key[] = {0, 1, 2, 3};

/* One column `c`, which is also the key. */
static struct row_codec *codec_of_one(enum db_form form, bool integer, bool dynamic)
{
	struct column_spec spec = {"c", form, integer, NULL, NULL};
	return codec_of(&spec, 1, DB_KEY_UNIQUE, first_key, 1, dynamic);
}

static struct db_value value_of(const char *text, enum db_kind kind)
{
	return (struct db_value){text, text ? strlen(text) : 0, kind};
}

static bool same_value(const struct db_value *a, const struct db_value *b)
{
	if (!a->data || !b->data)
		return !a->data && !b->data;
	return a->kind == b->kind && a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static bool same_text(const struct strbuf *a, const struct strbuf *b)
{
	return a->len == b->len && !memcmp(strbuf_str(a), strbuf_str(b), a->len);
}

static struct row_codec *cleanup_of(struct row_codec **c)
{
	row_codec_free(*c);
	return *c = NULL;
}

/* value of the one column <-> JSON of it, both ways. */
static void check_value(enum db_form form, bool integer, bool dynamic, struct db_value v, const char *json)
{
	struct row_codec *c = codec_of_one(form, integer, dynamic);
	_cleanup_strbuf_ struct strbuf line = {0};
	struct err e = ERR_INIT;
	assert_int_equal(row_encode(c, &v, &line, &e), 0);
	_cleanup_free_ char *want = xasprintf("{\"c\":%s}", json);
	assert_string_equal(line.data, want);
	assert_int_equal(line.len, strlen(want));
	struct row_values rv;
	row_values_init(&rv, c);
	assert_int_equal(row_decode(c, line.data, line.len, &rv, &e), 0);
	assert_true(same_value(&rv.v[0], &v));
	assert_true(same_value(&rv.v[1], &v));
	row_values_done(&rv);
	(void)cleanup_of(&c);
}

static void check_static(enum db_form form, const char *text, const char *json)
{
	check_value(form, false, false, value_of(text, DB_KIND_COLUMN), json);
}

static int encode_one(enum db_form form, bool dynamic, struct db_value v, struct strbuf *line)
{
	struct row_codec *c = codec_of_one(form, false, dynamic);
	struct err e = ERR_INIT;
	int rc = row_encode(c, &v, line, &e);
	assert_true(!rc || (strstr(e.msg, "t.c") && e.code == -rc));
	(void)cleanup_of(&c);
	return rc;
}

/* ---- exact lines ---- */

static void test_values(void **state)
{
	(void)state;
	check_static(DB_FORM_TEXT, "", "\"\"");
	check_static(DB_FORM_TEXT, NULL, "null");
	check_static(DB_FORM_TEXT, "null", "\"null\"");
	check_static(DB_FORM_TEXT, "a\"b\\c/\b\f\n\r\t\x01\x1f\x7f",
		     "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
	check_static(DB_FORM_TEXT, "\xf0\x9f\x98\x80 \xff\xfe \xc3", "\"\xf0\x9f\x98\x80 \xff\xfe \xc3\"");
	check_value(DB_FORM_TEXT, false, false, (struct db_value){"a\0b", 3, DB_KIND_COLUMN}, "\"a\\u0000b\"");

	static const char *const numbers[] = {"0",   "-0",   "7",      "-12", "1.10",
					      "1e5", "1E+5", "1e-400", "0.0", "123456789012345678901234567890"};
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		check_static(DB_FORM_NUMBER, numbers[i], numbers[i]);
	static const char *const strings[] = {"+1", ".5", "5.",   "007", "NaN", "-Infinity", "",
					      "-",  "1e", "0x10", " 1",  "1 ",  "1,2",       "00"};
	for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
		_cleanup_free_ char *json = xasprintf("\"%s\"", strings[i]);
		check_static(DB_FORM_NUMBER, strings[i], json);
	}
	check_static(DB_FORM_NUMBER, NULL, "null");
	check_static(DB_FORM_BOOL, "t", "true");
	check_static(DB_FORM_BOOL, "f", "false");
	check_static(DB_FORM_BOOL, NULL, "null");

	check_static(DB_FORM_BINARY, "", "\"\"");
	check_static(DB_FORM_BINARY, "f", "\"Zg==\"");
	check_static(DB_FORM_BINARY, "fo", "\"Zm8=\"");
	check_static(DB_FORM_BINARY, "foo", "\"Zm9v\"");
	check_static(DB_FORM_BINARY, "\xfb\xff\xbf", "\"+/+/\"");
	char bytes[256];
	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	struct db_value all = {bytes, sizeof bytes, DB_KIND_COLUMN};
	_cleanup_strbuf_ struct strbuf line = {0};
	static const enum db_form forms[] = {DB_FORM_TEXT, DB_FORM_BINARY, DB_FORM_NUMBER, DB_FORM_JSON_TEXT};
	for (size_t i = 0; i < 4; i++) {
		struct row_codec *c = codec_of_one(forms[i], false, false);
		struct row_values rv;
		row_values_init(&rv, c);
		assert_int_equal(row_encode(c, &all, &line, ERR_DROP), 0);
		assert_int_equal(row_decode(c, line.data, line.len, &rv, ERR_DROP), 0);
		assert_true(same_value(&rv.v[0], &all));
		row_values_done(&rv);
		(void)cleanup_of(&c);
	}
	assert_int_equal(encode_one(DB_FORM_BOOL, false, value_of("true", DB_KIND_COLUMN), &line), -EBADMSG);
}

static void test_json(void **state)
{
	(void)state;
	static const char *const same[] = {
	    "{}",          "[]",    "1.10", "12345678901234567890", "1e400",
	    "true",        "false", "-0",   "{\"a\":1,\"a\":2}",    "{\"\\u0061\":\"\\ud83d\\ude00\\ud800\\/\"}",
	    "[[],{},[{}]]"};
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		check_static(DB_FORM_JSON, same[i], same[i]);
	check_static(DB_FORM_JSON, "\"x\"", "\"\\\"x\\\"\"");
	check_static(DB_FORM_JSON, "\"a b\\n\"", "\"\\\"a b\\\\n\\\"\"");
	check_static(DB_FORM_JSON, "null", "\"null\"");
	check_static(DB_FORM_JSON, NULL, "null");

	_cleanup_strbuf_ struct strbuf line = {0};
	static const char *const spaced[][2] = {
	    {" { \"a b\" : [ 1 , 2 ] ,\n\t\"c\": { } , \"d\": \" , : \" }\r\n",
	     "{\"c\":{\"a b\":[1,2],\"c\":{},\"d\":\" , : \"}}"},
	    {"[ ]", "{\"c\":[]}"},
	    {" null ", "{\"c\":\"null\"}"},
	    {"\t\"x\" ", "{\"c\":\"\\\"x\\\"\"}"},
	    {" 1.10 ", "{\"c\":1.10}"},
	};
	for (size_t i = 0; i < sizeof spaced / sizeof spaced[0]; i++) {
		assert_int_equal(encode_one(DB_FORM_JSON, false, value_of(spaced[i][0], DB_KIND_COLUMN), &line), 0);
		assert_string_equal(line.data, spaced[i][1]);
	}
	static const char *const broken[] = {
	    "",
	    " ",
	    "{",
	    "[1",
	    "{\"a\"}",
	    "{\"a\":}",
	    "{\"a\":1,}",
	    "[1,]",
	    "[,1]",
	    "{,}",
	    "[1 2]",
	    "{\"a\" 1}",
	    "{a:1}",
	    "nul",
	    "nulll",
	    "truex",
	    "tru",
	    "01",
	    "1.",
	    ".5",
	    "+1",
	    "-",
	    "1e",
	    "\"a",
	    "\"\\x\"",
	    "\"\\u12g4\"",
	    "\"\\u123",
	    "\"\n\"",
	    "{}{}",
	    "[]]",
	    "}",
	    "]",
	    "[}",
	    "{]",
	    "1 2",
	    "\"a\" \"b\"",
	    "\"a\"b",
	    "null x",
	    "NaN",
	    "'a'",
	    "[1]//",
	    "\xef\xbb\xbf{}",
	    "{\"a\":1 \"b\":2}",
	    "[\"a\nb\"]",
	    "{1:2}",
	};
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
		assert_int_equal(encode_one(DB_FORM_JSON, false, value_of(broken[i], DB_KIND_COLUMN), &line), -EBADMSG);
	/* A NUL and other control bytes are not white space. */
	assert_int_equal(encode_one(DB_FORM_JSON, false, (struct db_value){"[1\0]", 4, DB_KIND_COLUMN}, &line),
			 -EBADMSG);
	assert_int_equal(encode_one(DB_FORM_JSON, false, value_of("[1\v]", DB_KIND_COLUMN), &line), -EBADMSG);
}

static void test_json_text(void **state)
{
	(void)state;
	static const char *const same[] = {"{}", "[]", "{\"a\":1,\"a\":1.10}", "[\"a b\"]", "{\"$text\":\"x\"}"};
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		check_static(DB_FORM_JSON_TEXT, same[i], same[i]);
	check_static(DB_FORM_JSON_TEXT, "{\"a\": 1}", "\"{\\\"a\\\": 1}\"");
	check_static(DB_FORM_JSON_TEXT, "[1] ", "\"[1] \"");
	check_static(DB_FORM_JSON_TEXT, "[1", "\"[1\"");
	check_static(DB_FORM_JSON_TEXT, "1", "\"1\"");
	check_static(DB_FORM_JSON_TEXT, "null", "\"null\"");
	check_static(DB_FORM_JSON_TEXT, "true", "\"true\"");
	check_static(DB_FORM_JSON_TEXT, "\"x\"", "\"\\\"x\\\"\"");
	check_static(DB_FORM_JSON_TEXT, "", "\"\"");
	check_static(DB_FORM_JSON_TEXT, NULL, "null");
}

static void test_dynamic(void **state)
{
	(void)state;
	const struct {
		enum db_form form;
		enum db_kind kind;
		const char *text, *json;
	} cases[] = {
	    {DB_FORM_NUMBER, DB_KIND_INTEGER, "5", "5"},
	    {DB_FORM_NUMBER, DB_KIND_INTEGER, "-9223372036854775808", "-9223372036854775808"},
	    {DB_FORM_NUMBER, DB_KIND_REAL, "5.0", "5.0"},
	    {DB_FORM_NUMBER, DB_KIND_REAL, "9e999", "9e999"},
	    {DB_FORM_NUMBER, DB_KIND_REAL, "-0.0", "-0.0"},
	    {DB_FORM_NUMBER, DB_KIND_REAL, "Inf", "{\"$real\":\"Inf\"}"},
	    {DB_FORM_NUMBER, DB_KIND_REAL, "5", "{\"$real\":\"5\"}"},
	    {DB_FORM_NUMBER, DB_KIND_TEXT, "5", "\"5\""},
	    {DB_FORM_NUMBER, DB_KIND_TEXT, "", "\"\""},
	    {DB_FORM_NUMBER, DB_KIND_BLOB, "5", "{\"$blob\":\"NQ==\"}"},
	    {DB_FORM_TEXT, DB_KIND_INTEGER, "5", "5"},
	    {DB_FORM_TEXT, DB_KIND_REAL, "5.5", "5.5"},
	    {DB_FORM_TEXT, DB_KIND_TEXT, "{\"$blob\":\"NQ==\"}", "\"{\\\"$blob\\\":\\\"NQ==\\\"}\""},
	    {DB_FORM_TEXT, DB_KIND_BLOB, "", "{\"$blob\":\"\"}"},
	    {DB_FORM_BINARY, DB_KIND_BLOB, "foo", "\"Zm9v\""},
	    {DB_FORM_BINARY, DB_KIND_TEXT, "a\"\n", "{\"$text\":\"a\\\"\\n\"}"},
	    {DB_FORM_BINARY, DB_KIND_TEXT, "", "{\"$text\":\"\"}"},
	    {DB_FORM_BINARY, DB_KIND_INTEGER, "1", "1"},
	    {DB_FORM_JSON_TEXT, DB_KIND_TEXT, "{\"a\":1}", "{\"a\":1}"},
	    {DB_FORM_JSON_TEXT, DB_KIND_TEXT, "[1]", "[1]"},
	    {DB_FORM_JSON_TEXT, DB_KIND_TEXT, "{\"a\": 1}", "\"{\\\"a\\\": 1}\""},
	    {DB_FORM_JSON_TEXT, DB_KIND_TEXT, "{\"$blob\":\"NQ==\"}", "\"{\\\"$blob\\\":\\\"NQ==\\\"}\""},
	    {DB_FORM_JSON_TEXT, DB_KIND_TEXT, "{\"$text\":\"a\",\"b\":1}", "\"{\\\"$text\\\":\\\"a\\\",\\\"b\\\":1}\""},
	    {DB_FORM_JSON_TEXT, DB_KIND_TEXT, "{\"$real\":\"a\"}", "\"{\\\"$real\\\":\\\"a\\\"}\""},
	    {DB_FORM_JSON_TEXT, DB_KIND_TEXT, "{\"$ref\":\"a\"}", "{\"$ref\":\"a\"}"},
	    {DB_FORM_JSON_TEXT, DB_KIND_TEXT, "{\"\\u0024text\":\"a\"}", "{\"\\u0024text\":\"a\"}"},
	    {DB_FORM_JSON_TEXT, DB_KIND_BLOB, "{}", "{\"$blob\":\"e30=\"}"},
	    {DB_FORM_JSON_TEXT, DB_KIND_INTEGER, "1", "1"},
	    {DB_FORM_TEXT, DB_KIND_COLUMN, NULL, "null"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		check_value(cases[i].form, false, true, value_of(cases[i].text, cases[i].kind), cases[i].json);
	_cleanup_strbuf_ struct strbuf line = {0};
	static const char *const bad[] = {"9223372036854775808", "-9223372036854775809", "05", "-0", "1.0", "", "x"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(encode_one(DB_FORM_NUMBER, true, value_of(bad[i], DB_KIND_INTEGER), &line), -EBADMSG);
}

static void test_decode_is_strict(void **state)
{
	(void)state;
	const struct {
		enum db_form form;
		bool dynamic;
		const char *line;
	} bad[] = {
	    {DB_FORM_TEXT, false, "{}"},
	    {DB_FORM_TEXT, false, ""},
	    {DB_FORM_TEXT, false, "{\"c\":\"x\""},
	    {DB_FORM_TEXT, false, "{\"c\":\"x\"}\n"},
	    {DB_FORM_TEXT, false, "{\"c\": \"x\"}"},
	    {DB_FORM_TEXT, false, "{ \"c\":\"x\"}"},
	    {DB_FORM_TEXT, false, "{\"d\":\"x\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"x\",\"c\":\"x\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"x\",\"d\":1}"},
	    {DB_FORM_TEXT, false, "{\"d\":1,\"c\":\"x\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":1}"},
	    {DB_FORM_TEXT, false, "{\"c\":{}}"},
	    {DB_FORM_TEXT, false, "{\"c\":true}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"\\ud800\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"\\udc00\\ud800\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"\\ud800\\u0041\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"\\udc00\\udc00\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"\\x\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"a\nb\"}"},
	    {DB_FORM_TEXT, false, "{\"c\":\"a}"},
	    {DB_FORM_TEXT, false, "{\"c\":}"},
	    {DB_FORM_TEXT, false, "{\"c\":nul}"},
	    {DB_FORM_TEXT, false, "{\"c\":nullx}"},
	    {DB_FORM_NUMBER, false, "{\"c\":01}"},
	    {DB_FORM_NUMBER, false, "{\"c\":1x}"},
	    {DB_FORM_NUMBER, false, "{\"c\":true}"},
	    {DB_FORM_NUMBER, false, "{\"c\":[]}"},
	    {DB_FORM_BOOL, false, "{\"c\":\"t\"}"},
	    {DB_FORM_BOOL, false, "{\"c\":1}"},
	    {DB_FORM_BOOL, false, "{\"c\":truefalse}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"Zg\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"Zg=\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"Zh==\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"Zm9=\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"Zg==Zg==\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"Zm 9v\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"====\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"Z===\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":\"Zm-_\"}"},
	    {DB_FORM_BINARY, false, "{\"c\":1}"},
	    {DB_FORM_JSON, false, "{\"c\":{\"a\": 1}}"},
	    {DB_FORM_JSON, false, "{\"c\":{\"a\":1}"},
	    {DB_FORM_JSON, false, "{\"c\":{\"a\":01}}"},
	    {DB_FORM_JSON, false, "{\"c\":\"{}\"}"},
	    {DB_FORM_JSON, false, "{\"c\":\"1\"}"},
	    {DB_FORM_JSON, false, "{\"c\":\"x\"}"},
	    {DB_FORM_JSON, false, "{\"c\":\" null\"}"},
	    {DB_FORM_JSON, false, "{\"c\":\"\"}"},
	    {DB_FORM_JSON_TEXT, false, "{\"c\":1}"},
	    {DB_FORM_JSON_TEXT, false, "{\"c\":true}"},
	    {DB_FORM_JSON_TEXT, false, "{\"c\":[1 ]}"},
	    {DB_FORM_NUMBER, true, "{\"c\":true}"},
	    {DB_FORM_NUMBER, true, "{\"c\":{}}"},
	    {DB_FORM_NUMBER, true, "{\"c\":9223372036854775808}"},
	    {DB_FORM_NUMBER, true, "{\"c\":-0}"},
	    {DB_FORM_NUMBER, true, "{\"c\":{\"$text\":\"x\"}}"},
	    {DB_FORM_NUMBER, true, "{\"c\":{\"$blob\":\"Zh==\"}}"},
	    {DB_FORM_NUMBER, true, "{\"c\":{\"$blob\":\"Zg==\",\"a\":1}}"},
	    {DB_FORM_BINARY, true, "{\"c\":{\"$blob\":\"Zg==\"}}"},
	    {DB_FORM_BINARY, true, "{\"c\":\"x\"}"},
	    {DB_FORM_JSON_TEXT, true, "{\"c\":{\"$text\":\"x\"}}"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct row_codec *c = codec_of_one(bad[i].form, false, bad[i].dynamic);
		struct row_values rv;
		row_values_init(&rv, c);
		struct err e = ERR_INIT;
		int rc = row_decode(c, bad[i].line, strlen(bad[i].line), &rv, &e);
		if (rc != -EBADMSG)
			print_message("taken: %s\n", bad[i].line);
		assert_int_equal(rc, -EBADMSG);
		assert_int_equal(e.code, EBADMSG);
		assert_true(e.msg[0] == 't');
		row_values_done(&rv);
		(void)cleanup_of(&c);
	}
}

static void test_decode_of_edited_text(void **state)
{
	(void)state;
	static const struct column_spec specs[] = {{"a\"b", DB_FORM_TEXT, false, NULL, NULL},
						   {"x", DB_FORM_BINARY, false, NULL, NULL}};
	struct row_codec *c = codec_of(specs, 2, DB_KEY_UNIQUE, first_key, 2, false);
	static const char text[] = "{\"\\u0061\\u0022b\":\"\\u00e4\\ud83d\\uDE00\\/\\u0000\",\"x\":\"\\u002b\\/+\\/\"}";
	struct row_values rv;
	row_values_init(&rv, c);
	struct err e = ERR_INIT;
	assert_int_equal(row_decode(c, text, sizeof text - 1, &rv, &e), 0);
	struct db_value want = {"\xc3\xa4\xf0\x9f\x98\x80/", 8, DB_KIND_COLUMN},
			bytes = {"\xfb\xff\xbf", 3, DB_KIND_COLUMN};
	assert_true(same_value(&rv.v[0], &want));
	assert_true(same_value(&rv.v[1], &bytes));
	_cleanup_strbuf_ struct strbuf line = {0}, key = {0}, key2 = {0};
	assert_int_equal(row_encode(c, rv.v, &line, &e), 0);
	assert_string_equal(line.data, "{\"a\\\"b\":\"\xc3\xa4\xf0\x9f\x98\x80/\\u0000\",\"x\":\"+/+/\"}");
	assert_int_equal(row_key(c, text, sizeof text - 1, NULL, 0, &key, &e), 0);
	assert_int_equal(row_key(c, line.data, line.len, NULL, 0, &key2, &e), 0);
	assert_true(same_text(&key, &key2));
	row_values_done(&rv);
	(void)cleanup_of(&c);
}

static void test_generated_key(void **state)
{
	(void)state;
	static const struct column_spec specs[] = {
	    {"id", DB_FORM_TEXT, false, "json", "id"},
	    {"n", DB_FORM_NUMBER, true, "json", "n"},
	    {"ok", DB_FORM_BOOL, false, "json", "ok"},
	    {"json", DB_FORM_JSON, false, NULL, NULL},
	};
	static const char *const texts[] = {"{\"id\":\"a\\u0062\\n\",\"n\":12,\"ok\":true}",
					    "{ \"x\" : {\"id\":1}, \"ok\": \"true\", \"id\":\"ab\\n\", \"n\":\"12\"}"};
	struct row_codec *c = codec_of(specs, 4, DB_KEY_UNIQUE, first_key, 3, false);
	assert_int_equal(row_codec_columns(c), 1);
	assert_int_equal(row_codec_scan_values(c), 4);
	_cleanup_strbuf_ struct strbuf line = {0}, key = {0}, name = {0};
	struct err e = ERR_INIT;
	for (size_t i = 0; i < 2; i++) {
		struct db_value v[] = {value_of(texts[i], 0), value_of("ab\n", 0), value_of("12", 0), value_of("t", 0)};
		assert_int_equal(row_encode(c, v, &line, &e), 0);
		strbuf_clear(&key);
		strbuf_clear(&name);
		assert_int_equal(row_key(c, line.data, line.len, NULL, 0, &key, &e), 0);
		row_name(c, key.data, key.len, &name);
		assert_string_equal(name.data, "ab%0A,12,true.json");
		struct row_values rv;
		row_values_init(&rv, c);
		assert_int_equal(row_decode(c, line.data, line.len, &rv, &e), 0);
		for (size_t k = 1; k < 4; k++)
			assert_true(same_value(&rv.v[k], &v[k]));
		row_values_done(&rv);
	}
	const char *const wrong[][4] = {
	    {"{\"id\":\"a\",\"n\":1,\"ok\":true}", "b", "1", "t"},
	    {"{\"id\":\"a\",\"n\":1,\"ok\":true}", "a", "2", "t"},
	    {"{\"id\":\"a\",\"n\":1,\"ok\":true}", "a", "1", "f"},
	    {"{\"id\":\"a\",\"n\":1.0,\"ok\":true}", "a", "1", "t"},
	    {"{\"id\":\"a\",\"n\":1,\"ok\":1}", "a", "1", "t"},
	    {"{\"n\":1,\"ok\":true}", NULL, "1", "t"},
	    {"{\"id\":null,\"n\":1,\"ok\":true}", "null", "1", "t"},
	    {"{\"id\":{},\"n\":1,\"ok\":true}", "{}", "1", "t"},
	    {"{\"id\":[1],\"n\":1,\"ok\":true}", "[1]", "1", "t"},
	    {"{\"id\":\"\\ud800\",\"n\":1,\"ok\":true}", "\xed\xa0\x80", "1", "t"},
	    {"[]", NULL, "1", "t"},
	    {NULL, "a", "1", "t"},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct db_value v[4];
		for (size_t k = 0; k < 4; k++)
			v[k] = value_of(wrong[i][k], 0);
		assert_int_equal(row_encode(c, v, &line, &e), -EDOM);
	}
	/* Numbers and truth values as text columns have them; a document kept as text, spaces and all. */
	static const struct column_spec text_specs[] = {{"id", DB_FORM_TEXT, false, "j", "a b"},
							{"j", DB_FORM_JSON_TEXT, false, NULL, NULL}};
	(void)cleanup_of(&c);
	c = codec_of(text_specs, 2, DB_KEY_INDEX, first_key, 1, false);
	const char *const taken[][2] = {
	    {"{\"a b\":1.10}", "1.10"},
	    {"{\"a b\": true }", "true"},
	    {"{\"x\":1,\"\\u0061 b\": \"\\\"\\u00e9\"}", "\"\xc3\xa9"},
	    {"{\"a b\":null}", NULL},
	    {"{ }", NULL},
	    {"[\"a b\"]", NULL},
	    {NULL, NULL},
	    {"{\"a b\":\"\"}", ""},
	    {"{\"a b\" :\"1\",\"a b\":\"2\"}", "1"},
	};
	uint8_t sha[ROW_SHA_LEN] = {0};
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		struct db_value v[] = {value_of(taken[i][0], 0), value_of(taken[i][1], 0)};
		assert_int_equal(row_encode(c, v, &line, &e), 0);
		struct row_values rv;
		row_values_init(&rv, c);
		assert_int_equal(row_decode(c, line.data, line.len, &rv, &e), 0);
		assert_true(same_value(&rv.v[0], &v[0]));
		assert_true(same_value(&rv.v[1], &v[1]));
		row_values_done(&rv);
		strbuf_clear(&key);
		assert_int_equal(row_key(c, line.data, line.len, sha, 1, &key, &e), 0);
	}
	/* Long, escaped and in a document that is itself escaped: the memory moves while it is taken. */
	char id[3001], long_text[3100];
	memset(id, 'x', 3000);
	id[3000] = '\0';
	(void)snprintf(long_text, sizeof long_text, "{ \"a b\": \"%s\\n\" }", id);
	id[3000] = '\n';
	struct db_value moved[] = {value_of(long_text, 0), {id, 3001, DB_KIND_COLUMN}};
	struct row_values moved_values;
	row_values_init(&moved_values, c);
	assert_int_equal(row_encode(c, moved, &line, &e), 0);
	assert_int_equal(row_decode(c, line.data, line.len, &moved_values, &e), 0);
	assert_true(same_value(&moved_values.v[1], &moved[1]));
	row_values_done(&moved_values);
	(void)cleanup_of(&c);
	/* A key that the row cannot tell. */
	static const struct column_spec lost[] = {{"id", DB_FORM_TEXT, false, "nowhere", "id"},
						  {"j", DB_FORM_JSON, false, NULL, NULL}};
	c = codec_of(lost, 2, DB_KEY_UNIQUE, first_key, 1, false);
	struct db_value v[] = {value_of("{\"id\":\"a\"}", 0), value_of("a", 0)};
	assert_int_equal(row_encode(c, v, &line, &e), -EDOM);
	assert_int_equal(row_key(c, line.data, line.len, NULL, 0, &key, &e), -EBADMSG);
	(void)cleanup_of(&c);
}

/* ---- keys and names ---- */

static void name_of(const struct row_codec *c, const char *line, struct strbuf *key, struct strbuf *name)
{
	struct err e = ERR_INIT;
	strbuf_clear(key);
	strbuf_clear(name);
	uint8_t sha[ROW_SHA_LEN];
	for (size_t i = 0; i < sizeof sha; i++)
		sha[i] = (uint8_t)(0xa0 + i);
	if (row_key(c, line, strlen(line), sha, 12, key, &e) < 0)
		fail_msg("%s: %s", line, e.msg);
	row_name(c, key->data, key->len, name);
}

static void check_name(const struct row_codec *c, const char *line, const char *want)
{
	_cleanup_strbuf_ struct strbuf key = {0}, name = {0}, back = {0};
	name_of(c, line, &key, &name);
	assert_string_equal(name.data, want);
	assert_int_equal(row_key_of_name(c, want, &back), 0);
	assert_true(same_text(&key, &back));
}

#define SHA_HEX "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"

static void test_names(void **state)
{
	(void)state;
	struct row_codec *c = codec_of_one(DB_FORM_TEXT, false, false);
	const char *const text[][2] = {
	    {"0000df68-4e63-4ee0-8bf0-0d60bf7c6b39", "0000df68-4e63-4ee0-8bf0-0d60bf7c6b39.json"},
	    {"", ".json"},
	    {"a.b", "a.b.json"},
	    {".a.", "%2Ea%2E.json"},
	    {".", "%2E.json"},
	    {"..", "%2E%2E.json"},
	    {"...", "%2E.%2E.json"},
	    {"a/b,c%~ \\u0000\\u007f", "a%2Fb%2Cc%25%7E%20%00%7F.json"},
	    {"_@+=-Az09", "_@+=-Az09.json"},
	    {"\xc3\xa4", "%C3%A4.json"},
	    {"true", "true.json"},
	    {"x.json", "x.json.json"},
	};
	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
		_cleanup_free_ char *line = xasprintf("{\"c\":\"%s\"}", text[i][0]);
		check_name(c, line, text[i][1]);
	}
	static const char *const bad[] = {
	    "",         "a",        "json",     "a.jso",         "a.JSON",   "%2f.json", "%41.json", "a%2Eb.json",
	    ".a.json",  "a..json",  "%.json",   "%4.json",       "%GG.json", "a,b.json", ",.json",   "%N.json",
	    "%Ta.json", "a~b.json", "a b.json", "\xc3\xa4.json", "a/b.json", "a.json\n", "%%.json"};
	_cleanup_strbuf_ struct strbuf key = {0}, name = {0}, back = {0};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (row_key_of_name(c, bad[i], &back) != -ENOENT)
			fail_msg("taken: %s", bad[i]);
	}
	struct err e = ERR_INIT;
	assert_int_equal(row_key(c, "{\"c\":null}", 10, NULL, 0, &key, &e), -EBADMSG);
	assert_int_equal(key.len, 0);
	(void)cleanup_of(&c);

	c = codec_of_one(DB_FORM_NUMBER, true, false);
	static const char *const integers[] = {"0",
					       "1",
					       "-1",
					       "9223372036854775807",
					       "-9223372036854775808",
					       "9223372036854775808",
					       "18446744073709551615"};
	for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
		_cleanup_free_ char *line = xasprintf("{\"c\":%s}", integers[i]),
				    *want = xasprintf("%s.json", integers[i]);
		check_name(c, line, want);
	}
	static const char *const bad_integers[] = {"+1.json",
						   "01.json",
						   "-0.json",
						   "-.json",
						   ".json",
						   "1.0.json",
						   "18446744073709551616.json",
						   "-9223372036854775809.json",
						   "x.json",
						   "%31.json",
						   " 1.json"};
	for (size_t i = 0; i < sizeof bad_integers / sizeof bad_integers[0]; i++)
		assert_int_equal(row_key_of_name(c, bad_integers[i], &back), -ENOENT);
	assert_int_equal(row_key(c, "{\"c\":1.5}", 9, NULL, 0, &key, &e), -EBADMSG);
	name_of(c, "{\"c\":\"007\"}", &key, &name); /* ZEROFILL */
	assert_string_equal(name.data, "7.json");
	(void)cleanup_of(&c);

	c = codec_of_one(DB_FORM_NUMBER, false, false);
	check_name(c, "{\"c\":1.10}", "1.10.json");
	check_name(c, "{\"c\":\"NaN\"}", "NaN.json");
	(void)cleanup_of(&c);
	c = codec_of_one(DB_FORM_BOOL, false, false);
	check_name(c, "{\"c\":true}", "true.json");
	check_name(c, "{\"c\":false}", "false.json");
	assert_int_equal(row_key_of_name(c, "t.json", &back), -ENOENT);
	(void)cleanup_of(&c);
	c = codec_of_one(DB_FORM_BINARY, false, false);
	check_name(c, "{\"c\":\"AP9hLg==\"}", "%00%FFa%2E.json");
	check_name(c, "{\"c\":\"\"}", ".json");
	(void)cleanup_of(&c);
}

static void test_names_of_other_kinds(void **state)
{
	(void)state;
	/* Types of their own */
	struct row_codec *c = codec_of_one(DB_FORM_NUMBER, true, true);
	check_name(c, "{\"c\":-5}", "-5.json");
	check_name(c, "{\"c\":-5.5}", "%R-5.5.json");
	check_name(c, "{\"c\":\"-5\"}", "%T-5.json");
	check_name(c, "{\"c\":\".\"}", "%T%2E.json");
	check_name(c, "{\"c\":{\"$blob\":\"NQ==\"}}", "%X5.json");
	_cleanup_strbuf_ struct strbuf back = {0};
	static const char *const bad[] = {"%I5.json", "5.5.json", "%T%T5.json", "%R.json5", "%N.json", "%t5.json"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(row_key_of_name(c, bad[i], &back), -ENOENT);
	(void)cleanup_of(&c);
	c = codec_of_one(DB_FORM_TEXT, false, true);
	check_name(c, "{\"c\":5}", "%I5.json");
	check_name(c, "{\"c\":\"5\"}", "5.json");
	check_name(c, "{\"c\":\"%I5\"}", "%25I5.json");
	(void)cleanup_of(&c);
	c = codec_of_one(DB_FORM_BINARY, false, true);
	check_name(c, "{\"c\":\"NQ==\"}", "5.json");
	check_name(c, "{\"c\":{\"$text\":\"5\"}}", "%T5.json");
	(void)cleanup_of(&c);
	/* Index and no key */
	static const struct column_spec specs[] = {{"a", DB_FORM_TEXT, false, NULL, NULL},
						   {"b", DB_FORM_NUMBER, true, NULL, NULL}};
	c = codec_of(specs, 2, DB_KEY_INDEX, first_key, 2, false);
	assert_true(row_key_is_hashed(c));
	check_name(c, "{\"a\":\"x,y\",\"b\":-3}", "x%2Cy,-3," SHA_HEX ",12.json");
	check_name(c, "{\"a\":null,\"b\":null}", "%N,%N," SHA_HEX ",12.json");
	check_name(c, "{\"a\":\"\",\"b\":0}", ",0," SHA_HEX ",12.json");
	static const char *const bad_hashed[] = {"x,1.json",
						 "x,1," SHA_HEX ".json",
						 "x,1," SHA_HEX ",01.json",
						 "x,1," SHA_HEX "0,1.json",
						 "x,1," SHA_HEX ",1,1.json",
						 "x,1,A" SHA_HEX ",1.json"};
	for (size_t i = 0; i < sizeof bad_hashed / sizeof bad_hashed[0]; i++)
		assert_int_equal(row_key_of_name(c, bad_hashed[i], &back), -ENOENT);
	(void)cleanup_of(&c);
	c = codec_of(specs, 2, DB_KEY_NONE, NULL, 0, false);
	check_name(c, "{\"a\":\"x,y\",\"b\":-3}", SHA_HEX ",12.json");
	(void)cleanup_of(&c);
}

static void test_long_names(void **state)
{
	(void)state;
	static const struct column_spec specs[] = {{"a", DB_FORM_TEXT, false, NULL, NULL},
						   {"b", DB_FORM_TEXT, false, NULL, NULL},
						   {"n", DB_FORM_NUMBER, true, NULL, NULL}};
	struct row_codec *c = codec_of(specs, 3, DB_KEY_UNIQUE, first_key, 3, false);
	_cleanup_strbuf_ struct strbuf key = {0}, name = {0}, prefix = {0};
	char a[400], b[400];
	unsigned cut_names = 0;
	for (size_t n = 0; n < 250; n++)
		for (int odd = 0; odd < 3; odd++) {
			memset(a, 'x', n);
			a[n] = '\0';
			if (odd && n)
				a[n - 1] = odd == 1 ? '/' : '.';
			memset(b, odd == 1 ? '%' : 'y', 70);
			b[70] = '\0';
			_cleanup_free_ char *line = xasprintf("{\"a\":\"%s\",\"b\":\"%s\",\"n\":%zu}", a, b, n);
			name_of(c, line, &key, &name);
			assert_true(name.len <= 200);
			int rc = row_key_of_name(c, name.data, &prefix);
			if (name.len == 188 && name.data[150] == '~') {
				cut_names++;
				assert_int_equal(rc, 1);
				assert_true(prefix.len <= key.len && !memcmp(prefix.data, key.data, prefix.len));
				assert_true(prefix.len > 24); /* what is whole of 150 bytes */
			} else {
				assert_int_equal(rc, 0);
				assert_true(same_text(&key, &prefix));
			}
		}
	assert_true(cut_names > 300 && cut_names < 740);
	/* 200 bytes stay, 201 do not. */
	memset(a, 'x', 192);
	a[192] = '\0';
	_cleanup_free_ char *fits = xasprintf("{\"a\":\"%s\",\"b\":\"\",\"n\":1}", a);
	name_of(c, fits, &key, &name);
	assert_int_equal(name.len, 200);
	assert_null(strchr(name.data, '~'));
	_cleanup_free_ char *over = xasprintf("{\"a\":\"%s\",\"b\":\"\",\"n\":12}", a);
	name_of(c, over, &key, &name);
	assert_int_equal(name.len, 188);
	/* Not our spelling. */
	name.data[160] = 'G';
	assert_int_equal(row_key_of_name(c, name.data, &prefix), -ENOENT);
	(void)cleanup_of(&c);
}

/* SQLite: a generated column takes the type that its affinity makes of the member. */
static void test_generated_key_of_types(void **state)
{
	(void)state;
	const struct {
		enum db_form form;
		const char *json, *text;
		enum db_kind kind;
		int want;
	} cases[] = {
	    {DB_FORM_TEXT, "{\"id\":\"a\"}", "a", DB_KIND_TEXT, 0},
	    {DB_FORM_TEXT, "{\"id\":5}", "5", DB_KIND_TEXT, 0},
	    {DB_FORM_TEXT, "{\"id\":true}", "1", DB_KIND_TEXT, 0},
	    {DB_FORM_TEXT, "{\"id\": \"a\\u00e9\"}", "a\xc3\xa9", DB_KIND_TEXT, 0},
	    {DB_FORM_NUMBER, "{\"id\":5}", "5", DB_KIND_INTEGER, 0},
	    {DB_FORM_NUMBER, "{\"id\":\"5\"}", "5", DB_KIND_INTEGER, 0},
	    {DB_FORM_NUMBER, "{\"id\":false}", "0", DB_KIND_INTEGER, 0},
	    {DB_FORM_NUMBER, "{\"id\":5.5}", "5.5", DB_KIND_REAL, 0},
	    {DB_FORM_NUMBER, "{\"id\":\"x\"}", "x", DB_KIND_TEXT, 0},
	    {DB_FORM_BINARY, "{\"id\":5}", "5", DB_KIND_INTEGER, 0},
	    {DB_FORM_BINARY, "{\"id\":\"5\"}", "5", DB_KIND_TEXT, 0},
	    {DB_FORM_TEXT, "{\"id\":5}", "5", DB_KIND_INTEGER, -EDOM},
	    {DB_FORM_NUMBER, "{\"id\":\"5\"}", "5", DB_KIND_TEXT, -EDOM},
	    {DB_FORM_NUMBER, "{\"id\":1.10}", "1.1", DB_KIND_REAL, -EDOM},
	    {DB_FORM_TEXT, "{\"id\":null}", NULL, DB_KIND_TEXT, -EDOM},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct column_spec specs[] = {{"id", cases[i].form, false, "j", "id"},
						    {"j", DB_FORM_JSON_TEXT, false, NULL, NULL}};
		struct row_codec *c = codec_of(specs, 2, DB_KEY_UNIQUE, first_key, 1, true);
		_cleanup_strbuf_ struct strbuf line = {0}, key = {0}, name = {0}, back = {0};
		struct db_value v[] = {value_of(cases[i].json, DB_KIND_TEXT), value_of(cases[i].text, cases[i].kind)};
		assert_int_equal(row_encode(c, v, &line, ERR_DROP), cases[i].want);
		if (!cases[i].want) {
			struct row_values rv;
			row_values_init(&rv, c);
			assert_int_equal(row_decode(c, line.data, line.len, &rv, ERR_DROP), 0);
			assert_true(same_value(&rv.v[0], &v[0]));
			assert_true(same_value(&rv.v[1], &v[1]));
			row_values_done(&rv);
			name_of(c, line.data, &key, &name);
			assert_int_equal(row_key_of_name(c, name.data, &back), 0);
			assert_true(same_text(&key, &back));
		}
		(void)cleanup_of(&c);
	}
	/* A BLOB in the document's column (SQLite reads its own binary form there) tells nothing. */
	static const struct column_spec specs[] = {{"id", DB_FORM_TEXT, false, "j", "id"},
						   {"j", DB_FORM_JSON_TEXT, false, NULL, NULL}};
	struct row_codec *c = codec_of(specs, 2, DB_KEY_UNIQUE, first_key, 1, true);
	_cleanup_strbuf_ struct strbuf line = {0};
	struct db_value v[] = {value_of("{\"id\":\"a\"}", DB_KIND_BLOB), value_of("a", DB_KIND_TEXT)};
	assert_int_equal(row_encode(c, v, &line, ERR_DROP), -EDOM);
	(void)cleanup_of(&c);
}

static void test_odd_tables(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf line = {0}, key = {0}, name = {0}, back = {0};
	struct err e = ERR_INIT;
	struct row_values rv;
	/* No columns at all, and only a generated one. */
	static const struct column_spec generated[] = {{"g", DB_FORM_TEXT, false, "g", "g"}};
	for (size_t n = 0; n < 2; n++) {
		struct row_codec *c = codec_of(generated, n, DB_KEY_NONE, NULL, 0, false);
		assert_int_equal(row_encode(c, NULL, &line, &e), 0);
		assert_string_equal(line.data, "{}");
		row_values_init(&rv, c);
		assert_int_equal(row_decode(c, line.data, line.len, &rv, &e), 0);
		assert_int_equal(row_decode(c, "{\"g\":1}", 7, &rv, &e), -EBADMSG);
		row_values_done(&rv);
		check_name(c, "{}", SHA_HEX ",12.json");
		(void)cleanup_of(&c);
	}
	/* A key of more columns than fit on the stack, and each of them long. */
	struct db_column columns[60] = {0};
	size_t keys[60];
	struct db_value v[60];
	char names[60][4];
	_cleanup_free_ char *text = xmalloc(100000);
	memset(text, 'k', 100000);
	for (size_t i = 0; i < 60; i++) {
		(void)snprintf(names[i], sizeof names[i], "c%zu", i);
		columns[i].name = names[i];
		keys[i] = 59 - i;
		v[i] = (struct db_value){text, i == 30 ? 100000 : 1, DB_KIND_COLUMN};
	}
	struct db_table t = {.name = names[0], .columns = columns, .n_columns = 60, .key = keys, .n_key = 60};
	struct row_codec *c = row_codec_new(&t);
	assert_int_equal(row_encode(c, v, &line, &e), 0);
	assert_int_equal(row_key(c, line.data, line.len, NULL, 0, &key, &e), 0);
	row_name(c, key.data, key.len, &name);
	assert_int_equal(name.len, 188);
	assert_int_equal(row_key_of_name(c, name.data, &back), 1);
	assert_true(back.len > 150 && !memcmp(back.data, key.data, back.len));
	(void)cleanup_of(&c);
}

/* ---- text ---- */

/* The simplest thing that can be right, byte by byte. */
static void pretty_by_hand(const char *s, size_t len, struct strbuf *out)
{
	size_t depth = 0;
	bool string = false;
	for (size_t i = 0; i < len; i++) {
		char c = s[i];
		if (string) {
			strbuf_addch(out, c);
			if (c == '\\')
				strbuf_addch(out, s[++i]);
			else if (c == '"')
				string = false;
			continue;
		}
		bool open = c == '{' || c == '[', close = c == '}' || c == ']';
		if (open && (s[i + 1] == '}' || s[i + 1] == ']')) {
			strbuf_add(out, s + i, 2);
			i++;
			continue;
		}
		if (close) {
			depth--;
			strbuf_addf(out, "\n%*s", (int)(depth * 2), "");
		}
		strbuf_addch(out, c);
		string = c == '"';
		if (open)
			depth++;
		if (open || c == ',')
			strbuf_addf(out, "\n%*s", (int)(depth * 2), "");
		if (c == ':')
			strbuf_addch(out, ' ');
	}
	strbuf_addch(out, '\n');
}

static void check_pretty(const char *line, size_t len)
{
	_cleanup_strbuf_ struct strbuf out = {0}, want = {0}, back = {0};
	struct err e = ERR_INIT;
	pretty_by_hand(line, len, &want);
	strbuf_adds(&out, "before");
	row_pretty(line, len, &out);
	assert_int_equal(out.len, want.len + 6);
	assert_memory_equal(out.data + 6, want.data, want.len);
	assert_int_equal(row_pretty_size(line, len), want.len);
	assert_int_equal(row_compact(out.data + 6, out.len - 6, &back, &e), 0);
	assert_int_equal(back.len, len);
	assert_memory_equal(back.data, line, len);
}

static void test_pretty(void **state)
{
	(void)state;
	static const char line[] = "{\"a\":{\"x\":[],\"y\":{},\"z\":[1.10,{\"q\":\"a:b,{\\\"}\\\\\"}]},\"b\":null}";
	static const char want[] = "{\n  \"a\": {\n    \"x\": [],\n    \"y\": {},\n    \"z\": [\n      1.10,\n      {\n"
				   "        \"q\": \"a:b,{\\\"}\\\\\"\n      }\n    ]\n  },\n  \"b\": null\n}\n";
	_cleanup_strbuf_ struct strbuf out = {0};
	row_pretty(line, sizeof line - 1, &out);
	assert_string_equal(out.data, want);
	check_pretty(line, sizeof line - 1);
	check_pretty("{}", 2);
	static const char *const not_rows[] = {"",      " ",    "[]",  "1",        "null",
					       "\"x\"", "{}{}", "{}x", "{\"a\":1", "{\"a\":\"\n\"}"};
	struct err e = ERR_INIT;
	for (size_t i = 0; i < sizeof not_rows / sizeof not_rows[0]; i++)
		assert_int_equal(row_compact(not_rows[i], strlen(not_rows[i]), &out, &e), -EBADMSG);
	assert_int_equal(row_compact("\n { } \t", 7, &out, &e), 0);
	assert_string_equal(out.data, "{}");
}

static void nest(struct strbuf *sb, size_t depth, const char *open, const char *close)
{
	strbuf_adds(sb, "{\"c\":");
	for (size_t i = 0; i < depth; i++)
		strbuf_adds(sb, open);
	strbuf_adds(sb, "1");
	for (size_t i = 0; i < depth; i++)
		strbuf_adds(sb, close);
	strbuf_adds(sb, "}");
}

static void test_depth(void **state)
{
	(void)state;
	struct row_codec *c = codec_of_one(DB_FORM_JSON, false, false),
			 *text = codec_of_one(DB_FORM_JSON_TEXT, false, false);
	struct err e = ERR_INIT;
	static const size_t depths[] = {1, 63, 64, 65, 127, 128, 129, 500, 12000};
	for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++)
		for (int objects = 0; objects < 2; objects++) {
			_cleanup_strbuf_ struct strbuf line = {0}, again = {0};
			nest(&line, depths[i], objects ? "{\"a\":" : "[", objects ? "}" : "]");
			if (depths[i] < 600)
				check_pretty(line.data, line.len);
			struct db_value v = {line.data + 5, line.len - 6, DB_KIND_COLUMN};
			assert_int_equal(row_encode(c, &v, &again, &e), 0);
			assert_true(same_text(&line, &again));
			assert_int_equal(row_encode(text, &v, &again, &e), 0);
			assert_true(same_text(&line, &again));
			assert_ptr_equal(json_text_skip(line.data, line.data + line.len), line.data + line.len);
			struct row_values rv;
			row_values_init(&rv, c);
			assert_int_equal(row_decode(c, line.data, line.len, &rv, &e), 0);
			row_values_done(&rv);
		}
	/* Too deep: refused where it must be JSON, a string where any text may be. */
	_cleanup_strbuf_ struct strbuf line = {0}, again = {0}, back = {0};
	nest(&line, 1000000, "[", "]");
	struct db_value v = {line.data + 5, line.len - 6, DB_KIND_COLUMN};
	assert_int_equal(row_encode(c, &v, &again, &e), -EBADMSG);
	assert_int_equal(row_compact(line.data, line.len, &again, &e), -EBADMSG);
	assert_int_equal(row_encode(text, &v, &again, &e), 0);
	assert_int_equal(again.data[5], '"');
	struct row_values rv;
	row_values_init(&rv, text);
	assert_int_equal(row_decode(text, again.data, again.len, &rv, &e), 0);
	assert_true(same_value(&rv.v[0], &v));
	row_values_done(&rv);
	strbuf_clear(&line);
	nest(&line, JSON_TEXT_DEPTH_MAX - 1, "[", "]");
	v = (struct db_value){line.data + 5, line.len - 6, DB_KIND_COLUMN};
	assert_int_equal(row_encode(text, &v, &again, &e), 0);
	assert_true(same_text(&line, &again));
	assert_int_equal(row_compact(line.data, line.len, &back, &e), 0);
	assert_true(same_text(&line, &back));
	(void)cleanup_of(&c);
	(void)cleanup_of(&text);
}

/* Exactly as many levels as asked for, at the most the scanner has bits for. */
static void test_depth_limit(void **state)
{
	(void)state;
	static const size_t limits[] = {0, 1, 2, 63, 64, 65, 1000, JSON_TEXT_DEPTH_MAX};
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
		for (size_t depth = limits[i] ? limits[i] - 1 : 0; depth <= limits[i] + 1; depth++) {
			_cleanup_strbuf_ struct strbuf text = {0}, out = {0};
			struct err e = ERR_INIT;
			enum json_kind kind;
			bool fits = depth <= limits[i];
			for (size_t k = 0; k < depth; k++)
				strbuf_addch(&text, '[');
			strbuf_adds(&text, "1");
			for (size_t k = 0; k < depth; k++)
				strbuf_addch(&text, ']');
			const char *end = text.data + text.len;
			assert_ptr_equal(json_text_check(text.data, end, limits[i]), fits ? end : NULL);
			assert_int_equal(json_text_compact(text.data, text.len, limits[i], &out, &kind, &e),
					 fits ? 0 : -EBADMSG);
			if (limits[i] == JSON_TEXT_DEPTH_MAX) /* nobody can ask for more */
				assert_ptr_equal(json_text_check(text.data, end, SIZE_MAX), fits ? end : NULL);
		}
}

/* The first and the last of what stands alone, of first and of second halves. */
static void test_surrogates(void **state)
{
	(void)state;
	static const struct {
		const char *body;
		const char *utf8; /* NULL: refused */
	} cases[] = {
	    {"\\ud7ff", "\xed\x9f\xbf"},
	    {"\\ue000", "\xee\x80\x80"},
	    {"\\ud800\\udc00", "\xf0\x90\x80\x80"},
	    {"\\ud800\\udfff", "\xf0\x90\x8f\xbf"},
	    {"\\udbff\\udc00", "\xf4\x8f\xb0\x80"},
	    {"\\udbff\\udfff", "\xf4\x8f\xbf\xbf"},
	    {"\\ud800", NULL},
	    {"\\udbff", NULL},
	    {"\\udc00", NULL},
	    {"\\udfff", NULL},
	    {"\\ud800\\ud7ff", NULL},
	    {"\\ud800\\udbff", NULL},
	    {"\\ud800\\ue000", NULL},
	    {"\\udbff\\ue000", NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		_cleanup_strbuf_ struct strbuf out = {0};
		const char *body = cases[i].body, *want = cases[i].utf8;
		if (json_text_unquote(body, strlen(body), &out) != (want != NULL))
			fail_msg("%s is %s", body, want ? "refused" : "taken");
		if (want)
			assert_string_equal(out.data, want);
		if (want)
			assert_true(json_text_string_is(body, strlen(body), want, strlen(want)));
	}
}

/* ---- time and hashes ---- */

static int64_t updated_of(const struct column_spec *specs, size_t n, bool dynamic, const char *line)
{
	struct row_codec *c = codec_of(specs, n, DB_KEY_NONE, NULL, 0, dynamic);
	int64_t ms = row_updated_ms(c, line, strlen(line));
	(void)cleanup_of(&c);
	return ms;
}

static void test_updated(void **state)
{
	(void)state;
	static const struct column_spec plain[] = {{"a", DB_FORM_JSON, false, NULL, NULL},
						   {"UPDATEDAT", DB_FORM_NUMBER, true, NULL, NULL}};
	assert_int_equal(updated_of(plain, 2, false, "{\"a\":{\"updatedAt\":5},\"UPDATEDAT\":1700000000123}"),
			 1700000000123);
	assert_int_equal(updated_of(plain, 2, false, "{\"a\":{\"updatedAt\":5},\"UPDATEDAT\":\"77\"}"), 77);
	assert_int_equal(updated_of(plain, 2, true, "{\"a\":{\"updatedAt\":5},\"UPDATEDAT\":78}"), 78);
	static const char *const none[] = {"null",   "0",
					   "-5",     "1.5",
					   "1e12",   "\"2020-01-01\"",
					   "\"\"",   "253402300800000",
					   "\"05\"", "99999999999999999999"};
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		_cleanup_free_ char *line = xasprintf("{\"a\":{\"updatedAt\":5},\"UPDATEDAT\":%s}", none[i]);
		assert_int_equal(updated_of(plain, 2, false, line), -1);
	}
	static const struct column_spec derived[] = {{"updatedAt", DB_FORM_NUMBER, true, "b", "updatedAt"},
						     {"a", DB_FORM_JSON, false, NULL, NULL},
						     {"b", DB_FORM_JSON_TEXT, false, NULL, NULL}};
	assert_int_equal(
	    updated_of(derived, 3, false, "{\"a\":{\"updatedAt\":5},\"b\":{\"x\":{\"updatedAt\":7},\"updatedAt\":6}}"),
	    6);
	assert_int_equal(updated_of(derived, 3, false, "{\"a\":{\"updatedAt\":5},\"b\":\"{\\\"updatedAt\\\": 6}\"}"),
			 6);
	assert_int_equal(updated_of(derived, 3, false, "{\"a\":{\"updatedAt\":5},\"b\":{}}"), -1);
	assert_int_equal(updated_of(derived, 3, false, "{\"a\":{\"updatedAt\":5},\"b\":null}"), -1);
	assert_int_equal(updated_of(derived + 1, 2, false, "{\"a\":{},\"b\":{\"updatedAt\":\"6\"}}"), 6);
	assert_int_equal(updated_of(derived + 1, 2, false, "{\"a\":{\"updatedAt\":5},\"b\":{\"updatedAt\":6}}"), 5);
	assert_int_equal(updated_of(derived + 1, 2, false, "{\"a\":null,\"b\":null}"), -1);
	assert_int_equal(updated_of(derived + 1, 2, false, "{\"a\":{}"), -1);
	static const struct column_spec never[] = {{"updatedA", DB_FORM_NUMBER, true, NULL, NULL},
						   {"updatedAts", DB_FORM_NUMBER, true, NULL, NULL}};
	assert_int_equal(updated_of(never, 2, false, "{\"updatedA\":1,\"updatedAts\":1}"), -1);
}

static void test_hashes(void **state)
{
	(void)state;
	static const uint8_t abc[ROW_SHA_LEN] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
						 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
						 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
	struct hasher *h = hasher_new();
	uint8_t sha[ROW_SHA_LEN];
	for (int i = 0; i < 3; i++) {
		hasher_sha256(h, "abc", 3, sha);
		assert_memory_equal(sha, abc, sizeof abc);
	}
	hasher_begin(h);
	hasher_more(h, "a", 1);
	hasher_more(h, "bc", 2);
	hasher_end(h, sha);
	assert_memory_equal(sha, abc, sizeof abc);
	hasher_free(h);

	struct digest d = {0}, zero = {0};
	uint8_t ones[ROW_SHA_LEN], one[ROW_SHA_LEN] = {1};
	memset(ones, 0xff, sizeof ones);
	digest_add(&d, ones);
	digest_add(&d, one);
	assert_memory_equal(d.sum, zero.sum, sizeof zero.sum); /* the carry leaves at the top */
	assert_false(digest_equal(&d, &zero));
	digest_sub(&d, one);
	assert_memory_equal(d.sum, ones, sizeof ones);
	digest_sub(&d, ones);
	assert_true(digest_equal(&d, &zero));
	uint8_t low[ROW_SHA_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, want[ROW_SHA_LEN] = {[8] = 1};
	digest_add(&d, low);
	digest_add(&d, one);
	assert_memory_equal(d.sum, want, sizeof want);
}

/* ---- random tables and values ---- */

static uint64_t random_state;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1du >> 11;
}

static size_t random_below(size_t n)
{
	return random_next() % n;
}

static void random_text(struct strbuf *sb)
{
	static const char *const parts[] = {
	    "a",       "b",    "zz",   ".",    "..",       ",",    "%",    "%41", "\"", "\\",
	    "/",       "\n",   "\x01", "\x7f", "\xc3\xa4", "\xff", "{",    "}",   ":",  "null",
	    "\\u0041", "t",    "0",    "-1",   " ",        "~",    "true", "%N",  "%T", "\xf0\x9f\x98\x80",
	    "=",       "[1,2]"};
	size_t n = random_below(random_below(8) ? 4 : 90);
	for (size_t i = 0; i < n; i++) {
		size_t k = random_below(sizeof parts / sizeof parts[0] + 2);
		if (k >= sizeof parts / sizeof parts[0])
			strbuf_addch(sb, k & 1 ? '\0' : (char)random_below(256));
		else
			strbuf_adds(sb, parts[k]);
	}
}

static void random_spaces(struct strbuf *sb, bool spaces)
{
	while (spaces && !random_below(3))
		strbuf_addch(sb, " \t\n\r"[random_below(4)]);
}

static void random_json_string(struct strbuf *sb)
{
	static const char *const parts[] = {"a",
					    "bcd efgh",
					    "\\\"",
					    "\\\\",
					    "\\n",
					    "\\u00e4",
					    "\\ud83d\\ude00",
					    "\\/",
					    "\xc3\xa4",
					    "{",
					    "}",
					    "[",
					    "]",
					    ",",
					    ":",
					    " ",
					    "\\\\\\\\\\\\\\\"",
					    "0123456789012345678901234567890123456789"};
	size_t n = random_below(random_below(5) ? 4 : 40);
	strbuf_addch(sb, '"');
	for (size_t i = 0; i < n; i++)
		strbuf_adds(sb, parts[random_below(sizeof parts / sizeof parts[0])]);
	strbuf_addch(sb, '"');
}

static void random_json(struct strbuf *sb, int depth, bool spaces)
{
	static const char *const scalars[] = {"1.10", "0",    "-0",    "1e400", "12345678901234567890",
					      "1E-5", "true", "false", "null",  "-7.25e+3"};
	size_t kind = random_below(depth > 0 ? 5 : 2), n = random_below(5);
	random_spaces(sb, spaces);
	if (kind == 0) {
		strbuf_adds(sb, scalars[random_below(sizeof scalars / sizeof scalars[0])]);
	} else if (kind == 1) {
		random_json_string(sb);
	} else {
		bool object = kind != 2;
		strbuf_addch(sb, object ? '{' : '[');
		for (size_t i = 0; i < n; i++) {
			if (i)
				strbuf_addch(sb, ',');
			if (object) {
				random_spaces(sb, spaces);
				if (random_below(2))
					strbuf_adds(sb, random_below(2) ? "\"id\"" : "\"n\"");
				else
					random_json_string(sb);
				random_spaces(sb, spaces);
				strbuf_addch(sb, ':');
			}
			random_json(sb, depth - 1, spaces);
		}
		random_spaces(sb, spaces);
		strbuf_addch(sb, object ? '}' : ']');
	}
	random_spaces(sb, spaces);
}

static void random_integer(struct strbuf *sb, bool unsigned_too)
{
	switch (random_below(4)) {
	case 0:
		strbuf_addf(sb, "%d", (int)random_below(20) - 10);
		break;
	case 1:
		strbuf_addf(sb, "%lld", (long long)(random_next() << 11 ^ random_next()));
		break;
	case 2:
		strbuf_adds(sb, random_below(2) ? "9223372036854775807" : "-9223372036854775808");
		break;
	default:
		strbuf_adds(sb, unsigned_too ? random_below(2) ? "18446744073709551615" : "9223372036854775808" : "0");
	}
}

#define RANDOM_COLUMNS 6

struct random_row {
	struct strbuf text[RANDOM_COLUMNS];
	struct db_value v[RANDOM_COLUMNS];
	struct strbuf line, key, name;
};

static void random_value(const struct db_column *column, bool dynamic, bool null, struct strbuf *sb, struct db_value *v)
{
	strbuf_clear(sb);
	strbuf_reserve(sb, 0);
	enum db_kind kind = dynamic ? (enum db_kind)(DB_KIND_INTEGER + random_below(4)) : DB_KIND_COLUMN;
	if (kind == DB_KIND_INTEGER) {
		random_integer(sb, false);
	} else if (kind == DB_KIND_REAL) {
		strbuf_addf(sb, "%d.%d", (int)random_below(9) - 4, (int)random_below(100));
	} else if (kind == DB_KIND_COLUMN && column->form == DB_FORM_BOOL) {
		strbuf_addch(sb, random_below(2) ? 't' : 'f');
	} else if (kind == DB_KIND_COLUMN && column->form == DB_FORM_JSON) {
		/* What row_decode gives back is compact, so that the comparison can be exact. */
		random_json(sb, 4, false);
	} else if (kind != DB_KIND_BLOB && column->form == DB_FORM_JSON_TEXT && random_below(4)) {
		random_json(sb, 4, random_below(2));
	} else if (kind == DB_KIND_COLUMN && column->integer) {
		random_integer(sb, true);
	} else if (kind == DB_KIND_COLUMN && column->form == DB_FORM_NUMBER && random_below(4)) {
		strbuf_addf(sb, "%d.%d", (int)random_below(9) - 4, (int)random_below(100));
	} else {
		random_text(sb);
	}
	*v = (struct db_value){sb->data, sb->len, kind};
	if (null && !random_below(6))
		*v = (struct db_value){0};
}

static int compare_integer(const char *a, const char *b)
{
	bool a_negative = *a == '-', b_negative = *b == '-';
	if (a_negative != b_negative)
		return a_negative ? -1 : 1;
	uint64_t x = strtoull(a + a_negative, NULL, 10), y = strtoull(b + b_negative, NULL, 10);
	int order = x < y ? -1 : x > y;
	return a_negative ? -order : order;
}

/* Order of one field of two keys, from the values. */
static int compare_field(const struct db_column *column, bool dynamic, const struct db_value *a,
			 const struct db_value *b)
{
	if (!a->data || !b->data)
		return (a->data != NULL) - (b->data != NULL);
	if (dynamic && a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (dynamic ? a->kind == DB_KIND_INTEGER : column->integer)
		return compare_integer(a->data, b->data);
	int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

static int compare_keys(const struct strbuf *a, const struct strbuf *b)
{
	int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

#define RANDOM_ROWS 24

static void check_random_row(const struct row_codec *c, struct random_row *r, struct hasher *h)
{
	struct err e = ERR_INIT;
	const struct db_table *t = row_codec_table(c);
	if (row_encode(c, r->v, &r->line, &e) < 0)
		fail_msg("%s", e.msg);
	struct row_values rv;
	row_values_init(&rv, c);
	if (row_decode(c, r->line.data, r->line.len, &rv, &e) < 0)
		fail_msg("%s: %s", r->line.data, e.msg);
	for (size_t i = 0; i < t->n_columns; i++)
		assert_true(same_value(&rv.v[i], &r->v[i]));
	for (size_t i = 0; i < t->n_key; i++)
		assert_true(same_value(&rv.v[t->n_columns + i], &r->v[t->key[i]]));
	_cleanup_strbuf_ struct strbuf again = {0}, back = {0};
	assert_int_equal(row_encode(c, rv.v, &again, &e), 0);
	assert_true(same_text(&r->line, &again));
	row_values_done(&rv);
	assert_null(memchr(r->line.data, '\n', r->line.len));
	check_pretty(r->line.data, r->line.len);

	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(h, r->line.data, r->line.len, sha);
	strbuf_clear(&r->key);
	strbuf_clear(&r->name);
	if (row_key(c, r->line.data, r->line.len, sha, 1, &r->key, &e) < 0)
		fail_msg("%s: %s", r->line.data, e.msg);
	row_name(c, r->key.data, r->key.len, &r->name);
	assert_true(r->name.len <= 200 && !strchr(r->name.data, '/') && strlen(r->name.data) == r->name.len);
	assert_string_not_equal(r->name.data, ".table.json");
	int rc = row_key_of_name(c, r->name.data, &back);
	if (rc == 1)
		assert_true(back.len <= r->key.len && !memcmp(strbuf_str(&back), r->key.data, back.len));
	else
		assert_true(!rc && same_text(&back, &r->key));
}

/* Any change to a line is refused, or is a row that encodes to one line again. */
static void check_damaged(const struct row_codec *c, const struct strbuf *line)
{
	_cleanup_free_ char *copy = xmemdup0(line->data, line->len);
	size_t len = line->len;
	if (random_below(3))
		copy[random_below(len)] =
		    random_below(2) ? "\"\\{}[],:0ntf ux"[random_below(15)] : (char)random_below(256);
	else
		len = random_below(len);
	/* Memory of exactly this size, for the sanitizer. */
	_cleanup_free_ char *exact = xmalloc(len ? len : 1);
	memcpy(exact, copy, len);
	_cleanup_strbuf_ struct strbuf again = {0}, third = {0}, key = {0}, pretty = {0};
	uint8_t sha[ROW_SHA_LEN] = {0};
	struct row_values rv;
	row_values_init(&rv, c);
	if (!row_decode(c, exact, len, &rv, ERR_DROP)) {
		assert_int_equal(row_encode(c, rv.v, &again, ERR_DROP), 0);
		assert_int_equal(row_decode(c, again.data, again.len, &rv, ERR_DROP), 0);
		assert_int_equal(row_encode(c, rv.v, &third, ERR_DROP), 0);
		assert_true(same_text(&again, &third));
	}
	row_values_done(&rv);
	(void)row_key(c, exact, len, sha, 1, &key, ERR_DROP);
	(void)row_updated_ms(c, exact, len);
	row_pretty(exact, len, &pretty);
	assert_int_equal(pretty.len, row_pretty_size(exact, len));
	(void)row_compact(exact, len, &third, ERR_DROP);
}

static void test_random_tables(void **state)
{
	(void)state;
	static struct random_row rows[RANDOM_ROWS];
	static const char *const names[RANDOM_COLUMNS] = {"id", "updatedAt", "a \"quoted\"", "b\\", "\xc3\xa4", "json"};
	struct hasher *h = hasher_new();
	for (int round = 0; round < 400; round++) {
		struct db_column columns[RANDOM_COLUMNS] = {0};
		bool dynamic = random_below(3) == 0;
		size_t n = 1 + random_below(RANDOM_COLUMNS), key[RANDOM_COLUMNS];
		for (size_t i = 0; i < n; i++) {
			columns[i].name = (char *)names[i];
			columns[i].form = (enum db_form)random_below(6);
			columns[i].integer = columns[i].form == DB_FORM_NUMBER && random_below(2);
			key[i] = random_below(n);
		}
		struct db_table t = {.name = (char *)"t",
				     .columns = columns,
				     .n_columns = n,
				     .key = key,
				     .n_key = 1 + random_below(n),
				     .dynamic = dynamic};
		t.key_kind = (enum db_key_kind)random_below(3);
		if (t.key_kind == DB_KEY_NONE)
			t.n_key = 0;
		struct row_codec *c = row_codec_new(&t);
		for (size_t i = 0; i < RANDOM_ROWS; i++) {
			for (size_t k = 0; k < n; k++) {
				bool in_key = false;
				for (size_t j = 0; j < t.n_key; j++)
					in_key = in_key || key[j] == k;
				random_value(&columns[k], dynamic, !in_key || t.key_kind != DB_KEY_UNIQUE,
					     &rows[i].text[k], &rows[i].v[k]);
			}
			check_random_row(c, &rows[i], h);
			for (int d = 0; d < 20; d++)
				check_damaged(c, &rows[i].line);
		}
		for (size_t a = 0; a < RANDOM_ROWS; a++)
			for (size_t b = 0; b < RANDOM_ROWS; b++) {
				int want = 0, got = compare_keys(&rows[a].key, &rows[b].key);
				for (size_t k = 0; k < t.n_key && !want; k++)
					want = compare_field(&columns[key[k]], dynamic, &rows[a].v[key[k]],
							     &rows[b].v[key[k]]);
				if (want)
					assert_int_equal(sign(got), sign(want));
				else if (t.key_kind == DB_KEY_UNIQUE)
					assert_int_equal(got, 0);
				else
					assert_int_equal(!got, same_text(&rows[a].line, &rows[b].line));
				assert_int_equal(!got, !strcmp(rows[a].name.data, rows[b].name.data));
			}
		row_codec_free(c);
	}
	hasher_free(h);
	for (size_t i = 0; i < RANDOM_ROWS; i++) {
		for (size_t k = 0; k < RANDOM_COLUMNS; k++)
			strbuf_done(&rows[i].text[k]);
		strbuf_done(&rows[i].line);
		strbuf_done(&rows[i].key);
		strbuf_done(&rows[i].name);
	}
}

static void test_random_names(void **state)
{
	(void)state;
	/* Whatever name is taken is the one name of its key. */
	static const char *const parts[] = {"a",  "%", "%2E", "%2F", ".",   ",",    "%N", "%T",
					    "%I", "1", "0",   "-",   "%41", "true", "~",  SHA_HEX};
	static const enum db_form forms[] = {DB_FORM_TEXT, DB_FORM_NUMBER, DB_FORM_NUMBER, DB_FORM_BINARY};
	unsigned taken = 0;
	for (int round = 0; round < 30000; round++) {
		static const struct column_spec specs[] = {{"a", DB_FORM_TEXT, false, NULL, NULL},
							   {"b", DB_FORM_NUMBER, true, NULL, NULL}};
		struct row_codec *c = round & 1
					  ? codec_of(specs, 2, (enum db_key_kind)random_below(2), first_key,
						     1 + random_below(2), random_below(2))
					  : codec_of_one(forms[random_below(4)], random_below(2), random_below(2));
		_cleanup_strbuf_ struct strbuf name = {0}, key = {0}, again = {0};
		size_t n = random_below(6);
		for (size_t i = 0; i < n; i++)
			strbuf_adds(&name, parts[random_below(sizeof parts / sizeof parts[0])]);
		strbuf_adds(&name, ".json");
		if (!row_key_of_name(c, name.data, &key)) {
			row_name(c, key.data, key.len, &again);
			assert_true(same_text(&name, &again));
			taken++;
		}
		row_codec_free(c);
	}
	assert_true(taken > 1000);
}

static void test_random_json(void **state)
{
	(void)state;
	for (int round = 0; round < 20000; round++) {
		_cleanup_strbuf_ struct strbuf text = {0}, line = {0}, again = {0};
		struct err e = ERR_INIT;
		enum json_kind kind;
		random_json(&text, 6, round & 1);
		if (json_text_compact(text.data, text.len, 1000, &line, &kind, &e) < 0)
			fail_msg("%s: %s", text.data, e.msg);
		if (!(round & 1))
			assert_true(same_text(&text, &line));
		assert_int_equal(json_text_compact(line.data, line.len, 1000, &again, &kind, &e), 0);
		assert_true(same_text(&line, &again));
		assert_ptr_equal(json_text_check(line.data, line.data + line.len, 1000), line.data + line.len);
		/* Any text may follow. */
		strbuf_adds(&line, random_below(2) ? ",\"x\":[" : "}");
		assert_ptr_equal(json_text_skip(line.data, line.data + line.len), line.data + again.len);
		const char *value;
		size_t len;
		int found = json_text_member(again.data, again.len, "id", 2, &value, &len);
		assert_true(found >= 0);
		if (found)
			assert_ptr_equal(json_text_check(value, again.data + again.len, 1000), value + len);
		if (kind == JSON_KIND_OBJECT)
			check_pretty(again.data, again.len);
	}
}

/* ---- speed: printed, not asserted ---- */

static double seconds(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

#define MEASURE(what, bytes, call)                                                                                     \
	do {                                                                                                           \
		double start_ = seconds(), spent_;                                                                     \
		size_t times_ = 0;                                                                                     \
		do {                                                                                                   \
			for (int i_ = 0; i_ < 100; i_++)                                                               \
				(void)(call);                                                                          \
			times_ += 100;                                                                                 \
			spent_ = seconds() - start_;                                                                   \
		} while (spent_ < 0.2);                                                                                \
		print_message("%-28s %7.0f MB/s %9.0f /s\n", what, (double)(bytes) * (double)times_ / spent_ / 1e6,    \
			      (double)times_ / spent_);                                                                \
	} while (0)

static int measure_pretty(const struct strbuf *line, struct strbuf *out)
{
	strbuf_clear(out);
	row_pretty(line->data, line->len, out);
	return 0;
}

static int measure_key(const struct row_codec *c, const struct strbuf *line, struct strbuf *key)
{
	strbuf_clear(key);
	return row_key(c, line->data, line->len, NULL, 0, key, ERR_DROP);
}

static int measure_hash(struct hasher *h, const struct strbuf *line)
{
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(h, line->data, line->len, sha);
	return sha[0];
}

static void test_speed(void **state)
{
	(void)state;
	static const struct column_spec specs[] = {
	    {"id", DB_FORM_TEXT, false, "json", "id"},
	    {"json", DB_FORM_JSON, false, NULL, NULL},
	    {"updatedAt", DB_FORM_NUMBER, true, NULL, NULL},
	};
	_cleanup_strbuf_ struct strbuf json = {0}, line = {0}, pretty = {0}, key = {0}, back = {0};
	/* As a metadata service stores a table, in the spelling of jsonb: a space behind ':' and ','. */
	strbuf_adds(&json, "{\"id\": \"0000df68-4e63-4ee0-8bf0-0d60bf7c6b39\", \"name\": \"orders\", \"columns\": [");
	for (int i = 0; i < 12; i++)
		strbuf_addf(
		    &json,
		    "%s{\"name\": \"column_%d\", \"dataType\": \"VARCHAR\", \"dataLength\": 256, \"tags\": [], "
		    "\"description\": "
		    "\"The customer's number, as it is printed on the invoice (\\\"external id\\\"), see the "
		    "handbook\", "
		    "\"fullyQualifiedName\": \"service.database.schema.orders.column_%d\", \"ordinalPosition\": %d}",
		    i ? ", " : "", i, i, i);
	strbuf_adds(&json, "], \"deleted\": false, \"version\": 0.1, \"updatedAt\": 1700000000123}");
	struct db_value v[] = {{json.data, json.len, 0},
			       value_of("1700000000123", 0),
			       value_of("0000df68-4e63-4ee0-8bf0-0d60bf7c6b39", 0)};
	struct row_codec *c = codec_of(specs, 3, DB_KEY_UNIQUE, first_key, 1, false);
	struct row_values rv;
	row_values_init(&rv, c);
	struct hasher *h = hasher_new();
	assert_int_equal(row_encode(c, v, &line, ERR_DROP), 0);
	print_message("a row of %zu bytes (%zu as the server gives it)\n", line.len, json.len);
	MEASURE("encode", json.len, row_encode(c, v, &line, ERR_DROP));
	MEASURE("decode", line.len, row_decode(c, line.data, line.len, &rv, ERR_DROP));
	MEASURE("key", line.len, measure_key(c, &line, &key));
	MEASURE("updated", line.len, row_updated_ms(c, line.data, line.len));
	MEASURE("pretty", line.len, measure_pretty(&line, &pretty));
	MEASURE("pretty size", line.len, row_pretty_size(line.data, line.len));
	MEASURE("compact", pretty.len, row_compact(pretty.data, pretty.len, &back, ERR_DROP));
	MEASURE("check", line.len, json_text_check(line.data, line.data + line.len, 100) != NULL);
	MEASURE("skip", line.len, json_text_skip(line.data, line.data + line.len) != NULL);
	MEASURE("hash", line.len, measure_hash(h, &line));
	hasher_free(h);
	row_values_done(&rv);
	row_codec_free(c);

	static const struct column_spec small[] = {{"fromId", DB_FORM_TEXT, false, NULL, NULL},
						   {"toId", DB_FORM_TEXT, false, NULL, NULL},
						   {"relation", DB_FORM_NUMBER, true, NULL, NULL},
						   {"deleted", DB_FORM_BOOL, false, NULL, NULL},
						   {"data", DB_FORM_BINARY, false, NULL, NULL}};
	struct db_value w[] = {value_of("0000df68-4e63-4ee0-8bf0-0d60bf7c6b39", 0),
			       value_of("ffffdf68-4e63-4ee0-8bf0-0d60bf7c6b39", 0), value_of("10", 0), value_of("f", 0),
			       value_of("some bytes of a row", 0)};
	c = codec_of(small, 5, DB_KEY_UNIQUE, first_key, 3, false);
	row_values_init(&rv, c);
	assert_int_equal(row_encode(c, w, &line, ERR_DROP), 0);
	print_message("a row of %zu bytes\n", line.len);
	MEASURE("encode", line.len, row_encode(c, w, &line, ERR_DROP));
	MEASURE("decode", line.len, row_decode(c, line.data, line.len, &rv, ERR_DROP));
	MEASURE("key", line.len, measure_key(c, &line, &key));
	row_values_done(&rv);
	row_codec_free(c);
}

int main(void)
{
	const char *seed = getenv("ROW_SEED");
	random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u | 1;
	print_message("ROW_SEED=%llu\n", (unsigned long long)random_state);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_json),
	    cmocka_unit_test(test_json_text),
	    cmocka_unit_test(test_dynamic),
	    cmocka_unit_test(test_decode_is_strict),
	    cmocka_unit_test(test_decode_of_edited_text),
	    cmocka_unit_test(test_generated_key),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_names_of_other_kinds),
	    cmocka_unit_test(test_long_names),
	    cmocka_unit_test(test_generated_key_of_types),
	    cmocka_unit_test(test_odd_tables),
	    cmocka_unit_test(test_pretty),
	    cmocka_unit_test(test_depth),
	    cmocka_unit_test(test_depth_limit),
	    cmocka_unit_test(test_surrogates),
	    cmocka_unit_test(test_updated),
	    cmocka_unit_test(test_hashes),
	    cmocka_unit_test(test_random_tables),
	    cmocka_unit_test(test_random_names),
	    cmocka_unit_test(test_random_json),
	    cmocka_unit_test(test_speed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
