/*
 * snapshot/stream/stream.c - row streams (live table, table version, sorter) and the merge of two of them.
 *
 * Each stream belongs to one thread; the only thing shared is struct job_ctl, whose counters are atomic.
 */
#include "snapshot/stream/stream.h"

#include <errno.h>
#include <inttypes.h>

/* ---- versions ---- */

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

/* ---- sorter ---- */

/* A row in memory: these, its key, its line. */
struct sorter_row {
	uint32_t key_len, line_len;
};

struct sorter {
	struct row_stream base;
	const struct row_codec *codec;
	bool hashed;
	size_t memory;      /* rows beyond it go to the database */
	struct strbuf rows; /* of the rows in memory, each at one of `place` */
	size_t *place;
	size_t n, cap, at;
	sqlite3 *db; /* NULL: all rows are in memory */
	sqlite3_stmt *insert, *select;
	struct hasher *hasher;
	struct strbuf key, last; /* last: key of the row before, for hashed tables without its number */
	uint64_t number;
	bool any;
};

static int sorter_error(struct sorter *s, struct err *e)
{
	int no = (sqlite3_errcode(s->db) & 0xff) == SQLITE_FULL ? ENOSPC : EIO;
	return err_set(e, no, "sorting rows in the temporary folder: %s", sqlite3_errmsg(s->db));
}

void sorter_free(struct sorter *s)
{
	if (!s)
		return;
	sqlite3_finalize(s->insert);
	sqlite3_finalize(s->select);
	sqlite3_close(s->db);
	hasher_free(s->hasher);
	strbuf_done(&s->rows);
	free(s->place);
	strbuf_done(&s->key);
	strbuf_done(&s->last);
	free(s);
}

static void sorter_close(struct row_stream *s)
{
	sorter_free((struct sorter *)s);
}

struct sorter *sorter_new(const struct row_codec *codec, size_t memory)
{
	struct sorter *s = xcalloc(1, sizeof *s);
	s->codec = codec;
	s->hashed = row_key_is_hashed(codec);
	s->hasher = s->hashed ? hasher_new() : NULL;
	s->memory = memory;
	return s;
}

static struct sorter_row sorter_at(const struct sorter *s, size_t place, const char **key, const char **line)
{
	struct sorter_row row;
	memcpy(&row, s->rows.data + place, sizeof row);
	*key = s->rows.data + place + sizeof row;
	*line = *key + row.key_len;
	return row;
}

static int sorter_insert(struct sorter *s, const char *key, size_t key_len, const char *line, size_t len, struct err *e)
{
	sqlite3_bind_blob64(s->insert, 1, key, key_len, SQLITE_STATIC);
	sqlite3_bind_blob64(s->insert, 2, line, len, SQLITE_STATIC);
	int step = sqlite3_step(s->insert);
	(void)sqlite3_reset(s->insert);
	return step == SQLITE_DONE ? 0 : sorter_error(s, e);
}

