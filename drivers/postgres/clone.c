/*
 * drivers/postgres/clone.c - what the server makes of a text, in pg_temp, to compare it with what it makes of another.
 *
 * One by one both texts are made in the session's temporary schema, under a savepoint that is rolled back; of each all
 * rows of all catalogs are read that this made, with every column: what nobody has thought of differs, too. Only what
 * cannot be the same in two makings is left out (file numbers, estimates) or named by its rank (oids of what was made),
 * and expressions are printed by the server.
 *
 * Tables (with their storage and statistics targets), functions and procedures in SQL or PL/pgSQL, aggregates, domains
 * and their constraints, composite types, enumerations, ranges, sequences, collations and rules (on a copy of their
 * relation) are made so; unlogged ones as temporary ones. Of base types, operators and their classes, casts, text
 * search, foreign tables, partitions' bounds, event triggers, publications, extensions, comments and rights only equal
 * tokens are the same (equal.c).
 *
 * The head of a statement must be one that pg_dump writes, or nothing is run. Nobody's code is run: triggers on
 * definitions are off where we may turn them off; a generated column or a partition key is planned when it is made, so
 * a table with one that calls what is not PostgreSQL's own is not made; indexes are not made at all; function bodies
 * are not checked.
 *
 * No state; locks are the server's, ACCESS SHARE on what a text names, for which it waits half a second.
 */
#include "drivers/postgres/internal.h"

/* ---- a place where nothing stays ---- */

/* Behind a waiting ACCESS EXCLUSIVE, which may wait for our own transaction, nobody is to stand for long. */
#define PG_TEMPORARY_LOCK_TIMEOUT "500ms"

