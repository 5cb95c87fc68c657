/*
 * tests/unit/snapshot/store/catalog_test.c - snapshot/store/catalog.c and what is built on it, against a model in
 * memory: random tables changed at random, many versions, every row by number, name and byte offset; sweeps after
 * removals, rows dropped from packs; damage found and contained; a disk that loses transactions; locks; names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "snapshot/capture/merge.h"
#include "snapshot/store/internal.h"
#include "snapshot/store/remove.h"
#include "snapshot/stream/splice.h"
#include "tests/unit/world.h"

#define MAX_ROWS 6000

struct model_row {
	unsigned id;
	unsigned value; /* 0: not there */
};

static struct catalog *test_open(const char *dir)
{
	char *path = xasprintf("%s/c.db", dir);
	struct catalog *c = NULL;
	ok(catalog_open(&c, path, CATALOG_WRITE, &e));
	free(path);
	return c;
}

/* id is the key; hashed: no key at all, so that equal rows are numbered. */
static struct db_table test_table(bool hashed, struct db_column columns[2], size_t key[1])
{
	columns[0] = (struct db_column){.name = (char *)"id", .type = (char *)"text", .form = DB_FORM_TEXT};
	columns[1] = (struct db_column){.name = (char *)"body", .type = (char *)"text", .form = DB_FORM_TEXT};
	key[0] = 0;
	return (struct db_table){.name = (char *)(hashed ? "series" : "entity"),
				 .columns = columns,
				 .n_columns = 2,
				 .key_kind = hashed ? DB_KEY_NONE : DB_KEY_UNIQUE,
				 .key = hashed ? NULL : key,
				 .n_key = hashed ? 0 : 1};
}

static void model_line(const struct model_row *m, bool hashed, struct strbuf *line)
{
	strbuf_clear(line);
	/* Equal rows in hashed tables: the id does not tell, the value has few values. Some rows are long, a few larger
	 * than a pack. */
	strbuf_addf(line, "{\"id\":\"%s%08x\",\"body\":\"%u ",
		    hashed      ? ""
		    : m->id % 7 ? "svc.db.schema.table-with-a-long-name-"
				: "a",
		    hashed ? 1U : m->id * 2654435761U, hashed ? m->value % 50 : m->value);
	size_t n = m->value % 997 == 0 ? 70000 : m->value % 300;
	for (size_t i = 0; i < n; i++)
		strbuf_addch(line, (char)('a' + (i * 7 + (hashed ? m->value % 50 : m->value)) % 26));
	strbuf_adds(line, "\"}");
}

