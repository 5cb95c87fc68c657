/*
 * snapshot/sqlfile/value.c - the values of a row, ( value, ... ), into the reader's memory. One thread.
 */
#include "snapshot/sqlfile/internal.h"

#include <ctype.h>
#include <errno.h>

#include "base/text.h"
#include "snapshot/row/json_text.h"

static struct sql_value *sql_add_value(struct sql_read *s, enum sql_kind kind)
{
	if (s->n_values == s->cap_values) {
		s->cap_values = s->cap_values ? 2 * s->cap_values : 16;
		s->values = xrealloc(s->values, s->cap_values * sizeof *s->values);
		s->value_at = xrealloc(s->value_at, s->cap_values * sizeof *s->value_at);
	}
	s->values[s->n_values] = (struct sql_value){.kind = kind};
	s->value_at[s->n_values] = s->text.len;
	return &s->values[s->n_values++];
}

/* What MySQL reads for backslash and c; -1: a backslash that it would drop without a word. */
static int sql_mysql_escape(int c)
{
	switch (c) {
	case '0':
		return 0;
	case 'b':
		return '\b';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'Z':
		return 26;
	case '\\':
	case '\'':
	case '"':
		return c;
	default:
		return -1;
	}
}

static int sql_escape(struct sql_read *s)
{
	int c = sql_take(s);
	if (c < 0)
		return sql_bad(s, "the file ends in a value (it is cut)");
	if (c == '%' || c == '_') { /* the two that keep their backslash */
		strbuf_addch(&s->text, '\\');
		strbuf_addch(&s->text, (char)c);
		return 0;
	}
	int meant = sql_mysql_escape(c);
	if (meant < 0)
		return sql_bad(
		    s, "a backslash before \"%c\", which MySQL would drop (was the file written for PostgreSQL?)",
		    isprint(c) ? c : '?');
	strbuf_addch(&s->text, (char)meant);
	return 0;
}

/* A run of backslashes, the first of which is next. */
static int sql_backslashes(struct sql_read *s, bool *ret_odd)
{
	size_t n = 0;
	for (; sql_peek(s) == '\\'; n++)
		s->at++;
	*ret_odd = n % 2;
	if (s->backslashes == SQL_BACKSLASH_DOUBLED && n % 2)
		return sql_bad(s, "%zu backslashes side by side, where they are taken to be doubled", n);
	for (n = s->backslashes == SQL_BACKSLASH_DOUBLED ? n / 2 : n; n > 0; n--)
		strbuf_addch(&s->text, '\\');
	return 0;
}

/* Bytes of text that stand for themselves, as many as the window holds. */
static void sql_plain_text(struct sql_read *s)
{
	const char *start = s->window + s->at, *end = s->window + s->len, *p = start;
	for (; p < end && *p != '\'' && *p != '\\'; p++)
		s->line += *p == '\n';
	strbuf_add(&s->text, start, (size_t)(p - start));
	s->at += (size_t)(p - start);
}

/* In PostgreSQL's E'...', whatever the file's other backslashes mean. */
static int sql_marked_escape(struct sql_read *s)
{
	static const char letters[] = "bfnrt\\'", meant[] = "\b\f\n\r\t\\'";
	s->at++;
	int c = sql_take(s);
	const char *found = c > 0 ? strchr(letters, c) : NULL;
	if (!found)
		return sql_bad(s, c < 0 ? "the file ends in a value (it is cut)"
					: "a backslash in E'...' before what metasnap does not write");
	strbuf_addch(&s->text, meant[found - letters]);
	return 0;
}

/* marked: E stood before the quote. */
static int sql_text(struct sql_read *s, bool marked)
{
	(void)sql_add_value(s, SQL_TEXT);
	(void)sql_take(s);
	for (;;) {
		int c = sql_peek(s);
		if (c < 0)
			return sql_bad(s, "the file ends in a value (it is cut)");
		if (c == '\'') {
			s->at++;
			if (sql_peek(s) != '\'')
				return 0;
			s->at++;
			strbuf_addch(&s->text, '\'');
		} else if (c == '\\' && marked) {
			int r = sql_marked_escape(s);
			if (r < 0)
				return r;
		} else if (c == '\\') {
			struct sql_value *v = &s->values[s->n_values - 1];
			bool odd = false;
			int r;
			if (s->backslashes == SQL_BACKSLASH_MYSQL) {
				s->at++;
				r = sql_escape(s);
			} else {
				r = sql_backslashes(s, &odd);
			}
			if (r < 0)
				return r;
			v->backslash = true;
			v->odd |= odd;
		} else {
			sql_plain_text(s);
		}
	}
}

/* Hex digits up to `end` (0: up to what is no word). */
static int sql_hex(struct sql_read *s, int end)
{
	(void)sql_add_value(s, SQL_HEX);
	size_t n = 0;
	for (int c = sql_peek(s); c >= 0 && (end ? c != end : sql_is_word(c)); c = sql_peek(s), n++) {
		int digit = hex_value((char)c);
		if (digit < 0)
			return sql_bad(s, "a hexadecimal value with something else in it");
		s->at++;
		if (n % 2)
			s->text.data[s->text.len - 1] = (char)((unsigned char)s->text.data[s->text.len - 1] | digit);
		else
			strbuf_addch(&s->text, (char)(digit << 4));
	}
	if (end && sql_take(s) < 0)
		return sql_bad(s, "the file ends in a value (it is cut)");
	return n % 2 ? sql_bad(s, "a hexadecimal value with an odd number of digits") : 0;
}

