/*
 * drivers/postgres/foreign_key.c - the foreign keys of tables whose rows are changed: put away where they would act, and
 * afterwards asked for rows without their parent.
 *
 * Owns the keys in struct pg_conn's `change`; no locks. All that the catalog says of them is read at once, before any is
 * put away: it is the same few queries for one key and for a thousand.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>
#include <inttypes.h>

void pg_foreign_keys_done(struct pg_change *x)
{
	for (size_t i = 0; i < x->n_keys; i++) {
		struct pg_foreign_key *k = &x->keys[i];
		free(k->oid);
		free(k->name);
		free(k->definition);
		free(k->comment);
		free(k->tables);
		free(k->child.name);
		free(k->child.oid);
		free(k->parent.name);
		free(k->parent.oid);
		strbuf_done(&k->orphans);
	}
	free(x->keys);
	x->keys = NULL;
	x->n_keys = 0;
}

/* ---- what the catalog says ---- */

/* Foreign keys of and to the tables ($1), as the outermost partitioned table has them, with those of the tables that
 * each is about. What is not in the snapshot is in another schema ($2), is excluded ($3) or belongs to an extension. */
static const char pg_foreign_keys[] =
    "WITH RECURSIVE k(start, oid, parent) AS (SELECT s.oid, c.oid, c.conparentid FROM pg_catalog.pg_constraint c"
    " JOIN pg_catalog.unnest($1::pg_catalog.oid[]) s(oid) ON s.oid IN (c.conrelid, c.confrelid) WHERE c.contype = 'f'"
    " UNION SELECT k.start, c.oid, c.conparentid FROM k JOIN pg_catalog.pg_constraint c ON c.oid = k.parent),"
    " roots(oid, tables) AS (SELECT k.oid, pg_catalog.string_agg(k.start::pg_catalog.text, ' ') FROM k"
    "  WHERE k.parent = 0 GROUP BY k.oid),"
    " ends(oid, name, outside) AS (SELECT t.oid, pg_catalog.format('%I.%I', n.nspname, t.relname),"
    "  n.nspname <> $2 OR t.oid = ANY ($3::pg_catalog.oid[]) OR EXISTS (SELECT FROM pg_catalog.pg_depend d"
    "   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')"
    "  FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace)"
    " SELECT c.oid, c.conname, pg_catalog.pg_get_constraintdef(c.oid),"
    " pg_catalog.obj_description(c.oid, 'pg_constraint'), c.convalidated,"
    " pg_catalog.to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false', r.tables,"
    " f.oid, f.name, f.outside, p.oid, p.name, p.outside"
    " FROM roots r JOIN pg_catalog.pg_constraint c ON c.oid = r.oid JOIN ends f ON f.oid = c.conrelid"
    " JOIN ends p ON p.oid = c.confrelid ORDER BY f.name, c.conname";

/* The columns of foreign keys, and how the server compares them. */
static const char pg_key_columns[] =
    "SELECT c.oid, fa.attname, pa.attname, pg_catalog.format('OPERATOR(%I.%s)', opn.nspname, o.oprname),"
    " c.confmatchtype, ft.relkind, pt.relkind, CASE WHEN fa.attcollation <> pa.attcollation THEN"
    " pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname) ELSE '' END"
    " FROM pg_catalog.pg_constraint c CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(c.conkey),"
    " pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conpfeqop)) WITH ORDINALITY AS k(f, p, op, place)"
    " JOIN pg_catalog.pg_attribute fa ON fa.attrelid = c.conrelid AND fa.attnum = k.f"
    " JOIN pg_catalog.pg_attribute pa ON pa.attrelid = c.confrelid AND pa.attnum = k.p"
    " JOIN pg_catalog.pg_operator o ON o.oid = k.op"
    " JOIN pg_catalog.pg_namespace opn ON opn.oid = o.oprnamespace"
    " JOIN pg_catalog.pg_class ft ON ft.oid = c.conrelid JOIN pg_catalog.pg_class pt ON pt.oid = c.confrelid"
    " LEFT JOIN pg_catalog.pg_collation co ON co.oid = pa.attcollation"
    " LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace"
    " WHERE c.oid = ANY ($1::pg_catalog.oid[]) ORDER BY c.oid, k.place";

