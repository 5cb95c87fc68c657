/*
 * tests/unit/snapshot/openmetadata/names_path_test.c - snapshot/openmetadata/names_path.c: how types and names are
 * spelled.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "snapshot/openmetadata/names_path.h"

static void types(void **state)
{
	static const char *const pairs[][2] = {
	    {"table_entity", "table"},
	    {"dashboard_service_entity", "dashboardService"},
	    {"glossary_term_entity", "glossaryTerm"},
	    {"test_case", "testCase"},
	    {"tag", "tag"},
	    {"user_entity", "user"},
	    {"_entity", "_entity"},
	    {"a__b_entity", "a_B"},
	    {"table_entity_2", "tableEntity_2"},
	    {"TABLE_ENTITY", "TABLE"},
	    {"od/d.entity", "od%2Fd%2Eentity"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		struct strbuf out = {0};
		names_type(pairs[i][0], &out);
		assert_string_equal(pairs[i][1], strbuf_str(&out));
		strbuf_done(&out);
	}
}

static void paths(void **state)
{
	static const struct {
		const char *fqn;
		bool one_part;
		const char *path;
	} cases[] = {
	    {"svc.db.public.orders", false, "t/svc/db/public/orders.json"},
	    {"svc.\"a.b\".t", false, "t/svc/a.b/t.json"},
	    {"svc.\"a\"\"b\".t", false, "t/svc/a%22b/t.json"},
	    {"svc.\"a\\\"b\".t", false, "t/svc/a%22b/t.json"},
	    {"svc.\"ends in \\\".t", false, "t/svc/ends in %5C/t.json"},
	    {"\"whole.name\"", false, "t/whole.name.json"},
	    {"\"\".x", false, "t/%/x.json"},
	    {"", false, "t/%.json"},
	    {"a.", false, "t/a/%.json"},
	    {".a", false, "t/%/a.json"},
	    {"x.json", false, "t/x/json.json"},
	    {"\"x.json\"", false, "t/x.json.json"},
	    {"\"x.json\".y", false, "t/x%2Ejson/y.json"},
	    {"\".json\".y", false, "t/%2Ejson/y.json"},
	    {"\"..\".\".\"", false, "t/%2E./%2E.json"},
	    {"a/b.c:d", false, "t/a%2Fb/c%3Ad.json"},
	    {"100%.~x", false, "t/100%25/%7Ex.json"},
	    {"größe.日本", false, "t/größe/日本.json"},
	    {"\xff.\xc3", false, "t/%FF/%C3.json"},
	    {"tab\there", false, "t/tab%09here.json"},
	    /* what is not well quoted is one part from there on */
	    {"a.\"open.b", false, "t/a/%22open.b.json"},
	    {"a.b\"c.d", false, "t/a/b%22c.d.json"},
	    {"a.\"b\"c.d", false, "t/a/%22b%22c.d.json"},
	    /* names that are no fully-qualified ones */
	    {"john.doe", true, "t/john.doe.json"},
	    {"\"q\"", true, "t/%22q%22.json"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct strbuf out = {0};
		names_path("t", cases[i].fqn, strlen(cases[i].fqn), cases[i].one_part, &out);
		assert_string_equal(cases[i].path, strbuf_str(&out));
		strbuf_done(&out);
	}
}

/* Long parts are cut between characters and stay apart; a deep name ends in one part. */
static void long_paths(void **state)
{
	(void)state;
	for (size_t len = 140; len < 300; len++) {
		struct strbuf name = {0}, a = {0}, b = {0};
		for (size_t i = 0; i < len; i++)
			strbuf_adds(&name, i % 5 == len % 5 ? "ü" : i % 7 == 0 ? "/" : "x");
		names_path("t", name.data, name.len, true, &a);
		name.data[name.len - 1] = 'y';
		names_path("t", name.data, name.len, true, &b);
		assert_string_not_equal(a.data, b.data);
		assert_true(a.len <= 2 + NAMES_PART_MAX + 5);
		char *cut = strchr(a.data, '~');
		assert_true(!cut || (a.len == (size_t)(cut - a.data) + 1 + 32 + 5));
		for (const char *p = a.data; cut && p < cut; p++) {
			size_t left = (size_t)(cut - p);
			assert_true(*p != '%' || left > 2);
			assert_true((unsigned char)*p != 0xc3 || left > 1);
		}
		strbuf_done(&name);
		strbuf_done(&a);
		strbuf_done(&b);
	}
	struct strbuf deep = {0}, path = {0};
	for (int i = 0; i < 100; i++)
		strbuf_addf(&deep, "%sp%d", i ? "." : "", i);
	names_path("t", deep.data, deep.len, false, &path);
	unsigned slashes = 0;
	for (size_t i = 0; i < path.len; i++)
		slashes += path.data[i] == '/';
	assert_int_equal(slashes, NAMES_DEPTH_MAX);
	assert_non_null(strstr(path.data, "/p58/p59.p60."));
	strbuf_done(&deep);
	strbuf_done(&path);
}

/* Different parts never have one spelling, as a folder or as a file. */
static void spelling_is_injective(void **state)
{
	static const char alphabet[] = "ab.%~/\\\"{2E}json";
	(void)state;
	srand(5);
	for (int i = 0; i < 4000; i++) {
		char part[8];
		size_t len = (size_t)rand() % 7;
		for (size_t k = 0; k < len; k++)
			part[k] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
		/* a backslash before a quote is old data's way to write a quote: such a part reads otherwise */
		if (memmem(part, len, "\\\"", 2))
			continue;
		struct strbuf fqn = {0}, path = {0};
		strbuf_addch(&fqn, '"');
		for (size_t k = 0; k < len; k++) {
			strbuf_addch(&fqn, part[k]);
			if (part[k] == '"')
				strbuf_addch(&fqn, '"');
		}
		strbuf_adds(&fqn, "\".x");
		names_path("t", fqn.data, fqn.len, false, &path);
		/* the way back by hand */
		struct strbuf back = {0};
		const char *p = path.data + 2, *end = path.data + path.len - strlen("/x.json");
		for (; p < end; p++) {
			unsigned c = (unsigned char)*p;
			if (c == '%' && p + 2 < end) {
				assert_int_equal(sscanf(p + 1, "%2X", &c), 1);
				p += 2;
			} else if (c == '%') {
				break;
			}
			strbuf_addch(&back, (char)c);
		}
		if (back.len != len || memcmp(strbuf_str(&back), part, len) != 0)
			fail_msg("%.*s: %s", (int)len, part, path.data);
		strbuf_done(&path);
		strbuf_done(&fqn);
		strbuf_done(&back);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(types),
	    cmocka_unit_test(paths),
	    cmocka_unit_test(long_paths),
	    cmocka_unit_test(spelling_is_injective),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
