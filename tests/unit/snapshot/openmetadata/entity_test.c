/*
 * tests/unit/snapshot/openmetadata/entity_test.c - snapshot/openmetadata/entity.c: bringing one entity back, on real
 * SQLite databases: whose rows are changed in the schemas of today and of old, faults by the fake driver at every call,
 * crashes and lost answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/openmetadata/names.h"
#include "snapshot/restore/restore.h"
#include "snapshot/restore/scope.h"
#include "snapshot/service/service.h"
#include "snapshot/store/store.h"
#include "tests/unit/world.h"

/* What the database holds, as text. */
static char *dump(const struct world *w)
{
	static const char *const tables[] = {"table_entity",        "test_case",   "tag",
					     "entity_relationship", "tag_usage",   "field_relationship",
					     "entity_extension",    "entity_usage"};
	struct strbuf out = {0};
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		_cleanup_free_ char *query = xasprintf("SELECT '%s', * FROM %s ORDER BY 2, 3, 4", tables[i], tables[i]);
		sql_rows(w->db, query, &out);
	}
	return strbuf_detach(&out);
}

#define ENTITIES(name, hash)                                                                                           \
	"CREATE TABLE " name "(json JSON NOT NULL, id TEXT AS (json_extract(json,'$.id')) STORED NOT NULL UNIQUE" hash \
	");"
#define REST                                                                                                           \
	"CREATE TABLE entity_relationship(fromId TEXT NOT NULL, toId TEXT NOT NULL, relation INT NOT NULL, "           \
	"PRIMARY KEY(fromId, toId, relation));"                                                                        \
	"CREATE TABLE entity_extension(id TEXT NOT NULL, extension TEXT NOT NULL, json JSON, PRIMARY KEY(id, "         \
	"extension));"                                                                                                 \
	"CREATE TABLE entity_extension_time_series(entityFQNHash TEXT, json JSON);"                                    \
	"CREATE TABLE entity_usage(id TEXT NOT NULL, usageDate TEXT, count1 INT, UNIQUE(usageDate, id));"              \
	"INSERT INTO entity_relationship VALUES('e','o',1),('o','e',2),('o','c',3),('gone','e',4),('e','gone',5);"     \
	"INSERT INTO entity_extension VALUES('e','v1','{\"id\":\"e\"}'),('e','v2','{}'),('o','v1','{}');"              \
	"INSERT INTO entity_usage VALUES('e',NULL,1),('e',NULL,1),('e','2026-01-01',2),('o',NULL,1),('o',NULL,1);"
/* e: the entity; o: another; c: one whose name begins with the entity's; documents with and without white space. */
#define SCHEMA                                                                                                         \
	ENTITIES("table_entity", ", fqnHash TEXT NOT NULL UNIQUE")                                                     \
	ENTITIES("test_case", ", fqnHash TEXT NOT NULL UNIQUE")                                                        \
	ENTITIES("tag", ", nameHash TEXT NOT NULL UNIQUE")                                                             \
	"CREATE TABLE tag_usage(tagFQNHash TEXT NOT NULL, targetFQNHash TEXT NOT NULL, state INT, UNIQUE(tagFQNHash, " \
	"targetFQNHash));"                                                                                             \
	"CREATE TABLE field_relationship(fromFQNHash TEXT NOT NULL, toFQNHash TEXT NOT NULL, n INT, PRIMARY "          \
	"KEY(fromFQNHash, toFQNHash));"                                                                                \
	"INSERT INTO table_entity(json, fqnHash) VALUES('{\"id\":\"e\",\"fullyQualifiedName\":\"s.t\"}','1.2'),"       \
	"('{\"id\":\"o\",\"fullyQualifiedName\":\"s.o\"}','1.3');"                                                     \
	"INSERT INTO test_case(json, fqnHash) VALUES('{\"id\": \"c\", \"fullyQualifiedName\": "                        \
	"\"s.t.case\"}','1.2.4');"                                                                                     \
	"INSERT INTO tag(json, nameHash) VALUES('{\"id\":\"tag\",\"fullyQualifiedName\":\"PII\"}','9');"               \
	"INSERT INTO tag_usage VALUES('9','1.2',0),('8','1.2',0),('9','1.2.5',0),('9','1.2.4',0),('9','1.2.4.6',0),"   \
	"('9','1.22',0),('9','1.3',0),('9','1',0);"                                                                    \
	"INSERT INTO field_relationship "                                                                              \
	"VALUES('1.2.5','1.3.1',1),('1.3.1','1.2',2),('1.2.4','1.3',3),('1.3','1.22',4);" REST
