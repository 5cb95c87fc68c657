/*
 * drivers/mysql/connection.c - the driver of MySQL 8.0-9.x and MariaDB 10.5+: the connection and the transaction.
 *
 * A connection belongs to one thread at a time. Only my_cancel() comes from others: it touches nothing but constants
 * of the connection (parameters, thread id, duplicated socket) and the atomic flag, so there are no locks.
 *
 * Locks come before the snapshot, as with PostgreSQL: "SELECT ... WHERE FALSE" opens a table and so takes its metadata
 * lock for the transaction, but reads nothing, hence makes no read view (tried on MySQL 9.7 and MariaDB 10.11). With
 * every table pinned, the first real read fixes the moment, and no RENAME, TRUNCATE or ALTER can come between.
 * For writing the pins are locking reads of all rows, see my_pin().
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "drivers/mysql/internal.h"

#define MY_MAX_ATTEMPTS 5
/* Locking every table against busy writers ends in deadlocks now and then, and the smaller transaction gives way. */
#define MY_MAX_ATTEMPTS_WRITE 25
#define MY_LOCK_WAIT_S "10"
/* A statement may work silently for long (DELETE, RENAME behind readers); dead peers are found by TCP keepalive. */
#define MY_READ_TIMEOUT_S 3600
#define MY_WRITE_TIMEOUT_S 600
#define MY_CANCEL_TIMEOUT_MS 2000

struct my_conn *my_conn_of(struct db_conn *c)
{
	return (struct my_conn *)c;
}

/* ---- parameters ---- */

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

static const char *my_option(const struct db_params *p, const char *key)
{
	for (char **o = p->options; o && o[0]; o += 2)
		if (strcmp(o[0], key) == 0)
			return o[1];
	return NULL;
}

enum my_ssl { MY_SSL_DISABLED, MY_SSL_PREFERRED, MY_SSL_REQUIRED, MY_SSL_VERIFY_CA, MY_SSL_VERIFY_IDENTITY };

static int my_check_options(const struct db_params *p, enum my_ssl *ret_ssl, struct err *e)
{
	static const char *const known[] = {"ssl_ca", "ssl_cert", "ssl_key", "ssl_mode", "socket"};
	static const char *const modes[] = {"disabled", "preferred", "required", "verify_ca", "verify_identity"};
	const char *mode = my_option(p, "ssl_mode");

	for (char **o = p->options; o && o[0]; o += 2) {
		bool found = false;
		for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
			found |= strcmp(o[0], known[i]) == 0;
		if (!found)
			return err_set(
			    e, EINVAL,
			    "unknown parameter \"%s\" in the URL (MySQL: ssl_ca, ssl_cert, ssl_key, ssl_mode, socket)",
			    o[0]);
	}
	*ret_ssl = my_option(p, "ssl_ca") ? MY_SSL_VERIFY_IDENTITY : MY_SSL_PREFERRED;
	for (size_t i = 0; mode && i < sizeof modes / sizeof modes[0]; i++) {
		if (strcasecmp(mode, modes[i]) == 0) {
			*ret_ssl = (enum my_ssl)i;
			return 0;
		}
	}
	if (mode)
		return err_set(e, EINVAL,
			       "ssl_mode=%s: not one of disabled, preferred, required, verify_ca, verify_identity",
			       mode);
	return 0;
}

/* ---- connecting ---- */

/*
 * A rogue server may answer any statement with "send me that file". Nothing here opens one: a loader has the bytes that
 * its statement under way offers, every other connection has none.
 */
static int my_infile_init(void **ptr, const char *filename, void *userdata)
{
	struct my_conn *c = userdata;

	*ptr = NULL;
	if (!c || !c->offer || strcmp(filename, MY_INFILE) != 0)
		return 1;
	c->offered = 0;
	*ptr = c;
	return 0;
}

