/*
 * drivers/postgres/mark.c - reading what changed: marks of tables, and the rows that may be newer than one.
 *
 * A mark holds the oldest transaction that ran when its snapshot was taken. A row version whose xmin precedes that was
 * written by a transaction that had ended: the snapshot saw it, and a row version never changes. (Subtransactions are
 * not in the snapshot's list, but their ids follow their parent's, which runs.) What a freeze leaves of xmin is the
 * same xmin (9.4 and newer), so an old row can at worst look new. All else a mark holds serves to notice that the
 * table, the meaning of its bytes or the history of the server's transactions is another one now: then it says so and
 * no more.
 *
 * Owns struct pg_conn's `marks`: what the server said in this transaction, and what was counted. No locks.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>
#include <inttypes.h>

/* Another one when the text of a value can differ from what earlier versions of this driver read. */
#define PG_MARK_FORM "pg1"
#define PG_BATCH_BYTES (512 << 10) /* heaps up to this size are counted together, in one statement */
#define PG_LIST_BYTES (256L << 20) /* up to this size the server remembers where the newer rows are */
#define PG_LIST_MAX "65536"        /* more of them than this are looked for again */

/* Types whose text is made of the value's bytes and the session's settings alone, by their fixed oids. Not here: what
 * names other objects (regclass, aclitem), depends on the server's settings (money) or can be redefined (enums,
 * domains, composite types, everything of extensions). */
static const char pg_plain_types[] =
    "{16,17,18,19,20,21,23,25,26,114,600,601,602,603,604,628,650,700,701,718,774,829,869,1042,1043,1082,1083,1114,1184,"
    "1186,1266,1560,1562,1700,2950,3614,3615,3802,3904,3906,3908,3910,3912,3926}";

struct pg_marked {
	char *name;
	char *identity; /* the mark's words before its transaction ids */
	int64_t bytes;
	bool counted; /* the following is known, of the rows newer than `since` */
	uint32_t since;
	uint64_t n_old, n_new;
	char *tids; /* where the new rows are, as an array; NULL: there are too many */
};

/* ---- what the server says ---- */

void pg_marks_done(struct pg_conn *c)
{
	struct pg_marks *m = &c->marks;
	for (size_t i = 0; i < m->n_tables; i++) {
		free(m->tables[i].name);
		free(m->tables[i].identity);
		free(m->tables[i].tids);
	}
	free(m->tables);
	free(m->why);
	*m = (struct pg_marks){0};
}

static uint64_t pg_number(const PGresult *res, int row, int col)
{
	return strtoull(PQgetvalue(res, row, col), NULL, 10);
}

/* The server as a whole: *ret = words that must be the same for any mark to hold. */
static int pg_ask_server(struct pg_conn *c, char **ret, struct err *e)
{
	/* pg_walfile_name knows the timeline from a promotion on, pg_control_checkpoint only from the next checkpoint
	 * on.
	 *
	 * What gives out transaction ids a second time: a directory put back, copied or changed by pg_resetwal, where
	 * identifier, timeline and positions in the log may all have caught up since (but the server was started after
	 * that); and the crash of one backend, from which the server recovers without ending and without the commits
	 * that synchronous_commit = off had not yet written (but the statistics are thrown away with that). */
	static const char sql[] =
	    "SAVEPOINT metasnap_mark; SELECT s.system_identifier, pg_catalog.pg_is_in_recovery(), CASE WHEN NOT"
	    " pg_catalog.pg_is_in_recovery() THEN"
	    " pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END,"
	    " (EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8,"
	    " (EXTRACT(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::pg_catalog.int8,"
	    " (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),"
	    " pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()),"
	    " pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()),"
	    " CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN"
	    "  pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') END"
	    " FROM pg_catalog.pg_control_system() s";
	_cleanup_result_ PGresult *res = NULL;
	struct pg_marks *m = &c->marks;
	int r = pg_query(c, &res, "", sql, 0, NULL, e);
	if (r < 0)
		return r;
	if (*PQgetvalue(res, 0, 1) != 'f')
		return err_set(e, ESTALE, "the server is a standby");
	for (int i = 0; i < PQnfields(res); i++)
		if (PQgetisnull(res, 0, i))
			return err_set(e, ESTALE, "the server does not tell enough of its history");
	const char *encoding = PQparameterStatus(c->pg, "server_encoding");
	m->xmin = pg_number(res, 0, 6);
	m->xmax = pg_number(res, 0, 7);
	m->lsn = pg_number(res, 0, 8);
	*ret = xasprintf("%s:%s:%s:%s:%d:%s:%s:%s", PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 2), PQgetvalue(res, 0, 3),
			 PQgetvalue(res, 0, 4), c->version_num, c->sql_ascii ? "SQL_ASCII" : "UTF8",
			 encoding ? encoding : "", PQgetvalue(res, 0, 5));
	return 0;
}

