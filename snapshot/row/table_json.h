/*
 * snapshot/row/table_json.h - the text .table.json: what a table is and, of a version of it, how much it holds. Any
 * thread.
 *
 *   "format"      1
 *   "name"        the table's
 *   "columns"     a list, in table order, of objects with
 *     "name", "type"         as the server has them
 *     "form"                 "text", "number", "bool", "binary", "json" or "json_text"
 *     "integer"              true, or left out
 *     "nullable"             true or false
 *     "generated"            true, or left out
 *     "document", "member"   of a generated column that is a member of a document; else left out
 *   "key"         {"kind": "unique", "index" or "none", "columns": a list of names}
 *   "dynamic"     true, or left out
 *   "rows"        how many                                      \
 *   "bytes"       of their lines, newlines included              |
 *   "file_bytes"  of their files                                 |  of a version only
 *   "since"       the moment of the first snapshot with them     |
 *   "digest"      64 hex digits                                 /
 *
 * The first part alone is what the catalog keeps once for each codec.
 */
#pragma once

#include "snapshot/row/codec.h"
#include "snapshot/row/digest.h"

struct manifest_table {
	char *name;
	uint64_t rows;
	uint64_t line_bytes;
	uint64_t file_bytes;
	/* Moment of the first snapshot that held exactly these rows: the files' time where rows have none. */
	int64_t since_ms;
	uint8_t digest[ROW_SHA_LEN]; /* in hex in the text, sum's most significant byte first */
	bool has_auto_increment;
	uint64_t auto_increment;
	/* Its columns and key; NULL: not told (the catalog keeps them once for all its manifests). */
	struct db_table *table;
};

/* t NULL: the first part only. */
void table_json_render(const struct db_table *d, const struct manifest_table *t, struct strbuf *out);
/* ret_t may be NULL, then the counts may be missing. EBADMSG and ENOTSUP as for manifest_parse. */
int table_json_parse(struct db_table *ret_d, struct manifest_table *ret_t, const char *text, size_t len, struct err *e);
