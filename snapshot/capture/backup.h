/*
 * snapshot/capture/backup.h - a backup outside of the catalog, as files: the shape of snapshots/NAME or archives/NAME.
 *
 * A struct backup_tree is how import and restore read one, wherever it lies: a directory (backup_dir.h) or the
 * staging area of the file system (fs/staging/staging.h). Used by one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strbuf.h"

struct backup_tree {
	/* Calls each(arg, name, is_dir) for the entries of directory `path` ("" is the top), any order, "." and ".."
	 * left out. each returns 0 to go on. ENOENT, ENOTDIR. */
	int (*list)(struct backup_tree *t, const char *path, int (*each)(void *arg, const char *name, bool is_dir),
		    void *arg, struct err *e);
	/* Whole file into *out (replaced). ENOENT. */
	int (*slurp)(struct backup_tree *t, const char *path, struct strbuf *out, struct err *e);
	/* n bytes at offset; *ret_n < n only at the end of the file. */
	int (*read)(struct backup_tree *t, const char *path, uint64_t offset, void *buf, size_t n, size_t *ret_n,
		    struct err *e);
	int (*size)(struct backup_tree *t, const char *path, uint64_t *ret, struct err *e); /* ENOENT; EISDIR */
	void (*close)(struct backup_tree *t);
};
static inline void backup_close(struct backup_tree *t)
{
	if (t)
		t->close(t);
}
DEFINE_CLEANUP(cleanup_backup, struct backup_tree, backup_close);

/* Names that copying tools leave and that are no part of a backup: ".x" other than .table.json, "x~", "x.swp", ...
 * True for a name that can be part of one. `in_table`: the directory holds row files. */
bool backup_name_counts(const char *name, bool in_table);
