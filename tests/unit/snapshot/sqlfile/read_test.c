/*
 * tests/unit/snapshot/sqlfile/read_test.c - snapshot/sqlfile/read.c: what statements and values say, in every way that
 * backslashes can be meant, whatever the pieces that the file is read in; what is refused, by line; how the meaning of
 * backslashes is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>

#include "snapshot/sqlfile/read.h"
#include "snapshot/sqlfile/scan.h"

struct memory {
	const char *text;
	size_t len;
	size_t piece; /* bytes for each reading */
	uint64_t fail_at;
};

static int memory_read(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e)
{
	const struct memory *m = arg;
	*ret_n = 0;
	if (m->fail_at && offset >= m->fail_at)
		return err_set(e, EIO, "a bad disk");
	if (offset >= m->len)
		return 0;
	n = n < m->piece ? n : m->piece;
	*ret_n = n < m->len - offset ? n : m->len - (size_t)offset;
	memcpy(buf, m->text + offset, *ret_n);
	return 0;
}

static void render_value(struct strbuf *out, const struct sql_value *v)
{
	static const char *const kinds[] = {[SQL_NULL] = "null", [SQL_TEXT] = "text",   [SQL_NUMBER] = "number",
					    [SQL_TRUE] = "true", [SQL_FALSE] = "false", [SQL_HEX] = "hex"};
	strbuf_addf(out, " %s", kinds[v->kind]);
	if (v->kind == SQL_TEXT || v->kind == SQL_NUMBER || v->kind == SQL_HEX) {
		strbuf_addch(out, '<');
		strbuf_add(out, v->data, v->len);
		strbuf_addch(out, '>');
	}
}

/* All items, one a line, then "end" or the error. */
static void render(struct memory *m, enum sql_backslashes b, struct strbuf *out)
{
	struct sql_source src = {memory_read, m};
	struct sql_read *s = sql_read_new(&src, b);
	struct sql_item item;
	struct err e = ERR_INIT;
	int r;
	while ((r = sql_read_next(s, &item, &e)) == 1) {
		strbuf_addf(out, "%" PRIu64 ":%" PRIu64 " %s %s%s", item.line, item.statement,
			    item.truncate ? "truncate" : "row", item.table->text, item.table->quoted ? "(quoted)" : "");
		for (size_t i = 0; i < item.n_columns; i++)
			strbuf_addf(out, "%c%s%s", i ? ',' : '/', item.columns[i].text,
				    item.columns[i].quoted ? "(quoted)" : "");
		for (size_t i = 0; i < item.n_values; i++)
			render_value(out, &item.values[i]);
		strbuf_addch(out, '\n');
	}
	strbuf_adds(out, r == 0 ? "end" : e.msg);
	assert_true(r == 0 || r == -EBADMSG || r == -EIO);
	assert_int_equal(sql_read_next(s, &item, &e), r); /* it stays so */
	sql_read_free(s);
}

struct reading {
	const char *text;
	enum sql_backslashes backslashes;
	const char *items;
};

