/*
 * snapshot/store/version.c - reading table versions: from row number, key, name or reference to a row in a pack.
 *
 * Any thread; what is shared are the catalog's own parts and the caches of pages and packs. A lookup reads the
 * version's page list, one page of extents and one pack.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

static int stored_row_fill(struct pack *p, uint32_t index, uint64_t number, struct stored_row *ret, struct err *e)
{
	if (index >= p->rows)
		return err_set(e, EIO, "pack %" PRId64 " has no row %u", p->id, index);
	*ret = (struct stored_row){.ref = {p->id, index},
				   .number = number,
				   .file_size = p->file_size[index],
				   .first_seen_ms = p->first_seen_ms,
				   .codec = p->codec,
				   .pack = p};
	ret->line = pack_line(p, index, &ret->line_len);
	if (!ret->line_len) /* UINT64_MAX: by a number that outlived its snapshots, as that of a pack that is gone */
		return err_set(e, number == UINT64_MAX ? ENOENT : EIO, "row %u of pack %" PRId64 " was dropped", index,
			       p->id);
	return 0;
}

int stored_row_key(struct stored_row *row, struct err *e)
{
	if (row->key)
		return 0;
	int r = pack_keys(row->pack, e);
	if (r < 0)
		return r;
	row->key = pack_key(row->pack, row->ref.index, &row->key_len);
	return 0;
}

void stored_row_done(struct stored_row *r)
{
	pack_unref(r->pack);
	*r = (struct stored_row){0};
}

int64_t stored_row_mtime_ms(const struct stored_row *r)
{
	int64_t ms = row_updated_ms(r->codec, r->line, r->line_len);
	return ms >= 0 ? ms : r->first_seen_ms;
}

int catalog_row_by_ref(struct catalog *c, struct row_ref ref, struct stored_row *ret, struct err *e)
{
	struct pack *p;
	int r = pack_get(c, ref.pack, &p, e);
	if (r < 0)
		return r;
	r = stored_row_fill(p, ref.index, UINT64_MAX, ret, e);
	if (r < 0)
		pack_unref(p);
	return r;
}

/* ---- cursors ---- */

struct row_cursor {
	struct catalog *catalog;
	struct blob *version;
	struct place place;
	struct pack *pack;
	uint32_t at; /* rows of the extent already given */
	bool end;
	bool sparse;       /* what is shared with another version is left out */
	unsigned few;      /* rows of the pack that were given so far, */
	struct strbuf key; /* with this key */
};

void row_cursor_close(struct row_cursor *rc)
{
	if (!rc)
		return;
	pack_unref(rc->pack);
	blob_unref(rc->version);
	place_done(&rc->place);
	strbuf_done(&rc->key);
	free(rc);
}

static int cursor_open(struct row_cursor **ret, struct catalog *c, int64_t version_id, enum seek how, uint64_t first,
		       const void *key, size_t key_len, struct err *e)
{
	_cleanup_(cleanup_row_cursor) struct row_cursor *rc = xcalloc(1, sizeof *rc);
	rc->catalog = c;
	int r = version_load(c, version_id, &rc->version, e);
	if (r < 0)
		return r;
	r = version_seek(c, rc->version, how, first, key, key_len, &rc->place, e);
	if (r < 0)
		return r;
	rc->end = r == 0;
	if (rc->end && first < rc->version->rows)
		return err_set(e, EIO, "catalog: a table version is damaged: it has no row %" PRIu64 " of its %" PRIu64,
			       first, rc->version->rows);
	if (!rc->end && how == SEEK_ROW)
		rc->at = (uint32_t)(first - rc->place.row);
	*ret = TAKE_PTR(rc);
	return 0;
}

int row_cursor_open(struct row_cursor **ret, struct catalog *c, int64_t version_id, uint64_t first, struct err *e)
{
	return cursor_open(ret, c, version_id, SEEK_ROW, first, NULL, 0, e);
}

/* At the extent of the next row: 1, or 0 at the end. */
static int cursor_settle(struct row_cursor *rc, struct err *e)
{
	while (!rc->end && rc->at == rc->place.extent.count) {
		int r = place_advance(rc->catalog, rc->version, &rc->place, e);
		if (r == 0 && rc->place.row != rc->version->rows)
			r = err_set(e, EIO,
				    "catalog: a table version is damaged: it ends after %" PRIu64 " of its %" PRIu64
				    " rows",
				    rc->place.row, rc->version->rows);
		if (r < 0)
			return r;
		rc->end = r == 0;
		rc->at = 0;
	}
	return !rc->end;
}

