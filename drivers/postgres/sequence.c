/*
 * drivers/postgres/sequence.c - the values of sequences: read after the rows, set after a restore.
 *
 * No state, no locks. Sequences obey neither snapshots nor rollbacks: hence when they are read, and how they are set.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>
#include <inttypes.h>

int pg_finish(struct db_conn *conn, struct db_schema *s, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	/* Read after the rows, so that no value a row holds can be given out again: sequences do not obey snapshots. */
	for (size_t i = 0; i < s->n_sequences;) {
		_cleanup_strbuf_ struct strbuf sql = {0};
		_cleanup_result_ PGresult *res = NULL;
		size_t first = i;
		for (; i < s->n_sequences && i < first + 100; i++) {
			strbuf_addf(&sql, "%sSELECT %zu AS i, last_value, is_called FROM ",
				    i > first ? " UNION ALL " : "", i);
			pg_add_relation(&sql, c, s->sequences[i].name);
		}
		int r = pg_query(c, &res, "cannot read the sequences", strbuf_str(&sql), 0, NULL, e);
		if (r < 0)
			return r;
		for (int row = 0; row < PQntuples(res); row++) {
			struct db_sequence *q = &s->sequences[strtoul(PQgetvalue(res, row, 0), NULL, 10)];
			q->last_value = strtoll(PQgetvalue(res, row, 1), NULL, 10);
			q->is_called = *PQgetvalue(res, row, 2) == 't';
		}
	}
	return 0;
}

int pg_set_sequences(struct db_conn *conn, const struct db_schema *s, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	int r = pg_check_write(c, "sequences", e);
	if (r == 0)
		r = pg_role_set(c, true, e); /* event triggers */
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->n_sequences; i++) {
		const struct db_sequence *q = &s->sequences[i];
		_cleanup_strbuf_ struct strbuf name = {0}, sql = {0};
		_cleanup_result_ PGresult *res = NULL;
		pg_add_relation(&name, c, q->name);
		strbuf_addf(&sql, "SELECT last_value, is_called FROM %s", strbuf_str(&name));
		r = pg_query(c, &res, q->name, strbuf_str(&sql), 0, NULL, e);
		if (r < 0)
			return r;
		if (strtoll(PQgetvalue(res, 0, 0), NULL, 10) == q->last_value &&
		    (*PQgetvalue(res, 0, 1) == 't') == q->is_called)
			continue;
		/* setval alone would survive a rollback. RESTART gives the sequence a new file in this transaction
		 * (PostgreSQL 10), and the setval after it writes to that file: both go with a rollback, seen on 15.
		 * Other sessions' nextval waits for us meanwhile. */
		strbuf_clear(&sql);
		strbuf_addf(&sql, "ALTER SEQUENCE %s RESTART WITH %" PRId64, strbuf_str(&name), q->last_value);
		if (q->is_called) {
			strbuf_adds(&sql, "; SELECT pg_catalog.setval(");
			pg_add_literal(&sql, strbuf_str(&name));
			strbuf_addf(&sql, "::pg_catalog.regclass, %" PRId64 ", true)", q->last_value);
		}
		r = pg_query(c, NULL, q->name, strbuf_str(&sql), 0, NULL, e);
		if (r < 0)
			return r;
	}
	return pg_role_set(c, false, e);
}

/* Whether the sequence of a column would give out again what a row holds; then *largest is the largest value there. */
static int pg_sequence_behind(struct pg_conn *c, const struct db_table *t, const PGresult *owned, int row, bool *behind,
			      int64_t *largest, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_result_ PGresult *res = NULL;
	strbuf_adds(&sql, "SELECT m.largest FROM (SELECT max(");
	pg_add_ident(&sql, PQgetvalue(owned, row, 1));
	strbuf_adds(&sql, ")::pg_catalog.int8 AS largest FROM ONLY ");
	pg_add_relation(&sql, c, t->name);
	strbuf_adds(&sql, ") AS m, ");
	pg_add_relation(&sql, c, PQgetvalue(owned, row, 0));
	strbuf_addf(
	    &sql,
	    " AS s WHERE m.largest >= s.last_value::pg_catalog.numeric + CASE WHEN s.is_called THEN %s ELSE 0 END",
	    PQgetvalue(owned, row, 2));
	strbuf_addf(&sql, " AND m.largest <= %s", PQgetvalue(owned, row, 3));
	int r = pg_query(c, &res, t->name, strbuf_str(&sql), 0, NULL, e);
	if (r < 0)
		return r;
	*behind = PQntuples(res) > 0;
	if (*behind)
		*largest = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	return 0;
}

/* The sequence of a column as `known` has it (NULL: leave it), and then beyond what the rows hold. */
static int pg_advance_sequence(struct pg_conn *c, const struct db_table *t, const struct db_schema *known,
			       const PGresult *owned, int row, struct err *e)
{
	struct db_sequence to = {.name = PQgetvalue(owned, row, 0), .is_called = true};
	struct db_schema only = {.sequences = &to, .n_sequences = 1};
	bool behind = false;
	int r = 0;
	for (size_t i = 0; known && r == 0 && i < known->n_sequences; i++)
		if (!strcmp(known->sequences[i].name, to.name))
			r = pg_set_sequences((struct db_conn *)c,
					     &(struct db_schema){.sequences = &known->sequences[i], .n_sequences = 1},
					     e);
	if (r < 0 || *PQgetvalue(owned, row, 2) == '-')
		return r;
	r = pg_sequence_behind(c, t, owned, row, &behind, &to.last_value, e);
	return r < 0 || !behind ? r : pg_set_sequences((struct db_conn *)c, &only, e);
}

int pg_advance_sequences(struct db_conn *conn, const struct db_table *t, const struct db_schema *known, struct err *e)
{
	/* serial columns (a) and identity columns (i) own theirs */
	static const char sql[] =
	    "SELECT s.relname, a.attname, q.seqincrement, q.seqmax FROM pg_catalog.pg_depend d"
	    " JOIN pg_catalog.pg_sequence q ON q.seqrelid = d.objid JOIN pg_catalog.pg_class s ON s.oid = d.objid"
	    " JOIN pg_catalog.pg_class r ON r.oid = d.refobjid AND r.relnamespace = s.relnamespace"
	    " JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
	    " WHERE d.refobjid = $1::pg_catalog.oid AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	    " AND d.deptype IN ('a', 'i') ORDER BY 1";
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_result_ PGresult *owned = NULL;
	const char *oid = pg_listing_oid(&c->listing, t->name);
	const char *params[] = {oid};
	int r = pg_check_write(c, "sequences", e);
	if (r < 0)
		return r;
	if (!oid)
		return err_set(e, EINVAL, "%s: no such table when the transaction began", t->name);
	r = pg_query(c, &owned, t->name, sql, 1, params, e);
	if (r < 0)
		return r;
	for (int i = 0; r >= 0 && i < PQntuples(owned); i++)
		r = pg_advance_sequence(c, t, known, owned, i, e);
	return r < 0 ? r : 0;
}
