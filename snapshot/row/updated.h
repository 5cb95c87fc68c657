/*
 * snapshot/row/updated.h - a row's own time. Any thread.
 */
#pragma once

#include "snapshot/row/codec.h"

/* The row's updatedAt in ms, or -1 where the table or the row has none. */
int64_t row_updated_ms(const struct row_codec *c, const char *line, size_t len);
