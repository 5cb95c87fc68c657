/*
 * snapshot/sqlfile/source.h - a `.sql` file: where its bytes come from, and what is known of it before it is read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The bytes of a file, from any offset. */
struct sql_source {
	/* As pread, but *ret_n is short only at the end. */
	int (*read)(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e);
	void *arg;
};

/* A source that reads the file open at *arg (an int). */
int sql_source_read_fd(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e);

/* What backslashes in its texts mean, as its owner says; see scan.h. */
enum sql_choice { SQL_CHOICE_AUTO, SQL_CHOICE_PLAIN, SQL_CHOICE_DOUBLED };

struct sql_file {
	struct sql_source source;
	enum sql_choice backslashes; /* means nothing on MySQL */
	bool mysql;                  /* for MySQL or MariaDB: backslashes are escapes */
};
