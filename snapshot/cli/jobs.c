/*
 * snapshot/cli/jobs.c - the commands of `metasnap` that change something: snapshot, restore, import, export, remove,
 * hold, release. They run on the main thread; a signal ends their waits through watch.c. No locks.
 */
#include "snapshot/cli/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "snapshot/capture/backup_dir.h"
#include "snapshot/capture/backup_look.h"
#include "snapshot/export/export.h"
#include "snapshot/export/sql_export.h"
#include "snapshot/restore/policy.h"

/* Prints the name of snapshot `id`. */
static int cli_print_name(struct cli *c, int64_t id, const char *what)
{
	struct snapshot_info s;
	struct err e = ERR_INIT;
	if (catalog_get(service_catalog(c->svc), id, &s, &e) < 0)
		return cli_fail(&e, "%s %s", what, cli_source_name(c, c->source));
	(void)printf("%s\n", s.name);
	snapshot_info_done(&s);
	return CLI_DONE;
}

int cli_snapshot(struct cli *c)
{
	struct err e = ERR_INIT;
	int64_t id = 0, pending = 0;
	char name[256];
	/* Until the moment is fixed there is nothing to cancel: a signal simply ends the program. */
	cli_watch_job(c->watch, c->svc, c->source, NULL);
	int r = service_snapshot(c->svc, c->source, c->n_args > 1 ? c->args[1] : NULL, &c->who, &id, &e);
	if (r >= 0) {
		cli_watch_job(c->watch, c->svc, c->source, &c->waiter);
		r = service_wait(c->svc, id, &c->waiter, &e);
	}
	cli_watch_idle(c->watch);
	if (r == -EINTR && c->waiter.interrupted) {
		struct waiter again = {0};
		bool gone = !service_pending(c->svc, c->source, &pending, name) && pending == id &&
			    !service_remove(c->svc, c->source, name, &c->who, ERR_DROP);
		/* It may have been complete by then: what counts is how it ended. */
		r = service_wait(c->svc, id, &again, &e);
		if (r == -EINTR || (r == 0 && gone))
			r = err_set(&e, EINTR, "interrupted, nothing of it is kept");
	}
	if (r < 0)
		return cli_fail(&e, "snapshot %s", cli_source_name(c, c->source));
	if (service_warning(c->svc, id, &e))
		log_warning("snapshot %s: %s", cli_source_name(c, c->source), e.msg);
	return cli_print_name(c, id, "snapshot");
}

/* ---- restore ---- */

/* What to go back to: a snapshot by name, else a directory or a file of the former command line. */
struct cli_target {
	int64_t snapshot_id;
	struct backup_tree *backup;
	int fd; /* of such a file, where is_sql */
	bool is_sql;
	struct sql_file sql;
	struct strbuf entity; /* "TABLE/ROW"; empty: all */
	char *label;
};

static void cli_target_done(struct cli_target *t)
{
	backup_close(t->backup);
	if (t->is_sql)
		(void)close(t->fd);
	strbuf_done(&t->entity);
	free(t->label);
}

static int cli_open_backup(const char *path, struct backup_tree **ret, struct err *e)
{
	struct backup_state state;
	_cleanup_(cleanup_backup) struct backup_tree *t = NULL;
	int r = backup_dir_open(&t, path, e);
	if (r >= 0)
		r = backup_look(t, &state, e);
	if (r < 0)
		return r;
	if (state.kind == BACKUP_NONE)
		return err_set(e, EBADMSG, "%s: not a backup: neither MANIFEST.json nor .table.json in it", path);
	if (!state.complete)
		return err_set(e, EBADMSG,
			       "%s: not complete: %llu of %llu files, %llu of %llu bytes of tables (copy it again)",
			       path, (unsigned long long)state.files_found, (unsigned long long)state.files_expected,
			       (unsigned long long)state.bytes_found, (unsigned long long)state.bytes_expected);
	*ret = TAKE_PTR(t);
	return 0;
}

static int cli_open_sql(struct cli *c, const char *path, struct cli_target *ret, struct err *e)
{
	ret->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ret->fd < 0)
		return err_sys(e, errno, "%s", path);
	ret->is_sql = true;
	ret->sql = (struct sql_file){
	    .source = {sql_source_read_fd, &ret->fd},
	    .backslashes = c->backslashes,
	    .mysql = !strcmp(service_source(c->svc, c->source)->params.engine, "mysql"),
	};
	if (c->tables)
		return err_set(e, EINVAL, "--table does not go with a .sql file");
	return 0;
}

