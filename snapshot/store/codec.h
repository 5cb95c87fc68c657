/*
 * snapshot/store/codec.h - descriptions of tables, each kept once and known by its number.
 */
#pragma once

#include "snapshot/row/row.h"
#include "snapshot/store/catalog.h"

/* The codec of a description; owned by the catalog, valid until catalog_close. */
int catalog_codec(struct catalog *c, int64_t codec_id, const struct row_codec **ret, struct err *e);
/* Found by its content, or made. */
int store_codec_id(struct catalog *c, const struct db_table *t, int64_t *ret, struct err *e);
