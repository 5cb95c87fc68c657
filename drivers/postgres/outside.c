/*
 * drivers/postgres/outside.c - what is not in the schema but hangs on objects of it that are dropped: foreign keys of
 * other tables, publications, casts, event triggers, statistics. What the server would take away with our objects, or
 * what keeps them from being dropped, is read before, taken away, and put back when they are there again; what cannot
 * be is named, before anything is done.
 *
 * Owns the guests in struct pg_conn's `rebuild`. No locks but the server's.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

void pg_guests_done(struct pg_conn *c)
{
	for (size_t i = 0; i < c->rebuild.n_guests; i++) {
		free(c->rebuild.guests[i].what);
		free(c->rebuild.guests[i].drop);
		free(c->rebuild.guests[i].make);
		free(c->rebuild.guests[i].anyway);
	}
	free(c->rebuild.guests);
	c->rebuild.guests = NULL;
	c->rebuild.n_guests = 0;
}

/* Each: $1 its oid. Columns: whether we may; DROP or NULL; the statements that make it; the same in spite of rows that
 * do not fit, or NULL. No row: it belongs to another one, which is looked at itself. */
static const struct {
	uint32_t class_oid;
	bool vanishes; /* when what it names goes for good it goes without being missed */
	int from;      /* the server's version */
	const char *sql;
} pg_guest_kinds[] = {
    {PG_CLASS_CONSTRAINT, false, 0,
     "SELECT c.contype = 'f' AND pg_catalog.pg_has_role(current_user, t.relowner, 'USAGE'),"
     " pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::pg_catalog.regclass, c.conname),"
     " pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::pg_catalog.regclass, c.conname,"
     "  pg_catalog.pg_get_constraintdef(c.oid)) || coalesce(pg_catalog.format('; COMMENT ON CONSTRAINT %I ON %s IS %L',"
     "  c.conname, c.conrelid::pg_catalog.regclass, pg_catalog.obj_description(c.oid, 'pg_constraint')), ''),"
     " pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', c.conrelid::pg_catalog.regclass, c.conname,"
     "  pg_catalog.pg_get_constraintdef(c.oid)) FROM pg_catalog.pg_constraint c"
     " JOIN pg_catalog.pg_class t ON t.oid = c.conrelid WHERE c.oid = $1::pg_catalog.oid AND c.conparentid = 0"},
    {PG_CLASS_PUBLICATION_REL, true, 150000,
     "SELECT pg_catalog.pg_has_role(current_user, p.pubowner, 'USAGE'), NULL,"
     " pg_catalog.format('ALTER PUBLICATION %I ADD TABLE ONLY %s', p.pubname, r.prrelid::pg_catalog.regclass)"
     " || coalesce((SELECT ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)"
     "  || ')' FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)), '')"
     " || coalesce(' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid) || ')', ''), NULL"
     " FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid"
     " WHERE r.oid = $1::pg_catalog.oid"},
    {PG_CLASS_PUBLICATION_REL, true, 0,
     "SELECT pg_catalog.pg_has_role(current_user, p.pubowner, 'USAGE'), NULL,"
     " pg_catalog.format('ALTER PUBLICATION %I ADD TABLE ONLY %s', p.pubname, r.prrelid::pg_catalog.regclass), NULL"
     " FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid"
     " WHERE r.oid = $1::pg_catalog.oid"},
    {PG_CLASS_CAST, false, 0,
     "SELECT true, o.drop, o.make || coalesce(pg_catalog.format('; COMMENT ON CAST %s IS %L', o.name,"
     "  pg_catalog.obj_description(o.oid, 'pg_cast')), ''), NULL FROM (SELECT c.oid, n.name,"
     "  'DROP CAST ' || n.name AS drop, 'CREATE CAST ' || n.name || CASE c.castmethod"
     "   WHEN 'f' THEN ' WITH FUNCTION ' || c.castfunc::pg_catalog.regprocedure WHEN 'i' THEN ' WITH INOUT'"
     "   ELSE ' WITHOUT FUNCTION' END || CASE c.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT'"
     "   ELSE '' END AS make FROM pg_catalog.pg_cast c CROSS JOIN LATERAL (SELECT pg_catalog.format('(%s AS %s)',"
     "   c.castsource::pg_catalog.regtype, c.casttarget::pg_catalog.regtype)) AS n(name)"
     "  WHERE c.oid = $1::pg_catalog.oid) AS o"},
    {PG_CLASS_EVENT_TRIGGER, false, 0,
     "SELECT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),"
     " pg_catalog.format('DROP EVENT TRIGGER %I', t.evtname),"
     " pg_catalog.format('CREATE EVENT TRIGGER %I ON %s%s EXECUTE FUNCTION %s(); ALTER EVENT TRIGGER %I OWNER TO %I',"
     "  t.evtname, t.evtevent, coalesce(' WHEN TAG IN (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(x),"
     "  ', ') FROM pg_catalog.unnest(t.evttags) x) || ')', ''), t.evtfoid::pg_catalog.regproc, t.evtname,"
     "  pg_catalog.pg_get_userbyid(t.evtowner)) || CASE t.evtenabled WHEN 'O' THEN '' ELSE pg_catalog.format("
     "  '; ALTER EVENT TRIGGER %I %s', t.evtname, CASE t.evtenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN"
     "  'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END) END || coalesce(pg_catalog.format("
     "  '; COMMENT ON EVENT TRIGGER %I IS %L', t.evtname, pg_catalog.obj_description(t.oid, 'pg_event_trigger')), ''),"
     " NULL FROM pg_catalog.pg_event_trigger t WHERE t.oid = $1::pg_catalog.oid"},
    {PG_CLASS_STATISTICS, true, 0,
     "SELECT pg_catalog.pg_has_role(current_user, s.stxowner, 'USAGE'), NULL, pg_catalog.pg_get_statisticsobjdef(s.oid)"
     " || CASE WHEN s.stxstattarget >= 0 THEN pg_catalog.format('; ALTER STATISTICS %I.%I SET STATISTICS %s', "
     "n.nspname,"
     "  s.stxname, s.stxstattarget) ELSE '' END || pg_catalog.format('; ALTER STATISTICS %I.%I OWNER TO %I', n.nspname,"
     "  s.stxname, pg_catalog.pg_get_userbyid(s.stxowner)), NULL FROM pg_catalog.pg_statistic_ext s"
     " JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE s.oid = $1::pg_catalog.oid"},
};

