/*
 * fs/handle.c - what fuse_file_info.fh points to for an open file. Any thread; no locks.
 */
#include <fcntl.h>

#include "fs/internal.h"
#include "fs/restore/sql_file.h"
#include "fs/staging/handle.h"

struct handle *ops_handle(const struct fuse_file_info *fi)
{
	return fi ? (struct handle *)(uintptr_t)fi->fh : NULL;
}

struct handle *handle_new(enum handle_kind kind)
{
	struct handle *h = xcalloc(1, sizeof *h);
	h->kind = kind;
	h->writer = -1;
	return h;
}

void handle_set_writer(struct handle *h, const struct staged_node *n, fuse_req_t req)
{
	if (n->top == n->id && S_ISREG(n->mode))
		h->writer = restore_sql_writer(fuse_req_ctx(req)->pid);
}

void handle_set_dirty(struct fs *fs, struct handle *h)
{
	if (!atomic_exchange(&h->dirty, true))
		staging_dirty(fs->staging, h->node, 1);
}

bool ops_writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}
