/*
 * drivers/postgres/depend.c - what hangs on an object that is to go: the server's own pg_depend, walked as DROP does it.
 *
 * An object that is reached goes, too, with the entry of pg_dump's text that makes it or the object it is a part of.
 * One that no entry makes is an outsider: it would be lost. No state; no locks.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

void pg_depends_done(struct pg_depends *d)
{
	free(d->edges);
	free(d->by_object);
	free(d->classes);
	free(d->generated);
	free(d->seen);
	for (size_t i = 0; i < d->n_outsiders; i++)
		free(d->outsiders[i].name);
	free(d->outsiders);
	*d = (struct pg_depends){0};
}

static int pg_cmp(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

static int pg_cmp_ref(const void *a, const void *b)
{
	const struct pg_edge *x = a, *y = b;
	int r = pg_cmp(x->ref.class_oid, y->ref.class_oid);
	return r ? r : pg_cmp(x->ref.oid, y->ref.oid);
}

static int pg_cmp_object(const void *a, const void *b)
{
	const struct pg_edge *x = a, *y = b;
	int r = pg_cmp(x->object.class_oid, y->object.class_oid);
	return r ? r : pg_cmp(x->object.oid, y->object.oid);
}

static int pg_cmp_relation(const void *a, const void *b)
{
	const struct pg_class_row *x = a, *y = b;
	return pg_cmp(x->oid, y->oid);
}

static uint32_t pg_number(const PGresult *res, int row, int col)
{
	return (uint32_t)strtoul(PQgetvalue(res, row, col), NULL, 10);
}

int pg_depends_load(struct pg_conn *c, struct pg_depends *ret, struct err *e)
{
	/* What initdb made depends on nothing that can go. */
	static const char edges[] = "SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid, d.refobjsubid,"
				    " d.deptype FROM pg_catalog.pg_depend d WHERE d.objid >= 16384"
				    " AND d.refobjid >= 16384";
	static const char classes[] =
	    "SELECT c.oid, c.relkind, EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid"
	    " OR i.inhparent = c.oid) FROM pg_catalog.pg_class c WHERE c.oid >= 16384 ORDER BY c.oid";
	/* Before 12 there are none. */
	static const char generated[] =
	    "SELECT d.oid FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid"
	    " AND a.attnum = d.adnum WHERE coalesce(pg_catalog.to_jsonb(a) ->> 'attgenerated', '') <> ''"
	    " AND d.oid >= 16384 ORDER BY 1";
	_cleanup_result_ PGresult *res = NULL, *kinds = NULL, *computed = NULL;
	int r = pg_query(c, &res, "cannot read the dependencies", edges, 0, NULL, e);
	if (r == 0)
		r = pg_query(c, &kinds, "cannot read the dependencies", classes, 0, NULL, e);
	if (r == 0)
		r = pg_query(c, &computed, "cannot read the dependencies", generated, 0, NULL, e);
	if (r < 0)
		return r;
	ret->n_generated = (size_t)PQntuples(computed);
	ret->generated = xcalloc(ret->n_generated + 1, sizeof *ret->generated);
	for (int i = 0; i < PQntuples(computed); i++)
		ret->generated[i] = pg_number(computed, i, 0);
	ret->n_edges = (size_t)PQntuples(res);
	ret->edges = xcalloc(ret->n_edges + 1, sizeof *ret->edges);
	for (int i = 0; i < PQntuples(res); i++)
		ret->edges[i] = (struct pg_edge){
		    .object = {pg_number(res, i, 0), pg_number(res, i, 1), atoi(PQgetvalue(res, i, 2))},
		    .ref = {pg_number(res, i, 3), pg_number(res, i, 4), atoi(PQgetvalue(res, i, 5))},
		    .type = *PQgetvalue(res, i, 6),
		};
	ret->by_object = xcalloc(ret->n_edges + 1, sizeof *ret->by_object);
	memcpy(ret->by_object, ret->edges, ret->n_edges * sizeof *ret->edges);
	qsort(ret->edges, ret->n_edges, sizeof *ret->edges, pg_cmp_ref);
	qsort(ret->by_object, ret->n_edges, sizeof *ret->by_object, pg_cmp_object);
	ret->n_classes = (size_t)PQntuples(kinds);
	ret->classes = xcalloc(ret->n_classes + 1, sizeof *ret->classes);
	for (int i = 0; i < PQntuples(kinds); i++)
		ret->classes[i] = (struct pg_class_row){.oid = pg_number(kinds, i, 0),
							.kind = *PQgetvalue(kinds, i, 1),
							.inherits = *PQgetvalue(kinds, i, 2) == 't'};
	return 0;
}

const struct pg_class_row *pg_depends_class(const struct pg_depends *d, uint32_t oid)
{
	const struct pg_class_row key = {.oid = oid};
	return bsearch(&key, d->classes, d->n_classes, sizeof key, pg_cmp_relation);
}

