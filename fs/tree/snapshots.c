/*
 * fs/tree/snapshots.c - snapshots/, archives/ and entities/: the snapshots of a source, `latest`, a snapshot's folder
 * and the files in it that are not tables.
 *
 * Any thread; a listing belongs to one at a time. No locks.
 */
#include <errno.h>

#include "fs/tree/internal.h"

/* ---- the folders of snapshots ---- */

static int snapshots_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			     struct tree_node *ret, struct err *e)
{
	size_t n;
	/* snapshots/ is where mkdir, rmdir and mv happen: default_permissions asks for the right to write */
	int r = tree_source_dir(t, number, i, 2, &n, ret, e);
	if (r)
		return r;
	ret->nlink += (uint32_t)n;
	return 0;
}

/* An unfinished one has its name already. */
static int snapshots_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
			    const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	const struct tree_kind *k = &tree_kinds[dir->kind];
	int source = tree_source_index(t, dir->id);
	int64_t id;
	char pending[256];
	struct snapshot_info info;

	if (source < 0)
		return source;
	enum ino_kind fixed = fixed_find(k->names, name);
	if (fixed != INO_BAD)
		return tree_ask(ret, fixed, ino_of(fixed, dir->id));
	if (service_pending(t->service, (size_t)source, &id, pending) < 0 || strcmp(pending, name)) {
		int r = catalog_find(t->catalog, (int64_t)dir->id, name, &info, e);
		if (r < 0)
			return r == -ENOENT ? tree_none(ret, TREE_KEEP_NO) : r;
		id = info.id;
		snapshot_info_done(&info);
	}
	uint64_t ino = ino_of(k->child, (uint64_t)id);
	return ino ? tree_ask(ret, k->child, ino) : err_set(e, EOVERFLOW, "snapshot %s: its id is too large", name);
}

/* Cookies: 2 is "latest", c > 2 the first snapshot with an id above c - 3. */
struct snapshots_dir {
	struct tree *tree;
	struct ino ino;
	struct snapshot_list list; /* by id: an imported one has a later number than its moment */
	bool listed;
};

static int snapshots_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			      bool *ret_cacheable, struct err *e)
{
	if (tree_source_index(t, i->id) < 0)
		return -ENOENT;
	struct snapshots_dir *d = xcalloc(1, sizeof *d);
	d->tree = t;
	d->ino = *i;
	*ret = d;
	return 0;
}

static int snapshots_compare_id(const void *a, const void *b)
{
	int64_t x = ((const struct snapshot_info *)a)->id, y = ((const struct snapshot_info *)b)->id;
	return x < y ? -1 : x > y;
}

static int snapshots_dir_load(struct snapshots_dir *d, struct err *e)
{
	snapshot_list_done(&d->list);
	d->list = (struct snapshot_list){0};
	d->listed = false;
	int r = catalog_list(d->tree->catalog, (int64_t)d->ino.id, &d->list, e);
	if (r < 0)
		return r;
	if (d->list.n)
		qsort(d->list.v, d->list.n, sizeof *d->list.v, snapshots_compare_id);
	d->listed = true;
	return 0;
}

static int snapshots_dir_peek(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e)
{
	struct snapshots_dir *d = state;
	const struct tree_kind *k = &tree_kinds[d->ino.kind];
	if (at == 2 || !d->listed) { /* the start: a new look */
		int r = snapshots_dir_load(d, e);
		if (r < 0)
			return r;
	}
	if (at == 2) {
		ret->name = k->names->name;
		return tree_ask(&ret->node, k->names->kind, ino_of(k->names->kind, d->ino.id));
	}
	size_t low = 0, high = d->list.n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (d->list.v[mid].id > at - 3)
			high = mid;
		else
			low = mid + 1;
	}
	if (low == d->list.n)
		return 0;
	const struct snapshot_info *s = &d->list.v[low];
	ret->name = s->name;
	ret->next = s->id + 3;
	ret->bare = names_only;
	int r = tree_ask(&ret->node, k->child, ino_of(k->child, (uint64_t)s->id));
	return names_only ? 1 : r;
}

static uint64_t snapshots_dir_parent(void *state)
{
	const struct snapshots_dir *d = state;
	return tree_parent(&d->ino, 0);
}

static void snapshots_dir_close(void *state)
{
	struct snapshots_dir *d = state;
	snapshot_list_done(&d->list);
	free(d);
}

const struct tree_part tree_part_snapshots = {
    .getattr = snapshots_getattr,
    .lookup = snapshots_lookup,
    .dir_open = snapshots_dir_open,
    .dir_peek = snapshots_dir_peek,
    .dir_parent = snapshots_dir_parent,
    .dir_close = snapshots_dir_close,
};

/* ---- latest ---- */

static int latest_name(struct tree *t, const struct ino *i, int64_t *ret_ms, char latest[256], struct err *e)
{
	int source = tree_source_index(t, i->id);
	size_t n;
	if (source < 0)
		return source;
	int r = tree_summary(t, (size_t)source, &n, ret_ms, latest, e);
	return r < 0 || *latest ? r : -ENOENT;
}

