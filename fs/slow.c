/*
 * fs/slow.c - see slow.h. Threads: its own, detached. Lock: slow.mutex.
 */
#include "fs/slow.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define SLOW_IDLE_MS 10000
#define SLOW_STACK (512u << 10)

struct slow_work {
	struct slow_work *next;
	void (*run)(void *arg);
	void *arg;
};

struct slow {
	pthread_mutex_t mutex;
	pthread_cond_t work_came;
	pthread_cond_t thread_went;
	struct slow_work *first;
	struct slow_work **last;
	unsigned threads;
	unsigned idle;
	unsigned waiting; /* entries of the line */
	bool stopping;
};

struct slow *slow_new(void)
{
	struct slow *s = xcalloc(1, sizeof *s);
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&s->mutex, NULL);
	(void)pthread_cond_init(&s->work_came, &attr);
	(void)pthread_cond_init(&s->thread_went, &attr);
	(void)pthread_condattr_destroy(&attr);
	s->last = &s->first;
	return s;
}

static void *slow_thread(void *arg)
{
	struct slow *s = arg;
	(void)pthread_mutex_lock(&s->mutex);
	for (;;) {
		if (!s->first) {
			if (s->stopping)
				break;
			struct timespec until = clock_after(CLOCK_MONOTONIC, SLOW_IDLE_MS);
			s->idle++;
			int r = pthread_cond_timedwait(&s->work_came, &s->mutex, &until);
			s->idle--;
			if (r == ETIMEDOUT && !s->first)
				break;
			continue;
		}
		struct slow_work *w = s->first;
		s->first = w->next;
		if (!s->first)
			s->last = &s->first;
		s->waiting--;
		(void)pthread_mutex_unlock(&s->mutex);
		w->run(w->arg);
		free(w);
		(void)pthread_mutex_lock(&s->mutex);
	}
	s->threads--;
	(void)pthread_cond_broadcast(&s->thread_went);
	(void)pthread_mutex_unlock(&s->mutex);
	return NULL;
}

static int slow_start_thread(struct slow *s)
{
	pthread_attr_t attr;
	pthread_t thread;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, SLOW_STACK);
	int r = pthread_create(&thread, &attr, slow_thread, s);
	(void)pthread_attr_destroy(&attr);
	return r;
}

void slow_run(struct slow *s, void (*run)(void *arg), void *arg)
{
	struct slow_work *w = xmalloc(sizeof *w);
	*w = (struct slow_work){.run = run, .arg = arg};
	MUTEX_GUARD(&s->mutex);
	*s->last = w;
	s->last = &w->next;
	s->waiting++;
	if (s->waiting > s->idle && s->threads < SLOW_THREADS) {
		int r = slow_start_thread(s);
		if (r == 0)
			s->threads++;
		else if (s->threads == 0)
			log_error("cannot start a thread: %s; a request waits", strerror(r));
	}
	(void)pthread_cond_signal(&s->work_came);
}

bool slow_drain(struct slow *s, unsigned timeout_ms)
{
	struct timespec until = clock_after(CLOCK_MONOTONIC, timeout_ms);
	MUTEX_GUARD(&s->mutex);
	s->stopping = true;
	(void)pthread_cond_broadcast(&s->work_came);
	while (s->threads > 0)
		if (pthread_cond_timedwait(&s->thread_went, &s->mutex, &until) == ETIMEDOUT)
			return s->threads == 0;
	return true;
}

void slow_free(struct slow *s)
{
	if (!s)
		return;
	(void)pthread_cond_destroy(&s->work_came);
	(void)pthread_cond_destroy(&s->thread_went);
	(void)pthread_mutex_destroy(&s->mutex);
	free(s);
}
