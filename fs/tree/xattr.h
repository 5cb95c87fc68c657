/*
 * fs/tree/xattr.h - extended attributes in the namespace. Any thread.
 */
#pragma once

#include "fs/tree/tree.h"

int tree_getxattr(struct tree *t, uint64_t ino, const char *name, struct strbuf *out, struct err *e); /* ENODATA */
int tree_listxattr(struct tree *t, uint64_t ino, struct strbuf *out, struct err *e);
