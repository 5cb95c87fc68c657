/*
 * base/workers.h - threads that share one piece of work: the first failure is kept, and who waits is told of it.
 *
 * The queue and its condition variables are the owner's; `wake` is called, from the thread that failed and with no lock
 * held, so that the owner can wake those that wait for more work. Lock: workers.mutex, never held over a call out.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct workers {
	pthread_mutex_t mutex; /* of `why` */
	struct err why;        /* of the first failure */
	atomic_int failed;     /* its -errno; 0: none */
	void (*wake)(void *arg);
	void *arg;
	pthread_t *thread;
	size_t n;
};

/* wake may be NULL. */
void workers_init(struct workers *w, void (*wake)(void *arg), void *arg);
/* Starts a thread that runs fn(arg, &err); what fn returns below 0 is a failure. */
int workers_start(struct workers *w, int (*fn)(void *arg, struct err *e), void *arg, struct err *e);
/* Notes a failure of any thread, the caller's included; the first one stays. Returns r. */
int workers_fail(struct workers *w, int r, const struct err *why);
/* The first failure's -errno with its words in *e, or 0. */
int workers_failure(struct workers *w, struct err *e);
static inline bool workers_failed(const struct workers *w)
{
	return atomic_load_explicit(&((struct workers *)w)->failed, memory_order_acquire) != 0;
}
/* Waits for all threads; may be called again. */
void workers_join(struct workers *w);
/* After workers_join. */
void workers_done(struct workers *w);
