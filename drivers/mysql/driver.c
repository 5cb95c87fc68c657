/*
 * drivers/mysql/driver.c - the driver of MySQL 8.0-9.x and MariaDB 10.5+: the table of its functions, and a transaction
 * from its beginning to its end.
 *
 * A connection belongs to one thread at a time. Only my_cancel() comes from others, see connection.c; no locks here.
 *
 * Locks come before the snapshot, as with PostgreSQL: "SELECT ... WHERE FALSE" opens a table and so takes its metadata
 * lock for the transaction, but reads nothing, hence makes no read view (tried on MySQL 9.7 and MariaDB 10.11). With
 * every table pinned (lock.c), the first real read fixes the moment, and no RENAME, TRUNCATE or ALTER can come between.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "drivers/mysql/internal.h"

#define MY_MAX_ATTEMPTS 5
/* Locking every table against busy writers ends in deadlocks now and then, and the smaller transaction gives way. */
#define MY_MAX_ATTEMPTS_WRITE 25

static int my_open(struct db_conn **ret, const struct db_params *p, struct err *e)
{
	struct my_conn *c = NULL;

	if (!p->database || !*p->database)
		return err_set(e, EINVAL, "the URL names no database: mysql://USER@HOST:PORT/DATABASE");
	int r = my_open_database(&c, &db_driver_mysql, p, p->database, false, e);
	if (r < 0)
		return r;
	*ret = (struct db_conn *)c;
	return 0;
}

static int my_check_isolation(struct my_conn *c, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	/* MariaDB called it tx_isolation until 11.1. */
	int r = my_select(c, &res, e,
			  "SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')");
	bool found = false;

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		found = true;
		if (!row[1] || strcmp(row[1], "REPEATABLE-READ") != 0)
			return err_set(e, ENOTSUP, "the server did not accept REPEATABLE READ (%s is %s)", row[0],
				       row[1] ? row[1] : "");
	}
	if (!found)
		return err_set(e, ENOTSUP, "cannot read the transaction isolation level");
	return 0;
}

/* Tables that an account has no right on are not even listed to it: a snapshot would lack them without a word. Of a
 * table that is not there, only who may read the whole database is told so; others may not know (error 1142). */
static int my_check_sees_all(struct my_conn *c, struct err *e)
{
	struct err why = ERR_INIT;
	int r = my_exec(c, &why, "SELECT 1 FROM %i WHERE FALSE", "metasnap: is every table listed?");

	if (r == 0 || my_last_errno(c) == MY_ER_NO_SUCH_TABLE)
		return 0;
	if (r == -EACCES)
		return err_set(e, EACCES,
			       "the account may not read the whole database, and tables it has no right on are not "
			       "even listed to it (GRANT SELECT ON `%s`.* TO it)",
			       c->database);
	*e = why;
	return r;
}

static int my_begin_once(struct my_conn *c, enum db_access access, struct db_schema **ret, struct err *e)
{
	_cleanup_names_ struct my_names names = {0};
	_cleanup_(cleanup_db_schema) struct db_schema *s = NULL;
	int r = my_list_tables(c, c->database, &names, e);

	if (r < 0)
		return r;
	if ((r = my_exec(c, e, "START TRANSACTION %s", access == DB_READ ? "READ ONLY" : "READ WRITE")) < 0)
		return r;
	c->in_transaction = true;
	if ((r = my_pin(c, &names, access, e)) < 0)
		return r;
	/* The read view. For writing, too: what is locked stays as it is, so plain reads see it and our own changes. */
	if (names.n > 0 && (r = my_exec(c, e, "SELECT 1 FROM %i LIMIT 1", names.names[0])) < 0)
		return r;
	if ((r = my_describe(c, c->database, &c->catalog, &s, e)) < 0)
		return r;
	/* A table that came after the list was made is not pinned. */
	bool same = s->n_tables == names.n;
	for (size_t i = 0; same && i < names.n; i++)
		same = !strcmp(s->tables[i].name, names.names[i]);
	if (!same)
		return err_set(e, EAGAIN, "tables came or went while the snapshot began");
	*ret = TAKE_PTR(s);
	return 0;
}

static void my_forget_transaction(struct my_conn *c)
{
	c->in_transaction = false;
	c->mode = MY_MODE_NONE;
	my_catalog_done(&c->catalog);
	my_load_done(&c->load);
	my_names_done(&c->changed);
	my_forget_auto_increment(c);
}

