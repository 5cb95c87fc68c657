/*
 * snapshot/store/db.c - the catalog's connections: statements, transactions, errors.
 *
 * Any thread. A read takes a connection from the pool (read_mutex is held for the list only); a write is BEGIN
 * IMMEDIATE on the one write connection under write_mutex. synchronous=FULL: what was reported as done is on the disk.
 */
#include "snapshot/store/internal.h"

#include <errno.h>

#define CATALOG_BUSY_MS 20000

#define SNAPSHOT_COLUMNS                                                                                               \
	"id, source_id, name, taken_ms, rows, line_bytes, stored_bytes, n_tables, manifest_len, schema_len,"           \
	" coalesce(length(sums), 0), held, engine, server_version, app_version, schema_since_ms"
#define VERSION_COLUMNS "v.id, t.ordinal, t.name, v.codec_id, v.rows, v.line_bytes, v.file_bytes, v.digest, v.since_ms"

static const char *const stmt_sql[STMT_MAX] = {
    [STMT_PACK] = "SELECT codec_id, first_seen_ms, dict_id, sha256, data FROM pack WHERE id=?1",
    [STMT_PACK_INSERT] = "INSERT INTO pack VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [STMT_PACK_REWRITE] = "UPDATE pack SET sha256=?3, data=?4 WHERE id=?1 AND sha256=?2",
    [STMT_PAGE] = "SELECT data, sha256 FROM page WHERE id=?1",
    [STMT_PAGE_FIND] = "SELECT id FROM page WHERE sha256=?1",
    [STMT_PAGE_INSERT] = "INSERT INTO page(sha256, data) VALUES(?1, ?2)",
    [STMT_CODEC] = "SELECT description FROM codec WHERE id=?1",
    [STMT_CODEC_FIND] = "SELECT id FROM codec WHERE sha256=?1",
    [STMT_CODEC_INSERT] = "INSERT INTO codec(sha256, description) VALUES(?1, ?2)",
    [STMT_CODEC_DICT] = "SELECT id, data FROM dict WHERE codec_id=?1 ORDER BY id DESC LIMIT 1",
    [STMT_DICT] = "SELECT id, data FROM dict WHERE id=?1",
    [STMT_DICT_INSERT] = "INSERT INTO dict(codec_id, data) VALUES(?1, ?2)",
    [STMT_VERSION] =
	"SELECT codec_id, rows, line_bytes, file_bytes, digest, pages, lines_sha256, since_ms FROM version WHERE id=?1",
    [STMT_VERSION_INSERT] = "INSERT INTO version(codec_id, rows, line_bytes, file_bytes, digest, pages, since_ms) "
			    "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [STMT_VERSION_SUM] = "UPDATE version SET lines_sha256=?2 WHERE id=?1",
    [STMT_SNAPSHOT_TABLES] = "SELECT " VERSION_COLUMNS " FROM snapshot_table t JOIN version v ON v.id=t.version_id"
			     " WHERE t.snapshot_id=?1 ORDER BY t.ordinal",
    [STMT_SNAPSHOT_TABLE] = "SELECT " VERSION_COLUMNS " FROM snapshot_table t JOIN version v ON v.id=t.version_id"
			    " WHERE t.snapshot_id=?1 AND t.name=?2",
    [STMT_SNAPSHOT_TABLE_INSERT] = "INSERT INTO snapshot_table VALUES(?1, ?2, ?3, ?4)",
    [STMT_INDEX] = "SELECT " VERSION_COLUMNS " FROM (SELECT version_id, 0 AS ordinal, 'entities' AS name"
		   " FROM snapshot_names WHERE snapshot_id=?1) t JOIN version v ON v.id=t.version_id",
    /* Another process may have removed the snapshot, or have made the same one: readers hold that by its number. One
     * whose version is gone (freed by a program that did not know of indexes) is none. */
    [STMT_INDEX_INSERT] = "INSERT OR REPLACE INTO snapshot_names SELECT id, ?2 FROM snapshot WHERE id=?1 AND NOT EXISTS"
			  " (SELECT 1 FROM snapshot_names n JOIN version v ON v.id=n.version_id"
			  " WHERE n.snapshot_id=?1)",
    [STMT_INDEX_DELETE] = "DELETE FROM snapshot_names WHERE snapshot_id=?1",
    [STMT_INDEX_NEAREST] = "SELECT s.id FROM snapshot s JOIN snapshot_names n ON n.snapshot_id=s.id"
			   " JOIN version v ON v.id=n.version_id"
			   " WHERE s.source_id=(SELECT source_id FROM snapshot WHERE id=?1)"
			   " ORDER BY abs(s.id-?1) LIMIT 1",
    [STMT_MARKS] = "SELECT name, age, mark FROM mark WHERE source_id=?1 AND snapshot_id=?2 ORDER BY name",
    [STMT_MARKS_DELETE] = "DELETE FROM mark WHERE source_id=?1",
    [STMT_MARK_INSERT] = "INSERT INTO mark(source_id, name, snapshot_id, age, mark) VALUES(?1, ?2, ?3, ?4, ?5)",
    [STMT_SNAPSHOT_LIST] =
	"SELECT " SNAPSHOT_COLUMNS " FROM snapshot WHERE source_id=?1 AND name IS NOT NULL ORDER BY taken_ms, id",
    [STMT_SNAPSHOT_FIND] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshot WHERE source_id=?1 AND name=?2",
    [STMT_SNAPSHOT_GET] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshot WHERE id=?1",
    [STMT_SNAPSHOT_LATEST] =
	"SELECT " SNAPSHOT_COLUMNS
	" FROM snapshot WHERE source_id=?1 AND name IS NOT NULL ORDER BY taken_ms DESC, id DESC LIMIT 1",
    [STMT_SNAPSHOT_TAKEN] =
	"SELECT " SNAPSHOT_COLUMNS
	" FROM snapshot WHERE source_id=?1 AND name IS NOT NULL AND taken_ms<=?2 AND id NOT IN (SELECT target_id"
	" FROM journal WHERE source_id=?1 AND op='import' AND target_id IS NOT NULL)"
	" ORDER BY taken_ms DESC, id DESC LIMIT 1",
    [STMT_SNAPSHOT_INSERT] = "INSERT INTO snapshot(id, source_id, name, taken_ms, engine, server_version, app_version, "
			     "schema_id, schema_len, n_tables,"
			     " rows, line_bytes, stored_bytes, manifest, manifest_len, schema_since_ms)"
			     " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    [STMT_SNAPSHOT_TEXTS] = "SELECT manifest, sums, schema_id FROM snapshot WHERE id=?1",
    [STMT_SNAPSHOT_SUMS] = "UPDATE snapshot SET sums=?2 WHERE id=?1",
    [STMT_SNAPSHOT_RENAME] = "UPDATE snapshot SET name=?2 WHERE id=?1",
    [STMT_SNAPSHOT_HOLD] = "UPDATE snapshot SET held=?2 WHERE id=?1",
    [STMT_SCHEMA_FIND] = "SELECT id FROM schema_text WHERE sha256=?1",
    [STMT_SCHEMA_INSERT] = "INSERT INTO schema_text(sha256, text) VALUES(?1, ?2)",
    [STMT_SCHEMA] = "SELECT text FROM schema_text WHERE id=?1",
    [STMT_SOURCE_FIND] = "SELECT id FROM source WHERE name=?1",
    [STMT_SOURCE_INSERT] = "INSERT INTO source(name) VALUES(?1)",
    [STMT_COUNTER] = "UPDATE meta SET value=value+?2 WHERE key=?1 RETURNING value-?2",
    [STMT_JOURNAL_INSERT] = "INSERT INTO journal(source_id, at_ms, op, subject, uid, pid, program, state)"
			    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 'running')",
    [STMT_JOURNAL_DONE] =
	"INSERT INTO journal(source_id, at_ms, finished_ms, op, subject, uid, pid, program, state, detail)"
	" VALUES(?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, 'done', ?8)",
    [STMT_JOURNAL_STATE] =
	"UPDATE journal SET state=?2, detail=coalesce(?3, detail), safety_id=coalesce(?4, safety_id),"
	" target_id=coalesce(?5, target_id), finished_ms=?6 WHERE id=?1",
    [STMT_JOURNAL_LIST] =
	"SELECT id, source_id, at_ms, op, subject, uid, pid, program, state, finished_ms, detail, safety_id,"
	" target_id FROM journal WHERE source_id=?1 ORDER BY id",
    [STMT_JOURNAL_OPEN] =
	"SELECT id, source_id, at_ms, op, subject, uid, pid, program, state, finished_ms, detail, safety_id,"
	" target_id FROM journal WHERE source_id=?1 AND finished_ms IS NULL ORDER BY id",
    [STMT_JOURNAL_WRITTEN] = "SELECT max(coalesce(finished_ms, 9223372036854775807)), max(id) FROM journal WHERE "
			     "source_id=?1 AND op IN ('restore', 'put')"
			     " AND state IN ('begun', 'committed', 'unknown')",
    [STMT_DATA_VERSION] = "PRAGMA data_version",
};

