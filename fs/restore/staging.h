/*
 * fs/restore/staging.h - the staging area behind restore/: files that people copy in, kept in an SQLite file beside the catalog
 * (CATALOG-staging), so that an interrupted copy resumes after a restart.
 *
 * A plain tree of nodes (directories, files, symbolic links) with what cp -a, rsync -a and tar -x need. It also keeps,
 * for each directory and each `.sql` file directly in restore/ (a "set"), the few counters by which fs/restore/sets.c knows
 * without looking that a backup cannot be complete yet. It knows nothing of backups besides which names count. Any
 * thread; one mutex, never held over a call out. Everything written shows at once to every reader. Changes are
 * committed at every close of a written file (staging_commit), every tenth of a second and at 8 MiB. Returns 0 or
 * -errno; what SQLite says goes to the log.
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

struct staged_entry {
	struct staged_node node;
	char name[STAGING_NAME_MAX + 1];
};

int staging_open(struct staging **ret, const char *path, struct err *e);
void staging_close(struct staging *s); /* commits */
DEFINE_CLEANUP(cleanup_staging, struct staging, staging_close);
/* Makes the root of a source if it is not there; owner and time only count then. */
int staging_add_root(struct staging *s, int64_t source_id, uid_t uid, gid_t gid, int64_t mtime_ns);

int staging_get(struct staging *s, int64_t id, struct staged_node *ret);
int staging_lookup(struct staging *s, int64_t parent, const char *name, struct staged_node *ret);
/* The entries of `parent` with ids above `after`, by id: *ret_n of them, at most `cap`. */
int staging_list(struct staging *s, int64_t parent, int64_t after, struct staged_entry *out, size_t cap, size_t *ret_n);
int staging_name(struct staging *s, int64_t id, char name[STAGING_NAME_MAX + 1]);

/* mode with type S_IFREG, S_IFDIR or S_IFLNK (target given). EEXIST, ENOENT (parent gone), ENAMETOOLONG. */
int staging_make(struct staging *s, int64_t parent, const char *name, mode_t mode, uid_t uid, gid_t gid,
		 const char *target, struct staged_node *ret);
int staging_unlink(struct staging *s, int64_t parent, const char *name);
int staging_rmdir(struct staging *s, int64_t parent, const char *name); /* ENOTEMPTY */
/* flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int staging_rename(struct staging *s, int64_t parent, const char *name, int64_t new_parent, const char *new_name,
		   unsigned flags);
int staging_readlink(struct staging *s, int64_t id, struct strbuf *out);

/* Which members of *attr staging_setattr takes over. */
enum staging_set {
	STAGING_MODE = 1,
	STAGING_UID = 2,
	STAGING_GID = 4,
	STAGING_SIZE = 8,
	STAGING_ATIME = 16,
	STAGING_MTIME = 32,
};
int staging_setattr(struct staging *s, int64_t id, const struct staged_node *attr, unsigned set,
		    struct staged_node *ret);

int staging_read(struct staging *s, int64_t id, uint64_t offset, void *buf, size_t n, size_t *ret_n);
int staging_write(struct staging *s, int64_t id, uint64_t offset, const void *buf, size_t n);

/* An open handle keeps an unlinked file. */
int staging_hold(struct staging *s, int64_t id);
void staging_release(struct staging *s, int64_t id);
/* A handle that was written and not closed yet: its set is not complete. */
void staging_dirty(struct staging *s, int64_t id, int change);

int staging_setxattr(struct staging *s, int64_t id, const char *name, const void *value, size_t n, int flags);
int staging_getxattr(struct staging *s, int64_t id, const char *name, struct strbuf *out); /* ENODATA */
int staging_listxattr(struct staging *s, int64_t id, struct strbuf *out); /* names, each with its NUL */
int staging_removexattr(struct staging *s, int64_t id, const char *name);

/* Commits: what was written survives the end of the program. At each close of a file that was written. */
int staging_commit(struct staging *s);
/* Commits and has the disk confirm it. */
int staging_sync(struct staging *s);

/* Replaces the text `name` in directory `dir` (a generated node; no time of dir changes); text NULL removes it. */
int staging_write_text(struct staging *s, int64_t dir, const char *name, const char *text, size_t n);

/* Regular files in a directory that count for its set. */
int staging_count(struct staging *s, int64_t dir, uint64_t *ret);

/* A file directly in restore/ that is a set of its own: *.sql, but no hidden one (copiers' temporary names). */
bool staging_is_sql(const char *name);

/* ---- sets ---- */
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
