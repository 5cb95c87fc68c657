/*
 * drivers/mysql/auto_increment.c - the AUTO_INCREMENT values of tables, which move outside of transactions: read after
 * the rows, set after the commit. On the connection's thread; no locks.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

int my_read_auto_increment(struct my_conn *c, const char *database, struct db_schema *s, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e,
			  "SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA=%q AND "
			  "AUTO_INCREMENT IS NOT NULL",
			  database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		for (size_t i = 0; i < s->n_tables; i++)
			if (s->tables[i].has_auto_increment && !strcmp(s->tables[i].name, row[0]))
				s->tables[i].auto_increment = strtoull(row[1], NULL, 10);
	}
	return 0;
}

/* Only where it is another: ALTER TABLE is not without effects. */
static int my_set_counter(struct my_conn *c, const char *database, const char *table, uint64_t next, struct err *e)
{
	_cleanup_free_ char *value = NULL;
	int r = my_select_one(
	    c, &value, e,
	    "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA=%q AND TABLE_NAME=%q", database,
	    table);

	if (r < 0 || (value && strtoull(value, NULL, 10) == next))
		return r;
	return my_exec(c, e, "ALTER TABLE %i.%i AUTO_INCREMENT=%l", database, table, next);
}

int my_set_sequences(struct db_conn *dc, const struct db_schema *s, struct err *e)
{
	struct my_conn *c = my_conn_of(dc), *w = my_active(c);
	int r;

	assert(c->mode != MY_MODE_NONE);
	for (size_t i = 0; i < s->n_tables; i++) {
		const struct db_table *t = &s->tables[i];

		if (!t->has_auto_increment || t->auto_increment == 0)
			continue;
		if (w != c && my_catalog_find(&w->catalog, t->name)) {
			if ((r = my_set_counter(w, w->database, t->name, t->auto_increment, e)) < 0)
				return err_prefix(e, "table %s", t->name);
			continue;
		}
		if (!my_catalog_find(&c->catalog, t->name))
			continue;
		/* ALTER TABLE commits: after the commit, and only where the value is another. */
		c->autos = xrealloc(c->autos, (c->n_autos + 1) * sizeof *c->autos);
		c->autos[c->n_autos++] = (struct my_table_auto){.table = xstrdup(t->name), .next = t->auto_increment};
	}
	return 0;
}

int my_commit_auto_increment(struct my_conn *c, struct err *e)
{
	for (size_t i = 0; i < c->n_autos; i++) {
		int r = my_set_counter(c, c->database, c->autos[i].table, c->autos[i].next, e);

		if (r < 0)
			return err_prefix(e, "the rows are committed, but AUTO_INCREMENT of %s is not set",
					  c->autos[i].table);
	}
	return 0;
}

void my_forget_auto_increment(struct my_conn *c)
{
	for (size_t i = 0; i < c->n_autos; i++)
		free(c->autos[i].table);
	free(TAKE_PTR(c->autos));
	c->n_autos = 0;
}
