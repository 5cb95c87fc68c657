/*
 * drivers/sqlite/sql.c - a snapshot as text for the sqlite3 program: tables, rows, then indexes, views and triggers, in
 * one transaction. No locks. Owns a database in memory, which only reads numbers: SQLite's own reading of a number's
 * text can be off by the last bit, and such a value is written as a product of whole numbers.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "drivers/sql_text.h"
#include "drivers/sqlite/ddl.h"

#define SQLITE_TEXT_STATEMENT_BYTES ((size_t)64 << 10)

struct sqlite_text {
	struct sql_text_head head;
	const struct db_schema *schema;
	char *sql;         /* the schema's text */
	const char *later; /* in it: what comes after the rows */
	const struct db_table *table;
	struct strbuf insert; /* INSERT ... VALUES */
	size_t bytes;         /* of the statement that is open; 0: none is */
	sqlite3 *numbers;
	sqlite3_stmt *number; /* gives a text's value as REAL */
};

static struct sqlite_text *sqlite_text_of(struct sql_text *t)
{
	return (struct sqlite_text *)t;
}

static void sqlite_text_free(struct sql_text *text)
{
	struct sqlite_text *t = sqlite_text_of(text);
	if (!t)
		return;
	(void)sqlite3_finalize(t->number);
	(void)sqlite3_close(t->numbers);
	strbuf_done(&t->insert);
	free(t->sql);
	free(t);
}

static void sqlite_add_hex(struct strbuf *out, const struct db_value *v)
{
	strbuf_adds(out, "x'");
	hex_add(out, v->data, v->len);
	strbuf_addch(out, '\'');
}

/* The program ends a text at NUL and takes '\r' away at the end of a line. */
static void sqlite_add_text(struct strbuf *out, const struct db_value *v)
{
	if (memchr(v->data, '\0', v->len) || memchr(v->data, '\r', v->len)) {
		strbuf_adds(out, "CAST(");
		sqlite_add_hex(out, v);
		strbuf_adds(out, " AS TEXT)");
		return;
	}
	strbuf_addch(out, '\'');
	for (size_t i = 0; i < v->len; i++) {
		if (v->data[i] == '\'')
			strbuf_addch(out, '\'');
		strbuf_addch(out, v->data[i]);
	}
	strbuf_addch(out, '\'');
}

static void sqlite_add_literal(struct strbuf *out, const char *text, size_t len)
{
	sqlite_add_text(out, &(struct db_value){.data = text, .len = len});
}

/* As the program's own .dump has it: a module would make tables that come by themselves here. */
static int sqlite_add_virtual_text(const char *start, size_t len, struct strbuf *out, struct err *e)
{
	_cleanup_free_ char *text = xmemdup0(start, len), *name = sqlite_ddl_virtual_name(text);
	_cleanup_strbuf_ struct strbuf quoted = {0};
	if (!name)
		return err_set(e, EINVAL, "schema: not the definition of a virtual table: %.60s", text);
	sqlite_add_literal(&quoted, name, strlen(name));
	strbuf_addf(out,
		    "PRAGMA writable_schema=ON;\nINSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)"
		    " VALUES('table',%s,%s,0,",
		    quoted.data, quoted.data);
	sqlite_add_literal(out, text, len);
	strbuf_adds(out, ");\nPRAGMA writable_schema=OFF;\n");
	return 0;
}

/* The program reads "\r\n" as "\n": such a definition gets its own text afterwards. */
static void sqlite_add_returns(const char *start, size_t len, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf read = {0};
	for (size_t i = 0; i < len; i++)
		if (start[i] != '\r' || i + 1 == len || start[i + 1] != '\n')
			strbuf_addch(&read, start[i]);
	if (read.len == len)
		return;
	strbuf_adds(out, "PRAGMA writable_schema=ON;\nUPDATE sqlite_schema SET sql=");
	sqlite_add_literal(out, start, len);
	strbuf_adds(out, " WHERE sql=");
	sqlite_add_literal(out, read.data, read.len);
	strbuf_adds(out, ";\nPRAGMA writable_schema=OFF;\n");
}

