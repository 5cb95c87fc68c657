/*
 * snapshot/restore/target.c - a snapshot as what to make a database of, and how far a live schema is from it.
 *
 * Any thread; a struct target belongs to one. No locks.
 */
#include "snapshot/restore/target.h"

#include <errno.h>

#include "snapshot/restore/internal.h"

void target_done(struct target *t)
{
	db_schema_free(t->schema);
	version_list_done(&t->versions);
	strbuf_done(&t->sql);
}

/* A deep copy of a description, by the one text form that it has. */
static int target_copy_table(const struct db_table *from, struct db_table *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	table_json_render(from, NULL, &text);
	return table_json_parse(ret, NULL, text.data, text.len, e);
}

int target_load(struct catalog *c, int64_t snapshot_id, struct target *ret, struct err *e)
{
	_cleanup_(manifest_done) struct manifest m = {0};
	int r = store_manifest(c, snapshot_id, &m, e);
	if (r < 0)
		return r;
	struct db_schema *s = ret->schema = xcalloc(1, sizeof *s);
	s->engine = TAKE_PTR(m.engine);
	s->server_version = TAKE_PTR(m.server_version);
	s->database = TAKE_PTR(m.database);
	s->schema = TAKE_PTR(m.schema);
	s->app_version = TAKE_PTR(m.app_version);
	s->sequences = TAKE_PTR(m.sequences);
	s->n_sequences = m.n_sequences;
	m.n_sequences = 0;
	r = catalog_tables(c, snapshot_id, &ret->versions, e);
	if (r < 0)
		return r;
	if (ret->versions.n != m.n_tables)
		return err_set(e, EIO, "catalog: a manifest does not fit its snapshot");
	s->tables = xcalloc(ret->versions.n, sizeof *s->tables);
	for (size_t i = 0; i < ret->versions.n; i++) {
		const struct row_codec *codec;
		r = catalog_codec(c, ret->versions.v[i].codec_id, &codec, e);
		if (r < 0)
			return r;
		r = target_copy_table(row_codec_table(codec), &s->tables[i], e);
		if (r < 0)
			return r;
		s->n_tables++;
		s->tables[i].has_auto_increment = m.tables[i].has_auto_increment;
		s->tables[i].auto_increment = m.tables[i].auto_increment;
	}
	return catalog_schema_sql(c, snapshot_id, &ret->sql, e);
}

bool restore_wants(char *const *tables, const char *name)
{
	if (!tables)
		return true;
	for (; *tables; tables++)
		if (!strcmp(*tables, name))
			return true;
	return false;
}

const struct version_info *restore_version_of(const struct version_list *l, const char *table)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].name, table))
			return &l->v[i];
	return NULL;
}

bool restore_same_table(const struct db_table *a, const struct db_table *b)
{
	_cleanup_strbuf_ struct strbuf x = {0}, y = {0};
	/* A table whose derived key had to be given up (see capture) is the same table. */
	struct db_table u = *a, v = *b;
	if (a->key_kind != b->key_kind && (a->key_kind == DB_KEY_NONE || b->key_kind == DB_KEY_NONE)) {
		u = db_table_without_key(a);
		v = db_table_without_key(b);
	}
	table_json_render(&u, NULL, &x);
	table_json_render(&v, NULL, &y);
	return x.len == y.len && !memcmp(x.data, y.data, x.len);
}

/* Restoring some tables changes rows only: the live table must be the table that the backup describes. */
int target_check_tables(char *const *tables, const struct db_schema *live, const struct target *t, struct err *e)
{
	for (; *tables; tables++) {
		const struct db_table *want = db_schema_find(t->schema, *tables), *have = db_schema_find(live, *tables);
		if (!want)
			return err_set(e, ENOENT, "table %s is not in the backup", *tables);
		if (!have)
			return err_set(e, ENOENT, "table %s is not in the database (restore the whole snapshot)",
				       *tables);
		if (!restore_same_table(have, want))
			return err_set(e, EXDEV,
				       "table %s has other columns now than in the backup (restore the whole snapshot)",
				       *tables);
	}
	return 0;
}

int target_check_engine(const struct db_schema *live, const struct db_schema *target, bool force, struct err *e)
{
	if (!*target->engine)
		return 0; /* one table: its description decides */
	if (strcmp(live->engine, target->engine) && !force)
		return err_set(
		    e, EXDEV,
		    "the backup is of %s %s, the target is %s %s (--force, on a mount restore_force = yes, to try)",
		    target->engine, target->server_version, live->engine, live->server_version);
	if (live->app_version && target->app_version && strcmp(live->app_version, target->app_version) && !force)
		return err_set(e, EXDEV,
			       "the backup is of OpenMetadata %s, the target's tables are of %s (--force, on a mount "
			       "restore_force = yes, to go back)",
			       target->app_version, live->app_version);
	return 0;
}
