/*
 * fs/restore/staged_backup.c - see staged_backup.h.
 */
#include "fs/restore/staged_backup.h"

#include <errno.h>
#include <sys/stat.h>

#include "fs/restore/texts.h"
#include "fs/staging/content.h"
#include "fs/staging/nodes.h"

struct staged_tree {
	struct backup_tree tree;
	struct staging *staging;
	int64_t top;
	char *dir_path; /* the directory that was resolved last */
	int64_t dir;
};

static int staged_walk(struct staged_tree *t, const char *path, size_t len, int64_t *ret)
{
	struct staged_node n;
	int64_t at = t->top;
	while (len) {
		const char *slash = memchr(path, '/', len);
		size_t part = slash ? (size_t)(slash - path) : len;
		if (part > STAGING_NAME_MAX)
			return -ENAMETOOLONG;
		if (part) {
			char name[STAGING_NAME_MAX + 1];
			memcpy(name, path, part);
			name[part] = '\0';
			int r = staging_lookup(t->staging, at, name, &n);
			if (r < 0)
				return r;
			if (!S_ISDIR(n.mode))
				return -ENOTDIR;
			at = n.id;
		}
		len -= part;
		path += part;
		if (slash) {
			path++;
			len--;
		}
	}
	*ret = at;
	return 0;
}

static int staged_find(struct staged_tree *t, const char *path, struct staged_node *ret)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	if (!t->dir_path || strlen(t->dir_path) != len || memcmp(t->dir_path, path, len)) {
		int64_t dir;
		int r = staged_walk(t, path, len, &dir);
		if (r < 0)
			return r;
		free(t->dir_path);
		t->dir_path = xmemdup0(path, len);
		t->dir = dir;
	}
	return staging_lookup(t->staging, t->dir, slash ? slash + 1 : path, ret);
}

static int staged_file(struct staged_tree *t, const char *path, struct staged_node *ret, struct err *e)
{
	int r = staged_find(t, path, ret);
	if (r == 0 && S_ISDIR(ret->mode))
		r = -EISDIR;
	else if (r == 0 && (!S_ISREG(ret->mode) || ret->generated))
		r = -ENOENT;
	return r < 0 ? err_sys(e, -r, "%s", path) : 0;
}

static int staged_list(struct backup_tree *tree, const char *path,
		       int (*each)(void *arg, const char *name, bool is_dir), void *arg, struct err *e)
{
	struct staged_tree *t = (struct staged_tree *)tree;
	int64_t dir, after = 0;
	size_t n, cap = 256;

	int r = staged_walk(t, path, strlen(path), &dir);
	if (r < 0)
		return err_sys(e, -r, "%s", path);
	_cleanup_free_ struct staged_entry *batch = xcalloc(cap, sizeof *batch);
	do {
		r = staging_list(t->staging, dir, after, batch, cap, &n);
		if (r < 0)
			return err_sys(e, -r, "%s", path);
		for (size_t k = 0; k < n; k++) {
			after = batch[k].node.id;
			if (batch[k].node.generated || (dir == t->top && !strcmp(batch[k].name, RESTORES_APPLY_NAME)))
				continue;
			if (!S_ISDIR(batch[k].node.mode) && !S_ISREG(batch[k].node.mode))
				continue;
			r = each(arg, batch[k].name, S_ISDIR(batch[k].node.mode));
			if (r)
				return r;
		}
	} while (n == cap);
	return 0;
}

static int staged_read(struct backup_tree *tree, const char *path, uint64_t offset, void *buf, size_t n, size_t *ret_n,
		       struct err *e)
{
	struct staged_tree *t = (struct staged_tree *)tree;
	struct staged_node node;
	int r = staged_file(t, path, &node, e);
	if (r < 0)
		return r;
	r = staging_read(t->staging, node.id, offset, buf, n, ret_n);
	return r < 0 ? err_sys(e, -r, "%s", path) : 0;
}

static int staged_slurp(struct backup_tree *tree, const char *path, struct strbuf *out, struct err *e)
{
	struct staged_tree *t = (struct staged_tree *)tree;
	struct staged_node node;
	strbuf_clear(out);
	int r = staged_file(t, path, &node, e);
	for (size_t n = 1; r == 0 && n && out->len < node.size;) {
		size_t want = node.size - out->len < STAGING_CHUNK ? (size_t)(node.size - out->len) : STAGING_CHUNK;
		strbuf_reserve(out, want);
		r = staging_read(t->staging, node.id, out->len, out->data + out->len, want, &n);
		if (r < 0)
			return err_sys(e, -r, "%s", path);
		out->len += n;
		out->data[out->len] = '\0';
	}
	return r;
}

static int staged_size(struct backup_tree *tree, const char *path, uint64_t *ret, struct err *e)
{
	struct staged_node node;
	int r = staged_file((struct staged_tree *)tree, path, &node, e);
	if (r < 0)
		return r;
	*ret = node.size;
	return 0;
}

static void staged_close(struct backup_tree *tree)
{
	struct staged_tree *t = (struct staged_tree *)tree;
	free(t->dir_path);
	free(t);
}

struct backup_tree *staged_backup_open(struct staging *s, int64_t top)
{
	struct staged_tree *t = xcalloc(1, sizeof *t);
	t->tree = (struct backup_tree){.list = staged_list,
				       .slurp = staged_slurp,
				       .read = staged_read,
				       .size = staged_size,
				       .close = staged_close};
	t->staging = s;
	t->top = top;
	return &t->tree;
}

int staged_backup_dir(struct backup_tree *t, const char *path, int64_t *ret)
{
	return staged_walk((struct staged_tree *)t, path, strlen(path), ret);
}