int store_error(struct store_db *db, const char *what, struct err *e)
{
	int code = sqlite3_errcode(db->h) & 0xff, x = sqlite3_extended_errcode(db->h);
	int no = EIO;
	switch (code) {
	case SQLITE_FULL:
		no = ENOSPC;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		no = EBUSY;
		break;
	case SQLITE_NOMEM:
		no = ENOMEM;
		break;
	case SQLITE_READONLY:
		no = EROFS;
		break;
	case SQLITE_CONSTRAINT:
		no = EEXIST;
		break;
	case SQLITE_IOERR:
		/* A full disk can show as a failed write, e.g. of the wal-index in shared memory. */
		if (sqlite3_system_errno(db->h) == ENOSPC || sqlite3_system_errno(db->h) == EDQUOT)
			no = ENOSPC;
		break;
	case SQLITE_CANTOPEN:
		no = sqlite3_system_errno(db->h) == ENOENT   ? ENOENT
		     : sqlite3_system_errno(db->h) == EACCES ? EACCES
							     : EIO;
		break;
	default:
		break;
	}
	return err_set(e, no, "catalog: %s: %s (SQLite %d)", what, sqlite3_errmsg(db->h), x);
}

void store_close(struct store_db *db)
{
	if (!db)
		return;
	for (int i = 0; i < STMT_MAX; i++)
		sqlite3_finalize(db->stmt[i]);
	sqlite3_close(db->h);
	free(db);
}

