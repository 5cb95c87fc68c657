/*
 * fs/ops_write.c - requests that write bytes and attributes, and those that end that. Threads: as in ops.c.
 */
#include <errno.h>
#include <linux/falloc.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/internal.h"
#include "fs/restore/sql_file.h"
#include "fs/staging/commit.h"
#include "fs/staging/content.h"
#include "fs/staging/handle.h"
#include "fs/staging/nodes.h"

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct call c = call_of(req, NULL);
	struct handle *h = ops_handle(fi);
	int r = -EROFS;
	(void)ino;
	if (h && h->kind == HANDLE_STAGED) {
		handle_set_dirty(c.fs, h);
		r = staging_write(c.fs->staging, h->node, (uint64_t)off, buf, size);
	} else if (h && h->kind == HANDLE_EDIT) {
		r = edit_write(h->edit, (uint64_t)off, buf, size);
	}
	if (r < 0)
		reply_code(&c, r);
	else
		(void)fuse_reply_write(req, size);
}

/* ---- closing ---- */

static void ops_run_flush_edit(struct call *c)
{
	struct err e = ERR_INIT;
	int r = edits_flush(c->fs->edits, c->handle->edit, &c->who, &c->waiter, &e);
	if (r < 0 && *e.msg)
		log_warning("%s", e.msg);
	reply_err(c, r, &e);
	notify_inode(c->fs->notify, c->ino);
}

void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = call_of(req, NULL);
	struct handle *h = ops_handle(fi);
	c.ino = ino;

	if (h && h->kind == HANDLE_EDIT && edit_is_due(h->edit)) {
		c.handle = h; /* the open file stays until release, which comes after this answer */
		c.run = ops_run_flush_edit;
		call_defer(&c);
		return;
	}
	bool written = h && h->kind == HANDLE_STAGED && atomic_exchange(&h->dirty, false);
	if (written || (h && h->kind == HANDLE_STAGED && h->writer >= 0)) {
		struct staged_node n;
		char name[STAGING_NAME_MAX + 1];
		int r = staging_commit(c.fs->staging);
		if (written)
			staging_dirty(c.fs->staging, h->node, -1);
		if (h->writer >= 0 && !restore_sql_is_close(h->writer, fuse_req_ctx(req)->pid)) {
			reply_code(&c, r);
			return;
		}
		if (r == 0 && staging_get(c.fs->staging, h->node, &n) == 0 && n.top &&
		    staging_name(c.fs->staging, n.id, name) == 0) {
			int64_t top = restores_due(c.fs->restores, &n, name, fuse_req_ctx(req)->pid);
			if (top) {
				ops_defer_restore(&c, top, RESTORES_FILE);
				return;
			}
		}
		reply_code(&c, r);
		return;
	}
	reply_code(&c, 0);
}

static void ops_end_apply(struct fs *fs, const struct handle *h)
{
	char name[STAGING_NAME_MAX + 1];
	if (!h->apply || staging_name(fs->staging, h->node, name) < 0)
		return;
	(void)staging_unlink(fs->staging, h->apply_dir, name);
	notify_entry(fs->notify, tree_ino_of_staged(h->apply_dir, -h->apply_dir), name);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = ops_fs(req);
	struct handle *h = ops_handle(fi);
	if (h) {
		switch (h->kind) {
		case HANDLE_TREE:
			tree_file_close(h->file);
			break;
		case HANDLE_STAGED:
			if (atomic_load(&h->dirty))
				staging_dirty(fs->staging, h->node, -1);
			ops_end_apply(fs, h);
			staging_release(fs->staging, h->node);
			if (h->writer >= 0) {
				restores_left(fs->restores, h->node);
				ops_notify_texts(fs, h->node);
			}
			break;
		case HANDLE_EDIT:
			edits_release(fs->edits, h->edit);
			notify_inode(fs->notify, ino);
			break;
		}
		free(h);
	}
	(void)fuse_reply_err(req, 0);
}

void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct call c = call_of(req, NULL);
	(void)datasync;
	(void)fi;
	reply_code(&c, tree_staged_of(ino) ? staging_sync(c.fs->staging) : 0);
}

/* ---- attributes ---- */

