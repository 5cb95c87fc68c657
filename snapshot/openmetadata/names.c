/*
 * snapshot/openmetadata/names.c - see names.h: the index of entities by name, read, kept up to date and made anew.
 *
 * Reading: any thread. Writing: changes belong to the thread that writes the table; names_write runs on the one that
 * commits the snapshot. No locks.
 */
#include "snapshot/openmetadata/names.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/text.h"
#include "snapshot/row/json_text.h"
#include "snapshot/stream/splice.h"

#define NAMES_MEMORY (4U << 20) /* of one table's changes */

/* ---- the index as a table ---- */

const struct db_table *names_description(void)
{
	static char path[] = "path", in[] = "table", row[] = "row", text[] = "text", name[] = "entities";
	static struct db_column columns[] = {{.name = path, .type = text, .form = DB_FORM_TEXT},
					     {.name = in, .type = text, .form = DB_FORM_TEXT},
					     {.name = row, .type = text, .form = DB_FORM_TEXT}};
	static size_t key[] = {0, 1, 2};
	static const struct db_table table = {
	    .name = name, .columns = columns, .n_columns = 3, .key_kind = DB_KEY_UNIQUE, .key = key, .n_key = 3};
	return &table;
}

static void names_line(const char *path, size_t path_len, const char *table, const char *row, size_t row_len,
		       struct strbuf *out)
{
	strbuf_adds(out, "{\"path\":");
	json_text_quote(path, path_len, out);
	strbuf_adds(out, ",\"table\":");
	json_text_quote(table, strlen(table), out);
	strbuf_adds(out, ",\"row\":");
	json_text_quote(row, row_len, out);
	strbuf_addch(out, '}');
}

static bool names_member(const char *line, size_t len, const char *member, struct strbuf *out)
{
	const char *value;
	size_t n;
	strbuf_clear(out);
	return json_text_member(line, len, member, strlen(member), &value, &n) == 1 && n >= 2 && *value == '"' &&
	       json_text_unquote(value + 1, n - 2, out);
}

/* ---- reading ---- */

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
	int r = row_cursor_open(&nc->rows, c, version_id, first ? first - 1 : 0, e);
	if (r == 0 && first) { /* whether the entry has a path of its own is told by the one before */
		r = names_cursor_next(nc, &skipped, e);
		r = r == 0 ? err_set(e, EIO, "catalog: the index of entities is damaged") : r < 0 ? r : 0;
	}
	if (r == 0)
		*ret = TAKE_PTR(nc);
	return r;
}

int names_cursor_seek(struct names_cursor **ret, struct catalog *c, int64_t version_id, const char *path, size_t len,
		      struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = xcalloc(1, sizeof *nc);
	_cleanup_strbuf_ struct strbuf key = {0};
	row_key_text_prefix(path, len, &key);
	int r = row_cursor_seek(&nc->rows, c, version_id, key.data, key.len, e);
	if (r == 0)
		*ret = TAKE_PTR(nc);
	return r;
}

