/*
 * tests/unit/snapshot/row/manifest_test.c - snapshot/row/manifest.c: the texts out and in again, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/text.h"
#include "snapshot/row/manifest.h"

static char name_engine[] = "postgresql", name_version[] = "15.20", name_database[] = "om \"x\"\n",
	    name_schema[] = "public", name_app[] = "1.4.0", name_t1[] = "a", name_t2[] = "table_\xC3\xA4",
	    name_seq[] = "s";

static void fill(struct manifest *m, struct manifest_table tables[2], struct db_sequence *s)
{
	tables[0] = (struct manifest_table){.name = name_t1, .rows = 3, .line_bytes = INT64_MAX, .file_bytes = 5};
	tables[1] = (struct manifest_table){.name = name_t2, .has_auto_increment = true, .auto_increment = UINT64_MAX};
	tables[0].digest[0] = 0x01;
	tables[0].digest[31] = 0xfe;
	*s = (struct db_sequence){.name = name_seq, .last_value = INT64_MIN, .is_called = true};
	static char word[] = "2 rows of \"cfg\"", *words[] = {word, word};
	*m = (struct manifest){.taken_ms = 1795335330123,
			       .left_out = words,
			       .n_left_out = 2,
			       .engine = name_engine,
			       .server_version = name_version,
			       .database = name_database,
			       .schema = name_schema,
			       .app_version = name_app,
			       .tables = tables,
			       .n_tables = 2,
			       .sequences = s,
			       .n_sequences = 1};
	memset(m->schema_sha256, 0xa5, sizeof m->schema_sha256);
}

static void test_manifest_round(void **state)
{
	struct manifest m, got;
	struct manifest_table tables[2];
	struct db_sequence s;
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf text = {0}, again = {0};
	fill(&m, tables, &s);
	manifest_render(&m, &text);
	assert_non_null(strstr(text.data, "\"taken\": \"2026-11-22T08:15:30.123Z\""));
	/* Most significant byte first. */
	assert_non_null(strstr(text.data, "\"digest\": \"fe000000"));
	assert_non_null(strstr(text.data, "00000001\"}"));
	assert_int_equal(manifest_parse(&got, text.data, text.len, &e), 0);
	assert_int_equal(got.taken_ms, m.taken_ms);
	assert_string_equal(got.database, name_database);
	assert_string_equal(got.app_version, "1.4.0");
	assert_memory_equal(got.schema_sha256, m.schema_sha256, ROW_SHA_LEN);
	assert_int_equal(got.n_tables, 2);
	assert_true(got.tables[0].line_bytes == INT64_MAX);
	assert_memory_equal(got.tables[0].digest, tables[0].digest, ROW_SHA_LEN);
	assert_false(got.tables[0].has_auto_increment);
	assert_true(got.tables[1].has_auto_increment);
	assert_true(got.tables[1].auto_increment == UINT64_MAX);
	assert_string_equal(got.tables[1].name, name_t2);
	assert_true(got.sequences[0].last_value == INT64_MIN);
	assert_true(got.sequences[0].is_called);
	assert_int_equal(got.n_left_out, 2);
	assert_string_equal(got.left_out[1], m.left_out[1]);
	manifest_render(&got, &again);
	assert_string_equal(text.data, again.data);
	manifest_done(&got);

	/* Nothing in it, also the times at the edges. */
	static const int64_t times[] = {0, -1, 999, 253402300799999, -62135596800000};
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		m = (struct manifest){.taken_ms = times[i]};
		strbuf_clear(&text);
		manifest_render(&m, &text);
		int r = manifest_parse(&got, text.data, text.len, &e);
		if (r < 0 && times[i] >= 0)
			fail_msg("%lld: %s", (long long)times[i], e.msg);
		if (r >= 0) {
			assert_int_equal(got.taken_ms, times[i]);
			assert_null(got.schema);
			assert_int_equal(got.n_tables + got.n_sequences + got.n_left_out, 0);
		}
		manifest_done(&got);
	}
}

/* Each line of a good manifest taken out, then each member given another type: never accepted, except what may be
 * absent. */
