/*
 * drivers/mysql/trial.c - what is not a table, made once in the shadow database before anything is done to the real
 * one.
 *
 * What stays as it is has no place there but for what views look at: a table is a view of the real one, the table of a
 * trigger an empty copy. Views that stay are made there, too, from their own text: over tables that are made anew they
 * may be none any more, and then no view over them can be made. Views are tried until no more can be made, so that each
 * comes after those it uses. On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static bool my_is_tried(const struct my_statement *s, enum my_object kind)
{
	return s->kind == kind && !s->same;
}

static bool my_tries_views(const struct my_script *script)
{
	for (size_t i = 0; i < script->n; i++)
		if (my_is_tried(&script->statements[i], MY_VIEW))
			return true;
	return false;
}

static bool my_text_names(const struct my_script *script, const char *name)
{
	_cleanup_strbuf_ struct strbuf quoted = {0};

	my_sql(&quoted, "%i", name);
	for (size_t i = 0; i < script->n; i++)
		if (script->statements[i].kind == MY_VIEW && strstr(script->statements[i].sql, strbuf_str(&quoted)))
			return true;
	return false;
}

/* One that cannot be made is one that no view can use. */
static void my_stand_in(struct my_conn *c, struct my_conn *w, const struct my_statement *s)
{
	if (s->kind == MY_TABLE) {
		(void)my_exec(w, ERR_DROP, "CREATE SQL SECURITY INVOKER VIEW %i AS SELECT * FROM %i.%i", s->name,
			      c->database, s->name);
	} else if (s->kind == MY_FUNCTION) {
		struct my_statement copy = *s;

		copy.sql = xstrdup(s->sql);
		(void)my_statement_run_definer(w, &copy, NULL, ERR_DROP);
		free(copy.sql);
	}
}

/* With the rights of who tries it: its DEFINER may have none on the shadow database. */
static char *my_as_invoker(const char *sql)
{
	struct my_word word;
	const char *p = sql, *start = NULL;

	while (my_next_word(&p, &word) && !my_word_is(&word, "VIEW"))
		if (!start && (my_word_is(&word, "DEFINER") || my_word_is(&word, "SQL")))
			start = word.start;
	if (!start)
		return xstrdup(sql);
	return xasprintf("%.*sSQL SECURITY INVOKER %s", (int)(start - sql), sql, word.start);
}

static int my_try_view(struct my_conn *w, struct my_statement *s, bool *ret_made, struct err *e)
{
	struct my_statement copy = *s;

	unsigned refusal = 0;

	copy.sql = my_as_invoker(s->sql);
	int r = my_statement_try(w, &copy, &refusal, e);
	free(copy.sql);
	*ret_made = r == 0;
	if (r == 0 || r == -EINTR || r == -ECONNRESET)
		return r;
	switch (refusal) {
	case MY_ER_BAD_FIELD:
	case MY_ER_NO_SUCH_TABLE:
	case MY_ER_NO_SUCH_ROUTINE:
	case MY_ER_VIEW_INVALID:
		return 0;
	default:
		return r;
	}
}

/* Views that use what is not there were so at the snapshot: nobody could read them, and nobody can make them. */
static void my_give_up_views(struct my_script *script, const bool *made, struct strbuf *warnings)
{
	for (size_t i = 0; i < script->n; i++) {
		struct my_statement *s = &script->statements[i];

		if (!my_is_tried(s, MY_VIEW) || made[i])
			continue;
		s->invalid = true;
		strbuf_addf(warnings,
			    "view %s: it uses a table, column or function that is not in the snapshot either, and the "
			    "server makes no such view: it is left out where it is not there already\n",
			    s->name);
	}
}

