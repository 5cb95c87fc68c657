/*
 * snapshot/store/sweep.h - freeing what no snapshot uses any more.
 */
#pragma once

#include "snapshot/store/catalog.h"

enum swept { SWEPT, SWEEP_LATER /* nothing was done, because a writer is active: the next sweep does it */ };
/* Frees packs, pages, versions, texts, descriptions, dictionaries and marks that no snapshot uses. An enum swept or
 * -errno. */
int store_sweep(struct catalog *c, struct err *e);
/* Gives what was freed back to the file system. */
void store_shrink(struct catalog *c);
