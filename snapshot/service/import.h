/*
 * snapshot/service/import.h - a backup becomes a snapshot of a source. Any thread; returns when it is done.
 */
#pragma once

#include "snapshot/capture/backup.h"
#include "snapshot/job.h"
#include "snapshot/service/sources.h"

/* Verifies a backup and keeps it as a snapshot of the source. name NULL: default name of its moment. */
int service_import(struct service *svc, size_t source, struct backup_tree *backup, const char *name,
		   const struct requester *who, struct waiter *w, int64_t *ret_id, struct strbuf *report,
		   struct err *e);