int pg_temporary_connection(struct pg_conn *c, struct pg_conn **ret, struct err *e)
{
	*ret = NULL;
	if (c->active && c->access == DB_WRITE)
		return 0;
	_cleanup_(cleanup_pg_connection) struct pg_conn *other = NULL;
	int r = pg_connection_open_like(&other, c, e);
	if (r < 0)
		return r;
	r = pg_query(other, NULL, "cannot compare", "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE", 0, NULL, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(other);
	return 0;
}

/* Not the text's fault, so that nothing is known about it. */
static bool pg_is_trouble(const struct err *e)
{
	static const char *const states[] = {"08", "40", "53", "57", "58", "55P03"};
	if (!*e->sqlstate)
		return true;
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		if (!strncmp(e->sqlstate, states[i], strlen(states[i])))
			return true;
	return false;
}

int pg_try_temporary(struct pg_conn *c, PGresult **ret, const char *sql, struct err *e)
{
	struct err words = ERR_INIT;
	const char *may =
	    c->version_num >= 150000 ? " OR pg_catalog.has_parameter_privilege('session_replication_role', 'SET')" : "";
	/* By itself: nothing of several statements is run when one of them cannot be parsed. */
	int r = pg_do(c, e, "cannot compare",
		      "SAVEPOINT metasnap_try; SET LOCAL check_function_bodies = off; SET LOCAL lock_timeout = "
		      "'" PG_TEMPORARY_LOCK_TIMEOUT "';"
		      " SELECT pg_catalog.set_config('session_replication_role', 'replica', true)"
		      " FROM pg_catalog.pg_roles r WHERE r.rolname = current_user AND (r.rolsuper%s)",
		      may);
	if (r < 0)
		return r;
	r = pg_query(c, ret, "cannot compare", sql, 0, NULL, &words);
	if (r < 0 && pg_is_trouble(&words)) {
		*e = words;
		return r;
	}
	int back = pg_query(c, NULL, "cannot compare", "ROLLBACK TO metasnap_try; RELEASE metasnap_try", 0, NULL, e);
	return back < 0 ? back : r < 0 ? 0 : 1;
}

/* ---- the rows that a making has made ---- */

/* How columns of pg_node_tree (and few others) are printed; t is their row. Trees that are not here stay as they are,
 * with places in the text and oids, and hardly seem the same. */
static const struct {
	const char *column, *printed;
} pg_printed[] = {
    {"pg_attrdef.adbin", "pg_catalog.pg_get_expr(t.adbin, t.adrelid)"},
    {"pg_class.relpartbound", "pg_catalog.pg_get_expr(t.relpartbound, t.oid)"},
    {"pg_constraint.conbin", "pg_catalog.pg_get_expr(t.conbin, t.conrelid)"},
    {"pg_index.indexprs", "pg_catalog.pg_get_expr(t.indexprs, t.indrelid)"},
    {"pg_index.indpred", "pg_catalog.pg_get_expr(t.indpred, t.indrelid)"},
    {"pg_partitioned_table.partexprs", "pg_catalog.pg_get_expr(t.partexprs, t.partrelid)"},
    {"pg_policy.polqual", "pg_catalog.pg_get_expr(t.polqual, t.polrelid)"},
    {"pg_policy.polwithcheck", "pg_catalog.pg_get_expr(t.polwithcheck, t.polrelid)"},
    {"pg_proc.proargdefaults", "pg_catalog.pg_get_expr(t.proargdefaults, 0)"},
    {"pg_proc.prosqlbody", "pg_catalog.pg_get_function_sqlbody(t.oid)"},
    {"pg_rewrite.ev_qual", "''"}, /* it is in the other's print */
    {"pg_rewrite.ev_action", "pg_catalog.pg_get_ruledef(t.oid)"},
    {"pg_statistic_ext.stxexprs", "pg_catalog.pg_get_expr(t.stxexprs, t.stxrelid)"},
    {"pg_trigger.tgqual", "pg_catalog.pg_get_triggerdef(t.oid)"},
    {"pg_type.typdefaultbin", "pg_catalog.pg_get_expr(t.typdefaultbin, 0)"},
    /* a number that servers (seen on Debian's 15.20) keep there themselves: pg_dump does not print it, nobody can set
     * it, and each making has another */
    {"pg_attribute.attoptions",
     "ARRAY(SELECT o FROM pg_catalog.unnest(t.attoptions) AS o WHERE o !~ '^pg_attver=')::pg_catalog.text"},
    /* the number in a TOAST table's name */
    {"pg_class.relname", "pg_catalog.regexp_replace(t.relname, '^(pg_toast_)[0-9]+', '\\1')"},
};

static const char *pg_print_of(const char *catalog, const char *column)
{
	for (size_t i = 0; i < sizeof pg_printed / sizeof pg_printed[0]; i++) {
		size_t n = strlen(catalog);
		const char *name = pg_printed[i].column;
		if (!strncmp(name, catalog, n) && name[n] == '.' && !strcmp(name + n + 1, column))
			return pg_printed[i].printed;
	}
	return NULL;
}

/* One column's text: values in quotes, oids between @. */
static void pg_add_column(struct strbuf *sb, const char *catalog, const char *column, const char *type)
{
	_cleanup_strbuf_ struct strbuf name = {0};
	const char *print = pg_print_of(catalog, column);
	strbuf_adds(&name, "t.");
	pg_add_ident(&name, column);
	strbuf_addf(sb, " || ' %s=' || ", column);
	if (print)
		strbuf_addf(sb, "pg_catalog.quote_nullable(%s)", print);
	else if (!strcmp(type, "oid") || !strncmp(type, "reg", 3))
		strbuf_addf(sb, "coalesce('@' || %s::pg_catalog.oid || '@', '')", strbuf_str(&name));
	else if (!strcmp(type, "_oid") || !strcmp(type, "oidvector"))
		strbuf_addf(sb, "coalesce('@' || pg_catalog.array_to_string(%s::pg_catalog.oid[], '@@') || '@', '')",
			    strbuf_str(&name));
	else
		strbuf_addf(sb, "pg_catalog.quote_nullable(%s::pg_catalog.text)", strbuf_str(&name));
}

/* The query for all rows of all catalogs that have the xmin of the type pg_temp.metasnap_mark. Left out are catalogs
 * that definitions have no rows in, and which may be large. */
static int pg_rows_query(struct pg_conn *c, struct strbuf *sb, struct err *e)
{
	static const char sql[] =
	    "SELECT c.relname, a.attname, t.typname FROM pg_catalog.pg_class c"
	    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
	    " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
	    " WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind = 'r' AND NOT c.relisshared"
	    " AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject', "
	    "'pg_largeobject_metadata')"
	    " AND pg_catalog.has_table_privilege(c.oid, 'SELECT')"
	    " AND NOT (c.relname = 'pg_class' AND a.attname IN ('relfilenode', 'relpages', 'reltuples',"
	    " 'relallvisible', 'relallfrozen', 'relfrozenxid', 'relminmxid'))"
	    " ORDER BY c.relname, a.attnum";
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, "cannot compare", sql, 0, NULL, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		const char *catalog = PQgetvalue(res, i, 0), *column = PQgetvalue(res, i, 1);
		if (!i || strcmp(catalog, PQgetvalue(res, i - 1, 0)))
			strbuf_addf(sb, "%sSELECT %s, '%s'", i ? " UNION ALL " : "",
				    strcmp(column, "oid") ? "NULL::pg_catalog.oid" : "t.oid", catalog);
		pg_add_column(sb, catalog, column, PQgetvalue(res, i, 2));
		if (i + 1 == PQntuples(res) || strcmp(catalog, PQgetvalue(res, i + 1, 0)))
			strbuf_addf(sb,
				    " FROM pg_catalog.%s t WHERE t.xmin = (SELECT m.xmin FROM pg_catalog.pg_type m"
				    " WHERE m.oid = 'pg_temp.metasnap_mark'::pg_catalog.regtype)",
				    catalog);
	}
	return 0;
}

