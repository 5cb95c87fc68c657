/*
 * tests/unit/snapshot/service/service_test.c - snapshot/service/service.c: jobs on real SQLite databases, with faults
 * by the fake driver: one job at a time, cancel, failures at every call of the driver (the database is old or new,
 * never between; no half snapshot), recovery after a crash, now, one row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "snapshot/capture/backup_dir.h"
#include "snapshot/export/export.h"
#include "snapshot/restore/scope.h"
#include "snapshot/service/service.h"
#include "snapshot/store/prune.h"
#include "snapshot/store/store.h"
#include "tests/unit/world.h"

/* What the database holds, as text. */
static char *dump(const char *path)
{
	struct strbuf out = {0};
	sql_rows(path, "SELECT sql FROM sqlite_schema ORDER BY name", &out);
	sql_rows(path, "SELECT id, quote(json) FROM entity ORDER BY id", &out);
	sql_rows(path, "SELECT quote(a), quote(b) FROM series ORDER BY 1, 2", &out);
	sql_rows(path, "SELECT * FROM child ORDER BY 1, 2", &out);
	sql_rows(path, "SELECT * FROM extra ORDER BY 1", &out);
	return strbuf_detach(&out);
}

#define SCHEMA                                                                                                         \
	"CREATE TABLE entity(id INTEGER PRIMARY KEY, json JSON NOT NULL, name TEXT AS (json_extract(json,'$.name')) "  \
	"STORED);"                                                                                                     \
	"CREATE UNIQUE INDEX entity_name ON entity(name);"                                                             \
	"CREATE TABLE child(parent INTEGER REFERENCES entity(id) ON DELETE CASCADE, n INTEGER, PRIMARY KEY(parent, "   \
	"n)) WITHOUT ROWID;"                                                                                           \
	"CREATE TABLE series(a TEXT, b BLOB);"
#define ROWS                                                                                                           \
	"WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM i WHERE n<400)"                                    \
	" INSERT INTO entity(id, json) SELECT n, '{\"name\":\"e' || n || '\",\"v\":1}' FROM i;"                        \
	"INSERT INTO child SELECT id, id % 7 FROM entity;"                                                             \
	"INSERT INTO series SELECT 'same', x'00ff' FROM entity WHERE id < 20; INSERT INTO series SELECT 's' || id, "   \
	"NULL FROM entity;"
#define CHANGES                                                                                                        \
	"UPDATE entity SET json='{\"name\":\"changed' || id || '\"}' WHERE id % 40 = 0; DELETE FROM entity WHERE id "  \
	"% 50 = 7;"                                                                                                    \
	"INSERT INTO entity(id, json) VALUES(9999, '{\"name\":\"new\"}'); DELETE FROM child WHERE parent % 9 = 1;"     \
	"DELETE FROM series WHERE rowid IN (1, 2, 3); INSERT INTO series VALUES('added', 'text')"

static int restore_to(struct world *w, int64_t id, struct err *e)
{
	struct restore_plan plan;
	struct restore_request rq = {.snapshot_id = id, .label = "test", .policy = RESTORE_REPLACE};
	int r = service_restore(w->service, 0, &rq, &w->me, NULL, &plan, NULL, e);
	restore_plan_done(&plan);
	return r;
}

static size_t listed(struct world *w)
{
	struct snapshot_list l;
	assert_int_equal(catalog_list(w->catalog, service_source_id(w->service, 0), &l, ERR_DROP), 0);
	size_t n = l.n;
	snapshot_list_done(&l);
	return n;
}

static void restore_and_back(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	char *before = dump(w.db);
	int64_t a = take(&w, "a");
	sql(w.db, CHANGES);
	char *changed = dump(w.db);
	assert_string_not_equal(before, changed);
	ok(restore_to(&w, a, &e));
	char *after = dump(w.db);
	assert_string_equal(before, after);
	/* the safety snapshot is the way back */
	struct snapshot_info safety;
	assert_int_equal(catalog_latest(w.catalog, 1, &safety, &e), 0);
	assert_non_null(strstr(safety.name, "-before-restore"));
	ok(restore_to(&w, safety.id, &e));
	char *again = dump(w.db);
	assert_string_equal(changed, again);
	/* another schema: made anew, tables that the snapshot has not are gone */
	sql(w.db, "CREATE TABLE extra(x); ALTER TABLE entity ADD COLUMN more TEXT; DROP TABLE child");
	ok(restore_to(&w, a, &e));
	char *rebuilt = dump(w.db);
	assert_string_equal(before, rebuilt);
	struct restore_plan plan;
	assert_int_equal(service_verify_live(w.service, 0, a, NULL, &plan, &e), 0);
	restore_plan_done(&plan);
	sql(w.db, "UPDATE series SET a='x' WHERE rowid=7");
	assert_int_equal(service_verify_live(w.service, 0, a, NULL, &plan, &e), 1);
	restore_plan_done(&plan);
	struct strbuf report = {0};
	assert_int_equal(service_check(w.service, &report, &e), 0);
	strbuf_done(&report);
	snapshot_info_done(&safety);
	free(before);
	free(changed);
	free(after);
	free(again);
	free(rebuilt);
	world_close(&w);
	world_end(&w);
}

/* Every call of the driver fails once, early and late: the database is as before, to the byte, and nothing is half
 * there. */
