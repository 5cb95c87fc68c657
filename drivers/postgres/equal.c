/*
 * drivers/postgres/equal.c - whether two texts that pg_dump wrote of one object are the same object.
 *
 * The server prints an expression otherwise once it has read its own print back, and other versions of server and
 * pg_dump spell things in other ways. So two texts are taken apart into expressions (conditions, defaults, queries) and
 * the rest. The rest must be the same token for token; an expression and its like are both handed to the server as
 * columns of views, and are the same if the server then prints the same, with the same types. Making a view plans
 * nothing and runs nobody's function. What remains different is given to clone.c.
 *
 * Expressions are looked for in tables, constraints, defaults, indexes, statistics, policies, triggers, publications'
 * tables, views and materialized views (whose query is one expression, and whose options belong to the rest). All else
 * is compared by its tokens, and by clone.c.
 *
 * Nothing is left behind: all happens under a savepoint that is rolled back, in the caller's transaction if it may
 * write, else on a connection of its own. No state; locks are the server's, ACCESS SHARE on what expressions name.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

/* ---- tokens of a statement ---- */

/* Tokens [from, to): an expression. */
struct pg_region {
	size_t from, to;
	bool query;
};

struct pg_taken {
	struct pg_token *v;
	size_t n;
	struct pg_region *regions;
	size_t n_regions;
	char *sources; /* what follows FROM where the expressions are read; "" for none */
};

static void pg_taken_done(struct pg_taken *t)
{
	free(t->v);
	free(t->regions);
	free(t->sources);
}

static int pg_take_tokens(const char *sql, struct pg_taken *ret, struct err *e)
{
	size_t cap = 0;
	struct pg_token t;
	int r;
	while ((r = pg_next_token(&sql, &t)) > 0) {
		if (ret->n == cap) {
			cap = cap ? 2 * cap : 64;
			ret->v = xrealloc(ret->v, cap * sizeof *ret->v);
		}
		ret->v[ret->n++] = t;
	}
	return r < 0 ? err_set(e, EINVAL, "a definition ends inside of a string") : 0;
}

static bool pg_at(const struct pg_taken *t, size_t i, const char *word)
{
	return i < t->n && pg_token_is(&t->v[i], word);
}

static bool pg_same_token(const struct pg_token *a, const struct pg_token *b)
{
	return a->len == b->len && !memcmp(a->at, b->at, a->len);
}

static bool pg_is_name(const struct pg_taken *t, size_t i)
{
	if (i >= t->n)
		return false;
	unsigned char first = (unsigned char)*t->v[i].at;
	return first == '"' || first == '_' || first >= 0x80 || (first >= 'a' && first <= 'z') ||
	       (first >= 'A' && first <= 'Z');
}

/* The index of what closes the parenthesis at i; t->n when nothing does. */
static size_t pg_close(const struct pg_taken *t, size_t i)
{
	int depth = 0;
	for (; i < t->n; i++) {
		depth += *t->v[i].at == '(' ? 1 : *t->v[i].at == ')' ? -1 : 0;
		if (!depth)
			return i;
	}
	return t->n;
}

/* Tokens [from, to) as they stand, each white space as one blank. */
static void pg_add_tokens(struct strbuf *sb, const struct pg_taken *t, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (i > from && t->v[i].at > t->v[i - 1].at + t->v[i - 1].len)
			strbuf_addch(sb, ' ');
		strbuf_add(sb, t->v[i].at, t->v[i].len);
	}
}

static void pg_add_region(struct pg_taken *t, size_t from, size_t to, bool query)
{
	if (from >= to)
		return;
	t->regions = xrealloc(t->regions, (t->n_regions + 1) * sizeof *t->regions);
	t->regions[t->n_regions++] = (struct pg_region){.from = from, .to = to, .query = query};
}

/* ---- where the expressions are ---- */