static struct pg_foreign_key *pg_find_key(struct pg_change *x, const char *oid)
{
	for (size_t i = 0; i < x->n_keys; i++)
		if (!strcmp(x->keys[i].oid, oid))
			return &x->keys[i];
	return NULL;
}

/* Sets k->orphans: counts the orphans the way the server's own RI_Initial_Check looks for them. Rows first to last - 1
 * are the key's columns. */
static void pg_orphan_query(struct pg_foreign_key *k, const PGresult *res, int first, int last)
{
	_cleanup_strbuf_ struct strbuf on = {0}, set = {0}, some = {0};
	for (int i = first; i < last; i++) {
		_cleanup_strbuf_ struct strbuf f = {0}, p = {0};
		const char *collation = PQgetvalue(res, i, 7), *next = i > first ? " AND " : "";
		strbuf_adds(&f, "f.");
		pg_add_ident(&f, PQgetvalue(res, i, 1));
		strbuf_adds(&p, "p.");
		pg_add_ident(&p, PQgetvalue(res, i, 2));
		strbuf_addf(&on, "%s%s%s %s %s%s", next, strbuf_str(&p), collation, PQgetvalue(res, i, 3),
			    strbuf_str(&f), collation);
		strbuf_addf(&set, "%s%s IS NOT NULL", next, strbuf_str(&f));
		strbuf_addf(&some, "%s%s IS NOT NULL", i > first ? " OR " : "", strbuf_str(&f));
	}
	/* A partitioned table holds its rows in others; of an ordinary one, children are none of the key's business.
	 * MATCH FULL: all columns are null, or none is. */
	strbuf_addf(&k->orphans,
		    "SELECT pg_catalog.count(*) FROM %s%s AS f WHERE (%s) AND NOT EXISTS (SELECT FROM %s%s AS p"
		    " WHERE %s)",
		    *PQgetvalue(res, first, 5) == 'p' ? "" : "ONLY ", k->child.name,
		    *PQgetvalue(res, first, 4) == 'f' ? strbuf_str(&some) : strbuf_str(&set),
		    *PQgetvalue(res, first, 6) == 'p' ? "" : "ONLY ", k->parent.name, strbuf_str(&on));
}

static int pg_read_key_columns(struct pg_conn *c, char *const *oids, size_t n, struct err *e)
{
	_cleanup_strbuf_ struct strbuf array = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&array, oids, n);
	const char *params[] = {strbuf_str(&array)};
	int r = pg_query(c, &res, "cannot read the foreign keys", pg_key_columns, 1, params, e);
	for (int i = 0, next; r == 0 && i < PQntuples(res); i = next) {
		const char *oid = PQgetvalue(res, i, 0);
		for (next = i; next < PQntuples(res) && !strcmp(PQgetvalue(res, next, 0), oid);)
			next++;
		struct pg_foreign_key *k = pg_find_key(&c->change, oid);
		if (k)
			pg_orphan_query(k, res, i, next);
	}
	return r;
}

