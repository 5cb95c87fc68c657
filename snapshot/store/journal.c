/*
 * snapshot/store/journal.c - the record of every job: who asked, what came of it, and how far a restore had got when it
 * ended.
 *
 * Rows of the catalog's table `journal`; any thread. A row without finished_ms is a job that runs or was cut by a
 * crash.
 */
#include "snapshot/store/internal.h"

#include <errno.h>

#include "base/clock.h"

/* They are in catalogs: a word never changes. */
static const char *const op_words[] = {
    [JOURNAL_OP_OTHER] = "?",    [JOURNAL_SNAPSHOT] = "snapshot", [JOURNAL_RESTORE] = "restore",
    [JOURNAL_PLAN] = "plan",     [JOURNAL_PUT] = "put",           [JOURNAL_IMPORT] = "import",
    [JOURNAL_RENAME] = "rename", [JOURNAL_REMOVE] = "remove",     [JOURNAL_PRUNE] = "prune",
    [JOURNAL_HOLD] = "hold",     [JOURNAL_RELEASE] = "release",   [JOURNAL_VERIFY] = "verify",
    [JOURNAL_SETTLE] = "settle",
};
static const char *const state_words[] = {
    [JOURNAL_STATE_OTHER] = "?",       [JOURNAL_RUNNING] = "running",
    [JOURNAL_SAFETY] = "safety",       [JOURNAL_BEGUN] = "begun",
    [JOURNAL_COMMITTED] = "committed", [JOURNAL_DONE] = "done",
    [JOURNAL_DIFFERENT] = "different", [JOURNAL_ROLLED_BACK] = "rolled back",
    [JOURNAL_FAILED] = "failed",       [JOURNAL_INTERRUPTED] = "interrupted",
    [JOURNAL_UNKNOWN] = "unknown",
};
#define OP_WORDS (sizeof op_words / sizeof *op_words)
#define STATE_WORDS (sizeof state_words / sizeof *state_words)

const char *journal_op_word(enum journal_op op)
{
	return op_words[op];
}

static const char *journal_state_word(enum journal_state state)
{
	return state_words[state];
}

/* The place of a word; 0: it is none of these. */
static size_t journal_find(const char *const *words, size_t n, const char *word)
{
	size_t i = n;
	while (--i > 0 && strcmp(words[i], word))
		;
	return i;
}

static void journal_entry_done(struct journal_entry *j)
{
	free(j->op_word);
	free(j->subject);
	free(j->program);
	free(j->state_word);
	free(j->detail);
	*j = (struct journal_entry){0};
}

int journal_add(struct catalog *c, int64_t source_id, enum journal_op op, const char *subject, int64_t uid, int64_t pid,
		const char *program, int64_t *ret_id, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r = store_exec(db, STMT_JOURNAL_INSERT,
			   BINDS(bind_int(source_id), bind_int(clock_ms()), bind_text(journal_op_word(op)),
				 bind_text(subject), bind_int(uid), bind_int(pid), bind_text(program)),
			   "writing the journal", e);
	*ret_id = sqlite3_last_insert_rowid(db->h);
	return store_write_end(c, db, r, e);
}

int journal_done(struct store_db *db, int64_t source_id, enum journal_op op, const char *subject, int64_t uid,
		 int64_t pid, const char *program, const char *detail, struct err *e)
{
	return store_exec(db, STMT_JOURNAL_DONE,
			  BINDS(bind_int(source_id), bind_int(clock_ms()), bind_text(journal_op_word(op)),
				bind_text(subject), bind_int(uid), bind_int(pid), bind_text(program),
				bind_text(detail)),
			  "writing the journal", e);
}

int journal_state(struct catalog *c, int64_t id, enum journal_state state, const char *detail, int64_t safety_id,
		  int64_t target_id, bool finished, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r = store_exec(db, STMT_JOURNAL_STATE,
			   BINDS(bind_int(id), bind_text(journal_state_word(state)), bind_text(detail),
				 bind_id(safety_id), bind_id(target_id), bind_id(finished ? clock_ms() : 0)),
			   "writing the journal", e);
	return store_write_end(c, db, r, e);
}

struct journal_reader {
	int (*each)(void *arg, const struct journal_entry *j);
	void *arg;
};

static int journal_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	const struct journal_reader *reader = arg;
	_cleanup_(journal_entry_done) struct journal_entry j = {
	    .id = sqlite3_column_int64(st, 0),
	    .source_id = sqlite3_column_int64(st, 1),
	    .at_ms = sqlite3_column_int64(st, 2),
	    .op = (enum journal_op)journal_find(op_words, OP_WORDS, (const char *)sqlite3_column_text(st, 3)),
	    .op_word = column_dup(st, 3),
	    .subject = column_dup(st, 4),
	    .uid = sqlite3_column_int64(st, 5),
	    .pid = sqlite3_column_int64(st, 6),
	    .program = column_dup(st, 7),
	    .state =
		(enum journal_state)journal_find(state_words, STATE_WORDS, (const char *)sqlite3_column_text(st, 8)),
	    .state_word = column_dup(st, 8),
	    .finished_ms = sqlite3_column_int64(st, 9),
	    .detail = column_dup(st, 10),
	    .safety_id = sqlite3_column_int64(st, 11),
	    .target_id = sqlite3_column_int64(st, 12),
	};
	return reader->each(reader->arg, &j);
}

int journal_each(struct catalog *c, int64_t source_id, bool unfinished,
		 int (*each)(void *arg, const struct journal_entry *j), void *arg, struct err *e)
{
	struct journal_reader reader = {each, arg};
	int r = store_read(c, unfinished ? STMT_JOURNAL_OPEN : STMT_JOURNAL_LIST, BINDS(bind_int(source_id)),
			   journal_from_row, &reader, "reading the journal", e);
	return r < 0 ? r : 0;
}

static int write_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	int64_t *both = arg;
	both[0] = sqlite3_column_int64(st, 0);
	both[1] = sqlite3_column_int64(st, 1);
	return 0;
}

int journal_last_write(struct catalog *c, int64_t source_id, int64_t *ret_ms, int64_t *ret_id, struct err *e)
{
	int64_t both[2] = {0};
	int r = store_read(c, STMT_JOURNAL_WRITTEN, BINDS(bind_int(source_id)), write_from_row, both,
			   "reading the journal", e);
	*ret_ms = both[0];
	*ret_id = both[1];
	return r < 0 ? r : 0;
}
