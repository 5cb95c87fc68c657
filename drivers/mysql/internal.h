/*
 * drivers/mysql/internal.h - what the files of the MySQL/MariaDB driver share; nobody else includes it.
 *
 * Bottom first; no file calls a function of a later one:
 *   query           SQL text, errors, results              pool            loads of a rebuild on several threads
 *   connect         reaching a server                      load            rows into a table
 *   connection      open, session settings, cancel         foreign         orphans of foreign keys
 *   lock            between restores, and of tables        auto_increment  read after the rows, set after the commit
 *   catalog         tables and columns by name             shadow          the two databases beside one
 *   describe        tables, columns, keys                  journal         the record of a rebuild
 *   examine         settings, rights, counts               settle          a rebuild to one end or the other
 *   words           a definition's words                   build           new tables in the shadow database
 *   normal          one thing in other words               grants          rights on routines
 *   script          definitions as text, and apart         trial           what is not a table, made there once
 *   ddl             definitions from the server            lift            triggers that do nothing for a while
 *   statement       a definition is run                    change          changes of rows in tables that stay
 *   sum             what the rows of a table add up to     swap            the RENAME
 *   typed, places   members of JSON with types             compare         definitions, object by object
 *   doubt           values that text cannot carry          rebuild         what differs, replaced
 *   scan            rows of one table                      sql             text for the client program
 *   target, batch   rows as INSERTs or LOAD DATA           driver          begin, commit, the table of functions
 */
#pragma once

#include <stdatomic.h>

#include <mysql.h>

#include "drivers/driver.h"

/* Debian's headers are MariaDB Connector/C's; Oracle's differ in my_bool and in the TLS options. */
#if defined(MARIADB_PACKAGE_VERSION) || defined(LIBMARIADB)
#define MY_CLIENT_MARIADB 1
typedef my_bool my_client_bool;
#else
#define MY_CLIENT_MARIADB 0
typedef bool my_client_bool;
#endif

/* Error numbers that decide something here: the server's (mysqld_error.h differs between the two client libraries), the
 * client library's. */
enum {
	MY_ER_ACCESS_DENIED = 1045,
	MY_ER_BAD_FIELD = 1054,
	MY_ER_NO_SUCH_TABLE = 1146,
	MY_ER_SPECIFIC_ACCESS_DENIED = 1227,
	MY_ER_NO_SUCH_ROUTINE = 1305,
	MY_ER_QUERY_INTERRUPTED = 1317,
	MY_ER_VIEW_INVALID = 1356,
	MY_ER_NO_SUCH_USER = 1449,

	MY_CR_SERVER_GONE = 2006,
	MY_CR_SERVER_LOST = 2013,
};

enum my_read {
	MY_READ_PLAIN,
	MY_READ_NUMBER, /* zerofill: col + 0 */
	MY_READ_DOUBLE, /* FLOAT and DOUBLE(m,d): col * 1e0 gives every digit and keeps -0 */
};

/* Which values of a column may not come back the same from their text; see doubt.c. */
enum my_doubt {
	MY_DOUBT_NEVER,
	MY_DOUBT_MARK,   /* ascii and latin1: a '?' may stand for a byte that the character set does not have */
	MY_DOUBT_ALWAYS, /* another character set than utf8 */
};

struct my_column {
	char *name;
	char *charset;            /* NULL: not text */
	char *collation;          /* likewise */
	char *empty_member;       /* ENUM or SET: "enum" or "set" when '' is one of its members */
	struct my_places *places; /* MySQL's JSON: where its documents have values of which the text tells no type */
	enum my_read read;
	enum my_doubt doubt;
	bool is_enum;
	bool is_bit;
	bool generated;
};

struct my_index {
	char *name;
	bool visible;
	bool ascending;  /* all parts ascending, or all descending: one direction of the index gives key order */
	size_t *columns; /* into my_table.columns */
	size_t n_columns;
};

/* Of the rows of a table, whatever their order. */
struct my_sum {
	uint64_t n_rows, a, b;
};

struct my_table {
	char *name;
	struct my_column *columns;
	size_t n_columns;
	struct my_index *indexes;
	size_t n_indexes;
	bool scanned;      /* in DB_WRITE: once to its end */
	struct my_sum sum; /* of the rows as the scan gave them */
};

/* The private side of a description: of the database, or of the shadow database while rebuilding. */
struct my_catalog {
	struct my_table *tables; /* ascending by name, bytewise */
	size_t n_tables;
};

struct my_names {
	char **names;
	size_t n;
};

/* In the order in which they are made. MY_DATABASE: its defaults, last, because what was made under others changes them
 * for a moment. */
