/*
 * drivers/mysql/pool.c - loads of a rebuild on several connections at once: batches of rows, then each table's indexes.
 *
 * Only the shadow database is written to, which nobody sees before the RENAME: that each batch is a transaction of its
 * own, and in what order they arrive, cannot be seen in the end. The connection's thread makes jobs and gives them to
 * the threads of the pool; each of these owns one connection and takes the first job that may run. Indexes of a table
 * wait for its rows. The first failure ends everything (base/workers.h): later jobs are dropped, and every call from
 * then on fails with it.
 *
 * One mutex guards the queue and the tables' counts. It is never held during a call to the server; that of the workers
 * may be taken under it, never the other way round.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/workers.h"
#include "drivers/mysql/internal.h"

#define MY_POOL_QUEUE 3     /* batches that wait; with those under way this bounds the memory */
#define MY_POOL_ATTEMPTS 20 /* batches of one table may lock each other's gaps */

struct my_pool_table {
	char *name;
	char *indexes; /* ALTER TABLE ... ADD KEY ...; NULL: none, or given to a thread already */
	size_t n_open; /* jobs that wait or run */
};

struct my_job {
	struct my_job *next;
	struct my_pool_table *table;
	char *alter; /* indexes, instead of rows */
	struct my_batch batch;
};

struct my_pool {
	pthread_mutex_t mutex;
	pthread_cond_t more; /* a job, or the end */
	pthread_cond_t less; /* a job is done */
	struct my_job *first, **last;
	size_t n_waiting, n_running;
	bool ending;
	struct workers workers;
	struct my_pool_table *tables;
	size_t n_tables;
	struct my_pool_thread {
		struct my_pool *pool;
		struct my_conn *conn;
	} threads[MY_POOL_THREADS];
};

static void my_job_free(struct my_job *j)
{
	my_batch_done(&j->batch);
	free(j->alter);
	free(j);
}

/* ---- the threads ---- */

