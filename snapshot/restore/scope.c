/*
 * snapshot/restore/scope.c - see scope.h. A table's file name holds neither a slash nor a tab.
 */
#include "snapshot/restore/scope.h"

#include <string.h>

#include "snapshot/row/table_name.h"

static const char scope_entity[] = "entity ", scope_tables[] = "tables ";

char *restore_scope_text(const char *entity, char *const *tables)
{
	struct strbuf out = {0};
	if (!entity && !tables)
		return NULL;
	strbuf_adds(&out, entity ? scope_entity : scope_tables);
	if (entity)
		strbuf_adds(&out, entity);
	for (size_t i = 0; !entity && tables[i]; i++) {
		strbuf_adds(&out, i ? "/" : "");
		table_file_name(tables[i], &out);
	}
	return strbuf_detach(&out);
}

/* The text behind the mark, NULL when it has another; the caller frees. */
static char *scope_after(const char *detail, const char *mark)
{
	size_t n = strlen(mark);
	return strncmp(detail, mark, n) ? NULL : xmemdup0(detail + n, strcspn(detail + n, "\t"));
}

void restore_scope_read(const char *detail, struct restore_scope *ret)
{
	*ret = (struct restore_scope){0};
	if (!detail)
		return;
	ret->entity = scope_after(detail, scope_entity);
	_cleanup_free_ char *list = scope_after(detail, scope_tables);
	size_t n = 0;
	for (char *rest = list, *name; list && (name = strsep(&rest, "/"));) {
		struct strbuf table = {0};
		ret->tables = xrealloc(ret->tables, (n + 2) * sizeof *ret->tables);
		ret->tables[n + 1] = NULL;
		/* A name that nothing has is found in no snapshot. */
		ret->tables[n++] = table_of_file_name(name, &table) == 0 ? strbuf_detach(&table) : xstrdup(name);
		strbuf_done(&table);
	}
}

void restore_scope_done(struct restore_scope *s)
{
	for (size_t i = 0; s->tables && s->tables[i]; i++)
		free(s->tables[i]);
	free(s->tables);
	free(s->entity);
	*s = (struct restore_scope){0};
}
