/*
 * snapshot/service/verify.h - snapshots, the catalog and live databases are compared with what is noted of them.
 */
#pragma once

#include "snapshot/job.h"
#include "snapshot/restore/plan.h"
#include "snapshot/service/sources.h"

/* Every row of the snapshot is read, hashed and compared with its digests; the journal notes what came of it. *report:
 * a line for each damaged table. */
int service_verify(struct service *svc, int64_t snapshot_id, struct strbuf *report, struct err *e);
/* The live database against the snapshot: 0 equal; 1 differs, the plan says what; -errno. */
int service_verify_live(struct service *svc, size_t source, int64_t snapshot_id, struct waiter *w,
			struct restore_plan *ret, struct err *e);
/* Whole catalog: SQLite's integrity_check, every pack's SHA-256, every reference. */
int service_check(struct service *svc, struct strbuf *report, struct err *e);
