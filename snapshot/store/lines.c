/*
 * snapshot/store/lines.c - see lines.h. Any thread; nothing is kept between calls.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

void line_spans_done(struct line_spans *s)
{
	for (size_t i = 0; i < s->n; i++)
		pack_unref(s->packs[i]);
	free(s->v);
	free(s->packs);
	*s = (struct line_spans){0};
}

/* Takes the pack's reference. */
static void line_spans_add(struct line_spans *s, struct pack *p, const char *lines, size_t len)
{
	if (s->n >= 8 ? (s->n & (s->n - 1)) == 0 : s->n == 0) {
		size_t cap = s->n ? s->n * 2 : 8;
		s->v = xrealloc(s->v, cap * sizeof *s->v);
		s->packs = xrealloc(s->packs, cap * sizeof *s->packs);
	}
	s->v[s->n] = (struct iovec){(char *)(uintptr_t)lines, len};
	s->packs[s->n++] = p;
	s->bytes += len;
}

int catalog_line_spans(struct catalog *c, int64_t version_id, uint64_t offset, size_t n, struct line_spans *ret,
		       struct err *e)
{
	_cleanup_(line_spans_done) struct line_spans spans = {0};
	_cleanup_(cleanup_blob) struct blob *vb = NULL;
	_cleanup_(place_done) struct place pl = {0};
	int r = version_load(c, version_id, &vb, e);
	if (r < 0)
		return r;
	r = version_seek(c, vb, SEEK_BYTE, offset, NULL, 0, &pl, e);
	while (r == 1 && spans.bytes < n) {
		_cleanup_(cleanup_pack) struct pack *p = NULL;
		r = pack_get(c, pl.extent.pack, &p, e);
		if (r < 0)
			return r == -ENOENT ? err_set(e, EIO, "catalog: pack %" PRId64 " is missing", pl.extent.pack)
					    : r;
		if (pl.extent.first + pl.extent.count > p->rows)
			return err_set(e, EIO, "pack %" PRId64 " is shorter than its page says", p->id);
		const char *lines = p->raw + p->line_at[pl.extent.first];
		size_t have = p->line_at[pl.extent.first + pl.extent.count] - p->line_at[pl.extent.first];
		if (have != pl.extent.line_bytes)
			return err_set(e, EIO, "pack %" PRId64 ": its lines differ from its page", p->id);
		size_t skip = offset > pl.byte ? (size_t)(offset - pl.byte) : 0;
		size_t take = have - skip < n - spans.bytes ? have - skip : n - spans.bytes;
		line_spans_add(&spans, TAKE_PTR(p), lines + skip, take);
		r = 1;
		if (spans.bytes < n)
			r = place_advance(c, vb, &pl, e);
	}
	if (r == 0 && offset + spans.bytes < vb->line_bytes)
		return err_set(e, EIO, "catalog: a table version is damaged: its lines end early");
	if (r < 0)
		return r;
	*ret = spans;
	spans = (struct line_spans){0};
	return 0;
}

int catalog_read_lines(struct catalog *c, int64_t version_id, uint64_t offset, void *buf, size_t n, size_t *ret_n,
		       struct err *e)
{
	_cleanup_(line_spans_done) struct line_spans spans = {0};
	*ret_n = 0;
	int r = catalog_line_spans(c, version_id, offset, n, &spans, e);
	for (size_t i = 0; r == 0 && i < spans.n; i++) {
		memcpy((char *)buf + *ret_n, spans.v[i].iov_base, spans.v[i].iov_len);
		*ret_n += spans.v[i].iov_len;
	}
	return r;
}
