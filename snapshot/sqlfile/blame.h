/*
 * snapshot/sqlfile/blame.h - the line of a `.sql` file that a server refused. One thread.
 */
#pragma once

#include "snapshot/sqlfile/apply.h"

/* r is a refusal of a row that was sent, and not of the connection or of the caller. */
bool sql_row_was_refused(const struct sql_job *j, int r);
/* After a refusal and the rollback: names the line in *e. That nothing is found out is no new failure. */
void sql_name_line(struct sql_job *j, struct err *e);
