/*
 * snapshot/row/name.h - the name of a row's file ("...json"), a pure function of its key. Any thread.
 */
#pragma once

#include "snapshot/row/codec.h"

/* Appends the file name ("...json") of a key. */
void row_name(const struct row_codec *c, const void *key, size_t len, struct strbuf *name);
enum row_name_kind {
	ROW_NAME_EXACT,     /* *key is the key */
	ROW_NAME_SHORTENED, /* *key is what the keys of this name begin with: compare names */
};
/* Key of a file name: an enum row_name_kind. ENOENT: no row can have this name. */
int row_key_of_name(const struct row_codec *c, const char *name, struct strbuf *key);
