/*
 * drivers/mysql/swap.c - the moment of a rebuild: ONE multi-table RENAME takes the old tables away and puts the new
 * ones there.
 *
 * That statement is what is atomic, also against a crash of the server (MySQL 8.0; MariaDB since 10.6): all tables are
 * old or all are new. Triggers, views, routines and events cannot be in it (1435, 1450): triggers of old tables are
 * dropped before, everything else is replaced after. What is to be done is written to the journal first.
 *
 * The RENAME must not commit our row locks away before it owns the tables, or a waiting writer would write to a table
 * that is then dropped. So: LOCK TABLES ... WRITE, compare the old tables with the sums of the scans (nobody slipped
 * in), RENAME under the lock (MySQL 8.0.13+). MariaDB refuses that (1192): there the builder's RENAME queues behind
 * the lock, the lock is released, and the old tables are compared again before they are dropped (settle.c); were they
 * written to in between, they are kept and the commit fails naming them.
 *
 * On the connection's thread, with its builder; no lock of this process.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "drivers/mysql/internal.h"

#define MY_QUEUE_WAIT_MS 5000

/* Triggers of tables that go; views in the way of new tables. What else is not a table goes after the swap. */
static int my_read_hindrances(struct my_conn *c, struct my_conn *w, struct my_script *undo, struct err *e)
{
	_cleanup_script_ struct my_script triggers = {0};
	int r = my_script_read(c, c->database, MY_TRIGGER, &triggers, e);

	for (size_t i = 0; r == 0 && i < triggers.n; i++) {
		const struct my_statement *s = &triggers.statements[i];

		if (my_script_find(&c->drops, MY_TABLE, s->table))
			my_script_add_copy(undo, s);
	}
	my_script_order_triggers(undo);
	for (size_t i = 0; r == 0 && i < c->drops.n; i++) {
		const struct my_statement *s = &c->drops.statements[i];

		if (s->kind == MY_VIEW && my_catalog_find(&w->catalog, s->name))
			r = my_show_create(c, c->database, MY_VIEW, s->name, undo, e);
	}
	return r;
}

/* Making a body under another collation changes the database's defaults for a moment. */
static int my_write_defaults(struct my_conn *c, struct my_conn *w, struct err *e)
{
	_cleanup_script_ struct my_script now = {0};
	const struct my_statement *want = c->script ? my_script_find(c->script, MY_DATABASE, MY_DATABASE_NAME) : NULL;
	int r = my_script_read(c, c->database, MY_DATABASE, &now, e);

	if (r == 0)
		r = my_journal_add_statement(w, c->old, MY_PHASE_UNDO, &now.statements[0], e);
	return r < 0 || (want && !want->same)
		   ? r
		   : my_journal_add_statement(w, c->old, MY_PHASE_REDO, &now.statements[0], e);
}

static int my_write_statements(struct my_conn *c, struct my_conn *w, const struct my_script *undo, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < undo->n; i++)
		r = my_journal_add_statement(w, c->old, MY_PHASE_UNDO, &undo->statements[i], e);
	for (size_t i = 0; r == 0 && i < c->drops.n; i++)
		if (c->drops.statements[i].kind != MY_TABLE)
			r = my_journal_add(w, c->old, MY_PHASE_DROP, my_object_words[c->drops.statements[i].kind],
					   c->drops.statements[i].name, NULL, NULL, e);
	for (size_t i = 0; r == 0 && c->script && i < c->script->n; i++)
		if (c->script->statements[i].kind != MY_TABLE && !c->script->statements[i].same)
			r = my_journal_add_statement(w, c->old, MY_PHASE_REDO, &c->script->statements[i], e);
	return r;
}

static int my_write_tables(struct my_conn *c, struct my_conn *w, struct err *e)
{
	char number[MY_SUM_TEXT];

	for (size_t i = 0; i < c->drops.n; i++) {
		const struct my_table *mt = c->drops.statements[i].kind == MY_TABLE
						? my_catalog_find(&c->catalog, c->drops.statements[i].name)
						: NULL;

		if (!mt || !mt->scanned)
			continue;
		my_sum_text(&mt->sum, number);
		int r = my_journal_add(w, c->old, MY_PHASE_SUM, "table", mt->name, NULL, number, e);
		if (r < 0)
			return r;
	}
	(void)snprintf(number, sizeof number, "%zu", c->n_made);
	return my_journal_add(w, c->old, MY_PHASE_TABLES, "", "", NULL, number, e);
}

int my_write_journal(struct my_conn *c, struct my_conn *w, const struct my_script *undo, enum my_state state,
		     struct err *e)
{
	int r = my_exec(w, e, "START TRANSACTION");

	if (r == 0)
		r = my_write_statements(c, w, undo, e);
	for (size_t i = 0; r == 0 && i < c->lifted.n; i++)
		if (!my_script_find(&c->drops, MY_TRIGGER, c->lifted.statements[i].name))
			r = my_journal_add_statement(w, c->old, MY_PHASE_REDO, &c->lifted.statements[i], e);
	if (r == 0)
		r = my_write_defaults(c, w, e);
	if (r == 0)
		r = my_write_tables(c, w, e);
	if (r == 0)
		r = my_journal_set_state(w, c->old, state, e);
	return r < 0 ? r : my_exec(w, e, "COMMIT");
}

