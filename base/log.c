/*
 * base/log.c - one line a message, "metasnap: words". Any thread: one write a line.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <syslog.h>

static atomic_bool log_syslog;

__attribute__((format(printf, 2, 0))) static void log_line(int priority, const char *fmt, va_list ap)
{
	if (atomic_load(&log_syslog)) {
		vsyslog(priority, fmt, ap);
		return;
	}
	char line[1024];
	(void)vsnprintf(line, sizeof line, fmt, ap);
	(void)fprintf(stderr, "metasnap: %s\n", line);
}

#define LOG_BODY(priority)                                                                                             \
	va_list ap;                                                                                                    \
	va_start(ap, fmt);                                                                                             \
	log_line((priority), fmt, ap);                                                                                 \
	va_end(ap)

void log_to_syslog(const char *ident)
{
	openlog(ident, LOG_PID, LOG_DAEMON);
	atomic_store(&log_syslog, true);
}

void log_error(const char *fmt, ...)
{
	LOG_BODY(LOG_ERR);
}

void log_warning(const char *fmt, ...)
{
	LOG_BODY(LOG_WARNING);
}
