/*
 * drivers/sql_text.h - a database as SQL text that the engine's own client program loads. No connection is needed.
 *
 * One const struct of functions for each engine, chosen by the engine's name in struct db_schema. All of them append to
 * *out, which the caller empties between calls as it likes. A struct sql_text belongs to one thread at a time.
 */
#pragma once

#include "drivers/driver.h"

struct sql_text; /* each engine's own; starts with struct sql_text_head */

struct sql_dialect {
	/* A text that, loaded into an empty database, makes the whole of s: begin, for each table of s with rows
	 * text_table and text_row (the columns that are not generated, in table order), then text_end, which takes
	 * sequences and AUTO_INCREMENT values from s. s and its tables outlive the text. EINVAL: schema_sql is not a
	 * text of this engine's schema_sql. Where the engine can undo DDL the text works inside one transaction. */
	int (*text_begin)(struct sql_text **ret, const struct db_schema *s, const char *schema_sql, struct strbuf *out,
			  struct err *e);
	void (*text_table)(struct sql_text *t, const struct db_table *table, struct strbuf *out);
	int (*text_row)(struct sql_text *t, const struct db_value *values, struct strbuf *out, struct err *e);
	int (*text_end)(struct sql_text *t, struct strbuf *out, struct err *e);
	void (*text_free)(struct sql_text *t); /* NULL is allowed */

	/* For files of the former command line (snapshot/sqlfile/backup.h); NULL, both: there were none for this engine.
	 * A value as a literal without a line end in it, whatever its bytes; a name in quotes. */
	void (*literal)(const struct db_column *c, const struct db_value *v, struct strbuf *out);
	void (*name)(const char *name, struct strbuf *out);
};

struct sql_text_head {
	const struct sql_dialect *dialect;
};

extern const struct sql_dialect sql_dialect_postgres;
extern const struct sql_dialect sql_dialect_mysql; /* and MariaDB */
extern const struct sql_dialect sql_dialect_sqlite;

/* NULL: no such engine. */
const struct sql_dialect *sql_dialect_of(const char *engine);

static inline void sql_text_free(struct sql_text *t)
{
	if (t)
		((const struct sql_text_head *)t)->dialect->text_free(t);
}
DEFINE_CLEANUP(cleanup_sql_text, struct sql_text, sql_text_free);
