/*
 * drivers/mysql/doubt.c - values that text cannot carry: which rows of a scan may hold one, and the question to the
 * server about them. On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

/*
 * A string as MySQL prints a DATE ("2024-01-31"), a TIME or DATETIME (digits, then always six decimals) or another
 * opaque value ("base64:type252:...") inside of a JSON document. As text each is a mere string. Most such strings are
 * strings; only the server can tell, see my_doubt_ask().
 */
static bool my_doubt_typed(const char *s, size_t len)
{
	static const char opaque[] = "base64:type";
	const char *end = s + len;

	for (const char *p = s; p < end && (p = memchr(p, '"', (size_t)(end - p))); p++) {
		const char *q = p + 1;
		bool marked = false;

		if ((size_t)(end - q) > sizeof opaque && *q == 'b' && !memcmp(q, opaque, sizeof opaque - 1))
			return true;
		for (; q < end && ((*q >= '0' && *q <= '9') || *q == ':' || *q == '-' || *q == '.' || *q == ' '); q++)
			marked |= *q == ':' || *q == '-';
		if (marked && q < end && *q == '"' && q - p > 8)
			return true;
	}
	return false;
}

static bool my_doubt(enum my_doubt kind, const struct db_value *v)
{
	switch (kind) {
	case MY_DOUBT_NEVER:
		break;
	case MY_DOUBT_TYPED:
		return v->data && my_doubt_typed(v->data, v->len);
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
 * and back, or whose document is another one when it is made of its text? (A DECIMAL inside equals the DOUBLE it comes
 * back as; where its digits differ, the verification of a restore finds it.) To ask so of every row takes MySQL 9.7
 * more than all the rest of a scan: 2.1 of 3.2 s for 120 MB of documents.
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
		if (col->doubt == MY_DOUBT_TYPED)
			my_sql(&check, "%i<>CAST(CAST(%i AS CHAR) AS JSON)", col->name, col->name);
		else
			my_sql(&check,
			       "CAST(CONVERT(CONVERT(%i USING utf8mb4) USING %s) AS BINARY)<>CAST(%i AS BINARY)",
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
			       "not have, or a JSON document with a DATE, TIME or binary value inside",
			       s->table->name);
	return 0;
}
