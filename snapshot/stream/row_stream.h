/*
 * snapshot/stream/row_stream.h - the key-ordered row stream that all sources of rows are read by.
 *
 * A stream belongs to one thread. Rows come in strictly ascending key order; a stream that cannot give them so fails.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct stored_row; /* store/version.h */

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
