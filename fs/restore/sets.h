/*
 * fs/restore/sets.h - when a backup that is being copied into restore/ is complete, and what happens then.
 *
 * A set is a directory or a .sql file (sql_file.h) directly in restore/. The cheap questions (restores_due,
 * restores_ended) are asked by FUSE workers after each close, rename and so on; the answers run on slow-path threads. A
 * set runs once for each state of its files: done, refused or planned, it stays so until one of them changes (or APPLY
 * is touched). Any thread. Lock: restores.mutex, held over short questions to the staging area (it comes before
 * staging.mutex), never over a restore.
 */
#pragma once

#include "fs/staging/staging.h"
#include "snapshot/service/service.h"

struct restores;

struct restores *restores_new(struct service *svc, struct staging *s);
void restores_free(struct restores *rs);

enum restores_why {
	RESTORES_FILE,  /* a file was closed after writing (a .sql file: by who wrote it), or got its name */
	RESTORES_ENDED, /* the copier has set the time of the set's directory, its last act */
	RESTORES_APPLY, /* touch APPLY */
};

/* Looks and, when the set is complete, restores it: the result of the call that waits. 0 as well when it is not
 * complete. */
int restores_run(struct restores *rs, int64_t top, enum restores_why why, const struct requester *who, struct waiter *w,
		 struct err *e);

/* Node n is called `to` now. EBADMSG, with words beside it: a .sql file that rsync may not have finished. */
int restores_named(struct restores *rs, const struct staged_node *n, const char *from, const char *to);
/* The last handle of a .sql file is gone, and nobody has closed it in a way that says that it is whole. */
void restores_left(struct restores *rs, int64_t top);
