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
