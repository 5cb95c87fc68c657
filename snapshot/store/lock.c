/*
 * snapshot/store/lock.c - see lock.h. Any thread; no state but the descriptors that are given out.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <fcntl.h>

int store_lock(struct catalog *c, int64_t byte, bool exclusive, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s-lock", c->path);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	struct flock fl = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	/* Open-file-description locks: they end with this descriptor and do not mix with SQLite's own POSIX locks. */
	/* A shared lock waits: only a sweep holds that byte alone, and not for long. */
	int q;
	do
		q = fcntl(fd, exclusive ? F_OFD_SETLK : F_OFD_SETLKW, &fl);
	while (q < 0 && errno == EINTR);
	if (q < 0)
		return errno == EAGAIN || errno == EACCES
			   ? err_set(e, EBUSY, "catalog %s: in use by another process or job", c->path)
			   : err_sys(e, errno, "%s", path);
	return TAKE_FD(fd);
}