static void test_manifest_refusals(void **state)
{
	struct manifest m, got;
	struct manifest_table tables[2];
	struct db_sequence s;
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf text = {0};
	fill(&m, tables, &s);
	manifest_render(&m, &text);
	static const struct {
		const char *from, *to;
		int want;
	} cases[] = {
	    {"\"format\": 1", "\"format\": 2", -ENOTSUP},
	    {"\"format\": 1", "\"format\": 0", -EBADMSG},
	    {"\"format\": 1", "\"format\": \"1\"", -EBADMSG},
	    {"\"format\": 1", "\"form\": 1", -EBADMSG},
	    {"\"metasnap\"", "\"other\"", -EBADMSG},
	    {"08:15:30.123Z", "08:15:30Z", -EBADMSG},
	    {"08:15:30.123Z", "08:15:30.123", -EBADMSG},
	    {"2026-11-22T", "2026-02-31T", -EBADMSG},
	    {"2026-11-22T", "2026-11-22 ", -EBADMSG},
	    {"\"engine\"", "\"engin\"", -EBADMSG},
	    {"\"15.20\"", "15.20", -EBADMSG},
	    {"\"public\"", "17", -EBADMSG},
	    {"\"public\"", "null", 0},
	    {"\"schema\": \"public\",", "", 0},
	    {"a5a5a5", "a5a5", -EBADMSG},
	    {"a5a5a5", "a5a5g5", -EBADMSG},
	    {"\"rows\": 3", "\"rows\": -3", -EBADMSG},
	    {"\"rows\": 3", "\"rows\": 3.0", -EBADMSG},
	    {"\"rows\": 3,", "", -EBADMSG},
	    {"\"rows\": 3", "\"rows\": 99999999999999999999", -EBADMSG},
	    {"\"rows\": 3", "\"rows\": 3, \"rows\": 3", -EBADMSG},
	    {"\"18446744073709551615\"", "\"18446744073709551616\"", -EBADMSG},
	    {"\"18446744073709551615\"", "\"-1\"", -EBADMSG},
	    {"\"18446744073709551615\"", "null", 0},
	    {"\"digest\": \"fe", "\"digest\": \"f", -EBADMSG},
	    {"\"last_value\": ", "\"last_value\": \"\", \"x\": ", -EBADMSG},
	    {"\"is_called\": true", "\"is_called\": 1", -EBADMSG},
	    {"\"left_out\": [", "\"left_out\": [1, ", -EBADMSG},
	    {"\"left_out\": ", "\"left_out\": {}, \"x\": ", -EBADMSG},
	    {"\"left_out\": ", "\"left_out\": null, \"x\": ", 0},
	    {"\"table_\xC3\xA4\"", "\"a\"", -EBADMSG},
	    {"\"table_\xC3\xA4\"", "\"\xC3\"", -EBADMSG},
	    {"]\n}\n", "]\n} x", -EBADMSG},
	    {"]\n}\n", "]\n", -EBADMSG},
	    {"\"a\": {", "\"a\": 1, \"b\": {", -EBADMSG},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		_cleanup_strbuf_ struct strbuf bad = {0};
		const char *at = strstr(text.data, cases[i].from);
		assert_non_null(at);
		strbuf_add(&bad, text.data, (size_t)(at - text.data));
		strbuf_adds(&bad, cases[i].to);
		strbuf_adds(&bad, at + strlen(cases[i].from));
		e = ERR_INIT;
		int r = manifest_parse(&got, bad.data, bad.len, &e);
		if (r != cases[i].want)
			fail_msg("%s -> %s gave %d (%s)", cases[i].from, cases[i].to, r, e.msg);
		assert_int_equal(-r, e.code);
		manifest_done(&got);
	}
	for (size_t len = 0; len + 1 < text.len; len++) {
		assert_int_equal(manifest_parse(&got, text.data, len, ERR_DROP), -EBADMSG);
		manifest_done(&got);
	}
}

static const char table_text[] =
    "{\n"
    "  \"format\": 1,\n"
    "  \"name\": \"t\",\n"
    "  \"columns\": [\n"
    "    {\"name\": \"id\", \"type\": \"character varying(36)\", \"form\": \"text\", \"nullable\": false, "
    "\"generated\": true, \"document\": \"json\", \"member\": \"id\"},\n"
    "    {\"name\": \"json\", \"type\": \"jsonb\", \"form\": \"json\", \"nullable\": true},\n"
    "    {\"name\": \"n\", \"type\": \"bigint\", \"form\": \"number\", \"integer\": true, "
    "\"nullable\": false}\n"
    "  ],\n"
    "  \"key\": {\"kind\": \"unique\", \"columns\": [\"n\", \"id\"]},\n"
    "  \"dynamic\": true\n"
    "}\n";

