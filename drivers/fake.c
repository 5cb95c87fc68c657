/*
 * drivers/fake.c - the sqlite driver with faults, for tests: "fake:PATH?..." in binaries built with
 * METASNAP_FAKE_DRIVER.
 *
 *   fail=CALL[&errno=N][&after=K]  the call of that name in struct db_driver fails with errno N (default 5, EIO); the
 *                                  first K of them (default 0) go through. A failing commit rolls back first.
 *   slow_ms_per_row=N              scan_next and load_row take N ms longer; a cancel ends the wait
 *   hang=CALL                      the call does not return before a cancel; then it fails with EINTR
 *   row=FAULT[&table=NAME][&after=K]
 *                                  one row of those that load_row is given (for that table), the one after the first K,
 *                                  goes in changed (alter), not at all (drop), or twice (repeat), and nobody is told
 *
 * It has scan_written, which the sqlite driver has not: it knows the rows that it has put in by their values.
 *
 * `fail=rollback` and the like of functions without a result are refused. One thread at a time but for fake_cancel,
 * which takes fake_conn.lock; no other lock is taken under it.
 */
#ifdef METASNAP_FAKE_DRIVER

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "drivers/fake.h"

enum fake_row { FAKE_ROW_TRUE, FAKE_ROW_ALTER, FAKE_ROW_DROP, FAKE_ROW_REPEAT };

/* The values of a row that this transaction put in. */
struct fake_written {
	char *table;
	struct strbuf image;
};

struct fake_conn {
	struct db_conn_head head;
	struct db_conn *inner;
	const char *fail; /* into fake_calls; NULL: nothing fails */
	const char *hang;
	char *sign; /* see fake_hang */
	unsigned long after;
	unsigned long calls; /* of `fail` so far */
	int code;
	unsigned long slow_ms;
	enum fake_row row;
	char *row_table;    /* NULL: any */
	unsigned long rows; /* of those so far */
	const struct db_table *load_table;
	struct fake_written *written;
	size_t n_written;
	const struct db_table *filter; /* the scan that is open shows of this table only what was written; NULL: all */
	pthread_mutex_t lock;          /* cancelled */
	pthread_cond_t wake;
	bool cancelled;
};

static const char *const fake_calls[] = {
    "open",       "begin",      "schema_sql",    "scan_open",    "scan_next",    "scan_close",
    "finish",     "compare",    "rebuild_begin", "rebuild_end",  "change_begin", "delete_keys",
    "delete_all", "change_end", "load_begin",    "load_row",     "load_end",     "set_sequences",
    "settle",     "commit",     "examine",       "scan_written",
};

static struct fake_conn *fake_of(struct db_conn *c)
{
	return (struct fake_conn *)c;
}

/* Waits until the connection is cancelled (EINTR) or the time has passed (0); ms 0: for ever. */
static int fake_wait(struct fake_conn *c, unsigned long ms, struct err *e, const char *call)
{
	struct timespec end = clock_after(CLOCK_MONOTONIC, (int64_t)ms);
	MUTEX_GUARD(&c->lock);
	while (!c->cancelled) {
		if (!ms)
			(void)pthread_cond_wait(&c->wake, &c->lock);
		else if (pthread_cond_timedwait(&c->wake, &c->lock, &end) == ETIMEDOUT)
			return 0;
	}
	return err_set(e, EINTR, "%s: cancelled", call);
}

/* While it hangs there is an empty file PATH-hangs, for tests that come in between. */
static int fake_hang(struct fake_conn *c, struct err *e, const char *call)
{
	int fd = open(c->sign, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "%s", c->sign);
	(void)close(fd);
	int r = fake_wait(c, 0, e, call);
	(void)unlink(c->sign);
	return r;
}

/* What stands in front of each call. */
static int fake_enter(struct fake_conn *c, const char *call, struct err *e)
{
	if (c->hang && !strcmp(c->hang, call))
		return fake_hang(c, e, call);
	if (c->fail && !strcmp(c->fail, call) && c->calls++ >= c->after)
		return err_sys(e, c->code, "%s failed as asked for", call);
	if (c->slow_ms && (!strcmp(call, "scan_next") || !strcmp(call, "load_row")))
		return fake_wait(c, c->slow_ms, e, call);
	return 0;
}