int names_next_new(struct catalog *c, int64_t before_id, int64_t version_id, const char *path, size_t len,
		   struct strbuf *ret, struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *before = NULL, *after = NULL;
	_cleanup_strbuf_ struct strbuf key = {0};
	row_key_text_prefix(path, len, &key);
	int r = stream_version_from(&before, c, before_id, key.data, key.len, e);
	if (r == 0)
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

int names_index(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e)
{
	int r = names_version(c, snapshot_id, ret, e);
	if (r != -ENOENT)
		return r;
	r = names_build(c, snapshot_id, e);
	return r < 0 ? r : names_version(c, snapshot_id, ret, e);
}

/* sole: one of several with this path will not do. */
static int names_find_in(struct catalog *c, int64_t snapshot_id, const char *path, bool sole, struct strbuf *table,
			 struct strbuf *row_file, struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	_cleanup_(version_info_done) struct version_info index = {0};
	struct names_entry n;
	int r = names_index(c, snapshot_id, &index, e);
	if (r == 0)
		r = names_lookup(c, index.id, path, strlen(path), &nc, &n, e);
	if (r < 0)
		return r;
	strbuf_adds(table, n.table);
	strbuf_adds(row_file, n.row);
	r = sole ? names_cursor_next(nc, &n, e) : 0;
	return r == 1 && n.again ? err_set(e, ENOTUNIQ, "several entities are called so (%.300s)", path)
	       : r < 0           ? r
				 : 0;
}

int names_find_path(struct catalog *c, int64_t snapshot_id, const char *path, struct strbuf *table,
		    struct strbuf *row_file, struct err *e)
{
	return names_find_in(c, snapshot_id, path, false, table, row_file, e);
}

int names_find(struct catalog *c, int64_t snapshot_id, const char *type, const char *fqn, struct strbuf *table,
	       struct strbuf *row_file, struct err *e)
{
	_cleanup_strbuf_ struct strbuf path = {0};
	int r = -ENOENT;
	/* Entities that have a `name` only are found by it, dots and all. */
	for (int one_part = 0; one_part < 2 && r == -ENOENT; one_part++) {
		strbuf_clear(&path);
		names_path(type, fqn, strlen(fqn), one_part, &path);
		r = names_find_in(c, snapshot_id, path.data, true, table, row_file, e);
	}
	return r == -ENOENT ? err_set(e, ENOENT, "there is no %.60s \"%.300s\"", type, fqn) : r;
}

/* ---- what changes ---- */

struct names_changes {
	const struct row_codec *codec; /* of the table */
	const struct row_codec *index; /* of the index */
	struct strbuf type;
	const char *json;               /* the columns' names */
	bool by_name;                   /* `name` will do */
	struct sorter *added, *removed; /* NULL: none yet */
	struct strbuf doc, fqn, path, row, line;
};

static const char *names_column(const struct db_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (!strcasecmp(t->columns[i].name, name))
			return t->columns[i].name;
	return NULL;
}

static bool names_is_json(const struct db_table *t, const char *column)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (t->columns[i].name == column)
			return !t->columns[i].generated &&
			       (t->columns[i].form == DB_FORM_JSON || t->columns[i].form == DB_FORM_JSON_TEXT);
	return false;
}

int names_changes_new(struct names_changes **ret, struct catalog *c, const struct row_codec *codec, struct err *e)
{
	const struct db_table *t = row_codec_table(codec);
	const char *json = names_column(t, "json");
	const struct row_codec *index;
	int64_t index_id;
	if (!json || !names_is_json(t, json) || !names_column(t, "id") || names_column(t, "extension"))
		return 0;
	int r = store_codec_id(c, names_description(), &index_id, e);
	if (r == 0)
		r = catalog_codec(c, index_id, &index, e);
	if (r < 0)
		return r;
	struct names_changes *n = xcalloc(1, sizeof *n);
	size_t len = strlen(t->name);
	n->codec = codec;
	n->index = index;
	n->json = json;
	n->by_name = len > 7 && !strcasecmp(t->name + len - 7, "_entity");
	names_type(t->name, &n->type);
	*ret = n;
	return 0;
}

void names_changes_free(struct names_changes *n)
{
	if (!n)
		return;
	sorter_free(n->added);
	sorter_free(n->removed);
	strbuf_done(&n->type);
	strbuf_done(&n->doc);
	strbuf_done(&n->fqn);
	strbuf_done(&n->path);
	strbuf_done(&n->row);
	strbuf_done(&n->line);
	free(n);
}

