/*
 * snapshot/restore/apply.c - rows into a table of the database: the merge of two versions as deletes by key and loads.
 *
 * A struct apply belongs to the thread that uses its connection: the job's, or one of a rebuild's (aside.c). No locks.
 */
#include <errno.h>

#include "snapshot/restore/internal.h"

#define RESTORE_KEY_BATCH 1000U

void apply_done(struct apply *a)
{
	row_values_done(&a->values);
	strbuf_done(&a->keys);
	free(a->key);
	free(a->key_at);
	hasher_free(a->hasher);
}

static void apply_count(struct apply *a, struct digest *d, const struct stream_row *row)
{
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(a->hasher, row->line, row->line_len, sha);
	digest_add(d, sha);
}

static int apply_step(struct apply *a, size_t bytes, struct err *e)
{
	struct job_ctl *job = a->rs->job;
	if (atomic_load_explicit(&job->cancelled, memory_order_relaxed))
		return err_set(e, EINTR, "cancelled");
	atomic_fetch_add_explicit(&job->rows_done, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&job->bytes_done, bytes, memory_order_relaxed);
	return 0;
}

int apply_flush_keys(struct apply *a, struct err *e)
{
	if (!a->n_keys)
		return 0;
	size_t n = a->n_keys * a->table->n_key;
	for (size_t i = 0; i < n; i++)
		if (a->key[i].data)
			a->key[i].data = strbuf_str(&a->keys) + a->key_at[i];
	int r = a->driver->delete_keys(a->conn, a->table, a->key, a->n_keys, e);
	a->n_keys = 0;
	strbuf_clear(&a->keys);
	return r;
}

int apply_delete(void *arg, const struct stream_row *row, struct err *e)
{
	struct apply *a = arg;
	int r = apply_step(a, row->line_len, e);
	if (r < 0)
		return r;
	r = row_decode(a->codec, row->line, row->line_len, &a->values, e);
	if (r < 0)
		return r;
	if (a->change)
		apply_count(a, &a->change->deleted, row);
	const struct db_value *key = a->values.v + row_codec_columns(a->codec);
	for (size_t i = 0; i < a->table->n_key; i++) {
		size_t at = a->n_keys * a->table->n_key + i;
		a->key[at] = key[i];
		a->key_at[at] = a->keys.len;
		if (key[i].data)
			strbuf_add(&a->keys, key[i].data, key[i].len);
	}
	return ++a->n_keys == RESTORE_KEY_BATCH ? apply_flush_keys(a, e) : 0;
}

static int apply_delete_changed(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	(void)r;
	return apply_delete(arg, l, e);
}

int apply_load(void *arg, const struct stream_row *row, struct err *e)
{
	struct apply *a = arg;
	int r = apply_step(a, row->line_len, e);
	if (r < 0)
		return r;
	r = row_decode(a->codec, row->line, row->line_len, &a->values, e);
	if (r < 0)
		return r;
	if (a->change)
		apply_count(a, &a->change->loaded, row);
	return a->driver->load_row(a->conn, a->values.v, e);
}

static int apply_load_changed(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	(void)l;
	return apply_load(arg, r, e);
}

static int apply_merge(struct apply *a, int64_t live_version, int64_t target_version, const struct merge_sink *sink,
		       struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *live = NULL, *target = NULL;
	int r = stream_version(&live, a->rs->catalog, live_version, e);
	if (r < 0)
		return r;
	r = stream_version(&target, a->rs->catalog, target_version, e);
	if (r < 0)
		return r;
	if (!a->part)
		return merge_streams(live, target, sink, e);
	return a->change->whole
		   ? entity_part_result(a->part->rows, a->table->name, live, target, sink->right, sink->arg, e)
		   : entity_part_merge(a->part->rows, a->table->name, live, target, sink, e);
}

int apply_loads(struct apply *a, int64_t live_version, int64_t target_version, struct err *e)
{
	struct merge_sink sink = {a, NULL, apply_load, NULL, apply_load_changed};
	int r = a->driver->load_begin(a->conn, a->table, e);
	if (r < 0)
		return r;
	r = apply_merge(a, live_version, target_version, &sink, e);
	int q = a->driver->load_end(a->conn, r == 0, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

int apply_init(struct apply *a, struct restore *rs, struct db_conn *conn, const struct db_table *t, int64_t codec_id,
	       const struct part *part, struct change *change, struct err *e)
{
	*a = (struct apply){
	    .rs = rs, .conn = conn, .driver = db_driver_of(conn), .table = t, .part = part, .change = change};
	a->hasher = change ? hasher_new() : NULL;
	int r = catalog_codec(rs->catalog, codec_id, &a->codec, e);
	if (r < 0)
		return r;
	row_values_init(&a->values, a->codec);
	a->key = xcalloc(RESTORE_KEY_BATCH * (t->n_key + 1), sizeof *a->key);
	a->key_at = xcalloc(RESTORE_KEY_BATCH * (t->n_key + 1), sizeof *a->key_at);
	return 0;
}

int apply_table(struct restore *rs, const struct db_table *t, const struct version_info *live,
		const struct version_info *target, const struct part *part, struct change *change, struct err *e)
{
	_cleanup_(apply_done) struct apply a;
	int r = apply_init(&a, rs, rs->conn, t, target->codec_id, part, change, e);
	if (r < 0)
		return r;
	job_ctl_say(rs->job, "restore: %s", t->name);
	/* Rows without a key of their own cannot be named one by one. */
	if (t->key_kind != DB_KEY_UNIQUE || !live || live->codec_id != target->codec_id) {
		change->whole = true;
		r = a.driver->delete_all(rs->conn, t, e);
		return r < 0 ? r : apply_loads(&a, part ? live->id : 0, target->id, e);
	}
	struct merge_sink deletes = {&a, apply_delete, NULL, NULL, apply_delete_changed};
	r = apply_merge(&a, live->id, target->id, &deletes, e);
	if (r < 0)
		return r;
	r = apply_flush_keys(&a, e);
	return r < 0 ? r : apply_loads(&a, live->id, target->id, e);
}
