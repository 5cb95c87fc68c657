/*
 * drivers/postgres/change.c - changing rows of tables that stay: foreign keys, triggers and rules put away and brought
 * back, rows deleted by key.
 *
 * Owns struct pg_conn's `change`; no locks. What hangs on a table is put away at the first change to it, so that a
 * restore which changes two tables touches the definitions of two. All of it is inside the one transaction.
 *
 * Foreign keys: where session_replication_role may be set (superuser, or PostgreSQL 15's GRANT SET ON PARAMETER) they
 * stay defined, do not act, and change_end looks for orphans itself; else they are dropped and added again, which
 * validates them. Both ways ON DELETE CASCADE does not act: a parent deleted and inserted again keeps its children.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

#include "base/text.h"

#define PG_DELETE_ROWS 5000
#define PG_DELETE_BYTES (1 << 20)

void pg_change_done(struct pg_conn *c)
{
	while (c->change.undo) {
		struct pg_undo *next = c->change.undo->next;
		free(c->change.undo->sql);
		free(c->change.undo->what);
		free(c->change.undo);
		c->change.undo = next;
	}
	for (size_t i = 0; i < c->change.n_touched; i++)
		free(c->change.touched[i]);
	free(c->change.touched);
	c->change = (struct pg_change){0};
}

static void pg_push_undo(struct pg_conn *c, char *sql, char *what)
{
	struct pg_undo *u = xcalloc(1, sizeof *u);
	*u = (struct pg_undo){.sql = sql, .what = what, .next = c->change.undo};
	c->change.undo = u;
}

int pg_change_begin(struct db_conn *conn, const struct db_schema *s, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct err refusal = ERR_INIT;
	(void)s; /* tables are prepared as they are changed */
	int r = pg_check_write(c, "change", e);
	if (r < 0)
		return r;
	r = pg_query(c, NULL, "session_replication_role",
		     "SAVEPOINT metasnap_role; SET LOCAL session_replication_role = replica", 0, NULL, &refusal);
	if (!r) {
		c->change.replica = true;
	} else if (strcmp(refusal.sqlstate, "42501")) {
		*e = refusal;
		return r;
	} else {
		r = pg_query(c, NULL, "session_replication_role", "ROLLBACK TO metasnap_role", 0, NULL, e);
		if (r < 0)
			return r;
	}
	r = pg_query(c, NULL, "session_replication_role", "RELEASE metasnap_role", 0, NULL, e);
	if (r < 0)
		return r;
	c->change.on = true;
	return 0;
}

/* ---- what hangs on a table ---- */

/* User triggers and rules that would act on our changes: those not disabled; with the replica role on, those that are
 * enabled for replicas or always. Each is disabled, and later put back as it was. */
static int pg_disable_triggers(struct pg_conn *c, const char *table, const char *oid, struct err *e)
{
	static const char sql[] =
	    "SELECT 'TRIGGER', t.tgname, t.tgenabled FROM pg_catalog.pg_trigger t"
	    " WHERE t.tgrelid = $1::pg_catalog.oid AND NOT t.tgisinternal"
	    " AND t.tgenabled = ANY ($2::pg_catalog.\"char\"[]) UNION ALL"
	    " SELECT 'RULE', r.rulename, r.ev_enabled FROM pg_catalog.pg_rewrite r"
	    " WHERE r.ev_class = $1::pg_catalog.oid"
	    " AND r.rulename <> '_RETURN' AND r.ev_enabled = ANY ($2::pg_catalog.\"char\"[]) ORDER BY 1, 2";
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {oid, c->change.replica ? "{R,A}" : "{O,R,A}"};
	int r = pg_query(c, &res, table, sql, 2, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		_cleanup_strbuf_ struct strbuf alter = {0}, rest = {0};
		const char *kind = PQgetvalue(res, i, 0);
		char state = *PQgetvalue(res, i, 2);
		strbuf_adds(&alter, "ALTER TABLE ");
		pg_add_relation(&alter, c, table);
		strbuf_addf(&rest, "%s ", kind);
		pg_add_ident(&rest, PQgetvalue(res, i, 1));
		r = pg_do(c, e, table, "%s DISABLE %s", strbuf_str(&alter), strbuf_str(&rest));
		if (r < 0)
			return r;
		pg_push_undo(c,
			     xasprintf("%s ENABLE %s%s", strbuf_str(&alter),
				       state == 'A'   ? "ALWAYS "
				       : state == 'R' ? "REPLICA "
						      : "",
				       strbuf_str(&rest)),
			     xstrdup(PQgetvalue(res, i, 1)));
	}
	return 0;
}

