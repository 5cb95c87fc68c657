/*
 * tests/unit/snapshot/stream/changes_test.c - snapshot/stream/changes.c: on real snapshots of SQLite databases, what
 * the cursor, the counts and the lookup by name say is what reading both sides whole says; the summary's text; tables
 * that come, go and are altered; rows without a key; stopping.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>

#include "snapshot/service/service.h"
#include "snapshot/stream/changes.h"
#include "tests/unit/world.h"

static int test_setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	world_new(
	    w,
	    "CREATE TABLE keyed(id INTEGER PRIMARY KEY, json JSON NOT NULL);"
	    "CREATE TABLE names(name TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID;"
	    "CREATE TABLE bag(a TEXT, b INTEGER);"
	    "CREATE TABLE still(id INTEGER PRIMARY KEY);"
	    "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM i WHERE n<3000)"
	    " INSERT INTO keyed SELECT n, '{\"n\":' || n || ',\"text\":\"some words of a row ' || n || '\"}' FROM i;"
	    "INSERT INTO names SELECT CASE id % 5 WHEN 0 THEN replace(hex(zeroblob(120)), '0', 'ab') ELSE 'n/' END || "
	    "id,"
	    " id FROM keyed WHERE id < 900;"
	    "INSERT INTO bag SELECT 'same', 1 FROM keyed WHERE id < 9; INSERT INTO bag SELECT 'b' || id, id FROM keyed;"
	    "INSERT INTO still SELECT id FROM keyed WHERE id < 20");
	world_open(w, "");
	*state = w;
	return 0;
}

static int test_teardown(void **state)
{
	struct world *w = *state;
	world_close(w);
	world_end(w);
	free(w);
	return 0;
}

/* ---- both sides read whole ---- */

struct plain_row {
	char *key, *line, *name;
	size_t key_len;
};

struct plain {
	struct plain_row *v;
	size_t n;
};

static void plain_read(struct world *w, const struct version_info *v, struct plain *ret)
{
	struct row_cursor *rc;
	struct stored_row row;
	*ret = (struct plain){0};
	if (!v)
		return;
	ret->v = xcalloc(v->rows + 1, sizeof *ret->v);
	assert_int_equal(row_cursor_open(&rc, w->catalog, v->id, 0, ERR_DROP), 0);
	while (row_cursor_next(rc, &row, ERR_DROP) == 1) {
		struct strbuf name = {0};
		row_name(row.codec, row.key, row.key_len, &name);
		ret->v[ret->n++] = (struct plain_row){.key = xmemdup0(row.key, row.key_len),
						      .key_len = row.key_len,
						      .line = xmemdup0(row.line, row.line_len),
						      .name = strbuf_detach(&name)};
	}
	row_cursor_close(rc);
	assert_int_equal(ret->n, v->rows);
}

static void plain_done(struct plain *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].key);
		free(p->v[i].line);
		free(p->v[i].name);
	}
	free(p->v);
}

static const struct plain_row *plain_find(const struct plain *p, const struct plain_row *row)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].key_len == row->key_len && !memcmp(p->v[i].key, row->key, row->key_len))
			return &p->v[i];
	return NULL;
}

/* What the lookup says of a name: bit for each kind that has it. */
static unsigned lookup_kinds(struct world *w, const struct table_pair *p, const struct plain_row *row)
{
	unsigned found = 0;
	for (int kind = 0; kind < CHANGE_KINDS; kind++) {
		for (int after = 0; after < 2; after++) {
			struct stored_row got;
			if ((kind == CHANGE_ADDED && !after) || (kind == CHANGE_REMOVED && after))
				continue;
			int r = changes_lookup(w->catalog, p, (enum change)kind, after, row->name, &got, ERR_DROP);
			if (r == -ENOENT)
				continue;
			assert_int_equal(r, 0);
			found |= 1U << (kind * 2 + after);
			stored_row_done(&got);
		}
	}
	return found;
}

enum {
	BIT_ADDED = 1 << (CHANGE_ADDED * 2 + 1),
	BIT_REMOVED = 1 << (CHANGE_REMOVED * 2),
	BITS_CHANGED = 3 << (CHANGE_CHANGED * 2)
};

