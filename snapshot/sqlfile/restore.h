/*
 * snapshot/sqlfile/restore.h - a `.sql` file of the former command line into a live database: safety snapshot, the
 * file's TRUNCATEs and rows, all in one transaction, read back, committed.
 *
 * Tables that the file does not name stay as they are. What the transaction holds is kept as a snapshot that is not
 * listed (rs->target_id) before COMMIT, so that a lost answer and a crash are settled as any restore is.
 */
#pragma once

#include "snapshot/restore/transaction.h"
#include "snapshot/sqlfile/read.h"

/* rs without target_id and tables, which it sets (target_id is the caller's to remove). EPERM, ENOTEMPTY (policy
 * `empty`, and a table of the file has rows), EBADMSG (the file, with its line), and the server's own refusals, with
 * the line of the row that it refused where one did. The report says how the file was read and what was compared. */
int sql_restore_run(struct restore *rs, const struct sql_file *file, struct err *e);
