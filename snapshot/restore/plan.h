/*
 * snapshot/restore/plan.h - what a restore changes, counted table by table. A plan belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "drivers/objects.h"

struct table_plan {
	char *table;
	uint64_t inserts, updates, deletes;
};
struct restore_plan {
	struct table_plan *v;
	size_t n;
	struct db_objects objects; /* definitions that differ */
	char safety[64];           /* the snapshot of what was there before; "": none */
	struct strbuf counters;    /* a line for each sequence and AUTO_INCREMENT that is set to another value */
};
/* Valid until the next one is added. */
struct table_plan *restore_plan_add(struct restore_plan *p, const char *table);
void restore_plan_text(const struct restore_plan *p, struct strbuf *out);
void restore_plan_done(struct restore_plan *p);