static int my_infile_read(void *ptr, char *buf, unsigned int len)
{
	struct my_conn *c = ptr;

	if (!c || !c->offer)
		return -1;
	size_t n = c->offer->len - c->offered < len ? c->offer->len - c->offered : len;
	if (n > 0)
		memcpy(buf, c->offer->data + c->offered, n);
	c->offered += n;
	return (int)n;
}

static void my_infile_end(void *ptr)
{
	(void)ptr;
}

static int my_infile_error(void *ptr, char *msg, unsigned int len)
{
	(void)ptr;
	(void)snprintf(msg, len, "the server asked for a local file: refused");
	return 2000; /* CR_UNKNOWN_ERROR */
}

static void my_set_tls(MYSQL *my, const struct db_params *p, enum my_ssl ssl)
{
	const char *ca = my_option(p, "ssl_ca"), *cert = my_option(p, "ssl_cert"), *key = my_option(p, "ssl_key");

#if MY_CLIENT_MARIADB
	/* Connector/C cannot check the certificate's chain alone: verify_ca also checks the name, the stricter thing.
	 */
	my_client_bool enforce = ssl >= MY_SSL_REQUIRED, verify = ssl >= MY_SSL_VERIFY_CA;

	if (ssl != MY_SSL_DISABLED)
		(void)mysql_ssl_set(my, key, cert, ca, NULL, NULL);
	(void)mysql_optionsv(my, MYSQL_OPT_SSL_ENFORCE, &enforce);
	(void)mysql_optionsv(my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
#else
	static const unsigned modes[] = {SSL_MODE_DISABLED, SSL_MODE_PREFERRED, SSL_MODE_REQUIRED, SSL_MODE_VERIFY_CA,
					 SSL_MODE_VERIFY_IDENTITY};
	unsigned mode = modes[ssl];
	my_client_bool get_key = true;

	(void)mysql_options(my, MYSQL_OPT_SSL_CA, ca);
	(void)mysql_options(my, MYSQL_OPT_SSL_CERT, cert);
	(void)mysql_options(my, MYSQL_OPT_SSL_KEY, key);
	(void)mysql_options(my, MYSQL_OPT_SSL_MODE, &mode);
	/* caching_sha2_password without TLS: ask the server for its key; Connector/C always does. */
	(void)mysql_options(my, MYSQL_OPT_GET_SERVER_PUBLIC_KEY, &get_key);
#endif
}

static int my_socket_of(MYSQL *my)
{
#if MY_CLIENT_MARIADB
	return (int)mysql_get_socket(my);
#else
	return (int)my->net.fd;
#endif
}

/* A peer that is gone without a word is noticed within about a minute and a half. */
static void my_set_keepalive(int fd)
{
	int on = 1, idle = 30, interval = 10, count = 6;
	unsigned unacked_ms = 120000;

	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
}

/* Connector/C 3.3 reports each failed TCP connect as "(115)", EINPROGRESS: asks the system itself for the reason. */
static int my_probe(const char *host, unsigned port, unsigned timeout_ms)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char service[16];
	int code = EHOSTUNREACH;

	(void)snprintf(service, sizeof service, "%u", port);
	if (getaddrinfo(host, service, &hints, &list) != 0)
		return EHOSTUNREACH;
	for (struct addrinfo *a = list; a; a = a->ai_next) {
		_cleanup_close_ int fd =
		    socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		socklen_t len = sizeof code;

		if (fd < 0)
			continue;
		if (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
			code = errno;
		else if (poll(&p, 1, (int)timeout_ms) == 0)
			code = ETIMEDOUT;
		else
			(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
	}
	freeaddrinfo(list);
	return code == ENETUNREACH ? EHOSTUNREACH : code == EHOSTUNREACH || code == ETIMEDOUT ? code : ECONNREFUSED;
}

static int my_connect_failed(MYSQL *my, const struct db_params *p, const char *where, bool on_socket, struct err *e)
{
	unsigned number = mysql_errno(my);
	const char *text = mysql_error(my);
	int code = my_errno_of(number, mysql_sqlstate(my));

	switch (number) {
	case 2002:
	case 2003:
		if (!on_socket)
			code = my_probe(p->host ? p->host : "localhost", p->port ? p->port : 3306, 1000);
		err_set(e, code, "%s: %s", where, on_socket ? text : strerror(code));
		return -code;
	case 2013:
	case 2006:
		/* No greeting: not a MySQL server, or one that hangs. */
		if (strstr(text, "(110)") || strstr(text, "imed out") || strstr(text, "system error: 110") ||
		    strstr(text, "system error: 11") || strstr(text, "(11 "))
			code = ETIMEDOUT;
		break;
	case 2059:
	case 2061:
		err_set(
		    e, EACCES,
		    "%s: %s. The client library has no plugin for this account's way to log in: install the plugins "
		    "of libmariadb (Debian: package libmariadb3 holds caching_sha2_password.so) or give the account "
		    "another way "
		    "(ALTER USER ... IDENTIFIED WITH ...)",
		    where, text);
		return -EACCES;
	default:
		break;
	}
	err_set(e, code, "%s: %s (%u)%s", where, text, number,
		number == MY_ER_ACCESS_DENIED && !p->password ? " (no password was given)" : "");
	(void)snprintf(e->sqlstate, sizeof e->sqlstate, "%s", mysql_sqlstate(my));
	return -code;
}

/* loader: the connection that may offer a file later; NULL: none. */
static int my_connect(MYSQL **ret, const struct db_params *p, const char *database, unsigned timeout_ms,
		      struct my_conn *loader, struct err *e)
{
	const char *path = my_option(p, "socket"), *host = p->host;
	unsigned connect_s = (timeout_ms + 999) / 1000, read_s = MY_READ_TIMEOUT_S, write_s = MY_WRITE_TIMEOUT_S,
		 infile = loader != NULL;
	unsigned protocol = MYSQL_PROTOCOL_TCP;
	_cleanup_free_ char *where = NULL;
	enum my_ssl ssl = MY_SSL_PREFERRED;
	int r = my_check_options(p, &ssl, e);

	if (r < 0)
		return r;
	if (host && host[0] == '/') {
		path = host;
		host = NULL;
	}
	MYSQL *my = mysql_init(NULL);
	if (!my)
		return err_set(e, ENOMEM, "no memory for a connection");
	mysql_set_local_infile_handler(my, my_infile_init, my_infile_read, my_infile_end, my_infile_error, loader);
	(void)mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &infile);
	(void)mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	(void)mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
	(void)mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &read_s);
	(void)mysql_options(my, MYSQL_OPT_WRITE_TIMEOUT, &write_s);
	if (!p->password)
		(void)mysql_options(my, MYSQL_READ_DEFAULT_GROUP, "client");
	if (path)
		protocol = MYSQL_PROTOCOL_SOCKET;
	/* "localhost" means the default Unix socket to the library, even where a port is named. */
	if (path || (host && (strcmp(host, "localhost") != 0 || p->port)))
		(void)mysql_options(my, MYSQL_OPT_PROTOCOL, &protocol);
	if (!path)
		my_set_tls(my, p, ssl);
	where = path ? xstrdup(path) : xasprintf("%s:%u", host ? host : "localhost", p->port ? p->port : 3306);
	if (!mysql_real_connect(my, host, p->user, p->password, database, p->port, path, 0)) {
		r = my_connect_failed(my, p, where, path != NULL, e);
		mysql_close(my);
		return r;
	}
	if (!path && ssl >= MY_SSL_REQUIRED && !mysql_get_ssl_cipher(my)) {
		mysql_close(my);
		return err_set(e, EACCES, "%s: the connection is not encrypted, and ssl_mode asks for it", where);
	}
	if (!path)
		my_set_keepalive(my_socket_of(my));
	*ret = my;
	return 0;
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
	    /* A locking read must give what is committed now, whenever the transaction began (default on since 11.6).
	     */
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

void my_conn_free(struct my_conn *c)
{
	if (!c)
		return;
	if (c->my)
		mysql_close(c->my);
	if (c->cancel_fd >= 0)
		(void)close(c->cancel_fd);
	free(c->scan.values);
	free(c->scan.columns);
	strbuf_done(&c->scan.asks);
	my_load_done(&c->load);
	my_catalog_done(&c->catalog);
	for (size_t i = 0; i < c->n_autos; i++)
		free(c->autos[i].table);
	free(c->autos);
	free(c->server_version);
	free(c->database);
	my_rebuild_done(c);
	my_conn_free(atomic_load(&c->builder));
	for (size_t i = 0; i < MY_POOL_THREADS; i++)
		my_conn_free(atomic_load(&c->loaders[i]));
	db_params_done(&c->params);
	free(c);
}

static int my_open_database(struct my_conn **ret, const struct db_params *p, const char *database, bool loader,
			    struct err *e)
{
	_cleanup_(cleanup_my_conn) struct my_conn *c = xcalloc(1, sizeof *c);

	c->head.driver = &db_driver_mysql;
	c->cancel_fd = -1;
	my_params_copy(&c->params, p);
	if (!c->params.connect_timeout_ms)
		c->params.connect_timeout_ms = 5000;
	int r = my_connect(&c->my, &c->params, database, c->params.connect_timeout_ms, loader ? c : NULL, e);
	if (r < 0)
		return r;
	c->thread_id = mysql_thread_id(c->my);
	c->cancel_fd = dup(my_socket_of(c->my));
	if ((r = my_check_version(c, e)) < 0 || (r = my_set_session(c, e)) < 0 ||
	    (r = my_select_one(c, &c->database, e, "SELECT DATABASE()")) < 0)
		return r;
	if (!c->database)
		return err_set(e, EINVAL, "the URL names no database");
	*ret = TAKE_PTR(c);
	return 0;
}

int my_open_like(struct my_conn **ret, const struct my_conn *c, const char *database, struct err *e)
{
	return my_open_database(ret, &c->params, database ? database : c->database, false, e);
}

int my_open_loader(struct my_conn **ret, const struct my_conn *c, struct err *e)
{
	return my_open_database(ret, &c->params, c->database, true, e);
}

static int my_open(struct db_conn **ret, const struct db_params *p, struct err *e)
{
	struct my_conn *c = NULL;

	if (!p->database || !*p->database)
		return err_set(e, EINVAL, "the URL names no database: mysql://USER@HOST:PORT/DATABASE");
	int r = my_open_database(&c, p, p->database, false, e);
	if (r == 0)
		*ret = (struct db_conn *)c;
	return r;
}

/* ---- the transaction ---- */

static int my_check_isolation(struct my_conn *c, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	/* MariaDB called it tx_isolation until 11.1. */
	int r = my_select(c, &res, e,
			  "SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')");
	bool found = false;

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		found = true;
		if (!row[1] || strcmp(row[1], "REPEATABLE-READ") != 0)
			return err_set(e, ENOTSUP, "the server did not accept REPEATABLE READ (%s is %s)", row[0],
				       row[1] ? row[1] : "");
	}
	return found ? 0 : err_set(e, ENOTSUP, "cannot read the transaction isolation level");
}

