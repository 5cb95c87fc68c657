/*
 * base/base64.h - RFC 4648 base64, of which only the one canonical spelling is read. Any thread; no state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

/* Appends the digits of len bytes, padded with '='. */
void base64_encode(struct strbuf *out, const void *data, size_t len);
/* Appends the bytes of len digits; false (and *out as it was) on anything that base64_encode does not write: white
 * space, padding that is missing or in another place, bits set that belong to no byte. */
bool base64_decode(struct strbuf *out, const char *text, size_t len);
