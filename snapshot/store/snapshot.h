/*
 * snapshot/store/snapshot.h - sources, and the snapshots of each: listed, found, named, held.
 */
#pragma once

#include <stdbool.h>

#include "snapshot/store/catalog.h"

/* ---- sources ---- */
int catalog_source(struct catalog *c, const char *name, int64_t *ret_id, struct err *e); /* found or made */

/* ---- snapshots ---- */
struct snapshot_info {
	int64_t id; /* never reused */
	int64_t source_id;
	char *name;
	int64_t taken_ms;        /* the moment, UTC, epoch ms */
	int64_t schema_since_ms; /* moment of the first snapshot with this schema text: schema.sql's time */
	int64_t rows;
	int64_t line_bytes;   /* of all rows, newlines included */
	int64_t stored_bytes; /* compressed size of the packs this snapshot added */
	size_t n_tables;
	size_t manifest_len;
	size_t schema_len;
	size_t sums_len; /* 0: SHA256SUMS not computed yet */
	bool held;
	char *engine;
	char *server_version;
	char *app_version; /* NULL: none */
};
void snapshot_info_done(struct snapshot_info *s);
struct snapshot_list {
	struct snapshot_info *v; /* by moment: oldest first */
	size_t n;
};
void snapshot_list_done(struct snapshot_list *l);
/* Complete, listed snapshots only. */
int catalog_list(struct catalog *c, int64_t source_id, struct snapshot_list *ret, struct err *e);
int catalog_find(struct catalog *c, int64_t source_id, const char *name, struct snapshot_info *ret,
		 struct err *e);                                                                   /* ENOENT */
int catalog_get(struct catalog *c, int64_t snapshot_id, struct snapshot_info *ret, struct err *e); /* ENOENT */
int catalog_latest(struct catalog *c, int64_t source_id, struct snapshot_info *ret,
		   struct err *e);                                                           /* by moment; ENOENT */
int catalog_rename(struct catalog *c, int64_t snapshot_id, const char *name, struct err *e); /* EEXIST, EINVAL */
int catalog_hold(struct catalog *c, int64_t snapshot_id, bool hold, struct err *e);
/* The newest snapshot that was taken of the source's own database, not imported, not later than now_ms. ENOENT. */
int store_newest_taken(struct catalog *c, int64_t source_id, int64_t now_ms, struct snapshot_info *ret, struct err *e);
/* 0, or EINVAL for a name users cannot give (1-200 bytes of [A-Za-z0-9._+@=-], no leading '.', not "latest"). */
int snapshot_name_check(const char *name, struct err *e);
/* "20261122T081530Z" of a moment. */
void snapshot_name_default(int64_t taken_ms, char out[32]);
