/*
 * fs/tree/history.c - history/TYPE/PART/.../NAME/SNAPSHOT.json: what an entity was, one file for each time it changed.
 *
 * The folders are those of all snapshots' indexes of names together, an entity is a folder, too. A file is the row in
 * the first snapshot that held it; it has the row's own inode. A folder is known by the oldest snapshot that has it, an
 * entry of its index and how many parts of that entry's path it is. Entities that share a name have one history here,
 * that of the first of them.
 * Any thread; a listing belongs to one at a time. No locks.
 */
#include <errno.h>

#include "fs/tree/internal.h"

/* ---- folders ---- */

/* A folder's path with a final slash ("" for history/ itself), and that of the entity it is, if it is one. */
struct history_folder {
	struct strbuf dir, leaf;
};

static void history_folder_done(struct history_folder *f)
{
	strbuf_done(&f->dir);
	strbuf_done(&f->leaf);
}

#define _cleanup_folder_ _cleanup_(history_folder_done)

static const char history_json[] = ".json", history_json_coded[] = "%2Ejson";

/* Appends what a file's last part is called as a folder: snapshot/openmetadata/names_path.c keeps folders from ending
 * in ".json". */
static void history_folder_name(const char *file, size_t len, struct strbuf *out)
{
	len -= sizeof history_json - 1;
	size_t tail = sizeof history_json - 1;
	if (len > tail && !memcmp(file + len - tail, history_json, tail)) {
		strbuf_add(out, file, len - tail);
		strbuf_adds(out, history_json_coded);
	} else {
		strbuf_add(out, file, len);
	}
}

/* The way back. */
static void history_file_name(const char *folder, size_t len, struct strbuf *out)
{
	size_t tail = sizeof history_json_coded - 1;
	if (len > tail && !memcmp(folder + len - tail, history_json_coded, tail)) {
		strbuf_add(out, folder, len - tail);
		strbuf_adds(out, history_json);
	} else {
		strbuf_add(out, folder, len);
	}
	strbuf_adds(out, history_json);
}

/* Folder `name` of folder `in` (with its final slash). */
static void history_enter(const char *in, size_t in_len, const char *name, size_t len, struct history_folder *ret)
{
	strbuf_add(&ret->dir, in, in_len);
	strbuf_add(&ret->dir, name, len);
	strbuf_addch(&ret->dir, '/');
	strbuf_add(&ret->leaf, in, in_len);
	history_file_name(name, len, &ret->leaf);
}

/* The folder that is the first `depth` parts of the path of entry `number`. */
static int history_folder_of(struct tree *t, const struct ino *i, const struct history_set *s,
			     struct history_folder *ret, struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	struct names_entry n;
	if (i->kind == INO_HISTORY)
		return 0;
	size_t k = 0;
	while (k < s->n && s->v[k].id != (int64_t)i->id)
		k++;
	if (k == s->n)
		return -ENOENT;
	int r = names_cursor_open(&nc, t->catalog, s->v[k].index, i->other, e);
	if (r < 0)
		return r;
	r = names_cursor_next(nc, &n, e);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	const char *start = n.path, *end = n.path + n.path_len, *stop = NULL;
	for (unsigned depth = 0; depth < i->sub; depth++) {
		start = stop ? stop + 1 : n.path;
		stop = memchr(start, '/', (size_t)(end - start));
		if (!stop && depth + 1 < i->sub)
			return -ENOENT;
	}
	_cleanup_strbuf_ struct strbuf name = {0};
	if (stop)
		strbuf_add(&name, start, (size_t)(stop - start));
	else
		history_folder_name(start, (size_t)(end - start), &name);
	history_enter(n.path, (size_t)(start - n.path), name.data, name.len, ret);
	return 0;
}

static unsigned history_depth(const struct history_folder *f)
{
	unsigned depth = 0;
	for (size_t k = 0; k < f->dir.len; k++)
		depth += f->dir.data[k] == '/';
	return depth;
}

