/*
 * snapshot/store/remove.h - removing snapshots.
 */
#pragma once

#include <stdbool.h>

#include "snapshot/store/catalog.h"

/* Removes the snapshot and frees what only it used. EBUSY when held. */
int catalog_remove(struct catalog *c, int64_t snapshot_id, struct err *e);
/* Removes it, and frees nothing: that is a sweep's. */
int store_remove_snapshot(struct catalog *c, int64_t snapshot_id, bool even_held, struct err *e);
/* The unlisted snapshots of crashed restores, when nobody is writing. */
int store_remove_unlisted(struct catalog *c, struct err *e);
