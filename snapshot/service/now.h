/*
 * snapshot/service/now.h - the moment that now/ shows. Any thread.
 */
#pragma once

#include "snapshot/job.h"
#include "snapshot/service/sources.h"

/* Newest snapshot if younger than now_max_age or in use through now/, else a new one is taken and waited for. */
int service_now(struct service *svc, size_t source, const struct requester *who, struct waiter *w, int64_t *ret_id,
		struct err *e);
/* As above without taking one: ENOENT when one would have to be taken. Every call marks it as in use. */
int service_now_peek(struct service *svc, size_t source, int64_t *ret_id);
