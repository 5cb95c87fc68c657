/*
 * base/err.h - the one error type.
 *
 * Functions return 0 (or a documented positive value) on success and -errno on failure; the words go to a
 * caller-owned `struct err`, written only on failure. Libraries never log: the outermost caller prints `msg`.
 * The pointer is never NULL: who does not care for the words passes ERR_DROP. An errno that is returned is the one in *e.
 */
#pragma once

#include <stdarg.h>

struct err {
	int code;         /* positive errno; 0: no error */
	char sqlstate[6]; /* the server's SQLSTATE, or "" */
	char msg[500];    /* one line, no final newline, never a password */
};

#define ERR_INIT ((struct err){0})
/* For a call whose words nobody wants; valid until the end of the block. */
#define ERR_DROP (&(struct err){0})

/* Fills *e and returns -code. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As err_set, with ": strerror(code)" appended. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "words: " in front of the message that is there; returns -e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* -errno of an error that was filled in (by a function that returned NULL or an unnamed failure); -EIO when it was not.
 */
static inline int err_code(const struct err *e)
{
	return e->code ? -e->code : -5 /* EIO */;
}