/*
 * For writing, a locking read of the whole clustered index (USE INDEX () forbids every other way) takes the rows and
 * the gaps between, before and after them: nothing can be changed or inserted until the end, in empty tables and in
 * tables without a key neither. LOCK TABLES would be quicker, but it stops every reader and waits for each idle
 * transaction.
 */
static int my_pin_one(struct my_conn *c, const char *name, enum db_access access, struct err *e)
{
	int r = my_exec(c, e,
			access == DB_WRITE ? "SELECT COUNT(*) FROM %i USE INDEX () FOR UPDATE"
					   : "SELECT 1 FROM %i WHERE FALSE",
			name);

	/* Dropped or renamed since the list was made. */
	if (r < 0 && my_last_errno(c) == MY_ER_NO_SUCH_TABLE)
		r = err_set(e, EAGAIN, "table %s went away", name);
	if (r == -EBUSY)
		return err_prefix(
		    e, "table %s: another session holds a lock on it (an open transaction, ALTER TABLE, LOCK TABLES?)",
		    name);
	return r < 0 ? err_prefix(e, "table %s", name) : 0;
}

/* Many tables in one statement; where that fails, one by one, to name the table in the way. */
static int my_pin_read(struct my_conn *c, char *const *names, size_t n, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};

	for (size_t i = 0; i < n; i++)
		my_sql(&sql, "%sSELECT 1 FROM %i WHERE FALSE", i ? " UNION ALL " : "", names[i]);
	int r = my_exec_len(c, e, strbuf_str(&sql), sql.len);
	if (r == 0 || r == -EINTR || r == -ECONNRESET)
		return r;
	/* A deadlock has undone the transaction, and what was pinned before with it. */
	if (r == -EAGAIN)
		return r;
	r = my_exec(c, e, "SET SESSION lock_wait_timeout=1");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = my_pin_one(c, names[i], DB_READ, e);
	int q = my_exec(c, r == 0 ? e : ERR_DROP, "SET SESSION lock_wait_timeout=" MY_LOCK_WAIT_S);
	return r < 0 ? r : q;
}

