/*
 * snapshot/store/snapshot_write.h - what a capture or import makes: table versions (version_write.h), then one
 * snapshot that names them.
 */
#pragma once

#include "snapshot/row/manifest.h"
#include "snapshot/store/mark.h"
#include "snapshot/store/version_write.h"

/* Starts: takes the shared lock that keeps packs from being freed under it. */
int snapshot_writer_new(struct snapshot_writer **ret, struct catalog *c, int64_t source_id, int64_t taken_ms,
			struct err *e);
int64_t snapshot_writer_id(const struct snapshot_writer *w);
/* Frees an unfinished one too: what it stored is freed by the next sweep. */
void snapshot_writer_free(struct snapshot_writer *w);
DEFINE_CLEANUP(cleanup_snapshot_writer, struct snapshot_writer, snapshot_writer_free);

int64_t snapshot_writer_source(const struct snapshot_writer *w);
uint64_t snapshot_writer_rows(const struct snapshot_writer *w);
uint64_t snapshot_writer_bytes(struct snapshot_writer *w); /* stored so far, compressed */
void snapshot_writer_set_marks(struct snapshot_writer *w, struct mark_list *m);
/* What was written of a table, to complete it (auto_increment is known after the rows). NULL: not written. */
struct manifest_table *snapshot_writer_find(struct snapshot_writer *w, const char *table);
/* The table was written without a base version: what came are all of its rows. */
bool snapshot_writer_is_whole(const struct snapshot_writer *w, const char *table);
/* The index is this version, which is there already; *v is taken. Without this and snapshot_writer_index: none. */
void snapshot_writer_set_index(struct snapshot_writer *w, struct version_info *v);

/* Everything in one transaction; name NULL: not listed (for a restore). *m's tables and schema hash are filled in here
 * from what was written and from `schema_sql`; schema_since_ms 0: now. */
int snapshot_writer_commit(struct snapshot_writer *w, const char *name, struct manifest *m, const char *schema_sql,
			   size_t schema_len, struct err *e);
/* Instead of a snapshot: the index of one that has none. */
int snapshot_writer_commit_index(struct snapshot_writer *w, int64_t snapshot_id, struct err *e);
