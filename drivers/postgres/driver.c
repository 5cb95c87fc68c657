/*
 * drivers/postgres/driver.c - the driver: a connection opened and closed, a transaction begun at one moment and ended,
 * and the table of all that the other files do.
 *
 * Owns struct pg_conn's `snapshot` and `listing`, and releases with the transaction what the other files own of it.
 * Locks are the server's: for DB_WRITE that of a restore, then the tables', then comes the snapshot.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>
#include <time.h>

#define PG_BEGIN_ATTEMPTS 5

static int pg_open(struct db_conn **ret, const struct db_params *p, struct err *e)
{
	struct pg_conn *c = NULL;
	*ret = NULL;
	int r = pg_connection_open(&c, p, e);
	if (r < 0)
		return r;
	c->head.driver = &db_driver_postgres;
	*ret = (struct db_conn *)c;
	return 0;
}

/* ---- the end of a transaction ---- */

static void pg_forget_transaction(struct pg_conn *c)
{
	free(TAKE_PTR(c->snapshot));
	pg_listing_done(&c->listing);
	pg_marks_done(c);
	pg_change_done(c);
	c->role = (struct pg_role){0};
	pg_aside_done(c);
	pg_rebuild_done(c);
	pg_toc_done(&c->toc);
}

/* Ends the transaction and all that is known of it; sql is COMMIT or ROLLBACK. */
static int pg_leave(struct pg_conn *c, const char *sql, struct err *e)
{
	pg_child_stop(&c->dump);
	int r = pg_end(c, sql, e);
	c->shielded = true;
	if (!c->broken)
		pg_limit_wait(c);
	pg_free_restore_lock(c);
	c->deadline_ms = 0;
	c->shielded = false;
	pg_forget_transaction(c);
	return r;
}

static void pg_rollback(struct db_conn *conn)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	c->shielded = true;
	pg_release_scan(c);
	pg_release_load(c);
	c->shielded = false;
	if (c->active || c->advisory)
		(void)pg_leave(c, "ROLLBACK", ERR_DROP);
	uint64_t count;
	ssize_t n = read(c->wake, &count, sizeof count);
	(void)n;
	atomic_store(&c->cancelled, false);
}

static int pg_commit(struct db_conn *conn, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	int r = pg_check_commit(c, e);
	return r < 0 ? r : pg_leave(c, "COMMIT", e);
}

static void pg_close(struct db_conn *conn)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	if (!c)
		return;
	/* The server rolls back when we go; waiting for it only matters to the next connection's locks. */
	if (c->active && !c->broken)
		pg_rollback(conn);
	pg_child_stop(&c->dump);
	pg_forget_transaction(c);
	pg_scan_done(c);
	pg_load_done(c);
	pg_connection_free(c);
}

/* ---- its beginning ---- */

static const char *pg_begin_statement(enum db_access access)
{
	return access == DB_WRITE ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"
				  : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
}

static int pg_check_listing(const struct pg_conn *c, const struct pg_listing *l, enum db_access access, struct err *e)
{
	if (!l->schema_exists && access == DB_READ)
		return err_set(e, EINVAL, "there is no schema %s in this database", c->schema);
	for (size_t i = 0; i < l->n_relations; i++) {
		const struct pg_relation *rel = &l->relations[i];
		if (rel->kind == 'f')
			return err_set(e, ENOTSUP,
				       "%s is a foreign table, whose rows are not in this database: exclude it",
				       rel->name);
		if (rel->stray_partition)
			return err_set(e, ENOTSUP,
				       "%s and its partitioned table are in two schemas: metasnap keeps one schema",
				       rel->name);
	}
	return 0;
}

/* Fixes the moment. The order is what matters: LOCK TABLE before the first query of the transaction, because the
 * snapshot is taken by that query. The other way round (as pg_dump does it) a TRUNCATE in between reads as an empty
 * table: PostgreSQL's manual, "Caveats" of MVCC. */
static int pg_fix_moment(struct pg_conn *c, struct pg_listing *before, enum db_access access, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, NULL, "cannot begin", pg_begin_statement(access), 0, NULL, e);
	if (r < 0)
		return r;
	c->active = true;
	c->access = access;
	r = pg_lock_tables(c, before, access == DB_WRITE ? "SHARE ROW EXCLUSIVE MODE" : "ACCESS SHARE MODE", e);
	if (r < 0)
		return r;
	r = pg_query(c, &res, "cannot take a snapshot",
		     "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.current_setting('metasnap.session', true)", 0,
		     NULL, e);
	if (r < 0)
		return r;
	if (PQgetisnull(res, 0, 1) || strcmp(PQgetvalue(res, 0, 1), c->token))
		return pg_refuse_pooler(e);
	c->snapshot = xstrdup(PQgetvalue(res, 0, 0));
	r = pg_list_relations(c, &c->listing, e);
	if (r == 0 && access == DB_WRITE)
		r = pg_list_outside(c, &c->listing, e);
	if (r < 0)
		return r;
	if (!pg_listing_equal(before, &c->listing))
		return err_set(e, EAGAIN, "tables were created, dropped or rewritten while the snapshot began");
	return 0;
}

static bool pg_worth_another_try(int r, const struct err *e)
{
	/* 42P01: a table of the list is gone. 40P01: writers lock in another order than ours. */
	return r == -EAGAIN || !strcmp(e->sqlstate, "42P01") || !strcmp(e->sqlstate, "40P01");
}

