/*
 * snapshot/openmetadata/entity.c - see entity.h.
 *
 * The hash of an entity's name is taken from its own row where the table has it (fqnHash, nameHash); only schemas
 * without such a column have it computed. Columns are found whatever the case of their names: PostgreSQL folds it.
 */
#include "snapshot/openmetadata/entity.h"

#include <errno.h>
#include <fnmatch.h>
#include <openssl/evp.h>
#include <strings.h>

#include "base/text.h"
#include "snapshot/row/json_text.h"

#define DOCUMENT "json"
#define REPORT_NAMES 5 /* so many related entities are named, the others counted */

/* ---- values in lines ---- */

/* Where a value stands in a table's lines. */
struct place {
	const char *column; /* NULL: nowhere */
	const char *member; /* of the document that the column is; NULL: the column itself */
};

static const struct db_column *find_column(const struct db_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (!strcasecmp(t->columns[i].name, name))
			return &t->columns[i];
	return NULL;
}

static struct place find_place(const struct db_table *t, const char *name)
{
	const struct db_column *c = find_column(t, name);
	if (!c)
		return (struct place){0};
	if (!c->generated)
		return (struct place){.column = c->name};
	return (struct place){.column = c->document, .member = c->member};
}

static struct place find_member(const struct db_table *t, const char *member)
{
	const struct db_column *c = find_column(t, DOCUMENT);
	return c && !c->generated ? (struct place){.column = c->name, .member = member} : (struct place){0};
}

/* 1: a string or number, in *out; 0: there is none. */
static int take_value(const char *v, size_t len, struct strbuf *out)
{
	strbuf_clear(out);
	switch (json_text_kind(*v)) {
	case JSON_KIND_STRING:
		return json_text_unquote(v + 1, len - 2, out) ? 1 : -EBADMSG;
	case JSON_KIND_NUMBER:
		strbuf_add(out, v, len);
		return 1;
	default:
		return 0;
	}
}

static int read_place(const struct place *at, const struct db_table *t, const char *line, size_t len,
		      struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	const char *v;
	size_t n;
	if (!at->column)
		return 0;
	int r = json_text_member(line, len, at->column, strlen(at->column), &v, &n);
	if (r == 1 && at->member) {
		/* A document that is kept as text is a string that holds it. */
		if (*v == '"' && json_text_unquote(v + 1, n - 2, &text)) {
			v = strbuf_str(&text);
			n = text.len;
		}
		r = *v == '{' ? json_text_member(v, n, at->member, strlen(at->member), &v, &n) : 0;
	}
	if (r == 1)
		r = take_value(v, n, out);
	return r < 0 ? err_set(e, EBADMSG, "table %s: a row cannot be read", t->name) : r;
}

/* ---- sets of names ---- */

struct names {
	char **v;
	size_t n;
};

static void names_done(struct names *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
}

static void names_add(struct names *s, const char *name, size_t len)
{
	if ((s->n & (s->n - 1)) == 0)
		s->v = xrealloc(s->v, (s->n ? s->n * 2 : 1) * sizeof *s->v);
	s->v[s->n++] = xmemdup0(name, len);
}

static int names_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(struct names *s)
{
	if (s->n)
		qsort(s->v, s->n, sizeof *s->v, names_order);
}

/* Of a sorted set. */
static bool names_have(const struct names *s, const char *name)
{
	return s->n && bsearch(&name, s->v, s->n, sizeof *s->v, names_order);
}

static bool names_begin(const struct names *s, size_t n, const char *name, size_t *ret_len)
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

static bool names_hold(const struct names *s, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(s->v[i], name))
			return true;
	return false;
}

/* ---- what is known of tables ---- */

/* The tables beside the entities' own, and the columns that say whose a row is. A later pair is looked for where the
 * table lacks the first one. */
