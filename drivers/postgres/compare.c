/*
 * drivers/postgres/compare.c - how the database's definitions differ from the wanted ones, object by object, and what
 * is to be done about each: nothing, statements that alter it where it stands, or dropped and made anew with what
 * hangs on it.
 *
 * Owns struct pg_conn's `rebuild`, which rebuild.c carries out. Reads only; no locks.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>

void pg_rebuild_done(struct pg_conn *c)
{
	pg_guests_done(c);
	pg_entries_done(&c->rebuild.live);
	pg_entries_done(&c->rebuild.want);
	for (size_t i = 0; i < c->rebuild.n_old; i++)
		free(c->rebuild.old[i]);
	free(c->rebuild.old);
	free(c->rebuild.sql);
	c->rebuild = (struct pg_rebuild){0};
}

struct pg_comparison {
	struct pg_conn *c;
	struct pg_entries *live, *want;
	struct pg_depends depends;
	bool loaded;
	struct err *e;
};

/* ---- pairs ---- */

static int pg_cmp_entry(const struct pg_entry *a, const struct pg_entry *b)
{
	int r = strcmp(a->tag, b->tag);
	if (!r)
		r = strcmp(a->type, b->type);
	if (!r)
		r = strcmp(a->schema, b->schema);
	/* One for each role. */
	if (!r && !strcmp(a->type, "DEFAULT ACL"))
		r = strcmp(a->owner, b->owner);
	return r;
}

static int pg_cmp_place(const void *a, const void *b)
{
	const struct pg_entry *x = *(struct pg_entry *const *)a, *y = *(struct pg_entry *const *)b;
	int r = pg_cmp_entry(x, y);
	return r ? r : x < y ? -1 : x > y;
}

static struct pg_entry **pg_sorted(struct pg_entries *l)
{
	struct pg_entry **v = xcalloc(l->n + 1, sizeof *v);
	for (size_t i = 0; i < l->n; i++)
		v[i] = &l->v[i];
	qsort(v, l->n, sizeof *v, pg_cmp_place);
	return v;
}

/* Of several with one name (overloads whose words are the same) those with one text belong together. */
static void pg_pair_group(struct pg_comparison *x, struct pg_entry **a, size_t n, struct pg_entry **b, size_t m)
{
	for (int equal = 1; equal >= 0; equal--)
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; a[i]->pair == PG_NONE && k < m; k++)
				if (b[k]->pair == PG_NONE && (!equal || !strcmp(a[i]->text, b[k]->text))) {
					a[i]->pair = (size_t)(b[k] - x->want->v);
					b[k]->pair = (size_t)(a[i] - x->live->v);
				}
}

static void pg_pair_entries(struct pg_comparison *x)
{
	_cleanup_free_ struct pg_entry **a = pg_sorted(x->live), **b = pg_sorted(x->want);
	size_t i = 0, k = 0;
	while (i < x->live->n && k < x->want->n) {
		int order = pg_cmp_entry(a[i], b[k]);
		if (order) {
			i += order < 0;
			k += order > 0;
			continue;
		}
		size_t n = 1, m = 1;
		while (i + n < x->live->n && !pg_cmp_entry(a[i], a[i + n]))
			n++;
		while (k + m < x->want->n && !pg_cmp_entry(b[k], b[k + m]))
			m++;
		pg_pair_group(x, a + i, n, b + k, m);
		i += n;
		k += m;
	}
}

