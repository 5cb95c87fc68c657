/*
 * snapshot/stream/merge.h - the one merge of two streams: capture, import, diff, restore and verify are its sinks.
 */
#pragma once

#include <stdatomic.h>

#include "snapshot/stream/row_stream.h"

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
