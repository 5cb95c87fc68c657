/*
 * snapshot/openmetadata/preflight_line.c - see preflight_line.h.
 */
#include "snapshot/openmetadata/preflight_line.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define NAME_MAX_BYTES 200

void preflight_say(struct preflight_line *l, enum preflight_status status, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = NULL;
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (status > l->status)
		l->status = status;
	if (n >= 0)
		strbuf_adds(&l->found, text);
	free(text);
}

/* Length of the UTF-8 sequence at s that may be printed, 0: none. Not: what moves the cursor or turns text around. */
static size_t printable(const char *s, size_t len)
{
	uint32_t code = 0;
	size_t n = utf8_decode(s, len, &code);
	bool moves = code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
		     (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
	return n && !moves ? n : 0;
}

static void add_printable(struct strbuf *out, const char *text, size_t len, size_t max)
{
	const char *s = text, *end = text + len;
	size_t start = out->len;
	while (s < end) {
		if (out->len - start >= max) {
			strbuf_adds(out, "...");
			return;
		}
		size_t n = printable(s, (size_t)(end - s));
		if (n)
			strbuf_add(out, s, n);
		else
			strbuf_addf(out, "\\x%02x", (unsigned char)*s);
		s += n ? n : 1;
	}
}

void preflight_add_name(struct strbuf *out, const char *name, size_t len)
{
	add_printable(out, name, len, NAME_MAX_BYTES);
}

void preflight_add_text(struct strbuf *out, const char *text, size_t len)
{
	add_printable(out, text, len, SIZE_MAX);
}
