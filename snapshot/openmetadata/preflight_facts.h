/*
 * snapshot/openmetadata/preflight_facts.h - what is known when the checks run. Belongs to one thread.
 */
#pragma once

#include "snapshot/openmetadata/preflight_request.h"
#include "snapshot/openmetadata/preflight_rows.h"
#include "snapshot/openmetadata/preflight_version.h"

#define PREFLIGHT_NAMED 20 /* things that one line names */

struct preflight_facts {
	const struct preflight_request *rq;
	int64_t now_ms;
	struct preflight_version from, to;
	struct err unreached;     /* code 0: there is a connection */
	struct err unread;        /* code 0: the tables could be read, else why not */
	struct err unfit;         /* code 0: the schema's text could be read */
	struct err unexamined;    /* code 0: settings, rights and counts are known */
	struct err rows_err;      /* code 0: the rows were looked at */
	struct db_schema *schema; /* NULL: unread */
	struct db_examination server;
	struct preflight_rows rows;
	char *from_text;
};
void preflight_facts_done(struct preflight_facts *f);
/* Fills what is not known yet: f has the request, the moment and `to`. EINTR; all else that goes wrong is in f. */
int preflight_gather(struct preflight_facts *f, struct err *e);

/* Whether the way from the version found to the one meant passes 1.3. What is not known may be anything. */
bool preflight_passes_1_3(const struct preflight_facts *f);
/* Deprecated in 1.3, gone in 1.4. */
bool preflight_before_1_4(const struct preflight_facts *f);
/* As the url has it: "mysql" also for MariaDB. */
bool preflight_is_engine(const struct preflight_facts *f, const char *engine);
/* SQLite, and what stands for it in tests. */
bool preflight_is_embedded(const struct preflight_facts *f);
const char *preflight_engine_name(const struct preflight_facts *f);
