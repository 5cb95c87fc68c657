/*
 * drivers/postgres/describe.c - what the catalog says: the description made inside the snapshot.
 *
 * No state, no locks. Every name in the SQL is qualified, because the search_path is empty and because a user's own
 * schema must not be able to stand in for pg_catalog.
 */
#include "drivers/derive.h"
#include "drivers/postgres/internal.h"

#include <errno.h>
#include <strings.h>

/* Types with a form of their own; pg_type.dat fixes these oids for ever. */
enum {
	PG_BOOL = 16,
	PG_BYTEA = 17,
	PG_INT8 = 20,
	PG_INT2 = 21,
	PG_INT4 = 23,
	PG_OID = 26,
	PG_JSON = 114,
	PG_FLOAT4 = 700,
	PG_FLOAT8 = 701,
	PG_NUMERIC = 1700,
	PG_JSONB = 3802,
};

static enum db_form pg_form_of_type(const char *oid, bool *integer)
{
	long type = strtol(oid, NULL, 10);
	*integer = type == PG_INT2 || type == PG_INT4 || type == PG_INT8 || type == PG_OID;
	if (*integer)
		return DB_FORM_NUMBER;
	switch (type) {
	case PG_FLOAT4:
	case PG_FLOAT8:
	case PG_NUMERIC:
		return DB_FORM_NUMBER;
	case PG_BOOL:
		return DB_FORM_BOOL;
	case PG_BYTEA:
		return DB_FORM_BINARY;
	case PG_JSON:
		return DB_FORM_JSON_TEXT;
	case PG_JSONB:
		return DB_FORM_JSON;
	default:
		return DB_FORM_TEXT;
	}
}

/* pg_node_tree, pg_ndistinct, pg_dependencies, pg_mcv_list, pg_brin_bloom_summary, pg_brin_minmax_multi_summary: the
 * server writes their values and takes none. */
static const char pg_unwritable_types[] = "{194,3361,3402,5017,4600,4601}";

/* ---- describing ---- */

struct pg_described {
	struct db_table *table;
	const char *oid;
	int *attnums; /* of each column */
	bool ordered;
	struct db_index *indexes;
	size_t n_indexes;
};

struct pg_description {
	struct pg_described *tables;
	size_t n;
	struct strbuf oids; /* '{a,b}' */
};

static void pg_description_done(struct pg_description *x)
{
	for (size_t i = 0; i < x->n; i++) {
		struct pg_described *d = &x->tables[i];
		for (size_t j = 0; j < d->n_indexes; j++) {
			free(d->indexes[j].name);
			free(d->indexes[j].columns);
		}
		free(d->indexes);
		free(d->attnums);
	}
	free(x->tables);
	strbuf_done(&x->oids);
}

static struct pg_described *pg_find_described(struct pg_description *x, const char *oid)
{
	for (size_t i = 0; i < x->n; i++)
		if (!strcmp(x->tables[i].oid, oid))
			return &x->tables[i];
	return NULL;
}

