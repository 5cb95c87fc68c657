/*
 * drivers/postgres/aside.c - large tables of a rebuild, loaded and indexed by several connections at a time in a schema
 * of their own, each in a transaction of its own, then moved to their places inside the rebuild's transaction.
 *
 * A table qualifies when its CREATE TABLE, as pg_dump wrote it, names nothing in the schema that is restored but the
 * table itself: then the schema it is made in changes nothing else about it, and ALTER TABLE ... SET SCHEMA makes it
 * what the text says, its indexes and constraints with it. So does an index or key. What does not qualify is made in
 * the rebuild's transaction, as if nothing were set aside.
 *
 * Rows are loaded frozen: the rebuild's transaction has an older snapshot, and what it makes of them (materialized
 * views) must see them. Nobody else knows the tables before they move. No locks but the server's; pg_aside is written
 * before the workers' threads start and only read by them.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

#define PG_ASIDE_PREFIX "metasnap_restore_"
#define PG_ASIDE_COMMENT "tables of a metasnap restore under way; may be dropped when none is"
#define PG_ASIDE_SCHEMA_MAX 40 /* with the prefix below NAMEDATALEN */

void pg_aside_done(struct pg_conn *c)
{
	struct pg_aside *st = &c->aside;
	for (size_t i = 0; i < st->n_tables; i++) {
		free(st->tables[i].name);
		free(st->tables[i].relation);
		free(st->tables[i].after);
	}
	free(st->tables);
	free(st->schema);
	free(st->target);
	pg_script_done(&st->script);
	*st = (struct pg_aside){0};
}

/* ---- reading pg_dump's text ---- */

/* After an identifier as pg_dump writes it, NULL when there is none. */
static const char *pg_after_ident(const char *p)
{
	const char *start = p;
	if (*p != '"') {
		while ((*p >= 'a' && *p <= 'z') || *p == '_' || (p > start && *p >= '0' && *p <= '9'))
			p++;
		return p > start ? p : NULL;
	}
	for (p++; *p; p++) {
		if (*p == '"' && p[1] != '"')
			return p + 1;
		p += *p == '"';
	}
	return NULL;
}

/* After `words` at the start of p, NULL when p does not start so. */
static const char *pg_after(const char *p, const char *words)
{
	size_t n = strlen(words);
	return p && !strncmp(p, words, n) ? p + n : NULL;
}

/* Whether the text may name something in the schema; in doubt it does. */
static bool pg_names_schema(const char *text, const char *schema)
{
	size_t n = strlen(schema);
	for (const char *p = strstr(text, schema); p; p = strstr(p + 1, schema))
		if (p[n] == '.' || (p[n] == '"' && p[n + 1] == '.'))
			return true;
	return false;
}

static bool pg_ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && !strcmp(text + n - m, end);
}

/* CREATE TABLE schema.table (...) of an ordinary table without options: the rest after the name, else NULL. *dot is
 * between schema and table. */
static const char *pg_plain_table(const char *sql, const char **dot)
{
	const char *p = pg_after(sql, "CREATE TABLE ");
	p = p ? pg_after_ident(p) : NULL;
	if (!p || *p != '.')
		return NULL;
	*dot = p;
	p = pg_after_ident(p + 1);
	return p && pg_after(p, " (\n") && pg_ends_with(sql, "\n);") ? p : NULL;
}

/* The statement makes an index or key of `relation` out of nothing but its columns and what pg_catalog has. */
static bool pg_is_own_index(const struct pg_statement *s, const char *relation, const char *schema)
{
	const char *p = NULL;
	if (!strcmp(s->type, "CONSTRAINT")) {
		p = pg_after(pg_after(s->sql, "ALTER TABLE ONLY "), relation);
		p = pg_after(p, "\n    ADD CONSTRAINT ");
	} else if (!strcmp(s->type, "INDEX")) {
		p = pg_after(s->sql, "CREATE INDEX ");
		if (!p)
			p = pg_after(s->sql, "CREATE UNIQUE INDEX ");
		p = pg_after(pg_after(p ? pg_after_ident(p) : NULL, " ON "), relation);
		p = pg_after(p, " USING ");
	}
	return p && !pg_names_schema(p, schema);
}

