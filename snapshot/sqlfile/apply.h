/*
 * snapshot/sqlfile/apply.h - a `.sql` file applied to the tables it names, and what is known of them meanwhile. One
 * thread.
 */
#pragma once

#include "snapshot/restore/transaction.h"
#include "snapshot/sqlfile/map.h"
#include "snapshot/sqlfile/scan.h"

/* Rows of one load; fewer when they are large. */
#define SQL_LOAD_ROWS 500U

/* One table that the file names. */
struct sql_table {
	const struct db_table *table; /* of the schema that `begin` gave */
	const struct version_info *was;
	uint64_t rows; /* in it, by what the file has done so far */
	uint64_t inserts, deletes;
	size_t left_out;      /* values of generated columns, in each row */
	struct digest digest; /* of those rows, while `known` */
	bool known;
};

/* Where a load of rows begins and ends in the file. */
struct sql_span {
	size_t table;         /* in sql_job.tables */
	uint64_t first, last; /* rows, counted through the file from 1; first 0: none */
	uint64_t first_line, last_line;
};

struct sql_job {
	struct restore *rs;
	const struct db_driver *driver;
	const struct sql_source *src;
	struct sql_scan scan;
	struct db_schema *live;
	struct version_list safety;
	struct sql_table *tables;
	size_t n_tables;
	struct sql_map *map;  /* of the rows at hand */
	size_t current;       /* the table of `map` */
	uint64_t row;         /* the last one read */
	bool loading, server; /* `server`: the last error is a refusal of what was sent */
	struct sql_span span; /* of the load that is open, or failed */
	size_t span_bytes;
	struct hasher *hasher;
	struct strbuf line;
};

void sql_job_done(struct sql_job *j);
int sql_check_cancelled(const struct sql_job *j, struct err *e);

/* Finds the file's tables (j->scan) in the live schema. */
int sql_find_tables(struct sql_job *j, struct err *e);
/* The part of the schema that the file changes; *ret borrows, its array is the caller's. */
struct db_table *sql_part_of(const struct sql_job *j, struct db_schema *ret);
/* What the tables hold before: as the safety snapshot has it; of a dry run, counted. */
int sql_note_rows(struct sql_job *j, struct err *e);

/* The map for this item; a load that is open for other rows ends. */
int sql_use_map(struct sql_job *j, const struct sql_item *item, struct err *e);
/* Into the open load, or a new one; at most `most` rows in each. */
int sql_load_row(struct sql_job *j, const struct sql_item *item, const struct db_value *values, size_t most,
		 struct err *e);
int sql_end_load(struct sql_job *j, struct err *e);
void sql_abandon_load(struct sql_job *j);

/* All of it. Of a dry run: counted only. */
int sql_apply_file(struct sql_job *j, struct err *e);
