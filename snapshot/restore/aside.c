/*
 * snapshot/restore/aside.c - a rebuild's large tables, made beside the schema (the driver's aside_*) on several
 * connections.
 *
 * Runs on the job's thread, the leader, and on some more with a connection each, gone before the rebuild goes on.
 * struct aside says what its mutex guards; it is never held over a driver's call.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/workers.h"
#include "snapshot/restore/internal.h"

#define RESTORE_WORKERS_MAX 4
#define RESTORE_ASIDE_BYTES (1U << 20) /* of lines: smaller tables are not worth a transaction of their own */

enum aside_state { ASIDE_NONE, ASIDE_WAITING, ASIDE_LOADING, ASIDE_LOADED, ASIDE_HELD };
enum aside_job { ASIDE_INDEX, ASIDE_LOAD, ASIDE_READ }; /* in the order of urgency */

struct aside {
	struct restore *rs;
	const struct target *target;
	pthread_mutex_t mutex; /* of table and running */
	pthread_cond_t changed;
	struct aside_table {
		enum aside_state state;
		bool due[ASIDE_READ + 1]; /* jobs that nobody has taken */
	} * table;                        /* as the target's versions */
	size_t running;                   /* workers that have not ended */
	struct workers workers;           /* private locks of its own */
	struct aside_worker {
		struct aside *aside;
		struct db_conn *conn; /* used by the worker's thread; cancel from the leader's */
	} worker[RESTORE_WORKERS_MAX];
	size_t n_workers; /* the leader's */
};

/* workers.wake */
static void aside_wake(void *arg)
{
	struct aside *st = arg;
	MUTEX_GUARD(&st->mutex);
	(void)pthread_cond_broadcast(&st->changed);
}

/* The most urgent job, of the largest table that has one. False: there will be none. Waits while there may be. */
static bool aside_take(struct aside *st, size_t *ret, enum aside_job *ret_job)
{
	const struct version_list *l = &st->target->versions;
	MUTEX_GUARD(&st->mutex);
	while (!workers_failed(&st->workers)) {
		bool found = false, coming = false;
		for (int job = ASIDE_INDEX; job <= ASIDE_READ && !found; job++)
			for (size_t i = 0; i < l->n; i++)
				if (st->table[i].due[job] && (!found || l->v[i].line_bytes > l->v[*ret].line_bytes)) {
					*ret = i;
					*ret_job = (enum aside_job)job;
					found = true;
				}
		if (found) {
			st->table[*ret].due[*ret_job] = false;
			if (*ret_job == ASIDE_LOAD)
				st->table[*ret].state = ASIDE_LOADING;
			return true;
		}
		for (size_t i = 0; i < l->n; i++)
			coming |= st->table[i].state == ASIDE_LOADING || st->table[i].state == ASIDE_LOADED;
		if (!coming)
			return false;
		(void)pthread_cond_wait(&st->changed, &st->mutex);
	}
	return false;
}

static void aside_set(struct aside *st, size_t i, enum aside_state state)
{
	MUTEX_GUARD(&st->mutex);
	st->table[i].state = state;
	/* The leader's transaction holds the table before it is read back: what is read is what will be committed. */
	st->table[i].due[ASIDE_INDEX] = st->table[i].due[ASIDE_READ] = state == ASIDE_HELD;
	(void)pthread_cond_broadcast(&st->changed);
}

static int aside_do(struct aside_worker *w, size_t i, enum aside_job job, struct err *e)
{
	struct restore *rs = w->aside->rs;
	const struct db_driver *d = db_driver_of(w->conn);
	const struct db_table *t = &w->aside->target->schema->tables[i];
	const struct version_info *v = &w->aside->target->versions.v[i];
	if (job == ASIDE_INDEX)
		return d->aside_index(w->conn, rs->conn, t, e);
	if (job == ASIDE_READ) {
		int r = d->aside_read(w->conn, rs->conn, t, e);
		if (r == 0)
			r = restore_verify_table(rs, w->conn, t, NULL, NULL, v, e);
		return r == 0 ? d->commit(w->conn, e) : r;
	}
	_cleanup_(apply_done) struct apply a;
	job_ctl_say(rs->job, "restore: %s", t->name);
	int r = apply_init(&a, rs, w->conn, t, v->codec_id, NULL, NULL, e);
	if (r == 0)
		r = d->aside_table(w->conn, rs->conn, t, e);
	if (r == 0)
		r = apply_loads(&a, 0, v->id, e);
	if (r == 0)
		r = d->aside_end(w->conn, rs->conn, t, e);
	if (r == 0)
		aside_set(w->aside, i, ASIDE_LOADED);
	return r;
}

static int aside_work(void *arg, struct err *e)
{
	struct aside_worker *w = arg;
	struct aside *st = w->aside;
	enum aside_job job = ASIDE_LOAD;
	size_t i = 0;
	int r = 0;
	while (r == 0 && aside_take(st, &i, &job)) {
		r = aside_do(w, i, job, e);
		if (r < 0)
			err_prefix(e, "table %s", st->target->versions.v[i].name);
	}
	MUTEX_GUARD(&st->mutex);
	st->running--;
	(void)pthread_cond_broadcast(&st->changed);
	return r;
}

