/*
 * snapshot/restore/safety.c - see safety.h. Runs on the job's thread, in its transaction.
 */
#include "snapshot/restore/safety.h"

#include "base/clock.h"
#include "snapshot/capture/capture.h"

/* The state under the lock, kept before anything is changed. */
int restore_take_safety(struct restore *rs, struct db_schema *live, struct strbuf *sql, struct err *e)
{
	int64_t taken = clock_ms();
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int r = snapshot_writer_new(&w, rs->catalog, rs->source_id, taken, e);
	if (r < 0)
		return r;
	struct capture cp = {.catalog = rs->catalog,
			     .conn = rs->conn,
			     .schema = live,
			     .writer = w,
			     .job = rs->job,
			     .name = rs->safety_name,
			     .base_id = rs->base_id,
			     .whole = true};
	char stamp[32];
	snapshot_name_default(taken, stamp);
	(void)snprintf(rs->safety_name, sizeof rs->safety_name, "%s-before-restore", stamp);
	for (int n = 2;; n++) {
		struct snapshot_info there;
		if (catalog_find(rs->catalog, rs->source_id, rs->safety_name, &there, ERR_DROP) < 0)
			break;
		snapshot_info_done(&there);
		(void)snprintf(rs->safety_name, sizeof rs->safety_name, "%s-before-restore-%d", stamp, n);
	}
	r = capture_run(&cp, sql, e);
	if (r < 0)
		return err_prefix(e, "safety snapshot");
	if (cp.damage.code && rs->report)
		strbuf_addf(rs->report, "%s\n", cp.damage.msg);
	if (cp.lost.code && rs->report)
		strbuf_addf(rs->report, "%s\n", cp.lost.msg);
	rs->safety_id = snapshot_writer_id(w);
	return journal_state(rs->catalog, rs->journal_id, JOURNAL_SAFETY, NULL, rs->safety_id, rs->target_id, false, e);
}