static bool pg_same_setting(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool pg_is_type(const struct pg_entry *x, const char *type)
{
	return !strcmp(x->type, type);
}

/* ---- what differs ---- */

static int pg_load_depends(struct pg_comparison *x)
{
	if (x->loaded)
		return 0;
	x->loaded = true;
	return pg_depends_load(x->c, &x->depends, x->e);
}

static int pg_go(struct pg_comparison *x, size_t i)
{
	int r = pg_load_depends(x);
	if (r == 0)
		pg_entry_goes(&x->depends, x->live, i, PG_NONE);
	return r;
}

/* An attached partition or index is taken apart with its own entry. */
static int pg_go_attached(struct pg_comparison *x, const struct pg_entry *attach)
{
	bool table = pg_is_type(attach, "TABLE ATTACH");
	for (size_t i = 0; i < x->live->n; i++) {
		const struct pg_entry *l = &x->live->v[i];
		size_t n = strlen(l->tag), m = strlen(attach->tag);
		if (strcmp(l->schema, attach->schema))
			continue;
		if (table ? pg_is_type(l, "TABLE") && !strcmp(l->tag, attach->tag)
			  : (pg_is_type(l, "INDEX") && !strcmp(l->tag, attach->tag)) ||
				(pg_is_type(l, "CONSTRAINT") && n > m && l->tag[n - m - 1] == ' ' &&
				 !strcmp(l->tag + n - m, attach->tag)))
			return pg_go(x, i);
	}
	return 0;
}

static bool pg_is_attach(const struct pg_entry *x)
{
	return pg_is_type(x, "TABLE ATTACH") || pg_is_type(x, "INDEX ATTACH");
}

/* Columns that the table of entry i loses: what depends on them goes. false: they cannot go by themselves. */
static int pg_go_columns(struct pg_comparison *x, size_t i, char *const *columns, bool *ok)
{
	_cleanup_free_ char *oid = xasprintf("%u", x->live->v[i].toc.oid);
	int r = pg_load_depends(x);
	if (r < 0)
		return r;
	const struct pg_class_row *row = pg_depends_class(&x->depends, x->live->v[i].toc.oid);
	*ok = row && !row->inherits;
	for (size_t k = 0; *ok && columns && columns[k]; k++) {
		_cleanup_result_ PGresult *res = NULL;
		const char *params[] = {oid, columns[k]};
		r = pg_query(x->c, &res, "cannot find a column",
			     "SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::pg_catalog.oid"
			     " AND pg_catalog.quote_ident(a.attname) = $2 AND NOT a.attisdropped",
			     2, params, x->e);
		if (r < 0)
			return r;
		*ok = PQntuples(res) == 1;
		if (*ok)
			pg_column_goes(&x->depends, x->live, i, atoi(PQgetvalue(res, 0, 0)));
	}
	return 0;
}

/* Whether the statements that make an object are the same to the server, whatever stands beside them. */
static int pg_same_making(struct pg_comparison *x, const struct pg_entry *l, const struct pg_entry *w, bool *same)
{
	static const char *const by_text[] = {"ACL", "COMMENT", "SECURITY LABEL", "DEFAULT ACL"};
	const char *a = x->live->script.statements[l->first].sql, *b = x->want->script.statements[w->first].sql;
	*same = !strcmp(a, b) && !pg_is_type(l, "DEFAULT ACL");
	for (size_t i = 0; i < sizeof by_text / sizeof by_text[0]; i++)
		if (*same || pg_is_type(l, by_text[i]))
			return 0;
	return pg_same_text(x->c, l->type, a, b, same, x->e);
}

static int pg_differs(struct pg_comparison *x, size_t i)
{
	struct pg_entry *l = &x->live->v[i], *w = &x->want->v[l->pair];
	char **columns = NULL;
	int r = 0;
	if (pg_is_attach(l))
		return pg_go_attached(x, l);
	_cleanup_free_ char *table = NULL;
	bool same = false, ok = false, asked = !(l->n && w->n);
	/* What a table gained or lost is seen by its elements; to make it twice for a look takes longer. */
	if (pg_is_type(l, "TABLE") && !asked)
		r = pg_align_table(x->c, x->live->script.statements[l->first].sql,
				   x->want->script.statements[w->first].sql, &table, x->e);
	if (r == 0 && table) {
		same = !strcmp(table, x->want->script.statements[w->first].sql);
		ok = pg_alter_entry(same, table, x->live, l, x->want, w, &columns);
		asked = !pg_may_be_same_table(table, x->want->script.statements[w->first].sql);
	}
	if (r == 0 && !ok && !asked) {
		r = pg_same_making(x, l, w, &same);
		ok = r == 0 && pg_alter_entry(same, table, x->live, l, x->want, w, &columns);
	}
	if (r == 0 && ok && w->shrinks)
		r = pg_go_columns(x, i, columns, &ok);
	for (size_t k = 0; columns && columns[k]; k++)
		free(columns[k]);
	free(columns);
	if (r == 0 && ok && w->n_alter) {
		l->deed = w->deed = l->deed == PG_DEED_GO ? PG_DEED_GO : PG_DEED_ALTER;
		l->rights |= pg_is_type(l, "DEFAULT ACL");
	} else if (r == 0 && !ok) {
		r = pg_go(x, i);
	}
	return r;
}

static bool pg_is_in_schema(const struct pg_comparison *x, const char *extension)
{
	_cleanup_strbuf_ struct strbuf ident = {0};
	pg_add_ident(&ident, x->c->schema);
	const char *p = strstr(extension, " WITH SCHEMA ");
	if (!p)
		return false;
	p += strlen(" WITH SCHEMA ");
	size_t n = strcspn(p, ";");
	return (strlen(x->c->schema) == n && !strncmp(p, x->c->schema, n)) ||
	       (ident.len == n && !strncmp(p, strbuf_str(&ident), n));
}

/* Only the database has it. */
static int pg_is_too_much(struct pg_comparison *x, size_t i)
{
	static const char *const no_objects[] = {
	    "ACL",    "COMMENT",   "SECURITY LABEL", "ROW SECURITY",          "DEFAULT ACL", "SEQUENCE OWNED BY",
	    "SCHEMA", "EXTENSION", "SHELL TYPE",     "MATERIALIZED VIEW DATA"};
	const struct pg_entry *l = &x->live->v[i];
	for (size_t k = 0; k < sizeof no_objects / sizeof no_objects[0]; k++)
		if (pg_is_type(l, no_objects[k]))
			return 0;
	return pg_is_attach(l) ? pg_go_attached(x, l) : pg_go(x, i);
}

/* An extension of this schema that nothing uses any more goes; another one is not the schema's. */
static int pg_drop_extension(struct pg_comparison *x, size_t i)
{
	const struct pg_entry *l = &x->live->v[i];
	if (!pg_is_in_schema(x, l->text) || !l->toc.class_oid)
		return 0;
	int r = pg_load_depends(x);
	if (r < 0)
		return r;
	const struct pg_depends *d = &x->depends;
	const struct pg_object o = {l->toc.class_oid, l->toc.oid, 0};
	for (const struct pg_edge *m = pg_depends_on(d, o, NULL); m; m = pg_depends_on(d, o, m)) {
		const struct pg_object member = {m->object.class_oid, m->object.oid, 0};
		if (m->type != 'e')
			return 0;
		for (const struct pg_edge *u = pg_depends_on(d, member, NULL); u; u = pg_depends_on(d, member, u)) {
			const struct pg_entry *user =
			    pg_entry_of(x->live, (struct pg_object){u->object.class_oid, u->object.oid, 0});
			bool inside = user && user->deed == PG_DEED_GO;
			for (const struct pg_edge *of = pg_depends_of(d, u->object, NULL); of && !inside;
			     of = pg_depends_of(d, u->object, of))
				inside = of->type == 'e' || of->type == 'i' || of->type == 'a';
			if (!inside)
				return 0;
		}
	}
	return pg_go(x, i);
}

/* ---- functions, and what was computed by them ---- */

static bool pg_is_function(const struct pg_entry *x)
{
	return pg_is_type(x, "FUNCTION") || pg_is_type(x, "PROCEDURE") || pg_is_type(x, "AGGREGATE");
}

static bool pg_mentions(const char *text, const char *tag)
{
	_cleanup_free_ char *name = xmemdup0(tag, strcspn(tag, "("));
	return strstr(text, name) != NULL;
}

/* What the function computed is kept in indexes, generated columns and the choice of partitions: these are made anew.
 * Operators and operator classes lead there, too. */
static void pg_go_computed(struct pg_comparison *x, struct pg_object o, size_t because, int depth)
{
	static const uint32_t ways[] = {2617 /* operator */, 2616 /* class */, 2753 /* family */, PG_CLASS_AMOP,
					PG_CLASS_AMPROC};
	struct pg_depends *d = &x->depends;
	for (const struct pg_edge *m = pg_depends_on(d, o, NULL); m && depth < 8; m = pg_depends_on(d, o, m)) {
		const struct pg_object on = {m->object.class_oid, m->object.oid, 0};
		bool computed = false;
		if (on.class_oid == PG_CLASS_RELATION) {
			const struct pg_class_row *row = pg_depends_class(d, on.oid);
			computed =
			    row && (row->kind == 'i' || row->kind == 'I' || (row->kind == 'p' && !m->object.sub));
		}
		for (size_t k = 0; on.class_oid == PG_CLASS_DEFAULT && k < d->n_generated; k++)
			computed |= d->generated[k] == on.oid;
		if (computed)
			pg_object_goes(d, x->live, on, because);
		for (size_t k = 0; k < sizeof ways / sizeof ways[0]; k++)
			if (ways[k] == on.class_oid)
				pg_go_computed(x, on, because, depth + 1);
	}
}

/* Functions that differ, and those that may call one of them: by its name in their text. */
static int pg_look_at_functions(struct pg_comparison *x)
{
	_cleanup_free_ bool *live = xcalloc(x->live->n + 1, sizeof *live);
	_cleanup_free_ const char **names = xcalloc(x->live->n + x->want->n + 1, sizeof *names);
	size_t n = 0;
	for (size_t i = 0; i < x->live->n; i++)
		if (pg_is_function(&x->live->v[i]) &&
		    (x->live->v[i].deed != PG_DEED_KEEP || x->live->v[i].pair == PG_NONE)) {
			live[i] = true;
			names[n++] = x->live->v[i].tag;
		}
	for (size_t i = 0; i < x->want->n; i++)
		if (pg_is_function(&x->want->v[i]) && x->want->v[i].pair == PG_NONE)
			names[n++] = x->want->v[i].tag;
	if (!n)
		return 0;
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < x->live->n; i++)
			if (!live[i] && pg_is_function(&x->live->v[i]) && pg_mentions(x->live->v[i].text, names[k])) {
				live[i] = true;
				names[n++] = x->live->v[i].tag;
			}
	int r = pg_load_depends(x);
	for (size_t i = 0; r == 0 && i < x->live->n; i++)
		if (live[i] && x->live->v[i].toc.class_oid)
			pg_go_computed(x, (struct pg_object){x->live->v[i].toc.class_oid, x->live->v[i].toc.oid, 0}, i,
				       0);
	return r;
}

