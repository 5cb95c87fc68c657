/*
 * tests/unit/snapshot/sqlfile/restore_test.c - snapshot/sqlfile/restore.c on SQLite databases: rows in and out as the
 * file says, the plan, the line of a refused row wherever it stands among thousands, and a failure at every call of the
 * driver (the database is as before, or as the file says, never between).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>

#include "snapshot/service/service.h"
#include "snapshot/sqlfile/read.h"
#include "tests/unit/world.h"

static const char tables[] =
    "CREATE TABLE entity(name TEXT AS (json_extract(json,'$.name')) STORED, id INTEGER PRIMARY KEY, "
    "json JSON NOT NULL);"
    "CREATE TABLE series(a TEXT, b BLOB); CREATE TABLE Other(x);"
    "INSERT INTO entity(id, json) VALUES (1, '{\"name\":\"old\"}'), (2, '{\"name\":\"older\"}');"
    "INSERT INTO series VALUES ('kept', x'00ff'); INSERT INTO Other VALUES (5)";

struct text_source {
	const struct strbuf *text;
	bool changes; /* another byte at the second reading */
	unsigned readings;
};

static int text_read(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e)
{
	struct text_source *t = arg;
	(void)e;
	t->readings += offset == 0;
	*ret_n = offset >= t->text->len ? 0 : n < t->text->len - offset ? n : t->text->len - (size_t)offset;
	memcpy(buf, t->text->data + (*ret_n ? offset : 0), *ret_n);
	if (t->changes && t->readings > 1 && offset == 0 && *ret_n)
		*(char *)memchr(buf, '7', *ret_n) = '8';
	return 0;
}

static char *dump(const char *path)
{
	struct strbuf out = {0};
	sql_rows(path, "SELECT id, quote(json), name FROM entity ORDER BY id", &out);
	sql_rows(path, "SELECT quote(a), quote(b) FROM series ORDER BY 1, 2", &out);
	return strbuf_detach(&out);
}

struct outcome {
	struct restore_plan plan;
	struct strbuf report;
	struct err e;
};

static void outcome_done(struct outcome *o)
{
	restore_plan_done(&o->plan);
	strbuf_done(&o->report);
}

static int apply_as(struct world *w, struct text_source *source, enum restore_policy policy, bool dry_run,
		    struct outcome *o)
{
	struct sql_file file = {.source = {text_read, source}};
	struct restore_request rq = {.sql = &file, .label = "test.sql", .policy = policy, .dry_run = dry_run};
	*o = (struct outcome){.e = ERR_INIT};
	return service_restore(w->service, 0, &rq, &w->me, NULL, &o->plan, &o->report, &o->e);
}

static int apply(struct world *w, const struct strbuf *text, struct outcome *o)
{
	struct text_source source = {.text = text};
	return apply_as(w, &source, RESTORE_REPLACE, false, o);
}

/* A file of n entities, its line `bad` (0: none) the same row as line 2. */
static void make_file(struct strbuf *out, unsigned n, unsigned bad)
{
	strbuf_adds(out, "TRUNCATE TABLE entity;\n");
	for (unsigned i = 1; i <= n; i++)
		strbuf_addf(out, "INSERT INTO entity VALUES ('n%u',%u,'{''name'': \"n%u\", ''x'': [True, 1.10]}');\n",
			    i, i + 1 == bad ? 1 : i, i);
	strbuf_adds(out, "insert into SERIES (b, a) values (x'0a', 'it''s'), (null, '7');\n");
}

static void rows_as_the_file_says(void **state)
{
	(void)state;
	struct world w;
	_cleanup_strbuf_ struct strbuf file = {0};
	struct outcome o;
	world_new(&w, tables);
	world_open(&w, "");
	make_file(&file, 3, 0);
	_cleanup_free_ char *before = dump(w.db);
	struct text_source source = {.text = &file};
	assert_int_equal(apply_as(&w, &source, RESTORE_REPLACE, true, &o), 0);
	_cleanup_free_ char *still = dump(w.db);
	assert_string_equal(before, still);
	assert_int_equal(o.plan.n, 2);
	assert_string_equal(o.plan.v[0].table, "entity");
	assert_int_equal(o.plan.v[0].inserts, 3);
	assert_int_equal(o.plan.v[0].deletes, 2);
	assert_int_equal(o.plan.v[1].inserts, 2);
	assert_int_equal(o.plan.v[1].deletes, 0);
	outcome_done(&o);
	if (apply(&w, &file, &o) < 0)
		fail_msg("%s", o.e.msg);
	assert_int_equal(o.plan.v[0].inserts, 3);
	assert_non_null(strstr(strbuf_str(&o.report), "values of 1 generated columns"));
	assert_null(strstr(strbuf_str(&o.report), "not compared"));
	outcome_done(&o);
	_cleanup_free_ char *after = dump(w.db);
	assert_string_equal(
	    after, "1|'{\"name\":\"n1\",\"x\":[true,1.10]}'|n1|\n2|'{\"name\":\"n2\",\"x\":[true,1.10]}'|n2|\n"
		   "3|'{\"name\":\"n3\",\"x\":[true,1.10]}'|n3|\n'7'|NULL|\n'it''s'|X'0A'|\n'kept'|X'00FF'|\n");
	world_close(&w);
	world_end(&w);
}

