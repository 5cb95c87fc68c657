/*
 * drivers/postgres/internal.h - what the PostgreSQL driver's files share. Included by them and their tests only.
 *
 * Bottom first; a file calls only those above it in this list:
 *
 * text.c        names and values as SQL, rows as COPY's text format
 * query.c       running statements, waiting, cancelling
 * connection.c  connecting
 * lock.c        the list of relations, the locks on them, the lock of a restore
 * role.c        whether triggers act on what we do
 * describe.c    the description of the schema
 * left_out.c    what the snapshot does not hold
 * examine.c     settings, rights, counts, for a report
 * sequence.c    values of sequences, read and set
 * matview.c     materialised views: with rows or without, and their rows
 * foreign_key.c foreign keys of tables that are changed
 * change.c      restore that changes rows, foreign keys and triggers off
 * delete.c      rows deleted
 * load.c        COPY in
 * scan.c        COPY out
 * ambiguous.c   values that are names of several things
 * mark.c        marks, and which rows are newer than one
 * child.c       a program that runs beside us
 * script.c      pg_dump's text cut into statements
 * toc.c         its entries, one for each object
 * dump.c        schema text by pg_dump
 * clone.c       what the server makes of a definition, for a look
 * equal.c       whether two texts are one definition
 * rights.c      the rights on an object, set to the defaults
 * surroundings.c  what would be lost unseen with a table
 * aside.c       a rebuild's large tables, made by several connections beside the schema
 * depend.c      what hangs on an object that is to go
 * alter.c       an object made equal where it stands, by its two texts
 * outside.c     what hangs on the schema from outside: put back, or in the way
 * compare.c     how definitions differ, object by object, and what is to be done
 * drop.c        drops what is to go
 * rebuild.c     carries out what compare.c found
 * sql.c         text for psql: the schema with its rows
 * driver.c      opening, beginning and ending; the vtable
 *
 * A struct pg_conn belongs to one thread at a time, but for `cancelled` and `wake`, which pg_cancel sets from any.
 */
#pragma once

#include <libpq-fe.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "drivers/driver.h"

#define PG_LOCK_TIMEOUT "10s"

/* A relation of the schema as the catalog lists it: what must be the same before the locks and in the snapshot. */
struct pg_relation {
	char *name;
	char *oid;
	char *filenode;
	char kind;            /* 'r' table, 'p' partitioned table, 'f' foreign table */
	bool stray_partition; /* its partitioned table or one of its partitions is in another schema */
};

/* A table that the snapshot does not hold, at the other end of a foreign key of a relation that it holds. */
struct pg_outside {
	char *oid;
	char *name; /* as SQL spells it, with its schema */
	bool may_lock;
};

struct pg_listing {
	struct pg_relation *relations; /* by name, bytewise; excluded ones and members of extensions left out */
	size_t n_relations;
	char **excluded; /* oids of the excluded ones, NULL-terminated */
	size_t n_excluded;
	char **excluded_names;      /* in the same order */
	struct pg_outside *outside; /* by oid; for DB_WRITE only */
	size_t n_outside;
	bool schema_exists;
};

/* The open scan. */
struct pg_scan {
	bool open;
	bool at_end;
	bool saved;    /* a savepoint to go back to */
	bool sorts;    /* the server sorts for it: it can run out of room */
	uint64_t left; /* rows still to come; UINT64_MAX: not known */
	char *table;
	char *line; /* libpq's buffer of the current row */
	struct db_value *values;
	bool *binary; /* whether value i is bytea */
	size_t n_values;
};

/* The open load. */
struct pg_load {
	bool open;
	bool freeze; /* into a table that this transaction made and nobody knows; set before it is opened */
	char *table;
	char *plain; /* statements to be run after it; NULL: none */
	bool *binary;
	size_t n_values;
	struct strbuf buffer;
};

/* What the role of the transaction is and may be. */
struct pg_role {
	bool known;
	bool superuser;
	bool may_replica;
	bool is_replica;
};

/* What was put away: the statement that brings it back. */
struct pg_undo {
	char *sql;
	char *what;
	struct pg_undo *next;
};

