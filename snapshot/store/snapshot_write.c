/*
 * snapshot/store/snapshot_write.c - see snapshot_write.h: the snapshot that names what was written.
 *
 * Runs on the thread that takes the snapshot. Until the last transaction names them no reader sees packs and pages,
 * and a crash leaves them to the next sweep; the shared WRITERS lock keeps sweeps away meanwhile.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

int snapshot_writer_new(struct snapshot_writer **ret, struct catalog *c, int64_t source_id, int64_t taken_ms,
			struct err *e)
{
	int fd = store_lock(c, STORE_LOCK_WRITERS, false, e);
	if (fd < 0)
		return fd;
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = xcalloc(1, sizeof *w);
	w->catalog = c;
	w->source_id = source_id;
	w->taken_ms = taken_ms;
	w->lock_fd = fd;
	(void)pthread_mutex_init(&w->mutex, NULL);
	int r = pack_writer_new(&w->writer, c, taken_ms, e);
	if (r < 0)
		return r;
	struct store_db *db = store_write_begin(c, STORE_LAZY, e);
	if (!db)
		return err_code(e);
	r = store_reserve(db, "snapshot", 1, &w->id, e);
	r = store_write_end(c, db, r, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

int64_t snapshot_writer_id(const struct snapshot_writer *w)
{
	return w->id;
}

int64_t snapshot_writer_source(const struct snapshot_writer *w)
{
	return w->source_id;
}

void snapshot_writer_set_marks(struct snapshot_writer *w, struct mark_list *m)
{
	mark_list_done(&w->marks);
	w->marks = *m;
	*m = (struct mark_list){0};
	w->has_marks = true;
}

void snapshot_writer_set_index(struct snapshot_writer *w, struct version_info *v)
{
	written_table_done(&w->index);
	w->index = (struct written_table){.m.name = TAKE_PTR(v->name), .version_id = v->id};
	version_info_done(v);
}

uint64_t snapshot_writer_rows(const struct snapshot_writer *w)
{
	uint64_t rows = 0;
	for (size_t i = 0; i < w->n_tables; i++)
		rows += w->table[i].m.rows;
	return rows;
}

uint64_t snapshot_writer_bytes(struct snapshot_writer *w)
{
	return pack_writer_bytes(w->writer);
}

void snapshot_writer_free(struct snapshot_writer *w)
{
	if (!w)
		return;
	pack_writer_free(w->writer);
	for (size_t i = 0; i < w->n_tables; i++)
		written_table_done(&w->table[i]);
	free(w->table);
	written_table_done(&w->index);
	mark_list_done(&w->marks);
	(void)pthread_mutex_destroy(&w->mutex);
	if (w->lock_fd >= 0)
		(void)close(w->lock_fd);
	free(w);
}

struct manifest_table *snapshot_writer_find(struct snapshot_writer *w, const char *table)
{
	for (size_t i = 0; i < w->n_tables; i++)
		if (!strcmp(w->table[i].m.name, table))
			return &w->table[i].m;
	return NULL;
}

bool snapshot_writer_is_whole(const struct snapshot_writer *w, const char *table)
{
	for (size_t i = 0; i < w->n_tables; i++)
		if (!strcmp(w->table[i].m.name, table))
			return w->table[i].whole;
	return false;
}

/* ---- the last transaction ---- */

static int commit_page(struct store_db *db, const struct written_page *p, int64_t *ret, struct err *e)
{
	int r = store_query(db, STMT_PAGE_FIND, BINDS(bind_blob(p->sha, sizeof p->sha)), row_int, ret,
			    "looking for a page", e);
	if (r)
		return r < 0 ? r : 0;
	_cleanup_strbuf_ struct strbuf stored = {0};
	page_pack(&p->data, &stored);
	r = store_exec(db, STMT_PAGE_INSERT,
		       BINDS(bind_blob(p->sha, sizeof p->sha), bind_blob(stored.data, stored.len)), "storing a page",
		       e);
	*ret = sqlite3_last_insert_rowid(db->h);
	return r;
}

static int commit_version(struct store_db *db, struct written_table *t, struct err *e)
{
	_cleanup_strbuf_ struct strbuf pages = {0};
	for (size_t i = 0; i < t->n_pages; i++) {
		int64_t id = 0;
		int r = commit_page(db, &t->page[i], &id, e);
		if (r < 0)
			return r;
		varint_add(&pages, (uint64_t)id);
		varint_add(&pages, t->page[i].rows);
		varint_add(&pages, t->page[i].line_bytes);
		varint_add(&pages, t->page[i].file_bytes);
		varint_add(&pages, t->page[i].sep.len);
		strbuf_add(&pages, t->page[i].sep.data, t->page[i].sep.len);
	}
	int r =
	    store_exec(db, STMT_VERSION_INSERT,
		       BINDS(bind_int(t->codec_id), bind_int((int64_t)t->m.rows), bind_int((int64_t)t->m.line_bytes),
			     bind_int((int64_t)t->m.file_bytes), bind_blob(t->m.digest, sizeof t->m.digest),
			     bind_blob(strbuf_str(&pages), pages.len), bind_int(t->m.since_ms)),
		       "storing a table version", e);
	t->version_id = sqlite3_last_insert_rowid(db->h);
	return r;
}

