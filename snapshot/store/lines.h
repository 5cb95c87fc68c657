/*
 * snapshot/store/lines.h - the bytes of tables/T.jsonl of a table version.
 */
#pragma once

#include <sys/uio.h>

#include "snapshot/store/catalog.h"

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
