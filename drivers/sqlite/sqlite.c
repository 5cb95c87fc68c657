/*
 * drivers/sqlite/sqlite.c - SQLite files as sources and targets (SQLite 3.37 or newer: STRICT tables, pragma table_list).
 *
 * A connection is used by one thread at a time and is opened without SQLite's mutexes; only sqlite_cancel comes from
 * other threads, and it touches nothing but an atomic flag that the progress and busy handlers look at. A cancelled
 * connection stays cancelled: every later call but rollback and close fails with EINTR, so that a cancel that arrives
 * between two calls is not lost. A connection must never cross fork() (sqlite.org/howtocorrupt.html, 2.6).
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "drivers/driver.h"
#include "drivers/sqlite/ddl.h"

#define SQLITE_COPY_PAGES 2048
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
	char **checked; /* tables whose foreign keys are to be validated, NULL-terminated */
};

static void sqlite_finalize(sqlite3_stmt **stmt)
{
	(void)sqlite3_finalize(*stmt);
	*stmt = NULL;
}

#define _cleanup_stmt_ _cleanup_(sqlite_finalize)

static struct sqlite_conn *sqlite_of(struct db_conn *c)
{
	return (struct sqlite_conn *)c;
}

/* Where the rows of the open transaction are read. */
static sqlite3 *sqlite_reader(const struct sqlite_conn *c)
{
	return c->copy ? c->copy : c->db;
}

/* ---- errors ---- */

static int sqlite_errno(sqlite3 *db, int rc)
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

/* The error of the last call on db. */
static int sqlite_err(const struct sqlite_conn *c, sqlite3 *db, struct err *e, const char *what)
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

static int sqlite_check(const struct sqlite_conn *c, struct err *e, const char *what)
{
	if (atomic_load(&c->cancelled))
		return err_set(e, EINTR, "%s: cancelled", what);
	return 0;
}

/* SQLite ends the transaction by itself after SQLITE_FULL, SQLITE_IOERR and others: then every further statement would
 * commit for itself, on a half-changed database. */
static int sqlite_check_writing(const struct sqlite_conn *c, struct err *e, const char *what)
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

/* ---- statements ---- */

static int sqlite_progress(void *arg)
{
	const struct sqlite_conn *c = arg;
	return atomic_load(&c->cancelled);
}

/* Like sqlite3_busy_timeout, which would not look at the flag. */
static int sqlite_busy(void *arg, int n)
{
	const struct sqlite_conn *c = arg;
	if (atomic_load(&c->cancelled) || (unsigned)n >= c->timeout_ms / 10)
		return 0;
	(void)usleep(10000);
	return 1;
}

static int sqlite_prepare(const struct sqlite_conn *c, sqlite3 *db, sqlite3_stmt **ret, const char *sql, struct err *e,
			  const char *what)
{
	if (sqlite3_prepare_v2(db, sql, -1, ret, NULL) != SQLITE_OK)
		return sqlite_err(c, db, e, what);
	return 0;
}

static int sqlite_run(const struct sqlite_conn *c, sqlite3 *db, const char *sql, struct err *e, const char *what)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_err(c, db, e, what);
	return 0;
}

/* 1: a row; 0: the end */
static int sqlite_step(const struct sqlite_conn *c, sqlite3_stmt *stmt, struct err *e, const char *what)
{
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : sqlite_err(c, sqlite3_db_handle(stmt), e, what);
}

static const char *sqlite_text(sqlite3_stmt *stmt, int i)
{
	const char *s = (const char *)sqlite3_column_text(stmt, i);
	return s ? s : "";
}

/* The first value of the first row as text; NULL in *ret when there is no row or the value is NULL. */
static int sqlite_ask(const struct sqlite_conn *c, sqlite3 *db, const char *sql, char **ret, struct err *e,
		      const char *what)
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

/* "table"."column": a bare "column" would turn into a string if SQLite knew no such column. */
static void sqlite_quote_column(struct strbuf *sql, const struct db_table *t, size_t column)
{
	sqlite_quote(sql, t->name);
	strbuf_addch(sql, '.');
	sqlite_quote(sql, t->columns[column].name);
}

static bool sqlite_excluded(const struct sqlite_conn *c, const char *table)
{
	const struct db_params p = {.exclude = c->exclude};
	return db_params_excludes(&p, table);
}

