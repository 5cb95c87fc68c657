/*
 * snapshot/capture/merge.c - see merge.h.
 */
#include "snapshot/capture/merge.h"

#include <errno.h>

struct capture_sink {
	struct version_writer *v;
	struct hasher *hasher;
	struct digest digest;
};

static int capture_new(void *arg, const struct stream_row *l, struct err *e)
{
	struct capture_sink *s = arg;
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(s->hasher, l->line, l->line_len, sha);
	digest_add(&s->digest, sha);
	return version_writer_new_row(s->v, l->key, l->key_len, l->number, l->line, l->line_len, sha, e);
}

static int capture_gone(void *arg, const struct stream_row *r, struct err *e)
{
	struct capture_sink *s = arg;
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(s->hasher, r->line, r->line_len, sha);
	digest_sub(&s->digest, sha);
	return version_writer_gone(s->v, r->key, r->key_len, r->line, r->line_len, e);
}

static int capture_same(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	struct capture_sink *s = arg;
	(void)l;
	return version_writer_keep(s->v, r->stored, e);
}

static int capture_changed(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	int q = capture_gone(arg, r, e);
	return q < 0 ? q : capture_new(arg, l, e);
}

int capture_merge(struct row_stream *live, struct catalog *c, const struct version_info *base_version,
		  struct version_writer *v, int64_t since_ms, struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *base = NULL;
	_cleanup_(cleanup_hasher) struct hasher *hasher = hasher_new();
	int r = stream_version(&base, c, base_version ? base_version->id : 0, e);
	if (r == -EIO)
		return err_set(e, EUCLEAN, "%s", e->msg);
	if (r < 0)
		return r;
	struct capture_sink s = {.v = v, .hasher = hasher};
	if (base_version)
		s.digest = base_version->digest;
	struct merge_sink sink = {&s, capture_new, capture_gone, capture_same, capture_changed};
	r = merge_streams(live, base, &sink, e);
	if (r == -EIO && base->failed)
		return err_set(e, EUCLEAN, "%s", e->msg);
	return r < 0 ? r : version_writer_finish(v, &s.digest, base_version, since_ms, e);
}
