/*
 * fs/tree/xattr.c - see xattr.h. Any thread; no locks.
 */
#include "fs/tree/xattr.h"

#include <errno.h>

#include "fs/tree/internal.h"

int tree_getxattr(struct tree *t, uint64_t number, const char *name, struct strbuf *out, struct err *e)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	const struct tree_part *p = tree_parts[i.kind];
	return p->getxattr ? p->getxattr(t, &i, name, out, e) : -ENODATA;
}

/* Those of rows are not listed, as is usual for attributes that are computed: cp -a and rsync -X would ask for each of
 * them, hash every row, and give the copy a sha256 that stays behind when the copy is edited. */
int tree_listxattr(struct tree *t, uint64_t number, struct strbuf *out, struct err *e)
{
	struct ino i;
	if (!ino_decode(number, &i))
		return -ENOENT;
	const struct tree_part *p = tree_parts[i.kind];
	return p->listxattr ? p->listxattr(t, &i, out) : 0;
}
