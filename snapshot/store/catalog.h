/*
 * snapshot/store/catalog.h - the store of snapshots: one SQLite file behind a narrow interface.
 *
 * Objects, all immutable once committed: pack (compressed rows), page (extents, that is runs of rows in packs),
 * table version (pages, counts, digest), snapshot (table versions, schema text, manifest). docs/design.md draws it.
 * A struct catalog is safe for any thread: reads take a connection from a pool, writes go through one connection
 * under one mutex. Opened after daemonising, never used across fork (SQLite locks do not survive it).
 * Two processes (daemon and command) may have it open; locks by OFD byte ranges on CATALOG-lock.
 */
#pragma once

#include <sys/statvfs.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "snapshot/row/row.h"

struct catalog;

enum catalog_mode { CATALOG_READ, CATALOG_WRITE /* creates it, mode 0600 */ };

/* EBUSY, ENOTSUP (newer format, network file system), EIO (damaged: quick_check), ENOENT. */
int catalog_open(struct catalog **ret, const char *path, enum catalog_mode mode, struct err *e);
void catalog_close(struct catalog *c);
const char *catalog_path(const struct catalog *c);
/* A random id made with the catalog: 32 hex digits. */
const char *catalog_uuid(const struct catalog *c);
/* One mounted file system for a catalog: EBUSY when another process has it. Held until catalog_close. */
int catalog_lock_daemon(struct catalog *c, struct err *e);
/* Changes whenever another connection or process committed something. Cheap. */
int64_t catalog_data_version(struct catalog *c);
DEFINE_CLEANUP(cleanup_catalog, struct catalog, catalog_close);

/* ---- sources ---- */
int catalog_source(struct catalog *c, const char *name, int64_t *ret_id, struct err *e); /* found or made */

/* ---- snapshots ---- */
struct snapshot_info {
	int64_t id; /* never reused */
	int64_t source_id;
	char *name;
	int64_t taken_ms;        /* the moment, UTC, epoch ms */
	int64_t schema_since_ms; /* moment of the first snapshot with this schema text: schema.sql's time */
	int64_t rows;
	int64_t line_bytes;   /* of all rows, newlines included */
	int64_t stored_bytes; /* compressed size of the packs this snapshot added */
	size_t n_tables;
	size_t manifest_len;
	size_t schema_len;
	size_t sums_len; /* 0: SHA256SUMS not computed yet */
	bool held;
	char *engine;
	char *server_version;
	char *app_version; /* NULL: none */
};
void snapshot_info_done(struct snapshot_info *s);
struct snapshot_list {
	struct snapshot_info *v; /* by moment: oldest first */
	size_t n;
};
void snapshot_list_done(struct snapshot_list *l);
/* Complete, listed snapshots only. */
int catalog_list(struct catalog *c, int64_t source_id, struct snapshot_list *ret, struct err *e);
int catalog_find(struct catalog *c, int64_t source_id, const char *name, struct snapshot_info *ret,
		 struct err *e);                                                                   /* ENOENT */
int catalog_get(struct catalog *c, int64_t snapshot_id, struct snapshot_info *ret, struct err *e); /* ENOENT */
int catalog_latest(struct catalog *c, int64_t source_id, struct snapshot_info *ret,
		   struct err *e);                                                           /* by moment; ENOENT */
int catalog_rename(struct catalog *c, int64_t snapshot_id, const char *name, struct err *e); /* EEXIST, EINVAL */
int catalog_hold(struct catalog *c, int64_t snapshot_id, bool hold, struct err *e);
/* Removes the snapshot and frees what only it used. EBUSY when held. */
int catalog_remove(struct catalog *c, int64_t snapshot_id, struct err *e);
/* 0, or EINVAL for a name users cannot give (1-200 bytes of [A-Za-z0-9._+@=-], no leading '.', not "latest"). */
int snapshot_name_check(const char *name, struct err *e);
/* "20261122T081530Z" of a moment. */
void snapshot_name_default(int64_t taken_ms, char out[32]);

/* Small texts of a snapshot; exact bytes, the same for ever. SHA256SUMS is computed at the first call and kept. */
int catalog_manifest(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e);
int catalog_schema_sql(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e);
int catalog_sums(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e);

