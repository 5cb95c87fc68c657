/*
 * snapshot/sqlfile/map.c - see map.h. A document in a file is JSON or what Python prints for it; a boolean may be
 * Python's True or False, in quotes or not.
 */
#include "snapshot/sqlfile/map.h"

#include <errno.h>
#include <strings.h>

#include "base/text.h"
#include "snapshot/row/json_text.h"
#include "snapshot/row/row.h"
#include "snapshot/sqlfile/python_json.h"

#define MAP_NONE SIZE_MAX

struct sql_map {
	const struct db_table *table;
	bool mysql, postgres;
	struct sql_name *columns; /* as the item had them */
	size_t n_columns, n_values;
	size_t *target;       /* of each value: column of `load`, or MAP_NONE */
	struct db_table load; /* owns its array of columns, not what they point to */
	struct db_value *values;
	size_t *offset; /* in text, of a value that was made anew, or MAP_NONE */
	struct strbuf text;
	size_t left_out;
	/* for sql_map_line; codec NULL: not all columns are given */
	struct row_codec *codec;
	size_t *source; /* of each column of the row: column of `load` */
	struct db_value *line_values;
	struct strbuf *documents; /* one for each of those */
};

const struct db_table *sql_map_find(const struct db_schema *s, const struct sql_name *name)
{
	const struct db_table *t = db_schema_find(s, name->text), *found = NULL;
	if (t || (name->quoted && !strcmp(s->engine, "postgresql")))
		return t;
	for (size_t i = 0; i < s->n_tables; i++)
		if (!strcasecmp(s->tables[i].name, name->text)) {
			if (found)
				return NULL;
			found = &s->tables[i];
		}
	return found;
}

/* ---- shape ---- */

static size_t map_find_column(const struct db_table *t, const struct sql_name *name, bool exact)
{
	size_t found = MAP_NONE;
	for (size_t i = 0; i < t->n_columns; i++)
		if (!strcmp(t->columns[i].name, name->text))
			return i;
	for (size_t i = 0; i < t->n_columns && !exact; i++)
		if (!strcasecmp(t->columns[i].name, name->text)) {
			if (found != MAP_NONE)
				return MAP_NONE;
			found = i;
		}
	return found;
}

/* Column of the table that value i is for, MAP_NONE on error. */
static size_t map_column_of(struct sql_map *m, size_t i, size_t n_stored, struct err *e)
{
	const struct db_table *t = m->table;
	if (m->n_columns) {
		const struct sql_name *name = &m->columns[i];
		size_t column = map_find_column(t, name, name->quoted && m->postgres);
		if (column == MAP_NONE)
			(void)err_set(e, EBADMSG, "table %s has no column \"%.100s\"", t->name, name->text);
		return column;
	}
	if (m->n_values == t->n_columns)
		return i;
	for (size_t column = 0, k = 0; column < t->n_columns && m->n_values == n_stored; column++)
		if (!t->columns[column].generated && k++ == i)
			return column;
	(void)err_set(e, EBADMSG, "%zu values for table %s, which has %zu columns, %zu of them not generated",
		      m->n_values, t->name, t->n_columns, n_stored);
	return MAP_NONE;
}

static void map_make_codec(struct sql_map *m, const size_t *place)
{
	struct db_table plain = db_table_without_key(m->table);
	m->codec = row_codec_new(&plain);
	size_t n = row_codec_columns(m->codec);
	m->source = xcalloc(n + 1, sizeof *m->source);
	m->line_values = xcalloc(n + 1, sizeof *m->line_values);
	m->documents = xcalloc(n + 1, sizeof *m->documents);
	for (size_t i = 0, k = 0; i < m->table->n_columns; i++)
		if (!m->table->columns[i].generated)
			m->source[k++] = place[i];
}

static int map_columns(struct sql_map *m, struct err *e)
{
	const struct db_table *t = m->table;
	size_t n_stored = 0, given = 0;
	for (size_t i = 0; i < t->n_columns; i++)
		n_stored += !t->columns[i].generated;
	_cleanup_free_ size_t *place = xcalloc(t->n_columns + 1, sizeof *place);
	_cleanup_free_ bool *seen = xcalloc(t->n_columns + 1, sizeof *seen);
	if (m->n_columns && m->n_columns != m->n_values)
		return err_set(e, EBADMSG, "%zu values for the %zu columns of table %s that are named", m->n_values,
			       m->n_columns, t->name);
	for (size_t i = 0; i < m->n_values; i++) {
		size_t column = map_column_of(m, i, n_stored, e);
		if (column == MAP_NONE)
			return -EBADMSG;
		if (seen[column])
			return err_set(e, EBADMSG, "column %s of table %s is named twice", t->columns[column].name,
				       t->name);
		seen[column] = true;
		m->target[i] = MAP_NONE;
		if (t->columns[column].generated) {
			m->left_out++;
			continue;
		}
		given++;
		place[column] = m->target[i] = m->load.n_columns;
		m->load.columns[m->load.n_columns++] = t->columns[column];
	}
	/* A load without columns is one of all columns. */
	if (!given && n_stored)
		return err_set(e, EBADMSG, "no column of table %s is given but generated ones", t->name);
	if (given == n_stored)
		map_make_codec(m, place);
	return 0;
}

