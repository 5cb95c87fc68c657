/*
 * snapshot/service/import.c - a backup into the catalog, as a snapshot of its own or as what a restore goes back to.
 *
 * Runs on its caller's thread.
 */
#include "snapshot/service/import.h"

#include <errno.h>

#include "snapshot/capture/import.h"
#include "snapshot/service/internal.h"

static int import_into(struct job *j, struct backup_tree *backup, struct snapshot_writer *w, int64_t base,
		       const char *name, struct strbuf *report, struct err *e)
{
	struct service *svc = j->service;
	/* Noted before it is there: what was imported is never "now", and an unlisted target is somebody's. */
	int r = journal_state(svc->catalog, j->journal_id, JOURNAL_RUNNING, NULL, 0, snapshot_writer_id(w), false, e);
	if (r < 0)
		return r;
	return import_run(svc->catalog, backup, w, svc->source[j->source].id, base, name, &j->ctl, report, e);
}

int job_import(struct job *j, struct backup_tree *backup, const char *name, int64_t *ret_id, char *ret_name,
	       struct strbuf *report, struct err *e)
{
	struct service *svc = j->service;
	int64_t taken = 0;
	int r = import_taken_ms(backup, &taken, e);
	if (r < 0)
		return r;
	char mine[64];
	if (name && !*name) {
		r = service_free_name(svc, j->source, taken, mine, e);
		if (r < 0)
			return r;
		name = mine;
	}
	for (int64_t base = service_newest_id(svc, j->source);; base = 0) {
		_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
		r = snapshot_writer_new(&w, svc->catalog, svc->source[j->source].id, taken, e);
		if (r < 0)
			return r;
		r = import_into(j, backup, w, base, name, report, e);
		if (r == -EUCLEAN && base)
			continue; /* the newest snapshot is damaged: nothing can be shared with it */
		if (r < 0)
			return r;
		*ret_id = snapshot_writer_id(w);
		if (ret_name && name)
			(void)snprintf(ret_name, 256, "%s", name);
		return 0;
	}
}

int service_import(struct service *svc, size_t source, struct backup_tree *backup, const char *name,
		   const struct requester *who, struct waiter *w, int64_t *ret_id, struct strbuf *report, struct err *e)
{
	struct job *j = NULL;
	int r = name ? snapshot_name_check(name, e) : 0;
	if (r < 0)
		return r;
	r = name ? service_name_is_free(svc, source, name, e) : 0;
	if (r < 0)
		return r;
	r = job_begin(svc, source, JOURNAL_IMPORT, name ? name : "(default name)", who, w, &j, e);
	if (r < 0)
		return r;
	struct err why = ERR_INIT;
	char got[256] = "";
	r = job_import(j, backup, name ? name : "", ret_id, got, report, &why);
	job_end(j, r, JOURNAL_DONE, NULL, &why);
	if (r < 0) {
		*e = why;
		service_sweep(svc);
		return r;
	}
	service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, *ret_id, got);
	return 0;
}
