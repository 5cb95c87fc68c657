/*
 * snapshot/restore/upsert_row.c - see upsert_row.h. Runs on the job's thread with its one connection.
 */
#include "snapshot/restore/upsert_row.h"

#include <errno.h>

#include "snapshot/restore/internal.h"
#include "snapshot/restore/policy.h"
#include "snapshot/restore/safety.h"

static int upsert_row_in(struct restore *rs, struct db_schema *live, const char *table, const char *file_name,
			 const char *text, size_t len, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	_cleanup_strbuf_ struct strbuf line = {0}, again = {0}, key = {0}, name = {0};
	int r = restore_take_safety(rs, live, NULL, e);
	struct version_info v = {0};
	if (r == 0)
		r = catalog_table(rs->catalog, rs->safety_id, table, &v, e);
	_cleanup_(apply_done) struct apply a = {0};
	struct change change = {0};
	const struct db_table *t = NULL;
	if (r == 0)
		r = catalog_codec(rs->catalog, v.codec_id, &a.codec, e);
	if (r == 0) {
		t = row_codec_table(a.codec);
		r = apply_init(&a, rs, rs->conn, t, v.codec_id, NULL, &change, e);
	}
	if (r == 0 && t->key_kind != DB_KEY_UNIQUE)
		r = err_set(e, ENOTSUP,
			    "table %s has no unique key: its rows cannot be put back one by one (restore the table)",
			    table);
	if (r == 0)
		r = row_compact(text, len, &line, e);
	if (r == 0)
		r = row_decode(a.codec, line.data, line.len, &a.values, e);
	/* Whatever spelling was written, the row that goes in is the canonical one. */
	if (r == 0) {
		_cleanup_free_ struct db_value *values = xcalloc(row_codec_scan_values(a.codec), sizeof *values);
		row_values_encodable(a.codec, &a.values, values);
		r = row_encode(a.codec, values, &again, e);
	}
	if (r == 0)
		r = row_key(a.codec, again.data, again.len, NULL, 0, &key, e);
	if (r == 0) {
		row_name(a.codec, key.data, key.len, &name);
		if (strcmp(strbuf_str(&name), file_name))
			r = err_set(e, EINVAL, "%s holds the row of %s", file_name, strbuf_str(&name));
	}
	struct stored_row old = {0};
	struct digest want = v.digest;
	bool exists = r == 0 && catalog_row_by_name(rs->catalog, v.id, file_name, &old, ERR_DROP) == 0;
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	uint8_t sha[ROW_SHA_LEN];
	if (exists) {
		hasher_sha256(h, old.line, old.line_len, sha);
		digest_sub(&want, sha);
	}
	if (r == 0) {
		hasher_sha256(h, again.data, again.len, sha);
		digest_add(&want, sha);
		r = journal_state(rs->catalog, rs->journal_id, "begun", NULL, rs->safety_id, 0, false, e);
	}
	if (r == 0) {
		rs->begun = true;
		struct db_schema part = *live;
		struct db_table only = *t;
		part.tables = &only;
		part.n_tables = 1;
		r = d->change_begin(rs->conn, &part, e);
	}
	struct stream_row sr = {.line = old.line, .line_len = old.line_len};
	if (r == 0 && exists)
		r = apply_delete(&a, &sr, e);
	if (r == 0)
		r = apply_flush_keys(&a, e);
	if (r == 0)
		r = d->load_begin(rs->conn, t, e);
	if (r == 0) {
		sr = (struct stream_row){.line = again.data, .line_len = again.len};
		r = apply_load(&a, &sr, e);
		int q = d->load_end(rs->conn, r == 0, r == 0 ? e : ERR_DROP);
		r = r < 0 ? r : q;
	}
	if (r == 0)
		r = d->change_end(rs->conn, NULL, e);
	struct version_info after = v;
	after.digest = want;
	after.rows = want.count;
	if (r == 0)
		r = restore_verify_table(rs, rs->conn, t, &change, &v, &after, e);
	stored_row_done(&old);
	version_info_done(&v);
	return r == 0 ? restore_commit(rs, e) : r;
}

int restore_upsert_row(struct restore *rs, const char *table, const char *file_name, const char *text, size_t len,
		       struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	int r = restore_may(rs->policy, RESTORE_ACT_ROW, false, e);
	if (r < 0)
		return r;
	_cleanup_(cleanup_db_schema) struct db_schema *live = NULL;
	r = d->begin(rs->conn, DB_WRITE, &live, e);
	if (r < 0)
		return r;
	r = db_schema_find(live, table) ? upsert_row_in(rs, live, table, file_name, text, len, e)
					: err_set(e, ENOENT, "no table %s in the database", table);
	if (r < 0)
		d->rollback(rs->conn);
	return r;
}
