/*
 * snapshot/sqlfile/map.h - from what a `.sql` file says of a row to what a table takes: names to columns, texts to
 * values.
 *
 * Generated columns are the server's: a file that lists all columns of a table has values for them, which are left out.
 * Belongs to one thread.
 */
#pragma once

#include "drivers/driver.h"
#include "snapshot/sqlfile/read.h"

/* The table that a file means: of this name; else, unless the name was quoted on an engine that then tells case apart,
 * the only one whose name differs in case. NULL: none. */
const struct db_table *sql_map_find(const struct db_schema *s, const struct sql_name *name);

struct sql_map;
/* For rows of the shape of `item` (its columns and number of values) of table t, which is borrowed, of an engine as in
 * db_schema. EBADMSG, without the line: a column that is not there or named twice, another number of values. */
int sql_map_new(struct sql_map **ret, const struct db_table *t, const char *engine, const struct sql_item *item,
		struct err *e);
void sql_map_free(struct sql_map *m);
DEFINE_CLEANUP(cleanup_sql_map, struct sql_map, sql_map_free);
/* The item has the shape that m was made for; the table is the caller's to compare. */
bool sql_map_fits(const struct sql_map *m, const struct sql_item *item);
/* The table as a load needs it: with the columns that are given, in the file's order. */
const struct db_table *sql_map_table(const struct sql_map *m);
/* Generated columns whose values are left out. */
size_t sql_map_left_out(const struct sql_map *m);
/* Values for load_row, valid until the next call. EBADMSG, without the line: a value that is none for its column. */
int sql_map_row(struct sql_map *m, const struct sql_item *item, const struct db_value **ret, struct err *e);
/* The canonical line (row/row.h) that the server will have of the row mapped last, if it prints its values as the file
 * does (white space and escapes of documents aside). False: not all of its columns are given, or it is no row. */
bool sql_map_line(struct sql_map *m, struct strbuf *line);
