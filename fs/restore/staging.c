/*
 * fs/restore/staging.c - see staging.h. Owns CATALOG-staging: one connection, one mutex, and a thread that commits.
 *
 * A file's content lies in chunks of 128 KiB, key (node << 24 | number); a chunk may be shorter than its place (the
 * rest is zeros) or missing (all zeros). Chunks written since the last commit are kept in memory, so that many small
 * writes cost one row; they are what readers see first. Attributes go to SQLite at once, inside the open transaction.
 * `top` of a node is the set it counts for: a name that does not count makes everything below it inert.
 * Threads: FUSE workers, slow-path threads, the committer. Lock: staging.mutex.
 */
#include "fs/restore/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

#include "base/log.h"
#include "snapshot/capture/backup.h"

#define STAGING_FORMAT 1
#define STAGING_COMMIT_BYTES (8u << 20)
#define STAGING_COMMIT_APART (64u << 10)
#define STAGING_COMMIT_MS 100
#define STAGING_CHUNK_BITS 24
#define STAGING_BUCKETS 4096
#define STAGING_XATTR_MAX 65536
#define STAGING_VACUUM_PAGES 2048

/* ---- statements ---- */

enum staging_stmt {
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_GET,
	ST_LOOKUP,
	ST_LIST,
	ST_NAME,
	ST_INSERT,
	ST_ADD_ROOT,
	ST_SET_TOP,
	ST_DELETE,
	ST_ORPHAN,
	ST_MOVE,
	ST_RETOP,
	ST_TOUCH_DIR,
	ST_ATTR,
	ST_WRITTEN,
	ST_READLINK,
	ST_HAS_CHILD,
	ST_CHUNK_GET,
	ST_CHUNK_PUT,
	ST_CHUNK_DELETE,
	ST_XATTR_GET,
	ST_XATTR_PUT,
	ST_XATTR_LIST,
	ST_XATTR_DELETE,
	ST_XATTR_DELETE_ALL,
	ST_SET_COUNT,
	ST_COUNT,
	ST_SET_STATE,
	ST_SET_PUT,
	ST_SET_DELETE,
	ST_FREE_PAGES,
	ST_N,
};

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

/* ---- state ---- */

struct staging_chunk {
	struct staging_chunk *next; /* in its bucket */
	struct staging_chunk *all_next, **all_prev;
	int64_t key;
	size_t len;
	size_t cap;
	unsigned char *data;
};

/* A node that is open somewhere. */
struct staging_open_node {
	struct staging_open_node *next;
	int64_t id;
	int64_t top;
	unsigned opens;
	unsigned dirty;
	bool orphan;
};

struct staging_set_entry {
	struct staging_set_entry *next;
	struct staged_set set;
	bool counted; /* set.files is right */
};

struct staging {
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	pthread_t committer;
	bool committer_started;
	bool committer_idle; /* it waits for a transaction to begin */
	bool stopping;
	sqlite3 *db;
	char *path;
	sqlite3_stmt *stmt[ST_N];
	bool in_transaction;
	struct timespec begun;
	struct staging_chunk *chunks[STAGING_BUCKETS];
	struct staging_chunk *all; /* them, for commits: few against the buckets */
	size_t chunk_bytes;
	struct staging_open_node *opens[STAGING_BUCKETS];
	unsigned dirty; /* handles that were written and not closed, all sets */
	struct staging_set_entry *sets;
	bool bytes_only; /* the transaction holds nothing but chunks that are in memory, too */
	bool full; /* a commit failed for want of space: the file gives back what it can at the next one that works */
	int lost;  /* errno of a transaction that SQLite rolled back: what was written in it is gone, see staging_failed
		    */
};

static int64_t staging_now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t staging_chunk_key(int64_t node, uint64_t number)
{
	return (int64_t)(((uint64_t)node << STAGING_CHUNK_BITS) | number);
}

static size_t staging_bucket(int64_t key)
{
	uint64_t h = (uint64_t)key * UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(h >> 52) % STAGING_BUCKETS;
}

/* ---- SQLite ---- */

static void staging_drop_chunks(struct staging *s)
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
static int staging_failed(struct staging *s, int rc)
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

static sqlite3_stmt *staging_stmt(struct staging *s, enum staging_stmt which)
{
	sqlite3_stmt *st = s->stmt[which];
	(void)sqlite3_reset(st);
	return st;
}

/* Runs a statement that gives no row. */
static int staging_run(struct staging *s, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : staging_failed(s, rc);
}

static int staging_exec(struct staging *s, enum staging_stmt which)
{
	return staging_run(s, staging_stmt(s, which));
}

static void staging_bind_name(sqlite3_stmt *st, int at, const char *name)
{
	(void)sqlite3_bind_blob(st, at, name, (int)strlen(name), SQLITE_STATIC);
}

static int staging_begin(struct staging *s)
{
	if (s->in_transaction)
		return 0;
	int r = staging_exec(s, ST_BEGIN);
	if (r < 0)
		return r;
	s->in_transaction = true;
	(void)clock_gettime(CLOCK_MONOTONIC, &s->begun);
	if (s->committer_idle)
		(void)pthread_cond_signal(&s->wake);
	return 0;
}

/* Others need what room there is more than this file's log: the next writer starts it anew and cuts it to
 * journal_size_limit, what staging_reserve made. True when that worked. */
static bool staging_shrink_log(struct staging *s)
{
	return sqlite3_exec(s->db, "PRAGMA wal_checkpoint(RESTART); PRAGMA user_version=1", NULL, NULL, NULL) ==
	       SQLITE_OK;
}

/* The log gets its smallest size at the start: on a full disk names and attributes can still be committed, files
 * removed. */
static void staging_reserve(struct staging *s)
{
	(void)sqlite3_exec(
	    s->db,
	    "BEGIN IMMEDIATE; CREATE TABLE reserve(data BLOB); INSERT INTO reserve VALUES(zeroblob(1000000)); COMMIT;"
	    "DROP TABLE reserve; PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(RESTART)",
	    NULL, NULL, NULL);
}