static int my_run_indexes(struct my_conn *w, const struct my_job *j, struct err *e)
{
	/* As lax as the definition itself was made: an index on an expression looks at every value. */
	int r = my_set_building(w, e);

	if (r == 0 && (r = my_exec(w, e, "%s", j->alter)) < 0)
		err_prefix(e, "table %s: its indexes", j->table->name);
	int q = my_set_writing(w, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

/* A transaction, so that a deadlock leaves nothing of it. */
static int my_run_rows(struct my_conn *w, const struct my_job *j, struct err *e)
{
	int r;

	if ((r = my_exec(w, e, "START TRANSACTION")) < 0 || (r = my_batch_run(w, &j->batch, j->table->name, e)) < 0 ||
	    (r = my_exec(w, e, "COMMIT")) < 0)
		(void)mysql_query(w->my, "ROLLBACK");
	return r;
}

static int my_job_run(struct my_conn *w, const struct my_job *j, struct err *e)
{
	int r = -EAGAIN;

	if (j->alter)
		return my_run_indexes(w, j, e);
	for (int i = 0; i < MY_POOL_ATTEMPTS && r == -EAGAIN; i++)
		r = my_run_rows(w, j, e);
	return r;
}

/* With the mutex: the first job that may run. */
static struct my_job *my_pool_take(struct my_pool *p)
{
	for (struct my_job **at = &p->first; *at; at = &(*at)->next) {
		struct my_job *j = *at;

		/* Its own job is among those of the table. */
		if (j->alter && j->table->n_open > 1)
			continue;
		*at = j->next;
		if (p->last == &j->next)
			p->last = at;
		p->n_waiting -= !j->alter;
		p->n_running++;
		return j;
	}
	return NULL;
}

static int my_pool_main(void *arg, struct err *e)
{
	struct my_pool_thread *t = arg;
	struct my_pool *p = t->pool;

	(void)mysql_thread_init();
	(void)pthread_mutex_lock(&p->mutex);
	while (!workers_failed(&p->workers)) {
		struct my_job *j = my_pool_take(p);

		if (!j && p->ending)
			break;
		if (!j) {
			(void)pthread_cond_wait(&p->more, &p->mutex);
			continue;
		}
		(void)pthread_mutex_unlock(&p->mutex);
		int r = my_job_run(t->conn, j, e);
		/* Before the job counts as done: who waits for the last one must see its failure. */
		if (r < 0)
			(void)workers_fail(&p->workers, r, e);
		(void)pthread_mutex_lock(&p->mutex);
		j->table->n_open--;
		p->n_running--;
		my_job_free(j);
		/* The job may have been what indexes waited for. */
		(void)pthread_cond_broadcast(&p->more);
		(void)pthread_cond_broadcast(&p->less);
	}
	(void)pthread_mutex_unlock(&p->mutex);
	mysql_thread_end();
	return 0;
}

/* ---- the connection's thread ---- */

static void my_pool_wake(void *arg)
{
	struct my_pool *p = arg;
	MUTEX_GUARD(&p->mutex);

	(void)pthread_cond_broadcast(&p->more);
	(void)pthread_cond_broadcast(&p->less);
}

int my_pool_start(struct my_pool **ret, struct my_conn *const *conns, const struct my_script *script, struct err *e)
{
	struct my_pool *p = xcalloc(1, sizeof *p);

	(void)pthread_mutex_init(&p->mutex, NULL);
	(void)pthread_cond_init(&p->more, NULL);
	(void)pthread_cond_init(&p->less, NULL);
	workers_init(&p->workers, my_pool_wake, p);
	p->last = &p->first;
	p->tables = xcalloc(script->n + 1, sizeof *p->tables);
	for (size_t i = 0; i < script->n; i++)
		if (script->statements[i].kind == MY_TABLE)
			p->tables[p->n_tables++] =
			    (struct my_pool_table){.name = xstrdup(script->statements[i].name),
						   .indexes = xstrdup(script->statements[i].indexes)};
	*ret = p;
	for (size_t i = 0; i < MY_POOL_THREADS; i++) {
		struct my_pool_thread *t = &p->threads[i];

		*t = (struct my_pool_thread){.pool = p, .conn = conns[i]};
		int r = workers_start(&p->workers, my_pool_main, t, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static struct my_pool_table *my_pool_find(const struct my_pool *p, const char *table)
{
	for (size_t i = 0; i < p->n_tables; i++)
		if (!strcmp(p->tables[i].name, table))
			return &p->tables[i];
	return NULL;
}

/* With the mutex. */
static void my_pool_add(struct my_pool *p, struct my_pool_table *t, struct my_job *j)
{
	j->table = t;
	*p->last = j;
	p->last = &j->next;
	p->n_waiting += !j->alter;
	t->n_open++;
	(void)pthread_cond_signal(&p->more);
}

int my_pool_rows(struct my_pool *p, const char *table, struct my_batch *batch, struct err *e)
{
	struct my_pool_table *t = my_pool_find(p, table);

	if (!t)
		return err_set(e, EINVAL, "table %s is not in the definitions", table);
	MUTEX_GUARD(&p->mutex);
	while (p->n_waiting >= MY_POOL_QUEUE && !workers_failed(&p->workers))
		(void)pthread_cond_wait(&p->less, &p->mutex);
	int r = workers_failure(&p->workers, e);
	if (r < 0)
		return r;
	struct my_job *j = xcalloc(1, sizeof *j);
	j->batch = *batch;
	*batch = (struct my_batch){0};
	my_pool_add(p, t, j);
	return 0;
}

/* With the mutex. */
static void my_pool_add_indexes(struct my_pool *p, struct my_pool_table *t)
{
	if (!t->indexes)
		return;
	struct my_job *j = xcalloc(1, sizeof *j);
	j->alter = TAKE_PTR(t->indexes);
	my_pool_add(p, t, j);
}

int my_pool_table_end(struct my_pool *p, const char *table, struct err *e)
{
	struct my_pool_table *t = my_pool_find(p, table);

	MUTEX_GUARD(&p->mutex);
	if (t)
		my_pool_add_indexes(p, t);
	return workers_failure(&p->workers, e);
}

int my_pool_finish(struct my_pool *p, struct err *e)
{
	MUTEX_GUARD(&p->mutex);
	/* Tables that nothing was loaded into. */
	for (size_t i = 0; i < p->n_tables; i++)
		my_pool_add_indexes(p, &p->tables[i]);
	while ((p->first || p->n_running) && !workers_failed(&p->workers))
		(void)pthread_cond_wait(&p->less, &p->mutex);
	return workers_failure(&p->workers, e);
}

void my_pool_free(struct my_pool *p)
{
	if (!p)
		return;
	struct err given_up = ERR_INIT;
	(void)pthread_mutex_lock(&p->mutex);
	bool open = p->first || p->n_running;
	p->ending = true;
	(void)pthread_mutex_unlock(&p->mutex);
	if (open)
		(void)workers_fail(&p->workers, err_set(&given_up, EINTR, "cancelled"), &given_up);
	else
		my_pool_wake(p);
	workers_join(&p->workers);
	workers_done(&p->workers);
	while (p->first) {
		struct my_job *j = p->first;
		p->first = j->next;
		my_job_free(j);
	}
	for (size_t i = 0; i < p->n_tables; i++) {
		free(p->tables[i].name);
		free(p->tables[i].indexes);
	}
	free(p->tables);
	(void)pthread_cond_destroy(&p->more);
	(void)pthread_cond_destroy(&p->less);
	(void)pthread_mutex_destroy(&p->mutex);
	free(p);
}
