/*
 * drivers/mysql/load.c - rows in and out of tables: bulk insert, delete by key, foreign keys, AUTO_INCREMENT.
 *
 * The session is strict while rows are written, but takes what a table can hold: zero and invalid dates, id 0. A
 * statement that gives a warning is an error all the same, for a warning here means that a value was changed. The one
 * exception, ENUM's error value (index 0, text ''), is counted: as many warnings as such values, no more.
 * While a schema is being rebuilt these functions work for the builder (rebuild.c), and batches of rows go to the
 * loaders' connections (pool.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

/* The parsed items of longer ones leave the processor's caches: 1 MiB takes MySQL 9.7 a fifth more of its time. */
#define MY_STATEMENT_BYTES ((size_t)64 << 10)
/* One transaction, or one file, of a loader. */
#define MY_BATCH_BYTES ((size_t)1 << 20)
/* The protocol counts warnings in 16 bits. */
#define MY_BATCH_WARNINGS 50000
#define MY_DELETE_ROWS 500
#define MY_HEX_BYTES 64 /* longer values as _binary'...': half the bytes */

void my_load_done(struct my_load *l)
{
	free(l->columns);
	strbuf_done(&l->insert);
	strbuf_done(&l->infile);
	my_batch_done(&l->batch);
	*l = (struct my_load){0};
}

int my_set_writing(struct my_conn *c, struct err *e)
{
	return my_exec(c, e, "SET SESSION sql_mode='" MY_WRITE_MODE "', foreign_key_checks=0, unique_checks=1");
}

/* ---- insert ---- */

static void my_add_value(struct my_load *l, size_t i, const struct db_value *v)
{
	const struct db_column *col = &l->table->columns[l->sources[i]];
	const struct my_column *mine = &l->details->columns[l->columns[i]];
	struct strbuf *sql = &l->batch.sql;

	if (!v->data) {
		strbuf_adds(sql, "NULL");
	} else if (col->form == DB_FORM_BINARY && (mine->is_bit || v->len <= MY_HEX_BYTES)) {
		my_sql_hex(sql, v->data, v->len);
	} else {
		if (col->form == DB_FORM_BINARY)
			strbuf_adds(sql, "_binary");
		/* Numbers, too: a string becomes a DOUBLE with all its digits and its sign (-0), a DECIMAL exactly. */
		my_sql_quote(sql, v->data, v->len);
	}
}

/* A field of a file with the escapes that my_load_begin() names. Bytes as hexadecimal digits, see there. */
static void my_add_field(struct my_load *l, size_t i, const struct db_value *v)
{
	struct strbuf *out = &l->batch.file;

	if (!v->data) {
		strbuf_adds(out, "\\N");
		return;
	}
	if (l->table->columns[l->sources[i]].form == DB_FORM_BINARY) {
		my_hex(out, v->data, v->len);
		return;
	}
	strbuf_reserve(out, 2 * v->len + 1);
	char *to = out->data + out->len;
	for (const char *p = v->data, *end = v->data + v->len; p < end; p++) {
		char c = *p, letter = c == '\\' ? '\\' : c == '\t' ? 't' : c == '\n' ? 'n' : c == '\0' ? '0' : 0;

		if (letter)
			*to++ = '\\';
		*to++ = letter ? letter : c;
	}
	*to = '\0';
	out->len = (size_t)(to - out->data);
}

static int my_check_warnings(struct my_conn *c, size_t expected, const char *table, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	unsigned n = mysql_warning_count(c->my);

	if (n == expected)
		return 0;
	int r = my_select(c, &res, e, "SHOW WARNINGS LIMIT 1");
	if (r < 0)
		return r;
	MYSQL_ROW row = mysql_fetch_row(res);
	return err_set(e, EIO, "table %s: the server would change a value: %s (%s)", table,
		       row && row[2] ? row[2] : "unknown", row && row[1] ? row[1] : "");
}

static int my_insert_run(struct my_conn *c, const struct my_insert *s, const char *sql, size_t len, const char *table,
			 struct err *e)
{
	int r = 0;

