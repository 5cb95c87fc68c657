/*
 * snapshot/row/key.h - a row's encoded key: bytes whose order (memcmp, shorter first) is the order of the rows. Any
 * thread.
 *
 * Each field is a tag byte and a self-delimiting payload:
 *
 *   tag   value                            payload
 *   0x01  NULL                             none
 *   0x10  integer below 2^63               8 bytes, big end first, sign bit flipped
 *   0x11  integer from 2^63 on             8 bytes, big end first
 *   0x18  REAL of a dynamic table          its text, as below
 *   0x20  text                             bytes with 0x00 as 0x00 0xff, then 0x00
 *   0x30  binary                           bytes with 0x00 as 0x00 0xff, then 0x00
 *   0x40  SHA-256 of the line              32 bytes; behind it the number among equal rows, as an integer
 */
#pragma once

#include "snapshot/row/codec.h"

/* True when two lines of this table need SHA and number in their keys. */
bool row_key_is_hashed(const struct row_codec *c);
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
