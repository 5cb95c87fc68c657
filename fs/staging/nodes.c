/*
 * fs/staging/nodes.c - the tree of nodes: what is in it, and what makes, moves and removes names in it.
 *
 * Attributes go to SQLite at once, inside the open transaction. Any thread. Lock: staging.mutex.
 */
#include "fs/staging/nodes.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/staging/internal.h"

/* ---- reading ---- */

int staging_get(struct staging *s, int64_t id, struct staged_node *ret)
{
	MUTEX_GUARD(&s->mutex);
	return staging_get_locked(s, id, ret);
}

int staging_lookup(struct staging *s, int64_t parent, const char *name, struct staged_node *ret)
{
	MUTEX_GUARD(&s->mutex);
	return staging_lookup_locked(s, parent, name, ret);
}

int staging_list(struct staging *s, int64_t parent, int64_t after, struct staged_entry *out, size_t cap, size_t *ret_n)
{
	MUTEX_GUARD(&s->mutex);
	size_t n = 0;
	int rc;

	sqlite3_stmt *st = staging_stmt(s, ST_LIST);
	(void)sqlite3_bind_int64(st, 1, parent);
	(void)sqlite3_bind_int64(st, 2, after);
	(void)sqlite3_bind_int64(st, 3, (int64_t)cap);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && n < cap) {
		staging_node_of(st, &out[n].node);
		size_t len = (size_t)sqlite3_column_bytes(st, 12);
		if (len > STAGING_NAME_MAX)
			len = STAGING_NAME_MAX;
		memcpy(out[n].name, sqlite3_column_blob(st, 12), len);
		out[n].name[len] = '\0';
		n++;
	}
	(void)sqlite3_reset(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return staging_failed(s, rc);
	*ret_n = n;
	return 0;
}

int staging_name(struct staging *s, int64_t id, char name[STAGING_NAME_MAX + 1])
{
	MUTEX_GUARD(&s->mutex);
	sqlite3_stmt *st = staging_stmt(s, ST_NAME);
	(void)sqlite3_bind_int64(st, 1, id);
	int rc = sqlite3_step(st), r = -ENOENT;
	if (rc == SQLITE_ROW) {
		size_t len = (size_t)sqlite3_column_bytes(st, 0);
		if (len > STAGING_NAME_MAX)
			len = STAGING_NAME_MAX;
		memcpy(name, sqlite3_column_blob(st, 0), len);
		name[len] = '\0';
		r = 0;
	}
	(void)sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? r : staging_failed(s, rc);
}

int staging_readlink(struct staging *s, int64_t id, struct strbuf *out)
{
	MUTEX_GUARD(&s->mutex);
	sqlite3_stmt *st = staging_stmt(s, ST_READLINK);
	(void)sqlite3_bind_int64(st, 1, id);
	int rc = sqlite3_step(st), r = -EINVAL;
	if (rc == SQLITE_ROW) {
		strbuf_add(out, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
		r = 0;
	}
	(void)sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? r : staging_failed(s, rc);
}

/* ---- making ---- */

static int staging_touch_dir(struct staging *s, int64_t dir, int subdirs, int64_t now)
{
	sqlite3_stmt *st = staging_stmt(s, ST_TOUCH_DIR);
	(void)sqlite3_bind_int64(st, 1, dir);
	(void)sqlite3_bind_int(st, 2, subdirs);
	(void)sqlite3_bind_int64(st, 3, now);
	return staging_run(s, st);
}

static int staging_insert(struct staging *s, const struct staged_node *dir, const char *name, mode_t mode, uid_t uid,
			  gid_t gid, const char *target, bool generated, int64_t now, int64_t *ret_id)
{
	bool is_set = dir->id < 0 && !generated && staging_is_set(name, mode);
	int64_t top = generated || is_set ? 0 : staging_top_of(dir, name, mode, 0);
	int r = staging_changed(s, top, S_ISREG(mode) ? 1 : 0, false);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_INSERT);
	(void)sqlite3_bind_int64(st, 1, dir->id);
	staging_bind_name(st, 2, name);
	(void)sqlite3_bind_int64(st, 3, top);
	(void)sqlite3_bind_int64(st, 4, mode);
	(void)sqlite3_bind_int64(st, 5, uid);
	(void)sqlite3_bind_int64(st, 6, gid);
	(void)sqlite3_bind_int64(st, 7, target ? (int64_t)strlen(target) : 0);
	(void)sqlite3_bind_int64(st, 8, now);
	(void)sqlite3_bind_int(st, 9, generated);
	if (target)
		staging_bind_name(st, 10, target);
	r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	if (r < 0)
		return r;
	*ret_id = sqlite3_last_insert_rowid(s->db);
	if (is_set) {
		st = staging_stmt(s, ST_SET_TOP);
		(void)sqlite3_bind_int64(st, 1, *ret_id);
		(void)sqlite3_bind_int64(st, 2, *ret_id);
		r = staging_run(s, st);
	}
	return r;
}

