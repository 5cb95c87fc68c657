/*
 * snapshot/service/restore.c - restores, and single rows, as jobs. They run on their caller's thread.
 */
#include "snapshot/service/restore.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/restore/policy.h"
#include "snapshot/restore/scope.h"
#include "snapshot/restore/upsert_row.h"
#include "snapshot/service/internal.h"
#include "snapshot/sqlfile/restore.h"

static void restore_finish_text(const struct restore *rs, const struct restore_plan *plan, char *out, size_t n)
{
	uint64_t inserts = 0, updates = 0, deletes = 0;
	for (size_t i = 0; i < plan->n; i++) {
		inserts += plan->v[i].inserts;
		updates += plan->v[i].updates;
		deletes += plan->v[i].deletes;
	}
	(void)snprintf(out, n, "%" PRIu64 " inserts, %" PRIu64 " updates, %" PRIu64 " deletes%s%s%s", inserts, updates,
		       deletes, plan->objects.n ? ", definitions changed" : "", rs->safety_id ? "; before it: " : "",
		       rs->safety_id ? rs->safety_name : "");
}

/* The lines of a report behind the text. */
static void restore_report_line(const struct strbuf *report, struct strbuf *out)
{
	for (const char *line = strbuf_str(report); *line;) {
		size_t n = strcspn(line, "\n");
		strbuf_addf(out, "; %.*s", (int)n, line);
		line += n + (line[n] == '\n');
	}
}

/* Up to COMMIT. *ret_target: a snapshot that was made to restore from, and has to be removed; 0: none. */
static int restore_in_job(struct job *j, const struct restore_request *rq, struct restore *rs, int64_t *ret_target,
			  struct err *e)
{
	struct service *svc = j->service;
	/* Held to the end: the target may be removed meanwhile, or be one that is not listed, but its rows stay. */
	j->keep_fd = store_lock(svc->catalog, STORE_LOCK_WRITERS, false, e);
	if (j->keep_fd < 0)
		return j->keep_fd;
	if (rq->backup) {
		int r = job_import(j, rq->backup, NULL, ret_target, NULL, rs->report, e);
		if (r < 0)
			return r;
		rs->target_id = *ret_target;
	}
	int r = job_connect(j, e);
	if (r < 0)
		return r;
	rs->conn = j->conn;
	r = rq->dry_run ? 0 : settle_all(j, e);
	if (r < 0)
		return r;
	rs->base_id = service_newest_id(svc, j->source);
	if (!rq->sql)
		return restore_run(rs, e);
	r = sql_restore_run(rs, rq->sql, e);
	*ret_target = rs->target_id;
	return r;
}

/* What the journal says is all that a link's maker gets to read. */
static void restore_said(const struct restore_request *rq, const struct restore *rs, struct strbuf *out)
{
	char text[256];
	restore_finish_text(rs, rs->plan, text, sizeof text);
	strbuf_adds(out, text);
	if (rq->entity && rs->report)
		restore_report_line(rs->report, out);
}

int service_restore(struct service *svc, size_t source, const struct restore_request *rq, const struct requester *who,
		    struct waiter *w, struct restore_plan *ret_plan, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	*ret_plan = (struct restore_plan){0};
	int r = restore_may(rq->policy, rq->sql ? RESTORE_ACT_FILE : RESTORE_ACT_DATABASE, false, e);
	if (r < 0)
		return r;
	r = job_begin(svc, source, rq->dry_run ? JOURNAL_PLAN : JOURNAL_RESTORE, rq->label ? rq->label : "", who, w, &j,
		      e);
	if (r < 0)
		return r;
	int64_t made = 0;
	struct restore rs = {.catalog = svc->catalog,
			     .source_id = svc->source[source].id,
			     .target_id = rq->snapshot_id,
			     .tables = rq->tables,
			     .entity = rq->entity,
			     .policy = rq->policy,
			     .force = rq->force,
			     .dry_run = rq->dry_run,
			     .journal_id = j->journal_id,
			     .job = &j->ctl,
			     .report = report,
			     .plan = ret_plan};
	r = restore_in_job(j, rq, &rs, &made, &why);
	if (r < 0 && rs.uncertain)
		r = settle_restore(j, &rs, r, &why);
	else if (r < 0 && atomic_load(&j->ctl.cancelled))
		r = err_set(&why, EINTR, "cancelled; the database is unchanged");
	_cleanup_strbuf_ struct strbuf said = {0};
	restore_said(rq, &rs, &said);
	if (rs.safety_id)
		(void)snprintf(ret_plan->safety, sizeof ret_plan->safety, "%s", rs.safety_name);
	if (r < 0)
		*e = why;
	j->scope = restore_scope_text(rq->entity, rq->tables);
	job_disconnect(j); /* before the target that was made goes: nothing can need it then */
	if (made && !j->unsettled)
		(void)store_remove_snapshot(svc->catalog, made, true, ERR_DROP);
	job_end(j, r, rq->dry_run ? JOURNAL_DONE : JOURNAL_COMMITTED, strbuf_str(&said), &why);
	if (rs.safety_id)
		service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, rs.safety_id, rs.safety_name);
	if (made || r < 0)
		service_sweep(svc);
	return r;
}

static int upsert_in_job(struct job *j, struct restore *rs, const char *table, const char *file_name, const char *text,
			 size_t len, struct err *e)
{
	int r = job_connect(j, e);
	if (r < 0)
		return r;
	rs->conn = j->conn;
	r = settle_all(j, e);
	if (r < 0)
		return r;
	rs->base_id = service_newest_id(j->service, j->source);
	return restore_upsert_row(rs, table, file_name, text, len, e);
}

int service_upsert_row(struct service *svc, size_t source, const char *table, const char *file_name, const char *text,
		       size_t len, const struct requester *who, struct waiter *w, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	enum restore_policy policy = svc->source[source].config->restore;
	int r = restore_may(policy, RESTORE_ACT_ROW, false, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *subject = xasprintf("%s/%s", table, file_name);
	r = job_begin(svc, source, JOURNAL_PUT, subject, who, w, &j, e);
	if (r < 0)
		return r;
	struct restore rs = {.catalog = svc->catalog,
			     .source_id = svc->source[source].id,
			     .policy = policy,
			     .journal_id = j->journal_id,
			     .job = &j->ctl};
	r = upsert_in_job(j, &rs, table, file_name, text, len, &why);
	if (r < 0 && rs.uncertain)
		r = settle_restore(j, &rs, r, &why);
	if (r < 0)
		*e = why;
	job_end(j, r, JOURNAL_COMMITTED, NULL, &why);
	if (rs.safety_id)
		service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, rs.safety_id, rs.safety_name);
	return r;
}
