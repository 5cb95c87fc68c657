/*
 * snapshot/service/verify.c - snapshots against their digests, the whole catalog, a live database against a snapshot.
 *
 * Any thread; nothing is written, but that a snapshot was verified, and that a damaged index of entities is dropped.
 */
#include "snapshot/service/verify.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/restore/compare.h"
#include "snapshot/service/internal.h"

static int verify_version(struct catalog *c, const struct version_info *v, struct hasher *h, struct err *e)
{
	_cleanup_(cleanup_row_cursor) struct row_cursor *rc = NULL;
	struct digest digest = {0};
	uint64_t lines = 0, files = 0;
	struct stored_row row;
	int r = row_cursor_open(&rc, c, v->id, 0, e);
	while (r == 0 && (r = row_cursor_next(rc, &row, e)) == 1) {
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(h, row.line, row.line_len, sha);
		digest_add(&digest, sha);
		lines += row.line_len + 1;
		files += row.file_size;
		r = row.file_size == row_pretty_size(row.line, row.line_len)
			? 0
			: err_set(e, EIO, "a row's file size is wrong");
	}
	if (r < 0)
		return r;
	if (!digest_equal(&digest, &v->digest) || lines != v->line_bytes || files != v->file_bytes)
		return err_set(e, EIO, "its %" PRIu64 " rows do not match its digest (%" PRIu64 " rows)", digest.count,
			       v->rows);
	return 0;
}

/* 1: the index of entities is damaged. Later snapshots would take that over, and it can be made anew. */
static int verify_names(struct catalog *c, int64_t snapshot_id, const char *label, struct hasher *h,
			struct strbuf *report)
{
	_cleanup_(version_info_done) struct version_info names = {0};
	struct err why = ERR_INIT;
	int r = names_version(c, snapshot_id, &names, &why);
	if (r == 0)
		r = verify_version(c, &names, h, &why);
	if (r == 0 || r == -ENOENT)
		return 0;
	bool dropped = r == -EIO && names_forget(c, snapshot_id, ERR_DROP) == 0;
	strbuf_addf(report, "%s%sthe index of entities: %s%s\n", label, *label ? ": " : "", why.msg,
		    dropped ? " (it was dropped and is made anew when somebody asks)" : "");
	return 1;
}

static int verify_snapshot(struct catalog *c, int64_t snapshot_id, const char *label, struct strbuf *report,
			   struct err *e)
{
	struct version_list tables = {0};
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	int r = catalog_tables(c, snapshot_id, &tables, e), bad = 0;
	for (size_t i = 0; r == 0 && i < tables.n; i++) {
		struct err why = ERR_INIT;
		if (verify_version(c, &tables.v[i], h, &why) < 0) {
			bad++;
			strbuf_addf(report, "%s%stable %s: %s\n", label, *label ? ": " : "", tables.v[i].name, why.msg);
		}
	}
	version_list_done(&tables);
	if (r == 0)
		bad += verify_names(c, snapshot_id, label, h, report);
	_cleanup_strbuf_ struct strbuf schema = {0};
	struct manifest m = {0};
	if (r == 0)
		r = store_manifest(c, snapshot_id, &m, e);
	if (r == 0)
		r = catalog_schema_sql(c, snapshot_id, &schema, e);
	if (r == 0) {
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(h, strbuf_str(&schema), schema.len, sha);
		if (memcmp(sha, m.schema_sha256, sizeof sha)) {
			bad++;
			strbuf_addf(report, "%s%sschema.sql: does not match its digest\n", label, *label ? ": " : "");
		}
	}
	manifest_done(&m);
	return r == 0 && bad ? err_set(e, EIO, "%d of its parts are damaged", bad) : r;
}

/* That a snapshot was found whole, or not, is worth keeping: it is what a restore stands on. A failure to write it down
 * changes nothing about what was found. */
static void verify_journal(struct catalog *c, int64_t snapshot_id, int r, const struct err *why)
{
	struct snapshot_info s;
	struct requester who;
	int64_t id;
	if (catalog_get(c, snapshot_id, &s, ERR_DROP) < 0)
		return;
	requester_self(&who);
	if (journal_add(c, s.source_id, "verify", s.name, who.uid, who.pid, who.program, &id, ERR_DROP) == 0)
		(void)journal_state(c, id, r < 0 ? "failed" : "done", r < 0 ? why->msg : "every row is as it was", 0, 0,
				    true, ERR_DROP);
	snapshot_info_done(&s);
}

