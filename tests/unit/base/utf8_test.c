/*
 * tests/unit/base/utf8_test.c - base/utf8.c: every character there and back, and that nothing else is one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

static void test_every_character(void **state)
{
	for (uint32_t code = 0; code <= 0x10ffff; code++) {
		char text[5] = "";
		uint32_t back = UINT32_MAX;
		size_t n = utf8_encode(code, text);
		bool surrogate = code >= 0xd800 && code < 0xe000;
		if (utf8_decode(text, n, &back) != (surrogate ? 0 : n) || (!surrogate && back != code))
			fail_msg("U+%04X does not come back", code);
		if (!surrogate && n > 1 && utf8_decode(text, n - 1, &back))
			fail_msg("U+%04X is taken without its end", code);
	}
	(void)state;
}

static void test_known(void **state)
{
	char text[4];
	assert_int_equal(utf8_encode(0x20ac, text), 3);
	assert_memory_equal(text, "\xe2\x82\xac", 3);
	assert_int_equal(utf8_encode(0x1f600, text), 4);
	assert_memory_equal(text, "\xf0\x9f\x98\x80", 4);
	(void)state;
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
	    "\x80",
	    "\xbf",
	    "\xc0\x80",
	    "\xc1\xbf", /* longer than need be */
	    "\xe0\x9f\xbf",
	    "\xf0\x8f\xbf\xbf",
	    "\xed\xa0\x80",
	    "\xed\xbf\xbf", /* surrogates */
	    "\xf4\x90\x80\x80",
	    "\xf5\x80\x80\x80",
	    "\xff",
	    "\xc3\x28",
	    "\xe2\x82\x28",
	    "\xf0\x9f\x98\x28",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint32_t code = 0;
		if (utf8_decode(bad[i], strlen(bad[i]), &code))
			fail_msg("number %zu was taken as U+%04X", i, code);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_character),
	    cmocka_unit_test(test_known),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
