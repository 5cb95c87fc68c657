/*
 * fs/tree/tables.c - the tables of a snapshot and the rows in them: as folders of row files, below snapshots/ and now/,
 * and as files, below archives/.
 *
 * Any thread; a listing belongs to one at a time. Lock: tree_file.mutex.
 */
#include "fs/tree/tables.h"

#include <errno.h>

#include "fs/tree/internal.h"

#define TABLES_PIN_ROW (1u << 20)

/* A table's inode: its snapshot, and its version there. */
static int table_of(struct tree *t, const struct ino *i, const struct tree_wait *w, struct snap **ret_snap,
		    const struct version_info **ret, struct err *e)
{
	int r = snap_get(t, (int64_t)i->id, w, ret_snap, e);
	if (r)
		return r;
	*ret = snap_table(*ret_snap, i->sub);
	return *ret ? 0 : -ENOENT;
}

static uint64_t table_ino(enum ino_kind kind, uint64_t snapshot, const struct version_info *v)
{
	return v->ordinal <= INO_ORDINAL_MAX ? ino_of_sub(kind, snapshot, (uint32_t)v->ordinal) : 0;
}

/* ---- the folder of tables ---- */

static int tables_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			  struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	if (r)
		return r;
	tree_now_pass(t, i, ref.snap);
	size_t folders = i->kind == INO_ARCHIVE_TABLES ? 0 : ref.snap->tables.n;
	tree_fill(t, ret, number, TREE_DIR, (uint32_t)(2 + folders), TREE_DIR_SIZE, ref.snap->taken_ms);
	if (tree_kinds[i->kind].now)
		ret->keep_entry = TREE_KEEP_NO; /* as with the files beside it */
	return 0;
}

static int tables_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
			 const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	enum ino_kind kind = tree_kinds[dir->kind].child;
	size_t len = strlen(name);

	int r = snap_get(t, (int64_t)dir->id, w, &ref.snap, e);
	if (r)
		return r;
	if (kind == INO_ARCHIVE_TABLE) {
		if (len < 6 || strcmp(name + len - 6, ".jsonl"))
			return tree_none(ret, TREE_KEEP_LONG);
		len -= 6;
	}
	const struct version_info *v = snap_table_by_file(ref.snap, name, len);
	if (!v)
		return tree_none(ret, TREE_KEEP_LONG);
	uint64_t ino = table_ino(kind, dir->id, v);
	return ino ? tree_ask(ret, kind, ino) : err_set(e, EOVERFLOW, "table %s: too many tables", v->name);
}

/* Of tables/, by number: cookie - 2. Of a table: 2 is .table.json, c > 2 row number c - 3. */
struct table_dir {
	struct tree *tree;
	struct ino ino;
	struct snap *snap;
	struct strbuf name;
	/* rows */
	struct row_cursor *cursor;
	struct stored_row row;
	uint64_t cursor_at; /* row number that `row` is, when have_row */
	bool have_row;
};

static void table_dir_close(void *state)
{
	struct table_dir *d = state;
	row_cursor_close(d->cursor);
	strbuf_done(&d->name);
	snap_unref(d->tree, d->snap);
	free(d);
}

static int table_dir_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			  bool *ret_cacheable, struct err *e)
{
	struct snap *s;
	int r = snap_get(t, (int64_t)i->id, w, &s, e);
	if (r)
		return r;
	*ret_cacheable = !tree_kinds[i->kind].now;
	struct table_dir *d = xcalloc(1, sizeof *d);
	d->tree = t;
	d->ino = *i;
	d->snap = s;
	*ret = d;
	return 0;
}

static int tables_dir_peek(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e)
{
	struct table_dir *d = state;
	enum ino_kind kind = tree_kinds[d->ino.kind].child;
	size_t number = (size_t)at - 2;
	if (number >= d->snap->tables.n)
		return 0;
	strbuf_clear(&d->name);
	strbuf_adds(&d->name, d->snap->files[number]);
	if (kind == INO_ARCHIVE_TABLE)
		strbuf_adds(&d->name, ".jsonl");
	ret->name = strbuf_str(&d->name);
	uint64_t ino = table_ino(kind, d->ino.id, &d->snap->tables.v[number]);
	return ino ? tree_ask(&ret->node, kind, ino) : -EOVERFLOW;
}

static uint64_t table_dir_parent(void *state)
{
	const struct table_dir *d = state;
	return tree_parent(&d->ino, d->snap->source_id);
}

const struct tree_part tree_part_tables = {
    .getattr = tables_getattr,
    .lookup = tables_lookup,
    .dir_open = table_dir_open,
    .dir_peek = tables_dir_peek,
    .dir_parent = table_dir_parent,
    .dir_close = table_dir_close,
};

/* ---- a table as a folder ---- */

static int table_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			 struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const struct version_info *v;
	int r = table_of(t, i, w, &ref.snap, &v, e);
	if (r)
		return r;
	tree_now_pass(t, i, ref.snap);
	bool writable =
	    tree_kinds[i->kind].now && tree_now_writable(t, tree_source_index(t, (uint64_t)ref.snap->source_id));
	tree_fill(t, ret, number, writable ? TREE_DIR_RW : TREE_DIR, 2, TREE_DIR_SIZE, ref.snap->taken_ms);
	return 0;
}