static int pg_compare_oids(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;
	return x < y ? -1 : x > y;
}

static int pg_compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The row with the oids of what was made as ranks. */
static char *pg_with_ranks(const char *row, const unsigned long *made, size_t n)
{
	struct strbuf sb = {0};
	bool quoted = false;
	while (*row) {
		quoted ^= *row == '\'';
		if (quoted || *row != '@') {
			strbuf_addch(&sb, *row++);
			continue;
		}
		char *end;
		unsigned long oid = strtoul(row + 1, &end, 10);
		const unsigned long *found = bsearch(&oid, made, n, sizeof *made, pg_compare_oids);
		if (found)
			strbuf_addf(&sb, "(made %zu)", (size_t)(found - made));
		else
			strbuf_addf(&sb, "%lu ", oid);
		row = *end == '@' ? end + 1 : end;
	}
	return strbuf_detach(&sb);
}

/* The rows as one text, which is the same for the same makings. */
static char *pg_rows_text(const PGresult *res)
{
	size_t n = (size_t)PQntuples(res), n_made = 0;
	struct strbuf sb = {0};
	_cleanup_free_ unsigned long *made = xcalloc(n + 1, sizeof *made);
	_cleanup_free_ char **lines = xcalloc(n + 1, sizeof *lines);
	for (size_t i = 0; i < n; i++)
		if (pg_cell(res, (int)i, 0))
			made[n_made++] = strtoul(PQgetvalue(res, (int)i, 0), NULL, 10);
	qsort(made, n_made, sizeof *made, pg_compare_oids);
	for (size_t i = 0; i < n; i++)
		lines[i] = pg_with_ranks(PQgetvalue(res, (int)i, 1), made, n_made);
	qsort(lines, n, sizeof *lines, pg_compare_lines);
	for (size_t i = 0; i < n; i++) {
		strbuf_addf(&sb, "%s\n", lines[i]);
		free(lines[i]);
	}
	return strbuf_detach(&sb);
}

/* ---- making ---- */

/* A text on its way into pg_temp. */
struct pg_making {
	struct strbuf before; /* what it stands on */
	struct strbuf sql;
	struct strbuf rest; /* what is compared as text */
	char *table;        /* a table's name */
	bool main;          /* the statement that makes it was seen */
};

static void pg_making_done(struct pg_making *m)
{
	strbuf_done(&m->before);
	strbuf_done(&m->sql);
	strbuf_done(&m->rest);
	free(m->table);
}

/* Moves *p behind these words, in capitals and with one blank between two; false: *p is as before. */
static bool pg_eat(const char **p, const char *words)
{
	const char *at = *p;
	for (struct pg_token t; *words; words += strcspn(words, " "), words += *words == ' ') {
		_cleanup_free_ char *word = xmemdup0(words, strcspn(words, " "));
		if (pg_next_token(&at, &t) <= 0 || !pg_token_is(&t, word))
			return false;
	}
	*p = at;
	return true;
}