/* Space that removed files left goes back to the file system, a bounded piece at a time. */
static void staging_give_back(struct staging *s)
{
	sqlite3_stmt *st = staging_stmt(s, ST_FREE_PAGES);
	int64_t n = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	(void)sqlite3_reset(st);
	if (n >= STAGING_VACUUM_PAGES || (n && s->full))
		(void)sqlite3_exec(s->db, s->full ? "PRAGMA incremental_vacuum" : "PRAGMA incremental_vacuum(1024)",
				   NULL, NULL, NULL);
	if (s->full && staging_shrink_log(s))
		s->full = false;
}

static int staging_write_chunks(struct staging *s)
{
	for (struct staging_chunk *c = s->all; c; c = c->all_next) {
		sqlite3_stmt *st = staging_stmt(s, ST_CHUNK_PUT);
		(void)sqlite3_bind_int64(st, 1, c->key);
		(void)sqlite3_bind_blob(st, 2, c->data ? c->data : (const unsigned char *)"", (int)c->len,
					SQLITE_STATIC);
		int r = staging_run(s, st);
		(void)sqlite3_clear_bindings(st);
		if (r < 0)
			return r;
	}
	return 0;
}

static int staging_end_transaction(struct staging *s)
{
	int r = staging_exec(s, ST_COMMIT);
	if (r == 0)
		s->in_transaction = false;
	return r;
}

/* Chunks stay in memory until they are safe. Where they are many, names and attributes are committed first: then a full
 * disk can only refuse the bytes, which are still here and whose writer is told. */
static int staging_commit_locked(struct staging *s)
{
	int r;

	if (s->chunk_bytes > STAGING_COMMIT_APART && s->in_transaction) {
		r = staging_end_transaction(s);
		if (r < 0)
			return r;
	}
	if (!s->in_transaction && !s->chunk_bytes)
		return s->lost ? -s->lost : 0;
	bool bytes_only = !s->in_transaction;
	s->bytes_only = bytes_only;
	r = staging_begin(s);
	if (r == 0)
		r = staging_write_chunks(s);
	if (r == 0)
		r = staging_end_transaction(s);
	s->bytes_only = false;
	if (r < 0) {
		if (bytes_only && s->in_transaction) {
			(void)staging_exec(s, ST_ROLLBACK);
			s->in_transaction = false;
		}
		if (!s->in_transaction)
			staging_shrink_log(s);
		return r;
	}
	staging_drop_chunks(s);
	staging_give_back(s);
	return 0;
}

/* Each close of a file ends a transaction and the next request begins another: the thread is not woken for each of
 * them, it looks how old the open one is when the time of an earlier one has come. */
static void *staging_committer(void *arg)
{
	struct staging *s = arg;
	MUTEX_GUARD(&s->mutex);

	while (!s->stopping) {
		if (!s->in_transaction) {
			s->committer_idle = true;
			(void)pthread_cond_wait(&s->wake, &s->mutex);
			s->committer_idle = false;
			continue;
		}
		struct timespec until = s->begun, now;
		until.tv_nsec += STAGING_COMMIT_MS * 1000000L;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec < until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec < until.tv_nsec)) {
			(void)pthread_cond_timedwait(&s->wake, &s->mutex, &until);
			continue;
		}
		if (staging_commit_locked(s) < 0)
			(void)clock_gettime(CLOCK_MONOTONIC, &s->begun); /* again at the next change */
	}
	return NULL;
}

static void staging_node_of(sqlite3_stmt *st, struct staged_node *n)
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

static int staging_get_locked(struct staging *s, int64_t id, struct staged_node *ret)
{
	sqlite3_stmt *st = staging_stmt(s, ST_GET);
	(void)sqlite3_bind_int64(st, 1, id);
	return staging_fetch(s, st, ret);
}

static int staging_lookup_locked(struct staging *s, int64_t parent, const char *name, struct staged_node *ret)
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

/* ---- sets and what counts ---- */

static bool staging_counts(const char *name, mode_t mode)
{
	if (S_ISDIR(mode))
		return backup_name_counts(name, false);
	/* fs/restore/sets.c only needs a count that is never too small */
	return S_ISREG(mode) && (backup_name_counts(name, true) || backup_name_counts(name, false));
}

static void staging_counts_sql(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	char name[STAGING_NAME_MAX + 1];
	size_t len = (size_t)sqlite3_value_bytes(v[0]);
	const void *data = sqlite3_value_blob(v[0]);
	if (len > STAGING_NAME_MAX || !data)
		len = 0;
	else
		memcpy(name, data, len);
	name[len] = '\0';
	sqlite3_result_int(ctx, staging_counts(name, (mode_t)sqlite3_value_int64(v[1])));
}

bool staging_is_sql(const char *name)
{
	size_t len = strlen(name);
	return name[0] != '.' && len > 4 && !strcmp(name + len - 4, ".sql");
}

/* What is a set when it lies directly in restore/. */
static bool staging_is_set(const char *name, mode_t mode)
{
	return S_ISDIR(mode) ? staging_counts(name, mode) : S_ISREG(mode) && staging_is_sql(name);
}

/* The set that a node called `name` in `parent` counts for. id: the node's own, 0 when not known yet. */
static int64_t staging_top_of(const struct staged_node *parent, const char *name, mode_t mode, int64_t id)
{
	if (parent->id < 0)
		return staging_is_set(name, mode) ? id : 0;
	return parent->top && staging_counts(name, mode) ? parent->top : 0;
}

static struct staging_open_node *staging_find_open(struct staging *s, int64_t id)
{
	struct staging_open_node *o = s->opens[staging_bucket(id)];
	while (o && o->id != id)
		o = o->next;
	return o;
}

