/*
 * snapshot/store/tables.c - see tables.h. Any thread; nothing is kept between calls.
 */
#include "snapshot/store/internal.h"

#include <errno.h>

void version_info_done(struct version_info *v)
{
	free(v->name);
	*v = (struct version_info){0};
}

void version_list_done(struct version_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		version_info_done(&l->v[i]);
	free(l->v);
	*l = (struct version_list){0};
}

static int version_from_row(sqlite3_stmt *st, struct version_info *v, struct err *e)
{
	*v = (struct version_info){
	    .id = sqlite3_column_int64(st, 0),
	    .ordinal = (size_t)sqlite3_column_int64(st, 1),
	    .name = xstrdup((const char *)sqlite3_column_text(st, 2)),
	    .codec_id = sqlite3_column_int64(st, 3),
	    .rows = (uint64_t)sqlite3_column_int64(st, 4),
	    .line_bytes = (uint64_t)sqlite3_column_int64(st, 5),
	    .file_bytes = (uint64_t)sqlite3_column_int64(st, 6),
	    .since_ms = sqlite3_column_int64(st, 8),
	};
	v->digest.count = v->rows;
	if (sqlite3_column_bytes(st, 7) != ROW_SHA_LEN) {
		version_info_done(v);
		return err_set(e, EIO, "catalog: a table version is damaged");
	}
	memcpy(v->digest.sum, sqlite3_column_blob(st, 7), ROW_SHA_LEN);
	return 0;
}

int catalog_tables(struct catalog *c, int64_t snapshot_id, struct version_list *ret, struct err *e)
{
	*ret = (struct version_list){0};
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_SNAPSHOT_TABLES, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, snapshot_id);
		int step;
		while ((step = sqlite3_step(st)) == SQLITE_ROW && r == 0) {
			if ((ret->n & (ret->n - 1)) == 0)
				ret->v = xrealloc(ret->v, (ret->n ? ret->n * 2 : 1) * sizeof *ret->v);
			r = version_from_row(st, &ret->v[ret->n], e);
			if (r == 0)
				ret->n++;
		}
		if (r == 0 && step != SQLITE_DONE)
			r = store_error(db, "listing tables", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (r < 0)
		version_list_done(ret);
	return r;
}

int version_one(struct catalog *c, enum stmt which, int64_t snapshot_id, const char *table, size_t ordinal,
		struct version_info *ret, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r;
	sqlite3_stmt *st = store_stmt(db, which, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, snapshot_id);
		if (which == STMT_SNAPSHOT_TABLE)
			sqlite3_bind_text(st, 2, table, -1, SQLITE_STATIC);
		else if (which == STMT_SNAPSHOT_TABLE_AT)
			sqlite3_bind_int64(st, 2, (int64_t)ordinal);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW)
			r = version_from_row(st, ret, e);
		else if (step == SQLITE_DONE)
			r = err_set(e, ENOENT, "no table %s in the snapshot", table ? table : "there");
		else
			r = store_error(db, "reading a table", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int catalog_table(struct catalog *c, int64_t snapshot_id, const char *table, struct version_info *ret, struct err *e)
{
	return version_one(c, STMT_SNAPSHOT_TABLE, snapshot_id, table, 0, ret, e);
}

int catalog_table_at(struct catalog *c, int64_t snapshot_id, size_t ordinal, struct version_info *ret, struct err *e)
{
	return version_one(c, STMT_SNAPSHOT_TABLE_AT, snapshot_id, NULL, ordinal, ret, e);
}
