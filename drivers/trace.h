/*
 * drivers/trace.h - the tracing driver: it stands around another one. Included by drivers/ and its tests only.
 */
#pragma once

#include "drivers/driver.h"

/* Opens a connection of `inner` whose calls are appended to the file `path`, one line a call. */
int db_trace_open(struct db_conn **ret, const struct db_driver *inner, const struct db_params *p, const char *path,
		  struct err *e);
