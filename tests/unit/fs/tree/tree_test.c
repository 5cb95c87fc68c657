/*
 * tests/unit/fs/tree/tree_test.c - fs/tree/tree.c and its folder over a real catalog, without a mount: every listing,
 * lookup, attribute, file and link says the same of what is there, a listing goes on from each of its cookies, ".."
 * leads back; what is removed is gone.
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

#include "fs/staging/nodes.h"
#include "fs/tree/dir.h"
#include "fs/tree/file.h"
#include "fs/tree/staged.h"
#include "fs/tree/tree.h"
#include "fs/tree/xattr.h"
#include "snapshot/store/internal.h"
#include "tests/unit/world.h"

struct test_mount {
	struct world world;
	struct staging *staging;
	struct tree *tree;
	struct waiter waiter;
	struct tree_wait wait;
	size_t dirs, files, links; /* that a walk has seen */
};

/* Two snapshots of a database, and a folder with a file and a link in restore/. */
static int test_setup(void **state)
{
	struct test_mount *m = xcalloc(1, sizeof *m);
	struct world *w = &m->world;
	struct staged_node n;

	world_new(w, "CREATE TABLE entity(id INTEGER PRIMARY KEY, json TEXT); CREATE TABLE series(a TEXT);"
		     "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 150)"
		     " INSERT INTO entity SELECT n, '{\"name\":\"e' || n || '\"}' FROM i;"
		     "INSERT INTO series VALUES('x'), ('x'), ('y');");
	world_open(w, "");
	_cleanup_free_ char *staging_path = xasprintf("%s-staging", w->catalog_path);
	ok(staging_open(&m->staging, staging_path, &e));
	ok(tree_open(&m->tree, w->service, m->staging, getuid(), getgid(), &e));
	m->wait = (struct tree_wait){.waiter = &m->waiter, .who = &w->me};
	(void)take(w, "a");
	sql(w->db, "UPDATE entity SET json = '{}' WHERE id % 40 = 0; DELETE FROM entity WHERE id = 7;"
		   "INSERT INTO entity VALUES(999, '{\"name\":\"new\"}'); CREATE TABLE later(id INTEGER PRIMARY KEY);");
	(void)take(w, "b");

	int64_t root = staging_root(service_source_id(m->world.service, 0));
	assert_int_equal(staging_make(m->staging, root, "set", S_IFDIR | 0700, 1, 2, NULL, &n), 0);
	int64_t set = n.id;
	assert_int_equal(staging_make(m->staging, set, "link", S_IFLNK | 0777, 1, 2, "target", &n), 0);
	assert_int_equal(staging_make(m->staging, set, "inner", S_IFDIR | 0700, 1, 2, NULL, &n), 0);
	for (int k = 0; k < 200; k++) { /* more than a listing reads at once */
		_cleanup_free_ char *name = xasprintf("%d", k);
		assert_int_equal(
		    staging_make(m->staging, n.id, name, S_IFLNK | 0777, 1, 2, "x", &(struct staged_node){0}), 0);
	}
	*state = m;
	return 0;
}

static int test_teardown(void **state)
{
	struct test_mount *m = *state;
	tree_close(m->tree);
	staging_close(m->staging);
	world_close(&m->world);
	world_end(&m->world);
	free(m);
	return 0;
}

/* ---- a walk ---- */

struct test_entry {
	char *name;
	struct tree_entry entry;
};

struct test_listing {
	struct test_entry *v;
	size_t n;
};

static void test_listing_done(struct test_listing *l)
{
	for (size_t k = 0; k < l->n; k++)
		free(l->v[k].name);
	free(l->v);
}

static struct test_listing test_list(struct tree_dir *d, bool names_only)
{
	struct test_listing l = {.v = xcalloc(1024, sizeof *l.v)};
	struct err e = ERR_INIT;
	struct tree_entry entry;
	int r;
	assert_int_equal(tree_dir_seek(d, 0, names_only, &e), 0);
	while ((r = tree_dir_peek(d, &entry, &e)) == 1) {
		assert_true(l.n < 1024);
		l.v[l.n++] = (struct test_entry){.name = xstrdup(entry.name), .entry = entry};
		tree_dir_skip(d);
	}
	if (r < 0)
		fail_msg("%s", e.msg);
	return l;
}

static void test_file(struct test_mount *m, const char *path, const struct tree_node *node)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	struct err e = ERR_INIT;
	struct tree_file *f;
	struct line_spans spans = {0};
	bool direct;
	if (tree_file_open(m->tree, node->ino, &m->wait, &f, &direct, &e))
		fail_msg("%s: %s", path, e.msg);
	int r = tree_read_spans(m->tree, f, 0, 1 << 20, &spans, &e);
	for (size_t k = 0; r == 1 && k < spans.n; k++)
		strbuf_add(&text, spans.v[k].iov_base, spans.v[k].iov_len);
	line_spans_done(&spans);
	if (r == 0)
		r = tree_read(m->tree, node->ino, f, 0, 1 << 20, &text, &e);
	if (r < 0)
		fail_msg("%s: %s", path, e.msg);
	if (!direct && text.len != node->size)
		fail_msg("%s: %zu bytes, %llu are told", path, text.len, (unsigned long long)node->size);
	tree_file_close(f);
	m->files++;
}

