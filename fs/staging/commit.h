/*
 * fs/staging/commit.h - when what was copied in is safe. Any thread.
 */
#pragma once

#include "fs/staging/staging.h"

/* Commits: what was written survives the end of the program. At each close of a file that was written. */
int staging_commit(struct staging *s);
/* Commits and has the disk confirm it. */
int staging_sync(struct staging *s);
