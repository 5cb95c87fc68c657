/*
 * snapshot/stream/changes.h - what differs between two snapshots: counted table by table, listed row by row, one row
 * by name.
 *
 * Rows are the same when their keys and lines are. Of a table whose description differs (snapshots of two schemas) rows
 * with the same encoded key are `changed`; rows without a key of their own are known by their content: one that changed
 * is one removed and one added. What two snapshots share is never read: the cost is that of what changed.
 * Any thread; a cursor belongs to one at a time. Nothing is written, no locks.
 */
#pragma once

#include <stdatomic.h>

#include "snapshot/store/store.h"

enum change { CHANGE_ADDED, CHANGE_REMOVED, CHANGE_CHANGED, CHANGE_KINDS };

/* ---- tables ---- */

/* The tables of two snapshots side by side, by name. */
struct table_pair {
	const struct version_info *before, *after; /* NULL: that side has no such table; not both */
};
struct table_pairs {
	struct version_list before, after; /* what the pairs point into */
	struct table_pair *v;
	size_t n;
};
int table_pairs_load(struct catalog *c, int64_t before, int64_t after, struct table_pairs *ret, struct err *e);
void table_pairs_done(struct table_pairs *p);
static inline const char *table_pair_name(const struct table_pair *p)
{
	return p->after ? p->after->name : p->before->name;
}
/* Both sides have it, with the same rows in the same form: told without reading any. */
bool table_pair_same(const struct table_pair *p);

/* ---- counts ---- */

struct changes_table {
	char *name;
	uint64_t n[CHANGE_KINDS];
	bool is_before, is_after; /* which side has it */
	bool altered;             /* both have it, and it is described differently */
	bool damaged;             /* rows of it cannot be read: there are no counts */
	size_t ordinal_before, ordinal_after;
	uint64_t rows_before, rows_after;
};
struct changes {
	struct changes_table *v; /* those that differ, by name */
	size_t n;
	size_t same; /* how many do not, */
	uint64_t same_rows;
	bool schema; /* schema.sql differs */
};
/* stop (NULL: none): set by another thread, it ends the counting with EINTR. -EIO: where tables are `damaged`, *ret has
 * them and the others all the same; after any other failure it is empty. The caller ends it with changes_done always.
 */
int changes_count(struct catalog *c, int64_t before, int64_t after, const atomic_bool *stop, struct changes *ret,
		  struct err *e);
void changes_done(struct changes *ch);
static inline bool changes_any(const struct changes *ch)
{
	return ch->n || ch->schema;
}
/* The summary for people and awk, where changes_count gave 0; it has no names of snapshots in it, so that renaming one
 * changes nothing. */
void changes_text(const struct changes *ch, struct strbuf *out);
int changes_schema(struct catalog *c, int64_t before, int64_t after, bool *ret, struct err *e);

/* ---- rows ---- */

struct changes_row {
	enum change kind;
	const struct stored_row *before, *after; /* NULL: not there; valid until the next call */
};
struct changes_cursor;
/* In key order. next: 1, 0 at the end, -errno. */
int changes_cursor_open(struct changes_cursor **ret, struct catalog *c, const struct table_pair *p,
			const atomic_bool *stop, struct err *e);
int changes_cursor_next(struct changes_cursor *cc, struct changes_row *ret, struct err *e);
void changes_cursor_close(struct changes_cursor *cc);
DEFINE_CLEANUP(cleanup_changes_cursor, struct changes_cursor, changes_cursor_close);

/* The row whose file has this name, when it was added, removed or changed (then: as it is `after`, or as it was).
 * O(log n). ENOENT. The caller ends it with stored_row_done. */
int changes_lookup(struct catalog *c, const struct table_pair *p, enum change kind, bool after, const char *file_name,
		   struct stored_row *ret, struct err *e);
