/*
 * snapshot/store/mark.c - marks: what a driver needs to read only what changed since a snapshot.
 *
 * Any thread. They are stored by the snapshot's last transaction (version_write.c).
 */
#include "snapshot/store/internal.h"

void mark_list_done(struct mark_list *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].table);
		free(m->v[i].text);
	}
	free(m->v);
	*m = (struct mark_list){0};
}

const struct mark *mark_list_find(const struct mark_list *m, const char *table)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->v[i].text && !strcmp(m->v[i].table, table))
			return &m->v[i];
	return NULL;
}

int store_marks(struct catalog *c, int64_t source_id, int64_t snapshot_id, struct mark_list *ret, struct err *e)
{
	*ret = (struct mark_list){0};
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_MARKS, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, source_id);
		sqlite3_bind_int64(st, 2, snapshot_id);
		int step;
		while ((step = sqlite3_step(st)) == SQLITE_ROW) {
			if ((ret->n & (ret->n - 1)) == 0)
				ret->v = xrealloc(ret->v, (ret->n ? ret->n * 2 : 1) * sizeof *ret->v);
			ret->v[ret->n++] = (struct mark){
			    .table = xstrdup((const char *)sqlite3_column_text(st, 0)),
			    .age = (unsigned)sqlite3_column_int(st, 1),
			    .text = xstrdup((const char *)sqlite3_column_text(st, 2)),
			};
		}
		if (step != SQLITE_DONE)
			r = store_error(db, "reading marks", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (r < 0)
		mark_list_done(ret);
	return r;
}