static int staging_set_of(struct staging *s, int64_t top, struct staging_set_entry **ret)
{
	struct staging_set_entry *x = s->sets;
	while (x && x->set.top != top)
		x = x->next;
	if (!x) {
		int state = STAGED_OPEN, error = 0;
		sqlite3_stmt *st = staging_stmt(s, ST_SET_STATE);
		(void)sqlite3_bind_int64(st, 1, top);
		int rc = sqlite3_step(st);
		if (rc == SQLITE_ROW) {
			state = sqlite3_column_int(st, 0);
			error = sqlite3_column_int(st, 1);
		}
		(void)sqlite3_reset(st);
		if (rc != SQLITE_ROW && rc != SQLITE_DONE)
			return staging_failed(s, rc);
		x = xcalloc(1, sizeof *x);
		x->set = (struct staged_set){.top = top, .state = (enum staged_state)state, .error = error};
		x->next = s->sets;
		s->sets = x;
	}
	if (!x->counted) {
		sqlite3_stmt *st = staging_stmt(s, ST_SET_COUNT);
		(void)sqlite3_bind_int64(st, 1, top);
		int rc = sqlite3_step(st);
		if (rc != SQLITE_ROW) {
			(void)sqlite3_reset(st);
			return staging_failed(s, rc);
		}
		x->set.files = (uint64_t)sqlite3_column_int64(st, 0);
		x->counted = true;
		x->set.need = 0;
		(void)sqlite3_reset(st);
	}
	*ret = x;
	return 0;
}

static void staging_forget_set(struct staging *s, int64_t top)
{
	for (struct staging_set_entry **p = &s->sets; *p; p = &(*p)->next) {
		if ((*p)->set.top == top) {
			struct staging_set_entry *x = *p;
			*p = x->next;
			free(x);
			return;
		}
	}
}

/* Something that counts for `top` changes; files: by how much its number of files does. Called before the change,
 * inside the transaction. `again`: files may have gone or got other names, so `need` does not hold any more. */
static int staging_changed(struct staging *s, int64_t top, int files, bool again)
{
	if (!top)
		return 0;
	struct staging_set_entry *x;
	int r = staging_set_of(s, top, &x);
	if (r < 0)
		return r;
	x->set.changes++;
	x->set.files += (uint64_t)(int64_t)files;
	if (again)
		x->set.need = 0;
	if (x->set.state != STAGED_OPEN) {
		sqlite3_stmt *st = staging_stmt(s, ST_SET_PUT);
		(void)sqlite3_bind_int64(st, 1, top);
		(void)sqlite3_bind_int(st, 2, STAGED_OPEN);
		(void)sqlite3_bind_int(st, 3, 0);
		r = staging_run(s, st);
		if (r < 0)
			return r;
		x->set.state = STAGED_OPEN;
		x->set.error = 0;
		x->set.need = 0;
	}
	return 0;
}

/* ---- chunks ---- */

static struct staging_chunk *staging_find_chunk(struct staging *s, int64_t key)
{
	struct staging_chunk *c = s->chunks[staging_bucket(key)];
	while (c && c->key != key)
		c = c->next;
	return c;
}

static void staging_grow_chunk(struct staging *s, struct staging_chunk *c, size_t len)
{
	if (c->cap < len) {
		size_t cap = c->cap ? c->cap : 512;
		while (cap < len)
			cap *= 2;
		c->data = xrealloc(c->data, cap);
		s->chunk_bytes += cap - c->cap;
		c->cap = cap;
	}
	if (c->len < len) {
		memset(c->data + c->len, 0, len - c->len);
		c->len = len;
	}
}

/* The chunk in memory, to be changed; what the file holds of it is read first when `load`. */
static int staging_take_chunk(struct staging *s, int64_t key, bool load, struct staging_chunk **ret)
{
	struct staging_chunk *c = staging_find_chunk(s, key);
	if (c) {
		*ret = c;
		return 0;
	}
	c = xcalloc(1, sizeof *c);
	c->key = key;
	if (load) {
		sqlite3_stmt *st = staging_stmt(s, ST_CHUNK_GET);
		(void)sqlite3_bind_int64(st, 1, key);
		int rc = sqlite3_step(st);
		if (rc == SQLITE_ROW) {
			size_t len = (size_t)sqlite3_column_bytes(st, 0);
			const void *data = sqlite3_column_blob(st, 0);
			staging_grow_chunk(s, c, len);
			if (len)
				memcpy(c->data, data, len);
		}
		(void)sqlite3_reset(st);
		if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
			free(c->data);
			free(c);
			return staging_failed(s, rc);
		}
	}
	struct staging_chunk **head = &s->chunks[staging_bucket(key)];
	c->next = *head;
	*head = c;
	c->all_next = s->all;
	c->all_prev = &s->all;
	if (s->all)
		s->all->all_prev = &c->all_next;
	s->all = c;
	*ret = c;
	return 0;
}

/* Chunks first.. of a file of `size` bytes are dropped. */
static int staging_drop_from(struct staging *s, int64_t id, uint64_t first, uint64_t size)
{
	for (uint64_t no = first; no * STAGING_CHUNK < size; no++) {
		int64_t key = staging_chunk_key(id, no);
		for (struct staging_chunk **p = &s->chunks[staging_bucket(key)]; *p; p = &(*p)->next) {
			if ((*p)->key == key) {
				struct staging_chunk *c = *p;
				*p = c->next;
				*c->all_prev = c->all_next;
				if (c->all_next)
					c->all_next->all_prev = c->all_prev;
				s->chunk_bytes -= c->cap;
				free(c->data);
				free(c);
				break;
			}
		}
	}
	if (first * STAGING_CHUNK >= size)
		return 0;
	sqlite3_stmt *st = staging_stmt(s, ST_CHUNK_DELETE);
	(void)sqlite3_bind_int64(st, 1, staging_chunk_key(id, first));
	(void)sqlite3_bind_int64(st, 2, staging_chunk_key(id, (1u << STAGING_CHUNK_BITS) - 1));
	return staging_run(s, st);
}

