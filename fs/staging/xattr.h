/*
 * fs/staging/xattr.h - extended attributes of staged nodes. Any thread.
 */
#pragma once

#include "fs/staging/staging.h"

int staging_setxattr(struct staging *s, int64_t id, const char *name, const void *value, size_t n, int flags);
int staging_getxattr(struct staging *s, int64_t id, const char *name, struct strbuf *out); /* ENODATA */
int staging_listxattr(struct staging *s, int64_t id, struct strbuf *out); /* names, each with its NUL */
int staging_removexattr(struct staging *s, int64_t id, const char *name);