static void a_fault_anywhere_changes_nothing(void **state)
{
	(void)state;
	static const char *const calls[] = {
	    "begin",         "schema_sql",  "scan_open",     "scan_next",   "scan_close", "finish",     "compare",
	    "rebuild_begin", "rebuild_end", "change_begin",  "delete_keys", "delete_all", "change_end", "load_begin",
	    "load_row",      "load_end",    "set_sequences", "settle",      "commit"};
	struct world w;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	world_close(&w);
	for (int other_schema = 0; other_schema < 2; other_schema++) {
		sql(w.db, other_schema ? "CREATE TABLE extra(x); INSERT INTO extra VALUES(1)" : CHANGES);
		char *before = dump(w.db);
		for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
			for (int after = 0; after < 3; after++) {
				struct err e = ERR_INIT;
				char *options = xasprintf("?fail=%s&after=%d&errno=28", calls[i], after * after);
				world_open(&w, options);
				size_t n = listed(&w);
				int r = restore_to(&w, a, &e);
				char *now = dump(w.db);
				if (r < 0) {
					assert_int_equal(r, -28);
					if (strcmp(before, now))
						fail_msg("%s: the database changed", options);
					assert_true(listed(&w) <= n + 1); /* the safety snapshot, whole, or nothing */
				} else {
					/* the call is not made (so often) here: it must have worked; undo it */
					struct err why = ERR_INIT;
					world_close(&w);
					world_open(&w, "");
					struct snapshot_info s;
					assert_int_equal(catalog_latest(w.catalog, 1, &s, &why), 0);
					if (restore_to(&w, s.id, &why) < 0)
						fail_msg("%s: %s", options, why.msg);
					snapshot_info_done(&s);
				}
				free(now);
				world_close(&w);
				free(options);
			}
		char *end = dump(w.db);
		assert_string_equal(before, end);
		free(before);
		free(end);
	}
	world_open(&w, "");
	struct err e = ERR_INIT;
	struct strbuf report = {0};
	if (service_check(w.service, &report, &e) < 0)
		fail_msg("%s %s", e.msg, strbuf_str(&report));
	strbuf_done(&report);
	world_close(&w);
	world_end(&w);
}

/* A row that the database took in as another one, not at all, or twice, as no answer of it tells: the restore fails and
 * the database is as before, whether some rows are changed, a table is filled anew, or the schema is made anew. */
static void what_was_written_is_read_back(void **state)
{
	(void)state;
	static const struct {
		const char *options;
		bool refused; /* by the table's key, before anything is read back */
	} faults[] = {
	    {"?row=alter&table=entity&after=3", false}, {"?row=alter&table=child&after=3", false},
	    {"?row=alter&table=series&after=3", false}, {"?row=drop&table=entity&after=3", false},
	    {"?row=drop&table=child&after=3", false},   {"?row=drop&table=series&after=3", false},
	    {"?row=repeat&table=entity&after=3", true}, {"?row=repeat&table=series&after=3", false},
	};
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	world_close(&w);
	for (int other_schema = 0; other_schema < 2; other_schema++) {
		sql(w.db, other_schema ? "CREATE TABLE extra(x); INSERT INTO extra VALUES(1)" : CHANGES);
		char *before = dump(w.db);
		for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
			world_open(&w, faults[i].options);
			int r = restore_to(&w, a, &e);
			char *now = dump(w.db);
			if (r == 0)
				fail_msg("%s: it was reported as restored", faults[i].options);
			if (strcmp(before, now))
				fail_msg("%s: the database changed", faults[i].options);
			if (!faults[i].refused) {
				assert_int_equal(r, -EIO);
				assert_non_null(strstr(e.msg, "that differ from the snapshot's"));
			}
			struct strbuf text = {0};
			assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
			assert_non_null(strstr(text.data, "restore test: failed"));
			assert_null(strstr(text.data, "restore test: committed"));
			strbuf_done(&text);
			free(now);
			world_close(&w);
		}
		free(before);
	}
	/* a fault that never comes is none */
	world_open(&w, "?row=alter&after=100000");
	ok(restore_to(&w, a, &e));
	world_close(&w);
	/* one row that is written is looked at as well */
	static const char other[] = "{\"id\":777,\"json\":{\"name\":\"other\"}}";
	static const char *const one_row[] = {"?row=alter", "?row=drop"};
	char *before = dump(w.db);
	for (size_t i = 0; i < sizeof one_row / sizeof *one_row; i++) {
		world_open(&w, one_row[i]);
		assert_int_equal(
		    service_upsert_row(w.service, 0, "entity", "777.json", other, strlen(other), &w.me, NULL, &e),
		    -EIO);
		assert_non_null(strstr(e.msg, "that differ from the snapshot's"));
		world_close(&w);
	}
	char *now = dump(w.db);
	assert_string_equal(before, now);
	free(before);
	free(now);
	world_end(&w);
}

static void a_failing_snapshot_leaves_nothing(void **state)
{
	(void)state;
	static const char *const calls[] = {"begin", "schema_sql", "scan_open", "scan_next", "finish"};
	struct world w;
	world_new(&w, SCHEMA ROWS);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		struct err e = ERR_INIT;
		int64_t id = 0;
		char *options =
		    xasprintf("?fail=%s&after=%d&errno=111", calls[i], strcmp(calls[i], "scan_next") ? 0 : 500);
		world_open(&w, options);
		int r = service_snapshot(w.service, 0, "x", &w.me, &id, &e);
		if (r == 0)
			r = service_wait(w.service, id, NULL, &e);
		assert_int_equal(r, -ECONNREFUSED);
		assert_int_equal(listed(&w), 0);
		char name[256];
		assert_int_equal(service_pending(w.service, 0, &id, name), -ENOENT);
		struct strbuf text = {0};
		service_status(w.service, 0, &text);
		assert_non_null(strstr(text.data, "last error: 2"));
		strbuf_done(&text);
		world_close(&w);
		free(options);
	}
	/* and the name is free */
	world_open(&w, "");
	(void)take(&w, "x");
	world_close(&w);
	world_end(&w);
}

