/*
 * drivers/postgres/alter.c - an object made equal where it stands: what its two texts, as pg_dump writes them, differ
 * in, as statements. Nothing that has to look at rows, and nothing whose end is not certain: then it cannot be altered.
 *
 * No state; locks are those of equal.c, which is asked about a table's elements.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>

void pg_add_alter(struct pg_entry *x, char *sql)
{
	x->alter = xrealloc(x->alter, (x->n_alter + 1) * sizeof *x->alter);
	x->alter[x->n_alter++] = sql;
}

/* ---- reading ---- */

/* After what stands between quotes at p, or p itself. Dollar quotes are in no definition that is read here. */
static const char *pg_after_quoted(const char *p)
{
	char quote = *p;
	if (quote != '"' && quote != '\'')
		return p;
	for (p++; *p; p++) {
		if (*p != quote)
			continue;
		if (p[1] != quote)
			return p + 1;
		p++;
	}
	return p;
}

/* The first place of `word` outside of quotes and parentheses; NULL: none. */
static const char *pg_find_outside(const char *p, const char *word)
{
	size_t n = strlen(word);
	int depth = 0;
	while (*p) {
		if (!depth && !strncmp(p, word, n))
			return p;
		const char *after = pg_after_quoted(p);
		if (after != p) {
			p = after;
			continue;
		}
		depth += *p == '(' || *p == '[' ? 1 : *p == ')' || *p == ']' ? -1 : 0;
		p++;
	}
	return NULL;
}

static bool pg_is_at_end(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && !strcmp(text + n - m, end);
}

/* What `ALTER TABLE ONLY x ALTER COLUMN c` and the like begin with: up to and without the verb. NULL: none of them. */
static char *pg_subject_of(const char *sql, const char **verb)
{
	static const char *const verbs[] = {
	    " SET STATISTICS ",          " SET STORAGE ", " SET COMPRESSION ", " SET (", " REPLICA IDENTITY ",
	    " FORCE ROW LEVEL SECURITY", " CLUSTER ON ",
	};
	if (!pg_begins(sql, "ALTER TABLE ") && !pg_begins(sql, "ALTER INDEX ") &&
	    !pg_begins(sql, "ALTER MATERIALIZED VIEW "))
		return NULL;
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		const char *at = pg_find_outside(sql, verbs[i]);
		if (!at)
			continue;
		*verb = verbs[i];
		return xmemdup0(sql, (size_t)(at - sql));
	}
	return NULL;
}

/* ---- statements beside the one that makes the object ---- */

/* 'n_distinct=5, n_distinct_inherited=3' as the names alone */
static void pg_add_option_names(struct strbuf *sb, const char *p, const char *end)
{
	while (p < end) {
		const char *equals = p;
		while (equals < end && *equals != '=' && *equals != ',')
			equals++;
		strbuf_add(sb, p, (size_t)(equals - p));
		while (equals < end && *equals != ',') {
			const char *after = pg_after_quoted(equals);
			equals = after == equals ? equals + 1 : after;
		}
		if (equals < end)
			strbuf_addch(sb, ',');
		p = equals < end ? equals + 1 : end;
	}
}

/* SET STORAGE DEFAULT is PostgreSQL 16's; the type's own is asked for where the statement runs. */
static char *pg_undo_storage(const char *subject)
{
	static const char before[] = "ALTER TABLE ONLY ", between[] = " ALTER COLUMN ";
	const char *column = pg_find_outside(subject, between);
	if (!pg_begins(subject, before) || !column)
		return NULL;
	_cleanup_free_ char *table = xmemdup0(subject + strlen(before), (size_t)(column - subject) - strlen(before));
	_cleanup_strbuf_ struct strbuf start = {0}, relation = {0}, name = {0}, block = {0}, out = {0};
	pg_add_literal(&start, subject);
	pg_add_literal(&relation, table);
	pg_add_literal(&name, column + strlen(between));
	strbuf_addf(&block,
		    "BEGIN EXECUTE %s || ' SET STORAGE ' || (SELECT CASE t.typstorage WHEN 'p' THEN 'PLAIN'"
		    " WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END"
		    " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
		    " WHERE a.attrelid = %s::pg_catalog.regclass AND pg_catalog.quote_ident(a.attname) = %s); END",
		    strbuf_str(&start), strbuf_str(&relation), strbuf_str(&name));
	strbuf_adds(&out, "DO ");
	pg_add_literal(&out, strbuf_str(&block));
	return strbuf_detach(&out);
}

