/*
 * snapshot/openmetadata/preflight.h - is this database ready for an upgrade of OpenMetadata? Questions, each with an answer (OK,
 * WARN, FAIL, INFO), what was found, and what to do.
 *
 * Reads only: neither the database nor the catalog changes. What it prints of the database are names, types, versions
 * and numbers, never a value out of `$.connection` or `$.authenticationMechanism` (but for the one enumerated word that
 * is asked about). Any thread; no state.
 */
#pragma once

#include "snapshot/config/config.h"
#include "snapshot/job.h"
#include "snapshot/store/catalog.h"

/* "1.4.0": up to four numbers. */
struct preflight_version {
	unsigned part[4];
	bool known;
};
/* -EINVAL when the text is not one. */
int preflight_version_parse(struct preflight_version *ret, const char *text);

struct preflight_request {
	const struct source_config *source;
	const char *label;       /* the source as commands name it */
	struct catalog *catalog; /* NULL: there is none yet, or it cannot be read: then why is in catalog_err */
	int64_t source_id;       /* 0: the catalog does not know the source */
	const struct err *catalog_err;
	const char *to;              /* version meant; NULL: any newer one */
	const struct waiter *waiter; /* may be NULL */
	/* Told of the connection once it stands, and by NULL before it is closed; a failure ends it. May be NULL. */
	int (*connected)(void *arg, struct db_conn *c, struct err *e);
	void *arg;
};

enum preflight_status { PREFLIGHT_OK, PREFLIGHT_INFO, PREFLIGHT_WARN, PREFLIGHT_FAIL };

struct preflight_line {
	const char *id;
	enum preflight_status status;
	struct strbuf found;
	struct strbuf todo; /* lines; empty: nothing */
};

struct preflight_report {
	char *source;
	char *from; /* NULL: not found */
	char *to;   /* NULL: any */
	char *server;
	int64_t checked_ms;
	bool ready; /* no check failed */
	struct preflight_line *lines;
	size_t n_lines;
};
void preflight_report_done(struct preflight_report *r);

/* EINVAL: `to` is no version; EINTR. All else that goes wrong is a line of the report. */
int preflight_run(const struct preflight_request *rq, struct preflight_report *ret, struct err *e);
void preflight_text(const struct preflight_report *r, struct strbuf *out);
/* {"source":..,"server":..,"ready":..,"from":..,"to":..,"checked":..,"checks":[{"id":..,"status":"ok|info|warn|fail",
 * "found":..,"do":..}]}; what is not known is null. */
void preflight_json(const struct preflight_report *r, struct strbuf *out);

/* ---- the rows (preflight_rows.c) ---- */

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
/* A name out of the database as one may print it: control characters and bytes that are not UTF-8 as \xNN, cut when it
 * is long. */
void preflight_add_name(struct strbuf *out, const char *name, size_t len);
/* The same, of any length. */
void preflight_add_text(struct strbuf *out, const char *text, size_t len);
void preflight_found_text(const struct preflight_found *f, struct strbuf *out); /* "a, b and 3 more" */

/* ---- the server's own configuration (preflight_server.c) ---- */

/* What openmetadata.yaml or an environment file says of the secrets manager. */
void preflight_secrets_manager(const char *path, struct preflight_line *l);