int sql_map_new(struct sql_map **ret, const struct db_table *t, const char *engine, const struct sql_item *item,
		struct err *e)
{
	_cleanup_(cleanup_sql_map) struct sql_map *m = xcalloc(1, sizeof *m);
	m->table = t;
	m->mysql = !strcmp(engine, "mysql") || !strcmp(engine, "mariadb");
	m->postgres = !strcmp(engine, "postgresql");
	m->n_values = item->n_values;
	m->n_columns = item->n_columns;
	m->columns = xcalloc(item->n_columns + 1, sizeof *m->columns);
	for (size_t i = 0; i < item->n_columns; i++)
		m->columns[i] = (struct sql_name){xstrdup(item->columns[i].text), item->columns[i].quoted};
	m->target = xcalloc(item->n_values + 1, sizeof *m->target);
	m->values = xcalloc(item->n_values + 1, sizeof *m->values);
	m->offset = xcalloc(item->n_values + 1, sizeof *m->offset);
	m->load = *t;
	m->load.key_kind = DB_KEY_NONE;
	m->load.key = NULL;
	m->load.unproven = true;
	m->load.n_key = m->load.n_columns = 0;
	m->load.columns = xcalloc(item->n_values + 1, sizeof *m->load.columns);
	int r = map_columns(m, e);
	if (r == 0)
		*ret = TAKE_PTR(m);
	return r;
}

void sql_map_free(struct sql_map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_columns; i++)
		free(m->columns[i].text);
	for (size_t i = 0; m->codec && i < row_codec_columns(m->codec); i++)
		strbuf_done(&m->documents[i]);
	row_codec_free(m->codec);
	strbuf_done(&m->text);
	free(m->columns);
	free(m->target);
	free(m->load.columns);
	free(m->values);
	free(m->offset);
	free(m->source);
	free(m->line_values);
	free(m->documents);
	free(m);
}

bool sql_map_fits(const struct sql_map *m, const struct sql_item *item)
{
	if (m->n_values != item->n_values || m->n_columns != item->n_columns)
		return false;
	for (size_t i = 0; i < m->n_columns; i++)
		if (m->columns[i].quoted != item->columns[i].quoted ||
		    strcmp(m->columns[i].text, item->columns[i].text))
			return false;
	return true;
}

const struct db_table *sql_map_table(const struct sql_map *m)
{
	return &m->load;
}

size_t sql_map_left_out(const struct sql_map *m)
{
	return m->left_out;
}

/* ---- values ---- */

static bool map_is(const struct sql_value *v, const char *word)
{
	return v->len == strlen(word) && !strncasecmp(v->data, word, v->len);
}

/* 1, 0: true, false; -1: neither. */
static int map_bool(const struct sql_value *v)
{
	if (v->kind == SQL_TRUE || v->kind == SQL_FALSE)
		return v->kind == SQL_TRUE;
	if (v->kind == SQL_HEX)
		return -1;
	if (map_is(v, "true") || map_is(v, "t") || map_is(v, "1"))
		return 1;
	return map_is(v, "false") || map_is(v, "f") || map_is(v, "0") ? 0 : -1;
}

static void map_own(struct sql_map *m, size_t column, const char *text, size_t len)
{
	m->offset[column] = m->text.len;
	strbuf_add(&m->text, text, len);
	m->values[column].len = len;
}

static int map_document(struct sql_map *m, size_t column, const struct sql_value *v, struct err *e)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	enum json_kind kind;
	if (v->kind == SQL_TRUE || v->kind == SQL_FALSE) {
		map_own(m, column, v->kind == SQL_TRUE ? "true" : "false", v->kind == SQL_TRUE ? 4 : 5);
		return 0;
	}
	if (v->kind == SQL_HEX)
		return err_set(e, EBADMSG, "bytes, where a document is expected");
	/* A valid one goes in as it is: where the server keeps its text, the text is the value. */
	if (json_text_compact(v->data, v->len, JSON_TEXT_DEPTH_MAX, &out, &kind, ERR_DROP) == 0)
		return 0;
	int r = python_json(v->data, v->len, &out, e);
	if (r == 0)
		map_own(m, column, strbuf_str(&out), out.len);
	return r;
}

/* '\x...' is how PostgreSQL prints bytes. */
static int map_bytes(struct sql_map *m, size_t column, const struct sql_value *v, struct err *e)
{
	if (v->kind == SQL_HEX || (v->kind == SQL_TEXT && !m->postgres))
		return 0;
	bool hex = v->kind == SQL_TEXT && v->len % 2 == 0 && v->len >= 2 && v->data[0] == '\\' && v->data[1] == 'x';
	_cleanup_strbuf_ struct strbuf out = {0};
	for (size_t i = 2; hex && i < v->len; i += 2) {
		int high = hex_value(v->data[i]), low = hex_value(v->data[i + 1]);
		hex = high >= 0 && low >= 0;
		if (hex)
			strbuf_addch(&out, (char)(high << 4 | low));
	}
	if (!hex)
		return err_set(e, EBADMSG, "a value that is not bytes (\\x and hexadecimal digits)");
	map_own(m, column, strbuf_str(&out), out.len);
	return 0;
}

