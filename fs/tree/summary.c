/*
 * fs/tree/summary.c - what is known of each source: a summary, checked against the catalog's data version, so that
 * another process's changes show; and which snapshot is being taken.
 *
 * Any thread. Lock: tree.mutex, never held over a call out.
 */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "fs/tree/internal.h"

int64_t tree_source_id(const struct tree *t, size_t source)
{
	return t->sources[source].id;
}

int tree_source_index(const struct tree *t, uint64_t id)
{
	for (size_t k = 0; k < t->n_sources; k++)
		if ((uint64_t)t->sources[k].id == id)
			return (int)k;
	return -ENOENT;
}

int tree_summary(struct tree *t, size_t source, size_t *ret_n, int64_t *ret_ms, char *latest, struct err *e)
{
	struct source_state *s = &t->sources[source];
	int64_t version = catalog_data_version(t->catalog);
	{
		MUTEX_GUARD(&t->mutex);
		if (s->known && s->version == version) {
			*ret_n = s->snapshots;
			*ret_ms = s->latest_ms;
			if (latest)
				memcpy(latest, s->latest, sizeof s->latest);
			return 0;
		}
	}
	struct snapshot_list list = {0};
	int r = catalog_list(t->catalog, s->id, &list, e);
	if (r < 0)
		return r;
	size_t n = list.n;
	snapshot_list_done(&list);
	struct snapshot_info info;
	int64_t ms = t->created_ms;
	char name[256] = "";
	r = catalog_latest(t->catalog, s->id, &info, e);
	if (r == 0) {
		ms = info.taken_ms;
		(void)snprintf(name, sizeof name, "%s", info.name ? info.name : "");
		snapshot_info_done(&info);
	} else if (r != -ENOENT) {
		return r;
	}
	*ret_n = n;
	*ret_ms = ms;
	if (latest)
		memcpy(latest, name, sizeof name);
	MUTEX_GUARD(&t->mutex);
	s->known = true;
	s->version = version;
	s->snapshots = n;
	s->latest_ms = ms;
	memcpy(s->latest, name, sizeof name);
	return 0;
}

int tree_pending(struct tree *t, int64_t id, int64_t *ret_ms)
{
	for (size_t k = 0; k < t->n_sources; k++) {
		int64_t pending;
		char name[256];
		if (service_pending(t->service, k, &pending, name) < 0 || pending != id)
			continue;
		MUTEX_GUARD(&t->mutex);
		struct source_state *s = &t->sources[k];
		if (s->pending_id != id) {
			s->pending_id = id;
			s->pending_ms = clock_ms();
		}
		if (ret_ms)
			*ret_ms = s->pending_ms;
		return (int)k;
	}
	return -ENOENT;
}

int tree_source_dir(struct tree *t, uint64_t number, const struct ino *i, uint32_t nlink, size_t *ret_n,
		    struct tree_node *ret, struct err *e)
{
	int source = tree_source_index(t, i->id);
	size_t n;
	int64_t ms;
	if (source < 0)
		return source;
	int r = tree_summary(t, (size_t)source, &n, &ms, NULL, e);
	if (r < 0)
		return r;
	tree_fill(t, ret, number, tree_kinds[i->kind].mode, nlink, TREE_DIR_SIZE, ms);
	ret->keep_attr = TREE_KEEP_SHORT;
	if (ret_n)
		*ret_n = n;
	return 0;
}
