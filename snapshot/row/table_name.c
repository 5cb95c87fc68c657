/*
 * snapshot/row/table_name.c - a table's name as a file's. No state; any thread.
 */
#include "snapshot/row/table_name.h"

#include <errno.h>
#include <stdbool.h>

#include "base/text.h"

static bool table_byte_is_plain(unsigned char c, bool first)
{
	return c >= 0x20 && c != 0x7f && c != '%' && c != '/' && c != '\\' && !(first && c == '.');
}

void table_file_name(const char *table, struct strbuf *out)
{
	for (const char *p = table; *p; p++)
		if (table_byte_is_plain((unsigned char)*p, p == table))
			strbuf_addch(out, *p);
		else
			percent_add(out, (unsigned char)*p);
}

int table_of_file_name(const char *file, struct strbuf *table)
{
	for (const char *p = file, *end = file + strlen(file); p < end; p++) {
		int byte = (unsigned char)*p;
		if (byte == '%') {
			/* Takes lower case, too, which is not how we write it: the way back below tells. */
			byte = percent_byte(p, end);
			if (byte < 0)
				return -ENOENT;
			p += 2;
		}
		strbuf_addch(table, (char)byte);
	}
	_cleanup_strbuf_ struct strbuf again = {0};
	table_file_name(strbuf_str(table), &again);
	return *file && !strcmp(strbuf_str(&again), file) ? 0 : -ENOENT;
}
