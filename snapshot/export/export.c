/*
 * snapshot/export/export.c - a snapshot written to a directory in the archive's shape.
 *
 * Everything is written and synced below a temporary name beside the target, then renamed: the target is whole or it is
 * not there. What is written is compared with SHA256SUMS on the way, so that damage in the catalog does not leave
 * the house unnoticed. Runs on the caller's thread, no locks. A caller that blocks SIGINT, SIGTERM and SIGHUP can have
 * it stopped by them (EINTR, nothing left behind): a pending one is looked for between chunks.
 */
#include "snapshot/export/export.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>

#include "base/out_file.h"
#include "base/text.h"
#include "snapshot/row/manifest.h"
#include "snapshot/store/store.h"

#define EXPORT_CHUNK (1U << 20)

struct export
{
	struct catalog *c;
	struct snapshot_info info;
	char *target; /* without final slashes, symbolic links followed */
	char *parent;
	char *temp;    /* "" until it is there */
	int top_fd;    /* of temp */
	int tables_fd; /* of temp/tables */
	mode_t mode;
	char *chunk;
	struct hasher *hasher;
	struct strbuf sums; /* SHA256SUMS as the catalog has it */
	size_t sums_at;     /* line of the next file */
};

/* ---- nothing left behind ---- */

static void export_empty_dir(int fd)
{
	int copy = dup(fd);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		if (copy >= 0)
			(void)close(copy);
		return;
	}
	rewinddir(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			(void)unlinkat(fd, entry->d_name, 0); /* "tables" refuses, and goes below */
	(void)closedir(dir);
}

static void export_done(struct export *x)
{
	if (x->tables_fd >= 0 && x->temp)
		export_empty_dir(x->tables_fd);
	if (x->top_fd >= 0 && x->temp) {
		export_empty_dir(x->top_fd);
		(void)unlinkat(x->top_fd, "tables", AT_REMOVEDIR);
	}
	if (x->temp)
		(void)rmdir(x->temp);
	cleanup_close(&x->tables_fd);
	cleanup_close(&x->top_fd);
	snapshot_info_done(&x->info);
	hasher_free(x->hasher);
	strbuf_done(&x->sums);
	free(x->chunk);
	free(x->temp);
	free(x->target);
	free(x->parent);
}

/* ---- the target ---- */

static int export_check_empty(const char *path, struct err *e)
{
	DIR *dir = opendir(path);
	if (!dir)
		return err_sys(e, errno, "%s", path);
	bool empty = true;
	errno = 0;
	for (struct dirent *entry; empty && (entry = readdir(dir));)
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	int code = errno;
	(void)closedir(dir);
	if (!empty)
		return err_set(e, ENOTEMPTY, "%s: there is something in it (name a new directory)", path);
	return code ? err_sys(e, code, "%s", path) : 0;
}

/* Finds out where to write; makes the temporary directory. */
static int export_begin(struct export *x, const char *path, struct err *e)
{
	struct stat st, here;
	int r = 0;
	if (!stat(path, &st)) {
		if (!S_ISDIR(st.st_mode))
			return err_set(e, EEXIST, "%s: exists and is no directory", path);
		/* The rename would leave the caller's shell in a directory that is gone. */
		if (!stat(".", &here) && here.st_dev == st.st_dev && here.st_ino == st.st_ino)
			return err_set(e, EBUSY, "%s is the working directory (name a new directory)", path);
		x->target = realpath(path, NULL);
		if (!x->target)
			return err_sys(e, errno, "%s", path);
		r = export_check_empty(x->target, e);
		if (r < 0)
			return r;
		_cleanup_free_ char *above = xasprintf("%s/..", x->target);
		if (!stat(above, &here) && here.st_dev != st.st_dev)
			return err_set(e, EBUSY, "%s is a mount point (name a new directory below it)", path);
		x->mode = (st.st_mode & 0777) | 0700;
	} else if (errno != ENOENT || !*path) {
		return err_sys(e, *path ? errno : EINVAL, "%s", *path ? path : "target directory");
	} else {
		x->target = xstrdup(path);
		for (size_t n = strlen(x->target); n > 1 && x->target[n - 1] == '/'; n--)
			x->target[n - 1] = '\0';
		x->mode = 0700;
	}
	_cleanup_free_ char *for_dir = xstrdup(x->target), *for_base = xstrdup(x->target);
	x->parent = xstrdup(dirname(for_dir));
	char *temp = xasprintf("%s/.%.200s.XXXXXX", x->parent, basename(for_base));
	if (!mkdtemp(temp)) {
		r = err_sys(e, errno, "making a directory in %s", x->parent);
		free(temp);
		return r;
	}
	x->temp = temp;
	x->top_fd = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->top_fd < 0 || mkdirat(x->top_fd, "tables", 0700) < 0)
		return err_sys(e, errno, "%s", temp);
	x->tables_fd = openat(x->top_fd, "tables", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return x->tables_fd < 0 ? err_sys(e, errno, "%s/tables", temp) : 0;
}

