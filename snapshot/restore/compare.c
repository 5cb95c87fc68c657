/*
 * snapshot/restore/compare.c - see compare.h. In a transaction of its own, which is rolled back.
 */
#include "snapshot/restore/compare.h"

#include "snapshot/restore/internal.h"

/* Whether the live definitions and counters are the snapshot's, as restore_locked looks at them. */
static int compare_rest(struct db_conn *conn, struct db_schema *live, const struct target *t, struct restore_plan *plan,
			struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = d->finish(conn, live, e);
	if (r < 0)
		return r;
	plan_counters(live, t->schema, &plan->counters);
	r = d->schema_sql(conn, live, &sql, e);
	if (r < 0)
		return r;
	_cleanup_free_ bool *touched = plan_touched(plan, t);
	return plan_definitions(conn, live, &sql, t, touched, plan, e);
}

/* In the transaction. The plan says more where it is asked for. */
static int compare_live_in(struct catalog *c, struct db_conn *conn, struct db_schema *live, const struct target *t,
			   char *const *tables, struct job_ctl *job, bool whole_plan, struct restore_plan *plan,
			   struct err *e)
{
	char *one[2] = {t->versions.n ? t->versions.v[0].name : NULL, NULL};
	if (!*t->schema->engine)
		tables = one;
	int r = plan_tables(c, conn, live, NULL, t, tables, NULL, job, plan, e);
	if (r < 0)
		return r;
	bool same =
	    tables ? target_check_tables(tables, live, t, ERR_DROP) == 0 : live->n_tables == t->schema->n_tables;
	for (size_t i = 0; same && !tables && i < live->n_tables; i++)
		same = restore_same_table(&live->tables[i], &t->schema->tables[i]);
	same = same && restore_plan_is_empty(plan);
	/* Who asks for no plan has the answer when the rows differ. */
	if (!tables && (same || whole_plan)) {
		r = compare_rest(conn, live, t, plan, e);
		if (r < 0)
			return r;
	}
	if (!same)
		return COMPARED_ROWS;
	return plan->objects.n ? COMPARED_DEFINITIONS : plan->counters.len ? COMPARED_COUNTERS : COMPARED_SAME;
}

int restore_compare_live(struct catalog *c, struct db_conn *conn, int64_t snapshot_id, char *const *tables,
			 struct job_ctl *job, struct restore_plan *plan, struct err *e)
{
	_cleanup_(target_done) struct target t = {0};
	int r = target_load(c, snapshot_id, &t, e);
	if (r < 0)
		return r;
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	r = db_driver_of(conn)->begin(conn, DB_READ, &live, e);
	if (r < 0)
		return r;
	_cleanup_(restore_plan_done) struct restore_plan mine = {0};
	r = compare_live_in(c, conn, live, &t, tables, job, plan != NULL, &mine, e);
	db_driver_of(conn)->rollback(conn);
	if (plan && r >= 0) {
		*plan = mine;
		mine = (struct restore_plan){0};
	}
	return r;
}

/* Table t against what the entity's restore was to leave in it: COMPARED_SAME or COMPARED_ROWS. */
static int compare_goal(struct catalog *c, struct db_conn *conn, const struct db_table *t,
			const struct version_info *goal, struct job_ctl *job, struct err *e)
{
	struct restore rs = {.catalog = c, .job = job};
	const struct row_codec *codec;
	struct digest found;
	int r = catalog_codec(c, goal->codec_id, &codec, e);
	if (r < 0)
		return r;
	r = verify_scan_table(&rs, conn, t, codec, &found, e);
	if (r < 0)
		return r;
	return digest_equal(&found, &goal->digest) ? COMPARED_SAME : COMPARED_ROWS;
}

/* In the transaction. */
static int compare_entity_in(struct restore *rs, struct db_schema *live, const struct version_list *safety,
			     const struct target *t, const struct part *part, struct err *e)
{
	if (target_check_tables(rs->tables, live, t, ERR_DROP) < 0)
		return COMPARED_ROWS;
	_cleanup_(restore_plan_done) struct restore_plan plan = {0};
	int r = plan_rows(rs, live, safety, t, part, &plan, e);
	for (size_t i = 0; r == COMPARED_SAME && i < t->versions.n; i++) {
		const struct version_info goal = restore_goal(t, part, i);
		if (restore_wants(rs->tables, goal.name))
			r = compare_goal(rs->catalog, rs->conn, &t->schema->tables[i], &goal, rs->job, e);
	}
	return r;
}

int restore_compare_entity(struct catalog *c, struct db_conn *conn, int64_t safety_id, int64_t target_id,
			   const char *entity, struct job_ctl *job, struct err *e)
{
	_cleanup_(target_done) struct target t = {0};
	_cleanup_(restore_part_done) struct part part = {0};
	_cleanup_(version_list_done) struct version_list safety = {0};
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	struct restore rs = {.catalog = c, .conn = conn, .job = job};
	int r = target_load(c, target_id, &t, e);
	if (r < 0)
		return r;
	r = catalog_tables(c, safety_id, &safety, e);
	if (r < 0)
		return r;
	r = restore_part_init(&part, c, &t, entity, &rs.tables, e);
	if (r < 0)
		return r;
	r = db_driver_of(conn)->begin(conn, DB_READ, &live, e);
	if (r < 0)
		return r;
	r = compare_entity_in(&rs, live, &safety, &t, &part, e);
	db_driver_of(conn)->rollback(conn);
	return r;
}
