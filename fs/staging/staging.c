/*
 * fs/staging/staging.c - see staging.h. Opens and closes CATALOG-staging: one connection, one mutex, and a thread that
 * commits.
 *
 * Threads: FUSE workers, slow-path threads, the committer (commit.c). Lock: staging.mutex.
 */
#include "fs/staging/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "fs/staging/internal.h"

#define STAGING_FORMAT 1

static const char staging_schema[] =
    "CREATE TABLE node(id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER NOT NULL, name BLOB NOT NULL,"
    " top INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, size INTEGER NOT NULL,"
    " atime INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, subdirs INTEGER NOT NULL,"
    " generated INTEGER NOT NULL, target BLOB);"
    "CREATE UNIQUE INDEX node_name ON node(parent, name);"
    "CREATE INDEX node_order ON node(parent, id);"
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY, data BLOB NOT NULL);"
    "CREATE TABLE xattr(node INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY(node, name)) "
    "WITHOUT ROWID;"
    "CREATE TABLE sets(top INTEGER PRIMARY KEY, state INTEGER NOT NULL, error INTEGER NOT NULL);";

static int staging_pragma(struct staging *s, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		return 0;
	return err_set(e,
		       (rc & 0xff) == SQLITE_BUSY   ? EBUSY
		       : (rc & 0xff) == SQLITE_FULL ? ENOSPC
						    : EIO,
		       "%s: %s", s->path, sqlite3_errmsg(s->db));
}

static int staging_setup(struct staging *s, struct err *e)
{
	int r, version = -1;

	/* exclusive: no shared-memory file, and no second daemon */
	r = staging_pragma(s,
			   "PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; "
			   "PRAGMA journal_mode=WAL;"
			   " PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4096; PRAGMA cache_size=-8192;"
			   " PRAGMA journal_size_limit=1048576;"
			   " PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF",
			   e);
	if (r < 0)
		return r;
	sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		version = sqlite3_column_int(st, 0);
	(void)sqlite3_finalize(st);
	if (version < 0)
		return err_set(e, EIO, "%s: %s", s->path, sqlite3_errmsg(s->db));
	if (version > STAGING_FORMAT)
		return err_set(e, ENOTSUP, "%s: made by a newer metasnap (format %d)", s->path, version);
	if (version == 0) {
		r = staging_pragma(s, "BEGIN IMMEDIATE", e);
		if (r < 0)
			return r;
		r = staging_pragma(s, staging_schema, e);
		if (r < 0)
			return r;
		r = staging_pragma(s, "PRAGMA user_version=1; COMMIT", e);
		if (r < 0)
			return r;
	}
	if (sqlite3_create_function(s->db, "staged_counts", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
				    NULL, staging_counts_sql, NULL, NULL) != SQLITE_OK)
		return err_set(e, EIO, "%s: %s", s->path, sqlite3_errmsg(s->db));
	/* files that were unlinked while open when the program ended */
	r = staging_pragma(s,
			   "BEGIN IMMEDIATE; DELETE FROM chunk WHERE id IN (SELECT c.id FROM node n CROSS JOIN chunk c"
			   " ON c.id BETWEEN n.id << 24 AND (n.id << 24) | 16777215 WHERE n.parent = 0 AND n.id > 0);"
			   " DELETE FROM xattr WHERE node IN (SELECT id FROM node WHERE parent = 0 AND id > 0);"
			   " DELETE FROM node WHERE parent = 0 AND id > 0; COMMIT",
			   e);
	if (r < 0)
		return r;
	staging_reserve(s);
	return staging_prepare(s, e);
}

int staging_open(struct staging **ret, const char *path, struct err *e)
{
	_cleanup_(cleanup_staging) struct staging *s = xcalloc(1, sizeof *s);
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&s->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	s->path = xstrdup(path);

	/* SQLite gives the -wal file the mode of the main file */
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	(void)close(fd);
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return err_set(e, EIO, "%s: %s", path, s->db ? sqlite3_errmsg(s->db) : "out of memory");
	(void)sqlite3_extended_result_codes(s->db, 1);
	int r = staging_setup(s, e);
	if (r < 0)
		return r;
	r = pthread_create(&s->committer, NULL, staging_committer, s);
	if (r != 0)
		return err_sys(e, r, "cannot start a thread");
	s->committer_started = true;
	*ret = TAKE_PTR(s);
	return 0;
}

void staging_close(struct staging *s)
{
	if (!s)
		return;
	if (s->committer_started) {
		(void)pthread_mutex_lock(&s->mutex);
		s->stopping = true;
		(void)pthread_cond_broadcast(&s->wake);
		(void)pthread_mutex_unlock(&s->mutex);
		(void)pthread_join(s->committer, NULL);
		(void)staging_commit_locked(s);
	}
	staging_drop_chunks(s);
	for (size_t b = 0; b < STAGING_BUCKETS; b++) {
		while (s->opens[b]) {
			struct staging_open_node *o = s->opens[b];
			s->opens[b] = o->next;
			free(o);
		}
	}
	while (s->sets)
		staging_forget_set(s, s->sets->set.top);
	for (size_t k = 0; k < ST_N; k++)
		(void)sqlite3_finalize(s->stmt[k]);
	(void)sqlite3_close(s->db);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->mutex);
	free(s->path);
	free(s);
}

int staging_add_root(struct staging *s, int64_t source_id, uid_t uid, gid_t gid, int64_t mtime_ns)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node n;
	int r = staging_get_locked(s, staging_root(source_id), &n);
	if (r != -ENOENT)
		return r;
	r = staging_begin(s);
	if (r < 0)
		return r;
	char name[32];
	(void)snprintf(name, sizeof name, "%lld", (long long)staging_root(source_id));
	sqlite3_stmt *st = staging_stmt(s, ST_ADD_ROOT);
	(void)sqlite3_bind_int64(st, 1, staging_root(source_id));
	staging_bind_name(st, 2, name);
	(void)sqlite3_bind_int64(st, 3, uid);
	(void)sqlite3_bind_int64(st, 4, gid);
	(void)sqlite3_bind_int64(st, 5, mtime_ns);
	r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	return r;
}
