/*
 * snapshot/capture/import_table.c - the rows of one table of a backup, verified against its manifest, become a version.
 *
 * Runs on the job's thread. Of rows that do not match, those are named that differ from the table's true rows, where
 * the catalog still has those.
 */
#include <errno.h>
#include <inttypes.h>

#include "snapshot/capture/internal.h"
#include "snapshot/capture/merge.h"
#include "snapshot/openmetadata/names_write.h"

struct table_import {
	struct import *im;
	const struct row_codec *codec;
	struct sorter *sorter;
	struct row_values values;
	struct db_value *encodable;
	struct strbuf line, again, key, name, text;
	struct digest digest;
	struct hasher *hasher; /* of rows: the other one hashes files */
	const char *dir;
};

/* A line that is not exactly what this program writes would become another row on the way back: refused. */
static int import_line(struct table_import *ti, const char *where, const char *line, size_t len, struct err *e)
{
	struct import *im = ti->im;
	if (atomic_load_explicit(&im->job->cancelled, memory_order_relaxed))
		return err_set(e, EINTR, "cancelled");
	int r = row_decode(ti->codec, line, len, &ti->values, e);
	if (r >= 0) {
		row_values_encodable(ti->codec, &ti->values, ti->encodable);
		r = row_encode(ti->codec, ti->encodable, &ti->again, e);
	}
	if (r < 0)
		return r == -EBADMSG || r == -EDOM ? err_set(e, EBADMSG, "%s: %s", where, e->msg) : r;
	if (ti->again.len != len || memcmp(ti->again.data, line, len))
		return err_set(e, EBADMSG, "%s: not in the canonical form", where);
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(ti->hasher, line, len, sha);
	digest_add(&ti->digest, sha);
	atomic_fetch_add_explicit(&im->job->rows_done, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&im->job->bytes_done, len + 1, memory_order_relaxed);
	return sorter_add(ti->sorter, line, len, e);
}

static int import_lines(struct table_import *ti, const char *path, struct err *e)
{
	struct lines l = {.im = ti->im, .path = path};
	hasher_begin(ti->im->hasher);
	const char *line = NULL;
	size_t len = 0;
	uint64_t number = 0;
	int r;
	while ((r = lines_next(&l, &line, &len, e)) == 1) {
		char where[400];
		(void)snprintf(where, sizeof where, "%s: line %" PRIu64, path, ++number);
		r = import_line(ti, where, line, len, e);
		if (r < 0)
			break;
	}
	strbuf_done(&l.buf);
	if (r < 0)
		return r;
	uint8_t sha[ROW_SHA_LEN];
	hasher_end(ti->im->hasher, sha);
	import_check_sum(ti->im, path, sha);
	return 0;
}

struct file_visit {
	struct table_import *ti;
	struct err *e;
};

static int import_row_file(void *arg, const char *name, bool is_dir)
{
	struct file_visit *fv = arg;
	struct table_import *ti = fv->ti;
	if (is_dir || !backup_name_counts(name, true) || !strcmp(name, ".table.json"))
		return 0;
	_cleanup_free_ char *path = xasprintf("%s%s%s", ti->dir, *ti->dir ? "/" : "", name);
	int r = ti->im->tree->slurp(ti->im->tree, path, &ti->text, fv->e);
	if (r < 0)
		return r;
	strbuf_clear(&ti->line);
	r = row_compact(strbuf_str(&ti->text), ti->text.len, &ti->line, fv->e);
	if (r < 0)
		return err_prefix(fv->e, "%s", path);
	/* The name belongs to the row: a file under another row's name is a mix-up, whatever the digest says. Where
	 * equal rows are numbered, any number will do; the digest counts them. */
	if (!row_key_is_hashed(ti->codec)) {
		strbuf_clear(&ti->key);
		strbuf_clear(&ti->name);
		r = row_key(ti->codec, ti->line.data, ti->line.len, NULL, 0, &ti->key, fv->e);
		if (r < 0)
			return err_prefix(fv->e, "%s", path);
		row_name(ti->codec, ti->key.data, ti->key.len, &ti->name);
		if (strcmp(strbuf_str(&ti->name), name))
			return err_set(fv->e, EBADMSG, "%s: holds the row of %s", path, strbuf_str(&ti->name));
	}
	return import_line(ti, path, ti->line.data, ti->line.len, fv->e);
}

struct differ {
	struct import *im;
	const char *table;
	const struct row_codec *codec;
	unsigned told;
};

static int differ_tell(struct differ *d, const struct stream_row *row, const char *what)
{
	if (d->told++ >= 20)
		return 0;
	_cleanup_strbuf_ struct strbuf name = {0};
	row_name(d->codec, row->key, row->key_len, &name);
	import_say(d->im, "table %s: row %s %s", d->table, strbuf_str(&name), what);
	return 0;
}

static int differ_extra(void *arg, const struct stream_row *l, struct err *e)
{
	(void)e;
	return differ_tell(arg, l, "is not in the snapshot (additional)");
}

