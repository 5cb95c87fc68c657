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
			strbuf_addf(out, "%%%02X", (unsigned)(unsigned char)*p);
}

int table_of_file_name(const char *file, struct strbuf *table)
{
	for (const char *p = file; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '%') {
			/* hex_value takes lower case too, which is not how we write it: checked by the way back below.
			 */
			int high = hex_value(p[1]), low = high < 0 ? -1 : hex_value(p[2]);
			if (low < 0)
				return -ENOENT;
			c = (unsigned char)(high << 4 | low);
			p += 2;
		}
		strbuf_addch(table, (char)c);
	}
	_cleanup_strbuf_ struct strbuf again = {0};
	table_file_name(strbuf_str(table), &again);
	return *file && !strcmp(strbuf_str(&again), file) ? 0 : -ENOENT;
}
