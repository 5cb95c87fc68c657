/*
 * snapshot/row/file_text.c - a row as its file has it. Any thread; the buffer is the caller's.
 */
#include "snapshot/row/file_text.h"

#include <errno.h>

#include "snapshot/row/json_text.h"

void row_pretty(const char *line, size_t len, struct strbuf *out)
{
	json_text_pretty(line, len, out);
}

size_t row_pretty_size(const char *line, size_t len)
{
	return json_text_pretty_size(line, len);
}

int row_compact(const char *text, size_t len, struct strbuf *line, struct err *e)
{
	enum json_kind kind;
	strbuf_clear(line);
	int r = json_text_compact(text, len, JSON_TEXT_DEPTH_MAX, line, &kind, e);
	if (r < 0)
		return r;
	if (kind == JSON_KIND_OBJECT)
		return 0;
	strbuf_clear(line);
	return err_set(e, EBADMSG, "not a JSON object");
}
