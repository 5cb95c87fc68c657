/*
 * drivers/postgres/drop.c - drops the entries that compare.c found have to go, before a rebuild.
 *
 * Inside the open transaction. Each by itself and by RESTRICT, the last one made first: what hangs on one of them and
 * was not seen makes an honest error. Only circles (a type and its functions) go by CASCADE, and only when the catalog
 * says that all they reach goes anyway. No state, no locks but the server's.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

/* $1, $2: classes and oids. Statements in that order; NULL: the catalog does not have it. */
static const char pg_drop_statements[] =
    "SELECT CASE k.class WHEN 1255 THEN (SELECT pg_catalog.format('DROP %s IF EXISTS %I.%I(%s)',"
    "  CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END, n.nspname, p.proname,"
    "  CASE WHEN p.prokind = 'a' AND p.pronargs = 0 THEN '*'"
    "  ELSE pg_catalog.pg_get_function_identity_arguments(p.oid) END)"
    "  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = k.oid)"
    " WHEN 2606 THEN (SELECT CASE WHEN c.contypid <> 0 THEN pg_catalog.format("
    "   'ALTER DOMAIN %s DROP CONSTRAINT IF EXISTS %I', c.contypid::pg_catalog.regtype, c.conname)"
    "  ELSE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', c.conrelid::pg_catalog.regclass,"
    "   c.conname) END FROM pg_catalog.pg_constraint c WHERE c.oid = k.oid)"
    " WHEN 2604 THEN (SELECT pg_catalog.format('ALTER TABLE ONLY %s ALTER COLUMN %I DROP DEFAULT',"
    "  d.adrelid::pg_catalog.regclass, a.attname) FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a"
    "  ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.oid = k.oid)"
    " ELSE coalesce((SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I DROP IDENTITY IF EXISTS',"
    "   d.refobjid::pg_catalog.regclass, a.attname) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a"
    "   ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid JOIN pg_catalog.pg_class s ON s.oid = d.objid"
    "   WHERE k.class = 1259 AND d.classid = 1259 AND d.objid = k.oid AND d.objsubid = 0 AND d.deptype = 'i'"
    "   AND d.refclassid = 1259 AND d.refobjsubid > 0 AND s.relkind = 'S'),"
    "  'DROP ' || CASE o.type WHEN 'statistics object' THEN 'STATISTICS' ELSE pg_catalog.upper(o.type) END"
    "  || ' IF EXISTS ' || o.identity) END"
    " FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.oid[]))"
    "  WITH ORDINALITY AS k(class, oid, n)"
    " LEFT JOIN LATERAL pg_catalog.pg_identify_object(k.class, k.oid, 0) AS o ON true ORDER BY k.n";

struct pg_drops {
	char **sql; /* NULL once it is dropped */
	size_t n;
};

static void pg_drops_done(struct pg_drops *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->sql[i]);
	free(d->sql);
}

/* ALTER ... DROP DEFAULT and DROP IDENTITY know no RESTRICT: nothing hangs on them. */
static const char *pg_restrict(const char *sql)
{
	return pg_begins(sql, "DROP ") || strstr(sql, " DROP CONSTRAINT ") ? " RESTRICT" : "";
}

static int pg_list_drops(struct pg_conn *c, struct pg_drops *ret, struct err *e)
{
	const struct pg_entries *live = &c->rebuild.live;
	_cleanup_strbuf_ struct strbuf classes = {0}, oids = {0};
	_cleanup_result_ PGresult *res = NULL;
	for (size_t i = live->n; i-- > 0;) {
		const struct pg_entry *x = &live->v[i];
		if (x->deed != PG_DEED_GO || !x->toc.class_oid || x->goes_along)
			continue;
		strbuf_addf(&classes, "%c%u", classes.len ? ',' : '{', x->toc.class_oid);
		strbuf_addf(&oids, "%c%u", oids.len ? ',' : '{', x->toc.oid);
	}
	if (!oids.len)
		return 0;
	strbuf_adds(&classes, "}");
	strbuf_adds(&oids, "}");
	const char *params[] = {strbuf_str(&classes), strbuf_str(&oids)};
	int r = pg_query(c, &res, "cannot list what is to go", pg_drop_statements, 2, params, e);
	if (r < 0)
		return r;
	ret->sql = xcalloc((size_t)PQntuples(res), sizeof *ret->sql);
	for (int i = 0; i < PQntuples(res); i++) {
		if (PQgetisnull(res, i, 0))
			return err_set(e, EIO, "pg_dump told of an object that the catalog does not have");
		ret->sql[ret->n++] = xstrdup(PQgetvalue(res, i, 0));
	}
	return 0;
}

