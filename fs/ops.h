/*
 * fs/ops.h - the FUSE requests: one thin function for each opcode that decodes, asks tree, staging, now or restore, and
 * replies exactly once.
 */
#pragma once

#include <stdatomic.h>

#include "fs/notify.h"
#include "fs/restore/edit.h"
#include "fs/restore/sets.h"
#include "fs/staging/commit.h"
#include "fs/staging/content.h"
#include "fs/staging/handle.h"
#include "fs/staging/nodes.h"
#include "fs/staging/sets.h"
#include "fs/staging/xattr.h"
#include "fs/slow.h"
#include "fs/tree/tree.h"

struct fuse_lowlevel_ops;
struct call;

/* The mounted file system; main.c makes it, it is the session's userdata. */
struct fs {
	struct service *service;
	struct tree *tree;
	struct staging *staging;
	struct slow *slow;
	struct edits *now;
	struct restores *restores;
	struct notify *notify;
	void (*ready)(void *arg); /* once, when the kernel has said hello */
	void *ready_arg;
	pthread_mutex_t mutex;
	struct call *calls; /* requests that slow-path threads have; under mutex */
	bool stopping;      /* under mutex: no request waits for a job any more */
};

extern const struct fuse_lowlevel_ops fs_ops;

/* Every request that waits for something gets EINTR, later ones too. */
void fs_interrupt_all(struct fs *fs);
/* service_on_change's function; arg is the struct fs. */
void fs_changed(void *arg, enum service_event ev, size_t source, int64_t snapshot_id, const char *name);
