/*
 * snapshot/sqlfile/read.h - the `.sql` files of OpenMetadata's former command line, read as a stream of items.
 *
 * Statements: TRUNCATE [TABLE] t;   INSERT INTO t [(column, ...)] VALUES (value, ...)[, (...)]...;
 * Values: 'text' with '' for a quote, on PostgreSQL E'text' with \n and \\, numbers, NULL, TRUE, FALSE, x'hex', 0xhex.
 * Names may be in backquotes or double quotes; white space, line ends (LF or CRLF) and `--` comments may stand between
 * tokens. Anything else is EBADMSG, by line: nothing is skipped.
 *
 * Backslashes in 'text' mean three things: on MySQL they are escapes; PostgreSQL's files hold them as they are, but
 * those of OpenMetadata before 1.1 doubled. sql_scan finds out which of the last two it is, see there.
 *
 * Memory is bounded by one row. A reader belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "snapshot/row/row.h"

/* The bytes of a file, from any offset. */
struct sql_source {
	/* As pread, but *ret_n is short only at the end. */
	int (*read)(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e);
	void *arg;
};

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

struct sql_read;
struct sql_read *sql_read_new(const struct sql_source *src, enum sql_backslashes b);
void sql_read_free(struct sql_read *s);
DEFINE_CLEANUP(cleanup_sql_read, struct sql_read, sql_read_free);
/* 1 and *ret, valid until the next call; 0 at the end; -errno, EBADMSG with "line N: ..." for what is not understood.
 */
int sql_read_next(struct sql_read *s, struct sql_item *ret, struct err *e);
/* After the end: the SHA-256 of all that was read. */
void sql_read_sha256(struct sql_read *s, uint8_t out[ROW_SHA_LEN]);

/* What one pass over the whole file found. */
struct sql_scan {
	uint64_t statements, rows;
	uint8_t sha[ROW_SHA_LEN];
	bool backslashes; /* there are any in values */
	enum sql_backslashes reading;
	char why[160]; /* words on that reading, where it was a question */
	struct sql_seen {
		struct sql_name name;
		uint64_t line; /* the first one */
	} * tables;            /* each name once */
	size_t n_tables;
};
void sql_scan_done(struct sql_scan *c);
enum sql_choice { SQL_CHOICE_AUTO, SQL_CHOICE_PLAIN, SQL_CHOICE_DOUBLED };
struct sql_file {
	struct sql_source source;
	enum sql_choice backslashes; /* as its owner says; means nothing on MySQL */
	bool mysql;                  /* for MySQL or MariaDB: backslashes are escapes */
};
/*
 * Reads all of it and checks the grammar; a file without a statement is EBADMSG. mysql: backslashes are escapes. Else,
 * unless chosen: an odd number of backslashes side by side proves that they are not doubled. Without one, each document
 * (a value that begins with { or [) with backslashes is read both ways: what is a document one way only, is proof. No
 * backslash at all: no question. No proof, or one for each: EBADMSG with the line, for the two readings are different
 * data.
 */
int sql_scan(const struct sql_source *src, bool mysql, enum sql_choice choice, struct sql_scan *ret, struct err *e);

/* A source that reads the file open at *arg (an int). */
int sql_source_read_fd(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e);
