/*
 * snapshot/row/name.c - the name of a row's file, from its key and back. Any thread; no state.
 */
#include "snapshot/row/name.h"

#include <endian.h>
#include <errno.h>
#include <openssl/sha.h>

#include "base/text.h"
#include "snapshot/row/internal.h"
#include "snapshot/row/key.h"

#define NAME_SUFFIX ".json"
#define NAME_SUFFIX_LEN (sizeof NAME_SUFFIX - 1)
#define NAME_MAX_LEN 200
#define NAME_STEM_MAX (NAME_MAX_LEN - NAME_SUFFIX_LEN)
#define NAME_CUT 150
#define NAME_CUT_HEX 32

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
		if (row_name_plain(byte) || (byte == '.' && !first && !last))
			strbuf_addch(name, (char)byte);
		else
			percent_add(name, byte);
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
		n = end - p < ROW_SHA_LEN ? (size_t)(end - p) : ROW_SHA_LEN;
		hex_add(name, p, n);
		return p + n;
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
		hex_add(name, sha, NAME_CUT_HEX / 2);
	}
	strbuf_add(name, NAME_SUFFIX, NAME_SUFFIX_LEN);
}

/* Appends the bytes that a name's text stands for, as a key has them. `cut`: an escape cut at the end is left out. */
static bool row_name_get_bytes(const char *text, size_t len, bool cut, uint8_t tag, struct strbuf *key)
{
	strbuf_addch(key, (char)tag);
	for (size_t i = 0; i < len; i++) {
		int byte = (unsigned char)text[i];
		if (byte == '%') {
			if (len - i < 3)
				return cut;
			byte = percent_byte(text + i, text + len);
			if (byte < 0)
				return false;
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
		int high = hex_value(text[i]), low = hex_value(text[i + 1]);
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
		if (hex_value(name[h]) < 0)
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
		return ROW_NAME_SHORTENED;
	_cleanup_strbuf_ struct strbuf again = {0};
	if (i + 1 == n_fields)
		row_name(c, key->data, key->len, &again);
	if (again.len == len && !memcmp(again.data, name, len))
		return ROW_NAME_EXACT;
	strbuf_clear(key);
	return -ENOENT;
}