static void test_walk(struct test_mount *m, const char *path, uint64_t number, uint64_t parent);

/* What is told of an entry by its listing, by a lookup and by its own number is the same. */
static void test_entry(struct test_mount *m, const char *path, uint64_t dir, const struct test_entry *x)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", path, x->name);
	_cleanup_strbuf_ struct strbuf target = {0};
	struct err e = ERR_INIT;
	struct tree_node found, node;
	const struct tree_node *told = &x->entry.node;
	if (tree_lookup(m->tree, dir, x->name, &m->wait, &found, &e) ||
	    tree_getattr(m->tree, found.ino, &m->wait, &node, &e))
		fail_msg("%s: %s", full, e.msg);
	if (found.ino != told->ino || (found.mode & S_IFMT) != (told->mode & S_IFMT) || node.mode != found.mode)
		fail_msg("%s: listed as %llx %o, found as %llx %o", full, (unsigned long long)told->ino, told->mode,
			 (unsigned long long)found.ino, found.mode);
	if (!x->entry.bare && (told->mode != node.mode || told->size != node.size || told->mtime_ns != node.mtime_ns ||
			       told->nlink != node.nlink))
		fail_msg("%s: listed with other attributes", full);
	if (S_ISDIR(node.mode))
		test_walk(m, full, node.ino, dir);
	else if (S_ISLNK(node.mode)) {
		if (tree_readlink(m->tree, node.ino, &target, &e))
			fail_msg("%s: %s", full, e.msg);
		assert_int_equal(target.len, node.size);
		m->links++;
	} else if (!tree_staged_of(node.ino)) {
		assert_true(tree_is_readonly(node.ino));
		test_file(m, full, &node);
	}
}

static void test_walk(struct test_mount *m, const char *path, uint64_t number, uint64_t parent)
{
	struct err e = ERR_INIT;
	struct tree_dir *d;
	struct tree_entry entry;
	struct tree_node node;
	bool cacheable;
	if (tree_dir_open(m->tree, number, &m->wait, &d, &cacheable, &e))
		fail_msg("%s: %s", path, e.msg);
	_cleanup_(test_listing_done) struct test_listing l = test_list(d, false), names = test_list(d, true);
	m->dirs++;
	assert_true(l.n >= 2 && l.v[0].entry.node.ino == number);
	if (l.v[1].entry.node.ino != parent)
		fail_msg("%s: .. is %llx", path, (unsigned long long)l.v[1].entry.node.ino);
	assert_int_equal(names.n, l.n);
	for (size_t k = 0; k < l.n; k++) {
		assert_string_equal(names.v[k].name, l.v[k].name);
		assert_true(names.v[k].entry.node.ino == l.v[k].entry.node.ino);
		assert_true((names.v[k].entry.node.mode & S_IFMT) == (l.v[k].entry.node.mode & S_IFMT));
	}
	for (size_t k = l.n; k-- > 0;) { /* backwards: no place is where the listing stands */
		assert_int_equal(tree_dir_seek(d, l.v[k].entry.next, false, &e), 0);
		assert_int_equal(tree_dir_peek(d, &entry, &e), k + 1 < l.n);
		if (k + 1 < l.n)
			assert_string_equal(entry.name, l.v[k + 1].name);
	}
	tree_dir_close(d);
	assert_int_equal(tree_lookup(m->tree, number, "no such name", &m->wait, &node, &e), -ENOENT);
	assert_true(node.ino == 0);
	assert_int_equal(tree_source_of(m->tree, number), parent == number ? -ENOENT : 0);
	for (size_t k = 2; k < l.n; k++)
		test_entry(m, path, number, &l.v[k]);
}

static void test_everything_agrees(void **state)
{
	struct test_mount *m = *state;
	test_walk(m, "", 1, 1);
	assert_true(m->dirs > 30);
	assert_true(m->files > 300);
	assert_true(m->links > 200);
}

/* The inode at a path of names, with slashes between them. */
static uint64_t test_at(struct test_mount *m, const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);
	struct err e = ERR_INIT;
	struct tree_node node = {.ino = 1};
	char *rest = NULL;
	for (char *name = strtok_r(copy, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
		int r = tree_lookup(m->tree, node.ino, name, &m->wait, &node, &e);
		if (r == -ENOENT)
			return 0;
		if (r)
			fail_msg("%s: %s", path, e.msg);
	}
	return node.ino;
}