/* ---- rights ---- */

/* "TABLE t" of an ACL is of an entry t. */
static bool pg_is_of_kind(const char *kind, size_t n, const char *type)
{
	static const char *const kinds[][2] = {
	    {"TABLE", "TABLE"},         {"TABLE", "VIEW"},          {"TABLE", "MATERIALIZED VIEW"},
	    {"TABLE", "FOREIGN TABLE"}, {"SEQUENCE", "SEQUENCE"},   {"FUNCTION", "FUNCTION"},
	    {"FUNCTION", "AGGREGATE"},  {"AGGREGATE", "AGGREGATE"}, {"PROCEDURE", "PROCEDURE"},
	    {"TYPE", "TYPE"},           {"TYPE", "DOMAIN"},         {"DOMAIN", "DOMAIN"},
	    {"SCHEMA", "SCHEMA"},
	};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strlen(kinds[i][0]) == n && !strncmp(kinds[i][0], kind, n) && !strcmp(kinds[i][1], type))
			return true;
	return false;
}

/* An ACL's name of an object is quoted where it has to be, that of the object's own entry never is. */
static char *pg_unquoted(const char *tag)
{
	struct strbuf sb = {0};
	if (*tag != '"')
		return xstrdup(tag);
	for (tag++; *tag && (*tag != '"' || tag[1] == '"'); tag++) {
		tag += *tag == '"';
		strbuf_addch(&sb, *tag);
	}
	strbuf_adds(&sb, *tag ? tag + 1 : tag);
	return strbuf_detach(&sb);
}

