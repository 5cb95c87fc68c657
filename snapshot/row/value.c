/*
 * snapshot/row/value.c - one value of a line, read: what a column holds there.
 *
 * A value points into the line, or is at *offset of `text`: text may move while it grows, so the value gets its address
 * last (row_settle). No state; any thread.
 */
#include "base/base64.h"
#include "snapshot/row/internal.h"

bool row_is_marked(const char *text, size_t len)
{
	return len > MARK_LEN && text[MARK_LEN] == '"' &&
	       (!memcmp(text, MARK_TEXT, MARK_LEN) || !memcmp(text, MARK_BLOB, MARK_LEN) ||
		!memcmp(text, MARK_REAL, MARK_LEN));
}

void row_settle(struct db_value *v, size_t offset, const struct strbuf *text)
{
	if (offset != IN_PLACE)
		v->data = text->data + offset;
}

/* Makes room in text for n bytes, without losing `data` when that is inside of it. */
static const char *row_reserve(struct strbuf *text, size_t n, const char *data)
{
	uintptr_t at = (uintptr_t)data, start = (uintptr_t)text->data;
	bool inside = text->data && at >= start && at <= start + text->len;
	strbuf_reserve(text, n);
	return inside ? text->data + (at - start) : data;
}

/* The string at p; returns past its closing quote, NULL when it is broken. */
const char *row_take_string(const char *p, const char *end, struct db_value *v, struct strbuf *text, size_t *offset)
{
	const char *body = p + 1, *stop = json_text_plain(body, end);
	if (stop < end && *stop == '"') {
		v->data = body;
		v->len = (size_t)(stop - body);
		return stop + 1;
	}
	stop = json_text_skip_string(stop, end);
	if (!stop)
		return NULL;
	size_t len = (size_t)(stop - body), start = text->len;
	body = row_reserve(text, len + 4, body);
	if (!json_text_unquote(body, len, text))
		return NULL;
	*offset = start;
	v->data = text->data + start;
	v->len = text->len - start;
	return stop + 1;
}

static const char *row_take_base64(const char *p, const char *end, struct db_value *v, struct strbuf *text,
				   size_t *offset)
{
	p = row_take_string(p, end, v, text, offset);
	if (!p || !v->len)
		return p;
	size_t start = text->len;
	const char *digits = row_reserve(text, v->len, v->data);
	if (!base64_decode(text, digits, v->len))
		return NULL;
	*offset = start;
	v->data = text->data + start;
	v->len = text->len - start;
	return p;
}

/* {"$text":"..."} and its like, p at the brace. */
static const char *row_take_marked(const struct db_column *column, const char *p, const char *end, struct db_value *v,
				   struct strbuf *text, size_t *offset)
{
	bool bytes = column->form == DB_FORM_BINARY;
	if (!memcmp(p, MARK_BLOB, MARK_LEN)) {
		v->kind = DB_KIND_BLOB;
		p = bytes ? NULL : row_take_base64(p + MARK_LEN, end, v, text, offset);
	} else if (!memcmp(p, MARK_TEXT, MARK_LEN)) {
		v->kind = DB_KIND_TEXT;
		p = bytes ? row_take_string(p + MARK_LEN, end, v, text, offset) : NULL;
	} else {
		v->kind = DB_KIND_REAL;
		p = row_take_string(p + MARK_LEN, end, v, text, offset);
	}
	return p && p < end && *p == '}' ? p + 1 : NULL;
}

/* A document as it stands. Lines that were checked before (exact: the value ends at `end`) are not checked again. */
static const char *row_take_document(const char *p, const char *end, bool exact, struct db_value *v)
{
	const char *stop = exact ? end : json_text_check(p, end, VALUE_DEPTH_MAX);
	v->data = p;
	v->len = stop ? (size_t)(stop - p) : 0;
	return stop;
}

static const char *row_take_dynamic(const struct db_column *column, const char *p, const char *end, bool exact,
				    enum json_kind kind, struct db_value *v, struct strbuf *text, size_t *offset)
{
	bool bytes = column->form == DB_FORM_BINARY;
	const char *stop;
	switch (kind) {
	case JSON_KIND_NUMBER:
		stop = json_text_skip(p, end);
		v->data = p;
		v->len = (size_t)(stop - p);
		v->kind = row_is_real(p, v->len) ? DB_KIND_REAL : DB_KIND_INTEGER;
		return v->kind == DB_KIND_REAL || row_is_int64(p, v->len) ? stop : NULL;
	case JSON_KIND_STRING:
		v->kind = bytes ? DB_KIND_BLOB : DB_KIND_TEXT;
		return bytes ? row_take_base64(p, end, v, text, offset) : row_take_string(p, end, v, text, offset);
	case JSON_KIND_OBJECT:
	case JSON_KIND_ARRAY:
		if (row_is_marked(p, (size_t)(end - p)))
			return row_take_marked(column, p, end, v, text, offset);
		v->kind = DB_KIND_TEXT;
		return row_is_document(column) ? row_take_document(p, end, exact, v) : NULL;
	default:
		return NULL;
	}
}

/* Reads the value at p of a column. Returns past it, NULL when the column cannot hold that. */
const char *row_take_value(const struct db_column *column, bool dynamic, const char *p, const char *end, bool exact,
			   struct db_value *v, struct strbuf *text, size_t *offset)
{
	*v = (struct db_value){0};
	*offset = IN_PLACE;
	enum json_kind kind = p < end ? json_text_kind(*p) : JSON_KIND_NONE;
	const char *stop;
	switch (kind) {
	case JSON_KIND_NULL:
	case JSON_KIND_TRUE:
	case JSON_KIND_FALSE:
	case JSON_KIND_NUMBER:
		stop = json_text_check(p, end, 0);
		if (!stop)
			return NULL;
		break;
	case JSON_KIND_NONE:
		return NULL;
	default:
		stop = NULL;
	}
	if (kind == JSON_KIND_NULL)
		return stop;
	if (dynamic)
		return row_take_dynamic(column, p, end, exact, kind, v, text, offset);
	if (kind == JSON_KIND_STRING) {
		if (column->form == DB_FORM_BOOL)
			return NULL;
		if (column->form == DB_FORM_BINARY)
			return row_take_base64(p, end, v, text, offset);
		p = row_take_string(p, end, v, text, offset);
		if (!p || column->form != DB_FORM_JSON)
			return p;
		enum json_kind inner = v->len ? json_text_kind(*v->data) : JSON_KIND_NONE;
		return (inner == JSON_KIND_STRING || inner == JSON_KIND_NULL) &&
			       json_text_check(v->data, v->data + v->len, 0) == v->data + v->len
			   ? p
			   : NULL;
	}
	if (kind == JSON_KIND_OBJECT || kind == JSON_KIND_ARRAY)
		return row_is_document(column) ? row_take_document(p, end, exact, v) : NULL;
	if (column->form == DB_FORM_BOOL && kind != JSON_KIND_NUMBER) {
		v->data = kind == JSON_KIND_TRUE ? "t" : "f";
		v->len = 1;
		return stop;
	}
	if (column->form != DB_FORM_JSON && (column->form != DB_FORM_NUMBER || kind != JSON_KIND_NUMBER))
		return NULL;
	v->data = p;
	v->len = (size_t)(stop - p);
	return stop;
}
