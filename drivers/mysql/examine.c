/*
 * drivers/mysql/examine.c - what a report wants to know of a MySQL or MariaDB server: the server's own sort buffer, the
 * account's rights, the rows of every table.
 *
 * Rights are read from SHOW GRANTS, as information_schema leaves out what comes through roles. Only grants on *.* and
 * on whole databases count: a table that the account has no right on is not even listed to it, so rights table by table
 * would make a snapshot that lacks tables in silence. No state, no locks.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "drivers/mysql/internal.h"

enum {
	MY_RIGHT_SELECT = 1 << 0,
	MY_RIGHT_INSERT = 1 << 1,
	MY_RIGHT_UPDATE = 1 << 2,
	MY_RIGHT_DELETE = 1 << 3,
	MY_RIGHT_CREATE = 1 << 4,
	MY_RIGHT_DROP = 1 << 5,
	MY_RIGHT_REFERENCES = 1 << 6,
	MY_RIGHT_INDEX = 1 << 7,
	MY_RIGHT_ALTER = 1 << 8,
	MY_RIGHT_LOCK = 1 << 9,
	MY_RIGHT_CREATE_VIEW = 1 << 10,
	MY_RIGHT_SHOW_VIEW = 1 << 11,
	MY_RIGHT_TRIGGER = 1 << 12,
	MY_RIGHT_EVENT = 1 << 13,
	MY_RIGHT_CREATE_ROUTINE = 1 << 14,
	MY_RIGHT_ALTER_ROUTINE = 1 << 15,
	MY_RIGHT_EXECUTE = 1 << 16,
	MY_RIGHT_ALL = (1 << 17) - 1, /* on a database */
	MY_RIGHT_READING = MY_RIGHT_SELECT | MY_RIGHT_SHOW_VIEW | MY_RIGHT_TRIGGER | MY_RIGHT_EVENT,
	MY_RIGHT_ROUTINE = MY_RIGHT_CREATE_ROUTINE | MY_RIGHT_ALTER_ROUTINE | MY_RIGHT_EXECUTE,
	MY_RIGHT_SHOW_ROUTINE = 1 << 17, /* on everything; MySQL 8.0.20 */
};

/* By bit. */
static const char *const my_right_names[] = {
    "SELECT",     "INSERT", "UPDATE",         "DELETE",        "CREATE",      "DROP",
    "REFERENCES", "INDEX",  "ALTER",          "LOCK TABLES",   "CREATE VIEW", "SHOW VIEW",
    "TRIGGER",    "EVENT",  "CREATE ROUTINE", "ALTER ROUTINE", "EXECUTE",     "SHOW_ROUTINE",
};

#define MY_N_RIGHTS (sizeof my_right_names / sizeof my_right_names[0])

/* What is known of the account while its grants are read. */
struct my_rights {
	const char *database;
	char *side; /* where a restore makes the tables anew */
	bool literal;
	unsigned here, there; /* on the two */
	unsigned global;      /* on everything */
};

/* ---- grants ---- */

/* A database's name in a grant is a pattern: '%', '_', backslash before one that is meant as it is. */
static bool my_pattern_is(const char *pattern, size_t len, const char *name, bool literal)
{
	if (!len)
		return !*name;
	if (!literal && *pattern == '%') {
		for (;; name++) {
			if (my_pattern_is(pattern + 1, len - 1, name, literal))
				return true;
			if (!*name)
				return false;
		}
	}
	bool any = !literal && *pattern == '_';
	if (!literal && *pattern == '\\' && len > 1) {
		pattern++;
		len--;
	}
	return *name && (any || *pattern == *name) && my_pattern_is(pattern + 1, len - 1, name + 1, literal);
}

