/*
 * fs/restore/sql_file.h - `.sql` files of OpenMetadata's former command line, copied into restore/: who has written
 * one, and its bytes for the service.
 *
 * Such a file is a set of its own (fs/staging/sets.h). It has no end mark, so that its end has to be told by who wrote
 * it: a copier closes what it has written to the end, and hears the restore's result from that close(). A close() of
 * another kind says nothing: a program that ends without closing (killed in the middle, for example) has its files
 * closed by the kernel, and a shell's `(cat a; cat b) > x.sql` is closed by each cat. rsync --partial gives also what
 * it has not finished its name, and then no time (or 1970). Any thread; no locks.
 */
#pragma once

#include "fs/staging/staging.h"
#include "snapshot/sqlfile/read.h"

/* The process of a thread that opens a file; 0: it cannot be known (another pid namespace). */
pid_t restore_sql_writer(pid_t thread);
/* Whether a close by `thread` says that `writer` is done: it is the same process, and it is not about to end. */
bool restore_sql_is_close(pid_t writer, pid_t thread);

/* `from` is what rsync calls a file until it names it `to`. */
bool restore_sql_is_rsync(const char *from, const char *to);
/* The file's last byte is a line end: else it is cut. */
bool restore_sql_has_end(struct staging *s, const struct staged_node *n);

struct restore_sql {
	struct staging *staging;
	int64_t node;
};
/* For sql_source; arg: a struct restore_sql. */
int restore_sql_read(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e);
