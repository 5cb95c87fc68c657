/*
 * tests/unit/drivers/mysql/script_test.c - drivers/mysql/script.c: a script that is printed is taken apart to the same
 * statements, whatever is in their bodies and names; a damaged one is refused. Also the names that
 * drivers/mysql/shadow.c gives. No server is asked.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/mysql/internal.h"

static void add(struct my_script *s, enum my_object kind, const char *name, const char *settings, const char *sql)
{
	my_script_add(s, kind, xstrdup(name), xstrdup(settings), xstrdup(sql));
}

static void print(const struct my_script *s, struct strbuf *out)
{
	strbuf_adds(out, my_script_head);
	for (size_t i = 0; i < s->n; i++)
		my_script_print(out, &s->statements[i]);
}

static void fill(struct my_script *s)
{
	add(s, MY_TABLE, "plain", NULL, "CREATE TABLE `plain` (\n  `id` int\n)");
	add(s, MY_FUNCTION, "100%41 \n\x7f", "SET sql_mode = ''", "CREATE FUNCTION f() RETURNS int RETURN 1");
	add(s, MY_VIEW, "v", "SET time_zone = '+00:00'", "CREATE VIEW `v` AS select 1");
	add(s, MY_TRIGGER, "t", "SET sql_mode = 'ANSI'",
	    "CREATE TRIGGER t BEFORE INSERT ON plain FOR EACH ROW BEGIN\n\n-- metasnap: table 3 x\nSET @a = ';;\n"
	    "DELIMITER ;\n'; END");
}

static void test_parsed_as_printed(void **state)
{
	_cleanup_script_ struct my_script s = {0}, again = {0};
	_cleanup_strbuf_ struct strbuf text = {0};
	struct err e = ERR_INIT;

	(void)state;
	fill(&s);
	print(&s, &text);
	assert_int_equal(my_script_parse(&again, text.data, &e), 0);
	assert_int_equal(again.n, s.n);
	for (size_t i = 0; i < s.n; i++) {
		const struct my_statement *x = &s.statements[i], *y = &again.statements[i];

		assert_int_equal(y->kind, x->kind);
		assert_string_equal(y->name, x->name);
		assert_string_equal(y->sql, x->sql);
		assert_string_equal(y->settings ? y->settings : "", x->settings ? x->settings : "");
	}
}

/* Cut anywhere, it is either refused or has fewer statements, all of them whole. */
static void test_cut_text(void **state)
{
	_cleanup_script_ struct my_script s = {0};
	_cleanup_strbuf_ struct strbuf text = {0};

	(void)state;
	fill(&s);
	print(&s, &text);
	for (size_t len = text.len - 1; len > strlen(my_script_head); len--) {
		_cleanup_script_ struct my_script part = {0};
		_cleanup_free_ char *cut = xmemdup0(text.data, len);
		struct err e = ERR_INIT;
		int r = my_script_parse(&part, cut, &e);

		if (r < 0) {
			assert_int_equal(r, -EINVAL);
			assert_int_equal(part.n, 0);
			continue;
		}
		assert_true(part.n < s.n || len + 1 == text.len);
		for (size_t i = 0; i < part.n; i++)
			assert_string_equal(part.statements[i].sql, s.statements[i].sql);
	}
}

static void test_other_text(void **state)
{
	_cleanup_script_ struct my_script s = {0};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(my_script_parse(&s, "CREATE TABLE t (id int);\n", &e), -EINVAL);
	assert_int_equal(my_object_of("view"), MY_VIEW);
	assert_int_equal(my_object_of("views"), MY_N_OBJECTS);
}

/* The databases beside one with a long name have names that the server takes, each its own. */
static void test_side_names(void **state)
{
	static const char longest[] = "a_database_whose_name_has_exactly_sixty_four_characters_in_it_01";
	_cleanup_free_ char *old = my_old_name("db"), *shadow = my_shadow_name("db");
	_cleanup_free_ char *one = my_old_name(longest), *other = NULL;
	_cleanup_free_ char *changed = xstrdup(longest);

	(void)state;
	assert_string_equal(old, "db__metasnap_old");
	assert_string_equal(shadow, "db__metasnap_new");
	changed[strlen(changed) - 1] = '2';
	other = my_old_name(changed);
	assert_int_equal(strlen(longest), 64);
	assert_true(strlen(one) <= 64 && strlen(other) <= 64);
	assert_string_not_equal(one, other);
	assert_non_null(strstr(one, "__metasnap_old"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parsed_as_printed),
	    cmocka_unit_test(test_cut_text),
	    cmocka_unit_test(test_other_text),
	    cmocka_unit_test(test_side_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
