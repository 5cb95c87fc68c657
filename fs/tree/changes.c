/*
 * fs/tree/changes.c - changes/A..B: what differs between two snapshots of a source, by the rows' own files.
 *
 * changes/ lists each snapshot with the next newer one; any two names make a folder, in either order. In it:
 * summary.txt and added/, removed/, changed/, in which tables have folders. Nothing is kept of rows: a listing is a
 * cursor over the difference (snapshot/stream/changes.h), a name is looked up in both versions. Which folders there
 * are, and the summary, is told by what was counted (counted.c). Any thread; a listing belongs to one at a time. No
 * locks.
 */
#include <errno.h>

#include "fs/tree/internal.h"

static int counted_whole(const struct counted *c, struct err *e)
{
	return c->damage.code ? err_set(e, c->damage.code, "%s", c->damage.msg) : 0;
}

/* ---- pairs ---- */

struct pair {
	struct tree *tree;
	struct snap *before, *after;
};

static void pair_unref(struct pair *p)
{
	snap_unref(p->tree, p->before);
	snap_unref(p->tree, p->after);
	p->before = p->after = NULL;
}

#define _cleanup_pair_ _cleanup_(pair_unref)

/* Both must still be there: what is below a removed snapshot's pairs is gone with it. */
static int pair_get(struct tree *t, const struct ino *i, const struct tree_wait *w, struct pair *ret, struct err *e)
{
	ret->tree = t;
	int r = snap_get(t, (int64_t)i->id, w, &ret->before, e);
	if (r == 0)
		r = snap_get(t, (int64_t)i->other, w, &ret->after, e);
	if (r == 0 && ret->before->source_id != ret->after->source_id)
		r = -ENOENT;
	return r;
}

static int64_t pair_ms(const struct pair *p)
{
	return p->before->taken_ms > p->after->taken_ms ? p->before->taken_ms : p->after->taken_ms;
}

static uint64_t pair_ino(enum ino_kind kind, uint64_t before, uint64_t after, uint64_t sub, struct err *e)
{
	uint64_t ino =
	    after <= INO_PAIR_MAX && sub <= INO_ORDINAL_MAX
		? ino_encode(&(struct ino){.kind = kind, .id = before, .other = (uint32_t)after, .sub = (uint32_t)sub})
		: 0;
	if (!ino)
		(void)err_set(e, EOVERFLOW, "changes/: the ids of the snapshots or of the table are too large for it");
	return ino;
}

static bool is_table_kind(enum ino_kind kind)
{
	return kind >= INO_CHANGE_ADDED && kind <= INO_CHANGE_CHANGED;
}

static enum change change_of(enum ino_kind kind)
{
	return (enum change)(kind - INO_CHANGE_ADDED);
}

/* The table of a folder in added/, removed/ or changed/: both sides of it. */
static int pair_table(const struct pair *p, const struct ino *i, struct table_pair *ret)
{
	bool added = i->kind == INO_CHANGE_ADDED;
	const struct snap *of = added ? p->after : p->before, *beside = added ? p->before : p->after;
	const struct version_info *v = snap_table(of, i->sub);
	if (!v)
		return -ENOENT;
	_cleanup_strbuf_ struct strbuf file = {0};
	table_file_name(v->name, &file);
	const struct version_info *other = snap_table_by_file(beside, strbuf_str(&file), file.len);
	*ret = added ? (struct table_pair){other, v} : (struct table_pair){v, other};
	return 0;
}

/* Whether added/, removed/ or changed/ has a folder for the table: one that only one side has is there without rows,
 * too, one that cannot be read is in all three, so that reading it tells. */
static bool table_shows(const struct changes_table *t, enum change kind)
{
	return t->n[kind] || t->damaged || (kind == CHANGE_ADDED && !t->is_before) ||
	       (kind == CHANGE_REMOVED && !t->is_after);
}

static uint64_t table_ino(const struct ino *dir, enum change kind, const struct changes_table *t, struct err *e)
{
	return pair_ino((enum ino_kind)(INO_CHANGE_ADDED + kind), dir->id, dir->other,
			kind == CHANGE_ADDED ? t->ordinal_after : t->ordinal_before, e);
}

/* ---- attributes ---- */

static int changes_getattr_source(struct tree *t, uint64_t number, const struct ino *i, struct tree_node *ret,
				  struct err *e)
{
	size_t n;
	int r = tree_source_dir(t, number, i, 2, &n, ret, e);
	if (r == 0 && n)
		ret->nlink += (uint32_t)(n - 1);
	return r;
}