	if (len + 1024 > c->max_packet)
		return err_set(e, EIO,
			       "table %s: a row needs a statement of %zu bytes, and the server's max_allowed_packet is "
			       "%zu: raise it",
			       table, len, c->max_packet);
	if (s->n_lax > 0)
		r = my_exec(c, e, "SET SESSION sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'");
	if (r == 0 && (r = my_exec_len(c, e, sql, len)) < 0)
		err_prefix(e, "table %s", table);
	uint64_t n = r == 0 ? mysql_affected_rows(c->my) : 0;
	/* LOCAL makes every error of a row a warning, a row left out included. */
	if (r == 0)
		r = my_check_warnings(c, s->n_lax, table, e);
	if (r == 0 && n != s->n_rows)
		r = err_set(e, EIO, "table %s: of %zu rows the server took %llu", table, s->n_rows,
			    (unsigned long long)n);
	if (r == 0 && s->n_lax > 0)
		r = my_exec(c, e, "SET SESSION sql_mode='" MY_WRITE_MODE "'");
	return r;
}

int my_batch_run(struct my_conn *c, const struct my_batch *b, const char *table, struct err *e)
{
	size_t start = 0;
	int r = 0;

	c->offer = b->file.len ? &b->file : NULL;
	for (size_t i = 0; r == 0 && i < b->n_inserts; i++) {
		r = my_insert_run(c, &b->inserts[i], b->sql.data + start, b->inserts[i].end - start, table, e);
		start = b->inserts[i].end;
	}
	c->offer = NULL;
	return r;
}

static int my_flush(struct my_conn *c, struct err *e)
{
	struct my_load *l = &c->load;
	struct my_batch *b = &l->batch;
	int r;

	if (b->n_inserts == 0)
		return 0;
	if (b->file.len)
		strbuf_add(&b->sql, l->infile.data, l->infile.len);
	b->inserts[b->n_inserts - 1].end = b->sql.len;
	r = c->pool ? my_pool_rows(c->pool, l->table->name, b, e) : my_batch_run(c, b, l->table->name, e);
	b->n_inserts = 0;
	strbuf_clear(&b->sql);
	return r;
}

/*
 * LOAD DATA takes the server a quarter less work than INSERT. The text is utf8mb4 whatever the column (JSON refuses
 * binary: 3144); bytes go as hexadecimal digits through a variable, because no character set fits both.
 */
static void my_make_infile(struct my_conn *c, struct my_load *l)
{
	_cleanup_strbuf_ struct strbuf set = {0};

	my_sql(&l->infile,
	       "LOAD DATA LOCAL INFILE '" MY_INFILE "' INTO TABLE %i.%i CHARACTER SET utf8mb4 "
	       "FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' (",
	       c->database, l->table->name);
	for (size_t i = 0; i < l->n_columns; i++) {
		const struct db_column *col = &l->table->columns[l->sources[i]];

		strbuf_adds(&l->infile, i ? "," : "");
		if (col->form == DB_FORM_BINARY) {
			my_sql(&l->infile, "@b%z", i);
			my_sql(&set, "%s%i=UNHEX(@b%z)", set.len ? "," : " SET ", col->name, i);
		} else {
			my_sql(&l->infile, "%i", col->name);
		}
	}
	strbuf_addch(&l->infile, ')');
	/* With a SET, MariaDB 10.11 forgets that the file gave an id: a 0 becomes the next one. */
	if (set.len && l->table->has_auto_increment)
		strbuf_clear(&l->infile);
	else
		strbuf_add(&l->infile, strbuf_str(&set), set.len);
}

int my_load_begin(struct db_conn *dc, const struct db_table *t, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	struct my_load *l = &c->load;
	struct my_table *mt = my_catalog_find(&c->catalog, t->name);

	if (c->mode == MY_MODE_NONE || l->table || c->scan.table)
		return err_set(e, EINVAL, "a load needs a restore, and nothing else under way");
	if (!mt)
		return err_set(e, ENOENT, "table %s is not in the database", t->name);
	my_load_done(l);
	l->columns = xcalloc(t->n_columns + 1, 2 * sizeof *l->columns);
	l->sources = l->columns + t->n_columns + 1;
	my_sql(&l->insert, "INSERT INTO %i.%i (", c->database, t->name);
	for (size_t i = 0; i < t->n_columns; i++) {
		const struct my_column *mine;

		if (t->columns[i].generated)
			continue;
		mine = my_table_column(mt, t->columns[i].name, &l->columns[l->n_columns]);
		if (!mine || mine->generated) {
			my_load_done(l);
			return err_set(e, EINVAL, "table %s: column %s is %s in the database", t->name,
				       t->columns[i].name, mine ? "generated" : "not");
		}
		my_sql(&l->insert, "%s%i", l->n_columns ? "," : "", t->columns[i].name);
		l->sources[l->n_columns++] = i;
	}
	strbuf_adds(&l->insert, ") VALUES ");
	l->details = mt;
	l->table = t;
	if (c->pool && c->infile && l->n_columns > 0)
		my_make_infile(c, l);
	return 0;
}

