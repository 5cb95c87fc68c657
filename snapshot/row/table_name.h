/*
 * snapshot/row/table_name.h - the file name of a table: the same in the tree, in archives and in the index of names.
 * Any thread.
 */
#pragma once

#include "base/strbuf.h"

/* A table's name as a file name: '%', '/', '\\', bytes below 0x20 and 0x7f, and a first '.' percent-encoded; all else
 * as it is. */
void table_file_name(const char *table, struct strbuf *out);
/* The way back: 0, or -ENOENT when no table has this file name. */
int table_of_file_name(const char *file, struct strbuf *table);
