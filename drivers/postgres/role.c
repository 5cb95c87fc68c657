/*
 * drivers/postgres/role.c - session_replication_role: as `replica` neither triggers, rules and foreign keys nor event
 * triggers act on what we do, but for those that say so.
 *
 * Owns struct pg_conn's `role`, which is of the transaction; no locks.
 */
#include "drivers/postgres/internal.h"

static int pg_ask_role(struct pg_conn *c, struct err *e)
{
	struct err refusal = ERR_INIT;
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, "session_replication_role",
			 "SELECT pg_catalog.current_setting('is_superuser') = 'on',"
			 " pg_catalog.current_setting('session_replication_role') = 'replica'",
			 0, NULL, e);
	if (r == 0)
		r = pg_try(c, "session_replication_role", "SET LOCAL session_replication_role = replica", &refusal, e);
	if (r < 0)
		return r;
	if (refusal.code && strcmp(refusal.sqlstate, "42501")) {
		*e = refusal;
		return err_code(e);
	}
	c->role = (struct pg_role){
	    .known = true,
	    .superuser = *PQgetvalue(res, 0, 0) == 't',
	    .may_replica = !refusal.code,
	    .is_replica = !refusal.code || *PQgetvalue(res, 0, 1) == 't',
	};
	return 0;
}

int pg_role_set(struct pg_conn *c, bool replica, struct err *e)
{
	int r = c->role.known ? 0 : pg_ask_role(c, e);
	if (r < 0)
		return r;
	replica = replica && c->role.may_replica;
	if (c->role.is_replica == replica)
		return 0;
	r = pg_query(c, NULL, "session_replication_role",
		     replica ? "SET LOCAL session_replication_role = replica"
			     : "SET LOCAL session_replication_role = origin",
		     0, NULL, e);
	if (r == 0)
		c->role.is_replica = replica;
	return r;
}