/* A table that delete_* and load_* change. */
struct pg_touched {
	char *oid;
	bool origin;      /* in the role `origin` */
	char *delete_sql; /* by key; NULL: not made yet */
};

/* The table at one end of a foreign key. */
struct pg_key_end {
	char *oid;
	char *name;   /* as SQL spells it, with its schema */
	bool outside; /* the snapshot does not hold it */
};

struct pg_foreign_key {
	char *oid, *name, *definition;
	char *comment; /* NULL: none */
	char *tables;  /* " oid oid ": which of those asked for it is about */
	struct pg_key_end child, parent;
	bool validated, enforced, period;
	bool touched, dropped;
	uint64_t before;       /* orphans there were, where that counts */
	struct strbuf orphans; /* the query that counts them */
};

/* From change_begin to the end of the transaction. */
struct pg_change {
	bool on;        /* until change_end */
	bool published; /* there are publications */
	char **told;    /* oids of the tables that change_begin was given */
	size_t n_told;
	PGresult *away;      /* what is to be put away before they are changed */
	PGresult *operators; /* how their keys are compared; NULL: not asked yet */
	struct pg_touched *touched;
	size_t n_touched;
	struct pg_foreign_key *keys;
	size_t n_keys;
	struct pg_undo *undo; /* newest first */
};

struct pg_statement {
	char *sql;
	char *entry; /* "TABLE t": pg_dump's own comment above it; "" in the header */
	char *type;  /* "TABLE" */
	size_t at;   /* in the text */
	size_t end;
};

struct pg_script {
	struct pg_statement *statements;
	size_t n_statements;
};

/* ---- entries of pg_dump's text ---- */

/* What only --verbose tells of an entry. */
struct pg_toc_item {
	unsigned long id;        /* pg_dump's own number */
	uint32_t class_oid, oid; /* in the catalog; class 0: none of its own (rights, comments) */
	unsigned long *needs;    /* numbers of entries */
	size_t n_needs;
};

struct pg_toc {
	struct pg_toc_item *v; /* in the order of the text */
	size_t n;
};

#define PG_NONE SIZE_MAX

enum pg_deed {
	PG_DEED_KEEP,
	PG_DEED_ALTER, /* by the statements in `alter` */
	PG_DEED_GO,    /* the database's is dropped; the wanted is made */
};

struct pg_entry {
	char *type, *tag, *schema, *owner; /* as the comment above has them */
	char *text;                        /* its statements */
	size_t first, n;                   /* these, in the script */
	const char *tablespace, *method;   /* settings for it (statements of the script); NULL: none, or no matter */
	struct pg_toc_item toc;            /* of a text by --verbose; borrowed */
	/* What was found by comparison */
	size_t pair; /* the same object in the other text */
	enum pg_deed deed;
	size_t because;  /* of the database's entries: the one that this hangs on; PG_NONE: it differs itself */
	bool goes_along; /* the one that it is dropped with has a statement of its own */
	bool rights;     /* of an object whose rights are to be given anew */
	bool shrinks;    /* a table that loses columns or constraints by `alter` */
	char **alter;
	size_t n_alter;
};

struct pg_entries {
	struct pg_script script;
	struct pg_entry *v;
	size_t n;
};

/* Put back after the rebuild: what would go with our objects though it is none of them. */
struct pg_guest {
	char *what;
	char *drop; /* NULL: goes by itself */
	char *make;
	char *anyway; /* the same where rows do not fit (a foreign key's NOT VALID); NULL: none */
};

/* From compare to rebuild_end. */
struct pg_rebuild {
	char *sql; /* that was compared; NULL: nothing was */
	struct pg_entries live, want;
	struct pg_guest *guests;
	size_t n_guests;
	size_t next;                     /* entry of want */
	const char *tablespace, *method; /* settings in force; borrowed */
	char **old;                      /* "class oid" of all entries before, sorted */
	size_t n_old;
};

/* A program that runs; pid 0: none. */
struct pg_child {
	pid_t pid;
	int out, words; /* what it writes to standard output and standard error */
};

