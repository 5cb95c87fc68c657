/*
 * snapshot/capture/import.h - a backup (files) into the catalog, every row verified against its manifest.
 */
#pragma once

#include "snapshot/capture/backup.h"
#include "snapshot/stream/stream.h"

/* Imports into `w` (made with taken_ms of the manifest: import_taken_ms) and commits under `name` (NULL: unlisted).
 * base_id: the snapshot to share rows with. EBADMSG when anything differs from the manifest; *report (may be NULL) gets
 * a line for each table, naming rows where the catalog still holds a snapshot with the table's digest. BACKUP_TABLE: a
 * snapshot of that table only. */
int import_run(struct catalog *c, struct backup_tree *b, struct snapshot_writer *w, int64_t source_id, int64_t base_id,
	       const char *name, struct job_ctl *job, struct strbuf *report, struct err *e);
/* The moment that the backup's manifest tells; for a BACKUP_TABLE, which has none, the newest mtime it can have: now.
 */
int import_taken_ms(struct backup_tree *b, int64_t *ret, struct err *e);
