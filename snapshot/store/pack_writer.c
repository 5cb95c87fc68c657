/*
 * snapshot/store/pack_writer.c - raw packs in, stored packs out: dictionaries, compression and the transactions that
 * store packs.
 *
 * The threads here take raw packs from a bounded queue in the order they came, so that reading, compressing and storing
 * overlap. Packs are stored in transactions of STORE_BATCH bytes, so that the write-ahead log stays small and other
 * writers get their turn; until the snapshot's last transaction names them no reader sees them, and a crash leaves them
 * to the next sweep.
 *
 * pack_writer.mutex guards the queue, the batch and the tables' states; it is never held over compression or a SQLite
 * call, and workers.mutex alone is taken under it. pack_writer.id_mutex is held while numbers are reserved (it comes
 * before catalog.write_mutex).
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <sched.h>

#include "base/workers.h"

#define STORE_BATCH (4U << 20)
#define QUEUE_BYTES (4U << 20) /* raw bytes that wait; who adds more waits for room */
#define PACK_ID_BLOCK 256
#define DICT_SAMPLE (512U << 10) /* raw bytes to learn a table's dictionary from */
#define DICT_WORTH (96U << 10)   /* below this a dictionary costs more than it saves */
#define THREADS_MAX 4L

struct raw_pack {
	int64_t id;
	struct pack_writer_table *table;
	uint8_t sha[ROW_SHA_LEN];
	struct strbuf raw;
	bool learn; /* not a pack: what the table's dictionary is made of, empty where it is not worth one */
	struct raw_pack *next;
};

struct stored_pack {
	int64_t id, codec_id, dict_id;
	uint8_t sha[ROW_SHA_LEN];
	void *data;
	size_t len;
};

struct batch {
	struct stored_pack *v;
	size_t n, cap, bytes;
};

struct pack_writer_table {
	struct pack_writer *writer;
	struct pack_writer_table *next;
	int64_t codec_id;
	/* The reader's own: packs that wait for enough of them to learn a dictionary from. */
	struct raw_pack *waiting, **waiting_end;
	size_t waiting_bytes;
	bool queued; /* nothing waits any more: packs go to the queue */
	/* Under pack_writer.mutex. */
	bool ready; /* dict_id and dict will not change any more */
	int64_t dict_id;
	ZSTD_CDict *dict; /* NULL: none */
};

struct pack_writer {
	struct catalog *catalog;
	int64_t taken_ms;
	struct workers workers;
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* work came, room came, a table is ready, all is done, a thread failed, stop */
	bool stop;
	struct raw_pack *first, **end;
	size_t queued_bytes;
	size_t pending; /* packs queued or at work */
	struct batch batch;
	uint64_t stored_bytes;
	struct pack_writer_table *tables;
	pthread_mutex_t id_mutex;
	int64_t next_id, end_id;
};

static void raw_pack_free(struct raw_pack *p)
{
	while (p) {
		struct raw_pack *next = p->next;
		strbuf_done(&p->raw);
		free(p);
		p = next;
	}
}

static void batch_done(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->v[i].data);
	free(b->v);
	*b = (struct batch){0};
}

static int batch_store(const struct pack_writer *p, const struct batch *b, struct store_db *db, struct err *e)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < b->n; i++) {
		const struct stored_pack *s = &b->v[i];
		r = store_exec(db, STMT_PACK_INSERT,
			       BINDS(bind_int(s->id), bind_int(s->codec_id), bind_int(p->taken_ms),
				     bind_int(s->dict_id), bind_blob(s->sha, sizeof s->sha),
				     bind_blob(s->data, s->len)),
			       "storing rows", e);
	}
	return r;
}

static int batch_commit(struct pack_writer *p, const struct batch *b, struct err *e)
{
	struct store_db *db = store_write_begin(p->catalog, STORE_LAZY, e);
	return db ? store_write_end(p->catalog, db, batch_store(p, b, db, e), e) : err_code(e);
}

/* Compresses one pack into the batch; stores the batch when it is large enough. */
static int pack_writer_compress(struct pack_writer *p, struct compressor *compressor, const struct raw_pack *raw,
				struct err *e)
{
	const struct pack_writer_table *t = raw->table;
	const void *data;
	size_t len;
	int r = compressor_compress(compressor, t->dict, raw->raw.data, raw->raw.len, &data, &len, e);
	if (r < 0)
		return r;
	struct stored_pack s = {.id = raw->id, .codec_id = t->codec_id, .dict_id = t->dict_id, .len = len};
	memcpy(s.sha, raw->sha, sizeof s.sha);
	s.data = xmalloc(len);
	memcpy(s.data, data, len);
	struct batch full = {0};
	{
		MUTEX_GUARD(&p->mutex);
		struct batch *b = &p->batch;
		if (b->n == b->cap) {
			b->cap = b->cap ? b->cap * 2 : 64;
			b->v = xrealloc(b->v, b->cap * sizeof *b->v);
		}
		b->v[b->n++] = s;
		b->bytes += len;
		p->stored_bytes += len;
		if (b->bytes >= STORE_BATCH) {
			full = *b;
			*b = (struct batch){0};
		}
	}
	r = full.n ? batch_commit(p, &full, e) : 0;
	batch_done(&full);
	return r;
}

