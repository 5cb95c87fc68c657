/*
 * snapshot/row/encode.h - values as a server gives them -> the canonical line (row.h has its form). Any thread.
 */
#pragma once

#include "snapshot/row/codec.h"

/* values -> line (replaces *line). EBADMSG when a JSON value is not JSON; EDOM when a generated key value is not
 * what the row says it is (then the table needs the key of db_table without its generated columns). */
int row_encode(const struct row_codec *c, const struct db_value *values, struct strbuf *line, struct err *e);
