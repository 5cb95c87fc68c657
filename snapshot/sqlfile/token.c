/*
 * snapshot/sqlfile/token.c - the bytes of a `.sql` file, and its words and names. Works on the reader's window; one
 * thread.
 */
#include "snapshot/sqlfile/internal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <strings.h>

/* ---- bytes ---- */

int sql_bad(struct sql_read *s, const char *fmt, ...)
{
	char words[400];
	if (s->failed) /* reading failed, and looked like the end */
		return s->failed;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(words, sizeof words, fmt, ap);
	va_end(ap);
	return err_set(&s->why, EBADMSG, "line %" PRIu64 ": %s", s->line, words);
}

bool sql_fill(struct sql_read *s)
{
	if (s->ended || s->failed)
		return false;
	size_t n = 0;
	s->at = s->len = 0;
	s->failed = s->src.read(s->src.arg, s->offset, s->window, SQL_WINDOW, &n, &s->why);
	if (s->failed < 0)
		return false;
	s->len = n;
	s->offset += n;
	hasher_more(s->hasher, s->window, n);
	s->ended = n == 0;
	return n > 0;
}

static void sql_skip_line(struct sql_read *s)
{
	for (int c = sql_peek(s); c >= 0 && c != '\n'; c = sql_peek(s))
		s->at++;
}

int sql_skip(struct sql_read *s)
{
	for (;;) {
		int c = sql_peek(s);
		if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
			(void)sql_take(s);
		} else if (c == '-') {
			s->at++;
			if (sql_peek(s) != '-')
				return sql_bad(s, "a single \"-\"");
			sql_skip_line(s);
		} else {
			return 0;
		}
	}
}

/* ---- tokens ---- */

bool sql_is_word(int c)
{
	return c == '_' || c == '$' || c >= 0x80 || (c >= 0 && isalnum(c));
}

int sql_word(struct sql_read *s)
{
	strbuf_clear(&s->word);
	for (int c = sql_peek(s); sql_is_word(c); c = sql_peek(s)) {
		if (s->word.len == SQL_NAME_MAX)
			return sql_bad(s, "a word of more than %d bytes", SQL_NAME_MAX);
		strbuf_addch(&s->word, (char)sql_take(s));
	}
	return 0;
}

bool sql_word_is(const struct sql_read *s, const char *word)
{
	return !strcasecmp(strbuf_str(&s->word), word);
}

int sql_keyword(struct sql_read *s, const char *word)
{
	int r = sql_skip(s);
	if (r < 0)
		return r;
	r = sql_word(s);
	if (r < 0)
		return r;
	return sql_word_is(s, word) ? 0 : sql_bad(s, "%s is expected here", word);
}

int sql_expect(struct sql_read *s, char c)
{
	int r = sql_skip(s);
	if (r < 0)
		return r;
	if (sql_peek(s) < 0)
		return sql_bad(s, "the file ends in the middle of a statement (it is cut)");
	return sql_take(s) == c ? 0 : sql_bad(s, "\"%c\" is expected here", c);
}

static int sql_quoted_name(struct sql_read *s, int quote)
{
	(void)sql_take(s);
	strbuf_clear(&s->word);
	for (;;) {
		int c = sql_take(s);
		if (c == quote) {
			if (sql_peek(s) != quote)
				break;
			(void)sql_take(s);
		}
		if (c < 0)
			return sql_bad(s, "the file ends in a name (it is cut)");
		if (c == 0 || s->word.len == SQL_NAME_MAX)
			return sql_bad(s, "a quoted name that does not end");
		strbuf_addch(&s->word, (char)c);
	}
	return 0;
}

int sql_name(struct sql_read *s, struct sql_name *ret)
{
	int r = sql_skip(s);
	if (r < 0)
		return r;
	int c = sql_peek(s);
	bool quoted = c == '`' || c == '"';
	r = quoted ? sql_quoted_name(s, c) : sql_word(s);
	if (r < 0)
		return r;
	if (!s->word.len)
		return c < 0 ? sql_bad(s, "the file ends in the middle of a statement (it is cut)")
			     : sql_bad(s, "a name is expected here");
	r = sql_skip(s);
	if (r < 0)
		return r;
	if (sql_peek(s) == '.')
		return sql_bad(s, "\"%.80s.\": a table is named without its schema or database", strbuf_str(&s->word));
	*ret = (struct sql_name){.text = xmemdup0(s->word.data, s->word.len), .quoted = quoted};
	return 0;
}
