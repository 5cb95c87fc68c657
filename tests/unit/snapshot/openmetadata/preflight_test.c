/*
 * tests/unit/snapshot/openmetadata/preflight_test.c - snapshot/openmetadata/preflight.c: versions, names, the server's
 * configuration, and what is made of a database, a server or a catalog that fails (the SQLite driver and the one with
 * faults). The cases of tests/fs look at real servers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "snapshot/openmetadata/preflight.h"
#include "snapshot/openmetadata/preflight_server.h"
#include "tests/unit/world.h"

static char *test_place, *test_db;

static int test_setup(void **state)
{
	(void)state;
	test_place = test_dir();
	test_db = xasprintf("%s/db.sqlite", test_place);
	return 0;
}

static int test_teardown(void **state)
{
	(void)state;
	test_dir_end(test_place, "db.sqlite", "server.env");
	free(test_db);
	return 0;
}

static void test_make_db(const char *text)
{
	(void)unlink(test_db);
	sql(test_db, text);
}

/* The report of a URL as text. */
static void test_report(const char *url, const char *to, struct strbuf *out)
{
	struct config config;
	struct preflight_report report;
	struct err e = ERR_INIT;
	assert_int_equal(config_from_url(&config, url, "src", &e), 0);
	struct preflight_request rq = {.source = &config.sources[0], .label = "src", .to = to};
	assert_int_equal(preflight_run(&rq, &report, &e), 0);
	strbuf_clear(out);
	preflight_text(&report, out);
	preflight_report_done(&report);
	config_done(&config);
}

static void assert_holds(const struct strbuf *text, const char *what)
{
	if (!strstr(strbuf_str(text), what))
		fail_msg("no \"%s\" in:\n%s", what, strbuf_str(text));
}

static void test_versions(void **state)
{
	(void)state;
	static const char *const good[] = {"1.2", "1.2.3", "1.2.3.4", "0.13.1", "10.0"};
	static const char *const bad[] = {"",     "1",       "1.",   ".1",        "1..2", "1.2.", "1.2.3.4.5",
					  "v1.2", "1.2-rc1", "1.2 ", "1234567.1", "-1.2", "1.+2", "1.0x1"};
	struct preflight_version v;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_int_equal(preflight_version_parse(&v, good[i]), 0);
	assert_true(v.known && v.part[0] == 10);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(preflight_version_parse(&v, bad[i]), -EINVAL);
}

static void test_names(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} names[] = {
	    {"a.b \"c\"", "a.b \"c\""},
	    {"Größe 説明 \xf0\x9f\x93\x8a", "Größe 説明 \xf0\x9f\x93\x8a"},
	    {"\033[2J\n\t\x7f", "\\x1b[2J\\x0a\\x09\\x7f"},
	    {"\xc2\x9b", "\\xc2\\x9b"},          /* CSI in one character */
	    {"\xe2\x80\xae", "\\xe2\\x80\\xae"}, /* right to left */
	    {"\xc0\xaf", "\\xc0\\xaf"},          /* overlong */
	    {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},
	    {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* surrogate */
	    {"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
	    {"\xe2\x82", "\\xe2\\x82"}, /* cut */
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		_cleanup_strbuf_ struct strbuf out = {0};
		preflight_add_name(&out, names[i].in, strlen(names[i].in));
		assert_string_equal(strbuf_str(&out), names[i].out);
	}
	_cleanup_strbuf_ struct strbuf out = {0};
	char name[1000];
	memset(name, 'x', sizeof name);
	preflight_add_name(&out, name, sizeof name);
	assert_int_equal(out.len, 203);
}

static void test_secrets_manager(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum preflight_status status;
	} files[] = {
	    {"SECRET_MANAGER=noop\n", PREFLIGHT_FAIL},
	    {"export SECRET_MANAGER=\"noop\"", PREFLIGHT_FAIL},
	    {"SECRET_MANAGER=db\r\n", PREFLIGHT_OK},
	    {"SECRET_MANAGER=noop\nSECRET_MANAGER=db\n", PREFLIGHT_OK},
	    {"      SECRET_MANAGER: ${SECRET_MANAGER:-noop}\n", PREFLIGHT_FAIL},
	    {"      - SECRET_MANAGER=managed-aws-ssm # x\n", PREFLIGHT_OK},
	    {"  secretsManager: ${SECRET_MANAGER:-\"noop\"} # x\n", PREFLIGHT_FAIL},
	    {"  secretsManager: ${SECRET_MANAGER}\n", PREFLIGHT_INFO},
	    {"  secretsManager: 'db'\n", PREFLIGHT_OK},
	    {"  secretsManager: hunter2-secret\n", PREFLIGHT_WARN},
	    {"# SECRET_MANAGER=noop\nSECRET_MANAGER_X=noop\nsecretsManagerConfiguration:\n", PREFLIGHT_INFO},
	    {"", PREFLIGHT_INFO},
	};
	_cleanup_free_ char *path = xasprintf("%s/server.env", test_place);
	for (size_t i = 0; i <= sizeof files / sizeof files[0]; i++) {
		struct preflight_line l = {0};
		if (i < sizeof files / sizeof files[0]) {
			FILE *f = fopen(path, "w");
			assert_non_null(f);
			assert_true(fputs(files[i].text, f) >= 0);
			assert_int_equal(fclose(f), 0);
		} else {
			assert_int_equal(unlink(path), 0);
		}
		preflight_secrets_manager(path, &l);
		if (l.status != (i < sizeof files / sizeof files[0] ? files[i].status : PREFLIGHT_WARN))
			fail_msg("%zu: %s", i, strbuf_str(&l.found));
		assert_null(strstr(strbuf_str(&l.found), "hunter2"));
		strbuf_done(&l.found);
		strbuf_done(&l.todo);
	}
}

