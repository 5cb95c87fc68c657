/*
 * snapshot/stream/changes.c - see changes.h. Any thread; nothing is kept between calls, no locks.
 */
#include "snapshot/stream/changes.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/row/manifest.h"
#include "snapshot/stream/stream.h"

/* ---- tables ---- */

void table_pairs_done(struct table_pairs *p)
{
	version_list_done(&p->before);
	version_list_done(&p->after);
	free(p->v);
	*p = (struct table_pairs){0};
}

/* Asked after its tables were read: one that is removed before has none, and all of the other's rows would look new. */
static int changes_is_there(struct catalog *c, int64_t snapshot, struct err *e)
{
	struct snapshot_info info;
	int r = catalog_get(c, snapshot, &info, e);
	if (r == 0)
		snapshot_info_done(&info);
	return r;
}

int table_pairs_load(struct catalog *c, int64_t before, int64_t after, struct table_pairs *ret, struct err *e)
{
	*ret = (struct table_pairs){0};
	int r = catalog_tables(c, before, &ret->before, e);
	if (r == 0)
		r = catalog_tables(c, after, &ret->after, e);
	if (r == 0)
		r = changes_is_there(c, before, e);
	if (r == 0)
		r = changes_is_there(c, after, e);
	if (r < 0) {
		table_pairs_done(ret);
		return r;
	}
	const struct version_list *a = &ret->before, *b = &ret->after;
	ret->v = xcalloc(a->n + b->n + 1, sizeof *ret->v);
	for (size_t i = 0, k = 0; i < a->n || k < b->n;) {
		int order = i == a->n ? 1 : k == b->n ? -1 : strcmp(a->v[i].name, b->v[k].name);
		ret->v[ret->n++] = (struct table_pair){order <= 0 ? &a->v[i++] : NULL, order >= 0 ? &b->v[k++] : NULL};
	}
	return 0;
}

bool table_pair_same(const struct table_pair *p)
{
	const struct version_info *a = p->before, *b = p->after;
	return a && b && (a->id == b->id || (a->codec_id == b->codec_id && digest_equal(&a->digest, &b->digest)));
}

/* ---- rows ---- */

struct changes_cursor {
	struct merge merge;
};

void changes_cursor_close(struct changes_cursor *cc)
{
	if (!cc)
		return;
	row_stream_close(cc->merge.left);
	row_stream_close(cc->merge.right);
	free(cc);
}