static void sqlite_free_list(char ***list)
{
	for (size_t i = 0; *list && (*list)[i]; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
}

/* ---- open and close ---- */

static void sqlite_end_statements(struct sqlite_conn *c)
{
	sqlite_finalize(&c->scan);
	sqlite_finalize(&c->load);
	sqlite_finalize(&c->delete);
	free(c->scan_values);
	free(c->scan_text);
	c->scan_values = NULL;
	c->scan_text = NULL;
	c->load_table = NULL;
}

static void sqlite_end(struct sqlite_conn *c)
{
	sqlite_end_statements(c);
	sqlite_free_list(&c->later);
	c->n_later = 0;
	sqlite_free_list(&c->checked);
	(void)sqlite3_close(c->copy);
	c->copy = NULL;
	c->in_transaction = c->writing = false;
}

static void sqlite_rollback(struct db_conn *conn)
{
	struct sqlite_conn *c = sqlite_of(conn);
	sqlite_end(c);
	if (sqlite3_get_autocommit(c->db))
		return;
	/* Must not be stopped by the cancel that it follows. */
	sqlite3_progress_handler(c->db, 0, NULL, NULL);
	(void)sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_progress_handler(c->db, 1000, sqlite_progress, c);
}

static void sqlite_close(struct db_conn *conn)
{
	if (!conn)
		return;
	struct sqlite_conn *c = sqlite_of(conn);
	if (c->db) {
		sqlite_rollback(conn);
		(void)sqlite3_close(c->db);
	}
	sqlite_free_list(&c->exclude);
	if (c->c_locale)
		freelocale(c->c_locale);
	free(c->path);
	free(c);
}

static void sqlite_cancel(struct db_conn *conn)
{
	atomic_store(&sqlite_of(conn)->cancelled, true);
}

static int sqlite_set_up(struct sqlite_conn *c, struct err *e)
{
	int on = -1;
	(void)sqlite3_extended_result_codes(c->db, 1);
	sqlite3_progress_handler(c->db, 1000, sqlite_progress, c);
	(void)sqlite3_busy_handler(c->db, sqlite_busy, c);
	/* Triggers never act on our changes: rows come back as they were. The switch is the connection's, so the schema
	 * (and the order of its rows) is not touched, as dropping and creating them would. */
	if (sqlite3_db_config(c->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, &on) != SQLITE_OK || on)
		return err_set(e, ENOTSUP, "this SQLite library cannot turn triggers off");
	/* foreign_keys can only be set outside of a transaction; sqlite_check_foreign_keys validates. trusted_schema
	 * stays on: SQLite 3.40 takes a generated column with ->> for unsafe and then refuses the whole file. */
	int r = sqlite_run(c, c->db, "PRAGMA foreign_keys=OFF; PRAGMA synchronous=FULL", e, c->path);
	_cleanup_free_ char *encoding = NULL;
	if (r >= 0)
		r = sqlite_ask(c, c->db, "SELECT count(*) FROM sqlite_schema", &encoding, e, c->path);
	if (r < 0)
		return r;
	free(TAKE_PTR(encoding));
	r = sqlite_ask(c, c->db, "PRAGMA encoding", &encoding, e, c->path);
	if (r < 0)
		return r;
	/* Text that is not valid UTF-16 would not come back from UTF-8 as it was. */
	if (!encoding || strcmp(encoding, "UTF-8"))
		return err_set(e, ENOTSUP, "%s is stored as %s: only UTF-8 databases are kept", c->path,
			       encoding ? encoding : "?");
	return 0;
}

/* A file in WAL mode needs its -shm made anew, which a read-only file system does not allow. Without anything in a
 * -wal the file is all there is, and it cannot change under us. */
static bool sqlite_is_frozen(const char *path)
{
	struct stat st;
	struct statvfs vfs;
	_cleanup_free_ char *wal = xasprintf("%s-wal", path);
	return !statvfs(path, &vfs) && (vfs.f_flag & ST_RDONLY) && (stat(wal, &st) < 0 ? errno == ENOENT : !st.st_size);
}

static int sqlite_open_frozen(struct sqlite_conn *c, struct err *e)
{
	_cleanup_strbuf_ struct strbuf uri = {0};
	strbuf_adds(&uri, "file:");
	for (const char *s = c->path; *s; s++)
		strbuf_addf(&uri, strchr("%?#", *s) ? "%%%02X" : "%c", (unsigned char)*s);
	strbuf_adds(&uri, "?immutable=1");
	(void)sqlite3_close(c->db);
	c->db = NULL;
	if (sqlite3_open_v2(uri.data, &c->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return c->db ? sqlite_err(c, c->db, e, c->path) : err_sys(e, ENOMEM, "%s", c->path);
	c->frozen = true;
	return sqlite_set_up(c, e);
}

static int sqlite_open_file(struct sqlite_conn *c, const struct db_params *p, struct err *e)
{
	struct stat st;
	if (!p->database)
		return err_set(e, EINVAL, "no SQLite file is named");
	if (stat(p->database, &st) < 0)
		return err_sys(e, errno, "SQLite database %s", p->database);
	if (S_ISDIR(st.st_mode))
		return err_set(e, EISDIR, "SQLite database %s is a directory", p->database);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "SQLite database %s is not a regular file", p->database);
	/* An absolute path: never taken for ":memory:" or a file: URI, and good after a chdir of the daemon. */
	c->path = realpath(p->database, NULL);
	if (!c->path)
		return err_sys(e, errno, "SQLite database %s", p->database);
	/* Without SQLITE_OPEN_CREATE; SQLite itself falls back to reading where the file cannot be written. */
	if (sqlite3_open_v2(c->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return c->db ? sqlite_err(c, c->db, e, c->path) : err_sys(e, ENOMEM, "%s", c->path);
	int r = sqlite_set_up(c, e);
	if (r < 0 && (sqlite3_errcode(c->db) & 0xff) == SQLITE_CANTOPEN && sqlite_is_frozen(c->path))
		r = sqlite_open_frozen(c, e);
	return r;
}

static int sqlite_open(struct db_conn **ret, const struct db_params *p, struct err *e)
{
	size_t n = 0;
	*ret = NULL;
	if (sqlite3_libversion_number() < 3037000)
		return err_set(e, ENOTSUP, "SQLite %s is too old: 3.37 is needed", sqlite3_libversion());
	struct sqlite_conn *c = xcalloc(1, sizeof *c);
	c->head.driver = &db_driver_sqlite;
	c->timeout_ms = p->connect_timeout_ms ? p->connect_timeout_ms : 5000;
	c->pid = getpid();
	c->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	while (p->exclude && p->exclude[n])
		n++;
	c->exclude = xcalloc(n + 1, sizeof *c->exclude);
	for (size_t i = 0; i < n; i++)
		c->exclude[i] = xstrdup(p->exclude[i]);
	int r = sqlite_open_file(c, p, e);
	if (r < 0) {
		sqlite_close((struct db_conn *)c);
		return r;
	}
	*ret = (struct db_conn *)c;
	return 0;
}

/* ---- description ---- */

static bool sqlite_type_has(const char *type, const char *word)
{
	return strcasestr(type, word) != NULL;
}

/* The affinity rules in their order (sqlite.org/datatype3.html, 3.1), after JSON, which has no affinity of its own. */
static void sqlite_set_form(struct db_column *c)
{
	const char *type = c->type;
	if (sqlite_type_has(type, "JSON")) {
		c->form = DB_FORM_JSON_TEXT;
	} else if (sqlite_type_has(type, "INT")) {
		c->form = DB_FORM_NUMBER;
		c->integer = true;
	} else if (sqlite_type_has(type, "CHAR") || sqlite_type_has(type, "CLOB") || sqlite_type_has(type, "TEXT")) {
		c->form = DB_FORM_TEXT;
	} else if (sqlite_type_has(type, "BLOB")) {
		c->form = DB_FORM_BINARY;
	} else if (!*type || !strcasecmp(type, "ANY")) {
		c->form = DB_FORM_TEXT;
	} else {
		c->form = DB_FORM_NUMBER; /* REAL and NUMERIC, BOOLEAN among them */
	}
}

/* The derivation names the document as the expression spells it: make it the column's name, or drop it. */
static void sqlite_fix_derivations(struct db_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		struct db_column *c = &t->columns[i];
		const struct db_column *document = NULL;
		for (size_t j = 0; c->document && j < t->n_columns && !document; j++)
			if (!strcasecmp(t->columns[j].name, c->document) && !t->columns[j].generated &&
			    t->columns[j].form == DB_FORM_JSON_TEXT)
				document = &t->columns[j];
		free(c->document);
		c->document = document ? xstrdup(document->name) : NULL;
		if (!document) {
			free(c->member);
			c->member = NULL;
		}
	}
}

static int sqlite_describe_columns(struct sqlite_conn *c, struct db_table *t, const char *sql, struct db_index *rowid,
				   struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	size_t rowid_column = 0, n_primary = 0;
	int r = sqlite_prepare(
	    c, sqlite_reader(c), &stmt,
	    "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid", e, t->name);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, t->name)) > 0) {
		t->columns = xrealloc(t->columns, (t->n_columns + 1) * sizeof *t->columns);
		struct db_column *column = &t->columns[t->n_columns];
		*column =
		    (struct db_column){.name = xstrdup(sqlite_text(stmt, 0)), .type = xstrdup(sqlite_text(stmt, 1))};
		column->nullable = !sqlite3_column_int(stmt, 2);
		column->generated = sqlite3_column_int(stmt, 4) >= 2;
		sqlite_set_form(column);
		if (column->generated) {
			_cleanup_free_ char *expression = sqlite_ddl_generated(sql, column->name);
			db_column_derive(column, expression);
		}
		if (sqlite3_column_int(stmt, 3)) {
			rowid_column = t->n_columns;
			n_primary++;
		}
		t->n_columns++;
	}
	if (r < 0)
		return r;
	sqlite_fix_derivations(t);
	/* Offered as an index when no index of origin "pk" turns up: then the column is the rowid itself. */
	if (n_primary == 1) {
		rowid->columns = xmalloc(sizeof *rowid->columns);
		rowid->columns[0] = rowid_column;
		rowid->n_columns = 1;
	}
	return 0;
}

