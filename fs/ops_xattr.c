/*
 * fs/ops_xattr.c - requests about extended attributes. Threads: as in ops.c.
 */
#include <errno.h>
#include <limits.h>

#include "fs/internal.h"
#include "fs/staging/xattr.h"
#include "fs/tree/xattr.h"

static void ops_reply_xattr(struct call *c, int r, const struct strbuf *out, size_t size, const struct err *e)
{
	if (r == 0 && out->len > XATTR_SIZE_MAX)
		r = -E2BIG;
	if (r == 0 && size && out->len > size)
		r = -ERANGE;
	if (r < 0)
		reply_err(c, r, e);
	else if (!size)
		(void)fuse_reply_xattr(c->req, out->len);
	else
		(void)fuse_reply_buf(c->req, out->data, out->len);
}

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct call c = call_of(req, NULL);
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf out = {0};
	/* Tools ask for security.selinux and system.posix_acl_access of every file until they hear that there are none
	 * here: coreutils remember EOPNOTSUPP for a device, but not ENODATA. ENOSYS, which the kernel would remember,
	 * would take our own away, too. */
	int r = !strncmp(name, "user.", 5) ? tree_getxattr(c.fs->tree, ino, name, &out, &e) : -EOPNOTSUPP;
	ops_reply_xattr(&c, r, &out, size, &e);
}

void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct call c = call_of(req, NULL);
	struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf out = {0};
	int r = tree_listxattr(c.fs->tree, ino, &out, &e);
	ops_reply_xattr(&c, r, &out, size, &e);
}

void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct call c = call_of(req, NULL);
	int64_t node = tree_staged_of(ino);
	int r;
	if (!node)
		r = tree_is_readonly(ino) ? -EROFS : -EOPNOTSUPP;
	else if (strncmp(name, "user.", 5))
		r = -EOPNOTSUPP;
	else
		r = staging_setxattr(c.fs->staging, node, name, value, size, flags);
	reply_code(&c, r);
}

void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct call c = call_of(req, NULL);
	int64_t node = tree_staged_of(ino);
	reply_code(&c, node ? staging_removexattr(c.fs->staging, node, name) : -EROFS);
}
