/*
 * snapshot/capture/import.c - import: a backup's files merged with the newest versions, verified, committed.
 *
 * Runs on the job's thread. Rows are believed only through the manifest: counts and digests of every table, names of
 * every row file, the hash of the schema text, and SHA256SUMS when it is there.
 */
#include "snapshot/capture/import.h"

#include <errno.h>

#include "base/clock.h"
#include "snapshot/capture/backup_look.h"
#include "snapshot/capture/internal.h"
#include "snapshot/openmetadata/names_write.h"

static int import_manifest(struct backup_tree *b, struct strbuf *text, struct manifest *ret, struct err *e)
{
	int r = b->slurp(b, "MANIFEST.json", text, e);
	if (r >= 0)
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

/* The tables of a snapshot or an archive. *m: its manifest. */
static int import_all(struct import *im, const struct version_list *base, struct strbuf *schema, struct manifest *m,
		      struct err *e)
{
	struct backup_tree *b = im->tree;
	_cleanup_strbuf_ struct strbuf text = {0};
	uint8_t sha[ROW_SHA_LEN];
	int r = import_manifest(b, &text, m, e);
	if (r < 0)
		return r;
	if (im->archive && b->slurp(b, "SHA256SUMS", &im->sums, ERR_DROP) < 0)
		strbuf_clear(&im->sums); /* optional: the manifest's digests are checked anyway */
	r = b->slurp(b, "schema.sql", schema, e);
	if (r < 0)
		return r;
	hasher_sha256(im->hasher, text.data, text.len, sha);
	import_check_sum(im, "MANIFEST.json", sha);
	hasher_sha256(im->hasher, strbuf_str(schema), schema->len, sha);
	import_check_sum(im, "schema.sql", sha);
	if (memcmp(sha, m->schema_sha256, sizeof sha))
		import_say(im, "schema.sql differs from the manifest");
	return import_tables(im, m, base, e);
}

/* Before the commit, which makes the manifest's list of tables anew: auto_increment is told by the manifest only, the
 * descriptions are the catalog's. */
static void import_hand_over(struct import *im, struct manifest *m)
{
	for (size_t i = 0; i < m->n_tables; i++) {
		struct manifest_table *from = &m->tables[i], *to = snapshot_writer_find(im->writer, from->name);
		to->has_auto_increment = from->has_auto_increment;
		to->auto_increment = from->auto_increment;
		if (from->table)
			db_table_done(from->table);
		free(TAKE_PTR(from->table));
	}
}

static int import_and_commit(struct import *im, enum backup_kind kind, int64_t base_id, const char *name, struct err *e)
{
	_cleanup_(cleanup_names_update) struct names_update *names = im->names =
	    names_update_new(im->catalog, im->writer);
	_cleanup_(version_list_done) struct version_list base = {0};
	_cleanup_(manifest_done) struct manifest m = {0};
	_cleanup_strbuf_ struct strbuf schema = {0};
	int r = base_id ? catalog_tables(im->catalog, base_id, &base, e) : 0;
	if (r < 0)
		return r;
	r = kind == BACKUP_TABLE ? import_one_table(im, &base, &m, e) : import_all(im, &base, &schema, &m, e);
	if (r < 0)
		return r;
	if (im->bad) {
		*e = im->first;
		return -EBADMSG;
	}
	import_hand_over(im, &m);
	struct err lost = ERR_INIT;
	names_update_write(names, base_id, &lost);
	if (lost.code && im->report)
		strbuf_addf(im->report, "%s\n", lost.msg);
	return snapshot_writer_commit(im->writer, name, &m, strbuf_str(&schema), schema.len, e);
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
	struct import im = {.catalog = c,
			    .tree = b,
			    .writer = w,
			    .job = job,
			    .report = report,
			    .source_id = source_id,
			    .hasher = hasher,
			    .archive = st.kind == BACKUP_ARCHIVE};
	r = import_and_commit(&im, st.kind, base_id, name, e);
	strbuf_done(&im.sums);
	return r == -ENOENT ? err_set(e, EBADMSG, "a file of the backup is missing: %s", e->msg) : r;
}
