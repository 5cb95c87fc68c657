/*
 * snapshot/capture/merge.h - the rows that a table has now, merged with its newest version, become its next version.
 *
 * Any thread; the streams and the writer are its caller's.
 */
#pragma once

#include "snapshot/stream/stream.h"

/* Feeds the merge of `live` (rows to become the version) and `base` (the version so far, NULL: none) to a version
 * writer. EUCLEAN: the version so far is damaged; without it (0) the rows are only stored once more. */
int capture_merge(struct row_stream *live, struct catalog *c, const struct version_info *base, struct version_writer *v,
		  int64_t since_ms, struct err *e);
