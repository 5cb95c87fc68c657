/*
 * fs/staging/content.c - the bytes of files.
 *
 * A file's content lies in chunks of 128 KiB, key (node << 24 | number); a chunk may be shorter than its place (the
 * rest is zeros) or missing (all zeros). Chunks written since the last commit are kept in memory, so that many small
 * writes cost one row; they are what readers see first.
 * Any thread. Lock: staging.mutex, held by the caller of what internal.h declares.
 */
#include "fs/staging/content.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/staging/internal.h"

/* ---- chunks ---- */

static struct staging_chunk *staging_find_chunk(struct staging *s, int64_t key)
{
	struct staging_chunk *c = s->chunks[staging_bucket(key)];
	while (c && c->key != key)
		c = c->next;
	return c;
}

static void staging_grow_chunk(struct staging *s, struct staging_chunk *c, size_t len)
{
	if (c->cap < len) {
		size_t cap = c->cap ? c->cap : 512;
		while (cap < len)
			cap *= 2;
		c->data = xrealloc(c->data, cap);
		s->chunk_bytes += cap - c->cap;
		c->cap = cap;
	}
	if (c->len < len) {
		memset(c->data + c->len, 0, len - c->len);
		c->len = len;
	}
}

/* The chunk in memory, to be changed; what the file holds of it is read first when `load`. */
static int staging_take_chunk(struct staging *s, int64_t key, bool load, struct staging_chunk **ret)
{
	struct staging_chunk *c = staging_find_chunk(s, key);
	if (c) {
		*ret = c;
		return 0;
	}
	c = xcalloc(1, sizeof *c);
	c->key = key;
	if (load) {
		sqlite3_stmt *st = staging_stmt(s, ST_CHUNK_GET);
		(void)sqlite3_bind_int64(st, 1, key);
		int rc = sqlite3_step(st);
		if (rc == SQLITE_ROW) {
			size_t len = (size_t)sqlite3_column_bytes(st, 0);
			const void *data = sqlite3_column_blob(st, 0);
			staging_grow_chunk(s, c, len);
			if (len)
				memcpy(c->data, data, len);
		}
		(void)sqlite3_reset(st);
		if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
			free(c->data);
			free(c);
			return staging_failed(s, rc);
		}
	}
	struct staging_chunk **head = &s->chunks[staging_bucket(key)];
	c->next = *head;
	*head = c;
	c->all_next = s->all;
	c->all_prev = &s->all;
	if (s->all)
		s->all->all_prev = &c->all_next;
	s->all = c;
	*ret = c;
	return 0;
}

/* Chunks first.. of a file of `size` bytes are dropped. */
int staging_drop_from(struct staging *s, int64_t id, uint64_t first, uint64_t size)
{
	for (uint64_t no = first; no * STAGING_CHUNK < size; no++) {
		int64_t key = staging_chunk_key(id, no);
		for (struct staging_chunk **p = &s->chunks[staging_bucket(key)]; *p; p = &(*p)->next) {
			if ((*p)->key == key) {
				struct staging_chunk *c = *p;
				*p = c->next;
				*c->all_prev = c->all_next;
				if (c->all_next)
					c->all_next->all_prev = c->all_prev;
				s->chunk_bytes -= c->cap;
				free(c->data);
				free(c);
				break;
			}
		}
	}
	if (first * STAGING_CHUNK >= size)
		return 0;
	sqlite3_stmt *st = staging_stmt(s, ST_CHUNK_DELETE);
	(void)sqlite3_bind_int64(st, 1, staging_chunk_key(id, first));
	(void)sqlite3_bind_int64(st, 2, staging_chunk_key(id, (1u << STAGING_CHUNK_BITS) - 1));
	return staging_run(s, st);
}

int staging_truncate(struct staging *s, int64_t id, uint64_t old_size, uint64_t size)
{
	if (size >= old_size)
		return 0;
	uint64_t whole = size / STAGING_CHUNK, rest = size % STAGING_CHUNK;
	int r = staging_drop_from(s, id, rest ? whole + 1 : whole, old_size);
	if (r < 0 || !rest)
		return r;
	struct staging_chunk *c;
	r = staging_take_chunk(s, staging_chunk_key(id, whole), true, &c);
	if (r < 0)
		return r;
	if (c->len > rest)
		c->len = rest;
	return 0;
}

