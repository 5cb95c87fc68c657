/*
 * drivers/mysql/rebuild.c - replaces a whole schema, though DDL commits by itself.
 *
 * A second connection (the builder) makes the new tables in database DB__metasnap_new, and others (the loaders, see
 * pool.c) fill them; the first one keeps its transaction and with it the locks of the old tables. The commit is
 * ONE multi-table RENAME: old tables to DB__metasnap_old, new ones into DB. That statement is what is atomic, also
 * against a crash of the server (MySQL 8.0; MariaDB since 10.6): all tables are old or all are new. Triggers, views,
 * routines and events cannot be in it (1435, 1450): triggers of old tables are dropped before, everything else is
 * replaced after. What is to be done is written to the journal table in DB__metasnap_old first; my_settle() undoes or
 * completes it after a crash.
 *
 * The RENAME must not commit our row locks away before it owns the tables, or a waiting writer would write to a table
 * that is then dropped. So: LOCK TABLES ... WRITE, compare the old tables with the sums of the scans (nobody slipped
 * in), RENAME under the lock (MySQL 8.0.13+). MariaDB refuses that (1192): there the builder's RENAME queues behind
 * the lock, the lock is released, and the old tables are compared again before they are dropped; were they written to
 * in between, they are kept and the commit fails naming them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drivers/mysql/internal.h"

#define MY_JOURNAL "__metasnap_journal"
#define MY_NAME_MAX 64
#define MY_QUEUE_WAIT_MS 5000
#define MY_SETTLE_WAIT_S 15

static const char *const my_loader_locks[MY_POOL_THREADS] = {"load 1", "load 2"};

/* Database names have at most 64 characters; a longer one is cut, with a hash of the whole. */
static char *my_side_name(const char *database, const char *suffix)
{
	uint64_t h = 0xcbf29ce484222325u;
	size_t keep = MY_NAME_MAX - strlen(suffix) - 17;

	if (strlen(database) + strlen(suffix) <= MY_NAME_MAX)
		return xasprintf("%s%s", database, suffix);
	for (const char *p = database; *p; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3u;
	while (keep > 0 && ((unsigned char)database[keep] & 0xc0) == 0x80)
		keep--;
	return xasprintf("%.*s_%016llx%s", (int)keep, database, (unsigned long long)h, suffix);
}

static char *my_old_name(const char *database)
{
	return my_side_name(database, "__metasnap_old");
}

static char *my_shadow_name(const char *database)
{
	return my_side_name(database, "__metasnap_new");
}

static int my_count(struct my_conn *c, uint64_t *ret, struct err *e, const char *which, const char *schema)
{
	_cleanup_free_ char *n = NULL;
	int r = my_select_one(c, &n, e, "SELECT COUNT(*) FROM information_schema.%s=%q", which, schema);

	*ret = n ? strtoull(n, NULL, 10) : 0;
	return r;
}

static int my_database_exists(struct my_conn *c, const char *name, bool *ret, struct err *e)
{
	uint64_t n;
	int r = my_count(c, &n, e, "SCHEMATA WHERE SCHEMA_NAME", name);

	*ret = n > 0;
	return r;
}

static int my_count_tables(struct my_conn *c, const char *database, uint64_t *ret, struct err *e)
{
	return my_count(c, ret, e, "TABLES WHERE TABLE_TYPE='BASE TABLE' AND TABLE_SCHEMA", database);
}

/* ---- the journal ---- */

static int my_journal(struct my_conn *w, const char *old, const char *phase, const char *kind, const char *name,
		      const char *settings, const char *sql, struct err *e)
{
	return my_exec(w, e,
		       "INSERT INTO %i." MY_JOURNAL " (phase, kind, name, settings, body) VALUES (%q, %q, %q, %q, %q)",
		       old, phase, kind, name, settings ? settings : "", sql ? sql : "");
}

static int my_journal_state(struct my_conn *w, const char *old, const char *state, struct err *e)
{
	return my_exec(w, e, "UPDATE %i." MY_JOURNAL " SET kind=%q WHERE phase='state'", old, state);
}

static int my_make_sides(struct my_conn *w, const char *old, const char *shadow, struct err *e)
{
	bool there = false;
	int r = my_database_exists(w, shadow, &there, e);

	if (r < 0)
		return r;
	if (there)
		return err_set(e, EEXIST, "database %s is there and is not metasnap's: rename or drop it", shadow);
	if ((r = my_database_exists(w, old, &there, e)) < 0)
		return r;
	if (there)
		return err_set(e, EEXIST,
			       "database %s is there: it holds what an earlier restore kept; look at it, then drop it",
			       old);
	if ((r = my_exec(w, e, "CREATE DATABASE %i CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", old)) == 0 &&
	    (r = my_exec(
		 w, e,
		 "CREATE TABLE %i." MY_JOURNAL
		 " (seq INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, phase VARCHAR(16) NOT NULL, "
		 "kind VARCHAR(32) NOT NULL, name VARCHAR(200) NOT NULL, settings TEXT NOT NULL, body LONGTEXT NOT "
		 "NULL) "
		 "ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT='metasnap: a restore under way'",
		 old)) == 0 &&
	    (r = my_journal(w, old, "state", "building", shadow, NULL, NULL, e)) == 0)
		r = my_exec(w, e, "CREATE DATABASE %i CHARACTER SET utf8mb4", shadow);
	if (r == -EACCES)
		err_prefix(e,
			   "to replace a schema the user must be able to make the databases %s and %s (GRANT ALL ON "
			   "`%s`.* TO ...; the same "
			   "for the other)",
			   shadow, old, shadow);
	return r;
}

static int my_drop_sides(struct my_conn *w, const char *old, const char *shadow, struct err *e)
{
	int r = my_exec(w, e, "DROP DATABASE IF EXISTS %i", shadow);

	/* The journal goes last: as long as it is there, the rest is known to be ours. */
	return r < 0 ? r : my_exec(w, e, "DROP DATABASE IF EXISTS %i", old);
}

/* MariaDB: nothing may have been written to the old tables between the release of the lock and the RENAME. */
static int my_verify_old(struct my_conn *w, const char *old, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct my_catalog cat = {0};
	int r = my_select(w, &res, e, "SELECT name, body FROM %i." MY_JOURNAL " WHERE phase='sum' ORDER BY seq", old);

	if (r == 0)
		r = my_describe(w, old, &cat, NULL, e);
	for (MYSQL_ROW row; r == 0 && (row = mysql_fetch_row(res));) {
		struct my_table *mt = my_catalog_find(&cat, row[0]);
		struct my_sum sum;
		char text[MY_SUM_TEXT];

		if (!mt) {
			r = err_set(e, EIO, "table %s is not in %s", row[0], old);
			break;
		}
		if ((r = my_sum_table(w, old, mt, &sum, e)) < 0)
			break;
		my_sum_text(&sum, text);
		if (strcmp(text, row[1]) != 0) {
			(void)my_journal_state(w, old, "kept", ERR_DROP);
			r = err_set(e, EIO,
				    "the new tables are in place, but another session wrote to table %s while they "
				    "were put there: its rows are "
				    "in database %s, which is kept",
				    row[0], old);
		}
	}
	my_catalog_done(&cat);
	return r;
}

/* After the RENAME: what is not a table. Can be run again after a crash. */
static int my_complete(struct my_conn *w, const char *database, const char *old, const char *shadow, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	struct err kept = ERR_INIT;
	int r = my_use(w, database, e);

	if (r < 0 || (r = my_set_building(w, e)) < 0)
		return r;
	int verified = w->mariadb ? my_verify_old(w, old, &kept) : 0;
	if ((r = my_select(w, &res, e,
			   "SELECT phase, kind, name, settings, body FROM %i." MY_JOURNAL
			   " WHERE phase IN ('drop','redo') ORDER BY phase, seq",
			   old)) < 0)
		return r;
	for (MYSQL_ROW row; r == 0 && (row = mysql_fetch_row(res));) {
		r = my_object_drop(w, database, row[1], row[2], e);
		if (r == 0 && strcmp(row[0], "redo") == 0) {
			struct my_statement s = {.kind = my_object_of(row[1]),
						 .name = row[2],
						 .settings = row[3][0] ? row[3] : NULL,
						 .sql = xstrdup(row[4])};

			r = my_statement_run_definer(w, &s, NULL, e);
			free(s.sql);
		}
	}
	if (r < 0)
		return err_prefix(e, "the tables are replaced, the rest is not (it is tried again at the next start)");
	if (verified < 0) {
		(void)my_exec(w, ERR_DROP, "DROP DATABASE IF EXISTS %i", shadow);
		*e = kept;
		return verified;
	}
	return my_drop_sides(w, old, shadow, e);
}

/* Before the RENAME: the triggers and views that had to go for it come back. */
static int my_undo(struct my_conn *w, const char *database, const char *old, const char *shadow, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	uint64_t n = 0;
	int r = my_count_tables(w, old, &n, e);

	if (r < 0)
		return r;
	if (n != 1)
		return err_set(e, EIO, "database %s holds tables, though no swap took place: look at it", old);
	if ((r = my_use(w, database, e)) < 0 || (r = my_set_building(w, e)) < 0 ||
	    (r = my_select(w, &res, e,
			   "SELECT kind, name, settings, body FROM %i." MY_JOURNAL " WHERE phase='undo' ORDER BY seq",
			   old)) < 0)
		return r;
	for (MYSQL_ROW row; r == 0 && (row = mysql_fetch_row(res));) {
		bool view = strcmp(row[0], "view") == 0;
		struct my_statement s = {.kind = view ? MY_VIEW : MY_TRIGGER,
					 .name = row[1],
					 .settings = row[2][0] ? row[2] : NULL,
					 .sql = row[3]};

		_cleanup_free_ char *there = NULL;
		r = my_select_one(w, &there, e, "SELECT 1 FROM information_schema.%s WHERE %s=%q AND %s=%q",
				  view ? "VIEWS" : "TRIGGERS", view ? "TABLE_SCHEMA" : "TRIGGER_SCHEMA", database,
				  view ? "TABLE_NAME" : "TRIGGER_NAME", row[1]);
		if (r == 0 && !there)
			r = my_statement_run(w, &s, e);
	}
	return r < 0 ? r : my_drop_sides(w, old, shadow, e);
}

/* Brings what a restore left behind to one end or the other. The advisory lock is held. */
static int my_settle_now(struct my_conn *w, const char *database, struct err *e)
{
	_cleanup_free_ char *old = my_old_name(database), *shadow = my_shadow_name(database), *state = NULL,
			    *tables = NULL;
	uint64_t n = 0, n_shadow = 0;
	bool there = false;
	int r = my_database_exists(w, old, &there, e);

	if (r < 0 || !there)
		return r;
	if ((r = my_count(w, &n, e, "TABLES WHERE TABLE_NAME='" MY_JOURNAL "' AND TABLE_SCHEMA", old)) < 0)
		return r;
	if (n == 0) {
		/* Made, and then the crash; or somebody else's. */
		if ((r = my_count_tables(w, old, &n, e)) < 0 || n > 0)
			return r;
		return my_exec(w, e, "DROP DATABASE %i", old);
	}
	if ((r = my_exec(w, e, "SET SESSION foreign_key_checks=0")) < 0 ||
	    (r = my_select_one(w, &state, e, "SELECT kind FROM %i." MY_JOURNAL " WHERE phase='state'", old)) < 0 ||
	    (r = my_select_one(w, &tables, e, "SELECT body FROM %i." MY_JOURNAL " WHERE phase='tables'", old)) < 0 ||
	    (r = my_count_tables(w, shadow, &n_shadow, e)) < 0 || (r = my_count_tables(w, old, &n, e)) < 0)
		return r;
	if (state && strcmp(state, "kept") == 0)
		return 0;
	if (state && strcmp(state, "swap") == 0) {
		/* All the new tables left the shadow database in the one statement that took the old ones away. */
		bool happened = tables && strcmp(tables, "0") != 0 ? n_shadow == 0 : n > 1;
		return happened ? my_complete(w, database, old, shadow, e) : my_undo(w, database, old, shadow, e);
	}
	return my_undo(w, database, old, shadow, e);
}

int my_settle(struct db_conn *dc, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	_cleanup_free_ char *old = my_old_name(c->database);
	bool there = false;

	if (c->in_transaction)
		return err_set(e, EINVAL, "a transaction is open");
	int r = my_database_exists(c, old, &there, e);
	if (r < 0 || !there)
		return r;
	/* What a dead restore's sessions were doing goes on for a while. */
	_cleanup_free_ char *database = xstrdup(c->database);
	r = my_lock_advisory(c, database, "restore", MY_SETTLE_WAIT_S, e);
	if (r == 0)
		r = my_lock_advisory(c, database, "build", MY_SETTLE_WAIT_S, e);
	for (size_t i = 0; r == 0 && i < MY_POOL_THREADS; i++)
		r = my_lock_advisory(c, database, my_loader_locks[i], MY_SETTLE_WAIT_S, e);
	if (r == 0)
		r = my_settle_now(c, database, e);
	my_unlock_advisory(c);
	my_set_reading(c);
	return r;
}

/* ---- building ---- */

/* A table outside that refers to one of ours would follow it to the old database. */
static int my_check_inbound(struct my_conn *c, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(c, &res, e,
			  "SELECT DISTINCT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_NAME FROM "
			  "information_schema.KEY_COLUMN_USAGE "
			  "WHERE REFERENCED_TABLE_SCHEMA=%q",
			  c->database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));)
		if (my_catalog_find(&c->catalog, row[3]) &&
		    (strcmp(row[1], c->database) != 0 || !my_catalog_find(&c->catalog, row[2])))
			return err_set(e, ENOTSUP,
				       "foreign key %s of table %s.%s refers to table %s, which would be replaced: "
				       "drop the key, or restore "
				       "into an unchanged schema",
				       row[0], row[1], row[2], row[3]);
	return 0;
}

