/*
 * base/slurp.c - see slurp.h.
 */
#include "base/slurp.h"

#include <errno.h>

int slurp(int fd, const char *path, size_t max, struct strbuf *out, struct err *e)
{
	size_t start = out->len;
	strbuf_reserve(out, max + 1);
	for (;;) {
		ssize_t n = read(fd, out->data + out->len, start + max + 1 - out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "%s", path);
		if (!n)
			return 0;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len - start > max)
			return err_set(e, EINVAL, "%s: too large (is it the right file?)", path);
	}
}