static void changes_fill_dir(const struct pair *p, uint64_t number, struct tree_node *ret)
{
	tree_fill(p->tree, ret, number, TREE_DIR, 1, TREE_DIR_SIZE, pair_ms(p)); /* 1: nobody counted */
}

static int changes_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			   struct tree_node *ret, struct err *e)
{
	_cleanup_pair_ struct pair p = {0};
	_cleanup_counted_ struct counted_ref c = {0};
	struct table_pair tables;
	if (i->kind == INO_CHANGES)
		return changes_getattr_source(t, number, i, ret, e);
	int r = pair_get(t, i, w, &p, e);
	if (r == 0 && is_table_kind(i->kind))
		r = pair_table(&p, i, &tables);
	if (r)
		return r;
	if (i->kind != INO_CHANGE || i->sub != INO_CHANGE_SUMMARY) {
		changes_fill_dir(&p, number, ret);
		/* its name is made of two that may change, also by another process */
		if (i->kind == INO_CHANGE && i->sub == INO_CHANGE_TOP)
			ret->keep_entry = TREE_KEEP_NO;
		return 0;
	}
	r = counted_get(t, p.before->id, p.after->id, w, &c, e);
	if (r)
		return r;
	r = counted_whole(c.counted, e);
	if (r)
		return r;
	tree_fill(t, ret, number, TREE_FILE, 1, c.counted->text.len, pair_ms(&p));
	return 0;
}

static int changes_text_of(struct tree *t, const struct ino *i, const struct tree_wait *w, struct strbuf *out,
			   struct err *e)
{
	_cleanup_pair_ struct pair p = {0};
	_cleanup_counted_ struct counted_ref c = {0};
	if (i->kind != INO_CHANGE || i->sub != INO_CHANGE_SUMMARY)
		return -EISDIR;
	int r = pair_get(t, i, w, &p, e);
	if (r)
		return r;
	r = counted_get(t, p.before->id, p.after->id, w, &c, e);
	if (r)
		return r;
	r = counted_whole(c.counted, e);
	if (r)
		return r;
	strbuf_add(out, c.counted->text.data, c.counted->text.len);
	return 0;
}

/* ---- lookup ---- */

static const char *const changes_names[] = {"summary.txt", "added", "removed", "changed"};
#define CHANGES_NAMES (sizeof changes_names / sizeof *changes_names)

/* Its first one is a file; the size of that is not known before somebody has counted. */
static int changes_ask_top(struct tree_node *ret, size_t k, uint64_t ino)
{
	int r = tree_ask(ret, INO_CHANGE, ino);
	ret->mode = k == 0 ? TREE_FILE : TREE_DIR;
	return r;
}

static int changes_snapshot(struct tree *t, uint64_t source_id, const char *name, int64_t *ret, struct err *e)
{
	struct snapshot_info info;
	int r = strcmp(name, "latest") ? catalog_find(t->catalog, (int64_t)source_id, name, &info, e)
				       : catalog_latest(t->catalog, (int64_t)source_id, &info, e);
	if (r < 0)
		return r;
	*ret = info.id;
	snapshot_info_done(&info);
	return 0;
}

/* Names may hold dots themselves: of all places where the name can be cut, the first with a snapshot on both sides. */
static int changes_lookup_pair(struct tree *t, const struct ino *dir, const char *name, struct tree_node *ret,
			       struct err *e)
{
	for (const char *dots = strstr(name, ".."); dots; dots = strstr(dots + 1, "..")) {
		_cleanup_free_ char *first = xmemdup0(name, (size_t)(dots - name));
		int64_t before, after;
		int r = changes_snapshot(t, dir->id, first, &before, e);
		if (r == 0)
			r = changes_snapshot(t, dir->id, dots + 2, &after, e);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		uint64_t ino = pair_ino(INO_CHANGE, (uint64_t)before, (uint64_t)after, INO_CHANGE_TOP, e);
		return ino ? tree_ask(ret, INO_CHANGE, ino) : -EOVERFLOW;
	}
	return tree_none(ret, TREE_KEEP_NO);
}

static int changes_lookup_top(const struct ino *dir, const char *name, struct tree_node *ret, struct err *e)
{
	size_t k = 0;
	while (k < CHANGES_NAMES && strcmp(changes_names[k], name))
		k++;
	if (k == CHANGES_NAMES)
		return tree_none(ret, TREE_KEEP_LONG);
	uint64_t ino = pair_ino(INO_CHANGE, dir->id, dir->other, INO_CHANGE_SUMMARY + k, e);
	return ino ? changes_ask_top(ret, k, ino) : -EOVERFLOW;
}

