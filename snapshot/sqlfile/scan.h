/*
 * snapshot/sqlfile/scan.h - one pass over a whole `.sql` file before anything is done with it: its grammar, its tables,
 * and what its backslashes mean.
 */
#pragma once

#include "snapshot/sqlfile/read.h"

/* A table that the file names. */
struct sql_seen {
	struct sql_name name;
	uint64_t line; /* the first one */
};

/* What one pass over the whole file found. */
struct sql_scan {
	uint64_t statements, rows;
	uint8_t sha[ROW_SHA_LEN];
	bool backslashes; /* there are any in values */
	enum sql_backslashes reading;
	char why[160];           /* words on that reading, where it was a question */
	struct sql_seen *tables; /* each name once */
	size_t n_tables;
};
void sql_scan_done(struct sql_scan *c);

/*
 * Reads all of it and checks the grammar; a file without a statement is EBADMSG. mysql: backslashes are escapes. Else,
 * unless chosen: an odd number of backslashes side by side proves that they are not doubled. Without one, each document
 * (a value that begins with { or [) with backslashes is read both ways: what is a document one way only, is proof. No
 * backslash at all: no question. No proof, or one for each: EBADMSG with the line, for the two readings are different
 * data.
 */
int sql_scan(const struct sql_source *src, bool mysql, enum sql_choice choice, struct sql_scan *ret, struct err *e);