/* What scan_changed and mark know in this transaction (mark.c). */
struct pg_marks {
	bool known;
	char *why;           /* there are none: words */
	uint64_t xmin, xmax; /* of the snapshot, 64 bits */
	uint64_t lsn;        /* of the log's end, read after the snapshot was taken */
	struct pg_marked *tables;
	size_t n_tables;
};

/* A table that takes shape in the schema aside; indexes into the script's statements. */
struct pg_aside_table {
	char *name;
	char *relation; /* as the text spells it, with the schema */
	size_t create;
	size_t *after; /* its own indexes and keys */
	size_t n_after;
};

/* Of a leader, fixed by aside_begin: from then on other connections' threads read it. */
struct pg_aside {
	char *schema; /* NULL: nothing is set aside */
	char *target; /* the schema, as the text spells it */
	struct pg_script script;
	struct pg_aside_table *tables;
	size_t n_tables;
};

struct pg_conn {
	struct db_conn_head head;
	PGconn *pg;
	atomic_bool cancelled;
	int wake;            /* eventfd that pg_cancel writes, so that a waiting call sees `cancelled` at once */
	int64_t deadline_ms; /* of the running wait, once cancelled (or rolling back); 0: none */
	bool shielded;       /* COMMIT and ROLLBACK run to their end, cancelled or not */
	bool broken;         /* nothing more can be said on this connection */

	char *schema;
	char **exclude;
	char *server_version;
	char *token; /* value of a session setting, to notice a pooler that gave us another session */
	int version_num;
	bool sql_ascii;

	/* The transaction */
	bool active;
	bool advisory; /* the restore's session lock is held */
	enum db_access access;
	char *snapshot;
	struct pg_listing listing;
	struct pg_marks marks;
	struct pg_child dump; /* pg_dump, whose text schema_sql takes */
	struct pg_toc toc;    /* of that text, once it was taken */

	struct pg_scan scan;
	struct pg_load load;
	struct pg_role role;
	struct pg_change change;
	struct pg_rebuild rebuild;
	struct pg_aside aside;
};

/* ---- text.c ---- */

void pg_add_ident(struct strbuf *sb, const char *name);
void pg_add_literal(struct strbuf *sb, const char *text);
/* "schema"."name" of the connection's schema */
void pg_add_relation(struct strbuf *sb, const struct pg_conn *c, const char *name);
/* '{a,b}' of plain words such as oids */
void pg_add_oid_array(struct strbuf *sb, char *const *oids, size_t n);
/* One element of an array literal, always quoted; binary: it is bytea. */
void pg_add_element(struct strbuf *sb, const struct db_value *v, bool binary);
/* A row of COPY's text format, with its end; binary[i]: value i is bytea. */
void pg_add_copy_row(struct strbuf *sb, const struct db_value *values, const bool *binary, size_t n);
/* The n values of such a row, decoded in their places: the values point into `line`. */
int pg_read_copy_row(char *line, size_t len, struct db_value *values, const bool *binary, size_t n, struct err *e);

/* ---- query.c ---- */

/* Runs sql, with n text parameters ($1...) when n > 0, else as a simple query that may hold several statements.
 * *ret (may be NULL) is the last result. `what` begins the message of a failure. A COPY is left open for the caller. */
int pg_query(struct pg_conn *c, PGresult **ret, const char *what, const char *sql, int n, const char *const *params,
	     struct err *e);
