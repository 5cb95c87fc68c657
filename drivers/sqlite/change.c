/*
 * drivers/sqlite/change.c - rows in and out of tables: foreign keys, deleting by key, loading, sequences.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>

static void sqlite_add_names(char ***list, const struct db_schema *s)
{
	size_t n = 0;
	while (*list && (*list)[n])
		n++;
	*list = xrealloc(*list, (n + s->n_tables + 1) * sizeof **list);
	for (size_t i = 0; i < s->n_tables; i++)
		(*list)[n++] = xstrdup(s->tables[i].name);
	(*list)[n] = NULL;
}

void sqlite_remember_checked(struct sqlite_conn *c, const struct db_schema *s)
{
	sqlite_add_names(&c->checked, s);
	sqlite_add_names(&c->changed, s);
}

/* Whether a table or one of the tables that it refers to is among those that are changed. */
static int sqlite_concerned(struct sqlite_conn *c, const char *table, bool *ret, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	*ret = false;
	int r = sqlite_prepare(c, c->db, &stmt,
			       "SELECT ?1 UNION SELECT \"table\" FROM pragma_foreign_key_list(?1, 'main')", e, table);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, table)) > 0)
		for (size_t i = 0; c->checked && c->checked[i]; i++)
			*ret |= !strcasecmp(sqlite_text(stmt, 0), c->checked[i]);
	return r;
}

static int sqlite_check_table_keys(struct sqlite_conn *c, const char *table, struct strbuf *orphans, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	bool concerned = false;
	int r = sqlite_concerned(c, table, &concerned, e);
	if (r < 0 || !concerned)
		return r;
	r = sqlite_prepare(c, c->db, &stmt,
			   "SELECT parent, count(*), min(\"rowid\") FROM pragma_foreign_key_check(?1, 'main')"
			   " GROUP BY fkid, parent ORDER BY fkid DESC",
			   e, table);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, table)) > 0) {
		_cleanup_free_ char *where = xasprintf(" (the first has rowid %s)", sqlite_text(stmt, 2));
		bool one = sqlite3_column_int64(stmt, 1) == 1;
		_cleanup_free_ char *words =
		    xasprintf("%s: %s %s that %s does not have", table, sqlite_text(stmt, 1),
			      one ? "row refers to a row" : "rows refer to rows", sqlite_text(stmt, 0));
		if (!orphans)
			return err_set(e, EEXIST, "%s%s", words,
				       sqlite3_column_type(stmt, 2) == SQLITE_NULL ? "" : where);
		strbuf_addf(orphans, "%s, as in the snapshot\n", words);
	}
	/* A key over parent columns without a unique index cannot be enforced by SQLite, so nothing is lost unchecked.
	 */
	if (r < 0 && sqlite3_errcode(c->db) == SQLITE_ERROR && strstr(sqlite3_errmsg(c->db), "foreign key mismatch"))
		return 0;
	return r;
}

int sqlite_check_foreign_keys(struct sqlite_conn *c, struct strbuf *orphans, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(
	    c, c->db, &stmt,
	    "SELECT s.name FROM sqlite_schema s WHERE s.type = 'table' AND s.sql NOT LIKE 'CREATE VIRTUAL%'"
	    " AND EXISTS (SELECT 1 FROM pragma_foreign_key_list(s.name, 'main')) ORDER BY s.name",
	    e, c->path);
	if (r < 0)
		return r;
	while ((r = sqlite_step(c, stmt, e, c->path)) > 0) {
		_cleanup_free_ char *table = xstrdup(sqlite_text(stmt, 0));
		r = sqlite_check_table_keys(c, table, orphans, e);
		if (r < 0)
			return r;
	}
	sqlite_free_list(&c->checked);
	return r;
}

int sqlite_change_begin(struct db_conn *conn, const struct db_schema *s, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check_writing(c, e, "changing rows");
	if (r >= 0)
		sqlite_remember_checked(c, s); /* triggers and foreign keys are off since sqlite_set_up */
	return r;
}

int sqlite_change_end(struct db_conn *conn, struct strbuf *orphans, struct strbuf *outside, struct err *e)
{
	(void)outside;
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check_writing(c, e, "changing rows");
	if (r >= 0)
		r = sqlite_tell_unheld(c, orphans, e);
	c->partial = !orphans;
	return r < 0 ? r : sqlite_check_foreign_keys(c, orphans, e);
}

static int sqlite_bind_number(const struct sqlite_conn *c, sqlite3_stmt *stmt, int i, const struct db_value *v,
			      bool real, struct err *e, const char *table)
{
	char text[400];
	char *end = NULL;
	if (!v->len || v->len >= sizeof text)
		return err_set(e, EINVAL, "%s: a number of %zu bytes", table, v->len);
	memcpy(text, v->data, v->len);
	text[v->len] = '\0';
	errno = 0;
	if (real) {
		double value = strtod_l(text, &end, c->c_locale);
		if (end != text + v->len || isnan(value))
			return err_set(e, EINVAL, "%s: \"%s\" is not a real number", table, text);
		(void)sqlite3_bind_double(stmt, i, value);
	} else {
		long long value = strtoll(text, &end, 10);
		if (end != text + v->len || errno)
			return err_set(e, EINVAL, "%s: \"%s\" is not an integer of 64 bits", table, text);
		(void)sqlite3_bind_int64(stmt, i, value);
	}
	return 0;
}

