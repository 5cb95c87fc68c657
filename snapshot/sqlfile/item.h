/*
 * snapshot/sqlfile/item.h - what a `.sql` file is read into: a TRUNCATE, or a row with its values.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sql_backslashes {
	SQL_BACKSLASH_PLAIN,   /* one stands for itself */
	SQL_BACKSLASH_DOUBLED, /* two stand for one; an odd number side by side is EBADMSG */
	SQL_BACKSLASH_MYSQL,   /* escapes; one that MySQL does not know is EBADMSG: it would drop the backslash */
};

enum sql_kind { SQL_NULL, SQL_TEXT, SQL_NUMBER, SQL_TRUE, SQL_FALSE, SQL_HEX };

struct sql_value {
	enum sql_kind kind;
	const char *data; /* what the text says, the number's token, or the bytes of hex digits; not NUL-terminated */
	size_t len;
	bool backslash, odd; /* TEXT, read PLAIN: there is one; there is an odd number of them side by side */
};

struct sql_name {
	char *text;
	bool quoted;
};

struct sql_item {
	bool truncate; /* TRUNCATE of `table`; else a row for it */
	const struct sql_name *table;
	const struct sql_name *columns; /* as named; n_columns 0: all, in table order */
	size_t n_columns;
	uint64_t statement; /* 1.. */
	uint64_t line;      /* that it begins on */
	const struct sql_value *values;
	size_t n_values;
};
