/*
 * snapshot/restore/transaction.h - what a restore works with, whatever it restores: one connection, on which all of it
 * is one transaction, and what came of that.
 *
 * Belongs to the job's thread.
 */
#pragma once

#include "snapshot/config/config.h"
#include "snapshot/restore/plan.h"
#include "snapshot/stream/stream.h"

/* One restore; the members are borrowed unless said otherwise. */
struct restore {
	struct catalog *catalog;
	struct db_conn *conn; /* open, no transaction */
	int64_t source_id;
	int64_t base_id;    /* newest snapshot, for the safety snapshot to share rows with; 0: none */
	int64_t target_id;  /* snapshot to go back to; may be unlisted */
	char **tables;      /* NULL: all */
	const char *entity; /* "TABLE/ROW": only this entity (openmetadata/entity.h), by its row's file; NULL: all */
	enum restore_policy policy;
	bool force;
	bool dry_run;
	int64_t journal_id; /* 0: none (dry run) */
	struct job_ctl *job;
	struct strbuf *report;     /* warnings; may be NULL */
	struct restore_plan *plan; /* out; may be NULL */
	int64_t safety_id;         /* out: 0 when there was nothing to save */
	char safety_name[64];
	bool begun;     /* out: the target was written to */
	bool uncertain; /* out: COMMIT did not say that it was done */
};

int restore_commit(struct restore *rs, struct err *e);