/* The statement that takes the next row of so many bytes. */
static int my_next_insert(struct my_conn *c, bool infile, size_t bytes, struct my_insert **ret, struct err *e)
{
	struct my_load *l = &c->load;
	struct my_batch *b = &l->batch;
	struct my_insert *last = b->n_inserts ? &b->inserts[b->n_inserts - 1] : NULL;
	size_t whole = c->pool ? MY_BATCH_BYTES : MY_STATEMENT_BYTES, limit = infile ? whole : MY_STATEMENT_BYTES;
	size_t start = b->n_inserts > 1 ? b->inserts[b->n_inserts - 2].end : 0;

	if (last && (b->sql.len + b->file.len + bytes > whole || infile != (b->file.len > 0))) {
		int r = my_flush(c, e);
		if (r < 0)
			return r;
		last = NULL;
	}
	if (last && (b->sql.len - start + b->file.len + bytes > limit || last->n_lax > MY_BATCH_WARNINGS)) {
		last->end = b->sql.len;
		last = NULL;
	}
	if (!last) {
		if (b->n_inserts % 16 == 0)
			b->inserts = xrealloc(b->inserts, (b->n_inserts + 16) * sizeof *b->inserts);
		last = &b->inserts[b->n_inserts++];
		*last = (struct my_insert){0};
		if (!infile)
			strbuf_add(&b->sql, l->insert.data, l->insert.len);
	}
	*ret = last;
	return 0;
}

int my_load_row(struct db_conn *dc, const struct db_value *values, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	struct my_load *l = &c->load;
	struct my_batch *b = &l->batch;
	struct my_insert *s = NULL;
	size_t bytes = 64, n_lax = 0;

	if (!l->table)
		return err_set(e, EINVAL, "no load is open");
	for (size_t i = 0; i < l->n_columns; i++) {
		const struct my_column *mine = &l->details->columns[l->columns[i]];

		bytes += values[i].len + 8;
		n_lax += values[i].data && values[i].len == 0 && mine->is_enum && !mine->empty_member;
	}
	/* How long a value may be in a file depends on more than the statement's length; and from a file the two kinds
	 * of server warn of ENUM's error value in their own ways. */
	bool infile = l->infile.len && bytes < MY_BATCH_BYTES && n_lax == 0;
	int r = my_next_insert(c, infile, bytes, &s, e);
	if (r < 0)
		return r;
	if (infile) {
		for (size_t i = 0; i < l->n_columns; i++) {
			if (i)
				strbuf_addch(&b->file, '\t');
			my_add_field(l, i, &values[i]);
		}
		strbuf_addch(&b->file, '\n');
	} else {
		strbuf_adds(&b->sql, s->n_rows ? ",(" : "(");
		for (size_t i = 0; i < l->n_columns; i++) {
			if (i)
				strbuf_addch(&b->sql, ',');
			my_add_value(l, i, &values[i]);
		}
		strbuf_addch(&b->sql, ')');
	}
	s->n_rows++;
	s->n_lax += n_lax;
	return 0;
}

int my_load_end(struct db_conn *dc, bool ok, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	int r = 0;

	if (!c->load.table)
		return err_set(e, EINVAL, "no load is open");
	if (ok)
		r = my_flush(c, e);
	if (ok && r == 0 && c->pool)
		r = my_pool_table_end(c->pool, c->load.table->name, e);
	my_load_done(&c->load);
	return r;
}

/* ---- delete ---- */

