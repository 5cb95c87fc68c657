/*
 * snapshot/capture/capture.c - capture: live tables merged with their newest versions, the snapshot committed.
 *
 * Runs on the job's thread; owns nothing beyond its calls.
 */
#include "snapshot/capture/capture.h"

#include <errno.h>
#include <inttypes.h>

#include "base/workers.h"
#include "snapshot/capture/internal.h"
#include "snapshot/capture/merge.h"
#include "snapshot/openmetadata/names_write.h"

static int capture_whole(struct capture *cp, const struct db_table *t, const struct version_info *base, bool ordered,
			 struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	int r = snapshot_writer_table(cp->writer, t, &v, e);
	if (r < 0)
		return r;
	r = names_update_watch(cp->names, v, e);
	if (r < 0)
		return r;
	/* Another description means another row form: the rows of the two cannot be merged. */
	if (base && base->codec_id != version_writer_codec_id(v))
		base = NULL;
	_cleanup_(cleanup_row_stream) struct row_stream *live = NULL;
	r = stream_live(&live, cp->conn, t, version_writer_codec(v), ordered, cp->job, e);
	return r < 0 ? r : capture_merge(live, cp->catalog, base, v, 0, e);
}

/* Index order first; what breaks the byte order or cannot come ordered is read again and sorted here. A damaged base
 * would keep every later snapshot (and the one before each restore) from being taken: the table is then stored whole.
 * *mark: what the base's says (text NULL: nothing), then this capture's. */
static int capture_table(struct capture *cp, const struct db_table *t, const struct version_info *base,
			 struct mark *mark, struct err *e)
{
	struct db_table plain = db_table_without_key(t);
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
		} else if (r == -ERESTART) {
			; /* the same once more */
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
	struct workers workers;
	pthread_mutex_t mutex; /* of cp's results and stopped */
	bool stopped;
};

struct capture_worker {
	struct capture_work *work;
	struct db_conn *conn;
};

/* Nobody else's result is of use any more. Noted before the others are made to fail. With work.mutex held. */
static void capture_stop(struct capture_work *w, const struct db_conn *mine, int r, const struct err *why)
{
	(void)workers_fail(&w->workers, r, why);
	for (size_t i = 0; i <= w->cp->n_more && !w->stopped; i++) {
		struct db_conn *c = i < w->cp->n_more ? w->cp->more[i] : w->cp->conn;
		if (c != mine)
			db_driver_of(c)->cancel(c);
	}
	w->stopped = true;
}

static int capture_worker(void *arg, struct err *e)
{
	struct capture_worker *me = arg;
	struct capture_work *w = me->work;
	struct capture mine = *w->cp;
	const struct db_schema *s = mine.schema;
	int r = 0;
	mine.conn = me->conn;
	for (size_t i; r == 0 && !workers_failed(&w->workers) && (i = atomic_fetch_add(&w->next, 1)) < s->n_tables;) {
		const struct db_table *t = &s->tables[w->order[i]];
		const struct version_info *base = NULL;
		for (size_t k = 0; k < w->base->n; k++)
			if (!strcmp(w->base->v[k].name, t->name))
				base = &w->base->v[k];
		job_ctl_say(mine.job, "snapshot %s: %s", mine.name ? mine.name : "for restore", t->name);
		r = capture_table(&mine, t, base, &w->marks[w->order[i]], e);
	}
	MUTEX_GUARD(&w->mutex);
	if (r < 0)
		capture_stop(w, me->conn, r, e);
	w->cp->wasted = w->cp->wasted || mine.wasted;
	if (mine.damage.code)
		w->cp->damage = mine.damage;
	return r;
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
	workers_init(&w.workers, NULL, NULL);
	_cleanup_free_ struct capture_worker *more = xcalloc(cp->n_more, sizeof *more);
	for (size_t i = 0; i < cp->n_more; i++) {
		more[i] = (struct capture_worker){.work = &w, .conn = cp->more[i]};
		if (workers_start(&w.workers, capture_worker, &more[i], ERR_DROP) < 0)
			break; /* the others do its work */
	}
	struct capture_worker first = {.work = &w, .conn = cp->conn};
	(void)capture_worker(&first, ERR_DROP); /* its failure is among the others' */
	workers_join(&w.workers);
	int r = workers_failure(&w.workers, e);
	workers_done(&w.workers);
	(void)pthread_mutex_destroy(&w.mutex);
	return r;
}

/* Every table, against the base's versions and marks. */
static int capture_rows(struct capture *cp, struct err *e)
{
	_cleanup_(version_list_done) struct version_list base = {0};
	_cleanup_(mark_list_done) struct mark_list old = {0};
	struct mark_list marks = {.n = cp->schema->n_tables};
	int r = cp->base_id ? catalog_tables(cp->catalog, cp->base_id, &base, e) : 0;
	if (r < 0)
		return r;
	if (cp->base_id && !cp->whole) {
		r = store_marks(cp->catalog, snapshot_writer_source(cp->writer), cp->base_id, &old, e);
		if (r < 0)
			return r;
	}
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
	r = capture_tables(cp, &base, marks.v, e);
	snapshot_writer_set_marks(cp->writer, &marks);
	return r;
}

/* What is told of the schema, after the rows. */
static int capture_schema(struct capture *cp, struct strbuf *sql, struct err *e)
{
	const struct db_driver *d = db_driver_of(cp->conn);
	int r = d->finish(cp->conn, cp->schema, e);
	if (r < 0)
		return r;
	if (cp->schema_sql) {
		strbuf_add(sql, strbuf_str(cp->schema_sql), cp->schema_sql->len);
	} else {
		r = d->schema_sql(cp->conn, cp->schema, sql, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < cp->schema->n_tables; i++) {
		const struct db_table *t = &cp->schema->tables[i];
		struct manifest_table *m = snapshot_writer_find(cp->writer, t->name);
		m->has_auto_increment = t->has_auto_increment;
		m->auto_increment = t->auto_increment;
	}
	return 0;
}

/* An unchanged schema text keeps its time, so that rsync skips it. */
static void capture_schema_since(const struct capture *cp, const struct strbuf *sql, struct manifest *m)
{
	_cleanup_(manifest_done) struct manifest before = {0};
	if (!cp->base_id || store_manifest(cp->catalog, cp->base_id, &before, ERR_DROP) < 0)
		return;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(h, strbuf_str(sql), sql->len, sha);
	if (!memcmp(sha, before.schema_sha256, sizeof sha))
		m->schema_since_ms = before.schema_since_ms;
}

int capture_run(struct capture *cp, struct strbuf *ret_schema_sql, struct err *e)
{
	_cleanup_(cleanup_names_update) struct names_update *names = cp->names =
	    names_update_new(cp->catalog, cp->writer);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = capture_rows(cp, e);
	if (r < 0)
		return r;
	r = capture_schema(cp, &sql, e);
	if (r < 0)
		return r;
	if (atomic_load(&cp->job->cancelled))
		return err_set(e, EINTR, "cancelled");
	_cleanup_(manifest_done) struct manifest m;
	capture_manifest(cp->schema, &m);
	capture_schema_since(cp, &sql, &m);
	names_update_write(names, cp->base_id, &cp->lost);
	r = snapshot_writer_commit(cp->writer, cp->name, &m, strbuf_str(&sql), sql.len, e);
	if (r < 0)
		return r;
	if (ret_schema_sql)
		strbuf_add(ret_schema_sql, sql.data, sql.len);
	return 0;
}
