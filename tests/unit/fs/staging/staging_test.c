/*
 * tests/unit/fs/staging/staging_test.c - fs/staging/staging.c and its folder: content equals that of a plain buffer
 * under any order of writes, cuts and restarts; names, renames and the counters of sets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fs/staging/commit.h"
#include "fs/staging/content.h"
#include "fs/staging/handle.h"
#include "fs/staging/nodes.h"
#include "fs/staging/sets.h"
#include "fs/staging/xattr.h"
#include "tests/unit/world.h"

#define ROOT staging_root(7)

struct test_area {
	char *dir, *path;
	struct staging *s;
};

static void test_open(struct test_area *t)
{
	ok(staging_open(&t->s, t->path, &e));
	assert_int_equal(staging_add_root(t->s, 7, 1000, 1001, 42), 0);
}

static void test_reopen(struct test_area *t)
{
	staging_close(t->s);
	test_open(t);
}

static int test_setup(void **state)
{
	struct test_area *t = xcalloc(1, sizeof *t);
	t->dir = test_dir();
	t->path = xasprintf("%s/staging", t->dir);
	test_open(t);
	*state = t;
	return 0;
}

static int test_teardown(void **state)
{
	struct test_area *t = *state;
	staging_close(t->s);
	test_dir_end(t->dir, "staging");
	free(t->path);
	free(t);
	return 0;
}

static int64_t test_make(struct test_area *t, int64_t parent, const char *name, mode_t mode)
{
	struct staged_node n;
	assert_int_equal(staging_make(t->s, parent, name, mode, 1, 2, NULL, &n), 0);
	assert_true(n.id > 0);
	return n.id;
}

static uint64_t test_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void test_content_equals_buffer(void **state)
{
	struct test_area *t = *state;
	const size_t max = 5 * STAGING_CHUNK + 777;
	unsigned char *model = calloc(1, max), *buf = malloc(max);
	size_t size = 0;
	uint64_t x = 88172645463325252u;
	int64_t id = test_make(t, ROOT, "f", S_IFREG | 0600);

	for (int step = 0; step < 3000; step++) {
		uint64_t what = test_random(&x) % 100;
		if (what < 55) {
			size_t at = test_random(&x) % max,
			       n = 1 + test_random(&x) % (what < 5 ? 3 * STAGING_CHUNK : 9000);
			if (what > 45)
				at = at / STAGING_CHUNK * STAGING_CHUNK; /* whole chunks too */
			if (what > 50)
				n = STAGING_CHUNK;
			if (n > max - at)
				n = max - at;
			for (size_t k = 0; k < n; k++)
				buf[k] = (unsigned char)test_random(&x);
			assert_int_equal(staging_write(t->s, id, at, buf, n), 0);
			memcpy(model + at, buf, n);
			if (at + n > size)
				size = at + n;
		} else if (what < 70) {
			size_t to = test_random(&x) % max;
			struct staged_node a = {.size = to}, got;
			assert_int_equal(staging_setattr(t->s, id, &a, STAGING_SIZE, &got), 0);
			assert_true(got.size == to);
			if (to < size)
				memset(model + to, 0, size - to);
			size = to;
		} else if (what == 70) {
			test_reopen(t);
		} else if (what == 71) {
			assert_int_equal(staging_sync(t->s), 0);
		} else {
			size_t at = test_random(&x) % max, n = test_random(&x) % 200000, got;
			assert_int_equal(staging_read(t->s, id, at, buf, n < max ? n : max, &got), 0);
			size_t want = at >= size ? 0 : size - at < n ? size - at : n;
			assert_int_equal(got, want);
			assert_memory_equal(buf, model + at, want);
		}
	}
	test_reopen(t);
	size_t got;
	struct staged_node n;
	assert_int_equal(staging_get(t->s, id, &n), 0);
	assert_true(n.size == size);
	assert_int_equal(staging_read(t->s, id, 0, buf, max, &got), 0);
	assert_int_equal(got, size);
	assert_memory_equal(buf, model, size);
	free(model);
	free(buf);
}

