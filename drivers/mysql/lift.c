/*
 * drivers/mysql/lift.c - triggers would act on restored rows, no session can switch them off, and dropping them commits
 * and leaves everybody else without them.
 *
 * So each is made anew with its body inside IF CONNECTION_ID() <> ours: it does what it did in all other sessions and
 * nothing in this one, for as long as the transaction takes; then it is made as it was. The journal knows what that was
 * (undo, and, once the rows are committed, redo). Whether the server takes these statements from this account (DEFINER,
 * log_bin without SUPER) is tried on an empty copy of the table in the shadow database first.
 *
 * CREATE TRIGGER commits, so the rows' locks are let go for a moment: the sums of the tables tell whether somebody else
 * came in. On the connection's thread; no locks of this process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static int my_read_triggers(struct my_conn *c, const struct db_schema *s, struct my_script *ret, struct err *e)
{
	_cleanup_script_ struct my_script all = {0};
	int r = my_script_read(c, c->database, MY_TRIGGER, &all, e);

	for (size_t i = 0; r == 0 && i < all.n; i++) {
		const struct my_statement *x = &all.statements[i];

		if (db_schema_find(s, x->table))
			my_script_add_copy(ret, x);
	}
	my_script_order_triggers(ret);
	return r;
}

static void my_lifted_script(const struct my_conn *c, const struct my_script *from, struct my_script *ret)
{
	for (size_t i = 0; i < from->n; i++) {
		struct my_statement *x;

		my_script_add_copy(ret, &from->statements[i]);
		x = &ret->statements[i];
		free(x->sql);
		x->sql = my_trigger_lifted(from->statements[i].sql, c->thread_id);
	}
}

/* On a copy of its table, with nothing else on it. */
static int my_try_one(struct my_conn *w, const struct my_statement *s, struct err *e)
{
	struct my_statement copy = *s;
	_cleanup_free_ char *unqualified = my_trigger_unqualified(s->sql);

	copy.sql = my_trigger_without_clause(unqualified);
	int r = my_statement_run(w, &copy, e);
	free(copy.sql);
	return r < 0 ? r : my_object_drop(w, w->database, "trigger", s->name, e);
}

static int my_try_lifting(struct my_conn *c, struct my_conn *w, const struct my_script *as_is,
			  const struct my_script *lifted, struct err *e)
{
	const char *table = NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && i < as_is->n; i++) {
		const struct my_statement *s = &as_is->statements[i];

		if (!table || strcmp(table, s->table) != 0) {
			if (table && (r = my_exec(w, e, "DROP TABLE %i", table)) < 0)
				return r;
			table = s->table;
			r = my_exec(w, e, "CREATE TABLE %i LIKE %i.%i", table, c->database, table);
		}
		if (r < 0)
			return r;
		struct err why = ERR_INIT;
		r = my_try_one(w, s, &why);
		if (r == 0)
			r = my_try_one(w, &lifted->statements[i], &why);
		if (r == -EINTR || r == -ECONNRESET)
			*e = why;
		else if (r < 0)
			r = err_set(
			    e, ENOTSUP,
			    "table %s has trigger %s, which would act on restored rows; it cannot be taken away "
			    "for that, because the server would not take it back: %s",
			    s->table, s->name, why.msg);
	}
	return r < 0 || !table ? r : my_exec(w, e, "DROP TABLE %i", table);
}

static int my_note_lifted(struct my_conn *c, struct my_conn *w, struct err *e)
{
	_cleanup_script_ struct my_script now = {0};
	int r = my_script_read(c, c->database, MY_DATABASE, &now, e);

	if (r == 0)
		r = my_exec(w, e, "START TRANSACTION");
	if (r == 0)
		r = my_journal_add_statement(w, c->old, MY_PHASE_UNDO, &now.statements[0], e);
	for (size_t i = 0; r == 0 && i < c->lifted.n; i++)
		r = my_journal_add_statement(w, c->old, MY_PHASE_UNDO, &c->lifted.statements[i], e);
	return r < 0 ? r : my_exec(w, e, "COMMIT");
}

