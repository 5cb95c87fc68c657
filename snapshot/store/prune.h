/*
 * snapshot/store/prune.h - removing the snapshots of a source that no keep rule wants.
 */
#pragma once

#include "snapshot/config/keep.h"
#include "snapshot/job.h"
#include "snapshot/store/catalog.h"

/* What a prune decided on each snapshot, newest first. */
struct prune_entry {
	char *name;
	struct keep_item item;
};
struct prune_list {
	struct prune_entry *v;
	size_t n;
};
void prune_list_done(struct prune_list *l);

/* Decides, removes and notes each removal in the journal, in one transaction: nothing is removed that was held, and
 * nothing left out that came, in between. dry_run: only decides. Frees no space: that is a sweep's. */
int store_prune(struct catalog *c, int64_t source_id, const struct keep_rules *rules, int64_t now_ms, bool dry_run,
		const struct requester *who, struct prune_list *ret, struct err *e);
