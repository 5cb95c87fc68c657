/*
 * snapshot/service/status.h - what a source says of itself. Any thread; nothing waits for a job.
 */
#pragma once

#include "snapshot/job.h"
#include "snapshot/service/sources.h"

void service_status(struct service *svc, size_t source, struct strbuf *out);
int service_journal(struct service *svc, size_t source, struct strbuf *out, struct err *e);
void service_progress(struct service *svc, size_t source, struct progress *ret);
