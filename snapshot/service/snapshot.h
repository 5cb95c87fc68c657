/*
 * snapshot/service/snapshot.h - snapshots are taken, waited for, renamed, held and removed. Any thread.
 */
#pragma once

#include "snapshot/job.h"
#include "snapshot/service/sources.h"

struct keep_rules;
struct prune_list;

/* Returns when the moment is fixed; the rows are taken in the background. name NULL: default name. *ret_id is the
 * snapshot's id, pending until it is complete. EEXIST, EINVAL, EBUSY, and the server's own refusals. */
int service_snapshot(struct service *svc, size_t source, const char *name, const struct requester *who, int64_t *ret_id,
		     struct err *e);
/* A snapshot that is still being taken: its id and name, 0; else -ENOENT. */
int service_pending(struct service *svc, size_t source, int64_t *ret_id, char name[256]);
/* Waits until snapshot `id` is complete: 0, or the errno of the capture, or EINTR. A complete one: 0 at once, cheap. */
int service_wait(struct service *svc, int64_t id, struct waiter *w, struct err *e);
/* Words that are to be said of snapshot `id`, complete and taken by this process: what of it has to be made later, or
 * which other one is damaged. */
bool service_warning(struct service *svc, int64_t id, struct err *ret);
int service_rename(struct service *svc, size_t source, const char *from, const char *to, const struct requester *who,
		   struct err *e);
/* Cancels it when it is pending, and waits for its end. 0: it is not there. EBUSY held. */
int service_remove(struct service *svc, size_t source, const char *name, const struct requester *who, struct err *e);
int service_hold(struct service *svc, size_t source, const char *name, bool hold, const struct requester *who,
		 struct err *e);

/* Removes what the rules do not want (store/prune.h), without freeing its space yet. */
int service_prune(struct service *svc, size_t source, const struct keep_rules *rules, bool dry_run,
		  const struct requester *who, struct prune_list *ret, struct err *e);
/* Frees what no snapshot uses, also inside of packs, and gives the space back. 1: a snapshot is being taken, the next
 * time does the rest. */
int service_compact(struct service *svc, struct err *e);
