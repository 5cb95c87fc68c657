/*
 * drivers/postgres/toc.c - pg_dump's table of contents: the schema's text in entries, one for each object, and what
 * only `pg_dump --verbose` says of them: the place in the catalog, and the entries that one belongs to.
 *
 * What is between two statements is white space and pg_dump's own comments, whatever function bodies hold: only there
 * is read. Any thread; no locks.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>

/* ---- what --verbose adds ---- */

void pg_toc_done(struct pg_toc *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].needs);
	free(t->v);
	*t = (struct pg_toc){0};
}

static bool pg_line_begins(const char *line, const char *end, const char *prefix)
{
	size_t n = strlen(prefix);
	return (size_t)(end - line) >= n && !strncmp(line, prefix, n);
}

/* "-- Dependencies: 218 3453" */
static void pg_read_needs(struct pg_toc_item *item, const char *p)
{
	for (char *after;; p = after) {
		unsigned long id = strtoul(p, &after, 10);
		if (after == p)
			return;
		item->needs = xrealloc(item->needs, (item->n_needs + 1) * sizeof *item->needs);
		item->needs[item->n_needs++] = id;
	}
}

/* Copies what is between two statements, but for the lines that --verbose adds; these go to *t. */
static void pg_strip_gap(const char *p, const char *end, struct pg_toc *t, struct pg_toc_item *next, struct strbuf *out)
{
	while (p < end) {
		const char *after = memchr(p, '\n', (size_t)(end - p));
		after = after ? after + 1 : end;
		if (pg_line_begins(p, after, "-- TOC entry ")) {
			unsigned class_oid = 0, oid = 0;
			unsigned long id = 0;
			free(next->needs);
			*next = (struct pg_toc_item){0};
			if (sscanf(p, "-- TOC entry %lu (class %u OID %u)", &id, &class_oid, &oid) == 3)
				*next = (struct pg_toc_item){.id = id, .class_oid = class_oid, .oid = oid};
		} else if (pg_line_begins(p, after, "-- Dependencies: ")) {
			pg_read_needs(next, p + strlen("-- Dependencies: "));
		} else if (pg_line_begins(p, after, "-- Started on ") || pg_line_begins(p, after, "-- Completed on ")) {
			/* with the empty line behind it */
			if (after < end && *after == '\n')
				after++;
		} else {
			strbuf_add(out, p, (size_t)(after - p));
			if (pg_line_begins(p, after, "-- Name: ")) {
				if ((t->n & (t->n - 1)) == 0)
					t->v = xrealloc(t->v, (t->n ? t->n * 2 : 1) * sizeof *t->v);
				t->v[t->n++] = *next;
				*next = (struct pg_toc_item){0};
			}
		}
		p = after;
	}
}

int pg_toc_strip(struct pg_toc *ret, const char *verbose, struct strbuf *out, struct err *e)
{
	_cleanup_(pg_script_done) struct pg_script script = {0};
	struct pg_toc_item next = {0};
	int r = pg_script_parse(&script, verbose, e);
	if (r < 0)
		return r;
	*ret = (struct pg_toc){0};
	size_t at = 0;
	for (size_t i = 0; i < script.n_statements; i++) {
		const struct pg_statement *s = &script.statements[i];
		pg_strip_gap(verbose + at, verbose + s->at, ret, &next, out);
		strbuf_add(out, verbose + s->at, s->end - s->at);
		at = s->end;
	}
	pg_strip_gap(verbose + at, verbose + strlen(verbose), ret, &next, out);
	free(next.needs);
	return 0;
}

/* ---- entries ---- */

static void pg_entry_done(struct pg_entry *x)
{
	free(x->type);
	free(x->tag);
	free(x->schema);
	free(x->owner);
	free(x->text);
	for (size_t i = 0; i < x->n_alter; i++)
		free(x->alter[i]);
	free(x->alter);
}

void pg_entries_done(struct pg_entries *l)
{
	for (size_t i = 0; i < l->n; i++)
		pg_entry_done(&l->v[i]);
	free(l->v);
	pg_script_done(&l->script);
	*l = (struct pg_entries){0};
}

/* Cuts "; Word: rest" off the end of text; NULL when it is not there. */
static char *pg_cut_field(char *text, const char *field)
{
	char *found = NULL;
	for (char *p = strstr(text, field); p; p = strstr(p + 1, field))
		found = p;
	if (!found)
		return NULL;
	*found = '\0';
	return found + strlen(field);
}

