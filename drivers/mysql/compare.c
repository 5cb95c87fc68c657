/*
 * drivers/mysql/compare.c - which objects of two definitions differ, and what is to be done about each.
 *
 * Tables that differ are made anew, and with them, as RENAME takes foreign keys along by table, those that foreign keys
 * connect with them. Rows of other tables cannot be changed in the moment of the RENAME: tables whose rows differ go
 * the same way then. A trigger goes with its table, and those of one table are made in their order.
 *
 * Where two texts of a table differ in more than normal.c knows, both are made in the shadow database, when it can be
 * made at all: the same text from the server means that they are the same. On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

/* Of a table of the wanted definitions. */
struct my_fate {
	size_t statement; /* of my_comparing.want */
	const struct my_statement *live;
	char **parents; /* tables that its foreign keys refer to */
	size_t n_parents;
	bool anew;
	char *because; /* NULL: it differs itself */
};

struct my_comparing {
	struct my_conn *c;
	const struct db_definitions *have, *need;
	struct my_script live, want;
	struct my_normal normal;
	struct my_fate *tables;
	size_t n_tables;
	struct db_objects *ret;
};

static void my_comparing_done(struct my_comparing *m)
{
	for (size_t i = 0; i < m->n_tables; i++) {
		for (size_t k = 0; k < m->tables[i].n_parents; k++)
			free(m->tables[i].parents[k]);
		free(m->tables[i].parents);
		free(m->tables[i].because);
	}
	free(m->tables);
	my_script_done(&m->live);
	my_script_done(&m->want);
	my_normal_done(&m->normal);
}

/* ---- tables ---- */

static struct my_fate *my_fate_of(const struct my_comparing *m, const char *table)
{
	for (size_t i = 0; i < m->n_tables; i++)
		if (!strcmp(m->want.statements[m->tables[i].statement].name, table))
			return &m->tables[i];
	return NULL;
}

static void my_find_parents(const struct my_comparing *m, struct my_fate *t)
{
	const char *p = m->want.statements[t->statement].sql;
	char *parent;

	while (my_next_reference(&p, m->need->schema->database, &parent)) {
		t->parents = xrealloc(t->parents, (t->n_parents + 1) * sizeof *t->parents);
		t->parents[t->n_parents++] = parent;
	}
}

static void my_compare_tables_text(struct my_comparing *m)
{
	m->tables = xcalloc(m->want.n + 1, sizeof *m->tables);
	for (size_t i = 0; i < m->want.n; i++) {
		const struct my_statement *s = &m->want.statements[i];

		if (s->kind != MY_TABLE || db_params_excludes(&m->c->params, s->name))
			continue;
		struct my_fate *t = &m->tables[m->n_tables++];
		*t = (struct my_fate){.statement = i, .live = my_script_find(&m->live, MY_TABLE, s->name)};
		t->anew = !t->live || !my_normal_same(&m->normal, t->live, s);
		my_find_parents(m, t);
	}
}

/* Other columns: nothing that another version could write otherwise. */
static bool my_same_columns(const struct my_comparing *m, const char *name)
{
	const struct db_table *a = db_schema_find(m->have->schema, name), *b = db_schema_find(m->need->schema, name);
	bool same = a && b && a->n_columns == b->n_columns;

	for (size_t i = 0; same && i < a->n_columns; i++)
		same = !strcmp(a->columns[i].name, b->columns[i].name);
	return same;
}

/* *ret: what the server writes for a table that the statement has made; NULL where it does not take it. */
static int my_try_text(struct my_conn *w, const struct my_statement *s, struct my_script *ret, struct err *e)
{
	struct err why = ERR_INIT;
	int r = my_statement_run(w, s, &why);

	if (r == -ECONNRESET || r == -EINTR) {
		*e = why;
		return r;
	}
	if (r < 0)
		return 0;
	r = my_show_create(w, w->database, MY_TABLE, s->name, ret, e);
	return r < 0 ? r : my_exec(w, e, "DROP TABLE %i", s->name);
}

static int my_probe_table(struct my_comparing *m, struct my_conn *w, struct my_fate *t, struct err *e)
{
	_cleanup_script_ struct my_script made = {0};
	int r = my_try_text(w, &m->want.statements[t->statement], &made, e);

	if (r == 0)
		r = my_try_text(w, t->live, &made, e);
	if (r == 0 && made.n == 2)
		t->anew = !my_normal_same(&m->normal, &made.statements[0], &made.statements[1]);
	return r;
}

static int my_probe_in(struct my_comparing *m, struct my_conn *w, const char *shadow, struct err *e)
{
	int r = my_use(w, shadow, e);

	if (r == 0)
		r = my_set_building(w, e);
	for (size_t i = 0; r == 0 && i < m->n_tables; i++) {
		struct my_fate *t = &m->tables[i];

		if (t->anew && t->live && my_same_columns(m, t->live->name))
			r = my_probe_table(m, w, t, e);
	}
	return r;
}

