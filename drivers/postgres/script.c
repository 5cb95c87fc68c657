/*
 * drivers/postgres/script.c - pg_dump's text cut into its statements, and what a statement is.
 *
 * The cutter knows PostgreSQL's lexical rules, because function bodies hold semicolons and comments. A statement comes
 * out as it means under standard_conforming_strings = on, which is what our sessions have: where the text turns it off,
 * strings with backslashes get their E. Any thread; no state, no locks.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

/* ---- tokens ---- */

static bool pg_is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* From an opening quote to after the closing one; NULL when there is none. */
static const char *pg_skip_quoted(const char *p, bool escapes)
{
	char quote = *p++;
	for (; *p; p++) {
		if (escapes && *p == '\\' && p[1])
			p++;
		else if (*p == quote && p[1] == quote)
			p++;
		else if (*p == quote)
			return p + 1;
	}
	return NULL;
}

/* The same with the strings that go on after a line feed, whose escapes are the first one's. */
static const char *pg_skip_string(const char *p, bool escapes)
{
	for (;;) {
		p = pg_skip_quoted(p, escapes);
		const char *next = p ? p + strspn(p, " \t\r\n\f\v") : NULL;
		if (!p || *next != '\'' || !memchr(p, '\n', (size_t)(next - p)))
			return p;
		p = next;
	}
}

/* At '$': after the end of a dollar-quoted string, p itself when this opens none, NULL when it has no end. */
static const char *pg_skip_dollar(const char *p)
{
	const char *tag = p + 1;
	while (pg_is_word(*tag) && *tag != '$')
		tag++;
	if (*tag != '$' || isdigit((unsigned char)p[1]))
		return p;
	size_t n = (size_t)(tag + 1 - p);
	_cleanup_free_ char *mark = xmemdup0(p, n);
	const char *end = strstr(p + n, mark);
	return end ? end + n : NULL;
}

static const char *pg_skip_block_comment(const char *p)
{
	int depth = 0;
	for (; *p; p++) {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p++;
		} else if (p[0] == '*' && p[1] == '/') {
			p++;
			if (!--depth)
				return p + 1;
		}
	}
	return NULL;
}

/* An operator ends before a comment: "-->" is one. */
static const char *pg_skip_operator(const char *p)
{
	const char *start = p;
	while (*p && strchr("+-*/<>=~!@#%^&|`?:", *p) && strncmp(p, "--", 2) && strncmp(p, "/*", 2))
		p++;
	return p > start ? p : p + 1;
}

/* After the token at p, which is neither white space nor a comment; NULL when it has no end. */
static const char *pg_skip_token(const char *p, bool escapes)
{
	if (*p == '\'')
		return pg_skip_string(p, escapes);
	if (*p == '"')
		return pg_skip_quoted(p, false);
	if (*p && strchr("eE", *p) && p[1] == '\'')
		return pg_skip_string(p + 1, true);
	if (*p && strchr("bBxXnN", *p) && p[1] == '\'')
		return pg_skip_string(p + 1, escapes);
	if ((*p == 'u' || *p == 'U') && p[1] == '&' && (p[2] == '\'' || p[2] == '"'))
		return p[2] == '"' ? pg_skip_quoted(p + 2, false) : pg_skip_string(p + 2, false);
	if (*p == '$') {
		const char *after = pg_skip_dollar(p);
		return after == p ? p + 1 : after;
	}
	if (!pg_is_word(*p))
		return pg_skip_operator(p);
	while (pg_is_word(*p))
		p++;
	return p;
}

static const char *pg_skip_blank(const char *p)
{
	while (p && *p) {
		if (isspace((unsigned char)*p))
			p++;
		else if (p[0] == '-' && p[1] == '-')
			p += strcspn(p, "\n");
		else if (p[0] == '/' && p[1] == '*')
			p = pg_skip_block_comment(p);
		else
			break;
	}
	return p;
}

int pg_next_token(const char **p, struct pg_token *ret)
{
	const char *start = pg_skip_blank(*p), *end = start && *start ? pg_skip_token(start, false) : start;
	*ret = (struct pg_token){.at = end ? start : NULL, .len = end ? (size_t)(end - start) : 0};
	if (!end)
		return -EINVAL;
	*p = end;
	return end > start;
}

bool pg_token_is(const struct pg_token *t, const char *wanted)
{
	return strlen(wanted) == t->len && !strncasecmp(t->at, wanted, t->len);
}

/* ---- cutting ---- */

