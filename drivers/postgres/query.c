/*
 * drivers/postgres/query.c - what is said on a connection: statements, waiting for the answers, cancelling them.
 *
 * The connection is kept non-blocking, so that every wait is a poll of the socket and of an eventfd; pg_cancel, from
 * any thread, only sets a flag and writes that eventfd. The waiting thread tells the server, through a short-lived
 * helper thread, because PQcancel connects without a deadline (libpq 15). No locks.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "base/clock.h"
#include "drivers/sqlstate.h"

#define PG_CANCEL_TIMEOUT_MS 10000

/* ---- failures ---- */

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

/* ---- cancelling ---- */

bool pg_is_cancelled(struct pg_conn *c)
{
	return !c->shielded && atomic_load(&c->cancelled);
}

void pg_cancel(struct db_conn *conn)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	uint64_t one = 1;
	atomic_store(&c->cancelled, true);
	ssize_t n = write(c->wake, &one, sizeof one);
	(void)n;
}

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

/* ---- statements ---- */

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
	if (c->scan.open || c->load.open)
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

int pg_try(struct pg_conn *c, const char *what, const char *sql, struct err *refusal, struct err *e)
{
	_cleanup_free_ char *all = xasprintf("SAVEPOINT metasnap_try; %s; RELEASE metasnap_try", sql);
	*refusal = ERR_INIT;
	if (!pg_query(c, NULL, what, all, 0, NULL, refusal))
		return 0;
	if (c->broken || pg_is_cancelled(c)) {
		*e = *refusal;
		return err_code(e);
	}
	return pg_query(c, NULL, what, "ROLLBACK TO metasnap_try; RELEASE metasnap_try", 0, NULL, e);
}

/* ---- the transaction ---- */

int pg_check_ready(const struct pg_conn *c, const char *what, struct err *e)
{
	if (!c->active || c->scan.open || c->load.open)
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
	if (c->scan.open || c->load.open)
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