static int my_pin(struct my_conn *c, const struct my_names *names, enum db_access access, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && access == DB_WRITE && i < names->n; i++)
		r = my_pin_one(c, names->names[i], access, e);
	for (size_t i = 0; r == 0 && access == DB_READ && i < names->n; i += MY_BATCH_TABLES)
		r = my_pin_read(c, names->names + i, names->n - i < MY_BATCH_TABLES ? names->n - i : MY_BATCH_TABLES,
				e);
	return r;
}

static int my_begin_once(struct my_conn *c, enum db_access access, struct db_schema **ret, struct err *e)
{
	_cleanup_names_ struct my_names names = {0};
	_cleanup_(cleanup_db_schema) struct db_schema *s = NULL;
	int r = my_list_tables(c, c->database, &names, e);

	if (r < 0)
		return r;
	if ((r = my_exec(c, e, "START TRANSACTION %s", access == DB_READ ? "READ ONLY" : "READ WRITE")) < 0)
		return r;
	c->in_transaction = true;
	if ((r = my_pin(c, &names, access, e)) < 0)
		return r;
	/* The read view. For writing, too: what is locked stays as it is, so plain reads see it and our own changes. */
	if (names.n > 0 && (r = my_exec(c, e, "SELECT 1 FROM %i LIMIT 1", names.names[0])) < 0)
		return r;
	if ((r = my_describe(c, c->database, &c->catalog, &s, e)) < 0)
		return r;
	/* A table that came after the list was made is not pinned. */
	bool same = s->n_tables == names.n;
	for (size_t i = 0; same && i < names.n; i++)
		same = strcmp(s->tables[i].name, names.names[i]) == 0;
	if (!same)
		return err_set(e, EAGAIN, "tables came or went while the snapshot began");
	*ret = TAKE_PTR(s);
	return 0;
}

