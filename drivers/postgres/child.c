/*
 * drivers/postgres/child.c - a program that runs beside us: started, read to its end, waited for, or stopped.
 *
 * Any thread; a struct pg_child belongs to one at a time. No locks.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/clock.h"

#define PG_MAX_STDERR 65536

struct pg_pipe {
	int fd;
	struct strbuf *out;
};

/* A failure is told last. */
static void pg_keep_tail(struct strbuf *words)
{
	if (words->len <= PG_MAX_STDERR)
		return;
	memmove(words->data, words->data + words->len - PG_MAX_STDERR, PG_MAX_STDERR);
	words->len = PG_MAX_STDERR;
	words->data[words->len] = '\0';
}

/* Reads both pipes until the child has closed them. -EINTR: cancelled, -ETIMEDOUT. c may be NULL. */
static int pg_read_pipes(struct pg_conn *c, struct pg_pipe *pipes, int timeout_ms)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
		struct pollfd fds[3] = {
		    {.fd = pipes[0].fd, .events = POLLIN},
		    {.fd = pipes[1].fd, .events = POLLIN},
		    {.fd = c ? c->wake : -1, .events = POLLIN},
		};
		if (c && pg_is_cancelled(c))
			return -EINTR;
		int64_t left = deadline - clock_mono_ms();
		int n = left > 0 ? poll(fds, 3, (int)left) : 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return -ETIMEDOUT;
		for (int i = 0; n > 0 && i < 2; i++) {
			char buffer[65536];
			if (!fds[i].revents)
				continue;
			ssize_t got = read(pipes[i].fd, buffer, sizeof buffer);
			if (got < 0 && errno == EINTR)
				continue;
			if (got <= 0) {
				(void)close(pipes[i].fd);
				pipes[i].fd = -1;
			} else {
				strbuf_add(pipes[i].out, buffer, (size_t)got);
				if (i == 1)
					pg_keep_tail(pipes[i].out);
			}
		}
	}
	return 0;
}

int pg_child_start(struct pg_child *ret, char *const argv[], char *const env[], int pass)
{
	int stdout_pipe[2] = {-1, -1}, stderr_pipe[2] = {-1, -1};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	pid_t pid;

	if (pipe2(stdout_pipe, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(stderr_pipe, O_CLOEXEC) < 0) {
		int r = -errno;
		(void)close(stdout_pipe[0]);
		(void)close(stdout_pipe[1]);
		return r;
	}
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	(void)posix_spawn_file_actions_adddup2(&actions, stdout_pipe[1], 1);
	(void)posix_spawn_file_actions_adddup2(&actions, stderr_pipe[1], 2);
	if (pass >= 0)
		(void)posix_spawn_file_actions_adddup2(&actions, pass, PG_CHILD_PASS_FD);
	(void)posix_spawnattr_init(&attr);
	/* Our threads block signals and ignore SIGPIPE; the child must not inherit that. */
	(void)sigemptyset(&none);
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	(void)sigaddset(&defaults, SIGTERM);
	(void)sigaddset(&defaults, SIGINT);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &defaults);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	int r = -posix_spawn(&pid, argv[0], &actions, &attr, argv, env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(stdout_pipe[1]);
	(void)close(stderr_pipe[1]);
	if (r < 0) {
		(void)close(stdout_pipe[0]);
		(void)close(stderr_pipe[0]);
		return r;
	}
	*ret = (struct pg_child){.pid = pid, .out = stdout_pipe[0], .words = stderr_pipe[0]};
	return 0;
}

int pg_child_end(struct pg_conn *c, struct pg_child *child, int timeout_ms, struct strbuf *out, struct strbuf *words)
{
	int status = 0;
	struct pg_pipe pipes[2] = {{child->out, out}, {child->words, words}};
	int r = pg_read_pipes(c, pipes, timeout_ms);
	if (r < 0)
		(void)kill(child->pid, SIGKILL);
	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!r)
		r = WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
	for (int i = 0; i < 2; i++)
		if (pipes[i].fd >= 0)
			(void)close(pipes[i].fd);
	*child = (struct pg_child){0};
	return r;
}

void pg_child_stop(struct pg_child *child)
{
	if (!child->pid)
		return;
	(void)kill(child->pid, SIGKILL);
	while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
		;
	(void)close(child->out);
	(void)close(child->words);
	*child = (struct pg_child){0};
}