/* "public.f(a text)" of GRANT ... ON FUNCTION public.f(a text) TO; NULL: it is of no function. */
static char *pg_acl_routine(const struct pg_entry *acl)
{
	_cleanup_strbuf_ struct strbuf schema = {0}, name = {0};
	const char *p = strstr(acl->text, " ON FUNCTION ");
	p = p ? p + strlen(" ON FUNCTION ") : strstr(acl->text, " ON PROCEDURE ");
	if (p && *p == ' ')
		p += strlen(" ON PROCEDURE ");
	const char *end = p ? pg_after_qualified(p, &schema, &name) : NULL;
	if (!end || *end != '(')
		return NULL;
	bool quoted = false;
	int depth = 0;
	do {
		quoted ^= *end == '"';
		depth += quoted ? 0 : *end == '(' ? 1 : *end == ')' ? -1 : 0;
		end++;
	} while (*end && depth);
	return xmemdup0(p, (size_t)(end - p));
}

/* The entry whose rights an ACL entry of the same text gives; PG_NONE: not found. */
static size_t pg_acl_owner(const struct pg_entries *l, const struct pg_entry *acl)
{
	size_t n = strcspn(acl->tag, " ");
	_cleanup_strbuf_ struct strbuf schema = {0}, name = {0};
	_cleanup_free_ char *plain = pg_unquoted(acl->tag + n + (acl->tag[n] == ' '));
	const char *tag = plain, *kind = acl->tag, *in = acl->schema;
	/* pg_dump --verbose says so itself. */
	for (size_t k = 0; k < acl->toc.n_needs; k++)
		for (size_t i = 0; i < l->n; i++)
			if (l->v[i].toc.id == acl->toc.needs[k] && l->v[i].toc.class_oid)
				return i;
	if (n == 6 && !strncmp(acl->tag, "COLUMN", n)) {
		/* "t.c": the table's name may have dots, too, but not in the statement */
		const char *on = strstr(acl->text, " ON TABLE ");
		if (!on || !pg_after_qualified(on + 10, &schema, &name))
			return PG_NONE;
		kind = "TABLE";
		n = 5;
		tag = strbuf_str(&name);
		in = strbuf_str(&schema);
	}
	/* A function's arguments have their names in both statements, and in no tag. */
	_cleanup_free_ char *routine = pg_acl_routine(acl);
	_cleanup_free_ char *owned = routine ? xasprintf(" %s OWNER TO ", routine) : NULL;
	for (size_t i = 0; owned && i < l->n; i++)
		if (pg_is_function(&l->v[i]) && strstr(l->v[i].text, owned))
			return i;
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].tag, tag) && pg_is_of_kind(kind, n, l->v[i].type) &&
		    (!strcmp(l->v[i].schema, in) || !strcmp(l->v[i].type, "SCHEMA")))
			return i;
	return PG_NONE;
}