/* Whether a worker still runs; *ret is a table that one waits to have held (the number of tables: none). */
static bool aside_wait(struct aside *st, size_t *ret)
{
	struct timespec until = clock_after(CLOCK_REALTIME, 100);
	MUTEX_GUARD(&st->mutex);
	for (bool waited = false;; waited = true) {
		bool failed = workers_failed(&st->workers);
		size_t i = 0;
		while (i < st->target->versions.n && (failed || st->table[i].state != ASIDE_LOADED))
			i++;
		*ret = i;
		if (!st->running || i < st->target->versions.n || waited)
			return st->running > 0;
		/* Not for ever: a cancelled job sets a flag and wakes nobody here. */
		(void)pthread_cond_timedwait(&st->changed, &st->mutex, &until);
	}
}

static void aside_lead(struct aside *st)
{
	struct restore *rs = st->rs;
	const struct db_driver *d = db_driver_of(rs->conn);
	struct err why = ERR_INIT;
	bool stopped = false;
	size_t i;
	while (aside_wait(st, &i)) {
		int r = 0;
		if (atomic_load(&rs->job->cancelled))
			r = err_set(&why, EINTR, "cancelled");
		else if (i < st->target->versions.n)
			r = d->aside_hold(rs->conn, &st->target->schema->tables[i], st->target->versions.v[i].rows,
					  &why);
		if (r < 0)
			(void)workers_fail(&st->workers, r, &why);
		else if (i < st->target->versions.n)
			aside_set(st, i, ASIDE_HELD);
		if (stopped || !workers_failed(&st->workers))
			continue;
		for (size_t k = 0; k < st->n_workers; k++)
			d->cancel(st->worker[k].conn);
		stopped = true;
	}
}

/* More than the server has processors would only keep the largest table, which ends last, from its own. How many it has
 * is not known: as many as here, it is assumed. */
static size_t aside_workers_max(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	return processors <= 2 ? 2 : processors >= RESTORE_WORKERS_MAX ? RESTORE_WORKERS_MAX : (size_t)processors;
}

/* Starts at most so many workers. That not all of them can be had is no failure: one is enough to do it. */
static int aside_start(struct aside *st, size_t want, struct err *e)
{
	struct restore *rs = st->rs;
	while (st->n_workers < want) {
		struct aside_worker *w = &st->worker[st->n_workers];
		struct err why = ERR_INIT;
		w->aside = st;
		{
			MUTEX_GUARD(&st->mutex);
			st->running++;
		}
		int r = db_driver_of(rs->conn)->aside_open(&w->conn, rs->conn, &why);
		if (r == 0)
			r = workers_start(&st->workers, aside_work, w, &why);
		if (r == 0) {
			st->n_workers++;
			continue;
		}
		db_close(TAKE_PTR(w->conn));
		{
			MUTEX_GUARD(&st->mutex);
			st->running--;
		}
		if (st->n_workers)
			return 0;
		*e = why;
		return r;
	}
	return 0;
}

/* Which tables are worth it and fit for it: their number, or -errno. */
static int aside_choose(struct restore *rs, const struct target *t, const bool *remade, bool *set_aside, struct err *e)
{
	const struct db_driver *d = db_driver_of(rs->conn);
	int n = 0;
	for (size_t i = 0; d->aside_begin && i < t->versions.n; i++)
		n += set_aside[i] = remade[i] && t->versions.v[i].line_bytes >= RESTORE_ASIDE_BYTES;
	int r = n > 1 ? d->aside_begin(rs->conn, t->schema, strbuf_str(&t->sql), set_aside, e) : 0;
	if (n <= 1 || r < 0) {
		memset(set_aside, 0, t->versions.n * sizeof *set_aside);
		return r;
	}
	n = 0;
	for (size_t i = 0; i < t->versions.n; i++)
		n += set_aside[i];
	return n;
}

/* Makes the tables that are worth it and fit for it; which, is between the driver's aside_begin and rebuild_begin.
 * set_aside[i]: table i of the target is loaded and has been read back. */
int apply_aside(struct restore *rs, const struct target *t, const bool *remade, bool *set_aside, struct err *e)
{
	int n = aside_choose(rs, t, remade, set_aside, e);
	if (n <= 0)
		return n;
	struct aside st = {.rs = rs,
			   .target = t,
			   .mutex = PTHREAD_MUTEX_INITIALIZER,
			   .changed = PTHREAD_COND_INITIALIZER,
			   .table = xcalloc(t->versions.n, sizeof *st.table)};
	workers_init(&st.workers, aside_wake, &st);
	for (size_t i = 0; i < t->versions.n; i++) {
		st.table[i].state = set_aside[i] ? ASIDE_WAITING : ASIDE_NONE;
		st.table[i].due[ASIDE_LOAD] = set_aside[i];
	}
	size_t most = aside_workers_max();
	int r = aside_start(&st, (size_t)n < most ? (size_t)n : most, e);
	aside_lead(&st);
	workers_join(&st.workers);
	for (size_t k = 0; k < st.n_workers; k++)
		db_close(st.worker[k].conn);
	if (r == 0)
		r = workers_failure(&st.workers, e);
	workers_done(&st.workers);
	free(st.table);
	return r;
}
