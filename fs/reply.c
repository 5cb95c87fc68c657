/*
 * fs/reply.c - answers to requests: each is the last thing that touches the request. Any thread; no locks.
 */
#include <errno.h>

#include "base/log.h"
#include "fs/internal.h"

#define OPS_LONG_S 1.0e9
#define OPS_SHORT_S 1.0

void ops_log(const char *what, int r, const struct err *e)
{
	/* what a person at a shell cannot find in status.txt: damage, and errors of this program */
	if (r == -EIO || r == -EOVERFLOW)
		log_error("%s: %s", what, *e->msg ? e->msg : strerror(-r));
}

void reply_code(struct call *c, int r)
{
	fuse_req_t req = call_take(c);
	if (req)
		(void)fuse_reply_err(req, r < 0 ? -r : 0);
}

void reply_err(struct call *c, int r, const struct err *e)
{
	fuse_req_t req = call_take(c);
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

struct fuse_entry_param ops_entry(const struct tree_node *n)
{
	return (struct fuse_entry_param){
	    .ino = n->ino,
	    .attr = ops_stat(n),
	    .attr_timeout = ops_timeout(n->keep_attr),
	    .entry_timeout = ops_timeout(n->keep_entry),
	};
}

void reply_entry(struct call *c, const struct tree_node *n)
{
	fuse_req_t req = call_take(c);
	struct fuse_entry_param e = ops_entry(n);
	if (req)
		(void)fuse_reply_entry(req, &e);
}

void reply_attr(struct call *c, const struct tree_node *n)
{
	fuse_req_t req = call_take(c);
	struct stat st = ops_stat(n);
	if (req)
		(void)fuse_reply_attr(req, &st, ops_timeout(n->keep_attr));
}

struct tree_node ops_staged_node(struct fs *fs, const struct staged_node *s)
{
	struct tree_node n = {0};
	(void)tree_getattr(fs->tree,
			   s->id > 0 ? ino_of(INO_STAGED, (uint64_t)s->id) : ino_of(INO_RESTORE, (uint64_t)-s->id),
			   NULL, &n, ERR_DROP);
	return n;
}
