/*
 * drivers/mysql/ddl.c - definitions as the server tells them (SHOW CREATE ...), for script.c to write down.
 *
 * Order: tables (keys may refer forward: checks are off), functions, procedures, views (after the views they use),
 * triggers, events. Databases, users and grants are not in it. On the connection's thread; no locks.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "drivers/mysql/internal.h"

static int my_field(MYSQL_RES *res, const char *name)
{
	unsigned n = mysql_num_fields(res);
	const MYSQL_FIELD *fields = mysql_fetch_fields(res);

	for (unsigned i = 0; i < n; i++)
		if (!strcasecmp(fields[i].name, name))
			return (int)i;
	return -1;
}

static const char *my_text(MYSQL_RES *res, MYSQL_ROW row, const char *name)
{
	int i = my_field(res, name);

	return i >= 0 ? row[i] : NULL;
}

/* The counter moves with the data. It is in the options, after the last line's ") "; strings never hold a raw newline
 * there, and quotes come only after it. */
static char *my_without_auto_increment(const char *create)
{
	const char *options = strstr(create, "\n) "), *found, *end;

	if (!options)
		return xstrdup(create);
	found = strstr(options, " AUTO_INCREMENT=");
	const char *quote = strchr(options, '\'');
	if (!found || (quote && quote < found))
		return xstrdup(create);
	end = found + strlen(" AUTO_INCREMENT=");
	while (isdigit((unsigned char)*end))
		end++;
	return xasprintf("%.*s%s", (int)(found - create), create, end);
}

/* A body that came in a multi-statement query may have kept its ';', which nothing but such a query makes again. */
static char *my_without_end(const char *create)
{
	size_t n = strlen(create);

	while (n > 0 && strchr("; \t\r\n", create[n - 1]))
		n--;
	return xmemdup0(create, n);
}

static bool my_is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

/* What a stored body remembers of the session that made it. */
static char *my_settings_of(MYSQL_RES *res, MYSQL_ROW row, const char *body)
{
	const char *client = my_text(res, row, "character_set_client"),
		   *collation = my_text(res, row, "collation_connection");
	const char *mode = my_text(res, row, "sql_mode"), *zone = my_text(res, row, "time_zone");
	struct strbuf sb = {0};

	/* Our text is utf8mb4; another client character set would read its letters wrongly. */
	if (!client || (strncmp(client, "utf8", 4) != 0 && !my_is_ascii(body)))
		client = "utf8mb4";
	strbuf_adds(&sb, "SET ");
	/* The collation first: it implies its character set for the connection, not for the client. */
	if (collation)
		my_sql(&sb, "collation_connection = %s, ", collation);
	my_sql(&sb, "character_set_client = %s", client);
	my_sql(&sb, ", sql_mode = %q", mode ? mode : "");
	my_sql(&sb, ", time_zone = %q", zone ? zone : "+00:00");
	return strbuf_detach(&sb);
}

static int my_statement_cmp(const void *a, const void *b)
{
	const struct my_statement *x = a, *y = b;

	return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

/* A database's name completes it. */
static const char *const my_list_select[MY_N_OBJECTS] = {
    [MY_TABLE] = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE='BASE TABLE' AND TABLE_SCHEMA=",
    [MY_FUNCTION] = "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE='FUNCTION' AND "
		    "ROUTINE_SCHEMA=",
    [MY_PROCEDURE] = "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE='PROCEDURE' AND "
		     "ROUTINE_SCHEMA=",
    [MY_PACKAGE] = "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE='PACKAGE' AND "
		   "ROUTINE_SCHEMA=",
    [MY_PACKAGE_BODY] = "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE='PACKAGE BODY' AND "
			"ROUTINE_SCHEMA=",
    [MY_VIEW] = "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA=",
    [MY_TRIGGER] = "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER "
		   "FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=",
    [MY_EVENT] = "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=",
};

int my_list_objects(struct my_conn *c, const char *database, enum my_object kind, MYSQL_RES **ret, struct err *e)
{
	return my_select(c, ret, e, "%s%q", my_list_select[kind], database);
}

/* Field that holds the statement in the answer to SHOW CREATE. */
static const char *const my_create_field[MY_N_OBJECTS] = {
    "Create Table",        "Create Function", "Create Procedure",       "Create Package",
    "Create Package Body", "Create View",     "SQL Original Statement", "Create Event",
};

static int my_add_create(struct my_script *ret, const char *database, enum my_object kind, const char *name,
			 MYSQL_RES *res, struct err *e)
{
	MYSQL_ROW row = mysql_fetch_row(res);
	const char *text = row ? my_text(res, row, my_create_field[kind]) : NULL;

	if (!text)
		return err_set(e, EACCES, "%s %s: its definition is hidden from this user%s", my_object_words[kind],
			       name,
			       kind >= MY_FUNCTION && kind <= MY_PACKAGE_BODY
				   ? " (GRANT SHOW_ROUTINE ON *.*, or SELECT ON mysql.proc on MariaDB)"
				   : "");
	if (kind == MY_TABLE)
		my_script_add(ret, kind, xstrdup(name), NULL, my_without_auto_increment(text));
	else
		my_script_add(ret, kind, xstrdup(name), my_settings_of(res, row, text),
			      kind == MY_VIEW ? my_view_unqualified(text, database) : my_without_end(text));
	ret->statements[ret->n - 1].collation = xstrdup(my_text(res, row, "Database Collation"));
	return 0;
}

int my_show_create(struct my_conn *c, const char *database, enum my_object kind, const char *name,
		   struct my_script *ret, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e, "SHOW CREATE %s %i.%i", my_object_words[kind], database, name);

	return r < 0 ? err_prefix(e, "%s %s", my_object_words[kind], name)
		     : my_add_create(ret, database, kind, name, res, e);
}

