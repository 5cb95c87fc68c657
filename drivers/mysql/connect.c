/*
 * drivers/mysql/connect.c - a server is reached through the client library: the URL's parameters, TLS, keepalive, and
 * why it did not work. Any thread; no state, no locks.
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

/* A statement may work silently for long (DELETE, RENAME behind readers); dead peers are found by TCP keepalive. */
#define MY_READ_TIMEOUT_S 3600
#define MY_WRITE_TIMEOUT_S 600

static const char *my_option(const struct db_params *p, const char *key)
{
	for (char **o = p->options; o && o[0]; o += 2)
		if (!strcmp(o[0], key))
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
			found |= !strcmp(o[0], known[i]);
		if (!found)
			return err_set(
			    e, EINVAL,
			    "unknown parameter \"%s\" in the URL (MySQL: ssl_ca, ssl_cert, ssl_key, ssl_mode, socket)",
			    o[0]);
	}
	*ret_ssl = my_option(p, "ssl_ca") ? MY_SSL_VERIFY_IDENTITY : MY_SSL_PREFERRED;
	for (size_t i = 0; mode && i < sizeof modes / sizeof modes[0]; i++) {
		if (!strcasecmp(mode, modes[i])) {
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
	/* Connector/C cannot check the certificate's chain alone: verify_ca also checks the name, which is stricter. */
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

int my_socket_of(MYSQL *my)
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

int my_connect(MYSQL **ret, const struct db_params *p, const char *database, unsigned timeout_ms,
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
