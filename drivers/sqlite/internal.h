/*
 * drivers/sqlite/internal.h - what the files of the SQLite driver share; nobody else includes it.
 *
 * A connection is used by one thread at a time and is opened without SQLite's mutexes; only sqlite_cancel comes from
 * other threads, and it touches nothing but an atomic flag that the progress and busy handlers look at. A cancelled
 * connection stays cancelled: every later call but rollback and close fails with EINTR, so that a cancel that arrives
 * between two calls is not lost. A connection must never cross fork() (sqlite.org/howtocorrupt.html, 2.6).
 */
#pragma once

#include <locale.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "drivers/driver.h"
#include "drivers/sqlite/ddl.h"

#define SQLITE_NUMBER_TEXT 40 /* a double's 17 digits, sign, point and exponent; an int64 */

struct sqlite_conn {
	struct db_conn_head head;
	sqlite3 *db;   /* the file */
	sqlite3 *copy; /* of a file that is not in WAL mode, while a DB_READ transaction is open */
	char *path;
	char **exclude; /* the globs of db_params */
	unsigned timeout_ms;
	pid_t pid;
	locale_t c_locale; /* a double's text has a '.' whatever the program's locale says */
	atomic_bool cancelled;
	bool frozen;         /* on a read-only file system, opened as immutable */
	bool in_transaction; /* begin succeeded; commit or rollback has not come */
	bool writing;

	sqlite3_stmt *scan;
	const char *scan_table;
	struct db_value *scan_values;
	char (*scan_text)[SQLITE_NUMBER_TEXT];
	int scan_columns;

	sqlite3_stmt *load;
	const struct db_table *load_table;
	sqlite3_stmt *delete;

	char **later; /* rebuild: the statements that come after the rows */
	size_t n_later;
	struct strbuf unheld;      /* rows that do not hold a CHECK constraint: lines on tables, but for the last one */
	char *unheld_words;        /* of the last one: what SQLite says; NULL: none */
	const char *unheld_table;  /* its name */
	unsigned long unheld_rows; /* so many */
	char **checked;            /* tables whose foreign keys are to be validated, NULL-terminated */
	char **changed;            /* tables whose rows were changed, NULL-terminated, until that is told */
	bool partial;              /* some tables come back beside today's others */
};

static inline void sqlite_finalize(sqlite3_stmt **stmt)
{
	(void)sqlite3_finalize(*stmt);
	*stmt = NULL;
}

#define _cleanup_stmt_ _cleanup_(sqlite_finalize)

static inline struct sqlite_conn *sqlite_of(struct db_conn *c)
{
	return (struct sqlite_conn *)c;
}

/* Where the rows of the open transaction are read. */
static inline sqlite3 *sqlite_reader(const struct sqlite_conn *c)
{
	return c->copy ? c->copy : c->db;
}

/* ---- statement.c ---- */

int sqlite_errno(sqlite3 *db, int rc);
/* The error of the last call on db. */
int sqlite_err(const struct sqlite_conn *c, sqlite3 *db, struct err *e, const char *what);
int sqlite_check(const struct sqlite_conn *c, struct err *e, const char *what);
/* SQLite ends the transaction by itself after SQLITE_FULL, SQLITE_IOERR and others: then every further statement would
 * commit for itself, on a half-changed database. */
int sqlite_check_writing(const struct sqlite_conn *c, struct err *e, const char *what);
int sqlite_prepare(const struct sqlite_conn *c, sqlite3 *db, sqlite3_stmt **ret, const char *sql, struct err *e,
		   const char *what);
int sqlite_run(const struct sqlite_conn *c, sqlite3 *db, const char *sql, struct err *e, const char *what);
/* 1: a row; 0: the end */
int sqlite_step(const struct sqlite_conn *c, sqlite3_stmt *stmt, struct err *e, const char *what);
const char *sqlite_text(sqlite3_stmt *stmt, int i);
/* The first value of the first row as text; NULL in *ret when there is no row or the value is NULL. */
int sqlite_ask(const struct sqlite_conn *c, sqlite3 *db, const char *sql, char **ret, struct err *e, const char *what);
/* "table"."column": a bare "column" would turn into a string if SQLite knew no such column. */
void sqlite_quote_column(struct strbuf *sql, const struct db_table *t, size_t column);
int sqlite_step_write(struct sqlite_conn *c, sqlite3_stmt *stmt, struct err *e, const char *table);

/* ---- connection.c ---- */

int sqlite_progress(void *arg);
bool sqlite_excluded(const struct sqlite_conn *c, const char *table);
void sqlite_free_list(char ***list);
void sqlite_end_statements(struct sqlite_conn *c);
void sqlite_end(struct sqlite_conn *c);
void sqlite_rollback(struct db_conn *conn);
void sqlite_close(struct db_conn *conn);
void sqlite_cancel(struct db_conn *conn);
/* The caller sets head.driver. */
int sqlite_connect(struct sqlite_conn **ret, const struct db_params *p, struct err *e);

