/*
 * tests/unit/drivers/mysql/typed_test.c - drivers/mysql/typed.c: how members of JSON documents are spelled, and the
 * expressions that give them their types. No server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/mysql/internal.h"

static struct my_scalar scalar(const char *text)
{
	return (struct my_scalar){.at = text, .len = strlen(text)};
}

/* What the server is asked about: nothing that only one type prints. */
static void test_may_be(void **state)
{
	static const struct {
		const char *text;
		unsigned may;
	} cases[] = {
	    {"1.5", MY_MAY_FRACTION},
	    {"1.0", MY_MAY_FRACTION},
	    {"-0.0", MY_MAY_FRACTION},
	    {"100000000000000.0", MY_MAY_FRACTION},
	    {"0.00001", MY_MAY_FRACTION},
	    {"0.12345678901234568", MY_MAY_FRACTION},
	    {"1e20", 0},
	    {"-1.5e-300", 0},
	    {"1.10", 0},
	    {"3.00", 0},
	    {"0.123456789012345678", 0},
	    {"0", MY_MAY_SMALL},
	    {"-5000000000", MY_MAY_SMALL},
	    {"4294967295", MY_MAY_SMALL},
	    {"4294967296", MY_MAY_LARGE},
	    {"18446744073709551615", MY_MAY_LARGE},
	    {"18446744073709551616", 0},
	    {"-9223372036854775808", MY_MAY_SMALL},
	    {"-9223372036854775809", 0},
	    {"true", 0},
	    {"null", 0},
	    {"{", 0},
	    {"[", 0},
	    {"\"\"", 0},
	    {"\"2024-01-31\"", MY_MAY_STRING},
	    {"\"2024-01-31 10:00:00.000000\"", MY_MAY_STRING},
	    {"\"2024-01-31 10:00:00\"", 0},
	    {"\"-838:59:59.000000\"", MY_MAY_STRING},
	    {"\"base64:type15:AAE=\"", MY_MAY_STRING},
	    {"\"base64:typ\"", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct my_scalar v = scalar(cases[i].text);

		if (my_may_be(&v) != cases[i].may)
			fail_msg("%s: %u", cases[i].text, my_may_be(&v));
	}
}

/* Spelled, and as SQL again; expression NULL: plain text does. */
static void test_spell(void **state)
{
	static const struct {
		const char *text, *type, *spelled, *expression;
	} cases[] = {
	    {"1.5", "DOUBLE", "1.5", NULL},
	    {"1.5", "DECIMAL", "1.5E-0", "CAST(1.5 AS DECIMAL(2,1))"},
	    {"1.10", "DECIMAL", "1.10", "CAST(1.10 AS DECIMAL(3,2))"},
	    {"0.00", "DECIMAL", "0.00", "CAST(0.00 AS DECIMAL(2,2))"},
	    {"-7", "DECIMAL", "-7E-0", "CAST(-7 AS DECIMAL(1,0))"},
	    {"0", "DECIMAL", "0E-0", "CAST(0 AS DECIMAL(1,0))"},
	    {"5", "UNSIGNED INTEGER", "5E-00", "CAST(5 AS UNSIGNED)"},
	    {"5", "INTEGER", "5", NULL},
	    {"5000000000", "UNSIGNED INTEGER", "5000000000", NULL},
	    {"5000000000", "INTEGER", "5000000000E-000", "5000000000"},
	    {"-5000000000", "INTEGER", "-5000000000", NULL},
	    {"true", "BOOLEAN", "true", NULL},
	    {"\"2024-01-31\"", "STRING", "\"2024-01-31\"", NULL},
	    {"\"2024-01-31\"", "DATE", "\"\\u0032024-01-31\"", "CAST('2024-01-31' AS DATE)"},
	    {"\"-01:00:00.500000\"", "TIME", "\"\\u002d01:00:00.500000\"", "CAST('-01:00:00.500000' AS TIME(6))"},
	    {"\"base64:type15:AAE=\"", "BLOB", "\"\\u0062ase64:type15:AAE=\"", "x'0001'"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		_cleanup_strbuf_ struct strbuf spelled = {0}, sql = {0};
		struct my_scalar v = scalar(cases[i].text);

		assert_true(my_spell(&spelled, &v, cases[i].type, strlen(cases[i].type)));
		assert_string_equal(spelled.data, cases[i].spelled);
		assert_int_equal(my_is_typed(spelled.data, spelled.len), cases[i].expression != NULL);
		assert_int_equal(my_sql_document(&sql, spelled.data, spelled.len), cases[i].expression != NULL);
		if (cases[i].expression && !strstr(sql.data, cases[i].expression))
			fail_msg("%s: %s", cases[i].spelled, sql.data);
	}
	_cleanup_strbuf_ struct strbuf out = {0};
	struct my_scalar binary = scalar("\"base64:type250:AAE=\""), string = scalar("\"1.5\"");
	assert_false(my_spell(&out, &binary, "BLOB", 4));
	assert_false(my_spell(&out, &string, "DECIMAL", 7));
}

/* Whatever people write into a row's file is what the text says, unless it is a spelling. */
static void test_not_typed(void **state)
{
	static const char *const texts[] = {
	    "",
	    "{",
	    "[1.5E+00, 1.5e-0, 1e5, 1.5E-0000, 1E-1, -, 1.5E-]",
	    "[\"\\u0032024-01-31 \", \"\\u0041\", \"\\u00\", \"\\u00320\"]",
	    "{\"\\u0032024-01-31\":\"\\n\"}",
	    "\"\\",
	    "[0.1234567890123456789012345678901234567890]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (my_is_typed(texts[i], strlen(texts[i])))
			fail_msg("%s", texts[i]);
}

static void test_paths(void **state)
{
	static const char text[] = "{\"a\":[1.10,{\"b\\\"]\":[[],[2.20]]}],\"\":3.30}";
	_cleanup_strbuf_ struct strbuf sql = {0};

	(void)state;
	assert_true(my_sql_document(&sql, text, sizeof text - 1));
	assert_non_null(strstr(sql.data, "'$.\"a\"[0]',CAST(1.10 "));
	assert_non_null(strstr(sql.data, "'$.\"a\"[1].\"b\\\\\"]\"[1][0]',CAST(2.20 "));
	assert_non_null(strstr(sql.data, "'$.\"\"',CAST(3.30 "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_may_be),
	    cmocka_unit_test(test_spell),
	    cmocka_unit_test(test_not_typed),
	    cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