static const struct changes_table *changes_table_by_file(const struct changes *ch, const char *file)
{
	_cleanup_strbuf_ struct strbuf table = {0};
	if (table_of_file_name(file, &table) < 0)
		return NULL;
	size_t low = 0, high = ch->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(strbuf_str(&table), ch->v[mid].name);
		if (c == 0)
			return &ch->v[mid];
		*(c < 0 ? &high : &low) = c < 0 ? mid : mid + 1;
	}
	return NULL;
}

static int changes_lookup_table(struct tree *t, const struct ino *dir, const char *name, const struct tree_wait *w,
				struct tree_node *ret, struct err *e)
{
	_cleanup_pair_ struct pair p = {0};
	_cleanup_counted_ struct counted_ref c = {0};
	enum change kind = (enum change)(dir->sub - INO_CHANGE_FOLDERS);
	int r = pair_get(t, dir, w, &p, e);
	if (r)
		return r;
	r = counted_get(t, p.before->id, p.after->id, w, &c, e);
	if (r)
		return r;
	const struct changes_table *table = changes_table_by_file(&c.counted->changes, name);
	if (!table || !table_shows(table, kind))
		return tree_none(ret, TREE_KEEP_LONG);
	uint64_t ino = table_ino(dir, kind, table, e);
	if (!ino)
		return -EOVERFLOW;
	changes_fill_dir(&p, ino, ret);
	return 0;
}

static const char *const changes_sides[] = {".before", ".after"};

/* Which side a name in changed/T is of: 0, 1; -1: none. *ret_len: without that. */
static int changes_side(const char *name, size_t *ret_len)
{
	size_t len = strlen(name);
	for (int k = 0; k < 2; k++) {
		size_t tail = strlen(changes_sides[k]);
		if (len > tail && !strcmp(name + len - tail, changes_sides[k])) {
			*ret_len = len - tail;
			return k;
		}
	}
	return -1;
}

static uint64_t changes_row_ino(const struct stored_row *row, struct err *e)
{
	uint64_t ino = ino_of_sub(INO_ROW, (uint64_t)row->ref.pack, row->ref.index);
	if (!ino)
		(void)err_set(e, EOVERFLOW, "changes/: a row's id is too large");
	return ino;
}

static int changes_fill_row(struct tree *t, const struct stored_row *row, struct tree_node *ret, struct err *e)
{
	uint64_t ino = changes_row_ino(row, e);
	if (ino)
		tree_fill_row(t, row, ino, false, ret);
	return ino ? 0 : -EOVERFLOW;
}

static int changes_lookup_row(struct tree *t, const struct ino *dir, const char *name, const struct tree_wait *w,
			      struct tree_node *ret, struct err *e)
{
	_cleanup_pair_ struct pair p = {0};
	struct table_pair tables;
	struct stored_row row;
	enum change kind = change_of(dir->kind);
	size_t len = strlen(name);
	int side = kind == CHANGE_CHANGED ? changes_side(name, &len) : kind == CHANGE_ADDED;
	if (side < 0)
		return tree_none(ret, TREE_KEEP_LONG);
	_cleanup_free_ char *file = xmemdup0(name, len);
	int r = pair_get(t, dir, w, &p, e);
	if (r)
		return r;
	r = pair_table(&p, dir, &tables);
	if (r)
		return r;
	r = changes_lookup(t->catalog, &tables, kind, side, file, &row, e);
	if (r < 0)
		return r == -ENOENT ? tree_none(ret, TREE_KEEP_LONG) : r;
	r = changes_fill_row(t, &row, ret, e);
	stored_row_done(&row);
	return r;
}

static int changes_find_name(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
			     const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	(void)number;
	if (dir->kind == INO_CHANGES)
		return changes_lookup_pair(t, dir, name, ret, e);
	if (is_table_kind(dir->kind))
		return changes_lookup_row(t, dir, name, w, ret, e);
	if (dir->sub == INO_CHANGE_TOP)
		return changes_lookup_top(dir, name, ret, e);
	return dir->sub == INO_CHANGE_SUMMARY ? -ENOTDIR : changes_lookup_table(t, dir, name, w, ret, e);
}

/* ---- listing ---- */

/* Cookies: 2 is the start. In changes/, c > 2 is the first pair whose newer snapshot has an id above c - 3. Elsewhere
 * nothing changes: entry number c - 2; in added/ and the like of all tables that differ, shown or not. */
