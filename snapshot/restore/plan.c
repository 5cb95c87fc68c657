/*
 * snapshot/restore/plan.c - the plan: what of the tables is to be changed, by the merge of them and the target.
 *
 * Both sides come from the catalog, or the live one from the tables themselves when nothing may be stored. Runs on the
 * job's thread, or any other for the texts; no locks.
 */
#include "snapshot/restore/plan.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/restore/internal.h"

void restore_plan_done(struct restore_plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].table);
	free(p->v);
	strbuf_done(&p->counters);
	db_objects_done(&p->objects);
	*p = (struct restore_plan){0};
}

static void plan_objects_text(const struct db_objects *o, struct strbuf *out)
{
	size_t w = 4;
	for (size_t i = 0; i < o->n; i++)
		w = strlen(o->v[i].kind) > w ? strlen(o->v[i].kind) : w;
	if (o->n)
		strbuf_addf(out, "%-9s  %-*s  %s\n", "deed", (int)w, "kind", "object");
	for (size_t i = 0; i < o->n; i++) {
		const struct db_object *v = &o->v[i];
		strbuf_addf(out, "%-9s  %-*s  %s", db_deed_word(v->deed), (int)w, v->kind, v->name);
		if (v->because)
			strbuf_addf(out, "  (%s)", v->because);
		strbuf_addch(out, '\n');
	}
	if (o->n)
		strbuf_addch(out, '\n');
}

void restore_plan_text(const struct restore_plan *p, struct strbuf *out)
{
	uint64_t inserts = 0, updates = 0, deletes = 0;
	plan_objects_text(&p->objects, out);
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

bool restore_plan_is_empty(const struct restore_plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].inserts || p->v[i].updates || p->v[i].deletes)
			return false;
	return true;
}

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
	if (r < 0)
		return r;
	r = stream_version(&b, c, target->id, e);
	return r < 0 ? r : plan_merge(a, b, part, tp, want, e);
}

/* One reading of the live table t, which codec encodes; want_version 0: the target's rows are others anyway. */
static int plan_read(struct catalog *c, struct db_conn *conn, const struct db_table *t, const struct row_codec *codec,
		     bool ordered, int64_t want_version, const struct part *part, struct job_ctl *job,
		     struct table_plan *tp, struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *live = NULL, *want = NULL;
	tp->inserts = tp->updates = tp->deletes = 0;
	int r = stream_live(&live, conn, t, codec, ordered, job, e);
	if (r < 0)
		return r;
	r = stream_version(&want, c, want_version, e);
	return r < 0 ? r : plan_merge(live, want, part, tp, NULL, e);
}

/* From the live table itself, when nothing may be stored (dry run, verify --live). */
static int plan_live(struct catalog *c, struct db_conn *conn, const struct db_table *t,
		     const struct version_info *target, const struct part *part, struct job_ctl *job,
		     struct table_plan *tp, struct err *e)
{
	const struct row_codec *codec = NULL;
	_cleanup_(cleanup_row_codec) struct row_codec *mine = NULL;
	struct db_table plain = db_table_without_key(t);
	int r = target ? catalog_codec(c, target->codec_id, &codec, e) : 0;
	if (r < 0)
		return r;
	if (codec && !restore_same_table(t, row_codec_table(codec)))
		codec = NULL; /* rows of another form: every one of them differs */
	if (codec && row_codec_table(codec)->key_kind != t->key_kind)
		t = &plain;
	bool compare = codec != NULL, again = false;
	if (!codec)
		codec = mine = row_codec_new(t = &plain);
	bool ordered = compare && t->key_kind == DB_KEY_UNIQUE;
	for (;;) {
		struct err why = ERR_INIT;
		r = plan_read(c, conn, t, codec, ordered, compare ? target->id : 0, part, job, tp, &why);
		if ((r == -EILSEQ || r == -EOPNOTSUPP) && ordered) {
			ordered = false;
			continue;
		}
		if (r == -ERESTART)
			continue;
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
		if (r < 0)
			*e = why;
		else if (!compare && target)
			tp->inserts = target->rows;
		return r;
	}
}

int plan_tables(struct catalog *c, struct db_conn *conn, const struct db_schema *live,
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
		if (!restore_wants(tables, name) || (tables && !v))
			continue;
		struct table_plan *tp = restore_plan_add(plan, name);
		int r = 0;
		if (!live_versions && t) {
			job_ctl_say(job, "comparing: %s", name);
			r = plan_live(c, conn, t, v, part, job, tp, e);
		} else {
			const struct version_info *lv = t ? restore_version_of(live_versions, name) : NULL;
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

int plan_rows(struct restore *rs, const struct db_schema *live, const struct version_list *safety,
	      const struct target *t, const struct part *part, struct restore_plan *plan, struct err *e)
{
	struct entity_live now = {.versions = safety, .conn = rs->conn, .schema = live};
	int r = part ? entity_part_look(part->rows, &now, rs->job, e) : 0;
	if (r < 0)
		return r;
	r = plan_tables(rs->catalog, rs->conn, live, safety, t, rs->tables, part, rs->job, plan, e);
	if (r < 0)
		return r;
	if (part && rs->report)
		entity_part_report(part->rows, rs->report);
	return 0;
}

static const char *unused_yet(const struct db_sequence *q)
{
	return q->is_called ? "" : " (not used yet)";
}

/* What set_sequences will change. live: after `finish`. What only one side has goes or comes with the schema. */
void plan_counters(const struct db_schema *live, const struct db_schema *target, struct strbuf *out)
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

bool *plan_touched(const struct restore_plan *p, const struct target *t)
{
	bool *touched = xcalloc(t->versions.n + 1, sizeof *touched);
	for (size_t i = 0; i < t->versions.n; i++)
		for (size_t k = 0; k < p->n && !touched[i]; k++)
			touched[i] = !strcmp(p->v[k].table, t->versions.v[i].name) &&
				     (p->v[k].inserts || p->v[k].updates || p->v[k].deletes);
	return touched;
}

int plan_definitions(struct db_conn *conn, const struct db_schema *live, const struct strbuf *live_sql,
		     const struct target *t, const bool *touched, struct restore_plan *plan, struct err *e)
{
	const struct db_definitions have = {live, strbuf_str(live_sql)}, want = {t->schema, strbuf_str(&t->sql)};
	db_objects_done(&plan->objects);
	return db_driver_of(conn)->compare(conn, &have, &want, touched, &plan->objects, e);
}
