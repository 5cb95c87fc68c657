/*
 * snapshot/cli/main.c - the program `metasnap`: the command line, the configuration, and what follows from them.
 *
 * Exit status 0 done, 1 failed, 2 usage; `diff` as diff(1): 0 same, 1 differs, 2 trouble. Errors are one line on
 * stderr, "metasnap: what: why (what to do)"; success is silent but for what was asked. The main thread runs the
 * command; watch.c has the only other thread of the program's own. No locks here.
 */
#include "snapshot/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/log.h"

#define CLI_SYSTEM_CONFIG "/etc/metasnap.conf"

static const char cli_help[] =
    "metasnap - consistent snapshots of databases\n"
    "\n"
    "usage: metasnap [-c CONFIG | --catalog FILE] COMMAND [ARGUMENTS]\n"
    "\n"
    "  snapshot SOURCE [NAME]         take one; prints its name\n"
    "  list [SOURCE] [--json]         the snapshots there are, oldest first\n"
    "  diff SOURCE A B [--stat]       rows added, removed, changed from A to B\n"
    "  restore SOURCE SNAPSHOT|DIR|FILE.sql   bring the database back to it\n"
    "          [--table T]... [--entity TYPE NAME] [--dry-run] [--yes] [--force]\n"
    "  verify [SOURCE [SNAPSHOT]]     read every row and compare with its digest;\n"
    "          [--live]               the database itself with the snapshot\n"
    "  export SOURCE SNAPSHOT DIR     write it to a new directory, with SHA256SUMS\n"
    "  export SOURCE SNAPSHOT FILE.sql   as SQL for psql, mysql or sqlite3\n"
    "  backup SOURCE [--output DIR]   as `metadata backup` wrote it; takes its options, too\n"
    "  import SOURCE DIR [NAME]       keep a backup as a snapshot; prints its name\n"
    "  remove | hold | release SOURCE SNAPSHOT\n"
    "  prune [SOURCE] [--keep-RULE N]... [--dry-run]   remove old ones, free their space\n"
    "  check                          is the catalog whole?\n"
    "  preflight SOURCE [--to VERSION] [--json]   is the database ready for an upgrade?\n"
    "\n"
    "SOURCE is a name from the configuration or a database URL:\n"
    "  postgresql://user@host/db   mysql://user@host/db   sqlite:FILE\n"
    "SNAPSHOT may be `latest`. CONFIG is $METASNAP_CONFIG or /etc/metasnap.conf.\n"
    "-v tells of progress also where there is no terminal. -V is --version.\n"
    "Exit status: 0 done, 1 failed, 2 usage. metasnap COMMAND --help says more.\n";

