/*
 * drivers/driver.h - what metasnap needs of a database: one const struct of functions for each engine.
 *
 * The description of a database is in schema.h, connection parameters are in params.h.
 * A connection (struct db_conn) belongs to one thread at a time; only `cancel` may be called from any other.
 * Functions return 0 or -errno with words in *e (base/err.h). errno of a server's refusal, the same in all drivers
 * (drivers/sqlstate.c maps SQLSTATE, each driver its own numbers):
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
#include "drivers/examination.h"
#include "drivers/objects.h"
#include "drivers/params.h"
#include "drivers/schema.h"

/* ---- rows ---- */

/* Type of one value of a `dynamic` table; DB_KIND_COLUMN everywhere else. */
enum db_kind { DB_KIND_COLUMN, DB_KIND_INTEGER, DB_KIND_REAL, DB_KIND_TEXT, DB_KIND_BLOB };

/* One value: the server's text (bytes for DB_FORM_BINARY), not NUL-terminated. data NULL: SQL NULL. '' has data. */
struct db_value {
	const char *data;
	size_t len;
	enum db_kind kind;
};

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
	 * time after scan_open. -ERESTART at the end: all rows were given, but some without types that their text does
	 * not tell; who keeps or compares them opens the scan again and gets them with these (it ends, for the driver
	 * learns), who only looks takes it for the end. */
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

	/* What is to be done so that the live definitions (live->sql from schema_sql, in this transaction) become `want`,
	 * object by object: what is equal stays, what differs is altered where that is safe and certain, else made anew
	 * with what hangs on it. Two texts of an object are equal when the server has the same after either, whatever
	 * version of a tool wrote them. touched[i]: rows of table i of `want` will be changed, too (NULL: none): a driver
	 * that cannot do both at once makes such tables anew. What depends on an object that must go and is not ours (in
	 * another schema, excluded) is a refusal in *ret; -errno is for what could not be found out. Inside the
	 * transaction of begin(DB_READ or DB_WRITE); changes nothing. *ret is to be released also after a failure. */
	int (*compare)(struct db_conn *c, const struct db_definitions *live, const struct db_definitions *want,
		       const bool *touched, struct db_objects *ret, struct err *e);

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

	/* Rebuild: carries out what `compare` found on this connection (s and sql are its `want`, o its result), first
	 * part. The tables that are made anew can be loaded and scanned from then on; what is to go is gone at commit.
	 * All else stays as it is, unlocked against readers, and its rows can be changed between change_begin and
	 * change_end, which stand inside: rebuild_begin, change_begin, rows, rebuild_end, change_end. Until commit
	 * nobody sees anything of it (one transaction, or shadow tables and one RENAME). *warnings gets a line for each
	 * owner or privilege statement that the server refused; any other refusal is an error. */
	int (*rebuild_begin)(struct db_conn *c, const struct db_schema *s, const char *sql, const struct db_objects *o,
			     struct strbuf *warnings, struct err *e);
	/* After all loads: indexes, keys, constraints, triggers, rights. Orphans of the snapshot become warnings, and
	 * `outside` is as in change_end. */
	int (*rebuild_end)(struct db_conn *c, struct strbuf *warnings, struct strbuf *outside, struct err *e);

	/* Difference: foreign keys and triggers of the tables of s do not act until change_end, which validates the
	 * foreign keys again and puts them back. An orphan is EEXIST when `orphans` is NULL; else a line in it, where
	 * the engine can keep orphans at all: a whole snapshot is what the source held, orphans included, and must go
	 * back as it was. ENOTSUP: a trigger of a table of s can be neither kept from acting nor put back. */
	int (*change_begin)(struct db_conn *c, const struct db_schema *s, struct err *e);
	/* EIO unless each key was that of exactly one row. */
	int (*delete_keys)(struct db_conn *c, const struct db_table *t, const struct db_value *keys, size_t n_rows,
			   struct err *e);
	int (*delete_all)(struct db_conn *c, const struct db_table *t, struct err *e);
	/* `outside`: of tables that the snapshot does not hold (other schemas, excluded ones) rows may be left without
	 * their parent. NULL: EEXIST naming child table, key and number of rows; else a line in it for each such key. */
	int (*change_end)(struct db_conn *c, struct strbuf *orphans, struct strbuf *outside, struct err *e);
	/* After change_end and rebuild_end: computes again what the server keeps of the changed rows beside the tables
	 * (materialised views). One that cannot be is a line in *warnings, no failure. NULL: there is no such thing. */
	int (*refresh)(struct db_conn *c, struct strbuf *warnings, struct err *e);
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

	/* After loads into t alone: no sequence that belongs to a column of it will give out again what a row holds.
	 * known: before that they are set to what they are there; NULL: nobody knows their values, and one that counts
	 * down stays. NULL: the engine sees to that by itself. */
	int (*advance_sequences)(struct db_conn *c, const struct db_table *t, const struct db_schema *known,
				 struct err *e);

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
