/*
 * snapshot/capture/capture.h - a live database into the catalog: the merge of each table with its newest version.
 */
#pragma once

#include "snapshot/stream/stream.h"

/* Everything about one capture; the members are borrowed. */
struct capture {
	struct catalog *catalog;
	struct db_conn *conn;     /* after begin */
	struct db_schema *schema; /* as begin gave it; completed by the driver's `finish` */
	struct snapshot_writer *writer;
	struct job_ctl *job;
	const char *name;                /* NULL: unlisted */
	int64_t base_id;                 /* snapshot to merge with; 0: none */
	bool whole;                      /* read everything, whatever the base's marks promise */
	const struct strbuf *schema_sql; /* the schema's text, in a transaction that has written rows: the driver is not
					  * asked for it, and no marks are made. NULL: neither */
	struct db_conn *
	    *more; /* further connections that see the same moment (begin_like): tables are read side by side */
	size_t n_more;
	struct names_update *names; /* capture_run's own */
	bool wasted;       /* out: packs were stored that nothing names (a table was read again): a sweep is due */
	struct err damage; /* out: words on what of base_id could not be read; code 0: nothing. The capture is whole all
			      the same */
	struct err lost;   /* out: likewise why it has no index of entities yet */
};

/* Every so many snapshots a table is read whole although its marks say what changed: the marks rest on what servers
 * promise about row versions. */
#define FULL_READ_EVERY 16U

/* Reads all tables in the transaction of conn, then sequences and schema text, and commits the snapshot.
 * *ret_schema_sql (may be NULL) gets the schema text. The caller ends the transactions. */
int capture_run(struct capture *cp, struct strbuf *ret_schema_sql, struct err *e);
