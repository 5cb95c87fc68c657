/*
 * drivers/derive.c - see derive.h.
 *
 * A tokenizer and a recursive descent over the few shapes that are one member of one column. Whatever is not
 * recognised as a whole leaves the column without derivation: a wrong guess would only cost (rows are checked), but a
 * table would then lose its key.
 */
#include "drivers/derive.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/strbuf.h"

enum derive_token {
	DERIVE_END,
	DERIVE_WORD,
	DERIVE_NAME,
	DERIVE_STRING,
	DERIVE_NUMBER,
	DERIVE_ARROW2, /* ->> */
	DERIVE_CAST,   /* :: */
	DERIVE_PUNCT,
	DERIVE_BAD,
};

struct derive {
	const char *p;
	enum derive_token token; /* the current one */
	char quote;              /* of DERIVE_NAME; the character itself for DERIVE_PUNCT */
	struct strbuf text;      /* of words, names, strings, numbers */
	unsigned depth;
	bool boolean; /* a cast to boolean was seen */
};

enum derive_kind {
	DERIVE_FAIL,
	DERIVE_COLUMN,  /* a = name */
	DERIVE_LITERAL, /* a = text; cast: had ::text, as PostgreSQL prints member names */
	DERIVE_MEMBER,  /* a = document, b = member */
};

struct derive_node {
	enum derive_kind kind;
	char *a, *b;
	bool cast;
	bool dollar; /* of DERIVE_COLUMN: "..." that SQLite takes for a string when no column has that name */
};

static void derive_node_done(struct derive_node *n)
{
	free(n->a);
	free(n->b);
	*n = (struct derive_node){0};
}

/* Reads up to the closing quote; a doubled one stands for itself. A backslash means an escape in one dialect and itself
 * in another, so it is not understood. */
static void derive_read_quoted(struct derive *d, char close)
{
	d->p++;
	for (; *d->p; d->p++) {
		if (*d->p == '\\')
			break;
		if (*d->p == close) {
			d->p++;
			if (*d->p != close || close == ']')
				return;
		}
		strbuf_addch(&d->text, *d->p);
	}
	d->token = DERIVE_BAD;
}

static bool derive_word_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static void derive_next(struct derive *d)
{
	while (isspace((unsigned char)*d->p))
		d->p++;
	strbuf_clear(&d->text);
	d->quote = *d->p;
	if (!*d->p) {
		d->token = DERIVE_END;
	} else if (*d->p == '\'') {
		d->token = DERIVE_STRING;
		derive_read_quoted(d, '\'');
	} else if (*d->p == '"' || *d->p == '`' || *d->p == '[') {
		d->token = DERIVE_NAME;
		derive_read_quoted(d, *d->p == '[' ? ']' : *d->p);
	} else if (!strncmp(d->p, "->>", 3)) {
		d->token = DERIVE_ARROW2;
		d->p += 3;
	} else if (!strncmp(d->p, "::", 2)) {
		d->token = DERIVE_CAST;
		d->p += 2;
	} else if (derive_word_byte(*d->p)) {
		d->token = isdigit((unsigned char)*d->p) ? DERIVE_NUMBER : DERIVE_WORD;
		while (derive_word_byte(*d->p))
			strbuf_addch(&d->text, *d->p++);
	} else if (strchr("(),", *d->p)) {
		d->token = DERIVE_PUNCT;
		d->p++;
	} else {
		d->token = DERIVE_BAD;
	}
}

static bool derive_is_word(const struct derive *d, const char *word)
{
	return d->token == DERIVE_WORD && !strcasecmp(strbuf_str(&d->text), word);
}

static bool derive_is_punct(const struct derive *d, char c)
{
	return d->token == DERIVE_PUNCT && d->quote == c;
}

static bool derive_accept(struct derive *d, char c)
{
	if (!derive_is_punct(d, c))
		return false;
	derive_next(d);
	return true;
}