/* The inode of a folder: 0, or -ENOENT where no snapshot has it. */
static int history_folder_ino(struct tree *t, const struct history_set *s, const struct history_folder *f,
			      uint64_t *ret, struct err *e)
{
	if (!f->dir.len) {
		*ret = ino_of(INO_HISTORY, (uint64_t)s->source_id);
		return 0;
	}
	for (size_t k = 0; k < s->n_changes; k++) {
		_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
		struct names_entry n;
		int64_t index = history_change_index(s, k);
		int r = names_lookup(t->catalog, index, f->leaf.data, f->leaf.len, &nc, &n, e);
		if (r == -ENOENT || (r == 0 && n.again)) { /* those that share its name have no folder of their own */
			names_cursor_close(TAKE_PTR(nc));
			r = names_cursor_seek(&nc, t->catalog, index, f->dir.data, f->dir.len, e);
			if (r == 0)
				r = names_cursor_next(nc, &n, e);
			if (r == 0 || (r == 1 && (n.path_len < f->dir.len || memcmp(n.path, f->dir.data, f->dir.len))))
				continue;
		}
		if (r < 0)
			return r;
		if (n.number > INO_NAMES_ENTRY_MAX)
			return err_set(e, EOVERFLOW, "history: too many names");
		*ret = ino_encode(&(struct ino){.kind = INO_HISTORY_DIR,
						.id = (uint64_t)s->v[s->change[k]].id,
						.other = (uint32_t)n.number,
						.sub = history_depth(f)});
		return *ret ? 0 : err_set(e, EOVERFLOW, "history: too many snapshots");
	}
	return -ENOENT;
}

/* ---- what an entity was ---- */

/* Walks the snapshots, the oldest first, and stops at each where the entity is not as it was in the one before. */
struct history_walk {
	struct tree *tree;
	const struct history_set *set;
	const char *path; /* the entity's */
	size_t path_len;
	size_t at; /* the next snapshot to look at */
	struct strbuf table, file;
	int64_t index;   /* that `table` and `file` are of */
	bool found;      /* it has the entity */
	bool have;       /* the snapshot before had it, as `row` in `version` */
	int64_t version; /* of the table */
	struct stored_row row;
};

static void history_walk_done(struct history_walk *w)
{
	strbuf_done(&w->table);
	strbuf_done(&w->file);
	stored_row_done(&w->row);
}

static int history_walk_find(struct history_walk *w, int64_t index, struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	struct names_entry n;
	if (index == w->index)
		return 0;
	int r = names_lookup(w->tree->catalog, index, w->path, w->path_len, &nc, &n, e);
	if (r < 0 && r != -ENOENT)
		return r;
	w->index = index;
	w->found = r == 0;
	strbuf_clear(&w->table);
	strbuf_clear(&w->file);
	if (w->found) {
		strbuf_adds(&w->table, n.table);
		strbuf_adds(&w->file, n.row);
	}
	return 0;
}

static bool history_is_gone(struct catalog *c, int64_t snapshot)
{
	struct snapshot_info info;
	int r = catalog_get(c, snapshot, &info, ERR_DROP);
	if (r == 0)
		snapshot_info_done(&info);
	return r == -ENOENT;
}

/* 1: `row` is what it became in snapshot `at` - 1; 0: no more. */
static int history_walk_next(struct history_walk *w, struct err *e)
{
	struct catalog *c = w->tree->catalog;
	for (; w->at < w->set->n; w->at++) {
		const struct history_snapshot *s = &w->set->v[w->at];
		struct version_info version = {0};
		struct stored_row row;
		int r = history_walk_find(w, s->index, e);
		if (r == 0 && !w->found) {
			w->have = false;
			continue;
		}
		if (r == 0)
			r = catalog_table(c, s->id, strbuf_str(&w->table), &version, e);
		int64_t id = version.id;
		version_info_done(&version);
		if (r == 0 && w->have && id == w->version)
			continue;
		if (r == 0)
			r = catalog_row_by_name(c, id, strbuf_str(&w->file), &row, e);
		if (r == -ENOENT && history_is_gone(c, s->id))
			continue;
		if (r == -ENOENT)
			return err_set(e, EIO, "snapshot %s: its index of entities names a row that is not there",
				       s->name);
		if (r < 0)
			return r;
		bool same = w->have && row.codec == w->row.codec && row.line_len == w->row.line_len &&
			    !memcmp(row.line, w->row.line, row.line_len);
		w->version = id;
		if (same) {
			stored_row_done(&row);
			continue;
		}
		stored_row_done(&w->row);
		w->row = row;
		w->have = true;
		w->at++;
		return 1;
	}
	return 0;
}

