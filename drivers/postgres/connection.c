/*
 * drivers/postgres/connection.c - PostgreSQL 12 and newer: the connection, running statements and cancelling them.
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

#include "base/clock.h"

#define PG_CONNECT_TIMEOUT_MS 5000
#define PG_CANCEL_TIMEOUT_MS 10000

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
	struct timespec until = clock_after(CLOCK_REALTIME, PG_CANCEL_TIMEOUT_MS / 2);
	/* Joined where possible: a request still under way could hit our next statement. */
	if (pthread_timedjoin_np(thread, NULL, &until)) {
		(void)pthread_detach(thread);
		c->broken = true;
	}
}

void pg_limit_wait(struct pg_conn *c)
{
	c->deadline_ms = clock_mono_ms() + PG_CANCEL_TIMEOUT_MS;
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
			int64_t left = c->deadline_ms - clock_mono_ms();
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

void pg_cancel(struct db_conn *conn)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	uint64_t one = 1;
	atomic_store(&c->cancelled, true);
	ssize_t n = write(c->wake, &one, sizeof one);
	(void)n;
}

/* ---- the transaction ---- */

int pg_check_ready(const struct pg_conn *c, const char *what, struct err *e)
{
	if (!c->active || c->scanning || c->loading)
		return err_set(e, EINVAL, "%s: %s", what,
			       c->active ? "a scan or a load is open on this connection" : "no transaction");
	return 0;
}

int pg_check_write(const struct pg_conn *c, const char *what, struct err *e)
{
	if (!c->active || c->access != DB_WRITE)
		return err_set(e, EINVAL, "%s: no transaction that may write", what);
	return 0;
}

int pg_check_commit(struct pg_conn *c, struct err *e)
{
	if (!c->active)
		return err_set(e, EINVAL, "commit without a transaction");
	if (pg_is_cancelled(c))
		return err_set(e, EINTR, "commit: cancelled");
	if (c->scanning || c->loading)
		return err_set(e, EINVAL, "commit: a scan or a load is open");
	return 0;
}

int pg_end(struct pg_conn *c, const char *sql, struct err *e)
{
	_cleanup_result_ PGresult *res = NULL;
	c->shielded = true;
	/* A commit is waited for as long as the connection lives: its answer must not be thrown away. */
	c->deadline_ms = strcmp(sql, "COMMIT") ? clock_mono_ms() + PG_CANCEL_TIMEOUT_MS : 0;
	int r = pg_query(c, &res, sql, sql, 0, NULL, e);
	/* COMMIT of a failed transaction "succeeds" with the tag ROLLBACK. */
	if (!r && strcmp(PQcmdStatus(res), sql))
		r = err_set(e, EIO, "%s: the server rolled the transaction back", sql);
	c->deadline_ms = 0;
	c->shielded = false;
	c->active = false;
	return r;
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
	int64_t deadline = clock_mono_ms() + (timeout_ms ? timeout_ms : PG_CONNECT_TIMEOUT_MS);
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;
	if (PQstatus(c->pg) == CONNECTION_BAD)
		return pg_connect_fail(c, e);
	while (state != PGRES_POLLING_OK) {
		struct pollfd fd = {.fd = PQsocket(c->pg), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
		int64_t left = deadline - clock_mono_ms();
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

static int pg_connect_to(struct pg_conn *c, const struct db_params *p, struct err *e)
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

void pg_connection_free(struct pg_conn *c)
{
	if (!c)
		return;
	PQfinish(c->pg);
	for (char **x = c->exclude; x && *x; x++)
		free(*x);
	free(c->exclude);
	free(c->schema);
	free(c->server_version);
	free(c->token);
	if (c->wake >= 0)
		(void)close(c->wake);
	free(c);
}

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
	_cleanup_(cleanup_pg_connection) struct pg_conn *c = xcalloc(1, sizeof *c);
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

int pg_connection_open(struct pg_conn **ret, const struct db_params *p, struct err *e)
{
	_cleanup_(cleanup_pg_connection) struct pg_conn *c = NULL;
	*ret = NULL;
	int r = pg_new(&c, p->schema && *p->schema ? p->schema : "public", p->exclude, e);
	if (!r)
		r = pg_connect_to(c, p, e);
	if (!r)
		r = pg_check_server(c, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

int pg_connection_open_like(struct pg_conn **ret, struct pg_conn *like, struct err *e)
{
	_cleanup_(cleanup_pg_connection) struct pg_conn *c = NULL;
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
	if (!r) {
		c->head.driver = like->head.driver;
		r = pg_connect_as(c, keys, values, 0, e);
	}
	PQconninfoFree(options);
	if (!r)
		r = pg_check_server(c, e);
	if (!r)
		*ret = TAKE_PTR(c);
	return r;
}
