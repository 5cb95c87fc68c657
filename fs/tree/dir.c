/*
 * fs/tree/dir.c - see dir.h. A listing is its part's; "." and ".." are added here, and the attributes that the part
 * leaves to be asked for.
 *
 * Lock: tree.mutex, for the list of open listings: what the kernel has not released at the end is closed by tree_close.
 */
#include "fs/tree/dir.h"

#include <errno.h>

#include "fs/tree/internal.h"

/* Cookies: 0 is ".", 1 is "..", from 2 on what the part says. */
struct tree_dir {
	struct tree *tree;
	struct tree_dir *list_next, **list_prev;
	uint64_t number;
	const struct tree_kind *kind;
	const struct tree_part *part;
	void *state;      /* the part's */
	int64_t at, next; /* next: where the entry that was seen last says it goes on */
	bool names_only;  /* attributes are not asked for: `bare` entries will do */
};

int tree_dir_open(struct tree *t, uint64_t number, const struct tree_wait *w, struct tree_dir **ret,
		  bool *ret_cacheable, struct err *e)
{
	struct ino i;
	void *state = NULL;

	if (!ino_decode(number, &i))
		return -ENOENT;
	*ret_cacheable = false;
	const struct tree_part *p = tree_parts[i.kind];
	int r = p->dir_open ? p->dir_open(t, &i, w, &state, ret_cacheable, e) : -ENOTDIR;
	if (r)
		return r;
	struct tree_dir *d = xcalloc(1, sizeof *d);
	*d = (struct tree_dir){.tree = t, .number = number, .kind = &tree_kinds[i.kind], .part = p, .state = state};
	MUTEX_GUARD(&t->mutex);
	d->list_next = t->dirs;
	d->list_prev = &t->dirs;
	if (d->list_next)
		d->list_next->list_prev = &d->list_next;
	t->dirs = d;
	*ret = d;
	return 0;
}

void tree_dir_close(struct tree_dir *d)
{
	if (!d)
		return;
	{
		MUTEX_GUARD(&d->tree->mutex);
		*d->list_prev = d->list_next;
		if (d->list_next)
			d->list_next->list_prev = d->list_prev;
	}
	d->part->dir_close(d->state);
	free(d);
}

int tree_dir_seek(struct tree_dir *d, int64_t cookie, bool names_only, struct err *e)
{
	if (cookie < 0)
		return -EINVAL;
	d->names_only = names_only;
	d->at = cookie;
	return 0;
}

/* Asks for the attributes of an entry, where they cost nothing. 1, or -ENOENT when it has gone. */
static int dir_ask(struct tree_dir *d, struct tree_entry *ret, struct err *e)
{
	struct tree_node bare = ret->node;
	struct ino i;
	if (!ino_decode(bare.ino, &i))
		return -ENOENT;
	int r = tree_kinds[i.kind].costly ? TREE_MUST_WAIT : tree_answer(d->tree, bare.ino, &i, NULL, &ret->node, e);
	if (r == TREE_MUST_WAIT) {
		ret->bare = true;
		ret->node = bare;
	}
	return r < 0 ? r : 1;
}

int tree_dir_peek(struct tree_dir *d, struct tree_entry *ret, struct err *e)
{
	for (;; d->at = d->next) {
		*ret = (struct tree_entry){.next = d->at + 1};
		if (d->at < 2) {
			ret->name = d->at == 0 ? "." : "..";
			ret->node.ino = d->at == 0 ? d->number : d->part->dir_parent(d->state);
			ret->node.mode = TREE_DIR;
			ret->bare = true;
			d->next = ret->next;
			return 1;
		}
		int r = d->part->dir_peek(d->state, d->at, d->names_only, ret, e);
		d->next = ret->next;
		if (r != TREE_ASK) /* a listing that failed is no entry that has gone */
			return r;
		r = dir_ask(d, ret, e);
		if (r != -ENOENT || d->kind->asks != TREE_ASKS_LIVE)
			return r;
		/* removed meanwhile */
	}
}

void tree_dir_skip(struct tree_dir *d)
{
	d->at = d->next;
}
