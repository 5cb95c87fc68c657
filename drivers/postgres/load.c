/*
 * drivers/postgres/load.c - rows in, by COPY in text format, byte for byte.
 *
 * Owns struct pg_conn's `load`, but for `freeze`, which is the rebuild's; no locks.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

#define PG_LOAD_BUFFER 131072

/* A table that has been made anew may have a column that is stored PLAIN, as it was when some of the rows, wider than a
 * page, were there already: for the load it is not. (Of tables that stay change.c knows it.) */
static int pg_store_wide(struct pg_conn *c, const char *table, struct err *e)
{
	static const char sql[] =
	    "SELECT pg_catalog.string_agg(pg_catalog.format(s.alter, n.nspname, c.relname, a.attname, 'EXTENDED'), '; "
	    "'),"
	    " pg_catalog.string_agg(pg_catalog.format(s.alter, n.nspname, c.relname, a.attname, 'PLAIN'), '; ')"
	    " FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid"
	    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
	    " AND a.attstorage = 'p' JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typstorage <> 'p'"
	    " CROSS JOIN (VALUES ('ALTER TABLE ONLY %I.%I ALTER COLUMN %I SET STORAGE %s')) s(alter)"
	    " WHERE n.nspname = $1 AND c.relname = $2";
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {c->schema, table};
	int r = pg_query(c, &res, table, sql, 2, params, e);
	if (r < 0 || PQgetisnull(res, 0, 0))
		return r;
	r = pg_query(c, NULL, table, PQgetvalue(res, 0, 0), 0, NULL, e);
	if (r == 0)
		c->load.plain = xstrdup(PQgetvalue(res, 0, 1));
	return r;
}

int pg_load_begin(struct db_conn *conn, const struct db_table *t, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_check_ready(c, t->name, e);
	if (r < 0)
		return r;
	r = c->change.on ? pg_change_touch(c, t->name, e) : pg_store_wide(c, t->name, e);
	if (r < 0)
		return r;
	strbuf_adds(&sql, "COPY ");
	pg_add_relation(&sql, c, t->name);
	c->load.n_values = 0;
	c->load.binary = xcalloc(t->n_columns, sizeof *c->load.binary);
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&sql, c->load.n_values ? ", " : " (");
		pg_add_ident(&sql, t->columns[i].name);
		c->load.binary[c->load.n_values++] = t->columns[i].form == DB_FORM_BINARY;
	}
	/* A table without a column of its own takes an empty line a row, and no column list. */
	strbuf_adds(&sql, c->load.n_values ? ") FROM STDIN" : " FROM STDIN");
	strbuf_adds(&sql, c->load.freeze ? " WITH (FREEZE)" : "");
	r = pg_query(c, &res, t->name, strbuf_str(&sql), 0, NULL, e);
	if (!r && PQresultStatus(res) != PGRES_COPY_IN)
		r = err_set(e, EIO, "%s: the server does not take rows by COPY", t->name);
	if (r < 0) {
		free(TAKE_PTR(c->load.binary));
		return r;
	}
	c->load.table = xstrdup(t->name);
	c->load.open = true;
	strbuf_clear(&c->load.buffer);
	return 0;
}

/* Puts the buffer on its way; waits while the server is slower than we are. */
static int pg_load_flush(struct pg_conn *c, struct err *e)
{
	struct strbuf *sb = &c->load.buffer;
	if (pg_is_cancelled(c))
		return err_set(e, EINTR, "%s: cancelled", c->load.table);
	for (size_t sent = 0; sent < sb->len;) {
		size_t n = sb->len - sent < PG_LOAD_BUFFER ? sb->len - sent : PG_LOAD_BUFFER;
		int done = PQputCopyData(c->pg, sb->data + sent, (int)n);
		if (done < 0)
			return pg_fail(c, NULL, c->load.table, e);
		if (done)
			sent += n;
		/* libpq would buffer without bound: what it holds goes out before more comes in. */
		int r = pg_flush(c, c->load.table, e);
		if (r < 0)
			return r;
	}
	strbuf_clear(sb);
	return 0;
}

int pg_load_row(struct db_conn *conn, const struct db_value *values, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct strbuf *sb = &c->load.buffer;
	if (!c->load.open)
		return err_set(e, EINVAL, "no load is open");
	pg_add_copy_row(sb, values, c->load.binary, c->load.n_values);
	return sb->len >= PG_LOAD_BUFFER ? pg_load_flush(c, e) : 0;
}

/* The buffer is kept for the next one. */
static void pg_end_load(struct pg_conn *c)
{
	c->load.open = false;
	free(TAKE_PTR(c->load.table));
	free(TAKE_PTR(c->load.binary));
	free(TAKE_PTR(c->load.plain));
	strbuf_clear(&c->load.buffer);
}

void pg_load_done(struct pg_conn *c)
{
	pg_end_load(c);
	strbuf_done(&c->load.buffer);
}

void pg_release_load(struct pg_conn *c)
{
	if (!c->load.open)
		return;
	if (!c->broken) {
		bool shielded = c->shielded;
		c->shielded = true;
		pg_limit_wait(c);
		int done;
		while (!(done = PQputCopyEnd(c->pg, "abandoned")))
			if (pg_flush(c, "", ERR_DROP) < 0)
				break;
		if (done > 0 && !pg_flush(c, "", ERR_DROP))
			(void)pg_drain(c, NULL, "", ERR_DROP);
		c->deadline_ms = 0;
		c->shielded = shielded;
	}
	pg_end_load(c);
}

/* Sends the rest of the rows, and that they have ended. */
static int pg_load_finish(struct pg_conn *c, struct err *e)
{
	int r = pg_load_flush(c, e);
	if (r < 0)
		return r;
	for (;;) {
		int done = PQputCopyEnd(c->pg, NULL);
		if (done < 0)
			return pg_fail(c, NULL, c->load.table, e);
		r = pg_flush(c, c->load.table, e);
		if (r < 0 || done)
			return r;
	}
}

int pg_load_end(struct db_conn *conn, bool ok, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	if (!c->load.open)
		return 0;
	if (!ok) {
		pg_release_load(c);
		return 0;
	}
	int r = pg_load_finish(c, e);
	if (r < 0) {
		pg_release_load(c);
		return r;
	}
	_cleanup_free_ char *table = xstrdup(c->load.table), *plain = TAKE_PTR(c->load.plain);
	r = pg_drain(c, NULL, table, e);
	pg_end_load(c);
	if (r == 0 && plain)
		r = pg_query(c, NULL, table, plain, 0, NULL, e);
	return r < 0 ? r : pg_change_loaded(c, table, e);
}
