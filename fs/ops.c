/*
 * fs/ops.c - see ops.h.
 *
 * Threads: libfuse's workers run every ops_* function; one that would have to wait (TREE_MUST_WAIT, a job) hands its
 * struct call to a slow-path thread, which runs the same function again with leave to wait and replies from there. An
 * interrupt of such a request ends its wait. Lock: fs.mutex guards the list of such calls, taken alone.
 * Kernel side (seen with 6.18): a reply must be the last thing that touches the request; libfuse 3.14 may run the
 * interrupt function on another worker until fuse_req_interrupt_func(req, NULL, NULL) has returned.
 */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <time.h>

#include "base/log.h"
#include "fs/restore/sql_file.h"

#define OPS_LONG_S 1.0e9
#define OPS_SHORT_S 1.0
#define OPS_SPANS 512 /* writev takes 1024 pieces; rows that changed one by one lie in more */

/* ---- a request ---- */

struct call {
	struct fs *fs;
	fuse_req_t req;
	void (*run)(struct call *c);
	bool slow; /* on a slow-path thread: may wait */
	struct waiter waiter;
	struct requester who;
	struct tree_wait wait;
	/* arguments, as the function needs them */
	fuse_ino_t ino;
	fuse_ino_t new_ino;
	char *name;
	char *new_name;
	struct fuse_file_info fi;
	unsigned flags;
	int64_t top;
	enum restores_why why;
	struct tree_node node;
	struct handle *handle;
	/* mkdir: an interrupt answers at once and this thread throws away what comes then */
	bool early;
	atomic_bool answered;
	atomic_int refs;
	struct call *next;
	struct call **prev;
};