/* Appends an index without columns; the list grows by reallocation. */
static struct db_index *sqlite_add_index(struct db_index **list, size_t *n, const char *name, bool primary, bool unique)
{
	*list = xrealloc(*list, (*n + 1) * sizeof **list);
	(*list)[*n] = (struct db_index){.name = xstrdup(name), .primary = primary, .unique = unique};
	return &(*list)[(*n)++];
}

/* False in *ret_usable for an index over expressions or the rowid. */
static int sqlite_describe_index(struct sqlite_conn *c, struct db_index *index, bool *ret_usable, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r =
	    sqlite_prepare(c, sqlite_reader(c), &stmt,
			   "SELECT cid FROM pragma_index_xinfo(?1, 'main') WHERE key ORDER BY seqno", e, index->name);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, index->name, -1, SQLITE_STATIC);
	*ret_usable = true;
	while ((r = sqlite_step(c, stmt, e, index->name)) > 0) {
		int column = sqlite3_column_int(stmt, 0);
		if (column < 0) {
			*ret_usable = false;
			return 0;
		}
		index->columns = xrealloc(index->columns, (index->n_columns + 1) * sizeof *index->columns);
		index->columns[index->n_columns++] = (size_t)column; /* cid: the position in table_xinfo */
	}
	return r;
}

static int sqlite_describe_indexes(struct sqlite_conn *c, const struct db_table *t, struct db_index **list, size_t *n,
				   bool *ret_primary, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(c, sqlite_reader(c), &stmt,
			       "SELECT name, \"unique\", origin FROM pragma_index_list(?1, 'main') WHERE NOT partial",
			       e, t->name);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, t->name)) > 0) {
		bool usable = false;
		bool primary = !strcmp(sqlite_text(stmt, 2), "pk");
		*ret_primary |= primary;
		/* A primary key may hold NULLs unless its columns say NOT NULL: db_table_choose_key looks at that. */
		struct db_index *index =
		    sqlite_add_index(list, n, sqlite_text(stmt, 0), primary, sqlite3_column_int(stmt, 1));
		r = sqlite_describe_index(c, index, &usable, e);
		if (r < 0)
			return r;
		if (!usable)
			index->n_columns = 0; /* never chosen */
	}
	return r;
}

static int sqlite_describe_key(struct sqlite_conn *c, struct db_table *t, struct db_index *rowid, struct err *e)
{
	struct db_index *list = NULL;
	size_t n = 0;
	bool primary = false;
	int r = sqlite_describe_indexes(c, t, &list, &n, &primary, e);
	if (r >= 0 && !primary && rowid->n_columns) {
		struct db_index *index = sqlite_add_index(&list, &n, "", true, true);
		index->columns = TAKE_PTR(rowid->columns);
		index->n_columns = 1;
		t->columns[index->columns[0]].nullable = false; /* NULL means "the next number" when inserted */
	}
	if (r >= 0)
		db_table_choose_key(t, list, n);
	for (size_t i = 0; i < n; i++) {
		free(list[i].name);
		free(list[i].columns);
	}
	free(list);
	return r;
}

/* The largest rowid: as good as a count where rows are not deleted, and without a scan. */
static int64_t sqlite_estimate(struct sqlite_conn *c, const struct db_table *t)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_free_ char *value = NULL;
	strbuf_adds(&sql, "SELECT max(rowid) FROM ");
	sqlite_quote(&sql, t->name);
	if (sqlite_ask(c, sqlite_reader(c), sql.data, &value, ERR_DROP, t->name) < 0)
		return -1; /* WITHOUT ROWID */
	int64_t n = value ? strtoll(value, NULL, 10) : 0;
	return n < 0 ? -1 : n;
}

static int sqlite_describe_table(struct sqlite_conn *c, struct db_table *t, const char *sql, struct err *e)
{
	struct db_index rowid = {0};
	t->dynamic = true;
	t->has_auto_increment = sqlite_ddl_has_word(sql, "AUTOINCREMENT"); /* a reserved word: never a bare name */
	int r = sqlite_describe_columns(c, t, sql, &rowid, e);
	if (r >= 0)
		r = sqlite_describe_key(c, t, &rowid, e);
	free(rowid.columns);
	if (r >= 0)
		t->estimated_rows = sqlite_estimate(c, t);
	return r;
}