static int pg_describe_columns(struct pg_conn *c, struct pg_description *x, struct err *e)
{
	/* Domains are followed down to the type whose values they hold, all types to those they are made of. An 18's NOT
	 * NULL that is NOT VALID does not keep NULL out. */
	static const char sql[] =
	    "WITH RECURSIVE domains(oid, base) AS (SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t"
	    " WHERE t.typtype = 'd'"
	    " UNION ALL SELECT d.oid, t.typbasetype FROM domains d JOIN pg_catalog.pg_type t ON t.oid = d.base"
	    " AND t.typtype = 'd'),"
	    " made_of(type, oid) AS (SELECT DISTINCT a.atttypid, a.atttypid FROM pg_catalog.pg_attribute a"
	    "  WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped"
	    "  UNION SELECT m.type, x.oid FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.oid CROSS JOIN LATERAL"
	    "   (SELECT t.typbasetype UNION ALL SELECT t.typelem UNION ALL SELECT a.atttypid"
	    "    FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)"
	    "   x(oid) WHERE x.oid <> 0)"
	    " SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),"
	    " COALESCE((SELECT d.base FROM domains d"
	    "  JOIN pg_catalog.pg_type t ON t.oid = d.base AND t.typtype <> 'd'"
	    " WHERE d.oid = a.atttypid), a.atttypid),"
	    " a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid"
	    "  AND k.contype = 'n' AND NOT k.convalidated AND k.conkey = ARRAY[a.attnum]), a.attgenerated <> '', CASE "
	    "WHEN a.attgenerated <> ''"
	    " THEN pg_catalog.pg_get_expr(x.adbin, x.adrelid) END,"
	    " a.attnum, a.atttypid IN (SELECT m.type FROM made_of m WHERE m.oid = ANY ($2::pg_catalog.oid[]))"
	    " FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef x ON x.adrelid = a.attrelid"
	    " AND x.adnum = a.attnum"
	    " WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped"
	    " ORDER BY a.attrelid, a.attnum";
	_cleanup_result_ PGresult *res = NULL;
	struct pg_described *d = NULL;
	const char *params[] = {strbuf_str(&x->oids), pg_unwritable_types};
	int r = pg_query(c, &res, "cannot describe the columns", sql, 2, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		const char *oid = PQgetvalue(res, i, 0);
		if (!i || strcmp(oid, PQgetvalue(res, i - 1, 0)))
			d = pg_find_described(x, oid);
		if (!d)
			return err_set(e, EIO, "the catalog names columns of a table that it does not list");
		struct db_table *t = d->table;
		if (*PQgetvalue(res, i, 8) == 't')
			return err_set(e, ENOTSUP,
				       "column %s of table %s is of type %s, whose values cannot be written back:"
				       " exclude the table",
				       PQgetvalue(res, i, 1), t->name, PQgetvalue(res, i, 2));
		t->columns = xrealloc(t->columns, (t->n_columns + 1) * sizeof *t->columns);
		d->attnums = xrealloc(d->attnums, (t->n_columns + 1) * sizeof *d->attnums);
		d->attnums[t->n_columns] = atoi(PQgetvalue(res, i, 7));
		struct db_column *column = &t->columns[t->n_columns++];
		*column = (struct db_column){
		    .name = xstrdup(PQgetvalue(res, i, 1)),
		    .type = xstrdup(PQgetvalue(res, i, 2)),
		    .nullable = *PQgetvalue(res, i, 4) != 't',
		    .generated = *PQgetvalue(res, i, 5) == 't',
		};
		column->form = pg_form_of_type(PQgetvalue(res, i, 3), &column->integer);
		if (!PQgetisnull(res, i, 6))
			db_column_derive(column, PQgetvalue(res, i, 6));
	}
	return 0;
}

static void pg_add_index(struct pg_described *d, const PGresult *res, int row)
{
	struct db_index index = {
	    .name = xstrdup(PQgetvalue(res, row, 1)),
	    .primary = *PQgetvalue(res, row, 2) == 't',
	    .unique = *PQgetvalue(res, row, 3) == 't',
	};
	/* indkey, an int2vector: attribute numbers with spaces between; the first $4 of them are the key */
	const char *p = PQgetvalue(res, row, 4);
	int n_key = atoi(PQgetvalue(res, row, 5));
	index.columns = xcalloc((size_t)(n_key > 0 ? n_key : 1), sizeof *index.columns);
	for (int k = 0; k < n_key && *p; k++) {
		char *end;
		long attnum = strtol(p, &end, 10);
		size_t i = 0;
		while (i < d->table->n_columns && d->attnums[i] != attnum)
			i++;
		if (end == p || i == d->table->n_columns) {
			free(index.columns);
			free(index.name);
			return;
		}
		p = end;
		/* A column that is there twice (by another class of operators) tells no more rows apart. */
		size_t before = 0;
		while (before < index.n_columns && index.columns[before] != i)
			before++;
		if (before == index.n_columns)
			index.columns[index.n_columns++] = i;
	}
	d->indexes = xrealloc(d->indexes, (d->n_indexes + 1) * sizeof *d->indexes);
	d->indexes[d->n_indexes++] = index;
}

static int pg_describe_indexes(struct pg_conn *c, struct pg_description *x, struct err *e)
{
	/* Deferrable keys may hold equal rows inside a transaction; partial and expression indexes do not cover the
	 * rows. */
	static const char sql[] =
	    "SELECT i.indrelid, c.relname, i.indisprimary, i.indisunique, i.indkey, i.indnkeyatts"
	    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
	    " JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'btree'"
	    " WHERE i.indrelid = ANY ($1::pg_catalog.oid[]) AND i.indisvalid AND i.indisready AND i.indimmediate"
	    " AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY i.indrelid, c.relname COLLATE pg_catalog.\"C\"";
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {strbuf_str(&x->oids)};
	int r = pg_query(c, &res, "cannot describe the indexes", sql, 1, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		struct pg_described *d = pg_find_described(x, PQgetvalue(res, i, 0));
		if (d)
			pg_add_index(d, res, i);
	}
	return 0;
}

/* ---- the order of columns ---- */

/* A table that inherits has its parents' columns first when it is made from its definition, wherever they stand in one
 * to which parents were given later. Rows go by names; so that they are the same before and after, the columns stand in
 * the order of the definition. Rows of res: child, parent and the name of a parent's column, in order. */
