/*
 * fs/staging/content.h - the bytes of staged files. Any thread.
 */
#pragma once

#include "fs/staging/staging.h"

int staging_read(struct staging *s, int64_t id, uint64_t offset, void *buf, size_t n, size_t *ret_n);
int staging_write(struct staging *s, int64_t id, uint64_t offset, const void *buf, size_t n);
