/*
 * drivers/mysql/statement.c - runs a definition: with the settings of the session that made it, and, where the server
 * refuses its DEFINER, without that. On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

static char *my_without_definer(const char *sql)
{
	const char *start = strstr(sql, " DEFINER="), *p = start ? start + 9 : NULL;

	/* `user`@`host`, or `role` */
	while (p && *p == '`') {
		do {
			p = strchr(p + 1, '`');
			if (p)
				p++;
		} while (p && *p == '`');
		if (!p || *p != '@')
			break;
		p++;
	}
	return p ? xasprintf("%.*s%s", (int)(start - sql), sql, p) : xstrdup(sql);
}

int my_statement_run(struct my_conn *c, const struct my_statement *s, struct err *e)
{
	int r = s->settings ? my_exec(c, e, "%s", s->settings) : 0;

	if (r == 0)
		r = my_exec_len(c, e, s->sql, strlen(s->sql));
	unsigned number = r < 0 ? my_last_errno(c) : 0;
	if (s->settings && (mysql_query(c->my, "SET NAMES utf8mb4") != 0 || my_set_building(c, ERR_DROP) < 0) && r == 0)
		return my_fail(c, e, NULL);
	if (r < 0)
		err_prefix(e, "%s %s", my_object_words[s->kind], s->name);
	return r < 0 && (number == MY_ER_SPECIFIC_ACCESS_DENIED || number == MY_ER_NO_SUCH_USER) ? -EPERM : r;
}

/* Runs the statement; where the server refuses its DEFINER, without it, and *s is changed to that. */
int my_statement_run_definer(struct my_conn *c, struct my_statement *s, struct strbuf *warnings, struct err *e)
{
	int r = my_statement_run(c, s, e);

	if (r != -EPERM || !strstr(s->sql, " DEFINER="))
		return r == -EPERM ? -EACCES : r;
	char *sql = my_without_definer(s->sql);
	free(s->sql);
	s->sql = sql;
	if (warnings)
		strbuf_addf(warnings,
			    "%s %s: the server refused its DEFINER; it now belongs to the user of the restore\n",
			    my_object_words[s->kind], s->name);
	r = my_statement_run(c, s, e);
	return r == -EPERM ? -EACCES : r;
}

int my_object_drop(struct my_conn *c, const char *database, const char *word, const char *name, struct err *e)
{
	return my_exec(c, e, "DROP %s IF EXISTS %i.%i", word, database, name);
}

int my_event_try(struct my_conn *c, struct my_statement *s, struct strbuf *warnings, struct err *e)
{
	struct my_statement probe = {.kind = MY_EVENT, .name = s->name};
	const char *definer = strstr(s->sql, " DEFINER="), *end = definer ? strstr(definer, " EVENT ") : NULL;

	if (!end)
		return 0;
	_cleanup_free_ char *sql =
	    xasprintf("CREATE%.*s PROCEDURE __metasnap_probe() BEGIN END", (int)(end - definer), definer);
	probe.sql = sql;
	int r = my_statement_run(c, &probe, e);
	if (r == -EPERM) {
		char *stripped = my_without_definer(s->sql);

		free(s->sql);
		s->sql = stripped;
		strbuf_addf(warnings,
			    "event %s: the server refused its DEFINER; it now belongs to the user of the restore\n",
			    s->name);
		r = 0;
	}
	if (r < 0)
		return r;
	return my_object_drop(c, c->database, "procedure", "__metasnap_probe", e);
}
