/*
 * snapshot/row/decode.h - a line -> the values that a server takes. A struct row_values belongs to one thread.
 */
#pragma once

#include "snapshot/row/codec.h"

/* Values of a line's columns; they point into the line or into the decoder's memory, valid until the next call. */
struct row_values {
	struct db_value *v; /* row_codec_columns() of them, then the key columns' values, row_codec_table()->n_key */
	struct strbuf text;
	size_t *offset; /* private: where in `text` a value starts, while it grows */
};
void row_values_init(struct row_values *rv, const struct row_codec *c);
void row_values_done(struct row_values *rv);
/* The values of rv as row_encode takes them (columns, then generated key columns) into out[row_codec_scan_values()]. */
void row_values_encodable(const struct row_codec *c, const struct row_values *rv, struct db_value *out);
int row_decode(const struct row_codec *c, const char *line, size_t len, struct row_values *rv, struct err *e);