int pg_do(struct pg_conn *c, struct err *e, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static inline const char *pg_cell(const PGresult *r, int row, int col)
{
	return PQgetisnull(r, row, col) ? NULL : PQgetvalue(r, row, col);
}
static inline void pg_clear_result(PGresult **r)
{
	PQclear(*r);
}
#define _cleanup_result_ _cleanup_(pg_clear_result)

/* A statement that the server may refuse: then *refusal has the words, and the transaction goes on as it was before. */
int pg_try(struct pg_conn *c, const char *what, const char *sql, struct err *refusal, struct err *e);

/* Fills *e from a failed result (NULL: from the connection); returns -e->code. */
int pg_fail(struct pg_conn *c, const PGresult *res, const char *what, struct err *e);
/* Waits until the connection can be read (or written, when asked). EINTR when cancelled: the server is told. */
int pg_wait(struct pg_conn *c, bool write, const char *what, struct err *e);
int pg_flush(struct pg_conn *c, const char *what, struct err *e);
/* Reads results up to the last; the first failure is returned, the last good one goes to *ret. */
int pg_drain(struct pg_conn *c, PGresult **ret, const char *what, struct err *e);

/* The driver's: from any thread. */
void pg_cancel(struct db_conn *conn);
bool pg_is_cancelled(struct pg_conn *c);
/* Asks the server to cancel the running statement; the waits until it answers are then limited. */
void pg_cancel_statement(struct pg_conn *c);
void pg_limit_wait(struct pg_conn *c);

/* EINVAL unless a transaction is open and a statement can be run in it. */
int pg_check_ready(const struct pg_conn *c, const char *what, struct err *e);
/* EINVAL unless a transaction is open that may write. */
int pg_check_write(const struct pg_conn *c, const char *what, struct err *e);
/* Whether COMMIT may be sent now. */
int pg_check_commit(struct pg_conn *c, struct err *e);
/* COMMIT or ROLLBACK, cancelled or not. ECONNRESET: the answer to a commit was lost. */
int pg_end(struct pg_conn *c, const char *sql, struct err *e);

/* ---- connection.c ---- */

int pg_connection_open(struct pg_conn **ret, const struct db_params *p, struct err *e);
/* Another connection to the same server, database and schema. */
int pg_connection_open_like(struct pg_conn **ret, struct pg_conn *like, struct err *e);
/* ENOTSUP: the session has not the token that its setting was given. */
int pg_refuse_pooler(struct err *e);
/* What connection.c owns, and c; what others own is to be released before. NULL is allowed. */
void pg_connection_free(struct pg_conn *c);
DEFINE_CLEANUP(cleanup_pg_connection, struct pg_conn, pg_connection_free);

/* ---- lock.c ---- */

int pg_list_relations(struct pg_conn *c, struct pg_listing *ret, struct err *e);
void pg_listing_done(struct pg_listing *l);
bool pg_listing_equal(const struct pg_listing *a, const struct pg_listing *b);
bool pg_listing_has(const struct pg_listing *l, const char *name);
/* The oid of a kept table, NULL when it is not in the listing. */
const char *pg_listing_oid(const struct pg_listing *l, const char *name);
/* NULL: none of that oid. */
const struct pg_outside *pg_listing_outside(const struct pg_listing *l, const char *oid);
/* Fills l->outside in, of the relations that are listed. */
int pg_list_outside(struct pg_conn *c, struct pg_listing *l, struct err *e);
/* Locks all of them; mode as LOCK TABLE has it. */
int pg_lock_tables(struct pg_conn *c, const struct pg_listing *l, const char *mode, struct err *e);
/* After a lock was not granted: who has it? Best effort, in words at the end of the message that is there. */
void pg_name_blockers(struct pg_conn *c, const struct pg_listing *l, struct err *e);
/* One restore into a schema at a time: EBUSY. Held by the session. */
int pg_take_restore_lock(struct pg_conn *c, struct err *e);
void pg_free_restore_lock(struct pg_conn *c);

/* ---- role.c ---- */

/* Sets session_replication_role: `replica` where that is wanted and allowed, else `origin`. */
int pg_role_set(struct pg_conn *c, bool replica, struct err *e);

/* ---- describe.c ---- */

/* Of the relations in c's listing. */
int pg_describe(struct pg_conn *c, struct db_schema **ret, struct err *e);

/* ---- left_out.c ---- */

/* Fills s->left_out in. */
int pg_left_out(struct pg_conn *c, struct db_schema *s, struct err *e);

/* ---- examine.c ---- */

int pg_examine(struct db_conn *conn, const struct db_schema *s, const char *measured, struct db_examination *ret,
	       struct err *e);

/* ---- sequence.c ---- */

int pg_finish(struct db_conn *conn, struct db_schema *s, struct err *e);
int pg_set_sequences(struct db_conn *conn, const struct db_schema *s, struct err *e);
int pg_advance_sequences(struct db_conn *conn, const struct db_table *t, const struct db_schema *known, struct err *e);

/* ---- matview.c ---- */

/* Adds to pg_dump's text that views of the schema are to have no rows: for each such view an entry of the type
 * MATERIALIZED VIEW DATA, whose statement is "REFRESH MATERIALIZED VIEW name WITH NO DATA;". Views without it have
 * rows. */
int pg_add_empty_views(struct pg_conn *c, struct strbuf *sql, struct err *e);
/* Whether the script has that entry for a view; its name as pg_matview_of gives it. */
bool pg_leaves_empty(const struct pg_script *script, const char *name, size_t len);
/* Computes again the rows of views: of those named in `fill` (as SQL spells them, with the schema), and of those in any
 * schema that have rows which may depend on the named ones or on the tables whose oids are in `touched`. One that
 * cannot be is a line in *warnings (may be NULL), no failure. After all rows, keys and triggers are in their places. */
int pg_refresh_views(struct pg_conn *c, char *const *touched, size_t n_touched, char *const *fill, size_t n_fill,
		     struct strbuf *warnings, struct err *e);

/* ---- foreign_key.c ---- */

/* Adds those of and to these tables (oids) to c->change. */
int pg_foreign_keys_read(struct pg_conn *c, char *const *tables, size_t n, struct err *e);
/* Before table `oid` is changed. EACCES: a table at the other end cannot be locked. */
int pg_foreign_keys_away(struct pg_conn *c, const char *oid, bool drop, struct err *e);
/* After all changes; orphans and outside as change_end has them. */
int pg_foreign_keys_back(struct pg_conn *c, struct strbuf *orphans, struct strbuf *outside, struct err *e);
void pg_foreign_keys_done(struct pg_change *x);

/* ---- change.c ---- */

int pg_change_begin(struct db_conn *conn, const struct db_schema *s, struct err *e);
int pg_change_end(struct db_conn *conn, struct strbuf *orphans, struct strbuf *outside, struct err *e);
int pg_refresh(struct db_conn *conn, struct strbuf *warnings, struct err *e);
/* Before each change to table t: nothing that hangs on it acts any more. Nothing to do in a rebuild. */
int pg_change_touch(struct pg_conn *c, const char *table, struct err *e);
/* After a load into it: constraints that are deferred are checked. */
int pg_change_loaded(struct pg_conn *c, const char *table, struct err *e);
/* NULL: it was not touched. */
struct pg_touched *pg_touched_find(const struct pg_conn *c, const char *oid);
/* To be run at change_end; takes the texts over. */
void pg_push_undo(struct pg_conn *c, char *sql, char *what);
void pg_change_done(struct pg_conn *c);

/* ---- delete.c ---- */

int pg_delete_keys(struct db_conn *conn, const struct db_table *t, const struct db_value *keys, size_t n_rows,
		   struct err *e);
int pg_delete_all(struct db_conn *conn, const struct db_table *t, struct err *e);

/* ---- load.c ---- */

int pg_load_begin(struct db_conn *conn, const struct db_table *t, struct err *e);
int pg_load_row(struct db_conn *conn, const struct db_value *values, struct err *e);
int pg_load_end(struct db_conn *conn, bool ok, struct err *e);
/* Ends one that is open; the transaction must be rolled back. */
void pg_release_load(struct pg_conn *c);
/* Forgets it, without a word to the server. */
void pg_load_done(struct pg_conn *c);

/* ---- scan.c ---- */

int pg_scan_open(struct db_conn *conn, const struct db_table *t, enum db_scan how, struct err *e);
int pg_scan_written(struct db_conn *conn, const struct db_table *t, uint64_t *ret_others, struct err *e);
/* Opens a scan, in key order, of the n_rows rows for which `where` holds (t is the table's name in it). tids: where
 * picks them by ctid. */
int pg_scan_some(struct pg_conn *c, const struct db_table *t, const char *where, bool tids, uint64_t n_rows,
		 struct err *e);
int pg_scan_next(struct db_conn *conn, const struct db_value **ret, struct err *e);
int pg_scan_close(struct db_conn *conn, struct err *e);
/* Ends one that is open, but for its savepoint: before a rollback. */
void pg_release_scan(struct pg_conn *c);
/* Forgets it, without a word to the server. */
void pg_scan_done(struct pg_conn *c);

/* ---- ambiguous.c ---- */

/* ENOTSUP: a table holds a value that cannot be written back. */
int pg_check_names(struct pg_conn *c, struct err *e);

/* ---- mark.c ---- */

int pg_mark(struct db_conn *conn, const struct db_table *t, struct strbuf *out, struct err *e);
int pg_scan_changed(struct db_conn *conn, const struct db_table *t, const char *mark, uint64_t *ret_unchanged,
		    struct err *e);
void pg_marks_done(struct pg_conn *c);

/* ---- child.c ---- */

#define PG_CHILD_PASS_FD 3
/* pass: a descriptor that the program gets as PG_CHILD_PASS_FD; -1: none. */
int pg_child_start(struct pg_child *ret, char *const argv[], char *const env[], int pass);
/* Waits for the program's end, its output to *out and its complaints to *words. Returns its exit status, or -errno:
 * -EINTR when c (may be NULL) is cancelled, -ETIMEDOUT. */
int pg_child_end(struct pg_conn *c, struct pg_child *child, int timeout_ms, struct strbuf *out, struct strbuf *words);
/* Ends one that still runs, if there is one: nobody wants its text. */
void pg_child_stop(struct pg_child *child);

/* ---- dump.c ---- */

/* Starts pg_dump in the snapshot of the transaction, for schema_sql (which does so itself where nobody did). */
int pg_dump_start(struct pg_conn *c, struct err *e);
int pg_schema_sql(struct db_conn *conn, const struct db_schema *s, struct strbuf *out, struct err *e);

/* ---- script.c ---- */

/* One word, number, operator, string with its quotes (and prefix), or other byte. */
struct pg_token {
	const char *at;
	size_t len;
};

/* The token after *p, which is moved behind it: 1. White space and comments are none. 0: the text ends; -EINVAL: inside
 * of a string or comment. Strings are read as under standard_conforming_strings = on. */
int pg_next_token(const char **p, struct pg_token *ret);
/* Whether it is this word, in either case, without quotes. */
bool pg_token_is(const struct pg_token *t, const char *wanted);
/* Cuts pg_dump's text into statements. EINVAL with words when it ends inside of one. */
int pg_script_parse(struct pg_script *ret, const char *sql, struct err *e);
void pg_script_done(struct pg_script *s);
/* Whether a statement starts with these words, in either case. */
bool pg_begins(const char *sql, const char *words);
/* The role of "ALTER ... OWNER TO role;", NULL for any other statement. *len: its length as written. */
const char *pg_owner_of(const char *sql, size_t *len);
/* What a target may refuse without a row or a definition being lost. */
bool pg_is_optional(const struct pg_statement *s);
/* The first statement whose type is one of these comes after the rows, and so do all behind it. */
bool pg_is_post_data(const char *type);
/* The name in CREATE MATERIALIZED VIEW, as the statement spells it; NULL: it is another one. */
const char *pg_matview_of(const struct pg_statement *s, size_t *len);

/* ---- clone.c ---- */

/* *ret is the connection on which definitions can be made for a look: NULL, c itself, when c's transaction may write;
 * else another with a transaction of its own, which the caller ends. */
int pg_temporary_connection(struct pg_conn *c, struct pg_conn **ret, struct err *e);
/* Runs statements and takes all back that they did. 1: *ret is the last one's result; 0: the server refused one. */
int pg_try_temporary(struct pg_conn *c, PGresult **ret, const char *sql, struct err *e);
/* Whether the server makes the same of both: 1, 0 (also where that cannot be seen). */
int pg_same_clones(struct pg_conn *c, const struct pg_script *a, const struct pg_script *b, struct err *e);

/* ---- equal.c ---- */

/* Whether two texts that pg_dump wrote, each all statements of an entry of this type and of one name, are the same
 * object to this server. In doubt they are not; connections that fail and locks that are not granted are errors.
 * Nothing stays behind. */
int pg_same_text(struct pg_conn *c, const char *type, const char *a, const char *b, bool *same, struct err *e);

/* ---- rights.c ---- */

/* Gives the object (one of pg_default_acl, too) the rights that pg_dump's ACL entries are differences to; its columns
 * none. What this server does not let us do is a line of *warnings. Nothing to do for classes that know no rights. */
int pg_rights_reset(struct pg_conn *c, const char *class_oid, const char *object_oid, struct strbuf *warnings,
		    struct err *e);
/* "FUNCTION s.f(a integer)" of "GRANT ... ON FUNCTION s.f(a integer) TO role;"; "" of other statements. */
char *pg_rights_target(const char *sql);
/* The member of an extension that a GRANT or REVOKE of pg_dump's is about: 1, or 0: it is about none. */
int pg_rights_of_member(struct pg_conn *c, const char *sql, char **class_oid, char **object_oid, struct err *e);

/* ---- surroundings.c ---- */

/* Fills *refusal when tables of this array (of pg_class, '{1,2}') cannot be made anew without something outside losing
 * them though pg_depend does not say so. */
int pg_refuse_lost(struct pg_conn *c, const char *oids, struct err *refusal, struct err *e);

/* ---- aside.c ---- */

int pg_aside_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, bool *set_aside, struct err *e);
int pg_aside_open(struct db_conn **ret, struct db_conn *leader, struct err *e);
int pg_aside_table(struct db_conn *conn, const struct db_conn *leader, const struct db_table *t, struct err *e);
int pg_aside_end(struct db_conn *conn, const struct db_conn *leader, const struct db_table *t, struct err *e);
int pg_aside_index(struct db_conn *conn, const struct db_conn *leader, const struct db_table *t, struct err *e);
int pg_aside_hold(struct db_conn *leader, const struct db_table *t, uint64_t rows, struct err *e);
int pg_aside_read(struct db_conn *conn, const struct db_conn *leader, const struct db_table *t, struct err *e);
void pg_aside_done(struct pg_conn *c);
/* Whether statement i of the script was run on a set aside table; *move is then the statement that takes its place, the
 * caller's, or NULL for none. */
