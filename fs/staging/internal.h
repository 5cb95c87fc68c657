/*
 * fs/staging/internal.h - what the files of the staging area share. Only for these and their tests.
 */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fs/staging/sets.h"
#include "fs/staging/staging.h"

#define STAGING_COMMIT_BYTES (8u << 20)
#define STAGING_COMMIT_MS 100
#define STAGING_CHUNK_BITS 24
#define STAGING_BUCKETS 4096

/* ---- state ---- */

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
	struct timespec due; /* for its commit, by CLOCK_MONOTONIC */
	struct staging_chunk *chunks[STAGING_BUCKETS];
	struct staging_chunk *all; /* them, for commits: few against the buckets */
	size_t chunk_bytes;
	struct staging_open_node *opens[STAGING_BUCKETS];
	unsigned dirty; /* handles that were written and not closed, all sets */
	struct staging_set_entry *sets;
	bool bytes_only; /* the transaction holds nothing but chunks that are in memory, too */
	bool full; /* a commit failed for want of space: the file gives back what it can at the next one that works */
	int lost;  /* errno of a transaction that SQLite rolled back (staging_failed): what was written in it is gone */
};

static inline int64_t staging_chunk_key(int64_t node, uint64_t number)
{
	return (int64_t)(((uint64_t)node << STAGING_CHUNK_BITS) | number);
}

static inline size_t staging_bucket(int64_t key)
{
	uint64_t h = (uint64_t)key * UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(h >> 52) % STAGING_BUCKETS;
}

static inline struct staging_open_node *staging_find_open(struct staging *s, int64_t id)
{
	struct staging_open_node *o = s->opens[staging_bucket(id)];
	while (o && o->id != id)
		o = o->next;
	return o;
}

/* ---- db.c ---- */

void staging_drop_chunks(struct staging *s);
int staging_failed(struct staging *s, int rc);
sqlite3_stmt *staging_stmt(struct staging *s, enum staging_stmt which);
int staging_run(struct staging *s, sqlite3_stmt *st);
int staging_exec(struct staging *s, enum staging_stmt which);
void staging_bind_name(sqlite3_stmt *st, int at, const char *name);
int staging_begin(struct staging *s);
void staging_node_of(sqlite3_stmt *st, struct staged_node *n);
int staging_get_locked(struct staging *s, int64_t id, struct staged_node *ret);
int staging_lookup_locked(struct staging *s, int64_t parent, const char *name, struct staged_node *ret);
int staging_prepare(struct staging *s, struct err *e);

/* ---- commit.c ---- */

void staging_reserve(struct staging *s);
int staging_commit_locked(struct staging *s);
void *staging_committer(void *arg);

/* ---- sets.c ---- */

void staging_counts_sql(sqlite3_context *ctx, int n, sqlite3_value **v);
bool staging_is_set(const char *name, mode_t mode);
int64_t staging_top_of(const struct staged_node *parent, const char *name, mode_t mode, int64_t id);
void staging_forget_set(struct staging *s, int64_t top);
int staging_changed(struct staging *s, int64_t top, int files, bool again);

/* ---- content.c ---- */

int staging_drop_from(struct staging *s, int64_t id, uint64_t first, uint64_t size);
int staging_truncate(struct staging *s, int64_t id, uint64_t old_size, uint64_t size);
int staging_write_locked(struct staging *s, struct staged_node *node, uint64_t offset, const void *buf, size_t n);

/* ---- nodes.c ---- */

int staging_drop(struct staging *s, const struct staged_node *n, bool again);