static struct fs *ops_fs(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct call call_of(fuse_req_t req, void (*run)(struct call *c))
{
	return (struct call){.fs = ops_fs(req), .req = req, .run = run};
}

static const struct tree_wait *call_wait(const struct call *c)
{
	return c->slow ? &c->wait : NULL;
}

static void call_unref(struct call *c)
{
	if (atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	free(c->name);
	free(c->new_name);
	free(c);
}

static void call_end(struct call *c)
{
	if (!c->slow)
		return;
	{
		MUTEX_GUARD(&c->fs->mutex);
		*c->prev = c->next;
		if (c->next)
			c->next->prev = c->prev;
	}
	call_unref(c);
}

/* The request, to be answered now; NULL when an interrupt has answered it. No interrupt function runs afterwards. */
static fuse_req_t call_take(struct call *c)
{
	if (!c->slow)
		return c->req;
	if (c->early && atomic_exchange(&c->answered, true))
		return NULL;
	fuse_req_interrupt_func(c->req, NULL, NULL);
	return c->req;
}

static void call_answer_early(void *arg)
{
	struct call *c = arg;
	if (!atomic_exchange(&c->answered, true)) {
		fuse_req_interrupt_func(c->req, NULL, NULL);
		(void)fuse_reply_err(c->req, EINTR);
	}
	call_unref(c);
}

static void call_interrupted(fuse_req_t req, void *data)
{
	struct call *c = data;
	(void)req;
	service_interrupt(c->fs->service, &c->waiter);
	if (c->early) {
		/* not from here: libfuse holds the request's lock */
		(void)atomic_fetch_add(&c->refs, 1);
		slow_run(c->fs->slow, call_answer_early, c);
	}
}

static void call_thread(void *arg)
{
	struct call *c = arg;
	requester_of_pid(&c->who, c->who.uid, c->who.pid);
	c->run(c);
	call_end(c);
}

/* Goes on with the request on a slow-path thread. *c is copied, its strings too. */
static void call_defer(const struct call *from)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(from->req);
	struct call *c = xmalloc(sizeof *c);
	*c = *from;
	c->slow = true;
	c->name = xstrdup(from->name);
	c->new_name = xstrdup(from->new_name);
	c->who = (struct requester){.uid = ctx->uid, .pid = ctx->pid};
	c->wait = (struct tree_wait){.waiter = &c->waiter, .who = &c->who};
	atomic_init(&c->refs, 1);
	atomic_init(&c->answered, false);
	{
		MUTEX_GUARD(&c->fs->mutex);
		c->next = c->fs->calls;
		c->prev = &c->fs->calls;
		if (c->next)
			c->next->prev = &c->next;
		c->fs->calls = c;
		if (c->fs->stopping)
			atomic_store(&c->waiter.interrupted, true);
	}
	fuse_req_interrupt_func(c->req, call_interrupted, c);
	slow_run(c->fs->slow, call_thread, c);
}

void fs_interrupt_all(struct fs *fs)
{
	MUTEX_GUARD(&fs->mutex);
	fs->stopping = true;
	for (struct call *c = fs->calls; c; c = c->next)
		service_interrupt(fs->service, &c->waiter);
}

/* ---- replies ---- */

static void ops_log(const char *what, int r, const struct err *e)
{
	/* what a person at a shell cannot find in status.txt: damage, and errors of this program */
	if (r == -EIO || r == -EOVERFLOW)
		log_error("%s: %s", what, *e->msg ? e->msg : strerror(-r));
}

static void reply_err(struct call *c, int r, const struct err *e)
{
	fuse_req_t req = call_take(c);
	if (e)
		ops_log("request", r, e);
	if (req)
		(void)fuse_reply_err(req, r < 0 ? -r : 0);
}

static double ops_timeout(enum tree_keep keep)
{
	return keep == TREE_KEEP_LONG ? OPS_LONG_S : keep == TREE_KEEP_SHORT ? OPS_SHORT_S : 0;
}

static struct timespec ops_timespec(int64_t ns)
{
	int64_t s = ns / 1000000000, rest = ns % 1000000000;
	if (rest < 0) {
		rest += 1000000000;
		s--;
	}
	return (struct timespec){.tv_sec = (time_t)s, .tv_nsec = (long)rest};
}

static struct stat ops_stat(const struct tree_node *n)
{
	return (struct stat){
	    .st_ino = n->ino,
	    .st_mode = n->mode,
	    .st_nlink = n->nlink,
	    .st_uid = n->uid,
	    .st_gid = n->gid,
	    .st_size = (off_t)n->size,
	    .st_blocks = (blkcnt_t)((n->size + 511) / 512),
	    .st_blksize = 4096,
	    .st_atim = ops_timespec(n->atime_ns),
	    .st_mtim = ops_timespec(n->mtime_ns),
	    .st_ctim = ops_timespec(n->ctime_ns),
	};
}

static struct fuse_entry_param ops_entry(const struct tree_node *n)
{
	return (struct fuse_entry_param){
	    .ino = n->ino,
	    .attr = ops_stat(n),
	    .attr_timeout = ops_timeout(n->keep_attr),
	    .entry_timeout = ops_timeout(n->keep_entry),
	};
}

static void reply_entry(struct call *c, const struct tree_node *n)
{
	fuse_req_t req = call_take(c);
	struct fuse_entry_param e = ops_entry(n);
	if (req)
		(void)fuse_reply_entry(req, &e);
}

static void reply_attr(struct call *c, const struct tree_node *n)
{
	fuse_req_t req = call_take(c);
	struct stat st = ops_stat(n);
	if (req)
		(void)fuse_reply_attr(req, &st, ops_timeout(n->keep_attr));
}

static struct tree_node ops_staged_node(struct fs *fs, const struct staged_node *s)
{
	struct tree_node n = {0};
	(void)tree_getattr(fs->tree,
			   s->id > 0 ? ino_of(INO_STAGED, (uint64_t)s->id) : ino_of(INO_RESTORE, (uint64_t)-s->id),
			   NULL, &n, ERR_DROP);
	return n;
}

/* ---- open files ---- */

enum handle_kind { HANDLE_TREE, HANDLE_STAGED, HANDLE_EDIT };

struct handle {
	enum handle_kind kind;
	struct tree_file *file; /* HANDLE_TREE */
	int64_t node;           /* HANDLE_STAGED */
	pid_t writer;           /* of a .sql file that is a set: who opened it to write; else -1 */
	bool apply;             /* the file APPLY: gone when closed */
	int64_t apply_dir;
	atomic_bool dirty; /* written since it was opened or last flushed */
	struct edit *edit; /* HANDLE_EDIT */
};

static struct handle *ops_handle(const struct fuse_file_info *fi)
{
	return fi ? (struct handle *)(uintptr_t)fi->fh : NULL;
}

static struct handle *handle_new(enum handle_kind kind)
{
	struct handle *h = xcalloc(1, sizeof *h);
	h->kind = kind;
	h->writer = -1;
	return h;
}

static void handle_set_writer(struct handle *h, const struct staged_node *n, fuse_req_t req)
{
	if (n->top == n->id && S_ISREG(n->mode))
		h->writer = restore_sql_writer(fuse_req_ctx(req)->pid);
}

static void handle_set_dirty(struct fs *fs, struct handle *h)
{
	if (!atomic_exchange(&h->dirty, true))
		staging_dirty(fs->staging, h->node, 1);
}

static bool ops_writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

/* ---- session ---- */

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	static const unsigned want[] = {
	    FUSE_CAP_ASYNC_READ,          FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS, FUSE_CAP_READDIRPLUS_AUTO,
	    FUSE_CAP_EXPLICIT_INVAL_DATA, FUSE_CAP_ATOMIC_O_TRUNC,  FUSE_CAP_ASYNC_DIO};
	static const unsigned unwanted[] = {FUSE_CAP_WRITEBACK_CACHE,    FUSE_CAP_AUTO_INVAL_DATA,
					    FUSE_CAP_EXPORT_SUPPORT,     FUSE_CAP_CACHE_SYMLINKS /* latest changes */,
					    FUSE_CAP_POSIX_ACL,          FUSE_CAP_DONT_MASK,
					    FUSE_CAP_HANDLE_KILLPRIV,    FUSE_CAP_NO_OPEN_SUPPORT,
					    FUSE_CAP_NO_OPENDIR_SUPPORT, FUSE_CAP_SPLICE_READ,
					    FUSE_CAP_SPLICE_WRITE,       FUSE_CAP_SPLICE_MOVE,
					    FUSE_CAP_FLOCK_LOCKS,        FUSE_CAP_POSIX_LOCKS};
	for (size_t k = 0; k < sizeof want / sizeof *want; k++)
		conn->want |= conn->capable & want[k];
	for (size_t k = 0; k < sizeof unwanted / sizeof *unwanted; k++)
		conn->want &= ~unwanted[k];
	conn->max_write = 1u << 20;
	conn->max_readahead = 1u << 20;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	if (fs->ready)
		fs->ready(fs->ready_arg);
}

