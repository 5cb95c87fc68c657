/*
 * snapshot/service/service.c - the running service: sources, jobs, and who may do what when.
 *
 * One job at a time for a source: claimed under service.mutex here, and by an OFD lock between processes. A snapshot's
 * rows are taken on a thread of the job's own; restores and imports run on their caller's thread. service.mutex guards
 * the source states, the jobs and their results; it is never held over a driver or catalog call. A job's conn_mutex
 * guards its connection against being closed while another thread cancels it; the two are never held together.
 */
#include "snapshot/service/service.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "snapshot/capture/capture.h"
#include "snapshot/capture/import.h"
#include "snapshot/openmetadata/preflight.h"
#include "snapshot/restore/restore.h"
#include "snapshot/sqlfile/restore.h"
#include "snapshot/store/prune.h"

#define RESULTS_KEPT 128U
#define WORTH_CONNECTING 20000 /* rows: a connection costs some milliseconds */
#define NOW_IN_USE_MS 10000    /* a reader of now/ is seen at least this often, however small now_max_age is */

struct job {
	struct service *service;
	size_t source;
	const char *op;
	char subject[256];
	int64_t snapshot_id; /* being taken; 0: none */
	char name[256];      /* of that snapshot */
	int64_t journal_id;
	const char *journal_end; /* its last state when the job fails; NULL: "failed" or "interrupted" */
	bool unsettled;          /* the journal's entry stays open: what the database holds has to be looked up later */
	int64_t started_ms;
	int lock_fd;
	int keep_fd; /* keeps sweeps from what a restore reads; -1: none */
	struct job_ctl ctl;
	struct waiter *waiter; /* whose interruption cancels it; NULL: nobody's */
	unsigned cancellers;   /* threads in job_cancel; under service.mutex */
	pthread_mutex_t conn_mutex;
	struct db_conn *conn;
	struct db_conn *more[CONNECTIONS_MAX - 1]; /* see capture/capture.h */
	size_t n_more;
	struct db_schema *schema;
	struct snapshot_writer *writer;
	int64_t base_id;
	pthread_t thread;
};

/* Somebody who only reads the database, beside the jobs. All of it under service.mutex. */
struct look {
	struct look *next;
	struct service *service;
	const struct waiter *waiter; /* whose interruption cancels it */
	struct db_conn *conn;        /* NULL: none yet, or no more */
	bool cancelled;
	unsigned cancellers; /* threads that cancel conn: it is not closed meanwhile */
};

struct source_state {
	const struct source_config *config;
	int64_t id;
	struct job *job;
	char last_error[800];
	int64_t last_error_ms;
	/* What now/ shows, when it was used last (CLOCK_MONOTONIC), and the database's last write before it was taken.
	 */
	int64_t now_id, now_used_ms, now_write;
	struct strbuf preflight; /* made last, and when (CLOCK_MONOTONIC) */
	int64_t preflight_ms;
	bool preflight_running;
};

struct result {
	int64_t snapshot_id;
	struct err err; /* code 0: complete */
};

struct service {
	const struct config *config;
	struct catalog *catalog;
	struct source_state *source;
	size_t n_sources;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct result result[RESULTS_KEPT];
	unsigned next_result;
	bool closing;
	unsigned threads; /* running ones of ours */
	struct look *looks;
	void (*on_change)(void *arg, enum service_event ev, size_t source, int64_t snapshot_id, const char *name);
	void *on_change_arg;
};

/* ---- open, close ---- */

struct catalog *service_catalog(struct service *svc)
{
	return svc->catalog;
}

size_t service_sources(const struct service *svc)
{
	return svc->n_sources;
}

const struct source_config *service_source(const struct service *svc, size_t source)
{
	return svc->source[source].config;
}

int64_t service_source_id(const struct service *svc, size_t source)
{
	return svc->source[source].id;
}

int service_find_source(const struct service *svc, const char *name)
{
	for (size_t i = 0; i < svc->n_sources; i++)
		if (!strcmp(svc->source[i].config->name, name))
			return (int)i;
	return -ENOENT;
}

void service_on_change(struct service *svc,
		       void (*fn)(void *arg, enum service_event ev, size_t source, int64_t snapshot_id,
				  const char *name),
		       void *arg)
{
	MUTEX_GUARD(&svc->mutex);
	svc->on_change = fn;
	svc->on_change_arg = arg;
}

static void service_tell(struct service *svc, enum service_event ev, size_t source, int64_t snapshot_id,
			 const char *name)
{
	void (*fn)(void *arg, enum service_event ev, size_t source, int64_t snapshot_id, const char *name);
	void *arg;
	{
		MUTEX_GUARD(&svc->mutex);
		fn = svc->on_change;
		arg = svc->on_change_arg;
	}
	if (fn)
		fn(arg, ev, source, snapshot_id, name);
}

/* ---- jobs ---- */

/* With service.mutex held, which is let go meanwhile: a driver's cancel may take seconds (MySQL's opens a connection),
 * and status and waiters go on. The job stays until its cancellers are done (job_end). */
static void job_cancel(struct job *j)
{
	struct service *svc = j->service;
	atomic_store(&j->ctl.cancelled, true);
	j->cancellers++;
	(void)pthread_mutex_unlock(&svc->mutex);
	{
		MUTEX_GUARD(&j->conn_mutex);
		if (j->conn)
			db_driver_of(j->conn)->cancel(j->conn);
		for (size_t i = 0; i < j->n_more; i++)
			db_driver_of(j->more[i])->cancel(j->more[i]);
	}
	(void)pthread_mutex_lock(&svc->mutex);
	j->cancellers--;
	(void)pthread_cond_broadcast(&svc->changed);
}

static void job_disconnect(struct job *j)
{
	struct db_conn *conn[CONNECTIONS_MAX];
	size_t n = 0;
	{
		MUTEX_GUARD(&j->conn_mutex);
		while (j->n_more)
			conn[n++] = j->more[--j->n_more];
		conn[n++] = TAKE_PTR(j->conn);
	}
	for (size_t i = 0; i < n; i++)
		db_close(conn[i]);
}

static void job_free(struct job *j)
{
	if (!j)
		return;
	job_disconnect(j);
	db_schema_free(j->schema);
	snapshot_writer_free(j->writer);
	if (j->lock_fd >= 0)
		(void)close(j->lock_fd);
	if (j->keep_fd >= 0)
		(void)close(j->keep_fd);
	(void)pthread_mutex_destroy(&j->conn_mutex);
	(void)pthread_mutex_destroy(&j->ctl.mutex);
	free(j);
}