static const struct reading readings[] = {
    {"TRUNCATE TABLE t;\nINSERT INTO t VALUES ('a','it''s',null);\nINSERT INTO t (json) VALUES ('{}');\n",
     SQL_BACKSLASH_PLAIN, "1:1 truncate t\n2:2 row t text<a> text<it's> null\n3:3 row t/json text<{}>\nend"},
    {"\xef\xbb\xbf-- hello; 'x\r\n\r\n truncate  t ; insert\r\n into `a``\nb` ( \"c\" , d )\r\nvalues (1,-2.5e+3) ,\n "
     "(TRUE,False);"
     "--x",
     SQL_BACKSLASH_PLAIN,
     "3:1 truncate t\n6:2 row a`\nb(quoted)/c(quoted),d number<1> number<-2.5e+3>\n7:2 row "
     "a`\nb(quoted)/c(quoted),d true false\nend"},
    {"INSERT INTO t VALUES ('', '\n', x'00fF', 0x61, X'');\nTRUNCATE \"table\";TRUNCATE table;TRUNCATE TABLE \"T\";",
     SQL_BACKSLASH_PLAIN,
     "1:1 row t text<> text<\n> hex<?\xff> hex<a> hex<>\n3:2 truncate table(quoted)\n3:3 truncate table\n3:4 truncate "
     "T(quoted)\nend"},
    {"INSERT INTO t VALUES ('a\\b\\\\c\\');", SQL_BACKSLASH_PLAIN, "1:1 row t text<a\\b\\\\c\\>\nend"},
    {"INSERT INTO t VALUES ('a\\\\b\\\\\\\\c\\\\');", SQL_BACKSLASH_DOUBLED, "1:1 row t text<a\\b\\\\c\\>\nend"},
    {"INSERT INTO t VALUES ('a\\\\\\b');", SQL_BACKSLASH_DOUBLED,
     "line 1: 3 backslashes side by side, where they are taken to be doubled"},
    {"INSERT INTO t VALUES ('a\\\\b\\'\\\"\\n\\r\\t\\0\\b\\Z\\%\\_');", SQL_BACKSLASH_MYSQL,
     "1:1 row t text<a\\b'\"\n\r\t?\b\x1a\\%\\_>\nend"},
    {"INSERT INTO t VALUES ('100%%s %d');", SQL_BACKSLASH_MYSQL, "1:1 row t text<100%%s %d>\nend"},
    {"INSERT INTO t VALUES (E'a\\nb\\\\c\\'d');", SQL_BACKSLASH_DOUBLED, "1:1 row t text<a\nb\\c'd>\nend"},
    {"INSERT INTO t VALUES (1,JSON_REPLACE(CAST('[1.5E-0, \")\", \"it''s\"]' AS JSON),'$[0]',CAST(1.5 AS "
     "DECIMAL(2,1)),'$.\"a)\"',(SELECT COALESCE(x,x'00') FROM JSON_TABLE('[0]','$[*]' COLUMNS(x BLOB PATH '$.x')) "
     "z)),'b');",
     SQL_BACKSLASH_MYSQL, "1:1 row t number<1> text<[1.5E-0, \")\", \"it's\"]> text<b>\nend"},
    {"", SQL_BACKSLASH_PLAIN, "end"},
    {" \n--\n", SQL_BACKSLASH_PLAIN, "end"},
    /* refused */
    {"\nDROP TABLE t;", SQL_BACKSLASH_PLAIN,
     "line 2: a statement that begins with \"DROP\": such a file holds only TRUNCATE and INSERT"},
    {"INSERT INTO t VALUES ('\\u00e9');", SQL_BACKSLASH_MYSQL,
     "line 1: a backslash before \"u\", which MySQL would drop (was the file written for PostgreSQL?)"},
    {"TRUNCATE TABLE s.t;", SQL_BACKSLASH_PLAIN, "line 1: \"s.\": a table is named without its schema or database"},
    {"TRUNCATE TABLE t CASCADE;", SQL_BACKSLASH_PLAIN, "line 1: \";\" is expected here"},
    {"TRUNCATE TABLE t\n", SQL_BACKSLASH_PLAIN, "line 2: the file ends in the middle of a statement (it is cut)"},
    {"INSERT INTO t VALUES ('a');\nINSERT INTO t VALUES ('b", SQL_BACKSLASH_PLAIN,
     "1:1 row t text<a>\nline 2: the file ends in a value (it is cut)"},
    {"INSERT INTO t VALUES ('a')", SQL_BACKSLASH_PLAIN,
     "1:1 row t text<a>\nline 1: the file ends in the middle of a statement (it is cut)"},
    {"INSERT INTO t VALUES ('a','b',", SQL_BACKSLASH_PLAIN,
     "line 1: the file ends in the middle of a statement (it is cut)"},
    {"INSERT INTO t VALUES ('a' 'b');", SQL_BACKSLASH_PLAIN, "line 1: \")\" is expected here"},
    {"INSERT INTO t VALUES (json_replace(cast('[1]' as json),'$[0]',1));", SQL_BACKSLASH_PLAIN,
     "line 1: \"json_replace\" is no value"},
    {"INSERT INTO t VALUES (json_replace('[1]','$[0]',1));", SQL_BACKSLASH_MYSQL, "line 1: a document that is no CAST"},
    {"INSERT INTO t VALUES (json_replace(cast(x'00' as json),'$[0]',1));", SQL_BACKSLASH_MYSQL,
     "line 1: a document that is no text"},
    {"INSERT INTO t VALUES (json_replace(cast('[1]' as json),'$[0]',(1);", SQL_BACKSLASH_MYSQL,
     "line 1: \";\" in a document's expression"},
    {"INSERT INTO t VALUES (json_replace(cast('[1]' as json),'$[0]',(1)", SQL_BACKSLASH_MYSQL,
     "line 1: the file ends in a value (it is cut)"},
    {"INSERT INTO t VALUES (now());", SQL_BACKSLASH_PLAIN, "line 1: \"now\" is no value"},
    {"INSERT INTO t VALUES (1x);", SQL_BACKSLASH_PLAIN, "line 1: a value that is no number"},
    {"INSERT INTO t VALUES (1.);", SQL_BACKSLASH_PLAIN, "line 1: a value that is no number"},
    {"INSERT INTO t VALUES (--1\n);", SQL_BACKSLASH_PLAIN, "line 1: a value that is no number"},
    {"INSERT INTO t VALUES (x'0');", SQL_BACKSLASH_PLAIN, "line 1: a hexadecimal value with an odd number of digits"},
    {"INSERT INTO t VALUES ();", SQL_BACKSLASH_PLAIN, "line 1: a value is expected here"},
    {"INSERT INTO t SELECT 1;", SQL_BACKSLASH_PLAIN, "line 1: VALUES is expected here"},
    {"INSERT INTO `t\n VALUES (1);", SQL_BACKSLASH_PLAIN, "line 2: the file ends in a name (it is cut)"},
    {"/* x */ TRUNCATE TABLE t;", SQL_BACKSLASH_PLAIN, "line 1: this begins no statement"},
};