/* What undoes a statement that stands beside CREATE; NULL: nobody knows. */
static char *pg_undo_of(const char *sql)
{
	const char *verb = NULL;
	_cleanup_free_ char *subject = pg_subject_of(sql, &verb);
	if (!subject)
		return NULL;
	if (!strcmp(verb, " SET STATISTICS "))
		return xasprintf("%s SET STATISTICS -1", subject);
	if (!strcmp(verb, " SET COMPRESSION "))
		return xasprintf("%s SET COMPRESSION default", subject);
	if (!strcmp(verb, " REPLICA IDENTITY "))
		return xasprintf("%s REPLICA IDENTITY DEFAULT", subject);
	if (!strcmp(verb, " CLUSTER ON "))
		return xasprintf("%s SET WITHOUT CLUSTER", subject);
	if (!strcmp(verb, " FORCE ROW LEVEL SECURITY"))
		return xasprintf("%s NO FORCE ROW LEVEL SECURITY", subject);
	if (!strcmp(verb, " SET (") && pg_is_at_end(sql, ");")) {
		_cleanup_strbuf_ struct strbuf names = {0};
		pg_add_option_names(&names, sql + strlen(subject) + strlen(verb), sql + strlen(sql) - 2);
		return xasprintf("%s RESET (%s)", subject, strbuf_str(&names));
	}
	return !strcmp(verb, " SET STORAGE ") ? pg_undo_storage(subject) : NULL;
}

static const char *pg_nth(const struct pg_entries *l, const struct pg_entry *x, size_t k)
{
	return l->script.statements[x->first + k].sql;
}

/* Whether the entry has this statement, or another with the same subject and verb, beside the one that makes it. */
static bool pg_has_beside(const struct pg_entries *l, const struct pg_entry *x, const char *sql, const char *subject,
			  const char *verb)
{
	for (size_t k = 1; k < x->n; k++) {
		const char *other = pg_nth(l, x, k), *its = NULL;
		if (!strcmp(other, sql))
			return true;
		_cleanup_free_ char *of = subject ? pg_subject_of(other, &its) : NULL;
		if (of && !strcmp(of, subject) && !strcmp(its, verb))
			return true;
	}
	return false;
}

/* The statements beside the one that makes it: those that only the database has are undone, those that it lacks run. */
static bool pg_alter_beside(const struct pg_entries *live, const struct pg_entry *have, const struct pg_entries *want,
			    struct pg_entry *x)
{
	bool owned = false;
	size_t len;
	for (size_t k = 1; k < x->n; k++)
		owned |= pg_owner_of(pg_nth(want, x, k), &len) != NULL;
	for (size_t k = 1; k < have->n; k++) {
		const char *sql = pg_nth(live, have, k), *verb = NULL;
		if (pg_owner_of(sql, &len)) {
			if (!owned)
				return false;
			continue;
		}
		_cleanup_free_ char *subject = pg_subject_of(sql, &verb);
		/* A list of options has to be emptied first. */
		bool list = verb && !strcmp(verb, " SET (");
		if (pg_has_beside(want, x, sql, list ? NULL : subject, verb))
			continue;
		char *undo = pg_undo_of(sql);
		if (!undo)
			return false;
		pg_add_alter(x, undo);
	}
	for (size_t k = 1; k < x->n; k++)
		if (!pg_has_beside(live, have, pg_nth(want, x, k), NULL, NULL))
			pg_add_alter(x, xstrdup(pg_nth(want, x, k)));
	return true;
}

/* ---- tables ---- */

/* CREATE TABLE name (\n    element,\n    element\n)\nWITH (options); */
struct pg_table_text {
	char *head; /* "CREATE TABLE public.t" */
	char **elements;
	size_t n;
	char *options; /* inside WITH (...); "" */
	char *tail;    /* the rest without them */
};