/* "" is a private database in a file that SQLite makes in the temporary folder and unlinks at once. */
static int sorter_spill(struct sorter *s, struct err *e)
{
	if (sqlite3_open_v2("", &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return sorter_error(s, e);
	char setup[256];
	(void)snprintf(
	    setup, sizeof setup,
	    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE; PRAGMA page_size=16384;"
	    "PRAGMA cache_size=-%zu; CREATE TABLE s(k BLOB, l BLOB); BEGIN",
	    s->memory >> 10);
	if (sqlite3_exec(s->db, setup, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(s->db, "INSERT INTO s VALUES(?1, ?2)", -1, &s->insert, NULL) != SQLITE_OK)
		return sorter_error(s, e);
	int r = 0;
	for (size_t i = 0; r == 0 && i < s->n; i++) {
		const char *key, *line;
		struct sorter_row row = sorter_at(s, s->place[i], &key, &line);
		r = sorter_insert(s, key, row.key_len, line, row.line_len, e);
	}
	strbuf_done(&s->rows);
	s->rows = (struct strbuf){0};
	free(TAKE_PTR(s->place));
	s->n = s->cap = 0;
	return r;
}

static void sorter_keep(struct sorter *s, const char *line, size_t len)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->place = xrealloc(s->place, s->cap * sizeof *s->place);
	}
	struct sorter_row row = {(uint32_t)s->key.len, (uint32_t)len};
	s->place[s->n++] = s->rows.len;
	strbuf_add(&s->rows, &row, sizeof row);
	strbuf_add(&s->rows, s->key.data, s->key.len);
	strbuf_add(&s->rows, line, len);
}

int sorter_add(struct sorter *s, const char *line, size_t len, struct err *e)
{
	uint8_t sha[ROW_SHA_LEN];
	if (s->hashed)
		hasher_sha256(s->hasher, line, len, sha);
	strbuf_clear(&s->key);
	int r = row_key(s->codec, line, len, s->hashed ? sha : NULL, 0, &s->key, e);
	if (r < 0)
		return r;
	size_t used = s->rows.len + s->n * sizeof *s->place + sizeof(struct sorter_row) + s->key.len + len;
	if (!s->db && (used > s->memory || len > UINT32_MAX || s->key.len > UINT32_MAX))
		r = sorter_spill(s, e);
	if (r == 0 && s->db)
		r = sorter_insert(s, strbuf_str(&s->key), s->key.len, line, len, e);
	else if (r == 0)
		sorter_keep(s, line, len);
	return r;
}

/* The next row in order: 1, 0 at the end. */
static int sorter_take(struct sorter *s, struct stream_row *ret, struct err *e)
{
	*ret = (struct stream_row){0};
	if (!s->db) {
		if (s->at == s->n)
			return 0;
		const char *key;
		struct sorter_row row = sorter_at(s, s->place[s->at++], &key, &ret->line);
		ret->key = key;
		ret->key_len = row.key_len;
		ret->line_len = row.line_len;
		return 1;
	}
	int step = sqlite3_step(s->select);
	if (step == SQLITE_DONE)
		return 0;
	if (step != SQLITE_ROW)
		return sorter_error(s, e);
	ret->key = sqlite3_column_blob(s->select, 0);
	ret->key_len = (size_t)sqlite3_column_bytes(s->select, 0);
	ret->line = sqlite3_column_blob(s->select, 1);
	ret->line_len = (size_t)sqlite3_column_bytes(s->select, 1);
	return 1;
}

static int sorter_next(struct row_stream *base, struct stream_row *ret, struct err *e)
{
	struct sorter *s = (struct sorter *)base;
	int r = sorter_take(s, ret, e);
	if (r <= 0)
		return r;
	bool equal = s->any && s->last.len == ret->key_len && memcmp(s->last.data, ret->key, ret->key_len) == 0;
	if (equal && !s->hashed)
		return err_set(e, EEXIST, "table %s: two rows have the same key", row_codec_table(s->codec)->name);
	s->number = equal ? s->number + 1 : 1;
	s->any = true;
	strbuf_clear(&s->last);
	strbuf_add(&s->last, ret->key, ret->key_len);
	if (s->hashed) {
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(s->hasher, ret->line, ret->line_len, sha);
		strbuf_clear(&s->key);
		r = row_key(s->codec, ret->line, ret->line_len, sha, s->number, &s->key, e);
		if (r < 0)
			return r;
		ret->key = s->key.data;
		ret->key_len = s->key.len;
		ret->number = s->number;
	}
	return 1;
}

static int sorter_compare(const void *a, const void *b, void *arg)
{
	const char *x, *y, *line;
	struct sorter_row left = sorter_at(arg, *(const size_t *)a, &x, &line);
	struct sorter_row right = sorter_at(arg, *(const size_t *)b, &y, &line);
	return key_compare(x, left.key_len, y, right.key_len);
}

int sorter_stream(struct row_stream **ret, struct sorter *s, struct err *e)
{
	if (!s->db) {
		if (s->n)
			qsort_r(s->place, s->n, sizeof *s->place, sorter_compare, s);
	} else if (sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK ||
		   sqlite3_prepare_v2(s->db, "SELECT k, l FROM s ORDER BY k", -1, &s->select, NULL) != SQLITE_OK) {
		int r = sorter_error(s, e);
		sorter_free(s);
		return r;
	}
	s->base = (struct row_stream){.next = sorter_next, .close = sorter_close};
	*ret = &s->base;
	return 0;
}

/* ---- live tables ---- */

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

/* ---- merge ---- */

/* Where nobody asks for the rows that are the same, those that two versions share are not read at all. */
static int skip_shared(const struct merge *m, struct err *e)
{
	if (!m->differences || m->left->next != version_stream_next || m->right->next != version_stream_next)
		return 0;
	struct row_cursor *l = ((struct version_stream *)m->left)->cursor;
	struct row_cursor *r = ((struct version_stream *)m->right)->cursor;
	return l && r ? row_cursor_skip_shared(l, r, e) : 0;
}

/* The next row of either stream whose last one was given. */
static int merge_pull(struct merge *m, struct err *e)
{
	int r = !m->has_left && !m->has_right ? skip_shared(m, e) : 0;
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
	return l->line_len == r->line_len && (l->line == r->line || memcmp(l->line, r->line, l->line_len) == 0);
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
