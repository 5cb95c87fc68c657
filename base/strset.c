/*
 * base/strset.c - see strset.h.
 */
#include "base/strset.h"

#include <string.h>

#include "base/strbuf.h"

void strset_done(struct strset *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strset){0};
}

void strset_add(struct strset *s, const char *text, size_t len)
{
	if ((s->n & (s->n - 1)) == 0)
		s->v = xrealloc(s->v, (s->n ? s->n * 2 : 1) * sizeof *s->v);
	s->v[s->n++] = xmemdup0(text, len);
}

static int strset_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strset_sort(struct strset *s)
{
	if (s->n)
		qsort(s->v, s->n, sizeof *s->v, strset_order);
}

bool strset_has(const struct strset *s, const char *text)
{
	return s->n && bsearch(&text, s->v, s->n, sizeof *s->v, strset_order);
}