/* "SELECT, INSERT (a, b), SHOW VIEW": rights on some columns only are none. */
static unsigned my_rights_of(const char *list, size_t len)
{
	unsigned rights = 0;
	for (const char *p = list, *end = list + len; p < end;) {
		size_t n = 0, depth = 0;
		bool columns = false;
		for (; p + n < end && (depth || p[n] != ','); n++) {
			depth += p[n] == '(';
			depth -= depth && p[n] == ')';
			columns |= depth > 0;
		}
		const char *word = p + strspn(p, " ");
		size_t word_len = (size_t)(p + n - word);
		if (word_len == 14 && !strncasecmp(word, "ALL PRIVILEGES", word_len))
			rights |= MY_RIGHT_ALL;
		for (size_t i = 0; !columns && i < MY_N_RIGHTS; i++)
			if (strlen(my_right_names[i]) == word_len && !strncasecmp(word, my_right_names[i], word_len))
				rights |= 1U << i;
		p += n + 1;
	}
	return rights;
}

/* "GRANT rights ON *.* TO ...", "... ON `database`.* TO ...", and REVOKE for what is taken out of a wider grant. */
static void my_take_grant(struct my_rights *r, const char *line)
{
	bool revoke = !strncmp(line, "REVOKE ", 7);
	const char *list = strncmp(line, "GRANT ", 6) ? revoke ? line + 7 : NULL : line + 6;
	const char *on = list ? strstr(list, " ON ") : NULL;
	if (!on)
		return; /* of a role: SHOW GRANTS has its rights, too */
	unsigned rights = my_rights_of(list, (size_t)(on - list));
	const char *object = on + 4;
	if (!strncmp(object, "*.* ", 4)) {
		r->here = revoke ? r->here & ~rights : r->here | rights;
		r->there = revoke ? r->there & ~rights : r->there | rights;
		r->global = revoke ? r->global & ~rights : r->global | rights;
		return;
	}
	_cleanup_strbuf_ struct strbuf name = {0};
	if (*object++ != '`')
		return;
	for (; *object && (*object != '`' || object[1] == '`'); object++) {
		object += *object == '`';
		strbuf_addch(&name, *object);
	}
	if (strncmp(object, "`.* ", 4) != 0)
		return;
	/* What is revoked names its database as it is. */
	if (my_pattern_is(strbuf_str(&name), name.len, r->database, r->literal || revoke))
		r->here = revoke ? r->here & ~rights : r->here | rights;
	if (my_pattern_is(strbuf_str(&name), name.len, r->side, r->literal || revoke))
		r->there = revoke ? r->there & ~rights : r->there | rights;
}

static int my_read_grants(struct my_conn *c, struct my_rights *rights, struct err *e)
{
	_cleanup_free_ char *roles = NULL;
	_cleanup_result_ MYSQL_RES *res = NULL;
	/* MySQL tells the rights of roles only when they are named; MariaDB tells those of the role that is on. */
	int r = c->mariadb ? 0 : my_select_one(c, &roles, e, "SELECT CURRENT_ROLE()");
	if (r < 0)
		return r;
	bool with = roles && *roles && strcmp(roles, "NONE") != 0;
	r = with ? my_select(c, &res, e, "SHOW GRANTS FOR CURRENT_USER() USING %s", roles)
		 : my_select(c, &res, e, "SHOW GRANTS");
	if (r < 0)
		return r;
	/* A partial revoke takes away from the grant on *.*, which SHOW GRANTS tells before it. */
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));)
		if (row[0])
			my_take_grant(rights, row[0]);
	return 0;
}

/* user@host as a statement has it. */
static char *my_account_text(const char *account)
{
	struct strbuf text = {0};
	const char *at = strrchr(account, '@');
	my_sql_quote(&text, account, at ? (size_t)(at - account) : strlen(account));
	if (at) {
		strbuf_addch(&text, '@');
		my_sql_quote(&text, at + 1, strlen(at + 1));
	}
	return strbuf_detach(&text);
}

/* `a_b__metasnap_new` and `a_b__metasnap_old` as the pattern of a grant. */
static void my_add_side_pattern(struct strbuf *sql, const char *database, bool literal)
{
	strbuf_addch(sql, '`');
	for (const char *s = database; *s; s++) {
		if (*s == '`')
			strbuf_addch(sql, '`');
		else if (!literal && strchr("_%\\", *s))
			strbuf_addch(sql, '\\');
		strbuf_addch(sql, *s);
	}
	strbuf_adds(sql, literal ? "__metasnap_new`" : "\\_\\_metasnap\\_%`");
}

