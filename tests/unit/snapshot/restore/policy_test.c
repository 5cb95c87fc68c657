/*
 * tests/unit/snapshot/restore/policy_test.c - snapshot/restore/policy.c: what each policy lets be done, and its words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "snapshot/restore/policy.h"

static void every_policy(void **state)
{
	(void)state;
	static const struct {
		enum restore_policy policy;
		enum restore_act act;
		bool has_rows;
		int want;
		const char *words;
	} cases[] = {
	    {RESTORE_OFF, RESTORE_ACT_DATABASE, false, EPERM, "set restore = empty or replace"},
	    {RESTORE_OFF, RESTORE_ACT_DATABASE, true, EPERM, "set restore = empty or replace"},
	    {RESTORE_OFF, RESTORE_ACT_FILE, false, EPERM, "restore = off for this source"},
	    {RESTORE_OFF, RESTORE_ACT_ROW, true, EPERM, "restore = replace only (it is off)"},
	    {RESTORE_EMPTY, RESTORE_ACT_DATABASE, false, 0, NULL},
	    {RESTORE_EMPTY, RESTORE_ACT_DATABASE, true, ENOTEMPTY, "the target has rows and restore = empty"},
	    {RESTORE_EMPTY, RESTORE_ACT_FILE, false, 0, NULL},
	    {RESTORE_EMPTY, RESTORE_ACT_FILE, true, ENOTEMPTY, "tables of the file have rows and restore = empty"},
	    {RESTORE_EMPTY, RESTORE_ACT_ROW, false, EPERM, "restore = replace only (it is empty)"},
	    {RESTORE_REPLACE, RESTORE_ACT_DATABASE, true, 0, NULL},
	    {RESTORE_REPLACE, RESTORE_ACT_FILE, true, 0, NULL},
	    {RESTORE_REPLACE, RESTORE_ACT_ROW, true, 0, NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct err e = ERR_INIT;
		assert_int_equal(restore_may(cases[i].policy, cases[i].act, cases[i].has_rows, &e), -cases[i].want);
		assert_int_equal(e.code, cases[i].want);
		if (cases[i].words)
			assert_non_null(strstr(e.msg, cases[i].words));
		else
			assert_string_equal(e.msg, "");
		if (cases[i].act == RESTORE_ACT_ROW)
			assert_int_equal(restore_may_write_rows(cases[i].policy), !cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_policy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
