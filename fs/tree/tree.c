/*
 * fs/tree/tree.c - see tree.h. Owns no content: every answer is made from the catalog, the service's texts or the staging
 * area.
 *
 * What it keeps: descriptions of the snapshots used last (struct snap, with references), a summary of each source, and
 * the texts of status.txt, journal.txt and preflight.txt that open files hold. The first two are checked against the
 * catalog's data version, so that another process's changes show. Threads: all. Lock: tree.mutex, never held over a
 * call into the catalog, the service or the staging area.
 */
#include "fs/tree/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "base/text.h"
#include "snapshot/restore/policy.h"

#define TREE_PIN_ROW (1u << 20)
#define TREE_TEXT_FRESH_MS 500
#define TREE_STAGED_BATCH 64
#define TREE_NOW_TOUCH_MS 250

/* ---- state ---- */

/* A text that changes: rendered once, shared by those who opened it. */
struct text {
	struct strbuf text;
	int64_t rendered_ms;
	int refs;
	int opens;
};

enum { TEXT_STATUS, TEXT_JOURNAL, TEXT_PREFLIGHT, TEXTS };

struct source_state {
	int64_t id;
	struct text *texts[TEXTS];
	/* summary */
	bool known;
	int64_t version;
	size_t snapshots;
	int64_t latest_ms;
	char latest[256];
	/* the unfinished snapshot that was seen last, and when */
	int64_t pending_id;
	int64_t pending_ms;
	atomic_llong now_touched_ms; /* when now/ was last said to be in use */
};

static const char tree_readme[] =
    "metasnap: snapshots of databases as files\n"
    "\n"
    "Each folder here is one database (a source). In it:\n"
    "\n"
    "  now/          the database as it is now: copying it out makes a backup of one moment\n"
    "  snapshots/    what was kept; one folder for each snapshot, one file for each row\n"
    "  archives/     the same snapshots as a few large files: best for rsync and for restoring\n"
    "  entities/     the entities of a snapshot by their fully-qualified names, as links to the row files\n"
    "  history/      what an entity was: one file for each time it changed\n"
    "  changes/      what differs between two of them: changes/A..B/summary.txt, added/, removed/, changed/\n"
    "  restore/      copy a backup in here and it is restored\n"
    "  status.txt    the server, the last snapshot, the running job, the last error\n"
    "  preflight.txt is the database ready for an upgrade?\n"
    "  journal.txt   every snapshot, restore, rename and removal: when, who, with what result\n"
    "\n"
    "Take a snapshot       mkdir snapshots/before-1.4      (ls snapshots/before-1.4 waits for its end)\n"
    "Name it otherwise     mv snapshots/before-1.4 snapshots/good\n"
    "Remove it             rmdir snapshots/good            (the only way: rm -r is refused)\n"
    "Look                  cat snapshots/latest/tables/TABLE/KEY.json\n"
    "Find an entity        cat entities/latest/table/SERVICE/DATABASE/SCHEMA/NAME.json\n"
    "Who changed it?       cd history/table/SERVICE/DATABASE/SCHEMA/NAME && diff A.json B.json\n"
    "What changed?         cat changes/A..B/summary.txt    (any two names; `latest` is one)\n"
    "Copy it off site      rsync -a archives/good/ backup:/good/\n"
    "Check a copy          cd /backup/good && sha256sum -c SHA256SUMS\n"
    "Restore a copy        cp -a /backup/good restore/ && echo restored\n"
    "Restore a snapshot    ln -s ../snapshots/good restore/good\n"
    "Restore one table     cp -a /backup/good/tables/TABLE restore/\n"
    "Restore a .sql file   cp /backup/openmetadata_..._backup.sql restore/      (OpenMetadata's `metadata backup`)\n"
    "Restore one entity    ln -s ../entities/good/table/svc/db/schema/orders.json restore/orders\n"
    "\n"
    "A restore starts when the copy is complete and its digests are right; the copying command fails when it\n"
    "is refused, and restore/NAME/ERROR.txt says why. restore/NAME/PLAN.txt lists what it changes. When the cause is "
    "gone,\n"
    "`touch restore/NAME/APPLY` tries again. A snapshot of the database as it was is taken first. What may be\n"
    "overwritten is set by `restore = off | empty | replace` in the configuration (default: empty).\n"
    "Backups hold what the database holds, passwords and keys included: keep copies as safe as the database.\n";

static int64_t tree_now_ms(clockid_t clock)
{
	struct timespec t;
	(void)clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- opening ---- */

int tree_open(struct tree **ret, struct service *svc, struct staging *s, uid_t uid, gid_t gid, struct err *e)
{
	_cleanup_(cleanup_tree) struct tree *t = xcalloc(1, sizeof *t);

	(void)pthread_mutex_init(&t->mutex, NULL);
	t->service = svc;
	t->catalog = service_catalog(svc);
	t->staging = s;
	t->uid = uid;
	t->gid = gid;
	t->counted = counted_cache_new();

	/* A time that stays: the catalog's birth, where the file system tells it. */
	struct statx sx;
	if (statx(AT_FDCWD, catalog_path(t->catalog), 0, STATX_BTIME, &sx) == 0 && (sx.stx_mask & STATX_BTIME))
		t->created_ms = (int64_t)sx.stx_btime.tv_sec * 1000;

	t->n_sources = service_sources(svc);
	t->sources = xcalloc(t->n_sources + 1, sizeof *t->sources);
	for (size_t k = 0; k < t->n_sources; k++) {
		t->sources[k].id = service_source_id(svc, k);
		if (!ino_of(INO_SOURCE, (uint64_t)t->sources[k].id))
			return err_set(e, EOVERFLOW, "source %s: its id in the catalog is too large",
				       service_source(svc, k)->name);
		int r = staging_add_root(s, t->sources[k].id, uid, gid, t->created_ms * 1000000);
		if (r < 0)
			return err_sys(e, -r, "the staging area of restore/");
	}
	*ret = TAKE_PTR(t);
	return 0;
}

static void snap_free(struct snap *s)
{
	if (!s)
		return;
	for (size_t k = 0; s->files && k < s->tables.n; k++)
		free(s->files[k]);
	free(s->files);
	free(s->by_ordinal);
	free(s->json_len);
	version_list_done(&s->tables);
	free(s);
}

static void text_free(struct text *x)
{
	if (!x)
		return;
	strbuf_done(&x->text);
	free(x);
}

void tree_close(struct tree *t)
{
	if (!t)
		return;
	for (size_t k = 0; k < TREE_SNAPS; k++)
		snap_free(t->snaps[k]);
	for (size_t k = 0; k < t->n_sources; k++)
		for (size_t x = 0; x < TEXTS; x++)
			text_free(t->sources[k].texts[x]);
	tree_history_close(t);
	free(t->sources);
	counted_cache_free(t->counted);
	(void)pthread_mutex_destroy(&t->mutex);
	free(t);
}

void tree_set_overlay(struct tree *t, const struct tree_overlay *o)
{
	t->overlay = *o;
}

/* ---- sources ---- */

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

/* Source whose unfinished snapshot has this id; -ENOENT. */
static int tree_pending(struct tree *t, int64_t id, int64_t *ret_ms)
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
			s->pending_ms = tree_now_ms(CLOCK_REALTIME);
		}
		if (ret_ms)
			*ret_ms = s->pending_ms;
		return (int)k;
	}
	return -ENOENT;
}

/* ---- snapshots ---- */

