/*
 * tests/unit/drivers/postgres/text_test.c - drivers/postgres/text.c: quoting, and rows of COPY there and back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/postgres/internal.h"

static void test_quoting(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf sb = {0};
	struct pg_conn c = {.schema = (char *)"My \"schema\""};
	pg_add_relation(&sb, &c, "tag");
	assert_string_equal(strbuf_str(&sb), "\"My \"\"schema\"\"\".\"tag\"");
	strbuf_clear(&sb);
	pg_add_literal(&sb, "it's a \\");
	assert_string_equal(strbuf_str(&sb), "'it''s a \\'");
	strbuf_clear(&sb);
	char *oids[] = {(char *)"1", (char *)"23"};
	pg_add_oid_array(&sb, oids, 0);
	pg_add_oid_array(&sb, oids, 2);
	assert_string_equal(strbuf_str(&sb), "{}{1,23}");
}

static void test_rows_there_and_back(void **state)
{
	(void)state;
	char all[255], bytes[256];
	for (int i = 0; i < 256; i++) {
		bytes[i] = (char)i;
		if (i)
			all[i - 1] = (char)i;
	}
	/* Text holds no NUL; a \N is NULL only where nobody escaped it. */
	const struct db_value row[] = {
	    {.data = all, .len = sizeof all},
	    {.data = bytes, .len = sizeof bytes},
	    {.data = NULL},
	    {.data = "", .len = 0},
	    {.data = "\\N", .len = 2},
	    {.data = "", .len = 0},
	    {.data = "\\", .len = 1},
	};
	const bool binary[] = {false, true, true, false, false, true, false};
	enum { N = sizeof row / sizeof row[0] };
	struct db_value got[N];
	_cleanup_strbuf_ struct strbuf sb = {0};
	pg_add_copy_row(&sb, row, binary, N);
	assert_int_equal(sb.data[sb.len - 1], '\n');
	assert_int_equal(pg_read_copy_row(sb.data, sb.len, got, binary, N, ERR_DROP), 0);
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(!got[i].data, !row[i].data);
		assert_int_equal(got[i].len, row[i].len);
		if (row[i].data)
			assert_memory_equal(got[i].data, row[i].data, row[i].len);
	}
	/* a table without columns of its own */
	strbuf_clear(&sb);
	pg_add_copy_row(&sb, NULL, NULL, 0);
	assert_string_equal(strbuf_str(&sb), "\n");
	assert_int_equal(pg_read_copy_row(sb.data, sb.len, NULL, NULL, 0, ERR_DROP), 0);
}

static void test_damaged_rows(void **state)
{
	(void)state;
	static const struct {
		const char *line, *words;
	} cases[] = {
	    {"", "without its end"},          {"a\t\\\\x00", "without its end"}, {"a\n", "fewer columns"},
	    {"a\t00\n", "not in hex"},        {"a\t\\\\x0\n", "not in hex"},     {"a\t\\\\x0g\n", "not in hex"},
	    {"a\t\\\\x00\t\n", "not in hex"}, {"a\t\n", "not in hex"},
	};
	const bool binary[] = {false, true};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct db_value got[2];
		struct err e = ERR_INIT;
		_cleanup_free_ char *line = xstrdup(cases[i].line);
		assert_int_equal(pg_read_copy_row(line, strlen(line), got, binary, 2, &e), -EIO);
		if (!strstr(e.msg, cases[i].words))
			fail_msg("%s: \"%s\" without \"%s\"", cases[i].line, e.msg, cases[i].words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_quoting),
	    cmocka_unit_test(test_rows_there_and_back),
	    cmocka_unit_test(test_damaged_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