enum beside { BESIDE_RELATIONS, BESIDE_TAGS, BESIDE_FIELDS, BESIDE_EXTENSION, BESIDE_USAGE, BESIDE_N };
enum by { BY_ID, BY_HASH, BY_NAME };
static const struct {
	const char *glob;
	bool optional; /* one without these columns is something else */
	struct {
		enum by by;
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

/* BESIDE_N: the table is none of them. */
static enum beside beside_of(const char *table)
{
	int k = 0;
	while (k < BESIDE_N && fnmatch(besides[k].glob, table, FNM_CASEFOLD) != 0)
		k++;
	return (enum beside)k;
}

/* The tables that have entities; what tells one. */
struct entity_columns {
	const struct db_table *table;
	struct place id, hash, fqn, name;
};

static struct entity_columns entity_columns_of(const struct db_table *t)
{
	struct entity_columns c = {.table = t, .id = find_place(t, "id"), .hash = find_place(t, "fqnHash")};
	if (!c.id.column)
		c.id = find_member(t, "id");
	if (!c.hash.column)
		c.hash = find_place(t, "nameHash");
	c.fqn = find_member(t, "fullyQualifiedName");
	c.name = find_member(t, "name");
	return c;
}

struct rule {
	enum beside beside; /* BESIDE_N: the entity's own table */
	enum by by;
	const struct db_table *table;
	struct place at[2];
	struct place tag; /* tag_usage: the tag's own hash */
};

struct related {
	char *id;
	char *name; /* its full name in the snapshot; NULL: it is not there either */
	bool found; /* in the database */
};

struct entity_part {
	struct catalog *catalog;
	const struct version_list *target;
	size_t own;               /* its table, of target */
	struct names names[3];    /* by enum by: first the snapshot's, then what else it is on the live side */
	struct names fields[3];   /* sorted: names of other entities that begin with one of those */
	struct related *relation; /* by id */
	size_t n_relations;
	struct rule *rules;
	size_t n_rules;
	char **tables;  /* NULL-terminated, as rules */
	uint64_t uses;  /* by others, of the snapshot, that the database does not have: when it is a tag */
	char *replaced; /* id of another entity of its name */
	char *renamed;  /* its name in the database, when that is another one */
	struct strbuf value;
};

void entity_part_free(struct entity_part *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < 3; i++) {
		names_done(&p->names[i]);
		names_done(&p->fields[i]);
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

static const char *own_id(const struct entity_part *p)
{
	return p->names[BY_ID].v[0];
}

/* ---- hashes ---- */

static int add_md5(struct strbuf *out, const struct strbuf *part, struct err *e)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	if (!EVP_Digest(strbuf_str(part), part->len, md, &n, EVP_md5(), NULL))
		return err_set(e, ENOTSUP, "MD5, which the hashes of names are made with, is not to be had here");
	hex_encode(md, n, hex);
	strbuf_addf(out, "%s%s", out->len ? "." : "", hex);
	return 0;
}

/* MD5 of each part, as the server makes it. A part in quotes has its quotes doubled, in older data with a backslash. */
static int hash_name(const char *fqn, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf part = {0};
	int r = 0;
	strbuf_clear(out);
	for (const char *p = fqn; r == 0; p++) {
		bool quoted = *p == '"';
		strbuf_clear(&part);
		for (p += quoted; *p && (quoted || *p != '.'); p++) {
			if (quoted && *p == '"' && p[1] != '"') {
				p++;
				break;
			}
			if (quoted && (*p == '"' || (*p == '\\' && p[1] == '"')))
				p++;
			strbuf_addch(&part, *p);
		}
		r = add_md5(out, &part, e);
		if (*p != '.')
			break;
	}
	return r;
}

/* Full name of the entity of a line; users and some others have only a name. 0: it has none. */
static int read_fqn(const struct entity_columns *c, const char *line, size_t len, struct strbuf *out, struct err *e)
{
	int r = read_place(&c->fqn, c->table, line, len, out, e);
	return r ? r : read_place(&c->name, c->table, line, len, out, e);
}

static int read_hash(const struct entity_columns *c, const char *line, size_t len, struct strbuf *out, struct err *e)
{
	if (c->hash.column)
		return read_place(&c->hash, c->table, line, len, out, e);
	_cleanup_strbuf_ struct strbuf fqn = {0};
	int r = read_fqn(c, line, len, &fqn, e);
	if (r == 1) {
		r = hash_name(strbuf_str(&fqn), out, e);
		r = r < 0 ? r : 1;
	}
	return r;
}

/* ---- the entity in the snapshot ---- */

int entity_name(struct catalog *c, int64_t snapshot_id, const char *table, const char *row_file, struct strbuf *out,
		struct err *e)
{
	_cleanup_strbuf_ struct strbuf name = {0};
	struct version_info v = {0};
	struct stored_row row;
	int r = catalog_table(c, snapshot_id, table, &v, e);
	if (r == 0)
		r = catalog_row_by_name(c, v.id, row_file, &row, e);
	version_info_done(&v);
	if (r < 0)
		return r;
	struct entity_columns columns = entity_columns_of(row_codec_table(row.codec));
	r = read_fqn(&columns, row.line, row.line_len, &name, e);
	stored_row_done(&row);
	strbuf_add(out, strbuf_str(&name), name.len);
	return r < 0 ? r : 0;
}

static const struct db_table *target_table(struct entity_part *p, size_t i, struct err *e)
{
	const struct row_codec *codec;
	return catalog_codec(p->catalog, p->target->v[i].codec_id, &codec, e) < 0 ? NULL : row_codec_table(codec);
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
	r = read_place(&c.id, c.table, row.line, row.line_len, &id, e);
	if (r == 1)
		r = read_fqn(&c, row.line, row.line_len, &name, e);
	if (r == 1)
		r = read_hash(&c, row.line, row.line_len, &hash, e);
	stored_row_done(&row);
	if (r < 0)
		return r;
	if (!id.len || !hash.len || !name.len)
		return err_set(e, EINVAL, "%s in %s is no entity: it lacks an id or a name", row_file, v->name);
	names_add(&p->names[BY_ID], strbuf_str(&id), id.len);
	names_add(&p->names[BY_HASH], strbuf_str(&hash), hash.len);
	names_add(&p->names[BY_NAME], strbuf_str(&name), name.len);
	return 0;
}

static bool find_way(const struct db_table *t, enum beside k, struct rule *ret)
{
	for (size_t w = 0; w < 2 && besides[k].way[w].column[0]; w++) {
		ret->by = besides[k].way[w].by;
		bool all = true;
		for (size_t i = 0; i < 2 && besides[k].way[w].column[i]; i++) {
			ret->at[i] = find_place(t, besides[k].way[w].column[i]);
			all &= ret->at[i].column != NULL;
		}
		if (all)
			return true;
	}
	return false;
}

static int add_rules(struct entity_part *p, struct err *e)
{
	p->rules = xcalloc(p->target->n, sizeof *p->rules);
	p->tables = xcalloc(p->target->n + 1, sizeof *p->tables);
	for (size_t i = 0; i < p->target->n; i++) {
		enum beside k = beside_of(p->target->v[i].name);
		if (i != p->own && k == BESIDE_N)
			continue;
		const struct db_table *t = target_table(p, i, e);
		if (!t)
			return err_code(e);
		struct rule rule = {.beside = k, .table = t};
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
			rule.tag = find_place(t, "tagFQNHash");
		p->tables[p->n_rules] = xstrdup(t->name);
		p->rules[p->n_rules++] = rule;
	}
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
	if (beside_of(table) != BESIDE_N)
		return err_set(e, EINVAL, "the rows of %s are no entities", table);
	int r = read_own(p, row_file, e);
	if (r == 0)
		r = add_rules(p, e);
	if (r == 0)
		*ret = TAKE_PTR(p);
	return r;
}

/* ---- whose is a row? ---- */

/* A longer name is a field's unless it, or what it begins with, is another entity's. */
static bool is_field(const struct entity_part *p, enum by by, const char *name, size_t base_len)
{
	_cleanup_free_ char *part = xstrdup(name);
	for (char *dot = part + base_len + 1; (dot = strchr(dot, '.')); *dot++ = '.') {
		*dot = '\0';
		if (names_have(&p->fields[by], part))
			return false;
	}
	return !names_have(&p->fields[by], part);
}

static int rule_has(struct entity_part *p, const struct rule *rule, bool live, const struct stream_row *row,
		    struct err *e)
{
	const struct names *names = &p->names[rule->by];
	size_t n = live ? names->n : 1;
	for (size_t i = 0; i < 2 && rule->at[i].column; i++) {
		int r = read_place(&rule->at[i], rule->table, row->line, row->line_len, &p->value, e);
		if (r < 0)
			return r;
		const char *value = strbuf_str(&p->value);
		size_t len;
		if (r && (names_hold(names, n, value) || (rule->by != BY_ID && names_begin(names, n, value, &len) &&
							  is_field(p, rule->by, value, len))))
			return 1;
	}
	return 0;
}

/* ---- looking at both sides ---- */

struct look {
	struct entity_part *part;
	int (*row)(struct look *l, const char *line, size_t len, struct err *e);
	struct entity_columns columns;
	const struct rule *rule;
	bool target, live; /* whose rows these are; both: of both */
	struct strbuf id, text;
};

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
	while (r == 0 && (r = s->next(s, &row, e)) == 1) {
		r = atomic_load_explicit(&job->cancelled, memory_order_relaxed) ? err_set(e, EINTR, "cancelled")
										: l->row(l, row.line, row.line_len, e);
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
	int q = d->scan_close(conn, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

/* A row of its own table in the database: is it the entity, or does it have its name? */
static int look_own(struct look *l, const char *line, size_t len, struct err *e)
{
	struct entity_part *p = l->part;
	_cleanup_strbuf_ struct strbuf hash = {0};
	int r = read_place(&l->columns.id, l->columns.table, line, len, &l->id, e);
	if (r == 1)
		r = read_hash(&l->columns, line, len, &hash, e);
	if (r <= 0)
		return r;
	bool it = !strcmp(strbuf_str(&l->id), own_id(p)), named = !strcmp(strbuf_str(&hash), p->names[BY_HASH].v[0]);
	if (it == named)
		return 0;
	if (named) {
		names_add(&p->names[BY_ID], strbuf_str(&l->id), l->id.len);
		free(p->replaced);
		p->replaced = xstrdup(strbuf_str(&l->id));
		return 0;
	}
	names_add(&p->names[BY_HASH], strbuf_str(&hash), hash.len);
	r = read_fqn(&l->columns, line, len, &l->text, e);
	if (r < 0)
		return r;
	names_add(&p->names[BY_NAME], strbuf_str(&l->text), l->text.len);
	free(p->renamed);
	p->renamed = xstrdup(strbuf_str(&l->text));
	return 0;
}

static struct related *find_related(struct entity_part *p, const char *id)
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
	int r = rule_has(p, l->rule, false, &row, e);
	for (size_t i = 0; r == 1 && i < 2; i++) {
		r = read_place(&l->rule->at[i], l->rule->table, line, len, &l->id, e);
		if (r != 1 || !strcmp(strbuf_str(&l->id), own_id(p)))
			continue;
		if ((p->n_relations & (p->n_relations - 1)) == 0)
			p->relation =
			    xrealloc(p->relation, (p->n_relations ? p->n_relations * 2 : 1) * sizeof *p->relation);
		p->relation[p->n_relations++] = (struct related){.id = xstrdup(strbuf_str(&l->id))};
	}
	return r < 0 ? r : 0;
}

static int related_order(const void *a, const void *b)
{
	return strcmp(((const struct related *)a)->id, ((const struct related *)b)->id);
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
	int r = read_place(&l->columns.id, l->columns.table, line, len, &l->id, e);
	if (r <= 0)
		return r;
	struct related *related = find_related(p, strbuf_str(&l->id));
	if (related && l->live)
		related->found = true;
	if (related && l->target && !related->name) {
		r = read_fqn(&l->columns, line, len, &l->text, e);
		if (r < 0)
			return r;
		related->name = xstrdup(strbuf_str(&l->text));
	}
	r = read_hash(&l->columns, line, len, &l->text, e);
	if (r <= 0 || !names_begin(&p->names[BY_HASH], p->names[BY_HASH].n, strbuf_str(&l->text), &base))
		return r < 0 ? r : 0;
	names_add(&p->fields[BY_HASH], strbuf_str(&l->text), l->text.len);
	r = read_fqn(&l->columns, line, len, &l->text, e);
	if (r == 1)
		names_add(&p->fields[BY_NAME], strbuf_str(&l->text), l->text.len);
	return r < 0 ? r : 0;
}

/* A table of entities has their ids and documents, and hashes of their names where the entity's own has. */
static bool has_entities(const struct db_table *t, bool hashed)
{
	struct entity_columns c = entity_columns_of(t);
	return c.id.column && c.fqn.column && (c.hash.column || !hashed) && !find_column(t, "extension") &&
	       beside_of(t->name) == BESIDE_N;
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
	int r = 0;
	for (size_t i = 0; r == 0 && i < p->n_rules; i++) {
		l.rule = &p->rules[i];
		if (l.rule->beside == BESIDE_RELATIONS)
			r = look_version(&l, find_version(p->target, l.rule->table->name), job, e);
	}
	sort_related(p);
	return r;
}

/* The snapshot's entities; a table that is the same on both sides is read once for both. */
static int look_target(struct entity_part *p, const struct entity_live *live, bool hashed, struct job_ctl *job,
		       struct err *e)
{
	_cleanup_(look_done) struct look l = {.part = p, .row = look_entity, .target = true};
	for (size_t i = 0; i < p->target->n; i++) {
		const struct db_table *t = target_table(p, i, e);
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

static int look_live(struct entity_part *p, const struct entity_live *live, bool hashed, struct job_ctl *job,
		     struct err *e)
{
	_cleanup_(look_done) struct look l = {.part = p, .row = look_entity, .live = true};
	int r = 0;
	for (size_t i = 0; !live->versions && r == 0 && i < live->schema->n_tables; i++)
		if (has_entities(&live->schema->tables[i], hashed))
			r = look_table(&l, live->conn, &live->schema->tables[i], job, e);
	for (size_t i = 0; live->versions && r == 0 && i < live->versions->n; i++) {
		const struct version_info *v = &live->versions->v[i], *was = find_version(p->target, v->name);
		const struct row_codec *codec;
		r = catalog_codec(p->catalog, v->codec_id, &codec, e);
		if (r == 0 && !(was && was->id == v->id) && has_entities(row_codec_table(codec), hashed))
			r = look_version(&l, v, job, e);
	}
	return r;
}

int entity_part_look(struct entity_part *p, const struct entity_live *live, struct job_ctl *job, struct err *e)
{
	const struct db_table *own = target_table(p, p->own, e);
	if (!own)
		return err_code(e);
	bool hashed = entity_columns_of(own).hash.column != NULL;
	job_ctl_say(job, "looking for the entity");
	int r = look_live_own(p, live, job, e);
	if (r == 0)
		r = look_relations(p, job, e);
	if (r == 0)
		r = look_target(p, live, hashed, job, e);
	if (r == 0)
		r = look_live(p, live, hashed, job, e);
	names_sort(&p->fields[BY_HASH]);
	names_sort(&p->fields[BY_NAME]);
	return r;
}

/* ---- merging ---- */

struct part_merge {
	struct entity_part *part;
	const struct rule *rule;
	const struct merge_sink *to;
	int (*each)(void *arg, const struct stream_row *row, struct err *e);
	void *arg;
};

static int has_live(struct part_merge *m, const struct stream_row *row, struct err *e)
{
	return rule_has(m->part, m->rule, true, row, e);
}

static int has_target(struct part_merge *m, const struct stream_row *row, struct err *e)
{
	return rule_has(m->part, m->rule, false, row, e);
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
	int r = read_place(&m->rule->tag, m->rule->table, row->line, row->line_len, &p->value, e);
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

static int find_rule(struct entity_part *p, const char *table, const struct rule **ret, struct err *e)
{
	for (size_t i = 0; i < p->n_rules; i++)
		if (!strcmp(p->rules[i].table->name, table)) {
			*ret = &p->rules[i];
			if (p->rules[i].beside == BESIDE_TAGS)
				p->uses = 0;
			return 0;
		}
	return err_set(e, EINVAL, "table %s has no rows of an entity", table);
}

int entity_part_merge(struct entity_part *p, const char *table, struct row_stream *live, struct row_stream *target,
		      const struct merge_sink *to, struct err *e)
{
	struct part_merge m = {.part = p, .to = to};
	struct merge_sink sink = {&m, part_left, part_right, NULL, part_changed};
	/* Rows that are the same on both sides matter only where it is more on the live side than in the snapshot. */
	if (p->names[BY_ID].n > 1 || p->names[BY_HASH].n > 1)
		sink.same = part_same;
	int r = find_rule(p, table, &m.rule, e);
	return r == 0 ? merge_streams(live, target, &sink, e) : r;
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
	struct part_merge m = {.part = p, .each = each, .arg = arg};
	/* Rows without a key of their own are the same, or they are others. */
	struct merge_sink sink = {&m, result_left, result_right, result_same, NULL};
	int r = find_rule(p, table, &m.rule, e);
	return r == 0 ? merge_streams(live, target, &sink, e) : r;
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

static bool has_rule(const struct entity_part *p, enum beside k)
{
	for (size_t i = 0; i < p->n_rules; i++)
		if (p->rules[i].beside == k)
			return true;
	return false;
}

void entity_part_report(const struct entity_part *p, struct strbuf *out)
{
	for (int k = BESIDE_RELATIONS; k <= BESIDE_FIELDS; k++)
		if (!has_rule(p, (enum beside)k))
			strbuf_addf(out, "the snapshot has no table %s: what the entity has there stays as it is\n",
				    besides[k].glob);
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
