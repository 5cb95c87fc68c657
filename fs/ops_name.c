/*
 * fs/ops_name.c - requests that make, remove and rename names. Threads: as in ops.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/log.h"
#include "fs/internal.h"
#include "fs/staging/handle.h"
#include "fs/staging/nodes.h"
#include "fs/staging/sets.h"

/* ---- making ---- */

static void ops_reply_created(struct call *c, const struct tree_node *n, struct handle *h)
{
	struct fuse_entry_param e = ops_entry(n);
	c->fi.fh = (uint64_t)(uintptr_t)h;
	fuse_req_t req = call_take(c);
	if (req && fuse_reply_create(req, &e, &c->fi) == -ENOENT) {
		if (h->kind == HANDLE_STAGED) {
			if (atomic_load(&h->dirty))
				staging_dirty(c->fs->staging, h->node, -1);
			staging_release(c->fs->staging, h->node);
		} else {
			edits_release(c->fs->edits, h->edit);
		}
		free(h);
	}
}

static void ops_create_staged(struct call *c, int64_t dir, bool apply)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(c->req);
	struct staged_node n;
	int r = staging_make(c->fs->staging, dir, c->name, S_IFREG | (c->flags & 07777), ctx->uid, ctx->gid, NULL, &n);
	if (r == -EEXIST && !(c->fi.flags & O_EXCL)) {
		r = staging_lookup(c->fs->staging, dir, c->name, &n);
		if (r == 0 && !S_ISREG(n.mode))
			r = -EEXIST;
	}
	if (r == 0)
		r = staging_hold(c->fs->staging, n.id);
	if (r < 0) {
		reply_code(c, r);
		return;
	}
	struct handle *h = handle_new(HANDLE_STAGED);
	h->node = n.id;
	h->apply = apply;
	h->apply_dir = dir;
	handle_set_writer(h, &n, c->req);
	if (!apply)
		handle_set_dirty(c->fs, h);
	struct tree_node node = ops_staged_node(c->fs, &n);
	if (apply)
		node.keep_entry = node.keep_attr = TREE_KEEP_NO;
	c->fi.keep_cache = 1;
	ops_reply_created(c, &node, h);
}

static void ops_run_apply(struct call *c)
{
	struct err e = ERR_INIT;
	int64_t dir = tree_staged_of(c->ino);
	int r = restores_run(c->fs->restores, c->top, RESTORES_APPLY, &c->who, &c->waiter, &e);
	if (r < 0 && *e.msg)
		log_warning("%s", e.msg);
	if (r < 0)
		reply_code(c, r);
	else
		ops_create_staged(c, dir, true);
	ops_notify_texts(c->fs, c->top);
}

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct call c = call_of(req, NULL);
	struct err e = ERR_INIT;
	struct ino i;
	int64_t dir = tree_staged_of(parent);

	c.ino = parent;
	c.name = (char *)(uintptr_t)name;
	c.flags = mode;
	c.fi = *fi;
	/* touch restore/NAME/APPLY, restore/NAME.sql.APPLY: the file exists only while it is open. */
	c.top = dir ? restores_applied_by(c.fs->restores, dir, name) : 0;
	if (c.top) {
		c.run = ops_run_apply;
		call_defer(&c);
		return;
	}
	if (dir) {
		ops_create_staged(&c, dir, false);
		return;
	}
	(void)ino_decode(parent, &i);
	if (i.kind != INO_NOW_TABLE) {
		reply_code(&c, -EROFS);
		return;
	}
	struct handle *h = handle_new(HANDLE_EDIT);
	int r = edits_create(c.fs->edits, parent, name, mode, &h->edit, &e);
	struct tree_node n = {0};
	if (r == 0)
		r = tree_getattr(c.fs->tree, edit_ino(h->edit), NULL, &n, &e);
	if (r < 0) {
		free(h);
		reply_err(&c, r, &e);
		return;
	}
	c.fi.direct_io = 1;
	ops_reply_created(&c, &n, h);
}