/* The newest by its numbers (1.10.0 after 1.9.2); server_change_log first, the older Flyway table else. */
static int sqlite_describe_app(struct sqlite_conn *c, char **ret, struct err *e)
{
	static const char *const tables[] = {"SERVER_CHANGE_LOG", "DATABASE_CHANGE_LOG"};
	for (size_t i = 0; i < 2 && !*ret; i++) {
		_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
		_cleanup_free_ char *there = NULL, *sql = NULL;
		sql = xasprintf("SELECT 1 FROM pragma_table_xinfo('%s', 'main') WHERE name = 'version'", tables[i]);
		int r = sqlite_ask(c, sqlite_reader(c), sql, &there, e, tables[i]);
		if (r < 0)
			return r;
		if (!there)
			continue;
		free(TAKE_PTR(sql));
		sql = xasprintf("SELECT version FROM \"%s\" WHERE version IS NOT NULL", tables[i]);
		r = sqlite_prepare(c, sqlite_reader(c), &stmt, sql, e, tables[i]);
		if (r < 0)
			return r;
		while ((r = sqlite_step(c, stmt, e, tables[i])) > 0) {
			if (*ret && strverscmp(sqlite_text(stmt, 0), *ret) <= 0)
				continue;
			free(*ret);
			*ret = xstrdup(sqlite_text(stmt, 0));
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int sqlite_describe_into(struct sqlite_conn *c, struct db_schema *s, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_strbuf_ struct strbuf virtual = {0};
	s->engine = xstrdup("sqlite");
	s->server_version = xstrdup(sqlite3_libversion());
	s->database = xstrdup(c->path);
	int r = sqlite_prepare(c, sqlite_reader(c), &stmt,
			       "SELECT s.name, s.sql, l.type FROM sqlite_schema s JOIN pragma_table_list l"
			       " ON l.schema = 'main' AND l.name = s.name"
			       " WHERE s.type = 'table' AND lower(substr(s.name, 1, 7)) <> 'sqlite_' ORDER BY s.name",
			       e, c->path);
	if (r < 0)
		return r;
	while ((r = sqlite_step(c, stmt, e, c->path)) > 0) {
		const char *name = sqlite_text(stmt, 0), *type = sqlite_text(stmt, 2);
		/* Shadow tables hold what their virtual table shows: with it they are refused or excluded. */
		if (sqlite_excluded(c, name) || !strcmp(type, "shadow"))
			continue;
		if (!strcmp(type, "virtual")) {
			strbuf_addf(&virtual, "%s%s", virtual.len ? ", " : "", name);
			continue;
		}
		s->tables = xrealloc(s->tables, (s->n_tables + 1) * sizeof *s->tables);
		struct db_table *t = &s->tables[s->n_tables++];
		*t = (struct db_table){.name = xstrdup(name), .estimated_rows = -1};
		r = sqlite_describe_table(c, t, sqlite_text(stmt, 1), e);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (virtual.len)
		return err_set(e, ENOTSUP, "%s has virtual tables, which are not kept: %s (exclude them)", c->path,
			       virtual.data);
	return sqlite_describe_app(c, &s->app_version, e);
}

/* ---- begin ---- */

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

static int sqlite_fix_moment(struct sqlite_conn *c, enum db_access access, struct err *e)
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

static int sqlite_begin(struct db_conn *conn, enum db_access access, struct db_schema **ret, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	*ret = NULL;
	int r = sqlite_check(c, e, c->path);
	if (r < 0)
		return r;
	if (c->pid != getpid())
		return err_set(e, EINVAL, "an SQLite connection was carried across fork()");
	if (c->in_transaction)
		return err_set(e, EINVAL, "%s: a transaction is already open", c->path);
	_cleanup_(cleanup_db_schema) struct db_schema *s = xcalloc(1, sizeof *s);
	r = sqlite_fix_moment(c, access, e);
	if (r >= 0)
		r = sqlite_describe_into(c, s, e);
	if (r < 0) {
		sqlite_rollback(conn);
		return r;
	}
	c->in_transaction = true;
	c->writing = access == DB_WRITE;
	*ret = TAKE_PTR(s);
	return 0;
}

/* ---- schema text ---- */

static int sqlite_schema_pragma(struct sqlite_conn *c, const char *name, struct strbuf *out, struct err *e)
{
	_cleanup_free_ char *value = NULL;
	_cleanup_free_ char *sql = xasprintf("PRAGMA main.%s", name);
	int r = sqlite_ask(c, sqlite_reader(c), sql, &value, e, sql);
	if (r >= 0 && value && strcmp(value, "0"))
		strbuf_addf(out, "PRAGMA %s=%s;\n", name, value);
	return r;
}

static int sqlite_schema_sql(struct db_conn *conn, const struct db_schema *s, struct strbuf *out, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	(void)s;
	int r = sqlite_check(c, e, c->path);
	/* Programs keep their own schema's number here; the sqlite3 shell's .dump forgets it. */
	if (r >= 0)
		r = sqlite_schema_pragma(c, "application_id", out, e);
	if (r >= 0)
		r = sqlite_schema_pragma(c, "user_version", out, e);
	/* By rowid within each kind: the order of creation, which VACUUM keeps too. */
	if (r >= 0)
		r = sqlite_prepare(
		    c, sqlite_reader(c), &stmt,
		    "SELECT s.sql, s.tbl_name FROM sqlite_schema s LEFT JOIN pragma_table_list l"
		    " ON l.schema = 'main' AND l.name = s.tbl_name WHERE s.sql IS NOT NULL"
		    " AND lower(substr(s.name, 1, 7)) <> 'sqlite_' AND coalesce(l.type, '') NOT IN ('virtual', "
		    "'shadow')"
		    " ORDER BY CASE s.type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE 3 END,"
		    " s.rowid",
		    e, c->path);
	if (r < 0)
		return r;
	while ((r = sqlite_step(c, stmt, e, c->path)) > 0) {
		const char *sql = sqlite_text(stmt, 0);
		if (sqlite_excluded(c, sqlite_text(stmt, 1)))
			continue;
		/* A view's text may end in a comment that would swallow the semicolon. */
		_cleanup_free_ char *closed = xasprintf("%s;", sql);
		strbuf_addf(out, "%s%s;\n", sql, sqlite3_complete(closed) ? "" : "\n");
	}
	return r;
}

/* ---- rows out ---- */

static int sqlite_scan_open(struct db_conn *conn, const struct db_table *t, enum db_scan how, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = sqlite_check(c, e, t->name);
	if (r < 0)
		return r;
	if (!c->in_transaction || c->scan || c->load)
		return err_set(e, EINVAL, "%s: %s", t->name,
			       c->scan ? "another scan is open" : "no transaction, or a load is open");
	if (how == DB_SCAN_KEYS)
		return err_set(e, EOPNOTSUPP, "%s: keys are not read by themselves", t->name);
	strbuf_adds(&sql, "SELECT ");
	int n = 0;
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&sql, n++ ? ", " : "");
		sqlite_quote_column(&sql, t, i);
	}
	for (size_t i = 0; i < t->n_key; i++) {
		if (!t->columns[t->key[i]].generated)
			continue;
		strbuf_adds(&sql, n++ ? ", " : "");
		sqlite_quote_column(&sql, t, t->key[i]);
	}
	strbuf_adds(&sql, " FROM main.");
	sqlite_quote(&sql, t->name);
	for (size_t i = 0; how == DB_SCAN_ORDERED && i < t->n_key; i++) {
		strbuf_adds(&sql, i ? ", " : " ORDER BY ");
		sqlite_quote_column(&sql, t, t->key[i]);
		strbuf_adds(&sql, " COLLATE BINARY"); /* uses the index where that is the column's own collation */
	}
	r = sqlite_prepare(c, sqlite_reader(c), &c->scan, sql.data, e, t->name);
	if (r < 0)
		return r;
	c->scan_table = t->name;
	c->scan_columns = n;
	c->scan_values = xcalloc((size_t)n, sizeof *c->scan_values);
	c->scan_text = xcalloc((size_t)n, sizeof *c->scan_text);
	return 0;
}

/* The shortest of 15, 16, 17 digits that reads back as the same double, always with '.' or 'e'. 9e999 is how SQLite
 * itself writes infinity; NaN cannot be stored. */
static size_t sqlite_print_real(const struct sqlite_conn *c, double value, char text[SQLITE_NUMBER_TEXT])
{
	if (isinf(value))
		return (size_t)snprintf(text, SQLITE_NUMBER_TEXT, "%s9e999", value < 0 ? "-" : "");
	locale_t before = uselocale(c->c_locale);
	size_t n = 0;
	for (int digits = 15; digits <= 17; digits++) {
		n = (size_t)snprintf(text, SQLITE_NUMBER_TEXT, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	(void)uselocale(before);
	if (!strpbrk(text, ".e")) {
		memcpy(text + n, ".0", 3);
		n += 2;
	}
	return n;
}

static int sqlite_scan_next(struct db_conn *conn, const struct db_value **ret, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check(c, e, c->scan_table ? c->scan_table : c->path);
	if (r < 0)
		return r;
	if (!c->scan)
		return err_set(e, EINVAL, "%s: no scan is open", c->path);
	r = sqlite_step(c, c->scan, e, c->scan_table);
	if (r <= 0)
		return r;
	for (int i = 0; i < c->scan_columns; i++) {
		struct db_value *v = &c->scan_values[i];
		const char *data = NULL;
		switch (sqlite3_column_type(c->scan, i)) {
		case SQLITE_INTEGER:
			v->len = (size_t)snprintf(c->scan_text[i], SQLITE_NUMBER_TEXT, "%" PRId64,
						  (int64_t)sqlite3_column_int64(c->scan, i));
			v->data = c->scan_text[i];
			v->kind = DB_KIND_INTEGER;
			continue;
		case SQLITE_FLOAT:
			v->len = sqlite_print_real(c, sqlite3_column_double(c->scan, i), c->scan_text[i]);
			v->data = c->scan_text[i];
			v->kind = DB_KIND_REAL;
			continue;
		case SQLITE_TEXT:
			/* The bytes as they are, also NUL and what is not UTF-8. */
			data = (const char *)sqlite3_column_text(c->scan, i);
			v->kind = DB_KIND_TEXT;
			break;
		case SQLITE_BLOB:
			data = sqlite3_column_blob(c->scan, i);
			v->kind = DB_KIND_BLOB;
			break;
		default:
			*v = (struct db_value){0};
			continue;
		}
		v->len = (size_t)sqlite3_column_bytes(c->scan, i);
		/* NULL for an empty BLOB, but also when memory ran out: that must not become ''. */
		if (!data && (v->len || sqlite3_errcode(sqlite_reader(c)) == SQLITE_NOMEM))
			return err_set(e, EIO, "%s: out of memory", c->scan_table);
		v->data = data ? data : "";
	}
	*ret = c->scan_values;
	return 1;
}

static int sqlite_scan_close(struct db_conn *conn, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	(void)e; /* what the scan met, scan_next has told */
	sqlite_finalize(&c->scan);
	free(c->scan_values);
	free(c->scan_text);
	c->scan_values = NULL;
	c->scan_text = NULL;
	c->scan_table = NULL;
	return 0;
}

static int sqlite_has_sequences(struct sqlite_conn *c, bool *ret, struct err *e)
{
	_cleanup_free_ char *there = NULL;
	int r = sqlite_ask(c, sqlite_reader(c), "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'", &there, e,
			   "sqlite_sequence");
	*ret = there != NULL;
	return r;
}

static int sqlite_finish(struct db_conn *conn, struct db_schema *s, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	bool any = false;
	int r = sqlite_check(c, e, "sqlite_sequence");
	if (r >= 0)
		r = sqlite_has_sequences(c, &any, e);
	for (size_t i = 0; r >= 0 && any && i < s->n_tables; i++) {
		_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
		struct db_table *t = &s->tables[i];
		if (!t->has_auto_increment)
			continue;
		r = sqlite_prepare(c, sqlite_reader(c), &stmt, "SELECT seq FROM sqlite_sequence WHERE name = ?1", e,
				   t->name);
		if (r < 0)
			return r;
		(void)sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
		r = sqlite_step(c, stmt, e, t->name);
		/* seq is the last value given; 0 stays for "nothing was ever inserted", which has no row there. */
		t->auto_increment =
		    r > 0 && sqlite3_column_int64(stmt, 0) >= 0 ? (uint64_t)sqlite3_column_int64(stmt, 0) + 1 : 0;
	}
	return r < 0 ? r : 0;
}

/* ---- restore: schema ---- */

/* Executes one statement; anything behind it is refused. SQLite keeps the text of an index as it is given, white space
 * at the end included, so that not a byte may be added to it. */
static int sqlite_run_statement(struct sqlite_conn *c, const char *sql, size_t len, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	const char *tail = NULL;
	_cleanup_free_ char *text = xmemdup0(sql, len);
	if (sqlite3_prepare_v2(c->db, text, -1, &stmt, &tail) != SQLITE_OK)
		return sqlite_err(c, c->db, e, "schema");
	const char *start = NULL;
	size_t rest = 0;
	if (!stmt || (tail && sqlite_ddl_next(&tail, &start, &rest) != SQLITE_DDL_END))
		return err_set(e, EINVAL, "schema: not one statement: %.60s", text);
	int r = 0;
	while ((r = sqlite_step(c, stmt, e, "schema")) > 0)
		;
	return r;
}

static int sqlite_drop_all(struct sqlite_conn *c, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_strbuf_ struct strbuf sql = {0};
	/* Views first, with their triggers; tables take their indexes and triggers along. */
	int r = sqlite_prepare(c, c->db, &stmt,
			       "SELECT s.name, s.type FROM sqlite_schema s JOIN pragma_table_list l"
			       " ON l.schema = 'main' AND l.name = s.name WHERE s.type IN ('table', 'view')"
			       " AND l.type NOT IN ('virtual', 'shadow') AND lower(substr(s.name, 1, 7)) <> 'sqlite_'"
			       " ORDER BY s.type DESC, s.rowid",
			       e, c->path);
	if (r < 0)
		return r;
	while ((r = sqlite_step(c, stmt, e, c->path)) > 0) {
		if (sqlite_excluded(c, sqlite_text(stmt, 0)))
			continue;
		strbuf_addf(&sql, "DROP %s main.", sqlite_text(stmt, 1));
		sqlite_quote(&sql, sqlite_text(stmt, 0));
		strbuf_addch(&sql, ';');
	}
	sqlite_finalize(&stmt);
	if (r < 0 || !sql.len)
		return r;
	return sqlite_run(c, c->db, sql.data, e, "dropping the old tables");
}

static void sqlite_remember_checked(struct sqlite_conn *c, const struct db_schema *s)
{
	sqlite_free_list(&c->checked);
	c->checked = xcalloc(s->n_tables + 1, sizeof *c->checked);
	for (size_t i = 0; i < s->n_tables; i++)
		c->checked[i] = xstrdup(s->tables[i].name);
}

static int sqlite_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql,
				struct strbuf *warnings, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	(void)warnings; /* SQLite knows neither owners nor privileges */
	int r = sqlite_check_writing(c, e, "schema");
	if (r < 0)
		return r;
	sqlite_remember_checked(c, s);
	sqlite_free_list(&c->later);
	c->n_later = 0;
	r = sqlite_drop_all(c, e);
	if (r >= 0)
		r = sqlite_run(c, c->db, "PRAGMA application_id=0; PRAGMA user_version=0", e, "schema");
	while (r >= 0) {
		const char *start = NULL;
		size_t len = 0;
		enum sqlite_ddl_kind kind = sqlite_ddl_next(&sql, &start, &len);
		if (kind == SQLITE_DDL_END)
			break;
		if (kind == SQLITE_DDL_OTHER)
			return err_set(e, ENOTSUP, "schema: this statement is not one of a saved schema: %.*s",
				       (int)(len < 60 ? len : 60), start);
		if (kind == SQLITE_DDL_LATER) {
			c->later = xrealloc(c->later, (c->n_later + 2) * sizeof *c->later);
			c->later[c->n_later++] = xmemdup0(start, len);
			c->later[c->n_later] = NULL;
		} else {
			r = sqlite_run_statement(c, start, len, e);
		}
	}
	return r;
}

/* Whether a table or one of the tables that it refers to is among those that are changed. */
static int sqlite_concerned(struct sqlite_conn *c, const char *table, bool *ret, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	*ret = false;
	int r = sqlite_prepare(c, c->db, &stmt,
			       "SELECT ?1 UNION SELECT \"table\" FROM pragma_foreign_key_list(?1, 'main')", e, table);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, table)) > 0)
		for (size_t i = 0; c->checked && c->checked[i]; i++)
			*ret |= !strcasecmp(sqlite_text(stmt, 0), c->checked[i]);
	return r;
}

