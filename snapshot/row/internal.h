/*
 * snapshot/row/internal.h - what the files of this folder share: a table's codec, the steps of reading a line, and the
 * members of MANIFEST.json and .table.json.
 */
#pragma once

#include <jansson.h>

#include "drivers/driver.h"
#include "snapshot/row/digest.h"
#include "snapshot/row/json_text.h"

/* Tags of key fields. Their order is the order of keys between values of different kinds. */
#define KEY_NULL 0x01
#define KEY_INTEGER 0x10 /* 8 bytes, big end first, sign bit flipped */
#define KEY_LARGE 0x11   /* 2^63 and above: 8 bytes, big end first */
#define KEY_REAL 0x18    /* this and the next two: bytes with 0x00 as 0x00 0xff, then 0x00 */
#define KEY_TEXT 0x20
#define KEY_BYTES 0x30
#define KEY_SHA 0x40

#define VALUE_DEPTH_MAX (JSON_TEXT_DEPTH_MAX - 1) /* the row is one more level */
#define IN_PLACE SIZE_MAX                         /* offset of a value that is not in a strbuf */
#define NO_COLUMN SIZE_MAX

/* How dynamic tables write values whose type the column does not tell. */
#define MARK_TEXT "{\"$text\":"
#define MARK_BLOB "{\"$blob\":"
#define MARK_REAL "{\"$real\":"
#define MARK_LEN (sizeof MARK_TEXT - 1)

/* ---- codec.c ---- */

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

static inline bool row_is_document(const struct db_column *column)
{
	return column->form == DB_FORM_JSON || column->form == DB_FORM_JSON_TEXT;
}

/* ---- scalar.c ---- */

static inline bool row_text_is(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(text, word, len);
}

/* Whole numbers in -2^63 .. 2^64-1. Leading zeros are taken (ZEROFILL); who wants canonical digits compares them. */
bool row_parse_integer(const char *text, size_t len, bool *negative, uint64_t *magnitude);
/* Of a JSON number: its length without an exponent that says a type and no more (drivers/schema.h). */
size_t row_number_len(const char *text, size_t len);
/* SQLite's INTEGER as SQLite prints it. */
bool row_is_int64(const char *text, size_t len);
bool row_is_real(const char *text, size_t len);

/* ---- value.c ---- */

/* {"$text": and its like. */
bool row_is_marked(const char *text, size_t len);
void row_settle(struct db_value *v, size_t offset, const struct strbuf *text);
/* The string at p; returns past its closing quote, NULL when it is broken. */
const char *row_take_string(const char *p, const char *end, struct db_value *v, struct strbuf *text, size_t *offset);
/* Reads the value at p of a column. Returns past it, NULL when the column cannot hold that. Lines that were checked
 * before (exact: the value ends at `end`) are not checked again. */
const char *row_take_value(const struct db_column *column, bool dynamic, const char *p, const char *end, bool exact,
			   struct db_value *v, struct strbuf *text, size_t *offset);

/* ---- derive.c ---- */

/* The generated column's value out of its document; false when the row does not tell it for sure. */
bool row_derive(const struct row_codec *c, const struct row_field *f, const struct db_value *document,
		struct db_value *v, struct strbuf *text, size_t *offset);

/* ---- walk.c ---- */

/* Past the name of column i, where its value starts; NULL when another thing is there. */
const char *row_walk_name(const struct row_codec *c, size_t i, const char *p, const char *end);
bool row_walk_end(const struct row_codec *c, const char *p, const char *end);
int row_bad_name(const struct row_codec *c, size_t i, size_t at, struct err *e);
int row_bad_end(const struct row_codec *c, size_t at, struct err *e);
int row_bad_value(const struct row_codec *c, const struct db_column *column, struct err *e);
int row_bad_key(const struct row_codec *c, const struct db_column *column, struct err *e);

/* ---- key.c ---- */

void row_key_add_integer(struct strbuf *key, bool negative, uint64_t n);

/* ---- member.c ---- */

#define MANIFEST_FORMAT 1

/* NULL is null. Not json_text_quote: the bytes of these texts are fixed, and its short escapes are others. */
void manifest_add_string(struct strbuf *out, const char *s);
/* A member of the outermost object, on a line of its own. */
void manifest_add_member(struct strbuf *out, const char *name, const char *value);
/* AUTO_INCREMENT of a BIGINT UNSIGNED column may pass what jansson reads as an integer: then it is a string. */
void manifest_add_unsigned(struct strbuf *out, uint64_t v);
void manifest_add_time(struct strbuf *out, int64_t ms);

/* Members of object o, which `where` names in the words. */
int manifest_get_string(json_t *o, const char *where, const char *name, bool optional, char **ret, struct err *e);
int manifest_get_bool(json_t *o, const char *where, const char *name, bool optional, bool *ret, struct err *e);
int manifest_get_unsigned(json_t *o, const char *where, const char *name, uint64_t *ret, struct err *e);
int manifest_get_sha(json_t *o, const char *where, const char *name, uint8_t ret[ROW_SHA_LEN], struct err *e);
int manifest_get_time(json_t *o, const char *where, const char *name, int64_t *ret, struct err *e);
/* The text's object with its format checked. `ours` is a member that only our texts of this kind have. */
int manifest_load(json_t **ret, const char *text, size_t len, const char *ours, struct err *e);
/* Words that name a table or sequence in an error. */
void manifest_where(char where[128], const char *kind, const char *name);

/* ---- table_json.c ---- */

struct manifest_table;

/* "rows": .. to "digest": .. on one line when sep is " ", else a line each. */
void manifest_add_counts(struct strbuf *out, const struct manifest_table *t, const char *sep);
int manifest_get_counts(json_t *o, const char *where, struct manifest_table *t, struct err *e);
/* Columns and key; `line` starts a column, `end` what follows them. */
void manifest_add_description(struct strbuf *out, const struct db_table *d, const char *line, const char *end);
int table_json_parse_description(struct db_table *d, json_t *o, struct err *e);
void manifest_table_done(struct manifest_table *t);