static void my_end_transaction(struct my_conn *c)
{
	struct db_conn *dc = (struct db_conn *)c;

	if (c->scan.table)
		(void)my_scan_close(dc, ERR_DROP);
	/* Not through my_exec: these must run after a cancel, too. A late KILL QUERY can hit the first of them. */
	for (int i = 0; i < 3 && mysql_query(c->my, "ROLLBACK") != 0 && mysql_errno(c->my) == MY_ER_QUERY_INTERRUPTED;
	     i++)
		;
	my_forget_transaction(c);
	my_unlock_advisory(c);
	my_set_reading(c);
}

static void my_rollback(struct db_conn *dc)
{
	struct my_conn *c = my_conn_of(dc);

	my_rebuild_rollback(c);
	my_end_transaction(c);
	atomic_store(&c->cancelled, false);
	if (atomic_load(&c->builder))
		atomic_store(&atomic_load(&c->builder)->cancelled, false);
	for (size_t i = 0; i < MY_POOL_THREADS; i++)
		if (atomic_load(&c->loaders[i]))
			atomic_store(&atomic_load(&c->loaders[i])->cancelled, false);
}

static int my_begin(struct db_conn *dc, enum db_access access, struct db_schema **ret, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	int r, max = access == DB_WRITE ? MY_MAX_ATTEMPTS_WRITE : MY_MAX_ATTEMPTS;

	assert(!c->in_transaction);
	c->access = access;
	if ((r = my_check_isolation(c, e)) < 0)
		return r;
	if ((r = my_check_sees_all(c, e)) < 0)
		return r;
	if (access == DB_WRITE && (r = my_lock_advisory(c, c->database, MY_LOCK_RESTORE, 0, e)) < 0)
		return r;
	for (int attempt = 1;; attempt++) {
		r = my_begin_once(c, access, ret, e);
		if (r == 0)
			return 0;
		if (r != -EAGAIN || attempt == max)
			break;
		(void)mysql_query(c->my, "ROLLBACK");
		my_forget_transaction(c);
	}
	my_end_transaction(c);
	if (r == -EAGAIN)
		return err_prefix(e, "other sessions kept changing tables (%d attempts)", max);
	return r;
}

static int my_finish(struct db_conn *dc, struct db_schema *s, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);

	return my_read_auto_increment(c, c->database, s, e);
}

static int my_commit(struct db_conn *dc, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	int r;

	assert(c->in_transaction);
	assert(!my_active(c)->scan.table && !my_active(c)->load.to.table);
	if (atomic_load(&c->cancelled)) {
		my_rollback(dc);
		return err_set(e, EINTR, "cancelled");
	}
	if (c->old) {
		r = my_rebuild_commit(c, e);
		/* They never point below the rows that are there. */
		if (r == 0)
			r = my_commit_auto_increment(c, e);
		my_end_transaction(c);
		return r;
	}
	if (mysql_query(c->my, "COMMIT") != 0) {
		r = my_fail(c, e, "commit");
		/* A KILL that came with the answer on its way: nobody knows. */
		if (r == -EINTR)
			r = err_set(e, ECONNRESET, "commit: cancelled while the server was committing");
		my_end_transaction(c);
		return r;
	}
	/* DDL commits, so the counters come after the rows; they never point below the rows that are there. */
	r = my_commit_auto_increment(c, e);
	my_end_transaction(c);
	return r;
}

static void my_close(struct db_conn *dc)
{
	struct my_conn *c = my_conn_of(dc);

	if (!c)
		return;
	if (c->in_transaction || c->advisory)
		my_rollback(dc);
	my_forget_transaction(c);
	my_scan_done(&c->scan);
	my_rebuild_done(c);
	my_close((struct db_conn *)atomic_load(&c->builder));
	for (size_t i = 0; i < MY_POOL_THREADS; i++)
		my_close((struct db_conn *)atomic_load(&c->loaders[i]));
	my_disconnect(c);
}

const struct db_driver db_driver_mysql = {
    .scheme = "mysql",
    .open = my_open,
    .begin = my_begin,
    .begin_like = NULL, /* one connection reads: several need FLUSH TABLES WITH READ LOCK */
    .schema_sql = my_schema_sql,
    .scan_open = my_scan_open,
    .scan_next = my_scan_next,
    .scan_close = my_scan_close,
    .examine = my_examine,
    .finish = my_finish,
    .compare = my_compare,
    .rebuild_begin = my_rebuild_begin,
    .rebuild_end = my_rebuild_end,
    .change_begin = my_change_begin,
    .delete_keys = my_delete_keys,
    .delete_all = my_delete_all,
    .change_end = my_change_end,
    .load_begin = my_load_begin,
    .load_row = my_load_row,
    .load_end = my_load_end,
    .set_sequences = my_set_sequences,
    .settle = my_settle,
    .commit = my_commit,
    .rollback = my_rollback,
    .cancel = my_cancel,
    .close = my_close,
};
