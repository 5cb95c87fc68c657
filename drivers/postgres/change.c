/*
 * drivers/postgres/change.c - changing rows of tables that stay: what would act on the changes, or refuse rows that the
 * table has held before, is put away and brought back.
 *
 * Owns struct pg_conn's `change`; no locks. What hangs on a table is put away at the first change to it, so that a
 * restore which changes two tables touches the definitions of two. All of it is inside the one transaction.
 *
 * Where session_replication_role may be set (superuser, or PostgreSQL 15's GRANT SET ON PARAMETER) tables are changed in
 * the role `replica`: foreign keys stay defined, do not act, and change_end looks for orphans itself. But in that role
 * the server does not check unique and exclusion constraints that are deferrable, either (their recheck is a trigger):
 * tables that have such, and all tables of other users, are changed in the role `origin`. There a superuser disables the
 * foreign keys' triggers on the table, others drop the keys and add them again, which validates them. In every way ON
 * DELETE CASCADE does not act: a parent deleted and inserted again keeps its children.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

void pg_change_done(struct pg_conn *c)
{
	while (c->change.undo) {
		struct pg_undo *next = c->change.undo->next;
		free(c->change.undo->sql);
		free(c->change.undo->what);
		free(c->change.undo);
		c->change.undo = next;
	}
	for (size_t i = 0; i < c->change.n_touched; i++) {
		free(c->change.touched[i].oid);
		free(c->change.touched[i].delete_sql);
	}
	free(c->change.touched);
	for (size_t i = 0; i < c->change.n_told; i++)
		free(c->change.told[i]);
	free(c->change.told);
	PQclear(c->change.away);
	PQclear(c->change.operators);
	pg_foreign_keys_done(&c->change);
	c->change = (struct pg_change){0};
}

void pg_push_undo(struct pg_conn *c, char *sql, char *what)
{
	struct pg_undo *u = xcalloc(1, sizeof *u);
	*u = (struct pg_undo){.sql = sql, .what = what, .next = c->change.undo};
	c->change.undo = u;
}

/* ---- what hangs on a table ---- */

/* What is to be put away before one of the tables $1 is changed; $2: whether the role `replica` may be set, $3: superuser.
 * For each table a row that tells the way (see above), then what to do, what brings it back, and its name:
 *
 * Triggers and rules that are enabled in the role in which the table is changed; of the foreign keys' own triggers those
 * that only a superuser may disable. CHECK (and 18's NOT NULL) constraints that are NOT VALID, which old rows may
 * violate, where they come from: those that are inherited go with the parent's, so parents go first. The same of the
 * domains that columns, their elements or their members are of. And that a column is stored PLAIN, which rows from before
 * that was said may be too wide for. */