static int staging_truncate(struct staging *s, int64_t id, uint64_t old_size, uint64_t size)
{
	if (size >= old_size)
		return 0;
	uint64_t whole = size / STAGING_CHUNK, rest = size % STAGING_CHUNK;
	int r = staging_drop_from(s, id, rest ? whole + 1 : whole, old_size);
	if (r < 0 || !rest)
		return r;
	struct staging_chunk *c;
	r = staging_take_chunk(s, staging_chunk_key(id, whole), true, &c);
	if (r < 0)
		return r;
	if (c->len > rest)
		c->len = rest;
	return 0;
}

/* ---- opening ---- */

static int staging_prepare(struct staging *s, struct err *e)
{
	for (size_t k = 0; k < ST_N; k++)
		if (sqlite3_prepare_v3(s->db, staging_sql[k], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[k], NULL) !=
		    SQLITE_OK)
			return err_set(e, EIO, "%s: %s", s->path, sqlite3_errmsg(s->db));
	return 0;
}

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
		if (r == 0)
			r = staging_pragma(s, staging_schema, e);
		if (r == 0)
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

/* ---- reading the tree ---- */

int staging_get(struct staging *s, int64_t id, struct staged_node *ret)
{
	MUTEX_GUARD(&s->mutex);
	return staging_get_locked(s, id, ret);
}

int staging_lookup(struct staging *s, int64_t parent, const char *name, struct staged_node *ret)
{
	MUTEX_GUARD(&s->mutex);
	return staging_lookup_locked(s, parent, name, ret);
}

int staging_list(struct staging *s, int64_t parent, int64_t after, struct staged_entry *out, size_t cap, size_t *ret_n)
{
	MUTEX_GUARD(&s->mutex);
	size_t n = 0;
	int rc;

	sqlite3_stmt *st = staging_stmt(s, ST_LIST);
	(void)sqlite3_bind_int64(st, 1, parent);
	(void)sqlite3_bind_int64(st, 2, after);
	(void)sqlite3_bind_int64(st, 3, (int64_t)cap);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && n < cap) {
		staging_node_of(st, &out[n].node);
		size_t len = (size_t)sqlite3_column_bytes(st, 12);
		if (len > STAGING_NAME_MAX)
			len = STAGING_NAME_MAX;
		memcpy(out[n].name, sqlite3_column_blob(st, 12), len);
		out[n].name[len] = '\0';
		n++;
	}
	(void)sqlite3_reset(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return staging_failed(s, rc);
	*ret_n = n;
	return 0;
}

int staging_name(struct staging *s, int64_t id, char name[STAGING_NAME_MAX + 1])
{
	MUTEX_GUARD(&s->mutex);
	sqlite3_stmt *st = staging_stmt(s, ST_NAME);
	(void)sqlite3_bind_int64(st, 1, id);
	int rc = sqlite3_step(st), r = -ENOENT;
	if (rc == SQLITE_ROW) {
		size_t len = (size_t)sqlite3_column_bytes(st, 0);
		if (len > STAGING_NAME_MAX)
			len = STAGING_NAME_MAX;
		memcpy(name, sqlite3_column_blob(st, 0), len);
		name[len] = '\0';
		r = 0;
	}
	(void)sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? r : staging_failed(s, rc);
}

int staging_readlink(struct staging *s, int64_t id, struct strbuf *out)
{
	MUTEX_GUARD(&s->mutex);
	sqlite3_stmt *st = staging_stmt(s, ST_READLINK);
	(void)sqlite3_bind_int64(st, 1, id);
	int rc = sqlite3_step(st), r = -EINVAL;
	if (rc == SQLITE_ROW) {
		strbuf_add(out, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
		r = 0;
	}
	(void)sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? r : staging_failed(s, rc);
}

/* ---- changing the tree ---- */

static int staging_touch_dir(struct staging *s, int64_t dir, int subdirs, int64_t now)
{
	sqlite3_stmt *st = staging_stmt(s, ST_TOUCH_DIR);
	(void)sqlite3_bind_int64(st, 1, dir);
	(void)sqlite3_bind_int(st, 2, subdirs);
	(void)sqlite3_bind_int64(st, 3, now);
	return staging_run(s, st);
}

static int staging_insert(struct staging *s, const struct staged_node *dir, const char *name, mode_t mode, uid_t uid,
			  gid_t gid, const char *target, bool generated, int64_t now, int64_t *ret_id)
{
	bool is_set = dir->id < 0 && !generated && staging_is_set(name, mode);
	int64_t top = generated || is_set ? 0 : staging_top_of(dir, name, mode, 0);
	int r = staging_changed(s, top, S_ISREG(mode) ? 1 : 0, false);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_INSERT);
	(void)sqlite3_bind_int64(st, 1, dir->id);
	staging_bind_name(st, 2, name);
	(void)sqlite3_bind_int64(st, 3, top);
	(void)sqlite3_bind_int64(st, 4, mode);
	(void)sqlite3_bind_int64(st, 5, uid);
	(void)sqlite3_bind_int64(st, 6, gid);
	(void)sqlite3_bind_int64(st, 7, target ? (int64_t)strlen(target) : 0);
	(void)sqlite3_bind_int64(st, 8, now);
	(void)sqlite3_bind_int(st, 9, generated);
	if (target)
		staging_bind_name(st, 10, target);
	r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	if (r < 0)
		return r;
	*ret_id = sqlite3_last_insert_rowid(s->db);
	if (is_set) {
		st = staging_stmt(s, ST_SET_TOP);
		(void)sqlite3_bind_int64(st, 1, *ret_id);
		(void)sqlite3_bind_int64(st, 2, *ret_id);
		r = staging_run(s, st);
	}
	return r;
}

/* The directory a change goes to. */
static int staging_dir(struct staging *s, int64_t id, struct staged_node *ret)
{
	int r = staging_get_locked(s, id, ret);
	if (r < 0)
		return r;
	if (!S_ISDIR(ret->mode))
		return -ENOTDIR;
	return ret->id > 0 && ret->parent == 0 ? -ENOENT : 0;
}