static void my_add_names(struct strbuf *out, unsigned rights)
{
	const char *separator = "";
	for (size_t i = 0; i < MY_N_RIGHTS; i++) {
		if (!(rights & 1U << i))
			continue;
		strbuf_addf(out, "%s%s", separator, my_right_names[i]);
		separator = ", ";
	}
}

static void my_lack(struct my_conn *c, struct db_examination *x, bool restore, unsigned lacking, const char *account)
{
	struct strbuf right = {0}, statement = {0};
	if (!lacking)
		return;
	my_add_names(&right, lacking);
	strbuf_addf(&right, " on database %s", c->database);
	strbuf_adds(&statement, "GRANT ");
	if (restore)
		strbuf_adds(&statement, "ALL");
	else
		my_add_names(&statement, lacking);
	my_sql(&statement, " ON %i.* TO %s;", c->database, account);
	db_examination_lack(x, restore, strbuf_detach(&right), strbuf_detach(&statement));
}

/* Whoever may not do anything with routines does not even see that there are some; whoever may does not see what is in
 * those of others. */
static bool my_sees_routines(struct my_conn *c, const struct my_rights *rights)
{
	return c->mariadb ? my_exec(c, ERR_DROP, "SELECT 1 FROM mysql.proc LIMIT 0") == 0
			  : (rights->global & (MY_RIGHT_SELECT | MY_RIGHT_SHOW_ROUTINE)) != 0;
}

static int my_lack_routines(struct my_conn *c, struct db_examination *x, const struct my_rights *rights,
			    const char *account, struct err *e)
{
	uint64_t hidden = 0;
	_cleanup_free_ char *n = NULL;
	int r = my_select_one(c, &n, e,
			      "SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=%q AND "
			      "ROUTINE_DEFINITION IS NULL",
			      c->database);

	if (r < 0)
		return r;
	hidden = n ? strtoull(n, NULL, 10) : 0;
	if (my_sees_routines(c, rights) || (!hidden && (rights->here & MY_RIGHT_ROUTINE)))
		return 0;
	db_examination_lack(x, false, xstrdup("the definitions of routines"),
			    c->mariadb ? xasprintf("GRANT SELECT ON mysql.proc TO %s;", account)
				       : xasprintf("GRANT SHOW_ROUTINE ON *.* TO %s;", account));
	return 0;
}

int my_read_sight(struct my_conn *c, bool sees[MY_N_OBJECTS], struct err *e)
{
	struct my_rights rights = {.database = c->database};
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e, "SHOW GLOBAL VARIABLES LIKE 'partial_revokes'");
	MYSQL_ROW row = r == 0 ? mysql_fetch_row(res) : NULL;
	_cleanup_free_ char *side = xasprintf("%s__metasnap_new", c->database);

	rights.side = side;
	rights.literal = row && row[1] && !strcmp(row[1], "ON");
	if (r == 0)
		r = my_read_grants(c, &rights, e);
	for (int k = 0; r == 0 && k < MY_N_OBJECTS; k++)
		sees[k] = true;
	if (r < 0)
		return r;
	sees[MY_TRIGGER] = rights.here & MY_RIGHT_TRIGGER;
	sees[MY_EVENT] = rights.here & MY_RIGHT_EVENT;
	bool routines = (rights.here & MY_RIGHT_ROUTINE) || my_sees_routines(c, &rights);
	for (int k = MY_FUNCTION; k <= MY_PACKAGE_BODY; k++)
		sees[k] = routines || (k >= MY_PACKAGE && !c->mariadb);
	return 0;
}