void service_say_error(struct service *svc, size_t source, const char *what, const struct err *e)
{
	struct source_state *s = &svc->source[source];
	MUTEX_GUARD(&svc->mutex);
	(void)snprintf(s->last_error, sizeof s->last_error, "%s: %s", what, e->msg);
	s->last_error_ms = clock_ms();
}

static void job_say_error(struct job *j, const struct err *e)
{
	_cleanup_free_ char *what = xasprintf("%s %s", j->op, j->subject);
	service_say_error(j->service, j->source, what, e);
}

/* Claims the source. The job is visible to status and wait from here on. wait: until another job's end instead of
 * EBUSY. */
static int job_begin(struct service *svc, size_t source, const char *op, const char *subject,
		     const struct requester *who, struct waiter *w, struct job **ret, struct err *e)
{
	struct source_state *s = &svc->source[source];
	struct job *j = xcalloc(1, sizeof *j);
	j->service = svc;
	j->source = source;
	j->op = op;
	(void)snprintf(j->subject, sizeof j->subject, "%s", subject);
	j->started_ms = clock_ms();
	j->lock_fd = j->keep_fd = -1;
	j->waiter = w;
	(void)pthread_mutex_init(&j->conn_mutex, NULL);
	(void)pthread_mutex_init(&j->ctl.mutex, NULL);
	(void)snprintf(j->ctl.what, sizeof j->ctl.what, "%s %s: connecting", op, subject);
	int r = 0;
	{
		MUTEX_GUARD(&svc->mutex);
		/* Settling what a crash left comes first, and is nobody's fault: wait for it. */
		while (s->job && !strcmp(s->job->op, "settle") && !svc->closing && !(w && atomic_load(&w->interrupted)))
			(void)pthread_cond_wait(&svc->changed, &svc->mutex);
		if (w && atomic_load(&w->interrupted))
			r = err_set(e, EINTR, "interrupted");
		else if (svc->closing)
			r = err_set(e, ESHUTDOWN, "shutting down");
		else if (s->job)
			r = err_set(e, EBUSY, "%s %s is running", s->job->op, s->job->subject);
		else
			s->job = j;
	}
	if (r == 0) {
		r = j->lock_fd = store_lock(svc->catalog, STORE_LOCK_SOURCE + s->id, true, e);
		if (r == -EBUSY)
			r = err_set(e, EBUSY, "another metasnap process runs a job for %s", s->config->name);
		else if (r > 0)
			r = 0;
		struct err why = ERR_INIT;
		if (r == 0) {
			r = journal_add(svc->catalog, s->id, op, subject, who->uid, who->pid, who->program,
					&j->journal_id, &why);
			if (r < 0)
				job_say_error(j, &why); /* nothing else will tell of it */
			if (r < 0 && e)
				*e = why;
		}
		if (r < 0) {
			MUTEX_GUARD(&svc->mutex);
			s->job = NULL;
			(void)pthread_cond_broadcast(&svc->changed);
			while (j->cancellers)
				(void)pthread_cond_wait(&svc->changed, &svc->mutex);
		}
	}
	if (r < 0) {
		job_free(j);
		return r;
	}
	*ret = j;
	return 0;
}

/* Ends the job: journal, last error, result for waiters; frees it. r: 0 or -errno with words in *e. */
static void job_end(struct job *j, int r, const char *done_state, const char *detail, struct err *e)
{
	struct service *svc = j->service;
	const char *state = r == 0 ? done_state : r == -EINTR ? "interrupted" : "failed";
	if (r < 0 && j->journal_end)
		state = j->journal_end;
	struct err journal = ERR_INIT;
	job_disconnect(j);
	if (r < 0)
		job_say_error(j, e);
	if (journal_state(svc->catalog, j->journal_id, state, r < 0 ? e->msg : detail, 0, 0, !j->unsettled, &journal) <
		0 &&
	    r == 0)
		job_say_error(j, &journal); /* what was done is done; that it is not written down is worth a word */
	size_t source = j->source;
	int64_t snapshot_id = j->snapshot_id;
	char name[256];
	(void)snprintf(name, sizeof name, "%s", j->name);
	/* The locks go before the next job can be claimed. */
	snapshot_writer_free(TAKE_PTR(j->writer));
	if (j->lock_fd >= 0)
		(void)close(TAKE_FD(j->lock_fd));
	if (j->keep_fd >= 0)
		(void)close(TAKE_FD(j->keep_fd));
	{
		MUTEX_GUARD(&svc->mutex);
		if (snapshot_id) {
			struct result *res = &svc->result[svc->next_result++ % RESULTS_KEPT];
			*res = (struct result){.snapshot_id = snapshot_id};
			if (r < 0)
				res->err = *e;
		}
		svc->source[source].job = NULL;
		(void)pthread_cond_broadcast(&svc->changed);
		while (j->cancellers)
			(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	}
	job_free(j);
	if (snapshot_id)
		service_tell(svc, r == 0 ? SERVICE_SNAPSHOTS_CHANGED : SERVICE_SNAPSHOT_GONE, source, snapshot_id,
			     name);
}

static int job_open(const struct job *j, struct db_conn **ret, struct err *e)
{
	return config_connect(j->service->source[j->source].config, ret, e);
}

static int job_connect(struct job *j, struct err *e)
{
	struct db_conn *conn = NULL;
	int r = job_open(j, &conn, e);
	if (r < 0)
		return r;
	{
		MUTEX_GUARD(&j->conn_mutex);
		j->conn = conn;
	}
	return atomic_load(&j->ctl.cancelled) ? err_set(e, EINTR, "cancelled") : 0;
}

static int64_t newest_id(struct service *svc, size_t source)
{
	struct snapshot_info s;
	if (catalog_latest(svc->catalog, svc->source[source].id, &s, ERR_DROP) < 0)
		return 0;
	int64_t id = s.id;
	snapshot_info_done(&s);
	return id;
}

/* Cancels what looks for this waiter (NULL: for anybody). With service.mutex held, which is let go meanwhile. */
static void looks_cancel(struct service *svc, const struct waiter *w)
{
	for (struct look *l = svc->looks; l;) {
		if (l->cancelled || (w && l->waiter != w)) {
			l = l->next;
			continue;
		}
		l->cancelled = true;
		if (l->conn) {
			l->cancellers++;
			(void)pthread_mutex_unlock(&svc->mutex);
			db_driver_of(l->conn)->cancel(l->conn);
			(void)pthread_mutex_lock(&svc->mutex);
			l->cancellers--;
			(void)pthread_cond_broadcast(&svc->changed);
		}
		l = svc->looks; /* the list may be another one by now */
	}
}

void service_interrupt(struct service *svc, struct waiter *w)
{
	atomic_store(&w->interrupted, true);
	MUTEX_GUARD(&svc->mutex);
	looks_cancel(svc, w);
	for (size_t i = 0; i < svc->n_sources; i++)
		if (svc->source[i].job && svc->source[i].job->waiter == w)
			job_cancel(svc->source[i].job);
	(void)pthread_cond_broadcast(&svc->changed);
}

static void service_thread_ended(struct service *svc)
{
	MUTEX_GUARD(&svc->mutex);
	svc->threads--;
	(void)pthread_cond_broadcast(&svc->changed);
}

static int service_thread(struct service *svc, void *(*fn)(void *), void *arg, struct err *e)
{
	pthread_attr_t attr;
	pthread_t t;
	{
		MUTEX_GUARD(&svc->mutex);
		svc->threads++;
	}
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int r = pthread_create(&t, &attr, fn, arg);
	(void)pthread_attr_destroy(&attr);
	if (r == 0)
		return 0;
	service_thread_ended(svc);
	return err_sys(e, r, "starting a thread");
}

/* ---- snapshots ---- */

static int name_is_free(struct service *svc, size_t source, const char *name, struct err *e)
{
	struct snapshot_info there;
	struct err why = ERR_INIT;
	int r = catalog_find(svc->catalog, svc->source[source].id, name, &there, &why);
	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		*e = why;
		return r;
	}
	snapshot_info_done(&there);
	return err_set(e, EEXIST, "snapshot '%s' exists already", name);
}

