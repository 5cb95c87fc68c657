/*
 * drivers/trace.c - the tracing driver: forwards every call to another driver and appends one line a call to a file.
 *
 * A line: UTC time, connection number, call, arguments, result, milliseconds; scans, loads and deletions tell their
 * rows and bytes once, at the end. Values, keys and passwords are never written. Lines of several connections share
 * the file: it is opened with O_APPEND and each line is one write(). Each connection belongs to one thread, but cancel
 * comes from any: it writes a line of its own and touches nothing else here.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "drivers/trace.h"

struct trace_conn {
	struct db_conn_head head;
	struct db_driver driver; /* the table of this connection: begin_like is NULL where the inner one's is */
	struct db_conn *inner;
	int fd;
	char *table;        /* of the open scan or load */
	uint64_t rows;      /* of the open scan or load */
	uint64_t bytes;     /* of their values */
	size_t values;      /* in each of them */
	uint64_t inside_ns; /* time spent in the inner scan_next or load_row */
};

static struct trace_conn *trace_of(struct db_conn *c)
{
	return (struct trace_conn *)c;
}

static const struct db_driver *trace_driver(struct db_conn *c)
{
	return db_driver_of(trace_of(c)->inner);
}

/* Writes the line of one call and returns its result. `details` was appended to by the caller; it is released. */
static int trace_line(const struct trace_conn *c, const char *call, struct strbuf *details, int r, uint64_t ns,
		      const struct err *e)
{
	struct timespec ts;
	struct tm tm;
	char when[32] = "";
	_cleanup_strbuf_ struct strbuf line = {0};
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (gmtime_r(&ts.tv_sec, &tm))
		(void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
	strbuf_addf(&line, "%s.%06ldZ %d/%d %s", when, ts.tv_nsec / 1000, (int)getpid(), c->fd, call);
	if (details && details->len)
		strbuf_addf(&line, " %s", strbuf_str(details));
	strbuf_addf(&line, " = %d", r);
	if (r < 0)
		strbuf_addf(&line, " (%s)", e->code ? e->msg : strerror(-r));
	strbuf_addf(&line, " %.3f ms\n", (double)ns / 1e6);
	/* A trace that cannot be written must not make the work fail. */
	if (write(c->fd, line.data, line.len) < 0)
		errno = 0;
	if (details)
		strbuf_done(details);
	return r;
}

/* Name as it is found in a log: quoted, control characters made visible. */
static void trace_name(struct strbuf *sb, const char *name)
{
	strbuf_addch(sb, '"');
	for (const char *s = name; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == '"' || *s == '\\')
			strbuf_addf(sb, "\\x%02x", (unsigned char)*s);
		else
			strbuf_addch(sb, *s);
	}
	strbuf_addch(sb, '"');
}

static struct strbuf trace_schema(const struct db_schema *s)
{
	struct strbuf sb = {0};
	if (s)
		strbuf_addf(&sb, "%s %s, %zu tables, %zu sequences", s->engine ? s->engine : "?",
			    s->server_version ? s->server_version : "?", s->n_tables, s->n_sequences);
	return sb;
}

