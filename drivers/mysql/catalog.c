/*
 * drivers/mysql/catalog.c - the private side of a description: tables and columns found by name. No locks.
 */
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static void my_table_done(struct my_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		free(t->columns[i].name);
		free(t->columns[i].charset);
		free(t->columns[i].collation);
		free(t->columns[i].empty_member);
		my_places_free(t->columns[i].places);
	}
	for (size_t i = 0; i < t->n_indexes; i++) {
		free(t->indexes[i].name);
		free(t->indexes[i].columns);
	}
	free(t->columns);
	free(t->indexes);
	free(t->name);
}

void my_catalog_done(struct my_catalog *cat)
{
	for (size_t i = 0; i < cat->n_tables; i++)
		my_table_done(&cat->tables[i]);
	free(cat->tables);
	*cat = (struct my_catalog){0};
}

struct my_table *my_catalog_find(const struct my_catalog *cat, const char *table)
{
	size_t low = 0, high = cat->n_tables;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int d = strcmp(table, cat->tables[mid].name);

		if (d == 0)
			return &cat->tables[mid];
		if (d < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

struct my_column *my_table_column(struct my_table *t, const char *name, size_t *ret_index)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		if (!strcmp(t->columns[i].name, name)) {
			if (ret_index)
				*ret_index = i;
			return &t->columns[i];
		}
	}
	return NULL;
}

void my_names_done(struct my_names *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->names[i]);
	free(n->names);
	*n = (struct my_names){0};
}