/* Foreign keys of and to the tables, as the outermost partitioned table has them. $1: oids of tables. */
static const char pg_foreign_keys[] =
    "WITH RECURSIVE k(oid, parent) AS (SELECT c.oid, c.conparentid FROM pg_catalog.pg_constraint c"
    " WHERE c.contype = 'f'"
    " AND (c.conrelid = ANY ($1::pg_catalog.oid[]) OR c.confrelid = ANY ($1::pg_catalog.oid[]))"
    " UNION SELECT c.oid, c.conparentid FROM k JOIN pg_catalog.pg_constraint c ON c.oid = k.parent)"
    " SELECT c.oid, n.nspname, t.relname, c.conname, pg_catalog.pg_get_constraintdef(c.oid),"
    " pg_catalog.obj_description(c.oid, 'pg_constraint'), c.convalidated, t.relkind FROM k"
    " JOIN pg_catalog.pg_constraint c ON c.oid = k.oid JOIN pg_catalog.pg_class t ON t.oid = c.conrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace WHERE c.conparentid = 0"
    " ORDER BY n.nspname, t.relname, c.conname";

static int pg_drop_foreign_keys(struct pg_conn *c, const char *table, const char *oid, struct err *e)
{
	_cleanup_free_ char *array = xasprintf("{%s}", oid);
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {array};
	int r = pg_query(c, &res, table, pg_foreign_keys, 1, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		struct strbuf again = {0};
		_cleanup_strbuf_ struct strbuf name = {0}, relation = {0};
		pg_add_ident(&relation, PQgetvalue(res, i, 1));
		strbuf_addch(&relation, '.');
		pg_add_ident(&relation, PQgetvalue(res, i, 2));
		pg_add_ident(&name, PQgetvalue(res, i, 3));
		r = pg_do(c, e, table, "ALTER TABLE %s DROP CONSTRAINT %s", strbuf_str(&relation), strbuf_str(&name));
		if (r < 0)
			return r;
		strbuf_addf(&again, "ALTER TABLE %s ADD CONSTRAINT %s %s", strbuf_str(&relation), strbuf_str(&name),
			    PQgetvalue(res, i, 4));
		if (!PQgetisnull(res, i, 5)) {
			strbuf_addf(&again, "; COMMENT ON CONSTRAINT %s ON %s IS ", strbuf_str(&name),
				    strbuf_str(&relation));
			pg_add_literal(&again, PQgetvalue(res, i, 5));
		}
		pg_push_undo(c, strbuf_detach(&again), xstrdup(PQgetvalue(res, i, 3)));
	}
	return 0;
}

int pg_change_touch(struct pg_conn *c, const char *table, struct err *e)
{
	int r = pg_check_write(c, table, e);
	if (r < 0 || !c->change.on)
		return r;
	const char *oid = pg_listing_oid(&c->listing, table);
	if (!oid)
		return err_set(e, EINVAL, "%s: no such table when the transaction began", table);
	for (size_t i = 0; i < c->change.n_touched; i++)
		if (!strcmp(c->change.touched[i], oid))
			return 0;
	r = pg_disable_triggers(c, table, oid, e);
	if (r < 0)
		return r;
	r = c->change.replica ? 0 : pg_drop_foreign_keys(c, table, oid, e);
	if (r < 0)
		return r;
	c->change.touched = xrealloc(c->change.touched, (c->change.n_touched + 1) * sizeof *c->change.touched);
	c->change.touched[c->change.n_touched++] = xstrdup(oid);
	return 0;
}

/* ---- the way back ---- */

