/*
 * snapshot/store/extent.c - see extent.h: the extents of a page, and those of a version in key order.
 *
 * A cursor belongs to one thread at a time.
 */
#include "snapshot/store/internal.h"

#include <errno.h>

int extent_next(const uint8_t **p, const uint8_t *end, int64_t *pack, struct extent *ret, struct err *e)
{
	uint64_t delta, first, count, bytes, files, sep;
	if (!varint_get(p, end, &delta) || !varint_get(p, end, &first) || !varint_get(p, end, &count) ||
	    !varint_get(p, end, &bytes) || !varint_get(p, end, &files) || !varint_get(p, end, &sep) ||
	    sep > (uint64_t)(end - *p) || first > PACK_MAX_ROWS || count > PACK_MAX_ROWS || count == 0 || bytes < count)
		return err_set(e, EIO, "catalog: a page is damaged");
	*pack += (int64_t)(delta >> 1) ^ -(int64_t)(delta & 1);
	*ret = (struct extent){.pack = *pack,
			       .first = (uint32_t)first,
			       .count = (uint32_t)count,
			       .line_bytes = bytes,
			       .file_bytes = files + (bytes - count),
			       .sep = *p,
			       .sep_len = sep};
	*p += sep;
	return 0;
}

int key_compare(const void *a, size_t an, const void *b, size_t bn)
{
	int d = memcmp(a, b, an < bn ? an : bn);
	return d ? d : (an > bn) - (an < bn);
}

struct extent_cursor {
	struct catalog *catalog;
	struct blob *version, *page;
	size_t next_page, next; /* offsets in version and page */
	int64_t pack;           /* delta base */
	uint64_t rows;
};

void extent_cursor_close(struct extent_cursor *ec)
{
	if (!ec)
		return;
	blob_unref(ec->version);
	blob_unref(ec->page);
	free(ec);
}

int extent_cursor_open(struct extent_cursor **ret, struct catalog *c, int64_t version_id, struct err *e)
{
	_cleanup_(cleanup_extent_cursor) struct extent_cursor *ec = xcalloc(1, sizeof *ec);
	ec->catalog = c;
	int r = version_load(c, version_id, &ec->version, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(ec);
	return 0;
}

int extent_cursor_next(struct extent_cursor *ec, struct extent *ret, struct err *e)
{
	const struct blob *v = ec->version;
	struct page_entry pe = {0};
	if (!ec->page || ec->next == ec->page->len) {
		if (ec->next_page == v->len)
			return ec->rows == v->rows
				   ? 0
				   : err_set(e, EIO, "catalog: a table version is damaged: it ends early");
		const uint8_t *p = v->data + ec->next_page;
		int r = page_entry_next(&p, v->data + v->len, &pe, e);
		if (r < 0)
			return r;
		r = page_load(ec->catalog, pe.id, &ec->page, e);
		if (r < 0)
			return r;
		ec->next_page = (size_t)(p - v->data);
		ec->next = 0;
		ec->pack = 0;
	}
	const uint8_t *p = ec->page->data + ec->next;
	int r = extent_next(&p, ec->page->data + ec->page->len, &ec->pack, ret, e);
	if (r < 0)
		return r;
	ec->next = (size_t)(p - ec->page->data);
	if (pe.id) { /* a page's first separator is kept with the version */
		ret->sep = pe.sep;
		ret->sep_len = pe.sep_len;
	}
	ec->rows += ret->count;
	return 1;
}
