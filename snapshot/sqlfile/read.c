/*
 * snapshot/sqlfile/read.c - the reader of the former command line's `.sql` files: bytes, tokens, statements; and the pass
 * that settles what backslashes mean in one. See read.h.
 *
 * Owns its window of the file and one row's values. One thread; no locks.
 */
#include "snapshot/sqlfile/read.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

#include "snapshot/row/json_text.h"
#include "snapshot/sqlfile/python_json.h"

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

struct sql_read *sql_read_new(const struct sql_source *src, enum sql_backslashes b)
{
	struct sql_read *s = xcalloc(1, sizeof *s);
	s->src = *src;
	s->backslashes = b;
	s->window = xmalloc(SQL_WINDOW);
	s->line = 1;
	s->hasher = hasher_new();
	hasher_begin(s->hasher);
	return s;
}

static void sql_forget_columns(struct sql_read *s)
{
	for (size_t i = 0; i < s->n_columns; i++)
		free(s->columns[i].text);
	free(TAKE_PTR(s->columns));
	s->n_columns = 0;
}

void sql_read_free(struct sql_read *s)
{
	if (!s)
		return;
	sql_forget_columns(s);
	free(s->table.text);
	free(s->values);
	free(s->value_at);
	strbuf_done(&s->text);
	strbuf_done(&s->word);
	free(s->window);
	hasher_free(s->hasher);
	free(s);
}

void sql_read_sha256(struct sql_read *s, uint8_t out[ROW_SHA_LEN])
{
	hasher_end(s->hasher, out);
}

int sql_source_read_fd(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e)
{
	*ret_n = 0;
	while (*ret_n < n) {
		ssize_t got = pread(*(int *)arg, (char *)buf + *ret_n, n - *ret_n, (off_t)(offset + *ret_n));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, errno, "reading the file");
		if (got == 0)
			break;
		*ret_n += (size_t)got;
	}
	return 0;
}

/* ---- bytes ---- */

static int __attribute__((format(printf, 2, 3))) sql_bad(struct sql_read *s, const char *fmt, ...)
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

static bool sql_fill(struct sql_read *s)
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

static void sql_skip_line(struct sql_read *s)
{
	for (int c = sql_peek(s); c >= 0 && c != '\n'; c = sql_peek(s))
		s->at++;
}

/* White space and comments. */
static int sql_skip(struct sql_read *s)
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

static bool sql_is_word(int c)
{
	return c == '_' || c == '$' || c >= 0x80 || (c >= 0 && isalnum(c));
}

/* A run of word bytes into s->word; empty when there is none. */
static int sql_word(struct sql_read *s)
{
	strbuf_clear(&s->word);
	for (int c = sql_peek(s); sql_is_word(c); c = sql_peek(s)) {
		if (s->word.len == SQL_NAME_MAX)
			return sql_bad(s, "a word of more than %d bytes", SQL_NAME_MAX);
		strbuf_addch(&s->word, (char)sql_take(s));
	}
	return 0;
}

static bool sql_word_is(const struct sql_read *s, const char *word)
{
	return !strcasecmp(strbuf_str(&s->word), word);
}

static int sql_keyword(struct sql_read *s, const char *word)
{
	int r = sql_skip(s);
	if (r == 0)
		r = sql_word(s);
	if (r == 0 && !sql_word_is(s, word))
		r = sql_bad(s, "%s is expected here", word);
	return r;
}

static int sql_expect(struct sql_read *s, char c)
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

static int sql_name(struct sql_read *s, struct sql_name *ret)
{
	int r = sql_skip(s);
	int c = r == 0 ? sql_peek(s) : -1;
	bool quoted = c == '`' || c == '"';
	if (r == 0)
		r = quoted ? sql_quoted_name(s, c) : sql_word(s);
	if (r == 0 && !s->word.len)
		r = c < 0 ? sql_bad(s, "the file ends in the middle of a statement (it is cut)")
			  : sql_bad(s, "a name is expected here");
	if (r == 0)
		r = sql_skip(s);
	if (r == 0 && sql_peek(s) == '.')
		r = sql_bad(s, "\"%.80s.\": a table is named without its schema or database", strbuf_str(&s->word));
	if (r < 0)
		return r;
	*ret = (struct sql_name){.text = xmemdup0(s->word.data, s->word.len), .quoted = quoted};
	return 0;
}

/* ---- values ---- */

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

