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

/* The live database (conn open, no transaction) against a snapshot: 0 the same, 1 other rows or tables, 2 only other
 * definitions (an index, a view, a trigger), 3 only other counters (sequences, AUTO_INCREMENT), -errno. tables: only
 * these and only their rows, NULL: all (of a backup of one table: that one). plan may be NULL. */
int restore_compare_live(struct catalog *c, struct db_conn *conn, int64_t snapshot_id, char *const *tables,
			 struct job_ctl *job, struct restore_plan *plan, struct err *e);

/* After a restore of one entity: 0 the tables that can hold rows of it are as that was to leave them, 1 they are not,
 * -errno. */
int restore_compare_entity(struct catalog *c, struct db_conn *conn, int64_t safety_id, int64_t target_id,
			   const char *entity, struct job_ctl *job, struct err *e);