static void statements_and_values(void **state)
{
	(void)state;
	static const size_t pieces[] = {1, 2, 3, 7, 1 << 20};
	for (size_t i = 0; i < sizeof readings / sizeof *readings; i++)
		for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
			_cleanup_strbuf_ struct strbuf out = {0};
			struct memory m = {readings[i].text, strlen(readings[i].text), pieces[k], 0};
			render(&m, readings[i].backslashes, &out);
			for (size_t n = 0; n < out.len; n++)
				out.data[n] = out.data[n] ? out.data[n] : '?'; /* a NUL byte, in what is expected */
			assert_string_equal(strbuf_str(&out), readings[i].items);
		}
}

static void a_failing_source_is_no_end(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf out = {0};
	struct memory m = {"TRUNCATE TABLE t;\nTRUNCATE TABLE u;\n", 36, 4, 20};
	render(&m, SQL_BACKSLASH_PLAIN, &out);
	assert_string_equal(strbuf_str(&out), "1:1 truncate t\na bad disk");
}

/* A value larger than the window, with everything special at its edges. */
static void a_large_value(void **state)
{
	(void)state;
	for (size_t edge = (256 << 10) - 3; edge < (256 << 10) + 3; edge++) {
		_cleanup_strbuf_ struct strbuf text = {0}, want = {0}, out = {0};
		strbuf_adds(&text, "INSERT INTO t VALUES ('");
		strbuf_adds(&want, "1:1 row t text<");
		while (text.len < edge) {
			strbuf_addch(&text, 'x');
			strbuf_addch(&want, 'x');
		}
		strbuf_adds(&text, "''\\\\\\\\''\n');");
		strbuf_adds(&want, "'\\\\'\n>\nend");
		struct memory m = {text.data, text.len, 1 << 20, 0};
		render(&m, SQL_BACKSLASH_DOUBLED, &out);
		assert_string_equal(strbuf_str(&out), strbuf_str(&want));
	}
}

struct scanning {
	const char *text;
	bool mysql;
	enum sql_choice choice;
	int reading; /* -1: refused */
	const char *words;
};

