/*
 * base/strset.h - a set of strings: filled, sorted once, then asked. A zeroed one is empty. Not shared between threads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct strset {
	char **v; /* as added, until they are sorted; owned */
	size_t n;
};

void strset_done(struct strset *s);
void strset_add(struct strset *s, const char *text, size_t len);
/* Bytewise. */
void strset_sort(struct strset *s);
/* Of a sorted set. */
bool strset_has(const struct strset *s, const char *text);

#define _cleanup_strset_ _cleanup_(strset_done)
