/*
 * tests/unit/base/text_test.c - base/text.c: hex digits and percent-encoding, both ways, and what is refused on the way
 * back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"

static void test_hex(void **state)
{
	static const uint8_t bytes[] = {0x00, 0x09, 0x0a, 0x7f, 0xa5, 0xff};
	uint8_t back[sizeof bytes];
	char hex[2 * sizeof bytes + 1];
	hex_encode(bytes, sizeof bytes, hex);
	assert_string_equal(hex, "00090a7fa5ff");
	assert_int_equal(hex_decode(hex, back, sizeof back), 0);
	assert_memory_equal(back, bytes, sizeof bytes);
	assert_int_equal(hex_decode("00090A7FA5FF", back, sizeof back), 0);
	assert_memory_equal(back, bytes, sizeof bytes);

	_cleanup_strbuf_ struct strbuf out = {0};
	hex_add(&out, bytes, 2);
	hex_add(&out, bytes + 4, 2);
	hex_add(&out, bytes, 0);
	assert_string_equal(strbuf_str(&out), "0009a5ff");
	assert_int_equal(out.len, 8);
	(void)state;
}

static void test_hex_refused(void **state)
{
	uint8_t two[2];
	static const char *const bad[] = {"", "0", "000", "0000 ", "00000", "00g0", "0x00", "00 0"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(hex_decode(bad[i], two, sizeof two), -EINVAL);
	for (int c = 0; c < 256; c++) {
		const char *digits = "0123456789abcdefABCDEF", *at = c ? strchr(digits, c) : NULL;
		int want = at ? (int)(at - digits) - (at - digits > 15 ? 6 : 0) : -1;
		assert_int_equal(hex_value((char)c), want);
	}
	(void)state;
}

static void test_percent(void **state)
{
	static const char text[] = "aZ09-/.%\0\n\xff";
	_cleanup_strbuf_ struct strbuf out = {0};
	percent_encode(&out, text, sizeof text - 1, "-.");
	assert_string_equal(strbuf_str(&out), "aZ09-%2F.%25%00%0A%FF");
	_cleanup_strbuf_ struct strbuf back = {0};
	for (const char *p = out.data, *end = p + out.len; p < end; p++) {
		int byte = *p == '%' ? percent_byte(p, end) : *p;
		assert_true(byte >= 0);
		p += *p == '%' ? 2 : 0;
		strbuf_addch(&back, (char)byte);
	}
	assert_int_equal(back.len, sizeof text - 1);
	assert_memory_equal(back.data, text, sizeof text - 1);
	(void)state;
}

static void test_percent_refused(void **state)
{
	static const char text[] = "%4";
	assert_int_equal(percent_byte(text, text + 2), -1);
	static const char bad[] = "%g4", lower[] = "%aF";
	assert_int_equal(percent_byte(bad, bad + 3), -1);
	assert_int_equal(percent_byte(lower, lower + 3), 0xaf);
	assert_int_equal(percent_byte(lower, lower + 2), -1);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hex),
	    cmocka_unit_test(test_hex_refused),
	    cmocka_unit_test(test_percent),
	    cmocka_unit_test(test_percent_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
