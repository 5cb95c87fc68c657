/*
 * snapshot/capture/import_check.c - what an import refuses: its words, and the files that SHA256SUMS knows otherwise.
 *
 * Runs on the job's thread.
 */
#include <errno.h>
#include <stdarg.h>

#include "base/text.h"
#include "snapshot/capture/internal.h"

void import_say(struct import *im, const char *fmt, ...)
{
	struct err e = ERR_INIT;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(e.msg, sizeof e.msg, fmt, ap);
	va_end(ap);
	e.code = EBADMSG;
	if (im->report)
		strbuf_addf(im->report, "%s\n", e.msg);
	if (!im->bad)
		im->first = e;
	im->bad = true;
}

/* The sum that SHA256SUMS has for `path`; false: the file is not in it. */
static bool import_sum(const struct import *im, const char *path, uint8_t sha[ROW_SHA_LEN])
{
	size_t n = strlen(path);
	for (const char *p = strbuf_str(&im->sums); *p;) {
		const char *nl = strchrnul(p, '\n');
		if ((size_t)(nl - p) == 64 + 2 + n && !memcmp(p + 66, path, n)) {
			char hex[65];
			memcpy(hex, p, 64);
			hex[64] = '\0';
			return hex_decode(hex, sha, ROW_SHA_LEN) == 0;
		}
		p = *nl ? nl + 1 : nl;
	}
	return false;
}

void import_check_sum(struct import *im, const char *path, const uint8_t sha[ROW_SHA_LEN])
{
	uint8_t want[ROW_SHA_LEN];
	if (!im->sums.len)
		return;
	if (!import_sum(im, path, want))
		import_say(im, "%s: not in SHA256SUMS", path);
	else if (memcmp(want, sha, sizeof want))
		import_say(im, "%s: SHA-256 differs from SHA256SUMS", path);
}
