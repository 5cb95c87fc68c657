/*
 * fs/tree/kinds.c - the one table of what each kind of inode is: whose part it is, where it lies, which names are in
 * it.
 *
 * Constant; any thread. Whose part it is: parts.c.
 */
#include "fs/tree/internal.h"

static const struct tree_fixed source_names[] = {
    {"now", INO_NOW},
    {"snapshots", INO_SNAPSHOTS},
    {"archives", INO_ARCHIVES},
    {"entities", INO_ENTITIES},
    {"history", INO_HISTORY},
    {"changes", INO_CHANGES},
    {"restore", INO_RESTORE},
    {"status.txt", INO_STATUS},
    {"journal.txt", INO_JOURNAL},
    {"preflight.txt", INO_PREFLIGHT},
    {NULL, INO_BAD},
};

static const struct tree_fixed snapshot_names[] = {
    {"MANIFEST.json", INO_MANIFEST},
    {"schema.sql", INO_SCHEMA},
    {"tables", INO_TABLES},
    {NULL, INO_BAD},
};

static const struct tree_fixed archive_names[] = {
    {"MANIFEST.json", INO_ARCHIVE_MANIFEST},
    {"SHA256SUMS", INO_ARCHIVE_SUMS},
    {"schema.sql", INO_ARCHIVE_SCHEMA},
    {"tables", INO_ARCHIVE_TABLES},
    {NULL, INO_BAD},
};

static const struct tree_fixed now_names[] = {
    {"MANIFEST.json", INO_NOW_MANIFEST},
    {"schema.sql", INO_NOW_SCHEMA},
    {"tables", INO_NOW_TABLES},
    {NULL, INO_BAD},
};

static const struct tree_fixed root_names[] = {{"README.txt", INO_README}, {NULL, INO_BAD}};
static const struct tree_fixed snapshots_names[] = {{"latest", INO_SNAPSHOTS_LATEST}, {NULL, INO_BAD}};
static const struct tree_fixed archives_names[] = {{"latest", INO_ARCHIVES_LATEST}, {NULL, INO_BAD}};
static const struct tree_fixed entities_names[] = {{"latest", INO_ENTITIES_LATEST}, {NULL, INO_BAD}};

