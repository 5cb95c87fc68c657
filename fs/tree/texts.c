/*
 * fs/tree/texts.c - README.txt; status.txt, journal.txt and preflight.txt: made when they are opened.
 *
 * What it keeps: for each source the text of each that was rendered last. Any thread. Lock: tree.mutex, never held over
 * a call out.
 */
#include <errno.h>

#include "base/clock.h"
#include "fs/tree/internal.h"

#define TEXT_FRESH_MS 500

static const char readme[] =
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

/* ---- texts that change ---- */

void text_free(struct text *x)
{
	if (!x)
		return;
	strbuf_done(&x->text);
	free(x);
}

void text_unref(struct tree *t, struct text *x, bool opened)
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
	int64_t fresh_ms = which == TEXT_PREFLIGHT ? PREFLIGHT_FRESH_MS : open ? 0 : TEXT_FRESH_MS;
	struct text **slot = &t->sources[source].texts[which];
	int64_t now = clock_mono_ms();
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

static int text_which(enum ino_kind kind)
{
	return kind == INO_STATUS ? TEXT_STATUS : kind == INO_JOURNAL ? TEXT_JOURNAL : TEXT_PREFLIGHT;
}

static int text_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			struct tree_node *ret, struct err *e)
{
	int source = tree_source_index(t, i->id);
	size_t n;
	int64_t ms;
	struct text *x;
	if (source < 0)
		return source;
	int r = tree_summary(t, (size_t)source, &n, &ms, NULL, e);
	if (r < 0)
		return r;
	r = text_get(t, (size_t)source, text_which(i->kind), false, w, &x, e);
	if (r)
		return r;
	tree_fill(t, ret, number, TREE_FILE, 1, x->text.len, ms);
	text_unref(t, x, false);
	ret->keep_entry = TREE_KEEP_SHORT;
	ret->keep_attr = TREE_KEEP_NO;
	return 0;
}

static int text_open(struct tree *t, const struct ino *i, const struct tree_wait *w, struct tree_file *ret,
		     bool *ret_direct, struct err *e)
{
	int source = tree_source_index(t, i->id);
	if (source < 0)
		return source;
	*ret_direct = true;
	return text_get(t, (size_t)source, text_which(i->kind), true, w, &ret->text, e);
}

static int text_read(struct tree *t, const struct ino *i, struct tree_file *f, uint64_t offset, size_t n,
		     struct strbuf *out, struct err *e)
{
	tree_slice(strbuf_str(&f->text->text), f->text->text.len, offset, n, out);
	return 0;
}

const struct tree_part tree_part_text = {.getattr = text_getattr, .open = text_open, .read = text_read};

/* ---- README.txt ---- */

static int readme_getattr(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
			  struct tree_node *ret, struct err *e)
{
	tree_fill(t, ret, number, TREE_FILE, 1, sizeof readme - 1, t->created_ms);
	ret->keep_entry = TREE_KEEP_NO; /* scripts test for it: it must not be there when the program is not */
	return 0;
}

static int readme_open(struct tree *t, const struct ino *i, const struct tree_wait *w, struct tree_file *ret,
		       bool *ret_direct, struct err *e)
{
	return 0;
}

static int readme_read(struct tree *t, const struct ino *i, struct tree_file *f, uint64_t offset, size_t n,
		       struct strbuf *out, struct err *e)
{
	tree_slice(readme, sizeof readme - 1, offset, n, out);
	return 0;
}

const struct tree_part tree_part_readme = {.getattr = readme_getattr, .open = readme_open, .read = readme_read};
