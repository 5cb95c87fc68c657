/*
 * snapshot/store/extent.h - extents: runs of rows in packs, which a version is made of.
 */
#pragma once

#include "base/strbuf.h"
#include "snapshot/store/catalog.h"

/*
 * Extent: `count` rows of pack `pack` from `first`. Page: extents in key order, cut by content. Version: pages.
 * `sep` of an extent (page) is the shortest byte string greater than the key before it and not greater than its first
 * key.
 */
struct extent {
	int64_t pack;
	uint32_t first;
	uint32_t count;
	uint64_t line_bytes;
	uint64_t file_bytes; /* of the row files */
	const uint8_t *sep;
	size_t sep_len;
};
/* The next extent of a page; *pack is where the number before is kept, 0 at the page's start. */
int extent_next(const uint8_t **p, const uint8_t *end, int64_t *pack, struct extent *ret, struct err *e);

/* The extents of a version in key order. next: 1, 0 at the end, -errno; the separator is valid until the next call. */
struct extent_cursor;
int extent_cursor_open(struct extent_cursor **ret, struct catalog *c, int64_t version_id, struct err *e);
int extent_cursor_next(struct extent_cursor *ec, struct extent *ret, struct err *e);
void extent_cursor_close(struct extent_cursor *ec);
DEFINE_CLEANUP(cleanup_extent_cursor, struct extent_cursor, extent_cursor_close);

/* The order of encoded keys. */
int key_compare(const void *a, size_t an, const void *b, size_t bn);
