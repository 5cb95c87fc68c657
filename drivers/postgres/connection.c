/*
 * drivers/postgres/connection.c - PostgreSQL 12 and newer: connection, running statements, cancelling them, transactions.
 *
 * Owns the libpq connection. It is kept non-blocking, so that every wait is a poll of the socket and of an eventfd;
 * pg_cancel, from any thread, only sets a flag and writes that eventfd. The waiting thread tells the server, through a
 * short-lived helper thread, because PQcancel connects without a deadline (libpq 15). No locks.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>

#define PG_CONNECT_TIMEOUT_MS 5000
#define PG_CANCEL_TIMEOUT_MS 10000
#define PG_BEGIN_ATTEMPTS 5

static int64_t pg_now_ms(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- failures ---- */

bool pg_is_cancelled(struct pg_conn *c)
{
	return !c->shielded && atomic_load(&c->cancelled);
}

int pg_fail(struct pg_conn *c, const PGresult *res, const char *what, struct err *e)
{
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	/* DETAIL often quotes the row, which may hold credentials; of these two it names objects only. */
	const char *detail = state && (!strcmp(state, "2BP01") || !strcmp(state, "55006"))
				 ? PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL)
				 : NULL;
	int code = state ? db_errno_of_sqlstate(state) : EIO;

	if (PQstatus(c->pg) == CONNECTION_BAD) {
		c->broken = true;
		code = ECONNRESET;
	}
	if (pg_is_cancelled(c))
		return err_set(e, EINTR, "%s: cancelled", what);
	if (!primary)
		primary = PQerrorMessage(c->pg);
	if (!*primary)
		primary = code == ECONNRESET ? "connection lost" : "no answer that makes sense";
	int r = err_set(e, code, "%s: %s%s%s%s", what, primary, detail ? " (" : "", detail ? detail : "",
			detail ? ")" : "");
	if (state)
		(void)snprintf(e->sqlstate, sizeof e->sqlstate, "%s", state);
	return r;
}

/* ---- waiting and cancelling ---- */

static void *pg_cancel_thread(void *arg)
{
	PGcancel *cancel = arg;
	char words[256];
	(void)PQcancel(cancel, words, sizeof words);
	PQfreeCancel(cancel);
	return NULL;
}

/* Asks the server to cancel what runs. When it returns the request has been delivered, or will never be waited for. */
static void pg_tell_cancel(struct pg_conn *c)
{
	PGcancel *cancel = PQgetCancel(c->pg);
	pthread_t thread;
	if (!cancel)
		return;
	if (pthread_create(&thread, NULL, pg_cancel_thread, cancel)) {
		(void)pg_cancel_thread(cancel);
		return;
	}
	struct timespec until;
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PG_CANCEL_TIMEOUT_MS / 2000;
	/* Joined where possible: a request still under way could hit our next statement. */
	if (pthread_timedjoin_np(thread, NULL, &until)) {
		(void)pthread_detach(thread);
		c->broken = true;
	}
}

void pg_limit_wait(struct pg_conn *c)
{
	c->deadline_ms = pg_now_ms() + PG_CANCEL_TIMEOUT_MS;
}

void pg_cancel_statement(struct pg_conn *c)
{
	pg_limit_wait(c);
	pg_tell_cancel(c);
}

int pg_wait(struct pg_conn *c, bool write, const char *what, struct err *e)
{
	for (;;) {
		if (pg_is_cancelled(c) && !c->deadline_ms)
			pg_cancel_statement(c);
		struct pollfd fds[2] = {
		    {.fd = PQsocket(c->pg), .events = (short)(POLLIN | (write ? POLLOUT : 0))},
		    {.fd = c->wake, .events = POLLIN},
		};
		int timeout = -1;
		if (c->deadline_ms) {
			int64_t left = c->deadline_ms - pg_now_ms();
			timeout = left > 0 ? (int)left : 0;
		}
		int n = poll(fds, c->deadline_ms || c->shielded ? 1 : 2, timeout);
		if (n < 0 && errno != EINTR)
			return err_sys(e, errno, "%s: poll", what);
		if (!n) {
			c->broken = true;
			if (pg_is_cancelled(c))
				return err_set(e, EINTR, "%s: cancelled", what);
			return err_set(e, ECONNRESET, "%s: the server does not answer", what);
		}
		if (n > 0 && fds[0].revents)
			return 0;
	}
}