const struct tree_kind tree_kinds[INO_NOW_ROW + 1] = {
    [INO_ROOT] = {INO_ROOT, TREE_DIR, .names = root_names, .child = INO_SOURCE, .none = TREE_KEEP_SHORT},
    [INO_README] = {INO_ROOT, TREE_FILE},

    [INO_SOURCE] = {INO_ROOT, TREE_DIR, TREE_OF_SOURCE, source_names, .asks = TREE_ASKS_LATER, .none = TREE_KEEP_SHORT},
    [INO_NOW] = {INO_SOURCE, TREE_DIR, TREE_OF_SOURCE, now_names},
    [INO_SNAPSHOTS] = {INO_SOURCE, TREE_DIR_RW, TREE_OF_SOURCE, snapshots_names, INO_SNAPSHOT, TREE_ASKS_LIVE},
    [INO_ARCHIVES] = {INO_SOURCE, TREE_DIR, TREE_OF_SOURCE, archives_names, INO_ARCHIVE, TREE_ASKS_LIVE},
    [INO_ENTITIES] = {INO_SOURCE, TREE_DIR, TREE_OF_SOURCE, entities_names, INO_ENTITIES_OF, TREE_ASKS_LIVE},
    [INO_SNAPSHOTS_LATEST] = {INO_SNAPSHOTS, TREE_LINK, TREE_OF_SOURCE},
    [INO_ARCHIVES_LATEST] = {INO_ARCHIVES, TREE_LINK, TREE_OF_SOURCE},
    [INO_ENTITIES_LATEST] = {INO_ENTITIES, TREE_LINK, TREE_OF_SOURCE},
    [INO_HISTORY] = {INO_SOURCE, TREE_DIR, TREE_OF_SOURCE},
    [INO_CHANGES] = {INO_SOURCE, TREE_DIR, TREE_OF_SOURCE, .child = INO_CHANGE, .asks = TREE_ASKS_LIVE},
    [INO_RESTORE] = {INO_SOURCE, TREE_DIR_RW, TREE_OF_SOURCE, .child = INO_STAGED, .writable = true},
    [INO_STATUS] = {INO_SOURCE, TREE_FILE, TREE_OF_SOURCE, .costly = true},
    [INO_PREFLIGHT] = {INO_SOURCE, TREE_FILE, TREE_OF_SOURCE, .costly = true},
    [INO_JOURNAL] = {INO_SOURCE, TREE_FILE, TREE_OF_SOURCE, .costly = true},

    [INO_SNAPSHOT] = {INO_SNAPSHOTS, TREE_DIR, TREE_OF_SNAPSHOT, snapshot_names, .asks = TREE_ASKS_LATER,
		      .none = TREE_KEEP_LONG},
    [INO_MANIFEST] = {INO_SNAPSHOT, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_SCHEMA] = {INO_SNAPSHOT, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_TABLES] = {INO_SNAPSHOT, TREE_DIR, TREE_OF_SNAPSHOT, .child = INO_TABLE},
    [INO_ARCHIVE] = {INO_ARCHIVES, TREE_DIR, TREE_OF_SNAPSHOT, archive_names, .asks = TREE_ASKS_LATER,
		     .none = TREE_KEEP_LONG},
    [INO_ARCHIVE_MANIFEST] = {INO_ARCHIVE, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_ARCHIVE_SCHEMA] = {INO_ARCHIVE, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_ARCHIVE_SUMS] = {INO_ARCHIVE, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_ARCHIVE_TABLES] = {INO_ARCHIVE, TREE_DIR, TREE_OF_SNAPSHOT, .child = INO_ARCHIVE_TABLE},
    [INO_NOW_MANIFEST] = {INO_NOW, TREE_FILE, TREE_OF_SNAPSHOT, .now = true},
    [INO_NOW_SCHEMA] = {INO_NOW, TREE_FILE, TREE_OF_SNAPSHOT, .now = true},
    [INO_NOW_TABLES] = {INO_NOW, TREE_DIR, TREE_OF_SNAPSHOT, .child = INO_NOW_TABLE, .now = true},
    [INO_ENTITIES_OF] = {INO_ENTITIES, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_ENTITY_DIR] = {INO_ENTITIES_OF, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_ENTITY_LINK] = {INO_ENTITIES_OF, TREE_LINK, TREE_OF_SNAPSHOT},
    [INO_HISTORY_DIR] = {INO_HISTORY, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_CHANGE] = {INO_CHANGES, TREE_DIR, TREE_OF_SNAPSHOT, .asks = TREE_ASKS_LATER},
    [INO_CHANGE_ADDED] = {INO_CHANGE, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_CHANGE_REMOVED] = {INO_CHANGE, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_CHANGE_CHANGED] = {INO_CHANGE, TREE_DIR, TREE_OF_SNAPSHOT},

    [INO_TABLE] = {INO_TABLES, TREE_DIR, TREE_OF_SNAPSHOT, .child = INO_TABLE_JSON},
    [INO_TABLE_JSON] = {INO_TABLE, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_ARCHIVE_TABLE] = {INO_ARCHIVE_TABLES, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_NOW_TABLE] = {INO_NOW_TABLES, TREE_DIR_RW, TREE_OF_SNAPSHOT, .child = INO_NOW_TABLE_JSON, .now = true},
    [INO_NOW_TABLE_JSON] = {INO_NOW_TABLE, TREE_FILE, TREE_OF_SNAPSHOT, .now = true},
    [INO_ROW] = {INO_TABLE, TREE_FILE},
    [INO_NOW_ROW] = {INO_NOW_TABLE, TREE_FILE},
    [INO_STAGED] = {INO_RESTORE, TREE_FILE, .child = INO_STAGED, .writable = true},
    [INO_EDIT] = {INO_NOW_TABLE, TREE_FILE, .writable = true},
};

uint64_t tree_parent(const struct ino *i, int64_t source_id)
{
	const struct tree_kind *k = &tree_kinds[i->kind];
	bool source = k->of == TREE_OF_SNAPSHOT && tree_kinds[k->parent].of == TREE_OF_SOURCE;
	return ino_of(k->parent, source ? (uint64_t)source_id : i->id);
}
