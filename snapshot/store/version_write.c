/*
 * snapshot/store/version_write.c - see version_write.h: making a table's version of rows that are kept and rows that
 * are new.
 *
 * A version writer belongs to one thread; several may write tables of one snapshot. Packs go to the threads of
 * pack_writer.c.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

/* A page ends after the extent whose hash has these bits clear, but not before its 17th: 32 extents on average. A
 * changed row costs a page: smaller ones cost less after many snapshots, larger ones compress better and are fewer. */
#define PAGE_CUT_MASK 15U
#define PAGE_MIN 16U
#define PAGE_MAX 1024U

void written_table_done(struct written_table *t)
{
	free(t->m.name);
	for (size_t i = 0; i < t->n_pages; i++) {
		strbuf_done(&t->page[i].data);
		strbuf_done(&t->page[i].sep);
	}
	free(t->page);
	*t = (struct written_table){0};
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
	if (r < 0) /* a pack of the base: what of it cannot be read is not the failure of what is written */
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

/* ---- rows ---- */

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
	if (r < 0)
		return r;
	r = pack_key_of(p, first + count - 1, &high, e);
	return r < 0 ? r : writer_append(v, &part, low.data, low.len, high.data, high.len, e);
}

int version_writer_new_row(struct version_writer *v, const void *key, size_t key_len, uint64_t number, const char *line,
			   size_t line_len, const uint8_t sha[ROW_SHA_LEN], struct err *e)
{
	if (line_len > (1U << 30) - 4096)
		return err_set(e, EFBIG, "table %s: a row of %zu bytes; the catalog keeps rows up to 1 GiB",
			       v->out.m.name, line_len);
	bool full = v->pack_rows && (v->lines.len + line_len > PACK_RAW_TARGET || v->pack_rows == PACK_MAX_ROWS);
	int r = full ? writer_close_pack(v, e) : 0;
	if (r < 0)
		return r;
	r = v->pack_rows ? 0 : pack_writer_id(v->w->writer, &v->pack_id, e);
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
	return v->watch.added ? v->watch.added(v->watch.arg, key, key_len, line, line_len, e) : 0;
}

int version_writer_gone(struct version_writer *v, const void *key, size_t key_len, const char *line, size_t line_len,
			struct err *e)
{
	return v->watch.gone ? v->watch.gone(v->watch.arg, key, key_len, line, line_len, e) : 0;
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
	if (r < 0)
		return r;
	r = catalog_codec(w->catalog, v->codec_id, &v->codec, e);
	if (r < 0)
		return r;
	r = pack_writer_table(&v->writer, w->writer, v->codec_id, e);
	if (r < 0)
		return r;
	v->out.codec_id = v->codec_id;
	v->hashed = row_key_is_hashed(v->codec);
	v->hasher = hasher_new();
	*ret = TAKE_PTR(v);
	return 0;
}

int snapshot_writer_index(struct snapshot_writer *w, const struct db_table *t, struct version_writer **ret,
			  struct err *e)
{
	int r = snapshot_writer_table(w, t, ret, e);
	if (r < 0)
		return r;
	(*ret)->into = &w->index;
	return 0;
}

void version_writer_set_watch(struct version_writer *v, const struct row_watch *watch)
{
	v->watch = *watch;
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
	if (r < 0)
		return r;
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
