/*
 * snapshot/openmetadata/preflight_report.h - the report of a preflight. Belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/openmetadata/preflight_line.h"

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

void preflight_text(const struct preflight_report *r, struct strbuf *out);
/* {"source":..,"server":..,"ready":..,"from":..,"to":..,"checked":..,"checks":[{"id":..,"status":"ok|info|warn|fail",
 * "found":..,"do":..}]}; what is not known is null. */
void preflight_json(const struct preflight_report *r, struct strbuf *out);