/* Values without a kind come from a backup that another engine or an editor wrote: the column says what they are, and
 * SQLite's affinity does the rest, as for the program's own inserts. */
static enum db_kind sqlite_kind(const struct db_column *column, const struct db_value *v)
{
	if (v->kind != DB_KIND_COLUMN)
		return v->kind;
	return column->form == DB_FORM_BINARY ? DB_KIND_BLOB : DB_KIND_TEXT;
}

/* The bytes are the caller's until the statement has been stepped and cleared. */
static int sqlite_bind(const struct sqlite_conn *c, sqlite3_stmt *stmt, int i, const struct db_column *column,
		       const struct db_value *v, struct err *e, const char *table)
{
	int rc = SQLITE_OK;
	if (!v->data) {
		rc = sqlite3_bind_null(stmt, i);
	} else {
		switch (sqlite_kind(column, v)) {
		case DB_KIND_INTEGER:
		case DB_KIND_REAL:
			return sqlite_bind_number(c, stmt, i, v, v->kind == DB_KIND_REAL, e, table);
		case DB_KIND_BLOB:
			rc = sqlite3_bind_blob64(stmt, i, v->data, v->len, SQLITE_STATIC);
			break;
		case DB_KIND_TEXT:
		case DB_KIND_COLUMN:
			rc = sqlite3_bind_text64(stmt, i, v->data, v->len, SQLITE_STATIC, SQLITE_UTF8);
			break;
		}
	}
	return rc == SQLITE_OK ? 0 : sqlite_err(c, c->db, e, table);
}

static int sqlite_prepare_delete(struct sqlite_conn *c, const struct db_table *t, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	strbuf_adds(&sql, "DELETE FROM main.");
	sqlite_quote(&sql, t->name);
	for (size_t i = 0; i < t->n_key; i++) {
		strbuf_adds(&sql, i ? " AND " : " WHERE ");
		sqlite_quote_column(&sql, t, t->key[i]);
		/* Bytewise also where the column compares otherwise; IS finds NULLs, which only non-unique keys have.
		 */
		strbuf_adds(&sql, t->key_kind == DB_KEY_UNIQUE ? " = ? COLLATE BINARY" : " IS ? COLLATE BINARY");
	}
	/* One statement for many batches. Compared by text, as another table may have come to stand at t's address. */
	if (c->delete &&!strcmp(sqlite3_sql(c->delete), sql.data))
		return 0;
	sqlite_finalize(&c->delete);
	return sqlite_prepare(c, c->db, &c->delete, sql.data, e, t->name);
}

int sqlite_delete_keys(struct db_conn *conn, const struct db_table *t, const struct db_value *keys, size_t n_rows,
		       struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	int r = sqlite_check_writing(c, e, t->name);
	if (r < 0)
		return r;
	if (!t->n_key)
		return err_set(e, EINVAL, "%s has no key to delete rows by", t->name);
	r = sqlite_prepare_delete(c, t, e);
	for (size_t row = 0; r >= 0 && row < n_rows; row++) {
		for (size_t i = 0; r >= 0 && i < t->n_key; i++)
			r = sqlite_bind(c, c->delete, (int)i + 1, &t->columns[t->key[i]], &keys[row * t->n_key + i], e,
					t->name);
		if (r >= 0)
			r = sqlite_step_write(c, c->delete, e, t->name);
		/* The transaction has the lock: a row that was scanned is there, or its key did not come back as it
		 * was. */
		if (r >= 0 && t->key_kind == DB_KEY_UNIQUE && sqlite3_changes(c->db) != 1)
			r = err_set(e, EIO, "%s: deleting one row by its key deleted %d", t->name,
				    sqlite3_changes(c->db));
	}
	return r;
}

int sqlite_delete_all(struct db_conn *conn, const struct db_table *t, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = sqlite_check_writing(c, e, t->name);
	if (r < 0)
		return r;
	strbuf_adds(&sql, "DELETE FROM main.");
	sqlite_quote(&sql, t->name);
	return sqlite_run(c, c->db, sql.data, e, t->name);
}