enum my_object {
	MY_TABLE,
	MY_FUNCTION,
	MY_PROCEDURE,
	MY_PACKAGE,
	MY_PACKAGE_BODY,
	MY_VIEW,
	MY_TRIGGER,
	MY_EVENT,
	MY_DATABASE,
	MY_LEFT_OUT, /* in a script: the account did not see whether there are any; its name is the kind's word */
	MY_GRANT,    /* in a rebuild: a right on a routine that is made anew */
	MY_N_OBJECTS
};

struct my_statement {
	enum my_object kind;
	char *name;
	char *settings;  /* "SET ..." to run first; NULL: none */
	char *collation; /* the database's default that the body was made under; NULL: as it is, or unknown */
	char *sql;
	char *table;   /* of a trigger */
	char *indexes; /* rebuild, tables: ALTER TABLE that adds what the table was made without; NULL: nothing */
	bool same;     /* rebuild: is in the database already and stays */
	bool invalid;  /* rebuild: a view that names what is not there */
};

struct my_script {
	struct my_statement *statements;
	size_t n;
};

struct my_table_auto {
	char *table;
	uint64_t next;
};

/* Connections that load a rebuild; the server's work for one batch of rows keeps one of its threads busy. */
#define MY_POOL_THREADS 2
struct my_pool;

enum my_mode { MY_MODE_NONE, MY_MODE_REBUILD, MY_MODE_CHANGE };

/* Rows on their way: INSERTs, or one LOAD DATA LOCAL and the file that it asks for. */
struct my_batch {
	struct strbuf sql; /* the statements without anything between them */
	struct my_insert {
		size_t end;    /* in sql */
		size_t n_rows; /* that it holds */
		size_t n_lax;  /* values that only a lax sql_mode accepts */
	} * inserts;
	size_t n_inserts;
	struct strbuf file;             /* empty: INSERTs */
	const struct my_table *details; /* of the table */
	bool unproven;                  /* nobody reads back what it writes: warnings tell what the server changed */
};

/* How the rows of one table are written. */
struct my_target {
	const struct db_table *table; /* NULL: none */
	struct my_table *details;
	size_t *columns; /* of details, for each value in turn */
	size_t *sources; /* of table, likewise; in the same memory */
	size_t n_columns;
	struct strbuf insert; /* INSERT INTO ... VALUES */
	struct strbuf infile; /* LOAD DATA LOCAL ...; empty: not here */
};

struct my_load {
	struct my_target to; /* its table NULL: no load is open */
	struct my_batch batch;
};

struct my_scan {
	const struct db_table *table; /* NULL: no scan is open */
	struct my_table *details;
	MYSQL_RES *result;
	struct db_value *values;
	size_t n_values;
	size_t n_summed;      /* the columns of the row; generated ones of the key follow */
	size_t *columns;      /* of details, for each value in turn */
	size_t *key;          /* values that are the key, in key order; in the same memory */
	struct strbuf *texts; /* of each value: its document as it is given, with spellings; NULL: there are none */
	bool doubtful;        /* some column may hold values in doubt */
	bool documents;       /* some column is MySQL's JSON */
	uint64_t n_doubts;    /* rows that the server must be asked about at the end */
	struct strbuf asks;   /* their keys as an SQL list, while it is short */
};

struct my_conn {
	struct db_conn_head head; /* first */
	MYSQL *my;
	struct db_params params;
	bool mariadb;
	unsigned version; /* 101119, 90704 */
	char *server_version;
	char *database; /* as the server writes it */
	unsigned long thread_id;
	size_t max_packet;
	atomic_bool cancelled;
	atomic_bool shielded, killing; /* no KILL now; one may be under way */
	int cancel_fd; /* duplicate of the socket, so that cancel never shuts down a stranger's descriptor */

	enum db_access access;
	bool in_transaction;
	bool advisory; /* GET_LOCK held */
	struct my_catalog catalog;
	struct my_scan scan;
	struct my_load load;

	enum my_mode mode;
	struct my_names changed;     /* tables of change_begin */
	struct my_table_auto *autos; /* AUTO_INCREMENT values to set after the commit */
	size_t n_autos;

	/* rebuild: see rebuild.c. Builder and loaders stay until close, so that cancel may look at them any time. */
	_Atomic(struct my_conn *) builder;
	_Atomic(struct my_conn *) loaders[MY_POOL_THREADS];
	struct my_pool *pool;       /* of the builder */
	bool infile;                /* of the builder: the server takes LOAD DATA LOCAL */
	const struct strbuf *offer; /* of a loader: the file that the statement under way may ask for */
	size_t offered;             /* bytes of it that are given */
	struct my_script *script;   /* what is wanted */
	struct my_script drops;     /* what goes, by kind and name */
	struct my_script lifted;    /* triggers that do nothing in this session meanwhile */
	size_t n_made;              /* tables that are made in the shadow database */
	char *old;                  /* database where the old tables go, and the journal is; NULL: there is none */
};