bool pg_aside_has(const struct pg_conn *c, size_t i, char **move);
/* Inside the rebuild's transaction, when every set aside table has moved. */
int pg_aside_drop_empty(struct pg_conn *c, struct err *e);
int pg_settle(struct db_conn *conn, struct err *e);

/* ---- toc.c ---- */

/* Takes what --verbose adds out of the text. */
int pg_toc_strip(struct pg_toc *ret, const char *verbose, struct strbuf *out, struct err *e);
void pg_toc_done(struct pg_toc *t);
/* toc: of this text, NULL when nobody knows it. *ret is to be released also after a failure, before toc. */
int pg_entries_parse(struct pg_entries *ret, const char *sql, const struct pg_toc *toc, struct err *e);
void pg_entries_done(struct pg_entries *l);
/* After a name with its schema, as SQL spells it; NULL when there is none at p. */
const char *pg_after_qualified(const char *p, struct strbuf *schema, struct strbuf *name);

/* ---- depend.c ---- */

#define PG_CLASS_TYPE 1247
#define PG_CLASS_PROC 1255
#define PG_CLASS_RELATION 1259
#define PG_CLASS_AMOP 2602
#define PG_CLASS_AMPROC 2603
#define PG_CLASS_DEFAULT 2604
#define PG_CLASS_CAST 2605
#define PG_CLASS_CONSTRAINT 2606
#define PG_CLASS_RULE 2618
#define PG_CLASS_TRIGGER 2620
#define PG_CLASS_EXTENSION 3079
#define PG_CLASS_POLICY 3256
#define PG_CLASS_STATISTICS 3381
#define PG_CLASS_EVENT_TRIGGER 3466
#define PG_CLASS_TRANSFORM 3576
#define PG_CLASS_PUBLICATION_REL 6106

