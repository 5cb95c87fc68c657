/*
 * snapshot/row/row.c - rows as canonical lines, and what follows from a line: its key, file name, file text and time.
 *
 * Every byte of every row passes here, several times. So nothing allocates for each row but in odd cases (a key with
 * escapes in it), a line is walked by skipping values instead of parsing them, and only what comes from outside
 * (row_encode, row_decode, row_compact) is checked in full. Codecs are immutable; buffers and hashers belong to their
 * callers' threads.
 */
#include "snapshot/row/row.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "snapshot/row/json_text.h"

/* Tags of key fields. Their order is the order of keys between values of different kinds. */
#define KEY_NULL 0x01
#define KEY_INTEGER 0x10 /* 8 bytes, big end first, sign bit flipped */
#define KEY_LARGE 0x11   /* 2^63 and above: 8 bytes, big end first */
#define KEY_REAL 0x18    /* this and the next two: bytes with 0x00 as 0x00 0xff, then 0x00 */
#define KEY_TEXT 0x20
#define KEY_BYTES 0x30
#define KEY_SHA 0x40

#define NAME_SUFFIX ".json"
#define NAME_SUFFIX_LEN (sizeof NAME_SUFFIX - 1)
#define NAME_MAX_LEN 200
#define NAME_STEM_MAX (NAME_MAX_LEN - NAME_SUFFIX_LEN)
#define NAME_CUT 150
#define NAME_CUT_HEX 32

#define VALUE_DEPTH_MAX (JSON_TEXT_DEPTH_MAX - 1) /* the row is one more level */
#define IN_PLACE SIZE_MAX                         /* offset of a value that is not in a strbuf */
#define NO_COLUMN SIZE_MAX

#define UPDATED_MEMBER "updatedAt"
#define UPDATED_MAX_MS INT64_C(253402300799999) /* the last of the year 9999 */

/* How dynamic tables write values whose type the column does not tell. */
#define MARK_TEXT "{\"$text\":"
#define MARK_BLOB "{\"$blob\":"
#define MARK_REAL "{\"$real\":"
#define MARK_LEN (sizeof MARK_TEXT - 1)

struct row_column {
	const struct db_column *column;
	char *prefix; /* `{"name":`, `,"name":` */
	size_t prefix_len;
	bool in_key; /* the key is made of it, or of a member of it */
};

struct row_field {
	const struct db_column *column;
	size_t row; /* index of the row column that holds it or its document; NO_COLUMN: cannot be known from the row */
	bool derived;
	size_t member_len;
};

enum row_updated { ROW_UPDATED_NEVER, ROW_UPDATED_COLUMN, ROW_UPDATED_DERIVED, ROW_UPDATED_ANY };

struct row_codec {
	struct db_table table;
	struct row_column *columns; /* those in the row */
	size_t n_columns;
	struct row_field *fields; /* table.n_key of them */
	size_t *generated;        /* the fields whose values a scan gives behind the columns */
	size_t n_generated;
	enum row_updated updated;
	struct row_field updated_field; /* of ROW_UPDATED_COLUMN and ROW_UPDATED_DERIVED */
};

/* ---- codec ---- */

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

