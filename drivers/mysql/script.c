/*
 * drivers/mysql/script.c - definitions as one text, and that text taken apart again. No connection, no locks.
 *
 * Each statement follows a line "-- metasnap: KIND BYTES NAME"; BYTES is the length of the statement itself, so that a
 * body which holds such a line, or a delimiter, cannot mislead the reader. The mysql and mariadb clients load the same
 * text.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "drivers/mysql/internal.h"

const char *const my_object_words[MY_N_OBJECTS] = {
    "table",   "function", "procedure", "package",  "package body", "view",
    "trigger", "event",    "database",  "left out", "grant",
};

const char my_script_head[] = "-- metasnap: definitions of a MySQL or MariaDB database\n"
			      "SET NAMES utf8mb4;\n"
			      "SET FOREIGN_KEY_CHECKS = 0;\n"
			      "SET SQL_MODE = 'NO_AUTO_VALUE_ON_ZERO';\n"
			      "SET TIME_ZONE = '+00:00';\n";

enum my_object my_object_of(const char *word)
{
	for (int k = 0; k < MY_N_OBJECTS; k++)
		if (!strcmp(word, my_object_words[k]))
			return (enum my_object)k;
	return MY_N_OBJECTS;
}

void my_script_done(struct my_script *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->statements[i].name);
		free(s->statements[i].settings);
		free(s->statements[i].collation);
		free(s->statements[i].sql);
		free(s->statements[i].indexes);
		free(s->statements[i].table);
	}
	free(s->statements);
	*s = (struct my_script){0};
}

void my_script_add(struct my_script *s, enum my_object kind, char *name, char *settings, char *sql)
{
	if (s->n % 16 == 0)
		s->statements = xrealloc(s->statements, (s->n + 16) * sizeof *s->statements);
	s->statements[s->n] = (struct my_statement){.kind = kind, .name = name, .settings = settings, .sql = sql};
	if (kind == MY_TRIGGER)
		s->statements[s->n].table = my_trigger_table(sql);
	s->n++;
}

void my_script_add_copy(struct my_script *s, const struct my_statement *from)
{
	my_script_add(s, from->kind, xstrdup(from->name), xstrdup(from->settings), xstrdup(from->sql));
	s->statements[s->n - 1].collation = xstrdup(from->collation);
}

static bool my_is_body(enum my_object kind)
{
	return kind != MY_TABLE && kind != MY_VIEW && kind < MY_DATABASE;
}

void my_script_fill_collations(struct my_script *s)
{
	struct my_word word;
	const struct my_statement *database = my_script_find(s, MY_DATABASE, MY_DATABASE_NAME);
	const char *p = database ? database->sql : NULL;

	while (p && my_next_word(&p, &word) && !my_word_is(&word, "COLLATE"))
		;
	if (!p || !my_next_word(&p, &word) || !my_next_word(&p, &word))
		return;
	for (size_t i = 0; i < s->n; i++)
		if (my_is_body(s->statements[i].kind) && !s->statements[i].collation)
			s->statements[i].collation = my_word_name(&word);
}

struct my_statement *my_script_find(const struct my_script *s, enum my_object kind, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->statements[i].kind == kind && !strcmp(s->statements[i].name, name))
			return &s->statements[i];
	return NULL;
}

void my_script_order_triggers(struct my_script *s)
{
	const char *before = NULL;

	for (size_t i = 0; i < s->n; i++) {
		struct my_statement *x = &s->statements[i];

		if (x->kind != MY_TRIGGER)
			continue;
		if (!my_trigger_follows(x->sql, before)) {
			char *sql = my_trigger_without_clause(x->sql);

			free(x->sql);
			x->sql = sql;
		}
		before = x->sql;
	}
}

void my_script_localise(struct my_script *s, const char *from, const char *to)
{
	for (size_t i = 0; i < s->n; i++) {
		struct my_statement *x = &s->statements[i];
		char *sql = x->kind == MY_TABLE                              ? my_makeable_table(x->sql)
			    : x->kind == MY_VIEW                             ? my_view_unqualified(x->sql, from)
			    : x->kind == MY_TRIGGER && strcmp(from, to) != 0 ? my_trigger_unqualified(x->sql)
									     : NULL;

		if (sql) {
			free(x->sql);
			x->sql = sql;
		}
	}
}

static void my_add_name(struct strbuf *out, const char *name)
{
	for (const char *p = name; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == '%' || (unsigned char)*p == 0x7f)
			percent_add(out, (unsigned char)*p);
		else
			strbuf_addch(out, *p);
	}
}

void my_script_print(struct strbuf *out, const struct my_statement *s)
{
	bool body = my_is_body(s->kind);

	/* The word has no space. */
	strbuf_adds(out, "\n-- metasnap: ");
	for (const char *word = my_object_words[s->kind]; *word; word++)
		strbuf_addch(out, *word == ' ' ? '_' : *word);
	strbuf_addf(out, " %zu ", strlen(s->sql));
	my_add_name(out, s->name);
	strbuf_addch(out, '\n');
	if (s->settings)
		strbuf_addf(out, "%s;\n", s->settings);
	if (s->collation)
		strbuf_addf(out, MY_COLLATION "%s;\n", s->collation);
	if (body)
		strbuf_adds(out, "DELIMITER ;;\n");
	strbuf_addf(out, "%s%s\n", s->sql, body ? ";;\nDELIMITER ;" : ";");
}

