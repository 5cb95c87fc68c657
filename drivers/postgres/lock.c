/*
 * drivers/postgres/lock.c - what keeps others from the tables: the list of relations that begin compares before and
 * after it has locked them, the locks, and the lock of a restore.
 *
 * The locks are the server's: the tables' go with the transaction, a restore's is the session's and is freed by us.
 * Owns struct pg_conn's `advisory`. Every name in the SQL is qualified, because the search_path is empty and because a
 * user's own schema must not be able to stand in for pg_catalog.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

#define PG_LOCK_BATCH 100000 /* bytes of one LOCK TABLE statement, as pg_dump has it */

/* ---- the listing ---- */

void pg_listing_done(struct pg_listing *l)
{
	for (size_t i = 0; i < l->n_relations; i++) {
		free(l->relations[i].name);
		free(l->relations[i].oid);
		free(l->relations[i].filenode);
	}
	for (size_t i = 0; i < l->n_excluded; i++) {
		free(l->excluded[i]);
		free(l->excluded_names[i]);
	}
	for (size_t i = 0; i < l->n_outside; i++) {
		free(l->outside[i].oid);
		free(l->outside[i].name);
	}
	free(l->outside);
	free(l->relations);
	free(l->excluded);
	free(l->excluded_names);
	*l = (struct pg_listing){0};
}

int pg_list_relations(struct pg_conn *c, struct pg_listing *ret, struct err *e)
{
	static const char sql[] =
	    "SELECT c.oid, c.relname, c.relfilenode, c.relkind,"
	    " c.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_inherits i"
	    " JOIN pg_catalog.pg_class o ON o.oid = i.inhparent"
	    "  WHERE i.inhrelid = c.oid AND o.relnamespace <> c.relnamespace)"
	    " OR c.relkind = 'p' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i"
	    " JOIN pg_catalog.pg_class o ON o.oid = i.inhrelid"
	    "  WHERE i.inhparent = c.oid AND o.relnamespace <> c.relnamespace)"
	    " FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid"
	    " AND c.relkind IN ('r', 'p', 'f') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
	    "  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')"
	    " WHERE n.nspname = $1 ORDER BY c.relname COLLATE pg_catalog.\"C\"";
	_cleanup_result_ PGresult *res = NULL;
	const struct db_params excludes = {.exclude = c->exclude};
	const char *params[] = {c->schema};
	int r = pg_query(c, &res, "cannot list the tables", sql, 1, params, e);
	if (r < 0)
		return r;
	size_t n = (size_t)PQntuples(res);
	*ret = (struct pg_listing){.schema_exists = n > 0};
	ret->relations = xcalloc(n, sizeof *ret->relations);
	ret->excluded = xcalloc(n + 1, sizeof *ret->excluded);
	ret->excluded_names = xcalloc(n + 1, sizeof *ret->excluded_names);
	for (int i = 0; i < PQntuples(res); i++) {
		if (PQgetisnull(res, i, 0))
			continue; /* the schema without any table */
		const char *name = PQgetvalue(res, i, 1);
		if (db_params_excludes(&excludes, name)) {
			ret->excluded[ret->n_excluded] = xstrdup(PQgetvalue(res, i, 0));
			ret->excluded_names[ret->n_excluded++] = xstrdup(name);
			continue;
		}
		ret->relations[ret->n_relations++] = (struct pg_relation){
		    .name = xstrdup(name),
		    .oid = xstrdup(PQgetvalue(res, i, 0)),
		    .filenode = xstrdup(PQgetvalue(res, i, 2)),
		    .kind = *PQgetvalue(res, i, 3),
		    .stray_partition = *PQgetvalue(res, i, 4) == 't',
		};
	}
	return 0;
}

bool pg_listing_equal(const struct pg_listing *a, const struct pg_listing *b)
{
	if (a->n_relations != b->n_relations || a->schema_exists != b->schema_exists || a->n_outside != b->n_outside)
		return false;
	for (size_t i = 0; i < a->n_outside; i++)
		if (strcmp(a->outside[i].oid, b->outside[i].oid) || strcmp(a->outside[i].name, b->outside[i].name))
			return false;
	for (size_t i = 0; i < a->n_relations; i++) {
		const struct pg_relation *x = &a->relations[i], *y = &b->relations[i];
		if (strcmp(x->name, y->name) || strcmp(x->oid, y->oid) || strcmp(x->filenode, y->filenode) ||
		    x->kind != y->kind || x->stray_partition != y->stray_partition)
			return false;
	}
	return true;
}

static const struct pg_relation *pg_find_relation(const struct pg_listing *l, const char *name)
{
	for (size_t i = 0; i < l->n_relations; i++)
		if (!strcmp(l->relations[i].name, name))
			return &l->relations[i];
	return NULL;
}

bool pg_listing_has(const struct pg_listing *l, const char *name)
{
	return pg_find_relation(l, name) != NULL;
}

const char *pg_listing_oid(const struct pg_listing *l, const char *name)
{
	const struct pg_relation *relation = pg_find_relation(l, name);
	return relation ? relation->oid : NULL;
}

const struct pg_outside *pg_listing_outside(const struct pg_listing *l, const char *oid)
{
	for (size_t i = 0; i < l->n_outside; i++)
		if (!strcmp(l->outside[i].oid, oid))
			return &l->outside[i];
	return NULL;
}

static void pg_add_listed(struct strbuf *sb, const struct pg_listing *l)
{
	strbuf_adds(sb, "{");
	for (size_t i = 0; i < l->n_relations; i++)
		strbuf_addf(sb, "%s%s", i ? "," : "", l->relations[i].oid);
	strbuf_adds(sb, "}");
}

