/*
 * snapshot/restore/safety.h - the state under the lock as a listed snapshot, before anything is changed.
 */
#pragma once

#include "snapshot/restore/transaction.h"

/* In the transaction of begin(DB_WRITE). Sets rs->safety_id and safety_name, and notes them in the journal; sql (may be
 * NULL) gets the schema's text. */
int restore_take_safety(struct restore *rs, struct db_schema *live, struct strbuf *sql, struct err *e);
