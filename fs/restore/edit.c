/*
 * fs/restore/edit.c - see edit.h. Owns the files that are being written into now/.
 */
#include "fs/restore/edit.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "fs/tree/tables.h"
#include "snapshot/restore/policy.h"

#define EDITS_MAX 1024
#define EDIT_SIZE_MAX (64u << 20)

struct edit {
	struct edit *next;
	uint64_t id;
	uint64_t row; /* inode of the row it was opened by; 0: made by edits_create */
	uint64_t dir;
	size_t source;
	char *table;
	char *name;
	mode_t mode;
	int64_t mtime_ns;
	unsigned opens;
	bool listed;
	pthread_mutex_t mutex; /* the rest */
	struct strbuf data;
	bool touched; /* data differs from what was put last */
	bool was_upserted;
	int result;
};

struct edits {
	struct service *service;
	struct tree *tree;
	pthread_mutex_t mutex;
	struct edit *edits;
	size_t n;
	uint64_t last_id;
};

static void edit_free(struct edit *p)
{
	free(p->table);
	free(p->name);
	strbuf_done(&p->data);
	(void)pthread_mutex_destroy(&p->mutex);
	free(p);
}

/* A name that a row may have, as opposed to a temporary one. */
static bool edits_is_row_name(const char *name)
{
	size_t len = strlen(name);
	return len >= 5 && !strcmp(name + len - 5, ".json") && (*name != '.' || len == 5);
}

static void edits_fill(struct edit *p, struct tree_node *ret)
{
	MUTEX_GUARD(&p->mutex);
	*ret = (struct tree_node){.ino = ino_of(INO_EDIT, p->id),
				  .mode = S_IFREG | p->mode,
				  .nlink = 1,
				  .uid = getuid(),
				  .gid = getgid(),
				  .size = p->data.len,
				  .atime_ns = p->mtime_ns,
				  .mtime_ns = p->mtime_ns,
				  .ctime_ns = p->mtime_ns};
}

static struct edit *edits_by_id(struct edits *n, uint64_t id)
{
	struct edit *p = n->edits;
	while (p && p->id != id)
		p = p->next;
	return p;
}

static struct edit *edits_by_name(struct edits *n, uint64_t dir, const char *name)
{
	struct edit *p = n->edits;
	while (p && (p->row || p->dir != dir || strcmp(p->name, name)))
		p = p->next;
	return p;
}

static bool edits_overlay_lookup(void *arg, uint64_t dir, const char *name, struct tree_node *ret)
{
	struct edits *n = arg;
	MUTEX_GUARD(&n->mutex);
	struct edit *p = edits_by_name(n, dir, name);
	if (p)
		edits_fill(p, ret);
	return p != NULL;
}

static bool edits_overlay_getattr(void *arg, uint64_t id, struct tree_node *ret)
{
	struct edits *n = arg;
	MUTEX_GUARD(&n->mutex);
	struct edit *p = edits_by_id(n, id);
	if (p)
		edits_fill(p, ret);
	return p != NULL;
}

struct edits *edits_new(struct service *svc, struct tree *t)
{
	struct edits *n = xcalloc(1, sizeof *n);
	n->service = svc;
	n->tree = t;
	(void)pthread_mutex_init(&n->mutex, NULL);
	tree_set_overlay(
	    t, &(struct tree_overlay){.arg = n, .lookup = edits_overlay_lookup, .getattr = edits_overlay_getattr});
	return n;
}

void edits_free(struct edits *n)
{
	if (!n)
		return;
	while (n->edits) {
		struct edit *p = n->edits;
		n->edits = p->next;
		edit_free(p);
	}
	(void)pthread_mutex_destroy(&n->mutex);
	free(n);
}

/* Takes p out of the list; it is freed when nobody has it open. Under edits.mutex. */
static void edits_unlist(struct edits *n, struct edit *p)
{
	for (struct edit **at = &n->edits; *at; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			n->n--;
			break;
		}
	}
	p->listed = false;
	if (!p->opens)
		edit_free(p);
}

