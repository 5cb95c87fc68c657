/*
 * snapshot/row/manifest.c - the text MANIFEST.json, out and in.
 *
 * Strict: a manifest that is half understood restores half a database. No state; any thread.
 */
#include "snapshot/row/manifest.h"

#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "snapshot/row/internal.h"

/* ---- out ---- */

void manifest_render(const struct manifest *m, struct strbuf *out)
{
	char hex[2 * ROW_SHA_LEN + 1];
	strbuf_addf(out, "{\n  \"format\": %d,\n", MANIFEST_FORMAT);
	manifest_add_member(out, "program", "metasnap");
	strbuf_adds(out, "  \"taken\": \"");
	manifest_add_time(out, m->taken_ms);
	strbuf_adds(out, "\",\n");
	manifest_add_member(out, "engine", m->engine ? m->engine : "");
	manifest_add_member(out, "server_version", m->server_version ? m->server_version : "");
	manifest_add_member(out, "database", m->database ? m->database : "");
	manifest_add_member(out, "schema", m->schema);
	manifest_add_member(out, "openmetadata_version", m->app_version);
	hex_encode(m->schema_sha256, ROW_SHA_LEN, hex);
	manifest_add_member(out, "schema_sha256", hex);
	strbuf_adds(out, "  \"schema_since\": \"");
	manifest_add_time(out, m->schema_since_ms);
	strbuf_adds(out, "\",\n");
	strbuf_adds(out, "  \"tables\": {");
	for (size_t i = 0; i < m->n_tables; i++) {
		const struct manifest_table *t = &m->tables[i];
		strbuf_adds(out, i ? ",\n    " : "\n    ");
		manifest_add_string(out, t->name);
		strbuf_adds(out, ": {");
		manifest_add_counts(out, t, " ");
		if (t->has_auto_increment) {
			strbuf_adds(out, ", \"auto_increment\": ");
			manifest_add_unsigned(out, t->auto_increment);
		}
		if (t->table) {
			strbuf_adds(out, ",\n      ");
			manifest_add_description(out, t->table, "\n        ", "\n      ");
		}
		strbuf_addch(out, '}');
	}
	strbuf_adds(out, m->n_tables ? "\n  },\n  \"sequences\": {" : "},\n  \"sequences\": {");
	for (size_t i = 0; i < m->n_sequences; i++) {
		const struct db_sequence *s = &m->sequences[i];
		strbuf_adds(out, i ? ",\n    " : "\n    ");
		manifest_add_string(out, s->name);
		strbuf_addf(out, ": {\"last_value\": %lld, \"is_called\": %s}", (long long)s->last_value,
			    s->is_called ? "true" : "false");
	}
	strbuf_adds(out, m->n_sequences ? "\n  }" : "}");
	for (size_t i = 0; i < m->n_left_out; i++) {
		strbuf_adds(out, i ? ",\n    " : ",\n  \"left_out\": [\n    ");
		manifest_add_string(out, m->left_out[i]);
	}
	strbuf_adds(out, m->n_left_out ? "\n  ]\n}\n" : "\n}\n");
}

/* ---- in ---- */

void manifest_done(struct manifest *m)
{
	free(m->engine);
	free(m->server_version);
	free(m->database);
	free(m->schema);
	free(m->app_version);
	for (size_t i = 0; i < m->n_tables; i++)
		manifest_table_done(&m->tables[i]);
	free(m->tables);
	for (size_t i = 0; i < m->n_sequences; i++)
		free(m->sequences[i].name);
	free(m->sequences);
	for (size_t i = 0; i < m->n_left_out; i++)
		free(m->left_out[i]);
	free(m->left_out);
	*m = (struct manifest){0};
}

static int manifest_compare_tables(const void *a, const void *b)
{
	return strcmp(((const struct manifest_table *)a)->name, ((const struct manifest_table *)b)->name);
}

static int manifest_compare_sequences(const void *a, const void *b)
{
	return strcmp(((const struct db_sequence *)a)->name, ((const struct db_sequence *)b)->name);
}

static int manifest_parse_table(struct manifest_table *t, const char *name, json_t *o, struct err *e)
{
	char where[128];
	t->name = xstrdup(name);
	manifest_where(where, "table", name);
	int r = manifest_get_counts(o, where, t, e);
	if (r < 0)
		return r;
	json_t *next = json_object_get(o, "auto_increment");
	if (next && !json_is_null(next)) {
		t->has_auto_increment = true;
		r = manifest_get_unsigned(o, where, "auto_increment", &t->auto_increment, e);
		if (r < 0)
			return r;
	}
	if (!json_object_get(o, "columns"))
		return 0;
	t->table = xcalloc(1, sizeof *t->table);
	t->table->name = xstrdup(name);
	t->table->estimated_rows = (int64_t)t->rows;
	t->table->has_auto_increment = t->has_auto_increment;
	t->table->auto_increment = t->auto_increment;
	return table_json_parse_description(t->table, o, e);
}

