/*
 * fs/ops.h - the FUSE requests: one thin function for each opcode that decodes, asks tree, staging, now or restore, and
 * replies exactly once.
 */
#pragma once

#include "snapshot/service/service.h"

struct fuse_lowlevel_ops;

extern const struct fuse_lowlevel_ops fs_ops;

/* service_on_change's function; arg is the struct fs. */
void fs_changed(void *arg, enum service_event ev, size_t source, int64_t snapshot_id, const char *name);
