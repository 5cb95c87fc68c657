/*
 * base/lru.c - see lru.h. A hash table for finding, a list from the newest to the oldest for letting go.
 */
#include "base/lru.h"

#include <assert.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/strbuf.h"

#define LRU_SLOTS 4096U

struct lru {
	pthread_mutex_t mutex;
	void (*free_entry)(struct lru_entry *x);
	size_t limit, used;
	struct lru_entry *newest, *oldest;
	struct lru_entry *slot[LRU_SLOTS];
};

struct lru *lru_new(size_t limit, void (*free_entry)(struct lru_entry *x))
{
	struct lru *l = xcalloc(1, sizeof *l);
	(void)pthread_mutex_init(&l->mutex, NULL);
	l->limit = limit;
	l->free_entry = free_entry;
	return l;
}

/* Where the entry hangs, or where one would. */
static struct lru_entry **lru_slot(struct lru *l, uint64_t a, uint64_t b)
{
	struct lru_entry **slot = &l->slot[(a * 31 + b) % LRU_SLOTS];
	while (*slot && ((*slot)->a != a || (*slot)->b != b))
		slot = &(*slot)->next;
	return slot;
}

static void lru_unlink(struct lru *l, struct lru_entry *x)
{
	*(x->newer ? &x->newer->older : &l->newest) = x->older;
	*(x->older ? &x->older->newer : &l->oldest) = x->newer;
}

static void lru_link(struct lru *l, struct lru_entry *x)
{
	x->newer = NULL;
	x->older = l->newest;
	*(l->newest ? &l->newest->newer : &l->oldest) = x;
	l->newest = x;
}

/* Out of the cache; it still holds the cache's reference. */
static void lru_take_out(struct lru *l, struct lru_entry *x)
{
	*lru_slot(l, x->a, x->b) = x->next;
	lru_unlink(l, x);
	l->used -= x->weight;
}

/* What is over the limit and used by nobody but the cache, as a list by `next`. */
static struct lru_entry *lru_trim(struct lru *l)
{
	struct lru_entry *victims = NULL;
	for (struct lru_entry *x = l->oldest; x && x != l->newest && l->used > l->limit;) {
		struct lru_entry *newer = x->newer;
		if (x->refs == 1) {
			lru_take_out(l, x);
			x->next = victims;
			victims = x;
		}
		x = newer;
	}
	return victims;
}

static void lru_free_list(const struct lru *l, struct lru_entry *x)
{
	while (x) {
		struct lru_entry *next = x->next;
		l->free_entry(x);
		x = next;
	}
}

void lru_free(struct lru *l)
{
	if (!l)
		return;
	while (l->newest) {
		struct lru_entry *x = l->newest;
		lru_take_out(l, x);
		l->free_entry(x);
	}
	(void)pthread_mutex_destroy(&l->mutex);
	free(l);
}

void lru_set_limit(struct lru *l, size_t limit)
{
	struct lru_entry *victims;
	{
		MUTEX_GUARD(&l->mutex);
		l->limit = limit;
		victims = lru_trim(l);
	}
	lru_free_list(l, victims);
}

struct lru_entry *lru_get(struct lru *l, uint64_t a, uint64_t b)
{
	MUTEX_GUARD(&l->mutex);
	struct lru_entry *x = *lru_slot(l, a, b);
	if (!x)
		return NULL;
	x->refs++;
	if (x != l->newest) {
		lru_unlink(l, x);
		lru_link(l, x);
	}
	return x;
}

struct lru_entry *lru_add(struct lru *l, struct lru_entry *x, uint64_t a, uint64_t b, size_t weight)
{
	struct lru_entry *victims;
	{
		MUTEX_GUARD(&l->mutex);
		struct lru_entry **slot = lru_slot(l, a, b);
		if (*slot) {
			victims = x;
			victims->next = NULL;
			x = *slot;
			x->refs++;
		} else {
			*x = (struct lru_entry){.a = a, .b = b, .weight = weight, .refs = 2};
			*slot = x;
			lru_link(l, x);
			l->used += weight;
			victims = lru_trim(l);
		}
	}
	lru_free_list(l, victims);
	return x;
}

struct lru_entry *lru_ref(struct lru *l, struct lru_entry *x)
{
	MUTEX_GUARD(&l->mutex);
	x->refs++;
	return x;
}

void lru_unref(struct lru *l, struct lru_entry *x)
{
	if (!x)
		return;
	struct lru_entry *victims = NULL;
	{
		MUTEX_GUARD(&l->mutex);
		assert(x->refs > 0);
		if (--x->refs == 0) {
			victims = x;
			victims->next = NULL;
		} else if (x->refs == 1 && l->used > l->limit) {
			victims = lru_trim(l);
		}
	}
	lru_free_list(l, victims);
}

void lru_grow(struct lru *l, struct lru_entry *x, size_t more)
{
	MUTEX_GUARD(&l->mutex);
	/* One that has fallen out weighs nothing here. */
	if (*lru_slot(l, x->a, x->b) != x)
		return;
	x->weight += more;
	l->used += more;
}

void lru_forget(struct lru *l, uint64_t a, uint64_t b)
{
	struct lru_entry *last = NULL;
	{
		MUTEX_GUARD(&l->mutex);
		struct lru_entry *x = *lru_slot(l, a, b);
		if (!x)
			return;
		lru_take_out(l, x);
		if (--x->refs == 0) {
			last = x;
			last->next = NULL;
		}
	}
	lru_free_list(l, last);
}