static bool pg_changes_owner(const struct pg_entry *w)
{
	size_t len;
	for (size_t k = 0; k < w->n_alter; k++)
		if (pg_owner_of(w->alter[k], &len))
			return true;
	return false;
}

/* Of an object: whether any of the ACL entries about it differs. */
static bool pg_rights_differ(const struct pg_comparison *x, const char *target)
{
	for (size_t i = 0; i < x->live->n; i++) {
		const struct pg_entry *l = &x->live->v[i];
		if (!pg_is_type(l, "ACL") || (l->pair != PG_NONE && !strcmp(l->text, x->want->v[l->pair].text)))
			continue;
		_cleanup_free_ char *other = pg_rights_target(l->text);
		if (!strcmp(other, target))
			return true;
	}
	return false;
}

/* An ACL entry of a member of an extension, which is no entry itself. */
static int pg_look_at_member(struct pg_comparison *x, struct pg_entry *l)
{
	_cleanup_free_ char *target = pg_rights_target(l->text), *class_oid = NULL, *oid = NULL;
	struct pg_entry *w = l->pair == PG_NONE ? NULL : &x->want->v[l->pair];
	if (!pg_rights_differ(x, target))
		return 0;
	int r = pg_rights_of_member(x->c, l->text, &class_oid, &oid, x->e);
	if (r < 0)
		return r;
	if (!r)
		return err_set(x->e, ENOTSUP, "rights of %s: nobody knows what that is", l->tag);
	l->toc.class_oid = (uint32_t)strtoul(class_oid, NULL, 10);
	l->toc.oid = (uint32_t)strtoul(oid, NULL, 10);
	l->rights = true;
	if (!w)
		return 0;
	w->deed = l->deed = PG_DEED_ALTER;
	for (size_t s = 0; s < w->n; s++)
		pg_add_alter(w, xstrdup(x->want->script.statements[w->first + s].sql));
	return 0;
}

