/*
 * snapshot/row/walk.c - along the columns of a line, by skipping values instead of reading them; and what is said of a
 * line that is not of its table. No state; any thread.
 */
#include "snapshot/row/internal.h"

#include <errno.h>

/* Past the name of column i, where its value starts; NULL when another thing is there. */
const char *row_walk_name(const struct row_codec *c, size_t i, const char *p, const char *end)
{
	const struct row_column *r = &c->columns[i];
	if ((size_t)(end - p) >= r->prefix_len && !memcmp(p, r->prefix, r->prefix_len))
		return p + r->prefix_len;
	/* A file edited by hand may spell the name with other escapes. */
	if (end - p < 2 || *p != r->prefix[0] || p[1] != '"')
		return NULL;
	const char *body = p + 2, *quote = json_text_skip_string(body, end);
	if (!quote || end - quote < 2 || quote[1] != ':' ||
	    !json_text_string_is(body, (size_t)(quote - body), r->column->name, strlen(r->column->name)))
		return NULL;
	return quote + 2;
}

bool row_walk_end(const struct row_codec *c, const char *p, const char *end)
{
	if (!c->n_columns)
		return end - p == 2 && p[0] == '{' && p[1] == '}';
	return end - p == 1 && *p == '}';
}

int row_bad_name(const struct row_codec *c, size_t i, size_t at, struct err *e)
{
	return err_set(e, EBADMSG, "%s.%s: the column is missing, or another is in its place, at byte %zu of the row",
		       c->table.name, c->columns[i].column->name, at);
}

int row_bad_end(const struct row_codec *c, size_t at, struct err *e)
{
	return err_set(e, EBADMSG, "%s: a column that the table does not have, or more text, at byte %zu of the row",
		       c->table.name, at);
}

int row_bad_value(const struct row_codec *c, const struct db_column *column, struct err *e)
{
	return err_set(e, EBADMSG, "%s.%s: not a value that a column of type %s can hold", c->table.name, column->name,
		       column->type ? column->type : "?");
}

int row_bad_key(const struct row_codec *c, const struct db_column *column, struct err *e)
{
	return err_set(e, EBADMSG, "%s.%s: the row has no usable value for this column of the key", c->table.name,
		       column->name);
}
