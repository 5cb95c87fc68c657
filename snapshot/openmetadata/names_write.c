/*
 * snapshot/openmetadata/names_write.c - see names_write.h.
 *
 * Runs on the thread that commits the snapshot, but for names_update_watch. Lock: names_update.mutex, of the list of
 * tables.
 */
#include "snapshot/openmetadata/names_write.h"

#include <errno.h>

#include "snapshot/openmetadata/names_path.h"
#include "snapshot/row/json_text.h"
#include "snapshot/store/index.h"
#include "snapshot/stream/merge.h"
#include "snapshot/stream/splice.h"

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
	if (!*s)
		return 0;
	int r = sorter_stream(&part, TAKE_PTR(*s), e);
	return r < 0 ? r : union_add(u, &part, e);
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

/* What comes and goes. *ret_any: anything. */
static int names_streams(struct catalog *c, const struct version_list *tables, const struct version_info *index,
			 const struct names_table *t, size_t n, struct row_stream **removed, struct row_stream **added,
			 bool *ret_any, struct err *e)
{
	struct union_stream *gone = union_new(), *come = union_new();
	*removed = &gone->base;
	*added = &come->base;
	int r = names_removed(gone, c, tables, index, t, n, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (t[i].changes)
			r = union_add_sorter(come, &t[i].changes->added, e);
	*ret_any = gone->n || come->n;
	return r;
}

/* Writes the index's rows with v; base NULL: there is none. */
static int names_merge(struct catalog *c, const struct version_info *base, struct version_writer *v,
		       struct row_stream *removed, struct row_stream *added, struct digest *ret, struct err *e)
{
	_cleanup_(cleanup_hasher) struct hasher *hasher = hasher_new();
	_cleanup_(cleanup_splice) struct splice *splice = NULL;
	int r = base ? splice_new(&splice, c, base, v, e) : 0;
	if (r < 0)
		return r;
	struct names_sink s = {.splice = splice, .v = v, .hasher = hasher};
	struct merge_sink sink = {&s, names_drop, names_add_row, NULL, NULL};
	r = merge_streams(removed, added, &sink, e);
	if (r == 0 && splice)
		r = splice_end(splice, &s.digest, e);
	*ret = s.digest;
	return r;
}

int names_write(struct catalog *c, struct snapshot_writer *w, int64_t base_id, const struct names_table *t, size_t n,
		struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	_cleanup_(cleanup_row_stream) struct row_stream *removed = NULL, *added = NULL;
	_cleanup_(version_info_done) struct version_info base = {0};
	_cleanup_(version_list_done) struct version_list tables = {0};
	struct digest digest;
	bool any = false;
	/* Also where the base's index will do: the description of the index is there then. */
	int r = snapshot_writer_index(w, names_description(), &v, e);
	if (r < 0)
		return r;
	/* In this order: of a base that is removed meanwhile there is no index, rather than one without tables. */
	r = base_id ? catalog_tables(c, base_id, &tables, e) : 0;
	if (r == 0 && base_id)
		r = catalog_index(c, base_id, &base, e);
	if (r == -ENOENT)
		return NAMES_NO_BASE;
	if (r == 0)
		r = names_streams(c, &tables, &base, t, n, &removed, &added, &any, e);
	if (r == 0 && base_id && !any) {
		snapshot_writer_set_index(w, &base);
		return NAMES_WRITTEN;
	}
	if (r == 0)
		r = names_merge(c, base_id ? &base : NULL, v, removed, added, &digest, e);
	/* What of the base cannot be read: the index is made anew by who needs it. */
	if (base_id && (r == -EUCLEAN || r == -EIO))
		return NAMES_NO_BASE;
	if (r == 0)
		r = version_writer_finish(v, &digest, base_id ? &base : NULL, 0, e);
	return r < 0 ? r : NAMES_WRITTEN;
}

/* ---- while a snapshot is written ---- */

struct names_watched {
	char *table;
	struct names_changes *changes; /* NULL: its rows are no entities, or were lost */
	struct err lost;               /* why they were; code 0: they were not */
};

struct names_update {
	struct catalog *catalog;
	struct snapshot_writer *writer;
	pthread_mutex_t mutex; /* of the list; each table in it is its thread's */
	struct names_watched **v;
	size_t n;
};

struct names_update *names_update_new(struct catalog *c, struct snapshot_writer *w)
{
	struct names_update *u = xcalloc(1, sizeof *u);
	u->catalog = c;
	u->writer = w;
	(void)pthread_mutex_init(&u->mutex, NULL);
	return u;
}

void names_update_free(struct names_update *u)
{
	if (!u)
		return;
	for (size_t i = 0; i < u->n; i++) {
		free(u->v[i]->table);
		names_changes_free(u->v[i]->changes);
		free(u->v[i]);
	}
	free(u->v);
	(void)pthread_mutex_destroy(&u->mutex);
	free(u);
}

/* What cannot be kept in mind costs the index, which can be made later, and not the snapshot. */
static int names_lose(struct names_watched *t, const struct err *why)
{
	t->lost = *why;
	names_changes_free(TAKE_PTR(t->changes));
	return 0;
}

static int names_added(void *arg, const void *key, size_t key_len, const char *line, size_t len, struct err *e)
{
	struct names_watched *t = arg;
	struct err why = ERR_INIT;
	(void)e;
	if (t->lost.code || names_changes_add(t->changes, key, key_len, line, len, &why) == 0)
		return 0;
	return names_lose(t, &why);
}

static int names_gone(void *arg, const void *key, size_t key_len, const char *line, size_t len, struct err *e)
{
	struct names_watched *t = arg;
	struct err why = ERR_INIT;
	(void)e;
	if (t->lost.code || names_changes_remove(t->changes, key, key_len, line, len, &why) == 0)
		return 0;
	return names_lose(t, &why);
}

/* The table's place, made anew when it is watched again: what was written before will not be used. */
static struct names_watched *names_watched_of(struct names_update *u, const char *table)
{
	MUTEX_GUARD(&u->mutex);
	for (size_t i = 0; i < u->n; i++)
		if (!strcmp(u->v[i]->table, table)) {
			names_changes_free(TAKE_PTR(u->v[i]->changes));
			u->v[i]->lost = (struct err)ERR_INIT;
			return u->v[i];
		}
	struct names_watched *t = xcalloc(1, sizeof *t);
	t->table = xstrdup(table);
	u->v = xrealloc(u->v, (u->n + 1) * sizeof(struct names_watched *));
	u->v[u->n++] = t;
	return t;
}

int names_update_watch(struct names_update *u, struct version_writer *v, struct err *e)
{
	struct names_changes *changes = NULL;
	int r = names_changes_new(&changes, u->catalog, version_writer_codec(v), e);
	if (r < 0)
		return r;
	struct names_watched *t = names_watched_of(u, row_codec_table(version_writer_codec(v))->name);
	t->changes = changes;
	if (changes)
		version_writer_set_watch(v, &(struct row_watch){names_added, names_gone, t});
	return 0;
}

void names_update_write(struct names_update *u, int64_t base_id, struct err *ret_lost)
{
	_cleanup_free_ struct names_table *t = xcalloc(u->n + 1, sizeof *t);
	struct err why = ERR_INIT;
	*ret_lost = ERR_INIT;
	for (size_t i = 0; i < u->n; i++) {
		t[i] = (struct names_table){.table = u->v[i]->table,
					    .changes = u->v[i]->changes,
					    .whole = snapshot_writer_is_whole(u->writer, u->v[i]->table)};
		if (u->v[i]->lost.code)
			*ret_lost = u->v[i]->lost;
	}
	if (!ret_lost->code && names_write(u->catalog, u->writer, base_id, t, u->n, &why) < 0)
		*ret_lost = why;
	if (ret_lost->code)
		(void)err_prefix(ret_lost, "the snapshot is whole; its index of entities has to be made later");
}