/* "schema.name" at i, as it is spelled; NULL when there is none. */
static char *pg_relation_at(const struct pg_taken *t, size_t i)
{
	struct strbuf sb = {0};
	if (pg_at(t, i, "ONLY"))
		i++;
	if (!pg_is_name(t, i) || !pg_at(t, i + 1, ".") || !pg_is_name(t, i + 2))
		return NULL;
	pg_add_tokens(&sb, t, i, i + 3);
	return strbuf_detach(&sb);
}

/* The first such word outside of parentheses; t->n when there is none. */
static size_t pg_find_word(const struct pg_taken *t, size_t i, const char *word)
{
	while (i < t->n && !pg_token_is(&t->v[i], word))
		i = *t->v[i].at == '(' ? pg_close(t, i) + 1 : i + 1;
	return i < t->n ? i : t->n;
}

/* Of a list's elements [from, to) those that are no plain column: (expression) or function(...). */
static void pg_find_elements(struct pg_taken *t, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		size_t call = i;
		while (pg_is_name(t, call) && pg_at(t, call + 1, "."))
			call += 2;
		if (*t->v[i].at == '(')
			pg_add_region(t, i + 1, pg_close(t, i), false);
		else if (pg_is_name(t, call) && pg_at(t, call + 1, "("))
			pg_add_region(t, i, pg_close(t, call + 1) + 1, false);
		while (i < to && *t->v[i].at != ',')
			i = *t->v[i].at == '(' ? pg_close(t, i) + 1 : i + 1;
	}
}

/* After the default that begins at i, in a table's list of columns. */
static size_t pg_default_end(const struct pg_taken *t, size_t i)
{
	for (; i < t->n; i++) {
		if (*t->v[i].at == '(')
			i = pg_close(t, i);
		else if (strchr(",);", *t->v[i].at) || (pg_at(t, i, "NOT") && pg_at(t, i + 1, "NULL")) ||
			 pg_at(t, i, "CONSTRAINT") || pg_at(t, i, "CHECK"))
			break;
	}
	return i < t->n ? i : t->n;
}

/* The words before a parenthesis that holds one expression. All but ALWAYS, AS and WHEN's kin are reserved: as names
 * they are in quotes. */
static bool pg_opens_expression(const struct pg_taken *t, size_t i)
{
	return pg_at(t, i, "(") && i &&
	       (pg_at(t, i - 1, "CHECK") || pg_at(t, i - 1, "WHERE") || pg_at(t, i - 1, "WHEN") ||
		pg_at(t, i - 1, "USING") || (i > 1 && pg_at(t, i - 1, "AS") && pg_at(t, i - 2, "ALWAYS")));
}

static void pg_find_conditions(struct pg_taken *t)
{
	for (size_t i = 1; i < t->n; i++) {
		if (pg_opens_expression(t, i)) {
			size_t end = pg_close(t, i);
			pg_add_region(t, i + 1, end, false);
			i = end;
		} else if (pg_at(t, i, "(") && i > 1 && pg_at(t, i - 2, "USING") &&
			   (pg_at(t, i - 3, "EXCLUDE") || pg_at(t, 1, "INDEX") || pg_at(t, 2, "INDEX"))) {
			size_t end = pg_close(t, i);
			pg_find_elements(t, i + 1, end);
			i = end;
		} else if (pg_at(t, i, "DEFAULT") && !pg_at(t, i - 1, "BY")) {
			size_t end = pg_default_end(t, i + 1);
			pg_add_region(t, i + 1, end, false);
			i = end - 1;
		}
	}
}

/* "AS query" to the end, or to what may stand behind a query of a view. */
static void pg_find_query(struct pg_taken *t)
{
	size_t from = pg_find_word(t, 0, "AS") + 1, to = t->n ? t->n - 1 : 0;
	if (to > 3 && pg_at(t, to - 1, "DATA") && pg_at(t, to - 2, "NO") && pg_at(t, to - 3, "WITH"))
		to -= 3;
	else if (to > 4 && pg_at(t, to - 1, "OPTION") && pg_at(t, to - 2, "CHECK") && pg_at(t, to - 4, "WITH"))
		to -= 4;
	pg_add_region(t, from, to, true);
}

