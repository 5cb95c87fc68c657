/*
 * fs/restore/link.h - symbolic links made in restore/: what they point to is restored, and the link is kept.
 * Any thread; no locks.
 */
#pragma once

#include "fs/restore/sets.h"

/* ln -s ../snapshots/NAME restore/LABEL, ln -s ../entities/NAME/TYPE/.../NAME.json restore/LABEL (one entity). */
int restores_link(struct restores *rs, size_t source, const char *target, const char *label,
		  const struct requester *who, struct waiter *w, struct err *e);