static bool row_is_document(const struct db_column *column)
{
	return column->form == DB_FORM_JSON || column->form == DB_FORM_JSON_TEXT;
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

bool row_key_is_hashed(const struct row_codec *c)
{
	return c->table.key_kind != DB_KEY_UNIQUE;
}

/* ---- small texts ---- */

static bool row_text_is(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(text, word, len);
}

/* Whole numbers in -2^63 .. 2^64-1. Leading zeros are taken (ZEROFILL); who wants canonical digits compares them. */
static bool row_parse_integer(const char *text, size_t len, bool *negative, uint64_t *magnitude)
{
	uint64_t n = 0;
	*negative = len && *text == '-';
	size_t i = *negative;
	if (i == len)
		return false;
	for (; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
			return false;
	}
	*magnitude = n;
	if (!n)
		*negative = false;
	return !*negative || n <= (uint64_t)1 << 63;
}

/* SQLite's INTEGER as SQLite prints it. */
static bool row_is_int64(const char *text, size_t len)
{
	bool negative;
	uint64_t n;
	return json_text_is_number(text, len) && row_parse_integer(text, len, &negative, &n) &&
	       (negative || n <= INT64_MAX) && negative == (*text == '-');
}

static bool row_is_real(const char *text, size_t len)
{
	return json_text_is_number(text, len) &&
	       (memchr(text, '.', len) || memchr(text, 'e', len) || memchr(text, 'E', len));
}

static void row_add_base64(const char *data, size_t len, struct strbuf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)data;
	strbuf_reserve(out, len / 3 * 4 + 6);
	char *o = out->data + out->len;
	*o++ = '"';
	for (; len >= 3; len -= 3, p += 3) {
		uint32_t n = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		o[0] = digits[n >> 18];
		o[1] = digits[n >> 12 & 63];
		o[2] = digits[n >> 6 & 63];
		o[3] = digits[n & 63];
		o += 4;
	}
	if (len) {
		uint32_t n = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);
		o[0] = digits[n >> 18];
		o[1] = digits[n >> 12 & 63];
		o[2] = len == 2 ? digits[n >> 6 & 63] : '=';
		o[3] = '=';
		o += 4;
	}
	*o++ = '"';
	*o = '\0';
	out->len = (size_t)(o - out->data);
}

/* A digit's value plus one; 0: not a digit. */
static const uint8_t row_base64_value[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

/* Appends len (a multiple of 4) digits' bytes; only the one canonical spelling is taken. */
static bool row_get_base64(const char *text, size_t len, struct strbuf *out)
{
	if (len % 4)
		return false;
	const unsigned char *p = (const unsigned char *)text;
	strbuf_reserve(out, len / 4 * 3);
	char *o = out->data + out->len;
	for (; len; len -= 4, p += 4) {
		uint32_t a = row_base64_value[p[0]], b = row_base64_value[p[1]];
		uint32_t c = row_base64_value[p[2]], d = row_base64_value[p[3]];
		if (!a || !b)
			return false;
		uint32_t n = (a - 1) << 18 | (b - 1) << 12;
		size_t bytes = 3;
		if (c && d) {
			n |= (c - 1) << 6 | (d - 1);
		} else if (len == 4 && c && p[3] == '=' && !((c - 1) & 3)) {
			n |= (c - 1) << 6;
			bytes = 2;
		} else if (len == 4 && p[2] == '=' && p[3] == '=' && !((b - 1) & 15)) {
			bytes = 1;
		} else {
			return false;
		}
		o[0] = (char)(n >> 16);
		if (bytes > 1)
			o[1] = (char)(n >> 8);
		if (bytes > 2)
			o[2] = (char)n;
		o += bytes;
	}
	out->len = (size_t)(o - out->data);
	out->data[out->len] = '\0';
	return true;
}

/* ---- values -> line ---- */

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

static bool row_is_marked(const char *text, size_t len)
{
	return len > MARK_LEN && text[MARK_LEN] == '"' &&
	       (!memcmp(text, MARK_TEXT, MARK_LEN) || !memcmp(text, MARK_BLOB, MARK_LEN) ||
		!memcmp(text, MARK_REAL, MARK_LEN));
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
			row_add_base64(v->data, v->len, line);
			return 0;
		}
		strbuf_add(line, MARK_BLOB, MARK_LEN);
		row_add_base64(v->data, v->len, line);
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
		row_add_base64(v->data, v->len, line);
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

/* ---- line -> values ----
 * A value points into the line, or is at *offset of `text`: text may move while it grows, so it gets its address
 * last (row_settle). */

static void row_settle(struct db_value *v, size_t offset, const struct strbuf *text)
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
static const char *row_take_string(const char *p, const char *end, struct db_value *v, struct strbuf *text,
				   size_t *offset)
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
	if (!row_get_base64(digits, v->len, text))
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
static const char *row_take_value(const struct db_column *column, bool dynamic, const char *p, const char *end,
				  bool exact, struct db_value *v, struct strbuf *text, size_t *offset)
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

/* ---- generated columns ---- */

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
static bool row_derive(const struct row_codec *c, const struct row_field *f, const struct db_value *document,
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
		v->len = len;
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
		const struct row_column *r = &c->columns[i];
		strbuf_add(line, r->prefix, r->prefix_len);
		struct err why = ERR_INIT;
		int rc = row_add_value(r->column, c->table.dynamic, &values[i], line, &why);
		if (rc < 0)
			return err_set(e, -rc, "%s.%s: %s", c->table.name, r->column->name, why.msg);
	}
	strbuf_addch(line, '}');
	return c->n_generated ? row_check_generated(c, values, e) : 0;
}

