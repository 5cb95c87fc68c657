/*
 * snapshot/config/path.c - paths made absolute, for a daemon leaves its working directory; and what a source may be
 * called, which is a path's part. No state; any thread.
 */
#include "snapshot/config/internal.h"

#include <errno.h>

int config_make_absolute(char **path, const char *dir, struct err *e)
{
	if (!*path || **path == '/')
		return 0;
	_cleanup_free_ char *here = dir ? xstrdup(dir) : getcwd(NULL, 0);
	if (!here)
		return err_sys(e, errno, "working directory");
	char *joined = xasprintf("%s/%s", strcmp(here, "/") ? here : "", *path);
	free(*path);
	*path = joined;
	return 0;
}

int config_dir_of(char **ret, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	*ret = slash ? xmemdup0(path, slash == path ? 1 : (size_t)(slash - path)) : getcwd(NULL, 0);
	return *ret ? config_make_absolute(ret, NULL, e) : err_sys(e, errno, "working directory");
}

int config_params_absolute(struct db_params *p, const char *dir, struct err *e)
{
	static const char *const files[] = {
	    "sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "ssl_ca", "ssl_cert", "ssl_key", "socket",
	};
	int r = strcmp(p->engine, "sqlite") ? 0 : config_make_absolute(&p->database, dir, e);
	if (r < 0)
		return r;
	for (size_t i = 0; p->options && p->options[i]; i += 2)
		for (size_t k = 0; k < sizeof files / sizeof files[0]; k++) {
			/* sslrootcert=system is libpq's word for the host's own authorities. */
			if (strcmp(p->options[i], files[k]) || !strcmp(p->options[i + 1], "system"))
				continue;
			r = config_make_absolute(&p->options[i + 1], dir, e);
			if (r < 0)
				return r;
		}
	return 0;
}

bool config_name_is_good(const char *name)
{
	size_t n = strlen(name);
	return n && n <= CONFIG_MAX_NAME && *name != '.' && strcmp(name, "README.txt") &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}
