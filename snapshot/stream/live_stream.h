/*
 * snapshot/stream/live_stream.h - the rows of a live table as a stream.
 */
#pragma once

#include "drivers/driver.h"
#include "snapshot/job.h"
#include "snapshot/row/row.h"
#include "snapshot/stream/row_stream.h"

/*
 * Rows of a live table. ordered: in the server's index order, and -EILSEQ at the first row that breaks the byte order
 * (then open it again with ordered false: rows are sorted here, on disk, memory bounded). -EDOM: see row_encode.
 * t describes what codec encodes.
 */
int stream_live(struct row_stream **ret, struct db_conn *conn, const struct db_table *t, const struct row_codec *codec,
		bool ordered, struct job_ctl *job, struct err *e);

/* The rows that may be newer than `mark`, ordered or sorted here; *ret_unchanged: how many others there are (see
 * db_driver.scan_changed). */
int stream_changed(struct row_stream **ret, struct db_conn *conn, const struct db_table *t,
		   const struct row_codec *codec, const char *mark, bool ordered, uint64_t *ret_unchanged,
		   struct job_ctl *job, struct err *e);
