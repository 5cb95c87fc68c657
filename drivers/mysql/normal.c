/*
 * drivers/mysql/normal.c - what a definition is made of, whatever version or history of a table had the server write
 * it: two texts of one thing are the same here. No locks; on the thread of the connection given.
 *
 * MySQL writes COLLATE with a column that takes it from its table, and after that text has made the table CHARACTER
 * SET, too; it writes no display widths since 8.0.19. MariaDB writes COLLATE everywhere since 10.6. `utf8` is utf8mb3.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "drivers/mysql/internal.h"

int my_normal_init(struct my_normal *n, struct my_conn *c, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e,
			  "SELECT CHARACTER_SET_NAME, DEFAULT_COLLATE_NAME FROM information_schema.CHARACTER_SETS");

	*n = (struct my_normal){.mariadb = c->mariadb};
	if (r < 0)
		return r;
	n->sets = xcalloc((size_t)mysql_num_rows(res) + 1, sizeof *n->sets);
	for (MYSQL_ROW row; (row = mysql_fetch_row(res)); n->n_sets++) {
		n->sets[n->n_sets].name = xstrdup(row[0]);
		n->sets[n->n_sets].collation = xstrdup(row[1]);
	}
	return 0;
}

void my_normal_done(struct my_normal *n)
{
	for (size_t i = 0; i < n->n_sets; i++) {
		free(n->sets[i].name);
		free(n->sets[i].collation);
	}
	free(n->sets);
	*n = (struct my_normal){0};
}

/* Of a character set or a collation: utf8, utf8_bin. */
static char *my_plain_utf8(const struct my_word *w)
{
	_cleanup_free_ char *name = my_word_name(w);

	if (strcasecmp(name, "utf8") != 0 && strncasecmp(name, "utf8_", 5) != 0)
		return TAKE_PTR(name);
	return xasprintf("utf8mb3%s", name + 4);
}

/* The collation that is meant; either word may be absent. NULL: neither is there. */
static char *my_collation_of(const struct my_normal *n, const struct my_word *set, const struct my_word *collation)
{
	if (collation->len)
		return my_plain_utf8(collation);
	if (!set->len)
		return NULL;
	_cleanup_free_ char *name = my_plain_utf8(set);
	for (size_t i = 0; i < n->n_sets; i++) {
		const struct my_word known = {MY_WORD_BARE, n->sets[i].name, strlen(n->sets[i].name)};
		_cleanup_free_ char *plain = my_plain_utf8(&known);

		if (!strcasecmp(plain, name)) {
			const struct my_word found = {MY_WORD_BARE, n->sets[i].collation, strlen(n->sets[i].collation)};
			return my_plain_utf8(&found);
		}
	}
	return TAKE_PTR(name);
}

/* The words of one column, or of the options after the columns. */
struct my_part {
	struct my_word *words;
	size_t n;
};

static void my_part_done(struct my_part *part)
{
	free(part->words);
}
#define _cleanup_part_ _cleanup_(my_part_done)

static void my_part_add(struct my_part *part, const struct my_word *w)
{
	if (part->n % 32 == 0)
		part->words = xrealloc(part->words, (part->n + 32) * sizeof *part->words);
	part->words[part->n++] = *w;
}

/* Finds CHARACTER SET x (a column), CHARSET=x (a table) and COLLATE y outside of parentheses; marks them as used up. */
static void my_take_collation(struct my_part *part, bool column, struct my_word *set, struct my_word *collation)
{
	size_t depth = 0;

	*set = *collation = (struct my_word){0};
	for (size_t i = 0; i < part->n; i++) {
		struct my_word *w = &part->words[i];
		size_t value = i + 1;

		depth += my_word_is(w, "(");
		depth -= depth && my_word_is(w, ")");
		if (depth)
			continue;
		bool is_set = column ? my_word_is(w, "CHARACTER") && i + 1 < part->n && my_word_is(w + 1, "SET")
				     : my_word_is(w, "CHARSET");
		if (!is_set && !my_word_is(w, "COLLATE"))
			continue;
		value += column ? is_set : value < part->n && my_word_is(&part->words[value], "=");
		if (value >= part->n)
			continue;
		*(is_set ? set : collation) = part->words[value];
		while (i <= value)
			part->words[i++].len = 0;
		i--;
	}
}

static bool my_has_word(const struct my_part *part, const char *word)
{
	for (size_t i = 0; i < part->n; i++)
		if (my_word_is(&part->words[i], word))
			return true;
	return false;
}

/* MySQL: "int(11)" is "int". */
static void my_drop_width(struct my_part *part)
{
	static const char *const types[] = {"tinyint", "smallint", "mediumint", "int", "bigint", "year"};

	if (part->n < 5 || !my_word_is(&part->words[2], "(") || !my_word_is(&part->words[4], ")") ||
	    my_has_word(part, "zerofill") ||
	    (my_word_is(&part->words[1], "tinyint") && my_word_is(&part->words[3], "1")))
		return;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (my_word_is(&part->words[1], types[i]))
			part->words[2].len = part->words[3].len = part->words[4].len = 0;
}

static void my_put_words(struct strbuf *out, const struct my_part *part)
{
	for (size_t i = 0; i < part->n; i++) {
		if (!part->words[i].len)
			continue;
		strbuf_add(out, part->words[i].start, part->words[i].len);
		strbuf_addch(out, ' ');
	}
}