/* ---- files ---- */

static int export_fail(const struct export *x, const char *name, int code, struct err *e)
{
	if (code == ENOSPC || code == EDQUOT)
		return err_set(e, ENOSPC, "%s: no space left for %s, nothing is left of it (free some, then try again)",
			       x->target, name);
	return err_sys(e, code, "%s: writing %s", x->target, name);
}

static int export_write(const struct export *x, int fd, const char *name, const char *data, size_t n, struct err *e)
{
	while (n) {
		ssize_t done = write(fd, data, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return export_fail(x, name, errno, e);
		data += done;
		n -= (size_t)done;
	}
	return out_interrupted(e);
}

/* All of a snapshot has the snapshot's time, as in the mounted tree: a copy of a copy is the same. */
static int export_sync(const struct export *x, int fd, const char *name, struct err *e)
{
	struct timespec t = {.tv_sec = x->info.taken_ms / 1000, .tv_nsec = x->info.taken_ms % 1000 * 1000000};
	struct timespec times[2] = {t, t};
	if (futimens(fd, times) < 0 || fsync(fd) < 0)
		return export_fail(x, name, errno, e);
	return 0;
}

/* Closes *fd in a way that tells of late write errors (NFS, quotas). */
static int export_close(const struct export *x, int *fd, const char *name, struct err *e)
{
	int r = export_sync(x, *fd, name, e);
	if (close(TAKE_FD(*fd)) < 0 && r >= 0)
		r = export_fail(x, name, errno, e);
	return r;
}

/* The next line of SHA256SUMS must say what was written. */
static int export_check_sum(struct export *x, const uint8_t sha[ROW_SHA_LEN], const char *name, struct err *e)
{
	char hex[2 * ROW_SHA_LEN + 1];
	hex_encode(sha, ROW_SHA_LEN, hex);
	const char *line = strbuf_str(&x->sums) + x->sums_at;
	const char *sum = line + (*line == '\\'); /* sha256sum's mark of a name with escapes */
	if (x->sums_at >= x->sums.len || strncmp(sum, hex, 2 * ROW_SHA_LEN))
		return err_set(
		    e, EIO, "%s in the catalog does not have the SHA-256 that is noted for it (metasnap check)", name);
	x->sums_at += strcspn(line, "\n") + 1;
	return 0;
}

static int export_text(struct export *x, const char *name, const struct strbuf *text, bool check, struct err *e)
{
	uint8_t sha[ROW_SHA_LEN];
	_cleanup_close_ int fd = openat(x->top_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return export_fail(x, name, errno, e);
	int r = export_write(x, fd, name, strbuf_str(text), text->len, e);
	if (r < 0)
		return r;
	r = export_close(x, &fd, name, e);
	if (r < 0 || !check)
		return r;
	hasher_sha256(x->hasher, strbuf_str(text), text->len, sha);
	return export_check_sum(x, sha, name, e);
}

static int export_table(struct export *x, const struct version_info *v, struct err *e)
{
	uint8_t sha[ROW_SHA_LEN];
	_cleanup_strbuf_ struct strbuf file = {0};
	table_file_name(v->name, &file);
	strbuf_adds(&file, ".jsonl");
	const char *name = strbuf_str(&file);
	_cleanup_close_ int fd = openat(x->tables_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return export_fail(x, name, errno, e);
	hasher_begin(x->hasher);
	for (uint64_t at = 0; at < v->line_bytes;) {
		size_t n = 0;
		int r = catalog_read_lines(x->c, v->id, at, x->chunk, EXPORT_CHUNK, &n, e);
		if (r < 0)
			return r;
		if (!n || n > v->line_bytes - at)
			return err_set(e, EIO, "table %s: the catalog has another number of bytes than it noted",
				       v->name);
		hasher_more(x->hasher, x->chunk, n);
		r = export_write(x, fd, name, x->chunk, n, e);
		if (r < 0)
			return r;
		at += n;
	}
	hasher_end(x->hasher, sha);
	int r = export_close(x, &fd, name, e);
	return r < 0 ? r : export_check_sum(x, sha, name, e);
}

static int export_files(struct export *x, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	_cleanup_(version_list_done) struct version_list tables = {0};
	int r = catalog_sums(x->c, x->info.id, &x->sums, e);
	if (r < 0)
		return r;
	r = catalog_manifest(x->c, x->info.id, &text, e);
	if (r < 0)
		return r;
	r = export_text(x, "MANIFEST.json", &text, true, e);
	if (r < 0)
		return r;
	strbuf_clear(&text);
	r = catalog_schema_sql(x->c, x->info.id, &text, e);
	if (r < 0)
		return r;
	r = export_text(x, "schema.sql", &text, true, e);
	if (r < 0)
		return r;
	r = catalog_tables(x->c, x->info.id, &tables, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < tables.n; i++) {
		r = export_table(x, &tables.v[i], e);
		if (r < 0)
			return r;
	}
	if (x->sums_at != x->sums.len)
		return err_set(e, EIO,
			       "SHA256SUMS in the catalog names other files than the snapshot has (metasnap check)");
	return export_text(x, "SHA256SUMS", &x->sums, false, e);
}

/* Directories last: each new name changes a directory's time. */
static int export_publish(struct export *x, struct err *e)
{
	if (fchmod(x->top_fd, x->mode) < 0)
		return export_fail(x, "its mode", errno, e);
	int r = export_sync(x, x->tables_fd, "tables", e);
	if (r < 0)
		return r;
	r = export_sync(x, x->top_fd, "the directory", e);
	if (r < 0)
		return r;
	_cleanup_close_ int parent = open(x->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_sys(e, errno, "%s", x->parent);
	if (rename(x->temp, x->target) < 0) {
		if (errno == EBUSY)
			return err_set(e, EBUSY, "%s is a mount point or in use (name a new directory below it)",
				       x->target);
		return err_sys(e, errno, "giving %s its name", x->target);
	}
	free(x->temp);
	x->temp = NULL; /* from here on it stays */
	return fsync(parent) < 0 ? err_sys(e, errno, "%s is written; syncing %s", x->target, x->parent) : 0;
}

int export_snapshot(struct catalog *c, int64_t id, const char *path, struct err *e)
{
	_cleanup_(export_done) struct export x = {.c = c, .top_fd = -1, .tables_fd = -1};
	int r = catalog_get(x.c, id, &x.info, e);
	if (r < 0)
		return r;
	x.chunk = xmalloc(EXPORT_CHUNK);
	x.hasher = hasher_new();
	r = export_begin(&x, path, e);
	if (r < 0)
		return r;
	r = export_files(&x, e);
	if (r < 0)
		return r;
	return export_publish(&x, e);
}