/* Frees what an abandoned table or a removed snapshot left. Not worth failing a job that is done. */
static void service_sweep(struct service *svc)
{
	if (store_sweep(svc->catalog, ERR_DROP) == 0)
		store_shrink(svc->catalog);
}

/* Further connections that see the same moment, where the driver has them and there is enough to read. That one cannot
 * be had is no failure: the others do its work. */
static void snapshot_connect_more(struct job *j)
{
	const struct db_driver *d = db_driver_of(j->conn);
	size_t want = config_connections(j->service->source[j->source].config);
	int64_t rows = 0;
	for (size_t i = 0; i < j->schema->n_tables; i++)
		rows += j->schema->tables[i].estimated_rows > 0 ? j->schema->tables[i].estimated_rows : 0;
	while (d->begin_like && rows >= WORTH_CONNECTING && j->n_more + 1 < want &&
	       j->n_more + 1 < j->schema->n_tables) {
		struct db_conn *conn = NULL;
		if (job_open(j, &conn, ERR_DROP) < 0)
			return;
		if (d->begin_like(conn, j->conn, j->schema, ERR_DROP) < 0) {
			db_close(conn);
			return;
		}
		MUTEX_GUARD(&j->conn_mutex);
		j->more[j->n_more++] = conn;
		if (atomic_load(&j->ctl.cancelled)) /* perhaps before this one could be told */
			d->cancel(conn);
	}
}

static void *snapshot_thread(void *arg)
{
	struct job *j = arg;
	struct service *svc = j->service;
	struct err e = ERR_INIT;
	snapshot_connect_more(j);
	struct capture cp = {.catalog = svc->catalog,
			     .conn = j->conn,
			     .schema = j->schema,
			     .writer = j->writer,
			     .job = &j->ctl,
			     .name = j->name,
			     .base_id = j->base_id,
			     .more = j->more,
			     .n_more = j->n_more};
	int r = capture_run(&cp, NULL, &e);
	if (r == 0)
		(void)db_driver_of(j->conn)->commit(j->conn, ERR_DROP); /* reads only: its end changes nothing */
	bool waste = cp.wasted || r < 0;
	/* The words of a cancelled call are the server's; the reason is ours. */
	if (r < 0 && atomic_load(&j->ctl.cancelled))
		r = err_set(&e, EINTR, "cancelled");
	if (cp.damage.code)
		job_say_error(j, &cp.damage); /* the snapshot is whole; that another is not has to be known */
	char detail[96];
	/* Not the progress: what was read twice counts twice there. */
	(void)snprintf(detail, sizeof detail, "%" PRIu64 " rows, %" PRIu64 " bytes stored",
		       snapshot_writer_rows(j->writer), snapshot_writer_bytes(j->writer));
	job_end(j, r, "done", detail, &e);
	if (waste)
		service_sweep(svc);
	service_thread_ended(svc);
	return NULL;
}

static int snapshot_start(struct job *j, const char *name, struct err *e)
{
	struct service *svc = j->service;
	int r = job_connect(j, e);
	if (r == 0)
		r = db_driver_of(j->conn)->begin(j->conn, DB_READ, &j->schema, e);
	if (r < 0)
		return r;
	int64_t taken = clock_ms();
	j->base_id = newest_id(svc, j->source);
	r = snapshot_writer_new(&j->writer, svc->catalog, svc->source[j->source].id, taken, e);
	if (r < 0)
		return r;
	char mine[64], stamp[32];
	snapshot_name_default(taken, stamp);
	(void)snprintf(mine, sizeof mine, "%s", stamp);
	for (int n = 2; !name && r == 0; n++) {
		r = name_is_free(svc, j->source, mine, e);
		if (r != -EEXIST)
			break;
		r = 0;
		(void)snprintf(mine, sizeof mine, "%s-%d", stamp, n);
	}
	if (r < 0)
		return r;
	MUTEX_GUARD(&svc->mutex);
	(void)snprintf(j->name, sizeof j->name, "%s", name ? name : mine);
	(void)snprintf(j->subject, sizeof j->subject, "%s", j->name);
	j->snapshot_id = snapshot_writer_id(j->writer);
	return 0;
}

int service_snapshot(struct service *svc, size_t source, const char *name, const struct requester *who, int64_t *ret_id,
		     struct err *e)
{
	struct err why = ERR_INIT;
	int r = name ? snapshot_name_check(name, e) : 0;
	if (r == 0 && name)
		r = name_is_free(svc, source, name, e);
	struct job *j = NULL;
	if (r == 0)
		r = job_begin(svc, source, "snapshot", name ? name : "(default name)", who, NULL, &j, e);
	if (r < 0)
		return r;
	r = snapshot_start(j, name, &why);
	int64_t id = j->snapshot_id;
	if (r == 0)
		r = service_thread(svc, snapshot_thread, j, &why);
	if (r < 0) {
		job_end(j, r, "", NULL, &why);
		*e = why;
		return r;
	}
	*ret_id = id;
	return 0;
}

int service_pending(struct service *svc, size_t source, int64_t *ret_id, char name[256])
{
	MUTEX_GUARD(&svc->mutex);
	const struct job *j = svc->source[source].job;
	if (!j || !j->snapshot_id)
		return -ENOENT;
	*ret_id = j->snapshot_id;
	(void)snprintf(name, 256, "%s", j->name);
	return 0;
}