/* What is there already stays: it need not be dropped and made again, perhaps without its DEFINER. */
static int my_mark_same(struct my_conn *c, struct my_script *script, struct err *e)
{
	_cleanup_script_ struct my_script now = {0};

	for (int k = MY_FUNCTION; k < MY_N_OBJECTS; k++) {
		/* Triggers go with the old tables. A definition hidden from us is not the same. */
		int r = k == MY_TRIGGER ? 0 : my_script_read(c, c->database, (enum my_object)k, &now, e);
		if (r < 0 && r != -EACCES)
			return r;
	}
	for (size_t i = 0; i < script->n; i++)
		for (size_t k = 0; k < now.n && !script->statements[i].same; k++) {
			const struct my_statement *a = &script->statements[i], *b = &now.statements[k];

			script->statements[i].same = a->kind == b->kind && strcmp(a->name, b->name) == 0 &&
						     strcmp(a->sql, b->sql) == 0 && a->settings && b->settings &&
						     strcmp(a->settings, b->settings) == 0;
		}
	return 0;
}

static bool my_is_same(const struct my_script *script, enum my_object kind, const char *name)
{
	for (size_t i = 0; i < script->n; i++)
		if (script->statements[i].same && script->statements[i].kind == kind &&
		    strcmp(script->statements[i].name, name) == 0)
			return true;
	return false;
}

