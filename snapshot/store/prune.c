/*
 * snapshot/store/prune.c - see prune.h. Any thread, under the write lock.
 */
#include "snapshot/store/internal.h"

#include <errno.h>

void prune_list_done(struct prune_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].name);
	free(l->v);
	*l = (struct prune_list){0};
}

static int prune_by_id(const void *a, const void *b)
{
	const struct keep_item *x = a, *y = b;
	return (x->id > y->id) - (x->id < y->id);
}

struct prune_look {
	struct keep_item *v; /* by id */
	size_t n;
};

static struct keep_item *prune_find(const struct prune_look *l, int64_t id)
{
	const struct keep_item key = {.id = id};
	return id && l->n ? bsearch(&key, l->v, l->n, sizeof *l->v, prune_by_id) : NULL;
}

/* What the journal knows of a snapshot that its row does not. */
static int prune_journal(void *arg, const struct journal_entry *j)
{
	const struct prune_look *l = arg;
	struct keep_item *safety = prune_find(l, j->safety_id), *target = prune_find(l, j->target_id);
	if (safety) {
		safety->safety = true;
		safety->needed |= !j->finished_ms;
	}
	if (target) {
		target->imported |= j->op == JOURNAL_IMPORT;
		target->needed |= !j->finished_ms;
	}
	return 0;
}

static int prune_decide(struct catalog *c, int64_t source_id, const struct keep_rules *rules, int64_t now,
			struct prune_list *ret, struct err *e)
{
	_cleanup_(snapshot_list_done) struct snapshot_list list = {0};
	int r = catalog_list(c, source_id, &list, e);
	if (r < 0)
		return r;
	_cleanup_free_ struct keep_item *items = xcalloc(list.n + 1, sizeof *items);
	for (size_t i = 0; i < list.n; i++)
		items[i] =
		    (struct keep_item){.taken_ms = list.v[i].taken_ms, .id = list.v[i].id, .held = list.v[i].held};
	struct prune_look look = {items, list.n};
	qsort(items, list.n, sizeof *items, prune_by_id);
	r = journal_each(c, source_id, false, prune_journal, &look, e);
	if (r < 0)
		return r;
	keep_apply(rules, items, list.n, now);
	ret->v = xcalloc(list.n + 1, sizeof *ret->v);
	for (size_t i = 0; i < list.n; i++) {
		size_t k = 0;
		while (list.v[k].id != items[i].id)
			k++;
		ret->v[ret->n++] = (struct prune_entry){TAKE_PTR(list.v[k].name), items[i]};
	}
	return 0;
}

int store_prune(struct catalog *c, int64_t source_id, const struct keep_rules *rules, int64_t now_ms, bool dry_run,
		const struct requester *who, struct prune_list *ret, struct err *e)
{
	*ret = (struct prune_list){0};
	if (keep_is_empty(rules))
		return err_set(e, EINVAL, "no rule says what to keep");
	if (dry_run)
		return prune_decide(c, source_id, rules, now_ms, ret, e);
	_cleanup_strbuf_ struct strbuf detail = {0};
	strbuf_adds(&detail, "pruned: keep ");
	keep_text(rules, &detail);
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	/* Nobody else writes now, so that what other connections read is what this transaction sees. */
	int r = prune_decide(c, source_id, rules, now_ms, ret, e);
	for (size_t i = ret->n; r == 0 && i-- > 0;) {
		const struct prune_entry *p = &ret->v[i];
		if (p->item.keep)
			continue;
		r = store_delete_snapshot(db, p->item.id, false, e);
		if (r == 0)
			r = journal_done(db, source_id, JOURNAL_REMOVE, p->name, who->uid, who->pid, who->program,
					 strbuf_str(&detail), e);
	}
	r = store_write_end(c, db, r, e);
	if (r < 0)
		prune_list_done(ret);
	return r;
}
