/*
 * base/err.c - filling the one error type. No locks; any thread.
 */
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void err_one_line(struct err *e)
{
	/* Server messages may have several lines; the contract is one line an error. */
	for (char *p = e->msg; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	for (size_t n = strlen(e->msg); n && e->msg[n - 1] == ' '; n--)
		e->msg[n - 1] = '\0';
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	assert(e);
	char msg[sizeof e->msg]; /* e->msg may be one of the arguments */
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	e->code = code;
	e->sqlstate[0] = '\0';
	memcpy(e->msg, msg, sizeof msg);
	err_one_line(e);
	return -code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
	assert(e);
	char msg[sizeof e->msg], why[128];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	/* strerror_r is the GNU one: it may answer with a constant instead of filling `why` */
	return err_set(e, code, "%s: %s", msg, strerror_r(code, why, sizeof why));
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	assert(e);
	char old[sizeof e->msg];
	memcpy(old, e->msg, sizeof old);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	for (const char *p = ": "; *p && (size_t)n + 1 < sizeof e->msg; p++)
		e->msg[n++] = *p;
	for (const char *p = old; *p && (size_t)n + 1 < sizeof e->msg; p++)
		e->msg[n++] = *p;
	if ((size_t)n < sizeof e->msg)
		e->msg[n] = '\0';
	err_one_line(e);
	return -e->code;
}
