/*
 * snapshot/row/key.c - the encoded key: of a line, or of values in hand. Any thread; the buffer is the caller's.
 */
#include "snapshot/row/key.h"

#include <endian.h>

#include "snapshot/row/internal.h"

bool row_key_is_hashed(const struct row_codec *c)
{
	return c->table.key_kind != DB_KEY_UNIQUE;
}

static void row_key_add_bytes(struct strbuf *key, uint8_t tag, const char *data, size_t len)
{
	strbuf_addch(key, (char)tag);
	while (len) {
		const char *zero = memchr(data, 0, len);
		size_t n = zero ? (size_t)(zero - data) : len;
		strbuf_add(key, data, n);
		if (zero) {
			strbuf_add(key, "\0\xff", 2);
			n++;
		}
		data += n;
		len -= n;
	}
	strbuf_addch(key, '\0');
}

void row_key_text_prefix(const char *text, size_t len, struct strbuf *key)
{
	row_key_add_bytes(key, KEY_TEXT, text, len);
	key->data[--key->len] = '\0'; /* without the end */
}

void row_key_add_integer(struct strbuf *key, bool negative, uint64_t n)
{
	bool large = !negative && n >> 63;
	uint64_t bits = large ? n : (negative ? -n : n) ^ (uint64_t)1 << 63;
	bits = htobe64(bits);
	strbuf_addch(key, large ? KEY_LARGE : KEY_INTEGER);
	strbuf_add(key, &bits, sizeof bits);
}

static bool row_key_add(const struct row_codec *c, const struct row_field *f, const struct db_value *v,
			struct strbuf *key)
{
	bool negative;
	uint64_t n;
	if (!v->data) {
		strbuf_addch(key, KEY_NULL);
		return row_key_is_hashed(c);
	}
	enum db_kind kind = DB_KIND_TEXT;
	if (c->table.dynamic)
		kind = v->kind;
	else if (f->column->integer)
		kind = DB_KIND_INTEGER;
	else if (f->column->form == DB_FORM_BINARY)
		kind = DB_KIND_BLOB;
	switch (kind) {
	case DB_KIND_INTEGER:
		if (!row_parse_integer(v->data, v->len, &negative, &n))
			return false;
		row_key_add_integer(key, negative, n);
		return true;
	case DB_KIND_REAL:
		row_key_add_bytes(key, KEY_REAL, v->data, v->len);
		return true;
	case DB_KIND_BLOB:
		row_key_add_bytes(key, KEY_BYTES, v->data, v->len);
		return true;
	default:
		row_key_add_bytes(key, KEY_TEXT, v->data, v->len);
		return true;
	}
}

struct row_span {
	const char *start, *end;
};

static int row_key_fields(const struct row_codec *c, const struct row_span *spans, struct strbuf *key, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	for (size_t i = 0; i < c->table.n_key; i++) {
		const struct row_field *f = &c->fields[i];
		if (f->row == NO_COLUMN)
			return row_bad_key(c, f->column, e);
		const struct db_column *column = c->columns[f->row].column;
		struct db_value source, v;
		size_t offset;
		strbuf_clear(&text);
		if (row_take_value(column, c->table.dynamic, spans[i].start, spans[i].end, true, &source, &text,
				   &offset) != spans[i].end)
			return row_bad_value(c, column, e);
		v = source;
		if (f->derived && !row_derive(c, f, &source, &v, &text, &offset))
			return row_bad_key(c, f->column, e);
		row_settle(&v, f->derived ? offset : IN_PLACE, &text);
		if (!row_key_add(c, f, &v, key))
			return row_bad_key(c, f->column, e);
	}
	return 0;
}

int row_key(const struct row_codec *c, const char *line, size_t len, const uint8_t *sha, uint64_t number,
	    struct strbuf *key, struct err *e)
{
	struct row_span few[32], *spans = few;
	_cleanup_free_ struct row_span *many = NULL;
	if (c->table.n_key > sizeof few / sizeof few[0])
		spans = many = xcalloc(c->table.n_key, sizeof *many);
	const char *p = line, *end = line + len;
	for (size_t i = 0; i < c->n_columns; i++) {
		const char *value = row_walk_name(c, i, p, end);
		if (!value)
			return row_bad_name(c, i, (size_t)(p - line), e);
		p = json_text_skip(value, end);
		if (!p)
			return row_bad_value(c, c->columns[i].column, e);
		if (!c->columns[i].in_key)
			continue;
		for (size_t k = 0; k < c->table.n_key; k++)
			if (c->fields[k].row == i)
				spans[k] = (struct row_span){value, p};
	}
	if (!row_walk_end(c, p, end))
		return row_bad_end(c, (size_t)(p - line), e);
	size_t before = key->len;
	int r = row_key_fields(c, spans, key, e);
	if (r < 0) {
		key->len = before;
		if (key->data)
			key->data[before] = '\0';
		return r;
	}
	if (row_key_is_hashed(c)) {
		strbuf_addch(key, KEY_SHA);
		strbuf_add(key, sha, ROW_SHA_LEN);
		row_key_add_integer(key, false, number);
	}
	return 0;
}

bool row_key_has_values(const struct row_codec *c)
{
	for (size_t i = 0; i < c->table.n_key; i++)
		if (c->fields[i].row == NO_COLUMN || (!c->fields[i].derived && row_is_document(c->fields[i].column)))
			return false;
	return !c->table.dynamic && !row_key_is_hashed(c);
}

int row_key_of_values(const struct row_codec *c, const struct db_value *values, struct strbuf *key, struct err *e)
{
	for (size_t i = 0; i < c->table.n_key; i++)
		if (!row_key_add(c, &c->fields[i], &values[i], key))
			return row_bad_key(c, c->fields[i].column, e);
	return 0;
}

int row_key_of_scan(const struct row_codec *c, const struct db_value *values, struct strbuf *key, struct err *e)
{
	size_t generated = c->n_columns;
	for (size_t i = 0; i < c->table.n_key; i++) {
		const struct row_field *f = &c->fields[i];
		if (!row_key_add(c, f, &values[f->derived ? generated++ : f->row], key))
			return row_bad_key(c, f->column, e);
	}
	return 0;
}
