/*
 * snapshot/service/service.h - the running service: sources, jobs and what they do to the catalog. Both programs stand on it.
 *
 * Any thread may call it. One job at a time runs for a source (EBUSY, also across processes); each job has a thread of
 * its own. Calls that wait take a `struct waiter`: another thread ends the wait by service_interrupt().
 * Locks: service.mutex only, never held over a driver or catalog call.
 */
#pragma once

#include "snapshot/capture/backup.h"
#include "snapshot/config/config.h"
#include "snapshot/job.h"
#include "snapshot/sqlfile/read.h"
#include "snapshot/store/catalog.h"

struct service;

/* Opens the catalog, settles what a crash left (half snapshots, journalled restores). config stays the caller's. */
int service_open(struct service **ret, const struct config *config, struct err *e);
/* Cancels running jobs, waits for them, closes the catalog. */
void service_close(struct service *svc);
struct catalog *service_catalog(struct service *svc);
size_t service_sources(const struct service *svc);
const struct source_config *service_source(const struct service *svc, size_t source);
int64_t service_source_id(const struct service *svc, size_t source);  /* catalog id */
int service_find_source(const struct service *svc, const char *name); /* index or -ENOENT */
void service_interrupt(struct service *svc, struct waiter *w);
DEFINE_CLEANUP(cleanup_service, struct service, service_close);

/* Called (from any thread, no lock held) after the set of snapshots of a source changed, or a status text did. */
enum service_event { SERVICE_SNAPSHOTS_CHANGED, SERVICE_SNAPSHOT_GONE };
void service_on_change(struct service *svc,
		       void (*fn)(void *arg, enum service_event ev, size_t source, int64_t snapshot_id,
				  const char *name),
		       void *arg);

/* ---- snapshots ---- */
/* Returns when the moment is fixed; the rows are taken in the background. name NULL: default name. *ret_id is the
 * snapshot's id, pending until it is complete. EEXIST, EINVAL, EBUSY, and the server's own refusals. */
int service_snapshot(struct service *svc, size_t source, const char *name, const struct requester *who, int64_t *ret_id,
		     struct err *e);
/* A snapshot that is still being taken: its id and name, 0; else -ENOENT. */
int service_pending(struct service *svc, size_t source, int64_t *ret_id, char name[256]);
/* Waits until snapshot `id` is complete: 0, or the errno of the capture, or EINTR. A complete one: 0 at once, cheap. */
int service_wait(struct service *svc, int64_t id, struct waiter *w, struct err *e);
/* Newest snapshot if younger than now_max_age or in use through now/, else a new one is taken and waited for. */
int service_now(struct service *svc, size_t source, const struct requester *who, struct waiter *w, int64_t *ret_id,
		struct err *e);
/* As above without taking one: ENOENT when one would have to be taken. Every call marks it as in use. */
int service_now_peek(struct service *svc, size_t source, int64_t *ret_id);
int service_rename(struct service *svc, size_t source, const char *from, const char *to, const struct requester *who,
		   struct err *e);
/* Cancels it when pending. EBUSY held. */
int service_remove(struct service *svc, size_t source, const char *name, const struct requester *who, struct err *e);
int service_hold(struct service *svc, size_t source, const char *name, bool hold, const struct requester *who,
		 struct err *e);

/* Removes what the rules do not want (store/prune.h), without freeing its space yet. */
struct keep_rules;
struct prune_list;
int service_prune(struct service *svc, size_t source, const struct keep_rules *rules, bool dry_run,
		  const struct requester *who, struct prune_list *ret, struct err *e);
/* Frees what no snapshot uses, also inside of packs, and gives the space back. 1: a snapshot is being taken, the next
 * time does the rest. */
int service_compact(struct service *svc, struct err *e);

/* ---- restore ---- */
struct table_plan {
	char *table;
	uint64_t inserts, updates, deletes;
};
struct restore_plan {
	struct table_plan *v;
	size_t n;
	bool rebuild;           /* the schema is made anew */
	char safety[64];        /* the snapshot of what was there before; "": none */
	struct strbuf counters; /* a line for each sequence and AUTO_INCREMENT that is set to another value */
};
void restore_plan_done(struct restore_plan *p);
void restore_plan_text(const struct restore_plan *p, struct strbuf *out);

