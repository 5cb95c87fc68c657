/*
 * snapshot/sqlfile/restore.c - see restore.h.
 *
 * The file is read twice: sql_scan checks all of it and finds the tables before anything is locked; then it is applied.
 * Rows go to the server in small loads; when one is refused, the transaction is rolled back, and blame.h finds out
 * which line it was. Runs on the job's thread; no locks.
 */
#include "snapshot/sqlfile/restore.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "snapshot/capture/capture.h"
#include "snapshot/restore/policy.h"
#include "snapshot/restore/safety.h"
#include "snapshot/sqlfile/apply.h"
#include "snapshot/sqlfile/blame.h"

/* ---- what came of it ---- */

/* What the transaction holds, kept as a snapshot that is not listed. */
static int capture_target(struct sql_job *j, const struct strbuf *schema_sql, struct err *e)
{
	struct restore *rs = j->rs;
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int r = snapshot_writer_new(&w, rs->catalog, rs->source_id, clock_ms(), e);
	if (r < 0)
		return r;
	struct capture cp = {.catalog = rs->catalog,
			     .conn = rs->conn,
			     .schema = j->live,
			     .writer = w,
			     .job = rs->job,
			     .base_id = rs->safety_id,
			     .whole = true,
			     .schema_sql = schema_sql};
	/* Noted before it is there, so that it is never nobody's. */
	r = journal_state(rs->catalog, rs->journal_id, JOURNAL_BEGUN, NULL, rs->safety_id, snapshot_writer_id(w), false,
			  e);
	if (r < 0)
		return r;
	r = capture_run(&cp, NULL, e);
	if (r < 0)
		return r;
	rs->target_id = snapshot_writer_id(w);
	return 0;
}

static const struct sql_table *table_of_name(const struct sql_job *j, const char *name)
{
	for (size_t i = 0; i < j->n_tables; i++)
		if (!strcmp(j->tables[i].table->name, name))
			return &j->tables[i];
	return NULL;
}

static int check_table(struct sql_job *j, const struct version_info *now, struct err *e)
{
	const struct sql_table *t = table_of_name(j, now->name);
	if (!t) {
		for (size_t i = 0; i < j->safety.n; i++)
			if (!strcmp(j->safety.v[i].name, now->name) &&
			    digest_equal(&j->safety.v[i].digest, &now->digest))
				return 0;
		return err_set(e, EIO, "table %s, which the file does not name, has changed; rolled back", now->name);
	}
	if (t->rows != now->rows)
		return err_set(e, EIO,
			       "table %s: after the restore it holds %" PRIu64 " rows, where the file makes it %" PRIu64
			       "; rolled back",
			       now->name, now->rows, t->rows);
	if (j->rs->report && t->left_out)
		strbuf_addf(j->rs->report,
			    "table %s: values of %zu generated columns are left to the server, which makes them of the "
			    "others\n",
			    now->name, t->left_out);
	if (j->rs->report && !(t->known && digest_equal(&t->digest, &now->digest)))
		strbuf_addf(
		    j->rs->report,
		    "table %s: its %" PRIu64
		    " rows were counted, not compared: the server spells values in another way than the file, or "
		    "the file leaves columns to it\n",
		    now->name, now->rows);
	return 0;
}

