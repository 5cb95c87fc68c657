/*
 * snapshot/store/texts.h - small texts of a snapshot: exact bytes, the same for ever.
 */
#pragma once

#include "base/strbuf.h"
#include "snapshot/row/manifest.h"
#include "snapshot/store/catalog.h"

/* SHA256SUMS is computed at the first call and kept. */
int catalog_manifest(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e);
int catalog_schema_sql(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e);
int catalog_sums(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e);
/* Text of .table.json of a version: columns, key, count, digest. */
int catalog_table_json(struct catalog *c, int64_t version_id, struct strbuf *out, struct err *e);

/* The snapshot's manifest as stored: tables without their columns. */
int store_manifest(struct catalog *c, int64_t snapshot_id, struct manifest *ret, struct err *e);
/* The text of a manifest with the columns of these codecs, one for each of its tables. */
int store_manifest_full(struct catalog *c, struct manifest *m, const int64_t *codec_ids, struct strbuf *out,
			struct err *e);