void snap_unref(struct tree *t, struct snap *s)
{
	if (!s)
		return;
	bool last;
	{
		MUTEX_GUARD(&t->mutex);
		last = --s->refs == 0;
	}
	if (last)
		snap_free(s);
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
	s->checked = version;
	s->refs = 1;
	snapshot_info_done(&info);
	r = catalog_tables(t->catalog, id, &s->tables, e);
	if (r < 0) {
		snap_free(s);
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
			snap_free(s);
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
	MUTEX_GUARD(&t->mutex);
	for (size_t k = 0; k < TREE_SNAPS; k++) {
		struct snap *s = t->snaps[k];
		if (s && s->id == id && s->checked == version) {
			s->refs++;
			s->used = ++t->clock;
			return s;
		}
	}
	return NULL;
}

static struct snap *snap_recheck(struct tree *t, int64_t id, int64_t version)
{
	struct snapshot_info info;
	if (catalog_get(t->catalog, id, &info, ERR_DROP) < 0)
		return NULL;
	snapshot_info_done(&info);
	MUTEX_GUARD(&t->mutex);
	for (size_t k = 0; k < TREE_SNAPS; k++) {
		struct snap *s = t->snaps[k];
		if (s && s->id == id) {
			s->checked = version;
			atomic_store(&s->names, 0); /* it may be another one now */
			s->refs++;
			s->used = ++t->clock;
			return s;
		}
	}
	return NULL;
}

static void snap_keep(struct tree *t, struct snap *s)
{
	struct snap *out = NULL;
	{
		MUTEX_GUARD(&t->mutex);
		size_t at = 0;
		for (size_t k = 0; k < TREE_SNAPS; k++) {
			if (t->snaps[k] && t->snaps[k]->id == s->id) {
				at = k;
				break;
			}
			if (t->snaps[at] && (!t->snaps[k] || t->snaps[k]->used < t->snaps[at]->used))
				at = k;
		}
		out = t->snaps[at];
		t->snaps[at] = s;
		s->refs++;
		s->used = ++t->clock;
		if (out && --out->refs > 0)
			out = NULL;
	}
	snap_free(out);
}

int snap_get(struct tree *t, int64_t id, const struct tree_wait *w, struct snap **ret, struct err *e)
{
	int64_t version = catalog_data_version(t->catalog);
	struct snap *s = snap_cached(t, id, version);
	if (!s)
		s = snap_recheck(t, id, version);
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
	snap_keep(t, s);
	*ret = s;
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
	if (r == 0)
		atomic_store(&s->names, *ret);
	return r;
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

static int snap_json_len(struct tree *t, struct snap *s, const struct version_info *v, size_t *ret, struct err *e)
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

/* Snapshot that now/ shows. */
static int tree_now_snapshot(struct tree *t, size_t source, const struct tree_wait *w, int64_t *ret, struct err *e)
{
	if (service_now_peek(t->service, source, ret) == 0)
		return 0;
	return w ? service_now(t->service, source, w->who, w->waiter, ret, e) : TREE_MUST_WAIT;
}

/* A reader that stays below now/tables (tar, find: by descriptors) does not pass now/ itself: that it goes on keeps the
 * snapshot in use all the same, so that what it reads next from now/ is of the same moment. */
static void tree_now_touch(struct tree *t, int source)
{
	if (source < 0)
		return;
	long long now = tree_now_ms(CLOCK_MONOTONIC), last = atomic_load(&t->sources[source].now_touched_ms);
	int64_t id;
	if (now - last >= TREE_NOW_TOUCH_MS &&
	    atomic_compare_exchange_strong(&t->sources[source].now_touched_ms, &last, now))
		(void)service_now_peek(t->service, (size_t)source, &id);
}

static bool tree_is_now(enum ino_kind kind)
{
	return kind == INO_NOW_MANIFEST || kind == INO_NOW_SCHEMA || kind == INO_NOW_TABLES || kind == INO_NOW_TABLE ||
	       kind == INO_NOW_TABLE_JSON;
}

/* ---- texts that change ---- */

static void text_unref(struct tree *t, struct text *x, bool opened)
{
	bool last;
	{
		MUTEX_GUARD(&t->mutex);
		if (opened)
			x->opens--;
		last = --x->refs == 0;
	}
	if (last)
		text_free(x);
}

static int text_render(struct tree *t, size_t source, int which, const struct tree_wait *w, struct text *x,
		       struct err *e)
{
	if (which == TEXT_PREFLIGHT)
		return service_preflight(t->service, source, w->waiter, &x->text, &x->rendered_ms, e);
	if (which == TEXT_JOURNAL)
		return service_journal(t->service, source, &x->text, e);
	service_status(t->service, source, &x->text);
	return 0;
}

/* The text of status.txt or journal.txt: whoever opens it gets a new one. Its size is fresh to half a second; while
 * somebody has it open, it is that of the text opened last. That of preflight.txt, which asks the server, holds for a
 * minute, for those who open it, too. */
static int text_get(struct tree *t, size_t source, int which, bool open, const struct tree_wait *w, struct text **ret,
		    struct err *e)
{
	int64_t fresh_ms = which == TEXT_PREFLIGHT ? PREFLIGHT_FRESH_MS : open ? 0 : TREE_TEXT_FRESH_MS;
	struct text **slot = &t->sources[source].texts[which];
	int64_t now = tree_now_ms(CLOCK_MONOTONIC);
	{
		MUTEX_GUARD(&t->mutex);
		struct text *x = *slot;
		if (x && ((x->opens > 0 && !open) || now - x->rendered_ms < fresh_ms)) {
			x->refs++;
			x->opens += open;
			*ret = x;
			return 0;
		}
	}
	if (which == TEXT_PREFLIGHT && !w)
		return TREE_MUST_WAIT;
	struct text *x = xcalloc(1, sizeof *x);
	x->rendered_ms = now;
	int r = text_render(t, source, which, w, x, e);
	if (r < 0) {
		text_free(x);
		return r;
	}
	x->refs = 2;
	x->opens = open;
	struct text *old;
	{
		MUTEX_GUARD(&t->mutex);
		old = *slot;
		*slot = x;
	}
	if (old)
		text_unref(t, old, false);
	*ret = x;
	return 0;
}

/* ---- attributes ---- */

bool tree_is_readonly(uint64_t ino)
{
	struct ino i;
	return !ino_decode(ino, &i) || (i.kind != INO_STAGED && i.kind != INO_RESTORE && i.kind != INO_EDIT);
}

int64_t tree_staged_of(uint64_t ino)
{
	struct ino i;
	if (!ino_decode(ino, &i))
		return 0;
	if (i.kind == INO_STAGED)
		return (int64_t)i.id;
	return i.kind == INO_RESTORE ? staging_root((int64_t)i.id) : 0;
}

uint64_t tree_ino_of_staged(int64_t node, int64_t source_id)
{
	return node > 0 ? ino_of(INO_STAGED, (uint64_t)node) : ino_of(INO_RESTORE, (uint64_t)source_id);
}

void tree_fill(const struct tree *t, struct tree_node *n, uint64_t ino, mode_t mode, uint32_t nlink, uint64_t size,
	       int64_t ms)
{
	*n = (struct tree_node){
	    .ino = ino,
	    .mode = mode,
	    .nlink = nlink,
	    .uid = t->uid,
	    .gid = t->gid,
	    .size = size,
	    .atime_ns = ms * 1000000,
	    .mtime_ns = ms * 1000000,
	    .ctime_ns = ms * 1000000,
	    .keep_entry = TREE_KEEP_LONG,
	    .keep_attr = TREE_KEEP_LONG,
	};
}

void tree_fill_row(const struct tree *t, const struct stored_row *row, uint64_t ino, bool writable,
		   struct tree_node *ret)
{
	tree_fill(t, ret, ino, writable ? S_IFREG | 0600 : TREE_FILE, 1, row->file_size, stored_row_mtime_ms(row));
}

static void tree_fill_staged(const struct staged_node *s, uint64_t ino, struct tree_node *ret)
{
	*ret = (struct tree_node){
	    .ino = ino,
	    .mode = s->mode,
	    .nlink = S_ISDIR(s->mode)         ? 2 + s->subdirs
		     : s->parent || s->id < 0 ? 1
					      : 0,
	    .uid = s->uid,
	    .gid = s->gid,
	    .size = S_ISDIR(s->mode) ? TREE_DIR_SIZE : s->size,
	    .atime_ns = s->atime_ns,
	    .mtime_ns = s->mtime_ns,
	    .ctime_ns = s->ctime_ns,
	    /* only this mount changes them, but for the texts that a restore leaves */
	    .keep_entry = s->generated ? TREE_KEEP_NO : TREE_KEEP_SHORT,
	    .keep_attr = s->generated ? TREE_KEEP_NO : TREE_KEEP_SHORT,
	};
}

static bool tree_now_writable(const struct tree *t, int source)
{
	return source >= 0 && restore_may_write_rows(service_source(t->service, (size_t)source)->restore);
}

static uint64_t tree_row_ino(bool now, uint64_t source_id, const struct row_ref *ref)
{
	if (now && source_id <= INO_NOW_SOURCE_MAX) {
		uint64_t ino = ino_encode(&(struct ino){
		    .kind = INO_NOW_ROW, .id = (uint64_t)ref->pack, .sub = ref->index, .source = (uint32_t)source_id});
		if (ino)
			return ino;
	}
	return ino_of_sub(INO_ROW, (uint64_t)ref->pack, ref->index);
}

static int tree_getattr_row(struct tree *t, uint64_t number, const struct ino *i, struct tree_node *ret, struct err *e)
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

static int tree_text_of(enum ino_kind kind)
{
	return kind == INO_STATUS ? TEXT_STATUS : kind == INO_JOURNAL ? TEXT_JOURNAL : TEXT_PREFLIGHT;
}

static int tree_getattr_source(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			       struct tree_node *ret, struct err *e)
{
	int source = tree_source_index(t, i->id);
	size_t n;
	int64_t ms;
	char latest[256];
	if (source < 0)
		return source;
	int r = tree_summary(t, (size_t)source, &n, &ms, latest, e);
	if (r < 0)
		return r;
	switch (i->kind) {
	case INO_SOURCE:
		tree_fill(t, ret, number, TREE_DIR, 2 + 7, TREE_DIR_SIZE, ms);
		ret->keep_attr = TREE_KEEP_SHORT;
		return 0;
	case INO_NOW:
		tree_fill(t, ret, number, TREE_DIR, 2 + 1, TREE_DIR_SIZE, ms);
		ret->keep_attr = TREE_KEEP_SHORT;
		return 0;
	case INO_HISTORY:
		tree_fill(t, ret, number, TREE_DIR, 1, TREE_DIR_SIZE, ms);
		ret->keep_attr = TREE_KEEP_SHORT;
		return 0;
	case INO_SNAPSHOTS:
	case INO_ARCHIVES:
	case INO_ENTITIES:
		/* snapshots/ is where mkdir, rmdir and mv happen: default_permissions asks for the right to write */
		tree_fill(t, ret, number, i->kind == INO_SNAPSHOTS ? TREE_DIR_RW : TREE_DIR, (uint32_t)(2 + n),
			  TREE_DIR_SIZE, ms);
		ret->keep_attr = TREE_KEEP_SHORT;
		return 0;
	case INO_SNAPSHOTS_LATEST:
	case INO_ARCHIVES_LATEST:
	case INO_ENTITIES_LATEST:
		if (!*latest)
			return -ENOENT;
		tree_fill(t, ret, number, S_IFLNK | 0777, 1, strlen(latest), ms);
		ret->keep_entry = TREE_KEEP_SHORT;
		ret->keep_attr = TREE_KEEP_NO;
		return 0;
	case INO_STATUS:
	case INO_JOURNAL:
	case INO_PREFLIGHT: {
		struct text *x;
		r = text_get(t, (size_t)source, tree_text_of(i->kind), false, w, &x, e);
		if (r)
			return r;
		tree_fill(t, ret, number, TREE_FILE, 1, x->text.len, ms);
		text_unref(t, x, false);
		ret->keep_entry = TREE_KEEP_SHORT;
		ret->keep_attr = TREE_KEEP_NO;
		return 0;
	}
	default:
		return -ENOENT;
	}
}

static int tree_sums_len(struct tree *t, int64_t id, const struct tree_wait *w, size_t *ret, struct err *e)
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

static int tree_getattr_snapshot(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
				 struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	int64_t ms;

	if ((i->kind == INO_SNAPSHOT || i->kind == INO_ARCHIVE || i->kind == INO_ENTITIES_OF) &&
	    tree_pending(t, (int64_t)i->id, &ms) >= 0) {
		tree_fill(t, ret, number, TREE_DIR, 3, TREE_DIR_SIZE, ms);
		ret->keep_entry = ret->keep_attr = TREE_KEEP_NO;
		return 0;
	}
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	if (r)
		return r;
	const struct snap *s = ref.snap;
	const struct version_info *v = NULL;
	if (tree_is_now(i->kind))
		tree_now_touch(t, tree_source_index(t, (uint64_t)s->source_id));
	if (i->kind >= INO_TABLE && i->kind <= INO_NOW_TABLE_JSON) {
		v = snap_table(s, i->sub);
		if (!v)
			return -ENOENT;
	}
	mode_t mode = TREE_FILE;
	uint32_t nlink = 1;
	uint64_t size = TREE_DIR_SIZE;
	int64_t mtime_ms = s->taken_ms;
	size_t len;
	enum tree_keep keep = TREE_KEEP_LONG;

	switch (i->kind) {
	case INO_SNAPSHOT:
	case INO_ARCHIVE:
	case INO_ENTITIES_OF:
		mode = TREE_DIR;
		nlink = i->kind == INO_ENTITIES_OF ? 1 : 2 + 1; /* 1: nobody counted */
		keep = TREE_KEEP_SHORT;                         /* the name may change, also by another process */
		break;
	case INO_TABLES:
	case INO_NOW_TABLES:
		mode = TREE_DIR;
		nlink = (uint32_t)(2 + s->tables.n);
		break;
	case INO_ARCHIVE_TABLES:
	case INO_TABLE:
		mode = TREE_DIR;
		nlink = 2;
		break;
	case INO_NOW_TABLE:
		mode = tree_now_writable(t, tree_source_index(t, (uint64_t)s->source_id)) ? TREE_DIR_RW : TREE_DIR;
		nlink = 2;
		break;
	case INO_MANIFEST:
	case INO_ARCHIVE_MANIFEST:
	case INO_NOW_MANIFEST:
		size = s->manifest_len;
		break;
	case INO_SCHEMA:
	case INO_ARCHIVE_SCHEMA:
	case INO_NOW_SCHEMA:
		size = s->schema_len;
		mtime_ms =
		    s->schema_since_ms; /* what did not change keeps its time in every snapshot: rsync skips it */
		break;
	case INO_ARCHIVE_SUMS:
		r = tree_sums_len(t, s->id, w, &len, e);
		size = len;
		break;
	case INO_TABLE_JSON:
	case INO_NOW_TABLE_JSON:
		r = snap_json_len(t, ref.snap, v, &len, e);
		size = len;
		mtime_ms = v->since_ms;
		break;
	case INO_ARCHIVE_TABLE:
		size = v->line_bytes;
		mtime_ms = v->since_ms;
		break;
	default:
		return -ENOENT;
	}
	if (r)
		return r;
	tree_fill(t, ret, number, mode, nlink, size, mtime_ms);
	ret->keep_entry = keep;
	/* each walk through now/ passes here again and so tells that the snapshot is in use */
	if (i->kind == INO_NOW_MANIFEST || i->kind == INO_NOW_SCHEMA || i->kind == INO_NOW_TABLES)
		ret->keep_entry = TREE_KEEP_NO;
	return 0;
}

const struct tree_part *tree_part_of(enum ino_kind kind)
{
	switch (kind) {
	case INO_ENTITIES_OF:
	case INO_ENTITY_DIR:
	case INO_ENTITY_LINK:
		return &tree_part_entities;
	case INO_HISTORY:
	case INO_HISTORY_DIR:
		return &tree_part_history;
	case INO_CHANGES:
	case INO_CHANGE:
	case INO_CHANGE_ADDED:
	case INO_CHANGE_REMOVED:
	case INO_CHANGE_CHANGED:
		return &tree_part_changes;
	default:
		return NULL;
	}
}

int tree_getattr(struct tree *t, uint64_t number, const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	const struct tree_part *part = tree_part_of(i.kind);
	if (part && i.kind != INO_ENTITIES_OF && i.kind != INO_HISTORY)
		return part->getattr(t, number, &i, w, ret, e);
	switch (i.kind) {
	case INO_ROOT: {
		int64_t newest = t->created_ms;
		for (size_t k = 0; k < t->n_sources; k++) {
			size_t n;
			int64_t ms;
			int r = tree_summary(t, k, &n, &ms, NULL, e);
			if (r < 0)
				return r;
			if (ms > newest)
				newest = ms;
		}
		tree_fill(t, ret, number, TREE_DIR, (uint32_t)(2 + t->n_sources), TREE_DIR_SIZE, newest);
		ret->keep_attr = TREE_KEEP_SHORT;
		return 0;
	}
	case INO_README:
		tree_fill(t, ret, number, TREE_FILE, 1, sizeof tree_readme - 1, t->created_ms);
		ret->keep_entry = TREE_KEEP_NO; /* scripts test for it: it must not be there when the program is not */
		return 0;
	case INO_SOURCE:
	case INO_NOW:
	case INO_SNAPSHOTS:
	case INO_ARCHIVES:
	case INO_SNAPSHOTS_LATEST:
	case INO_ARCHIVES_LATEST:
	case INO_ENTITIES:
	case INO_ENTITIES_LATEST:
	case INO_HISTORY:
	case INO_STATUS:
	case INO_JOURNAL:
	case INO_PREFLIGHT:
		return tree_getattr_source(t, number, &i, w, ret, e);
	case INO_RESTORE:
	case INO_STAGED: {
		struct staged_node s;
		if (i.kind == INO_RESTORE && tree_source_index(t, i.id) < 0)
			return -ENOENT;
		int r = staging_get(t->staging, tree_staged_of(number), &s);
		if (r < 0)
			return r;
		tree_fill_staged(&s, number, ret);
		return 0;
	}
	case INO_ROW:
	case INO_NOW_ROW:
		return tree_getattr_row(t, number, &i, ret, e);
	case INO_EDIT:
		return t->overlay.getattr && t->overlay.getattr(t->overlay.arg, i.id, ret) ? 0 : -ENOENT;
	default:
		return tree_getattr_snapshot(t, number, &i, w, ret, e);
	}
}

int tree_source_of(struct tree *t, uint64_t number)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	switch (i.kind) {
	case INO_ROOT:
	case INO_README:
	case INO_ROW:
	case INO_EDIT:
		return -ENOENT;
	case INO_NOW_ROW:
		return tree_source_index(t, i.source);
	case INO_STAGED: {
		struct staged_node s = {.parent = (int64_t)i.id};
		do {
			if (staging_get(t->staging, s.parent, &s) < 0)
				return -ENOENT;
		} while (s.parent > 0);
		return s.parent < 0 ? tree_source_index(t, (uint64_t)-s.parent) : -ENOENT;
	}
	default:
		if (i.kind <= INO_JOURNAL)
			return tree_source_index(t, i.id);
		_cleanup_snap_ struct snap_ref ref = {.tree = t};
		if (snap_get(t, (int64_t)i.id, NULL, &ref.snap, ERR_DROP))
			return tree_pending(t, (int64_t)i.id, NULL);
		return tree_source_index(t, (uint64_t)ref.snap->source_id);
	}
}

/* ---- lookup ---- */

struct tree_fixed {
	const char *name;
	enum ino_kind kind;
};

static const struct tree_fixed tree_source_names[] = {
    {"now", INO_NOW},
    {"snapshots", INO_SNAPSHOTS},
    {"archives", INO_ARCHIVES},
    {"entities", INO_ENTITIES},
    {"history", INO_HISTORY},
    {"changes", INO_CHANGES},
    {"restore", INO_RESTORE},
    {"status.txt", INO_STATUS},
    {"journal.txt", INO_JOURNAL},
    {"preflight.txt", INO_PREFLIGHT},
    {NULL, INO_BAD},
};
static const struct tree_fixed tree_snapshot_names[] = {
    {"MANIFEST.json", INO_MANIFEST},
    {"schema.sql", INO_SCHEMA},
    {"tables", INO_TABLES},
    {NULL, INO_BAD},
};
static const struct tree_fixed tree_archive_names[] = {
    {"MANIFEST.json", INO_ARCHIVE_MANIFEST},
    {"SHA256SUMS", INO_ARCHIVE_SUMS},
    {"schema.sql", INO_ARCHIVE_SCHEMA},
    {"tables", INO_ARCHIVE_TABLES},
    {NULL, INO_BAD},
};
static const struct tree_fixed tree_now_names[] = {
    {"MANIFEST.json", INO_NOW_MANIFEST},
    {"schema.sql", INO_NOW_SCHEMA},
    {"tables", INO_NOW_TABLES},
    {NULL, INO_BAD},
};

static enum ino_kind tree_fixed_kind(const struct tree_fixed *list, const char *name)
{
	while (list->name && strcmp(list->name, name) != 0)
		list++;
	return list->kind;
}

/* An entry of a snapshot's or a source's directory. What cannot be told without waiting is not waited for here: the
 * kernel holds the directory while a lookup is unanswered, and nobody who comes after can be interrupted. The answer is
 * kept for no time, so that stat and open ask again, and wait, each for itself. */
static int tree_lookup_fixed(struct tree *t, enum ino_kind kind, uint64_t id, struct tree_node *ret, struct err *e)
{
	uint64_t ino = ino_of(kind, id);
	int r = tree_getattr(t, ino, NULL, ret, e);
	if (r != TREE_MUST_WAIT)
		return r;
	bool dir = kind == INO_TABLES || kind == INO_ARCHIVE_TABLES;
	tree_fill(t, ret, ino, dir ? TREE_DIR : TREE_FILE, dir ? 2 : 1, 0, t->created_ms);
	ret->keep_entry = ret->keep_attr = TREE_KEEP_NO;
	return 0;
}

int tree_none(struct tree_node *ret, enum tree_keep keep)
{
	*ret = (struct tree_node){.keep_entry = keep};
	return -ENOENT;
}

/* What a snapshot is in snapshots/, archives/ or entities/. */
static enum ino_kind tree_kind_in(enum ino_kind dir)
{
	return dir == INO_SNAPSHOTS ? INO_SNAPSHOT : dir == INO_ARCHIVES ? INO_ARCHIVE : INO_ENTITIES_OF;
}

/* snapshots/NAME or archives/NAME: an unfinished one has its name already. */
static int tree_lookup_snapshot(struct tree *t, size_t source, enum ino_kind kind, const char *name,
				struct tree_node *ret, struct err *e)
{
	int64_t id;
	char pending[256];
	struct snapshot_info info;

	if (strcmp(name, "latest") == 0) {
		enum ino_kind latest = kind == INO_SNAPSHOT  ? INO_SNAPSHOTS_LATEST
				       : kind == INO_ARCHIVE ? INO_ARCHIVES_LATEST
							     : INO_ENTITIES_LATEST;
		uint64_t ino = ino_of(latest, (uint64_t)t->sources[source].id);
		int r = tree_getattr(t, ino, NULL, ret, e);
		return r == -ENOENT ? tree_none(ret, TREE_KEEP_NO) : r;
	}
	if (service_pending(t->service, source, &id, pending) < 0 || strcmp(pending, name) != 0) {
		int r = catalog_find(t->catalog, t->sources[source].id, name, &info, e);
		if (r < 0)
			return r == -ENOENT ? tree_none(ret, TREE_KEEP_NO) : r;
		id = info.id;
		snapshot_info_done(&info);
	}
	uint64_t ino = ino_of(kind, (uint64_t)id);
	if (!ino)
		return err_set(e, EOVERFLOW, "snapshot %s: its id is too large", name);
	int r = tree_getattr(t, ino, NULL, ret, e);
	return r == -ENOENT ? tree_none(ret, TREE_KEEP_NO) : r == TREE_MUST_WAIT ? tree_none(ret, TREE_KEEP_NO) : r;
}

static int tree_lookup_table(struct tree *t, const struct ino *dir, const char *name, const struct tree_wait *w,
			     struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	enum ino_kind kind = dir->kind == INO_TABLES       ? INO_TABLE
			     : dir->kind == INO_NOW_TABLES ? INO_NOW_TABLE
							   : INO_ARCHIVE_TABLE;
	size_t len = strlen(name);

	int r = snap_get(t, (int64_t)dir->id, w, &ref.snap, e);
	if (r)
		return r;
	if (kind == INO_ARCHIVE_TABLE) {
		if (len < 6 || strcmp(name + len - 6, ".jsonl") != 0)
			return tree_none(ret, TREE_KEEP_LONG);
		len -= 6;
	}
	const struct version_info *v = snap_table_by_file(ref.snap, name, len);
	if (!v)
		return tree_none(ret, TREE_KEEP_LONG);
	uint64_t ino = v->ordinal <= INO_ORDINAL_MAX ? ino_of_sub(kind, dir->id, (uint32_t)v->ordinal) : 0;
	if (!ino)
		return err_set(e, EOVERFLOW, "table %s: too many tables", v->name);
	return tree_getattr(t, ino, w, ret, e);
}

static int tree_lookup_row(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
			   const struct tree_wait *w, struct tree_node *ret, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	bool now = dir->kind == INO_NOW_TABLE;

	if (now && t->overlay.lookup && t->overlay.lookup(t->overlay.arg, number, name, ret))
		return 0;
	if (strcmp(name, ".table.json") == 0)
		return tree_getattr(t, ino_of_sub(now ? INO_NOW_TABLE_JSON : INO_TABLE_JSON, dir->id, dir->sub), w, ret,
				    e);
	int r = snap_get(t, (int64_t)dir->id, w, &ref.snap, e);
	if (r)
		return r;
	const struct version_info *v = snap_table(ref.snap, dir->sub);
	if (!v)
		return -ENOENT;
	struct stored_row row;
	if (now)
		tree_now_touch(t, tree_source_index(t, (uint64_t)ref.snap->source_id));
	r = catalog_row_by_name(t->catalog, v->id, name, &row, e);
	if (r < 0)
		return r == -ENOENT ? tree_none(ret, now ? TREE_KEEP_NO : TREE_KEEP_LONG) : r;
	uint64_t ino = tree_row_ino(now, (uint64_t)ref.snap->source_id, &row.ref);
	if (ino)
		tree_fill_row(t, &row, ino,
			      now && tree_now_writable(t, tree_source_index(t, (uint64_t)ref.snap->source_id)), ret);
	stored_row_done(&row);
	if (now)
		ret->keep_entry = TREE_KEEP_SHORT;
	return ino ? 0 : err_set(e, EOVERFLOW, "table %s: a row's id is too large", v->name);
}

int tree_lookup(struct tree *t, uint64_t parent, const char *name, const struct tree_wait *w, struct tree_node *ret,
		struct err *e)
{
	struct ino i;
	enum ino_kind kind;
	int source, r;

	*ret = (struct tree_node){0};
	if (!ino_decode(parent, &i))
		return -ENOENT;
	const struct tree_part *part = tree_part_of(i.kind);
	if (part)
		return part->lookup ? part->lookup(t, parent, &i, name, w, ret, e) : -ENOTDIR;
	switch (i.kind) {
	case INO_ROOT:
		if (strcmp(name, "README.txt") == 0)
			return tree_getattr(t, ino_of(INO_README, 0), w, ret, e);
		source = service_find_source(t->service, name);
		if (source < 0)
			return tree_none(ret, TREE_KEEP_SHORT);
		return tree_getattr(t, ino_of(INO_SOURCE, (uint64_t)t->sources[source].id), w, ret, e);
	case INO_SOURCE:
		kind = tree_fixed_kind(tree_source_names, name);
		return kind == INO_BAD ? tree_none(ret, TREE_KEEP_SHORT) : tree_lookup_fixed(t, kind, i.id, ret, e);
	case INO_NOW:
		kind = tree_fixed_kind(tree_now_names, name);
		source = tree_source_index(t, i.id);
		if (source < 0 || kind == INO_BAD)
			return tree_none(ret, TREE_KEEP_NO);
		int64_t id;
		r = tree_now_snapshot(t, (size_t)source, w, &id, e);
		return r ? r : tree_getattr(t, ino_of(kind, (uint64_t)id), w, ret, e);
	case INO_SNAPSHOTS:
	case INO_ARCHIVES:
	case INO_ENTITIES:
		source = tree_source_index(t, i.id);
		return source < 0 ? source
				  : tree_lookup_snapshot(t, (size_t)source, tree_kind_in(i.kind), name, ret, e);
	case INO_SNAPSHOT:
	case INO_ARCHIVE:
		kind = tree_fixed_kind(i.kind == INO_SNAPSHOT ? tree_snapshot_names : tree_archive_names, name);
		if (kind == INO_BAD)
			return tree_none(ret, TREE_KEEP_LONG);
		return tree_lookup_fixed(t, kind, i.id, ret, e);
	case INO_TABLES:
	case INO_NOW_TABLES:
	case INO_ARCHIVE_TABLES:
		return tree_lookup_table(t, &i, name, w, ret, e);
	case INO_TABLE:
	case INO_NOW_TABLE:
		return tree_lookup_row(t, parent, &i, name, w, ret, e);
	case INO_RESTORE:
	case INO_STAGED: {
		struct staged_node s;
		r = staging_lookup(t->staging, tree_staged_of(parent), name, &s);
		if (r < 0)
			return r == -ENOENT ? tree_none(ret, TREE_KEEP_NO) : r;
		tree_fill_staged(&s, ino_of(INO_STAGED, (uint64_t)s.id), ret);
		return 0;
	}
	default:
		return -ENOTDIR;
	}
}

int tree_readlink(struct tree *t, uint64_t number, struct strbuf *out, struct err *e)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	if (i.kind == INO_STAGED)
		return staging_readlink(t->staging, (int64_t)i.id, out);
	const struct tree_part *part = tree_part_of(i.kind);
	if (part)
		return part->readlink ? part->readlink(t, &i, out, e) : -EINVAL;
	if (i.kind != INO_SNAPSHOTS_LATEST && i.kind != INO_ARCHIVES_LATEST && i.kind != INO_ENTITIES_LATEST)
		return -EINVAL;
	int source = tree_source_index(t, i.id);
	size_t n;
	int64_t ms;
	char latest[256];
	if (source < 0)
		return source;
	int r = tree_summary(t, (size_t)source, &n, &ms, latest, e);
	if (r < 0)
		return r;
	strbuf_adds(out, latest);
	return *latest ? 0 : -ENOENT;
}

