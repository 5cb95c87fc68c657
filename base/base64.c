/*
 * base/base64.c - see base64.h.
 */
#include "base/base64.h"

#include <stdint.h>

void base64_encode(struct strbuf *out, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = data;
	strbuf_reserve(out, len / 3 * 4 + 4);
	char *o = out->data + out->len;
	for (; len >= 3; len -= 3, p += 3) {
		uint32_t n = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		o[0] = digits[n >> 18];
		o[1] = digits[n >> 12 & 63];
		o[2] = digits[n >> 6 & 63];
		o[3] = digits[n & 63];
		o += 4;
	}
	if (len) {
		uint32_t n = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);
		o[0] = digits[n >> 18];
		o[1] = digits[n >> 12 & 63];
		o[2] = len == 2 ? digits[n >> 6 & 63] : '=';
		o[3] = '=';
		o += 4;
	}
	*o = '\0';
	out->len = (size_t)(o - out->data);
}

/* A digit's value plus one; 0: not a digit. */
static const uint8_t base64_value[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

bool base64_decode(struct strbuf *out, const char *text, size_t len)
{
	if (len % 4)
		return false;
	const unsigned char *p = (const unsigned char *)text;
	strbuf_reserve(out, len / 4 * 3);
	char *o = out->data + out->len;
	for (; len; len -= 4, p += 4) {
		uint32_t a = base64_value[p[0]], b = base64_value[p[1]];
		uint32_t c = base64_value[p[2]], d = base64_value[p[3]];
		if (!a || !b)
			goto bad;
		uint32_t n = (a - 1) << 18 | (b - 1) << 12;
		size_t bytes = 3;
		if (c && d) {
			n |= (c - 1) << 6 | (d - 1);
		} else if (len == 4 && c && p[3] == '=' && !((c - 1) & 3)) {
			n |= (c - 1) << 6;
			bytes = 2;
		} else if (len == 4 && p[2] == '=' && p[3] == '=' && !((b - 1) & 15)) {
			bytes = 1;
		} else {
			goto bad;
		}
		o[0] = (char)(n >> 16);
		if (bytes > 1)
			o[1] = (char)(n >> 8);
		if (bytes > 2)
			o[2] = (char)n;
		o += bytes;
	}
	out->len = (size_t)(o - out->data);
	out->data[out->len] = '\0';
	return true;
bad:
	out->data[out->len] = '\0';
	return false;
}