/* A cut at the border of two chunks, and at the start: what comes back when the file grows again is zeros, whether the
 * old bytes were still in memory or in the database. */
static void test_cut_at_chunk(void **state)
{
	struct test_area *t = *state;
	const size_t size = 3 * STAGING_CHUNK + 5;
	unsigned char *old = malloc(size), *want = malloc(size), *buf = malloc(size);
	memset(old, 'x', size);
	for (int committed = 0; committed < 2; committed++)
		for (size_t keep = 0; keep <= 3; keep++) {
			struct staged_node a = {.size = keep * STAGING_CHUNK}, n;
			char name[] = {'f', (char)('0' + committed), (char)('0' + (int)keep), '\0'};
			int64_t id = test_make(t, ROOT, name, S_IFREG | 0600);
			size_t got;
			assert_int_equal(staging_write(t->s, id, 0, old, size), 0);
			if (committed)
				assert_int_equal(staging_sync(t->s), 0);
			assert_int_equal(staging_setattr(t->s, id, &a, STAGING_SIZE, &n), 0);
			assert_int_equal(n.size, keep * STAGING_CHUNK);
			a.size = size;
			assert_int_equal(staging_setattr(t->s, id, &a, STAGING_SIZE, &n), 0);
			memset(want, 0, size);
			memset(want, 'x', keep * STAGING_CHUNK);
			assert_int_equal(staging_read(t->s, id, 0, buf, size, &got), 0);
			assert_int_equal(got, size);
			assert_memory_equal(buf, want, size);
		}
	free(old);
	free(want);
	free(buf);
}

static void test_names(void **state)
{
	struct test_area *t = *state;
	struct staged_node n, m;
	int64_t dir = test_make(t, ROOT, "d", S_IFDIR | 0700);
	int64_t a = test_make(t, dir, "a", S_IFREG | 0600);

	assert_int_equal(staging_make(t->s, dir, "a", S_IFREG, 0, 0, NULL, &n), -EEXIST);
	assert_int_equal(staging_make(t->s, a, "x", S_IFREG, 0, 0, NULL, &n), -ENOTDIR);
	assert_int_equal(staging_make(t->s, 999, "x", S_IFREG, 0, 0, NULL, &n), -ENOENT);
	char longest[300];
	memset(longest, 'n', sizeof longest);
	longest[256] = '\0';
	assert_int_equal(staging_make(t->s, dir, longest, S_IFREG, 0, 0, NULL, &n), -ENAMETOOLONG);
	longest[255] = '\0';
	(void)test_make(t, dir, longest, S_IFREG | 0600);
	(void)test_make(t, dir, "\xff\xfe", S_IFREG | 0600);
	assert_int_equal(staging_lookup(t->s, dir, "\xff\xfe", &n), 0);
	assert_int_equal(staging_lookup(t->s, dir, "A", &n), -ENOENT);
	assert_int_equal(staging_rmdir(t->s, ROOT, "d"), -ENOTEMPTY);
	assert_int_equal(staging_unlink(t->s, ROOT, "d"), -EISDIR);
	assert_int_equal(staging_rmdir(t->s, dir, "a"), -ENOTDIR);

	assert_int_equal(staging_get(t->s, ROOT, &n), 0);
	assert_int_equal(n.subdirs, 1);
	assert_int_equal(n.uid, 1000);
	assert_true(n.mtime_ns > 42);

	/* listing: all, once, in batches */
	struct staged_entry e[2];
	size_t got, total = 0;
	int64_t after = 0;
	do {
		assert_int_equal(staging_list(t->s, dir, after, e, 2, &got), 0);
		total += got;
		if (got)
			after = e[got - 1].node.id;
	} while (got);
	assert_int_equal(total, 3);

	struct strbuf link = {0};
	assert_int_equal(staging_make(t->s, dir, "l", S_IFLNK | 0777, 0, 0, "../x", &n), 0);
	assert_int_equal(n.size, 4);
	assert_int_equal(staging_readlink(t->s, n.id, &link), 0);
	assert_string_equal(link.data, "../x");
	assert_int_equal(staging_readlink(t->s, a, &link), -EINVAL);
	strbuf_done(&link);

	/* ids are never used again */
	assert_int_equal(staging_unlink(t->s, dir, "l"), 0);
	test_reopen(t);
	assert_true(test_make(t, dir, "l2", S_IFREG) > n.id);
	assert_int_equal(staging_lookup(t->s, dir, "a", &m), 0);
	assert_true(m.id == a);
}