/* A foreign key wants its indexes on both sides from the beginning. */
static bool my_has_foreign(const struct my_script *script, const struct my_statement *table)
{
	_cleanup_strbuf_ struct strbuf word = {0};

	my_sql(&word, "REFERENCES %i ", table->name);
	for (size_t i = 0; i < script->n; i++)
		if (script->statements[i].kind == MY_TABLE && strcasestr(script->statements[i].sql, strbuf_str(&word)))
			return true;
	return strstr(table->sql, " FOREIGN KEY (") != NULL;
}

/*
 * The definition without its secondary indexes, which are made of all rows at once afterwards, and the statement that
 * makes them. NULL: there are none. Without a primary key the rows lie in the order of a unique one: that stays. SHOW
 * CREATE has one line for each index; were a line something else, the server would not take the rest, and the table is
 * then made whole.
 */
static char *my_without_indexes(const struct my_statement *s, const char *database, char **ret_indexes)
{
	_cleanup_strbuf_ struct strbuf rest = {0}, indexes = {0};
	bool primary = strstr(s->sql, "\n  PRIMARY KEY (") != NULL;
	const char *line = strchr(s->sql, '\n');

	if (!line)
		return NULL;
	strbuf_add(&rest, s->sql, (size_t)(line - s->sql));
	while (line && strncmp(line, "\n)", 2) != 0) {
		const char *next = strchr(line + 1, '\n'), *end = next ? next : line + strlen(line);
		bool index =
		    strncmp(line, "\n  KEY `", 8) == 0 || (primary && strncmp(line, "\n  UNIQUE KEY `", 15) == 0);

		end -= end[-1] == ',';
		if (index) {
			strbuf_adds(&indexes, indexes.len ? ", ADD" : " ADD");
			strbuf_add(&indexes, line + 2, (size_t)(end - line - 2));
		} else {
			strbuf_adds(&rest, rest.data[rest.len - 1] == '(' ? "" : ",");
			strbuf_add(&rest, line, (size_t)(end - line));
		}
		line = next;
	}
	if (!line || !indexes.len)
		return NULL;
	strbuf_adds(&rest, line);
	struct strbuf alter = {0};
	my_sql(&alter, "ALTER TABLE %i.%i%s", database, s->name, strbuf_str(&indexes));
	*ret_indexes = strbuf_detach(&alter);
	return strbuf_detach(&rest);
}

