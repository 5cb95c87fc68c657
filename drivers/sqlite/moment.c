/*
 * drivers/sqlite/moment.c - fixing the moment: a WAL reader, a private copy of a file without a WAL, or the one writer.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>

#define SQLITE_COPY_PAGES 2048

/* One pass of the copy: 1 done, 0 the source was written meanwhile and SQLite began again. */
static int sqlite_copy_once(struct sqlite_conn *c, bool locked, struct err *e)
{
	sqlite3_backup *backup = sqlite3_backup_init(c->copy, "main", c->db, "main");
	if (!backup)
		return sqlite_err(c, c->copy, e, "copying to a temporary file");
	int left = -1, r = -1;
	unsigned waited_ms = 0;
	while (r < 0) {
		r = sqlite_check(c, e, "copying to a temporary file");
		if (r < 0)
			break;
		r = -1;
		int rc = sqlite3_backup_step(backup, SQLITE_COPY_PAGES);
		int now = sqlite3_backup_remaining(backup);
		if (rc == SQLITE_DONE) {
			r = 1;
		} else if (rc == SQLITE_OK) {
			if (!locked && left >= 0 && now != left - SQLITE_COPY_PAGES)
				r = 0;
			left = now;
		} else if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED) {
			if (waited_ms >= c->timeout_ms) {
				r = err_set(e, EBUSY, "%s: another program holds its lock", c->path);
				break;
			}
			(void)usleep(10000);
			waited_ms += 10;
		} else {
			r = err_set(e, sqlite_errno(c->db, rc), "copying %s to a temporary file: %s", c->path,
				    sqlite3_errstr(rc));
			break;
		}
	}
	(void)sqlite3_backup_finish(backup);
	return r;
}

/* Without a WAL a reader keeps writers from committing for as long as it reads: the rows are read from a private copy
 * (an unnamed temporary database, which SQLite deletes). Writers are only kept waiting when they did not leave a first,
 * unlocked pass alone. */
static int sqlite_copy(struct sqlite_conn *c, struct err *e)
{
	if (sqlite3_open_v2("", &c->copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return c->copy ? sqlite_err(c, c->copy, e, "opening a temporary file")
			       : err_sys(e, ENOMEM, "%s", c->path);
	(void)sqlite3_extended_result_codes(c->copy, 1);
	(void)sqlite3_db_config(c->copy, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	int r = sqlite_copy_once(c, false, e);
	if (!r) {
		r = sqlite_run(c, c->db, "BEGIN; SELECT count(*) FROM sqlite_schema", e, c->path);
		if (r >= 0)
			r = sqlite_copy_once(c, true, e);
		(void)sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
	}
	if (r < 0)
		return r;
	sqlite3_progress_handler(c->copy, 1000, sqlite_progress, c);
	return sqlite_run(c, c->copy, "BEGIN", e, c->path);
}

int sqlite_fix_moment(struct sqlite_conn *c, enum db_access access, struct err *e)
{
	if (access == DB_WRITE) {
		if (sqlite3_db_readonly(c->db, "main"))
			return err_set(e, EACCES, "%s cannot be written by this user", c->path);
		/* The one writer from here on: definitions cannot change, so there is nothing to retry. */
		return sqlite_run(c, c->db, "BEGIN IMMEDIATE", e, "locking the database");
	}
	_cleanup_free_ char *mode = NULL;
	int r = sqlite_ask(c, c->db, "PRAGMA main.journal_mode", &mode, e, c->path);
	if (r < 0)
		return r;
	if (!c->frozen && (!mode || strcmp(mode, "wal") != 0))
		return sqlite_copy(c, e);
	/* BEGIN alone reads nothing: the first read is what fixes the moment. */
	return sqlite_run(c, c->db, "BEGIN; SELECT count(*) FROM sqlite_schema", e, c->path);
}
