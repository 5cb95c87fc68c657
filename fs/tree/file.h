/*
 * fs/tree/file.h - the bytes of the namespace's files. Any thread.
 */
#pragma once

#include "fs/tree/tree.h"

/* An open file. direct: the kernel must not cache it. */
struct tree_file;
int tree_file_open(struct tree *t, uint64_t ino, const struct tree_wait *w, struct tree_file **ret, bool *ret_direct,
		   struct err *e);
void tree_file_close(struct tree_file *f);
/* Appends at most n bytes at offset. f: what tree_file_open gave. */
int tree_read(struct tree *t, uint64_t ino, struct tree_file *f, uint64_t offset, size_t n, struct strbuf *out,
	      struct err *e);
/* An archive's table is read in place: 1 and the bytes (line_spans_done); 0: another file, for tree_read. */
int tree_read_spans(struct tree *t, struct tree_file *f, uint64_t offset, size_t n, struct line_spans *ret,
		    struct err *e);
