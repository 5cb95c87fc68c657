/*
 * snapshot/capture/capture.c - capture: live tables merged with their newest versions, new rows stored, the snapshot committed.
 *
 * Runs on the job's thread; owns nothing beyond its calls.
 */
#include "snapshot/capture/capture.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/stream/splice.h"

#define GONE_BYTES_MAX (16U << 20) /* encoded keys of deleted rows; with more of them the whole table is read */

struct capture_sink {
	struct version_writer *v;
	struct hasher *hasher;
	struct digest digest;
};

static int capture_new(void *arg, const struct stream_row *l, struct err *e)
{
	struct capture_sink *s = arg;
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(s->hasher, l->line, l->line_len, sha);
	digest_add(&s->digest, sha);
	return version_writer_new_row(s->v, l->key, l->key_len, l->number, l->line, l->line_len, sha, e);
}

static int capture_gone(void *arg, const struct stream_row *r, struct err *e)
{
	struct capture_sink *s = arg;
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(s->hasher, r->line, r->line_len, sha);
	digest_sub(&s->digest, sha);
	return version_writer_gone(s->v, r->key, r->key_len, r->line, r->line_len, e);
}

static int capture_same(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	struct capture_sink *s = arg;
	(void)l;
	return version_writer_keep(s->v, r->stored, e);
}

static int capture_changed(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	int q = capture_gone(arg, r, e);
	return q < 0 ? q : capture_new(arg, l, e);
}

int capture_merge(struct row_stream *live, struct catalog *c, const struct version_info *base_version,
		  struct version_writer *v, int64_t since_ms, struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *base = NULL;
	_cleanup_(cleanup_hasher) struct hasher *hasher = hasher_new();
	int r = stream_version(&base, c, base_version ? base_version->id : 0, e);
	if (r == -EIO)
		return err_set(e, EUCLEAN, "%s", e->msg);
	if (r < 0)
		return r;
	struct capture_sink s = {.v = v, .hasher = hasher};
	if (base_version)
		s.digest = base_version->digest;
	struct merge_sink sink = {&s, capture_new, capture_gone, capture_same, capture_changed};
	r = merge_streams(live, base, &sink, e);
	if (r == -EIO && base->failed)
		return err_set(e, EUCLEAN, "%s", e->msg);
	return r < 0 ? r : version_writer_finish(v, &s.digest, base_version, since_ms, e);
}

static int capture_whole(struct capture *cp, const struct db_table *t, const struct version_info *base, bool ordered,
			 struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	int r = snapshot_writer_table(cp->writer, t, &v, e);
	if (r < 0)
		return r;
	/* Another description means another row form: the rows of the two cannot be merged. */
	if (base && base->codec_id != version_writer_codec_id(v))
		base = NULL;
	_cleanup_(cleanup_row_stream) struct row_stream *live = NULL;
	r = stream_live(&live, cp->conn, t, version_writer_codec(v), ordered, cp->job, e);
	return r < 0 ? r : capture_merge(live, cp->catalog, base, v, 0, e);
}

/* ---- reading what changed ---- */

/* Encoded keys, ascending, each behind its length. */
struct gone {
	struct strbuf keys;
	size_t at;
	const uint8_t *key; /* the one at hand; NULL: no more */
	size_t key_len;
};

static void gone_done(struct gone *g)
{
	strbuf_done(&g->keys);
}

static void gone_next(struct gone *g)
{
	const uint8_t *p = (const uint8_t *)g->keys.data + g->at, *end = (const uint8_t *)g->keys.data + g->keys.len;
	uint64_t len;
	g->key = NULL;
	if (p == end || !varint_get(&p, end, &len))
		return;
	g->key = p;
	g->key_len = len;
	g->at = (size_t)(p + len - (const uint8_t *)g->keys.data);
}

/* What of the base cannot be read is no failure of the capture: the table is then stored whole. */
static int base_next(struct row_cursor *rows, struct stored_row *ret, struct err *e)
{
	int r = row_cursor_next(rows, ret, e);
	return r == -EIO ? err_set(e, EUCLEAN, "%s", e->msg) : r;
}