int pg_flush(struct pg_conn *c, const char *what, struct err *e)
{
	for (;;) {
		int left = PQflush(c->pg);
		if (left < 0)
			return pg_fail(c, NULL, what, e);
		if (!left)
			return 0;
		int r = pg_wait(c, true, what, e);
		if (r < 0)
			return r;
		/* The server may stop reading until we have read: libpq's manual asks for this. */
		if (!PQconsumeInput(c->pg))
			return pg_fail(c, NULL, what, e);
	}
}

int pg_drain(struct pg_conn *c, PGresult **ret, const char *what, struct err *e)
{
	_cleanup_result_ PGresult *last = NULL;
	int failure = 0;
	for (;;) {
		while (PQisBusy(c->pg)) {
			int r = pg_wait(c, false, what, e);
			if (r < 0)
				return r;
			if (!PQconsumeInput(c->pg))
				break; /* PQgetResult has the words */
		}
		PGresult *res = PQgetResult(c->pg);
		if (!res)
			break;
		ExecStatusType status = PQresultStatus(res);
		if (status == PGRES_COPY_OUT || status == PGRES_COPY_IN) {
			PQclear(last);
			last = res;
			break;
		}
		if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
			if (!failure)
				failure = pg_fail(c, res, what, e);
			PQclear(res);
			/* A lost connection gives such a result again and again. */
			if (PQstatus(c->pg) == CONNECTION_BAD)
				break;
			continue;
		}
		PQclear(last);
		last = res;
	}
	c->deadline_ms = 0;
	if (failure)
		return failure;
	if (!last)
		return pg_fail(c, NULL, what, e);
	if (ret)
		*ret = TAKE_PTR(last);
	return 0;
}

int pg_query(struct pg_conn *c, PGresult **ret, const char *what, const char *sql, int n, const char *const *params,
	     struct err *e)
{
	if (ret)
		*ret = NULL;
	if (pg_is_cancelled(c))
		return err_set(e, EINTR, "%s: cancelled", what);
	if (c->broken)
		return err_set(e, ECONNRESET, "%s: the connection is lost", what);
	if (c->scanning || c->loading)
		return err_set(e, EINVAL, "%s: a scan or a load is open on this connection", what);
	int sent = n ? PQsendQueryParams(c->pg, sql, n, NULL, params, NULL, NULL, 0) : PQsendQuery(c->pg, sql);
	if (!sent)
		return pg_fail(c, NULL, what, e);
	int r = pg_flush(c, what, e);
	return r < 0 ? r : pg_drain(c, ret, what, e);
}

int pg_do(struct pg_conn *c, struct err *e, const char *what, const char *fmt, ...)
{
	va_list ap;
	_cleanup_free_ char *sql = NULL;
	va_start(ap, fmt);
	int n = vasprintf(&sql, fmt, ap);
	va_end(ap);
	if (n < 0)
		return err_sys(e, ENOMEM, "%s", what);
	return pg_query(c, NULL, what, sql, 0, NULL, e);
}

static void pg_cancel(struct db_conn *conn)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	uint64_t one = 1;
	atomic_store(&c->cancelled, true);
	ssize_t n = write(c->wake, &one, sizeof one);
	(void)n;
}

/* ---- connecting ---- */

/* The SQLSTATE in libpq's verbose words for a refused connection: "FATAL:  28P01: password ...". */
static const char *pg_find_sqlstate(const char *words)
{
	const char *found = NULL;
	for (const char *p = strstr(words, ":  "); p; p = strstr(p + 1, ":  ")) {
		size_t n = 3;
		while (n < 8 && (isdigit((unsigned char)p[n]) || isupper((unsigned char)p[n])))
			n++;
		if (n == 8 && p[8] == ':')
			found = p + 3;
	}
	return found;
}

