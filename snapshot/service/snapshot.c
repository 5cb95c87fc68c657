/*
 * snapshot/service/snapshot.c - snapshots: taken, waited for, renamed, held, removed.
 *
 * The moment is fixed on the caller's thread; the rows are taken on one of the job's own. Locks: service.mutex.
 */
#include "snapshot/service/snapshot.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "snapshot/capture/capture.h"
#include "snapshot/service/internal.h"
#include "snapshot/store/prune.h"

#define WORTH_CONNECTING 20000 /* rows: a connection costs some milliseconds */

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
	/* The snapshot is whole: that another is not, or that its index is missing, has to be known. */
	j->warning = cp.damage.code ? cp.damage : cp.lost;
	if (r == 0 && j->warning.code)
		job_say_error(j, &j->warning);
	char detail[sizeof e.msg + 96];
	/* Not the progress: what was read twice counts twice there. */
	(void)snprintf(detail, sizeof detail, "%" PRIu64 " rows, %" PRIu64 " bytes stored%s%s",
		       snapshot_writer_rows(j->writer), snapshot_writer_bytes(j->writer), j->warning.code ? "; " : "",
		       j->warning.msg);
	job_end(j, r, JOURNAL_DONE, detail, &e);
	if (waste)
		service_sweep(svc);
	job_thread_ended(svc);
	return NULL;
}

static int snapshot_start(struct job *j, const char *name, struct err *e)
{
	struct service *svc = j->service;
	int r = job_connect(j, e);
	if (r < 0)
		return r;
	r = db_driver_of(j->conn)->begin(j->conn, DB_READ, &j->schema, e);
	if (r < 0)
		return r;
	int64_t taken = clock_ms();
	j->base_id = service_newest_id(svc, j->source);
	r = snapshot_writer_new(&j->writer, svc->catalog, svc->source[j->source].id, taken, e);
	if (r < 0)
		return r;
	char mine[64];
	if (!name) {
		r = service_free_name(svc, j->source, taken, mine, e);
		if (r < 0)
			return r;
		name = mine;
	}
	MUTEX_GUARD(&svc->mutex);
	(void)snprintf(j->name, sizeof j->name, "%s", name);
	(void)snprintf(j->subject, sizeof j->subject, "%s", j->name);
	j->snapshot_id = snapshot_writer_id(j->writer);
	return 0;
}

int service_snapshot(struct service *svc, size_t source, const char *name, const struct requester *who, int64_t *ret_id,
		     struct err *e)
{
	struct job *j = NULL;
	int r = name ? snapshot_name_check(name, e) : 0;
	if (r < 0)
		return r;
	r = name ? service_name_is_free(svc, source, name, e) : 0;
	if (r < 0)
		return r;
	r = job_begin(svc, source, JOURNAL_SNAPSHOT, name ? name : "(default name)", who, NULL, &j, e);
	if (r < 0)
		return r;
	struct err why = ERR_INIT;
	r = snapshot_start(j, name, &why);
	int64_t id = j->snapshot_id;
	if (r == 0)
		r = job_thread(svc, snapshot_thread, j, &why);
	if (r < 0) {
		job_end(j, r, JOURNAL_FAILED, NULL, &why);
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

/* With service.mutex held: how snapshot `id`, which is not pending, ended. */
static int service_result(const struct service *svc, int64_t id, struct err *e)
{
	for (unsigned i = 0; i < RESULTS_KEPT; i++)
		if (svc->result[i].snapshot_id == id && svc->result[i].err.code) {
			*e = svc->result[i].err;
			return -svc->result[i].err.code;
		}
	return 0;
}

int service_wait(struct service *svc, int64_t id, struct waiter *w, struct err *e)
{
	MUTEX_GUARD(&svc->mutex);
	while (service_is_pending(svc, id)) {
		if (w && atomic_load(&w->interrupted))
			return err_set(e, EINTR, "interrupted (the snapshot goes on)");
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	}
	return service_result(svc, id, e);
}

bool service_warning(struct service *svc, int64_t id, struct err *ret)
{
	MUTEX_GUARD(&svc->mutex);
	for (unsigned i = 0; i < RESULTS_KEPT; i++)
		if (svc->result[i].snapshot_id == id && svc->result[i].warning.code) {
			*ret = svc->result[i].warning;
			return true;
		}
	return false;
}

int service_rename(struct service *svc, size_t source, const char *from, const char *to, const struct requester *who,
		   struct err *e)
{
	struct err why = ERR_INIT;
	int64_t id = 0, pending;
	char name[256];
	int r = service_find_id(svc, source, from, &id, &why);
	/* A pending snapshot has its name already, though no row says so yet. */
	if (r == 0 && service_pending(svc, source, &pending, name) == 0 && !strcmp(name, to))
		r = err_set(&why, EEXIST, "snapshot '%s' is being taken", to);
	if (r == 0)
		r = catalog_rename(svc->catalog, id, to, &why);
	_cleanup_free_ char *subject = xasprintf("%s to %s", from, to);
	service_note(svc, source, JOURNAL_RENAME, subject, who, r, &why);
	if (r < 0) {
		*e = why;
		return r;
	}
	service_tell(svc, SERVICE_SNAPSHOTS_CHANGED, source, id, to);
	return 0;
}

/* Cancels the snapshot of this name if it is being taken, and waits for its end: in its last transaction a cancel comes
 * too late. 1 and *ret_id: it is there all the same; 0: it is not; -ENOENT: none of that name is being taken. */
static int service_cancel_pending(struct service *svc, size_t source, const char *name, int64_t *ret_id)
{
	MUTEX_GUARD(&svc->mutex);
	struct job *j = svc->source[source].job;
	if (!j || !j->snapshot_id || strcmp(j->name, name) != 0)
		return -ENOENT;
	*ret_id = j->snapshot_id;
	job_cancel(j);
	while (service_is_pending(svc, *ret_id))
		(void)pthread_cond_wait(&svc->changed, &svc->mutex);
	return service_result(svc, *ret_id, ERR_DROP) == 0;
}

int service_remove(struct service *svc, size_t source, const char *name, const struct requester *who, struct err *e)
{
	struct err why = ERR_INIT;
	int64_t id = 0;
	int r = service_cancel_pending(svc, source, name, &id);
	if (r == 0)
		return 0; /* its own end has told the rest */
	r = r == -ENOENT ? service_find_id(svc, source, name, &id, &why) : 0;
	if (r == 0)
		r = store_remove_snapshot(svc->catalog, id, false, &why);
	service_note(svc, source, JOURNAL_REMOVE, name, who, r, &why);
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
			service_note(svc, source, JOURNAL_PRUNE, "", who, r, &why);
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
	int r = service_find_id(svc, source, name, &id, &why);
	if (r == 0)
		r = catalog_hold(svc->catalog, id, hold, &why);
	service_note(svc, source, hold ? JOURNAL_HOLD : JOURNAL_RELEASE, name, who, r, &why);
	if (r < 0)
		*e = why;
	return r;
}
