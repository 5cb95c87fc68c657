/*
 * drivers/mysql/settle.c - brings a rebuild to one end or the other by its journal: forward when the tables are
 * swapped, back when they are not. The commit and the rollback of a rebuild go through here, and so does what a crash
 * left behind. Each step can be run again. On the thread of the connection given, which holds the advisory lock.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

/* MariaDB: nothing may have been written to the old tables between the release of the lock and the RENAME. */
static int my_verify_old(struct my_conn *w, const char *old, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	_cleanup_catalog_ struct my_catalog cat = {0};
	struct my_entry sum;
	int r = my_journal_read(w, old, MY_PHASE_SUM, MY_PHASE_SUM, &res, e);

	if (r < 0)
		return r;
	if ((r = my_describe(w, old, &cat, NULL, e)) < 0)
		return r;
	while (my_journal_next(res, &sum)) {
		const struct my_table *mt = my_catalog_find(&cat, sum.name);
		struct my_sum found;
		char text[MY_SUM_TEXT];

		if (!mt)
			return err_set(e, EIO, "table %s is not in %s", sum.name, old);
		if ((r = my_sum_table(w, old, mt, &found, e)) < 0)
			return r;
		my_sum_text(&found, text);
		if (strcmp(text, sum.body) != 0) {
			(void)my_journal_set_state(w, old, MY_STATE_KEPT, ERR_DROP);
			return err_set(e, EIO,
				       "the new tables are in place, but another session wrote to table %s while they "
				       "were put there: its rows are in database %s, which is kept",
				       sum.name, old);
		}
	}
	return 0;
}

/* What is not a table: away, and, where the snapshot has it, there. */
static int my_replace(struct my_conn *w, const char *database, const struct my_entry *entry, struct err *e)
{
	bool invalid = !strncmp(entry->kind, MY_JOURNAL_INVALID, strlen(MY_JOURNAL_INVALID));
	const char *kind = entry->kind + (invalid ? strlen(MY_JOURNAL_INVALID) : 0);
	struct my_statement s = my_entry_statement(entry, my_object_of(kind));

	if (s.kind == MY_N_OBJECTS)
		return err_set(e, EIO, "the journal of the restore names a %s", kind);
	if (s.kind == MY_DATABASE)
		return my_statement_run(w, &s, e);
	/* It was possible; an account that has gone meanwhile has no rights. */
	if (s.kind == MY_GRANT) {
		(void)my_statement_run(w, &s, ERR_DROP);
		return 0;
	}
	int r = my_object_drop(w, database, kind, entry->name, e);
	if (r < 0 || !entry->redo)
		return r;
	s.sql = xstrdup(entry->body);
	struct err why = ERR_INIT;
	r = my_statement_run_definer(w, &s, NULL, &why);
	free(s.sql);
	if (invalid && r != -ECONNRESET && r != -EINTR)
		return 0;
	if (r < 0)
		*e = why;
	return r;
}

static const struct my_statement *my_nth_of_table(const struct my_script *s, const char *table, size_t *i)
{
	for (; *i < s->n; ++*i)
		if (!strcmp(s->statements[*i].table, table))
			return &s->statements[(*i)++];
	return NULL;
}

static int my_put_triggers_of(struct my_conn *w, const char *database, const struct my_script *triggers,
			      const char *table, struct err *e)
{
	const struct my_statement *s;
	int r = 0;

	my_shield(w);
	for (size_t i = 0; r == 0 && (s = my_nth_of_table(triggers, table, &i));)
		r = my_object_drop(w, database, "trigger", s->name, e);
	for (size_t i = 0; r == 0 && (s = my_nth_of_table(triggers, table, &i));) {
		struct my_statement copy = *s;

		copy.sql = xstrdup(s->sql);
		r = my_statement_run_definer(w, &copy, NULL, e);
		free(copy.sql);
	}
	my_unshield(w);
	return r;
}

static bool my_same_collation(struct my_conn *w, const struct my_script *triggers, const char *table)
{
	_cleanup_free_ char *now = NULL;
	const struct my_statement *s;
	bool same = my_select_one(w, &now, ERR_DROP, "SELECT @@collation_database") == 0 && now;

	for (size_t i = 0; same && (s = my_nth_of_table(triggers, table, &i));)
		same = !s->collation || !strcmp(s->collation, now);
	return same;
}