/* The directory a change goes to. */
static int staging_dir(struct staging *s, int64_t id, struct staged_node *ret)
{
	int r = staging_get_locked(s, id, ret);
	if (r < 0)
		return r;
	if (!S_ISDIR(ret->mode))
		return -ENOTDIR;
	return ret->id > 0 && ret->parent == 0 ? -ENOENT : 0;
}

static int staging_name_check(const char *name)
{
	size_t len = strlen(name);
	if (len > STAGING_NAME_MAX)
		return -ENAMETOOLONG;
	return len == 0 || !strcmp(name, ".") || !strcmp(name, "..") ? -EINVAL : 0;
}

int staging_make(struct staging *s, int64_t parent, const char *name, mode_t mode, uid_t uid, gid_t gid,
		 const char *target, struct staged_node *ret)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node dir, old;
	int64_t id, now = clock_ns();

	int r = staging_name_check(name);
	if (r < 0)
		return r;
	if (target && strlen(target) >= PATH_MAX)
		return -ENAMETOOLONG;
	r = staging_dir(s, parent, &dir);
	if (r < 0)
		return r;
	r = staging_lookup_locked(s, parent, name, &old);
	if (r != -ENOENT)
		return r < 0 ? r : -EEXIST;
	r = staging_begin(s);
	if (r < 0)
		return r;
	r = staging_insert(s, &dir, name, mode, uid, gid, target, false, now, &id);
	if (r < 0)
		return r;
	r = staging_touch_dir(s, parent, S_ISDIR(mode) ? 1 : 0, now);
	if (r < 0)
		return r;
	return staging_get_locked(s, id, ret);
}

/* ---- removing ---- */

/* Takes the node out of the tree; its content goes too unless it is open. again: as in staging_changed. */
int staging_drop(struct staging *s, const struct staged_node *n, bool again)
{
	int r = staging_changed(s, n->top, S_ISREG(n->mode) ? -1 : 0, again);
	if (r < 0)
		return r;
	struct staging_open_node *o = staging_find_open(s, n->id);
	if (o) {
		o->orphan = true;
		o->top = 0;
		sqlite3_stmt *st = staging_stmt(s, ST_ORPHAN);
		(void)sqlite3_bind_int64(st, 1, n->id);
		return staging_run(s, st);
	}
	if (S_ISREG(n->mode)) {
		r = staging_drop_from(s, n->id, 0, n->size);
		if (r < 0)
			return r;
	}
	static const enum staging_stmt both[] = {ST_XATTR_DELETE_ALL, ST_DELETE};
	for (size_t k = 0; k < 2; k++) {
		sqlite3_stmt *st = staging_stmt(s, both[k]);
		(void)sqlite3_bind_int64(st, 1, n->id);
		r = staging_run(s, st);
		if (r < 0)
			return r;
	}
	if (n->top != n->id)
		return 0;
	sqlite3_stmt *st = staging_stmt(s, ST_SET_DELETE);
	(void)sqlite3_bind_int64(st, 1, n->id);
	r = staging_run(s, st);
	staging_forget_set(s, n->id);
	return r;
}

int staging_unlink(struct staging *s, int64_t parent, const char *name)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node n;
	int r = staging_lookup_locked(s, parent, name, &n);
	if (r < 0)
		return r;
	if (S_ISDIR(n.mode))
		return -EISDIR;
	r = staging_begin(s);
	if (r < 0)
		return r;
	r = staging_drop(s, &n, true);
	if (r < 0)
		return r;
	if (!n.generated) {
		r = staging_touch_dir(s, parent, 0, clock_ns());
		if (r < 0)
			return r;
	}
	if (s->full)
		(void)staging_commit_locked(s); /* what was waiting for space may have it now */
	return 0;
}

static int staging_empty(struct staging *s, int64_t dir)
{
	sqlite3_stmt *st = staging_stmt(s, ST_HAS_CHILD);
	(void)sqlite3_bind_int64(st, 1, dir);
	int rc = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return rc == SQLITE_DONE ? 0 : rc == SQLITE_ROW ? -ENOTEMPTY : staging_failed(s, rc);
}

int staging_rmdir(struct staging *s, int64_t parent, const char *name)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node n;
	int r = staging_lookup_locked(s, parent, name, &n);
	if (r < 0)
		return r;
	if (!S_ISDIR(n.mode))
		return -ENOTDIR;
	r = staging_empty(s, n.id);
	if (r < 0)
		return r;
	r = staging_begin(s);
	if (r < 0)
		return r;
	r = staging_drop(s, &n, true);
	return r < 0 ? r : staging_touch_dir(s, parent, -1, clock_ns());
}