/* Until the engine's job is where it is to be; for ever would be a test that neither passes nor fails. Not on the
 * thread of the test, to which cmocka's failures belong. */
static void wait_for_job(const struct world *w, bool (*is)(const struct world *w, const struct progress *p),
			 const char *what)
{
	for (int i = 0; i < 60000; i++, usleep(1000)) {
		struct progress p;
		service_progress(w->service, 0, &p);
		if (is(w, &p))
			return;
	}
	(void)fprintf(stderr, "no job within a minute: %s\n", what);
	abort();
}

/* In a call of the fake driver. */
static bool is_hanging(const struct world *w, const struct progress *p)
{
	(void)p;
	char *sign = xasprintf("%s-hangs", w->db);
	bool there = access(sign, F_OK) == 0;
	free(sign);
	return there;
}

static bool is_reading(const struct world *w, const struct progress *p)
{
	(void)w;
	return p->rows_done > 0;
}

static bool is_applying(const struct world *w, const struct progress *p)
{
	(void)w;
	return !strcmp(p->what, "restore: child");
}

struct interrupter {
	struct world *w;
	struct waiter *waiter;
	bool hangs; /* in a call of the driver; else it goes on row by row */
};

static void *interrupt(void *arg)
{
	struct interrupter *i = arg;
	wait_for_job(i->w, i->hangs ? is_hanging : is_reading, i->hangs ? "hanging" : "reading");
	service_interrupt(i->w->service, i->waiter);
	return NULL;
}

static void one_job_at_a_time(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	int64_t id, other;
	char name[256];
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "?slow_ms_per_row=2");
	assert_int_equal(service_snapshot(w.service, 0, "slow", &w.me, &id, &e), 0);
	assert_int_equal(service_pending(w.service, 0, &other, name), 0);
	assert_int_equal(other, id);
	assert_string_equal(name, "slow");
	assert_int_equal(service_snapshot(w.service, 0, "second", &w.me, &other, &e), -EBUSY);
	assert_int_equal(service_snapshot(w.service, 0, "a:b", &w.me, &other, &e), -EINVAL);
	/* a signal ends the wait, not the capture */
	struct waiter waiter = {0};
	struct interrupter in = {&w, &waiter, false};
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, interrupt, &in), 0);
	assert_int_equal(service_wait(w.service, id, &waiter, &e), -EINTR);
	(void)pthread_join(t, NULL);
	assert_int_equal(service_pending(w.service, 0, &other, name), 0);
	/* removing the pending one cancels it */
	assert_int_equal(service_remove(w.service, 0, "slow", &w.me, &e), 0);
	assert_int_equal(service_wait(w.service, id, NULL, &e), -EINTR);
	assert_int_equal(listed(&w), 0);
	/* closing the engine ends a job in a moment */
	assert_int_equal(service_snapshot(w.service, 0, "slow", &w.me, &id, &e), 0);
	world_close(&w);
	world_open(&w, "");
	assert_int_equal(listed(&w), 0);
	assert_int_equal(service_snapshot(w.service, 0, "done", &w.me, &id, &e), 0);
	assert_int_equal(service_wait(w.service, id, NULL, &e), 0);
	assert_int_equal(service_snapshot(w.service, 0, "done", &w.me, &other, &e), -EEXIST);
	world_close(&w);
	world_end(&w);
}

/* In the last transaction of a snapshot a cancel comes too late: who was told that it is removed does not find it,
 * whenever it was asked for. */
static void what_was_removed_is_not_there(void **state)
{
	(void)state;
	enum { TRIES = 100 };
	struct world w;
	int64_t id = 0, longest = 0;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	for (int i = 0; i < 3 + TRIES; i++) {
		int64_t start = (int64_t)(clock_mono_ns() / 1000);
		ok(service_snapshot(w.service, 0, "x", &w.me, &id, &e));
		int64_t begun = (int64_t)(clock_mono_ns() / 1000) - start;
		if (i < 3)
			ok(service_wait(w.service, id, NULL, &e));
		else
			(void)usleep((useconds_t)(longest * (i - 3) / TRIES));
		if (i < 3 && (int64_t)(clock_mono_ns() / 1000) - start - begun > longest)
			longest = (int64_t)(clock_mono_ns() / 1000) - start - begun;
		ok(service_remove(w.service, 0, "x", &w.me, &e));
		(void)service_wait(w.service, id, NULL, ERR_DROP);
		assert_int_equal(listed(&w), 0);
	}
	world_close(&w);
	world_end(&w);
}

static void a_signal_cancels_a_restore(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	world_close(&w);
	sql(w.db, CHANGES);
	char *before = dump(w.db);
	static const char *const where[] = {"?hang=change_begin", "?hang=load_row", "?hang=begin",
					    "?slow_ms_per_row=5"};
	for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
		world_open(&w, where[i]);
		struct waiter waiter = {0};
		struct interrupter in = {&w, &waiter, strstr(where[i], "hang") != NULL};
		struct restore_plan plan;
		struct restore_request rq = {.snapshot_id = a, .label = "test", .policy = RESTORE_REPLACE};
		pthread_t t;
		assert_int_equal(pthread_create(&t, NULL, interrupt, &in), 0);
		assert_int_equal(service_restore(w.service, 0, &rq, &w.me, &waiter, &plan, NULL, &e), -EINTR);
		(void)pthread_join(t, NULL);
		restore_plan_done(&plan);
		world_close(&w);
		char *now = dump(w.db);
		assert_string_equal(before, now);
		free(now);
	}
	free(before);
	world_end(&w);
}

