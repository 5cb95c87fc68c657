/*
 * fs/tree/internal.h - what the files of the namespace share. Only for these and their tests.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/lru.h"
#include "fs/tree/dir.h"
#include "fs/tree/tree.h"
#include "snapshot/openmetadata/names.h"
#include "snapshot/row/manifest.h"
#include "snapshot/stream/changes.h"

#define TREE_DIR_SIZE 4096
#define TREE_FILE (S_IFREG | 0400)
#define TREE_DIR (S_IFDIR | 0500)
#define TREE_DIR_RW (S_IFDIR | 0700)
#define TREE_LINK (S_IFLNK | 0777)

/* ---- a part ---- */

/* An answer of a part besides 0, 1 and TREE_MUST_WAIT: only the inode's number and type are filled, whoever asked the
 * part goes on and asks the inode's own part for the rest. */
#define TREE_ASK 2

/* An open file, as its part has filled it. */
struct tree_file {
	struct tree *tree;
	struct strbuf own;
	struct text *text;     /* or one that is shared */
	int64_t version;       /* archive's table: its version; 0 otherwise */
	pthread_mutex_t mutex; /* of a row: `own` is made by the first read if it is large; never changes afterwards */
};

/*
 * Answers for inodes of some kinds (parts.c); functions it has no use for are NULL. All as the functions of tree.h,
 * file.h and dir.h have it, with the inode already decoded, TREE_MUST_WAIT included. No part asks another one for
 * attributes: lookup and dir_peek may answer TREE_ASK instead.
 *
 * A listing has cookies of the part's own from 2 on, 2 being the start; each names the entry that comes next, so that a
 * listing goes on right when entries come and go. dir_peek gives the entry at cookie `at`, with ret->next unless that
 * is at + 1, as often as it is asked; its name is valid until another cookie is asked for. names_only: attributes may
 * be left out (bare).
 */
struct tree_part {
	int (*getattr)(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w,
		       struct tree_node *ret, struct err *e);
	int (*lookup)(struct tree *t, uint64_t number, const struct ino *dir, const char *name,
		      const struct tree_wait *w, struct tree_node *ret, struct err *e);
	int (*readlink)(struct tree *t, const struct ino *i, struct strbuf *out, struct err *e);
	int (*source)(struct tree *t, const struct ino *i); /* where the kind's ids are neither sources nor snapshots */
	/* files: `open` fills *ret, or else `text` gives the whole; `read` reads what is not that */
	int (*open)(struct tree *t, const struct ino *i, const struct tree_wait *w, struct tree_file *ret,
		    bool *ret_direct, struct err *e);
	int (*text)(struct tree *t, const struct ino *i, const struct tree_wait *w, struct strbuf *out, struct err *e);
	int (*read)(struct tree *t, const struct ino *i, struct tree_file *f, uint64_t offset, size_t n,
		    struct strbuf *out, struct err *e);
	/* directories */
	int (*dir_open)(struct tree *t, const struct ino *i, const struct tree_wait *w, void **ret_state,
			bool *ret_cacheable, struct err *e);
	int (*dir_peek)(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e);
	uint64_t (*dir_parent)(void *state); /* the number of ".." */
	void (*dir_close)(void *state);
	/* extended attributes */
	int (*getxattr)(struct tree *t, const struct ino *i, const char *name, struct strbuf *out, struct err *e);
	int (*listxattr)(struct tree *t, const struct ino *i, struct strbuf *out);
};

/* ---- state ---- */

/* A snapshot's description: immutable but for what is atomic. */
struct snap {
	struct lru_entry cached;
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
	atomic_llong checked;       /* data version when it was last seen to exist */
	atomic_llong names;         /* table version that is its index of entities; 0: not known yet */
};

/* A text that changes: rendered once, shared by those who opened it. */
struct text {
	struct strbuf text;
	int64_t rendered_ms;
	int refs;
	int opens;
};

enum { TEXT_STATUS, TEXT_JOURNAL, TEXT_PREFLIGHT, TEXTS };

struct source_state {
	int64_t id;
	struct text *texts[TEXTS];
	/* summary */
	bool known;
	int64_t version;
	size_t snapshots;
	int64_t latest_ms;
	char latest[256];
	/* the unfinished snapshot that was seen last, and when */
	int64_t pending_id;
	int64_t pending_ms;
	atomic_llong now_touched_ms; /* when now/ was last said to be in use */
};

struct counted_cache;
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
	struct lru *snaps; /* struct snap, by id */
	struct source_state *sources;
	size_t n_sources;
	struct history_set **history;  /* history.c's, one for each source; NULL: none yet */
	struct counted_cache *counted; /* counted.c's */
	struct tree_dir *dirs;         /* that are open; under the mutex */
};

/* ---- kinds.c ---- */

/* What the id in an inode of the kind is. */
enum tree_of { TREE_OF_OTHER, TREE_OF_SOURCE, TREE_OF_SNAPSHOT };

