/*
 * base/lru.h - a cache of immutable things by number: what was used last stays, up to a weight; what is in use stays
 * anyhow.
 *
 * A thing embeds a struct lru_entry and is shared by reference: lru_get and lru_add give one, lru_unref takes it back.
 * What falls out is freed when nobody uses it, outside of the mutex. Any thread. Lock: lru.mutex, for list work only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct lru;

/* Filled by lru_add; the owner only places it. */
struct lru_entry {
	uint64_t a, b; /* the key */
	size_t weight;
	unsigned refs; /* under the mutex, as are the links */
	struct lru_entry *newer, *older, *next;
};

struct lru *lru_new(size_t limit, void (*free_entry)(struct lru_entry *x));
/* Frees what is in it, also what somebody still has: nobody may use or give back anything any more. NULL is allowed. */
void lru_free(struct lru *l);
void lru_set_limit(struct lru *l, size_t limit);

/* The entry with this key, or NULL. */
struct lru_entry *lru_get(struct lru *l, uint64_t a, uint64_t b);
/* Keeps x, or frees it when another thread was first; the one that is kept. It stays while it is the newest one,
 * whatever its weight: what is larger than the cache is asked for many times in a row. */
struct lru_entry *lru_add(struct lru *l, struct lru_entry *x, uint64_t a, uint64_t b, size_t weight);
/* One more reference to an entry in hand. */
struct lru_entry *lru_ref(struct lru *l, struct lru_entry *x);
/* NULL is allowed. */
void lru_unref(struct lru *l, struct lru_entry *x);
/* An entry in hand became heavier. */
void lru_grow(struct lru *l, struct lru_entry *x, size_t more);
/* The next lru_get does not find it; who uses it goes on. */
void lru_forget(struct lru *l, uint64_t a, uint64_t b);
