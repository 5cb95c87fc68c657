/*
 * snapshot/cli/options.c - the options of the command line: one table, and from it what getopt is told, which command
 * takes which, and the usage lines. The main thread only.
 */
#include "snapshot/cli/internal.h"

#include <errno.h>
#include <getopt.h>

#include "base/log.h"

struct option_words {
	char *value;
	char **rest; /* the words behind it, and how many there are */
	size_t n_rest;
};

struct cli_option {
	const char *name;
	char letter;          /* 0: it has a long name only */
	const char *value;    /* what stands for its value in a usage line; NULL: it takes none */
	const char *commands; /* that take it, between blanks; NULL: all */
	const char *usage;    /* as it stands in their usage lines; "": it does not */
	/* How many words of the rest were taken, or -EINVAL. NULL: `flag` is set, or `text` is the value. */
	int (*take)(struct cli *c, const struct cli_option *o, const struct option_words *w, struct err *e);
	size_t flag, text; /* offsets in struct cli; 0: none */
	int choice;        /* of take */
};

#define FLAG(member) .flag = offsetof(struct cli, member)
#define TEXT(member) .text = offsetof(struct cli, member)

static int take_table(struct cli *c, const struct cli_option *o, const struct option_words *w, struct err *e)
{
	(void)o, (void)e;
	c->tables = xrealloc(c->tables, (c->n_tables + 2) * sizeof *c->tables);
	c->tables[c->n_tables++] = w->value;
	c->tables[c->n_tables] = NULL;
	return 0;
}

static int take_entity(struct cli *c, const struct cli_option *o, const struct option_words *w, struct err *e)
{
	(void)o;
	if (c->entity_type || !w->n_rest)
		return err_set(e, EINVAL, "--entity takes a TYPE and a NAME, once");
	c->entity_type = w->value;
	c->entity_name = w->rest[0];
	return 1;
}

static int take_keep(struct cli *c, const struct cli_option *o, const struct option_words *w, struct err *e)
{
	c->keep_given = true;
	return keep_set(&c->keep, o->name + strlen("keep-"), w->value, e);
}

static int take_backslashes(struct cli *c, const struct cli_option *o, const struct option_words *w, struct err *e)
{
	(void)o;
	bool plain = !strcmp(w->value, "plain");
	if (!plain && strcmp(w->value, "doubled") != 0)
		return err_set(e, EINVAL, "--backslashes is plain or doubled");
	c->backslashes = plain ? SQL_CHOICE_PLAIN : SQL_CHOICE_DOUBLED;
	return 0;
}

static int take_former(struct cli *c, const struct cli_option *o, const struct option_words *w, struct err *e)
{
	return former_take(&c->former, (enum former_option)o->choice, w->value, w->rest, w->n_rest, e);
}

/* clang-format off */
#define FORMER(word, short_name, placeholder, which) \
	{word, short_name, placeholder, " backup restore ", "", take_former, .choice = which}

