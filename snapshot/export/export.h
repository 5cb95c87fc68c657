/*
 * snapshot/export/export.h - a snapshot as files outside of the catalog: a directory in the archive's shape.
 */
#pragma once

#include "snapshot/store/catalog.h"

/* Writes snapshot `id` to directory `path` (made; must not exist or be empty) in the archive's shape, fsynced. */
int export_snapshot(struct catalog *c, int64_t id, const char *path, struct err *e);