int pg_foreign_keys_read(struct pg_conn *c, char *const *tables, size_t n, struct err *e)
{
	struct pg_change *x = &c->change;
	_cleanup_strbuf_ struct strbuf array = {0}, excluded = {0};
	_cleanup_result_ PGresult *res = NULL;
	if (!n)
		return 0;
	pg_add_oid_array(&array, tables, n);
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {strbuf_str(&array), c->schema, strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list the foreign keys", pg_foreign_keys, 3, params, e);
	if (r < 0)
		return r;
	size_t n_new = 0;
	_cleanup_free_ char **oids = xcalloc((size_t)PQntuples(res) + 1, sizeof *oids);
	x->keys = xrealloc(x->keys, (x->n_keys + (size_t)PQntuples(res) + 1) * sizeof *x->keys);
	for (int i = 0; i < PQntuples(res); i++) {
		struct pg_foreign_key *k = &x->keys[x->n_keys++];
		*k = (struct pg_foreign_key){
		    .oid = xstrdup(PQgetvalue(res, i, 0)),
		    .name = xstrdup(PQgetvalue(res, i, 1)),
		    .definition = xstrdup(PQgetvalue(res, i, 2)),
		    .comment = xstrdup(pg_cell(res, i, 3)),
		    .validated = *PQgetvalue(res, i, 4) == 't',
		    .enforced = *PQgetvalue(res, i, 5) == 't',
		    .tables = xasprintf(" %s ", PQgetvalue(res, i, 6)),
		    .child = {.oid = xstrdup(PQgetvalue(res, i, 7)),
			      .name = xstrdup(PQgetvalue(res, i, 8)),
			      .outside = *PQgetvalue(res, i, 9) == 't'},
		    .parent = {.oid = xstrdup(PQgetvalue(res, i, 10)),
			       .name = xstrdup(PQgetvalue(res, i, 11)),
			       .outside = *PQgetvalue(res, i, 12) == 't'},
		};
		/* 18's temporal keys compare periods, not values: only the server can look for their orphans. */
		k->period = strstr(k->definition, "PERIOD ") != NULL;
		oids[n_new++] = k->oid;
	}
	return n_new ? pg_read_key_columns(c, oids, n_new, e) : 0;
}

/* ---- before the changes ---- */

static int pg_count_orphans(struct pg_conn *c, const struct pg_foreign_key *k, uint64_t *ret, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, k->child.name, strbuf_str(&k->orphans), 0, NULL, e);
	if (r < 0) {
		err_prefix(e, "cannot look for rows without their parent by foreign key %s", k->name);
		return r;
	}
	*ret = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	return 0;
}

static int pg_drop_foreign_key(struct pg_conn *c, struct pg_foreign_key *k, struct err *e)
{
	_cleanup_strbuf_ struct strbuf name = {0};
	pg_add_ident(&name, k->name);
	int r = pg_do(c, e, k->child.name, "ALTER TABLE %s DROP CONSTRAINT %s", k->child.name, strbuf_str(&name));
	if (r < 0) {
		err_prefix(e, "foreign key %s must be put away while the rows are changed", k->name);
		return r;
	}
	k->dropped = true;
	return 0;
}

/* Rows that others write meanwhile into the table at the key's other end must not be missed. */
static int pg_check_locked(const struct pg_conn *c, const struct pg_foreign_key *k, const struct pg_key_end *end,
			   struct err *e)
{
	const struct pg_outside *o = end->outside ? pg_listing_outside(&c->listing, end->oid) : NULL;
	if (!o || o->may_lock)
		return 0;
	return err_set(e, EACCES,
		       "%s, which foreign key %s binds to these tables, may not be locked: GRANT SELECT, UPDATE ON %s"
		       " TO \"%s\"",
		       end->name, k->name, end->name, PQuser(c->pg));
}

int pg_foreign_keys_away(struct pg_conn *c, const char *oid, bool drop, struct err *e)
{
	_cleanup_free_ char *word = xasprintf(" %s ", oid);
	for (size_t i = 0; i < c->change.n_keys; i++) {
		struct pg_foreign_key *k = &c->change.keys[i];
		if (!strstr(k->tables, word) || k->dropped)
			continue;
		int r = pg_check_locked(c, k, &k->child, e);
		if (r == 0)
			r = pg_check_locked(c, k, &k->parent, e);
		/* What was never validated may have orphans already; those are nobody's doing. */
		if (r == 0 && !k->touched && k->enforced && !k->validated && !k->period &&
		    (k->child.outside || k->parent.outside))
			r = pg_count_orphans(c, k, &k->before, e);
		if (r == 0 && (drop || k->period))
			r = pg_drop_foreign_key(c, k, e);
		if (r < 0)
			return r;
		k->touched = true;
	}
	return 0;
}

/* ---- after them ---- */