/* Seconds that a statement waits for a lock. */
#define MY_LOCK_WAIT_S "10"

/* Tables that are named in one statement or one round trip. */
#define MY_BATCH_TABLES ((size_t)64)

/* The only file that a loader's server may ask for, and it is no file. */
#define MY_INFILE "metasnap"

/* Takes what a table can hold (zero dates, id 0), refuses what the server would have to change. */
#define MY_WRITE_MODE "STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO"
/* For definitions, and for ENUM's error value (index 0, text ''), which no strict mode accepts. */
#define MY_LAX_MODE "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO"

/* A statement is not begun any more. */
static inline bool my_cancelled(struct my_conn *c)
{
	return atomic_load(&c->cancelled) && !atomic_load(&c->shielded);
}

/* ---- query.c ---- */

/* Appends with %i identifier (backticks), %q string literal, %s verbatim, %u unsigned, %l uint64_t, %z size_t. */
void my_sql(struct strbuf *sb, const char *fmt, ...);
void my_sql_quote(struct strbuf *sb, const char *s, size_t len);
void my_sql_hex(struct strbuf *sb, const char *s, size_t len);
/* The column in a SELECT, so that its text has every digit. */
void my_sql_read(struct strbuf *sb, const struct my_column *col);
/* A literal that the column's index can be searched with. */
void my_sql_key(struct strbuf *sb, const struct db_column *col, const struct my_column *mine, const struct db_value *v);
/* The connection's last error as *e, with "words: " in front. Returns -errno. */
int my_fail(struct my_conn *c, struct err *e, const char *words);
int my_errno_of(unsigned server_errno, const char *sqlstate);
int my_exec_len(struct my_conn *c, struct err *e, const char *sql, size_t len);
int my_exec(struct my_conn *c, struct err *e, const char *fmt, ...); /* fmt of my_sql */
int my_select(struct my_conn *c, MYSQL_RES **ret, struct err *e, const char *fmt, ...);
/* First field of the first row; *ret NULL when there is no row or it is NULL. */
int my_select_one(struct my_conn *c, char **ret, struct err *e, const char *fmt, ...);
/* Statements separated by ';', each of which gives a result, in one round trip: `each` sees the results in turn. */
int my_select_each(struct my_conn *c, const char *sql, size_t len,
		   int (*each)(void *arg, size_t i, MYSQL_RES *res, struct err *e), void *arg, struct err *e);
unsigned my_last_errno(struct my_conn *c);

static inline void my_result_free(MYSQL_RES *r)
{
	if (r)
		mysql_free_result(r);
}
DEFINE_CLEANUP(cleanup_my_result, MYSQL_RES, my_result_free);
#define _cleanup_result_ _cleanup_(cleanup_my_result)

/* ---- connect.c ---- */

/* loader: the connection that may offer a file later; NULL: none. */
int my_connect(MYSQL **ret, const struct db_params *p, const char *database, unsigned timeout_ms,
	       struct my_conn *loader, struct err *e);
int my_socket_of(MYSQL *my);

/* ---- connection.c ---- */

struct my_conn *my_conn_of(struct db_conn *c);
/* loader: a connection that may send files, but only what its `offer` says. A failure leaves nothing open. */
int my_open_database(struct my_conn **ret, const struct db_driver *driver, const struct db_params *p,
		     const char *database, bool loader, struct err *e);
/* One more connection of the same driver with the same parameters and session settings. */
int my_open_like(struct my_conn **ret, const struct my_conn *c, struct err *e);
int my_open_loader(struct my_conn **ret, const struct my_conn *c, struct err *e);
/* Ends the connection and frees *c; what other files keep in it is gone already. NULL is allowed. */
void my_disconnect(struct my_conn *c);
/* sql_mode and checks: as the connection was opened (also after a cancel), for rows, for definitions. */
void my_set_reading(struct my_conn *c);
int my_set_writing(struct my_conn *c, struct err *e);
int my_set_building(struct my_conn *c, struct err *e);
/* Once for a connection that makes definitions: what permits tables that were made when more was allowed. */
void my_set_permissive(struct my_conn *c);
int my_use(struct my_conn *c, const char *database, struct err *e);
void my_cancel(struct db_conn *c);
/* In between no KILL comes: MariaDB 10.11 leaves half a trigger when CREATE TRIGGER is interrupted. A cancel then takes
 * effect afterwards. */
