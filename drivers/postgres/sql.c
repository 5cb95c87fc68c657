/*
 * drivers/postgres/sql.c - a snapshot as text for psql: pg_dump's schema text with the rows in the middle, as COPY.
 *
 * The text is cut where a rebuild cuts it. Nothing in it needs to be outside of a transaction. What a rebuild takes as
 * a warning (an owner or a role that the server does not have) is one here too: such statements go through a temporary
 * procedure. No connection, no locks.
 */
#include <inttypes.h>

#include "base/text.h"
#include "drivers/postgres/internal.h"
#include "drivers/sql_text.h"

/* The states are those of pg_may_refuse. psql would read the rows as commands once a COPY has failed. */
static const char pg_text_head[] =
    "-- metasnap: a PostgreSQL database with its rows. Into an empty one: psql -v ON_ERROR_STOP=1 -1 -f FILE DATABASE\n"
    "\\set ON_ERROR_STOP on\n"
    "SET datestyle = 'ISO';\n"
    "SET intervalstyle = 'postgres';\n"
    "SET timezone = 'UTC';\n"
    "SET lc_monetary = 'C';\n"
    "SET array_nulls = on;\n"
    "SET client_min_messages = warning;\n"
    "CREATE PROCEDURE pg_temp.metasnap_try(statement text) LANGUAGE plpgsql AS $metasnap$\n"
    "BEGIN\n"
    "  EXECUTE statement;\n"
    "EXCEPTION WHEN SQLSTATE '42501' OR SQLSTATE '42704' OR SQLSTATE '0LP01' OR SQLSTATE '0P000' OR SQLSTATE '22023'\n"
    "  OR SQLSTATE '28000' THEN\n"
    "  RAISE WARNING '%: %', rtrim(statement, ';'), SQLERRM;\n"
    "END $metasnap$;\n";

struct pg_text {
	struct sql_text_head head;
	const struct db_schema *schema;
	const char *sql; /* the schema's text, a copy */
	struct pg_script script;
	size_t next; /* statement */
	const struct db_table *table;
	bool copying; /* rows of table have been written */
	bool *binary; /* of the table's columns that are not generated */
	size_t n;
};

static struct pg_text *pg_text_of(struct sql_text *t)
{
	return (struct pg_text *)t;
}

static void pg_add_text_relation(struct strbuf *out, const struct pg_text *t, const char *name)
{
	pg_add_ident(out, t->schema->schema ? t->schema->schema : "public");
	strbuf_addch(out, '.');
	pg_add_ident(out, name);
}

/* A statement with what stands before it in the text: pg_dump's comments. */
static void pg_add_next(struct pg_text *t, struct strbuf *out)
{
	static const char create_schema[] = "CREATE SCHEMA ", no_tablespace[] = "SET default_tablespace = '';",
			  newer_setting[] = "SET transaction_timeout ";
	const struct pg_statement *s = &t->script.statements[t->next];
	size_t from = t->next ? t->script.statements[t->next - 1].end : 0;
	/* pg_dump's settings are for any server; one that was older than pg_dump does not know them all. */
	bool optional = *s->type ? pg_is_optional(s) && strcmp(s->sql, no_tablespace)
				 : !strncmp(s->sql, newer_setting, sizeof newer_setting - 1);
	strbuf_add(out, t->sql + from, s->at - from);
	if (!strncmp(s->sql, create_schema, sizeof create_schema - 1))
		strbuf_addf(out, "CREATE SCHEMA IF NOT EXISTS %s", s->sql + sizeof create_schema - 1);
	else if (optional && !strchr(s->sql, '$'))
		strbuf_addf(out, "CALL pg_temp.metasnap_try($$%s$$);", s->sql);
	else
		strbuf_adds(out, s->sql);
	t->next++;
}

static void pg_text_free(struct sql_text *text)
{
	struct pg_text *t = pg_text_of(text);
	if (!t)
		return;
	pg_script_done(&t->script);
	free((char *)t->sql);
	free(t->binary);
	free(t);
}

static int pg_text_begin(struct sql_text **ret, const struct db_schema *s, const char *schema_sql, struct strbuf *out,
			 struct err *e)
{
	_cleanup_(cleanup_sql_text) struct sql_text *text = xcalloc(1, sizeof(struct pg_text));
	struct pg_text *t = pg_text_of(text);
	t->head.dialect = &sql_dialect_postgres;
	t->schema = s;
	t->sql = xstrdup(schema_sql);
	int r = pg_script_parse(&t->script, t->sql, e);
	if (r < 0)
		return r;
	strbuf_adds(out, pg_text_head);
	while (t->next < t->script.n_statements && !pg_is_post_data(t->script.statements[t->next].type))
		pg_add_next(t, out);
	strbuf_adds(out, "\n\n");
	*ret = TAKE_PTR(text);
	return 0;
}

static void pg_end_rows(struct pg_text *t, struct strbuf *out)
{
	if (t->copying)
		strbuf_adds(out, "\\.\n\n");
	t->copying = false;
}