/* How attributes are asked for of what is looked up in a directory of the kind, after TREE_ASK. */
enum tree_asks {
	/* With the leave to wait that the lookup has. */
	TREE_ASKS_WAITING,
	/* What cannot be told without waiting is not waited for: the kernel holds the directory while a lookup is
	 * unanswered, and nobody who comes after can be interrupted. The answer is kept for no time, so that stat and
	 * open ask again, and wait, each for itself. */
	TREE_ASKS_LATER,
	/* Without waiting. What is in it comes and goes: a name whose inode has none is no name, in listings
	 * neither. */
	TREE_ASKS_LIVE,
};

struct tree_fixed {
	const char *name;
	enum ino_kind kind;
};

struct tree_kind {
	enum ino_kind parent; /* of ".."; what parts with another dir_parent say themselves */
	mode_t mode;
	enum tree_of of;
	const struct tree_fixed *names; /* in it, as they are listed; NULL: none that are fixed */
	enum ino_kind child;            /* what is in it by other names */
	enum tree_asks asks;
	enum tree_keep none; /* how long "no such name" holds, where names are fixed */
	bool now;      /* below now/, with more than the row's number: who looks at it keeps the snapshot in use */
	bool costly;   /* attributes: left out of listings */
	bool writable; /* not EROFS */
};

extern const struct tree_kind tree_kinds[INO_NOW_ROW + 1];

/* The number of ".." by the table; source_id: of a snapshot's inode. */
uint64_t tree_parent(const struct ino *i, int64_t source_id);

/* ---- answer.c ---- */

void tree_fill(const struct tree *t, struct tree_node *n, uint64_t ino, mode_t mode, uint32_t nlink, uint64_t size,
	       int64_t ms);
void tree_fill_row(const struct tree *t, const struct stored_row *row, uint64_t ino, bool writable,
		   struct tree_node *ret);
/* "No such name": -ENOENT. */
int tree_none(struct tree_node *ret, enum tree_keep keep);
/* TREE_ASK for an inode of this kind. */
int tree_ask(struct tree_node *ret, enum ino_kind kind, uint64_t ino);
/* The number of a row, seen through now/ or not; 0: its id is too large. */
uint64_t tree_row_ino(bool now, uint64_t source_id, const struct row_ref *ref);
/* Appends at most n bytes at offset. */
void tree_slice(const char *data, size_t len, uint64_t offset, size_t n, struct strbuf *out);

/* ---- summary.c ---- */

int64_t tree_source_id(const struct tree *t, size_t source);
int tree_source_index(const struct tree *t, uint64_t id); /* of a source's id; -ENOENT */
/* Number of snapshots, moment and name of the newest. latest (256 bytes) may be NULL. */
int tree_summary(struct tree *t, size_t source, size_t *ret_n, int64_t *ret_ms, char *latest, struct err *e);
/* Index of the source whose unfinished snapshot has this id, and since when it was seen; -ENOENT. ret_ms may be
 * NULL. */
int tree_pending(struct tree *t, int64_t id, int64_t *ret_ms);
/* Attributes of one of a source's directories: the time is that of the newest snapshot. ret_n, may be NULL: how many
 * there are. */
int tree_source_dir(struct tree *t, uint64_t number, const struct ino *i, uint32_t nlink, size_t *ret_n,
		    struct tree_node *ret, struct err *e);

/* ---- snap.c ---- */

/* A complete snapshot's description; waits for an unfinished one. The caller takes it back to snap_unref. */
int snap_get(struct tree *t, int64_t id, const struct tree_wait *w, struct snap **ret, struct err *e);
void snap_unref(struct tree *t, struct snap *s);
/* A snapshot's index of entities; one that is missing is made where waiting is allowed. */
int tree_names(struct tree *t, int64_t snapshot, const struct tree_wait *w, int64_t *ret, struct err *e);
int snap_names(struct tree *t, struct snap *s, const struct tree_wait *w, int64_t *ret, struct err *e);
const struct version_info *snap_table(const struct snap *s, uint32_t ordinal);
/* Table by the name of its folder (or, without ".jsonl", of its archive file). */
const struct version_info *snap_table_by_file(const struct snap *s, const char *file, size_t len);
/* Size of the table's .table.json. */
int snap_json_len(struct tree *t, struct snap *s, const struct version_info *v, size_t *ret, struct err *e);
struct lru *snap_cache_new(void);

struct snap_ref {
	struct tree *tree;
	struct snap *snap;
};
static inline void cleanup_snap_ref(struct snap_ref *r)
{
	snap_unref(r->tree, r->snap);
}
#define _cleanup_snap_ _cleanup_(cleanup_snap_ref)

/* ---- fixed.c ---- */

/* The kind of this name; INO_BAD: none. */
enum ino_kind fixed_find(const struct tree_fixed *list, const char *name);
/* The name at this place of a listing; NULL: the end. */
const struct tree_fixed *fixed_at(const struct tree_fixed *list, size_t at);

