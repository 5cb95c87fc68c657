/*
 * tests/unit/drivers/postgres/script_test.c - drivers/postgres/script.c: cutting the text, and what a statement is.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/postgres/internal.h"

static void test_cutting(void **state)
{
	(void)state;
	/* each is one statement, whatever it holds */
	static const char *const statements[] = {
	    "SET lock_timeout = 0;",
	    "SELECT 'a;b''c;', \"d;\"\"e;\", E'f\\';g', e'\\\\';",
	    "SELECT $$;$$, $a$;$$;$b$;$a$, $1, x$y;",
	    "SELECT 1 -- ; '\n, 2 /* ; /* ; */ ' ; */;",
	    "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b;);",
	    "CREATE FUNCTION f() RETURNS integer BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
	    "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (1); END;",
	    "CREATE FUNCTION g() RETURNS void LANGUAGE plpgsql AS $_$ BEGIN; END; $_$;",
	    "CREATE TABLE \"end\" (\"begin\" text, c text DEFAULT ';'::text);",
	    /* semicolons and quotes that end nothing */
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
	    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN 1 = 1 THEN 2 END; END;",
	    /* names that are spelled like what begins and ends a body */
	    "CREATE FUNCTION public.begin() RETURNS integer LANGUAGE sql AS 'select 1';",
	    "CREATE FUNCTION public.f(begin integer, \"case\" begin) RETURNS begin LANGUAGE sql AS 'select 1';",
	    "CREATE FUNCTION f(begin integer, atomic integer) RETURNS integer LANGUAGE sql AS 'select 1';",
	    "CREATE FUNCTION f() RETURNS begin LANGUAGE sql BEGIN ATOMIC SELECT begin.begin FROM begin; END;",
	    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT \"end\".\"case\" AS \"end\" FROM \"end\"; SELECT 1; "
	    "END;",
	    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT (CASE WHEN (CASE 1 WHEN 2 THEN 3 END) = 1 THEN 4 "
	    "END); "
	    "SELECT CASE 1 WHEN 2 THEN CASE 3 WHEN 4 THEN 5 END END; END;",
	    "CREATE FUNCTION f() RETURNS int /* ; */ BEGIN -- ;\n ATOMIC SELECT 'end;'; SELECT $$end;$$; END;",
	    "CREATE PROCEDURE procedure() LANGUAGE sql BEGIN ATOMIC DELETE FROM begin; END;",
	    "CREATE TABLE function (begin integer, atomic integer);",
	    "CREATE TABLE public.begin (atomic text DEFAULT 'begin atomic'::text);",
	    "CREATE VIEW begin AS SELECT begin atomic FROM public.begin;",
	    "CREATE TYPE procedure AS (begin integer, atomic integer);",
	    /* strings, comments, operators */
	    "SELECT U&'a\\;b\\\\', U&\"d;\", u&'\\', ';';",
	    "SELECT B'1;', x'f;', N'a\\', ';';",
	    "SELECT E'a'\n  'b\\';c', 'd';",
	    "SELECT 'a'\n  'b\\', ';';",
	    "SELECT 1 -->;\n+ 2;",
	    "SELECT 1 /*>;*/ + 2 /*/ ; /**/ ; */;",
	    "SELECT a @- 1, b ?| c, d #>> e, f <-> g, h !~~* i, j % k;",
	    "SELECT $é$;$x$;$é$, $_0$;$_$;$_0$, 1$2;",
	    "SELECT a$$;",
	    "COMMENT ON TABLE t IS 'a\n-- Name: x; Type: TABLE; Schema: public; Owner: me\nCREATE TABLE x ();';",
	    "CREATE FUNCTION g() RETURNS void LANGUAGE sql AS $_$\n--\n-- Name: x; Type: TABLE; Schema: public; Owner: "
	    "me\n--\nCREATE TABLE x ();\n$_$;",
	    "CREATE TABLE \"a;b\" (\"c\n-- Name: x; Type: TABLE; Schema: public; Owner: me\" integer);",
	};
	enum { N = sizeof statements / sizeof statements[0] };
	_cleanup_strbuf_ struct strbuf text = {0};
	for (size_t i = 0; i < N; i++)
		strbuf_addf(&text, "\n--\n-- a comment; between\n--\n\n%s\n", statements[i]);
	struct pg_script script;
	assert_int_equal(pg_script_parse(&script, strbuf_str(&text), ERR_DROP), 0);
	assert_int_equal(script.n_statements, N);
	for (size_t i = 0; i < N; i++) {
		const struct pg_statement *s = &script.statements[i];
		assert_string_equal(s->sql, statements[i]);
		assert_int_equal(s->end - s->at, strlen(statements[i]));
		assert_memory_equal(text.data + s->at, statements[i], s->end - s->at);
		assert_string_equal(s->type, "");
	}
	pg_script_done(&script);
}

