/*
 * fs/tree/entities.c - entities/SNAPSHOT/TYPE/PART/.../NAME.json: symbolic links to the row files, by name.
 *
 * Everything comes from the snapshot's index of names (snapshot/openmetadata/names.h), whose entries are in the order
 * of their paths: a folder is a run of entries with one beginning, and is known by the first of them and how many parts
 * that is. Any thread; a listing belongs to one at a time. No locks.
 */
#include <errno.h>

#include "fs/tree/internal.h"

static int entities_index(struct tree *t, int64_t snapshot, const struct tree_wait *w, struct snap **ret_snap,
			  int64_t *ret, struct err *e)
{
	int r = snap_get(t, snapshot, w, ret_snap, e);
	return r ? r : snap_names(t, *ret_snap, w, ret, e);
}

static uint64_t entities_ino(enum ino_kind kind, int64_t snapshot, uint64_t entry, unsigned depth)
{
	if (entry > INO_NAMES_ENTRY_MAX)
		return 0;
	return ino_encode(
	    &(struct ino){.kind = kind, .id = (uint64_t)snapshot, .other = (uint32_t)entry, .sub = depth});
}

/* Length of the first `depth` parts of a path, with the slash after them; 0 when it has fewer. */
static size_t entities_prefix(const char *path, size_t len, unsigned depth)
{
	const char *p = path, *end = path + len;
	for (; depth && p; depth--) {
		p = memchr(p, '/', (size_t)(end - p));
		p = p ? p + 1 : NULL;
	}
	return p ? (size_t)(p - path) : 0;
}

/* The path of a folder, with a final slash: "" for entities/SNAPSHOT. */
static int entities_folder(struct tree *t, const struct ino *i, int64_t index, struct strbuf *out, struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	struct names_entry n;
	if (i->kind == INO_ENTITIES_OF)
		return 0;
	int r = names_cursor_open(&nc, t->catalog, index, i->other, e);
	if (r < 0)
		return r;
	r = names_cursor_next(nc, &n, e);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	size_t len = entities_prefix(n.path, n.path_len, i->sub);
	strbuf_add(out, n.path, len);
	return len ? 0 : -ENOENT;
}

/* entities/SNAPSHOT/TYPE/.../NAME.json -> snapshots/SNAPSHOT/tables/TABLE/ROW, both below the source's folder. */
static int entities_target(struct tree *t, int64_t snapshot, const struct names_entry *n, struct strbuf *out,
			   struct err *e)
{
	struct snapshot_info info;
	int r = catalog_get(t->catalog, snapshot, &info, e);
	if (r < 0)
		return r;
	strbuf_adds(out, "../../");
	for (size_t k = 0; k < n->path_len; k++)
		if (n->path[k] == '/')
			strbuf_adds(out, "../");
	strbuf_addf(out, "snapshots/%s/tables/", info.name ? info.name : "");
	table_file_name(n->table, out);
	strbuf_addf(out, "/%s", n->row);
	snapshot_info_done(&info);
	return 0;
}

static int entities_fill_link(struct tree *t, const struct snap *s, const struct names_entry *n, uint64_t number,
			      struct tree_node *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf target = {0};
	int r = entities_target(t, s->id, n, &target, e);
	if (r < 0)
		return r;
	tree_fill(t, ret, number, S_IFLNK | 0777, 1, target.len, s->taken_ms);
	ret->keep_attr = TREE_KEEP_SHORT; /* the snapshot's name may change */
	return 0;
}

static void entities_fill_folder(struct tree *t, const struct snap *s, uint64_t number, struct tree_node *ret)
{
	tree_fill(t, ret, number, TREE_DIR, 1, TREE_DIR_SIZE, s->taken_ms); /* 1: nobody counted */
}

static int entities_entry(struct tree *t, const struct ino *i, int64_t index, struct names_cursor **nc,
			  struct names_entry *n, struct err *e)
{
	int r = names_cursor_open(nc, t->catalog, index, i->other, e);
	if (r == 0)
		r = names_cursor_next(*nc, n, e);
	return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

static int entities_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			    struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	struct names_entry n;
	int64_t index;
	if (i->kind == INO_ENTITIES_OF)
		return tree_snapshot_dir(t, number, i, 1, w, ret, e); /* 1: nobody counted */
	int r = entities_index(t, (int64_t)i->id, w, &ref.snap, &index, e);
	if (r)
		return r;
	if (i->kind == INO_ENTITY_DIR) {
		entities_fill_folder(t, ref.snap, number, ret);
		return 0;
	}
	r = entities_entry(t, i, index, &nc, &n, e);
	return r < 0 ? r : entities_fill_link(t, ref.snap, &n, number, ret, e);
}