static int history_fill_row(struct tree *t, const struct stored_row *row, struct tree_node *ret, struct err *e)
{
	uint64_t ino = ino_of_sub(INO_ROW, (uint64_t)row->ref.pack, row->ref.index);
	if (!ino)
		return err_set(e, EOVERFLOW, "a row's id is too large");
	tree_fill_row(t, row, ino, false, ret);
	ret->keep_entry = TREE_KEEP_SHORT; /* which snapshot held it first may change when one is removed */
	return 0;
}

static void history_fill_folder(struct tree *t, const struct history_set *s, uint64_t number, struct tree_node *ret)
{
	int64_t ms = s->n ? s->v[s->n - 1].taken_ms : t->created_ms;
	tree_fill(t, ret, number, TREE_DIR, 1, TREE_DIR_SIZE, ms); /* 1: nobody counted */
	ret->keep_entry = ret->keep_attr = TREE_KEEP_SHORT;
}

/* ---- answers ---- */

static int history_set_of(struct tree *t, const struct ino *i, const struct tree_wait *w, struct history_set **ret,
			  struct err *e)
{
	int source;
	if (i->kind == INO_HISTORY) {
		source = tree_source_index(t, i->id);
	} else {
		struct snapshot_info info;
		int r = catalog_get(t->catalog, (int64_t)i->id, &info, e);
		if (r < 0)
			return r;
		source = tree_source_index(t, (uint64_t)info.source_id);
		snapshot_info_done(&info);
	}
	return source < 0 ? source : history_get(t, (size_t)source, w, ret, e);
}

static int history_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			   struct tree_node *ret, struct err *e)
{
	_cleanup_history_ struct history_ref ref = {.tree = t};
	if (i->kind == INO_HISTORY)
		return tree_source_dir(t, number, i, 1, NULL, ret, e); /* 1: nobody counted */
	int r = history_set_of(t, i, w, &ref.set, e);
	if (r)
		return r;
	history_fill_folder(t, ref.set, number, ret);
	return 0;
}

/* NAME/SNAPSHOT.json */
static int history_lookup_file(struct tree *t, const struct history_set *s, const struct history_folder *f,
			       const char *name, struct tree_node *ret, struct err *e)
{
	_cleanup_(history_walk_done) struct history_walk w = {
	    .tree = t, .set = s, .path = strbuf_str(&f->leaf), .path_len = f->leaf.len};
	size_t len = strlen(name) - (sizeof history_json - 1);
	int r;
	while ((r = history_walk_next(&w, e)) == 1) {
		const char *snapshot = s->v[w.at - 1].name;
		if (strlen(snapshot) == len && !memcmp(snapshot, name, len))
			return history_fill_row(t, &w.row, ret, e);
	}
	return r < 0 ? r : tree_none(ret, TREE_KEEP_NO);
}

static int history_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
			  const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	_cleanup_history_ struct history_ref ref = {.tree = t};
	_cleanup_folder_ struct history_folder f = {0}, child = {0};
	size_t len = strlen(name), tail = sizeof history_json - 1;
	uint64_t ino;
	(void)number;
	int r = history_set_of(t, dir, w, &ref.set, e);
	if (r)
		return r;
	r = history_folder_of(t, dir, ref.set, &f, e);
	if (r)
		return r;
	if (len > tail && !strcmp(name + len - tail, history_json))
		return f.leaf.len ? history_lookup_file(t, ref.set, &f, name, ret, e) : tree_none(ret, TREE_KEEP_NO);
	history_enter(f.dir.data, f.dir.len, name, len, &child);
	r = history_folder_ino(t, ref.set, &child, &ino, e);
	if (r < 0)
		return r == -ENOENT ? tree_none(ret, TREE_KEEP_NO) : r;
	history_fill_folder(t, ref.set, ino, ret);
	return 0;
}

/* ---- listing ---- */

/* The next name in the folder that one of the indexes has and the one before it has not: most names are in all. */
struct history_child {
	struct strbuf key; /* the part of the path: "name.json", or "name/" */
	bool end;
};

/* Cookies: 2 is the first entry, 3 the second ... The entity's own files first, then the folders, in the indexes'
 * order. */