void my_shield(struct my_conn *c);
void my_unshield(struct my_conn *c);
/* The connection that scans and loads use now. */
static inline struct my_conn *my_active(struct my_conn *c)
{
	return c->mode == MY_MODE_REBUILD && atomic_load(&c->builder) ? atomic_load(&c->builder) : c;
}

/* ---- lock.c ---- */

/* Two restores of one database at once would each undo the other. Builder and loaders have locks of their own: after a
 * crash their last statements may still be running when the first connection is gone already. */
enum my_lock { MY_LOCK_RESTORE, MY_LOCK_BUILD, MY_LOCK_LOAD, MY_N_LOCKS = MY_LOCK_LOAD + MY_POOL_THREADS };
#define MY_ADVISORY_WAIT_S 15
/* EBUSY: another session holds it. */
int my_lock_advisory(struct my_conn *c, const char *database, enum my_lock lock, unsigned wait_s, struct err *e);
/* All that c holds. */
void my_unlock_advisory(struct my_conn *c);
/* So that no definition can change (DB_READ) and no row (DB_WRITE) until the end of the transaction. */
int my_pin(struct my_conn *c, const struct my_names *names, enum db_access access, struct err *e);

/* ---- catalog.c ---- */

void my_catalog_done(struct my_catalog *cat);
#define _cleanup_catalog_ _cleanup_(my_catalog_done)
struct my_table *my_catalog_find(const struct my_catalog *cat, const char *table);
struct my_column *my_table_column(struct my_table *t, const char *name, size_t *ret_index);
void my_names_done(struct my_names *n);
#define _cleanup_names_ _cleanup_(my_names_done)

/* ---- describe.c ---- */

/* Tables of a database that are not excluded, ascending bytewise. ENOTSUP names those that cannot be kept. */
int my_list_tables(struct my_conn *c, const char *database, struct my_names *ret, struct err *e);
/* Whether '' is a member of the type enum('a','','b') or set(...). */
bool my_has_empty_member(const char *column_type);
/* *ret may be NULL when only the catalog is wanted. */
int my_describe(struct my_conn *c, const char *database, struct my_catalog *cat, struct db_schema **ret, struct err *e);

/* ---- examine.c ---- */

int my_examine(struct db_conn *c, const struct db_schema *s, const char *measured, struct db_examination *ret,
	       struct err *e);

/* ---- script.c ---- */

/* The name of the only MY_DATABASE of a script. */
#define MY_DATABASE_NAME "defaults"
/* Before a body that was made under another default than the database has. */
#define MY_COLLATION "ALTER DATABASE COLLATE "
extern const char *const my_object_words[MY_N_OBJECTS];
/* MY_N_OBJECTS: no such word. */
enum my_object my_object_of(const char *word);
/* The lines before all statements. */
extern const char my_script_head[];
void my_script_done(struct my_script *s);
#define _cleanup_script_ _cleanup_(my_script_done)
/* Takes the texts over. */
void my_script_add(struct my_script *s, enum my_object kind, char *name, char *settings, char *sql);
struct my_statement *my_script_find(const struct my_script *s, enum my_object kind, const char *name); /* NULL: none */
/* What a script does not say of a body's collation is that of its database, if it has that. */
void my_script_fill_collations(struct my_script *s);
/* A deep copy of a statement, added. */
void my_script_add_copy(struct my_script *s, const struct my_statement *from);
/* Triggers, in their order, so that they can be made one after the other. */
void my_script_order_triggers(struct my_script *s);
/* Statements of one database so that they can be run, or compared, in another. */
void my_script_localise(struct my_script *s, const char *from, const char *to);
/* One statement, as my_schema_sql has it. */
void my_script_print(struct strbuf *out, const struct my_statement *s);
/* Takes the text of my_schema_sql apart again; EINVAL when it is not one. */
int my_script_parse(struct my_script *ret, const char *sql, struct err *e);

/* Objects of a kind that the account has no right on are not listed to it. */
int my_read_sight(struct my_conn *c, bool sees[MY_N_OBJECTS], struct err *e);

/* ---- words.c ---- */

