/*
 * snapshot/store/texts.c - see texts.h. Any thread; sums are kept in the catalog once they were made.
 */
#include "snapshot/store/internal.h"

#include <errno.h>

#include "base/text.h"

struct texts_row {
	struct strbuf *manifest, *sums; /* NULL: not wanted */
	int64_t schema_id;
};

static int texts_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct texts_row *t = arg;
	if (t->manifest)
		column_add(st, 0, t->manifest);
	if (t->sums)
		column_add(st, 1, t->sums);
	t->schema_id = sqlite3_column_int64(st, 2);
	return 0;
}

static int catalog_texts(struct catalog *c, int64_t id, struct texts_row *t, struct err *e)
{
	int r = store_read(c, STMT_SNAPSHOT_TEXTS, BINDS(bind_int(id)), texts_from_row, t, "reading a snapshot", e);
	return r < 0 ? r : r == 0 ? err_set(e, ENOENT, "no such snapshot") : 0;
}

int store_manifest_full(struct catalog *c, struct manifest *m, const int64_t *codec_ids, struct strbuf *out,
			struct err *e)
{
	_cleanup_free_ const struct row_codec **codec = xcalloc(m->n_tables + 1, sizeof *codec);
	for (size_t i = 0; i < m->n_tables; i++) {
		int r = catalog_codec(c, codec_ids[i], &codec[i], e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < m->n_tables; i++) /* borrowed for the rendering */
		m->tables[i].table = (struct db_table *)(uintptr_t)row_codec_table(codec[i]);
	manifest_render(m, out);
	for (size_t i = 0; i < m->n_tables; i++)
		m->tables[i].table = NULL;
	return 0;
}

int store_manifest(struct catalog *c, int64_t snapshot_id, struct manifest *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf core = {0};
	int r = catalog_texts(c, snapshot_id, &(struct texts_row){.manifest = &core}, e);
	if (r < 0)
		return r;
	r = manifest_parse(ret, strbuf_str(&core), core.len, e);
	return r == -EBADMSG ? err_set(e, EIO, "catalog: a manifest is damaged") : r;
}

int catalog_manifest(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e)
{
	struct manifest stored;
	int r = store_manifest(c, snapshot_id, &stored, e);
	if (r < 0)
		return r;
	_cleanup_(manifest_done) struct manifest m = stored;
	_cleanup_(version_list_done) struct version_list tables = {0};
	r = catalog_tables(c, snapshot_id, &tables, e);
	if (r < 0)
		return r;
	if (tables.n != m.n_tables)
		return err_set(e, EIO, "catalog: a manifest does not fit its snapshot");
	_cleanup_free_ int64_t *ids = xcalloc(tables.n, sizeof *ids);
	for (size_t i = 0; i < tables.n; i++)
		ids[i] = tables.v[i].codec_id;
	return store_manifest_full(c, &m, ids, out, e);
}

static int schema_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct strbuf *out = arg;
	const void *z = sqlite3_column_blob(st, 0);
	size_t zn = (size_t)sqlite3_column_bytes(st, 0);
	unsigned long long n = ZSTD_getFrameContentSize(z, zn);
	if (n == ZSTD_CONTENTSIZE_ERROR || n == ZSTD_CONTENTSIZE_UNKNOWN || n > (1ULL << 30))
		return err_set(e, EIO, "schema text is damaged");
	strbuf_reserve(out, n);
	size_t got = ZSTD_decompress(out->data + out->len, n, z, zn);
	if (!ZSTD_isError(got) && got == n)
		out->len += n;
	out->data[out->len] = '\0';
	return ZSTD_isError(got) || got != n ? err_set(e, EIO, "schema text is damaged") : 0;
}

int catalog_schema_sql(struct catalog *c, int64_t snapshot_id, struct strbuf *out, struct err *e)
{
	struct texts_row t = {0};
	int r = catalog_texts(c, snapshot_id, &t, e);
	if (r < 0)
		return r;
	r = store_read(c, STMT_SCHEMA, BINDS(bind_int(t.schema_id)), schema_from_row, out, "reading a schema", e);
	return r < 0 ? r : r == 0 ? err_set(e, EIO, "schema text is missing") : 0;
}

int catalog_table_json(struct catalog *c, int64_t version_id, struct strbuf *out, struct err *e)
{
	_cleanup_(cleanup_blob) struct blob *vb = NULL;
	int r = version_load(c, version_id, &vb, e);
	if (r < 0)
		return r;
	const struct row_codec *codec;
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
	int r = store_exec(db, which, BINDS(bind_int(id), bind_blob(data, len)), "storing a sum", e);
	return store_write_end(c, db, r, e);
}

struct lines_sha {
	uint8_t *sha;
	bool have;
};

static int lines_sha_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct lines_sha *l = arg;
	l->have = column_sha(st, 6, l->sha);
	return 0;
}

/* SHA-256 of a version's lines file: kept with the version, so an unchanged table is read once for all its snapshots.
 */
static int catalog_lines_sha(struct catalog *c, const struct version_info *v, uint8_t out[ROW_SHA_LEN], struct err *e)
{
	struct lines_sha kept = {.sha = out};
	(void)store_read(c, STMT_VERSION, BINDS(bind_int(v->id)), lines_sha_from_row, &kept, "reading a sum", ERR_DROP);
	if (kept.have)
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
	int r = catalog_texts(c, snapshot_id, &(struct texts_row){.sums = &sums}, e);
	if (r < 0)
		return r;
	if (sums.len) {
		strbuf_add(out, sums.data, sums.len);
		return 0;
	}
	r = catalog_manifest(c, snapshot_id, &manifest, e);
	if (r < 0)
		return r;
	r = catalog_schema_sql(c, snapshot_id, &schema, e);
	if (r < 0)
		return r;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(h, manifest.data, manifest.len, sha);
	sums_line(&sums, sha, "MANIFEST.json");
	hasher_sha256(h, strbuf_str(&schema), schema.len, sha);
	sums_line(&sums, sha, "schema.sql");
	_cleanup_(version_list_done) struct version_list tables = {0};
	r = catalog_tables(c, snapshot_id, &tables, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < tables.n; i++) {
		_cleanup_strbuf_ struct strbuf path = {0};
		strbuf_adds(&path, "tables/");
		table_file_name(tables.v[i].name, &path);
		strbuf_adds(&path, ".jsonl");
		r = catalog_lines_sha(c, &tables.v[i], sha, e);
		if (r < 0)
			return r;
		sums_line(&sums, sha, strbuf_str(&path));
	}
	r = c->writer ? catalog_store_blob(c, STMT_SNAPSHOT_SUMS, snapshot_id, sums.data, sums.len, e) : 0;
	if (r < 0)
		return r;
	strbuf_add(out, sums.data, sums.len);
	return 0;
}