static int pg_connect_errno(const char *words)
{
	/* libpq 15 gives no errno, only its words (in whatever language): look for the C library's own. */
	static const struct {
		int seen, code;
	} known[] = {
	    {ECONNREFUSED, ECONNREFUSED}, {ENOENT, ECONNREFUSED},      {ETIMEDOUT, ETIMEDOUT},
	    {EHOSTUNREACH, EHOSTUNREACH}, {ENETUNREACH, EHOSTUNREACH}, {EACCES, EACCES},
	    {ECONNRESET, ECONNRESET},
	};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		char text[128];
		const char *s = strerror_r(known[i].seen, text, sizeof text);
		if (strstr(words, s))
			return known[i].code;
	}
	if (strstr(words, "translate host name"))
		return EHOSTUNREACH;
	if (strstr(words, "SSL") || strstr(words, "certificate") || strstr(words, "channel binding"))
		return EACCES;
	if (strstr(words, "server closed the connection"))
		return ECONNREFUSED;
	return EIO;
}

static int pg_connect_fail(struct pg_conn *c, struct err *e)
{
	const char *words = PQerrorMessage(c->pg);
	const char *state = pg_find_sqlstate(words);
	if (state) {
		char code[6];
		(void)snprintf(code, sizeof code, "%.5s", state);
		const char *text = state + 7;
		int r = err_set(e, db_errno_of_sqlstate(code), "cannot connect: %.*s", (int)strcspn(text, "\n"), text);
		memcpy(e->sqlstate, code, sizeof code);
		return r;
	}
	int code = PQconnectionNeedsPassword(c->pg) ? EACCES : pg_connect_errno(words);
	return err_set(e, code, "cannot connect: %.*s", (int)strcspn(words, "\n"), *words ? words : "no reason given");
}

static int pg_connect_wait(struct pg_conn *c, unsigned timeout_ms, struct err *e)
{
	int64_t deadline = pg_now_ms() + (timeout_ms ? timeout_ms : PG_CONNECT_TIMEOUT_MS);
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;
	if (PQstatus(c->pg) == CONNECTION_BAD)
		return pg_connect_fail(c, e);
	while (state != PGRES_POLLING_OK) {
		struct pollfd fd = {.fd = PQsocket(c->pg), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
		int64_t left = deadline - pg_now_ms();
		int n = left > 0 ? poll(&fd, 1, (int)left) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "cannot connect: poll");
		if (!n)
			return err_set(e, ETIMEDOUT, "cannot connect: no answer from %s in time",
				       PQhost(c->pg) ? PQhost(c->pg) : "the server");
		state = PQconnectPoll(c->pg);
		if (state == PGRES_POLLING_FAILED)
			return pg_connect_fail(c, e);
	}
	return 0;
}

static void pg_drop_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static int pg_connect_as(struct pg_conn *c, const char *const *keys, const char *const *values, unsigned timeout_ms,
			 struct err *e)
{
	c->pg = PQconnectStartParams(keys, values, 0);
	if (!c->pg)
		return err_sys(e, ENOMEM, "cannot connect");
	(void)PQsetNoticeProcessor(c->pg, pg_drop_notice, NULL);
	/* Verbose words hold the SQLSTATE, which libpq does not give otherwise for a refused connection. */
	(void)PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
	int r = pg_connect_wait(c, timeout_ms, e);
	if (r < 0)
		return r;
	(void)PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
	if (PQsetnonblocking(c->pg, 1))
		return pg_fail(c, NULL, "cannot connect", e);
	return 0;
}

static int pg_connect(struct pg_conn *c, const struct db_params *p, struct err *e)
{
	const char *keys[64], *values[64];
	char port[16];
	size_t n = 0;
	/* Ours first: libpq takes the last of equal keywords. */
	static const char *const defaults[] = {
	    "fallback_application_name", "metasnap", "keepalives",       "1", "keepalives_idle", "30",
	    "keepalives_interval",       "10",       "keepalives_count", "3",
	};
	for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i += 2) {
		keys[n] = defaults[i];
		values[n++] = defaults[i + 1];
	}
	for (char **o = p->options; o && o[0] && o[1]; o += 2) {
		if (!strcmp(o[0], "schema") || !strcmp(o[0], "connect_timeout"))
			continue;
		if (n + 6 >= sizeof keys / sizeof keys[0])
			return err_set(e, EINVAL, "too many options in the URL");
		keys[n] = o[0];
		values[n++] = o[1];
	}
	(void)snprintf(port, sizeof port, "%u", p->port);
	const char *const own[] = {
	    "host",     p->host,     "port",   p->port ? port : NULL, "user", p->user,
	    "password", p->password, "dbname", p->database,
	};
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i += 2) {
		if (!own[i + 1])
			continue;
		keys[n] = own[i];
		values[n++] = own[i + 1];
	}
	keys[n] = values[n] = NULL;
	return pg_connect_as(c, keys, values, p->connect_timeout_ms, e);
}

