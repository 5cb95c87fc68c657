/*
 * tests/unit/drivers/mysql/words_test.c - drivers/mysql/words.c: heads of triggers, names in views and foreign keys are
 * found whatever stands in quotes and comments around them. No server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/mysql/internal.h"

static void is(char *got, const char *want)
{
	assert_string_equal(got, want);
	free(got);
}

static void test_triggers(void **state)
{
	static const char typed[] =
	    "CREATE DEFINER=`a``b`@`%` trigger /* x */ db.`t r` before insert on `db` . `t``1` for each "
	    "row precedes other SET new.a = 'TRIGGER x'";

	(void)state;
	is(my_trigger_table(typed), "t`1");
	is(my_trigger_unqualified(typed), "CREATE DEFINER=`a``b`@`%` trigger /* x */ `t r` before insert on `t``1` for "
					  "each row precedes other SET new.a = "
					  "'TRIGGER x'");
	is(my_trigger_without_clause(typed),
	   "CREATE DEFINER=`a``b`@`%` trigger /* x */ db.`t r` before insert on `db` . `t``1` for each row SET new.a = "
	   "'TRIGGER x'");
	is(my_trigger_lifted("CREATE TRIGGER x AFTER DELETE ON t FOR EACH ROW BEGIN END -- end", 7),
	   "CREATE TRIGGER x AFTER DELETE ON t FOR EACH ROW IF CONNECTION_ID() <> 7 OR '' = 'lifted by metasnap' THEN  "
	   "BEGIN "
	   "END -- end\n; END IF");
	assert_true(my_trigger_follows("CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW FOLLOWS a SET @x = 1",
				       "CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW SET @x = 1"));
	assert_false(my_trigger_follows("CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW FOLLOWS a SET @x = 1",
					"CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW SET @x = 1"));
	assert_false(my_trigger_follows("CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW SET @x = 1", NULL));
}

static void test_views(void **state)
{
	(void)state;
	is(my_view_unqualified(
	       "CREATE VIEW `v` AS select `d`.`o`.`id` AS `id`,'`d`.`x`' AS `d`,`d`.`f`(`d`.`o`.`a`) AS `f` from "
	       "((`d`.`o` join `e`.`z` on(`e`.`z`.`id` = `d`.`o`.`id`)) left join `d`.`p` on(1))",
	       "d"),
	   "CREATE VIEW `v` AS select `o`.`id` AS `id`,'`d`.`x`' AS `d`,`f`(`o`.`a`) AS `f` from ((`o` join `e`.`z` "
	   "on(`e`.`z`.`id` = `o`.`id`)) left join `p` on(1))");
	/* A table of the database's name. */
	is(my_view_unqualified("CREATE VIEW `v` AS select `d`.`id` AS `id` from `d`.`d`", "d"),
	   "CREATE VIEW `v` AS select `d`.`id` AS `id` from `d`");
	is(my_view_unqualified("CREATE VIEW `v` AS select 1 AS `1`", "d"), "CREATE VIEW `v` AS select 1 AS `1`");
}

static void test_uses(void **state)
{
	static const char sql[] =
	    "CREATE VIEW `b` AS select `m`.`z` AS `a`,`x`.`y` AS `y` from (`m` join `w` `x` on(1)) where "
	    "`m`.`z` in (select `k`.`q` from `k`)";

	(void)state;
	assert_true(my_view_uses(sql, "m") && my_view_uses(sql, "w") && my_view_uses(sql, "k"));
	assert_false(my_view_uses(sql, "a") || my_view_uses(sql, "z") || my_view_uses(sql, "x") ||
		     my_view_uses(sql, "q"));
}

static void test_references(void **state)
{
	const char *p =
	    "CREATE TABLE `c` (`a` int COMMENT 'REFERENCES `no`', FOREIGN KEY (`a`) REFERENCES `p` (`a`), FOREIGN KEY "
	    "(`a`) REFERENCES `other`.`q` (`a`), FOREIGN KEY (`a`) REFERENCES `d`.`r` (`a`))";
	char *name;

	(void)state;
	assert_true(my_next_reference(&p, "d", &name));
	is(name, "p");
	assert_true(my_next_reference(&p, "d", &name));
	is(name, "r");
	assert_false(my_next_reference(&p, "d", &name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_triggers),
	    cmocka_unit_test(test_views),
	    cmocka_unit_test(test_uses),
	    cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
