/*
 * fs/staging/commit.c - commits: at a close, every tenth of a second, when much is in memory; and what a full disk
 * needs.
 *
 * Threads: any; the committer. Lock: staging.mutex, held by the caller of what internal.h declares.
 */
#include "fs/staging/commit.h"

#include <errno.h>
#include <fcntl.h>

#include "fs/staging/internal.h"

#define STAGING_COMMIT_APART (64u << 10)
#define STAGING_VACUUM_PAGES 2048

/* Others need what room there is more than this file's log: the next writer starts it anew and cuts it to
 * journal_size_limit, what staging_reserve made. True when that worked. */
static bool staging_shrink_log(struct staging *s)
{
	return sqlite3_exec(s->db, "PRAGMA wal_checkpoint(RESTART); PRAGMA user_version=1", NULL, NULL, NULL) ==
	       SQLITE_OK;
}

/* The log gets its smallest size at the start: on a full disk names and attributes can still be committed, files
 * removed. */
void staging_reserve(struct staging *s)
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
	if (r < 0)
		return r;
	s->in_transaction = false;
	return 0;
}

/* Chunks stay in memory until they are safe. Where they are many, names and attributes are committed first: then a full
 * disk can only refuse the bytes, which are still here and whose writer is told. */
int staging_commit_locked(struct staging *s)
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
void *staging_committer(void *arg)
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
		struct timespec until = s->due, now = clock_after(CLOCK_MONOTONIC, 0);
		if (now.tv_sec < until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec < until.tv_nsec)) {
			(void)pthread_cond_timedwait(&s->wake, &s->mutex, &until);
			continue;
		}
		if (staging_commit_locked(s) < 0)
			s->due = clock_after(CLOCK_MONOTONIC, STAGING_COMMIT_MS); /* again at the next change */
	}
	return NULL;
}

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
