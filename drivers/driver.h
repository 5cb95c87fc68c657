/*
 * drivers/driver.h - what metasnap needs of a database: one const struct of functions for each engine.
 *
 * The description of a database (struct db_schema and below) is made by a driver and read by everybody else.
 * A connection (struct db_conn) belongs to one thread at a time; only `cancel` may be called from any other.
 * Functions return 0 or -errno with words in *e (base/err.h). errno of a server's refusal, the same in all drivers
 * (drivers/schema.c maps SQLSTATE, each driver its own numbers):
 *   ECONNREFUSED EHOSTUNREACH ETIMEDOUT   server not reached          EACCES   login or privilege refused
 *   EBUSY       lock not granted in time  EAGAIN   definitions changed under the snapshot: take a new one
 *   EINTR       cancelled                 ECONNRESET connection lost  ENOSPC   server's disk full
 *   ENOTSUP     a thing metasnap does not keep (named)                EINVAL   bad URL or parameter
 *   EEXIST      a constraint refused a row                            EIO      everything else
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"

/* ---- connection parameters ---- */

struct db_params {
	char *engine;   /* URL scheme: "postgresql", "mysql", "sqlite" */
	char *host;     /* NULL: the client library's default. A value that starts with '/' is a socket (directory) */
	char *user;     /* NULL: the client library's default */
	char *password; /* NULL: from the client library's own files (PGPASSFILE, service, ~/.my.cnf). Never printed */
	char *database; /* sqlite: the file's path */
	char *schema;   /* PostgreSQL: the schema to keep, default "public" */
	char **options; /* the URL's other key, value pairs in turn, NULL-terminated; an unknown key is refused */
	char **exclude; /* globs of tables left out (fnmatch), NULL-terminated; may be NULL */
	unsigned port;  /* 0: default */
	unsigned connect_timeout_ms; /* 0: 5000 */
};

/* Parses "scheme://user:password@host:port/database?key=value&..." or "sqlite:PATH" (percent-decoding each part).
 * EINVAL with words on anything not understood. db_params_done frees the members (password is wiped first). */
int db_params_parse(struct db_params *ret, const char *url, struct err *e);
void db_params_done(struct db_params *p);
/* The URL without its password, for status and logs. */
char *db_params_describe(const struct db_params *p);
bool db_params_excludes(const struct db_params *p, const char *table);

/* ---- description of a database ---- */

/* How a column's values appear in the canonical row (snapshot/row/row.h gives the exact form). */
enum db_form {
	DB_FORM_TEXT,      /* string */
	DB_FORM_NUMBER,    /* number where the server's text is a JSON number token, else string (NaN, 007) */
	DB_FORM_BOOL,      /* value text is "t" or "f" */
	DB_FORM_BINARY,    /* raw bytes, base64 in the row */
	DB_FORM_JSON,      /* document whose white space the server does not keep: jsonb, MySQL json */
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
};

void db_table_done(struct db_table *t);
void db_schema_free(struct db_schema *s);
const struct db_table *db_schema_find(const struct db_schema *s, const char *table);
/* Description of t whose rows have no key of their own: for a key of generated columns that tell no rows apart (see
 * row_encode's EDOM). Borrows t's members. */
struct db_table db_table_without_key(const struct db_table *t);

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
/* Takes the derivation out of a generated column's expression: fills document and member of *c when `expression` is,
 * cast and quoting aside, one JSON member of one column (PostgreSQL: json ->> 'id', MySQL: json_unquote(json_extract(
 * `json`,'$.id')), `json` ->> '$.id', SQLite: json_extract(json,'$.id'), json ->> '$.id', json ->> 'id'); else leaves
 * them NULL. Casts to text types of any length, to integers and numeric are stripped: a value that a cast changed is
 * found out when the row is read. */
void db_column_derive(struct db_column *c, const char *expression);
/* errno for an SQLSTATE (the classes above); EIO when unknown. */
int db_errno_of_sqlstate(const char *sqlstate);

/* ---- rows ---- */

/* Type of one value of a `dynamic` table; DB_KIND_COLUMN everywhere else. */
enum db_kind { DB_KIND_COLUMN, DB_KIND_INTEGER, DB_KIND_REAL, DB_KIND_TEXT, DB_KIND_BLOB };

