/*
 * drivers/postgres/drop.c - drops all that is in the schema, but for what is excluded, before a rebuild.
 *
 * Inside the open transaction. Nothing is dropped by CASCADE: what hangs on the schema from outside makes an honest
 * error. No state, no locks but the server's.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

/* Kinds of objects by pg_identify_object's names, in an order that mostly needs one pass. */
static const struct pg_drop_kind {
	const char *type, *keyword;
	bool several; /* DROP takes a list */
} pg_drop_kinds[] = {
    {"view", "VIEW", true},
    {"materialized view", "MATERIALIZED VIEW", true},
    {"table", "TABLE", true},
    {"sequence", "SEQUENCE", true},
    {"statistics object", "STATISTICS", true},
    {"operator class", "OPERATOR CLASS", false},
    {"operator family", "OPERATOR FAMILY", false},
    {"operator", "OPERATOR", true},
    {"aggregate", "ROUTINE", true},
    {"function", "ROUTINE", true},
    {"procedure", "ROUTINE", true},
    {"type", "TYPE", true},
    {"text search configuration", "TEXT SEARCH CONFIGURATION", true},
    {"text search dictionary", "TEXT SEARCH DICTIONARY", true},
    {"text search template", "TEXT SEARCH TEMPLATE", true},
    {"text search parser", "TEXT SEARCH PARSER", true},
    {"conversion", "CONVERSION", false},
    {"collation", "COLLATION", true},
};

#define PG_DROP_KINDS (sizeof pg_drop_kinds / sizeof pg_drop_kinds[0])

struct pg_drop_list {
	char **names; /* as pg_identify_object spells them; NULL once dropped */
	size_t n;
	size_t left;
};

/* What is in the schema, by kind. */
struct pg_drop {
	struct pg_drop_list lists[PG_DROP_KINDS];
};

static void pg_drop_done(struct pg_drop *d)
{
	for (size_t k = 0; k < PG_DROP_KINDS; k++) {
		for (size_t i = 0; i < d->lists[k].n; i++)
			free(d->lists[k].names[i]);
		free(d->lists[k].names);
	}
}

static size_t pg_drop_left(const struct pg_drop *d)
{
	size_t left = 0;
	for (size_t k = 0; k < PG_DROP_KINDS; k++)
		left += d->lists[k].left;
	return left;
}

static int pg_list_objects(struct pg_conn *c, struct pg_drop *ret, struct err *e)
{
	/* Everything in the schema says so in pg_depend; what belongs to another object (indexes, identity sequences'
	 * columns, row types) either does not, or is gone with it, hence IF EXISTS. */
	static const char sql[] =
	    "SELECT o.type, o.identity FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_depend d"
	    " ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid"
	    " AND d.deptype = 'n'"
	    " CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) AS o"
	    " WHERE n.nspname = $1 AND d.classid <> 'pg_catalog.pg_extension'::pg_catalog.regclass"
	    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = d.classid AND x.objid = d.objid"
	    "  AND x.deptype = 'e')"
	    " AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND"
	    " (d.objid = ANY ($2::pg_catalog.oid[])"
	    "  OR EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = d.classid AND x.objid = d.objid"
	    "   AND x.deptype IN ('a', 'i') AND x.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	    "   AND x.refobjid = ANY ($2::pg_catalog.oid[]))))"
	    " ORDER BY o.type COLLATE pg_catalog.\"C\", o.identity COLLATE pg_catalog.\"C\"";
	_cleanup_strbuf_ struct strbuf excluded = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {c->schema, strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list the old schema", sql, 2, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		size_t k = 0;
		while (k < PG_DROP_KINDS && strcmp(pg_drop_kinds[k].type, PQgetvalue(res, i, 0)))
			k++;
		if (k == PG_DROP_KINDS)
			return err_set(e, ENOTSUP, "cannot replace the schema: it holds %s, a %s",
				       PQgetvalue(res, i, 1), PQgetvalue(res, i, 0));
		struct pg_drop_list *l = &ret->lists[k];
		l->names = xrealloc(l->names, (l->n + 1) * sizeof *l->names);
		l->names[l->n++] = xstrdup(PQgetvalue(res, i, 1));
		l->left++;
	}
	return 0;
}