static void my_forget_transaction(struct my_conn *c)
{
	c->in_transaction = false;
	c->mode = MY_MODE_NONE;
	my_catalog_done(&c->catalog);
	my_load_done(&c->load);
	for (size_t i = 0; i < c->n_autos; i++)
		free(c->autos[i].table);
	free(TAKE_PTR(c->autos));
	c->n_autos = 0;
}

/* At most 64 characters. Not MD5(): MySQL 9.7 has it in a component only. */
static int my_get_lock(struct my_conn *c, const char *database, const char *what, unsigned wait_s, struct err *e)
{
	_cleanup_free_ char *got = NULL;
	int r = my_select_one(c, &got, e, "SELECT GET_LOCK(CONCAT('metasnap:', %q, ':', LEFT(SHA2(%q, 256), 32)), %u)",
			      what, database, wait_s);

	if (r < 0)
		return r;
	return got && strcmp(got, "1") == 0 ? 0
					    : err_set(e, EBUSY, "another restore of database %s is running", database);
}

/*
 * Two restores of one database at once would each undo the other. Builder and loaders have locks of their own: after a
 * crash their last statements may still be running when the first connection is gone already.
 */
int my_lock_advisory(struct my_conn *c, const char *database, const char *what, unsigned wait_s, struct err *e)
{
	int r = my_get_lock(c, database, what, wait_s, e);

	if (r == 0)
		c->advisory = true;
	return r;
}

