/*
 * snapshot/store/catalog.h - the store of snapshots: one SQLite file behind a narrow interface.
 *
 * Objects, all immutable once committed: pack (compressed rows), page (extents, that is runs of rows in packs),
 * table version (pages, counts, digest), snapshot (table versions, schema text, manifest). docs/design.md draws it.
 * A struct catalog is safe for any thread: reads take a connection from a pool, writes go through one connection
 * under one mutex. Opened after daemonising, never used across fork (SQLite locks do not survive it).
 * Two processes (daemon and command) may have it open; locks by OFD byte ranges on CATALOG-lock (lock.h).
 *
 * The other headers of this folder are about what is in it; store.h has them all.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/err.h"

struct catalog;

enum catalog_mode { CATALOG_READ, CATALOG_WRITE /* creates it, mode 0600 */ };

/* EBUSY, ENOTSUP (newer format, network file system), EIO (damaged: quick_check), ENOENT. */
int catalog_open(struct catalog **ret, const char *path, enum catalog_mode mode, struct err *e);
void catalog_close(struct catalog *c);
const char *catalog_path(const struct catalog *c);
/* A random id made with the catalog: 32 hex digits. */
const char *catalog_uuid(const struct catalog *c);
/* One mounted file system for a catalog: EBUSY when another process has it. Held until catalog_close. */
int catalog_lock_daemon(struct catalog *c, struct err *e);
/* Changes whenever another connection or process committed something. Cheap. */
int64_t catalog_data_version(struct catalog *c);
DEFINE_CLEANUP(cleanup_catalog, struct catalog, catalog_close);

/* ---- free space (for statfs), settings ---- */
int catalog_statvfs(struct catalog *c, struct statvfs *ret, struct err *e);
int catalog_set_cache_bytes(struct catalog *c, size_t bytes);