enum my_word_kind { MY_WORD_SIGN, MY_WORD_BARE, MY_WORD_QUOTED, MY_WORD_STRING };
struct my_word {
	enum my_word_kind kind;
	const char *start;
	size_t len; /* 0: none */
};
/* false: there is none left. */
bool my_next_word(const char **at, struct my_word *ret);
/* Not quoted, in either case. */
bool my_word_is(const struct my_word *w, const char *text);
/* Without its quotes. */
char *my_word_name(const struct my_word *w);
bool my_word_names(const struct my_word *w, const char *name);
/* The next table of this database that a foreign key in the text refers to. */
bool my_next_reference(const char **p, const char *database, char **ret);
char *my_trigger_table(const char *sql);
/* Without FOLLOWS or PRECEDES, which MariaDB keeps as it was typed. */
char *my_trigger_without_clause(const char *sql);
/* It FOLLOWS the trigger whose statement is `before` (NULL: none), of the same event. */
bool my_trigger_follows(const char *sql, const char *before);
/* Does nothing in one session, and the same as ever in all others. MY_LIFTED is in its text. */
#define MY_LIFTED "lifted by metasnap"
char *my_trigger_lifted(const char *sql, unsigned long thread_id);
/* Without the database before its name and its table's: MariaDB keeps what was typed. */
char *my_trigger_unqualified(const char *sql);
/* MariaDB writes its own database before all names of a view that has one of another, or that is not valid. */
char *my_view_unqualified(const char *sql, const char *database);
/* The name stands where a table does, of the view's own database. */
bool my_view_uses(const char *sql, const char *name);

/* ---- normal.c ---- */

struct my_normal {
	bool mariadb;
	struct {
		char *name, *collation;
	} * sets; /* what a character set means without COLLATE */
	size_t n_sets;
};
int my_normal_init(struct my_normal *n, struct my_conn *c, struct err *e);
void my_normal_done(struct my_normal *n);
#define _cleanup_normal_ _cleanup_(my_normal_done)
/* For comparing only. */
char *my_normal_table(const struct my_normal *n, const char *sql);
/* As a statement that makes the table so that the server writes the same text again. */
char *my_makeable_table(const char *sql);
/* Two statements of one kind make the same thing. */
bool my_normal_same(const struct my_normal *n, const struct my_statement *a, const struct my_statement *b);

/* ---- ddl.c ---- */

/* First field of each row: the name. Triggers: then their table. */
int my_list_objects(struct my_conn *c, const char *database, enum my_object kind, MYSQL_RES **ret, struct err *e);
int my_show_create(struct my_conn *c, const char *database, enum my_object kind, const char *name,
		   struct my_script *ret, struct err *e);
/* Tables, many in one round trip, into an empty script. */
int my_show_tables(struct my_conn *c, const char *database, char *const *names, size_t n, struct my_script *ret,
		   struct err *e);
/* Definitions of one kind in a database, not excluded ones left out. */
int my_script_read(struct my_conn *c, const char *database, enum my_object kind, struct my_script *ret, struct err *e);
int my_schema_sql(struct db_conn *c, const struct db_schema *s, struct strbuf *out, struct err *e);

/* ---- statement.c ---- */

/* With the settings of the session that made it. EACCES also where the server refuses the DEFINER. */
int my_statement_run(struct my_conn *c, const struct my_statement *s, struct err *e);
/* *ret_number: the server's refusal. */
int my_statement_try(struct my_conn *c, const struct my_statement *s, unsigned *ret_number, struct err *e);
/* Runs the statement; where the server refuses its DEFINER, without it, and *s is changed to that. */
int my_statement_run_definer(struct my_conn *c, struct my_statement *s, struct strbuf *warnings, struct err *e);
/* Its DEFINER, on a procedure: *s loses it where the server refuses it. */
int my_definer_try(struct my_conn *c, struct my_statement *s, struct strbuf *warnings, struct err *e);
int my_object_drop(struct my_conn *c, const char *database, const char *word, const char *name, struct err *e);

/* ---- sum.c ---- */

void my_sum_row(struct my_sum *sum, const struct db_value *v, size_t n);
/* Reads a table of any database to its end on c and sums it as a scan does. */
int my_sum_table(struct my_conn *c, const char *database, const struct my_table *mt, struct my_sum *ret, struct err *e);
bool my_sum_same(const struct my_sum *x, const struct my_sum *y);
#define MY_SUM_TEXT 80
void my_sum_text(const struct my_sum *sum, char out[MY_SUM_TEXT]);

/* ---- typed.c ---- */

#define MY_WALK_DEPTH 128 /* MySQL's documents end at 100 */

/* Where a walk is: in this member of an object, or this element of an array. */
struct my_step {
	const char *name; /* in quotes, as the text has it */
	size_t name_len;
	size_t index; /* of the element */
	uint64_t hash;
	bool array, name_next, hashed;
};

struct my_walk {
	const char *p, *end;
	size_t depth;
	struct my_step steps[MY_WALK_DEPTH];
};

/* A number, string, literal, or the first byte of an object or array, `depth` steps down. */
struct my_scalar {
	const char *at;
	size_t len;
	size_t depth;
};

