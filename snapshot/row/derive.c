/*
 * snapshot/row/derive.c - generated columns: their values out of the documents that they are members of. No state; any
 * thread.
 */
#include "snapshot/row/internal.h"

/* The truth value that a member's text casts to. */
static bool row_derive_bool(struct db_value *v, size_t *offset)
{
	if (row_text_is(v->data, v->len, "true") || row_text_is(v->data, v->len, "t"))
		v->data = "t";
	else if (row_text_is(v->data, v->len, "false") || row_text_is(v->data, v->len, "f"))
		v->data = "f";
	else
		return false;
	v->len = 1;
	*offset = IN_PLACE;
	return true;
}

/* Gives a derived value the type that SQLite's column affinity gives it. */
static void row_derive_kind(const struct db_column *column, enum json_kind kind, struct db_value *v)
{
	bool number = column->form == DB_FORM_NUMBER || column->form == DB_FORM_BOOL;
	if (kind == JSON_KIND_TRUE || kind == JSON_KIND_FALSE) {
		v->data = kind == JSON_KIND_TRUE ? "1" : "0";
		v->len = 1;
	}
	if (kind == JSON_KIND_STRING)
		v->kind = number && row_is_int64(v->data, v->len) ? DB_KIND_INTEGER : DB_KIND_TEXT;
	else if (!number && column->form != DB_FORM_BINARY)
		v->kind = DB_KIND_TEXT;
	else
		v->kind = row_is_int64(v->data, v->len) ? DB_KIND_INTEGER : DB_KIND_REAL;
}

/* The generated column's value out of its document; false when the row does not tell it for sure. */
bool row_derive(const struct row_codec *c, const struct row_field *f, const struct db_value *document,
		struct db_value *v, struct strbuf *text, size_t *offset)
{
	*v = (struct db_value){0};
	*offset = IN_PLACE;
	if (!document->data)
		return true;
	if (c->table.dynamic && document->kind != DB_KIND_TEXT && document->kind != DB_KIND_COLUMN)
		return false;
	const char *p;
	size_t len;
	int found = json_text_member(document->data, document->len, f->column->member, f->member_len, &p, &len);
	if (found <= 0)
		return !found;
	enum json_kind kind = json_text_kind(*p);
	switch (kind) {
	case JSON_KIND_STRING:
		if (row_take_string(p, p + len, v, text, offset) == NULL)
			return false;
		break;
	case JSON_KIND_NULL:
	case JSON_KIND_NUMBER:
	case JSON_KIND_TRUE:
	case JSON_KIND_FALSE:
		if (json_text_check(p, p + len, 0) != p + len)
			return false;
		if (kind == JSON_KIND_NULL)
			return true;
		v->data = p;
		v->len = kind == JSON_KIND_NUMBER ? row_number_len(p, len) : len;
		break;
	default: /* documents inside of it: servers print them each in its own way */
		return false;
	}
	bool negative;
	uint64_t n;
	if (c->table.dynamic)
		row_derive_kind(f->column, kind, v);
	else if (f->column->form == DB_FORM_BOOL)
		return row_derive_bool(v, offset);
	else if (f->column->integer)
		return row_parse_integer(v->data, v->len, &negative, &n);
	return true;
}
