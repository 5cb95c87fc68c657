/*
 * drivers/postgres/scan.c - rows out, by COPY in text format, byte for byte.
 *
 * Owns struct pg_conn's `scan`; no locks. A scan runs under a savepoint, because ending one early means
 * cancelling the statement, and the caller goes on in the same transaction.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

#define PG_WORTH_ASKING 20000 /* rows: a smaller table is in the cache, or soon is */
/* Rows that this transaction wrote, and perhaps very old ones. Its subtransactions have later numbers, which age()
 * gives as negative; nobody else has written to the table since it was locked, before we had a number. A frozen row
 * keeps the number that once wrote it, which after two billion others looks like a later one. */
#define PG_WRITTEN "pg_catalog.age(t.xmin) <= 0"

/* where: NULL, or a condition on table t. tids: it is on ctid. */
static void pg_add_scan_statement(struct strbuf *sql, struct pg_conn *c, const struct db_table *t, enum db_scan how,
				  const char *where, bool tids)
{
	_cleanup_strbuf_ struct strbuf columns = {0};
	size_t n = 0;
	bool computed = false, ordered = how != DB_SCAN_UNORDERED && t->n_key;
	c->scan.values = xcalloc(t->n_columns + t->n_key, sizeof *c->scan.values);
	c->scan.binary = xcalloc(t->n_columns + t->n_key, sizeof *c->scan.binary);
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated || how == DB_SCAN_KEYS)
			continue;
		strbuf_adds(&columns, n ? ", " : "");
		pg_add_ident(&columns, t->columns[i].name);
		c->scan.binary[n++] = t->columns[i].form == DB_FORM_BINARY;
	}
	for (size_t k = 0; k < t->n_key; k++) {
		const struct db_column *column = &t->columns[t->key[k]];
		if (!column->generated && how != DB_SCAN_KEYS)
			continue;
		strbuf_adds(&columns, n ? ", " : "");
		pg_add_ident(&columns, column->name);
		c->scan.binary[n++] = column->form == DB_FORM_BINARY;
		computed = true;
	}
	c->scan.n_values = n;

	strbuf_adds(sql, "SAVEPOINT metasnap_scan; ");
	if (n && !ordered && !computed && !where) {
		/* COPY of a table reads that table only, not its children, and is a little faster than that of a query. */
		strbuf_adds(sql, "COPY ");
		pg_add_relation(sql, c, t->name);
		strbuf_addf(sql, " (%s) TO STDOUT", strbuf_str(&columns));
		return;
	}
	if (tids)
		/* To look each row up is not what the planner would choose for thousands of them. */
		strbuf_adds(sql, "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off;"
				 " SET LOCAL enable_bitmapscan = off; ");
	else if (c->scan.sorts)
		strbuf_adds(sql, "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;"
				 " SET LOCAL max_parallel_workers_per_gather = 0; ");
	else if (ordered && !where)
		/* The key has an index: walking it needs no temporary files on the server. */
		strbuf_adds(sql, "SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; ");
	strbuf_addf(sql, "COPY (SELECT %s FROM ONLY ", strbuf_str(&columns));
	pg_add_relation(sql, c, t->name);
	strbuf_adds(sql, " AS t");
	if (where)
		strbuf_addf(sql, " WHERE %s", where);
	for (size_t k = 0; ordered && k < t->n_key; k++) {
		strbuf_adds(sql, k ? ", t." : " ORDER BY t.");
		pg_add_ident(sql, t->columns[t->key[k]].name);
	}
	strbuf_adds(sql, ") TO STDOUT");
}

void pg_scan_done(struct pg_conn *c)
{
	PQfreemem(c->scan.line);
	free(c->scan.table);
	free(c->scan.values);
	free(c->scan.binary);
	c->scan = (struct pg_scan){0};
}

static int pg_start_scan(struct pg_conn *c, const struct db_table *t, const char *sql, uint64_t n_rows, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, t->name, sql, 0, NULL, e);
	if (!r && PQresultStatus(res) != PGRES_COPY_OUT)
		r = err_set(e, EIO, "%s: the server does not answer COPY with rows", t->name);
	if (r < 0) {
		pg_scan_done(c);
		return r;
	}
	c->scan.table = xstrdup(t->name);
	c->scan.open = c->scan.saved = true;
	c->scan.left = n_rows;
	return 0;
}

/* Rows lie in no order of a random key: walking the index of a table that the server's cache does not hold reads a page
 * for each row. Sorting 341 MB with 128 MiB of shared_buffers took 60 % of the time, all of it in the system's cache;
 * from a disk there is no comparison. */
static int pg_scan_should_sort(struct pg_conn *c, const struct db_table *t, bool *sort, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {c->schema, t->name};
	*sort = false;
	if (t->estimated_rows >= 0 && t->estimated_rows < PG_WORTH_ASKING)
		return 0;
	int r = pg_query(c, &res, t->name,
			 "SELECT pg_catalog.pg_relation_size(c.oid) >"
			 " pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers'))"
			 " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
			 " WHERE n.nspname = $1 AND c.relname = $2",
			 2, params, e);
	if (r < 0)
		return r;
	*sort = PQntuples(res) == 1 && *PQgetvalue(res, 0, 0) == 't';
	return 0;
}