enum my_typed {
	MY_TYPED_NOT, /* what the text says */
	MY_TYPED_DECIMAL,
	MY_TYPED_UNSIGNED,
	MY_TYPED_SIGNED,
	MY_TYPED_DATE,
	MY_TYPED_TIME,
	MY_TYPED_DATETIME,
	MY_TYPED_TIMESTAMP,
	MY_TYPED_BINARY,
};

/* What the text of a value leaves open. */
enum {
	MY_MAY_FRACTION = 1, /* DOUBLE or DECIMAL */
	MY_MAY_SMALL = 2,    /* integer below 2^32, UNSIGNED or DECIMAL */
	MY_MAY_LARGE = 4,    /* from 2^32 on: UNSIGNED, signed or DECIMAL */
	MY_MAY_STRING = 8,   /* a string, or a DATE, TIME, binary value, ... */
};

void my_walk_begin(struct my_walk *w, const char *text, size_t len);
bool my_walk_next(struct my_walk *w, struct my_scalar *ret);
/* One of the steps to the value that the walk gave last, as part of a path; not exact: [*] for every element. */
void my_walk_step(const struct my_walk *w, size_t i, bool exact, struct strbuf *out);
bool my_whole_number(const char *text, size_t len, uint64_t *ret);
unsigned my_may_be(const struct my_scalar *v);
/* The value, spelled as one of the type that JSON_TYPE() says. false: a value that cannot be written again. */
bool my_spell(struct strbuf *out, const struct my_scalar *v, const char *type, size_t type_len);
/* sql NULL: only whether there is one. */
bool my_binary_literal(struct strbuf *sql, const char *text, size_t len);
/* Whether a document has values that need my_sql_document(). */
bool my_is_typed(const char *text, size_t len);
/* A document as an expression that gives its members their types; false, and nothing: plain text does. */
bool my_sql_document(struct strbuf *sql, const char *text, size_t len);

/* ---- places.c ---- */

struct my_places *my_places_new(void);
void my_places_free(struct my_places *p); /* NULL is allowed */
/* Whether a scan has to read types, too. */
bool my_places_typed(const struct my_places *p);
/* Columns of a SELECT, each with a comma in front, whose values my_places_spell() wants. */
size_t my_places_select(const struct my_places *p, const char *column, struct strbuf *sql);
/* How many they are. */
size_t my_places_columns(const struct my_places *p);
/* A document: notes what its text leaves open. */
void my_places_look(struct my_places *p, const char *text, size_t len);
/* The document with the spellings of its members' types into *out. types: what the SELECT's columns gave. */
int my_places_spell(struct my_places *p, const char *text, size_t len, MYSQL_ROW types, const unsigned long *type_len,
		    struct strbuf *out, struct err *e);
/* At the scan's end: asks the server what the places hold that were seen. 1: types that the scan did not read. */
int my_places_ask(struct my_conn *c, struct my_places *p, const char *table, const char *column, struct err *e);

/* ---- doubt.c ---- */

/* Notes the row that the scan is at when some value of it may not come back the same from its text. */
void my_doubt_row(struct my_scan *s);
/* At the scan's end: asks the server about what was noted. ENOTSUP: a row cannot be kept. */
int my_doubt_ask(struct my_conn *c, const struct my_scan *s, struct err *e);

/* ---- scan.c ---- */

int my_scan_open(struct db_conn *c, const struct db_table *t, enum db_scan how, struct err *e);
int my_scan_next(struct db_conn *c, const struct db_value **ret, struct err *e);
int my_scan_close(struct db_conn *c, struct err *e);
void my_scan_done(struct my_scan *s);

/* ---- target.c ---- */

void my_target_done(struct my_target *to);
/* Of rows for table t, mt in `database`. */
int my_target_init(struct my_target *to, const char *database, const struct db_table *t, struct my_table *mt,
		   struct err *e);
/* Makes to->infile, where LOAD DATA can take this table's rows. */
void my_target_infile(struct my_target *to, const char *database);

/* ---- batch.c ---- */

void my_batch_done(struct my_batch *b);
/* A new statement; its rows follow: lines of the file, or tuples of an INSERT. */
struct my_insert *my_batch_begin(struct my_batch *b, const struct my_target *to, bool infile);
void my_batch_add_line(struct my_batch *b, const struct my_target *to, const struct db_value *values);
void my_batch_add_tuple(struct my_batch *b, const struct my_target *to, bool first, const struct db_value *values);
/* No more rows: it can be run. */
void my_batch_end(struct my_batch *b, const struct my_target *to);
/* Runs its statements; a row too few is an error, and where nobody reads it back a value that the server changes. */
int my_batch_run(struct my_conn *c, const struct my_batch *b, const char *table, struct err *e);

