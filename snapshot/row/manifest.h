/*
 * snapshot/row/manifest.h - the texts MANIFEST.json and .table.json, out and in (jansson; pretty, keys in a fixed order).
 *
 * Both are pure functions of what they tell: the same snapshot gives the same bytes on any host, and under any name
 * (the snapshot's name is not in it). Numbers that may pass 2^53 are JSON integers; jansson reads them as 64 bit.
 */
#pragma once

#include "snapshot/row/row.h"

#define MANIFEST_FORMAT 1

struct manifest_table {
	char *name;
	uint64_t rows;
	uint64_t line_bytes;
	uint64_t file_bytes;
	int64_t since_ms; /* moment of the first snapshot that held exactly these rows: the files' time where rows have
			     none */
	uint8_t digest[ROW_SHA_LEN]; /* in hex in the text, sum's most significant byte first */
	bool has_auto_increment;
	uint64_t auto_increment;
	struct db_table
	    *table; /* its columns and key; NULL: not told (the catalog keeps them once for all its manifests) */
};

/* {"format":1,"program":"metasnap","taken":"2026-11-22T08:15:30.123Z","engine":..,"server_version":..,"database":..,
 *  "schema":..,"openmetadata_version":..,"schema_sha256":..,"schema_since":..,"tables":{NAME:{"rows":..,"bytes":..,"file_bytes":..,
 *  "since":..,"digest":..,"auto_increment":..,"columns":[..],"key":{..},"dynamic":true}},"sequences":{NAME:{"last_value":..,"is_called":..}}}
 * absent: null or left out. columns, key, dynamic: as in .table.json; an archive has no other place for them. */
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
};
void manifest_done(struct manifest *m);
void manifest_render(const struct manifest *m, struct strbuf *out);
/* EBADMSG with words: not JSON, not ours, a member missing or of the wrong type; ENOTSUP: a newer format. */
int manifest_parse(struct manifest *ret, const char *text, size_t len, struct err *e);

/* .table.json: {"format":1,"name":..,"columns":[{"name":..,"type":..,"form":"text|number|bool|binary|json|json_text",
 * "integer":true,"nullable":..,"generated":true,"document":..,"member":..}],"key":{"kind":"unique|index|none",
 * "columns":[..]},"dynamic":true,"rows":..,"bytes":..,"file_bytes":..,"digest":..}
 * A description without rows, bytes, file_bytes and digest (t NULL) is what the catalog keeps once for each codec. */
void table_json_render(const struct db_table *d, const struct manifest_table *t, struct strbuf *out);
/* ret_t may be NULL, then the counts may be missing. */
int table_json_parse(struct db_table *ret_d, struct manifest_table *ret_t, const char *text, size_t len, struct err *e);

/* A table's name as a file name: '%', '/', '\\', bytes below 0x20 and 0x7f, and a first '.' percent-encoded; all else
 * as it is. */
void table_file_name(const char *table, struct strbuf *out);
/* The way back: 0, or -ENOENT when no table has this file name. */
int table_of_file_name(const char *file, struct strbuf *table);
