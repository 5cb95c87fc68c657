/*
 * drivers/mysql/journal.c - the driver's own record of a rebuild: a table in DB__metasnap_old, from before the first
 * table is made until the last old one is gone. settle.c reads it.
 *
 * Its rows, by phase: "state" (kind: building, swap, rows, kept; the last one holds), "undo" (statements that go for the swap and come back
 * when it does not happen), "drop" and "redo" (what is not a table, after the swap), "sum" (of the old tables),
 * "tables" (one; how many new tables there are). On the thread of the connection given; no locks.
 */
#include <errno.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static const char *const my_phase_words[] = {
    [MY_PHASE_STATE] = "state", [MY_PHASE_UNDO] = "undo", [MY_PHASE_DROP] = "drop",
    [MY_PHASE_REDO] = "redo",   [MY_PHASE_SUM] = "sum",   [MY_PHASE_TABLES] = "tables",
};

static const char *const my_state_words[MY_N_STATES] = {
    [MY_STATE_BUILDING] = "building",
    [MY_STATE_SWAP] = "swap",
    [MY_STATE_ROWS] = "rows",
    [MY_STATE_KEPT] = "kept",
};

int my_journal_add(struct my_conn *w, const char *old, enum my_phase phase, const char *kind, const char *name,
		   const char *settings, const char *body, struct err *e)
{
	return my_exec(w, e,
		       "INSERT INTO %i." MY_JOURNAL " (phase, kind, name, settings, body) VALUES (%q, %q, %q, %q, %q)",
		       old, my_phase_words[phase], kind, name, settings ? settings : "", body ? body : "");
}

int my_journal_add_statement(struct my_conn *w, const char *old, enum my_phase phase, const struct my_statement *s,
			     struct err *e)
{
	/* A line more than the settings. */
	_cleanup_free_ char *settings =
	    s->collation ? xasprintf("%s\n%s", s->settings ? s->settings : "", s->collation) : xstrdup(s->settings);
	_cleanup_free_ char *kind = xasprintf("%s%s", s->invalid ? MY_JOURNAL_INVALID : "", my_object_words[s->kind]);

	return my_journal_add(w, old, phase, kind, s->name, settings, s->sql, e);
}

int my_journal_set_state(struct my_conn *w, const char *old, enum my_state state, struct err *e)
{
	return my_exec(w, e, "UPDATE %i." MY_JOURNAL " SET kind=%q WHERE phase='state'", old, my_state_words[state]);
}

/* A transaction that is older than the journal cannot change its rows. */
int my_journal_add_state(struct my_conn *c, const char *old, enum my_state state, struct err *e)
{
	return my_journal_add(c, old, MY_PHASE_STATE, my_state_words[state], "", NULL, NULL, e);
}

int my_journal_exists(struct my_conn *w, const char *old, bool *ret, struct err *e)
{
	uint64_t n;
	int r = my_count(w, &n, e, "TABLES WHERE TABLE_NAME='" MY_JOURNAL "' AND TABLE_SCHEMA", old);

	*ret = n > 0;
	return r;
}

int my_journal_state(struct my_conn *w, const char *old, enum my_state *ret, bool *ret_tables, struct err *e)
{
	_cleanup_free_ char *state = NULL, *tables = NULL;
	int r = my_select_one(w, &state, e,
			      "SELECT kind FROM %i." MY_JOURNAL " WHERE phase='state' ORDER BY seq DESC LIMIT 1", old);

	if (r < 0)
		return r;
	if ((r = my_select_one(w, &tables, e, "SELECT body FROM %i." MY_JOURNAL " WHERE phase='tables'", old)) < 0)
		return r;
	*ret = MY_STATE_BUILDING;
	for (int i = 0; state && i < MY_N_STATES; i++)
		if (!strcmp(state, my_state_words[i]))
			*ret = (enum my_state)i;
	*ret_tables = tables && strcmp(tables, "0") != 0;
	return 0;
}

int my_journal_read(struct my_conn *w, const char *old, enum my_phase first, enum my_phase last, MYSQL_RES **ret,
		    struct err *e)
{
	return my_select(
	    w, ret, e,
	    "SELECT phase, kind, name, SUBSTRING_INDEX(settings, '\n', 1), body, IF(INSTR(settings, '\n') > 0, "
	    "SUBSTRING_INDEX(settings, '\n', -1), NULL) FROM %i." MY_JOURNAL
	    " WHERE phase IN (%q,%q) ORDER BY phase, seq",
	    old, my_phase_words[first], my_phase_words[last]);
}

bool my_journal_next(MYSQL_RES *res, struct my_entry *ret)
{
	MYSQL_ROW row = mysql_fetch_row(res);

	if (!row)
		return false;
	*ret = (struct my_entry){
	    .redo = !strcmp(row[0], my_phase_words[MY_PHASE_REDO]),
	    .kind = row[1],
	    .name = row[2],
	    .settings = row[3][0] ? row[3] : NULL,
	    .body = row[4],
	    .collation = row[5],
	};
	return true;
}

struct my_statement my_entry_statement(const struct my_entry *entry, enum my_object kind)
{
	return (struct my_statement){.kind = kind,
				     .name = entry->name,
				     .settings = entry->settings,
				     .collation = entry->collation,
				     .sql = entry->body};
}

static int my_sides_create(struct my_conn *w, const char *old, const char *shadow, struct err *e)
{
	int r = my_exec(w, e, "CREATE DATABASE %i CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", old);

	if (r < 0)
		return r;
	r = my_exec(w, e,
		    "CREATE TABLE %i." MY_JOURNAL
		    " (seq INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, phase VARCHAR(16) NOT NULL, "
		    "kind VARCHAR(32) NOT NULL, name VARCHAR(200) NOT NULL, settings TEXT NOT NULL, "
		    "body LONGTEXT NOT NULL) "
		    "ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT='metasnap: a restore under way'",
		    old);
	if (r < 0)
		return r;
	r = my_journal_add(w, old, MY_PHASE_STATE, my_state_words[MY_STATE_BUILDING], shadow, NULL, NULL, e);
	if (r < 0)
		return r;
	return my_exec(w, e, "CREATE DATABASE %i CHARACTER SET utf8mb4", shadow);
}

int my_sides_make(struct my_conn *w, const char *old, const char *shadow, struct err *e)
{
	bool there = false;
	int r = my_database_exists(w, shadow, &there, e);

	if (r < 0)
		return r;
	if (there)
		return err_set(e, EEXIST, "database %s is there and is not metasnap's: rename or drop it", shadow);
	if ((r = my_database_exists(w, old, &there, e)) < 0)
		return r;
	if (there)
		return err_set(e, EEXIST,
			       "database %s is there: it holds what an earlier restore kept; look at it, then drop it",
			       old);
	r = my_sides_create(w, old, shadow, e);
	if (r == -EACCES)
		err_prefix(e,
			   "to replace a schema the user must be able to make the databases %s and %s (GRANT ALL ON "
			   "`%s`.* TO ...; the same for the other)",
			   shadow, old, shadow);
	return r;
}