/* Only a restore may make the two databases beside; without the right to, the texts decide. */
static int my_probe(struct my_comparing *m, struct err *e)
{
	_cleanup_free_ char *old = my_old_name(m->c->database), *shadow = my_shadow_name(m->c->database);
	struct err why = ERR_INIT;
	struct my_conn *w;
	bool any = false;

	for (size_t i = 0; i < m->n_tables; i++)
		any |= m->tables[i].anew && m->tables[i].live && my_same_columns(m, m->tables[i].live->name);
	if (!any || m->c->access != DB_WRITE)
		return 0;
	int r = my_builder_open(m->c, &w, e);
	if (r < 0)
		return r;
	r = my_sides_make(w, old, shadow, &why);
	if (r == 0) {
		r = my_probe_in(m, w, shadow, &why);
		int q = my_sides_drop(w, old, shadow, r == 0 ? &why : ERR_DROP);
		r = r < 0 ? r : q;
	} else if (r == -EACCES) {
		r = 0;
	}
	(void)my_use(w, m->c->database, ERR_DROP);
	my_unlock_advisory(w);
	if (r < 0)
		*e = why;
	return r;
}

/* ---- what goes with a table ---- */

static bool my_goes(const struct my_comparing *m, const char *table)
{
	const struct my_fate *t = my_fate_of(m, table);

	return t ? t->anew : my_script_find(&m->live, MY_TABLE, table) != NULL;
}

static void my_take_along(struct my_fate *t, bool *changed, char *because)
{
	t->anew = *changed = true;
	free(t->because);
	t->because = because;
}

/* RENAME takes a foreign key along with either of its tables. */
static void my_close_over_keys(const struct my_comparing *m)
{
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < m->n_tables; i++) {
			struct my_fate *t = &m->tables[i];
			const char *name = m->want.statements[t->statement].name;

			for (size_t k = 0; k < t->n_parents; k++) {
				struct my_fate *parent = my_fate_of(m, t->parents[k]);

				if (t->anew && parent && !parent->anew)
					my_take_along(parent, &changed, xasprintf("table %s refers to it", name));
				else if (!t->anew && my_goes(m, t->parents[k]))
					my_take_along(t, &changed, xasprintf("it refers to table %s", t->parents[k]));
			}
		}
	}
}

static bool my_any_table(const struct my_comparing *m)
{
	for (size_t i = 0; i < m->n_tables; i++)
		if (m->tables[i].anew)
			return true;
	for (size_t i = 0; i < m->live.n; i++)
		if (m->live.statements[i].kind == MY_TABLE && my_goes(m, m->live.statements[i].name))
			return true;
	return false;
}

static void my_take_touched(const struct my_comparing *m, const bool *touched)
{
	bool changed = false;

	for (size_t i = 0; touched && my_any_table(m) && i < m->need->schema->n_tables; i++) {
		struct my_fate *t = touched[i] ? my_fate_of(m, m->need->schema->tables[i].name) : NULL;

		if (t && !t->anew)
			my_take_along(t, &changed, xstrdup("its rows differ, and other tables are made anew"));
	}
	if (changed)
		my_close_over_keys(m);
}

/* ---- the list ---- */

static void my_note(struct my_comparing *m, enum db_deed deed, const struct my_statement *s, char *because)
{
	db_objects_add(m->ret, deed, xstrdup(my_object_words[s->kind]), xstrdup(s->name), because);
}

static void my_note_tables(struct my_comparing *m)
{
	for (size_t i = 0; i < m->live.n; i++) {
		const struct my_statement *s = &m->live.statements[i];

		if (s->kind == MY_TABLE && !my_fate_of(m, s->name))
			my_note(m, DB_DEED_DROP, s, NULL);
	}
	for (size_t i = 0; i < m->n_tables; i++) {
		struct my_fate *t = &m->tables[i];

		if (t->anew)
			my_note(m, t->live ? DB_DEED_REMAKE : DB_DEED_MAKE, &m->want.statements[t->statement],
				TAKE_PTR(t->because));
	}
	for (size_t i = 0; i < m->need->schema->n_tables; i++) {
		const struct my_fate *t = my_fate_of(m, m->need->schema->tables[i].name);

		m->ret->remade[i] = t && t->anew;
	}
}

/* The next trigger of a table in a script, from *i on. */
static const struct my_statement *my_trigger_of(const struct my_script *s, const char *table, size_t *i)
{
	for (; *i < s->n; ++*i)
		if (s->statements[*i].kind == MY_TRIGGER && !strcmp(s->statements[*i].table, table))
			return &s->statements[(*i)++];
	return NULL;
}

