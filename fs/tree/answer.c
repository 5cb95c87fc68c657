/*
 * fs/tree/answer.c - answers as the parts give them. Pure functions: any thread, no locks.
 */
#include <errno.h>

#include "fs/tree/internal.h"

void tree_fill(const struct tree *t, struct tree_node *n, uint64_t ino, mode_t mode, uint32_t nlink, uint64_t size,
	       int64_t ms)
{
	*n = (struct tree_node){
	    .ino = ino,
	    .mode = mode,
	    .nlink = nlink,
	    .uid = t->uid,
	    .gid = t->gid,
	    .size = size,
	    .atime_ns = ms * 1000000,
	    .mtime_ns = ms * 1000000,
	    .ctime_ns = ms * 1000000,
	    .keep_entry = TREE_KEEP_LONG,
	    .keep_attr = TREE_KEEP_LONG,
	};
}

void tree_fill_row(const struct tree *t, const struct stored_row *row, uint64_t ino, bool writable,
		   struct tree_node *ret)
{
	tree_fill(t, ret, ino, writable ? S_IFREG | 0600 : TREE_FILE, 1, row->file_size, stored_row_mtime_ms(row));
}

int tree_none(struct tree_node *ret, enum tree_keep keep)
{
	*ret = (struct tree_node){.keep_entry = keep};
	return -ENOENT;
}

int tree_ask(struct tree_node *ret, enum ino_kind kind, uint64_t ino)
{
	*ret = (struct tree_node){.ino = ino, .mode = tree_kinds[kind].mode};
	return TREE_ASK;
}

uint64_t tree_row_ino(bool now, uint64_t source_id, const struct row_ref *ref)
{
	if (now && source_id <= INO_NOW_SOURCE_MAX) {
		uint64_t ino = ino_encode(&(struct ino){
		    .kind = INO_NOW_ROW, .id = (uint64_t)ref->pack, .sub = ref->index, .source = (uint32_t)source_id});
		if (ino)
			return ino;
	}
	return ino_of_sub(INO_ROW, (uint64_t)ref->pack, ref->index);
}

void tree_slice(const char *data, size_t len, uint64_t offset, size_t n, struct strbuf *out)
{
	if (offset >= len)
		return;
	if (n > len - offset)
		n = (size_t)(len - offset);
	strbuf_add(out, data + offset, n);
}
