/*
 * snapshot/row/row.h - the canonical form of a row: one compact JSON object on one line; its key, file name and file text.
 *
 * A row's key, name, size and time are pure functions of its line and its table's description (struct row_codec), so
 * that a backup copied to another host shows the same tree. Encoded keys order bytewise (memcmp, shorter first):
 * each field is a tag byte and a self-delimiting payload. A row_codec is immutable once made: any thread may use it.
 *
 * Line: columns in table order, generated ones left out, no white space outside of strings, no final newline.
 *   text         string; only '"', '\\' and bytes below 0x20 are escaped, all other bytes are the server's
 *   number       the server's digits where they are a JSON number, else a string that holds them (NaN, 007)
 *   bool         true, false
 *   binary       base64 in a string
 *   json         jsonb, MySQL json: objects, arrays, numbers, true, false spliced in, tokens untouched, white space
 *                removed; a JSON string or JSON null is a string that holds its JSON text ("\"x\"", "null"): it differs
 * from NULL json text    spliced when it is an object or array without white space between tokens, else a string with
 * the text NULL         null Dynamic tables (SQLite): INTEGER and REAL are numbers (REAL always with '.', 'e' or 'E'),
 * a TEXT in a column of bytes is {"$text":"..."}, a BLOB elsewhere is {"$blob":"base64"}, a REAL that JSON cannot write
 * (Inf) is {"$real":"..."}; a document that looks like one of these three is a string.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"
#include "drivers/driver.h"

#define ROW_SHA_LEN 32

struct row_codec;

/* Makes the codec of table t (which is copied). `.table.json` text and back: see snapshot/row/manifest.h. */
struct row_codec *row_codec_new(const struct db_table *t);
void row_codec_free(struct row_codec *c);
const struct db_table *row_codec_table(const struct row_codec *c);
/* Number of columns in the row, and of values a scan gives (row columns, then generated key columns). */
size_t row_codec_columns(const struct row_codec *c);
size_t row_codec_scan_values(const struct row_codec *c);
DEFINE_CLEANUP(cleanup_row_codec, struct row_codec, row_codec_free);

/* values -> line (replaces *line). EBADMSG when a JSON value is not JSON; EDOM when a generated key value is not
 * what the row says it is (then the table needs the key of db_table without its generated columns). */
int row_encode(const struct row_codec *c, const struct db_value *values, struct strbuf *line, struct err *e);

/* Values of a line's columns; they point into the line or into the decoder's memory, valid until the next call. */
struct row_values {
	struct db_value *v; /* row_codec_columns() of them, then the key columns' values, row_codec_table()->n_key */
	struct strbuf text;
	size_t *offset; /* private: where in `text` a value starts, while it grows */
};
void row_values_init(struct row_values *rv, const struct row_codec *c);
void row_values_done(struct row_values *rv);
/* The values of rv as row_encode takes them (columns, then generated key columns) into out[row_codec_scan_values()]. */
void row_values_encodable(const struct row_codec *c, const struct row_values *rv, struct db_value *out);
int row_decode(const struct row_codec *c, const char *line, size_t len, struct row_values *rv, struct err *e);

/* Appends the encoded key. For DB_KEY_INDEX and DB_KEY_NONE `sha` (of the line) and `number` (1.. among equal rows)
 * are part of it; else they are not looked at and sha may be NULL. EBADMSG when the line is not of this table. */
int row_key(const struct row_codec *c, const char *line, size_t len, const uint8_t *sha, uint64_t number,
	    struct strbuf *key, struct err *e);
/* True when the key is made of the key columns' values as a scan gives them, and no line need be read for it: then the
 * same key comes of the n_key values of a DB_SCAN_KEYS scan, and of the values that row_encode took. */
bool row_key_has_values(const struct row_codec *c);
int row_key_of_values(const struct row_codec *c, const struct db_value *values, struct strbuf *key, struct err *e);
int row_key_of_scan(const struct row_codec *c, const struct db_value *values, struct strbuf *key, struct err *e);
/* Appends what the keys begin with whose first column is text that begins with this one. */
void row_key_text_prefix(const char *text, size_t len, struct strbuf *key);
/* True when two lines of this table need SHA and number in their keys. */
bool row_key_is_hashed(const struct row_codec *c);

/* Appends the file name ("...json") of a key. */
void row_name(const struct row_codec *c, const void *key, size_t len, struct strbuf *name);
/* Key of a file name. 0: exact key in *key. 1: the name is a shortened one; *key is a prefix that the keys with this
 * name start with, compare names. ENOENT: no row can have this name. */
int row_key_of_name(const struct row_codec *c, const char *name, struct strbuf *key);

/* Appends the row's file: the same object indented by two spaces, final newline. */
void row_pretty(const char *line, size_t len, struct strbuf *out);
size_t row_pretty_size(const char *line, size_t len);
/* File text (or any spelling of one JSON object) -> line without insignificant white space. EBADMSG when not one
 * object. */
int row_compact(const char *text, size_t len, struct strbuf *line, struct err *e);

/* The row's updatedAt in ms, or -1 where the table or the row has none. */
int64_t row_updated_ms(const struct row_codec *c, const char *line, size_t len);

/* SHA-256 of a line; a thread's own hasher (the context is made once and reused). */
struct hasher;
struct hasher *hasher_new(void);
void hasher_free(struct hasher *h);
void hasher_sha256(struct hasher *h, const void *data, size_t len, uint8_t out[ROW_SHA_LEN]);
/* The same over pieces. */
void hasher_begin(struct hasher *h);
void hasher_more(struct hasher *h, const void *data, size_t len);
void hasher_end(struct hasher *h, uint8_t out[ROW_SHA_LEN]);
DEFINE_CLEANUP(cleanup_hasher, struct hasher, hasher_free);

/* A table's digest: sum of row SHA-256s modulo 2^256, little end first; order does not matter, rows can be taken out.
 */
struct digest {
	uint8_t sum[ROW_SHA_LEN];
	uint64_t count;
};
void digest_add(struct digest *d, const uint8_t sha[ROW_SHA_LEN]);
void digest_sub(struct digest *d, const uint8_t sha[ROW_SHA_LEN]);
/* Adds all rows of b at once, or takes them out. */
void digest_merge(struct digest *d, const struct digest *b, bool out);
bool digest_equal(const struct digest *a, const struct digest *b);
