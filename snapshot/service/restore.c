/*
 * snapshot/service/restore.c - restores, and single rows, as jobs. They run on their caller's thread.
 */
#include "snapshot/service/restore.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/restore/policy.h"
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
		       deletes, plan->rebuild ? ", schema made anew" : "", rs->safety_id ? "; before it: " : "",
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

int service_restore(struct service *svc, size_t source, const struct restore_request *rq, const struct requester *who,
		    struct waiter *w, struct restore_plan *ret_plan, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	*ret_plan = (struct restore_plan){0};
	int r = restore_may(rq->policy, rq->sql ? RESTORE_ACT_FILE : RESTORE_ACT_DATABASE, false, e);
	if (r < 0)
		return r;
	r = job_begin(svc, source, rq->dry_run ? "plan" : "restore", rq->label ? rq->label : "", who, w, &j, e);
	if (r < 0)
		return r;
	int64_t target = rq->snapshot_id, imported = 0;
	/* Held to the end: the target may be removed meanwhile, or be one that is not listed, but its rows stay. */
	r = j->keep_fd = store_lock(svc->catalog, STORE_LOCK_WRITERS, false, &why);
	r = r > 0 ? 0 : r;
	if (r == 0 && rq->backup) {
		r = job_import(j, rq->backup, NULL, &imported, NULL, report, &why);
		target = imported;
	}
	if (r == 0)
		r = job_connect(j, &why);
	if (r == 0 && !rq->dry_run)
		r = settle_all(j, &why);
	struct restore rs = {.catalog = svc->catalog,
			     .conn = j->conn,
			     .source_id = svc->source[source].id,
			     .base_id = service_newest_id(svc, source),
			     .target_id = target,
			     .tables = rq->tables,
			     .entity = rq->entity,
			     .policy = rq->policy,
			     .force = rq->force,
			     .dry_run = rq->dry_run,
			     .journal_id = j->journal_id,
			     .job = &j->ctl,
			     .report = report,
			     .plan = ret_plan};
	if (r == 0 && rq->sql)
		r = sql_restore_run(&rs, rq->sql, &why);
	else if (r == 0)
		r = restore_run(&rs, &why);
	if (rq->sql)
		imported = rs.target_id;
	if (r < 0 && rs.uncertain)
		r = settle_restore(j, &rs, r, &why);
	else if (r < 0 && atomic_load(&j->ctl.cancelled))
		r = err_set(&why, EINTR, "cancelled; the database is unchanged");
	char detail[256];
	restore_finish_text(&rs, ret_plan, detail, sizeof detail);
	if (rs.safety_id)
		(void)snprintf(ret_plan->safety, sizeof ret_plan->safety, "%s", rs.safety_name);
	/* What the journal says is all that a link's maker gets to read. */
	_cleanup_strbuf_ struct strbuf said = {0};
	strbuf_adds(&said, detail);
	if (rq->entity && report)
		restore_report_line(report, &said);
	if (r < 0 && e)
		*e = why;
	/* An entry that stays open must still say which entity to look for. */
	if (j->unsettled && rq->entity)
		(void)err_prefix(&why, RESTORE_ENTITY_MARK "%s\t", rq->entity);
	char safety[64];
	int64_t safety_id = rs.safety_id;
	(void)snprintf(safety, sizeof safety, "%s", rs.safety_name);
	job_disconnect(j); /* before the imported target goes: nothing can need it then */
	if (imported && !j->unsettled)
		(void)store_remove_snapshot(svc->catalog, imported, true, ERR_DROP);
	job_end(j, r, rq->dry_run ? "done" : "committed", strbuf_str(&said), &why);
	if (safety_id)
		service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, safety_id, safety);
	if (imported || r < 0)
		service_sweep(svc);
	return r;
}

int service_upsert_row(struct service *svc, size_t source, const char *table, const char *file_name, const char *text,
		       size_t len, const struct requester *who, struct waiter *w, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	int r = restore_may(svc->source[source].config->restore, RESTORE_ACT_ROW, false, e);
	if (r < 0)
		return r;
	_cleanup_free_ char *subject = xasprintf("%s/%s", table, file_name);
	r = job_begin(svc, source, "put", subject, who, w, &j, e);
	if (r < 0)
		return r;
	r = job_connect(j, &why);
	if (r == 0)
		r = settle_all(j, &why);
	struct restore rs = {.catalog = svc->catalog,
			     .conn = j->conn,
			     .source_id = svc->source[source].id,
			     .base_id = service_newest_id(svc, source),
			     .policy = svc->source[source].config->restore,
			     .journal_id = j->journal_id,
			     .job = &j->ctl};
	if (r == 0)
		r = restore_upsert_row(&rs, table, file_name, text, len, &why);
	if (r < 0 && rs.uncertain)
		r = settle_restore(j, &rs, r, &why);
	if (r < 0 && e)
		*e = why;
	int64_t safety_id = rs.safety_id;
	char safety[64];
	(void)snprintf(safety, sizeof safety, "%s", rs.safety_name);
	job_end(j, r, "committed", NULL, &why);
	if (safety_id)
		service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, safety_id, safety);
	return r;
}
