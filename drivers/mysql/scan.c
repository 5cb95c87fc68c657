/*
 * drivers/mysql/scan.c - reading the rows of one table as one unbuffered result.
 *
 * After begin(DB_WRITE) the rows are locked, so plain reads give what is there and what this session has changed.
 * The rows' sums are kept then: swap.c proves with them that nothing slipped in before the swap.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

/* Rows that are read to the end of an abandoned result before the server is told to stop. */
#define MY_DRAIN_ROWS 2000

/* The index whose parts are exactly the table's key; NULL: none gives its order. */
static const struct my_index *my_key_index(const struct my_table *mt, const struct db_table *t)
{
	const struct my_index *found = NULL;

	for (size_t i = 0; i < mt->n_indexes; i++) {
		const struct my_index *x = &mt->indexes[i];
		bool same = x->visible && x->ascending && x->n_columns == t->n_key && t->n_key > 0;

		for (size_t k = 0; same && k < t->n_key; k++)
			same = !strcmp(mt->columns[x->columns[k]].name, t->columns[t->key[k]].name);
		if (same && (!found || !strcmp(x->name, "PRIMARY")))
			found = x;
	}
	return found;
}

static int my_check_members(struct my_conn *c, const struct my_table *mt, struct err *e)
{
	for (size_t i = 0; i < mt->n_columns; i++) {
		const struct my_column *col = &mt->columns[i];
		_cleanup_free_ char *found = NULL;

		if (!col->empty_member || col->generated)
			continue;
		if (!strcmp(col->empty_member, "set"))
			return err_set(e, ENOTSUP,
				       "table %s, column %s: a SET with the member '' cannot be kept exactly", mt->name,
				       col->name);
		int r = my_select_one(c, &found, e, "SELECT 1 FROM %i.%i WHERE %i+0=0 LIMIT 1", c->database, mt->name,
				      col->name);
		if (r < 0)
			return r;
		if (found)
			return err_set(
			    e, ENOTSUP,
			    "table %s, column %s: the ENUM's member '' and its error value cannot be told apart",
			    mt->name, col->name);
	}
	return 0;
}

/* FORCE INDEX makes the optimizer take the order from the index; were it to sort after all, JSON columns would be
 * sorted with the rows ("Out of sort memory"). The clustered index needs no question: InnoDB reads every row by it. */
static int my_check_plan(struct my_conn *c, const char *sql, bool *ret_sorts, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e, "EXPLAIN %s", sql);

	*ret_sorts = false;
	if (r < 0)
		return r;
	unsigned n = mysql_num_fields(res);
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));)
		for (unsigned i = 0; i < n; i++)
			if (row[i] && (strstr(row[i], "filesort") || strstr(row[i], "Sort:")))
				*ret_sorts = true;
	return 0;
}

static int my_order_by_key(struct my_conn *c, const struct my_table *mt, const struct db_table *t, struct strbuf *sql,
			   struct err *e)
{
	const struct my_index *x = my_key_index(mt, t);
	bool sorts = false;

	if (!x)
		return err_set(e, EOPNOTSUPP, "table %s: no index gives the key's order", t->name);
	my_sql(sql, " FORCE INDEX (%i) ORDER BY ", x->name);
	for (size_t k = 0; k < t->n_key; k++)
		my_sql(sql, "%s%i", k ? "," : "", t->columns[t->key[k]].name);
	if (strcmp(x->name, "PRIMARY") != 0 && my_check_plan(c, strbuf_str(sql), &sorts, e) < 0)
		return err_prefix(e, "table %s", t->name);
	if (sorts)
		return err_set(e, EOPNOTSUPP, "table %s: the server would sort instead of using index %s", t->name,
			       x->name);
	return 0;
}

/* n buffers for documents with spellings. */
static void my_scan_texts(struct my_scan *s, size_t n)
{
	for (size_t i = 0; s->texts && i < s->n_values; i++)
		strbuf_done(&s->texts[i]);
	free(s->texts);
	s->texts = n ? xcalloc(n, sizeof *s->texts) : NULL;
}