static int my_delete_some(struct my_conn *c, const struct db_table *t, struct my_column *const *key,
			  const struct db_value *keys, size_t n, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	my_sql(&sql, "DELETE FROM %i.%i WHERE (", c->database, t->name);
	for (size_t k = 0; k < t->n_key; k++)
		my_sql(&sql, "%s%i", k ? "," : "", t->columns[t->key[k]].name);
	strbuf_adds(&sql, ") IN (");
	for (size_t i = 0; i < n; i++) {
		strbuf_adds(&sql, i ? ",(" : "(");
		for (size_t k = 0; k < t->n_key; k++) {
			if (k)
				strbuf_addch(&sql, ',');
			my_sql_key(&sql, &t->columns[t->key[k]], key[k], &keys[i * t->n_key + k]);
		}
		strbuf_addch(&sql, ')');
	}
	strbuf_addch(&sql, ')');
	int r = my_exec_len(c, e, sql.data, sql.len);
	if (r < 0)
		return err_prefix(e, "table %s", t->name);
	if (mysql_affected_rows(c->my) != n)
		return err_set(e, EIO, "table %s: %zu rows were to be deleted, the server found %llu", t->name, n,
			       (unsigned long long)mysql_affected_rows(c->my));
	return 0;
}

int my_delete_keys(struct db_conn *dc, const struct db_table *t, const struct db_value *keys, size_t n_rows,
		   struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	struct my_table *mt = my_catalog_find(&c->catalog, t->name);
	_cleanup_free_ struct my_column **key = NULL;

	if (c->mode == MY_MODE_NONE || c->scan.table || c->load.table)
		return err_set(e, EINVAL, "rows are deleted in a restore, between scans and loads");
	if (!mt || t->key_kind != DB_KEY_UNIQUE)
		return err_set(e, EINVAL, "table %s has no unique key to delete by", t->name);
	key = xcalloc(t->n_key + 1, sizeof *key);
	for (size_t k = 0; k < t->n_key; k++)
		if (!(key[k] = my_table_column(mt, t->columns[t->key[k]].name, NULL)))
			return err_set(e, EINVAL, "table %s has no column %s", t->name, t->columns[t->key[k]].name);
	for (size_t i = 0; i < n_rows * t->n_key; i++)
		if (!keys[i].data)
			return err_set(e, EINVAL, "table %s: a key is NULL", t->name);
	for (size_t done = 0; done < n_rows;) {
		size_t n = n_rows - done < MY_DELETE_ROWS ? n_rows - done : MY_DELETE_ROWS;
		int r = my_delete_some(c, t, key, keys + done * t->n_key, n, e);

		if (r < 0)
			return r;
		done += n;
	}
	return 0;
}

int my_delete_all(struct db_conn *dc, const struct db_table *t, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));

	if (c->mode == MY_MODE_NONE || c->scan.table || c->load.table)
		return err_set(e, EINVAL, "rows are deleted in a restore, between scans and loads");
	/* Not TRUNCATE, which commits. */
	int r = my_exec(c, e, "DELETE FROM %i.%i", c->database, t->name);
	return r < 0 ? err_prefix(e, "table %s", t->name) : 0;
}

/* ---- foreign keys ---- */

struct my_foreign {
	_Bool open;
	char *name, *child_schema, *child, *parent_schema, *parent;
	struct strbuf on, not_null;
	char *parent_column;
};

static void my_foreign_done(struct my_foreign *f)
{
	free(f->name);
	free(f->child_schema);
	free(f->child);
	free(f->parent_schema);
	free(f->parent);
	free(f->parent_column);
	strbuf_done(&f->on);
	strbuf_done(&f->not_null);
	*f = (struct my_foreign){0};
}

/* Switching the checks on again looks at nothing that is there: every foreign key is joined against its parent.
 * A locking read, because a plain one would use an older view where other sessions' parents are concerned. */
static int my_check_foreign(struct my_conn *c, const struct my_foreign *f, struct err *e)
{
	_cleanup_free_ char *found = NULL;

	if (!f->open)
		return 0;
	int r = my_select_one(
	    c, &found, e,
	    "SELECT 1 FROM %i.%i c LEFT JOIN %i.%i p ON %s WHERE %s AND p.%i IS NULL LIMIT 1 LOCK IN SHARE MODE",
	    f->child_schema, f->child, f->parent_schema, f->parent, strbuf_str(&f->on), strbuf_str(&f->not_null),
	    f->parent_column);
	if (r < 0)
		return err_prefix(e, "foreign key %s of table %s", f->name, f->child);
	if (found)
		return err_set(e, EEXIST, "foreign key %s: table %s has rows without their row in %s", f->name,
			       f->child, f->parent);
	return 0;
}

