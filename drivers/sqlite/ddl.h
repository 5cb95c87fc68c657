/*
 * drivers/sqlite/ddl.h - reading SQLite's own DDL text as far as the pragmas do not tell it. Included by drivers/ only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

enum sqlite_ddl_kind {
	SQLITE_DDL_END, /* nothing but white space and comments is left */
	SQLITE_DDL_TABLE,
	SQLITE_DDL_VIRTUAL, /* CREATE VIRTUAL TABLE */
	SQLITE_DDL_LATER,   /* index, view, trigger: after the rows */
	SQLITE_DDL_PRAGMA,  /* user_version, application_id: kept in the file's header */
	SQLITE_DDL_OTHER,   /* what a schema text of ours never holds */
};

/* The statement that begins at *script; moves *script behind its semicolon and sets start and length (without it). */
enum sqlite_ddl_kind sqlite_ddl_next(const char **script, const char **ret_start, size_t *ret_len);
#define SQLITE_VIRTUAL "virtual table"
/* What a statement of a schema text is about; the caller frees all three. NULL: not in this statement. */
struct sqlite_ddl_object {
	char *kind;  /* "table", SQLITE_VIRTUAL, "index", "view", "trigger", "pragma" */
	char *name;  /* without its quotes */
	char *table; /* of an index or a trigger */
};
void sqlite_ddl_object(const char *statement, struct sqlite_ddl_object *ret);
void sqlite_ddl_object_done(struct sqlite_ddl_object *o);
/* The text in the AS ( ... ) of a column in a CREATE TABLE statement; NULL when it has none. The caller frees. */
char *sqlite_ddl_generated(const char *create_table, const char *column);
/* The name in CREATE VIRTUAL TABLE name USING ..., as SQLite keeps it; NULL when it is something else. The caller frees. */
char *sqlite_ddl_virtual_name(const char *sql);
/* "name", its quotes doubled. */
void sqlite_quote(struct strbuf *sql, const char *name);
/* Whether a word stands in the statement outside of quotes and comments; any case. */
bool sqlite_ddl_has_word(const char *sql, const char *word);
/* Whether the name stands in it, quoted or not, as the name of something. */
bool sqlite_ddl_has_name(const char *sql, const char *name);
