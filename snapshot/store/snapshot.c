/*
 * snapshot/store/snapshot.c - see snapshot.h: sources, the rows of snapshots, their names and holds. Any thread.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <time.h>

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

/* ---- sources ---- */

/* Found or added, in the caller's transaction. */
static int source_id(struct store_db *db, const char *name, int64_t *ret_id, struct err *e)
{
	int r = store_query(db, STMT_SOURCE_FIND, BINDS(bind_text(name)), row_int, ret_id, "looking for a source", e);
	if (r)
		return r < 0 ? r : 0;
	r = store_exec(db, STMT_SOURCE_INSERT, BINDS(bind_text(name)), "adding a source", e);
	*ret_id = sqlite3_last_insert_rowid(db->h);
	return r;
}

int catalog_source(struct catalog *c, const char *name, int64_t *ret_id, struct err *e)
{
	int r = store_read(c, STMT_SOURCE_FIND, BINDS(bind_text(name)), row_int, ret_id, "looking for a source", e);
	if (r)
		return r < 0 ? r : 0;
	if (c->mode == CATALOG_READ)
		return err_set(e, ENOENT, "catalog %s: no source '%s'", c->path, name);
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	return db ? store_write_end(c, db, source_id(db, name, ret_id, e), e) : err_code(e);
}

/* ---- snapshots ---- */

static int snapshot_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct snapshot_info *s = arg;
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
	return 0;
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

static int snapshot_list_add(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct snapshot_list *l = arg;
	if ((l->n & (l->n - 1)) == 0)
		l->v = xrealloc(l->v, (l->n ? l->n * 2 : 1) * sizeof *l->v);
	return snapshot_from_row(&l->v[l->n++], st, e);
}

int catalog_list(struct catalog *c, int64_t source_id, struct snapshot_list *ret, struct err *e)
{
	*ret = (struct snapshot_list){0};
	int r = store_read(c, STMT_SNAPSHOT_LIST, BINDS(bind_int(source_id)), snapshot_list_add, ret,
			   "listing snapshots", e);
	if (r < 0)
		snapshot_list_done(ret);
	return r < 0 ? r : 0;
}

/* One row at most; ENOENT with the words of `name` (NULL: of none). */
static int catalog_one(struct catalog *c, enum stmt which, const struct bind *bind, const char *name,
		       struct snapshot_info *ret, struct err *e)
{
	int r = store_read(c, which, bind, snapshot_from_row, ret, "reading a snapshot", e);
	if (r)
		return r < 0 ? r : 0;
	return name ? err_set(e, ENOENT, "no snapshot '%s'", name) : err_set(e, ENOENT, "no such snapshot");
}

int catalog_find(struct catalog *c, int64_t source_id, const char *name, struct snapshot_info *ret, struct err *e)
{
	return catalog_one(c, STMT_SNAPSHOT_FIND, BINDS(bind_int(source_id), bind_text(name)), name, ret, e);
}

int catalog_get(struct catalog *c, int64_t snapshot_id, struct snapshot_info *ret, struct err *e)
{
	return catalog_one(c, STMT_SNAPSHOT_GET, BINDS(bind_int(snapshot_id)), NULL, ret, e);
}

int catalog_latest(struct catalog *c, int64_t source_id, struct snapshot_info *ret, struct err *e)
{
	return catalog_one(c, STMT_SNAPSHOT_LATEST, BINDS(bind_int(source_id)), NULL, ret, e);
}

int store_newest_taken(struct catalog *c, int64_t source_id, int64_t now, struct snapshot_info *ret, struct err *e)
{
	return catalog_one(c, STMT_SNAPSHOT_TAKEN, BINDS(bind_int(source_id), bind_id(now)), NULL, ret, e);
}

/* In the caller's transaction: one snapshot's row is changed. */
static int catalog_change(struct store_db *db, enum stmt which, const struct bind *bind, const char *what,
			  struct err *e)
{
	int r = store_exec(db, which, bind, what, e);
	return r == 0 && sqlite3_changes(db->h) == 0 ? err_set(e, ENOENT, "no such snapshot") : r;
}

int catalog_rename(struct catalog *c, int64_t snapshot_id, const char *name, struct err *e)
{
	int r = snapshot_name_check(name, e);
	if (r < 0)
		return r;
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	r = catalog_change(db, STMT_SNAPSHOT_RENAME, BINDS(bind_int(snapshot_id), bind_text(name)),
			   "renaming a snapshot", e);
	if (r == -EEXIST)
		r = err_set(e, EEXIST, "snapshot '%s' exists already", name);
	return store_write_end(c, db, r, e);
}

int catalog_hold(struct catalog *c, int64_t snapshot_id, bool hold, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r = catalog_change(db, STMT_SNAPSHOT_HOLD, BINDS(bind_int(snapshot_id), bind_int(hold)),
			       "holding a snapshot", e);
	return store_write_end(c, db, r, e);
}