/* A row's inode in a table's folder, and its attributes if they are wanted. */
static int table_fill_row(struct tree *t, bool now, uint64_t source_id, const struct version_info *v,
			  const struct stored_row *row, bool number_only, struct tree_node *ret, struct err *e)
{
	uint64_t ino = tree_row_ino(now, source_id, &row->ref);
	if (!ino)
		return err_set(e, EOVERFLOW, "table %s: a row's id is too large", v->name);
	if (number_only) { /* a row's time is found by parsing it */
		*ret = (struct tree_node){.ino = ino, .mode = TREE_FILE};
		return 0;
	}
	tree_fill_row(t, row, ino, now && tree_now_writable(t, tree_source_index(t, source_id)), ret);
	if (now)
		ret->keep_entry = TREE_KEEP_SHORT;
	return 0;
}

static int table_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
			const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const struct version_info *v;
	const struct tree_kind *k = &tree_kinds[dir->kind];
	struct stored_row row;

	if (k->now && t->overlay.lookup && t->overlay.lookup(t->overlay.arg, number, name, ret))
		return 0;
	if (!strcmp(name, ".table.json"))
		return tree_ask(ret, k->child, ino_of_sub(k->child, dir->id, dir->sub));
	int r = table_of(t, dir, w, &ref.snap, &v, e);
	if (r)
		return r;
	tree_now_pass(t, dir, ref.snap);
	r = catalog_row_by_name(t->catalog, v->id, name, &row, e);
	if (r < 0)
		return r == -ENOENT ? tree_none(ret, k->now ? TREE_KEEP_NO : TREE_KEEP_LONG) : r;
	r = table_fill_row(t, k->now, (uint64_t)ref.snap->source_id, v, &row, false, ret, e);
	stored_row_done(&row);
	return r;
}

static int table_rows_open(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret,
			   bool *ret_cacheable, struct err *e)
{
	void *state;
	int r = table_dir_open(t, i, w, &state, ret_cacheable, e);
	if (r)
		return r;
	const struct table_dir *d = state;
	if (!snap_table(d->snap, i->sub)) {
		table_dir_close(state);
		return -ENOENT;
	}
	*ret = state;
	return 0;
}

/* Makes `row` that of this number. */
static int table_dir_goto(struct table_dir *d, const struct version_info *v, uint64_t number, struct err *e)
{
	int r;
	if (d->have_row && d->cursor_at == number)
		return 0;
	/* a cursor that stands right before the row goes on; else a new one */
	if (!d->cursor || !d->have_row || d->cursor_at + 1 != number) {
		row_cursor_close(TAKE_PTR(d->cursor));
		d->have_row = false;
		r = row_cursor_open(&d->cursor, d->tree->catalog, v->id, number, e);
		if (r < 0)
			return r;
	}
	d->have_row = false;
	r = row_cursor_next(d->cursor, &d->row, e);
	if (r == 0)
		return err_set(e, EIO, "table %s: the catalog holds fewer rows than it says", v->name);
	if (r < 0)
		return r;
	d->have_row = true;
	d->cursor_at = number;
	strbuf_clear(&d->name);
	row_name(d->row.codec, d->row.key, d->row.key_len, &d->name);
	return 0;
}

static int table_rows_peek(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e)
{
	struct table_dir *d = state;
	struct tree *t = d->tree;
	const struct tree_kind *k = &tree_kinds[d->ino.kind];
	const struct version_info *v = snap_table(d->snap, d->ino.sub);
	if (at == 2) {
		ret->name = ".table.json";
		return tree_ask(&ret->node, k->child, ino_of_sub(k->child, d->ino.id, d->ino.sub));
	}
	uint64_t number = (uint64_t)at - 3;
	if (number >= v->rows)
		return 0;
	if (number % 64 == 0)
		tree_now_pass(t, &d->ino, d->snap);
	int r = table_dir_goto(d, v, number, e);
	if (r < 0)
		return r;
	r = table_fill_row(t, k->now, (uint64_t)d->snap->source_id, v, &d->row, names_only, &ret->node, e);
	if (r < 0)
		return r;
	ret->name = strbuf_str(&d->name);
	ret->bare = names_only;
	return 1;
}

const struct tree_part tree_part_table = {
    .getattr = table_getattr,
    .lookup = table_lookup,
    .dir_open = table_rows_open,
    .dir_peek = table_rows_peek,
    .dir_parent = table_dir_parent,
    .dir_close = table_dir_close,
    .getxattr = tree_table_xattr,
    .listxattr = tree_table_xattrs,
};

int tree_now_table(struct tree *t, uint64_t number, struct strbuf *ret_table, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const struct version_info *v;
	struct ino i;
	if (!ino_decode(number, &i) || i.kind != INO_NOW_TABLE)
		return -ENOENT;
	int r = table_of(t, &i, NULL, &ref.snap, &v, e);
	if (r)
		return r < 0 ? r : -ENOENT;
	strbuf_adds(ret_table, v->name);
	return 0;
}

