/*
 * base/out_file.h - one file that is written whole or is not there, and never in the place of another.
 *
 * Written and synced under a temporary name beside the target, then renamed. Mode 0600: what is written may hold
 * credentials. Belongs to one thread. A caller that blocks SIGINT, SIGTERM and SIGHUP can have the writing stopped by
 * them: a pending one is looked for whenever bytes are written.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

struct out_file {
	char *path;
	char *parent;
	char *temp; /* NULL: not there, or it has its name */
	int fd;
	struct strbuf buffer; /* the caller appends to it and calls out_file_more */
};

/* EEXIST when the path exists. *f must be given to out_file_done also after a failure. */
int out_file_begin(struct out_file *f, const char *path, struct err *e);
/* Writes the buffer away once it is large. ENOSPC, EINTR. */
int out_file_more(struct out_file *f, struct err *e);
/* Gives the file its name. EEXIST: another one has it by now. */
int out_file_publish(struct out_file *f, struct err *e);
void out_file_done(struct out_file *f); /* what has no name by then is removed */

/* EINTR with words when a signal that ends programs is pending. */
int out_interrupted(struct err *e);
