/*
 * snapshot/service/restore.h - a source's database back to a snapshot, a backup or a file, or one row of it.
 *
 * Any thread; returns when it is done.
 */
#pragma once

#include "snapshot/job.h"
#include "snapshot/restore/restore.h"
#include "snapshot/service/sources.h"

/* Safety snapshot, difference, one transaction, verified, committed: returns the result. EPERM, ENOTEMPTY, EXDEV,
 * EBADMSG, ... *report (may be NULL) gets warnings and, on EBADMSG, where the backup differs, a line each. */
int service_restore(struct service *svc, size_t source, const struct restore_request *rq, const struct requester *who,
		    struct waiter *w, struct restore_plan *ret_plan, struct strbuf *report, struct err *e);
/* One row, by its file's text: upserted in one transaction (policy replace). */
int service_upsert_row(struct service *svc, size_t source, const char *table, const char *file_name, const char *text,
		       size_t len, const struct requester *who, struct waiter *w, struct err *e);
