/*
 * snapshot/capture/changed.c - a table's next version out of its newest one, the rows that changed since and the keys
 * that are gone: what did not change is not read.
 *
 * Runs on the thread that has the capture's connection.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/varint.h"
#include "snapshot/capture/internal.h"
#include "snapshot/openmetadata/names_write.h"
#include "snapshot/stream/splice.h"

#define GONE_BYTES_MAX (16U << 20) /* encoded keys of deleted rows; with more of them the whole table is read */

/* Encoded keys, ascending, each behind its length. */
struct gone {
	struct strbuf keys;
	size_t at;
	const uint8_t *key; /* the one at hand; NULL: no more */
	size_t key_len;
};

static void gone_done(struct gone *g)
{
	strbuf_done(&g->keys);
}

static void gone_next(struct gone *g)
{
	const uint8_t *p = (const uint8_t *)g->keys.data + g->at, *end = (const uint8_t *)g->keys.data + g->keys.len;
	uint64_t len;
	g->key = NULL;
	if (p == end || !varint_get(&p, end, &len))
		return;
	g->key = p;
	g->key_len = len;
	g->at = (size_t)(p + len - (const uint8_t *)g->keys.data);
}

/* What of the base cannot be read is no failure of the capture: the table is then stored whole. */
static int base_next(struct row_cursor *rows, struct stored_row *ret, struct err *e)
{
	int r = row_cursor_next(rows, ret, e);
	return r == -EIO ? err_set(e, EUCLEAN, "%s", e->msg) : r;
}

/* The keys that the base has and the live table has not. 1: found `want` of them; 0: not this way. */
static int capture_find_gone(struct capture *cp, const struct db_table *t, const struct row_codec *codec,
			     const struct version_info *base, uint64_t want, struct gone *ret, struct err *e)
{
	const struct db_driver *d = db_driver_of(cp->conn);
	if (!row_key_has_values(codec))
		return 0;
	_cleanup_(cleanup_row_cursor) struct row_cursor *rows = NULL;
	int r = row_cursor_open(&rows, cp->catalog, base->id, 0, e);
	if (r < 0)
		return r == -EIO ? err_set(e, EUCLEAN, "%s", e->msg) : r;
	r = d->scan_open(cp->conn, t, DB_SCAN_KEYS, e);
	if (r < 0)
		return r == -EOPNOTSUPP ? 0 : r;
	_cleanup_strbuf_ struct strbuf key = {0};
	struct stored_row row;
	const struct db_value *values;
	uint64_t found = 0;
	int base_has = base_next(rows, &row, e), live_has = 0;
	for (r = base_has < 0 ? base_has : 0; r == 0 && base_has;) {
		live_has = d->scan_next(cp->conn, &values, e);
		if (live_has < 0) {
			r = live_has;
			break;
		}
		strbuf_clear(&key);
		if (live_has)
			r = row_key_of_values(codec, values, &key, e);
		/* Keys out of byte order make too many look gone: their number tells. */
		while (r == 0 && base_has && (!live_has || key_compare(row.key, row.key_len, key.data, key.len) < 0)) {
			found++;
			varint_add(&ret->keys, row.key_len);
			strbuf_add(&ret->keys, row.key, row.key_len);
			base_has = found > want || ret->keys.len > GONE_BYTES_MAX ? 0 : base_next(rows, &row, e);
			r = base_has < 0 ? base_has : 0;
		}
		if (r == 0 && base_has && key_compare(row.key, row.key_len, key.data, key.len) == 0) {
			base_has = base_next(rows, &row, e);
			r = base_has < 0 ? base_has : 0;
		}
	}
	(void)d->scan_close(cp->conn, ERR_DROP);
	return r < 0 ? r : found == want && ret->keys.len <= GONE_BYTES_MAX;
}

/* Makes the new version of the base, the changed rows and the keys that are gone. 1: done; 0: *ret_gone others are
 * gone. */
static int capture_splice(struct capture *cp, const struct db_table *t, const struct version_info *base,
			  const char *mark, bool ordered, struct gone *gone, uint64_t *ret_gone, struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	_cleanup_(cleanup_splice) struct splice *s = NULL;
	_cleanup_(cleanup_row_stream) struct row_stream *changed = NULL;
	uint64_t unchanged = 0, n_gone = 0;
	bool hashed = t->key_kind != DB_KEY_UNIQUE;
	int r = snapshot_writer_table(cp->writer, t, &v, e);
	if (r < 0)
		return r;
	r = names_update_watch(cp->names, v, e);
	if (r < 0)
		return r;
	r = splice_new(&s, cp->catalog, base, v, e);
	if (r < 0)
		return r;
	r = stream_changed(&changed, cp->conn, t, version_writer_codec(v), mark, ordered, &unchanged, cp->job, e);
	if (r < 0)
		return r;
	if (hashed && unchanged != base->rows)
		return err_set(e, ESTALE, "rows without a key have gone");
	gone->at = 0;
	gone_next(gone);
	for (bool more = true; more;) {
		struct stream_row row;
		r = changed->next(changed, &row, e);
		if (r < 0)
			return r;
		more = r == 1;
		for (; gone->key && (!more || key_compare(gone->key, gone->key_len, row.key, row.key_len) < 0);
		     gone_next(gone), n_gone++) {
			r = splice_delete(s, gone->key, gone->key_len, e);
			if (r < 0)
				return r;
		}
		if (!more)
			break;
		r = hashed ? splice_add(s, version_writer_codec(v), &row, e) : splice_upsert(s, &row, e);
		if (r < 0)
			return r;
	}
	/* The proof: base rows are unchanged ones, ones that were read again, or gone. */
	uint64_t known = unchanged + splice_found(s) + n_gone;
	*ret_gone = base->rows - known;
	if (known != base->rows)
		return known < base->rows && !gone->keys.len ? 0 : err_set(e, ESTALE, "the counts do not fit");
	struct digest digest;
	r = splice_end(s, &digest, e);
	if (r < 0)
		return r;
	r = version_writer_finish(v, &digest, base, 0, e);
	if (r < 0)
		return r;
	atomic_fetch_add(&cp->job->rows_done, unchanged);
	return 1;
}

int capture_changes(struct capture *cp, const struct db_table *t, const struct version_info *base, const char *mark,
		    struct err *e)
{
	_cleanup_(gone_done) struct gone gone = {0};
	const struct row_codec *codec;
	uint64_t n_gone = 0;
	int64_t codec_id;
	int r = catalog_codec(cp->catalog, base->codec_id, &codec, e);
	if (r < 0)
		return r;
	r = store_codec_id(cp->catalog, t, &codec_id, e);
	if (r < 0)
		return r;
	if (codec_id != base->codec_id)
		return err_set(e, ESTALE, "the table was described differently");
	bool ordered = t->key_kind == DB_KEY_UNIQUE;
	r = capture_splice(cp, t, base, mark, ordered, &gone, &n_gone, e);
	if (ordered && (r == -EILSEQ || r == -EOPNOTSUPP)) {
		cp->wasted = true;
		ordered = false;
		r = capture_splice(cp, t, base, mark, ordered, &gone, &n_gone, e);
	}
	if (r != 0)
		return r < 0 ? r : 0;
	cp->wasted = true;
	r = capture_find_gone(cp, t, codec, base, n_gone, &gone, e);
	if (r < 0)
		return r;
	if (!r)
		return err_set(e, ESTALE, "which rows are gone cannot be told by their keys");
	r = capture_splice(cp, t, base, mark, ordered, &gone, &n_gone, e);
	return r < 0 ? r : 0;
}