#define REST_GONE                                                                                                      \
	"DELETE FROM table_entity WHERE id='e'; DELETE FROM entity_relationship WHERE 'e' IN (fromId, toId);"          \
	"DELETE FROM entity_extension WHERE id='e'; DELETE FROM entity_usage WHERE id='e';"
#define GONE                                                                                                           \
	"DELETE FROM tag_usage WHERE targetFQNHash IN ('1.2','1.2.5'); DELETE FROM field_relationship WHERE "          \
	"fromFQNHash='1.2.5' OR toFQNHash='1.2';" REST_GONE
#define OTHERS                                                                                                         \
	"UPDATE tag_usage SET state=5 WHERE targetFQNHash IN ('1.2.4','1.22','1'); DELETE FROM tag_usage WHERE "       \
	"targetFQNHash='1.2.4.6'; INSERT INTO tag_usage VALUES('7','1.2.4',1);"                                        \
	"DELETE FROM field_relationship WHERE n IN (3, 4); DELETE FROM entity_usage WHERE id='o';"                     \
	"INSERT INTO entity_usage VALUES('o',NULL,7),('o',NULL,7); DELETE FROM entity_relationship WHERE relation=3;"  \
	"UPDATE table_entity SET json=json_set(json,'$.d',1) WHERE id='o'"

/* "TABLE/ROW" of an entity of a snapshot. */
static char *row_of(struct world *w, int64_t id, const char *table, const char *key)
{
	struct version_info v;
	struct err e = ERR_INIT;
	struct strbuf out = {0};
	struct row_cursor *rc;
	struct stored_row row;
	assert_int_equal(catalog_table(w->catalog, id, table, &v, &e), 0);
	assert_int_equal(row_cursor_open(&rc, w->catalog, v.id, 0, &e), 0);
	while (row_cursor_next(rc, &row, &e) == 1)
		if (memmem(row.line, row.line_len, key, strlen(key))) {
			strbuf_addf(&out, "%s/", table);
			row_name(row.codec, row.key, row.key_len, &out);
			break;
		}
	row_cursor_close(rc);
	version_info_done(&v);
	assert_true(out.len > 0);
	return strbuf_detach(&out);
}

static int back_to(struct world *w, int64_t id, const char *entity, struct waiter *waiter, struct strbuf *report,
		   struct err *e)
{
	struct restore_plan plan = {0};
	struct restore_request rq = {.snapshot_id = id, .entity = entity, .label = "test", .policy = RESTORE_REPLACE};
	int r = service_restore(w->service, 0, &rq, &w->me, waiter, &plan, report, e);
	restore_plan_done(&plan);
	return r;
}

/* Takes a snapshot, makes `changes`, brings the entity back; the database must then be as `want` makes it of what it
 * was. */
static void brings_back(const char *schema, const char *want, const char *changes, const char *said)
{
	struct world w;
	struct strbuf report = {0};
	world_new(&w, schema);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	char *entity = row_of(&w, a, "table_entity", "\"id\":\"e\"");
	sql(w.db, want);
	char *expected = dump(&w);
	sql(w.db, changes);
	char *changed = dump(&w);
	assert_string_not_equal(expected, changed);
	ok(back_to(&w, a, entity, NULL, &report, &e));
	char *found = dump(&w);
	assert_string_equal(expected, found);
	if (said)
		assert_non_null(strstr(strbuf_str(&report), said));
	strbuf_done(&report);
	free(entity);
	free(expected);
	free(changed);
	free(found);
	world_close(&w);
	world_end(&w);
}