static int my_make_tables(struct my_conn *w, struct my_script *script, struct err *e)
{
	for (size_t i = 0; i < script->n; i++) {
		struct my_statement *s = &script->statements[i], first = *s;
		int r = -1;

		if (s->kind != MY_TABLE || db_params_excludes(&w->params, s->name))
			continue;
		_cleanup_free_ char *rest =
		    my_has_foreign(script, s) ? NULL : my_without_indexes(s, w->database, &s->indexes);
		first.sql = rest;
		if (!rest || (r = my_statement_run(w, &first, ERR_DROP)) < 0) {
			free(TAKE_PTR(s->indexes));
			r = my_statement_run(w, s, e);
		}
		if (r < 0)
			return r == -EPERM ? -EACCES : r;
	}
	return 0;
}

/* Another minor version may write the same thing in other words; say so rather than hide it. */
static int my_compare_tables(struct my_conn *w, const struct my_script *script, struct strbuf *warnings, struct err *e)
{
	_cleanup_free_ char **names = xcalloc(script->n + 1, sizeof *names);
	_cleanup_script_ struct my_script now = {0};
	size_t n = 0;

	for (size_t i = 0; i < script->n; i++)
		if (script->statements[i].kind == MY_TABLE &&
		    !db_params_excludes(&w->params, script->statements[i].name))
			names[n++] = script->statements[i].name;
	int r = my_show_tables(w, w->database, names, n, &now, e);
	for (size_t i = 0, k = 0; r == 0 && i < script->n && k < n; i++) {
		if (script->statements[i].name != names[k])
			continue;
		if (strcmp(now.statements[k].sql, script->statements[i].sql) != 0)
			strbuf_addf(warnings, "table %s: this server writes its definition differently\n", names[k]);
		k++;
	}
	return r;
}