/* Everything that changes the text of a value, the order of rows or how long we may take; on every connection. When a
 * value's text changes with it, PG_MARK_FORM must change too. */
static int pg_apply_settings(struct pg_conn *c, struct err *e)
{
	static const struct {
		const char *name, *value;
		int since; /* version_num of the first server that has it */
	} settings[] = {
	    {"search_path", ""},
	    {"standard_conforming_strings", "on"},
	    {"datestyle", "ISO"},
	    {"intervalstyle", "postgres"},
	    {"extra_float_digits", "3"},
	    {"bytea_output", "hex"},
	    {"xmlbinary", "base64"},
	    {"xmloption", "content"},
	    {"timezone", "UTC"},
	    {"lc_monetary", "C"},
	    {"array_nulls", "on"},
	    {"transform_null_equals", "off"},
	    {"quote_all_identifiers", "off"},
	    {"synchronize_seqscans", "off"},
	    {"row_security", "off"},
	    {"lock_timeout", PG_LOCK_TIMEOUT},
	    {"idle_in_transaction_session_timeout", "0"},
	    {"idle_session_timeout", "0", 140000},
	    {"transaction_timeout", "0", 170000},
	    {"default_transaction_deferrable", "off"},
	    {"client_min_messages", "warning"},
	    {"jit", "off"},
	};
	_cleanup_strbuf_ struct strbuf sql = {0};
	/* By itself: a role's statement_timeout would count over all of what follows. */
	int r = pg_query(c, NULL, "cannot set up the session", "SET statement_timeout = 0", 0, NULL, e);
	if (r < 0)
		return r;
	strbuf_adds(&sql, "SELECT ");
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
		if (c->version_num >= settings[i].since)
			strbuf_addf(&sql, "pg_catalog.set_config('%s', '%s', false), ", settings[i].name,
				    settings[i].value);
	strbuf_adds(&sql, "pg_catalog.set_config('metasnap.session', ");
	pg_add_literal(&sql, c->token);
	strbuf_adds(&sql, ", false); SET client_encoding = ");
	/* A SQL_ASCII server does not convert: asked for UTF8 it refuses rows that are not (pgcopydb #874, #1020). */
	strbuf_adds(&sql, c->sql_ascii ? "'SQL_ASCII'" : "'UTF8'");
	return pg_query(c, NULL, "cannot set up the session", strbuf_str(&sql), 0, NULL, e);
}

static void pg_close(struct db_conn *conn);

static void pg_close_conn(struct pg_conn *c)
{
	pg_close((struct db_conn *)c);
}
DEFINE_CLEANUP(cleanup_pg_conn, struct pg_conn, pg_close_conn);

static char **pg_copy_strings(char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	char **copy = xcalloc(n + 1, sizeof *copy);
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

/* A connection's own, before it is connected. */
static int pg_new(struct pg_conn **ret, const char *schema, char *const *exclude, struct err *e)
{
	_cleanup_(cleanup_pg_conn) struct pg_conn *c = xcalloc(1, sizeof *c);
	c->head.driver = &db_driver_postgres;
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake < 0)
		return err_sys(e, errno, "eventfd");
	c->schema = xstrdup(schema);
	c->exclude = pg_copy_strings(exclude);
	uint64_t noise = 0;
	if (getrandom(&noise, sizeof noise, 0) != sizeof noise)
		return err_sys(e, errno, "getrandom");
	c->token = xasprintf("%016llx", (unsigned long long)noise);
	*ret = TAKE_PTR(c);
	return 0;
}