/* One query that finds an orphan of foreign key `oid`, the way the server's own RI_Initial_Check looks for it. */
static int pg_orphan_query(struct pg_conn *c, const char *oid, struct strbuf *sql, struct err *e)
{
	static const char columns[] =
	    "SELECT fa.attname, pa.attname, on1.nspname, o.oprname, c.confmatchtype, fn.nspname, ft.relname,"
	    " ft.relkind, pn.nspname, pt.relname, pt.relkind, CASE WHEN fa.attcollation <> pa.attcollation THEN"
	    " pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname) END, c.conname"
	    " FROM pg_catalog.pg_constraint c CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(c.conkey),"
	    " pg_catalog.unnest(c.confkey),  pg_catalog.unnest(c.conpfeqop)) WITH ORDINALITY AS k(f, p, op, place)"
	    " JOIN pg_catalog.pg_attribute fa ON fa.attrelid = c.conrelid AND fa.attnum = k.f"
	    " JOIN pg_catalog.pg_attribute pa ON pa.attrelid = c.confrelid AND pa.attnum = k.p"
	    " JOIN pg_catalog.pg_operator o ON o.oid = k.op"
	    " JOIN pg_catalog.pg_namespace on1 ON on1.oid = o.oprnamespace"
	    " JOIN pg_catalog.pg_class ft ON ft.oid = c.conrelid"
	    " JOIN pg_catalog.pg_namespace fn ON fn.oid = ft.relnamespace"
	    " JOIN pg_catalog.pg_class pt ON pt.oid = c.confrelid"
	    " JOIN pg_catalog.pg_namespace pn ON pn.oid = pt.relnamespace"
	    " LEFT JOIN pg_catalog.pg_collation co ON co.oid = pa.attcollation"
	    " LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace"
	    " WHERE c.oid = $1::pg_catalog.oid ORDER BY k.place";
	_cleanup_result_ PGresult *res = NULL;
	_cleanup_strbuf_ struct strbuf on = {0}, set = {0}, some = {0};
	const char *params[] = {oid};
	int r = pg_query(c, &res, "cannot read a foreign key", columns, 1, params, e);
	if (r < 0)
		return r;
	if (!PQntuples(res))
		return err_set(e, EIO, "a foreign key has no columns in the catalog");
	for (int i = 0; i < PQntuples(res); i++) {
		strbuf_adds(&on, i ? " AND p." : "p.");
		pg_add_ident(&on, PQgetvalue(res, i, 1));
		if (!PQgetisnull(res, i, 11))
			strbuf_addf(&on, " COLLATE %s", PQgetvalue(res, i, 11));
		strbuf_adds(&on, " OPERATOR(");
		pg_add_ident(&on, PQgetvalue(res, i, 2));
		strbuf_addf(&on, ".%s) f.", PQgetvalue(res, i, 3));
		pg_add_ident(&on, PQgetvalue(res, i, 0));
		if (!PQgetisnull(res, i, 11))
			strbuf_addf(&on, " COLLATE %s", PQgetvalue(res, i, 11));
		strbuf_adds(&set, i ? " AND f." : "f.");
		pg_add_ident(&set, PQgetvalue(res, i, 0));
		strbuf_adds(&set, " IS NOT NULL");
		strbuf_adds(&some, i ? " OR f." : "f.");
		pg_add_ident(&some, PQgetvalue(res, i, 0));
		strbuf_adds(&some, " IS NOT NULL");
	}
	/* A partitioned table holds its rows in others; of an ordinary one, children are none of the key's business. */
	strbuf_addf(sql, "SELECT 1 FROM %s", *PQgetvalue(res, 0, 7) == 'p' ? "" : "ONLY ");
	pg_add_ident(sql, PQgetvalue(res, 0, 5));
	strbuf_addch(sql, '.');
	pg_add_ident(sql, PQgetvalue(res, 0, 6));
	strbuf_addf(sql, " AS f WHERE (%s) AND NOT EXISTS (SELECT FROM %s",
		    /* MATCH FULL: all columns are null, or none is */
		    *PQgetvalue(res, 0, 4) == 'f' ? strbuf_str(&some) : strbuf_str(&set),
		    *PQgetvalue(res, 0, 10) == 'p' ? "" : "ONLY ");
	pg_add_ident(sql, PQgetvalue(res, 0, 8));
	strbuf_addch(sql, '.');
	pg_add_ident(sql, PQgetvalue(res, 0, 9));
	strbuf_addf(sql, " AS p WHERE %s) LIMIT 1", strbuf_str(&on));
	return 0;
}