static void test_sqlite(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = {0};
	_cleanup_free_ char *url = xasprintf("sqlite:%s", test_db);
	test_make_db("CREATE TABLE SERVER_CHANGE_LOG (installed_rank INTEGER, version TEXT PRIMARY KEY);"
		     "INSERT INTO SERVER_CHANGE_LOG VALUES (1, '1.2.9'), (2, '1.2.10');"
		     "CREATE TABLE query_entity (id TEXT PRIMARY KEY, json TEXT);"
		     "INSERT INTO query_entity VALUES ('a', '{}'), ('b', '{\"x\": 12}');"
		     "CREATE TABLE user_entity (id TEXT PRIMARY KEY, json JSON);"
		     /* not objects, broken, NULL: no bots, and no reason to stop */
		     "INSERT INTO user_entity VALUES (1, NULL), (2, '[]'), (3, '{\"isBot\": '), (4, 'isBot'), (5, '1'),"
		     " (6, '{\"name\": 7, \"isBot\": true, \"authenticationMechanism\": {\"authType\": \"SSO\"}}');");
	test_report(url, "1.3.0", &text);
	assert_holds(&text, "INFO  server: SQLite");
	assert_holds(&text, "OK    openmetadata_version: OpenMetadata 1.2.10\n");
	assert_holds(&text, "OK    target: from 1.2.10 to 1.3.0\n");
	assert_holds(&text, "INFO  sort_memory: not applicable to SQLite\n");
	assert_holds(&text, "INFO  query_entity: query_entity has 2 rows, 13 bytes, the largest row has 10\n");
	assert_holds(&text, "FAIL  snapshot: there is no snapshot");
	assert_holds(&text, "FAIL  bots_jwt: 1 bot that does not log in by JWT: (an entity without a name) (SSO)\n");
	assert_holds(&text, "INFO  airflow_mssql: ");
}

/* What fails is a line of the report. */
static void test_faults(void **state)
{
	(void)state;
	static const struct {
		const char *fault, *line;
	} faults[] = {
	    {"fail=open&errno=95", "FAIL  server: "},
	    {"fail=open&errno=111", "INFO  openmetadata_version: not checked: server not reached\n"},
	    {"fail=begin&errno=13", "FAIL  privileges_snapshot: a snapshot cannot be taken: "},
	    {"fail=begin&errno=13", "INFO  bots_jwt: not checked: begin failed"},
	    {"fail=examine", "WARN  privileges_snapshot: not known: examine failed"},
	    {"fail=scan_open", "WARN  bots_jwt: not checked: table user_entity: scan_open failed"},
	    {"fail=scan_next", "WARN  bots_jwt: not checked: table user_entity: scan_next failed"},
	    {"fail=schema_sql", "FAIL  privileges_snapshot: a snapshot cannot be taken: schema_sql failed"},
	};
	test_make_db(
	    "CREATE TABLE user_entity (id TEXT PRIMARY KEY, json JSON); INSERT INTO user_entity VALUES (1, '{}');");
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		_cleanup_strbuf_ struct strbuf text = {0};
		_cleanup_free_ char *url = xasprintf("fake:%s?%s", test_db, faults[i].fault);
		test_report(url, NULL, &text);
		assert_holds(&text, faults[i].line);
		assert_holds(&text, "not ready: ");
	}
}

static int test_cancel(void *arg, struct db_conn *c, struct err *e)
{
	(void)e;
	(void)arg;
	if (c)
		db_driver_of(c)->cancel(c);
	return 0;
}

static void test_interrupted(void **state)
{
	(void)state;
	struct config config;
	struct preflight_report report;
	struct waiter waiter = {0};
	struct err e = ERR_INIT;
	_cleanup_free_ char *url = xasprintf("fake:%s?hang=examine", test_db);
	test_make_db("CREATE TABLE t (id INTEGER PRIMARY KEY);");
	assert_int_equal(config_from_url(&config, url, "src", &e), 0);
	struct preflight_request rq = {
	    .source = &config.sources[0], .label = "src", .waiter = &waiter, .connected = test_cancel};
	assert_int_equal(preflight_run(&rq, &report, &e), -EINTR);
	rq.to = "1.x";
	assert_int_equal(preflight_run(&rq, &report, &e), -EINVAL);
	config_done(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_versions), cmocka_unit_test(test_names),  cmocka_unit_test(test_secrets_manager),
	    cmocka_unit_test(test_sqlite),   cmocka_unit_test(test_faults), cmocka_unit_test(test_interrupted),
	};
	return cmocka_run_group_tests(tests, test_setup, test_teardown);
}
