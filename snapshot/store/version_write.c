/*
 * snapshot/store/version_write.c - making table versions and the snapshot that names them.
 *
 * A version writer belongs to one thread; several may write tables of one snapshot. Packs go to the threads of
 * pack_writer.c; until the last transaction names them no reader sees them, and a crash leaves them to the next sweep. The
 * shared WRITERS lock keeps sweeps away meanwhile.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

/* A page ends after the extent whose hash has these bits clear, but not before its 17th: 32 extents on average. A
 * changed row costs a page: smaller ones cost less after many snapshots, larger ones compress better and are fewer. */
#define PAGE_CUT_MASK 15U
#define PAGE_MIN 16U
#define PAGE_MAX 1024U

struct written_table {
	struct manifest_table m;
	int64_t version_id; /* 0: not stored yet */
	int64_t codec_id;
	struct written_page *page;
	size_t n_pages;
	struct names_changes *names; /* NULL: its rows are no entities */
	bool whole;                  /* there was no base: they tell all of them */
};

struct written_page {
	struct strbuf data;
	uint8_t sha[ROW_SHA_LEN];
	uint64_t rows, line_bytes, file_bytes;
	struct strbuf sep;
};

struct snapshot_writer {
	struct catalog *catalog;
	int64_t id, source_id, taken_ms;
	int lock_fd;
	struct pack_writer *writer;
	pthread_mutex_t mutex; /* of the tables, while threads write them */
	struct written_table *table;
	size_t n_tables, cap_tables;
	struct mark_list marks;
	bool has_marks;
	int64_t base_id;            /* 0: none */
	struct written_table names; /* the index; no name: not written */
};

struct version_writer {
	struct snapshot_writer *w;
	const struct row_codec *codec;
	bool hashed;
	int64_t codec_id;
	struct pack_writer_table *writer;
	struct hasher *hasher;
	/* the pack that is being filled */
	int64_t pack_id;
	uint32_t pack_rows;
	struct strbuf head, lines, shas;
	/* the extent and page that are being filled */
	struct extent extent; /* count 0: none; its separator is extent_sep */
	struct strbuf extent_sep, last_key, page, page_sep;
	bool last_known; /* last_key is; else it is the key of last_ref */
	struct row_ref last_ref;
	uint32_t page_extents;
	int64_t page_pack; /* delta base */
	uint64_t page_rows, page_line_bytes, page_file_bytes;
	struct written_table out, *into; /* into: NULL, or the place that is not among the tables */
	uint64_t rows, new_rows, line_bytes, file_bytes;
};

