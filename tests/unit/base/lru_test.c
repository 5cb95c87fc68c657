/*
 * tests/unit/base/lru_test.c - base/lru.c: what stays, what goes and when it is freed; two threads at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/lru.h"
#include "base/strbuf.h"

struct thing {
	struct lru_entry entry;
	uint64_t a, b;
	unsigned *freed; /* counted there; NULL: not */
};

static atomic_uint things;

static void thing_free(struct lru_entry *x)
{
	struct thing *t = (struct thing *)x;
	if (t->freed)
		++*t->freed;
	atomic_fetch_sub(&things, 1);
	free(t);
}

/* One more in the cache; it has the reference that is given back here, or (hold) by the caller. */
static struct thing *add(struct lru *l, uint64_t a, uint64_t b, size_t weight, unsigned *freed, bool hold)
{
	struct thing *t = xcalloc(1, sizeof *t);
	*t = (struct thing){.a = a, .b = b, .freed = freed};
	atomic_fetch_add(&things, 1);
	struct thing *got = (struct thing *)lru_add(l, &t->entry, a, b, weight);
	if (!hold)
		lru_unref(l, &got->entry);
	return got;
}

static bool has(struct lru *l, uint64_t a, uint64_t b)
{
	struct thing *t = (struct thing *)lru_get(l, a, b);
	if (!t)
		return false;
	assert_int_equal(t->a, a);
	assert_int_equal(t->b, b);
	lru_unref(l, &t->entry);
	return true;
}

static void oldest_goes_first(void **state)
{
	(void)state;
	struct lru *l = lru_new(100, thing_free);
	unsigned freed = 0;
	for (uint64_t i = 0; i < 4; i++)
		add(l, i, 0, 25, &freed, false);
	assert_int_equal(freed, 0);
	assert_true(has(l, 0, 0)); /* now 1 is the oldest */
	add(l, 4, 0, 25, &freed, false);
	assert_int_equal(freed, 1);
	assert_false(has(l, 1, 0));
	assert_true(has(l, 0, 0));
	add(l, 5, 0, 50, &freed, false); /* two of them for one */
	assert_int_equal(freed, 3);
	assert_false(has(l, 2, 0));
	assert_false(has(l, 3, 0));
	assert_true(has(l, 4, 0));
	lru_set_limit(l, 50);
	assert_int_equal(freed, 5);
	assert_true(has(l, 4, 0)); /* it was used last */
	lru_free(l);
	assert_int_equal(freed, 6);
	assert_int_equal(things, 0);
	lru_free(NULL);
	lru_unref(NULL, NULL);
}

/* Both numbers are the key, also where they fall into one slot. */
static void keys_are_two_numbers(void **state)
{
	(void)state;
	struct lru *l = lru_new(1U << 20, thing_free);
	for (uint64_t i = 0; i < 20000; i++)
		add(l, i / 2, i % 2 * 4096, 1, NULL, false);
	for (uint64_t i = 0; i < 20000; i++)
		assert_true(has(l, i / 2, i % 2 * 4096));
	assert_false(has(l, 10000, 0));
	assert_false(has(l, 3, 1));
	assert_false(has(l, UINT64_MAX, 1));
	lru_free(l);
	assert_int_equal(things, 0);
}

static void newest_stays_whatever_its_weight(void **state)
{
	(void)state;
	struct lru *l = lru_new(10, thing_free);
	unsigned freed = 0;
	add(l, 1, 0, 1000, &freed, false);
	assert_int_equal(freed, 0);
	assert_true(has(l, 1, 0));
	lru_set_limit(l, 0);
	assert_true(has(l, 1, 0));
	add(l, 2, 0, 1, &freed, false);
	assert_int_equal(freed, 1);
	assert_false(has(l, 1, 0));
	assert_true(has(l, 2, 0));
	lru_free(l);
}

static void in_use_stays(void **state)
{
	(void)state;
	struct lru *l = lru_new(30, thing_free);
	unsigned freed = 0;
	struct thing *held = add(l, 1, 0, 20, &freed, true);
	assert_ptr_equal(lru_ref(l, &held->entry), &held->entry);
	for (uint64_t i = 2; i < 10; i++)
		add(l, i, 0, 20, &freed, false);
	assert_int_equal(freed, 7); /* all but the newest and this one */
	assert_true(has(l, 1, 0));
	add(l, 10, 0, 20, &freed, false);
	lru_unref(l, &held->entry);
	assert_true(has(l, 1, 0));
	add(l, 11, 0, 20, &freed, false);
	unsigned before = freed;
	lru_unref(l, &held->entry); /* the last one: it goes, as it is over the limit and not the newest */
	assert_int_equal(freed, before + 1);
	assert_false(has(l, 1, 0));
	lru_free(l);
	assert_int_equal(things, 0);
}

