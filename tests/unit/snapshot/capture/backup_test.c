/*
 * tests/unit/snapshot/capture/backup_test.c - snapshot/capture/backup.c: the tree of a directory, and telling what a
 * directory holds while its files arrive in any order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/stat.h>

#include "snapshot/capture/backup_dir.h"
#include "snapshot/capture/backup_look.h"
#include "snapshot/row/manifest.h"
#include "tests/unit/world.h"

static void put(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static void make(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static struct backup_state look(const char *dir, int want)
{
	_cleanup_(cleanup_backup) struct backup_tree *t = NULL;
	struct backup_state s;
	struct err e = ERR_INIT;
	assert_int_equal(backup_dir_open(&t, dir, &e), 0);
	assert_int_equal(backup_look(t, &s, &e), want);
	assert_int_equal(e.code, want < 0 ? -want : e.code);
	return s;
}

static char name_a[] = "a", name_b[] = "b";
static const struct manifest_table counts[] = {
    {.name = name_a, .rows = 2, .line_bytes = 10},
    {.name = name_b, .rows = 0, .line_bytes = 0},
};

static char *manifest_text(void)
{
	static char engine[] = "sqlite";
	struct manifest_table tables[2];
	memcpy(tables, counts, sizeof tables);
	struct manifest m = {.engine = engine, .tables = tables, .n_tables = 2};
	struct strbuf text = {0};
	manifest_render(&m, &text);
	return strbuf_detach(&text);
}

static char *table_text(const struct manifest_table *t)
{
	struct db_table d = {.name = t->name, .key_kind = DB_KEY_NONE};
	struct strbuf text = {0};
	table_json_render(&d, t, &text);
	return strbuf_detach(&text);
}

static void test_names(void **state)
{
	static const char *const rows[] = {"1.json",          "a,b.json",    "0000df68-4e63.json",
					   "%C3%A4@+=_.json", ".table.json", ".json"};
	static const char *const no_rows[] = {".DS_Store", ".1.json.Xa8f3Q", "1.json~",  "1.swp",     "x (copy).json",
					      "",          "1.json.tmp",     "._1.json", "Thumbs.db", "1.JSON",
					      "README"};
	static const char *const tops[] = {"MANIFEST.json", "SHA256SUMS", "schema.sql", "tables", "table_entity.jsonl"};
	static const char *const no_tops[] = {".DS_Store",    ".MANIFEST.json.a8xQ", "schema.sql~",   "schema.sql.swp",
					      "a.jsonl.part", "#schema.sql#",        ".rsync-partial"};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_true(backup_name_counts(rows[i], true));
	for (size_t i = 0; i < sizeof no_rows / sizeof no_rows[0]; i++)
		assert_false(backup_name_counts(no_rows[i], true));
	for (size_t i = 0; i < sizeof tops / sizeof tops[0]; i++)
		assert_true(backup_name_counts(tops[i], false));
	for (size_t i = 0; i < sizeof no_tops / sizeof no_tops[0]; i++)
		assert_false(backup_name_counts(no_tops[i], false));
}

static int collect(void *arg, const char *name, bool is_dir)
{
	strbuf_addf(arg, "%s%s ", name, is_dir ? "/" : "");
	return strcmp(name, "stop") ? 0 : 7;
}

static void test_dir_tree(void **state)
{
	char *dir = test_dir();
	struct err e = ERR_INIT;
	_cleanup_(cleanup_backup) struct backup_tree *t = NULL;
	_cleanup_strbuf_ struct strbuf out = {0};
	assert_int_equal(backup_dir_open(&t, "/nonexistent/x", &e), -ENOENT);
	assert_null(t);
	assert_int_equal(backup_dir_open(&t, dir, &e), 0);
	make(dir, "tables");
	put(dir, "tables/a.jsonl", "0123456789");
	assert_int_equal(t->list(t, "", collect, &out, &e), 0);
	assert_string_equal(out.data, "tables/ ");
	strbuf_clear(&out);
	assert_int_equal(t->list(t, "tables", collect, &out, &e), 0);
	assert_string_equal(out.data, "a.jsonl ");
	assert_int_equal(t->list(t, "nothing", collect, &out, &e), -ENOENT);
	assert_int_equal(t->list(t, "tables/a.jsonl", collect, &out, &e), -ENOTDIR);
	assert_int_equal(t->slurp(t, "tables/a.jsonl", &out, &e), 0);
	assert_string_equal(out.data, "0123456789");
	assert_int_equal(t->slurp(t, "tables", &out, &e), -EISDIR);
	assert_int_equal(t->slurp(t, "nothing", &out, &e), -ENOENT);
	char buf[16];
	size_t n = 0;
	assert_int_equal(t->read(t, "tables/a.jsonl", 3, buf, 4, &n, &e), 0);
	assert_int_equal(n, 4);
	assert_memory_equal(buf, "3456", 4);
	assert_int_equal(t->read(t, "tables/a.jsonl", 8, buf, 4, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(t->read(t, "tables/a.jsonl", 100, buf, 4, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(t->read(t, "tables/b.jsonl", 0, buf, 4, &n, &e), -ENOENT);
	uint64_t size = 0;
	assert_int_equal(t->size(t, "tables/a.jsonl", &size, &e), 0);
	assert_int_equal(size, 10);
	assert_int_equal(t->size(t, "tables", &size, &e), -EISDIR);
	assert_int_equal(t->size(t, "tables/b", &size, &e), -ENOENT);
	static const char *const outside[] = {"..", "../x", "tables/../../x", "tables/..", "/etc/passwd"};
	for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
		assert_int_equal(t->slurp(t, outside[i], &out, &e), -EINVAL);
	_cleanup_free_ char *fifo = xasprintf("%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(t->slurp(t, "fifo", &out, &e), -EINVAL);
	put(dir, "stop", "");
	assert_int_equal(t->list(t, "", collect, &out, &e), 7);
	test_dir_remove(dir);
}

/* Whatever the order in which the files come, the set is complete with the last one and not before. */
static void test_snapshot(void **state)
{
	_cleanup_free_ char *manifest = manifest_text();
	_cleanup_free_ char *table_a = table_text(&counts[0]);
	_cleanup_free_ char *table_b = table_text(&counts[1]);
	const struct {
		const char *name;
		const char *text;
	} files[] = {{"tables/a/1.json", "{}"},   {"tables/a/.table.json", table_a},
		     {"MANIFEST.json", manifest}, {"tables/a/2.json", "{}"},
		     {"schema.sql", ""},          {"tables/b/.table.json", table_b}};
	const size_t n = sizeof files / sizeof files[0];
	for (size_t first = 0; first < n; first++) {
		char *dir = test_dir();
		make(dir, "tables");
		make(dir, "tables/a");
		make(dir, "tables/b");
		put(dir, ".DS_Store", "x");
		put(dir, "tables/a/.1.json.Xb42", "x");
		put(dir, "tables/a/notes", "x");
		assert_int_equal(look(dir, 0).kind, BACKUP_NONE);
		for (size_t i = 0; i < n; i++) {
			assert_false(look(dir, 0).complete);
			put(dir, files[(first + i) % n].name, files[(first + i) % n].text);
		}
		struct backup_state s = look(dir, 0);
		assert_int_equal(s.kind, BACKUP_SNAPSHOT);
		assert_true(s.complete);
		assert_int_equal(s.files_expected, 6);
		assert_int_equal(s.files_found, 6);
		/* One more is complete too: import is to refuse it in words. */
		put(dir, "tables/a/3.json", "{}");
		assert_true(look(dir, 0).complete);
		test_dir_remove(dir);
	}
}

