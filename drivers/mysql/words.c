/*
 * drivers/mysql/words.c - a definition taken apart into words, as the server's lexer has them: names, strings, signs.
 * No connection, no locks.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "drivers/mysql/internal.h"

/* Behind white space and comments; a comment that some versions carry out is not one. */
static const char *my_skip_blank(const char *p)
{
	for (;;) {
		if (isspace((unsigned char)*p)) {
			p++;
		} else if (*p == '#' || (!strncmp(p, "--", 2) && (!p[2] || isspace((unsigned char)p[2])))) {
			p += strcspn(p, "\n");
		} else if (!strncmp(p, "/*", 2) && p[2] != '!' && strncmp(p, "/*M!", 4) != 0) {
			const char *end = strstr(p + 2, "*/");

			p = end ? end + 2 : p + strlen(p);
		} else {
			return p;
		}
	}
}

static const char *my_skip_quoted(const char *p)
{
	char quote = *p++;

	for (; *p; p++) {
		if (*p == '\\' && quote != '`' && p[1])
			p++;
		else if (*p == quote && p[1] == quote)
			p++;
		else if (*p == quote)
			return p + 1;
	}
	return p;
}

static bool my_is_wordy(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

bool my_next_word(const char **at, struct my_word *ret)
{
	const char *p = my_skip_blank(*at);

	*ret = (struct my_word){.kind = MY_WORD_SIGN, .start = p};
	if (!*p) {
		*at = p;
		return false;
	}
	if (*p == '`' || *p == '\'' || *p == '"') {
		ret->kind = *p == '`' ? MY_WORD_QUOTED : MY_WORD_STRING;
		p = my_skip_quoted(p);
	} else if (my_is_wordy(*p)) {
		ret->kind = MY_WORD_BARE;
		while (my_is_wordy(*p))
			p++;
	} else if (!strncmp(p, "/*", 2)) {
		const char *end = strstr(p + 2, "*/");

		p = end ? end + 2 : p + strlen(p);
	} else {
		p++;
	}
	ret->len = (size_t)(p - ret->start);
	*at = p;
	return true;
}

bool my_word_is(const struct my_word *w, const char *text)
{
	return w->kind != MY_WORD_QUOTED && w->kind != MY_WORD_STRING && strlen(text) == w->len &&
	       !strncasecmp(w->start, text, w->len);
}

char *my_word_name(const struct my_word *w)
{
	struct strbuf name = {0};

	if (w->kind != MY_WORD_QUOTED)
		return xmemdup0(w->start, w->len);
	for (size_t i = 1; i + 1 < w->len; i++) {
		strbuf_addch(&name, w->start[i]);
		i += w->start[i] == '`';
	}
	return strbuf_detach(&name);
}

bool my_word_names(const struct my_word *w, const char *name)
{
	_cleanup_free_ char *mine = w->kind == MY_WORD_QUOTED || w->kind == MY_WORD_BARE ? my_word_name(w) : NULL;

	return mine && !strcmp(mine, name);
}

/* A name, and what comes before it and a dot. */
static bool my_next_name(const char **p, struct my_word *ret, struct my_word *ret_database)
{
	struct my_word dot;
	const char *ahead;

	*ret_database = (struct my_word){0};
	if (!my_next_word(p, ret))
		return false;
	ahead = *p;
	if (!my_next_word(&ahead, &dot) || !my_word_is(&dot, "."))
		return true;
	*ret_database = *ret;
	*p = ahead;
	return my_next_word(p, ret);
}

bool my_next_reference(const char **p, const char *database, char **ret)
{
	struct my_word word, in, name;

	while (my_next_word(p, &word)) {
		if (!my_word_is(&word, "REFERENCES") || !my_next_name(p, &name, &in))
			continue;
		if (in.len && !my_word_names(&in, database))
			continue;
		*ret = my_word_name(&name);
		return true;
	}
	return false;
}

/* CREATE ... TRIGGER in.name timing event ON table_in.table FOR EACH ROW clause after body */
struct my_trigger_head {
	struct my_word in, name, timing, event, table_in, table;
	struct my_word clause, after; /* FOLLOWS or PRECEDES another trigger */
	const char *body;
};

static bool my_trigger_head(const char *sql, struct my_trigger_head *ret)
{
	struct my_word word;
	const char *p = sql;

	*ret = (struct my_trigger_head){0};
	while (my_next_word(&p, &word) && !my_word_is(&word, "TRIGGER"))
		;
	const char *ahead = p;
	if (my_next_word(&ahead, &word) && my_word_is(&word, "IF")) {
		(void)my_next_word(&ahead, &word);
		(void)my_next_word(&ahead, &word);
		p = ahead;
	}
	if (!my_next_name(&p, &ret->name, &ret->in) || !my_next_word(&p, &ret->timing) ||
	    !my_next_word(&p, &ret->event))
		return false;
	while (my_next_word(&p, &word) && !my_word_is(&word, "ON"))
		;
	if (!my_next_name(&p, &ret->table, &ret->table_in))
		return false;
	while (my_next_word(&p, &word) && !my_word_is(&word, "ROW"))
		;
	ahead = p;
	if (my_next_word(&ahead, &word) && (my_word_is(&word, "FOLLOWS") || my_word_is(&word, "PRECEDES"))) {
		ret->clause = word;
		(void)my_next_word(&ahead, &ret->after);
		p = ahead;
	}
	ret->body = p;
	return *p != '\0';
}

char *my_trigger_table(const char *sql)
{
	struct my_trigger_head head;

	return my_trigger_head(sql, &head) ? my_word_name(&head.table) : NULL;
}

char *my_trigger_unqualified(const char *sql)
{
	struct my_trigger_head head;

	if (!my_trigger_head(sql, &head))
		return xstrdup(sql);
	const char *in = head.in.len ? head.in.start : head.name.start;
	const char *table_in = head.table_in.len ? head.table_in.start : head.table.start;
	return xasprintf("%.*s%.*s%s", (int)(in - sql), sql, (int)(table_in - head.name.start), head.name.start,
			 head.table.start);
}

char *my_trigger_without_clause(const char *sql)
{
	struct my_trigger_head head;

	if (!my_trigger_head(sql, &head) || !head.clause.len)
		return xstrdup(sql);
	return xasprintf("%.*s%s", (int)(head.clause.start - sql), sql, head.body + strspn(head.body, " "));
}

bool my_trigger_follows(const char *sql, const char *before)
{
	struct my_trigger_head head, other;

	if (!my_trigger_head(sql, &head) || !before || !my_trigger_head(before, &other))
		return false;
	_cleanup_free_ char *table = my_word_name(&head.table), *timing = my_word_name(&head.timing),
			    *event = my_word_name(&head.event), *name = my_word_name(&other.name);
	return my_word_is(&head.clause, "FOLLOWS") && my_word_names(&head.after, name) &&
	       my_word_names(&other.table, table) && my_word_is(&other.timing, timing) &&
	       my_word_is(&other.event, event);
}

char *my_trigger_lifted(const char *sql, unsigned long thread_id)
{
	struct my_trigger_head head;

	if (!my_trigger_head(sql, &head))
		return xstrdup(sql);
	return xasprintf("%.*s IF CONNECTION_ID() <> %lu OR '' = '" MY_LIFTED "' THEN %s\n; END IF",
			 (int)(head.body - sql), sql, thread_id, head.body);
}

char *my_view_unqualified(const char *sql, const char *database)
{
	struct my_word words[4] = {0}; /* the last four, oldest first */
	struct strbuf out = {0};
	const char *p = sql, *copied = sql;
	bool place = false; /* where a table's name may stand */
	bool more = my_next_word(&p, &words[3]);

	/* words[0] is looked at: a name, a dot, a name and what follows. */
	for (int ahead = 1; more || ahead < 4; ahead += !more) {
		bool dotted = my_word_is(&words[0], ".");

		memmove(words, words + 1, 3 * sizeof *words);
		words[3] = (struct my_word){0};
		if (more)
			more = my_next_word(&p, &words[3]);
		const struct my_word *w = &words[0];
		if (!w->len)
			continue;
		bool two = w->kind == MY_WORD_QUOTED && !dotted && my_word_is(&words[1], ".") &&
			   words[2].kind == MY_WORD_QUOTED;
		if (two && (place || my_word_is(&words[3], ".") || my_word_is(&words[3], "(")) &&
		    my_word_names(w, database)) {
			strbuf_add(&out, copied, (size_t)(w->start - copied));
			copied = words[2].start;
		}
		place = my_word_is(w, "from") || my_word_is(w, "join") || my_word_is(w, "straight_join") ||
			(place && my_word_is(w, "("));
	}
	strbuf_adds(&out, copied);
	return strbuf_detach(&out);
}

bool my_view_uses(const char *sql, const char *name)
{
	struct my_word word = {0}, next;
	const char *p = sql;
	bool place = false, more = my_next_word(&p, &word);

	for (; more; word = next) {
		more = my_next_word(&p, &next);
		if (place && word.kind == MY_WORD_QUOTED && !(more && my_word_is(&next, ".")) &&
		    my_word_names(&word, name))
			return true;
		place = my_word_is(&word, "from") || my_word_is(&word, "join") || my_word_is(&word, "straight_join") ||
			(place && my_word_is(&word, "("));
	}
	return false;
}
