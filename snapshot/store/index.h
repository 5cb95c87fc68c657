/*
 * snapshot/store/index.h - the index that a snapshot may have beside its tables: a table version of its own.
 *
 * What is in it is for openmetadata/ to know, which makes it; the store keeps it, and frees it with the snapshot.
 */
#pragma once

#include <pthread.h>

#include "snapshot/store/catalog.h"
#include "snapshot/store/tables.h"

/* ENOENT: there is none (a snapshot of an older program, or one made from a damaged one). */
int catalog_index(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e);
/* The snapshot of the same source with an index that was taken next before or after this one; 0: none. */
int catalog_index_nearest(struct catalog *c, int64_t snapshot_id, int64_t *ret, struct err *e);
/* Forgets a damaged one, so that it is made anew. */
int catalog_index_forget(struct catalog *c, int64_t snapshot_id, struct err *e);
/* Held by who makes a missing one, so that all who wait for it find it made. */
pthread_mutex_t *catalog_index_mutex(struct catalog *c);
