/*
 * fs/tree/dir.h - listings of the namespace's directories. Any thread; a listing belongs to one at a time.
 */
#pragma once

#include "fs/tree/tree.h"

struct tree_dir;
struct tree_entry {
	const char *name;      /* valid until tree_dir_skip */
	struct tree_node node; /* unless `bare`: then only ino and the type in mode are right */
	bool bare;
	int64_t next; /* cookie: where a listing goes on after this entry */
};
int tree_dir_open(struct tree *t, uint64_t ino, const struct tree_wait *w, struct tree_dir **ret, bool *ret_cacheable,
		  struct err *e);
void tree_dir_close(struct tree_dir *d);
/* names_only: attributes may be left out. */
int tree_dir_seek(struct tree_dir *d, int64_t cookie, bool names_only, struct err *e);
/* 1 and the entry at the place, 0 at the end, -errno. */
int tree_dir_peek(struct tree_dir *d, struct tree_entry *ret, struct err *e);
/* Goes on behind the entry that was given last. */
void tree_dir_skip(struct tree_dir *d);