/* Moves *p behind "schema.name"; *relation is all of it, *name what is behind the dot. NULL: there is none. */
static bool pg_eat_name(const char **p, char **relation, char **name)
{
	const char *at = *p;
	struct pg_token t[3];
	for (size_t i = 0; i < 3; i++)
		if (pg_next_token(&at, &t[i]) <= 0)
			return false;
	if (!pg_token_is(&t[1], "."))
		return false;
	*relation = xmemdup0(t[0].at, (size_t)(at - t[0].at));
	*name = xmemdup0(t[2].at, t[2].len);
	*p = at;
	return true;
}

/* Text between *p and the first of these words outside of parentheses, which is where *p then is; its end if there is
 * none. */
static void pg_to_word(const char **p, const char *word, struct strbuf *out)
{
	const char *from = *p, *at = from;
	int depth = 0;
	for (struct pg_token t; pg_next_token(&at, &t) > 0;) {
		depth += *t.at == '(' ? 1 : *t.at == ')' ? -1 : 0;
		if (!depth && pg_token_is(&t, word)) {
			at = t.at;
			break;
		}
	}
	strbuf_add(out, from, (size_t)(at - from));
	*p = at;
}

/* Whether a table can be made without running or planning others' functions: it is not filled by a query, and its
 * generated columns and partition key are of PostgreSQL's own. p is behind the table's name. */
static bool pg_table_is_harmless(const char *p)
{
	struct pg_token t[3] = {{0}};
	int depth = 0, inside = 0; /* of the parenthesis that is planned */
	for (; pg_next_token(&p, &t[2]) > 0; t[0] = t[1], t[1] = t[2]) {
		bool known = t[0].at != NULL;
		if (pg_token_is(&t[2], "(")) {
			depth++;
			if (!inside && known &&
			    ((pg_token_is(&t[0], "ALWAYS") && pg_token_is(&t[1], "AS")) ||
			     (depth == 1 && pg_token_is(&t[0], "BY"))))
				inside = depth;
		} else if (pg_token_is(&t[2], ")")) {
			inside = depth == inside ? 0 : inside;
			depth--;
		} else if (!depth && pg_token_is(&t[2], "AS")) {
			return false;
		} else if (inside && known && pg_token_is(&t[2], ".") && !strchr("0123456789", *t[1].at)) {
			return false;
		}
	}
	return true;
}

/* INHERITS (a, b): on copies of them, which nobody else has to wait for. */
static bool pg_make_parents(struct pg_making *m, const char **p)
{
	if (!pg_eat(p, "INHERITS ("))
		return true;
	strbuf_adds(&m->sql, "INHERITS (");
	for (const char *separator = "";; separator = ", ") {
		_cleanup_free_ char *relation = NULL, *name = NULL;
		if (!pg_eat_name(p, &relation, &name))
			return false;
		strbuf_addf(&m->before,
			    "CREATE TABLE pg_temp.%s (LIKE %s INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS"
			    " EXCLUDING IDENTITY EXCLUDING COMMENTS); ",
			    name, relation);
		strbuf_addf(&m->sql, "%spg_temp.%s", separator, name);
		if (pg_eat(p, ")"))
			break;
		if (!pg_eat(p, ","))
			return false;
	}
	strbuf_adds(&m->sql, ") ");
	return true;
}

/* "CREATE TABLE schema.name ..." */
static bool pg_make_table(struct pg_making *m, const char *sql)
{
	_cleanup_free_ char *relation = NULL, *name = NULL;
	const char *p = sql;
	bool unlogged = pg_eat(&p, "CREATE UNLOGGED TABLE");
	if ((!unlogged && !pg_eat(&p, "CREATE TABLE")) || !pg_eat_name(&p, &relation, &name) ||
	    !pg_table_is_harmless(p))
		return false;
	strbuf_addf(&m->rest, "%s %s;", unlogged ? "unlogged" : "table", relation);
	strbuf_addf(&m->sql, "CREATE TABLE pg_temp.%s", name);
	pg_to_word(&p, "INHERITS", &m->sql);
	if (!pg_make_parents(m, &p))
		return false;
	strbuf_adds(&m->sql, p);
	m->table = TAKE_PTR(relation);
	return true;
}