/* Reads how a guest is put back. *known: its kind is one that can be; *may: we are allowed to. */
static int pg_read_guest(struct pg_conn *c, const struct pg_outsider *o, bool lasts, const char *what, bool *known,
			 bool *may, struct err *e)
{
	_cleanup_free_ char *oid = xasprintf("%u", o->object.oid);
	size_t i = 0, n = sizeof pg_guest_kinds / sizeof pg_guest_kinds[0];
	while (i < n && (pg_guest_kinds[i].class_oid != o->object.class_oid || pg_guest_kinds[i].from > c->version_num))
		i++;
	*known = i < n && (lasts || pg_guest_kinds[i].vanishes);
	*may = true;
	if (!*known)
		return 0;
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {oid};
	int r = pg_query(c, &res, what, pg_guest_kinds[i].sql, 1, params, e);
	if (r < 0 || !PQntuples(res) || !lasts)
		return r;
	*may = *PQgetvalue(res, 0, 0) == 't';
	if (!*may)
		return 0;
	struct pg_rebuild *b = &c->rebuild;
	b->guests = xrealloc(b->guests, (b->n_guests + 1) * sizeof *b->guests);
	b->guests[b->n_guests++] = (struct pg_guest){.what = xstrdup(what),
						     .drop = xstrdup(pg_cell(res, 0, 1)),
						     .make = xstrdup(PQgetvalue(res, 0, 2)),
						     .anyway = xstrdup(pg_cell(res, 0, 3))};
	return 0;
}

int pg_look_outside(struct pg_conn *c, const struct pg_depends *d, const struct pg_entries *live, struct err *refusal,
		    struct err *e)
{
	for (size_t i = 0; i < d->n_outsiders; i++) {
		const struct pg_outsider *o = &d->outsiders[i];
		const struct pg_entry *on = &live->v[o->entry];
		bool lasts = on->pair != PG_NONE, known = false, may = false;
		_cleanup_result_ PGresult *res = NULL;
		_cleanup_free_ char *a = xasprintf("%u", o->object.class_oid), *b = xasprintf("%u", o->object.oid),
				    *t = xasprintf("%u", o->top.class_oid), *u = xasprintf("%u", o->top.oid);
		const char *params[] = {a, b, t, u};
		int r = pg_query(c, &res, "cannot name what depends on the schema",
				 "SELECT pg_catalog.pg_describe_object($1::pg_catalog.oid, $2::pg_catalog.oid, 0),"
				 " pg_catalog.pg_describe_object($3::pg_catalog.oid, $4::pg_catalog.oid, 0)",
				 4, params, e);
		if (r == 0)
			r = pg_read_guest(c, o, lasts, PQgetvalue(res, 0, 0), &known, &may, e);
		if (r < 0)
			return r;
		if (refusal->code || (known && may))
			continue;
		_cleanup_strbuf_ struct strbuf kind = {0};
		for (const char *p = on->type; *p; p++)
			strbuf_addch(&kind, *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p);
		/* A constraint is told by itself, a view's rule by the view. */
		(void)err_set(refusal, known ? EACCES : ENOTSUP, "%s depends on %s %s, which must %s%s",
			      PQgetvalue(res, 0, o->object.class_oid == PG_CLASS_RULE ? 1 : 0), strbuf_str(&kind),
			      on->tag, lasts ? "be made anew" : "go", known ? ", and is not ours to put back" : "");
	}
	return 0;
}

int pg_drop_guests(struct pg_conn *c, struct err *e)
{
	for (size_t i = 0; i < c->rebuild.n_guests; i++) {
		const struct pg_guest *g = &c->rebuild.guests[i];
		int r = g->drop ? pg_query(c, NULL, g->what, g->drop, 0, NULL, e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int pg_return_guests(struct pg_conn *c, struct strbuf *outside, struct err *e)
{
	for (size_t i = 0; i < c->rebuild.n_guests; i++) {
		const struct pg_guest *g = &c->rebuild.guests[i];
		struct err why = ERR_INIT;
		_cleanup_free_ char *sql = xasprintf("SAVEPOINT metasnap_guest; %s; RELEASE metasnap_guest", g->make);
		int r = pg_query(c, NULL, g->what, sql, 0, NULL, &why);
		if (!r)
			continue;
		bool orphans = g->anyway && !strcmp(why.sqlstate, "23503");
		if (!orphans || !outside) {
			*e = why;
			return r;
		}
		strbuf_addf(outside, "%s; it is not validated\n", why.msg);
		r = pg_query(c, NULL, g->what, "ROLLBACK TO metasnap_guest; RELEASE metasnap_guest", 0, NULL, e);
		r = r < 0 ? r : pg_query(c, NULL, g->what, g->anyway, 0, NULL, e);
		if (r < 0)
			return r;
	}
	return 0;
}