static void what_is_its_own(void **state)
{
	(void)state;
	brings_back(SCHEMA, "", GONE, "1 of the 2 entities it is related to is not in the database: gone;");
	brings_back(SCHEMA, OTHERS, GONE, NULL);
	brings_back(SCHEMA, OTHERS,
		    "UPDATE entity_usage SET count1=9 WHERE id='e'; INSERT INTO entity_usage VALUES('e',NULL,1);"
		    "DELETE FROM entity_extension WHERE id='e' AND extension='v1'; INSERT INTO "
		    "entity_extension VALUES('e','v3','{}'); INSERT INTO tag_usage VALUES('7','1.2.77',1)",
		    NULL);
}

static void another_of_its_name_is_replaced(void **state)
{
	(void)state;
	brings_back(SCHEMA, OTHERS,
		    GONE "INSERT INTO table_entity(json, fqnHash) "
			 "VALUES('{\"id\":\"n\",\"fullyQualifiedName\":\"s.t\"}','1.2');"
			 "INSERT INTO entity_relationship VALUES('n','o',1),('c','n',2); INSERT INTO entity_extension "
			 "VALUES('n','v1','{}'); INSERT INTO tag_usage VALUES('7','1.2.8',1);"
			 "INSERT INTO entity_usage VALUES('n',NULL,3);",
		    "another entity under this name, id n:");
}

static void a_table_that_is_not_there_is_told(void **state)
{
	(void)state;
	brings_back(SCHEMA "DROP TABLE tag_usage;", "UPDATE field_relationship SET n = 9 WHERE n = 4", REST_GONE,
		    "the snapshot has no table tag_usage:");
}

/* The other one was there before, under another name: what it was then is not brought back. */
static void another_that_took_its_name_is_replaced(void **state)
{
	(void)state;
	brings_back(
	    SCHEMA "INSERT INTO table_entity(json, fqnHash) "
		   "VALUES('{\"id\":\"n\",\"fullyQualifiedName\":\"s.n\"}','1.7');"
		   "INSERT INTO entity_relationship VALUES('n','o',1); INSERT INTO entity_usage VALUES('n',NULL,3);",
	    "DELETE FROM table_entity WHERE id='n'; DELETE FROM entity_relationship WHERE fromId='n'; DELETE FROM "
	    "entity_usage WHERE id='n';",
	    GONE "INSERT INTO table_entity(json, fqnHash) "
		 "VALUES('{\"id\":\"n\",\"fullyQualifiedName\":\"s.t\"}','1.2');"
		 "INSERT INTO entity_relationship VALUES('n','o',1); INSERT INTO entity_usage VALUES('n',NULL,3);",
	    "another entity under this name, id n:");
}

static void its_other_name_goes(void **state)
{
	(void)state;
	brings_back(SCHEMA, OTHERS,
		    "UPDATE table_entity SET json='{\"id\":\"e\",\"fullyQualifiedName\":\"s.r\"}', fqnHash='1.9' WHERE "
		    "id='e'; UPDATE tag_usage SET targetFQNHash='1.9' || substr(targetFQNHash, 4) WHERE targetFQNHash "
		    "IN ('1.2','1.2.5');",
		    "it is called s.r:");
}

