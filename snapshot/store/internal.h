/*
 * snapshot/store/internal.h - the catalog's inside: connections, packs, pages and what is written of them.
 *
 * Lock order: catalog.index_mutex, catalog.write_mutex, then any of catalog.read_mutex, catalog.codec_mutex,
 * decompressors.mutex, the mutexes of the two caches; none of these last ones is held while another is taken, nor
 * over a SQLite call that can wait. catalog.watch_mutex stands alone.
 */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include <zstd.h>

#include "base/lru.h"
#include "base/varint.h"
#include "snapshot/store/store.h"

/* ---- db.c ---- */

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
	STMT_SNAPSHOT_TABLE_INSERT,
	STMT_INDEX,
	STMT_INDEX_INSERT,
	STMT_INDEX_NEAREST,
	STMT_INDEX_DELETE,
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
	struct decompressors *decompressors;
	struct lru *packs;           /* pack.c's */
	struct lru *blobs;           /* page.c's */
	pthread_mutex_t index_mutex; /* held while a missing index is made (index.h) */
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
/* errno of the connection's last failure, with words: SQLITE_FULL ENOSPC, BUSY EBUSY, CORRUPT/NOTADB EIO, ... */
int store_error(struct store_db *db, const char *what, struct err *e);

/* The value of a statement's next parameter; what it points to must last until the statement was run. */
struct bind {
	enum { BIND_END, BIND_NULL, BIND_INT, BIND_TEXT, BIND_BLOB } kind;
	int64_t number;
	const void *data;
	size_t len;
};
static inline struct bind bind_int(int64_t v)
{
	return (struct bind){.kind = BIND_INT, .number = v};
}
/* 0: NULL. */
static inline struct bind bind_id(int64_t v)
{
	return (struct bind){.kind = v ? BIND_INT : BIND_NULL, .number = v};
}
/* NULL: NULL. */
static inline struct bind bind_text(const char *s)
{
	return (struct bind){.kind = s ? BIND_TEXT : BIND_NULL, .data = s};
}
static inline struct bind bind_blob(const void *p, size_t n)
{
	return (struct bind){.kind = BIND_BLOB, .data = p, .len = n};
}
#define BINDS(...) ((const struct bind[]){__VA_ARGS__, {.kind = BIND_END}})
#define NO_BINDS (&(const struct bind){.kind = BIND_END})

/* One row of an answer, valid until it returns: 0, or -errno, which ends the query. */
typedef int row_fn(void *arg, sqlite3_stmt *st, struct err *e);
/* Runs a statement that answers with rows: how many, or -errno. what: for the words of an error. */
int store_query(struct store_db *db, enum stmt which, const struct bind *bind, row_fn *row, void *arg, const char *what,
		struct err *e);
/* The same on a read connection of its own. */
int store_read(struct catalog *c, enum stmt which, const struct bind *bind, row_fn *row, void *arg, const char *what,
	       struct err *e);
/* Runs a statement that changes something. */
int store_exec(struct store_db *db, enum stmt which, const struct bind *bind, const char *what, struct err *e);
/* Runs statements that give no rows. */
int store_script(struct store_db *db, const char *sql, const char *what, struct err *e);
DEFINE_CLEANUP(cleanup_stmt, sqlite3_stmt, sqlite3_finalize);
/* A row_fn: column 0 into the int64_t at arg. */
int row_int(void *arg, sqlite3_stmt *st, struct err *e);
/* Appends a column's bytes. */
void column_add(sqlite3_stmt *st, int i, struct strbuf *out);
/* A column's text; NULL: NULL. */
char *column_dup(sqlite3_stmt *st, int i);
/* A column that is a SHA-256 into out; false: it is none. */
bool column_sha(sqlite3_stmt *st, int i, uint8_t out[ROW_SHA_LEN]);