/* ---- describe.c ---- */

int sqlite_describe_into(struct sqlite_conn *c, struct db_schema *s, struct err *e);
int sqlite_schema_sql(struct db_conn *conn, const struct db_schema *s, struct strbuf *out, struct err *e);
int sqlite_has_sequences(struct sqlite_conn *c, bool *ret, struct err *e);
int sqlite_finish(struct db_conn *conn, struct db_schema *s, struct err *e);

/* ---- virtual.c ---- */

/* The virtual tables of db, NULL-terminated; frees what *ret held. */
int sqlite_virtual_names(struct sqlite_conn *c, sqlite3 *db, char ***ret, struct err *e);
/* Whether a table of this type (of pragma_table_list; NULL: any) is excluded; a shadow is as its virtual table is. */
bool sqlite_left_out(const struct sqlite_conn *c, char *const *virtual_names, const char *table, const char *type);
/* Takes away the definitions that are to go or to be made anew; their shadows stay. */
int sqlite_drop_virtual(struct sqlite_conn *c, const struct db_objects *o, struct err *e);
/* Adds a definition, and nothing else. */
int sqlite_add_virtual(struct sqlite_conn *c, const char *sql, struct err *e);
/* Other connections read the schema anew after the commit. */
int sqlite_schema_changed(struct sqlite_conn *c, struct err *e);
/* ---- beside.c ---- */

/* Lines on what the changed tables feed and what did not come back with them; once. */
int sqlite_refresh(struct db_conn *conn, struct strbuf *warnings, struct err *e);
/* Lines on triggers and views that name what is not there. */
int sqlite_say_broken(struct sqlite_conn *c, struct strbuf *out, struct err *e);

/* ---- moment.c ---- */

int sqlite_fix_moment(struct sqlite_conn *c, enum db_access access, struct err *e);

/* ---- scan.c ---- */

int sqlite_scan_open(struct db_conn *conn, const struct db_table *t, enum db_scan how, struct err *e);
int sqlite_scan_next(struct db_conn *conn, const struct db_value **ret, struct err *e);
int sqlite_scan_close(struct db_conn *conn, struct err *e);

/* ---- change.c ---- */

/* Adds to what is remembered already. */
void sqlite_remember_checked(struct sqlite_conn *c, const struct db_schema *s);
int sqlite_check_foreign_keys(struct sqlite_conn *c, struct strbuf *orphans, struct err *e);
int sqlite_change_begin(struct db_conn *conn, const struct db_schema *s, struct err *e);
int sqlite_change_end(struct db_conn *conn, struct strbuf *orphans, struct strbuf *outside, struct err *e);
int sqlite_delete_keys(struct db_conn *conn, const struct db_table *t, const struct db_value *keys, size_t n_rows,
		       struct err *e);
int sqlite_delete_all(struct db_conn *conn, const struct db_table *t, struct err *e);
int sqlite_load_begin(struct db_conn *conn, const struct db_table *t, struct err *e);
int sqlite_load_row(struct db_conn *conn, const struct db_value *values, struct err *e);
int sqlite_load_end(struct db_conn *conn, bool ok, struct err *e);
int sqlite_set_sequences(struct db_conn *conn, const struct db_schema *s, struct err *e);

/* ---- objects.c ---- */

struct sqlite_object {
	char *sql; /* without its semicolon */
	struct sqlite_ddl_object is;
	bool later; /* comes after the rows */
};
struct sqlite_objects {
	struct sqlite_object *v; /* in the order of the text */
	size_t n;
};
/* ENOTSUP: a statement that is none of a schema text. */
int sqlite_objects_parse(const char *sql, struct sqlite_objects *ret, struct err *e);
void sqlite_objects_done(struct sqlite_objects *o);
/* What is to be done about the object; NULL: nothing. */
const struct db_object *sqlite_deed_of(const struct db_objects *o, const struct sqlite_ddl_object *is);
int sqlite_compare(struct db_conn *conn, const struct db_definitions *live, const struct db_definitions *want,
		   const bool *touched, struct db_objects *ret, struct err *e);

/* Rows were put in that do not hold a CHECK constraint: lines in `orphans`, or EEXIST where that is NULL. */
int sqlite_tell_unheld(struct sqlite_conn *c, struct strbuf *orphans, struct err *e);

/* ---- rebuild.c ---- */

int sqlite_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, const struct db_objects *o,
			 struct strbuf *warnings, struct err *e);
int sqlite_rebuild_end(struct db_conn *conn, struct strbuf *warnings, struct strbuf *outside, struct err *e);

/* ---- examine.c ---- */

/* There are no accounts, and no memory for sorting that the operator sets. */
int sqlite_examine(struct db_conn *conn, const struct db_schema *s, const char *measured, struct db_examination *ret,
		   struct err *e);
