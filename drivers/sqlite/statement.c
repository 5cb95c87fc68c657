/*
 * drivers/sqlite/statement.c - errors, statements, and SQL text of the SQLite driver. Any connection's thread; no state of its own.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>

int sqlite_errno(sqlite3 *db, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return EBUSY;
	case SQLITE_INTERRUPT:
		return EINTR;
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return EACCES;
	case SQLITE_CANTOPEN:
		return db && sqlite3_system_errno(db) == EACCES ? EACCES : EIO;
	case SQLITE_CONSTRAINT:
		return EEXIST;
	case SQLITE_NOTADB:
		return EINVAL;
	case SQLITE_SCHEMA:
		return EAGAIN;
	default:
		return EIO;
	}
}

int sqlite_err(const struct sqlite_conn *c, sqlite3 *db, struct err *e, const char *what)
{
	int rc = sqlite3_extended_errcode(db);
	if ((rc & 0xff) == SQLITE_INTERRUPT || ((rc & 0xff) == SQLITE_BUSY && atomic_load(&c->cancelled)))
		return err_set(e, EINTR, "%s: cancelled", what);
	if ((rc & 0xff) == SQLITE_BUSY)
		return err_set(e, EBUSY, "%s: another program holds the lock of %s", what, c->path);
	if ((rc & 0xff) == SQLITE_READONLY)
		return err_set(e, EACCES, "%s: %s cannot be written by this user", what, c->path);
	if ((rc & 0xff) == SQLITE_NOTADB)
		return err_set(e, EINVAL, "%s: %s is not an SQLite database", what, c->path);
	return err_set(e, sqlite_errno(db, rc), "%s: %s", what, sqlite3_errmsg(db));
}

int sqlite_check(const struct sqlite_conn *c, struct err *e, const char *what)
{
	if (atomic_load(&c->cancelled))
		return err_set(e, EINTR, "%s: cancelled", what);
	return 0;
}

int sqlite_check_writing(const struct sqlite_conn *c, struct err *e, const char *what)
{
	int r = sqlite_check(c, e, what);
	if (r < 0)
		return r;
	if (!c->in_transaction || !c->writing)
		return err_set(e, EINVAL, "%s: no transaction for writing is open", what);
	if (sqlite3_get_autocommit(c->db))
		return err_set(e, EIO, "%s: SQLite has rolled the transaction back after an error", what);
	return 0;
}

int sqlite_prepare(const struct sqlite_conn *c, sqlite3 *db, sqlite3_stmt **ret, const char *sql, struct err *e,
		   const char *what)
{
	if (sqlite3_prepare_v2(db, sql, -1, ret, NULL) != SQLITE_OK)
		return sqlite_err(c, db, e, what);
	return 0;
}

int sqlite_run(const struct sqlite_conn *c, sqlite3 *db, const char *sql, struct err *e, const char *what)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_err(c, db, e, what);
	return 0;
}

int sqlite_step(const struct sqlite_conn *c, sqlite3_stmt *stmt, struct err *e, const char *what)
{
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : sqlite_err(c, sqlite3_db_handle(stmt), e, what);
}

const char *sqlite_text(sqlite3_stmt *stmt, int i)
{
	const char *s = (const char *)sqlite3_column_text(stmt, i);
	return s ? s : "";
}

int sqlite_ask(const struct sqlite_conn *c, sqlite3 *db, const char *sql, char **ret, struct err *e, const char *what)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	*ret = NULL;
	int r = sqlite_prepare(c, db, &stmt, sql, e, what);
	if (r >= 0)
		r = sqlite_step(c, stmt, e, what);
	if (r > 0)
		*ret = xstrdup((const char *)sqlite3_column_text(stmt, 0));
	return r < 0 ? r : 0;
}

void sqlite_quote_column(struct strbuf *sql, const struct db_table *t, size_t column)
{
	sqlite_quote(sql, t->name);
	strbuf_addch(sql, '.');
	sqlite_quote(sql, t->columns[column].name);
}

int sqlite_step_write(struct sqlite_conn *c, sqlite3_stmt *stmt, struct err *e, const char *table)
{
	int r = sqlite_step(c, stmt, e, table);
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
	return r;
}
