/*
 * snapshot/service/preflight.h - a source's preflight (openmetadata/preflight.h), kept for a while. Any thread.
 */
#pragma once

#include "snapshot/job.h"
#include "snapshot/service/sources.h"

/* The report of openmetadata/preflight.h, at most a minute old; made by one caller at a time, others wait for it.
 * *ret_at_ms: when it was made (CLOCK_MONOTONIC). No job: it runs beside others and leaves nothing in the journal.
 * EINTR. */
int service_preflight(struct service *svc, size_t source, struct waiter *w, struct strbuf *out, int64_t *ret_at_ms,
		      struct err *e);
#define PREFLIGHT_FRESH_MS 60000