/* From the first look to the description; *before is what was locked. What a failure leaves open the caller ends. */
static int pg_try_begin(struct pg_conn *c, enum db_access access, struct pg_listing *before, struct db_schema **ret,
			struct err *e)
{
	int r = access == DB_WRITE ? pg_take_restore_lock(c, e) : 0;
	if (r < 0)
		return r;
	r = pg_list_relations(c, before, e);
	if (r == 0 && access == DB_WRITE)
		r = pg_list_outside(c, before, e);
	if (r < 0)
		return r;
	r = pg_check_listing(c, before, access, e);
	if (r < 0)
		return r;
	r = pg_fix_moment(c, before, access, e);
	if (r < 0)
		return r;
	/* Beside everything that follows. A failure is schema_sql's to tell, unless it has ended the transaction. A
	 * restore locks what pg_dump reads. */
	struct err refusal = ERR_INIT;
	if (access == DB_READ && pg_dump_start(c, &refusal) < 0 && PQtransactionStatus(c->pg) != PQTRANS_INTRANS) {
		*e = refusal;
		return err_code(e);
	}
	_cleanup_(cleanup_db_schema) struct db_schema *s = NULL;
	r = pg_describe(c, &s, e);
	if (r == 0)
		r = pg_check_names(c, e);
	if (r == 0)
		r = pg_left_out(c, s, e);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

static int pg_begin(struct db_conn *conn, enum db_access access, struct db_schema **ret, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct err words = ERR_INIT;
	*ret = NULL;
	if (c->active)
		return err_set(e, EINVAL, "begin: a transaction is open");
	for (int attempt = 1; attempt <= PG_BEGIN_ATTEMPTS; attempt++) {
		_cleanup_(pg_listing_done) struct pg_listing before = {0};
		words = ERR_INIT;
		int r = pg_try_begin(c, access, &before, ret, &words);
		if (!r)
			return 0;
		if (c->active || c->advisory)
			(void)pg_leave(c, "ROLLBACK", ERR_DROP);
		if (r == -EBUSY && !strcmp(words.sqlstate, "55P03"))
			pg_name_blockers(c, &before, &words);
		if (!pg_worth_another_try(r, &words)) {
			*e = words;
			return r;
		}
		struct timespec pause = {.tv_nsec = 20000000L * attempt};
		(void)nanosleep(&pause, NULL);
	}
	*e = words;
	e->code = EAGAIN;
	return -EAGAIN;
}

static int pg_share_moment(struct pg_conn *c, const char *snapshot, struct err *e)
{
	int r = pg_query(c, NULL, "cannot begin", pg_begin_statement(DB_READ), 0, NULL, e);
	if (r < 0)
		return r;
	c->active = true;
	c->access = DB_READ;
	r = pg_do(c, e, "cannot share the snapshot", "SET TRANSACTION SNAPSHOT '%s'", snapshot);
	if (r < 0)
		return r;
	/* NOWAIT: behind a queued ACCESS EXCLUSIVE, which waits for our leader, we would wait for ever. */
	return pg_lock_tables(c, &c->listing, "ACCESS SHARE MODE NOWAIT", e);
}

static int pg_begin_like(struct db_conn *conn, struct db_conn *leader_conn, const struct db_schema *s, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn, *leader = (struct pg_conn *)leader_conn;
	if (leader->head.driver != &db_driver_postgres || !leader->active || !leader->snapshot || c->active)
		return err_set(e, EINVAL, "no snapshot to share");
	struct pg_listing *l = &c->listing;
	l->relations = xcalloc(s->n_tables, sizeof *l->relations);
	for (; l->n_relations < s->n_tables; l->n_relations++)
		l->relations[l->n_relations].name = xstrdup(s->tables[l->n_relations].name);
	int r = pg_share_moment(c, leader->snapshot, e);
	if (r < 0)
		(void)pg_leave(c, "ROLLBACK", ERR_DROP);
	return r;
}

const struct db_driver db_driver_postgres = {
    .scheme = "postgresql",
    .open = pg_open,
    .begin = pg_begin,
    .begin_like = pg_begin_like,
    .schema_sql = pg_schema_sql,
    .scan_open = pg_scan_open,
    .scan_next = pg_scan_next,
    .scan_close = pg_scan_close,
    .mark = pg_mark,
    .scan_changed = pg_scan_changed,
    .examine = pg_examine,
    .finish = pg_finish,
    .aside_begin = pg_aside_begin,
    .aside_open = pg_aside_open,
    .aside_table = pg_aside_table,
    .aside_end = pg_aside_end,
    .aside_hold = pg_aside_hold,
    .aside_index = pg_aside_index,
    .aside_read = pg_aside_read,
    .compare = pg_compare,
    .rebuild_begin = pg_rebuild_begin,
    .rebuild_end = pg_rebuild_end,
    .change_begin = pg_change_begin,
    .delete_keys = pg_delete_keys,
    .delete_all = pg_delete_all,
    .change_end = pg_change_end,
    .refresh = pg_refresh,
    .scan_written = pg_scan_written,
    .load_begin = pg_load_begin,
    .load_row = pg_load_row,
    .load_end = pg_load_end,
    .advance_sequences = pg_advance_sequences,
    .set_sequences = pg_set_sequences,
    .settle = pg_settle,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .cancel = pg_cancel,
    .close = pg_close,
};