static const char pg_put_away[] =
    "WITH RECURSIVE here(oid, name, origin) AS (SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname),"
    "  NOT $2::pg_catalog.bool OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid"
    "   AND NOT i.indimmediate) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "  WHERE c.oid = ANY ($1::pg_catalog.oid[])),"
    " acting(start, kind, name, state) AS ("
    "  SELECT t.tgrelid, 'TRIGGER', t.tgname, t.tgenabled FROM pg_catalog.pg_trigger t"
    "   LEFT JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint WHERE t.tgrelid = ANY ($1::pg_catalog.oid[])"
    "   AND (NOT t.tgisinternal OR k.contype = 'f' AND $3::pg_catalog.bool)"
    "  UNION ALL SELECT r.ev_class, 'RULE', r.rulename, r.ev_enabled FROM pg_catalog.pg_rewrite r"
    "   WHERE r.ev_class = ANY ($1::pg_catalog.oid[]) AND r.rulename <> '_RETURN'),"
    " checks(start, rel, name, local, inherited, depth) AS ("
    "  SELECT k.conrelid, k.conrelid, k.conname, k.conislocal, k.coninhcount > 0, 0 FROM pg_catalog.pg_constraint k"
    "   WHERE k.conrelid = ANY ($1::pg_catalog.oid[]) AND k.contype IN ('c', 'n') AND NOT k.convalidated"
    "   AND pg_catalog.to_jsonb(k) ->> 'conenforced' IS DISTINCT FROM 'false'"
    "  UNION SELECT c.start, k.conrelid, k.conname, k.conislocal, k.coninhcount > 0, c.depth + 1 FROM checks c"
    "   JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.rel JOIN pg_catalog.pg_constraint k"
    "   ON k.conrelid = i.inhparent AND k.conname = c.name AND k.contype IN ('c', 'n') WHERE c.inherited),"
    " types(start, oid) AS (SELECT a.attrelid, a.atttypid FROM pg_catalog.pg_attribute a"
    "   WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384"
    "  UNION SELECT s.start, x.oid FROM types s JOIN pg_catalog.pg_type t ON t.oid = s.oid CROSS JOIN LATERAL ("
    "   SELECT t.typbasetype UNION ALL SELECT t.typelem UNION ALL SELECT a.atttypid"
    "    FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped"
    "   UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE t.typtype IN ('r', 'm')"
    "    AND t.oid::pg_catalog.text IN (g.rngtypid::pg_catalog.text, pg_catalog.to_jsonb(g) ->> 'rngmultitypid'))"
    "   x(oid) WHERE x.oid >= 16384),"
    " loose(start, place, depth, owner, named, oid) AS ("
    "  SELECT c.start, 2, -c.depth, pg_catalog.format('TABLE %I.%I', n.nspname, r.relname),"
    "   pg_catalog.format('%I.%I', n.nspname, r.relname), k.oid FROM checks c"
    "   JOIN pg_catalog.pg_constraint k ON k.conrelid = c.rel AND k.conname = c.name AND k.contype IN ('c', 'n')"
    "   JOIN pg_catalog.pg_class r ON r.oid = c.rel JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace"
    "   WHERE c.local OR NOT c.inherited"
    "  UNION ALL SELECT s.start, 3, 0, d.name, d.name, k.oid FROM types s JOIN pg_catalog.pg_type t ON t.oid = s.oid"
    "   AND t.typtype = 'd' JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
    "   JOIN pg_catalog.pg_constraint k ON k.contypid = t.oid AND NOT k.convalidated"
    "   CROSS JOIN LATERAL pg_catalog.format('DOMAIN %I.%I', n.nspname, t.typname) d(name))"
    " SELECT h.oid, 0, 0, h.origin::pg_catalog.text, NULL, NULL FROM here h"
    " UNION ALL SELECT h.oid, 1, 0, pg_catalog.format('ALTER TABLE %s DISABLE %s %I', h.name, a.kind, a.name),"
    "  pg_catalog.format('ALTER TABLE %s ENABLE %s%s %I', h.name, CASE a.state WHEN 'A' THEN 'ALWAYS '"
    "   WHEN 'R' THEN 'REPLICA ' ELSE '' END, a.kind, a.name), a.name"
    "  FROM acting a JOIN here h ON h.oid = a.start"
    "  WHERE a.state IN ('A', CASE WHEN h.origin THEN 'O' ELSE 'R' END)"
    " UNION ALL SELECT h.oid, 1, 1, pg_catalog.format(s.alter, h.name, a.attname, 'EXTENDED'),"
    "  pg_catalog.format(s.alter, h.name, a.attname, 'PLAIN'), a.attname"
    "  FROM here h JOIN pg_catalog.pg_attribute a ON a.attrelid = h.oid AND a.attnum > 0 AND NOT a.attisdropped"
    "   AND a.attstorage = 'p' JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typstorage <> 'p'"
    "  CROSS JOIN (VALUES ('ALTER TABLE ONLY %s ALTER COLUMN %I SET STORAGE %s')) s(alter)"
    " UNION ALL SELECT l.start, l.place, l.depth,"
    "  pg_catalog.format('ALTER %s DROP CONSTRAINT %I', l.owner, k.conname),"
    "  pg_catalog.format('ALTER %s ADD CONSTRAINT %I %s', l.owner, k.conname, pg_catalog.pg_get_constraintdef(k.oid))"
    "  || COALESCE(pg_catalog.format('; COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, l.named,"
    "   pg_catalog.obj_description(k.oid, 'pg_constraint')), ''),"
    "  k.conname FROM loose l JOIN pg_catalog.pg_constraint k ON k.oid = l.oid ORDER BY 1, 2, 3, 4";