static void check_table(struct world *w, const struct table_pair *p, uint64_t ret[CHANGE_KINDS])
{
	struct plain a, b;
	struct changes_cursor *cc;
	struct changes_row row;
	uint64_t want[CHANGE_KINDS] = {0};
	plain_read(w, p->before, &a);
	plain_read(w, p->after, &b);
	memset(ret, 0, CHANGE_KINDS * sizeof *ret);
	for (size_t i = 0; i < a.n; i++) {
		const struct plain_row *other = plain_find(&b, &a.v[i]);
		bool changed = other && strcmp(other->line, a.v[i].line) != 0;
		want[CHANGE_REMOVED] += !other;
		want[CHANGE_CHANGED] += changed;
		/* a row that is gone can have left its name to one with another key */
		if (!other)
			assert_int_equal(lookup_kinds(w, p, &a.v[i]) & ~(unsigned)BIT_ADDED, BIT_REMOVED);
		else if (i % 7 == 0 || changed)
			assert_int_equal(lookup_kinds(w, p, &a.v[i]), changed ? BITS_CHANGED : 0);
	}
	for (size_t i = 0; i < b.n; i++) {
		if (plain_find(&a, &b.v[i]))
			continue;
		want[CHANGE_ADDED]++;
		assert_int_equal(lookup_kinds(w, p, &b.v[i]) & ~(unsigned)BIT_REMOVED, BIT_ADDED);
	}
	assert_int_equal(changes_cursor_open(&cc, w->catalog, p, NULL, ERR_DROP), 0);
	while (changes_cursor_next(cc, &row, ERR_DROP) == 1) {
		ret[row.kind]++;
		assert_int_equal(!row.before, row.kind == CHANGE_ADDED);
		assert_int_equal(!row.after, row.kind == CHANGE_REMOVED);
	}
	changes_cursor_close(cc);
	assert_memory_equal(ret, want, sizeof want);
	plain_done(&a);
	plain_done(&b);
}

/* Everything of a pair against a plain reading; the counts too. */
static void check_pair(struct world *w, int64_t before, int64_t after, struct changes *ret)
{
	struct table_pairs pairs;
	size_t at = 0;
	assert_int_equal(table_pairs_load(w->catalog, before, after, &pairs, ERR_DROP), 0);
	assert_int_equal(changes_count(w->catalog, before, after, NULL, ret, ERR_DROP), 0);
	for (size_t i = 0; i < pairs.n; i++) {
		const struct changes_table *t = at < ret->n ? &ret->v[at] : NULL;
		uint64_t n[CHANGE_KINDS];
		check_table(w, &pairs.v[i], n);
		if (t && !strcmp(t->name, table_pair_name(&pairs.v[i]))) {
			assert_memory_equal(n, t->n, sizeof n);
			at++;
		} else {
			assert_true(!n[0] && !n[1] && !n[2]);
		}
	}
	assert_int_equal(at, ret->n);
	assert_int_equal(ret->n + ret->same, pairs.n);
	table_pairs_done(&pairs);
}

static char *text_of(struct world *w, int64_t before, int64_t after)
{
	struct changes ch;
	struct strbuf text = {0};
	check_pair(w, before, after, &ch);
	changes_text(&ch, &text);
	changes_done(&ch);
	return strbuf_detach(&text);
}

static void assert_text(struct world *w, int64_t before, int64_t after, const char *want)
{
	_cleanup_free_ char *got = text_of(w, before, after);
	assert_string_equal(got, want);
}

/* ---- tests ---- */