static int my_try_views(struct my_conn *w, struct my_script *script, struct strbuf *warnings, struct err *e)
{
	_cleanup_free_ bool *made = xcalloc(script->n + 1, sizeof *made);
	_cleanup_free_ struct my_statement *order = xcalloc(script->n + 1, sizeof *order);
	size_t n = 0, first = script->n;
	int r = 0;

	if (!my_tries_views(script))
		return 0;
	for (size_t i = 0; r == 0 && i < script->n; i++)
		if (my_is_tried(&script->statements[i], MY_VIEW))
			r = my_definer_try(w, &script->statements[i], warnings, e);
	for (bool some = true; r == 0 && some;) {
		some = false;
		for (size_t i = 0; r == 0 && i < script->n; i++) {
			struct err why = ERR_INIT;

			if (made[i] || script->statements[i].kind != MY_VIEW)
				continue;
			r = my_try_view(w, &script->statements[i], &made[i], &why);
			if (script->statements[i].same && r != -EINTR && r != -ECONNRESET)
				r = 0; /* it stays, whatever this user may make */
			if (r < 0)
				*e = why;
			if (made[i])
				order[n++] = script->statements[i];
			some |= made[i];
		}
	}
	if (r < 0)
		return r;
	my_give_up_views(script, made, warnings);
	/* All views lie together. */
	for (size_t i = 0; i < script->n; i++) {
		if (script->statements[i].kind != MY_VIEW)
			continue;
		first = i < first ? i : first;
		if (!made[i])
			order[n++] = script->statements[i];
	}
	for (size_t i = 0; i < n; i++)
		script->statements[first + i] = order[i];
	return 0;
}

/* A table with triggers cannot be renamed into another database. */
static int my_try_trigger(struct my_conn *c, struct my_conn *w, const struct my_script *script, struct my_statement *s,
			  struct strbuf *warnings, struct err *e)
{
	const struct my_statement *table = my_script_find(script, MY_TABLE, s->table);
	bool copy = !table || table->same;
	int r = copy ? my_object_drop(w, w->database, "view", s->table, e) : 0;

	if (r == 0 && copy)
		r = my_exec(w, e, "CREATE TABLE %i LIKE %i.%i", s->table, c->database, s->table);
	if (r < 0)
		return r;
	char *typed = s->sql;
	s->sql = my_trigger_unqualified(typed);
	r = my_statement_run_definer(w, s, warnings, e);
	free(s->sql);
	s->sql = typed;
	if (r == 0)
		r = my_object_drop(w, w->database, "trigger", s->name, e);
	if (copy) {
		int q = my_exec(w, r == 0 ? e : ERR_DROP, "DROP TABLE %i", s->table);
		r = r < 0 ? r : q;
	}
	return r;
}

int my_try_objects(struct my_conn *c, struct my_conn *w, struct my_script *script, struct strbuf *warnings,
		   struct err *e)
{
	_cleanup_script_ struct my_script grants = {0};
	int r = 0;

	for (size_t i = 0; my_tries_views(script) && i < script->n; i++)
		if (script->statements[i].same && my_text_names(script, script->statements[i].name))
			my_stand_in(c, w, &script->statements[i]);
	for (size_t i = 0; r == 0 && i < script->n; i++) {
		struct my_statement *s = &script->statements[i];

		if (s->same || s->kind < MY_FUNCTION || s->kind > MY_PACKAGE_BODY)
			continue;
		r = my_statement_run_definer(w, s, warnings, e);
		if (r == 0 && my_script_find(&c->drops, s->kind, s->name))
			r = my_grants_of(c, w, s, &grants, warnings, e);
	}
	if (r == 0)
		r = my_try_views(w, script, warnings, e);
	for (size_t i = 0; r == 0 && i < script->n; i++) {
		struct my_statement *s = &script->statements[i];

		if (my_is_tried(s, MY_TRIGGER))
			r = my_try_trigger(c, w, script, s, warnings, e);
		else if (my_is_tried(s, MY_EVENT))
			r = my_definer_try(w, s, warnings, e);
	}
	for (size_t i = 0; r == 0 && i < grants.n; i++)
		my_script_add_copy(script, &grants.statements[i]);
	return r;
}
