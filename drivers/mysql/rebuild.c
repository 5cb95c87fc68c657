/*
 * drivers/mysql/rebuild.c - replaces what differs of a schema, though DDL commits by itself.
 *
 * A second connection (the builder) makes the new tables in database DB__metasnap_new (build.c), and others (the
 * loaders, see pool.c) fill them; the first one keeps its transaction and with it the locks of the old tables. The
 * commit is one RENAME (swap.c), recorded in the journal in DB__metasnap_old first (journal.c); what is not a table is
 * replaced after it, and settle.c does that, undoes what did not come so far, and both after a crash. Where no table is
 * made anew, changed rows of tables that stay are committed together with the journal's word for it in its stead.
 *
 * On the connection's thread; no lock of this process.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "drivers/mysql/internal.h"

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
	for (size_t i = 0; i < MY_POOL_THREADS; i++) {
		ret[i] = atomic_load(&c->loaders[i]);
		if (!ret[i]) {
			if (my_open_loader(&ret[i], c, e) < 0)
				return err_prefix(e, "connection for loading");
			my_set_permissive(ret[i]);
			atomic_store(&c->loaders[i], ret[i]);
		}
		int r = my_lock_advisory(ret[i], c->database, (enum my_lock)(MY_LOCK_LOAD + i), MY_ADVISORY_WAIT_S, e);
		if (r < 0)
			return r;
	}
	return 0;
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

/* What is wanted and what goes, of what the comparison found. */
static int my_take_objects(struct my_conn *c, const struct db_schema *s, const char *sql, const struct db_objects *o,
			   struct err *e)
{
	c->script = xcalloc(1, sizeof *c->script);
	int r = my_script_parse(c->script, sql, e);
	if (r < 0)
		return r;
	my_script_localise(c->script, s->database, c->database);
	/* A trigger that the snapshot did not see comes again with its table. */
	for (size_t i = 0; i < o->n; i++)
		if (o->v[i].deed == DB_DEED_REMAKE && my_object_of(o->v[i].kind) == MY_TRIGGER &&
		    !my_script_find(c->script, MY_TRIGGER, o->v[i].name) &&
		    (r = my_show_create(c, c->database, MY_TRIGGER, o->v[i].name, c->script, e)) < 0)
			return r;
	my_script_order_triggers(c->script);
	my_script_fill_collations(c->script);
	c->n_made = 0;
	for (size_t i = 0; i < c->script->n; i++) {
		struct my_statement *x = &c->script->statements[i];

		x->same = !my_deed_makes(o, x->kind, x->name);
		c->n_made += x->kind == MY_TABLE && !x->same;
	}
	for (size_t i = 0; i < o->n; i++) {
		enum my_object kind = my_object_of(o->v[i].kind);

		if (kind != MY_N_OBJECTS && my_deed_drops(o, kind, o->v[i].name))
			my_script_add(&c->drops, kind, xstrdup(o->v[i].name), NULL, xstrdup(""));
	}
	return 0;
}

static bool my_drops_table(const struct my_conn *c)
{
	for (size_t i = 0; i < c->drops.n; i++)
		if (c->drops.statements[i].kind == MY_TABLE)
			return true;
	return false;
}

/* The tables that are made anew, and the threads that load them. */
static int my_begin_tables(struct my_conn *c, struct my_conn *w, const struct db_schema *s, const struct db_objects *o,
			   struct err *e)
{
	struct my_conn *loaders[MY_POOL_THREADS];
	int r = my_open_loaders(c, loaders, e);

	if (r == 0)
		r = my_make_tables(w, s, c->script, e);
	if (r == 0)
		r = my_describe(w, w->database, &w->catalog, NULL, e);
	for (size_t i = 0; r == 0 && i < s->n_tables; i++)
		if (o->remade[i] && !my_catalog_find(&w->catalog, s->tables[i].name))
			r = err_set(e, EINVAL, "table %s is not in the definitions", s->tables[i].name);
	if (r < 0)
		return r;
	w->mode = MY_MODE_REBUILD;
	w->access = DB_READ;
	w->in_transaction = true; /* for scans and loads: each is its own */
	w->infile = my_try_infile(c, loaders[0]);
	for (size_t i = 0; i < MY_POOL_THREADS; i++)
		if ((r = my_set_writing(loaders[i], e)) < 0)
			return r;
	return my_pool_start(&w->pool, loaders, c->script, e);
}

int my_rebuild_begin(struct db_conn *dc, const struct db_schema *s, const char *sql, const struct db_objects *o,
		     struct strbuf *warnings, struct err *e)
{
	(void)warnings;
	struct my_conn *c = my_conn_of(dc), *w;
	_cleanup_free_ char *shadow = my_shadow_name(c->database);
	int r;

	assert(c->in_transaction && c->access == DB_WRITE && c->mode == MY_MODE_NONE);
	my_rebuild_done(c);
	if ((r = my_take_objects(c, s, sql, o, e)) < 0)
		return r;
	if ((r = my_builder_open(c, &w, e)) < 0)
		return r;
	/* From here on my_rebuild_rollback() cleans up. */
	c->old = my_old_name(c->database);
	bool tables = c->n_made > 0 || my_drops_table(c);
	c->mode = tables ? MY_MODE_REBUILD : MY_MODE_CHANGE;
	if ((r = my_sides_make(w, c->old, shadow, e)) < 0)
		return r;
	if ((r = my_use(w, shadow, e)) < 0)
		return r;
	if ((r = my_set_building(w, e)) < 0)
		return r;
	return tables ? my_begin_tables(c, w, s, o, e) : 0;
}