/* ---- .table.json ---- */

static int table_json_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			      struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const struct version_info *v;
	size_t len;
	int r = table_of(t, i, w, &ref.snap, &v, e);
	if (r)
		return r;
	tree_now_pass(t, i, ref.snap);
	r = snap_json_len(t, ref.snap, v, &len, e);
	if (r < 0)
		return r;
	tree_fill(t, ret, number, TREE_FILE, 1, len, v->since_ms);
	return 0;
}

static int table_json_text(struct tree *t, const struct ino *i, const struct tree_wait *w, struct strbuf *out,
			   struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const struct version_info *v;
	int r = table_of(t, i, w, &ref.snap, &v, e);
	return r ? r : catalog_table_json(t->catalog, v->id, out, e);
}

const struct tree_part tree_part_table_json = {.getattr = table_json_getattr, .text = table_json_text};

/* ---- a table as a file ---- */

static int archive_table_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
				 struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const struct version_info *v;
	int r = table_of(t, i, w, &ref.snap, &v, e);
	if (r)
		return r;
	tree_fill(t, ret, number, TREE_FILE, 1, v->line_bytes, v->since_ms);
	return 0;
}

/* Read in place: tree_read_spans. */
static int archive_table_open(struct tree *t, const struct ino *i, const struct tree_wait *w, struct tree_file *ret,
			      bool *ret_direct, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const struct version_info *v;
	int r = table_of(t, i, w, &ref.snap, &v, e);
	if (r)
		return r;
	ret->version = v->id;
	return 0;
}

const struct tree_part tree_part_archive_table = {
    .getattr = archive_table_getattr,
    .open = archive_table_open,
    .getxattr = tree_table_xattr,
    .listxattr = tree_table_xattrs,
};

/* ---- a row ---- */

static int row_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
		       struct tree_node *ret, struct err *e)
{
	struct stored_row row;
	struct row_ref ref = {.pack = (int64_t)i->id, .index = i->sub};
	int r = catalog_row_by_ref(t->catalog, ref, &row, e);
	if (r < 0)
		return r;
	bool writable = i->kind == INO_NOW_ROW && tree_now_writable(t, tree_source_index(t, i->source));
	tree_fill_row(t, &row, number, writable, ret);
	stored_row_done(&row);
	return 0;
}

static int row_source(struct tree *t, const struct ino *i)
{
	return i->kind == INO_NOW_ROW ? tree_source_index(t, i->source) : -ENOENT;
}

/* It is looked at when it is read. */
static int row_open(struct tree *t, const struct ino *i, const struct tree_wait *w, struct tree_file *ret,
		    bool *ret_direct, struct err *e)
{
	return 0;
}

/* A large row, which many requests read, is written out once for each open. */
static int row_read(struct tree *t, const struct ino *i, struct tree_file *f, uint64_t offset, size_t n,
		    struct strbuf *out, struct err *e)
{
	struct stored_row row;
	if (i->kind == INO_NOW_ROW)
		tree_now_touch(t, tree_source_index(t, i->source));
	MUTEX_GUARD(&f->mutex);
	if (f->own.len) {
		tree_slice(f->own.data, f->own.len, offset, n, out);
		return 0;
	}
	int r = catalog_row_by_ref(t->catalog, (struct row_ref){.pack = (int64_t)i->id, .index = i->sub}, &row, e);
	if (r < 0)
		return r;
	if (row.file_size > TABLES_PIN_ROW) {
		row_pretty(row.line, row.line_len, &f->own);
		tree_slice(f->own.data, f->own.len, offset, n, out);
	} else if (offset == 0 && n >= row.file_size) {
		row_pretty(row.line, row.line_len, out);
	} else {
		_cleanup_strbuf_ struct strbuf text = {0};
		row_pretty(row.line, row.line_len, &text);
		tree_slice(strbuf_str(&text), text.len, offset, n, out);
	}
	stored_row_done(&row);
	return 0;
}

const struct tree_part tree_part_row = {
    .getattr = row_getattr,
    .source = row_source,
    .open = row_open,
    .read = row_read,
    .getxattr = tree_row_xattr,
};

int tree_row_text(struct tree *t, uint64_t number, struct strbuf *ret_table, struct strbuf *ret_name,
		  struct strbuf *out, struct err *e)
{
	struct ino i;
	struct stored_row row;
	if (!ino_decode(number, &i) || (i.kind != INO_ROW && i.kind != INO_NOW_ROW))
		return -ENOENT;
	int r = catalog_row_by_ref(t->catalog, (struct row_ref){.pack = (int64_t)i.id, .index = i.sub}, &row, e);
	if (r < 0)
		return r;
	if (ret_table)
		strbuf_adds(ret_table, row_codec_table(row.codec)->name);
	if (ret_name)
		r = stored_row_key(&row, e);
	if (r == 0 && ret_name)
		row_name(row.codec, row.key, row.key_len, ret_name);
	if (out)
		row_pretty(row.line, row.line_len, out);
	stored_row_done(&row);
	return r;
}