static void policies(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	struct restore_plan plan;
	struct restore_request rq = {.snapshot_id = a, .label = "test", .policy = RESTORE_OFF};
	assert_int_equal(service_restore(w.service, 0, &rq, &w.me, NULL, &plan, NULL, &e), -EPERM);
	rq.policy = RESTORE_EMPTY;
	assert_int_equal(service_restore(w.service, 0, &rq, &w.me, NULL, &plan, NULL, &e), -ENOTEMPTY);
	restore_plan_done(&plan);
	size_t n = listed(&w);
	char *before = dump(w.db);
	sql(w.db, "DROP TABLE child; DROP TABLE entity; DROP TABLE series");
	assert_int_equal(service_restore(w.service, 0, &rq, &w.me, NULL, &plan, NULL, &e), 0);
	assert_true(plan.objects.n > 0);
	restore_plan_done(&plan);
	assert_int_equal(listed(&w), n); /* nothing to save: no safety snapshot */
	char *after = dump(w.db);
	assert_string_equal(before, after);
	/* a plan changes nothing */
	sql(w.db, CHANGES);
	char *changed = dump(w.db);
	rq.policy = RESTORE_REPLACE;
	rq.dry_run = true;
	assert_int_equal(service_restore(w.service, 0, &rq, &w.me, NULL, &plan, NULL, &e), 0);
	uint64_t inserts = 0, updates = 0, deletes = 0;
	for (size_t i = 0; i < plan.n; i++) {
		if (strcmp(plan.v[i].table, "entity"))
			continue;
		inserts += plan.v[i].inserts;
		updates += plan.v[i].updates;
		deletes += plan.v[i].deletes;
	}
	assert_int_equal(inserts, 8);
	assert_int_equal(updates, 10);
	assert_int_equal(deletes, 1);
	restore_plan_done(&plan);
	assert_int_equal(listed(&w), n);
	char *still = dump(w.db);
	assert_string_equal(changed, still);
	/* one table only */
	char *one[] = {(char *)"entity", NULL};
	rq.dry_run = false;
	rq.tables = one;
	ok(service_restore(w.service, 0, &rq, &w.me, NULL, &plan, NULL, &e));
	restore_plan_done(&plan);
	assert_int_equal(service_verify_live(w.service, 0, a, NULL, &plan, &e), 1);
	for (size_t i = 0; i < plan.n; i++)
		if (!strcmp(plan.v[i].table, "entity"))
			assert_int_equal(plan.v[i].inserts + plan.v[i].updates + plan.v[i].deletes, 0);
	restore_plan_done(&plan);
	free(before);
	free(after);
	free(changed);
	free(still);
	world_close(&w);
	world_end(&w);
}

static void now_follows_the_database(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	int64_t id, again;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	assert_int_equal(service_now_peek(w.service, 0, &id), -ENOENT);
	assert_int_equal(service_now(w.service, 0, &w.me, NULL, &id, &e), 0);
	assert_int_equal(service_now(w.service, 0, &w.me, NULL, &again, &e), 0);
	assert_int_equal(id, again);
	/* a restore writes: what was taken before it is not now, its own safety snapshot neither */
	sql(w.db, CHANGES);
	assert_int_equal(restore_to(&w, id, &e), 0);
	assert_int_equal(service_now_peek(w.service, 0, &again), -ENOENT);
	for (int64_t at = clock_ms(); clock_ms() == at;)
		usleep(100);
	assert_int_equal(service_now(w.service, 0, &w.me, NULL, &again, &e), 0);
	assert_true(again > id);
	world_close(&w);
	world_end(&w);
}

static void one_row(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	char *before = dump(w.db);
	const char *changed = "{\n  \"id\": 5,\n  \"json\": {\"name\":\"other\"}\n}\n",
		   *added = "{\"id\":777,\"json\":{\"name\":\"n\"}}";
	const char *back = "{\"id\":5,\"json\":{\"name\":\"e5\",\"v\":1}}";
	assert_int_equal(
	    service_upsert_row(w.service, 0, "entity", "6.json", changed, strlen(changed), &w.me, NULL, &e), -EINVAL);
	assert_int_equal(service_upsert_row(w.service, 0, "nope", "5.json", changed, strlen(changed), &w.me, NULL, &e),
			 -ENOENT);
	assert_int_equal(
	    service_upsert_row(w.service, 0, "series", "5.json", changed, strlen(changed), &w.me, NULL, &e), -ENOTSUP);
	assert_int_equal(service_upsert_row(w.service, 0, "entity", "5.json", "{", 1, &w.me, NULL, &e), -EBADMSG);
	char *same = dump(w.db);
	assert_string_equal(before, same);
	ok(service_upsert_row(w.service, 0, "entity", "5.json", changed, strlen(changed), &w.me, NULL, &e));
	ok(service_upsert_row(w.service, 0, "entity", "777.json", added, strlen(added), &w.me, NULL, &e));
	char *now = dump(w.db);
	assert_non_null(strstr(now, "5|'{\"name\":\"other\"}'|"));
	assert_non_null(strstr(now, "777|'{\"name\":\"n\"}'|"));
	assert_int_equal(service_upsert_row(w.service, 0, "entity", "5.json", back, strlen(back), &w.me, NULL, &e), 0);
	sql(w.db, "DELETE FROM entity WHERE id=777");
	char *end = dump(w.db);
	assert_string_equal(before, end);
	free(before);
	free(same);
	free(now);
	free(end);
	world_close(&w);
	world_end(&w);
}