static int sql_hex_digit(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Hex digits up to `end` (0: up to what is no word). */
static int sql_hex(struct sql_read *s, int end)
{
	(void)sql_add_value(s, SQL_HEX);
	size_t n = 0;
	for (int c = sql_peek(s); c >= 0 && (end ? c != end : sql_is_word(c)); c = sql_peek(s), n++) {
		int digit = sql_hex_digit(c);
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

/* ( value, ... ) */
static int sql_row(struct sql_read *s, struct sql_item *ret)
{
	s->n_values = 0;
	strbuf_clear(&s->text);
	int r = sql_skip(s);
	ret->line = s->line;
	if (r == 0)
		r = sql_expect(s, '(');
	for (bool more = true; r == 0 && more;) {
		if (s->n_values == SQL_COLUMNS_MAX)
			return sql_bad(s, "more than %d values in a row", SQL_COLUMNS_MAX);
		r = sql_value(s);
		if (r == 0)
			r = sql_skip(s);
		if (r == 0 && (more = sql_peek(s) == ','))
			s->at++;
	}
	if (r == 0)
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

/* ---- statements ---- */

static int sql_columns(struct sql_read *s)
{
	int r = sql_expect(s, '(');
	for (bool more = true; r == 0 && more;) {
		struct sql_name name = {0};
		if (s->n_columns == SQL_COLUMNS_MAX)
			return sql_bad(s, "more than %d columns", SQL_COLUMNS_MAX);
		r = sql_name(s, &name);
		if (r < 0)
			return r;
		s->columns = xrealloc(s->columns, (s->n_columns + 1) * sizeof *s->columns);
		s->columns[s->n_columns++] = name;
		if ((more = sql_peek(s) == ','))
			s->at++;
	}
	return r == 0 ? sql_expect(s, ')') : r;
}

static int sql_table(struct sql_read *s)
{
	free(TAKE_PTR(s->table.text));
	sql_forget_columns(s);
	return sql_name(s, &s->table);
}

static int sql_truncate(struct sql_read *s)
{
	int r = sql_table(s);
	if (r == 0 && !s->table.quoted && !strcasecmp(s->table.text, "table") && sql_peek(s) != ';')
		r = sql_table(s);
	if (r == 0)
		r = sql_expect(s, ';');
	return r < 0 ? r : 1;
}

static int sql_insert(struct sql_read *s, struct sql_item *ret)
{
	int r = sql_keyword(s, "INTO");
	if (r == 0)
		r = sql_table(s);
	if (r == 0 && sql_peek(s) == '(')
		r = sql_columns(s);
	if (r == 0)
		r = sql_keyword(s, "VALUES");
	s->in_rows = r == 0;
	return r < 0 ? r : sql_row(s, ret);
}

static int sql_statement(struct sql_read *s, struct sql_item *ret)
{
	ret->line = s->line;
	s->statement++;
	int r = sql_word(s);
	if (r < 0)
		return r;
	ret->truncate = sql_word_is(s, "TRUNCATE");
	if (ret->truncate)
		return sql_truncate(s);
	if (sql_word_is(s, "INSERT"))
		return sql_insert(s, ret);
	if (!s->word.len)
		return sql_bad(s, "this begins no statement");
	return sql_bad(s, "a statement that begins with \"%.40s\": such a file holds only TRUNCATE and INSERT",
		       strbuf_str(&s->word));
}

/* The byte order mark that some editors leave. What is only the beginning of one begins no statement either. */
static void sql_skip_mark(struct sql_read *s)
{
	for (const char *mark = "\xef\xbb\xbf"; *mark && sql_peek(s) == (unsigned char)*mark; mark++)
		s->at++;
}

static int sql_next(struct sql_read *s, struct sql_item *ret)
{
	if (s->offset == 0)
		sql_skip_mark(s);
	int r = sql_skip(s);
	if (r < 0)
		return r;
	if (s->in_rows) {
		if (sql_peek(s) == ',') {
			s->at++;
			return sql_row(s, ret);
		}
		s->in_rows = false;
		r = sql_expect(s, ';');
		if (r == 0)
			r = sql_skip(s);
		if (r < 0)
			return r;
	}
	return sql_peek(s) < 0 ? 0 : sql_statement(s, ret);
}

int sql_read_next(struct sql_read *s, struct sql_item *ret, struct err *e)
{
	*ret = (struct sql_item){0};
	int r = s->failed ? s->failed : sql_next(s, ret);
	if (s->failed)
		r = s->failed;
	if (r < 0) {
		s->failed = r;
		*e = s->why;
		return r;
	}
	ret->table = &s->table;
	ret->columns = s->columns;
	ret->n_columns = s->n_columns;
	ret->statement = s->statement;
	return r;
}

/* ---- what backslashes mean ---- */

struct sql_evidence {
	uint64_t plain, doubled; /* line of a proof; 0: none */
	uint64_t open;           /* line of a value that proves nothing */
};

static bool sql_is_document(const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	enum json_kind kind;
	return json_text_compact(text, len, JSON_TEXT_DEPTH_MAX, &out, &kind, ERR_DROP) == 0 ||
	       python_json(text, len, &out, ERR_DROP) == 0;
}

static void sql_weigh(struct sql_evidence *v, const struct sql_value *value, uint64_t line)
{
	if (value->kind != SQL_TEXT || !value->backslash || v->plain)
		return;
	if (value->odd) {
		v->plain = line;
		return;
	}
	if (value->data[0] == '{' || value->data[0] == '[') {
		_cleanup_strbuf_ struct strbuf half = {0};
		for (size_t i = 0; i < value->len; i++) {
			strbuf_addch(&half, value->data[i]);
			i += value->data[i] == '\\';
		}
		bool plain = sql_is_document(value->data, value->len), doubled = sql_is_document(half.data, half.len);
		if (plain != doubled) {
			if (plain)
				v->plain = line;
			else if (!v->doubled)
				v->doubled = line;
			return;
		}
	}
	if (!v->open)
		v->open = line;
}

static int sql_decide(const struct sql_evidence *v, struct sql_scan *ret, struct err *e)
{
	if (v->plain && v->doubled)
		return err_set(e, EBADMSG,
			       "line %" PRIu64 " can only be read with backslashes as they are, line %" PRIu64
			       " only with doubled ones",
			       v->plain, v->doubled);
	if (v->open && !v->plain && !v->doubled)
		return err_set(
		    e, EBADMSG,
		    "line %" PRIu64
		    ": nothing in the file tells whether its backslashes are doubled, as OpenMetadata before 1.1 "
		    "wrote them (say it: metasnap restore --backslashes=plain or --backslashes=doubled)",
		    v->open);
	ret->reading = v->doubled ? SQL_BACKSLASH_DOUBLED : SQL_BACKSLASH_PLAIN;
	if (ret->backslashes)
		(void)snprintf(ret->why, sizeof ret->why, "backslashes are taken %s: line %" PRIu64 " proves it",
			       v->doubled ? "as doubled (a file of OpenMetadata before 1.1)" : "as they are",
			       v->doubled ? v->doubled : v->plain);
	return 0;
}

void sql_scan_done(struct sql_scan *c)
{
	for (size_t i = 0; i < c->n_tables; i++)
		free(c->tables[i].name.text);
	free(c->tables);
	*c = (struct sql_scan){0};
}

static bool sql_same_name(const struct sql_name *a, const struct sql_name *b)
{
	return a->quoted == b->quoted && !strcmp(a->text, b->text);
}

/* *at: where the item before was; files go table by table. */
static void sql_note_table(struct sql_scan *c, const struct sql_item *item, size_t *at)
{
	if (*at < c->n_tables && sql_same_name(&c->tables[*at].name, item->table))
		return;
	for (*at = 0; *at < c->n_tables; ++*at)
		if (sql_same_name(&c->tables[*at].name, item->table))
			return;
	c->tables = xrealloc(c->tables, (c->n_tables + 1) * sizeof *c->tables);
	c->tables[c->n_tables++] = (struct sql_seen){
	    .name = {xstrdup(item->table->text), item->table->quoted},
	    .line = item->line,
	};
}

int sql_scan(const struct sql_source *src, bool mysql, enum sql_choice choice, struct sql_scan *ret, struct err *e)
{
	*ret = (struct sql_scan){.reading = mysql                          ? SQL_BACKSLASH_MYSQL
					    : choice == SQL_CHOICE_DOUBLED ? SQL_BACKSLASH_DOUBLED
									   : SQL_BACKSLASH_PLAIN};
	_cleanup_(cleanup_sql_read) struct sql_read *s = sql_read_new(src, ret->reading);
	struct sql_evidence evidence = {0};
	struct sql_item item;
	size_t at = 0;
	int r;
	while ((r = sql_read_next(s, &item, e)) == 1) {
		ret->statements = item.statement;
		ret->rows += !item.truncate;
		sql_note_table(ret, &item, &at);
		for (size_t i = 0; i < item.n_values; i++) {
			ret->backslashes |= item.values[i].backslash;
			if (!mysql && choice == SQL_CHOICE_AUTO)
				sql_weigh(&evidence, &item.values[i], item.line);
		}
	}
	sql_read_sha256(s, ret->sha);
	if (r == 0 && !ret->statements)
		r = err_set(e, EBADMSG, "there is no statement in it");
	if (r == 0 && !mysql && choice == SQL_CHOICE_AUTO)
		r = sql_decide(&evidence, ret, e);
	else if (r == 0 && ret->backslashes && !mysql)
		(void)snprintf(ret->why, sizeof ret->why, "backslashes are taken %s, as was asked for",
			       choice == SQL_CHOICE_DOUBLED ? "as doubled" : "as they are");
	return r;
}
