/*
 * tests/unit/snapshot/openmetadata/names_build_test.c - snapshot/openmetadata/names_build.c and the other names_*.c:
 * the index of entities follows what happens to the tables, and comes back when it is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "snapshot/capture/merge.h"
#include "snapshot/openmetadata/names.h"
#include "snapshot/store/store.h"
#include "tests/unit/world.h"

enum { TABLES = 4, ROWS = 120, ROUNDS = 60 };
static const char *const table_names[TABLES] = {"query_entity", "series", "tag", "user_entity"};

/* A row that is there has a name number; several may share one. */
struct model {
	bool table[TABLES];
	bool other[TABLES]; /* described in the other way */
	unsigned name[TABLES][ROWS];
	unsigned body[TABLES][ROWS];
};

static void model_fqn(size_t table, unsigned name, struct strbuf *out)
{
	if (table == 3) /* users have a `name` only */
		strbuf_addf(out, "user.%u", name);
	else
		strbuf_addf(out, "s%u.\\\"d.%u\\\".t%u", name % 3, name % 7, name);
}

/* The name of an entity with this path: "tag/s1/d.3/t8.json". */
static void model_fqn_plain(const char *path, struct strbuf *out)
{
	const char *part = strchr(path, '/') + 1;
	if (!strncmp(path, "user/", 5)) {
		strbuf_add(out, part, strlen(part) - strlen(".json"));
		return;
	}
	unsigned s, d, t;
	assert_int_equal(sscanf(part, "s%u/d.%u/t%u.json", &s, &d, &t), 3);
	strbuf_addf(out, "s%u.\"d.%u\".t%u", s, d, t);
}

static void model_path(size_t table, unsigned name, struct strbuf *out)
{
	if (table == 3)
		strbuf_addf(out, "user/user.%u.json", name);
	else
		strbuf_addf(out, "%s/s%u/d.%u/t%u.json", table == 0 ? "query" : "tag", name % 3, name % 7, name);
}

static void model_table(const struct model *m, size_t i, struct db_column *columns, size_t *key, struct db_table *ret)
{
	columns[0] = (struct db_column){.name = (char *)"id", .type = (char *)"text", .form = DB_FORM_TEXT};
	columns[1] = (struct db_column){.name = (char *)"json", .type = (char *)"jsonb", .form = DB_FORM_JSON};
	columns[2] = (struct db_column){.name = (char *)(i == 1 ? "extension" : "more"),
					.type = (char *)(m->other[i] ? "text" : "varchar"),
					.nullable = true};
	key[0] = 0;
	*ret = (struct db_table){.name = (char *)table_names[i],
				 .columns = columns,
				 .n_columns = 3,
				 .key_kind = DB_KEY_UNIQUE,
				 .key = key,
				 .n_key = 1};
}

static void model_line(const struct model *m, size_t table, size_t row, struct strbuf *out)
{
	strbuf_clear(out);
	strbuf_addf(out, "{\"id\":\"r%zu\",\"json\":{\"b\":%u,\"%s\":\"", row, m->body[table][row],
		    table == 3 ? "name" : "fullyQualifiedName");
	model_fqn(table, m->name[table][row], out);
	strbuf_adds(out, "\"},\"");
	strbuf_adds(out, table == 1 ? "extension" : "more");
	strbuf_adds(out, "\":null}");
}

