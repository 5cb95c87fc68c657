/*
 * snapshot/restore/upsert_row.c - see upsert_row.h. Runs on the job's thread with its one connection.
 */
#include "snapshot/restore/upsert_row.h"

#include <errno.h>

#include "snapshot/restore/internal.h"
#include "snapshot/restore/policy.h"
#include "snapshot/restore/safety.h"

/* One row and the table that it goes into, as the safety snapshot has that. */
struct upsert {
	struct restore *rs;
	struct version_info version;
	struct apply apply;
	struct change change;
	struct strbuf line;    /* of the row that goes in, canonical */
	struct stored_row old; /* under the same name, if it exists */
	bool exists;
	struct digest want; /* what the table must then hold */
};

static void upsert_done(struct upsert *u)
{
	stored_row_done(&u->old);
	apply_done(&u->apply);
	strbuf_done(&u->line);
	version_info_done(&u->version);
}

/* The table; its rows can be put back one by one. */
static int upsert_open(struct upsert *u, const char *table, struct err *e)
{
	struct restore *rs = u->rs;
	const struct row_codec *codec;
	int r = catalog_table(rs->catalog, rs->safety_id, table, &u->version, e);
	if (r < 0)
		return r;
	r = catalog_codec(rs->catalog, u->version.codec_id, &codec, e);
	if (r < 0)
		return r;
	r = apply_init(&u->apply, rs, rs->conn, row_codec_table(codec), u->version.codec_id, NULL, &u->change, e);
	if (r < 0)
		return r;
	if (u->apply.table->key_kind != DB_KEY_UNIQUE)
		return err_set(e, ENOTSUP,
			       "table %s has no unique key: its rows cannot be put back one by one (restore the table)",
			       table);
	return 0;
}

/* The row of a file's text: whatever spelling was written, the row that goes in is the canonical one. */
static int upsert_parse(struct upsert *u, const char *file_name, const char *text, size_t len, struct err *e)
{
	const struct row_codec *codec = u->apply.codec;
	_cleanup_strbuf_ struct strbuf given = {0}, key = {0}, name = {0};
	int r = row_compact(text, len, &given, e);
	if (r < 0)
		return r;
	r = row_decode(codec, given.data, given.len, &u->apply.values, e);
	if (r < 0)
		return r;
	_cleanup_free_ struct db_value *values = xcalloc(row_codec_scan_values(codec), sizeof *values);
	row_values_encodable(codec, &u->apply.values, values);
	r = row_encode(codec, values, &u->line, e);
	if (r < 0)
		return r;
	r = row_key(codec, u->line.data, u->line.len, NULL, 0, &key, e);
	if (r < 0)
		return r;
	row_name(codec, key.data, key.len, &name);
	if (strcmp(strbuf_str(&name), file_name))
		return err_set(e, EINVAL, "%s holds the row of %s", file_name, strbuf_str(&name));
	return 0;
}

/* What is there under its name, and what the table will hold. */
static void upsert_look(struct upsert *u, const char *file_name)
{
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	uint8_t sha[ROW_SHA_LEN];
	u->want = u->version.digest;
	u->exists = catalog_row_by_name(u->rs->catalog, u->version.id, file_name, &u->old, ERR_DROP) == 0;
	if (u->exists) {
		hasher_sha256(h, u->old.line, u->old.line_len, sha);
		digest_sub(&u->want, sha);
	}
	hasher_sha256(h, u->line.data, u->line.len, sha);
	digest_add(&u->want, sha);
}

static int upsert_load(struct upsert *u, struct err *e)
{
	struct apply *a = &u->apply;
	int r = a->driver->load_begin(a->conn, a->table, e);
	if (r < 0)
		return r;
	struct stream_row row = {.line = u->line.data, .line_len = u->line.len};
	r = apply_load(a, &row, e);
	int q = a->driver->load_end(a->conn, r == 0, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

/* The old row goes, the new one comes. */
static int upsert_write(struct upsert *u, const struct db_schema *live, struct err *e)
{
	struct apply *a = &u->apply;
	struct db_schema part = *live;
	struct db_table only = *a->table;
	part.tables = &only;
	part.n_tables = 1;
	int r = a->driver->change_begin(a->conn, &part, e);
	if (r < 0)
		return r;
	if (u->exists) {
		struct stream_row row = {.line = u->old.line, .line_len = u->old.line_len};
		r = apply_delete(a, &row, e);
		if (r < 0)
			return r;
	}
	r = apply_flush_keys(a, e);
	if (r < 0)
		return r;
	r = upsert_load(u, e);
	if (r == 0)
		r = a->driver->change_end(a->conn, NULL, NULL, e);
	if (r < 0 || !a->driver->refresh)
		return r;
	_cleanup_strbuf_ struct strbuf warnings = {0};
	r = a->driver->refresh(a->conn, &warnings, e);
	if (u->rs->report)
		strbuf_add(u->rs->report, strbuf_str(&warnings), warnings.len);
	return r;
}

static int upsert_in(struct restore *rs, struct db_schema *live, const char *table, const char *file_name,
		     const char *text, size_t len, struct err *e)
{
	int r = restore_take_safety(rs, live, NULL, e);
	if (r < 0)
		return r;
	_cleanup_(upsert_done) struct upsert u = {.rs = rs};
	r = upsert_open(&u, table, e);
	if (r < 0)
		return r;
	r = upsert_parse(&u, file_name, text, len, e);
	if (r < 0)
		return r;
	upsert_look(&u, file_name);
	r = journal_state(rs->catalog, rs->journal_id, JOURNAL_BEGUN, NULL, rs->safety_id, 0, false, e);
	if (r < 0)
		return r;
	rs->begun = true;
	r = upsert_write(&u, live, e);
	const struct db_driver *d = db_driver_of(rs->conn);
	if (r >= 0 && d->advance_sequences)
		r = d->advance_sequences(rs->conn, u.apply.table, NULL, e);
	if (r < 0)
		return r;
	struct version_info after = u.version;
	after.digest = u.want;
	after.rows = u.want.count;
	r = restore_verify_table(rs, rs->conn, u.apply.table, &u.change, &u.version, &after, e);
	return r < 0 ? r : restore_commit(rs, e);
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
	r = db_schema_find(live, table) ? upsert_in(rs, live, table, file_name, text, len, e)
					: err_set(e, ENOENT, "no table %s in the database", table);
	if (r < 0)
		d->rollback(rs->conn);
	return r;
}