static int sqlite_check_table_keys(struct sqlite_conn *c, const char *table, struct strbuf *orphans, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	bool concerned = false;
	int r = sqlite_concerned(c, table, &concerned, e);
	if (r < 0 || !concerned)
		return r;
	r = sqlite_prepare(c, c->db, &stmt,
			   "SELECT \"rowid\", parent FROM pragma_foreign_key_check(?1, 'main') LIMIT 1", e, table);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	r = sqlite_step(c, stmt, e, table);
	if (r > 0 && orphans) {
		strbuf_addf(orphans, "%s: a row refers to a row that %s does not have, as in the snapshot\n", table,
			    sqlite_text(stmt, 1));
		return 0;
	}
	if (r > 0)
		return err_set(e, EEXIST, "%s: the row with rowid %s refers to a row that %s does not have", table,
			       sqlite3_column_type(stmt, 0) == SQLITE_NULL ? "(none)" : sqlite_text(stmt, 0),
			       sqlite_text(stmt, 1));
	/* A key over parent columns without a unique index cannot be enforced by SQLite, so nothing is lost unchecked.
	 */
	if (r < 0 && sqlite3_errcode(c->db) == SQLITE_ERROR && strstr(sqlite3_errmsg(c->db), "foreign key mismatch"))
		return 0;
	return r;
}

