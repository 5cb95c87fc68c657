/*
 * snapshot/config/secret.c - files that may hold a password: who may read them, and their text. No state; any thread.
 */
#include "snapshot/config/internal.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/slurp.h"

#define CONFIG_MAX_FILE (1 << 20)

int config_check_private(int fd, const char *what, const char *path, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "%s %s", what, path);
	if (st.st_mode & 077)
		return err_set(e, EACCES, "%s %s holds a password and others can read it (chmod 600 it)", what, path);
	if (st.st_uid && st.st_uid != geteuid())
		return err_set(e, EACCES, "%s %s holds a password and belongs to another user (chown it)", what, path);
	return 0;
}

int config_slurp(int fd, const char *path, struct strbuf *out, struct err *e)
{
	int r = slurp(fd, path, CONFIG_MAX_FILE, out, e);
	if (r < 0)
		return r;
	return out->len && memchr(out->data, '\0', out->len) ? err_set(e, EINVAL, "%s: not a text file", path) : 0;
}