/* MySQL keeps histograms by table: they are not in any definition. */
static int my_warn_histograms(struct my_conn *c, struct my_conn *w, struct strbuf *warnings, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = c->mariadb ? 0
			   : my_select(w, &res, e,
				       "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMN_STATISTICS WHERE "
				       "SCHEMA_NAME=%q",
				       c->database);

	if (!res)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));)
		if (my_script_find(&c->drops, MY_TABLE, row[0]))
			strbuf_addf(
			    warnings,
			    "table %s: it is made anew and has no histogram of column %s any more (ANALYZE TABLE "
			    "... UPDATE HISTOGRAM makes one)\n",
			    row[0], row[1]);
	return 0;
}

static int my_end_tables(struct my_conn *c, struct my_conn *w, struct strbuf *warnings, struct err *e)
{
	int r = my_pool_finish(w->pool, e);

	if (r < 0)
		return r;
	if ((r = my_compare_tables(w, c->script, warnings, e)) < 0)
		return r;
	my_close_loaders(c, w);
	/* With the indexes that the tables have now. */
	if ((r = my_describe(w, w->database, &w->catalog, NULL, e)) < 0)
		return r;
	if ((r = my_warn_histograms(c, w, warnings, e)) < 0)
		return r;
	/* The rows are what the snapshot has: orphans in it were orphans before. */
	return my_check_orphans(w, NULL, warnings, e);
}

int my_rebuild_end(struct db_conn *dc, struct strbuf *warnings, struct strbuf *outside, struct err *e)
{
	(void)outside;
	struct my_conn *c = my_conn_of(dc), *w = atomic_load(&c->builder);
	int r = 0;

	assert(c->old && w);
	if (c->mode == MY_MODE_REBUILD && (r = my_end_tables(c, w, warnings, e)) < 0)
		return r;
	if ((r = my_set_building(w, e)) < 0)
		return r;
	if ((r = my_try_objects(c, w, c->script, warnings, e)) < 0)
		return r;
	return my_set_writing(w, e);
}

void my_rebuild_done(struct my_conn *c)
{
	if (c->script)
		my_script_done(c->script);
	free(TAKE_PTR(c->script));
	my_script_done(&c->drops);
	my_script_done(&c->lifted);
	free(TAKE_PTR(c->old));
}

/* The builder's connection stays for the next one. */
static void my_rebuild_leave(struct my_conn *c, struct my_conn *w)
{
	w->mode = MY_MODE_NONE;
	w->in_transaction = false;
	my_catalog_done(&w->catalog);
	(void)my_use(w, c->database, ERR_DROP);
	my_unlock_advisory(w);
	my_rebuild_done(c);
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
	/* It may have written to the journal, which goes now. */
	if (c->mode != MY_MODE_REBUILD)
		(void)mysql_query(c->my, "ROLLBACK");
	atomic_store(&w->cancelled, false);
	my_load_done(&w->load);
	/* If this cannot be done now (connection lost), my_settle() does it at the next start. */
	(void)my_settle_locked(w, c->database, ERR_DROP);
	my_rebuild_leave(c, w);
}

/* No table is made anew: the changed rows and the journal's word that they are there are one transaction. */
static int my_commit_rows(struct my_conn *c, struct my_conn *w, struct err *e)
{
	const struct my_script nothing = {0};
	int r = my_write_journal(c, w, &nothing, MY_STATE_BUILDING, e);

	if (r == 0)
		r = my_journal_add_state(c, c->old, MY_STATE_ROWS, e);
	if (r < 0)
		return r;
	if (mysql_query(c->my, "COMMIT") == 0)
		return 0;
	r = my_fail(c, e, "commit");
	/* A KILL that came with the answer on its way: nobody knows. */
	return r == -EINTR ? err_set(e, ECONNRESET, "commit: cancelled while the server was committing") : r;
}

int my_rebuild_commit(struct my_conn *c, struct err *e)
{
	struct my_conn *w = atomic_load(&c->builder);
	_cleanup_free_ char *shadow = my_shadow_name(c->database);
	int r = c->mode == MY_MODE_REBUILD ? my_swap(c, w, e) : my_commit_rows(c, w, e);

	(void)mysql_query(c->my, "UNLOCK TABLES");
	if (r < 0 && r != -ECONNRESET) {
		my_rebuild_rollback(c);
		return r;
	}
	if (r == 0) {
		/* There is no way back now: a cancel comes too late. */
		atomic_store(&w->cancelled, false);
		r = my_settle_forward(w, c->database, c->old, shadow, e);
		if (r == -EINTR) {
			atomic_store(&w->cancelled, false);
			r = my_settle_forward(w, c->database, c->old, shadow, e);
		}
	}
	my_rebuild_leave(c, w);
	return r;
}
