/*
 * fs/notify.h - tells the kernel what it must forget: names of snapshots that went or got another name, and the like.
 *
 * One thread and a queue: a notification takes locks that an unanswered request may hold, so it never runs on a thread
 * that answers requests (libfuse's doc/README.notifications). Nothing depends on it for being right: such names are
 * kept by the kernel for a second at most; a full queue may drop. Any thread may call notify_*.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct fuse_session;
struct notify;

struct notify *notify_new(struct fuse_session *se);
void notify_entry(struct notify *n, uint64_t parent, const char *name);
void notify_inode(struct notify *n, uint64_t ino);
/* At once, when it returns the kernel has forgotten the name. Only from a slow-path thread, and never for a directory
 * that the thread's own unanswered request has locked. */
void notify_entry_now(struct notify *n, uint64_t parent, const char *name);
/* Ends the thread and waits for it; what is queued is dropped, later calls do nothing. False: it did not end in time, a
 * notification waits in the kernel for a request that is not answered. So: while requests are served, and before the
 * session closes its descriptor. */
bool notify_stop(struct notify *n, unsigned timeout_ms);
void notify_free(struct notify *n); /* after notify_stop gave true */
