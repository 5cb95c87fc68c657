/*
 * base/strbuf.c - growing byte buffer and memory that must be there. No locks; each buffer belongs to one thread.
 */
#include "base/strbuf.h"

#include <stdarg.h>

static void *mem_or_die(void *p, size_t n)
{
	if (p || !n)
		return p;
	(void)fprintf(stderr, "metasnap: out of memory: %zu bytes\n", n);
	abort();
}

void *xmalloc(size_t n)
{
	return mem_or_die(malloc(n ? n : 1), n);
}

void *xcalloc(size_t n, size_t size)
{
	return mem_or_die(calloc(n ? n : 1, size ? size : 1), n * size);
}

void *xrealloc(void *p, size_t n)
{
	return mem_or_die(realloc(p, n ? n : 1), n);
}

char *xmemdup0(const void *p, size_t n)
{
	char *s = xmalloc(n + 1);
	if (n)
		memcpy(s, p, n);
	s[n] = '\0';
	return s;
}

char *xstrdup(const char *s)
{
	return s ? xmemdup0(s, strlen(s)) : NULL;
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? mem_or_die(NULL, 1) : s;
}

void strbuf_reserve(struct strbuf *sb, size_t extra)
{
	size_t need = sb->len + extra + 1;
	if (need < extra)
		(void)mem_or_die(NULL, extra);
	if (need <= sb->cap)
		return;
	size_t cap = sb->cap ? sb->cap : 64;
	while (cap < need)
		cap += cap / 2 + 64;
	sb->data = xrealloc(sb->data, cap);
	sb->cap = cap;
	sb->data[sb->len] = '\0';
}

void strbuf_done(struct strbuf *sb)
{
	free(sb->data);
	*sb = (struct strbuf){0};
}

void strbuf_wipe(struct strbuf *sb)
{
	if (sb->data)
		explicit_bzero(sb->data, sb->cap);
	strbuf_done(sb);
}

void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n > 0) {
		strbuf_reserve(sb, (size_t)n);
		(void)vsnprintf(sb->data + sb->len, (size_t)n + 1, fmt, again);
		sb->len += (size_t)n;
	}
	va_end(again);
}

char *strbuf_detach(struct strbuf *sb)
{
	strbuf_reserve(sb, 0);
	char *s = sb->data;
	*sb = (struct strbuf){0};
	return s;
}

const char *strbuf_str(const struct strbuf *sb)
{
	return sb->data ? sb->data : "";
}
