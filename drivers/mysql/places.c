/*
 * drivers/mysql/places.c - where the documents of a JSON column have values whose types their text does not tell, and
 * the questions to the server about them.
 *
 * A place is a path without the numbers of elements: $."columns"[*]."length". A scan notes those that it meets, asks at
 * its end, in the same transaction and hence about the same rows, whether any holds another type than text would make,
 * and is done: nearly always none does. For 100 MB of OpenMetadata's tables with their columns that takes MySQL 9.7 0.5 s
 * beside the scan's 0.9 s; to list all members of every document takes 0.9 s, to make each of its text 1.1 s. Where there
 * are such types, the rows have to be read once more, with the types beside them.
 *
 * On the connection's thread; no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mysql/internal.h"

/* Places of one statement. */
#define MY_ASK_PLACES ((size_t)64)
/* Beyond it (keys that are data) only whether there is any type at all is asked, of all members. */
#define MY_MAX_PLACES ((size_t)1024)
#define MY_PLACE_SLOTS (2 * MY_MAX_PLACES)

struct my_place {
	uint64_t hash;
	struct strbuf path;
	unsigned may; /* MY_MAY_...: seen by any scan */
	size_t rest;  /* of the path behind its last [*]; 0: it has none */
	bool array;   /* the path has a [*] */
	bool typed;
	const char *types, *types_end; /* of the document at hand: words that are left */
};

struct my_places {
	struct my_place *v;
	size_t n, n_typed;
	bool too_many;
	unsigned short slots[MY_PLACE_SLOTS]; /* index + 1 by hash; 0: free */
};

void my_places_free(struct my_places *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		strbuf_done(&p->v[i].path);
	free(p->v);
	free(p);
}

struct my_places *my_places_new(void)
{
	return xcalloc(1, sizeof(struct my_places));
}

bool my_places_typed(const struct my_places *p)
{
	return p && p->n_typed > 0;
}

size_t my_places_columns(const struct my_places *p)
{
	return p->n_typed;
}

/* ---- by path ---- */

static uint64_t my_walk_hash(struct my_walk *w, size_t depth)
{
	uint64_t h = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < depth; i++) {
		struct my_step *step = &w->steps[i];

		if (!step->hashed) {
			uint64_t own = step->array ? 1 : 0xcbf29ce484222325u;

			for (size_t k = 0; !step->array && k < step->name_len; k++)
				own = (own ^ (unsigned char)step->name[k]) * 0x100000001b3u;
			step->hash = own;
			step->hashed = true;
		}
		h = (h ^ step->hash) * 0x9fb21c651e98df25u;
		h ^= h >> 29;
	}
	return h;
}

static bool my_place_is(const struct my_place *place, const struct my_walk *w, size_t depth)
{
	const char *p = strbuf_str(&place->path) + 1;

	for (size_t i = 0; i < depth; i++) {
		const struct my_step *step = &w->steps[i];

		if (step->array) {
			if (strncmp(p, "[*]", 3) != 0)
				return false;
			p += 3;
		} else {
			if (*p != '.' || strncmp(p + 1, step->name, step->name_len) != 0)
				return false;
			p += 1 + step->name_len;
		}
	}
	return !*p;
}

/* The place of the value that the walk gave last. add: made, where it is not there yet and there is room. */
static struct my_place *my_place_of(struct my_places *p, struct my_walk *w, size_t depth, bool add)
{
	uint64_t hash = my_walk_hash(w, depth);

	for (size_t slot = hash % MY_PLACE_SLOTS;; slot = (slot + 1) % MY_PLACE_SLOTS) {
		struct my_place *place = p->slots[slot] ? &p->v[p->slots[slot] - 1] : NULL;

		if (place && place->hash == hash && my_place_is(place, w, depth))
			return place;
		if (place)
			continue;
		if (!add)
			return NULL;
		if (p->n == MY_MAX_PLACES) {
			p->too_many = true;
			return NULL;
		}
		if (p->n % 16 == 0)
			p->v = xrealloc(p->v, (p->n + 16) * sizeof *p->v);
		place = &p->v[p->n++];
		*place = (struct my_place){.hash = hash};
		strbuf_addch(&place->path, '$');
		for (size_t i = 0; i < depth; i++) {
			my_walk_step(w, i, false, &place->path);
			if (w->steps[i].array)
				place->rest = place->path.len;
		}
		p->slots[slot] = (unsigned short)p->n;
		return place;
	}
}

void my_places_look(struct my_places *p, const char *text, size_t len)
{
	struct my_walk w;
	struct my_scalar v;

	my_walk_begin(&w, text, len);
	while (my_walk_next(&w, &v)) {
		unsigned may = my_may_be(&v);
		struct my_place *place = may ? my_place_of(p, &w, v.depth, true) : NULL;

		if (place)
			place->may |= may;
	}
}

