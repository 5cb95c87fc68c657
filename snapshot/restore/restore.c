/*
 * snapshot/restore/restore.c - restore: the plan is the diff of the safety snapshot and the target, both in the catalog; what
 * is applied is read back and compared with the target's digests before COMMIT.
 *
 * Runs on the job's thread with one server connection, on which everything is committed at once. The tables are locked
 * against other writers from the safety snapshot on, so the difference is exact until the end. Where the driver can
 * make tables beside the schema (aside_*), a rebuild has some more threads with a connection each, gone before the rest
 * goes on; struct stage says what its mutex guards.
 */
#include "snapshot/restore/restore.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "snapshot/capture/capture.h"
#include "snapshot/openmetadata/entity.h"

#define RESTORE_KEY_BATCH 1000U
#define RESTORE_WORKERS_MAX 4
#define RESTORE_ASIDE_BYTES (1U << 20) /* of lines: smaller tables are not worth a transaction of their own */

/* ---- the target ---- */

void target_done(struct target *t)
{
	db_schema_free(t->schema);
	version_list_done(&t->versions);
	strbuf_done(&t->sql);
}

/* A deep copy of a description, by the one text form that it has. */
static int target_copy_table(const struct db_table *from, struct db_table *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	table_json_render(from, NULL, &text);
	return table_json_parse(ret, NULL, text.data, text.len, e);
}

int target_load(struct catalog *c, int64_t snapshot_id, struct target *ret, struct err *e)
{
	struct manifest m;
	int r = store_manifest(c, snapshot_id, &m, e);
	if (r < 0)
		return r;
	struct db_schema *s = ret->schema = xcalloc(1, sizeof *s);
	s->engine = TAKE_PTR(m.engine);
	s->server_version = TAKE_PTR(m.server_version);
	s->database = TAKE_PTR(m.database);
	s->schema = TAKE_PTR(m.schema);
	s->app_version = TAKE_PTR(m.app_version);
	s->sequences = TAKE_PTR(m.sequences);
	s->n_sequences = m.n_sequences;
	m.n_sequences = 0;
	r = catalog_tables(c, snapshot_id, &ret->versions, e);
	if (r == 0 && ret->versions.n != m.n_tables)
		r = err_set(e, EIO, "catalog: a manifest does not fit its snapshot");
	s->tables = xcalloc(ret->versions.n, sizeof *s->tables);
	for (size_t i = 0; r == 0 && i < ret->versions.n; i++) {
		const struct row_codec *codec;
		r = catalog_codec(c, ret->versions.v[i].codec_id, &codec, e);
		if (r == 0)
			r = target_copy_table(row_codec_table(codec), &s->tables[i], e);
		if (r == 0) {
			s->n_tables++;
			s->tables[i].has_auto_increment = m.tables[i].has_auto_increment;
			s->tables[i].auto_increment = m.tables[i].auto_increment;
		}
	}
	manifest_done(&m);
	return r == 0 ? catalog_schema_sql(c, snapshot_id, &ret->sql, e) : r;
}

static bool wanted(char *const *tables, const char *name)
{
	if (!tables)
		return true;
	for (; *tables; tables++)
		if (!strcmp(*tables, name))
			return true;
	return false;
}

static bool same_description(const struct db_table *a, const struct db_table *b)
{
	_cleanup_strbuf_ struct strbuf x = {0}, y = {0};
	/* A table whose derived key had to be given up (see capture) is the same table. */
	struct db_table u = *a, v = *b;
	if (a->key_kind != b->key_kind && (a->key_kind == DB_KEY_NONE || b->key_kind == DB_KEY_NONE)) {
		u = table_without_derived_key(a);
		v = table_without_derived_key(b);
	}
	table_json_render(&u, NULL, &x);
	table_json_render(&v, NULL, &y);
	return x.len == y.len && !memcmp(x.data, y.data, x.len);
}

/* ---- plan ---- */

void restore_plan_done(struct restore_plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].table);
	free(p->v);
	strbuf_done(&p->counters);
	*p = (struct restore_plan){0};
}

void restore_plan_text(const struct restore_plan *p, struct strbuf *out)
{
	uint64_t inserts = 0, updates = 0, deletes = 0;
	if (p->rebuild)
		strbuf_adds(
		    out,
		    "The schema differs or is missing: it is made anew from schema.sql, and all rows are loaded.\n");
	size_t w = 5;
	for (size_t i = 0; i < p->n; i++)
		w = strlen(p->v[i].table) > w ? strlen(p->v[i].table) : w;
	strbuf_addf(out, "%-*s %12s %12s %12s\n", (int)w, "table", "inserts", "updates", "deletes");
	for (size_t i = 0; i < p->n; i++) {
		const struct table_plan *t = &p->v[i];
		inserts += t->inserts;
		updates += t->updates;
		deletes += t->deletes;
		if (t->inserts || t->updates || t->deletes)
			strbuf_addf(out, "%-*s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n", (int)w, t->table,
				    t->inserts, t->updates, t->deletes);
	}
	strbuf_addf(out, "%-*s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n", (int)w, "total", inserts, updates,
		    deletes);
	strbuf_add(out, strbuf_str(&p->counters), p->counters.len);
}

struct table_plan *restore_plan_add(struct restore_plan *p, const char *table)
{
	if ((p->n & (p->n - 1)) == 0)
		p->v = xrealloc(p->v, (p->n ? p->n * 2 : 1) * sizeof *p->v);
	p->v[p->n] = (struct table_plan){.table = xstrdup(table)};
	return &p->v[p->n++];
}

/* A restore of some of the rows of its tables. */
struct part {
	struct entity_part *rows;
	struct digest *want; /* what each of the target's tables must then hold */
};

struct planning {
	struct table_plan *plan;
	struct digest *want; /* NULL: nobody asks */
	struct hasher *hasher;
};

static void plan_digest(struct planning *p, const struct stream_row *row, bool out)
{
	uint8_t sha[ROW_SHA_LEN];
	if (!p->want)
		return;
	hasher_sha256(p->hasher, row->line, row->line_len, sha);
	if (out)
		digest_sub(p->want, sha);
	else
		digest_add(p->want, sha);
}

/* left: live, right: target */
static int plan_delete(void *arg, const struct stream_row *l, struct err *e)
{
	struct planning *p = arg;
	(void)e;
	p->plan->deletes++;
	plan_digest(p, l, true);
	return 0;
}

static int plan_insert(void *arg, const struct stream_row *r, struct err *e)
{
	struct planning *p = arg;
	(void)e;
	p->plan->inserts++;
	plan_digest(p, r, false);
	return 0;
}

static int plan_update(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	struct planning *p = arg;
	(void)e;
	p->plan->updates++;
	plan_digest(p, l, true);
	plan_digest(p, r, false);
	return 0;
}

