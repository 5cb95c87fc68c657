/*
 * fs/restore/sql_file.c - see sql_file.h.
 */
#include "fs/restore/sql_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "fs/staging/content.h"

#define PROC_EXITING 0x4 /* of the flags in /proc/PID/stat: the kernel is taking the process down */

/* A file of /proc/THREAD; false: there is none. */
static bool proc_read(pid_t thread, const char *name, char *out, size_t size)
{
	char path[64];
	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)thread, name);
	_cleanup_close_ int fd = thread > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = fd >= 0 ? read(fd, out, size - 1) : -1;
	out[n > 0 ? n : 0] = '\0';
	return n > 0;
}

pid_t restore_sql_writer(pid_t thread)
{
	char text[1024];
	const char *line = proc_read(thread, "status", text, sizeof text) ? strstr(text, "\nTgid:") : NULL;
	return line ? (pid_t)strtol(line + 6, NULL, 10) : 0;
}

bool restore_sql_is_close(pid_t writer, pid_t thread)
{
	char text[1024];
	unsigned flags = 0;
	if (restore_sql_writer(thread) != writer)
		return false;
	/* pid (name) state ppid pgrp session tty tpgid flags; the name may hold anything */
	const char *name_end = proc_read(thread, "stat", text, sizeof text) ? strrchr(text, ')') : NULL;
	if (!name_end || sscanf(name_end, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
		return writer == 0;
	return !(flags & PROC_EXITING);
}

bool restore_sql_is_rsync(const char *from, const char *to)
{
	size_t len = strlen(to);
	return *from == '.' && !strncmp(from + 1, to, len) && from[len + 1] == '.' && strlen(from + len + 2) == 6;
}

bool restore_sql_has_end(struct staging *s, const struct staged_node *n)
{
	char last = '\0';
	size_t got = 0;
	return n->size && staging_read(s, n->id, n->size - 1, &last, 1, &got) == 0 && got == 1 && last == '\n';
}

int restore_sql_read(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e)
{
	const struct restore_sql *f = arg;
	int r = staging_read(f->staging, f->node, offset, buf, n, ret_n);
	return r < 0 ? err_sys(e, -r, "reading the file") : 0;
}