/* An excluded table that is a partition would go with its partitioned table, RESTRICT or not. */
static int pg_refuse_excluded_partitions(struct pg_conn *c, struct err *e)
{
	static const char sql[] =
	    "SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
	    " WHERE c.relispartition AND c.oid = ANY ($1::pg_catalog.oid[])"
	    " AND i.inhparent <> ALL ($1::pg_catalog.oid[])";
	_cleanup_strbuf_ struct strbuf excluded = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list the partitions", sql, 1, params, e);
	if (r < 0)
		return r;
	if (PQntuples(res))
		return err_set(
		    e, ENOTSUP,
		    "cannot replace the schema: the excluded table %s is a partition of a table that is not excluded",
		    PQgetvalue(res, 0, 0));
	return 0;
}

/* Drops names[0..n) of a kind under a savepoint, unless something depends on them. *refusal keeps the first words:
 * views and tables come before what they use, so these name what stands in the way. */
static int pg_try_drop(struct pg_conn *c, size_t kind, char *const *names, size_t n, bool *dropped, struct err *refusal)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	struct err words = ERR_INIT;
	const char *separator = " ";
	strbuf_addf(&sql, "SAVEPOINT metasnap_drop; DROP %s IF EXISTS", pg_drop_kinds[kind].keyword);
	for (size_t i = 0; i < n; i++) {
		if (!names[i])
			continue;
		strbuf_addf(&sql, "%s%s", separator, names[i]);
		separator = ", ";
	}
	strbuf_adds(&sql, " RESTRICT; RELEASE metasnap_drop");
	int r = pg_query(c, NULL, "cannot replace the schema", strbuf_str(&sql), 0, NULL, &words);
	*dropped = !r;
	if (!r)
		return 0;
	bool dependents = !strcmp(words.sqlstate, "2BP01"); /* dependent_objects_still_exist */
	if (!dependents || !refusal->code)
		*refusal = words;
	if (!dependents)
		return r;
	r = pg_query(c, NULL, "cannot replace the schema", "ROLLBACK TO metasnap_drop; RELEASE metasnap_drop", 0, NULL,
		     &words);
	if (r < 0)
		*refusal = words;
	return r;
}

/* One pass over a kind: all at once, or else each that goes by itself. */
static int pg_drop_kind_once(struct pg_conn *c, size_t kind, struct pg_drop_list *l, struct err *refusal)
{
	bool dropped = false;
	if (pg_drop_kinds[kind].several || l->left == 1) {
		int r = pg_try_drop(c, kind, l->names, l->n, &dropped, refusal);
		if (dropped)
			l->left = 0;
		if (r < 0 || l->left <= 1)
			return r;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (!l->names[i])
			continue;
		int r = pg_try_drop(c, kind, &l->names[i], 1, &dropped, refusal);
		if (r < 0)
			return r;
		if (dropped) {
			free(TAKE_PTR(l->names[i]));
			l->left--;
		}
	}
	return 0;
}

int pg_drop_objects(struct pg_conn *c, struct err *e)
{
	_cleanup_(pg_drop_done) struct pg_drop d = {0};
	int r = pg_refuse_excluded_partitions(c, e);
	if (r < 0)
		return r;
	r = pg_list_objects(c, &d, e);
	if (r < 0)
		return r;
	/* Functions may need tables, and tables functions: passes over what is left, until none helps. */
	for (size_t before, left = pg_drop_left(&d); left;) {
		struct err refusal = ERR_INIT;
		before = left;
		for (size_t k = 0; k < PG_DROP_KINDS; k++) {
			r = d.lists[k].left ? pg_drop_kind_once(c, k, &d.lists[k], &refusal) : 0;
			if (r < 0) {
				*e = refusal;
				return r;
			}
		}
		left = pg_drop_left(&d);
		if (left == before) {
			*e = refusal;
			return err_code(e);
		}
	}
	return 0;
}
