/*
 * fs/tree/file.c - see file.h. Any thread.
 */
#include "fs/tree/file.h"

#include <errno.h>

#include "fs/tree/internal.h"

int tree_file_open(struct tree *t, uint64_t number, const struct tree_wait *w, struct tree_file **ret, bool *ret_direct,
		   struct err *e)
{
	struct ino i;
	*ret_direct = false;
	if (!ino_decode(number, &i))
		return -ENOENT;
	const struct tree_part *p = tree_parts[i.kind];
	struct tree_file f = {.tree = t};
	int r = p->open ? p->open(t, &i, w, &f, ret_direct, e) : p->text ? p->text(t, &i, w, &f.own, e) : -EISDIR;
	if (r) {
		strbuf_done(&f.own);
		return r;
	}
	*ret = xmalloc(sizeof f);
	**ret = f;
	(void)pthread_mutex_init(&(*ret)->mutex, NULL);
	return 0;
}

void tree_file_close(struct tree_file *f)
{
	if (!f)
		return;
	if (f->text)
		text_unref(f->tree, f->text, true);
	strbuf_done(&f->own);
	(void)pthread_mutex_destroy(&f->mutex);
	free(f);
}

int tree_read(struct tree *t, uint64_t number, struct tree_file *f, uint64_t offset, size_t n, struct strbuf *out,
	      struct err *e)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	if (!f)
		return -EISDIR;
	const struct tree_part *p = tree_parts[i.kind];
	if (p->read)
		return p->read(t, &i, f, offset, n, out, e);
	tree_slice(strbuf_str(&f->own), f->own.len, offset, n, out);
	return 0;
}

int tree_read_spans(struct tree *t, struct tree_file *f, uint64_t offset, size_t n, struct line_spans *ret,
		    struct err *e)
{
	if (!f || !f->version)
		return 0;
	int r = catalog_line_spans(t->catalog, f->version, offset, n, ret, e);
	return r < 0 ? r : 1;
}
