/*
 * snapshot/store/internal.h - the catalog's inside: connections, packs, versions and their writer. For snapshot/ only.
 *
 * Lock order: catalog.names_mutex, catalog.write_mutex, then any of catalog.read_mutex, catalog.codec_mutex,
 * pack_cache.mutex, blob_cache.mutex; none of the last four is held while another is taken, nor over a SQLite call that
 * can wait.
 */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include <zstd.h>

#include "snapshot/openmetadata/names.h"
#include "snapshot/row/manifest.h"
#include "snapshot/store/catalog.h"

/* ---- varints: 7 bits a byte, low first ---- */
void varint_add(struct strbuf *sb, uint64_t v);
/* Advances *p; false when the bytes end or the number is too long. */
bool varint_get(const uint8_t **p, const uint8_t *end, uint64_t *ret);

/* ---- connections ---- */

enum stmt {
	STMT_PACK,
	STMT_PACK_INSERT,
	STMT_PACK_REWRITE,
	STMT_PAGE,
	STMT_PAGE_FIND,
	STMT_PAGE_INSERT,
	STMT_CODEC,
	STMT_CODEC_FIND,
	STMT_CODEC_INSERT,
	STMT_CODEC_DICT,
	STMT_DICT,
	STMT_DICT_INSERT,
	STMT_VERSION,
	STMT_VERSION_INSERT,
	STMT_VERSION_SUM,
	STMT_SNAPSHOT_TABLES,
	STMT_SNAPSHOT_TABLE,
	STMT_SNAPSHOT_TABLE_AT,
	STMT_SNAPSHOT_TABLE_INSERT,
	STMT_NAMES,
	STMT_NAMES_INSERT,
	STMT_NAMES_NEAREST,
	STMT_NAMES_DELETE,
	STMT_MARKS,
	STMT_MARKS_DELETE,
	STMT_MARK_INSERT,
	STMT_SNAPSHOT_LIST,
	STMT_SNAPSHOT_FIND,
	STMT_SNAPSHOT_GET,
	STMT_SNAPSHOT_LATEST,
	STMT_SNAPSHOT_TAKEN,
	STMT_SNAPSHOT_INSERT,
	STMT_SNAPSHOT_TEXTS,
	STMT_SNAPSHOT_SUMS,
	STMT_SNAPSHOT_RENAME,
	STMT_SNAPSHOT_HOLD,
	STMT_SNAPSHOT_DELETE,
	STMT_SCHEMA_FIND,
	STMT_SCHEMA_INSERT,
	STMT_SCHEMA,
	STMT_SOURCE_FIND,
	STMT_SOURCE_INSERT,
	STMT_COUNTER,
	STMT_JOURNAL_INSERT,
	STMT_JOURNAL_DONE,
	STMT_JOURNAL_STATE,
	STMT_JOURNAL_LIST,
	STMT_JOURNAL_OPEN,
	STMT_JOURNAL_WRITTEN,
	STMT_DATA_VERSION,
	STMT_MAX,
};

/* One SQLite connection and its statements; used by one thread at a time. */
struct store_db {
	sqlite3 *h;
	sqlite3_stmt *stmt[STMT_MAX];
	struct store_db *next;
};

struct pack_cache;
struct blob_cache;

/* STORE_LAZY: what is stored is not named by anything yet (packs, descriptions), so it reaches the disk with the next
 * durable commit at the latest. */
enum store_sync { STORE_LAZY, STORE_DURABLE };

struct catalog {
	char *path;
	char uuid[33];
	enum catalog_mode mode;
	int daemon_fd; /* holds the daemon's lock; -1: not ours */
	pthread_mutex_t write_mutex;
	struct store_db *writer;     /* NULL in CATALOG_READ mode */
	enum store_sync writer_sync; /* what the connection is set to; under write_mutex */
	pthread_mutex_t read_mutex;
	struct store_db *free_readers;
	pthread_mutex_t codec_mutex;
	struct codec_entry *codecs;
	struct dict_entry *dicts;
	struct pack_cache *packs;
	struct blob_cache *blobs;    /* version.c's */
	pthread_mutex_t names_mutex; /* of names_build: held while an index is made */
	pthread_mutex_t watch_mutex;
	struct store_db *watch;
};

