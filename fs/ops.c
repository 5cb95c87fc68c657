/*
 * fs/ops.c - see ops.h.
 *
 * Threads: libfuse's workers run every ops_* function; one that would have to wait goes on as fs/call.c has it.
 */
#include "fs/ops.h"

#include "fs/internal.h"

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	static const unsigned want[] = {
	    FUSE_CAP_ASYNC_READ,          FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS, FUSE_CAP_READDIRPLUS_AUTO,
	    FUSE_CAP_EXPLICIT_INVAL_DATA, FUSE_CAP_ATOMIC_O_TRUNC,  FUSE_CAP_ASYNC_DIO};
	static const unsigned unwanted[] = {FUSE_CAP_WRITEBACK_CACHE,    FUSE_CAP_AUTO_INVAL_DATA,
					    FUSE_CAP_EXPORT_SUPPORT,     FUSE_CAP_CACHE_SYMLINKS /* latest changes */,
					    FUSE_CAP_POSIX_ACL,          FUSE_CAP_DONT_MASK,
					    FUSE_CAP_HANDLE_KILLPRIV,    FUSE_CAP_NO_OPEN_SUPPORT,
					    FUSE_CAP_NO_OPENDIR_SUPPORT, FUSE_CAP_SPLICE_READ,
					    FUSE_CAP_SPLICE_WRITE,       FUSE_CAP_SPLICE_MOVE,
					    FUSE_CAP_FLOCK_LOCKS,        FUSE_CAP_POSIX_LOCKS};
	for (size_t k = 0; k < sizeof want / sizeof *want; k++)
		conn->want |= conn->capable & want[k];
	for (size_t k = 0; k < sizeof unwanted / sizeof *unwanted; k++)
		conn->want &= ~unwanted[k];
	conn->max_write = 1u << 20;
	conn->max_readahead = 1u << 20;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	if (fs->ready)
		fs->ready(fs->ready_arg);
}

static void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	(void)ino;
	(void)nlookup;
	fuse_reply_none(req);
}

static void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	(void)count;
	(void)forgets;
	fuse_reply_none(req);
}

/* ---- what changed elsewhere ---- */

void fs_changed(void *arg, enum service_event ev, size_t source, int64_t snapshot_id, const char *name)
{
	struct fs *fs = arg;
	uint64_t id = (uint64_t)service_source_id(fs->service, source);
	uint64_t dirs[] = {ino_of(INO_SNAPSHOTS, id), ino_of(INO_ARCHIVES, id)};

	(void)ev;
	for (size_t k = 0; k < sizeof dirs / sizeof *dirs; k++) {
		notify_entry(fs->notify, dirs[k], name);
		notify_entry(fs->notify, dirs[k], "latest");
		notify_inode(fs->notify, dirs[k]);
	}
	if (snapshot_id > 0) {
		notify_inode(fs->notify, ino_of(INO_SNAPSHOT, (uint64_t)snapshot_id));
		notify_inode(fs->notify, ino_of(INO_ARCHIVE, (uint64_t)snapshot_id));
	}
	notify_inode(fs->notify, ino_of(INO_SOURCE, id));
	notify_inode(fs->notify, ino_of(INO_STATUS, id));
	notify_inode(fs->notify, ino_of(INO_JOURNAL, id));
}

/* Left out (ENOSYS, asked once): access, poll, lseek, copy_file_range, ioctl, locks (the kernel keeps them itself). */
const struct fuse_lowlevel_ops fs_ops = {
    .init = ops_init,
    .lookup = ops_lookup,
    .forget = ops_forget,
    .forget_multi = ops_forget_multi,
    .getattr = ops_getattr,
    .setattr = ops_setattr,
    .readlink = ops_readlink,
    .mknod = ops_mknod,
    .mkdir = ops_mkdir,
    .unlink = ops_unlink,
    .rmdir = ops_rmdir,
    .symlink = ops_symlink,
    .rename = ops_rename,
    .link = ops_link,
    .open = ops_open,
    .read = ops_read,
    .write = ops_write,
    .flush = ops_flush,
    .release = ops_release,
    .fsync = ops_fsync,
    .opendir = ops_opendir,
    .readdir = ops_readdir,
    .readdirplus = ops_readdirplus,
    .releasedir = ops_releasedir,
    .fsyncdir = ops_fsync,
    .statfs = ops_statfs,
    .setxattr = ops_setxattr,
    .getxattr = ops_getxattr,
    .listxattr = ops_listxattr,
    .removexattr = ops_removexattr,
    .create = ops_create,
    .fallocate = ops_fallocate,
};
