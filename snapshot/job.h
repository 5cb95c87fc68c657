/*
 * snapshot/job.h - a job as all that work on it see it: who asks, who waits, how far it is.
 *
 * What other threads read or set of these is atomic or under the named mutex; the rest belongs to one thread.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* Who asks; for the journal. */
struct requester {
	uid_t uid;
	pid_t pid;
	char program[32];
};
void requester_self(struct requester *ret);
void requester_of_pid(struct requester *ret, uid_t uid, pid_t pid); /* program from /proc/PID/comm */

/* Who waits. Another thread ends the wait. */
struct waiter {
	atomic_bool interrupted;
};

/* What a running job shows and obeys; shared with other threads. */
struct job_ctl {
	atomic_bool cancelled;
	_Atomic uint64_t rows_done, rows_total, bytes_done;
	pthread_mutex_t mutex; /* of what */
	char what[80];
};
void job_ctl_say(struct job_ctl *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How far a source's job is, as one look. */
struct progress {
	char what[80];                  /* "snapshot before-1.4: table_entity"; "" when no job runs */
	uint64_t rows_done, rows_total; /* total 0: unknown */
	uint64_t bytes_done;
	int64_t started_ms;
};
