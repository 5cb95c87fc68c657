/*
 * fs/staging/db.c - the staging file's statements, the one transaction that is open on it, and reading a node.
 *
 * All functions with staging.mutex held.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fs/staging/internal.h"

#define NODE_COLUMNS "id, parent, top, mode, uid, gid, size, atime, mtime, ctime, subdirs, generated"

static const char *const staging_sql[ST_N] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_GET] = "SELECT " NODE_COLUMNS " FROM node WHERE id = ?1",
    [ST_LOOKUP] = "SELECT " NODE_COLUMNS " FROM node WHERE parent = ?1 AND name = ?2",
    [ST_LIST] = "SELECT " NODE_COLUMNS ", name FROM node INDEXED BY node_order WHERE parent = ?1 AND id > ?2"
		" ORDER BY id LIMIT ?3",
    [ST_NAME] = "SELECT name FROM node WHERE id = ?1",
    [ST_INSERT] =
	"INSERT INTO node(parent, name, top, mode, uid, gid, size, atime, mtime, ctime, subdirs, generated, target)"
	" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?8, 0, ?9, ?10)",
    [ST_ADD_ROOT] = "INSERT OR IGNORE INTO node(id, parent, name, top, mode, uid, gid, size, atime, mtime, ctime, "
		    "subdirs, generated)"
		    " VALUES(?1, 0, ?2, 0, 16832, ?3, ?4, 0, ?5, ?5, ?5, 0, 0)",
    [ST_SET_TOP] = "UPDATE node SET top = ?2 WHERE id = ?1",
    [ST_DELETE] = "DELETE FROM node WHERE id = ?1",
    [ST_ORPHAN] = "UPDATE node SET parent = 0, name = CAST(id AS BLOB), top = 0 WHERE id = ?1",
    [ST_MOVE] = "UPDATE node SET parent = ?2, name = ?3, ctime = ?4 WHERE id = ?1",
    [ST_RETOP] = "WITH RECURSIVE sub(id, t) AS (VALUES(?1, ?2) UNION ALL SELECT n.id,"
		 " CASE WHEN sub.t <> 0 AND NOT n.generated AND staged_counts(n.name, n.mode) THEN sub.t ELSE 0 END"
		 " FROM sub JOIN node n INDEXED BY node_order ON n.parent = sub.id)"
		 " UPDATE node SET top = sub.t FROM sub WHERE node.id = sub.id",
    [ST_TOUCH_DIR] = "UPDATE node SET subdirs = subdirs + ?2, mtime = ?3, ctime = ?3 WHERE id = ?1",
    [ST_ATTR] =
	"UPDATE node SET mode = ?2, uid = ?3, gid = ?4, size = ?5, atime = ?6, mtime = ?7, ctime = ?8 WHERE id = ?1",
    [ST_WRITTEN] = "UPDATE node SET size = ?2, mtime = ?3, ctime = ?3 WHERE id = ?1",
    [ST_READLINK] = "SELECT target FROM node WHERE id = ?1 AND target IS NOT NULL",
    [ST_HAS_CHILD] = "SELECT 1 FROM node INDEXED BY node_order WHERE parent = ?1 LIMIT 1",
    [ST_CHUNK_GET] = "SELECT data FROM chunk WHERE id = ?1",
    [ST_CHUNK_PUT] = "INSERT OR REPLACE INTO chunk(id, data) VALUES(?1, ?2)",
    [ST_CHUNK_DELETE] = "DELETE FROM chunk WHERE id BETWEEN ?1 AND ?2",
    [ST_XATTR_GET] = "SELECT value FROM xattr WHERE node = ?1 AND name = ?2",
    [ST_XATTR_PUT] = "INSERT OR REPLACE INTO xattr(node, name, value) VALUES(?1, ?2, ?3)",
    [ST_XATTR_LIST] = "SELECT name FROM xattr WHERE node = ?1",
    [ST_XATTR_DELETE] = "DELETE FROM xattr WHERE node = ?1 AND name = ?2",
    [ST_XATTR_DELETE_ALL] = "DELETE FROM xattr WHERE node = ?1",
    /* Once for each set and start of the program: no index is worth its cost at every create. */
    [ST_SET_COUNT] = "SELECT count(*) FROM node WHERE top = ?1 AND (mode & 61440) = 32768",
    [ST_COUNT] =
	"SELECT count(*) FROM node INDEXED BY node_order WHERE parent = ?1 AND top <> 0 AND (mode & 61440) = 32768",
    [ST_SET_STATE] = "SELECT state, error FROM sets WHERE top = ?1",
    [ST_SET_PUT] = "INSERT OR REPLACE INTO sets(top, state, error) VALUES(?1, ?2, ?3)",
    [ST_SET_DELETE] = "DELETE FROM sets WHERE top = ?1",
    [ST_FREE_PAGES] = "PRAGMA freelist_count",
};