static void test_entries(void **state)
{
	(void)state;
	struct pg_script script;
	assert_int_equal(
	    pg_script_parse(&script,
			    "SET a = 0;\n"
			    "-- Name: t; Type: TABLE; Schema: public; Owner: me\n--\n\nCREATE TABLE t ();\n"
			    "ALTER TABLE t OWNER TO me;\n"
			    "-- Name: x; Type: y; Type: FK CONSTRAINT; Schema: public; Owner: me\nSELECT 1;",
			    ERR_DROP),
	    0);
	static const char *const entries[][2] = {
	    {"", ""}, {"TABLE t", "TABLE"}, {"TABLE t", "TABLE"}, {"FK CONSTRAINT x; Type: y", "FK CONSTRAINT"}};
	assert_int_equal(script.n_statements, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(script.statements[i].entry, entries[i][0]);
		assert_string_equal(script.statements[i].type, entries[i][1]);
	}
	pg_script_done(&script);
}

/* As they read under standard_conforming_strings = on, whatever the text says. */
static void test_other_strings(void **state)
{
	(void)state;
	static const struct {
		const char *sql, *wanted;
	} cases[] = {
	    {"SET standard_conforming_strings = off;", "SET standard_conforming_strings = off;"},
	    {"SELECT 'a;b', 'c''d';", "SELECT 'a;b', 'c''d';"},
	    {"SELECT 'C:\\\\dir';", "SELECT E'C:\\\\dir';"},
	    {"SELECT 'a\\';b', \"c\\\", E'd\\';', $$e\\$$;", "SELECT E'a\\';b', \"c\\\", E'd\\';', $$e\\$$;"},
	    {"SELECT '\\\\', ';';", "SELECT E'\\\\', ';';"},
	    {"COMMENT ON TABLE t IS 'it''s \\\\ -- ; ';", "COMMENT ON TABLE t IS E'it''s \\\\ -- ; ';"},
	    {"set Standard_Conforming_Strings TO ON;", "set Standard_Conforming_Strings TO ON;"},
	    {"SELECT 'a\\';", "SELECT 'a\\';"},
	};
	enum { N = sizeof cases / sizeof cases[0] };
	_cleanup_strbuf_ struct strbuf text = {0};
	struct pg_script script;
	for (size_t i = 0; i < N; i++)
		strbuf_addf(&text, "%s\n", cases[i].sql);
	assert_int_equal(pg_script_parse(&script, strbuf_str(&text), ERR_DROP), 0);
	assert_int_equal(script.n_statements, N);
	for (size_t i = 0; i < N; i++)
		assert_string_equal(script.statements[i].sql, cases[i].wanted);
	pg_script_done(&script);
}

