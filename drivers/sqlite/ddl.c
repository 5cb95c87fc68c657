/*
 * drivers/sqlite/ddl.c - a tokenizer for SQLite's DDL text: splitting a script into statements, and finding the
 * expression of a generated column, which no pragma gives. No state, no locks; any thread.
 */
#include "drivers/sqlite/ddl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum ddl_type { DDL_END, DDL_WORD, DDL_QUOTED, DDL_PUNCT };

struct ddl_token {
	enum ddl_type type;
	const char *start;
	size_t len;
};

static const char *ddl_skip_blank(const char *p)
{
	for (;;) {
		if (isspace((unsigned char)*p)) {
			p++;
		} else if (!strncmp(p, "--", 2)) {
			p += strcspn(p, "\n");
		} else if (!strncmp(p, "/*", 2)) {
			const char *end = strstr(p + 2, "*/");
			p = end ? end + 2 : p + strlen(p);
		} else {
			return p;
		}
	}
}

static struct ddl_token ddl_token(const char **p)
{
	struct ddl_token t = {.start = ddl_skip_blank(*p)};
	const char *s = t.start;
	if (!*s) {
		t.type = DDL_END;
	} else if (strchr("'\"`[", *s)) {
		char close = *s == '[' ? ']' : *s;
		t.type = DDL_QUOTED;
		for (s++; *s; s++) {
			if (*s != close)
				continue;
			if (close == ']' || s[1] != close)
				break;
			s++;
		}
		if (*s)
			s++;
	} else if (isalnum((unsigned char)*s) || *s == '_' || (unsigned char)*s >= 0x80) {
		t.type = DDL_WORD;
		while (isalnum((unsigned char)*s) || *s == '_' || *s == '$' || (unsigned char)*s >= 0x80)
			s++;
	} else {
		t.type = DDL_PUNCT;
		s++;
	}
	t.len = (size_t)(s - t.start);
	*p = s;
	return t;
}

static bool ddl_is_word(const struct ddl_token *t, const char *word)
{
	return t->type == DDL_WORD && strlen(word) == t->len && !strncasecmp(t->start, word, t->len);
}

static bool ddl_is_punct(const struct ddl_token *t, char c)
{
	return t->type == DDL_PUNCT && *t->start == c;
}

/* Whether the token, with its quotes taken off, is this name; SQLite compares names without regard to ASCII case. */
static bool ddl_is_name(const struct ddl_token *t, const char *name)
{
	if (t->type == DDL_WORD)
		return ddl_is_word(t, name);
	if (t->type != DDL_QUOTED || t->len < 2)
		return false;
	char close = *t->start == '[' ? ']' : *t->start;
	size_t n = 0;
	for (size_t i = 1; i + 1 < t->len; i++) {
		if (tolower((unsigned char)t->start[i]) != tolower((unsigned char)name[n]))
			return false;
		n++;
		if (t->start[i] == close && close != ']')
			i++;
	}
	return name[n] == '\0';
}

bool sqlite_ddl_has_word(const char *sql, const char *word)
{
	for (struct ddl_token t = ddl_token(&sql); t.type != DDL_END; t = ddl_token(&sql))
		if (ddl_is_word(&t, word))
			return true;
	return false;
}

bool sqlite_ddl_has_name(const char *sql, const char *name)
{
	for (struct ddl_token t = ddl_token(&sql); t.type != DDL_END; t = ddl_token(&sql))
		if (ddl_is_name(&t, name))
			return true;
	return false;
}

void sqlite_quote(struct strbuf *sql, const char *name)
{
	strbuf_addch(sql, '"');
	for (const char *s = name; *s; s++) {
		if (*s == '"')
			strbuf_addch(sql, '"');
		strbuf_addch(sql, *s);
	}
	strbuf_addch(sql, '"');
}

