/*
 * drivers/mysql/rebuild.c - replaces a whole schema, though DDL commits by itself.
 *
 * A second connection (the builder) makes the new tables in database DB__metasnap_new (build.c), and others (the
 * loaders, see pool.c) fill them; the first one keeps its transaction and with it the locks of the old tables. The
 * commit is one RENAME (swap.c), recorded in the journal in DB__metasnap_old first (journal.c); what is not a table is
 * replaced after it, and settle.c does that, undoes what did not come so far, and both after a crash.
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

/* A trigger would act on single changes; tables made anew have none yet. */
static int my_refuses(struct db_conn *dc, const struct db_schema *want, const bool *touched, struct err *e)
{
	struct db_schema part = *want;
	_cleanup_free_ struct db_table *tables = part.tables = xcalloc(want->n_tables + 1, sizeof *tables);

	part.n_tables = 0;
	for (size_t i = 0; i < want->n_tables; i++)
		if (touched[i])
			tables[part.n_tables++] = want->tables[i];
	return my_change_check(dc, &part, e);
}

int my_compare(struct db_conn *dc, const struct db_definitions *live, const struct db_definitions *want,
	       const bool *touched, struct db_objects *ret, struct err *e)
{
	db_objects_compare_whole(ret, live, want);
	int r = touched && !ret->n ? my_refuses(dc, want->schema, touched, e) : 0;
	if (r != -ENOTSUP)
		return r;
	*e = (struct err)ERR_INIT;
	db_objects_add(ret, DB_DEED_REMAKE, xstrdup("schema"), xstrdup("all"), xstrdup("tables with triggers"));
	for (size_t i = 0; i < want->schema->n_tables; i++)
		ret->remade[i] = true;
	return 0;
}

int my_rebuild_begin(struct db_conn *dc, const struct db_schema *s, const char *sql, const struct db_objects *o,
		     struct strbuf *warnings, struct err *e)
{
	(void)o;
	struct my_conn *c = my_conn_of(dc), *w = atomic_load(&c->builder), *loaders[MY_POOL_THREADS];
	_cleanup_free_ char *shadow = my_shadow_name(c->database);
	int r;

	assert(c->in_transaction && c->access == DB_WRITE && c->mode == MY_MODE_NONE);
	my_rebuild_done(c);
	c->script = xcalloc(1, sizeof *c->script);
	if ((r = my_script_parse(c->script, sql, e)) < 0)
		return r;
	if ((r = my_check_inbound(c, e)) < 0)
		return r;
	if ((r = my_mark_same(c, c->script, e)) < 0)
		return r;
	if (!w) {
		if ((r = my_open_like(&w, c, e)) < 0)
			return err_prefix(e, "second connection");
		atomic_store(&c->builder, w);
	}
	if ((r = my_lock_advisory(w, c->database, MY_LOCK_BUILD, MY_ADVISORY_WAIT_S, e)) < 0)
		return r;
	if ((r = my_open_loaders(c, loaders, e)) < 0)
		return r;
	if ((r = my_settle_locked(w, c->database, e)) < 0)
		return r;
	c->old = my_old_name(c->database);
	/* From here on my_rebuild_rollback() cleans up. */
	c->mode = MY_MODE_REBUILD;
	if ((r = my_sides_make(w, c->old, shadow, e)) < 0)
		return r;
	if ((r = my_use(w, shadow, e)) < 0)
		return r;
	if ((r = my_set_building(w, e)) < 0)
		return r;
	if ((r = my_make_tables(w, c->script, e)) < 0)
		return r;
	if ((r = my_describe(w, shadow, &w->catalog, NULL, e)) < 0)
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

int my_rebuild_end(struct db_conn *dc, struct strbuf *warnings, struct strbuf *outside, struct err *e)
{
	(void)outside;
	struct my_conn *c = my_conn_of(dc), *w = my_active(c);
	int r;

	assert(c->mode == MY_MODE_REBUILD && w != c);
	if ((r = my_pool_finish(w->pool, e)) < 0)
		return r;
	if ((r = my_compare_tables(w, c->script, warnings, e)) < 0)
		return r;
	my_close_loaders(c, w);
	/* With the indexes that the tables have now. */
	if ((r = my_describe(w, w->database, &w->catalog, NULL, e)) < 0)
		return r;
	/* The rows are what the snapshot has: orphans in it were orphans before. */
	if ((r = my_check_orphans(w, NULL, warnings, e)) < 0)
		return r;
	if ((r = my_set_building(w, e)) < 0)
		return r;
	if ((r = my_try_objects(w, c->script, warnings, e)) < 0)
		return r;
	return my_set_writing(w, e);
}

void my_rebuild_done(struct my_conn *c)
{
	if (c->script)
		my_script_done(c->script);
	free(TAKE_PTR(c->script));
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
	atomic_store(&w->cancelled, false);
	my_load_done(&w->load);
	/* If this cannot be done now (connection lost), my_settle() does it at the next start. */
	(void)my_settle_locked(w, c->database, ERR_DROP);
	my_rebuild_leave(c, w);
}

int my_rebuild_commit(struct my_conn *c, struct err *e)
{
	struct my_conn *w = my_active(c);
	_cleanup_free_ char *shadow = my_shadow_name(c->database);
	int r = my_swap(c, w, e);

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