struct store_db *store_open(const struct catalog *c, bool create, bool query_only, struct err *e);
void store_close(struct store_db *db);
int store_pragma(struct store_db *db, const char *sql, int64_t *ret, struct err *e); /* first column of the first row */
/* A read connection for the time of one call. */
struct store_db *store_read_begin(struct catalog *c, struct err *e);
void store_read_end(struct catalog *c, struct store_db *db);
/* The write connection with BEGIN IMMEDIATE done and write_mutex held; end commits (err 0) or rolls back. */
struct store_db *store_write_begin(struct catalog *c, enum store_sync sync, struct err *e);
int store_write_end(struct catalog *c, struct store_db *db, int r, struct err *e);
/* A prepared, reset statement of the connection. */
sqlite3_stmt *store_stmt(struct store_db *db, enum stmt which, struct err *e);
/* errno of the connection's last failure, with words: SQLITE_FULL ENOSPC, BUSY EBUSY, CORRUPT/NOTADB EIO, ... */
int store_error(struct store_db *db, const char *what, struct err *e);
/* Steps a statement that gives no row, and resets it. */
int store_run(struct store_db *db, sqlite3_stmt *st, const char *what, struct err *e);
/* Takes `n` numbers that no one else ever gets from counter 'pack' or 'snapshot'; first one in *ret. */
int store_reserve(struct store_db *db, const char *counter, int64_t n, int64_t *ret, struct err *e);

/* ---- packs ---- */

#define PACK_RAW_TARGET (32U << 10) /* a pack is closed when its lines reach this; a larger row has one of its own */
#define PACK_MAX_ROWS 4096U

/*
 * Raw pack: varint rows; per row varint (file size - line length) and, where keys are hashed, varint running number;
 * then the lines, each with a newline. Stored zstd-compressed (checksum on). Beside it: the SHA-256 over the bytes
 * before the lines and each line's SHA-256, which the table's digest needs anyway.
 *
 * A row that no version names any more can be dropped (repack.c): its line becomes empty, and the rows behind it keep
 * their places. No row's line is empty by itself.
 */
struct pack {
	int64_t id;
	int64_t codec_id;
	int64_t first_seen_ms;
	const struct row_codec *codec;
	uint32_t rows;
	char *raw;
	size_t raw_len;
	uint32_t *line_at;   /* rows + 1 offsets into raw; a line's newline is not part of it */
	uint64_t *file_size; /* rows */
	uint64_t *number;    /* rows; NULL when keys are not hashed */
	/* Keys, made when first asked for (pack_keys), under the cache's mutex. */
	uint32_t *key_at; /* rows + 1 offsets into keys; NULL before */
	struct strbuf keys;
	size_t memory;
	unsigned refs;
	struct pack *lru_prev, *lru_next, *hash_next;
	struct pack_cache *cache;
};

struct pack_cache *pack_cache_new(size_t bytes);
void pack_cache_free(struct pack_cache *pc);
void pack_cache_limit(struct pack_cache *pc, size_t bytes);
/* Returns the pack with a reference; pack_unref gives it back. EIO with the pack's id when damaged, ENOENT when not
 * there. */
int pack_get(struct catalog *c, int64_t id, struct pack **ret, struct err *e);
struct pack *pack_hold(struct pack *p);
void pack_unref(struct pack *p);
DEFINE_CLEANUP(cleanup_pack, struct pack, pack_unref);
/* Makes the keys of a pack available. */
int pack_keys(struct pack *p, struct err *e);
static inline const char *pack_line(const struct pack *p, uint32_t i, size_t *len)
{
	*len = p->line_at[i + 1] - p->line_at[i] - 1;
	return p->raw + p->line_at[i];
}
static inline bool pack_is_dropped(const struct pack *p, uint32_t i)
{
	return p->line_at[i + 1] - p->line_at[i] == 1;
}
static inline const void *pack_key(const struct pack *p, uint32_t i, size_t *len)
{
	*len = p->key_at[i + 1] - p->key_at[i];
	return p->keys.data + p->key_at[i];
}
/* Appends the key of one row, made from its line: for who needs a few of a pack's keys only. */
int pack_key_of(const struct pack *p, uint32_t i, struct strbuf *out, struct err *e);
/* Verifies one stored pack against its SHA-256. */
int pack_verify(struct catalog *c, int64_t id, struct hasher *h, struct err *e);

/* For who rewrites packs, outside of the cache; pack_free is for these only. A stored one that is what its SHA-256
 * says: */
int pack_load_whole(struct catalog *c, int64_t id, struct hasher *h, struct pack **ret, uint8_t sha[ROW_SHA_LEN],
		    int64_t *ret_dict_id, struct err *e);
/* One of compressed bytes that are not stored yet. */
int pack_parse(struct catalog *c, int64_t id, int64_t codec_id, int64_t dict_id, const void *data, size_t len,
	       struct pack **ret, struct err *e);