static int staging_name_check(const char *name)
{
	size_t len = strlen(name);
	if (len > STAGING_NAME_MAX)
		return -ENAMETOOLONG;
	return len == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ? -EINVAL : 0;
}

int staging_make(struct staging *s, int64_t parent, const char *name, mode_t mode, uid_t uid, gid_t gid,
		 const char *target, struct staged_node *ret)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node dir, old;
	int64_t id, now = staging_now_ns();

	int r = staging_name_check(name);
	if (r < 0)
		return r;
	if (target && strlen(target) >= PATH_MAX)
		return -ENAMETOOLONG;
	r = staging_dir(s, parent, &dir);
	if (r < 0)
		return r;
	r = staging_lookup_locked(s, parent, name, &old);
	if (r != -ENOENT)
		return r < 0 ? r : -EEXIST;
	r = staging_begin(s);
	if (r == 0)
		r = staging_insert(s, &dir, name, mode, uid, gid, target, false, now, &id);
	if (r == 0)
		r = staging_touch_dir(s, parent, S_ISDIR(mode) ? 1 : 0, now);
	if (r == 0)
		r = staging_get_locked(s, id, ret);
	return r;
}

/* Takes the node out of the tree; its content goes too unless it is open. again: as in staging_changed. */
static int staging_drop(struct staging *s, const struct staged_node *n, bool again)
{
	int r = staging_changed(s, n->top, S_ISREG(n->mode) ? -1 : 0, again);
	if (r < 0)
		return r;
	struct staging_open_node *o = staging_find_open(s, n->id);
	if (o) {
		o->orphan = true;
		o->top = 0;
		sqlite3_stmt *st = staging_stmt(s, ST_ORPHAN);
		(void)sqlite3_bind_int64(st, 1, n->id);
		return staging_run(s, st);
	}
	if (S_ISREG(n->mode))
		r = staging_drop_from(s, n->id, 0, n->size);
	if (r < 0)
		return r;
	static const enum staging_stmt both[] = {ST_XATTR_DELETE_ALL, ST_DELETE};
	for (size_t k = 0; k < 2 && r == 0; k++) {
		sqlite3_stmt *st = staging_stmt(s, both[k]);
		(void)sqlite3_bind_int64(st, 1, n->id);
		r = staging_run(s, st);
	}
	if (r == 0 && n->top == n->id) {
		sqlite3_stmt *st = staging_stmt(s, ST_SET_DELETE);
		(void)sqlite3_bind_int64(st, 1, n->id);
		r = staging_run(s, st);
		staging_forget_set(s, n->id);
	}
	return r;
}

int staging_unlink(struct staging *s, int64_t parent, const char *name)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node n;
	int r = staging_lookup_locked(s, parent, name, &n);
	if (r < 0)
		return r;
	if (S_ISDIR(n.mode))
		return -EISDIR;
	r = staging_begin(s);
	if (r == 0)
		r = staging_drop(s, &n, true);
	if (r == 0 && !n.generated)
		r = staging_touch_dir(s, parent, 0, staging_now_ns());
	if (r == 0 && s->full)
		(void)staging_commit_locked(s); /* what was waiting for space may have it now */
	return r;
}

static int staging_empty(struct staging *s, int64_t dir)
{
	sqlite3_stmt *st = staging_stmt(s, ST_HAS_CHILD);
	(void)sqlite3_bind_int64(st, 1, dir);
	int rc = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return rc == SQLITE_DONE ? 0 : rc == SQLITE_ROW ? -ENOTEMPTY : staging_failed(s, rc);
}

int staging_rmdir(struct staging *s, int64_t parent, const char *name)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node n;
	int r = staging_lookup_locked(s, parent, name, &n);
	if (r < 0)
		return r;
	if (!S_ISDIR(n.mode))
		return -ENOTDIR;
	r = staging_empty(s, n.id);
	if (r == 0)
		r = staging_begin(s);
	if (r == 0)
		r = staging_drop(s, &n, true);
	return r < 0 ? r : staging_touch_dir(s, parent, -1, staging_now_ns());
}

/* Node n gets another place; inside the transaction. Its (dir, name) must be free. */
static int staging_move(struct staging *s, const struct staged_node *n, const struct staged_node *dir, const char *name,
			int64_t now)
{
	int64_t top = n->generated ? 0 : staging_top_of(dir, name, n->mode, n->id);
	sqlite3_stmt *st = staging_stmt(s, ST_MOVE);
	(void)sqlite3_bind_int64(st, 1, n->id);
	(void)sqlite3_bind_int64(st, 2, dir->id);
	staging_bind_name(st, 3, name);
	(void)sqlite3_bind_int64(st, 4, now);
	int r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	if (r < 0)
		return r;

	/* a set may be called anything: moving it within restore/ changes nothing in it */
	if (top == n->id && n->top == n->id)
		return 0;
	r = staging_changed(s, n->top, S_ISREG(n->mode) ? -1 : 0, true);
	if (r == 0)
		r = staging_changed(s, top, S_ISREG(n->mode) ? 1 : 0, S_ISDIR(n->mode));
	if (r < 0 || top == n->top)
		return r;
	if (!S_ISDIR(n->mode)) {
		st = staging_stmt(s, ST_SET_TOP);
		(void)sqlite3_bind_int64(st, 1, n->id);
		(void)sqlite3_bind_int64(st, 2, top);
		r = staging_run(s, st);
		struct staging_open_node *o = staging_find_open(s, n->id);
		if (o)
			o->top = top;
		return r;
	}
	/* a directory took everything below along */
	st = staging_stmt(s, ST_RETOP);
	(void)sqlite3_bind_int64(st, 1, n->id);
	(void)sqlite3_bind_int64(st, 2, top);
	r = staging_run(s, st);
	if (r < 0)
		return r;
	for (struct staging_set_entry *x = s->sets; x; x = x->next)
		if (x->set.top == n->top || x->set.top == top)
			x->counted = false;
	for (size_t b = 0; b < STAGING_BUCKETS; b++) {
		for (struct staging_open_node *o = s->opens[b]; o; o = o->next) {
			struct staged_node now_at;
			if (staging_get_locked(s, o->id, &now_at) == 0)
				o->top = now_at.top;
		}
	}
	if (n->top == n->id && top != n->id) { /* no longer a set of its own */
		st = staging_stmt(s, ST_SET_DELETE);
		(void)sqlite3_bind_int64(st, 1, n->id);
		r = staging_run(s, st);
		staging_forget_set(s, n->id);
	}
	return r;
}