static int pg_find_orphans(struct pg_conn *c, struct strbuf *orphans, struct err *e)
{
	_cleanup_strbuf_ struct strbuf array = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&array, c->change.touched, c->change.n_touched);
	const char *params[] = {strbuf_str(&array)};
	int r = pg_query(c, &res, "cannot list the foreign keys", pg_foreign_keys, 1, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		_cleanup_strbuf_ struct strbuf sql = {0};
		_cleanup_result_ PGresult *orphan = NULL;
		/* What was never validated (NOT VALID, and 18's NOT ENFORCED) is not validated by us. */
		if (*PQgetvalue(res, i, 6) != 't')
			continue;
		/* 18's temporal keys compare periods, not values. */
		if (strstr(PQgetvalue(res, i, 4), "PERIOD "))
			return err_set(e, ENOTSUP,
				       "foreign key %s of %s is over a period, which metasnap cannot validate",
				       PQgetvalue(res, i, 3), PQgetvalue(res, i, 2));
		r = pg_orphan_query(c, PQgetvalue(res, i, 0), &sql, e);
		if (r < 0)
			return r;
		r = pg_query(c, &orphan, "cannot validate a foreign key", strbuf_str(&sql), 0, NULL, e);
		if (r < 0)
			return r;
		if (!PQntuples(orphan))
			continue;
		if (!orphans) {
			r = err_set(e, EEXIST, "%s: rows without their parent: foreign key %s would be violated",
				    PQgetvalue(res, i, 2), PQgetvalue(res, i, 3));
			memcpy(e->sqlstate, "23503", 6);
			return r;
		}
		strbuf_addf(orphans, "%s: rows without their parent by foreign key %s, as in the snapshot\n",
			    PQgetvalue(res, i, 2), PQgetvalue(res, i, 3));
	}
	return 0;
}

int pg_change_end(struct db_conn *conn, struct strbuf *orphans, struct strbuf *outside, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	(void)outside;
	int r = pg_check_write(c, "change", e);
	if (r < 0 || !c->change.on)
		return r;
	if (c->change.replica) {
		r = pg_find_orphans(c, orphans, e);
		if (r < 0)
			return r;
		r = pg_query(c, NULL, "session_replication_role", "SET LOCAL session_replication_role = origin", 0,
			     NULL, e);
		if (r < 0)
			return r;
	}
	for (struct pg_undo *u = c->change.undo; u; u = u->next) {
		r = pg_query(c, NULL, u->what, u->sql, 0, NULL, e);
		if (r < 0)
			return r;
	}
	pg_change_done(c);
	return 0;
}

/* ---- deleting ---- */

static void pg_add_delete(struct strbuf *sql, struct pg_conn *c, const struct db_table *t)
{
	strbuf_adds(sql, "DELETE FROM ONLY ");
	pg_add_relation(sql, c, t->name);
	strbuf_adds(sql, " AS t USING ROWS FROM (");
	for (size_t k = 0; k < t->n_key; k++)
		strbuf_addf(sql, "%spg_catalog.unnest($%zu::pg_catalog.text[])", k ? ", " : "", k + 1);
	strbuf_adds(sql, ") WITH ORDINALITY AS k(");
	for (size_t k = 0; k < t->n_key; k++)
		strbuf_addf(sql, "k%zu, ", k + 1);
	strbuf_adds(sql, "n) WHERE ");
	for (size_t k = 0; k < t->n_key; k++) {
		const struct db_column *column = &t->columns[t->key[k]];
		strbuf_adds(sql, k ? " AND t." : "t.");
		pg_add_ident(sql, column->name);
		/* The value came from this column, so the cast to its type, length included, gives it exactly. */
		strbuf_addf(sql, " = k.k%zu::%s", k + 1, column->type);
	}
	strbuf_adds(sql, " RETURNING k.n");
	for (size_t k = 0; k < t->n_key; k++) {
		strbuf_adds(sql, ", t.");
		pg_add_ident(sql, t->columns[t->key[k]].name);
	}
}

/* Whether what the server deleted (by RETURNING) is what was asked for: `=` of a type may hold for values that differ,
 * and a comparison of counts would not tell. */