/* Whether the server lets a client send a file: it is off by default on MySQL, on with MariaDB. */
static bool my_try_infile(struct my_conn *c, struct my_conn *loader)
{
	const struct strbuf nothing = {0};

	loader->offer = &nothing;
	int r = my_exec(loader, ERR_DROP,
			"LOAD DATA LOCAL INFILE '" MY_INFILE "' INTO TABLE %i." MY_JOURNAL " CHARACTER SET utf8mb4",
			c->old);
	loader->offer = NULL;
	return r == 0;
}

static int my_open_loaders(struct my_conn *c, struct my_conn **ret, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < MY_POOL_THREADS; i++) {
		ret[i] = atomic_load(&c->loaders[i]);
		if (!ret[i]) {
			if ((r = my_open_loader(&ret[i], c, e)) < 0)
				return err_prefix(e, "connection for loading");
			atomic_store(&c->loaders[i], ret[i]);
		}
		r = my_lock_advisory(ret[i], c->database, my_loader_locks[i], MY_SETTLE_WAIT_S, e);
	}
	return r;
}

/* Ends what the loaders are doing; their connections stay. */
static void my_close_loaders(struct my_conn *c, struct my_conn *w)
{
	for (size_t i = 0; w->pool && i < MY_POOL_THREADS; i++)
		if (atomic_load(&c->loaders[i]))
			my_cancel((struct db_conn *)atomic_load(&c->loaders[i]));
	my_pool_free(TAKE_PTR(w->pool));
	for (size_t i = 0; i < MY_POOL_THREADS; i++) {
		struct my_conn *l = atomic_load(&c->loaders[i]);

		if (!l)
			continue;
		atomic_store(&l->cancelled, false);
		(void)mysql_query(l->my, "DO 0"); /* a KILL that came late */
		my_unlock_advisory(l);
	}
}

int my_rebuild_begin(struct db_conn *dc, const struct db_schema *s, const char *sql, struct strbuf *warnings,
		     struct err *e)
{
	struct my_conn *c = my_conn_of(dc), *w = atomic_load(&c->builder), *loaders[MY_POOL_THREADS];
	_cleanup_free_ char *shadow = my_shadow_name(c->database);
	int r;

