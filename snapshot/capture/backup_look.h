/*
 * snapshot/capture/backup_look.h - what a tree of files is, and what is missing of it.
 */
#pragma once

#include "snapshot/capture/backup.h"

/* What a set of files is, told from its names and manifests alone (no row is read). */
enum backup_kind {
	BACKUP_NONE,     /* nothing that can be restored (yet) */
	BACKUP_SNAPSHOT, /* MANIFEST.json, schema.sql, tables/T/ with row files */
	BACKUP_ARCHIVE,  /* MANIFEST.json, schema.sql, tables/T.jsonl */
	BACKUP_TABLE,    /* .table.json and its row files */
};
/* complete: every file that the manifest announces is there with the announced number of rows or bytes (contents not
 * looked at). The counts tell what is still missing. */
struct backup_state {
	enum backup_kind kind;
	bool complete;
	uint64_t files_expected;
	uint64_t files_found;
	uint64_t bytes_expected; /* archives */
	uint64_t bytes_found;
};
int backup_look(struct backup_tree *t, struct backup_state *ret, struct err *e);
