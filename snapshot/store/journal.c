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

void journal_entry_done(struct journal_entry *j)
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
	int r;
	sqlite3_stmt *st = store_stmt(db, STMT_JOURNAL_INSERT, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, source_id);
		sqlite3_bind_int64(st, 2, clock_ms());
		sqlite3_bind_text(st, 3, op, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 4, subject, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 5, uid);
		sqlite3_bind_int64(st, 6, pid);
		sqlite3_bind_text(st, 7, program, -1, SQLITE_STATIC);
		r = store_run(db, st, "writing the journal", e);
		*ret_id = sqlite3_last_insert_rowid(db->h);
	}
	return store_write_end(c, db, r, e);
}

int journal_done(struct store_db *db, int64_t source_id, const char *op, const char *subject, int64_t uid, int64_t pid,
		 const char *program, const char *detail, struct err *e)
{
	sqlite3_stmt *st = store_stmt(db, STMT_JOURNAL_DONE, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_int64(st, 1, source_id);
	sqlite3_bind_int64(st, 2, clock_ms());
	sqlite3_bind_text(st, 3, op, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 4, subject, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 5, uid);
	sqlite3_bind_int64(st, 6, pid);
	sqlite3_bind_text(st, 7, program, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 8, detail, -1, SQLITE_STATIC);
	return store_run(db, st, "writing the journal", e);
}

int journal_state(struct catalog *c, int64_t id, const char *state, const char *detail, int64_t safety_id,
		  int64_t target_id, bool finished, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r;
	sqlite3_stmt *st = store_stmt(db, STMT_JOURNAL_STATE, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, id);
		sqlite3_bind_text(st, 2, state, -1, SQLITE_STATIC);
		if (detail)
			sqlite3_bind_text(st, 3, detail, -1, SQLITE_STATIC);
		if (safety_id)
			sqlite3_bind_int64(st, 4, safety_id);
		if (target_id)
			sqlite3_bind_int64(st, 5, target_id);
		if (finished)
			sqlite3_bind_int64(st, 6, clock_ms());
		r = store_run(db, st, "writing the journal", e);
	}
	return store_write_end(c, db, r, e);
}

static char *text_of(sqlite3_stmt *st, int i)
{
	return xstrdup((const char *)sqlite3_column_text(st, i));
}

int journal_each(struct catalog *c, int64_t source_id, bool unfinished,
		 int (*each)(void *arg, const struct journal_entry *j), void *arg, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, unfinished ? STMT_JOURNAL_OPEN : STMT_JOURNAL_LIST, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, source_id);
		int step = SQLITE_DONE;
		while (r == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
			struct journal_entry j = {
			    .id = sqlite3_column_int64(st, 0),
			    .source_id = sqlite3_column_int64(st, 1),
			    .at_ms = sqlite3_column_int64(st, 2),
			    .op = text_of(st, 3),
			    .subject = text_of(st, 4),
			    .uid = sqlite3_column_int64(st, 5),
			    .pid = sqlite3_column_int64(st, 6),
			    .program = text_of(st, 7),
			    .state = text_of(st, 8),
			    .finished_ms = sqlite3_column_int64(st, 9),
			    .detail = text_of(st, 10),
			    .safety_id = sqlite3_column_int64(st, 11),
			    .target_id = sqlite3_column_int64(st, 12),
			};
			r = each(arg, &j);
			journal_entry_done(&j);
		}
		if (r == 0 && step != SQLITE_DONE)
			r = store_error(db, "reading the journal", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int journal_last_write(struct catalog *c, int64_t source_id, int64_t *ret_ms, int64_t *ret_id, struct err *e)
{
	*ret_ms = *ret_id = 0;
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_JOURNAL_WRITTEN, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, source_id);
		if (sqlite3_step(st) == SQLITE_ROW) {
			*ret_ms = sqlite3_column_int64(st, 0);
			*ret_id = sqlite3_column_int64(st, 1);
		} else {
			r = store_error(db, "reading the journal", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}
