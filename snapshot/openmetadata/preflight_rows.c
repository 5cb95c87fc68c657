/*
 * snapshot/openmetadata/preflight_rows.c - what the checks before an upgrade look for in the rows: one pass over each
 * table that concerns them, through the driver's scan, so that the same code reads every engine.
 *
 * A document is searched as text for the few members that are asked about; nothing else of it is looked at, kept or
 * printed. No state, no locks.
 */
#include "snapshot/openmetadata/preflight_rows.h"

#include <errno.h>

#include "snapshot/row/json_text.h"

#define FOUND_NAMED 20
#define ROWS_BETWEEN_LOOKS 256

void preflight_found_text(const struct preflight_found *f, struct strbuf *out)
{
	strbuf_adds(out, strbuf_str(&f->names));
	if (f->n > FOUND_NAMED)
		strbuf_addf(out, " and %llu more", (unsigned long long)(f->n - FOUND_NAMED));
}

/* ---- documents ---- */

struct json_value {
	const char *text;
	size_t len;
};

/* The value at a path of members, "a.b.c"; false when there is none. */
static bool json_at(struct json_value document, const char *path, struct json_value *ret)
{
	*ret = document;
	for (const char *name = path;; name++) {
		size_t n = strcspn(name, ".");
		if (json_text_member(ret->text, ret->len, name, n, &ret->text, &ret->len) != 1)
			return false;
		name += n;
		if (!*name)
			return true;
	}
}

/* A string at a path; false when there is none, or something else. */
static bool json_string_at(struct json_value document, const char *path, struct strbuf *ret)
{
	struct json_value v;
	strbuf_clear(ret);
	return json_at(document, path, &v) && v.len >= 2 && *v.text == '"' &&
	       json_text_unquote(v.text + 1, v.len - 2, ret);
}

static bool json_string_is(struct json_value document, const char *path, const char *text)
{
	struct json_value v;
	return json_at(document, path, &v) && v.len >= 2 && *v.text == '"' &&
	       json_text_string_is(v.text + 1, v.len - 2, text, strlen(text));
}

static bool json_true_at(struct json_value document, const char *path)
{
	struct json_value v;
	return json_at(document, path, &v) && v.len == 4 && !memcmp(v.text, "true", 4);
}

/* Counts the entity, and names it when it is one of the first; `word` is said after its name. */
static void found_add(struct preflight_found *f, struct json_value entity, const char *word)
{
	_cleanup_strbuf_ struct strbuf name = {0};
	if (f->n++ >= FOUND_NAMED)
		return;
	if (f->names.len)
		strbuf_adds(&f->names, ", ");
	if (json_string_at(entity, "fullyQualifiedName", &name) || json_string_at(entity, "name", &name))
		preflight_add_name(&f->names, strbuf_str(&name), name.len);
	else
		strbuf_adds(&f->names, "(an entity without a name)");
	bool deleted = json_true_at(entity, "deleted");
	if (word || deleted)
		strbuf_addf(&f->names, " (%s%s%s)", word ? word : "", word && deleted ? ", " : "",
			    deleted ? "soft-deleted" : "");
}

/* ---- what is looked for ---- */

static void look_at_service(struct preflight_rows *r, struct json_value entity)
{
	_cleanup_strbuf_ struct strbuf type = {0}, word = {0};
	if (!json_string_at(entity, "serviceType", &type) || strncmp(strbuf_str(&type), "Custom", 6))
		return;
	preflight_add_name(&word, type.data, type.len);
	found_add(&r->custom, entity, word.data);
}

static void look_at_pipeline_service(struct preflight_rows *r, struct json_value entity)
{
	struct json_value v;
	look_at_service(r, entity);
	if (json_string_is(entity, "connection.config.connection.type", "Mssql"))
		found_add(&r->mssql, entity, NULL);
	else if (json_string_is(entity, "serviceType", "Airflow") &&
		 !json_at(entity, "connection.config.connection.type", &v))
		found_add(&r->mssql_hidden, entity, NULL);
}

