/*
 * fs/tree/history_set.c - for each source the list of its snapshots with their indexes of names, checked against the
 * catalog's data version. Any thread. Lock: tree.mutex, for that list only.
 */
#include <errno.h>

#include "fs/tree/internal.h"

static void history_set_free(struct history_set *s)
{
	for (size_t k = 0; k < s->n; k++)
		free(s->v[k].name);
	free(s->v);
	free(s->change);
	free(s);
}

void history_set_unref(struct tree *t, struct history_set *s)
{
	bool last;
	if (!s)
		return;
	{
		MUTEX_GUARD(&t->mutex);
		last = --s->refs == 0;
	}
	if (last)
		history_set_free(s);
}

void tree_history_close(struct tree *t)
{
	for (size_t k = 0; t->history && k < t->n_sources; k++)
		history_set_unref(t, t->history[k]);
	free(t->history);
}

static int history_by_moment(const void *a, const void *b)
{
	const struct history_snapshot *x = a, *y = b;
	if (x->taken_ms != y->taken_ms)
		return x->taken_ms < y->taken_ms ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int history_load(struct tree *t, struct history_set *s, const struct tree_wait *w, struct err *e)
{
	struct snapshot_list list = {0};
	int r = catalog_list(t->catalog, s->source_id, &list, e);
	if (r < 0)
		return r;
	s->v = xcalloc(list.n + 1, sizeof *s->v);
	s->change = xcalloc(list.n + 1, sizeof *s->change);
	for (size_t k = 0; k < list.n && r == 0; k++) {
		struct history_snapshot *h = &s->v[s->n];
		*h = (struct history_snapshot){.id = list.v[k].id, .taken_ms = list.v[k].taken_ms};
		r = tree_names(t, h->id, w, &h->index, e);
		if (r == -ENOENT) { /* removed meanwhile */
			r = 0;
			continue;
		}
		h->name = xstrdup(list.v[k].name);
		s->n++;
	}
	snapshot_list_done(&list);
	if (r)
		return r;
	qsort(s->v, s->n, sizeof *s->v, history_by_moment);
	for (size_t k = 0; k < s->n; k++)
		if (k == 0 || s->v[k].index != s->v[k - 1].index)
			s->change[s->n_changes++] = k;
	return 0;
}

int history_get(struct tree *t, size_t source, const struct tree_wait *w, struct history_set **ret, struct err *e)
{
	int64_t version = catalog_data_version(t->catalog);
	{
		MUTEX_GUARD(&t->mutex);
		struct history_set *have = t->history ? t->history[source] : NULL;
		if (have && have->version == version) {
			have->refs++;
			*ret = have;
			return 0;
		}
	}
	struct history_set *s = xcalloc(1, sizeof *s);
	s->source_id = tree_source_id(t, source);
	s->version = version;
	s->refs = 2;
	int r = history_load(t, s, w, e);
	if (r) {
		history_set_free(s);
		return r;
	}
	struct history_set *old;
	{
		MUTEX_GUARD(&t->mutex);
		if (!t->history)
			t->history = xcalloc(t->n_sources, sizeof *t->history);
		old = t->history[source];
		t->history[source] = s;
	}
	history_set_unref(t, old);
	*ret = s;
	return 0;
}
