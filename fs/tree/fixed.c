/*
 * fs/tree/fixed.c - directories whose names are fixed (kinds.c): a source's, now/, a snapshot's. Any thread; no locks.
 */
#include <errno.h>

#include "fs/tree/internal.h"

enum ino_kind fixed_find(const struct tree_fixed *list, const char *name)
{
	while (list->name && strcmp(list->name, name))
		list++;
	return list->kind;
}

const struct tree_fixed *fixed_at(const struct tree_fixed *list, size_t at)
{
	while (at > 0 && list->name) {
		at--;
		list++;
	}
	return list->name ? list : NULL;
}

int fixed_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name, const struct tree_wait *w,
		 struct tree_node *ret, struct err *e)
{
	const struct tree_kind *k = &tree_kinds[dir->kind];
	enum ino_kind kind = fixed_find(k->names, name);
	return kind == INO_BAD ? tree_none(ret, k->none) : tree_ask(ret, kind, ino_of(kind, dir->id));
}

/* ---- listing ---- */

/* Cookies: the entry's number + 2. */
struct fixed_dir {
	struct tree *tree;
	struct ino ino;
	uint64_t id;
	struct snap *snap;
};

void *fixed_dir_new(struct tree *t, const struct ino *i, uint64_t id, struct snap *s)
{
	struct fixed_dir *d = xcalloc(1, sizeof *d);
	*d = (struct fixed_dir){.tree = t, .ino = *i, .id = id, .snap = s};
	return d;
}

int fixed_dir_peek(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e)
{
	const struct fixed_dir *d = state;
	const struct tree_fixed *f = fixed_at(tree_kinds[d->ino.kind].names, (size_t)at - 2);
	if (!f)
		return 0;
	ret->name = f->name;
	return tree_ask(&ret->node, f->kind, ino_of(f->kind, d->id));
}

uint64_t fixed_dir_parent(void *state)
{
	const struct fixed_dir *d = state;
	return tree_parent(&d->ino, d->snap ? d->snap->source_id : 0);
}

void fixed_dir_close(void *state)
{
	struct fixed_dir *d = state;
	snap_unref(d->tree, d->snap);
	free(d);
}
