/*
 * snapshot/stream/version_stream.c - see version_stream.h. A stream belongs to one thread.
 */
#include "snapshot/stream/version_stream.h"

struct version_stream {
	struct row_stream base;
	struct row_cursor *cursor; /* NULL: no rows */
	struct stored_row row;
};

static int version_stream_next(struct row_stream *s, struct stream_row *ret, struct err *e)
{
	struct version_stream *v = (struct version_stream *)s;
	if (!v->cursor)
		return 0;
	int r = row_cursor_next(v->cursor, &v->row, e);
	if (r == 1)
		*ret = (struct stream_row){.key = v->row.key,
					   .key_len = v->row.key_len,
					   .line = v->row.line,
					   .line_len = v->row.line_len,
					   .stored = &v->row};
	return r;
}

static void version_stream_close(struct row_stream *s)
{
	row_cursor_close(((struct version_stream *)s)->cursor);
	free(s);
}

/* Takes the cursor. */
static struct row_stream *version_stream_new(struct row_cursor *cursor)
{
	struct version_stream *v = xcalloc(1, sizeof *v);
	v->base = (struct row_stream){.next = version_stream_next, .close = version_stream_close};
	v->cursor = cursor;
	return &v->base;
}

int stream_version(struct row_stream **ret, struct catalog *c, int64_t version_id, struct err *e)
{
	struct row_cursor *cursor = NULL;
	int r = version_id ? row_cursor_open(&cursor, c, version_id, 0, e) : 0;
	if (r == 0)
		*ret = version_stream_new(cursor);
	return r;
}

int stream_version_from(struct row_stream **ret, struct catalog *c, int64_t version_id, const void *key, size_t key_len,
			struct err *e)
{
	struct row_cursor *cursor;
	int r = row_cursor_seek(&cursor, c, version_id, key, key_len, e);
	if (r == 0)
		*ret = version_stream_new(cursor);
	return r;
}

int stream_skip_shared(struct row_stream *a, struct row_stream *b, struct err *e)
{
	if (a->next != version_stream_next || b->next != version_stream_next)
		return 0;
	struct row_cursor *l = ((struct version_stream *)a)->cursor, *r = ((struct version_stream *)b)->cursor;
	return l && r ? row_cursor_skip_shared(l, r, e) : 0;
}