/* A name. One with half a character in it (\ud800), which is no text, is spelled as the document has it. */
static bool names_text(const char *doc, size_t len, const char *member, struct strbuf *out)
{
	const char *value;
	size_t n;
	if (json_text_member(doc, len, member, strlen(member), &value, &n) != 1 || n < 2 || *value != '"')
		return false;
	strbuf_clear(out);
	if (!json_text_unquote(value + 1, n - 2, out)) {
		strbuf_clear(out);
		strbuf_add(out, value + 1, n - 2);
	}
	return true;
}

static int names_note(struct names_changes *n, struct sorter **into, const void *key, size_t key_len, const char *line,
		      size_t len, struct err *e)
{
	const char *doc;
	size_t doc_len;
	if (json_text_member(line, len, n->json, strlen(n->json), &doc, &doc_len) != 1)
		return 0;
	if (*doc == '"') { /* a document whose white space is kept (snapshot/row/row.h) */
		strbuf_clear(&n->doc);
		if (!json_text_unquote(doc + 1, doc_len - 2, &n->doc))
			return 0;
		doc = strbuf_str(&n->doc);
		doc_len = n->doc.len;
	}
	bool full = names_text(doc, doc_len, "fullyQualifiedName", &n->fqn);
	if (!full && !(n->by_name && names_text(doc, doc_len, "name", &n->fqn)))
		return 0;
	strbuf_clear(&n->path);
	names_path(strbuf_str(&n->type), strbuf_str(&n->fqn), n->fqn.len, !full, &n->path);
	strbuf_clear(&n->row);
	row_name(n->codec, key, key_len, &n->row);
	strbuf_clear(&n->line);
	names_line(n->path.data, n->path.len, row_codec_table(n->codec)->name, n->row.data, n->row.len, &n->line);
	if (!*into)
		*into = sorter_new(n->index, NAMES_MEMORY);
	return sorter_add(*into, n->line.data, n->line.len, e);
}

int names_changes_add(struct names_changes *n, const void *key, size_t key_len, const char *line, size_t len,
		      struct err *e)
{
	return n ? names_note(n, &n->added, key, key_len, line, len, e) : 0;
}

int names_changes_remove(struct names_changes *n, const void *key, size_t key_len, const char *line, size_t len,
			 struct err *e)
{
	return n ? names_note(n, &n->removed, key, key_len, line, len, e) : 0;
}

/* ---- several tables' changes as one stream ---- */

/* The entries of one table in an index. */
struct table_stream {
	struct row_stream base;
	struct row_cursor *rows;
	char *table;
	struct strbuf prefix, name; /* prefix: of the keys of its type */
	struct stored_row row;
};

static int table_stream_next(struct row_stream *s, struct stream_row *ret, struct err *e)
{
	struct table_stream *t = (struct table_stream *)s;
	for (;;) {
		int r = row_cursor_next(t->rows, &t->row, e);
		if (r <= 0 || t->row.key_len < t->prefix.len || memcmp(t->row.key, t->prefix.data, t->prefix.len))
			return r < 0 ? r : 0;
		if (!names_member(t->row.line, t->row.line_len, "table", &t->name))
			return err_set(e, EIO, "catalog: the index of entities is damaged");
		if (strcmp(strbuf_str(&t->name), t->table))
			continue;
		*ret = (struct stream_row){
		    .key = t->row.key, .key_len = t->row.key_len, .line = t->row.line, .line_len = t->row.line_len};
		return 1;
	}
}

static void table_stream_close(struct row_stream *s)
{
	struct table_stream *t = (struct table_stream *)s;
	row_cursor_close(t->rows);
	strbuf_done(&t->prefix);
	strbuf_done(&t->name);
	free(t->table);
	free(t);
}

static int table_stream_new(struct row_stream **ret, struct catalog *c, int64_t index_id, const char *table,
			    struct err *e)
{
	_cleanup_strbuf_ struct strbuf path = {0};
	struct table_stream *t = xcalloc(1, sizeof *t);
	t->base = (struct row_stream){.next = table_stream_next, .close = table_stream_close};
	t->table = xstrdup(table);
	names_type(table, &path);
	strbuf_addch(&path, '/');
	row_key_text_prefix(path.data, path.len, &t->prefix);
	int r = row_cursor_seek(&t->rows, c, index_id, t->prefix.data, t->prefix.len, e);
	if (r < 0) {
		table_stream_close(&t->base);
		return r;
	}
	*ret = &t->base;
	return 0;
}

