/*
 * snapshot/stream/merge.c - see merge.h. A merge belongs to one thread.
 */
#include "snapshot/stream/merge.h"

#include <errno.h>

#include "snapshot/store/extent.h"
#include "snapshot/stream/version_stream.h"

/* Where nobody asks for the rows that are the same, those that two versions share are not read at all. */
static int merge_skip_shared(const struct merge *m, struct err *e)
{
	return m->differences ? stream_skip_shared(m->left, m->right, e) : 0;
}

/* The next row of either stream whose last one was given. */
static int merge_pull(struct merge *m, struct err *e)
{
	int r = !m->has_left && !m->has_right ? merge_skip_shared(m, e) : 0;
	if (r == 0 && !m->has_left && !m->left_ended) {
		r = m->left->next(m->left, &m->l, e);
		m->left->failed = r < 0;
		m->has_left = r == 1;
		m->left_ended = r == 0;
	}
	if (r >= 0 && !m->has_right && !m->right_ended) {
		r = m->right->next(m->right, &m->r, e);
		m->right->failed = r < 0;
		m->has_right = r == 1;
		m->right_ended = r == 0;
	}
	return r < 0 ? r : 0;
}

static bool merge_same_line(const struct stream_row *l, const struct stream_row *r)
{
	return l->line_len == r->line_len && (l->line == r->line || !memcmp(l->line, r->line, l->line_len));
}

int merge_next(struct merge *m, struct err *e)
{
	do {
		if (m->stop && atomic_load_explicit(m->stop, memory_order_relaxed))
			return err_set(e, EINTR, "interrupted");
		int r = merge_pull(m, e);
		if (r < 0 || (!m->has_left && !m->has_right))
			return r;
		int order = !m->has_left    ? 1
			    : !m->has_right ? -1
					    : key_compare(m->l.key, m->l.key_len, m->r.key, m->r.key_len);
		if (order)
			m->kind = order < 0 ? MERGE_LEFT : MERGE_RIGHT;
		else
			m->kind = merge_same_line(&m->l, &m->r) ? MERGE_SAME : MERGE_CHANGED;
		m->has_left &= order > 0;
		m->has_right &= order < 0;
	} while (m->differences && m->kind == MERGE_SAME);
	return 1;
}

int merge_streams(struct row_stream *left, struct row_stream *right, const struct merge_sink *sink, struct err *e)
{
	struct merge m = {.left = left, .right = right, .differences = !sink->same};
	int q, r = 0;
	while (r == 0 && (q = merge_next(&m, e)) != 0) {
		if (q < 0)
			return q;
		switch (m.kind) {
		case MERGE_LEFT:
			r = sink->left ? sink->left(sink->arg, &m.l, e) : 0;
			break;
		case MERGE_RIGHT:
			r = sink->right ? sink->right(sink->arg, &m.r, e) : 0;
			break;
		case MERGE_SAME:
			r = sink->same(sink->arg, &m.l, &m.r, e);
			break;
		case MERGE_CHANGED:
			r = sink->changed ? sink->changed(sink->arg, &m.l, &m.r, e) : 0;
			break;
		}
	}
	return r;
}