/* One snapshot of the model, from its base: merged, or (spliced) told by its changes. */
static int64_t model_snapshot(struct catalog *c, const struct model *m, int64_t base_id, int64_t at)
{
	struct err e = ERR_INIT;
	struct snapshot_writer *w;
	int64_t source;
	assert_int_equal(catalog_source(c, "s", &source, &e), 0);
	assert_int_equal(snapshot_writer_new(&w, c, source, at, &e), 0);
	struct names_update *names = names_update_new(c, w);
	for (size_t i = 0; i < TABLES; i++) {
		struct db_column columns[3];
		size_t key[1];
		struct db_table t;
		struct version_writer *v;
		struct version_info base = {0};
		struct strbuf line = {0};
		struct row_stream *rows;
		if (!m->table[i])
			continue;
		model_table(m, i, columns, key, &t);
		assert_int_equal(snapshot_writer_table(w, &t, &v, &e), 0);
		assert_int_equal(names_update_watch(names, v, &e), 0);
		struct sorter *sorter = sorter_new(version_writer_codec(v), 1U << (rand() % 2 ? 20 : 8));
		for (size_t k = 0; k < ROWS; k++) {
			if (!m->name[i][k])
				continue;
			model_line(m, i, k, &line);
			ok(sorter_add(sorter, line.data, line.len, &e));
		}
		assert_int_equal(sorter_stream(&rows, sorter, &e), 0);
		if (base_id && catalog_table(c, base_id, t.name, &base, ERR_DROP) == 0 &&
		    base.codec_id != version_writer_codec_id(v))
			version_info_done(&base);
		ok(capture_merge(rows, c, base.id ? &base : NULL, v, 0, &e));
		row_stream_close(rows);
		version_writer_free(v);
		version_info_done(&base);
		strbuf_done(&line);
	}
	struct manifest manifest = {
	    .engine = xstrdup("sqlite"), .server_version = xstrdup("3"), .database = xstrdup("d")};
	char name[32];
	(void)snprintf(name, sizeof name, "s%lld", (long long)at);
	int64_t id = snapshot_writer_id(w);
	names_update_write(names, base_id, &e);
	assert_int_equal(e.code, 0);
	ok(snapshot_writer_commit(w, name, &manifest, "schema", 6, &e));
	manifest_done(&manifest);
	names_update_free(names);
	snapshot_writer_free(w);
	return id;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The index holds the model's entities, each can be found, and what is not there cannot. */
static void model_check(struct catalog *c, const struct model *m, int64_t snapshot)
{
	static char *want[TABLES * ROWS];
	struct version_info index;
	struct err e = ERR_INIT;
	size_t n = 0;
	for (size_t i = 0; i < TABLES; i++)
		for (size_t k = 0; m->table[i] && i != 1 && k < ROWS; k++) {
			struct strbuf path = {0};
			if (!m->name[i][k])
				continue;
			model_path(i, m->name[i][k], &path);
			strbuf_addf(&path, " %s r%zu.json", table_names[i], k);
			want[n++] = strbuf_detach(&path);
		}
	qsort(want, n, sizeof *want, by_text);
	assert_int_equal(names_version(c, snapshot, &index, &e), 0);
	assert_int_equal(index.rows, n);
	struct names_cursor *nc;
	struct names_entry entry;
	assert_int_equal(names_cursor_open(&nc, c, index.id, 0, &e), 0);
	for (size_t i = 0; i < n; i++) {
		struct strbuf got = {0}, file = {0}, table = {0}, row = {0};
		assert_int_equal(names_cursor_next(nc, &entry, &e), 1);
		strbuf_addf(&got, "%s %s %s", entry.path, entry.table, entry.row);
		assert_string_equal(got.data, want[i]);
		assert_int_equal(entry.number, i);
		/* by its own file name, also where several share a path */
		strbuf_add(&file, entry.path, (size_t)(strrchr(entry.path, '/') + 1 - entry.path));
		names_file(&entry, &file);
		if (names_find_path(c, snapshot, file.data, &table, &row, &e) < 0)
			fail_msg("%s: %s", file.data, e.msg);
		assert_string_equal(entry.table, table.data);
		assert_string_equal(entry.row, row.data);
		struct strbuf fqn = {0};
		size_t t = 0;
		while (strcmp(table_names[t], entry.table))
			t++;
		model_fqn_plain(entry.path, &fqn);
		bool shared = entry.again || (i + 1 < n && !strncmp(want[i + 1], entry.path, entry.path_len) &&
					      want[i + 1][entry.path_len] == ' ');
		assert_int_equal(names_find(c, snapshot,
					    t == 0   ? "query"
					    : t == 2 ? "tag"
						     : "user",
					    fqn.data, &file, &row, &e),
				 shared ? -ENOTUNIQ : 0);
		strbuf_done(&fqn);
		/* a cursor from the middle knows the same */
		struct names_cursor *again;
		struct names_entry same;
		assert_int_equal(names_cursor_open(&again, c, index.id, i, &e), 0);
		assert_int_equal(names_cursor_next(again, &same, &e), 1);
		assert_int_equal(entry.again, same.again);
		names_cursor_close(again);
		strbuf_done(&got);
		strbuf_done(&file);
		strbuf_done(&table);
		strbuf_done(&row);
		free(want[i]);
	}
	assert_int_equal(names_cursor_next(nc, &entry, &e), 0);
	names_cursor_close(nc);
	struct strbuf table = {0}, row = {0};
	assert_int_equal(names_find(c, snapshot, "user", "user.9999", &table, &row, &e), -ENOENT);
	assert_int_equal(names_find_path(c, snapshot, "user/user.1~0123456789abcdef.json", &table, &row, &e), -ENOENT);
	strbuf_done(&table);
	strbuf_done(&row);
	version_info_done(&index);
}

static void model_change(struct model *m)
{
	int n = rand() % 30;
	for (int i = 0; i < n; i++) {
		size_t t = (size_t)rand() % TABLES, k = (size_t)rand() % ROWS;
		int what = rand() % 4;
		if (what == 0)
			m->name[t][k] = 0;
		else if (what == 1)
			m->body[t][k]++;
		else
			m->name[t][k] = 1 + (unsigned)rand() % (rand() % 4 ? 200 : 5);
	}
	size_t t = (size_t)rand() % TABLES;
	if (rand() % 5 == 0)
		m->table[t] = !m->table[t];
	if (rand() % 5 == 0)
		m->other[t] = !m->other[t];
}

static void index_follows_the_tables(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 4; seed++) {
		char *dir = test_dir();
		_cleanup_free_ char *path = xasprintf("%s/c.db", dir);
		struct catalog *c;
		struct err e = ERR_INIT;
		struct model m = {.table = {true, true, true, true}};
		struct repack done;
		int64_t base = 0, before = 0;
		srand(seed);
		assert_int_equal(catalog_open(&c, path, CATALOG_WRITE, &e), 0);
		for (int round = 1; round < ROUNDS; round++) {
			struct version_info index, made;
			if (round % 6)
				model_change(&m);
			int64_t id = model_snapshot(c, &m, base, round);
			model_check(c, &m, id);
			assert_int_equal(names_version(c, id, &index, &e), 0);
			if (round % 6 == 0 && round > 6)
				assert_int_equal(index.id, before); /* the same names, the same index */
			before = index.id;
			/* one that was lost comes back the same, or is left out by the next snapshot */
			if (round % 11 == 0) {
				_cleanup_free_ char *forget =
				    xasprintf("DELETE FROM snapshot_names WHERE snapshot_id=%lld", (long long)id);
				sql(catalog_path(c), forget);
				assert_int_equal(names_version(c, id, &made, &e), -ENOENT);
				if (round % 2) {
					assert_int_equal(names_build(c, id, &e), 0);
					assert_int_equal(names_version(c, id, &made, &e), 0);
					assert_true(digest_equal(&index.digest, &made.digest));
					before = made.id;
					version_info_done(&made);
				} else {
					model_change(&m);
					int64_t next = model_snapshot(c, &m, id, 1000 + round);
					assert_int_equal(names_version(c, next, &made, &e), -ENOENT);
					assert_int_equal(names_build(c, next, &e), 0);
					model_check(c, &m, next);
					assert_int_equal(store_remove_snapshot(c, id, false, &e), 0);
					id = next;
				}
			}
			version_info_done(&index);
			/* what was removed takes its index along, and nothing of the others' */
			if (base && rand() % 3 == 0) {
				assert_int_equal(store_remove_snapshot(c, base, false, &e), 0);
				assert_int_equal(store_sweep(c, &e), 0);
				assert_int_equal(store_repack(c, &done, &e), 0);
				model_check(c, &m, id);
			}
			base = id;
		}
		catalog_close(c);
		test_dir_end(dir, "c.db");
	}
}

