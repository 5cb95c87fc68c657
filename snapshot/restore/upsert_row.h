/*
 * snapshot/restore/upsert_row.h - one row written into the database by its file's text: safety snapshot, one
 * transaction, read back, committed.
 */
#pragma once

#include "snapshot/restore/transaction.h"

/* Uses catalog, conn, source_id, base_id, policy, journal_id, job of rs. */
int restore_upsert_row(struct restore *rs, const char *table, const char *file_name, const char *text, size_t len,
		       struct err *e);
