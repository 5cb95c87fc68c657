/*
 * snapshot/restore/target.h - a snapshot of the catalog as what to make a database of.
 */
#pragma once

#include "drivers/driver.h"
#include "snapshot/store/tables.h"

struct target {
	struct db_schema *schema;     /* tables as the codecs describe them, counters from the manifest */
	struct version_list versions; /* same order as schema->tables */
	struct strbuf sql;
};
int target_load(struct catalog *c, int64_t snapshot_id, struct target *ret, struct err *e);
void target_done(struct target *t);
