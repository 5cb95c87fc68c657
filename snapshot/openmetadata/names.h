/*
 * snapshot/openmetadata/names.h - entities by their fully-qualified names: the index that each snapshot has of its own.
 *
 * An entity is a row of a table with columns `id` and `json` (and none called `extension`: those hold old versions)
 * whose document has the member fullyQualifiedName; in tables called ..._entity, `name` will do. Its path is
 * TYPE/PART/.../NAME.json (names_path.c has the spelling). The index is a table version of rows {path, table, row}
 * by that key, written with the snapshot from what changed since the one before: unchanged names cost nothing.
 * Any thread; cursors and changes belong to one at a time.
 */
#pragma once

#include "snapshot/store/catalog.h"

/* ---- spelling (names_path.c) ---- */

#define NAMES_PART_MAX                                                                                                 \
	200U /* bytes of a part in a path; a longer one is cut and ends in ~ and 32 digits of its SHA-256 */
#define NAMES_DEPTH_MAX 60U /* parts of a name that become folders; what follows stays one part */

/* TYPE of a table: "dashboard_service_entity" -> "dashboardService". */
void names_type(const char *table, struct strbuf *out);
/* Appends TYPE/PART/.../NAME.json of a fully-qualified name (parts by '.', quoted ones may hold any), or of a name that
 * is one part. */
void names_path(const char *type, const char *fqn, size_t len, bool one_part, struct strbuf *out);

/* ---- looking up ---- */

struct names_entry {
	const char *path; /* valid until the cursor moves or is closed */
	size_t path_len;
	const char *table;
	const char *row; /* its file's name in the table's folder */
	uint64_t number; /* in the index, 0.. */
	bool again;      /* another entity before it has this path, too */
};

/* The index of a snapshot: *ret is its table version. ENOENT: there is none (a snapshot of an older program, or one
 * made from a damaged one): names_build makes it, which reads all entities. */
int names_version(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e);
int names_build(struct catalog *c, int64_t snapshot_id, struct err *e);
/* The same, made when it is missing. */
int names_index(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e);
/* Forgets an index that is damaged, so that it is made anew. */
int names_forget(struct catalog *c, int64_t snapshot_id, struct err *e);

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
/* The entity with this path: its table and its row's file name. ENOENT. Makes a missing index. */
int names_find_path(struct catalog *c, int64_t snapshot_id, const char *path, struct strbuf *table,
		    struct strbuf *row_file, struct err *e);
/* The same by type and fully-qualified name. ENOTUNIQ: several are called so. */
int names_find(struct catalog *c, int64_t snapshot_id, const char *type, const char *fqn, struct strbuf *table,
	       struct strbuf *row_file, struct err *e);

/* ---- writing, for store/version_write.c ---- */

/* Names that come and go in a table while its next version is written. */
struct names_changes;
/* *ret stays NULL where the rows of a table are no entities. */
int names_changes_new(struct names_changes **ret, struct catalog *c, const struct row_codec *codec, struct err *e);
void names_changes_free(struct names_changes *n);
int names_changes_add(struct names_changes *n, const void *key, size_t key_len, const char *line, size_t len,
		      struct err *e);
int names_changes_remove(struct names_changes *n, const void *key, size_t key_len, const char *line, size_t len,
			 struct err *e);
DEFINE_CLEANUP(cleanup_names_changes, struct names_changes, names_changes_free);

struct names_table {
	const char *table;
	struct names_changes *changes; /* NULL: none */
	bool whole;                    /* changes tell all of its rows; what the base has of it goes */
};
struct version_writer;
/* The description of the index. */
const struct db_table *names_description(void);
/* Writes and finishes the index of a snapshot: that of `base_id` (0: none) with the changes. base_id's tables that are
 * not among `t` have gone. 1: nothing was written, because the base's index is missing or damaged; 2: it would be the
 * base's, *ret_same. */
int names_write(struct catalog *c, int64_t base_id, const struct names_table *t, size_t n, struct version_writer *v,
		struct version_info *ret_same, struct err *e);
