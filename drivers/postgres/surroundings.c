/*
 * drivers/postgres/surroundings.c - what names a table from outside of it without the server's knowing a dependency: it
 * would be lost without a word if the table were made anew.
 *
 * That is a subscription: DROP TABLE takes the table off its list, and only ALTER SUBSCRIPTION ... REFRESH PUBLICATION
 * puts it back, which asks the publisher and cannot run in a transaction. So it is named, and nothing is done. All else
 * that points in is in pg_depend. Reads only; no state, no locks.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

int pg_refuse_lost(struct pg_conn *c, const char *oids, struct err *refusal, struct err *e)
{
	static const char sql[] = "SELECT r.srrelid::pg_catalog.regclass, pg_catalog.pg_describe_object("
				  "'pg_catalog.pg_subscription'::pg_catalog.regclass, r.srsubid, 0)"
				  " FROM pg_catalog.pg_subscription_rel r WHERE r.srrelid = ANY ($1::pg_catalog.oid[])"
				  " ORDER BY 1, 2";
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, "cannot read the subscriptions", sql, 1, &oids, e);
	if (r < 0 || !PQntuples(res))
		return r;
	(void)err_set(refusal, EXDEV,
		      "%s receives rows by %s%s: made anew it would not any more; drop the subscription, and create it"
		      " after the restore",
		      PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1),
		      PQntuples(res) > 1 ? " (and there are others)" : "");
	return 0;
}