/* Streams that have no key in common, as one. Types keep most of them apart: the first one is mostly the next, too. */
struct union_part {
	struct row_stream *stream;
	struct stream_row row;
};

struct union_stream {
	struct row_stream base;
	struct union_part *v; /* those that have a row, the smallest first */
	size_t n;
	bool given; /* v[0]'s row was */
};

static void union_stream_close(struct row_stream *s)
{
	struct union_stream *u = (struct union_stream *)s;
	for (size_t i = 0; i < u->n; i++)
		row_stream_close(u->v[i].stream);
	free(u->v);
	free(u);
}

/* Moves v[at] to its place among those behind it. */
static void union_sift(struct union_stream *u, size_t at)
{
	struct union_part p = u->v[at];
	for (; at + 1 < u->n; at++) {
		const struct stream_row *next = &u->v[at + 1].row;
		if (key_compare(p.row.key, p.row.key_len, next->key, next->key_len) <= 0)
			break;
		u->v[at] = u->v[at + 1];
	}
	u->v[at] = p;
}

/* The row of v[0] is the next one, or v[0] is gone. */
static int union_pull(struct union_stream *u, struct err *e)
{
	int r = u->v[0].stream->next(u->v[0].stream, &u->v[0].row, e);
	if (r == 1) {
		union_sift(u, 0);
	} else if (r == 0) {
		row_stream_close(u->v[0].stream);
		memmove(u->v, u->v + 1, --u->n * sizeof *u->v);
	}
	return r < 0 ? r : 0;
}

static int union_stream_next(struct row_stream *s, struct stream_row *ret, struct err *e)
{
	struct union_stream *u = (struct union_stream *)s;
	int r = u->given ? union_pull(u, e) : 0;
	u->given = r == 0 && u->n;
	if (u->given)
		*ret = u->v[0].row;
	return r < 0 ? r : u->given;
}

/* Takes *part. */
static int union_add(struct union_stream *u, struct row_stream **part, struct err *e)
{
	u->v = xrealloc(u->v, (u->n + 1) * sizeof *u->v);
	memmove(u->v + 1, u->v, u->n++ * sizeof *u->v);
	u->v[0] = (struct union_part){.stream = TAKE_PTR(*part)};
	return union_pull(u, e);
}

static struct union_stream *union_new(void)
{
	struct union_stream *u = xcalloc(1, sizeof *u);
	u->base = (struct row_stream){.next = union_stream_next, .close = union_stream_close};
	return u;
}

static int union_add_sorter(struct union_stream *u, struct sorter **s, struct err *e)
{
	struct row_stream *part;
	int r = *s ? sorter_stream(&part, TAKE_PTR(*s), e) : 1;
	return r == 0 ? union_add(u, &part, e) : r < 0 ? r : 0;
}

/* ---- writing ---- */

struct names_sink {
	struct splice *splice; /* NULL: there is no base */
	struct version_writer *v;
	struct hasher *hasher;
	struct digest digest;
	uint64_t n;
};

static int names_add_row(void *arg, const struct stream_row *row, struct err *e)
{
	struct names_sink *s = arg;
	s->n++;
	if (s->splice)
		return splice_upsert(s->splice, row, e);
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(s->hasher, row->line, row->line_len, sha);
	digest_add(&s->digest, sha);
	return version_writer_new_row(s->v, row->key, row->key_len, 0, row->line, row->line_len, sha, e);
}

static int names_drop(void *arg, const struct stream_row *row, struct err *e)
{
	struct names_sink *s = arg;
	s->n++;
	return s->splice ? splice_delete(s->splice, row->key, row->key_len, e) : 0;
}