/* Before 1.1: names instead of hashes. */
static void names_instead_of_hashes(void **state)
{
	(void)state;
	brings_back(
	    ENTITIES("table_entity", "") ENTITIES(
		"test_case",
		"") "CREATE TABLE tag_usage(tagFQN TEXT NOT NULL, targetFQN TEXT NOT NULL, state INT, UNIQUE(tagFQN, "
		    "targetFQN)); CREATE TABLE field_relationship(fromFQN TEXT NOT NULL, toFQN TEXT NOT NULL, n INT, "
		    "PRIMARY KEY(fromFQN, toFQN));"
		    "INSERT INTO table_entity(json) "
		    "VALUES('{\"id\":\"e\",\"fullyQualifiedName\":\"s.\\\"a.b\\\".t\"}'),"
		    "('{\"id\":\"o\",\"fullyQualifiedName\":\"s.\\\"a.b\\\".t2\"}');"
		    "INSERT INTO test_case(json) "
		    "VALUES('{\"id\":\"c\",\"fullyQualifiedName\":\"s.\\\"a.b\\\".t.case\"}');"
		    "INSERT INTO tag_usage "
		    "VALUES('P','s.\"a.b\".t',0),('P','s.\"a.b\".t.\"x.y\"',0),('P','s.\"a.b\".t.case',0),"
		    "('P','s.\"a.b\".t2',0),('P','s.\"a.b\".t.case.x',0);"
		    "INSERT INTO field_relationship VALUES('s.\"a.b\".t.x','o',0),('o','s.\"a.b\".t.case',0);" REST,
	    "UPDATE tag_usage SET state=6 WHERE targetFQN LIKE '%case%' OR targetFQN LIKE '%t2'; UPDATE "
	    "field_relationship SET n=4 WHERE fromFQN='o'",
	    REST_GONE "DELETE FROM tag_usage WHERE targetFQN LIKE '%t' OR targetFQN LIKE '%y\"'; DELETE FROM "
		      "field_relationship WHERE toFQN='o';",
	    NULL);
}

#define MD5_S "03c7c0ace395d80182db07ae2c30f034"
#define MD5_AB "e32b629f658481c8aa169aa08acc0625"
#define MD5_TX "ae1a11345f7c0409b0881d5cc5d9ef3b"
/* A table of entities without a hash beside tables that have hashes. */
static void a_hash_is_computed(void **state)
{
	(void)state;
	static const char *const name[] = {"s.\\\"a.b\\\".\\\"t\\\"\\\"x\\\"", "s.\\\"a.b\\\".\\\"t\\\\\\\"x\\\""};
	for (int older = 0; older < 2; older++) {
		char *schema = xasprintf(
		    ENTITIES("table_entity", "") "CREATE TABLE tag_usage(tagFQNHash TEXT NOT NULL, targetFQNHash TEXT "
						 "NOT NULL, state INT, UNIQUE(tagFQNHash, targetFQNHash));"
						 "INSERT INTO table_entity(json) "
						 "VALUES('{\"id\":\"e\",\"fullyQualifiedName\":\"%s\"}');"
						 "INSERT INTO tag_usage VALUES('9','" MD5_S "." MD5_AB "." MD5_TX
						 "',0),('9','" MD5_S "." MD5_AB "." MD5_TX ".1',0),"
						 "('9','" MD5_S "." MD5_AB "',0);" REST,
		    name[older]);
		brings_back(schema, "UPDATE tag_usage SET state=1 WHERE targetFQNHash='" MD5_S "." MD5_AB "'",
			    REST_GONE "DELETE FROM tag_usage WHERE state=0;", NULL);
		free(schema);
	}
}

static void uses_of_a_tag_are_told(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	struct strbuf report = {0};
	world_new(&w, SCHEMA);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	char *entity = row_of(&w, a, "tag", "PII");
	sql(w.db, "DELETE FROM tag; DELETE FROM tag_usage WHERE tagFQNHash='9' AND targetFQNHash < '1.2.4'");
	ok(back_to(&w, a, entity, NULL, &report, &e));
	assert_non_null(strstr(strbuf_str(&report), "2 uses of this tag"));
	/* The journal has it as well: a link on the mount has no other way to say it. */
	struct strbuf text = {0};
	assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
	assert_non_null(strstr(text.data, "2 uses of this tag"));
	strbuf_done(&text);
	strbuf_done(&report);
	free(entity);
	world_close(&w);
	world_end(&w);
}