/* Tablespaces and access methods other than the usual would have to be followed from statement to statement. */
static bool pg_has_odd_storage(const struct pg_script *script)
{
	for (size_t i = 0; i < script->n_statements; i++) {
		const char *sql = script->statements[i].sql;
		if ((pg_after(sql, "SET default_tablespace ") && strcmp(sql, "SET default_tablespace = '';")) ||
		    (pg_after(sql, "SET default_table_access_method ") &&
		     strcmp(sql, "SET default_table_access_method = heap;")))
			return true;
	}
	return false;
}

static bool pg_add_aside(struct pg_conn *c, const char *table)
{
	struct pg_aside *st = &c->aside;
	_cleanup_free_ char *entry = xasprintf("TABLE %s", table), *relation = NULL, *target = NULL;
	size_t create = SIZE_MAX;
	for (size_t i = 0; i < st->script.n_statements; i++) {
		const struct pg_statement *s = &st->script.statements[i];
		const char *dot, *rest;
		if (strcmp(s->entry, entry) || pg_after(s->sql, "SET "))
			continue;
		if (create != SIZE_MAX) {
			/* Storage, statistics, row security: what must be set before the rows come, or more. */
			if (!pg_after(pg_after(pg_after(s->sql, "ALTER TABLE "), relation), " OWNER TO "))
				return false;
			continue;
		}
		rest = pg_plain_table(s->sql, &dot);
		if (!rest || pg_names_schema(rest, c->schema))
			return false;
		const char *name = s->sql + strlen("CREATE TABLE ");
		relation = xmemdup0(name, (size_t)(rest - name));
		target = xmemdup0(name, (size_t)(dot - name));
		create = i;
	}
	if (create == SIZE_MAX)
		return false;
	struct pg_aside_table t = {.name = xstrdup(table), .relation = TAKE_PTR(relation), .create = create};
	for (size_t i = create + 1; i < st->script.n_statements; i++) {
		if (!pg_is_own_index(&st->script.statements[i], t.relation, c->schema))
			continue;
		t.after = xrealloc(t.after, (t.n_after + 1) * sizeof *t.after);
		t.after[t.n_after++] = i;
	}
	if (!st->target)
		st->target = TAKE_PTR(target);
	st->tables = xrealloc(st->tables, (st->n_tables + 1) * sizeof *st->tables);
	st->tables[st->n_tables++] = t;
	return true;
}

static const struct pg_aside_table *pg_find_aside(const struct pg_aside *st, const char *table)
{
	for (size_t i = 0; i < st->n_tables; i++)
		if (!strcmp(st->tables[i].name, table))
			return &st->tables[i];
	return NULL;
}

/* ---- the leader ---- */

/* Where a schema of our own, or tables in it, would be seen by others or come out different. */
static int pg_may_aside(struct pg_conn *c, const char *aside, bool *may, struct err *e)
{
	static const char sql[] =
	    "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"
	    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = $2)"
	    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_default_acl d"
	    " JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace WHERE n.nspname = $1)"
	    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger t WHERE t.evtenabled <> 'D')"
	    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.puballtables)";
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {c->schema, aside};
	int r = pg_query(c, &res, "cannot prepare the tables", sql, 2, params, e);
	if (r < 0)
		return r;
	*may = *PQgetvalue(res, 0, 0) == 't';
	return 0;
}