static void pg_order_columns(struct pg_description *x, struct pg_described *d, const PGresult *res)
{
	struct db_table *t = d->table;
	_cleanup_free_ size_t *from = xcalloc(t->n_columns + 1, sizeof *from);
	_cleanup_free_ bool *placed = xcalloc(t->n_columns + 1, sizeof *placed);
	size_t n = 0;
	if (d->ordered)
		return;
	d->ordered = true;
	for (int i = 0; i < PQntuples(res); i++) {
		if (strcmp(PQgetvalue(res, i, 0), d->oid))
			continue;
		const char *name = PQgetvalue(res, i, 2);
		struct pg_described *parent = pg_find_described(x, PQgetvalue(res, i, 1));
		if (parent) {
			/* one row for each of its columns: the first gives the place of its first, in its own order */
			size_t at = 0;
			for (int k = i - 1; k >= 0 && !strcmp(PQgetvalue(res, k, 0), d->oid) &&
					    !strcmp(PQgetvalue(res, k, 1), parent->oid);
			     k--)
				at++;
			pg_order_columns(x, parent, res);
			name = at < parent->table->n_columns ? parent->table->columns[at].name : "";
		}
		for (size_t k = 0; k < t->n_columns; k++)
			if (!placed[k] && !strcmp(t->columns[k].name, name)) {
				placed[k] = true;
				from[n++] = k;
			}
	}
	for (size_t k = 0; k < t->n_columns; k++)
		if (!placed[k])
			from[n++] = k;
	_cleanup_free_ struct db_column *columns =
	    (void *)xmemdup0((const void *)t->columns, t->n_columns * sizeof *columns);
	_cleanup_free_ int *attnums = (void *)xmemdup0((const void *)d->attnums, t->n_columns * sizeof *attnums);
	for (size_t k = 0; k < n; k++) {
		t->columns[k] = columns[from[k]];
		d->attnums[k] = attnums[from[k]];
	}
}

static int pg_describe_inheritance(struct pg_conn *c, struct pg_description *x, struct err *e)
{
	static const char sql[] =
	    "SELECT i.inhrelid, i.inhparent, a.attname FROM pg_catalog.pg_inherits i"
	    " JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND NOT c.relispartition"
	    " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.inhparent AND a.attnum > 0 AND NOT a.attisdropped"
	    " WHERE i.inhrelid = ANY ($1::pg_catalog.oid[]) ORDER BY i.inhrelid, i.inhseqno, a.attnum";
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {strbuf_str(&x->oids)};
	int r = pg_query(c, &res, "cannot describe the inheritance", sql, 1, params, e);
	for (int i = 0; r == 0 && i < PQntuples(res); i++) {
		struct pg_described *d = pg_find_described(x, PQgetvalue(res, i, 0));
		if (d)
			pg_order_columns(x, d, res);
	}
	return r;
}

static int pg_describe_estimates(struct pg_conn *c, struct pg_description *x, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {strbuf_str(&x->oids)};
	int r = pg_query(c, &res, "cannot estimate the rows",
			 "SELECT c.oid, c.reltuples::pg_catalog.int8 FROM pg_catalog.pg_class c"
			 " WHERE c.oid = ANY ($1::pg_catalog.oid[])",
			 1, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		struct pg_described *d = pg_find_described(x, PQgetvalue(res, i, 0));
		if (d)
			d->table->estimated_rows = strtoll(PQgetvalue(res, i, 1), NULL, 10);
	}
	return 0;
}

static int pg_describe_tables(struct pg_conn *c, struct db_schema *s, struct err *e)
{
	_cleanup_(pg_description_done) struct pg_description x = {0};
	x.tables = xcalloc(s->n_tables, sizeof *x.tables);
	strbuf_adds(&x.oids, "{");
	for (size_t i = 0; i < c->listing.n_relations; i++) {
		const struct pg_relation *relation = &c->listing.relations[i];
		if (relation->kind != 'r')
			continue;
		struct db_table *t = &s->tables[x.n];
		t->name = xstrdup(relation->name);
		t->estimated_rows = -1;
		strbuf_addf(&x.oids, "%s%s", x.n ? "," : "", relation->oid);
		x.tables[x.n++] = (struct pg_described){.table = t, .oid = relation->oid};
	}
	strbuf_adds(&x.oids, "}");

	int r = pg_describe_columns(c, &x, e);
	if (r < 0)
		return r;
	r = pg_describe_inheritance(c, &x, e);
	if (r < 0)
		return r;
	r = pg_describe_indexes(c, &x, e);
	if (r < 0)
		return r;
	r = pg_describe_estimates(c, &x, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < x.n; i++)
		db_table_choose_key(x.tables[i].table, x.tables[i].indexes, x.tables[i].n_indexes);
	return 0;
}