static int sqlite_check_foreign_keys(struct sqlite_conn *c, struct strbuf *orphans, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(
	    c, c->db, &stmt,
	    "SELECT s.name FROM sqlite_schema s WHERE s.type = 'table' AND s.sql NOT LIKE 'CREATE VIRTUAL%'"
	    " AND EXISTS (SELECT 1 FROM pragma_foreign_key_list(s.name, 'main')) ORDER BY s.name",
	    e, c->path);
	if (r < 0)
		return r;
	while ((r = sqlite_step(c, stmt, e, c->path)) > 0) {
		_cleanup_free_ char *table = xstrdup(sqlite_text(stmt, 0));
		r = sqlite_check_table_keys(c, table, orphans, e);
		if (r < 0)
			return r;
	}
	sqlite_free_list(&c->checked);
	return r;
}

static int sqlite_rebuild_end(struct db_conn *conn, struct strbuf *warnings, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check_writing(c, e, "schema");
	for (size_t i = 0; r >= 0 && i < c->n_later; i++)
		r = sqlite_run_statement(c, c->later[i], strlen(c->later[i]), e);
	return r < 0 ? r : sqlite_check_foreign_keys(c, warnings, e);
}

/* ---- restore: rows ---- */

static int sqlite_change_begin(struct db_conn *conn, const struct db_schema *s, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check_writing(c, e, "changing rows");
	if (r >= 0)
		sqlite_remember_checked(c, s); /* triggers and foreign keys are off since sqlite_set_up */
	return r;
}

