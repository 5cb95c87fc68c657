/*
 * snapshot/row/table_json.c - the text .table.json, out and in, and the same description inside of MANIFEST.json.
 *
 * Strict: impossible keys are EBADMSG, because a description that is half understood restores half a table. No state;
 * any thread.
 */
#include "snapshot/row/table_json.h"

#include <errno.h>

#include "base/text.h"
#include "snapshot/row/internal.h"

/* clang-format off */
static const char *const manifest_forms[] = {
	[DB_FORM_TEXT] = "text",     [DB_FORM_NUMBER] = "number", [DB_FORM_BOOL] = "bool",
	[DB_FORM_BINARY] = "binary", [DB_FORM_JSON] = "json",     [DB_FORM_JSON_TEXT] = "json_text",
};
static const char *const manifest_keys[] = {
	[DB_KEY_UNIQUE] = "unique",
	[DB_KEY_INDEX] = "index",
	[DB_KEY_NONE] = "none",
};
/* clang-format on */

/* ---- out ---- */

/* struct digest keeps its sum little end first; people read numbers from the other end. */
static void manifest_reverse(uint8_t out[ROW_SHA_LEN], const uint8_t in[ROW_SHA_LEN])
{
	for (size_t i = 0; i < ROW_SHA_LEN; i++)
		out[i] = in[ROW_SHA_LEN - 1 - i];
}

void manifest_add_counts(struct strbuf *out, const struct manifest_table *t, const char *sep)
{
	uint8_t digest[ROW_SHA_LEN];
	char hex[2 * ROW_SHA_LEN + 1];
	manifest_reverse(digest, t->digest);
	hex_encode(digest, sizeof digest, hex);
	strbuf_adds(out, "\"rows\": ");
	manifest_add_unsigned(out, t->rows);
	strbuf_addf(out, ",%s\"bytes\": ", sep);
	manifest_add_unsigned(out, t->line_bytes);
	strbuf_addf(out, ",%s\"file_bytes\": ", sep);
	manifest_add_unsigned(out, t->file_bytes);
	strbuf_addf(out, ",%s\"since\": \"", sep);
	manifest_add_time(out, t->since_ms);
	strbuf_addf(out, "\",%s\"digest\": \"%s\"", sep, hex);
}

void manifest_add_description(struct strbuf *out, const struct db_table *d, const char *line, const char *end)
{
	strbuf_adds(out, "\"columns\": [");
	for (size_t i = 0; i < d->n_columns; i++) {
		const struct db_column *c = &d->columns[i];
		strbuf_addf(out, "%s%s{\"name\": ", i ? "," : "", line);
		manifest_add_string(out, c->name);
		strbuf_adds(out, ", \"type\": ");
		manifest_add_string(out, c->type ? c->type : "");
		strbuf_addf(out, ", \"form\": \"%s\"", manifest_forms[c->form]);
		if (c->integer)
			strbuf_adds(out, ", \"integer\": true");
		strbuf_addf(out, ", \"nullable\": %s", c->nullable ? "true" : "false");
		if (c->generated)
			strbuf_adds(out, ", \"generated\": true");
		if (c->document) {
			strbuf_adds(out, ", \"document\": ");
			manifest_add_string(out, c->document);
			strbuf_adds(out, ", \"member\": ");
			manifest_add_string(out, c->member);
		}
		strbuf_addch(out, '}');
	}
	strbuf_addf(out, "%s],%s\"key\": {\"kind\": \"%s\", \"columns\": [", d->n_columns ? end : "", end,
		    manifest_keys[d->key_kind]);
	for (size_t i = 0; i < d->n_key; i++) {
		strbuf_adds(out, i ? ", " : "");
		manifest_add_string(out, d->columns[d->key[i]].name);
	}
	strbuf_adds(out, "]}");
	if (d->dynamic)
		strbuf_addf(out, ",%s\"dynamic\": true", end);
}