void my_unlock_advisory(struct my_conn *c)
{
	if (c->advisory)
		(void)mysql_query(c->my, "DO RELEASE_ALL_LOCKS()");
	c->advisory = false;
}

static void my_end_transaction(struct my_conn *c)
{
	struct db_conn *dc = (struct db_conn *)c;

	if (c->scan.table)
		(void)my_scan_close(dc, ERR_DROP);
	/* Not through my_exec: these must run after a cancel, too. A late KILL QUERY can hit the first of them. */
	for (int i = 0; i < 3 && mysql_query(c->my, "ROLLBACK") != 0 && mysql_errno(c->my) == 1317; i++)
		;
	my_forget_transaction(c);
	my_unlock_advisory(c);
	(void)mysql_query(c->my, "SET SESSION sql_mode='', foreign_key_checks=1");
}

static void my_rollback(struct db_conn *dc)
{
	struct my_conn *c = my_conn_of(dc);

	my_rebuild_rollback(c);
	my_end_transaction(c);
	atomic_store(&c->cancelled, false);
	if (atomic_load(&c->builder))
		atomic_store(&atomic_load(&c->builder)->cancelled, false);
	for (size_t i = 0; i < MY_POOL_THREADS; i++)
		if (atomic_load(&c->loaders[i]))
			atomic_store(&atomic_load(&c->loaders[i])->cancelled, false);
}

/* Tables that an account has no right on are not even listed to it: a snapshot would lack them without a word. Of a
 * table that is not there, only who may read the whole database is told so; others may not know (error 1142). */
static int my_check_sees_all(struct my_conn *c, struct err *e)
{
	struct err why = ERR_INIT;
	int r = my_exec(c, &why, "SELECT 1 FROM %i WHERE FALSE", "metasnap: is every table listed?");

	if (r == 0 || my_last_errno(c) == MY_ER_NO_SUCH_TABLE)
		return 0;
	if (r == -EACCES)
		return err_set(e, EACCES,
			       "the account may not read the whole database, and tables it has no right on are not "
			       "even listed to it (GRANT SELECT ON `%s`.* TO it)",
			       c->database);
	*e = why;
	return r;
}

static int my_begin(struct db_conn *dc, enum db_access access, struct db_schema **ret, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	int r, max = access == DB_WRITE ? MY_MAX_ATTEMPTS_WRITE : MY_MAX_ATTEMPTS;

	if (c->in_transaction)
		return err_set(e, EINVAL, "a transaction is open");
	c->access = access;
	if ((r = my_check_isolation(c, e)) < 0 || (r = my_check_sees_all(c, e)) < 0)
		return r;
	if (access == DB_WRITE && (r = my_lock_advisory(c, c->database, "restore", 0, e)) < 0)
		return r;
	for (int attempt = 1;; attempt++) {
		r = my_begin_once(c, access, ret, e);
		if (r == 0)
			return 0;
		if (r != -EAGAIN || attempt == max)
			break;
		(void)mysql_query(c->my, "ROLLBACK");
		my_forget_transaction(c);
	}
	my_end_transaction(c);
	if (r == -EAGAIN)
		return err_prefix(e, "other sessions kept changing tables (%d attempts)", max);
	return r;
}