/* Sets wanted tables aside in c->aside, but for its schema; those that cannot be are then not wanted any more. */
static int pg_choose_aside(struct pg_conn *c, const struct db_schema *s, const char *sql, const char *aside,
			   bool *set_aside, struct err *e)
{
	/* A name with a quote in it is spelled in more than one way. */
	bool may = strlen(c->schema) <= PG_ASIDE_SCHEMA_MAX && !strchr(c->schema, '"');
	int r = may ? pg_may_aside(c, aside, &may, e) : 0;
	if (r < 0)
		return r;
	if (may) {
		r = pg_script_parse(&c->aside.script, sql, e);
		if (r < 0)
			return r;
		may = !pg_has_odd_storage(&c->aside.script);
	}
	for (size_t i = 0; i < s->n_tables; i++)
		set_aside[i] = set_aside[i] && may && pg_add_aside(c, s->tables[i].name);
	return 0;
}

/* It must be there for all, so it is made by a transaction of its own. */
static int pg_make_aside_schema(struct pg_conn *c, const char *aside, struct err *e)
{
	_cleanup_(cleanup_pg_connection) struct pg_conn *other = NULL;
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = pg_connection_open_like(&other, c, e);
	if (r < 0)
		return r;
	strbuf_adds(&sql, "CREATE SCHEMA ");
	pg_add_ident(&sql, aside);
	strbuf_adds(&sql, "; COMMENT ON SCHEMA ");
	pg_add_ident(&sql, aside);
	strbuf_adds(&sql, " IS '" PG_ASIDE_COMMENT "'");
	return pg_query(other, NULL, "cannot prepare the tables", strbuf_str(&sql), 0, NULL, e);
}

int pg_aside_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, bool *set_aside, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct pg_aside *st = &c->aside;
	if (!c->active || c->access != DB_WRITE || c->change.on || st->schema)
		return err_set(e, EINVAL, "rebuild: no transaction that may write");
	_cleanup_free_ char *aside = xasprintf(PG_ASIDE_PREFIX "%s", c->schema);
	int r = pg_choose_aside(c, s, sql, aside, set_aside, e);
	if (r < 0 || !st->n_tables) {
		pg_aside_done(c);
		return r;
	}
	/* No free connection, or not allowed: it goes without. */
	if (pg_make_aside_schema(c, aside, ERR_DROP) < 0) {
		pg_aside_done(c);
		memset(set_aside, 0, s->n_tables * sizeof *set_aside);
		return 0;
	}
	st->schema = TAKE_PTR(aside);
	return 0;
}

static void pg_add_aside_relation(struct strbuf *sb, const struct pg_aside *st, const char *table)
{
	pg_add_ident(sb, st->schema);
	strbuf_addch(sb, '.');
	pg_add_ident(sb, table);
}

int pg_aside_hold(struct db_conn *leader, const struct db_table *t, uint64_t rows, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)leader;
	_cleanup_strbuf_ struct strbuf relation = {0}, sql = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_aside_relation(&relation, &c->aside, t->name);
	/* A session hears what others have committed to the catalogs when it takes a lock that it does not hold: that of
	 * a relation that does not exist, which it lets go at once. Else LOCK TABLE may not find a schema that is newer
	 * than what it has looked up.
	 * SHARE: others read, nobody writes, from before the worker reads it back to the end. */
	strbuf_addf(&sql,
		    "SELECT pg_catalog.pg_relation_size(1::pg_catalog.oid); LOCK TABLE ONLY %s IN SHARE MODE; SELECT "
		    "pg_catalog.count(*) FROM ONLY %s",
		    strbuf_str(&relation), strbuf_str(&relation));
	int r = pg_query(c, &res, t->name, strbuf_str(&sql), 0, NULL, e);
	if (r < 0)
		return r;
	uint64_t seen = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	if (seen != rows)
		return err_set(e, EIO, "%s: the restore's transaction sees %llu of the %llu rows that were loaded",
			       t->name, (unsigned long long)seen, (unsigned long long)rows);
	return 0;
}