/* The first of the edges that fit; NULL: none. */
static const struct pg_edge *pg_first(const struct pg_edge *edges, size_t n, const struct pg_edge *key,
				      int (*cmp)(const void *, const void *))
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (cmp(&edges[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && !cmp(&edges[low], key) ? &edges[low] : NULL;
}

const struct pg_edge *pg_depends_on(const struct pg_depends *d, struct pg_object o, const struct pg_edge *after)
{
	const struct pg_edge key = {.ref = o};
	const struct pg_edge *x = after ? after + 1 : pg_first(d->edges, d->n_edges, &key, pg_cmp_ref);
	for (; x && x < d->edges + d->n_edges && !pg_cmp_ref(x, &key); x++)
		if (!o.sub || x->ref.sub == o.sub)
			return x;
	return NULL;
}

const struct pg_edge *pg_depends_of(const struct pg_depends *d, struct pg_object o, const struct pg_edge *after)
{
	const struct pg_edge key = {.object = o};
	const struct pg_edge *x = after ? after + 1 : pg_first(d->by_object, d->n_edges, &key, pg_cmp_object);
	return x && x < d->by_object + d->n_edges && !pg_cmp_object(x, &key) ? x : NULL;
}

/* ---- what goes ---- */

static bool pg_is_seen(const struct pg_depends *d, struct pg_object o)
{
	for (size_t i = 0; i < d->n_seen; i++)
		if (d->seen[i].class_oid == o.class_oid && d->seen[i].oid == o.oid &&
		    (!d->seen[i].sub || d->seen[i].sub == o.sub))
			return true;
	return false;
}

static void pg_see(struct pg_depends *d, struct pg_object o)
{
	if ((d->n_seen & (d->n_seen - 1)) == 0)
		d->seen = xrealloc(d->seen, (d->n_seen ? d->n_seen * 2 : 1) * sizeof *d->seen);
	d->seen[d->n_seen++] = o;
}

struct pg_entry *pg_entry_of(struct pg_entries *live, struct pg_object o)
{
	for (size_t i = 0; i < live->n; i++)
		if (live->v[i].toc.class_oid == o.class_oid && live->v[i].toc.oid == o.oid)
			return &live->v[i];
	return NULL;
}

/* Whether the object, by an edge to what it belongs to, is nothing without it. */
static bool pg_is_part(const struct pg_depends *d, const struct pg_edge *x)
{
	if (x->type == 'i' || x->type == 'P' || x->type == 'S')
		return true;
	if (x->type != 'a')
		return false;
	if (x->object.class_oid == PG_CLASS_RELATION) {
		const struct pg_class_row *row = pg_depends_class(d, x->object.oid);
		return row && (row->kind == 'i' || row->kind == 'I' || row->kind == 't');
	}
	return x->object.class_oid == PG_CLASS_DEFAULT || x->object.class_oid == PG_CLASS_CONSTRAINT ||
	       x->object.class_oid == PG_CLASS_TRIGGER || x->object.class_oid == PG_CLASS_POLICY ||
	       x->object.class_oid == PG_CLASS_RULE || x->object.class_oid == PG_CLASS_TYPE ||
	       x->object.class_oid == PG_CLASS_AMOP || x->object.class_oid == PG_CLASS_AMPROC;
}

static void pg_add_outsider(struct pg_depends *d, struct pg_object o, struct pg_object top, size_t entry)
{
	for (size_t i = 0; i < d->n_outsiders; i++)
		if (d->outsiders[i].object.class_oid == o.class_oid && d->outsiders[i].object.oid == o.oid)
			return;
	d->outsiders = xrealloc(d->outsiders, (d->n_outsiders + 1) * sizeof *d->outsiders);
	d->outsiders[d->n_outsiders++] = (struct pg_outsider){.object = o, .top = top, .entry = entry};
}

static void pg_go_object(struct pg_depends *d, struct pg_entries *live, struct pg_object o, size_t because);

/* An object without an entry of its own goes: with what is gone already, or what it is a part of goes as well. */
static void pg_go_owner(struct pg_depends *d, struct pg_entries *live, struct pg_object o, size_t because)
{
	const struct pg_edge *x, *owner = NULL;
	struct pg_object top = o;
	for (int depth = 0; depth < 10; depth++) {
		owner = NULL;
		for (x = pg_depends_of(d, top, NULL); x; x = pg_depends_of(d, top, x)) {
			if (depth == 0 && x->type == 'e' && pg_is_seen(d, x->ref))
				return; /* a member of an extension that goes */
			if (!pg_is_part(d, x))
				continue;
			if (depth == 0 && pg_is_seen(d, x->ref))
				return;
			if (!owner || x->type == 'i' || (x->type == 'P' && owner->type != 'i'))
				owner = x;
		}
		if (!owner)
			break;
		top = (struct pg_object){owner->ref.class_oid, owner->ref.oid, 0};
		if (pg_is_seen(d, top))
			return;
		const struct pg_entry *entry = pg_entry_of(live, top);
		if (entry) {
			pg_entry_goes(d, live, (size_t)(entry - live->v), because);
			return;
		}
	}
	pg_add_outsider(d, o, top, because);
}

/* Everything that depends on o. */
static void pg_go_object(struct pg_depends *d, struct pg_entries *live, struct pg_object o, size_t because)
{
	if (pg_is_seen(d, o))
		return;
	pg_see(d, o);
	for (const struct pg_edge *x = pg_depends_on(d, o, NULL); x; x = pg_depends_on(d, o, x)) {
		struct pg_object on = {x->object.class_oid, x->object.oid, 0};
		if (pg_is_seen(d, on))
			continue;
		pg_object_goes(d, live, on, because);
	}
}

void pg_object_goes(struct pg_depends *d, struct pg_entries *live, struct pg_object o, size_t because)
{
	const struct pg_entry *entry = pg_entry_of(live, o);
	if (entry) {
		pg_entry_goes(d, live, (size_t)(entry - live->v), because);
	} else {
		pg_go_owner(d, live, o, because);
		pg_go_object(d, live, o, because);
	}
}

static bool pg_needs(const struct pg_entry *x, unsigned long id)
{
	for (size_t i = 0; i < x->toc.n_needs; i++)
		if (x->toc.needs[i] == id)
			return true;
	return false;
}

/* What stands in the text only and belongs to entry i: comments, rights, the partition's attachment. */
static bool pg_is_child(const struct pg_entry *x, const struct pg_entry *of)
{
	if (x->toc.class_oid)
		return false;
	if (x->toc.id && pg_needs(x, of->toc.id))
		return true;
	if (strcmp(x->schema, of->schema))
		return false;
	if (!strcmp(x->type, "INDEX ATTACH") && !strcmp(of->type, "CONSTRAINT")) {
		/* "table index" */
		size_t n = strlen(of->tag), m = strlen(x->tag);
		return n > m && of->tag[n - m - 1] == ' ' && !strcmp(of->tag + n - m, x->tag);
	}
	if (strcmp(x->tag, of->tag))
		return false;
	return (!strcmp(x->type, "TABLE ATTACH") && !strcmp(of->type, "TABLE")) ||
	       (!strcmp(x->type, "INDEX ATTACH") && !strcmp(of->type, "INDEX")) ||
	       (!strcmp(x->type, "SHELL TYPE") && !strcmp(of->type, "TYPE")) ||
	       (!strcmp(x->type, "MATERIALIZED VIEW DATA") && !strcmp(of->type, "MATERIALIZED VIEW"));
}

void pg_entry_goes(struct pg_depends *d, struct pg_entries *live, size_t i, size_t because)
{
	struct pg_entry *x = &live->v[i];
	if (x->deed == PG_DEED_GO)
		return;
	x->deed = PG_DEED_GO;
	x->because = because;
	for (size_t k = 0; k < live->n; k++)
		if (live->v[k].deed != PG_DEED_GO && pg_is_child(&live->v[k], x))
			pg_entry_goes(d, live, k, i);
	if (!x->toc.class_oid)
		return;
	struct pg_object o = {x->toc.class_oid, x->toc.oid, 0};
	/* The rule that is a view's query is an entry where the view would be in a circle; it goes with the view. */
	if (o.class_oid == PG_CLASS_RULE)
		for (const struct pg_edge *edge = pg_depends_of(d, o, NULL); edge; edge = pg_depends_of(d, o, edge)) {
			const struct pg_entry *view = edge->type == 'i' ? pg_entry_of(live, edge->ref) : NULL;
			if (view)
				pg_entry_goes(d, live, (size_t)(view - live->v), i);
		}
	/* An index of a partition goes with its table, or else with the index of the partitioned table. */
	const struct pg_edge *whole = NULL;
	bool along = false;
	for (const struct pg_edge *edge = pg_depends_of(d, o, NULL); edge; edge = pg_depends_of(d, o, edge)) {
		along |= (edge->type == 'P' || edge->type == 'S') && pg_is_seen(d, edge->ref);
		whole = edge->type == 'P' ? edge : whole;
	}
	if (whole && !along)
		pg_object_goes(d, live, whole->ref, i);
	pg_go_object(d, live, o, i);
}

void pg_column_goes(struct pg_depends *d, struct pg_entries *live, size_t i, int column)
{
	pg_go_object(d, live, (struct pg_object){PG_CLASS_RELATION, live->v[i].toc.oid, column}, i);
}

bool pg_goes_with_another(const struct pg_depends *d, struct pg_entries *live, const struct pg_entry *x)
{
	struct pg_object o = {x->toc.class_oid, x->toc.oid, 0};
	if (!strcmp(x->type, "FK CONSTRAINT"))
		return false;
	for (const struct pg_edge *edge = pg_depends_of(d, o, NULL); edge; edge = pg_depends_of(d, o, edge)) {
		if ((edge->type != 'a' && edge->type != 'i') || edge->ref.class_oid != PG_CLASS_RELATION ||
		    (edge->ref.class_oid == o.class_oid && edge->ref.oid == o.oid))
			continue;
		const struct pg_entry *owner =
		    pg_entry_of(live, (struct pg_object){edge->ref.class_oid, edge->ref.oid, 0});
		if (owner && owner->deed == PG_DEED_GO)
			return true;
	}
	return false;
}