struct pg_object {
	uint32_t class_oid, oid;
	int sub; /* a column; 0: the whole */
};

/* object depends on ref; type: pg_depend's deptype. */
struct pg_edge {
	struct pg_object object, ref;
	char type;
};

struct pg_class_row {
	uint32_t oid;
	char kind;
	bool inherits; /* from others, or others from it */
};

/* Reached, and in no entry. */
struct pg_outsider {
	struct pg_object object, top; /* top: what it is a part of */
	size_t entry;                 /* what it depends on */
	char *name;
};

struct pg_depends {
	struct pg_edge *edges, *by_object;
	size_t n_edges;
	struct pg_class_row *classes;
	size_t n_classes;
	uint32_t *generated; /* oids of the expressions of generated columns, ascending */
	size_t n_generated;
	struct pg_object *seen;
	size_t n_seen;
	struct pg_outsider *outsiders;
	size_t n_outsiders;
};

int pg_depends_load(struct pg_conn *c, struct pg_depends *ret, struct err *e);
void pg_depends_done(struct pg_depends *d);
const struct pg_class_row *pg_depends_class(const struct pg_depends *d, uint32_t oid);
/* One after the other: what depends on o, and what o depends on. NULL: no more. */
const struct pg_edge *pg_depends_on(const struct pg_depends *d, struct pg_object o, const struct pg_edge *after);
const struct pg_edge *pg_depends_of(const struct pg_depends *d, struct pg_object o, const struct pg_edge *after);
/* o goes, with all that depends on it and what it is a part of. */
void pg_object_goes(struct pg_depends *d, struct pg_entries *live, struct pg_object o, size_t because);
/* The entry that makes o itself; NULL: none. */
struct pg_entry *pg_entry_of(struct pg_entries *live, struct pg_object o);
/* Entry i goes, with all that depends on it. */
void pg_entry_goes(struct pg_depends *d, struct pg_entries *live, size_t i, size_t because);
/* What depends on a column of the table that is entry i; the table stays. */
void pg_column_goes(struct pg_depends *d, struct pg_entries *live, size_t i, int column);
/* Whether an entry that goes is dropped with the relation that it belongs to. */
bool pg_goes_with_another(const struct pg_depends *d, struct pg_entries *live, const struct pg_entry *x);

