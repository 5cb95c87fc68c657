/*
 * fs/tree/counted.c - what was counted of the pairs of snapshots used last: it tells which folders changes/A..B has,
 * and the summary.
 *
 * Counting reads what changed, so it is done only where waiting is allowed, once for all who ask. Any thread. Lock:
 * counted_cache.mutex, then that of the cache; never held while counting.
 */
#include <errno.h>

#include "base/clock.h"
#include "fs/tree/internal.h"

#define COUNTED_PAIRS 16
#define COUNTED_POLL_MS 50 /* how soon an interrupted request that waits for another's counting notices */

/* A pair that somebody counts now; lives on the counter's stack. */
struct counting {
	int64_t before, after;
	struct counting *next;
};

struct counted_cache {
	pthread_mutex_t mutex;
	pthread_cond_t done;
	struct lru *pairs; /* struct counted, by the ids of the two */
	struct counting *busy;
};

static void counted_free(struct lru_entry *x)
{
	struct counted *c = (struct counted *)x;
	changes_done(&c->changes);
	strbuf_done(&c->text);
	free(c);
}

struct counted_cache *counted_cache_new(void)
{
	struct counted_cache *cc = xcalloc(1, sizeof *cc);
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&cc->mutex, NULL);
	(void)pthread_cond_init(&cc->done, &attr);
	(void)pthread_condattr_destroy(&attr);
	cc->pairs = lru_new(COUNTED_PAIRS, counted_free);
	return cc;
}

void counted_cache_free(struct counted_cache *cc)
{
	if (!cc)
		return;
	lru_free(cc->pairs);
	(void)pthread_cond_destroy(&cc->done);
	(void)pthread_mutex_destroy(&cc->mutex);
	free(cc);
}

/* With the mutex held. */
static bool counted_is_busy(const struct counted_cache *cc, int64_t before, int64_t after)
{
	const struct counting *b = cc->busy;
	while (b && (b->before != before || b->after != after))
		b = b->next;
	return b;
}

void counted_unref(struct counted_ref *r)
{
	if (r->counted)
		lru_unref(r->cache->pairs, &r->counted->cached);
	r->counted = NULL;
}

/* Nobody asks for the pair again before it is out of `busy`. What has damage is not kept for the next one who asks: it
 * may have been a disk that answers again. */
static int counted_make(struct tree *t, struct counting *busy, const atomic_bool *stop, struct counted **ret,
			struct err *e)
{
	struct counted_cache *cc = t->counted;
	uint64_t before = (uint64_t)busy->before, after = (uint64_t)busy->after;
	struct counted *c = xcalloc(1, sizeof *c);
	int r = changes_count(t->catalog, busy->before, busy->after, stop, &c->changes, &c->damage);
	if (r == 0)
		changes_text(&c->changes, &c->text);
	bool use = r == 0 || c->changes.n;
	{
		MUTEX_GUARD(&cc->mutex);
		struct counting **at = &cc->busy;
		while (*at != busy)
			at = &(*at)->next;
		*at = busy->next;
		if (use)
			c = (struct counted *)lru_add(cc->pairs, &c->cached, before, after, 1);
		if (use && r < 0)
			lru_forget(cc->pairs, before, after);
		(void)pthread_cond_broadcast(&cc->done);
	}
	if (use) {
		*ret = c;
		return 0;
	}
	(void)err_set(e, -r, "%s", c->damage.msg);
	counted_free(&c->cached);
	return r;
}

static void counted_pause(struct counted_cache *cc)
{
	struct timespec until = clock_after(CLOCK_MONOTONIC, COUNTED_POLL_MS);
	(void)pthread_cond_timedwait(&cc->done, &cc->mutex, &until);
}

int counted_get(struct tree *t, int64_t before, int64_t after, const struct tree_wait *w, struct counted_ref *ret,
		struct err *e)
{
	struct counted_cache *cc = ret->cache = t->counted;
	struct counting busy = {.before = before, .after = after};
	{
		MUTEX_GUARD(&cc->mutex);
		while (!(ret->counted = (struct counted *)lru_get(cc->pairs, (uint64_t)before, (uint64_t)after))) {
			if (!w)
				return TREE_MUST_WAIT;
			if (atomic_load(&w->waiter->interrupted))
				return err_set(e, EINTR, "interrupted");
			if (!counted_is_busy(cc, before, after))
				break;
			counted_pause(cc);
		}
		if (ret->counted)
			return 0;
		busy.next = cc->busy;
		cc->busy = &busy;
	}
	return counted_make(t, &busy, &w->waiter->interrupted, &ret->counted, e);
}
