/*
 * tests/unit/fs/tree/ino_test.c - fs/tree/ino.c: every id comes back, no two things share a number, 0 and 1 stay free.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fs/tree/ino.h"

static const uint64_t test_ids[] = {0, 1, 2, 255, 65536, 131071, 131072, (UINT64_C(1) << 35) - 1, INO_SNAPSHOT_MAX};
static const uint32_t test_subs[] = {0, 1, 2, 255, 65535};

static const uint32_t test_others[] = {0, 1, 131071, 131072, INO_PAIR_MAX};

static bool test_is_names(unsigned kind)
{
	return kind >= INO_ENTITY_DIR && kind <= INO_HISTORY_DIR;
}

static bool test_is_pair(unsigned kind)
{
	return kind >= INO_CHANGE && kind <= INO_CHANGE_CHANGED;
}

static bool test_has_sub(unsigned kind)
{
	return (kind >= INO_TABLE && kind <= INO_NOW_TABLE_JSON) || kind == INO_ROW || kind == INO_NOW_ROW ||
	       test_is_names(kind) || test_is_pair(kind);
}

static uint64_t test_id_max(unsigned kind)
{
	return kind == INO_NOW_ROW   ? INO_NOW_PACK_MAX
	       : test_is_names(kind) ? INO_NAMES_SNAPSHOT_MAX
	       : test_is_pair(kind)  ? INO_PAIR_MAX
	       : kind <= INO_README  ? 0
				     : INO_SNAPSHOT_MAX;
}

static int test_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void test_round_trip_and_distinct(void **state)
{
	uint64_t all[4096];
	size_t n = 0;

	for (unsigned kind = INO_ROOT; kind <= INO_NOW_ROW; kind++) {
		if (kind >= INO_KINDS && kind != INO_NOW_ROW)
			continue;
		size_t subs = test_has_sub(kind) ? sizeof test_subs / sizeof *test_subs : 1;
		size_t others =
		    test_is_names(kind) || test_is_pair(kind) ? sizeof test_others / sizeof *test_others : 1;
		for (size_t a = 0; a < sizeof test_ids / sizeof *test_ids; a++) {
			if (test_ids[a] > test_id_max(kind))
				continue;
			for (size_t b = 0; b < subs * others; b++) {
				struct ino in = {.kind = (enum ino_kind)kind,
						 .id = test_ids[a],
						 .sub = test_subs[b % subs],
						 .other = test_others[b / subs]},
					   out;
				if (test_is_names(kind) && in.sub > INO_NAMES_DEPTH_MAX)
					continue;
				if (kind == INO_NOW_ROW)
					in.source = 1 + in.sub % 1000;
				uint64_t number = ino_encode(&in);
				assert_true(number != 0);
				assert_true(number < UINT64_C(1) << 63);
				assert_int_equal(kind == INO_ROOT, number == 1);
				assert_true(ino_decode(number, &out));
				assert_int_equal(in.kind, out.kind);
				assert_true(in.id == out.id);
				assert_int_equal(in.sub, out.sub);
				assert_int_equal(in.other, out.other);
				assert_int_equal(in.source, out.source);
				assert_true(n < sizeof all / sizeof *all);
				all[n++] = number;
			}
		}
	}
	qsort(all, n, sizeof *all, test_compare);
	for (size_t k = 1; k < n; k++)
		assert_true(all[k - 1] < all[k]);
}

static void test_overflow(void **state)
{
	assert_int_equal(ino_of(INO_STAGED, INO_ID_MAX + 1), 0);
	assert_int_equal(ino_of(INO_SNAPSHOT, INO_SNAPSHOT_MAX + 1), 0);
	assert_int_equal(ino_of_sub(INO_TABLE, 1, INO_ORDINAL_MAX + 1), 0);
	assert_int_equal(ino_of_sub(INO_ROW, INO_PACK_MAX + 1, 0), 0);
	assert_int_equal(ino_of_sub(INO_ROW, 1, INO_INDEX_MAX + 1), 0);
	assert_int_equal(ino_encode(&(struct ino){.kind = INO_NOW_ROW, .id = INO_NOW_PACK_MAX + 1}), 0);
	assert_int_equal(ino_encode(&(struct ino){.kind = INO_NOW_ROW, .source = INO_NOW_SOURCE_MAX + 1}), 0);
	assert_int_equal(ino_of(INO_CHANGE, (uint64_t)INO_PAIR_MAX + 1), 0);
	assert_int_equal(ino_encode(&(struct ino){.kind = INO_CHANGE, .id = 1, .other = INO_PAIR_MAX + 1}), 0);
	assert_int_equal(ino_of_sub(INO_CHANGE_ADDED, 1, INO_ORDINAL_MAX + 1), 0);
	assert_int_equal(ino_encode(&(struct ino){.kind = INO_ENTITY_DIR, .id = 1, .sub = INO_NAMES_DEPTH_MAX + 1}), 0);
	assert_int_equal(ino_of(INO_BAD, 1), 0);
	assert_int_equal(ino_of(INO_KINDS, 1), 0);
}

/* Whatever number a client sends: it is refused, or it is the number that its parts encode to. */
static void test_any_number(void **state)
{
	uint64_t x = 88172645463325252u;

	for (int k = 0; k < 200000; k++) {
		struct ino i;
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		uint64_t number = x >> (k % 64);
		if (ino_decode(number, &i))
			assert_true(ino_encode(&i) == number);
		else
			assert_int_equal(i.kind, INO_BAD);
	}
	struct ino i;
	assert_false(ino_decode(0, &i));
	assert_false(ino_decode(2, &i));
	assert_false(ino_decode(UINT64_MAX, &i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip_and_distinct),
	    cmocka_unit_test(test_overflow),
	    cmocka_unit_test(test_any_number),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