/* The keys that the base has and the live table has not. 1: found `want` of them; 0: not this way. */
static int capture_find_gone(struct capture *cp, const struct db_table *t, const struct row_codec *codec,
			     const struct version_info *base, uint64_t want, struct gone *ret, struct err *e)
{
	const struct db_driver *d = db_driver_of(cp->conn);
	if (!row_key_has_values(codec))
		return 0;
	_cleanup_(cleanup_row_cursor) struct row_cursor *rows = NULL;
	int r = row_cursor_open(&rows, cp->catalog, base->id, 0, e);
	if (r < 0)
		return r == -EIO ? err_set(e, EUCLEAN, "%s", e->msg) : r;
	r = d->scan_open(cp->conn, t, DB_SCAN_KEYS, e);
	if (r < 0)
		return r == -EOPNOTSUPP ? 0 : r;
	_cleanup_strbuf_ struct strbuf key = {0};
	struct stored_row row;
	const struct db_value *values;
	uint64_t found = 0;
	int base_has = base_next(rows, &row, e), live_has = 0;
	for (r = base_has < 0 ? base_has : 0; r == 0 && base_has;) {
		live_has = d->scan_next(cp->conn, &values, e);
		if (live_has < 0) {
			r = live_has;
			break;
		}
		strbuf_clear(&key);
		if (live_has)
			r = row_key_of_values(codec, values, &key, e);
		/* Keys out of byte order make too many look gone: their number tells. */
		while (r == 0 && base_has && (!live_has || key_compare(row.key, row.key_len, key.data, key.len) < 0)) {
			found++;
			varint_add(&ret->keys, row.key_len);
			strbuf_add(&ret->keys, row.key, row.key_len);
			base_has = found > want || ret->keys.len > GONE_BYTES_MAX ? 0 : base_next(rows, &row, e);
			r = base_has < 0 ? base_has : 0;
		}
		if (r == 0 && base_has && key_compare(row.key, row.key_len, key.data, key.len) == 0) {
			base_has = base_next(rows, &row, e);
			r = base_has < 0 ? base_has : 0;
		}
	}
	(void)d->scan_close(cp->conn, ERR_DROP);
	return r < 0 ? r : found == want && ret->keys.len <= GONE_BYTES_MAX;
}

/* Makes the new version of the base, the changed rows and the keys that are gone. 1: done, 0: *ret_gone others are
 * gone.
 */
static int capture_splice(struct capture *cp, const struct db_table *t, const struct version_info *base,
			  const char *mark, bool ordered, struct gone *gone, uint64_t *ret_gone, struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	_cleanup_(cleanup_splice) struct splice *s = NULL;
	_cleanup_(cleanup_row_stream) struct row_stream *changed = NULL;
	uint64_t unchanged = 0, n_gone = 0;
	bool hashed = t->key_kind != DB_KEY_UNIQUE;
	int r = snapshot_writer_table(cp->writer, t, &v, e);
	if (r == 0)
		r = splice_new(&s, cp->catalog, base, v, e);
	if (r == 0)
		r = stream_changed(&changed, cp->conn, t, version_writer_codec(v), mark, ordered, &unchanged, cp->job,
				   e);
	if (r < 0)
		return r;
	if (hashed && unchanged != base->rows)
		return err_set(e, ESTALE, "rows without a key have gone");
	gone->at = 0;
	gone_next(gone);
	for (bool more = true; r == 0 && more;) {
		struct stream_row row;
		int n = changed->next(changed, &row, e);
		if (n < 0)
			return n;
		more = n == 1;
		for (;
		     r == 0 && gone->key && (!more || key_compare(gone->key, gone->key_len, row.key, row.key_len) < 0);
		     gone_next(gone), n_gone++)
			r = splice_delete(s, gone->key, gone->key_len, e);
		if (r == 0 && more)
			r = hashed ? splice_add(s, version_writer_codec(v), &row, e) : splice_upsert(s, &row, e);
	}
	if (r < 0)
		return r;
	/* The proof: base rows are unchanged ones, ones that were read again, or gone. */
	uint64_t known = unchanged + splice_found(s) + n_gone;
	*ret_gone = base->rows - known;
	if (known != base->rows)
		return known < base->rows && !gone->keys.len ? 0 : err_set(e, ESTALE, "the counts do not fit");
	struct digest digest;
	r = splice_end(s, &digest, e);
	if (r == 0)
		r = version_writer_finish(v, &digest, base, 0, e);
	if (r == 0)
		atomic_fetch_add(&cp->job->rows_done, unchanged);
	return r < 0 ? r : 1;
}

