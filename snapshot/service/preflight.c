/*
 * snapshot/service/preflight.c - the preflight's report, made by one caller at a time and kept for a while.
 *
 * Any thread. A look has a connection of its own beside the jobs; service.mutex guards the list of looks and the texts,
 * and who cancels a look keeps its connection open meanwhile.
 */
#include "snapshot/service/preflight.h"

#include <errno.h>

#include "base/clock.h"
#include "snapshot/openmetadata/preflight.h"
#include "snapshot/service/internal.h"

void looks_cancel(struct service *svc, const struct waiter *w)
{
	for (struct look *l = svc->looks; l;) {
		if (l->cancelled || (w && l->waiter != w)) {
			l = l->next;
			continue;
		}
		l->cancelled = true;
		if (l->conn) {
			l->cancellers++;
			(void)pthread_mutex_unlock(&svc->mutex);
			db_driver_of(l->conn)->cancel(l->conn);
			(void)pthread_mutex_lock(&svc->mutex);
			l->cancellers--;
			(void)pthread_cond_broadcast(&svc->changed);
		}
		l = svc->looks; /* the list may be another one by now */
	}
}

/* preflight_request.connected */
static int look_connected(void *arg, struct db_conn *c, struct err *e)
{
	struct look *l = arg;
	struct service *svc = l->service;
	MUTEX_GUARD(&svc->mutex);
	while (!c && l->cancellers)
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	l->conn = c;
	return c && (l->cancelled || svc->closing) ? err_set(e, EINTR, "interrupted") : 0;
}

static int preflight_look(struct service *svc, size_t source, struct look *l, struct waiter *w, struct strbuf *out,
			  struct err *e)
{
	struct preflight_report report = {0};
	struct preflight_request rq = {.source = svc->source[source].config,
				       .label = svc->source[source].config->name,
				       .catalog = svc->catalog,
				       .source_id = svc->source[source].id,
				       .waiter = w,
				       .connected = look_connected,
				       .arg = l};
	int r = preflight_run(&rq, &report, e);
	if (r == 0)
		preflight_text(&report, out);
	preflight_report_done(&report);
	return r;
}

/* Whether the text that is there will do; waits while another one is being made. With service.mutex held. */
static int preflight_wait(struct service *svc, size_t source, const struct waiter *w, struct err *e)
{
	struct source_state *s = &svc->source[source];
	while (s->preflight_running && !svc->closing && !atomic_load(&w->interrupted))
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	if (svc->closing || atomic_load(&w->interrupted))
		return err_set(e, EINTR, "interrupted");
	return s->preflight.len && clock_mono_ms() - s->preflight_ms < PREFLIGHT_FRESH_MS;
}

int service_preflight(struct service *svc, size_t source, struct waiter *w, struct strbuf *out, int64_t *ret_at_ms,
		      struct err *e)
{
	struct source_state *s = &svc->source[source];
	struct look l = {.service = svc, .waiter = w};
	struct strbuf text = {0};
	{
		MUTEX_GUARD(&svc->mutex);
		int r = preflight_wait(svc, source, w, e);
		if (r > 0) {
			strbuf_add(out, s->preflight.data, s->preflight.len);
			*ret_at_ms = s->preflight_ms;
		}
		if (r != 0)
			return r < 0 ? r : 0;
		s->preflight_running = true;
		l.next = svc->looks;
		svc->looks = &l;
	}
	int r = preflight_look(svc, source, &l, w, &text, e);
	strbuf_adds(out, strbuf_str(&text));
	MUTEX_GUARD(&svc->mutex);
	struct look **place = &svc->looks;
	while (*place != &l)
		place = &(*place)->next;
	*place = l.next;
	s->preflight_running = false;
	if (r == 0) {
		strbuf_done(&s->preflight);
		s->preflight = text;
		s->preflight_ms = *ret_at_ms = clock_mono_ms();
	} else {
		strbuf_done(&text);
	}
	(void)pthread_cond_broadcast(&svc->changed);
	return r;
}