/* An orphan goes to *orphans when there is one to take it. */
static int my_check_foreign_into(struct my_conn *c, const struct my_foreign *f, struct strbuf *orphans, struct err *e)
{
	struct err why = ERR_INIT;
	int r = my_check_foreign(c, f, &why);

	if (r == -EEXIST && orphans) {
		strbuf_addf(orphans, "%s (as in the snapshot)\n", why.msg);
		return 0;
	}
	if (r < 0 && e)
		*e = why;
	return r;
}

int my_check_orphans(struct my_conn *c, struct strbuf *orphans, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct my_foreign f = {0};
	int r = my_select(c, &res, e,
			  "SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, "
			  "REFERENCED_TABLE_NAME, "
			  "REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME "
			  "IS NOT NULL AND "
			  "(TABLE_SCHEMA=%q OR REFERENCED_TABLE_SCHEMA=%q) "
			  "ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
			  c->database, c->database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; r == 0 && (row = mysql_fetch_row(res));) {
		if (!f.open || strcmp(f.name, row[0]) != 0 || strcmp(f.child_schema, row[1]) != 0 ||
		    strcmp(f.child, row[2]) != 0) {
			r = my_check_foreign_into(c, &f, orphans, e);
			my_foreign_done(&f);
			f = (struct my_foreign){.open = true,
						.name = xstrdup(row[0]),
						.child_schema = xstrdup(row[1]),
						.child = xstrdup(row[2]),
						.parent_schema = xstrdup(row[4]),
						.parent = xstrdup(row[5]),
						.parent_column = xstrdup(row[6])};
		}
		my_sql(&f.on, "%sp.%i=c.%i", f.on.len ? " AND " : "", row[6], row[3]);
		my_sql(&f.not_null, "%sc.%i IS NOT NULL", f.not_null.len ? " AND " : "", row[3]);
	}
	if (r == 0)
		r = my_check_foreign_into(c, &f, orphans, e);
	my_foreign_done(&f);
	return r;
}

/* ---- change mode ---- */

int my_change_check(struct db_conn *dc, const struct db_schema *s, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	_cleanup_result_ MYSQL_RES *res = NULL;

	/* A session cannot switch triggers off, and dropping them would commit. Rebuilding makes them last. */
	int r = my_select(
	    c, &res, e,
	    "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA=%q",
	    c->database);
	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));)
		if (db_schema_find(s, row[1]))
			return err_set(e, ENOTSUP,
				       "table %s has trigger %s, which would act on restored rows; the schema must be "
				       "rebuilt, or the trigger dropped",
				       row[1], row[0]);
	return 0;
}

int my_change_begin(struct db_conn *dc, const struct db_schema *s, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);

	if (!c->in_transaction || c->access != DB_WRITE || c->mode != MY_MODE_NONE)
		return err_set(e, EINVAL, "changes need begin(DB_WRITE)");
	int r = my_change_check(dc, s, e);
	if (r < 0)
		return r;
	if ((r = my_set_writing(c, e)) < 0)
		return r;
	c->mode = MY_MODE_CHANGE;
	return 0;
}

int my_change_end(struct db_conn *dc, struct strbuf *orphans, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);

	if (c->mode != MY_MODE_CHANGE)
		return err_set(e, EINVAL, "no change is open");
	int r = my_check_orphans(c, orphans, e);
	if (r == 0)
		r = my_exec(c, e, "SET SESSION foreign_key_checks=1");
	return r;
}

/* ---- AUTO_INCREMENT ---- */

int my_set_sequences(struct db_conn *dc, const struct db_schema *s, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	int r;

	if (c->mode == MY_MODE_NONE)
		return err_set(e, EINVAL, "no restore is open");
	for (size_t i = 0; i < s->n_tables; i++) {
		const struct db_table *t = &s->tables[i];

		if (!t->has_auto_increment || t->auto_increment == 0 || !my_catalog_find(&c->catalog, t->name))
			continue;
		if (c->mode == MY_MODE_REBUILD) {
			if ((r = my_exec(c, e, "ALTER TABLE %i.%i AUTO_INCREMENT=%l", c->database, t->name,
					 t->auto_increment)) < 0)
				return err_prefix(e, "table %s", t->name);
			continue;
		}
		/* ALTER TABLE commits: after the commit, and only where the value is another. */
		c->autos = xrealloc(c->autos, (c->n_autos + 1) * sizeof *c->autos);
		c->autos[c->n_autos++] = (struct my_table_auto){.table = xstrdup(t->name), .next = t->auto_increment};
	}
	return 0;
}