static int pg_tell_outside(const struct pg_foreign_key *k, uint64_t n, struct strbuf *outside, struct err *e)
{
	_cleanup_free_ char *words =
	    k->child.outside
		? xasprintf("%s, which is not in the snapshot: %" PRIu64
			    " rows without their parent in %s by foreign key %s",
			    k->child.name, n, k->parent.name, k->name)
		: xasprintf("%s: %" PRIu64
			    " rows without their parent in %s, which is not in the snapshot, by foreign key %s",
			    k->child.name, n, k->parent.name, k->name);
	if (outside) {
		strbuf_addf(outside, "%s: left broken\n", words);
		return 0;
	}
	int r = err_set(e, EEXIST, "%s would be left", words);
	memcpy(e->sqlstate, "23503", 6);
	return r;
}

static int pg_tell_orphans(const struct pg_foreign_key *k, uint64_t n, struct strbuf *orphans, struct strbuf *outside,
			   struct err *e)
{
	if (k->child.outside || k->parent.outside)
		return pg_tell_outside(k, n, outside, e);
	if (orphans) {
		strbuf_addf(orphans,
			    "%s: %" PRIu64 " rows without their parent by foreign key %s, as in the snapshot\n",
			    k->child.name, n, k->name);
		return 0;
	}
	int r = err_set(e, EEXIST, "%s: %" PRIu64 " rows without their parent: foreign key %s would be violated",
			k->child.name, n, k->name);
	memcpy(e->sqlstate, "23503", 6);
	return r;
}

/* A key that was dropped. With orphans that may stay it comes back unvalidated. */
static int pg_add_foreign_key(struct pg_conn *c, const struct pg_foreign_key *k, struct strbuf *orphans,
			      struct strbuf *outside, struct err *e)
{
	_cleanup_strbuf_ struct strbuf name = {0}, add = {0};
	struct err refusal = ERR_INIT;
	uint64_t n = 0;
	pg_add_ident(&name, k->name);
	strbuf_addf(&add, "ALTER TABLE %s ADD CONSTRAINT %s %s", k->child.name, strbuf_str(&name), k->definition);
	int r = pg_do(c, &refusal, k->name, "SAVEPOINT metasnap_key; %s; RELEASE metasnap_key", strbuf_str(&add));
	if (r < 0 && strcmp(refusal.sqlstate, "23503")) {
		*e = refusal;
		return r;
	}
	if (r < 0) {
		r = pg_query(c, NULL, "cannot go on", "ROLLBACK TO metasnap_key; RELEASE metasnap_key", 0, NULL, e);
		if (r == 0 && !k->period)
			r = pg_count_orphans(c, k, &n, e);
		if (r == 0)
			r = pg_tell_orphans(k, n, orphans, outside, e);
		if (r == 0)
			r = pg_do(c, e, k->name, "%s NOT VALID", strbuf_str(&add));
		if (r == 0)
			strbuf_addf(k->child.outside || k->parent.outside ? outside : orphans,
				    "%s: foreign key %s is NOT VALID now\n", k->child.name, k->name);
	}
	if (r < 0 || !k->comment)
		return r;
	strbuf_clear(&add);
	strbuf_addf(&add, "COMMENT ON CONSTRAINT %s ON %s IS ", strbuf_str(&name), k->child.name);
	pg_add_literal(&add, k->comment);
	return pg_query(c, NULL, k->name, strbuf_str(&add), 0, NULL, e);
}

int pg_foreign_keys_back(struct pg_conn *c, struct strbuf *orphans, struct strbuf *outside, struct err *e)
{
	for (size_t i = 0; i < c->change.n_keys; i++) {
		const struct pg_foreign_key *k = &c->change.keys[i];
		uint64_t n = 0;
		bool edge = k->child.outside || k->parent.outside;
		int r = 0;
		if (!k->touched)
			continue;
		if (k->dropped)
			r = pg_add_foreign_key(c, k, orphans, outside, e);
		/* What was never validated (NOT VALID) is not validated by us; but over the edge of the snapshot it must
		 * not become worse. */
		if (r == 0 && k->enforced && !k->period && (k->validated ? !k->dropped : edge))
			r = pg_count_orphans(c, k, &n, e);
		if (r == 0 && n > k->before)
			r = pg_tell_orphans(k, n - k->before, orphans, outside, e);
		if (r < 0)
			return r;
	}
	return 0;
}