struct my_shown {
	char *const *names;
	struct my_script *script;
};

static int my_show_each(void *arg, size_t i, MYSQL_RES *res, struct err *e)
{
	struct my_shown *shown = arg;

	return my_add_create(shown->script, "", MY_TABLE, shown->names[i], res, e);
}

/* A round trip for each table is most of what an unchanged database costs over a network. */
static int my_show_batches(struct my_conn *c, const char *database, char *const *names, size_t n, struct my_script *ret,
			   struct err *e)
{
	for (size_t done = 0; done < n; done += MY_BATCH_TABLES) {
		_cleanup_strbuf_ struct strbuf sql = {0};
		struct my_shown shown = {.names = names + done, .script = ret};

		for (size_t i = done; i < n && i < done + MY_BATCH_TABLES; i++)
			my_sql(&sql, "%sSHOW CREATE TABLE %i.%i", i > done ? ";" : "", database, names[i]);
		int r = my_select_each(c, sql.data, sql.len, my_show_each, &shown, e);
		if (r < 0)
			return err_prefix(e, "definitions of tables");
	}
	if (ret->n != n)
		return err_set(e, EIO, "the server did not give all definitions");
	return 0;
}

/* MySQL writes a definition's letters beyond U+FFFF as "????" for every character set of results, utf8mb4 too, but not
 * for none: then its bytes come as they are, in UTF-8 (9.7). */
int my_show_tables(struct my_conn *c, const char *database, char *const *names, size_t n, struct my_script *ret,
		   struct err *e)
{
	if (c->mariadb || !n)
		return my_show_batches(c, database, names, n, ret, e);
	int r = my_exec(c, e, "SET character_set_results = NULL");
	if (r < 0)
		return r;
	r = my_show_batches(c, database, names, n, ret, e);
	int q = my_exec(c, r == 0 ? e : ERR_DROP, "SET character_set_results = utf8mb4");
	return r < 0 ? r : q;
}

/* MariaDB shows such letters of a literal default as '?', everywhere (10.11); only the value itself tells. */
static int my_refuse_hidden_defaults(struct my_conn *c, const char *database, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e,
			  "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=%q "
			  "AND LEFT(COLUMN_DEFAULT, 1)=%q AND LOCATE('?', COLUMN_DEFAULT) ORDER BY 1, 2",
			  database, "'");

	for (MYSQL_ROW row; r == 0 && (row = mysql_fetch_row(res));) {
		_cleanup_free_ char *value = NULL;

		if (db_params_excludes(&c->params, row[0]))
			continue;
		r = my_select_one(c, &value, e, "SELECT DEFAULT(%i) FROM %i.%i LIMIT 1", row[1], database, row[0]);
		for (const char *p = value; r == 0 && p && *p; p++)
			if ((unsigned char)*p >= 0xf0)
				r = err_set(e, ENOTSUP,
					    "table %s: the server shows the default of column %s with ? in place of "
					    "letters, so nobody could make it again: give it another default",
					    row[0], row[1]);
	}
	return r;
}

static int my_read_defaults(struct my_conn *c, const char *database, struct my_script *ret, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct strbuf sql = {0};
	int r = my_select(c, &res, e,
			  "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, %s FROM "
			  "information_schema.SCHEMATA WHERE SCHEMA_NAME=%q",
			  c->mariadb ? "SCHEMA_COMMENT" : "NULL", database);
	MYSQL_ROW row = r == 0 ? mysql_fetch_row(res) : NULL;

	if (!row)
		return r < 0 ? r : err_set(e, ENOENT, "no database %s", database);
	my_sql(&sql, "ALTER DATABASE CHARACTER SET = %s COLLATE = %s", row[0], row[1]);
	if (row[2])
		my_sql(&sql, " COMMENT = %q", row[2]);
	my_script_add(ret, MY_DATABASE, xstrdup(MY_DATABASE_NAME), NULL, strbuf_detach(&sql));
	return 0;
}

