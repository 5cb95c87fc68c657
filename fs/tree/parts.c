/*
 * fs/tree/parts.c - whose part each kind of inode is. Above the parts, so that none of them calls another one.
 *
 * Constant; any thread.
 */
#include "fs/tree/internal.h"

const struct tree_part *const tree_parts[INO_NOW_ROW + 1] = {
    [INO_ROOT] = &tree_part_root,
    [INO_README] = &tree_part_readme,
    [INO_SOURCE] = &tree_part_source,
    [INO_NOW] = &tree_part_now,
    [INO_SNAPSHOTS] = &tree_part_snapshots,
    [INO_ARCHIVES] = &tree_part_snapshots,
    [INO_ENTITIES] = &tree_part_snapshots,
    [INO_SNAPSHOTS_LATEST] = &tree_part_latest,
    [INO_ARCHIVES_LATEST] = &tree_part_latest,
    [INO_ENTITIES_LATEST] = &tree_part_latest,
    [INO_HISTORY] = &tree_part_history,
    [INO_CHANGES] = &tree_part_changes,
    [INO_RESTORE] = &tree_part_staged,
    [INO_STATUS] = &tree_part_text,
    [INO_PREFLIGHT] = &tree_part_text,
    [INO_JOURNAL] = &tree_part_text,
    [INO_SNAPSHOT] = &tree_part_snapshot,
    [INO_MANIFEST] = &tree_part_manifest,
    [INO_SCHEMA] = &tree_part_schema,
    [INO_TABLES] = &tree_part_tables,
    [INO_ARCHIVE] = &tree_part_snapshot,
    [INO_ARCHIVE_MANIFEST] = &tree_part_manifest,
    [INO_ARCHIVE_SCHEMA] = &tree_part_schema,
    [INO_ARCHIVE_SUMS] = &tree_part_sums,
    [INO_ARCHIVE_TABLES] = &tree_part_tables,
    [INO_NOW_MANIFEST] = &tree_part_manifest,
    [INO_NOW_SCHEMA] = &tree_part_schema,
    [INO_NOW_TABLES] = &tree_part_tables,
    [INO_ENTITIES_OF] = &tree_part_entities,
    [INO_ENTITY_DIR] = &tree_part_entities,
    [INO_ENTITY_LINK] = &tree_part_entities,
    [INO_HISTORY_DIR] = &tree_part_history,
    [INO_CHANGE] = &tree_part_changes,
    [INO_CHANGE_ADDED] = &tree_part_changes,
    [INO_CHANGE_REMOVED] = &tree_part_changes,
    [INO_CHANGE_CHANGED] = &tree_part_changes,
    [INO_TABLE] = &tree_part_table,
    [INO_TABLE_JSON] = &tree_part_table_json,
    [INO_ARCHIVE_TABLE] = &tree_part_archive_table,
    [INO_NOW_TABLE] = &tree_part_table,
    [INO_NOW_TABLE_JSON] = &tree_part_table_json,
    [INO_ROW] = &tree_part_row,
    [INO_NOW_ROW] = &tree_part_row,
    [INO_STAGED] = &tree_part_staged,
    [INO_EDIT] = &tree_part_edit,
};

int tree_answer(struct tree *t, uint64_t number, const struct ino *i, const struct tree_wait *w, struct tree_node *ret,
		struct err *e)
{
	return tree_parts[i->kind]->getattr(t, number, i, w, ret, e);
}