static bool service_is_pending(const struct service *svc, int64_t id)
{
	for (size_t i = 0; i < svc->n_sources; i++)
		if (svc->source[i].job && svc->source[i].job->snapshot_id == id)
			return true;
	return false;
}

int service_wait(struct service *svc, int64_t id, struct waiter *w, struct err *e)
{
	MUTEX_GUARD(&svc->mutex);
	while (service_is_pending(svc, id)) {
		if (w && atomic_load(&w->interrupted))
			return err_set(e, EINTR, "interrupted (the snapshot goes on)");
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	}
	for (unsigned i = 0; i < RESULTS_KEPT; i++)
		if (svc->result[i].snapshot_id == id && svc->result[i].err.code) {
			*e = svc->result[i].err;
			return -svc->result[i].err.code;
		}
	return 0;
}

static int64_t monotonic_ms(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void now_is(struct service *svc, size_t source, int64_t id, int64_t write)
{
	MUTEX_GUARD(&svc->mutex);
	svc->source[source].now_id = id;
	svc->source[source].now_used_ms = monotonic_ms();
	svc->source[source].now_write = write;
}

int service_now_peek(struct service *svc, size_t source, int64_t *ret_id)
{
	struct source_state *s = &svc->source[source];
	int64_t age = (int64_t)s->config->now_max_age_s * 1000, now = clock_ms(), written = 0, write = 0, id = 0;
	if (journal_last_write(svc->catalog, s->id, &written, &write, ERR_DROP) < 0)
		return -EIO;
	{
		MUTEX_GUARD(&svc->mutex);
		/* A reader keeps what it began with, whatever happens to the clock, until the database is written to.
		 */
		if (s->now_id && s->now_write == write &&
		    monotonic_ms() - s->now_used_ms < (age > NOW_IN_USE_MS ? age : NOW_IN_USE_MS))
			id = s->now_id;
	}
	struct snapshot_info info;
	if (id && catalog_get(svc->catalog, id, &info, ERR_DROP) == 0)
		snapshot_info_done(&info);
	else
		id = 0;
	/* A moment in the future is a clock that was set back, an imported one another database's: neither is "now". */
	if (!id && store_newest_taken(svc->catalog, s->id, now, &info, ERR_DROP) == 0) {
		if (info.taken_ms > written && now - info.taken_ms < age)
			id = info.id;
		snapshot_info_done(&info);
	}
	if (!id)
		return -ENOENT;
	now_is(svc, source, id, write);
	*ret_id = id;
	return 0;
}

int service_now(struct service *svc, size_t source, const struct requester *who, struct waiter *w, int64_t *ret_id,
		struct err *e)
{
	if (service_now_peek(svc, source, ret_id) == 0)
		return 0;
	int64_t id = 0, written, write;
	char name[256];
	int r = journal_last_write(svc->catalog, svc->source[source].id, &written, &write, e);
	if (r < 0)
		return r;
	/* A snapshot that is being taken has its moment just behind it: good enough, and the only one there can be. */
	r = service_pending(svc, source, &id, name);
	if (r < 0)
		r = service_snapshot(svc, source, NULL, who, &id, e);
	if (r == -EBUSY && service_pending(svc, source, &id, name) == 0)
		r = 0;
	if (r == 0)
		r = service_wait(svc, id, w, e);
	if (r < 0)
		return r;
	now_is(svc, source, id, write);
	*ret_id = id;
	return 0;
}

/* A short entry in the journal for what is done at once. */
static void service_note(struct service *svc, size_t source, const char *op, const char *subject,
			 const struct requester *who, int r, const struct err *e)
{
	int64_t id;
	struct err why = ERR_INIT;
	int q =
	    journal_add(svc->catalog, svc->source[source].id, op, subject, who->uid, who->pid, who->program, &id, &why);
	if (q == 0)
		q = journal_state(svc->catalog, id, r == 0 ? "done" : "failed", r == 0 ? NULL : e->msg, 0, 0, true,
				  &why);
	if (q == 0)
		return;
	_cleanup_free_ char *what = xasprintf("%s %s", op, subject);
	service_say_error(svc, source, what, r < 0 ? e : &why);
}

static int find_id(struct service *svc, size_t source, const char *name, int64_t *ret, struct err *e)
{
	struct snapshot_info s;
	int r = catalog_find(svc->catalog, svc->source[source].id, name, &s, e);
	if (r < 0)
		return r;
	*ret = s.id;
	snapshot_info_done(&s);
	return 0;
}

int service_rename(struct service *svc, size_t source, const char *from, const char *to, const struct requester *who,
		   struct err *e)
{
	struct err why = ERR_INIT;
	int64_t id = 0, pending;
	char name[256];
	int r = find_id(svc, source, from, &id, &why);
	/* A pending snapshot has its name already, though no row says so yet. */
	if (r == 0 && service_pending(svc, source, &pending, name) == 0 && !strcmp(name, to))
		r = err_set(&why, EEXIST, "snapshot '%s' is being taken", to);
	if (r == 0)
		r = catalog_rename(svc->catalog, id, to, &why);
	_cleanup_free_ char *subject = xasprintf("%s to %s", from, to);
	service_note(svc, source, "rename", subject, who, r, &why);
	if (r < 0) {
		*e = why;
		return r;
	}
	service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, id, to);
	return 0;
}

int service_remove(struct service *svc, size_t source, const char *name, const struct requester *who, struct err *e)
{
	struct err why = ERR_INIT;
	{
		MUTEX_GUARD(&svc->mutex);
		struct job *j = svc->source[source].job;
		if (j && j->snapshot_id && !strcmp(j->name, name)) {
			job_cancel(j); /* its own end tells the rest */
			return 0;
		}
	}
	int64_t id = 0;
	int r = find_id(svc, source, name, &id, &why);
	if (r == 0)
		r = store_remove_snapshot(svc->catalog, id, false, &why);
	service_note(svc, source, "remove", name, who, r, &why);
	if (r < 0) {
		*e = why;
		return r;
	}
	service_tell(svc, SERVICE_SNAPSHOT_GONE, source, id, name);
	service_sweep(svc);
	return 0;
}

int service_prune(struct service *svc, size_t source, const struct keep_rules *rules, bool dry_run,
		  const struct requester *who, struct prune_list *ret, struct err *e)
{
	struct err why = ERR_INIT;
	int r = store_prune(svc->catalog, svc->source[source].id, rules, clock_ms(), dry_run, who, ret, &why);
	if (r < 0) {
		if (!dry_run)
			service_note(svc, source, "prune", "", who, r, &why);
		*e = why;
		return r;
	}
	for (size_t i = 0; i < ret->n && !dry_run; i++)
		if (!ret->v[i].item.keep)
			service_tell(svc, SERVICE_SNAPSHOT_GONE, source, ret->v[i].item.id, ret->v[i].name);
	return 0;
}

