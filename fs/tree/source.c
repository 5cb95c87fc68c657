/*
 * fs/tree/source.c - the mount's top and a source's folder. Any thread; no locks.
 */
#include <errno.h>

#include "fs/tree/internal.h"

/* ---- a source's folder ---- */

static int source_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			  struct tree_node *ret, struct err *e)
{
	return tree_source_dir(t, number, i, 2 + 7, NULL, ret, e);
}

static int source_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			   bool *ret_cacheable, struct err *e)
{
	if (tree_source_index(t, i->id) < 0)
		return -ENOENT;
	*ret = fixed_dir_new(t, i, i->id, NULL);
	return 0;
}

const struct tree_part tree_part_source = {
    .getattr = source_getattr,
    .lookup = fixed_lookup,
    .dir_open = source_dir_open,
    .dir_peek = fixed_dir_peek,
    .dir_parent = fixed_dir_parent,
    .dir_close = fixed_dir_close,
};

/* ---- the top ---- */

static int root_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			struct tree_node *ret, struct err *e)
{
	int64_t newest = t->created_ms;
	for (size_t k = 0; k < t->n_sources; k++) {
		size_t n;
		int64_t ms;
		int r = tree_summary(t, k, &n, &ms, NULL, e);
		if (r < 0)
			return r;
		if (ms > newest)
			newest = ms;
	}
	tree_fill(t, ret, number, TREE_DIR, (uint32_t)(2 + t->n_sources), TREE_DIR_SIZE, newest);
	ret->keep_attr = TREE_KEEP_SHORT;
	return 0;
}

static int root_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
		       const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	int source = service_find_source(t->service, name);
	if (source < 0 || fixed_find(tree_kinds[INO_ROOT].names, name) != INO_BAD)
		return fixed_lookup(t, number, dir, name, w, ret, e);
	return tree_ask(ret, INO_SOURCE, ino_of(INO_SOURCE, (uint64_t)t->sources[source].id));
}

static int root_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			 bool *ret_cacheable, struct err *e)
{
	*ret = t;
	return 0;
}

static int root_dir_peek(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e)
{
	const struct tree *t = state;
	size_t number = (size_t)at - 2;
	if (number == 0) {
		const struct tree_fixed *f = fixed_at(tree_kinds[INO_ROOT].names, number);
		ret->name = f->name;
		return tree_ask(&ret->node, f->kind, ino_of(f->kind, 0));
	}
	if (number > t->n_sources)
		return 0;
	ret->name = service_source(t->service, number - 1)->name;
	return tree_ask(&ret->node, INO_SOURCE, ino_of(INO_SOURCE, (uint64_t)t->sources[number - 1].id));
}

static uint64_t root_dir_parent(void *state)
{
	return ino_of(INO_ROOT, 0);
}

static void root_dir_close(void *state)
{
}

const struct tree_part tree_part_root = {
    .getattr = root_getattr,
    .lookup = root_lookup,
    .dir_open = root_dir_open,
    .dir_peek = root_dir_peek,
    .dir_parent = root_dir_parent,
    .dir_close = root_dir_close,
};
