/*
 * snapshot/stream/splice.c - a table's next version made of its last one and the rows that changed.
 *
 * Runs on the thread that captures the table. Extents between two changes are kept without being read; a pack is
 * unpacked only where a changed key falls into it, so that the cost is that of the changes.
 */
#include "snapshot/stream/splice.h"

#include <errno.h>
#include <inttypes.h>

struct splice {
	struct catalog *catalog;
	struct version_writer *v;
	struct extent_cursor *base;
	struct extent cur, next; /* count 0: none */
	struct strbuf sep;       /* cur's */
	bool entered;            /* a row was put in since cur began: its separator says nothing any more */
	uint32_t at;             /* rows of cur that are written or left out already */
	struct pack *pack;       /* cur's, once a key fell into it */
	struct hasher *hasher;
	struct digest digest;
	uint64_t found;
	struct strbuf key;
	uint8_t last_sha[ROW_SHA_LEN]; /* of the row added last, and the number after its own; 0: none */
	uint64_t next_number;
};

void splice_free(struct splice *s)
{
	if (!s)
		return;
	extent_cursor_close(s->base);
	pack_unref(s->pack);
	strbuf_done(&s->sep);
	strbuf_done(&s->key);
	hasher_free(s->hasher);
	free(s);
}

/* What of the base cannot be read is not the job's own failure. */
static int splice_read(int r, struct err *e)
{
	return r == -EIO || r == -ENOENT ? err_set(e, EUCLEAN, "%s", e->msg) : r;
}

int splice_new(struct splice **ret, struct catalog *c, const struct version_info *base, struct version_writer *v,
	       struct err *e)
{
	_cleanup_(cleanup_splice) struct splice *s = xcalloc(1, sizeof *s);
	s->catalog = c;
	s->v = v;
	s->digest = base->digest;
	s->hasher = hasher_new();
	int r = extent_cursor_open(&s->base, c, base->id, e);
	if (r == 0)
		r = extent_cursor_next(s->base, &s->next, e);
	if (r < 0)
		return splice_read(r, e);
	*ret = TAKE_PTR(s);
	return 0;
}

/* Keeps the rows of the current extent up to (not with) row `end` of it. */
static int splice_keep(struct splice *s, uint32_t end, struct err *e)
{
	int r = 0;
	if (s->at == end)
		return 0;
	if (!s->pack && end == s->cur.count) {
		s->cur.sep = (const uint8_t *)strbuf_str(&s->sep);
		s->cur.sep_len = s->sep.len;
		r = version_writer_keep_extent(s->v, &s->cur, e);
	} else {
		r = version_writer_keep_rows(s->v, s->pack, s->cur.first + s->at, end - s->at,
					     s->at == 0 && !s->entered ? strbuf_str(&s->sep) : NULL, s->sep.len, e);
	}
	s->at = end;
	return r;
}

/* Ends the current extent and goes on to the next. */
static int splice_advance(struct splice *s, struct err *e)
{
	int r = s->cur.count ? splice_keep(s, s->cur.count, e) : 0;
	pack_unref(TAKE_PTR(s->pack));
	if (r < 0)
		return r;
	s->cur = s->next;
	strbuf_clear(&s->sep);
	if (s->next.count)
		strbuf_add(&s->sep, s->next.sep, s->next.sep_len);
	s->at = 0;
	s->entered = false;
	s->next.count = 0;
	r = extent_cursor_next(s->base, &s->next, e);
	return r < 0 ? splice_read(r, e) : 0;
}