bool pg_aside_has(const struct pg_conn *c, size_t i, char **move)
{
	const struct pg_aside *st = &c->aside;
	*move = NULL;
	for (size_t k = 0; k < st->n_tables; k++) {
		const struct pg_aside_table *t = &st->tables[k];
		if (t->create == i) {
			_cleanup_strbuf_ struct strbuf relation = {0};
			pg_add_aside_relation(&relation, st, t->name);
			*move = xasprintf("ALTER TABLE %s SET SCHEMA %s", strbuf_str(&relation), st->target);
			return true;
		}
		for (size_t n = 0; n < t->n_after; n++)
			if (t->after[n] == i)
				return true;
	}
	return false;
}

int pg_aside_drop_empty(struct pg_conn *c, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	if (!c->aside.schema)
		return 0;
	strbuf_adds(&sql, "DROP SCHEMA ");
	pg_add_ident(&sql, c->aside.schema);
	strbuf_adds(&sql, " RESTRICT");
	return pg_query(c, NULL, "cannot take the tables in", strbuf_str(&sql), 0, NULL, e);
}

/* ---- a worker ---- */

int pg_aside_open(struct db_conn **ret, struct db_conn *leader, struct err *e)
{
	struct pg_conn *l = (struct pg_conn *)leader, *c = NULL;
	*ret = NULL;
	int r = pg_connection_open_like(&c, l, e);
	if (r < 0)
		return r;
	free(c->schema);
	c->schema = xstrdup(l->aside.schema);
	*ret = (struct db_conn *)c;
	return 0;
}

/* Runs a statement of the text on the table in the schema aside. */
static int pg_run_aside(struct pg_conn *c, const struct pg_aside *st, const struct pg_aside_table *t, size_t i,
			struct err *e)
{
	const struct pg_statement *s = &st->script.statements[i];
	_cleanup_strbuf_ struct strbuf sql = {0};
	/* No name before it can hold it: the table's name is the first that has a schema. */
	const char *at = strstr(s->sql, t->relation);
	if (!strcmp(s->type, "INDEX")) {
		const char *name = strstr(s->sql, " INDEX ") + strlen(" INDEX ");
		at = pg_after_ident(name) + strlen(" ON ");
	}
	strbuf_add(&sql, s->sql, (size_t)(at - s->sql));
	pg_add_aside_relation(&sql, st, t->name);
	strbuf_adds(&sql, at + strlen(t->relation));
	return pg_query(c, NULL, s->entry, strbuf_str(&sql), 0, NULL, e);
}

static int pg_begin_aside(struct pg_conn *c, const char *table, struct err *e)
{
	if (c->active)
		return err_set(e, EINVAL, "%s: a transaction is open", table);
	int r = pg_query(c, NULL, table,
			 "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL default_tablespace = '';"
			 " SET LOCAL default_table_access_method = heap;"
			 " SELECT pg_catalog.set_config(s.name, '128MB', true) FROM pg_catalog.pg_settings s"
			 " WHERE s.name = 'maintenance_work_mem' AND s.setting::pg_catalog.int8 < 131072",
			 0, NULL, e);
	if (r < 0)
		return r;
	c->active = true;
	c->access = DB_WRITE;
	return 0;
}

static int pg_commit_aside(struct pg_conn *c, struct err *e)
{
	int r = pg_check_commit(c, e);
	return r < 0 ? r : pg_end(c, "COMMIT", e);
}

int pg_aside_table(struct db_conn *conn, const struct db_conn *leader, const struct db_table *t, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	const struct pg_aside *st = &((const struct pg_conn *)leader)->aside;
	const struct pg_aside_table *set_aside = pg_find_aside(st, t->name);
	if (!set_aside)
		return err_set(e, EINVAL, "%s: not a table to be staged", t->name);
	int r = pg_begin_aside(c, t->name, e);
	if (r < 0)
		return r;
	c->load.freeze = true;
	return pg_run_aside(c, st, set_aside, set_aside->create, e);
}

