/*
 * snapshot/service/internal.h - what the files of snapshot/service/ share: the service's inside. For them only.
 *
 * service.mutex guards the source states, the jobs and their results; it is never held over a driver or catalog call.
 */
#pragma once

#include "drivers/driver.h"
#include "snapshot/job.h"
#include "snapshot/service/sources.h"
#include "snapshot/stream/stream.h"

struct backup_tree;
struct restore;

#define RESULTS_KEPT 128U

struct job {
	struct service *service;
	size_t source;
	enum journal_op op;
	char subject[256];
	int64_t snapshot_id; /* being taken; 0: none */
	char name[256];      /* of that snapshot */
	int64_t journal_id;
	enum journal_state journal_end; /* its last state when the job fails; 0: failed or interrupted */
	char *scope;    /* restore_scope_text of a restore; kept before the words of an entry that stays open */
	bool unsettled; /* the journal's entry stays open: what the database holds has to be looked up later */
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
	struct err warning; /* the snapshot is complete, and this has to be known; code 0: nothing */
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
	struct err err;     /* code 0: complete */
	struct err warning; /* what is to be said all the same; code 0: nothing */
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

/* ---- sources.c ---- */

void service_tell(struct service *svc, enum service_event ev, size_t source, int64_t snapshot_id, const char *name);
/* A short entry in the journal for what is done at once. */
void service_note(struct service *svc, size_t source, enum journal_op op, const char *subject,
		  const struct requester *who, int r, const struct err *e);
int64_t service_newest_id(struct service *svc, size_t source); /* 0: none */
int service_find_id(struct service *svc, size_t source, const char *name, int64_t *ret, struct err *e);
int service_name_is_free(struct service *svc, size_t source, const char *name, struct err *e); /* EEXIST */
/* The moment's default name, or that with a number behind it. */
int service_free_name(struct service *svc, size_t source, int64_t taken_ms, char ret[64], struct err *e);
/* Frees what an abandoned table or a removed snapshot left. Not worth failing a job that is done. */
void service_sweep(struct service *svc);

/* ---- job.c ---- */

/* Claims the source. The job is visible to status and wait from here on. EBUSY; who comes while a crash is settled
 * waits for that. w: whose interruption cancels it; may be NULL. */
int job_begin(struct service *svc, size_t source, enum journal_op op, const char *subject, const struct requester *who,
	      struct waiter *w, struct job **ret, struct err *e);
/* Ends the job: journal, last error, result for waiters; frees it. r: 0 or -errno with words in *e. */
void job_end(struct job *j, int r, enum journal_state done_state, const char *detail, struct err *e);
/* With service.mutex held, which is let go meanwhile. */
void job_cancel(struct job *j);
void job_say_error(struct job *j, const struct err *e);
int job_open(const struct job *j, struct db_conn **ret, struct err *e); /* one more connection */
int job_connect(struct job *j, struct err *e);                          /* the job's own */
void job_disconnect(struct job *j);
/* Runs fn on a thread that service_close waits for; fn calls job_thread_ended last. */
int job_thread(struct service *svc, void *(*fn)(void *), void *arg, struct err *e);
void job_thread_ended(struct service *svc);

/* ---- settle.c ---- */

/* Jobs that ended with their process: a snapshot is simply not there; a restore that had begun has to be looked at. */
int service_recover(struct service *svc, size_t source, bool *ret_swept, struct err *e);
/* Settles the source's open entries, j's own aside; j is connected. */
int settle_all(struct job *j, struct err *e);
/* After a commit of rs that returned `commit` with its words in *e: 0, the database holds the target; else -errno and
 * words that say what it holds. */
int settle_restore(struct job *j, const struct restore *rs, int commit, struct err *e);

/* ---- import.c ---- */

/* name NULL: not listed, "": the default name of its moment. ret_name (256 bytes) may be NULL. */
int job_import(struct job *j, struct backup_tree *backup, const char *name, int64_t *ret_id, char *ret_name,
	       struct strbuf *report, struct err *e);

/* ---- preflight.c ---- */

/* Cancels what looks for this waiter (NULL: for anybody). With service.mutex held, which is let go meanwhile. */
void looks_cancel(struct service *svc, const struct waiter *w);
