/*
 * snapshot/store/seek.c - finding the extent of a version that holds a row number, a byte or a key.
 *
 * Any thread; a place belongs to one. A lookup reads the version's page list, which is one small blob, and one page.
 */
#include "snapshot/store/internal.h"

#include <errno.h>

void place_done(struct place *pl)
{
	blob_unref(pl->page);
}

/* Linear over the version's page entries and one page: both are short (some 32 extents a page), and each is one
 * blob. */
int version_seek(struct catalog *c, const struct blob *vb, enum seek how, uint64_t n, const void *key, size_t key_len,
		 struct place *pl, struct err *e)
{
	const uint8_t *p = vb->data, *end = p + vb->len;
	uint64_t row = 0, byte = 0;
	struct page_entry at = {0}, best = {0};
	bool found = false;
	while (p < end) {
		int r = page_entry_next(&p, end, &at, e);
		if (r < 0)
			return r;
		if (how == SEEK_KEY) {
			if (found && key_compare(at.sep, at.sep_len, key, key_len) > 0)
				break;
		} else if (found && (how == SEEK_ROW ? row : byte) > n) {
			break;
		}
		if (how != SEEK_KEY && n >= (how == SEEK_ROW ? row + at.rows : byte + at.line_bytes)) {
			row += at.rows;
			byte += at.line_bytes;
			continue;
		}
		if (how == SEEK_KEY && found) {
			row += best.rows;
			byte += best.line_bytes;
		}
		best = at;
		pl->next_page = p;
		found = true;
		if (how != SEEK_KEY)
			break;
	}
	if (!found)
		return 0;
	int r = page_load(c, best.id, &pl->page, e);
	if (r < 0)
		return r;
	const uint8_t *x = pl->page->data, *xend = x + pl->page->len;
	int64_t pack = 0;
	bool have = false;
	struct extent ex;
	while (x < xend) {
		r = extent_next(&x, xend, &pack, &ex, e);
		if (r < 0)
			return r;
		bool first = !have;
		if (how == SEEK_KEY) {
			if (!first && key_compare(ex.sep, ex.sep_len, key, key_len) > 0)
				break;
			if (!first) {
				row += pl->extent.count;
				byte += pl->extent.line_bytes;
			}
		} else if (n >= (how == SEEK_ROW ? row + ex.count : byte + ex.line_bytes)) {
			row += ex.count;
			byte += ex.line_bytes;
			continue;
		}
		pl->extent = ex;
		pl->next = x;
		pl->pack = pack;
		pl->row = row;
		pl->byte = byte;
		have = true;
		if (how != SEEK_KEY)
			break;
	}
	return have ? 1 : err_set(e, EIO, "catalog: a page is shorter than its version says");
}

int place_advance(struct catalog *c, const struct blob *vb, struct place *pl, struct err *e)
{
	pl->row += pl->extent.count;
	pl->byte += pl->extent.line_bytes;
	const uint8_t *xend = pl->page->data + pl->page->len;
	if (pl->next == xend) {
		const uint8_t *end = vb->data + vb->len;
		if (pl->next_page == end)
			return 0;
		struct page_entry pe;
		int r = page_entry_next(&pl->next_page, end, &pe, e);
		if (r < 0)
			return r;
		r = page_load(c, pe.id, &pl->page, e);
		if (r < 0)
			return r;
		pl->next = pl->page->data;
		pl->pack = 0;
		xend = pl->next + pl->page->len;
	}
	int r = extent_next(&pl->next, xend, &pl->pack, &pl->extent, e);
	return r < 0 ? r : 1;
}

void place_skip_page(struct place *pl, const struct page_entry *pe, const uint8_t *behind)
{
	pl->row += pl->extent.count + pe->rows;
	pl->byte += pl->extent.line_bytes + pe->line_bytes;
	pl->extent = (struct extent){0};
	pl->next_page = behind;
}