/* As the rows are while they are still locked. */
static int my_sum_now(struct my_conn *c, const struct db_schema *s, struct err *e)
{
	for (size_t i = 0; i < s->n_tables; i++) {
		struct my_table *mt = my_catalog_find(&c->catalog, s->tables[i].name);

		if (!mt || mt->scanned)
			continue;
		int r = my_sum_table(c, c->database, mt, &mt->sum, e);
		if (r < 0)
			return r;
		mt->scanned = true;
	}
	return 0;
}

static int my_lock_again(struct my_conn *c, struct err *e)
{
	_cleanup_free_ char **names = xcalloc(c->catalog.n_tables + 1, sizeof *names);
	const struct my_names list = {.names = names, .n = c->catalog.n_tables};
	int r = my_exec(c, e, "START TRANSACTION READ WRITE");

	for (size_t i = 0; i < c->catalog.n_tables; i++)
		names[i] = c->catalog.tables[i].name;
	if (r == 0)
		r = my_pin(c, &list, DB_WRITE, e);
	/* The read view. */
	return r < 0 || !list.n ? r : my_exec(c, e, "SELECT 1 FROM %i LIMIT 1", names[0]);
}

static int my_verify_unchanged(struct my_conn *c, const struct db_schema *s, const struct my_script *lifted,
			       struct err *e)
{
	_cleanup_script_ struct my_script now = {0};
	int r = my_read_triggers(c, s, &now, e);

	if (r < 0)
		return r;
	bool same = now.n == lifted->n;
	for (size_t i = 0; same && i < now.n; i++)
		same = !strcmp(now.statements[i].name, lifted->statements[i].name) &&
		       strstr(now.statements[i].sql, MY_LIFTED);
	if (!same)
		return err_set(e, EAGAIN, "another session changed triggers meanwhile");
	for (size_t i = 0; i < s->n_tables; i++) {
		struct my_table *mt = my_catalog_find(&c->catalog, s->tables[i].name);
		struct my_sum sum;

		if (!mt)
			continue;
		if ((r = my_sum_table(c, c->database, mt, &sum, e)) < 0)
			return r;
		if (!my_sum_same(&sum, &mt->sum))
			return err_set(e, EAGAIN, "another session wrote to table %s meanwhile", mt->name);
	}
	return 0;
}

static int my_open_journal(struct my_conn *c, struct my_conn **ret, struct err *e)
{
	_cleanup_free_ char *shadow = my_shadow_name(c->database);

	/* Inside of a rebuild it is there. */
	*ret = atomic_load(&c->builder);
	if (c->old)
		return 0;
	int r = my_builder_open(c, ret, e);
	if (r < 0)
		return r;
	c->old = my_old_name(c->database);
	r = my_sides_make(*ret, c->old, shadow, e);
	if (r == -EACCES)
		err_prefix(e, "a trigger is taken away for a while");
	if (r == 0)
		r = my_use(*ret, shadow, e);
	return r < 0 ? r : my_set_building(*ret, e);
}

int my_lift_triggers(struct my_conn *c, const struct db_schema *s, struct err *e)
{
	_cleanup_script_ struct my_script lifted = {0};
	struct my_conn *w;
	int r;

	my_script_done(&c->lifted);
	if ((r = my_read_triggers(c, s, &c->lifted, e)) < 0 || !c->lifted.n)
		return r;
	my_lifted_script(c, &c->lifted, &lifted);
	if ((r = my_open_journal(c, &w, e)) < 0)
		return r;
	c->mode = MY_MODE_CHANGE;
	if ((r = my_try_lifting(c, w, &c->lifted, &lifted, e)) < 0)
		return r;
	if ((r = my_sum_now(c, s, e)) < 0)
		return r;
	if ((r = my_note_lifted(c, w, e)) < 0)
		return r;
	if ((r = my_set_building(c, e)) < 0)
		return r;
	if ((r = my_put_triggers(c, c->database, &lifted, e)) < 0)
		return r;
	if ((r = my_lock_again(c, e)) < 0)
		return r;
	return my_verify_unchanged(c, s, &lifted, e);
}
