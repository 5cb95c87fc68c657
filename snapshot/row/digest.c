/*
 * snapshot/row/digest.c - SHA-256 of lines, and the sums that stand for tables. A hasher belongs to one thread; no
 * locks.
 */
#include "snapshot/row/digest.h"

#include <endian.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

struct hasher {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
};

/* What cannot fail but for lack of memory; a hash that is not one must never reach the catalog. */
static void hasher_must(bool ok)
{
	if (ok)
		return;
	(void)fprintf(stderr, "metasnap: SHA-256 failed\n");
	abort();
}

struct hasher *hasher_new(void)
{
	struct hasher *h = xcalloc(1, sizeof *h);
	h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	h->ctx = EVP_MD_CTX_new();
	hasher_must(h->md && h->ctx && EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1);
	return h;
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->md);
	free(h);
}

void hasher_begin(struct hasher *h)
{
	hasher_must(EVP_DigestInit_ex2(h->ctx, NULL, NULL) == 1);
}

void hasher_more(struct hasher *h, const void *data, size_t len)
{
	hasher_must(EVP_DigestUpdate(h->ctx, data, len) == 1);
}

void hasher_end(struct hasher *h, uint8_t out[ROW_SHA_LEN])
{
	hasher_must(EVP_DigestFinal_ex(h->ctx, out, NULL) == 1);
}

void hasher_sha256(struct hasher *h, const void *data, size_t len, uint8_t out[ROW_SHA_LEN])
{
	hasher_begin(h);
	hasher_more(h, data, len);
	hasher_end(h, out);
}

void digest_add(struct digest *d, const uint8_t sha[ROW_SHA_LEN])
{
	uint64_t carry = 0;
	for (size_t i = 0; i < ROW_SHA_LEN; i += 8) {
		uint64_t a, b, sum;
		memcpy(&a, d->sum + i, 8);
		memcpy(&b, sha + i, 8);
		uint64_t first = __builtin_add_overflow(le64toh(a), le64toh(b), &sum);
		carry = first | (uint64_t)__builtin_add_overflow(sum, carry, &sum);
		sum = htole64(sum);
		memcpy(d->sum + i, &sum, 8);
	}
	d->count++;
}

void digest_sub(struct digest *d, const uint8_t sha[ROW_SHA_LEN])
{
	uint64_t borrow = 0;
	for (size_t i = 0; i < ROW_SHA_LEN; i += 8) {
		uint64_t a, b, rest;
		memcpy(&a, d->sum + i, 8);
		memcpy(&b, sha + i, 8);
		uint64_t first = __builtin_sub_overflow(le64toh(a), le64toh(b), &rest);
		borrow = first | (uint64_t)__builtin_sub_overflow(rest, borrow, &rest);
		rest = htole64(rest);
		memcpy(d->sum + i, &rest, 8);
	}
	d->count--;
}

void digest_merge(struct digest *d, const struct digest *b, bool out)
{
	if (out) {
		digest_sub(d, b->sum);
		d->count -= b->count - 1;
	} else {
		digest_add(d, b->sum);
		d->count += b->count - 1;
	}
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return a->count == b->count && !memcmp(a->sum, b->sum, ROW_SHA_LEN);
}
