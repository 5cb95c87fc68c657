/*
 * snapshot/cli/internal.h - what the parts of the program `metasnap` share: the command line as it was understood, its
 * commands and options, the watcher. The exit status of each command is what its function returns.
 */
#pragma once

#include "snapshot/cli/former.h"
#include "snapshot/config/keep.h"
#include "snapshot/service/service.h"
#include "snapshot/sqlfile/read.h"

enum {
	CLI_GO_ON = -1, /* no exit status yet */
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_DIFFERS = 1,      /* diff, verify --live */
	CLI_DIFF_TROUBLE = 2, /* as diff(1) */
};

struct cli;
struct cli_watch;

struct cli_command {
	const char *name;
	const char *args; /* its words, for usage lines; the options follow from the table of options */
	const char *help; /* what `COMMAND --help` says below the usage line */
	int min_args;     /* SOURCE is the first one */
	int max_args;
	bool connects;             /* needs a database that can be reached, not only the catalog */
	bool creates;              /* makes the catalog where there is none */
	bool all_sources;          /* without SOURCE it is about all of the configuration */
	bool no_catalog;           /* the service neither opens nor makes one: cli.svc stays NULL */
	int trouble;               /* exit status of what goes wrong before it has begun; 0: CLI_FAILED */
	int (*run)(struct cli *c); /* the exit status */
};

struct cli {
	const char *config_path;
	const char *catalog_path;
	bool verbose, help, version, json, dry_run, yes, force, live, stat;
	char **tables; /* NULL-terminated; NULL: all */
	size_t n_tables;
	const char *entity_type, *entity_name; /* --entity; NULL: not given */
	struct keep_rules keep;                /* --keep-... */
	bool keep_given;
	enum sql_choice backslashes; /* --backslashes */
	const char *to;              /* --to */
	struct former former;        /* the former command line's options; `output` is also of the new one */
	const struct cli_command *command;
	char **args; /* without the command's name */
	int n_args;
	struct config config;
	struct service *svc;
	size_t source; /* of SOURCE, when it was given */
	struct requester who;
	struct waiter waiter;
	struct cli_watch *watch;
};

static inline const char *cli_source_name(const struct cli *c, size_t source)
{
	return service_source(c->svc, source)->name;
}

/* ---- words.c ---- */

/* Prints "metasnap: what: why (what to do)"; returns CLI_FAILED. */
int cli_fail(const struct err *e, const char *what_fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints the lines of a report to stderr, each with "metasnap: ", but for what the error's words will say anyway. */
void cli_print_report(const struct strbuf *report, const struct err *e);

/* ---- options.c ---- */

/* Reads the command line into *c. CLI_GO_ON, else the exit status: it is wrong, or asked for nothing but help. */
int cli_parse(struct cli *c, int argc, char **argv);

/* ---- commands.c ---- */

extern const char cli_help[];
const struct cli_command *cli_find_command(const char *name); /* NULL: there is none */

/* ---- open.c ---- */

/* Finds the configuration and SOURCE in it, and opens the catalog where the command needs one. */
int cli_open(struct cli *c, struct err *e);
/* A snapshot of a source by name; "latest" is the newest. */
int cli_find_snapshot(struct cli *c, size_t source, const char *name, struct snapshot_info *ret, struct err *e);

/* ---- entity.c ---- */

/* The row of --entity in a snapshot, "TABLE/ROW". ENOENT, with words on what there is instead. */
int cli_find_entity(struct cli *c, int64_t snapshot_id, struct strbuf *ret, struct err *e);

/* ---- watch.c: one thread that takes SIGINT, SIGTERM, SIGHUP and shows progress ---- */

/* Blocks the signals in the calling thread, hence in all that it makes later. */
int cli_watch_start(struct cli_watch **ret, bool verbose, struct err *e);
/* From now on the job of a source is shown, and a signal ends the wait of `waiter` (NULL: it ends the program). */
void cli_watch_job(struct cli_watch *w, struct service *svc, size_t source, struct waiter *waiter);
/* No job any more; what was drawn is wiped. */
void cli_watch_idle(struct cli_watch *w);
/* A signal cancels what runs on `conn` (NULL: no more; it ends the program). */
void cli_watch_conn(struct cli_watch *w, struct db_conn *conn);
/* Signals stay pending: for export_snapshot, which looks for them itself. */
void cli_watch_leave_signals(struct cli_watch *w);
void cli_watch_stop(struct cli_watch *w);

/* ---- jobs.c ---- */

int cli_snapshot(struct cli *c);
int cli_restore(struct cli *c);
int cli_import(struct cli *c);
int cli_export(struct cli *c);
int cli_remove(struct cli *c);
int cli_hold(struct cli *c);
int cli_release(struct cli *c);

/* ---- show.c ---- */

/* 1234567 -> "1.2M", in powers of 1024 as du -h. */
void cli_size_text(int64_t bytes, char out[16]);
int cli_list(struct cli *c);
int cli_diff(struct cli *c);
int cli_verify(struct cli *c);
int cli_check(struct cli *c);

/* ---- prune.c, backup.c, preflight.c ---- */

int cli_prune(struct cli *c);
int cli_backup(struct cli *c);
int cli_preflight(struct cli *c);
