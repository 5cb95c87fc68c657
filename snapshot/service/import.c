/*
 * snapshot/service/import.c - a backup into the catalog, as a snapshot of its own or as what a restore goes back to.
 *
 * Runs on its caller's thread.
 */
#include "snapshot/service/import.h"

#include <errno.h>

#include "snapshot/capture/import.h"
#include "snapshot/service/internal.h"

int job_import(struct job *j, struct backup_tree *backup, const char *name, int64_t *ret_id, char *ret_name,
	       struct strbuf *report, struct err *e)
{
	struct service *svc = j->service;
	int64_t taken = 0;
	int r = import_taken_ms(backup, &taken, e);
	char mine[64];
	if (r == 0 && name && !*name) {
		char stamp[32];
		snapshot_name_default(taken, stamp);
		(void)snprintf(mine, sizeof mine, "%s", stamp);
		for (int n = 2; (r = service_name_is_free(svc, j->source, mine, e)) == -EEXIST; n++)
			(void)snprintf(mine, sizeof mine, "%s-%d", stamp, n);
		name = mine;
	}
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int64_t base = service_newest_id(svc, j->source);
	while (r == 0) {
		r = snapshot_writer_new(&w, svc->catalog, svc->source[j->source].id, taken, e);
		/* Noted before it is there: what was imported is never "now", and an unlisted target is somebody's. */
		if (r == 0)
			r = journal_state(svc->catalog, j->journal_id, "running", NULL, 0, snapshot_writer_id(w), false,
					  e);
		if (r == 0)
			r = import_run(svc->catalog, backup, w, svc->source[j->source].id, base, name, &j->ctl, report,
				       e);
		if (r != -EUCLEAN || !base)
			break;
		/* The newest snapshot is damaged: nothing can be shared with it. */
		base = 0;
		r = 0;
		snapshot_writer_free(TAKE_PTR(w));
	}
	if (r == 0) {
		*ret_id = snapshot_writer_id(w);
		if (ret_name && name)
			(void)snprintf(ret_name, 256, "%s", name);
	}
	return r;
}

int service_import(struct service *svc, size_t source, struct backup_tree *backup, const char *name,
		   const struct requester *who, struct waiter *w, int64_t *ret_id, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	int r = name ? snapshot_name_check(name, e) : 0;
	if (r == 0 && name)
		r = service_name_is_free(svc, source, name, e);
	if (r == 0)
		r = job_begin(svc, source, "import", name ? name : "(default name)", who, w, &j, e);
	if (r < 0)
		return r;
	char got[256] = "";
	r = job_import(j, backup, name ? name : "", ret_id, got, report, &why);
	if (r < 0 && e)
		*e = why;
	int64_t id = r == 0 ? *ret_id : 0;
	job_end(j, r, "done", NULL, &why);
	if (r == 0)
		service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, id, got);
	else
		service_sweep(svc);
	return r;
}
