/*
 * snapshot/service/service.h - the running service: sources, jobs and what they do to the catalog. Both programs stand
 * on it.
 *
 * Any thread may call it and the other headers of snapshot/service/. One job at a time runs for a source (EBUSY, also
 * across processes); each job has a thread of its own. Calls that wait take a `struct waiter`: another thread ends the
 * wait by service_interrupt(). Locks: service.mutex only, never held over a driver or catalog call.
 */
#pragma once

#include "snapshot/service/import.h"
#include "snapshot/service/now.h"
#include "snapshot/service/preflight.h"
#include "snapshot/service/restore.h"
#include "snapshot/service/snapshot.h"
#include "snapshot/service/sources.h"
#include "snapshot/service/status.h"
#include "snapshot/service/verify.h"

/* Opens the catalog, settles what a crash left (half snapshots, journalled restores). config stays the caller's. */
int service_open(struct service **ret, const struct config *config, struct err *e);
/* Cancels running jobs, waits for them, closes the catalog. */
void service_close(struct service *svc);
void service_interrupt(struct service *svc, struct waiter *w);
DEFINE_CLEANUP(cleanup_service, struct service, service_close);
