/*
 * snapshot/sqlfile/python_json.h - a document as Python prints it (repr of dictionaries, lists, strings, numbers, True,
 * False, None) turned into JSON. Strings are decoded and written again as JSON; the digits of numbers stay as they are.
 *
 * No state, no locks; any thread. Nothing recurses.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

/* Appends compact JSON. EBADMSG with words (*out as it was) for anything that Python prints otherwise, and for what
 * JSON has no word for (nan, inf, half of a surrogate pair). */
int python_json(const char *text, size_t len, struct strbuf *out, struct err *e);