/* ---- files ---- */

struct tree_file {
	struct tree *tree;
	struct strbuf own;
	struct text *text;     /* or one that is shared */
	int64_t version;       /* archive's table: its version; 0 otherwise */
	bool row;              /* a row: looked at when it is read */
	pthread_mutex_t mutex; /* of a row: `own` is made by the first read if it is large; never changes afterwards */
};

/* The whole text of a file that is small enough to be kept while open. */
static int tree_text(struct tree *t, const struct ino *i, const struct tree_wait *w, struct strbuf *out, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const struct version_info *v;
	const struct tree_part *part = tree_part_of(i->kind);
	if (part)
		return part->text ? part->text(t, i, w, out, e) : -EISDIR;
	int r = snap_get(t, (int64_t)i->id, w, &ref.snap, e);
	if (r)
		return r;
	switch (i->kind) {
	case INO_MANIFEST:
	case INO_ARCHIVE_MANIFEST:
	case INO_NOW_MANIFEST:
		return catalog_manifest(t->catalog, ref.snap->id, out, e);
	case INO_SCHEMA:
	case INO_ARCHIVE_SCHEMA:
	case INO_NOW_SCHEMA:
		return catalog_schema_sql(t->catalog, ref.snap->id, out, e);
	case INO_ARCHIVE_SUMS: {
		size_t len;
		r = tree_sums_len(t, ref.snap->id, w, &len, e);
		return r ? r : catalog_sums(t->catalog, ref.snap->id, out, e);
	}
	case INO_TABLE_JSON:
	case INO_NOW_TABLE_JSON:
		v = snap_table(ref.snap, i->sub);
		return v ? catalog_table_json(t->catalog, v->id, out, e) : -ENOENT;
	default:
		return -EISDIR;
	}
}

