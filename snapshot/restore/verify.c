/*
 * snapshot/restore/verify.c - what was applied is read back and compared with the target's digests before COMMIT.
 *
 * Runs on the thread that uses the connection: the job's, or one of a rebuild's (aside.c). No locks.
 */
#include <errno.h>
#include <inttypes.h>

#include "snapshot/restore/internal.h"

int verify_scan_table(struct restore *rs, struct db_conn *conn, const struct db_table *t, const struct row_codec *codec,
		      struct digest *ret, struct err *e)
{
	struct err why = ERR_INIT;
	int r;
	do {
		why = ERR_INIT;
		r = db_driver_of(conn)->scan_open(conn, t, DB_SCAN_UNORDERED, &why);
		if (r == 0)
			r = verify_scan(rs, conn, codec, ret, &why);
	} while (r == -ERESTART);
	if (r < 0)
		*e = why;
	return r;
}

int verify_scan(struct restore *rs, struct db_conn *conn, const struct row_codec *codec, struct digest *ret,
		struct err *e)
{
	const struct db_driver *d = db_driver_of(conn);
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	_cleanup_strbuf_ struct strbuf line = {0};
	const struct db_value *values;
	int r;
	*ret = (struct digest){0};
	while ((r = d->scan_next(conn, &values, e)) == 1) {
		strbuf_clear(&line);
		r = row_encode(codec, values, &line, e);
		if (r == 0 && atomic_load_explicit(&rs->job->cancelled, memory_order_relaxed))
			r = err_set(e, EINTR, "cancelled");
		if (r < 0)
			break;
		uint8_t sha[ROW_SHA_LEN];
		hasher_sha256(h, line.data, line.len, sha);
		digest_add(ret, sha);
	}
	int q = d->scan_close(conn, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

/* Reads the whole table back. */
static int verify_whole(struct restore *rs, struct db_conn *conn, const struct db_table *t,
			const struct row_codec *codec, const struct version_info *target, struct err *e)
{
	struct digest digest;
	int r = verify_scan_table(rs, conn, t, codec, &digest, e);
	if (r < 0)
		return r;
	if (!digest_equal(&digest, &target->digest))
		return err_set(e, EIO,
			       "table %s: after the restore it holds %" PRIu64
			       " rows that differ from the snapshot's %" PRIu64 "; rolled back",
			       t->name, digest.count, target->rows);
	return 0;
}

/*
 * Proves the table without reading what was not written. `was` is what it held when it was locked. The rows that were
 * not written are some of those; as many as `was` less the deleted ones are left; and the deleted ones, of unique keys
 * that the driver compared, are not among them: so it is all others, unchanged. With the written ones, which are read
 * back, they must add up to the target. 1: proven; 0: not, which only reading all of it can decide.
 */
static int verify_written(struct restore *rs, const struct db_table *t, const struct row_codec *codec,
			  const struct change *change, const struct version_info *was,
			  const struct version_info *target, struct err *e)
{
	struct digest written, sum = was->digest;
	uint64_t others = 0;
	digest_merge(&sum, &change->deleted, true);
	uint64_t kept = sum.count;
	digest_merge(&sum, &change->loaded, false);
	if (!digest_equal(&sum, &target->digest))
		return 0;
	int r = db_driver_of(rs->conn)->scan_written(rs->conn, t, &others, e);
	if (r < 0)
		return r;
	r = verify_scan(rs, rs->conn, codec, &written, e);
	return r < 0 ? r : others == kept && digest_equal(&written, &change->loaded);
}

int restore_verify_table(struct restore *rs, struct db_conn *conn, const struct db_table *t,
			 const struct change *change, const struct version_info *was, const struct version_info *target,
			 struct err *e)
{
	const struct row_codec *codec;
	int r = catalog_codec(rs->catalog, target->codec_id, &codec, e);
	if (r < 0)
		return r;
	job_ctl_say(rs->job, "verify: %s", t->name);
	bool by_written = change && !change->whole && was && db_driver_of(conn)->scan_written;
	r = by_written ? verify_written(rs, t, codec, change, was, target, e) : 0;
	if (r != 0)
		return r < 0 ? r : 0;
	return verify_whole(rs, conn, t, codec, target, e);
}
