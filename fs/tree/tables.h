/*
 * fs/tree/tables.h - rows and tables by their inode numbers, for who writes into now/. Any thread.
 */
#pragma once

#include "fs/tree/tree.h"

/* The row behind a row's inode: name of its table, its file's name and text (out may be NULL). */
int tree_row_text(struct tree *t, uint64_t ino, struct strbuf *ret_table, struct strbuf *ret_name, struct strbuf *out,
		  struct err *e);
/* Table of a now/tables/T directory. */
int tree_now_table(struct tree *t, uint64_t ino, struct strbuf *ret_table, struct err *e);
