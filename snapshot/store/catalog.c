/*
 * snapshot/store/catalog.c - the catalog's file: its tables, connections, transactions, sources, snapshots and their texts.
 *
 * Any thread. Reads take a connection from a pool (read_mutex is held for the list only); writes go through one
 * connection, BEGIN IMMEDIATE under write_mutex. synchronous=FULL: a snapshot that was reported is on the disk.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

#define CATALOG_FORMAT 3
#define CATALOG_APPLICATION_ID 0x6d736e70 /* "msnp" */

#define CATALOG_CACHE_DEFAULT (32U << 20)

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

void snapshot_name_default(int64_t taken_ms, char out[32])
{
	time_t t = (time_t)(taken_ms / 1000);
	struct tm tm;
	(void)gmtime_r(&t, &tm);
	(void)strftime(out, 32, "%Y%m%dT%H%M%SZ", &tm);
}

int snapshot_name_check(const char *name, struct err *e)
{
	size_t n = strlen(name);
	if (n < 1 || n > 200)
		return err_set(e, EINVAL, "snapshot name: 1 to 200 bytes, not %zu", n);
	if (name[0] == '.')
		return err_set(e, EINVAL, "snapshot name '%s' starts with a dot", name);
	if (!strcmp(name, "latest"))
		return err_set(e, EINVAL, "'latest' always names the newest snapshot (choose another name)");
	for (const char *p = name; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
		      strchr("._+@=-", *p)))
			return err_set(e, EINVAL, "snapshot name: only letters, digits and . _ + @ = - are allowed");
	return 0;
}

/* ---- open and close ---- */

/* SQLite's locks and shared memory are not reliable on network file systems (sqlite.org/wal.html). */
static int catalog_check_fs(const char *path, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(path);
	struct statfs sf;
	if (statfs(dirname(copy), &sf) < 0)
		return err_sys(e, errno, "catalog %s: its folder", path);
	switch ((unsigned long)sf.f_type) {
	case 0x6969:     /* NFS */
	case 0xff534d42: /* CIFS */
	case 0xfe534d42: /* SMB2 */
	case 0x517b:     /* SMB */
	case 0x00c36400: /* Ceph */
		return err_set(
		    e, ENOTSUP,
		    "catalog %s: lies on a network file system, where SQLite's locks do not hold (use a local disk)",
		    path);
	default:
		return 0;
	}
}

