/*
 * drivers/objects.c - see objects.h.
 */
#include "drivers/objects.h"

#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

void db_objects_add(struct db_objects *o, enum db_deed deed, char *kind, char *name, char *because)
{
	if ((o->n & (o->n - 1)) == 0)
		o->v = xrealloc(o->v, (o->n ? o->n * 2 : 1) * sizeof *o->v);
	o->v[o->n++] = (struct db_object){.kind = kind, .name = name, .because = because, .deed = deed};
}

void db_objects_done(struct db_objects *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->v[i].kind);
		free(o->v[i].name);
		free(o->v[i].because);
	}
	free(o->v);
	free(o->remade);
	*o = (struct db_objects){0};
}

const char *db_deed_word(enum db_deed deed)
{
	static const char *const words[] = {[DB_DEED_MAKE] = "make",
					    [DB_DEED_ALTER] = "alter",
					    [DB_DEED_REMAKE] = "make anew",
					    [DB_DEED_DROP] = "drop"};
	return words[deed];
}

/* Views, types and routines without a table are something that goes, too; the text of an empty schema makes but that. */
static bool objects_any(const struct db_definitions *d)
{
	static const char make[] = "CREATE ", schema[] = "SCHEMA ";
	bool any = d->schema->n_tables > 0;
	for (const char *line = d->sql; line && !any; line = strchr(line, '\n')) {
		line += *line == '\n';
		any = !strncmp(line, make, sizeof make - 1) &&
		      strncmp(line + sizeof make - 1, schema, sizeof schema - 1) != 0;
	}
	return any;
}

void db_objects_compare_whole(struct db_objects *ret, const struct db_definitions *live,
			      const struct db_definitions *want)
{
	*ret = (struct db_objects){.remade = xcalloc(want->schema->n_tables + 1, sizeof *ret->remade)};
	if (!strcmp(live->sql, want->sql))
		return;
	bool any = objects_any(live);
	db_objects_add(ret, any ? DB_DEED_REMAKE : DB_DEED_MAKE, xstrdup("schema"), xstrdup("all"), NULL);
	for (size_t i = 0; i < want->schema->n_tables; i++)
		ret->remade[i] = true;
}
