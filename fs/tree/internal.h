/*
 * fs/tree/internal.h - what tree.c shares with the parts of the namespace that have files of their own: entities/
 * (entities.c), history/ (history.c), changes/ (changes.c). For fs/tree*.c only.
 */
#pragma once

#include "fs/tree/tree.h"
#include "snapshot/openmetadata/names.h"
#include "snapshot/row/manifest.h"

#define TREE_DIR_SIZE 4096
#define TREE_FILE (S_IFREG | 0400)
#define TREE_DIR (S_IFDIR | 0500)
#define TREE_DIR_RW (S_IFDIR | 0700)

/* ---- a part ---- */

/*
 * Answers for inodes of some kinds; functions it has no use for are NULL. All as the functions of tree.h have it, with
 * the inode already decoded, TREE_MUST_WAIT included.
 *
 * A listing has cookies of the part's own from 2 on, 2 being the start; each names the entry that comes next. dir_peek
 * gives the entry at cookie `at`, with ret->next, as often as it is asked; its name is valid until another cookie is
 * asked for. names_only: attributes may be left out (bare).
 */
struct tree_part {
	int (*getattr)(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
		       struct tree_node *ret, struct err *e);
	int (*lookup)(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
		      const struct tree_wait *w, struct tree_node *ret, struct err *e);
	int (*readlink)(struct tree *t, const struct ino *i, struct strbuf *out, struct err *e);
	int (*text)(struct tree *t, const struct ino *i, const struct tree_wait *w, struct strbuf *out,
		    struct err *e); /* the whole of a file */
	int (*dir_open)(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret_state,
			bool *ret_cacheable, struct err *e);
	int (*dir_peek)(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e);
	uint64_t (*dir_parent)(void *state); /* the number of ".." */
	void (*dir_close)(void *state);
};

extern const struct tree_part tree_part_entities;
extern const struct tree_part tree_part_history;
void tree_history_close(struct tree *t); /* when nothing is open any more */
extern const struct tree_part tree_part_changes;
/* NULL: tree.c answers itself. */
const struct tree_part *tree_part_of(enum ino_kind kind);

/* ---- state ---- */

#define TREE_SNAPS 32

/* A snapshot's description: immutable but for `checked`. */
struct snap {
	int64_t id;
	int64_t source_id;
	int64_t taken_ms;
	int64_t schema_since_ms;
	size_t manifest_len;
	size_t schema_len;
	struct version_list tables; /* by name */
	char **files;               /* their names as files */
	size_t *by_ordinal;         /* index into tables */
	atomic_size_t *json_len;    /* of .table.json; 0: not known yet */
	int refs;                   /* under tree.mutex */
	int64_t checked;            /* data version when it was last seen to exist; under tree.mutex */
	uint64_t used;
	atomic_llong names; /* table version that is its index of entities; 0: not known yet */
};

struct source_state;
struct history_set;

struct tree {
	struct service *service;
	struct catalog *catalog;
	struct staging *staging;
	struct tree_overlay overlay;
	uid_t uid;
	gid_t gid;
	int64_t created_ms;
	pthread_mutex_t mutex;
	struct snap *snaps[TREE_SNAPS];
	uint64_t clock;
	struct source_state *sources;
	size_t n_sources;
	struct history_set **history;  /* history.c's, one for each source; NULL: none yet */
	struct counted_cache *counted; /* changes.c's */
};

struct counted_cache *counted_cache_new(void);
void counted_cache_free(struct counted_cache *cc);

int64_t tree_source_id(const struct tree *t, size_t source);
int tree_source_index(const struct tree *t, uint64_t id); /* of a source's id; -ENOENT */
/* Number of snapshots, moment and name of the newest. latest (256 bytes) may be NULL. */
int tree_summary(struct tree *t, size_t source, size_t *ret_n, int64_t *ret_ms, char *latest, struct err *e);

/* A complete snapshot's description; waits for an unfinished one. The caller puts it back. */
int snap_get(struct tree *t, int64_t id, const struct tree_wait *w, struct snap **ret, struct err *e);
void snap_unref(struct tree *t, struct snap *s);
/* A snapshot's index of entities; one that is missing is made where waiting is allowed. */
int tree_names(struct tree *t, int64_t snapshot, const struct tree_wait *w, int64_t *ret, struct err *e);
int snap_names(struct tree *t, struct snap *s, const struct tree_wait *w, int64_t *ret, struct err *e);
const struct version_info *snap_table(const struct snap *s, uint32_t ordinal);
/* Table by the name of its folder (or, without ".jsonl", of its archive file). */
const struct version_info *snap_table_by_file(const struct snap *s, const char *file, size_t len);

struct snap_ref {
	struct tree *tree;
	struct snap *snap;
};
static inline void cleanup_snap_ref(struct snap_ref *r)
{
	snap_unref(r->tree, r->snap);
}
#define _cleanup_snap_ _cleanup_(cleanup_snap_ref)

/* ---- answers ---- */

void tree_fill(const struct tree *t, struct tree_node *n, uint64_t ino, mode_t mode, uint32_t nlink, uint64_t size,
	       int64_t ms);
void tree_fill_row(const struct tree *t, const struct stored_row *row, uint64_t ino, bool writable,
		   struct tree_node *ret);
/* "No such name": -ENOENT. */
int tree_none(struct tree_node *ret, enum tree_keep keep);