static int pg_check_server(struct pg_conn *c, struct err *e)
{
	c->version_num = PQserverVersion(c->pg);
	const char *version = PQparameterStatus(c->pg, "server_version");
	const char *encoding = PQparameterStatus(c->pg, "server_encoding");
	if (!version)
		version = "";
	c->server_version = xmemdup0(version, strcspn(version, " "));
	if (c->version_num < 120000)
		return err_set(e, ENOTSUP, "the server is PostgreSQL %s: metasnap needs 12 or newer",
			       *c->server_version ? c->server_version : "of an unknown version");
	c->sql_ascii = encoding && !strcmp(encoding, "SQL_ASCII");
	return pg_apply_settings(c, e);
}

static int pg_open(struct db_conn **ret, const struct db_params *p, struct err *e)
{
	_cleanup_(cleanup_pg_conn) struct pg_conn *c = NULL;
	*ret = NULL;
	int r = pg_new(&c, p->schema && *p->schema ? p->schema : "public", p->exclude, e);
	if (!r)
		r = pg_connect(c, p, e);
	if (!r)
		r = pg_check_server(c, e);
	if (r < 0)
		return r;
	*ret = (struct db_conn *)TAKE_PTR(c);
	return 0;
}

int pg_open_like(struct pg_conn **ret, struct pg_conn *like, struct err *e)
{
	_cleanup_(cleanup_pg_conn) struct pg_conn *c = NULL;
	const char *keys[96], *values[96];
	size_t n = 0;
	*ret = NULL;
	PQconninfoOption *options = PQconninfo(like->pg);
	for (PQconninfoOption *o = options; o && o->keyword && n < 90; o++) {
		/* Of several hosts, the one that we are on; and what a service file said is in the other options. */
		if (!o->val || !strcmp(o->keyword, "host") || !strcmp(o->keyword, "hostaddr") ||
		    !strcmp(o->keyword, "port") || !strcmp(o->keyword, "service") || !strcmp(o->keyword, "password"))
			continue;
		keys[n] = o->keyword;
		values[n++] = o->val;
	}
	const char *address = PQhostaddr(like->pg);
	const char *const own[] = {
	    "host",
	    PQhost(like->pg),
	    "port",
	    PQport(like->pg),
	    "password",
	    PQpass(like->pg),
	    /* of a socket's directory there is none */
	    "hostaddr",
	    address && *address && *PQhost(like->pg) != '/' ? address : NULL,
	};
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i += 2) {
		if (!own[i + 1] || !*own[i + 1])
			continue;
		keys[n] = own[i];
		values[n++] = own[i + 1];
	}
	keys[n] = values[n] = NULL;
	int r = pg_new(&c, like->schema, like->exclude, e);
	if (!r)
		r = pg_connect_as(c, keys, values, 0, e);
	PQconninfoFree(options);
	if (!r)
		r = pg_check_server(c, e);
	if (!r)
		*ret = TAKE_PTR(c);
	return r;
}

/* ---- transactions ---- */

static int pg_end(struct pg_conn *c, const char *sql, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	pg_child_stop(&c->dump);
	c->shielded = true;
	/* A commit is waited for as long as the connection lives: its answer must not be thrown away. */
	c->deadline_ms = strcmp(sql, "COMMIT") ? pg_now_ms() + PG_CANCEL_TIMEOUT_MS : 0;
	int r = pg_query(c, &res, sql, sql, 0, NULL, e);
	/* COMMIT of a failed transaction "succeeds" with the tag ROLLBACK. */
	if (!r && strcmp(PQcmdStatus(res), sql))
		r = err_set(e, EIO, "%s: the server rolled the transaction back", sql);
	if (!c->broken)
		c->deadline_ms = pg_now_ms() + PG_CANCEL_TIMEOUT_MS;
	pg_free_restore_lock(c);
	c->deadline_ms = 0;
	c->shielded = false;
	c->active = false;
	free(TAKE_PTR(c->snapshot));
	pg_listing_done(&c->listing);
	pg_marks_done(c);
	pg_change_done(c);
	pg_aside_done(c);
	pg_script_done(&c->script);
	return r;
}

static void pg_rollback(struct db_conn *conn)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	c->shielded = true;
	pg_release_scan(c);
	pg_release_load(c);
	c->shielded = false;
	if (c->active || c->advisory)
		(void)pg_end(c, "ROLLBACK", ERR_DROP);
	uint64_t count;
	ssize_t n = read(c->wake, &count, sizeof count);
	(void)n;
	atomic_store(&c->cancelled, false);
}