static int cli_find_target(struct cli *c, const char *what, struct cli_target *ret, struct err *e)
{
	struct snapshot_info s;
	struct stat st;
	if (!strchr(what, '/') && what != c->former.input) {
		int r = cli_find_snapshot(c, c->source, what, &s, e);
		if (r >= 0) {
			ret->snapshot_id = s.id;
			ret->label = xasprintf("snapshots/%s", s.name);
			snapshot_info_done(&s);
			return 0;
		}
		if (r != -ENOENT || stat(what, &st) < 0)
			return r;
	}
	ret->label = xstrdup(what);
	if (stat(what, &st) == 0 && !S_ISDIR(st.st_mode))
		return cli_open_sql(c, what, ret, e);
	return cli_open_backup(what, &ret->backup, e);
}

/* Of the snapshot only one entity. */
static int cli_narrow_target(struct cli *c, struct cli_target *t, struct err *e)
{
	if (!t->snapshot_id)
		return err_set(e, EINVAL, "--entity takes it from a snapshot (metasnap import %s DIR makes one)",
			       cli_source_name(c, c->source));
	int r = cli_find_entity(c, t->snapshot_id, &t->entity, e);
	if (r < 0)
		return r;
	char *of = t->label;
	t->label = xasprintf("%s, entity %s %s", of, c->entity_type, c->entity_name);
	free(of);
	return 0;
}

static int cli_run_restore(struct cli *c, const struct cli_target *t, bool dry_run, struct restore_plan *plan)
{
	_cleanup_strbuf_ struct strbuf report = {0};
	struct err e = ERR_INIT;
	const struct source_config *source = service_source(c->svc, c->source);
	struct restore_request rq = {
	    .snapshot_id = t->snapshot_id,
	    .backup = t->backup,
	    .sql = t->is_sql ? &t->sql : NULL,
	    .label = t->label,
	    .tables = c->tables,
	    .entity = t->entity.len ? strbuf_str(&t->entity) : NULL,
	    .dry_run = dry_run,
	    .force = c->force || source->restore_force,
	    .policy = RESTORE_REPLACE, /* who types it means it; restore=off was looked at before */
	};
	cli_watch_job(c->watch, c->svc, c->source, &c->waiter);
	int r = service_restore(c->svc, c->source, &rq, &c->who, &c->waiter, plan, &report, &e);
	cli_watch_idle(c->watch);
	cli_print_report(&report, &e);
	return r < 0 ? cli_fail(&e, "restore %s from %s", cli_source_name(c, c->source), t->label) : CLI_DONE;
}

static void cli_plan_counts(const struct restore_plan *plan, uint64_t count[4])
{
	memset(count, 0, 4 * sizeof *count);
	for (size_t i = 0; i < plan->n; i++) {
		const struct table_plan *t = &plan->v[i];
		count[0] += t->inserts;
		count[1] += t->updates;
		count[2] += t->deletes;
		count[3] += t->inserts || t->updates || t->deletes;
	}
}

static const char *cli_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* On the terminal. True: go on. */
static bool cli_confirm(struct cli *c, const struct cli_target *t, const struct restore_plan *plan)
{
	uint64_t n[4];
	char answer[16] = "";
	cli_plan_counts(plan, n);
	(void)fprintf(
	    stderr,
	    "restore %s from %s: %llu insert%s, %llu update%s, %llu delete%s in %llu table%s%s%s. Go on? [y/N] ",
	    cli_source_name(c, c->source), t->label, (unsigned long long)n[0], cli_plural(n[0]),
	    (unsigned long long)n[1], cli_plural(n[1]), (unsigned long long)n[2], cli_plural(n[2]),
	    (unsigned long long)n[3], cli_plural(n[3]), plan->objects.n ? ", definitions changed" : "",
	    plan->counters.len ? ", counters set" : "");
	if (!fgets(answer, sizeof answer, stdin))
		(void)fputc('\n', stderr);
	return !strcasecmp(answer, "y\n") || !strcasecmp(answer, "yes\n");
}

#define CLI_RESTORE_OFF "the configuration says restore=off"

