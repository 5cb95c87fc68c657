/*
 * drivers/postgres/delete.c - deleting rows: by key, each exactly once and exactly the one that was meant, or all.
 *
 * Keeps the statement with the table in struct pg_conn's `change`; no locks.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

#define PG_DELETE_ROWS 5000
#define PG_DELETE_BYTES (1 << 20)

/* How the unique indexes of the tables $1 compare their columns: `=` by its name may be another operator, or not be found,
 * as the search_path is empty. And whether a cast from text would be a function, not the type's own input: then the values
 * are passed as an array of the type. */
static const char pg_key_operators[] =
    "SELECT i.indrelid, i.indexrelid, a.attname, pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname),"
    " t.typtype = 'b' AND t.typcategory <> 'A' AND EXISTS (SELECT FROM pg_catalog.pg_cast s"
    "  WHERE s.castsource = 'pg_catalog.text'::pg_catalog.regtype AND s.casttarget = t.oid AND s.castmethod = 'f')"
    " FROM pg_catalog.pg_index i CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(i.indkey::pg_catalog.int2[]),"
    "  pg_catalog.unnest(i.indclass::pg_catalog.oid[])) u(attnum, class)"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum"
    " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " JOIN pg_catalog.pg_opclass p ON p.oid = u.class JOIN pg_catalog.pg_amop m ON m.amopfamily = p.opcfamily"
    " AND m.amoplefttype = p.opcintype AND m.amoprighttype = p.opcintype AND m.amopstrategy = 3"
    " JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace"
    " WHERE i.indrelid = ANY ($1::pg_catalog.oid[]) AND i.indisunique AND i.indisvalid AND i.indimmediate"
    " AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid";

static int pg_ask_operators(struct pg_conn *c, char *oid, PGresult **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf oids = {0};
	pg_add_oid_array(&oids, c->change.n_told ? c->change.told : &oid, c->change.n_told ? c->change.n_told : 1);
	const char *params[] = {strbuf_str(&oids)};
	return pg_query(c, ret, "cannot read the keys", pg_key_operators, 1, params, e);
}

/* Whether the index of rows first to last - 1 has just the columns of the key. */
static bool pg_is_key(const PGresult *res, int first, int last, const struct db_table *t)
{
	_cleanup_free_ bool *found = xcalloc(t->n_key, sizeof *found);
	for (int i = first; i < last; i++) {
		bool any = false;
		for (size_t k = 0; k < t->n_key; k++)
			if (!strcmp(PQgetvalue(res, i, 2), t->columns[t->key[k]].name))
				found[k] = any = true;
		if (!any)
			return false;
	}
	for (size_t k = 0; k < t->n_key; k++)
		if (!found[k])
			return false;
	return true;
}

/* The rows of the index of the key: *first to *last - 1, none when it cannot be found. */
static void pg_find_key_index(const PGresult *res, const struct db_table *t, const char *oid, int *first, int *last)
{
	for (int i = 0, next; i < PQntuples(res); i = next) {
		for (next = i + 1; next < PQntuples(res) && !strcmp(PQgetvalue(res, next, 1), PQgetvalue(res, i, 1));)
			next++;
		if (!strcmp(PQgetvalue(res, i, 0), oid) && pg_is_key(res, i, next, t)) {
			*first = i;
			*last = next;
			return;
		}
	}
	*first = *last = 0;
}

/* The statement that deletes by key, made once for a table. What it returns tells whether what was deleted is what was
 * asked for: `=` of a type may hold for values that differ, so their texts are compared, as their output functions have
 * them. */
