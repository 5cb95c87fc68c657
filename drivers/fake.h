/*
 * drivers/fake.h - the faulty driver, for tests. Included by drivers/ and its tests only.
 */
#pragma once

#include "drivers/driver.h"

#ifdef METASNAP_FAKE_DRIVER
/* The sqlite driver with faults, for tests: drivers/fake.c names the URL's options. */
extern const struct db_driver db_driver_fake;
#endif
