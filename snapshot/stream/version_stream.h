/*
 * snapshot/stream/version_stream.h - the rows of a table version as a stream.
 */
#pragma once

#include "snapshot/store/version.h"
#include "snapshot/stream/row_stream.h"

/* Rows of a table version; version_id 0: none. */
int stream_version(struct row_stream **ret, struct catalog *c, int64_t version_id, struct err *e);
/* From the first row on whose key is not below this one. */
int stream_version_from(struct row_stream **ret, struct catalog *c, int64_t version_id, const void *key, size_t key_len,
			struct err *e);

/* What two versions share and comes next in both streams is left out unread; nothing, where they are not both streams
 * of versions. */
int stream_skip_shared(struct row_stream *a, struct row_stream *b, struct err *e);