	if (!c->in_transaction || c->access != DB_WRITE || c->mode != MY_MODE_NONE)
		return err_set(e, EINVAL, "a rebuild needs begin(DB_WRITE)");
	my_rebuild_done(c);
	c->script = xcalloc(1, sizeof *c->script);
	if ((r = my_script_parse(c->script, sql, e)) < 0 || (r = my_check_inbound(c, e)) < 0 ||
	    (r = my_mark_same(c, c->script, e)) < 0)
		return r;
	if (!w) {
		if ((r = my_open_like(&w, c, e)) < 0)
			return err_prefix(e, "second connection");
		atomic_store(&c->builder, w);
	}
	if ((r = my_lock_advisory(w, c->database, "build", MY_SETTLE_WAIT_S, e)) < 0 ||
	    (r = my_open_loaders(c, loaders, e)) < 0 || (r = my_settle_now(w, c->database, e)) < 0)
		return r;
	c->old = my_old_name(c->database);
	/* From here on my_rebuild_rollback() cleans up. */
	c->mode = MY_MODE_REBUILD;
	if ((r = my_make_sides(w, c->old, shadow, e)) < 0 || (r = my_use(w, shadow, e)) < 0 ||
	    (r = my_set_building(w, e)) < 0 || (r = my_make_tables(w, c->script, e)) < 0 ||
	    (r = my_describe(w, shadow, &w->catalog, NULL, e)) < 0)
		return r;
	for (size_t i = 0; i < s->n_tables; i++)
		if (!my_catalog_find(&w->catalog, s->tables[i].name))
			return err_set(e, EINVAL, "table %s is not in the definitions", s->tables[i].name);
	w->mode = MY_MODE_REBUILD;
	w->access = DB_READ;
	w->in_transaction = true; /* for scans and loads: each is its own */
	w->infile = my_try_infile(c, loaders[0]);
	for (size_t i = 0; i < MY_POOL_THREADS; i++)
		if ((r = my_set_writing(loaders[i], e)) < 0)
			return r;
	return my_pool_start(&w->pool, loaders, c->script, e);
}

/* Makes everything but events once in the shadow database, where it can do no harm: afterwards nothing can fail that
 * could be known before. Events are not made: they might run. */
int my_rebuild_end(struct db_conn *dc, struct strbuf *warnings, struct err *e)
{
	struct my_conn *c = my_conn_of(dc), *w = my_active(c);
	int r;

	if (c->mode != MY_MODE_REBUILD || w == c)
		return err_set(e, EINVAL, "no rebuild is open");
	if ((r = my_pool_finish(w->pool, e)) < 0 || (r = my_compare_tables(w, c->script, warnings, e)) < 0)
		return r;
	my_close_loaders(c, w);
	/* With the indexes that the tables have now. */
	if ((r = my_describe(w, w->database, &w->catalog, NULL, e)) < 0)
		return r;
	/* The rows are what the snapshot has: orphans in it were orphans before. */
	if ((r = my_check_orphans(w, warnings, e)) < 0)
		return r;
	if ((r = my_set_building(w, e)) < 0)
		return r;
	for (size_t i = 0; i < c->script->n; i++) {
		struct my_statement *s = &c->script->statements[i];

		if (s->kind == MY_TABLE || s->same || db_params_excludes(&c->params, s->name))
			continue;
		if (s->kind == MY_EVENT) {
			if ((r = my_event_try(w, s, warnings, e)) < 0)
				return r;
			continue;
		}
		if ((r = my_statement_run_definer(w, s, warnings, e)) < 0)
			return r;
		/* A table with triggers cannot be renamed into another database. */
		if (s->kind == MY_TRIGGER && (r = my_object_drop(w, w->database, "trigger", s->name, e)) < 0)
			return r;
	}
	return my_set_writing(w, e);
}

/* ---- the swap ---- */