static void test_tokens(void **state)
{
	(void)state;
	static const char *const tokens[] = {"SELECT", "E'a\\' b'", ",", "U&\"x y\"", "@-",       "1",   ".",  "5",
					     "::",     "\"A b\"",   ".", "$$ - $$",   "$",        "1",   "<>", "(",
					     "-",      "x$y",       ")", "b'01'",     "'a'\n'b'", "'c'", ";"};
	const char *p =
	    "SELECT  E'a\\' b' , U&\"x y\"@-1.5 :: \"A b\" . $$ - $$ $1 <>(-x$y)b'01' 'a'\n'b' 'c' /* d */ -- e\n;";
	struct pg_token t;
	for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
		assert_int_equal(pg_next_token(&p, &t), 1);
		_cleanup_free_ char *text = xmemdup0(t.at, t.len);
		assert_string_equal(text, tokens[i]);
	}
	assert_int_equal(pg_next_token(&p, &t), 0);
	p = " 'a";
	assert_int_equal(pg_next_token(&p, &t), -EINVAL);
	p = " /* a";
	assert_int_equal(pg_next_token(&p, &t), -EINVAL);
	p = "Begin";
	assert_int_equal(pg_next_token(&p, &t), 1);
	assert_true(pg_token_is(&t, "BEGIN"));
	assert_false(pg_token_is(&t, "BEGI"));
	p = "\"begin\"";
	assert_int_equal(pg_next_token(&p, &t), 1);
	assert_false(pg_token_is(&t, "BEGIN"));
}

static void test_text_that_ends_inside(void **state)
{
	(void)state;
	static const char *const ends[] = {
	    "SELECT 1",      "SELECT ';",
	    "SELECT \";",    "SELECT $a$;",
	    "SELECT E'\\';", "SELECT 1 /* ;",
	    "SELECT (1;",    "SELECT 'a;",
	    "SELECT $$a;",   "CREATE FUNCTION f() RETURNS integer BEGIN ATOMIC SELECT 1;",
	};
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		_cleanup_free_ char *text =
		    xasprintf("-- Name: t; Type: TABLE; Schema: s; Owner: me\nSELECT 0;\n%s", ends[i]);
		struct pg_script script;
		struct err e = ERR_INIT;
		assert_int_equal(pg_script_parse(&script, text, &e), -EINVAL);
		assert_string_equal(e.msg, "the schema text ends inside of a statement: TABLE t");
		assert_int_equal(script.n_statements, 0);
	}
}

static void test_kinds(void **state)
{
	(void)state;
	static const struct {
		const char *sql, *owner;
		bool optional;
		const char *matview;
	} cases[] = {
	    {"ALTER TABLE public.t OWNER TO me;", "me", true, NULL},
	    {"ALTER TABLE public.t OWNER TO \"a \"\"b;\";", "\"a \"\"b;\"", true, NULL},
	    {"ALTER TABLE public.\" OWNER TO x\" OWNER TO me;", "me", true, NULL},
	    {"ALTER TABLE public.t ALTER c SET DEFAULT ' OWNER TO me';", NULL, false, NULL},
	    {"grant SELECT ON TABLE t TO x;", NULL, true, NULL},
	    {"SET default_tablespace = fast;", NULL, true, NULL},
	    {"SET default_table_access_method = heap;", NULL, false, NULL},
	    {"COMMENT ON TABLE t IS 'x';", NULL, false, NULL},
	    {"CREATE MATERIALIZED VIEW public.\"a b\" AS SELECT 1;", NULL, false, "public.\"a b\""},
	    {"CREATE VIEW public.v AS SELECT 1;", NULL, false, NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct pg_statement s = {.sql = (char *)cases[i].sql};
		size_t n = 0;
		const char *owner = pg_owner_of(s.sql, &n);
		_cleanup_free_ char *owner_text = owner ? xmemdup0(owner, n) : NULL;
		assert_int_equal(!owner, !cases[i].owner);
		if (owner)
			assert_string_equal(owner_text, cases[i].owner);
		assert_int_equal(pg_is_optional(&s), cases[i].optional);
		const char *view = pg_matview_of(&s, &n);
		_cleanup_free_ char *view_text = view ? xmemdup0(view, n) : NULL;
		assert_int_equal(!view, !cases[i].matview);
		if (view)
			assert_string_equal(view_text, cases[i].matview);
	}
	assert_true(pg_is_post_data("INDEX"));
	assert_true(pg_is_post_data("FK CONSTRAINT"));
	assert_false(pg_is_post_data("TABLE"));
	assert_false(pg_is_post_data(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cutting),
	    cmocka_unit_test(test_entries),
	    cmocka_unit_test(test_other_strings),
	    cmocka_unit_test(test_tokens),
	    cmocka_unit_test(test_text_that_ends_inside),
	    cmocka_unit_test(test_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
