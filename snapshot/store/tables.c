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

static int version_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct version_info *v = arg;
	*v = (struct version_info){
	    .id = sqlite3_column_int64(st, 0),
	    .ordinal = (size_t)sqlite3_column_int64(st, 1),
	    .name = column_dup(st, 2),
	    .codec_id = sqlite3_column_int64(st, 3),
	    .rows = (uint64_t)sqlite3_column_int64(st, 4),
	    .line_bytes = (uint64_t)sqlite3_column_int64(st, 5),
	    .file_bytes = (uint64_t)sqlite3_column_int64(st, 6),
	    .since_ms = sqlite3_column_int64(st, 8),
	};
	v->digest.count = v->rows;
	if (column_sha(st, 7, v->digest.sum))
		return 0;
	version_info_done(v);
	return err_set(e, EIO, "catalog: a table version is damaged");
}

static int version_list_add(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct version_list *l = arg;
	if ((l->n & (l->n - 1)) == 0)
		l->v = xrealloc(l->v, (l->n ? l->n * 2 : 1) * sizeof *l->v);
	int r = version_from_row(&l->v[l->n], st, e);
	l->n += r == 0;
	return r;
}

int catalog_tables(struct catalog *c, int64_t snapshot_id, struct version_list *ret, struct err *e)
{
	*ret = (struct version_list){0};
	int r = store_read(c, STMT_SNAPSHOT_TABLES, BINDS(bind_int(snapshot_id)), version_list_add, ret,
			   "listing tables", e);
	if (r < 0)
		version_list_done(ret);
	return r < 0 ? r : 0;
}

int version_one(struct catalog *c, enum stmt which, const struct bind *bind, const char *table,
		struct version_info *ret, struct err *e)
{
	int r = store_read(c, which, bind, version_from_row, ret, "reading a table", e);
	return r < 0 ? r : r == 0 ? err_set(e, ENOENT, "no table %s in the snapshot", table) : 0;
}

int catalog_table(struct catalog *c, int64_t snapshot_id, const char *table, struct version_info *ret, struct err *e)
{
	return version_one(c, STMT_SNAPSHOT_TABLE, BINDS(bind_int(snapshot_id), bind_text(table)), table, ret, e);
}
