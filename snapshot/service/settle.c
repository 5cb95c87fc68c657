/*
 * snapshot/service/settle.c - what a database holds after a crash in the middle of a restore, or after a COMMIT that
 * did not answer.
 *
 * Runs on the thread of the job that asks, connected; after a crash on one of its own.
 */
#include <errno.h>

#include "snapshot/restore/compare.h"
#include "snapshot/restore/restore.h"
#include "snapshot/restore/scope.h"
#include "snapshot/service/internal.h"

struct crashed {
	int64_t id, safety_id, target_id;
	bool begun, found;
	struct restore_scope scope;
};

static void crashed_done(struct crashed *c)
{
	restore_scope_done(&c->scope);
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
			      .begun = j->state == JOURNAL_BEGUN};
	if (c->begun)
		restore_scope_read(j->detail, &c->scope);
	return 0;
}

/* Whether the database, or these tables of it, is as it was before a restore: COMPARED_SAME or COMPARED_ROWS. The rows
 * say so: a restore that was undone changed no definition, and what changed one since is not asked for. */
static int compare_safety(struct job *j, int64_t safety_id, char *const *tables, struct err *e)
{
	int r = restore_compare_live(j->service->catalog, j->conn, safety_id, tables, &j->ctl, NULL, e);
	return r < 0 || r == COMPARED_ROWS ? r : COMPARED_SAME;
}

/*
 * Whether the database is as a restore was to leave it: COMPARED_SAME or COMPARED_ROWS. tables NULL: all of them.
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
	int target = restore_compare_live(c, j->conn, target_id, tables, &j->ctl, NULL, e);
	if (target != COMPARED_DEFINITIONS && target != COMPARED_COUNTERS)
		return target;
	if (!safety_id)
		return COMPARED_SAME;
	int safety = restore_compare_live(c, j->conn, safety_id, NULL, &j->ctl, NULL, e);
	if (safety < 0)
		return safety == -ENOENT ? COMPARED_SAME /* removed: there is nothing to tell the two apart by */
					 : safety;
	/* Counters move outside of transactions. */
	bool undone = safety == COMPARED_SAME || (safety == COMPARED_COUNTERS && target == COMPARED_DEFINITIONS);
	return undone ? COMPARED_ROWS : COMPARED_SAME;
}

/* Which of the two states the database holds after a crash in the middle of a restore; one transaction leaves no third.
 * -errno: not known yet, the entry stays open for the next try. */
static int settle_begun(struct job *j, const struct crashed *c, struct err *e)
{
	enum journal_state state = JOURNAL_UNKNOWN;
	const char *words =
	    "after a crash the database holds neither the state before nor after: it was written to since";
	int r = db_driver_of(j->conn)->settle(j->conn, e);
	if (r == 0)
		r = c->target_id ? compare_restored(j, c->safety_id, c->target_id, c->scope.tables, c->scope.entity, e)
				 : COMPARED_ROWS;
	/* A target that the restore itself makes is noted before it is there, and is there before COMMIT. */
	r = r == -ENOENT ? COMPARED_ROWS : r;
	if (r == COMPARED_SAME) {
		state = JOURNAL_COMMITTED;
		words = "found complete after a crash";
	} else if (r == COMPARED_ROWS && c->safety_id) {
		r = compare_safety(j, c->safety_id, c->scope.tables, e);
		if (r == COMPARED_SAME) {
			state = JOURNAL_ROLLED_BACK;
			words = "found unchanged after a crash";
		}
	}
	/* A snapshot that was removed meanwhile can no longer tell. */
	if (r < 0 && r != -ENOENT)
		return r;
	return journal_state(j->service->catalog, c->id, state, words, 0, 0, true, e);
}

/* A job that had not begun to change anything ended with its process. */
static int settle_interrupted(struct catalog *c, int64_t id, struct err *e)
{
	return journal_state(c, id, JOURNAL_INTERRUPTED, "the program ended during it", 0, 0, true, e);
}

