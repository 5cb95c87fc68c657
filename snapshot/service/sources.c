/*
 * snapshot/service/sources.c - see sources.h; and what every part of the service asks and says of a source.
 *
 * Any thread. Locks: service.mutex; who listens is called without it.
 */
#include "snapshot/service/sources.h"

#include <errno.h>

#include "base/clock.h"
#include "snapshot/service/internal.h"

struct catalog *service_catalog(struct service *svc)
{
	return svc->catalog;
}

size_t service_sources(const struct service *svc)
{
	return svc->n_sources;
}

const struct source_config *service_source(const struct service *svc, size_t source)
{
	return svc->source[source].config;
}

int64_t service_source_id(const struct service *svc, size_t source)
{
	return svc->source[source].id;
}

int service_find_source(const struct service *svc, const char *name)
{
	for (size_t i = 0; i < svc->n_sources; i++)
		if (!strcmp(svc->source[i].config->name, name))
			return (int)i;
	return -ENOENT;
}

void service_on_change(struct service *svc,
		       void (*fn)(void *arg, enum service_event ev, size_t source, int64_t snapshot_id,
				  const char *name),
		       void *arg)
{
	MUTEX_GUARD(&svc->mutex);
	svc->on_change = fn;
	svc->on_change_arg = arg;
}

void service_tell(struct service *svc, enum service_event ev, size_t source, int64_t snapshot_id, const char *name)
{
	void (*fn)(void *arg, enum service_event ev, size_t source, int64_t snapshot_id, const char *name);
	void *arg;
	{
		MUTEX_GUARD(&svc->mutex);
		fn = svc->on_change;
		arg = svc->on_change_arg;
	}
	if (fn)
		fn(arg, ev, source, snapshot_id, name);
}

void service_say_error(struct service *svc, size_t source, const char *what, const struct err *e)
{
	struct source_state *s = &svc->source[source];
	MUTEX_GUARD(&svc->mutex);
	(void)snprintf(s->last_error, sizeof s->last_error, "%s: %s", what, e->msg);
	s->last_error_ms = clock_ms();
}

void service_note(struct service *svc, size_t source, enum journal_op op, const char *subject,
		  const struct requester *who, int r, const struct err *e)
{
	int64_t id;
	struct err why = ERR_INIT;
	int q =
	    journal_add(svc->catalog, svc->source[source].id, op, subject, who->uid, who->pid, who->program, &id, &why);
	if (q == 0)
		q = journal_state(svc->catalog, id, r == 0 ? JOURNAL_DONE : JOURNAL_FAILED, r == 0 ? NULL : e->msg, 0,
				  0, true, &why);
	if (q == 0)
		return;
	_cleanup_free_ char *what = xasprintf("%s %s", journal_op_word(op), subject);
	service_say_error(svc, source, what, r < 0 ? e : &why);
}

int64_t service_newest_id(struct service *svc, size_t source)
{
	struct snapshot_info s;
	if (catalog_latest(svc->catalog, svc->source[source].id, &s, ERR_DROP) < 0)
		return 0;
	int64_t id = s.id;
	snapshot_info_done(&s);
	return id;
}

int service_find_id(struct service *svc, size_t source, const char *name, int64_t *ret, struct err *e)
{
	struct snapshot_info s;
	int r = catalog_find(svc->catalog, svc->source[source].id, name, &s, e);
	if (r < 0)
		return r;
	*ret = s.id;
	snapshot_info_done(&s);
	return 0;
}

int service_name_is_free(struct service *svc, size_t source, const char *name, struct err *e)
{
	struct snapshot_info there;
	struct err why = ERR_INIT;
	int r = catalog_find(svc->catalog, svc->source[source].id, name, &there, &why);
	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		*e = why;
		return r;
	}
	snapshot_info_done(&there);
	return err_set(e, EEXIST, "snapshot '%s' exists already", name);
}

int service_free_name(struct service *svc, size_t source, int64_t taken_ms, char ret[64], struct err *e)
{
	char stamp[32];
	snapshot_name_default(taken_ms, stamp);
	(void)snprintf(ret, 64, "%s", stamp);
	int r;
	for (int n = 2; (r = service_name_is_free(svc, source, ret, e)) == -EEXIST; n++)
		(void)snprintf(ret, 64, "%s-%d", stamp, n);
	return r;
}

void service_sweep(struct service *svc)
{
	if (store_sweep(svc->catalog, ERR_DROP) == 0)
		store_shrink(svc->catalog);
}
