/*
 * snapshot/row/encode.c - values as a server gives them -> the canonical line.
 *
 * Every byte of every row that is read passes here: nothing allocates for each row but in odd cases, and all of it is
 * checked. Any thread; the buffer is the caller's.
 */
#include "snapshot/row/encode.h"

#include <errno.h>

#include "base/base64.h"
#include "snapshot/row/internal.h"

static void row_add_base64(const struct db_value *v, struct strbuf *line)
{
	strbuf_addch(line, '"');
	base64_encode(line, v->data, v->len);
	strbuf_addch(line, '"');
}

static int row_add_json(const struct db_value *v, struct strbuf *line, struct err *e)
{
	const char *p = v->data, *end = p + v->len;
	while (p < end && json_text_is_space(*p))
		p++;
	enum json_kind kind = p < end ? json_text_kind(*p) : JSON_KIND_NONE;
	if (kind != JSON_KIND_STRING && kind != JSON_KIND_NULL)
		return json_text_compact(v->data, v->len, VALUE_DEPTH_MAX, line, &kind, e);
	/* As strings that hold JSON, so that "null" is not NULL, and every string of such a column is read the same
	 * way. */
	const char *stop = json_text_check(p, end, VALUE_DEPTH_MAX), *rest = stop;
	while (rest && rest < end && json_text_is_space(*rest))
		rest++;
	if (!rest || rest < end)
		return err_set(e, EBADMSG, "not JSON: a broken string or null");
	json_text_quote(p, (size_t)(stop - p), line);
	return 0;
}

static void row_add_json_text(const struct db_value *v, bool dynamic, struct strbuf *line)
{
	if (v->len && (*v->data == '{' || *v->data == '[') && !(dynamic && row_is_marked(v->data, v->len)) &&
	    json_text_check(v->data, v->data + v->len, VALUE_DEPTH_MAX) == v->data + v->len)
		strbuf_add(line, v->data, v->len);
	else
		json_text_quote(v->data, v->len, line);
}

static int row_add_dynamic(const struct db_column *column, const struct db_value *v, struct strbuf *line, struct err *e)
{
	enum db_kind kind = v->kind;
	if (kind == DB_KIND_COLUMN) {
		if (column->form == DB_FORM_BINARY)
			kind = DB_KIND_BLOB;
		else if (column->form != DB_FORM_NUMBER && column->form != DB_FORM_BOOL)
			kind = DB_KIND_TEXT;
		else
			kind = row_is_int64(v->data, v->len) ? DB_KIND_INTEGER : DB_KIND_REAL;
	}
	switch (kind) {
	case DB_KIND_INTEGER:
		if (!row_is_int64(v->data, v->len))
			return err_set(e, EBADMSG, "not a 64-bit integer");
		strbuf_add(line, v->data, v->len);
		return 0;
	case DB_KIND_REAL:
		if (row_is_real(v->data, v->len)) {
			strbuf_add(line, v->data, v->len);
			return 0;
		}
		strbuf_add(line, MARK_REAL, MARK_LEN); /* Inf, or digits that would be read as INTEGER */
		json_text_quote(v->data, v->len, line);
		strbuf_addch(line, '}');
		return 0;
	case DB_KIND_BLOB:
		if (column->form == DB_FORM_BINARY) {
			row_add_base64(v, line);
			return 0;
		}
		strbuf_add(line, MARK_BLOB, MARK_LEN);
		row_add_base64(v, line);
		strbuf_addch(line, '}');
		return 0;
	case DB_KIND_TEXT:
	default:
		if (column->form == DB_FORM_BINARY) {
			strbuf_add(line, MARK_TEXT, MARK_LEN);
			json_text_quote(v->data, v->len, line);
			strbuf_addch(line, '}');
		} else if (row_is_document(column)) {
			row_add_json_text(v, true, line);
		} else {
			json_text_quote(v->data, v->len, line);
		}
		return 0;
	}
}

static int row_add_value(const struct db_column *column, bool dynamic, const struct db_value *v, struct strbuf *line,
			 struct err *e)
{
	if (!v->data) {
		strbuf_add(line, "null", 4);
		return 0;
	}
	if (dynamic)
		return row_add_dynamic(column, v, line, e);
	switch (column->form) {
	case DB_FORM_NUMBER:
		if (json_text_is_number(v->data, v->len))
			strbuf_add(line, v->data, v->len);
		else
			json_text_quote(v->data, v->len, line);
		return 0;
	case DB_FORM_BOOL:
		if (row_text_is(v->data, v->len, "t"))
			strbuf_add(line, "true", 4);
		else if (row_text_is(v->data, v->len, "f"))
			strbuf_add(line, "false", 5);
		else
			return err_set(e, EBADMSG, "not a truth value");
		return 0;
	case DB_FORM_BINARY:
		row_add_base64(v, line);
		return 0;
	case DB_FORM_JSON:
		return row_add_json(v, line, e);
	case DB_FORM_JSON_TEXT:
		row_add_json_text(v, false, line);
		return 0;
	case DB_FORM_TEXT:
	default:
		json_text_quote(v->data, v->len, line);
		return 0;
	}
}

static bool row_same_value(const struct row_field *f, bool dynamic, const struct db_value *a, const struct db_value *b)
{
	if (!a->data || !b->data)
		return !a->data && !b->data;
	if (dynamic)
		return a->kind == b->kind && a->len == b->len && !memcmp(a->data, b->data, a->len);
	bool a_negative, b_negative;
	uint64_t a_number, b_number;
	if (f->column->integer)
		return row_parse_integer(a->data, a->len, &a_negative, &a_number) &&
		       row_parse_integer(b->data, b->len, &b_negative, &b_number) && a_negative == b_negative &&
		       a_number == b_number;
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static int row_check_generated(const struct row_codec *c, const struct db_value *values, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	for (size_t i = 0; i < c->n_generated; i++) {
		const struct row_field *f = &c->fields[c->generated[i]];
		struct db_value derived = {0};
		size_t offset;
		bool known = f->row != NO_COLUMN && row_derive(c, f, &values[f->row], &derived, &text, &offset);
		if (known && !derived.data && c->table.key_kind == DB_KEY_UNIQUE)
			known = false; /* no key can be made of it */
		if (!known || !row_same_value(f, c->table.dynamic, &derived, &values[c->n_columns + i]))
			return err_set(e, EDOM, "%s.%s: its value is not the member %s of %s in every row",
				       c->table.name, f->column->name, f->column->member ? f->column->member : "?",
				       f->column->document ? f->column->document : "?");
		strbuf_clear(&text);
	}
	return 0;
}

int row_encode(const struct row_codec *c, const struct db_value *values, struct strbuf *line, struct err *e)
{
	strbuf_clear(line);
	if (!c->n_columns)
		strbuf_addch(line, '{');
	for (size_t i = 0; i < c->n_columns; i++) {
		const struct row_column *column = &c->columns[i];
		strbuf_add(line, column->prefix, column->prefix_len);
		struct err why = ERR_INIT;
		int r = row_add_value(column->column, c->table.dynamic, &values[i], line, &why);
		if (r < 0)
			return err_set(e, -r, "%s.%s: %s", c->table.name, column->column->name, why.msg);
	}
	strbuf_addch(line, '}');
	return c->n_generated ? row_check_generated(c, values, e) : 0;
}