int my_scan_open(struct db_conn *dc, const struct db_table *t, enum db_scan how, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	struct my_table *mt = my_catalog_find(&c->catalog, t->name);
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_free_ size_t *columns = NULL;
	size_t n = 0, n_summed = 0;
	bool doubtful = false, documents = false, typed = false;
	int r;

	assert(c->in_transaction && !c->scan.table && !c->load.to.table);
	if (!mt)
		return err_set(e, EINVAL, "table %s is not in the database", t->name);
	if (how == DB_SCAN_KEYS)
		return err_set(e, EOPNOTSUPP, "table %s: keys are not read by themselves", t->name);
	columns = xcalloc(t->n_columns + 2 * t->n_key + 1, sizeof *columns);
	size_t *key = columns + t->n_columns + t->n_key;
	for (size_t i = 0; i < t->n_columns + t->n_key; i++) {
		const struct db_column *col = &t->columns[i < t->n_columns ? i : t->key[i - t->n_columns]];

		if (col->generated == (i < t->n_columns))
			continue;
		if (!my_table_column(mt, col->name, &columns[n]))
			return err_set(e, EINVAL, "table %s has no column %s", t->name, col->name);
		for (size_t k = 0; k < t->n_key; k++)
			if (&t->columns[t->key[k]] == col)
				key[k] = n;
		doubtful |= mt->columns[columns[n]].doubt != MY_DOUBT_NEVER;
		documents |= mt->columns[columns[n]].places != NULL;
		n++;
		n_summed += i < t->n_columns;
	}
	strbuf_adds(&sql, "SELECT ");
	for (size_t i = 0; i < n; i++) {
		if (i)
			strbuf_addch(&sql, ',');
		my_sql_read(&sql, &mt->columns[columns[i]]);
	}
	if (n == 0)
		strbuf_addch(&sql, '1'); /* generated columns only */
	for (size_t i = 0; i < n; i++)
		if (my_places_typed(mt->columns[columns[i]].places))
			typed |=
			    my_places_select(mt->columns[columns[i]].places, mt->columns[columns[i]].name, &sql) > 0;
	my_sql(&sql, " FROM %i.%i", c->database, t->name);
	if (typed && (r = my_exec(c, e, "SET SESSION group_concat_max_len=4294967295")) < 0)
		return r;
	if (how == DB_SCAN_ORDERED && (r = my_order_by_key(c, mt, t, &sql, e)) < 0)
		return r;
	if ((r = my_check_members(c, mt, e)) < 0)
		return r;
	if (atomic_load(&c->cancelled))
		return err_set(e, EINTR, "cancelled");
	if (mysql_real_query(c->my, strbuf_str(&sql), sql.len) != 0 || !(c->scan.result = mysql_use_result(c->my))) {
		r = my_fail(c, e, NULL);
		return err_prefix(e, "table %s", t->name), r;
	}
	c->scan.values = xrealloc(c->scan.values, (n + 1) * sizeof *c->scan.values);
	my_scan_texts(&c->scan, typed ? n : 0);
	c->scan.n_values = n;
	c->scan.n_summed = n_summed;
	free(c->scan.columns);
	c->scan.columns = TAKE_PTR(columns);
	c->scan.key = key;
	c->scan.doubtful = doubtful;
	c->scan.documents = documents;
	c->scan.n_doubts = 0;
	strbuf_clear(&c->scan.asks);
	c->scan.details = mt;
	c->scan.table = t;
	mt->scanned = false;
	mt->sum = (struct my_sum){0};
	return 0;
}