/* ---- types that are read with the rows ---- */

static void my_place_type(const struct my_place *place, const char *column, struct strbuf *sql)
{
	my_sql(sql, place->path.len > 1 ? "JSON_TYPE(JSON_EXTRACT(%i,%q))" : "JSON_TYPE(%i)", column,
	       strbuf_str(&place->path));
}

size_t my_places_select(const struct my_places *p, const char *column, struct strbuf *sql)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct my_place *place = &p->v[i];

		if (!place->typed)
			continue;
		strbuf_addch(sql, ',');
		if (place->rest)
			my_sql(sql,
			       "(SELECT GROUP_CONCAT(IFNULL(JSON_TYPE(z.v),'NULL') ORDER BY z.n) FROM JSON_TABLE(%i,%q "
			       "COLUMNS(n FOR ORDINALITY, v JSON PATH '$')) z)",
			       column, strbuf_str(&place->path));
		else
			my_place_type(place, column, sql);
	}
	return p->n_typed;
}

static int my_place_spell(struct my_place *place, const struct my_scalar *v, struct strbuf *out, struct err *e)
{
	const char *word = place->types, *comma = word ? memchr(word, ',', (size_t)(place->types_end - word)) : NULL;

	if (!word)
		return err_set(e, EIO, "the server did not tell the type of every %s", strbuf_str(&place->path));
	const char *end = comma ? comma : place->types_end;
	place->types = comma ? comma + 1 : NULL;
	if (*v->at == '{' || *v->at == '[')
		return 0; /* copied as it is */
	if (!my_spell(out, v, word, (size_t)(end - word)))
		return err_set(e, ENOTSUP, "%s of a JSON document is a %.*s that cannot be written again: %.*s",
			       strbuf_str(&place->path), (int)(end - word), word, v->len < 100 ? (int)v->len : 100,
			       v->at);
	return 1;
}

int my_places_spell(struct my_places *p, const char *text, size_t len, MYSQL_ROW types, const unsigned long *type_len,
		    struct strbuf *out, struct err *e)
{
	const char *copied = text;
	struct my_walk w;
	struct my_scalar v;

	for (size_t i = 0, k = 0; i < p->n; i++) {
		if (!p->v[i].typed)
			continue;
		p->v[i].types = types[k];
		p->v[i].types_end = types[k] ? types[k] + type_len[k] : NULL;
		k++;
	}
	strbuf_clear(out);
	my_walk_begin(&w, text, len);
	while (my_walk_next(&w, &v)) {
		/* The step that an object or array opened is behind its own path. */
		struct my_place *place = my_place_of(p, &w, v.depth, false);

		if (!place || !place->typed)
			continue;
		strbuf_add(out, copied, (size_t)(v.at - copied));
		copied = v.at;
		int r = my_place_spell(place, &v, out, e);
		if (r < 0)
			return r;
		if (r > 0)
			copied = v.at + v.len;
	}
	strbuf_add(out, copied, (size_t)(text + len - copied));
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].typed && p->v[i].types)
			return err_set(e, EIO, "the server told types of values that are not at %s",
				       strbuf_str(&p->v[i].path));
	return 0;
}

/* ---- the questions ---- */

/* Whether the value x, of type t, is not what its text would be made into. */
static void my_add_condition(struct strbuf *sql, unsigned may, const char *t, const char *x)
{
	const char *separator = "";

	if (may & MY_MAY_STRING) {
		my_sql(sql, "%s IN ('DATE','TIME','DATETIME','TIMESTAMP','BLOB','BIT','OPAQUE')", t);
		separator = " OR ";
	}
	if ((may & MY_MAY_SMALL) && (may & MY_MAY_LARGE))
		my_sql(sql,
		       "%s%s='DECIMAL' OR %s='INTEGER' AND %s>=4294967296 OR %s='UNSIGNED INTEGER' AND %s<4294967296",
		       separator, t, t, x, t, x);
	else if (may & (MY_MAY_SMALL | MY_MAY_LARGE))
		my_sql(sql, "%s%s IN ('DECIMAL','%s')", separator, t,
		       may & MY_MAY_SMALL ? "UNSIGNED INTEGER" : "INTEGER");
	else if (may & MY_MAY_FRACTION)
		my_sql(sql, "%s%s='DECIMAL'", separator, t);
}

