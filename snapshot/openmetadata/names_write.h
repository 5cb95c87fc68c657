/*
 * snapshot/openmetadata/names_write.h - the index of a snapshot, made of that of the one before and what changed.
 *
 * One names_update for each snapshot that is written: tables are watched by any threads, the rest is done by the one
 * that commits the snapshot.
 */
#pragma once

#include "snapshot/openmetadata/names_row.h"
#include "snapshot/store/snapshot_write.h"

/* What is written next to the tables of one snapshot. */
struct names_update;
struct names_update *names_update_new(struct catalog *c, struct snapshot_writer *w);
void names_update_free(struct names_update *u);
DEFINE_CLEANUP(cleanup_names_update, struct names_update, names_update_free);
/* Sees the rows of a table that v is going to write; one that is written again counts as it is written last. */
int names_update_watch(struct names_update *u, struct version_writer *v, struct err *e);
/* When all tables are written, before the commit: the index from that of snapshot base_id (0: none), whose tables
 * were the base of these. None is written where that is missing or damaged: who needs it makes it anew
 * (names_build.h); nor where it cannot be (a full temporary folder): *ret_lost has the words then, and code 0 else. */
void names_update_write(struct names_update *u, int64_t base_id, struct err *ret_lost);

/* The same of changes in hand. */
struct names_table {
	const char *table;
	struct names_changes *changes; /* NULL: none */
	bool whole;                    /* changes tell all of its rows; what the base has of it goes */
};
enum names_written { NAMES_WRITTEN, NAMES_NO_BASE /* nothing was: the base's index is missing or damaged */ };
/* Gives the snapshot of `w` the index of base_id (0: none) with the changes. base_id's tables that are not among `t`
 * have gone. An enum names_written or -errno. */
int names_write(struct catalog *c, struct snapshot_writer *w, int64_t base_id, const struct names_table *t, size_t n,
		struct err *e);
