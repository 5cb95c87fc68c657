/*
 * snapshot/openmetadata/preflight_rows.h - what the checks before an upgrade ask of the rows. Belongs to one thread.
 */
#pragma once

#include "drivers/driver.h"
#include "snapshot/job.h"
#include "snapshot/openmetadata/preflight_line.h"

/* Entities that a check names: all are counted, the first ones listed. */
struct preflight_found {
	uint64_t n;
	struct strbuf names;
};

struct preflight_rows {
	bool pipelines, users, ingestion, services; /* there is such a table */
	struct preflight_found mssql;               /* Airflow services whose own database is MSSQL */
	struct preflight_found mssql_hidden;        /* ... whose connection cannot be read */
	struct preflight_found bots;                /* that log in otherwise than by JWT */
	struct preflight_found bots_without;        /* that have no way to log in */
	struct preflight_found reindexing;          /* ingestion pipelines */
	struct preflight_found reindexing_dags;
	struct preflight_found custom; /* services with a connector of their own */
};
void preflight_rows_done(struct preflight_rows *r);
/* Inside of a transaction of begin(DB_READ). */
int preflight_rows_read(struct preflight_rows *ret, struct db_conn *c, const struct db_schema *s,
			const struct waiter *w, struct err *e);
void preflight_found_text(const struct preflight_found *f, struct strbuf *out); /* "a, b and 3 more" */