/* As a crash leaves it: a journal entry in the middle of a restore, and rows that no snapshot names. */
static void a_crash_is_settled(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	int64_t a = take(&w, "a");
	sql(w.db, CHANGES);
	int64_t b = take(&w, "b"), entry, snapshot_entry;
	struct catalog *c = w.catalog;
	assert_int_equal(journal_add(c, 1, JOURNAL_SNAPSHOT, "cut", 0, 1, "test", &snapshot_entry, &e), 0);
	assert_int_equal(journal_add(c, 1, JOURNAL_RESTORE, "cut", 0, 1, "test", &entry, &e), 0);
	assert_int_equal(journal_state(c, entry, JOURNAL_BEGUN, NULL, b, a, false, &e), 0);
	world_close(&w);
	world_open(&w, "");
	(void)take(&w, "c"); /* waits for the settling */
	struct strbuf text = {0};
	assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
	assert_non_null(strstr(text.data, "snapshot cut: interrupted"));
	assert_non_null(strstr(text.data, "restore cut: rolled back"));
	strbuf_done(&text);
	c = w.catalog;
	assert_int_equal(journal_add(c, 1, JOURNAL_RESTORE, "cut2", 0, 1, "test", &entry, &e), 0);
	assert_int_equal(journal_state(c, entry, JOURNAL_BEGUN, NULL, a, b, false, &e), 0);
	world_close(&w);
	world_open(&w, "");
	(void)take(&w, "d");
	assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
	assert_non_null(strstr(text.data, "restore cut2: committed"));
	strbuf_done(&text);
	world_close(&w);
	world_end(&w);
}

/* A crash in the middle of a restore, and its target is removed before it is settled: the safety snapshot alone tells
 * that nothing was done; where that is not what the database holds, nothing does. */
static void a_crash_without_its_target_is_settled(void **state)
{
	(void)state;
	static const char *const journal[] = {"restore cut: rolled back", "restore cut: unknown",
					      "restore cut: unknown"};
	for (int which = 0; which < 3; which++) {
		struct world w;
		struct err e = ERR_INIT;
		world_new(&w, SCHEMA ROWS);
		world_open(&w, "");
		int64_t a = take(&w, "a"), entry;
		sql(w.db, CHANGES);
		int64_t b = take(&w, "b");
		struct catalog *c = w.catalog;
		assert_int_equal(journal_add(c, 1, JOURNAL_RESTORE, "cut", 0, 1, "test", &entry, &e), 0);
		assert_int_equal(journal_state(c, entry, JOURNAL_BEGUN, NULL, b, a, false, &e), 0);
		assert_int_equal(store_remove_snapshot(c, a, false, &e), 0);
		if (which == 1)
			sql(w.db, "DELETE FROM series");
		if (which == 2)
			assert_int_equal(store_remove_snapshot(c, b, false, &e), 0);
		world_close(&w);
		world_open(&w, "");
		(void)take(&w, "c"); /* waits for the settling */
		struct strbuf text = {0};
		assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
		if (!strstr(text.data, journal[which]))
			fail_msg("not \"%s\": %s", journal[which], text.data);
		strbuf_done(&text);
		world_close(&w);
		world_end(&w);
	}
}

/* A crash in the middle of a restore of some tables: they tell which of the two it was, whatever is in the others. */
static void a_crash_of_some_tables_is_settled(void **state)
{
	(void)state;
	static const char *const now[] = {
	    "DELETE FROM entity WHERE id > 390; SELECT 1", /* as before the restore, but for a table it was not about */
	    ("DELETE FROM \"a/b\"; DELETE FROM child; INSERT INTO child SELECT id, id % 7 FROM entity;"
	     "DELETE FROM entity;"),
	    "DELETE FROM child WHERE n = 3",
	};
	static const char *const journal[] = {"restore cut: rolled back", "restore cut: committed",
					      "restore cut: unknown"};
	for (int which = 0; which < 3; which++) {
		struct world w;
		struct err e = ERR_INIT;
		char *tables[] = {(char *)"child", (char *)"a/b", NULL};
		world_new(&w, SCHEMA ROWS "CREATE TABLE \"a/b\"(x);");
		world_open(&w, "");
		int64_t a = take(&w, "a"), entry;
		sql(w.db, "DELETE FROM child WHERE n < 3; INSERT INTO \"a/b\" VALUES(1)");
		int64_t b = take(&w, "b");
		struct catalog *c = w.catalog;
		char *scope = restore_scope_text(NULL, tables);
		assert_int_equal(journal_add(c, 1, JOURNAL_RESTORE, "cut", 0, 1, "test", &entry, &e), 0);
		assert_int_equal(journal_state(c, entry, JOURNAL_BEGUN, scope, b, a, false, &e), 0);
		free(scope);
		sql(w.db, now[which]);
		world_close(&w);
		world_open(&w, "");
		(void)take(&w, "c"); /* waits for the settling */
		struct strbuf text = {0};
		assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
		if (!strstr(text.data, journal[which]))
			fail_msg("not \"%s\": %s", journal[which], text.data);
		strbuf_done(&text);
		world_close(&w);
		world_end(&w);
	}
}

/* What a restore that is still to be settled is looked up by stays, however old; once that is done it goes. */
static void a_prune_keeps_what_settling_needs(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	int64_t safety = take(&w, "safety"), target = take(&w, "target"), entry;
	(void)take(&w, "more");
	(void)take(&w, "newest");
	struct catalog *c = w.catalog;
	assert_int_equal(journal_add(c, 1, JOURNAL_RESTORE, "cut", 0, 1, "test", &entry, &e), 0);
	assert_int_equal(journal_state(c, entry, JOURNAL_BEGUN, NULL, safety, target, false, &e), 0);
	struct keep_rules rules = {0};
	struct prune_list list;
	struct snapshot_info s;
	int64_t later = clock_ms() + (int64_t)1000 * 86400 * 1000;
	assert_int_equal(keep_parse(&rules, "last=1", &e), 0);
	assert_int_equal(store_prune(c, 1, &rules, later, false, &w.me, &list, &e), 0);
	prune_list_done(&list);
	assert_int_equal(catalog_find(c, 1, "more", &s, &e), -ENOENT);
	assert_int_equal(listed(&w), 3);
	assert_int_equal(journal_state(c, entry, JOURNAL_ROLLED_BACK, NULL, 0, 0, true, &e), 0);
	assert_int_equal(store_prune(c, 1, &rules, later, false, &w.me, &list, &e), 0);
	prune_list_done(&list);
	assert_int_equal(listed(&w), 1);
	world_close(&w);
	world_end(&w);
}

