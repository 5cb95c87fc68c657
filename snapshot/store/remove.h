/*
 * snapshot/store/remove.h - removing snapshots.
 */
#pragma once

#include <stdbool.h>

#include "snapshot/store/catalog.h"

/* Removes the snapshot, and frees nothing: that is a sweep's. EBUSY when it is held. */
int store_remove_snapshot(struct catalog *c, int64_t snapshot_id, bool even_held, struct err *e);
/* The unlisted snapshots of crashed restores, when nobody is writing. */
int store_remove_unlisted(struct catalog *c, struct err *e);