static void pg_text_table(struct sql_text *text, const struct db_table *table, struct strbuf *out)
{
	struct pg_text *t = pg_text_of(text);
	pg_end_rows(t, out);
	t->table = table;
	t->n = 0;
	t->binary = xrealloc(t->binary, (table->n_columns + 1) * sizeof *t->binary);
	for (size_t i = 0; i < table->n_columns; i++)
		if (!table->columns[i].generated)
			t->binary[t->n++] = table->columns[i].form == DB_FORM_BINARY;
}

static int pg_text_row(struct sql_text *text, const struct db_value *values, struct strbuf *out, struct err *e)
{
	struct pg_text *t = pg_text_of(text);
	(void)e;
	if (!t->copying) {
		strbuf_adds(out, "COPY ");
		pg_add_text_relation(out, t, t->table->name);
		const char *separator = " (";
		for (size_t i = 0; i < t->table->n_columns; i++) {
			if (t->table->columns[i].generated)
				continue;
			strbuf_adds(out, separator);
			pg_add_ident(out, t->table->columns[i].name);
			separator = ", ";
		}
		strbuf_adds(out, t->n ? ") FROM stdin;\n" : " FROM stdin;\n");
		t->copying = true;
	}
	pg_add_copy_row(out, values, t->binary, t->n);
	return 0;
}

static int pg_text_end(struct sql_text *text, struct strbuf *out, struct err *e)
{
	struct pg_text *t = pg_text_of(text);
	(void)e;
	pg_end_rows(t, out);
	for (size_t i = 0; i < t->schema->n_sequences; i++) {
		const struct db_sequence *q = &t->schema->sequences[i];
		_cleanup_strbuf_ struct strbuf name = {0};
		pg_add_text_relation(&name, t, q->name);
		strbuf_adds(out, "SELECT pg_catalog.setval(");
		pg_add_literal(out, strbuf_str(&name));
		strbuf_addf(out, ", %" PRId64 ", %s);\n", q->last_value, q->is_called ? "true" : "false");
	}
	while (t->next < t->script.n_statements)
		pg_add_next(t, out);
	strbuf_addch(out, '\n');
	for (size_t i = 0; i < t->script.n_statements; i++) {
		size_t len = 0;
		const char *name = pg_matview_of(&t->script.statements[i], &len);
		if (name && !pg_leaves_empty(&t->script, name, len))
			strbuf_addf(out, "REFRESH MATERIALIZED VIEW %.*s;\n", (int)len, name);
	}
	return 0;
}

/* ---- the former command line's files ---- */

/* Files before OpenMetadata 1.1 had backslashes doubled. A reader tells by an odd number of them side by side that they
 * are not; a value that would leave it in doubt is written as E'...', which has one meaning only. So is one with a line
 * end: such files are read line by line. */
static bool pg_needs_escapes(const struct db_value *v)
{
	bool any = false, odd = false;
	if (memchr(v->data, '\n', v->len) || memchr(v->data, '\r', v->len))
		return true;
	for (size_t i = 0; i < v->len; i++) {
		size_t n = 0;
		for (; i < v->len && v->data[i] == '\\'; i++)
			n++;
		any |= n > 0;
		odd |= n % 2;
	}
	return any && !odd;
}

static void pg_add_one_line(struct strbuf *out, const struct db_value *v)
{
	bool escapes = pg_needs_escapes(v);
	strbuf_adds(out, escapes ? "E'" : "'");
	size_t start = 0;
	for (size_t i = 0; i < v->len; i++) {
		char c = v->data[i], letter = c == '\n' ? 'n' : c == '\r' ? 'r' : c;
		if (c != '\'' && !(escapes && (letter != c || c == '\\')))
			continue;
		strbuf_add(out, v->data + start, i - start);
		strbuf_addch(out, c == '\'' ? '\'' : '\\');
		strbuf_addch(out, letter);
		start = i + 1;
	}
	strbuf_add(out, v->data + start, v->len - start);
	strbuf_addch(out, '\'');
}

static void pg_literal(const struct db_column *c, const struct db_value *v, struct strbuf *out)
{
	if (c->form == DB_FORM_BOOL) {
		strbuf_adds(out, v->len && *v->data == 't' ? "'True'" : "'False'");
	} else if (c->form == DB_FORM_BINARY) {
		strbuf_adds(out, "'\\x");
		hex_add(out, v->data, v->len);
		strbuf_addch(out, '\'');
	} else {
		pg_add_one_line(out, v);
	}
}

static void pg_name(const char *name, struct strbuf *out)
{
	pg_add_ident(out, name);
}

const struct sql_dialect sql_dialect_postgres = {
    .text_begin = pg_text_begin,
    .text_table = pg_text_table,
    .text_row = pg_text_row,
    .text_end = pg_text_end,
    .text_free = pg_text_free,
    .literal = pg_literal,
    .name = pg_name,
};