static int entities_readlink(struct tree *t, const struct ino *i, struct strbuf *out, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	struct names_entry n;
	int64_t index;
	if (i->kind != INO_ENTITY_LINK)
		return -EINVAL;
	int r = entities_index(t, (int64_t)i->id, NULL, &ref.snap, &index, e);
	if (r)
		return r < 0 ? r : -EAGAIN;
	r = entities_entry(t, i, index, &nc, &n, e);
	return r < 0 ? r : entities_target(t, ref.snap->id, &n, out, e);
}

static bool entities_is_file(const char *name)
{
	size_t len = strlen(name);
	return len > 5 && !strcmp(name + len - 5, ".json");
}

static int entities_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
			   const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	_cleanup_strbuf_ struct strbuf path = {0};
	struct names_entry n;
	int64_t index;
	unsigned depth = dir->kind == INO_ENTITIES_OF ? 0 : dir->sub;
	(void)number;
	if (dir->kind == INO_ENTITY_LINK)
		return -ENOTDIR;
	int r = entities_index(t, (int64_t)dir->id, w, &ref.snap, &index, e);
	if (r)
		return r;
	r = entities_folder(t, dir, index, &path, e);
	if (r)
		return r;
	strbuf_adds(&path, name);
	bool file = entities_is_file(name);
	if (file) {
		r = names_lookup(t->catalog, index, path.data, path.len, &nc, &n, e);
		if (r == -ENOENT)
			return tree_none(ret, TREE_KEEP_LONG);
	} else {
		strbuf_addch(&path, '/');
		r = names_cursor_seek(&nc, t->catalog, index, path.data, path.len, e);
		if (r == 0)
			r = names_cursor_next(nc, &n, e);
		if (r == 0 || (r == 1 && (n.path_len < path.len || memcmp(n.path, path.data, path.len))))
			return tree_none(ret, TREE_KEEP_LONG);
	}
	if (r < 0)
		return r;
	uint64_t ino =
	    entities_ino(file ? INO_ENTITY_LINK : INO_ENTITY_DIR, ref.snap->id, n.number, file ? 0 : depth + 1);
	if (!ino)
		return err_set(e, EOVERFLOW, "entities: too many snapshots or names");
	if (file)
		return entities_fill_link(t, ref.snap, &n, ino, ret, e);
	entities_fill_folder(t, ref.snap, ino, ret);
	return 0;
}

/* ---- listing ---- */

#define ENTITIES_END (UINT64_C(1) << 40) /* no entry has this number */

/* Cookies: 2 is the first entry, c > 2 entry number c - 3 of the index. */
struct entities_dir {
	struct tree *tree;
	struct snap *snap;
	int64_t index;
	struct ino ino;
	struct strbuf path, name;
	struct names_cursor *cursor;
	struct names_entry entry; /* the one behind which the cursor stands */
	int have;                 /* 1: entry is; 0: there is none any more; -1: not known */
	uint64_t at;              /* the number that `entry` has, or would have */
};

static void entities_dir_close(void *state)
{
	struct entities_dir *d = state;
	names_cursor_close(d->cursor);
	strbuf_done(&d->path);
	strbuf_done(&d->name);
	snap_unref(d->tree, d->snap);
	free(d);
}

static int entities_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			     bool *ret_cacheable, struct err *e)
{
	struct entities_dir *d = xcalloc(1, sizeof *d);
	d->tree = t;
	d->ino = *i;
	d->have = -1;
	int r = i->kind == INO_ENTITY_LINK ? -ENOTDIR : entities_index(t, (int64_t)i->id, w, &d->snap, &d->index, e);
	if (r == 0)
		r = entities_folder(t, i, d->index, &d->path, e);
	if (r) {
		entities_dir_close(d);
		return r;
	}
	*ret_cacheable = true;
	*ret = d;
	return 0;
}