int cli_restore(struct cli *c)
{
	_cleanup_(cli_target_done) struct cli_target t = {0};
	_cleanup_(restore_plan_done) struct restore_plan plan = {0};
	_cleanup_strbuf_ struct strbuf text = {0};
	const struct source_config *source = service_source(c->svc, c->source);
	struct err e = ERR_INIT;
	bool refused = restore_may(source->restore, RESTORE_ACT_DATABASE, false, ERR_DROP) < 0;
	if (refused && !c->dry_run) {
		(void)err_set(&e, EPERM, CLI_RESTORE_OFF);
		return cli_fail(&e, "restore %s", source->name);
	}
	bool ask = !c->yes && !c->dry_run;
	if (ask && !(isatty(STDIN_FILENO) && isatty(STDERR_FILENO))) {
		(void)err_set(&e, EPERM,
			      "not confirmed, and no terminal to ask at (--yes, or --dry-run to see what it would do)");
		return cli_fail(&e, "restore %s", source->name);
	}
	if (cli_find_target(c, c->args[1], &t, &e) < 0 || (c->entity_type && cli_narrow_target(c, &t, &e) < 0))
		return cli_fail(&e, "restore %s", source->name);
	if (ask) {
		int status = cli_run_restore(c, &t, true, &plan);
		if (status != CLI_DONE)
			return status;
		if (!cli_confirm(c, &t, &plan)) {
			log_error("restore %s: not confirmed, nothing was changed", source->name);
			return CLI_FAILED;
		}
		restore_plan_done(&plan);
		plan = (struct restore_plan){0};
	}
	int status = cli_run_restore(c, &t, c->dry_run, &plan);
	if (status != CLI_DONE)
		return status;
	restore_plan_text(&plan, &text);
	if (plan.safety[0])
		strbuf_addf(&text, "What was there before is the snapshot %s.\n", plan.safety);
	if (!c->dry_run)
		strbuf_adds(&text,
			    "Restart the server that uses the database (OpenMetadata: and reindex its search).\n");
	(void)fputs(strbuf_str(&text), stdout);
	if (refused) {
		(void)fflush(stdout);
		log_error("restore %s: it would be refused: " CLI_RESTORE_OFF, source->name);
	}
	return CLI_DONE;
}

/* ---- in and out ---- */

int cli_import(struct cli *c)
{
	_cleanup_(cleanup_backup) struct backup_tree *backup = NULL;
	_cleanup_strbuf_ struct strbuf report = {0};
	struct err e = ERR_INIT;
	int64_t id = 0;
	int r = cli_open_backup(c->args[1], &backup, &e);
	if (r >= 0) {
		cli_watch_job(c->watch, c->svc, c->source, &c->waiter);
		r = service_import(c->svc, c->source, backup, c->n_args > 2 ? c->args[2] : NULL, &c->who, &c->waiter,
				   &id, &report, &e);
		cli_watch_idle(c->watch);
	}
	cli_print_report(&report, &e);
	return r < 0 ? cli_fail(&e, "import %s", cli_source_name(c, c->source)) : cli_print_name(c, id, "import");
}

int cli_export(struct cli *c)
{
	struct snapshot_info s;
	struct err e = ERR_INIT;
	int r = cli_find_snapshot(c, c->source, c->args[1], &s, &e);
	if (r >= 0) {
		cli_watch_leave_signals(c->watch);
		size_t n = strlen(c->args[2]);
		bool sql = n > 4 && !strcmp(c->args[2] + n - 4, ".sql");
		r = (sql ? sql_export_snapshot : export_snapshot)(service_catalog(c->svc), s.id, c->args[2], &e);
		snapshot_info_done(&s);
	}
	return r < 0 ? cli_fail(&e, "export %s %s", cli_source_name(c, c->source), c->args[1]) : CLI_DONE;
}

/* ---- one snapshot ---- */

int cli_remove(struct cli *c)
{
	struct err e = ERR_INIT;
	/* By its own name only: `latest` may be another one by the time it is looked up. */
	int r = service_remove(c->svc, c->source, c->args[1], &c->who, &e);
	/* What cannot be freed now stays for the next prune: the snapshot is gone all the same. */
	if (r == 0)
		(void)service_compact(c->svc, ERR_DROP);
	return r < 0 ? cli_fail(&e, "remove %s %s", cli_source_name(c, c->source), c->args[1]) : CLI_DONE;
}

static int cli_set_hold(struct cli *c, bool hold)
{
	struct snapshot_info s;
	struct err e = ERR_INIT;
	int r = cli_find_snapshot(c, c->source, c->args[1], &s, &e);
	if (r >= 0) {
		r = service_hold(c->svc, c->source, s.name, hold, &c->who, &e);
		snapshot_info_done(&s);
	}
	return r < 0 ? cli_fail(&e, "%s %s %s", c->command->name, cli_source_name(c, c->source), c->args[1]) : CLI_DONE;
}

int cli_hold(struct cli *c)
{
	return cli_set_hold(c, true);
}

int cli_release(struct cli *c)
{
	return cli_set_hold(c, false);
}
