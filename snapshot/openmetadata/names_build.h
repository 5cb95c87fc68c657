/*
 * snapshot/openmetadata/names_build.h - the index of a snapshot: found, and made where it is missing.
 */
#pragma once

#include "base/strbuf.h"
#include "snapshot/store/tables.h"

/* *ret is its table version. ENOENT: there is none (a snapshot of an older program, or one made from a damaged one):
 * names_build makes it, which reads all entities. */
int names_version(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e);
int names_build(struct catalog *c, int64_t snapshot_id, struct err *e);
/* The same, made when it is missing. */
int names_index(struct catalog *c, int64_t snapshot_id, struct version_info *ret, struct err *e);
/* Forgets an index that is damaged, so that it is made anew. */
int names_forget(struct catalog *c, int64_t snapshot_id, struct err *e);

/* The entity with this path: its table and its row's file name. ENOENT. Makes a missing index. */
int names_find_path(struct catalog *c, int64_t snapshot_id, const char *path, struct strbuf *table,
		    struct strbuf *row_file, struct err *e);
/* The same by type and fully-qualified name. ENOTUNIQ: several are called so. */
int names_find(struct catalog *c, int64_t snapshot_id, const char *type, const char *fqn, struct strbuf *table,
	       struct strbuf *row_file, struct err *e);