struct store_db *store_open(const struct catalog *c, bool create, bool query_only, struct err *e)
{
	struct store_db *db = xcalloc(1, sizeof *db);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
	if (sqlite3_open_v2(c->path, &db->h, flags, NULL) != SQLITE_OK) {
		if (db->h)
			(void)store_error(db, c->path, e);
		else
			(void)err_set(e, ENOMEM, "catalog: no memory");
		store_close(db);
		return NULL;
	}
	(void)sqlite3_extended_result_codes(db->h, 1);
	(void)sqlite3_busy_timeout(db->h, CATALOG_BUSY_MS);
	const char *setup = query_only ? "PRAGMA query_only=1; PRAGMA cache_size=-2048;"
				       : "PRAGMA synchronous=FULL; PRAGMA cache_size=-8192; PRAGMA foreign_keys=0;"
					 /* 16 MiB: a batch that does not fit on the disk must
					  * not have been preceded by a copy of the last one. */
					 "PRAGMA wal_autocheckpoint=8192; PRAGMA journal_size_limit=67108864";
	if (sqlite3_exec(db->h, setup, NULL, NULL, NULL) != SQLITE_OK) {
		(void)store_error(db, c->path, e);
		store_close(db);
		return NULL;
	}
	return db;
}

static sqlite3_stmt *store_stmt(struct store_db *db, enum stmt which, struct err *e)
{
	sqlite3_stmt *st = db->stmt[which];
	if (!st) {
		if (sqlite3_prepare_v3(db->h, stmt_sql[which], -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK) {
			(void)store_error(db, "preparing a statement", e);
			return NULL;
		}
		db->stmt[which] = st;
	}
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
	return st;
}

static void store_bind(sqlite3_stmt *st, const struct bind *b)
{
	for (int i = 1; b->kind != BIND_END; i++, b++) {
		if (b->kind == BIND_INT)
			(void)sqlite3_bind_int64(st, i, b->number);
		else if (b->kind == BIND_TEXT)
			(void)sqlite3_bind_text(st, i, b->data, -1, SQLITE_STATIC);
		else if (b->kind == BIND_BLOB)
			(void)sqlite3_bind_blob64(st, i, b->data, b->len, SQLITE_STATIC);
	}
}

int store_query(struct store_db *db, enum stmt which, const struct bind *bind, row_fn *row, void *arg, const char *what,
		struct err *e)
{
	sqlite3_stmt *st = store_stmt(db, which, e);
	if (!st)
		return err_code(e);
	store_bind(st, bind);
	int r = 0, n = 0, step = SQLITE_ROW;
	for (; r == 0 && (step = sqlite3_step(st)) == SQLITE_ROW; n++)
		r = row(arg, st, e);
	if (r == 0 && step != SQLITE_DONE)
		r = store_error(db, what, e);
	(void)sqlite3_reset(st);
	return r < 0 ? r : n;
}

int store_exec(struct store_db *db, enum stmt which, const struct bind *bind, const char *what, struct err *e)
{
	sqlite3_stmt *st = store_stmt(db, which, e);
	if (!st)
		return err_code(e);
	store_bind(st, bind);
	int step = sqlite3_step(st);
	int r = step == SQLITE_DONE || step == SQLITE_ROW ? 0 : store_error(db, what, e);
	(void)sqlite3_reset(st);
	return r;
}

int store_script(struct store_db *db, const char *sql, const char *what, struct err *e)
{
	return sqlite3_exec(db->h, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_error(db, what, e);
}

int row_int(void *arg, sqlite3_stmt *st, struct err *e)
{
	*(int64_t *)arg = sqlite3_column_int64(st, 0);
	return 0;
}

void column_add(sqlite3_stmt *st, int i, struct strbuf *out)
{
	const void *data = sqlite3_column_blob(st, i);
	strbuf_add(out, data ? data : "", (size_t)sqlite3_column_bytes(st, i));
}

char *column_dup(sqlite3_stmt *st, int i)
{
	return xstrdup((const char *)sqlite3_column_text(st, i));
}

bool column_sha(sqlite3_stmt *st, int i, uint8_t out[ROW_SHA_LEN])
{
	if (sqlite3_column_bytes(st, i) != ROW_SHA_LEN)
		return false;
	memcpy(out, sqlite3_column_blob(st, i), ROW_SHA_LEN);
	return true;
}

struct store_db *store_read_begin(struct catalog *c, struct err *e)
{
	{
		MUTEX_GUARD(&c->read_mutex);
		struct store_db *db = c->free_readers;
		if (db) {
			c->free_readers = db->next;
			return db;
		}
	}
	return store_open(c, false, true, e);
}

void store_read_end(struct catalog *c, struct store_db *db)
{
	if (!db)
		return;
	MUTEX_GUARD(&c->read_mutex);
	db->next = c->free_readers;
	c->free_readers = db;
}

int store_read(struct catalog *c, enum stmt which, const struct bind *bind, row_fn *row, void *arg, const char *what,
	       struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = store_query(db, which, bind, row, arg, what, e);
	store_read_end(c, db);
	return r;
}

struct store_db *store_write_begin(struct catalog *c, enum store_sync sync, struct err *e)
{
	if (!c->writer) {
		(void)err_set(e, EROFS, "catalog: opened for reading only");
		return NULL;
	}
	(void)pthread_mutex_lock(&c->write_mutex);
	/* NORMAL in WAL mode syncs at checkpoints only; a later FULL commit syncs the whole log, earlier transactions
	 * with it. */
	const char *pragma = sync == STORE_DURABLE ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL";
	if (sync == c->writer_sync || sqlite3_exec(c->writer->h, pragma, NULL, NULL, NULL) == SQLITE_OK) {
		c->writer_sync = sync; /* also when BEGIN fails: the connection is set */
		if (sqlite3_exec(c->writer->h, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK)
			return c->writer;
	}
	(void)store_error(c->writer, "begin", e);
	(void)pthread_mutex_unlock(&c->write_mutex);
	return NULL;
}

int store_write_end(struct catalog *c, struct store_db *db, int r, struct err *e)
{
	/* After SQLITE_FULL and some I/O errors SQLite has rolled back by itself: COMMIT would then commit nothing and
	 * say so. */
	if (r == 0 && sqlite3_get_autocommit(db->h))
		r = err_set(e, EIO, "catalog: the transaction was lost");
	if (r == 0 && sqlite3_exec(db->h, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		r = store_error(db, "commit", e);
	if (!sqlite3_get_autocommit(db->h))
		(void)sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
	(void)pthread_mutex_unlock(&c->write_mutex);
	return r;
}

int store_reserve(struct store_db *db, const char *counter, int64_t n, int64_t *ret, struct err *e)
{
	/* RETURNING gives its row before the statement ends: the query steps on, so that the update is complete. */
	int r =
	    store_query(db, STMT_COUNTER, BINDS(bind_text(counter), bind_int(n)), row_int, ret, "reserving numbers", e);
	return r < 0 ? r : r == 0 ? err_set(e, EIO, "catalog: no counter '%s'", counter) : 0;
}

int store_pragma(struct store_db *db, const char *sql, int64_t *ret, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int r = 0;
	if (sqlite3_prepare_v2(db->h, sql, -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW)
		r = store_error(db, sql, e);
	else
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return r;
}
