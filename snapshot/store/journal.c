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

static void journal_entry_done(struct journal_entry *j)
{
	free(j->op);
	free(j->subject);
	free(j->program);
	free(j->state);
	free(j->detail);
	*j = (struct journal_entry){0};
}

int journal_add(struct catalog *c, int64_t source_id, const char *op, const char *subject, int64_t uid, int64_t pid,
		const char *program, int64_t *ret_id, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r = store_exec(db, STMT_JOURNAL_INSERT,
			   BINDS(bind_int(source_id), bind_int(clock_ms()), bind_text(op), bind_text(subject),
				 bind_int(uid), bind_int(pid), bind_text(program)),
			   "writing the journal", e);
	*ret_id = sqlite3_last_insert_rowid(db->h);
	return store_write_end(c, db, r, e);
}

int journal_done(struct store_db *db, int64_t source_id, const char *op, const char *subject, int64_t uid, int64_t pid,
		 const char *program, const char *detail, struct err *e)
{
	return store_exec(db, STMT_JOURNAL_DONE,
			  BINDS(bind_int(source_id), bind_int(clock_ms()), bind_text(op), bind_text(subject),
				bind_int(uid), bind_int(pid), bind_text(program), bind_text(detail)),
			  "writing the journal", e);
}

int journal_state(struct catalog *c, int64_t id, const char *state, const char *detail, int64_t safety_id,
		  int64_t target_id, bool finished, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r = store_exec(db, STMT_JOURNAL_STATE,
			   BINDS(bind_int(id), bind_text(state), bind_text(detail), bind_id(safety_id),
				 bind_id(target_id), bind_id(finished ? clock_ms() : 0)),
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
	    .op = column_dup(st, 3),
	    .subject = column_dup(st, 4),
	    .uid = sqlite3_column_int64(st, 5),
	    .pid = sqlite3_column_int64(st, 6),
	    .program = column_dup(st, 7),
	    .state = column_dup(st, 8),
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