static void pg_table_text_done(struct pg_table_text *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->elements[i]);
	free(t->elements);
	free(t->head);
	free(t->options);
	free(t->tail);
}

static void pg_add_element_text(struct pg_table_text *t, const char *p, const char *end)
{
	while (p < end && isspace((unsigned char)*p))
		p++;
	while (end > p && isspace((unsigned char)end[-1]))
		end--;
	if (p == end)
		return;
	t->elements = xrealloc(t->elements, (t->n + 1) * sizeof *t->elements);
	t->elements[t->n++] = xmemdup0(p, (size_t)(end - p));
}

static bool pg_read_table(struct pg_table_text *ret, const char *sql)
{
	const char *open = pg_find_outside(sql, " (\n"), *p = open ? open + 2 : NULL, *start = p;
	if (!open || (!pg_begins(sql, "CREATE TABLE ") && !pg_begins(sql, "CREATE UNLOGGED TABLE ")))
		return false;
	ret->head = xmemdup0(sql, (size_t)(open - sql));
	for (int depth = 0; *p && (depth || *p != ')');) {
		const char *after = pg_after_quoted(p);
		if (after != p) {
			p = after;
			continue;
		}
		depth += *p == '(' || *p == '[' ? 1 : *p == ')' || *p == ']' ? -1 : 0;
		if (!depth && *p == ',') {
			pg_add_element_text(ret, start, p);
			start = p + 1;
		}
		p++;
	}
	if (*p != ')')
		return false;
	pg_add_element_text(ret, start, p);
	const char *with = pg_find_outside(p + 1, "\nWITH ("), *end = with ? strchr(with, ')') : NULL;
	if (with && !end)
		return false;
	/* pg_dump quotes the values; one that holds a parenthesis is none of the storage parameters. */
	ret->options = with ? xmemdup0(with + 7, (size_t)(end - with) - 7) : xstrdup("");
	ret->tail = with ? xasprintf("%.*s%s", (int)(with - p - 1), p + 1, end + 1) : xstrdup(p + 1);
	return true;
}

/* The name that a column's element begins with, as it is spelled; its length. 0: it is a constraint. */
static size_t pg_column_len(const char *element)
{
	if (pg_begins(element, "CONSTRAINT "))
		return 0;
	const char *after = pg_after_quoted(element);
	if (after == element)
		after = element + strcspn(element, " ");
	return (size_t)(after - element);
}

/* Cuts " DEFAULT expression" out of a column's element. */
static char *pg_without_default(const char *element, char **expression)
{
	const char *at = pg_find_outside(element, " DEFAULT ");
	*expression = NULL;
	if (!at)
		return xstrdup(element);
	const char *start = at + strlen(" DEFAULT "), *end = pg_find_outside(start, " NOT NULL");
	if (!end)
		end = pg_find_outside(start, " COLLATE ");
	if (!end)
		end = start + strlen(start);
	*expression = xmemdup0(start, (size_t)(end - start));
	return xasprintf("%.*s%s", (int)(at - element), element, end);
}

/* Only the default differs, or nulls were not allowed: adds the statements. */
static bool pg_alter_column(struct pg_entry *x, const char *table, const char *have, const char *want)
{
	static const char not_null[] = " NOT NULL";
	_cleanup_free_ char *old = NULL, *new = NULL, *a = pg_without_default(have, &old),
			    *b = pg_without_default(want, &new);
	int n = (int)pg_column_len(want);
	bool strict = pg_is_at_end(a, not_null) && !pg_is_at_end(b, not_null);
	if (strict)
		a[strlen(a) - strlen(not_null)] = '\0';
	if (strcmp(a, b))
		return false;
	if (strict)
		pg_add_alter(x, xasprintf("ALTER TABLE ONLY %s ALTER COLUMN %.*s DROP NOT NULL", table, n, want));
	if (new && !(old && !strcmp(old, new)))
		pg_add_alter(x, xasprintf("ALTER TABLE ONLY %s ALTER COLUMN %.*s SET DEFAULT %s", table, n, want, new));
	else if (old && !new)
		pg_add_alter(x, xasprintf("ALTER TABLE ONLY %s ALTER COLUMN %.*s DROP DEFAULT", table, n, want));
	return true;
}