/* Fills the regions; none where a statement is of a kind without expressions. */
static void pg_find_regions(struct pg_taken *t)
{
	_cleanup_free_ char *relation = NULL;
	size_t kind = 1;
	if (pg_at(t, 0, "CREATE") && pg_at(t, 1, "OR") && pg_at(t, 2, "REPLACE"))
		kind = 3;
	while (pg_at(t, kind, "UNIQUE") || pg_at(t, kind, "UNLOGGED") || pg_at(t, kind, "CONSTRAINT"))
		kind++;
	bool create = pg_at(t, 0, "CREATE"), alter = pg_at(t, 0, "ALTER");
	if (create && (pg_at(t, kind, "VIEW") || (pg_at(t, kind, "MATERIALIZED") && pg_at(t, kind + 1, "VIEW")))) {
		pg_find_query(t);
		return;
	}
	if ((create || alter) && pg_at(t, kind, "TABLE"))
		relation = pg_relation_at(t, kind + 1);
	else if (create && (pg_at(t, kind, "INDEX") || pg_at(t, kind, "POLICY") || pg_at(t, kind, "TRIGGER")))
		relation = pg_relation_at(t, pg_find_word(t, kind, "ON") + 1);
	else if (create && pg_at(t, kind, "STATISTICS"))
		relation = pg_relation_at(t, pg_find_word(t, kind, "FROM") + 1);
	else if (alter && pg_at(t, 1, "PUBLICATION"))
		relation = pg_relation_at(t, pg_find_word(t, 1, "TABLE") + 1);
	if (!relation)
		return;
	if (create && pg_at(t, kind, "STATISTICS"))
		pg_find_elements(t, pg_find_word(t, kind, "ON") + 1, pg_find_word(t, kind, "FROM"));
	else
		pg_find_conditions(t);
	t->sources = pg_at(t, kind, "TRIGGER") ? xasprintf(" FROM %s AS old, %s AS new", relation, relation)
					       : xasprintf(" FROM %s", relation);
}

/* ---- comparing ---- */

static bool pg_same_tokens(const struct pg_taken *a, size_t from_a, size_t to_a, const struct pg_taken *b,
			   size_t from_b, size_t to_b)
{
	if (to_a - from_a != to_b - from_b)
		return false;
	for (size_t i = 0; i < to_a - from_a; i++)
		if (!pg_same_token(&a->v[from_a + i], &b->v[from_b + i]))
			return false;
	return true;
}

/* Whether all but the expressions is the same. */
static bool pg_same_rest(const struct pg_taken *a, const struct pg_taken *b)
{
	size_t from_a = 0, from_b = 0;
	if (a->n_regions != b->n_regions)
		return false;
	for (size_t i = 0; i < a->n_regions; i++) {
		const struct pg_region *x = &a->regions[i], *y = &b->regions[i];
		if (x->query != y->query || !pg_same_tokens(a, from_a, x->from, b, from_b, y->from))
			return false;
		from_a = x->to;
		from_b = y->to;
	}
	return pg_same_tokens(a, from_a, a->n, b, from_b, b->n);
}

/* A string without a type takes that of its place, which a view does not have. (pg_dump writes the type.) */
static bool pg_is_untyped(const struct pg_taken *t, const struct pg_region *x)
{
	bool untyped = !x->query;
	for (size_t i = x->from; i < x->to && untyped; i++)
		untyped = strchr("()'", *t->v[i].at) || t->v[i].at[t->v[i].len - 1] == '\'';
	return untyped;
}

static void pg_add_view(struct strbuf *sql, const char *name, const struct pg_taken *t, const struct pg_region *x)
{
	strbuf_addf(sql, "CREATE VIEW pg_temp.%s AS %s", name, x->query ? "" : "SELECT (");
	pg_add_tokens(sql, t, x->from, x->to);
	if (!x->query)
		strbuf_addf(sql, ") AS expression%s", t->sources);
	strbuf_adds(sql, "; ");
}

