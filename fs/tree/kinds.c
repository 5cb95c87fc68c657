/*
 * fs/tree/kinds.c - the one table of what each kind of inode is: whose part it is, where it lies, which names are in
 * it.
 *
 * Constant; any thread. It names the parts' tables, so that no file below tree.c calls another part.
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
    [INO_ROOT] = {&tree_part_root, INO_ROOT, TREE_DIR, .names = root_names, .child = INO_SOURCE,
		  .none = TREE_KEEP_SHORT},
    [INO_README] = {&tree_part_readme, INO_ROOT, TREE_FILE},

    [INO_SOURCE] = {&tree_part_source, INO_ROOT, TREE_DIR, TREE_OF_SOURCE, source_names, .asks = TREE_ASKS_LATER,
		    .none = TREE_KEEP_SHORT},
    [INO_NOW] = {&tree_part_now, INO_SOURCE, TREE_DIR, TREE_OF_SOURCE, now_names},
    [INO_SNAPSHOTS] = {&tree_part_snapshots, INO_SOURCE, TREE_DIR_RW, TREE_OF_SOURCE, snapshots_names, INO_SNAPSHOT,
		       TREE_ASKS_LIVE},
    [INO_ARCHIVES] = {&tree_part_snapshots, INO_SOURCE, TREE_DIR, TREE_OF_SOURCE, archives_names, INO_ARCHIVE,
		      TREE_ASKS_LIVE},
    [INO_ENTITIES] = {&tree_part_snapshots, INO_SOURCE, TREE_DIR, TREE_OF_SOURCE, entities_names, INO_ENTITIES_OF,
		      TREE_ASKS_LIVE},
    [INO_SNAPSHOTS_LATEST] = {&tree_part_latest, INO_SNAPSHOTS, TREE_LINK, TREE_OF_SOURCE},
    [INO_ARCHIVES_LATEST] = {&tree_part_latest, INO_ARCHIVES, TREE_LINK, TREE_OF_SOURCE},
    [INO_ENTITIES_LATEST] = {&tree_part_latest, INO_ENTITIES, TREE_LINK, TREE_OF_SOURCE},
    [INO_HISTORY] = {&tree_part_history, INO_SOURCE, TREE_DIR, TREE_OF_SOURCE},
    [INO_CHANGES] = {&tree_part_changes, INO_SOURCE, TREE_DIR, TREE_OF_SOURCE, .child = INO_CHANGE,
		     .asks = TREE_ASKS_LIVE},
    [INO_RESTORE] = {&tree_part_staged, INO_SOURCE, TREE_DIR_RW, TREE_OF_SOURCE, .child = INO_STAGED, .writable = true},
    [INO_STATUS] = {&tree_part_text, INO_SOURCE, TREE_FILE, TREE_OF_SOURCE, .costly = true},
    [INO_PREFLIGHT] = {&tree_part_text, INO_SOURCE, TREE_FILE, TREE_OF_SOURCE, .costly = true},
    [INO_JOURNAL] = {&tree_part_text, INO_SOURCE, TREE_FILE, TREE_OF_SOURCE, .costly = true},

    [INO_SNAPSHOT] = {&tree_part_snapshot, INO_SNAPSHOTS, TREE_DIR, TREE_OF_SNAPSHOT, snapshot_names,
		      .asks = TREE_ASKS_LATER, .none = TREE_KEEP_LONG},
    [INO_MANIFEST] = {&tree_part_manifest, INO_SNAPSHOT, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_SCHEMA] = {&tree_part_schema, INO_SNAPSHOT, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_TABLES] = {&tree_part_tables, INO_SNAPSHOT, TREE_DIR, TREE_OF_SNAPSHOT, .child = INO_TABLE},
    [INO_ARCHIVE] = {&tree_part_snapshot, INO_ARCHIVES, TREE_DIR, TREE_OF_SNAPSHOT, archive_names,
		     .asks = TREE_ASKS_LATER, .none = TREE_KEEP_LONG},
    [INO_ARCHIVE_MANIFEST] = {&tree_part_manifest, INO_ARCHIVE, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_ARCHIVE_SCHEMA] = {&tree_part_schema, INO_ARCHIVE, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_ARCHIVE_SUMS] = {&tree_part_sums, INO_ARCHIVE, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_ARCHIVE_TABLES] = {&tree_part_tables, INO_ARCHIVE, TREE_DIR, TREE_OF_SNAPSHOT, .child = INO_ARCHIVE_TABLE},
    [INO_NOW_MANIFEST] = {&tree_part_manifest, INO_NOW, TREE_FILE, TREE_OF_SNAPSHOT, .now = true},
    [INO_NOW_SCHEMA] = {&tree_part_schema, INO_NOW, TREE_FILE, TREE_OF_SNAPSHOT, .now = true},
    [INO_NOW_TABLES] = {&tree_part_tables, INO_NOW, TREE_DIR, TREE_OF_SNAPSHOT, .child = INO_NOW_TABLE, .now = true},
    [INO_ENTITIES_OF] = {&tree_part_entities, INO_ENTITIES, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_ENTITY_DIR] = {&tree_part_entities, INO_ENTITIES_OF, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_ENTITY_LINK] = {&tree_part_entities, INO_ENTITIES_OF, TREE_LINK, TREE_OF_SNAPSHOT},
    [INO_HISTORY_DIR] = {&tree_part_history, INO_HISTORY, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_CHANGE] = {&tree_part_changes, INO_CHANGES, TREE_DIR, TREE_OF_SNAPSHOT, .asks = TREE_ASKS_LATER},
    [INO_CHANGE_ADDED] = {&tree_part_changes, INO_CHANGE, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_CHANGE_REMOVED] = {&tree_part_changes, INO_CHANGE, TREE_DIR, TREE_OF_SNAPSHOT},
    [INO_CHANGE_CHANGED] = {&tree_part_changes, INO_CHANGE, TREE_DIR, TREE_OF_SNAPSHOT},

    [INO_TABLE] = {&tree_part_table, INO_TABLES, TREE_DIR, TREE_OF_SNAPSHOT, .child = INO_TABLE_JSON},
    [INO_TABLE_JSON] = {&tree_part_table_json, INO_TABLE, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_ARCHIVE_TABLE] = {&tree_part_archive_table, INO_ARCHIVE_TABLES, TREE_FILE, TREE_OF_SNAPSHOT},
    [INO_NOW_TABLE] = {&tree_part_table, INO_NOW_TABLES, TREE_DIR_RW, TREE_OF_SNAPSHOT, .child = INO_NOW_TABLE_JSON,
		       .now = true},
    [INO_NOW_TABLE_JSON] = {&tree_part_table_json, INO_NOW_TABLE, TREE_FILE, TREE_OF_SNAPSHOT, .now = true},
    [INO_ROW] = {&tree_part_row, INO_TABLE, TREE_FILE},
    [INO_NOW_ROW] = {&tree_part_row, INO_NOW_TABLE, TREE_FILE},
    [INO_STAGED] = {&tree_part_staged, INO_RESTORE, TREE_FILE, .child = INO_STAGED, .writable = true},
    [INO_EDIT] = {&tree_part_edit, INO_NOW_TABLE, TREE_FILE, .writable = true},
};

uint64_t tree_parent(const struct ino *i, int64_t source_id)
{
	const struct tree_kind *k = &tree_kinds[i->kind];
	bool source = k->of == TREE_OF_SNAPSHOT && tree_kinds[k->parent].of == TREE_OF_SOURCE;
	return ino_of(k->parent, source ? (uint64_t)source_id : i->id);
}

int tree_answer(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w, struct tree_node *ret,
		struct err *e)
{
	return tree_kinds[i->kind].part->getattr(t, number, i, w, ret, e);
}
