/*
 * snapshot/service/sources.h - the sources of the running service, and who is told of what becomes of them.
 *
 * Any thread. A source is its index, 0 .. service_sources() - 1.
 */
#pragma once

#include "snapshot/config/config.h"
#include "snapshot/store/store.h"

struct service;

struct catalog *service_catalog(struct service *svc);
size_t service_sources(const struct service *svc);
const struct source_config *service_source(const struct service *svc, size_t source);
int64_t service_source_id(const struct service *svc, size_t source);  /* catalog id */
int service_find_source(const struct service *svc, const char *name); /* index or -ENOENT */

/* Called (from any thread, no lock held) after the set of snapshots of a source changed, or a status text did. */
enum service_event { SERVICE_SNAPSHOTS_CHANGED, SERVICE_SNAPSHOT_GONE };
void service_on_change(struct service *svc,
		       void (*fn)(void *arg, enum service_event ev, size_t source, int64_t snapshot_id,
				  const char *name),
		       void *arg);

/* What no job came of, as the status's last error. */
void service_say_error(struct service *svc, size_t source, const char *what, const struct err *e);