enum sqlite_ddl_kind sqlite_ddl_next(const char **script, const char **ret_start, size_t *ret_len)
{
	enum sqlite_ddl_kind kind = SQLITE_DDL_OTHER;
	const char *p = *script;
	struct ddl_token first = ddl_token(&p);
	while (ddl_is_punct(&first, ';'))
		first = ddl_token(&p);
	*ret_start = first.start;
	*ret_len = 0;
	if (first.type == DDL_END) {
		*script = first.start;
		return SQLITE_DDL_END;
	}
	bool trigger = false;
	const char *after_first = p;
	struct ddl_token t = ddl_token(&p);
	if (ddl_is_word(&first, "create")) {
		trigger = ddl_is_word(&t, "trigger");
		if (ddl_is_word(&t, "table"))
			kind = SQLITE_DDL_TABLE;
		else if (ddl_is_word(&t, "virtual"))
			kind = SQLITE_DDL_VIRTUAL;
		else if (trigger || ddl_is_word(&t, "index") || ddl_is_word(&t, "unique") || ddl_is_word(&t, "view"))
			kind = SQLITE_DDL_LATER;
	} else if (ddl_is_word(&first, "pragma") &&
		   (ddl_is_word(&t, "user_version") || ddl_is_word(&t, "application_id"))) {
		kind = SQLITE_DDL_PRAGMA;
	}
	/* A trigger's body holds statements: it ends with "; END ;", as in sqlite3_complete(). */
	int tail = 0;
	p = after_first;
	for (;;) {
		t = ddl_token(&p);
		if (t.type == DDL_END)
			break;
		if (ddl_is_punct(&t, ';')) {
			if (!trigger || tail == 2)
				break;
			tail = 1;
		} else {
			tail = tail == 1 && ddl_is_word(&t, "end") ? 2 : 0;
		}
	}
	*ret_len = (size_t)(t.start - first.start);
	*script = p;
	return kind;
}

/* A name without its quotes. */
static char *ddl_unquoted(const struct ddl_token *t)
{
	if (t->type != DDL_QUOTED || t->len < 2)
		return t->type == DDL_END ? NULL : xmemdup0(t->start, t->len);
	char close = *t->start == '[' ? ']' : *t->start;
	struct strbuf sb = {0};
	for (size_t i = 1; i + 1 < t->len; i++) {
		strbuf_addch(&sb, t->start[i]);
		if (t->start[i] == close && close != ']')
			i++;
	}
	return strbuf_detach(&sb);
}

void sqlite_ddl_object_done(struct sqlite_ddl_object *o)
{
	free(o->kind);
	free(o->name);
	free(o->table);
}

void sqlite_ddl_object(const char *statement, struct sqlite_ddl_object *ret)
{
	*ret = (struct sqlite_ddl_object){0};
	const char *p = statement;
	struct ddl_token t = ddl_token(&p);
	bool pragma = ddl_is_word(&t, "pragma");
	if (!pragma) {
		t = ddl_token(&p); /* SQLite keeps the statement as CREATE [UNIQUE] KIND name */
		if (ddl_is_word(&t, "unique"))
			t = ddl_token(&p);
	}
	if (ddl_is_word(&t, "virtual")) {
		t = ddl_token(&p);
		ret->kind = xstrdup(SQLITE_VIRTUAL);
	} else {
		ret->kind = ddl_unquoted(&t);
	}
	for (char *c = ret->kind; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	t = ddl_token(&p);
	ret->name = ddl_unquoted(&t);
	if (!ret->kind || (strcmp(ret->kind, "index") && strcmp(ret->kind, "trigger")))
		return;
	/* The first ON: of an index behind its name, of a trigger behind its event, whose columns may be quoted. */
	while (t.type != DDL_END && !ddl_is_word(&t, "on"))
		t = ddl_token(&p);
	t = ddl_token(&p);
	ret->table = ddl_unquoted(&t);
}

char *sqlite_ddl_virtual_name(const char *sql)
{
	struct ddl_token t[5];
	for (size_t i = 0; i < 5; i++)
		t[i] = ddl_token(&sql);
	bool is = ddl_is_word(&t[0], "create") && ddl_is_word(&t[1], "virtual") && ddl_is_word(&t[2], "table") &&
		  ddl_is_word(&t[4], "using");
	return is ? ddl_unquoted(&t[3]) : NULL;
}

char *sqlite_ddl_generated(const char *create_table, const char *column)
{
	const char *p = create_table;
	struct ddl_token t = ddl_token(&p);
	while (t.type != DDL_END && !ddl_is_punct(&t, '('))
		t = ddl_token(&p);
	unsigned depth = 1;
	bool begins = true, here = false, as = false;
	for (t = ddl_token(&p); t.type != DDL_END && depth; t = ddl_token(&p)) {
		if (begins)
			here = ddl_is_name(&t, column);
		if (ddl_is_punct(&t, '(')) {
			if (here && as && depth == 1) {
				const char *start = p;
				for (depth = 1; depth;) {
					t = ddl_token(&p);
					if (t.type == DDL_END)
						return NULL;
					depth += ddl_is_punct(&t, '(') ? 1u : 0u;
					depth -= ddl_is_punct(&t, ')') ? 1u : 0u;
				}
				return xmemdup0(start, (size_t)(t.start - start));
			}
			depth++;
		} else if (ddl_is_punct(&t, ')')) {
			depth--;
		}
		as = depth == 1 && !begins && ddl_is_word(&t, "as");
		begins = depth == 1 && ddl_is_punct(&t, ',');
	}
	return NULL;
}