/* ---- moving ---- */

/* Node n gets another place; inside the transaction. Its (dir, name) must be free. */
static int staging_move(struct staging *s, const struct staged_node *n, const struct staged_node *dir, const char *name,
			int64_t now)
{
	int64_t top = n->generated ? 0 : staging_top_of(dir, name, n->mode, n->id);
	sqlite3_stmt *st = staging_stmt(s, ST_MOVE);
	(void)sqlite3_bind_int64(st, 1, n->id);
	(void)sqlite3_bind_int64(st, 2, dir->id);
	staging_bind_name(st, 3, name);
	(void)sqlite3_bind_int64(st, 4, now);
	int r = staging_run(s, st);
	(void)sqlite3_clear_bindings(st);
	if (r < 0)
		return r;

	/* a set may be called anything: moving it within restore/ changes nothing in it */
	if (top == n->id && n->top == n->id)
		return 0;
	r = staging_changed(s, n->top, S_ISREG(n->mode) ? -1 : 0, true);
	if (r < 0)
		return r;
	r = staging_changed(s, top, S_ISREG(n->mode) ? 1 : 0, S_ISDIR(n->mode));
	if (r < 0 || top == n->top)
		return r;
	if (!S_ISDIR(n->mode)) {
		st = staging_stmt(s, ST_SET_TOP);
		(void)sqlite3_bind_int64(st, 1, n->id);
		(void)sqlite3_bind_int64(st, 2, top);
		r = staging_run(s, st);
		struct staging_open_node *o = staging_find_open(s, n->id);
		if (o)
			o->top = top;
		return r;
	}
	/* a directory took everything below along */
	st = staging_stmt(s, ST_RETOP);
	(void)sqlite3_bind_int64(st, 1, n->id);
	(void)sqlite3_bind_int64(st, 2, top);
	r = staging_run(s, st);
	if (r < 0)
		return r;
	for (struct staging_set_entry *x = s->sets; x; x = x->next)
		if (x->set.top == n->top || x->set.top == top)
			x->counted = false;
	for (size_t b = 0; b < STAGING_BUCKETS; b++) {
		for (struct staging_open_node *o = s->opens[b]; o; o = o->next) {
			struct staged_node now_at;
			if (staging_get_locked(s, o->id, &now_at) == 0)
				o->top = now_at.top;
		}
	}
	if (n->top == n->id && top != n->id) { /* no longer a set of its own */
		st = staging_stmt(s, ST_SET_DELETE);
		(void)sqlite3_bind_int64(st, 1, n->id);
		r = staging_run(s, st);
		staging_forget_set(s, n->id);
	}
	return r;
}

/* n of dir and old of old_dir take each other's place. */
static int staging_exchange(struct staging *s, const struct staged_node *n, const struct staged_node *dir,
			    const char *name, struct staged_node *old, const struct staged_node *old_dir,
			    const char *old_name, int64_t now)
{
	static const char aside[] = "\1exchange"; /* parent 0: not in the tree */
	const struct staged_node nowhere = {.id = 0};
	int r = staging_move(s, old, &nowhere, aside, now);
	if (r < 0)
		return r;
	r = staging_move(s, n, old_dir, old_name, now);
	if (r < 0)
		return r;
	r = staging_get_locked(s, old->id, old);
	return r < 0 ? r : staging_move(s, old, dir, name, now);
}

int staging_rename(struct staging *s, int64_t parent, const char *name, int64_t new_parent, const char *new_name,
		   unsigned flags)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node dir, new_dir, n, old;
	int64_t now = clock_ns();

	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	int r = staging_name_check(new_name);
	if (r < 0)
		return r;
	r = staging_dir(s, parent, &dir);
	if (r < 0)
		return r;
	r = staging_dir(s, new_parent, &new_dir);
	if (r < 0)
		return r;
	r = staging_lookup_locked(s, parent, name, &n);
	if (r < 0)
		return r;
	r = staging_lookup_locked(s, new_parent, new_name, &old);
	if (r < 0 && r != -ENOENT)
		return r;
	bool over = r == 0;
	if (over && old.id == n.id)
		return 0;
	if ((flags & RENAME_EXCHANGE) && !over)
		return -ENOENT;
	if ((flags & RENAME_NOREPLACE) && over)
		return -EEXIST;
	if (over && !(flags & RENAME_EXCHANGE)) {
		if (S_ISDIR(old.mode) && !S_ISDIR(n.mode))
			return -EISDIR;
		if (!S_ISDIR(old.mode) && S_ISDIR(n.mode))
			return -ENOTDIR;
		if (S_ISDIR(old.mode)) {
			r = staging_empty(s, old.id);
			if (r < 0)
				return r;
		}
	}
	/* The kernel has refused to move a directory below itself; a stale cache must not make a ring all the same. */
	if (S_ISDIR(n.mode)) {
		struct staged_node up = new_dir;
		while (up.id > 0) {
			if (up.id == n.id)
				return -EINVAL;
			r = staging_get_locked(s, up.parent, &up);
			if (r < 0)
				return r;
		}
	}

	r = staging_begin(s);
	if (r < 0)
		return r;
	if (flags & RENAME_EXCHANGE) {
		r = staging_exchange(s, &n, &dir, name, &old, &new_dir, new_name, now);
	} else {
		if (over)
			r = staging_drop(s, &old, false); /* its name stays */
		if (r == 0)
			r = staging_move(s, &n, &new_dir, new_name, now);
	}
	if (r < 0)
		return r;
	int from = S_ISDIR(n.mode) ? -1 : 0, to = S_ISDIR(n.mode) ? 1 : 0;
	if (over) {
		to -= S_ISDIR(old.mode) ? 1 : 0;
		if (flags & RENAME_EXCHANGE)
			from += S_ISDIR(old.mode) ? 1 : 0;
	}
	r = staging_touch_dir(s, parent, from, now);
	return r < 0 ? r : staging_touch_dir(s, new_parent, to, now);
}