/* clang-format off */
static const struct cli_command cli_commands[] = {
	{.name = "snapshot", .args = "SOURCE [NAME]", .min_args = 1, .max_args = 2,
	 .connects = true, .creates = true, .run = cli_snapshot,
	 .help = "Takes a snapshot and waits until it is complete; prints its name. Without NAME it is\n"
		 "called by its moment, 20261122T081530Z. An interrupted one is not kept.\n"},
	{.name = "restore", .args = "SOURCE SNAPSHOT|DIR|FILE.sql [--table T]... [--entity TYPE NAME] [--dry-run] [--yes] [--force]",
	 .min_args = 2, .max_args = 2, .options = "tnyfeOIB", .connects = true, .creates = true, .run = cli_restore,
	 .help = "Brings the database back, in one transaction: a snapshot of what is there is taken first,\n"
		 "then what differs is changed. Asks before it does; --yes answers. --dry-run only says what\n"
		 "would change. DIR is a backup: a copy of snapshots/NAME, archives/NAME or of one table.\n"
		 "--entity: only that entity, its relations, tags and extensions; TYPE and NAME (its fully-\n"
		 "qualified one) as in --entity table 'svc.db.schema.orders'. Nothing else is touched.\n"
		 "--force: also from another engine or application version. A source with restore=off is\n"
		 "never restored.\n"
		 "FILE.sql is one of OpenMetadata's `metadata backup`, for a database whose migrations have run;\n"
		 "tables that it does not name stay as they are. --backslashes=plain|doubled (PostgreSQL): where\n"
		 "nothing in it tells (doubled: OpenMetadata before 1.1). That program's own form never asks:\n"
		 "  metasnap restore -H HOST -u USER [-p PASSWORD] -d DATABASE [--port PORT] --input FILE.sql\n"
		 "          [-s SCHEMA] [-o OPTION]... [-a ARGUMENT]... [--dry-run]\n"
		 "With -s it is PostgreSQL, else MySQL. The password is also taken from METASNAP_PASSWORD,\n"
		 "PGPASSWORD or MYSQL_PWD.\n"},
	{.name = "list", .args = "[SOURCE] [--json]", .max_args = 1, .options = "j", .run = cli_list,
	 .help = "Oldest first. --json: an array of objects with source, name, taken, taken_ms, tables, rows,\n"
		 "bytes (of the rows' text), stored_bytes (what it added to the catalog), held, engine,\n"
		 "server_version, openmetadata_version (or null).\n"},
	{.name = "diff", .args = "SOURCE A B [--stat]", .min_args = 3, .max_args = 3, .options = "S",
	 .trouble = CLI_DIFF_TROUBLE, .run = cli_diff,
	 .help = "One line a row: A (added), R (removed) or C (changed), and the row's file as the mounted\n"
		 "tree names it. `A table/` is a table that only B has, `C schema.sql` another schema.\n"
		 "--stat: how many for each table instead, as changes/A..B/summary.txt of the mounted tree.\n"
		 "Exit status: 0 same, 1 differs, 2 trouble.\n"},
	{.name = "verify", .args = "[SOURCE [SNAPSHOT]] [--live]", .max_args = 2, .options = "l", .run = cli_verify,
	 .help = "Reads every row of one snapshot, of all of a source, or of all, and compares with the\n"
		 "digests. --live: the database now against the snapshot (the newest when none is named);\n"
		 "prints what a restore would do. Exit status: 0 all well, 1 damaged, differs or failed.\n"},
	{.name = "export", .args = "SOURCE SNAPSHOT DIR|FILE.sql", .min_args = 3, .max_args = 3, .run = cli_export,
	 .help = "Writes MANIFEST.json, SHA256SUMS, schema.sql and tables/T.jsonl to DIR, which must not exist\n"
		 "or be empty. DIR is whole or not there; `sha256sum -c SHA256SUMS` passes in any copy of it.\n"
		 "FILE.sql: one file, schema and rows in the SQL of the snapshot's engine, for an empty database:\n"
		 "psql -v ON_ERROR_STOP=1 -1 -f FILE.sql DB, mysql --binary-mode DB < FILE.sql, sqlite3 NEW < FILE.sql\n"},
	{.name = "backup", .args = "SOURCE|-H HOST -u USER [-p PASSWORD] -d DATABASE [--port PORT] [-s SCHEMA] [-o OPTION]... "
		 "[-a ARGUMENT]... [--output DIR]",
	 .min_args = 1, .max_args = 1, .options = "OD", .connects = true, .no_catalog = true, .run = cli_backup,
	 .help = "Writes the database to DIR/openmetadata_YYYYmmddHHMM_backup.sql (DIR: this folder) in the form of\n"
		 "OpenMetadata's `metadata backup`: TRUNCATE and INSERT, one statement a line, for a database whose\n"
		 "migrations have run. One moment of the database; no catalog is needed. Unlike there: every table\n"
		 "is in it (DATABASE_CHANGE_LOG, too), rows that `json` alone would not bring back have all their\n"
		 "columns named, documents are the server's text. What the form cannot hold is not in it: the schema\n"
		 "and the next values of sequences (`snapshot` and `export` have them). With -s it is PostgreSQL.\n"},
	{.name = "import", .args = "SOURCE DIR [NAME]", .min_args = 2, .max_args = 3, .creates = true,
	 .run = cli_import,
	 .help = "Verifies a backup and keeps it as a snapshot; prints its name. Without NAME it is called\n"
		 "by the moment it was taken.\n"},
	{.name = "remove", .args = "SOURCE SNAPSHOT", .min_args = 2, .max_args = 2, .run = cli_remove,
	 .help = "Removes it and frees what only it used. One that is held stays.\n"},
	{.name = "hold", .args = "SOURCE SNAPSHOT", .min_args = 2, .max_args = 2, .run = cli_hold,
	 .help = "Nothing removes a held snapshot.\n"},
	{.name = "release", .args = "SOURCE SNAPSHOT", .min_args = 2, .max_args = 2, .run = cli_release,
	 .help = "Ends a hold.\n"},
	{.name = "prune", .args = "[SOURCE] [--keep-RULE N]... [--keep-within DURATION] [--dry-run]",
	 .max_args = 1, .options = "kn", .run = cli_prune,
	 .help = "Keeps a snapshot when any rule wants it, removes the others and frees what only they used.\n"
		 "--keep-last N: the newest N. --keep-hourly, -daily, -weekly, -monthly, -yearly N: the newest\n"
		 "of each of the last N hours, days ... (UTC) that have one. --keep-within 1y6m, 30d, 36h: all\n"
		 "not older than that before the newest. Without options: `keep` of the configuration.\n"
		 "Never removed: held ones, the newest, imported ones, for 30 days the state before a restore.\n"
		 "--dry-run only says what it would do.\n"},
	{.name = "preflight", .args = "SOURCE [--to VERSION] [--json]", .min_args = 1, .max_args = 1, .options = "jT",
	 .connects = true, .no_catalog = true, .run = cli_preflight,
	 .help = "Checks whether the database is ready for an upgrade of OpenMetadata: settings, rights, snapshot,\n"
		 "and what the releases on the way change. OK, WARN, FAIL or INFO, what was found, what to do.\n"
		 "--to 1.4.0: only what concerns the way to that version. Changes nothing.\n"
		 "Exit status: 0 ready, 1 not (a FAIL), 2 usage.\n"},
	{.name = "check", .args = "", .run = cli_check,
	 .help = "The whole catalog: the file itself, the checksum of every pack, every reference.\n"
		 "Prints nothing when all is well.\n"},
};
/* clang-format on */