static const struct cli_option cli_options[] = {
	{"config",      'c', "CONFIG",   NULL, "", TEXT(config_path)},
	{"catalog",     0,   "FILE",     NULL, "", TEXT(catalog_path)},
	{"verbose",     'v', NULL,       NULL, "", FLAG(verbose)},
	{"help",        'h', NULL,       NULL, "", FLAG(help)},
	{"version",     'V', NULL,       NULL, "", FLAG(version)},
	{"table",       't', "T",        " restore ", " [--table T]...", take_table},
	{"entity",      0,   "TYPE",     " restore ", " [--entity TYPE NAME]", take_entity},
	{"keep-last",   0,   "N",        " prune ", " [--keep-RULE N]...", take_keep},
	{"keep-hourly", 0,   "N",        " prune ", "", take_keep},
	{"keep-daily",  0,   "N",        " prune ", "", take_keep},
	{"keep-weekly", 0,   "N",        " prune ", "", take_keep},
	{"keep-monthly",0,   "N",        " prune ", "", take_keep},
	{"keep-yearly", 0,   "N",        " prune ", "", take_keep},
	{"keep-within", 0,   "DURATION", " prune ", " [--keep-within DURATION]", take_keep},
	{"dry-run",     'n', NULL,       " restore prune ", " [--dry-run]", FLAG(dry_run)},
	{"yes",         'y', NULL,       " restore ", " [--yes]", FLAG(yes)},
	{"force",       0,   NULL,       " restore ", " [--force]", FLAG(force)},
	{"stat",        0,   NULL,       " diff ", " [--stat]", FLAG(stat)},
	{"live",        0,   NULL,       " verify ", " [--live]", FLAG(live)},
	{"to",          0,   "VERSION",  " preflight ", " [--to VERSION]", TEXT(to)},
	{"json",        0,   NULL,       " list preflight ", " [--json]", FLAG(json)},
	{"backslashes", 0,   "CHOICE",   " restore ", "", take_backslashes},
	FORMER("host",      'H', "HOST",     FORMER_HOST),
	FORMER("user",      'u', "USER",     FORMER_USER),
	FORMER("password",  'p', "PASSWORD", FORMER_PASSWORD),
	FORMER("database",  'd', "DATABASE", FORMER_DATABASE),
	FORMER("port",      0,   "PORT",     FORMER_PORT),
	FORMER("schema",    's', "SCHEMA",   FORMER_SCHEMA),
	FORMER("options",   'o', "OPTION",   FORMER_SETTING),
	FORMER("arguments", 'a', "ARGUMENT", FORMER_SETTING),
	FORMER("upload",    0,   "WORD",     FORMER_UPLOAD),
	FORMER("upload-destination-type", 0, "WORD", FORMER_UPLOAD),
	{"input",       0,   "FILE.sql", " restore ", "", take_former, .choice = FORMER_INPUT},
	{"output",      0,   "DIR",      " backup ", " [--output DIR]", take_former, .choice = FORMER_OUTPUT},
};
/* clang-format on */

#define N_OPTIONS (sizeof cli_options / sizeof cli_options[0])
#define OPTION_VALUE 256 /* what getopt_long answers is this and the place in the table */

static bool option_is_of(const struct cli_option *o, const struct cli_command *command)
{
	if (!o->commands)
		return true;
	const char *at = o->commands;
	size_t n = strlen(command->name);
	while ((at = strstr(at, command->name)) && (at[-1] != ' ' || at[n] != ' '))
		at++;
	return at;
}

static void options_usage(const struct cli_command *command, struct strbuf *out)
{
	strbuf_addf(out, "metasnap %s%s%s", command->name, *command->args ? " " : "", command->args);
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (cli_options[i].commands && option_is_of(&cli_options[i], command))
			strbuf_adds(out, cli_options[i].usage);
}

static int cli_usage(const struct cli_command *command, const char *why)
{
	_cleanup_strbuf_ struct strbuf usage = {0};
	if (command)
		options_usage(command, &usage);
	if (command)
		log_error("%s: %s (usage: %s)", command->name, why, usage.data);
	else
		log_error("%s (metasnap --help)", why);
	return CLI_USAGE;
}

static void options_for_getopt(struct option longs[N_OPTIONS + 1], char shorts[2 * N_OPTIONS + 2])
{
	*shorts++ = ':'; /* a value that is missing is told from an unknown option */
	for (size_t i = 0; i < N_OPTIONS; i++) {
		const struct cli_option *o = &cli_options[i];
		longs[i] =
		    (struct option){o->name, o->value ? required_argument : no_argument, NULL, OPTION_VALUE + (int)i};
		if (o->letter)
			*shorts++ = o->letter;
		if (o->letter && o->value)
			*shorts++ = ':';
	}
	longs[N_OPTIONS] = (struct option){0};
	*shorts = '\0';
}

