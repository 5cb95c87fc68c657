/*
 * snapshot/store/lock.h - locks between processes: bytes of CATALOG-lock, by open-file-description locks.
 */
#pragma once

#include <stdbool.h>

#include "snapshot/store/catalog.h"

enum store_lock { STORE_LOCK_DAEMON = 0, STORE_LOCK_WRITERS = 1, STORE_LOCK_SOURCE = 1000 /* + source id */ };
/* fd that holds the lock until closed. An exclusive one is not waited for: -EBUSY. */
int store_lock(struct catalog *c, int64_t byte, bool exclusive, struct err *e);