static int pg_ask_tables(struct pg_conn *c, const char *server, struct err *e)
{
	/* Adding a column with a default, dropping one or changing its type may leave the rows as they are. In unlogged
	 * tables a crash of the server takes rows back. Heap is the access method of oid 2. */
	static const char sql[] =
	    "SELECT c.relname, c.oid, c.relfilenode, pg_catalog.pg_relation_size(c.oid),"
	    " pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.string_agg(pg_catalog.concat_ws(' ',"
	    " a.attnum, pg_catalog.quote_ident(a.attname), a.atttypid, a.atttypmod, a.attcollation, a.attgenerated,"
	    " a.attisdropped, pg_catalog.quote_nullable(a.attmissingval::pg_catalog.text)), ',' ORDER BY a.attnum),"
	    " pg_catalog.getdatabaseencoding())), 'hex')"
	    " FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid"
	    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
	    " LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
	    " WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.relam = 2"
	    " GROUP BY c.oid, c.relname, c.relfilenode"
	    " HAVING pg_catalog.bool_and(a.attisdropped OR a.attgenerated IN ('', 's')"
	    "  AND CASE WHEN t.typcategory = 'A' AND t.oid < 16384 THEN t.typelem ELSE t.oid END"
	    "   = ANY ($2::pg_catalog.oid[]))";
	_cleanup_result_ PGresult *res = NULL;
	struct pg_marks *m = &c->marks;
	const char *params[] = {c->schema, pg_plain_types};
	int r = pg_query(c, &res, "", sql, 2, params, e);
	if (r < 0)
		return r;
	m->tables = xcalloc((size_t)PQntuples(res) + 1, sizeof *m->tables);
	for (int i = 0; i < PQntuples(res); i++) {
		if (!pg_listing_has(&c->listing, PQgetvalue(res, i, 0)))
			continue; /* no lock of ours keeps it from being dropped while we count */
		m->tables[m->n_tables++] = (struct pg_marked){
		    .name = xstrdup(PQgetvalue(res, i, 0)),
		    .identity = xasprintf(PG_MARK_FORM ":%s:%s:%s:%s", server, PQgetvalue(res, i, 1),
					  PQgetvalue(res, i, 2), PQgetvalue(res, i, 4)),
		    .bytes = strtoll(PQgetvalue(res, i, 3), NULL, 10),
		};
	}
	return 0;
}

/* Once in a transaction. What the server does not let us see is no failure: marks->why then says why there are none. */
static int pg_marks_read(struct pg_conn *c, struct err *e)
{
	struct pg_marks *m = &c->marks;
	struct err words = ERR_INIT;
	_cleanup_free_ char *server = NULL;
	if (m->known)
		return 0;
	int r = pg_ask_server(c, &server, &words);
	r = r < 0 ? r : pg_ask_tables(c, server, &words);
	if (r < 0 && (c->broken || pg_is_cancelled(c))) {
		*e = words;
		return r;
	}
	if (r < 0) {
		pg_marks_done(c);
		m->why = xstrdup(words.msg);
	}
	m->known = true;
	return pg_query(c, NULL, "cannot ask for row versions",
			r < 0 ? "ROLLBACK TO metasnap_mark; RELEASE metasnap_mark" : "RELEASE metasnap_mark", 0, NULL,
			e);
}

static struct pg_marked *pg_marks_find(struct pg_conn *c, const char *table)
{
	for (size_t i = 0; i < c->marks.n_tables; i++)
		if (!strcmp(c->marks.tables[i].name, table))
			return &c->marks.tables[i];
	return NULL;
}

/* ---- making marks ---- */

int pg_mark(struct db_conn *conn, const struct db_table *t, struct strbuf *out, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct pg_marks *m = &c->marks;
	int r = pg_check_ready(c, t->name, e);
	if (r < 0)
		return r;
	r = pg_marks_read(c, e);
	if (r < 0)
		return r;
	const struct pg_marked *table = pg_marks_find(c, t->name);
	if (m->why || !table)
		return 0;
	/* Ids below 3 are none of a transaction and compare otherwise (the server gives none out): go before them. */
	uint64_t since = (uint32_t)m->xmin < 3 ? m->xmin - (uint32_t)m->xmin - 1 : m->xmin;
	strbuf_addf(out, "%s:%" PRIu64 ":%" PRIu64 ":%" PRIu64, table->identity, since, m->xmax, m->lsn);
	return 0;
}

/* ---- holding marks against what is there ---- */

/* Sets *ret_since to the mark's transaction id if the mark holds. */
static int pg_mark_check(struct pg_conn *c, const struct pg_marked *table, const char *mark, uint32_t *ret_since,
			 struct err *e)
{
	/* in the order of the identity's words */
	static const char *const words[] = {
	    "the form of marks",
	    "the server",
	    "the server's timeline",
	    "the server's start",
	    "the server's statistics",
	    "the server's version",
	    "our encoding",
	    "the server's encoding",
	    "the database",
	    "the table",
	    "the table's file",
	    "the table's definition",
	};
	const struct pg_marks *m = &c->marks;
	const char *now = table->identity;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		size_t n = strcspn(mark, ":"), k = strcspn(now, ":");
		if (n != k || memcmp(mark, now, n) || mark[n] != ':')
			return err_set(e, ESTALE, "%s is another one than before", words[i]);
		mark += n + 1;
		now += k + (now[k] == ':');
	}
	uint64_t since, xmax, lsn;
	char end;
	if (sscanf(mark, "%" SCNu64 ":%" SCNu64 ":%" SCNu64 "%c", &since, &xmax, &lsn, &end) != 3 || since > xmax)
		return err_set(e, ESTALE, "the mark is damaged");
	if (m->xmin < since || m->xmax < xmax || m->lsn < lsn)
		return err_set(e, ESTALE, "the server has gone back in its history");
	if (m->xmax - since >= (uint64_t)1 << 31)
		return err_set(e, ESTALE, "too many transactions since");
	*ret_since = (uint32_t)since;
	return 0;
}