static int pg_make_delete(struct pg_conn *c, const struct db_table *t, char *oid, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0}, from = {0}, names = {0}, where = {0}, same = {0};
	int first, last, r = c->change.operators ? 0 : pg_ask_operators(c, oid, &c->change.operators, e);
	if (r < 0)
		return r;
	const PGresult *res = c->change.operators;
	pg_find_key_index(res, t, oid, &first, &last);
	for (size_t k = 0; k < t->n_key; k++) {
		const struct db_column *column = &t->columns[t->key[k]];
		const char *next = k ? " AND " : "", *equals = "OPERATOR(pg_catalog.=)";
		_cleanup_strbuf_ struct strbuf mine = {0}, given = {0};
		bool typed = false;
		for (int i = first; i < last; i++)
			if (!strcmp(PQgetvalue(res, i, 2), column->name)) {
				equals = PQgetvalue(res, i, 3);
				typed = *PQgetvalue(res, i, 4) == 't';
			}
		strbuf_adds(&mine, "t.");
		pg_add_ident(&mine, column->name);
		/* The value came from this column, so the cast to its type, length included, gives it exactly. */
		strbuf_addf(&given, "k.k%zu%s%s", k + 1, typed ? "" : "::", typed ? "" : column->type);
		strbuf_addf(&from, "%spg_catalog.unnest($%zu::%s[])", k ? ", " : "", k + 1,
			    typed ? column->type : "pg_catalog.text");
		strbuf_addf(&names, "k%zu, ", k + 1);
		strbuf_addf(&where, "%s%s %s %s", next, strbuf_str(&mine), equals, strbuf_str(&given));
		strbuf_addf(&same,
			    "%spg_catalog.format('%%s', %s) OPERATOR(pg_catalog.=) pg_catalog.format('%%s', %s)"
			    " COLLATE pg_catalog.\"C\"",
			    next, strbuf_str(&mine), strbuf_str(&given));
	}
	strbuf_adds(&sql, "DELETE FROM ONLY ");
	pg_add_relation(&sql, c, t->name);
	strbuf_addf(&sql, " AS t USING ROWS FROM (%s) WITH ORDINALITY AS k(%sn) WHERE %s RETURNING k.n, %s",
		    strbuf_str(&from), strbuf_str(&names), strbuf_str(&where), strbuf_str(&same));
	*ret = strbuf_detach(&sql);
	return 0;
}

static int pg_check_deleted(const PGresult *res, const struct db_table *t, size_t n, struct err *e)
{
	_cleanup_free_ bool *seen = xcalloc(n, sizeof *seen);
	if ((size_t)PQntuples(res) != n)
		return err_set(e, EIO, "%s: %zu rows were to be deleted by key, the server deleted %d", t->name, n,
			       PQntuples(res));
	for (int i = 0; i < PQntuples(res); i++) {
		unsigned long long at = strtoull(PQgetvalue(res, i, 0), NULL, 10);
		if (at < 1 || at > n || seen[at - 1] || *PQgetvalue(res, i, 1) != 't')
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
	if (t->key_kind != DB_KEY_UNIQUE || !t->n_key)
		return err_set(e, EINVAL, "%s: rows without a unique key cannot be deleted by key", t->name);
	int r = pg_change_touch(c, t->name, e);
	if (r < 0)
		return r;
	const char *oid = pg_listing_oid(&c->listing, t->name);
	if (!oid)
		return err_set(e, EINVAL, "%s: no such table when the transaction began", t->name);
	struct pg_touched *touched = pg_touched_find(c, oid);
	_cleanup_free_ char *own = NULL;
	char **statement = touched ? &touched->delete_sql : &own;
	if (!*statement) {
		r = pg_make_delete(c, t, (char *)oid, statement, e);
		if (r < 0)
			return r;
	}
	_cleanup_(pg_keys_done) struct pg_keys x = {.arrays = xcalloc(t->n_key, sizeof *x.arrays),
						    .params = xcalloc(t->n_key, sizeof *x.params),
						    .n = t->n_key};
	while (n_rows) {
		_cleanup_result_ PGresult *res = NULL;
		size_t n = pg_keys_fill(&x, t, keys, n_rows);
		r = pg_query(c, &res, t->name, *statement, (int)t->n_key, x.params, e);
		if (r < 0)
			return r;
		r = pg_check_deleted(res, t, n, e);
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