/* ---- words ---- */

int cli_fail(const struct err *e, const char *what_fmt, ...)
{
	char what[256];
	va_list ap;
	va_start(ap, what_fmt);
	(void)vsnprintf(what, sizeof what, what_fmt, ap);
	va_end(ap);
	/* The one who found out has said what to do where it knew. */
	const char *hint = strchr(e->msg, '(')    ? ""
			   : e->code == EXDEV     ? " (--force does it all the same)"
			   : e->code == ENOTEMPTY ? " (remove what is there first)"
						  : "";
	const char *why = e->msg[0] ? e->msg : e->code ? strerror(e->code) : "failed";
	log_error("%s: %s%s", what, why, hint);
	return CLI_FAILED;
}

void cli_print_report(const struct strbuf *report, const struct err *e)
{
	for (const char *line = strbuf_str(report); *line;) {
		size_t n = strcspn(line, "\n");
		_cleanup_free_ char *text = xmemdup0(line, n);
		if (n && !strstr(e->msg, text))
			log_error("%.900s", text);
		line += n + (line[n] == '\n');
	}
}

static int cli_usage(const struct cli_command *command, const char *why)
{
	if (command)
		log_error("%s: %s (usage: metasnap %s %s)", command->name, why, command->name, command->args);
	else
		log_error("%s (metasnap --help)", why);
	return CLI_USAGE;
}

int cli_find_snapshot(struct cli *c, size_t source, const char *name, struct snapshot_info *ret, struct err *e)
{
	int64_t id = service_source_id(c->svc, source);
	int r = strcmp(name, "latest") ? catalog_find(service_catalog(c->svc), id, name, ret, e)
				       : catalog_latest(service_catalog(c->svc), id, ret, e);
	if (r != -ENOENT)
		return r;
	const char *of = cli_source_name(c, source);
	if (!strcmp(name, "latest"))
		return err_set(e, ENOENT, "there is no snapshot yet (metasnap snapshot %s)", of);
	return err_set(e, ENOENT, "there is no snapshot \"%.200s\" (metasnap list %s)", name, of);
}

/* ---- command line ---- */

