/*
 * snapshot/openmetadata/entity_merge.c - the merge of a table's two sides, of which only the entity's rows are passed
 * on. One thread; no locks.
 */
#include "snapshot/openmetadata/entity_merge.h"

#include <assert.h>
#include <errno.h>

#include "snapshot/openmetadata/internal.h"

struct part_merge {
	struct entity_part *part;
	const struct entity_rule *rule;
	const struct merge_sink *to;
	int (*each)(void *arg, const struct stream_row *row, struct err *e);
	void *arg;
};

static int has_live(struct part_merge *m, const struct stream_row *row, struct err *e)
{
	return entity_rule_has(m->part, m->rule, true, row, e);
}

static int has_target(struct part_merge *m, const struct stream_row *row, struct err *e)
{
	return entity_rule_has(m->part, m->rule, false, row, e);
}

static int part_left(void *arg, const struct stream_row *l, struct err *e)
{
	struct part_merge *m = arg;
	int r = has_live(m, l, e);
	return r == 1 && m->to->left ? m->to->left(m->to->arg, l, e) : r < 0 ? r : 0;
}

static int count_use(struct part_merge *m, const struct stream_row *row, struct err *e)
{
	struct entity_part *p = m->part;
	int r = entity_read_place(&m->rule->tag, m->rule->table, row->line, row->line_len, &p->value, e);
	if (r == 1 && !strcmp(strbuf_str(&p->value), p->names[BY_HASH].v[0]))
		p->uses++;
	return r < 0 ? r : 0;
}

static int part_right(void *arg, const struct stream_row *t, struct err *e)
{
	struct part_merge *m = arg;
	int r = has_target(m, t, e);
	if (r == 0)
		return count_use(m, t, e);
	return r == 1 && m->to->right ? m->to->right(m->to->arg, t, e) : r < 0 ? r : 0;
}

static int part_same(void *arg, const struct stream_row *l, const struct stream_row *t, struct err *e)
{
	struct part_merge *m = arg;
	int live = has_live(m, l, e), target = live > 0 ? has_target(m, t, e) : 0;
	if (live < 0 || target < 0)
		return live < 0 ? live : target;
	return live && !target && m->to->left ? m->to->left(m->to->arg, l, e) : 0;
}

static int part_changed(void *arg, const struct stream_row *l, const struct stream_row *t, struct err *e)
{
	struct part_merge *m = arg;
	int live = has_live(m, l, e), target = live < 0 ? live : has_target(m, t, e);
	if (live < 0 || target < 0)
		return live < 0 ? live : target;
	if (live && target)
		return m->to->changed ? m->to->changed(m->to->arg, l, t, e) : 0;
	if (live)
		return m->to->left ? m->to->left(m->to->arg, l, e) : 0;
	if (target)
		return err_set(e, EEXIST, "table %s: a row of the entity has the key of another one's in the database",
			       m->rule->table->name);
	return 0;
}

/* The table is one of entity_part_tables(). */
static const struct entity_rule *find_rule(struct entity_part *p, const char *table)
{
	size_t i = 0;
	while (i < p->n_rules && strcmp(p->rules[i].table->name, table))
		i++;
	assert(i < p->n_rules);
	if (p->rules[i].beside == BESIDE_TAGS)
		p->uses = 0;
	return &p->rules[i];
}

int entity_part_merge(struct entity_part *p, const char *table, struct row_stream *live, struct row_stream *target,
		      const struct merge_sink *to, struct err *e)
{
	struct part_merge m = {.part = p, .rule = find_rule(p, table), .to = to};
	struct merge_sink sink = {&m, part_left, part_right, NULL, part_changed};
	/* Rows that are the same on both sides matter only where it is more on the live side than in the snapshot. */
	if (p->names[BY_ID].n > 1 || p->names[BY_HASH].n > 1)
		sink.same = part_same;
	return merge_streams(live, target, &sink, e);
}

static int result_left(void *arg, const struct stream_row *l, struct err *e)
{
	struct part_merge *m = arg;
	int r = has_live(m, l, e);
	return r == 0 ? m->each(m->arg, l, e) : r < 0 ? r : 0;
}

static int result_right(void *arg, const struct stream_row *t, struct err *e)
{
	struct part_merge *m = arg;
	int r = has_target(m, t, e);
	return r == 1 ? m->each(m->arg, t, e) : r;
}

static int result_same(void *arg, const struct stream_row *l, const struct stream_row *t, struct err *e)
{
	struct part_merge *m = arg;
	int live = has_live(m, l, e), target = live > 0 ? has_target(m, t, e) : 0;
	if (live < 0 || target < 0)
		return live < 0 ? live : target;
	return live && !target ? 0 : m->each(m->arg, l, e);
}

int entity_part_result(struct entity_part *p, const char *table, struct row_stream *live, struct row_stream *target,
		       int (*each)(void *arg, const struct stream_row *row, struct err *e), void *arg, struct err *e)
{
	struct part_merge m = {.part = p, .rule = find_rule(p, table), .each = each, .arg = arg};
	/* Rows without a key of their own are the same, or they are others. */
	struct merge_sink sink = {&m, result_left, result_right, result_same, NULL};
	return merge_streams(live, target, &sink, e);
}