static int64_t model_write(struct catalog *c, const struct db_table *t, const struct model_row *rows, size_t n,
			   int64_t base_id, int64_t at, const char *name)
{
	bool hashed = t->key_kind == DB_KEY_NONE;
	struct err e = ERR_INIT;
	struct snapshot_writer *w;
	struct version_writer *v;
	int64_t source;
	assert_int_equal(catalog_source(c, "s", &source, &e), 0);
	assert_int_equal(snapshot_writer_new(&w, c, source, at, &e), 0);
	assert_int_equal(snapshot_writer_table(w, t, &v, &e), 0);
	struct sorter *sorter;
	sorter = sorter_new(version_writer_codec(v), SORTER_MEMORY);
	struct strbuf line = {0};
	for (size_t i = n; i-- > 0;) {
		if (!rows[i].value)
			continue;
		model_line(&rows[i], hashed, &line);
		assert_int_equal(sorter_add(sorter, line.data, line.len, &e), 0);
	}
	strbuf_done(&line);
	struct row_stream *stream;
	assert_int_equal(sorter_stream(&stream, sorter, &e), 0);
	struct version_info base = {0};
	if (base_id)
		assert_int_equal(catalog_table(c, base_id, t->name, &base, &e), 0);
	ok(capture_merge(stream, c, base.id ? &base : NULL, v, 0, &e));
	row_stream_close(stream);
	version_writer_free(v);
	version_info_done(&base);
	struct manifest m = {.engine = xstrdup("sqlite"), .server_version = xstrdup("3"), .database = xstrdup("d")};
	int64_t id = snapshot_writer_id(w);
	ok(snapshot_writer_commit(w, name, &m, "schema", 6, &e));
	manifest_done(&m);
	snapshot_writer_free(w);
	return id;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every way of reading gives the model's rows, no more, no less. */
static void model_check(struct catalog *c, const struct db_table *t, const struct model_row *rows, size_t n, int64_t id)
{
	bool hashed = t->key_kind == DB_KEY_NONE;
	struct err e = ERR_INIT;
	struct version_info v;
	assert_int_equal(catalog_table(c, id, t->name, &v, &e), 0);
	char **want = xcalloc(n, sizeof *want), **got = xcalloc(n + 1, sizeof *got);
	size_t n_want = 0, n_got = 0;
	struct digest digest = {0};
	struct hasher *h = hasher_new();
	for (size_t i = 0; i < n; i++)
		if (rows[i].value) {
			struct strbuf line = {0};
			uint8_t sha[ROW_SHA_LEN];
			model_line(&rows[i], hashed, &line);
			hasher_sha256(h, line.data, line.len, sha);
			digest_add(&digest, sha);
			want[n_want++] = strbuf_detach(&line);
		}
	assert_int_equal(v.rows, n_want);
	assert_true(digest_equal(&digest, &v.digest));
	struct row_cursor *rc;
	struct stored_row r;
	struct strbuf all = {0}, name = {0}, last = {0};
	assert_int_equal(row_cursor_open(&rc, c, v.id, 0, &e), 0);
	int q;
	while ((q = row_cursor_next(rc, &r, &e)) == 1) {
		assert_true(n_got < n);
		assert_int_equal(r.number, n_got);
		assert_true(n_got == 0 || memcmp(last.data, r.key, last.len < r.key_len ? last.len : r.key_len) <= 0);
		strbuf_clear(&last);
		strbuf_add(&last, r.key, r.key_len);
		assert_int_equal(r.file_size, row_pretty_size(r.line, r.line_len));
		got[n_got++] = xmemdup0(r.line, r.line_len);
		strbuf_add(&all, r.line, r.line_len);
		strbuf_addch(&all, '\n');
		if (n_got % 37 == 0) {
			struct stored_row by_name, by_ref;
			strbuf_clear(&name);
			row_name(r.codec, r.key, r.key_len, &name);
			if (catalog_row_by_name(c, v.id, name.data, &by_name, &e) < 0)
				fail_msg("%s: %s", name.data, e.msg);
			assert_int_equal(by_name.ref.pack, r.ref.pack);
			assert_int_equal(by_name.ref.index, r.ref.index);
			stored_row_done(&by_name);
			assert_int_equal(catalog_row_by_ref(c, r.ref, &by_ref, &e), 0);
			assert_int_equal(by_ref.line_len, r.line_len);
			stored_row_done(&by_ref);
			name.data[0] ^= 1;
			q = catalog_row_by_name(c, v.id, name.data, &by_name, ERR_DROP);
			if (q == 0)
				stored_row_done(&by_name);
			else
				assert_int_equal(q, -ENOENT);
		}
	}
	assert_int_equal(q, 0);
	row_cursor_close(rc);
	assert_int_equal(n_got, n_want);
	assert_int_equal(all.len, v.line_bytes);
	qsort(want, n_want, sizeof *want, by_text);
	qsort(got, n_got, sizeof *got, by_text);
	for (size_t i = 0; i < n_want; i++)
		assert_string_equal(want[i], got[i]);
	/* from a row in the middle; at the end; behind it */
	for (int k = 0; k < 20 && n_want; k++) {
		uint64_t first = (uint64_t)rand() % (n_want + 1);
		assert_int_equal(row_cursor_open(&rc, c, v.id, first, &e), 0);
		q = row_cursor_next(rc, &r, &e);
		assert_int_equal(q, first < n_want);
		if (q)
			assert_int_equal(r.number, first);
		row_cursor_close(rc);
		char buf[3000];
		size_t n_read, len = 1 + (size_t)rand() % sizeof buf, at = (size_t)rand() % (all.len + 1);
		assert_int_equal(catalog_read_lines(c, v.id, at, buf, len, &n_read, &e), 0);
		assert_int_equal(n_read, all.len - at < len ? all.len - at : len);
		assert_memory_equal(buf, all.data + at, n_read);
	}
	for (size_t i = 0; i < n_want; i++) {
		free(want[i]);
		free(got[i]);
	}
	free(want);
	free(got);
	hasher_free(h);
	strbuf_done(&all);
	strbuf_done(&name);
	strbuf_done(&last);
	version_info_done(&v);
}

static int remove_and_sweep(struct catalog *c, int64_t snapshot_id, struct err *e)
{
	int r = store_remove_snapshot(c, snapshot_id, false, e);
	if (r == 0)
		r = store_sweep(c, e);
	if (r == 0)
		store_shrink(c);
	return r < 0 ? r : 0;
}

static int64_t count(struct catalog *c, const char *sql)
{
	struct store_db *db = store_read_begin(c, ERR_DROP);
	int64_t n = -1;
	assert_int_equal(store_pragma(db, sql, &n, ERR_DROP), 0);
	store_read_end(c, db);
	return n;
}

static void versions_follow_a_model(void **state)
{
	(void)state;
	for (int hashed = 0; hashed < 2; hashed++) {
		char *dir = test_dir();
		struct catalog *c = test_open(dir);
		catalog_set_cache_bytes(c, 1 << 20); /* so that packs come and go */
		struct db_column columns[2];
		size_t key[1];
		struct db_table t = test_table(hashed, columns, key);
		static struct model_row rows[MAX_ROWS], saved[6][MAX_ROWS];
		memset(rows, 0, sizeof rows);
		int64_t id[6];
		srand(7 + (unsigned)hashed);
		for (size_t i = 0; i < MAX_ROWS; i++)
			rows[i] = (struct model_row){(unsigned)i, i % 3 ? 1 + (unsigned)rand() % 5000 : 0};
		for (int s = 0; s < 6; s++) {
			/* 0: first; 1: nothing changes; 2: 1 %; 3: a third; 4: all gone but some; 5: back again */
			unsigned change = s == 2 ? 100 : s == 3 ? 3 : s == 4 ? 1 : 0;
			for (size_t i = 0; i < MAX_ROWS && change; i++)
				if ((unsigned)rand() % change == 0)
					rows[i].value = s == 4 && i % 50       ? 0
							: (unsigned)rand() % 3 ? 1 + (unsigned)rand() % 5000
									       : 0;
			if (s == 5)
				memcpy(rows, saved[3], sizeof rows);
			memcpy(saved[s], rows, sizeof rows);
			char name[16];
			(void)snprintf(name, sizeof name, "s%d", s);
			id[s] = model_write(c, &t, rows, MAX_ROWS, s ? id[s - 1] : 0, 1000 + s, name);
			for (int k = 0; k <= s; k++)
				model_check(c, &t, saved[k], MAX_ROWS, id[k]);
		}
		/* unchanged: the very same version */
		struct version_info a, b;
		assert_int_equal(catalog_table(c, id[0], t.name, &a, ERR_DROP), 0);
		assert_int_equal(catalog_table(c, id[1], t.name, &b, ERR_DROP), 0);
		assert_int_equal(a.id, b.id);
		version_info_done(&a);
		version_info_done(&b);
		/* removals free what only they used, and nothing else */
		for (int s = 0; s < 6; s++) {
			int64_t before = count(c, "SELECT count(*) FROM pack");
			ok(remove_and_sweep(c, id[s], &e));
			assert_true(count(c, "SELECT count(*) FROM pack") <= before);
			for (int k = s + 1; k < 6; k++)
				model_check(c, &t, saved[k], MAX_ROWS, id[k]);
		}
		assert_int_equal(count(c, "SELECT count(*) FROM pack"), 0);
		assert_int_equal(count(c, "SELECT count(*) FROM page"), 0);
		assert_int_equal(count(c, "SELECT count(*) FROM version"), 0);
		catalog_close(c);
		test_dir_end(dir, "c.db");
	}
}

static int by_key(const void *a, const void *b)
{
	const struct strbuf *x = a, *y = b;
	return key_compare(x->data, x->len, y->data, y->len);
}

/* As model_write, but only of the rows that changed, some that did not, and the keys that are gone. */
static int64_t model_splice(struct catalog *c, const struct db_table *t, const struct model_row *old,
			    const struct model_row *rows, size_t n, int64_t base_id, int64_t at, const char *name)
{
	struct err e = ERR_INIT;
	struct snapshot_writer *w;
	struct version_writer *v;
	struct splice *s;
	struct version_info base;
	assert_int_equal(snapshot_writer_new(&w, c, 1, at, &e), 0);
	assert_int_equal(snapshot_writer_table(w, t, &v, &e), 0);
	assert_int_equal(catalog_table(c, base_id, t->name, &base, &e), 0);
	ok(splice_new(&s, c, &base, v, &e));
	struct sorter *sorter;
	struct row_stream *puts;
	struct strbuf line = {0}, *gone = xcalloc(n + 1, sizeof *gone);
	size_t n_gone = 0;
	uint64_t found = 0;
	sorter = sorter_new(version_writer_codec(v), SORTER_MEMORY);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].value && (rows[i].value != old[i].value || rand() % 20 == 0)) {
			model_line(&rows[i], false, &line);
			assert_int_equal(sorter_add(sorter, line.data, line.len, &e), 0);
			found += old[i].value != 0;
		} else if (old[i].value && !rows[i].value) {
			model_line(&old[i], false, &line);
			assert_int_equal(
			    row_key(version_writer_codec(v), line.data, line.len, NULL, 0, &gone[n_gone++], &e), 0);
		}
	}
	qsort(gone, n_gone, sizeof *gone, by_key);
	assert_int_equal(sorter_stream(&puts, sorter, &e), 0);
	size_t g = 0;
	for (int q = 1; q == 1;) {
		struct stream_row row;
		q = puts->next(puts, &row, &e);
		for (; g < n_gone && (q == 0 || key_compare(gone[g].data, gone[g].len, row.key, row.key_len) < 0); g++)
			ok(splice_delete(s, gone[g].data, gone[g].len, &e));
		if (q == 1)
			ok(splice_upsert(s, &row, &e));
	}
	/* A key that is not there is not taken for another. */
	assert_int_equal(splice_delete(s, "\xff", 1, &e), -EUCLEAN);
	assert_int_equal(splice_found(s), found);
	struct digest digest;
	ok(splice_end(s, &digest, &e));
	ok(version_writer_finish(v, &digest, &base, 0, &e));
	struct manifest m = {.engine = xstrdup("sqlite"), .server_version = xstrdup("3")};
	int64_t id = snapshot_writer_id(w);
	ok(snapshot_writer_commit(w, name, &m, "schema", 6, &e));
	for (size_t i = 0; i < n_gone; i++)
		strbuf_done(&gone[i]);
	free(gone);
	strbuf_done(&line);
	row_stream_close(puts);
	splice_free(s);
	version_writer_free(v);
	version_info_done(&base);
	manifest_done(&m);
	snapshot_writer_free(w);
	return id;
}

