/*
 * snapshot/row/json_text.h - JSON as text: checked, skipped, compacted, indented and searched without being taken
 * apart.
 *
 * Tokens are never altered. Bytes above 0x7f pass unchecked (a server's text is its own affair); raw bytes below 0x20
 * in strings are refused, so whatever passes the checks fits on one line. Nothing recurses: depth costs one bit a
 * level. No state, no locks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

/* Deeper documents are not taken: indentation grows with the square of the depth. No server's JSON type comes near. */
#define JSON_TEXT_DEPTH_MAX 16384

enum json_kind {
	JSON_KIND_NONE, /* not JSON */
	JSON_KIND_OBJECT,
	JSON_KIND_ARRAY,
	JSON_KIND_STRING,
	JSON_KIND_NUMBER,
	JSON_KIND_TRUE,
	JSON_KIND_FALSE,
	JSON_KIND_NULL,
};

static inline bool json_text_is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* What a value that starts with this byte can only be. */
enum json_kind json_text_kind(char first);
bool json_text_is_number(const char *text, size_t len);

/* ---- strict ---- */

/* End of the value that starts at p, NULL when it is not valid JSON, has white space between tokens, or more than
 * `depth_max` levels. */
const char *json_text_check(const char *p, const char *end, size_t depth_max);
/* Appends the one value in `text`, white space removed. EBADMSG (with words, *out as it was) when it is not one. */
int json_text_compact(const char *text, size_t len, size_t depth_max, struct strbuf *out, enum json_kind *kind,
		      struct err *e);

/* ---- strings ---- */

/* First byte in p..end that a string's body cannot hold as it is: '"', '\\' or below 0x20; else end. */
const char *json_text_plain(const char *p, const char *end);
/* Appends the text as a quoted string: \" \\ \b \f \n \r \t, other bytes below 0x20 as \u00xx, the rest as it is. */
void json_text_quote(const char *text, size_t len, struct strbuf *out);
/* Appends what a string's body (without its quotes) stands for; false on anything not valid, lone surrogates too. */
bool json_text_unquote(const char *body, size_t len, struct strbuf *out);
/* True when the body stands for `name`. */
bool json_text_string_is(const char *body, size_t len, const char *name, size_t name_len);

/* ---- fast: for text that was checked before. Never reads outside of it, whatever it holds ---- */

/* End of the value that starts at p; NULL when the text ends before it. */
const char *json_text_skip(const char *p, const char *end);
/* The closing quote of the string whose body starts at p; NULL when there is none. */
const char *json_text_skip_string(const char *p, const char *end);
/* Finds a member of the object that `text` is; the first of equal names. 1: its value's text is *value, *value_len;
 * 0: the object (or other value) has none; -1: broken. */
int json_text_member(const char *text, size_t len, const char *name, size_t name_len, const char **value,
		     size_t *value_len);
/* Appends compact text indented by two spaces a level, `"key": value`, one member a line, final newline. */
void json_text_pretty(const char *text, size_t len, struct strbuf *out);
size_t json_text_pretty_size(const char *text, size_t len);