int my_put_triggers(struct my_conn *w, const char *database, const struct my_script *triggers, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < triggers->n; i++) {
		const char *table = triggers->statements[i].table;
		size_t first = 0;

		if (my_nth_of_table(triggers, table, &first) != &triggers->statements[i])
			continue;
		/* The database's default cannot be changed under a lock. */
		bool lock = my_same_collation(w, triggers, table);
		r = lock ? my_exec(w, e, "LOCK TABLES %i.%i WRITE", database, table) : 0;
		/* What a trigger uses is locked with it, and may be missing. */
		if (r < 0 && my_last_errno(w) == MY_ER_NO_SUCH_TABLE)
			r = 0;
		if (r == 0)
			r = my_put_triggers_of(w, database, triggers, table, e);
		(void)mysql_query(w->my, "UNLOCK TABLES");
	}
	return r;
}

static void my_add_trigger(struct my_script *s, const struct my_entry *entry)
{
	const struct my_statement trigger = my_entry_statement(entry, MY_TRIGGER);

	my_script_add_copy(s, &trigger);
}

/* ALTER DATABASE waits for every transaction on its tables: only where the defaults are others. */
static int my_put_defaults(struct my_conn *w, const char *database, const struct my_entry *entry, struct err *e)
{
	_cleanup_script_ struct my_script now = {0};
	int r = my_script_read(w, database, MY_DATABASE, &now, e);

	if (r < 0 || (now.n == 1 && entry->body && !strcmp(now.statements[0].sql, entry->body)))
		return r;
	return my_replace(w, database, entry, e);
}

/* DROP and REDO entries. A trigger that goes for a new one of its name goes with that. */
static int my_replace_all(struct my_conn *w, const char *database, MYSQL_RES *res, struct err *e)
{
	_cleanup_script_ struct my_script triggers = {0};
	struct my_entry entry;
	int r = 0;

	while (my_journal_next(res, &entry))
		if (entry.redo && !strcmp(entry.kind, my_object_words[MY_TRIGGER]))
			my_add_trigger(&triggers, &entry);
	mysql_data_seek(res, 0);
	while (r == 0 && my_journal_next(res, &entry))
		if (strcmp(entry.kind, my_object_words[MY_DATABASE]) != 0 &&
		    (strcmp(entry.kind, my_object_words[MY_TRIGGER]) != 0 ||
		     !my_script_find(&triggers, MY_TRIGGER, entry.name)))
			r = my_replace(w, database, &entry, e);
	if (r == 0)
		r = my_put_triggers(w, database, &triggers, e);
	mysql_data_seek(res, 0);
	while (r == 0 && my_journal_next(res, &entry))
		if (!strcmp(entry.kind, my_object_words[MY_DATABASE]))
			r = my_put_defaults(w, database, &entry, e);
	return r;
}

int my_settle_forward(struct my_conn *w, const char *database, const char *old, const char *shadow, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct err kept = ERR_INIT;
	int r = my_use(w, database, e);

	if (r < 0)
		return r;
	if ((r = my_set_building(w, e)) < 0)
		return r;
	int verified = w->mariadb ? my_verify_old(w, old, &kept) : 0; /* nothing to look at where no table went */
	if ((r = my_journal_read(w, old, MY_PHASE_DROP, MY_PHASE_REDO, &res, e)) < 0)
		return r;
	if ((r = my_replace_all(w, database, res, e)) < 0)
		return err_prefix(e, "the rows are in place, the rest is not (it is tried again at the next start)");
	if (verified < 0) {
		(void)my_exec(w, ERR_DROP, "DROP DATABASE IF EXISTS %i", shadow);
		*e = kept;
		return verified;
	}
	return my_sides_drop(w, old, shadow, e);
}

/* Those that are not there as they were: gone, or lifted. *ret: all of their tables, in their order. */
static int my_missing_triggers(struct my_conn *w, const char *database, const struct my_script *all,
			       struct my_script *ret, struct err *e)
{
	_cleanup_free_ bool *missing = xcalloc(all->n + 1, sizeof *missing);

	for (size_t i = 0; i < all->n; i++) {
		_cleanup_free_ char *there = NULL;
		int r = my_select_one(w, &there, e,
				      "SELECT 1 FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=%q AND "
				      "TRIGGER_NAME=%q AND INSTR(ACTION_STATEMENT, %q)=0",
				      database, all->statements[i].name, MY_LIFTED);
		if (r < 0)
			return r;
		for (size_t k = 0; !there && k < all->n; k++)
			missing[k] |= !strcmp(all->statements[k].table, all->statements[i].table);
	}
	for (size_t i = 0; i < all->n; i++) {
		const struct my_statement *s = &all->statements[i];

		if (missing[i])
			my_script_add_copy(ret, s);
	}
	return 0;
}

