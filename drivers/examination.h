/*
 * drivers/examination.h - what only SQL tells of a server and an account: settings, rights, counts, for a report.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A right that a snapshot or a restore needs and the account lacks. */
struct db_lack {
	char *right;     /* "SELECT on table tag" */
	char *statement; /* that gives it; several lacks may have the same one */
	bool restore;    /* only a restore needs it */
};

struct db_examination {
	char *account;      /* as the server names it; NULL: there are none */
	const char *hosted; /* who runs the server ("Amazon RDS"), where that shows; else NULL */
	/* The memory that one sort may use, as a new session gets it. setting NULL: the engine has none. */
	const char *setting;
	uint64_t setting_bytes;
	const char *setting_only; /* for whom that is so; NULL: it is the server's own value, for everybody */
	uint64_t *rows;           /* of each table of the schema, exact; NULL when no schema was given */
	bool measured;            /* of the one table: */
	uint64_t bytes, largest;  /* text of all its rows, of the largest */
	struct db_lack *lacks;
	size_t n_lacks;
};
void db_examination_done(struct db_examination *x);
/* Takes the two texts over. */
void db_examination_lack(struct db_examination *x, bool restore, char *right, char *statement);