static int map_kind(struct sql_map *m, size_t column, const struct sql_value *v, struct err *e)
{
	static const enum db_kind kinds[] = {[SQL_TEXT] = DB_KIND_TEXT,
					     [SQL_TRUE] = DB_KIND_INTEGER,
					     [SQL_FALSE] = DB_KIND_INTEGER,
					     [SQL_HEX] = DB_KIND_BLOB};
	m->values[column].kind = v->kind != SQL_NUMBER          ? kinds[v->kind]
				 : memchr(v->data, '.', v->len) ? DB_KIND_REAL
				 : memchr(v->data, 'e', v->len) ? DB_KIND_REAL
				 : memchr(v->data, 'E', v->len) ? DB_KIND_REAL
								: DB_KIND_INTEGER;
	if (v->kind == SQL_TRUE || v->kind == SQL_FALSE)
		map_own(m, column, v->kind == SQL_TRUE ? "1" : "0", 1);
	return m->load.columns[column].form == DB_FORM_JSON_TEXT && v->kind == SQL_TEXT ? map_document(m, column, v, e)
											: 0;
}

static int map_value(struct sql_map *m, size_t column, const struct sql_value *v, struct err *e)
{
	const struct db_column *c = &m->load.columns[column];
	m->values[column] = (struct db_value){.data = v->data, .len = v->len};
	m->offset[column] = MAP_NONE;
	if (v->kind == SQL_NULL)
		return 0;
	if (m->load.dynamic)
		return map_kind(m, column, v, e);
	int truth = map_bool(v);
	switch (c->form) {
	case DB_FORM_JSON:
	case DB_FORM_JSON_TEXT:
		return map_document(m, column, v, e);
	case DB_FORM_BINARY:
		return map_bytes(m, column, v, e);
	case DB_FORM_BOOL:
		if (truth < 0)
			return err_set(e, EBADMSG, "a value that is no boolean");
		map_own(m, column, truth ? "t" : "f", 1);
		return 0;
	case DB_FORM_NUMBER:
		if (v->kind == SQL_HEX)
			break;
		/* MySQL would round it, and say nothing. */
		if (c->integer && v->kind != SQL_TRUE && v->kind != SQL_FALSE && memchr(v->data, '.', v->len))
			return err_set(e, EBADMSG, "a value that is no whole number");
		if (truth >= 0 && (v->kind != SQL_TEXT || v->len > 1))
			map_own(m, column, truth ? "1" : "0", 1);
		return 0;
	case DB_FORM_TEXT:
		if (v->kind == SQL_TRUE || v->kind == SQL_FALSE || (v->kind == SQL_HEX && !m->mysql))
			break;
		return 0;
	}
	return err_set(e, EBADMSG, "a value of another kind than the column's (%s)", c->type);
}

int sql_map_row(struct sql_map *m, const struct sql_item *item, const struct db_value **ret, struct err *e)
{
	strbuf_clear(&m->text);
	for (size_t i = 0; i < m->n_values; i++) {
		if (m->target[i] == MAP_NONE)
			continue;
		int r = map_value(m, m->target[i], &item->values[i], e);
		if (r < 0)
			return err_prefix(e, "table %s, column %s", m->table->name, m->load.columns[m->target[i]].name);
	}
	for (size_t i = 0; i < m->load.n_columns; i++)
		if (m->offset[i] != MAP_NONE)
			m->values[i].data = strbuf_str(&m->text) + m->offset[i];
	*ret = m->values;
	return 0;
}

/* ---- the line ---- */

/* The document with each string written as servers write it. */
static bool map_requote(const char *text, size_t len, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf plain = {0};
	const char *end = text + len;
	for (const char *p = text; p < end;) {
		const char *quote = memchr(p, '"', (size_t)(end - p));
		strbuf_add(out, p, (size_t)((quote ? quote : end) - p));
		if (!quote)
			break;
		const char *close = json_text_skip_string(quote + 1, end);
		strbuf_clear(&plain);
		if (!close || !json_text_unquote(quote + 1, (size_t)(close - quote - 1), &plain))
			return false;
		json_text_quote(strbuf_str(&plain), plain.len, out);
		p = close + 1;
	}
	return true;
}

bool sql_map_line(struct sql_map *m, struct strbuf *line)
{
	strbuf_clear(line);
	for (size_t i = 0; m->codec && i < row_codec_columns(m->codec); i++) {
		struct db_value *v = &m->line_values[i];
		*v = m->values[m->source[i]];
		if (!v->data || m->load.columns[m->source[i]].form != DB_FORM_JSON)
			continue;
		strbuf_clear(&m->documents[i]);
		if (!map_requote(v->data, v->len, &m->documents[i]))
			return false;
		*v = (struct db_value){.data = strbuf_str(&m->documents[i]), .len = m->documents[i].len};
	}
	return m->codec && row_encode(m->codec, m->line_values, line, ERR_DROP) == 0;
}
