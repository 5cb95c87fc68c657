/*
 * snapshot/openmetadata/preflight_request.h - what is asked of a preflight.
 */
#pragma once

#include "snapshot/config/config.h"
#include "snapshot/job.h"
#include "snapshot/store/catalog.h"

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
