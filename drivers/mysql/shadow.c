/*
 * drivers/mysql/shadow.c - the two databases beside one that is rebuilt: DB__metasnap_new, where its new tables are
 * made, and DB__metasnap_old, where the old ones go and the journal is. Their names, and what is in them.
 * On the thread of the connection given; no locks.
 */
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

#define MY_NAME_MAX 64

/* Database names have at most 64 characters; a longer one is cut, with a hash of the whole. */
static char *my_side_name(const char *database, const char *suffix)
{
	uint64_t h = 0xcbf29ce484222325u;
	size_t keep = MY_NAME_MAX - strlen(suffix) - 17;

	if (strlen(database) + strlen(suffix) <= MY_NAME_MAX)
		return xasprintf("%s%s", database, suffix);
	for (const char *p = database; *p; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3u;
	while (keep > 0 && ((unsigned char)database[keep] & 0xc0) == 0x80)
		keep--;
	return xasprintf("%.*s_%016llx%s", (int)keep, database, (unsigned long long)h, suffix);
}

char *my_old_name(const char *database)
{
	return my_side_name(database, "__metasnap_old");
}

char *my_shadow_name(const char *database)
{
	return my_side_name(database, "__metasnap_new");
}

int my_count(struct my_conn *c, uint64_t *ret, struct err *e, const char *which, const char *schema)
{
	_cleanup_free_ char *n = NULL;
	int r = my_select_one(c, &n, e, "SELECT COUNT(*) FROM information_schema.%s=%q", which, schema);

	*ret = n ? strtoull(n, NULL, 10) : 0;
	return r;
}

int my_database_exists(struct my_conn *c, const char *name, bool *ret, struct err *e)
{
	uint64_t n;
	int r = my_count(c, &n, e, "SCHEMATA WHERE SCHEMA_NAME", name);

	*ret = n > 0;
	return r;
}

int my_count_tables(struct my_conn *c, const char *database, uint64_t *ret, struct err *e)
{
	return my_count(c, ret, e, "TABLES WHERE TABLE_TYPE='BASE TABLE' AND TABLE_SCHEMA", database);
}

int my_sides_drop(struct my_conn *w, const char *old, const char *shadow, struct err *e)
{
	int r = my_exec(w, e, "DROP DATABASE IF EXISTS %i", shadow);

	/* The journal goes last: as long as it is there, the rest is known to be ours. */
	return r < 0 ? r : my_exec(w, e, "DROP DATABASE IF EXISTS %i", old);
}