static void pg_add_column(char ***columns, const char *name, size_t len)
{
	size_t n = 0;
	while (*columns && (*columns)[n])
		n++;
	*columns = xrealloc(*columns, (n + 2) * sizeof **columns);
	(*columns)[n] = xmemdup0(name, len);
	(*columns)[n + 1] = NULL;
}

/* The first element from `from` on of that column or constraint; SIZE_MAX: none. */
static size_t pg_find_element(const struct pg_table_text *t, size_t from, const char *element)
{
	size_t len = pg_column_len(element);
	if (!len)
		len = strlen("CONSTRAINT ") + strcspn(element + strlen("CONSTRAINT "), " ");
	for (size_t i = from; i < t->n; i++)
		if (!strncmp(t->elements[i], element, len) && t->elements[i][len] == ' ')
			return i;
	return SIZE_MAX;
}

/* Whether two elements of one column or constraint are the same to the server. */
static int pg_same_element(struct pg_conn *c, const char *table, const char *a, const char *b, bool *same,
			   struct err *e)
{
	size_t len = pg_column_len(a);
	_cleanup_free_ char *old = NULL, *new = NULL, *rest = NULL, *its = NULL, *x = NULL, *y = NULL;
	*same = false;
	if (!len) {
		x = xasprintf("ALTER TABLE ONLY %s\n    ADD %s;", table, a);
		y = xasprintf("ALTER TABLE ONLY %s\n    ADD %s;", table, b);
		return pg_same_text(c, "CHECK CONSTRAINT", x, y, same, e);
	}
	rest = pg_without_default(a, &old);
	its = pg_without_default(b, &new);
	if (!old || !new || strcmp(rest, its))
		return 0;
	x = xasprintf("ALTER TABLE ONLY %s ALTER COLUMN %.*s SET DEFAULT %s;", table, (int)len, a, old);
	y = xasprintf("ALTER TABLE ONLY %s ALTER COLUMN %.*s SET DEFAULT %s;", table, (int)len, a, new);
	return pg_same_text(c, "DEFAULT", x, y, same, e);
}

int pg_align_table(struct pg_conn *c, const char *have, const char *want, char **ret, struct err *e)
{
	_cleanup_(pg_table_text_done) struct pg_table_text a = {0}, b = {0};
	_cleanup_strbuf_ struct strbuf sb = {0};
	*ret = NULL;
	if (!pg_read_table(&a, have) || !pg_read_table(&b, want) || strcmp(a.head, b.head))
		return 0;
	const char *table = strstr(b.head, " TABLE ") + strlen(" TABLE ");
	for (size_t i = 0; i < a.n; i++) {
		size_t k = pg_find_element(&b, 0, a.elements[i]);
		bool same = false;
		int r = k == SIZE_MAX || !strcmp(a.elements[i], b.elements[k])
			    ? 0
			    : pg_same_element(c, table, a.elements[i], b.elements[k], &same, e);
		if (r < 0)
			return r;
		strbuf_addf(&sb, "%s    %s", i ? ",\n" : "", same ? b.elements[k] : a.elements[i]);
	}
	*ret = xasprintf("%s (\n%s\n)%s%s%s%s", a.head, strbuf_str(&sb), *a.options ? "\nWITH (" : "", a.options,
			 *a.options ? ")" : "", a.tail);
	return 0;
}

bool pg_may_be_same_table(const char *aligned, const char *want)
{
	static const char generated[] = " GENERATED ALWAYS AS (";
	_cleanup_(pg_table_text_done) struct pg_table_text a = {0}, b = {0};
	/* Columns of the parents come first, in whatever order the text has them. */
	if (strstr(want, "\nINHERITS (") || !pg_read_table(&a, aligned) || !pg_read_table(&b, want))
		return true;
	bool may = a.n == b.n;
	for (size_t i = 0; may && i < a.n; i++)
		may = !strcmp(a.elements[i], b.elements[i]) ||
		      (pg_find_element(&b, i, a.elements[i]) == i && pg_find_outside(a.elements[i], generated) &&
		       pg_find_outside(b.elements[i], generated));
	return may;
}