/* want: what the live side holds, becomes what it is to hold; may be NULL. */
static int plan_merge(struct row_stream *live, struct row_stream *target, const struct part *part,
		      struct table_plan *tp, struct digest *want, struct err *e)
{
	_cleanup_(cleanup_hasher) struct hasher *h = want ? hasher_new() : NULL;
	struct planning p = {tp, want, h};
	struct merge_sink sink = {&p, plan_delete, plan_insert, NULL, plan_update};
	return part ? entity_part_merge(part->rows, tp->table, live, target, &sink, e)
		    : merge_streams(live, target, &sink, e);
}

/* Rows of the two cannot be paired, and some of a table's rows cannot be told from the others then. */
static int err_other_key(struct err *e, const char *table)
{
	return err_set(e, ENOTSUP,
		       "table %s: what tells its rows apart is another thing now than in the snapshot (restore the "
		       "whole table: --table %s)",
		       table, table);
}

/* From two versions; 0: that side has no such table. */
static int plan_versions(struct catalog *c, const struct version_info *live, const struct version_info *target,
			 const struct part *part, struct table_plan *tp, struct digest *want, struct err *e)
{
	if (live && target && live->id == target->id && !part)
		return 0;
	if (!live || !target || live->codec_id != target->codec_id) {
		if (part)
			return err_other_key(e, tp->table);
		if (live && target && digest_equal(&live->digest, &target->digest))
			return 0;
		tp->deletes = live ? live->rows : 0;
		tp->inserts = target ? target->rows : 0;
		return 0;
	}
	_cleanup_(cleanup_row_stream) struct row_stream *a = NULL, *b = NULL;
	int r = stream_version(&a, c, live->id, e);
	if (r == 0)
		r = stream_version(&b, c, target->id, e);
	return r == 0 ? plan_merge(a, b, part, tp, want, e) : r;
}

/* From the live table itself, when nothing may be stored (dry run, verify --live). */
static int plan_live(struct catalog *c, struct db_conn *conn, const struct db_table *t,
		     const struct version_info *target, const struct part *part, struct job_ctl *job,
		     struct table_plan *tp, struct err *e)
{
	const struct row_codec *codec = NULL;
	_cleanup_(cleanup_row_codec) struct row_codec *mine = NULL;
	struct db_table plain = table_without_derived_key(t);
	int r = target ? catalog_codec(c, target->codec_id, &codec, e) : 0;
	if (r < 0)
		return r;
	if (codec && !same_description(t, row_codec_table(codec)))
		codec = NULL; /* rows of another form: every one of them differs */
	if (codec && row_codec_table(codec)->key_kind != t->key_kind)
		t = &plain;
	bool compare = codec != NULL, again = false;
	if (!codec)
		codec = mine = row_codec_new(t = &plain);
	bool ordered = compare && t->key_kind == DB_KEY_UNIQUE;
	for (;;) {
		_cleanup_(cleanup_row_stream) struct row_stream *live = NULL, *want = NULL;
		struct err why = ERR_INIT;
		tp->inserts = tp->updates = tp->deletes = 0;
		r = stream_live(&live, conn, t, codec, ordered, job, &why);
		if (r == 0)
			r = stream_version(&want, c, compare ? target->id : 0, &why);
		if (r == 0)
			r = plan_merge(live, want, part, tp, NULL, &why);
		if (r == 0 && !compare && target)
			tp->inserts = target->rows;
		if ((r == -EILSEQ || r == -EOPNOTSUPP) && ordered) {
			ordered = false;
			continue;
		}
		/* A row whose key cannot be told from it: not the rows of this version, which all could (see capture).
		 */
		if (r == -EDOM && part)
			r = err_other_key(&why, t->name);
		if (r == -EDOM && !again) {
			again = true;
			compare = ordered = false;
			codec = mine = row_codec_new(t = &plain);
			continue;
		}
		if (r < 0 && e)
			*e = why;
		return r;
	}
}

static const struct version_info *version_of(const struct version_list *l, const char *table)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].name, table))
			return &l->v[i];
	return NULL;
}

