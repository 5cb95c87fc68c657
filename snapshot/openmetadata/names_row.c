/*
 * snapshot/openmetadata/names_row.c - see names_row.h. No locks.
 */
#include "snapshot/openmetadata/names_row.h"

#include <errno.h>

#include "snapshot/openmetadata/names_path.h"
#include "snapshot/row/json_text.h"
#include "snapshot/store/codec.h"

#define NAMES_MEMORY (4U << 20) /* of one table's changes */

const struct db_table *names_description(void)
{
	static char path[] = "path", in[] = "table", row[] = "row", text[] = "text", name[] = "entities";
	static struct db_column columns[] = {{.name = path, .type = text, .form = DB_FORM_TEXT},
					     {.name = in, .type = text, .form = DB_FORM_TEXT},
					     {.name = row, .type = text, .form = DB_FORM_TEXT}};
	static size_t key[] = {0, 1, 2};
	static const struct db_table table = {
	    .name = name, .columns = columns, .n_columns = 3, .key_kind = DB_KEY_UNIQUE, .key = key, .n_key = 3};
	return &table;
}

static void names_line(const char *path, size_t path_len, const char *table, const char *row, size_t row_len,
		       struct strbuf *out)
{
	strbuf_adds(out, "{\"path\":");
	json_text_quote(path, path_len, out);
	strbuf_adds(out, ",\"table\":");
	json_text_quote(table, strlen(table), out);
	strbuf_adds(out, ",\"row\":");
	json_text_quote(row, row_len, out);
	strbuf_addch(out, '}');
}

bool names_member(const char *line, size_t len, const char *member, struct strbuf *out)
{
	const char *value;
	size_t n;
	strbuf_clear(out);
	return json_text_member(line, len, member, strlen(member), &value, &n) == 1 && n >= 2 && *value == '"' &&
	       json_text_unquote(value + 1, n - 2, out);
}

static const char *names_column(const struct db_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (!strcasecmp(t->columns[i].name, name))
			return t->columns[i].name;
	return NULL;
}

static bool names_is_json(const struct db_table *t, const char *column)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (t->columns[i].name == column)
			return !t->columns[i].generated &&
			       (t->columns[i].form == DB_FORM_JSON || t->columns[i].form == DB_FORM_JSON_TEXT);
	return false;
}

int names_changes_new(struct names_changes **ret, struct catalog *c, const struct row_codec *codec, struct err *e)
{
	const struct db_table *t = row_codec_table(codec);
	const char *json = names_column(t, "json");
	const struct row_codec *index;
	int64_t index_id;
	if (!json || !names_is_json(t, json) || !names_column(t, "id") || names_column(t, "extension"))
		return 0;
	int r = store_codec_id(c, names_description(), &index_id, e);
	if (r < 0)
		return r;
	r = catalog_codec(c, index_id, &index, e);
	if (r < 0)
		return r;
	struct names_changes *n = xcalloc(1, sizeof *n);
	size_t len = strlen(t->name);
	n->codec = codec;
	n->index = index;
	n->json = json;
	n->by_name = len > 7 && !strcasecmp(t->name + len - 7, "_entity");
	names_type(t->name, &n->type);
	*ret = n;
	return 0;
}

void names_changes_free(struct names_changes *n)
{
	if (!n)
		return;
	sorter_free(n->added);
	sorter_free(n->removed);
	strbuf_done(&n->type);
	strbuf_done(&n->doc);
	strbuf_done(&n->fqn);
	strbuf_done(&n->path);
	strbuf_done(&n->row);
	strbuf_done(&n->line);
	free(n);
}

/* A name. One with half a character in it (\ud800), which is no text, is spelled as the document has it. */
static bool names_text(const char *doc, size_t len, const char *member, struct strbuf *out)
{
	const char *value;
	size_t n;
	if (json_text_member(doc, len, member, strlen(member), &value, &n) != 1 || n < 2 || *value != '"')
		return false;
	strbuf_clear(out);
	if (!json_text_unquote(value + 1, n - 2, out)) {
		strbuf_clear(out);
		strbuf_add(out, value + 1, n - 2);
	}
	return true;
}

static int names_note(struct names_changes *n, struct sorter **into, const void *key, size_t key_len, const char *line,
		      size_t len, struct err *e)
{
	const char *doc;
	size_t doc_len;
	if (json_text_member(line, len, n->json, strlen(n->json), &doc, &doc_len) != 1)
		return 0;
	if (*doc == '"') { /* a document whose white space is kept (snapshot/row/row.h) */
		strbuf_clear(&n->doc);
		if (!json_text_unquote(doc + 1, doc_len - 2, &n->doc))
			return 0;
		doc = strbuf_str(&n->doc);
		doc_len = n->doc.len;
	}
	bool full = names_text(doc, doc_len, "fullyQualifiedName", &n->fqn);
	if (!full && !(n->by_name && names_text(doc, doc_len, "name", &n->fqn)))
		return 0;
	strbuf_clear(&n->path);
	names_path(strbuf_str(&n->type), strbuf_str(&n->fqn), n->fqn.len, !full, &n->path);
	strbuf_clear(&n->row);
	row_name(n->codec, key, key_len, &n->row);
	strbuf_clear(&n->line);
	names_line(n->path.data, n->path.len, row_codec_table(n->codec)->name, n->row.data, n->row.len, &n->line);
	if (!*into)
		*into = sorter_new(n->index, NAMES_MEMORY);
	return sorter_add(*into, n->line.data, n->line.len, e);
}

int names_changes_add(struct names_changes *n, const void *key, size_t key_len, const char *line, size_t len,
		      struct err *e)
{
	return n ? names_note(n, &n->added, key, key_len, line, len, e) : 0;
}

int names_changes_remove(struct names_changes *n, const void *key, size_t key_len, const char *line, size_t len,
			 struct err *e)
{
	return n ? names_note(n, &n->removed, key, key_len, line, len, e) : 0;
}