/* One value: the server's text (bytes for DB_FORM_BINARY), not NUL-terminated. data NULL: SQL NULL. '' has data. */
struct db_value {
	const char *data;
	size_t len;
	enum db_kind kind;
};

/* ---- what only SQL tells, for a report ---- */

/* A right that a snapshot or a restore needs and the account lacks. */
struct db_lack {
	char *right;     /* "SELECT on table tag" */
	char *statement; /* that gives it; several lacks may have the same one */
	bool restore;    /* only a restore needs it */
};

struct db_examination {
	char *account;      /* as the server names it; NULL: there are none */
	const char *hosted; /* who runs the server ("Amazon RDS"), where that shows; else NULL */
	/* The memory that one sort may use, as a new session gets it. setting NULL: the engine has none. */
	const char *setting;
	uint64_t setting_bytes;
	const char *setting_only; /* for whom that is so; NULL: it is the server's own value, for everybody */
	uint64_t *rows;           /* of each table of the schema, exact; NULL when no schema was given */
	bool measured;            /* of the one table: */
	uint64_t bytes, largest;  /* text of all its rows, of the largest */
	struct db_lack *lacks;
	size_t n_lacks;
};
void db_examination_done(struct db_examination *x);
/* Takes the two texts over. */
void db_examination_lack(struct db_examination *x, bool restore, char *right, char *statement);

/* ---- the driver ---- */

enum db_access {
	DB_READ,  /* a consistent snapshot; writers go on */
	DB_WRITE, /* the same moment, and no other session can change the tables until commit or rollback */
};

enum db_scan {
	DB_SCAN_ORDERED,   /* ascending by the key as the server's index has it: the caller checks the byte order */
	DB_SCAN_UNORDERED, /* any order */
	DB_SCAN_KEYS,      /* as ORDERED, of the n_key key columns only, in key order. EOPNOTSUPP: not by this driver,
			    * or the table has no key columns */
};

struct db_conn; /* each driver's own; starts with struct db_conn_head */

struct db_conn_head {
	const struct db_driver *driver;
};

struct db_driver {
	const char *scheme; /* of the URL */

	/* Connects within the deadline, checks the server's version, sets every session setting that changes text. */
	int (*open)(struct db_conn **ret, const struct db_params *p, struct err *e);

	/* Opens the transaction at one moment and describes it (ENGINES: locks before the snapshot; retries a bounded
	 * number of times when definitions change meanwhile, then EAGAIN). When it returns the moment is fixed.
	 * *ret is the caller's. Tables that cannot be kept (foreign tables, MyISAM, ...) give ENOTSUP naming them. */
	int (*begin)(struct db_conn *c, enum db_access access, struct db_schema **ret, struct err *e);

	/* Another connection's transaction sees the same moment (PostgreSQL exported snapshot). NULL or ENOTSUP: not
	 * here. Called while the leader's transaction is open; from then on the two are independent, each on its own
	 * thread. What may follow on such a connection: scan_*, mark, scan_changed, commit, rollback, cancel, close.
	 * EBUSY: another session waits for a lock that would shut us out; go on with the leader alone. */
	int (*begin_like)(struct db_conn *c, struct db_conn *leader, const struct db_schema *s, struct err *e);

	/* Appends the DDL that makes this schema on an empty database of the same engine, fit for the engine's own
	 * client program; without what changes with the data (AUTO_INCREMENT, sequence values), without dates and
	 * versions. Byte-identical for an unchanged schema. Inside the transaction of begin(DB_READ or DB_WRITE). */
	int (*schema_sql)(struct db_conn *c, const struct db_schema *s, struct strbuf *out, struct err *e);

	/* Streams table t (of the schema that begin gave). One scan at a time on a connection. scan_next: 1 and *ret =
	 * values, valid until the next call: the columns that are not generated in table order, then the generated ones
	 * of the key in key order (DB_SCAN_KEYS: the key's columns only); 0 at the end; -errno. scan_close: safe at any
	 * time after scan_open. */
	int (*scan_open)(struct db_conn *c, const struct db_table *t, enum db_scan how, struct err *e);
	int (*scan_next)(struct db_conn *c, const struct db_value **ret, struct err *e);
	int (*scan_close)(struct db_conn *c, struct err *e);