/* The password of a URL on the command line is not left where `ps` shows it. */
static void cli_hide_password(char *url)
{
	char *start = strstr(url, "://");
	if (!start)
		return;
	start += 3;
	char *at = memrchr(start, '@', strcspn(start, "/?"));
	char *colon = at ? memchr(start, ':', (size_t)(at - start)) : NULL;
	for (char *p = colon ? colon + 1 : at; p && p < at; p++)
		*p = 'x';
}

static const struct cli_command *cli_find_command(const char *name)
{
	for (size_t i = 0; i < sizeof cli_commands / sizeof cli_commands[0]; i++)
		if (!strcmp(cli_commands[i].name, name))
			return &cli_commands[i];
	return NULL;
}

static void cli_add_table(struct cli *c, char *name)
{
	c->tables = xrealloc(c->tables, (c->n_tables + 2) * sizeof *c->tables);
	c->tables[c->n_tables++] = name;
	c->tables[c->n_tables] = NULL;
}

/* -1: go on, else the exit status. */
static int cli_parse(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"catalog", required_argument, NULL, 'C'},
	    {"verbose", no_argument, NULL, 'v'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {"table", required_argument, NULL, 't'},
	    {"dry-run", no_argument, NULL, 'n'},
	    {"yes", no_argument, NULL, 'y'},
	    {"force", no_argument, NULL, 'f'},
	    {"entity", required_argument, NULL, 'e'},
	    {"json", no_argument, NULL, 'j'},
	    {"live", no_argument, NULL, 'l'},
	    {"stat", no_argument, NULL, 'S'},
	    {"to", required_argument, NULL, 'T'},
	    {"keep-last", required_argument, NULL, 'k'},
	    {"keep-hourly", required_argument, NULL, 'k'},
	    {"keep-daily", required_argument, NULL, 'k'},
	    {"keep-weekly", required_argument, NULL, 'k'},
	    {"keep-monthly", required_argument, NULL, 'k'},
	    {"keep-yearly", required_argument, NULL, 'k'},
	    {"keep-within", required_argument, NULL, 'k'},
	    {"backslashes", required_argument, NULL, 'B'},
	    CLI_OLD_LONG,
	    {0},
	};
	char given[32] = ""; /* letters of the options that only some commands take */
	bool help = false;
	opterr = 0;
	for (int o, which = 0; (o = getopt_long(argc, argv, ":c:vhVt:ny" CLI_OLD_SHORT, options, &which)) != -1;) {
		if (o == ':' || o == '?') {
			_cleanup_free_ char *why =
			    xasprintf("%s %s", argv[optind - 1], o == ':' ? "lacks its value" : "is not an option");
			return cli_usage(NULL, why);
		}
		struct err e = ERR_INIT;
		int old = cli_old_take(&c->old, o, optarg, argc, argv, &optind, &e);
		if (old < 0)
			return cli_usage(NULL, e.msg);
		int letter = old ? old : o;
		if (strchr("tnyfejlkSTOIDB", letter) && !strchr(given, letter))
			given[strlen(given)] = (char)letter;
		if (old)
			continue;
		c->config_path = o == 'c' ? optarg : c->config_path;
		c->catalog_path = o == 'C' ? optarg : c->catalog_path;
		c->verbose |= o == 'v';
		c->dry_run |= o == 'n';
		c->yes |= o == 'y';
		c->force |= o == 'f';
		c->json |= o == 'j';
		c->live |= o == 'l';
		c->stat |= o == 'S';
		c->to = o == 'T' ? optarg : c->to;
		help |= o == 'h';
		if (o == 't')
			cli_add_table(c, optarg);
		if (o == 'e' && (c->entity_type || optind >= argc))
			return cli_usage(NULL, "--entity takes a TYPE and a NAME, once");
		if (o == 'e') {
			c->entity_type = optarg;
			c->entity_name = argv[optind++];
		}
		c->keep_given |= o == 'k';
		if (o == 'k' && keep_set(&c->keep, options[which].name + strlen("keep-"), optarg, &e) < 0)
			return cli_usage(NULL, e.msg);
		if (o == 'B' && strcmp(optarg, "plain") != 0 && strcmp(optarg, "doubled") != 0)
			return cli_usage(NULL, "--backslashes is plain or doubled");
		if (o == 'B')
			c->backslashes = strcmp(optarg, "plain") ? SQL_CHOICE_DOUBLED : SQL_CHOICE_PLAIN;
		if (o == 'V') {
			(void)printf("metasnap %s\n", METASNAP_VERSION);
			return CLI_DONE;
		}
	}
	const char *name = optind < argc ? argv[optind] : NULL;
	if (name && !strcmp(name, "help") && optind + 1 < argc) {
		help = true;
		name = argv[++optind];
	}
	c->command = name ? cli_find_command(name) : NULL;
	if (help || (name && !strcmp(name, "help"))) {
		if (c->command)
			(void)printf("usage: metasnap %s%s%s\n\n%s", name, *c->command->args ? " " : "",
				     c->command->args, c->command->help);
		else
			(void)fputs(cli_help, stdout);
		return CLI_DONE;
	}
	if (!name)
		return cli_usage(NULL, "which command?");
	if (!c->command) {
		_cleanup_free_ char *why = xasprintf("there is no command \"%s\"", name);
		return cli_usage(NULL, why);
	}
	c->args = argv + optind + 1;
	c->n_args = argc - optind - 1;
	const char *takes = c->command->options ? c->command->options : "";
	if (given[strspn(given, takes)])
		return cli_usage(c->command, "it does not take all of these options");
	if (strchr(given, CLI_OLD_CONNECTION) || strchr(given, CLI_OLD_INPUT)) {
		struct err e = ERR_INIT;
		if (c->n_args)
			return cli_usage(c->command, "-H, -u and -d take the place of all words");
		if (cli_old_arguments(&c->old, &e) < 0)
			return cli_usage(c->command, e.msg);
		c->args = c->old.args;
		c->n_args = c->old.args[1] ? 2 : 1;
		c->yes = true; /* scripts have it, and it never asked */
	}
	if (c->n_args < c->command->min_args || c->n_args > c->command->max_args)
		return cli_usage(c->command,
				 c->n_args < c->command->min_args ? "something is missing" : "too many words");
	if (c->entity_type && c->tables)
		return cli_usage(c->command, "--entity and --table do not go together");
	if (c->config_path && c->catalog_path)
		return cli_usage(NULL, "-c and --catalog do not go together");
	return -1;
}

