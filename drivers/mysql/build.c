/*
 * drivers/mysql/build.c - the new schema in the shadow database: its tables without the indexes that are made of all
 * rows afterwards, and a try of everything that is not a table.
 *
 * Nobody else sees the shadow database, and a failure here harms nothing. On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

int my_check_inbound(struct my_conn *c, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e,
			  "SELECT DISTINCT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_NAME FROM "
			  "information_schema.KEY_COLUMN_USAGE "
			  "WHERE REFERENCED_TABLE_SCHEMA=%q",
			  c->database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));)
		if (my_catalog_find(&c->catalog, row[3]) &&
		    (strcmp(row[1], c->database) != 0 || !my_catalog_find(&c->catalog, row[2])))
			return err_set(e, ENOTSUP,
				       "foreign key %s of table %s.%s refers to table %s, which would be replaced: "
				       "drop the key, or restore "
				       "into an unchanged schema",
				       row[0], row[1], row[2], row[3]);
	return 0;
}

int my_mark_same(struct my_conn *c, struct my_script *script, struct err *e)
{
	_cleanup_script_ struct my_script there = {0};

	for (int k = MY_FUNCTION; k < MY_N_OBJECTS; k++) {
		/* Triggers go with the old tables. A definition hidden from us is not the same. */
		int r = k == MY_TRIGGER ? 0 : my_script_read(c, c->database, (enum my_object)k, &there, e);
		if (r < 0 && r != -EACCES)
			return r;
	}
	for (size_t i = 0; i < script->n; i++)
		for (size_t k = 0; k < there.n && !script->statements[i].same; k++) {
			const struct my_statement *a = &script->statements[i], *b = &there.statements[k];

			script->statements[i].same = a->kind == b->kind && !strcmp(a->name, b->name) &&
						     !strcmp(a->sql, b->sql) && a->settings && b->settings &&
						     !strcmp(a->settings, b->settings);
		}
	return 0;
}

/* A foreign key wants its indexes on both sides from the beginning. */
static bool my_has_foreign(const struct my_script *script, const struct my_statement *table)
{
	_cleanup_strbuf_ struct strbuf word = {0};

	my_sql(&word, "REFERENCES %i ", table->name);
	for (size_t i = 0; i < script->n; i++)
		if (script->statements[i].kind == MY_TABLE && strcasestr(script->statements[i].sql, strbuf_str(&word)))
			return true;
	return strstr(table->sql, " FOREIGN KEY (") != NULL;
}

/*
 * The definition without its secondary indexes, which are made of all rows at once afterwards, and the statement that
 * makes them. NULL: there are none. Without a primary key the rows lie in the order of a unique one: that stays. SHOW
 * CREATE has one line for each index; were a line something else, the server would not take the rest, and the table is
 * then made whole.
 */
static char *my_without_indexes(const struct my_statement *s, const char *database, char **ret_indexes)
{
	_cleanup_strbuf_ struct strbuf rest = {0}, indexes = {0};
	bool primary = strstr(s->sql, "\n  PRIMARY KEY (") != NULL;
	const char *line = strchr(s->sql, '\n');

	if (!line)
		return NULL;
	strbuf_add(&rest, s->sql, (size_t)(line - s->sql));
	while (line && strncmp(line, "\n)", 2) != 0) {
		const char *next = strchr(line + 1, '\n'), *end = next ? next : line + strlen(line);
		bool index = !strncmp(line, "\n  KEY `", 8) || (primary && !strncmp(line, "\n  UNIQUE KEY `", 15));

		end -= end[-1] == ',';
		if (index) {
			strbuf_adds(&indexes, indexes.len ? ", ADD" : " ADD");
			strbuf_add(&indexes, line + 2, (size_t)(end - line - 2));
		} else {
			strbuf_adds(&rest, rest.data[rest.len - 1] == '(' ? "" : ",");
			strbuf_add(&rest, line, (size_t)(end - line));
		}
		line = next;
	}
	if (!line || !indexes.len)
		return NULL;
	strbuf_adds(&rest, line);
	struct strbuf alter = {0};
	my_sql(&alter, "ALTER TABLE %i.%i%s", database, s->name, strbuf_str(&indexes));
	*ret_indexes = strbuf_detach(&alter);
	return strbuf_detach(&rest);
}

int my_make_tables(struct my_conn *w, struct my_script *script, struct err *e)
{
	for (size_t i = 0; i < script->n; i++) {
		struct my_statement *s = &script->statements[i], first = *s;
		int r = -1;

		if (s->kind != MY_TABLE || db_params_excludes(&w->params, s->name))
			continue;
		_cleanup_free_ char *rest =
		    my_has_foreign(script, s) ? NULL : my_without_indexes(s, w->database, &s->indexes);
		first.sql = rest;
		if (!rest || (r = my_statement_run(w, &first, ERR_DROP)) < 0) {
			free(TAKE_PTR(s->indexes));
			r = my_statement_run(w, s, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int my_compare_tables(struct my_conn *w, const struct my_script *script, struct strbuf *warnings, struct err *e)
{
	_cleanup_free_ char **names = xcalloc(script->n + 1, sizeof *names);
	_cleanup_script_ struct my_script there = {0};
	size_t n = 0;

	for (size_t i = 0; i < script->n; i++)
		if (script->statements[i].kind == MY_TABLE &&
		    !db_params_excludes(&w->params, script->statements[i].name))
			names[n++] = script->statements[i].name;
	int r = my_show_tables(w, w->database, names, n, &there, e);
	if (r < 0)
		return r;
	for (size_t i = 0, k = 0; i < script->n && k < n; i++) {
		if (script->statements[i].name != names[k])
			continue;
		if (strcmp(there.statements[k].sql, script->statements[i].sql) != 0)
			strbuf_addf(warnings, "table %s: this server writes its definition differently\n", names[k]);
		k++;
	}
	return 0;
}

int my_try_objects(struct my_conn *w, struct my_script *script, struct strbuf *warnings, struct err *e)
{
	int r;

	for (size_t i = 0; i < script->n; i++) {
		struct my_statement *s = &script->statements[i];

		if (s->kind == MY_TABLE || s->same || db_params_excludes(&w->params, s->name))
			continue;
		if (s->kind == MY_EVENT) {
			if ((r = my_event_try(w, s, warnings, e)) < 0)
				return r;
			continue;
		}
		if ((r = my_statement_run_definer(w, s, warnings, e)) < 0)
			return r;
		/* A table with triggers cannot be renamed into another database. */
		if (s->kind == MY_TRIGGER && (r = my_object_drop(w, w->database, "trigger", s->name, e)) < 0)
			return r;
	}
	return 0;
}