void table_json_render(const struct db_table *d, const struct manifest_table *t, struct strbuf *out)
{
	strbuf_addf(out, "{\n  \"format\": %d,\n", MANIFEST_FORMAT);
	manifest_add_member(out, "name", d->name);
	strbuf_adds(out, "  ");
	manifest_add_description(out, d, "\n    ", "\n  ");
	if (t) {
		strbuf_adds(out, ",\n  ");
		manifest_add_counts(out, t, "\n  ");
	}
	strbuf_adds(out, "\n}\n");
}

/* ---- in ---- */

int manifest_get_counts(json_t *o, const char *where, struct manifest_table *t, struct err *e)
{
	uint8_t digest[ROW_SHA_LEN];
	int r = manifest_get_unsigned(o, where, "rows", &t->rows, e);
	if (r < 0)
		return r;
	r = manifest_get_unsigned(o, where, "bytes", &t->line_bytes, e);
	if (r < 0)
		return r;
	r = manifest_get_unsigned(o, where, "file_bytes", &t->file_bytes, e);
	if (r < 0)
		return r;
	r = manifest_get_time(o, where, "since", &t->since_ms, e);
	if (r < 0)
		return r;
	r = manifest_get_sha(o, where, "digest", digest, e);
	if (r < 0)
		return r;
	manifest_reverse(t->digest, digest);
	return 0;
}

void manifest_table_done(struct manifest_table *t)
{
	if (t->table)
		db_table_done(t->table);
	free(t->table);
	free(t->name);
	*t = (struct manifest_table){0};
}

static int table_json_find(const struct db_table *d, const char *name)
{
	for (size_t i = 0; name && i < d->n_columns; i++)
		if (!strcmp(d->columns[i].name, name))
			return (int)i;
	return -ENOENT;
}

static int table_json_parse_column(struct db_column *c, json_t *o, struct err *e)
{
	char where[128];
	_cleanup_free_ char *form = NULL;
	int r = manifest_get_string(o, "column", "name", false, &c->name, e);
	if (r < 0)
		return r;
	manifest_where(where, "column", c->name);
	r = manifest_get_string(o, where, "type", false, &c->type, e);
	if (r < 0)
		return r;
	r = manifest_get_string(o, where, "form", false, &form, e);
	if (r < 0)
		return r;
	r = manifest_get_bool(o, where, "integer", true, &c->integer, e);
	if (r < 0)
		return r;
	r = manifest_get_bool(o, where, "nullable", false, &c->nullable, e);
	if (r < 0)
		return r;
	r = manifest_get_bool(o, where, "generated", true, &c->generated, e);
	if (r < 0)
		return r;
	r = manifest_get_string(o, where, "document", true, &c->document, e);
	if (r < 0)
		return r;
	r = manifest_get_string(o, where, "member", true, &c->member, e);
	if (r < 0)
		return r;
	if (!c->document != !c->member || (c->document && !c->generated))
		return err_set(e, EBADMSG, "%s: \"document\" and \"member\" belong together, to a generated column",
			       where);
	for (size_t i = 0; i < sizeof manifest_forms / sizeof manifest_forms[0]; i++)
		if (!strcmp(form, manifest_forms[i])) {
			c->form = (enum db_form)i;
			return 0;
		}
	return err_set(e, EBADMSG, "%s: form \"%.40s\" does not exist", where, form);
}

static int table_json_parse_columns(struct db_table *d, json_t *list, struct err *e)
{
	size_t i;
	json_t *o;
	if (!json_is_array(list))
		return err_set(e, EBADMSG, "\"columns\" is not a list");
	d->columns = xcalloc(json_array_size(list), sizeof *d->columns);
	json_array_foreach(list, i, o)
	{
		struct db_column c = {0};
		int r = table_json_parse_column(&c, o, e);
		bool twice = r >= 0 && table_json_find(d, c.name) >= 0;
		d->columns[d->n_columns++] = c; /* also when bad: db_table_done frees it */
		if (twice)
			return err_set(e, EBADMSG, "column \"%.100s\" is there twice", c.name);
		if (r < 0)
			return r;
	}
	for (i = 0; i < d->n_columns; i++) {
		const struct db_column *c = &d->columns[i];
		int at = c->document ? table_json_find(d, c->document) : 0;
		if (c->document && (at < 0 || d->columns[at].generated))
			return err_set(e, EBADMSG, "column \"%.100s\": its document is not a column of this table",
				       c->name);
	}
	return 0;
}

