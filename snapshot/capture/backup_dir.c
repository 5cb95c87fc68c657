/*
 * snapshot/capture/backup_dir.c - see backup_dir.h.
 *
 * A directory's tree owns the descriptor of its top and of the file read last (T.jsonl is read in many small steps).
 * Paths are relative to the top and cannot leave it upwards: they are made from names that a manifest claims. No
 * locks: one thread at a time.
 */
#include "snapshot/capture/backup_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct backup_dir {
	struct backup_tree tree; /* first: it is what callers hold */
	char *path;
	int fd;
	char *open_path; /* of open_fd; NULL: none */
	int open_fd;
};

/* ENOENT and ENOTDIR are answers that callers ask for; the words are for the others as well. */
static int backup_dir_fail(const struct backup_dir *d, const char *path, int code, struct err *e)
{
	return err_sys(e, code, "%s%s%s", d->path, *path ? "/" : "", path);
}

static int backup_dir_check(const struct backup_dir *d, const char *path, struct err *e)
{
	for (const char *s = path; s; s = strchr(s, '/')) {
		s += *s == '/';
		if (!strcmp(s, "..") || !strncmp(s, "../", 3))
			return err_set(e, EINVAL, "%s: \"%.100s\" leaves the backup", d->path, path);
	}
	return *path == '/' ? err_set(e, EINVAL, "%s: \"%.100s\" leaves the backup", d->path, path) : 0;
}

/* Opens a regular file; never waits for the other end of a FIFO. */
static int backup_dir_openat(struct backup_dir *d, const char *path, int *ret, struct err *e)
{
	struct stat st;
	*ret = -1;
	int r = backup_dir_check(d, path, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = openat(d->fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return backup_dir_fail(d, path, errno, e);
	if (S_ISDIR(st.st_mode))
		return backup_dir_fail(d, path, EISDIR, e);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s/%s: not a file", d->path, path);
	*ret = TAKE_FD(fd);
	return 0;
}

static void cleanup_closedir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static int backup_dir_list(struct backup_tree *t, const char *path,
			   int (*each)(void *arg, const char *name, bool is_dir), void *arg, struct err *e)
{
	struct backup_dir *d = (struct backup_dir *)t;
	int r = backup_dir_check(d, path, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = openat(d->fd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(cleanup_closedir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return backup_dir_fail(d, path, errno, e);
	fd = -1; /* dir's now */
	for (;;) {
		struct stat st;
		errno = 0;
		struct dirent *entry = readdir(dir);
		if (!entry)
			return errno ? backup_dir_fail(d, path, errno, e) : 0;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		bool is_dir = entry->d_type == DT_DIR;
		if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK)
			is_dir = !fstatat(dirfd(dir), entry->d_name, &st, 0) && S_ISDIR(st.st_mode);
		r = each(arg, entry->d_name, is_dir);
		if (r)
			return r;
	}
}

static int backup_dir_pread(struct backup_dir *d, const char *path, int fd, uint64_t offset, void *buf, size_t n,
			    size_t *ret_n, struct err *e)
{
	*ret_n = 0;
	while (*ret_n < n) {
		ssize_t got = pread(fd, (char *)buf + *ret_n, n - *ret_n, (off_t)(offset + *ret_n));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return backup_dir_fail(d, path, errno, e);
		if (!got)
			break;
		*ret_n += (size_t)got;
	}
	return 0;
}

static int backup_dir_slurp(struct backup_tree *t, const char *path, struct strbuf *out, struct err *e)
{
	struct backup_dir *d = (struct backup_dir *)t;
	_cleanup_close_ int fd = -1;
	struct stat st;
	strbuf_clear(out);
	int r = backup_dir_openat(d, path, &fd, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return backup_dir_fail(d, path, errno, e);
	/* One byte more than the size finds the end in one read; a file that grows meanwhile is read on. */
	for (size_t step = (size_t)st.st_size + 1;; step = 65536) {
		size_t got = 0;
		strbuf_reserve(out, step);
		r = backup_dir_pread(d, path, fd, out->len, out->data + out->len, step, &got, e);
		if (r < 0)
			return r;
		out->len += got;
		out->data[out->len] = '\0';
		if (got < step)
			return 0;
	}
}

static int backup_dir_read(struct backup_tree *t, const char *path, uint64_t offset, void *buf, size_t n, size_t *ret_n,
			   struct err *e)
{
	struct backup_dir *d = (struct backup_dir *)t;
	if (!d->open_path || strcmp(d->open_path, path)) {
		int fd = -1;
		int r = backup_dir_openat(d, path, &fd, e);
		if (r < 0)
			return r;
		cleanup_close(&d->open_fd);
		free(d->open_path);
		d->open_fd = fd;
		d->open_path = xstrdup(path);
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	}
	return backup_dir_pread(d, path, d->open_fd, offset, buf, n, ret_n, e);
}

static int backup_dir_size(struct backup_tree *t, const char *path, uint64_t *ret, struct err *e)
{
	struct backup_dir *d = (struct backup_dir *)t;
	struct stat st;
	int r = backup_dir_check(d, path, e);
	if (r < 0)
		return r;
	if (fstatat(d->fd, path, &st, 0) < 0)
		return backup_dir_fail(d, path, errno, e);
	if (S_ISDIR(st.st_mode))
		return backup_dir_fail(d, path, EISDIR, e);
	*ret = (uint64_t)st.st_size;
	return 0;
}

static void backup_dir_close(struct backup_tree *t)
{
	struct backup_dir *d = (struct backup_dir *)t;
	cleanup_close(&d->fd);
	cleanup_close(&d->open_fd);
	free(d->open_path);
	free(d->path);
	free(d);
}

int backup_dir_open(struct backup_tree **ret, const char *path, struct err *e)
{
	*ret = NULL;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	struct backup_dir *d = xcalloc(1, sizeof *d);
	d->tree = (struct backup_tree){
	    .list = backup_dir_list,
	    .slurp = backup_dir_slurp,
	    .read = backup_dir_read,
	    .size = backup_dir_size,
	    .close = backup_dir_close,
	};
	d->path = xstrdup(path);
	for (size_t n = strlen(d->path); n > 1 && d->path[n - 1] == '/'; n--)
		d->path[n - 1] = '\0';
	d->fd = fd;
	d->open_fd = -1;
	*ret = &d->tree;
	return 0;
}