int changes_cursor_open(struct changes_cursor **ret, struct catalog *c, const struct table_pair *p,
			const atomic_bool *stop, struct err *e)
{
	_cleanup_(cleanup_changes_cursor) struct changes_cursor *cc = xcalloc(1, sizeof *cc);
	bool same = table_pair_same(p);
	cc->merge = (struct merge){.differences = true, .stop = stop};
	int r = stream_version(&cc->merge.left, c, p->before && !same ? p->before->id : 0, e);
	if (r < 0)
		return r;
	r = stream_version(&cc->merge.right, c, p->after && !same ? p->after->id : 0, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(cc);
	return 0;
}

int changes_cursor_next(struct changes_cursor *cc, struct changes_row *ret, struct err *e)
{
	struct merge *m = &cc->merge;
	int r = merge_next(m, e);
	if (r == 1)
		*ret = (struct changes_row){.kind = m->kind == MERGE_LEFT    ? CHANGE_REMOVED
						    : m->kind == MERGE_RIGHT ? CHANGE_ADDED
									     : CHANGE_CHANGED,
					    .before = m->kind == MERGE_RIGHT ? NULL : m->l.stored,
					    .after = m->kind == MERGE_LEFT ? NULL : m->r.stored};
	return r;
}

/* The row of one side; its key, too. ENOENT also where that side has no such table. */
static int changes_find(struct catalog *c, const struct version_info *v, const char *file_name, struct stored_row *ret,
			struct err *e)
{
	int r = v ? catalog_row_by_name(c, v->id, file_name, ret, e) : err_set(e, ENOENT, "no such row");
	if (r < 0)
		return r;
	r = stored_row_key(ret, e);
	if (r < 0)
		stored_row_done(ret);
	return r;
}

/* What the merge says of two rows with one name: names can be equal where the keys of two descriptions are not. */
static bool changes_is(const struct stored_row *a, const struct stored_row *b, enum change kind)
{
	bool same_key = !key_compare(a->key, a->key_len, b->key, b->key_len);
	if (kind != CHANGE_CHANGED)
		return !same_key;
	return same_key && (a->line_len != b->line_len || memcmp(a->line, b->line, a->line_len));
}

int changes_lookup(struct catalog *c, const struct table_pair *p, enum change kind, bool after, const char *file_name,
		   struct stored_row *ret, struct err *e)
{
	const struct version_info *wanted = after ? p->after : p->before, *beside = after ? p->before : p->after;
	_cleanup_(stored_row_done) struct stored_row row = {0}, other = {0};
	if (table_pair_same(p))
		return err_set(e, ENOENT, "no such row");
	int r = changes_find(c, wanted, file_name, &row, e);
	if (r < 0)
		return r;
	r = changes_find(c, beside, file_name, &other, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r < 0 ? kind == CHANGE_CHANGED : !changes_is(&row, &other, kind))
		return err_set(e, ENOENT, "no such row");
	*ret = row;
	row = (struct stored_row){0};
	return 0;
}

/* ---- counts ---- */

void changes_done(struct changes *ch)
{
	for (size_t i = 0; i < ch->n; i++)
		free(ch->v[i].name);
	free(ch->v);
	*ch = (struct changes){0};
}

static int changes_count_table(struct catalog *c, const struct table_pair *p, const atomic_bool *stop,
			       struct changes_table *t, struct err *e)
{
	const struct version_info *a = p->before, *b = p->after;
	_cleanup_(cleanup_changes_cursor) struct changes_cursor *cc = NULL;
	struct changes_row row;
	*t = (struct changes_table){.name = xstrdup(table_pair_name(p)),
				    .is_before = a,
				    .is_after = b,
				    .altered = a && b && a->codec_id != b->codec_id,
				    .ordinal_before = a ? a->ordinal : 0,
				    .ordinal_after = b ? b->ordinal : 0,
				    .rows_before = a ? a->rows : 0,
				    .rows_after = b ? b->rows : 0};
	if (!a || !b) {
		t->n[a ? CHANGE_REMOVED : CHANGE_ADDED] = a ? a->rows : b->rows;
		return 0;
	}
	int r = changes_cursor_open(&cc, c, p, stop, e);
	while (r == 0 && (r = changes_cursor_next(cc, &row, e)) == 1) {
		t->n[row.kind]++;
		r = 0;
	}
	return r;
}

int changes_schema(struct catalog *c, int64_t before, int64_t after, bool *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf a = {0}, b = {0};
	int r = catalog_schema_sql(c, before, &a, e);
	if (r == 0)
		r = catalog_schema_sql(c, after, &b, e);
	*ret = r == 0 && (a.len != b.len || memcmp(strbuf_str(&a), strbuf_str(&b), a.len));
	return r;
}

/* The tables that differ into *ch. A damaged one does not keep the others from being told: -EIO at the end. */
static int changes_count_tables(struct catalog *c, const struct table_pairs *pairs, const atomic_bool *stop,
				struct changes *ch, struct err *e)
{
	int r = 0, damage = 0;
	ch->v = xcalloc(pairs->n + 1, sizeof *ch->v);
	for (size_t i = 0; r == 0 && i < pairs->n; i++) {
		const struct table_pair *p = &pairs->v[i];
		if (table_pair_same(p)) {
			ch->same++;
			ch->same_rows += p->after->rows;
			continue;
		}
		struct changes_table *t = &ch->v[ch->n++];
		struct err why = ERR_INIT;
		r = changes_count_table(c, p, stop, t, &why);
		if (r < 0 && (r != -EIO || !damage))
			(void)err_set(e, -r, "table %s: %s", t->name, why.msg);
		if (r == -EIO) {
			memset(t->n, 0, sizeof t->n);
			t->damaged = true;
			damage = r;
			r = 0;
		}
	}
	return r < 0 ? r : damage;
}

int changes_count(struct catalog *c, int64_t before, int64_t after, const atomic_bool *stop, struct changes *ret,
		  struct err *e)
{
	struct table_pairs pairs;
	*ret = (struct changes){0};
	int r = table_pairs_load(c, before, after, &pairs, e);
	if (r < 0)
		return r;
	r = changes_schema(c, before, after, &ret->schema, e);
	if (r == 0)
		r = changes_count_tables(c, &pairs, stop, ret, e);
	table_pairs_done(&pairs);
	if (r < 0 && r != -EIO)
		changes_done(ret);
	return r;
}

/* ---- text ---- */

static uint64_t changes_sum(const struct changes_table *t)
{
	return t->n[CHANGE_ADDED] + t->n[CHANGE_REMOVED] + t->n[CHANGE_CHANGED];
}

static int changes_order(const void *a, const void *b)
{
	const struct changes_table *x = *(const struct changes_table *const *)a;
	const struct changes_table *y = *(const struct changes_table *const *)b;
	uint64_t n = changes_sum(x), m = changes_sum(y);
	return n != m ? (n > m ? -1 : 1) : strcmp(x->name, y->name);
}

#define CHANGES_COLUMNS 5U

/* Widths of the numbers' columns: the last line has the largest ones. */
struct changes_width {
	int column[CHANGES_COLUMNS];
};

static void changes_line(const struct changes_width *w, const struct changes_table *t, const char *note,
			 struct strbuf *out)
{
	const uint64_t numbers[CHANGES_COLUMNS] = {t->n[CHANGE_ADDED], t->n[CHANGE_REMOVED], t->n[CHANGE_CHANGED],
						   t->rows_before, t->rows_after};
	for (size_t i = 0; i < CHANGES_COLUMNS; i++)
		strbuf_addf(out, "%*" PRIu64 "  ", w->column[i], numbers[i]);
	strbuf_addf(out, "%-7s  ", note);
}

static struct changes_table changes_total(const struct changes *ch)
{
	struct changes_table t = {.rows_before = ch->same_rows, .rows_after = ch->same_rows};
	for (size_t i = 0; i < ch->n; i++) {
		for (size_t k = 0; k < CHANGE_KINDS; k++)
			t.n[k] += ch->v[i].n[k];
		t.rows_before += ch->v[i].rows_before;
		t.rows_after += ch->v[i].rows_after;
	}
	return t;
}

static struct changes_width changes_head(const struct changes_table *total, struct strbuf *out)
{
	static const char *const names[CHANGES_COLUMNS] = {"ADDED", "REMOVED", "CHANGED", "BEFORE", "AFTER"};
	const uint64_t numbers[CHANGES_COLUMNS] = {total->n[CHANGE_ADDED], total->n[CHANGE_REMOVED],
						   total->n[CHANGE_CHANGED], total->rows_before, total->rows_after};
	struct changes_width w;
	for (size_t i = 0; i < CHANGES_COLUMNS; i++) {
		int digits = snprintf(NULL, 0, "%" PRIu64, numbers[i]), name = (int)strlen(names[i]);
		w.column[i] = digits > name ? digits : name;
		strbuf_addf(out, "%*s  ", w.column[i], names[i]);
	}
	strbuf_adds(out, "NOTE     TABLE\n");
	return w;
}

void changes_text(const struct changes *ch, struct strbuf *out)
{
	_cleanup_free_ const struct changes_table **v = xcalloc(ch->n + 1, sizeof *v);
	struct changes_table total = changes_total(ch);
	struct changes_table same = {.rows_before = ch->same_rows, .rows_after = ch->same_rows};
	struct changes_width w = changes_head(&total, out);
	for (size_t i = 0; i < ch->n; i++)
		v[i] = &ch->v[i];
	qsort(v, ch->n, sizeof *v, changes_order);
	for (size_t i = 0; i < ch->n; i++) {
		const struct changes_table *t = v[i];
		changes_line(&w, t,
			     !t->is_before  ? "new"
			     : !t->is_after ? "dropped"
			     : t->altered   ? "altered"
					    : "-",
			     out);
		table_file_name(t->name, out);
		strbuf_addch(out, '\n');
	}
	changes_line(&w, &same, "same", out);
	strbuf_addf(out, "%zu table%s\n", ch->same, ch->same == 1 ? "" : "s");
	changes_line(&w, &total, "total", out);
	strbuf_addf(out, "%zu table%s\n", ch->same + ch->n, ch->same + ch->n == 1 ? "" : "s");
	strbuf_addf(out, "schema.sql %s\n", ch->schema ? "changed" : "same");
}