int tree_file_open(struct tree *t, uint64_t number, const struct tree_wait *w, struct tree_file **ret, bool *ret_direct,
		   struct err *e)
{
	struct ino i;
	int source, r;

	*ret = NULL;
	*ret_direct = false;
	if (!ino_decode(number, &i))
		return -ENOENT;
	struct tree_file f = {.tree = t};
	switch (i.kind) {
	case INO_README:
		return 0;
	case INO_STATUS:
	case INO_JOURNAL:
	case INO_PREFLIGHT:
		source = tree_source_index(t, i.id);
		if (source < 0)
			return source;
		r = text_get(t, (size_t)source, tree_text_of(i.kind), true, w, &f.text, e);
		*ret_direct = true;
		break;
	case INO_ROW:
	case INO_NOW_ROW:
		f.row = true;
		r = 0;
		break;
	case INO_ARCHIVE_TABLE: {
		_cleanup_snap_ struct snap_ref ref = {.tree = t};
		r = snap_get(t, (int64_t)i.id, w, &ref.snap, e);
		if (r)
			return r;
		const struct version_info *v = snap_table(ref.snap, i.sub);
		if (!v)
			return -ENOENT;
		f.version = v->id;
		break;
	}
	default:
		r = tree_text(t, &i, w, &f.own, e);
		break;
	}
	if (r) {
		strbuf_done(&f.own);
		return r;
	}
	*ret = xmalloc(sizeof f);
	**ret = f;
	(void)pthread_mutex_init(&(*ret)->mutex, NULL);
	return 0;
}

