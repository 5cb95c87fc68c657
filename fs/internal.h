/*
 * fs/internal.h - the mounted file system, and what the functions that answer its requests share. Only for these.
 */
#pragma once

#include <fuse_lowlevel.h>
#include <stdatomic.h>

#include "fs/notify.h"
#include "fs/restore/edit.h"
#include "fs/restore/link.h"
#include "fs/restore/sets.h"
#include "fs/restore/texts.h"
#include "fs/restore/track.h"
#include "fs/slow.h"
#include "fs/tree/dir.h"
#include "fs/tree/file.h"
#include "fs/tree/staged.h"
#include "fs/tree/tree.h"

struct call;

/* The mounted file system; main.c makes it, it is the session's userdata. */
struct fs {
	struct service *service;
	struct tree *tree;
	struct staging *staging;
	struct slow *slow;
	struct edits *edits;
	struct restores *restores;
	struct notify *notify;
	void (*ready)(void *arg); /* once, when the kernel has said hello */
	void *ready_arg;
	pthread_mutex_t mutex;
	struct call *calls; /* requests that slow-path threads have; under mutex */
	bool stopping;      /* under mutex: no request waits for a job any more */
};

/* ---- call.c ---- */

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

struct fs *ops_fs(fuse_req_t req);
struct call call_of(fuse_req_t req, void (*run)(struct call *c));
const struct tree_wait *call_wait(const struct call *c);
fuse_req_t call_take(struct call *c);
void call_defer(const struct call *from);

/* Every request that waits for something gets EINTR, later ones too. */
void fs_interrupt_all(struct fs *fs);

/* ---- reply.c ---- */

void ops_log(const char *what, int r, const struct err *e);
void reply_err(struct call *c, int r, const struct err *e);
/* The same where the words were said already, or there are none. */
void reply_code(struct call *c, int r);
struct fuse_entry_param ops_entry(const struct tree_node *n);
void reply_entry(struct call *c, const struct tree_node *n);
void reply_attr(struct call *c, const struct tree_node *n);
struct tree_node ops_staged_node(struct fs *fs, const struct staged_node *s);

/* ---- handle.c ---- */

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

struct handle *ops_handle(const struct fuse_file_info *fi);
struct handle *handle_new(enum handle_kind kind);
void handle_set_writer(struct handle *h, const struct staged_node *n, fuse_req_t req);
void handle_set_dirty(struct fs *fs, struct handle *h);
bool ops_writes(int flags);

/* ---- ops_restore.c ---- */

void ops_notify_texts(struct fs *fs, int64_t top);
void ops_defer_restore(struct call *c, int64_t top, enum restores_why why);

/* ---- ops_read.c ---- */

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_readlink(fuse_req_t req, fuse_ino_t ino);
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_statfs(fuse_req_t req, fuse_ino_t ino);

/* ---- ops_xattr.c ---- */

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* ---- ops_write.c ---- */

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi);
void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi);

/* ---- ops_name.c ---- */

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void ops_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
		unsigned flags);
