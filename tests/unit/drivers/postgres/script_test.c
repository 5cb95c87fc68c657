/*
 * tests/unit/drivers/postgres/script_test.c - a schema text of PostgreSQL is cut into its statements, whatever they hold. No
 * server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "drivers/postgres/internal.h"

/* Each is one statement, with semicolons and quotes that end nothing. */
static const char *const statements[] = {
    "SELECT 1;",
    "SELECT 'a;b';",
    "SELECT 'it''s;';",
    "SELECT 'a\\';",
    "SELECT '\\', 'b;';",
    "SELECT E'a\\';b';",
    "SELECT e'a\\';b';",
    "SELECT E'a\\\\';",
    "SELECT E'\\\\\\';', 'c;';",
    "SELECT E'a'';b\\''';c';",
    "SELECT (E'a\\');b');",
    "SELECT nameE'a\\';", /* no prefix: the end of a longer word */
    "SELECT U&'a\\';",
    "COMMENT ON TABLE t IS E'line\\none\\'s; -- /* $$ \\\" ';",
    "SELECT \"a;\"\"b\", \"E\\\";",
    "SELECT $$a;'b$$;",
    "SELECT $x$a;$$;$y$;$x$;",
    "SELECT a$b$c;",
    "SELECT 1 -- it's; not the end\n;",
    "SELECT /* it's; /* deeper; */ still; */ 1;",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2));",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN 1 = 1 THEN 2 END; SELECT 3; END;",
};

static void each_statement_is_whole(void **state)
{
	(void)state;
	size_t n = sizeof statements / sizeof statements[0];
	_cleanup_strbuf_ struct strbuf all = {0};
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&all, "%s\n", statements[i]);
	struct pg_script script;
	struct err e = ERR_INIT;
	if (pg_script_parse(&script, all.data, &e) < 0)
		fail_msg("%s", e.msg);
	for (size_t i = 0; i < n && i < script.n_statements; i++)
		assert_string_equal(script.statements[i].sql, statements[i]);
	assert_int_equal(script.n_statements, n);
	pg_script_done(&script);
}

static void an_end_inside_of_a_statement_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {
	    "SELECT 1", "SELECT 'a;", "SELECT E'a\\';", "SELECT \"a;", "SELECT $$a;", "SELECT /* a;", "SELECT (1;",
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct pg_script script;
		struct err e = ERR_INIT;
		if (pg_script_parse(&script, texts[i], &e) != -EINVAL)
			fail_msg("taken: %s", texts[i]);
		assert_non_null(strstr(e.msg, "inside of a statement"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_statement_is_whole),
	    cmocka_unit_test(an_end_inside_of_a_statement_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