int staging_rename(struct staging *s, int64_t parent, const char *name, int64_t new_parent, const char *new_name,
		   unsigned flags)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node dir, new_dir, n, old;
	int64_t now = staging_now_ns();

	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	int r = staging_name_check(new_name);
	if (r == 0)
		r = staging_dir(s, parent, &dir);
	if (r == 0)
		r = staging_dir(s, new_parent, &new_dir);
	if (r == 0)
		r = staging_lookup_locked(s, parent, name, &n);
	if (r < 0)
		return r;
	r = staging_lookup_locked(s, new_parent, new_name, &old);
	if (r < 0 && r != -ENOENT)
		return r;
	bool over = r == 0;
	if (over && old.id == n.id)
		return 0;
	if ((flags & RENAME_EXCHANGE) && !over)
		return -ENOENT;
	if ((flags & RENAME_NOREPLACE) && over)
		return -EEXIST;
	if (over && !(flags & RENAME_EXCHANGE)) {
		if (S_ISDIR(old.mode) && !S_ISDIR(n.mode))
			return -EISDIR;
		if (!S_ISDIR(old.mode) && S_ISDIR(n.mode))
			return -ENOTDIR;
		if (S_ISDIR(old.mode)) {
			r = staging_empty(s, old.id);
			if (r < 0)
				return r;
		}
	}
	/* The kernel has refused to move a directory below itself; a stale cache must not make a ring all the same. */
	if (S_ISDIR(n.mode)) {
		struct staged_node up = new_dir;
		while (up.id > 0) {
			if (up.id == n.id)
				return -EINVAL;
			r = staging_get_locked(s, up.parent, &up);
			if (r < 0)
				return r;
		}
	}

	r = staging_begin(s);
	if (r < 0)
		return r;
	if (flags & RENAME_EXCHANGE) {
		static const char aside[] = "\1exchange"; /* parent 0: not in the tree */
		const struct staged_node nowhere = {.id = 0};
		r = staging_move(s, &old, &nowhere, aside, now);
		if (r == 0)
			r = staging_move(s, &n, &new_dir, new_name, now);
		if (r == 0)
			r = staging_get_locked(s, old.id, &old);
		if (r == 0)
			r = staging_move(s, &old, &dir, name, now);
	} else {
		if (over)
			r = staging_drop(s, &old, false); /* its name stays */
		if (r == 0)
			r = staging_move(s, &n, &new_dir, new_name, now);
	}
	int from = S_ISDIR(n.mode) ? -1 : 0, to = S_ISDIR(n.mode) ? 1 : 0;
	if (over) {
		to -= S_ISDIR(old.mode) ? 1 : 0;
		if (flags & RENAME_EXCHANGE)
			from += S_ISDIR(old.mode) ? 1 : 0;
	}
	if (r == 0)
		r = staging_touch_dir(s, parent, from, now);
	return r < 0 ? r : staging_touch_dir(s, new_parent, to, now);
}

static int staging_write_attr(struct staging *s, const struct staged_node *n)
{
	sqlite3_stmt *st = staging_stmt(s, ST_ATTR);
	(void)sqlite3_bind_int64(st, 1, n->id);
	(void)sqlite3_bind_int64(st, 2, n->mode);
	(void)sqlite3_bind_int64(st, 3, n->uid);
	(void)sqlite3_bind_int64(st, 4, n->gid);
	(void)sqlite3_bind_int64(st, 5, (int64_t)n->size);
	(void)sqlite3_bind_int64(st, 6, n->atime_ns);
	(void)sqlite3_bind_int64(st, 7, n->mtime_ns);
	(void)sqlite3_bind_int64(st, 8, n->ctime_ns);
	return staging_run(s, st);
}

int staging_setattr(struct staging *s, int64_t id, const struct staged_node *attr, unsigned set,
		    struct staged_node *ret)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node n;
	int r = staging_get_locked(s, id, &n);
	if (r < 0)
		return r;
	if (s->lost && (set & STAGING_SIZE))
		return -s->lost;
	r = staging_begin(s);
	if (r < 0)
		return r;
	n.ctime_ns = staging_now_ns();
	if (set & STAGING_MODE)
		n.mode = (n.mode & S_IFMT) | (attr->mode & 07777);
	if (set & STAGING_UID)
		n.uid = attr->uid;
	if (set & STAGING_GID)
		n.gid = attr->gid;
	if (set & STAGING_SIZE) {
		if (!S_ISREG(n.mode))
			return S_ISDIR(n.mode) ? -EISDIR : -EINVAL;
		if (attr->size > STAGING_FILE_MAX)
			return -EFBIG;
		if (attr->size != n.size) {
			r = staging_changed(s, n.top, 0, false);
			if (r == 0)
				r = staging_truncate(s, id, n.size, attr->size);
			if (r < 0)
				return r;
		}
		n.size = attr->size;
		n.mtime_ns = n.ctime_ns;
	}
	if (set & STAGING_ATIME)
		n.atime_ns = attr->atime_ns;
	if (set & STAGING_MTIME)
		n.mtime_ns = attr->mtime_ns;
	r = staging_write_attr(s, &n);
	if (r == 0 && ret)
		*ret = n;
	return r;
}

/* ---- content ---- */

