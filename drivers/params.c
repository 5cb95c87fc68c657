/*
 * drivers/params.c - database URLs: parsing, printing without the password, and the table globs that go with them.
 *
 * Owns the members of struct db_params. No state, no locks; any thread. No message here quotes a part of the URL
 * that could be a password whose special characters were not percent-encoded.
 */
#include "drivers/params.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define PARAMS_MAX_OPTIONS 32

/* The option keys of each scheme. connect_timeout and schema have members of their own in struct db_params. */
static const char *const postgres_options[] = {
    "schema",
    "connect_timeout",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "channel_binding",
    "gssencmode",
    "krbsrvname",
    "requirepeer",
    "application_name",
    "service",
    "passfile",
    "target_session_attrs",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    NULL,
};
static const char *const mysql_options[] = {
    "ssl_ca", "ssl_cert", "ssl_key", "ssl_mode", "socket", "connect_timeout", NULL,
};
static const char *const sqlite_options[] = {NULL};
static const char *const fake_options[] = {"fail", "after", "errno", "slow_ms_per_row", "hang", "row", "table", NULL};

static const struct params_scheme {
	const char *name;
	const char *engine;
	bool file; /* "scheme:PATH" instead of "scheme://host/database" */
	const char *const *options;
} params_schemes[] = {
    {"postgresql", "postgresql", false, postgres_options},
    {"postgres", "postgresql", false, postgres_options},
    {"mysql", "mysql", false, mysql_options},
    {"mariadb", "mysql", false, mysql_options},
    {"sqlite", "sqlite", true, sqlite_options},
    {"fake", "fake", true, fake_options},
};

/* Percent-decodes text[0..n). An empty part gives NULL in *ret. */
static int params_decode(char **ret, const char *text, size_t n, const char *part, struct err *e)
{
	*ret = NULL;
	if (!n)
		return 0;
	_cleanup_free_ char *s = xmalloc(n + 1);
	size_t len = 0;
	for (size_t i = 0; i < n; i++) {
		if (text[i] != '%') {
			s[len++] = text[i];
			continue;
		}
		int byte = percent_byte(text + i, text + n);
		if (byte < 0)
			return err_set(e, EINVAL,
				       "database URL: %% without two hex digits in the %s (write %%25 for %%)", part);
		if (!byte)
			return err_set(e, EINVAL, "database URL: %%00 in the %s", part);
		s[len++] = (char)byte;
		i += 2;
	}
	s[len] = '\0';
	*ret = TAKE_PTR(s);
	return 0;
}

static const struct params_scheme *params_find_scheme(const char *url, const char *colon)
{
	size_t n = (size_t)(colon - url);
	for (size_t i = 0; i < sizeof params_schemes / sizeof params_schemes[0]; i++)
		if (strlen(params_schemes[i].name) == n && !strncasecmp(params_schemes[i].name, url, n))
			return &params_schemes[i];
	return NULL;
}

static int params_parse_number(unsigned *ret, const char *text, size_t n, unsigned max)
{
	unsigned value = 0;
	if (!n || n > 9)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	if (!value || value > max)
		return -EINVAL;
	*ret = value;
	return 0;
}

static int params_add_option(struct db_params *p, const struct params_scheme *scheme, const char *text, size_t n,
			     size_t *n_options, struct err *e)
{
	const char *equals = memchr(text, '=', n);
	size_t key_len = equals ? (size_t)(equals - text) : n;
	const char *known = NULL;
	for (size_t i = 0; scheme->options[i] && !known; i++)
		if (strlen(scheme->options[i]) == key_len && !memcmp(scheme->options[i], text, key_len))
			known = scheme->options[i];
	if (!known) {
		/* Only what looks like a key is quoted: it may be the rest of a password that holds a raw '?'. */
		size_t word = 0;
		while (word < key_len && (islower((unsigned char)text[word]) || text[word] == '_'))
			word++;
		if (equals && word == key_len && key_len)
			return err_set(e, EINVAL, "database URL: option \"%.*s\" is not known for %s", (int)key_len,
				       text, scheme->engine);
		return err_set(e, EINVAL, "database URL: what follows \"?\" is not key=value&key=value");
	}
	if (!equals || key_len + 1 == n)
		return err_set(e, EINVAL, "database URL: option \"%s\" has no value", known);
	_cleanup_free_ char *value = NULL;
	int r = params_decode(&value, equals + 1, n - key_len - 1, known, e);
	if (r < 0)
		return r;
	if (!strcmp(known, "schema")) {
		if (p->schema)
			return err_set(e, EINVAL, "database URL: option \"schema\" is given twice");
		p->schema = TAKE_PTR(value);
		return 0;
	}
	if (!strcmp(known, "connect_timeout")) {
		unsigned seconds = 0;
		if (p->connect_timeout_ms)
			return err_set(e, EINVAL, "database URL: option \"connect_timeout\" is given twice");
		if (params_parse_number(&seconds, value, strlen(value), 86400) < 0)
			return err_set(e, EINVAL,
				       "database URL: connect_timeout is not a number of seconds from 1 to 86400");
		p->connect_timeout_ms = seconds * 1000;
		return 0;
	}
	for (size_t i = 0; i < *n_options; i += 2)
		if (!strcmp(p->options[i], known))
			return err_set(e, EINVAL, "database URL: option \"%s\" is given twice", known);
	/* Each key at most once, so the array made for every key of the scheme is large enough. */
	p->options[(*n_options)++] = xstrdup(known);
	p->options[(*n_options)++] = TAKE_PTR(value);
	return 0;
}