/* What the documents of the row leave open is noted, and what the server has told of their members is spelled. */
static int my_scan_documents(struct my_scan *s, MYSQL_ROW row, const unsigned long *len, struct err *e)
{
	size_t at = s->n_values;

	for (size_t i = 0; i < s->n_values; i++) {
		struct my_places *p = s->details->columns[s->columns[i]].places;
		struct db_value *v = &s->values[i];

		if (!p)
			continue;
		if (v->data)
			my_places_look(p, v->data, v->len);
		if (!s->texts || !my_places_typed(p))
			continue;
		if (v->data) {
			int r = my_places_spell(p, v->data, v->len, row + at, len + at, &s->texts[i], e);
			if (r < 0)
				return err_prefix(e, "table %s", s->table->name);
			*v = (struct db_value){.data = strbuf_str(&s->texts[i]), .len = s->texts[i].len};
		}
		at += my_places_columns(p);
	}
	return 0;
}

/* After the last row. */
static int my_scan_ask(struct my_conn *c, struct my_scan *s, struct err *e)
{
	int r = s->n_doubts ? my_doubt_ask(c, s, e) : 0, typed = 0;

	for (size_t i = 0; r >= 0 && s->documents && i < s->n_values; i++) {
		const struct my_column *col = &s->details->columns[s->columns[i]];

		if (!col->places)
			continue;
		r = my_places_ask(c, col->places, s->table->name, col->name, e);
		typed |= r > 0;
	}
	if (r < 0)
		return err_prefix(e, "table %s", s->table->name);
	if (typed)
		return err_set(e, ERESTART, "table %s: JSON documents with values of types that text does not tell",
			       s->table->name);
	s->details->scanned = true;
	return 0;
}

int my_scan_next(struct db_conn *dc, const struct db_value **ret, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	struct my_scan *s = &c->scan;

	assert(s->table);
	if (atomic_load_explicit(&c->cancelled, memory_order_relaxed))
		return err_set(e, EINTR, "cancelled");
	if (!s->result)
		return 0;
	MYSQL_ROW row = mysql_fetch_row(s->result);
	if (!row) {
		if (mysql_errno(c->my)) {
			int r = my_fail(c, e, NULL);
			mysql_free_result(TAKE_PTR(s->result));
			return err_prefix(e, "table %s", s->table->name), r;
		}
		mysql_free_result(TAKE_PTR(s->result));
		return my_scan_ask(c, s, e);
	}
	const unsigned long *len = mysql_fetch_lengths(s->result);
	for (size_t i = 0; i < s->n_values; i++)
		s->values[i] = (struct db_value){.data = row[i], .len = row[i] ? len[i] : 0};
	if (s->doubtful)
		my_doubt_row(s);
	if (c->access == DB_WRITE)
		my_sum_row(&s->details->sum, s->values, s->n_summed);
	if (s->documents && my_scan_documents(s, row, len, e) < 0)
		return -e->code;
	*ret = s->values;
	return 1;
}

/* The rest of a large result would have to be read before the connection can be used: stop the statement instead. */
static void my_stop_statement(struct my_conn *c)
{
	struct my_conn *other = NULL;

	if (my_open_like(&other, c, ERR_DROP) < 0)
		return;
	(void)my_exec(other, ERR_DROP, "KILL QUERY %l", (uint64_t)c->thread_id);
	db_close((struct db_conn *)other);
}

int my_scan_close(struct db_conn *dc, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	struct my_scan *s = &c->scan;
	size_t n = 0;

	if (!s->table)
		return 0;
	if (s->result) {
		while (n < MY_DRAIN_ROWS && mysql_fetch_row(s->result))
			n++;
		if (n == MY_DRAIN_ROWS) {
			my_stop_statement(c);
			while (mysql_fetch_row(s->result))
				;
		}
		mysql_free_result(TAKE_PTR(s->result));
		/* A KILL that came after the last row must not hit the next statement. */
		if (n == MY_DRAIN_ROWS)
			(void)mysql_query(c->my, "DO 0");
	}
	s->table = NULL;
	s->details = NULL;
	unsigned number = mysql_errno(c->my);
	if (number == MY_CR_SERVER_GONE || number == MY_CR_SERVER_LOST)
		return my_fail(c, e, "connection");
	return 0;
}

void my_scan_done(struct my_scan *s)
{
	my_scan_texts(s, 0);
	free(s->values);
	free(s->columns);
	strbuf_done(&s->asks);
	*s = (struct my_scan){0};
}