	/* Reading what changed. NULL, both: not by this driver.
	 *
	 * mark appends a word that describes table t at this transaction's moment: opaque, without white space, for
	 * scan_changed in a later transaction, on this database as it then is or on what took its place. Nothing
	 * appended: the table cannot be read incrementally. Called in the transaction that reads the table, not while a
	 * scan is open; before anything was changed in it (DB_WRITE).
	 *
	 * scan_changed opens a scan of the rows that may be newer than `mark`, ordered as DB_SCAN_ORDERED has it, with
	 * scan_next and scan_close as after scan_open; *ret_unchanged is the number of the other rows of the table at
	 * this moment. Each of those was there when the mark was made, with the values it has now (so their number
	 * equals the table's then only if none of them has gone or is newer). -ESTALE with words why: the mark does not
	 * hold here; no scan is open, and the whole table must be read. */
	int (*mark)(struct db_conn *c, const struct db_table *t, struct strbuf *out, struct err *e);
	int (*scan_changed)(struct db_conn *c, const struct db_table *t, const char *mark, uint64_t *ret_unchanged,
			    struct err *e);

	/* Settings and rights; with s (in the transaction of begin) also every table's rows and the size of the table
	 * named `measured`, where there is one. s NULL: no transaction is open. Changes nothing. *ret is to be released
	 * also after a failure. */
	int (*examine)(struct db_conn *c, const struct db_schema *s, const char *measured, struct db_examination *ret,
		       struct err *e);

	/* After the rows: fills sequences and auto_increment values (they move outside of transactions). */
	int (*finish)(struct db_conn *c, struct db_schema *s, struct err *e);

	/* ---- restore: only after begin(DB_WRITE), in this order ---- */

	/*
	 * Large tables of a rebuild, made by several connections at a time where nobody looks, committed one by one,
	 * and put in their places inside the one transaction. NULL, all: not by this driver.
	 *
	 * aside_begin, on the leader: leaves set_aside[i] true for those of the wanted tables of s that will be exactly
	 * what rebuild_begin would make of them; none is no error. aside_open: a connection for a worker, on its own
	 * thread from then on, which reads what aside_begin fixed in the leader and nothing else. There, for one table
	 * after the other: aside_table, load_*, aside_end (its keys; committed). Then, on the leader: aside_hold locks
	 * it until the end of the leader's transaction, which must see its `rows` rows (else EIO). Then, on any
	 * workers, at the same time if need be: aside_index (committed); aside_read, and a scan and commit tell what is
	 * in it. When all that is done, rebuild_begin takes the tables in.
	 *
	 * Workers go (commit or rollback, close) before rebuild_begin. What a failure leaves is for settle, after the
	 * leader's rollback.
	 */
	int (*aside_begin)(struct db_conn *leader, const struct db_schema *s, const char *sql, bool *set_aside,
			   struct err *e);
	int (*aside_open)(struct db_conn **ret, struct db_conn *leader, struct err *e);
	int (*aside_table)(struct db_conn *c, const struct db_conn *leader, const struct db_table *t, struct err *e);
	int (*aside_end)(struct db_conn *c, const struct db_conn *leader, const struct db_table *t, struct err *e);
	int (*aside_hold)(struct db_conn *leader, const struct db_table *t, uint64_t rows, struct err *e);
	int (*aside_index)(struct db_conn *c, const struct db_conn *leader, const struct db_table *t, struct err *e);
	int (*aside_read)(struct db_conn *c, const struct db_conn *leader, const struct db_table *t, struct err *e);

	/* Rebuild: replaces the whole schema by `sql` (from schema_sql), data-independent part. The tables that s names
	 * can be loaded and scanned from then on; others of the old schema that p->exclude does not match are gone at
	 * commit. Old tables stay untouched until commit (one transaction, or shadow tables and one RENAME). *warnings
	 * gets a line for each owner or privilege statement that the server refused; any other refusal is an error. */
	int (*rebuild_begin)(struct db_conn *c, const struct db_schema *s, const char *sql, struct strbuf *warnings,
			     struct err *e);
	/* After all loads: indexes, keys, constraints, triggers. Orphans of the snapshot become warnings, as in
	 * change_end. */
	int (*rebuild_end)(struct db_conn *c, struct strbuf *warnings, struct err *e);

