/*
 * drivers/mysql/connection.c - one connection to MySQL or MariaDB: open, session settings, cancel, close.
 *
 * A connection belongs to one thread at a time. Only my_cancel() comes from others: it touches nothing but constants
 * of the connection (parameters, thread id, duplicated socket), the atomic pointers to its builder and loaders, and
 * atomic flags, so there are no locks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "drivers/mysql/internal.h"

#define MY_CANCEL_TIMEOUT_MS 2000

struct my_conn *my_conn_of(struct db_conn *c)
{
	return (struct my_conn *)c;
}

static char **my_strings_copy(char *const *from)
{
	size_t n = 0;

	if (!from)
		return NULL;
	while (from[n])
		n++;
	char **to = xcalloc(n + 1, sizeof *to);
	for (size_t i = 0; i < n; i++)
		to[i] = xstrdup(from[i]);
	return to;
}

static void my_params_copy(struct db_params *to, const struct db_params *from)
{
	*to = (struct db_params){
	    .engine = xstrdup(from->engine),
	    .host = xstrdup(from->host),
	    .user = xstrdup(from->user),
	    .password = xstrdup(from->password),
	    .database = xstrdup(from->database),
	    .schema = xstrdup(from->schema),
	    .options = my_strings_copy(from->options),
	    .exclude = my_strings_copy(from->exclude),
	    .port = from->port,
	    .connect_timeout_ms = from->connect_timeout_ms,
	};
}

static int my_check_version(struct my_conn *c, struct err *e)
{
	unsigned major = 0, minor = 0, patch = 0;
	_cleanup_free_ char *text = NULL;
	int r = my_select_one(c, &text, e, "SELECT @@version");

	if (r < 0)
		return r;
	if (!text || sscanf(text, "%u.%u.%u", &major, &minor, &patch) != 3)
		return err_set(e, ENOTSUP, "cannot read the server's version \"%s\"", text ? text : "");
	c->mariadb = strcasestr(text, "mariadb") != NULL;
	c->version = major * 10000 + minor * 100 + patch;
	c->server_version = xasprintf("%u.%u.%u", major, minor, patch);
	if (c->mariadb ? c->version < 100500 : c->version < 80000)
		return err_set(e, ENOTSUP, "the server is %s %s; metasnap needs MySQL 8.0 or MariaDB 10.5 or newer",
			       c->mariadb ? "MariaDB" : "MySQL", c->server_version);
	return 0;
}

/* ---- session settings ---- */

/* Settings that change the text of values or statements, or that could cut a result short. */
static int my_set_session(struct my_conn *c, struct err *e)
{
	static const char *const always[] = {
	    "SET NAMES utf8mb4",
	    "SET SESSION sql_mode='', time_zone='+00:00', autocommit=1, sql_select_limit=18446744073709551615, "
	    "sql_safe_updates=0, sql_big_selects=1, sql_quote_show_create=1, completion_type=0, "
	    "net_write_timeout=1800, net_read_timeout=1800, wait_timeout=31536000, interactive_timeout=31536000, "
	    "lock_wait_timeout=" MY_LOCK_WAIT_S ", innodb_lock_wait_timeout=" MY_LOCK_WAIT_S,
	    /* READ COMMITTED as the server's default would make each statement its own moment. */
	    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
	};
	/* A server without the variable, or an account that may not set it, does without. */
	static const char *const mysql_only[] = {
	    "information_schema_stats_expiry=0",
	    "max_execution_time=0",
	    "show_gipk_in_create_table_and_information_schema=1",
	    "sql_generate_invisible_primary_key=0",
	    "sql_require_primary_key=0",
	    "explain_format=TRADITIONAL",
	    "explicit_defaults_for_timestamp=1",
	};
	static const char *const mariadb_only[] = {
	    "max_statement_time=0",
	    "explicit_defaults_for_timestamp=1",
	    ("idle_transaction_timeout=0, idle_write_transaction_timeout=0, "
	     "idle_readonly_transaction_timeout=0"),
	    /* A locking read must give what is committed, whenever the transaction began (default on since 11.6). */
	    "innodb_snapshot_isolation=0",
	    /* SHOW CREATE TABLE must not hide what it cannot be made from again. */
	    "alter_algorithm=DEFAULT",
	};
	const char *const *own = c->mariadb ? mariadb_only : mysql_only;
	size_t n_own = c->mariadb ? sizeof mariadb_only / sizeof *own : sizeof mysql_only / sizeof *own;

	for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
		int r = my_exec(c, e, "%s", always[i]);
		if (r < 0)
			return err_prefix(e, "session settings");
	}
	_cleanup_strbuf_ struct strbuf all = {0};
	for (size_t i = 0; i < n_own; i++)
		strbuf_addf(&all, "%s%s", i ? ", " : "SET SESSION ", own[i]);
	if (my_exec_len(c, ERR_DROP, all.data, all.len) < 0)
		for (size_t i = 0; i < n_own; i++)
			(void)my_exec(c, ERR_DROP, "SET SESSION %s", own[i]);
	_cleanup_free_ char *packet = NULL;
	int r = my_select_one(c, &packet, e, "SELECT @@max_allowed_packet");
	if (r < 0)
		return r;
	c->max_packet = packet ? (size_t)strtoull(packet, NULL, 10) : 1048576;
	return atomic_load(&c->cancelled) ? err_set(e, EINTR, "cancelled") : 0;
}