static int pg_read_put_away(struct pg_conn *c, struct err *e)
{
	_cleanup_strbuf_ struct strbuf oids = {0};
	pg_add_oid_array(&oids, c->change.told, c->change.n_told);
	const char *params[] = {strbuf_str(&oids), c->role.may_replica ? "t" : "f", c->role.superuser ? "t" : "f"};
	return pg_query(c, &c->change.away, "cannot read what hangs on the tables", pg_put_away, 3, params, e);
}

/* What two tables have in common goes once. */
static bool pg_is_away(const struct pg_conn *c, const char *undo)
{
	for (const struct pg_undo *u = c->change.undo; u; u = u->next)
		if (!strcmp(u->sql, undo))
			return true;
	return false;
}

static int pg_put_table_away(struct pg_conn *c, struct pg_touched *t, const char *table, struct err *e)
{
	const PGresult *res = c->change.away;
	for (int i = 0; i < PQntuples(res); i++) {
		if (strcmp(PQgetvalue(res, i, 0), t->oid))
			continue;
		if (PQgetisnull(res, i, 4)) {
			t->origin = !strcmp(PQgetvalue(res, i, 3), "true");
			continue;
		}
		if (pg_is_away(c, PQgetvalue(res, i, 4)))
			continue;
		int r = pg_query(c, NULL, table, PQgetvalue(res, i, 3), 0, NULL, e);
		if (r < 0) {
			err_prefix(e, "%s must be put away while the rows are changed", PQgetvalue(res, i, 5));
			return r;
		}
		pg_push_undo(c, xstrdup(PQgetvalue(res, i, 4)), xstrdup(PQgetvalue(res, i, 5)));
	}
	return 0;
}

/* A table that is published with its deletes, and has nothing by which subscribers could tell which row goes: for the
 * time of the changes that is the whole row. The server itself is asked, by a DELETE of nothing. */
static int pg_identify_rows(struct pg_conn *c, const char *table, const char *oid, struct err *e)
{
	/* Of an index that has gone a definition says nothing, either. */
	static const char identity[] =
	    "SELECT CASE c.relreplident WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'"
	    " ELSE COALESCE((SELECT pg_catalog.format('USING INDEX %I', r.relname) FROM pg_catalog.pg_index i"
	    "  JOIN pg_catalog.pg_class r ON r.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident),"
	    "  'DEFAULT') END FROM pg_catalog.pg_class c WHERE c.oid = $1::pg_catalog.oid";
	_cleanup_strbuf_ struct strbuf name = {0};
	_cleanup_result_ PGresult *res = NULL;
	struct err refusal = ERR_INIT;
	const char *params[] = {oid};
	pg_add_relation(&name, c, table);
	_cleanup_free_ char *probe = xasprintf("DELETE FROM ONLY %s WHERE false", strbuf_str(&name));
	int r = pg_try(c, table, probe, &refusal, e);
	if (r < 0 || (strcmp(refusal.sqlstate, "55000") && strcmp(refusal.sqlstate, "42P10")))
		return r;
	r = pg_role_set(c, true, e);
	if (r == 0)
		r = pg_query(c, &res, table, identity, 1, params, e);
	if (r == 0)
		r = pg_do(c, e, table, "ALTER TABLE %s REPLICA IDENTITY FULL", strbuf_str(&name));
	if (r == 0)
		pg_push_undo(c,
			     xasprintf("ALTER TABLE %s REPLICA IDENTITY %s", strbuf_str(&name), PQgetvalue(res, 0, 0)),
			     xstrdup(table));
	return r;
}

int pg_change_begin(struct db_conn *conn, const struct db_schema *s, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct pg_change *x = &c->change;
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_check_write(c, "change", e);
	if (r < 0)
		return r;
	pg_change_done(c);
	r = pg_role_set(c, true, e);
	if (r == 0)
		r = pg_query(c, &res, "cannot prepare the changes",
			     "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication)", 0, NULL, e);
	if (r < 0)
		return r;
	x->published = *PQgetvalue(res, 0, 0) == 't';
	/* The tables are prepared as they are changed; but what the catalog says of all is asked for once. */
	x->told = xcalloc(s->n_tables + 1, sizeof *x->told);
	for (size_t i = 0; i < s->n_tables; i++) {
		const char *oid = pg_listing_oid(&c->listing, s->tables[i].name);
		if (oid)
			x->told[x->n_told++] = xstrdup(oid);
	}
	r = pg_foreign_keys_read(c, x->told, x->n_told, e);
	if (r == 0)
		r = pg_read_put_away(c, e);
	x->on = r == 0;
	return r;
}

