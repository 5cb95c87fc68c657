/*
 * fs/staging/xattr.c - extended attributes of staged nodes. Any thread. Lock: staging.mutex.
 */
#include "fs/staging/xattr.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/staging/internal.h"

#define STAGING_XATTR_MAX 65536

int staging_setxattr(struct staging *s, int64_t id, const char *name, const void *value, size_t n, int flags)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node node;
	if (strlen(name) > STAGING_NAME_MAX || n > STAGING_XATTR_MAX)
		return -ERANGE;
	int r = staging_get_locked(s, id, &node);
	if (r < 0)
		return r;
	if (flags & (XATTR_CREATE | XATTR_REPLACE)) {
		sqlite3_stmt *st = staging_stmt(s, ST_XATTR_GET);
		(void)sqlite3_bind_int64(st, 1, id);
		(void)sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
		bool there = sqlite3_step(st) == SQLITE_ROW;
		(void)sqlite3_reset(st);
		if (there && (flags & XATTR_CREATE))
			return -EEXIST;
		if (!there && (flags & XATTR_REPLACE))
			return -ENODATA;
	}
	r = staging_begin(s);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_XATTR_PUT);
	(void)sqlite3_bind_int64(st, 1, id);
	(void)sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
	(void)sqlite3_bind_blob(st, 3, n ? value : "", (int)n, SQLITE_STATIC);
	r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	return r;
}

int staging_getxattr(struct staging *s, int64_t id, const char *name, struct strbuf *out)
{
	MUTEX_GUARD(&s->mutex);
	sqlite3_stmt *st = staging_stmt(s, ST_XATTR_GET);
	(void)sqlite3_bind_int64(st, 1, id);
	(void)sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
	int rc = sqlite3_step(st), r = -ENODATA;
	if (rc == SQLITE_ROW) {
		strbuf_add(out, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
		r = 0;
	}
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? r : staging_failed(s, rc);
}

int staging_listxattr(struct staging *s, int64_t id, struct strbuf *out)
{
	MUTEX_GUARD(&s->mutex);
	int rc;
	sqlite3_stmt *st = staging_stmt(s, ST_XATTR_LIST);
	(void)sqlite3_bind_int64(st, 1, id);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		strbuf_adds(out, (const char *)sqlite3_column_text(st, 0));
		strbuf_addch(out, '\0');
	}
	(void)sqlite3_reset(st);
	return rc == SQLITE_DONE ? 0 : staging_failed(s, rc);
}

int staging_removexattr(struct staging *s, int64_t id, const char *name)
{
	MUTEX_GUARD(&s->mutex);
	int r = staging_begin(s);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_XATTR_DELETE);
	(void)sqlite3_bind_int64(st, 1, id);
	(void)sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
	r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	return r < 0 ? r : sqlite3_changes(s->db) ? 0 : -ENODATA;
}