#define TRACE_CALL(c, name, details, e, ...)                                                                           \
	__extension__({                                                                                                \
		struct trace_conn *t_ = trace_of(c);                                                                   \
		struct strbuf d_ = details;                                                                            \
		uint64_t start_ = clock_mono_ns();                                                                     \
		int r_ = trace_driver(c)->name(__VA_ARGS__);                                                           \
		trace_line(t_, #name, &d_, r_, clock_mono_ns() - start_, e);                                           \
	})

#define TRACE_NOTHING ((struct strbuf){0})

static int trace_begin(struct db_conn *c, enum db_access access, struct db_schema **ret, struct err *e)
{
	struct trace_conn *t = trace_of(c);
	uint64_t start = clock_mono_ns();
	int r = trace_driver(c)->begin(t->inner, access, ret, e);
	uint64_t ns = clock_mono_ns() - start;
	_cleanup_strbuf_ struct strbuf schema = trace_schema(r < 0 ? NULL : *ret);
	struct strbuf d = {0};
	strbuf_addf(&d, "%s%s%s", access == DB_WRITE ? "write" : "read", schema.len ? ", " : "", strbuf_str(&schema));
	return trace_line(t, "begin", &d, r, ns, e);
}

static int trace_begin_like(struct db_conn *c, struct db_conn *leader, const struct db_schema *s, struct err *e)
{
	/* The inner driver must see its own connection. */
	return TRACE_CALL(c, begin_like, trace_schema(s), e, trace_of(c)->inner, trace_of(leader)->inner, s, e);
}

static int trace_schema_sql(struct db_conn *c, const struct db_schema *s, struct strbuf *out, struct err *e)
{
	size_t before = out->len;
	uint64_t start = clock_mono_ns();
	int r = trace_driver(c)->schema_sql(trace_of(c)->inner, s, out, e);
	uint64_t ns = clock_mono_ns() - start;
	struct strbuf d = {0};
	strbuf_addf(&d, "%zu bytes", out->len - before);
	return trace_line(trace_of(c), "schema_sql", &d, r, ns, e);
}

static void trace_start_rows(struct trace_conn *t, const struct db_table *table, bool scan)
{
	t->values = 0;
	for (size_t i = 0; i < table->n_columns; i++)
		t->values += !table->columns[i].generated;
	for (size_t i = 0; scan && i < table->n_key; i++)
		t->values += table->columns[table->key[i]].generated;
	free(t->table);
	t->table = xstrdup(table->name);
	t->rows = t->bytes = t->inside_ns = 0;
}

static void trace_count_row(struct trace_conn *t, const struct db_value *values)
{
	t->rows++;
	for (size_t i = 0; i < t->values; i++)
		t->bytes += values[i].data ? values[i].len : 0;
}

static struct strbuf trace_rows(const struct trace_conn *t)
{
	struct strbuf sb = {0};
	trace_name(&sb, t->table ? t->table : "");
	strbuf_addf(&sb, " %" PRIu64 " rows, %" PRIu64 " bytes, %.3f ms in the driver", t->rows, t->bytes,
		    (double)t->inside_ns / 1e6);
	return sb;
}

static int trace_scan_open(struct db_conn *c, const struct db_table *table, enum db_scan how, struct err *e)
{
	static const char *const words[] = {"ordered", "unordered", "keys"};
	struct strbuf d = {0};
	trace_name(&d, table->name);
	strbuf_addf(&d, " %s", words[how]);
	trace_start_rows(trace_of(c), table, true);
	if (how == DB_SCAN_KEYS)
		trace_of(c)->values = table->n_key;
	return TRACE_CALL(c, scan_open, d, e, trace_of(c)->inner, table, how, e);
}

static int trace_scan_next(struct db_conn *c, const struct db_value **ret, struct err *e)
{
	struct trace_conn *t = trace_of(c);
	uint64_t start = clock_mono_ns();
	int r = trace_driver(c)->scan_next(t->inner, ret, e);
	uint64_t ns = clock_mono_ns() - start;
	t->inside_ns += ns;
	if (r > 0)
		trace_count_row(t, *ret);
	if (r < 0)
		return trace_line(t, "scan_next", NULL, r, ns, e);
	return r;
}

static int trace_scan_close(struct db_conn *c, struct err *e)
{
	return TRACE_CALL(c, scan_close, trace_rows(trace_of(c)), e, trace_of(c)->inner, e);
}

static int trace_examine(struct db_conn *c, const struct db_schema *s, const char *measured, struct db_examination *ret,
			 struct err *e)
{
	return TRACE_CALL(c, examine, trace_schema(s), e, trace_of(c)->inner, s, measured, ret, e);
}

static int trace_mark(struct db_conn *c, const struct db_table *table, struct strbuf *out, struct err *e)
{
	size_t before = out->len;
	uint64_t start = clock_mono_ns();
	int r = trace_driver(c)->mark(trace_of(c)->inner, table, out, e);
	uint64_t ns = clock_mono_ns() - start;
	struct strbuf d = {0};
	trace_name(&d, table->name);
	strbuf_addf(&d, " \"%s\"", r < 0 || out->len == before ? "" : out->data + before);
	return trace_line(trace_of(c), "mark", &d, r, ns, e);
}

static int trace_scan_changed(struct db_conn *c, const struct db_table *table, const char *mark,
			      uint64_t *ret_unchanged, struct err *e)
{
	uint64_t start = clock_mono_ns();
	trace_start_rows(trace_of(c), table, true);
	int r = trace_driver(c)->scan_changed(trace_of(c)->inner, table, mark, ret_unchanged, e);
	uint64_t ns = clock_mono_ns() - start;
	struct strbuf d = {0};
	trace_name(&d, table->name);
	if (r >= 0)
		strbuf_addf(&d, " %" PRIu64 " unchanged", *ret_unchanged);
	return trace_line(trace_of(c), "scan_changed", &d, r, ns, e);
}

static int trace_finish(struct db_conn *c, struct db_schema *s, struct err *e)
{
	return TRACE_CALL(c, finish, trace_schema(s), e, trace_of(c)->inner, s, e);
}

static struct strbuf trace_table(const struct db_table *t)
{
	struct strbuf sb = {0};
	trace_name(&sb, t->name);
	return sb;
}

static int trace_aside_begin(struct db_conn *c, const struct db_schema *s, const char *sql, bool *set_aside,
			     struct err *e)
{
	return TRACE_CALL(c, aside_begin, trace_schema(s), e, trace_of(c)->inner, s, sql, set_aside, e);
}

static struct trace_conn *trace_new(const struct db_driver *inner, int fd);

static int trace_aside_open(struct db_conn **ret, struct db_conn *leader, struct err *e)
{
	struct db_conn *inner = NULL;
	*ret = NULL;
	int fd = fcntl(trace_of(leader)->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "METASNAP_TRACE");
	int r = TRACE_CALL(leader, aside_open, TRACE_NOTHING, e, &inner, trace_of(leader)->inner, e);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	struct trace_conn *t = trace_new(trace_driver(leader), fd);
	t->inner = inner;
	*ret = (struct db_conn *)t;
	return 0;
}

static int trace_aside_table(struct db_conn *c, const struct db_conn *leader, const struct db_table *t, struct err *e)
{
	return TRACE_CALL(c, aside_table, trace_table(t), e, trace_of(c)->inner,
			  ((const struct trace_conn *)leader)->inner, t, e);
}

static int trace_aside_end(struct db_conn *c, const struct db_conn *leader, const struct db_table *t, struct err *e)
{
	return TRACE_CALL(c, aside_end, trace_table(t), e, trace_of(c)->inner,
			  ((const struct trace_conn *)leader)->inner, t, e);
}

static int trace_aside_index(struct db_conn *c, const struct db_conn *leader, const struct db_table *t, struct err *e)
{
	return TRACE_CALL(c, aside_index, trace_table(t), e, trace_of(c)->inner,
			  ((const struct trace_conn *)leader)->inner, t, e);
}

static int trace_aside_hold(struct db_conn *leader, const struct db_table *t, uint64_t rows, struct err *e)
{
	return TRACE_CALL(leader, aside_hold, trace_table(t), e, trace_of(leader)->inner, t, rows, e);
}

static int trace_aside_read(struct db_conn *c, const struct db_conn *leader, const struct db_table *t, struct err *e)
{
	return TRACE_CALL(c, aside_read, trace_table(t), e, trace_of(c)->inner,
			  ((const struct trace_conn *)leader)->inner, t, e);
}

static int trace_compare(struct db_conn *c, const struct db_definitions *live, const struct db_definitions *want,
			 const bool *touched, struct db_objects *ret, struct err *e)
{
	return TRACE_CALL(c, compare, trace_schema(want->schema), e, trace_of(c)->inner, live, want, touched, ret, e);
}

static int trace_rebuild_begin(struct db_conn *c, const struct db_schema *s, const char *sql,
			       const struct db_objects *o, struct strbuf *warnings, struct err *e)
{
	struct strbuf d = trace_schema(s);
	strbuf_addf(&d, ", %zu bytes, %zu objects", strlen(sql), o->n);
	return TRACE_CALL(c, rebuild_begin, d, e, trace_of(c)->inner, s, sql, o, warnings, e);
}

static int trace_rebuild_end(struct db_conn *c, struct strbuf *warnings, struct strbuf *outside, struct err *e)
{
	return TRACE_CALL(c, rebuild_end, TRACE_NOTHING, e, trace_of(c)->inner, warnings, outside, e);
}

static int trace_change_begin(struct db_conn *c, const struct db_schema *s, struct err *e)
{
	return TRACE_CALL(c, change_begin, trace_schema(s), e, trace_of(c)->inner, s, e);
}

static int trace_delete_keys(struct db_conn *c, const struct db_table *table, const struct db_value *keys,
			     size_t n_rows, struct err *e)
{
	struct strbuf d = {0};
	trace_name(&d, table->name);
	strbuf_addf(&d, " %zu rows", n_rows);
	return TRACE_CALL(c, delete_keys, d, e, trace_of(c)->inner, table, keys, n_rows, e);
}

static int trace_delete_all(struct db_conn *c, const struct db_table *table, struct err *e)
{
	struct strbuf d = {0};
	trace_name(&d, table->name);
	return TRACE_CALL(c, delete_all, d, e, trace_of(c)->inner, table, e);
}

static int trace_change_end(struct db_conn *c, struct strbuf *orphans, struct strbuf *outside, struct err *e)
{
	return TRACE_CALL(c, change_end, TRACE_NOTHING, e, trace_of(c)->inner, orphans, outside, e);
}

static int trace_refresh(struct db_conn *c, struct strbuf *warnings, struct err *e)
{
	return TRACE_CALL(c, refresh, TRACE_NOTHING, e, trace_of(c)->inner, warnings, e);
}

static int trace_advance_sequences(struct db_conn *c, const struct db_table *table, const struct db_schema *known,
				   struct err *e)
{
	struct strbuf d = {0};
	trace_name(&d, table->name);
	return TRACE_CALL(c, advance_sequences, d, e, trace_of(c)->inner, table, known, e);
}

static int trace_scan_written(struct db_conn *c, const struct db_table *table, uint64_t *ret_others, struct err *e)
{
	struct strbuf d = {0};
	trace_name(&d, table->name);
	trace_start_rows(trace_of(c), table, true);
	return TRACE_CALL(c, scan_written, d, e, trace_of(c)->inner, table, ret_others, e);
}

static int trace_load_begin(struct db_conn *c, const struct db_table *table, struct err *e)
{
	struct strbuf d = {0};
	trace_name(&d, table->name);
	trace_start_rows(trace_of(c), table, false);
	return TRACE_CALL(c, load_begin, d, e, trace_of(c)->inner, table, e);
}

static int trace_load_row(struct db_conn *c, const struct db_value *values, struct err *e)
{
	struct trace_conn *t = trace_of(c);
	uint64_t start = clock_mono_ns();
	int r = trace_driver(c)->load_row(t->inner, values, e);
	uint64_t ns = clock_mono_ns() - start;
	t->inside_ns += ns;
	if (r < 0)
		return trace_line(t, "load_row", NULL, r, ns, e);
	trace_count_row(t, values);
	return r;
}

static int trace_load_end(struct db_conn *c, bool ok, struct err *e)
{
	struct strbuf d = trace_rows(trace_of(c));
	strbuf_adds(&d, ok ? "" : ", abandoned");
	return TRACE_CALL(c, load_end, d, e, trace_of(c)->inner, ok, e);
}

static int trace_set_sequences(struct db_conn *c, const struct db_schema *s, struct err *e)
{
	return TRACE_CALL(c, set_sequences, trace_schema(s), e, trace_of(c)->inner, s, e);
}

static int trace_settle(struct db_conn *c, struct err *e)
{
	return TRACE_CALL(c, settle, TRACE_NOTHING, e, trace_of(c)->inner, e);
}

static int trace_commit(struct db_conn *c, struct err *e)
{
	return TRACE_CALL(c, commit, TRACE_NOTHING, e, trace_of(c)->inner, e);
}

static void trace_rollback(struct db_conn *c)
{
	uint64_t start = clock_mono_ns();
	trace_driver(c)->rollback(trace_of(c)->inner);
	(void)trace_line(trace_of(c), "rollback", NULL, 0, clock_mono_ns() - start, ERR_DROP);
}

static void trace_cancel(struct db_conn *c)
{
	uint64_t start = clock_mono_ns();
	trace_driver(c)->cancel(trace_of(c)->inner);
	(void)trace_line(trace_of(c), "cancel", NULL, 0, clock_mono_ns() - start, ERR_DROP);
}

static void trace_close(struct db_conn *c)
{
	if (!c)
		return;
	struct trace_conn *t = trace_of(c);
	if (t->inner) {
		uint64_t start = clock_mono_ns();
		db_close(t->inner);
		(void)trace_line(t, "close", NULL, 0, clock_mono_ns() - start, ERR_DROP);
	}
	(void)close(t->fd);
	free(t->table);
	free(t);
}

/* Forwarded only where the inner driver has it, as callers look at NULL. */
#define TRACE_MEMBER(name) .name = inner->name ? trace_##name : NULL

static struct trace_conn *trace_new(const struct db_driver *inner, int fd)
{
	struct trace_conn *t = xcalloc(1, sizeof *t);
	t->fd = fd;
	t->driver = (struct db_driver){
	    .scheme = inner->scheme,
	    TRACE_MEMBER(begin),
	    TRACE_MEMBER(begin_like),
	    TRACE_MEMBER(schema_sql),
	    TRACE_MEMBER(scan_open),
	    TRACE_MEMBER(scan_next),
	    TRACE_MEMBER(scan_close),
	    TRACE_MEMBER(mark),
	    TRACE_MEMBER(scan_changed),
	    TRACE_MEMBER(examine),
	    TRACE_MEMBER(finish),
	    TRACE_MEMBER(aside_begin),
	    TRACE_MEMBER(aside_open),
	    TRACE_MEMBER(aside_table),
	    TRACE_MEMBER(aside_end),
	    TRACE_MEMBER(aside_hold),
	    TRACE_MEMBER(aside_index),
	    TRACE_MEMBER(aside_read),
	    TRACE_MEMBER(compare),
	    TRACE_MEMBER(rebuild_begin),
	    TRACE_MEMBER(rebuild_end),
	    TRACE_MEMBER(change_begin),
	    TRACE_MEMBER(delete_keys),
	    TRACE_MEMBER(delete_all),
	    TRACE_MEMBER(change_end),
	    TRACE_MEMBER(scan_written),
	    TRACE_MEMBER(refresh),
	    TRACE_MEMBER(advance_sequences),
	    TRACE_MEMBER(load_begin),
	    TRACE_MEMBER(load_row),
	    TRACE_MEMBER(load_end),
	    TRACE_MEMBER(set_sequences),
	    TRACE_MEMBER(settle),
	    TRACE_MEMBER(commit),
	    TRACE_MEMBER(rollback),
	    TRACE_MEMBER(cancel),
	    .close = trace_close,
	};
	t->head.driver = &t->driver;
	return t;
}

int db_trace_open(struct db_conn **ret, const struct db_driver *inner, const struct db_params *p, const char *path,
		  struct err *e)
{
	*ret = NULL;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "METASNAP_TRACE: %s", path);
	struct trace_conn *t = trace_new(inner, fd);
	uint64_t start = clock_mono_ns();
	int r = inner->open(&t->inner, p, e);
	struct strbuf d = {0};
	_cleanup_free_ char *url = db_params_describe(p);
	strbuf_adds(&d, url);
	(void)trace_line(t, "open", &d, r, clock_mono_ns() - start, e);
	if (r < 0) {
		t->inner = NULL;
		trace_close((struct db_conn *)t);
		return r;
	}
	*ret = (struct db_conn *)t;
	return 0;
}
