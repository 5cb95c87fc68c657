/*
 * snapshot/sqlfile/internal.h - what the files of this folder share: the reader's state, and its steps.
 */
#pragma once

#include "base/strbuf.h"
#include "snapshot/row/digest.h"
#include "snapshot/sqlfile/item.h"
#include "snapshot/sqlfile/source.h"

#define SQL_WINDOW ((size_t)256 << 10)
#define SQL_NAME_MAX 256 /* bytes; PostgreSQL's are up to 63, MySQL's up to 64 characters */
#define SQL_COLUMNS_MAX 4096

struct sql_read {
	struct sql_source src;
	enum sql_backslashes backslashes;
	char *window;
	size_t at, len;
	uint64_t offset; /* in the file, of the window's end */
	bool ended;
	uint64_t line, statement;
	int failed; /* what went wrong stays so */
	struct err why;

	bool in_rows; /* of an INSERT: after its first row */
	struct sql_name table;
	struct sql_name *columns;
	size_t n_columns;
	struct sql_value *values;
	size_t *value_at; /* in text */
	size_t n_values, cap_values;
	struct strbuf text; /* of one row's values */
	struct strbuf word;
	struct hasher *hasher; /* of what was read */
};

/* ---- token.c ---- */

/* Words with the line in front into s->why; returns -EBADMSG, or what reading failed with: that looked like the end. */
int sql_bad(struct sql_read *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next window; false at the end, or when reading failed. */
bool sql_fill(struct sql_read *s);

/* The next byte, or -1 at the end (or when reading failed). */
static inline int sql_peek(struct sql_read *s)
{
	return s->at < s->len || sql_fill(s) ? (unsigned char)s->window[s->at] : -1;
}

static inline int sql_take(struct sql_read *s)
{
	int c = sql_peek(s);
	if (c >= 0)
		s->at++;
	s->line += c == '\n';
	return c;
}

/* White space and comments. */
int sql_skip(struct sql_read *s);
bool sql_is_word(int c);
/* A run of word bytes into s->word; empty when there is none. */
int sql_word(struct sql_read *s);
bool sql_word_is(const struct sql_read *s, const char *word);
int sql_keyword(struct sql_read *s, const char *word);
int sql_expect(struct sql_read *s, char c);
int sql_name(struct sql_read *s, struct sql_name *ret);

/* ---- value.c ---- */

/* ( value, ... ) -> 1. */
int sql_row(struct sql_read *s, struct sql_item *ret);
