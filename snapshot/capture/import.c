/*
 * snapshot/capture/import.c - import: a backup's files merged with the newest versions, verified, committed.
 *
 * Runs on the job's thread. Rows are believed only through the manifest: counts and digests of every table, names of
 * every row file, the hash of the schema text, and SHA256SUMS when it is there.
 */
#include "snapshot/capture/import.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/text.h"
#include "snapshot/capture/capture.h"
#include "snapshot/openmetadata/names_write.h"

#define IMPORT_CHUNK (1U << 20)
#define IMPORT_LINE_MAX (1U << 30) /* as version_writer_new_row */

struct import {
	struct catalog *catalog;
	struct backup_tree *tree;
	struct snapshot_writer *writer;
	struct names_update *names;
	struct job_ctl *job;
	struct strbuf *report;
	int64_t source_id;
	struct hasher *hasher;
	struct strbuf sums; /* SHA256SUMS; empty: none */
	bool archive;
	bool bad; /* some table was refused; the words are in report */
	struct err first;
};

static void import_say(struct import *im, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void import_say(struct import *im, const char *fmt, ...)
{
	struct err e = ERR_INIT;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(e.msg, sizeof e.msg, fmt, ap);
	va_end(ap);
	e.code = EBADMSG;
	if (im->report)
		strbuf_addf(im->report, "%s\n", e.msg);
	if (!im->bad)
		im->first = e;
	im->bad = true;
}

/* ---- SHA256SUMS ---- */

/* The sum that SHA256SUMS has for `path`; false: the file is not in it. */
static bool import_sum(const struct import *im, const char *path, uint8_t sha[ROW_SHA_LEN])
{
	size_t n = strlen(path);
	for (const char *p = strbuf_str(&im->sums); *p;) {
		const char *nl = strchrnul(p, '\n');
		if ((size_t)(nl - p) == 64 + 2 + n && !memcmp(p + 66, path, n)) {
			char hex[65];
			memcpy(hex, p, 64);
			hex[64] = '\0';
			return hex_decode(hex, sha, ROW_SHA_LEN) == 0;
		}
		p = *nl ? nl + 1 : nl;
	}
	return false;
}

static void import_check_sum(struct import *im, const char *path, const uint8_t sha[ROW_SHA_LEN])
{
	uint8_t want[ROW_SHA_LEN];
	if (!im->sums.len)
		return;
	if (!import_sum(im, path, want))
		import_say(im, "%s: not in SHA256SUMS", path);
	else if (memcmp(want, sha, sizeof want))
		import_say(im, "%s: SHA-256 differs from SHA256SUMS", path);
}

/* ---- lines of an archive ---- */

struct lines {
	struct import *im;
	const char *path;
	uint64_t offset;
	struct strbuf buf;
	size_t at;
	bool end;
};

/* 1 and the next line, 0 at the end. A last line without newline is an error: the file was cut. */
static int lines_next(struct lines *l, const char **line, size_t *len, struct err *e)
{
	for (;;) {
		char *nl = l->at < l->buf.len ? memchr(l->buf.data + l->at, '\n', l->buf.len - l->at) : NULL;
		if (nl) {
			*line = l->buf.data + l->at;
			*len = (size_t)(nl - *line);
			l->at = (size_t)(nl + 1 - l->buf.data);
			return 1;
		}
		if (l->end)
			return l->at == l->buf.len ? 0 : err_set(e, EBADMSG, "%s: the last line is cut", l->path);
		memmove(l->buf.data ? l->buf.data : (char *)"", l->buf.data ? l->buf.data + l->at : "",
			l->buf.len - l->at);
		l->buf.len -= l->at;
		l->at = 0;
		strbuf_reserve(&l->buf, IMPORT_CHUNK);
		size_t got = 0;
		int r =
		    l->im->tree->read(l->im->tree, l->path, l->offset, l->buf.data + l->buf.len, IMPORT_CHUNK, &got, e);
		if (r < 0)
			return r;
		/* What a copy has made room for and not filled has no end of line in it: it is not gathered in memory.
		 */
		if (memchr(l->buf.data + l->buf.len, '\0', got))
			return err_set(e, EBADMSG, "%s: zeros in it (it was not copied to its end)", l->path);
		if (l->buf.len > IMPORT_LINE_MAX)
			return err_set(e, EBADMSG, "%s: a line of more than 1 GiB", l->path);
		hasher_more(l->im->hasher, l->buf.data + l->buf.len, got);
		l->buf.len += got;
		l->offset += got;
		l->end = got < IMPORT_CHUNK;
	}
}

/* ---- one table ---- */

struct table_import {
	struct import *im;
	const struct row_codec *codec;
	struct sorter *sorter;
	struct row_values values;
	struct db_value *encodable;
	struct strbuf line, again, key, name, text;
	struct digest digest;
	struct hasher *hasher; /* of rows: the other one hashes files */
	const char *dir;
};

/* A line that is not exactly what this program writes would become another row on the way back: refused. */
static int import_line(struct table_import *ti, const char *where, const char *line, size_t len, struct err *e)
{
	struct import *im = ti->im;
	if (atomic_load_explicit(&im->job->cancelled, memory_order_relaxed))
		return err_set(e, EINTR, "cancelled");
	int r = row_decode(ti->codec, line, len, &ti->values, e);
	if (r == 0) {
		row_values_encodable(ti->codec, &ti->values, ti->encodable);
		r = row_encode(ti->codec, ti->encodable, &ti->again, e);
	}
	if (r < 0)
		return r == -EBADMSG || r == -EDOM ? err_set(e, EBADMSG, "%s: %s", where, e->msg) : r;
	if (ti->again.len != len || memcmp(ti->again.data, line, len))
		return err_set(e, EBADMSG, "%s: not in the canonical form", where);
	uint8_t sha[ROW_SHA_LEN];
	hasher_sha256(ti->hasher, line, len, sha);
	digest_add(&ti->digest, sha);
	atomic_fetch_add_explicit(&im->job->rows_done, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&im->job->bytes_done, len + 1, memory_order_relaxed);
	return sorter_add(ti->sorter, line, len, e);
}

static int import_lines(struct table_import *ti, const char *path, struct err *e)
{
	struct lines l = {.im = ti->im, .path = path};
	hasher_begin(ti->im->hasher);
	const char *line = NULL;
	size_t len = 0;
	uint64_t number = 0;
	int r;
	while ((r = lines_next(&l, &line, &len, e)) == 1) {
		char where[400];
		(void)snprintf(where, sizeof where, "%s: line %" PRIu64, path, ++number);
		r = import_line(ti, where, line, len, e);
		if (r < 0)
			break;
	}
	strbuf_done(&l.buf);
	if (r < 0)
		return r;
	uint8_t sha[ROW_SHA_LEN];
	hasher_end(ti->im->hasher, sha);
	import_check_sum(ti->im, path, sha);
	return 0;
}

struct file_visit {
	struct table_import *ti;
	struct err *e;
};

static int import_row_file(void *arg, const char *name, bool is_dir)
{
	struct file_visit *fv = arg;
	struct table_import *ti = fv->ti;
	if (is_dir || !backup_name_counts(name, true) || !strcmp(name, ".table.json"))
		return 0;
	_cleanup_free_ char *path = xasprintf("%s%s%s", ti->dir, *ti->dir ? "/" : "", name);
	int r = ti->im->tree->slurp(ti->im->tree, path, &ti->text, fv->e);
	if (r < 0)
		return r;
	strbuf_clear(&ti->line);
	r = row_compact(strbuf_str(&ti->text), ti->text.len, &ti->line, fv->e);
	if (r < 0)
		return err_prefix(fv->e, "%s", path);
	/* The name belongs to the row: a file under another row's name is a mix-up, whatever the digest says. Where
	 * equal rows are numbered, any number will do; the digest counts them. */
	if (!row_key_is_hashed(ti->codec)) {
		strbuf_clear(&ti->key);
		strbuf_clear(&ti->name);
		r = row_key(ti->codec, ti->line.data, ti->line.len, NULL, 0, &ti->key, fv->e);
		if (r < 0)
			return err_prefix(fv->e, "%s", path);
		row_name(ti->codec, ti->key.data, ti->key.len, &ti->name);
		if (strcmp(strbuf_str(&ti->name), name))
			return err_set(fv->e, EBADMSG, "%s: holds the row of %s", path, strbuf_str(&ti->name));
	}
	return import_line(ti, path, ti->line.data, ti->line.len, fv->e);
}

/* ---- what differs, when the catalog still knows the table's true rows ---- */

struct differ {
	struct import *im;
	const char *table;
	const struct row_codec *codec;
	unsigned told;
};

static int differ_tell(struct differ *d, const struct stream_row *row, const char *what)
{
	if (d->told++ >= 20)
		return 0;
	_cleanup_strbuf_ struct strbuf name = {0};
	row_name(d->codec, row->key, row->key_len, &name);
	import_say(d->im, "table %s: row %s %s", d->table, strbuf_str(&name), what);
	return 0;
}

static int differ_extra(void *arg, const struct stream_row *l, struct err *e)
{
	(void)e;
	return differ_tell(arg, l, "is not in the snapshot (additional)");
}

static int differ_missing(void *arg, const struct stream_row *r, struct err *e)
{
	(void)e;
	return differ_tell(arg, r, "is missing");
}

static int differ_changed(void *arg, const struct stream_row *l, const struct stream_row *r, struct err *e)
{
	(void)r;
	(void)e;
	return differ_tell(arg, l, "is changed");
}

/* A version of this table with this digest in some snapshot of the source: 0 none. */
static int64_t import_known_version(struct import *im, const char *table, const struct manifest_table *want,
				    int64_t codec_id)
{
	struct snapshot_list list;
	int64_t found = 0;
	if (catalog_list(im->catalog, im->source_id, &list, ERR_DROP) < 0)
		return 0;
	for (size_t i = list.n; i-- > 0 && !found;) {
		struct version_info v;
		if (catalog_table(im->catalog, list.v[i].id, table, &v, ERR_DROP) < 0)
			continue;
		if (v.codec_id == codec_id && v.rows == want->rows && !memcmp(v.digest.sum, want->digest, ROW_SHA_LEN))
			found = v.id;
		version_info_done(&v);
	}
	snapshot_list_done(&list);
	return found;
}

static int import_explain(struct table_import *ti, const struct manifest_table *want, int64_t codec_id, struct err *e)
{
	struct import *im = ti->im;
	import_say(im, "table %s: %" PRIu64 " rows that do not match the manifest's digest (%" PRIu64 " rows expected)",
		   want->name, ti->digest.count, want->rows);
	int64_t known = import_known_version(im, want->name, want, codec_id);
	if (!known)
		return 0;
	_cleanup_(cleanup_row_stream) struct row_stream *files = NULL, *truth = NULL;
	int r = sorter_stream(&files, TAKE_PTR(ti->sorter), e);
	if (r == 0)
		r = stream_version(&truth, im->catalog, known, e);
	struct differ d = {.im = im, .table = want->name, .codec = ti->codec};
	struct merge_sink sink = {&d, differ_extra, differ_missing, NULL, differ_changed};
	if (r == 0)
		r = merge_streams(files, truth, &sink, e);
	return r == -EEXIST ? 0 : r; /* two files with the same key: already refused */
}

static void table_import_done(struct table_import *ti)
{
	sorter_free(ti->sorter);
	row_values_done(&ti->values);
	free(ti->encodable);
	strbuf_done(&ti->line);
	strbuf_done(&ti->again);
	strbuf_done(&ti->key);
	strbuf_done(&ti->name);
	strbuf_done(&ti->text);
	hasher_free(ti->hasher);
}

/* path: of the .jsonl, or the directory of row files. */
static int import_table(struct import *im, const struct db_table *t, const struct manifest_table *want,
			const char *path, const struct version_list *base, struct err *e)
{
	_cleanup_(cleanup_version_writer) struct version_writer *v = NULL;
	int r = snapshot_writer_table(im->writer, t, &v, e);
	if (r == 0)
		r = names_update_watch(im->names, v, e);
	if (r < 0)
		return r;
	_cleanup_(table_import_done) struct table_import ti = {
	    .im = im, .codec = version_writer_codec(v), .dir = path, .hasher = hasher_new()};
	row_values_init(&ti.values, ti.codec);
	ti.encodable = xcalloc(row_codec_scan_values(ti.codec), sizeof *ti.encodable);
	ti.sorter = sorter_new(ti.codec, SORTER_MEMORY);
	struct err why = ERR_INIT;
	struct file_visit fv = {&ti, &why};
	r = im->archive ? import_lines(&ti, path, &why) : im->tree->list(im->tree, path, import_row_file, &fv, &why);
	if (r == -EBADMSG || r == -ENOENT) {
		import_say(im, "table %s: %s", want->name, why.msg);
		return 0;
	}
	if (r < 0) {
		*e = why;
		return r;
	}
	if (ti.digest.count != want->rows || memcmp(ti.digest.sum, want->digest, ROW_SHA_LEN))
		return import_explain(&ti, want, version_writer_codec_id(v), e);
	if (im->bad)
		return 0; /* it will not be stored: only look for more that is wrong */
	const struct version_info *newest = NULL;
	for (size_t i = 0; i < base->n; i++)
		if (!strcmp(base->v[i].name, t->name) && base->v[i].codec_id == version_writer_codec_id(v))
			newest = &base->v[i];
	_cleanup_(cleanup_row_stream) struct row_stream *rows = NULL;
	r = sorter_stream(&rows, TAKE_PTR(ti.sorter), e);
	if (r == 0)
		r = capture_merge(rows, im->catalog, newest, v, want->since_ms, e);
	if (r == -EEXIST) {
		import_say(im, "table %s: two rows have the same key", want->name);
		return 0;
	}
	if (r == 0) {
		const struct manifest_table *got = snapshot_writer_find(im->writer, t->name);
		if (got->line_bytes != want->line_bytes || got->file_bytes != want->file_bytes)
			import_say(im, "table %s: the manifest's sizes are wrong", want->name);
	}
	return r;
}

/* ---- the whole ---- */

static int import_manifest(struct backup_tree *b, struct strbuf *text, struct manifest *ret, struct err *e)
{
	int r = b->slurp(b, "MANIFEST.json", text, e);
	if (r == 0)
		r = manifest_parse(ret, strbuf_str(text), text->len, e);
	return r < 0 ? err_prefix(e, "MANIFEST.json") : 0;
}

int import_taken_ms(struct backup_tree *b, int64_t *ret, struct err *e)
{
	struct backup_state st;
	int r = backup_look(b, &st, e);
	if (r < 0)
		return r;
	if (st.kind == BACKUP_NONE)
		return err_set(e, EINVAL, "not a backup: no MANIFEST.json and no .table.json in it");
	*ret = clock_ms();
	if (st.kind == BACKUP_TABLE)
		return 0;
	_cleanup_strbuf_ struct strbuf text = {0};
	struct manifest m;
	r = import_manifest(b, &text, &m, e);
	if (r < 0)
		return r;
	*ret = m.taken_ms;
	manifest_done(&m);
	return 0;
}

/* The description of a table: beside its rows, or in the manifest. Both, when both are there, must be the same. */
static int import_description(struct import *im, const struct manifest_table *want, const char *dir,
			      struct db_table *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	if (im->archive) {
		if (!want->table)
			return err_set(e, EBADMSG, "MANIFEST.json: table %s has no columns", want->name);
		table_json_render(want->table, NULL, &text);
		return table_json_parse(ret, NULL, text.data, text.len, e);
	}
	_cleanup_free_ char *path = xasprintf("%s/.table.json", dir);
	int r = im->tree->slurp(im->tree, path, &text, e);
	struct manifest_table mt = {0};
	if (r == 0)
		r = table_json_parse(ret, &mt, strbuf_str(&text), text.len, e);
	if (r < 0)
		return r == -ENOENT ? err_set(e, EBADMSG, "%s is missing", path) : err_prefix(e, "%s", path);
	bool same =
	    !strcmp(ret->name, want->name) && mt.rows == want->rows && !memcmp(mt.digest, want->digest, ROW_SHA_LEN);
	if (same && want->table) {
		_cleanup_strbuf_ struct strbuf a = {0}, b = {0};
		table_json_render(ret, NULL, &a);
		table_json_render(want->table, NULL, &b);
		same = a.len == b.len && !memcmp(a.data, b.data, a.len);
	}
	free(mt.name);
	if (!same) {
		db_table_done(ret);
		return err_set(e, EBADMSG, "%s and MANIFEST.json say different things", path);
	}
	return 0;
}

static int import_tables(struct import *im, const struct manifest *m, const struct version_list *base, struct err *e)
{
	for (size_t i = 0; i < m->n_tables; i++) {
		const struct manifest_table *want = &m->tables[i];
		_cleanup_strbuf_ struct strbuf file = {0};
		table_file_name(want->name, &file);
		_cleanup_free_ char *path = xasprintf("tables/%s%s", strbuf_str(&file), im->archive ? ".jsonl" : "");
		job_ctl_say(im->job, "import: %s", want->name);
		struct db_table t = {0};
		struct err why = ERR_INIT;
		int r = import_description(im, want, path, &t, &why);
		if (r == -EBADMSG) {
			import_say(im, "table %s: %s", want->name, why.msg);
			continue;
		}
		if (r < 0) {
			*e = why;
			return r;
		}
		r = import_table(im, &t, want, path, base, e);
		db_table_done(&t);
		if (r < 0)
			return r;
	}
	return 0;
}

static int import_one_table(struct import *im, const struct version_list *base, struct manifest *m, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	int r = im->tree->slurp(im->tree, ".table.json", &text, e);
	struct db_table t = {0};
	struct manifest_table want = {0};
	if (r == 0)
		r = table_json_parse(&t, &want, strbuf_str(&text), text.len, e);
	if (r < 0)
		return err_prefix(e, ".table.json");
	*m = (struct manifest){.engine = xstrdup(""), .server_version = xstrdup(""), .database = xstrdup("")};
	r = import_table(im, &t, &want, "", base, e);
	db_table_done(&t);
	free(want.name);
	return r;
}

int import_run(struct catalog *c, struct backup_tree *b, struct snapshot_writer *w, int64_t source_id, int64_t base_id,
	       const char *name, struct job_ctl *job, struct strbuf *report, struct err *e)
{
	struct backup_state st;
	int r = backup_look(b, &st, e);
	if (r < 0)
		return r;
	if (st.kind == BACKUP_NONE)
		return err_set(e, EINVAL, "not a backup: no MANIFEST.json and no .table.json in it");
	_cleanup_(cleanup_hasher) struct hasher *hasher = hasher_new();
	_cleanup_(cleanup_names_update) struct names_update *names = names_update_new(c, w);
	struct import im = {.catalog = c,
			    .tree = b,
			    .writer = w,
			    .names = names,
			    .job = job,
			    .report = report,
			    .source_id = source_id,
			    .hasher = hasher,
			    .archive = st.kind == BACKUP_ARCHIVE};
	struct version_list base = {0};
	struct manifest m = {0};
	_cleanup_strbuf_ struct strbuf manifest = {0}, schema = {0};
	r = base_id ? catalog_tables(c, base_id, &base, e) : 0;
	if (r == 0 && st.kind == BACKUP_TABLE)
		r = import_one_table(&im, &base, &m, e);
	else if (r == 0) {
		r = import_manifest(b, &manifest, &m, e);
		if (r == 0 && im.archive && b->slurp(b, "SHA256SUMS", &im.sums, ERR_DROP) < 0)
			strbuf_clear(&im.sums); /* optional: the manifest's digests are checked anyway */
		if (r == 0)
			r = b->slurp(b, "schema.sql", &schema, e);
		uint8_t sha[ROW_SHA_LEN];
		if (r == 0) {
			hasher_sha256(hasher, manifest.data, manifest.len, sha);
			import_check_sum(&im, "MANIFEST.json", sha);
			hasher_sha256(hasher, strbuf_str(&schema), schema.len, sha);
			import_check_sum(&im, "schema.sql", sha);
			if (memcmp(sha, m.schema_sha256, sizeof sha))
				import_say(&im, "schema.sql differs from the manifest");
			r = import_tables(&im, &m, &base, e);
		}
	}
	strbuf_done(&im.sums);
	version_list_done(&base);
	if (r == 0 && im.bad) {
		*e = im.first;
		r = -EBADMSG;
	}
	/* auto_increment is told by the manifest only. */
	for (size_t i = 0; r == 0 && i < m.n_tables; i++) {
		struct manifest_table *t = snapshot_writer_find(w, m.tables[i].name);
		t->has_auto_increment = m.tables[i].has_auto_increment;
		t->auto_increment = m.tables[i].auto_increment;
	}
	for (size_t i = 0; i < m.n_tables; i++) {
		if (m.tables[i].table)
			db_table_done(m.tables[i].table);
		free(m.tables[i].table);
		m.tables[i].table = NULL;
	}
	if (r == 0)
		r = names_update_write(names, base_id, e);
	if (r == 0)
		r = snapshot_writer_commit(w, name, &m, strbuf_str(&schema), schema.len, e);
	manifest_done(&m);
	return r == -ENOENT ? err_set(e, EBADMSG, "a file of the backup is missing: %s", e->msg) : r;
}
