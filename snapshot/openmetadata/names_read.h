/*
 * snapshot/openmetadata/names_read.h - entities by path, in an index that is there.
 *
 * Any thread; a cursor belongs to one at a time.
 */
#pragma once

#include <stdbool.h>

#include "base/strbuf.h"
#include "snapshot/store/catalog.h"

struct names_entry {
	const char *path; /* valid until the cursor moves or is closed */
	size_t path_len;
	const char *table;
	const char *row; /* its file's name in the table's folder */
	uint64_t number; /* in the index, 0.. */
	bool again;      /* another entity before it has this path, too */
};

struct names_cursor;
/* From entry number `first`, or from the first entry whose path is not below `path`. next: 1, 0 at the end, -errno. */
int names_cursor_open(struct names_cursor **ret, struct catalog *c, int64_t version_id, uint64_t first, struct err *e);
int names_cursor_seek(struct names_cursor **ret, struct catalog *c, int64_t version_id, const char *path, size_t len,
		      struct err *e);
int names_cursor_next(struct names_cursor *nc, struct names_entry *ret, struct err *e);
void names_cursor_close(struct names_cursor *nc);
DEFINE_CLEANUP(cleanup_names_cursor, struct names_cursor, names_cursor_close);

/* The first path from `path` on that index `version_id` has and index `before_id` has not, or not for the same row;
 * what they share is not read. 1, 0: there is none. */
int names_next_new(struct catalog *c, int64_t before_id, int64_t version_id, const char *path, size_t len,
		   struct strbuf *ret, struct err *e);

/* The last part of an entry's path as its file is called: of several with one path, all but the first have ~ and 16
 * digits in it. */
void names_file(const struct names_entry *n, struct strbuf *out);
/* The entry with this path (as names_file has it); it is valid as long as *ret, which gives those behind it. ENOENT. */
int names_lookup(struct catalog *c, int64_t version_id, const char *path, size_t len, struct names_cursor **ret,
		 struct names_entry *ret_entry, struct err *e);
