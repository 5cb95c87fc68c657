/*
 * tests/unit/base/clock_test.c - base/clock.c: the clocks run, a moment from now is in range, and moments are written
 * as they should be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_clocks_run(void **state)
{
	int64_t day = clock_ms(), mono = clock_mono_ms();
	assert_true(day > INT64_C(1577836800000)); /* 2020 */
	struct timespec nap = {.tv_nsec = 20000000};
	(void)nanosleep(&nap, NULL);
	assert_true(clock_mono_ms() >= mono + 19);
	(void)state;
}

static void test_after(void **state)
{
	static const int64_t ms[] = {0, 1, 999, 1000, 1001, 123456789};
	for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++) {
		int64_t before = clock_mono_ms();
		struct timespec t = clock_after(CLOCK_MONOTONIC, ms[i]);
		int64_t at = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
		assert_true(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
		assert_true(at >= before + ms[i] && at <= clock_mono_ms() + ms[i]);
	}
	(void)state;
}

static void test_text(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} moments[] = {
	    {0, "1970-01-01T00:00:00Z"},
	    {999, "1970-01-01T00:00:00Z"},
	    {INT64_C(951782400000), "2000-02-29T00:00:00Z"},
	    {INT64_C(1795786144000), "2026-11-27T13:29:04Z"},
	    {INT64_C(253402300799999), "9999-12-31T23:59:59Z"},
	};
	char text[CLOCK_TEXT];
	for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
		clock_text(moments[i].ms, text);
		assert_string_equal(text, moments[i].text);
	}
	clock_text(INT64_MAX, text); /* no such year: nothing is written, and nothing overflows */
	assert_true(strlen(text) < CLOCK_TEXT);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_clocks_run),
	    cmocka_unit_test(test_after),
	    cmocka_unit_test(test_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