static char *my_parse_name(const char *s, size_t len)
{
	struct strbuf sb = {0};

	for (size_t i = 0; i < len; i++) {
		int byte = s[i] == '%' ? percent_byte(s + i, s + len) : -1;

		strbuf_addch(&sb, byte < 0 ? s[i] : (char)byte);
		i += byte < 0 ? 0 : 2;
	}
	return strbuf_detach(&sb);
}

int my_script_parse(struct my_script *ret, const char *sql, struct err *e)
{
	static const char mark[] = "-- metasnap: ", delimiter[] = "DELIMITER ;;\n";
	size_t left = strlen(sql);
	const char *p = sql, *end = sql + left;

	if (strncmp(sql, my_script_head, strlen(my_script_head)) != 0)
		return err_set(e, EINVAL, "the definitions are not those of a MySQL or MariaDB snapshot");
	p += strlen(my_script_head);
	while (p < end) {
		char word[16];
		size_t bytes = 0;
		int used = 0;

		if (*p == '\n') {
			p++;
			continue;
		}
		if (strncmp(p, mark, strlen(mark)) != 0 ||
		    sscanf(p + strlen(mark), "%15s %zu%n", word, &bytes, &used) != 2 ||
		    p[strlen(mark) + (size_t)used] != ' ')
			break;
		for (char *w = word; *w; w++)
			*w = *w == '_' ? ' ' : *w;
		enum my_object kind = my_object_of(word);
		const char *name = p + strlen(mark) + used + 1;
		const char *line = strchr(name, '\n');
		if (kind == MY_N_OBJECTS || !line)
			break;
		char *settings = NULL, *collation = NULL;
		p = line + 1;
		if (!strncmp(p, "SET ", 4) && kind != MY_TABLE) {
			const char *eol = strchr(p, '\n');
			if (!eol)
				break;
			settings = xmemdup0(p, (size_t)(eol - p) - (eol[-1] == ';'));
			p = eol + 1;
		}
		if (my_is_body(kind) && !strncmp(p, MY_COLLATION, strlen(MY_COLLATION))) {
			size_t n = strcspn(p += strlen(MY_COLLATION), ";\n");

			collation = xmemdup0(p, n);
			p += n + (p[n] == ';');
			p += *p == '\n';
		}
		if (!strncmp(p, delimiter, strlen(delimiter)))
			p += strlen(delimiter);
		if ((size_t)(end - p) < bytes + 1) {
			free(settings);
			free(collation);
			break;
		}
		my_script_add(ret, kind, my_parse_name(name, (size_t)(line - name)), settings, xmemdup0(p, bytes));
		ret->statements[ret->n - 1].collation = collation;
		p += bytes;
		if (!strncmp(p, ";;\nDELIMITER ;\n", 15))
			p += 15;
		else if (!strncmp(p, ";\n", 2))
			p += 2;
		else
			break;
	}
	if (p < end) {
		my_script_done(ret);
		return err_set(e, EINVAL, "the definitions are damaged at byte %zu", (size_t)(p - sql));
	}
	return 0;
}
