/*
 * snapshot/openmetadata/preflight_line.h - a line of a preflight's report: an answer, what was found, what to do; and
 * what may be printed of a database's own words.
 *
 * Belongs to one thread.
 */
#pragma once

#include "base/strbuf.h"

enum preflight_status { PREFLIGHT_OK, PREFLIGHT_INFO, PREFLIGHT_WARN, PREFLIGHT_FAIL };

struct preflight_line {
	const char *id;
	enum preflight_status status;
	struct strbuf found;
	struct strbuf todo; /* lines; empty: nothing */
};

/* Adds to what was found; the worse status stays. */
void preflight_say(struct preflight_line *l, enum preflight_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds to what is to be done. */
#define preflight_advise(l, ...) strbuf_addf(&(l)->todo, __VA_ARGS__)

/* A name out of the database as one may print it: control characters and bytes that are not UTF-8 as \xNN, cut when it
 * is long. */
void preflight_add_name(struct strbuf *out, const char *name, size_t len);
/* The same, of any length. */
void preflight_add_text(struct strbuf *out, const char *text, size_t len);