/* Rights of an object are given anew as a whole. */
static int pg_look_at_rights(struct pg_comparison *x)
{
	for (size_t i = 0; i < x->live->n; i++) {
		struct pg_entry *l = &x->live->v[i];
		if (!pg_is_type(l, "ACL") || l->deed == PG_DEED_GO)
			continue;
		size_t of = pg_acl_owner(x->live, l);
		if (of == PG_NONE) {
			int r = pg_look_at_member(x, l);
			if (r < 0)
				return r;
			continue;
		}
		if (l->pair == PG_NONE || strcmp(l->text, x->want->v[l->pair].text) ||
		    (x->live->v[of].pair != PG_NONE && pg_changes_owner(&x->want->v[x->live->v[of].pair])))
			x->live->v[of].rights = true;
	}
	for (size_t k = 0; k < x->want->n; k++) {
		const struct pg_entry *w = &x->want->v[k];
		if (!pg_is_type(w, "ACL") || w->pair != PG_NONE)
			continue;
		/* The database's has no entry, so the rights that are taken for granted: what the wanted one says comes
		 * on top of these, whether or not we know what it is of. */
		size_t of = pg_acl_owner(x->want, w);
		if (of == PG_NONE)
			continue;
		if (x->want->v[of].pair != PG_NONE)
			x->live->v[x->want->v[of].pair].rights = true;
	}
	for (size_t k = 0; k < x->want->n; k++) {
		struct pg_entry *w = &x->want->v[k];
		if (!pg_is_type(w, "ACL") || w->pair == PG_NONE || x->live->v[w->pair].deed == PG_DEED_GO)
			continue;
		size_t of = pg_acl_owner(x->live, &x->live->v[w->pair]);
		if (of == PG_NONE || !x->live->v[of].rights)
			continue;
		w->deed = x->live->v[w->pair].deed = PG_DEED_ALTER;
		for (size_t s = 0; s < w->n; s++)
			pg_add_alter(w, xstrdup(x->want->script.statements[w->first + s].sql));
	}
	return 0;
}

/* ---- all of it ---- */

/* The comment on an extension that only the database has, and that stays. */
static bool pg_is_of_stranger(const struct pg_entries *live, const struct pg_entry *l)
{
	for (size_t i = 0; l->toc.n_needs && i < live->n; i++)
		if (live->v[i].toc.id == l->toc.needs[0])
			return pg_is_type(&live->v[i], "EXTENSION") && live->v[i].pair == PG_NONE;
	return false;
}

static bool pg_is_to_be_made(const struct pg_comparison *x, const struct pg_entry *w)
{
	return w->pair == PG_NONE || x->live->v[w->pair].deed == PG_DEED_GO;
}

/* A table that is made and inherits has the conditions of its parents from the beginning, while rows may be older than
 * one that was never validated: such ones, which are entries of their own, come back when the rows are there. */
static int pg_look_at_heirs(struct pg_comparison *x)
{
	bool heirs = false;
	for (size_t k = 0; k < x->want->n && !heirs; k++) {
		const struct pg_entry *w = &x->want->v[k];
		heirs = pg_is_to_be_made(x, w) &&
			(pg_is_type(w, "TABLE ATTACH") || (pg_is_type(w, "TABLE") && strstr(w->text, "\nINHERITS (")));
	}
	int r = 0;
	for (size_t i = 0; r == 0 && heirs && i < x->live->n; i++)
		if (pg_is_type(&x->live->v[i], "CHECK CONSTRAINT") && pg_begins(x->live->v[i].text, "ALTER TABLE "))
			r = pg_go(x, i);
	return r;
}

