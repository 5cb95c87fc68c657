/*
 * snapshot/restore/rebuild.c - the definitions that differ made equal, and the tables that are made anew with them
 * loaded and read back.
 *
 * Runs on the job's thread.
 */
#include "snapshot/restore/internal.h"

void rebuild_done(struct rebuild *b)
{
	free(b->aside);
	strbuf_done(&b->warnings);
}

/* Description to scan and load with: the target's own, which is what its codec encodes. */
static int rebuild_table(struct restore *rs, const struct target *t, size_t i, struct err *e)
{
	const struct version_info *v = &t->versions.v[i];
	_cleanup_(apply_done) struct apply a;
	job_ctl_say(rs->job, "restore: %s", v->name);
	int r = apply_init(&a, rs, rs->conn, &t->schema->tables[i], v->codec_id, NULL, NULL, e);
	if (r >= 0)
		r = apply_loads(&a, 0, v->id, e);
	if (r < 0)
		err_prefix(e, "table %s", v->name);
	return r;
}

static int rebuild_rows(struct rebuild *b, struct restore *rs, const struct target *t, struct err *e)
{
	b->aside = xcalloc(t->versions.n + 1, sizeof *b->aside);
	int r = apply_aside(rs, t, b->objects->remade, b->aside, e);
	if (r < 0)
		return r;
	r = db_driver_of(rs->conn)->rebuild_begin(rs->conn, t->schema, strbuf_str(&t->sql), b->objects, &b->warnings,
						  e);
	for (size_t i = 0; r == 0 && i < t->versions.n; i++)
		r = b->objects->remade[i] && !b->aside[i] ? rebuild_table(rs, t, i, e) : 0;
	return r;
}

int rebuild_begin(struct rebuild *b, struct restore *rs, const struct target *t, const struct db_objects *o,
		  struct err *e)
{
	b->objects = o;
	return o->n ? rebuild_rows(b, rs, t, e) : 0;
}

int rebuild_end(struct rebuild *b, struct restore *rs, struct strbuf *outside, struct err *e)
{
	if (!b->objects->n)
		return 0;
	job_ctl_say(rs->job, "restore: indexes and constraints");
	int r = db_driver_of(rs->conn)->rebuild_end(rs->conn, &b->warnings, outside, e);
	if (rs->report)
		strbuf_add(rs->report, strbuf_str(&b->warnings), b->warnings.len);
	return r;
}

int rebuild_verify(const struct rebuild *b, struct restore *rs, const struct target *t, struct err *e)
{
	int r = 0;
	for (size_t i = 0; b->objects->n && r == 0 && i < t->versions.n; i++)
		if (b->objects->remade[i] && !b->aside[i])
			r = restore_verify_table(rs, rs->conn, &t->schema->tables[i], NULL, NULL, &t->versions.v[i], e);
	return r;
}
