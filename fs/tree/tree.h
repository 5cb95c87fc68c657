/*
 * fs/tree/tree.h - the namespace: which names there are, what each one's attributes are. No fuse include: it can be
 * driven by a test or a fuzzer as well. In file.h: their bytes; dir.h: listings; xattr.h; tables.h, staged.h: some
 * kinds.
 *
 * Any thread. A call that would have to wait for a job (a snapshot that is being taken, now/ without a fresh one,
 * SHA256SUMS never computed) returns TREE_MUST_WAIT when it was given no struct tree_wait; everything else answers at
 * once. Otherwise 0 or -errno with words in *e.
 */
#pragma once

#include <sys/stat.h>

#include "fs/staging/staging.h"
#include "fs/tree/ino.h"
#include "snapshot/service/service.h"

struct tree;

#define TREE_MUST_WAIT 1

struct tree_wait {
	struct waiter *waiter;
	const struct requester *who;
};

/* How long the kernel may keep an answer. */
enum tree_keep {
	TREE_KEEP_NO,
	TREE_KEEP_SHORT, /* at most a second */
	TREE_KEEP_LONG,  /* it never changes, or we say so when it does */
};

struct tree_node {
	uint64_t ino; /* 0 in an answer "no such name" */
	mode_t mode;
	uint32_t nlink;
	uid_t uid;
	gid_t gid;
	uint64_t size;
	int64_t atime_ns;
	int64_t mtime_ns;
	int64_t ctime_ns;
	enum tree_keep keep_entry;
	enum tree_keep keep_attr;
};

/* The name of a row that is being written through now/ (fs/restore/edit.h): asked before the snapshot's own rows. */
struct tree_overlay {
	void *arg;
	bool (*lookup)(void *arg, uint64_t dir, const char *name, struct tree_node *ret);
	bool (*getattr)(void *arg, uint64_t id, struct tree_node *ret);
};

int tree_open(struct tree **ret, struct service *svc, struct staging *s, uid_t uid, gid_t gid, struct err *e);
void tree_close(struct tree *t);
void tree_set_overlay(struct tree *t, const struct tree_overlay *o);
DEFINE_CLEANUP(cleanup_tree, struct tree, tree_close);

/* -ENOENT: ret->ino is 0 and ret->keep_entry tells how long that holds. */
int tree_lookup(struct tree *t, uint64_t parent, const char *name, const struct tree_wait *w, struct tree_node *ret,
		struct err *e);
int tree_getattr(struct tree *t, uint64_t ino, const struct tree_wait *w, struct tree_node *ret, struct err *e);
int tree_readlink(struct tree *t, uint64_t ino, struct strbuf *out, struct err *e);

/* The source that an inode belongs to: index for the service, or -ENOENT. */
int tree_source_of(struct tree *t, uint64_t ino);
/* Snapshots only change through their names: true for everything that no operation may write (EROFS). */
bool tree_is_readonly(uint64_t ino);
