/*
 * snapshot/restore/restore.c - see restore.h. The plan is the diff of the safety snapshot and the target, both in the
 * catalog; what is applied is read back and compared with the target's digests before COMMIT.
 *
 * Runs on the job's thread with one server connection, on which everything is committed at once. The tables are locked
 * against other writers from the safety snapshot on, so the difference is exact until the end. Where the driver can
 * make tables beside the schema, a rebuild has some more threads with a connection each (aside.c), gone before the rest
 * goes on.
 */
#include "snapshot/restore/restore.h"

#include <errno.h>

#include "snapshot/restore/internal.h"
#include "snapshot/restore/policy.h"
#include "snapshot/restore/safety.h"

static int restore_locked(struct restore *rs, struct db_schema *live, const struct target *t, const struct part *part,
			  struct restore_plan *plan, struct err *e)
{
	int r = target_check_engine(live, t->schema, rs->force, e);
	if (r == 0)
		r = restore_may_over(rs->policy, RESTORE_ACT_DATABASE, rs->conn, live, e);
	if (r == 0 && rs->tables)
		r = target_check_tables(rs->tables, live, t, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf sql = {0};
	struct version_list safety = {0};
	if (rs->dry_run) {
		r = live->n_tables ? db_driver_of(rs->conn)->schema_sql(rs->conn, live, &sql, e) : 0;
		if (r == 0)
			r = plan_rows(rs, live, NULL, t, part, plan, e);
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
		r = plan_rows(rs, live, &safety, t, part, plan, e);
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
		_cleanup_free_ bool *touched = difference_tables(rs, &safety, t, part);
		r = plan->rebuild ? 0 : difference_begin(rs, t, touched, e);
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
	_cleanup_(restore_part_done) struct part part = {0};
	if (r == 0 && rs->entity)
		r = restore_part_init(&part, rs->catalog, &t, rs->entity, &rs->tables, e);
	if (r == 0)
		r = restore_may(rs->policy, RESTORE_ACT_DATABASE, false, e); /* says so before anything is locked */
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