#define CURSOR_FEW 4U

/* Where most rows are left out, the key of this one alone is made; those of the whole pack, when several of it come. */
static int cursor_key(struct row_cursor *rc, struct stored_row *row, struct err *e)
{
	if (!rc->sparse || ++rc->few > CURSOR_FEW)
		return stored_row_key(row, e);
	strbuf_clear(&rc->key);
	int r = pack_key_of(rc->pack, row->ref.index, &rc->key, e);
	row->key = strbuf_str(&rc->key);
	row->key_len = rc->key.len;
	return r;
}

int row_cursor_next(struct row_cursor *rc, struct stored_row *ret, struct err *e)
{
	int r = cursor_settle(rc, e);
	if (r <= 0)
		return r;
	if (!rc->pack || rc->pack->id != rc->place.extent.pack) {
		pack_unref(rc->pack);
		rc->pack = NULL;
		rc->few = 0;
		r = pack_get(rc->catalog, rc->place.extent.pack, &rc->pack, e);
		if (r < 0)
			/* A page names it: its absence is damage, not "no such row". */
			return r == -ENOENT
				   ? err_set(e, EIO, "catalog: pack %" PRId64 " is missing", rc->place.extent.pack)
				   : r;
	}
	r = stored_row_fill(rc->pack, rc->place.extent.first + rc->at, rc->place.row + rc->at, ret, e);
	if (r < 0)
		return r;
	r = cursor_key(rc, ret, e);
	if (r < 0)
		return r;
	rc->at++;
	return 1;
}

static bool cursor_at_page_end(const struct row_cursor *rc)
{
	const struct place *pl = &rc->place;
	return !rc->end && rc->at == pl->extent.count && pl->next == pl->page->data + pl->page->len;
}

/* Pages that come next in both are left out unread. */
static int cursor_skip_pages(struct row_cursor *a, struct row_cursor *b, struct err *e)
{
	if (!cursor_at_page_end(a) || !cursor_at_page_end(b))
		return 0;
	const uint8_t *a_end = a->version->data + a->version->len, *b_end = b->version->data + b->version->len;
	for (;;) {
		const uint8_t *p = a->place.next_page, *q = b->place.next_page;
		struct page_entry x, y;
		if (p >= a_end || q >= b_end)
			return 0;
		int r = page_entry_next(&p, a_end, &x, e);
		if (r < 0)
			return r;
		r = page_entry_next(&q, b_end, &y, e);
		if (r < 0)
			return r;
		if (x.id != y.id)
			return 0;
		place_skip_page(&a->place, &x, p);
		place_skip_page(&b->place, &y, q);
		a->at = b->at = 0;
	}
}

int row_cursor_skip_shared(struct row_cursor *a, struct row_cursor *b, struct err *e)
{
	a->sparse = b->sparse = true;
	for (;;) {
		int r = cursor_skip_pages(a, b, e);
		if (r < 0)
			return r;
		r = cursor_settle(a, e);
		if (r > 0)
			r = cursor_settle(b, e);
		if (r <= 0)
			return r;
		const struct extent *x = &a->place.extent, *y = &b->place.extent;
		if (x->pack != y->pack || x->first + a->at != y->first + b->at)
			return 0;
		uint32_t left = x->count - a->at, right = y->count - b->at, n = left < right ? left : right;
		a->at += n;
		b->at += n;
	}
}

/* First row whose key is not below `key`: 1 and *ret (owning a pack reference), 0 none. Leaves rc behind it. */
static int cursor_lower_bound(struct row_cursor *rc, const void *key, size_t key_len, struct stored_row *ret,
			      struct err *e)
{
	for (;;) {
		int r = row_cursor_next(rc, ret, e);
		if (r <= 0)
			return r;
		if (key_compare(ret->key, ret->key_len, key, key_len) >= 0)
			return 1;
		/* Binary search inside the extent instead of walking it. */
		const struct extent *ex = &rc->place.extent;
		uint32_t low = rc->at, high = ex->count;
		while (low < high) {
			uint32_t mid = low + (high - low) / 2;
			size_t n;
			const void *k = pack_key(rc->pack, ex->first + mid, &n);
			if (key_compare(k, n, key, key_len) < 0)
				low = mid + 1;
			else
				high = mid;
		}
		rc->at = low;
	}
}