	/* Difference: foreign keys and triggers of the tables of s do not act until change_end, which validates the
	 * foreign keys again and puts them back. An orphan is EEXIST when `orphans` is NULL; else a line in it, where
	 * the engine can keep orphans at all: a whole snapshot is what the source held, orphans included, and must go
	 * back as it was. */
	int (*change_begin)(struct db_conn *c, const struct db_schema *s, struct err *e);
	/* Whether change_begin would refuse these tables (ENOTSUP), also inside begin(DB_READ). NULL: it never does. */
	int (*change_check)(struct db_conn *c, const struct db_schema *s, struct err *e);
	/* EIO unless each key was that of exactly one row. */
	int (*delete_keys)(struct db_conn *c, const struct db_table *t, const struct db_value *keys, size_t n_rows,
			   struct err *e);
	int (*delete_all)(struct db_conn *c, const struct db_table *t, struct err *e);
	int (*change_end)(struct db_conn *c, struct strbuf *orphans, struct err *e);
	/* After change_end: opens an unordered scan of those rows of t that this transaction wrote, and counts the
	 * others. What is not in the scan is a row as it was before the transaction; so with delete_keys, which takes
	 * away exactly the rows whose keys it is given, the scan and the count tell the whole table. A row that was not
	 * written may be in the scan (then read the table). NULL: not by this driver. */
	int (*scan_written)(struct db_conn *c, const struct db_table *t, uint64_t *ret_others, struct err *e);

	/* Bulk insert, in both modes. load_row: the columns that are not generated, in table order; copied before it
	 * returns. One load at a time; no scan meanwhile. load_end(c, false) abandons (the transaction must then be
	 * rolled back). */
	int (*load_begin)(struct db_conn *c, const struct db_table *t, struct err *e);
	int (*load_row)(struct db_conn *c, const struct db_value *values, struct err *e);
	int (*load_end)(struct db_conn *c, bool ok, struct err *e);

	/* After loads of rows whose sequences nobody knows: no sequence that belongs to a column of t will give out
	 * again what a row holds. One that counts down stays. NULL: the engine sees to that by itself. */
	int (*advance_sequences)(struct db_conn *c, const struct db_table *t, struct err *e);

	/* Sequences and AUTO_INCREMENT of s, so that ROLLBACK undoes it where the engine can; else done right after
	 * commit. */
	int (*set_sequences)(struct db_conn *c, const struct db_schema *s, struct err *e);

	/* What a crashed restore may have left at the server (shadow tables). Outside a transaction; nothing to do is
	 * success. */
	int (*settle)(struct db_conn *c, struct err *e);

	/* commit after begin(DB_READ) only ends the transaction. A commit whose answer was lost: ECONNRESET. */
	int (*commit)(struct db_conn *c, struct err *e);
	void (*rollback)(struct db_conn *c);

	/* From any thread, at any time between open and close; never blocks long; the running call then fails with
	 * EINTR. */
	void (*cancel)(struct db_conn *c);
	void (*close)(struct db_conn *c); /* NULL is allowed; rolls back */
};

extern const struct db_driver db_driver_postgres;
extern const struct db_driver db_driver_mysql; /* MySQL 8.0-9.x and MariaDB */
extern const struct db_driver db_driver_sqlite;

/* The driver of p->engine, opened through the tracing driver when METASNAP_TRACE names a file. */
int db_open(struct db_conn **ret, const struct db_params *p, struct err *e);

static inline const struct db_driver *db_driver_of(const struct db_conn *c)
{
	return ((const struct db_conn_head *)c)->driver;
}

static inline void db_close(struct db_conn *c)
{
	if (c)
		db_driver_of(c)->close(c);
}

DEFINE_CLEANUP(cleanup_db_close, struct db_conn, db_close);
DEFINE_CLEANUP(cleanup_db_schema, struct db_schema, db_schema_free);