/* Those of d from `from` on (n of them) under a savepoint, unless something depends on them: then *refusal has the
 * words, if it has none yet. */
static int pg_try_drops(struct pg_conn *c, struct pg_drops *d, size_t from, size_t n, const char *how, bool *dropped,
			struct err *refusal)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	struct err words = ERR_INIT;
	strbuf_adds(&sql, "SAVEPOINT metasnap_drop; ");
	for (size_t i = from; i < from + n; i++)
		if (d->sql[i])
			strbuf_addf(&sql, "%s%s; ", d->sql[i], *pg_restrict(d->sql[i]) ? how : "");
	strbuf_adds(&sql, "RELEASE metasnap_drop");
	int r = pg_query(c, NULL, "cannot replace the schema", strbuf_str(&sql), 0, NULL, &words);
	*dropped = !r;
	if (!r) {
		for (size_t i = from; i < from + n; i++)
			free(TAKE_PTR(d->sql[i]));
		return 0;
	}
	/* dependent_objects_still_exist; or what IF EXISTS still wants went with another (its table, its type) */
	bool later =
	    !strcmp(words.sqlstate, "2BP01") || !strcmp(words.sqlstate, "42P01") || !strcmp(words.sqlstate, "42704");
	if (!later || !refusal->code)
		*refusal = words;
	if (!later)
		return r;
	r = pg_query(c, NULL, "cannot replace the schema", "ROLLBACK TO metasnap_drop; RELEASE metasnap_drop", 0, NULL,
		     &words);
	if (r < 0)
		*refusal = words;
	return r;
}

/* One by one, over and over, until none helps. Returns how many are left. */
static int pg_drop_by_passes(struct pg_conn *c, struct pg_drops *d, size_t *left, struct err *refusal)
{
	size_t before;
	do {
		before = *left;
		*refusal = ERR_INIT;
		for (size_t i = 0; i < d->n; i++) {
			bool dropped = false;
			int r = d->sql[i] ? pg_try_drops(c, d, i, 1, " RESTRICT", &dropped, refusal) : 0;
			if (r < 0)
				return r;
			*left -= dropped;
		}
	} while (*left && *left < before);
	return 0;
}

int pg_drop_entries(struct pg_conn *c, struct err *e)
{
	_cleanup_(pg_drops_done) struct pg_drops d = {0};
	struct err refusal = ERR_INIT;
	bool dropped = false;
	int r = pg_list_drops(c, &d, e);
	if (r < 0 || !d.n)
		return r;
	r = pg_try_drops(c, &d, 0, d.n, " RESTRICT", &dropped, &refusal);
	size_t left = dropped ? 0 : d.n;
	while (r == 0 && left) {
		r = pg_drop_by_passes(c, &d, &left, &refusal);
		if (r < 0 || !left)
			break;
		/* A circle: compare.c walked all that hangs on these, and all of it goes. */
		size_t i = 0;
		dropped = false;
		for (; r == 0 && i < d.n && !dropped; i++)
			r = d.sql[i] ? pg_try_drops(c, &d, i, 1, " CASCADE", &dropped, &refusal) : 0;
		left -= dropped;
		if (r == 0 && !dropped)
			r = err_code(&refusal);
	}
	if (r < 0)
		*e = refusal;
	return r;
}
