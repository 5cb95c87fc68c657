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

static bool my_is_same(const struct my_script *script, enum my_object kind, const char *name)
{
	for (size_t i = 0; i < script->n; i++)
		if (script->statements[i].same && script->statements[i].kind == kind &&
		    !strcmp(script->statements[i].name, name))
			return true;
	return false;
}

/* What is not a table goes after the swap. A view in the way of a new table of the same name goes before: into *undo. */
static int my_write_drops(struct my_conn *c, struct my_conn *w, enum my_object kind, struct my_script *undo,
			  struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_list_objects(c, c->database, kind, &res, e);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		if (db_params_excludes(&c->params, row[0]) || my_is_same(c->script, kind, row[0]))
			continue;
		r = my_journal_add(w, c->old, MY_PHASE_DROP, my_object_words[kind], row[0], NULL, NULL, e);
		if (r < 0)
			return r;
		if (kind == MY_VIEW && my_catalog_find(&w->catalog, row[0]) &&
		    (r = my_show_create(c, c->database, MY_VIEW, row[0], undo, e)) < 0)
			return r;
	}
	return 0;
}

static int my_write_statements(struct my_conn *c, struct my_conn *w, const struct my_script *undo, struct err *e)
{
	int r;

	for (size_t i = 0; i < undo->n; i++)
		if ((r = my_journal_add_statement(w, c->old, MY_PHASE_UNDO, &undo->statements[i], e)) < 0)
			return r;
	for (size_t i = 0; i < c->script->n; i++) {
		const struct my_statement *s = &c->script->statements[i];

		if (s->kind == MY_TABLE || s->same || db_params_excludes(&c->params, s->name))
			continue;
		if ((r = my_journal_add_statement(w, c->old, MY_PHASE_REDO, s, e)) < 0)
			return r;
	}
	return 0;
}

static int my_write_tables(struct my_conn *c, struct my_conn *w, const struct my_names *tables, struct err *e)
{
	char number[MY_SUM_TEXT];

	for (size_t i = 0; i < tables->n; i++) {
		const struct my_table *mt = my_catalog_find(&c->catalog, tables->names[i]);

		if (!mt || !mt->scanned)
			continue;
		my_sum_text(&mt->sum, number);
		int r = my_journal_add(w, c->old, MY_PHASE_SUM, "table", mt->name, NULL, number, e);
		if (r < 0)
			return r;
	}
	(void)snprintf(number, sizeof number, "%zu", w->catalog.n_tables);
	return my_journal_add(w, c->old, MY_PHASE_TABLES, "", "", NULL, number, e);
}

static int my_write_journal(struct my_conn *c, struct my_conn *w, const struct my_names *tables, struct err *e)
{
	_cleanup_script_ struct my_script undo = {0};
	int r = my_exec(w, e, "START TRANSACTION");

	if (r < 0)
		return r;
	if ((r = my_script_read(c, c->database, MY_TRIGGER, &undo, e)) < 0)
		return r;
	for (int k = MY_FUNCTION; k < MY_N_OBJECTS; k++)
		if (k != MY_TRIGGER && (r = my_write_drops(c, w, (enum my_object)k, &undo, e)) < 0)
			return r;
	if ((r = my_write_statements(c, w, &undo, e)) < 0)
		return r;
	if ((r = my_write_tables(c, w, tables, e)) < 0)
		return r;
	if ((r = my_journal_set_state(w, c->old, MY_STATE_SWAP, e)) < 0)
		return r;
	return my_exec(w, e, "COMMIT");
}

/* From now on nobody reads or writes these tables. Our row locks are gone for a moment before it: hence the sums. */
static int my_lock_tables(struct my_conn *c, struct my_conn *w, const struct my_names *tables, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	for (size_t i = 0; i < tables->n; i++)
		my_sql(&sql, "%s%i.%i WRITE", sql.len ? ", " : "LOCK TABLES ", c->database, tables->names[i]);
	for (size_t i = 0; !c->mariadb && i < w->catalog.n_tables; i++)
		my_sql(&sql, "%s%i.%i WRITE", sql.len ? ", " : "LOCK TABLES ", w->database, w->catalog.tables[i].name);
	int r = sql.len ? my_exec_len(c, e, sql.data, sql.len) : my_exec(c, e, "COMMIT");
	if (r == -EBUSY)
		return err_prefix(e, "tables of %s are in use by another session (an open transaction?)", c->database);
	return r;
}

static int my_verify_still(struct my_conn *c, const struct my_names *tables, struct err *e)
{
	_cleanup_names_ struct my_names there = {0};
	int r = my_list_tables(c, c->database, &there, e);

	if (r < 0)
		return r;
	bool same = there.n == tables->n;
	for (size_t i = 0; same && i < there.n; i++)
		same = !strcmp(there.names[i], tables->names[i]);
	if (!same)
		return err_set(e, EAGAIN, "another session made or dropped tables meanwhile");
	for (size_t i = 0; i < tables->n; i++) {
		struct my_table *mt = my_catalog_find(&c->catalog, tables->names[i]);
		struct my_sum sum;

		if (!mt || !mt->scanned)
			continue;
		if ((r = my_sum_table(c, c->database, mt, &sum, e)) < 0)
			return r;
		if (!my_sum_same(&sum, &mt->sum))
			return err_set(e, EAGAIN, "another session wrote to table %s meanwhile", mt->name);
	}
	return r;
}

static int my_drop_hindrances(struct my_conn *c, struct my_conn *w, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct my_entry entry;
	int r = my_journal_read(w, c->old, MY_PHASE_UNDO, MY_PHASE_UNDO, &res, e);

	if (r < 0)
		return r;
	while (my_journal_next(res, &entry)) {
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

static int my_rename(struct my_conn *c, struct my_conn *w, const struct my_names *tables, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	for (size_t i = 0; i < tables->n; i++)
		my_sql(&sql, "%s%i.%i TO %i.%i", sql.len ? ", " : "RENAME TABLE ", c->database, tables->names[i],
		       c->old, tables->names[i]);
	for (size_t i = 0; i < w->catalog.n_tables; i++)
		my_sql(&sql, "%s%i.%i TO %i.%i", sql.len ? ", " : "RENAME TABLE ", w->database,
		       w->catalog.tables[i].name, c->database, w->catalog.tables[i].name);
	if (!sql.len)
		return 0;
	if (!c->mariadb)
		return my_exec_len(c, e, sql.data, sql.len);
	if (tables->n == 0)
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
	_cleanup_names_ struct my_names tables = {0};
	int r = my_list_tables(c, c->database, &tables, e);

	if (r < 0)
		return r;
	if ((r = my_write_journal(c, w, &tables, e)) < 0)
		return r;
	if ((r = my_exec(c, e, "SET SESSION foreign_key_checks=0")) < 0)
		return r;
	if ((r = my_lock_tables(c, w, &tables, e)) < 0)
		return r;
	if ((r = my_verify_still(c, &tables, e)) < 0)
		return r;
	if ((r = my_drop_hindrances(c, w, e)) < 0)
		return r;
	return my_rename(c, w, &tables, e);
}
