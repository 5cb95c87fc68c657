/*
 * drivers/mysql/statement.c - runs a definition: with the settings of the session that made it, and, where the server
 * refuses its DEFINER, without that. On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static void my_drop_definer(struct my_statement *s)
{
	const char *start = strstr(s->sql, " DEFINER="), *p = start ? start + 9 : NULL;

	/* `user`@`host`, or `role`; with ANSI_QUOTES in double quotes */
	while (p && (*p == '`' || *p == '"')) {
		char quote = *p;

		do {
			p = strchr(p + 1, quote);
			if (p)
				p++;
		} while (p && *p == quote);
		if (!p || *p != '@')
			break;
		p++;
	}
	if (!p)
		return;
	char *sql = xasprintf("%.*s%s", (int)(start - s->sql), s->sql, p);
	free(s->sql);
	s->sql = sql;
}

/* A body takes its database's default, which is changed for that; *ret_back: to what it is to be changed back, or NULL. */
static int my_set_collation(struct my_conn *c, const char *collation, char **ret_back, struct err *e)
{
	_cleanup_free_ char *now = NULL;
	int r = my_select_one(c, &now, e, "SELECT @@collation_database");

	if (r < 0 || (now && !strcmp(now, collation)))
		return r;
	if ((r = my_exec(c, e, MY_COLLATION "%s", collation)) == 0)
		*ret_back = TAKE_PTR(now);
	return r;
}

/* *ret_refused: the server refuses the DEFINER; with EACCES, whatever the number. */
static int my_run(struct my_conn *c, const struct my_statement *s, bool *ret_refused, unsigned *ret_number,
		  struct err *e)
{
	_cleanup_free_ char *back = NULL;
	int r = s->collation ? my_set_collation(c, s->collation, &back, e) : 0;

	*ret_refused = false;
	if (r == 0 && s->settings)
		r = my_exec(c, e, "%s", s->settings);
	if (r == 0)
		r = my_exec_len(c, e, s->sql, strlen(s->sql));
	unsigned number = *ret_number = r < 0 ? my_last_errno(c) : 0;
	if (back && my_exec(c, ERR_DROP, MY_COLLATION "%s", back) < 0 && r == 0)
		return my_fail(c, e, NULL);
	if (s->settings && (mysql_query(c->my, "SET NAMES utf8mb4") != 0 || my_set_building(c, ERR_DROP) < 0) && r == 0)
		return my_fail(c, e, NULL);
	if (r == 0)
		return 0;
	*ret_refused = r != -EINTR && (number == MY_ER_SPECIFIC_ACCESS_DENIED || number == MY_ER_NO_SUCH_USER);
	if (*ret_refused)
		e->code = EACCES;
	return err_prefix(e, "%s %s", my_object_words[s->kind], s->name);
}

int my_statement_try(struct my_conn *c, const struct my_statement *s, unsigned *ret_number, struct err *e)
{
	bool refused;

	return my_run(c, s, &refused, ret_number, e);
}

int my_statement_run(struct my_conn *c, const struct my_statement *s, struct err *e)
{
	unsigned number;

	return my_statement_try(c, s, &number, e);
}

static void my_warn_definer(struct strbuf *warnings, const struct my_statement *s)
{
	if (warnings)
		strbuf_addf(warnings,
			    "%s %s: the server refused its DEFINER; it now belongs to the user of the restore\n",
			    my_object_words[s->kind], s->name);
}

int my_statement_run_definer(struct my_conn *c, struct my_statement *s, struct strbuf *warnings, struct err *e)
{
	bool refused;
	unsigned number;
	int r = my_run(c, s, &refused, &number, e);

	if (!refused || !strstr(s->sql, " DEFINER="))
		return r;
	my_drop_definer(s);
	my_warn_definer(warnings, s);
	return my_run(c, s, &refused, &number, e);
}

int my_object_drop(struct my_conn *c, const char *database, const char *word, const char *name, struct err *e)
{
	/* MariaDB knows the statement in this mode only. */
	bool package = !strncmp(word, "package", 7);
	int r = package ? my_exec(c, e, "SET SESSION sql_mode='ORACLE'") : 0;

	if (r == 0)
		r = my_exec(c, e, "DROP %s IF EXISTS %i.%i", word, database, name);
	int q = package ? my_set_building(c, r == 0 ? e : ERR_DROP) : 0;
	return r < 0 ? r : q;
}

int my_definer_try(struct my_conn *c, struct my_statement *s, struct strbuf *warnings, struct err *e)
{
	struct my_statement probe = {.kind = MY_PROCEDURE, .name = s->name};
	struct my_word word;
	const char *p = s->sql, *start = NULL;

	while (my_next_word(&p, &word) && !my_word_is(&word, "DEFINER"))
		;
	start = word.start;
	for (const char *end; start && *start;) {
		end = p;
		if (!my_next_word(&p, &word) || word.kind == MY_WORD_BARE) {
			probe.sql =
			    xasprintf("CREATE %.*s PROCEDURE __metasnap_probe() BEGIN END", (int)(end - start), start);
			break;
		}
	}
	if (!probe.sql)
		return 0;
	bool refused;
	unsigned number;
	int r = my_run(c, &probe, &refused, &number, e);
	free(probe.sql);
	if (refused) {
		my_drop_definer(s);
		my_warn_definer(warnings, s);
	} else if (r < 0) {
		return r;
	}
	return my_object_drop(c, c->database, "procedure", "__metasnap_probe", e);
}