int snapshot_writer_new(struct snapshot_writer **ret, struct catalog *c, int64_t source_id, int64_t taken_ms,
			struct err *e)
{
	int fd = store_lock(c, STORE_LOCK_WRITERS, false, e);
	if (fd < 0)
		return fd;
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = xcalloc(1, sizeof *w);
	w->catalog = c;
	w->source_id = source_id;
	w->taken_ms = taken_ms;
	w->lock_fd = fd;
	(void)pthread_mutex_init(&w->mutex, NULL);
	int r = pack_writer_new(&w->writer, c, taken_ms, e);
	if (r < 0)
		return r;
	struct store_db *db = store_write_begin(c, STORE_LAZY, e);
	if (!db)
		return err_code(e);
	r = store_reserve(db, "snapshot", 1, &w->id, e);
	r = store_write_end(c, db, r, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

int64_t snapshot_writer_id(const struct snapshot_writer *w)
{
	return w->id;
}

int64_t snapshot_writer_source(const struct snapshot_writer *w)
{
	return w->source_id;
}

void snapshot_writer_set_marks(struct snapshot_writer *w, struct mark_list *m)
{
	mark_list_done(&w->marks);
	w->marks = *m;
	*m = (struct mark_list){0};
	w->has_marks = true;
}

void snapshot_writer_set_base(struct snapshot_writer *w, int64_t snapshot_id)
{
	w->base_id = snapshot_id;
}

uint64_t snapshot_writer_rows(const struct snapshot_writer *w)
{
	uint64_t rows = 0;
	for (size_t i = 0; i < w->n_tables; i++)
		rows += w->table[i].m.rows;
	return rows;
}

uint64_t snapshot_writer_bytes(struct snapshot_writer *w)
{
	return pack_writer_bytes(w->writer);
}

static void written_table_done(struct written_table *t)
{
	free(t->m.name);
	names_changes_free(t->names);
	for (size_t i = 0; i < t->n_pages; i++) {
		strbuf_done(&t->page[i].data);
		strbuf_done(&t->page[i].sep);
	}
	free(t->page);
	*t = (struct written_table){0};
}

void snapshot_writer_free(struct snapshot_writer *w)
{
	if (!w)
		return;
	pack_writer_free(w->writer);
	for (size_t i = 0; i < w->n_tables; i++)
		written_table_done(&w->table[i]);
	free(w->table);
	written_table_done(&w->names);
	mark_list_done(&w->marks);
	(void)pthread_mutex_destroy(&w->mutex);
	if (w->lock_fd >= 0)
		(void)close(w->lock_fd);
	free(w);
}

/* ---- packs ---- */

static int writer_close_pack(struct version_writer *v, struct err *e)
{
	if (!v->pack_rows)
		return 0;
	struct strbuf raw = {0};
	strbuf_reserve(&raw, v->head.len + v->lines.len + 10);
	varint_add(&raw, v->pack_rows);
	strbuf_add(&raw, v->head.data, v->head.len);
	uint8_t sha[ROW_SHA_LEN];
	hasher_begin(v->hasher);
	hasher_more(v->hasher, raw.data, raw.len);
	hasher_more(v->hasher, v->shas.data, v->shas.len);
	hasher_end(v->hasher, sha);
	strbuf_add(&raw, v->lines.data, v->lines.len);
	strbuf_clear(&v->head);
	strbuf_clear(&v->lines);
	strbuf_clear(&v->shas);
	v->pack_rows = 0;
	return pack_writer_add(v->writer, v->pack_id, &raw, sha, e);
}

/* ---- extents and pages ---- */

static void writer_close_page(struct version_writer *v)
{
	if (!v->page_extents)
		return;
	struct written_table *t = &v->out;
	if ((t->n_pages & (t->n_pages - 1)) == 0)
		t->page = xrealloc(t->page, (t->n_pages ? t->n_pages * 2 : 1) * sizeof *t->page);
	struct written_page *p = &t->page[t->n_pages++];
	*p = (struct written_page){.rows = v->page_rows,
				   .line_bytes = v->page_line_bytes,
				   .file_bytes = v->page_file_bytes,
				   .data = v->page,
				   .sep = v->page_sep};
	hasher_sha256(v->hasher, p->data.data, p->data.len, p->sha);
	v->page = v->page_sep = (struct strbuf){0};
	v->page_extents = 0;
	v->page_pack = 0;
	v->page_rows = v->page_line_bytes = v->page_file_bytes = 0;
}

static uint64_t extent_hash(const struct extent *x)
{
	uint64_t h = (uint64_t)x->pack * 0x9e3779b97f4a7c15u ^ ((uint64_t)x->first << 32 | x->count);
	h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9u;
	return h ^ (h >> 32);
}

static void writer_close_extent(struct version_writer *v)
{
	struct extent *x = &v->extent;
	if (!x->count)
		return;
	/* The separator of a page's first extent is kept with the version, so that a page depends on its extents alone.
	 */
	size_t sep_len = v->extent_sep.len;
	if (v->page_extents == 0) {
		strbuf_clear(&v->page_sep);
		strbuf_add(&v->page_sep, v->extent_sep.data, v->extent_sep.len);
		sep_len = 0;
	}
	int64_t delta = x->pack - v->page_pack;
	varint_add(&v->page, ((uint64_t)delta << 1) ^ (uint64_t)(delta >> 63));
	varint_add(&v->page, x->first);
	varint_add(&v->page, x->count);
	varint_add(&v->page, x->line_bytes);
	varint_add(&v->page, x->file_bytes - (x->line_bytes - x->count));
	varint_add(&v->page, sep_len);
	strbuf_add(&v->page, v->extent_sep.data, sep_len);
	v->page_pack = x->pack;
	v->page_extents++;
	v->page_rows += x->count;
	v->page_line_bytes += x->line_bytes;
	v->page_file_bytes += x->file_bytes;
	if ((v->page_extents > PAGE_MIN && (extent_hash(x) & PAGE_CUT_MASK) == 0) || v->page_extents == PAGE_MAX)
		writer_close_page(v);
	x->count = 0;
}

/* The last key of rows that were kept unread. */
static int writer_find_last_key(struct version_writer *v, struct err *e)
{
	_cleanup_(cleanup_pack) struct pack *p = NULL;
	strbuf_clear(&v->last_key);
	int r = pack_get(v->w->catalog, v->last_ref.pack, &p, e);
	if (r == 0)
		r = pack_key_of(p, v->last_ref.index, &v->last_key, e);
	if (r < 0) /* a pack of the base: as stream/splice.h says of it */
		return r == -EIO || r == -ENOENT ? err_set(e, EUCLEAN, "%s", e->msg) : r;
	v->last_known = true;
	return 0;
}

static int writer_out_of_order(const struct version_writer *v, struct err *e)
{
	return err_set(e, EILSEQ, "table %s: two rows have the same key, or keys are out of order", v->out.m.name);
}

/* The place after the last row, for a row with this key: its separator is the shortest one. */
static int writer_set_sep(struct version_writer *v, const void *key, size_t key_len, struct err *e)
{
	strbuf_clear(&v->extent_sep);
	if (v->rows == 0)
		return 0; /* nothing before: every key is greater than "" */
	int r = v->last_known ? 0 : writer_find_last_key(v, e);
	if (r < 0)
		return r;
	size_t i = 0;
	while (i < v->last_key.len && i < key_len && v->last_key.data[i] == ((const char *)key)[i])
		i++;
	strbuf_add(&v->extent_sep, key, i < key_len ? i + 1 : key_len);
	return 0;
}

/* Adds rows of one pack that follow each other. sep NULL: found from first_key. last_key NULL: not known. */
static int writer_append(struct version_writer *v, const struct extent *rows, const void *first_key,
			 size_t first_key_len, const void *last_key, size_t last_key_len, struct err *e)
{
	const void *low = rows->sep ? (const void *)rows->sep : first_key;
	size_t low_len = rows->sep ? rows->sep_len : first_key_len;
	if (v->rows && v->last_known && key_compare(low, low_len, v->last_key.data, v->last_key.len) <= 0)
		return writer_out_of_order(v, e);
	struct extent *x = &v->extent;
	if (!x->count || x->pack != rows->pack || x->first + x->count != rows->first) {
		writer_close_extent(v);
		int r = 0;
		strbuf_clear(&v->extent_sep);
		if (!rows->sep)
			r = writer_set_sep(v, first_key, first_key_len, e);
		else if (v->rows)
			strbuf_add(&v->extent_sep, rows->sep, rows->sep_len);
		if (r < 0)
			return r;
		*x = (struct extent){.pack = rows->pack, .first = rows->first};
	}
	x->count += rows->count;
	x->line_bytes += rows->line_bytes;
	x->file_bytes += rows->file_bytes;
	v->rows += rows->count;
	v->line_bytes += rows->line_bytes;
	v->file_bytes += rows->file_bytes;
	v->last_ref = (struct row_ref){rows->pack, rows->first + rows->count - 1};
	v->last_known = last_key != NULL;
	strbuf_clear(&v->last_key);
	strbuf_add(&v->last_key, last_key, last_key_len);
	return 0;
}

int version_writer_keep(struct version_writer *v, const struct stored_row *row, struct err *e)
{
	struct extent one = {.pack = row->ref.pack,
			     .first = row->ref.index,
			     .count = 1,
			     .line_bytes = row->line_len + 1,
			     .file_bytes = row->file_size};
	return writer_append(v, &one, row->key, row->key_len, row->key, row->key_len, e);
}

int version_writer_keep_extent(struct version_writer *v, const struct extent *x, struct err *e)
{
	return writer_append(v, x, NULL, 0, NULL, 0, e);
}

int version_writer_keep_rows(struct version_writer *v, const struct pack *p, uint32_t first, uint32_t count,
			     const void *sep, size_t sep_len, struct err *e)
{
	if (!count)
		return 0;
	struct extent part = {.pack = p->id,
			      .first = first,
			      .count = count,
			      .line_bytes = p->line_at[first + count] - p->line_at[first],
			      .sep = sep,
			      .sep_len = sep_len};
	for (uint32_t i = first; i < first + count; i++)
		part.file_bytes += p->file_size[i];
	_cleanup_strbuf_ struct strbuf low = {0}, high = {0};
	int r = pack_key_of(p, first, &low, e);
	if (r == 0)
		r = pack_key_of(p, first + count - 1, &high, e);
	return r < 0 ? r : writer_append(v, &part, low.data, low.len, high.data, high.len, e);
}

int version_writer_new_row(struct version_writer *v, const void *key, size_t key_len, uint64_t number, const char *line,
			   size_t line_len, const uint8_t sha[ROW_SHA_LEN], struct err *e)
{
	if (line_len > (1U << 30) - 4096)
		return err_set(e, EFBIG, "table %s: a row of %zu bytes; the catalog keeps rows up to 1 GiB",
			       v->out.m.name, line_len);
	int r = 0;
	if (v->pack_rows && (v->lines.len + line_len > PACK_RAW_TARGET || v->pack_rows == PACK_MAX_ROWS))
		r = writer_close_pack(v, e);
	if (r == 0 && v->pack_rows == 0)
		r = pack_writer_id(v->w->writer, &v->pack_id, e);
	if (r < 0)
		return r;
	uint64_t file_size = row_pretty_size(line, line_len);
	struct extent one = {
	    .pack = v->pack_id, .first = v->pack_rows, .count = 1, .line_bytes = line_len + 1, .file_bytes = file_size};
	r = writer_append(v, &one, key, key_len, key, key_len, e);
	if (r < 0)
		return r;
	v->new_rows++;
	varint_add(&v->head, file_size - line_len);
	if (v->hashed)
		varint_add(&v->head, number);
	strbuf_add(&v->lines, line, line_len);
	strbuf_addch(&v->lines, '\n');
	strbuf_add(&v->shas, sha, ROW_SHA_LEN);
	v->pack_rows++;
	return names_changes_add(v->out.names, key, key_len, line, line_len, e);
}

int version_writer_gone(struct version_writer *v, const void *key, size_t key_len, const char *line, size_t line_len,
			struct err *e)
{
	return names_changes_remove(v->out.names, key, key_len, line, line_len, e);
}

/* ---- tables ---- */

/* Takes *t. */
static void writer_add_table(struct snapshot_writer *w, struct written_table *t)
{
	MUTEX_GUARD(&w->mutex);
	if (w->n_tables == w->cap_tables) {
		w->cap_tables = w->cap_tables ? w->cap_tables * 2 : 32;
		w->table = xrealloc(w->table, w->cap_tables * sizeof *w->table);
	}
	w->table[w->n_tables++] = *t;
	*t = (struct written_table){0};
}

int snapshot_writer_table(struct snapshot_writer *w, const struct db_table *t, struct version_writer **ret,
			  struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = xcalloc(1, sizeof *v);
	v->w = w;
	v->out.m.name = xstrdup(t->name);
	v->out.m.has_auto_increment = t->has_auto_increment;
	v->out.m.auto_increment = t->auto_increment;
	int r = store_codec_id(w->catalog, t, &v->codec_id, e);
	if (r == 0)
		r = catalog_codec(w->catalog, v->codec_id, &v->codec, e);
	if (r == 0)
		r = names_changes_new(&v->out.names, w->catalog, v->codec, e);
	if (r == 0)
		r = pack_writer_table(&v->writer, w->writer, v->codec_id, e);
	if (r < 0)
		return r;
	v->out.codec_id = v->codec_id;
	v->hashed = row_key_is_hashed(v->codec);
	v->hasher = hasher_new();
	*ret = TAKE_PTR(v);
	return 0;
}

int64_t version_writer_codec_id(const struct version_writer *v)
{
	return v->codec_id;
}

const struct row_codec *version_writer_codec(const struct version_writer *v)
{
	return v->codec;
}

int version_writer_finish(struct version_writer *v, const struct digest *d, const struct version_info *base,
			  int64_t since_ms, struct err *e)
{
	if (d->count != v->rows)
		return err_set(e, EIO, "table %s: %" PRIu64 " rows hashed, %" PRIu64 " written", v->out.m.name,
			       d->count, v->rows);
	int r = writer_close_pack(v, e);
	if (r == 0)
		r = pack_writer_end_table(v->writer, e);
	if (r < 0)
		return r;
	writer_close_extent(v);
	writer_close_page(v);
	v->out.m.rows = v->rows;
	v->out.m.line_bytes = v->line_bytes;
	v->out.m.file_bytes = v->file_bytes;
	memcpy(v->out.m.digest, d->sum, sizeof v->out.m.digest);
	v->out.m.since_ms = since_ms ? since_ms : v->w->taken_ms;
	/* Kept rows are the base's, each once: as many of them as it has are all of them. */
	if (base && !v->new_rows && v->rows == base->rows && base->codec_id == v->codec_id &&
	    (!since_ms || base->since_ms == since_ms)) {
		if (!digest_equal(d, &base->digest))
			return err_set(e, EIO, "table %s: the same rows with another digest", v->out.m.name);
		v->out.version_id = base->id;
		v->out.m.since_ms = base->since_ms;
	}
	v->out.whole = !base;
	if (v->into) {
		*v->into = v->out;
		v->out = (struct written_table){0};
	} else {
		writer_add_table(v->w, &v->out);
	}
	return 0;
}

void version_writer_free(struct version_writer *v)
{
	if (!v)
		return;
	written_table_done(&v->out);
	hasher_free(v->hasher);
	strbuf_done(&v->head);
	strbuf_done(&v->lines);
	strbuf_done(&v->shas);
	strbuf_done(&v->extent_sep);
	strbuf_done(&v->last_key);
	strbuf_done(&v->page);
	strbuf_done(&v->page_sep);
	free(v);
}

struct manifest_table *snapshot_writer_find(struct snapshot_writer *w, const char *table)
{
	for (size_t i = 0; i < w->n_tables; i++)
		if (!strcmp(w->table[i].m.name, table))
			return &w->table[i].m;
	return NULL;
}

/* ---- the index of names ---- */

static int writer_names(struct snapshot_writer *w, const struct names_table *t, size_t n, struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	struct version_info same = {0};
	int r = snapshot_writer_table(w, names_description(), &v, e);
	if (r < 0)
		return r;
	v->into = &w->names;
	r = names_write(w->catalog, w->base_id, t, n, v, &same, e);
	if (r == 2) {
		w->names = (struct written_table){.m.name = TAKE_PTR(same.name), .version_id = same.id};
		version_info_done(&same);
	}
	return r < 0 ? r : 0;
}

static int writer_table_names(struct snapshot_writer *w, struct err *e)
{
	_cleanup_free_ struct names_table *t = xcalloc(w->n_tables + 1, sizeof *t);
	for (size_t i = 0; i < w->n_tables; i++)
		t[i] = (struct names_table){w->table[i].m.name, w->table[i].names, w->table[i].whole};
	return writer_names(w, t, w->n_tables, e);
}

/* ---- the snapshot ---- */

static int commit_page(struct store_db *db, const struct written_page *p, int64_t *ret, struct err *e)
{
	sqlite3_stmt *st = store_stmt(db, STMT_PAGE_FIND, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_blob(st, 1, p->sha, sizeof p->sha, SQLITE_STATIC);
	bool found = sqlite3_step(st) == SQLITE_ROW;
	if (found)
		*ret = sqlite3_column_int64(st, 0);
	(void)sqlite3_reset(st);
	if (found)
		return 0;
	st = store_stmt(db, STMT_PAGE_INSERT, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_blob(st, 1, p->sha, sizeof p->sha, SQLITE_STATIC);
	_cleanup_strbuf_ struct strbuf stored = {0};
	page_pack(&p->data, &stored);
	sqlite3_bind_blob64(st, 2, stored.data, stored.len, SQLITE_STATIC);
	int r = store_run(db, st, "storing a page", e);
	*ret = sqlite3_last_insert_rowid(db->h);
	return r;
}

static int commit_version(struct store_db *db, struct written_table *t, struct err *e)
{
	_cleanup_strbuf_ struct strbuf pages = {0};
	for (size_t i = 0; i < t->n_pages; i++) {
		int64_t id = 0;
		int r = commit_page(db, &t->page[i], &id, e);
		if (r < 0)
			return r;
		varint_add(&pages, (uint64_t)id);
		varint_add(&pages, t->page[i].rows);
		varint_add(&pages, t->page[i].line_bytes);
		varint_add(&pages, t->page[i].file_bytes);
		varint_add(&pages, t->page[i].sep.len);
		strbuf_add(&pages, t->page[i].sep.data, t->page[i].sep.len);
	}
	sqlite3_stmt *st = store_stmt(db, STMT_VERSION_INSERT, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_int64(st, 1, t->codec_id);
	sqlite3_bind_int64(st, 2, (int64_t)t->m.rows);
	sqlite3_bind_int64(st, 3, (int64_t)t->m.line_bytes);
	sqlite3_bind_int64(st, 4, (int64_t)t->m.file_bytes);
	sqlite3_bind_blob(st, 5, t->m.digest, sizeof t->m.digest, SQLITE_STATIC);
	sqlite3_bind_blob64(st, 6, strbuf_str(&pages), pages.len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 7, t->m.since_ms);
	int r = store_run(db, st, "storing a table version", e);
	t->version_id = sqlite3_last_insert_rowid(db->h);
	return r;
}

static int commit_schema(struct store_db *db, const uint8_t sha[ROW_SHA_LEN], const char *text, size_t len,
			 int64_t *ret, struct err *e)
{
	sqlite3_stmt *st = store_stmt(db, STMT_SCHEMA_FIND, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_blob(st, 1, sha, ROW_SHA_LEN, SQLITE_STATIC);
	bool found = sqlite3_step(st) == SQLITE_ROW;
	if (found)
		*ret = sqlite3_column_int64(st, 0);
	(void)sqlite3_reset(st);
	if (found)
		return 0;
	const void *z;
	size_t z_len;
	_cleanup_(cleanup_compressor) struct compressor *compressor = compressor_new();
	int r = compressor_compress(compressor, NULL, text, len, &z, &z_len, e);
	if (r < 0)
		return r;
	st = store_stmt(db, STMT_SCHEMA_INSERT, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_blob(st, 1, sha, ROW_SHA_LEN, SQLITE_STATIC);
	sqlite3_bind_blob64(st, 2, z, z_len, SQLITE_STATIC);
	r = store_run(db, st, "storing the schema", e);
	*ret = sqlite3_last_insert_rowid(db->h);
	return r;
}

/* The marks of a source are its newest captured snapshot's: one set. */
static int commit_marks(struct snapshot_writer *w, struct store_db *db, struct err *e)
{
	sqlite3_stmt *st = store_stmt(db, STMT_MARKS_DELETE, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_int64(st, 1, w->source_id);
	int r = store_run(db, st, "storing marks", e);
	for (size_t i = 0; r == 0 && i < w->marks.n; i++) {
		const struct mark *m = &w->marks.v[i];
		if (!m->text)
			continue;
		st = store_stmt(db, STMT_MARK_INSERT, e);
		if (!st)
			return err_code(e);
		sqlite3_bind_int64(st, 1, w->source_id);
		sqlite3_bind_text(st, 2, m->table, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 3, w->id);
		sqlite3_bind_int64(st, 4, m->age);
		sqlite3_bind_text(st, 5, m->text, -1, SQLITE_STATIC);
		r = store_run(db, st, "storing marks", e);
	}
	return r;
}

static int commit_names(struct snapshot_writer *w, struct store_db *db, int64_t snapshot_id, struct err *e)
{
	int r = w->names.m.name && !w->names.version_id ? commit_version(db, &w->names, e) : 0;
	if (r < 0 || !w->names.m.name)
		return r;
	sqlite3_stmt *st = store_stmt(db, STMT_NAMES_INSERT, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_int64(st, 1, snapshot_id);
	sqlite3_bind_int64(st, 2, w->names.version_id);
	return store_run(db, st, "storing the index of entities", e);
}

static int commit_in(struct snapshot_writer *w, struct store_db *db, const char *name, struct manifest *m,
		     size_t manifest_len, const char *schema_sql, size_t schema_len, struct err *e)
{
	int r = pack_writer_store(w->writer, db, e);
	for (size_t i = 0; r == 0 && i < w->n_tables; i++)
		if (!w->table[i].version_id)
			r = commit_version(db, &w->table[i], e);
	int64_t schema_id = 0;
	if (r == 0)
		r = commit_schema(db, m->schema_sha256, schema_sql, schema_len, &schema_id, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf text = {0};
	manifest_render(m, &text);
	uint64_t rows = 0, bytes = 0;
	for (size_t i = 0; i < w->n_tables; i++) {
		rows += w->table[i].m.rows;
		bytes += w->table[i].m.line_bytes;
	}
	sqlite3_stmt *st = store_stmt(db, STMT_SNAPSHOT_INSERT, e);
	if (!st)
		return err_code(e);
	sqlite3_bind_int64(st, 1, w->id);
	sqlite3_bind_int64(st, 2, w->source_id);
	sqlite3_bind_text(st, 3, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, w->taken_ms);
	sqlite3_bind_text(st, 5, m->engine, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 6, m->server_version, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 7, m->app_version, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 8, schema_id);
	sqlite3_bind_int64(st, 9, (int64_t)schema_len);
	sqlite3_bind_int64(st, 10, (int64_t)w->n_tables);
	sqlite3_bind_int64(st, 11, (int64_t)rows);
	sqlite3_bind_int64(st, 12, (int64_t)bytes);
	sqlite3_bind_int64(st, 13, (int64_t)pack_writer_bytes(w->writer));
	sqlite3_bind_blob64(st, 14, text.data, text.len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 15, (int64_t)manifest_len);
	sqlite3_bind_int64(st, 16, m->schema_since_ms);
	r = store_run(db, st, "storing the snapshot", e);
	if (r == -EEXIST)
		r = err_set(e, EEXIST, "snapshot '%s' exists already", name ? name : "");
	for (size_t i = 0; r == 0 && i < w->n_tables; i++) {
		st = store_stmt(db, STMT_SNAPSHOT_TABLE_INSERT, e);
		if (!st)
			return err_code(e);
		sqlite3_bind_int64(st, 1, w->id);
		sqlite3_bind_int64(st, 2, (int64_t)i);
		sqlite3_bind_text(st, 3, w->table[i].m.name, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 4, w->table[i].version_id);
		r = store_run(db, st, "storing the snapshot", e);
	}
	if (r == 0)
		r = commit_names(w, db, w->id, e);
	if (r == 0 && w->has_marks)
		r = commit_marks(w, db, e);
	return r;
}

static int written_by_name(const void *a, const void *b)
{
	return strcmp(((const struct written_table *)a)->m.name, ((const struct written_table *)b)->m.name);
}

int snapshot_writer_commit(struct snapshot_writer *w, const char *name, struct manifest *m, const char *schema_sql,
			   size_t schema_len, struct err *e)
{
	qsort(w->table, w->n_tables, sizeof *w->table, written_by_name);
	for (size_t i = 0; i < m->n_tables; i++)
		free(m->tables[i].name);
	m->tables = xrealloc(m->tables, (w->n_tables + 1) * sizeof *m->tables);
	m->n_tables = w->n_tables;
	for (size_t i = 0; i < w->n_tables; i++) {
		m->tables[i] = w->table[i].m;
		m->tables[i].name = xstrdup(w->table[i].m.name);
	}
	m->taken_ms = w->taken_ms;
	if (!m->schema_since_ms)
		m->schema_since_ms = w->taken_ms;
	_cleanup_(cleanup_hasher) struct hasher *hasher = hasher_new();
	hasher_sha256(hasher, schema_sql, schema_len, m->schema_sha256);
	_cleanup_strbuf_ struct strbuf full = {0};
	_cleanup_free_ int64_t *codec_ids = xcalloc(w->n_tables, sizeof *codec_ids);
	for (size_t i = 0; i < w->n_tables; i++)
		codec_ids[i] = w->table[i].codec_id;
	int r = store_manifest_full(w->catalog, m, codec_ids, &full, e);
	if (r < 0)
		return r;
	r = writer_table_names(w, e);
	if (r == 0)
		r = pack_writer_wait(w->writer, e);
	if (r < 0)
		return r;
	struct store_db *db = store_write_begin(w->catalog, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	return store_write_end(w->catalog, db, commit_in(w, db, name, m, full.len, schema_sql, schema_len, e), e);
}

int snapshot_writer_commit_names(struct snapshot_writer *w, int64_t snapshot_id, const struct names_table *t, size_t n,
				 struct err *e)
{
	int r = writer_names(w, t, n, e);
	if (r == 0 && !w->names.m.name)
		return 1;
	if (r == 0)
		r = pack_writer_wait(w->writer, e);
	if (r < 0)
		return r;
	struct store_db *db = store_write_begin(w->catalog, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	r = pack_writer_store(w->writer, db, e);
	if (r == 0)
		r = commit_names(w, db, snapshot_id, e);
	return store_write_end(w->catalog, db, r, e);
}