static const struct cli_option *option_of(int got)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (got == OPTION_VALUE + (int)i || got == cli_options[i].letter)
			return &cli_options[i];
	return NULL;
}

static int option_take(struct cli *c, const struct cli_option *o, const struct option_words *w, struct err *e)
{
	if (o->take)
		return o->take(c, o, w, e);
	if (o->flag)
		*(bool *)((char *)c + o->flag) = true;
	else
		*(char **)((char *)c + o->text) = w->value;
	return 0;
}

/* given[i]: option i was there. */
static int cli_take_options(struct cli *c, int argc, char **argv, bool given[N_OPTIONS])
{
	struct option longs[N_OPTIONS + 1];
	char shorts[2 * N_OPTIONS + 2];
	options_for_getopt(longs, shorts);
	opterr = 0;
	for (int got; (got = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
		const struct cli_option *o = option_of(got);
		if (!o) {
			_cleanup_free_ char *why =
			    xasprintf("%s %s", argv[optind - 1], got == ':' ? "lacks its value" : "is not an option");
			return cli_usage(NULL, why);
		}
		given[o - cli_options] = true;
		struct err e = ERR_INIT;
		const struct option_words w = {optarg, argv + optind, (size_t)(argc - optind)};
		int r = option_take(c, o, &w, &e);
		if (r < 0)
			return cli_usage(NULL, e.msg);
		optind += r;
		if (c->version) {
			(void)printf("metasnap %s\n", METASNAP_VERSION);
			return CLI_DONE;
		}
	}
	return CLI_GO_ON;
}

/* The former command line's options in the place of SOURCE and FILE. */
static int cli_take_former(struct cli *c)
{
	struct err e = ERR_INIT;
	if (c->n_args)
		return cli_usage(c->command, "-H, -u and -d take the place of all words");
	if (former_arguments(&c->former, &e) < 0)
		return cli_usage(c->command, e.msg);
	c->args = c->former.args;
	c->n_args = c->former.args[1] ? 2 : 1;
	c->yes = true; /* scripts have it, and it never asked */
	return CLI_GO_ON;
}

static int cli_print_help(const struct cli_command *command)
{
	_cleanup_strbuf_ struct strbuf usage = {0};
	if (command)
		options_usage(command, &usage);
	if (command)
		(void)printf("usage: %s\n\n%s", usage.data, command->help);
	else
		(void)fputs(cli_help, stdout);
	return CLI_DONE;
}

int cli_parse(struct cli *c, int argc, char **argv)
{
	bool given[N_OPTIONS] = {0};
	int status = cli_take_options(c, argc, argv, given);
	if (status != CLI_GO_ON)
		return status;
	const char *name = optind < argc ? argv[optind] : NULL;
	if (name && !strcmp(name, "help")) {
		c->help = true;
		name = optind + 1 < argc ? argv[++optind] : NULL;
	}
	c->command = name ? cli_find_command(name) : NULL;
	if (c->help)
		return cli_print_help(c->command);
	if (!name)
		return cli_usage(NULL, "which command?");
	if (!c->command) {
		_cleanup_free_ char *why = xasprintf("there is no command \"%s\"", name);
		return cli_usage(NULL, why);
	}
	c->args = argv + optind + 1;
	c->n_args = argc - optind - 1;
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (given[i] && !option_is_of(&cli_options[i], c->command))
			return cli_usage(c->command, "it does not take all of these options");
	if (former_is_given(&c->former))
		status = cli_take_former(c);
	if (status != CLI_GO_ON)
		return status;
	if (c->n_args < c->command->min_args || c->n_args > c->command->max_args)
		return cli_usage(c->command,
				 c->n_args < c->command->min_args ? "something is missing" : "too many words");
	if (c->entity_type && c->tables)
		return cli_usage(c->command, "--entity and --table do not go together");
	if (c->config_path && c->catalog_path)
		return cli_usage(NULL, "-c and --catalog do not go together");
	return CLI_GO_ON;
}
