/*
 * snapshot/store/texts.c - see texts.h. Any thread; sums are kept in the catalog once they were made.
 */
#include "snapshot/store/internal.h"

#include <errno.h>

#include "base/text.h"

static int catalog_texts(struct catalog *c, int64_t id, struct strbuf *manifest, struct strbuf *sums,
			 int64_t *schema_id, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_SNAPSHOT_TEXTS, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW) {
			if (manifest)
				strbuf_add(manifest, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
			if (sums && sqlite3_column_bytes(st, 1))
				strbuf_add(sums, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
			if (schema_id)
				*schema_id = sqlite3_column_int64(st, 2);
		} else {
			r = step == SQLITE_DONE ? err_set(e, ENOENT, "no such snapshot")
						: store_error(db, "reading a snapshot", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int store_manifest_full(struct catalog *c, struct manifest *m, const int64_t *codec_ids, struct strbuf *out,
			struct err *e)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < m->n_tables; i++) {
		const struct row_codec *codec;
		r = catalog_codec(c, codec_ids[i], &codec, e);
		if (r == 0)
			m->tables[i].table =
			    (struct db_table *)(uintptr_t)row_codec_table(codec); /* borrowed for the rendering */
	}
	if (r == 0)
		manifest_render(m, out);
	for (size_t i = 0; i < m->n_tables; i++)
		m->tables[i].table = NULL;
	return r;
}

int store_manifest(struct catalog *c, int64_t snapshot_id, struct manifest *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf core = {0};
	int r = catalog_texts(c, snapshot_id, &core, NULL, NULL, e);
	if (r == 0)
		r = manifest_parse(ret, strbuf_str(&core), core.len, e);
	return r == -EBADMSG ? err_set(e, EIO, "catalog: a manifest is damaged") : r;
}

int catalog_manifest(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e)
{
	struct manifest m;
	int r = store_manifest(c, snapshot_id, &m, e);
	if (r < 0)
		return r;
	struct version_list tables = {0};
	r = catalog_tables(c, snapshot_id, &tables, e);
	if (r == 0 && tables.n != m.n_tables)
		r = err_set(e, EIO, "catalog: a manifest does not fit its snapshot");
	_cleanup_free_ int64_t *ids = xcalloc(tables.n, sizeof *ids);
	for (size_t i = 0; i < tables.n; i++)
		ids[i] = tables.v[i].codec_id;
	if (r == 0)
		r = store_manifest_full(c, &m, ids, out, e);
	version_list_done(&tables);
	manifest_done(&m);
	return r;
}

int catalog_schema_sql(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e)
{
	int64_t schema_id = 0;
	int r = catalog_texts(c, snapshot_id, NULL, NULL, &schema_id, e);
	if (r < 0)
		return r;
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	sqlite3_stmt *st = store_stmt(db, STMT_SCHEMA, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, schema_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW) {
			const void *z = sqlite3_column_blob(st, 0);
			size_t zn = (size_t)sqlite3_column_bytes(st, 0);
			unsigned long long n = ZSTD_getFrameContentSize(z, zn);
			if (n == ZSTD_CONTENTSIZE_ERROR || n == ZSTD_CONTENTSIZE_UNKNOWN || n > (1ULL << 30)) {
				r = err_set(e, EIO, "schema text is damaged");
			} else {
				strbuf_reserve(out, n);
				size_t got = ZSTD_decompress(out->data + out->len, n, z, zn);
				if (ZSTD_isError(got) || got != n)
					r = err_set(e, EIO, "schema text is damaged");
				else
					out->len += n;
				out->data[out->len] = '\0';
			}
		} else {
			r = step == SQLITE_DONE ? err_set(e, EIO, "schema text is missing")
						: store_error(db, "reading a schema", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int catalog_table_json(struct catalog *c, int64_t version_id, struct strbuf *out, struct err *e)
{
	_cleanup_(cleanup_blob) struct blob *vb = NULL;
	int r = version_load(c, version_id, &vb, e);
	const struct row_codec *codec;
	if (r == 0)
		r = catalog_codec(c, vb->codec_id, &codec, e);
	if (r < 0)
		return r;
	const struct db_table *t = row_codec_table(codec);
	struct manifest_table mt = {.name = t->name,
				    .rows = vb->rows,
				    .line_bytes = vb->line_bytes,
				    .file_bytes = vb->file_bytes,
				    .since_ms = vb->since_ms};
	memcpy(mt.digest, vb->digest.sum, sizeof mt.digest);
	table_json_render(t, &mt, out);
	return 0;
}

static int catalog_store_blob(struct catalog *c, enum stmt which, int64_t id, const void *data, size_t len,
			      struct err *e)
{
	struct store_db *db = store_write_begin(c, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	int r;
	sqlite3_stmt *st = store_stmt(db, which, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, id);
		sqlite3_bind_blob(st, 2, data, (int)len, SQLITE_STATIC);
		r = store_run(db, st, "storing a sum", e);
	}
	return store_write_end(c, db, r, e);
}

/* SHA-256 of a version's lines file: kept with the version, so an unchanged table is read once for all its snapshots.
 */
static int catalog_lines_sha(struct catalog *c, const struct version_info *v, uint8_t out[ROW_SHA_LEN], struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	bool have = false;
	sqlite3_stmt *st = store_stmt(db, STMT_VERSION, e);
	if (st) {
		sqlite3_bind_int64(st, 1, v->id);
		if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_bytes(st, 6) == ROW_SHA_LEN) {
			memcpy(out, sqlite3_column_blob(st, 6), ROW_SHA_LEN);
			have = true;
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (have)
		return 0;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	_cleanup_free_ char *buf = xmalloc(1U << 20);
	hasher_begin(h);
	for (uint64_t at = 0; at < v->line_bytes;) {
		size_t got = 0;
		int r = catalog_read_lines(c, v->id, at, buf, 1U << 20, &got, e);
		if (r < 0)
			return r;
		if (got == 0)
			return err_set(e, EIO, "table %s: lines end early", v->name);
		hasher_more(h, buf, got);
		at += got;
	}
	hasher_end(h, out);
	/* Read-only users of the catalog can compute it but not keep it. */
	return c->writer ? catalog_store_blob(c, STMT_VERSION_SUM, v->id, out, ROW_SHA_LEN, e) : 0;
}

static void sums_line(struct strbuf *out, const uint8_t sha[ROW_SHA_LEN], const char *path)
{
	char hex[2 * ROW_SHA_LEN + 1];
	hex_encode(sha, ROW_SHA_LEN, hex);
	strbuf_addf(out, "%s  %s\n", hex, path);
}

int catalog_sums(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf manifest = {0}, schema = {0}, sums = {0};
	int r = catalog_texts(c, snapshot_id, NULL, &sums, NULL, e);
	if (r < 0)
		return r;
	if (sums.len) {
		strbuf_add(out, sums.data, sums.len);
		return 0;
	}
	r = catalog_manifest(c, snapshot_id, &manifest, e);
	if (r == 0)
		r = catalog_schema_sql(c, snapshot_id, &schema, e);
	if (r < 0)
		return r;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(h, manifest.data, manifest.len, sha);
	sums_line(&sums, sha, "MANIFEST.json");
	hasher_sha256(h, strbuf_str(&schema), schema.len, sha);
	sums_line(&sums, sha, "schema.sql");
	struct version_list tables;
	r = catalog_tables(c, snapshot_id, &tables, e);
	for (size_t i = 0; r == 0 && i < tables.n; i++) {
		_cleanup_strbuf_ struct strbuf path = {0};
		strbuf_adds(&path, "tables/");
		table_file_name(tables.v[i].name, &path);
		strbuf_adds(&path, ".jsonl");
		r = catalog_lines_sha(c, &tables.v[i], sha, e);
		if (r == 0)
			sums_line(&sums, sha, strbuf_str(&path));
	}
	version_list_done(&tables);
	if (r == 0 && c->writer)
		r = catalog_store_blob(c, STMT_SNAPSHOT_SUMS, snapshot_id, sums.data, sums.len, e);
	if (r == 0)
		strbuf_add(out, sums.data, sums.len);
	return r;
}
