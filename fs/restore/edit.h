/*
 * fs/restore/edit.h - single rows written into now/tables/T/: kept in memory while the file is open, upserted when it is closed.
 *
 * A file that is written under another name first (rsync's ".x.json.Ab12Cd") is kept until it is renamed to a row's
 * name, which upserts it, or removed. The upsert's result is that of close() or rename(); a later close() of the same
 * bytes gets the same result without writing again. Policy `replace` only (EPERM). Any thread; lock: now.mutex, then
 * put.mutex; neither is held over a call out.
 */
#pragma once

#include "fs/tree/tree.h"

struct now;
struct put; /* one such file; a reference keeps it */

struct now *now_new(struct engine *g, struct tree *t);
void now_free(struct now *n);

/* A new file in a now/tables/T directory; EEXIST when such a name is being written already. */
int now_create(struct now *n, uint64_t dir, const char *name, mode_t mode, struct put **ret, struct err *e);
/* A row (INO_NOW_ROW) or a file that now_create made (INO_PUT), to be written; truncate: without its bytes. */
int now_open(struct now *n, uint64_t ino, bool truncate, struct put **ret, struct err *e);
void now_release(struct now *n, struct put *p);

uint64_t put_ino(const struct put *p); /* 0: that of the row it was opened by */
int put_read(struct put *p, uint64_t offset, size_t n, struct strbuf *out);
int put_write(struct put *p, uint64_t offset, const void *data, size_t n);
int put_truncate(struct put *p, uint64_t size);
/* True when close must wait for the database. */
bool put_is_due(struct put *p);
int now_flush(struct now *n, struct put *p, const struct requester *who, struct waiter *w, struct err *e);

int now_rename(struct now *n, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name,
	       const struct requester *who, struct waiter *w,
	       struct err *e);                                 /* ENOENT: no such file is being written */
int now_unlink(struct now *n, uint64_t dir, const char *name); /* ENOENT: as above */
int now_setattr(struct now *n, uint64_t ino, bool set_size, uint64_t size, struct tree_node *ret);
/* True while somebody has the row open for writing: cp -p sets times and modes then. */
bool now_row_is_open(struct now *n, uint64_t ino);
