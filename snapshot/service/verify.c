/*
 * snapshot/service/verify.c - snapshots against their digests, the whole catalog, a live database against a snapshot.
 *
 * Any thread; nothing is written, but that a snapshot was verified, and that a damaged index of entities is dropped.
 */
#include "snapshot/service/verify.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/openmetadata/names.h"
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

static int verify_schema(struct catalog *c, int64_t snapshot_id, struct hasher *h, bool *ret_bad, struct err *e)
{
	_cleanup_strbuf_ struct strbuf schema = {0};
	_cleanup_(manifest_done) struct manifest m = {0};
	uint8_t sha[ROW_SHA_LEN];
	int r = store_manifest(c, snapshot_id, &m, e);
	if (r < 0)
		return r;
	r = catalog_schema_sql(c, snapshot_id, &schema, e);
	if (r < 0)
		return r;
	hasher_sha256(h, strbuf_str(&schema), schema.len, sha);
	*ret_bad = memcmp(sha, m.schema_sha256, sizeof sha) != 0;
	return 0;
}

static int verify_snapshot(struct catalog *c, int64_t snapshot_id, const char *label, struct strbuf *report,
			   struct err *e)
{
	_cleanup_(version_list_done) struct version_list tables = {0};
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	const char *colon = *label ? ": " : "";
	int bad = 0;
	int r = catalog_tables(c, snapshot_id, &tables, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < tables.n; i++) {
		struct err why = ERR_INIT;
		if (verify_version(c, &tables.v[i], h, &why) < 0) {
			bad++;
			strbuf_addf(report, "%s%stable %s: %s\n", label, colon, tables.v[i].name, why.msg);
		}
	}
	bad += verify_names(c, snapshot_id, label, h, report);
	bool bad_schema = false;
	r = verify_schema(c, snapshot_id, h, &bad_schema, e);
	if (r < 0)
		return r;
	if (bad_schema) {
		bad++;
		strbuf_addf(report, "%s%sschema.sql: does not match its digest\n", label, colon);
	}
	return bad ? err_set(e, EIO, "%d of its parts are damaged", bad) : 0;
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
	if (journal_add(c, s.source_id, JOURNAL_VERIFY, s.name, who.uid, who.pid, who.program, &id, ERR_DROP) == 0)
		(void)journal_state(c, id, r < 0 ? JOURNAL_FAILED : JOURNAL_DONE,
				    r < 0 ? why->msg : "every row is as it was", 0, 0, true, ERR_DROP);
	snapshot_info_done(&s);
}

int service_verify(struct service *svc, int64_t snapshot_id, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	int r = verify_snapshot(service_catalog(svc), snapshot_id, "", report, &why);
	verify_journal(service_catalog(svc), snapshot_id, r, &why);
	if (r < 0)
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
	int r = job_begin(svc, source, JOURNAL_VERIFY, "live", &who, w, &j, e);
	if (r < 0)
		return r;
	r = job_connect(j, &why);
	if (r == 0)
		r = restore_compare_live(svc->catalog, j->conn, snapshot_id, NULL, &j->ctl, ret, &why);
	if (r < 0)
		*e = why;
	job_end(j, r < 0 ? r : 0, r > 0 ? JOURNAL_DIFFERENT : JOURNAL_DONE, NULL, &why);
	return r > 0 ? 1 : r;
}

struct check {
	struct catalog *catalog;
	struct strbuf *report;
	struct hasher *hasher;
	unsigned bad;
};

static int check_integrity(void *arg, int64_t id, const char *text)
{
	struct check *k = arg;
	if (text && strcmp(text, "ok")) {
		k->bad++;
		strbuf_addf(k->report, "SQLite: %s\n", text);
	}
	return 0;
}

static int check_pack(void *arg, int64_t id, const char *words)
{
	struct check *k = arg;
	struct err why = ERR_INIT;
	int r = pack_verify(k->catalog, id, k->hasher, &why);
	/* -ENOENT: freed since it was listed; one that is missing is missed by the snapshots that need it. */
	if (r < 0 && r != -ENOENT) {
		k->bad++;
		strbuf_addf(k->report, "%s\n", why.msg);
	}
	return 0;
}

static int check_snapshot(void *arg, int64_t id, const char *name)
{
	struct check *k = arg;
	struct err why = ERR_INIT;
	_cleanup_free_ char *label = xasprintf("snapshot %s", name ? name : "(unlisted)");
	size_t before = k->report->len;
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
	_cleanup_(cleanup_hasher) struct hasher *h __attribute__((unused)) = k.hasher = hasher_new();
	int r = catalog_each(k.catalog, CATALOG_FILE, check_integrity, &k, e);
	if (r < 0)
		return r;
	r = catalog_each(k.catalog, CATALOG_PACKS, check_pack, &k, e);
	if (r < 0)
		return r;
	r = catalog_each(k.catalog, CATALOG_SNAPSHOTS, check_snapshot, &k, e);
	if (r < 0)
		return r;
	return k.bad ? err_set(e, EIO, "%u damaged parts", k.bad) : 0;
}