void pack_sum(const struct pack *p, struct hasher *h, uint8_t out[ROW_SHA_LEN]); /* what is stored as its SHA-256 */
void pack_free(struct pack *p);
DEFINE_CLEANUP(cleanup_loose_pack, struct pack, pack_free);

/* Compresses raw packs; a thread's own. */
struct compressor;
struct compressor *compressor_new(void);
void compressor_free(struct compressor *p);
/* dict NULL: none. *data is valid until the next call. */
int compressor_compress(struct compressor *p, const ZSTD_CDict *dict, const void *raw, size_t len,
			const void **ret_data, size_t *ret_len, struct err *e);
/* A dictionary as compressors use it; any number of threads. */
ZSTD_CDict *compressor_dict(const void *data, size_t len);
/* Makes a dictionary of raw packs laid end to end; *out stays empty when there is too little to learn from. */
void packer_train(const void *samples, size_t len, struct strbuf *out);
DEFINE_CLEANUP(cleanup_compressor, struct compressor, compressor_free);

/* ---- packing: threads that compress and store packs ---- */

struct pack_writer;
struct pack_writer_table; /* the packs of one description; belongs to the packing and to one thread at a time */

int pack_writer_new(struct pack_writer **ret, struct catalog *c, int64_t taken_ms, struct err *e);
/* Ends the threads; packs that are not stored yet are dropped. */
void pack_writer_free(struct pack_writer *p);
DEFINE_CLEANUP(cleanup_pack_writer, struct pack_writer, pack_writer_free);
int pack_writer_id(struct pack_writer *p, int64_t *ret, struct err *e); /* the number of a new pack; any thread */
int pack_writer_table(struct pack_writer_table **ret, struct pack_writer *p, int64_t codec_id, struct err *e);
/* Takes *raw; waits while too much is queued. An error may be that of an earlier pack. */
int pack_writer_add(struct pack_writer_table *t, int64_t id, struct strbuf *raw, const uint8_t sha[ROW_SHA_LEN],
		    struct err *e);
/* The table has no more packs. */
int pack_writer_end_table(struct pack_writer_table *t, struct err *e);
/* All packs are compressed; then pack_writer_store puts those that are not in the catalog yet into the caller's
 * transaction. */
int pack_writer_wait(struct pack_writer *p, struct err *e);
int pack_writer_store(struct pack_writer *p, struct store_db *db, struct err *e);
uint64_t pack_writer_bytes(struct pack_writer *p); /* compressed so far; any thread */

/* ---- codecs ---- */
int store_codec_id(struct catalog *c, const struct db_table *t, int64_t *ret, struct err *e); /* found or made */
/* The newest dictionary of a codec: its id and bytes; id 0 when there is none. */
int store_codec_dict(struct catalog *c, int64_t codec_id, int64_t *ret_id, struct strbuf *dict, struct err *e);
int store_dict(struct catalog *c, int64_t dict_id, struct strbuf *out, struct err *e);
/* Decoder dictionary by id; owned by the catalog. */
int store_ddict(struct catalog *c, int64_t dict_id, const ZSTD_DDict **ret, struct err *e);

/* ---- versions ---- */

/*
 * Extent: `count` rows of pack `pack` from `first`. Page: extents in key order, cut by content. Version: pages.
 * `sep` of an extent (page) is the shortest byte string greater than the key before it and not greater than its first
 * key.
 */
struct extent {
	int64_t pack;
	uint32_t first;
	uint32_t count;
	uint64_t line_bytes;
	uint64_t file_bytes; /* of the row files */
	const uint8_t *sep;
	size_t sep_len;
};
/* The next extent of a page; *pack is where the number before is kept, 0 at the page's start. */
int extent_next(const uint8_t **p, const uint8_t *end, int64_t *pack, struct extent *ret, struct err *e);

/* The extents of a version in key order. next: 1, 0 at the end, -errno; the separator is valid until the next call. */
struct extent_cursor;
int extent_cursor_open(struct extent_cursor **ret, struct catalog *c, int64_t version_id, struct err *e);
int extent_cursor_next(struct extent_cursor *ec, struct extent *ret, struct err *e);
void extent_cursor_close(struct extent_cursor *ec);
DEFINE_CLEANUP(cleanup_extent_cursor, struct extent_cursor, extent_cursor_close);

/* The order of encoded keys. */
int key_compare(const void *a, size_t an, const void *b, size_t bn);

struct version_writer;

/* What a capture or import makes: table versions, then one snapshot that names them. */
struct snapshot_writer;