static int my_put_view(struct my_conn *w, const char *database, const struct my_entry *entry, struct err *e)
{
	_cleanup_free_ char *there = NULL;
	const struct my_statement s = my_entry_statement(entry, MY_VIEW);
	int r = my_select_one(w, &there, e,
			      "SELECT 1 FROM information_schema.VIEWS WHERE TABLE_SCHEMA=%q AND TABLE_NAME=%q",
			      database, entry->name);
	return r < 0 || there ? r : my_statement_run(w, &s, e);
}

/* Nothing has happened: the triggers and views that had to go come back. */
static int my_settle_back(struct my_conn *w, const char *database, const char *old, const char *shadow, struct err *e)
{
	_cleanup_script_ struct my_script triggers = {0}, missing = {0};
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct my_entry entry;
	uint64_t n = 0;
	int r = my_count_tables(w, old, &n, e);

	if (r < 0)
		return r;
	if (n != 1)
		return err_set(e, EIO, "database %s holds tables, though no swap took place: look at it", old);
	if ((r = my_use(w, database, e)) < 0)
		return r;
	if ((r = my_set_building(w, e)) < 0)
		return r;
	if ((r = my_journal_read(w, old, MY_PHASE_UNDO, MY_PHASE_UNDO, &res, e)) < 0)
		return r;
	while (r == 0 && my_journal_next(res, &entry)) {
		if (!strcmp(entry.kind, my_object_words[MY_TRIGGER]))
			my_add_trigger(&triggers, &entry);
		else if (!strcmp(entry.kind, my_object_words[MY_VIEW]))
			r = my_put_view(w, database, &entry, e);
	}
	if (r == 0)
		r = my_missing_triggers(w, database, &triggers, &missing, e);
	if (r == 0)
		r = my_put_triggers(w, database, &missing, e);
	mysql_data_seek(res, 0);
	while (r == 0 && my_journal_next(res, &entry))
		if (!strcmp(entry.kind, my_object_words[MY_DATABASE]))
			r = my_put_defaults(w, database, &entry, e);
	return r < 0 ? r : my_sides_drop(w, old, shadow, e);
}

int my_settle_locked(struct my_conn *w, const char *database, struct err *e)
{
	_cleanup_free_ char *old = my_old_name(database), *shadow = my_shadow_name(database);
	enum my_state state = MY_STATE_BUILDING;
	uint64_t n = 0, n_shadow = 0;
	bool there = false, new_tables = false;
	int r = my_database_exists(w, old, &there, e);

	if (r < 0 || !there)
		return r;
	if ((r = my_journal_exists(w, old, &there, e)) < 0)
		return r;
	if (!there) {
		/* Made, and then the crash; or somebody else's. */
		if ((r = my_count_tables(w, old, &n, e)) < 0 || n > 0)
			return r;
		return my_exec(w, e, "DROP DATABASE %i", old);
	}
	if ((r = my_exec(w, e, "SET SESSION foreign_key_checks=0")) < 0)
		return r;
	if ((r = my_journal_state(w, old, &state, &new_tables, e)) < 0)
		return r;
	if ((r = my_count_tables(w, shadow, &n_shadow, e)) < 0)
		return r;
	if ((r = my_count_tables(w, old, &n, e)) < 0)
		return r;
	switch (state) {
	case MY_STATE_KEPT:
		return 0;
	case MY_STATE_ROWS:
		return my_settle_forward(w, database, old, shadow, e);
	case MY_STATE_SWAP:
		/* All the new tables left the shadow database in the one statement that took the old ones away. */
		if (new_tables ? n_shadow == 0 : n > 1)
			return my_settle_forward(w, database, old, shadow, e);
		break;
	default:
		break;
	}
	return my_settle_back(w, database, old, shadow, e);
}

static int my_settle_all(struct my_conn *c, const char *database, struct err *e)
{
	/* What a dead restore's sessions were doing goes on for a while. */
	for (int lock = 0; lock < MY_N_LOCKS; lock++) {
		int r = my_lock_advisory(c, database, (enum my_lock)lock, MY_ADVISORY_WAIT_S, e);
		if (r < 0)
			return r;
	}
	return my_settle_locked(c, database, e);
}

int my_settle(struct db_conn *dc, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	_cleanup_free_ char *old = my_old_name(c->database), *database = xstrdup(c->database);
	bool there = false;

	assert(!c->in_transaction);
	int r = my_database_exists(c, old, &there, e);
	if (r < 0 || !there)
		return r;
	r = my_settle_all(c, database, e);
	my_unlock_advisory(c);
	my_set_reading(c);
	return r;
}
