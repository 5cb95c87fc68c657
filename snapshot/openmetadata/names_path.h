/*
 * snapshot/openmetadata/names_path.h - how an entity's fully-qualified name is spelled as a path.
 */
#pragma once

#include <stdbool.h>

#include "base/strbuf.h"

#define NAMES_PART_MAX                                                                                                 \
	200U /* bytes of a part in a path; a longer one is cut and ends in ~ and 32 digits of its SHA-256 */
#define NAMES_DEPTH_MAX 60U /* parts of a name that become folders; what follows stays one part */

/* TYPE of a table: "dashboard_service_entity" -> "dashboardService". */
void names_type(const char *table, struct strbuf *out);
/* Appends TYPE/PART/.../NAME.json of a fully-qualified name (parts by '.', quoted ones may hold any), or of a name that
 * is one part. */
void names_path(const char *type, const char *fqn, size_t len, bool one_part, struct strbuf *out);