/* ---- configuration ---- */

/* One source that has a name and no database (or none at all): enough for what only looks into the catalog. No driver
 * answers to its service, so that nothing is ever taken for its database. */
static int cli_bare_config(struct config *ret, const char *source, struct err *e)
{
	int r = config_from_url(ret, "sqlite:/none", source ? source : "none", e);
	if (r < 0)
		return r;
	free(ret->sources[0].params.engine);
	ret->sources[0].params.engine = xstrdup("none");
	if (!source) {
		db_params_done(&ret->sources[0].params);
		free(TAKE_PTR(ret->sources[0].name));
		ret->n_sources = 0;
	}
	return 0;
}

static int cli_configure(struct cli *c, struct err *e)
{
	char *source = c->n_args ? c->args[0] : NULL;
	bool is_url = source && strchr(source, ':');
	const char *path = c->config_path;
	int r = 0;
	if (!path && !c->catalog_path) {
		path = getenv("METASNAP_CONFIG");
		if (!path || !*path)
			path = !is_url && !access(CLI_SYSTEM_CONFIG, F_OK) ? CLI_SYSTEM_CONFIG : NULL;
	}
	if (path) {
		r = config_load(&c->config, path, e);
		if (r < 0)
			return r;
	}
	if (is_url) {
		struct config by_url;
		r = config_from_url(&by_url, source, NULL, e);
		if (r < 0)
			return r;
		cli_hide_password(source);
		if (path) { /* its catalog, not its sources */
			free(by_url.catalog_path);
			by_url.catalog_path = TAKE_PTR(c->config.catalog_path);
			by_url.cache_mb = c->config.cache_mb;
		}
		config_done(&c->config);
		c->config = by_url;
	} else if (!path) {
		if (source && (c->command->connects || c->live))
			return err_set(e, EINVAL,
				       "no configuration says what \"%s\" is (name a database URL, or -c CONFIG)",
				       source);
		if (!source &&
		    (c->command->run == cli_list || c->command->run == cli_verify || c->command->run == cli_prune))
			return err_set(e, EINVAL,
				       "no configuration says which sources there are (name one, or -c CONFIG)");
		r = cli_bare_config(&c->config, source, e);
		if (r < 0)
			return r;
	}
	if (c->catalog_path) {
		free(c->config.catalog_path);
		c->config.catalog_path = xstrdup(c->catalog_path);
	}
	return 0;
}

