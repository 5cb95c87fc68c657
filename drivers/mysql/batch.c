/*
 * drivers/mysql/batch.c - rows on their way into a table: as INSERTs, or as the file of one LOAD DATA LOCAL.
 *
 * The session is strict while rows are written, but takes what a table can hold: zero and invalid dates, id 0. What a
 * warning says is not asked where rows are read back and compared: it may be of a generated column or an expression of
 * an index, and no value was changed. Where nobody compares (db_table.unproven) each warning of a column that the rows
 * have values for is an error. ENUM's error value (index 0, text '') needs a lax mode, and is counted: as many warnings
 * as such values, no more.
 *
 * A batch belongs to one thread at a time: to the connection's while it grows, then to the one that runs it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "drivers/mysql/internal.h"

#define MY_HEX_BYTES 64 /* longer values as _binary'...': half the bytes */

void my_batch_done(struct my_batch *b)
{
	strbuf_done(&b->sql);
	strbuf_done(&b->file);
	free(b->inserts);
	*b = (struct my_batch){0};
}

static void my_add_value(struct strbuf *sql, const struct my_target *to, size_t i, const struct db_value *v)
{
	const struct db_column *col = &to->table->columns[to->sources[i]];
	const struct my_column *mine = &to->details->columns[to->columns[i]];

	if (!v->data) {
		strbuf_adds(sql, "NULL");
	} else if (col->form == DB_FORM_BINARY && (mine->is_bit || v->len <= MY_HEX_BYTES)) {
		my_sql_hex(sql, v->data, v->len);
	} else if (col->form != DB_FORM_JSON || !my_sql_document(sql, v->data, v->len)) {
		if (col->form == DB_FORM_BINARY)
			strbuf_adds(sql, "_binary");
		/* Numbers, too: a string becomes a DOUBLE with all its digits and its sign (-0), a DECIMAL exactly. */
		my_sql_quote(sql, v->data, v->len);
	}
}

/* A field of a file with the escapes that my_target_infile() names. Bytes as hexadecimal digits, see there. */
static void my_add_field(struct strbuf *out, const struct my_target *to, size_t i, const struct db_value *v)
{
	if (!v->data) {
		strbuf_adds(out, "\\N");
		return;
	}
	if (to->table->columns[to->sources[i]].form == DB_FORM_BINARY) {
		hex_add(out, v->data, v->len);
		return;
	}
	strbuf_reserve(out, 2 * v->len + 1);
	char *at = out->data + out->len;
	for (const char *p = v->data, *end = v->data + v->len; p < end; p++) {
		char c = *p, letter = c == '\\' ? '\\' : c == '\t' ? 't' : c == '\n' ? 'n' : c == '\0' ? '0' : 0;

		if (letter)
			*at++ = '\\';
		*at++ = letter ? letter : c;
	}
	*at = '\0';
	out->len = (size_t)(at - out->data);
}

struct my_insert *my_batch_begin(struct my_batch *b, const struct my_target *to, bool infile)
{
	if (b->n_inserts % 16 == 0)
		b->inserts = xrealloc(b->inserts, (b->n_inserts + 16) * sizeof *b->inserts);
	struct my_insert *insert = &b->inserts[b->n_inserts++];
	*insert = (struct my_insert){0};
	if (!infile)
		strbuf_add(&b->sql, to->insert.data, to->insert.len);
	return insert;
}

void my_batch_add_line(struct my_batch *b, const struct my_target *to, const struct db_value *values)
{
	for (size_t i = 0; i < to->n_columns; i++) {
		if (i)
			strbuf_addch(&b->file, '\t');
		my_add_field(&b->file, to, i, &values[i]);
	}
	strbuf_addch(&b->file, '\n');
}

void my_batch_add_tuple(struct my_batch *b, const struct my_target *to, bool first, const struct db_value *values)
{
	strbuf_adds(&b->sql, first ? "(" : ",(");
	for (size_t i = 0; i < to->n_columns; i++) {
		if (i)
			strbuf_addch(&b->sql, ',');
		my_add_value(&b->sql, to, i, &values[i]);
	}
	strbuf_addch(&b->sql, ')');
}

void my_batch_end(struct my_batch *b, const struct my_target *to)
{
	if (b->file.len)
		strbuf_add(&b->sql, to->infile.data, to->infile.len);
	b->inserts[b->n_inserts - 1].end = b->sql.len;
}

/* "... for column 'x' at row 1", MariaDB also "`db`.`t`.`x`": whether x is made by the server. A warning without a column
 * is of an expression; storing a value always names its column. */
static bool my_is_of_generated(const struct my_table *t, const char *message)
{
	const char *at = strstr(message, "column ");

	for (const char *next = at; next; next = strstr(at + 1, "column "))
		at = next;
	for (size_t i = 0; at && i < t->n_columns; i++) {
		_cleanup_free_ char *quoted = xasprintf("'%s' at row ", t->columns[i].name),
				    *ticked = xasprintf("`%s` at row ", t->columns[i].name);

		if (t->columns[i].generated && (strstr(at, quoted) || strstr(at, ticked)))
			return true;
	}
	return !at;
}

static int my_check_warnings(struct my_conn *c, const struct my_table *t, size_t expected, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	unsigned n = mysql_warning_count(c->my);
	size_t found = 0;

	if (n == expected)
		return 0;
	int r = my_select(c, &res, e, "SHOW WARNINGS");
	if (r < 0)
		return r;
	if (mysql_num_rows(res) < n)
		return err_set(e, EIO, "table %s: the server has %u warnings and shows fewer: raise max_error_count",
			       t->name, n);
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));)
		if (row[2] && !my_is_of_generated(t, row[2]) && ++found > expected)
			return err_set(e, EIO, "table %s: the server would change a value: %s (%s)", t->name, row[2],
				       row[1] ? row[1] : "");
	return 0;
}

static int my_insert_run(struct my_conn *c, const struct my_insert *s, const char *sql, size_t len, const char *table,
			 const struct my_batch *b, struct err *e)
{
	bool check = b->unproven || s->n_lax > 0;
	int r;

	if (len + 1024 > c->max_packet)
		return err_set(e, EIO,
			       "table %s: a row needs a statement of %zu bytes, and the server's max_allowed_packet is "
			       "%zu: raise it",
			       table, len, c->max_packet);
	if (s->n_lax > 0 && (r = my_exec(c, e, "SET SESSION sql_mode='" MY_LAX_MODE "'")) < 0)
		return r;
	if ((r = my_exec_len(c, e, sql, len)) < 0)
		return err_prefix(e, "table %s", table);
	uint64_t n = mysql_affected_rows(c->my);
	if (check && (r = my_check_warnings(c, b->details, s->n_lax, e)) < 0)
		return r;
	/* LOCAL makes every error of a row a warning, a row left out included. */
	if (n != s->n_rows)
		return err_set(e, EIO, "table %s: of %zu rows the server took %llu", table, s->n_rows,
			       (unsigned long long)n);
	return s->n_lax > 0 ? my_exec(c, e, "SET SESSION sql_mode='" MY_WRITE_MODE "'") : 0;
}

int my_batch_run(struct my_conn *c, const struct my_batch *b, const char *table, struct err *e)
{
	size_t start = 0;
	int r = 0;

	c->offer = b->file.len ? &b->file : NULL;
	for (size_t i = 0; r == 0 && i < b->n_inserts; i++) {
		r = my_insert_run(c, &b->inserts[i], b->sql.data + start, b->inserts[i].end - start, table, b, e);
		start = b->inserts[i].end;
	}
	c->offer = NULL;
	return r;
}