/* "ALTER TABLE schema.name ..." of what pg_dump lets follow a table. */
static bool pg_make_alter_table(struct pg_making *m, const char *sql)
{
	_cleanup_free_ char *relation = NULL, *name = NULL;
	struct pg_token column;
	const char *p = sql, *rest;
	if (!pg_eat(&p, "ALTER TABLE ONLY") && !pg_eat(&p, "ALTER TABLE"))
		return false;
	if (!m->table || !pg_eat_name(&p, &relation, &name) || strcmp(relation, m->table))
		return false;
	rest = p;
	if (pg_eat(&p, "ALTER COLUMN")) {
		if (pg_next_token(&p, &column) <= 0 || !pg_eat(&p, "SET") ||
		    (!pg_eat(&p, "STATISTICS") && !pg_eat(&p, "STORAGE") && !pg_eat(&p, "COMPRESSION") &&
		     !pg_eat(&p, "(")))
			return false;
	} else if (!pg_eat(&p, "REPLICA IDENTITY FULL") && !pg_eat(&p, "REPLICA IDENTITY NOTHING")) {
		return false;
	}
	strbuf_addf(&m->sql, "ALTER TABLE pg_temp.%s %s", name, rest);
	return true;
}

/* A function in a language whose library has been loaded long ago, or need not be. */
static bool pg_is_plain_function(const char *sql)
{
	_cleanup_strbuf_ struct strbuf before = {0};
	const char *p = sql;
	pg_to_word(&p, "LANGUAGE", &before);
	return pg_eat(&p, "LANGUAGE sql") || pg_eat(&p, "LANGUAGE plpgsql");
}

/* MULTIRANGE_TYPE_NAME = schema.name would be made where the range itself is not; it is taken along if it is of the
 * range's own schema. */
static bool pg_make_range(struct pg_making *m, const char *range, const char *p)
{
	_cleanup_free_ char *relation = NULL, *name = NULL;
	struct pg_token t;
	for (const char *at = p; pg_next_token(&at, &t) > 0;) {
		if (!pg_token_is(&t, "multirange_type_name") || !pg_eat(&at, "="))
			continue;
		if (!pg_eat_name(&at, &relation, &name))
			return false;
		size_t n = strlen(relation) - strlen(name);
		if (strncmp(range, relation, n))
			return false;
		strbuf_add(&m->sql, p, (size_t)(t.at - p));
		strbuf_addf(&m->sql, "multirange_type_name = pg_temp.%s", name);
		p = at;
		break;
	}
	strbuf_adds(&m->sql, p);
	return true;
}

/* "CREATE kind schema.name ..." of what needs nothing but another schema. */
static bool pg_make_plain(struct pg_making *m, const char *sql)
{
	static const char *const kinds[] = {"FUNCTION", "PROCEDURE", "AGGREGATE", "DOMAIN",
					    "TYPE",     "SEQUENCE",  "COLLATION"};
	_cleanup_free_ char *relation = NULL, *name = NULL;
	const char *p = sql, *kind = NULL;
	if (!pg_eat(&p, "CREATE"))
		return false;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && !kind; i++)
		if (pg_eat(&p, kinds[i]))
			kind = kinds[i];
	if (!kind || !pg_eat_name(&p, &relation, &name))
		return false;
	if ((!strcmp(kind, "FUNCTION") || !strcmp(kind, "PROCEDURE")) && !pg_is_plain_function(p))
		return false;
	const char *body = p;
	if (!strcmp(kind, "TYPE") && !pg_eat(&body, "AS"))
		return false;
	strbuf_addf(&m->rest, "%s %s;", kind, relation);
	strbuf_addf(&m->sql, "CREATE %s pg_temp.%s", kind, name);
	if (!strcmp(kind, "TYPE"))
		return pg_make_range(m, relation, p);
	strbuf_adds(&m->sql, p);
	return true;
}

