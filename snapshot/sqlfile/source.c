/*
 * snapshot/sqlfile/source.c - see source.h. No state; any thread.
 */
#include "snapshot/sqlfile/source.h"

#include <errno.h>
#include <unistd.h>

int sql_source_read_fd(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e)
{
	*ret_n = 0;
	while (*ret_n < n) {
		ssize_t got = pread(*(int *)arg, (char *)buf + *ret_n, n - *ret_n, (off_t)(offset + *ret_n));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, errno, "reading the file");
		if (got == 0)
			break;
		*ret_n += (size_t)got;
	}
	return 0;
}