static int catalog_exec(struct store_db *db, const char *sql, struct err *e)
{
	return sqlite3_exec(db->h, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_error(db, "setting up", e);
}

static int catalog_create(struct catalog *c, struct store_db *db, struct err *e)
{
	uint8_t random[16];
	if (RAND_bytes(random, sizeof random) != 1)
		return err_set(e, EIO, "no random numbers");
	hex_encode(random, sizeof random, c->uuid);
	/* Both must be set before the first table; auto_vacuum lets `remove` give space back to the file system. */
	int r = catalog_exec(db, "PRAGMA page_size=2048; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL", e);
	if (r == 0)
		r = catalog_exec(db, "BEGIN IMMEDIATE", e);
	int64_t version = 0;
	if (r == 0)
		r = store_pragma(db, "PRAGMA user_version", &version, e);
	if (r == 0 && version == 0) { /* else another process made it meanwhile */
		_cleanup_free_ char *rest = xasprintf("INSERT INTO meta VALUES('uuid','%s'),('created_ms',%" PRId64
						      "); PRAGMA user_version=%d; PRAGMA application_id=%d",
						      c->uuid, clock_ms(), CATALOG_FORMAT, CATALOG_APPLICATION_ID);
		r = catalog_exec(db, catalog_schema, e);
		if (r == 0)
			r = catalog_exec(db, rest, e);
	}
	if (r == 0)
		r = catalog_exec(db, "COMMIT", e);
	return r;
}

/* From format 2: its snapshots get their index of names when somebody asks for it. */
static int catalog_add_names(struct store_db *db, struct err *e)
{
	int64_t version = 0;
	int r = catalog_exec(db, "BEGIN IMMEDIATE", e);
	if (r == 0)
		r = store_pragma(db, "PRAGMA user_version", &version, e);
	if (r == 0 && version == 2)
		r = catalog_exec(db, CATALOG_NAMES "PRAGMA user_version=3", e);
	if (r == 0)
		return catalog_exec(db, "COMMIT", e);
	(void)sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

static int catalog_check_format(struct catalog *c, struct store_db *db, struct err *e)
{
	int64_t app = 0, version = 0;
	int r = store_pragma(db, "PRAGMA application_id", &app, e);
	if (r == 0)
		r = store_pragma(db, "PRAGMA user_version", &version, e);
	if (r < 0)
		return r;
	if (app != CATALOG_APPLICATION_ID)
		return err_set(e, EINVAL, "%s: not a metasnap catalog", c->path);
	if (version > CATALOG_FORMAT)
		return err_set(e, ENOTSUP, "catalog %s: format %" PRId64 " is newer than this program knows (%d)",
			       c->path, version, CATALOG_FORMAT);
	/* What only reads asks for no names. */
	if (version == 2 && c->mode == CATALOG_WRITE)
		r = catalog_add_names(db, e);
	if (r < 0)
		return r;
	if (version < 2)
		return err_set(e, ENOTSUP,
			       "catalog %s: format %" PRId64 " is from before the first release (export its snapshots "
			       "with the program that made it, and import them into a new catalog)",
			       c->path, version);
	sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v2(db->h, "SELECT value FROM meta WHERE key='uuid'", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		(void)snprintf(c->uuid, sizeof c->uuid, "%s", (const char *)sqlite3_column_text(st, 0));
	else
		r = store_error(db, "reading its id", e);
	sqlite3_finalize(st);
	return r;
}

/* Makes the empty file with mode 0600 first: SQLite would follow the umask, and -wal and -shm follow this file's mode.
 */
static int catalog_make_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "catalog %s", path);
	struct stat sb;
	int r = fstat(fd, &sb) < 0 ? err_sys(e, errno, "catalog %s", path) : 0;
	if (r == 0 && !S_ISREG(sb.st_mode))
		r = err_set(e, EINVAL, "catalog %s: not a regular file", path);
	if (r == 0 && sb.st_nlink > 1)
		r = err_set(e, EINVAL, "catalog %s: has several links; SQLite's journal belongs to one name", path);
	if (r == 0 && (sb.st_mode & 077))
		r = err_set(e, EACCES, "catalog %s: readable by others, and backups hold credentials (chmod 600)",
			    path);
	(void)close(fd);
	return r;
}

int catalog_open(struct catalog **ret, const char *path, enum catalog_mode mode, struct err *e)
{
	struct stat sb;
	if (mode == CATALOG_READ && stat(path, &sb) < 0)
		return err_sys(e, errno, "catalog %s", path);
	int r = catalog_check_fs(path, e);
	if (r == 0 && mode == CATALOG_WRITE)
		r = catalog_make_file(path, e);
	if (r < 0)
		return r;
	_cleanup_(cleanup_catalog) struct catalog *c = xcalloc(1, sizeof *c);
	c->daemon_fd = -1;
	c->path = realpath(path, NULL);
	if (!c->path)
		return err_sys(e, errno, "catalog %s", path);
	c->mode = mode;
	(void)pthread_mutex_init(&c->write_mutex, NULL);
	(void)pthread_mutex_init(&c->read_mutex, NULL);
	(void)pthread_mutex_init(&c->codec_mutex, NULL);
	(void)pthread_mutex_init(&c->watch_mutex, NULL);
	(void)pthread_mutex_init(&c->names_mutex, NULL);
	c->packs = pack_cache_new(CATALOG_CACHE_DEFAULT / 8 * 7);
	c->blobs = blob_cache_new(CATALOG_CACHE_DEFAULT / 8);
	struct store_db *db = store_open(c, false, mode == CATALOG_READ, e);
	if (!db)
		return err_code(e);
	if (mode == CATALOG_WRITE)
		c->writer = db, c->writer_sync = STORE_DURABLE;
	else
		store_read_end(c, db);
	int64_t version = 0;
	r = store_pragma(db, "PRAGMA user_version", &version, e);
	if (r == 0 && version == 0 && mode == CATALOG_WRITE) {
		int64_t tables = 0;
		r = store_pragma(db, "SELECT count(*) FROM sqlite_schema", &tables, e);
		if (r == 0 && tables > 0)
			r = err_set(e, EINVAL, "%s: not a metasnap catalog", c->path);
		if (r == 0)
			r = catalog_create(c, db, e);
	}
	if (r == 0)
		r = catalog_check_format(c, db, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct codec_entry {
	int64_t id;
	struct row_codec *codec;
	struct codec_entry *next;
};
struct dict_entry {
	int64_t id;
	ZSTD_DDict *dict;
	struct dict_entry *next;
};

void catalog_close(struct catalog *c)
{
	if (!c)
		return;
	pack_cache_free(c->packs);
	blob_cache_free(c->blobs);
	while (c->codecs) {
		struct codec_entry *next = c->codecs->next;
		row_codec_free(c->codecs->codec);
		free(c->codecs);
		c->codecs = next;
	}
	while (c->dicts) {
		struct dict_entry *next = c->dicts->next;
		(void)ZSTD_freeDDict(c->dicts->dict);
		free(c->dicts);
		c->dicts = next;
	}
	while (c->free_readers) {
		struct store_db *next = c->free_readers->next;
		store_close(c->free_readers);
		c->free_readers = next;
	}
	store_close(c->watch);
	if (c->daemon_fd >= 0)
		(void)close(c->daemon_fd);
	if (c->writer)
		(void)sqlite3_wal_checkpoint_v2(c->writer->h, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	store_close(c->writer);
	free(c->path);
	free(c);
}

const char *catalog_path(const struct catalog *c)
{
	return c->path;
}

const char *catalog_uuid(const struct catalog *c)
{
	return c->uuid;
}

int catalog_set_cache_bytes(struct catalog *c, size_t bytes)
{
	pack_cache_limit(c->packs, bytes / 8 * 7);
	blob_cache_limit(c->blobs, bytes / 8);
	return 0;
}

int catalog_lock_daemon(struct catalog *c, struct err *e)
{
	int fd = store_lock(c, STORE_LOCK_DAEMON, true, e);
	if (fd == -EBUSY)
		return err_set(e, EBUSY, "catalog %s: mounted already by another metasnapfs", c->path);
	if (fd < 0)
		return fd;
	c->daemon_fd = fd;
	return 0;
}

int64_t catalog_data_version(struct catalog *c)
{
	/* PRAGMA data_version tells commits of all other connections: one connection that only watches sees every one.
	 */
	MUTEX_GUARD(&c->watch_mutex);
	if (!c->watch)
		c->watch = store_open(c, false, true, ERR_DROP);
	int64_t v = 0;
	sqlite3_stmt *st = c->watch ? store_stmt(c->watch, STMT_DATA_VERSION, ERR_DROP) : NULL;
	if (st && sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int64(st, 0);
	if (st)
		(void)sqlite3_reset(st);
	return v;
}

int catalog_statvfs(struct catalog *c, struct statvfs *ret, struct err *e)
{
	return statvfs(c->path, ret) < 0 ? err_sys(e, errno, "%s", c->path) : 0;
}

/* ---- codecs and dictionaries ---- */

int catalog_codec(struct catalog *c, int64_t codec_id, const struct row_codec **ret, struct err *e)
{
	{
		MUTEX_GUARD(&c->codec_mutex);
		for (struct codec_entry *ce = c->codecs; ce; ce = ce->next)
			if (ce->id == codec_id) {
				*ret = ce->codec;
				return 0;
			}
	}
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	struct db_table t = {0};
	int r;
	sqlite3_stmt *st = store_stmt(db, STMT_CODEC, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, codec_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW)
			r = table_json_parse(&t, NULL, (const char *)sqlite3_column_text(st, 0),
					     (size_t)sqlite3_column_bytes(st, 0), e);
		else
			r = step == SQLITE_DONE
				? err_set(e, EIO, "catalog: table description %" PRId64 " is missing", codec_id)
				: store_error(db, "reading a table description", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (r < 0)
		return r == -EBADMSG ? err_set(e, EIO, "catalog: table description %" PRId64 " is damaged", codec_id)
				     : r;
	struct codec_entry *mine = xcalloc(1, sizeof *mine);
	mine->id = codec_id;
	mine->codec = row_codec_new(&t);
	db_table_done(&t);
	MUTEX_GUARD(&c->codec_mutex);
	for (struct codec_entry *ce = c->codecs; ce; ce = ce->next)
		if (ce->id == codec_id) { /* another thread was faster */
			row_codec_free(mine->codec);
			free(mine);
			*ret = ce->codec;
			return 0;
		}
	mine->next = c->codecs;
	c->codecs = mine;
	*ret = mine->codec;
	return 0;
}

int store_codec_id(struct catalog *c, const struct db_table *t, int64_t *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	table_json_render(t, NULL, &text);
	uint8_t sha[ROW_SHA_LEN];
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	hasher_sha256(h, text.data, text.len, sha);
	struct store_db *db = store_write_begin(c, STORE_LAZY, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_CODEC_FIND, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_blob(st, 1, sha, sizeof sha, SQLITE_STATIC);
		bool found = sqlite3_step(st) == SQLITE_ROW;
		if (found)
			*ret = sqlite3_column_int64(st, 0);
		(void)sqlite3_reset(st);
		st = found ? NULL : store_stmt(db, STMT_CODEC_INSERT, e);
		if (!found && !st)
			r = err_code(e);
		if (st) {
			sqlite3_bind_blob(st, 1, sha, sizeof sha, SQLITE_STATIC);
			sqlite3_bind_text(st, 2, text.data, (int)text.len, SQLITE_STATIC);
			r = store_run(db, st, "storing a table description", e);
			*ret = sqlite3_last_insert_rowid(db->h);
		}
	}
	return store_write_end(c, db, r, e);
}

int store_codec_dict(struct catalog *c, int64_t codec_id, int64_t *ret_id, struct strbuf *dict, struct err *e)
{
	*ret_id = 0;
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_CODEC_DICT, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, codec_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW) {
			*ret_id = sqlite3_column_int64(st, 0);
			strbuf_add(dict, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
		} else if (step != SQLITE_DONE) {
			r = store_error(db, "reading a dictionary", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int store_dict(struct catalog *c, int64_t dict_id, struct strbuf *out, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_DICT, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, dict_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW && sqlite3_column_bytes(st, 0))
			strbuf_add(out, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
		else
			r = step == SQLITE_ROW || step == SQLITE_DONE
				? err_set(e, EIO, "catalog: dictionary %" PRId64 " is damaged or missing", dict_id)
				: store_error(db, "reading a dictionary", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int store_ddict(struct catalog *c, int64_t dict_id, const ZSTD_DDict **ret, struct err *e)
{
	{
		MUTEX_GUARD(&c->codec_mutex);
		for (struct dict_entry *de = c->dicts; de; de = de->next)
			if (de->id == dict_id) {
				*ret = de->dict;
				return 0;
			}
	}
	_cleanup_strbuf_ struct strbuf data = {0};
	int r = store_dict(c, dict_id, &data, e);
	if (r < 0)
		return r;
	ZSTD_DDict *dict = ZSTD_createDDict(data.data, data.len);
	if (!dict)
		return err_set(e, EIO, "catalog: dictionary %" PRId64 " is damaged or missing", dict_id);
	MUTEX_GUARD(&c->codec_mutex);
	for (struct dict_entry *de = c->dicts; de; de = de->next)
		if (de->id == dict_id) {
			(void)ZSTD_freeDDict(dict);
			*ret = de->dict;
			return 0;
		}
	struct dict_entry *de = xcalloc(1, sizeof *de);
	*de = (struct dict_entry){.id = dict_id, .dict = dict, .next = c->dicts};
	c->dicts = de;
	*ret = dict;
	return 0;
}

/* ---- sources ---- */

int catalog_source(struct catalog *c, const char *name, int64_t *ret_id, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	bool found = false;
	sqlite3_stmt *st = store_stmt(db, STMT_SOURCE_FIND, e);
	if (st) {
		sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
		found = sqlite3_step(st) == SQLITE_ROW;
		if (found)
			*ret_id = sqlite3_column_int64(st, 0);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (found || !st)
		return st ? 0 : -EIO;
	if (c->mode == CATALOG_READ)
		return err_set(e, ENOENT, "catalog %s: no source '%s'", c->path, name);
	db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r = 0;
	st = store_stmt(db, STMT_SOURCE_FIND, e);
	if (!st)
		return store_write_end(c, db, err_code(e), e);
	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW) {
		*ret_id = sqlite3_column_int64(st, 0);
		(void)sqlite3_reset(st);
	} else {
		(void)sqlite3_reset(st);
		st = store_stmt(db, STMT_SOURCE_INSERT, e);
		if (st) {
			sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
			r = store_run(db, st, "adding a source", e);
			*ret_id = sqlite3_last_insert_rowid(db->h);
		} else {
			r = -EIO;
		}
	}
	return store_write_end(c, db, r, e);
}

/* ---- snapshots ---- */

static char *column_dup(sqlite3_stmt *st, int i)
{
	return xstrdup((const char *)sqlite3_column_text(st, i));
}

static void snapshot_from_row(sqlite3_stmt *st, struct snapshot_info *s)
{
	*s = (struct snapshot_info){
	    .id = sqlite3_column_int64(st, 0),
	    .source_id = sqlite3_column_int64(st, 1),
	    .name = column_dup(st, 2),
	    .taken_ms = sqlite3_column_int64(st, 3),
	    .rows = sqlite3_column_int64(st, 4),
	    .line_bytes = sqlite3_column_int64(st, 5),
	    .stored_bytes = sqlite3_column_int64(st, 6),
	    .n_tables = (size_t)sqlite3_column_int64(st, 7),
	    .manifest_len = (size_t)sqlite3_column_int64(st, 8),
	    .schema_len = (size_t)sqlite3_column_int64(st, 9),
	    .sums_len = (size_t)sqlite3_column_int64(st, 10),
	    .held = sqlite3_column_int(st, 11) != 0,
	    .engine = column_dup(st, 12),
	    .server_version = column_dup(st, 13),
	    .app_version = column_dup(st, 14),
	    .schema_since_ms = sqlite3_column_int64(st, 15),
	};
}

void snapshot_info_done(struct snapshot_info *s)
{
	free(s->name);
	free(s->engine);
	free(s->server_version);
	free(s->app_version);
	*s = (struct snapshot_info){0};
}

void snapshot_list_done(struct snapshot_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		snapshot_info_done(&l->v[i]);
	free(l->v);
	*l = (struct snapshot_list){0};
}

int catalog_list(struct catalog *c, int64_t source_id, struct snapshot_list *ret, struct err *e)
{
	*ret = (struct snapshot_list){0};
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_SNAPSHOT_LIST, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, source_id);
		int step;
		while ((step = sqlite3_step(st)) == SQLITE_ROW) {
			if ((ret->n & (ret->n - 1)) == 0)
				ret->v = xrealloc(ret->v, (ret->n ? ret->n * 2 : 1) * sizeof *ret->v);
			snapshot_from_row(st, &ret->v[ret->n++]);
		}
		if (step != SQLITE_DONE)
			r = store_error(db, "listing snapshots", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (r < 0)
		snapshot_list_done(ret);
	return r;
}

static int catalog_one(struct catalog *c, enum stmt which, int64_t id, const char *name, int64_t ms,
		       struct snapshot_info *ret, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, which, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, id);
		if (name)
			sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
		else if (ms)
			sqlite3_bind_int64(st, 2, ms);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW)
			snapshot_from_row(st, ret);
		else
			r = step != SQLITE_DONE ? store_error(db, "reading a snapshot", e)
			    : name              ? err_set(e, ENOENT, "no snapshot '%s'", name)
						: err_set(e, ENOENT, "no such snapshot");
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int catalog_find(struct catalog *c, int64_t source_id, const char *name, struct snapshot_info *ret, struct err *e)
{
	return catalog_one(c, STMT_SNAPSHOT_FIND, source_id, name, 0, ret, e);
}

int catalog_get(struct catalog *c, int64_t snapshot_id, struct snapshot_info *ret, struct err *e)
{
	return catalog_one(c, STMT_SNAPSHOT_GET, snapshot_id, NULL, 0, ret, e);
}

int catalog_latest(struct catalog *c, int64_t source_id, struct snapshot_info *ret, struct err *e)
{
	return catalog_one(c, STMT_SNAPSHOT_LATEST, source_id, NULL, 0, ret, e);
}

int store_newest_taken(struct catalog *c, int64_t source_id, int64_t now, struct snapshot_info *ret, struct err *e)
{
	return catalog_one(c, STMT_SNAPSHOT_TAKEN, source_id, NULL, now, ret, e);
}

int catalog_rename(struct catalog *c, int64_t snapshot_id, const char *name, struct err *e)
{
	int r = snapshot_name_check(name, e);
	if (r < 0)
		return r;
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	sqlite3_stmt *st = store_stmt(db, STMT_SNAPSHOT_RENAME, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, snapshot_id);
		sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
		r = store_run(db, st, "renaming a snapshot", e);
		if (r == -EEXIST)
			r = err_set(e, EEXIST, "snapshot '%s' exists already", name);
		else if (r == 0 && sqlite3_changes(db->h) == 0)
			r = err_set(e, ENOENT, "no such snapshot");
	}
	return store_write_end(c, db, r, e);
}

int catalog_hold(struct catalog *c, int64_t snapshot_id, bool hold, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r;
	sqlite3_stmt *st = store_stmt(db, STMT_SNAPSHOT_HOLD, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, snapshot_id);
		sqlite3_bind_int(st, 2, hold);
		r = store_run(db, st, "holding a snapshot", e);
		if (r == 0 && sqlite3_changes(db->h) == 0)
			r = err_set(e, ENOENT, "no such snapshot");
	}
	return store_write_end(c, db, r, e);
}

/* ---- texts ---- */

static int catalog_texts(struct catalog *c, int64_t id, struct strbuf *manifest, struct strbuf *sums,
			 int64_t *schema_id, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_SNAPSHOT_TEXTS, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW) {
			if (manifest)
				strbuf_add(manifest, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
			if (sums && sqlite3_column_bytes(st, 1))
				strbuf_add(sums, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
			if (schema_id)
				*schema_id = sqlite3_column_int64(st, 2);
		} else {
			r = step == SQLITE_DONE ? err_set(e, ENOENT, "no such snapshot")
						: store_error(db, "reading a snapshot", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int store_manifest_full(struct catalog *c, struct manifest *m, const int64_t *codec_ids, struct strbuf *out,
			struct err *e)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < m->n_tables; i++) {
		const struct row_codec *codec;
		r = catalog_codec(c, codec_ids[i], &codec, e);
		if (r == 0)
			m->tables[i].table =
			    (struct db_table *)(uintptr_t)row_codec_table(codec); /* borrowed for the rendering */
	}
	if (r == 0)
		manifest_render(m, out);
	for (size_t i = 0; i < m->n_tables; i++)
		m->tables[i].table = NULL;
	return r;
}

int store_manifest(struct catalog *c, int64_t snapshot_id, struct manifest *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf core = {0};
	int r = catalog_texts(c, snapshot_id, &core, NULL, NULL, e);
	if (r == 0)
		r = manifest_parse(ret, strbuf_str(&core), core.len, e);
	return r == -EBADMSG ? err_set(e, EIO, "catalog: a manifest is damaged") : r;
}

int catalog_manifest(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e)
{
	struct manifest m;
	int r = store_manifest(c, snapshot_id, &m, e);
	if (r < 0)
		return r;
	struct version_list tables = {0};
	r = catalog_tables(c, snapshot_id, &tables, e);
	if (r == 0 && tables.n != m.n_tables)
		r = err_set(e, EIO, "catalog: a manifest does not fit its snapshot");
	_cleanup_free_ int64_t *ids = xcalloc(tables.n, sizeof *ids);
	for (size_t i = 0; i < tables.n; i++)
		ids[i] = tables.v[i].codec_id;
	if (r == 0)
		r = store_manifest_full(c, &m, ids, out, e);
	version_list_done(&tables);
	manifest_done(&m);
	return r;
}

int catalog_schema_sql(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e)
{
	int64_t schema_id = 0;
	int r = catalog_texts(c, snapshot_id, NULL, NULL, &schema_id, e);
	if (r < 0)
		return r;
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	sqlite3_stmt *st = store_stmt(db, STMT_SCHEMA, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, schema_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW) {
			const void *z = sqlite3_column_blob(st, 0);
			size_t zn = (size_t)sqlite3_column_bytes(st, 0);
			unsigned long long n = ZSTD_getFrameContentSize(z, zn);
			if (n == ZSTD_CONTENTSIZE_ERROR || n == ZSTD_CONTENTSIZE_UNKNOWN || n > (1ULL << 30)) {
				r = err_set(e, EIO, "schema text is damaged");
			} else {
				strbuf_reserve(out, n);
				size_t got = ZSTD_decompress(out->data + out->len, n, z, zn);
				if (ZSTD_isError(got) || got != n)
					r = err_set(e, EIO, "schema text is damaged");
				else
					out->len += n;
				out->data[out->len] = '\0';
			}
		} else {
			r = step == SQLITE_DONE ? err_set(e, EIO, "schema text is missing")
						: store_error(db, "reading a schema", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

static int catalog_store_blob(struct catalog *c, enum stmt which, int64_t id, const void *data, size_t len,
			      struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r;
	sqlite3_stmt *st = store_stmt(db, which, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, id);
		sqlite3_bind_blob(st, 2, data, (int)len, SQLITE_STATIC);
		r = store_run(db, st, "storing a sum", e);
	}
	return store_write_end(c, db, r, e);
}

/* SHA-256 of a version's lines file: kept with the version, so an unchanged table is read once for all its snapshots.
 */
static int catalog_lines_sha(struct catalog *c, const struct version_info *v, uint8_t out[ROW_SHA_LEN], struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	bool have = false;
	sqlite3_stmt *st = store_stmt(db, STMT_VERSION, e);
	if (st) {
		sqlite3_bind_int64(st, 1, v->id);
		if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_bytes(st, 6) == ROW_SHA_LEN) {
			memcpy(out, sqlite3_column_blob(st, 6), ROW_SHA_LEN);
			have = true;
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (have)
		return 0;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	_cleanup_free_ char *buf = xmalloc(1U << 20);
	hasher_begin(h);
	for (uint64_t at = 0; at < v->line_bytes;) {
		size_t got = 0;
		int r = catalog_read_lines(c, v->id, at, buf, 1U << 20, &got, e);
		if (r < 0)
			return r;
		if (got == 0)
			return err_set(e, EIO, "table %s: lines end early", v->name);
		hasher_more(h, buf, got);
		at += got;
	}
	hasher_end(h, out);
	/* Read-only users of the catalog can compute it but not keep it. */
	return c->writer ? catalog_store_blob(c, STMT_VERSION_SUM, v->id, out, ROW_SHA_LEN, e) : 0;
}

static void sums_line(struct strbuf *out, const uint8_t sha[ROW_SHA_LEN], const char *path)
{
	char hex[2 * ROW_SHA_LEN + 1];
	hex_encode(sha, ROW_SHA_LEN, hex);
	strbuf_addf(out, "%s  %s\n", hex, path);
}

int catalog_sums(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf manifest = {0}, schema = {0}, sums = {0};
	int r = catalog_texts(c, snapshot_id, NULL, &sums, NULL, e);
	if (r < 0)
		return r;
	if (sums.len) {
		strbuf_add(out, sums.data, sums.len);
		return 0;
	}
	r = catalog_manifest(c, snapshot_id, &manifest, e);
	if (r == 0)
		r = catalog_schema_sql(c, snapshot_id, &schema, e);
	if (r < 0)
		return r;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(h, manifest.data, manifest.len, sha);
	sums_line(&sums, sha, "MANIFEST.json");
	hasher_sha256(h, strbuf_str(&schema), schema.len, sha);
	sums_line(&sums, sha, "schema.sql");
	struct version_list tables;
	r = catalog_tables(c, snapshot_id, &tables, e);
	for (size_t i = 0; r == 0 && i < tables.n; i++) {
		_cleanup_strbuf_ struct strbuf path = {0};
		strbuf_adds(&path, "tables/");
		table_file_name(tables.v[i].name, &path);
		strbuf_adds(&path, ".jsonl");
		r = catalog_lines_sha(c, &tables.v[i], sha, e);
		if (r == 0)
			sums_line(&sums, sha, strbuf_str(&path));
	}
	version_list_done(&tables);
	if (r == 0 && c->writer)
		r = catalog_store_blob(c, STMT_SNAPSHOT_SUMS, snapshot_id, sums.data, sums.len, e);
	if (r == 0)
		strbuf_add(out, sums.data, sums.len);
	return r;
}
