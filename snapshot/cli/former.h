/*
 * snapshot/cli/former.h - the connection options of OpenMetadata's former command line (`metadata backup`, `metadata
 * restore`), which people have in scripts:
 *   -H HOST -u USER [-p PASSWORD] -d DATABASE [--port PORT] [-s SCHEMA] [-o OPTION]... [-a ARGUMENT]...
 *   backup: [--output DIR]   restore: --input FILE.sql
 * A command that has these takes the place of its SOURCE from them: former_arguments makes the database URL that says
 * the same, and the rest of the program sees that. The main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum former_option {
	FORMER_HOST,
	FORMER_USER,
	FORMER_PASSWORD,
	FORMER_DATABASE,
	FORMER_PORT,
	FORMER_SCHEMA,
	FORMER_SETTING, /* -o and -a */
	FORMER_INPUT,
	FORMER_OUTPUT,
	FORMER_UPLOAD,
};

struct former {
	const char *host, *user, *database, *port, *schema; /* of argv */
	const char *input, *output;
	bool named;      /* one of those that name the database was given */
	char *password;  /* a copy; argv's own is wiped */
	char **settings; /* of -o and -a, NULL-terminated */
	size_t n_settings;
	char *url;     /* made by former_arguments; holds the password until cli_open hides it */
	char *args[3]; /* what stands for the command's arguments */
};

/* Takes one with its value. rest: the words behind it, of which -o and -a take those that look like settings; how many
 * were taken, or -errno. */
int former_take(struct former *f, enum former_option o, char *value, char **rest, size_t n_rest, struct err *e);
/* Whether the database was named by these options, so that SOURCE is not given. */
bool former_is_given(const struct former *f);
/* Makes url and args of what was taken: args[0] is the URL, args[1] the --input (NULL: none). EINVAL: one is missing,
 * or an option means nothing to metasnap. */
int former_arguments(struct former *f, struct err *e);
void former_done(struct former *f);
