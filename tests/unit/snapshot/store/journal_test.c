/*
 * tests/unit/snapshot/store/journal_test.c - snapshot/store/journal.c: each job and state comes back as it was written,
 * in the words that catalogs have had from the start; words of another program are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "snapshot/store/internal.h"
#include "tests/unit/world.h"

static struct catalog *test_catalog(char **dir, struct strbuf *path)
{
	struct catalog *c = NULL;
	*dir = test_dir();
	strbuf_addf(path, "%s/c.db", *dir);
	ok(catalog_open(&c, path->data, CATALOG_WRITE, &e));
	return c;
}

static void test_catalog_done(struct catalog *c, char *dir)
{
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

struct look {
	enum journal_op op;
	enum journal_state state;
	char words[64];
	unsigned n;
	int answer;
};

static int look_each(void *arg, const struct journal_entry *j)
{
	struct look *l = arg;
	l->op = j->op;
	l->state = j->state;
	(void)snprintf(l->words, sizeof l->words, "%s %s", j->op_word, j->state_word);
	l->n++;
	return l->answer;
}

static void words_stay(void **state)
{
	(void)state;
	static const char *const ops[] = {
	    [JOURNAL_SNAPSHOT] = "snapshot", [JOURNAL_RESTORE] = "restore", [JOURNAL_PLAN] = "plan",
	    [JOURNAL_PUT] = "put",           [JOURNAL_IMPORT] = "import",   [JOURNAL_RENAME] = "rename",
	    [JOURNAL_REMOVE] = "remove",     [JOURNAL_PRUNE] = "prune",     [JOURNAL_HOLD] = "hold",
	    [JOURNAL_RELEASE] = "release",   [JOURNAL_VERIFY] = "verify",   [JOURNAL_SETTLE] = "settle"};
	static const char *const states[] = {
	    [JOURNAL_RUNNING] = "running",         [JOURNAL_SAFETY] = "safety", [JOURNAL_BEGUN] = "begun",
	    [JOURNAL_COMMITTED] = "committed",     [JOURNAL_DONE] = "done",     [JOURNAL_DIFFERENT] = "different",
	    [JOURNAL_ROLLED_BACK] = "rolled back", [JOURNAL_FAILED] = "failed", [JOURNAL_INTERRUPTED] = "interrupted",
	    [JOURNAL_UNKNOWN] = "unknown"};
	char *dir, want[64];
	_cleanup_strbuf_ struct strbuf path = {0};
	struct catalog *c = test_catalog(&dir, &path);
	struct err e = ERR_INIT;
	for (unsigned op = JOURNAL_SNAPSHOT; op <= JOURNAL_SETTLE; op++)
		for (unsigned s = JOURNAL_RUNNING; s <= JOURNAL_UNKNOWN; s++) {
			int64_t id, source = op * 100 + s;
			struct look l = {0};
			assert_int_equal(journal_add(c, source, op, "x", 1, 2, "p", &id, &e), 0);
			assert_int_equal(journal_each(c, source, true, look_each, &l, &e), 0);
			assert_int_equal(l.state, JOURNAL_RUNNING);
			assert_int_equal(journal_state(c, id, s, NULL, 0, 0, true, &e), 0);
			assert_int_equal(journal_each(c, source, true, look_each, &l, &e), 0);
			assert_int_equal(l.n, 1); /* it has ended */
			assert_int_equal(journal_each(c, source, false, look_each, &l, &e), 0);
			assert_int_equal(l.op, op);
			assert_int_equal(l.state, s);
			(void)snprintf(want, sizeof want, "%s %s", ops[op], states[s]);
			assert_string_equal(l.words, want);
		}
	test_catalog_done(c, dir);
}

static void other_words_are_kept(void **state)
{
	(void)state;
	char *dir;
	_cleanup_strbuf_ struct strbuf path = {0};
	struct catalog *c = test_catalog(&dir, &path);
	struct err e = ERR_INIT;
	struct look l = {0};
	int64_t id;
	assert_int_equal(journal_add(c, 1, JOURNAL_RESTORE, "x", 1, 2, "p", &id, &e), 0);
	struct store_db *db = store_write_begin(c, STORE_DURABLE, &e);
	assert_int_equal(store_script(db, "UPDATE journal SET op='dance', state='dancing'", "test", &e), 0);
	assert_int_equal(store_write_end(c, db, 0, &e), 0);
	assert_int_equal(journal_each(c, 1, false, look_each, &l, &e), 0);
	assert_int_equal(l.op, JOURNAL_OP_OTHER);
	assert_int_equal(l.state, JOURNAL_STATE_OTHER);
	assert_string_equal(l.words, "dance dancing");
	test_catalog_done(c, dir);
}

static void last_write_is_a_restore_or_a_put(void **state)
{
	(void)state;
	char *dir;
	_cleanup_strbuf_ struct strbuf path = {0};
	struct catalog *c = test_catalog(&dir, &path);
	struct err e = ERR_INIT;
	struct look l = {.answer = -EINTR};
	int64_t ms, last, id;
	assert_int_equal(journal_last_write(c, 1, &ms, &last, &e), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(journal_add(c, 1, JOURNAL_SNAPSHOT, "x", 1, 2, "p", &id, &e), 0);
	assert_int_equal(journal_add(c, 1, JOURNAL_PUT, "x", 1, 2, "p", &id, &e), 0);
	assert_int_equal(journal_last_write(c, 1, &ms, &last, &e), 0);
	assert_int_equal(ms, 0); /* it has not begun */
	assert_int_equal(journal_state(c, id, JOURNAL_BEGUN, NULL, 0, 0, false, &e), 0);
	assert_int_equal(journal_last_write(c, 1, &ms, &last, &e), 0);
	assert_true(ms == INT64_MAX);
	assert_int_equal(last, id);
	assert_int_equal(journal_state(c, id, JOURNAL_COMMITTED, NULL, 0, 0, true, &e), 0);
	assert_int_equal(journal_last_write(c, 1, &ms, &last, &e), 0);
	assert_true(ms > 0 && ms < INT64_MAX);
	/* who has seen enough ends the reading */
	assert_int_equal(journal_each(c, 1, false, look_each, &l, &e), -EINTR);
	assert_int_equal(l.n, 1);
	test_catalog_done(c, dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_stay),
	    cmocka_unit_test(other_words_are_kept),
	    cmocka_unit_test(last_write_is_a_restore_or_a_put),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