static int my_finish(struct db_conn *dc, struct db_schema *s, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);

	return my_read_auto_increment(c, c->database, s, e);
}

static int my_commit(struct db_conn *dc, struct err *e)
{
	struct my_conn *c = my_conn_of(dc);
	int r = 0;

	if (!c->in_transaction)
		return err_set(e, EINVAL, "no transaction is open");
	if (my_active(c)->scan.table || my_active(c)->load.table)
		return err_set(e, EINVAL, "a scan or a load is open");
	if (atomic_load(&c->cancelled)) {
		my_rollback(dc);
		return err_set(e, EINTR, "cancelled");
	}
	if (c->mode == MY_MODE_REBUILD) {
		r = my_rebuild_commit(c, e);
		my_end_transaction(c);
		return r;
	}
	if (mysql_query(c->my, "COMMIT") != 0) {
		r = my_fail(c, e, "commit");
		/* A KILL that came with the answer on its way: nobody knows. */
		if (r == -EINTR)
			r = err_set(e, ECONNRESET, "commit: cancelled while the server was committing");
		my_end_transaction(c);
		return r;
	}
	/* DDL commits, so the counters come after the rows; they never point below the rows that are there. */
	for (size_t i = 0; r == 0 && i < c->n_autos; i++) {
		_cleanup_free_ char *now = NULL;

		r = my_select_one(
		    c, &now, e,
		    "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA=%q AND TABLE_NAME=%q",
		    c->database, c->autos[i].table);
		if (r == 0 && (!now || strtoull(now, NULL, 10) != c->autos[i].next))
			r = my_exec(c, e, "ALTER TABLE %i AUTO_INCREMENT=%l", c->autos[i].table, c->autos[i].next);
		if (r < 0)
			err_prefix(e, "the rows are committed, but AUTO_INCREMENT of %s is not set", c->autos[i].table);
	}
	my_end_transaction(c);
	return r;
}

/* ---- cancel, close ---- */

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
	(void)snprintf(sql, sizeof sql, "KILL QUERY %lu", c->thread_id);
	bool killed =
	    my_connect(&my, &c->params, NULL, MY_CANCEL_TIMEOUT_MS, NULL, ERR_DROP) == 0 && mysql_query(my, sql) == 0;
	if (my)
		mysql_close(my);
	/* No second connection (max_connections, network): cut the first one; its call then ends with an error. */
	if (!killed && c->cancel_fd >= 0)
		(void)shutdown(c->cancel_fd, SHUT_RDWR);
}

static void my_close(struct db_conn *dc)
{
	struct my_conn *c = my_conn_of(dc);

	if (c->in_transaction || c->advisory)
		my_rollback(dc);
	my_conn_free(c);
}

const struct db_driver db_driver_mysql = {
    .scheme = "mysql",
    .open = my_open,
    .begin = my_begin,
    .begin_like = NULL, /* one connection reads: several need FLUSH TABLES WITH READ LOCK */
    .schema_sql = my_schema_sql,
    .scan_open = my_scan_open,
    .scan_next = my_scan_next,
    .scan_close = my_scan_close,
    .examine = my_examine,
    .finish = my_finish,
    .rebuild_begin = my_rebuild_begin,
    .rebuild_end = my_rebuild_end,
    .change_begin = my_change_begin,
    .change_check = my_change_check,
    .delete_keys = my_delete_keys,
    .delete_all = my_delete_all,
    .change_end = my_change_end,
    .load_begin = my_load_begin,
    .load_row = my_load_row,
    .load_end = my_load_end,
    .set_sequences = my_set_sequences,
    .settle = my_settle,
    .commit = my_commit,
    .rollback = my_rollback,
    .cancel = my_cancel,
    .close = my_close,
};