static void test_table_round(void **state)
{
	struct db_table d;
	struct manifest_table t = {.name = name_t1, .rows = 1, .line_bytes = 2, .file_bytes = 3}, got;
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf again = {0}, counted = {0};
	assert_int_equal(table_json_parse(&d, NULL, table_text, strlen(table_text), &e), 0);
	assert_int_equal(d.n_columns, 3);
	assert_int_equal(d.key_kind, DB_KEY_UNIQUE);
	assert_int_equal(d.n_key, 2);
	assert_int_equal(d.key[0], 2);
	assert_int_equal(d.key[1], 0);
	assert_true(d.dynamic && d.columns[2].integer && d.columns[0].generated && d.columns[1].nullable);
	assert_string_equal(d.columns[0].member, "id");
	table_json_render(&d, NULL, &again);
	assert_string_equal(again.data, table_text);
	table_json_render(&d, &t, &counted);
	db_table_done(&d);

	assert_int_equal(table_json_parse(&d, &got, table_text, strlen(table_text), &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "\"rows\" is missing"));
	assert_int_equal(table_json_parse(&d, &got, counted.data, counted.len, &e), 0);
	assert_string_equal(got.name, "t");
	assert_int_equal(got.file_bytes, 3);
	free(got.name);
	db_table_done(&d);
}

static void test_table_refusals(void **state)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
	    {"\"name\": \"t\"", "\"name\": null"},
	    {"\"name\": \"json\"", "\"name\": \"n\""},
	    {"\"form\": \"text\"", "\"form\": \"texts\""},
	    {"\"form\": \"text\", ", ""},
	    {"\"nullable\": true", "\"nullable\": \"yes\""},
	    {"\"integer\": true", "\"integer\": 1"},
	    {", \"member\": \"id\"", ""},
	    {"\"generated\": true, ", ""},
	    {"\"document\": \"json\"", "\"document\": \"jsons\""},
	    {"\"document\": \"json\", \"member\": \"id\"", "\"x\": 1"},
	    {"\"kind\": \"unique\"", "\"kind\": \"some\""},
	    {"\"kind\": \"unique\"", "\"kind\": \"none\""},
	    {"[\"n\", \"id\"]", "[]"},
	    {"[\"n\", \"id\"]", "[\"n\", \"n\"]"},
	    {"[\"n\", \"id\"]", "[\"n\", 3]"},
	    {"[\"n\", \"id\"]", "\"n\""},
	    {"\"dynamic\": true", "\"dynamic\": 1"},
	    {"\"columns\": [\n", "\"columns\": 1, \"x\": [\n"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct db_table d;
		struct err e = ERR_INIT;
		_cleanup_strbuf_ struct strbuf bad = {0};
		const char *at = strstr(table_text, cases[i].from);
		assert_non_null(at);
		strbuf_add(&bad, table_text, (size_t)(at - table_text));
		strbuf_adds(&bad, cases[i].to);
		strbuf_adds(&bad, at + strlen(cases[i].from));
		int r = table_json_parse(&d, NULL, bad.data, bad.len, &e);
		if (r != -EBADMSG)
			fail_msg("%s -> %s gave %d (%s)", cases[i].from, cases[i].to, r, e.msg);
	}
}

static void test_hex(void **state)
{
	uint8_t bytes[3] = {0};
	char text[7];
	assert_int_equal(hex_decode("00fFa1", bytes, 3), 0);
	assert_int_equal(bytes[1], 0xff);
	hex_encode(bytes, 3, text);
	assert_string_equal(text, "00ffa1");
	static const char *const bad[] = {"", "0", "00ffa", "00ffa1b", "00ffag", " 0ffa1", "00ffa1 "};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(hex_decode(bad[i], bytes, 3), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_manifest_round),
	    cmocka_unit_test(test_manifest_refusals),
	    cmocka_unit_test(test_table_round),
	    cmocka_unit_test(test_table_refusals),
	    cmocka_unit_test(test_hex),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
