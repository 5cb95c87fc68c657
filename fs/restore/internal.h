/*
 * fs/restore/internal.h - what the files that restore share. Only for these and their tests.
 */
#pragma once

#include <pthread.h>

#include "fs/restore/sets.h"
#include "snapshot/row/manifest.h"

struct restores_track;

struct restores {
	struct service *service;
	struct staging *staging;
	pthread_mutex_t mutex;
	struct restores_track *tracks;
};

/* ---- track.c ---- */

/* What is known of a set of row files while it is being copied in. */
struct restores_track {
	struct restores_track *next;
	int64_t top;
	pid_t pid;  /* who brought the last file */
	bool dated; /* a file was given a time, other than the one that means unfinished */
	bool known; /* manifest is */
	struct manifest manifest;
	int64_t tables;    /* node of tables/; 0: not seen yet */
	int64_t dir;       /* table that a file arrived in last */
	uint64_t expected; /* its files */
	uint64_t at_least; /* arrivals since, and what was there before */
};

/* The first two with the mutex held. */
struct restores_track *restores_track_of(struct restores *rs, int64_t top);
void restores_drop_track(struct restores *rs, int64_t top);
int restores_load_manifest(struct restores *rs, int64_t top, struct manifest *ret);

/* ---- texts.c ---- */

/* The set is a .sql file. */
bool restores_is_sql(struct restores *rs, int64_t top);
/* Replaces it; text NULL removes it. */
void restores_write_text(struct restores *rs, int64_t top, const char *text_name, const struct strbuf *text);
/* Why it was not restored, and how to go on; report may be NULL. */
void restores_write_error(struct restores *rs, int64_t top, const char *label, const struct err *e,
			  const struct strbuf *report);