/* Sets *ret to the place in the current extent of the first row not below the key. 1: that row has it, 0: no row. */
static int splice_seek(struct splice *s, const void *key, size_t key_len, uint32_t *ret, struct err *e)
{
	*ret = 0;
	while (s->next.count && (!s->cur.count || key_compare(s->next.sep, s->next.sep_len, key, key_len) <= 0)) {
		int r = splice_advance(s, e);
		if (r < 0)
			return r;
	}
	if (!s->cur.count)
		return 0;
	if (!s->pack) {
		int r = pack_get(s->catalog, s->cur.pack, &s->pack, e);
		if (r < 0)
			return splice_read(r, e);
		if (s->cur.first + s->cur.count > s->pack->rows)
			return err_set(e, EUCLEAN, "pack %" PRId64 " is shorter than its page says", s->cur.pack);
	}
	uint32_t low = s->at, high = s->cur.count;
	bool equal = false;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		strbuf_clear(&s->key);
		int r = pack_key_of(s->pack, s->cur.first + mid, &s->key, e);
		if (r < 0)
			return splice_read(r, e);
		int order = key_compare(s->key.data, s->key.len, key, key_len);
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
		equal = equal || order == 0;
	}
	*ret = low;
	return equal;
}

static int splice_drop(struct splice *s, const void *key, size_t key_len, const char *line, size_t len, struct err *e)
{
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(s->hasher, line, len, sha);
	digest_sub(&s->digest, sha);
	s->at++;
	return version_writer_gone(s->v, key, key_len, line, len, e);
}

int splice_upsert(struct splice *s, const struct stream_row *row, struct err *e)
{
	uint32_t place;
	int r = splice_seek(s, row->key, row->key_len, &place, e);
	if (r < 0)
		return r;
	const char *old = NULL;
	size_t old_len = 0;
	if (r == 1) {
		s->found++;
		old = pack_line(s->pack, s->cur.first + place, &old_len);
		if (old_len == row->line_len && !memcmp(old, row->line, old_len))
			return 0;
	}
	r = splice_keep(s, place, e);
	if (r < 0)
		return r;
	if (old)
		r = splice_drop(s, row->key, row->key_len, old, old_len, e);
	if (r < 0)
		return r;
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(s->hasher, row->line, row->line_len, sha);
	digest_add(&s->digest, sha);
	s->entered = true;
	return version_writer_new_row(s->v, row->key, row->key_len, row->number, row->line, row->line_len, sha, e);
}

int splice_add(struct splice *s, const struct row_codec *codec, const struct stream_row *row, struct err *e)
{
	uint8_t sha[ROW_SHA_LEN];
	struct stream_row numbered = *row;
	hasher_sha256(s->hasher, row->line, row->line_len, sha);
	/* Behind the equal rows of the base and those added before. */
	if (s->next_number > row->number && !memcmp(s->last_sha, sha, sizeof sha))
		numbered.number = s->next_number;
	_cleanup_strbuf_ struct strbuf key = {0};
	for (;; numbered.number++) {
		uint32_t place;
		strbuf_clear(&key);
		int r = row_key(codec, row->line, row->line_len, sha, numbered.number, &key, e);
		if (r < 0)
			return r;
		r = splice_seek(s, key.data, key.len, &place, e);
		if (r < 0)
			return r;
		if (r == 0)
			break;
	}
	memcpy(s->last_sha, sha, sizeof sha);
	s->next_number = numbered.number + 1;
	numbered.key = key.data;
	numbered.key_len = key.len;
	return splice_upsert(s, &numbered, e);
}

int splice_delete(struct splice *s, const void *key, size_t key_len, struct err *e)
{
	uint32_t place;
	int r = splice_seek(s, key, key_len, &place, e);
	if (r <= 0)
		return r < 0 ? r : err_set(e, EUCLEAN, "catalog: a row that was there is not");
	r = splice_keep(s, place, e);
	if (r < 0)
		return r;
	size_t len;
	const char *line = pack_line(s->pack, s->cur.first + place, &len);
	return splice_drop(s, key, key_len, line, len, e);
}

uint64_t splice_found(const struct splice *s)
{
	return s->found;
}

int splice_end(struct splice *s, struct digest *ret, struct err *e)
{
	int r = 0;
	while (r == 0 && (s->cur.count || s->next.count))
		r = splice_advance(s, e);
	*ret = s->digest;
	return r;
}
