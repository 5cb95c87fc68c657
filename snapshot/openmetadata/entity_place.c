/*
 * snapshot/openmetadata/entity_place.c - where a value stands in the lines of a table, and reading it there. No state;
 * any thread.
 *
 * Columns are found whatever the case of their names: PostgreSQL folds it.
 */
#include "snapshot/openmetadata/internal.h"

#include <errno.h>
#include <strings.h>

#include "snapshot/row/json_text.h"

#define DOCUMENT "json"

const struct db_column *entity_find_column(const struct db_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (!strcasecmp(t->columns[i].name, name))
			return &t->columns[i];
	return NULL;
}

struct entity_place entity_find_place(const struct db_table *t, const char *name)
{
	const struct db_column *c = entity_find_column(t, name);
	if (!c)
		return (struct entity_place){0};
	if (!c->generated)
		return (struct entity_place){.column = c->name};
	return (struct entity_place){.column = c->document, .member = c->member};
}

struct entity_place entity_find_member(const struct db_table *t, const char *member)
{
	const struct db_column *c = entity_find_column(t, DOCUMENT);
	return c && !c->generated ? (struct entity_place){.column = c->name, .member = member}
				  : (struct entity_place){0};
}

/* 1: a string or number, in *out; 0: there is none. */
static int take_value(const char *v, size_t len, struct strbuf *out)
{
	strbuf_clear(out);
	switch (json_text_kind(*v)) {
	case JSON_KIND_STRING:
		return json_text_unquote(v + 1, len - 2, out) ? 1 : -EBADMSG;
	case JSON_KIND_NUMBER:
		strbuf_add(out, v, len);
		return 1;
	default:
		return 0;
	}
}

int entity_read_place(const struct entity_place *at, const struct db_table *t, const char *line, size_t len,
		      struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	const char *v;
	size_t n;
	if (!at->column)
		return 0;
	int r = json_text_member(line, len, at->column, strlen(at->column), &v, &n);
	if (r == 1 && at->member) {
		/* A document that is kept as text is a string that holds it. */
		if (*v == '"' && json_text_unquote(v + 1, n - 2, &text)) {
			v = strbuf_str(&text);
			n = text.len;
		}
		r = *v == '{' ? json_text_member(v, n, at->member, strlen(at->member), &v, &n) : 0;
	}
	if (r == 1)
		r = take_value(v, n, out);
	return r < 0 ? err_set(e, EBADMSG, "table %s: a row cannot be read", t->name) : r;
}
