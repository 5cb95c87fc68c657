/*
 * snapshot/store/version_write.h - making the next version of a table, of rows that are kept and rows that are new.
 */
#pragma once

#include "snapshot/store/extent.h"
#include "snapshot/store/pack.h"
#include "snapshot/store/tables.h"
#include "snapshot/store/version.h"

struct snapshot_writer; /* snapshot_write.h */
struct version_writer;

/* Tables may be written by several threads, each by one; rows in ascending key order, each either kept from the base
 * version or new. EUCLEAN: what of the base version cannot be read. */
int snapshot_writer_table(struct snapshot_writer *w, const struct db_table *t, struct version_writer **ret,
			  struct err *e);
/* The same for the index of the snapshot, which is not one of its tables. */
int snapshot_writer_index(struct snapshot_writer *w, const struct db_table *t, struct version_writer **ret,
			  struct err *e);
/* Who wants to know which rows of the base version go and which come: on the thread that writes them. NULL functions:
 * nobody. */
struct row_watch {
	int (*added)(void *arg, const void *key, size_t key_len, const char *line, size_t line_len, struct err *e);
	int (*gone)(void *arg, const void *key, size_t key_len, const char *line, size_t line_len, struct err *e);
	void *arg;
};
/* Before the first row. */
void version_writer_set_watch(struct version_writer *v, const struct row_watch *watch);
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