static int sqlite_change_end(struct db_conn *conn, struct strbuf *orphans, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check_writing(c, e, "changing rows");
	return r < 0 ? r : sqlite_check_foreign_keys(c, orphans, e);
}

static int sqlite_bind_number(const struct sqlite_conn *c, sqlite3_stmt *stmt, int i, const struct db_value *v,
			      bool real, struct err *e, const char *table)
{
	char text[400];
	char *end = NULL;
	if (!v->len || v->len >= sizeof text)
		return err_set(e, EINVAL, "%s: a number of %zu bytes", table, v->len);
	memcpy(text, v->data, v->len);
	text[v->len] = '\0';
	errno = 0;
	if (real) {
		double value = strtod_l(text, &end, c->c_locale);
		if (end != text + v->len || isnan(value))
			return err_set(e, EINVAL, "%s: \"%s\" is not a real number", table, text);
		(void)sqlite3_bind_double(stmt, i, value);
	} else {
		long long value = strtoll(text, &end, 10);
		if (end != text + v->len || errno)
			return err_set(e, EINVAL, "%s: \"%s\" is not an integer of 64 bits", table, text);
		(void)sqlite3_bind_int64(stmt, i, value);
	}
	return 0;
}

/* Values without a kind come from a backup that another engine or an editor wrote: the column says what they are, and
 * SQLite's affinity does the rest, as for the program's own inserts. */
static enum db_kind sqlite_kind(const struct db_column *column, const struct db_value *v)
{
	if (v->kind != DB_KIND_COLUMN)
		return v->kind;
	return column->form == DB_FORM_BINARY ? DB_KIND_BLOB : DB_KIND_TEXT;
}

/* The bytes are the caller's until the statement has been stepped and cleared. */
static int sqlite_bind(const struct sqlite_conn *c, sqlite3_stmt *stmt, int i, const struct db_column *column,
		       const struct db_value *v, struct err *e, const char *table)
{
	int rc = SQLITE_OK;
	if (!v->data) {
		rc = sqlite3_bind_null(stmt, i);
	} else {
		switch (sqlite_kind(column, v)) {
		case DB_KIND_INTEGER:
		case DB_KIND_REAL:
			return sqlite_bind_number(c, stmt, i, v, v->kind == DB_KIND_REAL, e, table);
		case DB_KIND_BLOB:
			rc = sqlite3_bind_blob64(stmt, i, v->data, v->len, SQLITE_STATIC);
			break;
		case DB_KIND_TEXT:
		case DB_KIND_COLUMN:
			rc = sqlite3_bind_text64(stmt, i, v->data, v->len, SQLITE_STATIC, SQLITE_UTF8);
			break;
		}
	}
	return rc == SQLITE_OK ? 0 : sqlite_err(c, c->db, e, table);
}

static int sqlite_step_write(struct sqlite_conn *c, sqlite3_stmt *stmt, struct err *e, const char *table)
{
	int r = sqlite_step(c, stmt, e, table);
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
	return r;
}

static int sqlite_prepare_delete(struct sqlite_conn *c, const struct db_table *t, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	strbuf_adds(&sql, "DELETE FROM main.");
	sqlite_quote(&sql, t->name);
	for (size_t i = 0; i < t->n_key; i++) {
		strbuf_adds(&sql, i ? " AND " : " WHERE ");
		sqlite_quote_column(&sql, t, t->key[i]);
		/* Bytewise also where the column compares otherwise; IS finds NULLs, which only non-unique keys have.
		 */
		strbuf_adds(&sql, t->key_kind == DB_KEY_UNIQUE ? " = ? COLLATE BINARY" : " IS ? COLLATE BINARY");
	}
	/* One statement for many batches. Compared by text, as another table may have come to stand at t's address. */
	if (c->delete &&!strcmp(sqlite3_sql(c->delete), sql.data))
		return 0;
	sqlite_finalize(&c->delete);
	return sqlite_prepare(c, c->db, &c->delete, sql.data, e, t->name);
}

static int sqlite_delete_keys(struct db_conn *conn, const struct db_table *t, const struct db_value *keys,
			      size_t n_rows, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check_writing(c, e, t->name);
	if (r < 0)
		return r;
	if (!t->n_key)
		return err_set(e, EINVAL, "%s has no key to delete rows by", t->name);
	r = sqlite_prepare_delete(c, t, e);
	for (size_t row = 0; r >= 0 && row < n_rows; row++) {
		for (size_t i = 0; r >= 0 && i < t->n_key; i++)
			r = sqlite_bind(c, c->delete, (int)i + 1, &t->columns[t->key[i]], &keys[row * t->n_key + i], e,
					t->name);
		if (r >= 0)
			r = sqlite_step_write(c, c->delete, e, t->name);
		/* The transaction has the lock: a row that was scanned is there, or its key did not come back as it
		 * was. */
		if (r >= 0 && t->key_kind == DB_KEY_UNIQUE && sqlite3_changes(c->db) != 1)
			r = err_set(e, EIO, "%s: deleting one row by its key deleted %d", t->name,
				    sqlite3_changes(c->db));
	}
	return r;
}

static int sqlite_delete_all(struct db_conn *conn, const struct db_table *t, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = sqlite_check_writing(c, e, t->name);
	if (r < 0)
		return r;
	strbuf_adds(&sql, "DELETE FROM main.");
	sqlite_quote(&sql, t->name);
	return sqlite_run(c, c->db, sql.data, e, t->name);
}

static int sqlite_load_begin(struct db_conn *conn, const struct db_table *t, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int n = 0;
	int r = sqlite_check_writing(c, e, t->name);
	if (r < 0)
		return r;
	if (c->load || c->scan)
		return err_set(e, EINVAL, "%s: another load or scan is open", t->name);
	/* OR ABORT: a table's own ON CONFLICT IGNORE or REPLACE would lose a row without a word. */
	strbuf_adds(&sql, "INSERT OR ABORT INTO main.");
	sqlite_quote(&sql, t->name);
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&sql, n++ ? ", " : " (");
		sqlite_quote(&sql, t->columns[i].name);
	}
	strbuf_adds(&sql, ") VALUES (");
	for (int i = 0; i < n; i++)
		strbuf_adds(&sql, i ? ", ?" : "?");
	strbuf_addch(&sql, ')');
	r = sqlite_prepare(c, c->db, &c->load, sql.data, e, t->name);
	c->load_table = t;
	return r;
}

