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

static int restore_dry(struct restore *rs, struct db_schema *live, const struct target *t, const struct part *part,
		       struct restore_plan *plan, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = live->n_tables ? d->schema_sql(rs->conn, live, &sql, e) : 0;
	if (r < 0)
		return r;
	r = plan_rows(rs, live, NULL, t, part, plan, e);
	if (r < 0)
		return r;
	r = d->finish(rs->conn, live, e);
	if (r < 0)
		return r;
	plan_whole(rs, live, &sql, t, plan);
	return 0;
}

/* What the plan says, written and read back. */
static int restore_apply(struct restore *rs, const struct version_list *safety, const struct target *t,
			 const struct part *part, struct restore_plan *plan, struct err *e)
{
	uint64_t total = 0;
	for (size_t i = 0; i < plan->n; i++)
		total += plan->v[i].inserts + plan->v[i].deletes + 2 * plan->v[i].updates;
	atomic_store(&rs->job->rows_done, 0);
	atomic_store(&rs->job->bytes_done, 0);
	atomic_store(&rs->job->rows_total, total);
	_cleanup_free_ bool *touched = difference_tables(rs, safety, t, part);
	int r = plan->rebuild ? 0 : difference_begin(rs, t, touched, e);
	/* Where an engine cannot keep triggers from acting on single changes (MySQL), tables made anew have none yet. */
	if (r == -ENOTSUP && !rs->tables && *t->schema->engine) {
		plan->rebuild = true;
		r = 0;
	}
	if (r < 0)
		return r;
	return plan->rebuild ? apply_rebuild(rs, t, e) : apply_difference(rs, safety, t, part, touched, e);
}

static int restore_locked(struct restore *rs, struct db_schema *live, const struct target *t, const struct part *part,
			  struct restore_plan *plan, struct err *e)
{
	int r = target_check_engine(live, t->schema, rs->force, e);
	if (r < 0)
		return r;
	r = restore_may_over(rs->policy, RESTORE_ACT_DATABASE, rs->conn, live, e);
	if (r < 0)
		return r;
	r = rs->tables ? target_check_tables(rs->tables, live, t, e) : 0;
	if (r < 0)
		return r;
	if (rs->dry_run)
		return restore_dry(rs, live, t, part, plan, e);
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_(version_list_done) struct version_list safety = {0};
	if (live->n_tables) {
		r = restore_take_safety(rs, live, &sql, e);
		if (r < 0)
			return r;
		r = catalog_tables(rs->catalog, rs->safety_id, &safety, e);
		if (r < 0)
			return r;
	}
	plan_whole(rs, live, &sql, t, plan);
	r = plan_rows(rs, live, &safety, t, part, plan, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *entity = rs->entity ? xasprintf(RESTORE_ENTITY_MARK "%s", rs->entity) : NULL;
	r = journal_state(rs->catalog, rs->journal_id, JOURNAL_BEGUN, entity, rs->safety_id, rs->target_id, false, e);
	if (r < 0)
		return r;
	rs->begun = true;
	r = restore_apply(rs, &safety, t, part, plan, e);
	if (r < 0)
		return r;
	if (atomic_load(&rs->job->cancelled))
		return err_set(e, EINTR, "cancelled");
	return restore_commit(rs, e);
}

/* In one transaction, which is rolled back here when it fails. part NULL: all rows of the tables. */
static int restore_in(struct restore *rs, const struct target *t, const struct part *part, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	int r = rs->dry_run ? 0 : d->settle(rs->conn, e);
	if (r < 0)
		return r;
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	r = d->begin(rs->conn, rs->dry_run ? DB_READ : DB_WRITE, &live, e);
	if (r < 0)
		return r;
	struct restore_plan plan = {0};
	r = restore_locked(rs, live, t, part, &plan, e);
	if (rs->plan)
		*rs->plan = plan;
	else
		restore_plan_done(&plan);
	if (r < 0 || rs->dry_run)
		d->rollback(rs->conn);
	/* What a rebuild leaves beside the schema. If it cannot go now, it goes before the next restore. */
	if (r < 0 && rs->begun && !rs->uncertain && d->aside_begin)
		(void)d->settle(rs->conn, ERR_DROP);
	return r;
}

int restore_run(struct restore *rs, struct err *e)
{
	_cleanup_(target_done) struct target t = {0};
	_cleanup_(restore_part_done) struct part part = {0};
	int r = target_load(rs->catalog, rs->target_id, &t, e);
	if (r < 0)
		return r;
	/* A restore of one table's directory is a restore of that table only. */
	char *one[2] = {t.versions.n ? t.versions.v[0].name : NULL, NULL};
	char **asked = rs->tables;
	if (!*t.schema->engine && !rs->tables)
		rs->tables = one;
	if (rs->entity)
		r = restore_part_init(&part, rs->catalog, &t, rs->entity, &rs->tables, e);
	if (r == 0)
		r = restore_may(rs->policy, RESTORE_ACT_DATABASE, false, e); /* says so before anything is locked */
	if (r == 0)
		r = restore_in(rs, &t, part.rows ? &part : NULL, e);
	rs->tables = asked;
	return r;
}
