/*
 * snapshot/capture/internal.h - what the files of snapshot/capture/ share. For them only.
 */
#pragma once

#include "snapshot/capture/backup.h"
#include "snapshot/capture/capture.h"

/* ---- changed.c ---- */

/* Reads only what changed since the mark. 0: done; -ESTALE, -EDOM: the whole table must be read. */
int capture_changes(struct capture *cp, const struct db_table *t, const struct version_info *base, const char *mark,
		    struct err *e);

/* ---- import_check.c ---- */

struct import {
	struct catalog *catalog;
	struct backup_tree *tree;
	struct snapshot_writer *writer;
	struct names_update *names;
	struct job_ctl *job;
	struct strbuf *report;
	int64_t source_id;
	struct hasher *hasher;
	struct strbuf sums; /* SHA256SUMS; empty: none */
	bool archive;
	bool bad; /* some table was refused; the words are in report */
	struct err first;
};
/* A line of the report; the import is refused. */
void import_say(struct import *im, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Refuses it when SHA256SUMS, where there is one, does not have the file with this sum. */
void import_check_sum(struct import *im, const char *path, const uint8_t sha[ROW_SHA_LEN]);

/* ---- lines.c ---- */

struct lines {
	struct import *im;
	const char *path;
	uint64_t offset;
	struct strbuf buf;
	size_t at;
	bool end;
};
/* 1 and the next line, valid until the next call; 0 at the end. A last line without newline is an error: the file was
 * cut. */
int lines_next(struct lines *l, const char **line, size_t *len, struct err *e);

/* ---- import_table.c ---- */

/* path: of the .jsonl, or the directory of row files. What does not match is said, and no failure. */
int import_table(struct import *im, const struct db_table *t, const struct manifest_table *want, const char *path,
		 const struct version_list *base, struct err *e);