/* Of the statements after the table's own, the constraints or the indexes. */
static int pg_run_aside_type(struct pg_conn *c, const struct pg_aside *st, const struct pg_aside_table *t,
			     const char *type, struct err *e)
{
	for (size_t i = 0; i < t->n_after; i++) {
		if (strcmp(st->script.statements[t->after[i]].type, type))
			continue;
		int r = pg_run_aside(c, st, t, t->after[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

int pg_aside_end(struct db_conn *conn, const struct db_conn *leader, const struct db_table *t, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	const struct pg_aside *st = &((const struct pg_conn *)leader)->aside;
	const struct pg_aside_table *set_aside = pg_find_aside(st, t->name);
	if (!set_aside || !c->active)
		return err_set(e, EINVAL, "%s: not a table that is staged", t->name);
	c->load.freeze = false;
	int r = pg_run_aside_type(c, st, set_aside, "CONSTRAINT", e);
	return r < 0 ? r : pg_commit_aside(c, e);
}

int pg_aside_index(struct db_conn *conn, const struct db_conn *leader, const struct db_table *t, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	const struct pg_aside *st = &((const struct pg_conn *)leader)->aside;
	const struct pg_aside_table *set_aside = pg_find_aside(st, t->name);
	if (!set_aside)
		return err_set(e, EINVAL, "%s: not a table that is staged", t->name);
	int r = pg_begin_aside(c, t->name, e);
	if (r < 0)
		return r;
	r = pg_run_aside_type(c, st, set_aside, "INDEX", e);
	return r < 0 ? r : pg_commit_aside(c, e);
}

int pg_aside_read(struct db_conn *conn, const struct db_conn *leader, const struct db_table *t, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	(void)leader;
	if (c->active)
		return err_set(e, EINVAL, "%s: a transaction is open", t->name);
	int r = pg_query(c, NULL, t->name, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL, e);
	if (r < 0)
		return r;
	c->active = true;
	c->access = DB_READ;
	return 0;
}

/* ---- after a crash ---- */

static int pg_drop_leftovers(struct pg_conn *c, const char *aside, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	_cleanup_strbuf_ struct strbuf sql = {0};
	const char *params[] = {aside};
	int r = pg_query(c, &res, "cannot list the tables of an earlier restore",
			 "SELECT c.relname FROM pg_catalog.pg_class c"
			 " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
			 " WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY 1",
			 1, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++) {
		strbuf_adds(&sql, i ? ", " : "DROP TABLE ");
		pg_add_ident(&sql, aside);
		strbuf_addch(&sql, '.');
		pg_add_ident(&sql, PQgetvalue(res, i, 0));
	}
	strbuf_addf(&sql, "%sDROP SCHEMA ", PQntuples(res) ? " RESTRICT; " : "");
	pg_add_ident(&sql, aside);
	strbuf_adds(&sql, " RESTRICT");
	return pg_query(c, NULL, "cannot drop the tables of an earlier restore", strbuf_str(&sql), 0, NULL, e);
}

int pg_settle(struct db_conn *conn, struct err *e)
{
	/* A restore is one transaction: all that can be left of one is the schema aside, which is ours if it says so. */
	struct pg_conn *c = (struct pg_conn *)conn;
	static const char ours[] = "SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = $1"
				   " AND pg_catalog.obj_description(n.oid, 'pg_namespace') = '" PG_ASIDE_COMMENT "'";
	_cleanup_free_ char *aside = xasprintf(PG_ASIDE_PREFIX "%s", c->schema);
	_cleanup_result_ PGresult *res = NULL;
	const char *params[] = {aside};
	if (c->active)
		return err_set(e, EINVAL, "settle: a transaction is open");
	int r = pg_query(c, &res, "cannot look for an earlier restore", ours, 1, params, e);
	if (r < 0 || !PQntuples(res))
		return r;
	struct err words = ERR_INIT;
	r = pg_take_restore_lock(c, &words);
	if (r == -EBUSY)
		return 0; /* of the restore that runs */
	if (r < 0) {
		*e = words;
		return r;
	}
	r = pg_drop_leftovers(c, aside, e);
	pg_free_restore_lock(c);
	return r;
}
