/*
 * snapshot/row/decode.c - a line -> the values of its columns and of its key, checked in full: lines come from outside,
 * too.
 *
 * Any thread; the values' memory is the caller's.
 */
#include "snapshot/row/decode.h"

#include "snapshot/row/internal.h"

void row_values_init(struct row_values *rv, const struct row_codec *c)
{
	size_t n = c->n_columns + c->table.n_key;
	*rv = (struct row_values){.v = xcalloc(n, sizeof *rv->v), .offset = xcalloc(n, sizeof *rv->offset)};
}

void row_values_done(struct row_values *rv)
{
	free(rv->v);
	free(rv->offset);
	strbuf_done(&rv->text);
	*rv = (struct row_values){0};
}

void row_values_encodable(const struct row_codec *c, const struct row_values *rv, struct db_value *out)
{
	size_t n = c->n_columns;
	memcpy(out, rv->v, n * sizeof *out);
	for (size_t i = 0; i < c->n_generated; i++)
		out[n++] = rv->v[c->n_columns + c->generated[i]];
}

int row_decode(const struct row_codec *c, const char *line, size_t len, struct row_values *rv, struct err *e)
{
	const char *p = line, *end = line + len;
	strbuf_clear(&rv->text);
	for (size_t i = 0; i < c->n_columns; i++) {
		const char *value = row_walk_name(c, i, p, end);
		if (!value)
			return row_bad_name(c, i, (size_t)(p - line), e);
		p = row_take_value(c->columns[i].column, c->table.dynamic, value, end, false, &rv->v[i], &rv->text,
				   &rv->offset[i]);
		if (!p)
			return row_bad_value(c, c->columns[i].column, e);
	}
	if (!row_walk_end(c, p, end))
		return row_bad_end(c, (size_t)(p - line), e);
	for (size_t i = 0; i < c->table.n_key; i++) {
		const struct row_field *f = &c->fields[i];
		struct db_value *v = &rv->v[c->n_columns + i];
		size_t *offset = &rv->offset[c->n_columns + i];
		if (f->row == NO_COLUMN)
			return row_bad_key(c, f->column, e);
		struct db_value source = rv->v[f->row];
		row_settle(&source, rv->offset[f->row], &rv->text);
		*v = source;
		*offset = rv->offset[f->row];
		if (!f->derived)
			continue;
		if (!row_derive(c, f, &source, v, &rv->text, offset))
			return row_bad_key(c, f->column, e);
		/* A member without escapes of a document that is itself in `text`. */
		uintptr_t at = (uintptr_t)v->data, start = (uintptr_t)rv->text.data;
		if (v->data && *offset == IN_PLACE && rv->text.data && at >= start && at <= start + rv->text.len)
			*offset = at - start;
	}
	for (size_t i = 0; i < c->n_columns + c->table.n_key; i++)
		row_settle(&rv->v[i], rv->offset[i], &rv->text);
	return 0;
}