static int pg_same_expression(struct pg_conn *c, const struct pg_taken *a, const struct pg_region *x,
			      const struct pg_taken *b, const struct pg_region *y, bool *same, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_result_ PGresult *res = NULL;
	*same = false;
	if (pg_is_untyped(a, x) || pg_is_untyped(b, y))
		return 0;
	pg_add_view(&sql, "metasnap_a", a, x);
	pg_add_view(&sql, "metasnap_b", b, y);
	strbuf_adds(&sql, "SELECT pg_catalog.count(DISTINCT ROW(pg_catalog.pg_get_viewdef(v.oid), (SELECT"
			  " pg_catalog.array_agg(ROW(a.attname, a.atttypid, a.atttypmod, a.attcollation)::text"
			  " ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = v.oid)))"
			  " FROM pg_catalog.pg_class v WHERE v.oid IN ('pg_temp.metasnap_a'::pg_catalog.regclass,"
			  " 'pg_temp.metasnap_b'::pg_catalog.regclass)");
	int r = pg_try_temporary(c, &res, strbuf_str(&sql), e);
	*same = r > 0 && !strcmp(PQgetvalue(res, 0, 0), "1");
	return r < 0 ? r : 0;
}

/* 1: the same; 0: not, or not by this. */
static int pg_same_statement(struct pg_conn *c, const char *sql_a, const char *sql_b, struct err *e)
{
	_cleanup_(pg_taken_done) struct pg_taken a = {0}, b = {0};
	int r = pg_take_tokens(sql_a, &a, e);
	if (r < 0)
		return r;
	r = pg_take_tokens(sql_b, &b, e);
	if (r < 0)
		return r;
	if (pg_same_tokens(&a, 0, a.n, &b, 0, b.n))
		return 1;
	pg_find_regions(&a);
	pg_find_regions(&b);
	if (!pg_same_rest(&a, &b))
		return 0;
	for (size_t i = 0; i < a.n_regions; i++) {
		const struct pg_region *x = &a.regions[i], *y = &b.regions[i];
		bool same = pg_same_tokens(&a, x->from, x->to, &b, y->from, y->to);
		r = same ? 0 : pg_same_expression(c, &a, x, &b, y, &same, e);
		if (r < 0 || !same)
			return r;
	}
	return 1;
}

static int pg_same_scripts(struct pg_conn *c, const struct pg_script *a, const struct pg_script *b, struct err *e)
{
	if (a->n_statements != b->n_statements)
		return 0;
	for (size_t i = 0; i < a->n_statements; i++) {
		int r = pg_same_statement(c, a->statements[i].sql, b->statements[i].sql, e);
		if (r <= 0)
			return r;
	}
	return 1;
}

int pg_same_text(struct pg_conn *c, const char *type, const char *a, const char *b, bool *same, struct err *e)
{
	_cleanup_(pg_script_done) struct pg_script x = {0}, y = {0};
	_cleanup_(cleanup_pg_connection) struct pg_conn *other = NULL;
	*same = !strcmp(a, b);
	/* What cannot be cut is like nothing. */
	if (*same || pg_script_parse(&x, a, ERR_DROP) < 0 || pg_script_parse(&y, b, ERR_DROP) < 0)
		return 0;
	int r = pg_temporary_connection(c, &other, e);
	if (r < 0)
		return r;
	struct pg_conn *on = other ? other : c;
	r = pg_same_scripts(on, &x, &y, e);
	if (!r)
		r = pg_same_clones(on, &x, &y, e);
	if (other)
		(void)pg_query(other, NULL, "cannot compare", "ROLLBACK", 0, NULL, ERR_DROP);
	*same = r > 0;
	return r < 0 ? err_prefix(e, "two definitions of a kind (%s)", type) : 0;
}
