/*
 * fs/tree/ino.h - inode numbers: 64-bit ids that are pure functions of catalog ids, so that nothing has to be
 * remembered.
 *
 * Bits 57-62 hold the kind, bits 0-56 the payload; below 2^63 (old tools read them as signed). A row's number is that
 * of its pack and place there: the same row in several snapshots has one inode. Rows seen through now/ have numbers of
 * their own (bits 61 and 62 set, then 10 bits source, 35 bits pack, 16 bits index): only they can be written. Any
 * thread; no locks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum ino_kind {
	INO_BAD = 0,
	INO_ROOT = 1, /* always number 1 */
	INO_README,
	/* id: source */
	INO_SOURCE,
	INO_NOW,
	INO_SNAPSHOTS,
	INO_ARCHIVES,
	INO_SNAPSHOTS_LATEST,
	INO_ARCHIVES_LATEST,
	INO_ENTITIES,
	INO_ENTITIES_LATEST,
	INO_HISTORY,
	INO_CHANGES,
	INO_RESTORE,
	INO_STATUS,
	INO_PREFLIGHT,
	INO_JOURNAL,
	/* id: snapshot */
	INO_SNAPSHOT,
	INO_MANIFEST,
	INO_SCHEMA,
	INO_TABLES,
	INO_ARCHIVE,
	INO_ARCHIVE_MANIFEST,
	INO_ARCHIVE_SCHEMA,
	INO_ARCHIVE_SUMS,
	INO_ARCHIVE_TABLES,
	INO_NOW_MANIFEST,
	INO_NOW_SCHEMA,
	INO_NOW_TABLES,
	INO_ENTITIES_OF,
	/* id: snapshot, other: number of an entry in its index of entities, sub: how many parts of its path */
	INO_ENTITY_DIR,
	INO_ENTITY_LINK, /* sub: 0 */
	INO_HISTORY_DIR,
	/* id, other: two snapshots, before and after; sub: enum ino_change */
	INO_CHANGE,
	/* the same, sub: ordinal of the table: in the one after, in the one before for the others */
	INO_CHANGE_ADDED,
	INO_CHANGE_REMOVED,
	INO_CHANGE_CHANGED,
	/* id: snapshot, sub: ordinal of the table */
	INO_TABLE,
	INO_TABLE_JSON,
	INO_ARCHIVE_TABLE,
	INO_NOW_TABLE,
	INO_NOW_TABLE_JSON,
	/* id: pack, sub: index */
	INO_ROW,
	/* id: node of the staging area */
	INO_STAGED,
	/* id: a row that is being written into now/ (fs/restore/edit.h) */
	INO_EDIT,
	INO_KINDS, /* at most 48: 48-63 are the rows of now/ */

	INO_NOW_ROW = 48, /* id: pack, sub: index, source: source */
};

/* What is in changes/A..B, and that itself. */
enum ino_change { INO_CHANGE_TOP, INO_CHANGE_SUMMARY, INO_CHANGE_FOLDERS /* added/, then removed/, changed/ */ };

struct ino {
	enum ino_kind kind;
	uint64_t id;
	uint32_t sub;
	uint32_t other;  /* a second id */
	uint32_t source; /* INO_NOW_ROW only */
};

#define INO_SNAPSHOT_MAX ((UINT64_C(1) << 40) - 1)
#define INO_ORDINAL_MAX ((UINT32_C(1) << 17) - 1)
#define INO_PACK_MAX ((UINT64_C(1) << 41) - 1)
#define INO_INDEX_MAX UINT32_C(0xffff)
#define INO_NAMES_SNAPSHOT_MAX ((UINT64_C(1) << 24) - 1)
#define INO_NAMES_ENTRY_MAX ((UINT32_C(1) << 27) - 1)
#define INO_NAMES_DEPTH_MAX UINT32_C(63)
#define INO_PAIR_MAX ((UINT32_C(1) << 20) - 1)
#define INO_ID_MAX ((UINT64_C(1) << 57) - 1)
#define INO_NOW_PACK_MAX ((UINT64_C(1) << 35) - 1)
#define INO_NOW_SOURCE_MAX UINT32_C(0x3ff)

/* The number; 0 when an id is too large for its place (the caller's EOVERFLOW). */
uint64_t ino_encode(const struct ino *i);
/* False, and kind INO_BAD, for a number that ino_encode never gives. */
bool ino_decode(uint64_t number, struct ino *ret);

/* Shorthands. */
static inline uint64_t ino_of(enum ino_kind kind, uint64_t id)
{
	return ino_encode(&(struct ino){.kind = kind, .id = id});
}

static inline uint64_t ino_of_sub(enum ino_kind kind, uint64_t id, uint32_t sub)
{
	return ino_encode(&(struct ino){.kind = kind, .id = id, .sub = sub});
}
