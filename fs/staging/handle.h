/*
 * fs/staging/handle.h - which staged files are open, and which of them are being written. Any thread.
 */
#pragma once

#include "fs/staging/staging.h"

/* An open handle keeps an unlinked file. */
int staging_hold(struct staging *s, int64_t id);
void staging_release(struct staging *s, int64_t id);
/* A handle that was written and not closed yet: its set is not complete. */
void staging_dirty(struct staging *s, int64_t id, int change);