static const struct scanning scannings[] = {
    {"TRUNCATE TABLE t;", false, SQL_CHOICE_AUTO, SQL_BACKSLASH_PLAIN, ""},
    {"INSERT INTO t VALUES ('\\');", false, SQL_CHOICE_AUTO, SQL_BACKSLASH_PLAIN, "as they are: line 1"},
    {"INSERT INTO t VALUES ('a\\\\');\nINSERT INTO t VALUES ('{\"a\": \"x\\ny\"}');", false, SQL_CHOICE_AUTO,
     SQL_BACKSLASH_PLAIN, "as they are: line 2"},
    /* a document one way only */
    {"INSERT INTO t VALUES ('a\\\\');\nINSERT INTO t VALUES ('{\"a\": \"say \\\\\"x\\\\\"\"}');", false,
     SQL_CHOICE_AUTO, SQL_BACKSLASH_DOUBLED, "as doubled.*line 2"},
    {"INSERT INTO t VALUES ('{\"a\": \"C:\\\\dir\"}');", false, SQL_CHOICE_AUTO, SQL_BACKSLASH_PLAIN, "as they are"},
    {"INSERT INTO t VALUES ('{''a'': \"it''s\", ''b'': ''say \\\\''x\\\\'''' }');", false, SQL_CHOICE_AUTO,
     SQL_BACKSLASH_DOUBLED, "as doubled"},
    /* both ways, and no way */
    {"INSERT INTO t VALUES ('x');\nINSERT INTO t VALUES ('{\"a\": \"x\\\\ny\"}');", false, SQL_CHOICE_AUTO, -1,
     "line 2: nothing in the file tells"},
    {"INSERT INTO t VALUES ('a\\\\b');", false, SQL_CHOICE_AUTO, -1, "line 1: nothing in the file tells"},
    {"INSERT INTO t VALUES ('a\\\\b');", false, SQL_CHOICE_DOUBLED, SQL_BACKSLASH_DOUBLED, "doubled, as was asked for"},
    {"INSERT INTO t VALUES ('a\\\\b');", false, SQL_CHOICE_PLAIN, SQL_BACKSLASH_PLAIN, "as they are, as was asked for"},
    {"INSERT INTO t VALUES ('a\\\\\\b');", false, SQL_CHOICE_DOUBLED, -1, "line 1: 3 backslashes"},
    {"INSERT INTO t VALUES ('{\"a\": \"\\\\\"x\"}');\nINSERT INTO t VALUES ('\\');", false, SQL_CHOICE_AUTO, -1,
     "line 2 can only be read with backslashes as they are, line 1 only with doubled ones"},
    {"INSERT INTO t VALUES ('a\\\\b');", true, SQL_CHOICE_AUTO, SQL_BACKSLASH_MYSQL, ""},
    {"-- nothing\n", false, SQL_CHOICE_AUTO, -1, "there is no statement in it"},
};

static void what_backslashes_mean(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof scannings / sizeof *scannings; i++) {
		const struct scanning *c = &scannings[i];
		struct memory m = {c->text, strlen(c->text), 5, 0};
		struct sql_source src = {memory_read, &m};
		struct sql_scan scan;
		struct err e = ERR_INIT;
		int r = sql_scan(&src, c->mysql, c->choice, &scan, &e);
		if (r != (c->reading < 0 ? -EBADMSG : 0))
			fail_msg("%s: %d %s", c->text, r, e.msg);
		const char *words = r < 0 ? e.msg : scan.why;
		const char *star = strstr(c->words, ".*");
		_cleanup_free_ char *first = star ? xmemdup0(c->words, (size_t)(star - c->words)) : xstrdup(c->words);
		if (!strstr(words, first) || (star && !strstr(words, star + 2)) || (!*c->words && *words))
			fail_msg("%s: \"%s\"", c->text, words);
		if (r == 0)
			assert_int_equal(scan.reading, c->reading);
		sql_scan_done(&scan);
	}
}

static void tables_are_noted_once(void **state)
{
	(void)state;
	const char *text = "TRUNCATE a;\nINSERT INTO a VALUES (1),(2);\nTRUNCATE b;\nTRUNCATE \"a\";\nTRUNCATE a;";
	struct memory m = {text, strlen(text), 100, 0};
	struct sql_source src = {memory_read, &m};
	struct sql_scan scan;
	assert_int_equal(sql_scan(&src, false, SQL_CHOICE_AUTO, &scan, ERR_DROP), 0);
	assert_int_equal(scan.rows, 2);
	assert_int_equal(scan.statements, 5);
	assert_int_equal(scan.n_tables, 3);
	assert_string_equal(scan.tables[1].name.text, "b");
	assert_int_equal(scan.tables[1].line, 3);
	assert_true(scan.tables[2].name.quoted);
	sql_scan_done(&scan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(statements_and_values), cmocka_unit_test(a_failing_source_is_no_end),
	    cmocka_unit_test(a_large_value),         cmocka_unit_test(what_backslashes_mean),
	    cmocka_unit_test(tables_are_noted_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