static void ops_run_mkdir(struct call *c)
{
	struct err e = ERR_INIT;
	struct tree_node n;
	int64_t id = 0;
	int source = tree_source_of(c->fs->tree, c->ino);
	int r = atomic_load(&c->waiter.interrupted) ? -EINTR
		: source < 0                        ? source
			     : service_snapshot(c->fs->service, (size_t)source, c->name, &c->who, &id, &e);
	if (r == 0)
		r = tree_lookup(c->fs->tree, c->ino, c->name, NULL, &n, &e);
	if (r > 0)
		r = -EIO;
	fuse_req_t req = call_take(c);
	if (!req) {
		/* who asked was told EINTR: then nothing may come of it */
		if (id)
			(void)service_remove(c->fs->service, (size_t)source, c->name, &c->who, ERR_DROP);
		return;
	}
	if (r < 0) {
		ops_log("mkdir", r, &e);
		(void)fuse_reply_err(req, -r);
		return;
	}
	struct fuse_entry_param p = ops_entry(&n);
	(void)fuse_reply_entry(req, &p);
}

static void ops_make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct call c = call_of(req, NULL);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct staged_node n;
	int64_t dir = tree_staged_of(parent);
	if (!dir) {
		reply_code(&c, -EROFS);
		return;
	}
	int r = staging_make(c.fs->staging, dir, name, mode, ctx->uid, ctx->gid, NULL, &n);
	if (r < 0) {
		reply_code(&c, r);
		return;
	}
	struct tree_node node = ops_staged_node(c.fs, &n);
	reply_entry(&c, &node);
}

void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct ino i;
	(void)ino_decode(parent, &i);
	if (i.kind != INO_SNAPSHOTS) {
		ops_make(req, parent, name, S_IFDIR | (mode & 07777));
		return;
	}
	struct call c = call_of(req, ops_run_mkdir);
	c.ino = parent;
	c.name = (char *)(uintptr_t)name;
	c.early = true;
	call_defer(&c);
}

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)rdev;
	if (tree_staged_of(parent) && !S_ISREG(mode)) {
		(void)fuse_reply_err(req, EPERM);
		return;
	}
	ops_make(req, parent, name, S_IFREG | (mode & 07777));
}

static void ops_run_symlink(struct call *c)
{
	struct err e = ERR_INIT;
	struct staged_node n;
	int64_t dir = tree_staged_of(c->ino);
	int source = tree_source_of(c->fs->tree, c->ino);
	int r = source < 0
		    ? source
		    : restores_link(c->fs->restores, (size_t)source, c->new_name, c->name, &c->who, &c->waiter, &e);
	if (r == 0)
		r = staging_make(c->fs->staging, dir, c->name, S_IFLNK | 0777, c->who.uid, getgid(), c->new_name, &n);
	if (r < 0) {
		if (*e.msg)
			log_warning("%s", e.msg);
		reply_code(c, r);
		return;
	}
	struct tree_node node = ops_staged_node(c->fs, &n);
	reply_entry(c, &node);
}

void ops_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct call c = call_of(req, ops_run_symlink);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct staged_node n;
	int64_t dir = tree_staged_of(parent);

	c.ino = parent;
	c.name = (char *)(uintptr_t)name;
	c.new_name = (char *)(uintptr_t)link;
	if (!dir) {
		reply_code(&c, -EROFS);
		return;
	}
	if (dir < 0) {
		call_defer(&c);
		return;
	}
	int r = staging_make(c.fs->staging, dir, name, S_IFLNK | 0777, ctx->uid, ctx->gid, link, &n);
	if (r < 0) {
		reply_code(&c, r);
		return;
	}
	struct tree_node node = ops_staged_node(c.fs, &n);
	reply_entry(&c, &node);
}

void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino;
	(void)newname;
	(void)fuse_reply_err(req, tree_is_readonly(newparent) ? EROFS : EPERM);
}

/* ---- removing ---- */

static void ops_forget_texts(struct fs *fs, int64_t dir, const char *file)
{
	static const char *const texts[] = {"ERROR.txt", "PLAN.txt"};
	for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
		struct staged_node n;
		_cleanup_free_ char *name = xasprintf("%s.%s", file, texts[k]);
		if (staging_lookup(fs->staging, dir, name, &n) < 0 || !n.generated)
			continue;
		(void)staging_unlink(fs->staging, dir, name);
		notify_entry(fs->notify, tree_ino_of_staged(dir, -dir), name);
	}
}