/* ---- alter.c ---- */

/* Takes the statement over. */
void pg_add_alter(struct pg_entry *x, char *sql);
/* Fills x->alter with what makes the database's entry the wanted one (nothing: it is); columns that are to go are named
 * in *columns (NULL-terminated, the caller's). same: the statements that make it are the same to the server. table: the
 * database's CREATE TABLE, aligned; NULL: as it is. false: it cannot be altered. */
bool pg_alter_entry(bool same, const char *table, const struct pg_entries *live, const struct pg_entry *have,
		    const struct pg_entries *want, struct pg_entry *x, char ***columns);
/* The database's CREATE TABLE with the wanted one's words for columns and constraints that are the same to the server.
 * *ret is NULL when it cannot be read. */
int pg_align_table(struct pg_conn *c, const char *have, const char *want, char **ret, struct err *e);
/* Whether the two may yet be one table: they differ in expressions that were not compared. */
bool pg_may_be_same_table(const char *aligned, const char *want);
/* The statement that takes away what only the database has and that is no object of its own; NULL: it is one. */
char *pg_unmake_entry(const struct pg_entries *live, const struct pg_entry *x);

/* ---- outside.c ---- */

/* For each of the outsiders: how it is put back, in c's rebuild, or *refusal. */
int pg_look_outside(struct pg_conn *c, const struct pg_depends *d, const struct pg_entries *live, struct err *refusal,
		    struct err *e);
void pg_guests_done(struct pg_conn *c);
int pg_drop_guests(struct pg_conn *c, struct err *e);
/* outside: as in rebuild_end. */
int pg_return_guests(struct pg_conn *c, struct strbuf *outside, struct err *e);

/* ---- compare.c ---- */

int pg_compare(struct db_conn *conn, const struct db_definitions *live, const struct db_definitions *want,
	       const bool *touched, struct db_objects *ret, struct err *e);
void pg_rebuild_done(struct pg_conn *c);

/* ---- drop.c ---- */

/* The entries of the database that are to go. */
int pg_drop_entries(struct pg_conn *c, struct err *e);

/* ---- rebuild.c ---- */

int pg_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, const struct db_objects *o,
		     struct strbuf *warnings, struct err *e);
int pg_rebuild_end(struct db_conn *conn, struct strbuf *warnings, struct strbuf *outside, struct err *e);
