/*
 * snapshot/row/manifest.c - the texts MANIFEST.json and .table.json, out and in.
 *
 * Owns nothing, keeps nothing, takes no lock: any thread. The texts are written by hand (a few lines) so that their
 * bytes do not hang on a library's version; jansson reads them, strictly: names twice, wrong types and impossible
 * keys are EBADMSG, because a manifest that is half understood restores half a database.
 */
#include "snapshot/row/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"

static void manifest_free_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(manifest_free_json)

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

/* ---- table names ---- */

static bool table_byte_is_plain(unsigned char c, bool first)
{
	return c >= 0x20 && c != 0x7f && c != '%' && c != '/' && c != '\\' && !(first && c == '.');
}

void table_file_name(const char *table, struct strbuf *out)
{
	for (const char *p = table; *p; p++)
		if (table_byte_is_plain((unsigned char)*p, p == table))
			strbuf_addch(out, *p);
		else
			strbuf_addf(out, "%%%02X", (unsigned)(unsigned char)*p);
}

int table_of_file_name(const char *file, struct strbuf *table)
{
	for (const char *p = file; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '%') {
			/* hex_value takes lower case too, which is not how we write it: checked by the way back below.
			 */
			int high = hex_value(p[1]), low = high < 0 ? -1 : hex_value(p[2]);
			if (low < 0)
				return -ENOENT;
			c = (unsigned char)(high << 4 | low);
			p += 2;
		}
		strbuf_addch(table, (char)c);
	}
	_cleanup_strbuf_ struct strbuf again = {0};
	table_file_name(strbuf_str(table), &again);
	return *file && !strcmp(strbuf_str(&again), file) ? 0 : -ENOENT;
}

/* struct digest keeps its sum little end first; people read numbers from the other end. */
static void manifest_reverse(uint8_t out[ROW_SHA_LEN], const uint8_t in[ROW_SHA_LEN])
{
	for (size_t i = 0; i < ROW_SHA_LEN; i++)
		out[i] = in[ROW_SHA_LEN - 1 - i];
}

/* ---- out ---- */

static void manifest_add_string(struct strbuf *out, const char *s)
{
	if (!s) {
		strbuf_adds(out, "null");
		return;
	}
	strbuf_addch(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_addch(out, '\\');
		if ((unsigned char)*s < 0x20)
			strbuf_addf(out, "\\u%04x", (unsigned)*s);
		else
			strbuf_addch(out, *s);
	}
	strbuf_addch(out, '"');
}

static void manifest_add_member(struct strbuf *out, const char *name, const char *value)
{
	strbuf_addf(out, "  \"%s\": ", name);
	manifest_add_string(out, value);
	strbuf_adds(out, ",\n");
}

/* AUTO_INCREMENT of a BIGINT UNSIGNED column may pass what jansson reads as an integer: then it is a string. */
static void manifest_add_unsigned(struct strbuf *out, uint64_t v)
{
	const char *quote = v > INT64_MAX ? "\"" : "";
	strbuf_addf(out, "%s%llu%s", quote, (unsigned long long)v, quote);
}

static void manifest_add_time(struct strbuf *out, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	int rest = (int)(ms % 1000);
	if (rest < 0) {
		rest += 1000;
		seconds--;
	}
	struct tm tm = {0};
	char text[64] = "";
	(void)gmtime_r(&seconds, &tm);
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	strbuf_addf(out, "%s.%03dZ", text, rest);
}

/* "rows": .. to "digest": .. on one line when sep is " ", else a line each. */
static void manifest_add_counts(struct strbuf *out, const struct manifest_table *t, const char *sep)
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

/* Columns and key; `line` starts a column, `end` what follows them. */
static void manifest_add_description(struct strbuf *out, const struct db_table *d, const char *line, const char *end)
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
	strbuf_adds(out, m->n_sequences ? "\n  }\n}\n" : "}\n}\n");
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

/* ---- in: members of one object; `where` names it in the words ---- */

static int manifest_get_string(json_t *o, const char *where, const char *name, bool optional, char **ret, struct err *e)
{
	json_t *v = json_object_get(o, name);
	*ret = NULL;
	if (optional && (!v || json_is_null(v)))
		return 0;
	if (!json_is_string(v))
		return err_set(e, EBADMSG, "%s: \"%s\" is %s", where, name, v ? "not a string" : "missing");
	*ret = xstrdup(json_string_value(v));
	return 0;
}

static int manifest_get_bool(json_t *o, const char *where, const char *name, bool optional, bool *ret, struct err *e)
{
	json_t *v = json_object_get(o, name);
	*ret = false;
	if (!v && optional)
		return 0;
	if (!json_is_boolean(v))
		return err_set(e, EBADMSG, "%s: \"%s\" is %s", where, name, v ? "not true or false" : "missing");
	*ret = json_is_true(v);
	return 0;
}