static int64_t index_of(struct catalog *c, int64_t snapshot)
{
	struct version_info index;
	struct err e = ERR_INIT;
	assert_int_equal(names_version(c, snapshot, &index, &e), 0);
	int64_t id = index.id;
	version_info_done(&index);
	return id;
}

static void next_path(struct names_cursor *nc, struct strbuf *out)
{
	struct names_entry n;
	struct err e = ERR_INIT;
	strbuf_clear(out);
	int r;
	do
		r = names_cursor_next(nc, &n, &e);
	while (r == 1 && n.again);
	assert_true(r >= 0);
	strbuf_adds(out, r ? n.path : "\x7f");
}

/* names_next_new tells what one index has more than another: found here by reading both. */
static void check_new_names(struct catalog *c, int64_t before, int64_t after)
{
	struct names_cursor *a, *b;
	struct strbuf old = {0}, new = {0}, at = {0}, got = {0};
	struct err e = ERR_INIT;
	assert_int_equal(names_cursor_open(&a, c, before, 0, &e), 0);
	assert_int_equal(names_cursor_open(&b, c, after, 0, &e), 0);
	next_path(a, &old);
	for (next_path(b, &new); *new.data != 0x7f; next_path(b, &new)) {
		while (strcmp(old.data, new.data) < 0)
			next_path(a, &old);
		if (!strcmp(old.data, new.data))
			continue;
		do {
			strbuf_clear(&got);
			assert_int_equal(names_next_new(c, before, after, strbuf_str(&at), at.len, &got, &e), 1);
			strbuf_clear(&at);
			strbuf_adds(&at, got.data);
			strbuf_addch(&at, 1);
		} while (strcmp(got.data, new.data) < 0);
		assert_string_equal(got.data, new.data);
	}
	assert_int_equal(names_next_new(c, after, after, "", 0, &got, &e), 0);
	names_cursor_close(a);
	names_cursor_close(b);
	strbuf_done(&old);
	strbuf_done(&new);
	strbuf_done(&at);
	strbuf_done(&got);
}