/* ---- walking a line ---- */

/* Past the name of column i, where its value starts; NULL when another thing is there. */
static const char *row_walk_name(const struct row_codec *c, size_t i, const char *p, const char *end)
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

static bool row_walk_end(const struct row_codec *c, const char *p, const char *end)
{
	if (!c->n_columns)
		return end - p == 2 && p[0] == '{' && p[1] == '}';
	return end - p == 1 && *p == '}';
}

static int row_bad_name(const struct row_codec *c, size_t i, size_t at, struct err *e)
{
	return err_set(e, EBADMSG, "%s.%s: the column is missing, or another is in its place, at byte %zu of the row",
		       c->table.name, c->columns[i].column->name, at);
}

static int row_bad_end(const struct row_codec *c, size_t at, struct err *e)
{
	return err_set(e, EBADMSG, "%s: a column that the table does not have, or more text, at byte %zu of the row",
		       c->table.name, at);
}

static int row_bad_value(const struct row_codec *c, const struct db_column *column, struct err *e)
{
	return err_set(e, EBADMSG, "%s.%s: not a value that a column of type %s can hold", c->table.name, column->name,
		       column->type ? column->type : "?");
}

static int row_bad_key(const struct row_codec *c, const struct db_column *column, struct err *e)
{
	return err_set(e, EBADMSG, "%s.%s: the row has no usable value for this column of the key", c->table.name,
		       column->name);
}

/* ---- decode ---- */

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
	const struct db_table *t = row_codec_table(c);
	size_t n = row_codec_columns(c);
	memcpy(out, rv->v, n * sizeof *out);
	for (size_t i = 0; i < t->n_key; i++)
		if (t->columns[t->key[i]].generated)
			out[n++] = rv->v[row_codec_columns(c) + i];
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

/* ---- key ---- */

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

