/*
 * fs/tree/snap.c - descriptions of the snapshots used last, checked against the catalog's data version, so that another
 * process's changes show.
 *
 * Any thread. Lock: that of the cache.
 */
#include <errno.h>

#include "fs/tree/internal.h"

#define SNAPS 32 /* are kept */

static void snap_free(struct lru_entry *x)
{
	struct snap *s = (struct snap *)x;
	for (size_t k = 0; s->files && k < s->tables.n; k++)
		free(s->files[k]);
	free(s->files);
	free(s->by_ordinal);
	free(s->json_len);
	version_list_done(&s->tables);
	free(s);
}

struct lru *snap_cache_new(void)
{
	return lru_new(SNAPS, snap_free);
}

void snap_unref(struct tree *t, struct snap *s)
{
	if (s)
		lru_unref(t->snaps, &s->cached);
}

static int snap_load(struct tree *t, int64_t id, struct snap **ret, struct err *e)
{
	struct snapshot_info info;
	int64_t version = catalog_data_version(t->catalog); /* before the reads: a change meanwhile is checked again */
	int r = catalog_get(t->catalog, id, &info, e);
	if (r < 0)
		return r;
	struct snap *s = xcalloc(1, sizeof *s);
	s->id = id;
	s->source_id = info.source_id;
	s->taken_ms = info.taken_ms;
	s->schema_since_ms = info.schema_since_ms;
	s->manifest_len = info.manifest_len;
	s->schema_len = info.schema_len;
	atomic_init(&s->checked, version);
	snapshot_info_done(&info);
	r = catalog_tables(t->catalog, id, &s->tables, e);
	if (r < 0) {
		snap_free(&s->cached);
		return r;
	}
	size_t n = s->tables.n;
	s->files = xcalloc(n + 1, sizeof *s->files);
	s->by_ordinal = xcalloc(n + 1, sizeof *s->by_ordinal);
	s->json_len = xcalloc(n + 1, sizeof *s->json_len);
	for (size_t k = 0; k < n; k++) {
		struct strbuf file = {0};
		table_file_name(s->tables.v[k].name, &file);
		s->files[k] = strbuf_detach(&file);
		if (s->tables.v[k].ordinal >= n) {
			snap_free(&s->cached);
			return err_set(e, EIO, "snapshot %lld: the catalog's list of tables is damaged", (long long)id);
		}
		s->by_ordinal[s->tables.v[k].ordinal] = k;
	}
	*ret = s;
	return 0;
}

/* The cached description, still valid; NULL: not there (or to be loaded again). */
static struct snap *snap_cached(struct tree *t, int64_t id, int64_t version)
{
	struct snapshot_info info;
	struct snap *s = (struct snap *)lru_get(t->snaps, (uint64_t)id, 0);
	if (!s || atomic_load(&s->checked) == version)
		return s;
	if (catalog_get(t->catalog, id, &info, ERR_DROP) < 0) {
		snap_unref(t, s);
		return NULL;
	}
	snapshot_info_done(&info);
	atomic_store(&s->names, 0); /* it may be another one now */
	atomic_store(&s->checked, version);
	return s;
}

/* Takes the place of what the cache has: that could not be checked any more. */
static struct snap *snap_keep(struct tree *t, struct snap *s)
{
	lru_forget(t->snaps, (uint64_t)s->id, 0);
	return (struct snap *)lru_add(t->snaps, &s->cached, (uint64_t)s->id, 0, 1);
}

int snap_get(struct tree *t, int64_t id, const struct tree_wait *w, struct snap **ret, struct err *e)
{
	int64_t version = catalog_data_version(t->catalog);
	struct snap *s = snap_cached(t, id, version);
	if (s) {
		*ret = s;
		return 0;
	}
	int r = snap_load(t, id, &s, e);
	if (r == -ENOENT && tree_pending(t, id, NULL) >= 0) {
		if (!w)
			return TREE_MUST_WAIT;
		r = service_wait(t->service, id, w->waiter, e);
		if (r < 0)
			return r;
		r = snap_load(t, id, &s, e);
	} else if (r == -ENOENT && w) {
		/* it may have become complete between the two questions; of one that failed we are told why */
		r = service_wait(t->service, id, w->waiter, e);
		if (r == 0)
			r = snap_load(t, id, &s, e);
	} else if (r == -ENOENT) {
		r = snap_load(t, id, &s, e);
	}
	if (r < 0)
		return r;
	*ret = snap_keep(t, s);
	return 0;
}

int tree_names(struct tree *t, int64_t snapshot, const struct tree_wait *w, int64_t *ret, struct err *e)
{
	struct version_info index;
	int r = w ? names_index(t->catalog, snapshot, &index, e) : names_version(t->catalog, snapshot, &index, e);
	if (r < 0)
		return r == -ENOENT && !w ? TREE_MUST_WAIT : r;
	*ret = index.id;
	version_info_done(&index);
	return 0;
}

int snap_names(struct tree *t, struct snap *s, const struct tree_wait *w, int64_t *ret, struct err *e)
{
	*ret = atomic_load(&s->names);
	int r = *ret ? 0 : tree_names(t, s->id, w, ret, e);
	if (r)
		return r;
	atomic_store(&s->names, *ret);
	return 0;
}

const struct version_info *snap_table(const struct snap *s, uint32_t ordinal)
{
	return ordinal < s->tables.n ? &s->tables.v[s->by_ordinal[ordinal]] : NULL;
}

const struct version_info *snap_table_by_file(const struct snap *s, const char *file, size_t len)
{
	_cleanup_strbuf_ struct strbuf table = {0};
	_cleanup_free_ char *name = xmemdup0(file, len);
	if (table_of_file_name(name, &table) < 0)
		return NULL;
	size_t low = 0, high = s->tables.n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(strbuf_str(&table), s->tables.v[mid].name);
		if (c == 0)
			return &s->tables.v[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

int snap_json_len(struct tree *t, struct snap *s, const struct version_info *v, size_t *ret, struct err *e)
{
	atomic_size_t *len = &s->json_len[v->ordinal];
	*ret = atomic_load(len);
	if (*ret)
		return 0;
	_cleanup_strbuf_ struct strbuf text = {0};
	int r = catalog_table_json(t->catalog, v->id, &text, e);
	if (r < 0)
		return r;
	*ret = text.len;
	atomic_store(len, text.len);
	return 0;
}