void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = call_of(req, NULL);
	struct ino i;
	int64_t dir = tree_staged_of(parent);
	(void)ino_decode(parent, &i);
	int r = -EROFS;
	if (dir) {
		r = staging_unlink(c.fs->staging, dir, name);
		/* What was said of a .sql file lies beside it. */
		if (r == 0 && dir < 0 && staging_is_sql(name))
			ops_forget_texts(c.fs, dir, name);
	} else if (i.kind == INO_NOW_TABLE) {
		r = edits_unlink(c.fs->edits, parent, name);
		if (r == -ENOENT)
			r = -EROFS; /* a row of the database: it is not removed this way */
	}
	reply_code(&c, r);
}

/* A name in snapshots/ went or changed: the one in archives/ with it, before the caller looks there. The kernel sees to
 * the directory of the request itself, which it holds locked until the answer. */
static void ops_forget_archive(struct call *c, int source, const char *name)
{
	uint64_t archives = ino_of(INO_ARCHIVES, (uint64_t)service_source_id(c->fs->service, (size_t)source));
	notify_entry_now(c->fs->notify, archives, name);
	notify_entry_now(c->fs->notify, archives, "latest");
}

static void ops_run_rmdir(struct call *c)
{
	struct err e = ERR_INIT;
	int source = tree_source_of(c->fs->tree, c->ino);
	int r = source < 0 ? source : service_remove(c->fs->service, (size_t)source, c->name, &c->who, &e);
	if (r == 0)
		ops_forget_archive(c, source, c->name);
	reply_err(c, r, &e);
}

void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = call_of(req, ops_run_rmdir);
	struct ino i;
	int64_t dir = tree_staged_of(parent);

	(void)ino_decode(parent, &i);
	c.ino = parent;
	c.name = (char *)(uintptr_t)name;
	if (dir)
		reply_code(&c, staging_rmdir(c.fs->staging, dir, name));
	else if (i.kind == INO_SNAPSHOTS)
		call_defer(&c);
	else
		reply_code(&c, -EROFS);
}

/* ---- renaming ---- */

static void ops_run_rename_snapshot(struct call *c)
{
	struct err e = ERR_INIT;
	int source = tree_source_of(c->fs->tree, c->ino);
	int r = source < 0 ? source : service_rename(c->fs->service, (size_t)source, c->name, c->new_name, &c->who, &e);
	if (r == 0) {
		ops_forget_archive(c, source, c->name);
		ops_forget_archive(c, source, c->new_name);
	}
	reply_err(c, r, &e);
}

static void ops_run_rename_edit(struct call *c)
{
	struct err e = ERR_INIT;
	int r = edits_rename(c->fs->edits, c->ino, c->name, c->new_ino, c->new_name, &c->who, &c->waiter, &e);
	if (r < 0 && *e.msg)
		log_warning("%s", e.msg);
	reply_err(c, r == -ENOENT ? -EROFS : r, &e);
	notify_entry(c->fs->notify, c->new_ino, c->new_name);
}

void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
		unsigned flags)
{
	struct call c = call_of(req, NULL);
	int64_t dir = tree_staged_of(parent), new_dir = tree_staged_of(newparent);
	struct ino i;

	(void)ino_decode(parent, &i);
	c.ino = parent;
	c.new_ino = newparent;
	c.name = (char *)(uintptr_t)name;
	c.new_name = (char *)(uintptr_t)newname;
	if (dir && new_dir) {
		struct staged_node n;
		int r = staging_rename(c.fs->staging, dir, name, new_dir, newname, flags);
		if (r == 0 && staging_lookup(c.fs->staging, new_dir, newname, &n) == 0 &&
		    (r = restores_named(c.fs->restores, &n, name, newname)) == 0) {
			int64_t top = restores_due(c.fs->restores, &n, newname, fuse_req_ctx(req)->pid);
			if (top) {
				ops_defer_restore(&c, top, RESTORES_FILE);
				return;
			}
		}
		reply_code(&c, r);
		return;
	}
	if (i.kind == INO_SNAPSHOTS && parent == newparent) {
		if (flags & ~(unsigned)RENAME_NOREPLACE) {
			reply_code(&c, -EINVAL);
			return;
		}
		c.run = ops_run_rename_snapshot;
		call_defer(&c);
		return;
	}
	if (i.kind == INO_NOW_TABLE && parent == newparent && !(flags & RENAME_EXCHANGE)) {
		c.run = ops_run_rename_edit;
		call_defer(&c);
		return;
	}
	/* never EXDEV: mv would go on to copy, and copying into snapshots/ takes one */
	reply_code(&c, -EROFS);
}
