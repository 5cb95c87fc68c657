/*
 * snapshot/openmetadata/entity_look.h - what of an entity (entity.h) is in the database and in the snapshot. One
 * thread.
 */
#pragma once

#include "snapshot/stream/stream.h"

struct entity_part;

/* What the database holds now, either way. */
struct entity_live {
	const struct version_list *versions; /* of a snapshot of it */
	struct db_conn *conn;                /* versions NULL: the tables themselves, in conn's transaction */
	const struct db_schema *schema;
};
/* Reads the entities of both sides; before any merge. Their tables have the same columns on both sides. */
int entity_part_look(struct entity_part *p, const struct entity_live *live, struct job_ctl *job, struct err *e);