static void test_archive(void **state)
{
	_cleanup_free_ char *manifest = manifest_text();
	char *dir = test_dir();
	put(dir, "MANIFEST.json", manifest);
	struct backup_state s = look(dir, 0);
	assert_false(s.complete);
	put(dir, "schema.sql", "");
	make(dir, "tables");
	put(dir, "tables/a.jsonl", "{}\n");
	put(dir, "tables/b.jsonl", "");
	s = look(dir, 0);
	assert_int_equal(s.kind, BACKUP_ARCHIVE);
	assert_false(s.complete);
	assert_int_equal(s.files_found, 4);
	assert_int_equal(s.files_expected, 4);
	assert_int_equal(s.bytes_found, 3);
	assert_int_equal(s.bytes_expected, 10);
	put(dir, "tables/a.jsonl", "0123456789");
	assert_true(look(dir, 0).complete);
	put(dir, "tables/a.jsonl", "0123456789x");
	assert_true(look(dir, 0).complete);
	_cleanup_free_ char *b = xasprintf("%s/tables/b.jsonl", dir);
	assert_int_equal(unlink(b), 0);
	assert_false(look(dir, 0).complete);
	test_dir_remove(dir);
}

static void test_table(void **state)
{
	_cleanup_free_ char *table_a = table_text(&counts[0]);
	char *dir = test_dir();
	put(dir, "1.json", "{}");
	assert_int_equal(look(dir, 0).kind, BACKUP_NONE);
	put(dir, ".table.json", table_a);
	struct backup_state s = look(dir, 0);
	assert_int_equal(s.kind, BACKUP_TABLE);
	assert_false(s.complete);
	put(dir, "2.json", "{}");
	s = look(dir, 0);
	assert_true(s.complete);
	assert_int_equal(s.files_expected, 3);
	test_dir_remove(dir);
}