static void pg_add_age(struct strbuf *sql, uint32_t since)
{
	/* A subquery, so that it is computed once. age() is modular and, within a transaction, counts from one id that
	 * is not older than the snapshot. */
	strbuf_addf(sql, "(SELECT pg_catalog.age('%" PRIu32 "'::pg_catalog.xid))", since);
}

static void pg_add_count(struct strbuf *sql, struct pg_conn *c, size_t i, uint32_t since)
{
	const struct pg_marked *t = &c->marks.tables[i];
	bool list = t->bytes <= PG_LIST_BYTES;
	strbuf_addf(sql, "%sSELECT %zu, ", sql->len ? " UNION ALL " : "", i);
	pg_add_age(sql, since);
	/* The server computes equal aggregates once. */
	strbuf_adds(sql, list ? ", x.n, COALESCE(pg_catalog.cardinality(x.tids), 0),"
				" CASE WHEN pg_catalog.cardinality(x.tids) <= " PG_LIST_MAX " THEN x.tids END"
			      : ", x.n, x.newer, NULL::pg_catalog.tid[]");
	strbuf_adds(sql, " FROM (SELECT pg_catalog.count(*) AS n, ");
	strbuf_adds(sql, list ? "pg_catalog.array_agg(t.ctid)" : "pg_catalog.count(*)");
	strbuf_adds(sql, " FILTER (WHERE pg_catalog.age(t.xmin) <= ");
	pg_add_age(sql, since);
	strbuf_addf(sql, ") AS %s FROM ONLY ", list ? "tids" : "newer");
	pg_add_relation(sql, c, t->name);
	strbuf_adds(sql, " AS t) AS x");
}

/* Counts the rows of `table` on both sides of `since`; small tables all at once, as their marks are mostly of the same
 * snapshot. */
static int pg_count_newer(struct pg_conn *c, struct pg_marked *table, uint32_t since, struct err *e)
{
	struct pg_marks *m = &c->marks;
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_result_ PGresult *res = NULL;
	if (table->counted && table->since == since)
		return 0;
	bool batch = table->bytes <= PG_BATCH_BYTES && !table->counted;
	for (size_t i = 0; i < m->n_tables; i++) {
		const struct pg_marked *t = &m->tables[i];
		if (t == table || (batch && !t->counted && t->bytes <= PG_BATCH_BYTES))
			pg_add_count(&sql, c, i, since);
	}
	int r = pg_query(c, &res, table->name, strbuf_str(&sql), 0, NULL, e);
	if (r < 0)
		return r;
	for (int row = 0; row < PQntuples(res); row++) {
		struct pg_marked *t = &m->tables[pg_number(res, row, 0)];
		if (atoi(PQgetvalue(res, row, 1)) < 0)
			return err_set(e, ESTALE, "too many transactions since");
		t->counted = true;
		t->since = since;
		t->n_new = pg_number(res, row, 3);
		t->n_old = pg_number(res, row, 2) - t->n_new;
		free(t->tids);
		t->tids = xstrdup(pg_cell(res, row, 4));
	}
	return 0;
}

int pg_scan_changed(struct db_conn *conn, const struct db_table *t, const char *mark, uint64_t *ret_unchanged,
		    struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	uint32_t since = 0;
	*ret_unchanged = 0;
	int r = pg_check_ready(c, t->name, e);
	if (r < 0)
		return r;
	r = pg_marks_read(c, e);
	if (r < 0)
		return r;
	if (c->marks.why)
		return err_set(e, ESTALE, "%s", c->marks.why);
	struct pg_marked *table = pg_marks_find(c, t->name);
	if (!table)
		return err_set(e, ESTALE, "a table of its kind, or with columns of its types, is read as a whole");
	r = pg_mark_check(c, table, mark, &since, e);
	if (r < 0)
		return r;
	r = pg_count_newer(c, table, since, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf where = {0};
	if (table->tids) {
		strbuf_adds(&where, "t.ctid = ANY (");
		pg_add_literal(&where, table->tids);
		strbuf_adds(&where, "::pg_catalog.tid[])");
	} else {
		strbuf_adds(&where, "pg_catalog.age(t.xmin) <= ");
		pg_add_age(&where, since);
	}
	*ret_unchanged = table->n_old;
	return pg_scan_some(c, t, strbuf_str(&where), table->tids != NULL, table->n_new, e);
}