static void my_put_column(struct strbuf *out, struct my_part *part, const struct my_normal *n, const char *usual)
{
	struct my_word set, collation;

	if (part->n && part->words[0].kind == MY_WORD_QUOTED) {
		my_take_collation(part, true, &set, &collation);
		_cleanup_free_ char *mine = my_collation_of(n, &set, &collation);
		if (!n->mariadb)
			my_drop_width(part);
		my_put_words(out, part);
		if (mine && (!usual || strcasecmp(mine, usual) != 0))
			strbuf_addf(out, "COLLATE %s ", mine);
	} else {
		my_put_words(out, part);
	}
	part->n = 0;
}

/* Reads the words up to the end of the columns. Each part goes to `each`, or nowhere. */
static const char *my_walk_columns(const char *sql, struct my_part *part,
				   void (*each)(void *arg, struct my_part *part, const struct my_word *end), void *arg)
{
	struct my_word w;
	size_t depth = 0;

	part->n = 0;
	while (my_next_word(&sql, &w)) {
		bool open = my_word_is(&w, "("), close = my_word_is(&w, ")");

		depth -= depth && close;
		if ((open && !depth) || (close && !depth) || (depth == 1 && my_word_is(&w, ","))) {
			each(arg, part, &w);
			part->n = 0;
		} else {
			my_part_add(part, &w);
		}
		depth += open;
		if (close && !depth)
			return sql;
	}
	return sql;
}

static void my_each_nothing(void *arg, struct my_part *part, const struct my_word *end)
{
	(void)arg;
	(void)part;
	(void)end;
}

struct my_printing {
	struct strbuf *out;
	const struct my_normal *n;
	const char *usual;
};

static void my_each_column(void *arg, struct my_part *part, const struct my_word *end)
{
	struct my_printing *to = arg;

	my_put_column(to->out, part, to->n, to->usual);
	strbuf_add(to->out, end->start, end->len);
	strbuf_addch(to->out, '\n');
}

static void my_read_options(const char *sql, struct my_part *options)
{
	struct my_word w;

	options->n = 0;
	while (my_next_word(&sql, &w))
		my_part_add(options, &w);
}

char *my_normal_table(const struct my_normal *n, const char *sql)
{
	_cleanup_part_ struct my_part part = {0}, options = {0};
	struct strbuf out = {0};
	struct my_word set, collation;

	my_read_options(my_walk_columns(sql, &part, my_each_nothing, NULL), &options);
	my_take_collation(&options, false, &set, &collation);
	_cleanup_free_ char *usual = my_collation_of(n, &set, &collation);
	struct my_printing to = {&out, n, usual};
	(void)my_walk_columns(sql, &part, my_each_column, &to);
	my_put_words(&out, &options);
	strbuf_addf(&out, "COLLATE %s", usual ? usual : "");
	return strbuf_detach(&out);
}

struct my_stripping {
	struct strbuf out;
	const char *copied;
	const struct my_word *usual;
};

/* A column that has COLLATE, as its table has it, and no CHARACTER SET. */
static void my_each_stripped(void *arg, struct my_part *part, const struct my_word *end)
{
	struct my_stripping *s = arg;
	struct my_word set, collation;
	const char *word = NULL;

	(void)end;
	if (!part->n || part->words[0].kind != MY_WORD_QUOTED)
		return;
	for (size_t i = 0, depth = 0; i + 1 < part->n; i++) {
		depth += my_word_is(&part->words[i], "(");
		depth -= depth && my_word_is(&part->words[i], ")");
		if (!depth && my_word_is(&part->words[i], "COLLATE"))
			word = part->words[i].start;
	}
	my_take_collation(part, true, &set, &collation);
	if (!word || set.len || collation.len != s->usual->len ||
	    strncasecmp(collation.start, s->usual->start, collation.len) != 0)
		return;
	strbuf_add(&s->out, s->copied, (size_t)(word - s->copied));
	s->copied = collation.start + collation.len;
}

char *my_makeable_table(const char *sql)
{
	_cleanup_part_ struct my_part part = {0}, options = {0};
	struct my_word set, usual;
	struct my_stripping s = {.copied = sql, .usual = &usual};

	my_read_options(my_walk_columns(sql, &part, my_each_nothing, NULL), &options);
	my_take_collation(&options, false, &set, &usual);
	if (usual.len)
		(void)my_walk_columns(sql, &part, my_each_stripped, &s);
	strbuf_adds(&s.out, s.copied);
	return strbuf_detach(&s.out);
}

/* "SET ...": names of character sets. */
static char *my_normal_words(const char *text)
{
	struct strbuf out = {0};
	struct my_word w;

	while (text && my_next_word(&text, &w)) {
		_cleanup_free_ char *plain = w.kind == MY_WORD_BARE ? my_plain_utf8(&w) : NULL;

		strbuf_add(&out, plain ? plain : w.start, plain ? strlen(plain) : w.len);
		strbuf_addch(&out, ' ');
	}
	return strbuf_detach(&out);
}

bool my_normal_same(const struct my_normal *n, const struct my_statement *a, const struct my_statement *b)
{
	if (a->kind == MY_TABLE) {
		if (!strcmp(a->sql, b->sql))
			return true;
		_cleanup_free_ char *x = my_normal_table(n, a->sql), *y = my_normal_table(n, b->sql);

		return !strcmp(x, y);
	}
	_cleanup_free_ char *p = my_normal_words(a->collation), *q = my_normal_words(b->collation);
	if (a->collation && b->collation && strcmp(p, q) != 0)
		return false;
	_cleanup_free_ char *x = my_normal_words(a->settings), *y = my_normal_words(b->settings);
	if (strcmp(x, y) != 0 || a->kind != MY_TRIGGER)
		return !strcmp(x, y) && !strcmp(a->sql, b->sql);
	/* Their order is looked at by who has all of them. */
	_cleanup_free_ char *v = my_trigger_without_clause(a->sql), *w = my_trigger_without_clause(b->sql);
	return !strcmp(v, w);
}
