/*
 * snapshot/restore/rebuild.c - the whole schema made anew and all rows loaded, each table read back.
 *
 * Runs on the job's thread.
 */
#include "snapshot/restore/internal.h"

/* Description to scan and load with: the target's own, which is what its codec encodes. */
int apply_rebuild(struct restore *rs, const struct target *t, struct err *e)
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
			r = restore_verify_table(rs, rs->conn, &t->schema->tables[i], NULL, NULL, &t->versions.v[i], e);
	return r;
}
