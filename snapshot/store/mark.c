/*
 * snapshot/store/mark.c - marks: what a driver needs to read only what changed since a snapshot.
 *
 * Any thread. They are stored by the snapshot's last transaction (snapshot_write.c).
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

static int mark_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct mark_list *l = arg;
	if ((l->n & (l->n - 1)) == 0)
		l->v = xrealloc(l->v, (l->n ? l->n * 2 : 1) * sizeof *l->v);
	l->v[l->n++] = (struct mark){
	    .table = column_dup(st, 0), .age = (unsigned)sqlite3_column_int(st, 1), .text = column_dup(st, 2)};
	return 0;
}

int store_marks(struct catalog *c, int64_t source_id, int64_t snapshot_id, struct mark_list *ret, struct err *e)
{
	*ret = (struct mark_list){0};
	int r = store_read(c, STMT_MARKS, BINDS(bind_int(source_id), bind_int(snapshot_id)), mark_from_row, ret,
			   "reading marks", e);
	if (r < 0)
		mark_list_done(ret);
	return r < 0 ? r : 0;
}

int marks_commit(struct store_db *db, int64_t source_id, int64_t snapshot_id, const struct mark_list *m, struct err *e)
{
	int r = store_exec(db, STMT_MARKS_DELETE, BINDS(bind_int(source_id)), "storing marks", e);
	for (size_t i = 0; r == 0 && i < m->n; i++)
		if (m->v[i].text)
			r = store_exec(db, STMT_MARK_INSERT,
				       BINDS(bind_int(source_id), bind_text(m->v[i].table), bind_int(snapshot_id),
					     bind_int(m->v[i].age), bind_text(m->v[i].text)),
				       "storing marks", e);
	return r;
}
