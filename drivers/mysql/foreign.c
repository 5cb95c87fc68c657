/*
 * drivers/mysql/foreign.c - foreign keys: rows without the row that they refer to, in our tables and in those outside
 * (of other databases, excluded ones) whose parents a restore has changed. On the connection's thread, no locks.
 *
 * Switching the checks on again looks at nothing that is there: every foreign key is joined against its parent. By
 * locking reads: a plain one would use an older view where other sessions' rows are concerned, and what was counted
 * must not change before the commit.
 *
 * information_schema shows a key only to who has some right on its table. With PROCESS those of others are found, too,
 * and named; without it nothing tells of them (docs/fidelity.md).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

struct my_foreign {
	char *name, *child_schema, *child, *parent_schema, *parent;
	struct strbuf on, not_null;
	char *parent_column;
};

struct my_foreign_list {
	struct my_foreign *v;
	size_t n;
};

static void my_foreign_list_done(struct my_foreign_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct my_foreign *f = &l->v[i];

		free(f->name);
		free(f->child_schema);
		free(f->child);
		free(f->parent_schema);
		free(f->parent);
		free(f->parent_column);
		strbuf_done(&f->on);
		strbuf_done(&f->not_null);
	}
	free(l->v);
	*l = (struct my_foreign_list){0};
}

/* All keys of and into the database that the account can see. */
static int my_foreign_read(struct my_conn *c, const char *database, struct my_foreign_list *ret, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e,
			  "SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, "
			  "REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE "
			  "WHERE REFERENCED_TABLE_NAME IS NOT NULL AND (TABLE_SCHEMA=%q OR REFERENCED_TABLE_SCHEMA=%q) "
			  "ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
			  database, database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		struct my_foreign *f = ret->n ? &ret->v[ret->n - 1] : NULL;

		if (!f || strcmp(f->name, row[0]) != 0 || strcmp(f->child_schema, row[1]) != 0 ||
		    strcmp(f->child, row[2]) != 0) {
			ret->v = xrealloc(ret->v, (ret->n + 1) * sizeof *ret->v);
			f = &ret->v[ret->n++];
			*f = (struct my_foreign){.name = xstrdup(row[0]),
						 .child_schema = xstrdup(row[1]),
						 .child = xstrdup(row[2]),
						 .parent_schema = xstrdup(row[4]),
						 .parent = xstrdup(row[5]),
						 .parent_column = xstrdup(row[6])};
		}
		my_sql(&f->on, "%sp.%i=c.%i", f->on.len ? " AND " : "", row[6], row[3]);
		my_sql(&f->not_null, "%sc.%i IS NOT NULL", f->not_null.len ? " AND " : "", row[3]);
	}
	return 0;
}

static bool my_names_have(const struct my_names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (!strcmp(names->names[i], name))
			return true;
	return false;
}

/* parents: the database where the parents are, of the same names. A key with a NULL refers to nothing. */
static int my_foreign_count(struct my_conn *c, const struct my_foreign *f, const char *parents, uint64_t *ret,
			    struct err *e)
{
	_cleanup_free_ char *found = NULL;
	int r = my_select_one(
	    c, &found, e,
	    "SELECT COUNT(*) FROM %i.%i c LEFT JOIN %i.%i p ON %s WHERE %s AND p.%i IS NULL LOCK IN SHARE MODE",
	    f->child_schema, f->child, parents, f->parent, strbuf_str(&f->on), strbuf_str(&f->not_null),
	    f->parent_column);

	if (r < 0)
		return err_prefix(e, "foreign key %s of table %s.%s", f->name, f->child_schema, f->child);
	*ret = found ? strtoull(found, NULL, 10) : 0;
	return 0;
}

int my_check_orphans(struct my_conn *c, const struct my_names *of, struct strbuf *orphans, struct err *e)
{
	_cleanup_(my_foreign_list_done) struct my_foreign_list keys = {0};
	int r = my_foreign_read(c, c->database, &keys, e);

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		const struct my_foreign *f = &keys.v[i];
		uint64_t n = 0;

		if (strcmp(f->child_schema, c->database) != 0 || !my_catalog_find(&c->catalog, f->child))
			continue;
		if (of && !my_names_have(of, f->child) &&
		    !(!strcmp(f->parent_schema, c->database) && my_names_have(of, f->parent)))
			continue;
		r = my_foreign_count(c, f, f->parent_schema, &n, e);
		if (r < 0 || n == 0)
			continue;
		if (!orphans)
			return err_set(e, EEXIST,
				       "foreign key %s: table %s has %" PRIu64 " rows without their row in %s", f->name,
				       f->child, n, f->parent);
		strbuf_addf(orphans,
			    "foreign key %s: table %s has %" PRIu64 " rows without their row in %s (as in the "
			    "snapshot)\n",
			    f->name, f->child, n, f->parent);
	}
	return r;
}