/* Makes and stores the table's dictionary. */
static int pack_writer_learn(struct pack_writer *p, struct pack_writer_table *t, const struct strbuf *samples,
			     struct err *e)
{
	_cleanup_strbuf_ struct strbuf dict = {0};
	if (samples->len)
		compressor_train(samples->data, samples->len, &dict);
	if (!dict.len)
		return 0;
	struct store_db *db = store_write_begin(p->catalog, STORE_LAZY, e);
	if (!db)
		return err_code(e);
	int r = store_exec(db, STMT_DICT_INSERT, BINDS(bind_int(t->codec_id), bind_blob(dict.data, dict.len)),
			   "storing a dictionary", e);
	t->dict_id = sqlite3_last_insert_rowid(db->h);
	r = store_write_end(p->catalog, db, r, e);
	if (r < 0)
		return r;
	t->dict = compressor_dict(dict.data, dict.len);
	MUTEX_GUARD(&p->mutex);
	p->stored_bytes += dict.len;
	return 0;
}

/* ---- threads ---- */

/* Nobody's work is of use any more: with the mutex, so that who has just looked is waiting by now. */
static void pack_writer_wake(void *arg)
{
	struct pack_writer *p = arg;
	MUTEX_GUARD(&p->mutex);
	(void)pthread_cond_broadcast(&p->changed);
}

/* With the mutex held. */
static bool pack_writer_ends(const struct pack_writer *p)
{
	return p->stop || workers_failed(&p->workers);
}

/* The next pack, or NULL: the thread ends. */

static struct raw_pack *pack_writer_take(struct pack_writer *p)
{
	MUTEX_GUARD(&p->mutex);
	while (!p->first && !pack_writer_ends(p))
		(void)pthread_cond_wait(&p->changed, &p->mutex);
	if (pack_writer_ends(p))
		return NULL;
	struct raw_pack *raw = p->first;
	p->first = raw->next;
	if (!p->first)
		p->end = &p->first;
	raw->next = NULL;
	p->queued_bytes -= raw->raw.len;
	/* The thread that learns took its pack before this one: it is at work, not behind us. */
	while (!raw->learn && !raw->table->ready && !pack_writer_ends(p))
		(void)pthread_cond_wait(&p->changed, &p->mutex);
	(void)pthread_cond_broadcast(&p->changed);
	if (!pack_writer_ends(p))
		return raw;
	/* The table may still be learned from on another thread. */
	raw_pack_free(raw);
	return NULL;
}

static int pack_writer_work(struct pack_writer *p, struct compressor *compressor, struct raw_pack *raw, struct err *e)
{
	if (!raw->learn)
		return pack_writer_compress(p, compressor, raw, e);
	int r = pack_writer_learn(p, raw->table, &raw->raw, e);
	if (r < 0)
		return r;
	MUTEX_GUARD(&p->mutex);
	raw->table->ready = true;
	(void)pthread_cond_broadcast(&p->changed);
	return 0;
}

static int pack_writer_thread(void *arg, struct err *e)
{
	struct pack_writer *p = arg;
	_cleanup_(cleanup_compressor) struct compressor *compressor = compressor_new();
	for (struct raw_pack *raw; (raw = pack_writer_take(p));) {
		int r = pack_writer_work(p, compressor, raw, e);
		raw_pack_free(raw);
		if (r < 0)
			return r;
		MUTEX_GUARD(&p->mutex);
		if (--p->pending == 0)
			(void)pthread_cond_broadcast(&p->changed);
	}
	return 0;
}

int pack_writer_new(struct pack_writer **ret, struct catalog *c, int64_t taken_ms, struct err *e)
{
	_cleanup_(cleanup_pack_writer) struct pack_writer *p = xcalloc(1, sizeof *p);
	p->catalog = c;
	p->taken_ms = taken_ms;
	p->end = &p->first;
	(void)pthread_mutex_init(&p->mutex, NULL);
	(void)pthread_mutex_init(&p->id_mutex, NULL);
	(void)pthread_cond_init(&p->changed, NULL);
	workers_init(&p->workers, pack_writer_wake, p);
	/* The reader has a processor of its own where there is more than one. */
	cpu_set_t cpus;
	long n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) - 1 : 1;
	n = n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
	while (p->workers.n < (size_t)n) {
		int r = workers_start(&p->workers, pack_writer_thread, p, p->workers.n ? ERR_DROP : e);
		if (r < 0 && p->workers.n == 0)
			return r;
		if (r < 0)
			break; /* the others do its work */
	}
	*ret = TAKE_PTR(p);
	return 0;
}