int service_compact(struct service *svc, struct err *e)
{
	struct repack done = {0};
	int r = store_sweep(svc->catalog, e);
	if (r != 0)
		return r;
	r = store_repack(svc->catalog, &done, e);
	store_shrink(svc->catalog); /* also what was done before a damaged pack was met */
	return r < 0 ? r : done.busy;
}

int service_hold(struct service *svc, size_t source, const char *name, bool hold, const struct requester *who,
		 struct err *e)
{
	struct err why = ERR_INIT;
	int64_t id = 0;
	int r = find_id(svc, source, name, &id, &why);
	if (r == 0)
		r = catalog_hold(svc->catalog, id, hold, &why);
	service_note(svc, source, hold ? "hold" : "release", name, who, r, &why);
	if (r < 0 && e)
		*e = why;
	return r;
}

/* ---- what a crash left ---- */

struct crashed {
	int64_t id, safety_id, target_id;
	bool begun, found;
	char *entity; /* "TABLE/ROW" of a restore of one; NULL: of all */
};

static void crashed_done(struct crashed *c)
{
	free(c->entity);
}

static int crashed_each(void *arg, const struct journal_entry *j)
{
	struct crashed *c = arg;
	if (c->found)
		return 0;
	*c = (struct crashed){.id = j->id,
			      .safety_id = j->safety_id,
			      .target_id = j->target_id,
			      .found = true,
			      .begun = !strcmp(j->state, "begun")};
	size_t mark = strlen(RESTORE_ENTITY_MARK);
	if (c->begun && j->detail && !strncmp(j->detail, RESTORE_ENTITY_MARK, mark))
		c->entity = xmemdup0(j->detail + mark, strcspn(j->detail + mark, "\t"));
	return 0;
}

/* Whether the database is as it was before a restore: 0, 1 it is not. The rows say so: a restore that was undone
 * changed no definition, and what changed one since is not asked for. */
static int compare_safety(struct job *j, int64_t safety_id, struct err *e)
{
	int r = restore_compare_live(j->service->catalog, j->conn, safety_id, NULL, &j->ctl, NULL, e);
	return r > 1 ? 0 : r;
}

/*
 * Whether the database is as a restore was to leave it: 0, 1 it is not. entity NULL: all of the tables.
 *
 * The rows decide, as a server may refuse some of the definitions (owners, privileges). Only where the database holds
 * the target's rows without the rest, and all that the safety snapshot has, was nothing done: a restore that changes no
 * row, undone.
 */
static int compare_restored(struct job *j, int64_t safety_id, int64_t target_id, char *const *tables,
			    const char *entity, struct err *e)
{
	struct catalog *c = j->service->catalog;
	if (entity)
		return restore_compare_entity(c, j->conn, safety_id, target_id, entity, &j->ctl, e);
	int of_target = restore_compare_live(c, j->conn, target_id, tables, &j->ctl, NULL, e);
	if (of_target < 2)
		return of_target;
	int r = safety_id ? restore_compare_live(c, j->conn, safety_id, NULL, &j->ctl, NULL, e) : 1;
	if (r == -ENOENT)
		return 0; /* removed meanwhile: there is nothing to tell the two apart by */
	/* Counters move outside of transactions. */
	return r < 0 ? r : r == 0 || (r == 3 && of_target == 2);
}

/* Which of the two states the database holds after a crash in the middle of a restore; one transaction leaves no third.
 * -errno: not known yet, the entry stays open for the next try. */
static int settle_begun(struct job *j, const struct crashed *c, struct err *e)
{
	struct service *svc = j->service;
	const char *state = "unknown",
		   *words =
		       "after a crash the database holds neither the state before nor after: it was written to since";
	int r = db_driver_of(j->conn)->settle(j->conn, e);
	if (r == 0)
		r = c->target_id ? compare_restored(j, c->safety_id, c->target_id, NULL, c->entity, e) : 1;
	/* A target that the restore itself makes is noted before it is there, and is there before COMMIT. */
	r = r == -ENOENT ? 1 : r;
	if (r == 0) {
		state = "committed";
		words = "found complete after a crash";
	} else if (r == 1 && c->safety_id) {
		r = compare_safety(j, c->safety_id, e);
		if (r == 0) {
			state = "rolled back";
			words = "found unchanged after a crash";
		}
	}
	/* A snapshot that was removed meanwhile can no longer tell. */
	if (r < 0 && r != -ENOENT)
		return r;
	return journal_state(svc->catalog, c->id, state, words, 0, 0, true, e);
}

/* Settles the source's open entries, j's own aside; j is connected. */
static int settle_all(struct job *j, struct err *e)
{
	struct service *svc = j->service;
	for (;;) {
		_cleanup_(crashed_done) struct crashed c = {0};
		int r = journal_each(svc->catalog, svc->source[j->source].id, true, crashed_each, &c, e);
		if (r < 0 || !c.found || c.id == j->journal_id)
			return r;
		r = c.begun ? settle_begun(j, &c, e)
			    : journal_state(svc->catalog, c.id, "interrupted", "the program ended during it", 0, 0,
					    true, e);
		if (r < 0)
			return r;
	}
}

static void *settle_thread(void *arg)
{
	struct job *j = arg;
	struct service *svc = j->service;
	struct err e = ERR_INIT;
	int r = job_connect(j, &e);
	if (r == 0)
		r = settle_all(j, &e);
	job_end(j, r, "done", NULL, &e);
	if (r == 0)
		(void)store_remove_unlisted(svc->catalog, ERR_DROP);
	service_sweep(svc);
	service_thread_ended(svc);
	return NULL;
}

/* ---- import and restore ---- */

static int import_as(struct job *j, struct backup_tree *backup, const char *name, int64_t *ret_id, char *ret_name,
		     struct strbuf *report, struct err *e)
{
	struct service *svc = j->service;
	int64_t taken = 0;
	int r = import_taken_ms(backup, &taken, e);
	char mine[64];
	if (r == 0 && name && !*name) {
		char stamp[32];
		snapshot_name_default(taken, stamp);
		(void)snprintf(mine, sizeof mine, "%s", stamp);
		for (int n = 2; (r = name_is_free(svc, j->source, mine, e)) == -EEXIST; n++)
			(void)snprintf(mine, sizeof mine, "%s-%d", stamp, n);
		name = mine;
	}
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int64_t base = newest_id(svc, j->source);
	while (r == 0) {
		r = snapshot_writer_new(&w, svc->catalog, svc->source[j->source].id, taken, e);
		/* Noted before it is there: what was imported is never "now", and an unlisted target is somebody's. */
		if (r == 0)
			r = journal_state(svc->catalog, j->journal_id, "running", NULL, 0, snapshot_writer_id(w), false,
					  e);
		if (r == 0)
			r = import_run(svc->catalog, backup, w, svc->source[j->source].id, base, name, &j->ctl, report,
				       e);
		if (r != -EUCLEAN || !base)
			break;
		/* The newest snapshot is damaged: nothing can be shared with it. */
		base = 0;
		r = 0;
		snapshot_writer_free(TAKE_PTR(w));
	}
	if (r == 0) {
		*ret_id = snapshot_writer_id(w);
		if (ret_name && name)
			(void)snprintf(ret_name, 256, "%s", name);
	}
	return r;
}

