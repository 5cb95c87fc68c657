/*
 * snapshot/store/journal.h - the record of every job: who asked, what came of it, and how far a restore had got when
 * it ended.
 */
#pragma once

#include <stdbool.h>

#include "base/strbuf.h"
#include "snapshot/store/catalog.h"

enum journal_op {
	JOURNAL_OP_OTHER, /* a word that another program wrote */
	JOURNAL_SNAPSHOT,
	JOURNAL_RESTORE,
	JOURNAL_PLAN, /* a restore that only looks */
	JOURNAL_PUT,
	JOURNAL_IMPORT,
	JOURNAL_RENAME,
	JOURNAL_REMOVE,
	JOURNAL_PRUNE, /* one that failed */
	JOURNAL_HOLD,
	JOURNAL_RELEASE,
	JOURNAL_VERIFY,
	JOURNAL_SETTLE,
};
enum journal_state {
	JOURNAL_STATE_OTHER, /* likewise */
	JOURNAL_RUNNING,
	JOURNAL_SAFETY, /* the database as it was is kept */
	JOURNAL_BEGUN,  /* from here on it may have been changed */
	JOURNAL_COMMITTED,
	JOURNAL_DONE,
	JOURNAL_DIFFERENT, /* a comparison's */
	JOURNAL_ROLLED_BACK,
	JOURNAL_FAILED,
	JOURNAL_INTERRUPTED,
	JOURNAL_UNKNOWN, /* what became of the database cannot be told */
};
/* As the journal has it, in the catalog and in journal.txt. */
const char *journal_op_word(enum journal_op op);

struct journal_entry {
	int64_t id;
	int64_t source_id;
	int64_t at_ms;
	enum journal_op op;
	char *op_word; /* as it is written */
	char *subject;
	int64_t uid, pid;
	char *program;
	enum journal_state state;
	char *state_word;
	int64_t finished_ms; /* 0: not */
	char *detail;
	int64_t safety_id, target_id; /* snapshots; 0 none */
};
int journal_add(struct catalog *c, int64_t source_id, enum journal_op op, const char *subject, int64_t uid, int64_t pid,
		const char *program, int64_t *ret_id, struct err *e);
int journal_state(struct catalog *c, int64_t id, enum journal_state state, const char *detail, int64_t safety_id,
		  int64_t target_id, bool finished, struct err *e);
/* each(arg, entry) oldest first, returns 0 or -errno; unfinished: only those without an end. */
int journal_each(struct catalog *c, int64_t source_id, bool unfinished,
		 int (*each)(void *arg, const struct journal_entry *j), void *arg, struct err *e);

/* When the source's database was last written by a restore or a row put in; INT64_MAX while one is under way or its end
 * is not known; 0 never. Older snapshots are not what the database holds now. *ret_id: that entry, which no change of
 * the clock moves. */
int journal_last_write(struct catalog *c, int64_t source_id, int64_t *ret_ms, int64_t *ret_id, struct err *e);
