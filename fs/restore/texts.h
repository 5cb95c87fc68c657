/*
 * fs/restore/texts.h - what is said in restore/ of a set: ERROR.txt and PLAN.txt, and the name APPLY by which a person
 * answers. Directly in the set; of a set that is a file, beside it: x.sql.ERROR.txt, x.sql.APPLY. Any thread; no locks.
 */
#pragma once

#include "fs/restore/sets.h"

#define RESTORES_APPLY_NAME "APPLY"

/* The set that making a file `name` in directory `dir` applies; 0: it is no such file. */
int64_t restores_applied_by(struct restores *rs, int64_t dir, const char *name);
/* The set's `text` (ERROR.txt, PLAN.txt): its directory's node, and its name in it. */
int restores_text_name(struct staging *s, int64_t top, const char *text, int64_t *ret_dir,
		       char name[STAGING_NAME_MAX + 1]);
