/*
 * snapshot/cli/commands.c - the commands there are, and what `--help` says of them. The options they take: options.c.
 */
#include "snapshot/cli/internal.h"

const char cli_help[] = "metasnap - consistent snapshots of databases\n"
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
	{.name = "restore", .args = "SOURCE SNAPSHOT|DIR|FILE.sql",
	 .min_args = 2, .max_args = 2, .connects = true, .creates = true, .run = cli_restore,
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
	{.name = "list", .args = "[SOURCE]", .max_args = 1, .all_sources = true, .run = cli_list,
	 .help = "Oldest first. --json: an array of objects with source, name, taken, taken_ms, tables, rows,\n"
		 "bytes (of the rows' text), stored_bytes (what it added to the catalog), held, engine,\n"
		 "server_version, openmetadata_version (or null).\n"},
	{.name = "diff", .args = "SOURCE A B", .min_args = 3, .max_args = 3,
	 .trouble = CLI_DIFF_TROUBLE, .run = cli_diff,
	 .help = "One line a row: A (added), R (removed) or C (changed), and the row's file as the mounted\n"
		 "tree names it. `A table/` is a table that only B has, `C schema.sql` another schema.\n"
		 "--stat: how many for each table instead, as changes/A..B/summary.txt of the mounted tree.\n"
		 "Exit status: 0 same, 1 differs, 2 trouble.\n"},
	{.name = "verify", .args = "[SOURCE [SNAPSHOT]]", .max_args = 2, .all_sources = true, .run = cli_verify,
	 .help = "Reads every row of one snapshot, of all of a source, or of all, and compares with the\n"
		 "digests. --live: the database now against the snapshot (the newest when none is named);\n"
		 "prints what a restore would do. Exit status: 0 all well, 1 damaged, differs or failed.\n"},
	{.name = "export", .args = "SOURCE SNAPSHOT DIR|FILE.sql", .min_args = 3, .max_args = 3, .run = cli_export,
	 .help = "Writes MANIFEST.json, SHA256SUMS, schema.sql and tables/T.jsonl to DIR, which must not exist\n"
		 "or be empty. DIR is whole or not there; `sha256sum -c SHA256SUMS` passes in any copy of it.\n"
		 "FILE.sql: one file, schema and rows in the SQL of the snapshot's engine, for an empty database:\n"
		 "psql -v ON_ERROR_STOP=1 -1 -f FILE.sql DB, mysql --binary-mode DB < FILE.sql, sqlite3 NEW < FILE.sql\n"},
	{.name = "backup", .args = "SOURCE|-H HOST -u USER [-p PASSWORD] -d DATABASE [--port PORT] [-s SCHEMA] [-o OPTION]... "
		 "[-a ARGUMENT]...",
	 .min_args = 1, .max_args = 1, .connects = true, .no_catalog = true, .run = cli_backup,
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
	{.name = "prune", .args = "[SOURCE]",
	 .max_args = 1, .all_sources = true, .run = cli_prune,
	 .help = "Keeps a snapshot when any rule wants it, removes the others and frees what only they used.\n"
		 "--keep-last N: the newest N. --keep-hourly, -daily, -weekly, -monthly, -yearly N: the newest\n"
		 "of each of the last N hours, days ... (UTC) that have one. --keep-within 1y6m, 30d, 36h: all\n"
		 "not older than that before the newest. Without options: `keep` of the configuration.\n"
		 "Never removed: held ones, the newest, imported ones, for 30 days the state before a restore.\n"
		 "--dry-run only says what it would do.\n"},
	{.name = "preflight", .args = "SOURCE", .min_args = 1, .max_args = 1,
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

const struct cli_command *cli_find_command(const char *name)
{
	for (size_t i = 0; i < sizeof cli_commands / sizeof cli_commands[0]; i++)
		if (!strcmp(cli_commands[i].name, name))
			return &cli_commands[i];
	return NULL;
}