/* ---- table versions ---- */
struct version_info {
	int64_t id;       /* table version: two snapshots share it when the table did not change */
	size_t ordinal;   /* place of the table in its snapshot, 0.. */
	char *name;       /* table */
	int64_t codec_id; /* description of the table */
	uint64_t rows;
	uint64_t line_bytes; /* = size of tables/T.jsonl */
	uint64_t file_bytes; /* sum of the row files' sizes */
	int64_t
	    since_ms; /* moment of the first snapshot that held exactly these rows: .table.json's and T.jsonl's time */
	struct digest digest;
};
void version_info_done(struct version_info *v);
struct version_list {
	struct version_info *v; /* by table name, bytewise */
	size_t n;
};
void version_list_done(struct version_list *l);
int catalog_tables(struct catalog *c, int64_t snapshot_id, struct version_list *ret, struct err *e);
int catalog_table(struct catalog *c, int64_t snapshot_id, const char *table, struct version_info *ret, struct err *e);
int catalog_table_at(struct catalog *c, int64_t snapshot_id, size_t ordinal, struct version_info *ret, struct err *e);
/* The codec of a description; owned by the catalog, valid until catalog_close. */
int catalog_codec(struct catalog *c, int64_t codec_id, const struct row_codec **ret, struct err *e);

/* ---- rows ---- */
struct row_ref {
	int64_t pack; /* never reused */
	uint32_t index;
};
struct stored_row {
	struct row_ref ref;
	uint64_t number; /* in its version, 0..; UINT64_MAX when read by ref */
	const char *line;
	size_t line_len;
	uint64_t file_size;
	const void *key; /* encoded; NULL in a row that was found by name or ref: stored_row_key makes it */
	size_t key_len;
	int64_t first_seen_ms; /* moment of the first snapshot that held this content */
	const struct row_codec *codec;
	struct pack *pack; /* private: what keeps the pointers alive */
};
/* The row file's mtime: updatedAt, else first_seen. */
int64_t stored_row_mtime_ms(const struct stored_row *r);

/* Rows in key order from row number `first`. next: 1, 0 at the end, -errno (EIO: damaged, the words name the pack);
 * *ret is valid until the next call. A cursor belongs to one thread at a time. */
struct row_cursor;
int row_cursor_open(struct row_cursor **ret, struct catalog *c, int64_t version_id, uint64_t first, struct err *e);
/* From the first row whose key is not below this one. */
int row_cursor_seek(struct row_cursor **ret, struct catalog *c, int64_t version_id, const void *key, size_t key_len,
		    struct err *e);
int row_cursor_next(struct row_cursor *rc, struct stored_row *ret, struct err *e);
/* Leaves out the rows that come next in both and are stored in the same place: those are the same rows, unread. */
int row_cursor_skip_shared(struct row_cursor *a, struct row_cursor *b, struct err *e);
void row_cursor_close(struct row_cursor *rc);
DEFINE_CLEANUP(cleanup_row_cursor, struct row_cursor, row_cursor_close);

/* One row; O(log n). Valid until stored_row_done. ENOENT. */
int catalog_row_by_name(struct catalog *c, int64_t version_id, const char *file_name, struct stored_row *ret,
			struct err *e);
int catalog_row_by_ref(struct catalog *c, struct row_ref ref, struct stored_row *ret, struct err *e);
int stored_row_key(struct stored_row *r, struct err *e);
void stored_row_done(struct stored_row *r);

/* Bytes of tables/T.jsonl where they lie, unpacked: fewer than n only at the end. Empty before, and for _done after. */
struct line_spans {
	struct iovec *v;
	struct pack **packs; /* private: what keeps them */
	size_t n;
	size_t bytes;
};
int catalog_line_spans(struct catalog *c, int64_t version_id, uint64_t offset, size_t n, struct line_spans *ret,
		       struct err *e);
void line_spans_done(struct line_spans *s);
/* The same as a copy; *ret_n < n only at the end. */
int catalog_read_lines(struct catalog *c, int64_t version_id, uint64_t offset, void *buf, size_t n, size_t *ret_n,
		       struct err *e);

/* Text of .table.json of a version: columns, key, count, digest. */
int catalog_table_json(struct catalog *c, int64_t version_id, struct strbuf *out, struct err *e);

/* ---- free space (for statfs), settings ---- */
int catalog_statvfs(struct catalog *c, struct statvfs *ret, struct err *e);
int catalog_set_cache_bytes(struct catalog *c, size_t bytes);