/* Reads only what changed since the mark. 0: done; -ESTALE: the whole table must be read. */
static int capture_changes(struct capture *cp, const struct db_table *t, const struct version_info *base,
			   const char *mark, struct err *e)
{
	_cleanup_(gone_done) struct gone gone = {0};
	const struct row_codec *codec;
	uint64_t n_gone = 0;
	int64_t codec_id;
	int r = catalog_codec(cp->catalog, base->codec_id, &codec, e);
	if (r == 0)
		r = store_codec_id(cp->catalog, t, &codec_id, e);
	if (r < 0)
		return r;
	if (codec_id != base->codec_id)
		return err_set(e, ESTALE, "the table was described differently");
	bool ordered = t->key_kind == DB_KEY_UNIQUE;
	r = capture_splice(cp, t, base, mark, ordered, &gone, &n_gone, e);
	if (ordered && (r == -EILSEQ || r == -EOPNOTSUPP)) {
		cp->wasted = true;
		ordered = false;
		r = capture_splice(cp, t, base, mark, ordered, &gone, &n_gone, e);
	}
	if (r != 0)
		return r < 0 ? r : 0;
	cp->wasted = true;
	r = capture_find_gone(cp, t, codec, base, n_gone, &gone, e);
	if (r == 1)
		r = capture_splice(cp, t, base, mark, ordered, &gone, &n_gone, e);
	else if (r == 0)
		r = err_set(e, ESTALE, "which rows are gone cannot be told by their keys");
	return r < 0 ? r : 0;
}

/* Index order first; what breaks the byte order or cannot come ordered is read again and sorted here. A damaged base
 * would keep every later snapshot (and the one before each restore) from being taken: the table is then stored whole.
 * *mark: what the base's says (text NULL: nothing), then this capture's. */
static int capture_table(struct capture *cp, const struct db_table *t, const struct version_info *base,
			 struct mark *mark, struct err *e)
{
	struct db_table plain = table_without_derived_key(t);
	bool ordered = t->key_kind == DB_KEY_UNIQUE, changes = base && mark->text && mark->age + 1 < FULL_READ_EVERY;
	for (;;) {
		struct err why = ERR_INIT;
		uint64_t rows = atomic_load(&cp->job->rows_done), bytes = atomic_load(&cp->job->bytes_done);
		int r = changes ? capture_changes(cp, t, base, mark->text, &why)
				: capture_whole(cp, t, base, ordered, &why);
		if (r >= 0)
			break;
		if (changes && (r == -ESTALE || r == -EDOM)) {
			changes = false;
		} else if (r == -EUCLEAN && base) {
			base = NULL;
			changes = false;
			cp->damage = why;
			(void)err_prefix(&cp->damage, "table %s: the newest snapshot is damaged (metasnap check)",
					 t->name);
		} else if (r == -EDOM && t != &plain) {
			t = &plain;
			ordered = false;
		} else if (!((r == -EILSEQ || r == -EOPNOTSUPP) && ordered)) {
			*e = why;
			return err_prefix(e, "table %s", t->name);
		} else {
			ordered = false;
		}
		cp->wasted = true;
		atomic_store(&cp->job->rows_done, rows);
		atomic_store(&cp->job->bytes_done, bytes);
	}
	mark->age = changes ? mark->age + 1 : 0;
	free(TAKE_PTR(mark->text));
	const struct db_driver *d = db_driver_of(cp->conn);
	_cleanup_strbuf_ struct strbuf text = {0};
	if (!d->mark || t == &plain || cp->schema_sql)
		return 0;
	int r = d->mark(cp->conn, t, &text, e);
	if (r == 0 && text.len)
		mark->text = strbuf_detach(&text);
	return r;
}

