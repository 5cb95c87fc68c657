/*
 * base/workers.c - see workers.h.
 */
#include "base/workers.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/strbuf.h"

struct worker {
	struct workers *workers;
	int (*fn)(void *arg, struct err *e);
	void *arg;
};

void workers_init(struct workers *w, void (*wake)(void *arg), void *arg)
{
	*w = (struct workers){.wake = wake, .arg = arg};
	(void)pthread_mutex_init(&w->mutex, NULL);
}

static void *worker_main(void *arg)
{
	struct worker own = *(struct worker *)arg;
	free(arg);
	struct err e = ERR_INIT;
	int r = own.fn(own.arg, &e);
	if (r < 0)
		(void)workers_fail(own.workers, r, &e);
	return NULL;
}

int workers_start(struct workers *w, int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
	struct worker *own = xmalloc(sizeof *own);
	*own = (struct worker){w, fn, arg};
	w->thread = xrealloc(w->thread, (w->n + 1) * sizeof *w->thread);
	int code = pthread_create(&w->thread[w->n], NULL, worker_main, own);
	if (code) {
		free(own);
		return err_sys(e, code, "cannot start a thread");
	}
	w->n++;
	return 0;
}

int workers_fail(struct workers *w, int r, const struct err *why)
{
	{
		MUTEX_GUARD(&w->mutex);
		if (!atomic_load(&w->failed)) {
			w->why = *why;
			atomic_store(&w->failed, r);
		}
	}
	if (w->wake)
		w->wake(w->arg);
	return r;
}

int workers_failure(struct workers *w, struct err *e)
{
	MUTEX_GUARD(&w->mutex);
	if (atomic_load(&w->failed))
		*e = w->why;
	return atomic_load(&w->failed);
}

void workers_join(struct workers *w)
{
	while (w->n)
		(void)pthread_join(w->thread[--w->n], NULL);
}

void workers_done(struct workers *w)
{
	free(w->thread);
	w->thread = NULL;
	(void)pthread_mutex_destroy(&w->mutex);
}
