/*
 * snapshot/openmetadata/names_build.c - see names_build.h.
 *
 * Any thread. Lock: the mutex of store/index.h, while an index is made.
 */
#include "snapshot/openmetadata/names_build.h"

#include <errno.h>

#include "base/clock.h"
#include "snapshot/openmetadata/names_path.h"
#include "snapshot/openmetadata/names_read.h"
#include "snapshot/openmetadata/names_write.h"
#include "snapshot/store/codec.h"
#include "snapshot/store/index.h"
#include "snapshot/store/sweep.h"
#include "snapshot/stream/merge.h"
#include "snapshot/stream/version_stream.h"

int names_version(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e)
{
	return catalog_index(c, snapshot_id, ret, e);
}

/* ---- making a missing one ---- */

static int collect_gone(void *arg, const struct stream_row *row, struct err *e)
{
	return names_changes_remove(arg, row->key, row->key_len, row->line, row->line_len, e);
}

static int collect_new(void *arg, const struct stream_row *row, struct err *e)
{
	return names_changes_add(arg, row->key, row->key_len, row->line, row->line_len, e);
}

static int collect_changed(void *arg, const struct stream_row *old, const struct stream_row *new, struct err *e)
{
	int r = collect_gone(arg, old, e);
	return r < 0 ? r : collect_new(arg, new, e);
}

/* What changed in a table since `base`, which has the same description; NULL: all of it. */
static int names_collect(struct catalog *c, const struct version_info *base, const struct version_info *v,
			 struct names_changes **ret, struct err *e)
{
	const struct row_codec *codec;
	_cleanup_(cleanup_row_stream) struct row_stream *old = NULL, *new = NULL;
	int r = catalog_codec(c, v->codec_id, &codec, e);
	if (r < 0)
		return r;
	r = names_changes_new(ret, c, codec, e);
	if (r < 0 || !*ret)
		return r;
	r = stream_version(&old, c, base ? base->id : 0, e);
	if (r == 0)
		r = stream_version(&new, c, v->id, e);
	struct merge_sink sink = {*ret, collect_gone, collect_new, NULL, collect_changed};
	return r < 0 ? r : merge_streams(old, new, &sink, e);
}

/* From the index of snapshot base_id (0: none). NAMES_NO_BASE: that is missing or damaged. */
static int names_build_from(struct catalog *c, int64_t snapshot_id, int64_t base_id, struct err *e)
{
	_cleanup_(version_list_done) struct version_list tables = {0}, base = {0};
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int r = snapshot_writer_new(&w, c, 0, clock_ms(), e); /* holds the packs it reads, too */
	if (r == 0)
		r = catalog_tables(c, snapshot_id, &tables, e);
	if (r == 0 && base_id)
		r = catalog_tables(c, base_id, &base, e);
	struct names_table *t = xcalloc(tables.n + 1, sizeof *t);
	for (size_t i = 0; r == 0 && i < tables.n; i++) {
		const struct version_info *v = &tables.v[i], *old = NULL;
		for (size_t k = 0; k < base.n && !old; k++)
			if (!strcmp(base.v[k].name, v->name) && base.v[k].codec_id == v->codec_id)
				old = &base.v[k];
		t[i] = (struct names_table){.table = v->name, .whole = !old};
		if (!old || old->id != v->id)
			r = names_collect(c, old, v, &t[i].changes, e);
	}
	if (r == 0) {
		r = names_write(c, w, base_id, t, tables.n, e);
		if (r == NAMES_WRITTEN)
			r = snapshot_writer_commit_index(w, snapshot_id, e);
	}
	for (size_t i = 0; i < tables.n; i++)
		names_changes_free(t[i].changes);
	free(t);
	return base_id && r == -EIO ? NAMES_NO_BASE : r;
}

int names_build(struct catalog *c, int64_t snapshot_id, struct err *e)
{
	MUTEX_GUARD(catalog_index_mutex(c)); /* all who wait for it find it made */
	struct version_info made;
	int64_t base_id;
	int r = names_version(c, snapshot_id, &made, ERR_DROP);
	if (r == 0) {
		version_info_done(&made);
		return 0;
	}
	r = catalog_index_nearest(c, snapshot_id, &base_id, e);
	if (r == 0 && base_id)
		r = names_build_from(c, snapshot_id, base_id, e);
	if (r == NAMES_NO_BASE || (r == 0 && !base_id))
		r = names_build_from(c, snapshot_id, 0, e);
	return r;
}

int names_forget(struct catalog *c, int64_t snapshot_id, struct err *e)
{
	int r = catalog_index_forget(c, snapshot_id, e);
	if (r == 0)
		(void)store_sweep(c, ERR_DROP); /* the damage goes, too; if it cannot now, the next sweep takes it */
	return r;
}

/* ---- looking up ---- */

int names_index(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e)
{
	int r = names_version(c, snapshot_id, ret, e);
	if (r != -ENOENT)
		return r;
	r = names_build(c, snapshot_id, e);
	return r < 0 ? r : names_version(c, snapshot_id, ret, e);
}

/* sole: one of several with this path will not do. */
static int names_find_in(struct catalog *c, int64_t snapshot_id, const char *path, bool sole, struct strbuf *table,
			 struct strbuf *row_file, struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	_cleanup_(version_info_done) struct version_info index = {0};
	struct names_entry n;
	int r = names_index(c, snapshot_id, &index, e);
	if (r < 0)
		return r;
	r = names_lookup(c, index.id, path, strlen(path), &nc, &n, e);
	if (r < 0)
		return r;
	strbuf_adds(table, n.table);
	strbuf_adds(row_file, n.row);
	r = sole ? names_cursor_next(nc, &n, e) : 0;
	return r == 1 && n.again ? err_set(e, ENOTUNIQ, "several entities are called so (%.300s)", path)
	       : r < 0           ? r
				 : 0;
}

int names_find_path(struct catalog *c, int64_t snapshot_id, const char *path, struct strbuf *table,
		    struct strbuf *row_file, struct err *e)
{
	return names_find_in(c, snapshot_id, path, false, table, row_file, e);
}

int names_find(struct catalog *c, int64_t snapshot_id, const char *type, const char *fqn, struct strbuf *table,
	       struct strbuf *row_file, struct err *e)
{
	_cleanup_strbuf_ struct strbuf path = {0};
	int r = -ENOENT;
	/* Entities that have a `name` only are found by it, dots and all. */
	for (int one_part = 0; one_part < 2 && r == -ENOENT; one_part++) {
		strbuf_clear(&path);
		names_path(type, fqn, strlen(fqn), one_part, &path);
		r = names_find_in(c, snapshot_id, path.data, true, table, row_file, e);
	}
	return r == -ENOENT ? err_set(e, ENOENT, "there is no %.60s \"%.300s\"", type, fqn) : r;
}
