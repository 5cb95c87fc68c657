/*
 * snapshot/capture/backup.c - see backup.h. Any thread; no state.
 */
#include "snapshot/capture/backup.h"

#include <string.h>

static bool backup_ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);
	return n > m && !strcmp(name + n - m, suffix);
}

bool backup_name_counts(const char *name, bool in_table)
{
	/* row/row.h says what a row file's name is made of; "x (copy).json" can be none. */
	static const char row_bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@+=-.,%~";
	static const char *const leftovers[] = {"~", ".swp", ".swo", ".swx", ".tmp", ".part", ".partial", ".filepart"};
	/* ".json" is the row whose key is the empty text. */
	if (!strcmp(name, ".table.json") || (in_table && !strcmp(name, ".json")))
		return true;
	if (*name == '.')
		return false;
	if (in_table)
		return backup_ends_in(name, ".json") && !name[strspn(name, row_bytes)];
	for (size_t i = 0; i < sizeof leftovers / sizeof leftovers[0]; i++)
		if (backup_ends_in(name, leftovers[i]))
			return false;
	return *name && *name != '#';
}
