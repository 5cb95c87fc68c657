/*
 * drivers/params.h - connection parameters, from a database URL and back to a text without the password.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct db_params {
	char *engine;   /* URL scheme: "postgresql", "mysql", "sqlite" */
	char *host;     /* NULL: the client library's default. A value that starts with '/' is a socket (directory) */
	char *user;     /* NULL: the client library's default */
	char *password; /* NULL: from the client library's own files (PGPASSFILE, service, ~/.my.cnf). Never printed */
	char *database; /* sqlite: the file's path */
	char *schema;   /* PostgreSQL: the schema to keep, default "public" */
	char **options; /* the URL's other key, value pairs in turn, NULL-terminated; an unknown key is refused */
	char **exclude; /* globs of tables left out (fnmatch), NULL-terminated; may be NULL */
	unsigned port;  /* 0: default */
	unsigned connect_timeout_ms; /* 0: 5000 */
};

/* Parses "scheme://user:password@host:port/database?key=value&..." or "sqlite:PATH" (percent-decoding each part).
 * EINVAL with words on anything not understood. db_params_done frees the members (password is wiped first). */
int db_params_parse(struct db_params *ret, const char *url, struct err *e);
void db_params_done(struct db_params *p);
/* The URL without its password, for status and logs. */
char *db_params_describe(const struct db_params *p);
/* Overwrites the password of a URL on the command line, so that it is not left where `ps` shows it. */
void db_params_hide_password(char *url);
bool db_params_excludes(const struct db_params *p, const char *table);
