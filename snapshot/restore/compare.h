/*
 * snapshot/restore/compare.h - a live database against a snapshot: what verify --live asks, and what tells after a lost
 * COMMIT or a crash which of two states the database holds.
 *
 * Runs on the job's thread; nothing is written.
 */
#pragma once

#include "drivers/driver.h"
#include "snapshot/job.h"
#include "snapshot/restore/plan.h"
#include "snapshot/store/catalog.h"

enum compared {
	COMPARED_SAME,
	COMPARED_ROWS,        /* other rows or tables */
	COMPARED_DEFINITIONS, /* only other definitions: an index, a view, a trigger */
	COMPARED_COUNTERS,    /* only other counters: sequences, AUTO_INCREMENT */
};

/* The live database (conn open, no transaction) against a snapshot: an enum compared, or -errno. tables: only these and
 * only their rows, NULL: all (of a backup of one table: that one). plan may be NULL. */
int restore_compare_live(struct catalog *c, struct db_conn *conn, int64_t snapshot_id, char *const *tables,
			 struct job_ctl *job, struct restore_plan *plan, struct err *e);

/* After a restore of one entity: COMPARED_SAME, the tables that can hold rows of it are as that was to leave them;
 * COMPARED_ROWS, they are not; or -errno. */
int restore_compare_entity(struct catalog *c, struct db_conn *conn, int64_t safety_id, int64_t target_id,
			   const char *entity, struct job_ctl *job, struct err *e);
