/*
 * fs/staging/nodes.h - the tree that is copied in: reading it, and making, moving and removing names. Any thread.
 */
#pragma once

#include "fs/staging/staging.h"

struct staged_entry {
	struct staged_node node;
	char name[STAGING_NAME_MAX + 1];
};

int staging_get(struct staging *s, int64_t id, struct staged_node *ret);
int staging_lookup(struct staging *s, int64_t parent, const char *name, struct staged_node *ret);
/* The entries of `parent` with ids above `after`, by id: *ret_n of them, at most `cap`. */
int staging_list(struct staging *s, int64_t parent, int64_t after, struct staged_entry *out, size_t cap, size_t *ret_n);
int staging_name(struct staging *s, int64_t id, char name[STAGING_NAME_MAX + 1]);
int staging_readlink(struct staging *s, int64_t id, struct strbuf *out);

/* mode with type S_IFREG, S_IFDIR or S_IFLNK (target given). EEXIST, ENOENT (parent gone), ENAMETOOLONG. */
int staging_make(struct staging *s, int64_t parent, const char *name, mode_t mode, uid_t uid, gid_t gid,
		 const char *target, struct staged_node *ret);
int staging_unlink(struct staging *s, int64_t parent, const char *name);
int staging_rmdir(struct staging *s, int64_t parent, const char *name); /* ENOTEMPTY */
/* flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int staging_rename(struct staging *s, int64_t parent, const char *name, int64_t new_parent, const char *new_name,
		   unsigned flags);

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

/* Replaces the text `name` in directory `dir` (a generated node; no time of dir changes); text NULL removes it. */
int staging_write_text(struct staging *s, int64_t dir, const char *name, const char *text, size_t n);