/* All tables of either side. live_versions NULL: from the live tables. part NULL: all of their rows. */
static int plan_make(struct catalog *c, struct db_conn *conn, const struct db_schema *live,
		     const struct version_list *live_versions, const struct target *target, char *const *tables,
		     const struct part *part, struct job_ctl *job, struct restore_plan *plan, struct err *e)
{
	size_t i = 0, k = 0;
	while (i < live->n_tables || k < target->versions.n) {
		int order = i == live->n_tables       ? 1
			    : k == target->versions.n ? -1
						      : strcmp(live->tables[i].name, target->versions.v[k].name);
		const struct db_table *t = order <= 0 ? &live->tables[i++] : NULL;
		const struct version_info *v = order >= 0 ? &target->versions.v[k++] : NULL;
		const char *name = t ? t->name : v->name;
		if (!wanted(tables, name) || (tables && !v))
			continue;
		struct table_plan *tp = restore_plan_add(plan, name);
		int r = 0;
		if (!live_versions && t) {
			job_ctl_say(job, "comparing: %s", name);
			r = plan_live(c, conn, t, v, part, job, tp, e);
		} else {
			const struct version_info *lv = t ? version_of(live_versions, name) : NULL;
			struct digest *want = part ? &part->want[v - target->versions.v] : NULL;
			if (want && lv)
				*want = lv->digest;
			r = plan_versions(c, lv, v, part, tp, want, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *unused_yet(const struct db_sequence *q)
{
	return q->is_called ? "" : " (not used yet)";
}

/* What set_sequences will change. live: after `finish`. What only one side has goes or comes with the schema. */
static void plan_counters(const struct db_schema *live, const struct db_schema *target, struct strbuf *out)
{
	for (size_t i = 0, k = 0; i < live->n_sequences && k < target->n_sequences;) {
		const struct db_sequence *a = &live->sequences[i], *b = &target->sequences[k];
		int order = strcmp(a->name, b->name);
		i += order <= 0;
		k += order >= 0;
		if (!order && (a->last_value != b->last_value || a->is_called != b->is_called))
			strbuf_addf(out, "sequence %s %" PRId64 "%s -> %" PRId64 "%s\n", a->name, a->last_value,
				    unused_yet(a), b->last_value, unused_yet(b));
	}
	for (size_t i = 0; i < target->n_tables; i++) {
		const struct db_table *b = &target->tables[i], *a = db_schema_find(live, b->name);
		/* 0: the server knows none yet, and a restore leaves it at that; the first is 1. */
		if (a && a->has_auto_increment && b->has_auto_increment && b->auto_increment &&
		    a->auto_increment != b->auto_increment && (a->auto_increment || b->auto_increment > 1))
			strbuf_addf(out, "AUTO_INCREMENT of %s %" PRIu64 " -> %" PRIu64 "\n", a->name,
				    a->auto_increment, b->auto_increment);
	}
}

static bool plan_is_empty(const struct restore_plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].inserts || p->v[i].updates || p->v[i].deletes)
			return false;
	return true;
}

static void part_done(struct part *p)
{
	entity_part_free(p->rows);
	free(p->want);
}

/* The rows of one entity; *tables becomes those that can have any. */
static int part_init(struct part *p, struct catalog *c, const struct target *t, const char *entity, char ***tables,
		     struct err *e)
{
	const char *slash = strrchr(entity, '/'); /* a table may have one in its name, a row's file has none */
	if (!slash)
		return err_set(e, EINVAL, "%s names no row of a table", entity);
	_cleanup_free_ char *table = xmemdup0(entity, (size_t)(slash - entity));
	int r = entity_part_new(&p->rows, c, &t->versions, table, slash + 1, e);
	if (r < 0)
		return r;
	p->want = xcalloc(t->versions.n, sizeof *p->want);
	*tables = entity_part_tables(p->rows);
	return 0;
}

/* ---- may it be done? ---- */

static int check_policy(const struct restore *rs, const struct db_schema *live, const struct db_schema *target,
			struct err *e)
{
	if (rs->policy == RESTORE_OFF)
		return err_set(e, EPERM,
			       "restore = off for this source (set restore = empty or replace in its configuration)");
	if (!*target->engine)
		return 0; /* one table: its description decides */
	if (strcmp(live->engine, target->engine) && !rs->force)
		return err_set(
		    e, EXDEV,
		    "the backup is of %s %s, the target is %s %s (--force, on a mount restore_force = yes, to try)",
		    target->engine, target->server_version, live->engine, live->server_version);
	if (live->app_version && target->app_version && strcmp(live->app_version, target->app_version) && !rs->force)
		return err_set(e, EXDEV,
			       "the backup is of OpenMetadata %s, the target's tables are of %s (--force, on a mount "
			       "restore_force = yes, to go back)",
			       target->app_version, live->app_version);
	return 0;
}

/* 1: some table has a row. */
int restore_has_rows(struct db_conn *conn, const struct db_schema *live, struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	for (size_t i = 0; i < live->n_tables; i++) {
		struct db_table plain = table_without_derived_key(&live->tables[i]);
		const struct db_value *v;
		int r = d->scan_open(conn, &plain, DB_SCAN_UNORDERED, e);
		if (r < 0)
			return r;
		int row = d->scan_next(conn, &v, e);
		r = d->scan_close(conn, row < 0 ? ERR_DROP : e);
		if (row < 0)
			return row;
		if (r < 0)
			return r;
		if (row)
			return 1;
	}
	return 0;
}

static bool schema_differs(const struct db_schema *live, const struct strbuf *live_sql, const struct target *t)
{
	if (live->n_tables != t->schema->n_tables || live_sql->len != t->sql.len ||
	    memcmp(strbuf_str(live_sql), strbuf_str(&t->sql), t->sql.len))
		return true;
	for (size_t i = 0; i < live->n_tables; i++)
		if (!same_description(&live->tables[i], &t->schema->tables[i]))
			return true;
	return false;
}

/* Restoring some tables changes rows only: the live table must be the table that the backup describes. */
static int check_tables(char *const *tables, const struct db_schema *live, const struct target *t, struct err *e)
{
	for (; *tables; tables++) {
		const struct db_table *want = db_schema_find(t->schema, *tables), *have = db_schema_find(live, *tables);
		if (!want)
			return err_set(e, ENOENT, "table %s is not in the backup", *tables);
		if (!have)
			return err_set(e, ENOENT, "table %s is not in the database (restore the whole snapshot)",
				       *tables);
		if (!same_description(have, want))
			return err_set(e, EXDEV,
				       "table %s has other columns now than in the backup (restore the whole snapshot)",
				       *tables);
	}
	return 0;
}

/* ---- applying ---- */

/* What a difference did to one table: what must then be found in it. */
struct change {
	struct digest deleted, loaded;
	bool whole; /* all rows were replaced */
};

struct apply {
	struct restore *rs;
	struct db_conn *conn;
	const struct db_driver *driver;
	const struct db_table *table;
	const struct row_codec *codec;
	struct row_values values;
	struct strbuf keys; /* bytes of the keys that wait */
	struct db_value *key;
	size_t *key_at;
	size_t n_keys;
	const struct part *part; /* NULL: all rows */
	struct change *change;   /* NULL: nobody asks */
	struct hasher *hasher;
};

static void apply_done(struct apply *a)
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

static int apply_flush_keys(struct apply *a, struct err *e)
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

static int apply_delete(void *arg, const struct stream_row *l, struct err *e)
{
	struct apply *a = arg;
	int r = apply_step(a, l->line_len, e);
	if (r == 0)
		r = row_decode(a->codec, l->line, l->line_len, &a->values, e);
	if (r < 0)
		return r;
	if (a->change)
		apply_count(a, &a->change->deleted, l);
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

static int apply_load(void *arg, const struct stream_row *r, struct err *e)
{
	struct apply *a = arg;
	int q = apply_step(a, r->line_len, e);
	if (q == 0)
		q = row_decode(a->codec, r->line, r->line_len, &a->values, e);
	if (q == 0 && a->change)
		apply_count(a, &a->change->loaded, r);
	return q == 0 ? a->driver->load_row(a->conn, a->values.v, e) : q;
}

static int apply_load_changed(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	(void)l;
	return apply_load(arg, r, e);
}

static int apply_merge(struct apply *a, int64_t live_version, int64_t target_version, const struct merge_sink *sink,
		       struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *l = NULL, *r = NULL;
	int q = stream_version(&l, a->rs->catalog, live_version, e);
	if (q == 0)
		q = stream_version(&r, a->rs->catalog, target_version, e);
	if (q < 0 || !a->part)
		return q < 0 ? q : merge_streams(l, r, sink, e);
	return a->change->whole ? entity_part_result(a->part->rows, a->table->name, l, r, sink->right, sink->arg, e)
				: entity_part_merge(a->part->rows, a->table->name, l, r, sink, e);
}

static int apply_loads(struct apply *a, int64_t live_version, int64_t target_version, struct err *e)
{
	struct merge_sink sink = {a, NULL, apply_load, NULL, apply_load_changed};
	int r = a->driver->load_begin(a->conn, a->table, e);
	if (r < 0)
		return r;
	r = apply_merge(a, live_version, target_version, &sink, e);
	int q = a->driver->load_end(a->conn, r == 0, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

static int apply_init(struct apply *a, struct restore *rs, struct db_conn *conn, const struct db_table *t,
		      int64_t codec_id, const struct part *part, struct change *change, struct err *e)
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

/* Makes the live table t (as the safety snapshot has it in `live`) the target version. */
static int apply_table(struct restore *rs, const struct db_table *t, const struct version_info *live,
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
		return r == 0 ? apply_loads(&a, part ? live->id : 0, target->id, e) : r;
	}
	struct merge_sink deletes = {&a, apply_delete, NULL, NULL, apply_delete_changed};
	r = apply_merge(&a, live->id, target->id, &deletes, e);
	if (r == 0)
		r = apply_flush_keys(&a, e);
	return r == 0 ? apply_loads(&a, live->id, target->id, e) : r;
}

/* The digest of the scan that is open on conn, read through the code that captures. */
static int digest_scan(struct restore *rs, struct db_conn *conn, const struct row_codec *codec, struct digest *ret,
		       struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	_cleanup_strbuf_ struct strbuf line = {0};
	const struct db_value *values;
	int r;
	*ret = (struct digest){0};
	while ((r = d->scan_next(conn, &values, e)) == 1) {
		strbuf_clear(&line);
		r = row_encode(codec, values, &line, e);
		if (r == 0 && atomic_load_explicit(&rs->job->cancelled, memory_order_relaxed))
			r = err_set(e, EINTR, "cancelled");
		if (r < 0)
			break;
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(h, line.data, line.len, sha);
		digest_add(ret, sha);
	}
	int q = d->scan_close(conn, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

/* Reads the whole table back. */
static int verify_whole(struct restore *rs, struct db_conn *conn, const struct db_table *t,
			const struct row_codec *codec, const struct version_info *target, struct err *e)
{
	struct digest digest;
	int r = db_driver_of(conn)->scan_open(conn, t, DB_SCAN_UNORDERED, e);
	if (r == 0)
		r = digest_scan(rs, conn, codec, &digest, e);
	if (r == 0 && !digest_equal(&digest, &target->digest))
		r = err_set(e, EIO,
			    "table %s: after the restore it holds %" PRIu64
			    " rows that differ from the snapshot's %" PRIu64 "; rolled back",
			    t->name, digest.count, target->rows);
	return r;
}

/*
 * Proves the table without reading what was not written. `was` is what it held when it was locked. The rows that were
 * not written are some of those; as many as `was` less the deleted ones are left; and the deleted ones, of unique keys
 * that the driver compared, are not among them: so it is all others, unchanged. With the written ones, which are read
 * back, they must add up to the target. 1: proven; 0: not, which only reading all of it can decide.
 */
static int verify_written(struct restore *rs, const struct db_table *t, const struct row_codec *codec,
			  const struct change *change, const struct version_info *was,
			  const struct version_info *target, struct err *e)
{
	struct digest written, sum = was->digest;
	uint64_t others = 0;
	digest_merge(&sum, &change->deleted, true);
	uint64_t kept = sum.count;
	digest_merge(&sum, &change->loaded, false);
	if (!digest_equal(&sum, &target->digest))
		return 0;
	int r = db_driver_of(rs->conn)->scan_written(rs->conn, t, &others, e);
	if (r == 0)
		r = digest_scan(rs, rs->conn, codec, &written, e);
	return r < 0 ? r : others == kept && digest_equal(&written, &change->loaded);
}

/* change, was: NULL when the table was made anew. */
static int verify_table(struct restore *rs, struct db_conn *conn, const struct db_table *t, const struct change *change,
			const struct version_info *was, const struct version_info *target, struct err *e)
{
	const struct row_codec *codec;
	int r = catalog_codec(rs->catalog, target->codec_id, &codec, e);
	if (r < 0)
		return r;
	job_ctl_say(rs->job, "verify: %s", t->name);
	if (change && !change->whole && was && db_driver_of(conn)->scan_written)
		r = verify_written(rs, t, codec, change, was, target, e);
	return r == 0 ? verify_whole(rs, conn, t, codec, target, e) : r < 0 ? r : 0;
}

/* ---- a rebuild's large tables, on several connections ---- */

enum aside_state { ASIDE_NONE, ASIDE_WAITING, ASIDE_LOADING, ASIDE_LOADED, ASIDE_HELD };
enum aside_job { ASIDE_INDEX, ASIDE_LOAD, ASIDE_READ }; /* in the order of urgency */

struct aside {
	struct restore *rs;
	const struct target *target;
	pthread_mutex_t mutex; /* of all below */
	pthread_cond_t changed;
	struct aside_table {
		enum aside_state state;
		bool due[ASIDE_READ + 1]; /* jobs that nobody has taken */
	} * table;                        /* as the target's versions */
	struct aside_worker {
		struct aside *aside;
		struct db_conn *conn; /* used by the worker's thread; cancel from the leader's */
		pthread_t thread;
		bool done;
	} worker[RESTORE_WORKERS_MAX];
	size_t n_workers;
	int failed; /* the first failure, and its words */
	struct err why;
};

static void aside_fail(struct aside *st, int r, const struct err *why)
{
	MUTEX_GUARD(&st->mutex);
	if (!st->failed) {
		st->failed = r;
		st->why = *why;
	}
	(void)pthread_cond_broadcast(&st->changed);
}

/* The most urgent job, of the largest table that has one. False: there will be none. Waits while there may be. */
static bool aside_take(struct aside *st, size_t *ret, enum aside_job *ret_job)
{
	const struct version_list *l = &st->target->versions;
	MUTEX_GUARD(&st->mutex);
	while (!st->failed) {
		bool found = false, coming = false;
		for (int job = ASIDE_INDEX; job <= ASIDE_READ && !found; job++)
			for (size_t i = 0; i < l->n; i++)
				if (st->table[i].due[job] && (!found || l->v[i].line_bytes > l->v[*ret].line_bytes)) {
					*ret = i;
					*ret_job = (enum aside_job)job;
					found = true;
				}
		if (found) {
			st->table[*ret].due[*ret_job] = false;
			if (*ret_job == ASIDE_LOAD)
				st->table[*ret].state = ASIDE_LOADING;
			return true;
		}
		for (size_t i = 0; i < l->n; i++)
			coming |= st->table[i].state == ASIDE_LOADING || st->table[i].state == ASIDE_LOADED;
		if (!coming)
			return false;
		(void)pthread_cond_wait(&st->changed, &st->mutex);
	}
	return false;
}

static void aside_set(struct aside *st, size_t i, enum aside_state state)
{
	MUTEX_GUARD(&st->mutex);
	st->table[i].state = state;
	/* The leader's transaction holds the table before it is read back: what is read is what will be committed. */
	st->table[i].due[ASIDE_INDEX] = st->table[i].due[ASIDE_READ] = state == ASIDE_HELD;
	(void)pthread_cond_broadcast(&st->changed);
}

static int aside_do(struct aside_worker *w, size_t i, enum aside_job job, struct err *e)
{
	struct restore *rs = w->aside->rs;
	const struct db_driver *d = db_driver_of(w->conn);
	const struct db_table *t = &w->aside->target->schema->tables[i];
	const struct version_info *v = &w->aside->target->versions.v[i];
	if (job == ASIDE_INDEX)
		return d->aside_index(w->conn, rs->conn, t, e);
	if (job == ASIDE_READ) {
		int r = d->aside_read(w->conn, rs->conn, t, e);
		if (r == 0)
			r = verify_table(rs, w->conn, t, NULL, NULL, v, e);
		return r == 0 ? d->commit(w->conn, e) : r;
	}
	_cleanup_(apply_done) struct apply a;
	job_ctl_say(rs->job, "restore: %s", t->name);
	int r = apply_init(&a, rs, w->conn, t, v->codec_id, NULL, NULL, e);
	if (r == 0)
		r = d->aside_table(w->conn, rs->conn, t, e);
	if (r == 0)
		r = apply_loads(&a, 0, v->id, e);
	if (r == 0)
		r = d->aside_end(w->conn, rs->conn, t, e);
	if (r == 0)
		aside_set(w->aside, i, ASIDE_LOADED);
	return r;
}

static void *aside_work(void *arg)
{
	struct aside_worker *w = arg;
	struct aside *st = w->aside;
	struct err why = ERR_INIT;
	enum aside_job job = ASIDE_LOAD;
	size_t i = 0;
	int r = 0;
	while (r == 0 && aside_take(st, &i, &job)) {
		r = aside_do(w, i, job, &why);
		if (r < 0)
			err_prefix(&why, "table %s", st->target->versions.v[i].name);
	}
	if (r < 0)
		aside_fail(st, r, &why);
	MUTEX_GUARD(&st->mutex);
	w->done = true;
	(void)pthread_cond_broadcast(&st->changed);
	return NULL;
}

/* Whether a worker still runs; *ret is a table that one waits to have held (the number of tables: none). */
static bool aside_wait(struct aside *st, size_t *ret)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 100000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	MUTEX_GUARD(&st->mutex);
	for (bool waited = false;; waited = true) {
		bool running = false;
		for (size_t k = 0; k < st->n_workers; k++)
			running |= !st->worker[k].done;
		size_t i = 0;
		while (i < st->target->versions.n && (st->failed || st->table[i].state != ASIDE_LOADED))
			i++;
		*ret = i;
		if (!running || i < st->target->versions.n || waited)
			return running;
		/* Not for ever: a cancelled job sets a flag and wakes nobody here. */
		(void)pthread_cond_timedwait(&st->changed, &st->mutex, &until);
	}
}

static void aside_lead(struct aside *st)
{
	struct restore *rs = st->rs;
	const struct db_driver *d = db_driver_of(rs->conn);
	struct err why = ERR_INIT;
	bool stopped = false;
	size_t i;
	while (aside_wait(st, &i)) {
		int r = 0;
		if (atomic_load(&rs->job->cancelled))
			r = err_set(&why, EINTR, "cancelled");
		else if (i < st->target->versions.n)
			r = d->aside_hold(rs->conn, &st->target->schema->tables[i], st->target->versions.v[i].rows,
					  &why);
		if (r < 0)
			aside_fail(st, r, &why);
		else if (i < st->target->versions.n)
			aside_set(st, i, ASIDE_HELD);
		MUTEX_GUARD(&st->mutex);
		for (size_t k = 0; st->failed && !stopped && k < st->n_workers; k++)
			d->cancel(st->worker[k].conn);
		stopped = st->failed != 0;
	}
}

/* Makes the tables that are worth it and fit for it; which, is between the driver's aside_begin and rebuild_begin.
 * set_aside[i]: table i of the target is loaded and has been read back. */
static int apply_aside(struct restore *rs, const struct target *t, bool *set_aside, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	size_t n = 0;
	for (size_t i = 0; d->aside_begin && i < t->versions.n; i++)
		n += set_aside[i] = t->versions.v[i].line_bytes >= RESTORE_ASIDE_BYTES;
	int r = n > 1 ? d->aside_begin(rs->conn, t->schema, strbuf_str(&t->sql), set_aside, e) : 0;
	struct aside st = {.rs = rs,
			   .target = t,
			   .mutex = PTHREAD_MUTEX_INITIALIZER,
			   .changed = PTHREAD_COND_INITIALIZER,
			   .table = xcalloc(t->versions.n, sizeof *st.table)};
	/* More than the server has processors would only keep the largest table, which ends last, from its own. How
	 * many it has is not known: as many as here, it is assumed. */
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t most = processors <= 2                     ? 2
		      : processors >= RESTORE_WORKERS_MAX ? RESTORE_WORKERS_MAX
							  : (size_t)processors;
	size_t wanted_workers = 0;
	for (size_t i = 0; i < t->versions.n; i++) {
		set_aside[i] = set_aside[i] && n > 1 && r == 0;
		st.table[i].state = set_aside[i] ? ASIDE_WAITING : ASIDE_NONE;
		st.table[i].due[ASIDE_LOAD] = set_aside[i];
		wanted_workers += set_aside[i];
	}
	for (size_t k = 0; r == 0 && k < wanted_workers && k < most; k++) {
		struct aside_worker *w = &st.worker[k];
		struct err why = ERR_INIT;
		w->aside = &st;
		r = d->aside_open(&w->conn, rs->conn, &why);
		int q = r == 0 ? pthread_create(&w->thread, NULL, aside_work, w) : 0;
		if (q)
			r = err_sys(&why, q, "cannot start a thread");
		if (r == 0) {
			MUTEX_GUARD(&st.mutex);
			st.n_workers++;
			continue;
		}
		db_close(TAKE_PTR(w->conn));
		/* One is enough to do it. */
		if (k > 0) {
			r = 0;
			break;
		}
		*e = why;
	}
	aside_lead(&st);
	for (size_t k = 0; k < st.n_workers; k++) {
		(void)pthread_join(st.worker[k].thread, NULL);
		db_close(st.worker[k].conn);
	}
	free(st.table);
	if (r == 0 && st.failed) {
		r = st.failed;
		*e = st.why;
	}
	return r;
}

/* Description to scan and load with: the target's own, which is what its codec encodes. */
static int apply_rebuild(struct restore *rs, const struct target *t, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	_cleanup_strbuf_ struct strbuf warnings = {0};
	_cleanup_free_ bool *set_aside = xcalloc(t->versions.n, sizeof *set_aside);
	int r = apply_aside(rs, t, set_aside, e);
	if (r == 0)
		r = d->rebuild_begin(rs->conn, t->schema, strbuf_str(&t->sql), &warnings, e);
	for (size_t i = 0; r == 0 && i < t->versions.n; i++) {
		if (set_aside[i])
			continue;
		_cleanup_(apply_done) struct apply a;
		job_ctl_say(rs->job, "restore: %s", t->versions.v[i].name);
		r = apply_init(&a, rs, rs->conn, &t->schema->tables[i], t->versions.v[i].codec_id, NULL, NULL, e);
		if (r == 0)
			r = apply_loads(&a, 0, t->versions.v[i].id, e);
		if (r < 0)
			err_prefix(e, "table %s", t->versions.v[i].name);
	}
	if (r == 0) {
		job_ctl_say(rs->job, "restore: indexes and constraints");
		r = d->rebuild_end(rs->conn, &warnings, e);
	}
	if (rs->report)
		strbuf_add(rs->report, strbuf_str(&warnings), warnings.len);
	if (r == 0)
		r = d->set_sequences(rs->conn, t->schema, e);
	for (size_t i = 0; r == 0 && i < t->versions.n; i++)
		if (!set_aside[i])
			r = verify_table(rs, rs->conn, &t->schema->tables[i], NULL, NULL, &t->versions.v[i], e);
	return r;
}

/* What table i of the target must hold in the end. */
static struct version_info goal_of(const struct target *t, const struct part *part, size_t i)
{
	struct version_info goal = t->versions.v[i];
	if (part) {
		goal.digest = part->want[i];
		goal.rows = goal.digest.count;
	}
	return goal;
}

/* Which of the target's tables differ from the safety snapshot's; one for each of t->versions. */
static bool *touched_tables(const struct restore *rs, const struct version_list *safety, const struct target *t,
			    const struct part *part)
{
	bool *touched = xcalloc(t->versions.n, sizeof *touched);
	for (size_t i = 0; i < t->versions.n; i++) {
		const struct version_info goal = goal_of(t, part, i), *was = version_of(safety, goal.name);
		touched[i] = wanted(rs->tables, goal.name) && !(was && digest_equal(&was->digest, &goal.digest));
	}
	return touched;
}

/* Only the tables that will be changed are announced: what another one has (a trigger that cannot be kept still) is no
 * hindrance. */
static int begin_changes(struct restore *rs, const struct target *t, const bool *touched, struct err *e)
{
	struct db_schema part = *t->schema;
	_cleanup_free_ struct db_table *tables = part.tables = xcalloc(t->versions.n, sizeof *tables);
	part.n_tables = 0;
	for (size_t i = 0; i < t->versions.n; i++)
		if (touched[i])
			tables[part.n_tables++] = t->schema->tables[i];
	return db_driver_of(rs->conn)->change_begin(rs->conn, &part, e);
}

static int apply_difference(struct restore *rs, const struct version_list *safety, const struct target *t,
			    const struct part *part, const bool *touched, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	_cleanup_free_ struct change *changes = xcalloc(t->versions.n, sizeof *changes);
	int r = 0;
	for (size_t i = 0; r == 0 && i < t->versions.n; i++) {
		if (!touched[i])
			continue;
		r = apply_table(rs, &t->schema->tables[i], version_of(safety, t->versions.v[i].name), &t->versions.v[i],
				part, &changes[i], e);
		if (r < 0)
			err_prefix(e, "table %s", t->versions.v[i].name);
	}
	/* Some tables of another time beside the rest of today's can make orphans; a whole snapshot has only its own.
	 */
	_cleanup_strbuf_ struct strbuf orphans = {0};
	if (r == 0)
		r = d->change_end(rs->conn, rs->tables ? NULL : &orphans, e);
	if (rs->report)
		strbuf_add(rs->report, strbuf_str(&orphans), orphans.len);
	if (r == 0 && !rs->tables && *t->schema->engine)
		r = d->set_sequences(rs->conn, t->schema, e);
	for (size_t i = 0; r == 0 && i < t->versions.n; i++) {
		const struct version_info goal = goal_of(t, part, i);
		if (touched[i])
			r = verify_table(rs, rs->conn, &t->schema->tables[i], &changes[i],
					 version_of(safety, goal.name), &goal, e);
	}
	return r;
}

/* ---- the whole ---- */

/* The state under the lock, kept before anything is changed. */
int restore_take_safety(struct restore *rs, struct db_schema *live, struct strbuf *sql, struct err *e)
{
	int64_t taken = clock_ms();
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int r = snapshot_writer_new(&w, rs->catalog, rs->source_id, taken, e);
	if (r < 0)
		return r;
	struct capture cp = {.catalog = rs->catalog,
			     .conn = rs->conn,
			     .schema = live,
			     .writer = w,
			     .job = rs->job,
			     .name = rs->safety_name,
			     .base_id = rs->base_id,
			     .whole = true};
	char stamp[32];
	snapshot_name_default(taken, stamp);
	(void)snprintf(rs->safety_name, sizeof rs->safety_name, "%s-before-restore", stamp);
	for (int n = 2;; n++) {
		struct snapshot_info there;
		if (catalog_find(rs->catalog, rs->source_id, rs->safety_name, &there, ERR_DROP) < 0)
			break;
		snapshot_info_done(&there);
		(void)snprintf(rs->safety_name, sizeof rs->safety_name, "%s-before-restore-%d", stamp, n);
	}
	r = capture_run(&cp, sql, e);
	if (r < 0)
		return err_prefix(e, "safety snapshot");
	if (cp.damage.code && rs->report)
		strbuf_addf(rs->report, "%s\n", cp.damage.msg);
	rs->safety_id = snapshot_writer_id(w);
	return journal_state(rs->catalog, rs->journal_id, "safety", NULL, rs->safety_id, rs->target_id, false, e);
}

int restore_commit(struct restore *rs, struct err *e)
{
	int r = db_driver_of(rs->conn)->commit(rs->conn, e);
	rs->uncertain = r < 0;
	return r;
}

/* What of the tables is to be changed. safety NULL: nothing is stored, the tables themselves are read. */
static int make_plan(struct restore *rs, const struct db_schema *live, const struct version_list *safety,
		     const struct target *t, const struct part *part, struct restore_plan *plan, struct err *e)
{
	struct entity_live now = {.versions = safety, .conn = rs->conn, .schema = live};
	int r = part ? entity_part_look(part->rows, &now, rs->job, e) : 0;
	if (r == 0)
		r = plan_make(rs->catalog, rs->conn, live, safety, t, rs->tables, part, rs->job, plan, e);
	if (r == 0 && part && rs->report)
		entity_part_report(part->rows, rs->report);
	return r;
}

/* What a restore changes beside rows, when it is one of everything. */
static void plan_whole(const struct restore *rs, const struct db_schema *live, const struct strbuf *live_sql,
		       const struct target *t, struct restore_plan *plan)
{
	if (rs->tables || !*t->schema->engine)
		return;
	plan->rebuild = !live->n_tables || schema_differs(live, live_sql, t);
	if (live->n_tables) /* else they were not asked for, and go with the schema */
		plan_counters(live, t->schema, &plan->counters);
}

static int restore_locked(struct restore *rs, struct db_schema *live, const struct target *t, const struct part *part,
			  struct restore_plan *plan, struct err *e)
{
	int r = check_policy(rs, live, t->schema, e);
	if (r == 0 && rs->policy == RESTORE_EMPTY && live->n_tables) {
		r = restore_has_rows(rs->conn, live, e);
		if (r == 1)
			r = err_set(
			    e, ENOTEMPTY,
			    "the target has rows and restore = empty (set restore = replace to write over them)");
	}
	if (r == 0 && rs->tables)
		r = check_tables(rs->tables, live, t, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf sql = {0};
	struct version_list safety = {0};
	if (rs->dry_run) {
		r = live->n_tables ? db_driver_of(rs->conn)->schema_sql(rs->conn, live, &sql, e) : 0;
		if (r == 0)
			r = make_plan(rs, live, NULL, t, part, plan, e);
		if (r == 0)
			r = db_driver_of(rs->conn)->finish(rs->conn, live, e);
		if (r == 0)
			plan_whole(rs, live, &sql, t, plan);
		return r;
	}
	if (live->n_tables) {
		r = restore_take_safety(rs, live, &sql, e);
		if (r == 0)
			r = catalog_tables(rs->catalog, rs->safety_id, &safety, e);
	}
	if (r == 0)
		plan_whole(rs, live, &sql, t, plan);
	if (r == 0)
		r = make_plan(rs, live, &safety, t, part, plan, e);
	_cleanup_free_ char *entity = rs->entity ? xasprintf(RESTORE_ENTITY_MARK "%s", rs->entity) : NULL;
	if (r == 0)
		r = journal_state(rs->catalog, rs->journal_id, "begun", entity, rs->safety_id, rs->target_id, false, e);
	if (r == 0) {
		rs->begun = true;
		uint64_t total = 0;
		for (size_t i = 0; i < plan->n; i++)
			total += plan->v[i].inserts + plan->v[i].deletes + 2 * plan->v[i].updates;
		atomic_store(&rs->job->rows_done, 0);
		atomic_store(&rs->job->bytes_done, 0);
		atomic_store(&rs->job->rows_total, total);
		_cleanup_free_ bool *touched = touched_tables(rs, &safety, t, part);
		r = plan->rebuild ? 0 : begin_changes(rs, t, touched, e);
		/* Where an engine cannot keep triggers from acting on single changes (MySQL), tables made anew have
		 * none yet. */
		if (r == -ENOTSUP && !rs->tables && *t->schema->engine) {
			plan->rebuild = true;
			r = 0;
		}
		if (r == 0)
			r = plan->rebuild ? apply_rebuild(rs, t, e)
					  : apply_difference(rs, &safety, t, part, touched, e);
	}
	version_list_done(&safety);
	if (r == 0 && atomic_load(&rs->job->cancelled))
		r = err_set(e, EINTR, "cancelled");
	return r == 0 ? restore_commit(rs, e) : r;
}

int restore_run(struct restore *rs, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	_cleanup_(target_done) struct target t = {0};
	int r = target_load(rs->catalog, rs->target_id, &t, e);
	/* A restore of one table's directory is a restore of that table only. */
	char *one[2] = {t.versions.n ? t.versions.v[0].name : NULL, NULL};
	if (r == 0 && !*t.schema->engine && !rs->tables)
		rs->tables = one;
	_cleanup_(part_done) struct part part = {0};
	if (r == 0 && rs->entity)
		r = part_init(&part, rs->catalog, &t, rs->entity, &rs->tables, e);
	if (r == 0 && rs->policy == RESTORE_OFF)
		r = check_policy(rs, t.schema, t.schema, e); /* says so before anything is locked */
	if (r == 0 && !rs->dry_run)
		r = d->settle(rs->conn, e);
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	if (r == 0)
		r = d->begin(rs->conn, rs->dry_run ? DB_READ : DB_WRITE, &live, e);
	if (r == 0) {
		struct restore_plan plan = {0};
		r = restore_locked(rs, live, &t, part.rows ? &part : NULL, &plan, e);
		if (rs->plan)
			*rs->plan = plan;
		else
			restore_plan_done(&plan);
		if (r < 0 || rs->dry_run)
			d->rollback(rs->conn);
		/* What a rebuild leaves beside the schema. If it cannot go now, it goes before the next restore. */
		if (r < 0 && rs->begun && !rs->uncertain && d->aside_begin)
			(void)d->settle(rs->conn, ERR_DROP);
	}
	if (rs->tables == one || part.rows)
		rs->tables = NULL;
	return r;
}

/* ---- one row ---- */

static int put_row_in(struct restore *rs, struct db_schema *live, const char *table, const char *file_name,
		      const char *text, size_t len, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	_cleanup_strbuf_ struct strbuf line = {0}, again = {0}, key = {0}, name = {0};
	int r = restore_take_safety(rs, live, NULL, e);
	struct version_info v = {0};
	if (r == 0)
		r = catalog_table(rs->catalog, rs->safety_id, table, &v, e);
	_cleanup_(apply_done) struct apply a = {0};
	struct change change = {0};
	const struct db_table *t = NULL;
	if (r == 0)
		r = catalog_codec(rs->catalog, v.codec_id, &a.codec, e);
	if (r == 0) {
		t = row_codec_table(a.codec);
		r = apply_init(&a, rs, rs->conn, t, v.codec_id, NULL, &change, e);
	}
	if (r == 0 && t->key_kind != DB_KEY_UNIQUE)
		r = err_set(e, ENOTSUP,
			    "table %s has no unique key: its rows cannot be put back one by one (restore the table)",
			    table);
	if (r == 0)
		r = row_compact(text, len, &line, e);
	if (r == 0)
		r = row_decode(a.codec, line.data, line.len, &a.values, e);
	/* Whatever spelling was written, the row that goes in is the canonical one. */
	if (r == 0) {
		_cleanup_free_ struct db_value *values = xcalloc(row_codec_scan_values(a.codec), sizeof *values);
		row_values_encodable(a.codec, &a.values, values);
		r = row_encode(a.codec, values, &again, e);
	}
	if (r == 0)
		r = row_key(a.codec, again.data, again.len, NULL, 0, &key, e);
	if (r == 0) {
		row_name(a.codec, key.data, key.len, &name);
		if (strcmp(strbuf_str(&name), file_name))
			r = err_set(e, EINVAL, "%s holds the row of %s", file_name, strbuf_str(&name));
	}
	struct stored_row old = {0};
	struct digest want = v.digest;
	bool exists = r == 0 && catalog_row_by_name(rs->catalog, v.id, file_name, &old, ERR_DROP) == 0;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	uint8_t sha[ROW_SHA_LEN];
	if (exists) {
		hasher_sha256(h, old.line, old.line_len, sha);
		digest_sub(&want, sha);
	}
	if (r == 0) {
		hasher_sha256(h, again.data, again.len, sha);
		digest_add(&want, sha);
		r = journal_state(rs->catalog, rs->journal_id, "begun", NULL, rs->safety_id, 0, false, e);
	}
	if (r == 0) {
		rs->begun = true;
		struct db_schema part = *live;
		struct db_table only = *t;
		part.tables = &only;
		part.n_tables = 1;
		r = d->change_begin(rs->conn, &part, e);
	}
	struct stream_row sr = {.line = old.line, .line_len = old.line_len};
	if (r == 0 && exists)
		r = apply_delete(&a, &sr, e);
	if (r == 0)
		r = apply_flush_keys(&a, e);
	if (r == 0)
		r = d->load_begin(rs->conn, t, e);
	if (r == 0) {
		sr = (struct stream_row){.line = again.data, .line_len = again.len};
		r = apply_load(&a, &sr, e);
		int q = d->load_end(rs->conn, r == 0, r == 0 ? e : ERR_DROP);
		r = r < 0 ? r : q;
	}
	if (r == 0)
		r = d->change_end(rs->conn, NULL, e);
	struct version_info after = v;
	after.digest = want;
	after.rows = want.count;
	if (r == 0)
		r = verify_table(rs, rs->conn, t, &change, &v, &after, e);
	stored_row_done(&old);
	version_info_done(&v);
	return r == 0 ? restore_commit(rs, e) : r;
}

int restore_upsert_row(struct restore *rs, const char *table, const char *file_name, const char *text, size_t len,
		       struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	if (rs->policy != RESTORE_REPLACE)
		return err_set(e, EPERM, "writing a row needs restore = replace for this source");
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	int r = d->begin(rs->conn, DB_WRITE, &live, e);
	if (r < 0)
		return r;
	r = db_schema_find(live, table) ? put_row_in(rs, live, table, file_name, text, len, e)
					: err_set(e, ENOENT, "no table %s in the database", table);
	if (r < 0)
		d->rollback(rs->conn);
	return r;
}

/* ---- compare ---- */

/* Whether the live definitions and counters are the snapshot's, as restore_locked looks at them. */
static int compare_rest(struct db_conn *conn, struct db_schema *live, const struct target *t, struct restore_plan *plan,
			struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = d->finish(conn, live, e);
	if (r == 0)
		plan_counters(live, t->schema, &plan->counters);
	if (r == 0 && live->n_tables && !plan->rebuild) {
		r = d->schema_sql(conn, live, &sql, e);
		plan->rebuild = r == 0 && schema_differs(live, &sql, t);
	}
	return r;
}

int restore_compare_live(struct catalog *c, struct db_conn *conn, int64_t snapshot_id, char *const *tables,
			 struct job_ctl *job, struct restore_plan *plan, struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	_cleanup_(target_done) struct target t = {0};
	int r = target_load(c, snapshot_id, &t, e);
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	if (r == 0)
		r = d->begin(conn, DB_READ, &live, e);
	if (r < 0)
		return r;
	struct restore_plan mine = {0};
	char *one[2] = {t.versions.n ? t.versions.v[0].name : NULL, NULL};
	if (!*t.schema->engine)
		tables = one;
	r = plan_make(c, conn, live, NULL, &t, tables, NULL, job, &mine, e);
	bool same =
	    r == 0 && (tables ? check_tables(tables, live, &t, ERR_DROP) == 0 : live->n_tables == t.schema->n_tables);
	for (size_t i = 0; same && !tables && i < live->n_tables; i++)
		same = same_description(&live->tables[i], &t.schema->tables[i]);
	mine.rebuild = !same;
	same = same && plan_is_empty(&mine);
	/* Who asks for no plan has the answer when the rows differ. */
	if (r == 0 && !tables && (same || plan))
		r = compare_rest(conn, live, &t, &mine, e);
	d->rollback(conn);
	if (r == 0)
		r = !same ? 1 : mine.rebuild ? 2 : mine.counters.len ? 3 : 0;
	if (plan && r >= 0)
		*plan = mine;
	else
		restore_plan_done(&mine);
	return r;
}

/* Table t is what the entity's restore was to leave in it. 0, 1: it is not. */
static int compare_goal(struct catalog *c, struct db_conn *conn, const struct db_table *t,
			const struct version_info *goal, struct job_ctl *job, struct err *e)
{
	struct restore rs = {.catalog = c, .job = job};
	const struct row_codec *codec;
	struct digest found;
	int r = catalog_codec(c, goal->codec_id, &codec, e);
	if (r == 0)
		r = db_driver_of(conn)->scan_open(conn, t, DB_SCAN_UNORDERED, e);
	if (r == 0)
		r = digest_scan(&rs, conn, codec, &found, e);
	return r < 0 ? r : !digest_equal(&found, &goal->digest);
}

int restore_compare_entity(struct catalog *c, struct db_conn *conn, int64_t safety_id, int64_t target_id,
			   const char *entity, struct job_ctl *job, struct err *e)
{
	_cleanup_(target_done) struct target t = {0};
	_cleanup_(part_done) struct part part = {0};
	_cleanup_(version_list_done) struct version_list safety = {0};
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	struct restore_plan plan = {0};
	struct restore rs = {.catalog = c, .conn = conn, .job = job};
	int r = target_load(c, target_id, &t, e);
	if (r == 0)
		r = catalog_tables(c, safety_id, &safety, e);
	if (r == 0)
		r = part_init(&part, c, &t, entity, &rs.tables, e);
	if (r == 0)
		r = db_driver_of(conn)->begin(conn, DB_READ, &live, e);
	if (r < 0)
		return r;
	bool same = check_tables(rs.tables, live, &t, ERR_DROP) == 0;
	if (same)
		r = make_plan(&rs, live, &safety, &t, &part, &plan, e);
	for (size_t i = 0; r == 0 && same && i < t.versions.n; i++) {
		const struct version_info goal = goal_of(&t, &part, i);
		if (wanted(rs.tables, goal.name))
			r = compare_goal(c, conn, &t.schema->tables[i], &goal, job, e);
	}
	db_driver_of(conn)->rollback(conn);
	restore_plan_done(&plan);
	return r == 0 && !same ? 1 : r;
}
