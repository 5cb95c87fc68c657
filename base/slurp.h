/*
 * base/slurp.h - a small file as one text. Any thread; no state.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

/* Appends what is left to read of fd, at most `max` bytes: EINVAL when there is more. `path` begins the words. The
 * buffer grows once, before anything is in it: a file may hold a password, and a buffer that grows leaves copies behind
 * (strbuf_wipe). */
int slurp(int fd, const char *path, size_t max, struct strbuf *out, struct err *e);
