/*
 * snapshot/store/check.h - what there is to check in a catalog, part by part.
 */
#pragma once

#include "snapshot/store/catalog.h"

enum catalog_part {
	CATALOG_FILE,      /* what SQLite says of the file: words, "ok" alone when it is whole */
	CATALOG_PACKS,     /* numbers, ascending */
	CATALOG_SNAPSHOTS, /* numbers, ascending, and names; NULL: not listed */
};
/* each(arg, number, words) returns 0 to go on. */
int catalog_each(struct catalog *c, enum catalog_part part, int (*each)(void *arg, int64_t id, const char *words),
		 void *arg, struct err *e);