static int manifest_get_unsigned(json_t *o, const char *where, const char *name, uint64_t *ret, struct err *e)
{
	json_t *v = json_object_get(o, name);
	*ret = 0;
	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*ret = (uint64_t)json_integer_value(v);
		return 0;
	}
	const char *digits = json_string_value(v);
	if (digits && strspn(digits, "0123456789") == strlen(digits) && *digits) {
		errno = 0;
		*ret = strtoull(digits, NULL, 10);
		if (!errno)
			return 0;
	}
	return err_set(e, EBADMSG, "%s: \"%s\" is %s", where, name, v ? "not a whole number" : "missing");
}

static int manifest_get_sha(json_t *o, const char *where, const char *name, uint8_t ret[ROW_SHA_LEN], struct err *e)
{
	const char *hex = json_string_value(json_object_get(o, name));
	if (!hex || hex_decode(hex, ret, ROW_SHA_LEN) < 0)
		return err_set(e, EBADMSG, "%s: \"%s\" is missing or not %d hex digits", where, name, 2 * ROW_SHA_LEN);
	return 0;
}

static int manifest_get_time(json_t *o, const char *where, const char *name, int64_t *ret, struct err *e)
{
	const char *text = json_string_value(json_object_get(o, name));
	struct tm tm = {0};
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (rest && strlen(rest) == 5 && rest[0] == '.' && strspn(rest + 1, "0123456789") == 3 && rest[4] == 'Z') {
		_cleanup_strbuf_ struct strbuf again = {0};
		*ret = (int64_t)timegm(&tm) * 1000 + strtol(rest + 1, NULL, 10);
		/* strptime takes " 7" for "07" and 31 February; only what comes out the same is a moment. */
		manifest_add_time(&again, *ret);
		if (!strcmp(text, again.data))
			return 0;
	}
	return err_set(e, EBADMSG, "%s: \"%s\" is missing or not a time like 2026-11-22T08:15:30.123Z", where, name);
}

static int manifest_get_counts(json_t *o, const char *where, struct manifest_table *t, struct err *e)
{
	uint8_t digest[ROW_SHA_LEN];
	int r = manifest_get_unsigned(o, where, "rows", &t->rows, e);
	if (r >= 0)
		r = manifest_get_unsigned(o, where, "bytes", &t->line_bytes, e);
	if (r >= 0)
		r = manifest_get_unsigned(o, where, "file_bytes", &t->file_bytes, e);
	if (r >= 0)
		r = manifest_get_time(o, where, "since", &t->since_ms, e);
	if (r >= 0)
		r = manifest_get_sha(o, where, "digest", digest, e);
	if (r >= 0)
		manifest_reverse(t->digest, digest);
	return r;
}

/* The text's object with its format checked. `ours` is a member that only our texts of this kind have. */
static int manifest_load(json_t **ret, const char *text, size_t len, const char *ours, struct err *e)
{
	json_error_t why;
	_cleanup_json_ json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	*ret = NULL;
	if (!o)
		return err_set(e, EBADMSG, "not JSON: line %d: %s", why.line, why.text);
	json_t *format = json_object_get(o, "format");
	if (!json_is_object(o) || !json_is_integer(format) || !json_object_get(o, ours))
		return err_set(e, EBADMSG, "not written by metasnap: no \"format\" or no \"%s\" in it", ours);
	if (json_integer_value(format) > MANIFEST_FORMAT)
		return err_set(e, ENOTSUP,
			       "format %lld is newer than this metasnap, which knows format %d (use a newer one)",
			       (long long)json_integer_value(format), MANIFEST_FORMAT);
	if (json_integer_value(format) != MANIFEST_FORMAT)
		return err_set(e, EBADMSG, "format %lld does not exist", (long long)json_integer_value(format));
	*ret = TAKE_PTR(o);
	return 0;
}

/* ---- .table.json in ---- */

static void manifest_table_done(struct manifest_table *t)
{
	if (t->table)
		db_table_done(t->table);
	free(t->table);
	free(t->name);
	*t = (struct manifest_table){0};
}

