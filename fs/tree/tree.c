/*
 * fs/tree/tree.c - see tree.h. Owns no content: every answer is made from the catalog, the service's texts or the
 * staging area, by the part (parts.c) that the inode is of. Threads: all. Lock: tree.mutex, never held over a call into
 * the catalog, the service or the staging area.
 */
#include "fs/tree/tree.h"

#include <errno.h>
#include <fcntl.h>

#include "fs/tree/internal.h"

int tree_open(struct tree **ret, struct service *svc, struct staging *s, uid_t uid, gid_t gid, struct err *e)
{
	_cleanup_(cleanup_tree) struct tree *t = xcalloc(1, sizeof *t);

	(void)pthread_mutex_init(&t->mutex, NULL);
	t->service = svc;
	t->catalog = service_catalog(svc);
	t->staging = s;
	t->uid = uid;
	t->gid = gid;
	t->snaps = snap_cache_new();
	t->counted = counted_cache_new();

	/* A time that stays: the catalog's birth, where the file system tells it. */
	struct statx sx;
	if (statx(AT_FDCWD, catalog_path(t->catalog), 0, STATX_BTIME, &sx) == 0 && (sx.stx_mask & STATX_BTIME))
		t->created_ms = (int64_t)sx.stx_btime.tv_sec * 1000;

	t->n_sources = service_sources(svc);
	t->sources = xcalloc(t->n_sources + 1, sizeof *t->sources);
	for (size_t k = 0; k < t->n_sources; k++) {
		t->sources[k].id = service_source_id(svc, k);
		if (!ino_of(INO_SOURCE, (uint64_t)t->sources[k].id))
			return err_set(e, EOVERFLOW, "source %s: its id in the catalog is too large",
				       service_source(svc, k)->name);
		int r = staging_add_root(s, t->sources[k].id, uid, gid, t->created_ms * 1000000);
		if (r < 0)
			return err_sys(e, -r, "the staging area of restore/");
	}
	*ret = TAKE_PTR(t);
	return 0;
}

void tree_close(struct tree *t)
{
	if (!t)
		return;
	while (t->dirs) /* the kernel does not release what is open when the mount ends */
		tree_dir_close(t->dirs);
	for (size_t k = 0; k < t->n_sources; k++)
		for (size_t x = 0; x < TEXTS; x++)
			text_free(t->sources[k].texts[x]);
	tree_history_close(t);
	free(t->sources);
	counted_cache_free(t->counted);
	lru_free(t->snaps);
	(void)pthread_mutex_destroy(&t->mutex);
	free(t);
}

void tree_set_overlay(struct tree *t, const struct tree_overlay *o)
{
	t->overlay = *o;
}

/* ---- answers ---- */

bool tree_is_readonly(uint64_t number)
{
	struct ino i;
	return !ino_decode(number, &i) || !tree_kinds[i.kind].writable;
}

int tree_getattr(struct tree *t, uint64_t number, const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	struct ino i;
	return ino_decode(number, &i) ? tree_answer(t, number, &i, w, ret, e) : -ENOENT;
}

/* Attributes of what a lookup in a directory of this kind has found. */
static int tree_asked(struct tree *t, const struct tree_kind *dir, const struct tree_wait *w, struct tree_node *ret,
		      struct err *e)
{
	const struct tree_node found = *ret;
	bool waiting = dir->asks == TREE_ASKS_WAITING;
	*ret = (struct tree_node){0};
	int r = tree_getattr(t, found.ino, waiting ? w : NULL, ret, e);
	if (r == -ENOENT)
		return tree_none(ret, TREE_KEEP_NO);
	if (r != TREE_MUST_WAIT || waiting)
		return r;
	if (dir->asks == TREE_ASKS_LIVE)
		return tree_none(ret, TREE_KEEP_NO);
	bool is_dir = S_ISDIR(found.mode);
	tree_fill(t, ret, found.ino, is_dir ? TREE_DIR : TREE_FILE, is_dir ? 2 : 1, 0, t->created_ms);
	ret->keep_entry = ret->keep_attr = TREE_KEEP_NO;
	return 0;
}

int tree_lookup(struct tree *t, uint64_t parent, const char *name, const struct tree_wait *w, struct tree_node *ret,
		struct err *e)
{
	struct ino i;
	*ret = (struct tree_node){0};
	if (!ino_decode(parent, &i))
		return -ENOENT;
	const struct tree_part *p = tree_parts[i.kind];
	int r = p->lookup ? p->lookup(t, parent, &i, name, w, ret, e) : -ENOTDIR;
	return r == TREE_ASK ? tree_asked(t, &tree_kinds[i.kind], w, ret, e) : r;
}

int tree_readlink(struct tree *t, uint64_t number, struct strbuf *out, struct err *e)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	const struct tree_part *p = tree_parts[i.kind];
	return p->readlink ? p->readlink(t, &i, out, e) : -EINVAL;
}

int tree_source_of(struct tree *t, uint64_t number)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	const struct tree_part *p = tree_parts[i.kind];
	if (tree_kinds[i.kind].of == TREE_OF_SOURCE)
		return tree_source_index(t, i.id);
	if (tree_kinds[i.kind].of == TREE_OF_OTHER)
		return p->source ? p->source(t, &i) : -ENOENT;
	if (snap_get(t, (int64_t)i.id, NULL, &ref.snap, ERR_DROP))
		return tree_pending(t, (int64_t)i.id, NULL);
	return tree_source_index(t, (uint64_t)ref.snap->source_id);
}
