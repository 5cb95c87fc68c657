/*
 * snapshot/job.c - see job.h. Any thread.
 */
#include "snapshot/job.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

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

void job_ctl_say(struct job_ctl *j, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	MUTEX_GUARD(&j->mutex);
	(void)vsnprintf(j->what, sizeof j->what, fmt, ap);
	va_end(ap);
}