/* Words that name a table or sequence in an error. */
static void manifest_where(char where[128], const char *kind, const char *name)
{
	(void)snprintf(where, 128, "%s \"%.100s\"", kind, name);
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
	if (r >= 0)
		r = manifest_get_string(o, where, "form", false, &form, e);
	if (r >= 0)
		r = manifest_get_bool(o, where, "integer", true, &c->integer, e);
	if (r >= 0)
		r = manifest_get_bool(o, where, "nullable", false, &c->nullable, e);
	if (r >= 0)
		r = manifest_get_bool(o, where, "generated", true, &c->generated, e);
	if (r >= 0)
		r = manifest_get_string(o, where, "document", true, &c->document, e);
	if (r >= 0)
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

static int table_json_parse_description(struct db_table *d, json_t *o, struct err *e)
{
	int r = table_json_parse_columns(d, json_object_get(o, "columns"), e);
	if (r >= 0)
		r = table_json_parse_key(d, json_object_get(o, "key"), e);
	if (r >= 0)
		r = manifest_get_bool(o, "table", "dynamic", true, &d->dynamic, e);
	return r;
}

static int table_json_parse_into(struct db_table *d, struct manifest_table *t, json_t *o, struct err *e)
{
	int r = manifest_get_string(o, "table", "name", false, &d->name, e);
	if (r >= 0)
		r = table_json_parse_description(d, o, e);
	if (r >= 0 && t)
		r = manifest_get_counts(o, "table", t, e);
	if (r >= 0 && t)
		t->name = xstrdup(d->name);
	d->estimated_rows = t ? (int64_t)t->rows : -1;
	return r;
}

int table_json_parse(struct db_table *ret_d, struct manifest_table *ret_t, const char *text, size_t len, struct err *e)
{
	_cleanup_json_ json_t *o = NULL;
	struct db_table d = {0};
	struct manifest_table t = {0};
	*ret_d = (struct db_table){0};
	int r = manifest_load(&o, text, len, "columns", e);
	if (r >= 0)
		r = table_json_parse_into(&d, ret_t ? &t : NULL, o, e);
	if (r < 0) {
		db_table_done(&d);
		manifest_table_done(&t);
		return r;
	}
	*ret_d = d;
	if (ret_t)
		*ret_t = t;
	return 0;
}

/* ---- MANIFEST.json in ---- */

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

static int manifest_parse_tables(struct manifest *m, json_t *o, struct err *e)
{
	const char *name;
	json_t *v;
	if (!json_is_object(o))
		return err_set(e, EBADMSG, "\"tables\" is not an object");
	m->tables = xcalloc(json_object_size(o), sizeof *m->tables);
	json_object_foreach(o, name, v)
	{
		struct manifest_table *t = &m->tables[m->n_tables++];
		char where[128];
		t->name = xstrdup(name);
		manifest_where(where, "table", name);
		int r = manifest_get_counts(v, where, t, e);
		if (r < 0)
			return r;
		json_t *next = json_object_get(v, "auto_increment");
		if (next && !json_is_null(next)) {
			t->has_auto_increment = true;
			r = manifest_get_unsigned(v, where, "auto_increment", &t->auto_increment, e);
		}
		if (r >= 0 && json_object_get(v, "columns")) {
			t->table = xcalloc(1, sizeof *t->table);
			t->table->name = xstrdup(name);
			r = table_json_parse_description(t->table, v, e);
			t->table->estimated_rows = (int64_t)t->rows;
			t->table->has_auto_increment = t->has_auto_increment;
			t->table->auto_increment = t->auto_increment;
		}
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

static int manifest_parse_into(struct manifest *m, json_t *o, struct err *e)
{
	const char *program = json_string_value(json_object_get(o, "program"));
	if (!program || strcmp(program, "metasnap"))
		return err_set(e, EBADMSG, "not written by metasnap (\"program\" says otherwise)");
	int r = manifest_get_time(o, "manifest", "taken", &m->taken_ms, e);
	if (r >= 0)
		r = manifest_get_string(o, "manifest", "engine", false, &m->engine, e);
	if (r >= 0)
		r = manifest_get_string(o, "manifest", "server_version", false, &m->server_version, e);
	if (r >= 0)
		r = manifest_get_string(o, "manifest", "database", false, &m->database, e);
	if (r >= 0)
		r = manifest_get_string(o, "manifest", "schema", true, &m->schema, e);
	if (r >= 0)
		r = manifest_get_string(o, "manifest", "openmetadata_version", true, &m->app_version, e);
	if (r >= 0)
		r = manifest_get_sha(o, "manifest", "schema_sha256", m->schema_sha256, e);
	if (r >= 0)
		r = manifest_get_time(o, "manifest", "schema_since", &m->schema_since_ms, e);
	if (r >= 0)
		r = manifest_parse_tables(m, json_object_get(o, "tables"), e);
	if (r >= 0)
		r = manifest_parse_sequences(m, json_object_get(o, "sequences"), e);
	return r;
}

int manifest_parse(struct manifest *ret, const char *text, size_t len, struct err *e)
{
	_cleanup_json_ json_t *o = NULL;
	struct manifest m = {0};
	*ret = (struct manifest){0};
	int r = manifest_load(&o, text, len, "tables", e);
	if (r >= 0)
		r = manifest_parse_into(&m, o, e);
	if (r < 0) {
		manifest_done(&m);
		return r;
	}
	*ret = m;
	return 0;
}