int service_import(struct service *svc, size_t source, struct backup_tree *backup, const char *name,
		   const struct requester *who, struct waiter *w, int64_t *ret_id, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	int r = name ? snapshot_name_check(name, e) : 0;
	if (r == 0 && name)
		r = name_is_free(svc, source, name, e);
	if (r == 0)
		r = job_begin(svc, source, "import", name ? name : "(default name)", who, w, &j, e);
	if (r < 0)
		return r;
	char got[256] = "";
	r = import_as(j, backup, name ? name : "", ret_id, got, report, &why);
	if (r < 0 && e)
		*e = why;
	int64_t id = r == 0 ? *ret_id : 0;
	job_end(j, r, "done", NULL, &why);
	if (r == 0)
		service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, id, got);
	else
		service_sweep(svc);
	return r;
}

/*
 * COMMIT failed, or its answer was lost: what does the database hold? On MySQL and MariaDB a commit is several steps,
 * and one that fails after the swap leaves the new tables in place. 0: the target, after a lost answer; else -errno and
 * words that say which. Where it cannot be found out now, the journal's entry stays open, and what was found is in it:
 * now/ depends on it.
 */
static int restore_settle(struct job *j, const struct restore *rs, int commit, struct err *e)
{
	struct err said = *e, why = ERR_INIT;
	{
		/* Who cancelled a commit wants to know what came of it, unless the program ends. */
		MUTEX_GUARD(&j->service->mutex);
		if (!j->service->closing)
			atomic_store(&j->ctl.cancelled, false);
	}
	job_disconnect(j);
	int r = job_connect(j, &why);
	if (r == 0)
		r = db_driver_of(j->conn)->settle(j->conn, &why);
	if (r == 0)
		r = rs->target_id ? compare_restored(j, rs->safety_id, rs->target_id, rs->tables, rs->entity, &why) : 1;
	if (r == 0 && commit == -ECONNRESET)
		return 0;
	if (r == 0) {
		j->journal_end = "committed";
		return err_set(e, -commit, "%s (the database holds the restored state)", said.msg);
	}
	if (r == 1 && rs->safety_id) {
		r = compare_safety(j, rs->safety_id, &why);
		if (r == 0)
			return err_set(e, -commit, "%s (the database is unchanged)", said.msg);
	}
	if (r == 1) {
		j->journal_end = "unknown";
		return err_set(e, -commit, "%s (%s)", said.msg,
			       !rs->target_id  ? "the database is not as it was before: the row may be in it"
			       : rs->safety_id ? "the database holds neither state: it was written to since"
					       : "the database does not hold the restored state");
	}
	j->unsettled = true;
	j->journal_end = "begun";
	return err_set(e, -commit, "%s; what the database holds is not known: %s", said.msg, why.msg);
}

static void restore_finish_text(const struct restore *rs, const struct restore_plan *plan, char *out, size_t n)
{
	uint64_t inserts = 0, updates = 0, deletes = 0;
	for (size_t i = 0; i < plan->n; i++) {
		inserts += plan->v[i].inserts;
		updates += plan->v[i].updates;
		deletes += plan->v[i].deletes;
	}
	(void)snprintf(out, n, "%" PRIu64 " inserts, %" PRIu64 " updates, %" PRIu64 " deletes%s%s%s", inserts, updates,
		       deletes, plan->rebuild ? ", schema made anew" : "", rs->safety_id ? "; before it: " : "",
		       rs->safety_id ? rs->safety_name : "");
}

/* The lines of a report behind the text. */
static void restore_report_line(const struct strbuf *report, struct strbuf *out)
{
	for (const char *line = strbuf_str(report); *line;) {
		size_t n = strcspn(line, "\n");
		strbuf_addf(out, "; %.*s", (int)n, line);
		line += n + (line[n] == '\n');
	}
}

int service_restore(struct service *svc, size_t source, const struct restore_request *rq, const struct requester *who,
		    struct waiter *w, struct restore_plan *ret_plan, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	*ret_plan = (struct restore_plan){0};
	if (rq->policy == RESTORE_OFF)
		return err_set(e, EPERM,
			       "restore = off for this source (set restore = empty or replace in its configuration)");
	int r = job_begin(svc, source, rq->dry_run ? "plan" : "restore", rq->label ? rq->label : "", who, w, &j, e);
	if (r < 0)
		return r;
	int64_t target = rq->snapshot_id, imported = 0;
	/* Held to the end: the target may be removed meanwhile, or be one that is not listed, but its rows stay. */
	r = j->keep_fd = store_lock(svc->catalog, STORE_LOCK_WRITERS, false, &why);
	r = r > 0 ? 0 : r;
	if (r == 0 && rq->backup) {
		r = import_as(j, rq->backup, NULL, &imported, NULL, report, &why);
		target = imported;
	}
	if (r == 0)
		r = job_connect(j, &why);
	if (r == 0 && !rq->dry_run)
		r = settle_all(j, &why);
	struct restore rs = {.catalog = svc->catalog,
			     .conn = j->conn,
			     .source_id = svc->source[source].id,
			     .base_id = newest_id(svc, source),
			     .target_id = target,
			     .tables = rq->tables,
			     .entity = rq->entity,
			     .policy = rq->policy,
			     .force = rq->force,
			     .dry_run = rq->dry_run,
			     .journal_id = j->journal_id,
			     .job = &j->ctl,
			     .report = report,
			     .plan = ret_plan};
	if (r == 0 && rq->sql)
		r = sql_restore_run(&rs, rq->sql, &why);
	else if (r == 0)
		r = restore_run(&rs, &why);
	if (rq->sql)
		imported = rs.target_id;
	if (r < 0 && rs.uncertain)
		r = restore_settle(j, &rs, r, &why);
	else if (r < 0 && atomic_load(&j->ctl.cancelled))
		r = err_set(&why, EINTR, "cancelled; the database is unchanged");
	char detail[256];
	restore_finish_text(&rs, ret_plan, detail, sizeof detail);
	if (rs.safety_id)
		(void)snprintf(ret_plan->safety, sizeof ret_plan->safety, "%s", rs.safety_name);
	/* What the journal says is all that a link's maker gets to read. */
	_cleanup_strbuf_ struct strbuf said = {0};
	strbuf_adds(&said, detail);
	if (rq->entity && report)
		restore_report_line(report, &said);
	if (r < 0 && e)
		*e = why;
	/* An entry that stays open must still say which entity to look for. */
	if (j->unsettled && rq->entity)
		(void)err_prefix(&why, RESTORE_ENTITY_MARK "%s\t", rq->entity);
	char safety[64];
	int64_t safety_id = rs.safety_id;
	(void)snprintf(safety, sizeof safety, "%s", rs.safety_name);
	job_disconnect(j); /* before the imported target goes: nothing can need it then */
	if (imported && !j->unsettled)
		(void)store_remove_snapshot(svc->catalog, imported, true, ERR_DROP);
	job_end(j, r, rq->dry_run ? "done" : "committed", strbuf_str(&said), &why);
	if (safety_id)
		service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, safety_id, safety);
	if (imported || r < 0)
		service_sweep(svc);
	return r;
}

