/*
 * snapshot/row/scalar.c - numbers as texts. No state; any thread.
 */
#include "snapshot/row/internal.h"

/* Whole numbers in -2^63 .. 2^64-1. Leading zeros are taken (ZEROFILL); who wants canonical digits compares them. */
bool row_parse_integer(const char *text, size_t len, bool *negative, uint64_t *magnitude)
{
	uint64_t n = 0;
	*negative = len && *text == '-';
	size_t i = *negative;
	if (i == len)
		return false;
	for (; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
			return false;
	}
	*magnitude = n;
	if (!n)
		*negative = false;
	return !*negative || n <= (uint64_t)1 << 63;
}

/* SQLite's INTEGER as SQLite prints it. */
bool row_is_int64(const char *text, size_t len)
{
	bool negative;
	uint64_t n;
	return json_text_is_number(text, len) && row_parse_integer(text, len, &negative, &n) &&
	       (negative || n <= INT64_MAX) && negative == (*text == '-');
}

bool row_is_real(const char *text, size_t len)
{
	return json_text_is_number(text, len) &&
	       (memchr(text, '.', len) || memchr(text, 'e', len) || memchr(text, 'E', len));
}

size_t row_number_len(const char *text, size_t len)
{
	size_t n = len;
	while (n > 0 && text[n - 1] == '0')
		n--;
	return n < len && n > 2 && text[n - 1] == '-' && text[n - 2] == 'E' ? n - 2 : len;
}
