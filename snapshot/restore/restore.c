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
#include "snapshot/restore/scope.h"

/* A restore of everything: definitions and counters, too. */
static bool restore_is_whole(const struct restore *rs, const struct target *t)
{
	return !rs->tables && *t->schema->engine;
}

static int restore_dry(struct restore *rs, struct db_schema *live, const struct target *t, const struct part *part,
		       struct restore_plan *plan, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = d->schema_sql(rs->conn, live, &sql, e);
	if (r < 0)
		return r;
	r = plan_rows(rs, live, NULL, t, part, plan, e);
	if (r < 0)
		return r;
	r = d->finish(rs->conn, live, e);
	if (r < 0 || !restore_is_whole(rs, t))
		return r;
	_cleanup_free_ bool *touched = plan_touched(plan, t);
	r = plan_definitions(rs->conn, live, &sql, t, touched, plan, e);
	if (r < 0)
		return r;
	plan_counters(live, t->schema, &plan->counters);
	if (plan->objects.refusal.code)
		*e = plan->objects.refusal;
	return -plan->objects.refusal.code;
}

/* What the plan says, written and read back. Orphans of tables outside are told only to who forces it. */
static int restore_apply(struct restore *rs, const struct target *t, struct difference *d, const bool *touched,
			 const struct restore_plan *plan, struct err *e)
{
	_cleanup_(rebuild_done) struct rebuild b = {0};
	_cleanup_strbuf_ struct strbuf outside = {0};
	_cleanup_free_ bool *kept = xcalloc(t->versions.n + 1, sizeof *kept);
	bool any = !plan->objects.n;
	for (size_t i = 0; i < t->versions.n; i++)
		any |= kept[i] = touched[i] && !(plan->objects.n && plan->objects.remade[i]);
	d->kept = kept;
	int r = rebuild_begin(&b, rs, t, &plan->objects, e);
	if (r == 0 && any)
		r = difference_rows(d, rs, t, e);
	if (r == 0)
		r = rebuild_end(&b, rs, rs->force ? &outside : NULL, e);
	if (r == 0 && any)
		r = difference_end(d, rs, rs->force ? &outside : NULL, e);
	if (r == 0)
		r = restore_is_whole(rs, t) ? db_driver_of(rs->conn)->set_sequences(rs->conn, t->schema, e)
					    : difference_counters(rs, t, e);
	if (r == 0)
		r = rebuild_verify(&b, rs, t, e);
	if (r == 0 && any)
		r = difference_verify(d, rs, t, e);
	if (rs->report)
		strbuf_add(rs->report, strbuf_str(&outside), outside.len);
	d->kept = NULL;
	return r;
}

/* What is there now is kept: rows, and definitions that would go or change. */
static int restore_save(struct restore *rs, struct db_schema *live, const struct target *t, struct strbuf *sql,
			struct version_list *safety, struct restore_plan *plan, struct err *e)
{
	bool worth = live->n_tables > 0;
	if (!worth) {
		int r = db_driver_of(rs->conn)->schema_sql(rs->conn, live, sql, e);
		if (r == 0)
			r = plan_definitions(rs->conn, live, sql, t, NULL, plan, e);
		if (r < 0)
			return r;
		for (size_t i = 0; i < plan->objects.n; i++)
			worth |= plan->objects.v[i].deed != DB_DEED_MAKE;
	}
	if (!worth)
		return 0;
	strbuf_clear(sql);
	int r = restore_take_safety(rs, live, sql, e);
	return r < 0 ? r : catalog_tables(rs->catalog, rs->safety_id, safety, e);
}

static void restore_count(const struct restore *rs, const struct restore_plan *plan)
{
	uint64_t total = 0;
	for (size_t i = 0; i < plan->n; i++)
		total += plan->v[i].inserts + plan->v[i].deletes + 2 * plan->v[i].updates;
	atomic_store(&rs->job->rows_done, 0);
	atomic_store(&rs->job->bytes_done, 0);
	atomic_store(&rs->job->rows_total, total);
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
	r = restore_save(rs, live, t, &sql, &safety, plan, e);
	if (r < 0)
		return r;
	r = plan_rows(rs, live, &safety, t, part, plan, e);
	if (r < 0)
		return r;
	_cleanup_free_ bool *touched = difference_tables(rs, &safety, t, part);
	if (restore_is_whole(rs, t)) {
		r = plan_definitions(rs->conn, live, &sql, t, touched, plan, e);
		if (r < 0)
			return r;
		plan_counters(live, t->schema, &plan->counters);
	}
	if (plan->objects.refusal.code) {
		*e = plan->objects.refusal;
		return err_code(e);
	}
	_cleanup_free_ char *scope = restore_scope_text(rs->entity, rs->tables);
	r = journal_state(rs->catalog, rs->journal_id, JOURNAL_BEGUN, scope, rs->safety_id, rs->target_id, false, e);
	if (r < 0)
		return r;
	rs->begun = true;
	restore_count(rs, plan);
	_cleanup_(difference_done) struct difference d = {.safety = &safety, .part = part};
	r = restore_apply(rs, t, &d, touched, plan, e);
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
