/*
 * drivers/wrap.h - the forwarding drivers: they stand around another driver. Included by drivers/ and its tests only.
 */
#pragma once

#include "drivers/driver.h"

/* Opens a connection of `inner` whose calls are appended to the file `path`, one line a call. */
int db_trace_open(struct db_conn **ret, const struct db_driver *inner, const struct db_params *p, const char *path,
		  struct err *e);

#ifdef METASNAP_FAKE_DRIVER
/* The sqlite driver with faults, for tests: drivers/fake.c names the URL's options. */
extern const struct db_driver db_driver_fake;
#endif