/* Makes `entry` that of number `at`. 1, 0 at the end. */
static int entities_dir_goto(struct entities_dir *d, uint64_t at, struct err *e)
{
	if (d->have >= 0 && d->at == at)
		return d->have;
	int r = 0;
	if (d->have != 1 || d->at + 1 != at) {
		names_cursor_close(TAKE_PTR(d->cursor));
		r = names_cursor_open(&d->cursor, d->tree->catalog, d->index, at, e);
	}
	if (r == 0)
		r = names_cursor_next(d->cursor, &d->entry, e);
	d->have = r < 0 ? -1 : r;
	d->at = at;
	return r;
}

/* Goes behind all that begins like the folder `name`: the number of what is there. */
static int entities_dir_leave(struct entities_dir *d, const char *name, size_t len, uint64_t *ret, struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	_cleanup_strbuf_ struct strbuf path = {0};
	struct names_entry n;
	strbuf_add(&path, d->path.data, d->path.len);
	strbuf_add(&path, name, len);
	strbuf_addch(&path, '/' + 1);
	int r = names_cursor_seek(&nc, d->tree->catalog, d->index, path.data, path.len, e);
	if (r < 0)
		return r;
	r = names_cursor_next(nc, &n, e);
	if (r < 0)
		return r;
	*ret = r ? n.number : ENTITIES_END;
	return 0;
}

static int entities_dir_peek(void *state, int64_t cookie, bool names_only, struct tree_entry *ret, struct err *e)
{
	struct entities_dir *d = state;
	uint64_t at = cookie == 2 ? d->ino.kind == INO_ENTITIES_OF ? 0 : d->ino.other : (uint64_t)cookie - 3;
	if (at == ENTITIES_END)
		return 0;
	int r = entities_dir_goto(d, at, e);
	if (r <= 0)
		return r;
	const struct names_entry *n = &d->entry;
	if (n->path_len < d->path.len || (d->path.len && memcmp(n->path, d->path.data, d->path.len)))
		return 0;
	const char *rest = n->path + d->path.len;
	const char *slash = memchr(rest, '/', n->path_len - d->path.len);
	uint64_t next = at + 1;
	strbuf_clear(&d->name);
	if (slash) {
		strbuf_add(&d->name, rest, (size_t)(slash - rest));
		r = entities_dir_leave(d, d->name.data, d->name.len, &next, e);
		if (r < 0)
			return r;
	} else {
		names_file(n, &d->name);
	}
	unsigned depth = d->ino.kind == INO_ENTITIES_OF ? 1 : d->ino.sub + 1;
	uint64_t ino = entities_ino(slash ? INO_ENTITY_DIR : INO_ENTITY_LINK, d->snap->id, at, slash ? depth : 0);
	if (!ino)
		return err_set(e, EOVERFLOW, "entities: too many snapshots or names");
	ret->name = strbuf_str(&d->name);
	ret->next = (int64_t)next + 3;
	ret->bare = !slash && names_only;
	if (slash)
		entities_fill_folder(d->tree, d->snap, ino, &ret->node);
	else if (names_only)
		ret->node = (struct tree_node){.ino = ino, .mode = S_IFLNK};
	else
		r = entities_fill_link(d->tree, d->snap, n, ino, &ret->node, e);
	return r < 0 ? r : 1;
}

static uint64_t entities_dir_parent(void *state)
{
	struct entities_dir *d = state;
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	_cleanup_strbuf_ struct strbuf path = {0};
	struct names_entry n;
	if (d->ino.kind == INO_ENTITIES_OF)
		return ino_of(INO_ENTITIES, (uint64_t)d->snap->source_id);
	uint64_t top = ino_of(INO_ENTITIES_OF, (uint64_t)d->snap->id);
	if (d->ino.sub == 1)
		return top;
	strbuf_add(&path, d->path.data, entities_prefix(d->path.data, d->path.len, d->ino.sub - 1));
	if (names_cursor_seek(&nc, d->tree->catalog, d->index, path.data, path.len, ERR_DROP) < 0 ||
	    names_cursor_next(nc, &n, ERR_DROP) != 1)
		return top;
	return entities_ino(INO_ENTITY_DIR, d->snap->id, n.number, d->ino.sub - 1);
}

const struct tree_part tree_part_entities = {
    .getattr = entities_getattr,
    .lookup = entities_lookup,
    .readlink = entities_readlink,
    .dir_open = entities_dir_open,
    .dir_peek = entities_dir_peek,
    .dir_parent = entities_dir_parent,
    .dir_close = entities_dir_close,
};