static void row_key_add_integer(struct strbuf *key, bool negative, uint64_t n)
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
	int rc = row_key_fields(c, spans, key, e);
	if (rc < 0) {
		key->len = before;
		if (key->data)
			key->data[before] = '\0';
		return rc;
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

/* ---- name ---- */

static const char row_hex_upper[] = "0123456789ABCDEF", row_hex_lower[] = "0123456789abcdef";

/* Bytes that stand for themselves in any place of a name. */
static bool row_name_plain(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '@' ||
	       c == '+' || c == '=' || c == '-';
}

/* The kind whose values have no marker in names. */
static enum db_kind row_default_kind(const struct db_column *column)
{
	switch (column->form) {
	case DB_FORM_NUMBER:
		return column->integer ? DB_KIND_INTEGER : DB_KIND_REAL;
	case DB_FORM_BOOL:
		return DB_KIND_INTEGER;
	case DB_FORM_BINARY:
		return DB_KIND_BLOB;
	default:
		return DB_KIND_TEXT;
	}
}

/* Letters that are no hex digits, so that no percent-encoded byte reads like a marker. */
static const char row_kind_marker[] = {
    [DB_KIND_COLUMN] = 'N', [DB_KIND_INTEGER] = 'I', [DB_KIND_REAL] = 'R', [DB_KIND_TEXT] = 'T', [DB_KIND_BLOB] = 'X',
};

static void row_name_add_kind(const struct row_codec *c, const struct row_field *f, enum db_kind kind,
			      struct strbuf *name)
{
	if (!f || !c->table.dynamic || kind == row_default_kind(f->column))
		return;
	strbuf_addch(name, '%');
	strbuf_addch(name, row_kind_marker[kind]);
}

/* The bytes at p up to their terminator; stops early when the name is longer than `limit`: it will be cut anyway. */
static const uint8_t *row_name_add_bytes(const uint8_t *p, const uint8_t *end, size_t limit, struct strbuf *name)
{
	bool first = true;
	while (p < end && name->len <= limit) {
		unsigned char byte = *p;
		size_t taken = 1;
		if (!byte && !(end - p >= 2 && p[1] == 0xff))
			return p + 1;
		if (!byte)
			taken = 2;
		p += taken;
		bool last = p >= end || (!*p && !(end - p >= 2 && p[1] == 0xff));
		if (row_name_plain(byte) || (byte == '.' && !first && !last)) {
			strbuf_addch(name, (char)byte);
		} else {
			char hex[3] = {'%', row_hex_upper[byte >> 4], row_hex_upper[byte & 15]};
			strbuf_add(name, hex, sizeof hex);
		}
		first = false;
	}
	return end;
}

static const uint8_t *row_name_add_field(const struct row_codec *c, const struct row_field *f, const uint8_t *p,
					 const uint8_t *end, size_t limit, struct strbuf *name)
{
	uint8_t tag = *p++;
	uint64_t n;
	switch (tag) {
	case KEY_NULL:
		strbuf_adds(name, "%N");
		return p;
	case KEY_INTEGER:
	case KEY_LARGE:
		if (end - p < 8)
			return end;
		memcpy(&n, p, 8);
		n = be64toh(n);
		row_name_add_kind(c, f, DB_KIND_INTEGER, name);
		if (tag == KEY_LARGE)
			strbuf_addf(name, "%llu", (unsigned long long)n);
		else
			strbuf_addf(name, "%lld", (long long)(n ^ (uint64_t)1 << 63));
		return p + 8;
	case KEY_SHA:
		for (int i = 0; i < ROW_SHA_LEN && p < end; i++, p++) {
			strbuf_addch(name, row_hex_lower[*p >> 4]);
			strbuf_addch(name, row_hex_lower[*p & 15]);
		}
		return p;
	case KEY_REAL:
		row_name_add_kind(c, f, DB_KIND_REAL, name);
		return row_name_add_bytes(p, end, limit, name);
	case KEY_TEXT:
		row_name_add_kind(c, f, DB_KIND_TEXT, name);
		if (f && f->column->form == DB_FORM_BOOL && !c->table.dynamic && end - p >= 2 && !p[1]) {
			strbuf_adds(name, *p == 't' ? "true" : "false");
			return p + 2;
		}
		return row_name_add_bytes(p, end, limit, name);
	default:
		row_name_add_kind(c, f, DB_KIND_BLOB, name);
		return row_name_add_bytes(p, end, limit, name);
	}
}

void row_name(const struct row_codec *c, const void *key, size_t len, struct strbuf *name)
{
	const uint8_t *p = key, *end = p + len;
	size_t start = name->len, limit = start + NAME_STEM_MAX;
	for (size_t i = 0; p < end && name->len <= limit; i++) {
		if (i)
			strbuf_addch(name, ',');
		p = row_name_add_field(c, i < c->table.n_key ? &c->fields[i] : NULL, p, end, limit, name);
	}
	if (name->len > limit) {
		uint8_t sha[ROW_SHA_LEN];
		if (!SHA256(key, len, sha))
			abort();
		name->len = start + NAME_CUT;
		strbuf_addch(name, '~');
		for (size_t i = 0; i < NAME_CUT_HEX / 2; i++) {
			strbuf_addch(name, row_hex_lower[sha[i] >> 4]);
			strbuf_addch(name, row_hex_lower[sha[i] & 15]);
		}
	}
	strbuf_add(name, NAME_SUFFIX, NAME_SUFFIX_LEN);
}

static int row_hex_value(const char *digits, char c)
{
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* Appends the bytes that a name's text stands for, as a key has them. `cut`: an escape cut at the end is left out. */
static bool row_name_get_bytes(const char *text, size_t len, bool cut, uint8_t tag, struct strbuf *key)
{
	strbuf_addch(key, (char)tag);
	for (size_t i = 0; i < len; i++) {
		int byte = (unsigned char)text[i];
		if (byte == '%') {
			if (len - i < 3) {
				if (cut)
					return true;
				return false;
			}
			int high = row_hex_value(row_hex_upper, text[i + 1]),
			    low = row_hex_value(row_hex_upper, text[i + 2]);
			if (high < 0 || low < 0)
				return false;
			byte = high << 4 | low;
			i += 2;
		} else if (byte != '.' && !row_name_plain((unsigned char)byte)) {
			return false;
		}
		strbuf_addch(key, (char)byte);
		if (!byte)
			strbuf_addch(key, (char)0xff);
	}
	if (!cut)
		strbuf_addch(key, '\0');
	return true;
}

static bool row_name_get_integer(const char *text, size_t len, struct strbuf *key)
{
	bool negative;
	uint64_t n;
	if (!row_parse_integer(text, len, &negative, &n))
		return false;
	row_key_add_integer(key, negative, n);
	return true;
}

static bool row_name_get_sha(const char *text, size_t len, bool cut, struct strbuf *key)
{
	if (!cut && len != ROW_SHA_LEN * 2)
		return false;
	strbuf_addch(key, KEY_SHA);
	for (size_t i = 0; i + 1 < len; i += 2) {
		int high = row_hex_value(row_hex_lower, text[i]), low = row_hex_value(row_hex_lower, text[i + 1]);
		if (high < 0 || low < 0)
			return false;
		strbuf_addch(key, (char)(high << 4 | low));
	}
	return true;
}

/* One field of a name. Spellings that row_name does not write may pass: the caller compares the name of the key.
 * `cut`: the name goes on somehow; what is certain of the field is appended, which may be nothing. */
static bool row_name_get_field(const struct row_codec *c, size_t i, const char *text, size_t len, bool cut,
			       struct strbuf *key)
{
	if (i == c->table.n_key)
		return row_name_get_sha(text, len, cut, key);
	if (i > c->table.n_key)
		return cut || row_name_get_integer(text, len, key);
	const struct db_column *column = c->fields[i].column;
	if (cut && (!len || (*text == '%' && len < 2)))
		return true;
	if (row_key_is_hashed(c) && row_text_is(text, len, "%N")) {
		strbuf_addch(key, KEY_NULL);
		return true;
	}
	enum db_kind kind = DB_KIND_TEXT;
	if (c->table.dynamic) {
		kind = row_default_kind(column);
		const char *marker =
		    len >= 2 && *text == '%' ? memchr(row_kind_marker + 1, text[1], sizeof row_kind_marker - 1) : NULL;
		if (marker) {
			kind = (enum db_kind)(marker - row_kind_marker);
			text += 2;
			len -= 2;
		}
	} else if (column->integer) {
		kind = DB_KIND_INTEGER;
	} else if (column->form == DB_FORM_BINARY) {
		kind = DB_KIND_BLOB;
	} else if (column->form == DB_FORM_BOOL) {
		if (cut)
			return true;
		text = row_text_is(text, len, "true") ? "t" : row_text_is(text, len, "false") ? "f" : "%";
		len = 1;
	}
	switch (kind) {
	case DB_KIND_INTEGER:
		return cut || row_name_get_integer(text, len, key);
	case DB_KIND_REAL:
		return row_name_get_bytes(text, len, cut, KEY_REAL, key);
	case DB_KIND_BLOB:
		return row_name_get_bytes(text, len, cut, KEY_BYTES, key);
	default:
		return row_name_get_bytes(text, len, cut, KEY_TEXT, key);
	}
}

int row_key_of_name(const struct row_codec *c, const char *name, struct strbuf *key)
{
	strbuf_clear(key);
	size_t len = strlen(name), n_fields = c->table.n_key + (row_key_is_hashed(c) ? 2 : 0), i = 0;
	if (len < NAME_SUFFIX_LEN || len > NAME_MAX_LEN || strcmp(name + len - NAME_SUFFIX_LEN, NAME_SUFFIX))
		return -ENOENT;
	size_t stem = len - NAME_SUFFIX_LEN;
	bool cut = stem == NAME_CUT + 1 + NAME_CUT_HEX && name[NAME_CUT] == '~';
	for (size_t h = NAME_CUT + 1; cut && h < stem; h++)
		if (row_hex_value(row_hex_lower, name[h]) < 0)
			return -ENOENT;
	const char *p = name, *end = name + (cut ? NAME_CUT : stem);
	for (;; i++) {
		const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
		if (i >= n_fields || !row_name_get_field(c, i, p, (size_t)(stop - p), cut && !comma, key)) {
			strbuf_clear(key);
			return -ENOENT;
		}
		if (!comma)
			break;
		p = comma + 1;
	}
	if (cut)
		return 1;
	_cleanup_strbuf_ struct strbuf again = {0};
	if (i + 1 == n_fields)
		row_name(c, key->data, key->len, &again);
	if (again.len == len && !memcmp(again.data, name, len))
		return 0;
	strbuf_clear(key);
	return -ENOENT;
}

/* ---- file text ---- */

void row_pretty(const char *line, size_t len, struct strbuf *out)
{
	json_text_pretty(line, len, out);
}

size_t row_pretty_size(const char *line, size_t len)
{
	return json_text_pretty_size(line, len);
}

int row_compact(const char *text, size_t len, struct strbuf *line, struct err *e)
{
	enum json_kind kind;
	strbuf_clear(line);
	int rc = json_text_compact(text, len, JSON_TEXT_DEPTH_MAX, line, &kind, e);
	if (rc < 0)
		return rc;
	if (kind == JSON_KIND_OBJECT)
		return 0;
	strbuf_clear(line);
	return err_set(e, EBADMSG, "not a JSON object");
}

/* ---- time ---- */

static int64_t row_ms_of(const char *text, size_t len)
{
	bool negative;
	uint64_t n;
	if (!len || *text < '1' || *text > '9' || !row_parse_integer(text, len, &negative, &n) || n > UPDATED_MAX_MS)
		return -1;
	return (int64_t)n;
}

/* Time of a row whose table has no such column: the first document with the member tells. 0: this document has none. */
static int64_t row_updated_of_document(const struct db_value *document, struct strbuf *text)
{
	const char *p;
	size_t len, offset = IN_PLACE;
	if (!document->data ||
	    json_text_member(document->data, document->len, UPDATED_MEMBER, sizeof UPDATED_MEMBER - 1, &p, &len) <= 0)
		return 0;
	struct db_value v = {.data = p, .len = len};
	if (*p == '"' && !row_take_string(p, p + len, &v, text, &offset))
		return -1;
	return row_ms_of(v.data, v.len);
}

int64_t row_updated_ms(const struct row_codec *c, const char *line, size_t len)
{
	if (c->updated == ROW_UPDATED_NEVER)
		return -1;
	_cleanup_strbuf_ struct strbuf text = {0};
	const char *p = line, *end = line + len;
	bool any = c->updated == ROW_UPDATED_ANY;
	for (size_t i = 0; i < c->n_columns; i++) {
		const struct db_column *column = c->columns[i].column;
		const char *value = row_walk_name(c, i, p, end);
		p = value ? json_text_skip(value, end) : NULL;
		if (!p)
			return -1;
		if (any ? !row_is_document(column) : i != c->updated_field.row)
			continue;
		struct db_value v, derived;
		size_t offset;
		strbuf_clear(&text);
		if (row_take_value(column, c->table.dynamic, value, p, true, &v, &text, &offset) != p)
			return -1;
		if (c->updated == ROW_UPDATED_COLUMN)
			return v.data ? row_ms_of(v.data, v.len) : -1;
		if (c->updated == ROW_UPDATED_DERIVED)
			return row_derive(c, &c->updated_field, &v, &derived, &text, &offset) && derived.data
				   ? row_ms_of(derived.data, derived.len)
				   : -1;
		int64_t ms = row_updated_of_document(&v, &text);
		if (ms)
			return ms;
	}
	return -1;
}

/* ---- hashes ---- */

struct hasher {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
};

/* What cannot fail but for lack of memory; a hash that is not one must never reach the catalog. */
static void hasher_must(bool ok)
{
	if (ok)
		return;
	(void)fprintf(stderr, "metasnap: SHA-256 failed\n");
	abort();
}

struct hasher *hasher_new(void)
{
	struct hasher *h = xcalloc(1, sizeof *h);
	h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	h->ctx = EVP_MD_CTX_new();
	hasher_must(h->md && h->ctx && EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1);
	return h;
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->md);
	free(h);
}

void hasher_begin(struct hasher *h)
{
	hasher_must(EVP_DigestInit_ex2(h->ctx, NULL, NULL) == 1);
}

void hasher_more(struct hasher *h, const void *data, size_t len)
{
	hasher_must(EVP_DigestUpdate(h->ctx, data, len) == 1);
}

void hasher_end(struct hasher *h, uint8_t out[ROW_SHA_LEN])
{
	hasher_must(EVP_DigestFinal_ex(h->ctx, out, NULL) == 1);
}

void hasher_sha256(struct hasher *h, const void *data, size_t len, uint8_t out[ROW_SHA_LEN])
{
	hasher_begin(h);
	hasher_more(h, data, len);
	hasher_end(h, out);
}

void digest_add(struct digest *d, const uint8_t sha[ROW_SHA_LEN])
{
	uint64_t carry = 0;
	for (size_t i = 0; i < ROW_SHA_LEN; i += 8) {
		uint64_t a, b, sum;
		memcpy(&a, d->sum + i, 8);
		memcpy(&b, sha + i, 8);
		uint64_t first = __builtin_add_overflow(le64toh(a), le64toh(b), &sum);
		carry = first | (uint64_t)__builtin_add_overflow(sum, carry, &sum);
		sum = htole64(sum);
		memcpy(d->sum + i, &sum, 8);
	}
	d->count++;
}

void digest_sub(struct digest *d, const uint8_t sha[ROW_SHA_LEN])
{
	uint64_t borrow = 0;
	for (size_t i = 0; i < ROW_SHA_LEN; i += 8) {
		uint64_t a, b, rest;
		memcpy(&a, d->sum + i, 8);
		memcpy(&b, sha + i, 8);
		uint64_t first = __builtin_sub_overflow(le64toh(a), le64toh(b), &rest);
		borrow = first | (uint64_t)__builtin_sub_overflow(rest, borrow, &rest);
		rest = htole64(rest);
		memcpy(d->sum + i, &rest, 8);
	}
	d->count--;
}

void digest_merge(struct digest *d, const struct digest *b, bool out)
{
	if (out) {
		digest_sub(d, b->sum);
		d->count -= b->count - 1;
	} else {
		digest_add(d, b->sum);
		d->count += b->count - 1;
	}
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return a->count == b->count && !memcmp(a->sum, b->sum, ROW_SHA_LEN);
}
