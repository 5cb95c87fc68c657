/*
 * snapshot/openmetadata/entity_look.c - the entities of both sides, read before any merge: what the entity is called
 * there, what it is related to, and whose names begin with its own. One thread; no locks.
 */
#include "snapshot/openmetadata/entity_look.h"

#include <errno.h>

#include "snapshot/openmetadata/internal.h"

struct look {
	struct entity_part *part;
	int (*row)(struct look *l, const char *line, size_t len, struct err *e);
	struct entity_columns columns;
	const struct entity_rule *rule;
	bool target, live; /* whose rows these are; both: of both */
	struct strbuf id, text;
};

static const char *own_id(const struct entity_part *p)
{
	return p->names[BY_ID].v[0];
}

static void look_done(struct look *l)
{
	strbuf_done(&l->id);
	strbuf_done(&l->text);
}

static int look_version(struct look *l, const struct version_info *v, struct job_ctl *job, struct err *e)
{
	_cleanup_(cleanup_row_stream) struct row_stream *s = NULL;
	struct stream_row row;
	const struct row_codec *codec;
	int r = catalog_codec(l->part->catalog, v->codec_id, &codec, e);
	if (r < 0)
		return r;
	l->columns = entity_columns_of(row_codec_table(codec));
	r = stream_version(&s, l->part->catalog, v->id, e);
	if (r < 0)
		return r;
	while ((r = s->next(s, &row, e)) == 1) {
		if (atomic_load_explicit(&job->cancelled, memory_order_relaxed))
			return err_set(e, EINTR, "cancelled");
		r = l->row(l, row.line, row.line_len, e);
		if (r < 0)
			return r;
	}
	return r;
}

static int look_table(struct look *l, struct db_conn *conn, const struct db_table *t, struct job_ctl *job,
		      struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	struct db_table plain = db_table_without_key(t);
	_cleanup_(cleanup_row_codec) struct row_codec *codec = row_codec_new(&plain);
	_cleanup_strbuf_ struct strbuf line = {0};
	const struct db_value *values;
	int r = d->scan_open(conn, &plain, DB_SCAN_UNORDERED, e);
	if (r < 0)
		return r;
	l->columns = entity_columns_of(t);
	while (r == 0 && (r = d->scan_next(conn, &values, e)) == 1) {
		r = row_encode(codec, values, &line, e);
		if (r == 0 && atomic_load_explicit(&job->cancelled, memory_order_relaxed))
			r = err_set(e, EINTR, "cancelled");
		if (r == 0)
			r = l->row(l, line.data, line.len, e);
	}
	if (r == -ERESTART)
		r = 0;
	int q = d->scan_close(conn, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

/* A row of its own table in the database: is it the entity, or does it have its name? */
static int look_own(struct look *l, const char *line, size_t len, struct err *e)
{
	struct entity_part *p = l->part;
	_cleanup_strbuf_ struct strbuf hash = {0};
	int r = entity_read_place(&l->columns.id, l->columns.table, line, len, &l->id, e);
	if (r == 1)
		r = entity_read_hash(&l->columns, line, len, &hash, e);
	if (r <= 0)
		return r;
	bool it = !strcmp(strbuf_str(&l->id), own_id(p)), named = !strcmp(strbuf_str(&hash), p->names[BY_HASH].v[0]);
	if (it == named)
		return 0;
	if (named) {
		strset_add(&p->names[BY_ID], strbuf_str(&l->id), l->id.len);
		free(p->replaced);
		p->replaced = xstrdup(strbuf_str(&l->id));
		return 0;
	}
	strset_add(&p->names[BY_HASH], strbuf_str(&hash), hash.len);
	r = entity_read_fqn(&l->columns, line, len, &l->text, e);
	if (r < 0)
		return r;
	strset_add(&p->names[BY_NAME], strbuf_str(&l->text), l->text.len);
	free(p->renamed);
	p->renamed = xstrdup(strbuf_str(&l->text));
	return 0;
}

static struct entity_related *find_related(struct entity_part *p, const char *id)
{
	size_t from = 0, to = p->n_relations;
	while (from < to) {
		size_t at = from + (to - from) / 2;
		int order = strcmp(id, p->relation[at].id);
		if (order == 0)
			return &p->relation[at];
		if (order < 0)
			to = at;
		else
			from = at + 1;
	}
	return NULL;
}

/* The other ends of its relations. */
static int look_relation(struct look *l, const char *line, size_t len, struct err *e)
{
	struct entity_part *p = l->part;
	struct stream_row row = {.line = line, .line_len = len};
	int r = entity_rule_has(p, l->rule, false, &row, e);
	for (size_t i = 0; r == 1 && i < 2; i++) {
		r = entity_read_place(&l->rule->at[i], l->rule->table, line, len, &l->id, e);
		if (r != 1 || !strcmp(strbuf_str(&l->id), own_id(p)))
			continue;
		if ((p->n_relations & (p->n_relations - 1)) == 0)
			p->relation =
			    xrealloc(p->relation, (p->n_relations ? p->n_relations * 2 : 1) * sizeof *p->relation);
		p->relation[p->n_relations++] = (struct entity_related){.id = xstrdup(strbuf_str(&l->id))};
	}
	return r < 0 ? r : 0;
}

static int related_order(const void *a, const void *b)
{
	return strcmp(((const struct entity_related *)a)->id, ((const struct entity_related *)b)->id);
}

static void sort_related(struct entity_part *p)
{
	size_t n = 0;
	if (p->n_relations)
		qsort(p->relation, p->n_relations, sizeof *p->relation, related_order);
	for (size_t i = 0; i < p->n_relations; i++) {
		if (n && !strcmp(p->relation[n - 1].id, p->relation[i].id))
			free(p->relation[i].id);
		else
			p->relation[n++] = p->relation[i];
	}
	p->n_relations = n;
}

/* Any entity: is it one of the related, and does its name begin with the entity's? */
static int look_entity(struct look *l, const char *line, size_t len, struct err *e)
{
	struct entity_part *p = l->part;
	size_t base;
	int r = entity_read_place(&l->columns.id, l->columns.table, line, len, &l->id, e);
	if (r <= 0)
		return r;
	struct entity_related *related = find_related(p, strbuf_str(&l->id));
	if (related && l->live)
		related->found = true;
	if (related && l->target && !related->name) {
		r = entity_read_fqn(&l->columns, line, len, &l->text, e);
		if (r < 0)
			return r;
		related->name = xstrdup(strbuf_str(&l->text));
	}
	r = entity_read_hash(&l->columns, line, len, &l->text, e);
	if (r <= 0 || !entity_names_begin(&p->names[BY_HASH], p->names[BY_HASH].n, strbuf_str(&l->text), &base))
		return r < 0 ? r : 0;
	strset_add(&p->fields[BY_HASH], strbuf_str(&l->text), l->text.len);
	r = entity_read_fqn(&l->columns, line, len, &l->text, e);
	if (r == 1)
		strset_add(&p->fields[BY_NAME], strbuf_str(&l->text), l->text.len);
	return r < 0 ? r : 0;
}

/* A table of entities has their ids and documents, and hashes of their names where the entity's own has. */
static bool has_entities(const struct db_table *t, bool hashed)
{
	struct entity_columns c = entity_columns_of(t);
	return c.id.column && c.fqn.column && (c.hash.column || !hashed) && !entity_find_column(t, "extension") &&
	       entity_beside_of(t->name) == BESIDE_N;
}

static const struct version_info *find_version(const struct version_list *l, const char *table)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].name, table))
			return &l->v[i];
	return NULL;
}