int sqlite_load_begin(struct db_conn *conn, const struct db_table *t, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int n = 0;
	int r = sqlite_check_writing(c, e, t->name);
	if (r < 0)
		return r;
	if (c->load || c->scan)
		return err_set(e, EINVAL, "%s: another load or scan is open", t->name);
	/* OR ABORT: a table's own ON CONFLICT IGNORE or REPLACE would lose a row without a word. */
	strbuf_adds(&sql, "INSERT OR ABORT INTO main.");
	sqlite_quote(&sql, t->name);
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&sql, n++ ? ", " : " (");
		sqlite_quote(&sql, t->columns[i].name);
	}
	strbuf_adds(&sql, ") VALUES (");
	for (int i = 0; i < n; i++)
		strbuf_adds(&sql, i ? ", ?" : "?");
	strbuf_addch(&sql, ')');
	r = sqlite_prepare(c, c->db, &c->load, sql.data, e, t->name);
	c->load_table = t;
	return r;
}

static void sqlite_unheld_end(struct sqlite_conn *c)
{
	if (c->unheld_words)
		strbuf_addf(&c->unheld, "%s: %lu %s: %s", c->unheld_table, c->unheld_rows,
			    c->unheld_rows == 1 ? "row is not as it must be" : "rows are not as they must be",
			    c->unheld_words);
	free(TAKE_PTR(c->unheld_words));
	c->unheld_rows = 0;
}

int sqlite_tell_unheld(struct sqlite_conn *c, struct strbuf *orphans, struct err *e)
{
	sqlite_unheld_end(c);
	if (c->unheld.len && !orphans)
		return err_set(e, EEXIST, "%.*s", (int)strcspn(c->unheld.data, "\n"), c->unheld.data);
	if (c->unheld.len)
		strbuf_add(orphans, c->unheld.data, c->unheld.len);
	strbuf_clear(&c->unheld);
	return 0;
}

/* A row that was there against a CHECK constraint goes back as it was; who ends the changes decides about it. */
static int sqlite_load_unheld(struct sqlite_conn *c, const struct db_table *t, struct err *e)
{
	if (!c->unheld_words)
		c->unheld_words = xasprintf("%s, as in the snapshot\n", sqlite3_errmsg(c->db));
	c->unheld_table = t->name;
	c->unheld_rows++;
	(void)sqlite3_reset(c->load); /* its values stay */
	(void)sqlite3_exec(c->db, "PRAGMA ignore_check_constraints=ON", NULL, NULL, NULL);
	int r = sqlite_step(c, c->load, e, t->name);
	(void)sqlite3_exec(c->db, "PRAGMA ignore_check_constraints=OFF", NULL, NULL, NULL);
	return r;
}

int sqlite_load_row(struct db_conn *conn, const struct db_value *values, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	const struct db_table *t = c->load_table;
	if (!c->load)
		return err_set(e, EINVAL, "%s: no load is open", c->path);
	int r = sqlite_check_writing(c, e, t->name);
	int n = 0;
	for (size_t i = 0; r >= 0 && i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		r = sqlite_bind(c, c->load, n + 1, &t->columns[i], &values[n], e, t->name);
		n++;
	}
	if (r < 0)
		return r;
	struct err why = ERR_INIT;
	r = sqlite_step(c, c->load, &why, t->name);
	if (r < 0 && sqlite3_extended_errcode(c->db) == SQLITE_CONSTRAINT_CHECK)
		r = sqlite_load_unheld(c, t, &why);
	(void)sqlite3_reset(c->load);
	(void)sqlite3_clear_bindings(c->load);
	if (r < 0)
		*e = why;
	return r;
}

int sqlite_load_end(struct db_conn *conn, bool ok, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	(void)ok; /* each row is in the transaction as soon as load_row returns */
	sqlite_finalize(&c->load);
	sqlite_unheld_end(c);
	c->load_table = NULL;
	return sqlite_check_writing(c, e, "loading rows");
}

static int sqlite_set_sequence(struct sqlite_conn *c, const struct db_table *t, struct err *e)
{
	/* In this order a row that is there keeps its place. */
	static const char *const statements[] = {
	    "DELETE FROM sqlite_sequence WHERE name = ?1 AND ?2 IS NULL",
	    "UPDATE sqlite_sequence SET seq = ?2 WHERE name = ?1",
	    ("INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2 WHERE ?2 IS NOT NULL"
	     " AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)"),
	};
	int r = 0;
	for (size_t i = 0; r >= 0 && i < sizeof statements / sizeof statements[0]; i++) {
		_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
		r = sqlite_prepare(c, c->db, &stmt, statements[i], e, t->name);
		if (r < 0)
			return r;
		(void)sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
		if (t->auto_increment)
			(void)sqlite3_bind_int64(stmt, 2, (sqlite3_int64)(t->auto_increment - 1));
		r = sqlite_step_write(c, stmt, e, t->name);
	}
	return r;
}

int sqlite_set_sequences(struct db_conn *conn, const struct db_schema *s, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	bool any = false;
	int r = sqlite_check_writing(c, e, "sqlite_sequence");
	if (r >= 0)
		r = sqlite_has_sequences(c, &any, e);
	for (size_t i = 0; r >= 0 && any && i < s->n_tables; i++)
		if (s->tables[i].has_auto_increment)
			r = sqlite_set_sequence(c, &s->tables[i], e);
	return r;
}
