/*
 * snapshot/restore/difference.c - of the tables that stay only those that differ from the safety snapshot's are
 * changed, each read back.
 *
 * Runs on the job's thread, in the transaction that locked the tables: the difference is exact until its end.
 */
#include "snapshot/restore/internal.h"

bool *difference_tables(const struct restore *rs, const struct version_list *safety, const struct target *t,
			const struct part *part)
{
	bool *touched = xcalloc(t->versions.n + 1, sizeof *touched);
	for (size_t i = 0; i < t->versions.n; i++) {
		const struct version_info goal = restore_goal(t, part, i), *was = restore_version_of(safety, goal.name);
		touched[i] = restore_wants(rs->tables, goal.name) && !(was && digest_equal(&was->digest, &goal.digest));
	}
	return touched;
}

void difference_done(struct difference *d)
{
	free(d->changes);
}

static int difference_begin(const struct difference *d, struct restore *rs, const struct target *t, struct err *e)
{
	struct db_schema part = *t->schema;
	_cleanup_free_ struct db_table *tables = part.tables = xcalloc(t->versions.n + 1, sizeof *tables);
	part.n_tables = 0;
	for (size_t i = 0; i < t->versions.n; i++)
		if (d->kept[i])
			tables[part.n_tables++] = t->schema->tables[i];
	return db_driver_of(rs->conn)->change_begin(rs->conn, &part, e);
}

int difference_rows(struct difference *d, struct restore *rs, const struct target *t, struct err *e)
{
	d->changes = xcalloc(t->versions.n + 1, sizeof *d->changes);
	int r = difference_begin(d, rs, t, e);
	for (size_t i = 0; r == 0 && i < t->versions.n; i++) {
		const struct version_info *v = &t->versions.v[i];
		if (!d->kept[i])
			continue;
		r = apply_table(rs, &t->schema->tables[i], restore_version_of(d->safety, v->name), v, d->part,
				&d->changes[i], e);
		if (r < 0)
			err_prefix(e, "table %s", v->name);
	}
	return r;
}

int difference_end(struct difference *d, struct restore *rs, struct strbuf *outside, struct err *e)
{
	/* Some tables of another time beside the rest of today's can make orphans; a whole snapshot has only its own.
	 */
	_cleanup_strbuf_ struct strbuf orphans = {0};
	const struct db_driver *driver = db_driver_of(rs->conn);
	int r = driver->change_end(rs->conn, rs->tables ? NULL : &orphans, outside, e);
	(void)d;
	if (r == 0 && driver->refresh)
		r = driver->refresh(rs->conn, &orphans, e);
	if (rs->report)
		strbuf_add(rs->report, strbuf_str(&orphans), orphans.len);
	return r;
}

int difference_counters(struct restore *rs, const struct target *t, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	/* Some rows of a table say nothing of what its counters were, and neither does the backup of one table. */
	bool known = !rs->entity && *t->schema->engine;
	int r = 0;
	for (size_t i = 0; r >= 0 && i < t->versions.n; i++) {
		struct db_schema part = {.tables = &t->schema->tables[i], .n_tables = 1};
		if (!restore_wants(rs->tables, part.tables->name))
			continue;
		if (known)
			r = d->set_sequences(rs->conn, &part, e);
		if (r >= 0 && d->advance_sequences)
			r = d->advance_sequences(rs->conn, part.tables, known ? t->schema : NULL, e);
	}
	return r < 0 ? r : 0;
}

int difference_verify(const struct difference *d, struct restore *rs, const struct target *t, struct err *e)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < t->versions.n; i++) {
		if (!d->kept[i])
			continue;
		const struct version_info goal = restore_goal(t, d->part, i);
		r = restore_verify_table(rs, rs->conn, &t->schema->tables[i], &d->changes[i],
					 restore_version_of(d->safety, goal.name), &goal, e);
	}
	return r;
}