/* "ALTER DOMAIN schema.name ADD CONSTRAINT ...", on a domain over the same type. */
static bool pg_make_domain_constraint(struct pg_making *m, const char *sql)
{
	_cleanup_free_ char *relation = NULL, *name = NULL;
	const char *p = sql;
	if (!pg_eat(&p, "ALTER DOMAIN") || !pg_eat_name(&p, &relation, &name))
		return false;
	const char *rest = p;
	if (!pg_eat(&p, "ADD CONSTRAINT"))
		return false;
	strbuf_addf(&m->rest, "domain %s;", relation);
	/* A domain over a domain takes every type that a value of it can be read as. */
	strbuf_addf(&m->before, "CREATE DOMAIN pg_temp.%s AS %s; ", name, relation);
	strbuf_addf(&m->sql, "ALTER DOMAIN pg_temp.%s %s", name, rest);
	return true;
}

/* "CREATE RULE name AS ON event TO schema.relation ...", on a table with the same columns. */
static bool pg_make_rule(struct pg_making *m, const char *sql)
{
	_cleanup_free_ char *relation = NULL, *name = NULL;
	_cleanup_strbuf_ struct strbuf head = {0};
	struct pg_token rule;
	const char *p = sql;
	if (!pg_eat(&p, "CREATE RULE") || pg_next_token(&p, &rule) <= 0 || pg_eat(&p, "AS ON SELECT"))
		return false;
	pg_to_word(&p, "TO", &head);
	if (!pg_eat(&p, "TO") || !pg_eat_name(&p, &relation, &name))
		return false;
	strbuf_addf(&m->rest, "rule on %s;", relation);
	strbuf_addf(&m->before, "CREATE TABLE pg_temp.%s (LIKE %s); ", name, relation);
	strbuf_addf(&m->sql, "CREATE RULE %.*s%s TO pg_temp.%s %s", (int)rule.len, rule.at, strbuf_str(&head), name, p);
	return true;
}

/* Settings and owners are compared as text; a table's kind of storage is set, too. */
static bool pg_make_beside(struct pg_making *m, const char *sql)
{
	size_t n;
	const char *p = sql;
	if (pg_eat(&p, "SET default_table_access_method"))
		strbuf_addf(&m->sql, "SET LOCAL default_table_access_method%s ", p);
	else if (!pg_owner_of(sql, &n) && !pg_eat(&p, "SET default_tablespace"))
		return false;
	strbuf_addf(&m->rest, "%s", sql);
	return true;
}

/* false: a text that is not made here. */
static bool pg_make(struct pg_making *m, const struct pg_script *script)
{
	for (size_t i = 0; i < script->n_statements; i++) {
		const char *sql = script->statements[i].sql;
		bool main = !m->main && (pg_make_table(m, sql) || pg_make_plain(m, sql) ||
					 pg_make_domain_constraint(m, sql) || pg_make_rule(m, sql));
		m->main |= main;
		if (!main && !pg_make_beside(m, sql) && !pg_make_alter_table(m, sql))
			return false;
	}
	return m->main;
}

/* 1: made, *rows is what of it is in the catalogs; 0: it cannot be made. */
static int pg_make_and_read(struct pg_conn *c, const struct pg_making *m, const char *query, char **rows, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	_cleanup_free_ char *sql = xasprintf("CREATE DOMAIN pg_temp.metasnap_mark AS pg_catalog.int4; %s%s %s",
					     strbuf_str(&m->before), strbuf_str(&m->sql), query);
	int r = pg_try_temporary(c, &res, sql, e);
	if (r > 0)
		*rows = pg_rows_text(res);
	return r;
}

int pg_same_clones(struct pg_conn *c, const struct pg_script *a, const struct pg_script *b, struct err *e)
{
	_cleanup_(pg_making_done) struct pg_making x = {0}, y = {0};
	_cleanup_strbuf_ struct strbuf query = {0};
	_cleanup_free_ char *rows_a = NULL, *rows_b = NULL;
	if (!pg_make(&x, a) || !pg_make(&y, b) || strcmp(strbuf_str(&x.rest), strbuf_str(&y.rest)))
		return 0;
	int r = pg_rows_query(c, &query, e);
	if (r < 0)
		return r;
	r = pg_make_and_read(c, &x, strbuf_str(&query), &rows_a, e);
	if (r <= 0)
		return r;
	r = pg_make_and_read(c, &y, strbuf_str(&query), &rows_b, e);
	return r > 0 ? !strcmp(rows_a, rows_b) : r;
}