struct history_dir {
	struct tree *tree;
	struct history_set *set;
	struct history_folder folder;
	struct history_walk walk;
	struct history_child *children; /* one for each index; NULL: not begun */
	int64_t at;                     /* cookie of the entry at hand; 1: none yet */
	int state;                      /* of it: 1 it is there, 0 the end */
	bool files;                     /* there may be more of them */
	struct strbuf name;
	struct tree_node node;
};

static void history_dir_rewind(struct history_dir *d)
{
	history_walk_done(&d->walk);
	d->walk = (struct history_walk){
	    .tree = d->tree, .set = d->set, .path = strbuf_str(&d->folder.leaf), .path_len = d->folder.leaf.len};
	for (size_t k = 0; d->children && k < d->set->n_changes; k++)
		strbuf_done(&d->children[k].key);
	free(TAKE_PTR(d->children));
	d->files = d->folder.leaf.len > 0;
	d->at = 1;
	d->state = 1;
}

static void history_dir_close(void *state)
{
	struct history_dir *d = state;
	if (d->set)
		history_dir_rewind(d);
	history_set_unref(d->tree, d->set);
	history_folder_done(&d->folder);
	strbuf_done(&d->name);
	free(d);
}

static int history_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			    bool *ret_cacheable, struct err *e)
{
	struct history_dir *d = xcalloc(1, sizeof *d);
	d->tree = t;
	int r = history_set_of(t, i, w, &d->set, e);
	if (r == 0)
		r = history_folder_of(t, i, d->set, &d->folder, e);
	if (r) {
		history_dir_close(d);
		return r;
	}
	history_dir_rewind(d);
	*ret_cacheable = false;
	*ret = d;
	return 0;
}

static bool history_is_below(const struct strbuf *dir, const char *path, size_t len)
{
	return len >= dir->len && (!dir->len || !memcmp(path, dir->data, dir->len));
}

/* The first path in the folder from `path` on that index number k has and the one before it has not. 1, 0: none. */
static int history_next_path(struct history_dir *d, size_t k, const struct strbuf *path, struct strbuf *ret,
			     struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	const struct strbuf *dir = &d->folder.dir;
	struct names_entry n;
	struct catalog *c = d->tree->catalog;
	int64_t index = history_change_index(d->set, k);
	int r = names_cursor_seek(&nc, c, index, strbuf_str(path), path->len, e);
	if (r == 0)
		r = names_cursor_next(nc, &n, e);
	if (r <= 0 || !history_is_below(dir, n.path, n.path_len))
		return r < 0 ? r : 0;
	if (k == 0) {
		strbuf_add(ret, n.path, n.path_len);
		return 1;
	}
	r = names_next_new(c, history_change_index(d->set, k - 1), index, strbuf_str(path), path->len, ret, e);
	return r <= 0 ? r : history_is_below(dir, ret->data, ret->len);
}

static int history_child_next(struct history_dir *d, size_t k, struct err *e)
{
	_cleanup_strbuf_ struct strbuf path = {0}, next = {0};
	const struct strbuf *dir = &d->folder.dir;
	struct history_child *child = &d->children[k];
	strbuf_add(&path, dir->data, dir->len);
	strbuf_add(&path, child->key.data, child->key.len);
	if (child->key.len && child->key.data[child->key.len - 1] == '/')
		path.data[path.len - 1]++; /* behind all that begins with it */
	else if (child->key.len)
		strbuf_addch(&path, 1); /* behind all that are called so: no path has such a byte */
	int r = history_next_path(d, k, &path, &next, e);
	strbuf_clear(&child->key);
	child->end = r <= 0;
	if (r <= 0)
		return r;
	const char *rest = next.data + dir->len, *end = next.data + next.len;
	const char *slash = memchr(rest, '/', (size_t)(end - rest));
	strbuf_add(&child->key, rest, (size_t)((slash ? slash + 1 : end) - rest));
	return 0;
}

static int history_children_begin(struct history_dir *d, struct err *e)
{
	int r = 0;
	d->children = xcalloc(d->set->n_changes + 1, sizeof *d->children);
	for (size_t k = 0; r == 0 && k < d->set->n_changes; k++)
		r = history_child_next(d, k, e);
	return r;
}