struct changes_dir {
	struct tree *tree;
	struct ino ino;
	struct pair pair;
	struct counted_ref counted; /* of added/, removed/, changed/ */
	struct snapshot_list list;  /* of changes/: by moment */
	size_t *by_id;              /* its places, by id */
	struct table_pair table;    /* of a table's folder, */
	struct changes_cursor *cursor;
	struct changes_row row; /* which this row's of is, */
	uint64_t at;            /* by its number, */
	bool have;              /* if any; */
	uint64_t end;           /* how many there are, once that was seen */
	struct strbuf name;
};

static void changes_dir_forget_list(struct changes_dir *d)
{
	snapshot_list_done(&d->list);
	free(TAKE_PTR(d->by_id));
}

static void changes_dir_close(void *state)
{
	struct changes_dir *d = state;
	changes_cursor_close(d->cursor);
	counted_unref(&d->counted);
	changes_dir_forget_list(d);
	strbuf_done(&d->name);
	pair_unref(&d->pair);
	free(d);
}

static int changes_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			    bool *ret_cacheable, struct err *e)
{
	struct changes_dir *d = xcalloc(1, sizeof *d);
	int r;
	d->tree = d->pair.tree = t;
	d->ino = *i;
	d->end = UINT64_MAX;
	if (i->kind == INO_CHANGES) {
		int source = tree_source_index(t, i->id);
		r = source < 0 ? source : 0;
	} else if (i->kind == INO_CHANGE && i->sub == INO_CHANGE_SUMMARY) {
		r = -ENOTDIR;
	} else {
		r = pair_get(t, i, w, &d->pair, e);
		*ret_cacheable = true;
	}
	if (r == 0 && is_table_kind(i->kind))
		r = pair_table(&d->pair, i, &d->table);
	else if (r == 0 && i->kind == INO_CHANGE && i->sub >= INO_CHANGE_FOLDERS)
		r = counted_get(t, d->pair.before->id, d->pair.after->id, w, &d->counted, e);
	if (r)
		changes_dir_close(d);
	else
		*ret = d;
	return r;
}

static int changes_compare_id(const void *a, const void *b, void *list)
{
	const struct snapshot_list *l = list;
	int64_t x = l->v[*(const size_t *)a].id, y = l->v[*(const size_t *)b].id;
	return x < y ? -1 : x > y;
}

static int changes_dir_load(struct changes_dir *d, struct err *e)
{
	changes_dir_forget_list(d);
	int r = catalog_list(d->tree->catalog, (int64_t)d->ino.id, &d->list, e);
	if (r < 0)
		return r;
	d->by_id = xcalloc(d->list.n + 1, sizeof *d->by_id);
	for (size_t k = 0; k < d->list.n; k++)
		d->by_id[k] = k;
	qsort_r(d->by_id, d->list.n, sizeof *d->by_id, changes_compare_id, &d->list);
	return 0;
}

/* The pair at this cookie: its newer snapshot's place in the list by moment; 0: no more (the first has no older one).
 */
static size_t changes_dir_pair_at(const struct changes_dir *d, int64_t cookie)
{
	size_t low = 0, high = d->list.n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (cookie > 2 && d->list.v[d->by_id[mid]].id <= cookie - 3)
			low = mid + 1;
		else
			high = mid;
	}
	while (low < d->list.n && d->by_id[low] == 0)
		low++;
	return low < d->list.n ? d->by_id[low] : 0;
}

static int changes_peek_pairs(struct changes_dir *d, int64_t cookie, bool names_only, struct tree_entry *ret,
			      struct err *e)
{
	if (cookie == 2 || !d->by_id) { /* the start: a new look */
		int r = changes_dir_load(d, e);
		if (r < 0)
			return r;
	}
	size_t at = changes_dir_pair_at(d, cookie);
	if (!at)
		return 0;
	const struct snapshot_info *a = &d->list.v[at - 1], *b = &d->list.v[at];
	uint64_t ino = pair_ino(INO_CHANGE, (uint64_t)a->id, (uint64_t)b->id, INO_CHANGE_TOP, e);
	if (!ino)
		return -EOVERFLOW;
	strbuf_clear(&d->name);
	strbuf_addf(&d->name, "%s..%s", a->name, b->name);
	ret->name = d->name.data;
	ret->next = b->id + 3;
	ret->bare = names_only;
	int r = tree_ask(&ret->node, INO_CHANGE, ino);
	return names_only ? 1 : r;
}

static int changes_peek_top(struct changes_dir *d, int64_t cookie, struct tree_entry *ret, struct err *e)
{
	size_t k = (size_t)cookie - 2;
	if (k >= CHANGES_NAMES)
		return 0;
	uint64_t ino = pair_ino(INO_CHANGE, d->ino.id, d->ino.other, INO_CHANGE_SUMMARY + k, e);
	if (!ino)
		return -EOVERFLOW;
	ret->name = changes_names[k];
	return changes_ask_top(&ret->node, k, ino);
}