/* ---- reading ---- */

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

static void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = call_of(req, ops_run_lookup);
	c.ino = parent;
	c.name = (char *)(uintptr_t)name; /* copied before it would be freed */
	ops_run_lookup(&c);
}

static void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	(void)ino;
	(void)nlookup;
	fuse_reply_none(req);
}

static void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	(void)count;
	(void)forgets;
	fuse_reply_none(req);
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

static void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = call_of(req, ops_run_getattr);
	(void)fi;
	c.ino = ino;
	ops_run_getattr(&c);
}

static void ops_readlink(fuse_req_t req, fuse_ino_t ino)
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
			edits_release(c->fs->now, h->edit);
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
	ops_opened(c, h, r, ERR_DROP);
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
		int r = edits_open(c->fs->now, c->ino, c->fi.flags & O_TRUNC, &h->edit, &e);
		c->fi.direct_io = 1; /* the snapshot's row stays what it is */
		ops_opened(c, h, r, &e);
		return;
	}
	if (writes) {
		reply_err(c, -EROFS, ERR_DROP);
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
	if (r == 0 && file) {
		h = handle_new(HANDLE_TREE);
		h->file = file;
	}
	c->fi.direct_io = direct;
	c->fi.keep_cache = !direct;
	c->fi.noflush = 1; /* nobody waits for the close of what was only read */
	ops_opened(c, h, r, &e);
}

static void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = call_of(req, ops_run_open);
	c.ino = ino;
	c.fi = *fi;
	ops_run_open(&c);
}

static void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
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

static void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
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

static void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	ops_list(req, size, off, fi, false);
}

static void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	ops_list(req, size, off, fi, true);
}

static void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	tree_dir_close((struct tree_dir *)(uintptr_t)fi->fh);
	(void)fuse_reply_err(req, 0);
}

static void ops_statfs(fuse_req_t req, fuse_ino_t ino)
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

/* ---- extended attributes ---- */

