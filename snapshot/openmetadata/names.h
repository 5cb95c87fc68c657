/*
 * snapshot/openmetadata/names.h - entities by their fully-qualified names: the index that each snapshot has of its own.
 *
 * An entity is a row of a table with columns `id` and `json` (and none called `extension`: those hold old versions)
 * whose document has the member fullyQualifiedName; in tables called ..._entity, `name` will do. Its path is
 * TYPE/PART/.../NAME.json (names_path.c has the spelling). The index is a table version of rows {path, table, row}
 * by that key, written with the snapshot from what changed since the one before: unchanged names cost nothing.
 * Any thread; cursors and changes belong to one at a time.
 */
#pragma once

#include "snapshot/openmetadata/names_build.h"
#include "snapshot/openmetadata/names_path.h"
#include "snapshot/openmetadata/names_read.h"
#include "snapshot/openmetadata/names_write.h"