static int pg_describe_sequences(struct pg_conn *c, struct db_schema *s, struct err *e)
{
	/* A sequence that belongs to a column of an excluded table goes with it, as pg_dump has it. */
	static const char sql[] =
	    "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE n.nspname = $1 AND c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
	    "  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND (d.deptype = 'e'"
	    "   OR d.deptype IN ('a', 'i') AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	    "   AND d.refobjid = ANY ($2::pg_catalog.oid[])))"
	    " ORDER BY c.relname COLLATE pg_catalog.\"C\"";
	_cleanup_strbuf_ struct strbuf excluded = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {c->schema, strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list the sequences", sql, 2, params, e);
	if (r < 0)
		return r;
	s->sequences = xcalloc((size_t)PQntuples(res), sizeof *s->sequences);
	for (int i = 0; i < PQntuples(res); i++)
		s->sequences[s->n_sequences++].name = xstrdup(PQgetvalue(res, i, 0));
	return 0;
}

static int pg_refuse_large_objects(struct pg_conn *c, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(
	    c, &res, "cannot look for large objects",
	    "SELECT count FROM (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata) x WHERE count > 0",
	    0, NULL, e);
	if (r < 0)
		return r;
	if (PQntuples(res))
		return err_set(e, ENOTSUP,
			       "the database holds %s large objects (pg_largeobject), which metasnap does not keep",
			       PQgetvalue(res, 0, 0));
	return 0;
}

/* ---- the application's version ---- */

/* Negative, 0, positive: numbers inside of the versions compare as numbers, "1.10.0" above "1.9.2". */
static int pg_compare_versions(const char *a, const char *b)
{
	while (*a && *b) {
		if (*a >= '0' && *a <= '9' && *b >= '0' && *b <= '9') {
			char *a_end, *b_end;
			unsigned long long x = strtoull(a, &a_end, 10), y = strtoull(b, &b_end, 10);
			if (x != y)
				return x < y ? -1 : 1;
			a = a_end;
			b = b_end;
		} else if (*a != *b) {
			return *a < *b ? -1 : 1;
		} else {
			a++;
			b++;
		}
	}
	return *a ? 1 : *b ? -1 : 0;
}

static int pg_find_app_version(struct pg_conn *c, struct db_schema *s, struct err *e)
{
	static const char *const tables[] = {"server_change_log", "database_change_log"};
	for (size_t k = 0; k < 2 && !s->app_version; k++) {
		const struct db_table *t = NULL;
		for (size_t i = 0; i < s->n_tables; i++)
			if (!strcasecmp(s->tables[i].name, tables[k]))
				t = &s->tables[i];
		const char *version = NULL, *rank = NULL;
		for (size_t i = 0; t && i < t->n_columns; i++) {
			if (!strcasecmp(t->columns[i].name, "version"))
				version = t->columns[i].name;
			else if (!strcasecmp(t->columns[i].name, "installed_rank"))
				rank = t->columns[i].name;
		}
		if (!version)
			continue;
		_cleanup_strbuf_ struct strbuf sql = {0};
		_cleanup_result_ PGresult *res = NULL;
		strbuf_adds(&sql, "SELECT ");
		pg_add_ident(&sql, version);
		strbuf_adds(&sql, "::pg_catalog.text, ");
		if (rank)
			pg_add_ident(&sql, rank);
		else
			strbuf_adds(&sql, "NULL");
		strbuf_adds(&sql, "::pg_catalog.text FROM ONLY ");
		pg_add_relation(&sql, c, t->name);
		int r = pg_query(c, &res, "cannot read the application's version", strbuf_str(&sql), 0, NULL, e);
		if (r < 0)
			return r;
		const char *best = NULL, *best_rank = NULL;
		for (int i = 0; i < PQntuples(res); i++) {
			const char *v = pg_cell(res, i, 0), *n = pg_cell(res, i, 1);
			int order = !n != !best_rank ? (n ? 1 : -1) : n ? pg_compare_versions(n, best_rank) : 0;
			if (v && (!best || order > 0 || (!order && pg_compare_versions(v, best) > 0))) {
				best = v;
				best_rank = n;
			}
		}
		s->app_version = xstrdup(best);
	}
	return 0;
}

int pg_describe(struct pg_conn *c, struct db_schema **ret, struct err *e)
{
	_cleanup_(cleanup_db_schema) struct db_schema *s = xcalloc(1, sizeof *s);
	s->engine = xstrdup("postgresql");
	s->server_version = xstrdup(c->server_version);
	s->database = xstrdup(PQdb(c->pg));
	s->schema = xstrdup(c->schema);
	for (size_t i = 0; i < c->listing.n_relations; i++)
		s->n_tables += c->listing.relations[i].kind == 'r';
	s->tables = xcalloc(s->n_tables, sizeof *s->tables);
	int r = pg_refuse_large_objects(c, e);
	if (r < 0)
		return r;
	r = pg_describe_tables(c, s, e);
	if (r < 0)
		return r;
	r = pg_describe_sequences(c, s, e);
	if (r < 0)
		return r;
	r = pg_find_app_version(c, s, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}