static void ops_reply_xattr(struct call *c, int r, const struct strbuf *out, size_t size, const struct err *e)
{
	if (r == 0 && out->len > XATTR_SIZE_MAX)
		r = -E2BIG;
	if (r == 0 && size && out->len > size)
		r = -ERANGE;
	if (r < 0)
		reply_err(c, r, e);
	else if (!size)
		(void)fuse_reply_xattr(c->req, out->len);
	else
		(void)fuse_reply_buf(c->req, out->data, out->len);
}

static void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct call c = call_of(req, NULL);
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf out = {0};
	/* Tools ask for security.selinux and system.posix_acl_access of every file until they hear that there are none
	 * here: coreutils remember EOPNOTSUPP for a device, but not ENODATA. ENOSYS, which the kernel would remember,
	 * would take our own away, too. */
	int r = strncmp(name, "user.", 5) == 0 ? tree_getxattr(c.fs->tree, ino, name, &out, &e) : -EOPNOTSUPP;
	ops_reply_xattr(&c, r, &out, size, &e);
}

static void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct call c = call_of(req, NULL);
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf out = {0};
	int r = tree_listxattr(c.fs->tree, ino, &out, &e);
	ops_reply_xattr(&c, r, &out, size, &e);
}

static void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct call c = call_of(req, NULL);
	int64_t node = tree_staged_of(ino);
	int r;
	if (!node)
		r = tree_is_readonly(ino) ? -EROFS : -EOPNOTSUPP;
	else if (strncmp(name, "user.", 5) != 0)
		r = -EOPNOTSUPP;
	else
		r = staging_setxattr(c.fs->staging, node, name, value, size, flags);
	reply_err(&c, r, ERR_DROP);
}

static void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct call c = call_of(req, NULL);
	int64_t node = tree_staged_of(ino);
	reply_err(&c, node ? staging_removexattr(c.fs->staging, node, name) : -EROFS, ERR_DROP);
}

/* ---- restores: what waits for one ---- */

/* The set's ERROR.txt and PLAN.txt came or went. */
static void ops_notify_texts(struct fs *fs, int64_t top)
{
	static const char *const texts[] = {"ERROR.txt", "PLAN.txt"};
	for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
		char name[STAGING_NAME_MAX + 1];
		int64_t dir;
		if (restores_text_name(fs->staging, top, texts[k], &dir, name) < 0)
			return;
		notify_inode(fs->notify, tree_ino_of_staged(dir, -dir));
		notify_entry(fs->notify, tree_ino_of_staged(dir, -dir), name);
	}
}

/* Runs c->top and answers with its result: what the copier's close(), rename() or utimens() returns. */
static void ops_run_restore(struct call *c)
{
	struct err e = ERR_INIT;
	int r = restores_run(c->fs->restores, c->top, c->why, &c->who, &c->waiter, &e);
	if (r < 0 && *e.msg)
		log_warning("%s", e.msg);
	ops_notify_texts(c->fs, c->top);

	if (r < 0 && c->new_name) {
		/* A rename that is refused has happened all the same, so that the set can be tried again; but the file
		 * gets another time, so that rsync sends it once more instead of finding nothing to do. */
		struct staged_node n, old = {.mtime_ns = 0};
		int64_t dir = tree_staged_of(c->new_ino);
		if (staging_lookup(c->fs->staging, dir, c->new_name, &n) == 0 && S_ISREG(n.mode))
			(void)staging_setattr(c->fs->staging, n.id, &old, STAGING_MTIME, NULL);
		reply_err(c, r, ERR_DROP);
		notify_entry(c->fs->notify, c->ino, c->name);
		notify_entry(c->fs->notify, c->new_ino, c->new_name);
		return;
	}
	if (r == 0 && c->node.ino) /* of setattr */
		reply_attr(c, &c->node);
	else
		reply_err(c, r, ERR_DROP);
}

static void ops_defer_restore(struct call *c, int64_t top, enum restores_why why)
{
	c->run = ops_run_restore;
	c->top = top;
	c->why = why;
	call_defer(c);
}

/* ---- writing ---- */

static void ops_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		      struct fuse_file_info *fi)
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
		reply_err(&c, r, ERR_DROP);
	else
		(void)fuse_reply_write(req, size);
}

