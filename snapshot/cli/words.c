/*
 * snapshot/cli/words.c - what the program says when something went wrong: one line on standard error. No locks.
 */
#include "snapshot/cli/internal.h"

#include <errno.h>

#include "base/log.h"

int cli_fail(const struct err *e, const char *what_fmt, ...)
{
	char what[256];
	va_list ap;
	va_start(ap, what_fmt);
	(void)vsnprintf(what, sizeof what, what_fmt, ap);
	va_end(ap);
	/* The one who found out has said what to do where it knew. */
	const char *hint = strchr(e->msg, '(')    ? ""
			   : e->code == EXDEV     ? " (--force does it all the same)"
			   : e->code == ENOTEMPTY ? " (remove what is there first)"
						  : "";
	const char *why = e->msg[0] ? e->msg : e->code ? strerror(e->code) : "failed";
	log_error("%s: %s%s", what, why, hint);
	return CLI_FAILED;
}

void cli_print_report(const struct strbuf *report, const struct err *e)
{
	for (const char *line = strbuf_str(report); *line;) {
		size_t n = strcspn(line, "\n");
		_cleanup_free_ char *text = xmemdup0(line, n);
		if (n && !strstr(e->msg, text))
			log_error("%.900s", text);
		line += n + (line[n] == '\n');
	}
}