/* Missing indexes are made of the nearest one that is there and can be read; who has one in hand keeps it. */
static void missing_indexes(void **state)
{
	char *dir = test_dir();
	_cleanup_free_ char *path = xasprintf("%s/c.db", dir);
	struct model m[4] = {{.table = {true, true, true, true}}};
	struct err e = ERR_INIT;
	struct catalog *c, *other;
	int64_t id[4];
	(void)state;
	srand(11);
	assert_int_equal(catalog_open(&c, path, CATALOG_WRITE, &e), 0);
	for (int i = 0; i < 20; i++)
		model_change(&m[0]);
	for (int i = 1; i < 4; i++) {
		m[i] = m[i - 1];
		if (i > 1)
			model_change(&m[i]);
	}
	for (int i = 0; i < 4; i++)
		id[i] = model_snapshot(c, &m[i], i ? id[i - 1] : 0, i + 1);
	sql(catalog_path(c), "DELETE FROM snapshot_names");
	static const int order[] = {2, 0, 1, 3};
	for (int i = 0; i < 4; i++) {
		assert_int_equal(names_build(c, id[order[i]], &e), 0);
		model_check(c, &m[order[i]], id[order[i]]);
	}
	assert_int_equal(index_of(c, id[0]), index_of(c, id[1]));
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 4; k++)
			check_new_names(c, index_of(c, id[i]), index_of(c, id[k]));

	/* another process makes the same one at the same time */
	struct snapshot_writer *w;
	int64_t before = index_of(c, id[3]);
	assert_int_equal(catalog_open(&other, path, CATALOG_WRITE, &e), 0);
	assert_int_equal(snapshot_writer_new(&w, other, 0, 1, &e), 0);
	assert_int_equal(names_write(other, w, 0, NULL, 0, &e), NAMES_WRITTEN);
	assert_int_equal(snapshot_writer_commit_index(w, id[3], &e), 0);
	snapshot_writer_free(w);
	assert_int_equal(index_of(c, id[3]), before);
	assert_int_equal(store_sweep(other, &e), 0);
	catalog_close(other);
	model_check(c, &m[3], id[3]);

	/* a program that knows of no indexes has freed one; the nearest one is damaged */
	sql(catalog_path(c), "DELETE FROM snapshot_names WHERE snapshot_id<>(SELECT max(id) FROM snapshot);"
			     "UPDATE snapshot_names SET version_id=version_id+1000000;");
	assert_int_equal(names_build(c, id[3], &e), 0);
	model_check(c, &m[3], id[3]);
	sql(catalog_path(c), "UPDATE pack SET data=zeroblob(20) WHERE codec_id IN (SELECT codec_id FROM version JOIN"
			     " snapshot_names ON version_id=version.id)");
	catalog_close(c);
	assert_int_equal(catalog_open(&c, path, CATALOG_WRITE, &e), 0);
	assert_int_equal(names_build(c, id[2], &e), 0);
	model_check(c, &m[2], id[2]);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(index_follows_the_tables),
	    cmocka_unit_test(missing_indexes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