static void ops_run_flush_edit(struct call *c)
{
	struct err e = ERR_INIT;
	int r = edits_flush(c->fs->now, c->handle->edit, &c->who, &c->waiter, &e);
	if (r < 0 && *e.msg)
		log_warning("%s", e.msg);
	reply_err(c, r, &e);
	notify_inode(c->fs->notify, c->ino);
}

static void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
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
			reply_err(&c, r, ERR_DROP);
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
		reply_err(&c, r, ERR_DROP);
		return;
	}
	reply_err(&c, 0, ERR_DROP);
}

static void ops_end_apply(struct fs *fs, const struct handle *h)
{
	char name[STAGING_NAME_MAX + 1];
	if (!h->apply || staging_name(fs->staging, h->node, name) < 0)
		return;
	(void)staging_unlink(fs->staging, h->apply_dir, name);
	notify_entry(fs->notify, tree_ino_of_staged(h->apply_dir, -h->apply_dir), name);
}

static void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
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
			edits_release(fs->now, h->edit);
			notify_inode(fs->notify, ino);
			break;
		}
		free(h);
	}
	(void)fuse_reply_err(req, 0);
}

static void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct call c = call_of(req, NULL);
	(void)datasync;
	(void)fi;
	reply_err(&c, tree_staged_of(ino) ? staging_sync(c.fs->staging) : 0, ERR_DROP);
}

static void ops_setattr_staged(struct call *c, int64_t node, const struct stat *attr, int to_set)
{
	struct staged_node set = {.mode = attr->st_mode,
				  .uid = attr->st_uid,
				  .gid = attr->st_gid,
				  .size = (uint64_t)attr->st_size},
			   got;
	struct handle *h = ops_handle(&c->fi);
	struct timespec now;
	unsigned which = 0;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	struct timespec at = to_set & FUSE_SET_ATTR_ATIME_NOW ? now : attr->st_atim,
			mt = to_set & FUSE_SET_ATTR_MTIME_NOW ? now : attr->st_mtim;
	set.atime_ns = (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
	set.mtime_ns = (int64_t)mt.tv_sec * 1000000000 + mt.tv_nsec;
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
		reply_err(c, r, ERR_DROP);
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

static void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
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
		r = edits_setattr(c.fs->now, ino, to_set & FUSE_SET_ATTR_SIZE, (uint64_t)attr->st_size, &n);
	} else if (i.kind == INO_NOW_ROW && edits_row_is_open(c.fs->now, ino)) {
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
		reply_err(&c, r, ERR_DROP);
	else
		reply_attr(&c, &n);
}

static void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			  struct fuse_file_info *fi)
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
	reply_err(&c, r, ERR_DROP);
}

/* ---- names ---- */

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
			edits_release(c->fs->now, h->edit);
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
		reply_err(c, r, ERR_DROP);
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
		reply_err(c, r, ERR_DROP);
	else
		ops_create_staged(c, dir, true);
	ops_notify_texts(c->fs, c->top);
}

static void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
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
		reply_err(&c, -EROFS, ERR_DROP);
		return;
	}
	struct handle *h = handle_new(HANDLE_EDIT);
	int r = edits_create(c.fs->now, parent, name, mode, &h->edit, &e);
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
		reply_err(&c, -EROFS, ERR_DROP);
		return;
	}
	int r = staging_make(c.fs->staging, dir, name, mode, ctx->uid, ctx->gid, NULL, &n);
	if (r < 0) {
		reply_err(&c, r, ERR_DROP);
		return;
	}
	struct tree_node node = ops_staged_node(c.fs, &n);
	reply_entry(&c, &node);
}

static void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
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

static void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
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
		reply_err(c, r, ERR_DROP);
		return;
	}
	struct tree_node node = ops_staged_node(c->fs, &n);
	reply_entry(c, &node);
}

static void ops_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct call c = call_of(req, ops_run_symlink);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct staged_node n;
	int64_t dir = tree_staged_of(parent);

	c.ino = parent;
	c.name = (char *)(uintptr_t)name;
	c.new_name = (char *)(uintptr_t)link;
	if (!dir) {
		reply_err(&c, -EROFS, ERR_DROP);
		return;
	}
	if (dir < 0) {
		call_defer(&c);
		return;
	}
	int r = staging_make(c.fs->staging, dir, name, S_IFLNK | 0777, ctx->uid, ctx->gid, link, &n);
	if (r < 0) {
		reply_err(&c, r, ERR_DROP);
		return;
	}
	struct tree_node node = ops_staged_node(c.fs, &n);
	reply_entry(&c, &node);
}

