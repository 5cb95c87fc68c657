/*
 * snapshot/stream/live_stream.c - see live_stream.h.
 *
 * A stream belongs to one thread; the only thing shared is struct job_ctl, whose counters are atomic.
 */
#include "snapshot/stream/live_stream.h"

#include <errno.h>

#include "snapshot/store/extent.h"
#include "snapshot/stream/sorter.h"

struct live_stream {
	struct row_stream base;
	struct db_conn *conn;
	const struct row_codec *codec;
	const char *table;
	struct job_ctl *job;
	struct strbuf line, key, last;
	bool direct; /* keys come of the values */
	bool any, open;
};

static int live_values(struct live_stream *s, const struct db_value **ret, struct err *e)
{
	const struct db_value *values;
	int r = db_driver_of(s->conn)->scan_next(s->conn, &values, e);
	if (r <= 0)
		return r;
	strbuf_clear(&s->line);
	r = row_encode(s->codec, values, &s->line, e);
	if (r < 0)
		return r;
	if (s->job) {
		if (atomic_load_explicit(&s->job->cancelled, memory_order_relaxed))
			return err_set(e, EINTR, "cancelled");
		atomic_fetch_add_explicit(&s->job->rows_done, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&s->job->bytes_done, s->line.len + 1, memory_order_relaxed);
	}
	*ret = values;
	return 1;
}

static int live_next(struct row_stream *base, struct stream_row *ret, struct err *e)
{
	struct live_stream *s = (struct live_stream *)base;
	const struct db_value *values = NULL;
	int r = live_values(s, &values, e);
	if (r <= 0)
		return r;
	struct strbuf old = s->last;
	s->last = s->key;
	s->key = old;
	strbuf_clear(&s->key);
	r = s->direct ? row_key_of_scan(s->codec, values, &s->key, e)
		      : row_key(s->codec, s->line.data, s->line.len, NULL, 0, &s->key, e);
	if (r < 0)
		return r;
	if (s->any && key_compare(s->key.data, s->key.len, s->last.data, s->last.len) <= 0)
		return err_set(e, EILSEQ, "table %s: the server's order is not bytewise", s->table);
	s->any = true;
	*ret = (struct stream_row){
	    .key = s->key.data, .key_len = s->key.len, .line = s->line.data, .line_len = s->line.len};
	return 1;
}

static void live_close(struct row_stream *base)
{
	struct live_stream *s = (struct live_stream *)base;
	if (s->open)
		(void)db_driver_of(s->conn)->scan_close(s->conn, ERR_DROP);
	strbuf_done(&s->line);
	strbuf_done(&s->key);
	strbuf_done(&s->last);
	free(s);
}

/* An open scan becomes a stream: as it comes, or sorted here. The scan is closed on failure. */
static int live_new(struct row_stream **ret, struct db_conn *conn, const struct db_table *t,
		    const struct row_codec *codec, bool ordered, struct job_ctl *job, struct err *e)
{
	struct live_stream *s = xcalloc(1, sizeof *s);
	_cleanup_(cleanup_row_stream) struct row_stream *mine = &s->base;
	s->base = (struct row_stream){.next = live_next, .close = live_close};
	s->conn = conn;
	s->codec = codec;
	s->table = t->name;
	s->job = job;
	s->direct = row_key_has_values(codec);
	s->open = true;
	if (ordered) {
		*ret = TAKE_PTR(mine);
		return 0;
	}
	_cleanup_(cleanup_sorter) struct sorter *sorter = sorter_new(codec, SORTER_MEMORY);
	int r = 0;
	while (r == 0) {
		const struct db_value *values;
		r = live_values(s, &values, e);
		if (r <= 0)
			break;
		r = sorter_add(sorter, s->line.data, s->line.len, e);
	}
	if (r == 0) {
		s->open = false;
		r = db_driver_of(conn)->scan_close(conn, e);
	}
	if (r < 0)
		return r;
	return sorter_stream(ret, TAKE_PTR(sorter), e);
}

int stream_live(struct row_stream **ret, struct db_conn *conn, const struct db_table *t, const struct row_codec *codec,
		bool ordered, struct job_ctl *job, struct err *e)
{
	int r = db_driver_of(conn)->scan_open(conn, t, ordered ? DB_SCAN_ORDERED : DB_SCAN_UNORDERED, e);
	return r < 0 ? r : live_new(ret, conn, t, codec, ordered, job, e);
}

int stream_changed(struct row_stream **ret, struct db_conn *conn, const struct db_table *t,
		   const struct row_codec *codec, const char *mark, bool ordered, uint64_t *ret_unchanged,
		   struct job_ctl *job, struct err *e)
{
	int r = db_driver_of(conn)->scan_changed(conn, t, mark, ret_unchanged, e);
	return r < 0 ? r : live_new(ret, conn, t, codec, ordered, job, e);
}
