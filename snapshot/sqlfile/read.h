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

#include "base/strbuf.h"
#include "snapshot/row/digest.h"
#include "snapshot/sqlfile/item.h"
#include "snapshot/sqlfile/source.h"

struct sql_read;
struct sql_read *sql_read_new(const struct sql_source *src, enum sql_backslashes b);
void sql_read_free(struct sql_read *s);
DEFINE_CLEANUP(cleanup_sql_read, struct sql_read, sql_read_free);
/* 1 and *ret, valid until the next call; 0 at the end; -errno, EBADMSG with "line N: ..." for what is not understood.
 */
int sql_read_next(struct sql_read *s, struct sql_item *ret, struct err *e);
/* After the end: the SHA-256 of all that was read. */
void sql_read_sha256(struct sql_read *s, uint8_t out[ROW_SHA_LEN]);