int my_script_read(struct my_conn *c, const char *database, enum my_object kind, struct my_script *ret, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	_cleanup_names_ struct my_names tables = {0};
	size_t first = ret->n;
	/* MariaDB may leave out a view that is just being made; asking for all the names tells. */
	int r = kind == MY_VIEW ? my_list_tables(c, database, &tables, e) : 0;

	if (r < 0)
		return r;
	if (kind == MY_DATABASE)
		return my_read_defaults(c, database, ret, e);
	if ((r = my_list_objects(c, database, kind, &res, e)) < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		/* A trigger goes with its table. */
		if (db_params_excludes(&c->params, kind == MY_TRIGGER ? row[1] : row[0]))
			continue;
		if ((r = my_show_create(c, database, kind, row[0], ret, e)) < 0)
			return r;
		if (kind == MY_TRIGGER) {
			/* Those of one event fire in their order of creation: sort by table, event, timing, order. */
			struct my_statement *s = &ret->statements[ret->n - 1];
			char *name = xasprintf("%s\x01%s\x01%s\x01%010lu\x01%s", row[1], row[2], row[3],
					       strtoul(row[4], NULL, 10), row[0]);
			free(s->name);
			s->name = name;
		}
	}
	if (ret->n > first)
		qsort(ret->statements + first, ret->n - first, sizeof *ret->statements, my_statement_cmp);
	for (size_t i = first; kind == MY_TRIGGER && i < ret->n; i++) {
		char *name = xstrdup(strrchr(ret->statements[i].name, '\x01') + 1);
		free(ret->statements[i].name);
		ret->statements[i].name = name;
	}
	return 0;
}

/* Views after the views that they use; by name among equals. */
static void my_sort_views(struct my_script *s, size_t first)
{
	for (size_t done = first; done < s->n; done++) {
		size_t pick = done;

		for (size_t i = done; i < s->n; i++) {
			bool ready = true;

			for (size_t k = done; k < s->n && ready; k++) {
				if (k != i)
					ready = !my_view_uses(s->statements[i].sql, s->statements[k].name);
			}
			if (ready) {
				pick = i;
				break;
			}
		}
		struct my_statement picked = s->statements[pick];
		memmove(&s->statements[done + 1], &s->statements[done], (pick - done) * sizeof picked);
		s->statements[done] = picked;
	}
}

/* Where all bodies have the default of the database it goes without saying. */
static void my_forget_collations(struct my_script *script)
{
	_cleanup_script_ struct my_script plain = {0};
	bool same = true;

	for (size_t i = 0; i < script->n; i++) {
		my_script_add_copy(&plain, &script->statements[i]);
		free(TAKE_PTR(plain.statements[i].collation));
	}
	my_script_fill_collations(&plain);
	for (size_t i = 0; i < script->n; i++)
		same &= !script->statements[i].collation ||
			!strcmp(script->statements[i].collation, plain.statements[i].collation);
	for (size_t i = 0; same && i < script->n; i++)
		free(TAKE_PTR(script->statements[i].collation));
}

int my_schema_sql(struct db_conn *dc, const struct db_schema *s, struct strbuf *out, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	_cleanup_script_ struct my_script script = {0};
	_cleanup_free_ char **names = xcalloc(s->n_tables + 1, sizeof *names);

	for (size_t i = 0; i < s->n_tables; i++)
		names[i] = s->tables[i].name;
	int r = my_show_tables(c, c->database, names, s->n_tables, &script, e);
	if (r == 0 && c->mariadb)
		r = my_refuse_hidden_defaults(c, c->database, e);
	if (r < 0)
		return r;
	bool sees[MY_N_OBJECTS];
	if ((r = my_read_sight(c, sees, e)) < 0)
		return r;
	for (int kind = MY_FUNCTION; kind <= MY_DATABASE; kind++) {
		size_t first = script.n;

		if ((r = my_script_read(c, c->database, (enum my_object)kind, &script, e)) < 0)
			return r;
		if (kind == MY_VIEW)
			my_sort_views(&script, first);
	}
	for (int kind = MY_FUNCTION; kind <= MY_DATABASE; kind++)
		if (!sees[kind])
			my_script_add(&script, MY_LEFT_OUT, xstrdup(my_object_words[kind]), NULL, xstrdup("DO 0"));
	my_forget_collations(&script);
	strbuf_adds(out, my_script_head);
	for (size_t i = 0; i < script.n; i++)
		my_script_print(out, &script.statements[i]);
	return 0;
}
