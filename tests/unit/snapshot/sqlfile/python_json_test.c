/*
 * tests/unit/snapshot/sqlfile/python_json_test.c - snapshot/sqlfile/python_json.c: Python's printed documents as JSON,
 * token by token, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "snapshot/row/json_text.h"
#include "snapshot/sqlfile/python_json.h"

static const struct {
	const char *python, *json; /* NULL: refused */
} cases[] = {
    {"{}", "{}"},
    {"[]", "[]"},
    {" { 'a' : [ ] , \"b\" : { } } ", "{\"a\":[],\"b\":{}}"},
    {"{'a': 1, 'b': -1.10, 'c': 1e+16, 'd': 12345678901234567890123, 'e': 0.1}",
     "{\"a\":1,\"b\":-1.10,\"c\":1e+16,\"d\":12345678901234567890123,\"e\":0.1}"},
    {"[True, False, None, 'True']", "[true,false,null,\"True\"]"},
    {"{'a': \"it's\", 'b': 'say \"x\"', 'c': 'both \\' and \"'}",
     "{\"a\":\"it's\",\"b\":\"say \\\"x\\\"\",\"c\":\"both ' and \\\"\"}"},
    {"['a\\nb\\tc\\rd\\\\e\\x00\\x1f\\x7f\\xe9\\u20ac\\U0001f4ca']",
     "[\"a\\nb\\tc\\rd\\\\e\\u0000\\u001f\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\x8a\"]"},
    {"['\xc3\xbc \xf0\x9f\x93\x8a']", "[\"\xc3\xbc \xf0\x9f\x93\x8a\"]"},
    {"[[[[1]], {'a': [{}]}]]", "[[[[1]],{\"a\":[{}]}]]"},
    {"'text'", "\"text\""},
    {"None", "null"},
    {"", NULL},
    {" ", NULL},
    {"{", NULL},
    {"{'a'", NULL},
    {"{'a': ", NULL},
    {"{'a': 1", NULL},
    {"{'a': 1,}", NULL},
    {"{'a' 1}", NULL},
    {"{a: 1}", NULL},
    {"{1: 2}", NULL},
    {"[1 2]", NULL},
    {"[1,]", NULL},
    {"[1}", NULL},
    {"[1] x", NULL},
    {"['a' 'b']", NULL},
    {"['a\\q']", NULL},
    {"['a\\", NULL},
    {"['\\x4']", NULL},
    {"['\\ud83d']", NULL}, /* half of a pair */
    {"['\\U00110000']", NULL},
    {"['a\nb']", NULL}, /* never printed raw */
    {"[nan]", NULL},
    {"[-inf]", NULL},
    {"[01]", NULL},
    {"[1.]", NULL},
    {"[true]", NULL},
    {"(1, 2)", NULL},
    {"{'a', 'b'}", NULL},
    {"Decimal('1')", NULL},
    {"b'x'", NULL},
};

static void documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		_cleanup_strbuf_ struct strbuf out = {0};
		struct err e = ERR_INIT;
		strbuf_adds(&out, "before ");
		int r = python_json(cases[i].python, strlen(cases[i].python), &out, &e);
		if (r != (cases[i].json ? 0 : -EBADMSG))
			fail_msg("%s: %d %s", cases[i].python, r, e.msg);
		_cleanup_free_ char *want = xasprintf("before %s", cases[i].json ? cases[i].json : "");
		assert_string_equal(strbuf_str(&out), want);
		if (!cases[i].json)
			assert_non_null(strstr(e.msg, "at byte"));
	}
}

static void numbers_that_json_lacks_are_named(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf out = {0};
	struct err e = ERR_INIT;
	assert_int_equal(python_json("{'a': nan}", 10, &out, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "a number that JSON has no word for at byte 6"));
}

static void deep(void **state)
{
	(void)state;
	for (size_t depth = JSON_TEXT_DEPTH_MAX; depth <= JSON_TEXT_DEPTH_MAX + 1; depth++) {
		_cleanup_strbuf_ struct strbuf text = {0}, out = {0};
		for (size_t i = 0; i < depth; i++)
			strbuf_addch(&text, '[');
		strbuf_adds(&text, "None");
		for (size_t i = 0; i < depth; i++)
			strbuf_addch(&text, ']');
		assert_int_equal(python_json(text.data, text.len, &out, ERR_DROP),
				 depth > JSON_TEXT_DEPTH_MAX ? -EBADMSG : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(documents),
	    cmocka_unit_test(numbers_that_json_lacks_are_named),
	    cmocka_unit_test(deep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