static int differ_missing(void *arg, const struct stream_row *r, struct err *e)
{
	(void)e;
	return differ_tell(arg, r, "is missing");
}

static int differ_changed(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	(void)r;
	(void)e;
	return differ_tell(arg, l, "is changed");
}

/* A version of this table with this digest in some snapshot of the source: 0 none. */
static int64_t import_known_version(struct import *im, const char *table, const struct manifest_table *want,
				    int64_t codec_id)
{
	struct snapshot_list list;
	int64_t found = 0;
	if (catalog_list(im->catalog, im->source_id, &list, ERR_DROP) < 0)
		return 0;
	for (size_t i = list.n; i-- > 0 && !found;) {
		struct version_info v;
		if (catalog_table(im->catalog, list.v[i].id, table, &v, ERR_DROP) < 0)
			continue;
		if (v.codec_id == codec_id && v.rows == want->rows && !memcmp(v.digest.sum, want->digest, ROW_SHA_LEN))
			found = v.id;
		version_info_done(&v);
	}
	snapshot_list_done(&list);
	return found;
}

static int import_explain(struct table_import *ti, const struct manifest_table *want, int64_t codec_id, struct err *e)
{
	struct import *im = ti->im;
	import_say(im, "table %s: %" PRIu64 " rows that do not match the manifest's digest (%" PRIu64 " rows expected)",
		   want->name, ti->digest.count, want->rows);
	int64_t known = import_known_version(im, want->name, want, codec_id);
	if (!known)
		return 0;
	_cleanup_(cleanup_row_stream) struct row_stream *files = NULL, *truth = NULL;
	struct differ d = {.im = im, .table = want->name, .codec = ti->codec};
	struct merge_sink sink = {&d, differ_extra, differ_missing, NULL, differ_changed};
	int r = sorter_stream(&files, TAKE_PTR(ti->sorter), e);
	if (r >= 0)
		r = stream_version(&truth, im->catalog, known, e);
	if (r >= 0)
		r = merge_streams(files, truth, &sink, e);
	return r == -EEXIST ? 0 : r; /* two files with the same key: already refused */
}

static void table_import_done(struct table_import *ti)
{
	sorter_free(ti->sorter);
	row_values_done(&ti->values);
	free(ti->encodable);
	strbuf_done(&ti->line);
	strbuf_done(&ti->again);
	strbuf_done(&ti->key);
	strbuf_done(&ti->name);
	strbuf_done(&ti->text);
	hasher_free(ti->hasher);
}

int import_table(struct import *im, const struct db_table *t, const struct manifest_table *want, const char *path,
		 const struct version_list *base, struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	int r = snapshot_writer_table(im->writer, t, &v, e);
	if (r < 0)
		return r;
	r = names_update_watch(im->names, v, e);
	if (r < 0)
		return r;
	_cleanup_(table_import_done) struct table_import ti = {
	    .im = im, .codec = version_writer_codec(v), .dir = path, .hasher = hasher_new()};
	row_values_init(&ti.values, ti.codec);
	ti.encodable = xcalloc(row_codec_scan_values(ti.codec), sizeof *ti.encodable);
	ti.sorter = sorter_new(ti.codec, SORTER_MEMORY);
	struct err why = ERR_INIT;
	struct file_visit fv = {&ti, &why};
	r = im->archive ? import_lines(&ti, path, &why) : im->tree->list(im->tree, path, import_row_file, &fv, &why);
	if (r == -EBADMSG || r == -ENOENT) {
		import_say(im, "table %s: %s", want->name, why.msg);
		return 0;
	}
	if (r < 0) {
		*e = why;
		return r;
	}
	if (ti.digest.count != want->rows || memcmp(ti.digest.sum, want->digest, ROW_SHA_LEN))
		return import_explain(&ti, want, version_writer_codec_id(v), e);
	if (im->bad)
		return 0; /* it will not be stored: only look for more that is wrong */
	const struct version_info *newest = NULL;
	for (size_t i = 0; i < base->n; i++)
		if (!strcmp(base->v[i].name, t->name) && base->v[i].codec_id == version_writer_codec_id(v))
			newest = &base->v[i];
	_cleanup_(cleanup_row_stream) struct row_stream *rows = NULL;
	r = sorter_stream(&rows, TAKE_PTR(ti.sorter), e);
	if (r >= 0)
		r = capture_merge(rows, im->catalog, newest, v, want->since_ms, e);
	if (r == -EEXIST) {
		import_say(im, "table %s: two rows have the same key", want->name);
		return 0;
	}
	if (r < 0)
		return r;
	const struct manifest_table *got = snapshot_writer_find(im->writer, t->name);
	if (got->line_bytes != want->line_bytes || got->file_bytes != want->file_bytes)
		import_say(im, "table %s: the manifest's sizes are wrong", want->name);
	return 0;
}