static int64_t ops_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static void ops_setattr_staged(struct call *c, int64_t node, const struct stat *attr, int to_set)
{
	struct staged_node set = {.mode = attr->st_mode,
				  .uid = attr->st_uid,
				  .gid = attr->st_gid,
				  .size = (uint64_t)attr->st_size},
			   got;
	struct handle *h = ops_handle(&c->fi);
	int64_t now = clock_ns();
	unsigned which = 0;

	set.atime_ns = to_set & FUSE_SET_ATTR_ATIME_NOW ? now : ops_ns(&attr->st_atim);
	set.mtime_ns = to_set & FUSE_SET_ATTR_MTIME_NOW ? now : ops_ns(&attr->st_mtim);
	which |= to_set & FUSE_SET_ATTR_MODE ? STAGING_MODE : 0;
	which |= to_set & FUSE_SET_ATTR_UID ? STAGING_UID : 0;
	which |= to_set & FUSE_SET_ATTR_GID ? STAGING_GID : 0;
	which |= to_set & FUSE_SET_ATTR_SIZE ? STAGING_SIZE : 0;
	which |= to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW) ? STAGING_ATIME : 0;
	which |= to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW) ? STAGING_MTIME : 0;
	if ((which & STAGING_SIZE) && h && h->kind == HANDLE_STAGED)
		handle_set_dirty(c->fs, h);
	int r = staging_setattr(c->fs->staging, node, &set, which, &got);
	if (r < 0) {
		reply_code(c, r);
		return;
	}
	struct tree_node n = ops_staged_node(c->fs, &got);
	if ((to_set & FUSE_SET_ATTR_MTIME) && !(to_set & FUSE_SET_ATTR_MTIME_NOW))
		restores_dated(c->fs->restores, &got);
	/* a copier's last act is to give the top directory its time */
	if (S_ISDIR(got.mode) && (to_set & FUSE_SET_ATTR_MTIME) && !(to_set & FUSE_SET_ATTR_MTIME_NOW)) {
		int64_t top = restores_ended(c->fs->restores, &got, fuse_req_ctx(c->req)->pid);
		if (top) {
			c->node = n;
			ops_defer_restore(c, top, RESTORES_ENDED);
			return;
		}
	}
	reply_attr(c, &n);
}

void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct call c = call_of(req, NULL);
	struct tree_node n;
	int64_t node = tree_staged_of(ino);
	struct ino i;

	c.ino = ino;
	if (fi)
		c.fi = *fi;
	if (node) {
		ops_setattr_staged(&c, node, attr, to_set);
		return;
	}
	(void)ino_decode(ino, &i);
	int r = -EROFS;
	if (i.kind == INO_EDIT) {
		r = edits_setattr(c.fs->edits, ino, to_set & FUSE_SET_ATTR_SIZE, (uint64_t)attr->st_size, &n);
	} else if (i.kind == INO_NOW_ROW && edits_row_is_open(c.fs->edits, ino)) {
		/* cp -p sets modes and times of what it writes: a row has none of its own */
		struct handle *h = ops_handle(&c.fi);
		r = 0;
		if (to_set & FUSE_SET_ATTR_SIZE)
			r = h && h->kind == HANDLE_EDIT ? edit_truncate(h->edit, (uint64_t)attr->st_size) : -EROFS;
		if (r == 0)
			r = tree_getattr(c.fs->tree, ino, NULL, &n, ERR_DROP);
		n.keep_attr = TREE_KEEP_NO;
	}
	if (r < 0)
		reply_code(&c, r);
	else
		reply_attr(&c, &n);
}

void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	struct call c = call_of(req, NULL);
	struct handle *h = ops_handle(fi);
	struct staged_node n;
	int r;
	(void)ino;
	if (!h || h->kind != HANDLE_STAGED) {
		r = -EROFS;
	} else if (mode & ~FALLOC_FL_KEEP_SIZE) {
		r = -EOPNOTSUPP;
	} else {
		r = staging_get(c.fs->staging, h->node, &n);
		if (r == 0 && !mode && (uint64_t)(offset + length) > n.size) {
			handle_set_dirty(c.fs, h);
			n.size = (uint64_t)(offset + length);
			r = staging_setattr(c.fs->staging, h->node, &n, STAGING_SIZE, NULL);
		}
	}
	reply_code(&c, r);
}