/* ---- attributes ---- */

static int staging_write_attr(struct staging *s, const struct staged_node *n)
{
	sqlite3_stmt *st = staging_stmt(s, ST_ATTR);
	(void)sqlite3_bind_int64(st, 1, n->id);
	(void)sqlite3_bind_int64(st, 2, n->mode);
	(void)sqlite3_bind_int64(st, 3, n->uid);
	(void)sqlite3_bind_int64(st, 4, n->gid);
	(void)sqlite3_bind_int64(st, 5, (int64_t)n->size);
	(void)sqlite3_bind_int64(st, 6, n->atime_ns);
	(void)sqlite3_bind_int64(st, 7, n->mtime_ns);
	(void)sqlite3_bind_int64(st, 8, n->ctime_ns);
	return staging_run(s, st);
}

int staging_setattr(struct staging *s, int64_t id, const struct staged_node *attr, unsigned set,
		    struct staged_node *ret)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node n;
	int r = staging_get_locked(s, id, &n);
	if (r < 0)
		return r;
	if (s->lost && (set & STAGING_SIZE))
		return -s->lost;
	r = staging_begin(s);
	if (r < 0)
		return r;
	n.ctime_ns = clock_ns();
	if (set & STAGING_MODE)
		n.mode = (n.mode & S_IFMT) | (attr->mode & 07777);
	if (set & STAGING_UID)
		n.uid = attr->uid;
	if (set & STAGING_GID)
		n.gid = attr->gid;
	if (set & STAGING_SIZE) {
		if (!S_ISREG(n.mode))
			return S_ISDIR(n.mode) ? -EISDIR : -EINVAL;
		if (attr->size > STAGING_FILE_MAX)
			return -EFBIG;
		if (attr->size != n.size) {
			r = staging_changed(s, n.top, 0, false);
			if (r < 0)
				return r;
			r = staging_truncate(s, id, n.size, attr->size);
			if (r < 0)
				return r;
		}
		n.size = attr->size;
		n.mtime_ns = n.ctime_ns;
	}
	if (set & STAGING_ATIME)
		n.atime_ns = attr->atime_ns;
	if (set & STAGING_MTIME)
		n.mtime_ns = attr->mtime_ns;
	r = staging_write_attr(s, &n);
	if (r == 0 && ret)
		*ret = n;
	return r;
}

/* ---- texts ---- */

int staging_write_text(struct staging *s, int64_t dir, const char *name, const char *text, size_t n)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node parent, old, node;
	int64_t id = 0, now = clock_ns();

	int r = staging_dir(s, dir, &parent);
	if (r < 0)
		return r;
	r = staging_lookup_locked(s, dir, name, &old);
	if (r < 0 && r != -ENOENT)
		return r;
	bool there = r == 0;
	if (!there && !text)
		return 0;
	if (there && S_ISDIR(old.mode))
		return -EISDIR;
	r = staging_begin(s);
	if (r == 0 && there && (!old.generated || !text)) {
		r = staging_drop(s, &old, true);
		there = false;
	}
	if (r < 0 || !text)
		return r;
	if (there) {
		id = old.id;
		r = staging_truncate(s, id, old.size, 0);
	} else {
		r = staging_insert(s, &parent, name, S_IFREG | 0400, parent.uid, parent.gid, NULL, true, now, &id);
	}
	if (r == 0)
		r = staging_get_locked(s, id, &node);
	if (r < 0)
		return r;
	node.size = 0;
	node.mtime_ns = node.ctime_ns = node.atime_ns = now;
	r = staging_write_locked(s, &node, 0, text, n);
	return r < 0 ? r : staging_write_attr(s, &node);
}
