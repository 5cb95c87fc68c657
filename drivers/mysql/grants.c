/*
 * drivers/mysql/grants.c - rights on a routine go with it when it is dropped, and are given again when it is made anew.
 * Rights on tables and views are by name and stay. On the thread of the connections given; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "drivers/mysql/internal.h"

/* "Execute,Alter Routine,Grant", as the server keeps it. */
static void my_add_rights(struct strbuf *sql, const char *list, bool *ret_option)
{
	const char *separator = "";

	*ret_option = false;
	while (*list) {
		size_t n = strcspn(list, ",");

		if (n == 5 && !strncasecmp(list, "Grant", n)) {
			*ret_option = true;
		} else {
			strbuf_adds(sql, separator);
			strbuf_add(sql, list, n);
			separator = ", ";
		}
		list += n + (list[n] == ',');
	}
	if (!*separator)
		strbuf_adds(sql, "USAGE");
}

/* The same with another word: GRANT ... TO, REVOKE ... FROM. Of the routine of the database in use. */
static char *my_grant_text(bool grant, const struct my_statement *s, MYSQL_ROW row)
{
	struct strbuf sql = {0};
	bool option;

	strbuf_adds(&sql, grant ? "GRANT " : "REVOKE ");
	my_add_rights(&sql, row[2], &option);
	if (!grant && option)
		strbuf_adds(&sql, ", GRANT OPTION");
	my_sql(&sql, " ON %s %i %s ", row[3], s->name, grant ? "TO" : "FROM");
	/* A role of MariaDB has no host. */
	if (row[1][0])
		my_sql(&sql, "%q@%q", row[0], row[1]);
	else
		my_sql(&sql, "%i", row[0]);
	if (grant && option)
		strbuf_adds(&sql, " WITH GRANT OPTION");
	return strbuf_detach(&sql);
}

static int my_try_grant(struct my_conn *w, const struct my_statement *s, MYSQL_ROW row, struct my_script *ret,
			struct strbuf *warnings, struct err *e)
{
	_cleanup_free_ char *grant = my_grant_text(true, s, row), *revoke = my_grant_text(false, s, row);
	struct err why = ERR_INIT;
	int r = my_exec_len(w, &why, grant, strlen(grant));

	if (r == -EINTR || r == -ECONNRESET) {
		*e = why;
		return r;
	}
	if (r < 0) {
		strbuf_addf(warnings, "%s %s: %s@%s loses the rights on it, which cannot be given again: %s\n",
			    my_object_words[s->kind], s->name, row[0], row[1], why.msg);
		return 0;
	}
	(void)my_exec_len(w, ERR_DROP, revoke, strlen(revoke));
	my_script_add(ret, MY_GRANT, xstrdup(s->name), NULL, TAKE_PTR(grant));
	return 0;
}

int my_grants_of(struct my_conn *c, struct my_conn *w, const struct my_statement *s, struct my_script *ret,
		 struct strbuf *warnings, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct err why = ERR_INIT;
	int r = my_select(w, &res, &why,
			  "SELECT User, Host, Proc_priv, Routine_type FROM mysql.procs_priv WHERE Db=%q AND "
			  "Routine_name=%q AND Routine_type=UPPER(%q)",
			  c->database, s->name, my_object_words[s->kind]);

	if (r == -EINTR || r == -ECONNRESET) {
		*e = why;
		return r;
	}
	if (r < 0) {
		strbuf_addf(
		    warnings,
		    "%s %s: rights on it (EXECUTE) that others had are gone, if there were any: this account may "
		    "not read mysql.procs_priv\n",
		    my_object_words[s->kind], s->name);
		return 0;
	}
	for (MYSQL_ROW row; r == 0 && (row = mysql_fetch_row(res));)
		r = my_try_grant(w, s, row, ret, warnings, e);
	return r;
}
