/*
 * snapshot/service/job.c - jobs: one at a time for a source, claimed under service.mutex, and by an OFD lock between
 * processes.
 *
 * Any thread. A job's conn_mutex guards its connections against being closed while another thread cancels them; it and
 * service.mutex are never held together.
 */
#include <errno.h>

#include "base/clock.h"
#include "snapshot/service/internal.h"

/* With service.mutex held, which is let go meanwhile: a driver's cancel may take seconds (MySQL's opens a connection),
 * and status and waiters go on. The job stays until its cancellers are done (job_end). */
void job_cancel(struct job *j)
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

void job_disconnect(struct job *j)
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
	free(j->scope);
	free(j);
}

void job_say_error(struct job *j, const struct err *e)
{
	_cleanup_free_ char *what = xasprintf("%s %s", journal_op_word(j->op), j->subject);
	service_say_error(j->service, j->source, what, e);
}

/* Makes it the source's job. Settling what a crash left comes first, and is nobody's fault: wait for it. */
static int job_claim(struct job *j, struct err *e)
{
	struct service *svc = j->service;
	struct source_state *s = &svc->source[j->source];
	const struct waiter *w = j->waiter;
	MUTEX_GUARD(&svc->mutex);
	while (s->job && s->job->op == JOURNAL_SETTLE && !svc->closing && !(w && atomic_load(&w->interrupted)))
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	if (w && atomic_load(&w->interrupted))
		return err_set(e, EINTR, "interrupted");
	if (svc->closing)
		return err_set(e, ESHUTDOWN, "shutting down");
	if (s->job)
		return err_set(e, EBUSY, "%s %s is running", journal_op_word(s->job->op), s->job->subject);
	s->job = j;
	return 0;
}

/* With service.mutex held: nobody finds the job from here on, and who was about to cancel it has done so. */
static void job_leave(struct job *j)
{
	struct service *svc = j->service;
	svc->source[j->source].job = NULL;
	(void)pthread_cond_broadcast(&svc->changed);
	while (j->cancellers)
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
}

/* Keeps other processes off, and opens the journal's entry. */
static int job_enter(struct job *j, const char *subject, const struct requester *who, struct err *e)
{
	struct service *svc = j->service;
	const struct source_state *s = &svc->source[j->source];
	j->lock_fd = store_lock(svc->catalog, STORE_LOCK_SOURCE + s->id, true, e);
	if (j->lock_fd == -EBUSY)
		return err_set(e, EBUSY, "another metasnap process runs a job for %s", s->config->name);
	if (j->lock_fd < 0)
		return j->lock_fd;
	int r = journal_add(svc->catalog, s->id, j->op, subject, who->uid, who->pid, who->program, &j->journal_id, e);
	if (r < 0)
		job_say_error(j, e); /* nothing else will tell of it */
	return r;
}

int job_begin(struct service *svc, size_t source, enum journal_op op, const char *subject, const struct requester *who,
	      struct waiter *w, struct job **ret, struct err *e)
{
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
	(void)snprintf(j->ctl.what, sizeof j->ctl.what, "%s %s: connecting", journal_op_word(op), subject);
	int r = job_claim(j, e);
	if (r < 0) {
		job_free(j);
		return r;
	}
	r = job_enter(j, subject, who, e);
	if (r < 0) {
		{
			MUTEX_GUARD(&svc->mutex);
			job_leave(j);
		}
		job_free(j);
		return r;
	}
	*ret = j;
	return 0;
}

void job_end(struct job *j, int r, enum journal_state done_state, const char *detail, struct err *e)
{
	struct service *svc = j->service;
	enum journal_state state = r == 0 ? done_state : r == -EINTR ? JOURNAL_INTERRUPTED : JOURNAL_FAILED;
	if (r < 0 && j->journal_end)
		state = j->journal_end;
	struct err journal = ERR_INIT;
	_cleanup_free_ char *open = j->unsettled && j->scope ? xasprintf("%s\t%s", j->scope, e->msg) : NULL;
	job_disconnect(j);
	if (r < 0)
		job_say_error(j, e);
	if (journal_state(svc->catalog, j->journal_id, state,
			  open    ? open
			  : r < 0 ? e->msg
				  : detail,
			  0, 0, !j->unsettled, &journal) < 0 &&
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
			*res = (struct result){.snapshot_id = snapshot_id, .warning = j->warning};
			if (r < 0)
				res->err = *e;
		}
		job_leave(j);
	}
	job_free(j);
	if (snapshot_id)
		service_tell(svc, r == 0 ? SERVICE_SNAPSHOTS_CHANGED : SERVICE_SNAPSHOT_GONE, source, snapshot_id,
			     name);
}

int job_open(const struct job *j, struct db_conn **ret, struct err *e)
{
	return config_connect(j->service->source[j->source].config, ret, e);
}

int job_connect(struct job *j, struct err *e)
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

void job_thread_ended(struct service *svc)
{
	MUTEX_GUARD(&svc->mutex);
	svc->threads--;
	(void)pthread_cond_broadcast(&svc->changed);
}

int job_thread(struct service *svc, void *(*fn)(void *), void *arg, struct err *e)
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
	job_thread_ended(svc);
	return err_sys(e, r, "starting a thread");
}
