/*
 * base/text.h - bytes as text that survives where bytes do not: hex digits and percent-encoding. Any thread; no state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

/* A hex digit's value, either case; -1: none. */
static inline int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	char lower = (char)(c | 0x20);
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}
/* 2n lower-case digits and a NUL into `out`. */
void hex_encode(const void *bytes, size_t n, char *out);
void hex_add(struct strbuf *out, const void *bytes, size_t n);
/* 0, or -EINVAL when `hex` is not exactly 2n hex digits. */
int hex_decode(const char *hex, uint8_t *bytes, size_t n);

/* Appends %XX, upper case. */
void percent_add(struct strbuf *out, unsigned char byte);
/* Appends text[0..n): letters, digits and the bytes of `keep` as they are, all others as %XX. */
void percent_encode(struct strbuf *out, const char *text, size_t n, const char *keep);
/* The byte that the three characters at p stand for, p[0] being '%'; -1: they stand for none. */
int percent_byte(const char *p, const char *end);
