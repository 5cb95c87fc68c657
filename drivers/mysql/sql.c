/*
 * drivers/mysql/sql.c - a snapshot as text for the mysql and mariadb programs: tables, rows as INSERTs of many rows,
 * then views, routines, triggers and events. No connection, no locks.
 *
 * The programs read lines: "\r\n" in a literal would lose its '\r' and a NUL would end the statement, so that control
 * bytes are written as escapes.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

#include "drivers/mysql/internal.h"
#include "drivers/sql_text.h"

#define MY_TEXT_STATEMENT_BYTES ((size_t)256 << 10)

static const char my_text_head[] =
    "-- metasnap: a MySQL or MariaDB database with its rows. Into an empty one: mysql --binary-mode DATABASE < FILE\n"
    "-- (without --binary-mode a routine whose text has \\r\\n loses the \\r)\n"
    "SET @metasnap_sql_mode = @@SQL_MODE, @metasnap_time_zone = @@TIME_ZONE,\n"
    "  @metasnap_foreign_key_checks = @@FOREIGN_KEY_CHECKS, @metasnap_unique_checks = @@UNIQUE_CHECKS,\n"
    "  @metasnap_autocommit = @@AUTOCOMMIT;\n";
static const char my_text_rows[] = "\n-- metasnap: rows\n"
				   "SET SQL_MODE = '" MY_WRITE_MODE "', UNIQUE_CHECKS = 0, AUTOCOMMIT = 0;\n";
static const char my_text_rows_end[] = "COMMIT;\n"
				       "SET SQL_MODE = 'NO_AUTO_VALUE_ON_ZERO', AUTOCOMMIT = 1;\n";
static const char my_text_tail[] =
    "\n-- metasnap: end\n"
    "SET NAMES utf8mb4;\n"
    "SET SQL_MODE = @metasnap_sql_mode, TIME_ZONE = @metasnap_time_zone,\n"
    "  FOREIGN_KEY_CHECKS = @metasnap_foreign_key_checks, UNIQUE_CHECKS = @metasnap_unique_checks,\n"
    "  AUTOCOMMIT = @metasnap_autocommit;\n";

struct my_text {
	struct sql_text_head head;
	const struct db_schema *schema;
	struct my_script script;
	const struct db_table *table;
	struct strbuf insert; /* INSERT INTO ... VALUES */
	size_t bytes;         /* of the statement that is open; 0: none is */
};

static struct my_text *my_text_of(struct sql_text *t)
{
	return (struct my_text *)t;
}

static void my_text_free(struct sql_text *text)
{
	struct my_text *t = my_text_of(text);

	if (!t)
		return;
	my_script_done(&t->script);
	strbuf_done(&t->insert);
	free(t);
}

static void my_add_kind(struct my_text *t, bool tables, struct strbuf *out)
{
	for (size_t i = 0; i < t->script.n; i++)
		if ((t->script.statements[i].kind == MY_TABLE) == tables)
			my_script_print(out, &t->script.statements[i]);
}

static int my_text_begin(struct sql_text **ret, const struct db_schema *s, const char *schema_sql, struct strbuf *out,
			 struct err *e)
{
	_cleanup_(cleanup_sql_text) struct sql_text *text = xcalloc(1, sizeof(struct my_text));
	struct my_text *t = my_text_of(text);

	t->head.dialect = &sql_dialect_mysql;
	t->schema = s;
	int r = my_script_parse(&t->script, schema_sql, e);
	if (r < 0)
		return r;
	strbuf_adds(out, my_text_head);
	strbuf_adds(out, my_script_head);
	my_add_kind(t, true, out);
	strbuf_adds(out, my_text_rows);
	*ret = TAKE_PTR(text);
	return 0;
}

static void my_end_statement(struct my_text *t, struct strbuf *out)
{
	if (t->bytes)
		strbuf_adds(out, ";\n");
	t->bytes = 0;
}

static void my_text_table(struct sql_text *text, const struct db_table *table, struct strbuf *out)
{
	struct my_text *t = my_text_of(text);
	const char *separator = "";

	my_end_statement(t, out);
	if (t->table)
		strbuf_adds(out, "COMMIT;\n");
	t->table = table;
	strbuf_clear(&t->insert);
	my_sql(&t->insert, "INSERT INTO %i (", table->name);
	for (size_t i = 0; i < table->n_columns; i++) {
		if (table->columns[i].generated)
			continue;
		my_sql(&t->insert, "%s%i", separator, table->columns[i].name);
		separator = ",";
	}
	strbuf_adds(&t->insert, ") VALUES\n");
}