struct restore_request {
	/* One of the three: */
	int64_t snapshot_id;        /* of this catalog */
	struct backup_tree *backup; /* imported first, verified against its manifest (EBADMSG) */
	const struct sql_file *sql; /* of the former command line; `tables` and `force` mean nothing then */
	const char *label;          /* for status and journal: "snapshots/x", "restore/x" */
	char **tables;              /* NULL: all; else NULL-terminated names */
	const char *entity; /* "TABLE/ROW", the row's file: only this entity; NULL: all. Not with backup or tables */
	bool dry_run;       /* only the plan */
	bool force;         /* other engine or application version */
	enum restore_policy policy; /* what may be done to the target */
};
/* Safety snapshot, difference, one transaction, verified, committed: returns the result. EPERM, ENOTEMPTY, EXDEV,
 * EBADMSG, ... *report (may be NULL) gets warnings and, on EBADMSG, where the backup differs, a line each. */
int service_restore(struct service *svc, size_t source, const struct restore_request *rq, const struct requester *who,
		    struct waiter *w, struct restore_plan *ret_plan, struct strbuf *report, struct err *e);
/* One row, by its file's text: upserted in one transaction (policy replace). */
int service_upsert_row(struct service *svc, size_t source, const char *table, const char *file_name, const char *text,
		       size_t len, const struct requester *who, struct waiter *w, struct err *e);

/* Verifies a backup and keeps it as a snapshot of the source. name NULL: default name of its moment. */
int service_import(struct service *svc, size_t source, struct backup_tree *backup, const char *name,
		   const struct requester *who, struct waiter *w, int64_t *ret_id, struct strbuf *report,
		   struct err *e);

/* ---- texts and progress ---- */
void service_status(struct service *svc, size_t source, struct strbuf *out);
/* What no job came of, as the status's last error. */
void service_say_error(struct service *svc, size_t source, const char *what, const struct err *e);
int service_journal(struct service *svc, size_t source, struct strbuf *out, struct err *e);

/* The report of openmetadata/preflight.h, at most a minute old; made by one caller at a time, others wait for it. *ret_at_ms: when
 * it was made (CLOCK_MONOTONIC). No job: it runs beside others and leaves nothing in the journal. EINTR. */
int service_preflight(struct service *svc, size_t source, struct waiter *w, struct strbuf *out, int64_t *ret_at_ms,
		      struct err *e);
#define PREFLIGHT_FRESH_MS 60000

void service_progress(struct service *svc, size_t source, struct progress *ret);

/* ---- compare ---- */
struct diff_sink {
	void *arg;
	/* kind: 'A' added, 'R' removed, 'C' changed (before and after given). Returns 0 to go on. */
	int (*row)(void *arg, const char *table, char kind, const struct stored_row *before,
		   const struct stored_row *after);
	/* A table that only one side has: kind 'A' or 'R'; its rows follow by `row`. May be NULL. */
	int (*table)(void *arg, const char *table, char kind);
};
int service_diff(struct service *svc, int64_t snapshot_a, int64_t snapshot_b, const struct diff_sink *sink,
		 struct err *e);
/* Every row of the snapshot is read, hashed and compared with its digests; the journal notes what came of it. *report:
 * a line for each damaged table. */
int service_verify(struct service *svc, int64_t snapshot_id, struct strbuf *report, struct err *e);
/* The live database against the snapshot: 0 equal; 1 differs, the plan says what; -errno. */
int service_verify_live(struct service *svc, size_t source, int64_t snapshot_id, struct waiter *w,
			struct restore_plan *ret, struct err *e);
/* Whole catalog: SQLite's integrity_check, every pack's SHA-256, every reference. */
int service_check(struct service *svc, struct strbuf *report, struct err *e);
/* Writes snapshot `id` to directory `path` (made; must not exist or be empty) in the archive's shape, fsynced. */
int service_export(struct service *svc, int64_t id, const char *path, struct err *e);
/* Writes it to file `path` (must not exist) as SQL for the client program of its engine. */
int service_export_sql(struct service *svc, int64_t id, const char *path, struct err *e);