int staging_read(struct staging *s, int64_t id, uint64_t offset, void *buf, size_t n, size_t *ret_n)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node node;
	int r = staging_get_locked(s, id, &node);
	if (r < 0)
		return r;
	if (!S_ISREG(node.mode))
		return -EISDIR;
	*ret_n = 0;
	if (offset >= node.size)
		return 0;
	if (n > node.size - offset)
		n = (size_t)(node.size - offset);
	for (size_t done = 0; done < n;) {
		uint64_t at = offset + done;
		size_t in = (size_t)(at % STAGING_CHUNK), want = STAGING_CHUNK - in;
		if (want > n - done)
			want = n - done;
		int64_t key = staging_chunk_key(id, at / STAGING_CHUNK);
		struct staging_chunk *c = staging_find_chunk(s, key);
		const unsigned char *data = c ? c->data : NULL;
		size_t len = c ? c->len : 0;
		sqlite3_stmt *st = NULL;
		if (!c) {
			st = staging_stmt(s, ST_CHUNK_GET);
			(void)sqlite3_bind_int64(st, 1, key);
			int rc = sqlite3_step(st);
			if (rc == SQLITE_ROW) {
				len = (size_t)sqlite3_column_bytes(st, 0);
				data = sqlite3_column_blob(st, 0);
			} else if (rc != SQLITE_DONE) {
				(void)sqlite3_reset(st);
				return staging_failed(s, rc);
			}
		}
		size_t have = len > in ? len - in : 0;
		if (have > want)
			have = want;
		if (have)
			memcpy((char *)buf + done, data + in, have);
		memset((char *)buf + done + have, 0, want - have);
		if (st)
			(void)sqlite3_reset(st);
		done += want;
	}
	*ret_n = n;
	return 0;
}

static int staging_write_locked(struct staging *s, struct staged_node *node, uint64_t offset, const void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		uint64_t at = offset + done;
		size_t in = (size_t)(at % STAGING_CHUNK), want = STAGING_CHUNK - in;
		if (want > n - done)
			want = n - done;
		uint64_t number = at / STAGING_CHUNK;
		/* nothing is kept beyond the end, and a chunk that is written whole need not be read */
		bool load = number * STAGING_CHUNK < node->size && !(in == 0 && want == STAGING_CHUNK);
		struct staging_chunk *c;
		int r = staging_take_chunk(s, staging_chunk_key(node->id, number), load, &c);
		if (r < 0)
			return r;
		staging_grow_chunk(s, c, in + want);
		memcpy(c->data + in, (const char *)buf + done, want);
		done += want;
		if (at + want > node->size)
			node->size = at + want;
	}
	return 0;
}

int staging_write(struct staging *s, int64_t id, uint64_t offset, const void *buf, size_t n)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node node;
	if (s->lost)
		return -s->lost;
	if (n > STAGING_FILE_MAX || offset > STAGING_FILE_MAX - n)
		return -EFBIG;
	/* on a full disk memory must not take what the file cannot */
	int r = s->chunk_bytes >= STAGING_COMMIT_BYTES ? staging_commit_locked(s) : 0;
	if (r == 0)
		r = staging_get_locked(s, id, &node);
	if (r < 0)
		return r;
	if (!S_ISREG(node.mode))
		return -EISDIR;
	r = staging_begin(s);
	if (r == 0)
		r = staging_changed(s, node.top, 0, false);
	if (r == 0)
		r = staging_write_locked(s, &node, offset, buf, n);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_WRITTEN);
	(void)sqlite3_bind_int64(st, 1, id);
	(void)sqlite3_bind_int64(st, 2, (int64_t)node.size);
	(void)sqlite3_bind_int64(st, 3, staging_now_ns());
	return staging_run(s, st);
}

/* ---- handles ---- */

int staging_hold(struct staging *s, int64_t id)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_open_node *o = staging_find_open(s, id);
	if (!o) {
		struct staged_node n;
		int r = staging_get_locked(s, id, &n);
		if (r < 0)
			return r;
		o = xcalloc(1, sizeof *o);
		o->id = id;
		o->top = n.top;
		o->next = s->opens[staging_bucket(id)];
		s->opens[staging_bucket(id)] = o;
	}
	o->opens++;
	return 0;
}

void staging_release(struct staging *s, int64_t id)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_open_node **p = &s->opens[staging_bucket(id)];
	while (*p && (*p)->id != id)
		p = &(*p)->next;
	struct staging_open_node *o = *p;
	if (!o || --o->opens)
		return;
	bool orphan = o->orphan;
	*p = o->next;
	free(o);
	struct staged_node n;
	if (orphan && staging_get_locked(s, id, &n) == 0 && staging_begin(s) == 0)
		(void)staging_drop(s, &n, true);
}

void staging_dirty(struct staging *s, int64_t id, int change)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_open_node *o = staging_find_open(s, id);
	if (!o)
		return;
	o->dirty += (unsigned)change;
	s->dirty += (unsigned)change;
	/* whoever was writing when data was lost has been told by now; new copies may try again */
	if (!s->dirty)
		s->lost = 0;
}

/* ---- extended attributes ---- */

int staging_setxattr(struct staging *s, int64_t id, const char *name, const void *value, size_t n, int flags)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node node;
	if (strlen(name) > STAGING_NAME_MAX || n > STAGING_XATTR_MAX)
		return -ERANGE;
	int r = staging_get_locked(s, id, &node);
	if (r < 0)
		return r;
	if (flags & (XATTR_CREATE | XATTR_REPLACE)) {
		sqlite3_stmt *st = staging_stmt(s, ST_XATTR_GET);
		(void)sqlite3_bind_int64(st, 1, id);
		(void)sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
		bool there = sqlite3_step(st) == SQLITE_ROW;
		(void)sqlite3_reset(st);
		if (there && (flags & XATTR_CREATE))
			return -EEXIST;
		if (!there && (flags & XATTR_REPLACE))
			return -ENODATA;
	}
	r = staging_begin(s);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_XATTR_PUT);
	(void)sqlite3_bind_int64(st, 1, id);
	(void)sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
	(void)sqlite3_bind_blob(st, 3, n ? value : "", (int)n, SQLITE_STATIC);
	r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	return r;
}