/* ---- pool.c ---- */

/* *ret is to be freed also after a failure. conns: MY_POOL_THREADS of them, not used by anybody else until
 * my_pool_free. */
int my_pool_start(struct my_pool **ret, struct my_conn *const *conns, const struct my_script *script, struct err *e);
/* Waits while much is under way. Takes what is in *batch. The error can be one of an earlier batch. */
int my_pool_rows(struct my_pool *p, const char *table, struct my_batch *batch, struct err *e);
int my_pool_table_end(struct my_pool *p, const char *table, struct err *e);
/* Returns when everything is done, the indexes of all tables, too. */
int my_pool_finish(struct my_pool *p, struct err *e);
/* Gives up what is not done; NULL is allowed. */
void my_pool_free(struct my_pool *p);

/* ---- load.c ---- */

void my_load_done(struct my_load *l);
int my_load_begin(struct db_conn *c, const struct db_table *t, struct err *e);
int my_load_row(struct db_conn *c, const struct db_value *values, struct err *e);
int my_load_end(struct db_conn *c, bool ok, struct err *e);

/* ---- foreign.c ---- */

/* Foreign keys of the tables in c->catalog, of and into those that `of` names (NULL: all): an orphan is a line in
 * *orphans, or, when that is NULL, EEXIST naming the constraint. */
int my_check_orphans(struct my_conn *c, const struct my_names *of, struct strbuf *orphans, struct err *e);
/* Foreign keys of all other tables (not in `database` and `inside`) into the tables of `database` that `of` names, as
 * the tables of these names in the database `parents` are. Rows that would lose their parent: EEXIST, or a line in
 * *outside. What was looked at stays locked until the end of c's transaction. */
int my_check_outside(struct my_conn *c, const char *database, const struct my_catalog *inside, const char *parents,
		     const struct my_names *of, struct strbuf *outside, struct err *e);

/* ---- auto_increment.c ---- */

int my_read_auto_increment(struct my_conn *c, const char *database, struct db_schema *s, struct err *e);
int my_set_sequences(struct db_conn *c, const struct db_schema *s, struct err *e);
/* After the commit, which ALTER TABLE would be: what my_set_sequences() noted. */
int my_commit_auto_increment(struct my_conn *c, struct err *e);
void my_forget_auto_increment(struct my_conn *c);

/* ---- shadow.c ---- */

char *my_old_name(const char *database);
char *my_shadow_name(const char *database);
/* Rows of information_schema where what `which` ends in is `schema`. */
int my_count(struct my_conn *c, uint64_t *ret, struct err *e, const char *which, const char *schema);
int my_database_exists(struct my_conn *c, const char *name, bool *ret, struct err *e);
int my_count_tables(struct my_conn *c, const char *database, uint64_t *ret, struct err *e);
int my_sides_drop(struct my_conn *w, const char *old, const char *shadow, struct err *e);

/* ---- journal.c ---- */

#define MY_JOURNAL "__metasnap_journal"
/* Before the kind of what nobody could make when it was tried. */
#define MY_JOURNAL_INVALID "invalid "
enum my_phase { MY_PHASE_STATE, MY_PHASE_UNDO, MY_PHASE_DROP, MY_PHASE_REDO, MY_PHASE_SUM, MY_PHASE_TABLES };
/* building: nothing has happened. swap: the tables tell whether the RENAME took place. rows: the rows are committed, and
 * no table is made anew. kept: the old tables stay. */
enum my_state { MY_STATE_BUILDING, MY_STATE_SWAP, MY_STATE_ROWS, MY_STATE_KEPT, MY_N_STATES };

/* Valid as long as the result it is from. */
struct my_entry {
	bool redo; /* its phase is MY_PHASE_REDO */
	char *kind;
	char *name;
	char *settings;  /* NULL: none */
	char *collation; /* NULL: none */
	char *body;
};

/* Makes both databases and the journal in the old one. */
int my_sides_make(struct my_conn *w, const char *old, const char *shadow, struct err *e);
int my_journal_add(struct my_conn *w, const char *old, enum my_phase phase, const char *kind, const char *name,
		   const char *settings, const char *body, struct err *e);
/* The statement of a journal's entry; borrowed. */
struct my_statement my_entry_statement(const struct my_entry *entry, enum my_object kind);
int my_journal_add_statement(struct my_conn *w, const char *old, enum my_phase phase, const struct my_statement *s,
			     struct err *e);
