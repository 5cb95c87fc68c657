/*
 * drivers/postgres/connection.c - PostgreSQL 12 and newer: a connection made, checked and set up; and its end.
 *
 * Owns the libpq connection and what struct pg_conn holds of its server. No locks.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "base/clock.h"
#include "drivers/sqlstate.h"

#define PG_CONNECT_TIMEOUT_MS 5000

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

int pg_refuse_pooler(struct err *e)
{
	return err_set(
	    e, ENOTSUP,
	    "a connection pooler in transaction mode stands before the server: use a direct connection or session"
	    " pooling");
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
	if (r < 0)
		return r;
	r = pg_connect_to(c, p, e);
	if (r < 0)
		return r;
	r = pg_check_server(c, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

DEFINE_CLEANUP(cleanup_conninfo, PQconninfoOption, PQconninfoFree);

int pg_connection_open_like(struct pg_conn **ret, struct pg_conn *like, struct err *e)
{
	_cleanup_(cleanup_pg_connection) struct pg_conn *c = NULL;
	const char *keys[96], *values[96];
	size_t n = 0;
	*ret = NULL;
	_cleanup_(cleanup_conninfo) PQconninfoOption *options = PQconninfo(like->pg);
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
	if (r < 0)
		return r;
	c->head.driver = like->head.driver;
	r = pg_connect_as(c, keys, values, 0, e);
	if (r < 0)
		return r;
	r = pg_check_server(c, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}