static void first_of_two_is_kept(void **state)
{
	(void)state;
	struct lru *l = lru_new(100, thing_free);
	unsigned first = 0, second = 0;
	struct thing *a = add(l, 7, 7, 10, &first, true), *b = add(l, 7, 7, 10, &second, true);
	assert_ptr_equal(a, b);
	assert_int_equal(second, 1);
	assert_int_equal(first, 0);
	lru_unref(l, &a->entry);
	lru_unref(l, &b->entry);
	/* its weight was counted once */
	for (uint64_t i = 0; i < 9; i++)
		add(l, i, 0, 10, NULL, false);
	assert_int_equal(first, 0);
	lru_free(l);
	assert_int_equal(first, 1);
}

static void what_grows_weighs_more(void **state)
{
	(void)state;
	struct lru *l = lru_new(100, thing_free);
	unsigned freed = 0;
	struct thing *t = add(l, 1, 0, 10, &freed, true);
	add(l, 2, 0, 10, &freed, false);
	lru_grow(l, &t->entry, 75);
	assert_int_equal(freed, 0);
	add(l, 3, 0, 10, &freed, false); /* 105 */
	assert_int_equal(freed, 1);
	assert_false(has(l, 2, 0));
	lru_unref(l, &t->entry);
	add(l, 4, 0, 10, &freed, false);
	assert_int_equal(freed, 2);
	assert_false(has(l, 1, 0));
	assert_true(has(l, 3, 0));
	/* all of its weight went with it */
	for (uint64_t i = 5; i < 13; i++)
		add(l, i, 0, 10, &freed, false);
	assert_int_equal(freed, 2);
	lru_free(l);
}

static void forgotten_lives_while_used(void **state)
{
	(void)state;
	struct lru *l = lru_new(100, thing_free);
	unsigned old = 0, new = 0;
	struct thing *t = add(l, 1, 0, 60, &old, true);
	lru_forget(l, 1, 0);
	lru_forget(l, 2, 0);
	assert_int_equal(old, 0);
	assert_false(has(l, 1, 0));
	struct thing *u = add(l, 1, 0, 60, &new, true); /* another one in its place; 60 of 100 */
	assert_ptr_not_equal(t, u);
	lru_grow(l, &t->entry, 1000); /* weighs nothing any more */
	add(l, 3, 0, 40, NULL, false);
	lru_unref(l, &u->entry);
	assert_true(has(l, 1, 0));
	lru_unref(l, &t->entry);
	assert_int_equal(old, 1);
	lru_forget(l, 1, 0);
	assert_int_equal(new, 1);
	assert_true(has(l, 3, 0));
	lru_free(l);
	assert_int_equal(things, 0);
}

#define KEYS 40U

static void *worker(void *arg)
{
	struct lru *l = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;
	struct thing *held[3] = {0};
	for (unsigned i = 0; i < 40000; i++) {
		uint64_t a = (unsigned)rand_r(&seed) % KEYS, b = a % 3;
		struct thing *t = (struct thing *)lru_get(l, a, b);
		if (!t)
			t = add(l, a, b, 1 + a % 5, NULL, true);
		if (t->a != a || t->b != b)
			return arg;
		struct thing **place = &held[i % 3];
		if (*place)
			lru_unref(l, &(*place)->entry);
		*place = t;
		if (i % 97 == 0)
			lru_forget(l, a, b);
		if (i % 31 == 0)
			lru_grow(l, &t->entry, 1);
		if (i % 1009 == 0)
			lru_set_limit(l, i % 2 ? 10 : 40);
	}
	for (size_t i = 0; i < 3; i++)
		lru_unref(l, &held[i]->entry);
	return NULL;
}

static void two_threads(void **state)
{
	(void)state;
	struct lru *l = lru_new(30, thing_free);
	pthread_t t[2];
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, worker, l), 0);
	for (size_t i = 0; i < 2; i++) {
		void *bad;
		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
	lru_set_limit(l, 0);
	assert_true(atomic_load(&things) <= 1); /* the newest */
	lru_free(l);
	assert_int_equal(things, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(oldest_goes_first),
	    cmocka_unit_test(keys_are_two_numbers),
	    cmocka_unit_test(newest_stays_whatever_its_weight),
	    cmocka_unit_test(in_use_stays),
	    cmocka_unit_test(first_of_two_is_kept),
	    cmocka_unit_test(what_grows_weighs_more),
	    cmocka_unit_test(forgotten_lives_while_used),
	    cmocka_unit_test(two_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