static int pg_find_deeds(struct pg_comparison *x)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < x->live->n; i++) {
		struct pg_entry *l = &x->live->v[i];
		const struct pg_entry *w = l->pair == PG_NONE ? NULL : &x->want->v[l->pair];
		if (!w)
			r = pg_is_too_much(x, i);
		else if (!pg_is_type(l, "ACL") &&
			 !(!strcmp(l->text, w->text) && pg_same_setting(l->tablespace, w->tablespace) &&
			   pg_same_setting(l->method, w->method)))
			r = pg_differs(x, i);
	}
	for (size_t k = 0; r == 0 && k < x->want->n; k++)
		if (x->want->v[k].pair == PG_NONE && pg_is_attach(&x->want->v[k]))
			r = pg_go_attached(x, &x->want->v[k]);
	if (r == 0)
		r = pg_look_at_functions(x);
	if (r == 0)
		r = pg_look_at_heirs(x);
	for (size_t i = 0; r == 0 && i < x->live->n; i++)
		if (x->live->v[i].pair == PG_NONE && pg_is_type(&x->live->v[i], "EXTENSION"))
			r = pg_drop_extension(x, i);
	if (r == 0)
		r = pg_look_at_rights(x);
	for (size_t i = 0; r == 0 && i < x->live->n; i++) {
		struct pg_entry *l = &x->live->v[i];
		if (l->pair == PG_NONE && pg_is_type(l, "DEFAULT ACL"))
			l->rights = true;
		char *sql = l->pair == PG_NONE && l->deed == PG_DEED_KEEP && !pg_is_of_stranger(x->live, l)
				? pg_unmake_entry(x->live, l)
				: NULL;
		if (sql)
			pg_add_alter(l, sql);
		if (sql || (l->pair == PG_NONE && l->deed == PG_DEED_KEEP && pg_is_type(l, "MATERIALIZED VIEW DATA")))
			l->deed = PG_DEED_ALTER;
		if (l->deed == PG_DEED_GO && l->toc.class_oid)
			l->goes_along = pg_goes_with_another(&x->depends, x->live, l);
	}
	for (size_t k = 0; k < x->want->n; k++) {
		struct pg_entry *w = &x->want->v[k];
		if (w->pair == PG_NONE || x->live->v[w->pair].deed == PG_DEED_GO)
			w->deed = PG_DEED_GO;
	}
	return r;
}

/* ---- in words ---- */

static char *pg_lower(const char *text)
{
	char *out = xstrdup(text);
	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return out;
}

static char *pg_kind_of(const struct pg_entry *x)
{
	static const struct {
		const char *type, *words;
	} of[] = {{"ACL", "grants of "}, {"COMMENT", "comment on "}, {"SECURITY LABEL", "security label of "}};
	for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
		if (pg_is_type(x, of[i].type)) {
			_cleanup_free_ char *kind = xmemdup0(x->tag, strcspn(x->tag, " "));
			_cleanup_free_ char *lower = pg_lower(kind);
			return xasprintf("%s%s", of[i].words, lower);
		}
	if (pg_is_type(x, "FK CONSTRAINT"))
		return xstrdup("foreign key");
	if (pg_is_type(x, "DEFAULT ACL"))
		return xstrdup("default privileges");
	return pg_lower(x->type);
}

static char *pg_name_of(const struct pg_entry *x)
{
	if (pg_is_type(x, "ACL") || pg_is_type(x, "COMMENT") || pg_is_type(x, "SECURITY LABEL")) {
		const char *space = strchr(x->tag, ' ');
		return xstrdup(space ? space + 1 : x->tag);
	}
	if (pg_is_type(x, "DEFAULT ACL"))
		return xasprintf("%s of %s", x->tag, x->owner);
	return xstrdup(x->tag);
}

static void pg_tell(const struct pg_comparison *x, struct db_objects *ret, enum db_deed deed, const struct pg_entry *o,
		    size_t because)
{
	char *why = NULL;
	if (because != PG_NONE) {
		_cleanup_free_ char *kind = pg_kind_of(&x->live->v[because]);
		why = xasprintf("%s %s", kind, x->live->v[because].tag);
	}
	db_objects_add(ret, deed, pg_kind_of(o), pg_name_of(o), why);
}

/* What goes and comes with its table, and is no object in its own right. */
static bool pg_is_only_along(const struct pg_entry *l)
{
	return !l->toc.class_oid && l->deed == PG_DEED_GO && l->because != PG_NONE;
}

