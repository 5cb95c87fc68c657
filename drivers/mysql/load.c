/*
 * drivers/mysql/load.c - rows into a table: which statement takes the next one, and when a batch is full.
 *
 * While a schema is being rebuilt these functions work for the builder (rebuild.c), and batches of rows go to the
 * loaders' connections (pool.c). On the connection's thread; no locks.
 */
#include <assert.h>
#include <errno.h>

#include "drivers/mysql/internal.h"

/* The parsed items of longer ones leave the processor's caches: 1 MiB takes MySQL 9.7 a fifth more of its time. */
#define MY_STATEMENT_BYTES ((size_t)64 << 10)
/* One transaction, or one file, of a loader. */
#define MY_BATCH_BYTES ((size_t)1 << 20)
/* The protocol counts warnings in 16 bits. */
#define MY_BATCH_WARNINGS 50000

void my_load_done(struct my_load *l)
{
	my_target_done(&l->to);
	my_batch_done(&l->batch);
	*l = (struct my_load){0};
}

static int my_flush(struct my_conn *c, struct err *e)
{
	struct my_load *l = &c->load;
	struct my_batch *b = &l->batch;
	int r;

	if (b->n_inserts == 0)
		return 0;
	my_batch_end(b, &l->to);
	b->details = l->to.details;
	b->unproven = l->to.table->unproven;
	r = c->pool ? my_pool_rows(c->pool, l->to.table->name, b, e) : my_batch_run(c, b, l->to.table->name, e);
	b->n_inserts = 0;
	strbuf_clear(&b->sql);
	return r;
}

int my_load_begin(struct db_conn *dc, const struct db_table *t, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	struct my_load *l = &c->load;
	struct my_table *mt = my_catalog_find(&c->catalog, t->name);

	assert(c->mode != MY_MODE_NONE && !l->to.table && !c->scan.table);
	if (!mt)
		return err_set(e, ENOENT, "table %s is not in the database", t->name);
	my_load_done(l);
	int r = my_target_init(&l->to, c->database, t, mt, e);
	if (r < 0)
		return r;
	/* All of them have to be looked at. */
	if (t->unproven && (r = my_exec(c, e, "SET SESSION max_error_count=65535")) < 0)
		return r;
	if (c->pool && c->infile && l->to.n_columns > 0)
		my_target_infile(&l->to, c->database);
	return 0;
}

/* The statement that takes the next row of so many bytes. */
static int my_next_insert(struct my_conn *c, bool infile, size_t bytes, struct my_insert **ret, struct err *e)
{
	struct my_load *l = &c->load;
	struct my_batch *b = &l->batch;
	struct my_insert *last = b->n_inserts ? &b->inserts[b->n_inserts - 1] : NULL;
	size_t whole = c->pool ? MY_BATCH_BYTES : MY_STATEMENT_BYTES, limit = infile ? whole : MY_STATEMENT_BYTES;
	size_t start = b->n_inserts > 1 ? b->inserts[b->n_inserts - 2].end : 0;

	if (last && (b->sql.len + b->file.len + bytes > whole || infile != (b->file.len > 0))) {
		int r = my_flush(c, e);
		if (r < 0)
			return r;
		last = NULL;
	}
	if (last && (b->sql.len - start + b->file.len + bytes > limit || last->n_lax > MY_BATCH_WARNINGS)) {
		last->end = b->sql.len;
		last = NULL;
	}
	*ret = last ? last : my_batch_begin(b, &l->to, infile);
	return 0;
}

int my_load_row(struct db_conn *dc, const struct db_value *values, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	struct my_load *l = &c->load;
	struct my_batch *b = &l->batch;
	struct my_insert *s = NULL;
	size_t bytes = 64, n_lax = 0;
	bool typed = false;

	assert(l->to.table);
	for (size_t i = 0; i < l->to.n_columns; i++) {
		const struct my_column *mine = &l->to.details->columns[l->to.columns[i]];

		bytes += values[i].len + 8;
		n_lax += values[i].data && values[i].len == 0 && mine->is_enum && !mine->empty_member;
		typed |=
		    mine->places && values[i].data && l->to.infile.len && my_is_typed(values[i].data, values[i].len);
	}
	/* How long a value may be in a file depends on more than the statement's length; from a file the two kinds of
	 * server warn of ENUM's error value in their own ways; and a file has no expressions. */
	bool infile = l->to.infile.len && bytes < MY_BATCH_BYTES && n_lax == 0 && !typed;
	int r = my_next_insert(c, infile, bytes, &s, e);
	if (r < 0)
		return r;
	if (infile)
		my_batch_add_line(b, &l->to, values);
	else
		my_batch_add_tuple(b, &l->to, s->n_rows == 0, values);
	s->n_rows++;
	s->n_lax += n_lax;
	return 0;
}

int my_load_end(struct db_conn *dc, bool ok, struct err *e)
{
	struct my_conn *c = my_active(my_conn_of(dc));
	int r = 0;

	assert(c->load.to.table);
	if (ok)
		r = my_flush(c, e);
	if (ok && r == 0 && c->pool)
		r = my_pool_table_end(c->pool, c->load.to.table->name, e);
	my_load_done(&c->load);
	return r;
}
