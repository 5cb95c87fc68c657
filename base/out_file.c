/*
 * base/out_file.c - a new file that is whole or not there. No locks; one thread at a time.
 */
#include "base/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>

#define OUT_FILE_CHUNK (1U << 20)

int out_interrupted(struct err *e)
{
	sigset_t set;
	if (!sigpending(&set) && (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) || sigismember(&set, SIGHUP)))
		return err_set(e, EINTR, "interrupted, nothing is left of it");
	return 0;
}

static int out_file_exists(const struct out_file *f, struct err *e)
{
	return err_set(e, EEXIST, "%s exists (name a new file)", f->path);
}

int out_file_begin(struct out_file *f, const char *path, struct err *e)
{
	struct stat st;
	*f = (struct out_file){.path = xstrdup(path), .fd = -1};
	if (!lstat(path, &st))
		return out_file_exists(f, e);
	if (errno != ENOENT)
		return err_sys(e, errno, "%s", path);
	_cleanup_free_ char *for_dir = xstrdup(path), *for_base = xstrdup(path);
	f->parent = xstrdup(dirname(for_dir));
	char *temp = xasprintf("%s/.%.200s.XXXXXX", f->parent, basename(for_base));
	f->fd = mkostemp(temp, O_CLOEXEC);
	if (f->fd < 0) {
		int r = err_sys(e, errno, "making a file in %s", f->parent);
		free(temp);
		return r;
	}
	f->temp = temp;
	return 0;
}

static int out_file_fail(const struct out_file *f, int code, struct err *e)
{
	if (code == ENOSPC || code == EDQUOT)
		return err_set(e, ENOSPC, "%s: no space left, nothing is left of it (free some, then try again)",
			       f->path);
	return err_sys(e, code, "writing %s", f->path);
}

static int out_file_flush(struct out_file *f, struct err *e)
{
	for (size_t at = 0; at < f->buffer.len;) {
		ssize_t done = write(f->fd, f->buffer.data + at, f->buffer.len - at);
		if (done < 0 && errno != EINTR)
			return out_file_fail(f, errno, e);
		at += done > 0 ? (size_t)done : 0;
	}
	strbuf_clear(&f->buffer);
	return out_interrupted(e);
}

int out_file_more(struct out_file *f, struct err *e)
{
	return f->buffer.len < OUT_FILE_CHUNK ? 0 : out_file_flush(f, e);
}

/* Not every file system knows a rename that replaces nothing; a link does not replace either. */
static int out_file_name(const struct out_file *f)
{
	if (!renameat2(AT_FDCWD, f->temp, AT_FDCWD, f->path, RENAME_NOREPLACE))
		return 0;
	if ((errno != EINVAL && errno != ENOSYS) || link(f->temp, f->path) < 0)
		return -errno;
	(void)unlink(f->temp);
	return 0;
}

int out_file_publish(struct out_file *f, struct err *e)
{
	int r = out_file_flush(f, e);
	if (r >= 0 && fsync(f->fd) < 0)
		r = out_file_fail(f, errno, e);
	/* Closing tells of late write errors (NFS, quotas). */
	if (r >= 0 && close(TAKE_FD(f->fd)) < 0)
		r = out_file_fail(f, errno, e);
	if (r < 0)
		return r;
	_cleanup_close_ int parent = open(f->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_sys(e, errno, "%s", f->parent);
	r = out_file_name(f);
	if (r == -EEXIST)
		return out_file_exists(f, e);
	if (r < 0)
		return err_sys(e, -r, "giving %s its name", f->path);
	free(TAKE_PTR(f->temp));
	return fsync(parent) < 0 ? err_sys(e, errno, "%s is written; syncing %s", f->path, f->parent) : 0;
}

void out_file_done(struct out_file *f)
{
	cleanup_close(&f->fd);
	if (f->temp)
		(void)unlink(f->temp);
	free(f->temp);
	free(f->path);
	free(f->parent);
	strbuf_done(&f->buffer);
	*f = (struct out_file){.fd = -1};
}
