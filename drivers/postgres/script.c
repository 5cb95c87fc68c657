/*
 * drivers/postgres/script.c - pg_dump's text cut into its statements, and what a statement is.
 *
 * The cutter knows PostgreSQL's lexical rules, because function bodies hold semicolons and comments. Any thread; no
 * state, no locks.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

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
	int parens;
	int begins; /* BEGIN ATOMIC and CASE of a SQL-standard function body, whose semicolons end nothing */
	int words;  /* seen in this statement, up to 5 */
	bool create, routine;
};

static bool pg_is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

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

static bool pg_word_is(const char *word, size_t n, const char *wanted)
{
	return strlen(wanted) == n && !strncasecmp(word, wanted, n);
}

/* As psql does it (psqlscan.l): only in CREATE [OR REPLACE] FUNCTION or PROCEDURE do BEGIN, CASE and END count. */
static void pg_note_word(struct pg_cutter *k, const char *word, size_t n)
{
	int place = k->words++;
	if (!place)
		k->create = pg_word_is(word, n, "CREATE");
	if (place && place < 4 && (pg_word_is(word, n, "FUNCTION") || pg_word_is(word, n, "PROCEDURE")))
		k->routine = k->create;
	if (!k->routine || k->parens)
		return;
	if (pg_word_is(word, n, "BEGIN") || (k->begins && pg_word_is(word, n, "CASE")))
		k->begins++;
	else if (k->begins && pg_word_is(word, n, "END"))
		k->begins--;
}

/* Skips white space and comments between statements. Returns false at the end of the text. */
static bool pg_skip_between(struct pg_cutter *k)
{
	for (;;) {
		while (isspace((unsigned char)*k->p))
			k->p++;
		if (k->p[0] != '-' || k->p[1] != '-')
			return *k->p != '\0';
		size_t n = strcspn(k->p, "\n");
		pg_note_entry(k, k->p, n);
		k->p += n;
	}
}

/* From the first byte of a statement to after its semicolon; NULL when the text ends before. */
static const char *pg_cut_statement(struct pg_cutter *k)
{
	const char *p = k->p;
	k->parens = k->begins = k->words = 0;
	k->create = k->routine = false;
	while (p && *p) {
		if (*p == ';' && !k->parens && !k->begins)
			return p + 1;
		if (*p == '\'') {
			p = pg_skip_quoted(p, false);
		} else if ((*p == 'E' || *p == 'e') && p[1] == '\'') {
			p = pg_skip_quoted(p + 1, true);
		} else if (*p == '"') {
			p = pg_skip_quoted(p, false);
		} else if (*p == '$') {
			const char *after = pg_skip_dollar(p);
			p = after == p ? p + 1 : after;
		} else if (p[0] == '-' && p[1] == '-') {
			p += strcspn(p, "\n");
		} else if (p[0] == '/' && p[1] == '*') {
			p = pg_skip_block_comment(p);
		} else if (pg_is_word(*p)) {
			const char *start = p;
			while (pg_is_word(*p))
				p++;
			pg_note_word(k, start, (size_t)(p - start));
		} else {
			k->parens += *p == '(' ? 1 : *p == ')' && k->parens ? -1 : 0;
			p++;
		}
	}
	return NULL;
}

int pg_script_parse(struct pg_script *ret, const char *sql, struct err *e)
{
	struct pg_cutter k = {.p = sql};
	size_t cap = 0;
	*ret = (struct pg_script){0};
	while (pg_skip_between(&k)) {
		const char *start = k.p, *end = pg_cut_statement(&k);
		if (!end) {
			pg_script_done(ret);
			return err_set(e, EINVAL, "the schema text ends inside of a statement%s%s",
				       *k.entry ? ": " : "", k.entry);
		}
		if (ret->n_statements == cap) {
			cap = cap ? 2 * cap : 64;
			ret->statements = xrealloc(ret->statements, cap * sizeof *ret->statements);
		}
		ret->statements[ret->n_statements++] = (struct pg_statement){
		    .sql = xmemdup0(start, (size_t)(end - start)),
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