/* Takes `n` numbers that no one else ever gets from counter 'pack' or 'snapshot'; first one in *ret. */
int store_reserve(struct store_db *db, const char *counter, int64_t n, int64_t *ret, struct err *e);

/* ---- schema.c ---- */

/* Makes the tables where the file is empty; the catalog's uuid is made with them. */
int catalog_create(struct catalog *c, struct store_db *db, struct err *e);
/* Brings a catalog of an older format up to date where it may be written, and reads its uuid. */
int catalog_check_format(struct catalog *c, struct store_db *db, struct err *e);

/* ---- codec.c ---- */

/* The newest dictionary of a codec: its id and bytes; id 0 when there is none. */
int store_codec_dict(struct catalog *c, int64_t codec_id, int64_t *ret_id, struct strbuf *dict, struct err *e);
int store_dict(struct catalog *c, int64_t dict_id, struct strbuf *out, struct err *e);
/* Decoder dictionary by id; owned by the catalog. */
int store_ddict(struct catalog *c, int64_t dict_id, const ZSTD_DDict **ret, struct err *e);
/* For catalog_close. */
void store_codecs_free(struct catalog *c);

/* ---- compressor.c ---- */

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
void compressor_train(const void *samples, size_t len, struct strbuf *out);
DEFINE_CLEANUP(cleanup_compressor, struct compressor, compressor_free);

/* Contexts to decompress with that wait to be used again; any thread. */
struct decompressors;
struct decompressors *decompressors_new(void);
void decompressors_free(struct decompressors *d);
/* dict NULL: none. What ZSTD_decompressDCtx returns. */
size_t decompress(struct decompressors *d, void *out, size_t cap, const void *data, size_t len, const ZSTD_DDict *dict);

/* ---- pack.c ---- */

struct lru *pack_cache_new(size_t bytes); /* of packs by number */

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

/* ---- pack_writer.c: threads that compress and store packs ---- */

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

/* ---- page.c ---- */

/* A version's list of pages or a page, read and checked. Neither ever changes, nor is its number used again. */
struct blob {
	struct lru_entry entry; /* by number and enum blob_kind */
	struct lru *cache;
	/* of a version */
	int64_t codec_id;
	uint64_t rows, line_bytes, file_bytes;
	int64_t since_ms;
	struct digest digest;
	size_t len;
	uint8_t data[];
};
void blob_unref(struct blob *b);
DEFINE_CLEANUP(cleanup_blob, struct blob, blob_unref);

/* Versions' page lists and pages that were read last. */
struct lru *blob_cache_new(size_t bytes);

int version_load(struct catalog *c, int64_t version_id, struct blob **ret, struct err *e);
/* A damaged page can look like one of other rows: it is believed only with its SHA-256, packs bring a checksum of their
 * own. *ret is another page's before, and stays so on failure. */
int page_load(struct catalog *c, uint64_t page_id, struct blob **ret, struct err *e);

/* What a version says of a page. */
struct page_entry {
	uint64_t id, rows, line_bytes;
	const uint8_t *sep;
	size_t sep_len;
};
/* The next page of a version. */
int page_entry_next(const uint8_t **p, const uint8_t *end, struct page_entry *ret, struct err *e);

/* A page is stored compressed where that is smaller; its SHA-256 is of what it says. The stored form: */
void page_pack(const struct strbuf *page, struct strbuf *out);
/* Back again; false when it is not what its SHA-256 says. */
bool page_unpack(struct hasher *h, const void *data, size_t len, const void *sha, size_t sha_len, struct strbuf *out);

/* ---- seek.c ---- */

/* Where a search ends: an extent, and what lies before it. */
struct place {
	struct blob *page;        /* the extents' */
	const uint8_t *next;      /* in page: the extent after this one */
	int64_t pack;             /* delta base for it */
	const uint8_t *next_page; /* in the version */
	struct extent extent;
	uint64_t row, byte; /* number of the extent's first row, offset of its first line */
};
void place_done(struct place *pl);