int staging_getxattr(struct staging *s, int64_t id, const char *name, struct strbuf *out)
{
	MUTEX_GUARD(&s->mutex);
	sqlite3_stmt *st = staging_stmt(s, ST_XATTR_GET);
	(void)sqlite3_bind_int64(st, 1, id);
	(void)sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
	int rc = sqlite3_step(st), r = -ENODATA;
	if (rc == SQLITE_ROW) {
		strbuf_add(out, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
		r = 0;
	}
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? r : staging_failed(s, rc);
}

int staging_listxattr(struct staging *s, int64_t id, struct strbuf *out)
{
	MUTEX_GUARD(&s->mutex);
	int rc;
	sqlite3_stmt *st = staging_stmt(s, ST_XATTR_LIST);
	(void)sqlite3_bind_int64(st, 1, id);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		strbuf_adds(out, (const char *)sqlite3_column_text(st, 0));
		strbuf_addch(out, '\0');
	}
	(void)sqlite3_reset(st);
	return rc == SQLITE_DONE ? 0 : staging_failed(s, rc);
}

int staging_removexattr(struct staging *s, int64_t id, const char *name)
{
	MUTEX_GUARD(&s->mutex);
	int r = staging_begin(s);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_XATTR_DELETE);
	(void)sqlite3_bind_int64(st, 1, id);
	(void)sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
	r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	return r < 0 ? r : sqlite3_changes(s->db) ? 0 : -ENODATA;
}

/* ---- the rest ---- */

int staging_commit(struct staging *s)
{
	MUTEX_GUARD(&s->mutex);
	return staging_commit_locked(s);
}

int staging_sync(struct staging *s)
{
	_cleanup_free_ char *wal = NULL;
	{
		MUTEX_GUARD(&s->mutex);
		int r = staging_commit_locked(s);
		if (r < 0)
			return r;
		wal = xasprintf("%s-wal", s->path);
	}
	/* WAL with synchronous=NORMAL does not flush at commit. There are no locks on the -wal file that closing this
	 * descriptor could drop; when a checkpoint has just emptied it, the main file is on the disk. */
	_cleanup_close_ int fd = open(wal, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return fdatasync(fd) < 0 ? -errno : 0;
}

int staging_write_text(struct staging *s, int64_t dir, const char *name, const char *text, size_t n)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node parent, old, node;
	int64_t id = 0, now = staging_now_ns();

	int r = staging_dir(s, dir, &parent);
	if (r < 0)
		return r;
	r = staging_lookup_locked(s, dir, name, &old);
	if (r < 0 && r != -ENOENT)
		return r;
	bool there = r == 0;
	if (!there && !text)
		return 0;
	if (there && S_ISDIR(old.mode))
		return -EISDIR;
	r = staging_begin(s);
	if (r == 0 && there && (!old.generated || !text)) {
		r = staging_drop(s, &old, true);
		there = false;
	}
	if (r < 0 || !text)
		return r;
	if (there) {
		id = old.id;
		r = staging_truncate(s, id, old.size, 0);
	} else {
		r = staging_insert(s, &parent, name, S_IFREG | 0400, parent.uid, parent.gid, NULL, true, now, &id);
	}
	if (r == 0)
		r = staging_get_locked(s, id, &node);
	if (r < 0)
		return r;
	node.size = 0;
	node.mtime_ns = node.ctime_ns = node.atime_ns = now;
	r = staging_write_locked(s, &node, 0, text, n);
	return r < 0 ? r : staging_write_attr(s, &node);
}

static unsigned staging_dirty_of(const struct staging *s, int64_t top)
{
	unsigned n = 0;
	for (size_t b = 0; b < STAGING_BUCKETS; b++)
		for (const struct staging_open_node *o = s->opens[b]; o; o = o->next)
			if (o->top == top && o->dirty)
				n++;
	return n;
}

int staging_count(struct staging *s, int64_t dir, uint64_t *ret)
{
	MUTEX_GUARD(&s->mutex);
	sqlite3_stmt *st = staging_stmt(s, ST_COUNT);
	(void)sqlite3_bind_int64(st, 1, dir);
	int rc = sqlite3_step(st);
	*ret = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	(void)sqlite3_reset(st);
	return rc == SQLITE_ROW ? 0 : staging_failed(s, rc);
}

int staging_set(struct staging *s, int64_t top, struct staged_set *ret)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_set_entry *x;
	int r = staging_set_of(s, top, &x);
	if (r < 0)
		return r;
	*ret = x->set;
	ret->dirty = s->dirty ? staging_dirty_of(s, top) : 0;
	return 0;
}

int staging_set_start(struct staging *s, int64_t top, struct staged_set *ret)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_set_entry *x;
	int r = staging_set_of(s, top, &x);
	if (r < 0)
		return r;
	if (x->set.running)
		return -EBUSY;
	x->set.running = true;
	*ret = x->set;
	return 0;
}

int staging_set_finish(struct staging *s, int64_t top, uint64_t changes, enum staged_state state, int error,
		       uint64_t need)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_set_entry *x = s->sets;
	while (x && x->set.top != top)
		x = x->next;
	if (!x)
		return 0; /* removed meanwhile */
	x->set.running = false;
	x->set.need = need;
	if (x->set.changes != changes) {
		state = STAGED_OPEN;
		error = 0;
		x->set.need = 0;
	}
	if (state == x->set.state && error == x->set.error)
		return 0;
	x->set.state = state;
	x->set.error = error;
	int r = staging_begin(s);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_SET_PUT);
	(void)sqlite3_bind_int64(st, 1, top);
	(void)sqlite3_bind_int(st, 2, (int)state);
	(void)sqlite3_bind_int(st, 3, error);
	return staging_run(s, st);
}
