/*
 * drivers/sqlite/scan.c - rows out, with every number as text that gives it back.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

int sqlite_scan_open(struct db_conn *conn, const struct db_table *t, enum db_scan how, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = sqlite_check(c, e, t->name);
	if (r < 0)
		return r;
	if (!c->in_transaction || c->scan || c->load)
		return err_set(e, EINVAL, "%s: %s", t->name,
			       c->scan ? "another scan is open" : "no transaction, or a load is open");
	if (how == DB_SCAN_KEYS)
		return err_set(e, EOPNOTSUPP, "%s: keys are not read by themselves", t->name);
	strbuf_adds(&sql, "SELECT ");
	int n = 0;
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&sql, n++ ? ", " : "");
		sqlite_quote_column(&sql, t, i);
	}
	for (size_t i = 0; i < t->n_key; i++) {
		if (!t->columns[t->key[i]].generated)
			continue;
		strbuf_adds(&sql, n++ ? ", " : "");
		sqlite_quote_column(&sql, t, t->key[i]);
	}
	strbuf_adds(&sql, " FROM main.");
	sqlite_quote(&sql, t->name);
	for (size_t i = 0; how == DB_SCAN_ORDERED && i < t->n_key; i++) {
		strbuf_adds(&sql, i ? ", " : " ORDER BY ");
		sqlite_quote_column(&sql, t, t->key[i]);
		strbuf_adds(&sql, " COLLATE BINARY"); /* uses the index where that is the column's own collation */
	}
	r = sqlite_prepare(c, sqlite_reader(c), &c->scan, sql.data, e, t->name);
	if (r < 0)
		return r;
	c->scan_table = t->name;
	c->scan_columns = n;
	c->scan_values = xcalloc((size_t)n, sizeof *c->scan_values);
	c->scan_text = xcalloc((size_t)n, sizeof *c->scan_text);
	return 0;
}

/* The shortest of 15, 16, 17 digits that reads back as the same double, always with '.' or 'e'. 9e999 is how SQLite
 * itself writes infinity; NaN cannot be stored. */
static size_t sqlite_print_real(const struct sqlite_conn *c, double value, char text[SQLITE_NUMBER_TEXT])
{
	if (isinf(value))
		return (size_t)snprintf(text, SQLITE_NUMBER_TEXT, "%s9e999", value < 0 ? "-" : "");
	locale_t before = uselocale(c->c_locale);
	size_t n = 0;
	for (int digits = 15; digits <= 17; digits++) {
		n = (size_t)snprintf(text, SQLITE_NUMBER_TEXT, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	(void)uselocale(before);
	if (!strpbrk(text, ".e")) {
		memcpy(text + n, ".0", 3);
		n += 2;
	}
	return n;
}

int sqlite_scan_next(struct db_conn *conn, const struct db_value **ret, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check(c, e, c->scan_table ? c->scan_table : c->path);
	if (r < 0)
		return r;
	if (!c->scan)
		return err_set(e, EINVAL, "%s: no scan is open", c->path);
	r = sqlite_step(c, c->scan, e, c->scan_table);
	if (r <= 0)
		return r;
	for (int i = 0; i < c->scan_columns; i++) {
		struct db_value *v = &c->scan_values[i];
		const char *data = NULL;
		switch (sqlite3_column_type(c->scan, i)) {
		case SQLITE_INTEGER:
			v->len = (size_t)snprintf(c->scan_text[i], SQLITE_NUMBER_TEXT, "%" PRId64,
						  (int64_t)sqlite3_column_int64(c->scan, i));
			v->data = c->scan_text[i];
			v->kind = DB_KIND_INTEGER;
			continue;
		case SQLITE_FLOAT:
			v->len = sqlite_print_real(c, sqlite3_column_double(c->scan, i), c->scan_text[i]);
			v->data = c->scan_text[i];
			v->kind = DB_KIND_REAL;
			continue;
		case SQLITE_TEXT:
			/* The bytes as they are, also NUL and what is not UTF-8. */
			data = (const char *)sqlite3_column_text(c->scan, i);
			v->kind = DB_KIND_TEXT;
			break;
		case SQLITE_BLOB:
			data = sqlite3_column_blob(c->scan, i);
			v->kind = DB_KIND_BLOB;
			break;
		default:
			*v = (struct db_value){0};
			continue;
		}
		v->len = (size_t)sqlite3_column_bytes(c->scan, i);
		/* NULL for an empty BLOB, but also when memory ran out: that must not become ''. */
		if (!data && (v->len || sqlite3_errcode(sqlite_reader(c)) == SQLITE_NOMEM))
			return err_set(e, EIO, "%s: out of memory", c->scan_table);
		v->data = data ? data : "";
	}
	*ret = c->scan_values;
	return 1;
}

int sqlite_scan_close(struct db_conn *conn, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	(void)e; /* what the scan met, scan_next has told */
	sqlite_finalize(&c->scan);
	free(c->scan_values);
	free(c->scan_text);
	c->scan_values = NULL;
	c->scan_text = NULL;
	c->scan_table = NULL;
	return 0;
}