int service_upsert_row(struct service *svc, size_t source, const char *table, const char *file_name, const char *text,
		       size_t len, const struct requester *who, struct waiter *w, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	if (svc->source[source].config->restore != RESTORE_REPLACE)
		return err_set(e, EPERM, "writing a row needs restore = replace for this source");
	_cleanup_free_ char *subject = xasprintf("%s/%s", table, file_name);
	int r = job_begin(svc, source, "put", subject, who, w, &j, e);
	if (r < 0)
		return r;
	r = job_connect(j, &why);
	if (r == 0)
		r = settle_all(j, &why);
	struct restore rs = {.catalog = svc->catalog,
			     .conn = j->conn,
			     .source_id = svc->source[source].id,
			     .base_id = newest_id(svc, source),
			     .policy = svc->source[source].config->restore,
			     .journal_id = j->journal_id,
			     .job = &j->ctl};
	if (r == 0)
		r = restore_upsert_row(&rs, table, file_name, text, len, &why);
	if (r < 0 && rs.uncertain)
		r = restore_settle(j, &rs, r, &why);
	if (r < 0 && e)
		*e = why;
	int64_t safety_id = rs.safety_id;
	char safety[64];
	(void)snprintf(safety, sizeof safety, "%s", rs.safety_name);
	job_end(j, r, "committed", NULL, &why);
	if (safety_id)
		service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, safety_id, safety);
	return r;
}

int service_verify_live(struct service *svc, size_t source, int64_t snapshot_id, struct waiter *w,
			struct restore_plan *ret, struct err *e)
{
	struct err why = ERR_INIT;
	struct requester who;
	struct job *j = NULL;
	requester_self(&who);
	*ret = (struct restore_plan){0};
	int r = job_begin(svc, source, "verify", "live", &who, w, &j, e);
	if (r < 0)
		return r;
	r = job_connect(j, &why);
	if (r == 0)
		r = restore_compare_live(svc->catalog, j->conn, snapshot_id, NULL, &j->ctl, ret, &why);
	if (r < 0 && e)
		*e = why;
	job_end(j, r < 0 ? r : 0, r > 0 ? "different" : "done", NULL, &why);
	return r > 0 ? 1 : r;
}

/* ---- preflight ---- */

/* preflight_request.connected */
static int look_connected(void *arg, struct db_conn *c, struct err *e)
{
	struct look *l = arg;
	struct service *svc = l->service;
	MUTEX_GUARD(&svc->mutex);
	while (!c && l->cancellers)
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	l->conn = c;
	return c && (l->cancelled || svc->closing) ? err_set(e, EINTR, "interrupted") : 0;
}

static int preflight_look(struct service *svc, size_t source, struct look *l, struct waiter *w, struct strbuf *out,
			  struct err *e)
{
	struct preflight_report report = {0};
	struct preflight_request rq = {.source = svc->source[source].config,
				       .label = svc->source[source].config->name,
				       .catalog = svc->catalog,
				       .source_id = svc->source[source].id,
				       .waiter = w,
				       .connected = look_connected,
				       .arg = l};
	int r = preflight_run(&rq, &report, e);
	if (r == 0)
		preflight_text(&report, out);
	preflight_report_done(&report);
	return r;
}

/* Whether the text that is there will do; waits while another one is being made. With service.mutex held. */
static int preflight_wait(struct service *svc, size_t source, const struct waiter *w, struct err *e)
{
	struct source_state *s = &svc->source[source];
	while (s->preflight_running && !svc->closing && !atomic_load(&w->interrupted))
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	if (svc->closing || atomic_load(&w->interrupted))
		return err_set(e, EINTR, "interrupted");
	return s->preflight.len && monotonic_ms() - s->preflight_ms < PREFLIGHT_FRESH_MS;
}

int service_preflight(struct service *svc, size_t source, struct waiter *w, struct strbuf *out, int64_t *ret_at_ms,
		      struct err *e)
{
	struct source_state *s = &svc->source[source];
	struct look l = {.service = svc, .waiter = w};
	struct strbuf text = {0};
	{
		MUTEX_GUARD(&svc->mutex);
		int r = preflight_wait(svc, source, w, e);
		if (r > 0) {
			strbuf_add(out, s->preflight.data, s->preflight.len);
			*ret_at_ms = s->preflight_ms;
		}
		if (r != 0)
			return r < 0 ? r : 0;
		s->preflight_running = true;
		l.next = svc->looks;
		svc->looks = &l;
	}
	int r = preflight_look(svc, source, &l, w, &text, e);
	strbuf_adds(out, strbuf_str(&text));
	MUTEX_GUARD(&svc->mutex);
	struct look **place = &svc->looks;
	while (*place != &l)
		place = &(*place)->next;
	*place = l.next;
	s->preflight_running = false;
	if (r == 0) {
		strbuf_done(&s->preflight);
		s->preflight = text;
		s->preflight_ms = *ret_at_ms = monotonic_ms();
	} else {
		strbuf_done(&text);
	}
	(void)pthread_cond_broadcast(&svc->changed);
	return r;
}

/* ---- texts ---- */

void service_progress(struct service *svc, size_t source, struct progress *ret)
{
	*ret = (struct progress){0};
	MUTEX_GUARD(&svc->mutex);
	struct job *j = svc->source[source].job;
	if (!j)
		return;
	{
		MUTEX_GUARD(&j->ctl.mutex);
		memcpy(ret->what, j->ctl.what, sizeof ret->what);
	}
	ret->rows_done = atomic_load(&j->ctl.rows_done);
	ret->rows_total = atomic_load(&j->ctl.rows_total);
	ret->bytes_done = atomic_load(&j->ctl.bytes_done);
	ret->started_ms = j->started_ms;
}