static void test_what_is_removed_is_gone(void **state)
{
	struct test_mount *m = *state;
	struct err e = ERR_INIT;
	struct tree_dir *d;
	struct tree_entry entry;
	struct tree_node node;
	bool cacheable;
	uint64_t table = test_at(m, "om/snapshots/a/tables/entity"), pair = test_at(m, "om/changes/a..b");
	assert_true(table && pair);
	assert_int_equal(tree_dir_open(m->tree, test_at(m, "om/changes"), &m->wait, &d, &cacheable, &e), 0);
	_cleanup_(test_listing_done) struct test_listing before = test_list(d, false);
	assert_int_equal(before.n, 3); /* ".", "..", a..b */
	assert_int_equal(service_remove(m->world.service, 0, "a", &m->world.me, &e), 0);
	assert_true(test_at(m, "om/snapshots/a") == 0 && test_at(m, "om/archives/a") == 0 &&
		    test_at(m, "om/changes/a..b") == 0);
	assert_int_equal(tree_getattr(m->tree, table, &m->wait, &node, &e), -ENOENT);
	assert_int_equal(tree_getattr(m->tree, pair, &m->wait, &node, &e), -ENOENT);
	/* a listing that was begun leaves it out */
	assert_int_equal(tree_dir_seek(d, 3, false, &e), 0);
	assert_int_equal(tree_dir_peek(d, &entry, &e), 0);
	tree_dir_close(d);
}

static void test_attributes_of_tables_and_rows(void **state)
{
	struct test_mount *m = *state;
	_cleanup_strbuf_ struct strbuf v = {0};
	struct err e = ERR_INIT;
	uint64_t table = test_at(m, "om/snapshots/b/tables/entity"),
		 row = test_at(m, "om/snapshots/b/tables/entity/999.json");
	assert_true(table && row);
	assert_int_equal(tree_listxattr(m->tree, table, &v, &e), 0);
	assert_memory_equal(v.data, "user.metasnap.table\0user.metasnap.rows\0user.metasnap.digest", v.len);
	strbuf_clear(&v);
	assert_int_equal(tree_getxattr(m->tree, table, "user.metasnap.rows", &v, &e), 0);
	assert_string_equal(strbuf_str(&v), "150");
	strbuf_clear(&v);
	assert_int_equal(tree_getxattr(m->tree, row, "user.metasnap.key", &v, &e), 0);
	assert_string_equal(strbuf_str(&v), "999");
	assert_int_equal(tree_getxattr(m->tree, row, "user.other", &v, &e), -ENODATA);
	assert_int_equal(tree_getxattr(m->tree, row, "user.metasnap.other", &v, &e), -ENODATA);
	strbuf_clear(&v);
	assert_int_equal(tree_listxattr(m->tree, row, &v, &e), 0);
	assert_int_equal(v.len, 0);
}

/* What the kernel has not released when the mount ends. */
static void test_a_listing_is_left_open(void **state)
{
	struct test_mount *m = *state;
	struct err e = ERR_INIT;
	struct tree_dir *d;
	bool cacheable;
	assert_int_equal(
	    tree_dir_open(m->tree, test_at(m, "om/snapshots/b/tables/entity"), &m->wait, &d, &cacheable, &e), 0);
	assert_int_equal(tree_dir_open(m->tree, test_at(m, "om/changes/a..b/added"), &m->wait, &d, &cacheable, &e), 0);
}

/* A listing that cannot be read is an error, also one whose entries may go while it is read. */
static void test_a_catalog_that_has_gone(void **state)
{
	struct test_mount *m = *state;
	struct err e = ERR_INIT;
	struct tree_dir *d;
	struct tree_entry entry;
	bool cacheable;
	struct catalog *c = service_catalog(m->world.service);
	uint64_t snapshots = ino_of(INO_SNAPSHOTS, (uint64_t)service_source_id(m->world.service, 0));
	assert_int_equal(tree_dir_open(m->tree, snapshots, &m->wait, &d, &cacheable, &e), 0);
	assert_int_equal(tree_dir_seek(d, 2, false, &e), 0);
	struct store_db *pool;
	{
		/* as when other requests have all the connections */
		MUTEX_GUARD(&c->read_mutex);
		pool = c->free_readers;
		c->free_readers = NULL;
	}
	_cleanup_free_ char *away = xasprintf("%s-away", c->path);
	assert_int_equal(rename(c->path, away), 0);
	assert_int_equal(tree_dir_peek(d, &entry, &e), -ENOENT);
	assert_true(e.code != 0);
	assert_int_equal(rename(away, c->path), 0);
	{
		MUTEX_GUARD(&c->read_mutex);
		c->free_readers = pool;
	}
	assert_int_equal(tree_dir_peek(d, &entry, &e), 1);
	tree_dir_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_everything_agrees, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_what_is_removed_is_gone, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_attributes_of_tables_and_rows, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_a_listing_is_left_open, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_a_catalog_that_has_gone, test_setup, test_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