/* From now on nobody reads or writes these tables. Our row locks are gone for a moment before it: hence the sums. */
static int my_lock_tables(struct my_conn *c, struct my_conn *w, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	for (size_t i = 0; i < c->drops.n; i++)
		if (c->drops.statements[i].kind == MY_TABLE)
			my_sql(&sql, "%s%i.%i WRITE", sql.len ? ", " : "LOCK TABLES ", c->database,
			       c->drops.statements[i].name);
	for (size_t i = 0; !c->mariadb && i < w->catalog.n_tables; i++)
		my_sql(&sql, "%s%i.%i WRITE", sql.len ? ", " : "LOCK TABLES ", w->database, w->catalog.tables[i].name);
	int r = sql.len ? my_exec_len(c, e, sql.data, sql.len) : my_exec(c, e, "COMMIT");
	if (r == -EBUSY)
		return err_prefix(e, "tables of %s are in use by another session (an open transaction?)", c->database);
	if (r < 0 && my_last_errno(c) == MY_ER_NO_SUCH_TABLE)
		return err_set(e, EAGAIN, "another session made or dropped tables meanwhile");
	return r;
}

static int my_verify_still(struct my_conn *c, struct err *e)
{
	for (size_t i = 0; i < c->drops.n; i++) {
		struct my_table *mt = c->drops.statements[i].kind == MY_TABLE
					  ? my_catalog_find(&c->catalog, c->drops.statements[i].name)
					  : NULL;
		struct my_sum sum;

		if (!mt || !mt->scanned)
			continue;
		int r = my_sum_table(c, c->database, mt, &sum, e);
		if (r < 0)
			return r;
		if (!my_sum_same(&sum, &mt->sum))
			return err_set(e, EAGAIN, "another session wrote to table %s meanwhile", mt->name);
	}
	return 0;
}

static int my_drop_hindrances(struct my_conn *c, struct my_conn *w, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct my_entry entry;
	int r = my_journal_read(w, c->old, MY_PHASE_UNDO, MY_PHASE_UNDO, &res, e);

	if (r < 0)
		return r;
	while (my_journal_next(res, &entry)) {
		if (!strcmp(entry.kind, my_object_words[MY_DATABASE]))
			continue;
		/* A trigger's table is under our lock, a view is not. */
		struct my_conn *by = strcmp(entry.kind, "view") ? c : w;

		if ((r = my_object_drop(by, c->database, entry.kind, entry.name, e)) < 0)
			return r;
	}
	return 0;
}

/* Until the builder's statement stands in the queue: a writer that comes later waits behind it. */
static void my_wait_queued(struct my_conn *c, struct my_conn *w)
{
	const struct timespec nap = {.tv_nsec = 5000000};

	for (int ms = 0; ms < MY_QUEUE_WAIT_MS; ms += 5) {
		_cleanup_free_ char *state = NULL;

		if (my_select_one(c, &state, ERR_DROP, "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID=%l",
				  (uint64_t)w->thread_id) < 0 ||
		    (state && strstr(state, "metadata lock")))
			return;
		(void)nanosleep(&nap, NULL);
	}
}

static int my_rename(struct my_conn *c, struct my_conn *w, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	for (size_t i = 0; i < c->drops.n; i++)
		if (c->drops.statements[i].kind == MY_TABLE)
			my_sql(&sql, "%s%i.%i TO %i.%i", sql.len ? ", " : "RENAME TABLE ", c->database,
			       c->drops.statements[i].name, c->old, c->drops.statements[i].name);
	bool drops = sql.len > 0;
	for (size_t i = 0; i < w->catalog.n_tables; i++)
		my_sql(&sql, "%s%i.%i TO %i.%i", sql.len ? ", " : "RENAME TABLE ", w->database,
		       w->catalog.tables[i].name, c->database, w->catalog.tables[i].name);
	if (!c->mariadb)
		return my_exec_len(c, e, sql.data, sql.len);
	if (!drops)
		return my_exec_len(w, e, sql.data, sql.len);
	if (mysql_send_query(w->my, sql.data, sql.len) != 0)
		return my_fail(w, e, NULL);
	my_wait_queued(c, w);
	int r = my_exec(c, e, "UNLOCK TABLES");
	if (mysql_read_query_result(w->my) != 0)
		return my_fail(w, e, NULL);
	return r;
}

int my_swap(struct my_conn *c, struct my_conn *w, struct err *e)
{
	_cleanup_script_ struct my_script undo = {0};
	int r = my_read_hindrances(c, w, &undo, e);

	/* A table is looked at as if it were made when it comes to its place. */
	my_set_permissive(c);
	if (r == 0)
		r = my_write_journal(c, w, &undo, MY_STATE_SWAP, e);
	if (r == 0)
		r = my_exec(c, e, "SET SESSION foreign_key_checks=0");
	if (r == 0)
		r = my_lock_tables(c, w, e);
	if (r == 0)
		r = my_verify_still(c, e);
	if (r == 0)
		r = my_drop_hindrances(c, w, e);
	return r < 0 ? r : my_rename(c, w, e);
}