int row_cursor_seek(struct row_cursor **ret, struct catalog *c, int64_t version_id, const void *key, size_t key_len,
		    struct err *e)
{
	_cleanup_(cleanup_row_cursor) struct row_cursor *rc = NULL;
	struct stored_row row;
	int r = cursor_open(&rc, c, version_id, SEEK_KEY, 0, key, key_len, e);
	if (r < 0)
		return r;
	r = cursor_lower_bound(rc, key, key_len, &row, e);
	if (r < 0)
		return r;
	if (r == 1)
		rc->at--; /* it comes next */
	*ret = TAKE_PTR(rc);
	return 0;
}

/* ---- one row ---- */

/* The row with exactly this key: one page, one pack, and the keys of log2 of the pack's rows. */
static int row_by_key(struct catalog *c, const struct blob *vb, const void *key, size_t key_len, struct stored_row *ret,
		      struct err *e)
{
	_cleanup_(place_done) struct place pl = {0};
	_cleanup_(cleanup_pack) struct pack *p = NULL;
	_cleanup_strbuf_ struct strbuf probe = {0};
	int r = version_seek(c, vb, SEEK_KEY, 0, key, key_len, &pl, e);
	if (r <= 0)
		return r < 0 ? r : err_set(e, ENOENT, "no such row");
	r = pack_get(c, pl.extent.pack, &p, e);
	if (r < 0)
		return r == -ENOENT ? err_set(e, EIO, "catalog: pack %" PRId64 " is missing", pl.extent.pack) : r;
	uint32_t low = pl.extent.first, high = low + pl.extent.count;
	if (high > p->rows)
		return err_set(e, EIO, "pack %" PRId64 " is shorter than its page says", p->id);
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		strbuf_clear(&probe);
		r = pack_key_of(p, mid, &probe, e);
		if (r < 0)
			return r;
		int d = key_compare(probe.data, probe.len, key, key_len);
		if (d == 0) {
			r = stored_row_fill(p, mid, pl.row + (mid - pl.extent.first), ret, e);
			if (r == 0)
				p = NULL; /* the row's now */
			return r;
		}
		if (d < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return err_set(e, ENOENT, "no such row");
}

int catalog_row_by_name(struct catalog *c, int64_t version_id, const char *file_name, struct stored_row *ret,
			struct err *e)
{
	_cleanup_(cleanup_blob) struct blob *vb = NULL;
	int r = version_load(c, version_id, &vb, e);
	if (r < 0)
		return r;
	const struct row_codec *codec;
	r = catalog_codec(c, vb->codec_id, &codec, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf key = {0}, name = {0};
	int exact = row_key_of_name(codec, file_name, &key);
	if (exact < 0)
		return err_set(e, ENOENT, "no such row");
	if (exact == ROW_NAME_EXACT) {
		/* a name that is not written as we write it is nobody's */
		row_name(codec, key.data, key.len, &name);
		return strcmp(strbuf_str(&name), file_name) == 0 ? row_by_key(c, vb, strbuf_str(&key), key.len, ret, e)
								 : err_set(e, ENOENT, "no such row");
	}
	/* A shortened name stands for a range of keys: walk those with its prefix until one has this very name. */
	_cleanup_(cleanup_row_cursor) struct row_cursor *rc = NULL;
	r = cursor_open(&rc, c, version_id, SEEK_KEY, 0, strbuf_str(&key), key.len, e);
	if (r < 0)
		return r;
	struct stored_row row;
	r = cursor_lower_bound(rc, strbuf_str(&key), key.len, &row, e);
	for (; r == 1; r = row_cursor_next(rc, &row, e)) {
		if (row.key_len < key.len || memcmp(row.key, strbuf_str(&key), key.len) != 0)
			break;
		strbuf_clear(&name);
		row_name(codec, row.key, row.key_len, &name);
		if (!strcmp(strbuf_str(&name), file_name)) {
			*ret = row;
			(void)pack_hold(row.pack);
			return 0;
		}
	}
	return r < 0 ? r : err_set(e, ENOENT, "no such row");
}
