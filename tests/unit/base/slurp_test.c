/*
 * tests/unit/base/slurp_test.c - base/slurp.c: a file read whole, from where it stands, behind what is in the buffer,
 * up to the limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>

#include "base/slurp.h"

static int file_of(const char *text, size_t n)
{
	char path[] = "/tmp/slurp_test.XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	(void)unlink(path);
	assert_int_equal(write(fd, text, n), n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void test_whole(void **state)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	_cleanup_close_ int fd = file_of("one\0two", 7);
	strbuf_adds(&out, "> ");
	assert_int_equal(slurp(fd, "file", 7, &out, ERR_DROP), 0);
	assert_int_equal(out.len, 9);
	assert_memory_equal(out.data, "> one\0two", 10);
	assert_int_equal(slurp(fd, "file", 7, &out, ERR_DROP), 0); /* nothing is left */
	assert_int_equal(out.len, 9);
	(void)state;
}

static void test_too_large(void **state)
{
	struct err e = ERR_INIT;
	_cleanup_wipe_ struct strbuf out = {0};
	_cleanup_close_ int fd = file_of("12345678", 8);
	assert_int_equal(slurp(fd, "some file", 7, &out, &e), -EINVAL);
	assert_string_equal(e.msg, "some file: too large (is it the right file?)");
	(void)state;
}

static void test_unreadable(void **state)
{
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf out = {0};
	_cleanup_close_ int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(slurp(fd, "a folder", 7, &out, &e), -EISDIR);
	assert_memory_equal(e.msg, "a folder: ", 10);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole),
	    cmocka_unit_test(test_too_large),
	    cmocka_unit_test(test_unreadable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