void service_status(struct service *svc, size_t source, struct strbuf *out)
{
	struct source_state *s = &svc->source[source];
	_cleanup_free_ char *server = db_params_describe(&s->config->params);
	char when[40];
	strbuf_addf(out, "source: %s\nserver: %s\nrestore: %s\n", s->config->name, server,
		    restore_policy_name(s->config->restore));
	struct snapshot_info info;
	if (catalog_latest(svc->catalog, s->id, &info, ERR_DROP) == 0) {
		clock_text(info.taken_ms, when);
		strbuf_addf(out, "last snapshot: %s, %s, %zu tables, %" PRId64 " rows, %s %s%s%s\n", info.name, when,
			    info.n_tables, info.rows, info.engine, info.server_version,
			    info.app_version ? ", OpenMetadata " : "", info.app_version ? info.app_version : "");
		snapshot_info_done(&info);
	} else {
		strbuf_adds(out, "last snapshot: none\n");
	}
	struct progress p;
	service_progress(svc, source, &p);
	if (p.what[0]) {
		double seconds = (double)(clock_ms() - p.started_ms) / 1000;
		strbuf_addf(out, "running: %s, %" PRIu64 " rows", p.what, p.rows_done);
		if (p.rows_total)
			strbuf_addf(out, " of about %" PRIu64, p.rows_total);
		strbuf_addf(out, ", %.0f s", seconds);
		if (p.rows_done && p.rows_total > p.rows_done && seconds > 0)
			strbuf_addf(out, ", about %.0f s left",
				    seconds * (double)(p.rows_total - p.rows_done) / (double)p.rows_done);
		strbuf_addch(out, '\n');
	} else {
		strbuf_adds(out, "running: nothing\n");
	}
	MUTEX_GUARD(&svc->mutex);
	if (s->last_error[0]) {
		clock_text(s->last_error_ms, when);
		strbuf_addf(out, "last error: %s %s\n", when, s->last_error);
	} else {
		strbuf_adds(out, "last error: none\n");
	}
}

static int journal_line(void *arg, const struct journal_entry *j)
{
	struct strbuf *out = arg;
	char when[40];
	clock_text(j->at_ms, when);
	strbuf_addf(out, "%s %s %s: %s", when, j->op, j->subject, j->state);
	if (j->finished_ms)
		strbuf_addf(out, " after %.1f s", (double)(j->finished_ms - j->at_ms) / 1000);
	strbuf_addf(out, " (uid %" PRId64 ", pid %" PRId64 ", %s)", j->uid, j->pid,
		    j->program && *j->program ? j->program : "?");
	if (j->detail && *j->detail)
		strbuf_addf(out, " %s", j->detail);
	strbuf_addch(out, '\n');
	return 0;
}

int service_journal(struct service *svc, size_t source, struct strbuf *out, struct err *e)
{
	return journal_each(svc->catalog, svc->source[source].id, false, journal_line, out, e);
}

/* Jobs that ended with their process: a snapshot is simply not there; a restore that had begun has to be looked at. */
static int service_recover(struct service *svc, size_t source, bool *ret_swept, struct err *e)
{
	struct source_state *s = &svc->source[source];
	int fd = store_lock(svc->catalog, STORE_LOCK_SOURCE + s->id, true, ERR_DROP);
	if (fd < 0)
		return 0; /* another process is at work: its entries are its own */
	int r = 0;
	bool begun = false;
	for (;;) {
		_cleanup_(crashed_done) struct crashed c = {0};
		r = journal_each(svc->catalog, s->id, true, crashed_each, &c, e);
		if (r < 0 || !c.found)
			break;
		if (c.begun) {
			begun = true;
			break;
		}
		*ret_swept = true;
		r = journal_state(svc->catalog, c.id, "interrupted", "the program ended during it", 0, 0, true, e);
		if (r < 0)
			break;
	}
	(void)close(fd);
	if (r < 0 || !begun)
		return r;
	struct requester who;
	struct job *j = NULL;
	requester_self(&who);
	r = job_begin(svc, source, "settle", "after a crash", &who, NULL, &j, e);
	if (r < 0)
		return r == -EBUSY ? 0 : r;
	r = service_thread(svc, settle_thread, j, e);
	if (r < 0)
		job_end(j, r, "", NULL, e);
	return r;
}

int service_open(struct service **ret, const struct config *config, struct err *e)
{
	_cleanup_(cleanup_service) struct service *svc = xcalloc(1, sizeof *svc);
	svc->config = config;
	(void)pthread_mutex_init(&svc->mutex, NULL);
	(void)pthread_cond_init(&svc->changed, NULL);
	int r = catalog_open(&svc->catalog, config->catalog_path, CATALOG_WRITE, e);
	if (r < 0)
		return r;
	(void)catalog_set_cache_bytes(svc->catalog, (size_t)(config->cache_mb ? config->cache_mb : 32) << 20);
	svc->source = xcalloc(config->n_sources, sizeof *svc->source);
	for (size_t i = 0; i < config->n_sources; i++) {
		svc->source[i].config = &config->sources[i];
		r = catalog_source(svc->catalog, config->sources[i].name, &svc->source[i].id, e);
		if (r < 0)
			return r;
		svc->n_sources++;
	}
	bool swept = false;
	for (size_t i = 0; i < svc->n_sources && r == 0; i++)
		r = service_recover(svc, i, &swept, e);
	if (r < 0)
		return r;
	if (swept) {
		(void)store_remove_unlisted(svc->catalog, ERR_DROP);
		service_sweep(svc);
	}
	*ret = TAKE_PTR(svc);
	return 0;
}

void service_close(struct service *svc)
{
	if (!svc)
		return;
	{
		MUTEX_GUARD(&svc->mutex);
		svc->closing = true;
		svc->on_change = NULL;
		for (size_t i = 0; i < svc->n_sources; i++)
			if (svc->source[i].job)
				job_cancel(svc->source[i].job);
		looks_cancel(svc, NULL);
		(void)pthread_cond_broadcast(&svc->changed);
		for (bool busy = true; busy;) {
			busy = svc->threads > 0 || svc->looks;
			for (size_t i = 0; i < svc->n_sources; i++)
				busy = busy || svc->source[i].job;
			if (busy)
				(void)pthread_cond_wait(&svc->changed, &svc->mutex);
		}
	}
	catalog_close(svc->catalog);
	for (size_t i = 0; i < svc->n_sources; i++)
		strbuf_done(&svc->source[i].preflight);
	free(svc->source);
	(void)pthread_cond_destroy(&svc->changed);
	(void)pthread_mutex_destroy(&svc->mutex);
	free(svc);
}
