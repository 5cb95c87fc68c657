/*
 * tests/unit/snapshot/restore/plan_test.c - snapshot/restore/plan.c: what a plan says, and which counters are set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "snapshot/restore/internal.h"

static void text(void **state)
{
	(void)state;
	struct restore_plan p = {0};
	_cleanup_strbuf_ struct strbuf out = {0};
	assert_true(restore_plan_is_empty(&p));
	(void)restore_plan_add(&p, "unchanged");
	assert_true(restore_plan_is_empty(&p));
	*restore_plan_add(&p, "table_entity") = (struct table_plan){p.v[1].table, 3, 20, 100};
	restore_plan_add(&p, "user_entity")->deletes = 5;
	assert_false(restore_plan_is_empty(&p));
	strbuf_adds(&p.counters, "AUTO_INCREMENT of t 1 -> 7\n");
	restore_plan_text(&p, &out);
	assert_string_equal(strbuf_str(&out), "table             inserts      updates      deletes\n"
					      "table_entity            3           20          100\n"
					      "user_entity             0            0            5\n"
					      "total                   3           20          105\n"
					      "AUTO_INCREMENT of t 1 -> 7\n");
	strbuf_clear(&out);
	db_objects_add(&p.objects, DB_DEED_REMAKE, xstrdup("table"), xstrdup("user_entity"), NULL);
	db_objects_add(&p.objects, DB_DEED_ALTER, xstrdup("grants of table"), xstrdup("t"), NULL);
	db_objects_add(&p.objects, DB_DEED_MAKE, xstrdup("view"), xstrdup("v"), xstrdup("table user_entity"));
	restore_plan_text(&p, &out);
	assert_non_null(strstr(strbuf_str(&out), "deed       kind             object\n"
						 "make anew  table            user_entity\n"
						 "alter      grants of table  t\n"
						 "make       view             v  (table user_entity)\n"
						 "\n"
						 "table             inserts"));
	restore_plan_done(&p);
	assert_int_equal(p.n, 0);
}

static void sequences(void **state)
{
	(void)state;
	struct db_sequence live[] = {
	    {.name = (char *)"a", .last_value = 5, .is_called = true},
	    {.name = (char *)"only_live", .last_value = 1, .is_called = true},
	    {.name = (char *)"same", .last_value = 2, .is_called = true},
	    {.name = (char *)"used", .last_value = 1, .is_called = true},
	};
	struct db_sequence target[] = {
	    {.name = (char *)"a", .last_value = 9, .is_called = true},
	    {.name = (char *)"only_target", .last_value = 1, .is_called = true},
	    {.name = (char *)"same", .last_value = 2, .is_called = true},
	    {.name = (char *)"used", .last_value = 1, .is_called = false},
	};
	struct db_schema l = {.sequences = live, .n_sequences = 4}, t = {.sequences = target, .n_sequences = 4};
	_cleanup_strbuf_ struct strbuf out = {0};
	plan_counters(&l, &t, &out);
	assert_string_equal(strbuf_str(&out), "sequence a 5 -> 9\nsequence used 1 -> 1 (not used yet)\n");
}

static void auto_increments(void **state)
{
	(void)state;
	struct db_table live[] = {
	    {.name = (char *)"fresh", .has_auto_increment = true, .auto_increment = 0},
	    {.name = (char *)"more", .has_auto_increment = true, .auto_increment = 10},
	    {.name = (char *)"none"},
	    {.name = (char *)"unknown", .has_auto_increment = true, .auto_increment = 4},
	};
	struct db_table target[] = {
	    {.name = (char *)"fresh", .has_auto_increment = true, .auto_increment = 1},
	    {.name = (char *)"gone", .has_auto_increment = true, .auto_increment = 3},
	    {.name = (char *)"more", .has_auto_increment = true, .auto_increment = 7},
	    {.name = (char *)"none", .has_auto_increment = true, .auto_increment = 7},
	    {.name = (char *)"unknown", .has_auto_increment = true, .auto_increment = 0},
	};
	struct db_schema l = {.tables = live, .n_tables = 4}, t = {.tables = target, .n_tables = 5};
	_cleanup_strbuf_ struct strbuf out = {0};
	plan_counters(&l, &t, &out);
	assert_string_equal(strbuf_str(&out), "AUTO_INCREMENT of more 10 -> 7\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text),
	    cmocka_unit_test(sequences),
	    cmocka_unit_test(auto_increments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
