/*
 * snapshot/restore/restore.h - a live database back to a snapshot: safety snapshot, difference, one transaction,
 * verified, committed.
 */
#pragma once

#include "snapshot/restore/transaction.h"

struct backup_tree;
struct sql_file;

/* What is asked for. */
struct restore_request {
	/* One of the three: */
	int64_t snapshot_id;        /* of this catalog */
	struct backup_tree *backup; /* imported first, verified against its manifest (EBADMSG) */
	const struct sql_file *sql; /* of the former command line; `tables` and `force` mean nothing then */
	const char *label;          /* for status and journal: "snapshots/x", "restore/x" */
	char **tables;              /* NULL: all; else NULL-terminated names */
	const char *entity; /* "TABLE/ROW", the row's file: only this entity; NULL: all. Not with backup or tables */
	bool dry_run;       /* only the plan */
	bool force;         /* other engine or application version */
	enum restore_policy policy; /* what may be done to the target */
};

int restore_run(struct restore *rs, struct err *e);
