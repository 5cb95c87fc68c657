/*
 * fs/staging/staging.h - the staging area behind restore/: files that people copy in, kept in an SQLite file beside the
 * catalog (CATALOG-staging), so that an interrupted copy resumes after a restart.
 *
 * A plain tree of nodes (directories, files, symbolic links) with what cp -a, rsync -a and tar -x need. It also keeps,
 * for each directory and each `.sql` file directly in restore/ (a "set"), the few counters by which fs/restore/sets.c
 * knows without looking that a backup cannot be complete yet. It knows nothing of backups besides which names count.
 * Any thread; one mutex, never held over a call out. Everything written shows at once to every reader. Changes are
 * committed at every close of a written file (staging_commit), every tenth of a second and at 8 MiB. Functions return 0
 * or -errno; what SQLite says goes to the log.
 *
 * Here: opening, and what a node is. In nodes.h: the tree; content.h: bytes; handle.h: what is open; and xattr.h,
 * commit.h, sets.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/strbuf.h"

struct staging;

#define STAGING_CHUNK (128u << 10)
#define STAGING_NAME_MAX 255
#define STAGING_FILE_MAX (INT64_C(1) << 41) /* chunk numbers have 24 bits */

/* Node ids are never reused. restore/ of a source is the node staging_root(source id). */
static inline int64_t staging_root(int64_t source_id)
{
	return -source_id;
}

struct staged_node {
	int64_t id;
	int64_t parent; /* 0: unlinked, still open; of a root: 0 */
	int64_t top;    /* the set it counts for; 0: inert */
	mode_t mode;    /* with the type */
	uid_t uid;
	gid_t gid;
	uint64_t size;
	int64_t atime_ns;
	int64_t mtime_ns;
	int64_t ctime_ns;
	uint32_t subdirs;
	bool generated; /* a text that the program put there */
};

int staging_open(struct staging **ret, const char *path, struct err *e);
void staging_close(struct staging *s); /* commits */
DEFINE_CLEANUP(cleanup_staging, struct staging, staging_close);
/* Makes the root of a source if it is not there; owner and time only count then. */
int staging_add_root(struct staging *s, int64_t source_id, uid_t uid, gid_t gid, int64_t mtime_ns);