static int my_examine_rights(struct my_conn *c, struct db_examination *x, bool literal, struct err *e)
{
	_cleanup_free_ char *side = xasprintf("%s__metasnap_new", c->database);
	struct my_rights rights = {.database = c->database, .side = side, .literal = literal};
	int r = my_select_one(c, &x->account, e, "SELECT CURRENT_USER()");
	if (r < 0)
		return r;
	if ((r = my_read_grants(c, &rights, e)) < 0)
		return r;
	_cleanup_free_ char *account = my_account_text(x->account ? x->account : "");
	my_lack(c, x, false, MY_RIGHT_READING & ~rights.here, account);
	if ((r = my_lack_routines(c, x, &rights, account, e)) < 0)
		return r;
	my_lack(c, x, true, MY_RIGHT_ALL & ~MY_RIGHT_READING & ~rights.here, account);
	if ((rights.there & MY_RIGHT_ALL) != MY_RIGHT_ALL) {
		struct strbuf statement = {0};
		strbuf_adds(&statement, "GRANT ALL ON ");
		my_add_side_pattern(&statement, c->database, literal);
		strbuf_addf(&statement, ".* TO %s;", account);
		db_examination_lack(x, true,
				    xasprintf("all rights on %s and %.*sold, where a restore makes tables anew", side,
					      (int)(strlen(side) - 3), side),
				    strbuf_detach(&statement));
	}
	return 0;
}

/* ---- settings ---- */

static int my_examine_settings(struct my_conn *c, struct db_examination *x, bool *ret_literal, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e,
			  "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('sort_buffer_size', 'partial_revokes', "
			  "'aurora_version', 'basedir', 'datadir', 'version_comment')");
	if (r < 0)
		return r;
	x->setting = "sort_buffer_size";
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		const char *name = row[0] ? row[0] : "", *value = row[1] ? row[1] : "";
		if (!strcmp(name, "sort_buffer_size"))
			x->setting_bytes = strtoull(value, NULL, 10);
		else if (!strcmp(name, "partial_revokes"))
			*ret_literal = !strcmp(value, "ON"); /* then names in grants are no patterns */
		else if (!strcmp(name, "aurora_version"))
			x->hosted = "Amazon Aurora";
		else if (!x->hosted && (!strncmp(value, "/rdsdbbin", 9) || !strncmp(value, "/rdsdbdata", 10)))
			x->hosted = "Amazon RDS";
		else if (!x->hosted && !strcmp(name, "version_comment") && strstr(value, "(Google)"))
			x->hosted = "Google Cloud SQL";
	}
	return 0;
}

/* ---- rows ---- */

static int my_measure(struct my_conn *c, const struct db_table *t, struct db_examination *x, struct err *e)
{
	_cleanup_strbuf_ struct strbuf row = {0};
	_cleanup_result_ MYSQL_RES *res = NULL;
	strbuf_adds(&row, "0");
	for (size_t i = 0; i < t->n_columns; i++)
		if (!t->columns[i].generated)
			my_sql(&row, " + COALESCE(LENGTH(%i), 0)", t->columns[i].name);
	int r = my_select(c, &res, e, "SELECT COALESCE(SUM(%s), 0), COALESCE(MAX(%s), 0) FROM %i", row.data, row.data,
			  t->name);
	MYSQL_ROW found = r == 0 ? mysql_fetch_row(res) : NULL;
	if (!found)
		return r;
	x->measured = true;
	x->bytes = strtoull(found[0], NULL, 10);
	x->largest = strtoull(found[1], NULL, 10);
	return 0;
}

static int my_examine_rows(struct my_conn *c, const struct db_schema *s, const char *measured, struct db_examination *x,
			   struct err *e)
{
	x->rows = xcalloc(s->n_tables + 1, sizeof *x->rows);
	for (size_t i = 0; i < s->n_tables; i++) {
		_cleanup_free_ char *n = NULL;
		int r = my_select_one(c, &n, e, "SELECT COUNT(*) FROM %i", s->tables[i].name);
		x->rows[i] = n ? strtoull(n, NULL, 10) : 0;
		if (r == 0 && !strcmp(s->tables[i].name, measured))
			r = my_measure(c, &s->tables[i], x, e);
		if (r < 0)
			return err_prefix(e, "table %s", s->tables[i].name);
	}
	return 0;
}

int my_examine(struct db_conn *dc, const struct db_schema *s, const char *measured, struct db_examination *ret,
	       struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	bool literal = false;

	*ret = (struct db_examination){0};
	int r = my_examine_settings(c, ret, &literal, e);
	if (r < 0)
		return r;
	if ((r = my_examine_rights(c, ret, literal, e)) < 0)
		return r;
	return s ? my_examine_rows(c, s, measured, ret, e) : 0;
}
