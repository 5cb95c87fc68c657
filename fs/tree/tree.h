/*
 * fs/tree/tree.h - the namespace: which names there are, what each one's attributes and bytes are. No fuse include: it can
 * be driven by a test or a fuzzer as well.
 *
 * Any thread. A call that would have to wait for a job (a snapshot that is being taken, now/ without a fresh one,
 * SHA256SUMS never computed) returns TREE_MUST_WAIT when it was given no struct tree_wait; everything else answers at
 * once. Otherwise 0 or -errno with words in *e.
 */
#pragma once

#include <sys/stat.h>

#include "fs/staging/nodes.h"
#include "fs/staging/xattr.h"
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
/* Node id of restore/ or something staged in it; 0: neither. */
int64_t tree_staged_of(uint64_t ino);
uint64_t tree_ino_of_staged(int64_t node, int64_t source_id);

/* ---- files ---- */
/* An open file; *ret may be NULL. direct: the kernel must not cache it. */
struct tree_file;
int tree_file_open(struct tree *t, uint64_t ino, const struct tree_wait *w, struct tree_file **ret, bool *ret_direct,
		   struct err *e);
void tree_file_close(struct tree_file *f);
/* Appends at most n bytes at offset. f: what tree_file_open gave. */
int tree_read(struct tree *t, uint64_t ino, struct tree_file *f, uint64_t offset, size_t n, struct strbuf *out,
	      struct err *e);
/* An archive's table is read in place: 1 and the bytes (line_spans_done); 0: another file, for tree_read. */
int tree_read_spans(struct tree *t, struct tree_file *f, uint64_t offset, size_t n, struct line_spans *ret,
		    struct err *e);
/* The row behind a row's inode: name of its table, its file's name and text (out may be NULL). */
int tree_row_text(struct tree *t, uint64_t ino, struct strbuf *ret_table, struct strbuf *ret_name, struct strbuf *out,
		  struct err *e);
/* Table of a now/tables/T directory. */
int tree_now_table(struct tree *t, uint64_t ino, struct strbuf *ret_table, struct err *e);

/* ---- directories ---- */
struct tree_dir;
struct tree_entry {
	const char *name;      /* valid until tree_dir_skip */
	struct tree_node node; /* unless `bare`: then only ino and the type in mode are right */
	bool bare;
	int64_t next; /* cookie: where a listing goes on after this entry */
};
int tree_dir_open(struct tree *t, uint64_t ino, const struct tree_wait *w, struct tree_dir **ret, bool *ret_cacheable,
		  struct err *e);
void tree_dir_close(struct tree_dir *d);
/* names_only: attributes may be left out. */
int tree_dir_seek(struct tree_dir *d, int64_t cookie, bool names_only, struct err *e);
/* 1 and the entry at the place, 0 at the end, -errno. */
int tree_dir_peek(struct tree_dir *d, struct tree_entry *ret, struct err *e);
/* Goes on behind the entry that was given last. */
void tree_dir_skip(struct tree_dir *d);

/* ---- extended attributes ---- */
int tree_getxattr(struct tree *t, uint64_t ino, const char *name, struct strbuf *out, struct err *e); /* ENODATA */
int tree_listxattr(struct tree *t, uint64_t ino, struct strbuf *out, struct err *e);