static void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino;
	(void)newname;
	(void)fuse_reply_err(req, tree_is_readonly(newparent) ? EROFS : EPERM);
}

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

static void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
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
		r = edits_unlink(c.fs->now, parent, name);
		if (r == -ENOENT)
			r = -EROFS; /* a row of the database: it is not removed this way */
	}
	reply_err(&c, r, ERR_DROP);
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

static void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = call_of(req, ops_run_rmdir);
	struct ino i;
	int64_t dir = tree_staged_of(parent);

	(void)ino_decode(parent, &i);
	c.ino = parent;
	c.name = (char *)(uintptr_t)name;
	if (dir)
		reply_err(&c, staging_rmdir(c.fs->staging, dir, name), ERR_DROP);
	else if (i.kind == INO_SNAPSHOTS)
		call_defer(&c);
	else
		reply_err(&c, -EROFS, ERR_DROP);
}

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
	int r = edits_rename(c->fs->now, c->ino, c->name, c->new_ino, c->new_name, &c->who, &c->waiter, &e);
	if (r < 0 && *e.msg)
		log_warning("%s", e.msg);
	reply_err(c, r == -ENOENT ? -EROFS : r, &e);
	notify_entry(c->fs->notify, c->new_ino, c->new_name);
}

static void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
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
		reply_err(&c, r, ERR_DROP);
		return;
	}
	if (i.kind == INO_SNAPSHOTS && parent == newparent) {
		if (flags & ~(unsigned)RENAME_NOREPLACE) {
			reply_err(&c, -EINVAL, ERR_DROP);
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
	reply_err(&c, -EROFS, ERR_DROP);
}

/* ---- what changed elsewhere ---- */

void fs_changed(void *arg, enum service_event ev, size_t source, int64_t snapshot_id, const char *name)
{
	struct fs *fs = arg;
	uint64_t id = (uint64_t)service_source_id(fs->service, source);
	uint64_t dirs[] = {ino_of(INO_SNAPSHOTS, id), ino_of(INO_ARCHIVES, id)};

	(void)ev;
	for (size_t k = 0; k < sizeof dirs / sizeof *dirs; k++) {
		notify_entry(fs->notify, dirs[k], name);
		notify_entry(fs->notify, dirs[k], "latest");
		notify_inode(fs->notify, dirs[k]);
	}
	if (snapshot_id > 0) {
		notify_inode(fs->notify, ino_of(INO_SNAPSHOT, (uint64_t)snapshot_id));
		notify_inode(fs->notify, ino_of(INO_ARCHIVE, (uint64_t)snapshot_id));
	}
	notify_inode(fs->notify, ino_of(INO_SOURCE, id));
	notify_inode(fs->notify, ino_of(INO_STATUS, id));
	notify_inode(fs->notify, ino_of(INO_JOURNAL, id));
}

/* Left out (ENOSYS, asked once): access, poll, lseek, copy_file_range, ioctl, locks (the kernel keeps them itself). */
const struct fuse_lowlevel_ops fs_ops = {
    .init = ops_init,
    .lookup = ops_lookup,
    .forget = ops_forget,
    .forget_multi = ops_forget_multi,
    .getattr = ops_getattr,
    .setattr = ops_setattr,
    .readlink = ops_readlink,
    .mknod = ops_mknod,
    .mkdir = ops_mkdir,
    .unlink = ops_unlink,
    .rmdir = ops_rmdir,
    .symlink = ops_symlink,
    .rename = ops_rename,
    .link = ops_link,
    .open = ops_open,
    .read = ops_read,
    .write = ops_write,
    .flush = ops_flush,
    .release = ops_release,
    .fsync = ops_fsync,
    .opendir = ops_opendir,
    .readdir = ops_readdir,
    .readdirplus = ops_readdirplus,
    .releasedir = ops_releasedir,
    .fsyncdir = ops_fsync,
    .statfs = ops_statfs,
    .setxattr = ops_setxattr,
    .getxattr = ops_getxattr,
    .listxattr = ops_listxattr,
    .removexattr = ops_removexattr,
    .create = ops_create,
    .fallocate = ops_fallocate,
};
