/*
 * tests/unit/base/base64_test.c - base/base64.c: RFC 4648's own examples, every length both ways, and that nothing but
 * the canonical spelling is read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"

static void test_known(void **state)
{
	static const char *const pairs[][2] = {
	    {"", ""},
	    {"f", "Zg=="},
	    {"fo", "Zm8="},
	    {"foo", "Zm9v"},
	    {"foob", "Zm9vYg=="},
	    {"fooba", "Zm9vYmE="},
	    {"foobar", "Zm9vYmFy"},
	};
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		_cleanup_strbuf_ struct strbuf out = {0}, back = {0};
		strbuf_adds(&out, "> ");
		strbuf_adds(&back, "< ");
		base64_encode(&out, pairs[i][0], strlen(pairs[i][0]));
		assert_string_equal(out.data + 2, pairs[i][1]);
		assert_int_equal(out.len, 2 + strlen(pairs[i][1]));
		assert_true(base64_decode(&back, pairs[i][1], strlen(pairs[i][1])));
		assert_string_equal(back.data + 2, pairs[i][0]);
		assert_int_equal(back.len, 2 + strlen(pairs[i][0]));
	}
	(void)state;
}

static void test_every_byte(void **state)
{
	unsigned char bytes[256];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(i * 37);
	for (size_t n = 0; n <= sizeof bytes; n++) {
		_cleanup_strbuf_ struct strbuf out = {0}, back = {0};
		base64_encode(&out, bytes, n);
		assert_int_equal(out.len, (n + 2) / 3 * 4);
		assert_true(base64_decode(&back, strbuf_str(&out), out.len));
		assert_int_equal(back.len, n);
		assert_memory_equal(strbuf_str(&back), bytes, n);
	}
	(void)state;
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
	    "Z",    "Zg",    "Zg=",    "Zg=x",     "Z===",     "====",     "=g==", "Zm9=", /* bits of no byte */
	    "Zh==", "Zm 9v", "Zm9v\n", "Zg==Zm9v", "Zm8=Zm9v", "Zm9v====", "Zm9-", "Zm9_", "Zm\xc3\xa9", "Zm9vZm9*",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		_cleanup_strbuf_ struct strbuf out = {0};
		strbuf_adds(&out, "kept");
		if (base64_decode(&out, bad[i], strlen(bad[i])))
			fail_msg("\"%s\" was taken", bad[i]);
		assert_string_equal(out.data, "kept");
		assert_int_equal(out.len, 4);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known),
	    cmocka_unit_test(test_every_byte),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
