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
	if (r == 0)
		plan_counters(live, t->schema, &plan->counters);
	if (r == 0 && live->n_tables && !plan->rebuild) {
		r = d->schema_sql(conn, live, &sql, e);
		plan->rebuild = r == 0 && target_schema_differs(live, &sql, t);
	}
	return r;
}

int restore_compare_live(struct catalog *c, struct db_conn *conn, int64_t snapshot_id, char *const *tables,
			 struct job_ctl *job, struct restore_plan *plan, struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	_cleanup_(target_done) struct target t = {0};
	int r = target_load(c, snapshot_id, &t, e);
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	if (r == 0)
		r = d->begin(conn, DB_READ, &live, e);
	if (r < 0)
		return r;
	struct restore_plan mine = {0};
	char *one[2] = {t.versions.n ? t.versions.v[0].name : NULL, NULL};
	if (!*t.schema->engine)
		tables = one;
	r = plan_tables(c, conn, live, NULL, &t, tables, NULL, job, &mine, e);
	bool same = r == 0 && (tables ? target_check_tables(tables, live, &t, ERR_DROP) == 0
				      : live->n_tables == t.schema->n_tables);
	for (size_t i = 0; same && !tables && i < live->n_tables; i++)
		same = restore_same_table(&live->tables[i], &t.schema->tables[i]);
	mine.rebuild = !same;
	same = same && restore_plan_is_empty(&mine);
	/* Who asks for no plan has the answer when the rows differ. */
	if (r == 0 && !tables && (same || plan))
		r = compare_rest(conn, live, &t, &mine, e);
	d->rollback(conn);
	if (r == 0)
		r = !same ? 1 : mine.rebuild ? 2 : mine.counters.len ? 3 : 0;
	if (plan && r >= 0)
		*plan = mine;
	else
		restore_plan_done(&mine);
	return r;
}

/* Table t is what the entity's restore was to leave in it. 0, 1: it is not. */
static int compare_goal(struct catalog *c, struct db_conn *conn, const struct db_table *t,
			const struct version_info *goal, struct job_ctl *job, struct err *e)
{
	struct restore rs = {.catalog = c, .job = job};
	const struct row_codec *codec;
	struct digest found;
	int r = catalog_codec(c, goal->codec_id, &codec, e);
	if (r == 0)
		r = db_driver_of(conn)->scan_open(conn, t, DB_SCAN_UNORDERED, e);
	if (r == 0)
		r = verify_scan(&rs, conn, codec, &found, e);
	return r < 0 ? r : !digest_equal(&found, &goal->digest);
}

int restore_compare_entity(struct catalog *c, struct db_conn *conn, int64_t safety_id, int64_t target_id,
			   const char *entity, struct job_ctl *job, struct err *e)
{
	_cleanup_(target_done) struct target t = {0};
	_cleanup_(restore_part_done) struct part part = {0};
	_cleanup_(version_list_done) struct version_list safety = {0};
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	struct restore_plan plan = {0};
	struct restore rs = {.catalog = c, .conn = conn, .job = job};
	int r = target_load(c, target_id, &t, e);
	if (r == 0)
		r = catalog_tables(c, safety_id, &safety, e);
	if (r == 0)
		r = restore_part_init(&part, c, &t, entity, &rs.tables, e);
	if (r == 0)
		r = db_driver_of(conn)->begin(conn, DB_READ, &live, e);
	if (r < 0)
		return r;
	bool same = target_check_tables(rs.tables, live, &t, ERR_DROP) == 0;
	if (same)
		r = plan_rows(&rs, live, &safety, &t, &part, &plan, e);
	for (size_t i = 0; r == 0 && same && i < t.versions.n; i++) {
		const struct version_info goal = restore_goal(&t, &part, i);
		if (restore_wants(rs.tables, goal.name))
			r = compare_goal(c, conn, &t.schema->tables[i], &goal, job, e);
	}
	db_driver_of(conn)->rollback(conn);
	restore_plan_done(&plan);
	return r == 0 && !same ? 1 : r;
}
