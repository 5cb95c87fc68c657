/*
 * snapshot/store/repack.h - dropping the rows of packs that no table version names any more.
 */
#pragma once

#include <stdbool.h>

#include "snapshot/store/catalog.h"

/* Drops rows that no version names from packs that are worth it; after a sweep. EIO when a pack is damaged (it is left
 * as it is, the others are done). */
struct repack {
	uint64_t packs; /* rewritten */
	uint64_t rows;  /* dropped */
	bool busy;      /* a writer was active: the rest is for the next time */
};
int store_repack(struct catalog *c, struct repack *ret, struct err *e);