static void test_rows(void **state)
{
	struct world *w = *state;
	int64_t a = take(w, "a");
	sql(w->db,
	    "UPDATE keyed SET json = '{\"n\":0}' WHERE id % 100 = 1; DELETE FROM keyed WHERE id % 250 = 3;"
	    "INSERT INTO keyed VALUES(0, '{}'), (99999, '[]');"
	    "UPDATE names SET v = -1 WHERE v % 31 = 0; INSERT INTO names VALUES('', 0);"
	    "DELETE FROM bag WHERE rowid = 2; UPDATE bag SET b = -b WHERE b = 700; INSERT INTO bag VALUES('same', 2)");
	int64_t b = take(w, "b");
	assert_text(w, a, b,
		    "ADDED  REMOVED  CHANGED  BEFORE  AFTER  NOTE     TABLE\n"
		    "    2       12       30    3000   2990  -        keyed\n"
		    "    1        0       29     899    900  -        names\n"
		    "    2        2        0    3008   3008  -        bag\n"
		    "    0        0        0      19     19  same     1 table\n"
		    "    5       14       59    6926   6917  total    4 tables\n"
		    "schema.sql same\n");
	assert_text(w, b, a,
		    "ADDED  REMOVED  CHANGED  BEFORE  AFTER  NOTE     TABLE\n"
		    "   12        2       30    2990   3000  -        keyed\n"
		    "    0        1       29     900    899  -        names\n"
		    "    2        2        0    3008   3008  -        bag\n"
		    "    0        0        0      19     19  same     1 table\n"
		    "   14        5       59    6917   6926  total    4 tables\n"
		    "schema.sql same\n");
	assert_text(w, a, a,
		    "ADDED  REMOVED  CHANGED  BEFORE  AFTER  NOTE     TABLE\n"
		    "    0        0        0    6926   6926  same     4 tables\n"
		    "    0        0        0    6926   6926  total    4 tables\n"
		    "schema.sql same\n");
}

static void test_schemas(void **state)
{
	struct world *w = *state;
	int64_t a = take(w, "a");
	sql(w->db, "DROP TABLE names; CREATE TABLE \"new table/1\"(id INTEGER PRIMARY KEY, t TEXT);"
		   "INSERT INTO \"new table/1\" VALUES(1, 'x'), (2, 'y'); CREATE TABLE void(id INTEGER PRIMARY KEY);"
		   "ALTER TABLE still ADD COLUMN more TEXT; DELETE FROM still WHERE id = 3;"
		   "ALTER TABLE bag ADD COLUMN c TEXT");
	int64_t b = take(w, "b");
	assert_text(w, a, b,
		    "ADDED  REMOVED  CHANGED  BEFORE  AFTER  NOTE     TABLE\n"
		    " 3008     3008        0    3008   3008  altered  bag\n"
		    "    0      899        0     899      0  dropped  names\n"
		    "    0        1       18      19     18  altered  still\n"
		    "    2        0        0       0      2  new      new table%2F1\n"
		    "    0        0        0       0      0  new      void\n"
		    "    0        0        0    3000   3000  same     1 table\n"
		    " 3010     3908       18    6926   6028  total    6 tables\n"
		    "schema.sql changed\n");
}

/* The same name, other keys: a number that became text. */
static void test_other_keys(void **state)
{
	struct world *w = *state;
	int64_t a = take(w, "a");
	sql(w->db, "DROP TABLE still; CREATE TABLE still(id TEXT PRIMARY KEY) WITHOUT ROWID;"
		   "INSERT INTO still SELECT id FROM keyed WHERE id < 20");
	int64_t b = take(w, "b");
	_cleanup_free_ char *text = text_of(w, a, b);
	assert_non_null(strstr(text, "   19       19        0      19     19  altered  still\n"));
}