static void test_rename(void **state)
{
	struct test_area *t = *state;
	struct staged_node n;
	int64_t d = test_make(t, ROOT, "d", S_IFDIR | 0700), e = test_make(t, ROOT, "e", S_IFDIR | 0700);
	int64_t a = test_make(t, d, "a", S_IFREG | 0600), b = test_make(t, e, "b", S_IFREG | 0600);

	assert_int_equal(staging_rename(t->s, d, "a", e, "b", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(staging_rename(t->s, d, "a", e, "c", RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(staging_rename(t->s, d, "a", e, "b", RENAME_EXCHANGE), 0);
	assert_int_equal(staging_lookup(t->s, e, "b", &n), 0);
	assert_true(n.id == a);
	assert_int_equal(staging_lookup(t->s, d, "a", &n), 0);
	assert_true(n.id == b);
	assert_int_equal(staging_rename(t->s, d, "a", e, "b", 0), 0);
	assert_int_equal(staging_get(t->s, a, &n), -ENOENT);
	assert_int_equal(staging_lookup(t->s, d, "a", &n), -ENOENT);
	assert_int_equal(staging_rename(t->s, ROOT, "d", e, "d", 0), 0);
	assert_int_equal(staging_get(t->s, ROOT, &n), 0);
	assert_int_equal(n.subdirs, 1);
	assert_int_equal(staging_get(t->s, e, &n), 0);
	assert_int_equal(n.subdirs, 1);
	assert_int_equal(staging_rename(t->s, ROOT, "e", d, "e", 0), -EINVAL); /* below itself */
	assert_int_equal(staging_rename(t->s, e, "b", e, "d", 0), -EISDIR);
	assert_int_equal(staging_rename(t->s, e, "d", e, "b", 0), -ENOTDIR);
	assert_int_equal(staging_rename(t->s, e, "d", ROOT, "d2", 0), 0);
	assert_int_equal(staging_rename(t->s, ROOT, "d2", ROOT, "e", 0), -ENOTEMPTY);
	assert_int_equal(staging_rename(t->s, ROOT, "e", ROOT, "d2", 0), 0); /* over an empty one */
	assert_int_equal(staging_get(t->s, ROOT, &n), 0);
	assert_int_equal(n.subdirs, 1);
}

static void test_unlinked_while_open(void **state)
{
	struct test_area *t = *state;
	struct staged_node n;
	char buf[8];
	size_t got;
	int64_t a = test_make(t, ROOT, "a", S_IFREG | 0600);

	assert_int_equal(staging_hold(t->s, a), 0);
	assert_int_equal(staging_write(t->s, a, 0, "hello", 5), 0);
	assert_int_equal(staging_unlink(t->s, ROOT, "a"), 0);
	assert_int_equal(staging_lookup(t->s, ROOT, "a", &n), -ENOENT);
	assert_int_equal(staging_read(t->s, a, 0, buf, 8, &got), 0);
	assert_int_equal(got, 5);
	staging_release(t->s, a);
	assert_int_equal(staging_get(t->s, a, &n), -ENOENT);

	/* and when the program ended meanwhile */
	a = test_make(t, ROOT, "a", S_IFREG | 0600);
	assert_int_equal(staging_hold(t->s, a), 0);
	assert_int_equal(staging_unlink(t->s, ROOT, "a"), 0);
	test_reopen(t);
	assert_int_equal(staging_get(t->s, a, &n), -ENOENT);
}

static void test_attributes(void **state)
{
	struct test_area *t = *state;
	int64_t a = test_make(t, ROOT, "a", S_IFREG | 0600);
	struct staged_node n,
	    set = {.mode = 04755, .uid = 5, .gid = 6, .atime_ns = -7000000001, .mtime_ns = 1234567890123456789};

	assert_int_equal(staging_setattr(t->s, a, &set,
					 STAGING_MODE | STAGING_UID | STAGING_GID | STAGING_ATIME | STAGING_MTIME, &n),
			 0);
	test_reopen(t);
	assert_int_equal(staging_get(t->s, a, &n), 0);
	assert_int_equal(n.mode, S_IFREG | 04755);
	assert_int_equal(n.uid, 5);
	assert_int_equal(n.gid, 6);
	assert_true(n.atime_ns == -7000000001 && n.mtime_ns == 1234567890123456789);

	struct strbuf v = {0};
	assert_int_equal(staging_getxattr(t->s, a, "user.x", &v), -ENODATA);
	assert_int_equal(staging_setxattr(t->s, a, "user.x", "1\0002", 3, 0), 0);
	assert_int_equal(staging_setxattr(t->s, a, "user.empty", "", 0, 0), 0);
	assert_int_equal(staging_setxattr(t->s, a, "user.x", "", 0, 1 /* create */), -EEXIST);
	assert_int_equal(staging_setxattr(t->s, a, "user.y", "", 0, 2 /* replace */), -ENODATA);
	assert_int_equal(staging_getxattr(t->s, a, "user.x", &v), 0);
	assert_int_equal(v.len, 3);
	strbuf_clear(&v);
	assert_int_equal(staging_listxattr(t->s, a, &v), 0);
	assert_int_equal(v.len, sizeof "user.x" + sizeof "user.empty");
	strbuf_done(&v);
	assert_int_equal(staging_removexattr(t->s, a, "user.x"), 0);
	assert_int_equal(staging_removexattr(t->s, a, "user.x"), -ENODATA);
}

static void test_no_xattr(struct test_area *t, int64_t id)
{
	struct strbuf v = {0};
	assert_int_equal(staging_getxattr(t->s, id, "user.x", &v), -ENODATA);
	assert_int_equal(staging_listxattr(t->s, id, &v), 0);
	assert_int_equal(v.len, 0);
	strbuf_done(&v);
}

/* Whatever way a node goes, its extended attributes go with it. */
static void test_xattrs_go_too(void **state)
{
	struct test_area *t = *state;
	static const char *const names[] = {"unlinked", "removed", "replaced", "held", "left", "other"};
	enum { UNLINKED, REMOVED, REPLACED, HELD, LEFT, OTHER, N };
	int64_t id[N];
	for (int i = 0; i < N; i++) {
		id[i] = test_make(t, ROOT, names[i], (i == REMOVED ? S_IFDIR : S_IFREG) | 0700);
		assert_int_equal(staging_setxattr(t->s, id[i], "user.x", "1", 1, 0), 0);
	}
	assert_int_equal(staging_unlink(t->s, ROOT, "unlinked"), 0);
	test_no_xattr(t, id[UNLINKED]);
	assert_int_equal(staging_rmdir(t->s, ROOT, "removed"), 0);
	test_no_xattr(t, id[REMOVED]);
	assert_int_equal(staging_rename(t->s, ROOT, "other", ROOT, "replaced", 0), 0);
	test_no_xattr(t, id[REPLACED]);

	struct strbuf v = {0};
	assert_int_equal(staging_hold(t->s, id[HELD]), 0);
	assert_int_equal(staging_unlink(t->s, ROOT, "held"), 0);
	assert_int_equal(staging_getxattr(t->s, id[HELD], "user.x", &v), 0); /* an open one keeps them */
	staging_release(t->s, id[HELD]);
	test_no_xattr(t, id[HELD]);

	assert_int_equal(staging_hold(t->s, id[LEFT]), 0);
	assert_int_equal(staging_unlink(t->s, ROOT, "left"), 0);
	test_reopen(t); /* the program ended meanwhile */
	test_no_xattr(t, id[LEFT]);
	assert_int_equal(staging_getxattr(t->s, id[OTHER], "user.x", &v), 0);
	strbuf_done(&v);
}

static uint64_t test_need(struct test_area *t, int64_t top)
{
	struct staged_set x;
	assert_int_equal(staging_set(t->s, top, &x), 0);
	return x.need;
}

/* Ends a look at the set that found files missing. */
static void test_set_need(struct test_area *t, int64_t top, uint64_t need)
{
	struct staged_set x;
	assert_int_equal(staging_set_start(t->s, top, &x), 0);
	assert_int_equal(staging_set_finish(t->s, top, x.changes, STAGED_OPEN, 0, need), 0);
	assert_int_equal(test_need(t, top), need);
}

/* How many files a set needs was counted under the names it had: a new file leaves that true, another name for one that
 * was there does not, as it may be the one that was missing. */
static void test_need_of_sets(void **state)
{
	struct test_area *t = *state;
	int64_t top = test_make(t, ROOT, "backup", S_IFDIR | 0700), dir = test_make(t, top, "tables", S_IFDIR | 0700);
	int64_t out = test_make(t, ROOT, "loose", S_IFDIR | 0700);
	(void)test_make(t, dir, "a.json", S_IFREG | 0600);
	(void)test_make(t, dir, "b.json", S_IFREG | 0600);

	test_set_need(t, top, 9);
	(void)test_make(t, dir, "c.json", S_IFREG | 0600);
	(void)test_make(t, dir, ".d.json.Xy12Zz", S_IFREG | 0600);
	assert_int_equal(staging_rename(t->s, dir, ".d.json.Xy12Zz", dir, "d.json", 0), 0);
	(void)test_make(t, dir, ".d.json.Xy12Zz", S_IFREG | 0600);
	assert_int_equal(staging_rename(t->s, dir, ".d.json.Xy12Zz", dir, "d.json", 0),
			 0); /* over it: the name stays */
	assert_int_equal(test_need(t, top), 9);

	assert_int_equal(staging_rename(t->s, dir, "a.json", dir, "e.json", 0), 0);
	assert_int_equal(test_need(t, top), 0);
	test_set_need(t, top, 9);
	assert_int_equal(staging_rename(t->s, dir, "e.json", dir, "b.json", RENAME_EXCHANGE), 0);
	assert_int_equal(test_need(t, top), 0);
	test_set_need(t, top, 9);
	assert_int_equal(staging_rename(t->s, top, "tables", top, "others", 0), 0);
	assert_int_equal(test_need(t, top), 0);
	test_set_need(t, top, 9);
	assert_int_equal(staging_rename(t->s, dir, "c.json", out, "c.json", 0), 0);
	assert_int_equal(test_need(t, top), 0);
	test_set_need(t, top, 9);
	assert_int_equal(staging_rename(t->s, ROOT, "loose", top, "tables", 0), 0);
	assert_int_equal(test_need(t, top), 0);
	test_set_need(t, top, 9);
	assert_int_equal(staging_unlink(t->s, dir, "d.json"), 0);
	assert_int_equal(test_need(t, top), 0);
}

static void test_sets(void **state)
{
	struct test_area *t = *state;
	struct staged_set x;
	struct staged_node n;
	int64_t top = test_make(t, ROOT, "backup", S_IFDIR | 0700);
	int64_t dir = test_make(t, top, "tables", S_IFDIR | 0700);
	int64_t row = test_make(t, dir, "a.json", S_IFREG | 0600);
	(void)test_make(t, top, "MANIFEST.json", S_IFREG | 0600);
	(void)test_make(t, dir, ".b.json.Xy12Zz", S_IFREG | 0600); /* as rsync calls it on the way */
	int64_t aside = test_make(t, top, ".~tmp~", S_IFDIR | 0700);
	(void)test_make(t, aside, "c.json", S_IFREG | 0600);
	(void)test_make(t, ROOT, "loose.json", S_IFREG | 0600);

	assert_int_equal(staging_set(t->s, top, &x), 0);
	assert_int_equal(x.files, 2);
	assert_int_equal(x.state, STAGED_OPEN);
	assert_int_equal(staging_rename(t->s, dir, ".b.json.Xy12Zz", dir, "b.json", 0), 0);
	assert_int_equal(staging_rename(t->s, aside, "c.json", dir, "c.json", 0), 0);
	assert_int_equal(staging_set(t->s, top, &x), 0);
	assert_int_equal(x.files, 4);
	assert_int_equal(staging_get(t->s, row, &n), 0);
	assert_true(n.top == top);

	/* run, then changed: open again; texts of ours change nothing */
	assert_int_equal(staging_set_start(t->s, top, &x), 0);
	assert_int_equal(staging_set_start(t->s, top, &x), -EBUSY);
	assert_int_equal(staging_set_finish(t->s, top, x.changes, STAGED_FAILED, EBADMSG, 9), 0);
	assert_int_equal(staging_write_text(t->s, top, "ERROR.txt", "no\n", 3), 0);
	assert_int_equal(staging_write_text(t->s, top, "ERROR.txt", "never\n", 6), 0);
	assert_int_equal(staging_lookup(t->s, top, "ERROR.txt", &n), 0);
	assert_true(n.generated && n.size == 6 && n.top == 0);
	test_reopen(t);
	assert_int_equal(staging_set(t->s, top, &x), 0);
	assert_int_equal(x.state, STAGED_FAILED);
	assert_int_equal(x.error, EBADMSG);
	assert_int_equal(x.files, 4);
	assert_int_equal(staging_hold(t->s, row), 0);
	staging_dirty(t->s, row, 1);
	assert_int_equal(staging_write(t->s, row, 0, "{}", 2), 0);
	assert_int_equal(staging_set(t->s, top, &x), 0);
	assert_int_equal(x.state, STAGED_OPEN);
	assert_int_equal(x.dirty, 1);
	staging_dirty(t->s, row, -1);
	staging_release(t->s, row);

	/* changed while it ran: not done */
	assert_int_equal(staging_set_start(t->s, top, &x), 0);
	assert_int_equal(staging_unlink(t->s, dir, "c.json"), 0);
	assert_int_equal(staging_set_finish(t->s, top, x.changes, STAGED_DONE, 0, 0), 0);
	assert_int_equal(staging_set(t->s, top, &x), 0);
	assert_int_equal(x.state, STAGED_OPEN);
	assert_int_equal(x.files, 3);

	/* a directory that changes whether it counts takes its files along */
	assert_int_equal(staging_rename(t->s, top, "tables", top, ".tables", 0), 0);
	assert_int_equal(staging_set(t->s, top, &x), 0);
	assert_int_equal(x.files, 1);
	assert_int_equal(staging_rename(t->s, top, ".tables", top, "tables", 0), 0);
	assert_int_equal(staging_rename(t->s, ROOT, "backup", ROOT, ".backup", 0), 0);
	assert_int_equal(staging_get(t->s, row, &n), 0);
	assert_true(n.top == 0);
	assert_int_equal(staging_rename(t->s, ROOT, ".backup", ROOT, "other", 0), 0);
	assert_int_equal(staging_set(t->s, top, &x), 0);
	assert_int_equal(x.files, 3);
	assert_int_equal(staging_write_text(t->s, top, "ERROR.txt", NULL, 0), 0);
	assert_int_equal(staging_lookup(t->s, top, "ERROR.txt", &n), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_content_equals_buffer, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_cut_at_chunk, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_names, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_rename, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_unlinked_while_open, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_attributes, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_xattrs_go_too, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_need_of_sets, test_setup, test_teardown),
	    cmocka_unit_test_setup_teardown(test_sets, test_setup, test_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