static int pg_touch_first(struct pg_conn *c, const char *table, const char *oid, struct err *e)
{
	struct pg_change *x = &c->change;
	bool told = false;
	for (size_t i = 0; i < x->n_told; i++)
		told |= !strcmp(x->told[i], oid);
	if (!told)
		return err_set(e, EINVAL, "%s: the change began without it", table);
	x->touched = xrealloc(x->touched, (x->n_touched + 1) * sizeof *x->touched);
	struct pg_touched *t = &x->touched[x->n_touched++];
	*t = (struct pg_touched){.oid = xstrdup(oid)};
	/* As replica where that is possible: event triggers of others do not look at what is put away. */
	int r = pg_role_set(c, true, e);
	if (r == 0)
		r = pg_put_table_away(c, t, table, e);
	if (r == 0)
		r = pg_foreign_keys_away(c, oid, t->origin && !c->role.superuser, e);
	if (r == 0)
		r = pg_role_set(c, !t->origin, e);
	if (r == 0 && x->published)
		r = pg_identify_rows(c, table, oid, e);
	return r;
}

int pg_change_touch(struct pg_conn *c, const char *table, struct err *e)
{
	struct pg_change *x = &c->change;
	int r = pg_check_write(c, table, e);
	if (r < 0 || !x->on)
		return r;
	const char *oid = pg_listing_oid(&c->listing, table);
	if (!oid)
		return err_set(e, EINVAL, "%s: no such table when the transaction began", table);
	struct pg_touched *t = pg_touched_find(c, oid);
	if (!t) {
		r = pg_touch_first(c, table, oid, e);
		if (r < 0)
			return r;
		t = pg_touched_find(c, oid);
	}
	return pg_role_set(c, !t->origin, e);
}

struct pg_touched *pg_touched_find(const struct pg_conn *c, const char *oid)
{
	for (size_t i = 0; i < c->change.n_touched; i++)
		if (!strcmp(c->change.touched[i].oid, oid))
			return &c->change.touched[i];
	return NULL;
}

int pg_change_loaded(struct pg_conn *c, const char *table, struct err *e)
{
	const char *oid = c->change.on ? pg_listing_oid(&c->listing, table) : NULL;
	const struct pg_touched *t = oid ? pg_touched_find(c, oid) : NULL;
	if (!t || !t->origin)
		return 0;
	/* Deletes come before loads, so the table holds what it is to hold. Until it is done, definitions cannot be
	 * brought back. */
	return pg_query(c, NULL, table, "SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, e);
}

/* ---- the way back ---- */

int pg_change_end(struct db_conn *conn, struct strbuf *orphans, struct strbuf *outside, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct pg_change *x = &c->change;
	int r = pg_check_write(c, "change", e);
	if (r < 0 || !x->on)
		return r;
	r = pg_role_set(c, true, e);
	if (r == 0)
		r = pg_foreign_keys_back(c, orphans, outside, e);
	for (const struct pg_undo *u = x->undo; r == 0 && u; u = u->next)
		r = pg_query(c, NULL, u->what, u->sql, 0, NULL, e);
	if (r == 0)
		r = pg_role_set(c, false, e);
	x->on = r < 0;
	return r;
}

/* What is computed from rows that were changed. */
int pg_refresh(struct db_conn *conn, struct strbuf *warnings, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	int r = pg_check_write(c, "materialized views", e);
	if (r < 0)
		return r;
	_cleanup_free_ char **oids = xcalloc(c->change.n_touched + 1, sizeof *oids);
	for (size_t i = 0; i < c->change.n_touched; i++)
		oids[i] = c->change.touched[i].oid;
	r = pg_role_set(c, true, e); /* event triggers */
	if (r == 0)
		r = pg_refresh_views(c, oids, c->change.n_touched, NULL, 0, warnings, e);
	return r == 0 ? pg_role_set(c, false, e) : r;
}
