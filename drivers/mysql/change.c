/*
 * drivers/mysql/change.c - changes of rows in tables that stay: from their beginning to their end, and rows deleted by key.
 * On the connection's thread; no locks.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "drivers/mysql/internal.h"

#define MY_DELETE_ROWS 500

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

	assert(c->mode != MY_MODE_NONE && !c->scan.table && !c->load.to.table);
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

	assert(c->mode != MY_MODE_NONE && !c->scan.table && !c->load.to.table);
	/* Not TRUNCATE, which commits. */
	int r = my_exec(c, e, "DELETE FROM %i.%i", c->database, t->name);
	return r < 0 ? err_prefix(e, "table %s", t->name) : 0;
}

int my_change_begin(struct db_conn *dc, const struct db_schema *s, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);

	/* Inside a rebuild that makes no table it is this mode already. */
	assert(c->in_transaction && c->access == DB_WRITE && (c->mode == MY_MODE_NONE || c->old));
	int r = my_lift_triggers(c, s, e);
	if (r < 0)
		return r;
	if ((r = my_set_writing(c, e)) < 0)
		return r;
	my_names_done(&c->changed);
	c->changed.names = xcalloc(s->n_tables + 1, sizeof *c->changed.names);
	for (size_t i = 0; i < s->n_tables; i++)
		c->changed.names[c->changed.n++] = xstrdup(s->tables[i].name);
	c->mode = MY_MODE_CHANGE;
	return 0;
}

int my_change_end(struct db_conn *dc, struct strbuf *orphans, struct strbuf *outside, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);

	assert(c->mode == MY_MODE_CHANGE);
	/* Orphans that a whole snapshot holds are told, wherever they are; some tables answer for their own keys only. */
	int r = my_check_orphans(c, orphans ? NULL : &c->changed, orphans, e);
	if (r == 0)
		r = my_check_outside(c, c->database, &c->catalog, c->database, &c->changed, outside, e);
	return r < 0 ? r : my_exec(c, e, "SET SESSION foreign_key_checks=1");
}