static int edits_allowed(struct edits *n, int source, struct err *e)
{
	if (source < 0)
		return -ENOENT;
	const struct source_config *c = service_source(n->service, (size_t)source);
	return restore_may(c->restore, RESTORE_ACT_ROW, true, e) < 0 ? err_prefix(e, "%s", c->name) : 0;
}

static int edits_add(struct edits *n, struct edit *p, struct err *e)
{
	MUTEX_GUARD(&n->mutex);
	if (n->n >= EDITS_MAX) {
		edit_free(p);
		return err_set(e, ENOSPC, "too many files are being written into now/");
	}
	if (!p->row && edits_by_name(n, p->dir, p->name)) {
		edit_free(p);
		return -EEXIST;
	}
	p->id = ++n->last_id;
	p->opens = 1;
	p->listed = true;
	p->next = n->edits;
	n->edits = p;
	n->n++;
	return 0;
}

static struct edit *edits_make(size_t source, const char *table, const char *name)
{
	struct edit *p = xcalloc(1, sizeof *p);
	(void)pthread_mutex_init(&p->mutex, NULL);
	p->source = source;
	p->table = xstrdup(table);
	p->name = xstrdup(name);
	p->mode = 0600;
	p->mtime_ns = clock_ns();
	return p;
}

int edits_create(struct edits *n, uint64_t dir, const char *name, mode_t mode, struct edit **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf table = {0};
	int source = tree_source_of(n->tree, dir);
	int r = edits_allowed(n, source, e);
	if (r < 0)
		return r;
	r = tree_now_table(n->tree, dir, &table, e);
	if (r < 0)
		return r;
	struct edit *p = edits_make((size_t)source, strbuf_str(&table), name);
	p->dir = dir;
	p->mode = mode & 0777;
	r = edits_add(n, p, e);
	if (r < 0)
		return r;
	*ret = p;
	return 0;
}

int edits_open(struct edits *n, uint64_t ino, bool truncate, struct edit **ret, struct err *e)
{
	struct ino i;
	if (!ino_decode(ino, &i))
		return -ENOENT;
	if (i.kind == INO_EDIT) {
		MUTEX_GUARD(&n->mutex);
		struct edit *p = edits_by_id(n, i.id);
		if (!p)
			return -ENOENT;
		p->opens++;
		if (truncate) {
			MUTEX_GUARD(&p->mutex);
			strbuf_clear(&p->data);
			p->touched = true;
		}
		*ret = p;
		return 0;
	}
	if (i.kind != INO_NOW_ROW)
		return -EROFS;
	_cleanup_strbuf_ struct strbuf table = {0}, name = {0}, text = {0};
	int source = tree_source_of(n->tree, ino);
	int r = edits_allowed(n, source, e);
	if (r < 0)
		return r;
	r = tree_row_text(n->tree, ino, &table, &name, truncate ? NULL : &text, e);
	if (r < 0)
		return r;
	struct edit *p = edits_make((size_t)source, strbuf_str(&table), strbuf_str(&name));
	p->row = ino;
	p->data = text;
	text = (struct strbuf){0};
	r = edits_add(n, p, e);
	if (r < 0)
		return r;
	*ret = p;
	return 0;
}

void edits_release(struct edits *n, struct edit *p)
{
	MUTEX_GUARD(&n->mutex);
	if (--p->opens)
		return;
	if (!p->listed)
		edit_free(p);
	else if (p->row || edits_is_row_name(p->name))
		edits_unlist(n, p); /* from now on the database has it, or nobody */
}

uint64_t edit_ino(const struct edit *p)
{
	return p->row ? 0 : ino_of(INO_EDIT, p->id);
}

int edit_read(struct edit *p, uint64_t offset, size_t n, struct strbuf *out)
{
	MUTEX_GUARD(&p->mutex);
	if (offset >= p->data.len)
		return 0;
	if (n > p->data.len - offset)
		n = (size_t)(p->data.len - offset);
	strbuf_add(out, p->data.data + offset, n);
	return 0;
}

static void edit_resize(struct edit *p, size_t size)
{
	if (size > p->data.len) {
		size_t extra = size - p->data.len;
		strbuf_reserve(&p->data, extra);
		memset(p->data.data + p->data.len, 0, extra);
	}
	p->data.len = size;
	if (p->data.data)
		p->data.data[size] = '\0';
}

