/*
 * snapshot/export/sql_export.c - a snapshot written to one SQL file, for the client program of its engine.
 *
 * The text is the engine's own (drivers/sql_text.h); here its rows are read and counted. Each table's rows must have
 * the digest that is noted for them, so that damage in the catalog does not leave the house unnoticed. Memory is
 * bounded by the largest row. Runs on the caller's thread, no locks.
 */
#include "snapshot/export/sql_export.h"

#include <errno.h>

#include "base/out_file.h"
#include "drivers/registry.h"
#include "drivers/sql_text.h"
#include "snapshot/restore/target.h"
#include "snapshot/store/store.h"

struct sql_export {
	struct catalog *c;
	const struct sql_dialect *dialect;
	struct sql_text *text;
	struct target target;
	struct out_file file;
	struct hasher *hasher;
};

static void sql_export_done(struct sql_export *x)
{
	sql_text_free(x->text);
	target_done(&x->target);
	out_file_done(&x->file);
	hasher_free(x->hasher);
}

static int sql_export_rows(struct sql_export *x, const struct version_info *v, const struct row_codec *codec,
			   struct row_values *values, struct err *e)
{
	_cleanup_(cleanup_row_cursor) struct row_cursor *rows = NULL;
	struct digest digest = {0};
	struct stored_row row;
	uint8_t sha[ROW_SHA_LEN];
	int r = row_cursor_open(&rows, x->c, v->id, 0, e);
	if (r < 0)
		return r;
	while ((r = row_cursor_next(rows, &row, e)) == 1) {
		hasher_sha256(x->hasher, row.line, row.line_len, sha);
		digest_add(&digest, sha);
		r = row_decode(codec, row.line, row.line_len, values, e);
		if (r < 0)
			return r;
		r = x->dialect->text_row(x->text, values->v, &x->file.buffer, e);
		if (r < 0)
			return r;
		r = out_file_more(&x->file, e);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (!digest_equal(&digest, &v->digest))
		return err_set(e, EIO, "table %s: the catalog has other rows than it noted (metasnap check)", v->name);
	return 0;
}

static int sql_export_table(struct sql_export *x, size_t i, struct err *e)
{
	const struct version_info *v = &x->target.versions.v[i];
	const struct row_codec *codec = NULL;
	_cleanup_(row_values_done) struct row_values values = {0};
	int r = catalog_codec(x->c, v->codec_id, &codec, e);
	if (r < 0)
		return r;
	row_values_init(&values, codec);
	x->dialect->text_table(x->text, &x->target.schema->tables[i], &x->file.buffer);
	r = sql_export_rows(x, v, codec, &values, e);
	return r < 0 ? err_prefix(e, "table %s", v->name) : 0;
}

static int sql_export_all(struct sql_export *x, int64_t id, const char *path, struct err *e)
{
	int r = target_load(x->c, id, &x->target, e);
	if (r < 0)
		return r;
	const char *engine = x->target.schema->engine;
	x->dialect = sql_dialect_of(engine);
	if (!x->dialect)
		return err_set(e, ENOTSUP, "there is no SQL text for %s (name a directory)", engine);
	r = out_file_begin(&x->file, path, e);
	if (r < 0)
		return r;
	r = x->dialect->text_begin(&x->text, x->target.schema, strbuf_str(&x->target.sql), &x->file.buffer, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < x->target.versions.n; i++) {
		r = sql_export_table(x, i, e);
		if (r < 0)
			return r;
	}
	r = x->dialect->text_end(x->text, &x->file.buffer, e);
	if (r < 0)
		return r;
	return out_file_publish(&x->file, e);
}

int sql_export_snapshot(struct catalog *c, int64_t id, const char *path, struct err *e)
{
	_cleanup_(sql_export_done) struct sql_export x = {.c = c, .file.fd = -1, .hasher = hasher_new()};
	return sql_export_all(&x, id, path, e);
}