static int sqlite_load_row(struct db_conn *conn, const struct db_value *values, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	const struct db_table *t = c->load_table;
	if (!c->load)
		return err_set(e, EINVAL, "%s: no load is open", c->path);
	int r = sqlite_check_writing(c, e, t->name);
	int n = 0;
	for (size_t i = 0; r >= 0 && i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		r = sqlite_bind(c, c->load, n + 1, &t->columns[i], &values[n], e, t->name);
		n++;
	}
	return r < 0 ? r : sqlite_step_write(c, c->load, e, t->name);
}

static int sqlite_load_end(struct db_conn *conn, bool ok, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	(void)ok; /* each row is in the transaction as soon as load_row returns */
	sqlite_finalize(&c->load);
	c->load_table = NULL;
	return sqlite_check_writing(c, e, "loading rows");
}

static int sqlite_set_sequence(struct sqlite_conn *c, const struct db_table *t, struct err *e)
{
	/* In this order a row that is there keeps its place. */
	static const char *const statements[] = {
	    "DELETE FROM sqlite_sequence WHERE name = ?1 AND ?2 IS NULL",
	    "UPDATE sqlite_sequence SET seq = ?2 WHERE name = ?1",
	    "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2 WHERE ?2 IS NOT NULL"
	    " AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
	};
	int r = 0;
	for (size_t i = 0; r >= 0 && i < sizeof statements / sizeof statements[0]; i++) {
		_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
		r = sqlite_prepare(c, c->db, &stmt, statements[i], e, t->name);
		if (r < 0)
			return r;
		(void)sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
		if (t->auto_increment)
			(void)sqlite3_bind_int64(stmt, 2, (sqlite3_int64)(t->auto_increment - 1));
		r = sqlite_step_write(c, stmt, e, t->name);
	}
	return r;
}

static int sqlite_set_sequences(struct db_conn *conn, const struct db_schema *s, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	bool any = false;
	int r = sqlite_check_writing(c, e, "sqlite_sequence");
	if (r >= 0)
		r = sqlite_has_sequences(c, &any, e);
	for (size_t i = 0; r >= 0 && any && i < s->n_tables; i++)
		if (s->tables[i].has_auto_increment)
			r = sqlite_set_sequence(c, &s->tables[i], e);
	return r;
}

static int sqlite_settle(struct db_conn *conn, struct err *e)
{
	/* All of a restore is one transaction: the next open of the file rolls a crashed one back. */
	return sqlite_check(sqlite_of(conn), e, "settling");
}

static int sqlite_commit(struct db_conn *conn, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	if (!c->in_transaction)
		return err_set(e, EINVAL, "%s: no transaction is open", c->path);
	if (!c->writing) {
		sqlite_rollback(conn);
		return 0;
	}
	int r = sqlite_check_writing(c, e, "commit");
	if (r < 0)
		return r;
	sqlite_end_statements(c);
	/* EBUSY when readers of a file without a WAL do not go away: the transaction is still open then. */
	r = sqlite_run(c, c->db, "COMMIT", e, "commit");
	if (r >= 0)
		sqlite_end(c);
	return r;
}

/* ---- examine ---- */

static int sqlite_count(struct sqlite_conn *c, const char *what, const char *table, sqlite3_int64 *ret, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_strbuf_ struct strbuf sql = {0};
	strbuf_addf(&sql, "SELECT %s FROM main.", what);
	sqlite_quote(&sql, table);
	int r = sqlite_prepare(c, sqlite_reader(c), &stmt, strbuf_str(&sql), e, table);
	if (r == 0)
		r = sqlite_step(c, stmt, e, table);
	for (int i = 0; r > 0 && i < sqlite3_column_count(stmt); i++)
		ret[i] = sqlite3_column_int64(stmt, i);
	return r < 0 ? r : 0;
}

static int sqlite_measure(struct sqlite_conn *c, const struct db_table *t, struct db_examination *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf row = {0}, what = {0};
	sqlite3_int64 sizes[2] = {0};
	strbuf_adds(&row, "0");
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&row, " + coalesce(length(CAST(");
		sqlite_quote_column(&row, t, i);
		strbuf_adds(&row, " AS BLOB)), 0)");
	}
	strbuf_addf(&what, "sum(%s), max(%s)", row.data, row.data);
	int r = sqlite_count(c, what.data, t->name, sizes, e);
	ret->measured = r == 0;
	ret->bytes = (uint64_t)sizes[0];
	ret->largest = (uint64_t)sizes[1];
	return r;
}

/* There are no accounts, and no memory for sorting that the operator sets. */
static int sqlite_examine(struct db_conn *conn, const struct db_schema *s, const char *measured,
			  struct db_examination *ret, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = 0;
	*ret = (struct db_examination){0};
	if (!s)
		return 0;
	ret->rows = xcalloc(s->n_tables + 1, sizeof *ret->rows);
	for (size_t i = 0; r == 0 && i < s->n_tables; i++) {
		sqlite3_int64 n = 0;
		r = sqlite_count(c, "count(*)", s->tables[i].name, &n, e);
		ret->rows[i] = (uint64_t)n;
		if (r == 0 && !strcmp(s->tables[i].name, measured))
			r = sqlite_measure(c, &s->tables[i], ret, e);
	}
	return r;
}

const struct db_driver db_driver_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .begin = sqlite_begin,
    .begin_like = NULL,
    .schema_sql = sqlite_schema_sql,
    .scan_open = sqlite_scan_open,
    .scan_next = sqlite_scan_next,
    .scan_close = sqlite_scan_close,
    .examine = sqlite_examine,
    .finish = sqlite_finish,
    .rebuild_begin = sqlite_rebuild_begin,
    .rebuild_end = sqlite_rebuild_end,
    .change_begin = sqlite_change_begin,
    .delete_keys = sqlite_delete_keys,
    .delete_all = sqlite_delete_all,
    .change_end = sqlite_change_end,
    .load_begin = sqlite_load_begin,
    .load_row = sqlite_load_row,
    .load_end = sqlite_load_end,
    .set_sequences = sqlite_set_sequences,
    .settle = sqlite_settle,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .cancel = sqlite_cancel,
    .close = sqlite_close,
};
