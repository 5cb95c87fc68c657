/*
 * snapshot/row/codec.h - a table's description made ready for its rows. Immutable once made: any thread may use it.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"
#include "drivers/driver.h"

struct row_codec;

/* Makes the codec of table t (which is copied). `.table.json` text and back: see snapshot/row/table_json.h. */
struct row_codec *row_codec_new(const struct db_table *t);
void row_codec_free(struct row_codec *c);
const struct db_table *row_codec_table(const struct row_codec *c);
/* Number of columns in the row, and of values a scan gives (row columns, then generated key columns). */
size_t row_codec_columns(const struct row_codec *c);
size_t row_codec_scan_values(const struct row_codec *c);
DEFINE_CLEANUP(cleanup_row_codec, struct row_codec, row_codec_free);
