/*
 * drivers/schema.c - what all drivers share about descriptions: freeing and finding, the choice of a table's key, how a
 * generated column is derived from a JSON document, and the errno of an SQLSTATE.
 *
 * No state, no locks; any thread.
 */
#include "drivers/driver.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

/* ---- freeing and finding ---- */

void db_table_done(struct db_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		free(t->columns[i].name);
		free(t->columns[i].type);
		free(t->columns[i].document);
		free(t->columns[i].member);
	}
	free(t->columns);
	free(t->key);
	free(t->name);
	*t = (struct db_table){0};
}

void db_schema_free(struct db_schema *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_tables; i++)
		db_table_done(&s->tables[i]);
	for (size_t i = 0; i < s->n_sequences; i++)
		free(s->sequences[i].name);
	free(s->tables);
	free(s->sequences);
	free(s->engine);
	free(s->server_version);
	free(s->database);
	free(s->schema);
	free(s->app_version);
	free(s);
}

void db_examination_done(struct db_examination *x)
{
	for (size_t i = 0; i < x->n_lacks; i++) {
		free(x->lacks[i].right);
		free(x->lacks[i].statement);
	}
	free(x->lacks);
	free(x->rows);
	free(x->account);
	*x = (struct db_examination){0};
}

void db_examination_lack(struct db_examination *x, bool restore, char *right, char *statement)
{
	x->lacks = xrealloc(x->lacks, (x->n_lacks + 1) * sizeof *x->lacks);
	x->lacks[x->n_lacks++] = (struct db_lack){.right = right, .statement = statement, .restore = restore};
}

const struct db_table *db_schema_find(const struct db_schema *s, const char *table)
{
	size_t low = 0, high = s->n_tables;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(table, s->tables[middle].name);
		if (!order)
			return &s->tables[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

struct db_table db_table_without_key(const struct db_table *t)
{
	struct db_table u = *t;
	u.key_kind = DB_KEY_NONE;
	u.key = NULL;
	u.n_key = 0;
	return u;
}

/* ---- key ---- */

static bool key_usable(const struct db_table *t, const struct db_index *index, bool not_null)
{
	for (size_t i = 0; i < index->n_columns; i++) {
		const struct db_column *c = &t->columns[index->columns[i]];
		if ((c->generated && !c->document) || (not_null && c->nullable))
			return false;
	}
	return index->n_columns > 0;
}

static bool key_better_unique(const struct db_index *a, const struct db_index *b)
{
	if (!b || a->primary != b->primary)
		return !b || a->primary;
	if (a->n_columns != b->n_columns)
		return a->n_columns < b->n_columns;
	return strcmp(a->name, b->name) < 0;
}

void db_table_choose_key(struct db_table *t, const struct db_index *indexes, size_t n)
{
	const struct db_index *unique = NULL, *any = NULL;
	for (size_t i = 0; i < n; i++) {
		const struct db_index *index = &indexes[i];
		if (!key_usable(t, index, false))
			continue;
		if ((index->primary || index->unique) && key_usable(t, index, true) && key_better_unique(index, unique))
			unique = index;
		if (!any || strcmp(index->name, any->name) < 0)
			any = index;
	}
	const struct db_index *chosen = unique ? unique : any;
	free(t->key);
	t->key = NULL;
	t->n_key = 0;
	t->key_kind = unique ? DB_KEY_UNIQUE : any ? DB_KEY_INDEX : DB_KEY_NONE;
	if (!chosen)
		return;
	t->key = xmalloc(chosen->n_columns * sizeof *t->key);
	memcpy(t->key, chosen->columns, chosen->n_columns * sizeof *t->key);
	t->n_key = chosen->n_columns;
}

/* ---- derivation ----
 * A tokenizer and a recursive descent over the few shapes that are one member of one column. Whatever is not
 * recognised as a whole leaves the column without derivation: a wrong guess would only cost (rows are checked), but a
 * table would then lose its key. */

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

/* ---- SQLSTATE ---- */

int db_errno_of_sqlstate(const char *sqlstate)
{
	/* The longest prefix that matches decides; codes before their class. */
	static const struct {
		const char *prefix;
		int code;
	} states[] = {
	    {"08001", ECONNREFUSED}, /* sqlclient_unable_to_establish_sqlconnection */
	    {"08004", ECONNREFUSED}, /* rejected: MySQL's "Too many connections" */
	    {"08", ECONNRESET},      {"0A", ENOTSUP},   {"23", EEXIST},
	    {"25006", EACCES},     /* read_only_sql_transaction: a standby, or default_transaction_read_only */
	    {"25P03", ECONNRESET}, /* idle_in_transaction_session_timeout */
	    {"25P04", ECONNRESET}, /* transaction_timeout, PostgreSQL 17 */
	    {"28", EACCES},          {"3D", EINVAL}, /* no such database */
	    {"3F", EINVAL},                          /* no such schema */
	    {"40P01", EBUSY},                        /* deadlock_detected */
	    {"40001", EAGAIN},                       /* serialization_failure, and a standby's conflict with recovery */
	    {"42501", EACCES},       {"53100", ENOSPC}, {"53300", ECONNREFUSED}, /* too_many_connections */
	    {"55006", EBUSY},        {"55P03", EBUSY},                           /* lock_not_available */
	    {"57014", EINTR},                                                    /* query_canceled */
	    {"57P03", ECONNREFUSED}, /* cannot_connect_now: starting up or shutting down */
	    {"57P", ECONNRESET},     /* admin_shutdown, crash_shutdown, database_dropped, idle_session_timeout */
	    {"72000", EAGAIN},       /* snapshot_too_old */
	    {"HYT00", ETIMEDOUT},
	};
	for (size_t i = 0; sqlstate && i < sizeof states / sizeof states[0]; i++)
		if (!strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)))
			return states[i].code;
	return EIO;
}
