/*
 * snapshot/openmetadata/entity_rules.c - the tables that can hold rows of an entity, and whose a row of one is. No
 * locks.
 */
#include "snapshot/openmetadata/internal.h"

#include <errno.h>
#include <fnmatch.h>

/* The tables beside the entities' own, and the columns that say whose a row is. A later pair is looked for where the
 * table lacks the first one. */
static const struct {
	const char *glob;
	bool optional; /* one without these columns is something else */
	struct {
		enum entity_by by;
		const char *column[2];
	} way[2];
} besides[BESIDE_N] = {
    [BESIDE_RELATIONS] = {"entity_relationship", false, {{BY_ID, {"fromId", "toId"}}}},
    [BESIDE_TAGS] = {"tag_usage", false, {{BY_HASH, {"targetFQNHash"}}, {BY_NAME, {"targetFQN"}}}},
    [BESIDE_FIELDS] = {"field_relationship",
		       false,
		       {{BY_HASH, {"fromFQNHash", "toFQNHash"}}, {BY_NAME, {"fromFQN", "toFQN"}}}},
    [BESIDE_EXTENSION] = {"entity_extension*", true, {{BY_ID, {"id"}}}},
    [BESIDE_USAGE] = {"entity_usage", false, {{BY_ID, {"id"}}}},
};

enum entity_beside entity_beside_of(const char *table)
{
	int k = 0;
	while (k < BESIDE_N && fnmatch(besides[k].glob, table, FNM_CASEFOLD) != 0)
		k++;
	return (enum entity_beside)k;
}

const char *entity_beside_glob(enum entity_beside k)
{
	return besides[k].glob;
}

const struct db_table *entity_target_table(struct entity_part *p, size_t i, struct err *e)
{
	const struct row_codec *codec;
	return catalog_codec(p->catalog, p->target->v[i].codec_id, &codec, e) < 0 ? NULL : row_codec_table(codec);
}

static bool find_way(const struct db_table *t, enum entity_beside k, struct entity_rule *ret)
{
	for (size_t w = 0; w < 2 && besides[k].way[w].column[0]; w++) {
		ret->by = besides[k].way[w].by;
		bool all = true;
		for (size_t i = 0; i < 2 && besides[k].way[w].column[i]; i++) {
			ret->at[i] = entity_find_place(t, besides[k].way[w].column[i]);
			all &= ret->at[i].column != NULL;
		}
		if (all)
			return true;
	}
	return false;
}

int entity_add_rules(struct entity_part *p, struct err *e)
{
	p->rules = xcalloc(p->target->n, sizeof *p->rules);
	p->tables = xcalloc(p->target->n + 1, sizeof *p->tables);
	for (size_t i = 0; i < p->target->n; i++) {
		enum entity_beside k = entity_beside_of(p->target->v[i].name);
		if (i != p->own && k == BESIDE_N)
			continue;
		const struct db_table *t = entity_target_table(p, i, e);
		if (!t)
			return err_code(e);
		struct entity_rule rule = {.beside = k, .table = t};
		if (i == p->own)
			rule.at[0] = entity_columns_of(t).id;
		else if (!find_way(t, k, &rule)) {
			if (besides[k].optional)
				continue;
			return err_set(e, ENOTSUP,
				       "table %s has no %s: which of its rows are the entity's is not known", t->name,
				       besides[k].way[0].column[0]);
		}
		if (k == BESIDE_TAGS)
			rule.tag = entity_find_place(t, "tagFQNHash");
		p->tables[p->n_rules] = xstrdup(t->name);
		p->rules[p->n_rules++] = rule;
	}
	return 0;
}

/* ---- whose is a row? ---- */

bool entity_names_begin(const struct strset *s, size_t n, const char *name, size_t *ret_len)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(s->v[i]);
		if (!strncmp(s->v[i], name, len) && name[len] == '.') {
			*ret_len = len;
			return true;
		}
	}
	return false;
}

static bool names_hold(const struct strset *s, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(s->v[i], name))
			return true;
	return false;
}

/* A longer name is a field's unless it, or what it begins with, is another entity's. */
static bool is_field(const struct entity_part *p, enum entity_by by, const char *name, size_t base_len)
{
	_cleanup_free_ char *part = xstrdup(name);
	for (char *dot = part + base_len + 1; (dot = strchr(dot, '.')); *dot++ = '.') {
		*dot = '\0';
		if (strset_has(&p->fields[by], part))
			return false;
	}
	return !strset_has(&p->fields[by], part);
}

int entity_rule_has(struct entity_part *p, const struct entity_rule *rule, bool live, const struct stream_row *row,
		    struct err *e)
{
	const struct strset *names = &p->names[rule->by];
	size_t n = live ? names->n : 1;
	for (size_t i = 0; i < 2 && rule->at[i].column; i++) {
		int r = entity_read_place(&rule->at[i], rule->table, row->line, row->line_len, &p->value, e);
		if (r < 0)
			return r;
		const char *value = strbuf_str(&p->value);
		size_t len;
		if (r &&
		    (names_hold(names, n, value) || (rule->by != BY_ID && entity_names_begin(names, n, value, &len) &&
						     is_field(p, rule->by, value, len))))
			return 1;
	}
	return 0;
}