static bool derive_accept_word(struct derive *d, const char *word)
{
	if (!derive_is_word(d, word))
		return false;
	derive_next(d);
	return true;
}

/* "(36)", "(20,0)" */
static bool derive_modifier(struct derive *d)
{
	if (!derive_accept(d, '('))
		return true;
	do {
		if (d->token != DERIVE_NUMBER)
			return false;
		derive_next(d);
	} while (derive_accept(d, ','));
	return derive_accept(d, ')');
}

/* A type that text, whole or decimal numbers are cast to: PostgreSQL's names after ::, MySQL's and SQLite's in CAST. */
static bool derive_type(struct derive *d)
{
	static const char *const simple[] = {
	    "text",     "varchar", "bpchar", "char", "nchar",   "bigint",  "integer", "int",
	    "smallint", "int2",    "int4",   "int8", "numeric", "decimal", "signed",  "unsigned",
	};
	if (derive_accept_word(d, "boolean")) {
		d->boolean = true;
		return true;
	}
	if (derive_accept_word(d, "character")) {
		(void)derive_accept_word(d, "varying");
		return derive_modifier(d);
	}
	for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++) {
		if (!derive_accept_word(d, simple[i]))
			continue;
		if (!strcmp(simple[i], "signed") || !strcmp(simple[i], "unsigned"))
			(void)derive_accept_word(d, "integer");
		if (!derive_modifier(d))
			return false;
		if (derive_accept_word(d, "charset")) { /* MySQL: cast(... as char(36) charset utf8mb4) */
			if (d->token != DERIVE_WORD)
				return false;
			derive_next(d);
		}
		return true;
	}
	return false;
}

static struct derive_node derive_expression(struct derive *d);

/* The member that a label or path names; false when it is more than one plain member. */
static bool derive_member_of(const struct derive_node *literal, char **ret)
{
	const char *s = literal->a;
	size_t n = strlen(s);
	if (literal->cast) { /* PostgreSQL: 'id'::text is the name itself, also '$.id'::text */
		*ret = xstrdup(s);
		return true;
	}
	if (!strncmp(s, "$.\"", 3)) {
		if (n < 5 || s[n - 1] != '"' || memchr(s + 3, '"', n - 4) || memchr(s, '\\', n))
			return false;
		*ret = xmemdup0(s + 3, n - 4);
		return true;
	}
	if (!strncmp(s, "$.", 2))
		s += 2;
	else if (isdigit((unsigned char)*s)) /* SQLite: json ->> '0' is an array's element */
		return false;
	for (const char *c = s; *c; c++)
		if (!isascii((unsigned char)*c) || (!isalnum((unsigned char)*c) && *c != '_'))
			return false;
	*ret = xstrdup(s);
	return *s != '\0';
}

/* document and literal -> member; takes both nodes over. */
static struct derive_node derive_combine(struct derive_node document, struct derive_node literal, bool path_only)
{
	struct derive_node n = {0};
	if (literal.kind == DERIVE_COLUMN && literal.dollar)
		literal.kind = DERIVE_LITERAL;
	if (document.kind == DERIVE_COLUMN && literal.kind == DERIVE_LITERAL &&
	    (!path_only || (!literal.cast && literal.a[0] == '$')) && derive_member_of(&literal, &n.b)) {
		n.kind = DERIVE_MEMBER;
		n.a = TAKE_PTR(document.a);
	} else {
		free(n.b);
		n.b = NULL;
	}
	derive_node_done(&document);
	derive_node_done(&literal);
	return n;
}

/* What follows "name(", up to and with ")". */
static struct derive_node derive_call(struct derive *d, const char *function)
{
	struct derive_node n = {0};
	bool unquote = !strcasecmp(function, "json_unquote");
	bool cast = !strcasecmp(function, "cast");
	if (unquote || cast) {
		n = derive_expression(d);
		if (n.kind == DERIVE_MEMBER && (unquote || (derive_accept_word(d, "as") && derive_type(d))) &&
		    derive_accept(d, ')'))
			return n;
	} else if (!strcasecmp(function, "json_extract") || !strcasecmp(function, "json_value")) {
		n = derive_expression(d);
		if (n.kind == DERIVE_COLUMN && derive_accept(d, ',')) {
			n = derive_combine(n, derive_expression(d), true);
			if (n.kind == DERIVE_MEMBER && derive_accept(d, ')'))
				return n;
		}
	}
	derive_node_done(&n);
	return n;
}

