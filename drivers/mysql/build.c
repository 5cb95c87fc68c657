/*
 * drivers/mysql/build.c - the new tables in the shadow database, without the indexes that are made of all rows
 * afterwards.
 *
 * Nobody else sees the shadow database, and a failure here harms nothing. On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

int my_builder_open(struct my_conn *c, struct my_conn **ret, struct err *e)
{
	struct my_conn *w = atomic_load(&c->builder);
	int r;

	if (!w) {
		if ((r = my_open_like(&w, c, e)) < 0)
			return err_prefix(e, "second connection");
		my_set_permissive(w);
		atomic_store(&c->builder, w);
	}
	if ((r = my_lock_advisory(w, c->database, MY_LOCK_BUILD, MY_ADVISORY_WAIT_S, e)) < 0)
		return r;
	*ret = w;
	return my_settle_locked(w, c->database, e);
}

static bool my_has_deed(const struct db_objects *o, enum my_object kind, const char *name, enum db_deed one,
			enum db_deed other)
{
	for (size_t i = 0; i < o->n; i++)
		if ((o->v[i].deed == one || o->v[i].deed == other) && !strcmp(o->v[i].name, name) &&
		    !strcmp(o->v[i].kind, my_object_words[kind]))
			return true;
	return false;
}

bool my_deed_drops(const struct db_objects *o, enum my_object kind, const char *name)
{
	return my_has_deed(o, kind, name, DB_DEED_DROP, DB_DEED_REMAKE);
}

bool my_deed_makes(const struct db_objects *o, enum my_object kind, const char *name)
{
	if (kind == MY_DATABASE)
		return my_has_deed(o, kind, name, DB_DEED_ALTER, DB_DEED_ALTER);
	return my_has_deed(o, kind, name, DB_DEED_MAKE, DB_DEED_REMAKE);
}

int my_check_inbound(struct my_conn *c, struct db_objects *o, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e,
			  "SELECT DISTINCT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_NAME FROM "
			  "information_schema.KEY_COLUMN_USAGE "
			  "WHERE REFERENCED_TABLE_SCHEMA=%q",
			  c->database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		if (!my_deed_drops(o, MY_TABLE, row[3]) ||
		    (!strcmp(row[1], c->database) && my_catalog_find(&c->catalog, row[2])))
			continue;
		err_set(&o->refusal, ENOTSUP,
			"foreign key %s of table %s.%s refers to table %s, which must be replaced: drop the key, or "
			"make the definition of the table as it was",
			row[0], row[1], row[2], row[3]);
		return 0;
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

/* The next line of SHOW CREATE's text: a name or a string may have line breaks of its own. NULL: there is none. */
static const char *my_next_line(const char *p)
{
	for (p++; *p && *p != '\n'; p++) {
		if (!strchr("`'\"", *p))
			continue;
		char quote = *p;
		for (p++; *p && *p != quote; p++)
			if (*p == '\\' && quote != '`' && p[1])
				p++;
		if (!*p)
			return NULL;
	}
	return *p ? p : NULL;
}

/* With the counter from the beginning, as mysqldump writes it. NULL: it has none, or its options are not found. */
static char *my_with_counter(const char *sql, uint64_t next)
{
	const char *line = sql;

	while (next && line && strncmp(line, "\n)", 2) != 0)
		line = my_next_line(line);
	return next && line ? xasprintf("%.*s AUTO_INCREMENT=%llu%s", (int)(line + 2 - sql), sql,
					(unsigned long long)next, line + 2)
			    : NULL;
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
	const char *line = my_next_line(s->sql);

	if (!line)
		return NULL;
	strbuf_add(&rest, s->sql, (size_t)(line - s->sql));
	while (line && strncmp(line, "\n)", 2) != 0) {
		const char *next = my_next_line(line), *end = next ? next : line + strlen(line);
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

/* Any ALTER TABLE makes MySQL write a CHECK in other words (9.7: -(3000000000) as -3000000000, _utf8mb4'x' as _latin1'x'
 * for a column of that): such a table is made with all its indexes and with its counter at once. */
static bool my_has_check(const struct my_conn *w, const struct my_statement *s)
{
	return !w->mariadb && strstr(s->sql, " CHECK (");
}

static int my_make_table(struct my_conn *w, const struct my_script *script, struct my_statement *s, uint64_t next,
			 struct err *e)
{
	struct my_statement first = *s;
	bool whole = my_has_foreign(script, s) || my_has_check(w, s);
	_cleanup_free_ char *rest = whole ? NULL : my_without_indexes(s, w->database, &s->indexes);
	_cleanup_free_ char *counting = rest ? NULL : my_with_counter(s->sql, next);

	first.sql = rest ? rest : counting;
	if (first.sql && my_statement_run(w, &first, ERR_DROP) == 0)
		return 0;
	free(TAKE_PTR(s->indexes));
	return my_statement_run(w, s, e);
}

int my_make_tables(struct my_conn *w, const struct db_schema *schema, struct my_script *script, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < script->n; i++) {
		struct my_statement *s = &script->statements[i];
		const struct db_table *t = db_schema_find(schema, s->name);

		if (s->kind == MY_TABLE && !s->same)
			r = my_make_table(w, script, s, t && t->has_auto_increment ? t->auto_increment : 0, e);
	}
	return r;
}

int my_compare_tables(struct my_conn *w, const struct my_script *script, struct strbuf *warnings, struct err *e)
{
	_cleanup_free_ const struct my_statement **made = xcalloc(script->n + 1, sizeof *made);
	_cleanup_free_ char **names = xcalloc(script->n + 1, sizeof *names);
	_cleanup_script_ struct my_script there = {0};
	_cleanup_normal_ struct my_normal normal = {0};
	size_t n = 0;

	for (size_t i = 0; i < script->n; i++) {
		if (script->statements[i].kind != MY_TABLE || script->statements[i].same)
			continue;
		made[n] = &script->statements[i];
		names[n++] = script->statements[i].name;
	}
	int r = my_show_tables(w, w->database, names, n, &there, e);
	if (r == 0)
		r = my_normal_init(&normal, w, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!my_normal_same(&normal, &there.statements[i], made[i]))
			strbuf_addf(warnings, "table %s: this server writes its definition differently\n", names[i]);
	return r;
}