int edit_write(struct edit *p, uint64_t offset, const void *data, size_t n)
{
	if (offset > EDIT_SIZE_MAX || n > EDIT_SIZE_MAX - offset)
		return -EFBIG;
	MUTEX_GUARD(&p->mutex);
	if (p->data.len < offset + n)
		edit_resize(p, (size_t)offset + n);
	memcpy(p->data.data + offset, data, n);
	p->touched = true;
	return 0;
}

int edit_truncate(struct edit *p, uint64_t size)
{
	if (size > EDIT_SIZE_MAX)
		return -EFBIG;
	MUTEX_GUARD(&p->mutex);
	edit_resize(p, (size_t)size);
	p->touched = true;
	return 0;
}

/* A shell closes its own descriptor of a new file before the command writes: nothing written, nothing put. */
bool edit_is_due(struct edit *p)
{
	MUTEX_GUARD(&p->mutex);
	return edits_is_row_name(p->name) && (p->touched ? p->data.len > 0 : p->was_upserted && p->result < 0);
}

static int edits_upsert(struct edits *n, struct edit *p, const char *name, const struct requester *who,
			struct waiter *w, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	{
		MUTEX_GUARD(&p->mutex);
		if (!p->touched && p->was_upserted)
			return p->result < 0 ? err_sys(e, -p->result, "%s", name) : 0;
		strbuf_add(&text, strbuf_str(&p->data), p->data.len);
		p->touched = false;
	}
	int r = service_upsert_row(n->service, p->source, p->table, name, strbuf_str(&text), text.len, who, w, e);
	MUTEX_GUARD(&p->mutex);
	p->was_upserted = true;
	p->result = r;
	return r;
}

int edits_flush(struct edits *n, struct edit *p, const struct requester *who, struct waiter *w, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	{
		MUTEX_GUARD(&p->mutex);
		name = xstrdup(p->name);
	}
	return edits_upsert(n, p, name, who, w, e);
}

int edits_rename(struct edits *n, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name,
		 const struct requester *who, struct waiter *w, struct err *e)
{
	struct edit *p;
	{
		MUTEX_GUARD(&n->mutex);
		p = edits_by_name(n, dir, name);
		if (!p)
			return -ENOENT;
		if (dir != new_dir)
			return -EXDEV;
		p->opens++;
	}
	int r = 0;
	if (edits_is_row_name(new_name)) {
		r = edits_upsert(n, p, new_name, who, w, e);
		MUTEX_GUARD(&n->mutex);
		p->opens--;
		if (r == 0 && p->listed)
			edits_unlist(n, p);
		else if (!p->listed && !p->opens)
			edit_free(p);
		return r;
	}
	MUTEX_GUARD(&n->mutex);
	struct edit *old = edits_by_name(n, dir, new_name);
	if (old && old != p)
		edits_unlist(n, old);
	{
		MUTEX_GUARD(&p->mutex);
		free(p->name);
		p->name = xstrdup(new_name);
	}
	p->opens--;
	if (!p->listed && !p->opens)
		edit_free(p);
	return 0;
}

int edits_unlink(struct edits *n, uint64_t dir, const char *name)
{
	MUTEX_GUARD(&n->mutex);
	struct edit *p = edits_by_name(n, dir, name);
	if (!p)
		return -ENOENT;
	edits_unlist(n, p);
	return 0;
}

int edits_setattr(struct edits *n, uint64_t ino, bool set_size, uint64_t size, struct tree_node *ret)
{
	struct ino i;
	if (!ino_decode(ino, &i) || i.kind != INO_EDIT)
		return -EROFS;
	MUTEX_GUARD(&n->mutex);
	struct edit *p = edits_by_id(n, i.id);
	if (!p)
		return -ENOENT;
	int r = set_size ? edit_truncate(p, size) : 0;
	if (r < 0)
		return r;
	edits_fill(p, ret);
	return 0;
}

bool edits_row_is_open(struct edits *n, uint64_t ino)
{
	MUTEX_GUARD(&n->mutex);
	struct edit *p = n->edits;
	while (p && p->row != ino)
		p = p->next;
	return p != NULL;
}