static struct derive_node derive_primary(struct derive *d)
{
	struct derive_node n = {0};
	if (derive_accept(d, '(')) {
		n = derive_expression(d);
		if (n.kind != DERIVE_FAIL && !derive_accept(d, ')'))
			derive_node_done(&n);
		return n;
	}
	if (d->token == DERIVE_STRING) {
		n = (struct derive_node){.kind = DERIVE_LITERAL, .a = xstrdup(strbuf_str(&d->text))};
		derive_next(d);
	} else if (d->token == DERIVE_NAME) {
		n = (struct derive_node){.kind = DERIVE_COLUMN, .a = xstrdup(strbuf_str(&d->text))};
		n.dollar = d->quote == '"' && n.a[0] == '$';
		derive_next(d);
	} else if (d->token == DERIVE_WORD) {
		_cleanup_free_ char *word = xstrdup(strbuf_str(&d->text));
		derive_next(d);
		if (derive_accept(d, '('))
			return derive_call(d, word);
		if (d->token == DERIVE_STRING) {
			/* _utf8mb4'...': MySQL's introducer. E'...' and X'...' are other things. */
			if (word[0] != '_')
				return n;
			n = (struct derive_node){.kind = DERIVE_LITERAL, .a = xstrdup(strbuf_str(&d->text))};
			derive_next(d);
			return n;
		}
		n = (struct derive_node){.kind = DERIVE_COLUMN, .a = TAKE_PTR(word)};
	}
	return n;
}

/* Postfixes of a primary: casts of a member or of a label. */
static struct derive_node derive_postfix(struct derive *d)
{
	struct derive_node n = derive_primary(d);
	while (n.kind != DERIVE_FAIL && d->token == DERIVE_CAST) {
		derive_next(d);
		bool label = n.kind == DERIVE_LITERAL && derive_is_word(d, "text");
		if ((n.kind != DERIVE_MEMBER && !label) || !derive_type(d)) {
			derive_node_done(&n);
			return n;
		}
		n.cast = label;
	}
	return n;
}

static struct derive_node derive_expression(struct derive *d)
{
	struct derive_node n = {0};
	if (++d->depth > 32)
		return n;
	n = derive_postfix(d);
	if (n.kind == DERIVE_COLUMN && d->token == DERIVE_ARROW2) {
		derive_next(d);
		n = derive_combine(n, derive_postfix(d), false);
	}
	/* A collation orders; it does not change the value. */
	if (n.kind == DERIVE_MEMBER && derive_accept_word(d, "collate")) {
		if (d->token != DERIVE_WORD && d->token != DERIVE_NAME)
			derive_node_done(&n);
		else
			derive_next(d);
	}
	d->depth--;
	return n;
}

void db_column_derive(struct db_column *c, const char *expression)
{
	free(c->document);
	free(c->member);
	c->document = c->member = NULL;
	/* true in the document is "t", 1 or true in the column, as the engine likes: no member's text. */
	if (!expression || c->form == DB_FORM_BOOL || c->form == DB_FORM_BINARY)
		return;
	struct derive d = {.p = expression};
	derive_next(&d);
	struct derive_node n = derive_expression(&d);
	if (n.kind == DERIVE_MEMBER && d.token == DERIVE_END &&
	    (!d.boolean || c->form == DB_FORM_TEXT || c->form == DB_FORM_NUMBER)) {
		c->document = TAKE_PTR(n.a);
		c->member = TAKE_PTR(n.b);
	}
	derive_node_done(&n);
	strbuf_done(&d.text);
}
