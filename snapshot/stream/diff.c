/*
 * snapshot/stream/diff.c - see diff.h. Any thread; nothing is written.
 */
#include "snapshot/stream/diff.h"

static int diff_table(struct catalog *c, const struct table_pair *p, const struct diff_sink *sink, struct err *e)
{
	static const char letters[CHANGE_KINDS] = {'A', 'R', 'C'};
	const char *table = table_pair_name(p);
	_cleanup_(cleanup_changes_cursor) struct changes_cursor *cc = NULL;
	struct changes_row row;
	int r = sink->table && (!p->before || !p->after) ? sink->table(sink->arg, table, p->before ? 'R' : 'A') : 0;
	if (r == 0)
		r = changes_cursor_open(&cc, c, p, NULL, e);
	while (r == 0 && (r = changes_cursor_next(cc, &row, e)) == 1)
		r = sink->row(sink->arg, table, letters[row.kind], row.before, row.after);
	return r;
}

int diff_snapshots(struct catalog *c, int64_t snapshot_a, int64_t snapshot_b, const struct diff_sink *sink,
		   struct err *e)
{
	struct table_pairs pairs;
	int r = table_pairs_load(c, snapshot_a, snapshot_b, &pairs, e);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < pairs.n; i++)
		if (!table_pair_same(&pairs.v[i]))
			r = diff_table(c, &pairs.v[i], sink, e);
	table_pairs_done(&pairs);
	return r;
}