static int params_parse_options(struct db_params *p, const struct params_scheme *scheme, const char *query,
				struct err *e)
{
	size_t n_options = 0;
	p->options = xcalloc(2 * PARAMS_MAX_OPTIONS + 1, sizeof *p->options);
	while (query && *query) {
		size_t n = strcspn(query, "&");
		int r = params_add_option(p, scheme, query, n, &n_options, e);
		if (r < 0)
			return r;
		query += n;
		if (*query == '&' && !*++query)
			return err_set(e, EINVAL, "database URL: nothing follows the last \"&\"");
	}
	return 0;
}

static int params_parse_port(struct db_params *p, const char *text, size_t n, struct err *e)
{
	if (n && params_parse_number(&p->port, text, n, 65535) < 0)
		return err_set(e, EINVAL,
			       "database URL: the port is not a number from 1 to 65535 (in a password, write %%40 for"
			       " \"@\", %%2F for \"/\", %%3A for \":\", %%3F for \"?\")");
	return 0;
}

/* user:password@host:port */
static int params_parse_authority(struct db_params *p, const char *text, size_t n, struct err *e)
{
	int r = 0;
	const char *at = memrchr(text, '@', n);
	if (at) {
		size_t n_user = (size_t)(at - text);
		const char *colon = memchr(text, ':', n_user);
		r = params_decode(&p->user, text, colon ? (size_t)(colon - text) : n_user, "user name", e);
		if (r >= 0 && colon)
			r = params_decode(&p->password, colon + 1, (size_t)(at - colon - 1), "password", e);
		if (r < 0)
			return r;
		n -= n_user + 1;
		text = at + 1;
	}
	if (n && *text == '[') {
		const char *close = memchr(text, ']', n);
		if (!close || close == text + 1)
			return err_set(e, EINVAL, "database URL: \"[\" begins an IPv6 address that has no end");
		size_t n_host = (size_t)(close - text) + 1;
		if (n_host < n && text[n_host] != ':')
			return err_set(e, EINVAL,
				       "database URL: only \":port\" can follow the \"]\" of an IPv6 address");
		r = params_decode(&p->host, text + 1, n_host - 2, "host", e);
		if (r < 0 || n_host == n)
			return r;
		return params_parse_port(p, text + n_host + 1, n - n_host - 1, e);
	}
	const char *colon = memchr(text, ':', n);
	size_t n_host = colon ? (size_t)(colon - text) : n;
	r = params_decode(&p->host, text, n_host, "host", e);
	if (r < 0 || !colon)
		return r;
	return params_parse_port(p, colon + 1, n - n_host - 1, e);
}