static void capture_manifest(const struct db_schema *s, struct manifest *m)
{
	*m = (struct manifest){
	    .engine = xstrdup(s->engine),
	    .server_version = xstrdup(s->server_version),
	    .database = xstrdup(s->database),
	    .schema = xstrdup(s->schema),
	    .app_version = xstrdup(s->app_version),
	    .n_sequences = s->n_sequences,
	    .sequences = xcalloc(s->n_sequences, sizeof *m->sequences),
	};
	for (size_t i = 0; i < s->n_sequences; i++) {
		m->sequences[i] = s->sequences[i];
		m->sequences[i].name = xstrdup(s->sequences[i].name);
	}
}

/* ---- all tables ---- */

struct capture_work {
	struct capture *cp;
	const struct version_list *base;
	struct mark *marks; /* one for each table of the schema */
	size_t *order;      /* tables, the largest first: the last ones to end are then small */
	atomic_size_t next; /* in order */
	atomic_bool failed;
	pthread_mutex_t mutex; /* of error and of cp's results */
	struct err error;
};

struct capture_worker {
	struct capture_work *work;
	struct db_conn *conn;
	pthread_t thread;
};

/* Nobody else's result is of use any more. */
static void capture_fail(struct capture_work *w, const struct db_conn *mine, const struct err *why)
{
	MUTEX_GUARD(&w->mutex);
	if (atomic_exchange(&w->failed, true))
		return;
	w->error = *why;
	for (size_t i = 0; i <= w->cp->n_more; i++) {
		struct db_conn *c = i < w->cp->n_more ? w->cp->more[i] : w->cp->conn;
		if (c != mine)
			db_driver_of(c)->cancel(c);
	}
}

static void *capture_worker(void *arg)
{
	struct capture_worker *me = arg;
	struct capture_work *w = me->work;
	struct capture mine = *w->cp;
	const struct db_schema *s = mine.schema;
	mine.conn = me->conn;
	for (size_t i; !atomic_load(&w->failed) && (i = atomic_fetch_add(&w->next, 1)) < s->n_tables;) {
		const struct db_table *t = &s->tables[w->order[i]];
		const struct version_info *base = NULL;
		for (size_t k = 0; k < w->base->n; k++)
			if (!strcmp(w->base->v[k].name, t->name))
				base = &w->base->v[k];
		job_ctl_say(mine.job, "snapshot %s: %s", mine.name ? mine.name : "for restore", t->name);
		struct err why = ERR_INIT;
		if (capture_table(&mine, t, base, &w->marks[w->order[i]], &why) < 0)
			capture_fail(w, me->conn, &why);
	}
	MUTEX_GUARD(&w->mutex);
	w->cp->wasted = w->cp->wasted || mine.wasted;
	if (mine.damage.code)
		w->cp->damage = mine.damage;
	return NULL;
}

static int capture_larger_first(const void *a, const void *b, void *arg)
{
	const struct db_schema *s = arg;
	int64_t x = s->tables[*(const size_t *)a].estimated_rows, y = s->tables[*(const size_t *)b].estimated_rows;
	return x != y ? (x < y) - (x > y) : (*(const size_t *)a > *(const size_t *)b) * 2 - 1;
}