/* Starts: takes the shared lock that keeps packs from being freed under it. */
int snapshot_writer_new(struct snapshot_writer **ret, struct catalog *c, int64_t source_id, int64_t taken_ms,
			struct err *e);
int64_t snapshot_writer_id(const struct snapshot_writer *w);
/* Frees an unfinished one too: what it stored is freed by the next sweep. */
void snapshot_writer_free(struct snapshot_writer *w);
DEFINE_CLEANUP(cleanup_snapshot_writer, struct snapshot_writer, snapshot_writer_free);

/* Tables may be written by several threads, each by one; rows in ascending key order, each either kept from the base
 * version or new. */
int snapshot_writer_table(struct snapshot_writer *w, const struct db_table *t, struct version_writer **ret,
			  struct err *e);
int64_t version_writer_codec_id(const struct version_writer *v);
const struct row_codec *version_writer_codec(const struct version_writer *v);
int version_writer_keep(struct version_writer *v, const struct stored_row *row, struct err *e);
/* Rows of a pack of the base version: all of an extent that was not read (sep: its separator), or `count` rows from
 * `first` of the pack in hand (sep NULL, unless they start the extent). */
int version_writer_keep_extent(struct version_writer *v, const struct extent *x, struct err *e);
int version_writer_keep_rows(struct version_writer *v, const struct pack *p, uint32_t first, uint32_t count,
			     const void *sep, size_t sep_len, struct err *e);
/* sha: the line's. */
int version_writer_new_row(struct version_writer *v, const void *key, size_t key_len, uint64_t number, const char *line,
			   size_t line_len, const uint8_t sha[ROW_SHA_LEN], struct err *e);
/* A row of the base version that the new one has not, or not as it was. */
int version_writer_gone(struct version_writer *v, const void *key, size_t key_len, const char *line, size_t line_len,
			struct err *e);
/* Ends the table. *d is its digest. The version is `base` (NULL: none), which kept rows are of, itself when all of its
 * rows were kept and none is new. since_ms: when a backup says since when its rows are these; 0: since the base, or
 * now. */
int version_writer_finish(struct version_writer *v, const struct digest *d, const struct version_info *base,
			  int64_t since_ms, struct err *e);
void version_writer_free(struct version_writer *v);
DEFINE_CLEANUP(cleanup_version_writer, struct version_writer, version_writer_free);

/* What a later capture needs to read only what changed in a table: a driver's mark (see db_driver.mark), made in the
 * transaction of this snapshot; age: how many snapshots in a row have read only changes. One set for each source, of
 * its newest captured snapshot; set once for a snapshot (*m is taken), NULL entries' text: no mark. */
struct mark {
	char *table;
	char *text;
	unsigned age;
};
struct mark_list {
	struct mark *v;
	size_t n;
};
void mark_list_done(struct mark_list *m);
const struct mark *mark_list_find(const struct mark_list *m, const char *table);
void snapshot_writer_set_marks(struct snapshot_writer *w, struct mark_list *m);
/* The marks made with this snapshot; none when there is a newer one. */
int store_marks(struct catalog *c, int64_t source_id, int64_t snapshot_id, struct mark_list *ret, struct err *e);
int64_t snapshot_writer_source(const struct snapshot_writer *w);

/* What was written of a table, to complete it (auto_increment is known after the rows). NULL: not written. */
struct manifest_table *snapshot_writer_find(struct snapshot_writer *w, const char *table);

/* Everything in one transaction; name NULL: not listed (for a restore). *m's tables and schema hash are filled in here
 * from what was written and from `schema_sql`; schema_since_ms 0: now. */
int snapshot_writer_commit(struct snapshot_writer *w, const char *name, struct manifest *m, const char *schema_sql,
			   size_t schema_len, struct err *e);
/* The snapshot whose tables are the base of these (0: none): its index of names becomes this one's. */
void snapshot_writer_set_base(struct snapshot_writer *w, int64_t snapshot_id);
/* Instead of a snapshot: the index of one that has none. 1: nothing was written, because that of the base is missing or
 * damaged. */
int snapshot_writer_commit_names(struct snapshot_writer *w, int64_t snapshot_id, const struct names_table *t, size_t n,
				 struct err *e);
uint64_t snapshot_writer_rows(const struct snapshot_writer *w);
uint64_t snapshot_writer_bytes(struct snapshot_writer *w); /* stored so far, compressed */

/* The snapshot's manifest as stored (tables without their columns), and the text with the columns of these codecs. */
int store_manifest(struct catalog *c, int64_t snapshot_id, struct manifest *ret, struct err *e);
int store_manifest_full(struct catalog *c, struct manifest *m, const int64_t *codec_ids, struct strbuf *out,
			struct err *e);

