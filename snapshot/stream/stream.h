/*
 * snapshot/stream/stream.h - the key-ordered row stream and the one merge: capture, import, diff, restore and verify are its
 * sinks.
 *
 * A stream belongs to one thread. Rows come in strictly ascending key order; a stream that cannot give them so fails.
 */
#pragma once

#include "snapshot/job.h"
#include "snapshot/store/internal.h"

struct stream_row {
	const void *key;
	size_t key_len;
	const char *line;
	size_t line_len;
	uint64_t number;                 /* running number among equal rows, 0 where keys are not hashed */
	const struct stored_row *stored; /* the row in the catalog; NULL for rows from elsewhere */
};

struct row_stream {
	int (*next)(struct row_stream *s, struct stream_row *ret,
		    struct err *e); /* 1, 0 at the end, -errno; valid until the next call */
	void (*close)(struct row_stream *s);
	bool failed; /* set by the merge: the error is this stream's own */
};
static inline void row_stream_close(struct row_stream *s)
{
	if (s)
		s->close(s);
}
DEFINE_CLEANUP(cleanup_row_stream, struct row_stream, row_stream_close);

/* Rows of a table version; version_id 0: none. */
int stream_version(struct row_stream **ret, struct catalog *c, int64_t version_id, struct err *e);
/* From the first row on whose key is not below this one. */
int stream_version_from(struct row_stream **ret, struct catalog *c, int64_t version_id, const void *key, size_t key_len,
			struct err *e);

/*
 * Rows of a live table. ordered: in the server's index order, and -EILSEQ at the first row that breaks the byte order
 * (then open it again with ordered false: rows are sorted here, on disk, memory bounded). -EDOM: see row_encode.
 * t describes what codec encodes.
 */
int stream_live(struct row_stream **ret, struct db_conn *conn, const struct db_table *t, const struct row_codec *codec,
		bool ordered, struct job_ctl *job, struct err *e);

/* The rows that may be newer than `mark`, ordered or sorted here; *ret_unchanged: how many others there are (see
 * db_driver.scan_changed). */
int stream_changed(struct row_stream **ret, struct db_conn *conn, const struct db_table *t,
		   const struct row_codec *codec, const char *mark, bool ordered, uint64_t *ret_unchanged,
		   struct job_ctl *job, struct err *e);

/* Sorts lines by key; then streams them, giving equal rows of hashed tables their numbers. Two equal keys: -EEXIST.
 * memory: bytes that are kept in it; more goes to an unnamed SQLite file in the temporary folder, with a cache as
 * large.
 */
#define SORTER_MEMORY (16U << 20)
struct sorter;
struct sorter *sorter_new(const struct row_codec *codec, size_t memory);
int sorter_add(struct sorter *s, const char *line, size_t len, struct err *e);
int sorter_stream(struct row_stream **ret, struct sorter *s, struct err *e); /* takes the sorter */
void sorter_free(struct sorter *s);
DEFINE_CLEANUP(cleanup_sorter, struct sorter, sorter_free);

/* The merge, one key after another: 1 and what is there, 0 at the end, -errno. Rows are valid until the next call. */
enum merge_kind { MERGE_LEFT, MERGE_RIGHT, MERGE_SAME, MERGE_CHANGED /* the same key, different lines */ };
struct merge {
	struct row_stream *left, *right; /* the caller's */
	bool differences;                /* MERGE_SAME is left out, and what two versions share is not read */
	const atomic_bool *stop;         /* set by another thread: EINTR; NULL: none */
	enum merge_kind kind;
	struct stream_row l, r;
	/* private: l and r are rows that have not been given yet; a stream is not asked again after its end */
	bool has_left, has_right, left_ended, right_ended;
};
int merge_next(struct merge *m, struct err *e);

/* Calls exactly one of the functions for each key of either stream, in key order. NULL functions: nothing to do. Each
 * returns 0 to go on. */
struct merge_sink {
	void *arg;
	int (*left)(void *arg, const struct stream_row *l, struct err *e);
	int (*right)(void *arg, const struct stream_row *r, struct err *e);
	int (*same)(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e);
	int (*changed)(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e);
};
int merge_streams(struct row_stream *left, struct row_stream *right, const struct merge_sink *sink, struct err *e);