static int commit_schema(struct store_db *db, const uint8_t sha[ROW_SHA_LEN], const char *text, size_t len,
			 int64_t *ret, struct err *e)
{
	int r = store_query(db, STMT_SCHEMA_FIND, BINDS(bind_blob(sha, ROW_SHA_LEN)), row_int, ret,
			    "looking for the schema", e);
	if (r)
		return r < 0 ? r : 0;
	const void *z;
	size_t z_len;
	_cleanup_(cleanup_compressor) struct compressor *compressor = compressor_new();
	r = compressor_compress(compressor, NULL, text, len, &z, &z_len, e);
	if (r < 0)
		return r;
	r = store_exec(db, STMT_SCHEMA_INSERT, BINDS(bind_blob(sha, ROW_SHA_LEN), bind_blob(z, z_len)),
		       "storing the schema", e);
	*ret = sqlite3_last_insert_rowid(db->h);
	return r;
}

static int commit_index(struct snapshot_writer *w, struct store_db *db, int64_t snapshot_id, struct err *e)
{
	int r = w->index.m.name && !w->index.version_id ? commit_version(db, &w->index, e) : 0;
	if (r < 0 || !w->index.m.name)
		return r;
	return store_exec(db, STMT_INDEX_INSERT, BINDS(bind_int(snapshot_id), bind_int(w->index.version_id)),
			  "storing the index of entities", e);
}

static int commit_in(struct snapshot_writer *w, struct store_db *db, const char *name, struct manifest *m,
		     size_t manifest_len, const char *schema_sql, size_t schema_len, struct err *e)
{
	int r = pack_writer_store(w->writer, db, e);
	for (size_t i = 0; r == 0 && i < w->n_tables; i++)
		if (!w->table[i].version_id)
			r = commit_version(db, &w->table[i], e);
	if (r < 0)
		return r;
	int64_t schema_id = 0;
	r = commit_schema(db, m->schema_sha256, schema_sql, schema_len, &schema_id, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf text = {0};
	manifest_render(m, &text);
	uint64_t rows = 0, bytes = 0;
	for (size_t i = 0; i < w->n_tables; i++) {
		rows += w->table[i].m.rows;
		bytes += w->table[i].m.line_bytes;
	}
	r = store_exec(db, STMT_SNAPSHOT_INSERT,
		       BINDS(bind_int(w->id), bind_int(w->source_id), bind_text(name), bind_int(w->taken_ms),
			     bind_text(m->engine), bind_text(m->server_version), bind_text(m->app_version),
			     bind_int(schema_id), bind_int((int64_t)schema_len), bind_int((int64_t)w->n_tables),
			     bind_int((int64_t)rows), bind_int((int64_t)bytes),
			     bind_int((int64_t)pack_writer_bytes(w->writer)), bind_blob(text.data, text.len),
			     bind_int((int64_t)manifest_len), bind_int(m->schema_since_ms)),
		       "storing the snapshot", e);
	if (r == -EEXIST)
		return err_set(e, EEXIST, "snapshot '%s' exists already", name ? name : "");
	for (size_t i = 0; r == 0 && i < w->n_tables; i++)
		r = store_exec(db, STMT_SNAPSHOT_TABLE_INSERT,
			       BINDS(bind_int(w->id), bind_int((int64_t)i), bind_text(w->table[i].m.name),
				     bind_int(w->table[i].version_id)),
			       "storing the snapshot", e);
	if (r < 0)
		return r;
	r = commit_index(w, db, w->id, e);
	if (r < 0)
		return r;
	return w->has_marks ? marks_commit(db, w->source_id, w->id, &w->marks, e) : 0;
}

static int written_by_name(const void *a, const void *b)
{
	return strcmp(((const struct written_table *)a)->m.name, ((const struct written_table *)b)->m.name);
}

int snapshot_writer_commit(struct snapshot_writer *w, const char *name, struct manifest *m, const char *schema_sql,
			   size_t schema_len, struct err *e)
{
	if (w->n_tables) /* views and routines may be all there is */
		qsort(w->table, w->n_tables, sizeof *w->table, written_by_name);
	for (size_t i = 0; i < m->n_tables; i++)
		free(m->tables[i].name);
	m->tables = xrealloc(m->tables, (w->n_tables + 1) * sizeof *m->tables);
	m->n_tables = w->n_tables;
	for (size_t i = 0; i < w->n_tables; i++) {
		m->tables[i] = w->table[i].m;
		m->tables[i].name = xstrdup(w->table[i].m.name);
	}
	m->taken_ms = w->taken_ms;
	if (!m->schema_since_ms)
		m->schema_since_ms = w->taken_ms;
	_cleanup_(cleanup_hasher) struct hasher *hasher = hasher_new();
	hasher_sha256(hasher, schema_sql, schema_len, m->schema_sha256);
	_cleanup_strbuf_ struct strbuf full = {0};
	_cleanup_free_ int64_t *codec_ids = xcalloc(w->n_tables, sizeof *codec_ids);
	for (size_t i = 0; i < w->n_tables; i++)
		codec_ids[i] = w->table[i].codec_id;
	int r = store_manifest_full(w->catalog, m, codec_ids, &full, e);
	if (r < 0)
		return r;
	r = pack_writer_wait(w->writer, e);
	if (r < 0)
		return r;
	struct store_db *db = store_write_begin(w->catalog, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	return store_write_end(w->catalog, db, commit_in(w, db, name, m, full.len, schema_sql, schema_len, e), e);
}

int snapshot_writer_commit_index(struct snapshot_writer *w, int64_t snapshot_id, struct err *e)
{
	int r = pack_writer_wait(w->writer, e);
	if (r < 0)
		return r;
	struct store_db *db = store_write_begin(w->catalog, STORE_DURABLE, e);
	if (!db)
		return err_code(e);
	r = pack_writer_store(w->writer, db, e);
	if (r == 0)
		r = commit_index(w, db, snapshot_id, e);
	return store_write_end(w->catalog, db, r, e);
}
