/*
 * snapshot/restore/part.c - a restore of some of the rows of its tables: those of one entity.
 *
 * A struct part belongs to one thread; the catalog outlives it. No locks.
 */
#include <errno.h>

#include "snapshot/restore/internal.h"

void restore_part_done(struct part *p)
{
	entity_part_free(p->rows);
	free(p->want);
}

int restore_part_init(struct part *p, struct catalog *c, const struct target *t, const char *entity, char ***tables,
		      struct err *e)
{
	const char *slash = strrchr(entity, '/'); /* a table may have one in its name, a row's file has none */
	if (!slash)
		return err_set(e, EINVAL, "%s names no row of a table", entity);
	_cleanup_free_ char *table = xmemdup0(entity, (size_t)(slash - entity));
	int r = entity_part_new(&p->rows, c, &t->versions, table, slash + 1, e);
	if (r < 0)
		return r;
	p->want = xcalloc(t->versions.n, sizeof *p->want);
	*tables = entity_part_tables(p->rows);
	return 0;
}

struct version_info restore_goal(const struct target *t, const struct part *part, size_t i)
{
	struct version_info goal = t->versions.v[i];
	if (part) {
		goal.digest = part->want[i];
		goal.rows = goal.digest.count;
	}
	return goal;
}
