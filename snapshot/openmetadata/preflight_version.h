/*
 * snapshot/openmetadata/preflight_version.h - versions of OpenMetadata, compared. Any thread; no state.
 */
#pragma once

#include <stdbool.h>

/* "1.4.0": up to four numbers. */
struct preflight_version {
	unsigned part[4];
	bool known;
};
/* -EINVAL when the text is not one. */
int preflight_version_parse(struct preflight_version *ret, const char *text);
/* As strcmp. */
int preflight_version_compare(const struct preflight_version *a, const struct preflight_version *b);
