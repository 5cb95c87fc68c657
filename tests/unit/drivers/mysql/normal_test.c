/*
 * tests/unit/drivers/mysql/normal_test.c - drivers/mysql/normal.c: one table in the words of several versions is one
 * table, two tables are two; and a text that makes a table which the server writes in the same words again. No server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/mysql/internal.h"

static struct my_normal normal(bool mariadb)
{
	struct my_normal n = {.mariadb = mariadb, .n_sets = 3};

	n.sets = xcalloc(3, sizeof *n.sets);
	n.sets[0].name = xstrdup("utf8mb4");
	n.sets[0].collation = xstrdup("utf8mb4_0900_ai_ci");
	n.sets[1].name = xstrdup("latin1");
	n.sets[1].collation = xstrdup("latin1_swedish_ci");
	n.sets[2].name = xstrdup("utf8mb3");
	n.sets[2].collation = xstrdup("utf8mb3_general_ci");
	return n;
}

#define BIN ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
#define AI ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"

static const struct {
	const char *a, *b;
	bool same, mysql_only;
} pairs[] = {
    {"(\n  `a` varchar(9) COLLATE utf8mb4_bin\n" BIN,
     "(\n  `a` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin\n" BIN, .same = true},
    {"(\n  `a` varchar(9)\n" BIN, "(\n  `a` varchar(9) COLLATE utf8mb4_bin\n" BIN, .same = true},
    {"(\n  `a` varchar(9)\n" BIN, "(\n  `a` varchar(9) CHARACTER SET utf8mb4\n" BIN},
    {"(\n  `a` varchar(9)\n" AI, "(\n  `a` varchar(9) CHARACTER SET utf8mb4\n" AI, .same = true},
    {"(\n  `a` varchar(9)\n" AI, "(\n  `a` varchar(9)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4", .same = true},
    {"(\n  `a` varchar(9)\n" AI, "(\n  `a` varchar(9)\n" BIN},
    {"(\n  `a` text CHARACTER SET utf8\n" AI, "(\n  `a` text CHARACTER SET utf8mb3 COLLATE utf8_general_ci\n" AI,
     .same = true},
    {"(\n  `a` text COLLATE latin1_bin\n" AI, "(\n  `a` text CHARACTER SET latin1\n" AI},
    {"(\n  `a` text COMMENT ' COLLATE utf8mb4_bin'\n" BIN, "(\n  `a` text\n" BIN},
    {"(\n  `a` int(11),\n  `y` year(4)\n" AI, "(\n  `a` int,\n  `y` year\n" AI, .same = true, .mysql_only = true},
    {"(\n  `a` int(5) unsigned zerofill\n" AI, "(\n  `a` int unsigned zerofill\n" AI},
    {"(\n  `a` tinyint(1)\n" AI, "(\n  `a` tinyint\n" AI},
    {"(\n  `a` varchar(10)\n" AI, "(\n  `a` varchar(11)\n" AI},
    {"(\n  `a` decimal(10,2)\n" AI, "(\n  `a` decimal(10,3)\n" AI},
    {"(\n  `a` text GENERATED ALWAYS AS (concat(`b` collate utf8mb4_bin)) VIRTUAL\n" AI,
     "(\n  `a` text GENERATED ALWAYS AS (concat(`b`)) VIRTUAL\n" AI},
    {"(\n  `a` int,\n  KEY `k` (`a`)\n" AI, "(\n  `a` int\n" AI},
    {"(\n  `a` int\n" AI, "(\n  `a` int\n" AI "\n/*!50100 PARTITION BY HASH (`a`)\nPARTITIONS 3 */"},
};

static void test_pairs(void **state)
{
	(void)state;
	for (int maria = 0; maria < 2; maria++) {
		struct my_normal n = normal(maria);

		for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
			_cleanup_free_ char *a = xasprintf("CREATE TABLE `t` %s", pairs[i].a);
			_cleanup_free_ char *b = xasprintf("CREATE TABLE `t` %s", pairs[i].b);
			const struct my_statement x = {.kind = MY_TABLE, .sql = a}, y = {.kind = MY_TABLE, .sql = b};
			bool same = pairs[i].same && !(pairs[i].mysql_only && maria);

			if (my_normal_same(&n, &x, &y) != same)
				fail_msg("pair %zu, MariaDB %d: %s", i, maria, a);
		}
		my_normal_done(&n);
	}
}

static void makes(const char *from, const char *to)
{
	_cleanup_free_ char *got = my_makeable_table(from);

	assert_string_equal(got, to);
}

static void test_makeable(void **state)
{
	(void)state;
	makes(
	    "CREATE TABLE `t` (\n  `a` varchar(9) COLLATE utf8mb4_bin DEFAULT 'x COLLATE utf8mb4_bin',\n  `b` text "
	    "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,\n  `c` text COLLATE utf8mb4_bin\n" BIN,
	    "CREATE TABLE `t` (\n  `a` varchar(9)  DEFAULT 'x COLLATE utf8mb4_bin',\n  `b` text CHARACTER SET utf8mb4 "
	    "COLLATE utf8mb4_bin,\n  `c` text \n" BIN);
	makes("CREATE TABLE `t` (\n  `a` text COLLATE utf8mb4_bin\n" AI,
	      "CREATE TABLE `t` (\n  `a` text COLLATE utf8mb4_bin\n" AI);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs), cmocka_unit_test(test_makeable)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
