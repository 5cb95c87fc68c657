/*
 * base/utf8.h - one character as UTF-8, both ways. Any thread; no state.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Writes a character (at most 0x10ffff; that it is no surrogate is the caller's care) into out; its length, 1 to 4. */
size_t utf8_encode(uint32_t code, char out[4]);
/* The character that the n > 0 bytes at `text` begin with; its length, 0: they begin with none. Strict: the shortest
 * form only, no surrogates, nothing above 0x10ffff. */
size_t utf8_decode(const char *text, size_t n, uint32_t *ret);
