/*
 * snapshot/sqlfile/python_json.c - Python's printed form of a document, read token by token and written as JSON.
 */
#include "snapshot/sqlfile/python_json.h"

#include <errno.h>
#include <stdbool.h>

#include "base/text.h"
#include "base/utf8.h"
#include "snapshot/row/json_text.h"

struct python {
	const char *start, *p, *end;
	struct strbuf *out;
	struct strbuf text; /* of one string, decoded */
	struct strbuf open; /* '{' and '[' that are open */
	struct err *e;
};

static int python_bad(const struct python *y, const char *words)
{
	return err_set(y->e, EBADMSG, "neither JSON nor what Python prints for it: %s at byte %zu", words,
		       (size_t)(y->p - y->start));
}

static void python_skip(struct python *y)
{
	while (y->p < y->end && json_text_is_space(*y->p))
		y->p++;
}

/* ---- strings ---- */

/* `digits` hex digits at y->p. */
static int python_code(struct python *y, int digits)
{
	uint32_t code = 0;
	for (int i = 0; i < digits; i++, y->p++) {
		int digit = y->p < y->end ? hex_value(*y->p) : -1;
		if (digit < 0)
			return python_bad(y, "an escape that lacks digits");
		code = code << 4 | (uint32_t)digit;
	}
	if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return python_bad(y, "an escape that is no character");
	char text[4];
	strbuf_add(&y->text, text, utf8_encode(code, text));
	return 0;
}

static int python_escape(struct python *y)
{
	char c = y->p < y->end ? *y->p++ : '\0';
	switch (c) {
	case 'x':
		return python_code(y, 2);
	case 'u':
		return python_code(y, 4);
	case 'U':
		return python_code(y, 8);
	case 'n':
		strbuf_addch(&y->text, '\n');
		return 0;
	case 'r':
		strbuf_addch(&y->text, '\r');
		return 0;
	case 't':
		strbuf_addch(&y->text, '\t');
		return 0;
	case '\\':
	case '\'':
	case '"':
		strbuf_addch(&y->text, c);
		return 0;
	default:
		return python_bad(y, "an escape that Python does not print");
	}
}

static int python_string(struct python *y)
{
	char quote = *y->p++;
	strbuf_clear(&y->text);
	for (;;) {
		const char *from = y->p;
		while (y->p < y->end && *y->p != quote && *y->p != '\\' && (unsigned char)*y->p >= 0x20)
			y->p++;
		strbuf_add(&y->text, from, (size_t)(y->p - from));
		if (y->p == y->end)
			return python_bad(y, "a string without an end");
		if ((unsigned char)*y->p < 0x20)
			return python_bad(y, "a control character");
		if (*y->p++ == quote)
			break;
		int r = python_escape(y);
		if (r < 0)
			return r;
	}
	json_text_quote(strbuf_str(&y->text), y->text.len, y->out);
	return 0;
}

/* ---- the rest ---- */

static int python_plain(struct python *y)
{
	static const struct {
		const char *python, *json;
	} words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
	const char *from = y->p;
	while (y->p < y->end && !json_text_is_space(*y->p) && !memchr(",:]}", *y->p, 4))
		y->p++;
	size_t n = (size_t)(y->p - from);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strlen(words[i].python) == n && !memcmp(words[i].python, from, n)) {
			strbuf_adds(y->out, words[i].json);
			return 0;
		}
	if (json_text_is_number(from, n)) {
		strbuf_add(y->out, from, n);
		return 0;
	}
	y->p = from;
	for (size_t i = n && *from == '-'; i < n; i++)
		if (n - i == 3 && (!memcmp(from + i, "nan", 3) || !memcmp(from + i, "inf", 3)))
			return python_bad(y, "a number that JSON has no word for");
	return python_bad(y, "a word that is no value");
}

/* The key of a dictionary and its colon. */
static int python_key(struct python *y)
{
	python_skip(y);
	if (y->p == y->end || (*y->p != '\'' && *y->p != '"'))
		return python_bad(y, "a key that is no string");
	int r = python_string(y);
	python_skip(y);
	if (r == 0 && (y->p == y->end || *y->p != ':'))
		r = python_bad(y, "no \":\" after a key");
	if (r < 0)
		return r;
	y->p++;
	strbuf_addch(y->out, ':');
	return 0;
}

/* An opening bracket; *ret_empty: it was closed at once, and is a value that is done. */
static int python_open(struct python *y, bool *ret_empty)
{
	char open = *y->p++, close = open == '{' ? '}' : ']';
	strbuf_addch(y->out, open);
	python_skip(y);
	*ret_empty = y->p < y->end && *y->p == close;
	if (*ret_empty) {
		y->p++;
		strbuf_addch(y->out, close);
		return 0;
	}
	if (y->open.len == JSON_TEXT_DEPTH_MAX)
		return python_bad(y, "too many levels");
	strbuf_addch(&y->open, open);
	return open == '{' ? python_key(y) : 0;
}

/* What follows a value, up to where the next one begins; *ret_more: there is one. */
static int python_after(struct python *y, bool *ret_more)
{
	for (*ret_more = false; y->open.len;) {
		char open = y->open.data[y->open.len - 1], close = open == '{' ? '}' : ']';
		python_skip(y);
		if (y->p == y->end)
			return python_bad(y, "a bracket that is not closed");
		if (*y->p == ',') {
			y->p++;
			strbuf_addch(y->out, ',');
			*ret_more = true;
			return open == '{' ? python_key(y) : 0;
		}
		if (*y->p != close)
			return python_bad(y, "neither \",\" nor the closing bracket");
		y->p++;
		strbuf_addch(y->out, close);
		y->open.len--;
	}
	return 0;
}

static int python_value(struct python *y, bool *ret_more)
{
	python_skip(y);
	char c = y->p < y->end ? *y->p : '\0';
	bool done = true;
	int r = c == '{' || c == '['    ? python_open(y, &done)
		: c == '\'' || c == '"' ? python_string(y)
					: python_plain(y);
	*ret_more = true;
	return r == 0 && done ? python_after(y, ret_more) : r;
}

int python_json(const char *text, size_t len, struct strbuf *out, struct err *e)
{
	struct python y = {.start = text, .p = text, .end = text + len, .out = out, .e = e};
	size_t before = out->len;
	int r = 0;
	for (bool more = true; r == 0 && more;)
		r = python_value(&y, &more);
	python_skip(&y);
	if (r == 0 && y.p != y.end)
		r = python_bad(&y, "something after the document");
	if (r < 0) {
		out->len = before;
		if (out->data)
			out->data[before] = '\0';
	}
	strbuf_done(&y.text);
	strbuf_done(&y.open);
	return r;
}
