/*
 * snapshot/row/codec.c - what is worked out once for each table, so that no row pays for it. Immutable once made: any
 * thread.
 */
#include "snapshot/row/codec.h"

#include "snapshot/row/internal.h"

static struct db_table row_copy_table(const struct db_table *t)
{
	struct db_table copy = *t;
	copy.name = xstrdup(t->name);
	copy.columns = xcalloc(t->n_columns, sizeof *copy.columns);
	for (size_t i = 0; i < t->n_columns; i++) {
		const struct db_column *from = &t->columns[i];
		struct db_column *to = &copy.columns[i];
		*to = *from;
		to->name = xstrdup(from->name);
		to->type = xstrdup(from->type);
		to->document = xstrdup(from->document);
		to->member = xstrdup(from->member);
	}
	copy.key = xcalloc(t->n_key, sizeof *copy.key);
	if (t->n_key)
		memcpy(copy.key, t->key, t->n_key * sizeof *copy.key);
	return copy;
}

static size_t row_index_of(const struct row_codec *c, const char *name)
{
	for (size_t i = 0; name && i < c->n_columns; i++)
		if (!strcmp(c->columns[i].column->name, name))
			return i;
	return NO_COLUMN;
}

static struct row_field row_field_of(const struct row_codec *c, const struct db_column *column)
{
	struct row_field f = {.column = column, .derived = column->generated};
	f.row = row_index_of(c, f.derived ? column->document : column->name);
	if (f.derived && column->member)
		f.member_len = strlen(column->member);
	else if (f.derived)
		f.row = NO_COLUMN;
	return f;
}

/* Not strcasecmp: a column's name must not depend on the locale. */
static bool row_is_updated_at(const char *name)
{
	static const char want[] = "updatedat";
	size_t i = 0;
	for (; name[i] && i < sizeof want - 1; i++)
		if ((name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]) != want[i])
			return false;
	return !name[i] && i == sizeof want - 1;
}

static void row_find_updated(struct row_codec *c)
{
	for (size_t i = 0; i < c->n_columns; i++)
		if (row_is_document(c->columns[i].column))
			c->updated = ROW_UPDATED_ANY;
	for (size_t i = 0; i < c->table.n_columns; i++) {
		if (!row_is_updated_at(c->table.columns[i].name))
			continue;
		struct row_field f = row_field_of(c, &c->table.columns[i]);
		if (f.row == NO_COLUMN)
			continue;
		c->updated = f.derived ? ROW_UPDATED_DERIVED : ROW_UPDATED_COLUMN;
		c->updated_field = f;
		return;
	}
}

struct row_codec *row_codec_new(const struct db_table *t)
{
	struct row_codec *c = xcalloc(1, sizeof *c);
	c->table = row_copy_table(t);
	c->columns = xcalloc(t->n_columns, sizeof *c->columns);
	for (size_t i = 0; i < t->n_columns; i++) {
		const struct db_column *column = &c->table.columns[i];
		if (column->generated)
			continue;
		struct strbuf prefix = {0};
		strbuf_addch(&prefix, c->n_columns ? ',' : '{');
		json_text_quote(column->name, strlen(column->name), &prefix);
		strbuf_addch(&prefix, ':');
		struct row_column *r = &c->columns[c->n_columns++];
		r->column = column;
		r->prefix_len = prefix.len;
		r->prefix = strbuf_detach(&prefix);
	}
	c->fields = xcalloc(t->n_key, sizeof *c->fields);
	c->generated = xcalloc(t->n_key, sizeof *c->generated);
	for (size_t i = 0; i < t->n_key; i++) {
		c->fields[i] = row_field_of(c, &c->table.columns[t->key[i]]);
		if (c->fields[i].derived)
			c->generated[c->n_generated++] = i;
		if (c->fields[i].row != NO_COLUMN)
			c->columns[c->fields[i].row].in_key = true;
	}
	row_find_updated(c);
	return c;
}

void row_codec_free(struct row_codec *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_columns; i++)
		free(c->columns[i].prefix);
	free(c->columns);
	free(c->fields);
	free(c->generated);
	db_table_done(&c->table);
	free(c);
}

const struct db_table *row_codec_table(const struct row_codec *c)
{
	return &c->table;
}

size_t row_codec_columns(const struct row_codec *c)
{
	return c->n_columns;
}

size_t row_codec_scan_values(const struct row_codec *c)
{
	return c->n_columns + c->n_generated;
}