static int look_live_own(struct entity_part *p, const struct entity_live *live, struct job_ctl *job, struct err *e)
{
	_cleanup_(look_done) struct look l = {.part = p, .row = look_own, .live = true};
	const char *name = p->target->v[p->own].name;
	if (!live->versions) {
		const struct db_table *t = db_schema_find(live->schema, name);
		return t ? look_table(&l, live->conn, t, job, e) : 0;
	}
	const struct version_info *v = find_version(live->versions, name);
	return v ? look_version(&l, v, job, e) : 0;
}

static int look_relations(struct entity_part *p, struct job_ctl *job, struct err *e)
{
	_cleanup_(look_done) struct look l = {.part = p, .row = look_relation, .target = true};
	for (size_t i = 0; i < p->n_rules; i++) {
		l.rule = &p->rules[i];
		if (l.rule->beside != BESIDE_RELATIONS)
			continue;
		int r = look_version(&l, find_version(p->target, l.rule->table->name), job, e);
		if (r < 0)
			return r;
	}
	sort_related(p);
	return 0;
}

/* The snapshot's entities; a table that is the same on both sides is read once for both. */
static int look_target(struct entity_part *p, const struct entity_live *live, bool hashed, struct job_ctl *job,
		       struct err *e)
{
	_cleanup_(look_done) struct look l = {.part = p, .row = look_entity, .target = true};
	for (size_t i = 0; i < p->target->n; i++) {
		const struct db_table *t = entity_target_table(p, i, e);
		if (!t)
			return err_code(e);
		if (!has_entities(t, hashed))
			continue;
		const struct version_info *v = &p->target->v[i];
		const struct version_info *now = live->versions ? find_version(live->versions, v->name) : NULL;
		l.live = now && now->id == v->id;
		int r = look_version(&l, v, job, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int look_live_tables(struct look *l, const struct entity_live *live, bool hashed, struct job_ctl *job,
			    struct err *e)
{
	for (size_t i = 0; i < live->schema->n_tables; i++) {
		const struct db_table *t = &live->schema->tables[i];
		int r = has_entities(t, hashed) ? look_table(l, live->conn, t, job, e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int look_live(struct entity_part *p, const struct entity_live *live, bool hashed, struct job_ctl *job,
		     struct err *e)
{
	_cleanup_(look_done) struct look l = {.part = p, .row = look_entity, .live = true};
	if (!live->versions)
		return look_live_tables(&l, live, hashed, job, e);
	for (size_t i = 0; i < live->versions->n; i++) {
		const struct version_info *v = &live->versions->v[i], *was = find_version(p->target, v->name);
		const struct row_codec *codec;
		int r = catalog_codec(p->catalog, v->codec_id, &codec, e);
		if (r < 0)
			return r;
		if ((was && was->id == v->id) || !has_entities(row_codec_table(codec), hashed))
			continue;
		r = look_version(&l, v, job, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int entity_part_look(struct entity_part *p, const struct entity_live *live, struct job_ctl *job, struct err *e)
{
	const struct db_table *own = entity_target_table(p, p->own, e);
	if (!own)
		return err_code(e);
	bool hashed = entity_columns_of(own).hash.column != NULL;
	job_ctl_say(job, "looking for the entity");
	int r = look_live_own(p, live, job, e);
	if (r < 0)
		return r;
	r = look_relations(p, job, e);
	if (r < 0)
		return r;
	r = look_target(p, live, hashed, job, e);
	if (r < 0)
		return r;
	r = look_live(p, live, hashed, job, e);
	if (r < 0)
		return r;
	strset_sort(&p->fields[BY_HASH]);
	strset_sort(&p->fields[BY_NAME]);
	return 0;
}
