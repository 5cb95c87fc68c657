/*
 * snapshot/openmetadata/preflight_version.c - see preflight_version.h.
 */
#include "snapshot/openmetadata/preflight_version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int preflight_version_parse(struct preflight_version *ret, const char *text)
{
	*ret = (struct preflight_version){0};
	for (size_t i = 0; i < 4; i++) {
		size_t n = strspn(text, "0123456789");
		if (!n || n > 6)
			return -EINVAL;
		ret->part[i] = (unsigned)strtoul(text, NULL, 10);
		text += n;
		if (!*text) {
			ret->known = i > 0; /* "1" says too little */
			return i > 0 ? 0 : -EINVAL;
		}
		if (*text++ != '.')
			return -EINVAL;
	}
	return -EINVAL;
}

int preflight_version_compare(const struct preflight_version *a, const struct preflight_version *b)
{
	for (size_t i = 0; i < 4; i++)
		if (a->part[i] != b->part[i])
			return a->part[i] < b->part[i] ? -1 : 1;
	return 0;
}
