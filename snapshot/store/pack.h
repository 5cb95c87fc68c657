/*
 * snapshot/store/pack.h - packs: some rows of one table, compressed together, stored once and shared by all versions
 * that have them.
 */
#pragma once

#include <stdatomic.h>

#include "base/lru.h"
#include "base/strbuf.h"
#include "snapshot/row/row.h"
#include "snapshot/store/catalog.h"

#define PACK_RAW_TARGET (32U << 10) /* a pack is closed when its lines reach this; a larger row has one of its own */
#define PACK_MAX_ROWS 4096U

/*
 * Raw pack: varint rows; per row varint (file size - line length) and, where keys are hashed, varint running number;
 * then the lines, each with a newline. Stored zstd-compressed (checksum on). Beside it: the SHA-256 over the bytes
 * before the lines and each line's SHA-256, which the table's digest needs anyway.
 *
 * A row that no version names any more can be dropped (repack.c): its line becomes empty, and the rows behind it keep
 * their places. No row's line is empty by itself.
 */
struct pack {
	struct lru_entry entry; /* in the cache, by number */
	int64_t id;
	int64_t codec_id;
	int64_t first_seen_ms;
	const struct row_codec *codec;
	uint32_t rows;
	char *raw;
	size_t raw_len;
	uint32_t *line_at;   /* rows + 1 offsets into raw; a line's newline is not part of it */
	uint64_t *file_size; /* rows */
	uint64_t *number;    /* rows; NULL when keys are not hashed */
	/* Keys, made when first asked for (pack_keys): rows + 1 offsets, then what they lead into. NULL before. */
	_Atomic(uint32_t *) key_at;
	size_t memory; /* without keys */
	struct lru *cache;
};

/* Returns the pack with a reference; pack_unref gives it back. EIO with the pack's id when damaged, ENOENT when not
 * there. */
int pack_get(struct catalog *c, int64_t id, struct pack **ret, struct err *e);
struct pack *pack_hold(struct pack *p);
void pack_unref(struct pack *p);
DEFINE_CLEANUP(cleanup_pack, struct pack, pack_unref);
/* Makes the keys of a pack available. */
int pack_keys(struct pack *p, struct err *e);
static inline const char *pack_line(const struct pack *p, uint32_t i, size_t *len)
{
	*len = p->line_at[i + 1] - p->line_at[i] - 1;
	return p->raw + p->line_at[i];
}
static inline bool pack_is_dropped(const struct pack *p, uint32_t i)
{
	return p->line_at[i + 1] - p->line_at[i] == 1;
}
static inline const void *pack_key(const struct pack *p, uint32_t i, size_t *len)
{
	const uint32_t *at = atomic_load_explicit(&((struct pack *)(uintptr_t)p)->key_at, memory_order_relaxed);
	*len = at[i + 1] - at[i];
	return (const char *)(at + p->rows + 1) + at[i];
}
/* Appends the key of one row, made from its line: for who needs a few of a pack's keys only. */
int pack_key_of(const struct pack *p, uint32_t i, struct strbuf *out, struct err *e);
/* Verifies one stored pack against its SHA-256. */
int pack_verify(struct catalog *c, int64_t id, struct hasher *h, struct err *e);
