/*
 * fs/ops_read.c - requests that change nothing: names, attributes, bytes, listings, room. Threads: as in ops.c.
 */
#include <errno.h>
#include <fcntl.h>

#include "fs/internal.h"
#include "fs/staging/content.h"
#include "fs/staging/handle.h"
#include "fs/staging/nodes.h"

#define OPS_SPANS 512 /* writev takes 1024 pieces; rows that changed one by one lie in more */

/* ---- names and attributes ---- */

static void ops_run_lookup(struct call *c)
{
	struct tree_node n;
	struct err e = ERR_INIT;
	int r = tree_lookup(c->fs->tree, c->ino, c->name, call_wait(c), &n, &e);
	if (r == TREE_MUST_WAIT) {
		call_defer(c);
		return;
	}
	/* inode 0 in an answer: the kernel keeps "no such name" */
	if (r == -ENOENT && n.keep_entry == TREE_KEEP_LONG && !n.ino)
		r = 0;
	if (r < 0)
		reply_err(c, r, &e);
	else
		reply_entry(c, &n);
}

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = call_of(req, ops_run_lookup);
	c.ino = parent;
	c.name = (char *)(uintptr_t)name; /* copied before it would be freed */
	ops_run_lookup(&c);
}

static void ops_run_getattr(struct call *c)
{
	struct tree_node n;
	struct err e = ERR_INIT;
	int r = tree_getattr(c->fs->tree, c->ino, call_wait(c), &n, &e);
	if (r == TREE_MUST_WAIT)
		call_defer(c);
	else if (r < 0)
		reply_err(c, r, &e);
	else
		reply_attr(c, &n);
}

void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = call_of(req, ops_run_getattr);
	(void)fi;
	c.ino = ino;
	ops_run_getattr(&c);
}

void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct call c = call_of(req, NULL);
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf target = {0};
	int r = tree_readlink(c.fs->tree, ino, &target, &e);
	if (r < 0)
		reply_err(&c, r, &e);
	else
		(void)fuse_reply_readlink(req, strbuf_str(&target));
}

/* ---- files ---- */

static void ops_opened(struct call *c, struct handle *h, int r, const struct err *e)
{
	if (r < 0) {
		free(h);
		reply_err(c, r, e);
		return;
	}
	c->fi.fh = (uint64_t)(uintptr_t)h;
	fuse_req_t req = call_take(c);
	/* ENOENT: the opener has gone; no release will come */
	if (req && fuse_reply_open(req, &c->fi) == -ENOENT && h) {
		tree_file_close(h->file);
		if (h->kind == HANDLE_STAGED)
			staging_release(c->fs->staging, h->node);
		if (h->kind == HANDLE_EDIT)
			edits_release(c->fs->edits, h->edit);
		free(h);
	}
}

static void ops_open_staged(struct call *c, int64_t node)
{
	struct staged_node n;
	int r = staging_get(c->fs->staging, node, &n);
	if (r == 0 && S_ISDIR(n.mode) && ops_writes(c->fi.flags))
		r = -EISDIR;
	struct handle *h = handle_new(HANDLE_STAGED);
	h->node = node;
	if (r == 0 && ops_writes(c->fi.flags))
		handle_set_writer(h, &n, c->req);
	if (r == 0)
		r = staging_hold(c->fs->staging, node);
	if (r == 0 && (c->fi.flags & O_TRUNC)) {
		handle_set_dirty(c->fs, h);
		r = staging_setattr(c->fs->staging, node, &(struct staged_node){.size = 0}, STAGING_SIZE, NULL);
		if (r < 0) {
			staging_dirty(c->fs->staging, node, -1);
			staging_release(c->fs->staging, node);
		}
	}
	/* only this mount changes staged files, so what the kernel has stays right; our own texts excepted */
	c->fi.keep_cache = !n.generated;
	c->fi.noflush = !ops_writes(c->fi.flags);
	if (r < 0) {
		free(h);
		reply_code(c, r);
		return;
	}
	ops_opened(c, h, 0, ERR_DROP);
}