/* Columns and constraints that only the database has go, defaults change. */
static bool pg_alter_elements(const struct pg_table_text *have, const struct pg_table_text *want, const char *table,
			      struct pg_entry *x, char ***columns)
{
	size_t k = 0;
	for (size_t i = 0; i < have->n; i++) {
		const char *element = have->elements[i];
		if (k < want->n && !strcmp(element, want->elements[k])) {
			k++;
			continue;
		}
		size_t len = pg_column_len(element);
		if (k < want->n && len && pg_find_element(want, k, element) == k &&
		    pg_alter_column(x, table, element, want->elements[k])) {
			k++;
			continue;
		}
		if (pg_find_element(want, 0, element) != SIZE_MAX)
			return false;
		x->shrinks = true;
		if (len) {
			pg_add_column(columns, element, len);
			pg_add_alter(x,
				     xasprintf("ALTER TABLE %s DROP COLUMN %.*s RESTRICT", table, (int)len, element));
			continue;
		}
		const char *name = element + strlen("CONSTRAINT "), *end = pg_after_quoted(name);
		if (end == name)
			end += strcspn(name, " ");
		pg_add_alter(x, xasprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %.*s RESTRICT", table,
					  (int)(end - name), name));
	}
	return k == want->n;
}

static bool pg_alter_table(const char *have, const char *want, struct pg_entry *x, char ***columns)
{
	_cleanup_(pg_table_text_done) struct pg_table_text a = {0}, b = {0};
	if (!pg_read_table(&a, have) || !pg_read_table(&b, want) || strcmp(a.head, b.head) || strcmp(a.tail, b.tail))
		return false;
	/* What it inherits is another table's to change; partitions are like their table. */
	if (strcmp(a.tail, ";") && a.n != b.n)
		return false;
	const char *table = strstr(b.head, " TABLE ") + strlen(" TABLE ");
	if (strcmp(a.options, b.options)) {
		_cleanup_strbuf_ struct strbuf names = {0};
		pg_add_option_names(&names, a.options, a.options + strlen(a.options));
		if (*a.options)
			pg_add_alter(x, xasprintf("ALTER TABLE %s RESET (%s)", table, strbuf_str(&names)));
		if (*b.options)
			pg_add_alter(x, xasprintf("ALTER TABLE %s SET (%s)", table, b.options));
	}
	return pg_alter_elements(&a, &b, table, x, columns);
}

/* ---- others ---- */

/* CREATE SEQUENCE with its clauses, as ALTER SEQUENCE; its value is set later. */
static bool pg_alter_sequence(const char *have, const char *want, struct pg_entry *x)
{
	static const char create[] = "CREATE SEQUENCE ";
	const char *clauses = strchr(want, '\n');
	if (!pg_begins(have, create) || !pg_begins(want, create) || !clauses)
		return false;
	const char *name = want + strlen(create);
	_cleanup_free_ char *all = xmemdup0(clauses, strlen(clauses) - 1);
	pg_add_alter(x, xasprintf("ALTER SEQUENCE %.*s%s%s%s\n    RESTART", (int)(clauses - name), name,
				  strstr(all, "\n    AS ") ? "" : "\n    AS bigint", all,
				  strstr(all, "\n    CYCLE") ? "" : "\n    NO CYCLE"));
	return true;
}

/* The part before LANGUAGE (name, arguments, result) is the same: who calls it need not know. */
static bool pg_alter_function(const char *have, const char *want, struct pg_entry *x)
{
	static const char create[] = "CREATE ", language[] = "\n    LANGUAGE ";
	const char *a = strstr(have, language), *b = strstr(want, language);
	if (!a || !b || a - have != b - want || strncmp(have, want, (size_t)(b - want)) || !pg_begins(want, create))
		return false;
	/* A window function is of another kind. */
	a += strlen(language);
	b += strlen(language);
	const char *window = pg_find_outside(a, " WINDOW"), *its = pg_find_outside(b, " WINDOW");
	if (!window != !its)
		return false;
	pg_add_alter(x, xasprintf("CREATE OR REPLACE %s", want + strlen(create)));
	return true;
}