static int changes_peek_tables(struct changes_dir *d, int64_t cookie, struct tree_entry *ret, struct err *e)
{
	const struct changes *ch = &d->counted.counted->changes;
	enum change kind = (enum change)(d->ino.sub - INO_CHANGE_FOLDERS);
	size_t k = (size_t)cookie - 2;
	while (k < ch->n && !table_shows(&ch->v[k], kind))
		k++;
	if (k >= ch->n)
		return 0;
	uint64_t ino = table_ino(&d->ino, kind, &ch->v[k], e);
	if (!ino)
		return -EOVERFLOW;
	strbuf_clear(&d->name);
	table_file_name(ch->v[k].name, &d->name);
	ret->name = strbuf_str(&d->name);
	ret->next = (int64_t)k + 3;
	changes_fill_dir(&d->pair, ino, &ret->node);
	return 1;
}

/* Makes d->row number `at` of its kind: goes on where that is the next one, else begins again. 1, 0 at the end. */
static int changes_dir_goto(struct changes_dir *d, uint64_t at, struct err *e)
{
	int r = 1;
	if (at >= d->end)
		return 0;
	if (d->have && d->at == at)
		return 1;
	if (!d->have || d->at > at) {
		changes_cursor_close(TAKE_PTR(d->cursor));
		d->at = UINT64_MAX; /* one before the first */
		r = changes_cursor_open(&d->cursor, d->tree->catalog, &d->table, NULL, e);
	}
	d->have = false;
	while (r >= 0 && d->at != at) {
		r = changes_cursor_next(d->cursor, &d->row, e);
		if (r == 0)
			d->end = d->at + 1;
		if (r <= 0)
			return r;
		d->at += d->row.kind == change_of(d->ino.kind);
	}
	d->have = r >= 0;
	return r < 0 ? r : 1;
}

static int changes_peek_rows(struct changes_dir *d, int64_t cookie, bool names_only, struct tree_entry *ret,
			     struct err *e)
{
	bool both = d->ino.kind == INO_CHANGE_CHANGED;
	uint64_t number = (uint64_t)cookie - 2;
	int r = changes_dir_goto(d, both ? number / 2 : number, e);
	if (r <= 0)
		return r;
	size_t side = both ? number % 2 : d->ino.kind == INO_CHANGE_ADDED;
	const struct stored_row *row = side ? d->row.after : d->row.before;
	strbuf_clear(&d->name);
	row_name(row->codec, row->key, row->key_len, &d->name);
	if (both)
		strbuf_adds(&d->name, changes_sides[side]);
	ret->name = strbuf_str(&d->name);
	if (names_only) { /* a row's time is found by parsing it */
		ret->bare = true;
		ret->node.ino = changes_row_ino(row, e);
		ret->node.mode = TREE_FILE;
		return ret->node.ino ? 1 : -EOVERFLOW;
	}
	r = changes_fill_row(d->tree, row, &ret->node, e);
	return r < 0 ? r : 1;
}

static int changes_dir_peek(void *state, int64_t cookie, bool names_only, struct tree_entry *ret, struct err *e)
{
	struct changes_dir *d = state;
	if (d->ino.kind == INO_CHANGES)
		return changes_peek_pairs(d, cookie, names_only, ret, e);
	if (is_table_kind(d->ino.kind))
		return changes_peek_rows(d, cookie, names_only, ret, e);
	return d->ino.sub == INO_CHANGE_TOP ? changes_peek_top(d, cookie, ret, e)
					    : changes_peek_tables(d, cookie, ret, e);
}

static uint64_t changes_dir_parent(void *state)
{
	const struct changes_dir *d = state;
	const struct ino *i = &d->ino;
	if (i->kind == INO_CHANGES)
		return ino_of(INO_SOURCE, i->id);
	if (i->kind == INO_CHANGE && i->sub == INO_CHANGE_TOP)
		return ino_of(INO_CHANGES, (uint64_t)d->pair.before->source_id);
	return pair_ino(INO_CHANGE, i->id, i->other,
			i->kind == INO_CHANGE ? (uint64_t)INO_CHANGE_TOP
					      : (uint64_t)INO_CHANGE_FOLDERS + change_of(i->kind),
			ERR_DROP);
}

const struct tree_part tree_part_changes = {
    .getattr = changes_getattr,
    .lookup = changes_find_name,
    .text = changes_text_of,
    .dir_open = changes_dir_open,
    .dir_peek = changes_dir_peek,
    .dir_parent = changes_dir_parent,
    .dir_close = changes_dir_close,
};