/* A string on one line. */
static void my_add_text(struct strbuf *out, const struct db_value *v)
{
	static const char letters[256] = {
	    ['\n'] = 'n', ['\r'] = 'r', ['\x1a'] = 'Z', ['\\'] = '\\', ['\''] = '\'',
	};

	strbuf_addch(out, '\'');
	size_t start = 0;
	for (size_t i = 0; i < v->len; i++) {
		unsigned char c = (unsigned char)v->data[i];
		char letter = c ? letters[c] : '0';

		if (!letter)
			continue;
		strbuf_add(out, v->data + start, i - start);
		strbuf_addch(out, c == '\'' ? '\'' : '\\');
		strbuf_addch(out, letter);
		start = i + 1;
	}
	strbuf_add(out, v->data + start, v->len - start);
	strbuf_addch(out, '\'');
}

static bool my_is_error_member(const struct db_column *c, const struct db_value *v)
{
	return v->data && v->len == 0 && !strncasecmp(c->type, "enum(", 5) && !my_has_empty_member(c->type);
}

static void my_add_row(struct my_text *t, const struct db_value *v, struct strbuf *out)
{
	const char *separator = "(";

	for (size_t i = 0; i < t->table->n_columns; i++) {
		const struct db_column *c = &t->table->columns[i];

		if (c->generated)
			continue;
		strbuf_adds(out, separator);
		separator = ",";
		if (!v->data)
			strbuf_adds(out, "NULL");
		else if (c->form == DB_FORM_BINARY)
			my_sql_hex(out, v->data, v->len);
		else if (c->integer)
			strbuf_add(out, v->data, v->len);
		else if (c->form == DB_FORM_JSON && my_sql_document(out, v->data, v->len))
			; /* an expression */
		else      /* other numbers, too: a string becomes a DOUBLE with its sign (-0), a DECIMAL exactly */
			my_add_text(out, v);
		v++;
	}
	strbuf_adds(out, *separator == '(' ? "()" : ")");
}

static int my_text_row(struct sql_text *text, const struct db_value *values, struct strbuf *out, struct err *e)
{
	struct my_text *t = my_text_of(text);
	size_t bytes = 0;
	bool lax = false;
	const struct db_value *v = values;

	(void)e;
	for (size_t i = 0; i < t->table->n_columns; i++) {
		if (t->table->columns[i].generated)
			continue;
		lax |= my_is_error_member(&t->table->columns[i], v);
		bytes += 2 * v++->len + 5;
	}
	if (t->bytes && (lax || t->bytes + bytes > MY_TEXT_STATEMENT_BYTES))
		my_end_statement(t, out);
	if (lax)
		strbuf_adds(out, "SET SQL_MODE = '" MY_LAX_MODE "';\n");
	strbuf_adds(out, t->bytes ? ",\n" : strbuf_str(&t->insert));
	size_t start = out->len;
	my_add_row(t, values, out);
	t->bytes += out->len - start;
	if (lax) {
		my_end_statement(t, out);
		strbuf_adds(out, "SET SQL_MODE = '" MY_WRITE_MODE "';\n");
	}
	return 0;
}

static int my_text_end(struct sql_text *text, struct strbuf *out, struct err *e)
{
	struct my_text *t = my_text_of(text);

	(void)e;
	my_end_statement(t, out);
	strbuf_adds(out, my_text_rows_end);
	for (size_t i = 0; i < t->schema->n_tables; i++) {
		const struct db_table *table = &t->schema->tables[i];

		if (table->has_auto_increment && table->auto_increment)
			my_sql(out, "ALTER TABLE %i AUTO_INCREMENT=%l;\n", table->name, table->auto_increment);
	}
	my_add_kind(t, false, out);
	strbuf_adds(out, my_text_tail);
	return 0;
}

/* ---- the former command line's files ---- */

static void my_literal(const struct db_column *c, const struct db_value *v, struct strbuf *out)
{
	if (c->form == DB_FORM_BINARY)
		my_sql_hex(out, v->data, v->len);
	else if (c->form != DB_FORM_JSON || !my_sql_document(out, v->data, v->len))
		my_add_text(out, v);
}

static void my_name(const char *name, struct strbuf *out)
{
	my_sql(out, "%i", name);
}

const struct sql_dialect sql_dialect_mysql = {
    .text_begin = my_text_begin,
    .text_table = my_text_table,
    .text_row = my_text_row,
    .text_end = my_text_end,
    .text_free = my_text_free,
    .literal = my_literal,
    .name = my_name,
};
