/*
 * snapshot/restore/policy.h - what a source's policy (`restore = off | empty | replace`) lets be done to its database.
 * Nothing else refuses by it.
 */
#pragma once

#include "drivers/driver.h"
#include "snapshot/config/config.h"

enum restore_act {
	RESTORE_ACT_DATABASE, /* all of it, some tables or an entity, from a snapshot or a backup */
	RESTORE_ACT_FILE,     /* the tables of a .sql file */
	RESTORE_ACT_ROW,      /* one row, by its file */
};

/* EPERM; ENOTEMPTY when there are rows that must not be written over. has_rows: false also where nobody knows yet. */
int restore_may(enum restore_policy policy, enum restore_act act, bool has_rows, struct err *e);
/* The same, looking for rows in the tables of `live` where it matters. In a transaction of conn. */
int restore_may_over(enum restore_policy policy, enum restore_act act, struct db_conn *conn,
		     const struct db_schema *live, struct err *e);
/* Whether a row would not be refused, without the words. */
static inline bool restore_may_write_rows(enum restore_policy policy)
{
	return policy == RESTORE_REPLACE;
}
