/*
 * snapshot/capture.c - capture: live tables merged with their newest versions, new rows stored, the snapshot committed.
 *
 * Runs on the job's thread; owns nothing beyond its calls.
 */
#include "snapshot/capture.h"

#include <errno.h>
#include <inttypes.h>

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
	(void)e;
	hasher_sha256(s->hasher, r->line, r->line_len, sha);
	digest_sub(&s->digest, sha);
	return 0;
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

int capture_merge(struct row_stream *live, struct catalog *c, int64_t base_version, const struct digest *base_digest,
		  struct version_writer *v, int64_t since_ms, struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *base = NULL;
	_cleanup_(cleanup_hasher) struct hasher *hasher = hasher_new();
	int r = stream_version(&base, c, base_version, e);
	if (r == -EIO)
		return err_set(e, EUCLEAN, "%s", e ? e->msg : "");
	if (r < 0)
		return r;
	struct capture_sink s = {.v = v, .hasher = hasher};
	if (base_version)
		s.digest = *base_digest;
	struct merge_sink sink = {&s, capture_new, capture_gone, capture_same, capture_changed};
	r = merge_streams(live, base, &sink, e);
	if (r == -EIO && base->failed)
		return err_set(e, EUCLEAN, "%s", e ? e->msg : "");
	return r < 0 ? r : version_writer_finish(v, &s.digest, base_version, since_ms, e);
}

struct db_table table_without_derived_key(const struct db_table *t)
{
	struct db_table u = *t;
	u.key_kind = DB_KEY_NONE;
	u.key = NULL;
	u.n_key = 0;
	return u;
}

static int capture_table_once(struct capture *cp, const struct db_table *t, const struct version_list *base,
			      bool ordered, struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	int r = snapshot_writer_table(cp->writer, t, &v, e);
	if (r < 0)
		return r;
	const struct version_info *newest = NULL;
	for (size_t i = 0; i < base->n; i++)
		/* Another description means another row form: the rows of the two cannot be merged. */
		if (!strcmp(base->v[i].name, t->name) && base->v[i].codec_id == version_writer_codec_id(v))
			newest = &base->v[i];
	_cleanup_(cleanup_row_stream) struct row_stream *live = NULL;
	r = stream_live(&live, cp->conn, t, version_writer_codec(v), ordered, cp->job, e);
	if (r < 0)
		return r;
	return capture_merge(live, cp->catalog, newest ? newest->id : 0, newest ? &newest->digest : NULL, v, 0, e);
}

/* Index order first; what breaks the byte order or cannot come ordered is read again and sorted here. A damaged base
 * would keep every later snapshot (and the one before each restore) from being taken: the table is then stored whole.
 */
static int capture_table(struct capture *cp, const struct db_table *t, const struct version_list *base, struct err *e)
{
	struct db_table plain = table_without_derived_key(t);
	const struct version_list none = {0};
	bool ordered = t->key_kind == DB_KEY_UNIQUE;
	for (;;) {
		struct err why = ERR_INIT;
		uint64_t rows = atomic_load(&cp->job->rows_done), bytes = atomic_load(&cp->job->bytes_done);
		int r = capture_table_once(cp, t, base, ordered, &why);
		if (r >= 0)
			return 0;
		if (r == -EUCLEAN && base != &none) {
			base = &none;
			cp->damage = why;
			(void)err_prefix(&cp->damage, "table %s: the newest snapshot is damaged (metasnap check)",
					 t->name);
		} else if (r == -EDOM && t != &plain) {
			t = &plain;
			ordered = false;
		} else if (!((r == -EILSEQ || r == -EOPNOTSUPP) && ordered)) {
			if (e)
				*e = why;
			return err_prefix(e, "table %s", t->name);
		} else {
			ordered = false;
		}
		cp->wasted = true;
		atomic_store(&cp->job->rows_done, rows);
		atomic_store(&cp->job->bytes_done, bytes);
	}
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

int capture_run(struct capture *cp, const char *name, struct strbuf *ret_schema_sql, struct err *e)
{
	const struct db_driver *driver = db_driver_of(cp->conn);
	struct version_list base = {0};
	int r = cp->base_id ? catalog_tables(cp->catalog, cp->base_id, &base, e) : 0;
	uint64_t total = 0;
	for (size_t i = 0; i < cp->schema->n_tables; i++)
		if (cp->schema->tables[i].estimated_rows > 0)
			total += (uint64_t)cp->schema->tables[i].estimated_rows;
	atomic_store(&cp->job->rows_total, total);
	for (size_t i = 0; r == 0 && i < cp->schema->n_tables; i++) {
		job_ctl_say(cp->job, "snapshot %s: %s", name ? name : "for restore", cp->schema->tables[i].name);
		r = capture_table(cp, &cp->schema->tables[i], &base, e);
	}
	version_list_done(&base);
	_cleanup_strbuf_ struct strbuf sql = {0};
	if (r == 0)
		r = driver->finish(cp->conn, cp->schema, e);
	if (r == 0)
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
	if (cp->base_id && store_manifest(cp->catalog, cp->base_id, &before, NULL) == 0) {
		_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(h, strbuf_str(&sql), sql.len, sha);
		if (!memcmp(sha, before.schema_sha256, sizeof sha))
			m.schema_since_ms = before.schema_since_ms;
		manifest_done(&before);
	}
	r = snapshot_writer_commit(cp->writer, name, &m, strbuf_str(&sql), sql.len, e);
	manifest_done(&m);
	if (r == 0 && ret_schema_sql)
		strbuf_add(ret_schema_sql, sql.data, sql.len);
	return r;
}
