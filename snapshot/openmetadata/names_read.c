/*
 * snapshot/openmetadata/names_read.c - see names_read.h. No locks.
 */
#include "snapshot/openmetadata/names_read.h"

#include <errno.h>

#include "base/text.h"
#include "snapshot/openmetadata/names_row.h"
#include "snapshot/store/version.h"
#include "snapshot/stream/merge.h"
#include "snapshot/stream/version_stream.h"

struct names_cursor {
	struct row_cursor *rows;
	struct strbuf path, table, row, before;
};

void names_cursor_close(struct names_cursor *nc)
{
	if (!nc)
		return;
	row_cursor_close(nc->rows);
	strbuf_done(&nc->path);
	strbuf_done(&nc->table);
	strbuf_done(&nc->row);
	strbuf_done(&nc->before);
	free(nc);
}

int names_cursor_next(struct names_cursor *nc, struct names_entry *ret, struct err *e)
{
	struct stored_row row;
	int r = row_cursor_next(nc->rows, &row, e);
	if (r <= 0)
		return r;
	struct strbuf old = nc->before;
	nc->before = nc->path;
	nc->path = old;
	if (!names_member(row.line, row.line_len, "path", &nc->path) ||
	    !names_member(row.line, row.line_len, "table", &nc->table) ||
	    !names_member(row.line, row.line_len, "row", &nc->row))
		return err_set(e, EIO, "catalog: the index of entities is damaged");
	*ret = (struct names_entry){.path = strbuf_str(&nc->path),
				    .path_len = nc->path.len,
				    .table = strbuf_str(&nc->table),
				    .row = strbuf_str(&nc->row),
				    .number = row.number,
				    .again = nc->before.data && nc->before.len == nc->path.len &&
					     !memcmp(nc->before.data, strbuf_str(&nc->path), nc->path.len)};
	return 1;
}

int names_cursor_open(struct names_cursor **ret, struct catalog *c, int64_t version_id, uint64_t first, struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = xcalloc(1, sizeof *nc);
	struct names_entry skipped;
	/* Whether the entry has a path of its own is told by the one before. */
	int r = row_cursor_open(&nc->rows, c, version_id, first ? first - 1 : 0, e);
	if (r < 0)
		return r;
	r = first ? names_cursor_next(nc, &skipped, e) : 1;
	if (r <= 0)
		return r < 0 ? r : err_set(e, EIO, "catalog: the index of entities is damaged");
	*ret = TAKE_PTR(nc);
	return 0;
}

int names_cursor_seek(struct names_cursor **ret, struct catalog *c, int64_t version_id, const char *path, size_t len,
		      struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = xcalloc(1, sizeof *nc);
	_cleanup_strbuf_ struct strbuf key = {0};
	row_key_text_prefix(path, len, &key);
	int r = row_cursor_seek(&nc->rows, c, version_id, key.data, key.len, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(nc);
	return 0;
}

int names_next_new(struct catalog *c, int64_t before_id, int64_t version_id, const char *path, size_t len,
		   struct strbuf *ret, struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *before = NULL, *after = NULL;
	_cleanup_strbuf_ struct strbuf key = {0};
	row_key_text_prefix(path, len, &key);
	int r = stream_version_from(&before, c, before_id, key.data, key.len, e);
	if (r < 0)
		return r;
	r = stream_version_from(&after, c, version_id, key.data, key.len, e);
	if (r < 0)
		return r;
	struct merge m = {.left = before, .right = after, .differences = true};
	do
		r = merge_next(&m, e);
	while (r == 1 && m.kind == MERGE_LEFT);
	if (r == 1 && !names_member(m.r.line, m.r.line_len, "path", ret))
		return err_set(e, EIO, "catalog: the index of entities is damaged");
	return r;
}

/* ---- looking up ---- */

#define NAMES_AGAIN_DIGITS 16U

static void names_again_digits(const struct names_entry *n, struct strbuf *out)
{
	uint8_t sha[ROW_SHA_LEN];
	char hex[2 * ROW_SHA_LEN + 1];
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	hasher_begin(h);
	hasher_more(h, n->table, strlen(n->table) + 1);
	hasher_more(h, n->row, strlen(n->row));
	hasher_end(h, sha);
	hex_encode(sha, sizeof sha, hex);
	strbuf_add(out, hex, NAMES_AGAIN_DIGITS);
}

void names_file(const struct names_entry *n, struct strbuf *out)
{
	const char *slash = memrchr(n->path, '/', n->path_len);
	const char *name = slash ? slash + 1 : n->path;
	size_t len = (size_t)(n->path + n->path_len - name);
	if (!n->again || len < 5) {
		strbuf_add(out, name, len);
		return;
	}
	strbuf_add(out, name, len - 5);
	strbuf_addch(out, '~');
	names_again_digits(n, out);
	strbuf_adds(out, ".json");
}

/* The path without what tells entities of one name apart; empty: there is no such thing in it. */
static void names_plain(const char *path, size_t len, struct strbuf *out)
{
	size_t tail = 1 + NAMES_AGAIN_DIGITS + 5;
	if (len <= tail || path[len - tail] != '~')
		return;
	strbuf_add(out, path, len - tail);
	strbuf_adds(out, ".json");
}

int names_lookup(struct catalog *c, int64_t version_id, const char *path, size_t len, struct names_cursor **ret,
		 struct names_entry *ret_entry, struct err *e)
{
	_cleanup_strbuf_ struct strbuf plain = {0}, file = {0};
	const char *slash = memrchr(path, '/', len);
	size_t file_at = slash ? (size_t)(slash + 1 - path) : 0;
	names_plain(path, len, &plain);
	for (int pass = 0; pass < (plain.len ? 2 : 1); pass++) {
		_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
		const char *want = pass ? plain.data : path;
		size_t n = pass ? plain.len : len;
		int r = names_cursor_seek(&nc, c, version_id, want, n, e);
		while (r == 0 && (r = names_cursor_next(nc, ret_entry, e)) == 1) {
			if (ret_entry->path_len != n || memcmp(ret_entry->path, want, n))
				break;
			strbuf_clear(&file);
			names_file(ret_entry, &file);
			r = 0;
			if (file.len == len - file_at && !memcmp(file.data, path + file_at, file.len)) {
				*ret = TAKE_PTR(nc);
				return 0;
			}
		}
		if (r < 0)
			return r;
	}
	return err_set(e, ENOENT, "there is no entity \"%.*s\"", (int)(len < 300 ? len : 300), path);
}
