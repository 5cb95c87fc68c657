/*
 * fs/tree/staged.c - restore/ and what was copied into it; rows that are being written into now/.
 *
 * Any thread; a listing belongs to one at a time. No locks.
 */
#include "fs/tree/staged.h"

#include <errno.h>

#include "fs/staging/nodes.h"
#include "fs/staging/xattr.h"
#include "fs/tree/internal.h"

#define STAGED_BATCH 64

static int64_t staged_node_of(const struct ino *i)
{
	return i->kind == INO_STAGED ? (int64_t)i->id : staging_root((int64_t)i->id);
}

int64_t tree_staged_of(uint64_t ino)
{
	struct ino i;
	return ino_decode(ino, &i) && (i.kind == INO_STAGED || i.kind == INO_RESTORE) ? staged_node_of(&i) : 0;
}

uint64_t tree_ino_of_staged(int64_t node, int64_t source_id)
{
	return node > 0 ? ino_of(INO_STAGED, (uint64_t)node) : ino_of(INO_RESTORE, (uint64_t)source_id);
}

static void staged_fill(const struct staged_node *s, uint64_t ino, struct tree_node *ret)
{
	*ret = (struct tree_node){
	    .ino = ino,
	    .mode = s->mode,
	    .nlink = S_ISDIR(s->mode)         ? 2 + s->subdirs
		     : s->parent || s->id < 0 ? 1
					      : 0,
	    .uid = s->uid,
	    .gid = s->gid,
	    .size = S_ISDIR(s->mode) ? TREE_DIR_SIZE : s->size,
	    .atime_ns = s->atime_ns,
	    .mtime_ns = s->mtime_ns,
	    .ctime_ns = s->ctime_ns,
	    /* only this mount changes them, but for the texts that a restore leaves */
	    .keep_entry = s->generated ? TREE_KEEP_NO : TREE_KEEP_SHORT,
	    .keep_attr = s->generated ? TREE_KEEP_NO : TREE_KEEP_SHORT,
	};
}

static int staged_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			  struct tree_node *ret, struct err *e)
{
	struct staged_node s;
	if (i->kind == INO_RESTORE && tree_source_index(t, i->id) < 0)
		return -ENOENT;
	int r = staging_get(t->staging, staged_node_of(i), &s);
	if (r < 0)
		return r;
	staged_fill(&s, number, ret);
	return 0;
}

static int staged_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
			 const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	struct staged_node s;
	int r = staging_lookup(t->staging, staged_node_of(dir), name, &s);
	if (r < 0)
		return r == -ENOENT ? tree_none(ret, TREE_KEEP_NO) : r;
	staged_fill(&s, ino_of(INO_STAGED, (uint64_t)s.id), ret);
	return 0;
}

static int staged_readlink(struct tree *t, const struct ino *i, struct strbuf *out, struct err *e)
{
	return staging_readlink(t->staging, staged_node_of(i), out);
}

static int staged_source(struct tree *t, const struct ino *i)
{
	struct staged_node s = {.parent = (int64_t)i->id};
	do {
		if (staging_get(t->staging, s.parent, &s) < 0)
			return -ENOENT;
	} while (s.parent > 0);
	return s.parent < 0 ? tree_source_index(t, (uint64_t)-s.parent) : -ENOENT;
}

/* ---- listing ---- */

/* Cookies: c is the first node with an id above c - 2. */
struct staged_dir {
	struct tree *tree;
	struct ino ino;
	int64_t at, next; /* of the entry that was given last: what goes on there uses up the batch */
	size_t batch_n;
	struct staged_entry batch[STAGED_BATCH];
};

static int staged_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			   bool *ret_cacheable, struct err *e)
{
	struct staged_dir *d = xcalloc(1, sizeof *d);
	d->tree = t;
	d->ino = *i;
	*ret = d;
	return 0;
}

static int staged_dir_peek(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e)
{
	struct staged_dir *d = state;
	int64_t after = at - 2;
	if (at == 2 || (at != d->at && at != d->next))
		d->batch_n = 0;
	size_t k = 0;
	while (k < d->batch_n && d->batch[k].node.id <= after)
		k++;
	if (k == d->batch_n) {
		int r =
		    staging_list(d->tree->staging, staged_node_of(&d->ino), after, d->batch, STAGED_BATCH, &d->batch_n);
		if (r < 0) {
			d->batch_n = 0;
			return r;
		}
		k = 0;
		if (!d->batch_n)
			return 0;
	}
	ret->name = d->batch[k].name;
	ret->next = d->batch[k].node.id + 2;
	staged_fill(&d->batch[k].node, ino_of(INO_STAGED, (uint64_t)d->batch[k].node.id), &ret->node);
	d->at = at;
	d->next = ret->next;
	return 1;
}

static uint64_t staged_dir_parent(void *state)
{
	const struct staged_dir *d = state;
	struct staged_node n;
	if (d->ino.kind == INO_RESTORE)
		return tree_parent(&d->ino, 0);
	if (staging_get(d->tree->staging, (int64_t)d->ino.id, &n) == 0 && n.parent)
		return tree_ino_of_staged(n.parent, -n.parent);
	return ino_encode(&d->ino);
}

static void staged_dir_close(void *state)
{
	free(state);
}

/* ---- extended attributes ---- */

static int staged_getxattr(struct tree *t, const struct ino *i, const char *name, struct strbuf *out, struct err *e)
{
	return staging_getxattr(t->staging, staged_node_of(i), name, out);
}

static int staged_listxattr(struct tree *t, const struct ino *i, struct strbuf *out)
{
	return staging_listxattr(t->staging, staged_node_of(i), out);
}

const struct tree_part tree_part_staged = {
    .getattr = staged_getattr,
    .lookup = staged_lookup,
    .readlink = staged_readlink,
    .source = staged_source,
    .dir_open = staged_dir_open,
    .dir_peek = staged_dir_peek,
    .dir_parent = staged_dir_parent,
    .dir_close = staged_dir_close,
    .getxattr = staged_getxattr,
    .listxattr = staged_listxattr,
};

/* ---- a row that is being written ---- */

static int edit_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			struct tree_node *ret, struct err *e)
{
	return t->overlay.getattr && t->overlay.getattr(t->overlay.arg, i->id, ret) ? 0 : -ENOENT;
}

const struct tree_part tree_part_edit = {.getattr = edit_getattr};