int pg_scan_open(struct db_conn *conn, const struct db_table *t, enum db_scan how, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = pg_check_ready(c, t->name, e);
	if (r < 0)
		return r;
	if (how == DB_SCAN_KEYS && !t->n_key)
		return err_set(e, EOPNOTSUPP, "%s: the table has no key", t->name);
	if (how == DB_SCAN_ORDERED && t->n_key) {
		r = pg_scan_should_sort(c, t, &c->scan.sorts, e);
		if (r < 0)
			return r;
	}
	pg_add_scan_statement(&sql, c, t, how, NULL, false);
	return pg_start_scan(c, t, strbuf_str(&sql), UINT64_MAX, e);
}

int pg_scan_some(struct pg_conn *c, const struct db_table *t, const char *where, bool tids, uint64_t n_rows,
		 struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	if (!n_rows) {
		c->scan.table = xstrdup(t->name);
		c->scan.open = c->scan.at_end = true;
		return 0;
	}
	pg_add_scan_statement(&sql, c, t, DB_SCAN_ORDERED, where, tids);
	return pg_start_scan(c, t, strbuf_str(&sql), n_rows, e);
}

int pg_scan_written(struct db_conn *conn, const struct db_table *t, uint64_t *ret_others, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_check_ready(c, t->name, e);
	if (r < 0)
		return r;
	strbuf_adds(&sql, "SELECT pg_catalog.count(*) FROM ONLY ");
	pg_add_relation(&sql, c, t->name);
	strbuf_adds(&sql, " AS t WHERE NOT " PG_WRITTEN);
	r = pg_query(c, &res, t->name, strbuf_str(&sql), 0, NULL, e);
	if (r < 0)
		return r;
	*ret_others = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	strbuf_clear(&sql);
	pg_add_scan_statement(&sql, c, t, DB_SCAN_UNORDERED, PG_WRITTEN, false);
	return pg_start_scan(c, t, strbuf_str(&sql), UINT64_MAX, e);
}

static int pg_next_row(struct db_conn *conn, const struct db_value **ret, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	*ret = NULL;
	if (!c->scan.open)
		return err_set(e, EINVAL, "no scan is open");
	if (c->scan.at_end)
		return 0;
	for (;;) {
		PQfreemem(TAKE_PTR(c->scan.line));
		/* Looked at for each row: while rows keep coming there is no wait to be woken from. */
		if (pg_is_cancelled(c))
			return err_set(e, EINTR, "%s: cancelled", c->scan.table);
		int n = PQgetCopyData(c->pg, &c->scan.line, 1);
		if (n > 0) {
			int r = pg_read_copy_row(c->scan.line, (size_t)n, c->scan.values, c->scan.binary,
						 c->scan.n_values, e);
			if (r < 0)
				return err_prefix(e, "%s", c->scan.table);
			*ret = c->scan.values;
			if (c->scan.left != UINT64_MAX && !c->scan.left--)
				return err_set(e, EIO, "%s: more rows than were counted", c->scan.table);
			return 1;
		}
		if (n == -1) {
			/* The end of the rows is not yet success: that is what the command's result says. */
			int r = pg_drain(c, NULL, c->scan.table, e);
			if (r < 0)
				return r;
			if (c->scan.left && c->scan.left != UINT64_MAX)
				return err_set(e, EIO, "%s: fewer rows than were counted", c->scan.table);
			c->scan.at_end = true;
			return 0;
		}
		if (n == -2)
			return pg_fail(c, NULL, c->scan.table, e);
		int r = pg_wait(c, false, c->scan.table, e);
		if (r < 0)
			return r;
		if (!PQconsumeInput(c->pg))
			return pg_fail(c, NULL, c->scan.table, e);
	}
}

/* Ends a COPY that is under way, whose rows nobody wants. */
static void pg_stop_copy_out(struct pg_conn *c)
{
	bool shielded = c->shielded;
	c->shielded = true;
	pg_cancel_statement(c);
	for (;;) {
		char *line = NULL;
		int n = PQgetCopyData(c->pg, &line, 1);
		PQfreemem(line);
		if (n < 0)
			break;
		if (n == 0 && (pg_wait(c, false, "", ERR_DROP) < 0 || !PQconsumeInput(c->pg)))
			break;
	}
	if (!c->broken)
		(void)pg_drain(c, NULL, "", ERR_DROP);
	c->deadline_ms = 0;
	c->shielded = shielded;
}

void pg_release_scan(struct pg_conn *c)
{
	if (!c->scan.open)
		return;
	if (PQtransactionStatus(c->pg) == PQTRANS_ACTIVE && !c->broken)
		pg_stop_copy_out(c);
	pg_scan_done(c);
}

int pg_scan_next(struct db_conn *conn, const struct db_value **ret, struct err *e)
{
	const struct pg_conn *c = (const struct pg_conn *)conn;
	struct err why = ERR_INIT;
	int r = pg_next_row(conn, ret, &why);
	if (r >= 0)
		return r;
	/* Disk full, or temp_file_limit: our caller can sort elsewhere. */
	if (c->scan.sorts && (!strcmp(why.sqlstate, "53100") || !strcmp(why.sqlstate, "53400")))
		r = err_set(&why, EOPNOTSUPP, "%s: the server has no room to sort it", c->scan.table);
	*e = why;
	return r;
}

int pg_scan_close(struct db_conn *conn, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	if (!c->scan.open)
		return 0;
	bool saved = c->scan.saved;
	pg_release_scan(c);
	if (c->broken)
		return err_set(e, ECONNRESET, "the connection is lost");
	if (!saved)
		return 0;
	/* ROLLBACK TO also when all went well: it undoes the SET LOCALs. A cancelled connection stays cancelled. */
	return pg_query(c, NULL, "cannot end a scan", "ROLLBACK TO metasnap_scan; RELEASE metasnap_scan", 0, NULL, e);
}
