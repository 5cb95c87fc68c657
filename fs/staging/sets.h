/*
 * fs/staging/sets.h - what is known of each directory and each .sql file directly in restore/ without looking into it.
 * Any thread.
 */
#pragma once

#include "fs/staging/staging.h"

/* A file directly in restore/ that is a set of its own: *.sql, but no hidden one (copiers' temporary names). */
bool staging_is_sql(const char *name);

/* Regular files in a directory that count for its set. */
int staging_count(struct staging *s, int64_t dir, uint64_t *ret);

enum staged_state {
	STAGED_OPEN,    /* not run since it last changed */
	STAGED_DONE,    /* restored */
	STAGED_FAILED,  /* refused: error */
	STAGED_CONFIRM, /* planned, waits for APPLY */
};
struct staged_set {
	int64_t top;
	uint64_t files;   /* regular files that count */
	uint64_t need;    /* below that many it cannot be complete; UINT64_MAX: not without another manifest */
	uint64_t changes; /* moves on with every change of what counts */
	unsigned dirty;   /* files that are being written */
	enum staged_state state;
	int error; /* positive errno of STAGED_FAILED */
	bool running;
};

int staging_set(struct staging *s, int64_t top, struct staged_set *ret);
/* Marks the set as being looked at or restored; EBUSY when it is already. */
int staging_set_start(struct staging *s, int64_t top, struct staged_set *ret);
/* Ends that: keeps `state` when nothing changed since `changes`, else the set is open again. need: as above. */
int staging_set_finish(struct staging *s, int64_t top, uint64_t changes, enum staged_state state, int error,
		       uint64_t need);