static int params_parse_into(struct db_params *p, const char *url, struct err *e)
{
	const char *colon = strchr(url, ':');
	const struct params_scheme *scheme = colon ? params_find_scheme(url, colon) : NULL;
	if (!scheme)
		return err_set(e, EINVAL, "database URL: it must begin with postgresql://, mysql:// or sqlite:");
	p->engine = xstrdup(scheme->engine);
	const char *rest = colon + 1;
	const char *query = strchr(rest, '?');
	int r = params_parse_options(p, scheme, query ? query + 1 : NULL, e);
	if (r < 0)
		return r;
	size_t n = query ? (size_t)(query - rest) : strlen(rest);
	if (scheme->file) {
		/* sqlite:///path is what other programs write; sqlite://x would make x look like a host. */
		if (n >= 2 && !memcmp(rest, "//", 2) && (n == 2 || rest[2] != '/'))
			return err_set(e, EINVAL, "database URL: write %s:PATH, without \"//\"", scheme->name);
		if (n >= 3 && !memcmp(rest, "///", 3)) {
			rest += 2;
			n -= 2;
		}
		r = params_decode(&p->database, rest, n, "path", e);
		if (r >= 0 && !p->database)
			r = err_set(e, EINVAL, "database URL: no path follows \"%s:\"", scheme->name);
		return r;
	}
	if (n < 2 || memcmp(rest, "//", 2))
		return err_set(e, EINVAL, "database URL: \"//\" must follow \"%s:\"", scheme->name);
	rest += 2;
	n -= 2;
	const char *slash = memchr(rest, '/', n);
	size_t n_authority = slash ? (size_t)(slash - rest) : n;
	if (slash) {
		const char *name = slash + 1;
		size_t n_name = n - n_authority - 1;
		/* Raw, these are what an unencoded password leaves behind; in a name they can be written encoded. */
		if (memchr(name, '/', n_name) || memchr(name, '@', n_name) || memchr(name, ':', n_name))
			return err_set(e, EINVAL,
				       "database URL: raw \"/\", \"@\" or \":\" in the database name"
				       " (percent-encode them, in a password too)");
		r = params_decode(&p->database, name, n_name, "database name", e);
		if (r < 0)
			return r;
	}
	r = params_parse_authority(p, rest, n_authority, e);
	if (r < 0)
		return r;
	if (!p->schema && !strcmp(p->engine, "postgresql"))
		p->schema = xstrdup("public");
	return 0;
}

int db_params_parse(struct db_params *ret, const char *url, struct err *e)
{
	struct db_params p = {0};
	int r = params_parse_into(&p, url, e);
	if (r < 0) {
		db_params_done(&p);
		*ret = (struct db_params){0};
		return r;
	}
	*ret = p;
	return 0;
}

static void params_free_strings(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void db_params_done(struct db_params *p)
{
	free(p->engine);
	free(p->host);
	free(p->user);
	if (p->password)
		explicit_bzero(p->password, strlen(p->password));
	free(p->password);
	free(p->database);
	free(p->schema);
	params_free_strings(p->options);
	params_free_strings(p->exclude);
	*p = (struct db_params){0};
}

/* Appends text so that params_decode gives it back; `keep` are the punctuation bytes that stay readable. */
static void params_encode(struct strbuf *sb, const char *text, const char *keep)
{
	if (text)
		percent_encode(sb, text, strlen(text), keep);
}

void db_params_hide_password(char *url)
{
	char *start = strstr(url, "://");
	if (!start)
		return;
	start += 3;
	char *at = memrchr(start, '@', strcspn(start, "/?"));
	char *colon = at ? memchr(start, ':', (size_t)(at - start)) : NULL;
	for (char *p = colon ? colon + 1 : at; p && p < at; p++)
		*p = 'x';
}

char *db_params_describe(const struct db_params *p)
{
	struct strbuf sb = {0};
	char separator = '?';
	strbuf_adds(&sb, p->engine ? p->engine : "");
	strbuf_addch(&sb, ':');
	if (p->engine && (!strcmp(p->engine, "sqlite") || !strcmp(p->engine, "fake"))) {
		params_encode(&sb, p->database, "-._~/ :@+,=");
	} else {
		strbuf_adds(&sb, "//");
		if (p->user) {
			params_encode(&sb, p->user, "-._~");
			strbuf_addch(&sb, '@');
		}
		if (p->host && strchr(p->host, ':') && p->host[0] != '/') {
			strbuf_addch(&sb, '[');
			params_encode(&sb, p->host, "-._~:");
			strbuf_addch(&sb, ']');
		} else {
			params_encode(&sb, p->host, "-._~,");
		}
		if (p->port)
			strbuf_addf(&sb, ":%u", p->port);
		if (p->database) {
			strbuf_addch(&sb, '/');
			params_encode(&sb, p->database, "-._~");
		}
		if (p->schema && strcmp(p->schema, "public")) {
			strbuf_adds(&sb, "?schema=");
			params_encode(&sb, p->schema, "-._~");
			separator = '&';
		}
	}
	for (size_t i = 0; p->options && p->options[i]; i += 2) {
		strbuf_addf(&sb, "%c%s=", separator, p->options[i]);
		params_encode(&sb, p->options[i + 1], "-._~/");
		separator = '&';
	}
	return strbuf_detach(&sb);
}

bool db_params_excludes(const struct db_params *p, const char *table)
{
	for (size_t i = 0; p->exclude && p->exclude[i]; i++)
		if (!fnmatch(p->exclude[i], table, 0))
			return true;
	return false;
}