static int check_target(struct sql_job *j, struct err *e)
{
	_cleanup_(version_list_done) struct version_list now = {0};
	int r = catalog_tables(j->rs->catalog, j->rs->target_id, &now, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < now.n; i++) {
		r = check_table(j, &now.v[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the whole ---- */

static void make_plan(const struct sql_job *j)
{
	for (size_t i = 0; j->rs->plan && i < j->n_tables; i++) {
		struct table_plan *p = restore_plan_add(j->rs->plan, j->tables[i].table->name);
		p->inserts = j->tables[i].inserts;
		p->deletes = j->tables[i].deletes;
	}
}

/* The state before, and that from here on it may change. */
static int begin_changes(struct sql_job *j, struct strbuf *sql, struct err *e)
{
	struct restore *rs = j->rs;
	int r = restore_take_safety(rs, j->live, sql, e);
	if (r < 0)
		return r;
	r = catalog_tables(rs->catalog, rs->safety_id, &j->safety, e);
	if (r < 0)
		return r;
	r = sql_note_rows(j, e);
	if (r < 0)
		return r;
	r = journal_state(rs->catalog, rs->journal_id, JOURNAL_BEGUN, NULL, rs->safety_id, 0, false, e);
	if (r < 0)
		return r;
	rs->begun = true;
	atomic_store(&rs->job->rows_done, 0);
	atomic_store(&rs->job->bytes_done, 0);
	atomic_store(&rs->job->rows_total, j->scan.rows);
	return 0;
}

static int change(struct sql_job *j, struct db_schema *part, struct err *e)
{
	struct db_conn *conn = j->rs->conn;
	int r = j->driver->change_begin(conn, part, e);
	if (r < 0)
		return r;
	r = sql_apply_file(j, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf warnings = {0};
	r = j->driver->change_end(conn, NULL, j->rs->force ? j->rs->report : NULL, e);
	if (r == 0 && j->driver->refresh)
		r = j->driver->refresh(conn, &warnings, e);
	if (j->rs->report)
		strbuf_add(j->rs->report, strbuf_str(&warnings), warnings.len);
	if (r < 0)
		return r;
	for (size_t i = 0; j->driver->advance_sequences && i < j->n_tables; i++) {
		r = j->driver->advance_sequences(conn, j->tables[i].table, NULL, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* In the transaction, up to COMMIT. */
static int apply(struct sql_job *j, struct db_schema *part, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = begin_changes(j, &sql, e);
	if (r < 0)
		return r;
	r = change(j, part, e);
	if (r < 0)
		return r;
	r = capture_target(j, &sql, e);
	if (r < 0)
		return r;
	r = check_target(j, e);
	if (r < 0)
		return r;
	return sql_check_cancelled(j, e);
}

static int dry_run(struct sql_job *j, struct err *e)
{
	int r = sql_note_rows(j, e);
	return r < 0 ? r : sql_apply_file(j, e);
}

static int run_locked(struct sql_job *j, struct err *e)
{
	struct db_schema part;
	int r = sql_find_tables(j, e);
	if (r < 0)
		return r;
	_cleanup_free_ struct db_table *tables __attribute__((unused)) = sql_part_of(j, &part);
	r = restore_may_over(j->rs->policy, RESTORE_ACT_FILE, j->rs->conn, &part, e);
	if (r < 0)
		return r;
	r = j->rs->dry_run ? dry_run(j, e) : apply(j, &part, e);
	if (r < 0)
		return r;
	make_plan(j);
	return j->rs->dry_run ? 0 : restore_commit(j->rs, e);
}

int sql_restore_run(struct restore *rs, const struct sql_file *file, struct err *e)
{
	_cleanup_(sql_job_done) struct sql_job j = {.rs = rs, .driver = db_driver_of(rs->conn), .src = &file->source};
	int r = restore_may(rs->policy, RESTORE_ACT_FILE, false, e);
	if (r < 0)
		return r;
	j.hasher = hasher_new();
	job_ctl_say(rs->job, "restore: reading the file");
	r = sql_scan(&file->source, file->mysql, file->backslashes, &j.scan, e);
	if (r < 0)
		return r;
	if (rs->report && j.scan.why[0])
		strbuf_addf(rs->report, "%s\n", j.scan.why);
	r = rs->dry_run ? 0 : j.driver->settle(rs->conn, e);
	if (r < 0)
		return r;
	r = j.driver->begin(rs->conn, rs->dry_run ? DB_READ : DB_WRITE, &j.live, e);
	if (r < 0)
		return r;
	r = run_locked(&j, e);
	if (r < 0 || rs->dry_run)
		j.driver->rollback(rs->conn);
	if (sql_row_was_refused(&j, r))
		sql_name_line(&j, e);
	return r;
}