/* The statements from *script on that may come now; *script stays before the first that may not. */
static int sqlite_add_statements(const char **script, bool later, struct strbuf *out, struct err *e)
{
	for (;;) {
		const char *next = *script, *start = NULL;
		size_t len = 0;
		enum sqlite_ddl_kind kind = sqlite_ddl_next(&next, &start, &len);
		if (kind == SQLITE_DDL_END || (kind == SQLITE_DDL_LATER && !later))
			return 0;
		if (kind == SQLITE_DDL_OTHER || (later && kind != SQLITE_DDL_LATER))
			return err_set(e, EINVAL, "schema: this statement is not where a saved schema has it: %.*s",
				       (int)(len < 60 ? len : 60), start);
		if (kind == SQLITE_DDL_VIRTUAL) {
			int r = sqlite_add_virtual_text(start, len, out, e);
			if (r < 0)
				return r;
		} else {
			strbuf_add(out, start, len);
			strbuf_adds(out, ";\n");
			sqlite_add_returns(start, len, out);
		}
		*script = next;
	}
}

static int sqlite_text_begin(struct sql_text **ret, const struct db_schema *s, const char *schema_sql,
			     struct strbuf *out, struct err *e)
{
	_cleanup_(cleanup_sql_text) struct sql_text *text = xcalloc(1, sizeof(struct sqlite_text));
	struct sqlite_text *t = sqlite_text_of(text);
	t->head.dialect = &sql_dialect_sqlite;
	t->schema = s;
	t->sql = xstrdup(schema_sql);
	t->later = t->sql;
	if (sqlite3_open_v2(":memory:", &t->numbers, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(t->numbers, "SELECT CAST(?1 AS REAL)", -1, &t->number, NULL) != SQLITE_OK)
		return err_set(e, EIO, "SQLite: %s", sqlite3_errmsg(t->numbers));
	strbuf_adds(out, "-- metasnap: an SQLite database with its rows. Into a new one: sqlite3 DATABASE < FILE\n"
			 ".bail on\nPRAGMA foreign_keys=OFF;\nBEGIN;\n");
	int r = sqlite_add_statements(&t->later, false, out, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(text);
	return 0;
}

static void sqlite_end_statement(struct sqlite_text *t, struct strbuf *out)
{
	if (t->bytes)
		strbuf_adds(out, ";\n");
	t->bytes = 0;
}

static void sqlite_text_table(struct sql_text *text, const struct db_table *table, struct strbuf *out)
{
	struct sqlite_text *t = sqlite_text_of(text);
	const char *separator = " (";
	sqlite_end_statement(t, out);
	t->table = table;
	strbuf_clear(&t->insert);
	/* OR ABORT: a table's own ON CONFLICT IGNORE or REPLACE would lose a row without a word. */
	strbuf_adds(&t->insert, "INSERT OR ABORT INTO ");
	sqlite_quote(&t->insert, table->name);
	for (size_t i = 0; i < table->n_columns; i++) {
		if (table->columns[i].generated)
			continue;
		strbuf_adds(&t->insert, separator);
		sqlite_quote(&t->insert, table->columns[i].name);
		separator = ",";
	}
	strbuf_adds(&t->insert, ") VALUES\n");
}

/* value = whole * 2^power, each step of which is exact. */
static void sqlite_add_product(struct strbuf *out, double value)
{
	int power = 0;
	int64_t whole = (int64_t)ldexp(frexp(value, &power), 53);
	power -= 53;
	strbuf_addf(out, "%" PRId64 "*1.0", whole);
	for (int step; power; power -= step) {
		step = power > 62 ? 62 : power < -62 ? -62 : power;
		strbuf_addf(out, "%c(1<<%d)", step > 0 ? '*' : '/', abs(step));
	}
}

static int sqlite_add_real(struct sqlite_text *t, const struct db_value *v, struct strbuf *out, struct err *e)
{
	_cleanup_free_ char *text = xmemdup0(v->data, v->len);
	double value = strtod(text, NULL);
	(void)sqlite3_bind_text(t->number, 1, text, (int)v->len, SQLITE_STATIC);
	int rc = sqlite3_step(t->number);
	double found = sqlite3_column_double(t->number, 0);
	(void)sqlite3_reset(t->number);
	if (rc != SQLITE_ROW)
		return err_set(e, EIO, "SQLite: %s", sqlite3_errmsg(t->numbers));
	if (found == value)
		strbuf_add(out, v->data, v->len);
	else
		sqlite_add_product(out, value);
	return 0;
}

static int sqlite_add_value(struct sqlite_text *t, const struct db_column *c, const struct db_value *v,
			    struct strbuf *out, struct err *e)
{
	if (!v->data) {
		strbuf_adds(out, "NULL");
		return 0;
	}
	switch (v->kind) {
	case DB_KIND_INTEGER:
		strbuf_add(out, v->data, v->len);
		break;
	case DB_KIND_REAL:
		return sqlite_add_real(t, v, out, e);
	case DB_KIND_TEXT:
		sqlite_add_text(out, v);
		break;
	case DB_KIND_BLOB:
		sqlite_add_hex(out, v);
		break;
	case DB_KIND_COLUMN:
		if (c->form == DB_FORM_BINARY)
			sqlite_add_hex(out, v);
		else
			sqlite_add_text(out, v);
	}
	return 0;
}

static int sqlite_text_row(struct sql_text *text, const struct db_value *values, struct strbuf *out, struct err *e)
{
	struct sqlite_text *t = sqlite_text_of(text);
	const char *separator = "(";
	if (t->bytes > SQLITE_TEXT_STATEMENT_BYTES)
		sqlite_end_statement(t, out);
	strbuf_adds(out, t->bytes ? ",\n" : strbuf_str(&t->insert));
	size_t start = out->len;
	for (size_t i = 0; i < t->table->n_columns; i++) {
		if (t->table->columns[i].generated)
			continue;
		strbuf_adds(out, separator);
		separator = ",";
		int r = sqlite_add_value(t, &t->table->columns[i], values++, out, e);
		if (r < 0)
			return r;
	}
	strbuf_addch(out, ')');
	t->bytes += out->len - start;
	return 0;
}

/* seq is the last value given; a table that never gave one has no row. In this order a row that is there keeps its
 * place. */
static void sqlite_add_sequence(const struct db_table *table, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf name = {0};
	sqlite_add_text(&name, &(struct db_value){.data = table->name, .len = strlen(table->name)});
	if (!table->auto_increment) {
		strbuf_addf(out, "DELETE FROM sqlite_sequence WHERE name=%s;\n", strbuf_str(&name));
		return;
	}
	strbuf_addf(out, "UPDATE sqlite_sequence SET seq=%" PRIu64 " WHERE name=%s;\n", table->auto_increment - 1,
		    strbuf_str(&name));
	strbuf_addf(out,
		    "INSERT INTO sqlite_sequence (name,seq) SELECT %s,%" PRIu64
		    " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name=%s);\n",
		    strbuf_str(&name), table->auto_increment - 1, strbuf_str(&name));
}

static int sqlite_text_end(struct sql_text *text, struct strbuf *out, struct err *e)
{
	struct sqlite_text *t = sqlite_text_of(text);
	sqlite_end_statement(t, out);
	for (size_t i = 0; i < t->schema->n_tables; i++)
		if (t->schema->tables[i].has_auto_increment)
			sqlite_add_sequence(&t->schema->tables[i], out);
	int r = sqlite_add_statements(&t->later, true, out, e);
	strbuf_adds(out, "COMMIT;\n");
	return r;
}

const struct sql_dialect sql_dialect_sqlite = {
    .text_begin = sqlite_text_begin,
    .text_table = sqlite_text_table,
    .text_row = sqlite_text_row,
    .text_end = sqlite_text_end,
    .text_free = sqlite_text_free,
};