static int my_write_journal(struct my_conn *c, struct my_conn *w, const struct my_names *tables, struct err *e)
{
	_cleanup_script_ struct my_script undo = {0};
	char number[MY_SUM_TEXT];
	int r = my_exec(w, e, "START TRANSACTION");

	if (r < 0 || (r = my_script_read(c, c->database, MY_TRIGGER, &undo, e)) < 0)
		return r;
	for (int k = MY_FUNCTION; k < MY_N_OBJECTS; k++) {
		_cleanup_result_ MYSQL_RES *res = NULL;

		if (k == MY_TRIGGER)
			continue;
		if ((r = my_list_objects(c, c->database, (enum my_object)k, &res, e)) < 0)
			return r;
		for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
			if (db_params_excludes(&c->params, row[0]) || my_is_same(c->script, (enum my_object)k, row[0]))
				continue;
			if ((r = my_journal(w, c->old, "drop", my_object_words[k], row[0], NULL, NULL, e)) < 0)
				return r;
			/* In the way of a new table of the same name. */
			if (k == MY_VIEW && my_catalog_find(&w->catalog, row[0]) &&
			    (r = my_show_create(c, c->database, MY_VIEW, row[0], &undo, e)) < 0)
				return r;
		}
	}
	for (size_t i = 0; i < undo.n; i++) {
		const struct my_statement *s = &undo.statements[i];
		if ((r = my_journal(w, c->old, "undo", my_object_words[s->kind], s->name, s->settings, s->sql, e)) < 0)
			return r;
	}
	for (size_t i = 0; i < c->script->n; i++) {
		const struct my_statement *s = &c->script->statements[i];
		if (s->kind != MY_TABLE && !s->same && !db_params_excludes(&c->params, s->name) &&
		    (r = my_journal(w, c->old, "redo", my_object_words[s->kind], s->name, s->settings, s->sql, e)) < 0)
			return r;
	}
	for (size_t i = 0; i < tables->n; i++) {
		const struct my_table *mt = my_catalog_find(&c->catalog, tables->names[i]);

		if (!mt || !mt->scanned)
			continue;
		my_sum_text(&mt->sum, number);
		if ((r = my_journal(w, c->old, "sum", "table", mt->name, NULL, number, e)) < 0)
			return r;
	}
	(void)snprintf(number, sizeof number, "%zu", w->catalog.n_tables);
	if ((r = my_journal(w, c->old, "tables", "", "", NULL, number, e)) < 0 ||
	    (r = my_journal_state(w, c->old, "swap", e)) < 0)
		return r;
	return my_exec(w, e, "COMMIT");
}

/* From now on nobody reads or writes these tables. Our row locks are gone for a moment before it: hence the sums. */
static int my_lock_tables(struct my_conn *c, struct my_conn *w, const struct my_names *tables, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	for (size_t i = 0; i < tables->n; i++)
		my_sql(&sql, "%s%i.%i WRITE", sql.len ? ", " : "LOCK TABLES ", c->database, tables->names[i]);
	for (size_t i = 0; !c->mariadb && i < w->catalog.n_tables; i++)
		my_sql(&sql, "%s%i.%i WRITE", sql.len ? ", " : "LOCK TABLES ", w->database, w->catalog.tables[i].name);
	int r = sql.len ? my_exec_len(c, e, sql.data, sql.len) : my_exec(c, e, "COMMIT");
	if (r == -EBUSY)
		return err_prefix(e, "tables of %s are in use by another session (an open transaction?)", c->database);
	return r;
}

static int my_verify_still(struct my_conn *c, const struct my_names *tables, struct err *e)
{
	_cleanup_names_ struct my_names now = {0};
	int r = my_list_tables(c, c->database, &now, e);
	bool same = now.n == tables->n;

	for (size_t i = 0; same && i < now.n; i++)
		same = strcmp(now.names[i], tables->names[i]) == 0;
	if (r == 0 && !same)
		return err_set(e, EAGAIN, "another session made or dropped tables meanwhile");
	for (size_t i = 0; r == 0 && i < tables->n; i++) {
		struct my_table *mt = my_catalog_find(&c->catalog, tables->names[i]);
		struct my_sum sum;

		if (!mt || !mt->scanned)
			continue;
		if ((r = my_sum_table(c, c->database, mt, &sum, e)) < 0)
			return r;
		if (!my_sum_same(&sum, &mt->sum))
			return err_set(e, EAGAIN, "another session wrote to table %s meanwhile", mt->name);
	}
	return r;
}

static int my_drop_hindrances(struct my_conn *c, struct my_conn *w, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r =
	    my_select(w, &res, e, "SELECT kind, name FROM %i." MY_JOURNAL " WHERE phase='undo' ORDER BY seq", c->old);

	for (MYSQL_ROW row; r == 0 && (row = mysql_fetch_row(res));)
		/* A trigger's table is under our lock, a view is not. */
		r = my_object_drop(strcmp(row[0], "view") == 0 ? w : c, c->database, row[0], row[1], e);
	return r;
}

