/*
 * snapshot/config/config.h - the configuration: an INI file (libinih), or one database URL.
 *
 *   [catalog]
 *     path=FILE
 *     cache_mb=N
 *   [source NAME]
 *     url=URL                           (drivers/params.h)
 *     password_file=FILE
 *     schema=NAME                       PostgreSQL only
 *     restore=off|empty|replace
 *     exclude=GLOB[,GLOB...]            tables
 *     connections=N
 *     now_max_age=SECONDS
 *     restore_confirm=yes|no
 *     restore_force=yes|no
 *     keep=RULE=N[ RULE=N...]           (keep.h)
 *     openmetadata_config=FILE
 *
 * An unknown section or key is an error (a misspelt `restore=` must not pass in silence).
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "drivers/driver.h"
#include "snapshot/config/keep.h"
#include "snapshot/config/restore_policy.h"

struct source_config {
	char *name; /* [A-Za-z0-9._-]+, not starting with '.' */
	struct db_params params;
	char *password_file;
	enum restore_policy restore; /* default RESTORE_EMPTY */
	bool restore_confirm;
	bool restore_force;
	unsigned now_max_age_s;    /* default 60 */
	unsigned connections;      /* for one snapshot; 0: one for each processor, at most 4 */
	struct keep_rules keep;    /* what a prune keeps when it is not told; empty: not given */
	char *openmetadata_config; /* the server's YAML or environment file, for the preflight; NULL: not known */
};

#define CONNECTIONS_MAX 16
size_t config_connections(const struct source_config *s); /* 1 .. CONNECTIONS_MAX */

struct config {
	char *path; /* of the file; NULL when made from a URL */
	char *catalog_path;
	unsigned cache_mb; /* pack cache; default 32 */
	struct source_config *sources;
	size_t n_sources;
};

/* A file that others can read is refused when it holds a password (EACCES); the same for password_file. */
int config_load(struct config *ret, const char *path, struct err *e);
/* One source named `name` (NULL: the database's name, for sqlite the file name without suffix). */
int config_from_url(struct config *ret, const char *url, const char *name, struct err *e);
/* Default catalog: $METASNAP_CATALOG, else ${XDG_STATE_HOME:-~/.local/state}/metasnap/catalog.db. */
char *config_default_catalog(void);
/* Makes the folder of the default catalog; one that was named has to be there, lest a slip of the pen start a new one.
 */
int config_make_default_folder(const struct config *c, struct err *e);
/* Reads password files now (late, so that a rotated password is found); fills params.password. */
int config_read_password(struct source_config *s, struct err *e);
/* Connects to the source's database, with the password as it is now. */
int config_connect(const struct source_config *s, struct db_conn **ret, struct err *e);
void config_done(struct config *c);