static void refusals(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	char *entity = row_of(&w, a, "table_entity", "\"id\":\"e\"");
	assert_int_equal(back_to(&w, a, "table_entity/nosuch.json", NULL, NULL, &e), -ENOENT);
	assert_int_equal(back_to(&w, a, "nosuch/x.json", NULL, NULL, &e), -ENOENT);
	assert_int_equal(back_to(&w, a, "nothing", NULL, NULL, &e), -EINVAL);
	char *other = row_of(&w, a, "entity_usage", "\"o\"");
	assert_int_equal(back_to(&w, a, other, NULL, NULL, &e), -EINVAL);
	sql(w.db, "ALTER TABLE field_relationship ADD COLUMN x");
	assert_int_equal(back_to(&w, a, entity, NULL, NULL, &e), -EXDEV);
	sql(w.db, "DROP TABLE field_relationship");
	assert_int_equal(back_to(&w, a, entity, NULL, NULL, &e), -ENOENT);
	sql(w.db, "CREATE TABLE field_relationship(a TEXT)");
	int64_t b = take(&w, "b");
	assert_int_equal(back_to(&w, b, entity, NULL, NULL, &e), -ENOTSUP);
	free(entity);
	free(other);
	world_close(&w);
	world_end(&w);
}

static void a_fault_anywhere_changes_nothing(void **state)
{
	(void)state;
	static const char *const faults[] = {"?fail=begin",
					     "?fail=scan_next&after=5",
					     "?fail=change_begin",
					     "?fail=delete_keys",
					     "?fail=delete_all",
					     "?fail=load_begin",
					     "?fail=load_row&after=3",
					     "?fail=load_end&after=2",
					     "?fail=change_end",
					     "?fail=commit",
					     "?fail=load_row",
					     "?fail=scan_close&after=9",
					     "?fail=load_end&after=4"};
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	char *entity = row_of(&w, a, "table_entity", "\"id\":\"e\"");
	char *was = dump(&w);
	sql(w.db, GONE "INSERT INTO entity_extension VALUES('e','v7','{}')");
	char *before = dump(&w);
	world_close(&w);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		world_open(&w, faults[i]);
		if (back_to(&w, a, entity, NULL, NULL, &e) == 0)
			fail_msg("%s: it was done", faults[i]);
		char *found = dump(&w);
		assert_string_equal(before, found);
		free(found);
		world_close(&w);
	}
	world_open(&w, "");
	ok(back_to(&w, a, entity, NULL, NULL, &e));
	char *found = dump(&w);
	assert_string_equal(was, found);
	free(found);
	free(was);
	free(before);
	free(entity);
	world_close(&w);
	world_end(&w);
}

/* As a crash leaves it: an entry that has begun. */
static void a_crash_is_settled(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	struct strbuf text = {0};
	int64_t entry;
	world_new(&w, SCHEMA);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	char *entity = row_of(&w, a, "table_entity", "\"id\":\"e\"");
	char *mark = restore_scope_text(entity, NULL);
	sql(w.db, OTHERS ";" GONE);
	int64_t b = take(&w, "b");
	static const char *const after[] = {"restore 0: rolled back", "restore 1: committed", "restore 2: unknown"};
	for (int n = 0; n < 3; n++) {
		if (n == 1)
			ok(back_to(&w, a, entity, NULL, NULL, &e));
		if (n == 2)
			sql(w.db, "UPDATE tag_usage SET state=44 WHERE targetFQNHash='1.3'");
		char label[] = {(char)('0' + n), '\0'};
		struct catalog *c = w.catalog;
		assert_int_equal(journal_add(c, 1, JOURNAL_RESTORE, label, 0, 1, "test", &entry, &e), 0);
		assert_int_equal(journal_state(c, entry, JOURNAL_BEGUN, mark, b, a, false, &e), 0);
		world_close(&w);
		world_open(&w, "");
		(void)take(&w, NULL); /* waits for the settling */
		strbuf_clear(&text);
		assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
		if (!strstr(text.data, after[n]))
			fail_msg("no \"%s\" in:\n%s", after[n], text.data);
		for (time_t now = time(NULL); time(NULL) == now; usleep(10000)) /* names of snapshots are seconds */
			;
	}
	strbuf_done(&text);
	free(entity);
	free(mark);
	world_close(&w);
	world_end(&w);
}

