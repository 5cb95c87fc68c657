/*
 * snapshot/store/journal.h - the record of every job: who asked, what came of it, and how far a restore had got when
 * it ended.
 */
#pragma once

#include "base/strbuf.h"
#include "snapshot/store/catalog.h"

/* op: "snapshot", "restore", "rename", "remove", "prune" (one that failed), "import", "hold", "release", "put",
 * "verify". state: "running", "safety", "begun", "committed", "done", "failed", "interrupted", "unknown". */
struct journal_entry {
	int64_t id;
	int64_t source_id;
	int64_t at_ms;
	char *op;
	char *subject;
	int64_t uid, pid;
	char *program;
	char *state;
	int64_t finished_ms; /* 0: not */
	char *detail;
	int64_t safety_id, target_id; /* snapshots; 0 none */
};
int journal_add(struct catalog *c, int64_t source_id, const char *op, const char *subject, int64_t uid, int64_t pid,
		const char *program, int64_t *ret_id, struct err *e);
int journal_state(struct catalog *c, int64_t id, const char *state, const char *detail, int64_t safety_id,
		  int64_t target_id, bool finished, struct err *e);
/* each(arg, entry) oldest first, returns 0 or -errno; unfinished: only those without an end. */
int journal_each(struct catalog *c, int64_t source_id, bool unfinished,
		 int (*each)(void *arg, const struct journal_entry *j), void *arg, struct err *e);

/* When the source's database was last written by a restore or a row put in; INT64_MAX while one is under way or its end
 * is not known; 0 never. Older snapshots are not what the database holds now. *ret_id: that entry, which no change of
 * the clock moves. */
int journal_last_write(struct catalog *c, int64_t source_id, int64_t *ret_ms, int64_t *ret_id, struct err *e);