static void look_at_user(struct preflight_rows *r, struct json_value entity)
{
	_cleanup_strbuf_ struct strbuf type = {0};
	if (!json_true_at(entity, "isBot"))
		return;
	if (!json_string_at(entity, "authenticationMechanism.authType", &type))
		found_add(&r->bots_without, entity, NULL);
	else if (strcmp(strbuf_str(&type), "JWT"))
		found_add(&r->bots, entity,
			  !strcmp(strbuf_str(&type), "SSO")     ? "SSO"
			  : !strcmp(strbuf_str(&type), "BASIC") ? "BASIC"
								: "another way");
}

/* The DAG that reindexed before the server did. */
static bool is_metadata_to_es(struct json_value entity)
{
	_cleanup_strbuf_ struct strbuf name = {0};
	return json_string_at(entity, "name", &name) &&
	       (strcasestr(strbuf_str(&name), "metadata_to_es") || strcasestr(strbuf_str(&name), "metadata-to-es"));
}

static void look_at_ingestion_pipeline(struct preflight_rows *r, struct json_value entity)
{
	if (json_string_is(entity, "pipelineType", "elasticSearchReindex") || is_metadata_to_es(entity))
		found_add(&r->reindexing, entity, NULL);
}

static void look_at_pipeline(struct preflight_rows *r, struct json_value entity)
{
	if (is_metadata_to_es(entity))
		found_add(&r->reindexing_dags, entity, NULL);
}

/* ---- reading ---- */

typedef void (*look_fn)(struct preflight_rows *r, struct json_value entity);

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && !strcmp(text + n - m, end);
}

static look_fn look_for(const char *table, struct preflight_rows *r)
{
	bool service = ends_with(table, "service_entity");
	r->services |= service;
	if (!strcmp(table, "pipeline_service_entity")) {
		r->pipelines = true;
		return look_at_pipeline_service;
	}
	if (!strcmp(table, "user_entity")) {
		r->users = true;
		return look_at_user;
	}
	if (!strcmp(table, "ingestion_pipeline_entity")) {
		r->ingestion = true;
		return look_at_ingestion_pipeline;
	}
	if (!strcmp(table, "pipeline_entity"))
		return look_at_pipeline;
	return service ? look_at_service : NULL;
}

/* The document among the values of a scan. */
static bool document_of(const struct db_table *t, size_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < t->n_columns; i++) {
		if (!strcasecmp(t->columns[i].name, "json"))
			return !t->columns[i].generated;
		*ret += !t->columns[i].generated;
	}
	return false;
}

static int scan_table(struct preflight_rows *ret, struct db_conn *c, const struct db_table *t, look_fn look,
		      const struct waiter *w, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	const struct db_value *values;
	size_t document;
	if (!document_of(t, &document))
		return 0;
	int r = d->scan_open(c, t, DB_SCAN_UNORDERED, e);
	if (r < 0)
		return r;
	for (uint64_t n = 1; (r = d->scan_next(c, &values, e)) == 1; n++) {
		if (values[document].data)
			look(ret, (struct json_value){values[document].data, values[document].len});
		if (n % ROWS_BETWEEN_LOOKS == 0 && w && atomic_load(&w->interrupted)) {
			r = err_set(e, EINTR, "interrupted");
			break;
		}
	}
	if (r == -ERESTART)
		r = 0;
	int closed = d->scan_close(c, r < 0 ? ERR_DROP : e);
	return r < 0 ? r : closed;
}

int preflight_rows_read(struct preflight_rows *ret, struct db_conn *c, const struct db_schema *s,
			const struct waiter *w, struct err *e)
{
	for (size_t i = 0; i < s->n_tables; i++) {
		look_fn look = look_for(s->tables[i].name, ret);
		if (look && scan_table(ret, c, &s->tables[i], look, w, e) < 0)
			return err_prefix(e, "table %s", s->tables[i].name);
	}
	return 0;
}

void preflight_rows_done(struct preflight_rows *r)
{
	struct preflight_found *all[] = {&r->mssql,      &r->mssql_hidden,    &r->bots,  &r->bots_without,
					 &r->reindexing, &r->reindexing_dags, &r->custom};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		strbuf_done(&all[i]->names);
}