static void two_processes(void **state)
{
	(void)state;
	struct world w, v;
	struct err e = ERR_INIT;
	int64_t id, other;
	world_new(&w, SCHEMA ROWS);
	v = w;
	world_open(&w, "?slow_ms_per_row=2");
	world_open(&v, "");
	assert_int_equal(service_snapshot(w.service, 0, "slow", &w.me, &id, &e), 0);
	assert_int_equal(service_snapshot(v.service, 0, "other", &w.me, &other, &e), -EBUSY);
	assert_int_equal(service_wait(w.service, id, NULL, &e), 0);
	assert_int_equal(service_snapshot(v.service, 0, "other", &w.me, &other, &e), 0);
	assert_int_equal(service_wait(v.service, other, NULL, &e), 0);
	assert_int_equal(listed(&w), 2);
	world_close(&v);
	world_close(&w);
	world_end(&w);
}

/* ---- the answer of COMMIT ---- */

enum commit_end { COMMIT_UNCHANGED, COMMIT_UNREACHABLE, COMMIT_DONE };

struct committer {
	struct world *w;
	struct waiter *waiter;
	char *restored; /* a database as the restore would have made it */
	enum commit_end end;
};

/* Waits until the restore hangs in COMMIT, puts another database in place, and cancels it. */
static void *end_commit(void *arg)
{
	struct committer *cm = arg;
	char *aside = xasprintf("%s/aside.db", cm->w->dir);
	wait_for_job(cm->w, is_hanging, "in COMMIT");
	if (cm->end != COMMIT_UNCHANGED)
		assert_int_equal(rename(cm->w->db, aside), 0);
	if (cm->end == COMMIT_DONE)
		assert_int_equal(rename(cm->restored, cm->w->db), 0);
	service_interrupt(cm->w->service, cm->waiter);
	free(aside);
	return NULL;
}

/* A cancel in COMMIT: what the database holds is looked up all the same, the words and the journal tell it, and now/
 * knows. Where it cannot be looked up the entry stays open until it can. */
static void an_uncertain_commit_is_settled(void **state)
{
	(void)state;
	static const char *const words[] = {"the database is unchanged", "is not known", "holds the restored state"};
	static const char *const journal[] = {"restore test: interrupted", "restore test: begun",
					      "restore test: committed"};
	for (int end = COMMIT_UNCHANGED; end <= COMMIT_DONE; end++) {
		struct world w;
		struct err e = ERR_INIT;
		world_new(&w, SCHEMA ROWS);
		char *restored = xasprintf("%s/restored.db", w.dir), *aside = xasprintf("%s/aside.db", w.dir);
		char *copy = xasprintf("VACUUM INTO '%s'", restored);
		sql(w.db, copy);
		world_open(&w, "");
		int64_t a = take(&w, "a"), now;
		sql(w.db, CHANGES);
		int64_t b = take(&w, "b");
		assert_true(b > a);
		world_close(&w);
		world_open(&w, "?hang=commit");
		struct waiter waiter = {0};
		struct committer cm = {&w, &waiter, restored, (enum commit_end)end};
		struct restore_plan plan;
		struct restore_request rq = {.snapshot_id = a, .label = "test", .policy = RESTORE_REPLACE};
		pthread_t t;
		assert_int_equal(pthread_create(&t, NULL, end_commit, &cm), 0);
		assert_int_equal(service_restore(w.service, 0, &rq, &w.me, &waiter, &plan, NULL, &e), -EINTR);
		(void)pthread_join(t, NULL);
		restore_plan_done(&plan);
		assert_non_null(strstr(e.msg, words[end]));
		struct strbuf text = {0};
		assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
		assert_non_null(strstr(text.data, journal[end]));
		strbuf_done(&text);
		/* the safety snapshot is what the database holds, or it is not */
		assert_int_equal(service_now_peek(w.service, 0, &now), end == COMMIT_UNCHANGED ? 0 : -ENOENT);
		world_close(&w);
		if (end == COMMIT_UNREACHABLE) {
			assert_int_equal(rename(aside, w.db), 0);
			world_open(&w, "");
			(void)take(&w, "c"); /* waits for the settling */
			assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
			assert_non_null(strstr(text.data, "restore test: rolled back"));
			strbuf_done(&text);
			world_close(&w);
		}
		(void)unlink(restored);
		(void)unlink(aside);
		free(restored);
		free(aside);
		free(copy);
		world_end(&w);
	}
}

/* ---- what others do meanwhile ---- */

static void *remove_target(void *arg)
{
	struct world *w = arg;
	struct err e = ERR_INIT;
	wait_for_job(w, is_applying, "applying");
	if (service_remove(w->service, 0, "a", &w->me, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	return NULL;
}

static void a_target_removed_meanwhile_is_restored(void **state)
{
	(void)state;
	struct world w;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	char *before = dump(w.db);
	int64_t a = take(&w, "a");
	sql(w.db, "DELETE FROM child; " CHANGES);
	world_close(&w);
	world_open(&w, "?slow_ms_per_row=1");
	/* Nothing of it is at hand but in the catalog's file. */
	assert_int_equal(catalog_set_cache_bytes(w.catalog, 0), 0);
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, remove_target, &w), 0);
	ok(restore_to(&w, a, &e));
	(void)pthread_join(t, NULL);
	char *after = dump(w.db);
	assert_string_equal(before, after);
	free(before);
	free(after);
	world_close(&w);
	world_end(&w);
}