void pg_script_done(struct pg_script *s)
{
	for (size_t i = 0; i < s->n_statements; i++) {
		free(s->statements[i].sql);
		free(s->statements[i].entry);
		free(s->statements[i].type);
	}
	free(s->statements);
	*s = (struct pg_script){0};
}

struct pg_cutter {
	const char *p;
	char entry[200]; /* of the comment block above */
	char type[64];
	bool escapes; /* standard_conforming_strings is off */
	int parens;
	int begins; /* BEGIN ATOMIC and CASE of a SQL-standard function body, whose semicolons end nothing */
	int tokens; /* seen in this statement, up to 4 */
	bool create, replace, routine;
};

/* "-- Name: t; Type: TABLE; Schema: public; Owner: me" */
static void pg_note_entry(struct pg_cutter *k, const char *line, size_t n)
{
	_cleanup_free_ char *text = xmemdup0(line, n);
	char *type = NULL;
	if (strncmp(text, "-- Name: ", 9))
		return;
	for (char *p = strstr(text, "; Type: "); p; p = strstr(p + 1, "; Type: "))
		type = p;
	if (!type)
		return;
	*type = '\0';
	type += 8;
	type[strcspn(type, ";")] = '\0';
	(void)snprintf(k->type, sizeof k->type, "%s", type);
	(void)snprintf(k->entry, sizeof k->entry, "%.40s %.150s", type, text + 9);
}

/* Whether the token at p, which ends at `end`, begins the body of a function. */
static bool pg_begins_body(const struct pg_token *t, const char *end)
{
	struct pg_token next;
	return pg_token_is(t, "BEGIN") && pg_next_token(&end, &next) > 0 && pg_token_is(&next, "ATOMIC");
}

/* Only in CREATE [OR REPLACE] FUNCTION or PROCEDURE is there such a body. In it CASE and END are reserved words: names
 * that are spelled so are in quotes. */
static void pg_note_token(struct pg_cutter *k, const struct pg_token *t, const char *end)
{
	int place = k->tokens < 4 ? k->tokens++ : 4;
	if (!place)
		k->create = pg_token_is(t, "CREATE");
	else if (place == 1)
		k->replace = k->create && pg_token_is(t, "OR");
	if (place == (k->replace ? 3 : 1) && k->create)
		k->routine = pg_token_is(t, "FUNCTION") || pg_token_is(t, "PROCEDURE");
	if (*t->at == '(')
		k->parens++;
	else if (*t->at == ')' && k->parens)
		k->parens--;
	if (!k->routine || k->parens)
		return;
	if (!k->begins)
		k->begins = pg_begins_body(t, end);
	else if (pg_token_is(t, "CASE"))
		k->begins++;
	else if (pg_token_is(t, "END"))
		k->begins--;
}

/* Skips white space and comments between statements. Returns false at the end of the text. */
static bool pg_skip_between(struct pg_cutter *k)
{
	for (;;) {
		while (isspace((unsigned char)*k->p))
			k->p++;
		const char *after = k->p[0] == '/' && k->p[1] == '*' ? pg_skip_block_comment(k->p) : NULL;
		if (after) {
			k->p = after;
			continue;
		}
		if (k->p[0] != '-' || k->p[1] != '-')
			return *k->p != '\0';
		size_t n = strcspn(k->p, "\n");
		pg_note_entry(k, k->p, n);
		k->p += n;
	}
}

/* From the first byte of a statement to after its semicolon, as it reads under standard_conforming_strings = on to
 * *sql; NULL when the text ends before. */
static const char *pg_cut_statement(struct pg_cutter *k, struct strbuf *sql)
{
	const char *p = k->p;
	k->parens = k->begins = k->tokens = 0;
	k->create = k->replace = k->routine = false;
	while (p && *p) {
		const char *start = pg_skip_blank(p);
		if (!start || !*start)
			return NULL;
		strbuf_add(sql, p, (size_t)(start - p));
		p = pg_skip_token(start, k->escapes);
		if (!p)
			return NULL;
		const struct pg_token t = {.at = start, .len = (size_t)(p - start)};
		if (k->escapes && *start == '\'' && memchr(start, '\\', t.len))
			strbuf_addch(sql, 'E');
		strbuf_add(sql, start, t.len);
		if (*start == ';' && !k->parens && !k->begins)
			return p;
		pg_note_token(k, &t, p);
	}
	return NULL;
}

