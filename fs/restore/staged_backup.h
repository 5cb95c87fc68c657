/*
 * fs/restore/staged_backup.h - a set of the staging area as a backup_tree, for who reads backups.
 * One thread at a time; no locks.
 */
#pragma once

#include "fs/staging/staging.h"
#include "snapshot/capture/backup.h"

/* Closed by its own close. */
struct backup_tree *staged_backup_open(struct staging *s, int64_t top);
/* The node of a directory in it. */
int staged_backup_dir(struct backup_tree *t, const char *path, int64_t *ret);
