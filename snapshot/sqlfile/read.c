/*
 * snapshot/sqlfile/read.c - the reader of the former command line's `.sql` files: its statements. See read.h.
 *
 * Owns its window of the file and one row's values. One thread; no locks.
 */
#include "snapshot/sqlfile/read.h"

#include <errno.h>
#include <strings.h>

#include "snapshot/sqlfile/internal.h"

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

/* ---- statements ---- */

static int sql_columns(struct sql_read *s)
{
	int r = sql_expect(s, '(');
	if (r < 0)
		return r;
	for (bool more = true; more;) {
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
	return sql_expect(s, ')');
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
	if (r < 0)
		return r;
	if (!s->table.quoted && !strcasecmp(s->table.text, "table") && sql_peek(s) != ';')
		r = sql_table(s);
	if (r < 0)
		return r;
	r = sql_expect(s, ';');
	return r < 0 ? r : 1;
}

static int sql_insert(struct sql_read *s, struct sql_item *ret)
{
	int r = sql_keyword(s, "INTO");
	if (r < 0)
		return r;
	r = sql_table(s);
	if (r < 0)
		return r;
	r = sql_peek(s) == '(' ? sql_columns(s) : 0;
	if (r < 0)
		return r;
	r = sql_keyword(s, "VALUES");
	if (r < 0)
		return r;
	s->in_rows = true;
	return sql_row(s, ret);
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
		if (r < 0)
			return r;
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
