/*
 * snapshot/store/tables.h - the table versions that a snapshot names.
 */
#pragma once

#include "snapshot/row/row.h"
#include "snapshot/store/catalog.h"

struct version_info {
	int64_t id;       /* table version: two snapshots share it when the table did not change */
	size_t ordinal;   /* place of the table in its snapshot, 0.. */
	char *name;       /* table */
	int64_t codec_id; /* description of the table */
	uint64_t rows;
	uint64_t line_bytes; /* = size of tables/T.jsonl */
	uint64_t file_bytes; /* sum of the row files' sizes */
	int64_t
	    since_ms; /* moment of the first snapshot that held exactly these rows: .table.json's and T.jsonl's time */
	struct digest digest;
};
void version_info_done(struct version_info *v);
struct version_list {
	struct version_info *v; /* by table name, bytewise */
	size_t n;
};
void version_list_done(struct version_list *l);
int catalog_tables(struct catalog *c, int64_t snapshot_id, struct version_list *ret, struct err *e);
int catalog_table(struct catalog *c, int64_t snapshot_id, const char *table, struct version_info *ret, struct err *e);