static char *pg_extension_schema(const char *sql)
{
	const char *p = pg_find_outside(sql, " WITH SCHEMA ");
	return p ? xmemdup0(p + strlen(" WITH SCHEMA "), strcspn(p + strlen(" WITH SCHEMA "), ";")) : NULL;
}

static bool pg_alter_extension(const struct pg_entry *have, struct pg_entry *x)
{
	_cleanup_free_ char *a = pg_extension_schema(have->text), *b = pg_extension_schema(x->text);
	if (!a || !b || !strcmp(a, b))
		return false;
	pg_add_alter(x, xasprintf("ALTER EXTENSION %s SET SCHEMA %s", x->tag, b));
	return true;
}

static bool pg_is_one_of(const char *type, const char *const *types, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

static void pg_clear_alter(struct pg_entry *x)
{
	while (x->n_alter)
		free(x->alter[--x->n_alter]);
	x->shrinks = false;
}

/* Settings that are in force where it is made. */
static bool pg_other_settings(const struct pg_entry *a, const struct pg_entry *b)
{
	return !a->tablespace != !b->tablespace || (a->tablespace && strcmp(a->tablespace, b->tablespace)) ||
	       !a->method != !b->method || (a->method && strcmp(a->method, b->method));
}

bool pg_alter_entry(bool same, const char *table, const struct pg_entries *live, const struct pg_entry *have,
		    const struct pg_entries *want, struct pg_entry *x, char ***columns)
{
	static const char *const whole[] = {"COMMENT",           "SECURITY LABEL", "DEFAULT",
					    "SEQUENCE OWNED BY", "ROW SECURITY",   "DEFAULT ACL"};
	if (pg_other_settings(have, x) || !x->n || !have->n)
		return false;
	if (!same && pg_is_one_of(x->type, whole, sizeof whole / sizeof whole[0])) {
		for (size_t k = 0; k < x->n; k++)
			pg_add_alter(x, xstrdup(pg_nth(want, x, k)));
		return true;
	}
	const char *a = pg_nth(live, have, 0), *b = pg_nth(want, x, 0);
	bool ok = same;
	if (!ok && !strcmp(x->type, "TABLE"))
		ok = pg_alter_table(table ? table : a, b, x, columns);
	else if (!ok && !strcmp(x->type, "SEQUENCE"))
		ok = pg_alter_sequence(a, b, x);
	else if (!ok && (!strcmp(x->type, "FUNCTION") || !strcmp(x->type, "PROCEDURE")))
		ok = pg_alter_function(a, b, x);
	else if (!ok && !strcmp(x->type, "EXTENSION"))
		ok = pg_alter_extension(have, x);
	ok = ok && pg_alter_beside(live, have, want, x);
	if (!ok)
		pg_clear_alter(x);
	return ok;
}

char *pg_unmake_entry(const struct pg_entries *live, const struct pg_entry *x)
{
	const char *sql = x->n ? pg_nth(live, x, 0) : "";
	if (!strcmp(x->type, "COMMENT") || !strcmp(x->type, "SECURITY LABEL")) {
		const char *is = pg_find_outside(sql, " IS ");
		return is ? xasprintf("%.*s IS NULL", (int)(is - sql), sql) : NULL;
	}
	if (!strcmp(x->type, "ROW SECURITY") && pg_is_at_end(sql, " ENABLE ROW LEVEL SECURITY;"))
		return xasprintf("%.*s DISABLE ROW LEVEL SECURITY",
				 (int)(strlen(sql) - strlen(" ENABLE ROW LEVEL SECURITY;")), sql);
	if (!strcmp(x->type, "SEQUENCE OWNED BY")) {
		const char *by = pg_find_outside(sql, " OWNED BY ");
		return by ? xasprintf("%.*s OWNED BY NONE", (int)(by - sql), sql) : NULL;
	}
	return NULL;
}
