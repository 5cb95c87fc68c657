/*
 * snapshot/restore/rebuild.c - the whole schema made anew and all rows loaded, each table read back.
 *
 * Runs on the job's thread.
 */
#include "snapshot/restore/internal.h"

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

static int rebuild_schema(struct restore *rs, const struct target *t, bool *set_aside, struct strbuf *warnings,
			  struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	int r = apply_aside(rs, t, set_aside, e);
	if (r < 0)
		return r;
	r = d->rebuild_begin(rs->conn, t->schema, strbuf_str(&t->sql), warnings, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->versions.n; i++) {
		if (set_aside[i])
			continue;
		r = rebuild_table(rs, t, i, e);
		if (r < 0)
			return r;
	}
	job_ctl_say(rs->job, "restore: indexes and constraints");
	return d->rebuild_end(rs->conn, warnings, e);
}

int apply_rebuild(struct restore *rs, const struct target *t, struct err *e)
{
	_cleanup_strbuf_ struct strbuf warnings = {0};
	_cleanup_free_ bool *set_aside = xcalloc(t->versions.n, sizeof *set_aside);
	int r = rebuild_schema(rs, t, set_aside, &warnings, e);
	if (rs->report)
		strbuf_add(rs->report, strbuf_str(&warnings), warnings.len);
	if (r < 0)
		return r;
	r = db_driver_of(rs->conn)->set_sequences(rs->conn, t->schema, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->versions.n; i++) {
		if (set_aside[i])
			continue;
		r = restore_verify_table(rs, rs->conn, &t->schema->tables[i], NULL, NULL, &t->versions.v[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}
