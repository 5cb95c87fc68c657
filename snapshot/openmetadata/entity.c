/*
 * snapshot/openmetadata/entity.c - see entity.h.
 */
#include "snapshot/openmetadata/entity.h"

#include <errno.h>

#include "snapshot/openmetadata/internal.h"

#define REPORT_NAMES 5 /* so many related entities are named, the others counted */

void entity_part_free(struct entity_part *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < 3; i++) {
		strset_done(&p->names[i]);
		strset_done(&p->fields[i]);
	}
	for (size_t i = 0; i < p->n_relations; i++) {
		free(p->relation[i].id);
		free(p->relation[i].name);
	}
	free(p->relation);
	free(p->rules);
	for (size_t i = 0; p->tables && p->tables[i]; i++)
		free(p->tables[i]);
	free(p->tables);
	free(p->replaced);
	free(p->renamed);
	strbuf_done(&p->value);
	free(p);
}

char **entity_part_tables(struct entity_part *p)
{
	return p->tables;
}

/* ---- the entity in the snapshot ---- */

int entity_name(struct catalog *c, int64_t snapshot_id, const char *table, const char *row_file, struct strbuf *out,
		struct err *e)
{
	_cleanup_strbuf_ struct strbuf name = {0};
	_cleanup_(version_info_done) struct version_info v = {0};
	struct stored_row row;
	int r = catalog_table(c, snapshot_id, table, &v, e);
	if (r < 0)
		return r;
	r = catalog_row_by_name(c, v.id, row_file, &row, e);
	if (r < 0)
		return r;
	struct entity_columns columns = entity_columns_of(row_codec_table(row.codec));
	r = entity_read_fqn(&columns, row.line, row.line_len, &name, e);
	stored_row_done(&row);
	strbuf_add(out, strbuf_str(&name), name.len);
	return r < 0 ? r : 0;
}

/* The own row's id, hash and name become the first of each. */
static int read_own(struct entity_part *p, const char *row_file, struct err *e)
{
	const struct version_info *v = &p->target->v[p->own];
	struct stored_row row;
	int r = catalog_row_by_name(p->catalog, v->id, row_file, &row, e);
	if (r < 0)
		return r == -ENOENT ? err_set(e, ENOENT, "the snapshot has no %s in %s", row_file, v->name) : r;
	struct entity_columns c = entity_columns_of(row_codec_table(row.codec));
	_cleanup_strbuf_ struct strbuf id = {0}, hash = {0}, name = {0};
	r = entity_read_place(&c.id, c.table, row.line, row.line_len, &id, e);
	if (r == 1)
		r = entity_read_fqn(&c, row.line, row.line_len, &name, e);
	if (r == 1)
		r = entity_read_hash(&c, row.line, row.line_len, &hash, e);
	stored_row_done(&row);
	if (r < 0)
		return r;
	if (!id.len || !hash.len || !name.len)
		return err_set(e, EINVAL, "%s in %s is no entity: it lacks an id or a name", row_file, v->name);
	strset_add(&p->names[BY_ID], strbuf_str(&id), id.len);
	strset_add(&p->names[BY_HASH], strbuf_str(&hash), hash.len);
	strset_add(&p->names[BY_NAME], strbuf_str(&name), name.len);
	return 0;
}

int entity_part_new(struct entity_part **ret, struct catalog *c, const struct version_list *target, const char *table,
		    const char *row_file, struct err *e)
{
	_cleanup_(cleanup_entity_part) struct entity_part *p = xcalloc(1, sizeof *p);
	p->catalog = c;
	p->target = target;
	while (p->own < target->n && strcmp(target->v[p->own].name, table))
		p->own++;
	if (p->own == target->n)
		return err_set(e, ENOENT, "the snapshot has no table %s", table);
	if (entity_beside_of(table) != BESIDE_N)
		return err_set(e, EINVAL, "the rows of %s are no entities", table);
	int r = read_own(p, row_file, e);
	if (r < 0)
		return r;
	r = entity_add_rules(p, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

/* ---- words ---- */

static void report_missing(const struct entity_part *p, struct strbuf *out)
{
	size_t missing = 0;
	for (size_t i = 0; i < p->n_relations; i++)
		missing += !p->relation[i].found;
	if (!missing)
		return;
	strbuf_addf(out, "%zu of the %zu entities it is related to %s not in the database:", missing, p->n_relations,
		    missing == 1 ? "is" : "are");
	for (size_t i = 0, named = 0; i < p->n_relations && named < REPORT_NAMES; i++)
		if (!p->relation[i].found) {
			const char *name = p->relation[i].name ? p->relation[i].name : p->relation[i].id;
			strbuf_addf(out, "%s %.120s", named++ ? "," : "", name);
		}
	strbuf_addf(out, "%s; its relations to %s are restored all the same\n", missing > REPORT_NAMES ? ", ..." : "",
		    missing == 1 ? "it" : "them");
}

static bool has_rule(const struct entity_part *p, enum entity_beside k)
{
	for (size_t i = 0; i < p->n_rules; i++)
		if (p->rules[i].beside == k)
			return true;
	return false;
}

void entity_part_report(const struct entity_part *p, struct strbuf *out)
{
	for (int k = BESIDE_RELATIONS; k <= BESIDE_FIELDS; k++)
		if (!has_rule(p, (enum entity_beside)k))
			strbuf_addf(out, "the snapshot has no table %s: what the entity has there stays as it is\n",
				    entity_beside_glob((enum entity_beside)k));
	if (p->renamed)
		strbuf_addf(out, "in the database it is called %.200s: it gets its name of the snapshot back\n",
			    p->renamed);
	if (p->replaced)
		strbuf_addf(out,
			    "the database has another entity under this name, id %.80s: this one takes its place\n",
			    p->replaced);
	report_missing(p, out);
	if (p->uses)
		strbuf_addf(out,
			    "%llu use%s of this tag by other entities, of the snapshot, %s not in the database and not "
			    "brought back (that is theirs)\n",
			    (unsigned long long)p->uses, p->uses == 1 ? "" : "s", p->uses == 1 ? "is" : "are");
}