static int capture_tables(struct capture *cp, const struct version_list *base, struct mark *marks, struct err *e)
{
	struct capture_work w = {.cp = cp, .base = base, .marks = marks};
	(void)pthread_mutex_init(&w.mutex, NULL);
	_cleanup_free_ size_t *order = w.order = xcalloc(cp->schema->n_tables, sizeof *order);
	for (size_t i = 0; i < cp->schema->n_tables; i++)
		order[i] = i;
	qsort_r(order, cp->schema->n_tables, sizeof *order, capture_larger_first, cp->schema);
	_cleanup_free_ struct capture_worker *more = xcalloc(cp->n_more, sizeof *more);
	size_t n = 0;
	for (; n < cp->n_more; n++) {
		more[n] = (struct capture_worker){.work = &w, .conn = cp->more[n]};
		if (pthread_create(&more[n].thread, NULL, capture_worker, &more[n]) != 0)
			break; /* the others do its work */
	}
	struct capture_worker first = {.work = &w, .conn = cp->conn};
	(void)capture_worker(&first);
	for (size_t i = 0; i < n; i++)
		(void)pthread_join(more[i].thread, NULL);
	(void)pthread_mutex_destroy(&w.mutex);
	if (!atomic_load(&w.failed))
		return 0;
	*e = w.error;
	return -w.error.code;
}

int capture_run(struct capture *cp, struct strbuf *ret_schema_sql, struct err *e)
{
	const struct db_driver *driver = db_driver_of(cp->conn);
	struct version_list base = {0};
	snapshot_writer_set_base(cp->writer, cp->base_id);
	struct mark_list old = {0}, marks = {.n = cp->schema->n_tables};
	int r = cp->base_id ? catalog_tables(cp->catalog, cp->base_id, &base, e) : 0;
	if (r == 0 && cp->base_id && !cp->whole)
		r = store_marks(cp->catalog, snapshot_writer_source(cp->writer), cp->base_id, &old, e);
	marks.v = xcalloc(marks.n, sizeof *marks.v);
	uint64_t total = 0;
	for (size_t i = 0; i < cp->schema->n_tables; i++) {
		const struct db_table *t = &cp->schema->tables[i];
		const struct mark *m = mark_list_find(&old, t->name);
		marks.v[i] = (struct mark){xstrdup(t->name), m ? xstrdup(m->text) : NULL, m ? m->age : 0};
		if (t->estimated_rows > 0)
			total += (uint64_t)t->estimated_rows;
	}
	atomic_store(&cp->job->rows_total, total);
	if (r == 0)
		r = capture_tables(cp, &base, marks.v, e);
	snapshot_writer_set_marks(cp->writer, &marks);
	mark_list_done(&old);
	version_list_done(&base);
	_cleanup_strbuf_ struct strbuf sql = {0};
	if (r == 0)
		r = driver->finish(cp->conn, cp->schema, e);
	if (r == 0 && cp->schema_sql)
		strbuf_add(&sql, strbuf_str(cp->schema_sql), cp->schema_sql->len);
	else if (r == 0)
		r = driver->schema_sql(cp->conn, cp->schema, &sql, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < cp->schema->n_tables; i++) {
		const struct db_table *t = &cp->schema->tables[i];
		struct manifest_table *m = snapshot_writer_find(cp->writer, t->name);
		m->has_auto_increment = t->has_auto_increment;
		m->auto_increment = t->auto_increment;
	}
	if (atomic_load(&cp->job->cancelled))
		return err_set(e, EINTR, "cancelled");
	struct manifest m, before = {0};
	capture_manifest(cp->schema, &m);
	/* An unchanged schema text keeps its time, so that rsync skips it. */
	if (cp->base_id && store_manifest(cp->catalog, cp->base_id, &before, ERR_DROP) == 0) {
		_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(h, strbuf_str(&sql), sql.len, sha);
		if (!memcmp(sha, before.schema_sha256, sizeof sha))
			m.schema_since_ms = before.schema_since_ms;
		manifest_done(&before);
	}
	r = snapshot_writer_commit(cp->writer, cp->name, &m, strbuf_str(&sql), sql.len, e);
	manifest_done(&m);
	if (r == 0 && ret_schema_sql)
		strbuf_add(ret_schema_sql, sql.data, sql.len);
	return r;
}