static int latest_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			  struct tree_node *ret, struct err *e)
{
	int64_t ms;
	char latest[256];
	int r = latest_name(t, i, &ms, latest, e);
	if (r < 0)
		return r;
	tree_fill(t, ret, number, TREE_LINK, 1, strlen(latest), ms);
	ret->keep_entry = TREE_KEEP_SHORT;
	ret->keep_attr = TREE_KEEP_NO;
	return 0;
}

static int latest_readlink(struct tree *t, const struct ino *i, struct strbuf *out, struct err *e)
{
	int64_t ms;
	char latest[256];
	int r = latest_name(t, i, &ms, latest, e);
	if (r)
		return r;
	strbuf_adds(out, latest);
	return 0;
}

const struct tree_part tree_part_latest = {.getattr = latest_getattr, .readlink = latest_readlink};

/* ---- a snapshot's folder ---- */

int tree_snapshot_dir(struct tree *t, uint64_t number, const struct ino *i, uint32_t nlink, const struct tree_wait *w,
		      struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	int64_t ms;
	if (tree_pending(t, (int64_t)i->id, &ms) >= 0) {
		tree_fill(t, ret, number, TREE_DIR, 3, TREE_DIR_SIZE, ms);
		ret->keep_entry = ret->keep_attr = TREE_KEEP_NO;
		return 0;
	}
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	if (r)
		return r;
	tree_fill(t, ret, number, TREE_DIR, nlink, TREE_DIR_SIZE, ref.snap->taken_ms);
	ret->keep_entry = TREE_KEEP_SHORT; /* the name may change, also by another process */
	return 0;
}

static int snapshot_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			    struct tree_node *ret, struct err *e)
{
	return tree_snapshot_dir(t, number, i, 2 + 1, w, ret, e);
}

static int snapshot_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			     bool *ret_cacheable, struct err *e)
{
	struct snap *s;
	int r = snap_get(t, (int64_t)i->id, w, &s, e);
	if (r)
		return r;
	*ret_cacheable = true;
	*ret = fixed_dir_new(t, i, i->id, s);
	return 0;
}

const struct tree_part tree_part_snapshot = {
    .getattr = snapshot_getattr,
    .lookup = fixed_lookup,
    .dir_open = snapshot_dir_open,
    .dir_peek = fixed_dir_peek,
    .dir_parent = fixed_dir_parent,
    .dir_close = fixed_dir_close,
};

/* ---- its files ---- */

/* Each walk through now/ asks for what lies directly in it again, and so tells that the snapshot is in use. */
static void snapshot_fill_file(struct tree *t, uint64_t number, const struct ino *i, size_t size, int64_t ms,
			       struct tree_node *ret)
{
	tree_fill(t, ret, number, TREE_FILE, 1, size, ms);
	if (tree_kinds[i->kind].now)
		ret->keep_entry = TREE_KEEP_NO;
}

static int manifest_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			    struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	if (r)
		return r;
	tree_now_pass(t, i, ref.snap);
	snapshot_fill_file(t, number, i, ref.snap->manifest_len, ref.snap->taken_ms, ret);
	return 0;
}

static int manifest_text(struct tree *t, const struct ino *i, const struct tree_wait *w, struct strbuf *out,
			 struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	return r ? r : catalog_manifest(t->catalog, ref.snap->id, out, e);
}

const struct tree_part tree_part_manifest = {.getattr = manifest_getattr, .text = manifest_text};

static int schema_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			  struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	if (r)
		return r;
	tree_now_pass(t, i, ref.snap);
	/* what did not change keeps its time in every snapshot: rsync skips it */
	snapshot_fill_file(t, number, i, ref.snap->schema_len, ref.snap->schema_since_ms, ret);
	return 0;
}

static int schema_text(struct tree *t, const struct ino *i, const struct tree_wait *w, struct strbuf *out,
		       struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	return r ? r : catalog_schema_sql(t->catalog, ref.snap->id, out, e);
}

const struct tree_part tree_part_schema = {.getattr = schema_getattr, .text = schema_text};

static int sums_len(struct tree *t, int64_t id, const struct tree_wait *w, size_t *ret, struct err *e)
{
	struct snapshot_info info;
	int r = catalog_get(t->catalog, id, &info, e);
	if (r < 0)
		return r;
	*ret = info.sums_len;
	snapshot_info_done(&info);
	if (*ret)
		return 0;
	if (!w)
		return TREE_MUST_WAIT; /* the whole snapshot is hashed */
	_cleanup_strbuf_ struct strbuf text = {0};
	r = catalog_sums(t->catalog, id, &text, e);
	*ret = text.len;
	return r;
}

static int sums_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	size_t len;
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	if (r)
		return r;
	r = sums_len(t, ref.snap->id, w, &len, e);
	if (r)
		return r;
	snapshot_fill_file(t, number, i, len, ref.snap->taken_ms, ret);
	return 0;
}

static int sums_text(struct tree *t, const struct ino *i, const struct tree_wait *w, struct strbuf *out, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	size_t len;
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	if (r)
		return r;
	r = sums_len(t, ref.snap->id, w, &len, e);
	return r ? r : catalog_sums(t->catalog, ref.snap->id, out, e);
}

const struct tree_part tree_part_sums = {.getattr = sums_getattr, .text = sums_text};