static void splices_follow_a_model(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	catalog_set_cache_bytes(c, 1 << 20);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	static struct model_row rows[MAX_ROWS], old[MAX_ROWS];
	for (size_t i = 0; i < MAX_ROWS; i++)
		rows[i] = (struct model_row){(unsigned)i, i % 3 ? 1 + (unsigned)rand() % 5000 : 0};
	int64_t id = model_write(c, &t, rows, MAX_ROWS, 0, 1, "first");
	/* One row in so many changes: none, few, many, all; then all go, and all come back. */
	static const unsigned change[] = {0, 1000, 100, 100, 5, 1, 0, 1, 100};
	for (int s = 0; s < 9; s++) {
		memcpy(old, rows, sizeof rows);
		for (size_t i = 0; i < MAX_ROWS; i++) {
			if (s == 6)
				rows[i].value = 0;
			else if (change[s] && (unsigned)rand() % change[s] == 0)
				rows[i].value = rand() % 3 ? 1 + (unsigned)rand() % 5000 : 0;
		}
		char name[16];
		(void)snprintf(name, sizeof name, "s%d", s);
		int64_t next = model_splice(c, &t, old, rows, MAX_ROWS, id, 1000 + s, name);
		model_check(c, &t, rows, MAX_ROWS, next);
		model_check(c, &t, old, MAX_ROWS, id);
		struct version_info a, b;
		assert_int_equal(catalog_table(c, id, t.name, &a, ERR_DROP), 0);
		assert_int_equal(catalog_table(c, next, t.name, &b, ERR_DROP), 0);
		assert_int_equal(a.id == b.id, s == 0);
		/* Read whole, the same rows are the same version. */
		(void)snprintf(name, sizeof name, "w%d", s);
		id = model_write(c, &t, rows, MAX_ROWS, next, 2000 + s, name);
		version_info_done(&a);
		assert_int_equal(catalog_table(c, id, t.name, &a, ERR_DROP), 0);
		assert_int_equal(a.id, b.id);
		version_info_done(&a);
		version_info_done(&b);
	}
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

/* Rows added to a table without a key, equal ones among them, get the numbers that a whole read gives them. */
static void splices_add_equal_rows(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(true, columns, key);
	static struct model_row rows[MAX_ROWS];
	size_t n = MAX_ROWS / 2;
	for (size_t i = 0; i < MAX_ROWS; i++)
		rows[i] = (struct model_row){(unsigned)i, 1 + (unsigned)rand() % 5000};
	int64_t id = model_write(c, &t, rows, n, 0, 1, "first");
	for (size_t add = 1; n < MAX_ROWS; add *= 7) {
		size_t more = n + add < MAX_ROWS ? n + add : MAX_ROWS;
		struct err e = ERR_INIT;
		struct snapshot_writer *w;
		struct version_writer *v;
		struct splice *s;
		struct sorter *sorter;
		struct row_stream *added;
		struct stream_row row;
		struct version_info base, next, whole;
		struct strbuf line = {0};
		struct digest digest;
		char name[24];
		assert_int_equal(snapshot_writer_new(&w, c, 1, 1000 + (int64_t)n, &e), 0);
		assert_int_equal(snapshot_writer_table(w, &t, &v, &e), 0);
		assert_int_equal(catalog_table(c, id, t.name, &base, &e), 0);
		assert_int_equal(splice_new(&s, c, &base, v, &e), 0);
		sorter = sorter_new(version_writer_codec(v), SORTER_MEMORY);
		for (; n < more; n++) {
			model_line(&rows[n], true, &line);
			assert_int_equal(sorter_add(sorter, line.data, line.len, &e), 0);
		}
		assert_int_equal(sorter_stream(&added, sorter, &e), 0);
		while (added->next(added, &row, &e) == 1)
			ok(splice_add(s, version_writer_codec(v), &row, &e));
		ok(splice_end(s, &digest, &e));
		ok(version_writer_finish(v, &digest, &base, 0, &e));
		struct manifest m = {.engine = xstrdup("sqlite"), .server_version = xstrdup("3")};
		id = snapshot_writer_id(w);
		(void)snprintf(name, sizeof name, "s%zu", n);
		assert_int_equal(snapshot_writer_commit(w, name, &m, "schema", 6, &e), 0);
		row_stream_close(added);
		splice_free(s);
		version_writer_free(v);
		snapshot_writer_free(w);
		manifest_done(&m);
		strbuf_done(&line);
		model_check(c, &t, rows, n, id);
		assert_int_equal(catalog_table(c, id, t.name, &next, &e), 0);
		(void)snprintf(name, sizeof name, "w%zu", n);
		id = model_write(c, &t, rows, n, id, 2000 + (int64_t)n, name);
		assert_int_equal(catalog_table(c, id, t.name, &whole, &e), 0);
		assert_int_equal(whole.id, next.id);
		version_info_done(&base);
		version_info_done(&next);
		version_info_done(&whole);
	}
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

static void empty_table(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	struct model_row none = {0};
	int64_t id = model_write(c, &t, &none, 1, 0, 5, "e");
	model_check(c, &t, &none, 1, id);
	struct version_info v;
	struct stored_row r;
	assert_int_equal(catalog_table(c, id, t.name, &v, ERR_DROP), 0);
	assert_int_equal(catalog_row_by_name(c, v.id, "x.json", &r, ERR_DROP), -ENOENT);
	version_info_done(&v);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

static void damage_is_found_and_contained(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	static struct model_row rows[MAX_ROWS];
	for (size_t i = 0; i < MAX_ROWS; i++)
		rows[i] = (struct model_row){(unsigned)i, 1 + (unsigned)i % 900};
	int64_t id = model_write(c, &t, rows, MAX_ROWS, 0, 5, "d");
	catalog_close(c);
	/* one flipped byte in the middle of one pack */
	char *path = xasprintf("%s/c.db", dir);
	sqlite3 *h;
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(
	    sqlite3_exec(
		h,
		"UPDATE pack SET data=CAST(substr(data,1,length(data)/2)||x'5a'||substr(data,length(data)/2+2) AS BLOB)"
		" WHERE id=(SELECT min(id)+2 FROM pack)",
		NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_close(h);
	free(path);
	c = test_open(dir);
	struct version_info v;
	assert_int_equal(catalog_table(c, id, t.name, &v, ERR_DROP), 0);
	struct row_cursor *rc;
	struct stored_row r;
	struct err e = ERR_INIT;
	unsigned read = 0, failed = 0;
	for (uint64_t at = 0; at < v.rows; at++) {
		assert_int_equal(row_cursor_open(&rc, c, v.id, at, &e), 0);
		int q = row_cursor_next(rc, &r, &e);
		if (q < 0) {
			assert_int_equal(q, -EIO);
			assert_non_null(strstr(e.msg, "damaged"));
			failed++;
		} else {
			read++;
		}
		row_cursor_close(rc);
	}
	assert_true(failed > 0);
	assert_true(read > failed * 5); /* the neighbours still read */
	struct hasher *hs = hasher_new();
	assert_int_equal(pack_verify(c, count(c, "SELECT min(id)+2 FROM pack"), hs, &e), -EIO);
	assert_int_equal(pack_verify(c, count(c, "SELECT min(id) FROM pack"), hs, &e), 0);
	hasher_free(hs);
	version_info_done(&v);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

static void alter(const char *dir, const char *sql)
{
	char *path = xasprintf("%s/c.db", dir);
	sqlite3 *h;
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
	free(path);
}

/* Makes the pages of version 1 so long that they continue on other pages of the file, and breaks the way there. */
static void break_first_version(const char *dir)
{
	char *path = xasprintf("%s/c.db", dir);
	sqlite3 *h;
	sqlite3_stmt *st;
	struct strbuf one = {0}, many = {0};
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(h, "SELECT pages FROM version WHERE id=1", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	strbuf_add(&one, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	sqlite3_finalize(st);
	while (many.len < 50000)
		strbuf_add(&many, one.data, one.len);
	assert_int_equal(sqlite3_prepare_v2(h, "UPDATE version SET pages=?1 WHERE id=1", -1, &st, NULL), SQLITE_OK);
	sqlite3_bind_blob(st, 1, many.data, (int)many.len, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_close(h); /* the last connection: everything is in the file now */
	int fd = open(path, O_RDWR | O_CLOEXEC), broken = 0;
	static uint8_t page[16384];
	for (off_t at = 0; pread(fd, page, sizeof page, at) == (ssize_t)sizeof page; at += (off_t)sizeof page)
		if (!page[0] && (page[1] || page[2] || page[3]) && memmem(page + 4, 2 * one.len, one.data, one.len) &&
		    ++broken)
			assert_int_equal(pwrite(fd, "\x7f\xff\xff\xff", 4, at), 4);
	assert_true(broken > 0);
	(void)close(fd);
	strbuf_done(&one);
	strbuf_done(&many);
	free(path);
}

/* Where a version or a page cannot be read, or is not what was written, nothing is freed and nothing wrong is shown. */
static void damage_frees_nothing(void **state)
{
	(void)state;
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	static struct model_row rows[MAX_ROWS];
	for (int which = 0; which < 4; which++) {
		char *dir = test_dir();
		struct catalog *c = test_open(dir);
		for (size_t i = 0; i < MAX_ROWS; i++)
			rows[i] = (struct model_row){(unsigned)i, 1 + (unsigned)i % 900};
		int64_t a = model_write(c, &t, rows, MAX_ROWS, 0, 5, "a");
		for (size_t i = 0; i < MAX_ROWS; i++)
			rows[i].value += 1000;
		int64_t b = model_write(c, &t, rows, MAX_ROWS, a, 6, "b");
		catalog_close(c);
		if (which == 0)
			break_first_version(dir);
		else if (which == 1) /* another pack, but a page all the same */
			alter(dir, "UPDATE page SET data=CAST(x'04'||substr(data,2) AS BLOB) WHERE id=1");
		else if (which == 2) /* the last page is gone from the list */
			alter(dir, "UPDATE version SET pages=x'' WHERE id=1");
		else /* another page */
			alter(dir, "UPDATE version SET pages=CAST(x'04'||substr(pages,2) AS BLOB) WHERE id=1");
		c = test_open(dir);
		struct err e = ERR_INIT;
		int64_t packs = count(c, "SELECT count(*) FROM pack");
		assert_int_equal(store_sweep(c, &e), -EIO);
		assert_int_equal(count(c, "SELECT count(*) FROM pack"), packs);
		/* nor are rows dropped, though half of the rows have no version that can be read */
		struct repack done;
		assert_int_equal(store_repack(c, &done, &e), -EIO);
		assert_int_equal(done.packs, 0);
		model_check(c, &t, rows, MAX_ROWS, b);
		struct row_cursor *rc = NULL;
		struct stored_row row;
		int r = row_cursor_open(&rc, c, 1, 0, &e);
		while (r >= 0 && (r = row_cursor_next(rc, &row, &e)) == 1)
			;
		row_cursor_close(rc);
		assert_int_equal(r, -EIO);
		catalog_close(c);
		test_dir_end(dir, "c.db");
	}
}

/* A page that is another one, of as many rows of the same sizes: only its SHA-256 tells. */
static void a_page_of_other_rows_is_not_believed(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	static struct model_row rows[400];
	for (size_t i = 0; i < 400; i++)
		rows[i] = (struct model_row){(unsigned)i, 300 + (unsigned)i % 300};
	int64_t a = model_write(c, &t, rows, 400, 0, 5, "a");
	assert_int_equal(count(c, "SELECT count(*) FROM page"), 1);
	for (size_t i = 0; i < 400; i++)
		rows[i].value += 300;
	int64_t b = model_write(c, &t, rows, 400, a, 6, "b");
	assert_int_equal(count(c, "SELECT count(*) FROM page"), 2);
	catalog_close(c);
	alter(dir, "UPDATE page SET data=(SELECT data FROM page WHERE id=2) WHERE id=1");
	c = test_open(dir);
	struct err e = ERR_INIT;
	struct row_cursor *rc = NULL;
	struct stored_row row;
	int r = row_cursor_open(&rc, c, 1, 0, &e);
	while (r >= 0 && (r = row_cursor_next(rc, &row, &e)) == 1)
		;
	row_cursor_close(rc);
	assert_int_equal(r, -EIO);
	assert_non_null(strstr(e.msg, "damaged"));
	assert_int_equal(store_sweep(c, &e), -EIO);
	model_check(c, &t, rows, 400, b);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

/* What another process has in memory by its number is still the same thing after everything was removed and freed. */
/* Of n rows: a few are stored without a dictionary, whose description then is named by nothing. */
static void numbers_of(size_t n)
{
	char *dir = test_dir();
	struct catalog *c = test_open(dir), *other = test_open(dir);
	struct db_column columns[2], more[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key), u = test_table(true, more, key);
	static struct model_row rows[MAX_ROWS];
	struct err e = ERR_INIT;
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct model_row){(unsigned)i, 1 + (unsigned)i % 900};
	int64_t a = model_write(c, &t, rows, n, 0, 5, "a");
	model_check(other, &t, rows, n, a);
	assert_int_equal(count(c, "SELECT count(*) FROM dict") > 0, n == MAX_ROWS);
	assert_int_equal(remove_and_sweep(c, a, &e), 0);
	assert_int_equal(count(c, "SELECT count(*) FROM pack"), 0);
	int64_t b = model_write(c, &u, rows, n, 0, 6, "b");
	model_check(other, &u, rows, n, b);
	catalog_close(other);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

static void numbers_are_not_used_again(void **state)
{
	(void)state;
	numbers_of(MAX_ROWS);
	numbers_of(3);
}

static void sweep_waits_for_writers(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	static struct model_row rows[MAX_ROWS];
	for (size_t i = 0; i < MAX_ROWS; i++)
		rows[i] = (struct model_row){(unsigned)i, 1 + (unsigned)i % 900};
	int64_t id = model_write(c, &t, rows, MAX_ROWS, 0, 5, "d");
	struct snapshot_writer *w;
	struct err e = ERR_INIT;
	assert_int_equal(snapshot_writer_new(&w, c, 1, 9, &e), 0);
	int64_t packs = count(c, "SELECT count(*) FROM pack");
	assert_true(packs > 10);
	/* the writer may hold on to rows of the snapshot that goes */
	assert_int_equal(remove_and_sweep(c, id, &e), 0);
	assert_int_equal(count(c, "SELECT count(*) FROM pack"), packs);
	snapshot_writer_free(w);
	assert_int_equal(store_sweep(c, &e), 0);
	assert_int_equal(count(c, "SELECT count(*) FROM pack"), 0);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

/* ---- rows dropped from packs ---- */

/* Where each row of a version is, when it was first seen, what it is: nothing of it may change. */
static void places(struct catalog *c, const struct db_table *t, int64_t snapshot, struct strbuf *out)
{
	struct version_info v;
	struct row_cursor *rc;
	struct stored_row r;
	struct err e = ERR_INIT;
	assert_int_equal(catalog_table(c, snapshot, t->name, &v, &e), 0);
	strbuf_addf(out, "%" PRId64 " %" PRId64 "\n", v.id, v.since_ms);
	assert_int_equal(row_cursor_open(&rc, c, v.id, 0, &e), 0);
	int q;
	while ((q = row_cursor_next(rc, &r, &e)) == 1) {
		strbuf_addf(out, "%" PRId64 " %u %" PRId64 " ", r.ref.pack, r.ref.index, r.first_seen_ms);
		strbuf_add(out, r.line, r.line_len);
		strbuf_addch(out, '\n');
	}
	assert_int_equal(q, 0);
	row_cursor_close(rc);
	version_info_done(&v);
	assert_int_equal(catalog_manifest(c, snapshot, out, &e), 0);
	assert_int_equal(catalog_sums(c, snapshot, out, &e), 0);
}

struct waste {
	struct {
		int64_t id;
		uint8_t live[PACK_MAX_ROWS];
	} * pack[16384];
};

static int waste_mark(void *arg, const struct extent *x)
{
	struct waste *w = arg;
	size_t at = (size_t)x->pack % 16384;
	if (!w->pack[at])
		w->pack[at] = xcalloc(1, sizeof *w->pack[at]);
	assert_true(!w->pack[at]->id || w->pack[at]->id == x->pack);
	w->pack[at]->id = x->pack;
	memset(w->pack[at]->live + x->first, 1, x->count);
	return 0;
}

/* Bytes of rows that no version names, of all bytes of rows. */
static void waste(struct catalog *c, uint64_t *ret_dead, uint64_t *ret_all)
{
	struct waste *w = xcalloc(1, sizeof *w);
	struct err e = ERR_INIT;
	struct store_db *db = store_write_begin(c, STORE_LAZY, &e);
	assert_non_null(db);
	assert_int_equal(sweep_each_extent(db, waste_mark, w, &e), 0);
	assert_int_equal(store_write_end(c, db, 0, &e), 0);
	*ret_dead = *ret_all = 0;
	struct hasher *h = hasher_new();
	int64_t found = 0;
	for (size_t k = 0; k < 16384; k++) {
		struct pack *p;
		uint8_t sha[ROW_SHA_LEN];
		if (!w->pack[k])
			continue;
		found++;
		assert_int_equal(pack_load_whole(c, w->pack[k]->id, h, &p, sha, NULL, &e), 0);
		for (uint32_t i = 0; i < p->rows; i++) {
			size_t len;
			(void)pack_line(p, i, &len);
			*ret_all += len;
			*ret_dead += w->pack[k]->live[i] ? 0 : len;
			assert_true(len || !w->pack[k]->live[i]);
		}
		pack_free(p);
		free(w->pack[k]);
	}
	assert_int_equal(found, count(c, "SELECT count(*) FROM pack"));
	hasher_free(h);
	free(w);
}

#define KEPT 5
#define REPACK_ROWS 3000

static void repack_follows_a_model(void **state)
{
	(void)state;
	static struct model_row rows[REPACK_ROWS], saved[KEPT][REPACK_ROWS];
	uint64_t dead_before = 0, dead_after = 0, rewritten = 0;
	for (int hashed = 0; hashed < 2; hashed++) {
		char *dir = test_dir();
		struct catalog *c = test_open(dir);
		struct db_column columns[2];
		size_t key[1];
		struct db_table t = test_table(hashed, columns, key);
		struct err e = ERR_INIT;
		int64_t id[KEPT] = {0}, newest = 0;
		srand(11 + (unsigned)hashed);
		for (size_t i = 0; i < REPACK_ROWS; i++)
			rows[i] = (struct model_row){(unsigned)i, i % 3 ? 1 + (unsigned)rand() % 5000 : 0};
		for (int round = 0; round < 16; round++) {
			unsigned change = round % 6 == 5 ? 2 : 20;
			for (size_t i = 0; i < REPACK_ROWS && round; i++)
				if ((unsigned)rand() % change == 0)
					rows[i].value = (unsigned)rand() % 4 ? 1 + (unsigned)rand() % 5000 : 0;
			/* over one of those that are there, but for the newest */
			int at = 0;
			while (at < KEPT && id[at])
				at++;
			if (at == KEPT)
				do
					at = rand() % KEPT;
				while (id[at] == newest);
			char name[16];
			(void)snprintf(name, sizeof name, "s%d", round);
			if (round == 9) /* some packs lie far behind the others */
				alter(dir, "UPDATE meta SET value=value+200000 WHERE key='pack'");
			int64_t mine = model_write(c, &t, rows, REPACK_ROWS, newest, 1000 + round, name);
			if (id[at])
				assert_int_equal(store_remove_snapshot(c, id[at], false, &e), 0);
			memcpy(saved[at], rows, sizeof rows);
			id[at] = newest = mine;
			struct strbuf before[KEPT] = {0};
			for (int k = 0; k < KEPT; k++)
				if (id[k])
					places(c, &t, id[k], &before[k]);
			uint64_t dead, all;
			struct repack done;
			assert_int_equal(store_sweep(c, &e), 0);
			waste(c, &dead, &all);
			dead_before += dead;
			/* an old reader and a new one */
			lru_set_limit(c->packs, round % 2 ? 0 : 32 << 20);
			ok(store_repack(c, &done, &e));
			assert_false(done.busy);
			assert_int_equal(done.packs > 0, done.rows > 0);
			rewritten += done.packs;
			waste(c, &dead, &all);
			dead_after += dead;
			assert_true(dead * 6 <= all); /* a tenth, and what is too small to be worth it */
			for (int k = 0; k < KEPT; k++) {
				struct strbuf after = {0};
				if (!id[k])
					continue;
				places(c, &t, id[k], &after);
				assert_string_equal(before[k].data, after.data);
				if (round % 8 == 7)
					model_check(c, &t, saved[k], REPACK_ROWS, id[k]);
				strbuf_done(&after);
				strbuf_done(&before[k]);
			}
			/* what is done is done */
			assert_int_equal(store_repack(c, &done, &e), 0);
			assert_int_equal(done.packs, 0);
		}
		for (int k = 0; k < KEPT; k++)
			assert_int_equal(store_remove_snapshot(c, id[k], false, &e), 0);
		assert_int_equal(store_sweep(c, &e), 0);
		assert_int_equal(count(c, "SELECT count(*) FROM pack"), 0);
		assert_true(count(c, "SELECT count(*) FROM dict") <= 1);
		assert_true(count(c, "SELECT count(*) FROM codec") <= 2); /* the rows' and the names' */
		catalog_close(c);
		test_dir_end(dir, "c.db");
	}
	assert_true(rewritten > 30);
	assert_true(dead_after < dead_before);
}

/* A row that was dropped reads as one of a pack that is gone, by the number that outlived it. */
static void dropped_rows_are_gone(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	static struct model_row rows[MAX_ROWS];
	struct err e = ERR_INIT;
	for (size_t i = 0; i < MAX_ROWS; i++)
		rows[i] = (struct model_row){(unsigned)i, 1 + (unsigned)i % 900};
	int64_t a = model_write(c, &t, rows, MAX_ROWS, 0, 5, "a");
	for (size_t i = 0; i < MAX_ROWS; i++)
		rows[i].value += i % 8 ? 1000 : 0;
	int64_t b = model_write(c, &t, rows, MAX_ROWS, a, 6, "b");
	assert_int_equal(store_remove_snapshot(c, a, false, &e), 0);
	assert_int_equal(store_sweep(c, &e), 0);
	/* one damaged pack is left as it is; a writer's presence puts the work off */
	int64_t broken = count(c, "SELECT min(id) FROM pack"), packs = count(c, "SELECT count(*) FROM pack");
	catalog_close(c);
	alter(dir, "UPDATE pack SET sha256=zeroblob(32) WHERE id=(SELECT min(id) FROM pack)");
	c = test_open(dir);
	struct snapshot_writer *w;
	struct repack done;
	assert_int_equal(snapshot_writer_new(&w, c, 1, 9, &e), 0);
	assert_int_equal(store_sweep(c, &e), SWEEP_LATER);
	assert_int_equal(store_repack(c, &done, &e), 0);
	assert_true(done.busy);
	assert_int_equal(done.packs, 0);
	snapshot_writer_free(w);
	int64_t before = count(c, "SELECT sum(length(data)) FROM pack");
	assert_int_equal(store_repack(c, &done, &e), -EIO);
	assert_non_null(strstr(e.msg, "damaged"));
	assert_true(done.packs > 10);
	assert_int_equal(count(c, "SELECT count(*) FROM pack"), packs);
	assert_true(count(c, "SELECT sum(length(data)) FROM pack") < before * 9 / 10);
	assert_int_equal(count(c, "SELECT count(*) FROM pack WHERE sha256=zeroblob(32)"), 1);
	model_check(c, &t, rows, MAX_ROWS, b);
	struct hasher *h = hasher_new();
	unsigned gone = 0, there = 0;
	for (int64_t id = broken + 1; id < broken + 10; id++) {
		assert_int_equal(pack_verify(c, id, h, &e), 0);
		for (uint32_t i = 0; i < 5; i++) {
			struct stored_row r;
			int q = catalog_row_by_ref(c, (struct row_ref){id, i}, &r, &e);
			gone += q == -ENOENT;
			there += q == 0;
			if (q == 0)
				stored_row_done(&r);
		}
	}
	hasher_free(h);
	assert_true(gone > 20 && there > 0 && gone + there == 45);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

/* What was freed goes back to the file system. */
static void freed_space_is_given_back(void **state)
{
	(void)state;
	char *dir = test_dir(), *path = xasprintf("%s/c.db", dir), *wal = xasprintf("%s/c.db-wal", dir);
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	static struct model_row rows[MAX_ROWS];
	struct err e = ERR_INIT;
	int64_t id[20] = {0};
	for (int s = 0; s < 20; s++) {
		for (size_t i = 0; i < MAX_ROWS; i++)
			rows[i] = (struct model_row){(unsigned)i, 1 + (unsigned)rand() % 900};
		id[s] = model_write(c, &t, rows, MAX_ROWS, s ? id[s - 1] : 0, 5 + s, NULL);
	}
	struct stat before, after, log;
	(void)sqlite3_wal_checkpoint_v2(c->writer->h, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	assert_int_equal(stat(path, &before), 0);
	for (int s = 0; s < 19; s++)
		assert_int_equal(store_remove_snapshot(c, id[s], false, &e), 0);
	assert_int_equal(store_sweep(c, &e), 0);
	store_shrink(c);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(stat(wal, &log), 0);
	assert_true(after.st_size < before.st_size / 8);
	assert_int_equal(log.st_size, 0);
	assert_int_equal(count(c, "PRAGMA freelist_count"), 0);
	model_check(c, &t, rows, MAX_ROWS, id[19]);
	catalog_close(c);
	free(path);
	free(wal);
	test_dir_end(dir, "c.db");
}

static void snapshots_by_name(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	struct model_row row = {1, 1};
	struct err e = ERR_INIT;
	int64_t a = model_write(c, &t, &row, 1, 0, 5, "a"), b = model_write(c, &t, &row, 1, a, 9, "b");
	struct snapshot_info s;
	assert_int_equal(catalog_latest(c, 1, &s, &e), 0);
	assert_string_equal(s.name, "b");
	snapshot_info_done(&s);
	assert_int_equal(catalog_rename(c, a, "b", &e), -EEXIST);
	assert_int_equal(catalog_rename(c, a, "a:b", &e), -EINVAL);
	assert_int_equal(catalog_rename(c, a, "latest", &e), -EINVAL);
	assert_int_equal(catalog_rename(c, a, ".x", &e), -EINVAL);
	assert_int_equal(catalog_rename(c, a, "", &e), -EINVAL);
	assert_int_equal(catalog_rename(c, a, "c", &e), 0);
	assert_int_equal(catalog_find(c, 1, "a", &s, &e), -ENOENT);
	assert_int_equal(catalog_hold(c, b, true, &e), 0);
	assert_int_equal(remove_and_sweep(c, b, &e), -EBUSY);
	assert_int_equal(catalog_hold(c, b, false, &e), 0);
	assert_int_equal(remove_and_sweep(c, b, &e), 0);
	assert_int_equal(remove_and_sweep(c, b, &e), -ENOENT);
	/* the manifest's announced size is its size, and the sums are stable */
	struct strbuf m = {0}, s1 = {0}, s2 = {0};
	assert_int_equal(catalog_get(c, a, &s, &e), 0);
	assert_int_equal(catalog_manifest(c, a, &m, &e), 0);
	assert_int_equal(m.len, s.manifest_len);
	assert_int_equal(catalog_sums(c, a, &s1, &e), 0);
	assert_int_equal(catalog_sums(c, a, &s2, &e), 0);
	assert_string_equal(s1.data, s2.data);
	snapshot_info_done(&s);
	strbuf_done(&m);
	strbuf_done(&s1);
	strbuf_done(&s2);
	/* a new snapshot never gets a removed one's number */
	int64_t d = model_write(c, &t, &row, 1, a, 11, "d");
	assert_true(d > b);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

static void opening(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir), *d = test_open(dir);
	struct err e = ERR_INIT;
	/* two processes' worth of handles; one daemon */
	assert_int_equal(catalog_lock_daemon(c, &e), 0);
	assert_int_equal(catalog_lock_daemon(d, &e), -EBUSY);
	int64_t before = catalog_data_version(d), source;
	assert_int_equal(catalog_source(c, "x", &source, &e), 0);
	assert_true(catalog_data_version(d) != before);
	catalog_close(d);
	catalog_close(c);
	char *path = xasprintf("%s/c.db", dir);
	struct stat sb;
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 0777, 0600);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(catalog_open(&c, path, CATALOG_WRITE, &e), -EACCES);
	assert_int_equal(chmod(path, 0600), 0);
	sqlite3 *h;
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
	assert_int_equal(catalog_open(&c, path, CATALOG_WRITE, &e), -ENOTSUP);
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, "PRAGMA application_id=1", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
	assert_int_equal(catalog_open(&c, path, CATALOG_WRITE, &e), -EINVAL);
	free(path);
	test_dir_end(dir, "c.db");
}

static void full_disk(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	struct model_row row = {1, 1};
	int64_t a = model_write(c, &t, &row, 1, 0, 5, "a");
	struct err e = ERR_INIT;
	(void)sqlite3_exec(c->writer->h, "PRAGMA max_page_count=1", NULL, NULL, NULL); /* no page more than there are */
	struct snapshot_writer *w;
	struct version_writer *v;
	assert_int_equal(snapshot_writer_new(&w, c, 1, 9, &e), 0);
	assert_int_equal(snapshot_writer_table(w, &t, &v, &e), 0);
	char *big = xmalloc(300000);
	struct hasher *hasher = hasher_new();
	struct digest digest = {0};
	int r = 0;
	for (int i = 0; r == 0 && i < 100; i++) {
		memset(big, 'x', 300000);
		for (int k = 0; k < 300000; k += 3)
			big[k] = (char)('a' + rand() % 26);
		char head[64], k[32];
		int n = snprintf(head, sizeof head, "{\"id\":\"%05d\",\"body\":\"", i);
		memcpy(big, head, (size_t)n);
		memcpy(big + 299998, "\"}", 2);
		int kn = snprintf(k, sizeof k, " %05d", i);
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(hasher, big, 300000, sha);
		digest_add(&digest, sha);
		r = version_writer_new_row(v, k, (size_t)kn + 1, 0, big, 300000, sha, &e);
	}
	free(big);
	hasher_free(hasher);
	/* Packs are stored by other threads: the error comes at the latest when the snapshot is committed. */
	if (r == 0)
		r = version_writer_finish(v, &digest, NULL, 0, &e);
	struct manifest m = {.engine = xstrdup("sqlite"), .server_version = xstrdup("3")};
	if (r == 0)
		r = snapshot_writer_commit(w, "full", &m, "", 0, &e);
	manifest_done(&m);
	assert_int_equal(r, -ENOSPC);
	version_writer_free(v);
	snapshot_writer_free(w);
	(void)sqlite3_exec(c->writer->h, "PRAGMA max_page_count=1000000", NULL, NULL, NULL);
	/* what was there is there, and a snapshot works again */
	model_check(c, &t, &row, 1, a);
	assert_int_equal(store_sweep(c, &e), 0);
	int64_t b = model_write(c, &t, &row, 1, a, 12, "b");
	model_check(c, &t, &row, 1, b);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

/* ---- a disk that does not take a transaction ---- */

/* The default VFS, but for its logs (-wal): while lossy_writes or lossy_syncs is set, that fails. */
static sqlite3_vfs *lossy_inner, lossy_vfs;
static const sqlite3_io_methods *lossy_methods_inner;
static sqlite3_io_methods lossy_methods;
static bool lossy_writes, lossy_syncs;

static int lossy_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
	return lossy_writes ? SQLITE_IOERR_WRITE : lossy_methods_inner->xWrite(f, data, n, at);
}

static int lossy_sync(sqlite3_file *f, int flags)
{
	return lossy_syncs ? SQLITE_IOERR_FSYNC : lossy_methods_inner->xSync(f, flags);
}

static int lossy_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	(void)vfs;
	int r = lossy_inner->xOpen(lossy_inner, name, f, flags, ret_flags);
	if (r != SQLITE_OK || !(flags & SQLITE_OPEN_WAL))
		return r;
	if (!lossy_methods_inner) { /* the first one, when no other thread is there yet */
		lossy_methods_inner = f->pMethods;
		lossy_methods = *f->pMethods;
		lossy_methods.xWrite = lossy_write;
		lossy_methods.xSync = lossy_sync;
	}
	f->pMethods = &lossy_methods;
	return SQLITE_OK;
}

static void lossy(bool on)
{
	if (on) {
		lossy_inner = sqlite3_vfs_find(NULL);
		lossy_vfs = *lossy_inner;
		lossy_vfs.zName = "lossy";
		lossy_vfs.xOpen = lossy_open;
		assert_int_equal(sqlite3_vfs_register(&lossy_vfs, 1), SQLITE_OK);
	} else {
		assert_int_equal(sqlite3_vfs_unregister(&lossy_vfs), SQLITE_OK);
	}
}

/* What is reported as written is written: a commit that fails, and a transaction that SQLite gave up in its middle, are
 * errors, nothing of them is there, and the next one works. */
static void a_lost_transaction_is_told(void **state)
{
	(void)state;
	lossy(true);
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct db_column columns[2];
	size_t key[1];
	struct db_table t = test_table(false, columns, key);
	struct model_row row = {1, 1};
	struct err e = ERR_INIT;
	struct snapshot_info s;
	int64_t a = model_write(c, &t, &row, 1, 0, 5, "a");
	for (int which = 0; which < 2; which++) {
		bool *fault = which ? &lossy_syncs : &lossy_writes;
		*fault = true;
		assert_int_equal(catalog_rename(c, a, "b", &e), -EIO);
		assert_int_equal(catalog_hold(c, a, true, &e), -EIO);
		assert_int_equal(store_remove_snapshot(c, a, false, &e), -EIO);
		*fault = false;
		assert_int_equal(catalog_find(c, 1, "a", &s, &e), 0);
		assert_int_equal(s.id, a);
		assert_false(s.held);
		snapshot_info_done(&s);
		assert_int_equal(catalog_find(c, 1, "b", &s, &e), -ENOENT);
		model_check(c, &t, &row, 1, a);
	}
	/* more than the cache holds is written before the COMMIT, and SQLite itself rolls back what it cannot write */
	struct store_db *db = store_write_begin(c, STORE_DURABLE, &e);
	assert_non_null(db);
	assert_int_equal(sqlite3_exec(db->h, "UPDATE snapshot SET name='b'; PRAGMA cache_size=10", NULL, NULL, NULL),
			 SQLITE_OK);
	lossy_writes = true;
	for (int i = 0; i < 100 && !sqlite3_get_autocommit(db->h); i++)
		(void)sqlite3_exec(db->h, "INSERT INTO schema_text(sha256, text) VALUES(randomblob(32), zeroblob(1e5))",
				   NULL, NULL, NULL);
	lossy_writes = false;
	assert_true(sqlite3_get_autocommit(db->h));
	assert_int_equal(store_write_end(c, db, 0, &e), -EIO);
	assert_int_equal(catalog_find(c, 1, "b", &s, &e), -ENOENT);
	assert_int_equal(catalog_rename(c, a, "b", &e), 0);
	assert_int_equal(catalog_find(c, 1, "b", &s, &e), 0);
	snapshot_info_done(&s);
	model_check(c, &t, &row, 1, a);
	catalog_close(c);
	test_dir_end(dir, "c.db");
	lossy(false);
}

/* A write that could not begin leaves no durable one behind that is not synced. */
static void durable_is_durable(void **state)
{
	(void)state;
	char *dir = test_dir();
	struct catalog *c = test_open(dir);
	struct err e = ERR_INIT;
	char *path = xasprintf("%s/c.db", dir);
	sqlite3 *other;
	int64_t full = 0;
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	free(path);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_busy_timeout(c->writer->h, 1);
	assert_null(store_write_begin(c, STORE_LAZY, &e));
	assert_int_equal(e.code, EBUSY);
	sqlite3_close(other);
	struct store_db *db = store_write_begin(c, STORE_DURABLE, &e);
	assert_non_null(db);
	assert_int_equal(store_pragma(db, "PRAGMA synchronous", &full, &e), 0);
	assert_int_equal(full, 2);
	assert_int_equal(store_write_end(c, db, 0, &e), 0);
	catalog_close(c);
	test_dir_end(dir, "c.db");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(versions_follow_a_model),
	    cmocka_unit_test(splices_follow_a_model),
	    cmocka_unit_test(splices_add_equal_rows),
	    cmocka_unit_test(empty_table),
	    cmocka_unit_test(damage_is_found_and_contained),
	    cmocka_unit_test(damage_frees_nothing),
	    cmocka_unit_test(a_page_of_other_rows_is_not_believed),
	    cmocka_unit_test(numbers_are_not_used_again),
	    cmocka_unit_test(sweep_waits_for_writers),
	    cmocka_unit_test(repack_follows_a_model),
	    cmocka_unit_test(dropped_rows_are_gone),
	    cmocka_unit_test(freed_space_is_given_back),
	    cmocka_unit_test(snapshots_by_name),
	    cmocka_unit_test(opening),
	    cmocka_unit_test(full_disk),
	    cmocka_unit_test(a_lost_transaction_is_told),
	    cmocka_unit_test(durable_is_durable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