/* Versions' page lists and pages that were read last. */
struct blob_cache *blob_cache_new(size_t bytes);
void blob_cache_free(struct blob_cache *bc);
void blob_cache_limit(struct blob_cache *bc, size_t bytes);

/* A page is stored compressed where that is smaller; its SHA-256 is of what it says. The stored form: */
void page_pack(const struct strbuf *page, struct strbuf *out);
/* Back again; false when it is not what its SHA-256 says. */
bool page_unpack(struct hasher *h, const void *data, size_t len, const void *sha, size_t sha_len, struct strbuf *out);

/* Frees packs, pages, versions, texts, descriptions, dictionaries and marks that no snapshot uses. 1: nothing was done,
 * because a writer is active (the next sweep does it). */
int store_sweep(struct catalog *c, struct err *e);
/* Gives what was freed back to the file system. */
void store_shrink(struct catalog *c);
/* Drops rows that no version names from packs that are worth it; after a sweep. EIO when a pack is damaged (it is left
 * as it is, the others are done). */
struct repack {
	uint64_t packs; /* rewritten */
	uint64_t rows;  /* dropped */
	bool busy;      /* a writer was active: the rest is for the next time */
};
int store_repack(struct catalog *c, struct repack *ret, struct err *e);
/* For sweep.c and repack.c: in a write transaction, with the WRITERS lock held alone. Calls each() with every extent of
 * every version, those of a shared page once. A version or page that cannot be read or is not whole: -EIO. */
int sweep_each_extent(struct store_db *db, int (*each)(void *arg, const struct extent *x), void *arg, struct err *e);
/* The unlisted snapshots of crashed restores, when nobody is writing. */
int store_remove_unlisted(struct catalog *c, struct err *e);
int store_remove_snapshot(struct catalog *c, int64_t snapshot_id, bool even_held, struct err *e);
/* In the caller's transaction. */
int store_delete_snapshot(struct store_db *db, int64_t snapshot_id, bool even_held, struct err *e);

/* ---- locks between processes: bytes of CATALOG-lock, OFD ---- */
enum store_lock { STORE_LOCK_DAEMON = 0, STORE_LOCK_WRITERS = 1, STORE_LOCK_SOURCE = 1000 /* + source id */ };
/* fd that holds the lock until closed. An exclusive one is not waited for: -EBUSY. */
int store_lock(struct catalog *c, int64_t byte, bool exclusive, struct err *e);

/* ---- journal ---- */
/* op: "snapshot", "restore", "rename", "remove", "prune" (one that failed), "import", "hold", "release", "put",
 * "verify". state: "running", "safety", "begun", "committed", "done", "failed", "interrupted", "unknown". */
struct journal_entry {
	int64_t id;
	int64_t source_id;
	int64_t at_ms;
	char *op;
	char *subject;
	int64_t uid, pid;
	char *program;
	char *state;
	int64_t finished_ms; /* 0: not */
	char *detail;
	int64_t safety_id, target_id; /* snapshots; 0 none */
};
void journal_entry_done(struct journal_entry *j);
int journal_add(struct catalog *c, int64_t source_id, const char *op, const char *subject, int64_t uid, int64_t pid,
		const char *program, int64_t *ret_id, struct err *e);
int journal_state(struct catalog *c, int64_t id, const char *state, const char *detail, int64_t safety_id,
		  int64_t target_id, bool finished, struct err *e);
/* A whole entry of something that is done, in the caller's transaction. */
int journal_done(struct store_db *db, int64_t source_id, const char *op, const char *subject, int64_t uid, int64_t pid,
		 const char *program, const char *detail, struct err *e);
/* each(arg, entry) oldest first; unfinished: only those without an end. */
int journal_each(struct catalog *c, int64_t source_id, bool unfinished,
		 int (*each)(void *arg, const struct journal_entry *j), void *arg, struct err *e);

/* When the source's database was last written by a restore or a row put in; INT64_MAX while one is under way or its end
 * is not known; 0 never. Older snapshots are not what the database holds now. *ret_id: that entry, which no change of
 * the clock moves. */
int journal_last_write(struct catalog *c, int64_t source_id, int64_t *ret_ms, int64_t *ret_id, struct err *e);
/* The newest snapshot that was taken of the source's own database, not imported, not later than now_ms. ENOENT. */
int store_newest_taken(struct catalog *c, int64_t source_id, int64_t now_ms, struct snapshot_info *ret, struct err *e);
