/*
 * snapshot/stream/diff.h - two snapshots read against each other, row by row. Any thread.
 */
#pragma once

#include "snapshot/stream/changes.h"

struct diff_sink {
	void *arg;
	/* kind: 'A' added, 'R' removed, 'C' changed (before and after given). Returns 0 to go on. */
	int (*row)(void *arg, const char *table, char kind, const struct stored_row *before,
		   const struct stored_row *after);
	/* A table that only one side has: kind 'A' or 'R'; its rows follow by `row`. May be NULL. */
	int (*table)(void *arg, const char *table, char kind);
};
int diff_snapshots(struct catalog *c, int64_t snapshot_a, int64_t snapshot_b, const struct diff_sink *sink,
		   struct err *e);
