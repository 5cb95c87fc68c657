/*
 * snapshot/export/sql_export.h - a snapshot as one SQL file.
 */
#pragma once

#include "snapshot/store/catalog.h"

/* Writes snapshot `id` to file `path` (must not exist) as SQL for the client program of its engine. */
int sql_export_snapshot(struct catalog *c, int64_t id, const char *path, struct err *e);
