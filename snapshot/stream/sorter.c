/*
 * snapshot/stream/sorter.c - see sorter.h.
 *
 * A sorter belongs to one thread.
 */
#include "snapshot/stream/sorter.h"

#include <errno.h>
#include <sqlite3.h>

#include "snapshot/store/extent.h"

/* A row in memory: these, its key, its line. */
struct sorter_row {
	uint32_t key_len, line_len;
};

struct sorter {
	struct row_stream base;
	const struct row_codec *codec;
	bool hashed;
	size_t memory;      /* rows beyond it go to the database */
	struct strbuf rows; /* of the rows in memory, each at one of `place` */
	size_t *place;
	size_t n, cap, at;
	sqlite3 *db; /* NULL: all rows are in memory */
	sqlite3_stmt *insert, *select;
	struct hasher *hasher;
	struct strbuf key, last; /* last: key of the row before, for hashed tables without its number */
	uint64_t number;
	bool any;
};

static int sorter_error(struct sorter *s, struct err *e)
{
	int no = (sqlite3_errcode(s->db) & 0xff) == SQLITE_FULL ? ENOSPC : EIO;
	return err_set(e, no, "sorting rows in the temporary folder: %s", sqlite3_errmsg(s->db));
}

void sorter_free(struct sorter *s)
{
	if (!s)
		return;
	sqlite3_finalize(s->insert);
	sqlite3_finalize(s->select);
	sqlite3_close(s->db);
	hasher_free(s->hasher);
	strbuf_done(&s->rows);
	free(s->place);
	strbuf_done(&s->key);
	strbuf_done(&s->last);
	free(s);
}

static void sorter_close(struct row_stream *s)
{
	sorter_free((struct sorter *)s);
}

struct sorter *sorter_new(const struct row_codec *codec, size_t memory)
{
	struct sorter *s = xcalloc(1, sizeof *s);
	s->codec = codec;
	s->hashed = row_key_is_hashed(codec);
	s->hasher = s->hashed ? hasher_new() : NULL;
	s->memory = memory;
	return s;
}

static struct sorter_row sorter_at(const struct sorter *s, size_t place, const char **key, const char **line)
{
	struct sorter_row row;
	memcpy(&row, s->rows.data + place, sizeof row);
	*key = s->rows.data + place + sizeof row;
	*line = *key + row.key_len;
	return row;
}

static int sorter_insert(struct sorter *s, const char *key, size_t key_len, const char *line, size_t len, struct err *e)
{
	sqlite3_bind_blob64(s->insert, 1, key, key_len, SQLITE_STATIC);
	sqlite3_bind_blob64(s->insert, 2, line, len, SQLITE_STATIC);
	int step = sqlite3_step(s->insert);
	(void)sqlite3_reset(s->insert);
	return step == SQLITE_DONE ? 0 : sorter_error(s, e);
}

