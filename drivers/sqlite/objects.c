/*
 * drivers/sqlite/objects.c - two schema texts compared object by object. SQLite keeps each statement as it was given, so
 * equal objects have equal texts.
 *
 * What hangs on an object: indexes and triggers on their table, triggers on their view. Views name what they read, and
 * find it again. No connection, no state, no locks.
 */
#include "drivers/sqlite/internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static int sqlite_objects_read(const char *sql, struct sqlite_objects *ret, struct err *e)
{
	const char *start = NULL;
	size_t len = 0;
	for (;;) {
		enum sqlite_ddl_kind kind = sqlite_ddl_next(&sql, &start, &len);
		if (kind == SQLITE_DDL_END)
			return 0;
		if (kind == SQLITE_DDL_OTHER)
			return err_set(e, ENOTSUP, "schema: this statement is not one of a saved schema: %.*s",
				       (int)(len < 60 ? len : 60), start);
		ret->v = xrealloc(ret->v, (ret->n + 1) * sizeof *ret->v);
		struct sqlite_object *o = &ret->v[ret->n++];
		*o = (struct sqlite_object){.sql = xmemdup0(start, len), .later = kind == SQLITE_DDL_LATER};
		sqlite_ddl_object(o->sql, &o->is);
		if (!o->is.kind || !o->is.name)
			return err_set(e, EINVAL, "schema: this statement names nothing: %.60s", o->sql);
	}
}

int sqlite_objects_parse(const char *sql, struct sqlite_objects *ret, struct err *e)
{
	int r = sqlite_objects_read(sql, ret, e);
	if (r < 0)
		sqlite_objects_done(ret);
	return r;
}

void sqlite_objects_done(struct sqlite_objects *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->v[i].sql);
		sqlite_ddl_object_done(&o->v[i].is);
	}
	free(o->v);
	*o = (struct sqlite_objects){0};
}

static const struct sqlite_object *sqlite_objects_find(const struct sqlite_objects *l, const char *kind,
						       const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].is.kind, kind) && !strcasecmp(l->v[i].is.name, name))
			return &l->v[i];
	return NULL;
}

const struct db_object *sqlite_deed_of(const struct db_objects *o, const struct sqlite_ddl_object *is)
{
	for (size_t i = 0; i < o->n; i++)
		if (!strcmp(o->v[i].kind, is->kind) && !strcasecmp(o->v[i].name, is->name))
			return &o->v[i];
	return NULL;
}

/* What an index or a trigger is on, when that goes: "table t". NULL: it stays. */
static char *sqlite_ground(const struct db_objects *o, const struct sqlite_ddl_object *is)
{
	static const char *const kinds[] = {"table", "view"};
	for (size_t k = 0; is->table && k < sizeof kinds / sizeof kinds[0]; k++) {
		const struct sqlite_ddl_object on = {.kind = (char *)kinds[k], .name = is->table};
		const struct db_object *deed = sqlite_deed_of(o, &on);
		if (deed && deed->deed == DB_DEED_REMAKE)
			return xasprintf("%s %s", deed->kind, deed->name);
	}
	return NULL;
}

int sqlite_compare(struct db_conn *conn, const struct db_definitions *live, const struct db_definitions *want,
		   const bool *touched, struct db_objects *ret, struct err *e)
{
	_cleanup_(sqlite_objects_done) struct sqlite_objects have = {0}, wanted = {0};
	(void)conn;
	(void)touched;
	*ret = (struct db_objects){.remade = xcalloc(want->schema->n_tables + 1, sizeof *ret->remade)};
	int r = sqlite_objects_parse(live->sql, &have, e);
	if (r < 0)
		return r;
	r = sqlite_objects_parse(want->sql, &wanted, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < have.n; i++) {
		const struct sqlite_ddl_object *is = &have.v[i].is;
		if (!sqlite_objects_find(&wanted, is->kind, is->name))
			db_objects_add(ret, DB_DEED_DROP, xstrdup(is->kind), xstrdup(is->name), NULL);
	}
	/* Tables come first in the text, and views before triggers: what an object hangs on is decided before it. */
	for (size_t i = 0; i < wanted.n; i++) {
		const struct sqlite_ddl_object *is = &wanted.v[i].is;
		const struct sqlite_object *old = sqlite_objects_find(&have, is->kind, is->name);
		char *because = sqlite_ground(ret, is);
		bool same = old && !strcmp(old->sql, wanted.v[i].sql);
		if (same && !because)
			continue;
		enum db_deed deed = !strcmp(is->kind, "pragma") ? DB_DEED_ALTER : old ? DB_DEED_REMAKE : DB_DEED_MAKE;
		if (!same) {
			free(because);
			because = NULL;
		}
		db_objects_add(ret, deed, xstrdup(is->kind), xstrdup(is->name), because);
	}
	for (size_t i = 0; i < want->schema->n_tables; i++) {
		const struct sqlite_ddl_object table = {.kind = (char *)"table", .name = want->schema->tables[i].name};
		ret->remade[i] = sqlite_deed_of(ret, &table) != NULL;
	}
	return 0;
}
