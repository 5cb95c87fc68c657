/*
 * snapshot/row/name.h - the name of a row's file ("...json"), a pure function of its key. Any thread.
 */
#pragma once

#include "snapshot/row/codec.h"

/* Appends the file name ("...json") of a key. */
void row_name(const struct row_codec *c, const void *key, size_t len, struct strbuf *name);
/* Key of a file name. 0: exact key in *key. 1: the name is a shortened one; *key is a prefix that the keys with this
 * name start with, compare names. ENOENT: no row can have this name. */
int row_key_of_name(const struct row_codec *c, const char *name, struct strbuf *key);