void tree_file_close(struct tree_file *f)
{
	if (!f)
		return;
	if (f->text)
		text_unref(f->tree, f->text, true);
	strbuf_done(&f->own);
	(void)pthread_mutex_destroy(&f->mutex);
	free(f);
}

static void tree_slice(const char *data, size_t len, uint64_t offset, size_t n, struct strbuf *out)
{
	if (offset >= len)
		return;
	if (n > len - offset)
		n = (size_t)(len - offset);
	strbuf_add(out, data + offset, n);
}

int tree_read_spans(struct tree *t, struct tree_file *f, uint64_t offset, size_t n, struct line_spans *ret,
		    struct err *e)
{
	if (!f || !f->version)
		return 0;
	int r = catalog_line_spans(t->catalog, f->version, offset, n, ret, e);
	return r < 0 ? r : 1;
}

/* A large row, which many requests read, is written out once for each open. */
static int tree_read_row(struct tree *t, const struct ino *i, struct tree_file *f, uint64_t offset, size_t n,
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
	if (row.file_size > TREE_PIN_ROW) {
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

int tree_read(struct tree *t, uint64_t number, struct tree_file *f, uint64_t offset, size_t n, struct strbuf *out,
	      struct err *e)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	if (f && f->text) {
		tree_slice(strbuf_str(&f->text->text), f->text->text.len, offset, n, out);
		return 0;
	}
	if (f && f->row)
		return tree_read_row(t, &i, f, offset, n, out, e);
	if (f) {
		tree_slice(strbuf_str(&f->own), f->own.len, offset, n, out);
		return 0;
	}
	if (i.kind == INO_README) {
		tree_slice(tree_readme, sizeof tree_readme - 1, offset, n, out);
		return 0;
	}
	return -EISDIR;
}

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

int tree_now_table(struct tree *t, uint64_t number, struct strbuf *ret_table, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	struct ino i;
	if (!ino_decode(number, &i) || i.kind != INO_NOW_TABLE)
		return -ENOENT;
	int r = snap_get(t, (int64_t)i.id, NULL, &ref.snap, e);
	if (r)
		return r < 0 ? r : -ENOENT;
	const struct version_info *v = snap_table(ref.snap, i.sub);
	if (!v)
		return -ENOENT;
	strbuf_adds(ret_table, v->name);
	return 0;
}

/* ---- directories ---- */

/* Cookies: 0 is ".", 1 is "..", from 2 on what the kind says; each one names the entry that comes next, so that a
 * listing goes on right when entries come and go. In snapshots/: 2 is "latest", c > 2 the first snapshot with an id
 * above c - 3. In staged directories: c the first node with an id above c - 2. Elsewhere nothing changes: c is the
 * entry's number. */
struct tree_dir {
	struct tree *tree;
	uint64_t number;
	struct ino ino;
	struct snap *snap;
	int64_t at, next;             /* next: where the entry that was seen last says it goes on */
	const struct tree_part *part; /* whose directory it is, with its state; NULL: ours */
	void *state;
	/* rows */
	struct row_cursor *cursor;
	uint64_t cursor_at; /* row number that `row` is, when have_row */
	bool have_row;
	struct stored_row row;
	struct strbuf name;
	bool names_only; /* attributes are not asked for: `bare` entries will do */
	/* snapshots/, archives/ */
	struct snapshot_list list;
	bool listed;
	/* staged */
	struct staged_entry *batch;
	size_t batch_n;
};

static bool tree_dir_kind(enum ino_kind kind)
{
	switch (kind) {
	case INO_ROOT:
	case INO_SOURCE:
	case INO_NOW:
	case INO_SNAPSHOTS:
	case INO_ARCHIVES:
	case INO_ENTITIES:
	case INO_RESTORE:
	case INO_SNAPSHOT:
	case INO_TABLES:
	case INO_ARCHIVE:
	case INO_ARCHIVE_TABLES:
	case INO_NOW_TABLES:
	case INO_TABLE:
	case INO_NOW_TABLE:
	case INO_STAGED:
		return true;
	default:
		return false;
	}
}

int tree_dir_open(struct tree *t, uint64_t number, const struct tree_wait *w, struct tree_dir **ret,
		  bool *ret_cacheable, struct err *e)
{
	struct ino i;
	struct snap *snap = NULL;
	int source, r = 0;

	if (!ino_decode(number, &i))
		return -ENOENT;
	*ret_cacheable = false;
	const struct tree_part *part = tree_part_of(i.kind);
	if (part) {
		void *state = NULL;
		r = part->dir_open ? part->dir_open(t, &i, w, &state, ret_cacheable, e) : -ENOTDIR;
		if (r)
			return r;
		*ret = xcalloc(1, sizeof **ret);
		**ret = (struct tree_dir){.tree = t, .number = number, .ino = i, .part = part, .state = state};
		return 0;
	}
	if (!tree_dir_kind(i.kind))
		return -ENOTDIR;
	switch (i.kind) {
	case INO_ROOT:
	case INO_RESTORE:
	case INO_STAGED:
		break;
	case INO_SOURCE:
	case INO_SNAPSHOTS:
	case INO_ARCHIVES:
	case INO_ENTITIES:
		if (tree_source_index(t, i.id) < 0)
			return -ENOENT;
		break;
	case INO_NOW: {
		int64_t id;
		source = tree_source_index(t, i.id);
		if (source < 0)
			return source;
		r = tree_now_snapshot(t, (size_t)source, w, &id, e);
		if (r == 0)
			r = snap_get(t, id, w, &snap, e);
		break;
	}
	default:
		r = snap_get(t, (int64_t)i.id, w, &snap, e);
		*ret_cacheable = i.kind != INO_NOW_TABLE && i.kind != INO_NOW_TABLES;
		break;
	}
	if (r)
		return r;
	if ((i.kind == INO_TABLE || i.kind == INO_NOW_TABLE) && !snap_table(snap, i.sub)) {
		snap_unref(t, snap);
		return -ENOENT;
	}
	struct tree_dir *d = xcalloc(1, sizeof *d);
	d->tree = t;
	d->number = number;
	d->ino = i;
	d->snap = snap;
	*ret = d;
	return 0;
}

void tree_dir_close(struct tree_dir *d)
{
	if (!d)
		return;
	if (d->part)
		d->part->dir_close(d->state);
	row_cursor_close(d->cursor);
	strbuf_done(&d->name);
	if (d->listed)
		snapshot_list_done(&d->list);
	free(d->batch);
	snap_unref(d->tree, d->snap);
	free(d);
}

int tree_dir_seek(struct tree_dir *d, int64_t cookie, bool names_only, struct err *e)
{
	if (cookie < 0)
		return -EINVAL;
	d->names_only = names_only;
	if (cookie == 0 && d->listed) { /* rewinddir: a new look */
		snapshot_list_done(&d->list);
		d->list = (struct snapshot_list){0};
		d->listed = false;
	}
	if (cookie != d->at) {
		d->batch_n = 0;
		d->have_row = false;
		row_cursor_close(d->cursor);
		d->cursor = NULL;
	} else if (cookie < 2) {
		d->batch_n = 0;
	}
	d->at = cookie;
	return 0;
}

/* An entry with its attributes, where they cost nothing. */
static int tree_dir_entry(struct tree_dir *d, const char *name, uint64_t ino, struct tree_entry *ret, struct err *e)
{
	struct ino i;
	ret->name = name;
	(void)ino_decode(ino, &i);
	if (i.kind == INO_STATUS || i.kind == INO_JOURNAL || i.kind == INO_PREFLIGHT) {
		ret->bare = true;
		ret->node = (struct tree_node){.ino = ino, .mode = TREE_FILE};
		return 1;
	}
	if (d->names_only && (i.kind == INO_SNAPSHOT || i.kind == INO_ARCHIVE || i.kind == INO_ENTITIES_OF)) {
		ret->bare = true;
		ret->node = (struct tree_node){.ino = ino, .mode = TREE_DIR};
		return 1;
	}
	int r = tree_getattr(d->tree, ino, NULL, &ret->node, e);
	if (r == TREE_MUST_WAIT) {
		ret->bare = true;
		ret->node = (struct tree_node){.ino = ino, .mode = TREE_FILE};
		return 1;
	}
	if (r < 0)
		return r;
	return 1;
}

static uint64_t tree_dir_parent(const struct tree_dir *d)
{
	const struct ino *i = &d->ino;
	uint64_t source = d->snap ? (uint64_t)d->snap->source_id : 0;
	if (d->part)
		return d->part->dir_parent(d->state);
	switch (i->kind) {
	case INO_NOW:
	case INO_SNAPSHOTS:
	case INO_ARCHIVES:
	case INO_ENTITIES:
	case INO_RESTORE:
		return ino_of(INO_SOURCE, i->id);
	case INO_SNAPSHOT:
		return ino_of(INO_SNAPSHOTS, source);
	case INO_ARCHIVE:
		return ino_of(INO_ARCHIVES, source);
	case INO_TABLES:
		return ino_of(INO_SNAPSHOT, i->id);
	case INO_ARCHIVE_TABLES:
		return ino_of(INO_ARCHIVE, i->id);
	case INO_NOW_TABLES:
		return ino_of(INO_NOW, source);
	case INO_TABLE:
		return ino_of(INO_TABLES, i->id);
	case INO_NOW_TABLE:
		return ino_of(INO_NOW_TABLES, i->id);
	case INO_STAGED: {
		struct staged_node n;
		if (staging_get(d->tree->staging, (int64_t)i->id, &n) == 0 && n.parent)
			return n.parent > 0 ? ino_of(INO_STAGED, (uint64_t)n.parent)
					    : ino_of(INO_RESTORE, (uint64_t)-n.parent);
		return d->number;
	}
	default:
		return 1;
	}
}

static int tree_dir_fixed(struct tree_dir *d, const struct tree_fixed *list, uint64_t id, size_t at,
			  struct tree_entry *ret, struct err *e)
{
	while (at > 0 && list->name) {
		at--;
		list++;
	}
	return list->name ? tree_dir_entry(d, list->name, ino_of(list->kind, id), ret, e) : 0;
}

static int tree_compare_id(const void *a, const void *b)
{
	int64_t x = ((const struct snapshot_info *)a)->id, y = ((const struct snapshot_info *)b)->id;
	return x < y ? -1 : x > y;
}

static int tree_dir_snapshots(struct tree_dir *d, struct tree_entry *ret, struct err *e)
{
	struct tree *t = d->tree;
	enum ino_kind kind = tree_kind_in(d->ino.kind);
	int r;

	if (!d->listed) {
		r = catalog_list(t->catalog, (int64_t)d->ino.id, &d->list, e);
		if (r < 0)
			return r;
		/* an imported one has a later number than its moment: cookies go by numbers */
		if (d->list.n)
			qsort(d->list.v, d->list.n, sizeof *d->list.v, tree_compare_id);
		d->listed = true;
	}
	if (d->at == 2) {
		enum ino_kind latest = kind == INO_SNAPSHOT  ? INO_SNAPSHOTS_LATEST
				       : kind == INO_ARCHIVE ? INO_ARCHIVES_LATEST
							     : INO_ENTITIES_LATEST;
		r = tree_dir_entry(d, "latest", ino_of(latest, d->ino.id), ret, e);
		ret->next = 3;
		if (r != -ENOENT)
			return r;
		d->at = 3; /* there is none yet */
	}
	for (;;) {
		size_t low = 0, high = d->list.n;
		while (low < high) {
			size_t mid = low + (high - low) / 2;
			if (d->list.v[mid].id > d->at - 3)
				high = mid;
			else
				low = mid + 1;
		}
		if (low == d->list.n)
			return 0;
		const struct snapshot_info *s = &d->list.v[low];
		r = tree_dir_entry(d, s->name, ino_of(kind, (uint64_t)s->id), ret, e);
		ret->next = s->id + 3;
		if (r != -ENOENT)
			return r;
		d->at = ret->next; /* removed meanwhile */
	}
}

static int tree_dir_rows(struct tree_dir *d, struct tree_entry *ret, struct err *e)
{
	struct tree *t = d->tree;
	bool now = d->ino.kind == INO_NOW_TABLE;
	const struct version_info *v = snap_table(d->snap, d->ino.sub);

	ret->next = d->at + 1;
	if (d->at == 2)
		return tree_dir_entry(d, ".table.json",
				      ino_of_sub(now ? INO_NOW_TABLE_JSON : INO_TABLE_JSON, d->ino.id, d->ino.sub), ret,
				      e);
	uint64_t number = (uint64_t)d->at - 3;
	if (number >= v->rows)
		return 0;
	if (now && number % 64 == 0)
		tree_now_touch(t, tree_source_index(t, (uint64_t)d->snap->source_id));
	if (!d->have_row || d->cursor_at != number) {
		int r;
		/* a cursor that stands right before the row goes on; else a new one */
		if (!d->cursor || !d->have_row || d->cursor_at + 1 != number) {
			row_cursor_close(d->cursor);
			d->cursor = NULL;
			r = row_cursor_open(&d->cursor, t->catalog, v->id, number, e);
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
	}
	uint64_t ino = tree_row_ino(now, (uint64_t)d->snap->source_id, &d->row.ref);
	if (!ino)
		return err_set(e, EOVERFLOW, "table %s: a row's id is too large", v->name);
	ret->name = strbuf_str(&d->name);
	if (d->names_only) { /* a row's time is found by parsing it */
		ret->bare = true;
		ret->node = (struct tree_node){.ino = ino, .mode = TREE_FILE};
		return 1;
	}
	tree_fill_row(t, &d->row, ino, now && tree_now_writable(t, tree_source_index(t, (uint64_t)d->snap->source_id)),
		      &ret->node);
	if (now)
		ret->node.keep_entry = TREE_KEEP_SHORT;
	return 1;
}

static int tree_dir_staged(struct tree_dir *d, struct tree_entry *ret)
{
	int64_t after = d->at - 2;
	if (!d->batch)
		d->batch = xcalloc(TREE_STAGED_BATCH, sizeof *d->batch);
	size_t k = 0;
	while (k < d->batch_n && d->batch[k].node.id <= after)
		k++;
	if (k == d->batch_n) {
		int r = staging_list(d->tree->staging, tree_staged_of(d->number), after, d->batch, TREE_STAGED_BATCH,
				     &d->batch_n);
		if (r < 0) {
			d->batch_n = 0;
			return r;
		}
		k = 0;
		if (!d->batch_n)
			return 0;
	}
	ret->name = d->batch[k].name;
	ret->next = d->batch[k].node.id + 2;
	tree_fill_staged(&d->batch[k].node, ino_of(INO_STAGED, (uint64_t)d->batch[k].node.id), &ret->node);
	return 1;
}

static int tree_dir_look(struct tree_dir *d, struct tree_entry *ret, struct err *e)
{
	struct tree *t = d->tree;

	if (d->at < 2) {
		ret->name = d->at == 0 ? "." : "..";
		ret->node = (struct tree_node){.ino = d->at == 0 ? d->number : tree_dir_parent(d), .mode = TREE_DIR};
		ret->bare = true;
		return 1;
	}
	if (d->part)
		return d->part->dir_peek(d->state, d->at, d->names_only, ret, e);
	size_t at = (size_t)d->at - 2;
	switch (d->ino.kind) {
	case INO_ROOT:
		if (at == 0)
			return tree_dir_entry(d, "README.txt", ino_of(INO_README, 0), ret, e);
		if (at > t->n_sources)
			return 0;
		return tree_dir_entry(d, service_source(t->service, at - 1)->name,
				      ino_of(INO_SOURCE, (uint64_t)t->sources[at - 1].id), ret, e);
	case INO_SOURCE:
		return tree_dir_fixed(d, tree_source_names, d->ino.id, at, ret, e);
	case INO_NOW:
		return tree_dir_fixed(d, tree_now_names, (uint64_t)d->snap->id, at, ret, e);
	case INO_SNAPSHOT:
		return tree_dir_fixed(d, tree_snapshot_names, d->ino.id, at, ret, e);
	case INO_ARCHIVE:
		return tree_dir_fixed(d, tree_archive_names, d->ino.id, at, ret, e);
	case INO_SNAPSHOTS:
	case INO_ARCHIVES:
	case INO_ENTITIES:
		return tree_dir_snapshots(d, ret, e);
	case INO_TABLES:
	case INO_NOW_TABLES:
	case INO_ARCHIVE_TABLES: {
		if (at >= d->snap->tables.n)
			return 0;
		enum ino_kind kind = d->ino.kind == INO_TABLES       ? INO_TABLE
				     : d->ino.kind == INO_NOW_TABLES ? INO_NOW_TABLE
								     : INO_ARCHIVE_TABLE;
		strbuf_clear(&d->name);
		strbuf_adds(&d->name, d->snap->files[at]);
		if (kind == INO_ARCHIVE_TABLE)
			strbuf_adds(&d->name, ".jsonl");
		uint64_t ino = d->snap->tables.v[at].ordinal <= INO_ORDINAL_MAX
				   ? ino_of_sub(kind, (uint64_t)d->snap->id, (uint32_t)d->snap->tables.v[at].ordinal)
				   : 0;
		return ino ? tree_dir_entry(d, strbuf_str(&d->name), ino, ret, e) : -EOVERFLOW;
	}
	case INO_TABLE:
	case INO_NOW_TABLE:
		return tree_dir_rows(d, ret, e);
	case INO_RESTORE:
	case INO_STAGED:
		return tree_dir_staged(d, ret);
	default:
		return -ENOTDIR;
	}
}

int tree_dir_peek(struct tree_dir *d, struct tree_entry *ret, struct err *e)
{
	*ret = (struct tree_entry){.next = d->at + 1};
	int r = tree_dir_look(d, ret, e);
	d->next = ret->next;
	return r;
}

void tree_dir_skip(struct tree_dir *d)
{
	d->at = d->next;
}

/* ---- extended attributes ---- */

static void tree_format_ms(int64_t ms, struct strbuf *out)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	(void)gmtime_r(&s, &tm);
	strbuf_addf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		    tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

/* The key's values as they are in the database, joined by commas; where rows have no key of their own, the file's name.
 */
static int tree_key_text(struct stored_row *row, struct strbuf *out, struct err *e)
{
	const struct db_table *table = row_codec_table(row->codec);
	if (table->key_kind != DB_KEY_UNIQUE) {
		int q = stored_row_key(row, e);
		if (q < 0)
			return q;
		row_name(row->codec, row->key, row->key_len, out);
		if (out->len > 5)
			out->data[out->len -= 5] = '\0';
		return 0;
	}
	struct row_values values;
	row_values_init(&values, row->codec);
	int r = row_decode(row->codec, row->line, row->line_len, &values, e);
	for (size_t k = 0; r == 0 && k < table->n_key; k++) {
		const struct db_value *v = &values.v[row_codec_columns(row->codec) + k];
		if (k)
			strbuf_addch(out, ',');
		if (v->data)
			strbuf_add(out, v->data, v->len);
	}
	row_values_done(&values);
	return r;
}

static int tree_row_xattr(struct tree *t, const struct ino *i, const char *what, struct strbuf *out, struct err *e)
{
	struct stored_row row;
	int r = catalog_row_by_ref(t->catalog, (struct row_ref){.pack = (int64_t)i->id, .index = i->sub}, &row, e);
	if (r < 0)
		return r;
	if (strcmp(what, "sha256") == 0) {
		_cleanup_strbuf_ struct strbuf text = {0};
		_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
		uint8_t sha[ROW_SHA_LEN];
		char hex[2 * ROW_SHA_LEN + 1];
		row_pretty(row.line, row.line_len, &text);
		hasher_sha256(h, text.data, text.len, sha);
		hex_encode(sha, sizeof sha, hex);
		strbuf_adds(out, hex);
	} else if (strcmp(what, "key") == 0) {
		r = tree_key_text(&row, out, e);
	} else if (strcmp(what, "table") == 0) {
		strbuf_adds(out, row_codec_table(row.codec)->name);
	} else if (strcmp(what, "first_seen") == 0) {
		tree_format_ms(row.first_seen_ms, out);
	} else {
		r = -ENODATA;
	}
	stored_row_done(&row);
	return r;
}

static int tree_table_xattr(struct tree *t, const struct ino *i, const char *what, struct strbuf *out, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	int r = snap_get(t, (int64_t)i->id, NULL, &ref.snap, e);
	if (r)
		return r < 0 ? r : -ENODATA;
	const struct version_info *v = snap_table(ref.snap, i->sub);
	if (!v)
		return -ENOENT;
	if (strcmp(what, "table") == 0) {
		strbuf_adds(out, v->name);
	} else if (strcmp(what, "rows") == 0) {
		strbuf_addf(out, "%llu", (unsigned long long)v->rows);
	} else if (strcmp(what, "digest") == 0) {
		/* as MANIFEST.json has it: most significant byte first */
		uint8_t sum[ROW_SHA_LEN];
		char hex[2 * ROW_SHA_LEN + 1];
		for (size_t k = 0; k < sizeof sum; k++)
			sum[k] = v->digest.sum[sizeof sum - 1 - k];
		hex_encode(sum, sizeof sum, hex);
		strbuf_adds(out, hex);
	} else {
		return -ENODATA;
	}
	return 0;
}

#define TREE_XATTR_PREFIX "user.metasnap."

int tree_getxattr(struct tree *t, uint64_t number, const char *name, struct strbuf *out, struct err *e)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	if (i.kind == INO_STAGED || i.kind == INO_RESTORE)
		return staging_getxattr(t->staging, tree_staged_of(number), name, out);
	if (strncmp(name, TREE_XATTR_PREFIX, sizeof TREE_XATTR_PREFIX - 1) != 0)
		return -ENODATA;
	name += sizeof TREE_XATTR_PREFIX - 1;
	switch (i.kind) {
	case INO_ROW:
	case INO_NOW_ROW:
		return tree_row_xattr(t, &i, name, out, e);
	case INO_TABLE:
	case INO_NOW_TABLE:
	case INO_ARCHIVE_TABLE:
		return tree_table_xattr(t, &i, name, out, e);
	default:
		return -ENODATA;
	}
}

/* Those of rows are not listed, as is usual for attributes that are computed: cp -a and rsync -X would ask for each of
 * them, hash every row, and give the copy a sha256 that stays behind when the copy is edited. */
int tree_listxattr(struct tree *t, uint64_t number, struct strbuf *out, struct err *e)
{
	static const char tables[] = "user.metasnap.table\0user.metasnap.rows\0user.metasnap.digest";
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	switch (i.kind) {
	case INO_STAGED:
	case INO_RESTORE:
		return staging_listxattr(t->staging, tree_staged_of(number), out);
	case INO_TABLE:
	case INO_NOW_TABLE:
	case INO_ARCHIVE_TABLE:
		strbuf_add(out, tables, sizeof tables);
		return 0;
	default:
		return 0;
	}
}
