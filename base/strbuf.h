/*
 * base/strbuf.h - a growing byte buffer, always NUL-terminated after `len` bytes.
 *
 * Appending never fails to its caller: on memory exhaustion the process ends with a message (abort), because a
 * half-appended row must never reach the catalog. A zeroed strbuf is a valid empty one. Not shared between threads.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

struct strbuf {
	char *data; /* NULL while nothing was ever appended */
	size_t len;
	size_t cap;
};

void strbuf_done(struct strbuf *sb);
/* The same for text that held a password, which is not to stay behind in freed memory. */
void strbuf_wipe(struct strbuf *sb);
void strbuf_reserve(struct strbuf *sb, size_t extra);
void strbuf_addf(struct strbuf *sb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Returns the NUL-terminated text and leaves *sb empty; the caller frees. Never NULL. */
char *strbuf_detach(struct strbuf *sb);
/* The text, "" when empty; owned by *sb. */
const char *strbuf_str(const struct strbuf *sb);

static inline void strbuf_clear(struct strbuf *sb)
{
	sb->len = 0;
	if (sb->data)
		sb->data[0] = '\0';
}

static inline void strbuf_add(struct strbuf *sb, const void *data, size_t n)
{
	if (sb->cap - sb->len <= n)
		strbuf_reserve(sb, n);
	if (n)
		memcpy(sb->data + sb->len, data, n);
	sb->len += n;
	sb->data[sb->len] = '\0';
}

static inline void strbuf_addch(struct strbuf *sb, char c)
{
	if (sb->cap - sb->len <= 1)
		strbuf_reserve(sb, 1);
	sb->data[sb->len++] = c;
	sb->data[sb->len] = '\0';
}

static inline void strbuf_adds(struct strbuf *sb, const char *s)
{
	strbuf_add(sb, s, strlen(s));
}

#define _cleanup_strbuf_ _cleanup_(strbuf_done)
#define _cleanup_wipe_ _cleanup_(strbuf_wipe)

/* Memory that must be there: the process ends with a message when it is not. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);            /* NULL gives NULL */
char *xmemdup0(const void *p, size_t n); /* n bytes and a final NUL */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