/* How strings are to be read after this statement, if it says so. */
static void pg_note_setting(struct pg_cutter *k, const char *sql)
{
	struct pg_token t[4] = {0};
	for (size_t i = 0; i < 4; i++)
		if (pg_next_token(&sql, &t[i]) <= 0)
			return;
	if (pg_token_is(&t[0], "SET") && pg_token_is(&t[1], "standard_conforming_strings"))
		k->escapes = pg_token_is(&t[3], "off");
}

int pg_script_parse(struct pg_script *ret, const char *sql, struct err *e)
{
	struct pg_cutter k = {.p = sql};
	size_t cap = 0;
	*ret = (struct pg_script){0};
	while (pg_skip_between(&k)) {
		_cleanup_strbuf_ struct strbuf text = {0};
		const char *start = k.p, *end = pg_cut_statement(&k, &text);
		if (!end) {
			pg_script_done(ret);
			return err_set(e, EINVAL, "the schema text ends inside of a statement%s%s",
				       *k.entry ? ": " : "", k.entry);
		}
		if (ret->n_statements == cap) {
			cap = cap ? 2 * cap : 64;
			ret->statements = xrealloc(ret->statements, cap * sizeof *ret->statements);
		}
		pg_note_setting(&k, strbuf_str(&text));
		ret->statements[ret->n_statements++] = (struct pg_statement){
		    .sql = strbuf_detach(&text),
		    .entry = xstrdup(k.entry),
		    .type = xstrdup(k.type),
		    .at = (size_t)(start - sql),
		    .end = (size_t)(end - sql),
		};
		k.p = end;
	}
	return 0;
}

/* ---- what a statement is ---- */

bool pg_begins(const char *sql, const char *words)
{
	return !strncasecmp(sql, words, strlen(words));
}

const char *pg_owner_of(const char *sql, size_t *len)
{
	const char *role = NULL;
	if (!pg_begins(sql, "ALTER "))
		return NULL;
	for (const char *p = strstr(sql, " OWNER TO "); p; p = strstr(p + 1, " OWNER TO "))
		role = p + 10;
	if (!role)
		return NULL;
	const char *p = role;
	if (*p == '"') {
		for (p++; *p && (*p != '"' || p[1] == '"'); p++)
			p += *p == '"';
		if (*p == '"')
			p++;
	} else {
		while (pg_is_word(*p))
			p++;
	}
	*len = (size_t)(p - role);
	return *len && !strcmp(p, ";") ? role : NULL;
}

/* Who owns and who may, and what stands outside of the schema (tablespaces, publications, the comments of what only a
 * superuser owns). */
bool pg_is_optional(const struct pg_statement *s)
{
	static const char *const beginnings[] = {
	    "GRANT ",
	    "REVOKE ",
	    "ALTER DEFAULT PRIVILEGES ",
	    "COMMENT ON EXTENSION ",
	    "COMMENT ON SCHEMA ",
	    "SET SESSION AUTHORIZATION ",
	    "RESET SESSION AUTHORIZATION",
	    "SET default_tablespace ",
	    "ALTER PUBLICATION ",
	};
	size_t n;
	for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++)
		if (pg_begins(s->sql, beginnings[i]))
			return true;
	return pg_owner_of(s->sql, &n) != NULL;
}

bool pg_is_post_data(const char *type)
{
	/* pg_dump writes all of the first part before any of the second: the first such entry is the border. */
	static const char *const types[] = {
	    "CONSTRAINT",
	    "FK CONSTRAINT",
	    "CHECK CONSTRAINT",
	    "INDEX",
	    "INDEX ATTACH",
	    "TRIGGER",
	    "RULE",
	    "EVENT TRIGGER",
	    "POLICY",
	    "ROW SECURITY",
	    "STATISTICS",
	    "STATISTICS DATA",
	    "MATERIALIZED VIEW DATA",
	    "PUBLICATION",
	    "PUBLICATION TABLE",
	    "PUBLICATION TABLES IN SCHEMA",
	    "SUBSCRIPTION",
	    "ACL",
	    "DEFAULT ACL",
	};
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

const char *pg_matview_of(const struct pg_statement *s, size_t *len)
{
	static const char create[] = "CREATE MATERIALIZED VIEW ";
	if (!pg_begins(s->sql, create))
		return NULL;
	const char *name = s->sql + sizeof create - 1, *end = name;
	for (bool quoted = false; *end && (quoted || !isspace((unsigned char)*end)); end++)
		quoted ^= *end == '"';
	*len = (size_t)(end - name);
	return name;
}
