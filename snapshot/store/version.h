/*
 * snapshot/store/version.h - the rows of a table version: one after another, or one by its name or place.
 */
#pragma once

#include "base/strbuf.h"
#include "snapshot/row/row.h"
#include "snapshot/store/catalog.h"

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
