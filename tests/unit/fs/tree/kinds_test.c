/*
 * tests/unit/fs/tree/kinds_test.c - fs/tree/kinds.c: every kind that an inode can have is some part's, and the table
 * agrees with itself on what lies where.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fs/tree/internal.h"

#define KINDS (sizeof tree_kinds / sizeof *tree_kinds)

/* The inode of a kind with small ids, or 0: there is none. */
static uint64_t test_ino(size_t kind)
{
	return ino_encode(&(struct ino){.kind = (enum ino_kind)kind, .id = kind == INO_README ? 0 : 7});
}

static void test_every_kind_is_a_part_s(void **state)
{
	size_t n = 0;
	for (size_t kind = 0; kind < KINDS; kind++) {
		const struct tree_kind *k = &tree_kinds[kind];
		const struct tree_part *p = tree_parts[kind];
		struct ino i;
		if (!test_ino(kind)) {
			assert_null(tree_parts[kind]);
			continue;
		}
		n++;
		assert_true(ino_decode(test_ino(kind), &i));
		assert_int_equal(i.kind, kind);
		assert_non_null(p);
		assert_non_null(p->getattr);
		assert_non_null(tree_parts[k->parent]);
		/* a listing is opened, read and closed, and knows its parent */
		assert_int_equal(!p->dir_open, !p->dir_peek);
		assert_int_equal(!p->dir_open, !p->dir_parent);
		assert_int_equal(!p->dir_open, !p->dir_close);
		if (S_ISDIR(k->mode))
			assert_non_null(p->lookup);
		if (S_ISLNK(k->mode))
			assert_non_null(p->readlink);
	}
	assert_int_equal(n, INO_KINDS - 1 + 1); /* without INO_BAD, with INO_NOW_ROW */
}

static void test_names_lie_in_their_folder(void **state)
{
	for (size_t kind = 0; kind < KINDS; kind++) {
		const struct tree_kind *k = &tree_kinds[kind];
		for (const struct tree_fixed *f = k->names; f && f->name; f++)
			assert_int_equal(tree_kinds[f->kind].parent, kind);
		if (k->child != INO_BAD && k->child != kind)
			assert_int_equal(tree_kinds[k->child].parent, kind);
	}
}

static void test_parents(void **state)
{
	struct ino i = {.kind = INO_NOW, .id = 3};
	assert_true(tree_parent(&i, 0) == ino_of(INO_SOURCE, 3));
	i = (struct ino){.kind = INO_SOURCE, .id = 3};
	assert_true(tree_parent(&i, 0) == 1);
	i = (struct ino){.kind = INO_ARCHIVE, .id = 9};
	assert_true(tree_parent(&i, 3) == ino_of(INO_ARCHIVES, 3));
	i = (struct ino){.kind = INO_NOW_TABLES, .id = 9};
	assert_true(tree_parent(&i, 3) == ino_of(INO_NOW, 3));
	i = (struct ino){.kind = INO_NOW_TABLE, .id = 9, .sub = 4};
	assert_true(tree_parent(&i, 3) == ino_of(INO_NOW_TABLES, 9));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_kind_is_a_part_s),
	    cmocka_unit_test(test_names_lie_in_their_folder),
	    cmocka_unit_test(test_parents),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
