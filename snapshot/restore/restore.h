/*
 * snapshot/restore/restore.h - a live database back to a snapshot: safety snapshot, difference, one transaction, verified,
 * committed.
 */
#pragma once

#include "snapshot/service/service.h"
#include "snapshot/stream/stream.h"

/* A snapshot of the catalog as what to make a database of. */
struct target {
	struct db_schema
	    *schema; /* tables as the codecs describe them, sequences and auto_increment from the manifest */
	struct version_list versions; /* same order as schema->tables */
	struct strbuf sql;
};
int target_load(struct catalog *c, int64_t snapshot_id, struct target *ret, struct err *e);
void target_done(struct target *t);

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
int restore_run(struct restore *rs, struct err *e);

/* Its pieces, for what else writes to a database in one transaction (sqlfile/restore.c). All but the first and the last
 * inside the transaction of begin(DB_WRITE). */
struct table_plan *restore_plan_add(struct restore_plan *p, const char *table);
/* 1: some table of `live` has a row. */
int restore_has_rows(struct db_conn *conn, const struct db_schema *live, struct err *e);
/* The state under the lock as a listed snapshot, before anything is changed; sql (may be NULL) gets the schema's text.
 */
int restore_take_safety(struct restore *rs, struct db_schema *live, struct strbuf *sql, struct err *e);
int restore_commit(struct restore *rs, struct err *e);

/* One row: file text of table `table`, upserted. Uses catalog, conn, source_id, base_id, policy, journal_id, job of rs.
 */
int restore_upsert_row(struct restore *rs, const char *table, const char *file_name, const char *text, size_t len,
		       struct err *e);

/* The live database (conn open, no transaction) against a snapshot: 0 the same, 1 other rows or tables, 2 only other
 * definitions (an index, a view, a trigger), 3 only other counters (sequences, AUTO_INCREMENT), -errno. tables: only
 * these and only their rows, NULL: all (of a backup of one table: that one). plan may be NULL. */
int restore_compare_live(struct catalog *c, struct db_conn *conn, int64_t snapshot_id, char *const *tables,
			 struct job_ctl *job, struct restore_plan *plan, struct err *e);

/* After a restore of one entity: 0 the tables that can hold rows of it are as that was to leave them, 1 they are not,
 * -errno. */
int restore_compare_entity(struct catalog *c, struct db_conn *conn, int64_t safety_id, int64_t target_id,
			   const char *entity, struct job_ctl *job, struct err *e);

/* Before rs->entity in the journal's words on a restore that has begun. */
#define RESTORE_ENTITY_MARK "entity "
