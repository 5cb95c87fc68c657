/*
 * drivers/schema.h - the description of a database, made by a driver and read by everybody else, and the choice of a
 * table's key. No state; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* How a column's values appear in the canonical row (snapshot/row/row.h gives the exact form). */
enum db_form {
	DB_FORM_TEXT,   /* string */
	DB_FORM_NUMBER, /* number where the server's text is a JSON number token, else string (NaN, 007) */
	DB_FORM_BOOL,   /* value text is "t" or "f" */
	DB_FORM_BINARY, /* raw bytes, base64 in the row */
	DB_FORM_JSON,   /* document whose white space the server does not keep: jsonb, MySQL json, whose driver spells
			    * types that text does not tell: 1.5E-0 (zeros say which), a needless escape in a string */
	DB_FORM_JSON_TEXT, /* document whose exact text is kept: PostgreSQL json, MariaDB json, SQLite JSON */
};

struct db_column {
	char *name;
	char *type; /* the server's words, with modifiers: "character varying(36)", "bigint unsigned" */
	enum db_form form;
	bool integer; /* DB_FORM_NUMBER of whole numbers in -2^63 .. 2^64-1 only: keys of it order as numbers */
	bool nullable;
	bool generated; /* never in the row, never inserted */
	/* Generated columns whose expression is exactly "member MEMBER of the JSON column DOCUMENT, as text or number",
	 * so that the value is a pure function of the row; else both NULL. The reader of the rows checks each one. */
	char *document;
	char *member;
};

/* Which columns tell rows apart (DESIGN: primary key, else the smallest NOT NULL unique key, ...). */
enum db_key_kind {
	DB_KEY_UNIQUE, /* key columns are unique and not null */
	DB_KEY_INDEX,  /* columns of the first index, then the row's SHA-256 and a running number */
	DB_KEY_NONE,   /* no key columns: SHA-256 and number */
};

struct db_table {
	char *name;
	struct db_column *columns; /* in table order, generated ones included, dropped ones not */
	size_t n_columns;
	enum db_key_kind key_kind;
	size_t *key; /* indexes into columns, in key order */
	size_t n_key;
	bool dynamic; /* values carry their own type (SQLite): see enum db_kind */
	bool
	    unproven; /* for a load: nobody compares afterwards, so a value that the server changes is an error of it */
	bool has_auto_increment;
	uint64_t auto_increment; /* next value; filled by `finish` (after the rows) */
	int64_t estimated_rows;  /* for progress only; -1 unknown */
};

struct db_sequence {
	char *name;
	int64_t last_value;
	bool is_called;
};

struct db_schema {
	char *engine;         /* "postgresql", "mysql", "mariadb", "sqlite" */
	char *server_version; /* "15.20", "9.7.4", ... */
	char *database;
	char *schema;            /* PostgreSQL; else NULL */
	char *app_version;       /* newest OpenMetadata version in the version tables; NULL when there is none */
	struct db_table *tables; /* ascending by name, bytewise; excluded ones not listed */
	size_t n_tables;
	struct db_sequence *sequences; /* ascending by name; values filled by `finish` */
	size_t n_sequences;
	char **left_out; /* what `begin` saw in the database that no restore of it brings back, in words */
	size_t n_left_out;
};

void db_table_done(struct db_table *t);
void db_schema_free(struct db_schema *s);
const struct db_table *db_schema_find(const struct db_schema *s, const char *table);
DEFINE_CLEANUP(cleanup_db_schema, struct db_schema, db_schema_free);

/* An index as a driver found it, for db_table_choose_key. Partial and expression indexes are not offered. */
struct db_index {
	char *name;
	bool primary;
	bool unique;
	size_t *columns;
	size_t n_columns;
};
/* Sets key_kind, key and n_key. A generated column can be part of the key only if it has a `document`. Deterministic:
 * primary; else the NOT NULL unique index with the fewest columns, ties by name; else the first index by name
 * whose columns are all usable; else none. */
void db_table_choose_key(struct db_table *t, const struct db_index *indexes, size_t n);
/* Description of t whose rows have no key of their own: for a key of generated columns that tell no rows apart (see
 * row_encode's EDOM). Borrows t's members. */
struct db_table db_table_without_key(const struct db_table *t);