/* "-- Name: t; Type: TABLE; Schema: public; Owner: me", with "; Tablespace: x" in some */
static bool pg_read_entry(struct pg_entry *ret, const char *line, size_t n)
{
	_cleanup_free_ char *text = xmemdup0(line, n);
	(void)pg_cut_field(text, "; Tablespace: ");
	const char *owner = pg_cut_field(text, "; Owner: "), *schema = pg_cut_field(text, "; Schema: ");
	const char *type = pg_cut_field(text, "; Type: ");
	if (!type)
		return false;
	*ret = (struct pg_entry){.type = xstrdup(type),
				 .tag = xstrdup(text + strlen("-- Name: ")),
				 .schema = xstrdup(schema ? schema : ""),
				 .owner = xstrdup(owner ? owner : ""),
				 .pair = PG_NONE,
				 .because = PG_NONE};
	return true;
}

/* Entries that begin in the comments before a statement: the last one has it. */
static void pg_read_gap(struct pg_entries *l, const char *p, const char *end)
{
	while (p < end) {
		const char *after = memchr(p, '\n', (size_t)(end - p));
		after = after ? after + 1 : end;
		struct pg_entry x;
		if (pg_line_begins(p, after, "-- Name: ") &&
		    pg_read_entry(&x, p, (size_t)(after - p) - (after[-1] == '\n'))) {
			if ((l->n & (l->n - 1)) == 0)
				l->v = xrealloc(l->v, (l->n ? l->n * 2 : 1) * sizeof *l->v);
			l->v[l->n++] = x;
		}
		p = after;
	}
}

static bool pg_has_tablespace(const char *type)
{
	return !strcmp(type, "TABLE") || !strcmp(type, "MATERIALIZED VIEW") || !strcmp(type, "INDEX") ||
	       !strcmp(type, "CONSTRAINT");
}

/* An object's own definition: its statements, and the settings that were in force if it depends on them. */
static void pg_fill_text(struct pg_entries *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct pg_entry *x = &l->v[i];
		struct strbuf sb = {0};
		for (size_t k = 0; k < x->n; k++)
			strbuf_addf(&sb, "%s%s", k ? "\n" : "", l->script.statements[x->first + k].sql);
		if (!pg_has_tablespace(x->type))
			x->tablespace = NULL;
		/* A partitioned table has no storage: its entry does not choose the method, so any may be in force. */
		if ((strcmp(x->type, "TABLE") && strcmp(x->type, "MATERIALIZED VIEW")) ||
		    strstr(strbuf_str(&sb), "\nPARTITION BY "))
			x->method = NULL;
		x->text = strbuf_detach(&sb);
	}
}

int pg_entries_parse(struct pg_entries *ret, const char *sql, const struct pg_toc *toc, struct err *e)
{
	*ret = (struct pg_entries){0};
	int r = pg_script_parse(&ret->script, sql, e);
	if (r < 0)
		return r;
	size_t at = 0;
	const char *tablespace = NULL, *method = NULL;
	for (size_t i = 0; i < ret->script.n_statements; i++) {
		const struct pg_statement *s = &ret->script.statements[i];
		size_t before = ret->n;
		pg_read_gap(ret, sql + at, sql + s->at);
		at = s->end;
		for (; before < ret->n; before++) {
			ret->v[before].first = i;
			ret->v[before].tablespace = tablespace;
			ret->v[before].method = method;
		}
		/* Settings stand before the comment of the entry that they are for, so behind the one before. */
		if (!strncmp(s->sql, "SET default_tablespace = ", 25))
			tablespace = s->sql;
		else if (!strncmp(s->sql, "SET default_table_access_method = ", 34))
			method = s->sql;
		else if (ret->n)
			ret->v[ret->n - 1].n = i + 1 - ret->v[ret->n - 1].first;
		else if (!pg_begins(s->sql, "SET ") && !pg_begins(s->sql, "SELECT pg_catalog.set_config("))
			return err_set(e, EINVAL, "the schema text holds \"%.*s\", which has no place in it",
				       (int)strcspn(s->sql, " ;\n"), s->sql);
	}
	pg_read_gap(ret, sql + at, sql + strlen(sql));
	pg_fill_text(ret);
	for (size_t i = 0; toc && i < ret->n && i < toc->n; i++)
		ret->v[i].toc = toc->v[i];
	if (toc && toc->n > ret->n)
		return err_set(e, EINVAL, "pg_dump's text has %zu entries, its table of contents %zu", ret->n, toc->n);
	return 0;
}

const char *pg_after_qualified(const char *p, struct strbuf *schema, struct strbuf *name)
{
	struct strbuf *into = schema;
	strbuf_clear(schema);
	strbuf_clear(name);
	for (;;) {
		const char *start = p;
		if (*p == '"') {
			for (p++; *p && (*p != '"' || p[1] == '"'); p++) {
				p += *p == '"';
				strbuf_addch(into, *p);
			}
			if (!*p++)
				return NULL;
		} else {
			while (isalnum((unsigned char)*p) || *p == '_' || *p == '$' || (unsigned char)*p >= 0x80)
				strbuf_addch(into, *p++);
			if (p == start)
				return NULL;
		}
		if (into == name || *p != '.')
			return into == name ? p : NULL;
		into = name;
		p++;
	}
}
