/*
 * fs/restore/track.h - while a backup is being copied into restore/: is it worth a look yet? Cheap questions, asked by
 * FUSE workers after each close, rename and so on. Any thread. Lock: restores.mutex.
 */
#pragma once

#include "fs/restore/sets.h"

/* The set to run restores_run for after process `pid` has brought file (or directory) `n` called `name`; 0: none. */
int64_t restores_due(struct restores *rs, const struct staged_node *n, const char *name, pid_t pid);
/* The same after it set the time of directory n. */
int64_t restores_ended(struct restores *rs, const struct staged_node *n, pid_t pid);
/* Node n was given a time. */
void restores_dated(struct restores *rs, const struct staged_node *n);