int settle_all(struct job *j, struct err *e)
{
	struct service *svc = j->service;
	for (;;) {
		_cleanup_(crashed_done) struct crashed c = {0};
		int r = journal_each(svc->catalog, svc->source[j->source].id, true, crashed_each, &c, e);
		if (r < 0 || !c.found || c.id == j->journal_id)
			return r;
		r = c.begun ? settle_begun(j, &c, e) : settle_interrupted(svc->catalog, c.id, e);
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
	job_end(j, r, JOURNAL_DONE, NULL, &e);
	if (r == 0)
		(void)store_remove_unlisted(svc->catalog, ERR_DROP);
	service_sweep(svc);
	job_thread_ended(svc);
	return NULL;
}

/* Closes the entries that nothing has to be looked at for, up to the first other one. *ret_begun: there is one. */
static int recover_entries(struct service *svc, int64_t source_id, bool *ret_begun, bool *ret_swept, struct err *e)
{
	_cleanup_close_ int fd = store_lock(svc->catalog, STORE_LOCK_SOURCE + source_id, true, ERR_DROP);
	if (fd < 0)
		return 0; /* another process is at work: its entries are its own */
	for (;;) {
		_cleanup_(crashed_done) struct crashed c = {0};
		int r = journal_each(svc->catalog, source_id, true, crashed_each, &c, e);
		if (r < 0 || !c.found)
			return r;
		*ret_begun = c.begun;
		if (c.begun)
			return 0;
		*ret_swept = true;
		r = settle_interrupted(svc->catalog, c.id, e);
		if (r < 0)
			return r;
	}
}

int service_recover(struct service *svc, size_t source, bool *ret_swept, struct err *e)
{
	bool begun = false;
	int r = recover_entries(svc, svc->source[source].id, &begun, ret_swept, e);
	if (r < 0 || !begun)
		return r;
	struct requester who;
	struct job *j = NULL;
	requester_self(&who);
	r = job_begin(svc, source, JOURNAL_SETTLE, "after a crash", &who, NULL, &j, e);
	if (r < 0)
		return r == -EBUSY ? 0 : r;
	r = job_thread(svc, settle_thread, j, e);
	if (r < 0)
		job_end(j, r, JOURNAL_FAILED, NULL, e);
	return r;
}

/*
 * COMMIT failed, or its answer was lost: what does the database hold? On MySQL and MariaDB a commit is several steps,
 * and one that fails after the swap leaves the new tables in place. 0: the target, after a lost answer; else -errno and
 * words that say which. Where it cannot be found out now, the journal's entry stays open, and what was found is in it:
 * now/ depends on it.
 */
int settle_restore(struct job *j, const struct restore *rs, int commit, struct err *e)
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
		r = rs->target_id ? compare_restored(j, rs->safety_id, rs->target_id, rs->tables, rs->entity, &why)
				  : COMPARED_ROWS;
	if (r == COMPARED_SAME && commit == -ECONNRESET)
		return 0;
	if (r == COMPARED_SAME) {
		j->journal_end = JOURNAL_COMMITTED;
		return err_set(e, -commit, "%s (the database holds the restored state)", said.msg);
	}
	if (r == COMPARED_ROWS && rs->safety_id) {
		r = compare_safety(j, rs->safety_id, rs->tables, &why);
		if (r == COMPARED_SAME)
			return err_set(e, -commit, "%s (the database is unchanged)", said.msg);
	}
	if (r == COMPARED_ROWS) {
		j->journal_end = JOURNAL_UNKNOWN;
		return err_set(e, -commit, "%s (%s)", said.msg,
			       !rs->target_id  ? "the database is not as it was before: the row may be in it"
			       : rs->safety_id ? "the database holds neither state: it was written to since"
					       : "the database does not hold the restored state");
	}
	j->unsettled = true;
	j->journal_end = JOURNAL_BEGUN;
	return err_set(e, -commit, "%s; what the database holds is not known: %s", said.msg, why.msg);
}