/* The same ones in the same order. */
static bool my_same_triggers(const struct my_comparing *m, const char *table)
{
	size_t i = 0, k = 0;

	for (;;) {
		const struct my_statement *a = my_trigger_of(&m->live, table, &i);
		const struct my_statement *b = my_trigger_of(&m->want, table, &k);

		if (!a && !b)
			return true;
		if (!a || !b || strcmp(a->name, b->name) != 0 || !my_normal_same(&m->normal, a, b))
			return false;
	}
}

static bool my_stays(const struct my_comparing *m, const struct my_statement *live, const struct my_statement *want)
{
	if (want->kind == MY_TRIGGER)
		return !my_goes(m, want->table) && my_same_triggers(m, want->table);
	/* Its package takes it along. */
	const struct my_statement *package =
	    want->kind == MY_PACKAGE_BODY ? my_script_find(&m->want, MY_PACKAGE, want->name) : NULL;
	if (package && !my_stays(m, my_script_find(&m->live, MY_PACKAGE, want->name), package))
		return false;
	return live && my_normal_same(&m->normal, live, want);
}

/* What is in the database only goes; of what the snapshot did not see nobody knows whether it was there: it stays, or
 * comes again where its table is made anew. */
static void my_note_unknown(struct my_comparing *m, const struct my_statement *s)
{
	if (!my_script_find(&m->want, MY_LEFT_OUT, my_object_words[s->kind]))
		my_note(m, DB_DEED_DROP, s, NULL);
	else if (s->kind == MY_TRIGGER && my_goes(m, s->table))
		my_note(m, my_fate_of(m, s->table) ? DB_DEED_REMAKE : DB_DEED_DROP, s, xasprintf("table %s", s->table));
}

static void my_note_others(struct my_comparing *m)
{
	for (size_t i = 0; i < m->live.n; i++) {
		const struct my_statement *s = &m->live.statements[i];

		if (s->kind != MY_TABLE && s->kind != MY_DATABASE && s->kind != MY_LEFT_OUT &&
		    !my_script_find(&m->want, s->kind, s->name))
			my_note_unknown(m, s);
	}
	for (size_t i = 0; i < m->want.n; i++) {
		const struct my_statement *s = &m->want.statements[i];
		const struct my_statement *live = my_script_find(&m->live, s->kind, s->name);
		const char *excluded_by = s->kind == MY_TRIGGER ? s->table : s->name;

		if (s->kind == MY_TABLE || s->kind == MY_LEFT_OUT || db_params_excludes(&m->c->params, excluded_by) ||
		    my_stays(m, live, s))
			continue;
		char *because = NULL;
		if (s->kind == MY_TRIGGER && live && my_normal_same(&m->normal, live, s))
			because = my_goes(m, s->table) ? xasprintf("table %s", s->table)
						       : xasprintf("triggers of table %s", s->table);
		if (!live && my_script_find(&m->live, MY_LEFT_OUT, my_object_words[s->kind]))
			err_set(&m->ret->refusal, EACCES,
				"%s %s is in the snapshot, and the account does not see those that the database has "
				"now (metasnap preflight names the rights that it lacks)",
				my_object_words[s->kind], s->name);
		my_note(m, s->kind == MY_DATABASE ? DB_DEED_ALTER : live ? DB_DEED_REMAKE : DB_DEED_MAKE, s, because);
	}
}

/* ---- the whole ---- */

static int my_compare_in(struct my_comparing *m, const bool *touched, struct err *e)
{
	int r = my_script_parse(&m->live, m->have->sql, e);

	if (r == 0)
		r = my_script_parse(&m->want, m->need->sql, e);
	if (r == 0)
		r = my_normal_init(&m->normal, m->c, e);
	if (r < 0)
		return r;
	my_script_localise(&m->live, m->have->schema->database, m->c->database);
	my_script_localise(&m->want, m->need->schema->database, m->c->database);
	my_script_fill_collations(&m->live);
	my_script_fill_collations(&m->want);
	my_compare_tables_text(m);
	if ((r = my_probe(m, e)) < 0)
		return r;
	my_close_over_keys(m);
	my_take_touched(m, touched);
	my_note_tables(m);
	my_note_others(m);
	return my_check_inbound(m->c, m->ret, e);
}

int my_compare(struct db_conn *dc, const struct db_definitions *live, const struct db_definitions *want,
	       const bool *touched, struct db_objects *ret, struct err *e)
{
	_cleanup_(my_comparing_done) struct my_comparing m = {
	    .c = my_conn_of(dc), .have = live, .need = want, .ret = ret};

	*ret = (struct db_objects){.remade = xcalloc(want->schema->n_tables + 1, sizeof *ret->remade)};
	return strcmp(live->sql, want->sql) != 0 ? my_compare_in(&m, touched, e) : 0;
}
