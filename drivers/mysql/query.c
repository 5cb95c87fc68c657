/*
 * drivers/mysql/query.c - SQL text, errors and results of the MySQL/MariaDB driver.
 *
 * SQL is built with my_sql(): values are always quoted by its conversions, never by the caller. The escapes are right
 * because the session's sql_mode never has ANSI_QUOTES or NO_BACKSLASH_ESCAPES and its character set is utf8mb4.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "drivers/mysql/internal.h"

void my_sql_quote(struct strbuf *sb, const char *s, size_t len)
{
	strbuf_reserve(sb, len + len / 16 + 3);
	strbuf_addch(sb, '\'');
	for (const char *p = s, *end = s + len; p < end;) {
		const char *q = p;

		while (q < end && *q != '\'' && *q != '\\' && *q != '\0')
			q++;
		strbuf_add(sb, p, (size_t)(q - p));
		if (q < end)
			strbuf_add(sb, *q == '\0' ? "\\0" : *q == '\'' ? "''" : "\\\\", 2);
		p = q + 1;
	}
	strbuf_addch(sb, '\'');
}

void my_sql_hex(struct strbuf *sb, const char *s, size_t len)
{
	strbuf_adds(sb, "x'");
	hex_add(sb, s, len);
	strbuf_addch(sb, '\'');
}

static void my_sql_v(struct strbuf *sb, const char *fmt, va_list ap)
{
	for (const char *p = fmt; *p; p++) {
		const char *q = strchrnul(p, '%');

		strbuf_add(sb, p, (size_t)(q - p));
		if (!*q)
			return;
		p = q + 1;
		switch (*p) {
		case 'i':
			strbuf_addch(sb, '`');
			for (const char *s = va_arg(ap, const char *); *s; s++) {
				if (*s == '`')
					strbuf_addch(sb, '`');
				strbuf_addch(sb, *s);
			}
			strbuf_addch(sb, '`');
			break;
		case 'q': {
			const char *s = va_arg(ap, const char *);
			my_sql_quote(sb, s, strlen(s));
			break;
		}
		case 's':
			strbuf_adds(sb, va_arg(ap, const char *));
			break;
		case 'u':
			strbuf_addf(sb, "%u", va_arg(ap, unsigned));
			break;
		case 'l':
			strbuf_addf(sb, "%llu", (unsigned long long)va_arg(ap, uint64_t));
			break;
		case 'z':
			strbuf_addf(sb, "%zu", va_arg(ap, size_t));
			break;
		default:
			strbuf_addch(sb, *p);
		}
	}
}

void my_sql(struct strbuf *sb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	my_sql_v(sb, fmt, ap);
	va_end(ap);
}

void my_sql_read(struct strbuf *sb, const struct my_column *col)
{
	switch (col->read) {
	case MY_READ_NUMBER:
		my_sql(sb, "%i+0", col->name);
		break;
	case MY_READ_DOUBLE:
		/* FLOAT as text has six digits; "* 1e0", unlike "+ 0e0", keeps -0. */
		my_sql(sb, "%i*1e0", col->name);
		break;
	case MY_READ_PLAIN:
		my_sql(sb, "%i", col->name);
		break;
	}
}

static bool my_is_number(const struct db_value *v)
{
	for (size_t i = 0; i < v->len; i++)
		if (!memchr("0123456789-+.eE", v->data[i], 15))
			return false;
	return v->len > 0;
}

void my_sql_key(struct strbuf *sb, const struct db_column *col, const struct my_column *mine, const struct db_value *v)
{
	if (mine->is_bit) {
		uint64_t bits = 0;
		for (size_t i = 0; i < v->len; i++)
			bits = bits << 8 | (unsigned char)v->data[i];
		my_sql(sb, "%l", bits);
	} else if (col->form == DB_FORM_BINARY) {
		my_sql_hex(sb, v->data, v->len);
	} else if (col->form == DB_FORM_NUMBER && my_is_number(v)) {
		strbuf_add(sb, v->data, v->len);
	} else if (mine->charset && strcmp(mine->charset, "utf8mb4") != 0) {
		/* In lists of keys of several columns MariaDB 10.11 finds nothing by a literal of another character set. */
		strbuf_adds(sb, "CONVERT(");
		my_sql_quote(sb, v->data, v->len);
		my_sql(sb, " USING %s) COLLATE %s", mine->charset, mine->collation);
	} else {
		my_sql_quote(sb, v->data, v->len);
	}
}