/* A command that only looks makes no source; the service would note a misspelt one in the catalog. */
static int cli_check_source(const struct config *config, struct err *e)
{
	_cleanup_(cleanup_catalog) struct catalog *catalog = NULL;
	int64_t id;
	int r = catalog_open(&catalog, config->catalog_path, CATALOG_READ, e);
	return r < 0 ? r : catalog_source(catalog, config->sources[0].name, &id, e);
}

static int cli_prepare_catalog(const struct cli *c, struct err *e)
{
	const char *path = c->config.catalog_path;
	if (!c->command->creates) {
		if (access(path, F_OK) < 0)
			return errno == ENOENT
				   ? err_set(e, ENOENT, "catalog %s does not exist (metasnap snapshot makes it)", path)
				   : err_sys(e, errno, "catalog %s", path);
		return c->n_args && !c->config.path ? cli_check_source(&c->config, e) : 0;
	}
	return config_make_default_folder(&c->config, e);
}

static int cli_open(struct cli *c, struct err *e)
{
	int r = cli_configure(c, e);
	if (r >= 0 && !c->command->no_catalog)
		r = cli_prepare_catalog(c, e);
	if (r < 0)
		return r;
	/* Its source has to be known before anything is opened: the service notes each source in the catalog. */
	const char *name = c->n_args ? c->args[0] : NULL;
	bool by_name = name && c->config.path;
	size_t i = 0;
	while (by_name && i < c->config.n_sources && strcmp(c->config.sources[i].name, name))
		i++;
	if (by_name && i == c->config.n_sources) {
		_cleanup_strbuf_ struct strbuf known = {0};
		for (i = 0; i < c->config.n_sources; i++)
			strbuf_addf(&known, "%s%s", i ? ", " : "", c->config.sources[i].name);
		return err_set(e, ENOENT, "%s has no source \"%.60s\" (it has %s)", c->config.path, name, known.data);
	}
	c->source = i;
	return c->command->no_catalog ? 0 : service_open(&c->svc, &c->config, e);
}

/* ---- main ---- */

/* A file that is opened as descriptor 1 or 2 would get what is printed. */
static void cli_fill_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

static int cli_trouble(const struct cli *c)
{
	return c->command && c->command->trouble ? c->command->trouble : CLI_FAILED;
}

static int cli_run(struct cli *c)
{
	struct err e = ERR_INIT;
	requester_self(&c->who);
	if (cli_watch_start(&c->watch, c->verbose, &e) < 0 || cli_open(c, &e) < 0) {
		bool named = c->n_args && !strchr(c->args[0], ':'); /* a URL stays out of messages */
		(void)cli_fail(&e, "%s%s%s", c->command->name, named ? " " : "", named ? c->args[0] : "");
		return cli_trouble(c);
	}
	return c->command->run(c);
}

int main(int argc, char **argv)
{
	struct cli c = {0};
	cli_fill_descriptors();
	(void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is seen when the output is flushed; sockets give EPIPE */
	(void)umask(077);
	int status = cli_parse(&c, argc, argv);
	if (status < 0) {
		status = cli_run(&c);
		service_close(c.svc);
		cli_watch_stop(c.watch);
		config_done(&c.config);
	}
	free(c.tables);
	cli_old_done(&c.old);
	if (fflush(stdout) || ferror(stdout)) {
		if (errno != EPIPE) /* who reads has gone and knows */
			log_error("writing the output: %s", strerror(errno));
		return cli_trouble(&c);
	}
	return status;
}
