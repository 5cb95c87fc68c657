/*
 * snapshot/cli/backup.c - `metasnap backup`: a file as the former command line wrote it, without a catalog. Runs on the
 * main thread; a signal cancels the connection through watch.c. No locks.
 */
#include "snapshot/cli/cli.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#include "snapshot/sqlfile/backup.h"

static int backup_make_folder(const char *path, struct err *e)
{
	_cleanup_free_ char *part = xstrdup(path);
	for (char *p = part;; p++) {
		if (*p && (*p != '/' || p == part))
			continue;
		char end = *p;
		*p = '\0';
		/* EEXIST also for a file: making the backup in it tells. */
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "making %s", part);
		*p = end;
		if (!end)
			return 0;
	}
}

static int backup_path(const char *folder, char **ret, struct err *e)
{
	char name[64];
	struct tm tm;
	time_t now = time(NULL);
	if (!localtime_r(&now, &tm) || !strftime(name, sizeof name, "openmetadata_%Y%m%d%H%M_backup.sql", &tm))
		return err_set(e, EIO, "the time has no name");
	*ret = folder ? xasprintf("%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", name) : xstrdup(name);
	return folder ? backup_make_folder(folder, e) : 0;
}

static int backup_open(struct cli *c, struct db_conn **ret, struct err *e)
{
	struct source_config *source = &c->config.sources[c->source];
	int r = config_read_password(source, e);
	return r < 0 ? r : db_open(ret, &source->params, e);
}

static int backup_into(struct cli *c, struct out_file *f, const char *path, struct err *e)
{
	_cleanup_(cleanup_db_close) struct db_conn *conn = NULL;
	int r = backup_open(c, &conn, e);
	if (r < 0)
		return r;
	cli_watch_conn(c->watch, conn);
	r = out_file_begin(f, path, e);
	if (r >= 0)
		r = sql_backup_write(conn, f, e);
	if (r >= 0)
		r = out_file_publish(f, e);
	/* Before the connection goes, lest a signal meets it; after the file has, lest one leaves it half. */
	if (r < 0)
		out_file_done(f);
	cli_watch_conn(c->watch, NULL);
	return r == -EINTR ? err_set(e, EINTR, "interrupted, nothing is left of it") : r;
}

int cli_backup(struct cli *c)
{
	struct out_file file = {.fd = -1};
	_cleanup_free_ char *path = NULL;
	struct err e = ERR_INIT;
	int r = backup_path(c->old.output, &path, &e);
	if (r >= 0)
		r = backup_into(c, &file, path, &e);
	out_file_done(&file);
	if (r < 0)
		return cli_fail(&e, "backup %s", c->config.sources[c->source].name);
	(void)printf("Backup stored locally under %s\n", path);
	return CLI_DONE;
}