static int manifest_parse_tables(struct manifest *m, json_t *o, struct err *e)
{
	const char *name;
	json_t *v;
	if (!json_is_object(o))
		return err_set(e, EBADMSG, "\"tables\" is not an object");
	m->tables = xcalloc(json_object_size(o), sizeof *m->tables);
	json_object_foreach(o, name, v)
	{
		int r = manifest_parse_table(&m->tables[m->n_tables++], name, v, e);
		if (r < 0)
			return r;
	}
	if (m->n_tables)
		qsort(m->tables, m->n_tables, sizeof *m->tables, manifest_compare_tables);
	return 0;
}

static int manifest_parse_sequences(struct manifest *m, json_t *o, struct err *e)
{
	const char *name;
	json_t *v;
	if (!o || json_is_null(o))
		return 0;
	if (!json_is_object(o))
		return err_set(e, EBADMSG, "\"sequences\" is not an object");
	m->sequences = xcalloc(json_object_size(o), sizeof *m->sequences);
	json_object_foreach(o, name, v)
	{
		struct db_sequence *s = &m->sequences[m->n_sequences++];
		json_t *last = json_object_get(v, "last_value");
		char where[128];
		s->name = xstrdup(name);
		manifest_where(where, "sequence", name);
		if (!json_is_integer(last))
			return err_set(e, EBADMSG, "%s: \"last_value\" is missing or not a whole number", where);
		s->last_value = json_integer_value(last);
		int r = manifest_get_bool(v, where, "is_called", false, &s->is_called, e);
		if (r < 0)
			return r;
	}
	if (m->n_sequences)
		qsort(m->sequences, m->n_sequences, sizeof *m->sequences, manifest_compare_sequences);
	return 0;
}

static int manifest_parse_left_out(struct manifest *m, const json_t *o, struct err *e)
{
	if (!o || json_is_null(o))
		return 0;
	if (!json_is_array(o))
		return err_set(e, EBADMSG, "\"left_out\" is not an array");
	m->left_out = xcalloc(json_array_size(o) + 1, sizeof *m->left_out);
	for (size_t i = 0; i < json_array_size(o); i++) {
		const char *words = json_string_value(json_array_get(o, i));
		if (!words)
			return err_set(e, EBADMSG, "\"left_out\": not a string");
		m->left_out[m->n_left_out++] = xstrdup(words);
	}
	return 0;
}

static int manifest_parse_into(struct manifest *m, json_t *o, struct err *e)
{
	const char *program = json_string_value(json_object_get(o, "program"));
	if (!program || strcmp(program, "metasnap"))
		return err_set(e, EBADMSG, "not written by metasnap (\"program\" says otherwise)");
	int r = manifest_get_time(o, "manifest", "taken", &m->taken_ms, e);
	if (r < 0)
		return r;
	r = manifest_get_string(o, "manifest", "engine", false, &m->engine, e);
	if (r < 0)
		return r;
	r = manifest_get_string(o, "manifest", "server_version", false, &m->server_version, e);
	if (r < 0)
		return r;
	r = manifest_get_string(o, "manifest", "database", false, &m->database, e);
	if (r < 0)
		return r;
	r = manifest_get_string(o, "manifest", "schema", true, &m->schema, e);
	if (r < 0)
		return r;
	r = manifest_get_string(o, "manifest", "openmetadata_version", true, &m->app_version, e);
	if (r < 0)
		return r;
	r = manifest_get_sha(o, "manifest", "schema_sha256", m->schema_sha256, e);
	if (r < 0)
		return r;
	r = manifest_get_time(o, "manifest", "schema_since", &m->schema_since_ms, e);
	if (r < 0)
		return r;
	r = manifest_parse_tables(m, json_object_get(o, "tables"), e);
	if (r < 0)
		return r;
	r = manifest_parse_sequences(m, json_object_get(o, "sequences"), e);
	return r < 0 ? r : manifest_parse_left_out(m, json_object_get(o, "left_out"), e);
}

int manifest_parse(struct manifest *ret, const char *text, size_t len, struct err *e)
{
	json_auto_t *o = NULL;
	_cleanup_(manifest_done) struct manifest m = {0};
	*ret = (struct manifest){0};
	int r = manifest_load(&o, text, len, "tables", e);
	if (r < 0)
		return r;
	r = manifest_parse_into(&m, o, e);
	if (r < 0)
		return r;
	*ret = m;
	m = (struct manifest){0};
	return 0;
}
