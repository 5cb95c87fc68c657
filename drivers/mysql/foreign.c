/*
 * drivers/mysql/foreign.c - foreign keys: rows without the row that they refer to. On the connection's thread, no
 * locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

struct my_foreign {
	bool open;
	char *name, *child_schema, *child, *parent_schema, *parent;
	struct strbuf on, not_null;
	char *parent_column;
};

static void my_foreign_done(struct my_foreign *f)
{
	free(f->name);
	free(f->child_schema);
	free(f->child);
	free(f->parent_schema);
	free(f->parent);
	free(f->parent_column);
	strbuf_done(&f->on);
	strbuf_done(&f->not_null);
	*f = (struct my_foreign){0};
}

/* Switching the checks on again looks at nothing that is there: every foreign key is joined against its parent.
 * A locking read, because a plain one would use an older view where other sessions' parents are concerned. */
static int my_check_foreign(struct my_conn *c, const struct my_foreign *f, struct err *e)
{
	_cleanup_free_ char *found = NULL;

	if (!f->open)
		return 0;
	int r = my_select_one(
	    c, &found, e,
	    "SELECT 1 FROM %i.%i c LEFT JOIN %i.%i p ON %s WHERE %s AND p.%i IS NULL LIMIT 1 LOCK IN SHARE MODE",
	    f->child_schema, f->child, f->parent_schema, f->parent, strbuf_str(&f->on), strbuf_str(&f->not_null),
	    f->parent_column);
	if (r < 0)
		return err_prefix(e, "foreign key %s of table %s", f->name, f->child);
	if (found)
		return err_set(e, EEXIST, "foreign key %s: table %s has rows without their row in %s", f->name,
			       f->child, f->parent);
	return 0;
}

/* An orphan goes to *orphans when there is one to take it. */
static int my_check_foreign_into(struct my_conn *c, const struct my_foreign *f, struct strbuf *orphans, struct err *e)
{
	struct err why = ERR_INIT;
	int r = my_check_foreign(c, f, &why);

	if (r == -EEXIST && orphans) {
		strbuf_addf(orphans, "%s (as in the snapshot)\n", why.msg);
		return 0;
	}
	if (r < 0)
		*e = why;
	return r;
}

int my_check_orphans(struct my_conn *c, struct strbuf *orphans, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	_cleanup_(my_foreign_done) struct my_foreign f = {0};
	int r = my_select(c, &res, e,
			  "SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, "
			  "REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE "
			  "WHERE REFERENCED_TABLE_NAME IS NOT NULL AND (TABLE_SCHEMA=%q OR REFERENCED_TABLE_SCHEMA=%q) "
			  "ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
			  c->database, c->database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		if (!f.open || strcmp(f.name, row[0]) != 0 || strcmp(f.child_schema, row[1]) != 0 ||
		    strcmp(f.child, row[2]) != 0) {
			if ((r = my_check_foreign_into(c, &f, orphans, e)) < 0)
				return r;
			my_foreign_done(&f);
			f = (struct my_foreign){.open = true,
						.name = xstrdup(row[0]),
						.child_schema = xstrdup(row[1]),
						.child = xstrdup(row[2]),
						.parent_schema = xstrdup(row[4]),
						.parent = xstrdup(row[5]),
						.parent_column = xstrdup(row[6])};
		}
		my_sql(&f.on, "%sp.%i=c.%i", f.on.len ? " AND " : "", row[6], row[3]);
		my_sql(&f.not_null, "%sc.%i IS NOT NULL", f.not_null.len ? " AND " : "", row[3]);
	}
	return my_check_foreign_into(c, &f, orphans, e);
}
