/*
 * base/text.c - see text.h.
 */
#include "base/text.h"

#include <errno.h>

static const char hex_lower[] = "0123456789abcdef", hex_upper[] = "0123456789ABCDEF";

void hex_encode(const void *bytes, size_t n, char *out)
{
	const uint8_t *p = bytes;
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hex_lower[p[i] >> 4];
		out[2 * i + 1] = hex_lower[p[i] & 15];
	}
	out[2 * n] = '\0';
}

void hex_add(struct strbuf *out, const void *bytes, size_t n)
{
	strbuf_reserve(out, 2 * n + 1);
	hex_encode(bytes, n, out->data + out->len);
	out->len += 2 * n;
}

int hex_decode(const char *hex, uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int high = hex_value(hex[2 * i]);
		int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);
		if (low < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return hex[2 * n] ? -EINVAL : 0;
}

void percent_add(struct strbuf *out, unsigned char byte)
{
	const char text[3] = {'%', hex_upper[byte >> 4], hex_upper[byte & 15]};
	strbuf_add(out, text, sizeof text);
}

void percent_encode(struct strbuf *out, const char *text, size_t n, const char *keep)
{
	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    (c && strchr(keep, c)))
			strbuf_addch(out, c);
		else
			percent_add(out, (unsigned char)c);
	}
}

int percent_byte(const char *p, const char *end)
{
	if (end - p < 3)
		return -1;
	int high = hex_value(p[1]), low = hex_value(p[2]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}