static int sql_number(struct sql_read *s)
{
	(void)sql_add_value(s, SQL_NUMBER);
	size_t from = s->text.len;
	for (int c = sql_peek(s); c >= 0 && (isdigit(c) || strchr("+-.eE", c)); c = sql_peek(s))
		strbuf_addch(&s->text, (char)sql_take(s));
	/* 0x...: the x ends the number. */
	if (s->text.len == from + 1 && s->text.data[from] == '0' && (sql_peek(s) == 'x' || sql_peek(s) == 'X')) {
		s->at++;
		s->text.len = from;
		s->n_values--;
		return sql_hex(s, 0);
	}
	if (sql_is_word(sql_peek(s)) || !json_text_is_number(s->text.data + from, s->text.len - from))
		return sql_bad(s, "a value that is no number");
	return 0;
}

/* JSON_REPLACE(CAST('...' AS JSON), ...), as a backup of metasnap's own has it where members have types that text does
 * not tell to others: its text does. */
static int sql_document(struct sql_read *s)
{
	size_t depth = 2, n = s->n_values + 1, len = 0;
	int r = sql_expect(s, '(');
	if (r == 0 && (r = sql_word(s)) == 0 && !sql_word_is(s, "cast"))
		r = sql_bad(s, "a document that is no CAST");
	if (r < 0 || (r = sql_expect(s, '(')) < 0)
		return r;
	if (sql_peek(s) != '\'')
		return sql_bad(s, "a document that is no text");
	r = sql_text(s, false);
	for (len = s->text.len; r == 0 && depth > 0; s->text.len = len) {
		int c = sql_peek(s);
		if (c < 0)
			return sql_bad(s, "the file ends in a value (it is cut)");
		if (c == '\'') {
			r = sql_text(s, false);
			s->n_values = n;
			continue;
		}
		if (!isalnum(c) && !strchr("_ $(),=.-", c))
			return sql_bad(s, "\"%c\" in a document's expression", isprint(c) ? c : '?');
		depth += c == '(';
		depth -= c == ')';
		(void)sql_take(s);
	}
	return r;
}

static int sql_word_value(struct sql_read *s)
{
	int r = sql_word(s);
	if (r < 0)
		return r;
	if (sql_word_is(s, "x") && sql_peek(s) == '\'') {
		s->at++;
		return sql_hex(s, '\'');
	}
	if (sql_word_is(s, "E") && sql_peek(s) == '\'' && s->backslashes != SQL_BACKSLASH_MYSQL)
		return sql_text(s, true);
	if (sql_word_is(s, "null"))
		(void)sql_add_value(s, SQL_NULL);
	else if (sql_word_is(s, "true"))
		(void)sql_add_value(s, SQL_TRUE);
	else if (sql_word_is(s, "false"))
		(void)sql_add_value(s, SQL_FALSE);
	else if (sql_word_is(s, "json_replace") && s->backslashes == SQL_BACKSLASH_MYSQL)
		return sql_document(s);
	else
		return sql_bad(s, "\"%.40s\" is no value", strbuf_str(&s->word));
	return 0;
}

/* The "-" of a number looks like the start of a comment: what stands before a value is white space only. */
static int sql_value(struct sql_read *s)
{
	int c = sql_peek(s);
	while (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
		(void)sql_take(s);
		c = sql_peek(s);
	}
	if (c < 0)
		return sql_bad(s, "the file ends in the middle of a statement (it is cut)");
	if (c == '\'')
		return sql_text(s, false);
	if (c == '-' || isdigit(c))
		return sql_number(s);
	if (sql_is_word(c))
		return sql_word_value(s);
	return sql_bad(s, "a value is expected here");
}

int sql_row(struct sql_read *s, struct sql_item *ret)
{
	s->n_values = 0;
	strbuf_clear(&s->text);
	int r = sql_skip(s);
	if (r < 0)
		return r;
	ret->line = s->line;
	r = sql_expect(s, '(');
	if (r < 0)
		return r;
	for (bool more = true; more;) {
		if (s->n_values == SQL_COLUMNS_MAX)
			return sql_bad(s, "more than %d values in a row", SQL_COLUMNS_MAX);
		r = sql_value(s);
		if (r < 0)
			return r;
		r = sql_skip(s);
		if (r < 0)
			return r;
		if ((more = sql_peek(s) == ','))
			s->at++;
	}
	r = sql_expect(s, ')');
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->n_values; i++) {
		size_t end = i + 1 < s->n_values ? s->value_at[i + 1] : s->text.len;
		s->values[i].data = s->values[i].kind == SQL_NULL ? NULL : strbuf_str(&s->text) + s->value_at[i];
		s->values[i].len = end - s->value_at[i];
	}
	ret->values = s->values;
	ret->n_values = s->n_values;
	return 1;
}
