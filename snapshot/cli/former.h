/*
 * snapshot/cli/former.h - the connection options of OpenMetadata's former command line (`metadata backup`, `metadata
 * restore`), which people have in scripts:
 *   -H HOST -u USER [-p PASSWORD] -d DATABASE [--port PORT] [-s SCHEMA] [-o OPTION]... [-a ARGUMENT]...
 *   backup: [--output DIR]   restore: --input FILE.sql
 * A command that has these takes the place of its SOURCE from them: cli_old_arguments makes the database URL that says
 * the same, and the rest of the program sees that. The main thread only.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* Letters of cli_command.options for them. */
#define CLI_OLD_CONNECTION 'O' /* all that name the database; then SOURCE is not given */
#define CLI_OLD_INPUT 'I'
#define CLI_OLD_OUTPUT 'D'

/* For getopt_long: the short ones, and the long ones as `{CLI_OLD_LONG, {0}}` in an array. */
#define CLI_OLD_SHORT "H:u:p:d:s:o:a:"
enum { CLI_OLD_PORT = 256, CLI_OLD_IN, CLI_OLD_OUT, CLI_OLD_UPLOAD };
/* clang-format off */
#define CLI_OLD_LONG \
	{"host", required_argument, NULL, 'H'}, {"user", required_argument, NULL, 'u'}, \
	{"password", required_argument, NULL, 'p'}, {"database", required_argument, NULL, 'd'}, \
	{"port", required_argument, NULL, CLI_OLD_PORT}, {"schema", required_argument, NULL, 's'}, \
	{"options", required_argument, NULL, 'o'}, {"arguments", required_argument, NULL, 'a'}, \
	{"input", required_argument, NULL, CLI_OLD_IN}, {"output", required_argument, NULL, CLI_OLD_OUT}, \
	{"upload", required_argument, NULL, CLI_OLD_UPLOAD}, \
	{"upload-destination-type", required_argument, NULL, CLI_OLD_UPLOAD}
/* clang-format on */

struct cli_old {
	const char *host, *user, *database, *port, *schema; /* of argv */
	const char *input, *output;
	char *password;  /* a copy; argv's own is wiped */
	char **settings; /* of -o and -a, NULL-terminated */
	size_t n_settings;
	char *url;     /* made by cli_old_arguments; holds the password until cli_configure hides it */
	char *args[3]; /* what stands for the command's arguments */
};

/* Takes option o of getopt_long with its value. The letter for cli_command.options; 0: not one of these; -errno.
 * *index and argv: -o and -a may have several values, as they had. */
int cli_old_take(struct cli_old *old, int o, char *value, int argc, char **argv, int *index, struct err *e);
/* Makes url and args of what was taken: args[0] is the URL, args[1] the --input (NULL: none). EINVAL: one is missing,
 * or an option means nothing to metasnap. */
int cli_old_arguments(struct cli_old *old, struct err *e);
void cli_old_done(struct cli_old *old);
