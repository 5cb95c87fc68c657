/*
 * snapshot/openmetadata/names_row.h - what of a row is a name, and the names that come and go with rows.
 *
 * Changes belong to the thread that writes the table.
 */
#pragma once

#include "snapshot/row/row.h"
#include "snapshot/store/catalog.h"
#include "snapshot/stream/sorter.h"

/* The description of the index, which is a table version of rows {path, table, row}. */
const struct db_table *names_description(void);
/* A member of such a row; false: it is damaged. */
bool names_member(const char *line, size_t len, const char *member, struct strbuf *out);

/* Names that come and go in a table while its next version is written. */
struct names_changes {
	const struct row_codec *codec; /* of the table */
	const struct row_codec *index; /* of the index */
	struct strbuf type;
	const char *json;               /* the columns' names */
	bool by_name;                   /* `name` will do */
	struct sorter *added, *removed; /* NULL: none yet */
	struct strbuf doc, fqn, path, row, line;
};
/* *ret stays NULL where the rows of a table are no entities. */
int names_changes_new(struct names_changes **ret, struct catalog *c, const struct row_codec *codec, struct err *e);
void names_changes_free(struct names_changes *n);
/* n NULL: nothing to do. */
int names_changes_add(struct names_changes *n, const void *key, size_t key_len, const char *line, size_t len,
		      struct err *e);
int names_changes_remove(struct names_changes *n, const void *key, size_t key_len, const char *line, size_t len,
			 struct err *e);
DEFINE_CLEANUP(cleanup_names_changes, struct names_changes, names_changes_free);