static int pg_check_deleted(const PGresult *res, const struct db_table *t, const struct db_value *keys, size_t n,
			    struct err *e)
{
	_cleanup_free_ bool *seen = xcalloc(n, sizeof *seen);
	_cleanup_strbuf_ struct strbuf hex = {0};
	if ((size_t)PQntuples(res) != n)
		return err_set(e, EIO, "%s: %zu rows were to be deleted by key, the server deleted %d", t->name, n,
			       PQntuples(res));
	for (int i = 0; i < PQntuples(res); i++) {
		unsigned long long at = strtoull(PQgetvalue(res, i, 0), NULL, 10);
		bool exact = at >= 1 && at <= n && !seen[at - 1];
		for (size_t k = 0; exact && k < t->n_key; k++) {
			const struct db_value *v = &keys[(at - 1) * t->n_key + k];
			const char *data = v->data, *got = PQgetvalue(res, i, (int)k + 1);
			size_t len = v->len, got_len = (size_t)PQgetlength(res, i, (int)k + 1);
			if (t->columns[t->key[k]].form == DB_FORM_BINARY) {
				strbuf_clear(&hex);
				strbuf_adds(&hex, "\\x");
				hex_add(&hex, v->data, v->len);
				data = strbuf_str(&hex);
				len = hex.len;
			}
			exact = v->data && got_len == len && !memcmp(got, data, len);
		}
		if (!exact)
			return err_set(e, EIO, "%s: the server deleted another row than the one asked for", t->name);
		seen[at - 1] = true;
	}
	return 0;
}

/* The keys of one DELETE, column by column. */
struct pg_keys {
	struct strbuf *arrays;
	const char **params;
	size_t n; /* columns */
};

static void pg_keys_done(struct pg_keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		strbuf_done(&k->arrays[i]);
	free(k->arrays);
	free(k->params);
}

/* Fills in as many of the keys as one statement takes; returns how many that are. */
static size_t pg_keys_fill(struct pg_keys *x, const struct db_table *t, const struct db_value *keys, size_t n_rows)
{
	size_t row = 0, bytes = 0;
	for (size_t k = 0; k < x->n; k++)
		strbuf_clear(&x->arrays[k]);
	for (; row < n_rows && row < PG_DELETE_ROWS && bytes < PG_DELETE_BYTES; row++)
		for (size_t k = 0; k < x->n; k++) {
			const struct db_value *v = &keys[row * x->n + k];
			strbuf_addch(&x->arrays[k], row ? ',' : '{');
			if (v->data)
				pg_add_element(&x->arrays[k], v, t->columns[t->key[k]].form == DB_FORM_BINARY);
			else
				strbuf_adds(&x->arrays[k], "NULL");
			bytes += v->len + 3;
		}
	for (size_t k = 0; k < x->n; k++) {
		strbuf_addch(&x->arrays[k], '}');
		x->params[k] = strbuf_str(&x->arrays[k]);
	}
	return row;
}

int pg_delete_keys(struct db_conn *conn, const struct db_table *t, const struct db_value *keys, size_t n_rows,
		   struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_strbuf_ struct strbuf sql = {0};
	if (t->key_kind != DB_KEY_UNIQUE || !t->n_key)
		return err_set(e, EINVAL, "%s: rows without a unique key cannot be deleted by key", t->name);
	int r = pg_change_touch(c, t->name, e);
	if (r < 0)
		return r;
	pg_add_delete(&sql, c, t);
	_cleanup_(pg_keys_done) struct pg_keys x = {.arrays = xcalloc(t->n_key, sizeof *x.arrays),
						    .params = xcalloc(t->n_key, sizeof *x.params),
						    .n = t->n_key};
	while (n_rows) {
		_cleanup_result_ PGresult *res = NULL;
		size_t n = pg_keys_fill(&x, t, keys, n_rows);
		r = pg_query(c, &res, t->name, strbuf_str(&sql), (int)t->n_key, x.params, e);
		if (r < 0)
			return r;
		r = pg_check_deleted(res, t, keys, n, e);
		if (r < 0)
			return r;
		keys += n * t->n_key;
		n_rows -= n;
	}
	return 0;
}

int pg_delete_all(struct db_conn *conn, const struct db_table *t, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = pg_change_touch(c, t->name, e);
	if (r < 0)
		return r;
	/* Not TRUNCATE: it is not MVCC-safe, a reader with an older snapshot would see an empty table. */
	strbuf_adds(&sql, "DELETE FROM ONLY ");
	pg_add_relation(&sql, c, t->name);
	return pg_query(c, NULL, t->name, strbuf_str(&sql), 0, NULL, e);
}
