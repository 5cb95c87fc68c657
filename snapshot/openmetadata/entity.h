/*
 * snapshot/openmetadata/entity.h - which rows of a database are one entity: what bringing it back may touch, and no
 * more.
 *
 * An entity of OpenMetadata is its row; the rows of entity_relationship that name its id, on either side; the rows of
 * tag_usage and field_relationship that name it or a field of it (the hash of a field's name begins with the hash of
 * its entity's, less old schemas have the names themselves); and what entity_extension* and entity_usage keep under its
 * id. A name that begins with the entity's and is that of another entity (a table of a schema, a test case of a table)
 * is the other one's.
 *
 * The database may hold the entity under another name, and another entity under its name: the rows of both are then in
 * the way and are the entity's, too, on the live side. On the snapshot's side it is what it was.
 *
 * A struct entity_part belongs to one thread; the catalog outlives it. No locks.
 */
#pragma once

#include "snapshot/openmetadata/entity_look.h"
#include "snapshot/openmetadata/entity_merge.h"

struct entity_part;

/* The entity whose row is file `row_file` of `table` in the snapshot with these versions. ENOENT: no such row; EINVAL:
 * it is no entity; ENOTSUP: the tables beside it are not of a form that is known. `target` is borrowed. */
int entity_part_new(struct entity_part **ret, struct catalog *c, const struct version_list *target, const char *table,
		    const char *row_file, struct err *e);
void entity_part_free(struct entity_part *p);
DEFINE_CLEANUP(cleanup_entity_part, struct entity_part, entity_part_free);

/* Appends the full name of an entity of a snapshot, by its row. ENOENT. */
int entity_name(struct catalog *c, int64_t snapshot_id, const char *table, const char *row_file, struct strbuf *out,
		struct err *e);

/* The snapshot's tables that can hold rows of it, NULL-terminated; owned by p. */
char **entity_part_tables(struct entity_part *p);

/* After the merges: a line for each thing that whoever asked should know. */
void entity_part_report(const struct entity_part *p, struct strbuf *out);
