/*
 * drivers/schema.c - see schema.h.
 */
#include "drivers/schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

/* ---- freeing and finding ---- */

void db_table_done(struct db_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		free(t->columns[i].name);
		free(t->columns[i].type);
		free(t->columns[i].document);
		free(t->columns[i].member);
	}
	free(t->columns);
	free(t->key);
	free(t->name);
	*t = (struct db_table){0};
}

void db_schema_free(struct db_schema *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_tables; i++)
		db_table_done(&s->tables[i]);
	for (size_t i = 0; i < s->n_sequences; i++)
		free(s->sequences[i].name);
	for (size_t i = 0; i < s->n_left_out; i++)
		free(s->left_out[i]);
	free(s->left_out);
	free(s->tables);
	free(s->sequences);
	free(s->engine);
	free(s->server_version);
	free(s->database);
	free(s->schema);
	free(s->app_version);
	free(s);
}

const struct db_table *db_schema_find(const struct db_schema *s, const char *table)
{
	size_t low = 0, high = s->n_tables;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(table, s->tables[middle].name);
		if (!order)
			return &s->tables[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

struct db_table db_table_without_key(const struct db_table *t)
{
	struct db_table u = *t;
	u.key_kind = DB_KEY_NONE;
	u.key = NULL;
	u.n_key = 0;
	return u;
}

/* ---- key ---- */

static bool key_usable(const struct db_table *t, const struct db_index *index, bool not_null)
{
	for (size_t i = 0; i < index->n_columns; i++) {
		const struct db_column *c = &t->columns[index->columns[i]];
		if ((c->generated && !c->document) || (not_null && c->nullable))
			return false;
	}
	return index->n_columns > 0;
}

static bool key_better_unique(const struct db_index *a, const struct db_index *b)
{
	if (!b || a->primary != b->primary)
		return !b || a->primary;
	if (a->n_columns != b->n_columns)
		return a->n_columns < b->n_columns;
	return strcmp(a->name, b->name) < 0;
}

void db_table_choose_key(struct db_table *t, const struct db_index *indexes, size_t n)
{
	const struct db_index *unique = NULL, *any = NULL;
	for (size_t i = 0; i < n; i++) {
		const struct db_index *index = &indexes[i];
		if (!key_usable(t, index, false))
			continue;
		if ((index->primary || index->unique) && key_usable(t, index, true) && key_better_unique(index, unique))
			unique = index;
		if (!any || strcmp(index->name, any->name) < 0)
			any = index;
	}
	const struct db_index *chosen = unique ? unique : any;
	free(t->key);
	t->key = NULL;
	t->n_key = 0;
	t->key_kind = unique ? DB_KEY_UNIQUE : any ? DB_KEY_INDEX : DB_KEY_NONE;
	if (!chosen)
		return;
	t->key = xmalloc(chosen->n_columns * sizeof *t->key);
	memcpy(t->key, chosen->columns, chosen->n_columns * sizeof *t->key);
	t->n_key = chosen->n_columns;
}
