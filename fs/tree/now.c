/*
 * fs/tree/now.c - now/: which snapshot it shows, and that reading it keeps that in use. Any thread; no locks.
 */
#include <errno.h>

#include "base/clock.h"
#include "fs/tree/internal.h"
#include "snapshot/restore/policy.h"

#define NOW_TOUCH_MS 250

/* Snapshot that now/ shows. */
static int now_snapshot(struct tree *t, size_t source, const struct tree_wait *w, int64_t *ret, struct err *e)
{
	if (service_now_peek(t->service, source, ret) == 0)
		return 0;
	return w ? service_now(t->service, source, w->who, w->waiter, ret, e) : TREE_MUST_WAIT;
}

/* A reader that stays below now/tables (tar, find: by descriptors) does not pass now/ itself: that it goes on keeps the
 * snapshot in use all the same, so that what it reads next from now/ is of the same moment. */
void tree_now_touch(struct tree *t, int source)
{
	if (source < 0)
		return;
	long long now = clock_mono_ms(), last = atomic_load(&t->sources[source].now_touched_ms);
	int64_t id;
	if (now - last >= NOW_TOUCH_MS &&
	    atomic_compare_exchange_strong(&t->sources[source].now_touched_ms, &last, now))
		(void)service_now_peek(t->service, (size_t)source, &id);
}

void tree_now_pass(struct tree *t, const struct ino *i, const struct snap *s)
{
	if (tree_kinds[i->kind].now)
		tree_now_touch(t, tree_source_index(t, (uint64_t)s->source_id));
}

bool tree_now_writable(const struct tree *t, int source)
{
	return source >= 0 && restore_may_write_rows(service_source(t->service, (size_t)source)->restore);
}

/* ---- the folder ---- */

static int now_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
		       struct tree_node *ret, struct err *e)
{
	return tree_source_dir(t, number, i, 2 + 1, NULL, ret, e);
}

static int now_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
		      const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	enum ino_kind kind = fixed_find(tree_kinds[dir->kind].names, name);
	int source = tree_source_index(t, dir->id);
	int64_t id;
	if (source < 0 || kind == INO_BAD)
		return tree_none(ret, TREE_KEEP_NO);
	int r = now_snapshot(t, (size_t)source, w, &id, e);
	return r ? r : tree_ask(ret, kind, ino_of(kind, (uint64_t)id));
}

static int now_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret, bool *ret_cacheable,
			struct err *e)
{
	int source = tree_source_index(t, i->id);
	struct snap *s;
	int64_t id;
	if (source < 0)
		return source;
	int r = now_snapshot(t, (size_t)source, w, &id, e);
	if (r)
		return r;
	r = snap_get(t, id, w, &s, e);
	if (r)
		return r;
	*ret = fixed_dir_new(t, i, (uint64_t)id, s);
	return 0;
}

const struct tree_part tree_part_now = {
    .getattr = now_getattr,
    .lookup = now_lookup,
    .dir_open = now_dir_open,
    .dir_peek = fixed_dir_peek,
    .dir_parent = fixed_dir_parent,
    .dir_close = fixed_dir_close,
};