/* "" is a private database in a file that SQLite makes in the temporary folder and unlinks at once. */
static int sorter_spill(struct sorter *s, struct err *e)
{
	if (sqlite3_open_v2("", &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return sorter_error(s, e);
	char setup[256];
	(void)snprintf(
	    setup, sizeof setup,
	    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE; PRAGMA page_size=16384;"
	    "PRAGMA cache_size=-%zu; CREATE TABLE s(k BLOB, l BLOB); BEGIN",
	    s->memory >> 10);
	if (sqlite3_exec(s->db, setup, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(s->db, "INSERT INTO s VALUES(?1, ?2)", -1, &s->insert, NULL) != SQLITE_OK)
		return sorter_error(s, e);
	int r = 0;
	for (size_t i = 0; r == 0 && i < s->n; i++) {
		const char *key, *line;
		struct sorter_row row = sorter_at(s, s->place[i], &key, &line);
		r = sorter_insert(s, key, row.key_len, line, row.line_len, e);
	}
	strbuf_done(&s->rows);
	s->rows = (struct strbuf){0};
	free(TAKE_PTR(s->place));
	s->n = s->cap = 0;
	return r;
}

static void sorter_keep(struct sorter *s, const char *line, size_t len)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->place = xrealloc(s->place, s->cap * sizeof *s->place);
	}
	struct sorter_row row = {(uint32_t)s->key.len, (uint32_t)len};
	s->place[s->n++] = s->rows.len;
	strbuf_add(&s->rows, &row, sizeof row);
	strbuf_add(&s->rows, s->key.data, s->key.len);
	strbuf_add(&s->rows, line, len);
}

int sorter_add(struct sorter *s, const char *line, size_t len, struct err *e)
{
	uint8_t sha[ROW_SHA_LEN];
	if (s->hashed)
		hasher_sha256(s->hasher, line, len, sha);
	strbuf_clear(&s->key);
	int r = row_key(s->codec, line, len, s->hashed ? sha : NULL, 0, &s->key, e);
	if (r < 0)
		return r;
	size_t used = s->rows.len + s->n * sizeof *s->place + sizeof(struct sorter_row) + s->key.len + len;
	if (!s->db && (used > s->memory || len > UINT32_MAX || s->key.len > UINT32_MAX))
		r = sorter_spill(s, e);
	if (r == 0 && s->db)
		r = sorter_insert(s, strbuf_str(&s->key), s->key.len, line, len, e);
	else if (r == 0)
		sorter_keep(s, line, len);
	return r;
}

/* The next row in order: 1, 0 at the end. */
static int sorter_take(struct sorter *s, struct stream_row *ret, struct err *e)
{
	*ret = (struct stream_row){0};
	if (!s->db) {
		if (s->at == s->n)
			return 0;
		const char *key;
		struct sorter_row row = sorter_at(s, s->place[s->at++], &key, &ret->line);
		ret->key = key;
		ret->key_len = row.key_len;
		ret->line_len = row.line_len;
		return 1;
	}
	int step = sqlite3_step(s->select);
	if (step == SQLITE_DONE)
		return 0;
	if (step != SQLITE_ROW)
		return sorter_error(s, e);
	ret->key = sqlite3_column_blob(s->select, 0);
	ret->key_len = (size_t)sqlite3_column_bytes(s->select, 0);
	ret->line = sqlite3_column_blob(s->select, 1);
	ret->line_len = (size_t)sqlite3_column_bytes(s->select, 1);
	return 1;
}

static int sorter_next(struct row_stream *base, struct stream_row *ret, struct err *e)
{
	struct sorter *s = (struct sorter *)base;
	int r = sorter_take(s, ret, e);
	if (r <= 0)
		return r;
	bool equal = s->any && s->last.len == ret->key_len && !memcmp(s->last.data, ret->key, ret->key_len);
	if (equal && !s->hashed)
		return err_set(e, EEXIST, "table %s: two rows have the same key", row_codec_table(s->codec)->name);
	s->number = equal ? s->number + 1 : 1;
	s->any = true;
	strbuf_clear(&s->last);
	strbuf_add(&s->last, ret->key, ret->key_len);
	if (s->hashed) {
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(s->hasher, ret->line, ret->line_len, sha);
		strbuf_clear(&s->key);
		r = row_key(s->codec, ret->line, ret->line_len, sha, s->number, &s->key, e);
		if (r < 0)
			return r;
		ret->key = s->key.data;
		ret->key_len = s->key.len;
		ret->number = s->number;
	}
	return 1;
}

static int sorter_compare(const void *a, const void *b, void *arg)
{
	const char *x, *y, *line;
	struct sorter_row left = sorter_at(arg, *(const size_t *)a, &x, &line);
	struct sorter_row right = sorter_at(arg, *(const size_t *)b, &y, &line);
	return key_compare(x, left.key_len, y, right.key_len);
}

int sorter_stream(struct row_stream **ret, struct sorter *s, struct err *e)
{
	if (!s->db) {
		if (s->n)
			qsort_r(s->place, s->n, sizeof *s->place, sorter_compare, s);
	} else if (sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK ||
		   sqlite3_prepare_v2(s->db, "SELECT k, l FROM s ORDER BY k", -1, &s->select, NULL) != SQLITE_OK) {
		int r = sorter_error(s, e);
		sorter_free(s);
		return r;
	}
	s->base = (struct row_stream){.next = sorter_next, .close = sorter_close};
	*ret = &s->base;
	return 0;
}
