/*
 * snapshot/restore/transaction.c - see transaction.h. Runs on the job's thread.
 */
#include "snapshot/restore/transaction.h"

int restore_commit(struct restore *rs, struct err *e)
{
	int r = db_driver_of(rs->conn)->commit(rs->conn, e);
	rs->uncertain = r < 0;
	return r;
}