static void remove_tree(const char *path)
{
	static const char *const names[] = {
	    "MANIFEST.json",       "schema.sql",          "SHA256SUMS", "tables/child.jsonl",
	    "tables/entity.jsonl", "tables/series.jsonl", "tables"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char *name = xasprintf("%s/%s", path, names[i]);
		(void)remove(name);
		free(name);
	}
	assert_int_equal(rmdir(path), 0);
}

static void write_text(const char *path, const struct strbuf *text)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(text->data, 1, text->len, f), text->len);
	assert_int_equal(fclose(f), 0);
}

/* A fresh backup of another database is not what this one holds now. */
static void an_import_is_not_now(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	char *path = xasprintf("%s/backup", w.dir);
	int64_t a = take(&w, "a"), id, now;
	ok(export_snapshot(w.catalog, a, path, &e));
	assert_int_equal(service_remove(w.service, 0, "a", &w.me, &e), 0);
	struct backup_tree *b;
	assert_int_equal(backup_dir_open(&b, path, &e), 0);
	ok(service_import(w.service, 0, b, NULL, &w.me, NULL, &id, NULL, &e));
	assert_int_equal(listed(&w), 1);
	assert_int_equal(service_now_peek(w.service, 0, &now), -ENOENT);
	assert_int_equal(service_now(w.service, 0, &w.me, NULL, &now, &e), 0);
	assert_true(now > id);
	backup_close(b);
	remove_tree(path);
	free(path);
	world_close(&w);
	world_end(&w);
}

/* Rows, digests and names may all be true: a manifest that says other sizes is not this backup's. */
static void an_import_checks_the_sizes(void **state)
{
	(void)state;
	static const char *const members[] = {"\"bytes\": ", "\"file_bytes\": "};
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	char *path = xasprintf("%s/backup", w.dir), *file = xasprintf("%s/MANIFEST.json", path);
	char *sums = xasprintf("%s/SHA256SUMS", path);
	int64_t a = take(&w, "a"), id;
	ok(export_snapshot(w.catalog, a, path, &e));
	assert_int_equal(unlink(sums), 0); /* it would tell as well */
	struct backup_tree *b;
	for (size_t i = 0; i <= sizeof members / sizeof *members; i++) {
		struct strbuf text = {0};
		assert_int_equal(backup_dir_open(&b, path, &e), 0);
		assert_int_equal(b->slurp(b, "MANIFEST.json", &text, &e), 0);
		char *digit = NULL, was = 0;
		if (i < sizeof members / sizeof *members) {
			digit = strstr(text.data, members[i]);
			assert_non_null(digit);
			digit += strlen(members[i]);
			was = *digit;
			*digit = was == '9' ? '8' : (char)(was + 1);
		}
		write_text(file, &text);
		int r = service_import(w.service, 0, b, "i", &w.me, NULL, &id, NULL, &e);
		if (digit) {
			assert_int_equal(r, -EBADMSG);
			assert_non_null(strstr(e.msg, "sizes"));
			assert_int_equal(listed(&w), 1);
			*digit = was;
			write_text(file, &text);
		} else if (r < 0) {
			fail_msg("%s", e.msg);
		}
		strbuf_done(&text);
		backup_close(b);
	}
	remove_tree(path);
	free(path);
	free(file);
	free(sums);
	world_close(&w);
	world_end(&w);
}

/* A file that was given its size before its bytes (rsync --preallocate, a sparse copy) is told from its start, however
 * large. */
static void a_file_of_zeros_is_not_gathered(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	char *path = xasprintf("%s/backup", w.dir), *file = xasprintf("%s/tables/series.jsonl", path);
	int64_t a = take(&w, "a"), id;
	ok(export_snapshot(w.catalog, a, path, &e));
	assert_int_equal(truncate(file, 0), 0);
	assert_int_equal(truncate(file, (off_t)1 << 33), 0);
	struct backup_tree *b;
	assert_int_equal(backup_dir_open(&b, path, &e), 0);
	assert_int_equal(service_import(w.service, 0, b, "i", &w.me, NULL, &id, NULL, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "zeros"));
	assert_int_equal(listed(&w), 1);
	backup_close(b);
	remove_tree(path);
	free(path);
	free(file);
	world_close(&w);
	world_end(&w);
}

/* A damaged newest snapshot keeps nobody from taking the next one, restoring an older one, or importing. */
static void a_damaged_newest_snapshot_stops_nothing(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	char *before = dump(w.db), *path = xasprintf("%s/backup", w.dir);
	int64_t a = take(&w, "a"), id;
	ok(export_snapshot(w.catalog, a, path, &e));
	sql(w.db, CHANGES);
	(void)take(&w, "b");
	world_close(&w);
	/* everything that only b has */
	sql(w.catalog_path,
	    "UPDATE pack SET data=x'00' WHERE first_seen_ms=(SELECT taken_ms FROM snapshot WHERE name='b')");
	world_open(&w, "");
	int64_t c = take(&w, "c");
	struct strbuf text = {0}, report = {0};
	service_status(w.service, 0, &text);
	assert_non_null(strstr(text.data, "damaged"));
	strbuf_done(&text);
	assert_int_equal(service_verify(w.service, c, &report, &e), 0);
	assert_int_equal(service_remove(w.service, 0, "c", &w.me, &e), 0);
	struct backup_tree *b;
	assert_int_equal(backup_dir_open(&b, path, &e), 0);
	ok(service_import(w.service, 0, b, "i", &w.me, NULL, &id, NULL, &e));
	backup_close(b);
	assert_int_equal(service_verify(w.service, id, &report, &e), 0);
	assert_int_equal(service_remove(w.service, 0, "i", &w.me, &e), 0);
	ok(restore_to(&w, a, &e));
	char *after = dump(w.db);
	assert_string_equal(before, after);
	strbuf_done(&report);
	remove_tree(path);
	free(path);
	free(before);
	free(after);
	world_close(&w);
	world_end(&w);
}

