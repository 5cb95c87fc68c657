/*
 * snapshot/config/internal.h - what the files of this folder share.
 */
#pragma once

#include "base/strbuf.h"
#include "drivers/driver.h"

struct config;

#define CONFIG_MAX_NAME 40 /* libinih keeps 49 bytes of "source NAME" */

/* What a source is that nothing is said of. */
#define CONFIG_SOURCE_INIT                                                                                             \
	{                                                                                                              \
		.restore = RESTORE_EMPTY, .now_max_age_s = 60                                                          \
	}

/* ---- path.c ---- */

/* Makes *path absolute below directory `dir` (NULL: the working directory, which a daemon is about to leave). */
int config_make_absolute(char **path, const char *dir, struct err *e);
int config_dir_of(char **ret, const char *path, struct err *e);
/* The files that a URL names: the database of sqlite, certificates and keys. */
int config_params_absolute(struct db_params *p, const char *dir, struct err *e);
/* Of a source; README.txt stands beside the sources' directories. */
bool config_name_is_good(const char *name);

/* ---- secret.c ---- */

/* Refuses a file with a password in it that others can read. `what` begins the words. */
int config_check_private(int fd, const char *what, const char *path, struct err *e);
/* Whole file of at most a megabyte. */
int config_slurp(int fd, const char *path, struct strbuf *out, struct err *e);

/* ---- file.c ---- */

/* Reads c->path; catalog_path stays NULL where the file names none. After a failure c holds what was read so far. */
int config_read_file(struct config *c, struct err *e);