/* ---- bytes ---- */

int staging_read(struct staging *s, int64_t id, uint64_t offset, void *buf, size_t n, size_t *ret_n)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node node;
	int r = staging_get_locked(s, id, &node);
	if (r < 0)
		return r;
	if (!S_ISREG(node.mode))
		return -EISDIR;
	*ret_n = 0;
	if (offset >= node.size)
		return 0;
	if (n > node.size - offset)
		n = (size_t)(node.size - offset);
	for (size_t done = 0; done < n;) {
		uint64_t at = offset + done;
		size_t in = (size_t)(at % STAGING_CHUNK), want = STAGING_CHUNK - in;
		if (want > n - done)
			want = n - done;
		int64_t key = staging_chunk_key(id, at / STAGING_CHUNK);
		struct staging_chunk *c = staging_find_chunk(s, key);
		const unsigned char *data = c ? c->data : NULL;
		size_t len = c ? c->len : 0;
		sqlite3_stmt *st = NULL;
		if (!c) {
			st = staging_stmt(s, ST_CHUNK_GET);
			(void)sqlite3_bind_int64(st, 1, key);
			int rc = sqlite3_step(st);
			if (rc == SQLITE_ROW) {
				len = (size_t)sqlite3_column_bytes(st, 0);
				data = sqlite3_column_blob(st, 0);
			} else if (rc != SQLITE_DONE) {
				(void)sqlite3_reset(st);
				return staging_failed(s, rc);
			}
		}
		size_t have = len > in ? len - in : 0;
		if (have > want)
			have = want;
		if (have)
			memcpy((char *)buf + done, data + in, have);
		memset((char *)buf + done + have, 0, want - have);
		if (st)
			(void)sqlite3_reset(st);
		done += want;
	}
	*ret_n = n;
	return 0;
}

int staging_write_locked(struct staging *s, struct staged_node *node, uint64_t offset, const void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		uint64_t at = offset + done;
		size_t in = (size_t)(at % STAGING_CHUNK), want = STAGING_CHUNK - in;
		if (want > n - done)
			want = n - done;
		uint64_t number = at / STAGING_CHUNK;
		/* nothing is kept beyond the end, and a chunk that is written whole need not be read */
		bool load = number * STAGING_CHUNK < node->size && !(in == 0 && want == STAGING_CHUNK);
		struct staging_chunk *c;
		int r = staging_take_chunk(s, staging_chunk_key(node->id, number), load, &c);
		if (r < 0)
			return r;
		staging_grow_chunk(s, c, in + want);
		memcpy(c->data + in, (const char *)buf + done, want);
		done += want;
		if (at + want > node->size)
			node->size = at + want;
	}
	return 0;
}

int staging_write(struct staging *s, int64_t id, uint64_t offset, const void *buf, size_t n)
{
	MUTEX_GUARD(&s->mutex);
	struct staged_node node;
	if (s->lost)
		return -s->lost;
	if (n > STAGING_FILE_MAX || offset > STAGING_FILE_MAX - n)
		return -EFBIG;
	/* on a full disk memory must not take what the file cannot */
	int r = s->chunk_bytes >= STAGING_COMMIT_BYTES ? staging_commit_locked(s) : 0;
	if (r < 0)
		return r;
	r = staging_get_locked(s, id, &node);
	if (r < 0)
		return r;
	if (!S_ISREG(node.mode))
		return -EISDIR;
	r = staging_begin(s);
	if (r < 0)
		return r;
	r = staging_changed(s, node.top, 0, false);
	if (r < 0)
		return r;
	r = staging_write_locked(s, &node, offset, buf, n);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_WRITTEN);
	(void)sqlite3_bind_int64(st, 1, id);
	(void)sqlite3_bind_int64(st, 2, (int64_t)node.size);
	(void)sqlite3_bind_int64(st, 3, clock_ns());
	return staging_run(s, st);
}