/* Every proper beginning of a manifest is "not yet"; a whole text that is no manifest is an error. */
static void test_half_manifest(void **state)
{
	_cleanup_free_ char *manifest = manifest_text();
	char *dir = test_dir();
	size_t n = strlen(manifest);
	for (size_t len = 0; len + 1 < n; len += len < 600 ? 1 : 37) {
		_cleanup_free_ char *part = xmemdup0(manifest, len);
		put(dir, "MANIFEST.json", part);
		if (strrchr(part, '}') && len + 2 >= n)
			break;
		assert_int_equal(look(dir, 0).kind, BACKUP_NONE);
	}
	static const char *const bad[] = {"hello", "{}", "[]", "{\"format\":1,\"tables\":3}", "{\"format\" 1}", "}"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		put(dir, "MANIFEST.json", bad[i]);
		assert_int_equal(look(dir, -EBADMSG).kind, BACKUP_NONE);
	}
	put(dir, "MANIFEST.json", "{\"format\":2,\"tables\":{}}");
	(void)look(dir, -ENOTSUP);
	test_dir_remove(dir);
}

/* Whatever a manifest calls a table, its files are below tables/. */
static void test_table_name(void **state)
{
	static char name[] = "../../etc", engine[] = "sqlite";
	struct manifest_table t = {.name = name};
	struct manifest m = {.engine = engine, .tables = &t, .n_tables = 1};
	_cleanup_strbuf_ struct strbuf text = {0};
	manifest_render(&m, &text);
	char *dir = test_dir();
	put(dir, "MANIFEST.json", text.data);
	put(dir, "schema.sql", "");
	assert_false(look(dir, 0).complete);
	make(dir, "tables");
	put(dir, "tables/%2E.%2F..%2Fetc.jsonl", "");
	assert_int_equal(look(dir, 0).kind, BACKUP_ARCHIVE);
	assert_true(look(dir, 0).complete);
	test_dir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names),      cmocka_unit_test(test_dir_tree), cmocka_unit_test(test_snapshot),
	    cmocka_unit_test(test_archive),    cmocka_unit_test(test_table),    cmocka_unit_test(test_half_manifest),
	    cmocka_unit_test(test_table_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