static void the_line_of_a_refused_row(void **state)
{
	(void)state;
	static const unsigned bad[] = {3, 500, 501, 502, 1001, 1777, 2001};
	struct world w;
	world_new(&w, tables);
	world_open(&w, "");
	_cleanup_free_ char *before = dump(w.db);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		_cleanup_strbuf_ struct strbuf file = {0};
		_cleanup_free_ char *want = xasprintf("line %u: ", bad[i]);
		struct outcome o;
		make_file(&file, 2000, bad[i]);
		assert_int_equal(apply(&w, &file, &o), -EEXIST);
		if (strncmp(o.e.msg, want, strlen(want)) != 0)
			fail_msg("%s is not: %s", want, o.e.msg);
		outcome_done(&o);
		_cleanup_free_ char *after = dump(w.db);
		assert_string_equal(before, after);
	}
	world_close(&w);
	world_end(&w);
}

static void refusals(void **state)
{
	(void)state;
	static const struct {
		const char *text, *words;
		int code;
	} cases[] = {
	    {"TRUNCATE TABLE none;", "line 1: table none is not in the database", -EBADMSG},
	    {"\nINSERT INTO entity (id, nothing) VALUES (1, 2);", "line 2: table entity has no column \"nothing\"",
	     -EBADMSG},
	    {"INSERT INTO entity (id, ID) VALUES (1, 2);", "line 1: column id of table entity is named twice",
	     -EBADMSG},
	    {"INSERT INTO entity VALUES (1);", "line 1: 1 values for table entity, which has 3 columns, 2 of them not",
	     -EBADMSG},
	    {"INSERT INTO entity (name) VALUES ('a');", "line 1: no column of table entity is given but generated",
	     -EBADMSG},
	    {"INSERT INTO entity (id) VALUES (1, 2);", "line 1: 2 values for the 1 columns", -EBADMSG},
	    {"TRUNCATE entity;\nINSERT INTO entity VALUES (1, '{');", "line 2: table entity, column json: neither JSON",
	     -EBADMSG},
	    {"TRUNCATE entity;\nINSERT INTO entity VALUES (1, NULL);", "line 2: ", -EEXIST},
	};
	struct world w;
	world_new(&w, tables);
	world_open(&w, "");
	_cleanup_free_ char *before = dump(w.db);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct strbuf file = {.data = (char *)(uintptr_t)cases[i].text, .len = strlen(cases[i].text)};
		struct outcome o;
		int r = apply(&w, &file, &o);
		if (r != cases[i].code || strncmp(o.e.msg, cases[i].words, strlen(cases[i].words)) != 0)
			fail_msg("%s: %d %s", cases[i].text, r, o.e.msg);
		outcome_done(&o);
		_cleanup_free_ char *after = dump(w.db);
		assert_string_equal(before, after);
	}
	_cleanup_strbuf_ struct strbuf file = {0};
	struct outcome o;
	make_file(&file, 10, 0);
	struct text_source source = {.text = &file};
	assert_int_equal(apply_as(&w, &source, RESTORE_OFF, false, &o), -EPERM);
	outcome_done(&o);
	assert_int_equal(apply_as(&w, &source, RESTORE_EMPTY, false, &o), -ENOTEMPTY);
	outcome_done(&o);
	source = (struct text_source){.text = &file, .changes = true};
	assert_int_equal(apply_as(&w, &source, RESTORE_REPLACE, false, &o), -EBADMSG);
	assert_non_null(strstr(o.e.msg, "changed while it was read"));
	outcome_done(&o);
	_cleanup_free_ char *after = dump(w.db);
	assert_string_equal(before, after);
	/* what has no rows in the tables of the file is empty enough */
	sql(w.db, "DELETE FROM entity; DELETE FROM series");
	source = (struct text_source){.text = &file};
	assert_int_equal(apply_as(&w, &source, RESTORE_EMPTY, false, &o), 0);
	outcome_done(&o);
	world_close(&w);
	world_end(&w);
}

static void a_fault_anywhere_changes_nothing(void **state)
{
	(void)state;
	static const char *const calls[] = {"begin",    "schema_sql", "scan_open",    "scan_next",  "scan_close",
					    "finish",   "settle",     "change_begin", "delete_all", "load_begin",
					    "load_row", "load_end",   "change_end",   "commit"};
	_cleanup_strbuf_ struct strbuf file = {0};
	struct world w;
	world_new(&w, tables);
	make_file(&file, 700, 0);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		for (int after = 0; after < 3; after++) {
			_cleanup_free_ char *before = dump(w.db);
			_cleanup_free_ char *options = xasprintf("?fail=%s&after=%d&errno=28", calls[i], after);
			struct outcome o;
			world_open(&w, options);
			int r = apply(&w, &file, &o);
			_cleanup_free_ char *now = dump(w.db);
			if (r < 0 && strcmp(before, now) != 0)
				fail_msg("%s: %s, and the database changed", options, o.e.msg);
			if (r < 0 && r != -28)
				fail_msg("%s: %d %s", options, r, o.e.msg);
			outcome_done(&o);
			world_close(&w);
			sql(w.db, "DELETE FROM entity WHERE id > 2; DELETE FROM series WHERE a <> 'kept'");
		}
	world_open(&w, "");
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf report = {0};
	if (service_check(w.service, &report, &e) < 0)
		fail_msg("%s %s", e.msg, strbuf_str(&report));
	world_close(&w);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rows_as_the_file_says),
	    cmocka_unit_test(the_line_of_a_refused_row),
	    cmocka_unit_test(refusals),
	    cmocka_unit_test(a_fault_anywhere_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
