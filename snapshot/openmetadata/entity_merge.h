/*
 * snapshot/openmetadata/entity_merge.h - the merge of a database and a snapshot narrowed to one entity (entity.h). One
 * thread.
 */
#pragma once

#include "snapshot/stream/stream.h"

struct entity_part;

/* merge_streams of one of entity_part_tables(), left live and right the snapshot: `to` hears of the entity's rows only.
 * `same` is not asked. */
int entity_part_merge(struct entity_part *p, const char *table, struct row_stream *live, struct row_stream *target,
		      const struct merge_sink *to, struct err *e);
/* Calls each() with every row that the table holds once the entity is back: of tables whose rows have no key to change
 * them by. */
int entity_part_result(struct entity_part *p, const char *table, struct row_stream *live, struct row_stream *target,
		       int (*each)(void *arg, const struct stream_row *row, struct err *e), void *arg, struct err *e);