/* Of one element of each of the arrays of a table made by the places' common path. */
static void my_add_array_question(struct strbuf *sql, struct my_place *const *asked, size_t n, const char *column)
{
	_cleanup_strbuf_ struct strbuf where = {0}, prefix = {0};

	strbuf_add(&prefix, strbuf_str(&asked[0]->path), asked[0]->rest);
	my_sql(sql, "EXISTS(SELECT 1 FROM JSON_TABLE(%i,%q COLUMNS(", column, strbuf_str(&prefix));
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *value = xasprintf("z.v%zu", i), *type = xasprintf("JSON_TYPE(z.v%zu)", i);
		_cleanup_free_ char *rest = xasprintf("$%s", strbuf_str(&asked[i]->path) + asked[i]->rest);

		my_sql(sql, "%sv%z JSON PATH %q", i ? "," : "", i, rest);
		strbuf_adds(&where, i ? " OR " : "");
		my_add_condition(&where, asked[i]->may, type, value);
	}
	my_sql(sql, ")) z WHERE %s)", strbuf_str(&where));
}

static void my_add_question(struct strbuf *sql, struct my_place *const *asked, size_t n, const char *column)
{
	_cleanup_strbuf_ struct strbuf type = {0}, value = {0};
	const struct my_place *place = asked[0];

	if (place->rest) {
		my_add_array_question(sql, asked, n, column);
		return;
	}
	my_place_type(place, column, &type);
	my_sql(&value, place->path.len > 1 ? "JSON_EXTRACT(%i,%q)" : "%i", column, strbuf_str(&place->path));
	my_add_condition(sql, place->may, strbuf_str(&type), strbuf_str(&value));
}

static int my_place_cmp(const void *a, const void *b)
{
	const struct my_place *x = *(struct my_place *const *)a, *y = *(struct my_place *const *)b;

	return strcmp(strbuf_str(&x->path), strbuf_str(&y->path));
}

/* How many of the places, from the first on, are members of the elements of the same arrays. */
static size_t my_same_arrays(struct my_place *const *asked, size_t n)
{
	const struct my_place *first = asked[0];
	size_t same = 1;

	while (first->rest && same < n && asked[same]->rest == first->rest &&
	       !memcmp(strbuf_str(&asked[same]->path), strbuf_str(&first->path), first->rest))
		same++;
	return same;
}

static int my_ask_places(struct my_conn *c, struct my_places *p, struct my_place **asked, size_t n, const char *table,
			 const char *column, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_result_ MYSQL_RES *res = NULL;

	qsort(asked, n, sizeof *asked, my_place_cmp);
	for (size_t i = 0; i < n; i += my_same_arrays(asked + i, n - i)) {
		strbuf_adds(&sql, i ? ",MAX(" : "SELECT MAX(");
		my_add_question(&sql, asked + i, my_same_arrays(asked + i, n - i), column);
		strbuf_addch(&sql, ')');
	}
	my_sql(&sql, " FROM %i.%i", c->database, table);
	int r = my_select(c, &res, e, "%s", strbuf_str(&sql));
	if (r < 0)
		return r;
	MYSQL_ROW row = mysql_fetch_row(res);
	for (size_t i = 0, k = 0; row && i < n; k++) {
		size_t same = my_same_arrays(asked + i, n - i);
		bool found = row[k] && strcmp(row[k], "0") != 0;

		for (size_t end = i + same; i < end; i++) {
			asked[i]->typed |= found;
			p->n_typed += found;
		}
		r |= found;
	}
	return r;
}

/* Keys that are data: every member of every document. */
static int my_ask_all(struct my_conn *c, const char *table, const char *column, struct err *e)
{
	static const char *const paths[] = {"$**.*", "$**[*]"};

	for (size_t i = 0; i < 2; i++) {
		_cleanup_strbuf_ struct strbuf condition = {0};
		_cleanup_free_ char *found = NULL;

		my_add_condition(&condition, MY_MAY_STRING | MY_MAY_SMALL | MY_MAY_LARGE, "JSON_TYPE(z.v)", "z.v");
		int r =
		    my_select_one(c, &found, e,
				  "SELECT z.v FROM %i.%i t, JSON_TABLE(t.%i,%q COLUMNS(v JSON PATH '$')) z WHERE %s "
				  "LIMIT 1",
				  c->database, table, column, paths[i], strbuf_str(&condition));
		if (r < 0)
			return r;
		if (found)
			return err_set(e, ENOTSUP,
				       "column %s: its JSON documents have values in more than %zu different places, "
				       "and one of them is of a type that text does not tell (%.100s)",
				       column, MY_MAX_PLACES, found);
	}
	return 0;
}

int my_places_ask(struct my_conn *c, struct my_places *p, const char *table, const char *column, struct err *e)
{
	struct my_place *asked[MY_ASK_PLACES];
	size_t n = 0;
	int any = 0;

	if (p->too_many)
		return my_ask_all(c, table, column, e);
	for (size_t i = 0; i < p->n; i++) {
		if (!p->v[i].typed)
			asked[n++] = &p->v[i];
		if (n == 0 || (n < MY_ASK_PLACES && i + 1 < p->n))
			continue;
		int r = my_ask_places(c, p, asked, n, table, column, e);
		if (r < 0)
			return r;
		any |= r;
		n = 0;
	}
	return any;
}
