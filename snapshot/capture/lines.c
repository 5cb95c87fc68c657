/*
 * snapshot/capture/lines.c - the lines of an archive's file, hashed as they are read. Runs on the job's thread.
 */
#include <errno.h>

#include "snapshot/capture/internal.h"

#define IMPORT_CHUNK (1U << 20)
#define IMPORT_LINE_MAX (1U << 30) /* as version_writer_new_row */

int lines_next(struct lines *l, const char **line, size_t *len, struct err *e)
{
	for (;;) {
		char *nl = l->at < l->buf.len ? memchr(l->buf.data + l->at, '\n', l->buf.len - l->at) : NULL;
		if (nl) {
			*line = l->buf.data + l->at;
			*len = (size_t)(nl - *line);
			l->at = (size_t)(nl + 1 - l->buf.data);
			return 1;
		}
		if (l->end)
			return l->at == l->buf.len ? 0 : err_set(e, EBADMSG, "%s: the last line is cut", l->path);
		memmove(l->buf.data ? l->buf.data : (char *)"", l->buf.data ? l->buf.data + l->at : "",
			l->buf.len - l->at);
		l->buf.len -= l->at;
		l->at = 0;
		strbuf_reserve(&l->buf, IMPORT_CHUNK);
		size_t got = 0;
		int r =
		    l->im->tree->read(l->im->tree, l->path, l->offset, l->buf.data + l->buf.len, IMPORT_CHUNK, &got, e);
		if (r < 0)
			return r;
		/* What a copy has made room for and not filled has no end of line in it: it is not gathered in memory.
		 */
		if (memchr(l->buf.data + l->buf.len, '\0', got))
			return err_set(e, EBADMSG, "%s: zeros in it (it was not copied to its end)", l->path);
		if (l->buf.len > IMPORT_LINE_MAX)
			return err_set(e, EBADMSG, "%s: a line of more than 1 GiB", l->path);
		hasher_more(l->im->hasher, l->buf.data + l->buf.len, got);
		l->buf.len += got;
		l->offset += got;
		l->end = got < IMPORT_CHUNK;
	}
}
