/*
 * drivers/mysql/doubt.c - values that text cannot carry: which rows of a scan may hold one, and the question to the
 * server about them. On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static bool my_doubt(enum my_doubt kind, const struct db_value *v)
{
	switch (kind) {
	case MY_DOUBT_NEVER:
		break;
	case MY_DOUBT_MARK:
		return v->data && memchr(v->data, '?', v->len);
	case MY_DOUBT_ALWAYS:
		return v->len > 0;
	}
	return false;
}

/* Rows whose keys are remembered, as bytes of SQL; beyond it the whole table is asked about. */
#define MY_ASK_BYTES ((size_t)256 << 10)

void my_doubt_row(struct my_scan *s)
{
	bool any = false;

	for (size_t i = 0; i < s->n_values && !any; i++)
		any = my_doubt(s->details->columns[s->columns[i]].doubt, &s->values[i]);
	if (!any)
		return;
	s->n_doubts++;
	if (s->table->key_kind != DB_KEY_UNIQUE || s->asks.len > MY_ASK_BYTES)
		return;
	strbuf_adds(&s->asks, s->asks.len ? ",(" : "(");
	for (size_t k = 0; k < s->table->n_key; k++) {
		if (k)
			strbuf_addch(&s->asks, ',');
		my_sql_key(&s->asks, &s->table->columns[s->table->key[k]], &s->details->columns[s->columns[s->key[k]]],
			   &s->values[s->key[k]]);
	}
	strbuf_addch(&s->asks, ')');
}

/*
 * In the same transaction, hence about the same rows: is there one whose text is not the same after the way to utf8mb4
 * and back?
 */
int my_doubt_ask(struct my_conn *c, const struct my_scan *s, struct err *e)
{
	_cleanup_strbuf_ struct strbuf check = {0}, keys = {0};
	_cleanup_free_ char *found = NULL;
	int r;

	for (size_t i = 0; i < s->n_values; i++) {
		const struct my_column *col = &s->details->columns[s->columns[i]];

		if (col->doubt == MY_DOUBT_NEVER)
			continue;
		strbuf_adds(&check, check.len ? " OR " : "");
		my_sql(&check, "CAST(CONVERT(CONVERT(%i USING utf8mb4) USING %s) AS BINARY)<>CAST(%i AS BINARY)",
		       col->name, col->charset, col->name);
	}
	if (s->asks.len > 0 && s->asks.len <= MY_ASK_BYTES) {
		_cleanup_result_ MYSQL_RES *res = NULL;

		for (size_t k = 0; k < s->table->n_key; k++)
			my_sql(&keys, "%s%i", k ? "," : "", s->table->columns[s->table->key[k]].name);
		if ((r = my_select(c, &res, e, "SELECT COUNT(*), SUM(%s) FROM %i.%i WHERE (%s) IN (%s)",
				   strbuf_str(&check), c->database, s->table->name, strbuf_str(&keys),
				   strbuf_str(&s->asks))) < 0)
			return err_prefix(e, "table %s", s->table->name);
		MYSQL_ROW row = mysql_fetch_row(res);
		/* A key that its own text does not find (FLOAT): all rows, then. */
		if (row && row[0] && strtoull(row[0], NULL, 10) == s->n_doubts && (!row[1] || !strcmp(row[1], "0")))
			return 0;
	}
	r = my_select_one(c, &found, e, "SELECT 1 FROM %i.%i WHERE %s LIMIT 1", c->database, s->table->name,
			  strbuf_str(&check));
	if (r < 0)
		return err_prefix(e, "table %s", s->table->name);
	if (found)
		return err_set(e, ENOTSUP,
			       "table %s: a row cannot be kept exactly: a text with bytes that its character set does "
			       "not have",
			       s->table->name);
	return 0;
}