#define FAKE_CALL(c, name, e, ...)                                                                                     \
	__extension__({                                                                                                \
		int r_ = fake_enter(fake_of(c), #name, e);                                                             \
		r_ < 0 ? r_ : db_driver_sqlite.name(fake_of(c)->inner, ##__VA_ARGS__, e);                              \
	})

static int fake_begin(struct db_conn *c, enum db_access access, struct db_schema **ret, struct err *e)
{
	*ret = NULL;
	return FAKE_CALL(c, begin, e, access, ret);
}

static int fake_schema_sql(struct db_conn *c, const struct db_schema *s, struct strbuf *out, struct err *e)
{
	return FAKE_CALL(c, schema_sql, e, s, out);
}

static int fake_scan_open(struct db_conn *c, const struct db_table *t, enum db_scan how, struct err *e)
{
	return FAKE_CALL(c, scan_open, e, t, how);
}

/* ---- rows on their way in ---- */

static void fake_forget_written(struct fake_conn *c)
{
	for (size_t i = 0; i < c->n_written; i++) {
		free(c->written[i].table);
		strbuf_done(&c->written[i].image);
	}
	free(TAKE_PTR(c->written));
	c->n_written = 0;
}

static size_t fake_columns(const struct db_table *t)
{
	size_t n = 0;
	for (size_t i = 0; i < t->n_columns; i++)
		n += !t->columns[i].generated;
	return n;
}

static void fake_image(const struct db_table *t, const struct db_value *v, struct strbuf *out)
{
	strbuf_clear(out);
	for (size_t i = 0; i < fake_columns(t); i++) {
		strbuf_addf(out, "%d %zd:", (int)v[i].kind, v[i].data ? (ssize_t)v[i].len : -1);
		if (v[i].data)
			strbuf_add(out, v[i].data, v[i].len);
	}
}

static bool fake_was_written(const struct fake_conn *c, const struct db_table *t, const struct db_value *v,
			     struct strbuf *image)
{
	fake_image(t, v, image);
	for (size_t i = 0; i < c->n_written; i++) {
		const struct fake_written *w = &c->written[i];
		if (w->image.len == image->len && !memcmp(w->image.data, image->data, image->len) &&
		    !strcmp(w->table, t->name))
			return true;
	}
	return false;
}

static int fake_put_row(struct fake_conn *c, const struct db_value *v, struct err *e)
{
	if ((c->n_written & (c->n_written - 1)) == 0)
		c->written = xrealloc(c->written, (c->n_written ? c->n_written * 2 : 1) * sizeof *c->written);
	struct fake_written *w = &c->written[c->n_written++];
	*w = (struct fake_written){.table = xstrdup(c->load_table->name)};
	fake_image(c->load_table, v, &w->image);
	return db_driver_sqlite.load_row(c->inner, v, e);
}

/* The last letter or digit of the row becomes another one. */
static int fake_put_altered(struct fake_conn *c, const struct db_value *v, struct err *e)
{
	size_t n = fake_columns(c->load_table);
	_cleanup_free_ struct db_value *other = (void *)xmemdup0(v, n * sizeof *v);
	for (size_t i = n; i-- > 0;)
		for (size_t at = v[i].data ? v[i].len : 0; at-- > 0;) {
			unsigned char was = (unsigned char)v[i].data[at];
			if (!isalnum(was))
				continue;
			_cleanup_free_ char *data = xmemdup0(v[i].data, v[i].len);
			data[at] = (char)(isdigit(was) ? '0' + (was - '0' + 1) % 10 : was ^ 1);
			other[i].data = data;
			return fake_put_row(c, other, e);
		}
	return err_set(e, EINVAL, "fake: nothing to alter in a row of %s", c->load_table->name);
}

static int fake_scan_next(struct db_conn *conn, const struct db_value **ret, struct err *e)
{
	struct fake_conn *c = fake_of(conn);
	_cleanup_strbuf_ struct strbuf image = {0};
	int r = FAKE_CALL(conn, scan_next, e, ret);
	while (r == 1 && c->filter && !fake_was_written(c, c->filter, *ret, &image))
		r = db_driver_sqlite.scan_next(c->inner, ret, e);
	return r;
}

/* The scan is closed all the same: scan_close must be safe to have been called. */
static int fake_scan_close(struct db_conn *c, struct err *e)
{
	fake_of(c)->filter = NULL;
	int r = fake_enter(fake_of(c), "scan_close", e);
	int closed = db_driver_sqlite.scan_close(fake_of(c)->inner, r < 0 ? ERR_DROP : e);
	return r < 0 ? r : closed;
}

static int fake_finish(struct db_conn *c, struct db_schema *s, struct err *e)
{
	return FAKE_CALL(c, finish, e, s);
}

static int fake_examine(struct db_conn *c, const struct db_schema *s, const char *measured, struct db_examination *ret,
			struct err *e)
{
	return FAKE_CALL(c, examine, e, s, measured, ret);
}

static int fake_compare(struct db_conn *c, const struct db_definitions *live, const struct db_definitions *want,
			const bool *touched, struct db_objects *ret, struct err *e)
{
	*ret = (struct db_objects){0};
	return FAKE_CALL(c, compare, e, live, want, touched, ret);
}

static int fake_rebuild_begin(struct db_conn *c, const struct db_schema *s, const char *sql, const struct db_objects *o,
			      struct strbuf *warnings, struct err *e)
{
	return FAKE_CALL(c, rebuild_begin, e, s, sql, o, warnings);
}

static int fake_rebuild_end(struct db_conn *c, struct strbuf *warnings, struct strbuf *outside, struct err *e)
{
	return FAKE_CALL(c, rebuild_end, e, warnings, outside);
}

static int fake_change_begin(struct db_conn *c, const struct db_schema *s, struct err *e)
{
	return FAKE_CALL(c, change_begin, e, s);
}

static int fake_delete_keys(struct db_conn *c, const struct db_table *t, const struct db_value *keys, size_t n_rows,
			    struct err *e)
{
	return FAKE_CALL(c, delete_keys, e, t, keys, n_rows);
}

static int fake_delete_all(struct db_conn *c, const struct db_table *t, struct err *e)
{
	return FAKE_CALL(c, delete_all, e, t);
}

static int fake_change_end(struct db_conn *c, struct strbuf *orphans, struct strbuf *outside, struct err *e)
{
	return FAKE_CALL(c, change_end, e, orphans, outside);
}

static int fake_scan_written(struct db_conn *conn, const struct db_table *t, uint64_t *ret_others, struct err *e)
{
	struct fake_conn *c = fake_of(conn);
	_cleanup_strbuf_ struct strbuf image = {0};
	const struct db_value *v;
	int r = fake_enter(c, "scan_written", e);
	if (r == 0)
		r = db_driver_sqlite.scan_open(c->inner, t, DB_SCAN_UNORDERED, e);
	if (r < 0)
		return r;
	*ret_others = 0;
	while ((r = db_driver_sqlite.scan_next(c->inner, &v, e)) == 1)
		*ret_others += !fake_was_written(c, t, v, &image);
	int closed = db_driver_sqlite.scan_close(c->inner, r < 0 ? ERR_DROP : e);
	if (r == 0 && closed == 0)
		r = db_driver_sqlite.scan_open(c->inner, t, DB_SCAN_UNORDERED, e);
	c->filter = t;
	return r < 0 ? r : closed;
}

static int fake_load_begin(struct db_conn *c, const struct db_table *t, struct err *e)
{
	fake_of(c)->load_table = t;
	return FAKE_CALL(c, load_begin, e, t);
}

static int fake_load_row(struct db_conn *conn, const struct db_value *values, struct err *e)
{
	struct fake_conn *c = fake_of(conn);
	int r = fake_enter(c, "load_row", e);
	if (r < 0)
		return r;
	enum fake_row fault = FAKE_ROW_TRUE;
	if (c->row && (!c->row_table || !strcmp(c->row_table, c->load_table->name)) && c->rows++ == c->after)
		fault = c->row;
	if (fault == FAKE_ROW_DROP)
		return 0;
	if (fault == FAKE_ROW_ALTER)
		return fake_put_altered(c, values, e);
	r = fake_put_row(c, values, e);
	return r == 0 && fault == FAKE_ROW_REPEAT ? fake_put_row(c, values, e) : r;
}

static int fake_load_end(struct db_conn *c, bool ok, struct err *e)
{
	int r = fake_enter(fake_of(c), "load_end", e);
	int ended = db_driver_sqlite.load_end(fake_of(c)->inner, ok && r >= 0, r < 0 ? ERR_DROP : e);
	return r < 0 ? r : ended;
}

static int fake_set_sequences(struct db_conn *c, const struct db_schema *s, struct err *e)
{
	return FAKE_CALL(c, set_sequences, e, s);
}

static int fake_settle(struct db_conn *c, struct err *e)
{
	return FAKE_CALL(c, settle, e);
}

static void fake_rollback(struct db_conn *c)
{
	fake_forget_written(fake_of(c));
	db_driver_sqlite.rollback(fake_of(c)->inner);
}

static int fake_commit(struct db_conn *c, struct err *e)
{
	int r = fake_enter(fake_of(c), "commit", e);
	if (r < 0) {
		fake_rollback(c);
		return r;
	}
	fake_forget_written(fake_of(c));
	return db_driver_sqlite.commit(fake_of(c)->inner, e);
}

static void fake_cancel(struct db_conn *conn)
{
	struct fake_conn *c = fake_of(conn);
	{
		MUTEX_GUARD(&c->lock);
		c->cancelled = true;
		(void)pthread_cond_broadcast(&c->wake);
	}
	db_driver_sqlite.cancel(c->inner);
}

static void fake_close(struct db_conn *conn)
{
	if (!conn)
		return;
	struct fake_conn *c = fake_of(conn);
	db_driver_sqlite.close(c->inner);
	fake_forget_written(c);
	free(c->row_table);
	(void)pthread_cond_destroy(&c->wake);
	(void)pthread_mutex_destroy(&c->lock);
	free(c->sign);
	free(c);
}

static int fake_parse_call(const char **ret, const char *name, struct err *e)
{
	for (size_t i = 0; i < sizeof fake_calls / sizeof fake_calls[0]; i++)
		if (!strcmp(fake_calls[i], name))
			*ret = fake_calls[i];
	return *ret ? 0 : err_set(e, EINVAL, "fake: no call \"%s\"", name);
}

static int fake_parse_row(enum fake_row *ret, const char *name, struct err *e)
{
	static const char *const faults[] = {"", "alter", "drop", "repeat"};
	for (int i = FAKE_ROW_ALTER; i <= FAKE_ROW_REPEAT; i++)
		if (!strcmp(faults[i], name))
			*ret = (enum fake_row)i;
	return *ret ? 0 : err_set(e, EINVAL, "fake: no row=\"%s\"", name);
}

static int fake_parse_number(unsigned long *ret, const char *key, const char *text, struct err *e)
{
	char *end = NULL;
	*ret = strtoul(text, &end, 10);
	return *end ? err_set(e, EINVAL, "fake: %s is not a number", key) : 0;
}

static int fake_parse(struct fake_conn *c, const struct db_params *p, struct err *e)
{
	int r = 0;
	unsigned long code = EIO;
	for (size_t i = 0; r >= 0 && p->options && p->options[i]; i += 2) {
		const char *key = p->options[i], *value = p->options[i + 1];
		if (!strcmp(key, "fail"))
			r = fake_parse_call(&c->fail, value, e);
		else if (!strcmp(key, "hang"))
			r = fake_parse_call(&c->hang, value, e);
		else if (!strcmp(key, "row"))
			r = fake_parse_row(&c->row, value, e);
		else if (!strcmp(key, "table") && !c->row_table)
			c->row_table = xstrdup(value);
		else if (!strcmp(key, "after"))
			r = fake_parse_number(&c->after, key, value, e);
		else if (!strcmp(key, "errno"))
			r = fake_parse_number(&code, key, value, e);
		else if (!strcmp(key, "slow_ms_per_row"))
			r = fake_parse_number(&c->slow_ms, key, value, e);
	}
	c->code = (int)code;
	return r;
}

static int fake_open(struct db_conn **ret, const struct db_params *p, struct err *e)
{
	pthread_condattr_t attributes;
	struct fake_conn *c = xcalloc(1, sizeof *c);
	*ret = NULL;
	c->head.driver = &db_driver_fake;
	c->sign = xasprintf("%s-hangs", p->database ? p->database : "");
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->wake, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	int r = fake_parse(c, p, e);
	if (r >= 0 && c->hang && !strcmp(c->hang, "open"))
		r = err_set(e, EINVAL, "fake: open cannot hang: nobody could cancel it");
	if (r >= 0)
		r = fake_enter(c, "open", e);
	if (r >= 0)
		r = db_driver_sqlite.open(&c->inner, p, e);
	if (r < 0) {
		fake_close((struct db_conn *)c);
		return r;
	}
	*ret = (struct db_conn *)c;
	return 0;
}

const struct db_driver db_driver_fake = {
    .scheme = "fake",
    .open = fake_open,
    .begin = fake_begin,
    .begin_like = NULL,
    .schema_sql = fake_schema_sql,
    .scan_open = fake_scan_open,
    .scan_next = fake_scan_next,
    .scan_close = fake_scan_close,
    .examine = fake_examine,
    .finish = fake_finish,
    .compare = fake_compare,
    .rebuild_begin = fake_rebuild_begin,
    .rebuild_end = fake_rebuild_end,
    .change_begin = fake_change_begin,
    .delete_keys = fake_delete_keys,
    .delete_all = fake_delete_all,
    .change_end = fake_change_end,
    .scan_written = fake_scan_written,
    .load_begin = fake_load_begin,
    .load_row = fake_load_row,
    .load_end = fake_load_end,
    .set_sequences = fake_set_sequences,
    .settle = fake_settle,
    .commit = fake_commit,
    .rollback = fake_rollback,
    .cancel = fake_cancel,
    .close = fake_close,
};

#else
/* ISO C wants a declaration in every file. */
struct fake_driver_is_not_built;
#endif