static int table_json_parse_key(struct db_table *d, json_t *o, struct err *e)
{
	const char *kind = json_string_value(json_object_get(o, "kind"));
	json_t *columns = json_object_get(o, "columns");
	size_t i, n_kinds = sizeof manifest_keys / sizeof manifest_keys[0];
	json_t *v;
	size_t at_kind = 0;
	while (kind && at_kind < n_kinds && strcmp(kind, manifest_keys[at_kind]))
		at_kind++;
	if (!kind || at_kind == n_kinds || !json_is_array(columns))
		return err_set(e, EBADMSG,
			       "\"key\" is missing or not {\"kind\":\"unique|index|none\",\"columns\":[..]}");
	d->key_kind = (enum db_key_kind)at_kind;
	if ((d->key_kind == DB_KEY_NONE) != !json_array_size(columns))
		return err_set(e, EBADMSG, "key: its columns do not fit kind \"%s\"", kind);
	d->key = xcalloc(json_array_size(columns), sizeof *d->key);
	json_array_foreach(columns, i, v)
	{
		int at = table_json_find(d, json_string_value(v));
		if (at < 0)
			return err_set(e, EBADMSG, "key: it has a column that the table has not");
		if (d->columns[at].generated && !d->columns[at].document)
			return err_set(e, EBADMSG,
				       "key: column \"%.100s\" is generated and cannot be told from the row",
				       d->columns[at].name);
		for (size_t k = 0; k < d->n_key; k++)
			if (d->key[k] == (size_t)at)
				return err_set(e, EBADMSG, "key: column \"%.100s\" is there twice",
					       d->columns[at].name);
		d->key[d->n_key++] = (size_t)at;
	}
	return 0;
}

int table_json_parse_description(struct db_table *d, json_t *o, struct err *e)
{
	int r = table_json_parse_columns(d, json_object_get(o, "columns"), e);
	if (r < 0)
		return r;
	r = table_json_parse_key(d, json_object_get(o, "key"), e);
	if (r < 0)
		return r;
	return manifest_get_bool(o, "table", "dynamic", true, &d->dynamic, e);
}

static int table_json_parse_into(struct db_table *d, struct manifest_table *t, json_t *o, struct err *e)
{
	int r = manifest_get_string(o, "table", "name", false, &d->name, e);
	if (r < 0)
		return r;
	r = table_json_parse_description(d, o, e);
	if (r < 0)
		return r;
	d->estimated_rows = -1;
	if (!t)
		return 0;
	r = manifest_get_counts(o, "table", t, e);
	if (r < 0)
		return r;
	t->name = xstrdup(d->name);
	d->estimated_rows = (int64_t)t->rows;
	return 0;
}

int table_json_parse(struct db_table *ret_d, struct manifest_table *ret_t, const char *text, size_t len, struct err *e)
{
	json_auto_t *o = NULL;
	_cleanup_(db_table_done) struct db_table d = {0};
	_cleanup_(manifest_table_done) struct manifest_table t = {0};
	*ret_d = (struct db_table){0};
	int r = manifest_load(&o, text, len, "columns", e);
	if (r < 0)
		return r;
	r = table_json_parse_into(&d, ret_t ? &t : NULL, o, e);
	if (r < 0)
		return r;
	*ret_d = d;
	d = (struct db_table){0};
	if (ret_t) {
		*ret_t = t;
		t = (struct manifest_table){0};
	}
	return 0;
}
