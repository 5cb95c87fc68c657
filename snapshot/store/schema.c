/*
 * snapshot/store/schema.c - the tables of the catalog: made in a new file, brought up to date in an older one.
 *
 * Runs on the thread that opens the catalog, before anyone else has it.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/rand.h>

#include "base/clock.h"
#include "base/text.h"

#define CATALOG_FORMAT 3
#define CATALOG_APPLICATION_ID 0x6d736e70 /* "msnp" */

/* Since format 3. */
#define CATALOG_NAMES                                                                                                  \
	"CREATE TABLE snapshot_names(snapshot_id INTEGER PRIMARY KEY REFERENCES snapshot,"                             \
	" version_id INTEGER NOT NULL REFERENCES version);"

static const char catalog_schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE source(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE schema_text(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text BLOB NOT NULL);"
    "CREATE TABLE snapshot(id INTEGER PRIMARY KEY, source_id INTEGER NOT NULL REFERENCES source, name TEXT,"
    " taken_ms INTEGER NOT NULL, engine TEXT NOT NULL, server_version TEXT NOT NULL, app_version TEXT,"
    " schema_id INTEGER NOT NULL REFERENCES schema_text, schema_len INTEGER NOT NULL, schema_since_ms INTEGER NOT "
    "NULL, n_tables INTEGER NOT NULL,"
    " rows INTEGER NOT NULL, line_bytes INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, held INTEGER NOT NULL DEFAULT "
    "0,"
    " manifest BLOB NOT NULL, manifest_len INTEGER NOT NULL, sums BLOB, UNIQUE(source_id, name));"
    "CREATE TABLE codec(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, description TEXT NOT NULL);"
    "CREATE TABLE dict(id INTEGER PRIMARY KEY, codec_id INTEGER NOT NULL REFERENCES codec, data BLOB NOT NULL);"
    "CREATE INDEX dict_codec ON dict(codec_id);"
    "CREATE TABLE version(id INTEGER PRIMARY KEY AUTOINCREMENT, codec_id INTEGER NOT NULL REFERENCES codec,"
    " rows INTEGER NOT NULL, line_bytes INTEGER NOT NULL, file_bytes INTEGER NOT NULL, since_ms INTEGER NOT NULL,"
    " digest BLOB NOT NULL, pages BLOB NOT NULL, lines_sha256 BLOB);"
    "CREATE TABLE snapshot_table(snapshot_id INTEGER NOT NULL REFERENCES snapshot, ordinal INTEGER NOT NULL, name TEXT "
    "NOT NULL,"
    " version_id INTEGER NOT NULL REFERENCES version, PRIMARY KEY(snapshot_id, ordinal)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX snapshot_table_name ON snapshot_table(snapshot_id, name);"
    "CREATE INDEX snapshot_table_version ON snapshot_table(version_id);" CATALOG_NAMES
    "CREATE TABLE mark(source_id INTEGER NOT NULL REFERENCES source, name TEXT NOT NULL, snapshot_id INTEGER NOT NULL,"
    " age INTEGER NOT NULL, mark TEXT NOT NULL, PRIMARY KEY(source_id, name)) WITHOUT ROWID;"
    "CREATE TABLE page(id INTEGER PRIMARY KEY AUTOINCREMENT, sha256 BLOB NOT NULL UNIQUE, data BLOB NOT NULL);"
    "CREATE TABLE pack(id INTEGER PRIMARY KEY, codec_id INTEGER NOT NULL REFERENCES codec, first_seen_ms INTEGER NOT "
    "NULL,"
    " dict_id INTEGER NOT NULL, sha256 BLOB NOT NULL, data BLOB NOT NULL);"
    "CREATE TABLE journal(id INTEGER PRIMARY KEY AUTOINCREMENT, source_id INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " op TEXT NOT NULL, subject TEXT NOT NULL, uid INTEGER, pid INTEGER, program TEXT, state TEXT NOT NULL,"
    " finished_ms INTEGER, detail TEXT, safety_id INTEGER, target_id INTEGER);"
    "CREATE INDEX journal_source ON journal(source_id, id);"
    "CREATE INDEX journal_op ON journal(source_id, op);"
    "INSERT INTO meta VALUES('pack', 1), ('snapshot', 1);";

static int catalog_make_tables(struct catalog *c, struct store_db *db, struct err *e)
{
	uint8_t random[16];
	if (RAND_bytes(random, sizeof random) != 1)
		return err_set(e, EIO, "no random numbers");
	hex_encode(random, sizeof random, c->uuid);
	_cleanup_free_ char *rest = xasprintf("INSERT INTO meta VALUES('uuid','%s'),('created_ms',%" PRId64
					      "); PRAGMA user_version=%d; PRAGMA application_id=%d",
					      c->uuid, clock_ms(), CATALOG_FORMAT, CATALOG_APPLICATION_ID);
	int r = store_script(db, catalog_schema, "setting up", e);
	return r < 0 ? r : store_script(db, rest, "setting up", e);
}

int catalog_create(struct catalog *c, struct store_db *db, struct err *e)
{
	int64_t version = 0, tables = 0;
	int r = store_pragma(db, "PRAGMA user_version", &version, e);
	if (r < 0 || version)
		return r;
	r = store_pragma(db, "SELECT count(*) FROM sqlite_schema", &tables, e);
	if (r < 0)
		return r;
	if (tables > 0)
		return err_set(e, EINVAL, "%s: not a metasnap catalog", c->path);
	/* Both must be set before the first table; auto_vacuum lets `remove` give space back to the file system. */
	r = store_script(db,
			 "PRAGMA page_size=2048; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
			 "BEGIN IMMEDIATE",
			 "setting up", e);
	if (r < 0)
		return r;
	r = store_pragma(db, "PRAGMA user_version", &version, e);
	if (r < 0)
		return r;
	if (!version) /* else another process made it meanwhile */
		r = catalog_make_tables(c, db, e);
	return r < 0 ? r : store_script(db, "COMMIT", "setting up", e);
}

/* From format 2: its snapshots get their index of names when somebody asks for it. */
static int catalog_add_names(struct store_db *db, struct err *e)
{
	int64_t version = 0;
	int r = store_script(db, "BEGIN IMMEDIATE", "setting up", e);
	if (r < 0)
		return r;
	r = store_pragma(db, "PRAGMA user_version", &version, e);
	if (r == 0 && version == 2)
		r = store_script(db, CATALOG_NAMES "PRAGMA user_version=3", "setting up", e);
	if (r == 0)
		r = store_script(db, "COMMIT", "setting up", e);
	if (r < 0)
		(void)sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

int catalog_check_format(struct catalog *c, struct store_db *db, struct err *e)
{
	int64_t app = 0, version = 0;
	int r = store_pragma(db, "PRAGMA application_id", &app, e);
	if (r < 0)
		return r;
	r = store_pragma(db, "PRAGMA user_version", &version, e);
	if (r < 0)
		return r;
	if (app != CATALOG_APPLICATION_ID)
		return err_set(e, EINVAL, "%s: not a metasnap catalog", c->path);
	if (version > CATALOG_FORMAT)
		return err_set(e, ENOTSUP, "catalog %s: format %" PRId64 " is newer than this program knows (%d)",
			       c->path, version, CATALOG_FORMAT);
	if (version < 2)
		return err_set(e, ENOTSUP,
			       "catalog %s: format %" PRId64 " is from before the first release (export its snapshots "
			       "with the program that made it, and import them into a new catalog)",
			       c->path, version);
	/* What only reads asks for no names. */
	r = version == 2 && c->mode == CATALOG_WRITE ? catalog_add_names(db, e) : 0;
	if (r < 0)
		return r;
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v2(db->h, "SELECT value FROM meta WHERE key='uuid'", -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		return store_error(db, "reading its id", e);
	(void)snprintf(c->uuid, sizeof c->uuid, "%s", (const char *)sqlite3_column_text(st, 0));
	return 0;
}