static int pg_commit(struct db_conn *conn, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	if (!c->active)
		return err_set(e, EINVAL, "commit without a transaction");
	if (pg_is_cancelled(c))
		return err_set(e, EINTR, "commit: cancelled");
	if (c->scanning || c->loading)
		return err_set(e, EINVAL, "commit: a scan or a load is open");
	return pg_end(c, "COMMIT", e);
}

static const char *pg_begin_statement(enum db_access access)
{
	return access == DB_WRITE ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"
				  : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
}

static int pg_check_listing(const struct pg_conn *c, const struct pg_listing *l, enum db_access access, struct err *e)
{
	if (!l->schema_exists && access == DB_READ)
		return err_set(e, EINVAL, "there is no schema %s in this database", c->schema);
	for (size_t i = 0; i < l->n_relations; i++) {
		const struct pg_relation *rel = &l->relations[i];
		if (rel->kind == 'f')
			return err_set(e, ENOTSUP,
				       "%s is a foreign table, whose rows are not in this database: exclude it",
				       rel->name);
		if (rel->stray_partition)
			return err_set(e, ENOTSUP,
				       "%s and its partitioned table are in two schemas: metasnap keeps one schema",
				       rel->name);
	}
	return 0;
}

/* Fixes the moment. The order is what matters: LOCK TABLE before the first query of the transaction, because the
 * snapshot is taken by that query. The other way round (as pg_dump does it) a TRUNCATE in between reads as an empty
 * table: PostgreSQL's manual, "Caveats" of MVCC. */
static int pg_fix_moment(struct pg_conn *c, struct pg_listing *before, enum db_access access, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, NULL, "cannot begin", pg_begin_statement(access), 0, NULL, e);
	if (r < 0)
		return r;
	c->active = true;
	c->access = access;
	r = pg_lock_tables(c, before, access == DB_WRITE ? "SHARE ROW EXCLUSIVE MODE" : "ACCESS SHARE MODE", e);
	if (r < 0)
		return r;
	r = pg_query(c, &res, "cannot take a snapshot",
		     "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.current_setting('metasnap.session', true)", 0,
		     NULL, e);
	if (r < 0)
		return r;
	if (PQgetisnull(res, 0, 1) || strcmp(PQgetvalue(res, 0, 1), c->token))
		return err_set(e, ENOTSUP,
			       "a connection pooler in transaction mode stands before the server: use a direct "
			       "connection or session pooling");
	c->snapshot = xstrdup(PQgetvalue(res, 0, 0));
	r = pg_list_relations(c, &c->listing, e);
	if (r < 0)
		return r;
	if (!pg_listing_equal(before, &c->listing))
		return err_set(e, EAGAIN, "tables were created, dropped or rewritten while the snapshot began");
	return 0;
}

static bool pg_worth_another_try(int r, const struct err *e)
{
	/* 42P01: a table of the list is gone. 40P01: writers lock in another order than ours. */
	return r == -EAGAIN || !strcmp(e->sqlstate, "42P01") || !strcmp(e->sqlstate, "40P01");
}

static int pg_begin(struct db_conn *conn, enum db_access access, struct db_schema **ret, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	struct err words = ERR_INIT;
	int r = 0;
	*ret = NULL;
	if (c->active)
		return err_set(e, EINVAL, "begin: a transaction is open");
	for (int attempt = 1; attempt <= PG_BEGIN_ATTEMPTS; attempt++) {
		struct pg_listing before = {0};
		words = ERR_INIT;
		r = access == DB_WRITE ? pg_take_restore_lock(c, &words) : 0;
		if (!r)
			r = pg_list_relations(c, &before, &words);
		if (!r)
			r = pg_check_listing(c, &before, access, &words);
		if (!r)
			r = pg_fix_moment(c, &before, access, &words);
		/* Beside everything that follows. A failure is schema_sql's to tell. A restore locks what pg_dump
		 * reads. */
		if (!r && access == DB_READ && pg_dump_start(c, &words) < 0 &&
		    PQtransactionStatus(c->pg) != PQTRANS_INTRANS)
			r = err_code(&words);
		if (!r)
			r = pg_describe(c, ret, &words);
		if (r < 0 && (c->active || c->advisory))
			(void)pg_end(c, "ROLLBACK", ERR_DROP);
		if (r == -EBUSY && !strcmp(words.sqlstate, "55P03"))
			pg_name_blockers(c, &before, &words);
		pg_listing_done(&before);
		if (!r)
			return 0;
		if (!pg_worth_another_try(r, &words))
			break;
		struct timespec pause = {.tv_nsec = 20000000L * attempt};
		(void)nanosleep(&pause, NULL);
		r = -EAGAIN;
		words.code = EAGAIN;
	}
	*e = words;
	return r;
}

