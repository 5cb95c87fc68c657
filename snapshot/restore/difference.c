/*
 * snapshot/restore/difference.c - only the tables that differ from the safety snapshot's are changed, each read back.
 *
 * Runs on the job's thread, in the transaction that locked the tables: the difference is exact until its end.
 */
#include "snapshot/restore/internal.h"

bool *difference_tables(const struct restore *rs, const struct version_list *safety, const struct target *t,
			const struct part *part)
{
	bool *touched = xcalloc(t->versions.n, sizeof *touched);
	for (size_t i = 0; i < t->versions.n; i++) {
		const struct version_info goal = restore_goal(t, part, i), *was = restore_version_of(safety, goal.name);
		touched[i] = restore_wants(rs->tables, goal.name) && !(was && digest_equal(&was->digest, &goal.digest));
	}
	return touched;
}

int difference_begin(struct restore *rs, const struct target *t, const bool *touched, struct err *e)
{
	struct db_schema part = *t->schema;
	_cleanup_free_ struct db_table *tables = part.tables = xcalloc(t->versions.n, sizeof *tables);
	part.n_tables = 0;
	for (size_t i = 0; i < t->versions.n; i++)
		if (touched[i])
			tables[part.n_tables++] = t->schema->tables[i];
	return db_driver_of(rs->conn)->change_begin(rs->conn, &part, e);
}

int apply_difference(struct restore *rs, const struct version_list *safety, const struct target *t,
		     const struct part *part, const bool *touched, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	_cleanup_free_ struct change *changes = xcalloc(t->versions.n, sizeof *changes);
	for (size_t i = 0; i < t->versions.n; i++) {
		if (!touched[i])
			continue;
		const struct version_info *v = &t->versions.v[i];
		int r = apply_table(rs, &t->schema->tables[i], restore_version_of(safety, v->name), v, part,
				    &changes[i], e);
		if (r < 0) {
			err_prefix(e, "table %s", v->name);
			return r;
		}
	}
	/* Some tables of another time beside the rest of today's can make orphans; a whole snapshot has only its own.
	 */
	_cleanup_strbuf_ struct strbuf orphans = {0};
	int r = d->change_end(rs->conn, rs->tables ? NULL : &orphans, e);
	if (rs->report)
		strbuf_add(rs->report, strbuf_str(&orphans), orphans.len);
	if (r < 0)
		return r;
	if (!rs->tables && *t->schema->engine) {
		r = d->set_sequences(rs->conn, t->schema, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < t->versions.n; i++) {
		if (!touched[i])
			continue;
		const struct version_info goal = restore_goal(t, part, i);
		r = restore_verify_table(rs, rs->conn, &t->schema->tables[i], &changes[i],
					 restore_version_of(safety, goal.name), &goal, e);
		if (r < 0)
			return r;
	}
	return 0;
}
