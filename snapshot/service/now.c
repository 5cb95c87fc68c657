/*
 * snapshot/service/now.c - the moment that now/ shows: the newest snapshot while it is young or in use, else a new one.
 *
 * Any thread. Locks: service.mutex, for what a source's readers see.
 */
#include "snapshot/service/now.h"

#include <errno.h>

#include "base/clock.h"
#include "snapshot/service/internal.h"
#include "snapshot/service/snapshot.h"

#define NOW_IN_USE_MS 10000 /* a reader of now/ is seen at least this often, however small now_max_age is */

static void now_is(struct service *svc, size_t source, int64_t id, int64_t write)
{
	MUTEX_GUARD(&svc->mutex);
	svc->source[source].now_id = id;
	svc->source[source].now_used_ms = clock_mono_ms();
	svc->source[source].now_write = write;
}

int service_now_peek(struct service *svc, size_t source, int64_t *ret_id)
{
	struct source_state *s = &svc->source[source];
	int64_t age = (int64_t)s->config->now_max_age_s * 1000, now = clock_ms(), written = 0, write = 0, id = 0;
	if (journal_last_write(svc->catalog, s->id, &written, &write, ERR_DROP) < 0)
		return -EIO;
	{
		MUTEX_GUARD(&svc->mutex);
		/* A reader keeps what it began with, whatever happens to the clock, until the database is written to.
		 */
		if (s->now_id && s->now_write == write &&
		    clock_mono_ms() - s->now_used_ms < (age > NOW_IN_USE_MS ? age : NOW_IN_USE_MS))
			id = s->now_id;
	}
	struct snapshot_info info;
	if (id && catalog_get(svc->catalog, id, &info, ERR_DROP) == 0)
		snapshot_info_done(&info);
	else
		id = 0;
	/* A moment in the future is a clock that was set back, an imported one another database's: neither is "now". */
	if (!id && store_newest_taken(svc->catalog, s->id, now, &info, ERR_DROP) == 0) {
		if (info.taken_ms > written && now - info.taken_ms < age)
			id = info.id;
		snapshot_info_done(&info);
	}
	if (!id)
		return -ENOENT;
	now_is(svc, source, id, write);
	*ret_id = id;
	return 0;
}

int service_now(struct service *svc, size_t source, const struct requester *who, struct waiter *w, int64_t *ret_id,
		struct err *e)
{
	if (service_now_peek(svc, source, ret_id) == 0)
		return 0;
	int64_t id = 0, written, write;
	char name[256];
	int r = journal_last_write(svc->catalog, svc->source[source].id, &written, &write, e);
	if (r < 0)
		return r;
	/* A snapshot that is being taken has its moment just behind it: good enough, and the only one there can be. */
	r = service_pending(svc, source, &id, name);
	if (r < 0)
		r = service_snapshot(svc, source, NULL, who, &id, e);
	if (r == -EBUSY && service_pending(svc, source, &id, name) == 0)
		r = 0;
	if (r == 0)
		r = service_wait(svc, id, w, e);
	if (r < 0)
		return r;
	now_is(svc, source, id, write);
	*ret_id = id;
	return 0;
}
