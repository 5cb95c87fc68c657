/*
 * tests/unit/world.c - see world.h.
 */
#include "tests/unit/world.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

char *test_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = xasprintf("%s/metasnap-test-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(dir));
	return dir;
}

void test_dir_remove(char *dir)
{
	_cleanup_free_ char *command = xasprintf("rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
	free(dir);
}

void test_dir_end_files(char *dir, const char *const *files)
{
	static const char *const beside[] = {"", "-wal", "-shm", "-journal", "-lock"};
	for (; *files; files++)
		for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
			_cleanup_free_ char *path = xasprintf("%s/%s%s", dir, *files, beside[i]);
			(void)unlink(path);
		}
	assert_int_equal(rmdir(dir), 0);
	free(dir);
}

static sqlite3 *sql_open(const char *path)
{
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	return db;
}

void sql(const char *path, const char *text)
{
	sqlite3 *db = sql_open(path);
	char *why = NULL;
	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", text, why);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int sql_row(void *arg, int n, char **values, char **names)
{
	(void)names;
	for (int i = 0; i < n; i++)
		strbuf_addf(arg, "%s|", values[i] ? values[i] : "NULL");
	strbuf_addch(arg, '\n');
	return 0;
}

void sql_rows(const char *path, const char *query, struct strbuf *out)
{
	sqlite3 *db = sql_open(path);
	(void)sqlite3_exec(db, query, sql_row, out, NULL);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

void world_new(struct world *w, const char *text)
{
	*w = (struct world){.dir = test_dir()};
	w->db = xasprintf("%s/om.db", w->dir);
	w->catalog_path = xasprintf("%s/catalog.db", w->dir);
	requester_self(&w->me);
	sql(w->db, text);
}

void world_open(struct world *w, const char *options)
{
	_cleanup_free_ char *url = xasprintf("%s:%s%s", *options ? "fake" : "sqlite", w->db, options);
	ok(config_from_url(&w->config, url, "om", &e));
	free(w->config.catalog_path);
	w->config.catalog_path = xstrdup(w->catalog_path);
	w->config.sources[0].restore = RESTORE_REPLACE;
	ok(service_open(&w->service, &w->config, &e));
	w->catalog = service_catalog(w->service);
}

void world_close(struct world *w)
{
	service_close(w->service);
	w->service = NULL;
	w->catalog = NULL;
	config_done(&w->config);
}

void world_end(struct world *w)
{
	test_dir_end(w->dir, "om.db", "catalog.db", "catalog.db-staging");
	free(w->db);
	free(w->catalog_path);
}

int64_t take(struct world *w, const char *name)
{
	int64_t id = 0;
	ok(service_snapshot(w->service, 0, name, &w->me, &id, &e));
	ok(service_wait(w->service, id, NULL, &e));
	return id;
}