int my_journal_exists(struct my_conn *w, const char *old, bool *ret, struct err *e);
int my_journal_set_state(struct my_conn *w, const char *old, enum my_state state, struct err *e);
int my_journal_add_state(struct my_conn *c, const char *old, enum my_state state, struct err *e);
/* *ret_tables: whether the new schema has tables. */
int my_journal_state(struct my_conn *w, const char *old, enum my_state *ret, bool *ret_tables, struct err *e);
/* Entries of one or two phases: those of the phase whose word is the first by name, then the others. */
int my_journal_read(struct my_conn *w, const char *old, enum my_phase one, enum my_phase two, MYSQL_RES **ret,
		    struct err *e);
bool my_journal_next(MYSQL_RES *res, struct my_entry *ret);

/* ---- settle.c ---- */

/* Triggers of some tables, all of each, are made anew in their order, while nobody writes to their table. */
int my_put_triggers(struct my_conn *w, const char *database, const struct my_script *triggers, struct err *e);

/* After the RENAME: what is not a table. Can be run again after a crash. */
int my_settle_forward(struct my_conn *w, const char *database, const char *old, const char *shadow, struct err *e);
/* Brings what a restore left behind to one end or the other. The advisory locks are held. */
int my_settle_locked(struct my_conn *w, const char *database, struct err *e);
int my_settle(struct db_conn *c, struct err *e);

/* ---- build.c ---- */

/* The builder, with its lock, after what an earlier restore left has been settled. */
int my_builder_open(struct my_conn *c, struct my_conn **ret, struct err *e);
/* A table outside that refers to one that goes would follow it to the old database: a refusal in *o. */
int my_check_inbound(struct my_conn *c, struct db_objects *o, struct err *e);
/* Whether o has it among what goes, or what is made. */
bool my_deed_drops(const struct db_objects *o, enum my_object kind, const char *name);
bool my_deed_makes(const struct db_objects *o, enum my_object kind, const char *name);
/* schema: the counters. */
int my_make_tables(struct my_conn *w, const struct db_schema *schema, struct my_script *script, struct err *e);
/* Another minor version may write the same thing in other words; says so rather than hide it. */
int my_compare_tables(struct my_conn *w, const struct my_script *script, struct strbuf *warnings, struct err *e);
/* ---- grants.c ---- */

/* Appends the rights on a routine of c's database; each is tried on the one of w's. */
int my_grants_of(struct my_conn *c, struct my_conn *w, const struct my_statement *s, struct my_script *ret,
		 struct strbuf *warnings, struct err *e);

/* ---- trial.c ---- */

/* Makes everything but events once in w's database, the shadow database, where it can do no harm: afterwards nothing
 * can fail that could be known before. Events are not made: they might run. *script is then in an order in which it can
 * be made. */
int my_try_objects(struct my_conn *c, struct my_conn *w, struct my_script *script, struct strbuf *warnings,
		   struct err *e);

/* ---- lift.c ---- */

/* From here to the end of the transaction triggers of the tables of s do nothing in this session. Every lock is let go
 * and taken again; EAGAIN: another session came in between. ENOTSUP: a trigger could not be put back. */
int my_lift_triggers(struct my_conn *c, const struct db_schema *s, struct err *e);

/* ---- change.c ---- */

int my_change_begin(struct db_conn *c, const struct db_schema *s, struct err *e);
int my_change_end(struct db_conn *c, struct strbuf *orphans, struct strbuf *outside, struct err *e);
int my_delete_keys(struct db_conn *c, const struct db_table *t, const struct db_value *keys, size_t n_rows,
		   struct err *e);
int my_delete_all(struct db_conn *c, const struct db_table *t, struct err *e);

/* ---- swap.c ---- */

/* What is to be done, into the journal; undo: what must go for it and comes back without it. */
int my_write_journal(struct my_conn *c, struct my_conn *w, const struct my_script *undo, enum my_state state,
		     struct err *e);
/* 0: the new tables are in place and the old ones in c->old. Else they are not, or, with ECONNRESET, nobody knows.
 * c may hold its tables by LOCK TABLES afterwards. */
int my_swap(struct my_conn *c, struct my_conn *w, struct err *e);

/* ---- compare.c ---- */

int my_compare(struct db_conn *c, const struct db_definitions *live, const struct db_definitions *want,
	       const bool *touched, struct db_objects *ret, struct err *e);

/* ---- rebuild.c ---- */

int my_rebuild_begin(struct db_conn *c, const struct db_schema *s, const char *sql, const struct db_objects *o,
		     struct strbuf *warnings, struct err *e);
int my_rebuild_end(struct db_conn *c, struct strbuf *warnings, struct strbuf *outside, struct err *e);
int my_rebuild_commit(struct my_conn *c, struct err *e);
void my_rebuild_rollback(struct my_conn *c);
void my_rebuild_done(struct my_conn *c);
