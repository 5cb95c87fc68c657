/*
 * tests/unit/snapshot/job_test.c - snapshot/job.c: who asks is told by the kernel, what is said is cut and not spilt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/job.h"

static void who(void **state)
{
	(void)state;
	struct requester me, none;
	requester_self(&me);
	assert_int_equal(me.uid, getuid());
	assert_int_equal(me.pid, getpid());
	assert_true(strlen(me.program) > 0);
	assert_null(strchr(me.program, '\n'));
	memset(&none, 'x', sizeof none);
	requester_of_pid(&none, 7, 0);
	assert_int_equal(none.uid, 7);
	assert_string_equal(none.program, "");
}

static void said(void **state)
{
	(void)state;
	struct job_ctl j = {.mutex = PTHREAD_MUTEX_INITIALIZER};
	job_ctl_say(&j, "restore: %s", "user_entity");
	assert_string_equal(j.what, "restore: user_entity");
	job_ctl_say(&j, "%0200d", 1);
	assert_int_equal(strlen(j.what), sizeof j.what - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who),
	    cmocka_unit_test(said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
