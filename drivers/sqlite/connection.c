/*
 * drivers/sqlite/connection.c - opening a file, ending what is open on it, closing it; cancel. See internal.h for threads.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/text.h"

int sqlite_progress(void *arg)
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

bool sqlite_excluded(const struct sqlite_conn *c, const char *table)
{
	const struct db_params p = {.exclude = c->exclude};
	return db_params_excludes(&p, table);
}

void sqlite_free_list(char ***list)
{
	for (size_t i = 0; *list && (*list)[i]; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
}

void sqlite_end_statements(struct sqlite_conn *c)
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

void sqlite_end(struct sqlite_conn *c)
{
	sqlite_end_statements(c);
	sqlite_free_list(&c->later);
	c->n_later = 0;
	sqlite_free_list(&c->checked);
	sqlite_free_list(&c->changed);
	strbuf_clear(&c->unheld);
	free(TAKE_PTR(c->unheld_words));
	(void)sqlite3_close(c->copy);
	c->copy = NULL;
	c->in_transaction = c->writing = false;
}

void sqlite_rollback(struct db_conn *conn)
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

void sqlite_close(struct db_conn *conn)
{
	if (!conn)
		return;
	struct sqlite_conn *c = sqlite_of(conn);
	if (c->db) {
		sqlite_rollback(conn);
		(void)sqlite3_close(c->db);
	}
	sqlite_free_list(&c->exclude);
	strbuf_done(&c->unheld);
	if (c->c_locale)
		freelocale(c->c_locale);
	free(c->path);
	free(c);
}

void sqlite_cancel(struct db_conn *conn)
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
	percent_encode(&uri, c->path, strlen(c->path), "/-._~");
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

int sqlite_connect(struct sqlite_conn **ret, const struct db_params *p, struct err *e)
{
	size_t n = 0;
	*ret = NULL;
	if (sqlite3_libversion_number() < 3037000)
		return err_set(e, ENOTSUP, "SQLite %s is too old: 3.37 is needed", sqlite3_libversion());
	struct sqlite_conn *c = xcalloc(1, sizeof *c);
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
	*ret = c;
	return 0;
}