/* ---- tables outside ---- */

/* As InnoDB's own lists have it: MariaDB's are file names. */
static void my_add_innodb_name(const struct my_conn *c, struct strbuf *sql, const char *database, const char *table)
{
	my_sql(sql,
	       c->mariadb
		   ? "CONCAT(CAST(CONVERT(%q USING filename) AS BINARY),'/',CAST(CONVERT(%q USING filename) AS BINARY))"
		   : "CONCAT(%q,'/',%q)",
	       database, table);
}

/* Children of our parents that the account has no right on, and hence not in `keys`. */
static int my_check_hidden(struct my_conn *c, const char *database, const struct my_names *of,
			   const struct my_foreign_list *keys, struct strbuf *outside, struct err *e)
{
	_cleanup_strbuf_ struct strbuf known = {0}, ours = {0};
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct err why = ERR_INIT;

	for (size_t i = 0; i < keys->n; i++) {
		strbuf_adds(&known, i ? "," : "");
		my_add_innodb_name(c, &known, keys->v[i].child_schema, keys->v[i].child);
	}
	for (size_t i = 0; i < of->n; i++) {
		strbuf_adds(&ours, i ? "," : "");
		my_add_innodb_name(c, &ours, database, of->names[i]);
	}
	int r = my_select(c, &res, &why,
			  "SELECT FOR_NAME, REF_NAME FROM information_schema.%s WHERE CAST(REF_NAME AS BINARY) IN "
			  "(%s)%s%s%s",
			  c->mariadb ? "INNODB_SYS_FOREIGN" : "INNODB_FOREIGN", strbuf_str(&ours),
			  known.len ? " AND CAST(FOR_NAME AS BINARY) NOT IN (" : "", strbuf_str(&known),
			  known.len ? ")" : "");
	if (r == -EACCES)
		return 0; /* without PROCESS */
	if (r < 0) {
		*e = why;
		return r;
	}
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		if (!outside)
			return err_set(e, EACCES,
				       "table %s refers to %s, and the account may not read whether its rows keep "
				       "their row there",
				       row[0], row[1]);
		strbuf_addf(outside, "table %s refers to %s: not checked, the account may not read it\n", row[0],
			    row[1]);
	}
	return 0;
}

int my_check_outside(struct my_conn *c, const char *database, const struct my_catalog *inside, const char *parents,
		     const struct my_names *of, struct strbuf *outside, struct err *e)
{
	_cleanup_(my_foreign_list_done) struct my_foreign_list keys = {0};
	int r = of->n ? my_foreign_read(c, database, &keys, e) : 0;

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		const struct my_foreign *f = &keys.v[i];
		struct err why = ERR_INIT;
		uint64_t n = 0;

		if (strcmp(f->parent_schema, database) != 0 || !my_names_have(of, f->parent))
			continue;
		if (!strcmp(f->child_schema, database) && my_catalog_find(inside, f->child))
			continue;
		r = my_foreign_count(c, f, parents, &n, &why);
		if (r == -EACCES && outside) {
			strbuf_addf(outside, "not checked: %s\n", why.msg);
			r = 0;
		} else if (r < 0) {
			*e = why;
		} else if (n > 0 && outside) {
			strbuf_addf(outside,
				    "foreign key %s: table %s.%s, which is not in the snapshot, has %" PRIu64
				    " rows without their row in %s\n",
				    f->name, f->child_schema, f->child, n, f->parent);
		} else if (n > 0) {
			return err_set(e, EEXIST,
				       "foreign key %s: table %s.%s, which is not in the snapshot, would have %" PRIu64
				       " rows without their row in %s",
				       f->name, f->child_schema, f->child, n, f->parent);
		}
	}
	return r == 0 && of->n ? my_check_hidden(c, database, of, &keys, outside, e) : r;
}