/* For parts whose directories hold fixed names only. id: of what is in it; the listing takes the snapshot over, NULL:
 * there is none. */
int fixed_lookup(struct tree *t, uint64_t number, const struct ino *dir, const char *name, const struct tree_wait *w,
		 struct tree_node *ret, struct err *e);
void *fixed_dir_new(struct tree *t, const struct ino *i, uint64_t id, struct snap *s);
int fixed_dir_peek(void *state, int64_t at, bool names_only, struct tree_entry *ret, struct err *e);
uint64_t fixed_dir_parent(void *state);
void fixed_dir_close(void *state);

/* ---- texts.c ---- */

void text_unref(struct tree *t, struct text *x, bool opened);
void text_free(struct text *x);

/* ---- now.c ---- */

/* An inode of this snapshot was looked at: where it is one below now/, that keeps the snapshot in use. */
void tree_now_touch(struct tree *t, int source);
void tree_now_pass(struct tree *t, const struct ino *i, const struct snap *s);
bool tree_now_writable(const struct tree *t, int source);

/* ---- snapshots.c ---- */

/* Attributes of a snapshot's folder, an unfinished one's too. */
int tree_snapshot_dir(struct tree *t, uint64_t number, const struct ino *i, uint32_t nlink, const struct tree_wait *w,
		      struct tree_node *ret, struct err *e);

/* ---- computed.c ---- */

int tree_row_xattr(struct tree *t, const struct ino *i, const char *name, struct strbuf *out, struct err *e);
int tree_table_xattr(struct tree *t, const struct ino *i, const char *name, struct strbuf *out, struct err *e);
int tree_table_xattrs(struct tree *t, const struct ino *i, struct strbuf *out);

/* ---- history_set.c ---- */

struct history_snapshot {
	int64_t id;
	int64_t taken_ms;
	char *name;
	int64_t index;
};

struct history_set {
	int64_t source_id;
	int64_t version;            /* of the catalog */
	int refs;                   /* under tree.mutex */
	struct history_snapshot *v; /* the oldest moment first */
	size_t n;
	size_t *change; /* those whose index is another than that of the one before */
	size_t n_changes;
};

int history_get(struct tree *t, size_t source, const struct tree_wait *w, struct history_set **ret, struct err *e);
void history_set_unref(struct tree *t, struct history_set *s);
void tree_history_close(struct tree *t); /* when nothing is open any more */

/* The index that came with a change. */
static inline int64_t history_change_index(const struct history_set *s, size_t change)
{
	return s->v[s->change[change]].index;
}

struct history_ref {
	struct tree *tree;
	struct history_set *set;
};
static inline void cleanup_history_ref(struct history_ref *r)
{
	history_set_unref(r->tree, r->set);
}
#define _cleanup_history_ _cleanup_(cleanup_history_ref)

/* ---- counted.c ---- */

/* What was counted of a pair of snapshots; immutable. */
struct counted {
	struct lru_entry cached;
	struct changes changes;
	struct strbuf text; /* the summary, */
	struct err damage;  /* or why there is none */
};

struct counted_ref {
	struct counted_cache *cache;
	struct counted *counted;
};

struct counted_cache *counted_cache_new(void);
void counted_cache_free(struct counted_cache *cc);
/* Counts where waiting is allowed and nobody has done so yet. */
int counted_get(struct tree *t, int64_t before, int64_t after, const struct tree_wait *w, struct counted_ref *ret,
		struct err *e);
void counted_unref(struct counted_ref *r);
#define _cleanup_counted_ _cleanup_(counted_unref)

/* ---- parts.c ---- */

/* By kind. */
extern const struct tree_part *const tree_parts[INO_NOW_ROW + 1];
/* tree_getattr for a number that is decoded. */
int tree_answer(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w, struct tree_node *ret,
		struct err *e);

/* ---- the parts' own ---- */

extern const struct tree_part tree_part_root;
extern const struct tree_part tree_part_source;
extern const struct tree_part tree_part_readme;
extern const struct tree_part tree_part_text;
extern const struct tree_part tree_part_now;
extern const struct tree_part tree_part_snapshots;
extern const struct tree_part tree_part_latest;
extern const struct tree_part tree_part_snapshot;
extern const struct tree_part tree_part_manifest;
extern const struct tree_part tree_part_schema;
extern const struct tree_part tree_part_sums;
extern const struct tree_part tree_part_tables;
extern const struct tree_part tree_part_table;
extern const struct tree_part tree_part_table_json;
extern const struct tree_part tree_part_archive_table;
extern const struct tree_part tree_part_row;
extern const struct tree_part tree_part_staged;
extern const struct tree_part tree_part_edit;
extern const struct tree_part tree_part_entities;
extern const struct tree_part tree_part_history;
extern const struct tree_part tree_part_changes;