int service_verify(struct service *svc, int64_t snapshot_id, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	int r = verify_snapshot(service_catalog(svc), snapshot_id, "", report, &why);
	verify_journal(service_catalog(svc), snapshot_id, r, &why);
	if (r < 0 && e)
		*e = why;
	return r;
}

int service_verify_live(struct service *svc, size_t source, int64_t snapshot_id, struct waiter *w,
			struct restore_plan *ret, struct err *e)
{
	struct err why = ERR_INIT;
	struct requester who;
	struct job *j = NULL;
	requester_self(&who);
	*ret = (struct restore_plan){0};
	int r = job_begin(svc, source, "verify", "live", &who, w, &j, e);
	if (r < 0)
		return r;
	r = job_connect(j, &why);
	if (r == 0)
		r = restore_compare_live(svc->catalog, j->conn, snapshot_id, NULL, &j->ctl, ret, &why);
	if (r < 0 && e)
		*e = why;
	job_end(j, r < 0 ? r : 0, r > 0 ? "different" : "done", NULL, &why);
	return r > 0 ? 1 : r;
}

/* One statement over the catalog; each(arg, statement) for each row. */
static int check_each(struct catalog *c, const char *sql, int (*each)(void *arg, sqlite3_stmt *st), void *arg,
		      struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	sqlite3_stmt *st = NULL;
	int r = 0, step = SQLITE_ERROR;
	if (sqlite3_prepare_v2(db->h, sql, -1, &st, NULL) == SQLITE_OK)
		while ((step = sqlite3_step(st)) == SQLITE_ROW && r == 0)
			r = each(arg, st);
	if (r == 0 && step != SQLITE_DONE)
		r = store_error(db, "checking", e);
	sqlite3_finalize(st);
	store_read_end(c, db);
	return r;
}

struct check {
	struct catalog *catalog;
	struct strbuf *report;
	struct hasher *hasher;
	unsigned bad;
};

static int check_integrity(void *arg, sqlite3_stmt *st)
{
	struct check *k = arg;
	const char *text = (const char *)sqlite3_column_text(st, 0);
	if (text && strcmp(text, "ok")) {
		k->bad++;
		strbuf_addf(k->report, "SQLite: %s\n", text);
	}
	return 0;
}

static int check_pack(void *arg, sqlite3_stmt *st)
{
	struct check *k = arg;
	struct err why = ERR_INIT;
	int r = pack_verify(k->catalog, sqlite3_column_int64(st, 0), k->hasher, &why);
	/* -ENOENT: freed since it was listed; one that is missing is missed by the snapshots that need it. */
	if (r < 0 && r != -ENOENT) {
		k->bad++;
		strbuf_addf(k->report, "%s\n", why.msg);
	}
	return 0;
}

static int check_snapshot(void *arg, sqlite3_stmt *st)
{
	struct check *k = arg;
	struct err why = ERR_INIT;
	const char *name = (const char *)sqlite3_column_text(st, 1);
	_cleanup_free_ char *label = xasprintf("snapshot %s", name ? name : "(unlisted)");
	size_t before = k->report->len;
	int64_t id = sqlite3_column_int64(st, 0);
	struct snapshot_info there = {0};
	if (verify_snapshot(k->catalog, id, label, k->report, &why) == 0)
		return 0;
	if (catalog_get(k->catalog, id, &there, ERR_DROP) == -ENOENT) { /* removed, and its packs freed, meanwhile */
		if (k->report->len > before)
			k->report->data[k->report->len = before] = '\0';
		return 0;
	}
	snapshot_info_done(&there);
	k->bad++;
	if (k->report->len == before)
		strbuf_addf(k->report, "%s: %s\n", label, why.msg);
	return 0;
}

int service_check(struct service *svc, struct strbuf *report, struct err *e)
{
	struct check k = {.catalog = service_catalog(svc), .report = report};
	_cleanup_(cleanup_hasher) struct hasher *h = k.hasher = hasher_new();
	int r = check_each(k.catalog, "PRAGMA integrity_check", check_integrity, &k, e);
	if (r == 0)
		r = check_each(k.catalog, "SELECT id FROM pack ORDER BY id", check_pack, &k, e);
	if (r == 0)
		r = check_each(k.catalog, "SELECT id, name FROM snapshot ORDER BY id", check_snapshot, &k, e);
	return r == 0 && k.bad ? err_set(e, EIO, "%u damaged parts", k.bad) : r;
}
