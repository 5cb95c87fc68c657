/*
 * snapshot/store/catalog.c - see catalog.h: opening and closing the catalog's file and all that belongs to it.
 *
 * Any thread may use an open catalog; the thread that closes it is the last one to.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define CATALOG_CACHE_DEFAULT (32U << 20)

/* SQLite's locks and shared memory are not reliable on network file systems (sqlite.org/wal.html). */
static int catalog_check_fs(const char *path, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(path);
	struct statfs sf;
	if (statfs(dirname(copy), &sf) < 0)
		return err_sys(e, errno, "catalog %s: its folder", path);
	switch ((unsigned long)sf.f_type) {
	case 0x6969:     /* NFS */
	case 0xff534d42: /* CIFS */
	case 0xfe534d42: /* SMB2 */
	case 0x517b:     /* SMB */
	case 0x00c36400: /* Ceph */
		return err_set(
		    e, ENOTSUP,
		    "catalog %s: lies on a network file system, where SQLite's locks do not hold (use a local disk)",
		    path);
	default:
		return 0;
	}
}

/* Makes the empty file with mode 0600 first: SQLite would follow the umask, and -wal and -shm follow this file's mode.
 */
static int catalog_make_file(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat sb;
	if (fd < 0 || fstat(fd, &sb) < 0)
		return err_sys(e, errno, "catalog %s", path);
	if (!S_ISREG(sb.st_mode))
		return err_set(e, EINVAL, "catalog %s: not a regular file", path);
	if (sb.st_nlink > 1)
		return err_set(e, EINVAL, "catalog %s: has several links; SQLite's journal belongs to one name", path);
	if (sb.st_mode & 077)
		return err_set(e, EACCES, "catalog %s: readable by others, and backups hold credentials (chmod 600)",
			       path);
	return 0;
}

int catalog_open(struct catalog **ret, const char *path, enum catalog_mode mode, struct err *e)
{
	struct stat sb;
	if (mode == CATALOG_READ && stat(path, &sb) < 0)
		return err_sys(e, errno, "catalog %s", path);
	int r = catalog_check_fs(path, e);
	if (r < 0)
		return r;
	r = mode == CATALOG_WRITE ? catalog_make_file(path, e) : 0;
	if (r < 0)
		return r;
	_cleanup_(cleanup_catalog) struct catalog *c = xcalloc(1, sizeof *c);
	c->daemon_fd = -1;
	c->path = realpath(path, NULL);
	if (!c->path)
		return err_sys(e, errno, "catalog %s", path);
	c->mode = mode;
	(void)pthread_mutex_init(&c->write_mutex, NULL);
	(void)pthread_mutex_init(&c->read_mutex, NULL);
	(void)pthread_mutex_init(&c->codec_mutex, NULL);
	(void)pthread_mutex_init(&c->watch_mutex, NULL);
	(void)pthread_mutex_init(&c->index_mutex, NULL);
	c->decompressors = decompressors_new();
	c->packs = pack_cache_new(CATALOG_CACHE_DEFAULT / 8 * 7);
	c->blobs = blob_cache_new(CATALOG_CACHE_DEFAULT / 8);
	struct store_db *db = store_open(c, false, mode == CATALOG_READ, e);
	if (!db)
		return err_code(e);
	if (mode == CATALOG_WRITE)
		c->writer = db, c->writer_sync = STORE_DURABLE;
	else
		store_read_end(c, db);
	r = mode == CATALOG_WRITE ? catalog_create(c, db, e) : 0;
	if (r < 0)
		return r;
	r = catalog_check_format(c, db, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

void catalog_close(struct catalog *c)
{
	if (!c)
		return;
	lru_free(c->packs);
	lru_free(c->blobs);
	decompressors_free(c->decompressors);
	store_codecs_free(c);
	while (c->free_readers) {
		struct store_db *next = c->free_readers->next;
		store_close(c->free_readers);
		c->free_readers = next;
	}
	store_close(c->watch);
	if (c->daemon_fd >= 0)
		(void)close(c->daemon_fd);
	if (c->writer)
		(void)sqlite3_wal_checkpoint_v2(c->writer->h, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	store_close(c->writer);
	free(c->path);
	free(c);
}

const char *catalog_path(const struct catalog *c)
{
	return c->path;
}

const char *catalog_uuid(const struct catalog *c)
{
	return c->uuid;
}

int catalog_set_cache_bytes(struct catalog *c, size_t bytes)
{
	lru_set_limit(c->packs, bytes / 8 * 7);
	lru_set_limit(c->blobs, bytes / 8);
	return 0;
}

int catalog_lock_daemon(struct catalog *c, struct err *e)
{
	int fd = store_lock(c, STORE_LOCK_DAEMON, true, e);
	if (fd == -EBUSY)
		return err_set(e, EBUSY, "catalog %s: mounted already by another metasnapfs", c->path);
	if (fd < 0)
		return fd;
	c->daemon_fd = fd;
	return 0;
}

int64_t catalog_data_version(struct catalog *c)
{
	/* PRAGMA data_version tells commits of all other connections: one connection that only watches sees every one.
	 */
	MUTEX_GUARD(&c->watch_mutex);
	if (!c->watch)
		c->watch = store_open(c, false, true, ERR_DROP);
	int64_t v = 0;
	if (c->watch)
		(void)store_query(c->watch, STMT_DATA_VERSION, NO_BINDS, row_int, &v, "watching", ERR_DROP);
	return v;
}

int catalog_statvfs(struct catalog *c, struct statvfs *ret, struct err *e)
{
	return statvfs(c->path, ret) < 0 ? err_sys(e, errno, "%s", c->path) : 0;
}
