/*
 * drivers/sqlstate.c - see sqlstate.h.
 */
#include "drivers/sqlstate.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int db_errno_of_sqlstate(const char *sqlstate)
{
	/* The longest prefix that matches decides; codes before their class. */
	static const struct {
		const char *prefix;
		int code;
	} states[] = {
	    {"08001", ECONNREFUSED}, /* sqlclient_unable_to_establish_sqlconnection */
	    {"08004", ECONNREFUSED}, /* rejected: MySQL's "Too many connections" */
	    {"08", ECONNRESET},      {"0A", ENOTSUP},   {"23", EEXIST},
	    {"25006", EACCES},     /* read_only_sql_transaction: a standby, or default_transaction_read_only */
	    {"25P03", ECONNRESET}, /* idle_in_transaction_session_timeout */
	    {"25P04", ECONNRESET}, /* transaction_timeout, PostgreSQL 17 */
	    {"28", EACCES},          {"3D", EINVAL}, /* no such database */
	    {"3F", EINVAL},                          /* no such schema */
	    {"40P01", EBUSY},                        /* deadlock_detected */
	    {"40001", EAGAIN},                       /* serialization_failure, and a standby's conflict with recovery */
	    {"42501", EACCES},       {"53100", ENOSPC}, {"53300", ECONNREFUSED}, /* too_many_connections */
	    {"55006", EBUSY},        {"55P03", EBUSY},                           /* lock_not_available */
	    {"57014", EINTR},                                                    /* query_canceled */
	    {"57P03", ECONNREFUSED}, /* cannot_connect_now: starting up or shutting down */
	    {"57P", ECONNRESET},     /* admin_shutdown, crash_shutdown, database_dropped, idle_session_timeout */
	    {"72000", EAGAIN},       /* snapshot_too_old */
	    {"HYT00", ETIMEDOUT},
	};
	for (size_t i = 0; sqlstate && i < sizeof states / sizeof states[0]; i++)
		if (!strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)))
			return states[i].code;
	return EIO;
}
