/*
 * snapshot/row/digest.h - the SHA-256 of a line, and the digest of a table, which is the sum of its rows'.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define ROW_SHA_LEN 32

/* SHA-256 of a line; a thread's own hasher (the context is made once and reused). */
struct hasher;
struct hasher *hasher_new(void);
void hasher_free(struct hasher *h);
void hasher_sha256(struct hasher *h, const void *data, size_t len, uint8_t out[ROW_SHA_LEN]);
/* The same over pieces. */
void hasher_begin(struct hasher *h);
void hasher_more(struct hasher *h, const void *data, size_t len);
void hasher_end(struct hasher *h, uint8_t out[ROW_SHA_LEN]);
DEFINE_CLEANUP(cleanup_hasher, struct hasher, hasher_free);

/* A table's digest: sum of row SHA-256s modulo 2^256, little end first; order does not matter, rows can be taken out.
 */
struct digest {
	uint8_t sum[ROW_SHA_LEN];
	uint64_t count;
};
void digest_add(struct digest *d, const uint8_t sha[ROW_SHA_LEN]);
void digest_sub(struct digest *d, const uint8_t sha[ROW_SHA_LEN]);
/* Adds all rows of b at once, or takes them out. */
void digest_merge(struct digest *d, const struct digest *b, bool out);
bool digest_equal(const struct digest *a, const struct digest *b);