/* Takes the smallest key of all indexes. 1, 0 at the end. */
static int history_children_pop(struct history_dir *d, struct strbuf *key, struct err *e)
{
	const struct history_child *least = NULL;
	strbuf_clear(key);
	for (size_t k = 0; k < d->set->n_changes; k++)
		if (!d->children[k].end && (!least || strcmp(d->children[k].key.data, least->key.data) < 0))
			least = &d->children[k];
	if (!least)
		return 0;
	strbuf_add(key, least->key.data, least->key.len);
	for (size_t k = 0; k < d->set->n_changes; k++) {
		const struct history_child *child = &d->children[k];
		if (child->end || strcmp(child->key.data, key->data))
			continue;
		int r = history_child_next(d, k, e);
		if (r < 0)
			return r;
	}
	return 1;
}

/* True when a snapshot has an entity with the folder's own name: it was listed as such. */
static int history_is_entity(struct history_dir *d, const struct history_folder *f, struct err *e)
{
	for (size_t k = 0; k < d->set->n_changes; k++) {
		_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
		struct names_entry n;
		int r = names_lookup(d->tree->catalog, history_change_index(d->set, k), f->leaf.data, f->leaf.len, &nc,
				     &n, e);
		if (r != -ENOENT)
			return r < 0 ? r : 1;
	}
	return 0;
}

static int history_dir_folder(struct history_dir *d, struct err *e)
{
	_cleanup_strbuf_ struct strbuf key = {0};
	int r = d->children ? 0 : history_children_begin(d, e);
	while (r == 0 && (r = history_children_pop(d, &key, e)) == 1) {
		_cleanup_folder_ struct history_folder f = {0};
		bool folder = key.data[key.len - 1] == '/';
		strbuf_clear(&d->name);
		if (folder)
			strbuf_add(&d->name, key.data, key.len - 1);
		else
			history_folder_name(key.data, key.len, &d->name);
		history_enter(d->folder.dir.data, d->folder.dir.len, d->name.data, d->name.len, &f);
		r = folder ? history_is_entity(d, &f, e) : 0;
		if (r == 1)
			r = 0;
		else if (r == 0) {
			uint64_t ino;
			r = history_folder_ino(d->tree, d->set, &f, &ino, e);
			if (r < 0)
				return r;
			history_fill_folder(d->tree, d->set, ino, &d->node);
			return 1;
		}
	}
	return r;
}

static int history_dir_step(struct history_dir *d, struct err *e)
{
	if (d->files) {
		int r = history_walk_next(&d->walk, e);
		if (r == 1) {
			strbuf_clear(&d->name);
			strbuf_addf(&d->name, "%s.json", d->set->v[d->walk.at - 1].name);
			r = history_fill_row(d->tree, &d->walk.row, &d->node, e);
			return r < 0 ? r : 1;
		}
		if (r < 0)
			return r;
		d->files = false;
	}
	return history_dir_folder(d, e);
}

static int history_dir_peek(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e)
{
	struct history_dir *d = state;
	(void)names_only; /* the attributes are at hand */
	if (at < d->at)
		history_dir_rewind(d);
	while (d->at < at && d->state == 1) {
		int r = history_dir_step(d, e);
		if (r < 0) {
			history_dir_rewind(d);
			return r;
		}
		d->state = r;
		d->at++;
	}
	if (d->state != 1)
		return 0;
	ret->name = strbuf_str(&d->name);
	ret->node = d->node;
	ret->next = at + 1;
	return 1;
}

static uint64_t history_dir_parent(void *state)
{
	struct history_dir *d = state;
	_cleanup_folder_ struct history_folder up = {0};
	uint64_t ino;
	size_t len = d->folder.dir.len;
	if (!len) /* history/ itself */
		return ino_of(INO_SOURCE, (uint64_t)d->set->source_id);
	do
		len--;
	while (len && d->folder.dir.data[len - 1] != '/');
	size_t start = len ? len - 1 : 0;
	while (start && d->folder.dir.data[start - 1] != '/')
		start--;
	if (len)
		history_enter(d->folder.dir.data, start, d->folder.dir.data + start, len - 1 - start, &up);
	return history_folder_ino(d->tree, d->set, &up, &ino, ERR_DROP) == 0
		   ? ino
		   : ino_of(INO_HISTORY, (uint64_t)d->set->source_id);
}

const struct tree_part tree_part_history = {
    .getattr = history_getattr,
    .lookup = history_lookup,
    .dir_open = history_dir_open,
    .dir_peek = history_dir_peek,
    .dir_parent = history_dir_parent,
    .dir_close = history_dir_close,
};
