/*
 * fs/restore/edit.h - single rows written into now/tables/T/: kept in memory while the file is open, upserted when it
 * is closed.
 *
 * A file that is written under another name first (rsync's ".x.json.Ab12Cd") is kept until it is renamed to a row's
 * name, which upserts it, or removed. The upsert's result is that of close() or rename(); a later close() of the same
 * bytes gets the same result without writing again. Policy `replace` only (EPERM). Any thread; lock: edits.mutex, then
 * edit.mutex; neither is held over a call out.
 */
#pragma once

#include "fs/tree/tree.h"

struct edits;
struct edit; /* one such file; a reference keeps it */

struct edits *edits_new(struct service *svc, struct tree *t);
void edits_free(struct edits *n);

/* A new file in a now/tables/T directory; EEXIST when such a name is being written already. */
int edits_create(struct edits *n, uint64_t dir, const char *name, mode_t mode, struct edit **ret, struct err *e);
/* A row (INO_NOW_ROW) or a file that edits_create made (INO_EDIT), to be written; truncate: without its bytes. */
int edits_open(struct edits *n, uint64_t ino, bool truncate, struct edit **ret, struct err *e);
void edits_release(struct edits *n, struct edit *p);

uint64_t edit_ino(const struct edit *p); /* 0: that of the row it was opened by */
int edit_read(struct edit *p, uint64_t offset, size_t n, struct strbuf *out);
int edit_write(struct edit *p, uint64_t offset, const void *data, size_t n);
int edit_truncate(struct edit *p, uint64_t size);
/* True when close must wait for the database. */
bool edit_is_due(struct edit *p);
int edits_flush(struct edits *n, struct edit *p, const struct requester *who, struct waiter *w, struct err *e);

int edits_rename(struct edits *n, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name,
		 const struct requester *who, struct waiter *w,
		 struct err *e);                                   /* ENOENT: no such file is being written */
int edits_unlink(struct edits *n, uint64_t dir, const char *name); /* ENOENT: as above */
int edits_setattr(struct edits *n, uint64_t ino, bool set_size, uint64_t size, struct tree_node *ret);
/* True while somebody has the row open for writing: cp -p sets times and modes then. */
bool edits_row_is_open(struct edits *n, uint64_t ino);