/* What goes: names that were removed, and all that the base has of tables that are gone or told as a whole. */
static int names_removed(struct union_stream *u, struct catalog *c, const struct version_list *base,
			 const struct version_info *index, const struct names_table *t, size_t n, struct err *e)
{
	struct row_stream *part;
	int r = 0;
	for (size_t i = 0; r == 0 && i < base->n; i++) {
		size_t k = 0;
		while (k < n && strcmp(t[k].table, base->v[i].name))
			k++;
		if (k < n && !t[k].whole)
			continue;
		r = table_stream_new(&part, c, index->id, base->v[i].name, e);
		if (r == 0)
			r = union_add(u, &part, e);
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		if (t[i].changes && !t[i].whole)
			r = union_add_sorter(u, &t[i].changes->removed, e);
	return r;
}

int names_write(struct catalog *c, int64_t base_id, const struct names_table *t, size_t n, struct version_writer *v,
		struct version_info *ret_same, struct err *e)
{
	_cleanup_(cleanup_hasher) struct hasher *hasher = hasher_new();
	_cleanup_(cleanup_splice) struct splice *splice = NULL;
	_cleanup_(cleanup_row_stream) struct row_stream *removed = NULL, *added = NULL;
	_cleanup_(version_info_done) struct version_info base = {0};
	_cleanup_(version_list_done) struct version_list tables = {0};
	/* In this order: of a base that is removed meanwhile there is no index, rather than one without tables. */
	int r = base_id ? catalog_tables(c, base_id, &tables, e) : 0;
	if (r == 0 && base_id)
		r = names_version(c, base_id, &base, e);
	if (r == -ENOENT)
		return 1;
	struct union_stream *u = union_new();
	removed = &u->base;
	if (r == 0)
		r = names_removed(u, c, &tables, &base, t, n, e);
	u = union_new();
	added = &u->base;
	for (size_t i = 0; r == 0 && i < n; i++)
		if (t[i].changes)
			r = union_add_sorter(u, &t[i].changes->added, e);
	if (r == 0 && base_id && !((struct union_stream *)removed)->n && !u->n) {
		*ret_same = base;
		base = (struct version_info){0};
		return 2;
	}
	if (r == 0 && base_id)
		r = splice_new(&splice, c, &base, v, e);
	struct names_sink s = {.splice = splice, .v = v, .hasher = hasher};
	struct merge_sink sink = {&s, names_drop, names_add_row, NULL, NULL};
	if (r == 0)
		r = merge_streams(removed, added, &sink, e);
	if (r == 0 && splice)
		r = splice_end(splice, &s.digest, e);
	/* What of the base cannot be read: the index is made anew by who needs it. */
	if (base_id && (r == -EUCLEAN || r == -EIO))
		return 1;
	return r < 0 ? r : version_writer_finish(v, &s.digest, base_id ? &base : NULL, 0, e);
}

/* ---- making a missing one ---- */

static int collect_gone(void *arg, const struct stream_row *row, struct err *e)
{
	return names_changes_remove(arg, row->key, row->key_len, row->line, row->line_len, e);
}

static int collect_new(void *arg, const struct stream_row *row, struct err *e)
{
	return names_changes_add(arg, row->key, row->key_len, row->line, row->line_len, e);
}

static int collect_changed(void *arg, const struct stream_row *old, const struct stream_row *new, struct err *e)
{
	int r = collect_gone(arg, old, e);
	return r < 0 ? r : collect_new(arg, new, e);
}

/* What changed in a table since `base`, which has the same description; NULL: all of it. */
static int names_collect(struct catalog *c, const struct version_info *base, const struct version_info *v,
			 struct names_changes **ret, struct err *e)
{
	const struct row_codec *codec;
	_cleanup_(cleanup_row_stream) struct row_stream *old = NULL, *new = NULL;
	int r = catalog_codec(c, v->codec_id, &codec, e);
	if (r < 0)
		return r;
	r = names_changes_new(ret, c, codec, e);
	if (r < 0 || !*ret)
		return r;
	r = stream_version(&old, c, base ? base->id : 0, e);
	if (r == 0)
		r = stream_version(&new, c, v->id, e);
	struct merge_sink sink = {*ret, collect_gone, collect_new, NULL, collect_changed};
	return r < 0 ? r : merge_streams(old, new, &sink, e);
}

/* From the index of snapshot base_id (0: none). 1: that is missing or damaged. */
static int names_build_from(struct catalog *c, int64_t snapshot_id, int64_t base_id, struct err *e)
{
	_cleanup_(version_list_done) struct version_list tables = {0}, base = {0};
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int r = snapshot_writer_new(&w, c, 0, clock_ms(), e); /* holds the packs it reads, too */
	if (r == 0)
		r = catalog_tables(c, snapshot_id, &tables, e);
	if (r == 0 && base_id)
		r = catalog_tables(c, base_id, &base, e);
	struct names_table *t = xcalloc(tables.n + 1, sizeof *t);
	for (size_t i = 0; r == 0 && i < tables.n; i++) {
		const struct version_info *v = &tables.v[i], *old = NULL;
		for (size_t k = 0; k < base.n && !old; k++)
			if (!strcmp(base.v[k].name, v->name) && base.v[k].codec_id == v->codec_id)
				old = &base.v[k];
		t[i] = (struct names_table){.table = v->name, .whole = !old};
		if (!old || old->id != v->id)
			r = names_collect(c, old, v, &t[i].changes, e);
	}
	if (r == 0) {
		snapshot_writer_set_base(w, base_id);
		r = snapshot_writer_commit_names(w, snapshot_id, t, tables.n, e);
	}
	for (size_t i = 0; i < tables.n; i++)
		names_changes_free(t[i].changes);
	free(t);
	return base_id && r == -EIO ? 1 : r;
}

/* The snapshot of the same source with an index that was taken next before or after this one. */
static int names_nearest(struct catalog *c, int64_t snapshot_id, int64_t *ret, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0, step = SQLITE_DONE;
	*ret = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_NAMES_NEAREST, e);
	if (st) {
		sqlite3_bind_int64(st, 1, snapshot_id);
		step = sqlite3_step(st);
	}
	if (step == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	else if (!st || step != SQLITE_DONE)
		r = store_error(db, "looking for an index of entities", e);
	if (st)
		(void)sqlite3_reset(st);
	store_read_end(c, db);
	return r;
}

int names_build(struct catalog *c, int64_t snapshot_id, struct err *e)
{
	MUTEX_GUARD(&c->names_mutex); /* all who wait for it find it made */
	struct version_info made;
	int64_t base_id;
	int r = names_version(c, snapshot_id, &made, ERR_DROP);
	if (r == 0) {
		version_info_done(&made);
		return 0;
	}
	r = names_nearest(c, snapshot_id, &base_id, e);
	if (r == 0 && base_id)
		r = names_build_from(c, snapshot_id, base_id, e);
	if (r == 1 || (r == 0 && !base_id))
		r = names_build_from(c, snapshot_id, 0, e);
	return r;
}

int names_forget(struct catalog *c, int64_t snapshot_id, struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	sqlite3_stmt *st = store_stmt(db, STMT_NAMES_DELETE, e);
	if (!st)
		return store_write_end(c, db, err_code(e), e);
	sqlite3_bind_int64(st, 1, snapshot_id);
	int r = store_write_end(c, db, store_run(db, st, "forgetting an index of entities", e), e);
	if (r == 0)
		(void)store_sweep(c, ERR_DROP); /* the damage goes, too; if it cannot now, the next sweep takes it */
	return r;
}
