/*
 * snapshot/row/manifest.h - the text MANIFEST.json of a snapshot, out and in (pretty, members in a fixed order). Any
 * thread.
 *
 * A pure function of what it tells: the same snapshot gives the same bytes on any host, and under any name (the
 * snapshot's name is not in it). Numbers that may pass 2^53 are JSON integers; jansson reads them as 64 bit.
 *
 *   "format"                1
 *   "program"               "metasnap"
 *   "taken"                 "2026-11-22T08:15:30.123Z"
 *   "engine", "server_version", "database"
 *   "schema"                null where the engine has none
 *   "openmetadata_version"  null: not known
 *   "schema_sha256"         of schema.sql, 64 hex digits
 *   "schema_since"          a moment like "taken"
 *   "tables"                {NAME: an object for each table with
 *     "rows", "bytes", "file_bytes", "since", "digest"   as in .table.json
 *     "auto_increment"                                   left out where the table has none
 *     "columns", "key", "dynamic"                        as in .table.json; an archive has no other place for them,
 *                                                        the catalog leaves them out}
 *   "sequences"             {NAME: {"last_value": a number, "is_called": true or false}}
 *   "left_out"              [words, ...]: what the database held besides, that the snapshot does not; left out where
 *                           there is nothing
 */
#pragma once

#include "snapshot/row/table_json.h"
#include "snapshot/row/table_name.h" /* how an archive names its tables' files */

struct manifest {
	int64_t taken_ms;
	char *engine;
	char *server_version;
	char *database;
	char *schema;                       /* may be NULL */
	char *app_version;                  /* may be NULL */
	uint8_t schema_sha256[ROW_SHA_LEN]; /* of schema.sql */
	int64_t schema_since_ms;            /* moment of the first snapshot with this text */
	struct manifest_table *tables;      /* by name, bytewise */
	size_t n_tables;
	struct db_sequence *sequences; /* by name */
	size_t n_sequences;
	char **left_out;
	size_t n_left_out;
};
void manifest_done(struct manifest *m);
void manifest_render(const struct manifest *m, struct strbuf *out);
/* EBADMSG with words: not JSON, not ours, a member missing or of the wrong type; ENOTSUP: a newer format. */
int manifest_parse(struct manifest *ret, const char *text, size_t len, struct err *e);
