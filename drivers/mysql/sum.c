/*
 * drivers/mysql/sum.c - what the rows of a table add up to, whatever their order: two sums and their number prove that
 * nothing was written to a table between its scan and the swap. On the connection's thread; no locks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static uint64_t my_mix(uint64_t h, const char *s, size_t len, uint64_t k)
{
	uint64_t word;

	for (; len >= 8; s += 8, len -= 8) {
		memcpy(&word, s, 8);
		h = (h ^ word) * k;
		h ^= h >> 29;
	}
	word = 0;
	memcpy(&word, s, len);
	h = (h ^ word ^ (uint64_t)len << 56) * k;
	return h ^ h >> 32;
}

void my_sum_row(struct my_sum *sum, const struct db_value *v, size_t n)
{
	uint64_t a = 0x9e3779b97f4a7c15u, b = 0xc2b2ae3d27d4eb4fu;

	for (size_t i = 0; i < n; i++) {
		uint64_t len = v[i].data ? v[i].len : UINT64_MAX;

		a = my_mix(a ^ len, v[i].data ? v[i].data : "", v[i].data ? v[i].len : 0, 0x9fb21c651e98df25u);
		b = my_mix(b + len, v[i].data ? v[i].data : "", v[i].data ? v[i].len : 0, 0xd6e8feb86659fd93u);
	}
	sum->a += a;
	sum->b += b;
	sum->n_rows++;
}

int my_sum_table(struct my_conn *c, const char *database, const struct my_table *mt, struct my_sum *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_free_ struct db_value *v = xcalloc(mt->n_columns + 1, sizeof *v);
	size_t n = 0;

	strbuf_adds(&sql, "SELECT ");
	for (size_t i = 0; i < mt->n_columns; i++) {
		if (mt->columns[i].generated)
			continue;
		if (n++)
			strbuf_addch(&sql, ',');
		my_sql_read(&sql, &mt->columns[i]);
	}
	if (n == 0)
		strbuf_addch(&sql, '1');
	my_sql(&sql, " FROM %i.%i", database, mt->name);
	if (mysql_real_query(c->my, sql.data, sql.len) != 0)
		return my_fail(c, e, mt->name);
	_cleanup_result_ MYSQL_RES *res = mysql_use_result(c->my);
	if (!res)
		return my_fail(c, e, mt->name);
	*ret = (struct my_sum){0};
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		const unsigned long *len = mysql_fetch_lengths(res);

		for (size_t i = 0; i < n; i++)
			v[i] = (struct db_value){.data = row[i], .len = row[i] ? len[i] : 0};
		my_sum_row(ret, v, n);
	}
	return mysql_errno(c->my) ? my_fail(c, e, mt->name) : 0;
}

bool my_sum_same(const struct my_sum *x, const struct my_sum *y)
{
	return x->n_rows == y->n_rows && x->a == y->a && x->b == y->b;
}

void my_sum_text(const struct my_sum *sum, char out[MY_SUM_TEXT])
{
	(void)snprintf(out, MY_SUM_TEXT, "%llu %llu %llu", (unsigned long long)sum->n_rows, (unsigned long long)sum->a,
		       (unsigned long long)sum->b);
}
