/*
 * snapshot/service/service.c - the running service: sources, jobs, and who may do what when.
 *
 * One job at a time for a source: claimed under engine.mutex here, and by an OFD lock between processes. A snapshot's
 * rows are taken on a thread of the job's own; restores and imports run on their caller's thread. engine.mutex guards
 * the source states, the jobs and their results; it is never held over a driver or catalog call. A job's conn_mutex
 * guards its connection against being closed while another thread cancels it; the two are never held together.
 */
#include "snapshot/service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

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
	struct engine *engine;
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
	unsigned cancellers;   /* threads in job_cancel; under engine.mutex */
	pthread_mutex_t conn_mutex;
	struct db_conn *conn;
	struct db_conn *more[CONNECTIONS_MAX - 1]; /* see capture/capture.h */
	size_t n_more;
	struct db_schema *schema;
	struct snapshot_writer *writer;
	int64_t base_id;
	pthread_t thread;
};

/* Somebody who only reads the database, beside the jobs. All of it under engine.mutex. */
struct look {
	struct look *next;
	struct engine *engine;
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

struct engine {
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
	void (*on_change)(void *arg, enum engine_event ev, size_t source, int64_t snapshot_id, const char *name);
	void *on_change_arg;
};

/* ---- who asks ---- */

void requester_of_pid(struct requester *ret, uid_t uid, pid_t pid)
{
	*ret = (struct requester){.uid = uid, .pid = pid};
	char path[64];
	(void)snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	_cleanup_close_ int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = fd >= 0 ? read(fd, ret->program, sizeof ret->program - 1) : 0;
	ret->program[n > 0 ? (size_t)n : 0] = '\0';
	ret->program[strcspn(ret->program, "\n")] = '\0';
}

void requester_self(struct requester *ret)
{
	requester_of_pid(ret, getuid(), getpid());
}

/* ---- open, close ---- */

struct catalog *engine_catalog(struct engine *g)
{
	return g->catalog;
}

size_t engine_sources(const struct engine *g)
{
	return g->n_sources;
}

const struct source_config *engine_source(const struct engine *g, size_t source)
{
	return g->source[source].config;
}

int64_t engine_source_id(const struct engine *g, size_t source)
{
	return g->source[source].id;
}

int engine_find_source(const struct engine *g, const char *name)
{
	for (size_t i = 0; i < g->n_sources; i++)
		if (!strcmp(g->source[i].config->name, name))
			return (int)i;
	return -ENOENT;
}

void engine_on_change(struct engine *g,
		      void (*fn)(void *arg, enum engine_event ev, size_t source, int64_t snapshot_id, const char *name),
		      void *arg)
{
	MUTEX_GUARD(&g->mutex);
	g->on_change = fn;
	g->on_change_arg = arg;
}

static void engine_tell(struct engine *g, enum engine_event ev, size_t source, int64_t snapshot_id, const char *name)
{
	void (*fn)(void *arg, enum engine_event ev, size_t source, int64_t snapshot_id, const char *name);
	void *arg;
	{
		MUTEX_GUARD(&g->mutex);
		fn = g->on_change;
		arg = g->on_change_arg;
	}
	if (fn)
		fn(arg, ev, source, snapshot_id, name);
}

/* ---- jobs ---- */

/* With engine.mutex held, which is let go meanwhile: a driver's cancel may take seconds (MySQL's opens a connection),
 * and status and waiters go on. The job stays until its cancellers are done (job_end). */
static void job_cancel(struct job *j)
{
	struct engine *g = j->engine;
	atomic_store(&j->ctl.cancelled, true);
	j->cancellers++;
	(void)pthread_mutex_unlock(&g->mutex);
	{
		MUTEX_GUARD(&j->conn_mutex);
		if (j->conn)
			db_driver_of(j->conn)->cancel(j->conn);
		for (size_t i = 0; i < j->n_more; i++)
			db_driver_of(j->more[i])->cancel(j->more[i]);
	}
	(void)pthread_mutex_lock(&g->mutex);
	j->cancellers--;
	(void)pthread_cond_broadcast(&g->changed);
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

void engine_say_error(struct engine *g, size_t source, const char *what, const struct err *e)
{
	struct source_state *s = &g->source[source];
	MUTEX_GUARD(&g->mutex);
	(void)snprintf(s->last_error, sizeof s->last_error, "%s: %s", what, e->msg);
	s->last_error_ms = now_ms();
}

static void job_say_error(struct job *j, const struct err *e)
{
	_cleanup_free_ char *what = xasprintf("%s %s", j->op, j->subject);
	engine_say_error(j->engine, j->source, what, e);
}

/* Claims the source. The job is visible to status and wait from here on. wait: until another job's end instead of
 * EBUSY. */
static int job_begin(struct engine *g, size_t source, const char *op, const char *subject, const struct requester *who,
		     struct waiter *w, struct job **ret, struct err *e)
{
	struct source_state *s = &g->source[source];
	struct job *j = xcalloc(1, sizeof *j);
	j->engine = g;
	j->source = source;
	j->op = op;
	(void)snprintf(j->subject, sizeof j->subject, "%s", subject);
	j->started_ms = now_ms();
	j->lock_fd = j->keep_fd = -1;
	j->waiter = w;
	(void)pthread_mutex_init(&j->conn_mutex, NULL);
	(void)pthread_mutex_init(&j->ctl.mutex, NULL);
	(void)snprintf(j->ctl.what, sizeof j->ctl.what, "%s %s: connecting", op, subject);
	int r = 0;
	{
		MUTEX_GUARD(&g->mutex);
		/* Settling what a crash left comes first, and is nobody's fault: wait for it. */
		while (s->job && !strcmp(s->job->op, "settle") && !g->closing && !(w && atomic_load(&w->interrupted)))
			(void)pthread_cond_wait(&g->changed, &g->mutex);
		if (w && atomic_load(&w->interrupted))
			r = err_set(e, EINTR, "interrupted");
		else if (g->closing)
			r = err_set(e, ESHUTDOWN, "shutting down");
		else if (s->job)
			r = err_set(e, EBUSY, "%s %s is running", s->job->op, s->job->subject);
		else
			s->job = j;
	}
	if (r == 0) {
		r = j->lock_fd = store_lock(g->catalog, STORE_LOCK_SOURCE + s->id, true, e);
		if (r == -EBUSY)
			r = err_set(e, EBUSY, "another metasnap process runs a job for %s", s->config->name);
		else if (r > 0)
			r = 0;
		struct err why = ERR_INIT;
		if (r == 0) {
			r = journal_add(g->catalog, s->id, op, subject, who->uid, who->pid, who->program,
					&j->journal_id, &why);
			if (r < 0)
				job_say_error(j, &why); /* nothing else will tell of it */
			if (r < 0 && e)
				*e = why;
		}
		if (r < 0) {
			MUTEX_GUARD(&g->mutex);
			s->job = NULL;
			(void)pthread_cond_broadcast(&g->changed);
			while (j->cancellers)
				(void)pthread_cond_wait(&g->changed, &g->mutex);
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
	struct engine *g = j->engine;
	const char *state = r == 0 ? done_state : r == -EINTR ? "interrupted" : "failed";
	if (r < 0 && j->journal_end)
		state = j->journal_end;
	struct err journal = ERR_INIT;
	job_disconnect(j);
	if (r < 0)
		job_say_error(j, e);
	if (journal_state(g->catalog, j->journal_id, state, r < 0 ? e->msg : detail, 0, 0, !j->unsettled, &journal) <
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
		MUTEX_GUARD(&g->mutex);
		if (snapshot_id) {
			struct result *res = &g->result[g->next_result++ % RESULTS_KEPT];
			*res = (struct result){.snapshot_id = snapshot_id};
			if (r < 0)
				res->err = *e;
		}
		g->source[source].job = NULL;
		(void)pthread_cond_broadcast(&g->changed);
		while (j->cancellers)
			(void)pthread_cond_wait(&g->changed, &g->mutex);
	}
	job_free(j);
	if (snapshot_id)
		engine_tell(g, r == 0 ? ENGINE_SNAPSHOTS_CHANGED : ENGINE_SNAPSHOT_GONE, source, snapshot_id, name);
}

static int job_open(const struct job *j, struct db_conn **ret, struct err *e)
{
	return config_connect(j->engine->source[j->source].config, ret, e);
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

static int64_t newest_id(struct engine *g, size_t source)
{
	struct snapshot_info s;
	if (catalog_latest(g->catalog, g->source[source].id, &s, NULL) < 0)
		return 0;
	int64_t id = s.id;
	snapshot_info_done(&s);
	return id;
}

/* Cancels what looks for this waiter (NULL: for anybody). With engine.mutex held, which is let go meanwhile. */
static void looks_cancel(struct engine *g, const struct waiter *w)
{
	for (struct look *l = g->looks; l;) {
		if (l->cancelled || (w && l->waiter != w)) {
			l = l->next;
			continue;
		}
		l->cancelled = true;
		if (l->conn) {
			l->cancellers++;
			(void)pthread_mutex_unlock(&g->mutex);
			db_driver_of(l->conn)->cancel(l->conn);
			(void)pthread_mutex_lock(&g->mutex);
			l->cancellers--;
			(void)pthread_cond_broadcast(&g->changed);
		}
		l = g->looks; /* the list may be another one by now */
	}
}

void engine_interrupt(struct engine *g, struct waiter *w)
{
	atomic_store(&w->interrupted, true);
	MUTEX_GUARD(&g->mutex);
	looks_cancel(g, w);
	for (size_t i = 0; i < g->n_sources; i++)
		if (g->source[i].job && g->source[i].job->waiter == w)
			job_cancel(g->source[i].job);
	(void)pthread_cond_broadcast(&g->changed);
}

static void engine_thread_ended(struct engine *g)
{
	MUTEX_GUARD(&g->mutex);
	g->threads--;
	(void)pthread_cond_broadcast(&g->changed);
}

static int engine_thread(struct engine *g, void *(*fn)(void *), void *arg, struct err *e)
{
	pthread_attr_t attr;
	pthread_t t;
	{
		MUTEX_GUARD(&g->mutex);
		g->threads++;
	}
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int r = pthread_create(&t, &attr, fn, arg);
	(void)pthread_attr_destroy(&attr);
	if (r == 0)
		return 0;
	engine_thread_ended(g);
	return err_sys(e, r, "starting a thread");
}

/* ---- snapshots ---- */

static int name_is_free(struct engine *g, size_t source, const char *name, struct err *e)
{
	struct snapshot_info there;
	struct err why = ERR_INIT;
	int r = catalog_find(g->catalog, g->source[source].id, name, &there, &why);
	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		if (e)
			*e = why;
		return r;
	}
	snapshot_info_done(&there);
	return err_set(e, EEXIST, "snapshot '%s' exists already", name);
}

/* Frees what an abandoned table or a removed snapshot left. Not worth failing a job that is done. */
static void engine_sweep(struct engine *g)
{
	if (store_sweep(g->catalog, NULL) == 0)
		store_shrink(g->catalog);
}

/* Further connections that see the same moment, where the driver has them and there is enough to read. That one cannot
 * be had is no failure: the others do its work. */
static void snapshot_connect_more(struct job *j)
{
	const struct db_driver *d = db_driver_of(j->conn);
	size_t want = config_connections(j->engine->source[j->source].config);
	int64_t rows = 0;
	for (size_t i = 0; i < j->schema->n_tables; i++)
		rows += j->schema->tables[i].estimated_rows > 0 ? j->schema->tables[i].estimated_rows : 0;
	while (d->begin_like && rows >= WORTH_CONNECTING && j->n_more + 1 < want &&
	       j->n_more + 1 < j->schema->n_tables) {
		struct db_conn *conn = NULL;
		if (job_open(j, &conn, NULL) < 0)
			return;
		if (d->begin_like(conn, j->conn, j->schema, NULL) < 0) {
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
	struct engine *g = j->engine;
	struct err e = ERR_INIT;
	snapshot_connect_more(j);
	struct capture cp = {.catalog = g->catalog,
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
		(void)db_driver_of(j->conn)->commit(j->conn, NULL); /* reads only: its end changes nothing */
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
		engine_sweep(g);
	engine_thread_ended(g);
	return NULL;
}

static int snapshot_start(struct job *j, const char *name, struct err *e)
{
	struct engine *g = j->engine;
	int r = job_connect(j, e);
	if (r == 0)
		r = db_driver_of(j->conn)->begin(j->conn, DB_READ, &j->schema, e);
	if (r < 0)
		return r;
	int64_t taken = now_ms();
	j->base_id = newest_id(g, j->source);
	r = snapshot_writer_new(&j->writer, g->catalog, g->source[j->source].id, taken, e);
	if (r < 0)
		return r;
	char mine[64], stamp[32];
	snapshot_name_default(taken, stamp);
	(void)snprintf(mine, sizeof mine, "%s", stamp);
	for (int n = 2; !name && r == 0; n++) {
		r = name_is_free(g, j->source, mine, e);
		if (r != -EEXIST)
			break;
		r = 0;
		(void)snprintf(mine, sizeof mine, "%s-%d", stamp, n);
	}
	if (r < 0)
		return r;
	MUTEX_GUARD(&g->mutex);
	(void)snprintf(j->name, sizeof j->name, "%s", name ? name : mine);
	(void)snprintf(j->subject, sizeof j->subject, "%s", j->name);
	j->snapshot_id = snapshot_writer_id(j->writer);
	return 0;
}

int engine_snapshot(struct engine *g, size_t source, const char *name, const struct requester *who, int64_t *ret_id,
		    struct err *e)
{
	struct err why = ERR_INIT;
	int r = name ? snapshot_name_check(name, e) : 0;
	if (r == 0 && name)
		r = name_is_free(g, source, name, e);
	struct job *j = NULL;
	if (r == 0)
		r = job_begin(g, source, "snapshot", name ? name : "(default name)", who, NULL, &j, e);
	if (r < 0)
		return r;
	r = snapshot_start(j, name, &why);
	int64_t id = j->snapshot_id;
	if (r == 0)
		r = engine_thread(g, snapshot_thread, j, &why);
	if (r < 0) {
		job_end(j, r, "", NULL, &why);
		if (e)
			*e = why;
		return r;
	}
	*ret_id = id;
	return 0;
}

int engine_pending(struct engine *g, size_t source, int64_t *ret_id, char name[256])
{
	MUTEX_GUARD(&g->mutex);
	const struct job *j = g->source[source].job;
	if (!j || !j->snapshot_id)
		return -ENOENT;
	*ret_id = j->snapshot_id;
	(void)snprintf(name, 256, "%s", j->name);
	return 0;
}

static bool engine_is_pending(const struct engine *g, int64_t id)
{
	for (size_t i = 0; i < g->n_sources; i++)
		if (g->source[i].job && g->source[i].job->snapshot_id == id)
			return true;
	return false;
}

int engine_wait(struct engine *g, int64_t id, struct waiter *w, struct err *e)
{
	MUTEX_GUARD(&g->mutex);
	while (engine_is_pending(g, id)) {
		if (w && atomic_load(&w->interrupted))
			return err_set(e, EINTR, "interrupted (the snapshot goes on)");
		(void)pthread_cond_wait(&g->changed, &g->mutex);
	}
	for (unsigned i = 0; i < RESULTS_KEPT; i++)
		if (g->result[i].snapshot_id == id && g->result[i].err.code) {
			if (e)
				*e = g->result[i].err;
			return -g->result[i].err.code;
		}
	return 0;
}

static int64_t monotonic_ms(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void now_is(struct engine *g, size_t source, int64_t id, int64_t write)
{
	MUTEX_GUARD(&g->mutex);
	g->source[source].now_id = id;
	g->source[source].now_used_ms = monotonic_ms();
	g->source[source].now_write = write;
}

int engine_now_peek(struct engine *g, size_t source, int64_t *ret_id)
{
	struct source_state *s = &g->source[source];
	int64_t age = (int64_t)s->config->now_max_age_s * 1000, now = now_ms(), written = 0, write = 0, id = 0;
	if (journal_last_write(g->catalog, s->id, &written, &write, NULL) < 0)
		return -EIO;
	{
		MUTEX_GUARD(&g->mutex);
		/* A reader keeps what it began with, whatever happens to the clock, until the database is written to.
		 */
		if (s->now_id && s->now_write == write &&
		    monotonic_ms() - s->now_used_ms < (age > NOW_IN_USE_MS ? age : NOW_IN_USE_MS))
			id = s->now_id;
	}
	struct snapshot_info info;
	if (id && catalog_get(g->catalog, id, &info, NULL) == 0)
		snapshot_info_done(&info);
	else
		id = 0;
	/* A moment in the future is a clock that was set back, an imported one another database's: neither is "now". */
	if (!id && store_newest_taken(g->catalog, s->id, now, &info, NULL) == 0) {
		if (info.taken_ms > written && now - info.taken_ms < age)
			id = info.id;
		snapshot_info_done(&info);
	}
	if (!id)
		return -ENOENT;
	now_is(g, source, id, write);
	*ret_id = id;
	return 0;
}

int engine_now(struct engine *g, size_t source, const struct requester *who, struct waiter *w, int64_t *ret_id,
	       struct err *e)
{
	if (engine_now_peek(g, source, ret_id) == 0)
		return 0;
	int64_t id = 0, written, write;
	char name[256];
	int r = journal_last_write(g->catalog, g->source[source].id, &written, &write, e);
	if (r < 0)
		return r;
	/* A snapshot that is being taken has its moment just behind it: good enough, and the only one there can be. */
	r = engine_pending(g, source, &id, name);
	if (r < 0)
		r = engine_snapshot(g, source, NULL, who, &id, e);
	if (r == -EBUSY && engine_pending(g, source, &id, name) == 0)
		r = 0;
	if (r == 0)
		r = engine_wait(g, id, w, e);
	if (r < 0)
		return r;
	now_is(g, source, id, write);
	*ret_id = id;
	return 0;
}

/* A short entry in the journal for what is done at once. */
static void engine_note(struct engine *g, size_t source, const char *op, const char *subject,
			const struct requester *who, int r, const struct err *e)
{
	int64_t id;
	struct err why = ERR_INIT;
	int q = journal_add(g->catalog, g->source[source].id, op, subject, who->uid, who->pid, who->program, &id, &why);
	if (q == 0)
		q = journal_state(g->catalog, id, r == 0 ? "done" : "failed", r == 0 ? NULL : e->msg, 0, 0, true, &why);
	if (q == 0)
		return;
	_cleanup_free_ char *what = xasprintf("%s %s", op, subject);
	engine_say_error(g, source, what, r < 0 ? e : &why);
}

static int find_id(struct engine *g, size_t source, const char *name, int64_t *ret, struct err *e)
{
	struct snapshot_info s;
	int r = catalog_find(g->catalog, g->source[source].id, name, &s, e);
	if (r < 0)
		return r;
	*ret = s.id;
	snapshot_info_done(&s);
	return 0;
}

int engine_rename(struct engine *g, size_t source, const char *from, const char *to, const struct requester *who,
		  struct err *e)
{
	struct err why = ERR_INIT;
	int64_t id = 0, pending;
	char name[256];
	int r = find_id(g, source, from, &id, &why);
	/* A pending snapshot has its name already, though no row says so yet. */
	if (r == 0 && engine_pending(g, source, &pending, name) == 0 && !strcmp(name, to))
		r = err_set(&why, EEXIST, "snapshot '%s' is being taken", to);
	if (r == 0)
		r = catalog_rename(g->catalog, id, to, &why);
	_cleanup_free_ char *subject = xasprintf("%s to %s", from, to);
	engine_note(g, source, "rename", subject, who, r, &why);
	if (r < 0) {
		if (e)
			*e = why;
		return r;
	}
	engine_tell(g, ENGINE_SNAPSHOTS_CHANGED, source, id, to);
	return 0;
}

int engine_remove(struct engine *g, size_t source, const char *name, const struct requester *who, struct err *e)
{
	struct err why = ERR_INIT;
	{
		MUTEX_GUARD(&g->mutex);
		struct job *j = g->source[source].job;
		if (j && j->snapshot_id && !strcmp(j->name, name)) {
			job_cancel(j); /* its own end tells the rest */
			return 0;
		}
	}
	int64_t id = 0;
	int r = find_id(g, source, name, &id, &why);
	if (r == 0)
		r = store_remove_snapshot(g->catalog, id, false, &why);
	engine_note(g, source, "remove", name, who, r, &why);
	if (r < 0) {
		if (e)
			*e = why;
		return r;
	}
	engine_tell(g, ENGINE_SNAPSHOT_GONE, source, id, name);
	engine_sweep(g);
	return 0;
}

int engine_prune(struct engine *g, size_t source, const struct keep_rules *rules, bool dry_run,
		 const struct requester *who, struct prune_list *ret, struct err *e)
{
	struct err why = ERR_INIT;
	int r = store_prune(g->catalog, g->source[source].id, rules, now_ms(), dry_run, who, ret, &why);
	if (r < 0) {
		if (!dry_run)
			engine_note(g, source, "prune", "", who, r, &why);
		if (e)
			*e = why;
		return r;
	}
	for (size_t i = 0; i < ret->n && !dry_run; i++)
		if (!ret->v[i].item.keep)
			engine_tell(g, ENGINE_SNAPSHOT_GONE, source, ret->v[i].item.id, ret->v[i].name);
	return 0;
}

int engine_compact(struct engine *g, struct err *e)
{
	struct repack done = {0};
	int r = store_sweep(g->catalog, e);
	if (r != 0)
		return r;
	r = store_repack(g->catalog, &done, e);
	store_shrink(g->catalog); /* also what was done before a damaged pack was met */
	return r < 0 ? r : done.busy;
}

int engine_hold(struct engine *g, size_t source, const char *name, bool hold, const struct requester *who,
		struct err *e)
{
	struct err why = ERR_INIT;
	int64_t id = 0;
	int r = find_id(g, source, name, &id, &why);
	if (r == 0)
		r = catalog_hold(g->catalog, id, hold, &why);
	engine_note(g, source, hold ? "hold" : "release", name, who, r, &why);
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
	int r = restore_compare_live(j->engine->catalog, j->conn, safety_id, NULL, &j->ctl, NULL, e);
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
	struct catalog *c = j->engine->catalog;
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
	struct engine *g = j->engine;
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
	return journal_state(g->catalog, c->id, state, words, 0, 0, true, e);
}

/* Settles the source's open entries, j's own aside; j is connected. */
static int settle_all(struct job *j, struct err *e)
{
	struct engine *g = j->engine;
	for (;;) {
		_cleanup_(crashed_done) struct crashed c = {0};
		int r = journal_each(g->catalog, g->source[j->source].id, true, crashed_each, &c, e);
		if (r < 0 || !c.found || c.id == j->journal_id)
			return r;
		r = c.begun
			? settle_begun(j, &c, e)
			: journal_state(g->catalog, c.id, "interrupted", "the program ended during it", 0, 0, true, e);
		if (r < 0)
			return r;
	}
}

static void *settle_thread(void *arg)
{
	struct job *j = arg;
	struct engine *g = j->engine;
	struct err e = ERR_INIT;
	int r = job_connect(j, &e);
	if (r == 0)
		r = settle_all(j, &e);
	job_end(j, r, "done", NULL, &e);
	if (r == 0)
		(void)store_remove_unlisted(g->catalog, NULL);
	engine_sweep(g);
	engine_thread_ended(g);
	return NULL;
}

/* ---- import and restore ---- */

static int import_as(struct job *j, struct backup_tree *backup, const char *name, int64_t *ret_id, char *ret_name,
		     struct strbuf *report, struct err *e)
{
	struct engine *g = j->engine;
	int64_t taken = 0;
	int r = import_taken_ms(backup, &taken, e);
	char mine[64];
	if (r == 0 && name && !*name) {
		char stamp[32];
		snapshot_name_default(taken, stamp);
		(void)snprintf(mine, sizeof mine, "%s", stamp);
		for (int n = 2; (r = name_is_free(g, j->source, mine, e)) == -EEXIST; n++)
			(void)snprintf(mine, sizeof mine, "%s-%d", stamp, n);
		name = mine;
	}
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int64_t base = newest_id(g, j->source);
	while (r == 0) {
		r = snapshot_writer_new(&w, g->catalog, g->source[j->source].id, taken, e);
		/* Noted before it is there: what was imported is never "now", and an unlisted target is somebody's. */
		if (r == 0)
			r = journal_state(g->catalog, j->journal_id, "running", NULL, 0, snapshot_writer_id(w), false,
					  e);
		if (r == 0)
			r = import_run(g->catalog, backup, w, g->source[j->source].id, base, name, &j->ctl, report, e);
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

int engine_import(struct engine *g, size_t source, struct backup_tree *backup, const char *name,
		  const struct requester *who, struct waiter *w, int64_t *ret_id, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	int r = name ? snapshot_name_check(name, e) : 0;
	if (r == 0 && name)
		r = name_is_free(g, source, name, e);
	if (r == 0)
		r = job_begin(g, source, "import", name ? name : "(default name)", who, w, &j, e);
	if (r < 0)
		return r;
	char got[256] = "";
	r = import_as(j, backup, name ? name : "", ret_id, got, report, &why);
	if (r < 0 && e)
		*e = why;
	int64_t id = r == 0 ? *ret_id : 0;
	job_end(j, r, "done", NULL, &why);
	if (r == 0)
		engine_tell(g, ENGINE_SNAPSHOTS_CHANGED, source, id, got);
	else
		engine_sweep(g);
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
		MUTEX_GUARD(&j->engine->mutex);
		if (!j->engine->closing)
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

int engine_restore(struct engine *g, size_t source, const struct restore_request *rq, const struct requester *who,
		   struct waiter *w, struct restore_plan *ret_plan, struct strbuf *report, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	*ret_plan = (struct restore_plan){0};
	if (rq->policy == RESTORE_OFF)
		return err_set(e, EPERM,
			       "restore = off for this source (set restore = empty or replace in its configuration)");
	int r = job_begin(g, source, rq->dry_run ? "plan" : "restore", rq->label ? rq->label : "", who, w, &j, e);
	if (r < 0)
		return r;
	int64_t target = rq->snapshot_id, imported = 0;
	/* Held to the end: the target may be removed meanwhile, or be one that is not listed, but its rows stay. */
	r = j->keep_fd = store_lock(g->catalog, STORE_LOCK_WRITERS, false, &why);
	r = r > 0 ? 0 : r;
	if (r == 0 && rq->backup) {
		r = import_as(j, rq->backup, NULL, &imported, NULL, report, &why);
		target = imported;
	}
	if (r == 0)
		r = job_connect(j, &why);
	if (r == 0 && !rq->dry_run)
		r = settle_all(j, &why);
	struct restore rs = {.catalog = g->catalog,
			     .conn = j->conn,
			     .source_id = g->source[source].id,
			     .base_id = newest_id(g, source),
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
		(void)store_remove_snapshot(g->catalog, imported, true, NULL);
	job_end(j, r, rq->dry_run ? "done" : "committed", strbuf_str(&said), &why);
	if (safety_id)
		engine_tell(g, ENGINE_SNAPSHOTS_CHANGED, source, safety_id, safety);
	if (imported || r < 0)
		engine_sweep(g);
	return r;
}

int engine_put_row(struct engine *g, size_t source, const char *table, const char *file_name, const char *text,
		   size_t len, const struct requester *who, struct waiter *w, struct err *e)
{
	struct err why = ERR_INIT;
	struct job *j = NULL;
	if (g->source[source].config->restore != RESTORE_REPLACE)
		return err_set(e, EPERM, "writing a row needs restore = replace for this source");
	_cleanup_free_ char *subject = xasprintf("%s/%s", table, file_name);
	int r = job_begin(g, source, "put", subject, who, w, &j, e);
	if (r < 0)
		return r;
	r = job_connect(j, &why);
	if (r == 0)
		r = settle_all(j, &why);
	struct restore rs = {.catalog = g->catalog,
			     .conn = j->conn,
			     .source_id = g->source[source].id,
			     .base_id = newest_id(g, source),
			     .policy = g->source[source].config->restore,
			     .journal_id = j->journal_id,
			     .job = &j->ctl};
	if (r == 0)
		r = restore_put_row(&rs, table, file_name, text, len, &why);
	if (r < 0 && rs.uncertain)
		r = restore_settle(j, &rs, r, &why);
	if (r < 0 && e)
		*e = why;
	int64_t safety_id = rs.safety_id;
	char safety[64];
	(void)snprintf(safety, sizeof safety, "%s", rs.safety_name);
	job_end(j, r, "committed", NULL, &why);
	if (safety_id)
		engine_tell(g, ENGINE_SNAPSHOTS_CHANGED, source, safety_id, safety);
	return r;
}

int engine_verify_live(struct engine *g, size_t source, int64_t snapshot_id, struct waiter *w, struct restore_plan *ret,
		       struct err *e)
{
	struct err why = ERR_INIT;
	struct requester who;
	struct job *j = NULL;
	requester_self(&who);
	*ret = (struct restore_plan){0};
	int r = job_begin(g, source, "verify", "live", &who, w, &j, e);
	if (r < 0)
		return r;
	r = job_connect(j, &why);
	if (r == 0)
		r = restore_compare_live(g->catalog, j->conn, snapshot_id, NULL, &j->ctl, ret, &why);
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
	struct engine *g = l->engine;
	MUTEX_GUARD(&g->mutex);
	while (!c && l->cancellers)
		(void)pthread_cond_wait(&g->changed, &g->mutex);
	l->conn = c;
	return c && (l->cancelled || g->closing) ? err_set(e, EINTR, "interrupted") : 0;
}

static int preflight_look(struct engine *g, size_t source, struct look *l, struct waiter *w, struct strbuf *out,
			  struct err *e)
{
	struct preflight_report report = {0};
	struct preflight_request rq = {.source = g->source[source].config,
				       .label = g->source[source].config->name,
				       .catalog = g->catalog,
				       .source_id = g->source[source].id,
				       .waiter = w,
				       .connected = look_connected,
				       .arg = l};
	int r = preflight_run(&rq, &report, e);
	if (r == 0)
		preflight_text(&report, out);
	preflight_report_done(&report);
	return r;
}

/* Whether the text that is there will do; waits while another one is being made. With engine.mutex held. */
static int preflight_wait(struct engine *g, size_t source, const struct waiter *w, struct err *e)
{
	struct source_state *s = &g->source[source];
	while (s->preflight_running && !g->closing && !atomic_load(&w->interrupted))
		(void)pthread_cond_wait(&g->changed, &g->mutex);
	if (g->closing || atomic_load(&w->interrupted))
		return err_set(e, EINTR, "interrupted");
	return s->preflight.len && monotonic_ms() - s->preflight_ms < PREFLIGHT_FRESH_MS;
}

int engine_preflight(struct engine *g, size_t source, struct waiter *w, struct strbuf *out, int64_t *ret_at_ms,
		     struct err *e)
{
	struct source_state *s = &g->source[source];
	struct look l = {.engine = g, .waiter = w};
	struct strbuf text = {0};
	{
		MUTEX_GUARD(&g->mutex);
		int r = preflight_wait(g, source, w, e);
		if (r > 0) {
			strbuf_add(out, s->preflight.data, s->preflight.len);
			*ret_at_ms = s->preflight_ms;
		}
		if (r != 0)
			return r < 0 ? r : 0;
		s->preflight_running = true;
		l.next = g->looks;
		g->looks = &l;
	}
	int r = preflight_look(g, source, &l, w, &text, e);
	strbuf_adds(out, strbuf_str(&text));
	MUTEX_GUARD(&g->mutex);
	struct look **place = &g->looks;
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
	(void)pthread_cond_broadcast(&g->changed);
	return r;
}

/* ---- texts ---- */

void engine_progress(struct engine *g, size_t source, struct progress *ret)
{
	*ret = (struct progress){0};
	MUTEX_GUARD(&g->mutex);
	struct job *j = g->source[source].job;
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

void engine_status(struct engine *g, size_t source, struct strbuf *out)
{
	struct source_state *s = &g->source[source];
	_cleanup_free_ char *server = db_params_describe(&s->config->params);
	char when[40];
	strbuf_addf(out, "source: %s\nserver: %s\nrestore: %s\n", s->config->name, server,
		    restore_policy_name(s->config->restore));
	struct snapshot_info info;
	if (catalog_latest(g->catalog, s->id, &info, NULL) == 0) {
		time_text(info.taken_ms, when);
		strbuf_addf(out, "last snapshot: %s, %s, %zu tables, %" PRId64 " rows, %s %s%s%s\n", info.name, when,
			    info.n_tables, info.rows, info.engine, info.server_version,
			    info.app_version ? ", OpenMetadata " : "", info.app_version ? info.app_version : "");
		snapshot_info_done(&info);
	} else {
		strbuf_adds(out, "last snapshot: none\n");
	}
	struct progress p;
	engine_progress(g, source, &p);
	if (p.what[0]) {
		double seconds = (double)(now_ms() - p.started_ms) / 1000;
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
	MUTEX_GUARD(&g->mutex);
	if (s->last_error[0]) {
		time_text(s->last_error_ms, when);
		strbuf_addf(out, "last error: %s %s\n", when, s->last_error);
	} else {
		strbuf_adds(out, "last error: none\n");
	}
}

static int journal_line(void *arg, const struct journal_entry *j)
{
	struct strbuf *out = arg;
	char when[40];
	time_text(j->at_ms, when);
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

int engine_journal(struct engine *g, size_t source, struct strbuf *out, struct err *e)
{
	return journal_each(g->catalog, g->source[source].id, false, journal_line, out, e);
}

/* Jobs that ended with their process: a snapshot is simply not there; a restore that had begun has to be looked at. */
static int engine_recover(struct engine *g, size_t source, bool *ret_swept, struct err *e)
{
	struct source_state *s = &g->source[source];
	int fd = store_lock(g->catalog, STORE_LOCK_SOURCE + s->id, true, NULL);
	if (fd < 0)
		return 0; /* another process is at work: its entries are its own */
	int r = 0;
	bool begun = false;
	for (;;) {
		_cleanup_(crashed_done) struct crashed c = {0};
		r = journal_each(g->catalog, s->id, true, crashed_each, &c, e);
		if (r < 0 || !c.found)
			break;
		if (c.begun) {
			begun = true;
			break;
		}
		*ret_swept = true;
		r = journal_state(g->catalog, c.id, "interrupted", "the program ended during it", 0, 0, true, e);
		if (r < 0)
			break;
	}
	(void)close(fd);
	if (r < 0 || !begun)
		return r;
	struct requester who;
	struct job *j = NULL;
	requester_self(&who);
	r = job_begin(g, source, "settle", "after a crash", &who, NULL, &j, e);
	if (r < 0)
		return r == -EBUSY ? 0 : r;
	r = engine_thread(g, settle_thread, j, e);
	if (r < 0)
		job_end(j, r, "", NULL, e);
	return r;
}

int engine_open(struct engine **ret, const struct config *config, struct err *e)
{
	_cleanup_(cleanup_engine) struct engine *g = xcalloc(1, sizeof *g);
	g->config = config;
	(void)pthread_mutex_init(&g->mutex, NULL);
	(void)pthread_cond_init(&g->changed, NULL);
	int r = catalog_open(&g->catalog, config->catalog_path, CATALOG_WRITE, e);
	if (r < 0)
		return r;
	(void)catalog_set_cache_bytes(g->catalog, (size_t)(config->cache_mb ? config->cache_mb : 32) << 20);
	g->source = xcalloc(config->n_sources, sizeof *g->source);
	for (size_t i = 0; i < config->n_sources; i++) {
		g->source[i].config = &config->sources[i];
		r = catalog_source(g->catalog, config->sources[i].name, &g->source[i].id, e);
		if (r < 0)
			return r;
		g->n_sources++;
	}
	bool swept = false;
	for (size_t i = 0; i < g->n_sources && r == 0; i++)
		r = engine_recover(g, i, &swept, e);
	if (r < 0)
		return r;
	if (swept) {
		(void)store_remove_unlisted(g->catalog, NULL);
		engine_sweep(g);
	}
	*ret = TAKE_PTR(g);
	return 0;
}

void engine_close(struct engine *g)
{
	if (!g)
		return;
	{
		MUTEX_GUARD(&g->mutex);
		g->closing = true;
		g->on_change = NULL;
		for (size_t i = 0; i < g->n_sources; i++)
			if (g->source[i].job)
				job_cancel(g->source[i].job);
		looks_cancel(g, NULL);
		(void)pthread_cond_broadcast(&g->changed);
		for (bool busy = true; busy;) {
			busy = g->threads > 0 || g->looks;
			for (size_t i = 0; i < g->n_sources; i++)
				busy = busy || g->source[i].job;
			if (busy)
				(void)pthread_cond_wait(&g->changed, &g->mutex);
		}
	}
	catalog_close(g->catalog);
	for (size_t i = 0; i < g->n_sources; i++)
		strbuf_done(&g->source[i].preflight);
	free(g->source);
	(void)pthread_cond_destroy(&g->changed);
	(void)pthread_mutex_destroy(&g->mutex);
	free(g);
}