int my_errno_of(unsigned server_errno, const char *sqlstate)
{
	static const struct {
		unsigned short server;
		unsigned short ours;
	} map[] = {
	    {1021, ENOSPC},       {1022, EEXIST},       {1040, ECONNREFUSED}, {1044, EACCES},       {1045, EACCES},
	    {1049, ENOENT},       {1053, ECONNRESET},   {1062, EEXIST},       {1114, ENOSPC},       {1129, EACCES},
	    {1130, EACCES},       {1142, EACCES},       {1143, EACCES},       {1146, ENOENT},       {1152, ECONNRESET},
	    {1158, ECONNRESET},   {1159, ETIMEDOUT},    {1160, ECONNRESET},   {1161, ETIMEDOUT},    {1169, EEXIST},
	    {1203, ECONNREFUSED}, {1205, EBUSY},        {1213, EAGAIN},       {1216, EEXIST},       {1217, EEXIST},
	    {1227, EACCES},       {1251, EACCES},       {1290, EACCES},       {1317, EINTR},        {1370, EACCES},
	    {1396, EACCES},       {1410, EACCES},       {1412, EAGAIN},       {1419, EACCES},       {1451, EEXIST},
	    {1452, EEXIST},       {1557, EEXIST},       {1586, EEXIST},       {1698, EACCES},       {1792, EACCES},
	    {1820, EACCES},       {1836, EACCES},       {1862, EACCES},       {1906, EINVAL},       {1927, ECONNRESET},
	    {1969, ETIMEDOUT},    {2002, ECONNREFUSED}, {2003, ECONNREFUSED}, {2005, EHOSTUNREACH}, {2006, ECONNRESET},
	    {2013, ECONNRESET},   {2026, EACCES},       {2055, ECONNRESET},   {2059, EACCES},       {2061, EACCES},
	    {3024, ETIMEDOUT},    {3118, EACCES},       {3159, EACCES},       {3169, ECONNRESET},   {3572, EBUSY},
	    {3675, ENOSPC},       {3819, EEXIST},       {4025, EEXIST},       {4031, ECONNRESET},   {4151, EACCES},
	};

	for (size_t i = 0; i < sizeof map / sizeof map[0]; i++)
		if (map[i].server == server_errno)
			return map[i].ours;
	/* A trigger's or a check's own SIGNAL has no number of its own. */
	return sqlstate && !strncmp(sqlstate, "23", 2) ? EEXIST : EIO;
}

unsigned my_last_errno(struct my_conn *c)
{
	return c->my ? mysql_errno(c->my) : 0;
}

int my_fail(struct my_conn *c, struct err *e, const char *words)
{
	unsigned number = mysql_errno(c->my);
	const char *state = mysql_sqlstate(c->my);
	int code = my_errno_of(number, state);

	if (atomic_load(&c->cancelled))
		return err_set(e, EINTR, "%s%scancelled", words ? words : "", words ? ": " : "");
	err_set(e, code, "%s%s%s (%u)", words ? words : "", words ? ": " : "", mysql_error(c->my), number);
	(void)snprintf(e->sqlstate, sizeof e->sqlstate, "%s", state);
	return -code;
}

int my_exec_len(struct my_conn *c, struct err *e, const char *sql, size_t len)
{
	if (my_cancelled(c))
		return err_set(e, EINTR, "cancelled");
	if (mysql_real_query(c->my, sql, len) != 0)
		return my_fail(c, e, NULL);
	/* A statement that gives rows where none are wanted (SELECT 1 ... to take a lock) must still be read. */
	MYSQL_RES *r = mysql_store_result(c->my);
	if (r)
		mysql_free_result(r);
	else if (mysql_errno(c->my))
		return my_fail(c, e, NULL);
	return 0;
}

int my_exec(struct my_conn *c, struct err *e, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	va_list ap;

	va_start(ap, fmt);
	my_sql_v(&sql, fmt, ap);
	va_end(ap);
	return my_exec_len(c, e, strbuf_str(&sql), sql.len);
}

static int my_select_v(struct my_conn *c, MYSQL_RES **ret, struct err *e, const char *fmt, va_list ap)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	my_sql_v(&sql, fmt, ap);
	*ret = NULL;
	if (my_cancelled(c))
		return err_set(e, EINTR, "cancelled");
	if (mysql_real_query(c->my, strbuf_str(&sql), sql.len) != 0)
		return my_fail(c, e, NULL);
	*ret = mysql_store_result(c->my);
	return *ret ? 0 : my_fail(c, e, NULL);
}

int my_select(struct my_conn *c, MYSQL_RES **ret, struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = my_select_v(c, ret, e, fmt, ap);
	va_end(ap);
	return r;
}

int my_select_one(struct my_conn *c, char **ret, struct err *e, const char *fmt, ...)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	va_list ap;

	*ret = NULL;
	va_start(ap, fmt);
	int r = my_select_v(c, &res, e, fmt, ap);
	va_end(ap);
	if (r < 0)
		return r;
	MYSQL_ROW row = mysql_fetch_row(res);
	if (row && row[0])
		*ret = xmemdup0(row[0], mysql_fetch_lengths(res)[0]);
	return 0;
}

int my_select_each(struct my_conn *c, const char *sql, size_t len,
		   int (*each)(void *arg, size_t i, MYSQL_RES *res, struct err *e), void *arg, struct err *e)
{
	int r = 0;

	if (my_cancelled(c))
		return err_set(e, EINTR, "cancelled");
	/* Only for as long as it takes: no other text of ours can ever become two statements. */
	if (mysql_set_server_option(c->my, MYSQL_OPTION_MULTI_STATEMENTS_ON) != 0)
		return my_fail(c, e, NULL);
	int state = mysql_real_query(c->my, sql, len) != 0;
	for (size_t i = 0; state == 0; i++) {
		_cleanup_result_ MYSQL_RES *res = mysql_store_result(c->my);

		if (!res)
			break;
		if (r == 0)
			r = each(arg, i, res, e);
		state = mysql_next_result(c->my);
	}
	if (state >= 0 && r == 0)
		r = my_fail(c, e, NULL);
	if (mysql_set_server_option(c->my, MYSQL_OPTION_MULTI_STATEMENTS_OFF) != 0 && r == 0)
		r = my_fail(c, e, NULL);
	return r;
}