static int pg_begin_like(struct db_conn *conn, struct db_conn *leader_conn, const struct db_schema *s, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn, *leader = (struct pg_conn *)leader_conn;
	if (leader->head.driver != &db_driver_postgres || !leader->active || !leader->snapshot || c->active)
		return err_set(e, EINVAL, "no snapshot to share");
	struct pg_listing *l = &c->listing;
	l->relations = xcalloc(s->n_tables, sizeof *l->relations);
	for (; l->n_relations < s->n_tables; l->n_relations++)
		l->relations[l->n_relations].name = xstrdup(s->tables[l->n_relations].name);
	int r = pg_query(c, NULL, "cannot begin", pg_begin_statement(DB_READ), 0, NULL, e);
	if (!r) {
		c->active = true;
		c->access = DB_READ;
		r = pg_do(c, e, "cannot share the snapshot", "SET TRANSACTION SNAPSHOT '%s'", leader->snapshot);
	}
	/* NOWAIT: behind a queued ACCESS EXCLUSIVE, which waits for our leader, we would wait for ever. */
	if (!r)
		r = pg_lock_tables(c, l, "ACCESS SHARE MODE NOWAIT", e);
	if (r < 0)
		(void)pg_end(c, "ROLLBACK", ERR_DROP);
	return r;
}

static void pg_close(struct db_conn *conn)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	if (!c)
		return;
	if (c->pg) {
		/* The server rolls back when we go; waiting for it only matters to the next connection's locks. */
		if (c->active && !c->broken)
			pg_rollback(conn);
		PQfinish(c->pg);
	}
	pg_child_stop(&c->dump);
	pg_listing_done(&c->listing);
	pg_marks_done(c);
	pg_change_done(c);
	pg_aside_done(c);
	pg_script_done(&c->script);
	free(c->scan_table);
	PQfreemem(c->line);
	free(c->values);
	free(c->binary);
	free(c->load_table);
	free(c->load_binary);
	strbuf_done(&c->load_buffer);
	for (char **x = c->exclude; x && *x; x++)
		free(*x);
	free(c->exclude);
	free(c->snapshot);
	free(c->schema);
	free(c->server_version);
	free(c->token);
	if (c->wake >= 0)
		(void)close(c->wake);
	free(c);
}

const struct db_driver db_driver_postgres = {
    .scheme = "postgresql",
    .open = pg_open,
    .begin = pg_begin,
    .begin_like = pg_begin_like,
    .schema_sql = pg_schema_sql,
    .scan_open = pg_scan_open,
    .scan_next = pg_scan_next,
    .scan_close = pg_scan_close,
    .mark = pg_mark,
    .scan_changed = pg_scan_changed,
    .examine = pg_examine,
    .finish = pg_finish,
    .aside_begin = pg_aside_begin,
    .aside_open = pg_aside_open,
    .aside_table = pg_aside_table,
    .aside_end = pg_aside_end,
    .aside_hold = pg_aside_hold,
    .aside_index = pg_aside_index,
    .aside_read = pg_aside_read,
    .rebuild_begin = pg_rebuild_begin,
    .rebuild_end = pg_rebuild_end,
    .change_begin = pg_change_begin,
    .delete_keys = pg_delete_keys,
    .delete_all = pg_delete_all,
    .change_end = pg_change_end,
    .scan_written = pg_scan_written,
    .load_begin = pg_load_begin,
    .load_row = pg_load_row,
    .load_end = pg_load_end,
    .advance_sequences = pg_advance_sequences,
    .set_sequences = pg_set_sequences,
    .settle = pg_settle,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .cancel = pg_cancel,
    .close = pg_close,
};