int my_set_writing(struct my_conn *c, struct err *e)
{
	return my_exec(c, e, "SET SESSION sql_mode='" MY_WRITE_MODE "', foreign_key_checks=0, unique_checks=1");
}

int my_set_building(struct my_conn *c, struct err *e)
{
	return my_exec(
	    c, e, "SET SESSION sql_mode='" MY_LAX_MODE "', time_zone='+00:00', foreign_key_checks=0, unique_checks=1");
}

void my_set_permissive(struct my_conn *c)
{
	/* Each where there is such a variable and the account may set it. */
	static const char *const settings[] = {
	    "innodb_strict_mode=0",
	    "restrict_fk_on_non_standard_key=0",
	    "default_storage_engine=InnoDB",
	    "sql_require_primary_key=0",
	    "sql_generate_invisible_primary_key=0",
	    "innodb_compression_default=0",
	    "innodb_default_encryption_key_id=1",
	    "enforce_storage_engine=NULL",
	};

	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		(void)my_exec(c, ERR_DROP, "SET SESSION %s", settings[i]);
}

int my_use(struct my_conn *c, const char *database, struct err *e)
{
	if (mysql_select_db(c->my, database) != 0)
		return my_fail(c, e, NULL);
	free(c->database);
	c->database = xstrdup(database);
	return 0;
}

void my_set_reading(struct my_conn *c)
{
	(void)mysql_query(c->my, "SET SESSION sql_mode='', foreign_key_checks=1");
}

/* ---- open, close ---- */

void my_disconnect(struct my_conn *c)
{
	if (!c)
		return;
	if (c->my)
		mysql_close(c->my);
	if (c->cancel_fd >= 0)
		(void)close(c->cancel_fd);
	free(c->server_version);
	free(c->database);
	db_params_done(&c->params);
	free(c);
}
DEFINE_CLEANUP(cleanup_my_disconnect, struct my_conn, my_disconnect);

int my_open_database(struct my_conn **ret, const struct db_driver *driver, const struct db_params *p,
		     const char *database, bool loader, struct err *e)
{
	_cleanup_(cleanup_my_disconnect) struct my_conn *c = xcalloc(1, sizeof *c);

	c->head.driver = driver;
	c->cancel_fd = -1;
	my_params_copy(&c->params, p);
	if (!c->params.connect_timeout_ms)
		c->params.connect_timeout_ms = 5000;
	int r = my_connect(&c->my, &c->params, database, c->params.connect_timeout_ms, loader ? c : NULL, e);
	if (r < 0)
		return r;
	c->thread_id = mysql_thread_id(c->my);
	c->cancel_fd = dup(my_socket_of(c->my));
	if ((r = my_check_version(c, e)) < 0)
		return r;
	if ((r = my_set_session(c, e)) < 0)
		return r;
	if ((r = my_select_one(c, &c->database, e, "SELECT DATABASE()")) < 0)
		return r;
	if (!c->database)
		return err_set(e, EINVAL, "the URL names no database");
	*ret = TAKE_PTR(c);
	return 0;
}

int my_open_like(struct my_conn **ret, const struct my_conn *c, struct err *e)
{
	return my_open_database(ret, c->head.driver, &c->params, c->database, false, e);
}

int my_open_loader(struct my_conn **ret, const struct my_conn *c, struct err *e)
{
	return my_open_database(ret, c->head.driver, &c->params, c->database, true, e);
}

/* ---- cancel ---- */

void my_cancel(struct db_conn *dc)
{
	struct my_conn *c = my_conn_of(dc), *builder = atomic_load(&c->builder);
	MYSQL *my = NULL;
	char sql[64];

	if (builder)
		my_cancel((struct db_conn *)builder);
	for (size_t i = 0; i < MY_POOL_THREADS; i++)
		if (atomic_load(&c->loaders[i]))
			my_cancel((struct db_conn *)atomic_load(&c->loaders[i]));
	atomic_store(&c->cancelled, true);
	atomic_store(&c->killing, true);
	if (atomic_load(&c->shielded)) {
		atomic_store(&c->killing, false);
		return;
	}
	(void)snprintf(sql, sizeof sql, "KILL QUERY %lu", c->thread_id);
	bool killed =
	    my_connect(&my, &c->params, NULL, MY_CANCEL_TIMEOUT_MS, NULL, ERR_DROP) == 0 && mysql_query(my, sql) == 0;
	if (my)
		mysql_close(my);
	/* No second connection (max_connections, network): cut the first one; its call then ends with an error. */
	if (!killed && c->cancel_fd >= 0)
		(void)shutdown(c->cancel_fd, SHUT_RDWR);
	atomic_store(&c->killing, false);
}

void my_shield(struct my_conn *c)
{
	const struct timespec nap = {.tv_nsec = 1000000};

	atomic_store(&c->shielded, true);
	while (atomic_load(&c->killing))
		(void)nanosleep(&nap, NULL);
	/* What came just before hits this one. */
	(void)mysql_query(c->my, "DO 0");
}

void my_unshield(struct my_conn *c)
{
	atomic_store(&c->shielded, false);
}
