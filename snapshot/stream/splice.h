/*
 * snapshot/stream/splice.h - a table's next version made of its last one and the rows that changed.
 *
 * A splice belongs to one thread. EUCLEAN: what of the base version cannot be read.
 */
#pragma once

#include "snapshot/store/version_write.h"
#include "snapshot/stream/row_stream.h"

struct splice;
/* v: the writer of the new version, of the same description as the base. */
int splice_new(struct splice **ret, struct catalog *c, const struct version_info *base, struct version_writer *v,
	       struct err *e);
void splice_free(struct splice *s);
DEFINE_CLEANUP(cleanup_splice, struct splice, splice_free);

/* In ascending key order, each key once: a row that is new, changed or as it was; a row that is gone. */
int splice_upsert(struct splice *s, const struct stream_row *row, struct err *e);
int splice_delete(struct splice *s, const void *key, size_t key_len, struct err *e);
/* A further row of a table without a key, whose rows so far all stay: it is numbered after its equals. */
int splice_add(struct splice *s, const struct row_codec *codec, const struct stream_row *row, struct err *e);
/* How many of the rows put so far the base has, changed or not. */
uint64_t splice_found(const struct splice *s);
/* Keeps what is left of the base; the digest of the new version. */
int splice_end(struct splice *s, struct digest *ret, struct err *e);