struct canceller {
	struct world *w;
	struct waiter *waiter;
	const char *aside; /* NULL: the database stays where it is */
	bool hung;         /* the restore stood in COMMIT */
};

/* Waits until the restore hangs in COMMIT, may put the database out of reach, and cancels it. */
static void *cancel_commit(void *arg)
{
	struct canceller *c = arg;
	char *sign = xasprintf("%s-hangs", c->w->db);
	for (time_t end = time(NULL) + 60; !c->hung && time(NULL) < end; usleep(10000))
		c->hung = !access(sign, F_OK);
	free(sign);
	if (c->aside)
		assert_int_equal(rename(c->w->db, c->aside), 0);
	service_interrupt(c->w->service, c->waiter);
	return NULL;
}

/* What the database holds after a cancel in COMMIT is looked up; where it cannot be, the entry stays open and still
 * says which entity it was. */
static void an_uncertain_commit_is_settled(void **state)
{
	(void)state;
	for (int away = 0; away < 3; away++) {
		struct world w;
		struct err e = ERR_INIT;
		struct strbuf text = {0};
		struct waiter waiter = {0};
		pthread_t t;
		world_new(&w, SCHEMA);
		world_open(&w, "");
		int64_t a = take(&w, "a");
		char *entity = row_of(&w, a, "table_entity", "\"id\":\"e\""), *aside = xasprintf("%s/aside.db", w.dir);
		char *restored = xasprintf("%s/restored.db", w.dir), *copy = xasprintf("VACUUM INTO '%s'", restored);
		sql(w.db, OTHERS);
		sql(w.db, copy);
		sql(w.db, GONE);
		world_close(&w);
		world_open(&w, "?hang=commit");
		struct canceller c = {&w, &waiter, away ? aside : NULL, false};
		assert_int_equal(pthread_create(&t, NULL, cancel_commit, &c), 0);
		assert_int_equal(back_to(&w, a, entity, &waiter, NULL, &e), -EINTR);
		(void)pthread_join(t, NULL);
		assert_true(c.hung);
		assert_non_null(strstr(e.msg, away ? "is not known" : "the database is unchanged"));
		world_close(&w);
		if (away) {
			/* COMMIT had not, or had been done. */
			assert_int_equal(rename(away == 1 ? aside : restored, w.db), 0);
			world_open(&w, "");
			if (back_to(&w, a, entity, NULL, NULL, &e) < 0) /* settles the first one before */
				fail_msg("%s", e.msg);
			assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
			if (!strstr(text.data,
				    away == 1 ? "restore test: rolled back" : "found complete after a crash"))
				fail_msg("%s", text.data);
			strbuf_done(&text);
			world_close(&w);
		}
		(void)unlink(restored);
		(void)unlink(aside);
		free(entity);
		free(aside);
		free(restored);
		free(copy);
		world_end(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_its_own),
	    cmocka_unit_test(another_of_its_name_is_replaced),
	    cmocka_unit_test(a_table_that_is_not_there_is_told),
	    cmocka_unit_test(another_that_took_its_name_is_replaced),
	    cmocka_unit_test(its_other_name_goes),
	    cmocka_unit_test(names_instead_of_hashes),
	    cmocka_unit_test(a_hash_is_computed),
	    cmocka_unit_test(uses_of_a_tag_are_told),
	    cmocka_unit_test(refusals),
	    cmocka_unit_test(a_fault_anywhere_changes_nothing),
	    cmocka_unit_test(a_crash_is_settled),
	    cmocka_unit_test(an_uncertain_commit_is_settled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