/* Until the builder's statement stands in the queue: a writer that comes later waits behind it. */
static void my_wait_queued(struct my_conn *c, struct my_conn *w)
{
	const struct timespec nap = {.tv_nsec = 5000000};

	for (int ms = 0; ms < MY_QUEUE_WAIT_MS; ms += 5) {
		_cleanup_free_ char *state = NULL;

		if (my_select_one(c, &state, ERR_DROP, "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID=%l",
				  (uint64_t)w->thread_id) < 0 ||
		    (state && strstr(state, "metadata lock")))
			return;
		(void)nanosleep(&nap, NULL);
	}
}

static int my_rename(struct my_conn *c, struct my_conn *w, const struct my_names *tables, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	for (size_t i = 0; i < tables->n; i++)
		my_sql(&sql, "%s%i.%i TO %i.%i", sql.len ? ", " : "RENAME TABLE ", c->database, tables->names[i],
		       c->old, tables->names[i]);
	for (size_t i = 0; i < w->catalog.n_tables; i++)
		my_sql(&sql, "%s%i.%i TO %i.%i", sql.len ? ", " : "RENAME TABLE ", w->database,
		       w->catalog.tables[i].name, c->database, w->catalog.tables[i].name);
	if (!sql.len)
		return 0;
	if (!c->mariadb)
		return my_exec_len(c, e, sql.data, sql.len);
	if (tables->n == 0)
		return my_exec_len(w, e, sql.data, sql.len);
	if (mysql_send_query(w->my, sql.data, sql.len) != 0)
		return my_fail(w, e, NULL);
	my_wait_queued(c, w);
	int r = my_exec(c, e, "UNLOCK TABLES");
	if (mysql_read_query_result(w->my) != 0)
		return my_fail(w, e, NULL);
	return r;
}

int my_rebuild_commit(struct my_conn *c, struct err *e)
{
	struct my_conn *w = my_active(c);
	_cleanup_names_ struct my_names tables = {0};
	_cleanup_free_ char *shadow = my_shadow_name(c->database);
	bool renamed = false;
	int r = my_list_tables(c, c->database, &tables, e);

	if (r == 0)
		r = my_write_journal(c, w, &tables, e);
	if (r == 0)
		r = my_exec(c, e, "SET SESSION foreign_key_checks=0");
	if (r == 0)
		r = my_lock_tables(c, w, &tables, e);
	if (r == 0)
		r = my_verify_still(c, &tables, e);
	if (r == 0)
		r = my_drop_hindrances(c, w, e);
	if (r == 0) {
		r = my_rename(c, w, &tables, e);
		renamed = r == 0;
	}
	(void)mysql_query(c->my, "UNLOCK TABLES");
	if (renamed) {
		/* There is no way back now: a cancel comes too late. */
		atomic_store(&w->cancelled, false);
		r = my_complete(w, c->database, c->old, shadow, e);
		if (r == -EINTR) {
			atomic_store(&w->cancelled, false);
			r = my_complete(w, c->database, c->old, shadow, e);
		}
	}
	if (!renamed && r != -ECONNRESET) {
		my_rebuild_rollback(c);
		return r;
	}
	(void)my_use(w, c->database, ERR_DROP);
	my_unlock_advisory(w);
	w->mode = MY_MODE_NONE;
	w->in_transaction = false;
	my_catalog_done(&w->catalog);
	my_rebuild_done(c);
	return r;
}

void my_rebuild_done(struct my_conn *c)
{
	if (c->script)
		my_script_done(c->script);
	free(TAKE_PTR(c->script));
	free(TAKE_PTR(c->old));
}

void my_rebuild_rollback(struct my_conn *c)
{
	struct my_conn *w = atomic_load(&c->builder);

	if (w)
		my_close_loaders(c, w);
	if (!c->old || !w) {
		if (w)
			my_unlock_advisory(w);
		my_rebuild_done(c);
		return;
	}
	if (w->scan.table)
		(void)my_scan_close((struct db_conn *)c, ERR_DROP);
	(void)mysql_query(w->my, "DO 0");
	(void)mysql_query(w->my, "ROLLBACK");
	atomic_store(&w->cancelled, false);
	my_load_done(&w->load);
	w->mode = MY_MODE_NONE;
	w->in_transaction = false;
	my_catalog_done(&w->catalog);
	/* If this cannot be done now (connection lost), my_settle() does it at the next start. */
	(void)my_settle_now(w, c->database, ERR_DROP);
	(void)my_use(w, c->database, ERR_DROP);
	my_unlock_advisory(w);
	my_rebuild_done(c);
}