enum seek { SEEK_ROW, SEEK_BYTE, SEEK_KEY };

/* Finds the extent that holds row `n`, byte `n` or (the last one that can hold) the key. 1: found,
 * 0: behind the end. */
int version_seek(struct catalog *c, const struct blob *vb, enum seek how, uint64_t n, const void *key, size_t key_len,
		 struct place *pl, struct err *e);
/* The extent after this one. 1, or 0 at the end. */
int place_advance(struct catalog *c, const struct blob *vb, struct place *pl, struct err *e);
/* From the end of a page's last extent to the end of the next page; it is not loaded: there is no extent in hand. */
void place_skip_page(struct place *pl, const struct page_entry *pe, const uint8_t *behind);

/* ---- tables.c ---- */

/* The one version that a statement selects. ENOENT, with words that call it `table`. */
int version_one(struct catalog *c, enum stmt which, const struct bind *bind, const char *table,
		struct version_info *ret, struct err *e);

/* ---- journal.c ---- */

/* A whole entry of something that is done, in the caller's transaction. */
int journal_done(struct store_db *db, int64_t source_id, enum journal_op op, const char *subject, int64_t uid,
		 int64_t pid, const char *program, const char *detail, struct err *e);

/* ---- mark.c ---- */

/* The marks of a source are its newest captured snapshot's: one set. In the caller's transaction. */
int marks_commit(struct store_db *db, int64_t source_id, int64_t snapshot_id, const struct mark_list *m, struct err *e);

/* ---- version_write.c ---- */

struct written_page {
	struct strbuf data;
	uint8_t sha[ROW_SHA_LEN];
	uint64_t rows, line_bytes, file_bytes;
	struct strbuf sep;
};

struct written_table {
	struct manifest_table m;
	int64_t version_id; /* 0: not stored yet */
	int64_t codec_id;
	struct written_page *page;
	size_t n_pages;
	bool whole; /* there was no base: every row came as a new one */
};
void written_table_done(struct written_table *t);

struct version_writer {
	struct snapshot_writer *w;
	const struct row_codec *codec;
	bool hashed;
	int64_t codec_id;
	struct pack_writer_table *writer;
	struct hasher *hasher;
	/* the pack that is being filled */
	int64_t pack_id;
	uint32_t pack_rows;
	struct strbuf head, lines, shas;
	/* the extent and page that are being filled */
	struct extent extent; /* count 0: none; its separator is extent_sep */
	struct strbuf extent_sep, last_key, page, page_sep;
	bool last_known; /* last_key is; else it is the key of last_ref */
	struct row_ref last_ref;
	uint32_t page_extents;
	int64_t page_pack; /* delta base */
	uint64_t page_rows, page_line_bytes, page_file_bytes;
	struct row_watch watch;
	struct written_table out, *into; /* into: NULL, or the place that is not among the tables */
	uint64_t rows, new_rows, line_bytes, file_bytes;
};

/* ---- snapshot_write.c ---- */

struct snapshot_writer {
	struct catalog *catalog;
	int64_t id, source_id, taken_ms;
	int lock_fd;
	struct pack_writer *writer;
	pthread_mutex_t mutex; /* of the tables, while threads write them */
	struct written_table *table;
	size_t n_tables, cap_tables;
	struct mark_list marks;
	bool has_marks;
	struct written_table index; /* no name: none */
};

/* ---- sweep.c ---- */

/* In a write transaction, with the WRITERS lock held alone. Calls each() with every extent of every version, those of a
 * shared page once. A version or page that cannot be read or is not whole: -EIO. */
int sweep_each_extent(struct store_db *db, int (*each)(void *arg, const struct extent *x), void *arg, struct err *e);

/* ---- remove.c ---- */

/* In the caller's transaction. */
int store_delete_snapshot(struct store_db *db, int64_t snapshot_id, bool even_held, struct err *e);