/* Nothing but an index differs: that is a difference, and tells what came of a crashed restore. */
static void definitions_alone_differ(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	world_open(&w, "");
	int64_t a = take(&w, "a"), undone, done;
	sql(w.db, "CREATE INDEX more ON series(a)");
	int64_t b = take(&w, "b");
	struct restore_plan plan;
	assert_int_equal(service_verify_live(w.service, 0, b, NULL, &plan, &e), 0);
	restore_plan_done(&plan);
	assert_int_equal(service_verify_live(w.service, 0, a, NULL, &plan, &e), 1);
	assert_true(plan.objects.n > 0);
	restore_plan_done(&plan);
	assert_int_equal(journal_add(w.catalog, 1, JOURNAL_RESTORE, "undone", 0, 1, "test", &undone, &e), 0);
	assert_int_equal(journal_state(w.catalog, undone, JOURNAL_BEGUN, NULL, b, a, false, &e), 0);
	assert_int_equal(journal_add(w.catalog, 1, JOURNAL_RESTORE, "done", 0, 1, "test", &done, &e), 0);
	assert_int_equal(journal_state(w.catalog, done, JOURNAL_BEGUN, NULL, a, b, false, &e), 0);
	ok(restore_to(&w, a, &e));
	assert_int_equal(service_verify_live(w.service, 0, a, NULL, &plan, &e), 0);
	restore_plan_done(&plan);
	struct strbuf text = {0};
	assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
	assert_non_null(strstr(text.data, "restore undone: rolled back"));
	assert_non_null(strstr(text.data, "restore done: committed"));
	strbuf_done(&text);
	world_close(&w);
	world_end(&w);
}

/* A row whose key cannot be told from it can be compared with a snapshot of rows that all could. */
static void a_key_given_up_can_be_compared(void **state)
{
	(void)state;
	struct world w;
	struct err e = ERR_INIT;
	world_new(&w, SCHEMA ROWS);
	sql(w.db,
	    "CREATE TABLE derived(json JSON NOT NULL, id TEXT AS (json_extract(json,'$.id')) STORED NOT NULL UNIQUE);"
	    "INSERT INTO derived(json) VALUES('{\"id\":\"a\"}'),('{\"id\":\"b\"}')");
	world_open(&w, "");
	int64_t a = take(&w, "a"), entry;
	sql(w.db, "INSERT INTO derived(json) VALUES('{\"id\":1.10}')");
	int64_t b = take(&w, "b");
	struct restore_plan plan;
	if (service_verify_live(w.service, 0, a, NULL, &plan, &e) != 1)
		fail_msg("%s", e.msg);
	restore_plan_done(&plan);
	assert_int_equal(service_verify_live(w.service, 0, b, NULL, &plan, &e), 0);
	restore_plan_done(&plan);
	/* and a crashed restore is settled */
	assert_int_equal(journal_add(w.catalog, 1, JOURNAL_RESTORE, "cut", 0, 1, "test", &entry, &e), 0);
	assert_int_equal(journal_state(w.catalog, entry, JOURNAL_BEGUN, NULL, b, a, false, &e), 0);
	ok(restore_to(&w, a, &e));
	assert_int_equal(service_verify_live(w.service, 0, a, NULL, &plan, &e), 0);
	restore_plan_done(&plan);
	struct strbuf text = {0};
	assert_int_equal(service_journal(w.service, 0, &text, &e), 0);
	assert_non_null(strstr(text.data, "restore cut: rolled back"));
	strbuf_done(&text);
	world_close(&w);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(restore_and_back),
	    cmocka_unit_test(a_fault_anywhere_changes_nothing),
	    cmocka_unit_test(what_was_written_is_read_back),
	    cmocka_unit_test(a_failing_snapshot_leaves_nothing),
	    cmocka_unit_test(one_job_at_a_time),
	    cmocka_unit_test(what_was_removed_is_not_there),
	    cmocka_unit_test(a_signal_cancels_a_restore),
	    cmocka_unit_test(policies),
	    cmocka_unit_test(now_follows_the_database),
	    cmocka_unit_test(one_row),
	    cmocka_unit_test(a_crash_is_settled),
	    cmocka_unit_test(a_crash_without_its_target_is_settled),
	    cmocka_unit_test(a_crash_of_some_tables_is_settled),
	    cmocka_unit_test(a_prune_keeps_what_settling_needs),
	    cmocka_unit_test(two_processes),
	    cmocka_unit_test(an_uncertain_commit_is_settled),
	    cmocka_unit_test(a_target_removed_meanwhile_is_restored),
	    cmocka_unit_test(an_import_is_not_now),
	    cmocka_unit_test(an_import_checks_the_sizes),
	    cmocka_unit_test(a_file_of_zeros_is_not_gathered),
	    cmocka_unit_test(a_damaged_newest_snapshot_stops_nothing),
	    cmocka_unit_test(definitions_alone_differ),
	    cmocka_unit_test(a_key_given_up_can_be_compared),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