static void pg_tell_all(const struct pg_comparison *x, struct db_objects *ret)
{
	for (size_t i = x->live->n; i-- > 0;) {
		const struct pg_entry *l = &x->live->v[i];
		if (l->pair != PG_NONE)
			continue;
		bool rights = (pg_is_type(l, "ACL") || pg_is_type(l, "DEFAULT ACL")) && l->deed == PG_DEED_KEEP;
		if (rights || (l->deed != PG_DEED_KEEP && !pg_is_only_along(l)))
			pg_tell(x, ret, DB_DEED_DROP, l, l->deed == PG_DEED_GO ? l->because : PG_NONE);
	}
	for (size_t k = 0; k < x->want->n; k++) {
		const struct pg_entry *w = &x->want->v[k], *l = w->pair == PG_NONE ? NULL : &x->live->v[w->pair];
		if (!l)
			pg_tell(x, ret, DB_DEED_MAKE, w, PG_NONE);
		else if (w->deed == PG_DEED_ALTER)
			pg_tell(x, ret, DB_DEED_ALTER, w, PG_NONE);
		else if (w->deed == PG_DEED_GO && !pg_is_only_along(l))
			pg_tell(x, ret, DB_DEED_REMAKE, w, l->because);
	}
}

/* pg_dump's comments hold a name in one line. */
static bool pg_is_name(const char *tag, const char *name)
{
	for (; *tag && *name; tag++, name++)
		if (*tag != *name && !(*tag == ' ' && (*name == '\n' || *name == '\r')))
			return false;
	return !*tag && !*name;
}

static void pg_tell_tables(const struct pg_comparison *x, const struct db_schema *s, struct db_objects *ret)
{
	ret->remade = xcalloc(s->n_tables + 1, sizeof *ret->remade);
	for (size_t k = 0; k < x->want->n; k++)
		for (size_t i = 0; i < s->n_tables && pg_is_type(&x->want->v[k], "TABLE"); i++)
			if (x->want->v[k].deed == PG_DEED_GO && pg_is_name(x->want->v[k].tag, s->tables[i].name))
				ret->remade[i] = true;
}

/* What names a table that is dropped, without a dependency. */
static int pg_look_for_lost(const struct pg_comparison *x, struct db_objects *ret)
{
	_cleanup_strbuf_ struct strbuf oids = {0};
	for (size_t i = 0; i < x->live->n; i++)
		if (x->live->v[i].deed == PG_DEED_GO && pg_is_type(&x->live->v[i], "TABLE"))
			strbuf_addf(&oids, "%c%u", oids.len ? ',' : '{', x->live->v[i].toc.oid);
	if (!oids.len || ret->refusal.code)
		return 0;
	strbuf_adds(&oids, "}");
	int r = pg_refuse_lost(x->c, strbuf_str(&oids), &ret->refusal, x->e);
	/* Nobody can force it. */
	if (ret->refusal.code)
		ret->refusal.code = ENOTSUP;
	return r;
}

int pg_compare(struct db_conn *conn, const struct db_definitions *live, const struct db_definitions *want,
	       const bool *touched, struct db_objects *ret, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct pg_comparison x = {.c = c, .live = &c->rebuild.live, .want = &c->rebuild.want, .e = e};
	(void)touched; /* rows and definitions are changed in one transaction */
	*ret = (struct db_objects){0};
	if (!c->active)
		return err_set(e, EINVAL, "compare: no transaction");
	pg_rebuild_done(c);
	int r = pg_entries_parse(x.live, live->sql, &c->toc, e);
	if (r < 0)
		return r;
	if (x.live->n && !c->toc.n)
		return err_set(e, EINVAL, "compare: the schema's text is not of this transaction");
	r = pg_entries_parse(x.want, want->sql, NULL, e);
	if (r < 0)
		return err_prefix(e, "the snapshot's definitions");
	pg_pair_entries(&x);
	r = pg_find_deeds(&x);
	if (r == 0 && x.depends.n_outsiders)
		r = pg_look_outside(c, &x.depends, x.live, &ret->refusal, e);
	if (r == 0)
		r = pg_look_for_lost(&x, ret);
	if (r == 0) {
		pg_tell_all(&x, ret);
		pg_tell_tables(&x, want->schema, ret);
		c->rebuild.sql = ret->refusal.code ? NULL : xstrdup(want->sql);
	}
	pg_depends_done(&x.depends);
	return r;
}
