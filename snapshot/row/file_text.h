/*
 * snapshot/row/file_text.h - a row as people read and edit it: its line, indented. Any thread.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

/* Appends the row's file: the same object indented by two spaces, final newline. */
void row_pretty(const char *line, size_t len, struct strbuf *out);
size_t row_pretty_size(const char *line, size_t len);
/* File text (or any spelling of one JSON object) -> line without insignificant white space. EBADMSG when not one
 * object. */
int row_compact(const char *text, size_t len, struct strbuf *line, struct err *e);