static void ops_run_open(struct call *c)
{
	struct err e = ERR_INIT;
	struct ino i;
	(void)ino_decode(c->ino, &i);

	int64_t node = tree_staged_of(c->ino);
	if (node) {
		ops_open_staged(c, node);
		return;
	}
	bool writes = ops_writes(c->fi.flags);
	if (i.kind == INO_EDIT || (i.kind == INO_NOW_ROW && writes)) {
		struct handle *h = handle_new(HANDLE_EDIT);
		int r = edits_open(c->fs->edits, c->ino, c->fi.flags & O_TRUNC, &h->edit, &e);
		c->fi.direct_io = 1; /* the snapshot's row stays what it is */
		ops_opened(c, h, r, &e);
		return;
	}
	if (writes) {
		reply_code(c, -EROFS);
		return;
	}
	struct tree_file *file;
	bool direct;
	int r = tree_file_open(c->fs->tree, c->ino, call_wait(c), &file, &direct, &e);
	if (r == TREE_MUST_WAIT) {
		call_defer(c);
		return;
	}
	struct handle *h = NULL;
	if (r == 0) {
		h = handle_new(HANDLE_TREE);
		h->file = file;
	}
	c->fi.direct_io = direct;
	c->fi.keep_cache = !direct;
	c->fi.noflush = 1; /* nobody waits for the close of what was only read */
	ops_opened(c, h, r, &e);
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = call_of(req, ops_run_open);
	c.ino = ino;
	c.fi = *fi;
	ops_run_open(&c);
}

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct call c = call_of(req, NULL);
	struct handle *h = ops_handle(fi);
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf out = {0};
	int r;

	if (h && h->kind == HANDLE_STAGED) {
		size_t got = 0;
		strbuf_reserve(&out, size);
		r = staging_read(c.fs->staging, h->node, (uint64_t)off, out.data, size, &got);
		out.len = got;
	} else if (h && h->kind == HANDLE_EDIT) {
		r = edit_read(h->edit, (uint64_t)off, size, &out);
	} else {
		_cleanup_(line_spans_done) struct line_spans spans = {0};
		r = tree_read_spans(c.fs->tree, h ? h->file : NULL, (uint64_t)off, size, &spans, &e);
		if (r == 1 && spans.n <= OPS_SPANS) {
			(void)fuse_reply_iov(req, spans.v, (int)spans.n);
			return;
		}
		for (size_t k = 0; r == 1 && k < spans.n; k++)
			strbuf_add(&out, spans.v[k].iov_base, spans.v[k].iov_len);
		if (r == 0)
			r = tree_read(c.fs->tree, ino, h ? h->file : NULL, (uint64_t)off, size, &out, &e);
	}
	if (r < 0)
		reply_err(&c, r, &e);
	else
		(void)fuse_reply_buf(req, out.data, out.len);
}

/* ---- directories ---- */

static void ops_run_opendir(struct call *c)
{
	struct tree_dir *d = NULL;
	struct err e = ERR_INIT;
	bool cacheable;
	int r = tree_dir_open(c->fs->tree, c->ino, call_wait(c), &d, &cacheable, &e);
	if (r == TREE_MUST_WAIT) {
		call_defer(c);
		return;
	}
	if (r < 0) {
		reply_err(c, r, &e);
		return;
	}
	c->fi.fh = (uint64_t)(uintptr_t)d;
	c->fi.cache_readdir = cacheable;
	c->fi.keep_cache = cacheable;
	fuse_req_t req = call_take(c);
	if (req && fuse_reply_open(req, &c->fi) == -ENOENT)
		tree_dir_close(d);
}

void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = call_of(req, ops_run_opendir);
	c.ino = ino;
	c.fi = *fi;
	ops_run_opendir(&c);
}

static void ops_list(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	struct call c = call_of(req, NULL);
	struct tree_dir *d = (struct tree_dir *)(uintptr_t)fi->fh;
	struct err e = ERR_INIT;
	struct tree_entry entry;
	_cleanup_free_ char *buf = xmalloc(size);
	size_t used = 0;

	int r = tree_dir_seek(d, off, !plus, &e);
	while (r == 0) {
		r = tree_dir_peek(d, &entry, &e);
		if (r <= 0)
			break;
		size_t n;
		if (plus) {
			struct fuse_entry_param p = ops_entry(&entry.node);
			if (entry.bare)
				p.ino = 0; /* "look it up yourself": not counted as a lookup either */
			n = fuse_add_direntry_plus(req, buf + used, size - used, entry.name, &p, entry.next);
		} else {
			struct stat st = {.st_ino = entry.node.ino, .st_mode = entry.node.mode};
			n = fuse_add_direntry(req, buf + used, size - used, entry.name, &st, entry.next);
		}
		r = 0;
		if (n > size - used)
			break;
		used += n;
		tree_dir_skip(d);
	}
	/* entries that were added are told first; the error comes with the next request */
	if (r < 0 && !used)
		reply_err(&c, r, &e);
	else
		(void)fuse_reply_buf(req, buf, used);
}

void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	ops_list(req, size, off, fi, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	ops_list(req, size, off, fi, true);
}

void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	tree_dir_close((struct tree_dir *)(uintptr_t)fi->fh);
	(void)fuse_reply_err(req, 0);
}

/* ---- room ---- */

void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct call c = call_of(req, NULL);
	struct err e = ERR_INIT;
	struct statvfs of_disk;
	(void)ino;
	int r = catalog_statvfs(service_catalog(c.fs->service), &of_disk, &e);
	if (r < 0) {
		reply_err(&c, r, &e);
		return;
	}
	struct statvfs v = {.f_bsize = of_disk.f_bsize,
			    .f_frsize = of_disk.f_frsize,
			    .f_blocks = of_disk.f_blocks,
			    .f_bfree = of_disk.f_bfree,
			    .f_bavail = of_disk.f_bavail,
			    .f_namemax = 255};
	(void)fuse_reply_statfs(req, &v);
}