int staging_prepare(struct staging *s, struct err *e)
{
	for (size_t k = 0; k < ST_N; k++)
		if (sqlite3_prepare_v3(s->db, staging_sql[k], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[k], NULL) !=
		    SQLITE_OK)
			return err_set(e, EIO, "%s: %s", s->path, sqlite3_errmsg(s->db));
	return 0;
}

/* ---- the transaction ---- */

void staging_drop_chunks(struct staging *s)
{
	while (s->all) {
		struct staging_chunk *c = s->all;
		s->all = c->all_next;
		s->chunks[staging_bucket(c->key)] = NULL; /* the whole bucket goes */
		free(c->data);
		free(c);
	}
	s->chunk_bytes = 0;
}

/* errno of SQLite's last answer, with a line in the log. When SQLite has rolled the transaction back (disk full, I/O
 * error), the answered changes since the last commit are gone: every file that is open for writing fails from then on
 * (its copier must hear of it), and the sets are counted anew. */
int staging_failed(struct staging *s, int rc)
{
	int code = EIO;

	switch (rc & 0xff) {
	case SQLITE_FULL:
		code = ENOSPC;
		s->full = true;
		break;
	case SQLITE_NOMEM:
		code = ENOMEM;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		code = EBUSY;
		break;
	case SQLITE_READONLY:
		code = EROFS;
		break;
	}
	log_error("restore/: staging file: %s", sqlite3_errmsg(s->db));
	if (s->in_transaction && sqlite3_get_autocommit(s->db)) {
		s->in_transaction = false;
		if (s->bytes_only)
			return -code;
		s->lost = code;
		staging_drop_chunks(s);
		for (struct staging_set_entry *x = s->sets; x; x = x->next) {
			x->counted = false;
			x->set.changes++;
		}
		log_error("restore/: what was written last is lost: %s", strerror(code));
	}
	return -code;
}

sqlite3_stmt *staging_stmt(struct staging *s, enum staging_stmt which)
{
	sqlite3_stmt *st = s->stmt[which];
	(void)sqlite3_reset(st);
	return st;
}

/* Runs a statement that gives no row. */
int staging_run(struct staging *s, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : staging_failed(s, rc);
}

int staging_exec(struct staging *s, enum staging_stmt which)
{
	return staging_run(s, staging_stmt(s, which));
}

void staging_bind_name(sqlite3_stmt *st, int at, const char *name)
{
	(void)sqlite3_bind_blob(st, at, name, (int)strlen(name), SQLITE_STATIC);
}

int staging_begin(struct staging *s)
{
	if (s->in_transaction)
		return 0;
	int r = staging_exec(s, ST_BEGIN);
	if (r < 0)
		return r;
	s->in_transaction = true;
	s->due = clock_after(CLOCK_MONOTONIC, STAGING_COMMIT_MS);
	if (s->committer_idle)
		(void)pthread_cond_signal(&s->wake);
	return 0;
}

/* ---- nodes ---- */

void staging_node_of(sqlite3_stmt *st, struct staged_node *n)
{
	*n = (struct staged_node){
	    .id = sqlite3_column_int64(st, 0),
	    .parent = sqlite3_column_int64(st, 1),
	    .top = sqlite3_column_int64(st, 2),
	    .mode = (mode_t)sqlite3_column_int64(st, 3),
	    .uid = (uid_t)sqlite3_column_int64(st, 4),
	    .gid = (gid_t)sqlite3_column_int64(st, 5),
	    .size = (uint64_t)sqlite3_column_int64(st, 6),
	    .atime_ns = sqlite3_column_int64(st, 7),
	    .mtime_ns = sqlite3_column_int64(st, 8),
	    .ctime_ns = sqlite3_column_int64(st, 9),
	    .subdirs = (uint32_t)sqlite3_column_int64(st, 10),
	    .generated = sqlite3_column_int(st, 11) != 0,
	};
}

static int staging_fetch(struct staging *s, sqlite3_stmt *st, struct staged_node *ret)
{
	int rc = sqlite3_step(st), r = 0;
	if (rc == SQLITE_ROW)
		staging_node_of(st, ret);
	else
		r = rc == SQLITE_DONE ? -ENOENT : staging_failed(s, rc);
	(void)sqlite3_reset(st);
	return r;
}

int staging_get_locked(struct staging *s, int64_t id, struct staged_node *ret)
{
	sqlite3_stmt *st = staging_stmt(s, ST_GET);
	(void)sqlite3_bind_int64(st, 1, id);
	return staging_fetch(s, st, ret);
}

int staging_lookup_locked(struct staging *s, int64_t parent, const char *name, struct staged_node *ret)
{
	if (strlen(name) > STAGING_NAME_MAX)
		return -ENAMETOOLONG;
	sqlite3_stmt *st = staging_stmt(s, ST_LOOKUP);
	(void)sqlite3_bind_int64(st, 1, parent);
	staging_bind_name(st, 2, name);
	int r = staging_fetch(s, st, ret);
	(void)sqlite3_clear_bindings(st);
	return r;
}