/* Versions of many pages: what both have of them is left out unread, and nothing else. */
static void test_pages(void **state)
{
	struct world *w = *state;
	sql(w->db,
	    "WITH RECURSIVE i(n) AS (SELECT 5000 UNION ALL SELECT n+1 FROM i WHERE n<120000)"
	    " INSERT INTO keyed SELECT n, '{\"n\":' || n || ',\"text\":\"many words of a row, so that there are many"
	    " packs, extents and pages of them ' || n || '\"}' FROM i");
	int64_t a = take(w, "a");
	sql(w->db, "UPDATE keyed SET json = '{}' WHERE id IN (1, 5000, 60000, 60001, 119999, 120000);"
		   "DELETE FROM keyed WHERE id BETWEEN 30000 AND 31999 OR id = 90000;"
		   "INSERT INTO keyed VALUES(4500, '{}'), (200000, '{}'), (200001, '{}')");
	int64_t b = take(w, "b");
	static const char want[] = "1C 4500A 5000C 60000C 60001C 90000R 119999C 120000C 200000A 200001A ";
	struct table_pairs pairs;
	struct changes_cursor *cc;
	struct changes_row row;
	_cleanup_strbuf_ struct strbuf got = {0};
	size_t removed = 0;
	assert_int_equal(table_pairs_load(w->catalog, a, b, &pairs, ERR_DROP), 0);
	for (size_t i = 0; i < pairs.n; i++) {
		assert_int_equal(changes_cursor_open(&cc, w->catalog, &pairs.v[i], NULL, ERR_DROP), 0);
		int r;
		while ((r = changes_cursor_next(cc, &row, ERR_DROP)) == 1) {
			const struct stored_row *one = row.after ? row.after : row.before;
			long id = strtol(one->line + strlen("{\"id\":"), NULL, 10);
			removed += row.kind == CHANGE_REMOVED;
			assert_string_equal(table_pair_name(&pairs.v[i]), "keyed");
			if (row.kind != CHANGE_REMOVED || id == 90000)
				strbuf_addf(&got, "%ld%c ", id, "ARC"[row.kind]);
			else
				assert_int_equal(id, 30000 + (long)removed - 1);
		}
		assert_int_equal(r, 0);
		changes_cursor_close(cc);
	}
	table_pairs_done(&pairs);
	assert_string_equal(strbuf_str(&got), want);
	assert_int_equal(removed, 2001);
}

/* A table that cannot be read is told, and the others are counted. */
static void test_damage(void **state)
{
	struct world *w = *state;
	struct version_info v;
	struct row_cursor *rc;
	struct stored_row row;
	struct err e = ERR_INIT;
	struct changes ch;
	sqlite3 *h;
	int64_t a = take(w, "a");
	sql(w->db, "UPDATE keyed SET json = '{}' WHERE id = 7; UPDATE names SET v = 0 WHERE v = 3; DELETE FROM bag");
	int64_t b = take(w, "b");
	assert_int_equal(catalog_table(w->catalog, b, "keyed", &v, ERR_DROP), 0);
	assert_int_equal(row_cursor_open(&rc, w->catalog, v.id, 6, ERR_DROP), 0);
	assert_int_equal(row_cursor_next(rc, &row, ERR_DROP), 1);
	_cleanup_free_ char *damage = xasprintf(
	    "UPDATE pack SET data = substr(data, 1, length(data) / 2) WHERE id = %lld", (long long)row.ref.pack);
	row_cursor_close(rc);
	version_info_done(&v);
	world_close(w);
	assert_int_equal(sqlite3_open(w->catalog_path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, damage, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_changes(h), 1);
	sqlite3_close(h);
	world_open(w, "");
	assert_int_equal(changes_count(w->catalog, a, b, NULL, &ch, &e), -EIO);
	assert_memory_equal(e.msg, "table keyed: ", strlen("table keyed: "));
	assert_int_equal(ch.n, 3);
	assert_true(ch.v[1].damaged && !strcmp(ch.v[1].name, "keyed"));
	assert_true(!ch.v[0].damaged && ch.v[0].n[CHANGE_REMOVED] == 3008);
	assert_true(!ch.v[2].damaged && ch.v[2].n[CHANGE_CHANGED] == 1);
	changes_done(&ch);
}

static void test_stop(void **state)
{
	struct world *w = *state;
	int64_t a = take(w, "a");
	sql(w->db, "UPDATE keyed SET json = '{}'");
	int64_t b = take(w, "b");
	atomic_bool stop = true;
	struct changes ch;
	assert_int_equal(changes_count(w->catalog, a, b, &stop, &ch, ERR_DROP), -EINTR);
	assert_int_equal(changes_count(w->catalog, a, b + 1, NULL, &ch, ERR_DROP), -ENOENT);
	/* Nor are its rows all new: a snapshot that is not there is not one without tables. */
	struct table_pairs gone;
	assert_int_equal(table_pairs_load(w->catalog, b + 1, b, &gone, ERR_DROP), -ENOENT);
	assert_int_equal(table_pairs_load(w->catalog, a, b + 1, &gone, ERR_DROP), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_rows, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_schemas, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_other_keys, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_pages, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_damage, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_stop, test_setup, test_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
