/*
 * fs/session.h - the mount itself: checks before it, libfuse's session, signals, and an orderly end.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "snapshot/config/config.h"

struct fuse_args;

/* The mount point as the kernel will name it (links resolved). Detaches a dead mount of ours that is in the way.
 * ENOENT, ENOTDIR, EBUSY (one of ours is mounted there and alive). */
int session_mountpoint(const char *path, char **ret, struct err *e);
/* EBUSY-like refusals: the catalog's folder (or an SQLite database's) at, above or below the mount point, where the
 * program would come to wait for itself. */
int session_check_overlap(const char *mountpoint, const struct config *config, struct err *e);

struct session_options {
	const struct config *config;
	const char *mountpoint;
	struct fuse_args *args; /* what is for libfuse and the kernel */
	bool debug;
	void (*ready)(void *arg); /* the mount answers; on a thread of libfuse */
	void *ready_arg;
};
/* Opens everything, mounts, serves until unmounted or told to end by SIGTERM, SIGINT or SIGHUP. Call with these
 * blocked. */
int session_run(const struct session_options *o, struct err *e);
