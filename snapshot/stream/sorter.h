/*
 * snapshot/stream/sorter.h - lines in any order in, rows in key order out; the memory is bounded.
 */
#pragma once

#include "snapshot/row/row.h"
#include "snapshot/stream/row_stream.h"

/* Sorts lines by key; then streams them, giving equal rows of hashed tables their numbers. Two equal keys: -EEXIST.
 * memory: bytes that are kept in it; more goes to an unnamed SQLite file in the temporary folder, with a cache as
 * large.
 */
#define SORTER_MEMORY (16U << 20)
struct sorter;
struct sorter *sorter_new(const struct row_codec *codec, size_t memory);
int sorter_add(struct sorter *s, const char *line, size_t len, struct err *e);
int sorter_stream(struct row_stream **ret, struct sorter *s, struct err *e); /* takes the sorter */
void sorter_free(struct sorter *s);
DEFINE_CLEANUP(cleanup_sorter, struct sorter, sorter_free);