/* Rows of a child are in the way of a parent's, and the other way round: while ours are changed nobody may write those,
 * and what others have written but not committed is not in our snapshot. The rights are those that LOCK TABLE asks for.
 */
int pg_list_outside(struct pg_conn *c, struct pg_listing *l, struct err *e)
{
	static const char sql[] =
	    "SELECT DISTINCT o.oid, pg_catalog.format('%I.%I', n.nspname, o.relname),"
	    " pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
	    " AND pg_catalog.has_table_privilege(o.oid, 'UPDATE, DELETE, TRUNCATE')"
	    " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class o ON o.oid IN (k.conrelid, k.confrelid)"
	    " JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace WHERE k.contype = 'f'"
	    " AND (k.conrelid = ANY ($1::pg_catalog.oid[]) OR k.confrelid = ANY ($1::pg_catalog.oid[]))"
	    " AND o.oid <> ALL ($1::pg_catalog.oid[]) ORDER BY o.oid";
	_cleanup_strbuf_ struct strbuf oids = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_listed(&oids, l);
	const char *params[] = {strbuf_str(&oids)};
	int r = pg_query(c, &res, "cannot list the foreign keys", sql, 1, params, e);
	if (r < 0)
		return r;
	l->outside = xcalloc((size_t)PQntuples(res) + 1, sizeof *l->outside);
	for (int i = 0; i < PQntuples(res); i++)
		l->outside[l->n_outside++] = (struct pg_outside){
		    .oid = xstrdup(PQgetvalue(res, i, 0)),
		    .name = xstrdup(PQgetvalue(res, i, 1)),
		    .may_lock = *PQgetvalue(res, i, 2) == 't',
		};
	return 0;
}

/* ---- the tables ---- */

int pg_lock_tables(struct pg_conn *c, const struct pg_listing *l, const char *mode, struct err *e)
{
	size_t i = 0, n = l->n_relations + l->n_outside;
	for (;;) {
		_cleanup_strbuf_ struct strbuf sql = {0};
		for (; i < n && sql.len < PG_LOCK_BATCH; i++) {
			const struct pg_outside *o = i < l->n_relations ? NULL : &l->outside[i - l->n_relations];
			if (o && !o->may_lock)
				continue; /* said when a table that is bound to it is to be changed */
			strbuf_addf(&sql, "%sONLY ", sql.len ? ", " : "LOCK TABLE ");
			if (o)
				strbuf_adds(&sql, o->name);
			else
				pg_add_relation(&sql, c, l->relations[i].name);
		}
		if (!sql.len)
			return 0;
		strbuf_addf(&sql, " IN %s", mode);
		int r = pg_query(c, NULL, "cannot lock the tables", strbuf_str(&sql), 0, NULL, e);
		if (r < 0)
			return r;
	}
}

void pg_name_blockers(struct pg_conn *c, const struct pg_listing *l, struct err *e)
{
	_cleanup_strbuf_ struct strbuf oids = {0};
	_cleanup_result_ PGresult *res = NULL;
	strbuf_adds(&oids, "{");
	for (size_t i = 0; i < l->n_relations + l->n_outside; i++)
		strbuf_addf(&oids, "%s%s", i ? "," : "",
			    i < l->n_relations ? l->relations[i].oid : l->outside[i - l->n_relations].oid);
	strbuf_adds(&oids, "}");
	const char *params[] = {strbuf_str(&oids)};
	if (pg_query(c, &res, "",
		     "SELECT l.pid, pg_catalog.min(c.relname::pg_catalog.text),"
		     " pg_catalog.min(a.usename::pg_catalog.text),"
		     " pg_catalog.min(a.application_name), pg_catalog.min(a.state)"
		     " FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation"
		     " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
		     " WHERE l.relation = ANY ($1::pg_catalog.oid[]) AND l.granted"
		     " AND l.pid <> pg_catalog.pg_backend_pid()"
		     " AND l.mode <> ALL (ARRAY['AccessShareLock', 'RowShareLock'])"
		     " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d"
		     " WHERE d.datname = pg_catalog.current_database())"
		     " GROUP BY l.pid ORDER BY l.pid LIMIT 3",
		     1, params, ERR_DROP) < 0)
		return;
	for (int i = 0; i < PQntuples(res); i++) {
		size_t n = strlen(e->msg);
		(void)snprintf(e->msg + n, sizeof e->msg - n, "%s process %s (%s, %s, %s) on table %s",
			       i ? "," : "; held by", PQgetvalue(res, i, 0), PQgetvalue(res, i, 2),
			       PQgetvalue(res, i, 3), PQgetvalue(res, i, 4), PQgetvalue(res, i, 1));
	}
}

/* ---- one restore at a time ---- */

int pg_take_restore_lock(struct pg_conn *c, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {c->token, c->schema};
	int r = pg_query(c, &res, "cannot take the restore lock",
			 "SELECT CASE WHEN pg_catalog.current_setting('metasnap.session', true) = $1 THEN"
			 " pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('metasnap:' || $2, 0)) END",
			 2, params, e);
	if (r < 0)
		return r;
	const char *taken = pg_cell(res, 0, 0);
	if (!taken)
		return pg_refuse_pooler(e);
	if (*taken != 't')
		return err_set(e, EBUSY, "another restore into schema %s of this database is running", c->schema);
	c->advisory = true;
	return 0;
}

void pg_free_restore_lock(struct pg_conn *c)
{
	const char *params[] = {c->schema};
	if (c->advisory && !c->broken)
		(void)pg_query(
		    c, NULL, "cannot free the restore lock",
		    "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('metasnap:' || $1, 0))", 1,
		    params, ERR_DROP);
	c->advisory = false;
}
