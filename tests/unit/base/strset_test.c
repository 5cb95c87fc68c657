/*
 * tests/unit/base/strset_test.c - base/strset.c: what was added is there, and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/strset.h"

static void test_has(void **state)
{
	_cleanup_strset_ struct strset s = {0};
	char name[32];
	strset_sort(&s);
	assert_false(strset_has(&s, ""));
	for (int i = 0; i < 1000; i++) {
		int n = snprintf(name, sizeof name, "name %d and more", i * 7919 % 1000);
		strset_add(&s, name, (size_t)n - strlen(" and more"));
	}
	assert_string_equal(s.v[1], "name 919"); /* as added */
	strset_sort(&s);
	assert_int_equal(s.n, 1000);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof name, "name %d", i);
		assert_true(strset_has(&s, name));
	}
	assert_false(strset_has(&s, "name 1000"));
	assert_false(strset_has(&s, "name"));
	for (size_t i = 1; i < s.n; i++)
		assert_true(strcmp(s.v[i - 1], s.v[i]) < 0);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_has),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
