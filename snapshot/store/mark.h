/*
 * snapshot/store/mark.h - marks: what a later capture needs to read only what changed in a table.
 */
#pragma once

#include "snapshot/store/catalog.h"

/* What a later capture needs to read only what changed in a table: a driver's mark (see db_driver.mark), made in the
 * transaction of this snapshot; age: how many snapshots in a row have read only changes. One set for each source, of
 * its newest captured snapshot; set once for a snapshot (*m is taken), NULL entries' text: no mark. */
struct mark {
	char *table;
	char *text;
	unsigned age;
};
struct mark_list {
	struct mark *v;
	size_t n;
};
void mark_list_done(struct mark_list *m);
const struct mark *mark_list_find(const struct mark_list *m, const char *table);
/* The marks made with this snapshot; none when there is a newer one. */
int store_marks(struct catalog *c, int64_t source_id, int64_t snapshot_id, struct mark_list *ret, struct err *e);