void pack_writer_free(struct pack_writer *p)
{
	if (!p)
		return;
	{
		MUTEX_GUARD(&p->mutex);
		p->stop = true;
		(void)pthread_cond_broadcast(&p->changed);
	}
	workers_join(&p->workers);
	workers_done(&p->workers);
	raw_pack_free(p->first);
	batch_done(&p->batch);
	while (p->tables) {
		struct pack_writer_table *t = p->tables;
		p->tables = t->next;
		raw_pack_free(t->waiting);
		(void)ZSTD_freeCDict(t->dict);
		free(t);
	}
	(void)pthread_mutex_destroy(&p->mutex);
	(void)pthread_mutex_destroy(&p->id_mutex);
	(void)pthread_cond_destroy(&p->changed);
	free(p);
}

/* ---- the reader's side ---- */

int pack_writer_id(struct pack_writer *p, int64_t *ret, struct err *e)
{
	MUTEX_GUARD(&p->id_mutex);
	if (p->next_id == p->end_id) {
		struct store_db *db = store_write_begin(p->catalog, STORE_LAZY, e);
		if (!db)
			return err_code(e);
		int64_t first = 0;
		int r = store_reserve(db, "pack", PACK_ID_BLOCK, &first, e);
		r = store_write_end(p->catalog, db, r, e);
		if (r < 0)
			return r;
		p->next_id = first;
		p->end_id = first + PACK_ID_BLOCK;
	}
	*ret = p->next_id++;
	return 0;
}

int pack_writer_table(struct pack_writer_table **ret, struct pack_writer *p, int64_t codec_id, struct err *e)
{
	_cleanup_strbuf_ struct strbuf dict = {0};
	int64_t dict_id = 0;
	int r = store_codec_dict(p->catalog, codec_id, &dict_id, &dict, e);
	if (r < 0)
		return r;
	struct pack_writer_table *t = xcalloc(1, sizeof *t);
	t->writer = p;
	t->codec_id = codec_id;
	t->waiting_end = &t->waiting;
	t->dict_id = dict_id;
	t->dict = dict_id ? compressor_dict(dict.data, dict.len) : NULL;
	t->queued = t->ready = dict_id != 0;
	MUTEX_GUARD(&p->mutex);
	t->next = p->tables;
	p->tables = t;
	*ret = t;
	return 0;
}

static int pack_writer_push(struct pack_writer *p, struct raw_pack *raw, struct err *e)
{
	MUTEX_GUARD(&p->mutex);
	while (p->queued_bytes > QUEUE_BYTES && !workers_failed(&p->workers))
		(void)pthread_cond_wait(&p->changed, &p->mutex);
	int r = workers_failure(&p->workers, e);
	if (r < 0) {
		raw_pack_free(raw);
		return r;
	}
	*p->end = raw;
	p->end = &raw->next;
	p->queued_bytes += raw->raw.len;
	p->pending++;
	(void)pthread_cond_broadcast(&p->changed);
	return 0;
}

/* The task that makes the dictionary, then the packs that waited for it. */
static int pack_writer_release(struct pack_writer_table *t, struct err *e)
{
	struct raw_pack *learn = xcalloc(1, sizeof *learn), *w = TAKE_PTR(t->waiting);
	learn->table = t;
	learn->learn = true;
	if (t->waiting_bytes >= DICT_WORTH)
		for (const struct raw_pack *p = w; p; p = p->next)
			strbuf_add(&learn->raw, p->raw.data, p->raw.len);
	t->queued = true;
	int r = pack_writer_push(t->writer, learn, e);
	while (w && r == 0) {
		struct raw_pack *next = w->next;
		w->next = NULL;
		r = pack_writer_push(t->writer, w, e);
		w = next;
	}
	raw_pack_free(w);
	return r;
}

int pack_writer_add(struct pack_writer_table *t, int64_t id, struct strbuf *raw, const uint8_t sha[ROW_SHA_LEN],
		    struct err *e)
{
	struct raw_pack *p = xcalloc(1, sizeof *p);
	p->id = id;
	p->table = t;
	memcpy(p->sha, sha, sizeof p->sha);
	p->raw = *raw;
	*raw = (struct strbuf){0};
	if (t->queued)
		return pack_writer_push(t->writer, p, e);
	*t->waiting_end = p;
	t->waiting_end = &p->next;
	t->waiting_bytes += p->raw.len;
	return t->waiting_bytes >= DICT_SAMPLE ? pack_writer_release(t, e) : 0;
}

int pack_writer_end_table(struct pack_writer_table *t, struct err *e)
{
	return t->queued ? 0 : pack_writer_release(t, e);
}

int pack_writer_wait(struct pack_writer *p, struct err *e)
{
	MUTEX_GUARD(&p->mutex);
	while (p->pending && !workers_failed(&p->workers))
		(void)pthread_cond_wait(&p->changed, &p->mutex);
	return workers_failure(&p->workers, e);
}

int pack_writer_store(struct pack_writer *p, struct store_db *db, struct err *e)
{
	return batch_store(p, &p->batch, db, e);
}

uint64_t pack_writer_bytes(struct pack_writer *p)
{
	MUTEX_GUARD(&p->mutex);
	return p->stored_bytes;
}
